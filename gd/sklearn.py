"""The same descents as scikit-learn's estimators: in a `Pipeline`, under `GridSearchCV`, and passing `check_estimator`.

It needs the extra `sklearn`, and nothing else in the library imports it.
"""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self, cast

import numpy as np

from gd import backends
from gd.data import Array, Scaling, standardize
from gd.descent import settle
from gd.problems import design
from gd.settings import Loss, OptimizerName, Training
from gd.training import Outcome, Trace, train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils._param_validation import Interval, StrOptions  # not public yet: the extra ends below 2
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError:
    raise ImportError("scikit-learn is missing: pip install 'gd[sklearn]'") from None

__all__ = ["GradientDescentClassifier", "GradientDescentRegressor", "History"]

_STEEPEST = ("gradient_descent", "momentum", "nesterov")
_OPTIMIZERS = (*_STEEPEST, "adagrad", "rmsprop", "adam", "adamw")


class History(NamedTuple):
    """What a descent saw, one entry an epoch, before that epoch's step.

    Of a classifier of more than two classes there is a column for each, NaN where its own descent had already ended.
    """

    loss: Array  # (k,) or (k, classes), the penalties among it
    gradient_norm: Array  # likewise; under an L1 penalty, of the shortest subgradient


class _Descent(BaseEstimator):  # type: ignore[misc]
    """What regressor and classifier share: their settings and the way from a table to weights in its units."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "l2": [Interval(Real, 0, None, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions({*_OPTIMIZERS})],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "tolerance": [Interval(Real, 0, 1, closed="left")],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "backend": [str],
    }

    def __init__(
        self,
        *,
        l2: float = 0.0,
        l1: float = 0.0,
        optimizer: str = "nesterov",
        learning_rate: float | Literal["auto"] = "auto",
        epochs: int = 1000,
        tolerance: float = 1e-6,
        fit_intercept: bool = True,
        standardize: bool = True,
        backend: str = "numpy",
    ) -> None:
        self.l2 = l2
        self.l1 = l1
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.tolerance = tolerance
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.backend = backend

    def _prepare(self, X: Array) -> tuple[Array, Scaling]:
        """The design, and how its features were scaled."""
        self._validate_params()
        if self.l1 and self.optimizer not in _STEEPEST:
            raise ValueError(f"l1 is for {', '.join(_STEEPEST)}: after a step of {self.optimizer} it would be another penalty")
        scaling = standardize(X, self.fit_intercept) if self.standardize else Scaling.none(X.shape[1])
        A = design(scaling.apply(X), self.fit_intercept)
        with np.errstate(over="ignore"):
            if not np.isfinite(float(np.linalg.norm(A)) ** 2):
                raise ValueError("the features are too large to be squared: set standardize=True")
        return A, scaling

    def _descend(self, A: Array, y: Array, loss: Loss, delta: float = 1.0) -> Trace:
        """The descent of `gd run` with these settings, over all rows."""
        decays = self.optimizer == "adamw"  # of its own, instead of the penalty
        training = Training(
            loss=loss, delta=float(delta), l1=float(self.l1), optimizer=cast("OptimizerName", self.optimizer.replace("_", "-")),
            weight_decay=float(self.l2 if decays else 0), epochs=int(self.epochs), tolerance=float(self.tolerance),
            learning_rate="auto" if self.learning_rate == "auto" else float(self.learning_rate),
            intercept=bool(self.fit_intercept), backends=(self.backend,),
        )  # fmt: skip
        p = A.shape[1]
        descent, _ = settle(training, A, y, 0.0 if decays else float(self.l2))
        objective = descent.bound(backends.get(self.backend).objective(descent.problem(A, y)), p)
        steps = descent.optimizer(descent.rate, p)
        trace = train(objective, p, steps, epochs=self.epochs, tolerance=self.tolerance, keep_weights=self.epochs)
        if trace.outcome == Outcome.DIVERGED:
            remedy = "scale the table" if self.learning_rate == "auto" else "choose a smaller one, or 'auto'"
            raise ValueError(f"training diverged in epoch {len(trace.loss)} at the learning rate {descent.rate:.3g}: {remedy}")
        return trace

    def _warn(self, trace: Trace) -> None:
        """Say to who has called `fit` that a descent had not ended; one that a decay holds off its end has none."""
        held = self.optimizer == "adamw" and self.l2
        if trace.outcome != Outcome.CONVERGED and self.tolerance and not held:
            share = trace.gradient_norm[-1] / trace.gradient_norm[0]
            warnings.warn(
                f"{self.epochs} epochs ended before the descent did: the gradient is at {share:.3g} of its first length and "
                f"was to fall to {self.tolerance:.3g}. Allow more epochs or a larger tolerance"
                f"{'.' if self.standardize else ', or set standardize=True.'}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _linear(self, X: Any) -> Array:
        """X @ coef_ + intercept_ of a table as it was fitted."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)


class GradientDescentRegressor(RegressorMixin, _Descent):  # type: ignore[misc]
    """A linear model of a number, by gradient descent over all rows.

    It minimises J(θ) + l2 Σ θⱼ² + l1 Σ |θⱼ|, the intercept unpenalised; J is `least_squares`, `huber` or `poisson` of
    `gd.problems`. With standardised features, θ are the weights of those, and `coef_` those of the features as given.
    With `standardize=False`, n rows and "mse" it is scikit-learn's `Ridge(alpha=n * l2)` and `Lasso(alpha=l1 / 2)`, and with
    "poisson" `PoissonRegressor(alpha=2 * l2)`. `score` is R², whatever the loss.

    Args:
        loss: "mse", the mean squared error; "huber", half of that within `delta`, and linear beyond; "poisson", half the mean
            deviance of counts, whose predictions are exp(X @ coef_ + intercept_).
        delta: residual at which Huber's loss turns linear, in units of the target; above 0.
        l2: κ of the L2 penalty, at least 0. With "adamw" its weight decay instead, of the intercept too.
        l1: κ of the L1 penalty, at least 0; for "gradient_descent", "momentum" and "nesterov".
        optimizer: "gradient_descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam" or "adamw" of `gd.optimizers`.
        learning_rate: above 0, or "auto", which is that of `gd run`: from the curvature at the exact optimum for "mse", from
            its bound ‖A‖²/n of the design A for "huber"; of "poisson", which has none, that of the optimum, halved until the
            first epochs do not end above the first loss. Of optimizers whose step does not shrink with the gradient it is
            the longest step of a weight that this would begin with, and, but for "adagrad", falls along half a cosine. The
            decay of "momentum" and "nesterov" is the best one for the same curvature.
        epochs: steps at most, 1 or more; each sees every row once.
        tolerance: stop when the gradient norm has fallen to this share of its first value, below 1; 0 uses up all epochs.
        fit_intercept: whether the model has an intercept.
        standardize: whether to train on features of mean square 1, and of mean 0 if there is an intercept.
        backend: "numpy", with gradients derived by hand, or "torch" or "jax", by autograd.

    Attributes:
        coef_: weights in units of the features, (d,).
        intercept_: intercept, 0 where there is none.
        history_: loss and gradient norm of each epoch, `History`.
        n_iter_: epochs that were trained.
        n_features_in_: d.
        feature_names_in_: names of the columns, (d,), where a table had any.

    Source:
        Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées; Nesterov (2004), Introductory
        lectures on convex optimization, 2.1 (the step of 1/λmax). For losses and optimizers see their own docstrings, for what
        is automatic `gd.descent.settle`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Descent._parameter_constraints,
        "loss": [StrOptions({"mse", "huber", "poisson"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        loss: Literal["mse", "huber", "poisson"] = "mse",
        delta: float = 1.0,
        l2: float = 0.0,
        l1: float = 0.0,
        optimizer: str = "nesterov",
        learning_rate: float | Literal["auto"] = "auto",
        epochs: int = 1000,
        tolerance: float = 1e-6,
        fit_intercept: bool = True,
        standardize: bool = True,
        backend: str = "numpy",
    ) -> None:
        super().__init__(
            l2=l2, l1=l1, optimizer=optimizer, learning_rate=learning_rate, epochs=epochs, tolerance=tolerance,
            fit_intercept=fit_intercept, standardize=standardize, backend=backend,
        )  # fmt: skip
        self.loss = loss
        self.delta = delta

    def fit(self, X: Any, y: Any) -> Self:
        """Descend to the weights of a table.

        Args:
            X: features, (n, d).
            y: targets, (n,); at least 0 for "poisson".

        Raises:
            ValueError: if a setting or a table is not what it should be, or training diverges at a chosen learning rate.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        y = y.astype(np.float64)
        A, scaling = self._prepare(X)
        trace = self._descend(A, y, self.loss, self.delta)
        self._warn(trace)
        weights = scaling.to_units(trace.theta[-1], self.fit_intercept)
        self.coef_ = weights[: X.shape[1]]
        self.intercept_ = float(weights[-1]) if self.fit_intercept else 0.0
        self.history_ = History(trace.loss, trace.gradient_norm)
        self.n_iter_ = len(trace.loss)
        return self

    def predict(self, X: Any) -> Array:
        """Predictions of a table's rows, (n,)."""
        linear = self._linear(X)
        return np.exp(linear) if self.loss == "poisson" else linear

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags


class GradientDescentClassifier(ClassifierMixin, _Descent):  # type: ignore[misc]
    """A linear model of the odds of a class, by gradient descent over all rows: logistic regression.

    It minimises J(θ) + l2 Σ θⱼ² + l1 Σ |θⱼ|, the intercept unpenalised; J is `logistic` of `gd.problems`. With standardised
    features, θ are the weights of those, and `coef_` those of the features as given. With `standardize=False` and n rows it
    is scikit-learn's `LogisticRegression(C=1 / (2 * n * l2))`. Of more than two classes each is told from all others by a
    descent of its own, and the probabilities of a row are brought to a sum of 1.

    Args:
        l2: κ of the L2 penalty, at least 0. With "adamw" its weight decay instead, of the intercept too.
        l1: κ of the L1 penalty, at least 0; for "gradient_descent", "momentum" and "nesterov".
        optimizer: "gradient_descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam" or "adamw" of `gd.optimizers`.
        learning_rate: above 0, or "auto", which is that of `gd run`: from the bound ‖A‖²/4n of the curvature, A the design.
            Of optimizers whose step does not shrink with the gradient it is the longest step of a weight that this would
            begin with, and, but for "adagrad", falls along half a cosine. The decay of "momentum" and "nesterov" is the best
            one for the curvature at the optimum.
        epochs: steps at most, 1 or more; each sees every row once.
        tolerance: stop when the gradient norm has fallen to this share of its first value, below 1; 0 uses up all epochs.
        fit_intercept: whether the model has an intercept.
        standardize: whether to train on features of mean square 1, and of mean 0 if there is an intercept.
        backend: "numpy", with gradients derived by hand, or "torch" or "jax", by autograd.

    Attributes:
        classes_: what a row can be, numbers or texts, (classes,).
        coef_: weights in units of the features, (1, d) for two classes, otherwise (classes, d).
        intercept_: intercepts, (1,) or (classes,).
        history_: loss and gradient norm of each epoch, `History`.
        n_iter_: epochs that were trained, of the longest descent.
        n_features_in_: d.
        feature_names_in_: names of the columns, (d,), where a table had any.

    Source:
        Cox (1958), The regression analysis of binary sequences, J. Roy. Stat. Soc. B 20; Böhning and Lindsay (1988),
        Monotonicity of quadratic-approximation algorithms, Ann. Inst. Stat. Math. 40 (the bound of the curvature);
        Rifkin and Klautau (2004), In defense of one-vs-all classification, JMLR 5.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Descend to the weights of a table.

        Args:
            X: features, (n, d).
            y: classes, numbers or texts, (n,).

        Raises:
            ValueError: if a setting or a table is not what it should be, or training diverges at a chosen learning rate.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"every target is of one class, {self.classes_[0]}, and a classifier needs at least two")
        A, scaling = self._prepare(X)
        told = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        traces = [self._descend(A, (y == one).astype(np.float64), "logistic") for one in told]
        for trace in traces:
            self._warn(trace)
        weights = scaling.to_units(np.array([trace.theta[-1] for trace in traces]), self.fit_intercept)
        self.coef_ = weights[:, : X.shape[1]]
        self.intercept_ = weights[:, -1] if self.fit_intercept else np.zeros(len(told))
        self.n_iter_ = max(len(trace.loss) for trace in traces)
        columns = [self._columns([getattr(trace, name) for trace in traces]) for name in History._fields]
        self.history_ = History(*columns)
        return self

    def decision_function(self, X: Any) -> Array:
        """Log-odds of the second of two classes, (n,), or of each against all others, (n, classes)."""
        scores = self._linear(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of every class, (n, classes)."""
        from scipy.special import expit, log_expit, softmax  # noqa: PLC0415

        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return np.asarray(softmax(log_expit(scores), axis=1))  # σ(u) over their sum, where all of them underflow too

    def predict(self, X: Any) -> Array:
        """The likeliest class of every row, (n,)."""
        scores = self.decision_function(X)
        return np.asarray(self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)])

    def _columns(self, series: list[Array]) -> Array:
        """One column for each descent, (k, classes), or the only one, (k,)."""
        if len(series) == 1:
            return series[0]
        table = np.full((self.n_iter_, len(series)), math.nan)
        for column, one in zip(table.T, series, strict=True):
            column[: len(one)] = one
        return table
