"""One drawing with its words and its data, and which points of a line are drawn."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gd.data import Array
from gd.notation import visible

__all__ = ["POINTS", "Line", "Picture", "decimate", "of_lines", "table"]

POINTS = 1000  # columns along the epochs, finer than a pixel; each keeps its lowest and its highest value


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One drawing and what it says."""

    name: str  # of its file, without the ending
    caption: str  # what to see in it
    alt: str  # what it shows, with its numbers
    svg: str  # a whole SVG file
    data: str  # a whole CSV file: what is drawn, with all digits


class Line(NamedTuple):
    """A line as it is drawn."""

    name: str
    x: Array  # (m,)
    y: Array  # (m,)
    colour: str
    label: str = ""  # for people, where it is not the name

    @property
    def end(self) -> tuple[float, str, str]:
        """Where its label belongs, the label, and its colour."""
        return float(self.y[-1]), self.label or self.name, self.colour


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


def of_lines(x: str, y: str, lines: Iterable[Line]) -> str:
    """The points of lines as CSV.

    Args:
        x: what lies along x.
        y: what lies along y.
        lines: as drawn.
    """
    return table(["line", x, y], ((line.name, *point) for line in lines for point in _points(line)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; an apostrophe keeps a spreadsheet from running what a name begins with."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_guarded, head))
    writer.writerows([_guarded(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def _points(line: Line) -> Iterable[tuple[float, float]]:
    return zip(np.asarray(line.x).tolist(), np.asarray(line.y).tolist(), strict=True)


@lru_cache(maxsize=1024)
def _guarded(name: str) -> str:
    return re.sub(r"(^|[\t\r\n;,|])( *)(?=[=+\-@＝＋－＠])", r"\1\2'", visible(name, 400))
