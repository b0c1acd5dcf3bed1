"""A few thousand rows of any number of them: the same ones however the reading is shared out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gd.arrays import Array

__all__ = ["MOST", "Sample", "drawn", "merge_samples"]

MOST = 8192  # rows
_VALUES = 1 << 18  # that are kept at most, and so fewer rows of many columns; but
_LEAST = 512  # rows are always kept
_MIX = 0x9E3779B97F4A7C15  # 2⁶⁴ by the golden ratio: its multiples are spread evenly


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One row of every 2^`level`, drawn by a rule that knows only the rows' numbers; all rows while they are few.

    Rows are paired, the pairs are paired, and so on; of each pair one half is taken, as a hash of its number tells. What is
    taken of pairs of pairs is therefore a part of what was taken of pairs, so that a sample can be thinned without reading
    again, and nothing in the data that repeats itself every so many rows can keep step with it.
    """

    level: int
    of: int  # rows that it stands for
    rows: Array  # (m, q), in the order of the table

    @classmethod
    def none(cls, columns: int) -> Sample:
        """That of no row at all."""
        return cls(0, 0, np.zeros((0, columns)))

    def extended(self, columns: Sequence[Array]) -> Sample:
        """With the rows that come next in the table, as columns, each (n,)."""
        q, until = len(columns), self.of + len(columns[0])
        one = Sample(self.level, until, self.rows)
        while _count(until, one.level) > _room(q):
            one = one._thinned(self.of)
        at = chosen(self.of, until, one.level) - self.of
        return Sample(one.level, until, np.concatenate([one.rows, np.column_stack([column[at] for column in columns])]))

    def select(self, columns: Sequence[int]) -> Sample:
        """With some of the columns only."""
        return Sample(self.level, self.of, self.rows[:, list(columns)])

    def moved(self, origin: Array, size: Array) -> Sample:
        """With the columns counted from an origin in units of a size, both (q,)."""
        return Sample(self.level, self.of, (self.rows - origin) / size)

    def thinned(self, level: int) -> Sample:
        """One row of every 2^`level`."""
        one = self
        while one.level < level:
            one = one._thinned(one.of)
        return one

    def save(self, path: Path) -> None:
        """Write it to a file, so that a path can travel."""
        with path.open("wb") as file:
            np.savez(file, level=self.level, of=self.of, rows=self.rows)

    @classmethod
    def load(cls, path: Path) -> Sample:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(int(saved["level"]), int(saved["of"]), saved["rows"])

    def _thinned(self, rows: int) -> Sample:
        """At the next level, of so many rows whose sample this holds."""
        known, kept = chosen(0, rows, self.level), chosen(0, rows, self.level + 1)
        return Sample(self.level + 1, self.of, self.rows[np.isin(known, kept, assume_unique=True)])


def merge_samples(parts: Sequence[Sample]) -> Sample:
    """One sample of several tables, one below the other; each is thinned as far as that of the longest."""
    level, q = max(part.level for part in parts), parts[0].rows.shape[1]
    thin = [part.thinned(level) for part in parts]
    while sum(len(part.rows) for part in thin) > _room(q):
        level += 1
        thin = [part.thinned(level) for part in thin]
    return Sample(level, sum(part.of for part in parts), np.concatenate([part.rows for part in thin]))


def chosen(first: int, until: int, level: int) -> Array:
    """The numbers of the rows that are taken among those from `first` up to `until`, ascending."""
    rows = np.arange(first >> level, -(-until >> level), dtype=np.uint64)
    for deeper in range(level, 0, -1):
        rows = 2 * rows + _half(rows, deeper)
    return rows[(rows >= first) & (rows < until)].astype(np.int64)


def drawn(rows: int, most: int) -> Array:
    """The numbers of so many of a table's rows, at most, ascending; all of them where there are no more."""
    level = 0
    while _count(rows, level) > most:
        level += 1
    return chosen(0, rows, level)


def _half(pairs: Array, level: int) -> Array:
    """Which half of each pair is taken, 0 or 1."""
    mixed = (pairs + np.uint64(level << 48)) * np.uint64(_MIX)
    mixed ^= mixed >> np.uint64(29)
    return (mixed * np.uint64(_MIX)) >> np.uint64(63)


def _count(rows: int, level: int) -> int:
    return -(-rows >> level)  # at most


def _room(columns: int) -> int:
    return max(min(MOST, _VALUES // columns), _LEAST)
