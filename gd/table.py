"""The text of a CSV file as columns, and on which line of it something stands."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

__all__ = ["MISSING", "Array", "DataError", "LeftOut", "Text", "choose", "shown"]

Array = NDArray[Any]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""Cells that count as missing, exactly as written but for spaces around them; any other spelling of NaN does too."""

_SAMPLE = 50  # rows that tell the columns worth reading as numbers from text; a wrong guess costs time and nothing else
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))$"
_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"


class DataError(ValueError):
    """A CSV that cannot be used, said in one or two lines: where, what, and what to do.

    Args:
        where: file, and line and column as far as they are known.
        problem: what is wrong there, a sentence.
        remedy: what to do about it, a sentence, or nothing.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem} {self.remedy}".rstrip()


class LeftOut(BaseModel, frozen=True, extra="forbid"):
    """A column that was not used."""

    column: str
    reason: str


class Text:
    """The bytes of a CSV file, the names in its header, and how to say on which line something stands.

    pyarrow reads; it knows no lines, takes 0x1F for 31 where it guesses types, and overlooks a quote that is never closed.
    So it is told which columns to try as numbers, quotes are checked, and Python's own reader is asked about lines.
    """

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.data = data.removeprefix(b"\xef\xbb\xbf")
        if not self.data or self.data.isspace():
            raise DataError(file, "the file is empty.", "Export the table again.")
        if self.data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(file, "the file is UTF-16.", "Save it as UTF-8.")
        if (nul := self.data.find(b"\0")) >= 0:
            raise DataError(self._line_of(nul), "a NUL byte, which no CSV holds.", "Export the table again.")
        try:
            if not self.data.isascii():
                self.data.decode()
        except UnicodeDecodeError as error:
            raise DataError(self._line_of(error.start), "a byte that is not UTF-8.", "Save the file as UTF-8.") from None
        header = next((found for found in self._records() if any(cell.strip() for cell in found[2])), None)
        if header is None:
            raise DataError(file, "every cell is empty.", "Export the table again.")
        line, self.header_end, cells = header
        self.names = [cell.strip() or f"column {j}" for j, cell in enumerate(cells, 1)]
        if (repeated := _repeated(self.names)) is not None:
            name, (first, second) = shown(self.names[repeated[1]]), repeated
            problem = f"two columns are named {name} (columns {first + 1} and {second + 1})."
            raise DataError(f"{file}, line {line}", problem, "Rename one.")
        ends = re.finditer(rb"\r\n|\r|\n", self.data)
        end = next(islice(ends, self.header_end - 1, None), None)
        self.body = end.end() if end else len(self.data)  # where the rows begin
        self.quoted = self.data.find(b'"', self.body) >= 0

    def _records(self) -> Iterator[tuple[int, int, list[str]]]:
        """First line, last line and cells of everything but empty lines, by Python's own reader: slow, and strict.

        Raises:
            DataError: at a quote that is not closed, or not at the end of its cell.
        """
        csv.field_size_limit(2**31 - 1)  # the default refuses text that pyarrow reads
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline=""), strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, reader.line_num, cells
                line = reader.line_num + 1
        except csv.Error as error:
            problem = "a quote is never closed." if "end of data" in str(error) else "text after a closing quote."
            remedy = "Put the cell in quotes, and write a quote within it twice."
            raise DataError(f"{self.file}, line {line}", problem, remedy) from None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins on, and its cells."""
        return ((line, cells) for line, _, cells in self._records() if line > self.header_end)

    def _line_ends(self, start: int, stop: int) -> int:
        ends = self.data.count(b"\n", start, stop)
        if self.data.find(b"\r", start, stop) >= 0:  # to find none takes a tenth of the time of counting none
            ends += self.data.count(b"\r", start, stop) - self.data.count(b"\r\n", start, stop)
        return ends

    def _line_of(self, position: int) -> str:
        return f"{self.file}, line {self._line_ends(0, position) + 1}"

    def parse(self, wanted: Sequence[str]) -> Any:
        """The wanted columns as a pyarrow table: float64 where all cells are numbers or missing, otherwise as written.

        Raises:
            DataError: if there is no row, at the first row with too few or too many cells, and at a broken quote.
        """
        import pyarrow as pa  # noqa: PLC0415  (0.1 s, and only reading needs it)
        from pyarrow import csv as arrow  # noqa: PLC0415

        def read(types: dict[str, Any], block_size: int | None) -> Any:
            return arrow.read_csv(
                pa.BufferReader(pa.py_buffer(self.data).slice(self.body)),
                arrow.ReadOptions(column_names=self.names, block_size=block_size),
                arrow.ParseOptions(newlines_in_values=self.quoted),
                arrow.ConvertOptions(column_types=types, include_columns=list(wanted), null_values=list(MISSING)),
            )

        sample = [cells for _, cells in islice(self._rows(), _SAMPLE) if len(cells) == len(self.names)]
        if not sample and next(self._rows(), None) is None:
            raise DataError(self.file, "a header and no rows.", "Export the table again with its data.")
        at = {name: j for j, name in enumerate(self.names)}
        number = re.compile(_NUMBER)
        guessed = {
            column: pa.float64()
            if all((cell := cells[at[column]].strip()) in MISSING or number.match(cell) for cells in sample)
            else pa.string()
            for column in wanted
        }
        written = dict.fromkeys(wanted, pa.string())
        # what may fail: a cell that is no number, then a row longer than a block (1 MB), then only a ragged row
        for types, block_size in ((guessed, None), (written, None), (written, min(len(self.data), 2**31 - 1))):
            try:
                table = read(types, block_size)
                break
            except pa.ArrowInvalid as error:
                reason = str(error)
        else:
            raise self._ragged(reason)
        if self.quoted and not self._well_quoted() and sum(1 for _ in self._rows()) != table.num_rows:
            raise self._ragged("two readers count different rows")
        return table

    def _well_quoted(self) -> bool:
        """Whether every quote opens where a cell begins or closes where it ends: then no reader can take it differently."""
        text = np.frombuffer(self.data, np.uint8)
        quotes = np.flatnonzero(text[self.body :] == ord('"')) + self.body
        beside = np.frombuffer(b',\r\n"', np.uint8)
        before, after = text[quotes[::2] - 1], text[np.minimum(quotes[1::2] + 1, len(text) - 1)]
        return len(quotes) % 2 == 0 and bool(np.isin(before, beside).all() and np.isin(after, beside).all())

    def _ragged(self, reason: str) -> DataError:
        width = len(self.names)
        for line, cells in self._rows():
            if len(cells) != width:
                found = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {width}."
                return DataError(f"{self.file}, line {line}", found, "Quote cells that hold a comma, or mend the row.")
        return DataError(self.file, f"the rows cannot be told apart ({shown(reason)}).", "Check its quotes.")

    def numbers(self, table: Any, column: str, named: bool) -> Array | LeftOut:
        """One column as float64, (rows,), NaN where a cell is missing; or why it is left out, unless it was named.

        Raises:
            DataError: at the first cell of a named column that is no number, and at one that is infinite; also where most
                cells are numbers and some are not, since leaving the column out would hide a mistake.
        """
        import pyarrow as pa  # noqa: PLC0415

        cells = table.column(column)
        if pa.types.is_string(cells.type):
            values, wrong, share = _converted(cells)
            if len(wrong):
                if not named and share <= 0.5:
                    first = cells[int(wrong[0])].as_py().strip()
                    return LeftOut(column=column, reason="dates or times" if re.match(_DATE_OR_TIME, first) else "text")
                count = "" if len(wrong) == 1 else f" (the first of {len(wrong):,} such cells)"
                remedy = "Mend it, or write NA for a missing value; a feature can be left out with --features."
                raise self._refused(column, int(wrong[0]), f"is not a number{count}.", remedy)
        else:
            values = cells.to_numpy()
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            remedy = "Write a finite number, or NA for a missing value."
            raise self._refused(column, int(infinite[0]), "is infinite in float64.", remedy)
        if np.isnan(values[0]) and np.isnan(values).all():
            if named:
                raise DataError(self.file, f"column {shown(column)} holds no value.", "Fill it, or name other columns.")
            return LeftOut(column=column, reason="no value in any row")
        return np.asarray(values)

    def _refused(self, column: str, row: int, problem: str, remedy: str) -> DataError:
        line, cells = next(islice(self._rows(), row, None))
        cell = cells[self.names.index(column)]
        return DataError(f"{self.file}, line {line}, column {shown(column)}", f"{shown(cell)} {problem}", remedy)

    def lines(self, rows: Array, total: int) -> list[int]:
        """Lines of the file, counted from 1, on which the given rows of the table begin (`rows` ascending)."""
        if len(rows) == 0:
            return []
        lines = self._line_ends(self.body, len(self.data)) + (not self.data.endswith((b"\r", b"\n")))
        if lines == total and not self.quoted:  # a row on every line
            return [int(row) + self.header_end + 1 for row in rows]
        wanted = set(rows.tolist())
        return [line for row, (line, _) in enumerate(islice(self._rows(), int(rows[-1]) + 1)) if row in wanted]


def _converted(cells: Any) -> tuple[Array, Array, float]:
    """Text as float64, (rows,), which rows are no numbers, (wrong,), and the share of numbers among what is not missing."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    trimmed = compute.ascii_trim_whitespace(cells)
    missing = compute.is_in(trimmed, pa.array(MISSING))
    try:
        values = compute.cast(compute.if_else(missing, None, trimmed), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        gaps = missing.to_numpy()
        right = compute.match_substring_regex(trimmed, _NUMBER).to_numpy() & ~gaps
        wrong = np.flatnonzero(~(right | gaps))
        if len(wrong):
            return np.empty(0), wrong, float(right.sum() / (len(right) - gaps.sum()))
        values = np.array([np.nan if gap else float(cell) for gap, cell in zip(gaps, trimmed.to_pylist(), strict=True)])
    return values, np.empty(0, np.intp), 1.0


def choose(file: str, names: list[str], target: str, features: Sequence[str] | None) -> list[str]:
    """Check the named columns against the header and return the features to look at, in order."""
    known, folded = set(names), {name.casefold(): name for name in names}
    for wanted, role in [(target, "target"), *((feature, "feature") for feature in features or ())]:
        if wanted in known:
            continue
        near = difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.5)
        remedy = (
            f"The nearest {'name is' if len(near) == 1 else 'names are'} {_listed([folded[name] for name in near])}."
            if near
            else f"Its columns are {_listed(names)}."
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:8])) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def shown(text: str) -> str:
    """A cell or a name on one line of an error."""
    quoted = repr(text[:100])
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}…{quoted[0]}"
