"""Rows beyond what memory is to hold: written to files as they come, and mapped where they are needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gd.arrays import Array

__all__ = ["Keeping", "Scratch", "Spilled", "beyond", "mapped", "maps", "parts", "scratches", "write"]

MOST_BYTES = 64 << 20
"""Of a table that is held in memory; the rows of a larger one lie in files."""

_ROWS = "rows"  # a folder
_BLOCK_BYTES = 32 << 20  # of rows that are worked on at once, where they are not all in memory
_CACHED_BYTES = 1 << 20
_FEWEST = 1024  # rows of such a block
_STEP = 16  # of whose rows each block has a multiple: it then begins on a multiple of 64 bytes, as PyTorch wants it


class Scratch(NamedTuple):
    """Where a pass over a file may put rows, and how many bytes of them it may hold before it does."""

    file: Path  # without an ending; what stood there is written over
    most: int


@dataclass(frozen=True, slots=True)
class Spilled:
    """The rows of a pass that memory was not to hold, in a file, one behind the other."""

    path: Path
    rows: int
    columns: int

    def mapped(self) -> Array:
        """The rows, (n, q); pages are read when they are touched."""
        return np.asarray(np.memmap(self.path, np.float64, "r", shape=(self.rows, self.columns)))

    def remove(self) -> None:
        """Give the room on the disk back."""
        self.path.unlink(missing_ok=True)


class Keeping:
    """Takes rows block by block, and holds them in memory or, once they are too many, in a file."""

    def __init__(self, scratch: Scratch | None) -> None:
        self._scratch = scratch
        self._blocks: list[tuple[Array, ...]] = []
        self._bytes = 0
        self._spilled: Spilled | None = None

    def add(self, columns: tuple[Array, ...]) -> None:
        """Take the rows that come next, as columns, each (n,)."""
        self._blocks.append(columns)
        self._bytes += 8 * len(columns) * len(columns[0])
        if self._scratch is not None and (self._spilled is not None or self._bytes > self._scratch.most):
            self._spill(self._scratch.file.with_name(f"{self._scratch.file.name}.rows"))

    def _spill(self, path: Path) -> None:
        rows, columns = sum(len(block[0]) for block in self._blocks), len(self._blocks[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb" if self._spilled is None else "ab") as file:
            for block in self._blocks:
                file.write(np.column_stack(block).data)
        self._spilled = Spilled(path, rows + (self._spilled.rows if self._spilled is not None else 0), columns)
        self._blocks = []

    def result(self) -> tuple[Array, ...] | Spilled:
        """All rows: the columns, each (n,), or the file that they stand in."""
        return self._spilled or tuple(np.concatenate(column) for column in zip(*self._blocks, strict=True))

    def drop(self) -> None:
        """Keep none."""
        if self._spilled is not None:
            self._spilled.remove()
        self._blocks, self._spilled = [], None


def beyond(rows: int, columns: int) -> bool:
    """Whether a table of float64 is more than memory is to hold at once."""
    return 8 * rows * columns > MOST_BYTES


@contextmanager
def scratches(folder: Path | None, files: int) -> Iterator[list[Scratch | None]]:
    """Where the passes over so many files of one data set may put rows, which are gone afterwards.

    Args:
        folder: that holds them; there is none, and all rows stay in memory, when None.
        files: which together hold in memory what one alone may.
    """
    if folder is None:
        yield [None] * files
        return
    try:
        yield [Scratch(folder / _ROWS / str(j), MOST_BYTES // files) for j in range(files)]
    finally:
        shutil.rmtree(folder / _ROWS, ignore_errors=True)


def parts(rows: int, columns: int, *, cached: bool = False) -> list[slice]:
    """A table by blocks of neighbouring rows, each of a bounded number of bytes; one of no row has none.

    Args:
        rows: of the table.
        columns: of the table.
        cached: blocks small enough for a core's cache, to turn rows into columns in.
    """
    most = max((_CACHED_BYTES if cached else _BLOCK_BYTES) // (8 * max(columns, 1)) // _STEP * _STEP, _FEWEST)
    return [slice(start, min(start + most, rows)) for start in range(0, rows, most)]


def write(path: Path, shape: tuple[int, ...], blocks: Iterable[Array]) -> Array:
    """Write a column-major matrix of float64, or a vector, as `np.save` does, out of blocks of its rows; gives it mapped.

    The file is written and not mapped while it grows: a full disk is then an error, and not the end of the process.

    Args:
        path: of the file.
        shape: of the whole, (n, p) or (n,).
        blocks: its rows in order, each (m, p) or (m,).
    """
    head = {"descr": np.dtype(np.float64).str, "fortran_order": len(shape) > 1, "shape": shape}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        begin, row = file.tell(), 0
        for block in blocks:
            for j, column in enumerate(block.T if len(shape) > 1 else [block]):
                file.seek(begin + 8 * (j * shape[0] + row))
                file.write(np.ascontiguousarray(column, np.float64).data)
            row += len(block)
    return mapped(path)


def mapped(path: Path) -> Array:
    """An array in a file, mapped and not read: what is written to it stays in memory."""
    return np.asarray(np.load(path, mmap_mode="c"))


def maps(array: Array, path: Path) -> bool:
    """Whether an array is the content of that file, mapped: to write it there again would be to cut off what is read."""
    base = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return base.filename is not None and Path(base.filename) == path.resolve()
        base = base.base  # type: ignore[assignment]
    return False
