"""Rows that memory is not to hold: the same numbers, less memory, and nothing left behind."""

from __future__ import annotations

import errno
import gc
import resource
import signal
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from flows import training_report as flow
from flows.tasks import compare_traces, prepare, train_with
from gd import archive, backends, spilling
from gd.batches import batches, bound, streamed, whole
from gd.data import Array, Source
from gd.method import keeps_rows
from gd.problems import huber, in_blocks, least_squares, logistic, poisson
from gd.reading import Reading, read
from gd.refusal import DataError
from gd.settings import Training
from gd.spilling import maps, parts, write
from gd.splitting import Split
from tests.conftest import run_tasks, write_csv

NAMES = backends.available()
LOSSES = {"mse": least_squares, "huber": partial(huber, delta=0.7), "logistic": logistic, "poisson": poisson}
HUBER = Training(loss="huber", epochs=50, backends=("numpy", "torch"))


def table(rows: int, columns: int = 3, loss: str = "mse") -> tuple[Array, Array]:
    """Features, and a target that the loss knows."""
    rng = np.random.default_rng(20261128)
    X = rng.normal(size=(rows, columns))
    z = X @ np.linspace(0.2, 0.6, columns) + 0.5
    y = {
        "logistic": lambda: (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(float),
        "poisson": lambda: rng.poisson(np.exp(z)).astype(float),
    }.get(loss, lambda: z + rng.normal(size=rows))()
    return X, y


def csv(folder: Path, rows: int = 400, loss: str = "mse", columns: int = 3) -> Source:
    """That table as a file."""
    return Source(path=str(write_csv(folder / "t.csv", *table(rows, columns, loss))), target="y")


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four kilobytes of rows are many."""
    monkeypatch.setattr(spilling, "MOST_BYTES", 4096)


@pytest.fixture
def few_rows(few_bytes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And 64 of them are worked on at once."""
    monkeypatch.setattr(spilling, "_BLOCK_BYTES", 0)
    monkeypatch.setattr(spilling, "_FEWEST", 64)


@pytest.mark.parametrize("split", [None, Split(share=0.3), Split(last=0.25), Split(column="x2", folds=3)], ids=str)
@pytest.mark.parametrize("files", [1, 3])
def test_rows_in_files_are_the_same_rows(
    split: Split | None, files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file or several, with gaps, rows held out and read twice: bit for bit, mapped, and no scratch file stays."""
    X, y = table(500)
    X[:, 2] = np.arange(500) % 3 == 0
    paths = [
        str(write_csv(tmp_path / f"{j}.csv", *part))
        for j, part in enumerate(zip(np.array_split(X, files), np.array_split(y, files), strict=True))
    ]
    text = Path(paths[0]).read_text(encoding="utf-8").splitlines()
    Path(paths[0]).write_text("\n".join([*text, "NA,1,0,2", "1,2,1,3"]), encoding="utf-8")
    source = Source(path="t.csv", target="y")
    how: dict[str, Any] = {"keep_rows": lambda rows, columns: True, "split": split, "block": 2000}
    expected = read(paths, source, **how)
    monkeypatch.setattr(spilling, "MOST_BYTES", 1024)
    found = read(paths, source, folder=tmp_path, **how)
    found.save(tmp_path)
    again = Reading.load(tmp_path)
    for one in (found, again):
        for ours, theirs in ((one, expected), (one.held, expected.held)):
            assert (theirs is None) == (ours is None)
            if ours is not None and theirs is not None:
                assert ours.rows is not None
                assert theirs.rows is not None
                np.testing.assert_array_equal(theirs.rows.X, ours.rows.X)
                np.testing.assert_array_equal(theirs.rows.y, ours.rows.y)
                assert ours.rows.X.flags.f_contiguous
    assert found.rows is not None
    assert maps(found.rows.X, tmp_path / "X.npy")
    assert [] == [*tmp_path.rglob("*.rows")]
    assert again.sample is not None


def test_rows_that_are_not_kept_after_all_leave_no_file(few_bytes: None, tmp_path: Path) -> None:
    """Where `keep_rows` says no in the middle of a file, and where the file turns out to be wrong at its end."""
    source = csv(tmp_path)
    kept = read([source.path], source, keep_rows=lambda rows, columns: rows < 300, folder=tmp_path, block=2000)
    assert kept.rows is None
    with Path(source.path).open("a", encoding="utf-8") as file:
        file.write("1,2,3,four\n")
    with pytest.raises(DataError, match="'four' is not a number"):
        read([source.path], source, keep_rows=lambda rows, columns: True, folder=tmp_path, block=2000)
    assert ["t.csv"] == [path.name for path in tmp_path.rglob("*")]


@pytest.mark.parametrize(
    "training",
    [
        HUBER,
        HUBER.model_copy(update={"dtype": "float32", "l2": 0.1}),
        HUBER.model_copy(update={"loss": "logistic", "validation": "0.2"}),
        HUBER.model_copy(update={"loss": "poisson", "optimizer": "adam"}),
        Training(method="rows", epochs=30, learning_rate="search"),
        Training(method="rows", epochs=30, learning_rate=(0.1, 0.3), intercept=False),
        Training(loss="notebook", method="rows", epochs=20, learning_rate=0.0001),
    ],
    ids=lambda training: f"{training.loss}-{training.optimizer}-{training.dtype}",
)
def test_a_run_from_files_comes_to_the_same_numbers(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, losses and diagnosis bit for bit: where the rows lie changes nothing while they are one block."""
    source = csv(tmp_path, loss=training.loss)
    plain = archive.read_record(run_tasks(source, training, tmp_path / "memory", draw=False))
    monkeypatch.setattr(spilling, "MOST_BYTES", 4096)
    folder = run_tasks(source, training, tmp_path / "files")
    found = archive.read_record(folder)
    seconds: Any = {"fits": {"__all__": {"seconds"}}, "run": True, "residuals": True}
    assert plain.model_dump(exclude=seconds) == found.model_dump(exclude=seconds)
    assert plain.residuals is not None
    assert plain.residuals == found.residuals
    assert {"epochs.csv", "figures", "fit.csv", "model.json", "report.html", "run.json"} == {
        path.name for path in folder.iterdir()
    }
    assert [] == [*(tmp_path / "files").glob("*/.*")]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_by_blocks_is_the_loss(loss: str, few_rows: None) -> None:
    """Value, gradient and Hessian are those of all rows but for rounding, for one θ and for several."""
    X, y = table(500, loss=loss)
    make = cast("Any", LOSSES[loss])
    expected, found = make(X, y), in_blocks(make, X, y)
    assert 8 == len(parts(*X.shape))
    for theta in (np.array([0.3, -0.2, 0.7]), np.random.default_rng(1).normal(size=(4, 3))):
        np.testing.assert_allclose(found.value(theta, *found.arrays), expected.value(theta, *expected.arrays), rtol=1e-13)
        for ours, theirs in zip(*(one.value_and_gradient(theta, *one.arrays) for one in (found, expected)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert found.hessian is not None
    at = np.array([0.3, -0.2, 0.7])
    np.testing.assert_allclose(found.hessian(at, *found.arrays), expected.hessian(at, *expected.arrays), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_objective_by_blocks_is_the_objective(name: str, loss: str, few_rows: None, tmp_path: Path) -> None:
    """On every backend, in both precisions, mapped."""
    X, y = table(500, loss=loss)
    make, bind = cast("Any", LOSSES[loss]), backends.get(name).objective
    at = (write(tmp_path / "X.npy", X.shape, [X]), write(tmp_path / "y.npy", y.shape, [y]))
    for kind, close in (("float64", 1e-12), ("float32", 1e-5)):
        theta = np.array([0.3, -0.2, 0.7], kind)
        value, gradient = bind(make(X.astype(kind), y.astype(kind)))(theta)
        found, slope = whole(bind, make, *at, kind)(theta)
        assert slope.dtype == kind
        assert value == pytest.approx(found, rel=close)
        np.testing.assert_allclose(slope, gradient, rtol=close, atol=close)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [48, 50])
def test_a_streamed_batch_is_the_batch(name: str, size: int, tmp_path: Path) -> None:
    """Bound at each call or once: the same bits, also where a batch does not begin on a multiple of 64 bytes."""
    X, y = table(500)
    at = (write(tmp_path / "X.npy", X.shape, [X[:300], X[300:]]), write(tmp_path / "y.npy", y.shape, [y]))
    cut = [rows for rows in batches(500, size, 7, contiguous=True).parts if isinstance(rows, slice)]
    bind, theta = backends.get(name).objective, np.array([0.3, -0.2, 0.7])
    once, each = bound(bind, least_squares, *at, cut), streamed(bind, least_squares, *at, cut)
    for ours, theirs in zip(each, once, strict=True):
        for a, b in zip(ours(theta), theirs(theta), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["mse", "huber", "logistic", "poisson"])
def test_a_run_by_blocks_arrives_where_the_other_does(
    loss: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage block by block, with rows held out: the same verdict, and weights that differ by rounding."""
    source = csv(tmp_path, 800, loss)
    training = Training.model_validate({"loss": loss, "method": "rows", "epochs": 100, "validation": "0.2", "dtype": dtype})
    plain = archive.read_record(run_tasks(source, training, tmp_path / "memory", draw=False))
    monkeypatch.setattr(spilling, "MOST_BYTES", 4096)
    monkeypatch.setattr(spilling, "_BLOCK_BYTES", 0)
    monkeypatch.setattr(spilling, "_FEWEST", 64)
    found = archive.read_record(run_tasks(source, training, tmp_path / "files", draw=False))
    assert plain.verdict == found.verdict == "converged"
    close = 1e-9 if dtype == "float64" else 1e-4
    for ours, theirs in zip(found.fits, plain.fits, strict=True):
        assert theirs.weights == pytest.approx(ours.weights, rel=close, abs=close)
        assert theirs.validation_loss == pytest.approx(ours.validation_loss, rel=close)


def test_the_notebooks_gradient_stays_a_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over rows in files too: its fault is kept, n times the gradient of the stated loss by hand and once by autograd."""
    training = Training(loss="notebook", learning_rate=1e-4, epochs=5, method="rows")
    monkeypatch.setattr(spilling, "MOST_BYTES", 4096)
    monkeypatch.setattr(spilling, "_BLOCK_BYTES", 0)
    monkeypatch.setattr(spilling, "_FEWEST", 64)
    record = archive.read_record(run_tasks(csv(tmp_path, 800, "mse"), training, tmp_path, draw=False))
    assert record.diagnosis is not None
    assert {"numpy": pytest.approx(800), "torch": pytest.approx(1)} == record.diagnosis.gradient_ratio


def test_batches_of_rows_in_files_are_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record and the report say which rows stand together, and all backends agree on them."""
    source = csv(tmp_path)
    training = Training(batch_size=50, epochs=10, seed=3, backends=NAMES)
    drawn = run_tasks(source, training, tmp_path / "memory")
    monkeypatch.setattr(spilling, "MOST_BYTES", 4096)
    apart = run_tasks(source, training, tmp_path / "files")
    for folder, which, words in (
        (drawn, "drawn", "50 rows, drawn with the seed 3"),
        (apart, "neighbours", "50 neighbouring rows"),
    ):
        record = archive.read_record(folder)
        assert record.training.batches == which
        assert record.verdict != "disagree"
        assert words in (folder / "report.html").read_text(encoding="utf-8")
    one, other = (archive.read_record(folder).fits[0] for folder in (drawn, apart))
    assert one.loss == pytest.approx(other.loss, rel=0.01)
    assert one.weights != other.weights
    assert archive.read_record(run_tasks(source, HUBER, tmp_path / "full", draw=False)).training.batches is None


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files to the comparison NumPy holds a few blocks at once, and not the rows, nor one number a row."""
    monkeypatch.setattr(spilling, "MOST_BYTES", 1 << 18)
    monkeypatch.setattr(spilling, "_BLOCK_BYTES", 1 << 17)
    source, training = csv(tmp_path, 4000, columns=6), Training(loss="huber", batch_size=4000, epochs=2, backends=("numpy",))
    head, _, body = Path(source.path).read_text(encoding="utf-8").partition("\n")
    Path(source.path).write_text(f"{head}\n{100 * body}", encoding="utf-8")
    run = flow._run(source, training)
    draft = archive.begin(tmp_path, "t", run.id)
    (tmp_path / "small").mkdir()
    run_tasks(csv(tmp_path / "small", 100), training, tmp_path / "warm")  # what is imported is no row
    keep = partial(keeps_rows, training)
    tracemalloc.start()
    try:
        found = read([source.path], source, keep_rows=keep, folder=draft.work, threads=1, block=1 << 18)
        found.save(draft.work)
        gc.collect()
        reading = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        rate = prepare.fn("t", draft, training)
        checks = [train_with.fn("t", "numpy", draft, training, rate)]
        compare_traces.fn("t", draft, run, training, rate, checks)
        after = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rows = 400_000 * 7 * 8
    assert (draft.work / "design.npy").stat().st_size > rows
    assert 400_000 == found.moments.n
    assert reading < rows / 3  # of which 6 MB are a block of text and what finds out how it is written
    assert after < rows / 3


@pytest.mark.parametrize("reason", ["failed", "killed"])
def test_a_run_that_does_not_end_leaves_no_rows(reason: str, tmp_path: Path) -> None:
    """A process that ends while its rows lie in files: by an error it clears up itself, and a killed one's next start does."""
    source, reports = csv(tmp_path), tmp_path / "reports"
    words = [sys.executable, "-c", CHILD, source.path, str(reports), reason]
    child = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    left = [path.name for path in reports.rglob("*.rows")]
    if reason == "failed":
        assert "RuntimeError: stopped" in child.stderr
        assert [] == left
        return
    assert -signal.SIGKILL == child.returncode
    assert ["0.rows"] == left
    [folder] = archive.recover(reports, "owner", datetime(2026, 11, 28, tzinfo=UTC))
    assert {"run.json", "report.html"} == {path.name for path in folder.iterdir()}
    assert [] == [*reports.rglob("*.rows"), *reports.rglob(".*")]


CHILD = """
import os, signal, sys
from flows import training_report as flow
from gd import archive, spilling
from gd.data import Source
from gd.reading import read
from gd.recording import failed
from gd.settings import Training
from pathlib import Path

spilling.MOST_BYTES = 4096
source, training, reports = Source(path=sys.argv[1], target="y"), Training(loss="huber"), Path(sys.argv[2])
run = flow._run(source, training)
draft = archive.begin(reports, "t", run.id)
archive.keep_ready(draft, "owner", failed(run, source, "t", training, flow.InterruptedRunError()))

def keep(rows, columns):
    if rows > 300:
        assert list(draft.work.rglob("*.rows"))
        if sys.argv[3] == "failed":
            raise RuntimeError("stopped")
        os.kill(os.getpid(), signal.SIGKILL)
    return True

read([source.path], source, keep_rows=keep, folder=draft.work, threads=1, block=2000)
"""


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_the_flow_leaves_neither_rows_nor_drafts(few_bytes: None, tmp_path: Path) -> None:
    """Of data sets that end well, of one file and of several, and of one that is refused; the next run reads them again."""
    source, reports = csv(tmp_path), tmp_path / "reports"
    parts = tmp_path / "parts"
    parts.mkdir()
    for j in range(3):
        write_csv(parts / f"{j}.csv", *table(200))
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"{Path(source.path).read_text(encoding='utf-8')}1,2,3,four\n", encoding="utf-8")
    sources = [source, Source(path=str(parts), target="y", as_one="parts"), Source(path=str(wrong), target="y")]
    for _ in range(2):
        state: Any = flow.training_report(sources, HUBER, str(reports), return_state=True)
        batch = cast("flow.Batch", state.result(raise_on_failure=False))
        assert ["converged", "converged", "failed"] == [item.record.verdict for item in batch.ended]
        assert [] == [*reports.rglob("*.rows"), *reports.rglob("*.npy"), *reports.glob("*/.*")]
    assert 600 == batch.ended[1].record.dataset.rows_used


def test_a_file_without_room_is_an_error(tmp_path: Path) -> None:
    """And not the end of the process, as a full disk under a mapped file would be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011  (its number is what counts)
            write(tmp_path / "X.npy", (1000, 3), [np.ones((1000, 3))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert errno.EFBIG == caught.value.errno


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 2), (1030, 5), (40,)])
def test_what_is_written_by_blocks_is_a_file_of_numpys(shape: tuple[int, ...], tmp_path: Path) -> None:
    """`numpy.load` reads it, column-major, and it begins on a multiple of 64 bytes."""
    A = np.random.default_rng(5).normal(size=shape)
    found = write(tmp_path / "A.npy", shape, [A[start : start + 3] for start in range(0, len(A), 3)])
    np.testing.assert_array_equal(A, np.load(tmp_path / "A.npy"))
    assert found.flags.f_contiguous
    assert 0 == found.ctypes.data % 64
    assert maps(found[1:], tmp_path / "A.npy")
    assert not maps(A, tmp_path / "A.npy")
