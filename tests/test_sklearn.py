"""The estimators: scikit-learn's own checks, its own optima, and what it builds of estimators."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gd import backends
from gd.archive import read_run
from gd.data import Array, Source
from gd.problems import design, poisson
from gd.settings import Training
from gd.sklearn import GradientDescentClassifier, GradientDescentRegressor
from tests.conftest import run_tasks, write_csv

OPTIMIZERS = ("gradient_descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
STEEPEST = OPTIMIZERS[:3]
TABLES = ("diabetes", "wine", "breast_cancer")
PRECISE: dict[str, Any] = {"epochs": 20_000, "tolerance": 1e-11}
MADE = (  # each optimizer, loss and setting once: what scikit-learn checks does not hang on which of them come together
    *(GradientDescentRegressor(optimizer=name) for name in OPTIMIZERS[::2]),
    *(GradientDescentClassifier(optimizer=name) for name in OPTIMIZERS[1::2]),
    GradientDescentRegressor(loss="huber", backend="torch"),
    GradientDescentRegressor(loss="poisson", standardize=False),
    GradientDescentRegressor(l1=0.01, l2=0.01, fit_intercept=False),
    GradientDescentClassifier(backend="torch", l1=0.01, l2=0.01),
    GradientDescentClassifier(standardize=False, fit_intercept=False),
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # classes that a plane parts have no optimum
@pytest.mark.parametrize("estimator", MADE, ids=str)
def test_scikit_learns_own_checks(estimator: Any, record_property: Callable[[str, object], None]) -> None:
    """Every check of scikit-learn's for an estimator passes, and none is expected to fail."""
    found = check_estimator(estimator, on_skip=None)
    passed = [one for one in found if one["status"] == "passed"]
    assert {"check_array_api_input"} >= {one["check_name"] for one in found if one not in passed}  # see the next test
    record_property("printed", f"{estimator}: {len(passed)} of scikit-learn's checks passed")


def test_no_check_is_left_out_under_the_array_api() -> None:
    """The one that is skipped elsewhere passes where SciPy was started with the array API on."""
    code = """
from sklearn.utils.estimator_checks import check_estimator
from gd.sklearn import GradientDescentClassifier, GradientDescentRegressor
for estimator in (GradientDescentClassifier(), GradientDescentRegressor()):
    print({one["status"] for one in check_estimator(estimator)})
"""
    settings = os.environ | {"SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=settings)
    assert "{'passed'}\n{'passed'}\n" == done.stdout


def table(name: str) -> tuple[Array, Array]:
    """A real table in its own units."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, np.asarray(y, dtype=np.float64)


def real(name: str) -> tuple[Array, Array]:
    """A real table, features standardised and target as it is."""
    X, y = table(name)
    return StandardScaler().fit_transform(X), y


def same(found: Any, theirs: Any) -> None:
    """Weights and intercept agree to 1e-6."""
    np.testing.assert_allclose(found.coef_, theirs.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, theirs.intercept_, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "adamw"])  # its decay is another penalty
@pytest.mark.parametrize("name", TABLES)
def test_against_ridge(name: str, optimizer: str) -> None:
    """Its Ridge sums over rows: alpha = n κ."""
    X, y = real(name)
    theirs = Ridge(alpha=len(y) * 0.05, tol=1e-12).fit(X, y)
    same(GradientDescentRegressor(l2=0.05, optimizer=optimizer, epochs=20_000, tolerance=1e-10).fit(X, y), theirs)


@pytest.mark.parametrize("optimizer", STEEPEST)
@pytest.mark.parametrize("name", TABLES)
def test_against_lasso_and_elastic_net(name: str, optimizer: str) -> None:
    """Theirs halve the squared loss: alpha l1_ratio = κ/2 and alpha (1 - l1_ratio) = κ₂; and the same weights are 0."""
    X, y = real(name)
    for kappa in (0.2, 0.02):
        theirs = Lasso(alpha=kappa / 2, tol=1e-13, max_iter=100_000).fit(X, y)
        found = GradientDescentRegressor(l1=kappa, optimizer=optimizer, **PRECISE).fit(X, y)
        same(found, theirs)
        np.testing.assert_array_equal(found.coef_ == 0, theirs.coef_ == 0)
    alpha = 0.2 / 2 + 0.1
    theirs = ElasticNet(alpha=alpha, l1_ratio=0.1 / alpha, tol=1e-13, max_iter=100_000).fit(X, y)
    same(GradientDescentRegressor(l1=0.2, l2=0.1, optimizer=optimizer, **PRECISE).fit(X, y), theirs)


@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("name", TABLES)
def test_against_poisson_and_logistic_regression(name: str, optimizer: str) -> None:
    """Theirs weigh ½ ‖w‖²: κ = alpha / 2 for counts and κ = 1 / (2 n C) for two classes."""
    X, y = real(name)
    theirs = PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=100_000, solver="newton-cholesky").fit(X, y)
    found = GradientDescentRegressor(loss="poisson", l2=0.05, optimizer=optimizer, **PRECISE).fit(X, y)
    same(found, theirs)
    np.testing.assert_allclose(found.predict(X), theirs.predict(X), rtol=1e-6)
    told = np.where(y > np.median(y) if name != "breast_cancer" else y > 0, "high", "low")
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=100_000).fit(X, told)
    found = GradientDescentClassifier(l2=1 / len(y), optimizer=optimizer, **PRECISE).fit(X, told)
    same(found, theirs)
    assert ["high", "low"] == found.classes_.tolist()
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(found.predict(X), theirs.predict(X))


def test_huber_against_statsmodels() -> None:
    """Its iterated weights, with the scale held at the first one, come to the same optimum with δ = t · scale."""
    X, y = real("diabetes")
    theirs = sm.RLM(y, sm.add_constant(X), M=sm.robust.norms.HuberT(t=1.345)).fit(update_scale=False, tol=1e-12, maxiter=9999)
    found = GradientDescentRegressor(loss="huber", delta=1.345 * float(theirs.scale), **PRECISE).fit(X, y)
    np.testing.assert_allclose([found.intercept_, *found.coef_], theirs.params, rtol=1e-6, atol=1e-6 * y.std())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_weights_are_in_units_of_the_table(name: str, intercept: bool) -> None:
    """Trained on standardised features, the weights are those of least squares on the features as given."""
    X, y = table(name)
    found = GradientDescentRegressor(fit_intercept=intercept, epochs=200_000, tolerance=1e-11).fit(X, y)
    theirs = LinearRegression(fit_intercept=intercept).fit(X, y)
    np.testing.assert_allclose(found.coef_, theirs.coef_, rtol=1e-5, atol=1e-6 * np.abs(theirs.coef_).max())
    np.testing.assert_allclose(found.predict(X), theirs.predict(X), rtol=1e-6, atol=1e-6)
    assert intercept or found.intercept_ == 0


@pytest.mark.parametrize("l1", [0.0, 2.0])
@pytest.mark.parametrize("optimizer", STEEPEST)
def test_a_descent_that_hits_the_optimum_stays_there(optimizer: str, l1: float) -> None:
    """With one feature the first step lands on it, as fast as momentum then is."""
    X, y = real("diabetes")
    theirs = Lasso(alpha=l1 / 2, tol=1e-13).fit(X[:, :1], y) if l1 else LinearRegression().fit(X[:, :1], y)
    same(GradientDescentRegressor(l1=l1, optimizer=optimizer, tolerance=1e-10).fit(X[:, :1], y), theirs)


@pytest.mark.parametrize("name", ["wine", "iris"])
def test_more_than_two_classes_are_each_told_from_the_others(name: str) -> None:
    """Weights and probabilities are those of scikit-learn's `OneVsRestClassifier`, and every probability is finite."""
    X, y = real(name)
    found = GradientDescentClassifier(l2=1 / len(y), **PRECISE).fit(X, y)
    theirs = OneVsRestClassifier(LogisticRegression(C=0.5, tol=1e-12, max_iter=100_000)).fit(X, y)
    np.testing.assert_allclose(found.coef_, np.vstack([one.coef_ for one in theirs.estimators_]), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(1e6 * X).sum(axis=1), 1, rtol=1e-12)
    assert ((found.n_iter_, 3),) * 2 == (found.history_.loss.shape, found.history_.gradient_norm.shape)
    assert found.n_iter_ == np.isfinite(found.history_.loss).sum(axis=0).max()


def test_a_pipeline_in_a_grid_search() -> None:
    """Settings are searched by name, through a clone of a pipeline, and the columns of a table keep their names."""
    X, y = datasets.load_diabetes(return_X_y=True, as_frame=True)
    line = make_pipeline(PolynomialFeatures(2, include_bias=False), GradientDescentRegressor(epochs=500, tolerance=1e-3))
    line.set_output(transform="pandas")
    grid = {"gradientdescentregressor__l1": [0.5, 8.0], "gradientdescentregressor__optimizer": ["momentum", "nesterov"]}
    found = GridSearchCV(clone(line), grid, cv=3, error_score="raise").fit(X, y)
    assert found.best_params_["gradientdescentregressor__l1"] == 8
    assert found.best_score_ > 0.45
    best = found.best_estimator_[-1]
    assert ["age", "sex", "bmi"] == best.feature_names_in_[:3].tolist()
    assert best.n_features_in_ == len(best.coef_) == 65
    assert 0 < (best.coef_ == 0).sum() < 65


def test_classes_are_texts_and_targets_transformed() -> None:
    """Flowers by name in a cross-validation; and a regressor behind the logarithm of its target."""
    flowers = datasets.load_iris()
    scores = cross_val_score(GradientDescentClassifier(l2=1e-3), flowers.data, flowers.target_names[flowers.target], cv=5)
    assert scores.mean() > 0.9
    X, y = table("diabetes")
    model = TransformedTargetRegressor(GradientDescentRegressor(tolerance=1e-3), func=np.log, inverse_func=np.exp).fit(X, y)
    assert model.score(X, y) > 0.4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["mse", "huber", "poisson"])
def test_history_falls(loss: Any, optimizer: str) -> None:
    """There is a loss and a gradient norm an epoch, the last below the first; of steepest descent the loss never rises."""
    X, y = table("diabetes")
    model = GradientDescentRegressor(loss=loss, delta=50.0, optimizer=optimizer, l2=1e-3, epochs=300, tolerance=0)
    history = model.fit(X, y).history_
    assert 300 == model.n_iter_ == len(history.loss) == len(history.gradient_norm)
    assert history.loss[-1] < history.loss[0] / 2
    assert history.gradient_norm[-1] < history.gradient_norm[0]
    if optimizer == "gradient_descent":
        assert (np.diff(history.loss) <= 1e-12 * history.loss[0]).all()


@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("name", [name for name in backends.available() if name != "numpy"])
def test_backends_agree(name: str, l1: float) -> None:
    """The formula and autograd come to the same weights by the same way, whatever the loss."""
    X, y = table("wine")
    made = [
        GradientDescentRegressor(loss=loss, l1=l1, l2=0.01, epochs=200, tolerance=0) for loss in ("mse", "huber", "poisson")
    ]
    for model in (*made, GradientDescentClassifier(l1=l1, l2=0.01, epochs=200, tolerance=0)):
        by_hand, other = model.fit(X, y), clone(model).set_params(backend=name).fit(X, y)
        np.testing.assert_allclose(other.coef_, by_hand.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(other.history_.loss, by_hand.history_.loss, rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 30), d=st.integers(1, 4), most=st.sampled_from([1, 5, 1000]), seed=st.integers(0, 2**32 - 1),
    optimizer=st.sampled_from(OPTIMIZERS),
)  # fmt: skip
def test_a_descent_to_counts_never_ends_above_its_start(n: int, d: int, most: int, seed: int, optimizer: str) -> None:
    """Their curvature has no bound: a rate at which the loss rose is halved."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_t(1, size=(n, d)), rng.integers(0, most + 1, size=n)
    start, end = deviances(GradientDescentRegressor(loss="poisson", optimizer=optimizer, epochs=50, tolerance=0), X, y)
    assert end <= start * (1 + 1e-6)


def test_a_rate_at_which_counts_diverge_is_told() -> None:
    """To who insists on it; the automatic one leads down."""
    rng = np.random.default_rng(2)
    X, y = StandardScaler().fit_transform(rng.standard_t(1, size=(20, 2))), rng.integers(0, 1001, size=20)
    model = GradientDescentRegressor(loss="poisson", optimizer="momentum", epochs=50, tolerance=0)
    start, end = deviances(model, X, y)
    assert end < start / 2
    with pytest.raises(ValueError, match=r"training diverged in epoch \d+ at the learning rate 0\.1: choose a smaller one"):
        clone(model).set_params(learning_rate=0.1).fit(X, y)


def deviances(model: Any, X: Array, y: Array) -> tuple[float, float]:
    """Half the mean deviance of counts where a descent begins, and where it ends."""
    model.fit(X, y)
    problem = poisson(design(X, True), y.astype(np.float64))
    return float(model.history_.loss[0]), float(problem.value(np.append(model.coef_, model.intercept_), *problem.arrays))


X, Y = np.arange(12.0).reshape(6, 2) ** 2, np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"epochs": 0}, "The 'epochs' parameter of GradientDescentRegressor must be an int in the range \\[1, inf\\)"),
        ({"l2": -1.0}, "The 'l2' parameter of GradientDescentRegressor must be a float in the range \\[0.0, inf\\)"),
        ({"loss": "hinge"}, "The 'loss' parameter of GradientDescentRegressor must be a str among"),
        ({"optimizer": "sgd"}, "The 'optimizer' parameter of GradientDescentRegressor must be a str among"),
        ({"backend": "fortran"}, "no backend 'fortran': available are numpy"),
        ({"loss": "huber", "delta": 0.0}, "The 'delta' parameter of GradientDescentRegressor must be a float in the range"),
        ({"l1": 1.0, "optimizer": "adam"}, "l1 is for gradient_descent, momentum, nesterov: after a step of adam"),
        ({"learning_rate": 50.0}, "training diverged in epoch .* at the learning rate 50: choose a smaller one, or 'auto'"),
    ],
)
def test_what_is_refused(setting: dict[str, Any], said: str) -> None:
    """The error names the setting, what it may be, and what to do."""
    with pytest.raises(ValueError, match=f"^{said}"):
        GradientDescentRegressor(**setting).fit(X, Y)


def test_numbers_of_numpy_are_settings_too() -> None:
    """As a grid of them has them."""
    plain = GradientDescentRegressor(epochs=7, learning_rate=0.125, l2=0.5, tolerance=0).fit(X, Y)
    numbers: dict[str, Any] = {
        "epochs": np.int64(7), "learning_rate": np.float32(0.125), "l2": np.float32(0.5), "tolerance": np.float64(0),
        "fit_intercept": np.bool_(True),
    }  # fmt: skip
    given = GradientDescentRegressor(**numbers).fit(X, Y)
    assert plain.coef_.tolist() == given.coef_.tolist()


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adam"])
def test_a_fit_is_the_descent_of_a_run(optimizer: str, tmp_path: Path) -> None:
    """The same settings, all that is automatic among them, pass the same losses as `gd run`."""
    X, y = table("diabetes")
    source = Source(path=str(write_csv(tmp_path / "t.csv", X, y)), target="y")
    training = Training(optimizer=optimizer.replace("_", "-"), l2=0.05, method="rows", backends=("numpy",), tolerance=1e-6)
    _, log = read_run(run_tasks(source, training, tmp_path, draw=False))
    assert log is not None
    fit = GradientDescentRegressor(optimizer=optimizer, l2=0.05).fit(X, y)
    np.testing.assert_allclose(fit.history_.loss, log["numpy_loss"], rtol=1e-9)


def test_features_too_large_to_be_squared() -> None:
    """They are, unless they are standardised, whose weights are those of the table in smaller units."""
    with pytest.raises(ValueError, match="the features are too large to be squared: set standardize=True"):
        GradientDescentRegressor(standardize=False).fit(1e200 * X, Y)
    small, large = (GradientDescentRegressor(tolerance=1e-3).fit(size * X, Y) for size in (1, 1e200))
    np.testing.assert_allclose(1e200 * large.coef_, small.coef_, rtol=1e-9)


def test_targets_that_a_loss_cannot_hold() -> None:
    """Counts are not negative, and of one class there is nothing to tell."""
    with pytest.raises(ValueError, match=r"a target of the Poisson loss is 0 or above, not -1\.0"):
        GradientDescentRegressor(loss="poisson").fit(X, Y - 2)
    with pytest.raises(ValueError, match="every target is of one class, a, and a classifier needs at least two"):
        GradientDescentClassifier().fit(X, ["a"] * 6)


def test_epochs_that_run_out() -> None:
    """A warning says how far the descent came and what to do; nobody is warned who asked for all epochs."""
    with pytest.warns(ConvergenceWarning, match=r"^3 epochs ended before .* to fall to 1e-06\. Allow more epochs or a larger"):
        GradientDescentRegressor(epochs=3).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="or set standardize=True"):
        GradientDescentClassifier(epochs=3, standardize=False).fit(X, Y > 3)
    assert GradientDescentRegressor(epochs=3, tolerance=0).fit(X, Y).n_iter_ == 3


@pytest.mark.parametrize("estimator", [GradientDescentRegressor(epochs=3), GradientDescentClassifier(epochs=3)], ids=str)
def test_a_warning_points_to_who_fits(estimator: Any) -> None:
    """And not into the library."""
    with pytest.warns(ConvergenceWarning) as seen:
        estimator.fit(X, Y > 3)
    assert {__file__} == {one.filename for one in seen}


def test_without_scikit_learn() -> None:
    """Who has not installed it reads how to."""
    code = "import sys; sys.modules['sklearn'] = None; import gd.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "ImportError: scikit-learn is missing: pip install 'gd[sklearn]'" == done.stderr.splitlines()[-1]
