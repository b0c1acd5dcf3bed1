"""Several traces of one descent side by side: do the backends say the same?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from gd.data import Array
from gd.training import Outcome, Trace

__all__ = ["Comparison", "compare", "tolerance"]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The largest difference between any two backends at each epoch that all of them reached."""

    loss_gap: Array  # (k,), of the losses before the step
    relative_loss_gap: Array  # (k,), of √(loss · largest loss so far)
    weight_gap: Array  # (k,), of any one weight after the step, as trained
    relative_weight_gap: Array  # (k,), of that weight's scale
    tolerance: float  # both relative gaps are held to it
    first_epoch_apart: int | None  # None where they never part

    @property
    def agree(self) -> bool:
        """Whether the backends stayed within the tolerance of each other at every epoch."""
        return self.first_epoch_apart is None


def tolerance(dtype: DTypeLike, epochs: int) -> float:
    """The relative gap up to which two backends count as equal: min(16 ε (1 + epochs), √ε).

    ε is the dtype's distance from 1 to the next number. A descent that is stable passes an error on without enlarging it,
    so the rounding of one gradient, some ε, adds up at most linearly with the epochs; 16 leaves room for the order of the
    sums over the rows. The bound ends at √ε, half of the digits, since no number of epochs excuses more.
    """
    epsilon = float(np.finfo(dtype).eps)
    return min(16 * epsilon * (1 + epochs), math.sqrt(epsilon))


def compare(traces: Sequence[Trace], feature_size: Array | None = None) -> Comparison:
    """Compare traces epoch by epoch, as far as the shortest goes.

    A loss is compared relative to √(loss · largest loss so far): residuals that carry a rounding error of ε·√(first loss)
    move the loss by twice that times √loss. A weight is compared relative to its scale: the largest that it has been in any
    trace, or √(largest loss so far) / `feature_size` where that is larger, the change in the weight that would move the loss
    by as much. From the first value that is not finite on there is nothing to compare, and the gaps are NaN; if only some of
    the traces diverged, they part there.

    Args:
        traces: one a backend, of the same descent; one alone agrees with itself.
        feature_size: root mean square of each column of the design matrix, (p,); weights are only held against themselves
            when None, so that a weight of almost 0 can part by rounding.

    Raises:
        ValueError: if there is no trace, or if they differ in their number of weights or dtype.
    """
    if not traces:
        raise ValueError("nothing to compare: no trace")
    if len({(trace.theta.shape[1], trace.theta.dtype) for trace in traces}) > 1:
        raise ValueError("traces of different descents: their weights differ in number or dtype")
    k = min(map(len, traces))
    loss = np.array([trace.loss[:k] for trace in traces])  # (backends, k)
    theta = np.array([trace.theta[1 : k + 1] for trace in traces], dtype=np.float64)  # (backends, k, p)
    finite = np.isfinite(loss).all(axis=0) & np.isfinite(theta).all(axis=(0, 2))
    until = k if finite.all() else int(np.argmin(finite))
    loss_gap, relative_loss, weight_gap, relative_weight = np.full((4, k), np.nan)
    with np.errstate(over="ignore", divide="ignore"):
        loss_gap[:until] = np.ptp(loss[:, :until], axis=0)
        now = np.abs(loss[:, :until]).max(axis=0)
        most = np.sqrt(np.maximum.accumulate(now))
        relative_loss[:until] = _ratio(loss_gap[:until], np.sqrt(now) * most)
        gap = np.ptp(theta[:, :until], axis=0)  # (until, p)
        scale = np.maximum.accumulate(np.abs(theta[:, :until]).max(axis=0), axis=0)
        if feature_size is not None:
            scale = np.maximum(scale, most[:, None] / feature_size)
        weight_gap[:until] = gap.max(axis=1)
        relative_weight[:until] = _ratio(gap, scale).max(axis=1)

    allowed = tolerance(traces[0].theta.dtype, k)
    apart = np.flatnonzero((relative_weight[:until] > allowed) | (relative_loss[:until] > allowed))
    first = int(apart[0]) if len(apart) else None
    if first is None and until < k and not all(trace.outcome == Outcome.DIVERGED for trace in traces):
        first = until
    return Comparison(loss_gap, relative_loss, weight_gap, relative_weight, allowed, first)


def _ratio(gap: Array, scale: Array) -> Array:
    """Gap / scale, where no gap is 0 whatever the scale."""
    return np.divide(gap, scale, out=np.zeros_like(gap), where=gap > 0)
