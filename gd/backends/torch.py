"""PyTorch, with gradients by autograd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "PyTorch"

_ALIGNMENT = 64  # bytes
_ENGINE = torch.autograd.Variable._execution_engine
"""What `torch.autograd.grad` calls in the end. Its own checks of what it is given, the same at every call, cost 25 µs an
epoch, which is more than the derivative of a thousand rows."""


def devices() -> dict[str, str]:
    """The CPU, and a GPU where PyTorch finds one that it can use: the current one."""
    if not torch.cuda.is_available():
        return {"cpu": "cpu"}
    return {"cpu": "cpu", "cuda": f"cuda ({torch.cuda.get_device_name()})"}


def objective(problem: Problem, device: str = "cpu") -> Objective:
    """Evaluate the problem's loss and let autograd differentiate it; the hand-derived gradient is never called.

    The arrays move over once; only θ and ∇J(θ) cross the border at each call. The graph's one leaf is bound once to memory
    that NumPy sees too, and there is no gradient to set to zero, since none is accumulated. It is bound anew when θ changes
    its shape. For many θ what is differentiated is the sum of their losses: no loss depends on another's row.

    A GPU shares no memory with NumPy: there θ is copied over, and the loss and its gradient back. Numbers have the same
    precision as on the CPU: products of float32 are not rounded to TF32.
    """
    if device != "cpu":
        return _across(problem, torch.device(device))
    arrays = tuple(map(_moved, problem.arrays))
    value, backward = problem.value, _ENGINE.run_backward
    leaf = one = torch.empty(0)
    shared: Array = leaf.numpy()

    def evaluate(theta: Array) -> tuple[Any, Array]:
        nonlocal leaf, one, shared
        if shared.shape != theta.shape:
            leaf = torch.empty(theta.shape, dtype=arrays[0].dtype).requires_grad_()
            one = torch.ones(theta.shape[:-1], dtype=leaf.dtype)  # a loss's own derivative, which PyTorch would make each time
            shared = leaf.detach().numpy()
        shared[:] = theta
        loss = value(leaf, *arrays)  # forward pass and loss
        (gradient,) = backward((loss,), (one,), False, False, (leaf,), False, accumulate_grad=False)  # backward pass
        return loss.item() if theta.ndim == 1 else loss.detach().double().numpy(), gradient.numpy()

    return evaluate


def _across(problem: Problem, device: torch.device) -> Objective:
    """The same on a device with memory of its own."""
    arrays = tuple(_shared(array).to(device, copy=True) for array in problem.arrays)
    value, backward = problem.value, _ENGINE.run_backward

    def evaluate(theta: Array) -> tuple[Any, Array]:
        leaf = torch.tensor(theta.copy(order="C"), dtype=arrays[0].dtype, device=device, requires_grad=True)
        with _full_precision():
            loss = value(leaf, *arrays)  # forward pass and loss
            one = torch.ones_like(loss)
            (gradient,) = backward((loss,), (one,), False, False, (leaf,), False, accumulate_grad=False)  # backward pass
        return loss.item() if theta.ndim == 1 else loss.detach().cpu().double().numpy(), gradient.cpu().numpy()

    return evaluate


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products of float32 with all their digits, and afterwards as the program around has chosen."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _shared(array: Array) -> torch.Tensor:
    """The array as a tensor over the same memory; copied where it is read-only, which PyTorch does not know."""
    return torch.from_numpy(array if array.flags.writeable else array.copy(order="K"))


def _moved(array: Array) -> torch.Tensor:
    """The array as a tensor over the same memory; copied where it is read-only, or not aligned.

    The last bits of MKL's products depend on where in memory an array begins: on a multiple of 64 bytes they are always the
    same; elsewhere they were seen to differ.
    """
    tensor = _shared(array)
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()
