"""Between Arrow and NumPy without what imports pandas where it is installed: half a second and 40 MB, for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "at", "column", "flags", "floats", "mask", "places", "texts"]

Array = NDArray[Any]


def texts(cells: Sequence[str]) -> Any:
    """An Arrow array of text."""
    import pyarrow as pa  # noqa: PLC0415

    parts = [cell.encode() for cell in cells]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(parts), pa.py_buffer(ends), pa.py_buffer(b"".join(parts)))


def mask(flags: Array) -> Any:
    """An Arrow array of booleans, from (n,)."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, pa.py_buffer(np.packbits(flags, bitorder="little"))])


def at(places: Array) -> Any:
    """An Arrow array of places to take, from (n,)."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(np.ascontiguousarray(places, np.int64))])


def column(values: Array, empty: Array | None = None) -> Any:
    """An Arrow array of int64 or float64, null where it is said to be empty, both (n,)."""
    import pyarrow as pa  # noqa: PLC0415

    kind = pa.int64() if values.dtype == np.int64 else pa.float64()
    valid = None if empty is None else pa.py_buffer(np.packbits(~empty, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def flags(column: Any) -> Array:
    """Arrow's booleans as NumPy's, (n,); False where one is null."""
    one = _one(column)
    valid, data = one.buffers()
    found = _bits(data, one)
    return found if valid is None or not one.null_count else found & _bits(valid, one)


def floats(column: Any) -> Array:
    """A float64 column without a copy, (n,), NaN where it is null."""
    one = _one(column)
    valid, data = one.buffers()
    values = np.frombuffer(data, np.float64)[one.offset : one.offset + len(one)] if len(one) else np.empty(0)
    return values if not one.null_count else np.where(_bits(valid, one), values, np.nan)


def places(column: Any) -> Array:
    """An int32 column, (n,), -1 where it is null."""
    one = _one(column)
    valid, data = one.buffers()
    values = np.frombuffer(data, np.int32)[one.offset : one.offset + len(one)] if len(one) else np.empty(0, np.int32)
    return values if not one.null_count else np.where(_bits(valid, one), values, -1)


def _one(column: Any) -> Any:
    """A column in one piece."""
    if not hasattr(column, "num_chunks"):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _bits(buffer: Any, one: Any) -> Array:
    first, last = one.offset, one.offset + len(one)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=last, bitorder="little") if len(one) else np.empty(0)
    return np.asarray(bits[first:last], bool)
