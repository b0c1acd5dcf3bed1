"""How far the backends are from each other."""

from __future__ import annotations

import math

import numpy as np

from gd.figures.picture import Line, Picture, decimate, of_lines
from gd.figures.style import LIMIT, WEIGHTS, beyond, epoch_axis, label_ends, level, log_axis, new_figure, saved
from gd.notation import count, number
from gd.phrases import say
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
    looks = (
        ("weight", "weights", say("figures.gap.weights"), WEIGHTS[0], "-"),
        ("loss", "losses", say("figures.gap.losses"), WEIGHTS[3], (0, (5, 2))),
    )
    drawn, worst = [], []
    for kind, name, label, colour, dash in looks:
        epochs, gaps = log.entries(f"relative_{kind}_gap")
        gaps = gaps / epsilon
        worst.append(float(np.nanmax(gaps)) if np.isfinite(gaps).any() else math.nan)
        x, y = decimate(epochs, np.where(np.isfinite(gaps), np.maximum(gaps, _FLOOR), np.nan))
        if len(y):
            drawn.append(Line(name, x, y, colour, label))
            axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.2, zorder=3 + len(drawn))
    log_axis(axes, [*(line.y for line in drawn), np.array([_FLOOR, 10.0, allowed])])
    axes.axhline(allowed, color=LIMIT, linewidth=1)
    beyond(axes.axhspan(allowed, axes.get_ylim()[1]))
    axes.set_ylabel(say("figures.gap.y"))
    label_ends(axes, [(allowed, say("figures.gap.tolerance"), LIMIT), *(line.end for line in drawn)])
    name, epoch = "figures.gap.apart", count(record.comparison.first_epoch_apart)
    if record.comparison.agree:
        name = "figures.gap.not_unique" if record.comparison.compared_by == "predictions" else "figures.gap.rounding"
    caption = say(name, dtype=record.training.dtype, epoch=epoch, floor=number(_FLOOR))
    alt = say("figures.gap.alt", weights=number(worst[0], 2), losses=number(worst[1], 2), tolerance=number(allowed, 2))
    data = of_lines("epoch", "units_of_last_place", [*drawn, level("tolerance", allowed, axes)])
    return Picture("gap", caption, alt, saved(figure, "gap"), data)
