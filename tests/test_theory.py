"""What exact arithmetic says of a descent, against the recurrences step by step and against descents on real tables."""

from __future__ import annotations

import math
from typing import Literal

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gd import backends
from gd.data import Array
from gd.diagnosis import Spectrum, spectrum
from gd.optimizers import Optimizer, gradient_descent, momentum, nesterov
from gd.problems import design, least_squares, ridge
from gd.theory import PLAIN, Law
from gd.training import Outcome, Trace, train
from tests.tables import table

Name = Literal["gradient-descent", "momentum", "nesterov"]
OPTIMIZERS: tuple[Name, ...] = ("gradient-descent", "momentum", "nesterov")


def named(law: Law) -> str:
    """How a test is called."""
    return f"{law.optimizer}-{law.decay}"


LAWS = (PLAIN, Law("momentum", 0.9), Law("momentum", 0.3), Law("nesterov", 0.9), Law("nesterov", 0.3))
EPSILON = 2.0**-52


def stepping(law: Law, rate: float) -> Optimizer:
    """The optimizer that a law is of."""
    if law.optimizer == "gradient-descent":
        return gradient_descent(rate)
    return (momentum if law.optimizer == "momentum" else nesterov)(rate, law.decay)


def steps(law: Law, rate: float, curvature: float, epochs: int) -> list[mpmath.mpf]:
    """θ after 0, 1, … epochs of the optimizer's own two lines from θ = 1 on ½ λ θ², in sixty digits."""
    with mpmath.workdps(60):
        alpha, curved, beta = mpmath.mpf(rate), mpmath.mpf(curvature), mpmath.mpf(law.decay)
        theta, v = mpmath.mpf(1), mpmath.mpf(0)
        seen = [theta]
        for _ in range(epochs):
            gradient = curved * theta
            v = beta * v + gradient
            theta -= alpha * {"gradient-descent": gradient, "momentum": v, "nesterov": gradient + beta * v}[law.optimizer]
            seen.append(theta)
    return seen


def radius(law: Law, rate: float, curvature: float) -> float:
    """The spectral radius of one epoch as a matrix, of (θ, v) ↦ (θ, v) by the optimizer's own two lines."""
    beta = law.decay if law.optimizer != "gradient-descent" else 0.0
    along = {"gradient-descent": (curvature, 0.0), "momentum": (curvature, beta), "nesterov": ((1 + beta) * curvature, beta**2)}
    of_theta, of_v = along[law.optimizer]  # the direction of the step, of θ and of the old v
    epoch = np.array([[1 - rate * of_theta, -rate * of_v], [curvature, beta]])
    return float(np.abs(np.linalg.eigvals(epoch)).max())


@settings(deadline=None, max_examples=300)
@given(
    optimizer=st.sampled_from(OPTIMIZERS), decay=st.floats(0, 0.999), share=st.floats(0, 1.05), power=st.integers(-8, 8),
    epochs=st.integers(0, 60),
)  # fmt: skip
@example(optimizer="momentum", decay=0.0, share=0.5, power=0, epochs=60)  # a + b and f are 0: there after one step
@example(optimizer="nesterov", decay=0.5, share=2 / 3, power=0, epochs=60)  # 1 - αλ = 0, both roots 0
@example(optimizer="nesterov", decay=1e-300, share=0.3, power=0, epochs=60)
@example(optimizer="momentum", decay=0.25, share=1.0, power=0, epochs=60)  # at the limit: one root is -1
@example(optimizer="gradient-descent", decay=0.0, share=1.0, power=3, epochs=59)
def test_distances_are_those_of_every_step(optimizer: Name, decay: float, share: float, power: int, epochs: int) -> None:
    """For every curvature, decay and rate from 0 to above the limit they are what the steps lead to, one by one.

    αλ and the coefficients are rounded to ε, which a double root z enlarges to t³ z^(t-2) in the t-th power.
    """
    law, curvature = Law(optimizer, decay), 10.0**power
    rate = share * law.stable_below(curvature)
    expected = steps(law, rate, curvature, epochs)
    found = law.distances(rate, np.array([curvature]), np.arange(epochs + 1))[:, 0]
    z = max(law.contraction(rate, np.array([curvature])), 1e-7)
    for t, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert abs(float(one - mpmath.mpf(float(other)))) <= 16 * EPSILON * (t + 1) ** 3 * max(z ** max(t - 2, 0), z**t)


@settings(deadline=None, max_examples=60)
@given(root=st.integers(1, 63), epochs=st.integers(1, 2000))
def test_a_double_root_keeps_its_digits(root: int, epochs: int) -> None:
    """αλ = (1 - √β)² of the heavy ball, with √β = k/64, has no rounding: eₜ = √βᵗ (1 + t (1 - √β))."""
    s = root / 64
    law = Law("momentum", s * s)
    found = float(law.distances((1 - s) ** 2, np.ones(1), np.array([epochs]))[0, 0])
    # of (c + d t) sᵗ with e₀ = 1 and e₁ = 1 - (1 - s)²: c = 1, d = (1 - (1 - s)²)/s - 1 = 1 - s
    assert pytest.approx((1 + (1 - s) * epochs) * mpmath.mpf(s) ** epochs, rel=1e-12, abs=1e-300) == found


@pytest.mark.parametrize("root", [16, 40, 58, 63])
@pytest.mark.parametrize("epochs", [1, 2, 5, 20, 100])
def test_a_double_root_on_the_other_side_keeps_its_digits_too(root: int, epochs: int) -> None:
    """αλ = (1 + √β)², where the heavy ball's automatic rate puts the steepest direction: eₜ = (-√β)ᵗ (1 + t (1 + √β))."""
    s = root / 64
    found = float(Law("momentum", s * s).distances((1 + s) ** 2, np.ones(1), np.array([epochs]))[0, 0])
    assert pytest.approx((1 + (1 + s) * epochs) * mpmath.mpf(-s) ** epochs, rel=1e-12, abs=1e-300) == found


def test_distances_without_a_rate_stay() -> None:
    """No step is taken at rate 0, nor in a direction without curvature, by any optimizer, after whatever number of epochs."""
    epochs = np.array([0, 1, 2, 1000, 10**6])
    for law in LAWS:
        np.testing.assert_allclose(law.distances(0.0, np.array([0.0, 3.0]), epochs), 1.0, rtol=1e-9)
        np.testing.assert_allclose(law.distances(0.1, np.array([0.0]), epochs), 1.0, rtol=1e-9)


def descended(name: str, law: Law, share: float, epochs: int) -> tuple[Spectrum, float, Trace]:
    """A least-squares descent on a real table at so large a share of the stable limit, with its spectrum and rate."""
    X, y = table(name)
    A = design(X, True)
    found = spectrum(A, y)
    rate = share * law.stable_below(float(found.eigenvalues[-1]))
    objective = backends.get("numpy").objective(least_squares(A, y))
    return found, rate, train(objective, A.shape[1], stepping(law, rate), epochs=epochs, stop_early=False)


@pytest.mark.parametrize("name", ["diabetes", "cancer", "visits"])
@pytest.mark.parametrize("law", LAWS, ids=named)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_every_epoch_of_a_real_table_is_predicted(name: str, law: Law, share: float) -> None:
    """The excess loss after each of 1000 epochs is the predicted one, within 1e-9 of the first excess and of itself."""
    found, rate, trace = descended(name, law, share, 1000)
    measured, predicted = found.excess(trace.theta), found.predicted_excess(rate, np.arange(1001), law)
    assert np.abs(measured - predicted).max() <= 1e-9 * measured[0]
    above = predicted > 1e-12 * measured[0]
    np.testing.assert_allclose(measured[above], predicted[above], rtol=1e-5)


def held(law: Law, share: float) -> Trace:
    """A descent with a penalty, after which no direction of the table is slow, at a share of the stable limit."""
    X, y = table("diabetes")
    A = design(X, False)
    found = spectrum(A, y - y.mean(), 0.5, np.ones(10))
    objective = backends.get("numpy").objective(ridge(least_squares(A, y - y.mean()), 0.5, np.ones(10)))
    steps = stepping(law, share * law.stable_below(float(found.eigenvalues[-1])))
    return train(objective, 10, steps, epochs=6000, tolerance=1e-8)


@pytest.mark.parametrize("law", [*LAWS, Law("momentum", 0.0), Law("nesterov", 0.0)], ids=named)
def test_the_limit_parts_descents_that_converge_from_those_that_diverge(law: Law) -> None:
    """Half a per cent below the limit a training converges, and half a per cent above it diverges."""
    below, above = held(law, 0.995), held(law, 1.005)
    assert (Outcome.CONVERGED, Outcome.DIVERGED) == (below.outcome, above.outcome)


@settings(deadline=None, max_examples=200)
@given(optimizer=st.sampled_from(OPTIMIZERS), decay=st.floats(0, 0.999), power=st.integers(-6, 6))
def test_at_the_limit_nothing_shrinks(optimizer: Name, decay: float, power: int) -> None:
    """For every decay the factor is 1 at the limit, below it below and above it above."""
    law, largest = Law(optimizer, decay), 10.0**power
    limit = law.stable_below(largest)
    assert pytest.approx(1.0, abs=1e-12) == law.contraction(limit, np.array([largest]))
    assert law.contraction(0.999 * limit, np.array([largest])) < 1 < law.contraction(1.001 * limit, np.array([largest]))


def test_a_flat_loss_has_no_limit() -> None:
    """Without curvature every rate is stable, and no rate is best."""
    for law in LAWS:
        assert math.inf == law.stable_below(0.0)
        assert (math.inf, law.decay) == law.best(0.0, 0.0)


@settings(deadline=None, max_examples=300)
@given(
    optimizer=st.sampled_from(OPTIMIZERS), decay=st.floats(0, 0.999), share=st.floats(0, 1.5),
    curvatures=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=4),
)  # fmt: skip
def test_the_contraction_is_the_spectral_radius_of_an_epoch(
    optimizer: Name, decay: float, share: float, curvatures: list[float]
) -> None:
    """For every rate and set of curvatures it is the largest |eigenvalue| of the epoch's matrix; √ε apart at double roots."""
    law = Law(optimizer, decay)
    rate = share * law.stable_below(max(curvatures))
    expected = max(radius(law, rate, one) for one in curvatures)
    if optimizer == "gradient-descent":  # whose matrix has an eigenvalue 0 of the v that it does not use
        expected = max(abs(1 - rate * one) for one in curvatures)
    assert pytest.approx(expected, abs=1e-7) == law.contraction(rate, np.array(curvatures))


@pytest.mark.parametrize("law", LAWS, ids=named)
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_real_descent_shrinks_by_the_contraction(law: Law, share: float) -> None:
    """√ of the excess falls by that factor an epoch in the end: within 1 % of its logarithm, over swings of 200 epochs."""
    found, rate, trace = descended("cancer", law, share, 8000)
    size = np.sqrt(found.excess(trace.theta)).reshape(-1)[:8000].reshape(40, 200).max(axis=1)
    clear = size[size > 1e-11 * size[0]][1:]
    assert len(clear) >= 3
    measured = math.log(clear[-1] / clear[len(clear) // 2]) / (200 * (len(clear) - 1 - len(clear) // 2))
    assert pytest.approx(math.log(found.contraction(rate, law)), rel=0.01) == measured


CONDITIONS = (1.0, 3.0, 100.0, 1e6)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_rate_of_plain_descent_is_faster_than_the_best(condition: float) -> None:
    """On a grid of a thousand rates up to the limit none has a smaller factor; it is (κ - 1)/(κ + 1)."""
    curvatures = np.geomspace(2.0, 2.0 * condition, 20)
    rate, decay = PLAIN.best(2.0, 2.0 * condition)
    least = PLAIN.contraction(rate, curvatures)
    assert decay == 0.0
    assert pytest.approx((condition - 1) / (condition + 1), abs=1e-14) == least
    grid = np.linspace(0, PLAIN.stable_below(2.0 * condition), 1001)
    assert least <= min(PLAIN.contraction(one, curvatures) for one in grid) + 1e-14


@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_rate_and_decay_of_the_heavy_ball_are_faster_than_the_best(condition: float) -> None:
    """On grids over all rates and decays, coarse, and fine around it, none has a smaller factor: (√κ - 1)/(√κ + 1)."""
    curvatures = np.geomspace(2.0, 2.0 * condition, 20)
    rate, decay = Law("momentum").best(2.0, 2.0 * condition)
    least = Law("momentum", decay).contraction(rate, curvatures)
    root = math.sqrt(condition)
    assert pytest.approx((root - 1) / (root + 1), abs=1e-7) == least  # two double roots, at either end: √ε
    everywhere = [(a * 4 / 2 / condition, b) for a in np.linspace(0.01, 1, 60) for b in np.linspace(0, 0.999, 60)]
    around = [
        (rate * a, min(max(decay + b * (1 - decay), 0.0), 1 - 1e-12))
        for a in np.linspace(0.9, 1.1, 41) for b in np.linspace(-0.2, 0.2, 41)
    ]  # fmt: skip
    assert least <= min(Law("momentum", b).contraction(a, curvatures) for a, b in everywhere + around) + 1e-7


@pytest.mark.parametrize("condition", CONDITIONS)
def test_nesterovs_best_is_the_one_that_he_proved(condition: float) -> None:
    """At 1/L and that decay the factor of the slowest direction is 1 - 1/√κ, and none of a parabola is slower.

    Nesterov (2004), Introductory lectures on convex optimization, theorem 2.2.3, has its square for the loss.
    """
    curvatures = np.geomspace(2.0, 2.0 * condition, 20)
    rate, decay = Law("nesterov").best(2.0, 2.0 * condition)
    assert pytest.approx(1 - 1 / math.sqrt(condition), abs=1e-7) == Law("nesterov", decay).contraction(rate, curvatures)


def test_the_best_laws_on_a_real_table() -> None:
    """Each at its best arrives at the predicted epoch; to ten digits the heavy ball is first and plain descent last."""
    X, y = table("cancer")
    A = design(X, True)
    found = spectrum(A, y)
    objective = backends.get("numpy").objective(least_squares(A, y))
    needed = []
    for optimizer in OPTIMIZERS:
        rate, decay = Law(optimizer).best(found.least, float(found.eigenvalues[-1]))
        law = Law(optimizer, decay)
        predicted = found.epochs_to(rate, law=law)
        measured: Array = found.excess(train(objective, 9, stepping(law, rate), epochs=int(predicted)).theta)
        assert measured[-1] <= 1e-6 * measured[0] * (1 + 1e-6)
        assert (measured[:-1] > 1e-6 * measured[0] * (1 - 1e-6)).all()
        needed.append(found.epochs_to(rate, 1e-20, law=law))
    plain, ball, accelerated = needed
    assert plain > accelerated > ball
