"""What is minimised: each loss stands beside the gradient that was derived for it by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gd.data import Array, Scaling
from gd.moments import Moments

__all__ = ["LOSSES", "Problem", "design", "from_moments", "least_squares", "notebook"]
_BLOCK = 65_536  # rows; smaller ones cost more in calls than the cache saves
_LONG = 2 * _BLOCK


class Problem(NamedTuple):
    """What is minimised, as functions of the parameters θ and of arrays that never change.

    θ is (p,), or (…, p): many at once, whose predictions are then one matrix product. J and ∇J have a row for each.
    `value` uses operators and array methods only, so that NumPy, PyTorch and JAX can all run it.
    """

    arrays: tuple[Array, ...]
    value: Callable[..., Any]  # (θ (…, p), *arrays) -> J (…)                                 for autograd to differentiate
    value_and_gradient: Callable[..., tuple[Any, Array]]  # (θ (…, p), *arrays) -> J (…), ∇J (…, p)  derived by hand


def design(X: Array, intercept: bool, dtype: DTypeLike = np.float64) -> Array:
    """The matrix whose product with θ is the prediction: the features, then a column of ones if there is an intercept.

    It is column-major, which makes its two products with a vector up to 2.7 times faster, and it begins on a multiple of
    64 bytes, on which the last bit of a vectorised sum can depend.

    Args:
        X: features, (n, d).
        intercept: whether θ ends in an intercept.
        dtype: float64 or float32.

    Returns:
        The design matrix, (n, d) or (n, d + 1).
    """
    n, d = X.shape
    A = aligned((n, d + intercept), dtype)
    A[:, :d] = X
    A[:, d:] = 1
    return A


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An uninitialised column-major array that begins on a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    buffer = np.empty(size + 64, dtype=np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(kind).reshape(shape, order="F")


def least_squares(X: Array, y: Array) -> Problem:
    """The mean squared error of a linear model.

    J(θ) = mean(r²) and ∇J(θ) = 2 Xᵀr / n, where r = X θ - y. There is no ½ in front.

    Args:
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).

    Source:
        Legendre (1805), Nouvelles méthodes pour la détermination des orbites des comètes, appendix.
    """
    per_row = 1 / len(y)  # PyTorch multiplies by a number faster than it divides by one

    def value(theta: Any, X: Any, y: Any) -> Any:
        if theta.ndim > 1:
            r = theta @ X.T - y  # forward pass, (…, n)
            return (r * r).sum(-1) * per_row  # loss
        r = X @ theta - y  # forward pass
        return r.dot(r) * per_row  # loss

    def value_and_gradient(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        many = theta.ndim > 1
        if not many and len(y) > _LONG and len(theta) > 1:
            return by_blocks(theta, X, y)
        r = theta.dot(X.T) if many else X.dot(theta)  # forward pass; @ would not use BLAS for a single column: ten times slower
        r -= y
        gradient = r.dot(X)  # backward pass
        gradient *= 2 * per_row
        return (np.vecdot(r, r) if many else r.dot(r)) * per_row, gradient

    def by_blocks(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        square, gradient = 0.0, np.zeros_like(theta)
        for start in range(0, len(y), _BLOCK):  # so that the backward pass finds in the cache what the forward pass has read
            rows = slice(start, start + _BLOCK)
            r = X[rows] @ theta  # forward pass
            r -= y[rows]
            gradient += r @ X[rows]  # backward pass
            square += float(r.dot(r))
        gradient *= 2 * per_row
        return square * per_row, gradient

    return Problem((X, y), value, value_and_gradient)


def from_moments(moments: Moments, scaling: Scaling, intercept: bool) -> Problem:
    """The mean squared error over any number of rows, from their moments: an epoch costs p², whatever n is.

    It is `least_squares` over a table of d + 2 rows whose loss and gradient are those of all n rows for every θ, so that it
    needs no formula of its own, neither for the gradient nor for accuracy near a loss of zero.

    Args:
        moments: of features and target.
        scaling: applied to the features.
        intercept: whether θ ends in an intercept.
    """
    A, b = moments.compressed(scaling, intercept)
    return least_squares(design(A, intercept=False), b)


def notebook(X: Array, y: Array) -> Problem:
    """The teaching notebook's own pair, kept to show its fault: the gradient is n times that of the loss it states.

    J(θ) = mean(r²), and by hand ``2 * np.dot(r, X).mean()``: the dot product of two vectors is already a scalar, so the
    mean over it does nothing and the sum remains.

    Args:
        X: features, (n, p).
        y: targets, (n,).
    """
    stated = least_squares(X, y)

    def value_and_gradient(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        r = (theta @ X.T if theta.ndim > 1 else X @ theta) - y  # forward pass
        return np.vecdot(r, r) / len(y), 2 * (r @ X)  # loss; backward pass, not divided by n

    return Problem((X, y), stated.value, value_and_gradient)


LOSSES: dict[str, Callable[[Array, Array], Problem]] = {"mse": least_squares, "notebook": notebook}
"""Every loss by its name in the settings."""
