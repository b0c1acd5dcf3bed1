"""Optimizers: pairs of pure functions that turn gradients into steps, their state passed openly.

Each stands beside its source; where a textbook and `torch.optim` differ in a convention, PyTorch's is taken, and the docstring
says which that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gd.backends import Objective
from gd.data import Array
from gd.problems import aligned

__all__ = [
    "Optimizer",
    "Schedule",
    "Search",
    "adagrad",
    "adam",
    "adamw",
    "constant",
    "cosine",
    "exponential",
    "gradient_descent",
    "line_search",
    "momentum",
    "nesterov",
    "preconditioned",
    "proximal",
    "rmsprop",
    "stepwise",
    "warm_up",
]

Schedule = Callable[[int], float]
"""Epoch, from 0 on ↦ its learning rate, above 0."""

_HALVINGS = 60
_DECREASE = 1e-4  # c: the share of what the slope promises
_UPWARDS = 0.8  # 1 - 2 δ of Hager and Zhang, whose δ is 0.1


class Optimizer(NamedTuple):
    """How a gradient becomes a step."""

    init: Callable[[Array], Any]  # θ (p,) -> state
    update: Callable[[Array, Any, Array], tuple[Array, Any]]  # (∇J(θ), state, θ), each (p,) -> (step (p,), state)
    # θ + step comes next


def gradient_descent(learning_rate: float | Schedule) -> Optimizer:
    """Steepest descent: θ ← θ - α ∇J(θ).

    Args:
        learning_rate: α, above 0, or a schedule of it.

    Raises:
        ValueError: if the learning rate is not above 0.

    Source:
        Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées.
    """
    rate = _schedule(learning_rate)
    if not callable(learning_rate):  # nothing to count, and the step that is taken most often
        return Optimizer(lambda theta: None, lambda gradient, state, theta: (gradient * -learning_rate, state))

    def update(gradient: Array, t: int, theta: Array) -> tuple[Array, int]:
        return gradient * -rate(t), t + 1

    return Optimizer(lambda theta: 0, update)


class Search(NamedTuple):
    """What a line search goes on from."""

    rate: float  # α that was accepted last; 0 once none was
    theta: Array  # (p,) where it led to
    loss: float | None  # J there; None where that has not been evaluated


def line_search(
    objective: Objective, learning_rate: float = 1.0, seen: Callable[[float], None] | None = None
) -> Optimizer:  # fmt: skip
    """Steepest descent at a rate of its own for each step: twice the last one, halved until the loss falls enough.

    α is accepted where J(θ - α g) ≤ J(θ) - c α ‖g‖², c = 1e-4: Armijo's condition. Near the optimum that difference is less
    than the rounding of J: where J changes by no more than √ε of itself, ε the spacing of floats at 1, it is not asked for. At
    every trial the loss may rise no steeper than it fell before, by the slope's own digits, which do not vanish there:
    -∇J(θ - α g)·g ≤ (1 - 2 δ) ‖g‖², δ = 0.1, as Hager and Zhang ask in place of Armijo (with 1e-6 for √ε). That keeps α from
    resting just below the stable limit too, where Armijo lets steps go to and fro. What is not finite is never accepted.

    If 60 halvings find nothing, the step is zero, and so is each after it: the same search would find the same.

    A step costs an evaluation or more beside the loop's own; J(θ) is known from the step before.

    Args:
        objective: of the descent itself, bound by a backend; θ is lent: its memory is used again.
        learning_rate: α that is tried first, above 0.
        seen: told the rate of each step as it is taken, 0 where it is zero. The loop may take some steps beyond the epoch that
            ends the training: what counts are the first `len(trace)`.

    Raises:
        ValueError: if the learning rate is not above 0.

    Source:
        Armijo (1966), Minimization of functions having Lipschitz continuous first partial derivatives, Pacific J. Math. 16;
        Hager and Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search, SIAM J.
        Optim. 16, the approximate Wolfe conditions.
    """
    constant(learning_rate)

    def update(gradient: Array, state: Search, theta: Array) -> tuple[Array, Search]:
        found = search(gradient, state, theta)
        if seen is not None:
            seen(found.rate)
        return gradient * -found.rate, found

    def search(gradient: Array, state: Search, theta: Array) -> Search:
        square = _product(gradient, gradient)
        if not 0 < square < math.inf or state.rate == 0:
            return Search(0.0, theta.copy(), None)
        known = state.loss is not None and np.array_equal(theta, state.theta)
        loss = state.loss if known and state.loss is not None else float(objective(theta)[0])
        kind = np.finfo(theta.dtype)
        hidden, trial = math.sqrt(kind.eps) * abs(loss), aligned(theta.shape, theta.dtype)
        rate = min(2 * state.rate, float(kind.max))
        for _ in range(_HALVINGS + 1):
            np.add(theta, gradient * -rate, out=trial)
            value, slope = objective(trial)
            falls = abs(value - loss) <= hidden or value <= loss - _DECREASE * rate * square
            if falls and math.isfinite(value) and -_product(slope, gradient) <= _UPWARDS * square:
                return Search(rate, trial, float(value))
            rate /= 2
        return Search(0.0, theta.copy(), None)

    return Optimizer(lambda theta: Search(learning_rate / 2, theta.copy(), None), update)


def momentum(learning_rate: float | Schedule, decay: float = 0.9) -> Optimizer:
    """The heavy ball: v ← β v + ∇J(θ), θ ← θ - α v. PyTorch's convention: α is not part of v, and v starts as the gradient.

    Args:
        learning_rate: α, above 0, or a schedule of it.
        decay: β, at least 0 and below 1.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Polyak (1964), Some methods of speeding up the convergence of iteration methods, USSR Comp. Math. 4(5).
    """
    return _with_velocity(learning_rate, decay, lambda gradient, v: v)


def nesterov(learning_rate: float | Schedule, decay: float = 0.9) -> Optimizer:
    """Nesterov's accelerated gradient: v ← β v + ∇J(θ), θ ← θ - α (∇J(θ) + β v), the form of Sutskever that PyTorch takes.

    Args:
        learning_rate: α, above 0, or a schedule of it.
        decay: β, at least 0 and below 1.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Nesterov (1983), A method of solving a convex programming problem with convergence rate O(1/k²), Soviet Math. Dokl. 27;
        Sutskever et al. (2013), On the importance of initialization and momentum in deep learning, ICML.
    """
    return _with_velocity(learning_rate, decay, lambda gradient, v: gradient + decay * v)


def adagrad(learning_rate: float | Schedule, epsilon: float = 1e-10) -> Optimizer:
    """Steps that shrink with all that a weight's gradient has been: s ← s + g², θ ← θ - α g / (√s + ε).

    Args:
        learning_rate: α, above 0, or a schedule of it.
        epsilon: ε, above 0.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Duchi, Hazan and Singer (2011), Adaptive subgradient methods, JMLR 12, with a diagonal matrix.
    """
    rate, epsilon = _schedule(learning_rate), _above_zero("epsilon", epsilon)

    def update(gradient: Array, state: tuple[int, Array], theta: Array) -> tuple[Array, tuple[int, Array]]:
        t, s = state
        s = s + gradient * gradient
        return gradient * -rate(t) / (np.sqrt(s) + epsilon), (t + 1, s)

    return Optimizer(_from_zero(1), update)


def rmsprop(learning_rate: float | Schedule, decay: float = 0.99, epsilon: float = 1e-8) -> Optimizer:
    """Steps by the recent size of a weight's gradient: s ← ρ s + (1 - ρ) g², θ ← θ - α g / (√s + ε). ε is outside of the root.

    Args:
        learning_rate: α, above 0, or a schedule of it.
        decay: ρ, at least 0 and below 1.
        epsilon: ε, above 0.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Tieleman and Hinton (2012), Neural networks for machine learning, lecture 6e.
    """
    rate, rho, epsilon = _schedule(learning_rate), _share("decay", decay), _above_zero("epsilon", epsilon)

    def update(gradient: Array, state: tuple[int, Array], theta: Array) -> tuple[Array, tuple[int, Array]]:
        t, s = state
        s = rho * s + (1 - rho) * (gradient * gradient)
        return gradient * -rate(t) / (np.sqrt(s) + epsilon), (t + 1, s)

    return Optimizer(_from_zero(1), update)


def adam(
    learning_rate: float | Schedule, decay: float = 0.9, square_decay: float = 0.999, epsilon: float = 1e-8
) -> Optimizer:  # fmt: skip
    """Momentum and size of each weight's gradient, both freed of their start at zero.

    m ← β₁ m + (1 - β₁) g, s ← β₂ s + (1 - β₂) g², θ ← θ - α m̂ / (√ŝ + ε) with m̂ = m/(1 - β₁ᵗ) and ŝ = s/(1 - β₂ᵗ).

    Args:
        learning_rate: α, above 0, or a schedule of it.
        decay: β₁, at least 0 and below 1.
        square_decay: β₂, likewise.
        epsilon: ε, above 0.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Kingma and Ba (2015), Adam: a method for stochastic optimization, ICLR, algorithm 1.
    """
    rate, epsilon = _schedule(learning_rate), _above_zero("epsilon", epsilon)
    first, second = _share("decay", decay), _share("square_decay", square_decay)

    def update(
        gradient: Array, state: tuple[int, Array, Array], theta: Array
    ) -> tuple[Array, tuple[int, Array, Array]]:  # fmt: skip
        t, m, s = state
        m = first * m + (1 - first) * gradient
        s = second * s + (1 - second) * (gradient * gradient)
        size = np.sqrt(s) / math.sqrt(1 - second ** (t + 1)) + epsilon
        return m * (-rate(t) / (1 - first ** (t + 1))) / size, (t + 1, m, s)

    return Optimizer(_from_zero(2), update)


def adamw(
    learning_rate: float | Schedule,
    decay: float = 0.9,
    square_decay: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> Optimizer:
    """Adam whose weights shrink by α κ an epoch beside its step: not what an L2 penalty in the loss would do.

    Args:
        learning_rate: α, above 0, or a schedule of it.
        decay: β₁ of `adam`.
        square_decay: β₂.
        epsilon: ε.
        weight_decay: κ, at least 0; of every parameter, an intercept among them.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Loshchilov and Hutter (2019), Decoupled weight decay regularization, ICLR, algorithm 2.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
    plain, rate = adam(learning_rate, decay, square_decay, epsilon), _schedule(learning_rate)

    def update(gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        shrunk = theta * -(rate(state[0]) * weight_decay)
        step, state = plain.update(gradient, state, theta)
        return shrunk + step, state

    return Optimizer(plain.init, update)


def proximal(optimizer: Optimizer, learning_rate: float | Schedule, penalty: ArrayLike) -> Optimizer:
    """After each step the proximal step of an L1 penalty: weights nearer to zero than α κ become zero, others shrink by it.

    With `gradient_descent` at the same rate this is ISTA, which ends at the minimum of J(θ) + κ ‖θ‖₁.

    Args:
        optimizer: of the smooth part of the loss.
        learning_rate: α, above 0, or a schedule of it: that of the optimizer.
        penalty: κ, at least 0; one for every weight, or one each, (p,), with 0 for an intercept.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Daubechies, Defrise and De Mol (2004), An iterative thresholding algorithm, Comm. Pure Appl. Math. 57.
    """
    rate = _schedule(learning_rate)
    each = np.asarray(penalty)
    if not (each >= 0).all():
        raise ValueError(f"the penalty must be at least 0, not {each}")

    def update(gradient: Array, state: tuple[int, Any], theta: Array) -> tuple[Array, tuple[int, Any]]:
        t, inner = state
        step, inner = optimizer.update(gradient, inner, theta)
        ahead = theta + step
        nearer = np.sign(ahead) * np.maximum(np.abs(ahead) - (rate(t) * each).astype(theta.dtype), 0)
        return nearer - theta, (t + 1, inner)

    return Optimizer(lambda theta: (0, optimizer.init(theta)), update)


def preconditioned(optimizer: Optimizer, P: Array) -> Optimizer:
    """The same descent in other coordinates φ, where θ = P φ: its gradients are Pᵀ∇J(θ), and a step s leads θ on by P s.

    With P = H^-½ of the Hessian plain descent is Newton's method; with the diagonal of it, Jacobi's.

    Args:
        optimizer: of φ; it is told θ, which decays of weights would need in φ.
        P: not singular, (p, p).

    Source:
        Nocedal and Wright (2006), Numerical optimization, 5.1 (preconditioning as a change of variables).
    """

    def update(gradient: Array, state: Any, theta: Array) -> tuple[Array, Any]:
        Q = P.astype(theta.dtype, copy=False)
        step, state = optimizer.update(gradient @ Q, state, theta)
        return Q @ step, state

    return Optimizer(optimizer.init, update)


def constant(rate: float) -> Schedule:
    """The same learning rate at every epoch.

    Raises:
        ValueError: if the learning rate is not above 0.
    """
    if not 0 < rate < math.inf:
        raise ValueError(f"the learning rate must be above 0, not {rate}")
    return lambda t: rate


def stepwise(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """α · factor^⌊t / every⌋.

    Args:
        rate: α, at the start.
        every: epochs between two drops, 1 or more.
        factor: of each drop, above 0 and at most 1.

    Raises:
        ValueError: if a setting is outside of its range.
    """
    constant(rate)
    if every < 1:
        raise ValueError(f"the rate must stay for at least 1 epoch, not {every}")
    _factor(factor)
    return lambda t: rate * factor ** (t // every)


def exponential(rate: float, factor: float) -> Schedule:
    """α · factorᵗ.

    Args:
        rate: α, at the start.
        factor: of each epoch, above 0 and at most 1.

    Raises:
        ValueError: if a setting is outside of its range.
    """
    constant(rate)
    _factor(factor)
    return lambda t: rate * factor**t


def cosine(rate: float, epochs: int, least: float = 0.0) -> Schedule:
    """Down to a least rate along half a cosine, and there from then on.

    Args:
        rate: α, at the start.
        epochs: until the least rate is reached, 1 or more.
        least: at least 0, at most α.

    Raises:
        ValueError: if a setting is outside of its range.

    Source:
        Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR, equation 5, without restarts.
    """
    constant(rate)
    if epochs < 1 or not 0 <= least <= rate:
        raise ValueError(f"a cosine needs at least 1 epoch and a least rate from 0 to {rate}, not {epochs} and {least}")
    return lambda t: least + (rate - least) * (1 + math.cos(math.pi * min(t / epochs, 1))) / 2


def warm_up(schedule: Schedule, epochs: int) -> Schedule:
    """The first epochs at (t + 1)/epochs of a schedule's rate.

    Args:
        schedule: which goes on from there, counted from the first epoch.
        epochs: until the full rate, 0 or more.

    Raises:
        ValueError: if the number of epochs is below 0.
    """
    if epochs < 0:
        raise ValueError(f"a warm-up cannot take {epochs} epochs")
    return lambda t: schedule(t) * min((t + 1) / epochs, 1) if epochs else schedule(t)


def _product(a: Array, b: Array) -> float:
    """a·b in float64, by a sum whose order does not depend on where in memory the two begin."""
    return float((a.astype(np.float64) * b).sum())


def _schedule(learning_rate: float | Schedule) -> Schedule:
    return learning_rate if callable(learning_rate) else constant(learning_rate)


def _with_velocity(learning_rate: float | Schedule, decay: float, way: Callable[[Array, Array], Array]) -> Optimizer:
    """Velocity v ← β v + ∇J(θ), and a step of α along what gradient and velocity give."""
    rate, beta = _schedule(learning_rate), _share("decay", decay)

    def update(gradient: Array, state: tuple[int, Array], theta: Array) -> tuple[Array, tuple[int, Array]]:
        t, v = state
        v = beta * v + gradient
        return way(gradient, v) * -rate(t), (t + 1, v)

    return Optimizer(_from_zero(1), update)


def _from_zero(arrays: int) -> Callable[[Array], Any]:
    """A state of no epochs and so many zeros like θ."""
    return lambda theta: (0, *(np.zeros_like(theta) for _ in range(arrays)))


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, not {value}")
    return value


def _above_zero(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, not {value}")
    return value


def _factor(factor: float) -> float:
    if not 0 < factor <= 1:
        raise ValueError(f"the factor must be above 0 and at most 1, not {factor}")
    return factor
