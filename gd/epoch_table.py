"""The table of epochs: numbers whose decimal points stand below each other, and in words what happened where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gd.notation import count, number, ordinal, visible
from gd.notation import written as marked
from gd.phrases import say
from gd.record import EpochLog, Fit, Record

__all__ = ["Cell", "Column", "EpochTable", "Event", "Group", "Row", "cells", "epoch_table", "sampled_epochs", "shown_epochs"]

_ALL_ROWS = 100  # up to so many epochs the table holds each
_SAMPLED_ROWS = 60
_WEIGHT_COLUMNS = 8
_DIGITS = 4
_LONGEST, _SHORTEST, _WIDEST = 1e9, 1e-4, 1e6  # a column beyond these, or that spans as much, is written in powers of ten
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Kind = Literal["loss", "weight", "gradient", "gap"]
Happening = Literal["converged", "exhausted", "diverged", "disagree"]
_GRAVEST: tuple[Happening, ...] = ("diverged", "disagree", "converged", "exhausted")


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as text."""

    text: str
    pad: str = ""  # as wide as what is missing behind it, so that the points of a column stand below each other
    bar: float | None = None  # length of a loss's bar, in per cent of the cell


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in an epoch."""

    kind: Happening
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that belong together."""

    title: str
    look: str  # "numpy", "torch", "other" as the pictures draw them, or "gap"
    span: int
    weights: bool = False  # which are left out on paper where they are many


@dataclass(frozen=True, slots=True)
class Column:
    """What stands above a column."""

    title: str
    kind: Kind
    look: str
    first: bool = False  # of its group


@dataclass(frozen=True, slots=True)
class Row:
    """An epoch."""

    number: int
    events: tuple[Event, ...]
    cells: tuple[Cell, ...]  # one a column

    @property
    def kind(self) -> Happening | None:
        """The gravest of what happened."""
        return next((kind for kind in _GRAVEST if kind in {event.kind for event in self.events}), None)


@dataclass(frozen=True, slots=True)
class EpochTable:
    """The log of the epochs, ready to be laid out."""

    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    showing: str = ""
    bars: str = ""  # what the bars mean, where there are any
    before: str = ""  # what of an epoch is taken before its steps, and what after them

    @property
    def many(self) -> bool:
        """Whether its weights are too many for a sheet of paper."""
        return sum(column.kind == "weight" for column in self.columns) > 4


def epoch_table(record: Record, log: EpochLog) -> EpochTable:
    """Lay out epoch, then loss, gradient norm and weights of each backend, then the gap.

    The loss and the gradient are those before the epoch's step, the weights those after it. Where weights were thinned, only
    epochs after which they were kept are shown, and those in which something happened.
    """
    happened = _events(record)
    shown = sorted({*shown_epochs(record, log), *(epoch for epoch in happened if 0 <= epoch < len(log))})
    features = record.dataset.features[:_WEIGHT_COLUMNS]
    groups, columns, names = [], [], []
    for fit in record.fits:
        look = fit.backend if fit.backend in {"numpy", "torch"} else "other"
        weights = [(visible(feature, 24), f"weight_{feature}") for feature in features]
        weights += [(say("epochs_table.intercept"), "intercept")] * record.training.intercept
        groups += [
            Group(fit.title, look, 2),
            Group(say("epochs_table.weights_of", backend=fit.title), look, len(weights), weights=True),
        ]
        columns += [
            Column(say("epochs_table.loss"), "loss", look, first=True),
            Column(say("epochs_table.gradient"), "gradient", look),
        ]
        columns += [Column(title, "weight", look, first=j == 0) for j, (title, _) in enumerate(weights)]
        names += [f"{fit.backend}_{name}" for name in ("loss", "gradient_norm", *(name for _, name in weights))]
    if len(record.fits) > 1:
        groups.append(Group(say("epochs_table.gap"), "gap", 2))
        columns += [
            Column(say("epochs_table.loss"), "gap", "gap", first=True),
            Column(say("epochs_table.weights"), "gap", "gap"),
        ]
        names += ["loss_gap", "weight_gap"]
    values = [_values(log, name, shown) for name in names]
    bars, meaning = _bars([found for found, column in zip(values, columns, strict=True) if column.kind == "loss"])
    length = iter(bars)
    written = [
        _column(found, next(length) if column.kind == "loss" else None) for found, column in zip(values, columns, strict=True)
    ]
    rows = tuple(
        Row(epoch, tuple(happened.get(epoch, ())), tuple(column[j] for column in written)) for j, epoch in enumerate(shown)
    )
    parts = [say("epochs_table.some", shown=count(len(shown)), all=count(len(log)))] if len(shown) < len(log) else []
    if (every := record.training.keep_weights) is not None and every > 1:
        parts.append(say("epochs_table.kept", every=ordinal(every)))
    if len(features) < len(record.dataset.features):
        parts.append(say("epochs_table.features", shown=count(len(features)), all=count(len(record.dataset.features))))
    before = say("epochs_table.before" if record.training.batch_size is None else "epochs_table.before_batches")
    return EpochTable(tuple(groups), tuple(columns), rows, ", ".join(parts), meaning, before)


def sampled_epochs(epochs: int, most: int = _ALL_ROWS, rows: int = _SAMPLED_ROWS) -> list[int]:
    """Epochs for a table: all up to `most`; above that `rows` of them, dense early and ending with the last."""
    if epochs <= most:
        return list(range(epochs))
    chosen = {0, epochs - 1}
    size = rows
    while len(chosen) < rows:
        chosen = set(np.unique(np.geomspace(1, epochs, size).round().astype(int) - 1).tolist())
        size += 1
    ordered = sorted(chosen)
    return ordered if len(ordered) <= rows else [*ordered[: rows - 1], epochs - 1]


def shown_epochs(record: Record, log: EpochLog, most: int = _ALL_ROWS, rows: int = _SAMPLED_ROWS) -> list[int]:
    """Epochs for a table that has weights in it: `sampled_epochs` of those after which they were kept."""
    every = record.training.keep_weights or 1
    kept = range(every - 1, len(log), every)
    if len(log) % every == 0:
        return [kept[j] for j in sampled_epochs(len(kept), most, rows)]
    return [*(kept[j] for j in sampled_epochs(len(kept), most - 1, rows - 1)), len(log) - 1]


def cells(log: EpochLog, column: str, epochs: Sequence[int], digits: int = _DIGITS) -> list[str]:
    """What a column of a table says at some epochs, each number for itself; a dash where the log has no entry."""
    return [number(value, digits, keep_zeros=True) for value in _values(log, column, epochs)]


def _values(log: EpochLog, column: str, epochs: Sequence[int]) -> list[float | None]:
    """A column at some epochs; None where the log has no entry."""
    where, values = log.entries(column)
    found, there = np.searchsorted(where, epochs), np.isin(epochs, where)
    return [float(values[j]) if known else None for j, known in zip(found, there, strict=True)]


def _events(record: Record) -> dict[int, list[Event]]:
    """What happened, by epoch: what all backends did in one epoch is said once."""
    assert record.comparison is not None
    found: dict[int, list[Event]] = {}
    by_backend: dict[tuple[int, Event], list[str]] = {}
    for fit in record.fits:
        for epoch, event in _endings(fit):
            by_backend.setdefault((epoch, event), []).append(fit.title)
    for (epoch, event), titles in by_backend.items():
        words = event.words
        if len(titles) < len(record.fits):
            words = say("epochs_table.by", backends=say("and.last").join(titles), words=words)
        found.setdefault(epoch, []).append(Event(event.kind, words))
    if (apart := record.comparison.first_epoch_apart) is not None:
        found.setdefault(apart, []).insert(0, Event("disagree", say("epochs_table.part")))
    return found


def _endings(fit: Fit) -> list[tuple[int, Event]]:
    """What became of one backend, with the epochs."""
    kept = [] if fit.best_epoch is None else [(fit.best_epoch, Event("converged", say("epochs_table.best")))]
    return [*kept, *_ends(fit)]


def _ends(fit: Fit) -> list[tuple[int, Event]]:
    last = fit.epochs - 1
    if fit.outcome == "converged":
        return [(last, Event("converged", say("epochs_table.converged")))]
    if fit.outcome == "exhausted":
        return [(last, Event("exhausted", say("epochs_table.exhausted")))]
    if fit.outcome == "stopped":
        return [(last, Event("converged", say("epochs_table.stopped")))]
    if fit.loss is not None:
        return [(last, Event("diverged", say("epochs_table.rising")))]
    if fit.last_finite_epoch is None:
        return [(0, Event("diverged", say("epochs_table.never")))]
    ends = [(fit.last_finite_epoch, Event("diverged", say("epochs_table.last")))]
    if fit.last_finite_epoch < last:
        ends.append((fit.last_finite_epoch + 1, Event("diverged", say("epochs_table.no_longer"))))
    return ends


def _column(values: Sequence[float | None], bars: Sequence[float | None] | None) -> list[Cell]:
    """One notation for a whole column: plain numbers, or powers of ten where its sizes lie far apart."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value) and value != 0]
    plain = not sizes or (min(sizes) >= _SHORTEST and max(sizes) < _LONGEST and max(sizes) < _WIDEST * min(sizes))
    written = [_written(value, plain) for value in values]
    tails = [tail for _, tail in written if tail is not None]
    return [
        Cell(marked(text + (tail or "")), "" if tail is None else marked(_pad(tail, tails)), bar)
        for (text, tail), bar in zip(written, bars or [None] * len(written), strict=True)
    ]


def _pad(tail: str, tails: Sequence[str]) -> str:
    """What the widest that may stand behind a decimal point has and this has not: decimals, or signs of an exponent."""
    longest, exponents = max(tails, key=len), [one.partition(" × 10")[2] for one in tails]
    digits = max(len(one.strip("⁻")) for one in exponents)
    if digits == 0:
        return longest[len(tail) :]
    own = tail.partition(" × 10")[2]
    start = longest[: len(longest) - len(longest.partition(" × 10")[2])] if not own else ""
    minus = "" if own.startswith("⁻") or not any("⁻" in one for one in exponents) else "⁻"
    return f"{start}{minus}{'⁰' * (digits - len(own.strip('⁻')))}"


def _written(value: float | None, plain: bool) -> tuple[str, str | None]:
    """A number in front of its decimal point, and the point with what is behind it; None behind what has no place in line."""
    if value is None or not math.isfinite(value):
        return number(value), None
    if value == 0:
        return "0", ""
    mantissa, exponent = f"{abs(value):.{_DIGITS - 1}e}".split("e")
    power, minus = int(exponent), "−" if value < 0 else ""
    if plain:
        text = f"{float(f'{mantissa}e{power}'):,.{max(_DIGITS - 1 - power, 0)}f}"
        whole, point, decimals = text.partition(".")
        return f"{minus}{whole}", f"{point}{decimals}"
    return f"{minus}{mantissa[0]}", f"{mantissa[1:]} × 10{str(power).translate(_SUPERSCRIPT)}"


def _bars(losses: Sequence[Sequence[float | None]]) -> tuple[list[list[float | None]], str]:
    """How long the bar of each loss is, in per cent, and what that means."""
    positive = [value for column in losses for value in column if value is not None and 0 < value < math.inf]
    if not positive or max(positive) <= 1.01 * min(positive):
        return [[None] * len(column) for column in losses], ""
    low, high = math.log10(min(positive)), math.log10(max(positive))

    def length(value: float | None) -> float | None:
        if value is None:
            return None
        if not math.isfinite(value):
            return 100.0
        return round(100 * (math.log10(value) - low) / (high - low), 1) if value > 0 else 0.0

    meaning = say("epochs_table.bars", low=number(min(positive)), high=number(max(positive)))
    return [[length(value) for value in column] for column in losses], meaning
