"""One pass over a CSV of any size: its rows while they are few, their moments always."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np

from gd.arrays import Array
from gd.blocks import Texts, blas_on_one_thread, cores, in_order
from gd.cells import numbers_of
from gd.columns import Holds, Kind, Tally, judge
from gd.data import Source
from gd.dialect import Format, same_name
from gd.moments import Moments, merge, merge_all
from gd.refusal import DataError, shown
from gd.remedies import leave_out, remedy
from gd.sampling import Sample
from gd.signs import EXACT, Sign
from gd.signs import merge as merge_signs
from gd.spilling import Keeping, Scratch, Spilled
from gd.splitting import Count, Parting
from gd.stream import BLOCK, Progress, redacted, shown_name
from gd.table import As, Cells, Text, choose

__all__ = ["Apart", "KeepRows", "Scan", "scan"]

_LINES_KEPT = 1000  # of the lines that were dropped; their count is always exact
_TOTALS = {"total", "totals", "sum", "subtotal", "grand total", "average", "mean", "summe", "gesamt"}
_MOST_PASSES = 5

_WIDE = 16  # columns, from which on BLAS would share a block of rows out to threads

KeepRows = Callable[[int, int], bool]
"""Whether to keep the rows themselves: (rows so far, columns) -> yes; once it said no they are dropped for good.

Where rows are held out, the rows so far are those of the larger part.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """The rows of a file that are held out."""

    moments: Moments
    sample: Sample
    values: tuple[Array, ...] | Spilled | None  # columns, each (rows held out,), where rows were kept


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What one pass over one file found: small whatever the file's size, unless rows were asked for."""

    file: str  # its name, for errors
    path: str  # without what may be secret
    sha256: str
    bytes: int
    format: Format
    header: tuple[str, ...]
    rows: int
    kinds: dict[str, Holds]  # of the target and of every column that may be a feature, in order
    gaps: dict[str, int]  # missing cells of the columns that are used
    texts: dict[str, str]  # of each column of text the first cell that is no number
    signs: dict[str, Sign]  # of the columns of numbers
    dropped: int
    lines: tuple[int, ...]  # of the rows that were dropped; the first 1,000
    moments: Moments  # of the rows without a gap that are not held out: the columns of numbers, the target last
    columns: tuple[str, ...]  # names of the columns of `moments`
    sample: Sample  # of the same rows and columns
    values: tuple[Array, ...] | Spilled | None  # these columns, each (rows used,), where they were kept
    held: Apart | None = None  # the rows that are held out, where any are to be
    folds: tuple[Moments, ...] = ()  # of `moments`, where there are folds
    labels: tuple[tuple[str, int], ...] = ()  # of a target of classes: its distinct values, two at most, and their lines

    @property
    def used(self) -> int:
        """Rows without a gap, held out or not."""
        return self.moments.n + (self.held.moments.n if self.held is not None else 0)

    @property
    def larger(self) -> int:
        """Rows of the larger part: of those that are trained on and those that are held out."""
        return max(self.moments.n, self.used - self.moments.n)


def scan(
    file: str,
    source: Source,
    kinds: dict[str, Holds] | None = None,
    *,
    keep_rows: KeepRows | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    block: int = BLOCK,
    parting: Parting | None = None,
    labels: bool = False,
    scratch: Scratch | None = None,
) -> Scan:
    """Read one file, again where its first rows gave a wrong idea of what a column holds.

    Args:
        file: its path or address.
        source: which columns are wanted, and how the file is written.
        kinds: what columns hold, where other files of the same data set have shown it.
        keep_rows: whether to keep the rows beside their moments; never when None.
        threads: that parse blocks; as many as this process has cores when None.
        progress: told how far reading is.
        block: bytes of text that are parsed at once.
        parting: which rows are held out, and into which folds the others go; all are used together when None.
        labels: whether the target is one of two classes: two texts become 0 and 1, in their sorted order.
        scratch: where rows go that are kept and are too many for memory; all stay in memory when None.

    Raises:
        DataError: if the file cannot be used.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    source = _with_same_names(source)
    given = dict(kinds or {})
    known = given
    for _ in range(_MOST_PASSES):
        one = _Pass(file, source, known, keep_rows, threads or cores(), progress, block, parting, labels, scratch)
        one.run()
        found = one.judge() | given
        if all(found[column].gives_the_same_rows(kind) for column, kind in one.kinds.items()):
            return one.result(found)
        known = found
    raise DataError(shown_name(file), "it changes while it is read.", "Read a copy of it.")


def _with_same_names(source: Source) -> Source:
    """The same with the names of columns as they are compared."""
    return source.model_copy(
        update={
            "target": same_name(source.target),
            "features": None if source.features is None else tuple(map(same_name, source.features)),
            "leave_out": tuple(map(same_name, source.leave_out)),
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one block holds."""

    cells: dict[str, Cells]  # without their values
    rows: int
    dropped: int
    lines: list[int]
    moments: tuple[Moments, ...]  # fold by fold, and then of the rows that are held out
    values: tuple[Array, ...] | None  # of the rows that are not
    signs: dict[str, Sign]
    held: tuple[Array, ...] | None = None  # of the rows that are


class _Turn(NamedTuple):
    """What a block waits for where rows have parts: how many come before it, which those who read these find out."""

    before: Future[Count]
    after: Future[Count]

    @classmethod
    def first(cls) -> _Turn:
        """Of the first block."""
        turn = cls(Future(), Future())
        turn.before.set_result(Count())
        return turn

    def next(self) -> _Turn:
        """Of the block behind."""
        return _Turn(self.after, Future())


class _Pass:
    """One pass over one file: blocks are parsed on threads and put together in their order, whichever is done first."""

    def __init__(
        self,
        file: str,
        source: Source,
        known: dict[str, Holds],
        keep_rows: KeepRows | None,
        threads: int,
        progress: Progress | None,
        block: int,
        parting: Parting | None,
        labels: bool,
        scratch: Scratch | None,
    ) -> None:
        self._texts = Texts(file, source.dialect, (source.target, *(source.features or ())), progress=progress, block=block)
        self._feed = self._texts.feed
        self._source, self._known = source, known
        self._keep_rows, self._threads = keep_rows, threads
        self._parting, self._labels = parting, labels
        held_by = parting.split.column if parting is not None else None
        self._held_by = same_name(held_by) if held_by is not None else None
        self._named = {source.target, *(source.features or ())}
        self.kinds: dict[str, Holds] = {}
        self._header = self._texts.header
        self._tallies: dict[str, Tally] = {}
        self._signs: dict[str, Sign] = {}
        self._moments: tuple[Moments, ...] = ()
        self._sample: Sample | None = None
        self._held_sample: Sample | None = None
        self._kept: Keeping | None = Keeping(scratch)
        self._held_kept = Keeping(scratch and scratch._replace(file=scratch.file.with_name(f"{scratch.file.name}-held")))
        self._rows = self._dropped = self._first_line = 0
        self._lines: list[int] = []
        self._last: Text | None = None

    @property
    def _columns(self) -> list[str]:
        """Columns of numbers, the target last."""
        target = self._source.target
        names = [name for column, holds in self.kinds.items() if column != target for name in holds.columns(column)]
        return [*names, target]

    def run(self) -> None:
        """Read it all."""
        with self._texts:
            self._header = self._texts.header
            texts = iter(self._texts)
            first = self._begin(texts)
            turns = self._remembered(chain([first], texts))
            parts = in_order(turns, lambda turn: self._digest(*turn), self._threads)
            with blas_on_one_thread() if len(self.kinds) > _WIDE else nullcontext(), closing(parts):
                for part in parts:
                    self._add(part)

    def _remembered(self, texts: Iterable[Text]) -> Iterator[tuple[Text, _Turn | None]]:
        turns = repeat(None) if self._parting is None else _turns()
        for text, turn in zip(texts, turns, strict=False):
            self._last = text
            yield text, turn

    def _begin(self, texts: Iterator[Text]) -> Text:
        """The first rows, with a guess of what their columns hold."""
        file = self._feed.name
        chosen = choose(file, self._header, self._source.target, self._source.features, self._source.leave_out, self._held_by)
        rows = next(texts)
        self._first_line = next(rows.rows())[0]
        wanted = [self._source.target, *chosen]
        for column, guess in rows.guess(wanted, dates="dates" in self._source.encode).items():
            dates = guess.days and not (self._labels and column == self._source.target)  # two classes may be two dates
            kind = Kind.NUMBERS if guess.numbers else Kind.DATES if dates else Kind.TEXT
            self.kinds[column] = self._known.get(column) or Holds(kind)
            self._tallies[column] = Tally()
        if not self._known:  # a column without a value among the first rows is expected to have none at all
            for column, cells in rows.parse(self._as).items():
                if cells.numbers == cells.wrong == 0 and column not in self._named:
                    self.kinds[column] = Holds(Kind.NOTHING)
        if (name := next((name for name in self._made if name in self._header.names), None)) is not None:
            problem = f"the category {shown(self._made[name])} would make a second column {shown(name)}."
            raise DataError(file, problem, "Rename one of them.")
        return rows

    @property
    def _made(self) -> dict[str, str]:
        """Columns that a category becomes, and it."""
        return {
            name: column
            for column, holds in self.kinds.items()
            if holds.kind == Kind.CATEGORY and column != self._source.target
            for name in holds.columns(column)
        }

    @property
    def _as(self) -> dict[str, As]:
        found = {column: holds.read_as(self._source) for column, holds in self.kinds.items()}
        if self._labels:
            found[self._source.target] = found[self._source.target]._replace(label=True)
        return found

    def _digest(self, text: Text, turn: _Turn | None) -> _Part:
        """What a block holds; whatever comes of it, those behind learn where they begin."""
        try:
            return self._digested(text, turn)
        except BaseException as error:
            if turn is not None and not turn.after.done():
                turn.after.set_exception(error)
            raise

    def _digested(self, text: Text, turn: _Turn | None) -> _Part:
        wanted = self._as
        if self._held_by is not None:
            wanted[self._held_by] = As(held=True)
        cells = text.parse(wanted)
        marked = cells.pop(self._held_by) if self._held_by is not None else None
        rows = max(c.numbers + c.gaps + c.wrong for c in cells.values())
        columns = self._columns
        without = {column: c._replace(values=None) for column, c in cells.items()}
        values = self._values_of(cells)
        if values is None:  # cells that are no numbers: this pass will be refused, or made again
            if turn is not None:
                turn.after.set_result(turn.before.result())
            none = Moments.none(len(columns))
            return _Part(without, rows, 0, [], (none,) * (1 if self._parting is None else self._parting.split.parts), None, {})
        used, lines, dropped, whole = values, list[int](), 0, None
        if any(cells[column].gaps for column, holds in self.kinds.items() if holds.used):
            whole = ~np.isnan(np.column_stack(values)).any(axis=1)
            gone = np.flatnonzero(~whole)
            dropped, lines = len(gone), text.lines(gone[:_LINES_KEPT], rows)
            used = [column[whole] for column in values]
        if self._parting is None or turn is None:
            moments = Moments.of(used)
            signs = self._signs_of(text, values, used, moments.low, moments.high)
            return _Part(without, rows, dropped, lines, (moments,), tuple(used), signs)
        at = np.arange(rows) if whole is None else np.flatnonzero(whole)
        held = marked.values[0] == 1 if marked is not None and marked.values is not None else None
        before = turn.before.result()
        part, split = self._parting.parts_of(before, at, held), self._parting.split
        counts = np.bincount(part, minlength=split.parts)
        trained = len(part) - (int(counts[-1]) if split.holds_out else 0)
        turn.after.set_result(Count(before.rows + rows, before.used + len(part), before.trained + trained))
        every = _parted(used, part, counts)
        low, high = (
            np.array([getattr(column, name)(initial=end) for column in used])
            for name, end in (("min", np.inf), ("max", -np.inf))
        )
        signs = self._signs_of(text, values, used, low, high)
        kept, apart = used, None
        if split.holds_out:
            inside = part < split.parts - 1
            kept, apart = [column[inside] for column in used], tuple(column[~inside] for column in used)
        return _Part(without, rows, dropped, lines, every, tuple(kept), signs, apart)

    def _values_of(self, cells: dict[str, Cells]) -> list[Array] | None:
        """The columns of numbers, the target last; None where some are not yet."""
        found: list[Array] = []
        target = self._source.target
        for column in [*(column for column in self.kinds if column != target), target]:
            if not self.kinds[column].used:
                if column == target:
                    return None
                continue
            if (values := cells[column].values) is None:
                return None
            found += values
        return found

    def _signs_of(
        self, text: Text, values: Sequence[Array], used: Sequence[Array], lows: Array, highs: Array
    ) -> dict[str, Sign]:
        signs: dict[str, Sign] = {}
        for column, *of in zip(self._columns, values, used, lows, highs, strict=True):
            if column not in self.kinds or self.kinds[column].kind != Kind.NUMBERS or not len(values[-1]):
                continue
            of_all, of_used, low, high = of
            sign = Sign.of(of_all, of_used, low, high, used[-1])
            if max(-low, high) >= EXACT and (rows := text.rounded(column)):
                lines = text.lines(np.array(rows[:_LINES_KEPT]), len(of_all))
                sign = sign._replace(rounded=len(rows), rounded_lines=tuple(lines))
            signs[column] = sign
        return signs

    def _add(self, part: _Part) -> None:
        for column, cells in part.cells.items():
            self._tallies[column].add(cells)
        for column, sign in part.signs.items():
            self._signs[column] = merge_signs(self._signs[column], sign) if column in self._signs else sign
        self._rows += part.rows
        self._dropped += part.dropped
        self._lines += part.lines[: _LINES_KEPT - len(self._lines)]
        if not self._moments:
            self._moments = part.moments
        else:
            self._moments = tuple(map(merge, self._moments, part.moments))
        if part.values is not None:  # blocks come in the order of the file
            self._sample = (self._sample or Sample.none(len(part.values))).extended(part.values)
        if part.held is not None:
            self._held_sample = (self._held_sample or Sample.none(len(part.held))).extended(part.held)
        if self._kept is None:
            return
        used, apart = self._rows - self._dropped, self._moments[-1].n if self._holds_out else 0
        if part.values is None or self._keep_rows is None or not self._keep_rows(max(used - apart, apart), len(self._columns)):
            self._kept.drop()
            self._held_kept.drop()
            self._kept = None
        else:
            self._kept.add(part.values)
            if part.held is not None:
                self._held_kept.add(part.held)

    @property
    def _holds_out(self) -> bool:
        return self._parting is not None and self._parting.split.holds_out

    def judge(self) -> dict[str, Holds]:
        """What each column turned out to hold.

        Raises:
            DataError: where that is not clear, where a name that is used stands above two columns, and where the last row is
                a total.
        """
        found = judge(self._feed.name, self._tallies, self._source, self._structure, labels=self._labels)
        for name, one, other in self._header.twins:
            keys = self._header.names[one - 1], self._header.names[other - 1]
            if any(key in found and found[key].used for key in keys):
                problem = f"two columns are named {shown(name)} (columns {one} and {other})."
                remedy = f"Rename one, or leave both out with {leave_out(name)}."
                raise DataError(f"{self._feed.name}, line {self._header.line}", problem, remedy)
        self._refuse_a_total(found)
        return found

    def _structure(self, column: str, line: int, cell: str) -> str | None:
        """What is wrong with a row in which a cell is no number: a second header, the header again, or what follows a table."""
        if cell and same_name(cell) == column:
            return f"The header stands there again; --skip-lines {line}-{line} skips it."
        if cell and remedy([cell], self._feed.dialect) is None and self._begins_with(line, "#"):  # #REF! is no comment
            return "Lines that begin with # are skipped by --comment '#'."
        if line == self._first_line and cell:
            held = [tally for tally in self._tallies.values() if tally.numbers]
            if all(tally.first_wrong and tally.first_wrong[0][0] == line for tally in held):
                return f"A second header seems to stand there; --skip-lines {line}-{line} skips it."
        if cell or self._last is None or line == self._first_line:
            return None
        rest = [row for at, row in self._last.rows() if at >= line]
        numbers = numbers_of(self._feed.dialect)
        without = all(any(c.strip().casefold() in _TOTALS for c in row) or not any(map(numbers.is_number, row)) for row in rest)
        if rest and without and len(rest) == self._tallies[column].wrong:
            return f"If the table ends before that line: --skip-lines {line}-."
        return None

    def _begins_with(self, line: int, sign: str) -> bool:
        """Whether a row of the last block, on that line, begins with a sign."""
        rows = self._last.rows() if self._last is not None else iter(())
        return any(at == line and row[0].lstrip().startswith(sign) for at, row in rows)

    def _refuse_a_total(self, found: dict[str, Holds]) -> None:
        """A last row that says in a column of text that it is a total of the others would be one more row of data."""
        if self._last is None or (last := self._last.last_row()) is None or len(last[1]) != len(self._header.names):
            return
        for j, (column, cell) in enumerate(zip(self._header.names, last[1], strict=True)):
            word = cell.strip().casefold()
            holds = found.get(column)
            if (
                word not in _TOTALS
                or column in {*self._source.leave_out, self._held_by}
                or (holds is not None and holds.kind == Kind.NUMBERS)
            ):
                continue
            if sum(row[j].strip().casefold() == word for _, row in self._last.rows()) == 1:
                problem = f"{shown(cell)} in column {shown(column)}: the last row seems to sum up the others."
                remedy = f"--skip-lines {last[0]}- leaves it out; {leave_out(column)} takes it as a row."
                raise DataError(f"{self._feed.name}, line {last[0]}", problem, remedy)

    def result(self, kinds: dict[str, Holds]) -> Scan:
        """What was found, once every column was taken for what it is."""
        values = self._kept.result() if self._kept is not None and self._keep_rows is not None else None
        moments, held = self._moments, None
        if self._holds_out:
            moments, apart = moments[:-1], moments[-1]
            kept = None if values is None else self._held_kept.result()
            held = Apart(apart, self._held_sample or Sample.none(len(self._columns)), kept)
        texts = {column: tally.first_wrong[0][1] for column, tally in self._tallies.items() if tally.first_wrong}
        target = self._source.target
        used = [target, *(column for column, holds in self.kinds.items() if holds.used and column != target)]
        return Scan(
            file=self._feed.name,
            path=redacted(self._feed.address),
            sha256=self._feed.sha256,
            bytes=self._feed.size,
            format=self._feed.format(self._header.line, self._source.dialect),
            header=self._header.names,
            rows=self._rows,
            kinds=kinds,
            gaps={column: self._tallies[column].gaps for column in used},
            texts=texts,
            signs=self._signs,
            dropped=self._dropped,
            lines=tuple(self._lines),
            moments=merge_all(moments),
            columns=tuple(self._columns),
            sample=self._sample or Sample.none(len(self._columns)),
            values=values,
            held=held,
            folds=moments if self._parting is not None and self._parting.split.folds is not None else (),
            labels=tuple(self._tallies[target].labels.items()),
        )


def _turns() -> Iterator[_Turn]:
    """One for each block, which begin one after the other."""
    turn = _Turn.first()
    while True:
        yield turn
        turn = turn.next()


def _parted(columns: Sequence[Array], part: Array, counts: Array) -> tuple[Moments, ...]:
    """The moments of each part's rows: of columns and parts, all (n,), and how many rows each part has."""
    if len(counts) == 1:
        return (Moments.of(columns),)
    order = part.argsort(kind="stable")
    sorted_columns = [column[order] for column in columns]
    ends = counts.cumsum()
    return tuple(
        Moments.of([column[end - count : end] for column in sorted_columns])
        for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
    )
