"""The one loop that every backend, loss and optimizer shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from gd.backends import Objective
from gd.data import Array
from gd.optimizers import Optimizer
from gd.problems import aligned

__all__ = ["MOST_KEPT", "Outcome", "Trace", "norm", "norms", "train"]

MOST_KEPT = 10_000
"""Epochs of which `auto` keeps the weights, at most."""

_CLEAR_RISE = 10.0  # times the first loss
_STEADY_RISE = 10  # epochs in a row
_PROGRESS_EVERY = 0.5  # seconds
_CHUNK = 1024  # epochs between two checks, at most
_CHUNK_CELLS = 4_000_000  # weights of all its epochs, at most
_CHUNK_SECONDS = 1e-3  # a chunk that took no longer is followed by one of twice its length

Progress = Callable[[int, float], None]
"""Called with the epochs done and the last loss, at most twice a second."""


class Outcome(StrEnum):
    """How a training ended."""

    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What gradient descent saw: one loss and one gradient an epoch, before its step; the weights of all or of some."""

    loss: Array  # (k,)
    gradient_norm: Array  # (k,), Euclidean
    theta: Array  # (m, p), intercept last; the first row is the start, the last is where it ended
    seconds: Array  # (k,), since training began
    final_loss: float  # at theta[-1], which no epoch saw
    outcome: Outcome
    steps: Array  # (m,), done at each row of theta: 0 first, k last; 0, 1, …, k where all weights were kept

    def __len__(self) -> int:
        """Epochs trained."""
        return len(self.loss)

    @property
    def keep_weights(self) -> int:
        """The weights of every so many epochs were kept; 1 where all were."""
        return int(self.steps[1])

    def save(self, path: Path) -> None:
        """Write the trace to a file, so that a path can travel and not a matrix."""
        with path.open("wb") as file:
            np.savez(
                file, loss=self.loss, gradient_norm=self.gradient_norm, theta=self.theta, seconds=self.seconds,
                final_loss=self.final_loss, outcome=str(self.outcome), steps=self.steps,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["loss"], saved["gradient_norm"], saved["theta"], saved["seconds"],
                float(saved["final_loss"]), Outcome(str(saved["outcome"])), saved["steps"],
            )  # fmt: skip


def train(
    objective: Objective,
    parameters: int,
    optimizer: Optimizer,
    *,
    epochs: int,
    tolerance: float = 0.0,
    stop_early: bool = True,
    keep_weights: int | Literal["auto"] = "auto",
    dtype: DTypeLike = np.float64,
    progress: Progress | None = None,
) -> Trace:
    """Descend from zero weights until the gradient is flat, the epochs are used up, or a value is no longer finite.

    Each epoch is the notebook's four steps: forward pass, loss and backward pass in the objective, the update in the
    optimizer. The training has diverged when a value is not finite, or when it ended above 10 times its first loss and had
    risen in each of its last 10 epochs: far above the stable limit a loss can pass 1e257 while it is still finite.

    Whether to stop is looked at after a chunk of epochs, which is a single one where epochs take long and a millisecond or
    so of them where they do not. What was done beyond the epoch that ended the training is thrown away: no result but
    `seconds` depends on the length of a chunk.

    The weights at the end are those after the step of the epoch whose gradient was flat: next to no step of plain descent, but
    momentum may lead on from there.

    Args:
        objective: a bound backend; θ (p,) ↦ J(θ), ∇J(θ). θ is lent: its memory is used again.
        parameters: p, the length of θ.
        optimizer: turns gradients into steps.
        epochs: steps at most, 1 or more.
        tolerance: converged when the gradient norm is at most this share of its first value; never when 0.
        stop_early: whether to end there; otherwise every epoch is trained and the last gradient decides.
        keep_weights: of every so many epochs, and of the last; `auto` takes the least power of two that keeps at most
            `MOST_KEPT`, so that memory has a bound.
        dtype: of θ, as in the problem's arrays.
        progress: told how far training is, at most twice a second.
    """
    chunk, log = _Chunk(parameters, dtype), _Log(parameters, dtype, keep_weights)
    theta: Array = np.zeros(parameters, dtype)
    state: Any = optimizer.init(theta)
    flat, size, done, stopped = -1.0, 1, 0, False
    began = then = perf_counter()
    report_at = began + _PROGRESS_EVERY if progress else math.inf
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the training
        while done < epochs and not stopped:
            chunk.values.clear()
            try:
                theta, state = _descend(objective, optimizer, theta, state, chunk, min(size, epochs - done))
                failure = None
            except Exception as error:  # noqa: BLE001  (raised again below, unless training had ended before it)
                failure = error
            now = perf_counter()
            losses, sizes = np.array(chunk.values, np.float64), norms(chunk.gradients[: len(chunk.values)])
            if done == 0 and tolerance and len(sizes):
                flat = tolerance * float(sizes[0])
            broken = ~(np.isfinite(losses) & np.isfinite(sizes))
            ends = np.flatnonzero(broken | (sizes <= flat) if stop_early else broken)
            stopped = len(ends) > 0
            if failure is not None and not stopped:
                raise failure
            k = int(ends[0]) + 1 if stopped else len(losses)
            log.append(losses[:k], sizes[:k], chunk.thetas[:k], np.linspace(then - began, now - began, k + 1)[1:])
            done += k
            if now >= report_at and progress and not stopped:
                progress(done, float(losses[-1]))
                report_at = now + _PROGRESS_EVERY
            if now - then <= _CHUNK_SECONDS:
                size = min(2 * size, chunk.longest)
            elif size > 1 and now - then > 4 * _CHUNK_SECONDS:
                size //= 2
            then = perf_counter()
        outcome = Outcome.CONVERGED if sizes[k - 1] <= flat else Outcome.EXHAUSTED
        if broken[k - 1]:
            outcome = Outcome.DIVERGED
        theta = chunk.thetas[k - 1].copy()
        final_loss = objective(theta)[0] if outcome != Outcome.DIVERGED else math.nan
    loss, gradient_norm, seconds = log.columns()
    if outcome != Outcome.DIVERGED and (not math.isfinite(final_loss) or _rises(loss, final_loss)):
        outcome = Outcome.DIVERGED
    thetas, steps = log.weights(theta)
    return Trace(loss, gradient_norm, thetas, seconds, final_loss, outcome, steps)


class _Chunk:
    """What a few epochs saw, in memory that every chunk uses again.

    Each θ begins on a multiple of 64 bytes: the last bit of a product could depend on where it begins, and with it on the
    length of a chunk.
    """

    def __init__(self, parameters: int, dtype: DTypeLike) -> None:
        kind = np.dtype(dtype)
        self.longest = max(min(_CHUNK, _CHUNK_CELLS // parameters), 1)  # epochs
        padded = -(-parameters * kind.itemsize // 64) * 64 // kind.itemsize
        self.values: list[float] = []
        self.gradients: Array = np.empty((self.longest, parameters), kind)
        self.thetas: Array = aligned((padded, self.longest), kind).T[:, :parameters]  # after each step
        self.rows = list(zip(self.gradients, self.thetas, strict=True))


def _descend(
    objective: Objective, optimizer: Optimizer, theta: Array, state: Any, chunk: _Chunk, epochs: int
) -> tuple[Array, Any]:
    """So many epochs from θ on, written into the chunk; where they lead to."""
    append, update, add = chunk.values.append, optimizer.update, np.add
    for seen, after in chunk.rows[:epochs]:
        value, gradient = objective(theta)  # forward pass, loss, backward pass
        seen[...] = gradient
        step, state = update(gradient, state, theta)
        theta = add(theta, step, after)  # update
        append(value)
    return theta, state


class _Log:
    """All losses and gradient norms, and of the weights no more than asked for."""

    def __init__(self, parameters: int, dtype: DTypeLike, keep_weights: int | Literal["auto"]) -> None:
        self._columns: list[tuple[Array, Array, Array]] = []
        self._thetas: list[Array] = [np.zeros((1, parameters), dtype)]
        self._epochs = 0
        self._every, self._thins = (1, True) if keep_weights == "auto" else (keep_weights, False)

    def append(self, loss: Array, gradient_norm: Array, thetas: Array, seconds: Array) -> None:
        """The next epochs, with the weights after each."""
        self._columns.append((loss, gradient_norm, seconds))
        first = self._every - 1 - self._epochs % self._every  # the first epoch here after which the weights are kept
        if first < len(thetas):
            self._thetas.append(thetas[first :: self._every].copy())
        self._epochs += len(loss)
        while self._thins and self._epochs > MOST_KEPT * self._every:
            self._thetas = [np.concatenate(self._thetas)[::2].copy()]
            self._every *= 2

    def columns(self) -> tuple[Array, Array, Array]:
        """Loss, gradient norm and seconds of every epoch."""
        loss, gradient_norm, seconds = map(np.concatenate, zip(*self._columns, strict=True))
        return loss, gradient_norm, seconds

    def weights(self, last: Array) -> tuple[Array, Array]:
        """The weights that were kept and those at the end, and the steps done at each."""
        steps = np.arange(0, self._epochs + 1, self._every)
        if steps[-1] != self._epochs:
            steps = np.append(steps, self._epochs)
            self._thetas.append(last[None])
        return np.concatenate(self._thetas), steps


def _rises(loss: Array, final_loss: float) -> bool:
    """Whether training ended clearly above its first loss and was still rising."""
    last = np.append(loss, final_loss)[-_STEADY_RISE - 1 :]
    return bool(final_loss > _CLEAR_RISE * loss[0] and (np.diff(last) > 0).all())


def norm(gradient: Array) -> float:
    """Euclidean length in float64 of one gradient (p,), as in `norms`."""
    return float(norms(gradient[None])[0])


def norms(gradients: Array) -> Array:
    """Euclidean length of each gradient in float64, (k,), of (k, p).

    Without overflow or underflow on the way: entries of 1e-200 and 1e200 keep their length. NumPy warns where the plain square
    overflows: call it under ``np.errstate(over="ignore")``.
    """
    wide = gradients.astype(np.float64, copy=False)
    squares = np.einsum("ij,ij->i", wide, wide)
    lengths: Array = np.sqrt(squares)
    extreme = np.flatnonzero(~((squares > 1e-280) & (squares < 1e300)))
    if len(extreme):
        largest = np.abs(wide[extreme]).max(axis=1)
        scales = (largest > 0) & (largest < math.inf)
        scaled = wide[extreme[scales]] / largest[scales, None]
        lengths[extreme] = largest
        lengths[extreme[scales]] *= np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    return lengths
