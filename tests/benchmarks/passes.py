"""What an epoch costs where rows no longer count, and what it costs where every row is read: against one read of them."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np

from gd import backends
from gd.optimizers import gradient_descent
from gd.problems import design, least_squares
from gd.table import Array
from gd.training import train
from tests.benchmarks.epochs import BACKENDS, gd_loop, notebook_loop, plane
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["COMPRESSED_AIMS", "READ_AIMS", "Compressed", "Pass", "compressed", "measure_compressed", "measure_rows", "report"]

COMPRESSED_AIMS = {"numpy": 4.0, "torch": 45.0}  # µs an epoch, below
READ_AIMS = {10**6: 3.0, 10**7: 4.0}  # rows: times one read of X and y, at most

_FEATURES = 10
_EPOCHS = 10_000
_SECONDS = 1.0  # of one loop over the rows


class Compressed(NamedTuple):
    """Epochs on a compressed table, µs each: medians of the rounds, with the smallest and the largest."""

    backend: str
    middle: float
    low: float
    high: float


class Pass(NamedTuple):
    """One epoch over the rows beside one read of them, in seconds: medians of the rounds."""

    n: int
    backend: str
    read: float  # of X and y from memory
    gd: float
    notebook: float

    @property
    def times(self) -> float:
        """Reads that an epoch takes."""
        return self.gd / self.read


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('numpy', 'torch')}."
    yield ""
    yield f"`train` on a compressed table, {_FEATURES + 2} rows for {_FEATURES} features and the intercept, {_EPOCHS:,} epochs:"
    yield "µs an epoch of loop and log together. Medians of 7 rounds, with the smallest and the largest."
    yield ""
    yield from table("backend", "µs/epoch", "from", "to", "aim, below", "")
    for one in measure_compressed():
        aim = COMPRESSED_AIMS[one.backend]
        numbers = (f"{x:.2f}" for x in one[1:])
        yield row(one.backend, *numbers, f"{aim:g}", verdict(one.middle < aim))
    yield ""
    yield f"Over all rows, {_FEATURES} features, float64: ms an epoch of the loops of the section above, beside one read of X"
    yield "and y from memory (`a.dot(a)` by BLAS on all cores, or `a.sum()`, whichever is faster). Medians of rounds by turns."
    yield ""
    yield from table("n", "backend", "one read", "gd", "notebook", "gd / read", "notebook / read", "aim, at most", "")
    for n, aim in READ_AIMS.items():
        if (needed := 3 * 8 * n * (_FEATURES + 2) / 1e9) > (free := _available() / 1e9):
            yield row(f"{n:,}", f"skipped: needs {needed:.1f} GB, {free:.1f} GB are free", *[""] * 7)
            continue
        for found in measure_rows(n):
            cells = (f"{1e3 * x:,.1f}" for x in found[2:])
            ratios = f"{found.times:.2f}", f"{found.notebook / found.read:.2f}"
            yield row(f"{n:,}", found.backend, *cells, *ratios, f"{aim:g}", verdict(found.times <= aim))


def compressed(d: int) -> tuple[Array, Array]:
    """A table of d + 2 rows with the loss, gradient and optimum of 1,000 standard normal ones: A, (d + 2, d + 1), and b."""
    # for the lead: gd/moments.py makes these two from a CSV
    X, y = plane(1000, d)
    factor = np.linalg.qr(np.column_stack([X, np.ones(len(X)), y]), mode="r")
    scaled = np.asarray(factor) * math.sqrt((d + 2) / len(X))  # its mean of squares is then that of all rows
    return design(scaled[:, : d + 1], intercept=False), np.ascontiguousarray(scaled[:, d + 1])


def measure_compressed(d: int = _FEATURES, *, rounds: int = 7, epochs: int = _EPOCHS) -> list[Compressed]:
    """`train` on a compressed table, the backends by turns, after a short run of each that is not counted."""
    A, b = compressed(d)
    step = gradient_descent(float(len(b) / (2 * np.linalg.norm(A, 2) ** 2)))
    objectives = {name: backends.get(name).objective(least_squares(A, b)) for name in BACKENDS}
    times: dict[str, list[float]] = {name: [] for name in BACKENDS}
    for turn in range(rounds + 1):
        for name, objective in objectives.items():
            k = epochs if turn else max(1, epochs // 10)
            began = perf_counter()
            train(objective, A.shape[1], step, epochs=k)
            if turn:
                times[name].append(1e6 * (perf_counter() - began) / k)
    return [Compressed(name, median(found), min(found), max(found)) for name, found in times.items()]


def measure_rows(n: int, d: int = _FEATURES, *, rounds: int = 5, epochs: int | None = None) -> list[Pass]:
    """An epoch over the rows beside one read of them, everything by turns.

    Args:
        n: rows.
        d: features.
        rounds: of all loops, after a short turn that is not counted.
        epochs: of each loop; as many as fill a second, at least 5, when not given.
    """
    found = []
    X, y = plane(n, d)
    A = design(X, intercept=False)
    flat = A.reshape(-1, order="F")
    reads: dict[str, Callable[[], object]] = {
        "dot": lambda: (flat.dot(flat), y.dot(y)),
        "sum": lambda: (flat.sum(), y.sum()),
    }
    for backend in BACKENDS:
        loops = {"gd": gd_loop(backend, X, y), "notebook": notebook_loop(backend, X, y)}
        loops["gd"](2)
        began = perf_counter()
        loops["notebook"](2)
        k = epochs or int(np.clip(2 * _SECONDS / (perf_counter() - began), 5, 500))
        times: dict[str, list[float]] = {name: [] for name in (*reads, *loops)}
        for _ in range(rounds):
            for name, read in reads.items():
                began = perf_counter()
                for _ in range(k):
                    read()
                times[name].append((perf_counter() - began) / k)
            for name, loop in loops.items():
                began = perf_counter()
                loop(k)
                times[name].append((perf_counter() - began) / k)
        middle = {name: median(some) for name, some in times.items()}
        found.append(Pass(n, backend, min(middle["dot"], middle["sum"]), middle["gd"], middle["notebook"]))
        del loops
        gc.collect()
    return found


def _available() -> float:
    """Bytes of memory that can be had."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  (it has no size)
        return next(float(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
