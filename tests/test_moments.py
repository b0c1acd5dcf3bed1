"""The moments of rows against the rows themselves, and against arithmetic of fifty digits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gd import backends
from gd.data import Array, Dataset, Scaling, standardize
from gd.diagnosis import spectrum
from gd.moments import Moments, merge, merge_all
from gd.optimizers import gradient_descent
from gd.problems import design, from_moments, least_squares
from gd.training import train

EPSILON = float(np.finfo(np.float64).eps)


def moments(X: Array, y: Array) -> Moments:
    """Those of a table."""
    return Moments.of([*np.ascontiguousarray(X.T), y])


def noisy_plane(n: int, d: int, noise: float = 0.1, mean: float = 0.0, seed: int = 1) -> tuple[Array, Array]:
    """Features of spread 1 around a mean, and targets on a plane with noise, in all of float64's digits."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    X = Z + mean
    return X, (X - mean) @ np.arange(1.0, d + 1) + 3 + noise * rng.standard_normal(n)


def in_fifty_digits(A: Array, y: Array, theta: Array) -> mpmath.mpf:
    """The mean squared error of weights over rows."""
    with mpmath.workdps(50):
        rows = (mpmath.fsum(mpmath.mpf(a) * mpmath.mpf(t) for a, t in zip(row, theta, strict=True)) for row in A.tolist())
        return mpmath.fsum((row - mpmath.mpf(target)) ** 2 for row, target in zip(rows, y.tolist(), strict=True)) / len(y)


def close(expected: Moments, actual: Moments) -> None:
    """Equal up to the rounding of a sum of squares."""
    assert expected.n == actual.n
    assert expected.low.tolist() == actual.low.tolist()
    assert expected.high.tolist() == actual.high.tolist()
    size = np.sqrt(np.diag(expected.cross)) + np.abs(expected.means) * np.sqrt(expected.n) + 1e-300
    assert (np.abs(expected.means - actual.means) <= 1e-14 * size).all()
    assert (np.abs(expected.cross - actual.cross) <= 1e-13 * np.outer(size, size)).all()


TABLES = st.integers(1, 4).flatmap(
    lambda q: st.lists(
        st.integers(0, 7).flatmap(lambda n: arrays(np.float64, (n, q), elements=st.floats(-1e6, 1e6, allow_subnormal=False))),
        min_size=3,
        max_size=3,
    )
)


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_moments_are_those_that_numpy_finds(mean: float) -> None:
    """Number, means and centred sums of products, over more rows than one block."""
    X, y = noisy_plane(20_000, 3, mean=mean)
    found, table = moments(X, y), np.column_stack([X, y])
    assert len(y) == found.n
    assert np.allclose(table.mean(axis=0), found.means, rtol=1e-14, atol=1e-13)
    assert np.allclose(np.cov(table.T) * (len(y) - 1), found.cross, rtol=1e-11, atol=1e-9)
    assert np.isclose(y.var(), found.target_variance, rtol=1e-13, atol=0)


@pytest.mark.parametrize("mean", [0.0, 1e-8, -1.0, 1e8])
def test_the_mean_square_of_the_target_is_that_of_exact_sums(mean: float) -> None:
    """However far from zero the target lies, over more rows than one block; expected from fractions."""
    y = np.random.default_rng(5).normal(mean, 1e-3, size=20_000)
    expected = float(sum(Fraction(value) ** 2 for value in y.tolist()) / len(y))
    found = moments(np.ones((len(y), 1)), y)
    halves = merge(moments(np.ones((9_000, 1)), y[:9_000]), moments(np.ones((11_000, 1)), y[9_000:]))
    assert pytest.approx(expected, rel=1e-14) == found.target_square
    assert pytest.approx(expected, rel=1e-14) == halves.target_square
    assert 0.0 == Moments.none(2).target_square


@given(tables=TABLES)
def test_merging_is_associative_and_commutative(tables: list[Array]) -> None:
    """For every three parts the order and the grouping change rounding alone, and the rows of all give the same."""
    a, b, c = (Moments.of(list(part.T.copy())) for part in tables)
    close(Moments.of(list(np.vstack(tables).T.copy())), merge(merge(a, b), c))
    close(merge(merge(a, b), c), merge(a, merge(b, c)))
    close(merge(a, b), merge(b, a))


def test_no_rows_are_the_identity() -> None:
    """Merging with nothing changes not a bit."""
    X, y = noisy_plane(50, 2)
    found, none = moments(X, y), Moments.none(3)
    for merged in (merge(found, none), merge(none, found), merge_all([none, found, none])):
        assert found.R.tolist() == merged.R.tolist()
        assert found.shift.tolist() == merged.shift.tolist()


def test_parts_of_different_tables_do_not_go_together() -> None:
    """Moments of 3 and of 4 columns are refused."""
    with pytest.raises(ValueError, match="moments of 4 and of 3 columns"):
        merge(Moments.none(4), Moments.none(3))


def test_a_part_that_lies_far_from_the_others() -> None:
    """Sorted files give parts whose means differ by far more than their spreads: nothing is lost."""
    X, y = noisy_plane(30_000, 3)
    X[:, 1] += np.repeat([0.0, 1e8, -1e8], 10_000)
    whole = merge_all(moments(X[s : s + 5000], y[s : s + 5000]) for s in range(0, 30_000, 5000))
    scaling = standardize(X, center=True)
    A, b = whole.compressed(scaling, intercept=True)
    assert np.allclose(np.linalg.lstsq(design(scaling.apply(X), True), y)[0], np.linalg.lstsq(A, b)[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("center", [True, False])
def test_scaling_needs_no_second_pass(center: bool) -> None:
    """Shift and scale follow from the moments as from the rows."""
    X, y = noisy_plane(5000, 4, mean=100)
    expected, actual = standardize(X, center), moments(X, y).scaling(center)
    assert np.allclose(expected.shift, actual.shift, rtol=1e-14, atol=0)
    assert np.allclose(expected.scale, actual.scale, rtol=1e-13, atol=0)


def test_a_constant_column_is_not_divided_by_nothing() -> None:
    """A column that never changes is told by its smallest and largest value, and becomes exactly 0."""
    X, y = noisy_plane(999, 2)
    X[:, 1] = 0.1
    found = moments(X, y)
    scaling = found.scaling(center=True)
    assert 1.0 == scaling.scale[1]
    assert 0.1 == scaling.shift[1]
    assert [0.0] * 4 == found.compressed(scaling, intercept=True)[0][:, 1].tolist()
    assert 0.0 == moments(X, np.full(999, 0.3)).target_variance


def test_some_columns_are_those_of_the_smaller_table() -> None:
    """A choice of features, in any order, needs the rows no more."""
    X, y = noisy_plane(3000, 4, mean=5)
    close(moments(X[:, [2, 0]], y), moments(X, y).select([2, 0, 4]))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_compressed_rows_have_the_loss_and_the_gradient_of_all(intercept: bool, mean: float) -> None:
    """For weights near and far: as many rows as columns and one more stand for ten thousand."""
    X, y = noisy_plane(10_000, 3, mean=mean)
    found = moments(X, y)
    scaling = found.scaling(intercept)
    A, b = found.compressed(scaling, intercept)
    rows = least_squares(design(scaling.apply(X), intercept), y)
    few = least_squares(A, b)
    assert (5, 3 + intercept) == A.shape
    rng = np.random.default_rng(2)
    for theta in (np.zeros(A.shape[1]), *rng.standard_normal((5, A.shape[1])), 1e6 * rng.standard_normal(A.shape[1])):
        loss, gradient = rows.value_and_gradient(theta, *rows.arrays)
        few_loss, few_gradient = few.value_and_gradient(theta, *few.arrays)
        assert np.isclose(loss, few_loss, rtol=1e-13, atol=0)
        assert np.allclose(gradient, few_gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("noise", [1.0, 1e-3, 1e-6, 1e-10, 0.0])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_a_tiny_loss_against_fifty_digits(noise: float, mean: float) -> None:
    """No digit cancels: the loss has the error of float64 residuals, 1e-10 at a noise of 1e-6, also beside a perfect fit."""
    X, y = noisy_plane(2000, 3, noise=noise, mean=mean)
    found = moments(X, y)
    scaling = Scaling(np.round(found.means[:-1]), np.ones(3))  # a shift without rounding: both see the same numbers
    A, b = found.compressed(scaling, intercept=True)
    rows, few = design(scaling.apply(X), True), least_squares(A, b)
    optimum = np.linalg.lstsq(rows, y)[0]
    for theta in (optimum, optimum * (1 + 1e-9), optimum * 0.9):
        exact = in_fifty_digits(rows, y, theta)
        loss, _ = few.value_and_gradient(theta, *few.arrays)
        relative = abs(float(mpmath.mpf(float(loss)) / exact - 1)) if exact else float(loss)
        residual = float(mpmath.sqrt(exact)) / float(np.sqrt(y @ y / len(y)))
        assert relative <= 40 * EPSILON / max(residual, EPSILON)
        if noise == 1e-6:
            assert relative < 1e-10


@pytest.mark.parametrize("name", backends.available())
@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("noise", [0.1, 1e-6])
def test_every_iterate_is_that_of_the_rows(name: str, mean: float, noise: float) -> None:
    """At every epoch the weights agree to 1e-12 and the losses to 1e-10, relative; also with means a million spreads away.

    Where the loss falls to 1e-14 of its first value, both round: the residuals that they square are 1e-7 of the target.
    """
    X, y = noisy_plane(4000, 4, noise=noise, mean=mean)
    found = moments(X, y)
    scaling = found.scaling(center=True)
    objective = backends.get(name).objective
    on_rows = objective(least_squares(design(scaling.apply(X), True), y))
    on_few = objective(from_moments(found, scaling, True))
    rows, few = (train(one, 5, gradient_descent(0.3), epochs=200) for one in (on_rows, on_few))
    scale = np.abs(rows.theta).max(axis=0)
    assert (np.abs(rows.theta - few.theta) <= 1e-12 * scale).all()
    assert np.allclose(rows.loss, few.loss, rtol=1e-10 if noise == 0.1 else 2e-9, atol=0)


def test_iterates_of_a_target_far_from_zero() -> None:
    """Where the target's mean is 1e7 times its spread the rows themselves round: the moments are nearer to the truth."""
    X, y = noisy_plane(2000, 2)
    y += 1e7
    found = moments(X, y)
    scaling = found.scaling(center=True)
    A = design(scaling.apply(X), True)
    rows, few = (
        train(backends.get("numpy").objective(problem), 3, gradient_descent(0.3), epochs=60)
        for problem in (least_squares(A, y), from_moments(found, scaling, True))
    )
    wide, target = A.astype(np.longdouble), y.astype(np.longdouble)
    exact = np.zeros((61, 3), np.longdouble)
    for t in range(60):
        exact[t + 1] = exact[t] - 0.3 * 2 * ((wide @ exact[t] - target) @ wide) / len(y)
    scale = np.abs(exact).max(axis=0)
    errors = [np.asarray(np.abs(trace.theta - exact) / scale).max() for trace in (few, rows)]
    assert errors[0] <= errors[1]
    assert errors[0] < 1e-9


def test_the_optimum_of_nearly_equal_columns() -> None:
    """Condition 1e10: the products themselves would have lost it, their root has not."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((2000, 2))
    X[:, 1] = X[:, 0] + 1e-10 * X[:, 1]
    y = X @ [1.0, 2.0] + 0.1 * rng.standard_normal(2000)
    found = moments(X, y)
    none = Scaling.none(2)
    A, b = found.compressed(none, intercept=False)
    expected, actual = spectrum(X, y), spectrum(A, b)
    assert np.allclose(expected.eigenvalues, actual.eigenvalues, rtol=1e-4, atol=0)
    assert np.isclose(expected.optimum_loss, actual.optimum_loss, rtol=1e-7, atol=0)


@pytest.mark.parametrize("power", [-1000, -300, 300, 1000])
def test_columns_of_any_magnitude(power: int) -> None:
    """Features and target by 2^power: no square overflows or vanishes on the way, and no digit changes."""
    X, y = noisy_plane(1000, 2)
    plain, scaled = moments(X, y), moments(np.ldexp(X, power), y)
    assert plain.R.tolist() == scaled.R.tolist()
    A, b = plain.compressed(plain.scaling(True), True)
    scaled_A, scaled_b = scaled.compressed(scaled.scaling(True), True)
    assert np.allclose(A, scaled_A, rtol=1e-13, atol=1e-14)
    assert b.tolist() == scaled_b.tolist()


@settings(deadline=None)
@given(n=st.integers(1, 40), d=st.integers(1, 6), seed=st.integers(0, 99))
def test_tables_of_every_shape(n: int, d: int, seed: int) -> None:
    """Fewer rows than columns, one row, one column: the compressed table has the same loss for every weight."""
    X, y = noisy_plane(n, d, seed=seed)
    A, b = moments(X, y).compressed(Scaling.none(d), intercept=True)
    theta = np.random.default_rng(seed).standard_normal(d + 1)
    rows, few = least_squares(design(X, True), y), least_squares(A, b)
    size = float((np.abs(design(X, True)) @ np.abs(theta) + np.abs(y)).max())  # of what the residuals are a difference of
    roots = [float(np.sqrt(problem.value(theta, *problem.arrays))) for problem in (rows, few)]
    assert abs(roots[0] - roots[1]) <= 1e-13 * size


def test_moments_survive_a_file(tmp_path: Path, plane: Dataset) -> None:
    """What is saved is what is loaded."""
    found = moments(plane.X, plane.y)
    found.save(tmp_path / "moments.npz")
    loaded = Moments.load(tmp_path / "moments.npz")
    assert found.n == loaded.n
    for name in ("shift", "unit", "low", "high", "R"):
        assert getattr(found, name).tolist() == getattr(loaded, name).tolist()
