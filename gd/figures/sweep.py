"""Where each of several learning rates ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gd.data import Array
from gd.figures.picture import Picture, table
from gd.figures.style import INK, LIMIT, PAPER, beyond, legend, log_axis, look, new_figure, saved, with_margins
from gd.notation import number
from gd.phrases import say
from gd.record import EpochLog, Record, Try

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rate_axis", "rates"]


def rates(record: Record, log: EpochLog) -> Picture:
    """Where each of several learning rates ended; what diverged has no height and stands at the top edge."""
    assert record.diagnosis is not None
    assert record.sweep is not None
    figure, axes = new_figure(3.4, top=0.9)
    tried, limit = record.sweep, record.diagnosis.stable_below
    ends = [[t for t in tried.fits if t.backend == fit.backend] for fit in record.fits]
    first = record.diagnosis.first_excess_loss or 0.0
    floor = float(np.finfo(record.training.dtype).eps) * first
    heights = [_heights(tries, floor) for tries in ends]
    middle = rate_axis(axes, tried.rates, limit)
    floored = any((y == floor).any() for y in heights)
    span = [first, floor] if floored or not np.isfinite(heights).any() else [first]
    with_margins(axes, log_axis(axes, [*heights, np.array(span)]), below=0.14, above=0.14)
    axes.set_ylabel(say("figures.rates.y"))
    for position, (fit, tries, y) in enumerate(zip(record.fits, ends, heights, strict=True)):
        colour, dash, marker = look(fit)
        axes.plot(
            tried.rates, y, color=colour, linestyle=dash, marker=marker, markersize=4 + position, label=fit.title,
            linewidth=1.8 - 0.5 * position, markerfacecolor=PAPER if position else colour, zorder=3 + position,
        )  # fmt: skip
        gone = [t.rate for t in tries if t.outcome == "diverged"]
        axes.plot(
            gone, [0.955 - 0.065 * position] * len(gone), transform=axes.get_xaxis_transform(), color=colour, linestyle="none",
            marker="x", markersize=6, markeredgewidth=1.8, zorder=5 + position,
        )  # fmt: skip
    if limit is not None:
        axes.axvline(limit, color=LIMIT, linewidth=1)
        beyond(axes.axvspan(limit, axes.get_xlim()[1]))
        axes.annotate(
            say("figures.stable_below", limit=number(limit, 3)),
            (limit, 1.015),
            xycoords=("data", "axes fraction"),
            color=LIMIT,
            fontsize=9.5,
            ha="right" if limit > middle else "left",
            va="bottom",
            annotation_clip=False,
        )
    chosen = float(heights[0][tried.rates.index(tried.best)])
    if math.isfinite(chosen):
        right = tried.best > middle
        axes.plot([tried.best], [chosen], marker="o", markersize=11, markerfacecolor="none", color=INK, zorder=7)
        axes.annotate(
            say("figures.rates.best", rate=number(tried.best)),
            (tried.best, chosen),
            xytext=(2 if right else -4, -9),
            textcoords="offset points",
            color=INK,
            fontsize=9.5,
            ha="right" if right else "left",
            va="top",
            zorder=8,
        )
    legend(axes, record)
    some = any(t.outcome == "diverged" for t in tried.fits)
    caption = say("figures.rates.some_diverged" if some else "figures.rates.caption")
    if limit is not None:
        caption += f" {say('figures.rates.beyond', limit=number(limit, 3))}"
    if floored and floor:
        caption += f" {say('figures.rates.floor', floor=number(floor, 2))}"
    said = "; ".join(
        f"{fit.title} {', '.join(map(_ended, tries))}" for fit, tries in zip(record.fits, ends, strict=True)
    )  # fmt: skip
    name = "figures.rates.alt" if limit is None else "figures.rates.alt_limit"
    alt = say(name, listed=said, best=number(tried.best), limit=number(limit))
    rows = [[t.backend, t.rate, t.outcome, t.excess_loss, t.loss, t.epochs] for t in tried.fits]
    data = table(["backend", "learning_rate", "outcome", "excess_loss", "loss", "epochs"], rows)
    return Picture("rates", caption, alt, saved(figure, "rates"), data)


def rate_axis(axes: Axes, rates: Sequence[float], limit: float | None) -> float:
    """A log axis that holds every rate and, where there is one, the stable limit; returns the rate in its middle."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    low, high = math.log10(rates[0]), math.log10(rates[-1])
    if limit is not None:
        low, high = min(low, math.log10(limit)), max(high, math.log10(limit) + 0.08 * (math.log10(limit) - low))
    pad = 0.06 * max(high - low, 0.01)
    left, right = max(low - pad, -307), min(high + pad, 307)
    every = max(math.ceil((high - low) / 4), 1)
    ticks: Sequence[float] = [10.0**d for d in range(math.ceil(left), math.floor(right) + 1, every)]
    if len(ticks) < 3:
        finer = [digit * 10.0**d for d in range(math.floor(left), math.ceil(right) + 1) for digit in (1, 2, 5)]
        ticks = [tick for tick in finer if 10.0**left <= tick <= 10.0**right]
    if len(ticks) < 2:  # close to each other: some of the rates themselves
        ticks = rates[:: max(math.ceil(len(rates) / 3), 1)]
    axes.set_xscale("log")
    axes.set_xlim(10.0**left, 10.0**right)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 3)))
    axes.set_xlabel(say("figures.rates.x"))
    return math.pow(10, (low + high) / 2)


def _heights(tries: Sequence[Try], floor: float) -> Array:
    """Loss above the optimum of what did not diverge, at least the floor, (m,)."""
    excess = (math.nan if t.outcome == "diverged" or t.excess_loss is None else t.excess_loss for t in tries)
    return np.array([height if math.isnan(height) else max(height, floor) for height in excess])


def _ended(t: Try) -> str:
    """One rate of a sweep, for an alt text."""
    if t.outcome == "diverged" or t.excess_loss is None:
        return say("figures.rates.diverged", rate=number(t.rate))
    return say("figures.rates.ended", loss=number(t.excess_loss, 2), rate=number(t.rate))
