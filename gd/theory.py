"""What exact arithmetic says of a descent into a parabola: along each eigenvector of its Hessian it is a recurrence."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from gd.arrays import Array

__all__ = ["PLAIN", "Law"]


_FEW = 10.0  # epochs of all: no direction is waited for that is slower than so large a part of them


class Law(NamedTuple):
    """The recurrence of an optimizer at a fixed learning rate α: e₁ = f e₀ and eₜ₊₁ = a eₜ + b eₜ₋₁ for the distance e.

    Plain descent: f = a = 1 - αλ, b = 0. The heavy ball: f = 1 - αλ, a = 1 + β - αλ, b = -β. Nesterov's, as in
    `gd.optimizers.nesterov`: f = 1 - α(1 + β)λ, a = (1 + β)(1 - αλ), b = -β(1 - αλ).

    Source:
        Polyak (1964), Some methods of speeding up the convergence of iteration methods; O'Donoghue and Candès (2015), Adaptive
        restart for accelerated gradient schemes, Found. Comput. Math. 15, section 4.
    """

    optimizer: Literal["gradient-descent", "momentum", "nesterov"] = "gradient-descent"
    decay: float = 0.0  # β

    def coefficients(self, rate: float, curvature: Array) -> tuple[Array, Array, Array]:
        """f, a and b along eigenvectors of these curvatures λ, each (p,)."""
        shrink = 1 - rate * curvature
        if self.optimizer == "momentum":
            return shrink, shrink + self.decay, np.full_like(shrink, -self.decay)
        if self.optimizer == "nesterov":
            return 1 - rate * (1 + self.decay) * curvature, (1 + self.decay) * shrink, -self.decay * shrink
        return shrink, shrink, np.zeros_like(shrink)

    def stable_below(self, largest: float) -> float:
        """The limit of a stable step at this largest curvature: 2/λ, 2(1 + β)/λ or 2(1 + β)/((1 + 2β)λ)."""
        factor = {"gradient-descent": 1.0, "momentum": 1 + self.decay, "nesterov": (1 + self.decay) / (1 + 2 * self.decay)}
        return 2 * factor[self.optimizer] / largest if largest > 0 else math.inf

    def contraction(self, rate: float, curvature: Array) -> float:
        """The factor by which the slowest direction shrinks an epoch, in the end: the largest root of z² = a z + b."""
        _, a, b = self.coefficients(rate, curvature)
        half = np.sqrt((a * a / 4 + b).astype(complex))
        return float(np.maximum(np.abs(a / 2 + half), np.abs(a / 2 - half)).max(initial=0.0))

    def distances(self, rate: float, curvature: Array, epochs: Array) -> Array:
        """eₜ / e₀ after so many steps along each eigenvector, (k, p)."""
        f, a, b = self.coefficients(rate, curvature)
        t = np.asarray(epochs, np.float64)[:, None]
        if self.optimizer == "gradient-descent":
            return np.asarray(np.where(a < 0, np.where(t % 2 == 0, 1.0, -1.0), 1.0) * np.abs(a) ** t)
        ahead, behind = _powers(a, b, t), _powers(a, b, t - 1)
        return np.asarray(np.where(t == 0, 1.0, f * ahead + b * np.where(t < 1, 0.0, behind)))

    def best(self, least: float, largest: float) -> tuple[float, float]:
        """The learning rate and decay under which the slowest direction is fastest, with curvatures between these.

        Plain descent: 2/(μ + L). The heavy ball: 4/(√μ + √L)² and ((√L - √μ)/(√L + √μ))². Nesterov's: 1/L and
        (√L - √μ)/(√L + √μ), which leaves the fastest convergence that he proved of any convex loss.
        """
        if not largest > 0:
            return math.inf, self.decay
        share = math.sqrt(max(least, 0.0) / largest)
        if self.optimizer == "momentum":
            return 4 / largest / (1 + share) ** 2, ((1 - share) / (1 + share)) ** 2
        if self.optimizer == "nesterov":
            return 1 / largest, (1 - share) / (1 + share)
        return 2 / (least + largest), 0.0

    def best_within(self, epochs: int, least: float, largest: float) -> tuple[float, float]:
        """The same of the directions that so many epochs can bring to rest: what is slower is not waited for."""
        return self.best(min(max(least, largest * (_FEW / epochs) ** 2), largest), largest)


PLAIN = Law()


def _powers(a: Array, b: Array, t: Array) -> Array:
    """U of z² = a z + b: U₀ = 0, U₁ = 1, Uₜ₊₁ = a Uₜ + b Uₜ₋₁, (k, p); two roots may be one, or nearly."""
    discriminant = a * a / 4 + b
    with np.errstate(all="ignore"):
        # conjugate roots r e^±iφ: rᵗ⁻¹ sin(tφ) / sin φ; beyond a right angle by what is left to π, whose sine has its digits
        r = np.sqrt(np.maximum(-b, 0))
        phi = np.arctan2(np.sqrt(np.maximum(-discriminant, 0)), np.abs(a) / 2)
        turned = np.where(np.sin(phi) > 1e-150, np.sin(t * phi) / np.sin(phi), t)
        turned = np.where(a < 0, -1.0, 1.0) ** (t - 1) * turned
        # real roots, |z| ≥ |q z|: zᵗ⁻¹ (1 - qᵗ) / (1 - q)
        half = np.sqrt(np.maximum(discriminant, 0))
        z = np.where(a < 0, a / 2 - half, a / 2 + half)
        gap = np.where(z != 0, 2 * half / np.abs(z), 1.0)  # 1 - q
        apart = np.where(gap < 0.5, -np.expm1(t * np.log1p(-gap)) / gap, (1 - (1 - gap) ** t) / gap)
        apart = np.where(gap > 0, apart, t)
        real = np.where(z != 0, z ** (t - 1), t == 1) * apart
        return np.asarray(np.where(discriminant < 0, r ** (t - 1) * turned, real))
