"""How well the fitted line describes the rows: where they lie, counted, so that a few hundred numbers can be drawn again."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

import numpy as np

from gd.data import Array, Scaling
from gd.moments import Moments
from gd.problems import expected
from gd.record import Fit, Residuals
from gd.spilling import parts

__all__ = ["DRAWINGS", "SINGLE_ROWS", "Cells", "FitCells", "fit_quality", "from_csv", "residual_means", "to_csv"]

SINGLE_ROWS = 1000  # up to so many are drawn one by one
DRAWINGS = ("residuals", "distribution", "predicted")

_GRID = (40, 28)  # cells across and up
_FAR = 6.0  # standard deviations, of a normal distribution with these quartiles: further rows are counted at the edge
_QUARTILES = 1.349  # between those of a normal distribution, in standard deviations
_LEAST_FOR_BARS = 10  # rows
_HEAD = ["drawing", "x_from", "x_to", "y_from", "y_to", "rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Rectangles with rows in them; a single row is one without a size."""

    x: Array  # (m, 2), from and to
    y: Array  # (m, 2)
    rows: Array  # (m,), how many lie there


FitCells = dict[str, Cells]
"""By the name of the drawing, one of `DRAWINGS`."""


def fit_quality(
    fit: Fit,
    design: Array,
    y: Array,
    theta: Array,
    *,
    moments: Moments,
    scaling: Scaling,
    every: int = 1,
    loss: str = "mse",
    of_all: tuple[float, float] | None = None,
) -> tuple[Residuals, FitCells] | None:
    """Count the rows by fitted value and residual, and by fitted and actual value; None where they are not finite.

    Args:
        fit: whose weights these are.
        design: of all rows or of a sample, as trained, (m, p).
        y: their targets, (m,).
        theta: the weights, (p,).
        moments: of all rows, from which the mean residual follows.
        scaling: under which it was trained.
        every: one row of so many is in the sample.
        loss: which was minimised; but for the mean squared error, these are all rows, or `of_all` is known.
        of_all: mean of all residuals, and of their squares, as `residual_means` gives them.
    """
    if fit.loss is None or not len(y):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = expected(loss, design @ theta)
        residual = y - fitted
        features = len(scaling.shift)
        middle = (moments.means[:-1] - scaling.shift) / scaling.scale
        mean = float(moments.means[-1] - middle @ theta[:features] - theta[features:].sum())
        square = fit.loss if fit.unpenalised_loss is None else fit.unpenalised_loss
        if loss not in {"mse", "notebook"}:
            mean, square = of_all or (float(residual.mean()), float(residual @ residual) / len(y))
        finite = np.isfinite(np.ptp(fitted)) and np.isfinite(np.ptp(residual)) and np.isfinite(np.ptp(y))
        if not (finite and math.isfinite(mean)):
            return None
        found = Residuals(
            backend=fit.backend,
            rows=len(y),
            of=moments.n,
            every=every,
            mean=mean,
            spread=math.sqrt(max(square - mean * mean, 0.0)),
        )
    low, high = _limits(residual)
    cells: FitCells = {}
    if len(y) <= SINGLE_ROWS:
        one = np.ones(len(y), dtype=np.int64)
        cells["residuals"] = Cells(_twice(fitted), _twice(residual), one)
        cells["predicted"] = Cells(_twice(fitted), _twice(y), one)
    else:
        across = np.linspace(fitted.min(), fitted.max(), _GRID[0] + 1)
        cells["residuals"] = _counted(fitted, residual, across, _edges(residual, low, high, _GRID[1]))
        near = y[(residual >= low) & (residual <= high)]
        cells["predicted"] = _counted(fitted, y, across, _edges(y, near.min(), near.max(), _GRID[1]))
    if len(y) >= _LEAST_FOR_BARS and low < high:
        edges = _edges(residual, low, high, _bars(residual, low, high))
        rows = np.bincount(_place(residual, edges), minlength=len(edges) - 1)
        used = edges[1:] > edges[:-1]
        height = np.column_stack([np.zeros(used.sum()), rows[used]])
        cells["distribution"] = Cells(np.column_stack([edges[:-1], edges[1:]])[used], height, rows[used])
    return found, cells


def residual_means(design: Array, y: Array, theta: Array, loss: str) -> tuple[float, float]:
    """Mean of the residuals of all rows, and of their squares, block by block.

    Args:
        design: of all rows, (n, p).
        y: their targets, (n,).
        theta: the weights, (p,).
        loss: which was minimised.
    """
    total = square = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in parts(*design.shape):
            residual = y[rows] - expected(loss, design[rows] @ theta)
            total, square = total + float(residual.sum()), square + float(residual @ residual)
    return total / len(y), square / len(y)


def to_csv(cells: FitCells) -> str:
    """As `fit.csv` holds it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEAD)
    for name, counted in cells.items():
        for x, y, count in zip(counted.x.tolist(), counted.y.tolist(), counted.rows.tolist(), strict=True):
            rows.writerow([name, *x, *y, count])
    return text.getvalue()


def from_csv(text: str) -> FitCells:
    """What `to_csv` wrote.

    Raises:
        ValueError: if it is something else.
    """
    head, *rows = csv.reader(io.StringIO(text))
    if head != _HEAD or any(len(row) != len(_HEAD) or row[0] not in DRAWINGS for row in rows):
        raise ValueError("fit.csv: not what a run writes")
    cells: FitCells = {}
    for name in DRAWINGS:
        if numbers := [row[1:] for row in rows if row[0] == name]:
            table = np.array([[float(cell) for cell in row[:4]] for row in numbers])
            cells[name] = Cells(table[:, :2], table[:, 2:], np.array([int(row[4]) for row in numbers]))
    return cells


def _limits(residual: Array) -> tuple[float, float]:
    """From where to where residuals are drawn: all, unless a few lie so far out that nothing could be seen of the others."""
    low, quarter, middle, three, high = np.quantile(residual, [0, 0.25, 0.5, 0.75, 1]).tolist()
    reach = _FAR * (three - quarter) / _QUARTILES
    return (max(low, middle - reach), min(high, middle + reach)) if reach > 0 else (low, high)


def _edges(values: Array, low: float, high: float, parts: int) -> Array:
    """Of so many parts of equal width, and of one more at either end, which holds what lies further out."""
    return np.concatenate([[min(low, values.min())], np.linspace(low, high, parts + 1), [max(high, values.max())]])


def _place(values: Array, edges: Array) -> Array:
    """In which part each value lies; what lies on the edge of the far ones belongs to the near ones."""
    inner = np.clip(np.searchsorted(edges[1:-1], values, side="right"), 1, len(edges) - 3)
    return np.where(values < edges[1], 0, np.where(values > edges[-2], len(edges) - 2, inner))


def _counted(x: Array, y: Array, across: Array, up: Array) -> Cells:
    column = np.clip(np.searchsorted(across, x, side="right") - 1, 0, len(across) - 2)
    place = column * (len(up) - 1) + _place(y, up)
    cells, rows = np.unique(place, return_counts=True)
    column, row = np.divmod(cells, len(up) - 1)
    return Cells(np.column_stack([across[column], across[column + 1]]), np.column_stack([up[row], up[row + 1]]), rows)


def _bars(residual: Array, low: float, high: float) -> int:
    """How many, by the rule of Freedman and Diaconis, but no more than can be told apart."""
    quarter, three = np.quantile(residual, [0.25, 0.75])
    width = 2 * (three - quarter) / len(residual) ** (1 / 3)
    return int(np.clip(math.ceil((high - low) / width), 8, 40)) if width > 0 else 20


def _twice(values: Array) -> Array:
    return np.column_stack([values, values])
