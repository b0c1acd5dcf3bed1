"""What each column of a file turned out to hold, and the refusal where that is not clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gd.data import Source
from gd.refusal import DataError, shown
from gd.remedies import Remedy, leave_out, missing_too, remedy
from gd.table import As, Cells

__all__ = ["MOST_LEVELS", "Holds", "Kind", "Tally", "check_zones", "judge", "third_label"]

MOST_LEVELS = 50  # distinct texts that a category may have
_KEPT = 50  # cells that are no numbers, to find out which option would read them
_SHOWN = 3
_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"

Structure = Callable[[str, int, str], str | None]
"""(column, line, cell) -> what is wrong with the row rather than with the cell, as a remedy; None where nothing is."""


class Kind(StrEnum):
    """What a column holds."""

    NUMBERS = "numbers"
    DATES = "dates"
    CATEGORY = "category"
    TEXT = "text"
    CONSTANT = "constant"  # numbers, but all the same, whose gaps would cost rows for nothing
    NOTHING = "nothing"


class Holds(NamedTuple):
    """What a column holds: a file is read with a guess of that, and again where the guess was wrong."""

    kind: Kind
    levels: tuple[str, ...] = ()  # of a category, sorted; what a constant column holds
    zoned: bool = False  # of dates: whether they tell their time zone

    @property
    def used(self) -> bool:
        """Whether numbers come of it."""
        return self.kind in {Kind.NUMBERS, Kind.DATES, Kind.CATEGORY}

    def gives_the_same_rows(self, other: Holds) -> bool:
        """Whether a pass that took the column for the other has used the right rows: text and nothing both are left out."""
        return (self.kind, self.levels) == (other.kind, other.levels) if self.used or other.used else True

    def read_as(self, source: Source) -> As:
        """How its cells are to be read."""
        dates, most = bool(source.encode), MOST_LEVELS if "category" in source.encode else 0
        if self.kind == Kind.CATEGORY:
            return As(levels=self.levels, distinct=most)
        return As(
            numbers=self.kind in {Kind.NUMBERS, Kind.CONSTANT, Kind.NOTHING},
            days=self.kind == Kind.DATES,
            dates=dates,
            distinct=most,
        )

    def columns(self, name: str) -> list[str]:
        """Names of the columns of numbers that it becomes."""
        if self.kind == Kind.CATEGORY:
            return [f"{name}={level}" for level in self.levels[1:]]
        return [name] if self.used else []


@dataclass(slots=True)
class Tally:
    """What was met in one column so far."""

    numbers: int = 0
    gaps: int = 0
    wrong: int = 0
    first_wrong: list[tuple[int, str]] = field(default_factory=list)  # lines and cells
    samples: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    days: int = 0
    zoned: int = 0
    no_days: list[tuple[int, str]] = field(default_factory=list)
    first_zoned: tuple[int, str] | None = None
    first_local: tuple[int, str] | None = None
    levels: set[str] | None = field(default_factory=set)
    labels: dict[str, int] = field(
        default_factory=dict
    )  # of a target of classes: its first values and their lines; three at most

    def add(self, cells: Cells) -> None:
        """Go on with more rows."""
        self.numbers += cells.numbers
        self.gaps += cells.gaps
        self.wrong += cells.wrong
        self.days += cells.days
        self.zoned += cells.zoned
        self.first_zoned = self.first_zoned or cells.first_zoned
        self.first_local = self.first_local or cells.first_local
        for kept, more, most in (
            (self.first_wrong, cells.first_wrong, _SHOWN), (self.no_days, cells.no_days, _SHOWN),
            (self.samples, cells.samples, _KEPT), (self.beside, cells.beside, _KEPT),
        ):  # fmt: skip
            kept.extend(more[: most - len(kept)])  # type: ignore[arg-type]
        for line, label in cells.labels:
            if len(self.labels) < 3:
                self.labels.setdefault(label, line)
        if self.levels is not None:
            self.levels = None if cells.levels is None else self.levels | cells.levels
            if self.levels is not None and len(self.levels) > MOST_LEVELS:
                self.levels = None


def judge(
    file: str, tallies: Mapping[str, Tally], source: Source, structure: Structure, *, labels: bool = False
) -> dict[str, Holds]:
    """What each column turned out to hold.

    Args:
        file: its name, for errors.
        tallies: of the target and of every column that may be a feature, in order; the target first.
        source: what is to be learned.
        structure: tells a row that does not belong to the table from a cell that is wrong.
        labels: whether the target is one of two classes, be they numbers or texts.

    Raises:
        DataError: where a target of classes has more than two values, where a column that was named holds text, and where
            most cells of another are numbers, or would be with an option, and some are not, since leaving the column out would
            hide a mistake.
    """
    named = {source.target, *(source.features or ())}
    found: dict[str, Holds | _Refused] = {}
    for column, tally in tallies.items():
        if labels and column == source.target and not (tally.numbers and tally.wrong):
            found[column] = _classes(file, column, tally, source)
        else:
            found[column] = _holds(file, column, tally, source, column in named, structure)
    refused = {column: holds for column, holds in found.items() if isinstance(holds, _Refused)}
    if refused:
        raise _no_numbers(file, refused, source, structure)
    return {column: holds for column, holds in found.items() if isinstance(holds, Holds)}


class _Refused(NamedTuple):
    """A column that ought to hold numbers and does not."""

    remedy: Remedy | None
    tally: Tally


def _holds(file: str, column: str, tally: Tally, source: Source, named: bool, structure: Structure) -> Holds | _Refused:
    if not tally.wrong:
        return Holds(Kind.NUMBERS if tally.numbers or named else Kind.NOTHING)
    if "dates" in source.encode and 2 * tally.days > tally.numbers + tally.wrong:
        return _dates(file, column, tally, structure)
    mostly = tally.numbers > tally.wrong
    found = remedy(tally.samples, source.dialect, tally.beside)
    if found is not None and found.sure:
        likely = tally.numbers + found.share * tally.wrong
        mostly = mostly or 2 * likely > tally.numbers + tally.wrong
    if tally.days and tally.days == tally.wrong and not tally.numbers and not named:
        return Holds(Kind.TEXT)  # dates are no category
    if "category" in source.encode and not mostly and column != source.target:
        if tally.levels is not None:
            return Holds(Kind.CATEGORY, tuple(sorted(tally.levels)))
        if named:
            where, problem = f"{file}, column {shown(column)}", f"more than {MOST_LEVELS} distinct texts."
            raise DataError(where, problem, f"Group them, or leave the column out with {leave_out(column)}.")
    return _Refused(found, tally) if named or mostly else Holds(Kind.TEXT)


def _classes(file: str, column: str, tally: Tally, source: Source) -> Holds:
    """What a target of two classes holds: numbers, or two texts; or one, where another file may have the other."""
    if len(tally.labels) > 2:
        raise third_label(file, column, tally.labels, source, texts=tally.wrong > 0)
    return Holds(Kind.CATEGORY, tuple(sorted(tally.labels))) if tally.wrong else Holds(Kind.NUMBERS)


def third_label(file: str, column: str, labels: Mapping[str, int], source: Source, *, texts: bool) -> DataError:
    """The refusal of a target with more than two values.

    Args:
        file: in which the third stands.
        column: the target.
        labels: three values, and the line of each.
        source: what is to be learned.
        texts: whether they are no numbers.
    """
    one, other, third = labels
    problem = f"{shown(third)} is a third value beside {shown(one)} and {shown(other)}: two classes have two."
    remedy = f"Take it as missing with {missing_too(source.dialect, third)}" if third.isprintable() else "Mend it"
    remedy = f"{remedy}, or name another target." if texts else "--loss mse fits numbers as they are."
    return DataError(f"{file}, line {labels[third]}, column {shown(column)}", problem, remedy)


def _no_numbers(file: str, refused: Mapping[str, _Refused], source: Source, structure: Structure) -> DataError:
    """The refusal of the first column that ought to hold numbers; its remedy is one for all of them, where there is one."""
    column, (found, tally) = next(iter(refused.items()))
    line, cell = tally.first_wrong[0]
    hint = structure(column, line, cell) if tally.numbers and not (found and found.share) else None
    if hint is None and found is not None:
        samples, beside = (
            [cell for one in refused.values() for cell in getattr(one.tally, name)] for name in ("samples", "beside")
        )
        whole = remedy(samples, source.dialect, beside) or found
        hint = found.text if whole.text == found.text else f"{whole.text.removesuffix('.')}, and those of other columns."
    hint = hint or structure(column, line, "") or _mend(column, tally, source)
    where = f"{file}, line {line}, column {shown(column)}"
    return DataError(where, _not("a number", tally.first_wrong, tally.wrong), hint)


def _dates(file: str, column: str, tally: Tally, structure: Structure) -> Holds:
    if tally.days < tally.wrong + tally.numbers:
        line, cell = tally.no_days[0] if tally.no_days else (0, "")
        where = f"{file}, line {line}, column {shown(column)}" if line else f"{file}, column {shown(column)}"
        problem = _not("a date", tally.no_days, tally.wrong + tally.numbers - tally.days) if line else "dates and numbers."
        remedy = structure(column, line, cell) or "Write dates as 2026-01-31, or NA for a missing one."
        raise DataError(where, problem, remedy)
    check_zones(file, column, tally)
    return Holds(Kind.DATES, zoned=tally.zoned > 0)


def check_zones(file: str, column: str, tally: Tally) -> None:
    """Refuse dates of which some tell their time zone and some do not.

    Raises:
        DataError: at the one that came later.
    """
    if 0 < tally.zoned < tally.days:
        zoned, local = tally.first_zoned or (0, ""), tally.first_local or (0, "")
        (line, cell), does = (zoned, "tells") if zoned[0] > local[0] else (local, "does not tell")
        where = f"{file}, line {line}, column {shown(column)}"
        problem = f"{shown(cell)} {does} its time zone; {tally.zoned:,} of {tally.days:,} dates do."
        raise DataError(where, problem, "Write all of them the same way.")


def _not(what: str, first: Sequence[tuple[int, str]], count: int) -> str:
    """Which cells are not that: the first of them with their lines, and how many there are."""
    (_, cell), *others = first
    text = f"{shown(cell)} is not {what}"
    more = [f"{shown(cell)} in line {line}" for line, cell in others]
    if count > len(first):
        more.append(f"{count - len(first):,} more")
    if more:
        text += f", nor {'is' if count == 2 else 'are'} {', '.join(more[:-1])}{' and ' if more[1:] else ''}{more[-1]}"
    return f"{text}."


def _mend(column: str, tally: Tally, source: Source) -> str:
    if column in (source.features or ()) and not tally.numbers:
        if all(re.match(_DATE_OR_TIME, cell.strip()) for cell in tally.samples) and "dates" not in source.encode:
            return "--encode dates would use dates."
        if "category" not in source.encode:
            return "--encode category would use text."
    rest = "" if column == source.target else f"; {leave_out(column)} leaves the column out"
    return f"Mend it, or write NA for a missing value{rest}."
