"""NumPy, with gradients derived by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from gd.backends import Objective
from gd.data import Array
from gd.problems import Problem

TITLE = "NumPy"


def objective(problem: Problem) -> Objective:
    """Evaluate the problem with the gradient that stands beside its loss."""
    arrays, value_and_gradient = problem.arrays, problem.value_and_gradient

    def evaluate(theta: Array) -> tuple[Any, Array]:
        value, gradient = value_and_gradient(theta, *arrays)
        return float(value) if theta.ndim == 1 else value.astype(np.float64, copy=False), gradient

    return evaluate
