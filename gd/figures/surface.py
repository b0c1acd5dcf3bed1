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
        labels.append(f"{fit.title} ends at {number(path[-1])} after {count(fit.epochs)} steps")
    axes.axvline(optimum, color=THEORY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.annotate(
        f"optimum {number(optimum)}", (optimum, 1.0), xycoords=("data", "axes fraction"), color=THEORY, fontsize=9.5,
        ha="center", va="bottom", annotation_clip=False,
    )  # fmt: skip
    name = record.dataset.features[0] if record.dataset.features else "intercept"
    axes.set_xlabel(f"weight of {visible(name, 30)}{', standardised' if record.training.standardize else ''}")
    axes.set_ylabel("loss")
    legend(axes, record)
    plain_numbers(axes.yaxis)
    caption = "The loss is a parabola of the one weight; each mark is where a step led to, beginning at 0."
    alt = f"Parabola of the loss with its lowest point at {number(optimum)}: {'; '.join(labels)}."
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
        ends.append(f"{fit.title} ends at ({number(path[-1, 0])}, {number(path[-1, 1])})")
    axes.plot(*optimum, marker="+", markersize=11, color=INK, zorder=6, linestyle="none", label="optimum")
    names = [*record.dataset.features, *(["intercept"] if record.training.intercept else [])]
    suffix = ", standardised" if record.training.standardize else ""
    axes.set_xlabel(f"weight of {visible(names[0], 30)}{suffix}")
    axes.set_ylabel("intercept" if record.training.intercept else f"weight of {visible(names[1], 24)}{suffix}")
    legend(axes, record)
    plain_numbers(axes.xaxis)
    axes.locator_params(axis="x", nbins=5)
    plain_numbers(axes.yaxis)
    caption = "The way over the loss surface: contours of equal loss, each mark where a step led to, beginning at 0."
    alt = f"Contours of the loss around the optimum ({number(optimum[0])}, {number(optimum[1])}): {'; '.join(ends)}."
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
        ends.append(f"{fit.title} ends at ({number(path[-1, 0], 2)}, {number(path[-1, 1], 2)})")
    axes.plot(0, 0, marker="+", markersize=11, color=INK, zorder=6, linestyle="none", label="optimum")
    x, y = paths[0][0]
    axes.annotate(
        "start", (x, y), xytext=(0, 7 if y >= 0 else -7), textcoords="offset points", color=QUIET, fontsize=9.5,
        ha="center", va="bottom" if y >= 0 else "top", zorder=7,
    )  # fmt: skip
    axes.set_xlim(flat[0], flat[-1])
    axes.set_ylim(steep[0], steep[-1])
    axes.set_xlabel(f"flattest direction, curvature {number(curvatures[0], 2)}")
    axes.set_ylabel(f"steepest direction, curvature {number(curvatures[1], 2)}")
    legend(axes, record)
    plain_numbers(axes.xaxis)
    axes.locator_params(axis="x", nbins=5)
    plain_numbers(axes.yaxis)
    caption = "The way in the plane of the flattest and the steepest direction, from the optimum: contours of equal loss, each"
    caption += (
        f" mark where a step led to. Flattest is {_mostly(record, directions[0])}; steepest {_mostly(record, directions[1])}."
    )
    alt = f"Contours of the loss over its flattest direction (curvature {number(curvatures[0])}) and its steepest "
    alt += f"({number(curvatures[1])}), and the steps from ({number(x, 2)}, {number(y, 2)}): {'; '.join(ends)}."
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
        ("learning rate", [rate], "o", INK if rate < found.stable_below else LIMIT)
    ]
    for fit in record.fits:
        ratio = found.gradient_ratio.get(fit.backend)
        if ratio is not None and abs(ratio - 1) > _ANOTHER_STEP and ratio > 0:
            rows.append((f"as {fit.title} walks", [ratio * rate], look(fit)[2], look(fit)[0]))
    rows.append(("best for the flattest", [found.best_rate], "D", THEORY))
    rows.append(("1/curvature", sorted((1 / curved).tolist()), "|", INK))
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
            said = f"condition {number(found.condition, 3)}" if found.condition is not None and len(values) > 1 else ""
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
        f"stable below {number(found.stable_below, 3)}", (found.stable_below, 1.02), xycoords=("data", "axes fraction"),
        color=LIMIT, fontsize=9.5, ha="right" if found.stable_below > middle else "left", va="bottom", annotation_clip=False,
    )  # fmt: skip
    within = "inside the stable range" if rate < found.stable_below else "beyond the stable limit: steps grow"
    caption = (
        f"The learning rate is {number(rate / found.stable_below, 3)} times the stable limit, {within}. A direction arrives in"
    )
    caption += " one step of 1/curvature."
    if len(curved) > 1:
        caption += " Each has a tick, and how far the outer two are apart is the condition number."
    alt = f"Learning rate {number(rate)}, best rate for the flattest direction {number(found.best_rate)}, stable limit "
    alt += (
        f"{number(found.stable_below)}, 1/curvature from {number(float(1 / curved.max()))} to {number(float(1 / curved.min()))}"
    )
    alt += f", condition number {number(found.condition)}." if found.condition is not None else ", at least one direction flat."
    data = table(
        ["what", "rate"],
        [*([name, value] for name, values, *_ in rows for value in values), ["stable limit", found.stable_below]],
    )
    return Picture("steps", caption, alt, saved(figure, "steps"), data)


def have_steps(record: Record) -> bool:
    """Whether there is a learning rate and a limit to hold it against, of a size that can be drawn."""
    found, rate = record.diagnosis, record.training.learning_rate
    if found is None or rate is None or found.stable_below is None or found.best_rate is None:
        return False
    return all(_TINIEST < value < 1 / _TINIEST for value in (rate, *(value for value in found.eigenvalues if value > 0)))


def _mostly(record: Record, direction: Array) -> str:
    """A direction by the two features that have the largest shares in it."""
    names = [*record.dataset.features, *(["the intercept"] if record.training.intercept else [])]
    first, second = np.argsort(-np.abs(direction), kind="stable")[:2]
    said = f"mostly {visible(names[first], 30)}"
    if abs(direction[second]) > 0.3 * abs(direction[first]):
        said += f" {'with' if direction[first] * direction[second] > 0 else 'against'} {visible(names[second], 30)}"
    return said


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
