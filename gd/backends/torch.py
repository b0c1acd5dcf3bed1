"""PyTorch, with gradients by autograd."""

from __future__ import annotations

import numpy as np
import torch

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "PyTorch"


def objective(problem: Problem) -> Objective:
    """Evaluate the problem's loss and let autograd differentiate it; the hand-derived gradient is never called.

    The arrays are handed over once and not copied; only θ and ∇J(θ) cross the border at each call. The graph's one leaf is
    bound once to a NumPy buffer, and `torch.autograd.grad` leaves nothing to set to zero.
    """
    arrays = tuple(torch.from_numpy(array) for array in problem.arrays)
    value, gradient_of = problem.value, torch.autograd.grad
    buffer: Array | None = None
    leaf: torch.Tensor | None = None

    def evaluate(theta: Array) -> tuple[float, Array]:
        nonlocal buffer, leaf
        if buffer is None or leaf is None:
            buffer = np.empty_like(theta)
            leaf = torch.from_numpy(buffer).requires_grad_()
        buffer[:] = theta
        loss = value(leaf, *arrays)  # forward pass and loss
        (gradient,) = gradient_of(loss, leaf)  # backward pass
        return loss.item(), gradient.numpy()

    return evaluate
