"""From a large CSV to its report, beside a bare pass of the reader over the same file: time and memory, and how they grow."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.benchmarks import tables, whole
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["SIZES", "Scaled", "command", "home", "measure", "records", "report"]

SIZES = ((10**6, 10), (10**7, 10))  # n, d

_EPOCHS = 10_000
_TIMEOUT = 600  # seconds, for one process
_BARE = "pyarrow read_csv, own blocks"  # the chosen reader, and nothing else: no hash, no check, no moments
_ROUNDS = 3
_SHARE, _FIXED = 1.5, 5.0  # aim: at most so many times a bare pass, plus so many seconds
_MEMORY = 700.0  # MB, aim
_ALIKE = 0.1  # how far the peaks of both sizes may be apart


class Scaled(NamedTuple):
    """One size: medians of the rounds; 1 MB is 10⁶ bytes."""

    n: int
    d: int
    bare: float  # seconds of a process that only reads
    bare_peak: float  # MB of that process
    run: float  # seconds of `gd run`, from the CSV to the written report
    cpu: float  # seconds, its server's included
    peak: float  # MB of the gd process itself
    server: float  # MB of the largest process below it, its server
    together: float  # MB, the largest sum at one moment

    @property
    def limit(self) -> float:
        """Seconds that a run may take."""
        return _SHARE * self.bare + _FIXED


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('numpy', 'torch', 'pyarrow', 'prefect')}."
    yield ""
    yield f"`gd run` with both backends and {_EPOCHS:,} epochs each, from the CSV to the written report, with a temporary"
    yield "server whose database exists, beside a process that only reads the same file with the same reader"
    yield f"(tests/benchmarks/reader.py, `gd`). Medians of {_ROUNDS} rounds by turns, the file in the page cache. Peaks are"
    yield "VmHWM, looked at every 50 ms: of the process itself, of its server, which is a child process, and the largest sum of"
    yield "the resident memory of all of them at one moment, where pages that they share count in each."
    yield ""
    yield from table("rows", "features", "bare s", "bare MB", "run s", "processor s", "gd MB", "server MB", "together MB")
    found = []
    with tables.folder() as folder:
        for n, d in SIZES:
            try:
                path = tables.write(folder, n, d)
            except tables.NoRoomError as error:
                yield row(f"{n:,}", d, f"skipped: {error}", *[""] * 6)
                continue
            one = measure(path, n, d)
            found.append(one)
            numbers = f"{one.bare:.2f}", f"{one.bare_peak:,.0f}", f"{one.run:.2f}", f"{one.cpu:.2f}"
            yield row(f"{n:,}", d, *numbers, *(f"{x:,.0f}" for x in (one.peak, one.server, one.together)))
    yield ""
    yield from _aims(found)


def measure(
    path: Path, n: int, d: int, *, rounds: int = _ROUNDS, epochs: int = _EPOCHS, server: Mapping[str, str] | None = None
) -> Scaled:
    """A bare pass and a run over one table, by turns.

    Args:
        path: the table.
        n: its rows.
        d: its features.
        rounds: of both.
        epochs: of each backend.
        server: environment that names a server; a temporary one for each run when None.
    """
    bare, runs = [], []
    with ExitStack() as stack:
        fresh = stack.enter_context(home()) if server is None else lambda: dict(server)
        reports = Path(stack.enter_context(TemporaryDirectory()))
        for turn in range(rounds):
            bare.append(whole.measure(whole.module("reader", _BARE, str(path)), timeout=_TIMEOUT).check())
            words = command(path, reports / str(turn), epochs=epochs)
            runs.append(whole.measure(words, timeout=_TIMEOUT, environment=fresh()).check())
    servers = [max((part.peak for part in run.parts if not part.is_main), default=0.0) for run in runs]
    return Scaled(
        n, d,
        bare=median(one.seconds for one in bare), bare_peak=median(one.peak for one in bare),
        run=median(one.seconds for one in runs), cpu=median(one.cpu for one in runs),
        peak=median(one.main for one in runs), server=median(servers), together=median(one.together for one in runs),
    )  # fmt: skip


def command(path: Path, reports: Path, *words: str, epochs: int = _EPOCHS) -> list[str]:
    """The words of `gd run` on a table: every epoch is trained, and the records come out as JSON."""
    fixed = ["--target", "y", "--epochs", str(epochs), "--tolerance", "0", "--reports", str(reports), "--json"]
    return [sys.executable, "-m", "gd", "run", str(path), *fixed, *words]


def records(used: whole.Usage) -> list[dict[str, Any]]:
    """What `gd run --json` said of each data set."""
    return [json.loads(line) for line in used.output.splitlines()]


@contextmanager
def home() -> Iterator[Callable[[], dict[str, str]]]:
    """Environments for runs, one at each call: a temporary server's database exists, and nothing is known from earlier runs."""
    with TemporaryDirectory() as name:
        folder, count = Path(name), itertools.count()

        def environment(home: Path) -> dict[str, str]:
            quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
            return {"PREFECT_HOME": str(home), "PREFECT_API_URL": "", **quiet}

        def fresh() -> dict[str, str]:
            return environment(Path(shutil.copytree(folder / "first", folder / f"{next(count)}")))

        small = [sys.executable, "-m", "gd", "run", "--preset", "notebook", "--reports", str(folder / "reports")]
        whole.measure(small, timeout=_TIMEOUT, environment=environment(folder / "first")).check()
        yield fresh


def _aims(found: Sequence[Scaled]) -> Iterator[str]:
    yield from table("aim", "limit", "measured", "")
    for one in found:
        size = f"{one.n:,} × {one.d}"
        text = f"{size}: {_SHARE} times a bare pass, plus {_FIXED:g} s"
        yield row(text, f"{one.limit:.2f} s", f"{one.run:.2f} s", verdict(one.run <= one.limit))
        yield row(f"{size}: peak memory of gd", f"{_MEMORY:g} MB", f"{one.peak:,.0f} MB", verdict(one.peak <= _MEMORY))
    if len(found) == len(SIZES):
        few, many = found
        growth, times = many.run / few.run, many.n / few.n
        text = "time grows at most in proportion to the rows"
        yield row(text, f"{times:g} times", f"{growth:.2f} times", verdict(growth <= times))
        apart = abs(many.peak / few.peak - 1)
        yield row("peak memory is the same", f"{_ALIKE:.0%}", f"{apart:.1%} apart", verdict(apart <= _ALIKE))
