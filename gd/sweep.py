"""Many learning rates at once: the descents are the rows of one Θ, and an epoch of all of them is one matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import DTypeLike

from gd.backends import Objective
from gd.data import Array
from gd.training import Outcome, Progress, _rises, norm

__all__ = ["Sweep", "grid", "sweep"]

_GRID = (0.01, 10**-1.5, 0.1, 10**-0.5, 1.0, 2**0.5, 2**1.5, 4.0)  # in units of 1/λmax: the stable limit is 2
_RECENT = 10  # losses that tell a steady rise
_CHUNK = 1024  # epochs between two checks, at most
_CHUNK_NUMBERS = 2**20  # and so many weights in it
_CHUNK_SECONDS = 1e-3  # a chunk that took no longer is followed by one of twice its length
_PROGRESS_EVERY = 0.5  # seconds
_ROUNDING = 1000.0  # ε of the first loss


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Where gradient descent from zero ended with each learning rate."""

    rates: Array  # (m,), ascending
    outcomes: tuple[Outcome, ...]  # (m,)
    epochs: Array  # (m,), trained
    loss: Array  # (m,), at the end, which no epoch saw; NaN where a value was not finite before
    last_finite_loss: Array  # (m,)
    last_finite_epoch: Array  # (m,), the epoch that saw it; -1 where the loss was never finite
    theta: Array  # (m, p), where each ended
    first_loss: float  # at zero, the same for all
    resolution: float  # losses that are closer can differ by rounding alone

    def __len__(self) -> int:
        """How many rates were tried."""
        return len(self.rates)

    @property
    def best(self) -> float:
        """The rate with the lowest loss of those that did not diverge; the smallest rate where all did.

        Of losses that are the same up to rounding the one that needed fewer epochs is better, then the lower one, then the one
        of the smaller rate.
        """
        stayed = [j for j, outcome in enumerate(self.outcomes) if outcome != Outcome.DIVERGED]
        if not stayed:
            return float(self.rates.min())
        lowest = float(self.loss[stayed].min())
        tied = [j for j in stayed if self.loss[j] - lowest <= self.resolution]
        return float(self.rates[min(tied, key=lambda j: (self.epochs[j], self.loss[j], self.rates[j]))])

    def save(self, path: Path) -> None:
        """Write the sweep to a file, so that a path can travel."""
        with path.open("wb") as file:
            np.savez(
                file, rates=self.rates, outcomes=np.array(self.outcomes, dtype="U16"), epochs=self.epochs, loss=self.loss,
                last_finite_loss=self.last_finite_loss, last_finite_epoch=self.last_finite_epoch, theta=self.theta,
                first_loss=self.first_loss, resolution=self.resolution,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Sweep:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["rates"], tuple(map(Outcome, map(str, saved["outcomes"]))), saved["epochs"], saved["loss"],
                saved["last_finite_loss"], saved["last_finite_epoch"], saved["theta"],
                float(saved["first_loss"]), float(saved["resolution"]),
            )  # fmt: skip


def grid(auto_rate: float, best_rate: float) -> tuple[float, ...]:
    """The rates of `auto-sweep`: from 0.01/λmax to 4/λmax, two of them beyond the stable limit 2/λmax.

    They are a factor of √10 apart up to 1/λmax and √2 or 2 above it, with the best fixed rate put in between.

    Args:
        auto_rate: 1/λmax.
        best_rate: 2/(λmin + λmax); left out where the loss is flat and it is infinite.
    """
    rates = {factor * auto_rate for factor in _GRID}
    if math.isfinite(best_rate) and not any(math.isclose(best_rate, rate, rel_tol=1e-6) for rate in rates):
        rates.add(best_rate)
    return tuple(sorted(rates))


def sweep(
    objective: Objective,
    parameters: int,
    rates: Sequence[float],
    *,
    epochs: int,
    tolerance: float = 0.0,
    stop_early: bool = True,
    dtype: DTypeLike = np.float64,
    together: int = 64,
    progress: Progress | None = None,
) -> Sweep:
    """Plain gradient descent from zero weights with every rate, by the rules of `gd.training.train`.

    A rate that has converged stays where it is, and one that has diverged is left where it was: both leave the product, which
    gets smaller. Whether one has is looked at after a chunk of epochs, as long as these are quick; what was done beyond is
    thrown away, so that no number depends on it.

    Args:
        objective: a bound backend; θ (m, p) ↦ J(θ) (m,), ∇J(θ) (m, p).
        parameters: p, the length of one θ.
        rates: learning rates, all above 0.
        epochs: steps at most, 1 or more.
        tolerance: a rate has converged when its gradient norm is at most this share of the first; never when 0.
        stop_early: whether its descent ends there; otherwise every epoch is trained and the last gradient decides.
        dtype: of θ, as in the problem's arrays.
        together: rates in one product at most; memory grows with it and with the rows.
        progress: told how far training is and the lowest loss, at most twice a second.

    Raises:
        ValueError: if there is no rate, or one that is not above 0.
    """
    ordered = np.array(sorted(rates), np.float64)
    if not len(ordered) or not ordered[0] > 0:
        raise ValueError(f"learning rates must be above 0, not {', '.join(map(str, rates)) or 'none'}")
    swept = _Swept(ordered, parameters, dtype)
    parts = range(0, len(ordered), together)
    for part in parts:

        def told(done: int, loss: float, part: int = part) -> None:
            if progress:
                progress((part * epochs + min(together, len(ordered) - part) * done) // len(ordered), loss)

        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite leaves
            _descend(objective, swept, np.arange(part, min(part + together, len(ordered))), epochs, tolerance, stop_early, told)
    first_loss = float(swept.first_loss[0])
    return Sweep(
        ordered, tuple(swept.outcomes), swept.epochs, swept.loss, swept.last_loss, swept.last_epoch, swept.theta,
        first_loss, _ROUNDING * float(np.finfo(dtype).eps) * first_loss,
    )  # fmt: skip


class _Swept:
    """What is filled in as the rates end."""

    def __init__(self, rates: Array, parameters: int, dtype: DTypeLike) -> None:
        m = len(rates)
        with np.errstate(over="ignore"):
            self.steps: Array = -rates.astype(dtype)[:, None]
        self.theta: Array = np.zeros((m, parameters), dtype)  # zero until it ends
        self.outcomes = [Outcome.EXHAUSTED] * m
        self.epochs: Array = np.zeros(m, np.int64)
        self.loss: Array = np.full(m, np.nan)
        self.last_loss: Array = np.full(m, np.nan)
        self.last_epoch: Array = np.full(m, -1)
        self.first_loss: Array = np.full(m, np.nan)

    def end(self, j: int, outcome: Outcome, losses: Array, epochs: int, loss: float) -> None:
        """Rate j ends: with its last losses, one an epoch, and the loss that no epoch saw."""
        self.epochs[j], self.loss[j] = epochs, loss
        first = self.first_loss[j]
        recent = losses if epochs == len(losses) else np.append(first, losses)
        rose = outcome != Outcome.DIVERGED and (not math.isfinite(loss) or _rises(recent, loss))
        self.outcomes[j] = Outcome.DIVERGED if rose else outcome
        finite = np.flatnonzero(np.isfinite(losses))
        if len(finite):
            self.last_epoch[j], self.last_loss[j] = epochs - len(losses) + finite[-1], losses[finite[-1]]


def _descend(
    objective: Objective, swept: _Swept, alive: Array, epochs: int, tolerance: float, stop_early: bool, progress: Progress
) -> None:
    """All rates that are alive, until each has ended."""
    theta, steps = swept.theta[alive], swept.steps[alive]
    recent: Array = np.empty((0, len(alive)))
    flat: Array = np.full(len(alive), -1.0)
    done, size = 0, 1
    then = perf_counter()
    report_at = then + _PROGRESS_EVERY
    while len(alive):
        k = min(size, epochs - done, max(_CHUNK_NUMBERS // max(theta.size, 1), 1))
        losses, gradients = np.empty((k, len(alive))), np.empty((k, *theta.shape), theta.dtype)
        ways: Array = np.concatenate([theta[None], np.empty((k, *theta.shape), theta.dtype)])
        for t in range(k):
            losses[t], gradient = objective(theta)  # forward pass, loss, backward pass
            gradients[t] = gradient
            theta = np.add(theta, gradient * steps, ways[t + 1])  # update
        sizes = _norms(gradients)  # (k, m)
        if done == 0:
            swept.first_loss[alive] = losses[0]
            flat = tolerance * sizes[0] if tolerance else flat
        broken: Array = ~(np.isfinite(losses) & np.isfinite(sizes))
        rested: Array = sizes <= flat
        stops = broken | rested if stop_early else broken
        went = broken | ~rested if stop_early else np.ones_like(broken)  # where the gradient is flat no step is taken
        ended: Array = np.any(stops, axis=0)
        last = np.where(ended, stops.argmax(axis=0), k - 1)  # epoch of this chunk with which each rate ends
        recent = np.concatenate([recent, losses])
        if over := done + k == epochs:
            ended[:] = True
        leaving = np.flatnonzero(ended)
        if len(leaving):
            swept.theta[alive[leaving]] = reached = ways[last[leaving] + went[last[leaving], leaving], leaving]
            final, _ = objective(reached)
            for j, loss in zip(leaving, final, strict=True):
                at = len(recent) - k + last[j] + 1
                bad = broken[last[j], j]
                outcome = Outcome.DIVERGED if bad else Outcome.CONVERGED if rested[last[j], j] else Outcome.EXHAUSTED
                lately = recent[max(at - _RECENT, 0) : at, j]
                swept.end(int(alive[j]), outcome, lately, done + int(last[j]) + 1, math.nan if bad else float(loss))
        if over:
            return
        stay = ~ended
        done += k
        alive, theta, steps, flat, recent = alive[stay], theta[stay], steps[stay], flat[stay], recent[-_RECENT:, stay]
        now = perf_counter()
        if now >= report_at and len(alive):
            progress(done, float(recent[-1].min()))
            report_at = now + _PROGRESS_EVERY
        if now - then <= _CHUNK_SECONDS:
            size = min(2 * size, _CHUNK)
        elif size > 1 and now - then > 4 * _CHUNK_SECONDS:
            size //= 2
        then = now


def _norms(gradients: Array) -> Array:
    """Euclidean lengths in float64, (k, m) of (k, m, p), without overflow or underflow on the way."""
    wide = gradients.astype(np.float64, copy=False)
    squares = np.einsum("kmp,kmp->km", wide, wide)
    lengths: Array = np.sqrt(squares)
    for at in np.argwhere(~((squares > 1e-280) & (squares < 1e300))):
        lengths[*at] = norm(wide[*at])
    return lengths
