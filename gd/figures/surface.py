"""The way over the loss surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gd.data import Array
from gd.figures.picture import POINTS, Picture
from gd.figures.style import INK, PAPER, THEORY, legend, look, new_figure, plain_numbers, saved
from gd.figures.weights import as_trained, optimum_as_trained
from gd.notation import count, number, visible
from gd.record import EpochLog, Record

__all__ = ["contours", "has_a_surface", "parabola"]


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
    labels = []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        colour, dash, marker = look(fit)
        seen = path[np.isfinite(path) & (np.abs(path - optimum) <= reach)][:POINTS]
        lift = base + curvature / 2 * (seen - optimum) ** 2
        axes.plot(
            seen, lift, color=colour, linestyle=dash, marker=marker, markersize=4 + position, linewidth=1, zorder=3 + position,
            markerfacecolor=PAPER if position else colour, markevery=_marked(len(seen)), label=fit.title,
        )  # fmt: skip
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
    return Picture("path", caption, alt, saved(figure, "path"))


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
    steps = np.linspace(0, 1, 9)[1:] ** 2
    axes.contour(first, second, height, levels=steps * float(height.max()), colors=THEORY, linewidths=0.6, zorder=2)
    ends = []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        colour, dash, marker = look(fit)
        seen = path[np.isfinite(path).all(axis=1) & (np.abs(path - optimum) <= reaches).all(axis=1)][:POINTS]
        axes.plot(
            seen[:, 0], seen[:, 1], color=colour, linestyle=dash, marker=marker, markersize=4 + position, linewidth=1,
            markerfacecolor=PAPER if position else colour, markevery=_marked(len(seen)), zorder=3 + position, label=fit.title,
        )  # fmt: skip
        ends.append(f"{fit.title} ends at ({number(path[-1, 0])}, {number(path[-1, 1])})")
    axes.plot(*optimum, marker="+", markersize=11, color=INK, zorder=6, linestyle="none", label="optimum")
    names = [*record.dataset.features, *(["intercept"] if record.training.intercept else [])]
    suffix = ", standardised" if record.training.standardize else ""
    axes.set_xlabel(f"weight of {visible(names[0], 30)}{suffix}")
    axes.set_ylabel("intercept" if record.training.intercept else f"weight of {visible(names[1], 24)}{suffix}")
    legend(axes, record)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    caption = "The way over the loss surface: contours of equal loss, each mark where a step led to, beginning at 0."
    alt = f"Contours of the loss around the optimum ({number(optimum[0])}, {number(optimum[1])}): {'; '.join(ends)}."
    return Picture("path", caption, alt, saved(figure, "path"))


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
