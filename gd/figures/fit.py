"""How well the line describes the rows: residuals, their distribution, predicted against actual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.data import Array
from gd.figures.picture import Picture, table
from gd.figures.style import INK, PAPER, THEORY, label_ends, look, new_figure, plain_numbers, saved
from gd.notation import count, number, visible
from gd.phrases import say
from gd.quality import Cells, FitCells
from gd.record import Fit, Record, Residuals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["quality"]

_SIZES = 6  # of squares, by how many rows lie in a cell
_SMALLEST = 0.3  # side of the square for one row, in sides of a cell
_FEW = 30  # rows, drawn larger
_LARGEST = 1e100
_HEAD = ["x_from", "x_to", "y_from", "y_to", "rows"]


def quality(record: Record, cells: FitCells) -> list[Picture]:
    """Every picture for which rows were counted."""
    found = record.residuals
    if found is None:
        return []
    fit = next(fit for fit in record.fits if fit.backend == found.backend)
    makers = {"residuals": _residuals, "predicted": _predicted, "distribution": _distribution}
    if record.training.loss == "logistic":  # of two values, whose residuals lie on two lines whatever the model
        del makers["residuals"], makers["distribution"]
    return [
        maker(record, fit, found, cells[name]) for name, maker in makers.items() if name in cells and _drawable(cells[name])
    ]


def _drawable(cells: Cells) -> bool:
    """Whether it is of a size that axes hold, and not all at one height."""
    corners = np.abs(np.concatenate([cells.x.ravel(), cells.y.ravel()]))
    return bool(corners.max() < _LARGEST and np.ptp(cells.y) > 0)


def _residuals(record: Record, fit: Fit, found: Residuals, cells: Cells) -> Picture:
    figure, axes = new_figure(3.8)
    rest = _rows(axes, cells, look(fit)[0])
    labels = [(0.0, "0", INK)]
    axes.axhline(0, color=INK, linewidth=0.8, zorder=4)
    low, high = axes.get_ylim()
    for times, name in ((-2, say("figures.fit.below")), (2, say("figures.fit.above"))):
        if found.spread > 0 and low < times * found.spread < high:
            axes.axhline(times * found.spread, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=4)
            labels.append((times * found.spread, name, THEORY))
    label_ends(axes, labels)
    axes.set_xlabel(say("figures.residuals.x", target=visible(record.dataset.target, 24)))
    axes.set_ylabel(say("figures.residuals.y"))
    caption = say("figures.residuals.caption", backend=fit.title, spread=number(found.spread))
    caption += f"{_squares(cells)}{_of_which(found)}{rest}"
    alt = say(
        "figures.residuals.alt", rows=_shown(found), fitted=_span(cells.x), residuals=_span(cells.y),
        mean=number(_mean(found)), spread=number(found.spread),
    )  # fmt: skip
    alt += rest
    return Picture("residuals", caption, alt, saved(figure, "residuals"), _table(cells))


def _predicted(record: Record, fit: Fit, found: Residuals, cells: Cells) -> Picture:
    figure, axes = new_figure(3.8)
    rest = _rows(axes, cells, look(fit)[0])
    ends = np.array([*axes.get_xlim(), *axes.get_ylim()])
    low, high = float(ends.min()), float(ends.max())
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.9, zorder=4)
    axes.annotate(
        say("figures.predicted.line"),
        (high, high),
        xytext=(5, 2),
        textcoords="offset points",
        color=INK,
        fontsize=9.5,
        va="top",
        annotation_clip=False,
    )
    target = visible(record.dataset.target, 24)
    axes.set_xlabel(say("figures.predicted.x", target=target))
    axes.set_ylabel(say("figures.predicted.y", target=target))
    words, described = "caption", "alt"
    if fit.r2 is not None:
        words, described = ("caption_r2", "alt_r2") if fit.centred else ("caption_r2_zero", "alt_r2_zero")
    caption = say(f"figures.predicted.{words}", target=target, backend=fit.title, r2=number(fit.r2))
    caption += f"{_squares(cells)}{_of_which(found)}{rest}"
    spans = {"rows": _shown(found), "predicted": _span(cells.x), "actual": _span(cells.y)}
    alt = say(f"figures.predicted.{described}", r2=number(fit.r2), **spans) + rest
    return Picture("predicted", caption, alt, saved(figure, "predicted"), _table(cells))


def _distribution(record: Record, fit: Fit, found: Residuals, cells: Cells) -> Picture:
    figure, axes = new_figure()
    bars, below, above = _apart(cells, 0)
    edges, colour = np.append(bars.x[:, 0], bars.x[-1, 1]), look(fit)[0]
    axes.stairs(bars.rows, edges, fill=True, color=colour, alpha=0.45, linewidth=0, zorder=3)
    axes.vlines(edges[1:-1], 0, np.minimum(bars.rows[1:], bars.rows[:-1]), color=PAPER, linewidth=0.6, zorder=3)
    pad = 0.04 * float(np.ptp(bars.x))
    axes.set_xlim(float(bars.x.min()) - pad, float(bars.x.max()) + pad)
    axes.set_ylim(0, 1.08 * int(bars.rows.max()))
    if found.spread > 0:
        _normal(axes, found, float((bars.x[:, 1] - bars.x[:, 0]).max()))
    for far, edge, sign in ((below, 0.0, "<"), (above, 1.0, ">")):
        if far is not None:
            _mark(axes, [edge], [0.03], sign, axes.transAxes)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.set_xlabel(say("figures.distribution.x", target=visible(record.dataset.target, 24)))
    axes.set_ylabel(say("figures.distribution.y"))
    rest = _far(below, above, cells.x, "figures.fit.left", "figures.fit.right")
    highest = int(bars.rows.argmax())
    within = float(bars.rows[(np.abs(bars.x - found.mean) <= 2 * found.spread).all(axis=1)].sum() / found.rows)
    least_squares = record.inference is not None
    caption = say(
        "figures.distribution.caption" if least_squares else "figures.distribution.plain",
        mean=number(_mean(found)),
        spread=number(found.spread),
    )
    caption += f"{_of_which(found)}{rest}"
    alt = say(
        "figures.distribution.alt", rows=_shown(found), bar=_span(bars.x[highest]),
        highest=count(int(bars.rows[highest])), share=number(100 * within, 3),
    )  # fmt: skip
    alt += rest
    return Picture("distribution", caption, alt, saved(figure, "distribution"), _table(cells))


def _normal(axes: Axes, found: Residuals, width: float) -> None:
    """The curve that bars of this width would follow."""
    x = np.linspace(*axes.get_xlim(), 200)
    z = (x - found.mean) / found.spread
    y = found.rows * width / found.spread / math.sqrt(2 * math.pi) * np.exp(-z * z / 2)
    highest = axes.get_ylim()[1]
    if not y.max() < 3 * highest:  # nearly all rows at one place: beside the curve no bar would be seen
        return
    axes.plot(x, y, color=INK, linewidth=1.2, zorder=4)
    axes.set_ylim(0, max(highest, 1.08 * float(y.max())))
    at = int(np.argmin(np.abs(z - 1.1)))
    axes.annotate(
        say("figures.distribution.normal"),
        (x[at], y[at]),
        xytext=(6, 2),
        textcoords="offset points",
        color=INK,
        fontsize=9.5,
        annotation_clip=False,
    )


def _rows(axes: Axes, cells: Cells, colour: str) -> str:
    """Draw rows one by one, or a square a cell, the larger the more rows lie in it; returns a word on what is further out."""
    near, below, above = _apart(cells, 1)
    if _single(cells):
        axes.plot(
            near.x[:, 0], near.y[:, 0], color=colour, linestyle="none", marker="o", alpha=0.6, markeredgewidth=0, zorder=3,
            markersize=4 if len(near.rows) > _FEW else 7,
        )  # fmt: skip
    else:
        _draw_squares(axes, near, colour)
    for set_limits, side in ((axes.set_xlim, near.x), (axes.set_ylim, near.y)):
        low, high = float(side.min()), float(side.max())
        pad = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
        set_limits(low - pad, high + pad)
    for far, edge, sign in ((below, 0.0, "v"), (above, 1.0, "^")):
        if far is not None:
            _mark(axes, far.x.mean(axis=1), [edge] * len(far.rows), sign, axes.get_xaxis_transform())
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    return _far(below, above, cells.y, "figures.fit.under", "figures.fit.over")


def _draw_squares(axes: Axes, cells: Cells, colour: str) -> None:
    """As one path: a thousand of their own would be a large file."""
    from matplotlib.patches import PathPatch  # noqa: PLC0415
    from matplotlib.path import Path  # noqa: PLC0415

    share = _shares(cells.rows, int(cells.rows.max())) / 2
    across, up = (
        np.where(side[:, 1] > side[:, 0], side[:, 1] - side[:, 0], 0.02 * float(np.ptp(side))) * share
        for side in (cells.x, cells.y)
    )
    x, y = cells.x.mean(axis=1), cells.y.mean(axis=1)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    points = np.stack([np.column_stack([x + a * across, y + b * up]) for a, b in corners], axis=1)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(points.reshape(-1, 2), np.tile(codes, len(points)))
    axes.add_patch(PathPatch(path, facecolor=colour, linewidth=0, zorder=3))


def _mark(axes: Axes, x: Sequence[float] | Array, y: Sequence[float], sign: str, transform: Any) -> None:
    axes.plot(x, y, color=INK, linestyle="none", marker=sign, markersize=5, transform=transform, clip_on=False, zorder=6)


def _squares(cells: Cells) -> str:
    """How many rows a square stands for."""
    if _single(cells):
        return ""
    near, _, _ = _apart(cells, 1)
    return f" {say('figures.fit.squares', largest=count(int(near.rows.max())))}"


def _shares(rows: Array, most: int) -> Array:
    """Side of each square in sides of its cell: the area grows by equal steps with each doubling or so of the rows."""
    step = np.log(rows) / math.log(most) if most > 1 else np.ones(len(rows))
    step = np.round(step * (_SIZES - 1)) / (_SIZES - 1)
    return np.asarray(np.sqrt(_SMALLEST**2 + (1 - _SMALLEST**2) * step))


def _apart(cells: Cells, along: int) -> tuple[Cells, Cells | None, Cells | None]:
    """Those of the common size, and those that reach further out at either end, along x (0) or y (1)."""
    side = (cells.x, cells.y)[along]
    size = side[:, 1] - side[:, 0]
    if _single(cells):
        return cells, None, None
    common = float(np.median(size))
    near = np.abs(size - common) <= 1e-3 * common
    middle = float(side[near].mean())
    below, above = (~near) & (side.mean(axis=1) < middle), (~near) & (side.mean(axis=1) > middle)
    return _some(cells, near), _some(cells, below) if below.any() else None, _some(cells, above) if above.any() else None


def _some(cells: Cells, which: Array) -> Cells:
    return Cells(cells.x[which], cells.y[which], cells.rows[which])


def _single(cells: Cells) -> bool:
    return bool((cells.x[:, 0] == cells.x[:, 1]).all() and (cells.rows == 1).all())


def _far(below: Cells | None, above: Cells | None, sides: Array, first: str, last: str) -> str:
    """What lies beyond the drawing."""
    said = [
        say(where, rows=count(int(far.rows.sum())), end=number(end))
        for far, where, end in ((below, first, float(sides.min())), (above, last, float(sides.max())))
        if far is not None
    ]
    if not said:
        return ""
    one = say("figures.fit.far", where=said[0]) if len(said) == 1 else say("figures.fit.far_both", first=said[0], last=said[1])
    return f" {one}"


def _mean(found: Residuals) -> float:
    """What rounding has left of a mean of 0 is 0."""
    return 0.0 if abs(found.mean) < 1e-9 * found.spread else found.mean


def _of_which(found: Residuals) -> str:
    if found.rows == found.of:
        return ""
    return f" {say('figures.fit.sample', rows=count(found.rows), of=count(found.of), every=count(found.every))}"


def _shown(found: Residuals) -> str:
    name = "figures.fit.all_rows" if found.rows == found.of else "figures.fit.some_rows"
    return say(name, rows=count(found.rows), of=count(found.of))


def _span(sides: Array) -> str:
    return say("figures.fit.span", low=number(float(sides.min())), high=number(float(sides.max())))


def _table(cells: Cells) -> str:
    rows = zip(cells.x.tolist(), cells.y.tolist(), cells.rows.tolist(), strict=True)
    return table(_HEAD, ([*x, *y, rows] for x, y, rows in rows))
