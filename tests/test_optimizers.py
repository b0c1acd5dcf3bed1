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
from gd.backends import Objective, available, get
from gd.data import Array, Dataset, bundled
from gd.optimizers import Optimizer, Schedule, Search, gradient_descent, line_search
from gd.problems import Problem, design, huber, least_squares, logistic, poisson
from gd.reading import read_csv
from gd.training import Outcome, Trace, train

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
        (lambda: line_search(lambda theta: (0.0, theta), 0.0), "the learning rate must be above 0, not 0.0"),
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


def above_the_median(X: Array, y: Array) -> Problem:
    """A logistic loss of a table's target in two classes."""
    return logistic(X, (y > np.median(y)) * 1.0)


TABLES: dict[str, tuple[str, Callable[[Array, Array], Problem]]] = {
    "mse": ("penguins", least_squares),
    "huber": ("penguins", partial(huber, delta=300.0)),
    "logistic": ("penguins", above_the_median),
    "poisson": ("penguins", poisson),
    "mse, iris": ("iris", least_squares),
    "mse, diabetes": ("diabetes", least_squares),
}
"""Losses over real tables, whose features are standardised: body masses of 342 penguins, petal widths of 150 irises, and the
course of 442 patients' diabetes."""


def real(name: str, dtype: str = "float64") -> tuple[Problem, int]:
    """One of them, and its number of parameters."""
    from sklearn import datasets  # noqa: PLC0415

    table, make = TABLES[name]
    if table == "penguins":
        data = read_csv(bundled("penguins"), "body_mass_g")
        X, y = data.X, data.y
    elif table == "iris":
        X, y = datasets.load_iris().data[:, :3], datasets.load_iris().data[:, 3]
    else:
        X, y = datasets.load_diabetes(return_X_y=True)
    A = design((X - X.mean(axis=0)) / X.std(axis=0), True, dtype)
    return make(A, y.astype(dtype)), A.shape[1]


def search_for(
    objective: Objective, parameters: int, tolerance: float = 1e-10, dtype: str = "float64", epochs: int = 10_000
) -> tuple[Trace, list[float]]:
    """A descent by line search, and the rate of each of its steps."""
    rates: list[float] = []
    steps = line_search(objective, seen=rates.append)
    trace = train(objective, parameters, steps, epochs=epochs, tolerance=tolerance, dtype=dtype)
    return trace, rates[: len(trace)]


class Counted:
    """An objective that counts how often it is asked."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.calls = objective, 0

    def __call__(self, theta: Array) -> tuple[Any, Array]:
        """Loss and gradient, and one call more."""
        self.calls += 1
        return self.objective(theta)


def test_a_line_search_by_hand() -> None:
    """On (θ - 1)² from 0 the rate 1 leads to 2, where J is 1 again; its half leads to 1, and from there nowhere."""
    objective = get("numpy").objective(least_squares(np.ones((1, 1)), np.ones(1)))
    optimizer, theta = line_search(objective), np.zeros(1)
    step, state = optimizer.update(objective(theta)[1], optimizer.init(theta), theta)
    assert ([1.0], 0.5, 0.0) == (step.tolist(), state.rate, state.loss)
    step, state = optimizer.update(objective(theta + step)[1], state, theta + step)
    assert ([0.0], 0.0) == (step.tolist(), state.rate)


@pytest.mark.parametrize("name", TABLES)
def test_a_line_search_flattens_the_gradient_on_real_tables(name: str) -> None:
    """From zero weights and a first rate of 1 the gradient norm falls to 1e-10 of its first value in every backend.

    Near the optimum the loss no longer shows the decrease: its last change is below its rounding. All backends take the same
    rates to the end, and their weights agree to 1e-11.
    """
    problem, parameters = real(name)
    found = {backend: search_for(get(backend).objective(problem), parameters) for backend in available()}
    expected, rates = found["numpy"]
    spacing = np.spacing(expected.loss[-1])
    assert -0.5 * rates[-1] * expected.gradient_norm[-1] ** 2 > -spacing
    for trace, others in found.values():
        assert Outcome.CONVERGED == trace.outcome
        assert rates == others
        np.testing.assert_allclose(trace.theta[-1], expected.theta[-1], rtol=1e-11)


@pytest.mark.parametrize("name", TABLES)
def test_a_line_search_in_float32(name: str) -> None:
    """The gradient norm falls to 1e-5 of its first value, which is the tolerance of float32."""
    problem, parameters = real(name, "float32")
    trace, _ = search_for(get("numpy").objective(problem), parameters, 1e-5, "float32")
    assert Outcome.CONVERGED == trace.outcome
    assert np.float32 == trace.theta.dtype


@pytest.mark.parametrize("name", TABLES)
def test_every_accepted_rate_is_one_that_armijo_accepts(name: str) -> None:
    """Asked anew each step falls enough and then rises no steeper than 0.8 of what it fell, and twice its rate does not.

    Or twice would be more than twice the last one; and where the loss does not show the fall only the rise is asked for.
    """
    problem, parameters = real(name)
    objective = get("numpy").objective(problem)
    trace, rates = search_for(objective, parameters, 1e-8)
    tested, last = 0, 0.5
    for theta, rate, loss in zip(trace.theta[:-1], rates, trace.loss, strict=True):
        gradient = objective(theta)[1]
        square = float(gradient @ gradient)
        for alpha in {rate, min(2 * rate, 2 * last)}:
            with np.errstate(over="ignore", invalid="ignore"):
                value, ahead = objective(theta - alpha * gradient)
            falls = value <= loss - 1e-4 * alpha * square or abs(value - loss) <= math.sqrt(np.finfo(float).eps) * loss
            accepted = bool(falls and math.isfinite(value) and -float(ahead @ gradient) <= 0.8 * square)
            assert (alpha == rate) == accepted
            tested += 1
        last = rate
    assert tested >= 20


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0.5, 2.5))
def test_no_rate_rests_below_the_stable_limit(share: float) -> None:
    """On a circle of curvature λ each first rate, 1.9999/λ among them, comes to the optimum in 120 epochs: 0.8¹²⁰ is 2e-12."""
    A = np.eye(2) * math.sqrt(2)  # λ = 2
    objective = get("numpy").objective(least_squares(A, np.array([3.0, -4.0])))
    trace = train(objective, 2, line_search(objective, share / 2), epochs=120, tolerance=1e-10)
    assert Outcome.CONVERGED == trace.outcome


def test_poisson_converges_from_zero_where_a_fixed_rate_overflows() -> None:
    """Counts of 4,000 take 1/λmax of the features beyond what e^z holds; the search comes down to a rate that does not."""
    problem, parameters = real("poisson")
    A, objective = problem.arrays[0], get("numpy").objective(problem)
    steepest = float(np.linalg.eigvalsh(A.T @ A / len(A))[-1])
    assert Outcome.DIVERGED == train(objective, parameters, gradient_descent(1 / steepest), epochs=100).outcome
    with np.errstate(over="ignore", invalid="ignore"):
        first = objective(-objective(np.zeros(parameters))[1])[0]
    assert math.inf == first  # the very first trial
    trace, rates = search_for(objective, parameters)
    assert Outcome.CONVERGED == trace.outcome
    assert max(rates) < 1e-2 / steepest


def test_the_rate_grows_without_end_where_the_gradient_vanishes() -> None:
    """A class that a line cuts off has no finite optimum: rates double beyond 1e300, and every number stays finite."""
    A = design(np.array([[-1.0], [1.0]]), True)
    trace, rates = search_for(get("numpy").objective(logistic(A, np.array([0.0, 1.0]))), 2, tolerance=0, epochs=1500)
    assert max(rates) > 1e100
    assert np.isfinite(trace.theta).all()
    assert np.isfinite(rates).all()
    assert trace.loss[-1] < 1e-100


@settings(deadline=None, max_examples=40)
@given(power=st.integers(-5, 5), rate=st.integers(-6, 6), seed=st.integers(0, 2**32 - 1))
def test_a_line_search_needs_no_scale(power: int, rate: int, seed: int) -> None:
    """For every scale of the features and every first rate it converges, and no epoch raises the loss beyond rounding."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(30, 3)) * 10.0**power
    objective = get("numpy").objective(least_squares(np.asfortranarray(A), rng.normal(size=30)))
    trace = train(objective, 3, line_search(objective, 10.0**rate), epochs=5000, tolerance=1e-10)
    assert Outcome.CONVERGED == trace.outcome
    assert (np.diff(trace.loss) <= 1e-14 * trace.loss[:-1]).all()


def test_a_search_knows_the_loss_that_it_came_from() -> None:
    """Each step costs its trials and no evaluation more, but for the first; from elsewhere J is evaluated anew."""
    problem, parameters = real("mse")
    objective = get("numpy").objective(problem)
    counted, theta, last = Counted(objective), np.zeros(parameters), 0.5
    optimizer = line_search(counted)
    state = optimizer.init(theta)
    for known in (0, 1, 1, 1, 1):
        gradient = objective(theta)[1]
        before = counted.calls
        step, state = optimizer.update(gradient, state, theta)
        assert 1 + round(math.log2(2 * last / state.rate)) == counted.calls - before - (1 - known)
        theta, last = theta + step, state.rate
    elsewhere = np.ones(parameters)
    step, _ = optimizer.update(objective(elsewhere)[1], state, elsewhere)
    fresh, _ = optimizer.update(objective(elsewhere)[1], Search(state.rate, elsewhere, None), elsewhere)
    assert fresh.tolist() == step.tolist()


def test_a_search_that_finds_no_decrease_ends() -> None:
    """Nearer than 2⁻⁶⁰ to the foot of |θ| every trial leads up the other side: a step of zero, and later ones untried."""
    counted = Counted(lambda theta: (float(np.abs(theta).sum()), np.sign(theta)))
    rates: list[float] = []
    optimizer, theta = line_search(counted, seen=rates.append), np.array([2.0**-70])
    step, state = optimizer.update(np.ones(1), optimizer.init(theta), theta)
    assert ([0.0], 62) == (step.tolist(), counted.calls)  # J(θ), and the rates 1 to 2⁻⁶⁰
    step, _ = optimizer.update(np.ones(1), state, theta)
    assert ([0.0], 62, [0.0, 0.0]) == (step.tolist(), counted.calls, rates)


@pytest.mark.parametrize("beyond", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_decrease(beyond: float) -> None:
    """A trial beyond the edge of where the loss is a number is halved like one that rises."""
    optimizer = line_search(lambda theta: (float(theta @ theta) if theta[0] > 0 else beyond, 2 * theta))
    theta = np.ones(1)
    step, state = optimizer.update(2 * theta, optimizer.init(theta), theta)
    assert ([-0.5], 0.25) == (step.tolist(), state.rate)  # 1 leads to -1, and 1/2 to 0


def test_a_search_changes_nothing_that_it_is_given() -> None:
    """Gradient, state and θ are what they were: the same step can be taken again, and `seen` is told each time."""
    problem, parameters = real("mse")
    objective, rates = get("numpy").objective(problem), list[float]()
    optimizer, theta = line_search(objective, seen=rates.append), np.ones(parameters)
    _, state = optimizer.update(objective(theta)[1], optimizer.init(theta), theta)
    kept = (state.rate, state.theta.tolist(), state.loss)
    gradient = objective(theta)[1]
    first, _ = optimizer.update(gradient, state, theta)
    second, _ = optimizer.update(gradient, state, theta)
    assert first.tolist() == second.tolist()
    assert kept == (state.rate, state.theta.tolist(), state.loss)
    assert [1.0] * parameters == theta.tolist()
    assert rates[1] == rates[2]
