"""How reports and mails look where a setting says so: templates of one's own, the zone of times, the marks of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gd.notation import marks, written_as, zone

__all__ = ["TEMPLATES", "Applied", "Look", "Numbers", "Zone", "current", "is_chosen"]

TEMPLATES = (
    "report.html.j2", "index.html.j2", "mail.html.j2", "mail.txt.j2", "page.html.j2", "macros.html.j2", "style.css", "mail.css",
    "words.toml",
)  # fmt: skip
"""What a folder of templates may hold in place of ours; anything else in it is only found by these."""


def _known_zone(name: str) -> str:
    zone(name)
    return name


def _known_marks(numbers: str) -> str:
    marks(numbers)
    return numbers


Zone = Annotated[str, AfterValidator(_known_zone)]
Numbers = Annotated[str, AfterValidator(_known_marks)]


class Look(BaseModel):
    """What a setting can change about how a report is shown; none of it changes what is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: str | None = Field(None, description="Folder of templates that stand in for the standard ones.")
    zone: Zone | None = Field(None, description="Time zone of every time shown, such as Europe/Berlin; UTC when empty.")
    numbers: Numbers = Field("en", description="en, de, fr, plain, or decimal mark and thousands mark.")

    def problem(self) -> str:
        """Why the folder of templates cannot be one, in a sentence; empty where it can."""
        if self.templates is None:
            return ""
        folder = Path(self.templates)
        if not folder.is_dir():
            return f"{folder}: {'is no folder' if folder.exists() else 'no such folder'}."
        if not any((folder / name).is_file() for name in TEMPLATES):
            return f"{folder}: holds none of {', '.join(TEMPLATES)}."
        return ""

    def fingerprint(self) -> str | None:
        """SHA-256 over the names and bytes in the folder of templates; None where there is none."""
        if self.templates is None:
            return None
        found = sha256()
        folder = Path(self.templates)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                try:
                    content = path.read_bytes()
                except OSError:  # which whoever draws with it will say
                    continue
                found.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode(errors="surrogateescape"))
                found.update(content)
        return found.hexdigest()

    @contextmanager
    def applied(self) -> Iterator[Applied]:
        """While in it, whatever is drawn in this thread is drawn so; what is wrong with a template is in what it gives."""
        used = Applied(Path(self.templates) if self.templates is not None else None)
        token = _CURRENT.set(used)
        try:
            with written_as(self.numbers, self.zone):
                yield used
        finally:
            _CURRENT.reset(token)


@dataclass(slots=True)
class Applied:
    """The look in use: its folder of templates, what was read of it, and a line for each fault that was found in it."""

    folder: Path | None = None
    faults: list[str] = field(default_factory=list)
    words: Mapping[str, str] | None = None  # of its words.toml; None where nobody asked for them yet
    environment: Any = None  # Jinja's, made when a template is first asked for

    def add(self, fault: str) -> None:
        """Say what is wrong, once."""
        if fault not in self.faults:
            self.faults.append(fault)


_CURRENT: ContextVar[Applied | None] = ContextVar("look", default=None)


def current() -> Applied:
    """Of the innermost `Look.applied`; outside of any, no folder of templates."""
    return _CURRENT.get() or Applied()


def is_chosen() -> bool:
    """Whether there is a `Look.applied` around."""
    return _CURRENT.get() is not None
