"""What the tests share: real data, a whole run made by the flow's own tasks, a Prefect server, a browser."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # the tests share the cores; pools of threads beside them only wait for each other
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"  # without it "database is locked" was seen
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="gd-prefect-")  # before anything imports Prefect
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
os.environ.pop("PREFECT_API_URL", None)

from flows.server import TemporaryServer
from gd.archive import read
from gd.data import Array, Dataset, Provenance, Source, bundled
from gd.problems import least_squares, notebook
from gd.reading import read_csv
from gd.report import Report
from gd.settings import Training, preset

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Fit = Callable[..., Path]

LOSSES = {"mse": least_squares, "notebook": notebook}
"""The mean squared error with its own gradient, and with the notebook's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that none of them is still at work when everything else is done."""
    longest = (
        "serve", "report", "cli", "schedule", "outbox_drain", "flow_reading", "disk", "sklearn", "browser", "same_numbers",
        "runners", "losses", "flow", "sweep", "look", "templates", "damage", "figures", "archive", "limits", "mail_browser",
    )  # fmt: skip
    place = {f"test_{name}": number for number, name in enumerate(longest)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted, whichever process they ran in."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "printed":
                terminalreporter.write_line(str(value))


def pytest_sessionfinish() -> None:
    """Leave nothing in the temporary folder."""
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)


def dataset(X: Array, y: Array, name: str = "made") -> Dataset:
    """A data set from arrays, its features named x0, x1 and so on."""
    features = tuple(f"x{j}" for j in range(X.shape[1]))
    provenance = Provenance(name=name, path=f"{name}.csv", rows=len(y), rows_used=len(y), target="y", features=features)
    return Dataset(np.asfortranarray(X), y, provenance)


def write_csv(path: Path, X: Array, y: Array, names: tuple[str, ...] | None = None) -> Path:
    """A CSV of all digits: the features, then y."""
    header = [*(names or (f"x{j}" for j in range(X.shape[1]))), "y"]
    rows = [",".join(header), *(",".join(map(repr, map(float, [*row, value]))) for row, value in zip(X, y, strict=True))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def run_tasks(
    source: Source, training: Training, reports: Path, name: str = "made", *, finish: bool = True, draw: bool = True
) -> Path:  # fmt: skip
    """One data set through the flow's own tasks, without a server; the run's folder, or its draft's.

    Where only the record or the log of the epochs is looked at, nothing has to be drawn.
    """
    from flows.training_report import train_here  # noqa: PLC0415  (a second of imports that few tests need)

    return train_here(name, source, training, reports, finish=finish, draw=draw)


_MASSES = Source(path=str(bundled("penguins")), target="body_mass_g")
_MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
_SEXES = Source(path=str(bundled("penguins")), target="sex", features=_MEASURES)
_LENGTHS = Source(path=str(bundled("penguins")), target="flipper_length_mm", features=("bill_length_mm", "body_mass_g"))
CRAFTS = {
    "folded": (_MASSES, Training(l2="auto", folds=4, optimizer="momentum", schedule="step", warm_up=3)),
    "stopped": (_MASSES, Training(validation="0.25", patience=5, batch_size=32)),
    "classes": (_SEXES, Training(loss="logistic", optimizer="nesterov", validation="last:0.2")),
    "counts": (_LENGTHS, Training(loss="poisson", learning_rate="search")),
    "robust": (_MASSES, Training(loss="huber", precondition="whiten", l2=0.01)),
    "sparse": (_MASSES, Training(l1=20.0, optimizer="nesterov", epochs=300)),
    "adaptive": (_MASSES, Training(optimizer="adamw", epochs=200, dtype="float32")),
}
"""By its name, what each of the runs of `crafts` is of."""


@pytest.fixture(scope="session")
def penguins() -> Dataset:
    """The bundled real table."""
    return read_csv(bundled("penguins"), "body_mass_g")


@pytest.fixture(scope="session")
def plane() -> Dataset:
    """Forty rows of a plane with a little noise."""
    rng = np.random.default_rng(20260901)
    X = rng.normal(size=(40, 3))
    return dataset(X, X @ [1.5, -2.0, 0.5] + 4 + 0.1 * rng.normal(size=40), "plane")


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run for each verdict that training can end with."""
    reports = tmp_path_factory.mktemp("cases")
    table = Source(path=str(bundled("penguins")), target="body_mass_g")
    settings = {
        "converged": Training(),
        "exhausted": Training(learning_rate=0.001),
        "diverged": Training(learning_rate=1.5),
    }
    folders = {verdict: run_tasks(table, training, reports, verdict) for verdict, training in settings.items()}
    rows = Source(path=str(bundled("notebook")), target="Y")
    return folders | {"disagree": run_tasks(rows, preset("notebook"), reports, "notebook")}


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that tried nine learning rates first."""
    table = Source(path=str(bundled("penguins")), target="body_mass_g")
    return run_tasks(table, Training(learning_rate="auto-sweep"), tmp_path_factory.mktemp("swept"))


def shared(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first worker which wants it fills; none writes into it afterwards."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            make(folder)
            lock.write("made")
    return folder


@pytest.fixture(scope="session")
def crafts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of other losses, steps and ways to validate."""

    def make(folder: Path) -> None:
        for name, (source, training) in CRAFTS.items():
            run_tasks(source, training, folder, name)

    made = shared(tmp_path_factory, "crafts", make)
    return {name: next(path for path in (made / name).iterdir() if path.is_dir()) for name in CRAFTS}


@pytest.fixture(scope="session")
def reports(cases: dict[str, Path]) -> dict[str, Report]:
    """The same runs, read back."""
    return {verdict: read(folder) for verdict, folder in cases.items()}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's database before its first run; its hundred migrations take half of a server's first start."""

    def make(folder: Path) -> None:
        words = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(words, env=os.environ | {"PREFECT_HOME": str(folder)}, check=True, capture_output=True, timeout=240)

    return shared(tmp_path_factory, "database", make) / "prefect.db"


def furnish(home: Path, database: Path) -> Path:
    """A folder for PREFECT_HOME, with a database that is ready."""
    home.mkdir(exist_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(home / "prefect.db")) as copy:
        source.backup(copy)
        copy.execute("pragma journal_mode = wal")
    return home


@pytest.fixture(scope="session")
def prefect_server(database: Path) -> Iterator[None]:
    """A real Prefect server with a database of its own, one for all the tests of a worker."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415

    furnish(Path(os.environ["PREFECT_HOME"]), database)
    server = TemporaryServer()
    server.start()
    try:
        server.wait()
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield
            for telling in (EventsWorker, APILogWorker):
                telling.drain_all(timeout=10)
    finally:
        server.stop()


@pytest.fixture(scope="module")  # closed with its module: while it is open Prefect takes this thread for an async one
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless; CI may not go without it."""
    if not Path(CHROMIUM).exists():
        reason = f"no Chromium at {CHROMIUM}: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        yield opened
        opened.close()
