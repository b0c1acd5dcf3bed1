"""The one loop, on every backend."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gd import backends, training
from gd.backends import Objective
from gd.data import Array, Dataset, bundled, standardize
from gd.diagnosis import spectrum
from gd.optimizers import Optimizer, gradient_descent, momentum, nesterov
from gd.problems import design, least_squares
from gd.reading import read_csv
from gd.settings import Training, preset
from gd.training import Outcome, Trace, norm, train
from tests.conftest import LOSSES
from tests.tables import table

NAMES = backends.available()

# What the notebook printed, copied from it: (loss before the step, weight after it), rounded to 3 decimals.
PART_1 = [(44.0, 2.2), (0.4399999976158142, 1.98), (0.004000000189989805, 2.002), *[(0.0, 2.0)] * 7]
PART_2 = [
    (44.0, 0.44), (26.77, 0.783), (16.287, 1.051), (9.909, 1.26), (6.029, 1.423),
    (3.668, 1.55), (2.231, 1.649), (1.358, 1.726), (0.826, 1.786), (0.503, 1.833),
]  # fmt: skip


def descend(name: str, A: Array, y: Array, rate: float, epochs: int, tolerance: float = 0.0, loss: str = "mse") -> Trace:
    """A descent of so many epochs on one backend."""
    objective = backends.get(name).objective(LOSSES[loss](A, y))
    return train(objective, A.shape[1], gradient_descent(rate), epochs=epochs, tolerance=tolerance, dtype=A.dtype)


def notebook_trace(name: str) -> Trace:
    """The preset on its five rows."""
    settings = preset("notebook")
    rows = read_csv(bundled("notebook"), "Y")
    A = design(rows.X, settings.intercept, settings.dtype)
    assert isinstance(settings.learning_rate, float)
    return descend(name, A, rows.y.astype(np.float32), settings.learning_rate, settings.epochs, loss=settings.loss)


def test_the_notebooks_first_table() -> None:
    """Part 1, by hand in NumPy, comes out to every digit; its losses are float32, whose digits are long."""
    trace = notebook_trace("numpy")
    losses = [float(np.round(np.float32(loss), 3)) for loss in trace.loss]
    weights = [round(float(weight), 3) for weight in trace.theta[1:, 0]]
    assert list(zip(losses, weights, strict=True)) == PART_1


def test_the_notebooks_second_table() -> None:
    """Part 2, by autograd in PyTorch, comes out to every digit."""
    trace = notebook_trace("torch")
    assert [(round(float(j), 3), round(float(w), 3)) for j, w in zip(trace.loss, trace.theta[1:, 0], strict=True)] == PART_2


@pytest.mark.parametrize("name", NAMES)
def test_first_two_steps_by_hand(name: str) -> None:
    """X = 1…5, Y = 2 X, α = 0.01: W goes 0 → 0.44 → 0.7832, since each step keeps 1 - 0.22 of the error 2."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    trace = descend(name, X, y, 0.01, 2)
    np.testing.assert_allclose(trace.theta[:, 0], [0.0, 0.44, 0.7832], rtol=1e-15)
    np.testing.assert_allclose(trace.loss, [44.0, 11 * 1.56**2], rtol=1e-14)  # J = 11 (2 - W)²
    np.testing.assert_allclose(trace.gradient_norm, [44.0, 22 * 1.56], rtol=1e-14)  # |dJ/dW| = 22 |2 - W|
    assert pytest.approx(11 * 1.2168**2, rel=1e-14) == trace.final_loss
    assert trace.outcome == Outcome.EXHAUSTED
    assert 2 == len(trace)


@pytest.mark.parametrize("name", NAMES)
def test_a_converged_fit_is_the_least_squares_solution(name: str, penguins: Dataset) -> None:
    """On the real table the weights are those of numpy.linalg.lstsq, to 1e-6 relative, in the units of the CSV."""
    scaling = standardize(penguins.X, True)
    A = design(scaling.apply(penguins.X), True)
    trace = descend(name, A, penguins.y, spectrum(A, penguins.y).auto_rate, 1000, tolerance=1e-10)
    expected = np.linalg.lstsq(np.column_stack([penguins.X, np.ones(len(penguins.y))]), penguins.y)[0]
    assert trace.outcome == Outcome.CONVERGED
    assert len(trace) < 1000
    np.testing.assert_allclose(scaling.to_units(trace.theta[-1], True), expected, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(10, 60), d=st.integers(1, 5), intercept=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_every_well_conditioned_table_converges_to_least_squares(n: int, d: int, intercept: bool, seed: int) -> None:
    """For every well-conditioned table both backends end at numpy.linalg.lstsq's solution and agree at each epoch."""
    rng = np.random.default_rng(seed)
    A = design(np.linalg.qr(rng.normal(size=(n, d)))[0] * np.sqrt(n) * rng.uniform(0.7, 1.4, d), intercept)
    y = A @ rng.normal(size=d + intercept) + 0.1 * rng.normal(size=n)
    found = spectrum(A, y)
    if found.condition > 30:  # an intercept that the features nearly hold: not the sentence's tables
        return
    expected = np.linalg.lstsq(A, y)[0]
    traces = [descend(name, A, y, found.auto_rate, 2000, tolerance=1e-10) for name in NAMES]
    for trace in traces:
        assert trace.outcome == Outcome.CONVERGED
        np.testing.assert_allclose(trace.theta[-1], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    k = min(map(len, traces))
    for trace in traces[1:]:
        np.testing.assert_allclose(trace.theta[:k], traces[0].theta[:k], rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_backends_agree_on_the_real_table(penguins: Dataset) -> None:
    """At every epoch their weights are within 1e-12 of each other, relative to the largest weight, in float64."""
    scaling = standardize(penguins.X, True)
    A = design(scaling.apply(penguins.X), True)
    traces = [descend(name, A, penguins.y, 0.1, 1000) for name in NAMES]
    largest = np.abs(traces[0].theta[1:]).max(axis=1, keepdims=True)
    for trace in traces[1:]:
        assert np.abs((trace.theta[1:] - traces[0].theta[1:]) / largest).max() <= 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_reproducible_to_the_last_bit(name: str, plane: Dataset) -> None:
    """Training twice gives the same bits."""
    first, second = (descend(name, design(plane.X, True), plane.y, 0.1, 200) for _ in range(2))
    assert first.theta.tobytes() == second.theta.tobytes()
    assert first.loss.tobytes() == second.loss.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_training_stops_at_the_tolerance(name: str) -> None:
    """With X = 1…5 and α = 0.01 the gradient keeps 0.78 of its length: below 1e-3 after ⌈ln 1e-3 / ln 0.78⌉ = 28 steps."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    trace = descend(name, X, y, 0.01, 100, tolerance=1e-3)
    assert trace.outcome == Outcome.CONVERGED
    assert 29 == len(trace)  # the epoch that saw the flat gradient counts
    assert trace.gradient_norm[-1] <= 1e-3 * trace.gradient_norm[0] < trace.gradient_norm[-2]


def test_training_can_go_on_when_it_has_converged() -> None:
    """Told not to stop early, every epoch is trained, and the last gradient decides what it was."""
    objective = backends.get("numpy").objective(least_squares(np.ones((3, 1)), np.ones(3)))
    trace = train(objective, 1, gradient_descent(0.4), epochs=60, tolerance=1e-10, stop_early=False)
    assert (60, Outcome.CONVERGED) == (len(trace), trace.outcome)


def test_a_tolerance_of_zero_never_stops() -> None:
    """All epochs are trained, even where the gradient is exactly 0."""
    trace = descend("numpy", np.ones((3, 1)), np.ones(3), 0.5, 20)
    assert 0.0 == trace.gradient_norm[-1]
    assert (len(trace), trace.outcome) == (20, Outcome.EXHAUSTED)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_overflows_has_diverged(name: str) -> None:
    """Training stops at the first value that is not finite, and keeps every epoch up to it."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    trace = descend(name, X, y, 5.0, 1000)
    assert trace.outcome == Outcome.DIVERGED
    assert len(trace) < 1000
    assert np.isfinite(trace.loss[:-1]).all()
    assert not math.isfinite(trace.loss[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_finite_and_rises_has_diverged(name: str) -> None:
    """At rate 5 the loss of the notebook's rows is huge and still finite after 60 epochs: diverged, not exhausted."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    trace = descend(name, X, y, 5.0, 60)
    assert 1e200 < trace.final_loss < math.inf
    assert trace.outcome == Outcome.DIVERGED


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_epochs_are_enough_to_see_a_rise(epochs: int) -> None:
    """Even a single step that multiplies the loss by (1 - 22·5)² is seen for what it is."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    assert descend("numpy", X, y, 5.0, epochs).outcome == Outcome.DIVERGED


def test_a_loss_that_only_swings_has_not_diverged() -> None:
    """Below the stable limit 2/22 the iterates swing around the optimum and close in: exhausted at worst."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    assert descend("numpy", X, y, 0.0905, 20).outcome == Outcome.EXHAUSTED


def test_progress_is_told_at_most_twice_a_second() -> None:
    """However short an epoch, whoever watches hears at most every half second, and hears the truth."""
    heard: list[tuple[float, int]] = []
    objective = backends.get("numpy").objective(least_squares(np.ones((3, 1)), np.ones(3)))
    progress = lambda epoch, _: heard.append((perf_counter(), epoch))  # noqa: E731
    trace = train(objective, 1, gradient_descent(1e-9), epochs=250_000, progress=progress)
    times, epochs = zip(*heard, strict=True)
    assert all(later - earlier > 0.49 for earlier, later in pairwise(times))
    assert sorted(set(epochs)) == list(epochs)
    assert epochs[-1] <= len(trace)


def test_short_trainings_tell_no_progress() -> None:
    """What ends within half a second is not worth a line."""
    heard: list[int] = []
    objective = backends.get("numpy").objective(least_squares(np.ones((3, 1)), np.ones(3)))
    train(objective, 1, gradient_descent(0.1), epochs=3, progress=lambda epoch, _: heard.append(epoch))
    assert [] == heard


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [([3.0, 4.0], 5.0), ([3e-200, 4e-200], 5e-200), ([3e200, -4e200], 5e200), ([0.0, 0.0], 0.0), ([math.inf, 1.0], math.inf)],
)
def test_norm_at_the_edges(gradient: list[float], expected: float) -> None:
    """The 3-4-5 triangle, also where its squares overflow or vanish."""
    with np.errstate(over="ignore"):
        assert pytest.approx(expected, rel=1e-15) == norm(np.array(gradient))


def test_norm_of_a_gradient_that_is_not_a_number() -> None:
    """NaN stays NaN, so that the loop sees it."""
    assert math.isnan(norm(np.array([math.nan, 1.0])))


def test_norm_of_float32_does_not_overflow_early() -> None:
    """The square of 1e30 is no float32, and the norm is 1e30 all the same."""
    assert pytest.approx(1e30, rel=1e-6) == norm(np.array([1e30], np.float32))


def test_a_trace_survives_a_file(tmp_path: Path, plane: Dataset) -> None:
    """What is saved is what is loaded, bit for bit."""
    objective = backends.get("numpy").objective(least_squares(design(plane.X, True), plane.y))
    trace = train(objective, 4, gradient_descent(0.1), epochs=20, keep_weights=7)
    assert [0, 7, 14, 20] == trace.steps.tolist()
    trace.save(tmp_path / "trace.npz")
    again = Trace.load(tmp_path / "trace.npz")
    for field in ("loss", "gradient_norm", "theta", "seconds", "steps"):
        np.testing.assert_array_equal(getattr(trace, field), getattr(again, field))
    assert (trace.final_loss, trace.outcome) == (again.final_loss, again.outcome)


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rate": 0}, {"learning_rate": "fast"}, {"learning_rate": math.inf}, {"learning_rate": (0.1,)},
     {"learning_rate": (0.1, 0.1)}, {"learning_rate": (0.1, -1)}, {"learning_rate": (0.1, math.nan)},
     {"learning_rate": tuple(range(1, 66))}, {"learning_rate": "sweep"}, {"epochs": 0}, {"tolerance": 1.0},
     {"tolerance": -1e-3}, {"dtype": "float16"}, {"loss": "mae"}, {"backends": ()}, {"rate": 1},
     {"keep_weights": 0}, {"keep_weights": "all"}, {"method": "columns"}, {"method": "moments", "loss": "notebook"}],
)  # fmt: skip
def test_wrong_settings_are_refused_before_anything_runs(wrong: dict[str, object]) -> None:
    """Every limit of the settings is checked when they are made."""
    with pytest.raises(ValidationError):
        Training.model_validate(wrong)


@pytest.mark.parametrize(
    ("given", "kept", "sweeps"),
    [(0.1, 0.1, False), (1, 1.0, False), ("auto", "auto", False), ("auto-sweep", "auto-sweep", True),
     ([0.1, 1], (0.1, 1.0), True), (list(range(1, 65)), tuple(map(float, range(1, 65))), True)],
)  # fmt: skip
def test_a_learning_rate_is_one_of_four_things(given: object, kept: object, sweeps: bool) -> None:
    """A number, a word, or from 2 to 64 numbers, as JSON and YAML write them."""
    made = Training.model_validate({"learning_rate": given})
    assert (kept, sweeps) == (made.learning_rate, made.sweeps)
    assert made == Training.model_validate_json(made.model_dump_json())


def test_the_tolerance_follows_the_precision() -> None:
    """1e-10 of the first gradient norm in float64; float32 cannot see below 1e-5."""
    assert (1e-10, 1e-5, 0.25) == (
        Training().stop_below, Training(dtype="float32").stop_below, Training(tolerance=0.25).stop_below,
    )  # fmt: skip
    assert (1e-10, False) == (Training(tolerance=0).stop_below, Training(tolerance=0).stops_early)


@pytest.mark.parametrize("name", NAMES)
def test_float32_reaches_its_own_tolerance(name: str, penguins: Dataset) -> None:
    """The default settings converge on the real table in float32 too."""
    scaling = standardize(penguins.X, True)
    A = design(scaling.apply(penguins.X), True)
    rate = spectrum(A, penguins.y).auto_rate
    settings = Training(dtype="float32")
    trace = descend(name, design(scaling.apply(penguins.X), True, "float32"), penguins.y.astype(np.float32), rate, 1000,
                    tolerance=settings.stop_below)  # fmt: skip
    assert trace.outcome == Outcome.CONVERGED
    assert np.float32 == trace.theta.dtype


def plainly(name: str, A: Array, y: Array, rate: float, epochs: int, tolerance: float, stop_early: bool) -> Trace:
    """The same descent looked at after every epoch, in as few words as it can be said."""
    objective, theta, rows = backends.get(name).objective(least_squares(A, y)), np.zeros(A.shape[1], A.dtype), []
    thetas, outcome = [theta], Outcome.EXHAUSTED
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(epochs):
            value, gradient = objective(theta)
            rows.append((value, norm(gradient)))
            flat = tolerance > 0 and rows[-1][1] <= tolerance * rows[0][1]
            if not (flat and stop_early):
                theta = theta + gradient * -rate
            thetas.append(theta)
            if not np.isfinite(rows[-1]).all():
                outcome = Outcome.DIVERGED
                break
            outcome = Outcome.CONVERGED if flat else Outcome.EXHAUSTED
            if flat and stop_early:
                break
        final = objective(theta)[0] if outcome != Outcome.DIVERGED else math.nan
    loss, gradient_norm = np.array(rows).T
    return Trace(loss, gradient_norm, np.array(thetas), np.zeros(len(loss)), final, outcome, np.arange(len(thetas)))


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from([0.05, 0.3, 0.9, 1.3, 40.0]), epochs=st.integers(1, 3000), stop_early=st.booleans(),
    tolerance=st.sampled_from([0.0, 1e-3, 1e-10]), keep=st.sampled_from([1, 2, 7, 1000, 10**6]),
    dtype=st.sampled_from(["float64", "float32"]), longest=st.sampled_from([1, 3, 1024]), p=st.integers(1, 5),
)  # fmt: skip
def test_no_result_depends_on_when_it_is_looked_at(
    rate: float, epochs: int, stop_early: bool, tolerance: float, keep: int, dtype: str, longest: int, p: int
) -> None:
    """For every way of ending, chunks of any length stop at the epoch where a look after each would, with the same bits."""
    rng = np.random.default_rng(p)
    A, y = rng.normal(size=(12, p)).astype(dtype), rng.normal(size=12).astype(dtype)
    objective = backends.get("numpy").objective(least_squares(A, y))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHUNK", longest)
        found = train(
            objective, p, gradient_descent(rate), epochs=epochs, tolerance=tolerance, stop_early=stop_early,
            keep_weights=keep, dtype=dtype,
        )  # fmt: skip
    expected = plainly("numpy", A, y, rate, epochs, tolerance, stop_early)
    if expected.outcome != Outcome.EXHAUSTED or found.outcome != Outcome.DIVERGED:  # which a rise is only at the end
        assert expected.outcome == found.outcome
    k = len(expected)
    assert sorted({*range(0, k, keep), k}) == found.steps.tolist()
    assert expected.loss.tobytes() == found.loss.tobytes()
    assert expected.gradient_norm.tobytes() == found.gradient_norm.tobytes()
    assert expected.theta[found.steps].tobytes() == found.theta.tobytes()
    np.testing.assert_array_equal(expected.final_loss, found.final_loss)
    assert np.dtype(dtype) == found.theta.dtype
    assert k == len(found.seconds)


def test_what_lies_beyond_the_end_is_not_heard_of() -> None:
    """An objective that cannot stand infinities is asked beyond the end and fails: the training had ended before."""

    def objective(theta: Array) -> tuple[float, Array]:
        if not np.isfinite(theta).all():
            raise OverflowError("beyond")
        return float(theta[0] ** 2 + 1), 2 * theta + 1

    trace = train(objective, 1, gradient_descent(1e3), epochs=500)
    assert trace.outcome == Outcome.DIVERGED
    assert not math.isfinite(trace.loss[-1])


def test_an_objective_that_fails_is_heard_of() -> None:
    """Its own error comes out, whichever epoch of a chunk it is."""

    def objective(theta: Array) -> tuple[float, Array]:
        if theta[0] < -0.5:
            raise RuntimeError("no more")
        return 1.0, np.array([1.0])

    with pytest.raises(RuntimeError, match="no more"):
        train(objective, 1, gradient_descent(0.01), epochs=500)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (10_000, 1), (10_001, 2), (20_000, 2), (20_001, 4), (45_000, 8)])
def test_auto_keeps_the_weights_of_ten_thousand_epochs_at_most(epochs: int, expected: int) -> None:
    """The least power of two with which they fit, whatever more epochs were allowed; those at the end are always there."""
    objective = backends.get("numpy").objective(least_squares(np.ones((3, 1)), np.ones(3)))
    trace = train(objective, 1, gradient_descent(1e-9), epochs=epochs)
    whole = train(objective, 1, gradient_descent(1e-9), epochs=epochs, keep_weights=1)
    assert (expected, epochs) == (trace.keep_weights, trace.steps[-1])
    assert sorted({*range(0, epochs, expected), epochs}) == trace.steps.tolist()
    assert whole.theta[trace.steps].tobytes() == trace.theta.tobytes()


@pytest.mark.slow
def test_a_million_epochs_fit_into_memory() -> None:
    """Every loss and gradient norm, and of the weights ten thousand rows; nothing else is held."""
    rng = np.random.default_rng(4)
    A, y = design(rng.normal(size=(12, 10)), True), rng.normal(size=12)
    objective = backends.get("numpy").objective(least_squares(A, y))
    trace = train(objective, 11, gradient_descent(spectrum(A, y).auto_rate), epochs=10**6)
    assert (10**6, 128) == (len(trace), trace.keep_weights)
    assert (7814, 11) == trace.theta.shape  # the start and every 128th of 10⁶, and the last
    assert (10**6,) == trace.loss.shape == trace.gradient_norm.shape == trace.seconds.shape
    for field in ("loss", "gradient_norm", "theta", "seconds", "steps"):
        values = getattr(trace, field)
        owner = values if values.base is None else values.base
        assert owner.nbytes <= 8 * 10**6  # no view keeps a longer array alive
    assert (np.diff(trace.seconds) > 0).all()


def test_a_training_that_stops_early_holds_only_what_it_saw() -> None:
    """Ten million epochs may be allowed without memory for as many."""
    A, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    objective = backends.get("numpy").objective(least_squares(A, y))
    trace = train(objective, 1, gradient_descent(0.01), epochs=10**12, tolerance=1e-3)
    assert 29 == len(trace)
    assert 29 * 8 == trace.loss.nbytes
    assert trace.loss.base is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "optimizer", [gradient_descent(0.1), momentum(0.1, 0.5), nesterov(0.1, 0.9)], ids=["plain", "ball", "fast"]
)
def test_the_epoch_whose_gradient_is_flat_takes_no_step(optimizer: Optimizer, name: str) -> None:
    """What velocity is left would lead away: the weights at the end are those that were seen to be flat."""
    X, y = table("diabetes")
    A = design(X[:, 2:3], True)
    objective = backends.get(name).objective(least_squares(A, y - 152))
    trace = train(objective, 2, optimizer, epochs=1000, tolerance=0.02)
    assert trace.outcome == Outcome.CONVERGED
    assert 1 < len(trace) < 1000
    assert trace.theta[-2].tolist() == trace.theta[-1].tolist() == trace.end.tolist()
    value, gradient = objective(trace.end)
    assert norm(gradient) <= 0.02 * trace.gradient_norm[0]
    assert (trace.loss[-1], trace.gradient_norm[-1]) == (value, norm(gradient))
    assert value == trace.final_loss


def test_a_step_from_where_it_is_flat_would_lead_away() -> None:
    """The case of the diabetes table, one feature and momentum 0.5: the gradient vanishes on the way past the optimum."""
    X, y = table("diabetes")
    A = design(X[:, 2:3], False)
    objective = backends.get("numpy").objective(least_squares(A, y - y.mean()))
    further = train(objective, 1, momentum(0.65, 0.5), epochs=400, tolerance=0.1, stop_early=False, keep_weights=1)
    first = int(np.argmax(further.gradient_norm <= 0.1 * further.gradient_norm[0]))
    assert further.gradient_norm[first + 1] > 0.1 * further.gradient_norm[0]  # which is what the step led to
    trace = train(objective, 1, momentum(0.65, 0.5), epochs=400, tolerance=0.1)
    assert (first + 1, Outcome.CONVERGED) == (len(trace), trace.outcome)
    assert further.theta[first].tolist() == trace.end.tolist()


def parted(name: str) -> tuple[Objective, Objective, Array, Array]:
    """Seven tenths of the diabetes table to train on, the others held out, bound by one backend; and these themselves."""
    X, y = table("diabetes")
    held = np.random.default_rng(2).random(len(y)) < 0.3
    A = design(X, True)
    backend = backends.get(name)
    return (
        backend.objective(least_squares(A[~held], y[~held])), backend.objective(least_squares(A[held], y[held])),
        A[held], y[held],
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_validation_losses_are_those_of_every_epoch(name: str) -> None:
    """Each is the mean squared error of the rows held out by the weights before the step, evaluated one by one."""
    right, held, A, y = parted(name)
    trace = train(right, 11, gradient_descent(0.1), epochs=300, held=held)
    assert trace.validation is not None
    expected = [float(np.mean((A @ theta - y) ** 2)) for theta in trace.theta[:-1]]
    np.testing.assert_allclose(trace.validation, expected, rtol=1e-12)
    assert (None, None) == (trace.best, trace.chosen)
    np.testing.assert_array_equal(trace.theta[-1], trace.end)
    alone = train(right, 11, gradient_descent(0.1), epochs=300)
    assert alone.theta.tobytes() == trace.theta.tobytes()  # watching changes nothing
    assert alone.validation is None


@pytest.mark.parametrize("name", NAMES)
def test_the_best_weights_on_a_real_table_are_kept(name: str, tmp_path: Path) -> None:
    """Of a descent that fits eleven weights to sixteen rows: those with the least loss on the others, also from a file."""
    X, y = table("diabetes")
    A, backend = design(X, True), backends.get(name)
    right, held = (backend.objective(least_squares(A[rows], y[rows])) for rows in (slice(0, 16), slice(16, None)))
    trace = train(right, 11, gradient_descent(0.1), epochs=2000, held=held, patience=50, keep_weights=1)
    assert trace.outcome == Outcome.STOPPED
    assert trace.validation is not None
    assert trace.best is not None
    assert int(np.argmin(trace.validation)) == trace.best == len(trace) - 1 - 50
    assert trace.theta[trace.best].tolist() == trace.end.tolist()
    assert right(trace.end)[0] == trace.final_loss
    trace.save(tmp_path / "trace.npz")
    again = Trace.load(tmp_path / "trace.npz")
    assert (trace.best, trace.outcome) == (again.best, again.outcome)
    np.testing.assert_array_equal(trace.validation, again.validation)
    np.testing.assert_array_equal(trace.end, again.end)


def watched(values: list[float], patience: int | None, longest: int, keep: int, stop_early: bool = True) -> Trace:
    """A descent whose epoch t stands at θ = -t, where the loss on the rows held out is the t-th of these values."""
    told = np.array(values)

    def held(theta: Array) -> tuple[Array, Array]:
        return told[np.minimum(-theta[:, 0].astype(int), len(told) - 1)], np.zeros_like(theta)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHUNK", longest)
        return train(
            lambda theta: (1.0, np.ones(1)), 1, gradient_descent(1.0), epochs=len(values), held=held, patience=patience,
            keep_weights=keep, stop_early=stop_early,
        )  # fmt: skip


def waited(values: list[float], patience: int) -> tuple[int, int]:
    """How many epochs are trained, and the best: in as few words as it can be said."""
    least, best = math.inf, 0
    for t, value in enumerate(values):
        if value < least:
            least, best = value, t
        if t - best >= patience:
            return t + 1, best
    return len(values), best


@settings(deadline=None, max_examples=200)
@given(
    values=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan, math.inf]), min_size=1, max_size=60),
    patience=st.integers(1, 12), longest=st.integers(1, 64), keep=st.integers(1, 7), stop_early=st.booleans(),
)  # fmt: skip
def test_patience_ends_at_the_same_epoch_whatever_a_chunk(
    values: list[float], patience: int, longest: int, keep: int, stop_early: bool
) -> None:
    """For every course of the losses, ties and values that are no number among them, however many epochs stand in a chunk."""
    epochs, best = waited(values, patience)
    trace = watched(values, patience, longest, keep, stop_early)
    assert (epochs, best) == (len(trace), trace.best)
    assert [-float(best)] == trace.end.tolist()
    assert trace.validation is not None
    np.testing.assert_array_equal(values[:epochs], trace.validation)
    ended = epochs - 1 - best >= patience
    assert (Outcome.STOPPED if ended else Outcome.EXHAUSTED) == trace.outcome
    assert (trace.steps[0], trace.steps[-1]) == (0, epochs)
    assert [-float(t) for t in trace.steps[:-1]] == trace.theta[:-1, 0].tolist()


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([1.0] * 20, 3, 4, 0),  # a tie is no improvement: the first is the best
        ([1.0, 2.0, 3.0, 4.0, 5.0, 0.0], 4, 5, 0),  # none from the beginning on; what came later is not heard of
        ([3.0, 2.0, math.nan, math.nan, 1.0, 5.0], 3, 6, 4),  # no number is no improvement, and no end
        ([math.nan, math.nan, 2.0, 3.0, 4.0], 3, 5, 2),  # nor is it the best when it is the first
        ([math.nan] * 9, 3, 4, 0),
        ([5.0, 4.0, 3.0], 9, 3, 2),
    ],
)  # fmt: skip
def test_patience_by_hand(values: list[float], patience: int, epochs: int, best: int) -> None:
    """How long it is waited, and for what."""
    trace = watched(values, patience, 1024, 1)
    assert (epochs, best) == (len(trace), trace.best)
    assert [-float(best)] == trace.end.tolist()


def test_without_patience_nothing_ends_and_nothing_is_chosen() -> None:
    """The losses on the rows held out are only told."""
    trace = watched([1.0, 2.0, 3.0, 4.0], None, 2, 1)
    assert (4, None, Outcome.EXHAUSTED) == (len(trace), trace.best, trace.outcome)
    assert [-4.0] == trace.end.tolist()


def test_a_descent_that_diverges_chooses_no_weights() -> None:
    """However good they were on the rows held out before: the verdict is about where it went."""
    right, held, _, _ = parted("numpy")
    trace = train(right, 11, gradient_descent(5.0), epochs=2000, held=held, patience=1999)
    assert (Outcome.DIVERGED, None, None) == (trace.outcome, trace.best, trace.chosen)
