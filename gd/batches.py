"""Mini-batches: an epoch that walks once over the rows in small parts, a step of an optimizer after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gd.backends import Objective
from gd.data import Array
from gd.optimizers import Optimizer
from gd.problems import Problem, aligned
from gd.spilling import beyond
from gd.spilling import parts as neighbours

__all__ = ["Batches", "Rows", "batches", "bound", "minibatch", "part", "streamed", "whole"]

Rows = slice | Array
"""Neighbouring rows, or the numbers of some in ascending order, (k,)."""


class Batches(NamedTuple):
    """Which rows stand together, and in which order an epoch visits them: the same for every backend."""

    parts: tuple[Rows, ...]
    seed: int

    def order(self, epoch: int) -> Array:
        """Numbers of the parts as they come in an epoch, counted from 0, (number of parts,); what came before is not asked."""
        return _generator(self.seed, epoch + 1).permutation(len(self.parts))


def batches(rows: int, size: int, seed: int, *, contiguous: bool = False) -> Batches:
    """Cut a table into batches, each row into one of them.

    The rows are drawn once, and in each batch they keep the order of the table; only the order of the batches is drawn anew
    at every epoch. One batch of all rows is the table itself. Where the last batch is smaller its rows count for more than
    others do, and the steps end near where the mean of the batches' gradients is zero: a size that divides n has no such bias.

    Args:
        rows: n, 1 or more.
        size: rows of a batch, 1 or more; the last has what remains.
        seed: 0 or above; the same seed gives the same batches in the same orders, whatever the backend.
        contiguous: neighbouring rows stay together, which makes each batch a slice: a mapped file is then read as it lies
            and not copied. Where its rows are sorted, so are the batches.

    Raises:
        ValueError: if a number is outside of its range.

    Source:
        Robbins and Monro (1951), A stochastic approximation method, Ann. Math. Stat. 22; in batches that are drawn without
        replacement, Bottou (2012), Stochastic gradient descent tricks, in Neural Networks: Tricks of the Trade.
    """
    if rows < 1 or size < 1:
        raise ValueError(f"a batch needs at least 1 row of at least 1, not {size} of {rows}")
    if seed < 0:
        raise ValueError(f"the seed must be at least 0, not {seed}")
    starts = range(0, rows, size)
    if contiguous or size >= rows:
        return Batches(tuple(slice(start, min(start + size, rows)) for start in starts), seed)
    drawn = _generator(seed, 0).permutation(rows)
    return Batches(tuple(np.sort(drawn[start : start + size]) for start in starts), seed)


def part(array: Array, rows: Rows) -> Array:
    """Some rows of a matrix or of a vector: a view where they are a slice, else a column-major copy, as `design` makes it."""
    if isinstance(rows, slice):
        return array[rows]
    copy = aligned((len(rows), *array.shape[1:]), array.dtype)
    copy[...] = array[rows]
    return copy


def bound(
    objective: Callable[[Problem], Objective],
    make: Callable[[Array, Array], Problem],
    X: Array,
    y: Array,
    parts: Iterable[Rows],
) -> tuple[Objective, ...]:
    """One objective a batch: its gradient is a mean over its own rows, however many these are.

    All batches together hold one copy of the rows, and of slices none: NumPy reads the memory that X and y are in, and
    PyTorch on the CPU too, where that may be written (a mapped file as ``mode="c"``, which leaves the file alone) and where
    each slice begins on a multiple of 64 bytes, as it does in a file of `np.save` when `size` is a multiple of 16. Otherwise,
    and in JAX or on a GPU, there is one copy. JAX compiles once for each number of rows that batches have.

    Args:
        objective: what binds a problem, as `Backend.objective`.
        make: the loss of some rows.
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).
        parts: rows of each batch.
    """
    return tuple(objective(make(part(X, rows), part(y, rows))) for rows in parts)


def streamed(
    objective: Callable[[Problem], Objective],
    make: Callable[[Array, Array], Problem],
    X: Array,
    y: Array,
    parts: Iterable[slice],
    dtype: DTypeLike = np.float64,
) -> tuple[Objective, ...]:
    """One objective a batch, as `bound` gives them, of rows that memory is not to hold: each is bound whenever it is called.

    What a backend copies, a loss prepares or the precision converts is then there for one batch at a time.

    Args:
        objective: what binds a problem, as `Backend.objective`.
        make: the loss of some rows.
        X: features, a column of ones last where there is an intercept, mapped as ``mode="c"``, (n, p).
        y: targets, mapped in the same way, (n,).
        parts: rows of each batch, neighbours.
        dtype: that is computed in.
    """
    kind, alive = np.dtype(dtype), dict[int, Objective]()

    def at(rows: slice) -> Objective:
        def evaluate(theta: Array) -> tuple[Any, Array]:
            one = objective(make(_cast(X[rows], kind), _cast(y[rows], kind)))
            found = one(theta)
            alive[rows.stop - rows.start] = one  # JAX forgets a program that nobody holds: the next of equal length needs it
            return found

        return evaluate

    return tuple(map(at, parts))


def whole(
    objective: Callable[[Problem], Objective],
    make: Callable[[Array, Array], Problem],
    X: Array,
    y: Array,
    dtype: DTypeLike = np.float64,
    *,
    at_once: bool = False,
) -> Objective:
    """One objective of all rows; of more than memory is to hold at once, the mean of those of blocks of them.

    Args:
        objective: what binds a problem, as `Backend.objective`.
        make: the loss of some rows, a mean over them.
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).
        dtype: that is computed in.
        at_once: keep all rows together, as a gradient wants that is no mean over them.
    """
    blocks = neighbours(len(y), X.shape[1])
    if at_once or not beyond(*X.shape) or len(blocks) == 1:
        return objective(make(X.astype(dtype, copy=False), y.astype(dtype, copy=False)))
    each, shares = streamed(objective, make, X, y, blocks, dtype), [(rows.stop - rows.start) / len(y) for rows in blocks]

    def evaluate(theta: Array) -> tuple[Any, Array]:
        loss: Any = 0.0
        gradient = np.zeros(theta.shape)
        for share, one in zip(shares, each, strict=True):
            value, slope = one(theta)
            loss, gradient = loss + share * value, gradient + share * slope
        return loss, gradient.astype(theta.dtype, copy=False)

    return evaluate


def minibatch(inner: Optimizer, objectives: Sequence[Objective], order: Callable[[int], Array]) -> Optimizer:
    """One step of an optimizer after each batch, as one step an epoch: their sum.

    The gradient over all rows that an epoch begins with is seen by nobody but the log. The state of the inner optimizer goes
    on from batch to batch and from epoch to epoch, and a schedule of its rate counts batches. While the rate stays what it is,
    the weights end in a cloud around the optimum, which is the wider the greater the rate and the smaller the batches.

    Args:
        inner: which makes the steps.
        objectives: one a batch, as `bound` gives them; θ is lent: its memory is used again.
        order: epoch, from 0 on ↦ numbers of the batches as they are visited, as `Batches.order`.

    Raises:
        ValueError: if there is no batch.

    Source:
        Robbins and Monro (1951), A stochastic approximation method, Ann. Math. Stat. 22; Bottou, Curtis and Nocedal (2018),
        Optimization methods for large-scale machine learning, SIAM Review 60.
    """
    if not objectives:
        raise ValueError("there is no batch to step after")

    def update(gradient: Array, state: tuple[int, Any], theta: Array) -> tuple[Array, tuple[int, Any]]:
        epoch, inside = state
        first, *others = order(epoch).tolist()
        total, inside = inner.update(objectives[first](theta)[1], inside, theta)
        at = aligned(theta.shape, theta.dtype)  # the last bit of a product could depend on where θ begins
        for batch in others:
            np.add(theta, total, out=at)
            step, inside = inner.update(objectives[batch](at)[1], inside, at)
            total = total + step
        return total, (epoch + 1, inside)

    return Optimizer(lambda theta: (0, inner.init(theta)), update)


def _cast(array: Array, kind: np.dtype[Any]) -> Array:
    """In that precision: the array itself where it has it, else a column-major copy."""
    if array.dtype == kind:
        return array
    copy = aligned(array.shape, kind)
    copy[...] = array
    return copy


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((seed, stream))
