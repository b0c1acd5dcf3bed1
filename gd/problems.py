"""What is minimised: each loss stands beside the gradient that was derived for it by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import ArrayLike, DTypeLike

from gd.data import Array, Scaling
from gd.moments import Moments
from gd.spilling import beyond, parts

__all__ = [
    "Problem",
    "design",
    "expected",
    "from_moments",
    "huber",
    "in_blocks",
    "least_squares",
    "logistic",
    "notebook",
    "poisson",
    "ridge",
]

_BLOCK = 65_536  # rows; smaller ones cost more in calls than the cache saves
_LONG = 2 * _BLOCK


class Problem(NamedTuple):
    """What is minimised, as functions of the parameters θ and of arrays that never change.

    θ is (p,), or (…, p): many at once, whose predictions are then one matrix product. J and ∇J have a row for each.
    `value` uses operators, array methods and functions of the array API only, so that NumPy, PyTorch and JAX can all run it.
    """

    arrays: tuple[Array, ...]
    value: Callable[..., Any]  # (θ (…, p), *arrays) -> J (…)                                 for autograd to differentiate
    value_and_gradient: Callable[..., tuple[Any, Array]]  # (θ (…, p), *arrays) -> J (…), ∇J (…, p)  derived by hand
    hessian: Callable[..., Array] | None = None  # (θ (p,), *arrays) -> ∇²J (p, p), to find the optimum by


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
    blocks = len(y) > _LONG or not X.flags.forc  # `dot` would copy neighbouring rows of a column-major matrix at each call

    def value(theta: Any, X: Any, y: Any) -> Any:
        if theta.ndim > 1:
            r = theta @ X.T - y  # forward pass, (…, n)
            return (r * r).sum(-1) * per_row  # loss
        r = X @ theta - y  # forward pass
        return r.dot(r) * per_row  # loss

    def value_and_gradient(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        many = theta.ndim > 1
        if not many and blocks and len(theta) > 1:
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

    def hessian(theta: Array, X: Array, y: Array) -> Array:
        return 2 * per_row * (X.T @ X)

    return Problem((X, y), value, value_and_gradient, hessian)


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


def huber(X: Array, y: Array, delta: float) -> Problem:
    """Quadratic near zero, linear beyond ±delta: outliers pull with bounded force.

    J(θ) = mean(c (2 r - c)) / 2 and ∇J(θ) = Xᵀc / n, where r = X θ - y and c = clip(r, -delta, delta). With the ½ of the
    article: where no residual is beyond, J is half of the mean squared error.

    Args:
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).
        delta: residual at which the loss turns linear, in units of the target; above 0.

    Raises:
        ValueError: if delta is not above 0.

    Source:
        Huber (1964), Robust estimation of a location parameter, Ann. Math. Stat. 35.
    """
    if not 0 < delta < np.inf:
        raise ValueError(f"delta must be above 0, not {delta}")
    per_row = 1 / len(y)

    def value(theta: Any, X: Any, y: Any) -> Any:
        r = _linear(theta, X) - y  # forward pass
        c = r.clip(-delta, delta)
        return (c * (r - c / 2)).sum(-1) * per_row  # loss

    def value_and_gradient(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        r = _linear(theta, X) - y  # forward pass
        c = r.clip(-delta, delta)
        return np.vecdot(c, r - c / 2) * per_row, c @ X * per_row  # loss; backward pass

    def hessian(theta: Array, X: Array, y: Array) -> Array:
        within = X[np.abs(X @ theta - y) <= delta]
        return np.asarray(per_row * (within.T @ within))

    return Problem((X, y), value, value_and_gradient, hessian)


def logistic(X: Array, y: Array) -> Problem:
    """The negative log-likelihood of a target of two values: the log loss of σ(X θ), σ(u) = 1/(1 + e⁻ᵘ).

    J(θ) = mean(log(1 + e^u)) and ∇J(θ) = Xᵀ(s σ(u)) / n, where u = s X θ and s = 1 - 2 y. The sign stands before the
    exponential, so that neither overflows, and a loss of 1e-300 keeps its digits.

    Args:
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, 0 or 1, (n,).

    Raises:
        ValueError: if a target is neither.

    Source:
        Cox (1958), The regression analysis of binary sequences, J. Roy. Stat. Soc. B 20.
    """
    if not ((y == 0) | (y == 1)).all():
        raise ValueError(f"a target of the logistic loss is 0 or 1, not {y[(y != 0) & (y != 1)][0]}")
    per_row = 1 / len(y)

    def value(theta: Any, X: Any, sign: Any) -> Any:
        u = _linear(theta, X) * sign  # forward pass
        space = array_namespace(u)
        return space.logaddexp(u, space.zeros_like(u)).sum(-1) * per_row  # loss

    def value_and_gradient(theta: Array, X: Array, sign: Array) -> tuple[Any, Array]:
        from scipy.special import expit  # noqa: PLC0415

        u = _linear(theta, X) * sign  # forward pass
        gradient = (expit(u) * sign) @ X * per_row  # backward pass
        return np.logaddexp(u, 0).sum(-1) * per_row, gradient  # loss

    def hessian(theta: Array, X: Array, sign: Array) -> Array:
        from scipy.special import expit  # noqa: PLC0415

        z = X @ theta
        return np.asarray(X.T @ (X * (expit(z) * expit(-z) * per_row)[:, None]))

    return Problem((X, 1 - 2 * y), value, value_and_gradient, hessian)


def poisson(X: Array, y: Array) -> Problem:
    """Half the mean deviance of counts whose expected number is e^(X θ).

    J(θ) = mean(e^z - y z + y log y - y) and ∇J(θ) = Xᵀ(e^z - y) / n, where z = X θ; 0 log 0 is 0. It is 0 where every count
    is its expectation. Beyond z = 709 the expectation itself is more than float64 holds, and the loss infinite. With
    u = z - log y a row's loss is y (e^u - 1 - u), in which nothing as large as y log y is subtracted from another.

    Args:
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, 0 or above, (n,).

    Raises:
        ValueError: if a target is below 0.

    Source:
        Nelder and Wedderburn (1972), Generalized linear models, J. Roy. Stat. Soc. A 135.
    """
    if not (y >= 0).all():
        raise ValueError(f"a target of the Poisson loss is 0 or above, not {y[~(y >= 0)][0]}")
    per_row = 1 / len(y)
    logs = np.log(np.where(y > 0, y, 1))

    def loss(z: Any, y: Any, logs: Any) -> Any:
        xp, u = array_namespace(z), z - logs
        return xp.where(y > 0, y * (xp.expm1(u) - u), xp.exp(z)).sum(-1) * per_row

    def value(theta: Any, X: Any, y: Any, logs: Any) -> Any:
        return loss(_linear(theta, X), y, logs)  # forward pass and loss

    def value_and_gradient(theta: Array, X: Array, y: Array, logs: Array) -> tuple[Any, Array]:
        z = _linear(theta, X)  # forward pass
        return loss(z, y, logs), (np.exp(z) - y) @ X * per_row  # loss; backward pass

    def hessian(theta: Array, X: Array, y: Array, logs: Array) -> Array:
        return np.asarray(X.T @ (X * (np.exp(X @ theta) * per_row)[:, None]))

    return Problem((X, y, logs), value, value_and_gradient, hessian)


def in_blocks(make: Callable[[Array, Array], Problem], X: Array, y: Array) -> Problem:
    """The same loss; of more rows than memory is to hold at once, as the mean of those of blocks of them, one after the other.

    What a loss and its derivatives allocate for each row is then allocated for a block. For NumPy alone.

    Args:
        make: the loss of some rows, a mean over them.
        X: features, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).
    """
    n, p = X.shape
    blocks = parts(n, p)
    if not beyond(n, p) or len(blocks) == 1:
        return make(X, y)

    def each(X: Array, y: Array) -> Iterator[tuple[float, Problem]]:
        for rows in blocks:
            yield (rows.stop - rows.start) / n, make(X[rows], y[rows])

    def value(theta: Any, X: Any, y: Any) -> Any:
        return sum(share * one.value(theta, *one.arrays) for share, one in each(X, y))

    def value_and_gradient(theta: Array, X: Array, y: Array) -> tuple[Any, Array]:
        loss, gradient = np.zeros(theta.shape[:-1]), np.zeros(theta.shape)
        for share, one in each(X, y):
            found, slope = one.value_and_gradient(theta, *one.arrays)
            loss, gradient = loss + share * found, gradient + share * slope
        return loss[()], gradient

    def hessian(theta: Array, X: Array, y: Array) -> Array:
        H = np.zeros((len(theta), len(theta)))
        for share, one in each(X, y):
            assert one.hessian is not None
            H += share * one.hessian(theta, *one.arrays)
        return H

    return Problem((X, y), value, value_and_gradient, hessian)


def ridge(problem: Problem, penalty: float, penalised: ArrayLike) -> Problem:
    """A loss and an L2 penalty on its weights: J(θ) + κ Σ θⱼ² and ∇J(θ) + 2 κ θ, over the weights that are penalised.

    There is neither ½ nor n: scikit-learn's `Ridge(alpha)`, which sums over the rows, is `least_squares` with κ = alpha / n.

    Args:
        problem: whose loss it is.
        penalty: κ, at least 0.
        penalised: 1 for each weight and 0 for an intercept, (p,).

    Raises:
        ValueError: if the penalty is below 0.

    Source:
        Hoerl and Kennard (1970), Ridge regression, Technometrics 12.
    """
    if not 0 <= penalty < np.inf:
        raise ValueError(f"the penalty must be at least 0, not {penalty}")

    def value(theta: Any, penalised: Any, *arrays: Any) -> Any:
        return problem.value(theta, *arrays) + penalty * (theta * theta * penalised).sum(-1)

    def value_and_gradient(theta: Array, penalised: Array, *arrays: Array) -> tuple[Any, Array]:
        loss, gradient = problem.value_and_gradient(theta, *arrays)
        held = theta * penalised
        return loss + penalty * np.vecdot(held, theta), gradient + 2 * penalty * held

    def hessian(theta: Array, penalised: Array, *arrays: Array) -> Array:
        assert problem.hessian is not None
        return problem.hessian(theta, *arrays) + np.diag(2 * penalty * penalised)

    arrays = (np.asarray(penalised, problem.arrays[0].dtype), *problem.arrays)
    return Problem(arrays, value, value_and_gradient, None if problem.hessian is None else hessian)


def expected(loss: str, linear: Array) -> Array:
    """What a loss takes for the target where the linear prediction is z: z itself, σ(z) of the logistic one, e^z of Poisson's.

    Args:
        loss: its name in the settings.
        linear: z, of any shape.
    """
    if loss == "logistic":
        from scipy.special import expit  # noqa: PLC0415

        return np.asarray(expit(linear))
    return np.exp(linear) if loss == "poisson" else linear


def _linear(theta: Any, X: Any) -> Any:
    """X θ, (n,), or (…, n) for many θ at once."""
    return theta @ X.T if theta.ndim > 1 else X @ theta
