"""The one loop that every backend, loss and optimizer shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import DTypeLike
from pydantic import BaseModel, ConfigDict, Field, field_validator

from gd.backends import Objective
from gd.data import Array
from gd.optimizers import Optimizer

__all__ = ["Outcome", "Trace", "Training", "norm", "preset", "train"]

_CLEAR_RISE = 10.0  # times the first loss
_STEADY_RISE = 10  # epochs in a row
_PROGRESS_EVERY = 0.5  # seconds

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Progress = Callable[[int, float], None]
"""Called with the epochs done and the last loss, at most twice a second."""


class Training(BaseModel):
    """How to train: the settings that people and Prefect's form fill in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["mse", "notebook"] = Field(
        "mse", description="Mean squared error, or the notebook's: the same loss with a gradient n times too large."
    )
    optimizer: Literal["gradient-descent"] = "gradient-descent"
    learning_rate: Rate | Literal["auto", "auto-sweep"] | Annotated[tuple[Rate, ...], Field(min_length=2, max_length=64)] = (
        Field(
            "auto",
            description="Length of a step in gradients; auto is 1/λmax, from the curvature of the loss on these data. "
            "Several rates are all tried, and the best of them is trained with; auto-sweep tries nine around that curvature.",
        )
    )
    epochs: int = Field(1000, ge=1, description="Steps at most; each sees every row once.")
    tolerance: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="Stop when the gradient norm has fallen to this share of its first value; 0 never stops early; "
        "auto is 1e-10 in float64 and 1e-5 in float32, which rounding does not let fall further.",
    )
    dtype: Literal["float64", "float32"] = "float64"
    intercept: bool = Field(True, description="Whether the model has a constant beside the weights.")
    standardize: bool = Field(True, description="Train on features of mean 0 and spread 1; results are given in CSV units.")
    backends: tuple[str, ...] = Field(("numpy", "torch"), min_length=1, description="Which frameworks train, in order.")
    preset: Literal["notebook"] | None = Field(None, description="Where these settings came from.")

    @field_validator("learning_rate")
    @classmethod
    def _no_rate_twice(cls, rate: float | str | tuple[float, ...]) -> float | str | tuple[float, ...]:
        if isinstance(rate, tuple) and len(set(rate)) < len(rate):
            raise ValueError(f"{next(one for j, one in enumerate(rate) if one in rate[:j])} is named twice")
        return rate

    @property
    def sweeps(self) -> bool:
        """Whether several learning rates are tried first."""
        return self.learning_rate == "auto-sweep" or isinstance(self.learning_rate, tuple)

    @property
    def stops_early(self) -> bool:
        """Whether training ends as soon as it has converged."""
        return self.tolerance != 0

    @property
    def stop_below(self) -> float:
        """The tolerance as a number; where nothing stops early, what is held against the last gradient."""
        if self.tolerance == "auto" or not self.stops_early:
            return 1e-10 if self.dtype == "float64" else 1e-5
        return self.tolerance


def preset(name: Literal["notebook"]) -> Training:
    """The settings under which both printed tables of the teaching notebook come out again."""
    return Training(
        loss="notebook", learning_rate=0.01, epochs=10, tolerance=0, dtype="float32", intercept=False, standardize=False,
        preset=name,
    )  # fmt: skip


class Outcome(StrEnum):
    """How a training ended."""

    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What gradient descent saw: one entry an epoch, taken before that epoch's step."""

    loss: Array  # (k,)
    gradient_norm: Array  # (k,), Euclidean
    theta: Array  # (k + 1, p), intercept last; the last row is where it ended
    seconds: Array  # (k,), since training began
    final_loss: float  # at theta[k], which no epoch saw
    outcome: Outcome

    def __len__(self) -> int:
        """Epochs trained."""
        return len(self.loss)

    def save(self, path: Path) -> None:
        """Write the trace to a file, so that a path can travel and not a matrix."""
        with path.open("wb") as file:
            np.savez(
                file, loss=self.loss, gradient_norm=self.gradient_norm, theta=self.theta, seconds=self.seconds,
                final_loss=self.final_loss, outcome=str(self.outcome),
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["loss"], saved["gradient_norm"], saved["theta"], saved["seconds"],
                float(saved["final_loss"]), Outcome(str(saved["outcome"])),
            )  # fmt: skip


def train(
    objective: Objective,
    parameters: int,
    optimizer: Optimizer,
    *,
    epochs: int,
    tolerance: float = 0.0,
    stop_early: bool = True,
    dtype: DTypeLike = np.float64,
    progress: Progress | None = None,
) -> Trace:
    """Descend from zero weights until the gradient is flat, the epochs are used up, or a value is no longer finite.

    Each epoch is the notebook's four steps: forward pass, loss and backward pass in the objective, the update in the
    optimizer. The training has diverged when a value is not finite, or when it ended above 10 times its first loss and had
    risen in each of its last 10 epochs: far above the stable limit a loss can pass 1e257 while it is still finite.

    Args:
        objective: a bound backend; θ (p,) ↦ J(θ), ∇J(θ).
        parameters: p, the length of θ.
        optimizer: turns gradients into steps.
        epochs: steps at most, 1 or more.
        tolerance: converged when the gradient norm is at most this share of its first value; never when 0.
        stop_early: whether to end there; otherwise every epoch is trained and the last gradient decides.
        dtype: of θ, as in the problem's arrays.
        progress: told how far training is, at most twice a second.
    """
    loss, gradient_norm, seconds = np.empty(epochs), np.empty(epochs), np.empty(epochs)
    thetas = np.empty((epochs + 1, parameters), dtype)
    theta: Array = np.zeros(parameters, dtype)
    state: Any = optimizer.init(theta)
    thetas[0] = theta
    outcome, flat, update, isfinite = Outcome.EXHAUSTED, -1.0, optimizer.update, math.isfinite
    began = perf_counter()
    report_at = began + _PROGRESS_EVERY if progress else math.inf
    epoch = 0
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the loop below
        for epoch in range(epochs):
            value, gradient = objective(theta)  # forward pass, loss, backward pass
            step, state = update(gradient, state)
            theta = theta + step  # update
            size = norm(gradient)
            now = perf_counter()
            loss[epoch], gradient_norm[epoch], thetas[epoch + 1], seconds[epoch] = value, size, theta, now - began
            if not (isfinite(value) and isfinite(size)):
                outcome = Outcome.DIVERGED
                break
            if epoch == 0:
                flat = tolerance * size if tolerance else -1.0
            outcome = Outcome.CONVERGED if size <= flat else Outcome.EXHAUSTED
            if stop_early and size <= flat:
                break
            if now >= report_at and progress:
                progress(epoch + 1, value)
                report_at = now + _PROGRESS_EVERY
        final_loss = objective(theta)[0] if outcome != Outcome.DIVERGED else math.nan
    k = epoch + 1
    if outcome != Outcome.DIVERGED and (not isfinite(final_loss) or _rises(loss[:k], final_loss)):
        outcome = Outcome.DIVERGED
    return Trace(loss[:k], gradient_norm[:k], thetas[: k + 1], seconds[:k], final_loss, outcome)


def _rises(loss: Array, final_loss: float) -> bool:
    """Whether training ended clearly above its first loss and was still rising."""
    last = np.append(loss, final_loss)[-_STEADY_RISE - 1 :]
    return bool(final_loss > _CLEAR_RISE * loss[0] and (np.diff(last) > 0).all())


def norm(gradient: Array) -> float:
    """Euclidean length in float64, without overflow or underflow on the way: entries of 1e-200 and 1e200 keep theirs.

    NumPy warns where the plain square overflows: call it under ``np.errstate(over="ignore")``.
    """
    wide = gradient.astype(np.float64, copy=False)
    square = float(wide.dot(wide))
    if 1e-280 < square < 1e300:
        return math.sqrt(square)
    largest = float(np.abs(wide).max())
    if not 0 < largest < math.inf:
        return largest
    scaled = wide / largest
    return largest * math.sqrt(float(scaled @ scaled))
