"""All learning rates at once, held against one training each."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd import backends
from gd.backends import Objective
from gd.data import Array, Dataset, standardize
from gd.diagnosis import spectrum
from gd.optimizers import gradient_descent
from gd.problems import design, least_squares
from gd.sweep import Sweep, grid, sweep
from gd.training import Outcome, train

NAMES = backends.available()
X, Y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)


def hold_against_train(
    swept: Sweep, objective: Objective, epochs: int, tolerance: float, stop_early: bool, rtol: float
) -> None:
    """Everything that a sweep says of a rate is what a training with that rate alone says."""
    p, dtype = swept.theta.shape[1], swept.theta.dtype
    for j, rate in enumerate(swept.rates):
        trace = train(
            objective, p, gradient_descent(float(rate)), epochs=epochs, tolerance=tolerance, stop_early=stop_early, dtype=dtype
        )
        assert (trace.outcome, len(trace)) == (swept.outcomes[j], swept.epochs[j])
        close = rtol * float(trace.loss[0])
        np.testing.assert_allclose(swept.loss[j], trace.final_loss, rtol=rtol, atol=close)
        np.testing.assert_allclose(swept.first_loss, trace.loss[0], rtol=rtol)
        finite = np.flatnonzero(np.isfinite(trace.loss))
        assert finite[-1] == swept.last_finite_epoch[j]
        np.testing.assert_allclose(swept.last_finite_loss[j], trace.loss[finite[-1]], rtol=rtol, atol=close)
        if trace.outcome != Outcome.DIVERGED:
            np.testing.assert_allclose(swept.theta[j], trace.theta[-1], rtol=0, atol=rtol * np.abs(trace.theta).max())


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_rate_is_as_if_it_were_alone(name: str, stop_early: bool, penguins: Dataset) -> None:
    """On the real table nine rates, two of them beyond the limit, end as in nine trainings: to 1e-12, at the same epochs."""
    A = design(standardize(penguins.X, True).apply(penguins.X), True)
    found = spectrum(A, penguins.y)
    objective = backends.get(name).objective(least_squares(A, penguins.y))
    rates = grid(found.auto_rate, found.best_rate)
    swept = sweep(objective, A.shape[1], rates, epochs=1000, tolerance=1e-10, stop_early=stop_early)
    assert rates == tuple(swept.rates)
    assert {Outcome.EXHAUSTED, Outcome.CONVERGED, Outcome.DIVERGED} == set(swept.outcomes)
    assert pytest.approx(found.best_rate) == swept.best or not stop_early
    hold_against_train(swept, objective, 1000, 1e-10, stop_early, 1e-12)


@settings(deadline=None, max_examples=20)  # JAX compiles each anew
@given(
    n=st.integers(2, 30), d=st.integers(1, 5), epochs=st.integers(1, 40), together=st.integers(1, 7),
    factors=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=7), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_every_table_and_every_rate(n: int, d: int, epochs: int, together: int, factors: list[float], seed: int) -> None:
    """For every table and all rates, wild ones among them, both backends end where one training each ends."""
    rng = np.random.default_rng(seed)
    A, y = design(rng.normal(size=(n, d)), False), rng.normal(size=n)
    rates = [factor * spectrum(A, y).auto_rate for factor in factors]
    for name in NAMES:
        objective = backends.get(name).objective(least_squares(A, y))
        swept = sweep(objective, d, rates, epochs=epochs, together=together)
        hold_against_train(swept, objective, epochs, 0.0, True, 1e-9)


def test_two_steps_by_hand() -> None:
    """X = 1…5, Y = 2 X: J = 11 (2 - W)², and a step keeps 1 - 22 α of the error 2; at α = 1/22 nothing is left of it."""
    objective = backends.get("numpy").objective(least_squares(X, Y))
    swept = sweep(objective, 1, [1 / 22, 0.01], epochs=2)
    assert [0.01, 1 / 22] == swept.rates.tolist()
    np.testing.assert_allclose(swept.loss, [11 * (2 * 0.78**2) ** 2, 0.0], rtol=1e-14, atol=1e-28)
    np.testing.assert_allclose(swept.theta[:, 0], [2 - 2 * 0.78**2, 2.0], rtol=1e-14)
    assert (44.0, 1 / 22) == (swept.first_loss, swept.best)


@pytest.mark.parametrize("name", NAMES)
def test_float32_ends_at_its_own_tolerance(name: str, plane: Dataset) -> None:
    """The weights stay float32, and the outcomes are those of one training each."""
    A = design(plane.X, True, "float32")
    objective = backends.get(name).objective(least_squares(A, plane.y.astype(np.float32)))
    swept = sweep(objective, 4, [1e-3, 0.1, 5.0, 1e39], epochs=300, tolerance=1e-5, dtype=np.float32)
    assert np.float32 == swept.theta.dtype
    assert (Outcome.EXHAUSTED, Outcome.CONVERGED, Outcome.DIVERGED, Outcome.DIVERGED) == swept.outcomes
    assert 0.1 == swept.best


@pytest.mark.parametrize("name", NAMES)
def test_rates_that_diverge_disturb_no_other(name: str, plane: Dataset) -> None:
    """With wild rates beside them and without, the others end at the same weights after the same epochs."""
    A = design(plane.X, True)
    objective = backends.get(name).objective(least_squares(A, plane.y))
    calm = sweep(objective, 4, [0.01, 0.1, 0.2], epochs=500, tolerance=1e-10)
    wild = sweep(objective, 4, [0.01, 0.1, 0.2, 1e3, 1e155, 1e308], epochs=500, tolerance=1e-10)
    assert (calm.epochs.tolist(), calm.outcomes) == (wild.epochs[:3].tolist(), wild.outcomes[:3])
    np.testing.assert_allclose(wild.theta[:3], calm.theta, rtol=1e-12)
    assert (Outcome.DIVERGED,) * 3 == wild.outcomes[3:]
    assert calm.best == wild.best


def swept(loss: list[float], epochs: list[int], outcomes: list[Outcome]) -> Sweep:
    """A sweep of the rates 1, 2, … that ended so."""
    m = len(loss)
    nothing = np.zeros(m)
    return Sweep(np.arange(1.0, m + 1), tuple(outcomes), np.array(epochs), np.array(loss), nothing, nothing,
                 np.zeros((m, 1)), 1.0, 1e-12)  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "epochs", "diverged", "expected"),
    [
        ([0.3, 0.2, 0.4], [9, 9, 9], [], 2.0),
        ([0.3, 0.2, 0.1], [9, 9, 9], [2], 2.0),
        ([0.3, math.nan, math.nan], [9, 3, 2], [1, 2], 1.0),
        ([0.1 + 2e-13, 0.1 + 1e-13, 0.1], [7, 5, 6], [], 2.0),
        ([0.1 + 2e-13, 0.1, 0.1], [5, 5, 5], [], 2.0),
        ([math.nan, math.nan], [5, 5], [0, 1], 1.0),
    ],
    ids=["lowest", "not diverged", "the one left", "tied: fewest epochs", "tied: lowest, then smallest", "none"],
)
def test_the_best_rate(loss: list[float], epochs: list[int], diverged: list[int], expected: float) -> None:
    """The lowest loss of what did not diverge; up to rounding the quickest; the smallest rate where all diverged."""
    outcomes = [Outcome.DIVERGED if j in diverged else Outcome.CONVERGED for j in range(len(loss))]
    assert expected == swept(loss, epochs, outcomes).best


def test_a_sweep_survives_a_file(tmp_path: Path, plane: Dataset) -> None:
    """What is saved is what is loaded, bit for bit."""
    objective = backends.get("numpy").objective(least_squares(design(plane.X, True), plane.y))
    made = sweep(objective, 4, [0.01, 0.2, 50.0], epochs=400)
    made.save(tmp_path / "sweep.npz")
    again = Sweep.load(tmp_path / "sweep.npz")
    for field in ("rates", "epochs", "loss", "last_finite_loss", "last_finite_epoch", "theta"):
        np.testing.assert_array_equal(getattr(made, field), getattr(again, field))
    assert (made.outcomes, made.first_loss, made.resolution) == (again.outcomes, again.first_loss, again.resolution)
    assert (3, made.best) == (len(again), again.best)


def test_the_grid_lies_around_the_curvature() -> None:
    """With λ from 1 to 10: from 0.001 to 0.4, 1/λmax and the best fixed rate 2/11 in it, two beyond the limit 0.2."""
    rates = grid(0.1, 2 / 11)
    assert 9 == len(rates)
    assert sorted(set(rates)) == list(rates)
    np.testing.assert_allclose([rates[0], rates[-1]], [0.001, 0.4])
    assert {0.1, 2 / 11} <= set(rates)
    assert 2 == sum(rate > 0.2 for rate in rates)


@pytest.mark.parametrize("best", [0.1, math.inf])
def test_the_grid_holds_no_rate_twice(best: float) -> None:
    """Where all directions curve alike the best rate is 1/λmax itself, and a flat loss has none."""
    assert 8 == len(grid(0.1, best))


def test_no_rate_and_wrong_rates_are_refused() -> None:
    """As an optimizer refuses them."""
    objective = backends.get("numpy").objective(least_squares(X, Y))
    with pytest.raises(ValueError, match="must be above 0, not none"):
        sweep(objective, 1, [], epochs=1)
    with pytest.raises(ValueError, match=r"must be above 0, not 0\.1, 0"):
        sweep(objective, 1, [0.1, 0], epochs=1)


def test_progress_is_told_at_most_twice_a_second() -> None:
    """Over all products together, in epochs, and never more than there are."""
    heard: list[tuple[float, int]] = []
    objective = backends.get("numpy").objective(least_squares(np.ones((3, 1)), np.ones(3)))
    progress = lambda epoch, _: heard.append((perf_counter(), epoch))  # noqa: E731
    sweep(objective, 1, [1e-9, 2e-9], epochs=120_000, together=1, progress=progress)
    times, epochs = zip(*heard, strict=True)
    assert all(later - earlier > 0.49 for earlier, later in pairwise(times))
    assert sorted(set(epochs)) == list(epochs)
    assert epochs[-1] <= 120_000


def test_a_loss_of_nothing_is_at_rest() -> None:
    """Where the target is 0 everywhere every rate converges at once, and the smallest is the best."""
    nothing: Array = np.zeros(5)
    made = sweep(backends.get("numpy").objective(least_squares(X, nothing)), 1, [0.1, 0.01, 9.0], epochs=20, tolerance=1e-10)
    assert ((Outcome.CONVERGED,) * 3, [1, 1, 1], 0.01) == (made.outcomes, made.epochs.tolist(), made.best)
