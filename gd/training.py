"""The one loop that every backend, loss and optimizer shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

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
    STOPPED = "stopped"  # the loss on the rows held out had not fallen for long enough


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What gradient descent saw: one loss and one gradient an epoch, before its step; the weights of all or of some."""

    loss: Array  # (k,)
    gradient_norm: Array  # (k,), Euclidean
    theta: Array  # (m, p), intercept last; the first row is the start, the last is where it ended
    seconds: Array  # (k,), since training began
    final_loss: float  # at `end`
    outcome: Outcome
    steps: Array  # (m,), done at each row of theta: 0 first, k last; 0, 1, …, k where all weights were kept
    validation: Array | None = None  # (k,), the loss on the rows held out, before the step like `loss`
    best: int | None = None  # the epoch whose weights, before its step, are the result; the last ones are where None
    chosen: Array | None = None  # (p,), these weights

    @property
    def end(self) -> Array:
        """The result, (p,): the weights at the end, or those of the best epoch where these were kept."""
        return np.asarray(self.theta[-1] if self.chosen is None else self.chosen)

    def __len__(self) -> int:
        """Epochs trained."""
        return len(self.loss)

    @property
    def keep_weights(self) -> int:
        """The weights of every so many epochs were kept; 1 where all were."""
        return int(self.steps[1])

    def save(self, path: Path) -> None:
        """Write the trace to a file, so that a path can travel and not a matrix."""
        more: dict[str, Any] = {"validation": self.validation, "best": self.best, "chosen": self.chosen}
        with path.open("wb") as file:
            np.savez(
                file, loss=self.loss, gradient_norm=self.gradient_norm, theta=self.theta, seconds=self.seconds,
                final_loss=self.final_loss, outcome=str(self.outcome), steps=self.steps,
                **{name: value for name, value in more.items() if value is not None},
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["loss"], saved["gradient_norm"], saved["theta"], saved["seconds"],
                float(saved["final_loss"]), Outcome(str(saved["outcome"])), saved["steps"],
                saved.get("validation"), int(saved["best"]) if "best" in saved else None, saved.get("chosen"),
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
    held: Objective | None = None,
    patience: int | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Descend from zero weights until the gradient is flat, the epochs are used up, or a value is no longer finite.

    Each epoch is the notebook's four steps: forward pass, loss and backward pass in the objective, the update in the
    optimizer. The training has diverged when a value is not finite, or when it ended above 10 times its first loss and had
    risen in each of its last 10 epochs: far above the stable limit a loss can pass 1e257 while it is still finite.

    Whether to stop is looked at after a chunk of epochs, which is a single one where epochs take long and a millisecond or
    so of them where they do not. What was done beyond the epoch that ended the training is thrown away: no result but
    `seconds` depends on the length of a chunk.

    The epoch whose gradient is flat takes no step: what momentum is left would lead away from there.

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
        held: the loss on rows that are held out; θ (k, p) ↦ J(θ) (k,), …; evaluated once an epoch.
        patience: the training stops when that loss has not fallen below its least for so many epochs, 1 or more, and the
            weights of the epoch with the least are the result however the training ends, unless it diverges; None never stops.
        progress: told how far training is, at most twice a second.
    """
    chunk, log = _Chunk(parameters, dtype), _Log(parameters, dtype, keep_weights)
    watch = None if held is None else _Watch(held, patience)
    theta: Array = np.zeros(parameters, dtype)
    state: Any = optimizer.init(theta)
    flat, size, done, stopped = -1.0, 1, 0, False
    began = then = perf_counter()
    report_at = began + _PROGRESS_EVERY if progress else math.inf
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the training
        while done < epochs and not stopped:
            chunk.values.clear()
            chunk.start[...] = theta
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
            rests = sizes <= flat if stop_early else np.zeros(len(sizes), bool)
            ended = int(np.argmax(np.append(broken | rests, True)))
            k = min(ended + 1, len(losses))
            if watch and (enough := watch.see(chunk.before(k))) is not None:
                ended, k = enough, enough + 1
            stopped = ended < len(losses)
            if failure is not None and not stopped:
                raise failure
            if stopped and not broken[k - 1]:
                chunk.thetas[k - 1] = chunk.before(k)[-1]
            log.append(losses[:k], sizes[:k], chunk.thetas[:k], np.linspace(then - began, now - began, k + 1)[1:])
            done += k
            if now >= report_at and progress and not stopped:
                progress(done, float(losses[-1]))
                report_at = now + _PROGRESS_EVERY
            size, then = _next_size(size, now - then, chunk.longest), perf_counter()
        end = _End(chunk.thetas[k - 1].copy(), float(sizes[k - 1]), bool(broken[k - 1]), bool(rests[k - 1]), stopped, flat)
        return _concluded(objective, log, watch, done, end)


class _End(NamedTuple):
    """The last epoch of a training."""

    theta: Array  # (p,), after it
    gradient_norm: float
    broken: bool
    rested: bool
    stopped: bool  # before the epochs were used up
    flat: float  # gradient norm that counts as such


def _concluded(objective: Objective, log: _Log, watch: _Watch | None, epochs: int, end: _End) -> Trace:
    """What a training has come to."""
    loss, gradient_norm, seconds = log.columns()
    best, validation = watch.result(epochs) if watch else (None, None)
    thetas, steps = log.weights(end.theta)
    outcome, final_loss = Outcome.DIVERGED, math.nan
    if not end.broken:
        final_loss, gradient = objective(end.theta)
        flat = end.gradient_norm <= end.flat and (end.rested or norm(gradient) <= end.flat)
        seen = loss[:-1] if end.stopped and len(loss) > 1 else loss  # no step was taken after the last
        if math.isfinite(final_loss) and not _rises(seen, final_loss):
            outcome = Outcome.CONVERGED if flat else Outcome.STOPPED if end.stopped else Outcome.EXHAUSTED
    chosen = watch.weights if watch and best is not None and outcome != Outcome.DIVERGED else None
    if chosen is None:
        best = None
    else:
        final_loss = objective(chosen)[0]
    return Trace(loss, gradient_norm, thetas, seconds, final_loss, outcome, steps, validation, best, chosen)


def _next_size(size: int, seconds: float, longest: int) -> int:
    """How many epochs the next chunk has, after one that took so long."""
    if seconds <= _CHUNK_SECONDS:
        return min(2 * size, longest)
    return size // 2 if size > 1 and seconds > 4 * _CHUNK_SECONDS else size


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
        self.start: Array = np.zeros(parameters, kind)  # before the first
        self.rows = list(zip(self.gradients, self.thetas, strict=True))

    def before(self, epochs: int) -> Array:
        """The weights before the step of each of the first epochs, (epochs, p)."""
        return np.concatenate([self.start[None], self.thetas[: max(epochs - 1, 0)]])[:epochs]


class _Watch:
    """The loss on the rows held out, and the weights with the least of it."""

    def __init__(self, objective: Objective, patience: int | None) -> None:
        self._objective, self._patience = objective, patience
        self._seen: list[Array] = []
        self._epochs = 0
        self._least, self._best = math.inf, 0
        self.weights: Array = np.zeros(0)

    def see(self, thetas: Array) -> int | None:
        """Evaluate the weights of the next epochs, (k, p); at which of them patience has come to its end."""
        values = np.asarray(self._objective(thetas)[0], np.float64) if len(thetas) else np.zeros(0)
        self._seen.append(values)
        first = self._epochs
        self._epochs += len(values)
        for j, value in enumerate(values.tolist()):
            if value < self._least or first + j == 0:
                self._least = value if value < math.inf else math.inf  # no number is no loss that others could not be below
                self._best, self.weights = first + j, thetas[j].copy()
            if self._patience is not None and first + j - self._best >= self._patience:
                return j  # what comes after is thrown away, and must not be the best
        return None

    def result(self, epochs: int) -> tuple[int | None, Array]:
        """The best epoch, where patience asks for it, and the losses of so many epochs, (epochs,)."""
        return (None if self._patience is None else self._best), np.concatenate(self._seen)[:epochs]


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
