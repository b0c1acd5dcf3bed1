"""The text of a CSV file as columns, and on which line of it something stands."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from gd.arrays import Array, at, flags, floats, mask, places, texts
from gd.cells import BLANKS, Days, days, numbers_of
from gd.dialect import Dialect, same_name
from gd.refusal import DataError, listed, shown
from gd.sniffer import reader
from gd.splitting import HELD_OUT, TRAINED_ON

__all__ = ["Array", "As", "Cells", "Header", "LeftOut", "Text", "check_named", "choose", "line_ends", "well_quoted"]

_PLAIN = Dialect(delimiter=",", quote='"')
_SAMPLE = 50  # rows that tell the columns worth reading as numbers from text; a wrong guess costs time and nothing else
_SHOWN = 3  # cells that are no numbers, with their lines
_KEPT = 50  # of those, and of numbers beside them, without
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_BLANK_LINE = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]+(?=[\r\n]|\Z)")


class As(NamedTuple):
    """As what the cells of a column are read."""

    numbers: bool = False
    days: bool = False
    dates: bool = False  # whether dates among text are counted
    levels: tuple[str, ...] = ()  # the category's
    distinct: int = 0  # texts that are told apart, and not more
    label: bool = False  # whether it is a target of two classes, whose first values are kept
    held: bool = False  # whether it says which rows are held out
    infinite: bool = False  # whether infinite numbers are taken as they are, and not refused


class Cells(NamedTuple):
    """What a column holds in some rows."""

    values: tuple[Array, ...] | None  # float64, (rows,) each, NaN where a cell is missing; None where some cells are other
    numbers: int
    gaps: int  # missing cells
    wrong: int  # cells that are neither
    first_wrong: tuple[tuple[int, str], ...] = ()  # lines and texts of the first
    samples: tuple[str, ...] = ()  # texts of more of them
    beside: tuple[str, ...] = ()  # some numbers of the same column
    days: int = 0  # of the wrong cells those that are dates
    zoned: int = 0  # of those the ones that tell their time zone
    no_days: tuple[tuple[int, str], ...] = ()  # lines and texts of the first that are no dates either
    first_zoned: tuple[int, str] | None = None  # line and text of the first that tells its time zone
    first_local: tuple[int, str] | None = None  # and of the first that does not
    levels: frozenset[str] | None = frozenset()  # distinct texts, where they are asked for; None where they are too many
    labels: tuple[
        tuple[int, str], ...
    ] = ()  # of a target of classes: lines and texts of its first distinct values, three at most


class LeftOut(BaseModel, frozen=True, extra="forbid"):
    """A column that was not used."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, each made unlike the others."""

    names: tuple[str, ...]
    line: int | None = None  # on which they stand
    twins: tuple[tuple[str, int, int], ...] = ()  # a name that stands twice, and its columns, counted from 1

    @classmethod
    def of(cls, cells: Sequence[str], line: int | None) -> Header:
        """From the cells of a row: trimmed and composed, one without a name named after its place."""
        names, twins, first = [], [], dict[str, int]()
        for place, cell in enumerate(cells, 1):
            name = same_name(cell) or f"column {place}"
            if name in first:
                twins.append((name, first[name], place))
                while name in first:
                    name += f" (column {place})"
            first[name] = place
            names.append(name)
        return cls(tuple(names), line, tuple(twins))

    def twin(self, name: str) -> tuple[int, int] | None:
        """Which two columns a name stands above, where there are two."""
        for same, one, other in self.twins:
            if name in {same, self.names[other - 1]}:
                return one, other
        return None

    def named(self, names: Sequence[str]) -> set[str]:
        """All columns above which one of these names stands."""
        doubled = {self.names[other - 1] for name, _, other in self.twins if name in names}
        return doubled | set(self.names).intersection(names)


class Text:
    """The text of some whole rows of a CSV file, and how to say on which line something stands.

    pyarrow reads; it knows no lines, takes 0x1F for 31 where it guesses types, and overlooks a quote that is never closed.
    So it is told which columns to try as numbers, quotes are checked, and Python's own reader is asked about lines.

    Args:
        file: its name, for errors.
        data: whole rows, in UTF-8.
        line: of the file, counted from 1, on which they begin.
        names: of the columns; none where the text begins with the header.
        dialect: with delimiter and quote.

    Raises:
        DataError: at a byte that no CSV holds.
    """

    def __init__(self, file: str, data: bytes, line: int = 1, names: Sequence[str] = (), dialect: Dialect = _PLAIN) -> None:
        self.file, self.data, self.line, self.names, self.dialect = file, data, line, list(names), dialect
        self.after: int | None = None  # the line of the header, where the text follows on it
        self._numbers = numbers_of(dialect)
        self._delimiter, self._quote = (dialect.delimiter or ",").encode(), (dialect.quote or "").encode()
        if (nul := data.find(b"\0")) >= 0:
            remedy = "Export the table again, or name its encoding with --encoding, such as utf-16-le."
            raise DataError(self._line_of(nul), "a NUL byte, which no CSV holds.", remedy)
        try:
            if not data.isascii():
                data.decode()
        except UnicodeDecodeError as error:
            remedy = "Save the file as UTF-8, or name its encoding with --encoding."
            raise DataError(self._line_of(error.start), "a byte that is not UTF-8.", remedy) from None
        self.quoted = bool(self._quote) and data.find(self._quote) >= 0

    def after_header(self) -> tuple[Header, Text]:
        """The header, which is the first row with anything in it, and the rows behind it; or all rows where there is none.

        Raises:
            DataError: if there is no row, or if the header is one of numbers.
        """
        found = next((record for record in self._records() if any(cell.strip(BLANKS) for cell in record[2])), None)
        if found is None:
            raise DataError(self.file, "every cell is empty.", "Export the table again.")
        first, last, cells = found
        if self.dialect.header == "none":
            header = Header.of([""] * len(cells), None)
            return header, Text(self.file, self.data, self.line, header.names, self.dialect)
        named = [cell for cell in cells if cell.strip(BLANKS)]
        numbers = [cell for cell in named if self._numbers.is_number(cell)]
        others = [cell for cell in named if not self._numbers.is_number(cell) and not self._numbers.is_missing(cell)]
        if self.dialect.header is None and numbers and not others:
            problem = f"numbers such as {shown(numbers[0])} where the names of the columns should be."
            remedy = f"--header none names them column 1, column 2 …, --header {first} takes the numbers as names."
            raise DataError(f"{self.file}, line {first}", problem, remedy)
        header = Header.of(cells, first)
        end = next(islice(re.finditer(rb"\r\n|\r|\n", self.data), last - self.line, None), None)
        rows = Text(self.file, self.data[end.end() :] if end else b"", last + 1, header.names, self.dialect)
        rows.after = last
        return header, rows

    def _records(self) -> Iterator[tuple[int, int, list[str]]]:
        """First line, last line and cells of everything but blank lines, by Python's own reader: slow, and strict.

        Raises:
            DataError: at a quote that is not closed, or not at the end of its cell.
        """
        records, line = self._reader(), self.line
        try:
            for cells in records:
                end = self.line + records.line_num
                if cells and (len(cells) > 1 or not cells[0] or cells[0].strip(BLANKS)):
                    yield line, end - 1, cells
                line = end
        except csv.Error as error:
            problem = "a quote is never closed." if "end of data" in str(error) else "text after a closing quote."
            remedy = "Put the cell in quotes, and write a quote within it twice."
            raise DataError(f"{self.file}, line {line}", problem, remedy) from None

    def _reader(self) -> Any:
        return reader(io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline=""), self.dialect)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins on, and its cells."""
        return ((line, cells) for line, _, cells in self._records())

    def _line_of(self, position: int) -> str:
        return f"{self.file}, line {self.line + line_ends(self.data[:position])}"

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not self.data or self.data.isspace() or next(self.rows(), None) is None

    def guess(self, wanted: Sequence[str], *, dates: bool = False) -> dict[str, As]:
        """For each wanted column what it looks like in the first rows; a wrong guess costs time and nothing else."""
        sample = [cells for _, cells in islice(self.rows(), _SAMPLE) if len(cells) == len(self.names)]
        order, guessed = {name: j for j, name in enumerate(self.names)}, {}
        for column in wanted:
            cells = [row[order[column]] for row in sample]
            held = [cell for cell in cells if not self._numbers.is_missing(cell)]
            numbers = all(map(self._numbers.is_number, held))
            guessed[column] = As(numbers=numbers, days=dates and not numbers and self._are_days(held))
        return guessed

    def _are_days(self, cells: Sequence[str]) -> bool:
        return len(days(texts(cells), self._numbers).wrong) == 0

    def parse(self, wanted: Mapping[str, As]) -> dict[str, Cells]:
        """The wanted columns.

        Args:
            wanted: names of columns, and as what each is to be read.

        Raises:
            DataError: at the first row with too few or too many cells, at a broken quote, and at an infinite number.
        """
        import pyarrow as pa  # noqa: PLC0415  (0.1 s, and only reading needs it)

        if len(self.names) == 1:
            self._empty_blank_lines()
        text = dict.fromkeys(wanted, pa.string())
        guessed = text | {column: pa.float64() for column, kind in wanted.items() if kind.numbers and self._numbers.plain}
        try:
            table = self._table(guessed)
        except pa.ArrowInvalid:  # a cell that is no number, a blank line that is not empty, or a ragged row
            self._empty_blank_lines()
            try:
                table = self._table(text)
            except pa.ArrowInvalid as error:
                raise self._ragged(str(error)) from None
        if self.quoted and not self._well_quoted() and sum(1 for _ in self.rows()) != table.num_rows:
            raise self._ragged("two readers count different rows")
        found = {column: self._cells(table.column(column), column, kind) for column, kind in wanted.items()}
        for column, kind in wanted.items():
            if kind.label:
                labels = self._labels(table.column(column), found[column], categories=bool(kind.levels))
                found[column] = found[column]._replace(labels=labels)
        return found

    def _table(self, types: Mapping[str, Any]) -> Any:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv as arrow  # noqa: PLC0415

        # a byte order mark that begins a block belongs to a cell; pyarrow would take it away
        data = codecs.BOM_UTF8 + self.data if self.data.startswith(codecs.BOM_UTF8) else self.data
        return arrow.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            arrow.ReadOptions(column_names=self.names, block_size=len(data) + 1, use_threads=False),
            arrow.ParseOptions(
                delimiter=self.dialect.delimiter or ",",
                quote_char=self.dialect.quote or False,
                newlines_in_values=self.quoted,
            ),
            arrow.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=list(self._numbers.marks),
                decimal_point=self.dialect.decimal,
            ),
        )

    def _empty_blank_lines(self) -> None:
        """Take the blanks from lines that hold nothing else, which pyarrow takes for a cell."""
        if self._delimiter == b" " or not _BLANK_LINE.search(self.data):
            return
        records = self._reader()
        blank, line = set(), 1
        with suppress(csv.Error):  # which is found again, and told
            for cells in records:
                if len(cells) == 1 and cells[0] and not cells[0].strip(BLANKS):
                    blank.add(line)
                line = records.line_num + 1
        kept: list[bytes] = []
        for number, text in enumerate(_LINE.findall(self.data), 1):
            end = text.lstrip(b" \t") if number in blank else text
            half = number in blank and end == b"\n" and bool(kept) and kept[-1].endswith(b"\r")
            kept.append(b"\r\n" if half else end)  # not the other half of the line end before it
        self.data = b"".join(kept)

    def _well_quoted(self) -> bool:
        text = np.frombuffer(self.data, np.uint8)
        return well_quoted(text, np.flatnonzero(text == self._quote[0]), self._delimiter + self._quote)

    def _ragged(self, reason: str) -> DataError:
        width, rows = len(self.names), self.rows()
        for line, cells in rows:
            if len(cells) != width:
                head = "first row" if self.dialect.header == "none" else "header"
                problem = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} where the {head} has {width}."
                following = [len(other) for _, other in islice(rows, _SAMPLE)]
                return DataError(f"{self.file}, line {line}", problem, self._mending(line, cells, following))
        return DataError(self.file, f"the rows cannot be told apart ({shown(reason)}).", "Check its quotes.")

    def _mending(self, line: int, cells: Sequence[str], following: Sequence[int]) -> str:
        """What to do about a row that is too short or too long, by the widths of those that follow."""
        begins = next(self.rows())[0] == line
        if cells[0].lstrip().startswith("#"):
            return "Lines that begin with # are skipped by --comment '#'."
        if begins and self.after is not None and following and set(following) == {len(cells)}:
            return f"All rows have {len(cells)}: --skip-lines {self.after} --header none reads them without names."
        if len(cells) == 1 and len(self.names) not in following:
            return f"Mend the row, or leave out all that follows with --skip-lines {line}-."
        if len(cells) == 1:
            return f"Mend the row, or skip it with --skip-lines {line}-{line}."
        return f"Quote cells that hold a {_named(self.dialect.delimiter or ',')}, or mend the row."

    def _cells(self, cells: Any, column: str, kind: As) -> Cells:
        """What a column of Arrow holds."""
        import pyarrow as pa  # noqa: PLC0415

        if not pa.types.is_string(cells.type):
            values = self._numbers.without_marks(floats(cells))
            gaps = int(np.count_nonzero(np.isnan(values)))
            plain = Cells((values,), len(values) - gaps, gaps, 0)
            return plain if kind.infinite else self._finite(values, column, plain)
        if kind.held:
            return self._held(cells, column)
        if kind.levels:
            return self._category(cells, column, kind)
        if kind.days:
            return self._days(cells, column)
        converted, wrong, missing = self._numbers.convert(cells)
        gaps = int(np.count_nonzero(missing))
        numbers = len(missing) - gaps - len(wrong)
        if converted is not None:
            plain = Cells((converted,), numbers, gaps, 0)
            return plain if kind.infinite else self._finite(converted, column, plain)
        found = Cells(None, numbers, gaps, len(wrong), *self._examples(cells, column, wrong, missing))
        if kind.distinct:
            found = found._replace(levels=_distinct(cells, missing, kind.distinct))
        return found._replace(**self._dates_among(cells, column)) if kind.dates else found

    def _days(self, cells: Any, column: str) -> Cells:
        """A column that is expected to hold dates."""
        found = days(cells, self._numbers)
        gaps = int(np.count_nonzero(found.missing))
        dates = len(found.missing) - gaps - len(found.wrong)
        said = Cells(None, 0, gaps, dates + len(found.wrong), days=dates)
        if len(found.wrong) == 0:
            return said._replace(values=(found.values,), **self._zones(column, found))
        return self._cells(cells, column, As(dates=True))._replace(values=None)

    def _dates_among(self, cells: Any, column: str) -> dict[str, Any]:
        found = days(cells, self._numbers)
        dates = int(np.count_nonzero(~np.isnan(found.values)))
        if dates == 0:
            return {}
        first = self._examples(cells, column, found.wrong, found.missing)[0]
        return {"days": dates, "no_days": first} | self._zones(column, found)

    def _zones(self, column: str, found: Days) -> dict[str, Any]:
        """How many dates tell their time zone, and the first that does and that does not."""
        there, zoned = ~np.isnan(found.values), int(np.count_nonzero(found.zoned))
        said: dict[str, Any] = {"zoned": zoned}
        for name, which in (("first_zoned", found.zoned), ("first_local", there & ~found.zoned)):
            if zoned and which.any():
                line, row = next(islice(self.rows(), int(np.argmax(which)), None))
                said[name] = line, row[self.names.index(column)]
        return said

    def _category(self, cells: Any, column: str, kind: As) -> Cells:
        """A column of 0 and 1 for each level of a category but the first."""
        from pyarrow import compute  # noqa: PLC0415

        trimmed = compute.utf8_trim(cells, BLANKS)
        missing = self._numbers.missing(trimmed)
        place = places(compute.index_in(trimmed, texts(kind.levels)))
        gaps = int(np.count_nonzero(missing))
        last = 2 if kind.label else len(kind.levels)  # a target is one column, also where this file knows one class only
        values = tuple(np.where(missing, np.nan, (place == j).astype(np.float64)) for j in range(1, last))
        return Cells(values, 0, gaps, len(missing) - gaps, levels=_distinct(cells, missing, kind.distinct))

    def _held(self, cells: Any, column: str) -> Cells:
        """A column that says which rows are held out, as 0 and 1.

        Raises:
            DataError: at the first cell that says neither.
        """
        from pyarrow import compute  # noqa: PLC0415

        said = compute.utf8_lower(compute.utf8_trim(cells, BLANKS))
        held = flags(compute.is_in(said, texts(HELD_OUT)))
        neither = np.flatnonzero(~(held | flags(compute.is_in(said, texts(TRAINED_ON)))))
        if len(neither):
            line, row = next(islice(self.rows(), int(neither[0]), None))
            where = f"{self.file}, line {line}, column {shown(column)}"
            problem = f"{shown(row[self.names.index(column)])} does not say whether the row is held out."
            raise DataError(where, problem, "Write 1 or 0, true or false, test or train.")
        return Cells((held.astype(np.float64),), len(held), 0, 0)

    def _labels(self, cells: Any, found: Cells, *, categories: bool) -> tuple[tuple[int, str], ...]:
        """Lines and texts of the first distinct values of a target, three at most; numbers are written in one way."""
        from pyarrow import compute  # noqa: PLC0415

        first: dict[int, str] = {}
        if found.values is not None and not categories:
            (values,) = found.values
            there = ~np.isnan(values)
            if there.any():
                low, high = values[there].min(), values[there].max()
                for which in (values == low, values == high, there & (values != low) & (values != high)):
                    if which.any():
                        row = int(np.argmax(which))
                        first[row] = _plainly(float(values[row]))
            total = len(values)
        else:
            trimmed = compute.utf8_trim(cells, BLANKS)
            held = trimmed.filter(mask(~self._numbers.missing(trimmed)))
            for label in compute.unique(held).slice(0, 3):
                first[compute.index(trimmed, label).as_py()] = label.as_py()
            total = len(trimmed)
        rows = sorted(first)
        return tuple(zip(self.lines(np.array(rows, np.int64), total), [first[row] for row in rows], strict=True))

    def _examples(
        self, cells: Any, column: str, wrong: Array, missing: Array
    ) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...], tuple[str, ...]]:
        """Lines and texts of the first wrong cells, texts of more, and of some numbers beside them."""
        lines, rows = [], enumerate(self.rows())
        for place in wrong[:_SHOWN].tolist():
            line, row = next(item for j, item in rows if j == place)
            lines.append((line, row[self.names.index(column)]))
        right = np.ones(len(missing), bool)
        right[wrong] = False
        beside = np.flatnonzero(right & ~missing)[:_KEPT]
        return tuple(lines), tuple(cells.take(at(wrong[:_KEPT])).to_pylist()), tuple(cells.take(at(beside)).to_pylist())

    def _finite(self, values: Array, column: str, cells: Cells) -> Cells:
        if len(infinite := np.flatnonzero(np.isinf(values))):
            line, row = next(islice(self.rows(), int(infinite[0]), None))
            where = f"{self.file}, line {line}, column {shown(column)}"
            problem = f"{shown(row[self.names.index(column)])} is infinite in float64."
            raise DataError(where, problem, "Write a finite number, or NA for a missing value.")
        return cells

    def rounded(self, column: str) -> list[int]:
        """Rows whose cell is an integer that float64 does not hold: it is read as the nearest that it does."""
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import compute  # noqa: PLC0415

        cells = self._table({column: pa.string()}).column(column)
        long = flags(compute.match_substring_regex(cells, r"[0-9](?:[^0-9eE]?[0-9]){15}"))
        found = []
        for row in np.flatnonzero(long).tolist():
            written = self._numbers.written(cells[row].as_py())
            if written is not None and re.fullmatch(r"[+-]?[0-9]+", written) and int(written) != int(float(written)):
                found.append(row)
        return found

    def lines(self, rows: Array, total: int) -> list[int]:
        """Lines of the file, counted from 1, on which the given rows begin (`rows` ascending, of `total`)."""
        if len(rows) == 0:
            return []
        if self._a_row_a_line(total):
            return [int(row) + self.line for row in rows]
        wanted = set(rows.tolist())
        return [line for row, (line, _) in enumerate(islice(self.rows(), int(rows[-1]) + 1)) if row in wanted]

    def all_lines(self, total: int) -> Array:
        """Lines of the file on which its rows begin, (total,).

        Raises:
            DataError: if Python's reader counts other rows.
        """
        if self._a_row_a_line(total):
            return np.arange(self.line, self.line + total)
        lines = np.array([line for line, _ in self.rows()], np.int64)
        if len(lines) != total:
            raise self._ragged("two readers count different rows")
        return lines

    def written(self, columns: Sequence[str]) -> list[Any]:
        """The cells of some columns as they are written, an Arrow column of text each; once `parse` has found no fault."""
        import pyarrow as pa  # noqa: PLC0415

        table = self._table(dict.fromkeys(columns, pa.string()))
        return [table.column(column) for column in columns]

    def _a_row_a_line(self, total: int) -> bool:
        lines = line_ends(self.data) + (not self.data.endswith((b"\r", b"\n")))
        return lines == total and not self.quoted

    def last_row(self) -> tuple[int, list[str]] | None:
        """The last row, and its line."""
        text = self.data.rstrip(b"\r\n \t")
        if self.quoted:
            return max(self.rows(), default=None, key=lambda row: row[0])
        start = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        return max(
            Text(self.file, text[start:], self.line + line_ends(text[:start]), self.names, self.dialect).rows(), default=None
        )


def _distinct(cells: Any, missing: Array, most: int) -> frozenset[str] | None:
    """The texts of the cells that are not missing, without blanks around them; None where there are more than that."""
    from pyarrow import compute  # noqa: PLC0415

    found = compute.unique(compute.utf8_trim(cells, BLANKS).filter(mask(~missing)))
    return frozenset(found.to_pylist()) if len(found) <= most else None


def line_ends(data: bytes) -> int:
    """How many lines end in a text, be it by LF, CRLF or CR."""
    text = np.frombuffer(data, np.uint8)
    ends = int(np.count_nonzero(text == ord("\n")))
    if data.find(b"\r") >= 0:
        ends += data.count(b"\r") - data.count(b"\r\n")
    return ends


def well_quoted(text: Array, quotes: Array, marks: bytes = b',"') -> bool:
    """Whether every quote opens where a cell begins or closes where it ends: then no reader can take it differently.

    Args:
        text: bytes, (n,).
        quotes: positions of the quotes in it.
        marks: delimiter and quote.
    """
    if len(quotes) % 2:
        return False
    beside = np.frombuffer(marks + b"\r\n", np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before, after = text[opening - 1], text[np.minimum(closing + 1, len(text) - 1)]
    return bool((np.isin(before, beside) | (opening == 0)).all() and np.isin(after, beside).all())


def check_named(file: str, header: Header, wanted: Iterable[tuple[str, str]]) -> None:
    """Check that columns are there.

    Args:
        file: its name, for errors.
        header: of it.
        wanted: names of columns, each with the role that it is wanted in.

    Raises:
        DataError: naming the first that is not there, or stands there twice.
    """
    names = header.names
    known, folded = set(names), {name.casefold(): name for name in names}
    for name, role in wanted:
        if (twins := header.twin(name)) is not None and role != "to leave out":
            problem = f"two columns are named {shown(name)} (columns {twins[0]} and {twins[1]})."
            raise DataError(f"{file}, line {header.line}", problem, "Rename one.")
        if name in known:
            continue
        near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
        remedy = (
            f"The nearest {'name is' if len(near) == 1 else 'names are'} {listed([folded[one] for one in near])}."
            if near
            else f"Its columns are {listed(names)}."
        )
        if len(names) == 1 and re.search(r"\W", names[0]):
            word = "--delimiter blanks" if re.search(r"\s", names[0]) else "--delimiter"
            remedy = f"The header is one column, {shown(names[0])}: say by what its cells are separated with {word}."
        raise DataError(file, f"no column {shown(name)} {role}.", remedy)


def choose(
    file: str,
    header: Header,
    target: str,
    features: Sequence[str] | None,
    leave_out: Sequence[str],
    held_by: str | None = None,
) -> list[str]:
    """Check the named columns against the header and return the features to look at, in order.

    Args:
        file: its name, for errors.
        header: names of the columns.
        target: the column to predict.
        features: columns to predict from; all others when None.
        leave_out: columns that are not used.
        held_by: the column that says which rows are held out, if one does.

    Raises:
        DataError: if a column is not there, stands twice, or has two roles.
    """
    names = header.names
    roles = [(target, "for the target"), *((feature, "for the feature") for feature in features or ())]
    roles += [(column, "to leave out") for column in leave_out]
    roles += [(held_by, "to hold rows out by")] if held_by is not None else []
    check_named(file, header, roles)
    if held_by is not None and held_by in {target, *(features or ())}:
        role = "the target" if held_by == target else "a feature"
        raise DataError(file, f"{shown(held_by)} is both {role} and says which rows are held out.", "Name another column.")
    left = header.named(leave_out) | ({held_by} if held_by is not None else set())
    if target in left:
        raise DataError(file, f"{shown(target)} is both the target and left out.", "Take it out of the columns to leave out.")
    if features is None:
        return [name for name in names if name != target and name not in left]
    if not features:
        raise DataError(file, "an empty list of features.", "Name at least one, or none to use all numeric columns.")
    if target in features:
        raise DataError(file, f"{shown(target)} is both the target and a feature.", "Take it out of the features.")
    for j, feature in enumerate(features):
        if feature in features[:j]:
            raise DataError(file, f"the feature {shown(feature)} is named twice.", "Name it once.")
    return [feature for feature in features if feature not in left]


def _plainly(value: float) -> str:
    """A number in the one way in which labels are told apart: 1 and 1.0 are the same, and so are 0 and -0."""
    return f"{value + 0.0:.0f}" if value.is_integer() and abs(value) < 2.0**53 else repr(value)


def _named(delimiter: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}.get(delimiter, shown(delimiter))
