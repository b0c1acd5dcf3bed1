"""Several traces of one descent side by side: do the backends say the same?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from gd.backends import Objective
from gd.data import Array
from gd.training import Outcome, Trace

__all__ = ["Comparison", "compare", "disturbed", "tolerance"]

_ERROR = 64  # times ε, of the largest entry: what a gradient is disturbed by
_MARGIN = 10.0  # times the gap that one rounding error has made


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The largest difference between any two backends at each epoch that all of them reached."""

    loss_gap: Array  # (k,), of the losses before the step
    relative_loss_gap: Array  # (k,), of √(loss · largest loss so far)
    prediction_gap: Array  # (k,), of the predictions after the step, root mean square over all rows; NaN as the weights' gap
    relative_prediction_gap: Array  # (k,), of what the predictions have moved; NaN in the same places
    weight_gap: Array  # (k,), of any one weight after the step, as trained; NaN where no two backends' weights were kept
    relative_weight_gap: Array  # (k,), of that weight's scale; NaN in the same places
    tolerance: float  # that both relative gaps are held to, at the last epoch; at most 1
    first_epoch_apart: int | None  # None where they never part
    kept: Array  # (m,), the epochs after which the weights could be compared
    by: Literal["weights", "predictions"] = "weights"  # what decides beside the losses
    measured: bool = False  # whether the tolerance is what a disturbed descent has shown, and not what theory says

    @property
    def agree(self) -> bool:
        """Whether the backends stayed within the tolerance of each other at every epoch at which they were compared."""
        return self.first_epoch_apart is None


def tolerance(dtype: DTypeLike, epochs: int, rows: int = 1, growth: float = 1.0) -> Array:
    """The relative gap up to which two backends count as equal after each epoch, (epochs,).

    One gradient is a sum over the rows, whose rounding error is up to u = (16 + rows/4) ε of its terms: two frameworks add
    them in different orders, and a plain sum of equal terms was seen to lose 0.1 ε a row. A stable descent (`growth` at most
    1) passes an error on without enlarging it, so that errors add up at most linearly: u (1 + epochs), but no more than √ε,
    half of the digits, or 4 u where that is larger. An unstable one multiplies them by `growth` an epoch, and the tolerance
    grows with them: from where it passes 1 on rounding explains any gap.

    Args:
        dtype: of the training; ε is its distance from 1 to the next number.
        epochs: that are compared.
        rows: n.
        growth: max |1 - αλ|, by which the worst direction grows an epoch.
    """
    epsilon = float(np.finfo(dtype).eps)
    unit = (16 + rows / 4) * epsilon
    if growth <= 1:
        return np.full(epochs, min(unit * (1 + epochs), max(math.sqrt(epsilon), 4 * unit)))
    with np.errstate(over="ignore"):
        return np.asarray(unit * np.cumsum(np.float64(growth) ** np.arange(1.0, epochs + 1)))


def compare(
    traces: Sequence[Trace],
    feature_size: Array | None = None,
    *,
    rows: int = 1,
    rate: float = math.inf,
    growth: float = 1.0,
    root: Array | None = None,
    unique: bool = True,
    twin: Trace | None = None,
) -> Comparison:
    """Compare traces epoch by epoch, as far as the shortest goes.

    A loss is compared relative to √(loss · largest loss so far): residuals that carry a rounding error of ε·√(first loss)
    move the loss by twice that times √loss. A weight is compared relative to its scale: the largest that it has been in any
    trace, or √(largest loss so far) / `feature_size` where that is larger, the change in the weight that would move the loss
    by as much; but never more than the steps can have moved it, Σ 2 α `feature_size` √loss. From the first value that is not
    finite on there is nothing to compare, and the gaps are NaN; if only some of the traces diverged, they part there.

    A prediction is compared relative to the largest root mean square that the predictions have had in any trace, or as much
    of √(largest loss so far) as the steps can have moved them where that is larger. Where weights are not unique, rounding
    may lead two backends to different ones that are equally good: there the predictions decide in their place.

    Where weights were thinned, the losses are compared at every epoch and the weights where every trace has them. What parts
    in between shows at the next of these, or in a loss before it: the first epoch apart is the first at which it was seen.

    Args:
        traces: one a backend, of the same descent; one alone agrees with itself.
        feature_size: root mean square of each column of the design matrix, (p,); weights are only held against themselves
            when None, so that a weight of almost 0 can part by rounding.
        rows: n, over which each gradient sums.
        rate: α, the learning rate.
        growth: max |1 - αλ|; above 1 the descent is unstable and enlarges rounding.
        root: S with ‖S δ‖ the root mean square over all rows of the predictions by weights δ, (p, p), as in
            `gd.diagnosis.Spectrum`; predictions are not compared when None.
        unique: whether one choice of weights is the best, to what the dtype can tell; False needs `root`.
        twin: the descent of the first trace with a rounding error more in every gradient (`disturbed`), where no theory says
            what becomes of one: ten times the largest gap between the two so far, and half of the digits, count as equal.

    Raises:
        ValueError: if there is no trace, or if they differ in their number of weights or dtype.
    """
    if not traces:
        raise ValueError("nothing to compare: no trace")
    if len({(trace.theta.shape[1], trace.theta.dtype) for trace in traces}) > 1:
        raise ValueError("traces of different descents: their weights differ in number or dtype")
    k = min(map(len, traces))
    loss = np.array([trace.loss[:k] for trace in traces])  # (backends, k)
    steps = reduce(np.intersect1d, (trace.steps[1:] for trace in traces))  # no further than the shortest goes
    theta = np.array([trace.theta[np.searchsorted(trace.steps, steps)] for trace in traces], dtype=np.float64)
    kept = steps - 1  # theta (backends, m, p) is that after these epochs
    finite = np.isfinite(loss).all(axis=0)
    finite[kept] &= np.isfinite(theta).all(axis=(0, 2))
    until = k if finite.all() else int(np.argmin(finite))
    at = kept[kept < until]
    loss_gap, relative_loss, weight_gap, relative_weight, prediction_gap, relative_prediction = np.full((6, k), np.nan)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        loss_gap[:until] = np.ptp(loss[:, :until], axis=0)
        now = np.abs(loss[:, :until]).max(axis=0)
        most = np.sqrt(np.maximum.accumulate(now))
        relative_loss[:until] = _ratio(loss_gap[:until], np.sqrt(now) * most)
        theta = theta[:, : len(at)]
        gap = np.ptp(theta, axis=0)  # (m, p)
        scale = np.maximum.accumulate(np.abs(theta).max(axis=0), axis=0)
        if feature_size is not None:
            moved = 2 * rate * feature_size * np.cumsum(np.sqrt(now))[at, None]
            scale = np.maximum(scale, np.minimum(most[at, None] / feature_size, moved))
        weight_gap[at] = gap.max(axis=1)
        relative_weight[at] = _ratio(gap, scale).max(axis=1)
        if root is not None:
            gap = reduce(np.maximum, (_rms(a - b, root) for a, b in combinations(theta, 2)), np.zeros(len(at)))
            scale = np.maximum.accumulate(reduce(np.maximum, (_rms(one, root) for one in theta)))
            moved = 2 * rate * float((root * root).sum()) * np.cumsum(np.sqrt(now))[at]
            prediction_gap[at] = gap
            relative_prediction[at] = _ratio(gap, np.maximum(scale, np.minimum(most[at], moved)))

    allowed = tolerance(traces[0].theta.dtype, k, rows, growth)
    if twin is not None:
        allowed = _measured(traces[0], twin, k, unique, feature_size=feature_size, rows=rows, rate=rate, root=root)
    by: Literal["weights", "predictions"] = "weights" if unique or root is None else "predictions"
    held = relative_weight if by == "weights" else relative_prediction
    apart = np.flatnonzero((held[:until] > allowed[:until]) | (relative_loss[:until] > allowed[:until]))
    first = int(apart[0]) if len(apart) else None
    if first is None and until < k and allowed[until] < 1 and not all(t.outcome == Outcome.DIVERGED for t in traces):
        first = until
    return Comparison(
        loss_gap, relative_loss, prediction_gap, relative_prediction, weight_gap, relative_weight,
        min(float(allowed[-1]), 1.0), first, kept, by, twin is not None,
    )  # fmt: skip


def disturbed(objective: Objective, dtype: DTypeLike) -> Objective:
    """An objective whose gradients carry a rounding error more, the same at the same call.

    A gradient is a sum of terms that do not shrink with it: its error is of their size, and where an entry is almost 0, as it
    is again and again near an optimum, a share of that entry would be far too little. How large the terms are shows at first,
    when the gradient has not fallen yet.

    Args:
        objective: of the descent itself; the first θ that it is asked for is where a descent begins.
        dtype: of the training.
    """
    signs, error, terms = np.random.default_rng(0), _ERROR * float(np.finfo(dtype).eps), 0.0

    def evaluate(theta: Array) -> tuple[Any, Array]:
        nonlocal terms
        value, gradient = objective(theta)
        size = np.abs(gradient)
        terms = terms or float(size.max())
        shift = error * np.maximum(size, terms) * signs.choice([-1.0, 1.0], gradient.shape)
        return value, (gradient + shift).astype(gradient.dtype)

    return evaluate


def _measured(first: Trace, twin: Trace, epochs: int, unique: bool, **how: Any) -> Array:
    """The tolerance of each epoch, (epochs,), by what became of a rounding error in a descent that is otherwise the same."""
    found = compare([first, twin], **how)
    unit = (16 + how["rows"] / 4) * float(np.finfo(first.theta.dtype).eps)
    least = max(math.sqrt(float(np.finfo(first.theta.dtype).eps)), 4 * unit)
    gaps = np.fmax(found.relative_loss_gap, found.relative_weight_gap if unique else found.relative_prediction_gap)
    far = np.fmax.accumulate(np.nan_to_num(gaps, nan=0.0))
    last = float(far[-1]) if len(first) == len(twin) else 1.0  # one ended before the other: from there on nothing is known
    grown = np.append(far, np.full(max(epochs - len(far), 0), last))[:epochs]
    return np.asarray(np.minimum(np.maximum(least, _MARGIN * grown), 1.0))


def _rms(theta: Array, root: Array) -> Array:
    """Root mean square of the predictions by each weights, (m,), of (m, p)."""
    return np.asarray(np.linalg.norm(theta @ root.T, axis=1))


def _ratio(gap: Array, scale: Array) -> Array:
    """Gap / scale, where no gap is 0 whatever the scale."""
    return np.divide(gap, scale, out=np.zeros_like(gap), where=gap > 0)
