"""PyTorch, with gradients by autograd."""

from __future__ import annotations

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


def objective(problem: Problem) -> Objective:
    """Evaluate the problem's loss and let autograd differentiate it; the hand-derived gradient is never called.

    The arrays move over once; only θ and ∇J(θ) cross the border at each call. The graph's one leaf is bound once to memory
    that NumPy sees too, and there is no gradient to set to zero, since none is accumulated. It is bound anew when θ changes
    its shape. For many θ what is differentiated is the sum of their losses: no loss depends on another's row.
    """
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


def _moved(array: Array) -> torch.Tensor:
    """The array as a tensor over the same memory; copied where it is read-only, or not aligned.

    The last bits of MKL's products depend on where in memory an array begins: on a multiple of 64 bytes they are always the
    same; elsewhere they were seen to differ.
    """
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy(order="K"))
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()
