"""The house style: colours, axes, lines and labels that all pictures share."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.data import Array
from gd.figures.picture import Line, decimate
from gd.notation import count, number
from gd.phrases import say
from gd.record import EpochLog, Fit, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

__all__ = [
    "GRID",
    "INK",
    "LIMIT",
    "PAPER",
    "QUIET",
    "THEMED",
    "THEORY",
    "WEIGHTS",
    "beyond",
    "epoch_axis",
    "in_style",
    "label_ends",
    "legend",
    "level",
    "lines",
    "log_axis",
    "look",
    "new_figure",
    "plain_numbers",
    "saved",
    "way",
    "with_margins",
]

INK, QUIET, GRID, THEORY, LIMIT, PAPER = "#1a1a1a", "#5c5c5c", "#e4e4e4", "#767676", "#b3261e", "#ffffff"
_LOOKS = (("#0072b2", "-", "o"), ("#d55e00", (0, (4, 3)), "s"), ("#009e73", (0, (1, 2)), "^"))
WEIGHTS = ("#6a4c93", "#b8860b", "#cc79a7", "#4a7c59", "#8c564b", "#767676")  # none of them a backend's

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


@contextmanager
def in_style() -> Iterator[None]:
    """While in it, matplotlib draws in the house style, and only for this thread."""
    from matplotlib import rc_context  # noqa: PLC0415  (0.7 s)

    with _DRAWING, rc_context(_STYLE):
        yield


def new_figure(height: float = 3.0, top: float = 0.96, left: float = 0.21, right: float = 0.76) -> tuple[Figure, Axes]:
    """Narrow enough to be read on a phone, with room at the right for labels."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(4.8, height))
    figure.subplots_adjust(left=left, right=right, bottom=0.5 / height, top=top)
    return figure, figure.subplots()


def saved(figure: Figure, name: str) -> str:
    """A figure as SVG, the same bytes each time."""
    from matplotlib import rc_context  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the reader's fonts write the text, and have it
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    system = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    svg = re.sub(r"'DejaVu Sans'[^;\"]*(?=[;\"])", system, buffer.getvalue())
    return re.sub(r"[ \t]+(?=\n)", "", svg)


def epoch_axis(axes: Axes, longest: int) -> None:
    """Whole epochs along x."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    axes.set_xlabel(say("figures.epoch"))
    axes.set_xlim(-0.02 * max(longest - 1, 1), 1.02 * max(longest - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(round(value))))


def plain_numbers(axis: Axis) -> None:
    """Ticks written as in the text."""
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def log_axis(axes: Axes, values: Iterable[Array]) -> bool:
    """A log axis where the positive values span a decade; else a linear one."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    joined = np.concatenate([np.asarray(v, dtype=np.float64) for v in values])
    positive = joined[np.isfinite(joined) & (joined > 0)]
    if len(positive) == 0 or positive.max() < 10 * positive.min():
        plain_numbers(axes.yaxis)
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


def with_margins(axes: Axes, logarithmic: bool, below: float, above: float) -> None:
    """Room under and over what is drawn, in shares of its height."""
    low, high = axes.get_ylim()
    if logarithmic:
        axes.set_ylim(max(low * (low / high) ** below, 1e-307), min(high * (high / low) ** above, 1e307))
    else:
        axes.set_ylim(low - below * (high - low), high + above * (high - low))


def look(fit: Fit) -> tuple[str, object, str]:
    """A backend's colour, dash and marker."""
    return _LOOKS[{"numpy": 0, "torch": 1}.get(fit.backend, 2)]


def look_name(fit: Fit) -> str:
    """Which of the looks that is, for a caption: first, second or third."""
    return {"numpy": "first", "torch": "second"}.get(fit.backend, "third")


def lines(axes: Axes, record: Record, log: EpochLog, column: str) -> list[Line]:
    """Each backend's column over the epochs."""
    drawn = []
    for position, fit in enumerate(record.fits):
        colour, dash, marker = look(fit)
        x, y = decimate(*log.entries(f"{fit.backend}_{column}"))
        if len(y) == 0:
            continue
        every = max(len(x) // 8, 1)
        axes.plot(
            x, y, color=colour, linestyle=dash, marker=marker, markersize=4 + position,
            markevery=(position * every // 2, every), markerfacecolor=PAPER if position else colour, zorder=3 + position,
        )  # fmt: skip
        drawn.append(Line(fit.title, x, y, colour))
    return drawn


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
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


def legend(axes: Axes, record: Record) -> None:
    """Beside the drawing, where paths end too close together for labels of their own."""
    colours = [*(look(fit)[0] for fit in record.fits), INK]
    entries = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9.5).get_texts()
    for text, colour in zip(entries, colours, strict=False):
        text.set_color(colour)


def way(log: EpochLog, fit: Fit, column: str) -> str:
    """From where to where a column of a backend goes, for an alt text."""
    _, values = log.entries(f"{fit.backend}_{column}")
    return say("figures.way", backend=fit.title, first=number(float(values[0])), last=number(float(values[-1])))


def beyond(area: Patch) -> None:
    """Hatch an area where nothing should be."""
    area.set(facecolor="none", edgecolor=LIMIT, hatch="////", linewidth=0, alpha=0.4)


def level(name: str, height: float, axes: Axes, label: str = "") -> Line:
    """A height across the whole drawing, as a line."""
    return Line(name, np.array(axes.get_xlim()), np.array([height, height]), THEORY, label)
