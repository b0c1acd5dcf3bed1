"""Curvature, stable steps, predictions, and the check of each gradient."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd import backends
from gd.data import Array, Dataset, standardize
from gd.diagnosis import Spectrum, check_gradient, diagnose, spectrum
from gd.optimizers import gradient_descent
from gd.problems import design, least_squares
from gd.training import Outcome, train
from tests.conftest import LOSSES

X, Y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)


def test_the_notebooks_parabola_by_hand() -> None:
    """J = 11 (W - 2)²: curvature 22, stable below 2/22, best step 1/22, optimum 2 with loss 0, condition 1."""
    found = spectrum(X, Y)
    assert [pytest.approx(22.0)] == found.eigenvalues.tolist()
    assert pytest.approx(2 / 22) == found.stable_below
    assert pytest.approx(1 / 22) == found.best_rate == found.auto_rate
    assert 1.0 == found.condition
    np.testing.assert_allclose(found.optimum, [2.0], rtol=1e-15)
    assert found.optimum_loss < 1e-29
    assert pytest.approx(0.78) == found.contraction(0.01)


def test_epochs_are_predicted_by_hand() -> None:
    """The error keeps 0.78 a step and the excess loss its square: 1e-6 after ⌈6 ln 10 / (-2 ln 0.78)⌉ = 28 epochs."""
    assert 28 == spectrum(X, Y).epochs_to(0.01)
    assert 1 == spectrum(X, Y).epochs_to(1 / 22)


def test_no_epochs_are_enough_above_the_limit() -> None:
    """At and above the stable limit the excess loss does not fall."""
    found = spectrum(X, Y)
    assert math.inf == found.epochs_to(found.stable_below) == found.epochs_to(1.0)


def test_two_curvatures_by_hand() -> None:
    """Columns (1, 1, -1, -1) and 3·(1, -1, 1, -1): H = diag(2, 18), condition 9, best step 2/20, limit 2/18."""
    A = np.array([[1.0, 3.0], [1.0, -3.0], [-1.0, 3.0], [-1.0, -3.0]])
    found = spectrum(A, A @ [1.0, 1.0])
    np.testing.assert_allclose(found.eigenvalues, [2.0, 18.0], rtol=1e-15)
    assert pytest.approx(9.0) == found.condition
    assert pytest.approx(0.1) == found.best_rate
    assert pytest.approx(1 / 9) == found.stable_below
    assert pytest.approx(0.8) == found.contraction(found.best_rate)  # (κ - 1)/(κ + 1)


@pytest.mark.parametrize("name", backends.available())
@pytest.mark.parametrize("share", [0.3, 1.0, 1.9])
def test_the_spectral_prediction_is_the_descent(name: str, share: float, penguins: Dataset) -> None:
    """Theory and practice are one line: at each of 60 epochs the excess loss is the predicted one, to 1e-9."""
    A = design(standardize(penguins.X, True).apply(penguins.X), True)
    found = spectrum(A, penguins.y)
    rate = share * found.auto_rate
    trace = train(backends.get(name).objective(least_squares(A, penguins.y)), 5, gradient_descent(rate), epochs=60)
    np.testing.assert_allclose(found.excess(trace.theta[:-1]), found.predicted_excess(rate, np.arange(60)), rtol=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_the_predicted_epochs_are_those_it_takes(share: float, penguins: Dataset) -> None:
    """The prediction is exact to the epoch."""
    A = design(standardize(penguins.X, True).apply(penguins.X), True)
    found = spectrum(A, penguins.y)
    rate = share * found.auto_rate
    trace = train(backends.get("numpy").objective(least_squares(A, penguins.y)), 5, gradient_descent(rate), epochs=1500)
    excess = found.excess(trace.theta)
    assert int(np.argmax(excess <= 1e-6 * excess[0])) == found.epochs_to(rate)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(8, 60), d=st.integers(1, 6), offset=st.sampled_from([0.0, 10.0]), seed=st.integers(0, 2**32 - 1))
def test_the_optimum_is_that_of_lstsq(n: int, d: int, offset: float, seed: int) -> None:
    """For every full table the optimum is numpy.linalg.lstsq's, and its loss the mean of the squared residuals."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, d)) + offset
    y = rng.normal(size=n)
    if np.linalg.cond(A) > 1e4:
        return
    expected = np.linalg.lstsq(A, y)[0]
    found = spectrum(A, y)
    np.testing.assert_allclose(found.optimum, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
    assert pytest.approx(np.mean((A @ expected - y) ** 2), rel=1e-9, abs=1e-25) == found.optimum_loss


def test_collinear_features_have_an_infinite_condition() -> None:
    """A column twice: one direction is flat, the optimum is the shortest, as lstsq gives it, and nothing is NaN."""
    column = np.arange(6.0)
    A, y = np.column_stack([column, column]), 3 * column
    found = spectrum(A, y)
    assert math.inf == found.condition
    assert 0.0 == found.eigenvalues[0]
    np.testing.assert_allclose(found.optimum, [1.5, 1.5], rtol=1e-12)
    assert math.isfinite(found.best_rate)
    assert 1 == found.epochs_to(found.auto_rate)


def test_columns_far_from_zero_keep_their_optimum() -> None:
    """X = 1e8 ± 1e6 beside a column of ones, κ(XᵀX) = 1e20: the line y = 2e-6 x - 199 is found, and its loss is nothing."""
    spread = np.random.default_rng(9).normal(size=200)
    A, y = np.column_stack([1e8 + 1e6 * spread, np.ones(200)]), 2 * spread + 1
    found = spectrum(A, y)
    np.testing.assert_allclose(found.optimum, [2e-6, -199.0], rtol=1e-6)
    assert found.optimum_loss < 1e-12
    assert 1e18 < found.condition < 1e22
    assert found.excess(np.zeros((1, 2)))[0] == pytest.approx(np.mean(y**2), rel=1e-6)


def test_fewer_rows_than_columns() -> None:
    """Three rows hold eight features: the shortest weights that fit them, as lstsq gives them, with no loss."""
    rng = np.random.default_rng(4)
    A, y = rng.normal(size=(3, 8)), rng.normal(size=3)
    found = spectrum(A, y)
    np.testing.assert_allclose(found.optimum, np.linalg.lstsq(A, y)[0], rtol=1e-10, atol=1e-12)
    assert found.optimum_loss < 1e-25
    assert 5 == int((found.eigenvalues == 0).sum())


def test_a_flat_loss_has_no_limit() -> None:
    """Features of nothing but zeros: any step is stable, and `auto` still gives a number."""
    found = spectrum(np.zeros((4, 1)), np.ones(4))
    assert math.inf == found.stable_below
    assert 1.0 == found.auto_rate
    assert 0 == found.epochs_to(1.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", backends.available())
def test_the_gradient_check_measures_the_ratio(name: str, loss: str, plane: Dataset) -> None:
    """NumPy's gradient of the notebook's loss is n = 40 times the stated one; every other ratio is 1."""
    A = design(plane.X, True)
    found = check_gradient(backends.get(name).objective(LOSSES[loss](A, plane.y)), spectrum(A, plane.y))
    expected = 40.0 if (name, loss) == ("numpy", "notebook") else 1.0
    assert pytest.approx(expected, rel=1e-8) == found.ratio
    assert found.error < 1e-7 * expected


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_gradient_check_works_at_any_scale(scale: float, plane: Dataset) -> None:
    """Features of millionths or millions are checked as exactly."""
    A = design(plane.X * scale, True)
    found = check_gradient(backends.get("numpy").objective(least_squares(A, plane.y)), spectrum(A, plane.y))
    assert pytest.approx(1.0, rel=1e-7) == found.ratio


def test_the_gradient_check_sees_a_wrong_direction(plane: Dataset) -> None:
    """A gradient with one sign turned has an error that no ratio explains."""
    A = design(plane.X, True)
    right = backends.get("numpy").objective(least_squares(A, plane.y))

    def objective(theta: Array) -> tuple[float, Array]:
        value, gradient = right(theta)
        return value, gradient * [1, -1, 1, 1]

    assert check_gradient(objective, spectrum(A, plane.y)).error > 0.1


def test_a_flat_loss_has_no_ratio() -> None:
    """Where the loss is flat there is nothing to compare, and the check says so by NaN."""
    A = np.zeros((4, 1))
    found = check_gradient(backends.get("numpy").objective(least_squares(A, np.ones(4))), spectrum(A, np.ones(4)))
    assert math.isnan(found.ratio)


def test_a_diagnosis_puts_it_together(plane: Dataset) -> None:
    """The distance left is that of the backend that ended furthest away."""
    A = design(plane.X, True)
    found = spectrum(A, plane.y)
    objective = backends.get("numpy").objective(least_squares(A, plane.y))
    traces = [train(objective, 4, gradient_descent(0.1), epochs=epochs) for epochs in (5, 50)]
    diagnosis = diagnose(found, 0.1, traces, [])
    assert pytest.approx(traces[0].final_loss - found.optimum_loss, rel=1e-9) == diagnosis.excess_loss
    assert traces[0].outcome == Outcome.EXHAUSTED
    assert found.epochs_to(0.1) == diagnosis.predicted_epochs >= diagnosis.predicted_epochs_best


def test_a_spectrum_survives_a_file(tmp_path: Path, plane: Dataset) -> None:
    """What is saved is what is loaded."""
    found = spectrum(design(plane.X, True), plane.y)
    found.save(tmp_path / "spectrum.npz")
    again = Spectrum.load(tmp_path / "spectrum.npz")
    for field in ("eigenvalues", "vectors", "optimum", "start"):
        np.testing.assert_array_equal(getattr(found, field), getattr(again, field))
    assert found.optimum_loss == again.optimum_loss


def test_the_theory_of_many_epochs_is_that_of_each(plane: Dataset) -> None:
    """Computed a block of epochs at a time, the predicted excess is what it is for an epoch alone."""
    found = spectrum(design(plane.X, True), plane.y)
    epochs = np.arange(40_000)
    whole = found.predicted_excess(1e-4, epochs)
    for t in (0, 16_383, 16_384, 39_999):
        np.testing.assert_allclose(whole[t], found.predicted_excess(1e-4, epochs[t : t + 1])[0], rtol=1e-14)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(2, 60), p=st.integers(1, 6), repeated=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_the_root_turns_weights_into_predictions(n: int, p: int, repeated: bool, seed: int) -> None:
    """For every table, tall or flat, ‖S δ‖ is the root mean square of X δ, and its square the loss above the optimum's."""
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(n, p)), rng.normal(size=n)
    if repeated:
        A[:, -1] = A[:, 0]
    found, theta = spectrum(A, y), rng.normal(size=p)
    assert pytest.approx(math.sqrt(np.mean((A @ theta) ** 2)), rel=1e-9, abs=1e-12) == np.linalg.norm(found.root @ theta)
    value = float(np.mean((A @ theta - y) ** 2)) - found.optimum_loss
    assert pytest.approx(value, rel=1e-9, abs=1e-9) == found.excess(theta[None])[0]


def test_a_direction_that_is_only_beside_large_columns_is_not_flat() -> None:
    """1e9 ± 1, left as it is, beside a constant: a curvature of 2e-18 next to 2e18, and the line y = 2 x - 2e9 + 1 is found."""
    spread = np.random.default_rng(9).normal(size=200)
    x = 1e9 + spread
    y = 2 * (x - 1e9) + 1
    found = spectrum(np.column_stack([x, np.ones(200)]), y)
    np.testing.assert_allclose(found.optimum, [2.0, 1 - 2e9], rtol=1e-6)
    assert found.optimum_loss < 1e-12
    variance = float(np.var(x - 1e9))
    np.testing.assert_allclose(found.eigenvalues, [2e-18 * variance, 2e18], rtol=1e-5)
    assert pytest.approx(np.mean(y**2), rel=1e-6) == found.excess(np.zeros((1, 2)))[0]
    assert math.inf == found.epochs_to(found.auto_rate)


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12, 1e14])
def test_the_gradient_check_is_right_far_from_zero(offset: float) -> None:
    """Columns that are left where they are: steps that the weights can tell, and no way along a curvature of 1e-28."""
    rng = np.random.default_rng(9)
    x = offset + 64 * rng.normal(size=40).round(2)
    A, y = np.column_stack([x, np.ones(40)]), x - offset + rng.normal(size=40)
    check = check_gradient(backends.get("numpy").objective(least_squares(A, y)), spectrum(A, y))
    assert pytest.approx(1.0, abs=1e-3) == check.ratio
    assert check.error < 1e-3
