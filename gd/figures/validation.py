"""What was held out and what was planned: the loss on other rows, the learning rate's way, and a cross-validation."""

from __future__ import annotations

import math

import numpy as np

from gd.figures.convergence import loss_axis
from gd.figures.picture import Line, Picture, decimate, of_lines, table
from gd.figures.style import (
    INK,
    LIMIT,
    THEORY,
    epoch_axis,
    label_ends,
    lines,
    log_axis,
    new_figure,
    plain_numbers,
    saved,
    way,
)
from gd.figures.sweep import rate_axis
from gd.notation import count, number
from gd.phrases import plural, say
from gd.record import EpochLog, Record

__all__ = ["folds", "held", "schedule"]


def held(record: Record, log: EpochLog) -> Picture:
    """The loss on the rows held out, beside that of the rows trained on."""
    figure, axes = new_figure()
    epoch_axis(axes, len(log))
    first = record.fits[0]
    shown = [log.entries(f"{fit.backend}_validation_loss")[1] for fit in record.fits]
    x, y = decimate(*log.entries(f"{first.backend}_loss"))
    log_axis(axes, [*shown, y])
    axes.set_ylabel(loss_axis(record))
    drawn = lines(axes, record, log, "validation_loss")
    if len(y):
        axes.plot(x, y, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=2)
        drawn.append(Line("trained on", x, y, THEORY, say("figures.held.trained")))
    caption = say("figures.held.caption")
    if first.best_epoch is not None:
        loss = float(shown[0][first.best_epoch])
        if math.isfinite(loss):
            axes.plot([first.best_epoch], [loss], marker="o", markersize=11, markerfacecolor="none", color=INK, zorder=9)
        caption += f" {say('figures.held.best', epoch=count(first.best_epoch))}"
    label_ends(axes, [line.end for line in drawn])
    alt = say("figures.held.alt", listed="; ".join(way(log, fit, "validation_loss") for fit in record.fits))
    if first.best_epoch is not None:
        least = number(float(shown[0][first.best_epoch]))
        alt = say("figures.held.alt_best", said=alt, loss=least, epoch=count(first.best_epoch))
    return Picture("held", caption, alt, saved(figure, "held"), of_lines("epoch", "validation_loss", drawn))


def schedule(record: Record, log: EpochLog) -> Picture:
    """The learning rate of each epoch."""
    figure, axes = new_figure(2.4)
    epoch_axis(axes, len(log))
    x, y = decimate(*log.entries("learning_rate"))
    by_factors = record.training.schedule in {"step", "exponential"} or record.training.learning_rate_setting == "search"
    if not (by_factors and log_axis(axes, [y[y > 1e-6 * y.max(initial=0.0)]])):
        plain_numbers(axes.yaxis)
        axes.set_ylim(0, 1.08 * float(y.max(initial=0.0)) or 1.0)
    axes.set_ylabel(say("figures.schedule.y"))
    axes.plot(x, y, color=INK, linewidth=1.6)
    line = Line("learning rate", x, y, INK)
    planned = record.training.schedule
    kind = "search" if record.training.learning_rate_setting == "search" else planned
    caption = say(f"figures.schedule.{kind}")
    if record.training.warm_up:
        caption += f" {say('figures.schedule.warm_up', epochs=plural(record.training.warm_up))}"
    alt = say(
        "figures.schedule.alt", first=number(float(y[0])), most=number(float(y.max())), last=number(float(y[-1])),
        epochs=count(len(log)),
    )  # fmt: skip
    return Picture("schedule", caption, alt, saved(figure, "schedule"), of_lines("epoch", "learning_rate", [line]))


def folds(record: Record, log: EpochLog) -> Picture:
    """The loss of a cross-validation along the L2 penalties, and which one was trained with."""
    found = record.cross_validation
    assert found is not None
    inner = [one for one in found.path if one.penalty > 0]
    penalties, losses, errors = (
        np.array([getattr(one, name) for one in inner]) for name in ("penalty", "loss", "error")
    )  # fmt: skip
    figure, axes = new_figure()
    rate_axis(axes, penalties.tolist(), None)
    axes.set_xlabel(say("figures.folds.x"))
    axes.set_ylabel(loss_axis(record))
    axes.fill_between(penalties, losses - errors, losses + errors, color=THEORY, alpha=0.25, linewidth=0, zorder=2)
    axes.plot(penalties, losses, color=INK, linewidth=1.6, zorder=4)
    plain_numbers(axes.yaxis)
    labels = []
    none = next((one for one in found.path if one.penalty == 0), None)
    if none is not None:
        axes.axhline(none.loss, color=THEORY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=3)
        labels.append((none.loss, say("figures.folds.none"), THEORY))
    at = next((one for one in inner if one.penalty == found.chosen), None)
    if at is not None:
        axes.plot([at.penalty], [at.loss], marker="o", markersize=10, markerfacecolor="none", color=LIMIT, zorder=5)
        axes.annotate(
            say("figures.folds.chosen", penalty=number(at.penalty, 3)), (at.penalty, at.loss), xytext=(0, -12),
            textcoords="offset points", color=INK, fontsize=9.5, ha="center", va="top", zorder=6,
        )  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.14 * (high - low), high)  # room for words below the least loss
    label_ends(axes, labels)
    caption = say("figures.folds.caption", folds=count(found.folds))
    best = next(one for one in found.path if one.penalty == found.best)
    alt = say(
        "figures.folds.alt", folds=count(found.folds), best=number(best.penalty), loss=number(best.loss),
        error=number(best.error, 2), chosen=number(found.chosen), least=number(float(losses.min())),
        most=number(float(losses.max())),
    )  # fmt: skip
    rows = [[one.penalty, one.loss, one.error] for one in found.path]
    return Picture("folds", caption, alt, saved(figure, "folds"), table(["penalty", "loss", "standard_error"], rows))
