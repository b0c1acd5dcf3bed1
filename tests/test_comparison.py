"""Traces side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gd import backends
from gd.backends import Objective
from gd.comparison import Comparison, compare, disturbed, tolerance
from gd.data import Array, Dataset
from gd.diagnosis import spectrum
from gd.optimizers import Optimizer, Schedule, adagrad, adam, cosine, gradient_descent, momentum, rmsprop
from gd.problems import design, least_squares, notebook
from gd.training import Outcome, Trace, train
from tests.tables import table


def trace(loss: list[float], theta: list[list[float]], outcome: Outcome = Outcome.EXHAUSTED, dtype: str = "float64") -> Trace:
    """A trace from its losses and its weights after each step."""
    k = len(loss)
    rows = np.array([[0.0] * len(theta[0]), *theta], dtype)
    return Trace(np.array(loss), np.ones(k), rows, np.arange(k) * 1.0, loss[-1], outcome, np.arange(k + 1))


def test_equal_traces_agree() -> None:
    """No gap anywhere, and nothing to part at."""
    one = trace([4.0, 1.0], [[1.0], [1.5]])
    found = compare([one, one])
    assert found.agree
    assert found.first_epoch_apart is None
    assert [0.0, 0.0] == found.weight_gap.tolist() == found.loss_gap.tolist() == found.relative_weight_gap.tolist()


def test_gaps_by_hand() -> None:
    """|1.5 - 1.2| = 0.3 of the largest weight so far, 1.5; |1 - 2| = 1 of √(2 · 4)."""
    found = compare([trace([4.0, 1.0], [[1.0], [1.5]]), trace([4.0, 2.0], [[1.0], [1.2]])])
    np.testing.assert_allclose(found.weight_gap, [0.0, 0.3], atol=1e-15)
    np.testing.assert_allclose(found.relative_weight_gap, [0.0, 0.2], atol=1e-15)
    np.testing.assert_allclose(found.loss_gap, [0.0, 1.0])
    np.testing.assert_allclose(found.relative_loss_gap, [0.0, 1 / math.sqrt(8)])
    assert 1 == found.first_epoch_apart


def test_three_traces_show_their_widest_gap() -> None:
    """The gap is between any two of them."""
    found = compare([trace([4.0], [[w]]) for w in (1.0, 1.1, 0.8)])
    np.testing.assert_allclose(found.weight_gap, [0.3], rtol=1e-14)


def test_a_single_trace_agrees_with_itself() -> None:
    """One backend alone has no gap."""
    assert compare([trace([4.0], [[1.0]])]).agree


def test_traces_of_different_length_are_compared_as_far_as_the_shortest() -> None:
    """A stop that rounding moved by an epoch is no disagreement."""
    longer = trace([4.0, 1.0, 0.5], [[1.0], [1.5], [1.6]])
    found = compare([longer, trace([4.0, 1.0], [[1.0], [1.5]])])
    assert 2 == len(found.loss_gap)
    assert found.agree


def test_the_notebook_parts_at_epoch_0() -> None:
    """The first step already leads to 2.2 in one part and to 0.44 in the other, under the same first loss."""
    found = compare([trace([44.0], [[2.2]], dtype="float32"), trace([44.0], [[0.44]], dtype="float32")])
    assert 0 == found.first_epoch_apart


def test_a_weight_of_almost_nothing_may_part_by_rounding() -> None:
    """A target that has nothing to do with the feature leaves a weight of rounding size: no disagreement."""
    first, second = trace([1.0], [[3e-17]]), trace([1.0], [[-2e-17]])
    assert not compare([first, second]).agree
    assert compare([first, second], np.ones(1)).agree


def test_one_backend_that_alone_overflows_parts() -> None:
    """From the first value that is not finite on the gaps are NaN, and it is where they part."""
    broken = trace([4.0, math.inf], [[1.0], [math.nan]], Outcome.DIVERGED)
    found = compare([trace([4.0, 1.0], [[1.0], [1.5]]), broken])
    assert 1 == found.first_epoch_apart
    assert math.isnan(found.weight_gap[1])


def test_backends_that_overflow_together_agree() -> None:
    """Diverging is not disagreeing."""
    first = trace([4.0, 1e300, math.inf], [[1.0], [1e150], [math.inf]], Outcome.DIVERGED)
    second = trace([4.0, 1e300], [[1.0], [1e150]], Outcome.DIVERGED)
    assert compare([first, second]).agree


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.05, 5.0])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_backends_agree_whether_stable_or_not(rate: float, offset: float, plane: Dataset) -> None:
    """Rounding alone never counts as disagreement: slow, fast, just unstable, wild; centred or far from zero."""
    A = design(plane.X, True)
    scale = np.sqrt(np.einsum("ij,ij->j", A, A) / len(A))
    traces = []
    for name in backends.available():
        objective = backends.get(name).objective(least_squares(A, plane.y + offset))
        traces.append(train(objective, 4, gradient_descent(rate), epochs=400))
    found = spectrum(A, plane.y + offset)
    assert compare(traces, scale, rows=40, rate=rate, growth=found.contraction(rate)).agree


@pytest.mark.parametrize("share", [1e-6, 1e-9])
def test_a_gradient_that_is_slightly_off_is_seen(share: float, plane: Dataset) -> None:
    """An error of a billionth in one gradient is found on the way."""
    A = design(plane.X, True)

    def run(factor: float) -> Trace:
        right = backends.get("numpy").objective(least_squares(A, plane.y))

        def objective(theta: Array) -> tuple[float, Array]:
            value, gradient = right(theta)
            return value, gradient * factor

        return train(objective, 4, gradient_descent(0.1), epochs=50)

    assert not compare([run(1.0), run(1.0 + share)], np.sqrt(np.einsum("ij,ij->j", A, A) / len(A))).agree


def test_the_tolerance_follows_precision_rows_and_epochs() -> None:
    """(16 + rows/4) ε (1 + epochs), with ε = 2⁻⁵² or 2⁻²³, and never above √ε or four times one epoch's."""
    assert {20 * 2.0**-52 * 1001} == set(tolerance("float64", 1000, rows=16))
    assert {20 * 2.0**-23 * 11} == set(tolerance("float32", 10, rows=16))
    assert {2.0**-11.5} == set(tolerance("float32", 10**4, rows=16))
    assert {4 * (16 + 250_000) * 2.0**-23} == set(tolerance("float32", 100, rows=10**6))


def test_the_tolerance_grows_where_rounding_does() -> None:
    """Above the stable limit an error of u is 2 u after an epoch that doubles it, 6 u after the next, 14 u after the third."""
    np.testing.assert_allclose(tolerance("float64", 3, rows=16, growth=2.0), 20 * 2.0**-52 * np.array([2.0, 6.0, 14.0]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rows", [2000, 100_000])
@pytest.mark.parametrize("kind", ["mostly ones", "constant", "far from zero"])
def test_many_rows_are_no_disagreement(kind: str, rows: int, dtype: str) -> None:
    """Sums over many equal terms round differently in each framework, and that is all that it is."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(rows, 2))
    y = {
        "mostly ones": (rng.random(rows) < 0.98).astype(float),
        "constant": np.full(rows, 0.1),
        "far from zero": 1e6 + rng.normal(size=rows),
    }[kind]
    A = design(X, True, dtype)
    found = spectrum(design(X, True), y)
    size = np.sqrt(np.einsum("ij,ij->j", A.astype(float), A.astype(float)) / rows)
    for rate in (found.auto_rate, 1.3 * found.stable_below):
        traces = []
        for name in backends.available():
            objective = backends.get(name).objective(least_squares(A, y.astype(dtype)))
            traces.append(train(objective, 3, gradient_descent(rate), epochs=60, tolerance=1e-10, dtype=dtype))
        assert compare(traces, size, rows=rows, rate=rate, growth=found.contraction(rate)).agree


def test_a_wrong_gradient_is_seen_under_a_tiny_step() -> None:
    """Five times the gradient parts at once, however short the steps are beside the weights that they lead to."""
    X, y = np.arange(1.0, 6.0)[:, None], np.arange(2.0, 12.0, 2.0)
    traces = [
        train(backends.get(name).objective(notebook(X, y)), 1, gradient_descent(1e-17), epochs=10)
        for name in backends.available()
    ]
    assert 0 == compare(traces, np.array([11**0.5]), rows=5, rate=1e-17).first_epoch_apart


def test_nothing_and_strangers_are_refused() -> None:
    """There must be a trace, and all of one descent."""
    with pytest.raises(ValueError, match="no trace"):
        compare([])
    with pytest.raises(ValueError, match="different descents"):
        compare([trace([1.0], [[1.0]]), trace([1.0], [[1.0, 2.0]])])


def thinned(whole: Trace, every: int) -> Trace:
    """The same descent with the weights of every so many epochs, and the last."""
    steps = np.union1d(np.arange(0, len(whole), every), len(whole))
    return replace(whole, theta=whole.theta[steps], steps=steps)


def test_thinned_weights_are_compared_where_all_have_them(plane: Dataset) -> None:
    """Every loss gap is there, and the weight gaps at the common epochs, as if nothing had been thinned."""
    A = design(plane.X, True)
    traces = [
        train(backends.get(name).objective(least_squares(A, plane.y)), 4, gradient_descent(0.1), epochs=100)
        for name in backends.available()
    ]
    fewer = [thinned(one, 3 if j == 0 else 6) for j, one in enumerate(traces)]
    whole, thin = compare(traces, np.ones(4)), compare(fewer, np.ones(4))
    assert [*range(5, 100, 6), 99] == thin.kept.tolist()
    assert whole.loss_gap.tobytes() == thin.loss_gap.tobytes()
    assert whole.weight_gap[thin.kept].tobytes() == thin.weight_gap[thin.kept].tobytes()
    assert np.isnan(np.delete(thin.weight_gap, thin.kept)).all()
    assert np.isnan(np.delete(thin.relative_weight_gap, thin.kept)).all()
    assert thin.agree


def test_a_disagreement_between_kept_weights_is_seen_in_the_loss() -> None:
    """The loss parts at epoch 2, whichever weights were kept."""
    losses = [16.0, 8.0, 4.0, 2.0, 1.0]
    first = trace(losses, [[float(t)] for t in range(5)])
    second = trace([*losses[:2], 4.5, *losses[3:]], [[float(t)] for t in range(5)])
    assert 2 == compare([thinned(first, 4), thinned(second, 4)]).first_epoch_apart


def test_a_disagreement_of_weights_is_seen_where_they_were_kept() -> None:
    """Losses that are the same, and weights that part after epoch 1: kept of every third, they are found after epoch 2."""
    losses = [16.0, 8.0, 4.0, 2.0, 1.0, 0.5]
    first, second = trace(losses, [[1.0]] * 6), trace(losses, [[1.0], *[[1.5]] * 5])
    assert 1 == compare([first, second]).first_epoch_apart
    assert 2 == compare([thinned(first, 3), thinned(second, 3)]).first_epoch_apart


def test_backends_that_overflow_between_kept_weights() -> None:
    """Together they agree; one that overflows alone parts at its first loss that is not finite."""
    theta = [[1.0], [1e100], [math.inf]]
    first = trace([4.0, 1e200, math.inf], theta, Outcome.DIVERGED)
    assert compare([thinned(first, 2), thinned(first, 2)]).agree
    calm = trace([4.0, 1e200, 1.0], [[1.0], [1e100], [2.0]])
    assert 2 == compare([thinned(first, 2), thinned(calm, 2)]).first_epoch_apart


def test_weights_of_no_common_epoch_leave_the_losses() -> None:
    """Two that ended at different epochs, before the first whose weights are kept."""
    longer = trace([4.0, 1.0, 0.5], [[1.0], [1.5], [1.6]])
    found = compare([thinned(longer, 10), thinned(trace([4.0, 1.0], [[1.0], [1.5]]), 10)], np.ones(1))
    assert found.agree
    assert [0.0, 0.0] == found.loss_gap.tolist()
    assert np.isnan(found.weight_gap).all()


COPIES = np.array([[1.0, 1.0], [0.0, 0.0]])  # S of a column of ones and its copy: the prediction is the sum of both weights


def test_weights_that_are_not_unique_are_held_to_their_predictions() -> None:
    """Two splits of one sum predict the same: that is no disagreement, though the weights' gap is told."""
    first, second = trace([4.0, 1.0], [[1.0, 0.0], [1.5, 0.0]]), trace([4.0, 1.0], [[0.0, 1.0], [0.0, 1.5]])
    found = compare([first, second], root=COPIES, unique=False)
    assert found.agree
    assert "predictions" == found.by
    assert [1.0, 1.5] == found.weight_gap.tolist()
    assert [0.0, 0.0] == found.prediction_gap.tolist() == found.relative_prediction_gap.tolist()
    assert 0 == compare([first, second], root=COPIES).first_epoch_apart


def test_predictions_that_part_are_a_disagreement() -> None:
    """A gap of 0.5 between sums where the largest loss is 4, found where it begins."""
    first, second = trace([4.0, 1.0], [[1.0, 0.0], [1.5, 0.0]]), trace([4.0, 1.0], [[0.0, 1.0], [0.0, 1.0]])
    found = compare([first, second], root=COPIES, unique=False)
    assert 1 == found.first_epoch_apart
    assert [0.0, 0.5] == found.prediction_gap.tolist()
    np.testing.assert_allclose(found.relative_prediction_gap, [0.0, 0.5 / 4**0.5])


def test_without_a_root_predictions_are_not_compared() -> None:
    """Their gaps are NaN, and the weights decide."""
    one = trace([4.0], [[1.0]])
    found = compare([one, one], unique=False)
    assert "weights" == found.by
    assert np.isnan(found.prediction_gap).all()


def test_the_gap_of_predictions_is_that_over_the_rows(plane: Dataset) -> None:
    """Of a right gradient and one that is off by a tenth: root mean square of X (θ₁ - θ₂), relative to the largest X θ."""
    A = design(plane.X, True)
    right = backends.get("numpy").objective(least_squares(A, plane.y))

    def off(theta: Array) -> tuple[float, Array]:
        value, gradient = right(theta)
        return value, 1.1 * gradient

    traces = [train(objective, 4, gradient_descent(0.1), epochs=20) for objective in (right, off)]
    found = compare(traces, np.ones(4), rows=40, rate=0.1, root=spectrum(A, plane.y).root)
    first, second = (trace.theta[1:] @ A.T for trace in traces)
    expected = np.sqrt(((first - second) ** 2).mean(axis=1))
    np.testing.assert_allclose(found.prediction_gap, expected, rtol=1e-9)
    moved = np.maximum.accumulate(np.sqrt(np.maximum((first**2).mean(axis=1), (second**2).mean(axis=1))))
    assert (found.relative_prediction_gap <= expected / moved * (1 + 1e-9)).all()
    assert pytest.approx(expected[-1] / moved[-1], rel=0.1) == found.relative_prediction_gap[-1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_backends_agree_on_columns_that_repeat_each_other(dtype: str, plane: Dataset) -> None:
    """A column twice and one that is the sum of two others: predictions stay together in either precision."""
    A = design(np.column_stack([plane.X, plane.X[:, 0], plane.X[:, 1] + plane.X[:, 2]]), True)
    found, kind = spectrum(A, plane.y), np.dtype(dtype)
    traces = [
        train(
            backends.get(name).objective(least_squares(A.astype(kind), plane.y.astype(kind))), 6,
            gradient_descent(found.auto_rate), epochs=500, dtype=kind,
        )
        for name in backends.available()
    ]  # fmt: skip
    size = np.sqrt((A * A).mean(axis=0))
    compared = compare(traces, size, rows=40, rate=found.auto_rate, growth=1.0, root=found.root, unique=False)
    assert compared.agree
    assert float(np.nanmax(compared.relative_prediction_gap)) < 100 * np.finfo(kind).eps


def along(rate: float) -> Schedule:
    """Half a cosine over a thousand epochs."""
    return cosine(rate, 1000)


RESTLESS: dict[str, tuple[float, Callable[[float], Optimizer]]] = {  # a share of the rate of `auto`
    "rmsprop": (0.1, rmsprop),
    "rmsprop-0.9": (0.1, lambda rate: rmsprop(rate, 0.9)),
    "rmsprop-cosine": (0.1, lambda rate: rmsprop(along(rate))),
    "adam": (1.0, adam),
    "adam-0.5": (1.0, lambda rate: adam(rate, 0.5, 0.9)),
    "adagrad": (1.0, adagrad),
    "momentum": (1e-3, momentum),
}


class Side:
    """A real table on which optimizers without theory descend side by side."""

    def __init__(self, name: str, dtype: str = "float64") -> None:
        X, y = table(name)
        self.A, self.y, self.dtype = design(X, True), y, np.dtype(dtype)
        self.found = spectrum(self.A, y)
        self.size = np.sqrt((self.A * self.A).mean(axis=0))
        self.first = float(np.abs(2 * self.A.T @ y / len(y)).max())

    def rate(self, optimizer: str) -> float:
        """The rate of `auto`: the longest step of a weight that the curvature would make first; 1/λ of the heavy ball."""
        share, _ = RESTLESS[optimizer]
        return share * self.found.auto_rate * (100 if optimizer == "momentum" else self.first)

    def objective(self, backend: str) -> Objective:
        """The mean squared error on it."""
        return backends.get(backend).objective(least_squares(self.A.astype(self.dtype), self.y.astype(self.dtype)))

    def descend(self, optimizer: str, objective: Objective, times: float = 1.0, epochs: int = 1000) -> Trace:
        """A training."""
        made = RESTLESS[optimizer][1](times * self.rate(optimizer))
        return train(objective, self.A.shape[1], made, epochs=epochs, dtype=self.dtype)

    def compare(self, traces: list[Trace], twin: Trace | None) -> Comparison:
        """As the flow does."""
        return compare(traces, self.size, rows=len(self.y), root=self.found.predictions, twin=twin)


@pytest.mark.parametrize("name", ["diabetes", "cancer", "visits"])
@pytest.mark.parametrize("optimizer", RESTLESS)
@pytest.mark.parametrize("times", [pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_backends_agree_under_what_a_disturbed_descent_has_shown(times: float, optimizer: str, name: str) -> None:
    """NumPy and PyTorch on real tables by optimizers that may enlarge each rounding error to any size: no disagreement."""
    side = Side(name)
    traces = [side.descend(optimizer, side.objective(backend), times) for backend in ("numpy", "torch")]
    twin = side.descend(optimizer, disturbed(side.objective("numpy"), "float64"), times)
    found = side.compare(traces, twin)
    assert found.measured
    assert found.agree
    assert 2.0**-26 <= found.tolerance <= 1


def test_a_chaotic_descent_needs_its_twin() -> None:
    """RMSProp at a constant rate on the diabetes table parts by more than half of the digits, and only the twin knows why."""
    side = Side("diabetes")
    traces = [side.descend("rmsprop", side.objective(backend)) for backend in ("numpy", "torch")]
    twin = side.descend("rmsprop", disturbed(side.objective("numpy"), "float64"))
    alone, together = side.compare(traces, None), side.compare(traces, twin)
    assert (False, False) == (alone.agree, alone.measured)
    assert (True, True) == (together.agree, together.measured)
    assert float(np.nanmax(together.relative_weight_gap)) > 1e-4


@pytest.mark.parametrize("optimizer", RESTLESS)
def test_a_wrong_gradient_is_seen_beside_a_twin(optimizer: str) -> None:
    """That of a target which is a thousandth of its spread higher parts at once, however chaotic what follows is."""
    side = Side("diabetes")
    other = Side("diabetes")
    other.y = side.y + 1e-3 * side.y.std()
    traces = [side.descend(optimizer, side.objective("numpy")), side.descend(optimizer, other.objective("torch"))]
    traces[1] = replace(traces[1], loss=traces[0].loss)  # so that the weights alone give it away
    twin = side.descend(optimizer, disturbed(side.objective("numpy"), "float64"))
    found = side.compare(traces, twin)
    assert not found.agree
    assert found.first_epoch_apart is not None
    assert found.first_epoch_apart <= 2


def longer(objective: Objective) -> Objective:
    """Its gradients 1.001 times as long as they should be."""

    def evaluate(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta)
        return value, 1.001 * gradient

    return evaluate


@pytest.mark.parametrize("optimizer", RESTLESS)
def test_a_gradient_that_is_too_long_is_seen_where_steps_follow_it(optimizer: str) -> None:
    """1.001 times the gradient leads the heavy ball astray; steps by a gradient's own size do not know how long it is."""
    side = Side("diabetes")
    traces = [
        side.descend(optimizer, side.objective("numpy"), epochs=30),
        side.descend(optimizer, longer(side.objective("torch")), epochs=30),
    ]
    twin = side.descend(optimizer, disturbed(side.objective("numpy"), "float64"), epochs=30)
    assert (optimizer != "momentum") == side.compare(traces, twin).agree


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_disturbed_gradient_is_off_by_the_rounding_of_its_terms(dtype: str) -> None:
    """64 ε of the largest entry at first, of that also when it has fallen; the loss is as it was, and twice it is the same."""
    side = Side("diabetes", dtype)
    right, optimum = side.objective("numpy"), side.found.optimum.astype(dtype)
    one, two = (disturbed(side.objective("numpy"), dtype) for _ in range(2))
    error = 64 * float(np.finfo(dtype).eps) * side.first
    for theta in (0 * optimum, optimum):
        value, gradient = right(theta.copy())
        shaken, off = one(theta.copy())
        assert value == shaken
        assert gradient.dtype == off.dtype
        np.testing.assert_array_equal(off, two(theta.copy())[1])
        np.testing.assert_allclose(np.abs(off.astype(float) - gradient), error, rtol=0.2)


def test_a_twin_that_ended_earlier_says_nothing_of_what_comes_after() -> None:
    """From its last epoch on the tolerance is 1: whether rounding has ended the one and not the other, nobody knows."""
    whole = trace([4.0, 3.0, 2.0, 1.0], [[1.0], [2.0], [3.0], [4.0]])
    other = trace([4.0, 3.0, 2.0, 1.0], [[1.0], [2.0], [3.0], [4.5]])
    short = trace([4.0, 3.0], [[1.0], [2.0]])
    assert 3 == compare([whole, other], root=np.eye(1), twin=whole).first_epoch_apart
    assert compare([whole, other], root=np.eye(1), twin=short).agree
