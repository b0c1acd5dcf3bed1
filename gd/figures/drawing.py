"""Every picture of a run, in reading order."""

from __future__ import annotations

from gd.figures.agreement import gap
from gd.figures.convergence import excess, gradient, loss
from gd.figures.fit import quality
from gd.figures.picture import Picture
from gd.figures.style import in_style
from gd.figures.surface import contours, has_a_surface, have_steps, parabola, plane, steps
from gd.figures.sweep import rates
from gd.figures.validation import folds, held, schedule
from gd.figures.weights import bars, have_bars, weights
from gd.quality import FitCells
from gd.record import EpochLog, Record

__all__ = ["draw"]


def draw(record: Record, log: EpochLog, cells: FitCells | None = None) -> list[Picture]:
    """Every picture of a trained run, in reading order.

    Args:
        record: of the run; without fits there is nothing to draw.
        log: its epochs.
        cells: its rows, counted by how well they are fitted.
    """
    found = record.diagnosis
    if not record.fits or found is None:
        return []
    makers = [loss, weights, gradient]
    if found.attained:
        makers.insert(1, excess)
    if record.training.validation is not None:
        makers.insert(0, held)
    if "learning_rate" in log.columns:
        makers.append(schedule)
    if record.cross_validation is not None:
        makers.append(folds)
    if len(record.fits) > 1:
        makers.append(gap)
    if record.sweep is not None:
        makers.append(rates)
    if has_a_surface(record):
        if found.hessian is not None:
            makers.append(parabola if len(found.eigenvalues) == 1 else contours)
        elif found.principal is not None:
            makers.append(plane)
    if have_bars(record):
        makers.append(bars)
    if have_steps(record):
        makers.append(steps)
    with in_style():
        return [*(maker(record, log) for maker in makers), *quality(record, cells or {})]
