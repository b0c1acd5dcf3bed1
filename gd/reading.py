"""One pass over a CSV of any size: its rows while they are few, their moments always."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from gd.data import Dataset, Dropped, Encoding, Provenance, Shard, Source, dataset_name
from gd.dialect import Dialect
from gd.moments import Moments, merge_all
from gd.refusal import DataError, shown
from gd.stream import BLOCK, Block, Feed, Progress, check_path, redacted
from gd.table import Array, Cells, LeftOut, Text, choose

__all__ = ["Kind", "Reading", "Scan", "cores", "join", "read", "read_csv", "scan", "unsettled"]

_LINES_KEPT = 1000  # of the lines that were dropped; their count is always exact
_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"
_MEND = "Mend it, or write NA for a missing value; a feature can be left out with --features."

_WIDE = 16  # columns, from which on BLAS would share a block of rows out to threads
_blas_lock, _blas_users = Lock(), 0
_blas_limit: threadpool_limits | None = None

KeepRows = Callable[[int, int], bool]
"""Whether to keep the rows themselves: (rows so far, columns) -> yes; once it said no they are dropped for good."""


class Kind(StrEnum):
    """What a column holds: a file is read with a guess of that, and again where the guess was wrong."""

    NUMBERS = "numbers"
    TEXT = "text"
    NOTHING = "nothing"


@dataclass(slots=True)
class _Tally:
    """What was met in one column so far."""

    numbers: int = 0
    gaps: int = 0
    wrong: int = 0
    first_wrong: tuple[int, str] | None = None  # line and cell

    def add(self, cells: Cells) -> None:
        self.numbers += cells.numbers
        self.gaps += cells.gaps
        self.wrong += cells.wrong
        self.first_wrong = self.first_wrong or cells.first_wrong


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What one pass over one file found: small whatever the file's size, unless rows were asked for."""

    file: str  # its name, for errors
    path: str  # without what may be secret
    sha256: str
    bytes: int
    header: tuple[str, ...]
    rows: int
    kinds: dict[str, Kind]  # of the target and of every column that may be a feature, in order
    gaps: dict[str, int]  # missing cells of the columns of numbers
    texts: dict[str, str]  # of each column of text the first cell that is no number
    dropped: int
    lines: tuple[int, ...]  # of the rows that were dropped; the first 1,000
    moments: Moments  # of the rows without a gap: the columns of numbers, the target last
    columns: tuple[str, ...]  # names of the columns of `moments`
    values: tuple[Array, ...] | None  # these columns, each (rows used,), where they were kept


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A data set as it is trained on: its moments, where it came from, and its rows where they were kept."""

    moments: Moments  # of the features that are used, then the target
    provenance: Provenance
    rows: Dataset | None

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
        (folder / "provenance.json").write_text(self.provenance.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Reading:
        """Read what `save` wrote; of the rows, pages are read when they are touched."""
        provenance = Provenance.model_validate_json((folder / "provenance.json").read_bytes())
        rows = Dataset.load(folder) if (folder / "X.npy").exists() else None
        return cls(Moments.load(folder / "moments.npz"), provenance, rows)


def read_csv(
    path: Path | str,
    target: str,
    features: Sequence[str] | None = None,
    name: str | None = None,
    *,
    leave_out: Sequence[str] = (),
    encode: Sequence[Encoding] = (),
    dialect: Dialect = Dialect(),  # noqa: B008  (frozen)
) -> Dataset:
    """Read a CSV file, plain or compressed by gzip or zstd.

    Rows with a missing cell (`gd.data.MISSING`) in a column that is used are dropped and counted. Text columns, columns without
    a value and columns that never change are left out and listed, unless they are named as features.

    Args:
        path: the file, or its address; gzip and zstd are known by their first bytes.
        target: name of the column to predict.
        features: names of the columns to predict from; all numeric columns but the target when None.
        name: what to call the data set; the file's name without its endings when None.
        leave_out: names of columns that are not used.
        encode: kinds of text columns that are made numbers: category, dates.
        dialect: how the file is written, as far as it is not to be found out.

    Raises:
        DataError: if the file cannot be used, naming file, line, column and remedy.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    check_path(str(path))
    source = Source(
        path=str(path),
        target=target,
        features=tuple(features) if features is not None else None,
        leave_out=tuple(leave_out),
        encode=tuple(encode),
        dialect=dialect,
    )
    rows = read([str(path)], source, name, keep_rows=lambda rows, columns: True).rows
    assert rows is not None
    return rows


def read(
    files: Sequence[str],
    source: Source,
    name: str | None = None,
    *,
    keep_rows: KeepRows | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    block: int = BLOCK,
) -> Reading:
    """Read the files of one data set one after the other: one pass each, memory for a few blocks.

    Args:
        files: paths or addresses; several are parts of one data set and must have the same columns.
        source: what is to be learned from them.
        name: of the data set; that of the first file when None.
        keep_rows: whether to keep the rows beside their moments; never when None.
        threads: that parse blocks; as many as this process has cores when None.
        progress: told how far reading is, in each file.
        block: bytes of text that are parsed at once.

    Raises:
        DataError: if they cannot be used, naming file, line, column and remedy.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    one = partial(scan, source=source, keep_rows=keep_rows, threads=threads, progress=progress, block=block)
    scans = [one(file) for file in files]
    for j, kinds in unsettled(scans).items():
        scans[j] = one(files[j], kinds=kinds)
    return join(scans, source, name or dataset_name(files[0]))


def scan(
    file: str,
    source: Source,
    kinds: dict[str, Kind] | None = None,
    *,
    keep_rows: KeepRows | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    block: int = BLOCK,
) -> Scan:
    """Read one file, again where its first rows gave a wrong idea of what a column holds.

    Args:
        file: its path or address.
        source: which columns are wanted.
        kinds: what columns hold, where other files of the same data set have shown it.
        keep_rows: whether to keep the rows beside their moments; never when None.
        threads: that parse blocks; as many as this process has cores when None.
        progress: told how far reading is.
        block: bytes of text that are parsed at once.

    Raises:
        DataError: if the file cannot be used.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    given = dict(kinds or {})
    known = given
    while True:
        one = _Pass(Feed(file, progress, block), source, known, keep_rows, threads or cores())
        one.run()
        found = one.judge() | given
        if all(_same_rows(found[column], kind) for column, kind in one.kinds.items()):
            return one.result(found)
        known = found


def _same_rows(found: Kind, read_as: Kind) -> bool:
    """Whether a pass that took the column for this has used the right rows: text and nothing both are left out."""
    return (found == Kind.NUMBERS) == (read_as == Kind.NUMBERS)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one block holds."""

    cells: dict[str, Cells]  # without their values
    rows: int
    dropped: int
    lines: list[int]
    moments: Moments
    values: tuple[Array, ...] | None


class _Pass:
    """One pass over one file: blocks are parsed on threads and put together in their order, whichever is done first."""

    def __init__(self, feed: Feed, source: Source, known: dict[str, Kind], keep_rows: KeepRows | None, threads: int) -> None:
        self._feed, self._source, self._known = feed, source, known
        self._keep_rows, self._threads = keep_rows, threads
        self._named = {source.target, *(source.features or ())}
        self.kinds: dict[str, Kind] = {}
        self._header: tuple[str, ...] = ()
        self._tallies: dict[str, _Tally] = {}
        self._parts: list[Moments] = []
        self._values: list[tuple[Array, ...]] | None = []
        self._rows = self._dropped = 0
        self._lines: list[int] = []

    @property
    def _columns(self) -> list[str]:
        """Columns of numbers, the target last."""
        numbers = [column for column, kind in self.kinds.items() if kind == Kind.NUMBERS]
        return [*(column for column in numbers if column != self._source.target), self._source.target]

    def run(self) -> None:
        """Read it all."""
        with closing(iter(self._feed)) as blocks:
            first = self._begin(blocks)
            with _blas_on_one_thread() if len(self.kinds) > _WIDE else nullcontext():
                self._digest_all(first, blocks)

    def _digest_all(self, first: Text, blocks: Iterator[Block]) -> None:
        texts = chain([first], (Text(self._feed.name, block.data, block.line, self._header) for block in blocks))
        if self._threads == 1:
            for text in texts:
                self._add(self._digest(text))
            return
        waiting: deque[Future[_Part]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for text in texts:
                    waiting.append(pool.submit(self._digest, text))
                    if len(waiting) > self._threads + 1:
                        self._add(waiting.popleft().result())
                while waiting:
                    self._add(waiting.popleft().result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _begin(self, blocks: Iterator[Block]) -> Text:
        """The header, and the first rows with a guess of what their columns hold."""
        file = self._feed.name
        block = next(blocks, None)
        if block is None:
            raise DataError(file, "the file is empty.", "Export the table again.")
        data = block.data.removeprefix(b"\xef\xbb\xbf")
        if not data or data.isspace():
            raise DataError(file, "the file is empty.", "Export the table again.")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(file, "the file is UTF-16.", "Save it as UTF-8.")
        rows = Text(file, data).after_header()
        self._header = tuple(rows.names)
        chosen = choose(file, rows.names, self._source.target, self._source.features)
        while rows.empty:
            block = next(blocks, None)
            if block is None:
                raise DataError(file, "a header and no rows.", "Export the table again with its data.")
            rows = Text(file, block.data, block.line, self._header)
        wanted = [self._source.target, *chosen]
        for column, number in rows.guess(wanted).items():
            guess = self._known.get(column) or (Kind.NUMBERS if number else Kind.TEXT)
            self.kinds[column] = guess
            self._tallies[column] = _Tally()
        if not self._known:  # a column without a value among the first rows is expected to have none at all
            for column, cells in rows.parse(self._numeric).items():
                if cells.numbers == cells.wrong == 0 and column not in self._named:
                    self.kinds[column] = Kind.NOTHING
        return rows

    @property
    def _numeric(self) -> dict[str, bool]:
        return {column: kind != Kind.TEXT for column, kind in self.kinds.items()}

    def _digest(self, text: Text) -> _Part:
        cells = text.parse(self._numeric)
        rows = max(c.numbers + c.gaps + c.wrong for c in cells.values())
        columns = [cells[column].values for column in self._columns]
        without = {column: c._replace(values=None) for column, c in cells.items()}
        found = [values for values in columns if values is not None]
        if len(found) < len(columns):  # cells that are no numbers: this pass will be refused, or made again
            return _Part(without, rows, 0, [], Moments.none(len(columns)), None)
        lines: list[int] = []
        dropped = 0
        if any(cells[column].gaps for column in self._columns):
            used = ~np.isnan(np.column_stack(found)).any(axis=1)
            gone = np.flatnonzero(~used)
            dropped, lines = len(gone), text.lines(gone[:_LINES_KEPT], rows)
            found = [values[used] for values in found]
        keep = self._values is not None and self._keep_rows is not None
        return _Part(without, rows, dropped, lines, Moments.of(found), tuple(found) if keep else None)

    def _add(self, part: _Part) -> None:
        for column, cells in part.cells.items():
            self._tallies[column].add(cells)
        self._rows += part.rows
        self._dropped += part.dropped
        self._lines += part.lines[: _LINES_KEPT - len(self._lines)]
        self._parts = [merge_all([*self._parts, part.moments])]
        used = self._rows - self._dropped
        if part.values is None or self._keep_rows is None or not self._keep_rows(used, len(self._columns)):
            self._values = None
        elif self._values is not None:
            self._values.append(part.values)

    def judge(self) -> dict[str, Kind]:
        """What each column turned out to hold.

        Raises:
            DataError: where a column that was named holds text, and where most cells of another are numbers and some are
                not, since leaving the column out would hide a mistake.
        """
        found = {}
        for column, tally in self._tallies.items():
            if tally.first_wrong is not None:
                if column in self._named or tally.numbers > tally.wrong:
                    line, cell = tally.first_wrong
                    count = "" if tally.wrong == 1 else f" (the first of {tally.wrong:,} such cells)"
                    where = f"{self._feed.name}, line {line}, column {shown(column)}"
                    raise DataError(where, f"{shown(cell)} is not a number{count}.", _MEND)
                found[column] = Kind.TEXT
            else:
                found[column] = Kind.NUMBERS if tally.numbers or column in self._named else Kind.NOTHING
        return found

    def result(self, kinds: dict[str, Kind]) -> Scan:
        """What was found, once every column was taken for what it is."""
        values = None
        if self._values is not None and self._keep_rows is not None:
            values = tuple(np.concatenate(column) for column in zip(*self._values, strict=True))
        texts = {column: tally.first_wrong[1] for column, tally in self._tallies.items() if tally.first_wrong}
        return Scan(
            file=self._feed.name,
            path=redacted(self._feed.address),
            sha256=self._feed.sha256,
            bytes=self._feed.size,
            header=self._header,
            rows=self._rows,
            kinds=kinds,
            gaps={column: self._tallies[column].gaps for column in [self._source.target, *self._columns[:-1]]},
            texts=texts,
            dropped=self._dropped,
            lines=tuple(self._lines),
            moments=self._parts[0],
            columns=tuple(self._columns),
            values=values,
        )


def unsettled(scans: Sequence[Scan]) -> dict[int, dict[str, Kind]]:
    """Files that must be read again because others of the data set show what a column holds: their places, and that.

    A column that is empty in one file and of numbers in another is one of numbers, whose gaps drop rows in the first.

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
    holds: dict[str, Kind] = {}
    for column in first.kinds:
        kinds = {one.kinds[column] for one in scans}
        if {Kind.NUMBERS, Kind.TEXT} <= kinds:
            text, numbers = (next(one for one in scans if one.kinds[column] == kind) for kind in (Kind.TEXT, Kind.NUMBERS))
            where = f"{text.file}, column {shown(column)}"
            problem = f"{shown(text.texts[column])} is not a number, and {numbers.file} has numbers there."
            raise DataError(where, problem, _MEND)
        holds[column] = Kind.NUMBERS if Kind.NUMBERS in kinds else Kind.TEXT if Kind.TEXT in kinds else Kind.NOTHING
    return {
        j: holds
        for j, one in enumerate(scans)
        if any(not _same_rows(kind, one.kinds[column]) for column, kind in holds.items())
    }


def join(scans: Sequence[Scan], source: Source, name: str) -> Reading:
    """One data set out of the passes over its files.

    Args:
        scans: one a file, none of them `unsettled`.
        source: what is to be learned.
        name: of the data set.

    Raises:
        DataError: if fewer than two rows are complete, or no feature is left.
    """
    first, target = scans[0], source.target
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
    left_out = [
        LeftOut(column=column, reason=_why(kind, next((one.texts[column] for one in scans if column in one.texts), "")))
        for column, kind in first.kinds.items()
        if kind != Kind.NUMBERS
    ]
    kept = []
    for j, column in enumerate(columns[:-1]):
        if source.features is None and moments.low[j] == moments.high[j]:
            left_out.append(LeftOut(column=column, reason=f"constant: every row used holds {moments.low[j]:g}"))
        else:
            kept.append(j)
    if not kept:
        why = "; ".join(f"{shown(item.column)} is left out ({item.reason})" for item in left_out[:3])
        remedy = f"{why[:1].upper()}{why[1:]}." if why else "Add a column to predict from."
        raise DataError(where, f"no numeric column beside the target {shown(target)}.", remedy)
    if len(kept) < len(columns) - 1:
        moments = moments.select([*kept, len(columns) - 1])
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
        features=tuple(columns[j] for j in kept),
        left_out=tuple(left_out),
        shards=tuple(
            Shard(path=one.path, sha256=one.sha256, bytes=one.bytes, rows=one.rows, rows_used=one.moments.n) for one in scans
        )
        if len(scans) > 1
        else (),
    )
    return Reading(moments, provenance, _dataset(scans, order, kept, provenance))


def _dataset(
    scans: Sequence[Scan], order: Sequence[Sequence[int]], kept: Sequence[int], provenance: Provenance
) -> Dataset | None:
    """The rows themselves, where every pass kept them."""
    values = [one.values for one in scans if one.values is not None]
    if len(values) < len(scans):
        return None
    X = np.empty((sum(len(one[0]) for one in values), len(kept)), order="F")
    for j, column in enumerate(kept):
        X[:, j] = np.concatenate([one[at[column]] for one, at in zip(values, order, strict=True)])
    y = np.concatenate([one[at[-1]] for one, at in zip(values, order, strict=True)])
    return Dataset(X, y, provenance)


def _too_few(where: str, complete: int, rows: int, gaps: dict[str, int], target: str) -> DataError:
    remedy = "Export the table again with more rows."
    if gaps:
        worst = max(gaps, key=lambda column: gaps[column])
        cells = f"{gaps[worst]:,} missing cell{'' if gaps[worst] == 1 else 's'}"
        way_out = "fill it" if worst == target else "leave it out with --features, or fill it"
        remedy = f"Column {shown(worst)} has {cells}: {way_out}."
    said = f"{complete} complete row{'' if complete == 1 else 's'} of {rows:,}"
    return DataError(where, f"{said}; at least 2 are needed.", remedy)


def _why(kind: Kind, cell: str) -> str:
    if kind == Kind.NOTHING:
        return "no value in any row"
    return "dates or times" if re.match(_DATE_OR_TIME, cell.strip()) else "text"


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    """Blocks have threads of their own: those of BLAS on top of them were seen to take four times as long."""
    global _blas_users, _blas_limit  # noqa: PLW0603  (the limit holds for the process)
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = threadpool_limits(1, "blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
