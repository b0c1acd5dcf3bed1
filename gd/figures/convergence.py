"""How the descent went: loss, loss above the optimum, gradient norm."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.figures.picture import Picture, decimate
from gd.figures.style import THEORY, epoch_axis, in_style, label_ends, lines, log_axis, new_figure, saved, way
from gd.notation import count, number, visible
from gd.record import EpochLog, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PNG_WIDTH", "excess", "gradient", "loss", "loss_png", "loss_words"]

PNG_WIDTH = 552  # pixels at which a mail shows its picture: 600 less a margin at each side
_COLOURS = 64  # of a PNG: two lines, ink and greys, with the steps between them


def loss_words(record: Record, log: EpochLog) -> tuple[str, str]:
    """The loss picture's caption and alt text, without the picture."""
    assert record.diagnosis is not None
    caption = {
        "diverged": "The loss before each step. It rises: the step is too long.",
        "disagree": "The loss before each step: the backends take different ways.",
        "exhausted": "The loss before each step. It was still on its way when the epochs ended.",
    }.get(record.verdict, "The loss before each step falls to that of the optimum.")
    ends = "; ".join(f"{way(log, fit, 'loss')} in {count(fit.epochs)} epochs" for fit in record.fits)
    return caption, f"Loss by epoch: {ends}. The optimum's loss is {number(record.diagnosis.optimum_loss)}."


def loss_png(record: Record, log: EpochLog) -> bytes:
    """The loss picture as mail clients show it: a PNG of few colours on opaque white, twice `PNG_WIDTH` across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    with in_style(), warnings.catch_warnings(record=True) as missing:
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


def loss(record: Record, log: EpochLog) -> Picture:
    """The loss before each step."""
    caption, alt = loss_words(record, log)
    return Picture("loss", caption, alt, saved(_loss_figure(record, log), "loss"))


def _loss_figure(record: Record, log: EpochLog) -> Figure:
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    log_axis(axes, [log.entries(f"{fit.backend}_loss")[1] for fit in record.fits])
    axes.set_ylabel(f"loss, {visible(record.dataset.target, 24)} squared")
    label_ends(axes, lines(axes, record, log, "loss"))
    return figure


def excess(record: Record, log: EpochLog) -> Picture:
    """What of the loss lies above the optimum, and what theory says of it."""
    assert record.diagnosis is not None
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    theory = log["theory_excess_loss"]
    theory = np.where(theory > 1e-32 * theory[0], theory, np.nan)  # below, rounding has long taken over
    log_axis(axes, [*(log.entries(f"{fit.backend}_excess_loss")[1] for fit in record.fits), theory])
    axes.set_ylabel("loss above the optimum")
    labels = lines(axes, record, log, "excess_loss")
    x, y = decimate(log["epoch"], theory)
    axes.plot(x, y, color=THEORY, linewidth=0.9, zorder=6)
    if len(y):
        labels.append((float(y[-1]), "theory", THEORY))
    label_ends(axes, labels)
    factor = min(record.diagnosis.contraction, 1e150) ** 2
    caption = "What of the loss lies above the optimum. Grey is the theory, from the curvature alone"
    if record.verdict == "diverged":
        caption += f": late in the descent it grows by the factor {number(factor)} an epoch."
    elif factor > 1e-3:
        caption += f": late in the descent it shrinks by the factor {_factor(factor)} an epoch."
    else:
        caption += "."
    alt = f"Loss above the optimum by epoch: {'; '.join(way(log, fit, 'excess_loss') for fit in record.fits)}."
    return Picture("excess", caption, alt, saved(figure, "excess"))


def gradient(record: Record, log: EpochLog) -> Picture:
    """The length of the gradient."""
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    threshold = record.training.tolerance * float(log.entries(f"{record.fits[0].backend}_gradient_norm")[1][0])
    series = [log.entries(f"{fit.backend}_gradient_norm")[1] for fit in record.fits]
    logarithmic = log_axis(axes, [*series, np.array([threshold])])
    axes.set_ylabel("gradient norm")
    labels = lines(axes, record, log, "gradient_norm")
    if threshold > 0 and logarithmic and math.isfinite(threshold):
        axes.axhline(threshold, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)))
        labels.append((threshold, "converged below", THEORY))
    label_ends(axes, labels)
    ends = "; ".join(way(log, fit, "gradient_norm") for fit in record.fits)
    caption = "The length of the gradient, which is 0 at the optimum."
    if threshold > 0:
        caption += f" Training stops when it is below {number(record.training.tolerance)} of its first value."
    return Picture("gradient", caption, f"Gradient norm by epoch: {ends}.", saved(figure, "gradient"))


def _factor(value: float) -> str:
    return f"1 − {number(1 - value, 2)}" if 0.9999 < value < 1 else number(value)
