"""What a killed run left behind: found at the next start, told to its owners, and cleaned up.

A flow run keeps a file locked for as long as it lives. The kernel lets go of the lock whatever ends the process, so a file
whose lock can be had belongs to a run that was killed: by SIGKILL, for want of memory, with its machine.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gd import archive
from gd.look import Look
from gd.mail import Mailing

__all__ = ["Interrupted", "Presence", "present", "recover", "unfinished"]

_FOLDER = ".running"


class Presence(BaseModel):
    """A flow run that is going on, as the next start must know it if this one is killed."""

    model_config = ConfigDict(frozen=True)

    flow_run: str
    name: str  # of the deployment, or of the data sets
    key: str
    moment: datetime
    zone: str = "UTC"
    deployment: str = ""  # its id; empty where a person ran the flow directly
    mailing: Mailing = Mailing()
    look: Look = Look()


class Interrupted(BaseModel):
    """A flow run that was killed, and the reports that say so."""

    presence: Presence
    folders: tuple[Path, ...]


@contextmanager
def present(reports: Path, presence: Presence) -> Iterator[None]:
    """While in it, the flow run is known to be alive."""
    folder = reports / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    mark, beside = folder / f"{presence.flow_run}.json", folder / f".{presence.flow_run}"
    with beside.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            file.write(presence.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
            beside.rename(mark)  # nobody has seen it without its lock
        except OSError:  # a full disk
            beside.unlink(missing_ok=True)
            raise
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def unfinished(reports: Path, but: str) -> datetime | None:
    """When the first of the flow runs over this folder began that are going on, this one left out; None without any."""
    began = list[float]()
    for mark in (reports / _FOLDER).glob("*.json"):
        with suppress(FileNotFoundError):
            began += [mark.stat().st_mtime] if mark.stem != but else []
    return datetime.fromtimestamp(min(began), UTC) if began else None


def recover(reports: Path, now: datetime, settle: Callable[[Interrupted], bool]) -> list[Interrupted]:
    """Clean up after every flow run over this folder whose process is gone.

    Args:
        reports: the folder of all reports.
        now: when this is done.
        settle: told of each; the next start finds it again unless this returns True.
    """
    found = []
    for mark in sorted((reports / _FOLDER).glob("*.json")):
        try:
            with mark.open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink == 0:  # another start was quicker
                    continue
                folders = archive.recover(reports, mark.stem, now)
                if folders:
                    archive.write_index(reports, {folder.parent.name for folder in folders})
                try:
                    presence = Presence.model_validate_json(file.read())
                except ValueError:  # cut off, or of another version: whose it was cannot be said
                    mark.rename(mark.with_suffix(".broken"))
                    continue
                item = Interrupted(presence=presence, folders=tuple(folders))
                if settle(item):
                    mark.unlink()
                    found.append(item)
        except (BlockingIOError, FileNotFoundError):  # alive; ended in between
            continue
    return found
