"""How gradients become steps, held against torch.optim and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gd import optimizers as ours
from gd.backends import get
from gd.data import Array, Dataset
from gd.optimizers import Optimizer, Schedule, gradient_descent
from gd.problems import design, least_squares
from gd.training import Outcome, train

Makers = tuple[Callable[..., Optimizer], Callable[..., Any]]

PAIRS: dict[str, Makers] = {
    "gradient_descent": (ours.gradient_descent, torch.optim.SGD),
    "momentum": (ours.momentum, partial(torch.optim.SGD, momentum=0.9)),
    "momentum 0.5": (partial(ours.momentum, decay=0.5), partial(torch.optim.SGD, momentum=0.5)),
    "nesterov": (ours.nesterov, partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    "adagrad": (ours.adagrad, torch.optim.Adagrad),
    "rmsprop": (ours.rmsprop, torch.optim.RMSprop),
    "rmsprop 0.9": (partial(ours.rmsprop, decay=0.9, epsilon=1e-6), partial(torch.optim.RMSprop, alpha=0.9, eps=1e-6)),
    "adam": (ours.adam, torch.optim.Adam),
    "adam 0.5": (
        partial(ours.adam, decay=0.5, square_decay=0.9, epsilon=1e-6), partial(torch.optim.Adam, betas=(0.5, 0.9), eps=1e-6),
    ),
    "adamw": (ours.adamw, torch.optim.AdamW),
    "adamw 0.1": (partial(ours.adamw, weight_decay=0.1), partial(torch.optim.AdamW, weight_decay=0.1)),
}  # fmt: skip
"""Each beside PyTorch's own, as (ours, theirs)."""

EVERY: dict[str, Callable[[Any], Optimizer]] = {
    name: getattr(ours, name)
    for name in ("gradient_descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
}  # fmt: skip


def walk(optimizer: Optimizer, theta: Array, gradients: Array) -> Array:
    """Where each step leads, (k, p), by gradients that are given."""
    state, way = optimizer.init(theta), []
    for gradient in gradients:
        step, state = optimizer.update(gradient, state, theta)
        theta = theta + step
        way.append(theta)
    return np.array(way)


def walk_with_torch(make: Callable[..., Any], rate: float, theta: Array, gradients: Array, factors: Any = None) -> Array:
    """The same by torch.optim, with a rate that a LambdaLR multiplies where factors are given."""
    leaf = torch.tensor(theta, requires_grad=True)
    optimizer, way = make([leaf], lr=rate), []
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors) if factors else None
    for gradient in gradients:
        leaf.grad = torch.tensor(gradient)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        way.append(leaf.detach().numpy().copy())
    return np.array(way)


@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=20)
@given(
    p=st.integers(1, 8), power=st.integers(-6, 6), rate=st.floats(1e-4, 1.0), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_hundred_steps_as_torch_takes_them(name: str, p: int, power: int, rate: float, seed: int) -> None:
    """For every shape, scale and rate 100 steps lead where torch.optim's lead, to 1e-12 of the way's own size."""
    mine, theirs = PAIRS[name]
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(100, p)) * 10.0**power * np.linspace(1, 0.01, 100)[:, None]
    theta = rng.normal(size=p)
    expected = walk_with_torch(theirs, rate, theta, gradients)
    size = np.maximum(np.abs(theta), np.abs(expected).max(axis=0))
    np.testing.assert_array_less(np.abs(walk(mine(rate), theta, gradients) - expected) / size, 1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_a_descent_as_torch_walks_it(name: str, plane: Dataset) -> None:
    """On a real loss, whose gradients follow from the steps, 100 epochs of the loop and of torch's own pass the same weights.

    The rate is so small that none arrives: where a gradient vanishes, what divides by its size enlarges its rounding.
    """
    mine, theirs = PAIRS[name]
    A = design(plane.X, True)
    trace = train(get("numpy").objective(least_squares(A, plane.y)), 4, mine(0.003), epochs=100)
    X, y = torch.tensor(A), torch.tensor(plane.y)
    leaf = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = theirs([leaf], lr=0.003)
    for t in range(100):
        np.testing.assert_allclose(trace.theta[t], leaf.detach().numpy(), rtol=1e-12, atol=1e-14)
        optimizer.zero_grad()
        ((X @ leaf - y) ** 2).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    np.testing.assert_allclose(trace.theta[100], leaf.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", EVERY)
def test_a_scheduled_rate_as_torch_schedules_it(name: str) -> None:
    """Under a cosine with a warm-up each step has the rate that the schedule names for its epoch."""
    schedule = ours.warm_up(ours.cosine(1.0, 40), 5)
    gradients = np.random.default_rng(3).normal(size=(39, 3))
    mine = walk(EVERY[name](lambda t: 0.1 * schedule(t)), np.ones(3), gradients)
    theirs = walk_with_torch(PAIRS[name][1], 0.1, np.ones(3), gradients, schedule)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_step_keeps_the_precision(name: str) -> None:
    """A float32 gradient gives float32 steps, from a fixed rate and from a schedule: nothing is widened on the way."""
    for rate in (0.1, ours.cosine(0.1, 10)):
        optimizer = EVERY[name](rate)
        theta = np.ones(2, np.float32)
        step, state = optimizer.update(theta, optimizer.init(theta), theta)
        step, _ = optimizer.update(step, state, theta)
        assert np.float32 == step.dtype


@pytest.mark.parametrize("name", EVERY)
def test_an_update_changes_nothing_that_it_is_given(name: str) -> None:
    """Gradient, state and θ are what they were: the same step can be taken again."""
    optimizer, theta, gradient = EVERY[name](0.1), np.ones(2), np.array([1.0, -2.0])
    _, state = optimizer.update(gradient, optimizer.init(theta), theta)
    first = optimizer.update(gradient, state, theta)[0]
    assert ([1.0, 1.0], [1.0, -2.0]) == (theta.tolist(), gradient.tolist())
    assert first.tolist() == optimizer.update(gradient, state, theta)[0].tolist()


def test_gradient_descent_steps_against_the_gradient() -> None:
    """θ - α g for α = 0.1, g = (1, -2) is a step of (-0.1, 0.2), and there is no state."""
    optimizer, theta = gradient_descent(0.1), np.zeros(2)
    step, state = optimizer.update(np.array([1.0, -2.0]), optimizer.init(theta), theta)
    assert [-0.1, 0.2] == step.tolist()
    assert state is None


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_must_be_above_zero(name: str, rate: float) -> None:
    """A step of no length, of no end or of the wrong direction is refused, and the error names it."""
    with pytest.raises(ValueError, match=f"must be above 0, not {rate}"):
        EVERY[name](rate)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ours.momentum(0.1, 1.0), "decay must be at least 0 and below 1, not 1.0"),
        (lambda: ours.nesterov(0.1, -0.1), "decay must be at least 0 and below 1, not -0.1"),
        (lambda: ours.rmsprop(0.1, 1.5), "decay must be at least 0 and below 1, not 1.5"),
        (lambda: ours.adam(0.1, square_decay=1.0), "square_decay must be at least 0 and below 1, not 1.0"),
        (lambda: ours.adagrad(0.1, 0.0), "epsilon must be above 0, not 0.0"),
        (lambda: ours.adamw(0.1, weight_decay=-1.0), "weight_decay must be at least 0, not -1.0"),
        (lambda: ours.proximal(gradient_descent(0.1), 0.1, -1.0), "the penalty must be at least 0, not -1.0"),
        (lambda: ours.stepwise(0.1, 0), "the rate must stay for at least 1 epoch, not 0"),
        (lambda: ours.stepwise(0.1, 5, 0.0), "the factor must be above 0 and at most 1, not 0.0"),
        (lambda: ours.exponential(0.1, 1.1), "the factor must be above 0 and at most 1, not 1.1"),
        (lambda: ours.cosine(0.1, 0), "a cosine needs at least 1 epoch and a least rate from 0 to 0.1, not 0 and 0.0"),
        (lambda: ours.cosine(0.1, 5, 0.2), "a cosine needs at least 1 epoch and a least rate from 0 to 0.1, not 5 and 0.2"),
        (lambda: ours.warm_up(ours.constant(0.1), -1), "a warm-up cannot take -1 epochs"),
    ],
)
def test_a_setting_outside_of_its_range_is_refused(make: Callable[[], object], said: str) -> None:
    """The error names the setting, the value and the range."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the whole text is compared)
        make()
    assert said == str(raised.value)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ours.constant(0.5), [0.5, 0.5, 0.5, 0.5, 0.5]),
        (ours.stepwise(1.0, 2, 0.5), [1.0, 1.0, 0.5, 0.5, 0.25]),
        (ours.exponential(1.0, 0.5), [1.0, 0.5, 0.25, 0.125, 0.0625]),
        (ours.cosine(1.0, 4), [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
        (ours.cosine(1.0, 2, 0.2), [1.0, 0.6, 0.2, 0.2, 0.2]),
        (ours.warm_up(ours.constant(1.0), 4), [0.25, 0.5, 0.75, 1.0, 1.0]),
        (ours.warm_up(ours.exponential(1.0, 0.5), 2), [0.5, 0.5, 0.25, 0.125, 0.0625]),
    ],
)
def test_a_schedule_by_hand(schedule: Schedule, expected: list[float]) -> None:
    """Rates of the first five epochs, worked out by hand from each formula."""
    np.testing.assert_allclose([schedule(t) for t in range(5)], expected, rtol=1e-15, atol=1e-16)


@settings(deadline=None, max_examples=40)
@given(beta=st.floats(0, 0.99), share=st.floats(0.01, 0.99), curvature=st.floats(0.01, 100))
def test_heavy_ball_on_a_parabola_by_its_recurrence(beta: float, share: float, curvature: float) -> None:
    """Below its stable limit 2 (1 + β)/λ each epoch is θ″ = (1 + β - α λ) θ′ - β θ, which stays bounded."""
    rate = share * 2 * (1 + beta) / curvature
    optimizer, theta = ours.momentum(rate, beta), np.array([1.0])
    state, way = optimizer.init(theta), [1.0, 1.0]
    for _ in range(60):
        step, state = optimizer.update(curvature * theta, state, theta)
        theta = theta + step
        expected = (1 + beta - rate * curvature) * way[-1] - beta * way[-2]
        way.append(float(theta[0]))
        assert pytest.approx(expected, abs=1e-9) == way[-1]
    assert max(map(abs, way)) < 250  # a Jordan block grows like t before it shrinks


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_needs_fewer_epochs_where_curvatures_differ(name: str) -> None:
    """On a valley of condition 100 with the rate 1/λmax momentum comes to the tolerance in fewer than half of the epochs."""
    X = np.diag([1.0, 0.1]) * math.sqrt(2)
    objective = get("numpy").objective(least_squares(X, X @ np.ones(2)))
    epochs = {
        way: len(train(objective, 2, EVERY[way](0.5), epochs=10_000, tolerance=1e-8)) for way in ("gradient_descent", name)
    }
    assert epochs[name] < epochs["gradient_descent"] / 2


def test_proximal_descent_ends_at_the_lasso_by_hand() -> None:
    """On independent columns the L1 optimum is the least-squares weight nearer to zero by κ/λ, and exactly zero below it.

    Three columns of a Hadamard matrix: J = mean(r²) has λ = 2 and the optimum (3, -1, 0.1); with κ = 0.5 that becomes
    (2.75, -0.75, 0).
    """
    X = np.array([[1.0, 1, 1], [1, -1, 1], [1, 1, -1], [1, -1, -1]])
    objective = get("numpy").objective(least_squares(X, X @ [3.0, -1.0, 0.1]))
    trace = train(objective, 3, ours.proximal(gradient_descent(0.3), 0.3, 0.5), epochs=200)
    assert Outcome.EXHAUSTED == trace.outcome
    np.testing.assert_allclose(trace.theta[-1], [2.75, -0.75, 0.0], rtol=1e-14)
    assert 0 == trace.theta[-1, 2]


def test_a_penalty_leaves_out_what_has_none() -> None:
    """With a penalty of 0 for the last weight that one takes the plain step."""
    optimizer, theta = ours.proximal(gradient_descent(0.1), 0.1, np.array([1.0, 0.0])), np.array([0.05, 0.05])
    step, _ = optimizer.update(np.zeros(2), optimizer.init(theta), theta)
    assert [0.0, 0.05] == (theta + step).tolist()
