"""Cross-validation from moments, held against scikit-learn fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gd.data import Array, Scaling
from gd.moments import Moments, merge_all
from gd.validation import CrossValidation, assigned, cross_validate, folded, path, remainders

TABLES = ("diabetes", "wine", "breast_cancer")
PENALTIES = (0.0, 1e-3, 0.1, 10.0)


def real(name: str) -> tuple[Array, Array]:
    """A real table as it is."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, np.asarray(y, dtype=np.float64)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("k", [2, 5, 10])
@pytest.mark.parametrize("name", TABLES)
def test_every_fold_as_scikit_learn_scores_it(name: str, k: int, intercept: bool) -> None:
    """`cross_val_score` of plain least squares over the same folds, to 1e-9 of each fold's own error."""
    X, y = real(name)
    fold = assigned(len(y), k, seed=1)
    found = cross_validate(folded([*X.T, y], fold), intercept=intercept, standardize=False)
    model = LinearRegression(fit_intercept=intercept, tol=1e-15)
    theirs = -cross_val_score(model, X, y, cv=PredefinedSplit(fold), scoring="neg_mean_squared_error")
    np.testing.assert_allclose(found.losses[0], theirs, rtol=1e-9)


@pytest.mark.parametrize("name", TABLES)
def test_every_penalty_as_scikit_learn_scores_it(name: str) -> None:
    """With features standardised by the rows fitted to, and alpha = n κ of those rows."""
    X, y = real(name)
    fold = assigned(len(y), 5, seed=2)
    found = cross_validate(folded([*X.T, y], fold), PENALTIES)
    for i, penalty in enumerate(PENALTIES):
        for j in range(5):
            fitted = fold != j
            alpha = penalty * int(fitted.sum())
            model = make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="svd") if alpha else LinearRegression(tol=1e-15))
            model.fit(X[fitted], y[fitted])
            theirs = float(np.mean((model.predict(X[~fitted]) - y[~fitted]) ** 2))
            assert pytest.approx(theirs, rel=1e-9) == found.losses[i, j]


def one_by_one(folds: list[Moments], penalties: Array, *, intercept: bool, standardize: bool) -> Array:
    """The losses by a least-squares problem of its own for each penalty, whose table is longer by a row for each weight."""
    losses = np.empty((len(penalties), len(folds)))
    for j, (held, fitted) in enumerate(zip(folds, remainders(folds), strict=True)):
        d = len(fitted.shift) - 1
        scaling = fitted.scaling(center=intercept) if standardize else Scaling.none(d)
        A, b = fitted.compressed(scaling, intercept)
        X, y = held.compressed(scaling, intercept)
        for i, penalty in enumerate(penalties):
            longer = np.vstack([A, np.sqrt(penalty * len(b)) * np.eye(d, A.shape[1])]) if penalty else A
            theta = np.linalg.lstsq(longer, np.append(b, np.zeros(len(longer) - len(b))))[0]
            losses[i, j] = np.mean((X @ theta - y) ** 2)
    return losses


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("name", [*TABLES, "twins"])
def test_a_path_is_what_its_penalties_are_one_by_one(name: str, intercept: bool, standardize: bool) -> None:
    """To 1e-9 of each loss; also where a feature stands twice, and where one never changes."""
    X, y = real("diabetes" if name == "twins" else name)
    if name == "twins":
        X = np.column_stack([X, X[:, 0], np.full(len(y), 0.1)])
    folds = folded([*X.T, y], assigned(len(y), 5, seed=3))
    penalties = path(merge_all(folds), intercept=intercept, standardize=standardize)
    found = cross_validate(folds, penalties.tolist(), intercept=intercept, standardize=standardize)
    expected = one_by_one(folds, penalties, intercept=intercept, standardize=standardize)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-9)


@pytest.mark.parametrize("name", TABLES)
def test_a_path_goes_from_next_to_no_weights_to_none_of_a_penalty(name: str) -> None:
    """In equal ratios from 10 times the largest eigenvalue of the standardised features' covariance, by NumPy's `eigvalsh`."""
    X, y = real(name)
    moments = Moments.of([*X.T, y])
    found = path(moments)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    largest = 10 * np.linalg.eigvalsh(Z.T @ Z / len(Z))[-1]
    assert pytest.approx(largest, rel=1e-9) == found[0]
    np.testing.assert_allclose(found[1:-1] / found[:-2], 1e-6 ** (1 / 39), rtol=1e-9)
    assert (41, 0.0) == (len(found), found[-1])
    assert 6 == len(path(moments, 5))
    assert pytest.approx(10 * np.linalg.eigvalsh(X.T @ X / len(X))[-1]) == path(moments, intercept=False, standardize=False)[0]


def test_where_no_feature_varies_there_is_nothing_to_penalise() -> None:
    """One penalty, 0; with an intercept, also of a number that is not exact."""
    assert [0.0] == path(Moments.of([np.full(9, 0.1), np.arange(9.0)])).tolist()


def test_one_standard_error_is_the_simplest_model_as_good_as_the_best() -> None:
    """The largest penalty whose mean is within one standard error, of the best one's folds, of the lowest: by hand."""
    losses = np.array([[9.0, 9.0, 9.0], [4.4, 4.6, 4.5], [4.0, 3.0, 5.0], [3.9, 3.1, 5.3]])
    found = CrossValidation(np.array([8.0, 4.0, 2.0, 1.0]), losses, np.array([10, 10, 10]))
    assert 2.0 == found.best  # 4 is the lowest mean; its standard error is 1 / sqrt(3)
    assert 4.0 == found.one_standard_error  # 4.5 < 4.58
    closer = CrossValidation(found.penalties, np.where(losses == 4.6, 4.9, losses), found.rows)
    assert 2.0 == closer.one_standard_error  # 4.6 > 4.58


@settings(deadline=None, max_examples=40)
@given(n=st.integers(4, 200), d=st.integers(1, 5), offset=st.sampled_from([0.0, 1e3, 1e6]), seed=st.integers(0, 2**32 - 1))
def test_all_rows_but_one_fold_s(n: int, d: int, offset: float, seed: int) -> None:
    """For every table what is left without a fold has the moments of these rows, read by themselves."""
    rng = np.random.default_rng(seed)
    columns = [*(rng.normal(size=(d + 1, n)) + offset)]
    fold = assigned(n, min(n, 4), seed)
    for j, rest in enumerate(remainders(folded(columns, fold))):
        alone = Moments.of([column[fold != j] for column in columns])
        assert alone.n == rest.n
        np.testing.assert_allclose(rest.means, alone.means, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(rest.cross, alone.cross, rtol=1e-8, atol=1e-9 * max(offset, 1))


def test_the_best_penalty_is_the_one_with_the_lowest_mean() -> None:
    """Of few rows and many features with noise a penalty predicts better than none, and a huge one worse than a good one."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(40, 25))
    y = X[:, 0] + rng.normal(size=40)
    found = cross_validate(folded([*X.T, y], assigned(40, 8)), (0.0, 0.3, 1e4))
    assert 0.3 == found.best
    np.testing.assert_allclose(found.mean[1], found.losses[1] @ found.rows / 40)
    np.testing.assert_allclose(found.error, found.losses.std(axis=1, ddof=1) / np.sqrt(8))


def test_of_equal_penalties_the_larger_is_taken() -> None:
    """Where no feature helps at all, the model without weights is the simpler one."""
    columns = [np.zeros(12), np.arange(12.0)]
    found = cross_validate(folded(columns, assigned(12, 3)), (0.0, 1.0, 5.0))
    assert 5.0 == found.best


@pytest.mark.parametrize(("rows", "folds"), [(10, 1), (3, 4), (10, 0)])
def test_folds_that_cannot_be_are_refused(rows: int, folds: int) -> None:
    """The error names rows, folds and what is possible."""
    with pytest.raises(ValueError, match=f"{rows} rows cannot be split into {folds} folds: from 2 folds to one for each row"):
        assigned(rows, folds)


def test_one_fold_alone_and_a_penalty_below_zero_are_refused() -> None:
    """Neither has a meaning, and the error says why."""
    part = Moments.of([np.arange(3.0), np.arange(3.0)])
    with pytest.raises(ValueError, match="one fold leaves nothing to fit a model to"):
        cross_validate([part])
    with pytest.raises(ValueError, match=r"a penalty must be at least 0, not -1\.0"):
        cross_validate([part, part], (0.1, -1.0))


def test_folds_are_even_and_the_seed_s_own() -> None:
    """23 rows in 5 folds are three of 5 and two of 4; another seed gives others, the same seed the same."""
    fold = assigned(23, 5, seed=7)
    assert [5, 5, 5, 4, 4] == np.bincount(fold).tolist()
    assert fold.tolist() == assigned(23, 5, seed=7).tolist() != assigned(23, 5, seed=8).tolist()
    whole = merge_all(folded([np.arange(23.0), np.ones(23)], fold))
    assert 23 == whole.n
    assert pytest.approx(11.0) == whole.means[0]


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_errors_of_losses_that_cannot_be_squared(size: float) -> None:
    """As of any others, in their size; of losses of nothing they are 0."""
    losses = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 5.0], [0.0, 0.0, 0.0]])
    plain, sized = (CrossValidation(np.array([0.0, 1.0, 2.0]), factor * losses, np.full(3, 5)) for factor in (1.0, size))
    np.testing.assert_allclose(sized.error, size * plain.error, rtol=1e-15)
    assert plain.error[2] == 0
