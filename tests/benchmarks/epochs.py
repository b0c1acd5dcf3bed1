"""The cost of an epoch: this project's loop beside loops in the teaching notebook's own style."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch

from gd import backends
from gd.data import Array
from gd.optimizers import gradient_descent
from gd.problems import design, least_squares
from gd.training import train
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["AIMS", "BACKENDS", "SIZES", "Aim", "Row", "gd_loop", "measure", "notebook_loop", "plane", "report"]

BACKENDS = ("numpy", "torch")
SIZES = tuple(product((10**3, 10**5, 10**6), (1, 10, 100)))  # n, d

_LEARNING_RATE = 0.05
_MEMORY = 4e9  # bytes that a size may need
_SECONDS = 0.4  # that one loop should take, so that the clock and the set-up do not matter

Loop = Callable[[int], Array]
"""Epochs to train ↦ the weights at which they ended, (d,)."""


class Row(NamedTuple):
    """One size in one backend, in seconds an epoch; every number is nan where the size was skipped."""

    n: int
    d: int
    backend: str
    epochs: int  # of each loop
    notebook: float  # median of the rounds
    gd: float  # median of the rounds
    ratio: float  # median of the rounds' notebook / gd: above 1, gd is faster
    low: float  # smallest of them
    high: float  # largest of them


class Aim(NamedTuple):
    """A ratio to reach at some sizes."""

    text: str
    applies: Callable[[Row], bool]
    least: float


AIMS = (
    Aim("never slower than the notebook's loop", lambda row: True, 1.0),
    Aim("NumPy, n = 1,000,000, d = 10", lambda row: (row.n, row.d, row.backend) == (10**6, 10, "numpy"), 2.0),
    Aim("PyTorch, n = 1,000,000, d = 10", lambda row: (row.n, row.d, row.backend) == (10**6, 10, "torch"), 1.3),
    Aim("PyTorch, n = 1,000, d = 1 and 10", lambda row: row.n == 10**3 and row.d <= 10 and row.backend == "torch", 1.5),
)


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('numpy', 'torch')}."
    yield ""
    yield "float64. Medians of rounds in which both loops took turns; the ratio is the median of the rounds' own, with the"
    yield "smallest and the largest: above 1, gd is faster. gd's loop logs loss, gradient norm, weights and time, and evaluates"
    yield "the final loss; the notebook's appends loss and weights to lists. X is row-major there, as it comes from a reader."
    yield ""
    yield from table("n", "d", "backend", "notebook µs/epoch", "gd µs/epoch", "ratio", "from", "to")
    rows = []
    for one in measure():
        rows.append(one)
        numbers = [f"{1e6 * one.notebook:,.1f}", f"{1e6 * one.gd:,.1f}", *(f"{x:.2f}" for x in one[-3:])]
        skipped = ["skipped: above 4 GB", "", "", "", ""]
        yield row(f"{one.n:,}", one.d, one.backend, *(skipped if math.isnan(one.ratio) else numbers))
    yield ""
    yield from table("aim", "at least", "smallest ratio", "")
    for aim in AIMS:
        least = min((one.ratio for one in rows if aim.applies(one) and not math.isnan(one.ratio)), default=math.nan)
        yield row(aim.text, aim.least, f"{least:.2f}", verdict(least >= aim.least))


def plane(n: int, d: int) -> tuple[Array, Array]:
    """Features and targets of a noisy plane: X, row-major, (n, d), and y, (n,)."""
    rng = np.random.default_rng(1847)
    X = rng.standard_normal((n, d))
    return X, X @ np.linspace(-1, 1, d) + 2 + 0.1 * rng.standard_normal(n)


def notebook_loop(backend: str, X: Array, y: Array) -> Loop:
    """A loop as the notebook writes it; with one feature X is a vector and W a scalar, as there."""
    flat = X[:, 0] if X.shape[1] == 1 else X
    return _notebook_numpy(flat, y) if backend == "numpy" else _notebook_torch(flat, y)


def gd_loop(backend: str, X: Array, y: Array) -> Loop:
    """This project's loop as a flow runs it: column-major design, objective, optimizer, log and norms."""
    A = design(X, intercept=False)
    objective = backends.get(backend).objective(least_squares(A, y))

    def loop(epochs: int) -> Array:
        theta: Array = train(objective, A.shape[1], gradient_descent(_LEARNING_RATE), epochs=epochs).theta[-1]
        return theta

    return loop


def measure(
    sizes: Iterable[tuple[int, int]] = SIZES, *, rounds: int = 7, epochs: int | None = None, memory: float = _MEMORY
) -> Iterator[Row]:
    """Time both loops at every size, in turn and several times, so that both meet the same moods of the machine.

    A round is the notebook's loop, then this project's, whole: what either does before its first and after its last epoch
    counts, this project's evaluation of the final loss included.

    Args:
        sizes: n and d.
        rounds: how often the two loops take turns, after one short turn that is not counted.
        epochs: of each loop; as many as fill 0.4 s, 20 to 2,000, when not given.
        memory: bytes above which a size is skipped.
    """
    for n, d in sizes:
        if 3 * n * d * 8 > memory:  # row-major, column-major, and one more for what comes and goes
            yield from (Row(n, d, backend, 0, *[math.nan] * 5) for backend in BACKENDS)
            continue
        X, y = plane(n, d)
        for backend in BACKENDS:
            yield _measure(backend, X, y, rounds, epochs)


def _measure(backend: str, X: Array, y: Array, rounds: int, epochs: int | None) -> Row:
    theirs, ours = notebook_loop(backend, X, y), gd_loop(backend, X, y)
    _time(ours, 5)
    _time(theirs, 5)
    k = epochs or int(np.clip(_SECONDS / _time(theirs, 5), 20, 2000))
    pairs = [(_time(theirs, k), _time(ours, k)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    notebook, gd = (median(times) for times in zip(*pairs, strict=True))
    return Row(len(X), X.shape[1], backend, k, notebook, gd, median(ratios), min(ratios), max(ratios))


def _time(loop: Loop, epochs: int) -> float:
    """Seconds an epoch."""
    began = perf_counter()
    loop(epochs)
    return (perf_counter() - began) / epochs


def _notebook_numpy(X: Array, Y: Array) -> Loop:
    N, lr = len(Y), _LEARNING_RATE

    def scalar(epochs: int) -> Array:
        W = np.float64(0.0)
        losses, weights = [], []
        for _ in range(epochs):
            Y_hat = W * X
            loss = np.mean((Y_hat - Y) ** 2)
            dW = 2 / N * np.dot(Y_hat - Y, X)
            W = W - lr * dW
            losses.append(loss)
            weights.append(W)
        return np.array([W])

    def vector(epochs: int) -> Array:
        W = np.zeros(X.shape[1])
        losses, weights = [], []
        for _ in range(epochs):
            Y_hat = X @ W
            loss = np.mean((Y_hat - Y) ** 2)
            dW = 2 / N * np.dot(Y_hat - Y, X)
            W = W - lr * dW
            losses.append(loss)
            weights.append(W)
        return W

    return scalar if X.ndim == 1 else vector


def _notebook_torch(X_: Array, Y_: Array) -> Loop:
    X, Y, lr = torch.from_numpy(X_), torch.from_numpy(Y_), _LEARNING_RATE

    def loop(epochs: int) -> Array:
        W = torch.zeros(X.shape[1:], dtype=X.dtype, requires_grad=True)  # () or (d,)
        losses, weights = [], []
        for _ in range(epochs):
            Y_hat = W * X if X.ndim == 1 else X @ W
            mse = ((Y_hat - Y) ** 2).mean()
            mse.backward()  # type: ignore[no-untyped-call]
            assert W.grad is not None
            with torch.no_grad():
                W.sub_(W.grad * lr)
            W.grad.zero_()
            losses.append(mse.item())
            weights.append(W.detach().clone())
        ended: Array = W.detach().reshape(-1).numpy()
        return ended

    return loop
