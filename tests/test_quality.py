"""How well the fit describes the rows: what is counted, and that it is all of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.archive import read, read_record, write_report
from gd.data import Array, Scaling, Source
from gd.moments import Moments
from gd.quality import SINGLE_ROWS, FitCells, fit_quality, from_csv, to_csv
from gd.record import Fit, Residuals
from gd.settings import Training
from gd.training import Outcome
from tests.conftest import run_tasks, write_csv


def counted(X: Array, y: Array, theta: Array) -> tuple[Residuals, FitCells]:
    """The rows by a fit without an intercept that was trained on the columns as they are."""
    loss = float(np.mean((y - X @ theta) ** 2))
    fit = Fit(
        backend="numpy", title="NumPy", outcome=Outcome.CONVERGED, epochs=1, loss=loss, r2=0.5, gradient_norm=0.0,
        intercept=None, weights={"x": 1.0}, seconds=0.0,
    )  # fmt: skip
    found = fit_quality(fit, X, y, theta, moments=Moments.of([*X.T, y]), scaling=Scaling.none(X.shape[1]))
    assert found is not None
    return found


@pytest.mark.parametrize("n", [2, 9, SINGLE_ROWS, SINGLE_ROWS + 1, 50_000])
def test_every_row_is_counted_once(n: int) -> None:
    """One by one while they are few, in cells else; mean and spread are those of the residuals."""
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 2)) + 3
    y = X @ [1.0, -2.0] + rng.standard_t(3, size=n) + 0.25
    theta = np.array([1.1, -2.0])
    found, cells = counted(X, y, theta)
    residual = y - X @ theta
    assert pytest.approx(residual.mean(), abs=1e-9) == found.mean
    assert pytest.approx(residual.std(), rel=1e-9) == found.spread
    assert {n} == {int(of.rows.sum()) for of in cells.values()}
    for name, values in (("residuals", residual), ("predicted", y), ("distribution", None)):
        if name not in cells:
            assert n < 10
            continue
        of = cells[name]
        if values is not None:
            assert (values.min(), values.max()) == (of.y.min(), of.y.max())
            assert (X @ theta).min() == of.x.min()
        else:
            assert (residual.min(), residual.max()) == (of.x.min(), of.x.max())
        assert (n <= SINGLE_ROWS and name != "distribution") == (len(of.rows) == n and bool((of.x[:, 0] == of.x[:, 1]).all()))
        assert len(of.rows) <= max(SINGLE_ROWS, 40 * 30)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(SINGLE_ROWS + 1, 5000), where=st.integers(0, 4999), how_far=st.floats(-1e12, 1e12), axis=st.booleans())
def test_no_row_far_out_is_lost_or_hides_the_others(n: int, where: int, how_far: float, axis: bool) -> None:
    """However far one row lies, its cell holds it, and the others are still told apart."""
    rng = np.random.default_rng(7)
    X, noise = rng.normal(size=(n, 1)), rng.normal(size=n)
    (X[:, 0] if axis else noise)[where % n] = how_far
    y = X[:, 0] + noise
    _, cells = counted(X, y, np.array([1.0]))
    for name, value in (("residuals", y[where % n] - X[where % n, 0]), ("predicted", y[where % n])):
        of = cells[name]
        holds = (of.x[:, 0] <= X[where % n, 0]) & (X[where % n, 0] <= of.x[:, 1])
        assert (holds & (of.y[:, 0] <= value) & (value <= of.y[:, 1])).any()
        if not axis:
            assert len(of.rows) > 40


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(2, 3000), scale=st.sampled_from([1e-300, 1e-12, 1.0, 1e12, 1e100]), whole=st.booleans(), same=st.booleans()
)
def test_counts_of_every_size_come_back_from_their_file(n: int, scale: float, whole: bool, same: bool) -> None:
    """To the last digit, whatever the size of the numbers and however many are equal."""
    rng = np.random.default_rng(n)
    X = np.ones((n, 1)) if same else rng.normal(size=(n, 1))
    y = np.round(X[:, 0] + rng.normal(size=n)) if whole else X[:, 0] + rng.normal(size=n)
    with np.errstate(over="ignore", under="ignore"):
        _, cells = counted(X * scale, y * scale, np.array([1.0]))
    again = from_csv(to_csv(cells))
    assert list(cells) == list(again) or set(cells) == set(again)
    for name, of in cells.items():
        for one, other in ((of.x, again[name].x), (of.y, again[name].y), (of.rows, again[name].rows)):
            np.testing.assert_array_equal(one, other)


def test_what_is_no_such_file_is_refused() -> None:
    """In words."""
    with pytest.raises(ValueError, match=r"fit.csv: not what a run writes"):
        from_csv("a,b\n1,2\n")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 30,000 rows, trained on as they are and by their moments."""
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("large")
    X = rng.normal(size=(30_000, 2))
    y = X @ [1.0, 2.0] + rng.standard_t(4, size=30_000)
    path = write_csv(folder / "large.csv", X, y)
    return {
        method: run_tasks(Source(path=str(path), target="y"), Training(method=method), folder, method)
        for method in ("rows", "moments")
    }


def test_rows_that_were_kept_are_all_drawn_and_others_by_a_sample_that_says_so(large: dict[str, Path]) -> None:
    """Of the sample are neither R² nor the standard deviation: they are those of all rows."""
    exact, drawn = (read_record(folder).residuals for folder in large.values())
    assert exact is not None
    assert drawn is not None
    assert (30_000, 30_000, 1) == (exact.rows, exact.of, exact.every)
    assert (7500, 30_000, 4) == (drawn.rows, drawn.of, drawn.every)
    assert pytest.approx(exact.spread, rel=1e-9) == drawn.spread
    for method, folder in large.items():
        for picture in read(folder).pictures:
            if picture.name in {"residuals", "predicted", "distribution"}:
                said = "a sample of 7,500 of 30,000 rows" in picture.alt
                assert said == (method == "moments")
                assert said == ("A sample of 7,500 of 30,000 rows, one of every 4." in picture.caption)
                assert re.search(r"Triangles stand for rows further out: \d", picture.caption)


def test_fit_pictures_are_drawn_again_without_the_table(large: dict[str, Path], tmp_path: Path) -> None:
    """From what lies beside the run, to the byte; the page stays below 1 MB."""
    folder = large["moments"]
    for name in ("run.json", "epochs.csv", "fit.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_report(tmp_path)
    for name in ("residuals", "predicted", "distribution"):
        for kind in ("svg", "csv"):
            file = f"figures/{name}.{kind}"
            assert (folder / file).read_bytes() == (tmp_path / file).read_bytes()
    assert (folder / "report.html").stat().st_size < 1_000_000
    assert (folder / "fit.csv").stat().st_size < 250_000
