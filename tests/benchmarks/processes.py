"""The cost of whole processes: the command on the notebook's five rows, and ``import gd``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from tests.benchmarks.page import machine, row, table, verdict

__all__ = [
    "IMPORT_AIM",
    "RUN_AIM",
    "Import",
    "Run",
    "measure_import",
    "measure_run",
    "middle",
    "report_import",
    "report_run",
]

RUN_AIM, IMPORT_AIM = 8.0, 0.3  # seconds, medians

_FRAMEWORKS = ("torch", "matplotlib", "prefect")
_TIMEOUT = 180  # seconds, for one process
_ROOT = Path(__file__).resolve().parents[2]
_IMPORT = f"""
from time import perf_counter
began = perf_counter()
import gd
took = perf_counter() - began
import json, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([took, int(status["VmHWM"].split()[0]) / 1024, [name for name in {_FRAMEWORKS!r} if name in sys.modules]]))
"""


class Run(NamedTuple):
    """Seconds of one `gd run`; imports, wait, flow and rest add up to the total."""

    total: float
    imports: float  # from the start of the process until everything is imported, while the server starts beside it
    wait: float  # for the server after that
    flow: float  # from there until the command has told what came out
    rest: float  # stopping the server and the interpreter
    server: float  # start of the server until it was there and waited for, most of it during the imports


class Import(NamedTuple):
    """One fresh process that imports gd and nothing else."""

    process: float  # seconds, the interpreter's own start and end included
    statement: float  # seconds of the import statement
    peak: float  # MiB
    frameworks: tuple[str, ...]  # that were loaded, and should not have been


def report_run() -> Iterator[str]:
    """The section on the command."""
    yield f"On {machine('prefect', 'torch')}."
    yield ""
    yield "A whole process, seconds, with a temporary server whose database exists. The server starts beside the imports, so"
    yield "that only the wait for it counts; its own start is in the last column."
    yield ""
    yield from table("run", "total", "imports", "wait for server", "flow", "stop", "(server start)")
    runs = measure_run()
    total = middle(runs)
    for name, run in [*((str(j + 1), run) for j, run in enumerate(runs)), ("median", total)]:
        yield row(name, *(f"{seconds:.2f}" for seconds in run))
    yield ""
    yield f"Aim: a median below {RUN_AIM:g} s. {total[0]:.2f} s, {verdict(total[0] < RUN_AIM)}."


def report_import() -> Iterator[str]:
    """The section on the import."""
    yield f"On {machine()}."
    yield ""
    imports = measure_import()
    process, statement, peak = middle([one[:3] for one in imports])
    loaded = sorted({name for one in imports for name in one.frameworks})
    yield f"A fresh process: {process:.3f} s, of which the import {statement:.3f} s; peak memory {peak:.1f} MiB (medians of 7)."
    yield f"Frameworks loaded: {', '.join(loaded) or 'none of torch, matplotlib, prefect'}, {verdict(not loaded)}."
    yield f"Aim: a median below {IMPORT_AIM:g} s. {process:.3f} s, {verdict(process < IMPORT_AIM)}."


def middle(rows: Sequence[tuple[float, ...]]) -> list[float]:
    """The median of each column."""
    return [median(column) for column in zip(*rows, strict=True)]


def measure_run(runs: int = 5) -> list[Run]:
    """Time `gd run --preset notebook`, with a server of its own whose database is there already."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        return [_run(home, home / f"stamps-{j}.json") for j in range(runs + 1)][1:]  # the first makes the database


def measure_import(runs: int = 7) -> list[Import]:
    """Time ``import gd``, after one import that is not counted."""
    return [_import() for _ in range(runs + 1)][1:]


def _run(home: Path, stamps: Path) -> Run:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | {
        "PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    words = ["run", "--preset", "notebook", "--reports", str(home / "reports")]
    began = monotonic()
    _bounded([sys.executable, "-m", "tests.benchmarks.timed_run", str(stamps), *words], environment)
    ended = monotonic()
    at = json.loads(stamps.read_text(encoding="utf-8"))
    return Run(
        total=ended - began,
        imports=at["imported"] - began,
        wait=at["flow_began"] - at["imported"],
        flow=at["flow_ended"] - at["flow_began"],
        rest=ended - at["flow_ended"],
        server=at["flow_began"] - at["server_began"],
    )


def _import() -> Import:
    began = monotonic()
    statement, peak, frameworks = json.loads(_bounded([sys.executable, "-c", _IMPORT], dict(os.environ)))
    return Import(monotonic() - began, statement, peak, tuple(frameworks))


def _bounded(words: list[str], environment: dict[str, str]) -> str:
    """What a process prints; one that hangs is ended together with everything that it started."""
    with subprocess.Popen(
        words, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(words[:3])} ended with {process.returncode}: {errors.strip()[-2000:]}")
    return output
