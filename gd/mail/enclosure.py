"""What is attached to a mail: the reports and records of its data sets, as many as the message may carry."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gd.mail.digest import Digest
from gd.notation import count, number, visible
from gd.phrases import say

__all__ = ["Enclosure", "File", "enclose", "files"]


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """One attachment."""

    name: str
    maintype: str
    subtype: str
    content: bytes

    @property
    def size(self) -> int:
        """Bytes on the wire at most: base64 in lines of 76 characters, headers, and the name in them and in both bodies."""
        return -(-len(self.content) // 57) * 78 + 12 * len(self.name.encode()) + 400


Files = Sequence[Sequence[File]]  # for each data set its files, worst verdict first


@dataclass(frozen=True, slots=True, eq=False)
class Enclosure:
    """What is attached, and the sentences that say so."""

    files: Files
    notes: tuple[str, ...]


def files(digest: Digest) -> Files:
    """The report and the record of each data set; none where they cannot be read back."""
    taken: set[str] = set()
    found: list[list[File]] = []
    for item in digest.ranked:
        plain = re.sub(r"[^\w.-]+", "-", visible(item.record.dataset.name)).strip("-.") or "data"
        name, more = plain, 2
        while name.casefold() in taken:
            name, more = f"{plain}-{more}", more + 1
        taken.add(name.casefold())
        try:
            pairs = [] if item.folder is None else [(item.folder / file).read_bytes() for file in ("report.html", "run.json")]
        except OSError:
            pairs = []
        kinds = (f"{name}-report.html", "text", "html"), (f"{name}-run.json", "application", "json")
        found.append([File(*kind, content) for kind, content in zip(kinds, pairs, strict=False)])
    return found


def enclose(found: Files, room: int, limit: int, where: str) -> Enclosure:
    """What fits: everything; else with the reports gzipped; else those of the worst verdicts.

    Args:
        found: of every data set.
        room: bytes on the wire that there are for them.
        limit: bytes of the whole message, for the sentence that explains.
        where: what is left out can be found there.
    """
    if _size(found) <= room:
        return Enclosure(found, (_attached(found, found),))
    size = number(limit / 1e6)
    packed = [[_gzipped(file) for file in group] for group in found]
    kept: list[Sequence[File]] = []
    for group in packed:
        fits = _size([group]) <= room
        kept.append(group if fits else [])
        room -= _size([kept[-1]])
    notes = [_attached(kept, found), say("mail.enclosed.packed", size=size)]
    left = sum(bool(group) for group in found) - sum(bool(group) for group in kept)
    if left:
        name = "mail.enclosed.not_one" if len(found) == 1 else "mail.enclosed.not_some"
        notes.append(say(name, count=count(left), size=size, where=where))
    return Enclosure(kept, tuple(notes if any(kept) else notes[-1:]))


def _attached(kept: Files, found: Files) -> str:
    """Of which data sets the files are attached."""
    if len(found) == 1:
        return say("mail.enclosed.one")
    if all(kept):
        return say("mail.enclosed.all")
    lost = sum(not group for group in found)
    name = "mail.enclosed.lost" if lost else "mail.enclosed.some"
    return say(name, kept=count(sum(map(bool, kept))), all=count(len(found)), lost=count(lost))


def _size(found: Files) -> int:
    return sum(file.size for group in found for file in group)


def _gzipped(file: File) -> File:
    if file.subtype != "html":
        return file
    return File(f"{file.name}.gz", "application", "gzip", gzip.compress(file.content, mtime=0))
