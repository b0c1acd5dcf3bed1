"""Huber, logistic and Poisson losses and the L2 penalty: gradients, extremes, and optima against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from gd import backends
from gd.data import Array
from gd.optimizers import gradient_descent, nesterov, proximal
from gd.problems import Problem, design, huber, least_squares, logistic, poisson, ridge
from gd.training import train

NAMES = backends.available()


def made(loss: str, X: Array, y: Array) -> Problem:
    """A problem of every loss here from any numbers: a target of the logistic loss is their sign, a count their size."""
    kind = X.dtype
    if loss == "huber":
        return huber(X, y, 0.7)
    if loss == "logistic":
        return logistic(X, (y > 0).astype(kind))
    if loss == "poisson":
        return poisson(X, np.floor(np.abs(3 * y)))
    mask = np.ones(X.shape[1], kind)
    mask[-1] = 0
    return ridge(least_squares(X, y), 0.3, mask)


LOSSES = ("huber", "logistic", "poisson", "ridge")


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 40), p=st.integers(1, 6), power=st.integers(-3, 3), seed=st.integers(0, 2**32 - 1))
def test_gradient_by_hand_against_central_differences(loss: str, n: int, p: int, power: int, seed: int) -> None:
    """For every shape and scale the gradient derived by hand is that of the stated loss."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10.0**power
    problem = made(loss, X, rng.normal(size=n))
    theta = rng.normal(size=p) / 10.0**power
    _, gradient = problem.value_and_gradient(theta, *problem.arrays)
    h = 1e-6 / 10.0**power
    above, below = (problem.value(theta + s * np.eye(p), *problem.arrays) for s in (h, -h))
    size = float(np.abs(gradient).max()) + 10.0**power
    np.testing.assert_allclose(gradient, (above - below) / (2 * h), rtol=0, atol=1e-6 * max(1, float(above.max())) * size)


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=12)  # JAX compiles each anew
@given(
    n=st.integers(1, 40), p=st.integers(1, 6), size=st.sampled_from([0.0, 1e-8, 1e-3, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_every_backend_has_the_same_gradient(loss: str, n: int, p: int, size: float, seed: int) -> None:
    """For every θ, from zero to where exponentials overflow, autograd and the formula agree; or neither number is finite.

    Zero is where a descent begins and where |u| and max(u, 0) have no derivative that autograd would know.
    """
    rng = np.random.default_rng(seed)
    problem = made(loss, rng.normal(size=(n, p)), rng.normal(size=n))
    theta = size * rng.normal(size=p)
    with np.errstate(over="ignore", invalid="ignore"):
        found = [backends.get(name).objective(problem)(theta.copy()) for name in NAMES]
    value, gradient = found[0]
    for other, slope in found[1:]:
        if math.isfinite(value):
            assert pytest.approx(value, rel=1e-12, abs=1e-300) == other
            np.testing.assert_allclose(slope, gradient, rtol=1e-9, atol=1e-13 * (1 + float(np.abs(gradient).max())))
        else:
            assert not math.isfinite(other)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_many_at_once_are_each_alone(name: str, kind: str, loss: str) -> None:
    """Of θ (m, p) come m losses and a gradient a row, in the problem's precision, as of each row alone."""
    rng = np.random.default_rng(5)
    problem = made(loss, rng.normal(size=(20, 3)).astype(kind), rng.normal(size=20).astype(kind))
    objective, theta = backends.get(name).objective(problem), rng.normal(size=(4, 3)).astype(kind)
    value, gradient = objective(theta)
    assert ((4,), (4, 3), np.dtype(kind)) == (value.shape, gradient.shape, gradient.dtype)
    alone = [objective(row) for row in theta]
    close = 64 * float(np.finfo(kind).eps)
    np.testing.assert_allclose(value, [one for one, _ in alone], rtol=close)
    np.testing.assert_allclose(gradient, [each for _, each in alone], rtol=close, atol=close)


@pytest.mark.parametrize("name", NAMES)
def test_a_residual_of_1e8_and_more_overflows_nothing(name: str) -> None:
    """Huber's loss is δ (|r| - δ/2), and the logistic one |u| where it is wrong and e^-|u| where it is right."""
    one: Array = np.ones((1, 1))
    for size in (1e8, 1e150):
        far = backends.get(name).objective(huber(one, np.zeros(1), 2.0))
        assert (pytest.approx(2 * (size - 1), rel=1e-15), [2.0]) == (
            far(np.array([size]))[0],
            far(np.array([size]))[1].tolist(),
        )
        wrong = backends.get(name).objective(logistic(one, np.zeros(1)))
        assert (size, [1.0]) == (wrong(np.array([size]))[0], wrong(np.array([size]))[1].tolist())
        right = backends.get(name).objective(logistic(one, np.ones(1)))
        assert (0.0, [0.0]) == (right(np.array([size]))[0], np.abs(right(np.array([size]))[1]).tolist())
    value, gradient = backends.get(name).objective(logistic(one, np.ones(1)))(np.array([600.0]))
    assert pytest.approx(math.exp(-600), rel=1e-13) == value
    assert pytest.approx(-math.exp(-600), rel=1e-13) == float(gradient[0])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: huber(np.ones((1, 1)), np.ones(1), 0.0), "delta must be above 0, not 0.0"),
        (lambda: logistic(np.ones((1, 1)), np.full(1, 2.0)), "a target of the logistic loss is 0 or 1, not 2.0"),
        (lambda: poisson(np.ones((1, 1)), np.full(1, -1.0)), "a target of the Poisson loss is 0 or above, not -1.0"),
        (
            lambda: ridge(least_squares(np.ones((1, 1)), np.ones(1)), -1.0, np.ones(1)),
            "the penalty must be at least 0, not -1.0",
        ),
    ],
)
def test_what_a_loss_cannot_hold_is_refused(make: Callable[[], Problem], said: str) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the whole text is compared)
        make()
    assert said == str(raised.value)


def real(name: str) -> tuple[Array, Array]:
    """A real table, features standardised and target as it is."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), np.asarray(y, dtype=np.float64)


def descended(problem: Problem, p: int, curvature: float, penalty: float = 0.0, epochs: int = 20_000) -> Array:
    """Where NumPy's descent ends, with a step of 1/λmax; proximal where there is an L1 penalty on all but the intercept."""
    objective, rate = backends.get("numpy").objective(problem), 1 / curvature
    mask = np.ones(p)
    mask[-1] = 0
    plain = proximal(gradient_descent(rate), rate, penalty * mask) if penalty else nesterov(rate, 0.99)
    return np.asarray(train(objective, p, plain, epochs=epochs, tolerance=1e-13).theta[-1])


def steepest(A: Array) -> float:
    """The largest curvature of the mean squared error, 2 ‖A‖²/n."""
    return 2 * float(np.linalg.norm(A, 2)) ** 2 / len(A)


def mask_of(A: Array) -> Array:
    """1 for each weight, 0 for the intercept, which stands last."""
    mask = np.ones(A.shape[1])
    mask[-1] = 0
    return mask


TABLES = ("diabetes", "wine", "breast_cancer")


@pytest.mark.parametrize("name", TABLES)
def test_ridge_against_scikit_learn(name: str) -> None:
    """Its Ridge sums over rows: alpha = n κ."""
    X, y = real(name)
    A = design(X, True)
    kappa = 0.05
    found = descended(ridge(least_squares(A, y), kappa, mask_of(A)), A.shape[1], steepest(A) + 0.1)
    theirs = Ridge(alpha=len(y) * kappa, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(found, [*theirs.coef_, theirs.intercept_], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_lasso_and_elastic_net_against_scikit_learn(name: str) -> None:
    """Theirs halve the squared loss: κ ‖w‖₁ beside mean(r²) is alpha l1_ratio = κ/2, and κ₂ Σ w² alpha (1 - l1_ratio) = κ₂."""
    X, y = real(name)
    A = design(X, True)
    top, kappa = steepest(A), 0.2
    found = descended(least_squares(A, y), A.shape[1], top, kappa)
    theirs = Lasso(alpha=kappa / 2, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(found, [*theirs.coef_, theirs.intercept_], rtol=1e-6, atol=1e-6)
    assert [one == 0 for one in found[:-1]] == [one == 0 for one in theirs.coef_]
    second = 0.1
    found = descended(ridge(least_squares(A, y), second, mask_of(A)), A.shape[1], top + 2 * second, kappa)
    alpha = kappa / 2 + second
    theirs = ElasticNet(alpha=alpha, l1_ratio=kappa / 2 / alpha, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(found, [*theirs.coef_, theirs.intercept_], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_huber_against_scikit_learn(name: str) -> None:
    """Theirs fits a scale σ too: with δ = epsilon σ and κ = alpha σ / 2n our loss is no higher.

    Its solver stops where the loss falls by less than 2e-9 of itself, wherever the weights are then.
    """
    X, y = real(name)
    alpha = 0.3 * len(y)
    theirs = HuberRegressor(epsilon=1.35, alpha=alpha, max_iter=100_000, tol=1e-12).fit(X, y)
    A, sigma = design(X, True), float(theirs.scale_)
    kappa = alpha * sigma / (2 * len(y))
    problem = ridge(huber(A, y, 1.35 * sigma), kappa, mask_of(A))
    found = descended(problem, A.shape[1], steepest(A) / 2 + 2 * kappa)
    best, flat = problem.value_and_gradient(found, *problem.arrays)
    their, _ = problem.value_and_gradient(np.append(theirs.coef_, theirs.intercept_), *problem.arrays)
    assert np.abs(flat).max() < 1e-11 * y.std()
    assert 0 <= their - best <= 1e-6 * best
    away = found[:-1] - theirs.coef_
    assert kappa * float(away @ away) <= (their - best) * (1 + 1e-6)  # the penalty alone curves as much


@pytest.mark.parametrize("name", TABLES)
def test_huber_against_statsmodels(name: str) -> None:
    """Its iterated weights, with the scale held at the first one, come to the same optimum with δ = t · scale."""
    X, y = real(name)
    A = design(X, True)
    theirs = sm.RLM(y, A, M=sm.robust.norms.HuberT(t=1.345)).fit(update_scale=False, tol=1e-12, maxiter=10_000)
    found = descended(huber(A, y, 1.345 * float(theirs.scale)), A.shape[1], steepest(A) / 2, epochs=100_000)
    np.testing.assert_allclose(found, theirs.params, rtol=1e-6, atol=1e-6 * y.std())


@pytest.mark.parametrize("name", TABLES)
def test_logistic_against_scikit_learn(name: str) -> None:
    """Its C weighs the sum of the losses against ½ ‖w‖²: κ = 1 / (2 n C)."""
    X, y = real(name)
    target = (y > np.median(y)).astype(float) if name != "breast_cancer" else y
    A, C = design(X, True), 0.5
    problem = ridge(logistic(A, target), 1 / (2 * len(y) * C), mask_of(A))
    found = descended(problem, A.shape[1], steepest(A) / 8 + 1)
    theirs = LogisticRegression(C=C, tol=1e-12, max_iter=100_000).fit(X, target)
    np.testing.assert_allclose(found, [*theirs.coef_[0], theirs.intercept_[0]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_poisson_against_scikit_learn(name: str) -> None:
    """Its alpha weighs ½ ‖w‖² beside half the mean deviance: κ = alpha / 2."""
    X, y = real(name)
    A, alpha = design(X, True), 0.1
    problem = ridge(poisson(A, y), alpha / 2, mask_of(A))
    theirs = PoissonRegressor(alpha=alpha, tol=1e-10, max_iter=100_000, solver="newton-cholesky").fit(X, y)
    top = steepest(A) * max(float(y.max()), 1)
    found = descended(problem, A.shape[1], top, epochs=100_000)
    np.testing.assert_allclose(found, [*theirs.coef_, theirs.intercept_], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("name", backends.available())
def test_large_counts_keep_their_digits_in_float32(name: str, size: float) -> None:
    """Near the optimum of counts of a million the loss is what is left of terms millions of times as large."""
    rng = np.random.default_rng(6)
    X = design(rng.normal(size=(200, 2)), True)
    theta = np.array([0.2, -0.1, math.log(size)])
    y = rng.poisson(np.exp(X @ theta)).astype(float)
    y[0] = 0.0
    single = theta.astype(np.float32)
    expected, _ = backends.get("numpy").objective(poisson(X.astype(np.float32).astype(np.float64), y))(single.astype(float))
    found, _ = backends.get(name).objective(poisson(X.astype(np.float32), y.astype(np.float32)))(single)
    assert float(expected) == pytest.approx(float(found), rel=1e-3)
