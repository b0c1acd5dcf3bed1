"""Why a descent went as it did: the curvature of the loss, the steps it allows, the optimum, and a check of each gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gd.backends import Objective
from gd.data import Array
from gd.optimum import minimum
from gd.problems import Problem, in_blocks, least_squares, ridge
from gd.theory import PLAIN, Law
from gd.training import Trace

__all__ = ["Diagnosis", "GradientCheck", "Spectrum", "check_gradient", "diagnose", "excess", "spectrum", "surroundings"]

_CLOSE = 1e-6  # of the first excess loss: where a descent counts as having arrived
_MOST_EPOCHS = 10**12
_BLOCK = 16_384  # rows, or epochs
_LONGEST = 2**20  # epochs of a descent that swings, which are looked at one by one


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The loss as a parabola: J(θ) = J* + ½ (θ - θ*)ᵀ H (θ - θ*), with H = V diag(λ) Vᵀ.

    The mean squared error is that, with an L2 penalty too; of another loss it is what touches it at its optimum.
    """

    eigenvalues: Array  # (p,), λ ascending; those that rounding cannot tell from 0 are 0
    vectors: Array  # (p, p), V, one eigenvector a column
    optimum: Array  # (p,), θ*; the shortest one where several are
    optimum_loss: float  # J*
    start: Array  # (p,), Vᵀ(0 - θ*): where a descent from zero begins, in eigenvectors
    root: Array  # (p, p), S with SᵀS = H/2
    predictions: Array  # (p, p), S with ‖S δ‖ the root mean square of the linear predictions by weights δ
    quadratic: bool = True  # whether the loss is that parabola
    attained: bool = True  # whether there is an optimum, or else how far its search came

    @property
    def stable_below(self) -> float:
        """Limit of a stable step of plain descent, 2/λmax."""
        return _over(2.0, float(self.eigenvalues[-1]))

    @property
    def auto_rate(self) -> float:
        """The step of the setting `auto`, 1/λmax: no direction overshoots. 1 where the loss is flat."""
        rate = _over(1.0, float(self.eigenvalues[-1]))
        return rate if math.isfinite(rate) else 1.0

    @property
    def best_rate(self) -> float:
        """The fixed step under which the slowest direction is fastest, 2/(λmin + λmax) over directions that curve."""
        return _over(2.0, self.least + float(self.eigenvalues[-1]))

    @property
    def condition(self) -> float:
        """λmax/λmin; infinite where a direction is flat and the weights are not unique."""
        return _over(float(self.eigenvalues[-1]), float(self.eigenvalues[0]))

    @property
    def least(self) -> float:
        """The smallest curvature that is not 0; 0 where all are."""
        return float(min(self.eigenvalues[self.eigenvalues > 0], default=0.0))

    def contraction(self, rate: float, law: Law = PLAIN) -> float:
        """The factor by which the slowest direction shrinks an epoch, max |1 - αλ| of plain descent: its theoretical rate."""
        return law.contraction(rate, self.eigenvalues[self.eigenvalues > 0])

    def excess(self, theta: Array) -> Array:
        """J(θ) - J* of the parabola, (k,), of weights (k, p), without the cancellation of subtracting two losses."""
        with np.errstate(over="ignore", invalid="ignore"):
            further = (theta - self.optimum) @ self.root.T
            return np.asarray(np.vecdot(further, further))

    def predicted_excess(self, rate: float, epochs: Array, law: Law = PLAIN) -> Array:
        """J(θ) - J* after so many exact steps from zero, ½ Σ λᵢ cᵢ² (eₜ/e₀)², (k,); of plain descent eₜ/e₀ = (1 - αλᵢ)ᵗ."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            energy = self.eigenvalues * self.start**2 / 2
            excess = np.empty(len(epochs))
            for start in range(0, len(epochs), _BLOCK):  # a million epochs need no (k, p)
                block = slice(start, start + _BLOCK)
                excess[block] = law.distances(rate, self.eigenvalues, np.asarray(epochs[block])) ** 2 @ energy
            return excess

    def epochs_to(self, rate: float, share: float = _CLOSE, law: Law = PLAIN) -> float:
        """Epochs until the excess loss has fallen to this share of its first value; infinite where it never does."""
        first = float(self.predicted_excess(rate, np.zeros(1), law)[0])
        if first == 0:
            return 0
        if rate >= law.stable_below(float(self.eigenvalues[-1])):
            return math.inf
        if law.decay:
            return self._epochs_of_a_swing(rate, share * first, law)
        low, high = 0, 1
        while not self.predicted_excess(rate, np.array([high]))[0] <= share * first:
            low, high = high, 2 * high
            if high > _MOST_EPOCHS:
                return math.inf
        while high - low > 1:  # below the stable limit the excess of plain descent only falls
            middle = (low + high) // 2
            reached = self.predicted_excess(rate, np.array([middle]))[0] <= share * first
            low, high = (low, middle) if reached else (middle, high)
        return high

    def _epochs_of_a_swing(self, rate: float, excess: float, law: Law) -> float:
        """The first epoch with so little excess, among those that are looked at; a velocity makes it swing."""
        begin = 0
        while begin < _LONGEST:
            until = max(2 * begin, 1024)
            low = np.flatnonzero(self.predicted_excess(rate, np.arange(begin, until), law) <= excess)
            if len(low):
                return begin + int(low[0])
            begin = until
        return math.inf

    def through(self, P: Array) -> Spectrum:
        """The same loss as a function of φ, where θ = P φ, (p, p): what a preconditioned descent sees."""
        root, p = self.root @ P, len(P)
        optimum = np.linalg.solve(P, self.optimum)
        _, sizes, Vt = np.linalg.svd(root)
        sizes, vectors = sizes[::-1], Vt.T[:, ::-1]
        values = np.where(sizes <= sizes[-1] * p * float(np.finfo(np.float64).eps), 0.0, 2 * sizes**2)
        return Spectrum(
            values, np.ascontiguousarray(vectors), optimum, self.optimum_loss, -(vectors.T @ optimum), root,
            self.predictions @ P, self.quadratic, self.attained,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the spectrum to a file, so that a path can travel and not a matrix."""
        with path.open("wb") as file:
            np.savez(
                file, eigenvalues=self.eigenvalues, vectors=self.vectors, optimum=self.optimum,
                optimum_loss=self.optimum_loss, start=self.start, root=self.root, predictions=self.predictions,
                quadratic=self.quadratic, attained=self.attained,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Spectrum:
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["eigenvalues"], saved["vectors"], saved["optimum"], float(saved["optimum_loss"]), saved["start"],
                saved["root"], saved["predictions"], bool(saved["quadratic"]), bool(saved["attained"]),
            )  # fmt: skip


def spectrum(X: Array, y: Array, l2: float = 0.0, penalised: Array | None = None) -> Spectrum:
    """Curvature and optimum of the mean squared error of a linear model, with an L2 penalty or without.

    From the triangle R of X's QR decomposition and its singular values σ, with λ = 2 σ²/n: the Hessian 2 XᵀX/n itself would
    square the condition number, and with columns far from zero lose the directions that matter. R is made block by block, so
    that no second X is needed. As in `numpy.linalg.lstsq`, a direction with σ ≤ max(n, p) ε σmax counts as flat, unless it is
    only beside columns that are so much larger: where the columns are independent once each is scaled to length 1, the small
    curvatures are those of the inverse of R, from scaled columns too.

    Args:
        X: the design matrix, a column of ones last where there is an intercept, float64, (n, p).
        y: targets, float64, (n,).
        l2: κ of the penalty, as in `gd.problems.ridge`.
        penalised: 1 for each weight that it is on, else 0, (p,); needed where there is one.

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, 5.3 (least squares by QR).
    """
    n, p = X.shape
    R = _triangle(X, y)
    predictions = R[:p, :p] / math.sqrt(n)
    problem = in_blocks(least_squares, X, y)
    if l2:
        assert penalised is not None
        problem = ridge(problem, l2, penalised)
        held = np.column_stack([np.diag(math.sqrt(l2 * n) * penalised), np.zeros(p)])  # rows that say that weights are 0
        R = np.asarray(np.linalg.qr(np.vstack([R, held]), mode="r"))
    U, sizes, Vt = np.linalg.svd(R[:p, :p])
    U, sizes, vectors = U[:, ::-1], sizes[::-1], Vt.T[:, ::-1]  # ascending
    flat = sizes <= sizes[-1] * max(n, p) * float(np.finfo(np.float64).eps)
    values = np.where(flat, 0.0, 2 / n * sizes**2)
    evaluate = problem.value_and_gradient
    if flat.any() and (scaled := _scaled(R[:p, :p], max(n, p))) is not None:
        B, size = scaled
        W, longest, _ = np.linalg.svd(np.linalg.inv(B) / size[:, None])
        small = np.flatnonzero(flat)
        values[small], vectors[:, small] = 2 / n / longest[: len(small)] ** 2, W[:, : len(small)]
        optimum = np.linalg.solve(B, R[:p, p]) / size
    else:
        optimum = vectors @ np.divide(U.T @ R[:p, p], sizes, out=np.zeros(p), where=~flat)
        _, gradient = evaluate(optimum, *problem.arrays)
        optimum = optimum - vectors @ np.divide(vectors.T @ gradient, values, out=np.zeros(p), where=~flat)
    loss, _ = evaluate(optimum, *problem.arrays)
    root = R[:p, :p] / math.sqrt(n)
    return Spectrum(values, np.ascontiguousarray(vectors), optimum, float(loss), -(vectors.T @ optimum), root, predictions)


def surroundings(problem: Problem, X: Array, penalty: Array | None = None, *, bounded: bool = False) -> Spectrum:
    """The optimum of another loss, and its curvature there, without that of an L1 penalty, which has none.

    Args:
        problem: with a Hessian, bound to float64 arrays.
        X: its design matrix, (n, p).
        penalty: κ of an L1 penalty on each weight, (p,); none when None.
        bounded: whether the loss is known to have an optimum, however flat it is there.
    """
    n, p = X.shape
    found = minimum(problem, p, penalty)
    assert problem.hessian is not None
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        H = problem.hessian(found.theta, *problem.arrays)
    values, vectors = np.linalg.eigh((H + H.T) / 2)
    values = np.where(values <= values[-1] * max(n, p) * float(np.finfo(np.float64).eps), 0.0, values)
    root = (vectors * np.sqrt(values / 2)).T
    predictions = _triangle(X, np.broadcast_to(0.0, n))[:p, :p] / math.sqrt(n)
    start = -(vectors.T @ found.theta)
    attained = found.finite or bounded
    return Spectrum(values, vectors, found.theta, found.loss, start, root, predictions, quadratic=False, attained=attained)


def _triangle(X: Array, y: Array) -> Array:
    """R of the QR decomposition of [X, y], made block by block, (p + 1, p + 1)."""
    n, p = X.shape
    R = np.zeros((0, p + 1))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        R = np.asarray(np.linalg.qr(np.vstack([R, np.column_stack([X[rows], y[rows]])]), mode="r"))
    return np.vstack([R, np.zeros((p + 1 - len(R), p + 1))])  # where there are fewer rows than columns


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

    spectrum: Spectrum  # in the coordinates that the descent sees
    rate: float
    law: Law | None  # the recurrence of the descent; None where the step is no linear function of the gradients
    predicted_epochs: float  # until the excess loss is 1e-6 of its first value, at this rate; may be infinite; NaN without law
    predicted_epochs_best: float  # the same at the best rate of plain descent
    excess_loss: float  # J - J* where training ended, of the backend that ended furthest from the optimum
    gradients: tuple[GradientCheck, ...]  # one a backend
    rank: int  # of the design matrix, of as many columns as there are parameters
    plain: Spectrum  # in the coordinates of the weights, which is another where the descent is preconditioned
    steepest: float = math.nan  # the largest curvature that the descent can meet, in its coordinates

    @property
    def has_theory(self) -> bool:
        """Whether every epoch's loss is predicted: of linear steps into a parabola."""
        return self.law is not None and self.spectrum.quadratic

    @property
    def stable_below(self) -> float:
        """Limit of a stable step, at the optimum; NaN without law."""
        return math.nan if self.law is None else self.law.stable_below(float(self.spectrum.eigenvalues[-1]))

    @property
    def best_rate(self) -> float:
        """The rate of plain descent under which its slowest direction is fastest; NaN of any other."""
        return self.spectrum.best_rate if self.law == PLAIN else math.nan

    def predicted_excess(self, epochs: Array) -> Array:
        """J(θ) - J* after so many exact steps, (k,); NaN without theory."""
        if self.law is None or not self.spectrum.quadratic:
            return np.full(len(epochs), math.nan)
        return self.spectrum.predicted_excess(self.rate, epochs, self.law)


def diagnose(
    spectrum: Spectrum, rate: float, traces: Sequence[Trace], gradients: Sequence[GradientCheck], rank: int | None = None,
    law: Law | None = PLAIN, seen: Spectrum | None = None, steepest: float = math.nan,
    losses: Sequence[float] | None = None,
) -> Diagnosis:  # fmt: skip
    """Put the curvature, the step and the traces together.

    Args:
        spectrum: of the problem that was trained.
        rate: the learning rate that was used.
        traces: one a backend.
        gradients: one a backend, in the same order.
        rank: of the design matrix, from `gd.degeneracy`; the directions that curve when None.
        law: of the descent, where the theory has one.
        seen: the spectrum in the coordinates of a preconditioned descent; the same when None.
        steepest: the largest curvature that the descent can meet, in these coordinates.
        losses: where each backend ended, in more digits than it computes in; as traced when None.
    """
    ends = losses if losses is not None else [trace.final_loss for trace in traces]
    seen = seen or spectrum
    known = law is not None and seen.quadratic
    return Diagnosis(
        spectrum=seen,
        rate=rate,
        law=law,
        predicted_epochs=seen.epochs_to(rate, law=law) if law is not None and known else math.nan,
        predicted_epochs_best=(seen.epochs_to(seen.best_rate) if seen.best_rate < math.inf else 0) if known else math.nan,
        excess_loss=max(float(excess(spectrum, one.end[None], [end])[0]) for one, end in zip(traces, ends, strict=True)),
        gradients=tuple(gradients),
        rank=int(np.count_nonzero(spectrum.eigenvalues)) if rank is None else rank,
        plain=spectrum,
        steepest=steepest,
    )


def excess(spectrum: Spectrum, theta: Array, loss: Sequence[float | None] | Array) -> Array:
    """J(θ) - J*, (k,), of weights (k, p) and their losses (k,): of a parabola from the weights, else the losses' difference.

    Below the optimum's loss, where only rounding leads, it is 0; NaN where there is no optimum.
    """
    if spectrum.quadratic:
        return spectrum.excess(theta.astype(np.float64))
    if not spectrum.attained:
        return np.full(len(theta), math.nan)
    return np.maximum(np.asarray(loss, np.float64) - spectrum.optimum_loss, 0.0)


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.inf
