"""Why a descent went as it did: the curvature of the loss, the steps it allows, the optimum, and a check of each gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gd.backends import Objective
from gd.data import Array
from gd.problems import least_squares
from gd.training import Trace

__all__ = ["Diagnosis", "GradientCheck", "Spectrum", "check_gradient", "diagnose", "spectrum"]

_CLOSE = 1e-6  # of the first excess loss: where a descent counts as having arrived
_MOST_EPOCHS = 10**12
_BLOCK = 16_384  # rows, or epochs


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The mean squared error as a parabola: J(θ) = J* + ½ (θ - θ*)ᵀ H (θ - θ*), with H = V diag(λ) Vᵀ."""

    eigenvalues: Array  # (p,), λ ascending; those that rounding cannot tell from 0 are 0
    vectors: Array  # (p, p), V, one eigenvector a column
    optimum: Array  # (p,), θ*; the shortest one where several are
    optimum_loss: float  # J*
    start: Array  # (p,), Vᵀ(0 - θ*): where a descent from zero begins, in eigenvectors
    root: Array  # (p, p), S with SᵀS = H/2: ‖S δ‖ is the root mean square of the predictions by weights δ

    @property
    def stable_below(self) -> float:
        """Limit of a stable step, 2/λmax."""
        return _over(2.0, float(self.eigenvalues[-1]))

    @property
    def auto_rate(self) -> float:
        """The step of the setting `auto`, 1/λmax: no direction overshoots. 1 where the loss is flat."""
        rate = _over(1.0, float(self.eigenvalues[-1]))
        return rate if math.isfinite(rate) else 1.0

    @property
    def best_rate(self) -> float:
        """The fixed step under which the slowest direction is fastest, 2/(λmin + λmax) over directions that curve."""
        return _over(2.0, self._least + float(self.eigenvalues[-1]))

    @property
    def condition(self) -> float:
        """λmax/λmin; infinite where a direction is flat and the weights are not unique."""
        return _over(float(self.eigenvalues[-1]), float(self.eigenvalues[0]))

    @property
    def _least(self) -> float:
        return float(min(self.eigenvalues[self.eigenvalues > 0], default=0.0))

    def contraction(self, rate: float) -> float:
        """The factor by which the slowest direction shrinks an epoch, max |1 - αλ|; the theoretical rate of the descent."""
        curved = self.eigenvalues[self.eigenvalues > 0]
        return float(np.abs(1 - rate * curved).max(initial=0.0))

    def excess(self, theta: Array) -> Array:
        """J(θ) - J*, (k,), of weights (k, p), without the cancellation of subtracting two losses."""
        with np.errstate(over="ignore", invalid="ignore"):
            further = (theta - self.optimum) @ self.root.T
            return np.asarray(np.vecdot(further, further))

    def predicted_excess(self, rate: float, epochs: Array) -> Array:
        """J(θ) - J* after so many exact steps from zero, ½ Σ λᵢ cᵢ² (1 - αλᵢ)²ᵗ, (k,)."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            energy = self.eigenvalues * self.start**2 / 2
            factors = np.abs(1 - rate * self.eigenvalues)
            excess = np.empty(len(epochs))
            for start in range(0, len(epochs), _BLOCK):  # a million epochs need no (k, p)
                block = slice(start, start + _BLOCK)
                excess[block] = (factors[None, :] ** (2.0 * np.asarray(epochs[block])[:, None])) @ energy
            return excess

    def epochs_to(self, rate: float, share: float = _CLOSE) -> float:
        """Epochs until the excess loss has fallen to this share of its first value; infinite where it never does."""
        first = float(self.predicted_excess(rate, np.zeros(1))[0])
        if first == 0:
            return 0
        if rate >= self.stable_below:
            return math.inf
        low, high = 0, 1
        while not self.predicted_excess(rate, np.array([high]))[0] <= share * first:
            low, high = high, 2 * high
            if high > _MOST_EPOCHS:
                return math.inf
        while high - low > 1:  # below the stable limit the excess only falls
            middle = (low + high) // 2
            reached = self.predicted_excess(rate, np.array([middle]))[0] <= share * first
            low, high = (low, middle) if reached else (middle, high)
        return high

    def save(self, path: Path) -> None:
        """Write the spectrum to a file, so that a path can travel and not a matrix."""
        with path.open("wb") as file:
            np.savez(
                file, eigenvalues=self.eigenvalues, vectors=self.vectors, optimum=self.optimum,
                optimum_loss=self.optimum_loss, start=self.start, root=self.root,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Spectrum:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["eigenvalues"], saved["vectors"], saved["optimum"], float(saved["optimum_loss"]), saved["start"],
                saved["root"],
            )  # fmt: skip


def spectrum(X: Array, y: Array) -> Spectrum:
    """Curvature and optimum of the mean squared error of a linear model.

    From the triangle R of X's QR decomposition and its singular values σ, with λ = 2 σ²/n: the Hessian 2 XᵀX/n itself would
    square the condition number, and with columns far from zero lose the directions that matter. R is made block by block, so
    that no second X is needed. As in `numpy.linalg.lstsq`, a direction with σ ≤ max(n, p) ε σmax counts as flat, unless it is
    only beside columns that are so much larger: where the columns are independent once each is scaled to length 1, the small
    curvatures are those of the inverse of R, from scaled columns too.

    Args:
        X: the design matrix, a column of ones last where there is an intercept, float64, (n, p).
        y: targets, float64, (n,).

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, 5.3 (least squares by QR).
    """
    n, p = X.shape
    R = np.zeros((0, p + 1))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        R = np.asarray(np.linalg.qr(np.vstack([R, np.column_stack([X[rows], y[rows]])]), mode="r"))
    R = np.vstack([R, np.zeros((p + 1 - len(R), p + 1))])  # where there are fewer rows than columns
    U, sizes, Vt = np.linalg.svd(R[:p, :p])
    U, sizes, vectors = U[:, ::-1], sizes[::-1], Vt.T[:, ::-1]  # ascending
    flat = sizes <= sizes[-1] * max(n, p) * float(np.finfo(np.float64).eps)
    values = np.where(flat, 0.0, 2 / n * sizes**2)
    evaluate = least_squares(X, y).value_and_gradient
    if flat.any() and (scaled := _scaled(R[:p, :p], max(n, p))) is not None:
        B, size = scaled
        W, longest, _ = np.linalg.svd(np.linalg.inv(B) / size[:, None])
        small = np.flatnonzero(flat)
        values[small], vectors[:, small] = 2 / n / longest[: len(small)] ** 2, W[:, : len(small)]
        optimum = np.linalg.solve(B, R[:p, p]) / size
    else:
        optimum = vectors @ np.divide(U.T @ R[:p, p], sizes, out=np.zeros(p), where=~flat)
        _, gradient = evaluate(optimum, X, y)
        optimum = optimum - vectors @ np.divide(vectors.T @ gradient, values, out=np.zeros(p), where=~flat)
    loss, _ = evaluate(optimum, X, y)
    root = R[:p, :p] / math.sqrt(n)
    return Spectrum(values, np.ascontiguousarray(vectors), optimum, float(loss), -(vectors.T @ optimum), root)


def _scaled(R: Array, rows: int) -> tuple[Array, Array] | None:
    """R with columns of length 1 and these lengths, where no direction of it is flat; else None."""
    size = np.linalg.norm(R, axis=0)
    if not (size > 0).all():
        return None
    sizes = np.linalg.svd(R / size, compute_uv=False)
    return (R / size, size) if sizes[-1] > sizes[0] * rows * float(np.finfo(np.float64).eps) else None


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """A backend's gradient held against central differences of the loss that it states."""

    ratio: float  # 1 where the gradient is right; NaN where the loss is flat, or overflows
    error: float  # length of what the ratio does not explain, relative to the gradient


def check_gradient(objective: Objective, spectrum: Spectrum) -> GradientCheck:
    """Compare a backend's gradient with central differences of its own loss, at the start and halfway to the optimum.

    Directions whose curvature is below rounding beside the largest are not gone along: there the loss would be that of
    predictions that cancel.

    A step is ∛ε of the change in a weight that would double the loss, which balances rounding and truncation; for a
    quadratic loss there is no truncation. Bind the objective to float64 arrays: float32 leaves too few digits.

    Args:
        objective: a bound backend, θ (p,) ↦ J(θ), ∇J(θ).
        spectrum: of the same problem.
    """
    curvature = np.einsum("ij,j,ij->i", spectrum.vectors, spectrum.eigenvalues, spectrum.vectors)  # the Hessian's diagonal
    stated, measured = [], []
    seen = spectrum.eigenvalues > spectrum.eigenvalues[-1] * (100 * float(np.finfo(np.float64).eps)) ** 2
    optimum = spectrum.vectors[:, seen] @ (spectrum.vectors[:, seen].T @ spectrum.optimum)
    with np.errstate(over="ignore", invalid="ignore"):
        for theta in (np.zeros_like(optimum), optimum / 2):
            value, gradient = objective(theta)
            natural = np.divide(math.sqrt(max(value, 0.0)), np.sqrt(curvature), out=np.ones_like(theta), where=curvature > 0)
            steps = float(np.finfo(np.float64).eps) ** (1 / 3) * np.where(natural > 0, natural, 1.0)
            central = np.empty_like(gradient)
            for j, h in enumerate(np.maximum(steps, 4 * np.spacing(np.abs(theta)))):
                offset = np.zeros_like(theta)
                offset[j] = h
                above, below = theta + offset, theta - offset
                central[j] = (objective(above)[0] - objective(below)[0]) / (above[j] - below[j])
            stated.append(gradient)
            measured.append(central)
        g, d = np.concatenate(stated), np.concatenate(measured)
        largest = float(np.abs(d).max())
        if not 0 < largest < math.inf:
            return GradientCheck(math.nan, math.nan)
        g, d = g / largest, d / largest  # whose squares neither overflow nor vanish
        length = float(d @ d)
        ratio = float(g @ d) / length
        error = float(np.linalg.norm(g - ratio * d)) / math.sqrt(length)
    return GradientCheck(ratio, error) if math.isfinite(error) else GradientCheck(math.nan, math.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What the data's curvature says about a descent with a given step."""

    spectrum: Spectrum
    rate: float
    predicted_epochs: float  # until the excess loss is 1e-6 of its first value, at this rate; may be infinite
    predicted_epochs_best: float  # the same at the best rate
    excess_loss: float  # J - J* where training ended, of the backend that ended furthest from the optimum
    gradients: tuple[GradientCheck, ...]  # one a backend
    rank: int  # of the design matrix, of as many columns as there are parameters


def diagnose(
    spectrum: Spectrum, rate: float, traces: Sequence[Trace], gradients: Sequence[GradientCheck], rank: int | None = None
) -> Diagnosis:
    """Put the curvature, the step and the traces together.

    Args:
        spectrum: of the problem that was trained.
        rate: the learning rate that was used.
        traces: one a backend.
        gradients: one a backend, in the same order.
        rank: of the design matrix, from `gd.degeneracy`; the directions that curve when None.
    """
    ends = np.array([trace.theta[-1] for trace in traces], dtype=np.float64)
    return Diagnosis(
        spectrum=spectrum,
        rate=rate,
        predicted_epochs=spectrum.epochs_to(rate),
        predicted_epochs_best=spectrum.epochs_to(spectrum.best_rate) if spectrum.best_rate < math.inf else 0,
        excess_loss=float(spectrum.excess(ends).max()),
        gradients=tuple(gradients),
        rank=int(np.count_nonzero(spectrum.eigenvalues)) if rank is None else rank,
    )


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.inf
