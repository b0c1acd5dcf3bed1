"""Which runs of a data set are kept, and which are old enough to go."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from gd.history import GOOD, History

__all__ = ["Keep", "doomed", "rule"]

Keep = Annotated[int, Field(ge=1, le=9_999_999)] | Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}d?$")]
"""So many of the newest runs of each data set, as 100, or those of so many days, as 90d."""

_RUN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)-[0-9a-f]{8}")  # what this program calls a run's folder


def rule(keep: Keep) -> tuple[int | None, timedelta | None]:
    """How many runs, or for how long.

    Raises:
        ValueError: if it is neither a number of runs nor one of days.
    """
    text = str(keep)
    if not re.fullmatch(r"[1-9][0-9]{0,6}d?", text):
        raise ValueError(f"{text!r} is neither a number of runs, as 100, nor one of days, as 90d")
    return (None, timedelta(days=int(text[:-1]))) if text.endswith("d") else (int(text), None)


def doomed(found: History, keep: Keep, now: datetime, spared: Collection[str] = ()) -> list[str]:
    """The folders of the runs that are not kept, oldest first.

    The newest run with a good verdict (converged or exhausted: its weights are those of the data) stays however old it is and
    however many came after it, and so does the newest run. A folder that is not called as a run is nobody's to delete.

    Args:
        found: every run of the data set.
        keep: how many runs, or how many days.
        now: when this is done.
        spared: folders that somebody still needs.
    """
    most, age = rule(keep)
    names = sorted({one.folder.name for one in found.lines} | set(found.unread), reverse=True)
    good = next((one.folder.name for one in found.lines if one.verdict in GOOD), None)
    kept = {good, *names[: most if most is not None else 1], *spared}
    if age is not None:
        kept |= {name for name in names if (begun := _begun(name)) is None or now - begun <= age}
    return [name for name in reversed(names) if name not in kept and _begun(name) is not None]


def _begun(name: str) -> datetime | None:
    match = _RUN.fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
