"""What numbers look like when they are not what they seem: an index, a copy of the target, a mark of a missing value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gd.data import Remark
from gd.dialect import Dialect
from gd.notation import number
from gd.remedies import leave_out, missing_too
from gd.table import Array

__all__ = ["EXACT", "Extreme", "Sign", "merge", "remarks"]

EXACT = 2.0**53  # up to here float64 holds every integer
_NINES = frozenset(sign * float("9" * digits) for sign in (-1, 1) for digits in range(2, 8))  # 99 to 9999999
_FEW = 10  # rows under which counting up is no sign
_LINES = 1000


class Extreme(NamedTuple):
    """The smallest or the largest value of a column."""

    value: float
    times: int = 0  # how often, where it is made of nines
    next: float | None = None  # the nearest other value, where it is


class Sign(NamedTuple):
    """One column in some rows."""

    rows: int
    first: float
    last: float
    counts: bool  # whether each value is one more than the one before
    same: bool  # as the target, in every row
    low: Extreme  # of the rows without a gap
    high: Extreme
    least: float  # of all cells
    most: float
    rounded: int = 0  # integers that float64 does not hold
    rounded_lines: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Array, used: Array, low: float, high: float, target: Array) -> Sign:
        """That of a column in a block.

        Args:
            values: of all rows, NaN where a cell is missing, (n,), n at least 1.
            used: of the rows without a gap, (m,).
            low: smallest of those; infinite where there is none.
            high: largest of those; likewise.
            target: of the rows without a gap, (m,).
        """
        n = len(values)
        with np.errstate(over="ignore"):
            counts = bool(values[-1] - values[0] == n - 1 and (values[1:] - values[:-1] == 1).all())
        same = bool(np.array_equal(used[:1], target[:1]) and np.array_equal(used, target))
        whole = len(used) == n
        least, most = (low, high) if whole else (np.fmin.reduce(values), np.fmax.reduce(values))
        smallest, largest = Extreme(float(low)), Extreme(float(high))
        if low in _NINES:
            others = used[used > low]
            smallest = Extreme(float(low), len(used) - len(others), float(others.min()) if len(others) else None)
        if high in _NINES:
            others = used[used < high]
            largest = Extreme(float(high), len(used) - len(others), float(others.max()) if len(others) else None)
        return cls(n, float(values[0]), float(values[-1]), counts, same, smallest, largest, float(least), float(most))


def merge(one: Sign, other: Sign) -> Sign:
    """That of the rows of one and then of the other."""
    return Sign(
        one.rows + other.rows,
        one.first,
        other.last,
        one.counts and other.counts and other.first == one.last + 1,
        one.same and other.same,
        _further(one.low, other.low, 1),
        _further(one.high, other.high, -1),
        float(np.fmin(one.least, other.least)),
        float(np.fmax(one.most, other.most)),
        one.rounded + other.rounded,
        (one.rounded_lines + other.rounded_lines)[:_LINES],
    )


def _further(one: Extreme, other: Extreme, sign: int) -> Extreme:
    """The more extreme of two, the smaller where the sign is 1."""
    if one.value == other.value:
        found = [value for value in (one.next, other.next) if value is not None]
        return Extreme(one.value, one.times + other.times, sign * min(sign * value for value in found) if found else None)
    if sign * one.value > sign * other.value:
        one, other = other, one
    if not one.times:
        return one
    return one._replace(next=other.value if one.next is None else sign * min(sign * one.next, sign * other.value))


def remarks(column: str, sign: Sign, dialect: Dialect, *, feature: bool) -> Sequence[Remark]:
    """What a careful reader should know of a column.

    Args:
        column: its name.
        sign: of all rows.
        dialect: what was said of the file.
        feature: whether the target is predicted from it.
    """
    found = []
    if feature and sign.same:
        text = f"It equals the target in every row. {leave_out(column)} leaves it out."
        found.append(Remark(kind="same-as-target", column=column, text=text))
    elif feature and sign.counts and sign.rows >= _FEW:
        text = f"It counts the rows, as an index does. {leave_out(column)} leaves it out."
        found.append(Remark(kind="index", column=column, text=text))
    low, high = sign.low, sign.high
    spread = (high.value if high.next is None else high.next) - (low.value if low.next is None else low.next)
    for extreme in (low, high):
        if extreme.times < 2 or extreme.next is None:
            continue
        gap = abs(extreme.value - extreme.next)
        if gap > spread or (extreme is low and extreme.value < 0 <= extreme.next):
            value = f"{extreme.value:.0f}"
            text = f"{extreme.times:,} cells hold {value}, and no other is beyond {number(extreme.next)}. "
            text += f"If it stands for a missing value: {missing_too(dialect, value)}."
            found.append(Remark(kind="sentinel", column=column, text=text, count=extreme.times))
    if sign.rounded:
        cells = "1 integer beyond 2⁵³ is" if sign.rounded == 1 else f"{sign.rounded:,} integers beyond 2⁵³ are"
        text = f"{cells} rounded to the nearest float64, the first in line {sign.rounded_lines[0]:,}."
        found.append(Remark(kind="rounded", column=column, text=text, count=sign.rounded, lines=sign.rounded_lines))
    return found
