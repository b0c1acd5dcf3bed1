"""From a CSV to its weights, as whole processes: this project beside what people use for that."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from gd.table import Array
from tests.benchmarks import tables, whole
from tests.benchmarks.page import machine, row, table, verdict
from tests.benchmarks.peer import PEERS

__all__ = ["SIZES", "Way", "measure", "missing", "report"]

SIZES = ((10**6, 10), (10**5, 100))  # n, d

_CLOSE = 1e-6  # largest relative error of a weight that counts as the optimum
_TIMEOUT = 120  # seconds, for one process
_ROUNDS = 5  # for those that are quick
_QUICK = 10  # seconds
_PACKAGES = ("numpy", "torch", "pandas", "scikit-learn", "statsmodels", "lightning", "xgboost-cpu", "vowpalwabbit")
_OTHERS = [name for name in PEERS if not name.startswith("gd-")]
_AIM = 1.2  # times LinearRegression, for both backends


class Way(NamedTuple):
    """One way on one table: medians of its rounds, or why there are none."""

    name: str
    seconds: float  # of the whole process
    cpu: float
    peak: float  # MB, ru_maxrss
    phases: dict[str, float]  # seconds
    error: float  # largest relative error of a weight
    reason: str = ""

    @property
    def arrived(self) -> bool:
        """Whether the weights are those of the optimum."""
        return self.error <= _CLOSE


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine(*_PACKAGES)}."
    yield ""
    yield "Whole processes, imports included, without a report; the file is in the page cache. They take turns; medians of"
    yield f"{_ROUNDS} rounds where the first took less than {_QUICK} s, else that one. The others read with pandas unless it is"
    yield "said, and are set up in their favour (tests/benchmarks/peer.py). The error is the largest relative error of a weight"
    yield "or the intercept against the optimum from a QR factor of the table; peak memory is ru_maxrss."
    with tables.folder() as folder:
        for n, d in SIZES:
            yield ""
            yield f"{n:,} rows × {d} features:"
            yield ""
            try:
                path = tables.write(folder, n, d)
            except tables.NoRoomError as error:
                yield f"Skipped: {error}."
                continue
            yield from table("way", "seconds", "import", "read", "fit", "processor seconds", "peak MB", "error", "within 1e-6")
            ways = []
            for way in measure(path, tables.optimum(n, d)):
                ways.append(way)
                yield _row(way)
            yield ""
            yield from _aims({way.name: way for way in ways if not way.reason})


def measure(
    path: Path, optimum: Array, names: Sequence[str] | None = None, *, rounds: int = _ROUNDS, words: Sequence[str] = ()
) -> Iterator[Way]:
    """Each way on a table, in the order of `PEERS`.

    Args:
        path: the table.
        optimum: weights to arrive at, intercept last, (d + 1,).
        names: of ways; all when None. One whose package is missing gets a row that says so.
        rounds: at most.
        words: further ones for the process.
    """
    chosen = list(names or PEERS)
    usages: dict[str, list[whole.Usage]] = {name: [] for name in chosen}
    for turn in range(rounds):
        for name in chosen:
            used = usages[name]
            if missing(name) or (turn and (used[0].seconds > _QUICK or used[0].status)):
                continue
            used.append(whole.measure(whole.module("peer", name, str(path), *words), timeout=_TIMEOUT))
    for name in chosen:
        yield _way(name, usages[name], optimum)


def missing(name: str) -> list[str]:
    """Packages that a way needs and that are not here."""
    return [package for package in PEERS[name].packages if not find_spec(package)]


def _way(name: str, usages: Sequence[whole.Usage], optimum: Array) -> Way:
    if not usages:
        return Way(name, math.nan, math.nan, math.nan, {}, math.nan, f"not installed: {', '.join(missing(name))}")
    seconds, cpu, peak = (median(column) for column in zip(*((one.seconds, one.cpu, one.peak) for one in usages), strict=True))
    if wrong := next((one for one in usages if one.status), None):
        last = (wrong.errors.strip().splitlines() or [f"ended with {wrong.status}"])[-1]
        return Way(name, seconds, cpu, peak, {}, math.nan, f"ended after {_TIMEOUT} s" if wrong.timed_out else last[:200])
    found = [json.loads(one.output.strip().splitlines()[-1]) for one in usages]
    phases = {phase: median(one["seconds"].get(phase, 0.0) for one in found) for phase in ("import", "read", "fit")}
    errors = [float(np.max(np.abs(np.array(one["weights"]) / optimum - 1))) for one in found]
    return Way(name, seconds, cpu, peak, phases, max(errors))


def _row(way: Way) -> str:
    title = PEERS[way.name].title
    if way.reason:
        used = ["" if math.isnan(way.seconds) else f"{way.seconds:.2f}", "", "", ""]
        return row(title, *used, "", "" if math.isnan(way.peak) else f"{way.peak:,.0f}", "", way.reason)
    phases = [f"{way.phases[phase]:.2f}" for phase in ("import", "read", "fit")]
    reached = "yes" if way.arrived else "no"
    return row(title, f"{way.seconds:.2f}", *phases, f"{way.cpu:.2f}", f"{way.peak:,.0f}", f"{way.error:.0e}", reached)


def _aims(ways: dict[str, Way]) -> Iterator[str]:
    """What was asked for, against every way that arrived; the ones that did not are not in the race."""
    rivals = [ways[name] for name in _OTHERS if name in ways and ways[name].arrived]
    if not rivals:
        return
    quickest, smallest = min(rivals, key=lambda way: way.seconds), min(rivals, key=lambda way: way.peak)
    yield from table("aim", "gd", "the best of the others", "")
    if ours := ways.get("gd-numpy"):
        best = f"{quickest.seconds:.2f} s, {PEERS[quickest.name].title}"
        met = ours.arrived and ours.seconds < quickest.seconds
        yield row("NumPy alone: faster than every one that arrives", f"{ours.seconds:.2f} s", best, verdict(met))
        best = f"{smallest.peak:,.0f} MB, {PEERS[smallest.name].title}"
        met = ours.arrived and ours.peak < smallest.peak
        yield row("NumPy alone: smaller than every one that arrives", f"{ours.peak:,.0f} MB", best, verdict(met))
    linear = ways.get("sklearn-linear")
    if linear and (both := ways.get("gd-both")):
        ratio, best = both.seconds / linear.seconds, f"{linear.seconds:.2f} s, {PEERS[linear.name].title}"
        met = both.arrived and ratio <= _AIM
        text = f"both backends: at most {_AIM} times `LinearRegression`"
        yield row(text, f"{both.seconds:.2f} s, {ratio:.2f} times", best, verdict(met))
