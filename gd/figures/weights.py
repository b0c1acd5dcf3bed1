"""The weights on their way, and where they ended."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gd.coefficients import modelled
from gd.data import Array, Scaling
from gd.figures.picture import Line, Picture, decimate, of_lines, table
from gd.figures.style import (
    INK,
    QUIET,
    THEORY,
    WEIGHTS,
    epoch_axis,
    label_ends,
    level,
    log_axis,
    look,
    look_name,
    new_figure,
    plain_numbers,
    saved,
)
from gd.notation import count, number, visible
from gd.phrases import say
from gd.record import EpochLog, Fit, Record

__all__ = ["as_trained", "bars", "have_bars", "optimum_as_trained", "weights"]

_ROOM = 0.17  # of a figure, for numbers beside its bars
_BARS = 20  # weights
_LARGEST = 1e100


def weights(record: Record, log: EpochLog) -> Picture:
    """The weights after each step."""
    figure, axes = new_figure()
    epoch_axis(axes, len(log) + 1)
    axes.set_xlabel(say("figures.weights.x"))
    features, optimum = record.dataset.features, optimum_as_trained(record)
    done, paths = zip(*(as_trained(record, log, fit) for fit in record.fits), strict=True)
    ends = np.nan_to_num(np.abs(paths[0][-1, : len(features)]), posinf=0)
    shown = sorted(np.argsort(-ends, kind="stable")[: len(WEIGHTS)])
    diverged = record.verdict == "diverged"
    if diverged:  # they swing from side to side: their size is what can be read
        paths, optimum = tuple(np.abs(path) for path in paths), np.abs(optimum)
    labels, drawn = [], []
    alone = len(shown) == 1
    for position, (fit, steps, path) in enumerate(zip(record.fits, done, paths, strict=True)):
        for colour, j in zip([look(fit)[0]] if alone else WEIGHTS, shown, strict=False):
            x, y = decimate(steps, path[:, j])
            drawn.append(Line(f"{features[j]}, {fit.title}", x, y, colour))
            axes.plot(x, y, color=colour, linestyle=look(fit)[1], linewidth=1.8 - 0.5 * position, zorder=3 + position)
            if position == 0 or record.verdict == "disagree":
                name = visible(features[j], 14)
                labels.append((float(y[-1]), name if record.verdict != "disagree" else f"{name}, {fit.title}", colour))
    assert record.diagnosis is not None
    attained = record.diagnosis.attained
    for colour, j in zip([THEORY] if alone else WEIGHTS, shown if attained else (), strict=False):
        axes.axhline(optimum[j], color=colour, linewidth=0.6, linestyle=(0, (1, 3)), zorder=2)
        drawn.append(level(f"{features[j]}, optimum", float(optimum[j]), axes))
    size = "size" if diverged else "y"
    if record.training.standardize:
        size = "size_standardised" if diverged else "y_standardised"
    axes.set_ylabel(say(f"figures.weights.{size}"))
    if diverged:
        log_axis(axes, [path[1:, shown].ravel() for path in paths])
    else:
        plain_numbers(axes.yaxis)
    label_ends(axes, labels)
    dashes = say("and.last").join(say(f"figures.weights.{look_name(fit)}", backend=fit.title) for fit in record.fits)
    words = "part" if record.verdict == "disagree" else "agree" if attained else "no_optimum"
    caption = say(f"figures.weights.{words}", listed=dashes)
    if len(features) > len(shown):
        caption += f" {say('figures.weights.largest', shown=count(len(shown)), all=count(len(features)))}"
    if record.training.standardize and record.training.intercept:
        caption += f" {say('figures.weights.without')}"
    said = ", ".join(
        say(
            "figures.weights.ends" if attained else "figures.weights.ends_alone",
            name=visible(features[j]),
            weight=number(paths[0][-1, j]),
            **({"optimum": number(optimum[j])} if attained else {}),
        )
        for j in shown
    )
    alt = say("figures.weights.alt", backend=record.fits[0].title, listed=said)
    return Picture("weights", caption, alt, saved(figure, "weights"), of_lines("epochs_done", "weight", drawn))


def bars(record: Record, log: EpochLog) -> Picture:
    """The weights beside each other, as they are for features of one spread."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    features, ends, interval = record.dataset.features, [_standardised(record, fit) for fit in record.fits], _interval(record)
    order, whiskers = np.argsort(-np.abs(ends[0]), kind="stable"), None if interval is None else interval[:2]
    shown = order[:_BARS]
    beside = [number(float(ends[0][j]), 3) for j in shown]
    room = _ROOM + 0.013 * max(max(map(len, beside)) - 8, 0)  # for powers of ten more, which are fewer along the axis too
    figure, axes = new_figure(0.75 + 0.27 * len(shown), top=0.99, left=0.36, right=1 - room)
    place = np.arange(len(shown))[::-1]
    colour, _, _ = look(record.fits[0])
    axes.barh(place, ends[0][shown], 0.62, color=colour, alpha=0.75, linewidth=0, zorder=3, label=record.fits[0].title)
    for fit, values in zip(record.fits[1:], ends[1:], strict=True):
        other, _, marker = look(fit)
        axes.plot(
            values[shown], place, color=other, linestyle="none", marker=marker, markersize=6, markerfacecolor="none",
            markeredgewidth=1.4, zorder=5, label=fit.title,
        )  # fmt: skip
    if whiskers is not None:
        low, high = (side[shown] for side in whiskers)
        axes.hlines(place, low, high, color=INK, linewidth=1.4, zorder=4)
        axes.plot([*low, *high], [*place, *place], color=INK, linestyle="none", marker="|", markersize=7, zorder=4)
    axes.axvline(0, color=QUIET, linewidth=0.8, zorder=6)
    axes.set_yticks(place, [visible(features[j], 22) for j in shown])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(4 if room == _ROOM else 2))
    plain_numbers(axes.xaxis)
    axes.set_xlabel(say("figures.bars.x", target=modelled(record, 20)))
    for y, text in zip(place, beside, strict=True):
        axes.annotate(
            text, (1.02, y), xycoords=("axes fraction", "data"), color=INK, fontsize=9, va="center",
            annotation_clip=False,
        )  # fmt: skip
    first = record.fits[0].title
    marks = [say("figures.bars.first", backend=first)]
    names = {"first": "circles"}  # the first look's marks, where another backend has the bars
    marks += [say(f"figures.bars.{names.get(look_name(fit), look_name(fit))}", backend=fit.title) for fit in record.fits[1:]]
    if interval is not None:
        marks.append(say("figures.bars.interval", level=number(100 * interval[2], 3)))
    caption = say("figures.bars.caption", target=modelled(record, 40), listed=", ".join(marks))
    if len(order) > len(shown):
        caption += f" {say('figures.weights.largest', shown=count(len(shown)), all=count(len(order)))}"
    said = ", ".join(f"{visible(features[j])} {number(float(ends[0][j]))}" for j in shown)
    alt = say("figures.bars.alt", backend=first, listed=said)
    head = ["feature", *(fit.title for fit in record.fits), *(["low", "high"] if whiskers is not None else [])]
    columns = [*ends, *(whiskers if whiskers is not None else [])]
    data = table(head, [[features[j], *(float(column[j]) for column in columns)] for j in order])
    return Picture("bars", caption, alt, saved(figure, "bars"), data)


def have_bars(record: Record) -> bool:
    """Whether the weights can be held against each other: of several features of one spread, and of a size to be drawn."""
    if not record.training.standardize or len(record.dataset.features) < 2 or record.verdict in {"diverged", "failed"}:
        return False
    scaled = [_standardised(record, fit) for fit in record.fits]
    return all(np.isfinite(ends).all() and (np.abs(ends) < _LARGEST).all() for ends in scaled) and bool(np.any(scaled[0]))


def as_trained(record: Record, log: EpochLog, fit: Fit) -> tuple[Array, Array]:
    """The weights that were kept, as the descent saw them, from the start at 0 on: steps done, (m + 1,), and (m + 1, p)."""
    intercept = record.training.intercept
    epochs, weights = log.weights(fit.backend, record.dataset.features, intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        path = np.vstack([np.zeros(weights.shape[1]), _scaling(record).from_units(weights, intercept)])
    return np.append(0, epochs + 1), path


def optimum_as_trained(record: Record) -> Array:
    """The optimum as the descent saw it, (p,)."""
    assert record.diagnosis is not None
    found = record.diagnosis
    weights = [found.optimum[feature] or 0.0 for feature in record.dataset.features]
    if record.training.intercept:
        weights.append(found.optimum_intercept or 0.0)
    return _scaling(record).from_units(np.array(weights), record.training.intercept)


def _scaling(record: Record) -> Scaling:
    return Scaling(np.array(record.training.shift), np.array(record.training.scale))


def _standardised(record: Record, fit: Fit) -> Array:
    """The weights of one backend where it ended, as trained, (d,)."""
    weights = [fit.weights[feature] for feature in record.dataset.features]
    return np.array([math.nan if weight is None else weight for weight in weights]) * _scaling(record).scale


def _interval(record: Record) -> tuple[Array, Array, float] | None:
    """The intervals of the standardised weights from and to, each (d,), and their level; None where there are none."""
    inference: Any = getattr(record, "inference", None)
    if inference is None:
        return None
    terms = {term.feature: term for term in inference.terms}
    sides = [[getattr(terms.get(feature), side, None) for feature in record.dataset.features] for side in ("low", "high")]
    if any(value is None for side in sides for value in side):
        return None
    low, high = (np.array(side, dtype=np.float64) * np.array(record.training.scale) for side in sides)
    if not all(np.isfinite(side).all() and (np.abs(side) < _LARGEST).all() for side in (low, high)):
        return None
    return low, high, float(inference.level)
