"""PyTorch, with gradients by autograd."""

from __future__ import annotations

import torch

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "PyTorch"

_ALIGNMENT = 64  # bytes


def objective(problem: Problem) -> Objective:
    """Evaluate the problem's loss and let autograd differentiate it; the hand-derived gradient is never called.

    The arrays move over once; only θ and ∇J(θ) cross the border at each call. The graph's one leaf is bound once to memory
    that NumPy sees too, and `torch.autograd.grad` leaves nothing to set to zero.
    """
    arrays = tuple(map(_moved, problem.arrays))
    value, gradient_of = problem.value, torch.autograd.grad
    leaf = torch.empty(0)
    shared: Array = leaf.numpy()

    def evaluate(theta: Array) -> tuple[float, Array]:
        nonlocal leaf, shared
        if shared.shape != theta.shape:
            leaf = torch.empty(theta.shape, dtype=arrays[0].dtype).requires_grad_()
            shared = leaf.detach().numpy()
        shared[:] = theta
        loss = value(leaf, *arrays)  # forward pass and loss
        (gradient,) = gradient_of(loss, leaf)  # backward pass
        return loss.item(), gradient.numpy()

    return evaluate


def _moved(array: Array) -> torch.Tensor:
    """The array as a tensor over the same memory; copied where it is read-only, or not aligned.

    The last bits of MKL's products depend on where in memory an array begins: on a multiple of 64 bytes they are always the
    same; elsewhere they were seen to differ.
    """
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy(order="K"))
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()
