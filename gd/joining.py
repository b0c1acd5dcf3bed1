"""One data set out of the passes over its files: what its columns hold in all of them, what is used, and what is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from gd.arrays import Array
from gd.cells import DAY
from gd.columns import MOST_LEVELS, Holds, Kind
from gd.data import Dataset, Dropped, Encoded, Provenance, Remark, Shard, Source
from gd.dialect import Dialect, same_name
from gd.moments import Moments, merge_all
from gd.refusal import DataError, listed, shown
from gd.remedies import leave_out, remedy
from gd.sampling import Sample, merge_samples
from gd.scanning import Scan
from gd.signs import merge, remarks
from gd.table import LeftOut

__all__ = ["Reading", "join", "unsettled"]

_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"
_WITH_UNIT = r"[-+]?[0-9.]+ ?[^\W\d]{1,4}"  # 5 kg, and no name of an article
_MEND = "Mend it, or write NA for a missing value; a feature can be left out with --leave-out."
_TEXT = Holds(Kind.TEXT)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A data set as it is trained on: its moments, where it came from, and its rows where they were kept."""

    moments: Moments  # of the features that are used, then the target
    provenance: Provenance
    rows: Dataset | None
    sample: Sample | None = None  # of the rows: the features that are used, then the target

    @property
    def method(self) -> Literal["rows", "moments"]:
        """What it is trained on."""
        return "moments" if self.rows is None else "rows"

    def save(self, folder: Path) -> None:
        """Write it into a folder, so that a path can travel and not a matrix."""
        folder.mkdir(parents=True, exist_ok=True)
        self.moments.save(folder / "moments.npz")
        if self.rows is not None:
            self.rows.save(folder)
        elif self.sample is not None:
            self.sample.save(folder / "sample.npz")
        (folder / "provenance.json").write_text(self.provenance.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Reading:
        """Read what `save` wrote; of the rows, pages are read when they are touched."""
        provenance = Provenance.model_validate_json((folder / "provenance.json").read_bytes())
        rows = Dataset.load(folder) if (folder / "X.npy").exists() else None
        sample = Sample.load(folder / "sample.npz") if (folder / "sample.npz").exists() else None
        return cls(Moments.load(folder / "moments.npz"), provenance, rows, sample)


def unsettled(scans: Sequence[Scan], source: Source) -> dict[int, dict[str, Holds]]:
    """Files that must be read again because others of the data set show what a column holds: their places, and that.

    A column that is empty in one file and of numbers in another is one of numbers, whose gaps drop rows in the first. A
    category has the levels of all files.

    Raises:
        DataError: if the files have different columns, or a column that is text in one and numbers in another.
    """
    first = scans[0]
    for other in scans[1:]:
        lacking = [name for name in first.header if name not in other.header]
        extra = [name for name in other.header if name not in first.header]
        if lacking or extra:
            said = [f"no column {', '.join(map(shown, lacking[:5]))}"] if lacking else []
            said += [f"a column {', '.join(map(shown, extra[:5]))} more"] if extra else []
            problem = f"other columns than {first.file}: {' and '.join(said)}."
            raise DataError(other.file, problem, "Files of one data set have the same columns, in any order.")
    named = set(map(same_name, (source.target, *(source.features or ()))))
    holds = {column: _together(scans, column, named=column in named) for column in first.kinds}
    if not (again := _read_otherwise(scans, holds)) and sum(one.moments.n for one in scans) > 1:
        again = _read_otherwise(scans, {column: _reduced(scans, column, kind, named) for column, kind in holds.items()})
    return again


def _read_otherwise(scans: Sequence[Scan], holds: dict[str, Holds]) -> dict[int, dict[str, Holds]]:
    """Files in which columns were taken for something else, and for what they are to be taken."""
    return {
        j: holds
        for j, one in enumerate(scans)
        if any(not kind.gives_the_same_rows(one.kinds[column]) for column, kind in holds.items())
    }


def _reduced(scans: Sequence[Scan], column: str, holds: Holds, named: set[str]) -> Holds:
    """What is left of a column that all files agree on: no constant whose gaps cost rows, no level that no row used has."""
    if holds.kind == Kind.NUMBERS and column not in named and any(one.gaps[column] for one in scans):
        sign = reduce(merge, (one.signs[column] for one in scans if column in one.signs))
        return Holds(Kind.CONSTANT, (f"{sign.least:g}",)) if sign.least == sign.most else holds
    if holds.kind != Kind.CATEGORY:
        return holds
    rows = np.zeros(len(holds.levels))
    for one in scans:
        at = [one.columns.index(name) for name in holds.columns(column)]
        counts = np.round(one.moments.means[at] * one.moments.n)
        rows += [one.moments.n - counts.sum(), *counts]
    levels = tuple(level for level, count in zip(holds.levels, rows, strict=True) if count)
    return Holds(Kind.CATEGORY, levels) if len(levels) > 1 else Holds(Kind.TEXT)


def _together(scans: Sequence[Scan], column: str, *, named: bool) -> Holds:
    """What a column holds in all files."""
    by_kind: dict[Kind, Scan] = {}
    for one in scans:
        by_kind.setdefault(one.kinds[column].kind, one)
    by_kind.pop(Kind.NOTHING, None)
    for kind, what in ((Kind.NUMBERS, "numbers"), (Kind.DATES, "dates")):
        if kind in by_kind and len(by_kind) > 1:
            other = next(one for found, one in by_kind.items() if found != kind)
            where = f"{other.file}, column {shown(column)}"
            cell = shown(other.texts.get(column, ""))
            raise DataError(where, f"{cell} is not a {what[:-1]}, and {by_kind[kind].file} has {what} there.", _MEND)
    if set(by_kind) == {Kind.CATEGORY}:
        levels = sorted({level for one in scans for level in one.kinds[column].levels})
        if named and len(levels) < 2:
            where, problem = f"{scans[0].file}, column {shown(column)}", f"every row holds {shown(levels[0])}."
            raise DataError(where, problem, "A category needs two values: leave the column out.")
        return Holds(Kind.CATEGORY, tuple(levels)) if 2 <= len(levels) <= MOST_LEVELS else Holds(Kind.TEXT)
    return Holds(Kind.TEXT if Kind.TEXT in by_kind else next(iter(by_kind), Kind.NOTHING))


def join(scans: Sequence[Scan], source: Source, name: str) -> Reading:
    """One data set out of the passes over its files.

    Args:
        scans: one a file, none of them `unsettled`.
        source: what is to be learned.
        name: of the data set.

    Raises:
        DataError: if fewer than two rows are complete, or no feature is left.
    """
    first, target = scans[0], same_name(source.target)
    where = first.file if len(scans) == 1 else f"{name} ({len(scans)} files)"
    columns = first.columns
    gaps = {column: total for column in first.gaps if (total := sum(one.gaps[column] for one in scans))}
    rows = sum(one.rows for one in scans)
    for column in first.gaps:
        if gaps.get(column, 0) == rows:
            raise DataError(where, f"column {shown(column)} holds no value.", "Fill it, or name other columns.")
    order = [[one.columns.index(column) for column in columns] for one in scans]
    pairs = zip(scans, order, strict=True)
    moments = merge_all(one.moments if one.columns == columns else one.moments.select(at) for one, at in pairs)
    if moments.n < 2:
        raise _too_few(where, moments.n, rows, gaps, target)
    dates = np.array([first.kinds.get(column, _TEXT).kind == Kind.DATES for column in columns])
    origin, size = np.where(dates, moments.low, 0.0), np.where(dates, float(DAY), 1.0)
    moments = moments.moved(origin, size)
    sample = merge_samples([one.sample.select(at) for one, at in zip(scans, order, strict=True)]).moved(origin, size)
    left_out = [
        LeftOut(column=column, reason=_why(holds, [one.texts[column] for one in scans if column in one.texts], source))
        for column, holds in first.kinds.items()
        if not holds.used
    ]
    left_out += [
        LeftOut(column=column, reason="as asked") for column in map(same_name, source.leave_out) if column in first.header
    ]
    kept = []
    for j, column in enumerate(columns[:-1]):
        if source.features is None and moments.low[j] == moments.high[j]:
            left_out.append(LeftOut(column=column, reason=_constant(moments.low[j], dates[j])))
        else:
            kept.append(j)
    if not kept:
        why = "; ".join(f"{shown(item.column)} is left out ({item.reason})" for item in left_out[:3])
        remedy = f"{why[:1].upper()}{why[1:]}." if why else "Add a column to predict from."
        raise DataError(where, f"no numeric column beside the target {shown(target)}.", remedy)
    if len(kept) < len(columns) - 1:
        used = [*kept, len(columns) - 1]
        moments, sample = moments.select(used), sample.select(used)
    features = tuple(columns[j] for j in kept)
    provenance = Provenance(
        name=name,
        path=source.shown if source.as_one is not None else first.path,
        sha256=first.sha256 if len(scans) == 1 else sha256("".join(f"{one.sha256}\n" for one in scans).encode()).hexdigest(),
        bytes=sum(one.bytes for one in scans),
        rows=rows,
        rows_used=moments.n,
        rows_dropped=tuple(
            Dropped(
                reason="missing cell" if len(scans) == 1 else f"missing cell, {one.file}", count=one.dropped, lines=one.lines
            )
            for one in scans
            if one.dropped
        ),
        missing_cells=gaps,
        target=target,
        features=features,
        left_out=tuple(left_out),
        format=first.format,
        encoded=_encoded(first.kinds, columns, features, origin),
        remarks=_remarks(scans, features, target, source.dialect),
        shards=tuple(
            Shard(
                path=one.path,
                sha256=one.sha256,
                bytes=one.bytes,
                rows=one.rows,
                rows_used=one.moments.n,
                format=one.format,
            )
            for one in scans
        )
        if len(scans) > 1
        else (),
    )
    return Reading(moments, provenance, _dataset(scans, order, kept, (origin, size), provenance), sample)


def _constant(value: float, date: bool) -> str:
    return f"constant: every row used holds {'one date' if date else f'{value:g}'}"


def _encoded(kinds: dict[str, Holds], columns: Sequence[str], features: Sequence[str], origin: Array) -> tuple[Encoded, ...]:
    """Columns of text that became numbers."""
    found = []
    for column, holds in kinds.items():
        if holds.kind == Kind.CATEGORY:
            made = tuple(name for name in holds.columns(column) if name in features)
            found.append(Encoded(column=column, kind="category", levels=holds.levels, features=made))
        elif holds.kind == Kind.DATES:
            since = timedelta(microseconds=int(origin[columns.index(column)]))
            first = datetime(1970, 1, 1) + since
            day = first.date().isoformat() if first == datetime(first.year, first.month, first.day) else first.isoformat()
            found.append(Encoded(column=column, kind="dates", features=(column,), first=day))
    return tuple(found)


def _remarks(scans: Sequence[Scan], features: Sequence[str], target: str, dialect: Dialect) -> tuple[Remark, ...]:
    """What a careful reader should know of the columns that are used."""
    found: list[Remark] = []
    for column in (*features, target):
        signs = [one.signs[column] for one in scans if column in one.signs]
        if signs:
            found += remarks(column, reduce(merge, signs), dialect, feature=column != target)
    return tuple(found)


def _dataset(
    scans: Sequence[Scan],
    order: Sequence[Sequence[int]],
    kept: Sequence[int],
    counted: tuple[Array, Array],
    provenance: Provenance,
) -> Dataset | None:
    """The rows themselves, where every pass kept them; each column is counted from an origin in units of a size."""
    origin, size = counted
    values = [one.values for one in scans if one.values is not None]
    if len(values) < len(scans):
        return None
    X = np.empty((sum(len(one[0]) for one in values), len(kept)), order="F")
    for j, column in enumerate(kept):
        X[:, j] = np.concatenate([one[at[column]] for one, at in zip(values, order, strict=True)])
        X[:, j] = (X[:, j] - origin[column]) / size[column]
    y = np.concatenate([one[at[-1]] for one, at in zip(values, order, strict=True)])
    return Dataset(X, (y - origin[-1]) / size[-1], provenance)


def _too_few(where: str, complete: int, rows: int, gaps: dict[str, int], target: str) -> DataError:
    remedy = "Export the table again with more rows."
    hollow = [column for column, cells in gaps.items() if column != target and 2 * cells > rows]
    if len(hollow) > 1 and 2 * gaps.get(target, 0) < rows:
        remedy = f"Most cells of {listed(hollow)} are missing: leave them out with {leave_out(*hollow)}, or fill them."
    elif gaps:
        worst = max(gaps, key=lambda column: gaps[column])
        cells = f"{gaps[worst]:,} missing cell{'' if gaps[worst] == 1 else 's'}"
        way_out = "fill it" if worst == target else f"leave it out with {leave_out(worst)}, or fill it"
        remedy = f"Column {shown(worst)} has {cells}: {way_out}."
    if complete == 0:
        return DataError(where, f"no row of {rows:,} is complete.", remedy)
    return DataError(where, f"1 complete row of {rows:,}; at least 2 are needed.", remedy)


def _why(holds: Holds, cells: Sequence[str], source: Source) -> str:
    if holds.kind == Kind.NOTHING:
        return "no value in any row"
    if holds.kind == Kind.CONSTANT:
        return f"constant: every row used holds {holds.levels[0]}"
    cell = cells[0] if cells else ""
    if re.match(_DATE_OR_TIME, cell.strip()):
        return "dates or times"
    found = remedy([cell], source.dialect) if cell and re.fullmatch(_WITH_UNIT, cell.strip()) else None
    if found is not None and found.share and not found.sure:
        return f"text, such as {shown(cell)}; {found.text.removesuffix('.')}"
    return "text"
