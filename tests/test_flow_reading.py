"""The files of a data set in a flow: shared out, put together, and not read again, on a real Prefect server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from flows.reading import read
from flows.runners import Runner
from flows.training_report import Batch, Ended, training_report
from gd import reading
from gd.data import Array, Source, Split
from gd.settings import Training
from tests.conftest import write_csv
from tests.test_flow import task_runs

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

QUICK = Training(epochs=20, tolerance=0, backends=("numpy",))


def both(
    sources: list[Source], reports: Path, training: Training, runner: Runner
) -> tuple[list[Ended], Mapping[str, str | None]]:
    """What each data set came to, and how each of its tasks ended."""
    state: State[Any] = training_report(sources, training, str(reports), runner=runner, return_state=True)
    ended = cast("Batch", state.result(raise_on_failure=False)).ended
    return ended, {item.name: item.state.name for item in task_runs(state) if item.state}


def run(
    source: Source, reports: Path, training: Training = QUICK, runner: Runner | None = None
) -> tuple[Ended, Mapping[str, str | None]]:
    """The same for one data set."""
    (ended,), tasks = both([source], reports, training, runner or Runner())
    return ended, tasks


def plane(seed: int = 3) -> tuple[Array, Array]:
    """Rows for several files."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((900, 2)) + np.array([1e3, 0])
    return X, X @ [1.0, -2.0] + rng.standard_normal(900)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of one table, and the table."""
    folder = tmp_path_factory.mktemp("shards")
    X, y = plane()
    (folder / "parts").mkdir()
    write_csv(folder / "all.csv", X, y)
    for j, rows in enumerate((slice(0, 100), slice(100, 500), slice(500, 900))):
        write_csv(folder / "parts" / f"{j}.csv", X[rows], y[rows])
    return folder


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What the table in one file comes to."""
    source, training = Source(path=str(shards / "all.csv"), target="y"), QUICK.model_copy(update={"method": "moments"})
    return run(source, tmp_path_factory.mktemp("whole"), training)[0]


@pytest.mark.parametrize(
    "runner",
    [Runner(workers=1), Runner(workers=2), Runner(kind="processes", workers=2), Runner(kind="dask", workers=2)],
    ids=["one", "threads", "processes", "dask"],
)
def test_the_weights_are_the_same_whoever_reads(shards: Path, whole: Ended, tmp_path: Path, runner: Runner) -> None:
    """One file or three, one worker or two, threads, processes or dask: to 1e-12."""
    source = Source(path=str(shards / "parts"), target="y", as_one="sales")
    ended, tasks = run(source, tmp_path, runner=runner)
    assert "moments" == ended.record.training.method == whole.record.training.method
    assert {"sales: read 0.csv", "sales: read 1.csv", "sales: read 2.csv"} <= set(tasks)
    assert [100, 400, 400] == [shard.rows for shard in ended.record.dataset.shards]
    expected, actual = (item.record.fits[0] for item in (whole, ended))
    for name, weight in expected.weights.items():
        assert weight is not None
        assert actual.weights[name] == pytest.approx(weight, rel=1e-12)
    assert actual.intercept == pytest.approx(expected.intercept, rel=1e-12)
    assert actual.r2 == pytest.approx(expected.r2, rel=1e-12)


def test_rows_of_several_files_do_not_travel(shards: Path, tmp_path: Path) -> None:
    """Where rows are wanted, one worker reads all files."""
    source = Source(path=str(shards / "parts"), target="y", as_one="sales")
    ended, _ = run(source, tmp_path, QUICK.model_copy(update={"method": "rows"}))
    assert "rows" == ended.record.training.method
    assert 900 == ended.record.dataset.rows_used


def test_a_shard_that_cannot_be_read_fails_its_data_set(shards: Path, tmp_path: Path) -> None:
    """By its name, while the other data sets go on."""
    folder = shutil.copytree(shards / "parts", tmp_path / "parts")
    (folder / "1.csv").write_text("x0,x1,y\n1,2,3\n4,5\n", encoding="utf-8")
    sources = [
        Source(path=str(folder), target="y", as_one="sales"),
        Source(path=str(shards / "all.csv"), target="y"),
    ]
    broken, fine = both(sources, tmp_path / "reports", QUICK, Runner())[0]
    assert "failed" == broken.record.verdict != fine.record.verdict
    error = broken.record.error
    assert error is not None
    assert error.message.startswith("1.csv, line 3: 2 cells where the header has 3.")


@pytest.mark.parametrize("method", ["rows", "moments"])
def test_unchanged_bytes_are_not_read_again(tmp_path: Path, method: str) -> None:
    """Whatever their path and time: the second report says since which run, and comes to the same."""
    training = QUICK.model_copy(update={"method": method})
    X, y = plane()
    path = write_csv(tmp_path / "a.csv", X, y)
    source = Source(path=str(path), target="y")
    first, read = run(source, tmp_path / "reports", training)
    assert "Completed" == read["a: read"]
    assert first.record.dataset.unchanged_since is None

    again, recalled = run(source, tmp_path / "reports", training)
    assert "Cached" == recalled["a: read"]
    assert first.record.run.id == again.record.dataset.unchanged_since
    assert first.record.fits[0].weights == again.record.fits[0].weights
    assert first.record.dataset.rows_used == again.record.dataset.rows_used
    assert again.folder is not None
    page = (Path(again.folder) / "report.html").read_text(encoding="utf-8")
    assert f"run {first.record.run.id}" in page

    copy = Path(shutil.copy(path, tmp_path / "b.csv"))
    os.utime(copy, (0, 0))
    copied, tasks = run(Source(path=str(copy), target="y"), tmp_path / "reports", training)
    assert "Cached" == tasks["b: read"]
    assert str(copy) == copied.record.dataset.path


def test_changed_bytes_are_read(tmp_path: Path) -> None:
    """Of the same size and with the same time, a digit of the last row changed; and the same bytes with another target."""
    X, y = np.arange(40.0).reshape(20, 2) ** 2, np.arange(20.0)
    path = write_csv(tmp_path / "a.csv", X, y)
    source, reports = Source(path=str(path), target="y"), tmp_path / "reports"
    first, _ = run(source, reports)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text(path.read_text(encoding="utf-8").replace("19.0\n", "18.0\n"), encoding="utf-8")
    os.utime(path, ns=times)
    changed, tasks = run(source, reports)
    assert "Completed" == tasks["a: read"]
    assert changed.record.dataset.unchanged_since is None
    assert first.record.fits[0].weights != changed.record.fits[0].weights
    _, tasks = run(Source(path=str(path), target="x0"), reports)
    assert "Completed" == tasks["a: read"]


def test_a_cache_that_cannot_be_read_back_is_no_loss(tmp_path: Path) -> None:
    """A file cut short there, by a full disk say, costs another reading."""
    X, y = plane()
    source, reports = Source(path=str(write_csv(tmp_path / "a.csv", X, y)), target="y"), tmp_path / "reports"
    first, _ = run(source, reports)
    for kept in (reports / ".cache").iterdir():
        kept.write_bytes(kept.read_bytes()[:50])
    again, _ = run(source, reports)
    assert first.record.fits[0].weights == again.record.fits[0].weights
    assert again.record.dataset.unchanged_since is None


@flow(name="read apart")
def apart(
    files: list[str],
    training: Training,
    reports: Path,
    runner: Runner,
    run: str,
    folder: Path,
) -> None:
    """A flow that reads and does nothing else."""
    source = Source(path=files[0], target="y", as_one="sales")
    read("sales", files, source, training, reports, runner, run, folder)


SPLITS: list[tuple[dict[str, Any], Split | None]] = [
    ({"validation": "0.3", "folds": 3}, Split(share=0.3, folds=3)),
    ({"validation": "last:0.25"}, Split(last=0.25)),
    ({}, None),
]


@pytest.mark.parametrize("method", ["rows", "moments"])
def test_rows_are_held_out_and_kept_apart(shards: Path, tmp_path: Path, method: str) -> None:
    """As the library holds them out, whoever reads; a second time from the cache, where each split has a place of its own."""
    files = [str(shards / "parts" / f"{j}.csv") for j in range(3)]
    training = QUICK.model_copy(update={"method": method})
    keep = (lambda rows, columns: True) if method == "rows" else None

    for again in (False, True):
        for j, (settings, split) in enumerate(SPLITS):
            folder = tmp_path / f"{j}-{again}"
            state: State[Any] = apart(
                files,
                training.model_copy(update=settings),
                tmp_path / "reports",
                Runner(workers=2),
                f"run {again}",
                folder,
                return_state=True,
            )
            assert state.is_completed()
            actual = reading.Reading.load(folder)
            source = Source(path=files[0], target="y", as_one="sales")
            expected = reading.read(files, source, "sales", keep_rows=keep, split=split)
            assert expected.moments.R.tobytes() == actual.moments.R.tobytes()
            assert [fold.R.tobytes() for fold in expected.folds] == [fold.R.tobytes() for fold in actual.folds]
            assert (expected.held is None) == (actual.held is None)
            if expected.held is not None and actual.held is not None:
                assert expected.held.moments.R.tobytes() == actual.held.moments.R.tobytes()
            assert method == actual.method
            assert expected.provenance.rows_held == actual.provenance.rows_held
            assert split == actual.provenance.split
            assert ("run False" if again else None) == actual.provenance.unchanged_since
