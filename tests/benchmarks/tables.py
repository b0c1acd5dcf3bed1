"""Tables as large as they need to be: the same numbers every time, written block by block in constant memory.

    python -m tests.benchmarks.tables 10000000 10 /tmp/tables --shards 8

A table has d features x0, x1, … and a target y, normal numbers of 8 decimals: 11.5 characters a cell, so that 10⁷ rows of 10
features are 1.3 GB. Which rows there are depends on n and d alone, not on the number of shards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from gd.table import Array

__all__ = ["FOLDER", "NoRoomError", "blocks", "estimate", "folder", "optimum", "write"]

FOLDER = "GD_BENCH_TABLES"
"""Environment variable that names a folder in which tables are kept from run to run."""

_SEED = 1847
_CELLS = 10**6  # of a block
_NOISE = 0.1
_ROOM = 1.1  # times what a table takes must be free, with a gigabyte beside it for whatever else is written
_SPARE = 10**9


class NoRoomError(RuntimeError):
    """The disk is too full for a table."""


@contextmanager
def folder(given: Path | None = None) -> Iterator[Path]:
    """A folder for tables: one that was named, which is kept, or a temporary one, which is not."""
    if given is None and os.environ.get(FOLDER):
        given = Path(os.environ[FOLDER])
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="gd-bench-") as name:
        yield Path(name)


def estimate(n: int, d: int) -> int:
    """Bytes of a table, within a few per cent."""
    return int(11.5 * n * (d + 1))


def write(where: Path, n: int, d: int, shards: int | None = None) -> Path:
    """Write a table, unless it is there already.

    Args:
        where: folder of tables.
        n: rows.
        d: features.
        shards: files in a folder of their own, of equal numbers of rows; one file and no folder when None.

    Returns:
        The file, or the folder of shards.

    Raises:
        NoRoomError: if the disk is too full.
    """
    path = where / (f"table-{n}x{d}.csv" if shards is None else f"table-{n}x{d}-in-{shards}")
    if path.exists():
        return path
    needed, free = int(_ROOM * estimate(n, d)) + _SPARE, shutil.disk_usage(where).free
    if free < needed:
        raise NoRoomError(f"{n:,} × {d} needs {needed / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free")
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    if shards is None:
        _write_rows(part, n, d, 0, n)
    else:
        part.mkdir()
        bounds = [n * shard // shards for shard in range(shards + 1)]
        for shard in range(shards):
            _write_rows(part / f"shard-{shard:04}.csv", n, d, bounds[shard], bounds[shard + 1])
    return part.rename(path)


def blocks(n: int, d: int, first: int = 0, last: int | None = None) -> Iterator[tuple[Array, Array]]:
    """The numbers in a table's rows from `first` to before `last`: X, row-major, (k, d), and y, (k,), block by block."""
    for block, begin, end in _spans(n, d, first, n if last is None else last):
        yield _block(n, d, block, begin, end)


def optimum(n: int, d: int) -> Array:
    """The least-squares weights of a table, intercept last, (d + 1,), to about 1e-15 on these well-conditioned columns.

    From the triangular factor of [X, 1, y], block by block, which squares no condition number.
    """
    factor: Array = np.zeros((0, d + 2))
    for X, y in blocks(n, d):
        factor = np.asarray(np.linalg.qr(np.vstack([factor, np.column_stack([X, np.ones(len(X)), y])]), mode="r"))
    return np.asarray(np.linalg.solve(factor[: d + 1, : d + 1], factor[: d + 1, d + 1]))


def _spans(n: int, d: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Number of each block that holds some of the rows, and which of its own rows those are."""
    size = max(1, _CELLS // (d + 1))
    for block in range(first // size, -(-last // size)):
        start = block * size
        yield block, max(first - start, 0), min(last - start, size, n - start)


def _block(n: int, d: int, block: int, begin: int, end: int) -> tuple[Array, Array]:
    size = min(max(1, _CELLS // (d + 1)), n - block * max(1, _CELLS // (d + 1)))
    rng = np.random.default_rng([_SEED, n, d, block])
    X = np.round(rng.standard_normal((size, d)), 8)
    y = np.round(X @ np.linspace(-1, 1, d) + 2 + _NOISE * rng.standard_normal(size), 8)
    return X[begin:end], y[begin:end]


def _write_rows(path: Path, n: int, d: int, first: int, last: int) -> None:
    names = [*(f"x{j}" for j in range(d)), "y"]

    def text(block: int, begin: int, end: int) -> pa.Buffer:
        X, y = _block(n, d, block, begin, end)
        sink = pa.BufferOutputStream()
        csv.write_csv(pa.table([*X.T, y], names=names), sink, csv.WriteOptions(include_header=False))
        return sink.getvalue()

    threads = os.cpu_count() or 1
    waiting: deque[Future[pa.Buffer]] = deque()
    with path.open("wb") as file, ThreadPoolExecutor(threads) as pool:
        file.write((",".join(names) + "\n").encode())
        for span in _spans(n, d, first, last):
            waiting.append(pool.submit(text, *span))
            if len(waiting) > threads:
                file.write(waiting.popleft().result())
        while waiting:
            file.write(waiting.popleft().result())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a table.")
    parser.add_argument("rows", type=int)
    parser.add_argument("features", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    print(write(words.folder, words.rows, words.features, words.shards))
