"""The moments of rows that lie in a GPU's memory already, found there: only triangles of a few kilobytes come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_jax_array, is_torch_array

from gd.data import Array
from gd.moments import Moments, power_of_two, refined, signed, triangle

__all__ = ["moments"]

_BLOCK = 1 << 16  # rows that are factorised at once
_FIRST = 512  # rows whose mean the others are counted from


def moments(columns: Sequence[Any]) -> Moments:
    """What `Moments.of` finds of NumPy's columns, of those of PyTorch or JAX on whichever device they are.

    All of it is computed in float64, on that device, a block of rows at a time; float32 loses nothing in it.

    Args:
        columns: the features, then the target, each (n,), finite, of one framework and on one device. Those of a table X are
            ``X.T``.

    Raises:
        TypeError: if they are of different frameworks, or of one that is neither.
    """
    if not all(map(is_torch_array, columns)) and not all(map(is_jax_array, columns)):
        kinds = ", ".join(sorted({type(column).__module__.partition(".")[0] for column in columns}))
        raise TypeError(f"columns of {kinds}: give tensors of torch or arrays of jax, all of one; Moments.of takes NumPy's")
    with _sixty_four_bits(columns[0]):
        return _found([column.detach() if is_torch_array(column) else column for column in columns])


def _found(columns: Sequence[Any]) -> Moments:
    n, q = len(columns[0]), len(columns)
    if n == 0:
        return Moments.none(q)
    xp, there = array_namespace(*columns), device(columns[0])
    low, high = (np.array([float(extreme(column)) for column in columns]) for extreme in (xp.min, xp.max))
    unit = power_of_two(np.maximum(np.abs(low), np.abs(high)))
    wide = [xp.astype(column[:_FIRST], xp.float64) for column in columns]
    first = np.array([float(xp.mean(column * float(scale))) for column, scale in zip(wide, unit, strict=True)])
    mean = np.clip(first, low * unit, high * unit)  # so that a column that never changes becomes 0

    def put(values: Array) -> Any:
        return xp.asarray(values, device=there)

    parts = []
    for start in range(0, n, _BLOCK):
        block = [xp.astype(column[start : start + _BLOCK], xp.float64) for column in columns]
        z = [column * float(scale) - float(origin) for column, scale, origin in zip(block, unit, mean, strict=True)]
        parts.append(_triangle(xp, xp.stack([xp.ones_like(z[0]), *z], axis=1), put))
    R = parts[0] if len(parts) == 1 else triangle(np.vstack(parts))
    return Moments(n, mean / unit, unit, low, high, R)


def _triangle(xp: Any, B: Any, put: Callable[[Array], Any]) -> Array:
    """As `gd.moments.triangle`, of a block that stays where it is."""
    found = xp.linalg.qr(B, mode="r")
    R = signed(_back(found[1] if isinstance(found, tuple) else found))  # torch has a Q of nothing before it
    return refined(R, B, put, _back)


def _back(values: Any) -> Array:
    """In NumPy's memory."""
    return np.asarray(values.cpu() if is_torch_array(values) else values)


def _sixty_four_bits(column: Any) -> AbstractContextManager[Any]:
    """JAX keeps to 32 unless it is told otherwise."""
    if not is_jax_array(column):
        return nullcontext()
    import jax  # noqa: PLC0415  (who has such a column has imported it)

    wide: AbstractContextManager[Any] = jax.enable_x64(True)
    return wide
