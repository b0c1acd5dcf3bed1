"""The way over the loss surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gd.data import Array
from gd.figures.picture import Line, Picture, decimate, of_lines, table
from gd.figures.style import INK, LIMIT, PAPER, QUIET, THEORY, beyond, legend, look, new_figure, plain_numbers, saved
from gd.figures.sweep import rate_axis
from gd.figures.weights import as_trained, optimum_as_trained
from gd.notation import count, number, visible
from gd.phrases import say
from gd.record import EpochLog, Fit, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["contours", "has_a_surface", "have_steps", "parabola", "plane", "steps"]

_LEVELS = np.linspace(0, 1, 9)[1:] ** 2  # of the contours, of the highest
_FIRST, _LATER = 200, 300  # steps that are drawn
_OUTSIDE = 20.0  # reaches
_ANOTHER_STEP = 0.01  # by which a gradient may be off
_TINIEST = 1e-100


def parabola(record: Record, log: EpochLog) -> Picture:
    """The loss of one weight with the steps on it."""
    assert record.diagnosis is not None
    assert record.diagnosis.hessian is not None
    figure, axes = new_figure(top=0.92)
    (curvature,), (optimum,) = record.diagnosis.hessian[0], optimum_as_trained(record)
    base = record.diagnosis.optimum_loss or 0.0
    paths = [as_trained(record, log, fit)[1][:, 0] for fit in record.fits]
    reach = 1.15 * _reach([path - optimum for path in paths], abs(optimum))
    grid = np.linspace(optimum - reach, optimum + reach, 200)
    axes.plot(grid, base + curvature / 2 * (grid - optimum) ** 2, color=THEORY, linewidth=1, zorder=2)
    labels, drawn = [], []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        (seen,) = _seen(path[:, None], [optimum], [reach]).T
        drawn.append(_way(axes, fit, position, seen, base + curvature / 2 * (seen - optimum) ** 2))
        labels.append(say("figures.path.ends", backend=fit.title, weight=number(path[-1]), steps=count(fit.epochs)))
    axes.axvline(optimum, color=THEORY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.annotate(
        say("figures.path.optimum_at", optimum=number(optimum)),
        (optimum, 1.0),
        xycoords=("data", "axes fraction"),
        color=THEORY,
        fontsize=9.5,
        ha="center",
        va="bottom",
        annotation_clip=False,
    )
    axes.set_xlabel(_axis(record, 0, 30))
    axes.set_ylabel(say("figures.path.loss"))
    legend(axes, record)
    plain_numbers(axes.yaxis)
    caption = say("figures.path.parabola")
    alt = say("figures.path.parabola_alt", optimum=number(optimum), listed="; ".join(labels))
    axes.set_xlim(optimum - reach, optimum + reach)
    return Picture("path", caption, alt, saved(figure, "path"), of_lines("weight", "loss", drawn))


def _way(axes: Axes, fit: Fit, position: int, x: Array, y: Array) -> Line:
    """The steps of one backend, the first one's dots inside the other's open marks."""
    colour, dash, marker = look(fit)
    axes.plot(
        x, y, color=colour, linestyle=dash, marker=marker, markersize=4 + 2 * position, linewidth=1,
        markerfacecolor="none" if position else colour, markevery=_marked(len(x)), zorder=3 + position, label=fit.title,
    )  # fmt: skip
    return Line(fit.title, x, y, colour)


def contours(record: Record, log: EpochLog) -> Picture:
    """The loss of two weights, seen from above, with the steps on it."""
    assert record.diagnosis is not None
    assert record.diagnosis.hessian is not None
    figure, axes = new_figure(3.8)
    hessian, optimum = np.array(record.diagnosis.hessian), optimum_as_trained(record)
    paths = [as_trained(record, log, fit)[1] for fit in record.fits]
    reaches = [1.2 * _reach([path[:, j] - optimum[j] for path in paths], abs(optimum[j])) for j in (0, 1)]
    reaches = [max(reach, 0.15 * max(reaches)) for reach in reaches]
    first, second = (np.linspace(optimum[j] - reaches[j], optimum[j] + reaches[j], 120) for j in (0, 1))
    a, b = np.meshgrid(first - optimum[0], second - optimum[1])
    height = (hessian[0, 0] * a * a + 2 * hessian[0, 1] * a * b + hessian[1, 1] * b * b) / 2
    axes.contour(first, second, height, levels=_LEVELS * float(height.max()), colors=THEORY, linewidths=0.6, zorder=2)
    ends, drawn = [], []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        drawn.append(_way(axes, fit, position, *_seen(path, optimum, reaches).T))
        ends.append(say("figures.path.ends_at", backend=fit.title, x=number(path[-1, 0]), y=number(path[-1, 1])))
    axes.plot(*optimum, marker="+", markersize=11, color=INK, zorder=6, linestyle="none", label=say("figures.path.optimum"))
    names = [*record.dataset.features, *(["intercept"] if record.training.intercept else [])]
    axes.set_xlabel(_axis(record, 0, 30))
    axes.set_ylabel(_axis(record, 1, 24))
    legend(axes, record)
    plain_numbers(axes.xaxis)
    axes.locator_params(axis="x", nbins=5)
    plain_numbers(axes.yaxis)
    caption = say("figures.path.contours")
    alt = say("figures.path.contours_alt", x=number(optimum[0]), y=number(optimum[1]), listed="; ".join(ends))
    axes.set_xlim(first[0], first[-1])
    axes.set_ylim(second[0], second[-1])
    x, y = (*names, "intercept")[:2]
    return Picture("path", caption, alt, saved(figure, "path"), of_lines(x, y, drawn))


def plane(record: Record, log: EpochLog) -> Picture:
    """The way of three weights or more in the plane of the flattest and the steepest direction of the loss."""
    assert record.diagnosis is not None
    assert record.diagnosis.principal is not None
    figure, axes = new_figure(3.8)
    directions, optimum = np.array(record.diagnosis.principal), optimum_as_trained(record)
    curvatures = [min(value for value in record.diagnosis.eigenvalues if value > 0), record.diagnosis.eigenvalues[-1]]
    with np.errstate(over="ignore", invalid="ignore"):
        paths = [(as_trained(record, log, fit)[1] - optimum) @ directions.T for fit in record.fits]
    reaches = [1.2 * _reach([path[:, j] for path in paths], abs(float(paths[0][0, j]))) for j in (0, 1)]
    flat, steep = (np.linspace(-reach, reach, 120) for reach in reaches)
    a, b = np.meshgrid(flat, steep)
    height = (curvatures[0] * a * a + curvatures[1] * b * b) / 2
    axes.contour(flat, steep, height, levels=_LEVELS * float(height.max()), colors=THEORY, linewidths=0.6, zorder=2)
    ends, drawn = [], []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        drawn.append(_way(axes, fit, position, *_seen(path, [0.0, 0.0], reaches).T))
        ends.append(say("figures.path.ends_at", backend=fit.title, x=number(path[-1, 0], 2), y=number(path[-1, 1], 2)))
    axes.plot(0, 0, marker="+", markersize=11, color=INK, zorder=6, linestyle="none", label=say("figures.path.optimum"))
    x, y = paths[0][0]
    axes.annotate(
        say("figures.path.start"),
        (x, y),
        xytext=(0, 7 if y >= 0 else -7),
        textcoords="offset points",
        color=QUIET,
        fontsize=9.5,
        ha="center",
        va="bottom" if y >= 0 else "top",
        zorder=7,
    )
    axes.set_xlim(flat[0], flat[-1])
    axes.set_ylim(steep[0], steep[-1])
    axes.set_xlabel(say("figures.path.flattest", curvature=number(curvatures[0], 2)))
    axes.set_ylabel(say("figures.path.steepest", curvature=number(curvatures[1], 2)))
    legend(axes, record)
    plain_numbers(axes.xaxis)
    axes.locator_params(axis="x", nbins=5)
    plain_numbers(axes.yaxis)
    caption = say("figures.path.plane", flattest=_mostly(record, directions[0]), steepest=_mostly(record, directions[1]))
    alt = say(
        "figures.path.plane_alt", flattest=number(curvatures[0]), steepest=number(curvatures[1]), x=number(x, 2),
        y=number(y, 2), listed="; ".join(ends),
    )  # fmt: skip
    return Picture("path", caption, alt, saved(figure, "path"), of_lines("flattest", "steepest", drawn))


def steps(record: Record, log: EpochLog) -> Picture:
    """The learning rate beside those that the curvature allows, on one line."""
    assert record.diagnosis is not None
    found, rate = record.diagnosis, record.training.learning_rate
    assert rate is not None
    assert found.stable_below is not None
    assert found.best_rate is not None
    curved = np.array([value for value in found.eigenvalues if value > 0])
    rows: list[tuple[str, list[float], str, str]] = [
        (say("figures.steps.rate"), [rate], "o", INK if rate < found.stable_below else LIMIT)
    ]
    data: list[tuple[str, list[float]]] = [("learning rate", [rate])]
    for fit in record.fits:
        ratio = found.gradient_ratio.get(fit.backend)
        if ratio is not None and abs(ratio - 1) > _ANOTHER_STEP and ratio > 0:
            rows.append((say("figures.steps.walks", backend=fit.title), [ratio * rate], look(fit)[2], look(fit)[0]))
            data.append((f"as {fit.title} walks", [ratio * rate]))
    rows.append((say("figures.steps.best"), [found.best_rate], "D", THEORY))
    rows.append((say("figures.steps.inverse"), sorted((1 / curved).tolist()), "|", INK))
    data += [("best for the flattest", rows[-2][1]), ("1/curvature", rows[-1][1])]
    figure, axes = new_figure(0.95 + 0.34 * len(rows), top=0.9, left=0.34, right=0.96)
    every = [value for _, values, _, _ in rows for value in values] + [found.stable_below]
    low, high = math.log10(min(every)), math.log10(max(every))
    pad = max(0.12 * (high - low), 0.25)
    middle = rate_axis(axes, (10 ** max(low - pad, -300), 10 ** min(high + pad, 300)), None)
    places = [0.0, *(1.5 + place for place in range(len(rows) - 1))]  # with room for a word above the ticks
    for place, (_, values, marker, colour) in zip(places, reversed(rows), strict=True):
        axes.plot(values, [place] * len(values), color=colour, marker=marker, markersize=7, linestyle="none", zorder=4)
        if marker == "|":
            axes.plot([values[0], values[-1]], [place, place], color=colour, linewidth=0.8, zorder=3)
            said = ""
            if found.condition is not None and len(values) > 1:
                said = say("figures.steps.condition", condition=number(found.condition, 3))
            at, where, side = math.sqrt(values[0]) * math.sqrt(values[-1]), (0, 11), "center"
        else:
            at, said, left = values[0], number(values[0], 3), values[0] > middle
            where, side = (-8 if left else 8, 0), "right" if left else "left"
        if said:
            axes.annotate(
                said, (at, place), xytext=where, textcoords="offset points", color=INK, fontsize=9.5, va="center", ha=side,
                zorder=5, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
    axes.set_yticks(places, [name for name, *_ in reversed(rows)])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, places[-1] + 0.6)
    axes.grid(False, axis="y")
    axes.axvline(found.stable_below, color=LIMIT, linewidth=1.2, zorder=2)
    beyond(axes.axvspan(found.stable_below, axes.get_xlim()[1]))
    axes.annotate(
        say("figures.stable_below", limit=number(found.stable_below, 3)),
        (found.stable_below, 1.02),
        xycoords=("data", "axes fraction"),
        color=LIMIT,
        fontsize=9.5,
        ha="right" if found.stable_below > middle else "left",
        va="bottom",
        annotation_clip=False,
    )
    name = "figures.steps.inside" if rate < found.stable_below else "figures.steps.beyond"
    caption = say(name, times=number(rate / found.stable_below, 3))
    if len(curved) > 1:
        caption += f" {say('figures.steps.ticks')}"
    alt = say(
        "figures.steps.alt_flat" if found.condition is None else "figures.steps.alt", rate=number(rate),
        best=number(found.best_rate), limit=number(found.stable_below), low=number(float(1 / curved.max())),
        high=number(float(1 / curved.min())), condition=number(found.condition),
    )  # fmt: skip
    data.append(("stable limit", [found.stable_below]))
    beside = table(["what", "rate"], [[name, value] for name, values in data for value in values])
    return Picture("steps", caption, alt, saved(figure, "steps"), beside)


def have_steps(record: Record) -> bool:
    """Whether there is a learning rate and a limit to hold it against, of a size that can be drawn."""
    found, rate = record.diagnosis, record.training.learning_rate
    if found is None or not found.attained or rate is None or found.stable_below is None or found.best_rate is None:
        return False
    return all(_TINIEST < value < 1 / _TINIEST for value in (rate, *(value for value in found.eigenvalues if value > 0)))


def _mostly(record: Record, direction: Array) -> str:
    """A direction by the two features that have the largest shares in it."""
    names = [visible(feature, 30) for feature in record.dataset.features]
    names += [say("figures.path.the_intercept")] * record.training.intercept
    first, second = np.argsort(-np.abs(direction), kind="stable")[:2]
    name = "mostly"
    if abs(direction[second]) > 0.3 * abs(direction[first]):
        name = "mostly_with" if direction[first] * direction[second] > 0 else "mostly_against"
    return say(f"figures.path.{name}", first=names[first], second=names[second])


def _axis(record: Record, j: int, longest: int) -> str:
    """What a weight's axis says, the intercept's being last."""
    features = record.dataset.features
    if j == len(features) and features:
        return say("figures.path.intercept")
    name = visible(features[j], longest) if features else say("figures.path.intercept")
    return say("figures.path.weight_standardised" if record.training.standardize else "figures.path.weight", name=name)


def _seen(path: Array, middle: Sequence[float] | Array, reaches: Sequence[float]) -> Array:
    """Steps of a path that are drawn, (m, k): the first ones, then ever fewer, and wherever one goes furthest.

    What is far outside the drawing is drawn at some distance from it, so that its line leaves the drawing and comes back.
    """
    path = path[np.isfinite(path).all(axis=1)]
    inside = np.flatnonzero((np.abs(path - np.asarray(middle)) <= np.asarray(reaches)).all(axis=1))
    path = path[: (inside[-1] if len(inside) else 0) + 2]  # and the step that leaves the drawing for good
    done = np.arange(len(path))
    chosen = [done[:_FIRST], np.geomspace(1, max(len(path), 1), _LATER).astype(int) - 1]
    chosen += [decimate(done, path[:, j], _LATER)[0] for j in range(path.shape[1])]
    path = path[np.unique(np.concatenate(chosen))] if len(path) else path
    away = _OUTSIDE * np.asarray(reaches)
    return np.asarray(np.clip(path, np.asarray(middle) - away, np.asarray(middle) + away))


def _marked(points: int) -> list[int]:
    """Which points of a path carry a mark: the first twenty, then ever fewer."""
    later = np.geomspace(20, max(points - 1, 20), 40).astype(int).tolist()
    return sorted({t for t in (*range(20), *later) if t < points})


def has_a_surface(record: Record) -> bool:
    """Whether the loss around the optimum is of a size that can be drawn, and every weight visible beside the others."""
    assert record.diagnosis is not None
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        optimum = np.abs(optimum_as_trained(record))
        steepest = record.diagnosis.curvature[1]
        sizes = np.append(optimum, [steepest, steepest * optimum.max() ** 2])
    return steepest > 0 and bool(((sizes == 0) | ((sizes > 1e-100) & (sizes < 1e100))).all())


def _reach(offsets: Sequence[Array], least: float) -> float:
    """How far the drawing extends from the optimum: as the paths do, but no further than four times the start."""
    joined = np.abs(np.concatenate(offsets))
    furthest = float(joined[np.isfinite(joined)].max(initial=0.0))
    return min(max(furthest, least), 4 * least) if least > 0 else max(furthest, 1.0)
