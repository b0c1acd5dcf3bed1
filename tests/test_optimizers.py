"""How gradients become steps."""

import numpy as np
import pytest

from gd.optimizers import gradient_descent


def test_gradient_descent_steps_against_the_gradient() -> None:
    """θ - α g for α = 0.1, g = (1, -2) is a step of (-0.1, 0.2), and there is no state."""
    optimizer = gradient_descent(0.1)
    step, state = optimizer.update(np.array([1.0, -2.0]), optimizer.init(np.zeros(2)))
    assert [-0.1, 0.2] == step.tolist()
    assert state is None


def test_a_step_keeps_the_precision() -> None:
    """A float32 gradient gives a float32 step: nothing is widened on the way."""
    step, _ = gradient_descent(0.1).update(np.ones(2, np.float32), None)
    assert np.float32 == step.dtype


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_must_be_above_zero(rate: float) -> None:
    """A step of no length or of the wrong direction is refused, and the error names it."""
    with pytest.raises(ValueError, match=f"must be above 0, not {rate}"):
        gradient_descent(rate)
