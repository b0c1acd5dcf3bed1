"""The exact optimum of a loss that is no parabola: what its descents are held to."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gd.data import Array
from gd.problems import Problem

__all__ = ["Minimum", "minimum"]

_FLAT = 1e-13  # of the first gradient
_ENDLESS = 1e-4  # of the weights: a last Newton step that is longer leads on and on
_MOST = 200  # Newton steps
_SWEEPS = 1000  # over the weights, within one of them
_HALVINGS = 40
_TINY = 1e-14  # of the largest curvature: kept above 0, so that a flat direction has a step


class Minimum(NamedTuple):
    """Where a convex loss with an L1 penalty is least."""

    theta: Array  # (p,)
    loss: float  # the L1 penalty among it
    finite: bool  # whether there is such a place: two classes that a plane separates have none


def minimum(problem: Problem, parameters: int, penalty: Array | None = None) -> Minimum:
    """Minimise J(θ) + Σ κⱼ |θⱼ| by Newton steps, to the precision of float64.

    Without an L1 penalty they are those of scipy's trust region. With one, each minimises the parabola that touches J and the
    penalty together, weight by weight, and a last one is taken over the weights that are not zero.

    Args:
        problem: convex, with a Hessian, bound to float64 arrays.
        parameters: p.
        penalty: κ of the L1 penalty of each weight, at least 0, (p,); none when None.

    Raises:
        ValueError: if the problem has no Hessian.

    Source:
        Conn, Gould and Toint (2000), Trust-region methods, 7.3; Lee, Sun and Saunders (2014), Proximal Newton-type methods for
        minimizing composite functions, SIAM J. Optim. 24.
    """
    if problem.hessian is None:
        raise ValueError("this problem has no Hessian")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        theta = _smooth(problem, parameters) if penalty is None or not penalty.any() else _with_l1(problem, penalty)
        loss, gradient = problem.value_and_gradient(theta, *problem.arrays)
        free = np.ones(parameters, bool) if penalty is None else (theta != 0) | (penalty == 0)
        step = _newton(problem, theta, gradient + _slope(theta, penalty), free)
        finite = bool(np.isfinite(loss) and np.abs(step).max(initial=0) <= _ENDLESS * (1 + np.abs(theta).max(initial=0)))
        loss = float(loss) + (0.0 if penalty is None else float(penalty @ np.abs(theta)))
    return Minimum(theta, loss, finite)


def _smooth(problem: Problem, parameters: int) -> Array:
    """By scipy's trust region, and then plain Newton steps for as long as they make the gradient shorter."""
    from scipy.optimize import minimize  # noqa: PLC0415

    arrays, hessian = problem.arrays, problem.hessian
    assert hessian is not None
    theta = np.zeros(parameters)
    size = float(np.linalg.norm(problem.value_and_gradient(theta, *arrays)[1])) or 1.0

    def shortened(at: Array) -> tuple[float, Array]:
        value, gradient = problem.value_and_gradient(at, *arrays)
        return float(value) / size, gradient / size

    found = minimize(
        shortened, theta, jac=True, hess=lambda at: hessian(at, *arrays) / size, method="trust-exact",
        options={"gtol": 1e-9, "maxiter": _MOST, "max_trust_radius": 1e6},
    )  # fmt: skip
    theta, length = found.x, math.inf
    for _ in range(10):
        gradient = problem.value_and_gradient(theta, *arrays)[1]
        now = float(np.linalg.norm(gradient))
        if not now < length / 2:
            break
        best, length = theta, now
        if now <= _FLAT * size:
            break
        theta = theta + _newton(problem, theta, gradient, np.ones(parameters, bool))
    return np.asarray(best)


def _with_l1(problem: Problem, penalty: Array) -> Array:
    arrays, hessian = problem.arrays, problem.hessian
    assert hessian is not None
    theta = np.zeros(len(penalty))

    def total(at: Array) -> float:
        return float(problem.value(at, *arrays)) + float(penalty @ np.abs(at))

    now = total(theta)
    for _ in range(_MOST):
        gradient = problem.value_and_gradient(theta, *arrays)[1]
        ahead = _parabola(theta, gradient, hessian(theta, *arrays), penalty) - theta
        share, before = 1.0, now
        for _ in range(_HALVINGS):
            now = total(theta + share * ahead)
            if now <= before:
                break
            share /= 2
        else:
            break
        theta = theta + share * ahead
        if np.abs(ahead).max() <= 1e-12 * np.abs(theta).max(initial=1e-300) or now == before:
            break
    free = (theta != 0) | (penalty == 0)
    for _ in range(3):  # the last digits, of weights that keep their signs
        gradient = problem.value_and_gradient(theta, *arrays)[1] + _slope(theta, penalty)
        further = theta + _newton(problem, theta, gradient, free)
        if not (np.sign(further) == np.sign(theta))[free & (penalty > 0)].all():
            break
        theta = further
    return theta


def _parabola(theta: Array, gradient: Array, H: Array, penalty: Array) -> Array:
    """The minimum of gᵀ(w - θ) + ½ (w - θ)ᵀ H (w - θ) + Σ κⱼ |wⱼ|, weight by weight."""
    curvature = np.maximum(np.diag(H), _TINY * np.diag(H).max())
    w, slope = theta.copy(), gradient.copy()  # of the parabola at w
    for _ in range(_SWEEPS):
        furthest = 0.0
        for j in range(len(w)):
            ahead = w[j] - slope[j] / curvature[j]
            new = math.copysign(max(abs(ahead) - penalty[j] / curvature[j], 0.0), ahead)
            if (step := new - w[j]) != 0:
                w[j] = new
                slope += H[:, j] * step
                furthest = max(furthest, abs(step))
        if furthest <= 1e-14 * np.abs(w).max(initial=1e-300):
            break
    return w


def _slope(theta: Array, penalty: Array | None) -> Array:
    return np.zeros_like(theta) if penalty is None else penalty * np.sign(theta)


def _newton(problem: Problem, theta: Array, gradient: Array, free: Array) -> Array:
    """The Newton step over some of the weights, (p,); in directions without curvature there is none."""
    assert problem.hessian is not None
    step = np.zeros_like(theta)
    if free.any():
        H = problem.hessian(theta, *problem.arrays)[np.ix_(free, free)]
        size = np.sqrt(np.maximum(np.diag(H), np.finfo(float).tiny))
        step[free] = -np.linalg.lstsq(H / np.outer(size, size), gradient[free] / size)[0] / size
    return step
