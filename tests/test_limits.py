"""Numbers of any size: trained right, or refused with the column and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gd.archive import read_record
from gd.data import Array, DataError, Source
from gd.record import Record
from gd.settings import Training
from gd.words import sentence
from tests.conftest import run_tasks, write_csv
from tests.test_report import text_of

ROWS = 24
NOISE = np.random.default_rng(11).normal(size=(4, ROWS))
PLAIN = 2 * NOISE[0] - NOISE[1] + 1 + 0.1 * NOISE[3]

TABLES: dict[str, tuple[list[Array], Array]] = {
    "huge feature": ([1e300 * NOISE[0], NOISE[1]], PLAIN),
    "tiny feature": ([1e-300 * NOISE[0], NOISE[1]], PLAIN),
    "feature far from zero": ([1e9 + NOISE[0], NOISE[1]], PLAIN),
    "feature very far from zero": ([1e14 + NOISE[0], NOISE[1]], PLAIN),
    "all at once": ([1e300 * NOISE[0], 1e-300 * NOISE[1], 1e9 + NOISE[2]], PLAIN),
    "large target": ([NOISE[0], 1e-100 * NOISE[1]], 1e140 * PLAIN),
    "small target": ([NOISE[0], 1e100 * NOISE[1]], 1e-140 * PLAIN),
    "huge target": ([NOISE[0]], 1e300 * PLAIN),
    "tiny target": ([NOISE[0]], 1e-300 * PLAIN),
    "target far from zero": ([NOISE[0], NOISE[0] + 0.5 * NOISE[1]], 1e9 + PLAIN),
    "target on the limit": ([NOISE[0]], np.where(NOISE[1] > 0, 1.7e308, -1.7e308)),
    "feature on the limit": ([np.where(NOISE[0] > 0, 1.7e308, -1.7e308), NOISE[1]], PLAIN),
    "subnormal feature": ([1e-320 * NOISE[0], NOISE[1]], PLAIN),
    "weight too large": ([1e-250 * NOISE[0]], 1e100 * PLAIN),
    "weight too small": ([1e250 * NOISE[0]], 1e-100 * PLAIN),
    "float32 target": ([NOISE[0]], 1e25 * PLAIN),
}


def run(name: str, tmp_path: Path, **training: Any) -> Record:
    """What training on one of the tables comes to."""
    columns, y = TABLES[name]
    path = write_csv(tmp_path / "t.csv", np.column_stack(columns), y)
    folder = run_tasks(Source(path=str(path), target="y"), Training.model_validate(training), tmp_path)
    record = read_record(folder)
    assert sentence(record) in text_of((folder / "report.html").read_text(encoding="utf-8"))
    return record


def found(values: Mapping[str, float | None]) -> Array:
    """Weights by name as an array; NaN where there is none."""
    return np.array(list(values.values()), dtype=np.float64)


def exact(columns: list[Array], y: Array) -> list[Fraction]:
    """The least-squares weights and the intercept, by Gaussian elimination on the normal equations in rational numbers."""
    X = [[*map(Fraction, row), Fraction(1)] for row in zip(*(column.tolist() for column in columns), strict=True)]
    p = len(columns) + 1
    A = [[sum((row[i] * row[j] for row in X), Fraction()) for j in range(p)] for i in range(p)]
    b = [sum((row[i] * Fraction(value) for row, value in zip(X, y.tolist(), strict=True)), Fraction()) for i in range(p)]
    for i in range(p):
        for k in range(i + 1, p):
            factor = A[k][i] / A[i][i]
            A[k] = [one - factor * other for one, other in zip(A[k], A[i], strict=True)]
            b[k] -= factor * b[i]
    weights = [Fraction()] * p
    for i in reversed(range(p)):
        weights[i] = (b[i] - sum((A[i][j] * weights[j] for j in range(i + 1, p)), Fraction())) / A[i][i]
    return weights


@pytest.mark.parametrize(
    ("name", "method"),
    [("huge feature", "rows"), ("tiny feature", "rows"), ("feature far from zero", "rows"),
     ("feature very far from zero", "moments"), ("all at once", "rows"), ("all at once", "moments"),
     ("large target", "moments"), ("small target", "rows")],
)  # fmt: skip
def test_weights_of_any_size_are_those_of_exact_arithmetic(name: str, method: str, tmp_path: Path) -> None:
    """To nine digits, intercept included, in the units of the CSV, and R² is that of numbers near 1."""
    columns, y = TABLES[name]
    record = run(name, tmp_path, method=method, tolerance=1e-13)
    *weights, intercept = map(float, exact(columns, y))
    assert record.diagnosis is not None
    for fit in record.fits:
        assert "converged" == fit.outcome
        np.testing.assert_allclose(found(fit.weights), weights, rtol=1e-9)
        assert pytest.approx(intercept, rel=1e-9) == fit.intercept
        assert fit.r2 is not None
        assert 0.99 < fit.r2 < 1
        assert {} == fit.reasons
    np.testing.assert_allclose(found(record.diagnosis.optimum), weights, rtol=1e-9)
    assert "converged" == record.verdict


REFUSED = [
    ("huge target", {}, "y", "its squares are more than float64 holds. Divide the column by a power of ten."),
    ("tiny target", {}, "y", "its squares are less than float64 holds. Multiply the column by a power of ten."),
    ("target on the limit", {}, "y", "1.7e+308 is at the limit of float64. Divide the column by a power of ten."),
    ("feature on the limit", {}, "x0", "1.7e+308 is at the limit of float64. Divide the column by a power of ten."),
    ("subnormal feature", {}, "x0", "is below what float64 holds in full. Multiply the column by a power of ten."),
    ("weight too large", {}, "x0", "its weight would be about 1e+350, which float64 does not hold in full."),
    ("weight too small", {}, "x0", "its weight would be about 1e-350, which float64 does not hold in full."),
    ("huge feature", {"standardize": False}, "x0", "more than float64 holds. Leave out --no-standardize, or divide the column"),
    ("tiny feature", {"standardize": False}, "x0", "less than float64 holds. Leave out --no-standardize, or multiply the"),
    ("float32 target", {"dtype": "float32"}, "y", "more than float32 holds. Train in float64, or divide the column"),
    ("target far from zero", {"dtype": "float32"}, "y", "of which float32 keeps hardly a digit. Train in float64, or subtract"),
    ("feature far from zero", {"dtype": "float32", "standardize": False}, "x0", "float32 keeps hardly a digit. Leave out --no"),
    ("feature far from zero", {"dtype": "float32", "intercept": False}, "x0", "float32 keeps hardly a digit. Train in float64"),
]


@pytest.mark.parametrize("method", ["rows", "moments"])
@pytest.mark.parametrize(("name", "training", "column", "said"), REFUSED)
def test_what_the_precision_cannot_hold_is_refused(
    name: str, training: dict[str, Any], column: str, said: str, method: str, tmp_path: Path
) -> None:
    """With the column, the reason and the remedy, on one line, and before anything is trained."""
    with pytest.raises(DataError) as refused:
        run(name, tmp_path, method=method, **training)
    assert f"t.csv, column '{column}'" == refused.value.where
    assert said in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_float32_has_scaled_features_right(tmp_path: Path) -> None:
    """Features of 1e300 and 1e9 ± 1 are of size 1 once they are standardised: five digits, as float32 gives them."""
    columns, y = TABLES["all at once"]
    record = run("all at once", tmp_path, dtype="float32", tolerance=1e-6)
    *weights, _ = map(float, exact(columns, y))
    np.testing.assert_allclose(found(record.fits[0].weights), weights, rtol=1e-4)


@pytest.mark.parametrize("method", ["rows", "moments"])
def test_features_far_from_zero_that_are_not_standardised_are_diagnosed(method: str, tmp_path: Path) -> None:
    """The descent gets nowhere: the page shows the exact optimum, how far it is, that the weights are unique, and the cure."""
    columns, y = TABLES["feature far from zero"]
    record = run("feature far from zero", tmp_path, method=method, standardize=False)
    *weights, _ = map(float, exact(columns, y))
    told = record.diagnosis
    assert told is not None
    assert "exhausted" == record.verdict
    assert sentence(record).endswith("more than 1,000,000,000,000 epochs to close it. Leave out --no-standardize.")
    assert (3, 3) == (told.rank, told.parameters)
    np.testing.assert_allclose(found(told.optimum), weights, rtol=1e-5)
    residual = y - np.column_stack([columns[0] - 1e9, columns[1], np.ones(ROWS)]) @ np.array([*weights, 0.0])
    assert pytest.approx(float(np.var(residual)), rel=1e-6) == told.optimum_loss
    assert told.excess_loss is not None
    assert told.optimum_loss is not None
    assert record.fits[0].loss is not None
    assert pytest.approx(record.fits[0].loss - told.optimum_loss, rel=1e-6) == told.excess_loss


def test_a_target_far_from_zero_is_not_said_to_be_fitted(tmp_path: Path) -> None:
    """Its descent stops while the rest is still far from the optimum beside the target's spread: said, with what to do."""
    record = run("target far from zero", tmp_path)
    assert "came to rest after" in sentence(record)
    assert "under a tolerance of 10⁻¹⁰" in sentence(record)
    assert [("narrow", "y")] == [(remark.kind, remark.column) for remark in record.dataset.remarks]


@pytest.mark.parametrize(
    ("columns", "y", "training"),
    [
        ([1e140 * NOISE[0], 1e-140 * NOISE[1]], 1e140 * PLAIN, {"standardize": False, "intercept": False}),
        ([1e140 * NOISE[0]], 1e-140 * PLAIN, {"standardize": False}),
        ([1e-140 * NOISE[0]], 1e140 * PLAIN, {"standardize": False, "intercept": False}),
        ([0 * NOISE[0], 0 * NOISE[1]], PLAIN, {"intercept": False}),
        ([1e9 + NOISE[0]], 1e-100 * PLAIN, {"standardize": False, "learning_rate": 17.0}),
        ([NOISE[0], NOISE[1]], 1e140 * np.sign(NOISE[2]), {"learning_rate": 30.0}),
    ],
)
def test_the_range_ends_in_a_report(columns: list[Array], y: Array, training: dict[str, Any], tmp_path: Path) -> None:
    """Whatever comes of it, every number that is not finite has a reason, and the pictures are drawn without a warning."""
    path = write_csv(tmp_path / "t.csv", np.column_stack(columns), y)
    names = tuple(f"x{j}" for j in range(len(columns)))
    settings = Training.model_validate({"epochs": 300, **training})
    record = read_record(run_tasks(Source(path=str(path), target="y", features=names), settings, tmp_path, draw=False))
    assert record.verdict in {"converged", "exhausted", "diverged"}
    for fit in record.fits:
        missing = {name for name in ("loss", "r2") if getattr(fit, name) is None}
        missing |= {"weights"} if None in fit.weights.values() else set()
        assert missing <= set(fit.reasons)


@pytest.mark.parametrize(
    ("training", "cell", "column", "said"),
    [
        ({}, (1.0, 1e160), "y", "its squares are more than float64 holds, in rows held out. Look at these rows."),
        ({"dtype": "float32"}, (1.0, 1e20), "y", "its squares are more than float32 holds, in rows held out. Train in float64"),
        ({}, (1e160, 1.0), "x0", "its squares are more than float64 holds, in rows held out."),
    ],
)
def test_rows_held_out_that_cannot_be_squared_are_refused(
    training: dict[str, Any], cell: tuple[float, float], column: str, said: str, tmp_path: Path
) -> None:
    """Their loss would be no number at any epoch, and patience would keep the weights of none."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 1))
    y = X[:, 0] + rng.normal(size=30)
    X[-1, 0], y[-1] = cell
    path = write_csv(tmp_path / "t.csv", X, y)
    settings = Training(validation="last:0.1", patience=3, **training)
    with pytest.raises(DataError) as refused:
        run_tasks(Source(path=str(path), target="y"), settings, tmp_path, draw=False)
    assert f"t.csv, column '{column}'" == refused.value.where
    assert said in str(refused.value)


def test_counts_of_nothing_have_no_rate(tmp_path: Path) -> None:
    """Refused with an intercept, which would fall without end whatever the penalty; without one the weights are 0."""
    path = write_csv(tmp_path / "t.csv", np.random.default_rng(0).normal(size=(30, 2)), np.zeros(30))
    source = Source(path=str(path), target="y")
    with pytest.raises(DataError, match="every row trained on holds 0, and no rate is as low as that of nothing"):
        run_tasks(source, Training(loss="poisson", l2=0.01), tmp_path, draw=False)
    folder = run_tasks(source, Training(loss="poisson", intercept=False), tmp_path, draw=False)
    assert "converged" == read_record(folder).verdict
