"""How far the backends are from each other."""

from __future__ import annotations

import math

import numpy as np

from gd.figures.picture import Picture, decimate
from gd.figures.style import LIMIT, epoch_axis, label_ends, log_axis, new_figure, saved
from gd.notation import count, number
from gd.record import EpochLog, Record

__all__ = ["gap"]


def gap(record: Record, log: EpochLog) -> Picture:
    """The gap between the backends in units of last place, and the tolerance."""
    assert record.comparison is not None
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    epsilon = float(np.finfo(record.training.dtype).eps)
    epochs, gap = log.entries("relative_weight_gap")
    gap, allowed = gap / epsilon, record.comparison.tolerance / epsilon
    floor = 0.1  # an exact agreement has no place on a log axis: it is drawn at the bottom
    drawn = np.where(np.isfinite(gap), np.maximum(gap, floor), np.nan)
    log_axis(axes, [drawn, np.array([floor, 10.0, allowed])])
    x, y = decimate(epochs, drawn)
    axes.plot(x, y, color="#0072b2", linewidth=1.2, zorder=3)
    axes.axhline(allowed, color=LIMIT, linewidth=1)
    axes.axhspan(allowed, axes.get_ylim()[1], facecolor="none", edgecolor=LIMIT, hatch="////", linewidth=0, alpha=0.25)
    axes.set_ylabel("gap, in units of last place")
    labels = [(allowed, "tolerance", LIMIT)]
    if len(y):
        labels.append((float(y[-1]), "largest gap", "#0072b2"))
    label_ends(axes, labels)
    worst = float(np.nanmax(gap)) if np.isfinite(gap).any() else math.nan
    caption = f"The largest gap between the backends' weights, in units of the last place that {record.training.dtype} holds"
    if record.comparison.agree and record.comparison.compared_by == "predictions":
        caption += ". They are not unique, and their predictions agree: beyond the red line would be no disagreement."
    elif record.comparison.agree:
        caption += ": rounding, and no more. Less than 0.1 is drawn as 0.1."
    else:
        caption += f". Beyond the red line they disagree, from epoch {count(record.comparison.first_epoch_apart)} on."
    alt = (
        f"Gap between the backends by epoch: at most {number(worst, 2)} units of last place; "
        f"the tolerance is {number(allowed, 2)}."
    )
    return Picture("gap", caption, alt, saved(figure, "gap"))
