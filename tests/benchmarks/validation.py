"""Cross-validation from moments beside scikit-learn's over the rows: the same folds, the same models, the same losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gd.table import Array
from gd.validation import assigned, cross_validate, folded, path
from tests.benchmarks.epochs import plane
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["SIZES", "Validated", "measure", "report"]

SIZES = ((10_000, 10), (100_000, 10), (50_000, 50), (5_000, 300))

_FOLDS = 10
_AIM = 1.0  # seconds, below, for a whole path from moments


class Validated(NamedTuple):
    """One table by both, in seconds of a core: medians of the rounds."""

    n: int
    d: int
    folding: float  # the moments of the folds, once for all models; a pass over a CSV takes them along
    plain: float  # least squares from them
    path: float  # 41 penalties from them
    sklearn: float  # least squares by `cross_val_score`
    sklearn_ridge: float  # one penalty of the path by it
    gap: float  # the largest difference of a fold's loss, relative


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('numpy', 'scikit-learn')}."
    yield ""
    yield f"{_FOLDS} folds, ms of a core's time, all on one thread. From moments: those of the folds from rows in memory,"
    yield "once, and then any number of models; a path is 40 penalties and none. scikit-learn: `cross_val_score` of"
    yield "`LinearRegression`, and of `StandardScaler` with `Ridge` for one penalty of the path. Medians of 3 rounds by"
    yield "turns; the gap is the largest relative difference between both in a fold's loss, of least squares and of that"
    yield "penalty."
    yield ""
    yield from table("n", "d", "moments of folds", "least squares", "path of 41", "sklearn", "sklearn, 1 penalty", "gap")
    worst = 0.0
    for n, d in SIZES:
        one = measure(n, d)
        worst = max(worst, one.path)
        cells = (f"{1e3 * seconds:,.1f}" for seconds in one[2:7])
        yield row(f"{n:,}", d, *cells, f"{one.gap:.0e}")
    yield ""
    yield from table("aim", "below", "slowest", "")
    yield row("a path from moments, s", f"{_AIM:g}", f"{worst:.2f}", verdict(worst < _AIM))


def measure(n: int, d: int, *, rounds: int = 3) -> Validated:
    """Both by turns, after a turn that is not counted."""
    from sklearn.linear_model import LinearRegression, Ridge  # noqa: PLC0415  (not everybody has it)
    from sklearn.model_selection import PredefinedSplit, cross_val_score  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    X, y = plane(n, d)
    fold = assigned(n, _FOLDS)
    columns = [*np.asfortranarray(X).T, y]
    found = folded(columns, fold)
    penalties = path(found[0]).tolist()
    fitted = n - np.bincount(fold)[0]  # as many rows in all folds, where k divides n
    cv, some = PredefinedSplit(fold), penalties[20]
    models: dict[str, Any] = {
        "sklearn": LinearRegression(),
        "ridge": make_pipeline(StandardScaler(), Ridge(alpha=some * fitted)),
    }

    def scored(name: str) -> Array:
        return -np.asarray(cross_val_score(models[name], X, y, cv=cv, scoring="neg_mean_squared_error"))

    ways: dict[str, Callable[[], object]] = {
        "folding": lambda: folded(columns, fold),
        "plain": lambda: cross_validate(found),
        "path": lambda: cross_validate(found, penalties),
        "sklearn": lambda: scored("sklearn"),
        "ridge": lambda: scored("ridge"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with threadpool_limits(1):
        for turn in range(rounds + 1):
            for name, way in ways.items():
                began = process_time()
                way()
                if turn:
                    times[name].append(process_time() - began)
    ours = cross_validate(found, [0.0, some]).losses
    gap = float(np.max(np.abs(ours / np.stack([scored("sklearn"), scored("ridge")]) - 1)))
    middle = {name: median(seconds) for name, seconds in times.items()}
    return Validated(n, d, middle["folding"], middle["plain"], middle["path"], middle["sklearn"], middle["ridge"], gap)
