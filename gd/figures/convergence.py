"""How the descent went: loss, loss above the optimum, gradient norm."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.course import short_of_the_optimum
from gd.data import Array
from gd.figures.picture import Line, Picture, decimate, of_lines
from gd.figures.style import LIMIT, THEORY, epoch_axis, in_style, label_ends, level, lines, log_axis, new_figure, saved, way
from gd.notation import count, number, visible
from gd.phrases import say
from gd.record import EpochLog, Findings, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PNG_WIDTH", "excess", "gradient", "loss", "loss_axis", "loss_png", "loss_words"]

PNG_WIDTH = 552  # pixels at which a mail shows its picture: 600 less a margin at each side
_COLOURS = 64  # of a PNG: two lines, ink and greys, with the steps between them


def loss_words(record: Record, log: EpochLog) -> tuple[str, str]:
    """The loss picture's caption and alt text, without the picture."""
    assert record.diagnosis is not None
    ended: str = "stopped" if any(fit.outcome == "stopped" for fit in record.fits) else record.verdict
    if record.verdict in {"converged", "exhausted"} and not record.diagnosis.attained:
        ended = "endless"
    limit, rate = record.diagnosis.stable_below, record.training.learning_rate
    if ended == "converged" and short_of_the_optimum(record) is not None:
        ended = "short"
    elif ended == "exhausted" and not record.diagnosis.quadratic and limit is not None and (rate or 0.0) >= limit:
        ended = "cycles"
    caption = say(f"figures.loss.{ended}")
    if record.training.batch_size is not None:
        caption += f" {say('figures.loss.full_pass')}"
    lost = [fit for fit in record.fits if fit.last_finite_epoch is not None]
    if lost:
        last = ", ".join(
            say("figures.loss.last", loss=number(fit.last_finite_loss), epoch=count(fit.last_finite_epoch), backend=fit.title)
            for fit in lost
        )
        caption += f" {say('figures.loss.finite', listed=last)}"
    ends = "; ".join(say("figures.loss.within", way=way(log, fit, "loss"), epochs=count(fit.epochs)) for fit in record.fits)
    if not record.diagnosis.attained:
        return caption, say("figures.loss.alt_endless", listed=ends)
    return caption, say("figures.loss.alt", listed=ends, optimum=number(record.diagnosis.optimum_loss))


def loss_png(record: Record, log: EpochLog) -> bytes:
    """The loss picture as mail clients show it: a PNG of few colours on opaque white, twice `PNG_WIDTH` across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    with in_style(), warnings.catch_warnings(record=True) as missing:
        warnings.simplefilter("always")
        figure, _ = _loss_figure(record, log)
        figure.subplots_adjust(left=0.19, right=0.84)
        label = figure.axes[0].yaxis.label
        label.set_fontsize(min(10, 300 / len(label.get_text())))  # what sticks out of an SVG's drawing is cut off here
        figure.set_dpi(2 * PNG_WIDTH / figure.get_figwidth())
        canvas: Any = FigureCanvasAgg(figure)  # partly untyped
        canvas.draw()
        if any("Glyph" in str(warning.message) for warning in missing):  # a name in letters that matplotlib's font lacks
            figure.axes[0].set_ylabel(say("figures.loss.y"))
            canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    buffer = io.BytesIO()
    few = Image.fromarray(np.ascontiguousarray(pixels)).quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def loss(record: Record, log: EpochLog) -> Picture:
    """The loss before each step."""
    caption, alt = loss_words(record, log)
    figure, drawn = _loss_figure(record, log)
    if any((log.entries(f"{fit.backend}_loss")[1] == 0).any() for fit in record.fits) and figure.axes[0].get_yscale() == "log":
        caption += f" {say('figures.loss.zero')}"
    return Picture("loss", caption, alt, saved(figure, "loss"), of_lines("epoch", "loss", drawn))


def loss_axis(record: Record) -> str:
    """What stands beside an axis of losses: which one, and its unit."""
    kind = {"huber": "figures.loss.y_huber", "logistic": "figures.loss.y_logistic", "poisson": "figures.loss.y_poisson"}
    target = visible(record.dataset.target, 24)
    return say(kind.get(record.training.loss, "figures.loss.y_squared"), target=target)


def _loss_figure(record: Record, log: EpochLog) -> tuple[Figure, list[Line]]:
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    log_axis(axes, [log.entries(f"{fit.backend}_loss")[1] for fit in record.fits])
    axes.set_ylabel(loss_axis(record))
    drawn = lines(axes, record, log, "loss")
    for fit in record.fits:
        if fit.last_finite_epoch is not None and fit.last_finite_loss is not None:
            axes.plot(
                [fit.last_finite_epoch], [fit.last_finite_loss], color=LIMIT, marker="x", markersize=9, markeredgewidth=2,
                zorder=9, clip_on=False,
            )  # fmt: skip
    label_ends(axes, [line.end for line in drawn])
    return figure, drawn


def excess(record: Record, log: EpochLog) -> Picture:
    """What of the loss lies above the optimum, and what theory says of it."""
    assert record.diagnosis is not None
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    theory = log["theory_excess_loss"]
    theory = np.where(theory > 1e-32 * theory[0], theory, np.nan)  # below, rounding has long taken over
    log_axis(axes, [*(log.entries(f"{fit.backend}_excess_loss")[1] for fit in record.fits), theory])
    axes.set_ylabel(say("figures.excess.y"))
    drawn = lines(axes, record, log, "excess_loss")
    if len((line := Line("theory", *decimate(log["epoch"], theory), THEORY, say("figures.excess.theory"))).y):
        axes.plot(line.x, line.y, color=THEORY, linewidth=0.9, zorder=6)
        drawn.append(line)
    bound = _bound(log["epoch"], record.diagnosis, theory)
    if len((line := Line("bound", *decimate(log["epoch"], bound), THEORY, say("figures.excess.bound"))).y):
        axes.plot(line.x, line.y, color=THEORY, linewidth=1, linestyle=(0, (1, 2)), zorder=2)
        drawn.append(line)
    label_ends(axes, [line.end for line in drawn])
    factor = min(record.diagnosis.contraction or 0.0, 1e150) ** 2
    if not record.diagnosis.theory:
        caption = say("figures.excess.without_theory")
    elif factor > 1:
        caption = say("figures.excess.grows", factor=number(factor))
    elif factor > 1e-3:
        caption = say("figures.excess.shrinks", factor=_factor(factor))
    else:
        caption = say("figures.excess.vanishes")
    if drawn and drawn[-1].name == "bound":
        caption += f" {say('figures.excess.dotted')}"
    alt = say("figures.excess.alt", listed="; ".join(way(log, fit, "excess_loss") for fit in record.fits))
    for line in drawn[len(record.fits) :]:
        ends = "figures.excess.theory_ends" if line.name == "theory" else "figures.excess.bound_ends"
        alt += f" {say(ends, loss=number(float(line.y[-1])))}"
    return Picture("excess", caption, alt, saved(figure, "excess"), of_lines("epoch", "excess_loss", drawn))


def gradient(record: Record, log: EpochLog) -> Picture:
    """The length of the gradient."""
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    threshold = record.training.tolerance * float(log.entries(f"{record.fits[0].backend}_gradient_norm")[1][0])
    series = [log.entries(f"{fit.backend}_gradient_norm")[1] for fit in record.fits]
    logarithmic = log_axis(axes, [*series, np.array([threshold])])
    axes.set_ylabel(say("figures.gradient.y"))
    drawn = lines(axes, record, log, "gradient_norm")
    if threshold > 0 and logarithmic and math.isfinite(threshold):
        axes.axhline(threshold, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)))
        drawn.append(level("tolerance", threshold, axes, say("figures.gradient.tolerance")))
    label_ends(axes, [line.end for line in drawn])
    ends = "; ".join(way(log, fit, "gradient_norm") for fit in record.fits)
    caption = say("figures.gradient.caption")
    if threshold > 0:
        caption += f" {say('figures.gradient.stops', tolerance=number(record.training.tolerance))}"
    data = of_lines("epoch", "gradient_norm", drawn)
    return Picture("gradient", caption, say("figures.gradient.alt", listed=ends), saved(figure, "gradient"), data)


def _bound(epochs: Array, found: Findings, theory: Array) -> Array:
    """The first excess loss times the square of the contraction an epoch; nothing where the theory is the same line."""
    first = found.first_excess_loss or 0.0
    if not found.theory or found.contraction is None:
        return np.full(len(epochs), np.nan)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        bound = first * np.float64(found.contraction) ** (2.0 * epochs)
        apart = np.nanmax(bound / theory, initial=0.0) > 1.1
    return (
        np.where(np.isfinite(bound) & (bound > 0) & np.isfinite(theory), bound, np.nan)
        if apart
        else np.full(len(epochs), np.nan)
    )


def _factor(value: float) -> str:
    return f"1 − {number(1 - value, 2)}" if 0.9999 < value < 1 else number(value)
