"""Tables whose numbers the arithmetic of a training cannot hold: refused with the column and what to do."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from gd.data import Array, Scaling
from gd.notation import visible
from gd.reading import Reading
from gd.refusal import DataError
from gd.settings import Training
from gd.spilling import parts

__all__ = ["check_design", "check_held", "check_target", "check_values"]

_WIDE = np.finfo(np.float64)
_SPARE = 3  # powers of ten that a weight may be from the quotient of its target's and its feature's spread
_DIGITS = 1000  # units of the last place that the rows of a column differ by at least


def check_values(data: Reading) -> None:
    """Refuse columns whose values float64 cannot subtract from each other, or holds with fewer digits.

    Raises:
        DataError: naming the column.
    """
    for name, low, high in zip(_names(data), data.moments.low, data.moments.high, strict=True):
        size = max(abs(low), abs(high))
        if size > _WIDE.max / 4:
            raise _refused(data, name, f"{size:.3g} is at the limit of float64.", "divide the column by a power of ten.")
        if 0 < size < _WIDE.tiny:
            problem = f"{size:.3g} is below what float64 holds in full."
            raise _refused(data, name, problem, "multiply the column by a power of ten.")


def check_design(data: Reading, scaling: Scaling, design: Array, y: Array, training: Training) -> None:
    """Refuse columns, as trained on, that the precision cannot square or tell apart, or whose weights float64 cannot hold.

    A column's square may not overflow, when summed over the rows, nor be so small that that of its last digit's half
    underflows; its rows must differ in more than their last digits, once they are rounded to the precision.

    Args:
        data: what is trained on.
        scaling: applied to the features.
        design: the features as trained on, a column of ones last where there is an intercept, (n, p).
        y: targets, (n,).
        training: the settings.

    Raises:
        DataError: naming the column.
    """
    kind = np.finfo(training.dtype)
    most, least = _most(training, len(design)), math.sqrt(float(kind.tiny) / float(kind.eps))
    features = len(data.provenance.features)
    for j, (name, values) in enumerate(zip(_names(data), [*design.T[:features], y], strict=True)):
        scaled = j < features and training.standardize
        remedy = "leave out --no-standardize, or " if j < features and not scaled else ""
        remedy += "" if training.dtype == "float64" else "train in float64, or "
        size = _size(values)
        if not size <= most:
            problem = f"its squares are more than {training.dtype} holds."
            raise _refused(data, name, problem, f"{remedy}divide the column by a power of ten.")
        if 0 < size < least:
            problem = f"its squares are less than {training.dtype} holds."
            raise _refused(data, name, problem, f"{remedy}multiply the column by a power of ten.")
        low, high = float(data.moments.low[j]), float(data.moments.high[j])
        share = (high - low) / max(abs(low), abs(high)) if high > low else 1.0
        if training.dtype == "float32" and not (scaled and training.intercept) and share < _DIGITS * float(kind.eps):
            problem = f"its rows differ by {share:.2g} of their size, of which float32 keeps hardly a digit."
            raise _refused(data, name, problem, f"{remedy}subtract a constant from the column.")
    _check_weights(data, scaling)


def check_held(data: Reading, design: Array, y: Array, training: Training) -> None:
    """Refuse columns that in rows held out are larger than the precision can square: their loss would be no number.

    Args:
        data: what is trained on.
        design: the features of the rows held out, scaled as those trained on, (n, p).
        y: their targets, (n,).
        training: the settings.

    Raises:
        DataError: naming the column.
    """
    features = len(data.provenance.features)
    for name, values in zip(_names(data), [*design.T[:features], y], strict=True):
        if not _size(values) <= _most(training, len(design)):
            problem = f"its squares are more than {training.dtype} holds, in rows held out."
            remedy = "" if training.dtype == "float64" else "train in float64, or "
            raise _refused(data, name, problem, f"{remedy}look at these rows.")
    check_target(data, y, training)


def _most(training: Training, rows: int) -> float:
    """The largest number whose squares the precision can sum over so many rows."""
    return math.sqrt(float(np.finfo(training.dtype).max) / rows) / 4


def _size(values: Array) -> float:
    return max(float(values.max()), -float(values.min()))


def check_target(data: Reading, y: Array, training: Training) -> None:
    """Refuse a target that the loss does not know.

    Args:
        data: what is trained on.
        y: targets, (n,), trained on or held out.
        training: the settings.

    Raises:
        DataError: naming the column.
    """
    if training.loss not in {"logistic", "poisson"}:
        return
    for rows in parts(len(y), 1):
        _check_rows(data, y[rows], training)
    if training.loss == "poisson" and training.intercept and float(data.moments.high[-1]) == 0:
        problem = "every row trained on holds 0, and no rate is as low as that of nothing."
        raise _refused(data, data.provenance.target, problem, "name another target, or give rows with counts.")


def _check_rows(data: Reading, y: Array, training: Training) -> None:
    if training.loss == "logistic" and len(wrong := y[(y != 0) & (y != 1)]):
        problem = f"the logistic loss is of a target of two values, and {wrong[0]:g} is one of more."
        raise _refused(data, data.provenance.target, problem, "minimise the mean squared error with --loss mse.")
    if training.loss == "poisson" and len(wrong := y[y < 0]):
        problem = f"the Poisson loss is of counts, and {wrong[0]:g} is below 0."
        raise _refused(data, data.provenance.target, problem, "minimise the mean squared error with --loss mse.")


def _check_weights(data: Reading, scaling: Scaling) -> None:
    """Refuse features beside whose size the target's is so large or small that their weight is no number of float64."""
    size = math.sqrt(data.moments.target_variance)
    for name, spread in zip(data.provenance.features, scaling.scale, strict=True):
        power = math.log10(size) - math.log10(spread) if size else 0.0
        if not math.log10(_WIDE.tiny) + _SPARE <= power <= math.log10(_WIDE.max) - _SPARE:
            problem = f"its weight would be about 1e{power:+.0f}, which float64 does not hold in full."
            raise _refused(data, name, problem, "multiply or divide the column by a power of ten.")


def _names(data: Reading) -> list[str]:
    return [*data.provenance.features, data.provenance.target]


def _refused(data: Reading, name: str, problem: str, remedy: str) -> DataError:
    where = f"{visible(Path(data.provenance.path).name)}, column {visible(name)!r}"
    return DataError(where, problem, remedy[:1].upper() + remedy[1:])
