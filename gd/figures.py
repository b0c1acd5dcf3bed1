"""The pictures of a run, each with the sentence that it shows and an alt text made from its numbers."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.data import Array, Scaling
from gd.notation import count, number, visible
from gd.record import EpochLog, Fit, Record, Try

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["PNG_WIDTH", "Picture", "decimate", "draw", "loss_png", "loss_words"]

POINTS = 1000  # columns along the epochs, finer than a pixel; each keeps its lowest and its highest value
PNG_WIDTH = 552  # pixels at which a mail shows its picture: 600 less a margin at each side
_COLOURS = 64  # of a PNG: two lines, ink and greys, with the steps between them

INK, QUIET, GRID, THEORY, LIMIT, PAPER = "#1a1a1a", "#5c5c5c", "#e4e4e4", "#767676", "#b3261e", "#ffffff"
_LOOKS = (("#0072b2", "-", "o"), ("#d55e00", (0, (4, 3)), "s"), ("#009e73", (0, (1, 2)), "^"))
_WEIGHTS = ("#6a4c93", "#b8860b", "#cc79a7", "#4a7c59", "#8c564b", "#767676")  # none of them a backend's

THEMED = {
    INK: "--ink", QUIET: "--quiet", GRID: "--grid", THEORY: "--theory", LIMIT: "--limit", PAPER: "--paper",
    "#0072b2": "--first", "#d55e00": "--second", "#009e73": "--third",
    "#6a4c93": "--purple", "#b8860b": "--gold", "#cc79a7": "--pink", "#4a7c59": "--green", "#8c564b": "--brown",
}  # fmt: skip
"""Colours of the pictures and the style sheet's names for them, so that one drawing serves both themes."""

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": QUIET, "axes.grid": True, "axes.labelcolor": QUIET, "axes.labelsize": 10, "axes.spines.right": False,
    "axes.spines.top": False, "axes.axisbelow": True, "figure.facecolor": PAPER, "axes.facecolor": PAPER, "font.size": 10,
    "grid.color": GRID, "grid.linewidth": 0.7, "lines.linewidth": 1.6, "svg.fonttype": "none", "text.color": INK,
    "text.parse_math": False, "xtick.color": QUIET, "ytick.color": QUIET, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "axes.linewidth": 0.8, "path.simplify": True, "axes.unicode_minus": True,
}  # fmt: skip
_DRAWING = Lock()  # matplotlib's settings are global, and Prefect's tasks are threads


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One drawing and what it says."""

    name: str  # of its file, without the ending
    caption: str  # what to see in it
    alt: str  # what it shows, with its numbers
    svg: str  # a whole SVG file


def draw(record: Record, log: EpochLog) -> list[Picture]:
    """Every picture of a trained run, in reading order.

    Args:
        record: of the run; without fits there is nothing to draw.
        log: its epochs.
    """
    if not record.fits or record.diagnosis is None:
        return []
    makers = [_loss, _excess, _weights, _gradient]
    if len(record.fits) > 1:
        makers.append(_gap)
    if record.sweep is not None:
        makers.append(_rates)
    if record.diagnosis.hessian is not None and _has_a_surface(record):
        makers.append(_parabola if len(record.diagnosis.eigenvalues) == 1 else _contours)
    with _style():
        return [maker(record, log) for maker in makers]


def decimate(x: Array, y: Array, buckets: int = POINTS) -> tuple[Array, Array]:
    """At most two points a bucket along x, its lowest and its highest, so that no spike of one epoch is lost.

    Args:
        x: ascending, (k,).
        y: (k,); what is not finite is left out.
        buckets: parts of equal width, as the columns of pixels are.

    Returns:
        The points that remain, in order, each at most (2 · buckets,).
    """
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= 2 * buckets:
        return x, y
    starts = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], buckets + 1)[:-1]))  # of each bucket with points in it
    lengths = np.diff(np.append(starts, len(x)))
    kept = [0, len(x) - 1]
    for extreme in (np.minimum, np.maximum):
        at = np.flatnonzero(y == np.repeat(extreme.reduceat(y, starts), lengths))
        bucket = np.searchsorted(starts, at, side="right")
        kept.extend(at[np.flatnonzero(np.diff(bucket, prepend=0))])  # the first of each bucket
    chosen = np.unique(kept)
    return x[chosen], y[chosen]


@contextmanager
def _style() -> Iterator[None]:
    from matplotlib import rc_context  # noqa: PLC0415  (0.7 s)

    with _DRAWING, rc_context(_STYLE):
        yield


def _figure(height: float = 3.0, top: float = 0.96) -> tuple[Figure, Axes]:
    """Narrow enough to be read on a phone, with room at the right for labels."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(4.8, height))
    figure.subplots_adjust(left=0.21, right=0.76, bottom=0.5 / height, top=top)
    return figure, figure.subplots()


def _saved(figure: Figure, name: str) -> str:
    from matplotlib import rc_context  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the reader's fonts write the text, and have it
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    system = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    svg = re.sub(r"'DejaVu Sans'[^;\"]*(?=[;\"])", system, buffer.getvalue())
    return re.sub(r"[ \t]+(?=\n)", "", svg)


def _epochs(axes: Axes, longest: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    axes.set_xlabel("epoch")
    axes.set_xlim(-0.02 * max(longest - 1, 1), 1.02 * max(longest - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(round(value))))


def _plain_numbers(axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _log_axis(axes: Axes, values: Iterable[Array]) -> bool:
    """A log axis where the positive values span a decade; else a linear one."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    joined = np.concatenate([np.asarray(v, dtype=np.float64) for v in values])
    positive = joined[np.isfinite(joined) & (joined > 0)]
    if len(positive) == 0 or positive.max() < 10 * positive.min():
        _plain_numbers(axes.yaxis)
        return False
    axes.set_autoscaley_on(False)  # its margins leave the range of float64 where values near its end do not
    axes.set_yscale("log", nonpositive="mask")
    low, high = math.log10(positive.min()), math.log10(positive.max())
    pad, every = 0.06 * (high - low), max(math.ceil((high - low) / 6), 1)
    low, high = max(low - pad, -307), min(high + pad, 307)
    axes.set_ylim(10.0**low, 10.0**high)
    axes.yaxis.set_major_locator(FixedLocator([10.0**d for d in range(math.ceil(low), math.floor(high) + 1, every)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 2)))
    return True


def _look(fit: Fit) -> tuple[str, object, str]:
    return _LOOKS[{"numpy": 0, "torch": 1}.get(fit.backend, 2)]


def _lines(axes: Axes, record: Record, log: EpochLog, column: str) -> list[tuple[float, str, str]]:
    """Each backend's column over the epochs, and where its label belongs: (last value, text, colour)."""
    labels = []
    for position, fit in enumerate(record.fits):
        colour, dash, marker = _look(fit)
        x, y = decimate(*log.entries(f"{fit.backend}_{column}"))
        if len(y) == 0:
            continue
        every = max(len(x) // 8, 1)
        axes.plot(
            x, y, color=colour, linestyle=dash, marker=marker, markersize=4 + position,
            markevery=(position * every // 2, every), markerfacecolor=PAPER if position else colour, zorder=3 + position,
        )  # fmt: skip
        labels.append((float(y[-1]), fit.title, colour))
    return labels


def _label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write each label beside the right edge at the height of its line's end, pushed apart where they would touch."""
    if not labels:
        return
    axes.get_ylim()  # settles the limits, which matplotlib else finds out when it draws
    to_axes = axes.transScale + axes.transLimits
    wanted = []
    for value, _, _ in labels:
        height = float(to_axes.transform((0, value))[1]) if np.isfinite(value) else 1.0
        wanted.append(min(max(height, 0.0), 1.0) if math.isfinite(height) else 0.0)
    order = sorted(range(len(labels)), key=lambda j: wanted[j])
    for below, above in pairwise(order):
        wanted[above] = max(wanted[above], wanted[below] + 0.085)
    overshoot = max(wanted[order[-1]] - 1.0, 0.0)
    for height, (_, text, colour) in zip(wanted, labels, strict=True):
        axes.annotate(
            text, (1.015, height - overshoot), xycoords="axes fraction", color=colour, fontsize=9.5, va="center",
            annotation_clip=False,
        )  # fmt: skip


def _legend(axes: Axes, record: Record) -> None:
    """Beside the drawing, where paths end too close together for labels of their own."""
    colours = [*(_look(fit)[0] for fit in record.fits), INK]
    entries = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9.5).get_texts()
    for text, colour in zip(entries, colours, strict=False):
        text.set_color(colour)


def loss_words(record: Record, log: EpochLog) -> tuple[str, str]:
    """The loss picture's caption and alt text, without the picture."""
    assert record.diagnosis is not None
    caption = {
        "diverged": "The loss before each step. It rises: the step is too long.",
        "disagree": "The loss before each step: the backends take different ways.",
        "exhausted": "The loss before each step. It was still on its way when the epochs ended.",
    }.get(record.verdict, "The loss before each step falls to that of the optimum.")
    ends = "; ".join(f"{_way(log, fit, 'loss')} in {count(fit.epochs)} epochs" for fit in record.fits)
    return caption, f"Loss by epoch: {ends}. The optimum's loss is {number(record.diagnosis.optimum_loss)}."


def loss_png(record: Record, log: EpochLog) -> bytes:
    """The loss picture as mail clients show it: a PNG of few colours on opaque white, twice `PNG_WIDTH` across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    with _style(), warnings.catch_warnings(record=True) as missing:
        warnings.simplefilter("always")
        figure = _loss_figure(record, log)
        figure.subplots_adjust(left=0.19, right=0.84)
        label = figure.axes[0].yaxis.label
        label.set_fontsize(min(10, 300 / len(label.get_text())))  # what sticks out of an SVG's drawing is cut off here
        figure.set_dpi(2 * PNG_WIDTH / figure.get_figwidth())
        canvas: Any = FigureCanvasAgg(figure)  # partly untyped
        canvas.draw()
        if any("Glyph" in str(warning.message) for warning in missing):  # a name in letters that matplotlib's font lacks
            figure.axes[0].set_ylabel("loss")
            canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    buffer = io.BytesIO()
    few = Image.fromarray(np.ascontiguousarray(pixels)).quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _loss(record: Record, log: EpochLog) -> Picture:
    caption, alt = loss_words(record, log)
    return Picture("loss", caption, alt, _saved(_loss_figure(record, log), "loss"))


def _loss_figure(record: Record, log: EpochLog) -> Figure:
    figure, axes = _figure()
    _epochs(axes, len(log))
    _log_axis(axes, [log.entries(f"{fit.backend}_loss")[1] for fit in record.fits])
    axes.set_ylabel(f"loss, {visible(record.dataset.target, 24)} squared")
    _label_ends(axes, _lines(axes, record, log, "loss"))
    return figure


def _excess(record: Record, log: EpochLog) -> Picture:
    assert record.diagnosis is not None
    figure, axes = _figure()
    _epochs(axes, len(log))
    theory = log["theory_excess_loss"]
    theory = np.where(theory > 1e-32 * theory[0], theory, np.nan)  # below, rounding has long taken over
    _log_axis(axes, [*(log.entries(f"{fit.backend}_excess_loss")[1] for fit in record.fits), theory])
    axes.set_ylabel("loss above the optimum")
    labels = _lines(axes, record, log, "excess_loss")
    x, y = decimate(log["epoch"], theory)
    axes.plot(x, y, color=THEORY, linewidth=0.9, zorder=6)
    if len(y):
        labels.append((float(y[-1]), "theory", THEORY))
    _label_ends(axes, labels)
    factor = min(record.diagnosis.contraction, 1e150) ** 2
    caption = "What of the loss lies above the optimum. Grey is the theory, from the curvature alone"
    if record.verdict == "diverged":
        caption += f": late in the descent it grows by the factor {number(factor)} an epoch."
    elif factor > 1e-3:
        caption += f": late in the descent it shrinks by the factor {_factor(factor)} an epoch."
    else:
        caption += "."
    alt = f"Loss above the optimum by epoch: {'; '.join(_way(log, fit, 'excess_loss') for fit in record.fits)}."
    return Picture("excess", caption, alt, _saved(figure, "excess"))


def _gradient(record: Record, log: EpochLog) -> Picture:
    figure, axes = _figure()
    _epochs(axes, len(log))
    threshold = record.training.tolerance * float(log.entries(f"{record.fits[0].backend}_gradient_norm")[1][0])
    series = [log.entries(f"{fit.backend}_gradient_norm")[1] for fit in record.fits]
    logarithmic = _log_axis(axes, [*series, np.array([threshold])])
    axes.set_ylabel("gradient norm")
    labels = _lines(axes, record, log, "gradient_norm")
    if threshold > 0 and logarithmic and math.isfinite(threshold):
        axes.axhline(threshold, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)))
        labels.append((threshold, "converged below", THEORY))
    _label_ends(axes, labels)
    ends = "; ".join(_way(log, fit, "gradient_norm") for fit in record.fits)
    caption = "The length of the gradient, which is 0 at the optimum."
    if threshold > 0:
        caption += f" Training stops when it is below {number(record.training.tolerance)} of its first value."
    return Picture("gradient", caption, f"Gradient norm by epoch: {ends}.", _saved(figure, "gradient"))


def _weights(record: Record, log: EpochLog) -> Picture:
    figure, axes = _figure()
    _epochs(axes, len(log) + 1)
    axes.set_xlabel("epochs done")
    features, optimum = record.dataset.features, _optimum_as_trained(record)
    done, paths = zip(*(_as_trained(record, log, fit) for fit in record.fits), strict=True)
    ends = np.nan_to_num(np.abs(paths[0][-1, : len(features)]), posinf=0)
    shown = sorted(np.argsort(-ends, kind="stable")[: len(_WEIGHTS)])
    diverged = record.verdict == "diverged"
    if diverged:  # they swing from side to side: their size is what can be read
        paths, optimum = tuple(np.abs(path) for path in paths), np.abs(optimum)
    labels = []
    alone = len(shown) == 1
    for position, (fit, steps, path) in enumerate(zip(record.fits, done, paths, strict=True)):
        for colour, j in zip([_look(fit)[0]] if alone else _WEIGHTS, shown, strict=False):
            x, y = decimate(steps, path[:, j])
            axes.plot(x, y, color=colour, linestyle=_look(fit)[1], linewidth=1.8 - 0.5 * position, zorder=3 + position)
            if position == 0 or record.verdict == "disagree":
                name = visible(features[j], 14)
                labels.append((float(y[-1]), name if record.verdict != "disagree" else f"{name}, {fit.title}", colour))
    for colour, j in zip([THEORY] if alone else _WEIGHTS, shown, strict=False):
        axes.axhline(optimum[j], color=colour, linewidth=0.6, linestyle=(0, (1, 3)), zorder=2)
    size = "size of weight" if diverged else "weight"
    axes.set_ylabel(f"{size}, standardised features" if record.training.standardize else size)
    if diverged:
        _log_axis(axes, [path[1:, shown].ravel() for path in paths])
    else:
        _plain_numbers(axes.yaxis)
    _label_ends(axes, labels)
    dashes = " and ".join(f"{fit.title} {'solid' if i == 0 else 'dashed'}" for i, fit in enumerate(record.fits))
    apart = "they part" if record.verdict == "disagree" else "one line where they agree"
    caption = f"The weights, {dashes}: {apart}. Dotted is the least-squares optimum."
    if len(features) > len(shown):
        caption += f" The {len(shown)} largest of {len(features)}."
    if record.training.standardize and record.training.intercept:
        caption += " The intercept is left out."
    said = ", ".join(f"{visible(features[j])} {number(paths[0][-1, j])} (optimum {number(optimum[j])})" for j in shown)
    alt = f"Weights by epoch, {record.fits[0].title}, at the end: {said}."
    return Picture("weights", caption, alt, _saved(figure, "weights"))


def _gap(record: Record, log: EpochLog) -> Picture:
    assert record.comparison is not None
    figure, axes = _figure()
    _epochs(axes, len(log))
    epsilon = float(np.finfo(record.training.dtype).eps)
    epochs, gap = log.entries("relative_weight_gap")
    gap, allowed = gap / epsilon, record.comparison.tolerance / epsilon
    floor = 0.1  # an exact agreement has no place on a log axis: it is drawn at the bottom
    drawn = np.where(np.isfinite(gap), np.maximum(gap, floor), np.nan)
    _log_axis(axes, [drawn, np.array([floor, 10.0, allowed])])
    x, y = decimate(epochs, drawn)
    axes.plot(x, y, color="#0072b2", linewidth=1.2, zorder=3)
    axes.axhline(allowed, color=LIMIT, linewidth=1)
    axes.axhspan(allowed, axes.get_ylim()[1], facecolor="none", edgecolor=LIMIT, hatch="////", linewidth=0, alpha=0.25)
    axes.set_ylabel("gap, in units of last place")
    labels = [(allowed, "tolerance", LIMIT)]
    if len(y):
        labels.append((float(y[-1]), "largest gap", "#0072b2"))
    _label_ends(axes, labels)
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
    return Picture("gap", caption, alt, _saved(figure, "gap"))


def _rates(record: Record, log: EpochLog) -> Picture:
    """Where each of several learning rates ended; what diverged has no height and stands at the top edge."""
    assert record.diagnosis is not None
    assert record.sweep is not None
    figure, axes = _figure(3.4, top=0.9)
    tried, limit = record.sweep, record.diagnosis.stable_below
    ends = [[t for t in tried.fits if t.backend == fit.backend] for fit in record.fits]
    first = record.diagnosis.first_excess_loss or 0.0
    floor = float(np.finfo(record.training.dtype).eps) * first
    heights = [_heights(tries, floor) for tries in ends]
    middle = _rate_axis(axes, tried.rates, limit)
    floored = any((y == floor).any() for y in heights)
    span = [first, floor] if floored or not np.isfinite(heights).any() else [first]
    _with_margins(axes, _log_axis(axes, [*heights, np.array(span)]), below=0.14, above=0.14)
    axes.set_ylabel("loss above the optimum at the end")
    for position, (fit, tries, y) in enumerate(zip(record.fits, ends, heights, strict=True)):
        colour, dash, marker = _look(fit)
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
        axes.axvspan(limit, axes.get_xlim()[1], facecolor="none", edgecolor=LIMIT, hatch="////", linewidth=0, alpha=0.4)
        axes.annotate(
            f"stable below {number(limit, 3)}", (limit, 1.015), xycoords=("data", "axes fraction"), color=LIMIT, fontsize=9.5,
            ha="right" if limit > middle else "left", va="bottom", annotation_clip=False,
        )  # fmt: skip
    chosen = float(heights[0][tried.rates.index(tried.best)])
    if math.isfinite(chosen):
        right = tried.best > middle
        axes.plot([tried.best], [chosen], marker="o", markersize=11, markerfacecolor="none", color=INK, zorder=7)
        axes.annotate(
            f"best {number(tried.best)}", (tried.best, chosen), xytext=(2 if right else -4, -9), textcoords="offset points",
            color=INK, fontsize=9.5, ha="right" if right else "left", va="top", zorder=8,
        )  # fmt: skip
    _legend(axes, record)
    caption = "The loss above the optimum where each learning rate ended"
    if any(t.outcome == "diverged" for t in tried.fits):
        caption += "; ✕ at the top is what diverged"
    caption += f". Beyond the red line, {number(limit, 3)}, no step is stable." if limit is not None else "."
    if floored and floor:
        caption += f" Less than {number(floor, 2)} is rounding, and drawn there."
    said = "; ".join(
        f"{fit.title} {', '.join(map(_ended, tries))}" for fit, tries in zip(record.fits, ends, strict=True)
    )  # fmt: skip
    alt = f"Loss above the optimum at the end by learning rate: {said}. The best rate is {number(tried.best)}"
    alt += f", the stable limit {number(limit)}." if limit is not None else "."
    return Picture("rates", caption, alt, _saved(figure, "rates"))


def _rate_axis(axes: Axes, rates: Sequence[float], limit: float | None) -> float:
    """A log axis that holds every rate and, where there is one, the stable limit; returns the rate in its middle."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    low, high = math.log10(rates[0]), math.log10(rates[-1])
    if limit is not None:
        low, high = min(low, math.log10(limit)), max(high, math.log10(limit) + 0.08 * (math.log10(limit) - low))
    pad = 0.06 * max(high - low, 0.01)
    left, right = max(low - pad, -307), min(high + pad, 307)
    every = max(math.ceil((high - low) / 4), 1)
    ticks: Sequence[float] = [10.0**d for d in range(math.ceil(left), math.floor(right) + 1, every)]
    if len(ticks) < 2:  # about a decade: some of the rates themselves
        ticks = rates[:: max(math.ceil(len(rates) / 3), 1)]
    axes.set_xscale("log")
    axes.set_xlim(10.0**left, 10.0**right)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 3)))
    axes.set_xlabel("learning rate")
    return math.pow(10, (low + high) / 2)


def _with_margins(axes: Axes, logarithmic: bool, below: float, above: float) -> None:
    """Room under and over what is drawn, in shares of its height."""
    low, high = axes.get_ylim()
    if logarithmic:
        axes.set_ylim(max(low * (low / high) ** below, 1e-307), min(high * (high / low) ** above, 1e307))
    else:
        axes.set_ylim(low - below * (high - low), high + above * (high - low))


def _heights(tries: Sequence[Try], floor: float) -> Array:
    """Loss above the optimum of what did not diverge, at least the floor, (m,)."""
    excess = (math.nan if t.outcome == "diverged" or t.excess_loss is None else t.excess_loss for t in tries)
    return np.array([height if math.isnan(height) else max(height, floor) for height in excess])


def _ended(t: Try) -> str:
    """One rate of a sweep, for an alt text."""
    if t.outcome == "diverged" or t.excess_loss is None:
        return f"{number(t.rate)} diverged"
    return f"{number(t.excess_loss, 2)} at {number(t.rate)}"


def _parabola(record: Record, log: EpochLog) -> Picture:
    assert record.diagnosis is not None
    assert record.diagnosis.hessian is not None
    figure, axes = _figure(top=0.92)
    (curvature,), (optimum,) = record.diagnosis.hessian[0], _optimum_as_trained(record)
    base = record.diagnosis.optimum_loss or 0.0
    paths = [_as_trained(record, log, fit)[1][:, 0] for fit in record.fits]
    reach = 1.15 * _reach([path - optimum for path in paths], abs(optimum))
    grid = np.linspace(optimum - reach, optimum + reach, 200)
    axes.plot(grid, base + curvature / 2 * (grid - optimum) ** 2, color=THEORY, linewidth=1, zorder=2)
    labels = []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        colour, dash, marker = _look(fit)
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
    _legend(axes, record)
    _plain_numbers(axes.yaxis)
    caption = "The loss is a parabola of the one weight; each mark is where a step led to, beginning at 0."
    alt = f"Parabola of the loss with its lowest point at {number(optimum)}: {'; '.join(labels)}."
    return Picture("path", caption, alt, _saved(figure, "path"))


def _contours(record: Record, log: EpochLog) -> Picture:
    assert record.diagnosis is not None
    assert record.diagnosis.hessian is not None
    figure, axes = _figure(3.8)
    hessian, optimum = np.array(record.diagnosis.hessian), _optimum_as_trained(record)
    paths = [_as_trained(record, log, fit)[1] for fit in record.fits]
    reaches = [1.2 * _reach([path[:, j] - optimum[j] for path in paths], abs(optimum[j])) for j in (0, 1)]
    reaches = [max(reach, 0.15 * max(reaches)) for reach in reaches]
    first, second = (np.linspace(optimum[j] - reaches[j], optimum[j] + reaches[j], 120) for j in (0, 1))
    a, b = np.meshgrid(first - optimum[0], second - optimum[1])
    height = (hessian[0, 0] * a * a + 2 * hessian[0, 1] * a * b + hessian[1, 1] * b * b) / 2
    steps = np.linspace(0, 1, 9)[1:] ** 2
    axes.contour(first, second, height, levels=steps * float(height.max()), colors=THEORY, linewidths=0.6, zorder=2)
    ends = []
    for position, (fit, path) in enumerate(zip(record.fits, paths, strict=True)):
        colour, dash, marker = _look(fit)
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
    _legend(axes, record)
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    caption = "The way over the loss surface: contours of equal loss, each mark where a step led to, beginning at 0."
    alt = f"Contours of the loss around the optimum ({number(optimum[0])}, {number(optimum[1])}): {'; '.join(ends)}."
    return Picture("path", caption, alt, _saved(figure, "path"))


def _marked(points: int) -> list[int]:
    """Which points of a path carry a mark: the first twenty, then ever fewer."""
    later = np.geomspace(20, max(points - 1, 20), 40).astype(int).tolist()
    return sorted({t for t in (*range(20), *later) if t < points})


def _factor(value: float) -> str:
    return f"1 − {number(1 - value, 2)}" if 0.9999 < value < 1 else number(value)


def _scaling(record: Record) -> Scaling:
    return Scaling(np.array(record.training.shift), np.array(record.training.scale))


def _as_trained(record: Record, log: EpochLog, fit: Fit) -> tuple[Array, Array]:
    """The weights that were kept, as the descent saw them, from the start at 0 on: steps done, (m + 1,), and (m + 1, p)."""
    intercept = record.training.intercept
    epochs, weights = log.weights(fit.backend, record.dataset.features, intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        path = np.vstack([np.zeros(weights.shape[1]), _scaling(record).from_units(weights, intercept)])
    return np.append(0, epochs + 1), path


def _has_a_surface(record: Record) -> bool:
    """Whether the loss around the optimum is of a size that can be drawn, and every weight visible beside the others."""
    assert record.diagnosis is not None
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        optimum = np.abs(_optimum_as_trained(record))
        steepest = record.diagnosis.curvature[1]
        sizes = np.append(optimum, [steepest, steepest * optimum.max() ** 2])
    return steepest > 0 and bool(((sizes == 0) | ((sizes > 1e-100) & (sizes < 1e100))).all())


def _optimum_as_trained(record: Record) -> Array:
    assert record.diagnosis is not None
    found = record.diagnosis
    weights = [found.optimum[feature] or 0.0 for feature in record.dataset.features]
    if record.training.intercept:
        weights.append(found.optimum_intercept or 0.0)
    return _scaling(record).from_units(np.array(weights), record.training.intercept)


def _reach(offsets: Sequence[Array], least: float) -> float:
    """How far the drawing extends from the optimum: as the paths do, but no further than four times the start."""
    joined = np.abs(np.concatenate(offsets))
    furthest = float(joined[np.isfinite(joined)].max(initial=0.0))
    return min(max(furthest, least), 4 * least) if least > 0 else max(furthest, 1.0)


def _way(log: EpochLog, fit: Fit, column: str) -> str:
    _, values = log.entries(f"{fit.backend}_{column}")
    return f"{fit.title} from {number(float(values[0]))} to {number(float(values[-1]))}"
