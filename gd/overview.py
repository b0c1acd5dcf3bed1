"""Pages over many runs: all data sets, the runs of one, and two runs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from gd.changes import Difference
from gd.history import History, Line
from gd.notation import count, number, visible, when
from gd.phrases import say
from gd.record import Record
from gd.rendering import rendered
from gd.words import headline, sentence

__all__ = ["MOST", "SPARKS", "Row", "render_compare", "render_dataset", "render_index", "row"]

MOST = 500  # runs that a data set's page shows, and data sets that the index shows in full
SPARKS = 30  # runs of a spark line

_PANELS = 24  # weights whose trend is drawn
_DIFFERENCES = 40
_WIDTH, _HEIGHT, _MARGIN = 320.0, 96.0, 6.0


@dataclass(frozen=True, slots=True)
class Spark:
    """A small line of the last losses."""

    line: str  # path of an SVG, 120 × 28
    end: tuple[float, float]
    alt: str


@dataclass(frozen=True, slots=True)
class Row:
    """A data set in the index: what its last run came to."""

    name: str  # of its folder
    title: str  # as its record names it
    folder: str  # of the last run
    verdict: str
    headline: str
    sentence: str
    started: datetime
    loss: float | None
    used: int | None
    drifted: str  # names of weights; empty where none did
    spark: Spark | None
    runs: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure of one number over the runs, in the coordinates of an SVG of 320 × 96."""

    title: str
    now: str
    alt: str
    line: str
    band: str
    marks: tuple[tuple[float, float], ...]
    low: str
    high: str
    scale: str


def row(found: History, last: Record) -> Row:
    """A data set's row.

    Args:
        found: its newest runs, the last one first among them.
        last: the record of that one.
    """
    newest = found.lines[0]
    return Row(
        name=found.name,
        title=last.dataset.name,
        folder=newest.folder.name,
        verdict=last.verdict,
        headline=headline(last),
        sentence=_sentence(last),
        started=last.run.started,
        loss=newest.loss,
        used=newest.rows,
        drifted=_names(newest),
        spark=_spark([one.loss for one in reversed(found.lines[:SPARKS])]),
        runs=len(found.lines) + len(found.unread) + len(found.earlier),
    )


def render_index(rows: Sequence[Row], upcoming: Mapping[str, datetime]) -> str:
    """The page of all data sets.

    Args:
        rows: one a data set.
        upcoming: when the next run is, where that is known.
    """
    ordered = sorted(rows, key=lambda one: (one.started, one.name), reverse=True)
    return rendered(
        "index.html.j2",
        rows=ordered[:MOST],
        others=sorted(ordered[MOST:], key=lambda one: one.name),
        total=len(rows),
        runs=sum(one.runs for one in rows),
        upcoming=upcoming,
    )


def render_dataset(found: History, title: str, pair: tuple[Record, Record] | None, different: Sequence[Difference]) -> str:
    """The page of a data set: trends, drift, the last two runs, and its newest runs.

    Args:
        found: its newest runs.
        title: its name.
        pair: the last run and the one before it, the latter first, where there are two.
        different: in what they differ.
    """
    shown = found.lines[:MOST]
    earlier = len(found.lines) - len(shown) + len(found.earlier)
    drifts = [
        (one, say("overview.intercept") if name is None else name, one.weights[name], one.expected[name])
        for one in shown
        for name in one.drifted
    ]
    features = next((len(one.weights) for one in shown if one.weights), 0)
    return rendered(
        "dataset.html.j2",
        title=title,
        lines=shown,
        lead=_lead(found),
        notes=_notes(found),
        trends=_trends(shown[::-1]),
        left=max(features - _PANELS, 0),
        drifts=drifts[:MOST],
        pair=None if pair is None else (pair[0].run, pair[1].run),
        different=different,
        most=_DIFFERENCES,
        earlier=earlier,
    )


def render_compare(before: Record, now: Record, different: Sequence[Difference]) -> str:
    """The page of two runs: only what differs."""
    sections = [(section, list(found)) for section, found in groupby(different, key=lambda one: one.section)]
    return rendered("compare.html.j2", before=before, now=now, sections=sections)


def _lead(found: History) -> str:
    total = len(found.lines) + len(found.unread) + len(found.earlier)
    if not found.lines:
        return say("overview.run" if total == 1 else "overview.runs", count=count(total))
    last = found.lines[0]
    which = {"count": count(total), "when": when(last.started), "verdict": say(f"headline.{last.verdict}")}
    return say("overview.run_last" if total == 1 else "overview.runs_last", **which)


def _notes(found: History) -> list[str]:
    notes, drifts, looked = [], found.drifts, count(len(found.lines))
    if drifts:
        which = {"drifts": count(len(drifts)), "when": when(drifts[0].started), "names": _names(drifts[0])}
        if len(found.lines) > 1:
            notes.append(say("overview.drift", count=looked, **which))
        else:
            notes.append(say("overview.drift_alone", **which))
    elif any(one.expected for one in found.lines):
        notes.append(say("overview.no_drift", count=looked) if len(found.lines) > 1 else say("overview.no_drift_alone"))
    if found.unread:
        many = len(found.unread)
        notes.append(say("overview.unread_one" if many == 1 else "overview.unread", count=count(many)))
    return notes


def _sentence(record: Record) -> str:
    """A run's own; empty where its record contradicts itself, which must not take the page of all others with it."""
    try:
        return sentence(record)
    except (ArithmeticError, AssertionError, LookupError, StopIteration, TypeError):
        return ""


def _names(line: Line, most: int = 3) -> str:
    names = [say("overview.intercept") if name is None else visible(name, 40) for name in line.drifted]
    listed = say("and.between").join(names[:most])
    return say("and.more", listed=listed, count=count(len(names) - most)) if len(names) > most else listed


def _spark(losses: Sequence[float | None]) -> Spark | None:
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if len(known) < 2:
        return None
    height = _heights(known, 28.0, 4.0)
    step = 112.0 / (len(losses) - 1)
    points = [(4 + step * j, height(loss)) for j, loss in enumerate(losses) if loss is not None and math.isfinite(loss)]
    ends = {"first": number(known[0]), "last": number(known[-1]), "low": number(min(known)), "high": number(max(known))}
    alt = say("overview.spark", count=count(len(losses)), **ends)
    return Spark(_path(points), (_short(points[-1][0]), _short(points[-1][1])), alt)


def _trends(lines: Sequence[Line]) -> list[Trend]:
    """One figure each for the newest run's weights, the loss, the rows, the epochs and the time; oldest run first."""
    if len(lines) < 2:
        return []
    newest = next((one for one in reversed(lines) if one.weights), None)
    found = [_weight(lines, name) for name in list(newest.weights)[:_PANELS]] if newest else []
    others: list[tuple[str, Callable[[Line], float | None]]] = [
        ("overview.loss", lambda one: one.loss), ("overview.r2", lambda one: one.r2), ("overview.rows", lambda one: one.rows),
        ("overview.epochs", lambda one: one.epochs), ("overview.seconds", lambda one: one.seconds),
    ]  # fmt: skip
    trends = [_trend(say(name), [value(one) for one in lines], wide=name == "overview.loss") for name, value in others]
    return [*found, *trends]


def _weight(lines: Sequence[Line], name: str | None) -> Trend:
    title = say("overview.intercept") if name is None else say("overview.weight", feature=name)
    bands = [one.expected.get(name) for one in lines]
    marks = [j for j, one in enumerate(lines) if name in one.drifted]
    return _trend(title, [one.weights.get(name) for one in lines], bands, marks)


def _trend(
    title: str,
    values: Sequence[float | None],
    bands: Sequence[tuple[float, float] | None] = (),
    marks: Sequence[int] = (),
    *,
    wide: bool = False,  # whether it may span decades
) -> Trend:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return Trend(title, "—", say("overview.unknown", title=title), "", "", (), "—", "—", "")
    logarithmic = wide and min(known) > 0 and max(known) > 100 * min(known)
    reach = [*known, *(edge for band in bands if band is not None for edge in band)]
    height = _heights(_within(known, reach), _HEIGHT, _MARGIN, logarithmic)
    step = (_WIDTH - 2 * _MARGIN) / max(len(values) - 1, 1)
    across = [_MARGIN + step * j for j in range(len(values))]
    line, pen = [], False
    for x, value in zip(across, values, strict=True):
        if value is None or not math.isfinite(value):
            pen = False
            continue
        line.append(f"{'L' if pen else 'M'}{_short(x)} {_short(height(value))}")
        pen = True
    low, high = number(min(known)), number(max(known))
    ends = {"first": number(known[0]), "last": number(known[-1]), "low": low, "high": high}
    which = {"title": visible(title), "count": count(len(values)), **ends}
    if not bands:
        alt = say("overview.trend", **which)
    elif not marks:
        alt = say("overview.trend_within", **which)
    else:
        alt = say("overview.trend_outside", marks=count(len(marks)), **which)
    return Trend(
        title=title,
        now=number(known[-1]),
        alt=alt,
        line="".join(line),
        band=_band(across, bands, height),
        marks=tuple((_short(across[j]), _short(height(value))) for j in marks if (value := values[j]) is not None),
        low=low,
        high=high,
        scale=say("overview.log_scale") if logarithmic else "",
    )


def _within(known: Sequence[float], reach: Sequence[float]) -> list[float]:
    """What the figure spans: all values, and of the bands what leaves room to see them."""
    low, high = min(known), max(known)
    room = 1.5 * (high - low) or abs(high) or 1.0
    return [max(min(reach), low - room), min(max(reach), high + room)]


def _heights(known: Sequence[float], height: float, margin: float, logarithmic: bool = False) -> Callable[[float], float]:
    """From a number to how far below the top it is drawn; a number outside of them stands at the edge."""
    mapped = math.log10 if logarithmic else float
    low, high = mapped(min(known)), mapped(max(known))
    span = high - low

    def place(value: float) -> float:
        share = (mapped(value) - low) / span if span > 0 and math.isfinite(span) else 0.5
        return height - margin - (height - 2 * margin) * min(max(share, 0.0), 1.0)

    return place


def _band(across: Sequence[float], bands: Sequence[tuple[float, float] | None], height: Callable[[float], float]) -> str:
    """Filled outlines, one for each stretch of runs that had an interval."""
    parts = []
    for there, group in groupby(zip(across, bands, strict=False), key=lambda item: item[1] is not None):
        if not there:
            continue
        stretch = [(x, band) for x, band in group if band is not None]
        if len(stretch) == 1:
            x, band = stretch[0]
            stretch = [(x - 1, band), (x + 1, band)]
        upper = [(x, height(band[1])) for x, band in stretch]
        lower = [(x, height(band[0])) for x, band in reversed(stretch)]
        parts.append(f"{_path([*upper, *lower])}Z")
    return "".join(parts)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in points)


def _short(value: float) -> float:
    return round(value, 1)
