"""How a file that cannot be used is refused: in one or two lines, with its place and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from gd.notation import visible

__all__ = ["DataError", "listed", "shown"]


_LONGEST = 1000  # letters of a place, which may be a path


class DataError(ValueError):
    """A CSV that cannot be used, said in one or two lines: where, what, and what to do.

    Args:
        where: file, and line and column as far as they are known.
        problem: what is wrong there, a sentence.
        remedy: what to do about it, a sentence, or nothing.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        where = visible(where, _LONGEST)
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem} {self.remedy}".rstrip()


def listed(names: Sequence[str]) -> str:
    """Names in a row, the last ones of many left out."""
    return ", ".join(map(shown, names[:8])) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def shown(text: str) -> str:
    """A cell or a name on one line of an error."""
    quoted = repr(text[:100])
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}…{quoted[0]}"
