"""The exact optimum of every loss, against scikit-learn and statsmodels on real tables, and by the conditions that it meets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, PoissonRegressor

from gd.data import Array
from gd.optimum import minimum
from gd.problems import Problem, design, huber, least_squares, logistic, notebook, poisson, ridge
from tests.conftest import LOSSES
from tests.tables import table

TABLES = ("diabetes", "cancer", "visits")
KINDS = ("mse", "huber", "logistic", "poisson")


def two(name: str) -> Array:
    """A target of two values: as it is, or whether it is above the median."""
    y = table(name)[1]
    return y if name == "cancer" else (y > np.median(y)).astype(float)


def weights_only(A: Array) -> Array:
    """1 for each weight, 0 for the intercept."""
    return np.append(np.ones(A.shape[1] - 1), 0.0)


def same(expected: Array, found: Array, close: float) -> None:
    """Both weights, relative to the largest of them."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=close * np.abs(expected).max())


@pytest.mark.parametrize("name", TABLES)
def test_least_squares_against_numpy(name: str) -> None:
    """Without a penalty it is numpy.linalg.lstsq's solution."""
    X, y = table(name)
    A = design(X, True)
    found = minimum(least_squares(A, y), A.shape[1])
    assert found.finite
    same(np.linalg.lstsq(A, y)[0], found.theta, 1e-11)
    assert pytest.approx(float(np.mean((A @ found.theta - y) ** 2)), rel=1e-14) == found.loss


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_logistic_against_scikit_learn(name: str, l2: float) -> None:
    """By its Newton steps: its C weighs the sum of the losses against ½ ‖w‖², so that κ = 1/(2 n C)."""
    X, y = table(name)[0], two(name)
    A = design(X, True)
    C = 1 / (2 * len(y) * l2) if l2 else np.inf
    theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(X, y)
    found = minimum(ridge(logistic(A, y), l2, weights_only(A)), A.shape[1])
    assert found.finite
    same(np.append(theirs.coef_[0], theirs.intercept_), found.theta, 1e-8)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_poisson_against_scikit_learn(name: str, l2: float) -> None:
    """By its Newton steps: alpha weighs ½ ‖w‖² beside half the mean deviance, so that κ = alpha/2."""
    X, y = table(name)
    A = design(X, True)
    theirs = PoissonRegressor(alpha=2 * l2, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
    found = minimum(ridge(poisson(A, y), l2, weights_only(A)), A.shape[1])
    assert found.finite
    same(np.append(theirs.coef_, theirs.intercept_), found.theta, 1e-8)


@pytest.mark.parametrize("name", ["diabetes", "visits", "stackloss"])
def test_huber_against_statsmodels(name: str) -> None:
    """Its iterated weights, with the scale held at the first one, come to the same optimum with δ = 1.345 scales."""
    X, y = table(name)
    A = design(X, True)
    theirs = sm.RLM(y, A, M=sm.robust.norms.HuberT(t=1.345)).fit(update_scale=False, tol=1e-13, maxiter=10_000)
    found = minimum(huber(A, y, 1.345 * float(theirs.scale)), A.shape[1])
    assert found.finite
    same(theirs.params, found.theta, 1e-8)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("share", [0.01, 0.3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_l1_of_the_squared_error_against_scikit_learn(name: str, share: float, l2: float) -> None:
    """Lasso and elastic net, to the same zeros: their ½ in front of the mean halves κ, and half of the rest weighs ‖w‖²."""
    X, y = table(name)
    A = design(X, True)
    l1 = share * float(np.abs(2 * X.T @ (y - y.mean()) / len(y)).max())  # under which the first weight would leave zero
    if l2:
        alpha = l1 / 2 + l2
        theirs = ElasticNet(alpha=alpha, l1_ratio=l1 / 2 / alpha, tol=1e-15, max_iter=10**6).fit(X, y)
    else:
        theirs = Lasso(alpha=l1 / 2, tol=1e-15, max_iter=10**6).fit(X, y)
    found = minimum(ridge(least_squares(A, y), l2, weights_only(A)), A.shape[1], l1 * weights_only(A))
    assert found.finite
    same(np.append(theirs.coef_, theirs.intercept_), found.theta, 1e-8)
    assert (theirs.coef_ == 0).tolist() == (found.theta[:-1] == 0).tolist()


@pytest.mark.parametrize("name", TABLES)
def test_l1_of_the_logistic_loss_against_scikit_learn(name: str) -> None:
    """By SAGA, to the same zeros: its C weighs the sum of the losses against ‖w‖₁, so that κ = 1/(n C)."""
    X, y = table(name)[0], two(name)
    A, l1 = design(X, True), 0.02
    theirs = LogisticRegression(C=1 / (len(y) * l1), l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=100_000).fit(X, y)
    found = minimum(logistic(A, y), A.shape[1], l1 * weights_only(A))
    assert found.finite
    same(np.append(theirs.coef_[0], theirs.intercept_), found.theta, 1e-6)
    assert (theirs.coef_[0] == 0).tolist() == (found.theta[:-1] == 0).tolist()
    assert 0 < np.count_nonzero(found.theta[:-1]) < X.shape[1]


def test_classes_that_a_plane_separates_have_no_optimum() -> None:
    """The loss falls on and on along such a plane; a penalty of either kind, on all that can grow, gives it a place."""
    X = table("cancer")[0]
    y = (X[:, 0] + X[:, 3] > 0.5).astype(float)
    A = design(X, True)
    p, mask = A.shape[1], weights_only(A)
    assert not minimum(logistic(A, y), p).finite
    assert minimum(ridge(logistic(A, y), 1e-3, mask), p).finite
    assert minimum(logistic(A, y), p, 1e-3 * mask).finite
    assert not minimum(logistic(np.ones((5, 1)), np.ones(5)), 1).finite  # one class alone, and an intercept
    assert not minimum(poisson(np.ones((5, 1)), np.zeros(5)), 1).finite  # not one count


def test_classes_that_are_separated_but_for_a_few_rows() -> None:
    """A column that is 1 in some rows of one class only: its weight grows on and on, whatever the others do."""
    X, y = table("cancer")
    only = ((y == 1) & (X[:, 0] > 0)).astype(float)
    A = design(np.column_stack([X, only]), True)
    found = minimum(logistic(A, y), A.shape[1])
    assert not found.finite
    assert found.theta[8] > 10
    assert minimum(ridge(logistic(A, y), 1e-4, weights_only(A)), A.shape[1]).finite


@pytest.mark.parametrize("l1", [0.0, 0.1])
@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("power", [-12, -4, 4, 12])
def test_no_unit_of_the_target_matters(power: int, mean: float, l1: float) -> None:
    """Huber's optimum is that of a target of mean 0 and in its own unit, though at zero every residual is beyond δ."""
    X, y = table("diabetes")
    A, unit = design(X, True), 10.0**power
    expected = minimum(huber(A, y, 60.0), 11, l1 * 60 * weights_only(A))
    found = minimum(huber(A, (y + mean) * unit, 60.0 * unit), 11, l1 * 60 * unit * weights_only(A))
    assert found.finite
    np.testing.assert_allclose(
        found.theta / unit - np.append(np.zeros(10), mean), expected.theta, rtol=0, atol=1e-12 * (mean + 150)
    )


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("l1", [0.0, 0.02])
@pytest.mark.parametrize("power", [-12, 8])
def test_no_unit_of_a_feature_matters(power: int, l1: float, loss: str) -> None:
    """With half of the columns, and the penalty on them, in another unit the predictions are the same."""
    X, y = table("diabetes")
    unit = np.append(np.repeat([1.0, 10.0**power], 5), 1.0)
    A = design(X, True)
    target = two("diabetes") if loss == "logistic" else y
    makes: dict[str, Callable[[Array, Array], Problem]] = {
        "mse": least_squares, "logistic": logistic, "poisson": poisson, "huber": partial(huber, delta=60.0),
    }  # fmt: skip
    make = makes[loss]
    kappa = l1 * {"mse": 60.0, "huber": 60.0, "poisson": 100.0, "logistic": 1.0}[loss] * weights_only(A)
    expected = minimum(make(A, target), 11, kappa)
    found = minimum(make(A * unit, target), 11, kappa * unit)
    assert expected.finite
    assert found.finite
    same(expected.theta, found.theta * unit, 1e-11)


@pytest.mark.parametrize("most", [1.0, 1e4, 1e12])
def test_large_counts_have_the_optimum_of_small_ones(most: float) -> None:
    """So many times the counts move the intercept by the logarithm of it, though at zero the loss is steeper by as much."""
    X, y = table("diabetes")
    A = design(X, True)
    expected, found = minimum(poisson(A, y), 11).theta, minimum(poisson(A, most * y), 11)
    assert found.finite
    same(expected, found.theta - np.append(np.zeros(10), np.log(most)), 1e-12)


def made(loss: str, A: Array, y: Array) -> Problem:
    """A problem of every loss from any numbers."""
    if loss == "huber":
        return huber(A, y, 0.7)
    if loss == "logistic":
        return logistic(A, (y > 0).astype(float))
    if loss == "poisson":
        return poisson(A, np.floor(np.abs(3 * y)))
    return least_squares(A, y)


@pytest.mark.parametrize("loss", KINDS)
@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(8, 40), d=st.integers(1, 6), share=st.floats(0.01, 1.2), copies=st.booleans(), seed=st.integers(0, 2**32 - 1)
)  # fmt: skip
@example(n=20, d=4, share=1.0, copies=False, seed=0)
@example(n=20, d=4, share=0.1, copies=True, seed=0)
def test_the_conditions_of_an_l1_optimum(loss: str, n: int, d: int, share: float, copies: bool, seed: int) -> None:
    """For every table |gⱼ| ≤ κ where a weight is 0, gⱼ = -κ sign(wⱼ) elsewhere, and 0 of the intercept.

    Karush, Kuhn and Tucker; to 1e-9 of κ, or of the gradient of the intercept alone where that is larger.
    """
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)
    if copies:
        X = np.column_stack([X, X[:, 0]])
    A = design(X, True)
    problem, mask = made(loss, A, y), weights_only(A)
    if len(set(problem.arrays[1].tolist())) == 1:
        return  # one class or no count: an intercept that grows on and on
    alone = made(loss, np.ones((n, 1)), y)
    first = np.append(np.zeros(A.shape[1] - 1), minimum(alone, 1).theta)
    most = float(np.abs(problem.value_and_gradient(first, *problem.arrays)[1][:-1]).max())
    l1 = share * most  # from 1 on every weight is 0
    found = minimum(problem, A.shape[1], l1 * mask)
    g = problem.value_and_gradient(found.theta, *problem.arrays)[1]
    close = 1e-9 * max(most, float(np.abs(problem.value_and_gradient(0 * first, *problem.arrays)[1]).max()))
    assert abs(g[-1]) <= close
    zero = found.theta[:-1] == 0
    assert (np.abs(g[:-1][zero]) <= l1 + close).all()
    np.testing.assert_allclose(g[:-1][~zero], -l1 * np.sign(found.theta[:-1][~zero]), rtol=0, atol=close)
    assert share <= 1 or zero.all()
    assert found.finite


@pytest.mark.parametrize("loss", KINDS)
@settings(deadline=None, max_examples=60)
@given(n=st.integers(12, 40), d=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_at_an_optimum_no_neighbour_is_lower(loss: str, n: int, d: int, seed: int) -> None:
    """For every table with an L2 penalty the gradient is flat at the optimum, and every step away from it leads up."""
    rng = np.random.default_rng(seed)
    A = design(rng.normal(size=(n, d)), True)
    y = rng.normal(size=n)
    y[:2] = [-1.0, 1.0]  # both classes
    problem = ridge(made(loss, A, y), 0.01, weights_only(A))
    found = minimum(problem, d + 1)
    start = float(np.abs(problem.value_and_gradient(np.zeros(d + 1), *problem.arrays)[1]).max())
    assert found.finite
    assert np.abs(problem.value_and_gradient(found.theta, *problem.arrays)[1]).max() <= 1e-11 * max(start, 1e-3)
    for step in 0.01 * rng.normal(size=(5, d + 1)):
        assert problem.value(found.theta + step, *problem.arrays) >= found.loss


@pytest.mark.parametrize("loss", [*KINDS, "ridge"])
@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), d=st.integers(1, 5), power=st.integers(-2, 2), seed=st.integers(0, 2**32 - 1))
def test_hessians_against_central_differences(loss: str, n: int, d: int, power: int, seed: int) -> None:
    """For every shape and scale the Hessian is the derivative of the gradient that was derived by hand."""
    rng = np.random.default_rng(seed)
    A, y = design(rng.normal(size=(n, d)) * 10.0**power, True), rng.normal(size=n)
    problem = ridge(made("mse", A, y), 0.3, weights_only(A)) if loss == "ridge" else made(loss, A, y)
    theta = rng.normal(size=d + 1) / np.append(np.full(d, 10.0**power), 1.0)
    steps = 1e-5 / np.append(np.full(d, 10.0**power), 1.0)
    if loss == "huber":  # whose gradient has a corner, on either side of which each has its own Hessian
        r = np.abs(A @ theta - y)
        if (np.abs(r - 0.7) < 1e-4 * np.abs(A / np.append(np.full(d, 10.0**power), 1.0)).max()).any():
            return
    assert problem.hessian is not None
    found = problem.hessian(theta, *problem.arrays)
    above = [problem.value_and_gradient(theta + step, *problem.arrays)[1] for step in np.diag(steps)]
    below = [problem.value_and_gradient(theta - step, *problem.arrays)[1] for step in np.diag(steps)]
    expected = (np.array(above) - np.array(below)) / (2 * steps[:, None])
    size = np.outer(1 / steps, 1 / steps) * 1e-10  # of the entries, by the scale of their columns
    largest = max(float(np.abs(found / size).max()), 1.0)
    np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=1e-7 * largest)
    np.testing.assert_allclose(found / size, found.T / size, rtol=0, atol=1e-14 * largest)


def test_a_loss_without_a_hessian_is_refused() -> None:
    """The notebook's gradient is not that of its loss, and has no optimum of its own here."""
    assert notebook in LOSSES.values()
    with pytest.raises(ValueError, match="this problem has no Hessian"):
        minimum(notebook(np.ones((3, 1)), np.ones(3)), 1)


@pytest.mark.parametrize(("n", "p", "spread"), [(5, 2, 3.0), (30, 2, 30.0), (100, 5, 100.0), (300, 3, 300.0), (1000, 8, 1e3)])
def test_where_few_rows_are_near_huber_has_an_optimum_too(n: int, p: int, spread: float) -> None:
    """Far from it most rows are on the loss's straight parts, and whole directions have no curvature."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, p))
        A, y = design(X, True), spread * X @ rng.normal(size=p) + rng.normal(size=n)
        problem = huber(A, y, 1.345)
        found = minimum(problem, p + 1)
        _, gradient = problem.value_and_gradient(found.theta, *problem.arrays)
        assert found.finite
        assert np.abs(gradient).max() < 1e-10


def by_signs(A: Array, y: Array, kappa: float) -> float:
    """The least squared loss with κ Σ |w|, the last weight free: of all choices of signs whose weights have them."""
    n, p = A.shape
    losses = []
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=p - 1):
        each = np.array([*signs, 0.0])
        on = np.array([*(sign != 0 for sign in signs), True])
        Q, R = np.linalg.qr(A[:, on])
        w = np.zeros(p)
        w[on] = np.linalg.solve(R, Q.T @ y - n / 2 * np.linalg.solve(R.T, kappa * each[on]))
        if (np.sign(w[:-1]) == signs).all():
            losses.append(float(np.mean((y - A @ w) ** 2) + kappa * np.abs(w[:-1]).sum()))
    return min(losses)


@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("kappa", [1e-4, 1e-2])
def test_columns_that_are_nearly_equal_under_an_l1_penalty(apart: float, kappa: float) -> None:
    """However alike they are: the least loss of all choices of signs, where weight by weight one hardly gets on."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, noise, other, left = rng.normal(size=(4, 40))
        A, y = design(np.column_stack([x, x + apart * noise, other]), True), x + 0.5 * other + 0.3 * left
        found = minimum(least_squares(A, y), 4, kappa * weights_only(A))
        assert by_signs(A, y, kappa) == pytest.approx(found.loss, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_many_correlated_columns_against_scikit_learn(seed: int) -> None:
    """Forty columns of five directions and a little of their own: its Lasso, to what its tolerance allows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 40)) + 1e-3 * rng.normal(size=(80, 40))
    y = X[:, 0] - X[:, 7] + 0.1 * rng.normal(size=80)
    A = design(X, True)
    found = minimum(least_squares(A, y), 41, 0.02 * weights_only(A))
    theirs = Lasso(alpha=0.01, tol=1e-12, max_iter=1_000_000).fit(X, y)
    loss = float(np.mean((y - theirs.predict(X)) ** 2) + 0.02 * np.abs(theirs.coef_).sum())
    assert found.loss <= loss * (1 + 1e-12)
    assert loss == pytest.approx(found.loss, rel=1e-5)
