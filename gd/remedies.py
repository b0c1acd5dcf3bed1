"""Which options would make numbers of cells that are none."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from gd.cells import BLANKS, SPACES, Numbers, numbers_of
from gd.dialect import Dialect

__all__ = ["Remedy", "leave_out", "missing_too", "remedy"]

_BODY = rf"[0-9](?:[0-9.,'_{SPACES}]*[0-9.,])?(?:[eE][+-]?[0-9]+)?|[.,][0-9]+(?:[eE][+-]?[0-9]+)?"
_UNIT = r"[^\s0-9.,+\-()'\"_\u2212]{1,12}"
_WRITTEN = re.compile(
    rf"(?P<open>\()?(?:(?P<a>{_UNIT})[{SPACES}]?)?(?P<sign>[+-])?(?:(?P<b>{_UNIT})[{SPACES}]?)?"
    rf"(?P<body>{_BODY})(?:[{SPACES}]?(?P<c>{_UNIT}))?(?P<close>\))?"
)
_MARKS: tuple[dict[str, Any], ...] = (
    {}, {"decimal": ","}, {"thousands": ","}, {"decimal": ",", "thousands": "."}, {"decimal": ",", "thousands": " "},
    {"thousands": " "}, {"thousands": "'"}, {"decimal": ",", "thousands": "'"}, {"thousands": "_"},
)  # fmt: skip
_MISSING = {
    "?", "-", "--", "---", "–", "—", ".", "..", "...", "*", "**", ":", "x", "na", "n/a", "n.a.", "n.a", "nil", "none", "null",
    "missing", "unknown", "unk", "not available", "not applicable", "nd", "n.d.", "n/d", "k.a.", "\\n", "#n/a", "#value!",
    "#div/0!", "#ref!", "#name?", "#null!", "#num!", "<na>", "nat", "(null)", "undefined", "blank", "empty", "1.#ind",
    "-1.#ind", "1.#qnan", "tbd", "error", "#error", "#n/v", "#nv", "#wert!",
}  # fmt: skip
"""What exports write where a value is missing, folded."""
_MOST = 3  # different units, or marks of a missing value, that one option may list
_OFTEN = 3  # times that one word must stand alone among numbers to look like a missing value


class Remedy(NamedTuple):
    """Options, and what they would do."""

    text: str  # a sentence or two
    share: float  # of the cells that they would read as numbers
    sure: bool  # whether nothing but numbers is written so: 12% is one, 3rd may not be


class _Number(NamedTuple):
    """A cell taken apart."""

    body: str  # digits and marks
    units: tuple[str, ...]
    parentheses: bool


def remedy(cells: Sequence[str], dialect: Dialect, beside: Sequence[str] = ()) -> Remedy | None:
    """What would read these cells; None where no option would read them all, or mark the others as missing.

    Args:
        cells: as they are written, none of them a number or missing in the dialect.
        dialect: what is known of the file.
        beside: some numbers of the same column, which must stay what they are.
    """
    trimmed = [cell.strip(BLANKS) for cell in cells]
    apart = {cell: _taken_apart(cell) for cell in set(trimmed)}
    numbers = [number for cell in trimmed if (number := apart[cell]) is not None]
    others = [cell for cell in trimmed if apart[cell] is None]
    bodies, held = {number.body for number in numbers}, [(number, numbers_of(dialect).value(number)) for number in set(beside)]
    ways = [
        way
        for way in range(len(_MARKS))
        if (one := _numbers(dialect, way)) is not None
        and all(map(one.is_number, bodies))
        and all(one.value(number) == value for number, value in held)
    ]
    units = sorted({unit for number in numbers for unit in number.units}.difference(dialect.units))
    missing = _missing(others, dialect)
    if (numbers and not ways) or len(units) > _MOST or (others and missing is None):
        return None
    words = _words(_MARKS[ways[0]]) if numbers else []
    if units:
        words += ["--units", shlex.quote(",".join([*dialect.units, *units]))]
    if not dialect.parentheses and any(number.parentheses for number in numbers):
        words += ["--parentheses"]
    text = _ambiguity(numbers, ways, dialect) if numbers and ways[0] and not others else None
    if missing is not None:
        words.append(missing)
    if not words:
        return None
    share, sure = len(numbers) / len(cells), all(map(_is_sign, units))
    them, does = ("it" if len(cells) == 1 else "them"), ("would read" if numbers else "takes")
    text = text or f"{' '.join(words)} {does} {them}{'' if numbers else ' as missing'}."
    return Remedy(text, share, sure and share > 0)


def leave_out(*columns: str) -> str:
    """The option that leaves columns out, their names quoted for a shell where they can be typed."""
    if any(not column.isprintable() or len(column) > 40 for column in columns) or len(columns) > 8:
        return "--leave-out"
    names = ('"' + name.replace('"', '""') + '"' if re.search('[",]', name) else name for name in columns)
    return f"--leave-out {shlex.quote(','.join(names))}"


def _taken_apart(cell: str) -> _Number | None:
    """A cell that would be a number in some dialect."""
    match = _WRITTEN.fullmatch(cell)
    if match is None or bool(match["open"]) != bool(match["close"]) or (match["open"] and match["sign"]):
        return None
    units = tuple(unit for unit in match.group("a", "b", "c") if unit)
    if not all(unit.isalpha() or _is_sign(unit) for unit in units) or {"e", "E"} & set(units):  # an exponent that was cut off
        return None
    if not any(one.is_number(match["body"]) for one in _ANY):
        return None
    return _Number(match["body"], units, match["open"] is not None)


@lru_cache(256)
def _numbers(dialect: Dialect, way: int) -> Numbers | None:
    """The numbers of a dialect with other marks; None where one mark would mean two things."""
    other = dialect.model_copy(update=_MARKS[way])
    return None if other.decimal == other.thousands else Numbers(other)


_ANY = [one for way in range(len(_MARKS)) if (one := _numbers(Dialect(), way)) is not None]


def _words(marks: dict[str, Any]) -> list[str]:
    named = {" ": "space", "'": "apostrophe"}
    return [word for name, mark in marks.items() for word in (f"--{name}", named.get(mark, mark))]


def _ambiguity(numbers: Sequence[_Number], ways: Sequence[int], dialect: Dialect) -> str | None:
    """Where 1,234 may be a thousand or a little more than one: both, and what each reads."""
    both = [way for way in ways if _MARKS[way] in ({"decimal": ","}, {"thousands": ","})]
    if len(both) < 2:
        return None
    body = numbers[0].body
    reads = [
        f"{' '.join(_words(_MARKS[way]))} reads {body!r} as {one.written(body)}"
        for way in both
        if (one := _numbers(dialect, way)) is not None
    ]
    return f"Say which it is: {' and '.join(reads)}."


def missing_too(dialect: Dialect, *marks: str) -> str:
    """The option under which these cells count as missing beside those that do."""
    return f"--missing {shlex.quote(','.join([*(('default',) if dialect.missing is None else dialect.missing), *marks]))}"


def _missing(others: Sequence[str], dialect: Dialect) -> str | None:
    """The option that takes these as missing, where they look like it."""
    distinct = sorted(set(others))
    if not 0 < len(distinct) <= _MOST or any(len(mark) > 16 or not mark.isprintable() or "," in mark for mark in distinct):
        return None
    known = all(mark.casefold() in _MISSING or not any(map(str.isalnum, mark)) for mark in distinct)
    if not known and not (len(distinct) == 1 and len(others) >= _OFTEN):
        return None
    return missing_too(dialect, *distinct)


def _is_sign(unit: str) -> bool:
    return all(unicodedata.category(sign) == "Sc" or sign in "%‰°" for sign in unit)
