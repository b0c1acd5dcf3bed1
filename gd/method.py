"""Rows or moments, and which rows stand together in a batch: the one place where that is chosen."""

from __future__ import annotations

from typing import Literal

from gd.settings import Training
from gd.spilling import beyond

__all__ = ["keeps_rows", "together"]

_PER_ELEMENT = 0.7e-9  # seconds that an epoch costs for each number in the rows; measured on 10⁶ × 10, in either backend
_LITTLE = 1.0  # seconds


def keeps_rows(training: Training, rows: int, columns: int) -> bool:
    """Whether training walks over the rows themselves, which then have to be kept.

    From moments every descent is quicker, and exact up to rounding; but on rows the arithmetic is the plain one, so that few
    rows, or few epochs over them, are walked over as they are. Asked while a file is being read: once it is false for some
    rows it is false for more.

    Args:
        training: the settings.
        rows: that were read so far.
        columns: of numbers, the target among them.
    """
    if training.method != "auto":
        return training.method == "rows"
    if training.needs_rows:
        return True
    size = rows * columns
    descents = training.epochs * len(training.backends) * (1 + training.rates_tried)
    return size * descents * _PER_ELEMENT <= _LITTLE and not beyond(rows, columns)


def together(rows: int, columns: int) -> Literal["drawn", "neighbours"]:
    """Which rows stand together in a batch: some that are drawn, or neighbours where memory is not to hold them all.

    Args:
        rows: that are trained on.
        columns: of the design matrix.
    """
    return "neighbours" if beyond(rows, columns) else "drawn"
