"""Figures and page of the longest run and the largest table, and how soon a browser shows the list of many runs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np

from flows.training_report import train_here
from gd import archive
from gd.data import Source, bundled
from gd.sampling import Sample
from gd.settings import Training
from tests.benchmarks import tables, whole
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["Opened", "lay_down", "opened", "report"]

_EPOCHS, _ROWS = 10**6, 10**7
_FEATURES = 3  # and the target: four columns
_TABLE = 20_000  # rows that are read; what is drawn of a sample does not grow with them
_AIM = 5.0  # seconds
_TIMES = 3
_TIMEOUT = 600  # seconds, for one process
_RUNS, _DATA_SETS = 10_000, 20
_OPENING = 5  # times
_SOON, _LIGHT = 1.0, 2.0  # seconds and MB, aims for a list
_PAINTED = """() => new Promise(done => new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({type: "paint", buffered: true}))"""


class Opened(NamedTuple):
    """A page in a browser that has not seen it; medians."""

    page: str
    size: int  # bytes, all of which are in the one file
    load: float  # seconds from the call to the load event
    paint: float  # seconds from the beginning of the navigation to the first words or lines on the screen


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
        yield from _drawn(_run(Path(folder)))
    spent = _sampling()
    yield ""
    yield f"The sample itself costs {1e3 * spent:.0f} ms of the reading of {_ROWS:,} rows of 11 columns."
    yield ""
    yield from _largest()
    yield ""
    yield from _opening()


def _drawn(run: Path, command: bool = False) -> Iterator[str]:
    """A table of what drawing one run again costs.

    Args:
        run: its folder.
        command: whether `gd render` is timed too, a fresh process each time.
    """
    seconds: dict[str, list[float]] = {}
    for _ in range(_TIMES):
        for what, took in _timed(run):
            seconds.setdefault(what, []).append(took)
        if command:
            words = [sys.executable, "-m", "gd", "render", str(run)]
            took = whole.measure(words, timeout=_TIMEOUT).check().seconds
            seconds.setdefault("`gd render`, a process of its own", []).append(took)
    files = [file for file in (run / "figures").iterdir() if file.suffix == ".svg"]
    size = (run / "report.html").stat().st_size
    yield from table("what", "seconds")
    for what, times in seconds.items():
        yield row(what, f"{median(times):.2f}")
    most = max(median(times) for times in seconds.values())
    yield ""
    yield f"{len(files)} figures, a page of {size / 1e6:.2f} MB. Aim: in under {_AIM:.0f} s: {verdict(most < _AIM)}."


def _largest() -> Iterator[str]:
    """A run over a table of ten million rows."""
    with tables.folder() as kept, tempfile.TemporaryDirectory() as folder:
        size = f"{_ROWS:,} rows and {_FEATURES + 1} columns"
        try:
            path = tables.write(kept, _ROWS, _FEATURES)
        except tables.NoRoomError as error:
            yield f"A table of {size}: skipped: {error}"
            return
        start = perf_counter()
        training = Training(epochs=_EPOCHS, tolerance=0, learning_rate=1e-6, method="moments")
        run = train_here("t", Source(path=str(path), target="y"), training, Path(folder))
        spent = perf_counter() - start
        yield f"A run of {_EPOCHS:,} epochs over a table of {size}, {path.stat().st_size / 1e6:,.0f} MB, which took"
        yield f"{spent:.0f} s from the CSV to the report, drawn again from its folder. Medians of {_TIMES}."
        yield ""
        yield from _drawn(run, command=True)


def _opening() -> Iterator[str]:
    """The lists of many runs in a browser."""
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder)
        lay_down(reports, _RUNS, _DATA_SETS)
        start = perf_counter()
        index = archive.write_index(reports)
        spent = perf_counter() - start
        found = opened([index, min(reports.glob("*/index.html"))], _OPENING)
    yield f"The lists of {_RUNS:,} runs of {_DATA_SETS} data sets, written in {spent:.2f} s, opened from their files in"
    yield f"headless Chromium, each time in a fresh context without a cache. Medians of {_OPENING}."
    yield ""
    yield from table("page", "MB", "first contentful paint, s", "load event, s", f"aim: {_SOON:g} s and {_LIGHT:g} MB")
    for one in found:
        met = max(one.load, one.paint) <= _SOON and one.size <= _LIGHT * 1e6
        yield row(one.page, f"{one.size / 1e6:.2f}", f"{one.paint:.2f}", f"{one.load:.2f}", verdict(met))


def lay_down(reports: Path, runs: int, data_sets: int) -> None:
    """Fill a folder with runs as years of nights would: one real run, under other dates and with other losses.

    Args:
        reports: the folder.
        runs: of all data sets together.
        data_sets: of equally many runs each.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Source(path=str(bundled("penguins")), target="body_mass_g")
        base = archive.read_record(train_here("base", source, Training(), Path(folder)))
    rng = np.random.default_rng(3)
    for number in range(runs):
        night, name = number // data_sets, f"data-set-{number % data_sets:02}"
        begun = base.run.started - timedelta(days=runs // data_sets - night)
        identity = f"{begun:%Y-%m-%dT%H-%M-%SZ}-{number:08x}"
        run = base.run.model_copy(update={"id": identity, "started": begun, "finished": begun + timedelta(seconds=7)})
        data = base.dataset.model_copy(update={"name": name, "sha256": f"{number:064x}"})
        scatter = float(rng.normal(1, 0.03))
        fits = tuple(fit.model_copy(update={"loss": (fit.loss or 0.0) * scatter}) for fit in base.fits)
        place = reports / name / identity
        place.mkdir(parents=True)
        archive.write_record(place, base.model_copy(update={"run": run, "dataset": data, "fits": fits}), None)


def opened(pages: Sequence[Path], times: int) -> list[Opened]:
    """Pages in headless Chromium, which is started before.

    Args:
        pages: the files.
        times: each is opened, by turns.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    from tests.conftest import BROWSER_FLAGS, CHROMIUM  # noqa: PLC0415  (it sets Prefect up for tests)

    found: dict[Path, list[tuple[float, float]]] = {page: [] for page in pages}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        for _ in range(times):
            for page in pages:
                context = browser.new_context()
                tab = context.new_page()
                start = perf_counter()
                tab.goto(page.as_uri(), wait_until="load")
                load = perf_counter() - start
                found[page].append((load, tab.evaluate(_PAINTED) / 1e3))
                context.close()
        browser.close()
    names = [page.relative_to(pages[0].parent).as_posix() for page in pages]
    return [
        Opened(name, page.stat().st_size, *map(median, zip(*found[page], strict=True)))
        for name, page in zip(names, pages, strict=True)
    ]  # fmt: skip


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
