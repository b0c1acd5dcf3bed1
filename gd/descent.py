"""From the settings of a training and one data set to the descent: its loss, its steps, and the theory of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from gd.backends import Objective
from gd.batches import part, whole
from gd.data import Array
from gd.diagnosis import Spectrum, spectrum, surroundings
from gd.optimizers import (
    Optimizer,
    Schedule,
    adagrad,
    adam,
    adamw,
    constant,
    cosine,
    exponential,
    gradient_descent,
    momentum,
    nesterov,
    preconditioned,
    proximal,
    rmsprop,
    stepwise,
    warm_up,
)
from gd.optimum import minimum
from gd.problems import Problem, huber, in_blocks, least_squares, logistic, notebook, poisson, ridge
from gd.sampling import drawn
from gd.settings import Training
from gd.spilling import beyond
from gd.theory import PLAIN, Law
from gd.training import Outcome, train

__all__ = ["Descent", "Found", "settle", "told_subgradients", "with_l1"]

_ROBUST = 1.345  # robust standard deviations: 95 % of the efficiency of least squares where errors are normal
_NORMAL = 0.6744897501960817  # median absolute deviation of the standard normal distribution
_STEEPNESS = {"mse": 2.0, "notebook": 2.0, "huber": 1.0, "logistic": 0.25, "poisson": 1.0}  # largest curvature by ‖A‖²/n
_SAMPLED = 1 << 16  # rows
_TRIED = 50  # epochs of a trial
_HALVINGS = 50
_ROUNDING = 1e-9  # of a loss: what a descent that begins at its minimum may rise by
_MEAN = 0.9  # of momentum between batches
_DECAYING = 0.1  # of each weight an epoch, at most: what AdamW takes off at its automatic rate
_USUAL = {"adam": 0.9, "adamw": 0.9, "rmsprop": 0.99}

Found = Literal["set", "curvature", "bound", "trial", "first-step", "batches", "sweep", "search"]
"""How a learning rate was found: as set, from the curvature at the optimum, from a bound of the curvature anywhere, by trials
that begin there, as the longest step of a weight that the curvature would make first, from the steepest row of a batch, as the
best of several, or anew at each epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """The settings of a training, settled for one data set."""

    training: Training
    rate: float
    found: Found
    decay: float | None = None  # β or ρ, of an optimizer that has one
    delta: float | None = None  # of Huber's loss
    l2: float = 0.0
    steepest: float = 0.0  # largest curvature that the descent can meet; 0 where it has no bound
    null_loss: float = math.nan  # the least loss of a constant model; NaN of the mean squared error
    P: Array | None = None  # (p, p), of a preconditioned descent: θ = P φ, and the steps are those of φ

    def penalised(self, p: int) -> Array:
        """1 for each weight, 0 for the intercept, (p,)."""
        marks = np.ones(p)
        marks[p - self.training.intercept :] = 0
        return marks

    def loss(self, design: Array, y: Array) -> Problem:
        """The loss without penalties, as that of rows held out is given."""
        name = self.training.loss
        if name == "huber":
            assert self.delta is not None
            return huber(design, y, self.delta)
        return {"mse": least_squares, "notebook": notebook, "logistic": logistic, "poisson": poisson}[name](design, y)

    def problem(self, design: Array, y: Array) -> Problem:
        """What is minimised, but for an L1 penalty."""
        loss = self.loss(design, y)
        return ridge(loss, self.l2, self.penalised(design.shape[1])) if self.l2 else loss

    def in_blocks(self, design: Array, y: Array, *, penalised: bool = True) -> Problem:
        """The same for NumPy alone, of any number of rows; without the penalty where it is not to be in it."""
        if self.training.loss == "notebook":  # whose gradient is no mean over the rows
            return self.problem(design, y)
        return in_blocks(self.problem if penalised else self.loss, design, y)

    def all_rows(
        self, bind: Callable[[Problem], Objective], design: Array, y: Array, dtype: DTypeLike = np.float64
    ) -> Objective:  # fmt: skip
        """The same on any backend, of any number of rows.

        Args:
            bind: what binds a problem to the backend.
            design: the design matrix, (n, p).
            y: targets, (n,).
            dtype: that is computed in.
        """
        return whole(bind, self.problem, design, y, dtype, at_once=self.training.loss == "notebook")

    def bound(self, objective: Objective, p: int) -> Objective:
        """An objective with all penalties, out of one that a backend has bound."""
        return with_l1(objective, self.training.l1 * self.penalised(p)) if self.training.l1 else objective

    def schedule(self, rate: float) -> Schedule:
        """The learning rate of each epoch."""
        training = self.training
        factor = training.schedule_factor
        if training.planned == "step":
            every = training.schedule_every or -(-training.epochs // 3)
            planned = stepwise(rate, every, 0.1 if factor == "auto" else factor)
        elif training.planned == "exponential":
            planned = exponential(rate, (0.01 if factor == "auto" else factor) ** (1 / training.epochs))
        elif training.planned == "cosine":
            planned = cosine(rate, training.epochs)
        else:
            planned = constant(rate)
        return warm_up(planned, training.warm_up)

    def optimizer(self, rate: float, p: int, steps: int = 1) -> Optimizer:
        """Turns gradients of `bound` into steps; line searches and batches come around it.

        Args:
            rate: the learning rate.
            p: parameters.
            steps: in an epoch.
        """
        training = self.training
        changes = training.planned != "constant" or training.warm_up
        planned = self.schedule(rate)
        along: float | Schedule = (lambda t: planned(t // steps)) if changes else rate
        made = self._stepping(along)
        if training.l1:
            gain = 1.0 if training.optimizer == "gradient-descent" else 1 / (1 - (self.decay or 0.0))  # of a lasting gradient
            penalty = training.l1 * self.penalised(p)
            made = told_subgradients(proximal(made, along, gain * penalty), penalty)
        return preconditioned(made, self.P) if self.P is not None else made

    def _stepping(self, along: float | Schedule) -> Optimizer:
        training, decay = self.training, self.decay or 0.0
        made: dict[str, Any] = {
            "gradient-descent": lambda: gradient_descent(along),
            "momentum": lambda: momentum(along, decay),
            "nesterov": lambda: nesterov(along, decay),
            "adagrad": lambda: adagrad(along),
            "rmsprop": lambda: rmsprop(along, decay),
            "adam": lambda: adam(along, decay),
            "adamw": lambda: adamw(along, decay, weight_decay=training.weight_decay),
        }
        optimizer: Optimizer = made[training.optimizer]()
        return optimizer

    @property
    def law(self) -> Law | None:
        """The recurrence of the steps; None where they follow none that is linear."""
        training = self.training
        fixed = training.planned == "constant" and not training.warm_up and training.learning_rate != "search"
        if training.adaptive or training.stochastic or training.l1 or not fixed:
            return None
        if training.optimizer == "gradient-descent":
            return PLAIN
        return Law("momentum" if training.optimizer == "momentum" else "nesterov", self.decay or 0.0)

    def save(self, path: Path) -> None:
        """Write all but the settings to a file, so that a path can travel."""
        values: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("rate", "found", "decay", "delta", "l2", "steepest", "null_loss", "P")
            if getattr(self, name) is not None
        }
        with path.open("wb") as file:
            np.savez(file, **values)

    @classmethod
    def load(cls, path: Path, training: Training) -> Descent:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            values = {name: saved[name] if name == "P" else saved[name].item() for name in saved.files}
        return cls(training, **values)


def settle(training: Training, design: Array, y: Array, l2: float = 0.0) -> tuple[Descent, Spectrum]:
    """Find the optimum of a data set, and from the curvature there all settings that are to be found out.

    Args:
        training: the settings.
        design: the design matrix, (n, p).
        y: targets, (n,).
        l2: κ of the L2 penalty.

    Returns:
        The settings as numbers, and the spectrum of the loss in the coordinates of the weights.
    """
    p = design.shape[1]
    delta = None
    if training.loss == "huber":
        delta = _delta(design, y) if training.delta == "auto" else training.delta
    draft = Descent(training, 1.0, "set", delta=delta, l2=l2)
    penalised = draft.penalised(p)
    penalty = training.l1 * penalised
    quadratic = training.loss in {"mse", "notebook"} and not training.l1
    loss = draft.in_blocks(design, y)
    bounded = training.loss in {"mse", "notebook", "huber"} or training.l1 > 0 or l2 > 0  # the others may fall without end
    found = spectrum(design, y, l2, penalised) if quadratic else surroundings(loss, design, penalty, bounded=bounded)
    P = _preconditioner(training, found, l2, penalised)
    seen = found if P is None else found.through(P)
    steepest = float(seen.eigenvalues[-1]) if quadratic else _steepest(training, found, l2, penalised, P)
    decay = _decay(training, seen, steepest)
    rate, how = _rate(training, replace(draft, P=P), design, y, seen, steepest, decay)
    null = math.nan if training.loss in {"mse", "notebook"} else _null_loss(draft, design, y)
    settled = Descent(training, rate, how, decay, delta, l2, steepest, null, P)
    if training.learning_rate == "auto" and (training.loss == "poisson" or training.adaptive) and not training.stochastic:
        settled = _tried(settled, design, y)
    return settled, found


def with_l1(objective: Objective, penalty: Array) -> Objective:
    """A loss with Σ κⱼ |θⱼ| and its shortest subgradient, which is zero at the minimum and nowhere else.

    Args:
        objective: of the smooth part; θ (p,) ↦ J(θ), ∇J(θ).
        penalty: κ of each weight, (p,).
    """

    def evaluate(theta: Array) -> tuple[Any, Array]:
        value, gradient = objective(theta)
        each = penalty.astype(theta.dtype, copy=False)
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - each, 0)
        slope = np.where(theta == 0, at_zero, gradient + each * np.sign(theta))
        return value + float(each @ np.abs(theta)), slope.astype(theta.dtype, copy=False)

    return evaluate


def told_subgradients(optimizer: Optimizer, penalty: Array) -> Optimizer:
    """A proximal optimizer that is told the shortest subgradient: without the penalty's part, its own step adds that.

    At a weight of zero that the penalty holds there, the gradient itself is not known; that it stays there is.
    """

    def update(gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        side = np.where(theta == 0, -np.sign(gradient), np.sign(theta))
        return optimizer.update(gradient - (penalty * side).astype(theta.dtype, copy=False), state, theta)

    return Optimizer(optimizer.init, update)


def _delta(design: Array, y: Array) -> float:
    """1.345 robust standard deviations of the residuals of least squares; of the target, where these are all but 0.

    Where the rows are more than memory is to hold, the optimum is that of all and the residuals are those of a sample.
    """
    optimum = spectrum(design, y).optimum
    if beyond(*design.shape):
        rows = drawn(len(y), _SAMPLED)
        design, y = part(design, rows), y[rows]
    r = y - design @ optimum
    for left in (r, y - np.median(y)):
        spread = float(np.median(np.abs(left - np.median(left)))) / _NORMAL or float(left.std())
        if spread > 1e-12 * float(np.abs(y).max(initial=0.0)):
            return _ROBUST * spread
    return 1.0


def _root(found: Spectrum, steepness: float, l2: float, penalised: Array) -> Array:
    """S with SᵀS a bound of the Hessian: the steepest that the loss of any row can be, and the penalty."""
    parts = [math.sqrt(steepness) * found.predictions]
    if l2:
        parts.append(np.diag(np.sqrt(2 * l2) * penalised))
    return np.vstack(parts)


def _preconditioner(training: Training, found: Spectrum, l2: float, penalised: Array) -> Array | None:
    """P under which the bound of the Hessian has a diagonal of ones, or is the identity; flat directions keep their length."""
    if training.precondition == "none":
        return None
    S = _root(found, _STEEPNESS[training.loss], l2, penalised)
    if training.precondition == "diagonal":
        size = np.linalg.norm(S, axis=0)
        return np.diag(1 / np.where(size > 0, size, size.max(initial=0.0) or 1.0))
    _, sizes, Vt = np.linalg.svd(S, full_matrices=True)
    sizes = np.append(sizes, np.zeros(len(Vt) - len(sizes)))
    flat = sizes <= sizes[0] * max(S.shape) * float(np.finfo(np.float64).eps)
    return np.asarray(Vt.T / np.where(flat, sizes[0] or 1.0, sizes))


def _steepest(training: Training, found: Spectrum, l2: float, penalised: Array, P: Array | None) -> float:
    """The largest curvature that a descent can meet; that of Poisson's loss, which has no bound, at zero and at the optimum."""
    S = _root(found, _STEEPNESS[training.loss], l2, penalised)
    roots = [S, math.sqrt(2) * found.root] if training.loss == "poisson" and found.attained else [S]
    return max(float(np.linalg.norm(root if P is None else root @ P, 2)) ** 2 for root in roots)


def _decay(training: Training, seen: Spectrum, steepest: float) -> float | None:
    """β or ρ; between batches, whose gradients differ, a usual one and not that of the curvature."""
    if training.optimizer in {"gradient-descent", "adagrad"}:
        return None
    if training.decay != "auto":
        return training.decay
    if training.optimizer in _USUAL:
        return _USUAL[training.optimizer]
    if training.stochastic:
        return _MEAN
    law = Law("momentum" if training.optimizer == "momentum" else "nesterov")
    return law.best_within(training.epochs, seen.least, steepest)[1]


def _rate(
    training: Training, draft: Descent, design: Array, y: Array, seen: Spectrum, steepest: float, decay: float | None
) -> tuple[float, Found]:
    """The learning rate to begin with, and how it was found."""
    if isinstance(training.learning_rate, float):
        return training.learning_rate, "set"
    rate = 1 / steepest if steepest > 0 else 1.0
    if training.learning_rate == "search":
        return rate, "search"
    if training.adaptive:
        p = design.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            problem = draft.in_blocks(design, y)
            _, gradient = problem.value_and_gradient(np.zeros(p), *problem.arrays)
        begun = 0.1 if training.optimizer == "rmsprop" else 1.0  # √(1 - ρ): its first step is ten times as long as its rate
        steps = -(-len(y) // training.batch_size) if training.batch_size is not None else 1
        first = begun * rate * (float(np.abs(gradient).max()) or 1.0) / steps
        if training.optimizer == "adamw" and training.weight_decay:
            first = min(first, _DECAYING / training.weight_decay)
        return first, "first-step"
    if training.batch_size is not None:
        return (1 - (decay or 0.0)) * _batch_rate(training.batch_size, draft, design, seen, steepest), "batches"
    if training.optimizer == "momentum" and training.decay == "auto" and seen.quadratic and steepest > 0:
        return (1 + math.sqrt(decay or 0.0)) ** 2 / steepest, "curvature"  # 4/(√μ + √L)² of that β
    return rate, "curvature" if seen.quadratic else "bound"


def _batch_rate(size: int, draft: Descent, design: Array, seen: Spectrum, steepest: float) -> float:
    """The rate at which steps of batches lead down fastest, of a model that fits all rows: b/(β + (b - 1) λmax), β of a row.

    Source:
        Ma, Bassily and Belkin (2018), The power of interpolation: understanding the effectiveness of SGD in modern
        over-parametrized learning, ICML, theorem 4.
    """
    norm = float(np.linalg.norm(seen.predictions, 2)) ** 2  # of all rows; of the steepest one:
    longest = max(
        float(np.einsum("ij,ij->i", rows, rows).max())
        for rows in (part if draft.P is None else part @ draft.P for part in np.array_split(design, -(-len(design) // 65536)))
    )
    if not (norm > 0 and steepest > 0):
        return 1.0
    size = min(size, len(design))
    return size / (steepest * longest / norm + (size - 1) * steepest)


def _tried(descent: Descent, design: Array, y: Array) -> Descent:
    """The same with a rate at which the first epochs do not end above the first loss, halved until it is."""
    p, rate = design.shape[1], descent.rate
    problem = descent.in_blocks(design, y)

    def plain(theta: Array) -> tuple[Any, Array]:
        value, gradient = problem.value_and_gradient(theta, *problem.arrays)
        return float(value), gradient

    objective = descent.bound(plain, p)
    for _ in range(_HALVINGS):
        epochs = min(_TRIED, descent.training.epochs)
        trace = train(objective, p, descent.optimizer(rate, p), epochs=epochs, keep_weights=epochs)
        if trace.outcome != Outcome.DIVERGED and trace.final_loss <= trace.loss[0] * (1 + _ROUNDING):
            break
        rate /= 2
    if rate == descent.rate and descent.found == "first-step":
        return descent
    return replace(descent, rate=rate, found="trial")


def _null_loss(draft: Descent, design: Array, y: Array) -> float:
    """The least loss of a model without features: of its intercept alone, or of none."""
    loss = in_blocks(lambda rows, y: draft.loss(np.ones((len(rows), 1)), y), design, y)
    return minimum(loss, 1).loss if draft.training.intercept else float(loss.value(np.zeros(1), *loss.arrays))
