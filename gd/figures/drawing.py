"""Every picture of a run, in reading order."""

from __future__ import annotations

from gd.figures.agreement import gap
from gd.figures.convergence import excess, gradient, loss
from gd.figures.picture import Picture
from gd.figures.style import in_style
from gd.figures.surface import contours, has_a_surface, parabola
from gd.figures.sweep import rates
from gd.figures.weights import weights
from gd.record import EpochLog, Record

__all__ = ["draw"]


def draw(record: Record, log: EpochLog) -> list[Picture]:
    """Every picture of a trained run, in reading order.

    Args:
        record: of the run; without fits there is nothing to draw.
        log: its epochs.
    """
    if not record.fits or record.diagnosis is None:
        return []
    makers = [loss, excess, weights, gradient]
    if len(record.fits) > 1:
        makers.append(gap)
    if record.sweep is not None:
        makers.append(rates)
    if record.diagnosis.hessian is not None and has_a_surface(record):
        makers.append(parabola if len(record.diagnosis.eigenvalues) == 1 else contours)
    with in_style():
        return [maker(record, log) for maker in makers]
