"""One data set out of the passes over its files: what its columns hold in all of them, what is used, and what is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial, reduce
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from gd.arrays import Array
from gd.cells import DAY
from gd.columns import MOST_LEVELS, Holds, Kind, third_label
from gd.data import Dataset, Dropped, Encoded, Provenance, Remark, Shard, Source
from gd.dialect import Dialect, same_name
from gd.moments import Moments, merge_all
from gd.refusal import DataError, listed, shown
from gd.remedies import leave_out, remedy
from gd.sampling import Sample, merge_samples
from gd.scanning import Scan
from gd.signs import merge, remarks
from gd.spilling import Spilled, beyond, parts, write
from gd.splitting import Split
from gd.table import LeftOut

__all__ = ["Held", "Reading", "cuts", "join", "unsettled"]

_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"
_WITH_UNIT = r"[-+]?[0-9.]+ ?[^\W\d]{1,4}"  # 5 kg, and no name of an article
_MEND = "Mend it, or write NA for a missing value; a feature can be left out with --leave-out."
_TEXT = Holds(Kind.TEXT)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The rows that are held out: the same columns, counted from the same origins, as those that are trained on."""

    moments: Moments  # of the features that are used, then the target
    rows: Dataset | None  # where the others are kept, too
    sample: Sample | None = None

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.moments.save(folder / "moments.npz")
        if self.rows is not None:
            self.rows.save(folder)
        elif self.sample is not None:
            self.sample.save(folder / "sample.npz")

    @classmethod
    def load(cls, folder: Path) -> Held:
        """Read what `save` wrote."""
        rows = Dataset.load(folder) if (folder / "X.npy").exists() else None
        sample = Sample.load(folder / "sample.npz") if (folder / "sample.npz").exists() else None
        return cls(Moments.load(folder / "moments.npz"), rows, sample)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A data set as it is trained on: its moments, where it came from, and its rows where they were kept."""

    moments: Moments  # of the rows trained on: of the features that are used, then the target
    provenance: Provenance
    rows: Dataset | None
    sample: Sample | None = None  # of the rows trained on: the features that are used, then the target
    held: Held | None = None  # the rows that are held out, where any are
    folds: tuple[Moments, ...] = ()  # of the rows trained on, where there are folds: see `gd.validation.cross_validate`

    @property
    def method(self) -> Literal["rows", "moments"]:
        """What it is trained on."""
        return "moments" if self.rows is None else "rows"

    @property
    def larger(self) -> int:
        """Rows of the larger part: of those that are trained on and those that are held out."""
        return max(self.moments.n, self.held.moments.n if self.held is not None else 0)

    def without_rows(self) -> Reading:
        """The same by its moments alone."""
        return replace(self, rows=None, held=self.held and replace(self.held, rows=None))

    def save(self, folder: Path) -> None:
        """Write it into a folder, so that a path can travel and not a matrix."""
        folder.mkdir(parents=True, exist_ok=True)
        self.moments.save(folder / "moments.npz")
        if self.rows is not None:
            self.rows.save(folder)
        if self.sample is not None and (self.rows is None or self.rows.is_large):
            self.sample.save(folder / "sample.npz")
        if self.held is not None:
            self.held.save(folder / "held")
        for j, fold in enumerate(self.folds):
            fold.save(folder / f"fold-{j}.npz")
        (folder / "provenance.json").write_text(self.provenance.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Reading:
        """Read what `save` wrote; of the rows, pages are read when they are touched."""
        provenance = Provenance.model_validate_json((folder / "provenance.json").read_bytes())
        rows = Dataset.load(folder) if (folder / "X.npy").exists() else None
        sample = Sample.load(folder / "sample.npz") if (folder / "sample.npz").exists() else None
        held = Held.load(folder / "held") if (folder / "held").exists() else None
        k = provenance.split.folds if provenance.split is not None else None
        folds = tuple(Moments.load(folder / f"fold-{j}.npz") for j in range(k or 0))
        return cls(Moments.load(folder / "moments.npz"), provenance, rows, sample, held, folds)


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
    target = same_name(source.target)
    holds = {column: _together(scans, column, named=column in named, target=column == target) for column in first.kinds}
    _refuse_a_third_label(scans, source)
    if not (again := _read_otherwise(scans, holds)) and sum(one.used for one in scans) > 1:
        again = _read_otherwise(scans, {column: _reduced(scans, column, kind, named, target) for column, kind in holds.items()})
    return again


def _read_otherwise(scans: Sequence[Scan], holds: dict[str, Holds]) -> dict[int, dict[str, Holds]]:
    """Files in which columns were taken for something else, and for what they are to be taken."""
    return {
        j: holds
        for j, one in enumerate(scans)
        if any(not kind.gives_the_same_rows(one.kinds[column]) for column, kind in holds.items())
    }


def _reduced(scans: Sequence[Scan], column: str, holds: Holds, named: set[str], target: str) -> Holds:
    """What is left of a column that all files agree on: no constant whose gaps cost rows, no level that no row used has."""
    if holds.kind == Kind.NUMBERS and column not in named and any(one.gaps[column] for one in scans):
        sign = reduce(merge, (one.signs[column] for one in scans if column in one.signs))
        return Holds(Kind.CONSTANT, (f"{sign.least:g}",)) if sign.least == sign.most else holds
    if holds.kind != Kind.CATEGORY or column == target:
        return holds
    rows = np.zeros((2, len(holds.levels)))  # trained on; used
    for one in scans:
        at = [one.columns.index(name) for name in holds.columns(column)]
        for sums, moments in ((rows, one.moments), (rows[1:], one.held.moments if one.held is not None else None)):
            if moments is not None:
                counts = np.round(moments.means[at] * moments.n)
                sums += [moments.n - counts.sum(), *counts]
    trained, used = (tuple(level for level, count in zip(holds.levels, part, strict=True) if count) for part in rows)
    if len(used) > 1:  # one level among the rows trained on is a constant column, whose gaps have cost their rows
        return Holds(Kind.CATEGORY, trained if len(trained) > 1 else used)
    return Holds(Kind.TEXT)


def _refuse_a_third_label(scans: Sequence[Scan], source: Source) -> None:
    """A target of classes has two in all files together."""
    labels: dict[str, int] = {}
    for one in scans:
        for label, line in one.labels:
            labels.setdefault(label, line)
            if len(labels) > 2:
                target = same_name(source.target)
                texts = one.kinds[target].kind == Kind.CATEGORY
                raise third_label(one.file, target, labels, source, texts=texts)


def _zoned(scans: Sequence[Scan], column: str) -> bool:
    """Whether the dates of all files tell their time zone.

    Raises:
        DataError: if those of some do and of others do not.
    """
    held = [one for one in scans if one.kinds[column].kind == Kind.DATES]
    zoned = held[0].kinds[column].zoned
    for one in held:
        if one.kinds[column].zoned != zoned:
            does, do = ("do not tell", "do") if zoned else ("tell", "do not")
            problem = f"the dates {does} their time zone, and those of {held[0].file} {do}."
            raise DataError(f"{one.file}, column {shown(column)}", problem, "Write all of them the same way.")
    return zoned


def _together(scans: Sequence[Scan], column: str, *, named: bool, target: bool) -> Holds:
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
    if Kind.DATES in by_kind:
        return Holds(Kind.DATES, zoned=_zoned(scans, column))
    if set(by_kind) == {Kind.CATEGORY}:
        levels = sorted({level for one in scans for level in one.kinds[column].levels})
        if target:  # how many classes it may have is told apart from what becomes of it
            return Holds(Kind.CATEGORY, tuple(levels))
        if named and len(levels) < 2:
            where, problem = f"{scans[0].file}, column {shown(column)}", f"every row holds {shown(levels[0])}."
            raise DataError(where, problem, "A category needs two values: leave the column out.")
        return Holds(Kind.CATEGORY, tuple(levels)) if 2 <= len(levels) <= MOST_LEVELS else Holds(Kind.TEXT)
    return Holds(Kind.TEXT if Kind.TEXT in by_kind else next(iter(by_kind), Kind.NOTHING))


def cuts(scans: Sequence[Scan], share: float) -> list[int]:
    """How many of the rows used of each file are trained on, where the last rows of them all are held out.

    Args:
        scans: one a file, none of them `unsettled`, with all rows together.
        share: of the rows, above 0 and below 1; the number of rows is rounded to the nearest.
    """
    used = [one.used for one in scans]
    left = sum(used) - round(share * sum(used))
    return [min(max(left - sum(used[:j]), 0), rows) for j, rows in enumerate(used)]


def join(
    scans: Sequence[Scan],
    source: Source,
    name: str,
    split: Split | None = None,
    *,
    labels: bool = False,
    folder: Path | None = None,
) -> Reading:
    """One data set out of the passes over its files.

    Args:
        scans: one a file, none of them `unsettled`.
        source: what is to be learned.
        name: of the data set.
        split: by which the passes told the rows apart.
        labels: whether the target is one of two classes, which become 0 and 1.
        folder: where rows that memory is not to hold are written, as `Reading.save` would, and mapped; none are when None.

    Raises:
        DataError: if fewer than two rows are complete, or no feature is left; if no row is held out where some were to be, or
            fewer than two are left, or fewer than there are folds; and if a target of classes has only one.
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
    if (used := sum(one.used for one in scans)) < 2:
        raise _too_few(where, used, rows, gaps, target)
    data = _Parts.of(scans, order)
    if split is not None:
        _check_parts(where, split, used, data.trained.n, [fold.n for fold in data.folds])
    dates = np.array([first.kinds.get(column, _TEXT).kind == Kind.DATES for column in columns])
    origin, size = np.where(dates, data.trained.low, 0.0), np.where(dates, float(DAY), 1.0)
    classes = _classes(scans, where, target, data.trained) if labels else None
    if classes is not None and first.kinds[target].kind == Kind.NUMBERS:
        origin[-1], size[-1] = float(classes[0]), float(classes[1]) - float(classes[0])
    data = data.moved(origin, size)
    left_out, kept = _left_out(scans, source, split), []
    for j, column in enumerate(columns[:-1]):
        if source.features is None and data.trained.low[j] == data.trained.high[j]:
            reason = _constant(data.trained.low[j], dates[j], data.held is not None)
            left_out.append(LeftOut(column=column, reason=reason))
        else:
            kept.append(j)
    if not kept:
        why = "; ".join(f"{shown(item.column)} is left out ({item.reason})" for item in left_out[:3])
        remedy = f"{why[:1].upper()}{why[1:]}." if why else "Add a column to predict from."
        raise DataError(where, f"no numeric column beside the target {shown(target)}.", remedy)
    if len(kept) < len(columns) - 1:
        data = data.select([*kept, len(columns) - 1])
    features = tuple(columns[j] for j in kept)
    provenance = Provenance(
        name=name,
        path=source.shown if source.as_one is not None else first.path,
        sha256=first.sha256 if len(scans) == 1 else sha256("".join(f"{one.sha256}\n" for one in scans).encode()).hexdigest(),
        bytes=sum(one.bytes for one in scans),
        rows=rows,
        rows_used=data.trained.n,
        rows_held=data.held.n if data.held is not None else 0,
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
        encoded=_encoded(first.kinds, columns, features, origin, classes, source.dialect.decimal),
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
        split=split,
    )
    rows_of = partial(_dataset, order=order, kept=kept, counted=(origin, size), provenance=provenance)
    held = None
    if data.held is not None:
        apart = rows_of([one.held.values if one.held is not None else None for one in scans], folder=folder and folder / "held")
        held = Held(data.held, apart, data.held_sample)
    return Reading(
        data.trained, provenance, rows_of([one.values for one in scans], folder=folder), data.sample, held, data.folds
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The rows of all files by what they are for, by their moments and samples, which go through the same hands."""

    trained: Moments
    sample: Sample
    folds: tuple[Moments, ...]
    held: Moments | None
    held_sample: Sample | None

    @classmethod
    def of(cls, scans: Sequence[Scan], order: Sequence[Sequence[int]]) -> _Parts:
        """Those of each file together, its columns in the order of the first file's."""

        def merged(parts: Sequence[Moments]) -> Moments:
            triples = zip(scans, order, parts, strict=True)
            return merge_all(part if one.columns == scans[0].columns else part.select(at) for one, at, part in triples)

        def sampled(parts: Sequence[Sample]) -> Sample:
            return merge_samples([part.select(at) for part, at in zip(parts, order, strict=True)])

        folds = tuple(merged(each) for each in zip(*(one.folds for one in scans), strict=True))
        apart = [one.held for one in scans if one.held is not None]
        return cls(
            merged([one.moments for one in scans]),
            sampled([one.sample for one in scans]),
            folds,
            merged([part.moments for part in apart]) if apart else None,
            sampled([part.sample for part in apart]) if apart else None,
        )

    def moved(self, origin: Array, size: Array) -> _Parts:
        """With the columns counted from an origin in units of a size, both (q,)."""
        return self._each(lambda part: part.moved(origin, size), lambda part: part.moved(origin, size))

    def select(self, columns: Sequence[int]) -> _Parts:
        """With some of the columns only, the target last."""
        return self._each(lambda part: part.select(columns), lambda part: part.select(columns))

    def _each(self, do: Callable[[Moments], Moments], to_sample: Callable[[Sample], Sample]) -> _Parts:
        return _Parts(
            do(self.trained),
            to_sample(self.sample),
            tuple(map(do, self.folds)),
            do(self.held) if self.held is not None else None,
            to_sample(self.held_sample) if self.held_sample is not None else None,
        )


def _left_out(scans: Sequence[Scan], source: Source, split: Split | None) -> list[LeftOut]:
    """Columns that no number came of, and those that are no feature because it was said so."""
    found = [
        LeftOut(column=column, reason=_why(holds, [one.texts[column] for one in scans if column in one.texts], source))
        for column, holds in scans[0].kinds.items()
        if not holds.used
    ]
    by_split = same_name(split.column) if split is not None and split.column is not None else None
    asked = [column for column in map(same_name, source.leave_out) if column in scans[0].header and column != by_split]
    found += [LeftOut(column=column, reason="as asked") for column in asked]
    return found if by_split is None else [*found, LeftOut(column=by_split, reason="says which rows are held out")]


def _check_parts(where: str, split: Split, used: int, trained: int, folds: Sequence[int]) -> None:
    """Whether there is a row to validate with, and enough to train on.

    Raises:
        DataError: where there is not.
    """
    held = used - trained
    if split.holds_out and (held < 1 or trained < 2):
        count = f"{held:,} of {used:,} complete rows {'is' if held == 1 else 'are'} held out"
        if split.column is not None:
            remedy = f"Mark rows with 1 to hold them out and with 0 to train on them in column {shown(split.column)}."
        elif split.last is not None:
            remedy = "Hold out another share of the last rows, or give more rows."
        else:
            remedy = "Hold out another share, set another seed, or give more rows."
        raise DataError(where, f"{count}, and {trained:,} {'is' if trained == 1 else 'are'} left: 1 and 2 are needed.", remedy)
    if split.folds is not None and min(folds) < 1:
        problem = f"{trained:,} rows to train on are too few for {split.folds:,} folds: one of them has none."
        raise DataError(where, problem, "Ask for fewer folds, or give more rows.")


def _classes(scans: Sequence[Scan], where: str, target: str, moments: Moments) -> tuple[str, str]:
    """The two classes of a target, the one that becomes 1 last.

    Raises:
        DataError: if the rows that are trained on have only one of them.
    """
    found = {label for one in scans for label, _ in one.labels}
    numbers = scans[0].kinds[target].kind == Kind.NUMBERS
    ordered = sorted(found, key=float) if numbers else sorted(found)
    low, high = float(moments.low[-1]), float(moments.high[-1])
    if low == high:
        only = ordered[0] if len(ordered) == 1 else ordered[int(low == (float(ordered[1]) if numbers else 1))]
        problem = f"every row trained on holds {shown(only)} in the target {shown(target)}: two classes have two values."
        raise DataError(where, problem, "Name another target, or give rows of both.")
    if numbers and not np.isfinite(high - low):
        raise DataError(
            where, f"{ordered[0]} and {ordered[1]} in the target {shown(target)} are too far apart.", "Write 0 and 1."
        )
    return ordered[0], ordered[1]


def _constant(value: float, date: bool, held: bool) -> str:
    return f"constant: every row {'trained on' if held else 'used'} holds {'one date' if date else f'{value:g}'}"


def _encoded(
    kinds: dict[str, Holds], columns: Sequence[str], features: Sequence[str], origin: Array,
    classes: tuple[str, str] | None, decimal: str,
) -> tuple[Encoded, ...]:  # fmt: skip
    """Columns of text that became numbers, and a target of other numbers than 0 and 1, as it writes them, that became these."""
    found = []
    if classes is not None and kinds[columns[-1]].kind == Kind.NUMBERS and classes != ("0", "1"):
        written = tuple(label.replace(".", decimal) for label in classes)
        found.append(Encoded(column=columns[-1], kind="category", levels=written))
    for column, holds in kinds.items():
        if holds.kind == Kind.CATEGORY:
            made = tuple(name for name in holds.columns(column) if name in features)
            found.append(Encoded(column=column, kind="category", levels=holds.levels, features=made))
        elif holds.kind == Kind.DATES:
            since = timedelta(microseconds=int(origin[columns.index(column)]))
            first = datetime(1970, 1, 1) + since
            day = first.date().isoformat() if first == datetime(first.year, first.month, first.day) else first.isoformat()
            made = (column,) if column in features else ()
            found.append(Encoded(column=column, kind="dates", features=made, first=day, zoned=holds.zoned))
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
    of: Sequence[tuple[Array, ...] | Spilled | None],
    order: Sequence[Sequence[int]],
    kept: Sequence[int],
    counted: tuple[Array, Array],
    provenance: Provenance,
    folder: Path | None,
) -> Dataset | None:
    """The rows themselves, where every pass kept them; each column is counted from an origin in units of a size."""
    origin, size = counted
    values = [one.mapped().T if isinstance(one, Spilled) else one for one in of if one is not None]
    if len(values) < len(of):
        return None
    n = sum(len(one[0]) for one in values)
    if folder is not None and beyond(n, len(kept) + 1):

        def blocks(columns: Sequence[int]) -> Iterator[Array]:
            for one, at in zip(values, order, strict=True):
                for rows in parts(len(one[0]), len(columns), cached=True):
                    block = np.column_stack([one[at[j]][rows] for j in columns])
                    yield (block - origin[columns]) / size[columns]

        X = write(folder / "X.npy", (n, len(kept)), blocks(kept))
        return Dataset(X, write(folder / "y.npy", (n,), (block[:, 0] for block in blocks([-1]))), provenance)
    X = np.empty((n, len(kept)), order="F")
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
