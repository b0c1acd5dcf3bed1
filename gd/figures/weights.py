"""The weights on their way, and where they ended."""

from __future__ import annotations

import numpy as np

from gd.data import Array, Scaling
from gd.figures.picture import Picture, decimate
from gd.figures.style import THEORY, WEIGHTS, epoch_axis, label_ends, log_axis, look, new_figure, plain_numbers, saved
from gd.notation import number, visible
from gd.record import EpochLog, Fit, Record

__all__ = ["as_trained", "optimum_as_trained", "weights"]


def weights(record: Record, log: EpochLog) -> Picture:
    """The weights after each step."""
    figure, axes = new_figure()
    epoch_axis(axes, len(log) + 1)
    axes.set_xlabel("epochs done")
    features, optimum = record.dataset.features, optimum_as_trained(record)
    done, paths = zip(*(as_trained(record, log, fit) for fit in record.fits), strict=True)
    ends = np.nan_to_num(np.abs(paths[0][-1, : len(features)]), posinf=0)
    shown = sorted(np.argsort(-ends, kind="stable")[: len(WEIGHTS)])
    diverged = record.verdict == "diverged"
    if diverged:  # they swing from side to side: their size is what can be read
        paths, optimum = tuple(np.abs(path) for path in paths), np.abs(optimum)
    labels = []
    alone = len(shown) == 1
    for position, (fit, steps, path) in enumerate(zip(record.fits, done, paths, strict=True)):
        for colour, j in zip([look(fit)[0]] if alone else WEIGHTS, shown, strict=False):
            x, y = decimate(steps, path[:, j])
            axes.plot(x, y, color=colour, linestyle=look(fit)[1], linewidth=1.8 - 0.5 * position, zorder=3 + position)
            if position == 0 or record.verdict == "disagree":
                name = visible(features[j], 14)
                labels.append((float(y[-1]), name if record.verdict != "disagree" else f"{name}, {fit.title}", colour))
    for colour, j in zip([THEORY] if alone else WEIGHTS, shown, strict=False):
        axes.axhline(optimum[j], color=colour, linewidth=0.6, linestyle=(0, (1, 3)), zorder=2)
    size = "size of weight" if diverged else "weight"
    axes.set_ylabel(f"{size}, standardised features" if record.training.standardize else size)
    if diverged:
        log_axis(axes, [path[1:, shown].ravel() for path in paths])
    else:
        plain_numbers(axes.yaxis)
    label_ends(axes, labels)
    dashes = " and ".join(f"{fit.title} {'solid' if i == 0 else 'dashed'}" for i, fit in enumerate(record.fits))
    apart = "they part" if record.verdict == "disagree" else "one line where they agree"
    caption = f"The weights, {dashes}: {apart}. Dotted is the least-squares optimum."
    if len(features) > len(shown):
        caption += f" The {len(shown)} largest of {len(features)}."
    if record.training.standardize and record.training.intercept:
        caption += " The intercept is left out."
    said = ", ".join(f"{visible(features[j])} {number(paths[0][-1, j])} (optimum {number(optimum[j])})" for j in shown)
    alt = f"Weights by epoch, {record.fits[0].title}, at the end: {said}."
    return Picture("weights", caption, alt, saved(figure, "weights"))


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
