"""One drawing with its words, and how many points of a line are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gd.data import Array

__all__ = ["POINTS", "Picture", "decimate"]

POINTS = 1000  # columns along the epochs, finer than a pixel; each keeps its lowest and its highest value


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One drawing and what it says."""

    name: str  # of its file, without the ending
    caption: str  # what to see in it
    alt: str  # what it shows, with its numbers
    svg: str  # a whole SVG file


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
