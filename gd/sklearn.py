"""The same descents as scikit-learn's estimators: in a `Pipeline`, under `GridSearchCV`, and passing `check_estimator`.

It needs the extra `sklearn`, and nothing else in the library imports it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from gd import backends
from gd.backends import Objective
from gd.data import Array, Scaling, standardize
from gd.descent import told_subgradients, with_l1
from gd.optimizers import (
    Optimizer,
    Schedule,
    adagrad,
    adam,
    adamw,
    cosine,
    gradient_descent,
    momentum,
    nesterov,
    proximal,
    rmsprop,
)
from gd.problems import Problem, design, huber, least_squares, logistic, poisson, ridge
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

_DECAY = 0.9  # of momentum and of Nesterov's
_STEEPEST: dict[str, Callable[[float | Schedule], Optimizer]] = {
    "gradient_descent": gradient_descent,
    "momentum": lambda rate: momentum(rate, _DECAY),
    "nesterov": lambda rate: nesterov(rate, _DECAY),
}
_ADAPTIVE: dict[str, Callable[[float | Schedule], Optimizer]] = {"adagrad": adagrad, "rmsprop": rmsprop, "adam": adam}
_HALVINGS = 50  # of an automatic learning rate; the first one is seldom more than twice too long
_ROUNDING = 1e-9  # of a loss: what a descent that begins at its minimum may rise by


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
        "optimizer": [StrOptions({*_STEEPEST, *_ADAPTIVE, "adamw"})],
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

    def _prepare(self, X: Array) -> tuple[Array, Scaling, float]:
        """The design, how its features were scaled, and ‖A‖²/n, on which the curvature of every loss depends."""
        self._validate_params()
        if self.l1 and self.optimizer not in _STEEPEST:
            raise ValueError(f"l1 is for {', '.join(_STEEPEST)}: after a step of {self.optimizer} it would be another penalty")
        scaling = standardize(X, self.fit_intercept) if self.standardize else Scaling.none(X.shape[1])
        A = design(scaling.apply(X), self.fit_intercept)
        with np.errstate(over="ignore", invalid="ignore"):
            gram = A.T @ A if A.shape[0] >= A.shape[1] else A @ A.T
        if not np.isfinite(gram).all():
            raise ValueError("the features are too large to be squared: set standardize=True")
        return A, scaling, float(np.linalg.norm(gram, 2)) / len(A)

    def _descend(self, problem: Problem, p: int, curvature: float) -> Trace:
        """A descent with both penalties; its learning rate halved until it does not diverge, where nobody has chosen it."""
        penalised = np.ones(p)
        penalised[p - self.fit_intercept :] = 0
        if self.l2 and self.optimizer != "adamw":  # which has a decay of its own
            problem = ridge(problem, self.l2, penalised)
            curvature += 2 * self.l2
        objective, penalty = backends.get(self.backend).objective(problem), self.l1 * penalised
        if self.l1:
            objective = with_l1(objective, penalty)
        rate = self.learning_rate if self.learning_rate != "auto" else self._first_rate(objective, p, curvature)
        for _ in range(_HALVINGS if self.learning_rate == "auto" else 1):
            optimizer = self._stepping(rate, penalty)
            trace = train(objective, p, optimizer, epochs=self.epochs, tolerance=self.tolerance, keep_weights=self.epochs)
            risen = self.learning_rate == "auto" and trace.final_loss > trace.loss[0] * (1 + _ROUNDING)
            if trace.outcome != Outcome.DIVERGED and not risen:
                break
            rate /= 2
        else:
            remedy = "scale the table" if self.learning_rate == "auto" else "choose a smaller one, or 'auto'"
            raise ValueError(f"training diverged in epoch {len(trace.loss)} at the learning rate {2 * rate:.3g}: {remedy}")
        nowhere = self.optimizer == "adamw" and self.l2 > 0  # where its decay holds the weights, no gradient is flat
        if trace.outcome != Outcome.CONVERGED and self.tolerance and not nowhere:
            share = trace.gradient_norm[-1] / trace.gradient_norm[0]
            warnings.warn(
                f"{self.epochs} epochs ended before the descent did: the gradient is at {share:.3g} of its first length and "
                f"was to fall to {self.tolerance:.3g}. Allow more epochs or a larger tolerance"
                f"{'.' if self.standardize else ', or set standardize=True.'}",
                ConvergenceWarning,
                stacklevel=3,
            )
        return trace

    def _first_rate(self, objective: Objective, p: int, curvature: float) -> float:
        """1/λmax; where steps have the length of the learning rate, that of the longest one that 1/λmax would make."""
        rate = 1 / (curvature or 1)
        if self.optimizer in _STEEPEST:
            return rate
        begun = 0.1 if self.optimizer == "rmsprop" else 1  # √(1 - ρ): its first step is ten times as long as its rate
        return begun * rate * (float(np.abs(objective(np.zeros(p))[1]).max()) or 1)

    def _stepping(self, rate: float, penalty: Array) -> Optimizer:
        """The optimizer of that name; one that has no end at a constant rate is led to one where nobody has chosen the rate."""
        if self.optimizer in _STEEPEST:
            plain = _STEEPEST[self.optimizer](rate)
            if not self.l1:
                return plain
            gain = 1 if self.optimizer == "gradient_descent" else 1 / (1 - _DECAY)  # momentum's, of a lasting gradient
            return told_subgradients(proximal(plain, rate, gain * penalty), penalty)
        planned = cosine(rate, self.epochs) if self.learning_rate == "auto" and self.optimizer != "adagrad" else rate
        return adamw(planned, weight_decay=self.l2) if self.optimizer == "adamw" else _ADAPTIVE[self.optimizer](planned)

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
        learning_rate: above 0, or "auto": 1/λmax from the curvature of the loss, which is 2‖A‖²/n of the design A for "mse"
            and ‖A‖²/n for "huber". That of "poisson" has no bound: it begins with max(y) ‖A‖²/n, or ‖A‖²/n if no count is
            above 1, and halves the rate until a descent does not end above its first loss. Of optimizers whose step does
            not shrink with the gradient it is the longest step of a weight that 1/λmax would begin with, and, but for
            "adagrad", falls along half a cosine.
        epochs: steps at most, 1 or more; each sees every row once.
        tolerance: stop when the gradient norm has fallen to this share of its first value, below 1; 0 uses up all epochs.
        fit_intercept: whether the model has an intercept.
        standardize: whether to train on features of mean square 1, and of mean 0 if there is an intercept.
        backend: "numpy", with gradients derived by hand, or "torch", by autograd.

    Attributes:
        coef_: weights in units of the features, (d,).
        intercept_: intercept, 0 where there is none.
        history_: loss and gradient norm of each epoch, `History`.
        n_iter_: epochs that were trained.
        n_features_in_: d.
        feature_names_in_: names of the columns, (d,), where a table had any.

    Source:
        Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées; Nesterov (2004), Introductory
        lectures on convex optimization, 2.1 (the step of 1/λmax). For losses and optimizers see their own docstrings.
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
        A, scaling, steepness = self._prepare(X)
        problem, factor = self._problem(A, y)
        trace = self._descend(problem, A.shape[1], factor * steepness)
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

    def _problem(self, A: Array, y: Array) -> tuple[Problem, float]:
        """The loss, and what ‖A‖²/n is multiplied by to bound its curvature; for counts, where no expectation is larger."""
        if self.loss == "poisson":
            return poisson(A, y), max(float(y.max()), 1)
        return (huber(A, y, self.delta), 1) if self.loss == "huber" else (least_squares(A, y), 2)

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
        learning_rate: above 0, or "auto": 1/λmax from the bound ‖A‖²/4n of the curvature, A the design. Of optimizers whose
            step does not shrink with the gradient it is the longest step of a weight that 1/λmax would begin with, and, but
            for "adagrad", falls along half a cosine.
        epochs: steps at most, 1 or more; each sees every row once.
        tolerance: stop when the gradient norm has fallen to this share of its first value, below 1; 0 uses up all epochs.
        fit_intercept: whether the model has an intercept.
        standardize: whether to train on features of mean square 1, and of mean 0 if there is an intercept.
        backend: "numpy", with gradients derived by hand, or "torch", by autograd.

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
        A, scaling, steepness = self._prepare(X)
        told = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        traces = [self._descend(logistic(A, (y == one).astype(np.float64)), A.shape[1], steepness / 4) for one in told]
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
