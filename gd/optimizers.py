"""Optimizers: pairs of pure functions that turn gradients into steps, their state passed openly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gd.data import Array

__all__ = ["Optimizer", "gradient_descent"]


class Optimizer(NamedTuple):
    """How a gradient becomes a step."""

    init: Callable[[Array], Any]  # θ (p,) -> state
    update: Callable[[Array, Any], tuple[Array, Any]]  # (∇J(θ) (p,), state) -> (step (p,), state); θ + step comes next


def gradient_descent(learning_rate: float) -> Optimizer:
    """Steepest descent with a fixed step: θ ← θ - α ∇J(θ). It has no state.

    Args:
        learning_rate: α, above 0.

    Raises:
        ValueError: if the learning rate is not above 0.

    Source:
        Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées.
    """
    if not learning_rate > 0:
        raise ValueError(f"the learning rate must be above 0, not {learning_rate}")

    def init(theta: Array) -> None:
        return None

    def update(gradient: Array, state: None) -> tuple[Array, None]:
        return gradient * -learning_rate, state

    return Optimizer(init, update)
