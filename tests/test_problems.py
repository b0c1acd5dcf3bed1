"""Each loss against the gradient derived for it by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.data import Array, Dataset
from gd.problems import Problem, design, least_squares, notebook
from gd.training import norm
from tests.conftest import LOSSES

X = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
Y = np.array([2.0, 4.0, 6.0, 8.0, 10.0])


def central_differences(problem: Problem, theta: Array, h: float = 1e-3) -> Array:
    """∇J by moving each weight both ways; exact up to rounding for a quadratic loss."""
    above = [problem.value(theta + step, *problem.arrays) for step in h * np.eye(len(theta))]
    below = [problem.value(theta - step, *problem.arrays) for step in h * np.eye(len(theta))]
    return np.asarray((np.array(above) - np.array(below)) / (2 * h))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_by_hand_against_central_differences(loss: str, intercept: bool, plane: Dataset) -> None:
    """Every gradient is that of its loss; the notebook's is n times it, which is its fault."""
    A = design(plane.X, intercept)
    problem = LOSSES[loss](A, plane.y)
    times = len(plane.y) if loss == "notebook" else 1
    for seed in range(3):
        theta: Array = np.random.default_rng(seed).normal(size=(A.shape[1],))
        _, gradient = problem.value_and_gradient(theta, *problem.arrays)
        expected = times * central_differences(problem, theta)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 30), d=st.integers(1, 6), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_gradient_for_every_shape_and_scale(n: int, d: int, scale: float, seed: int) -> None:
    """For every table the hand-derived gradient is that of the mean squared error."""
    rng = np.random.default_rng(seed)
    problem = least_squares(rng.normal(size=(n, d)) * scale, rng.normal(size=n))
    theta = rng.normal(size=d) / scale
    _, gradient = problem.value_and_gradient(theta, *problem.arrays)
    expected = central_differences(problem, theta, h=1e-3 / scale)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7 * norm(gradient) + 1e-9 * scale)


@pytest.mark.parametrize("loss", LOSSES)
def test_both_functions_of_a_loss_give_one_value(loss: str, plane: Dataset) -> None:
    """The loss that autograd sees is the loss that the hand-derived pair returns."""
    problem = LOSSES[loss](plane.X, plane.y)
    theta = np.array([0.3, -0.2, 0.1])
    value, _ = problem.value_and_gradient(theta, *problem.arrays)
    assert pytest.approx(value, rel=1e-15) == problem.value(theta, *problem.arrays)


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 40), p=st.integers(1, 6), m=st.integers(1, 9), kind=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_many_at_once_are_each_alone(loss: str, n: int, p: int, m: int, kind: str, seed: int) -> None:
    """For every shape both functions give for a row of θ what they give for that row by itself, up to rounding.

    It is the residuals that round, small as they can be beside what they are the difference of: roots of losses are compared.
    """
    rng = np.random.default_rng(seed)
    y, theta = rng.normal(size=n).astype(kind), rng.normal(size=(m, p)).astype(kind)
    problem = LOSSES[loss](design(rng.normal(size=(n, p)), False, kind), y)
    value, gradient = problem.value_and_gradient(theta, *problem.arrays)
    alone = [problem.value_and_gradient(row, *problem.arrays) for row in theta]
    assert ((m,), (m, p), np.dtype(kind)) == (value.shape, gradient.shape, gradient.dtype)
    X = np.abs(problem.arrays[0])
    close = 64 * float(np.finfo(kind).eps) * float((np.abs(theta) @ X.T + np.abs(y)).max())
    np.testing.assert_allclose(np.sqrt(value), np.sqrt([loss for loss, _ in alone]), rtol=0, atol=close)
    np.testing.assert_allclose(gradient, [each for _, each in alone], rtol=0, atol=2 * n * close * float(X.max()))
    np.testing.assert_allclose(np.sqrt(problem.value(theta, *problem.arrays)), np.sqrt(value), rtol=0, atol=close)


def test_many_in_a_grid_keep_its_shape(plane: Dataset) -> None:
    """θ (2, 3, p) gives J (2, 3) and ∇J (2, 3, p)."""
    problem = least_squares(plane.X, plane.y)
    theta: Array = np.random.default_rng(0).normal(size=(2, 3, 3))
    value, gradient = problem.value_and_gradient(theta, *problem.arrays)
    flat_value, flat_gradient = problem.value_and_gradient(theta.reshape(6, 3), *problem.arrays)
    np.testing.assert_allclose(value, flat_value.reshape(2, 3), rtol=1e-13)
    np.testing.assert_allclose(gradient, flat_gradient.reshape(2, 3, 3), rtol=1e-12)
    np.testing.assert_allclose(problem.value(theta, *problem.arrays), value, rtol=1e-13)


def test_first_step_by_hand() -> None:
    """The notebook's rows at W = 0: J = (4 + 16 + 36 + 64 + 100)/5 = 44, dJ/dW = -2·(2 + 8 + 18 + 32 + 50)/5 = -44."""
    value, gradient = least_squares(X, Y).value_and_gradient(np.zeros(1), X, Y)
    assert 44.0 == value
    assert [-44.0] == gradient.tolist()


def test_first_step_of_the_notebook_by_hand() -> None:
    """The notebook's own gradient at W = 0 is the sum -2·110 = -220, five times the mean's -44; the loss is the same 44."""
    value, gradient = notebook(X, Y).value_and_gradient(np.zeros(1), X, Y)
    assert 44.0 == value
    assert [-220.0] == gradient.tolist()


def test_first_step_with_an_intercept_by_hand() -> None:
    """At zero the intercept's derivative is -2·mean(Y) = -12."""
    A = design(X, True)
    _, gradient = least_squares(A, Y).value_and_gradient(np.zeros(2), A, Y)
    assert [-44.0, -12.0] == gradient.tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("intercept", [True, False])
def test_design_is_column_major_aligned_and_ends_in_ones(dtype: str, intercept: bool, plane: Dataset) -> None:
    """The design matrix holds the features, then a column of ones, as the fast products want it."""
    A = design(plane.X, intercept, dtype)
    assert (40, 3 + intercept) == A.shape
    assert np.dtype(dtype) == A.dtype
    assert A.flags.f_contiguous
    assert 0 == A.ctypes.data % 64
    np.testing.assert_array_equal(plane.X.astype(dtype), A[:, :3])
    np.testing.assert_array_equal(np.ones((40, int(intercept)), dtype), A[:, 3:])
