"""Exact cross-validation of least squares from moments: one pass over the rows serves every fold and every penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from gd.data import Array, Scaling
from gd.moments import Moments, merge

__all__ = ["CrossValidation", "assigned", "cross_validate", "folded", "remainders"]


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
        return np.asarray(self.losses.std(axis=1, ddof=1) / np.sqrt(len(self.rows)))

    @property
    def best(self) -> float:
        """The penalty under which the mean is lowest; the larger one where two are equal."""
        mean = self.mean
        return float(self.penalties[mean == mean.min()].max())


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


def cross_validate(
    folds: Sequence[Moments], penalties: Sequence[float] = (0.0,), *, intercept: bool = True, standardize: bool = True
) -> CrossValidation:
    """Fit least squares to all folds but one, exactly, and measure it on that one; for each fold and each penalty.

    The penalised loss is mean(r²) + κ Σ wⱼ² over the weights as trained, as in `gd.problems.ridge`; features are standardised
    by the rows that are fitted to. A fold costs O(d³), whatever number of rows it stands for.

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
    for j, (held, fitted) in enumerate(zip(folds, remainders(folds), strict=True)):
        d = len(fitted.shift) - 1
        scaling = fitted.scaling(center=intercept) if standardize else Scaling.none(d)
        A, b = fitted.compressed(scaling, intercept)
        X, y = held.compressed(scaling, intercept)
        for i, penalty in enumerate(each):
            r = X @ _penalised(A, b, penalty, d) - y
            losses[i, j] = r @ r / len(y)
    return CrossValidation(each, losses, np.array([fold.n for fold in folds]))


def _penalised(A: Array, b: Array, penalty: float, weights: int) -> Array:
    """The minimum of mean((A θ - b)²) + κ Σ θⱼ² over the first weights, as least squares of a longer table, (p,)."""
    if penalty:
        held = np.sqrt(penalty * len(b)) * np.eye(weights, A.shape[1])
        A, b = np.vstack([A, held]), np.append(b, np.zeros(weights))
    return np.asarray(np.linalg.lstsq(A, b)[0])
