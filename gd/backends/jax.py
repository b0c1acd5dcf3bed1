"""JAX, with gradients by its own differentiation of programs, compiled."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from weakref import WeakValueDictionary

import jax

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "JAX"


_compiled: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
"""What has been compiled and is still in use, by the text of the whole program, its constants among it, and the device."""


def devices() -> dict[str, str]:
    """The CPU, and a GPU where JAX finds one that it can use: the first."""
    try:
        gpu = jax.devices("cuda")[0]
    except RuntimeError:  # as JAX says that it has no such backend
        return {"cpu": "cpu"}
    return {"cpu": "cpu", "cuda": f"cuda ({gpu.device_kind})"}


def objective(problem: Problem, device: str = "cpu") -> Objective:
    """Evaluate the problem's loss and let JAX differentiate it; the hand-derived gradient is never called.

    The arrays move over once, and the pair of loss and gradient is compiled at the first call, and again when θ changes its
    shape. Problems of one shape whose programs are the same, as those of equally many rows are, share what was compiled: each
    is traced, in a few milliseconds, and its program compared as text, since functions that look alike may hold different
    constants. JAX keeps to 32 bits unless it is told otherwise: 64 are allowed here, and only while it is called from here.
    For many θ what is differentiated is the sum of their losses: no loss depends on another's row.

    On a GPU products of float32 are not rounded to TF32. JAX takes three quarters of a GPU's memory when it first uses it,
    unless the environment has ``XLA_PYTHON_CLIENT_PREALLOCATE=false``.
    """

    def total(theta: Any, *arrays: Any) -> tuple[Any, Any]:
        loss = problem.value(theta, *arrays)  # forward pass and loss
        return loss.sum(), loss

    place = jax.devices(device)[0]
    with jax.enable_x64(True):
        arrays = tuple(jax.device_put(array, place) for array in problem.arrays)
        both = jax.jit(jax.value_and_grad(total, has_aux=True))  # and backward pass
    known: dict[Any, Any] = {}

    def compiled(theta: Array) -> Any:
        with nullcontext() if device == "cpu" else jax.default_matmul_precision("highest"):
            program = both.lower(theta, *arrays)
        key = program.as_text(), str(place)
        found = _compiled.get(key)
        if found is None:
            found = _compiled[key] = program.compile()
        return known.setdefault((theta.shape, theta.dtype), found)

    def evaluate(theta: Array) -> tuple[Any, Array]:
        with jax.enable_x64(True):
            run = known.get((theta.shape, theta.dtype)) or compiled(theta)
            (_, loss), gradient = run(theta, *arrays)
        value = loss.__array__().astype("float64", copy=False)
        return value.item() if theta.ndim == 1 else value, gradient.__array__()

    return evaluate
