"""How sure the weights are: standard errors, intervals and R² of the least-squares optimum, from the moments alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gd.data import Array
from gd.moments import Moments

__all__ = ["LEVEL", "Estimates", "infer", "quantile"]

LEVEL = 0.95  # of the intervals

_EPSILON = float(np.finfo(np.float64).eps)
_ROUNDINGS = 8  # of the target's size: residuals that are no larger are those of writing its cells as float64
_ARRIVED = 0.01  # standard errors: nobody would draw another conclusion
_NEAR = 1e-6  # of the target's spread: the same where there is no standard error

Gap = Literal["few-rows", "constant-target", "not-unique", "perfect"]


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """What least squares says of its own weights; NaN where that is not defined.

    All of it is of the exact optimum, whatever a descent made of it: see `distance` and `arrived`.
    """

    rows: int
    rank: int  # of the design matrix
    centred: bool  # whether R² and F are against the mean, as under an intercept, or against 0
    weights: Array  # (p,), of the optimum in units of the CSV, the intercept last
    errors: Array  # (p,), standard errors
    t: Array  # (p,), weights / errors
    p: Array  # (p,), two-sided: of a t as large where the weight is 0
    quantile: float  # of Student's t: half an interval is so many standard errors
    residual_error: float  # √(residual sum of squares / degrees of freedom): estimates the errors' standard deviation
    rmse: float  # √(residual sum of squares / rows): the root of the loss
    r2: float
    adjusted_r2: float
    f: float  # of all weights but the intercept together
    f_p: float
    spread: float  # root mean square of the target, about its mean where centred
    gap: Gap | None  # why something is not defined

    @property
    def degrees_of_freedom(self) -> int:
        """Rows that the weights leave free."""
        return self.rows - self.rank

    @property
    def explaining(self) -> int:
        """Directions that F is about: the rank but for the intercept."""
        return self.rank - self.centred

    @property
    def low(self) -> Array:
        """Lower ends of the intervals, (p,)."""
        return np.asarray(self.weights - self.quantile * self.errors)

    @property
    def high(self) -> Array:
        """Upper ends, (p,)."""
        return np.asarray(self.weights + self.quantile * self.errors)

    def distance(self, excess_loss: float) -> float:
        """How far weights with this much loss above the optimum's lie from it, in standard errors; NaN where there are none.

        Neither a weight nor any combination of them lies further: (cᵀδ)² ≤ cᵀ(XᵀX)⁻¹c · δᵀXᵀXδ, and the last is n times the
        excess loss.
        """
        if self.gap == "perfect" or not self.residual_error > 0:
            return math.nan
        return math.sqrt(self.rows) * math.sqrt(excess_loss) / self.residual_error

    def arrived(self, excess_loss: float) -> bool:
        """Whether weights with this much loss above the optimum's are the optimum to anyone who reads these numbers."""
        if not math.isnan(far := self.distance(excess_loss)):
            return far <= _ARRIVED
        return bool(math.sqrt(excess_loss) <= _NEAR * self.spread)  # False where it is not finite


def infer(moments: Moments, weights: Array, dependent: Sequence[int] = (), *, intercept: bool = True) -> Estimates:
    """Standard errors and all that follows from them, by ordinary least squares.

    With R the triangle of the design and ρ what it leaves of the target, σ² = ρ²/(n - rank) and the errors are σ times the
    lengths of the rows of R⁻¹. XᵀX, which would square the condition number, is never made; columns are scaled to length 1
    before R is inverted, and the rows' lengths do not depend on it.

    The errors suppose that rows are independent and that what is left of the target varies as much in all of them.

    Args:
        moments: of the features, then the target.
        weights: of the optimum, in units of the CSV, the intercept last, (p,).
        dependent: features that earlier ones explain exactly; see `gd.degeneracy`.
        intercept: whether the model has one.

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, 5.3.8 (what R says of the covariance).
    """
    n, d = moments.n, len(moments.shift) - 1
    kept = [j for j in range(d) if j not in set(dependent)]
    if len(kept) + intercept > n:
        kept = kept[: n - intercept]  # as many directions as there are rows
    R, rank = moments.triangle(kept, intercept), len(kept) + intercept
    free, unit = n - rank, moments.unit[-1]
    target = R[:, -1]
    explained = float(np.sum(target[int(intercept) : rank] ** 2))
    left = float(target[rank]) ** 2 if free > 0 else 0.0
    total = explained + left
    constant = intercept and bool(moments.low[-1] == moments.high[-1])
    rounding = _ROUNDINGS * _EPSILON * float(np.abs([moments.low[-1], moments.high[-1]]).max() * unit)
    gap: Gap | None = None
    if free <= 0:
        gap = "few-rows"
    elif constant or total == 0:
        gap, explained, left, total = "constant-target", 0.0, 0.0, 0.0
    elif math.sqrt(left / n) <= rounding:
        gap = "perfect"
    elif rank < d + intercept:
        gap = "not-unique"
    none = np.full(d + intercept, math.nan)
    sigma = math.sqrt(left / free) if free > 0 else math.nan
    errors, t, p, half, f, f_p = none, none, none, math.nan, math.nan, math.nan
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        if gap in {None, "perfect"} and rank == d + intercept:
            errors, half = sigma * _lengths(R[:rank, :rank], moments, intercept) / unit, quantile(free)
        if gap is None:
            t = weights / errors
            p = _above(t * t, 1, free)
        if gap in {None, "not-unique"} and rank > intercept:
            f = (explained / (rank - intercept)) / (left / free)
            f_p = float(_above(f, rank - intercept, free))
    return Estimates(
        rows=n,
        rank=rank,
        centred=intercept,
        weights=weights,
        errors=errors,
        t=t,
        p=p,
        quantile=half,
        residual_error=sigma / unit,
        rmse=math.sqrt(left / n) / unit,
        r2=explained / total if total > 0 and free > 0 else math.nan,
        adjusted_r2=1 - (n - intercept) / free * (left / total) if total > 0 and free > 0 else math.nan,
        f=f,
        f_p=f_p,
        spread=math.sqrt(total / n) / unit,
        gap=gap,
    )


def _lengths(R: Array, moments: Moments, intercept: bool) -> Array:
    """Lengths of the rows of R⁻¹ in units of the features, the intercept's last, (p,).

    R is of z = (v - shift) unit. Under an intercept the constant of the CSV's own columns is that of z less Σ weight · shift.
    """
    size = np.linalg.norm(R, axis=0)
    inverse = np.linalg.solve(R / size, np.eye(len(R))) / size[:, None]  # of a triangle: a solve without an exchange of rows
    unit = moments.unit[:-1]
    lengths = np.linalg.norm(inverse[int(intercept) :], axis=1) * unit
    if not intercept:
        return np.asarray(lengths)
    constant = inverse[0] - (moments.shift[:-1] * unit) @ inverse[1:]
    return np.append(lengths, np.linalg.norm(constant))


def quantile(free: int, level: float = LEVEL) -> float:
    """Of Student's t: half an interval is so many standard errors.

    Args:
        free: degrees of freedom.
        level: of the interval.
    """
    from scipy.special import stdtrit  # noqa: PLC0415  (a tenth of a second that only a run that was trained pays)

    return float(-stdtrit(free, (1 - level) / 2))


def _above(f: Array | float, explaining: int, free: int) -> Array:
    """The share of Fisher's F that lies above; that of t² with one direction is Student's t on both sides."""
    from scipy.special import fdtrc  # noqa: PLC0415

    return np.asarray(fdtrc(explaining, free, f))
