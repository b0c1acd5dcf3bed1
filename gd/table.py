"""The text of a CSV file as columns, and on which line of it something stands."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from gd.dialect import MISSING
from gd.refusal import DataError, listed, shown

__all__ = ["Array", "Cells", "LeftOut", "Text", "choose", "line_ends", "well_quoted"]

Array = NDArray[Any]

_SAMPLE = 50  # rows that tell the columns worth reading as numbers from text; a wrong guess costs time and nothing else
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))$"


class Cells(NamedTuple):
    """What a column holds in some rows."""

    values: Array | None  # float64, (rows,), NaN where a cell is missing; None where some cells are no numbers
    numbers: int
    gaps: int  # missing cells
    wrong: int  # cells that are neither
    first_wrong: tuple[int, str] | None  # its line and text


class LeftOut(BaseModel, frozen=True, extra="forbid"):
    """A column that was not used."""

    column: str
    reason: str


class Text:
    """The text of some whole rows of a CSV file, and how to say on which line something stands.

    pyarrow reads; it knows no lines, takes 0x1F for 31 where it guesses types, and overlooks a quote that is never closed.
    So it is told which columns to try as numbers, quotes are checked, and Python's own reader is asked about lines.

    Args:
        file: its name, for errors.
        data: whole rows, in UTF-8.
        line: of the file, counted from 1, on which they begin.
        names: of the columns; none where the text begins with the header.

    Raises:
        DataError: at a byte that no CSV holds.
    """

    def __init__(self, file: str, data: bytes, line: int = 1, names: Sequence[str] = ()) -> None:
        self.file, self.data, self.line, self.names = file, data, line, list(names)
        if (nul := data.find(b"\0")) >= 0:
            raise DataError(self._line_of(nul), "a NUL byte, which no CSV holds.", "Export the table again.")
        try:
            if not data.isascii():
                data.decode()
        except UnicodeDecodeError as error:
            raise DataError(self._line_of(error.start), "a byte that is not UTF-8.", "Save the file as UTF-8.") from None
        self.quoted = data.find(b'"') >= 0

    def after_header(self) -> Text:
        """The rows behind the header, which is the first row with anything in it; its names are theirs.

        Raises:
            DataError: if there is none, or if two columns have one name.
        """
        found = next((record for record in self._records() if any(cell.strip() for cell in record[2])), None)
        if found is None:
            raise DataError(self.file, "every cell is empty.", "Export the table again.")
        first, last, cells = found
        names = [cell.strip() or f"column {j}" for j, cell in enumerate(cells, 1)]
        if (repeated := _repeated(names)) is not None:
            name, (one, other) = shown(names[repeated[1]]), repeated
            problem = f"two columns are named {name} (columns {one + 1} and {other + 1})."
            raise DataError(f"{self.file}, line {first}", problem, "Rename one.")
        end = next(islice(re.finditer(rb"\r\n|\r|\n", self.data), last - self.line, None), None)
        return Text(self.file, self.data[end.end() :] if end else b"", last + 1, names)

    def _records(self) -> Iterator[tuple[int, int, list[str]]]:
        """First line, last line and cells of everything but empty lines, by Python's own reader: slow, and strict.

        Raises:
            DataError: at a quote that is not closed, or not at the end of its cell.
        """
        csv.field_size_limit(2**31 - 1)  # the default refuses text that pyarrow reads
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline=""), strict=True)
        line = self.line
        try:
            for cells in reader:
                end = self.line + reader.line_num
                if cells:
                    yield line, end - 1, cells
                line = end
        except csv.Error as error:
            problem = "a quote is never closed." if "end of data" in str(error) else "text after a closing quote."
            remedy = "Put the cell in quotes, and write a quote within it twice."
            raise DataError(f"{self.file}, line {line}", problem, remedy) from None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins on, and its cells."""
        return ((line, cells) for line, _, cells in self._records())

    def _line_of(self, position: int) -> str:
        return f"{self.file}, line {self.line + line_ends(self.data[:position])}"

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not self.data or self.data.isspace() or next(self._rows(), None) is None

    def guess(self, wanted: Sequence[str]) -> dict[str, bool]:
        """For each wanted column whether it looks like numbers in the first rows; a wrong guess costs time and nothing else."""
        sample = [cells for _, cells in islice(self._rows(), _SAMPLE) if len(cells) == len(self.names)]
        at = {name: j for j, name in enumerate(self.names)}
        number = re.compile(_NUMBER)
        return {
            column: all((cell := cells[at[column]].strip()) in MISSING or number.match(cell) for cells in sample)
            for column in wanted
        }

    def parse(self, numeric: Mapping[str, bool]) -> dict[str, Cells]:
        """The wanted columns.

        Args:
            numeric: names of the wanted columns, and whether each is expected to hold numbers.

        Raises:
            DataError: at the first row with too few or too many cells, at a broken quote, and at an infinite number.
        """
        import pyarrow as pa  # noqa: PLC0415  (0.1 s, and only reading needs it)
        from pyarrow import csv as arrow  # noqa: PLC0415

        guessed = {column: pa.float64() if number else pa.string() for column, number in numeric.items()}
        written = dict.fromkeys(numeric, pa.string())
        for types in (guessed, written):  # what may fail: a cell that is no number, then only a ragged row
            try:
                table = arrow.read_csv(
                    pa.BufferReader(pa.py_buffer(self.data)),
                    arrow.ReadOptions(column_names=self.names, block_size=len(self.data) + 1, use_threads=False),
                    arrow.ParseOptions(newlines_in_values=self.quoted),
                    arrow.ConvertOptions(column_types=types, include_columns=list(numeric), null_values=list(MISSING)),
                )
                break
            except pa.ArrowInvalid as error:
                reason = str(error)
        else:
            raise self._ragged(reason)
        if self.quoted and not self._well_quoted() and sum(1 for _ in self._rows()) != table.num_rows:
            raise self._ragged("two readers count different rows")
        return {column: self._cells(table, column) for column in numeric}

    def _well_quoted(self) -> bool:
        text = np.frombuffer(self.data, np.uint8)
        return well_quoted(text, np.flatnonzero(text == ord('"')))

    def _ragged(self, reason: str) -> DataError:
        width = len(self.names)
        for line, cells in self._rows():
            if len(cells) != width:
                found = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {width}."
                return DataError(f"{self.file}, line {line}", found, "Quote cells that hold a comma, or mend the row.")
        return DataError(self.file, f"the rows cannot be told apart ({shown(reason)}).", "Check its quotes.")

    def _cells(self, table: Any, column: str) -> Cells:
        import pyarrow as pa  # noqa: PLC0415

        cells = table.column(column)
        if not pa.types.is_string(cells.type):
            values = _floats(cells)
        else:
            values, wrong, numbers, gaps = _converted(cells)
            if len(wrong):
                line, row = next(islice(self._rows(), int(wrong[0]), None))
                return Cells(None, numbers, gaps, len(wrong), (line, row[self.names.index(column)]))
        gaps = int(np.count_nonzero(np.isnan(values)))
        if len(infinite := np.flatnonzero(np.isinf(values))):
            line, row = next(islice(self._rows(), int(infinite[0]), None))
            where = f"{self.file}, line {line}, column {shown(column)}"
            problem = f"{shown(row[self.names.index(column)])} is infinite in float64."
            raise DataError(where, problem, "Write a finite number, or NA for a missing value.")
        return Cells(values, len(values) - gaps, gaps, 0, None)

    def lines(self, rows: Array, total: int) -> list[int]:
        """Lines of the file, counted from 1, on which the given rows begin (`rows` ascending, of `total`)."""
        if len(rows) == 0:
            return []
        lines = line_ends(self.data) + (not self.data.endswith((b"\r", b"\n")))
        if lines == total and not self.quoted:  # a row on every line
            return [int(row) + self.line for row in rows]
        wanted = set(rows.tolist())
        return [line for row, (line, _) in enumerate(islice(self._rows(), int(rows[-1]) + 1)) if row in wanted]


def line_ends(data: bytes) -> int:
    """How many lines end in a text, be it by LF, CRLF or CR."""
    text = np.frombuffer(data, np.uint8)
    ends = int(np.count_nonzero(text == ord("\n")))
    if data.find(b"\r") >= 0:
        ends += data.count(b"\r") - data.count(b"\r\n")
    return ends


def well_quoted(text: Array, quotes: Array) -> bool:
    """Whether every quote opens where a cell begins or closes where it ends: then no reader can take it differently.

    Args:
        text: bytes, (n,).
        quotes: positions of the quotes in it.
    """
    if len(quotes) % 2:
        return False
    beside = np.frombuffer(b',\r\n"', np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before, after = text[opening - 1], text[np.minimum(closing + 1, len(text) - 1)]
    return bool((np.isin(before, beside) | (opening == 0)).all() and np.isin(after, beside).all())


def _floats(cells: Any) -> Array:
    """A float64 column without a copy, (rows,), NaN where a cell is missing."""
    column = cells.combine_chunks() if cells.num_chunks != 1 else cells.chunk(0)
    if column.null_count:
        column = column.fill_null(float("nan"))
    values = np.frombuffer(column.buffers()[1], np.float64)  # to_numpy() would import pandas where it is installed
    return values[column.offset : column.offset + len(column)]


def _converted(cells: Any) -> tuple[Array, Array, int, int]:
    """Text as float64, (rows,), which rows are no numbers, (wrong,), and how many are numbers, and missing."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    trimmed = compute.ascii_trim_whitespace(cells)
    missing = compute.is_in(trimmed, pa.array(MISSING))
    try:
        values = _floats(compute.cast(compute.if_else(missing, None, trimmed), pa.float64()))
    except pa.ArrowInvalid:
        gaps = missing.to_numpy()
        right = compute.match_substring_regex(trimmed, _NUMBER).to_numpy() & ~gaps
        wrong = np.flatnonzero(~(right | gaps))
        if len(wrong):
            return np.empty(0), wrong, int(right.sum()), int(gaps.sum())
        values = np.array([np.nan if gap else float(cell) for gap, cell in zip(gaps, trimmed.to_pylist(), strict=True)])
    return values, np.empty(0, np.intp), len(values), 0


def choose(file: str, names: list[str], target: str, features: Sequence[str] | None) -> list[str]:
    """Check the named columns against the header and return the features to look at, in order."""
    known, folded = set(names), {name.casefold(): name for name in names}
    for wanted, role in [(target, "target"), *((feature, "feature") for feature in features or ())]:
        if wanted in known:
            continue
        near = difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.5)
        remedy = (
            f"The nearest {'name is' if len(near) == 1 else 'names are'} {listed([folded[name] for name in near])}."
            if near
            else f"Its columns are {listed(names)}."
        )
        if len(names) == 1 and re.search(r"[;\t|]", names[0]):
            remedy = f"The header is one column, {shown(names[0])}: cells must be separated by commas."
        raise DataError(file, f"no column {shown(wanted)} for the {role}.", remedy)
    if features is None:
        return [name for name in names if name != target]
    if not features:
        raise DataError(file, "an empty list of features.", "Name at least one, or none to use all numeric columns.")
    if target in features:
        raise DataError(file, f"{shown(target)} is both the target and a feature.", "Take it out of the features.")
    if (repeated := _repeated(features)) is not None:
        raise DataError(file, f"the feature {shown(features[repeated[1]])} is named twice.", "Name it once.")
    return list(features)


def _repeated(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first name that stands twice, if any does."""
    first: dict[str, int] = {}
    for j, name in enumerate(names):
        if first.setdefault(name, j) != j:
            return first[name], j
    return None
