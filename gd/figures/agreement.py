"""How far the backends are from each other."""

from __future__ import annotations

import math

import numpy as np

from gd.figures.picture import Line, Picture, decimate, of_lines
from gd.figures.style import LIMIT, WEIGHTS, beyond, epoch_axis, label_ends, level, log_axis, new_figure, saved
from gd.notation import count, number
from gd.record import EpochLog, Record

__all__ = ["gap"]

_FLOOR = 0.1  # an exact agreement has no place on a log axis: it is drawn at the bottom


def gap(record: Record, log: EpochLog) -> Picture:
    """The gaps between the backends' weights and losses in units of last place, and the tolerance."""
    assert record.comparison is not None
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    epsilon = float(np.finfo(record.training.dtype).eps)
    allowed = record.comparison.tolerance / epsilon
    looks = (("weight", "weights", WEIGHTS[0], "-"), ("loss", "losses", WEIGHTS[3], (0, (5, 2))))
    drawn, worst = [], []
    for kind, name, colour, dash in looks:
        epochs, gaps = log.entries(f"relative_{kind}_gap")
        gaps = gaps / epsilon
        worst.append(float(np.nanmax(gaps)) if np.isfinite(gaps).any() else math.nan)
        x, y = decimate(epochs, np.where(np.isfinite(gaps), np.maximum(gaps, _FLOOR), np.nan))
        if len(y):
            drawn.append(Line(name, x, y, colour))
            axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.2, zorder=3 + len(drawn))
    log_axis(axes, [*(line.y for line in drawn), np.array([_FLOOR, 10.0, allowed])])
    axes.axhline(allowed, color=LIMIT, linewidth=1)
    beyond(axes.axhspan(allowed, axes.get_ylim()[1]))
    axes.set_ylabel("gap, in units of last place")
    label_ends(axes, [(allowed, "tolerance", LIMIT), *(line.end for line in drawn)])
    caption = "How far the backends are apart, relative to the weights’ scale and the losses’, in units of the last place"
    caption += f" that {record.training.dtype} holds"
    if record.comparison.agree and record.comparison.compared_by == "predictions":
        caption += ". The weights are not unique, and the predictions agree: beyond the red line would be no disagreement."
    elif record.comparison.agree:
        caption += ": rounding, and no more. Less than 0.1 is drawn as 0.1."
    else:
        caption += f". Beyond the red line they disagree, from epoch {count(record.comparison.first_epoch_apart)} on."
    alt = (
        f"Gap between the backends by epoch, in units of last place: weights at most {number(worst[0], 2)}, losses at most "
        f"{number(worst[1], 2)}; the tolerance is {number(allowed, 2)}."
    )
    data = of_lines("epoch", "units_of_last_place", [*drawn, level("tolerance", allowed, axes)])
    return Picture("gap", caption, alt, saved(figure, "gap"), data)
