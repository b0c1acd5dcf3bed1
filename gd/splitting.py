"""Which rows are held out for validation, and the fold of each of the others: the same ones however the files are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, Field, model_validator

from gd.arrays import Array
from gd.refusal import shown

__all__ = ["HELD_OUT", "TRAINED_ON", "Count", "Parting", "Split", "partings"]

HELD_OUT = ("1", "1.0", "true", "test", "val", "valid", "validation")
"""What a column says, in capitals or not, of a row that is held out."""

TRAINED_ON = ("0", "0.0", "false", "train", "training")
"""And of one that is not."""

_WAYS = "a share such as 0.2, last:0.2 or column:NAME"
_MOST_FOLDS = 1000
_GAMMA = 0x9E3779B97F4A7C15  # 2⁶⁴ by the golden ratio
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_HOLDING, _FOLDING = 1, 2  # two draws of one row that know nothing of each other


class Split(BaseModel, frozen=True, extra="forbid"):
    """Which rows are held out, and into how many folds the others are split: at most one of the three ways, or only folds."""

    share: float | None = Field(default=None, gt=0, lt=1, description="Of the rows that is held out, each by chance.")
    last: float | None = Field(default=None, gt=0, lt=1, description="Share of the rows, the last ones, that is held out.")
    column: str | None = Field(
        default=None,
        min_length=1,
        description="A column of 0 and 1, of false and true, or of train and test: rows in which it says 1, true, test, val, "
        "valid or validation are held out. It is no feature.",
    )
    seed: int = Field(default=0, ge=0, description="Of the chance: the same seed holds out the same rows.")
    folds: int | None = Field(
        default=None, ge=2, le=_MOST_FOLDS, description="Of cross-validation among the rows that are not held out."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Split:
        ways = [name for name in ("share", "last", "column") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are two ways to hold rows out: choose one")
        if not ways and self.folds is None:
            raise ValueError(f"nothing is split: hold out {_WAYS}, or say how many folds")
        return self

    @classmethod
    def parse(cls, word: str, *, seed: int = 0, folds: int | None = None) -> Split:
        """From one word: ``0.2`` by chance, ``last:0.2`` the last rows, ``column:NAME`` as a column says.

        Args:
            word: the word.
            seed: of the chance.
            folds: of cross-validation among the rows that are not held out.

        Raises:
            ValueError: if it is none of these, saying what is.
        """
        kind, colon, rest = word.partition(":")
        if colon and kind == "column":
            if not rest.strip():
                raise ValueError(f"{shown(word)} names no column: write column:NAME")
            return cls(column=rest, seed=seed, folds=folds)
        if colon and kind != "last":
            raise ValueError(f"{shown(word)} is no split: {_WAYS}")
        try:
            share = float(rest if colon else word)
        except ValueError:
            raise ValueError(f"{shown(word)} is no split: {_WAYS}") from None
        if not 0 < share < 1:
            raise ValueError(f"{shown(word)}: a share is above 0 and below 1, such as 0.2")
        return cls(last=share, seed=seed, folds=folds) if colon else cls(share=share, seed=seed, folds=folds)

    @property
    def holds_out(self) -> bool:
        """Whether rows are held out at all."""
        return (self.share, self.last, self.column) != (None, None, None)

    @property
    def parts(self) -> int:
        """Folds, or all rows that are trained on; and those that are held out."""
        return (self.folds or 1) + self.holds_out


class Count(NamedTuple):
    """Rows of a file that come before some row."""

    rows: int = 0
    used: int = 0  # those without a gap
    trained: int = 0  # those of them that are not held out


@dataclass(frozen=True, slots=True)
class Parting:
    """How the rows of one file of a data set are told apart.

    A row is known by the number of its file and by its own number in it, so that neither the blocks in which a file is read,
    nor the threads that read it, nor which columns have gaps, change whether it is held out. Folds are dealt out to the rows
    trained on as cards are: each k of them in a row go to k different folds, in an order of their own.

    Source:
        Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, OOPSLA (the mixing function).
    """

    split: Split
    file: int = 0  # its number among the files of the data set
    cut: int | None = None  # where the last rows are held out: how many rows used of this file are not

    def parts_of(self, before: Count, at: Array, marked: Array | None) -> Array:
        """The part of each row that is used: its fold, or 0 where there are none; those held out are the part behind these.

        Args:
            before: rows of the file that come before this block.
            at: places of the rows used among all rows of the block, ascending, (m,).
            marked: whether a column holds out each of all rows of the block, (rows,); None where no column does.

        Returns:
            (m,), int16.
        """
        held, k = self._held(before, at, marked), self.split.folds or 1
        part = np.full(len(at), k, np.int16)
        part[~held] = self._folds(before.trained, len(at) - int(np.count_nonzero(held)))
        return part

    def _held(self, before: Count, at: Array, marked: Array | None) -> Array:
        if self.split.share is not None:
            return np.asarray(_uniform(self._draws(_HOLDING, before.rows + at)) < self.split.share)
        if self.split.last is not None:
            assert self.cut is not None
            return np.asarray(before.used + np.arange(len(at)) >= self.cut)
        return np.zeros(len(at), bool) if marked is None else np.asarray(marked[at])

    def _folds(self, first: int, rows: int) -> Array:
        """Of so many rows trained on, from that one on, (rows,)."""
        k = self.split.folds or 1
        if k == 1:
            return np.zeros(rows, np.int16)
        start, end = first // k, -(-(first + rows) // k)  # whole deals around them
        drawn = self._draws(_FOLDING, np.arange(start * k, end * k)).reshape(-1, k)
        dealt = drawn.argsort(axis=1, kind="stable").reshape(-1)
        return np.asarray(dealt[first - start * k :][:rows], np.int16)

    def _draws(self, stream: int, numbers: Array) -> Array:
        """64 bits by chance for each number of a row, (m,)."""
        start = _mixed(_mixed(_mixed(self.split.seed) + stream) + self.file)
        z = np.uint64(start) + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
        return np.asarray(z ^ (z >> np.uint64(31)))


def partings(split: Split | None, files: int, cuts: Sequence[int] | None = None) -> list[Parting | None]:
    """How the rows of each file are told apart; None where they are not, or not yet.

    Args:
        split: what is held out.
        files: how many there are.
        cuts: where the last rows are held out, how many rows used of each file are not; None while nobody knows.
    """
    if split is None or (split.last is not None and cuts is None):
        return [None] * files
    by_chance = split.share is not None or split.folds is not None  # else a file's number is all the same
    return [Parting(split, j if by_chance else 0, cuts[j] if cuts is not None else None) for j in range(files)]


def _mixed(number: int) -> int:
    """A number of which each bit depends on every bit of another."""
    z = (number + _GAMMA) % 2**64
    z = (z ^ (z >> 30)) * _FIRST % 2**64
    z = (z ^ (z >> 27)) * _SECOND % 2**64
    return z ^ (z >> 31)


def _uniform(bits: Array) -> Array:
    """In [0, 1), on a grid of 2⁻⁵³."""
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)
