"""All that least squares needs to know of any number of rows: one pass over them, a few kilobytes, and parts that merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from gd.data import Array, Scaling

__all__ = ["Moments", "merge", "merge_all", "power_of_two", "refined", "signed", "triangle"]

_BLOCK = 8192  # rows that are scaled at once, and
_CHUNK = 512  # of those, factorised at once: both fit a core's caches
_NEAR = 1e-3  # of the target: what a good fit leaves of it
_WELL_CONDITIONED = 1e-5  # smallest singular value by the largest


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """First and second moments of the columns of a table, its features and then its target, in square-root form.

    Kept is the triangle R of the QR decomposition of B = [1, z], z = (v - shift) * unit, where the v are the columns. Then
    RᵀR = BᵀB holds the number of rows, the sums and all sums of products; but a mean squared error follows from R as a sum of
    squares, ‖Rθ‖²/n, so that nothing cancels when it is far smaller than the target's own square: its error is that of a loop
    over the rows. From the products themselves (θᵀBᵀBθ) a loss of 1e-12 has an error of 1e-3.

    Source:
        Demmel, Grigori, Hoemmen and Langou (2012), Communication-optimal parallel and sequential QR and LU
        factorizations, SIAM J. Sci. Comput. 34 (the QR of tall matrices by blocks).
    """

    n: int
    shift: Array  # (q,), near the means, so that columns far from zero lose no digit
    unit: Array  # (q,), powers of 2, so that no square overflows or underflows
    low: Array  # (q,), smallest value of each column; infinite where there is no row
    high: Array  # (q,), largest
    R: Array  # (min(n, q + 1), q + 1), upper triangular, its diagonal not negative

    @classmethod
    def none(cls, columns: int) -> Moments:
        """Those of no row at all: merging with them changes nothing."""
        zero, endless = np.zeros(columns), np.full(columns, np.inf)
        return cls(0, zero, np.ones(columns), endless, -endless, np.zeros((0, columns + 1)))

    @classmethod
    def of(cls, columns: Sequence[Array]) -> Moments:
        """Those of some rows.

        Args:
            columns: the features, then the target, each (n,), finite; `gd.device.moments` takes those of a GPU.
        """
        n, q = len(columns[0]), len(columns)
        if n == 0:
            return cls.none(q)
        low, high = np.array([c.min() for c in columns]), np.array([c.max() for c in columns])
        unit = power_of_two(np.maximum(np.abs(low), np.abs(high)))
        first = np.array([np.multiply(column[:_CHUNK], scale).mean() for column, scale in zip(columns, unit, strict=True)])
        mean = np.clip(first, low * unit, high * unit)  # so that a column that never changes becomes 0
        parts = []
        B = np.empty((min(n, _BLOCK), q + 1), order="F")
        for start in range(0, n, _BLOCK):
            rows = slice(0, min(_BLOCK, n - start))
            B[rows, 0] = 1
            for j, column in enumerate(columns):
                z = np.multiply(column[start : start + _BLOCK], unit[j], out=B[rows, j + 1])  # exact
                z -= mean[j]
            parts.append(triangle(B[rows]))
        R = parts[0] if len(parts) == 1 else triangle(np.vstack(parts))
        return cls(n, mean / unit, unit, low, high, R)

    @property
    def means(self) -> Array:
        """Of each column, (q,)."""
        return self.shift + self._offset / self.unit

    @property
    def cross(self) -> Array:
        """Centred sums of products, (q, q): the covariance times n."""
        centred = self.R[1:, 1:] / self.unit
        return centred.T @ centred

    @property
    def target_variance(self) -> float:
        """Mean squared deviation of the target from its mean; exactly 0 where it never changes."""
        if self.low[-1] == self.high[-1]:
            return 0.0
        deviation = self.R[1:, -1] / self.unit[-1]
        return float(deviation @ deviation) / self.n

    @property
    def target_square(self) -> float:
        """Mean square of the target, as it is: the square of its mean and its variance, added, so that nothing cancels."""
        if self.n == 0:
            return 0.0
        with np.errstate(over="ignore"):
            size = self.R[:, -1] / self.unit[-1]
            size[0] += self.R[0, 0] * self.shift[-1]
            return float(size @ size) / self.n

    @property
    def _offset(self) -> Array:
        """Mean of each z, (q,)."""
        return np.asarray(self.R[0, 1:] / self.R[0, 0]) if self.n else np.zeros(len(self.shift))

    def select(self, columns: Sequence[int]) -> Moments:
        """Those of some of the columns, the target last."""
        at = list(columns)
        R = triangle(self.R[:, [0, *(j + 1 for j in at)]])
        return Moments(self.n, self.shift[at], self.unit[at], self.low[at], self.high[at], R)

    def moved(self, origin: Array, size: Array) -> Moments:
        """Those of the same columns counted from an origin in units of a size, both (q,): (v - origin) / size for each v."""
        if not origin.any() and (size == 1).all():
            return self
        shift, low, high = ((values - origin) / size for values in (self.shift, self.low, self.high))
        return Moments(self.n, shift, self.unit * size, low, high, self.R)

    def scaling(self, center: bool) -> Scaling:
        """The scaling under which every feature has mean square 1, and with `center` mean 0; see `gd.data.standardize`.

        Args:
            center: whether to subtract the means; False where the model has no intercept.
        """
        shift = self.means[:-1] if center else np.zeros(len(self.shift) - 1)
        z = self._moved_to(shift)
        scale = np.sqrt((z * z).sum(axis=0) / self.n)
        constant = self.low[:-1] == self.high[:-1]
        return Scaling(shift, np.where((constant & center) | (scale == 0), 1.0, scale / self.unit[:-1]))

    def compressed(self, scaling: Scaling, intercept: bool) -> tuple[Array, Array]:
        """A table of q + 1 rows at most that no linear model can tell from all of them by its mean squared error.

        For every θ its loss, its gradient and its optimum are those of the n rows, so that whatever trains on rows trains on
        these, whose number does not grow with n.

        Args:
            scaling: applied to the features.
            intercept: whether the last column of the design is the constant's.

        Returns:
            A design matrix, (m, d) or (m, d + 1), column-major, and targets, (m,), where m is the smaller of n and d + 2.
        """
        rows, d = len(self.R), len(self.shift) - 1
        weight = np.sqrt(rows / self.n)  # a mean over so many rows instead of n
        A = np.empty((rows, d + intercept), order="F")
        with np.errstate(over="ignore"):  # columns whose squares float64 does not hold are the caller's to refuse
            A[:, :d] = self._moved_to(scaling.shift) / (scaling.scale * self.unit[:-1]) * weight
            b = (self.R[:, -1] / self.unit[-1] + self.R[:, 0] * self.shift[-1]) * weight
        A[:, d:] = self.R[:, :1] * weight
        return A, b

    def triangle(self, features: Sequence[int], intercept: bool) -> Array:
        """R of the design that a model of these features has, then the target, each column in its unit.

        Its first columns hold what the model can explain, its last the target in the directions of these, and then the length
        of what is left of it: the square root of the residual sum of squares.

        Args:
            features: which of them.
            intercept: whether the first column is the constant's, and the others are counted from `shift`; else all are as
                they are.

        Returns:
            Upper triangular, (min(n, p + 1), p + 1).
        """
        if intercept:
            whole = len(features) == len(self.shift) - 1
            return self.R if whole else self.select([*features, len(self.shift) - 1]).R
        at = [*features, len(self.shift) - 1]
        return triangle(self.R[:, 1:][:, at] + np.outer(self.R[:, 0], (self.shift * self.unit)[at]))

    def _moved_to(self, shift: Array) -> Array:
        """R's columns of (v - shift) * unit for the features, (rows of R, d).

        The means themselves are rounded when they become a shift; what that leaves of them stays in the first row.
        """
        features = slice(1, len(self.shift))
        return np.asarray(self.R[:, features] - np.outer(self.R[:, 0], (shift - self.shift[:-1]) * self.unit[:-1]))

    def save(self, path: Path) -> None:
        """Write them to a file, so that a path can travel."""
        with path.open("wb") as file:
            np.savez(file, n=self.n, shift=self.shift, unit=self.unit, low=self.low, high=self.high, R=self.R)

    @classmethod
    def load(cls, path: Path) -> Moments:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(int(saved["n"]), saved["shift"], saved["unit"], saved["low"], saved["high"], saved["R"])


def merge(first: Moments, second: Moments) -> Moments:
    """The moments of both parts' rows together; which is which and in what order changes only the rounding.

    Raises:
        ValueError: if the parts have different numbers of columns.
    """
    if len(first.shift) != len(second.shift):
        raise ValueError(f"moments of {len(first.shift)} and of {len(second.shift)} columns do not go together")
    if first.n < second.n:  # the larger part's shift is nearer to the common mean
        first, second = second, first
    if second.n == 0:
        return first
    unit = np.minimum(first.unit, second.unit)
    stacked = np.vstack([_with(first, first.shift, unit), _with(second, first.shift, unit)])
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return Moments(first.n + second.n, first.shift, unit, low, high, triangle(stacked))


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Merge one part or more, in their order."""
    return reduce(merge, parts)


def _with(part: Moments, shift: Array, unit: Array) -> Array:
    """R of the same rows under another shift and unit; no longer triangular."""
    R = part.R.copy()
    R[:, 1:] *= unit / part.unit
    R[:, 1:] += np.outer(R[:, 0], (part.shift - shift) * unit)
    return R


def power_of_two(largest: Array) -> Array:
    """The power of 2 that brings numbers of this size to at most 1."""
    exponent = np.clip(np.frexp(largest)[1], -1023, 1024)
    return np.asarray(np.ldexp(1.0, -exponent))


def triangle(B: Array) -> Array:
    """R of a QR decomposition of B, (min(n, p), p), by chunks of rows that fit a core's cache; its diagonal not negative."""
    n, p = B.shape
    rows = max(_CHUNK, 10 * p)
    whole = n // rows
    parts: list[Array] = [np.zeros((0, p))]
    if whole:
        strides = (rows * B.strides[0], *B.strides)
        chunks = np.lib.stride_tricks.as_strided(B, (whole, rows, p), strides, writeable=False)
        parts.append(_r(chunks).reshape(-1, p))
    if n % rows:
        parts.append(_r(B[whole * rows :]))
    R = np.vstack(parts)
    if whole + (n % rows > 0) > 1:
        R = triangle(R) if len(R) > rows else _r(R)
    return refined(signed(R), B)


def signed(R: Array) -> Array:
    """The same triangle with a diagonal that is not negative."""
    return np.asarray(R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None])


def _as_it_is(values: Any) -> Any:
    return values


def refined(
    R: Array, B: Any, put: Callable[[Array], Any] = _as_it_is, back: Callable[[Any], Array] = _as_it_is
) -> Array:  # fmt: skip
    """R of a target that the features all but explain, its last column found anew from B's own residuals; else R itself.

    A reflection leaves an error of ε‖y‖ in the length of what is not explained; residuals of single rows err by as much
    each, but in all directions, so that their sum of squares hardly errs. Where columns nearly repeat each other their
    weights are too large for that, and R stays.

    Args:
        R: triangle of B, its diagonal not negative, (min(n, p), p).
        B: the rows, (n, p), wherever they lie.
        put: takes NumPy's arrays there.
        back: takes what is there into NumPy's memory.
    """
    if len(R) < R.shape[1] or not R[-1, -1] < _NEAR * np.linalg.norm(R[:, -1]):
        return R
    size = np.linalg.norm(R[:, :-1], axis=0)
    used = np.flatnonzero(size > 0)
    Q, y = R[:-1, used] / size[used], R[:-1, -1]
    spread = np.linalg.svd(Q, compute_uv=False)
    if spread[-1] < _WELL_CONDITIONED * spread[0]:
        return R
    A = B[:, used] / put(size[used])
    beta = np.linalg.lstsq(Q, y)[0]
    r = B[:, -1] - A @ put(beta)
    rest = np.linalg.lstsq(Q.T, back(A.T @ r))[0]  # what is left to explain: next to nothing
    R = R.copy()
    R[:-1, -1] = Q @ beta + rest
    R[-1, -1] = np.sqrt(max(float(back(r @ r) - rest @ rest), 0.0))
    return R


def _r(B: Array) -> Array:
    return np.asarray(np.linalg.qr(B, mode="r"))
