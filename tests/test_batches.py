"""Mini-batches, held against loops of torch.optim over the same rows in the same order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gd import backends, optimizers
from gd.backends import Objective
from gd.batches import Batches, batches, bound, minibatch, part
from gd.data import Array, Dataset
from gd.optimizers import Optimizer, gradient_descent
from gd.problems import Problem, design, huber, least_squares, logistic, poisson
from gd.training import Outcome, Trace, train

NAMES = backends.available()

PAIRS: dict[str, tuple[Callable[[float], Optimizer], Callable[..., Any]]] = {
    "gradient_descent": (gradient_descent, torch.optim.SGD),
    "momentum": (optimizers.momentum, partial(torch.optim.SGD, momentum=0.9)),
    "adam": (optimizers.adam, torch.optim.Adam),
}
"""Each beside PyTorch's own, as (ours, theirs)."""


def rows_of(cut: Batches, rows: int) -> list[list[int]]:
    """The numbers of each batch's rows."""
    return [np.arange(rows)[each].tolist() for each in cut.parts]


def descend(name: str, data: Dataset, cut: Batches, inner: Optimizer, epochs: int, dtype: str = "float64") -> Trace:
    """Least squares on the plane by one backend."""
    A, y = design(data.X, True, dtype), data.y.astype(dtype)
    bind = backends.get(name).objective
    steps = minibatch(inner, bound(bind, least_squares, A, y, cut.parts), cut.order)
    return train(bind(least_squares(A, y)), A.shape[1], steps, epochs=epochs, dtype=dtype)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 70), size=st.integers(1, 80), seed=st.integers(0, 2**64), contiguous=st.booleans())
def test_every_row_stands_in_one_batch(rows: int, size: int, seed: int, contiguous: bool) -> None:
    """For every size all rows are there once, batches are full but for the last, and each keeps the order of the table."""
    cut = batches(rows, size, seed, contiguous=contiguous)
    numbers = rows_of(cut, rows)
    assert list(range(rows)) == sorted(row for each in numbers for row in each)
    assert [size] * (rows // size) + [rows % size] * (rows % size > 0) == [len(each) for each in numbers]
    assert all(sorted(each) == each for each in numbers)
    assert all(sorted(cut.order(epoch).tolist()) == list(range(len(numbers))) for epoch in range(3))


def test_contiguous_batches_are_slices_in_the_order_of_the_table() -> None:
    """Ten rows by four: 0 to 3, 4 to 7, and the two that remain."""
    assert (slice(0, 4), slice(4, 8), slice(8, 10)) == batches(10, 4, 7, contiguous=True).parts


def test_the_seed_alone_decides() -> None:
    """The same seed gives the same rows and orders, asked in whatever sequence; another seed gives others."""
    one, two, other = batches(100, 7, 3), batches(100, 7, 3), batches(100, 7, 4)
    late = two.order(9).tolist()
    assert rows_of(one, 100) == rows_of(two, 100) != rows_of(other, 100)
    orders = [one.order(epoch).tolist() for epoch in range(10)]
    assert late == orders[9]
    assert orders == [two.order(epoch).tolist() for epoch in range(10)]
    assert 10 == len({tuple(order) for order in orders})  # anew at every epoch
    assert orders != [other.order(epoch).tolist() for epoch in range(10)]


def test_batches_are_drawn_from_the_whole_table() -> None:
    """The mean row number of each of ten batches of a thousand rows is near the middle: four deviations of its mean."""
    means = [float(np.mean(each)) for each in rows_of(batches(1000, 100, 5), 1000)]
    assert max(abs(mean - 499.5) for mean in means) < 4 * 1000 / np.sqrt(12 * 100)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: batches(0, 1, 0), "a batch needs at least 1 row of at least 1, not 1 of 0"),
        (lambda: batches(5, 0, 0), "a batch needs at least 1 row of at least 1, not 0 of 5"),
        (lambda: batches(5, 1, -1), "the seed must be at least 0, not -1"),
        (lambda: minibatch(gradient_descent(0.1), (), batches(5, 1, 0).order), "there is no batch to step after"),
    ],
)
def test_a_number_outside_of_its_range_is_refused(make: Callable[[], object], said: str) -> None:
    """The error names the number and the range."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (the whole text is compared)
        make()
    assert said == str(raised.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", PAIRS)
def test_a_hundred_steps_as_a_loop_of_torch_takes_them(method: str, name: str, plane: Dataset) -> None:
    """Twenty epochs of five batches, the last of them smaller, pass the weights of torch.optim's own loop, to 1e-12."""
    mine, theirs = PAIRS[method]
    cut = batches(40, 9, 11)
    trace = descend(name, plane, cut, mine(0.01), 20)
    X, y = torch.tensor(design(plane.X, True)), torch.tensor(plane.y)
    leaf = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer, steps = theirs([leaf], lr=0.01), 0
    for epoch in range(20):
        np.testing.assert_allclose(trace.theta[epoch], leaf.detach().numpy(), rtol=1e-12, atol=1e-14)
        for batch in cut.order(epoch):
            rows = torch.tensor(np.arange(40)[cut.parts[batch]])
            optimizer.zero_grad()
            ((X[rows] @ leaf - y[rows]) ** 2).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
    assert 100 == steps
    np.testing.assert_allclose(trace.theta[20], leaf.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [40, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_one_batch_of_all_rows_is_plain_descent(name: str, size: int, dtype: str, plane: Dataset) -> None:
    """Bit for bit, for every inner optimizer, however large the batch is said to be."""
    A, y = design(plane.X, True, dtype), plane.y.astype(dtype)
    for mine, _ in PAIRS.values():
        plain = train(backends.get(name).objective(least_squares(A, y)), 4, mine(0.05), epochs=60, dtype=dtype)
        trace = descend(name, plane, batches(40, size, 1), mine(0.05), 60, dtype)
        assert (plain.theta.tobytes(), plain.loss.tobytes()) == (trace.theta.tobytes(), trace.loss.tobytes())


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_sees_the_same_batches_in_the_same_order(name: str, plane: Dataset) -> None:
    """What each objective is bound to and when it is called: the rows and the order that seed and epoch give, and no other."""
    cut, bind = batches(40, 9, 11), backends.get(name).objective
    expected = [batch for epoch in range(6) for batch in cut.order(epoch)]
    called: list[int] = []

    def noted(number: int, objective: Objective) -> Objective:
        def evaluate(theta: Array) -> tuple[Any, Array]:
            called.append(number)
            return objective(theta)

        return evaluate

    objectives = bound(bind, least_squares, design(plane.X, True), plane.y, cut.parts)
    theta = np.array([1.0, -2.0, 0.5, 3.0])
    losses = [float(np.mean((design(plane.X, True)[rows] @ theta - plane.y[rows]) ** 2)) for rows in cut.parts]
    np.testing.assert_allclose([objective(theta)[0] for objective in objectives], losses, rtol=1e-14)
    steps = minibatch(gradient_descent(0.01), [noted(k, one) for k, one in enumerate(objectives)], cut.order)
    train(bind(least_squares(design(plane.X, True), plane.y)), 4, steps, epochs=6)
    assert expected == called[: len(expected)]


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_one_row(name: str, plane: Dataset) -> None:
    """A step after every row, as stochastic descent by hand: θ ← θ - α 2 (x·θ - y) x."""
    cut = batches(40, 1, 2)
    trace = descend(name, plane, cut, gradient_descent(0.01), 3)
    A, theta = design(plane.X, True), np.zeros(4)
    for epoch in range(3):
        for batch in cut.order(epoch):
            (row,) = rows_of(cut, 40)[batch]
            theta = theta - 0.01 * 2 * (A[row] @ theta - plane.y[row]) * A[row]
        np.testing.assert_allclose(trace.theta[epoch + 1], theta, rtol=1e-12)


def test_the_log_is_of_all_rows(plane: Dataset) -> None:
    """Loss and gradient norm of every epoch are those of the whole table at the weights it began with."""
    trace = descend("numpy", plane, batches(40, 7, 2), gradient_descent(0.01), 30)
    whole = backends.get("numpy").objective(least_squares(design(plane.X, True), plane.y))
    found = [whole(theta) for theta in trace.theta[:-1]]
    np.testing.assert_allclose(trace.loss, [loss for loss, _ in found], rtol=1e-13)
    np.testing.assert_allclose(trace.gradient_norm, [np.linalg.norm(gradient) for _, gradient in found], rtol=1e-13)


@pytest.mark.parametrize("size", [30, 32])
@pytest.mark.parametrize("make", [least_squares, partial(huber, delta=1.0), logistic, poisson])
def test_a_falling_rate_ends_where_the_batches_cancel(make: Callable[[Array, Array], Problem], size: int) -> None:
    """With rates like 1/t, as Robbins and Monro ask, the mean of the batches' gradients falls below a 500th of its first value.

    Of 300 rows by 30 that is the gradient over all rows. By 32 the last batch has 12, which count for more: there the
    gradient over all rows stays above that.
    """
    rng = np.random.default_rng(9)
    A = design(rng.normal(size=(300, 2)), True)
    y = (A @ [0.5, -0.3, 0.2] + rng.normal(size=300) > 0) * 1.0
    bind, cut = backends.get("numpy").objective, batches(300, size, 4)
    objectives = bound(bind, make, A, y, cut.parts)
    trace = train(bind(make(A, y)), 3, minibatch(gradient_descent(lambda t: 20 / (t + 50)), objectives, cut.order), epochs=1000)
    first, last = (
        np.linalg.norm(np.mean([objective(theta)[1] for objective in objectives], axis=0)) for theta in trace.theta[[0, -1]]
    )
    assert Outcome.EXHAUSTED == trace.outcome
    assert last < first / 500
    assert (size == 30) == (trace.gradient_norm[-1] < trace.gradient_norm[0] / 500)


def test_a_rate_far_too_large_ends_as_diverged(plane: Dataset) -> None:
    """What is not finite within an epoch ends the training at the next, without a warning."""
    trace = descend("numpy", plane, batches(40, 4, 2), gradient_descent(1e3), 200)
    assert Outcome.DIVERGED == trace.outcome
    assert len(trace) < 200


def test_an_update_changes_nothing_that_it_is_given(plane: Dataset) -> None:
    """Gradient, state and θ are what they were: the same epoch can be walked again."""
    cut, A = batches(40, 9, 11), design(plane.X, True)
    objectives = bound(backends.get("numpy").objective, least_squares, A, plane.y, cut.parts)
    steps = minibatch(optimizers.adam(0.01), objectives, cut.order)
    theta, gradient = np.ones(4), np.full(4, np.nan)  # which nobody looks at
    _, state = steps.update(gradient, steps.init(theta), theta)
    first = steps.update(gradient, state, theta)[0]
    assert [1.0] * 4 == theta.tolist()
    assert first.tolist() == steps.update(gradient, state, theta)[0].tolist()


def test_drawn_rows_are_one_column_major_copy(plane: Dataset) -> None:
    """Each batch is a copy of its own rows only, aligned as a design is; a slice is the memory itself."""
    A = design(plane.X, True)
    for rows in batches(40, 9, 11).parts:
        copy = part(A, rows)
        assert A[rows].tolist() == copy.tolist()
        assert copy.flags.f_contiguous
        assert 0 == copy.ctypes.data % 64
        assert not np.shares_memory(A, copy)
    assert all(np.shares_memory(A, part(A, rows)) for rows in batches(40, 9, 11, contiguous=True).parts)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", NAMES)
def test_a_mapped_file_gives_the_steps_of_memory(name: str, order: str, tmp_path: Path) -> None:
    """From a file that is read only, or written for this process alone, come the weights that arrays give, to 1e-12."""
    rng = np.random.default_rng(3)
    A = design(rng.normal(size=(100, 3)), True)
    y = A @ [1.0, 2.0, 3.0, 4.0] + rng.normal(size=100)
    cut, bind = batches(100, 16, 5, contiguous=True), backends.get(name).objective

    def walk(X: Array, y: Array) -> Trace:
        steps = minibatch(gradient_descent(0.05), bound(bind, least_squares, X, y, cut.parts), cut.order)
        return train(bind(least_squares(X, y)), 4, steps, epochs=10)

    expected = walk(A, y).theta
    np.save(tmp_path / "X.npy", A if order == "F" else np.ascontiguousarray(A))
    np.save(tmp_path / "y.npy", y)
    before = (tmp_path / "X.npy").read_bytes()
    for mode in ("r", "c"):
        mapped = walk(np.load(tmp_path / "X.npy", mmap_mode=mode), np.load(tmp_path / "y.npy", mmap_mode=mode))
        np.testing.assert_allclose(mapped.theta, expected, rtol=1e-12)
    assert before == (tmp_path / "X.npy").read_bytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_slices_of_a_mapped_file_are_not_copied(name: str, order: str, tmp_path: Path) -> None:
    """What is written into the mapping after binding is what the batches see: they read that very memory."""
    np.save(tmp_path / "X.npy", np.ones((64, 3), order="F" if order == "F" else "C"))
    np.save(tmp_path / "y.npy", np.zeros(64))
    X, y = np.load(tmp_path / "X.npy", mmap_mode="c"), np.load(tmp_path / "y.npy", mmap_mode="c")
    cut = batches(64, 16, 0, contiguous=True)
    objectives = bound(backends.get(name).objective, least_squares, X, y, cut.parts)
    assert [9.0] * 4 == [objective(np.ones(3))[0] for objective in objectives]
    X[...], y[...] = 2, 1
    assert [25.0] * 4 == [objective(np.ones(3))[0] for objective in objectives]


def test_jax_compiles_once_for_all_batches_of_a_size(plane: Dataset) -> None:
    """Four batches of nine rows share one program; the last of four rows has its own."""
    from gd.backends import jax  # noqa: PLC0415

    before = len(jax._compiled)
    objectives = bound(backends.get("jax").objective, least_squares, design(plane.X, True), plane.y, batches(40, 9, 11).parts)
    for objective in objectives:
        objective(np.ones(4))
    assert 2 == len(jax._compiled) - before
