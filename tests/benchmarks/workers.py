"""Many workers on one table, many tables in one flow run, and a worker that is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from gd.table import Array
from tests.benchmarks import tables, whole
from tests.benchmarks.page import machine, row, table, verdict
from tests.benchmarks.scale import command, home, records

__all__ = [
    "Overhead",
    "Shared",
    "Survived",
    "cluster",
    "lacking",
    "measure_killing",
    "measure_overhead",
    "measure_sharing",
    "report",
]

_TIMEOUT = 600  # seconds, for one process
_START = 60.0  # seconds until a scheduler has its workers
_ROUNDS = 3
_SHARDS = 16
_LARGE, _TINY = (10**7, 10), (320, 10)  # n, d: the second costs what everything but the rows costs
_SETS, _SET_ROWS, _SET_EPOCHS = 100, 10**4, 1000
_SHARING_AIM, _OVERHEAD_AIM, _WEIGHTS_AIM = 1.6, 0.15, 1e-12


class Shared(NamedTuple):
    """One sharded table with so many worker processes: medians of the rounds."""

    workers: int
    whole: float  # seconds of the command
    fixed: float  # seconds of the same command on a few rows
    peak: float  # MB of the command's own process
    together: float  # MB, the largest sum at one moment

    @property
    def rows(self) -> float:
        """Seconds that the rows cost."""
        return self.whole - self.fixed


class Overhead(NamedTuple):
    """A flow run over many data sets beside the same steps as plain functions; seconds of whole processes."""

    sets: int
    flow: float
    flow_one: float  # with one data set
    library: float
    library_one: float

    @property
    def each(self) -> float:
        """Seconds of orchestration for each further data set."""
        return ((self.flow - self.flow_one) - (self.library - self.library_one)) / (self.sets - 1)


class Survived(NamedTuple):
    """A run on a cluster of which one worker was killed."""

    shards: int
    done: int  # when the worker was killed
    seconds: float
    rows: int  # that the run says it used
    apart: float  # largest relative difference of a weight from those of a run in one process


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('prefect', 'distributed', 'torch')}."
    with tables.folder() as folder:
        for part in (_sharing, _overhead, _killing):
            yield ""
            try:
                yield from part(folder)
            except tables.NoRoomError as error:
                yield f"Skipped: {error}."


def measure_sharing(
    large: Path, tiny: Path, *, workers: Sequence[int] = (1, 2), rounds: int = _ROUNDS, epochs: int = 10_000
) -> list[Shared]:
    """One data set in shards with so many worker processes, by turns, and the same on a few rows."""
    found: dict[tuple[int, Path], list[whole.Usage]] = {(k, path): [] for k in workers for path in (large, tiny)}
    with home() as fresh, TemporaryDirectory() as reports:
        for turn in range(rounds):
            for (k, path), usages in found.items():
                options = *as_one("sharded"), "--runner", "processes", "--workers", str(k)
                place = Path(reports) / f"{turn}-{k}-{path.name}"  # its own: what was read is kept among the reports
                words = command(path, place, *options, epochs=epochs)
                usages.append(whole.measure(words, timeout=_TIMEOUT, environment=fresh()).check())
    return [
        Shared(
            k, median(one.seconds for one in found[k, large]), median(one.seconds for one in found[k, tiny]),
            median(one.main for one in found[k, large]), median(one.together for one in found[k, large]),
        )
        for k in workers
    ]  # fmt: skip


def measure_overhead(
    folder: Path, sets: int, *, epochs: int = _SET_EPOCHS, ways: Sequence[Sequence[str]] = ((),)
) -> list[Overhead]:
    """Flow runs over the files of a folder, and the bare library over the same.

    Args:
        folder: of CSVs, of which the first alone is also run.
        sets: the number of files.
        epochs: of each training.
        ways: further words for `gd run`, each a row of what comes back.
    """
    sources = ((min(folder.iterdir()), 1), (folder, sets))
    with home() as fresh, TemporaryDirectory() as reports:

        def seconds(words: Sequence[str], where: Path, count: int) -> float:
            used = whole.measure(words, timeout=_TIMEOUT, environment=fresh()).check()
            if (written := len([*where.glob("*/*/run.json")])) != count:
                raise RuntimeError(f"{where.name}: {written} reports of {count}")
            return used.seconds

        library = []
        for path, count in sources:
            where = Path(reports) / f"library-{count}"
            library.append(seconds(whole.module("library", str(path), str(where), str(epochs), str(count)), where, count))
        found = []
        for number, words in enumerate(ways):
            flow = []
            for path, count in sources:
                where = Path(reports) / f"flow-{number}-{count}"
                flow.append(seconds(command(path, where, *words, epochs=epochs), where, count))
            found.append(Overhead(sets, flow[1], flow[0], library[1], library[0]))
    return found


def measure_killing(folder: Path, shards: int, *, epochs: int = 1000, words: Sequence[str] | None = None) -> Survived:
    """A run on a scheduler and two workers, of which the first gets SIGKILL when half of the shards are done.

    Args:
        folder: the shards.
        shards: their number.
        epochs: of the training.
        words: how `gd run` is told that the files are one data set.
    """
    as_told = list(as_one("sharded") if words is None else words)
    with home() as fresh, TemporaryDirectory() as reports:
        alone = command(folder, Path(reports) / "alone", *as_told, epochs=epochs)
        expected = records(whole.measure(alone, timeout=_TIMEOUT, environment=fresh()).check())
        with cluster(fresh()) as (client, workers), ThreadPoolExecutor(1) as pool:
            there = "--runner", "dask", "--scheduler", str(client.scheduler.address)
            line = command(folder, Path(reports) / "dask", *as_told, *there, epochs=epochs)
            running = pool.submit(whole.measure, line, timeout=_TIMEOUT, environment=fresh())
            done = 0
            while done < shards // 2 and not running.done():
                time.sleep(0.02)
                done = executed(client)
            if running.done():
                raise RuntimeError(f"the run ended before a worker could be killed: {running.result().check().errors[-2000:]}")
            workers[0].kill()
            used = running.result().check()
    actual = records(used)
    rows = sum(record["dataset"]["rows_used"] for record in actual)
    pairs = zip(sorted(expected, key=_name), sorted(actual, key=_name), strict=True)
    return Survived(
        shards, done, used.seconds, rows, max(float(np.max(np.abs(_weights(b) / _weights(a) - 1))) for a, b in pairs)
    )


def as_one(name: str) -> list[str]:
    """How `gd run` is told that the files are shards of one data set."""
    return ["--as-one", name]


def executed(client: Any) -> int:
    """Calls that a cluster's workers have done so far."""
    return sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())


@contextmanager
def cluster(environment: Mapping[str, str], workers: int = 2) -> Iterator[tuple[Any, list[subprocess.Popen[bytes]]]]:
    """A dask scheduler and its workers on loopback, each a process: a client, and the workers."""
    from distributed import Client  # noqa: PLC0415

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        about = folder / "scheduler.json"
        log = stack.enter_context((folder / "log").open("wb"))

        def start(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]], cwd=whole.ROOT, stdout=log, stderr=log,
                env={**os.environ, **environment},
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(about))
        worker = "dask_worker", "--scheduler-file", str(about), "--nthreads", "1", "--no-nanny", "--no-dashboard"
        started = [start(*worker, "--local-directory", str(folder)) for _ in range(workers)]
        until = time.monotonic() + _START
        while not about.exists() and time.monotonic() < until:
            time.sleep(0.05)
        with Client(scheduler_file=str(about), timeout=_START) as client:
            client.wait_for_workers(workers, timeout=_START)
            yield client, started


@cache
def lacking(*options: str) -> str:
    """Why a part cannot be measured: options that `gd run` does not have, or a package that is not here; else nothing."""
    if "dask" in options and not find_spec("distributed"):
        return "distributed is not installed"
    used = whole.measure([sys.executable, "-m", "gd", "run", "--help"], timeout=_TIMEOUT).check()
    missing = [option for option in options if option.startswith("--") and option not in used.output]
    return f"`gd run` has no {', '.join(missing)}" if missing else ""


def _sharing(folder: Path) -> Iterator[str]:
    n, d = _LARGE
    yield f"One data set of {n:,} × {d} in {_SHARDS} shards, with one and with two worker processes: seconds of the whole"
    yield f"command. What it costs beside the rows is the same command on {_TINY[0]} rows in as many shards. Medians of"
    yield f"{_ROUNDS} rounds by turns."
    yield ""
    if reason := lacking("--as-one", "--runner", "--workers"):
        yield f"Skipped: {reason}."
        return
    large, tiny = tables.write(folder, *_LARGE, _SHARDS), tables.write(folder, *_TINY, _SHARDS)
    yield from table("workers", "whole", "beside the rows", "the rows", "gd MB", "together MB")
    found = measure_sharing(large, tiny)
    for one in found:
        seconds = (f"{x:.2f}" for x in (one.whole, one.fixed, one.rows))
        yield row(one.workers, *seconds, f"{one.peak:,.0f}", f"{one.together:,.0f}")
    times = found[0].rows / found[1].rows
    yield ""
    yield f"Aim: two at least {_SHARING_AIM} times as fast as one. The rows {times:.2f} times,"
    yield f"{verdict(times >= _SHARING_AIM)}; the whole command {found[0].whole / found[1].whole:.2f} times."


def _overhead(folder: Path) -> Iterator[str]:
    yield f"{_SETS} data sets of {_SET_ROWS:,} rows and 10 features in one flow run, {_SET_EPOCHS:,} epochs with both backends"
    yield "and a report each, beside the same steps as plain functions in a process without a server: seconds of whole"
    yield "processes."
    yield ""
    files = tables.write(folder, _SETS * _SET_ROWS, 10, _SETS)
    yield from table("way", "one data set", f"{_SETS} data sets", "each further one")
    ways = [(), ("--workers", "1")][: 1 if lacking("--workers") else 2]
    found = measure_overhead(files, _SETS, ways=ways)
    yield row("the bare library", *_row(found[0].library_one, found[0].library, _SETS))
    for words, one in zip(ways, found, strict=True):
        yield row(f"`{' '.join(('gd run', *words))}`", *_row(one.flow_one, one.flow, _SETS))
    slowest = max(one.each for one in found)
    yield ""
    yield f"Aim: less than {_OVERHEAD_AIM} s of orchestration a data set. {slowest:.3f} s, {verdict(slowest < _OVERHEAD_AIM)}."


def _killing(folder: Path) -> Iterator[str]:
    yield "A dask scheduler and two workers, three processes on loopback; one worker gets SIGKILL when half of the shards are"
    yield "done."
    yield ""
    if reason := lacking("--as-one", "--runner", "--scheduler", "dask"):
        yield f"Skipped: {reason}."
        return
    n, d = 10**6, 10
    found = measure_killing(tables.write(folder, n, d, _SHARDS), _SHARDS)
    yield from table("shards", "done when it was killed", "seconds", "rows used", "weights apart", "")
    met = found.rows == n and found.apart <= _WEIGHTS_AIM
    numbers = f"{found.seconds:.2f}", f"{found.rows:,} of {n:,}", f"{found.apart:.0e}"
    yield row(found.shards, found.done, *numbers, verdict(met))


def _row(one: float, many: float, sets: int) -> tuple[str, str, str]:
    return f"{one:.2f}", f"{many:.2f}", f"{(many - one) / (sets - 1):.3f}"


def _name(record: Mapping[str, Any]) -> str:
    return str(record["dataset"]["name"])


def _weights(record: Mapping[str, Any]) -> Array:
    """Of every backend, the intercepts included."""
    return np.array([[*fit["weights"].values(), fit["intercept"]] for fit in record["fits"]])
