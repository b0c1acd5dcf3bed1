"""JAX, with gradients by its own differentiation of programs, compiled."""

from __future__ import annotations

from typing import Any

import jax

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "JAX"


def objective(problem: Problem) -> Objective:
    """Evaluate the problem's loss and let JAX differentiate it; the hand-derived gradient is never called.

    The arrays move over once, and the pair of loss and gradient is compiled at the first call, and again when θ changes its
    shape. JAX keeps to 32 bits unless it is told otherwise: 64 are allowed here, and only while it is called from here.
    For many θ what is differentiated is the sum of their losses: no loss depends on another's row.
    """

    def total(theta: Any, *arrays: Any) -> tuple[Any, Any]:
        loss = problem.value(theta, *arrays)  # forward pass and loss
        return loss.sum(), loss

    with jax.enable_x64(True):
        arrays = tuple(map(jax.numpy.asarray, problem.arrays))
        both = jax.jit(jax.value_and_grad(total, has_aux=True))  # and backward pass

    def evaluate(theta: Array) -> tuple[Any, Array]:
        with jax.enable_x64(True):
            (_, loss), gradient = both(theta, *arrays)
        value = loss.__array__().astype("float64", copy=False)
        return value.item() if theta.ndim == 1 else value, gradient.__array__()

    return evaluate
