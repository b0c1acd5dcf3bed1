"""Exact cross-validation of least squares from moments: one pass over the rows serves every fold and every penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from gd.blocks import blas_on_one_thread
from gd.data import Array, Scaling
from gd.moments import Moments, merge

__all__ = ["CrossValidation", "assigned", "cross_validate", "folded", "path", "remainders"]

_LARGEST = 10.0  # times the largest curvature: there every weight is an eleventh of least squares' or less
_SMALLEST = 1e-6  # of the largest


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """The mean squared error on each fold of the model that was fitted to all others."""

    penalties: Array  # (m,), κ of each L2 penalty
    losses: Array  # (m, k), in squared units of the target
    rows: Array  # (k,), of each fold

    @property
    def mean(self) -> Array:
        """Of the folds, each by its rows, (m,)."""
        return np.asarray(self.losses @ self.rows / self.rows.sum())

    @property
    def error(self) -> Array:
        """Standard error of the mean over the folds, (m,)."""
        size = self.losses.max(axis=1, keepdims=True)  # whose square float64 may not hold
        size[size == 0] = 1
        return np.asarray((self.losses / size).std(axis=1, ddof=1) * size[:, 0] / np.sqrt(len(self.rows)))

    @property
    def best(self) -> float:
        """The penalty under which the mean is lowest; the larger one where two are equal."""
        mean = self.mean
        return float(self.penalties[mean == mean.min()].max())

    @property
    def one_standard_error(self) -> float:
        """The largest penalty whose mean is at most one standard error above the lowest: the simplest model as good as any.

        Source:
            Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees, section 3.4.3.
        """
        best = int(np.flatnonzero(self.penalties == self.best)[0])
        return float(self.penalties[self.mean <= self.mean[best] + self.error[best]].max())


def assigned(rows: int, folds: int, seed: int = 0) -> Array:
    """The fold of each row, (rows,), by chance and as even as can be.

    Args:
        rows: n.
        folds: k, at least 2 and at most n.
        seed: of the chance; the same seed gives the same folds.

    Raises:
        ValueError: if there are too few folds or rows.
    """
    if not 2 <= folds <= rows:
        raise ValueError(f"{rows} rows cannot be split into {folds} folds: from 2 folds to one for each row is possible")
    return np.asarray(np.random.default_rng(seed).permutation(np.arange(rows) % folds))


def folded(columns: Sequence[Array], fold: Array) -> list[Moments]:
    """The moments of each fold's rows.

    Args:
        columns: the features, then the target, each (n,).
        fold: of each row, from 0 on, (n,).
    """
    return [Moments.of([column[fold == one] for column in columns]) for one in range(int(fold.max()) + 1)]


def remainders(folds: Sequence[Moments]) -> list[Moments]:
    """The moments of all rows but one fold's, for each fold.

    Merged from the folds before it and those behind, in 3 k merges: taking a fold away from all would cancel, and lose the
    digits by which a good fit differs from a perfect one.

    Args:
        folds: of one table, two or more.

    Raises:
        ValueError: if there is only one fold.
    """
    if len(folds) < 2:
        raise ValueError("one fold leaves nothing to fit a model to")
    before = list(accumulate(folds, merge))
    behind = list(accumulate(reversed(folds), merge))[::-1]
    inner = [merge(before[j - 1], behind[j + 1]) for j in range(1, len(folds) - 1)]
    return [behind[1], *inner, before[-2]]


def path(moments: Moments, count: int = 40, *, intercept: bool = True, standardize: bool = True) -> Array:
    """Penalties worth trying, in equal ratios: from one that leaves next to nothing of the weights to a millionth of it, and 0.

    The largest is 10 times the largest eigenvalue of the features' mean squares and products, under which no direction keeps
    more than an eleventh of its weight. Where no feature varies there is only 0.

    Args:
        moments: of the rows that are trained on.
        count: how many beside 0, at least 2.
        intercept: whether the model has one, which is not penalised.
        standardize: whether features of mean 0 and mean square 1 are fitted.

    Returns:
        κ of each, descending, (count + 1,) or (1,).
    """
    A, b = moments.compressed(_scaling(moments, intercept, standardize), intercept)
    with blas_on_one_thread():
        fit = _Ridge(A, b, len(moments.shift) - 1)
    largest = _LARGEST * float(fit.s.max(initial=0.0)) ** 2 / len(b)
    return np.append(np.geomspace(largest, _SMALLEST * largest, count), 0.0) if largest > 0 else np.zeros(1)


def cross_validate(
    folds: Sequence[Moments], penalties: Sequence[float] = (0.0,), *, intercept: bool = True, standardize: bool = True
) -> CrossValidation:
    """Fit least squares to all folds but one, exactly, and measure it on that one; for each fold and each penalty.

    The penalised loss is mean(r²) + κ Σ wⱼ² over the weights as trained, as in `gd.problems.ridge`; features are standardised
    by the rows that are fitted to. A fold costs O(d³) for all penalties together, whatever number of rows it stands for.

    Args:
        folds: moments of each fold, k of them.
        penalties: κ of each, at least 0, (m,).
        intercept: whether the model has one, which is not penalised.
        standardize: whether to fit features of mean 0 and mean square 1.

    Raises:
        ValueError: if there is only one fold, or a penalty below 0.

    Source:
        Stone (1974), Cross-validatory choice and assessment of statistical predictions, J. Roy. Stat. Soc. B 36.
    """
    each = np.array(penalties, dtype=np.float64)
    if not (each >= 0).all():
        raise ValueError(f"a penalty must be at least 0, not {each[~(each >= 0)][0]}")
    losses = np.empty((len(each), len(folds)))
    with blas_on_one_thread():
        for j, (held, fitted) in enumerate(zip(folds, remainders(folds), strict=True)):
            scaling = _scaling(fitted, intercept, standardize)
            A, b = fitted.compressed(scaling, intercept)
            X, y = held.compressed(scaling, intercept)
            theta = np.empty((A.shape[1], len(each)))
            if (each == 0).any():
                theta[:, each == 0] = np.linalg.lstsq(A, b)[0][:, None]
            if (each > 0).any():
                theta[:, each > 0] = _Ridge(A, b, len(fitted.shift) - 1).solve(each[each > 0])
            r = X @ theta - y[:, None]
            losses[:, j] = np.einsum("ij,ij->j", r, r) / len(y)
    return CrossValidation(each, losses, np.array([fold.n for fold in folds]))


def _scaling(moments: Moments, intercept: bool, standardize: bool) -> Scaling:
    return moments.scaling(center=intercept) if standardize else Scaling.none(len(moments.shift) - 1)


class _Ridge:
    """Minima of mean((A θ - b)²) + κ Σ θⱼ² over the first columns of A, for any number of κ from one decomposition.

    A last column beyond these, which is not penalised, is projected out of the others and of b first.

    Args:
        A: design, (m, p).
        b: targets, (m,).
        weights: columns that are penalised: p, or p - 1.
    """

    def __init__(self, A: Array, b: Array, weights: int) -> None:
        self._features, self._b = A[:, :weights], b
        self._free = A[:, weights:]  # (m, 1) or (m, 0)
        self._weight = self._free / np.maximum((self._free * self._free).sum(axis=0), np.finfo(np.float64).tiny)
        U, self.s, self._Vt = np.linalg.svd(self._features - self._projected(self._features), full_matrices=False)
        self._coordinates = U.T @ (b - self._projected(b))

    def solve(self, penalties: Array) -> Array:
        """θ for each κ above 0, (p, k)."""
        s = self.s[:, None]
        weights = self._Vt.T @ (s / (s * s + penalties * len(self._b)) * self._coordinates[:, None])
        rest = self._weight.T @ (self._b[:, None] - self._features @ weights)
        return np.vstack([weights, rest])

    def _projected(self, columns: Array) -> Array:
        """The part of some columns in the direction of the one that is not penalised."""
        return np.asarray(self._free @ (self._weight.T @ columns))
