"""The exact optimum of a loss that is no parabola: what its descents are held to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gd.data import Array
from gd.problems import Problem

__all__ = ["Minimum", "minimum"]

_FLAT = 1e-13  # of the first gradient, each entry by the root of its curvature, so that no unit of a column matters
_NEAR = 1e-9  # likewise: from there on plain Newton steps do the rest
_ENDLESS = 1e-4  # of the weights: a last Newton step that is longer leads on and on
_MOST = 200  # Newton steps
_SWEEPS = 100  # over the weights, within one of them, before signs are searched for
_TRIALS = 40
_DAMPED = 1e-3  # of the curvature: the least that is added to it where a step leads up
_STIFF = 1e6  # likewise: with so much of it a step leads nowhere but for rounding
_NOTHING = 1e-13  # of the largest weight
_TINY = 1e-14  # of the largest curvature: kept above 0, so that a flat direction has a step


class Minimum(NamedTuple):
    """Where a convex loss with an L1 penalty is least."""

    theta: Array  # (p,)
    loss: float  # the L1 penalty among it
    finite: bool  # whether there is such a place: two classes that a plane separates have none


def minimum(problem: Problem, parameters: int, penalty: Array | None = None) -> Minimum:
    """Minimise J(θ) + Σ κⱼ |θⱼ| by Newton steps, to the precision of float64.

    Without an L1 penalty each solves H s = -g. With one, each minimises the parabola that touches J and the penalty together,
    weight by weight. Where a step would lead up, the parabola is made steeper along each weight, by more and more of its
    curvature. The last steps are taken over the weights that are not zero.

    Args:
        problem: convex, with a Hessian, bound to float64 arrays.
        parameters: p.
        penalty: κ of the L1 penalty of each weight, at least 0, (p,); none when None.

    Raises:
        ValueError: if the problem has no Hessian.

    Source:
        Levenberg (1944), A method for the solution of certain non-linear problems in least squares, Quart. Appl. Math. 2;
        Moré (1978), The Levenberg-Marquardt algorithm, Lecture Notes in Math. 630 (the scale of each weight); Lee, Sun and
        Saunders (2014), Proximal Newton-type methods for minimizing composite functions, SIAM J. Optim. 24.
    """
    if problem.hessian is None:
        raise ValueError("this problem has no Hessian")
    each = np.zeros(parameters) if penalty is None else penalty
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        theta, scale, first = _descended(problem, problem.hessian, each)
        theta = _polished(problem, problem.hessian, each, theta, scale, first)
        loss, gradient = problem.value_and_gradient(theta, *problem.arrays)
        free = (theta != 0) | (each == 0)
        slope = np.where(free, gradient + each * np.sign(theta), 0.0)
        step = _newton(problem.hessian(theta, *problem.arrays), slope, free)
        flat = _length(slope, scale) <= math.sqrt(_NEAR) * first
        rest = _ENDLESS * np.abs(theta * scale).max(initial=0) + _NEAR * first
        finite = bool(np.isfinite(loss) and flat and np.abs(step * scale).max(initial=0) <= rest)
        loss = float(loss) + float(each @ np.abs(theta))
    return Minimum(theta, loss, finite)


def _descended(problem: Problem, hessian: Callable[..., Array], penalty: Array) -> tuple[Array, Array, float]:
    """Near to the minimum: the weights, the root of each one's largest curvature on the way, and the first gradient."""
    arrays, theta = problem.arrays, np.zeros(len(penalty))
    lasso = bool(penalty.any())

    def total(at: Array) -> float:
        return float(problem.value(at, *arrays)) + float(penalty @ np.abs(at))

    now, damping, curvature = total(theta), 0.0, np.zeros(len(penalty))
    begun = problem.value_and_gradient(theta, *arrays)[1]
    for _ in range(_MOST):
        gradient, H = problem.value_and_gradient(theta, *arrays)[1], hessian(theta, *arrays)
        curvature = np.maximum(curvature, np.diag(H))
        straight = (curvature == 0) & (gradient != 0)  # as where Huber's loss is linear: a step to where it would be 0
        steep = np.where(straight, np.abs(gradient[straight]).max(initial=0.0) ** 2 / (now or 1.0), curvature)
        damping = max(damping, 1.0) if straight.any() else damping
        scale = np.sqrt(steep)
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - penalty, 0)
        left = np.where(theta == 0, at_zero, gradient + penalty * np.sign(theta))
        if _length(left, scale) <= (_FLAT if lasso else _NEAR) * _length(begun, scale):
            break
        before = now
        for _ in range(_TRIALS):
            steeper = H + np.diag(damping * steep)
            ahead = _parabola(theta, gradient, steeper, penalty) - theta if lasso else _newton(steeper, gradient)
            now = total(theta + ahead)
            if now <= before:
                break
            damping = max(10 * damping, _DAMPED)
        else:
            break
        theta = theta + ahead
        if now < before:
            damping = damping / 10 if damping > _DAMPED else 0.0
        elif damping < _STIFF:  # no step where the loss has no curvature, as Huber's in a direction of far rows alone
            damping = max(10 * damping, _DAMPED)
        else:
            break
    size = np.abs(theta * scale)
    theta[(size <= _NOTHING * size.max(initial=0.0)) & (penalty > 0)] = 0.0  # rounding, as of one of two equal columns
    return theta, scale, _length(begun, scale)


def _polished(
    problem: Problem, hessian: Callable[..., Array], penalty: Array, theta: Array, scale: Array, first: float
) -> Array:
    """The last digits, by plain Newton steps for as long as they make the gradient shorter and no weight changes its sign."""
    free, length, best = (theta != 0) | (penalty == 0), math.inf, theta
    for _ in range(10):
        gradient = problem.value_and_gradient(theta, *problem.arrays)[1] + penalty * np.sign(theta)
        now = _length(np.where(free, gradient, 0.0), scale)
        if not now < length / 2:
            break
        best, length = theta, now
        if now <= _FLAT * first:
            break
        theta = theta + _newton(hessian(theta, *problem.arrays), gradient, free)
        if not (np.sign(theta) == np.sign(best))[free & (penalty > 0)].all():
            break
    return best


def _length(gradient: Array, scale: Array) -> float:
    """Of a gradient, each entry by the root of its curvature."""
    return float(np.linalg.norm(np.divide(gradient, scale, out=np.zeros_like(gradient), where=scale > 0)))


def _parabola(theta: Array, gradient: Array, H: Array, penalty: Array) -> Array:
    """The minimum of gᵀ(w - θ) + ½ (w - θ)ᵀ H (w - θ) + Σ κⱼ |wⱼ|, weight by weight, or sign by sign where that is slow."""
    size = np.sqrt(np.diag(H))
    size = np.where(size > 0, size, size.max(initial=0.0) or 1.0)
    w, slope, H, penalty = (
        theta * size,
        gradient / size,
        H / np.outer(size, size),
        penalty / size,
    )  # no unit of a column matters
    curvature, linear = np.maximum(np.diag(H), _TINY), slope - H @ w
    for _ in range(_SWEEPS):
        furthest = 0.0
        for j in range(len(w)):
            ahead = w[j] - slope[j] / curvature[j]
            new = math.copysign(max(abs(ahead) - penalty[j] / curvature[j], 0.0), ahead)
            if (step := new - w[j]) != 0:
                w[j] = new
                slope += H[:, j] * step  # of the parabola at w
                furthest = max(furthest, abs(step))
        if furthest <= 1e-14 * np.abs(w).max(initial=1e-300):
            break
    else:
        w = _signed(w, linear, H, penalty)
    return np.asarray(w / size)


def _signed(w: Array, linear: Array, H: Array, penalty: Array) -> Array:
    """The minimum of bᵀw + ½ wᵀ H w + Σ κⱼ |wⱼ|: solved for the weights that are not zero with the signs that they have.

    From where that leads on the way to it the least point is taken, a weight that passes zero on the way being left there if
    it is that; then the weight at zero whose slope exceeds its penalty most is let go.

    Source:
        Lee, Battle, Raina and Ng (2006), Efficient sparse coding algorithms, NIPS 19 (feature-sign search).
    """

    def total(at: Array) -> float:
        return float(linear @ at + at @ (H @ at) / 2 + penalty @ np.abs(at))

    now = total(w)
    signs = np.sign(w)
    for _ in range(10 * len(w) + 100):
        on = (signs != 0) | (penalty == 0)
        solved = np.zeros_like(w)
        if on.any():
            solved[on] = -np.linalg.lstsq(H[np.ix_(on, on)], (linear + penalty * signs)[on])[0]
        passing = on & (penalty > 0) & (w * solved < 0)
        points = [solved]
        for share in np.divide(w, w - solved, out=np.zeros_like(w), where=passing)[passing]:
            point = w + share * (solved - w)
            point[passing & (np.abs(point) <= 1e-15 * np.abs(w - solved))] = 0.0
            points.append(point)
        least = min(points, key=total)
        if total(least) < now:
            w, now = least, total(least)
        signs = np.sign(w)
        if w is least and least is not solved:  # one has come to zero, and the others are solved for again
            continue
        slope = linear + H @ w
        beyond = np.where((w == 0) & (penalty > 0), np.abs(slope) - penalty, 0.0)
        j = int(np.argmax(beyond))
        if beyond[j] <= 1e-13 * (np.abs(linear).max(initial=0.0) or 1.0):
            break
        signs[j] = -np.sign(slope[j])
    return w


def _newton(H: Array, gradient: Array, free: Array | None = None) -> Array:
    """The Newton step over all or some of the weights, (p,); in directions without curvature there is none."""
    step, free = np.zeros_like(gradient), np.ones(len(gradient), bool) if free is None else free
    if free.any():
        H = H[np.ix_(free, free)]
        size = np.sqrt(np.maximum(np.diag(H), np.finfo(float).tiny))
        step[free] = -np.linalg.lstsq(H / np.outer(size, size), gradient[free] / size)[0] / size
    return step
