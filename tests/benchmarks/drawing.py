"""Figures and page of the longest run and the largest table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from flows.training_report import train_here
from gd import archive
from gd.data import Source
from gd.sampling import Sample
from gd.training import Training
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["report"]

_EPOCHS, _ROWS = 10**6, 10**7
_TABLE = 20_000  # rows that are read; what is drawn of a sample does not grow with them
_AIM = 5.0  # seconds
_TIMES = 3


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('numpy', 'matplotlib', 'jinja2')}."
    yield ""
    yield f"A run of {_EPOCHS:,} epochs, ten features and two backends, trained on moments, so that the fit is drawn from a"
    yield "sample of rows as of a table of any size: every figure with its data and the page, from `epochs.csv.gz`, `run.json`"
    yield "and `fit.csv`."
    yield f"Medians of {_TIMES}."
    yield ""
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder))
        seconds: dict[str, list[float]] = {}
        for _ in range(_TIMES):
            for what, took in _timed(run):
                seconds.setdefault(what, []).append(took)
        files = [file for file in (run / "figures").iterdir() if file.suffix == ".svg"]
        size = (run / "report.html").stat().st_size
    yield from table("what", "seconds")
    for what, times in seconds.items():
        yield row(what, f"{median(times):.2f}")
    most = median(seconds["all of it, reading included"])
    yield ""
    yield f"{len(files)} figures, a page of {size / 1e6:.2f} MB. Aim: in under {_AIM:.0f} s: {verdict(most < _AIM)}."
    spent = _sampling()
    yield ""
    yield f"The sample itself costs {1e3 * spent:.0f} ms of the reading of {_ROWS:,} rows of 11 columns."


def _run(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(_TABLE, 10)) @ (np.eye(10) + 0.3 * rng.normal(size=(10, 10)))
    y = X @ rng.normal(size=10) + rng.standard_t(5, size=_TABLE)
    np.savetxt(folder / "t.csv", np.column_stack([X, y]), "%.17g", ",", header=",".join([*"abcdefghij", "y"]), comments="")
    training = Training(epochs=_EPOCHS, tolerance=0, learning_rate=1e-6, method="moments")
    return train_here("t", Source(path=str(folder / "t.csv"), target="y"), training, folder / "reports")


def _timed(run: Path) -> Iterator[tuple[str, float]]:
    start = perf_counter()
    _, log = archive.read_run(run)
    assert log is not None
    read = perf_counter()
    yield "reading the epochs", read - start
    archive.write_report(run)
    yield "all of it, reading included", perf_counter() - read


def _sampling() -> float:
    """Seconds that a pass spends on its sample."""
    block = [np.zeros(50_000)] * 11
    sample, start = Sample.none(len(block)), perf_counter()
    for _ in range(_ROWS // 50_000):
        sample = sample.extended(block)
    return perf_counter() - start
