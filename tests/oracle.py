"""A second reader of CSV files: slow, strict, and without a line of gd's; what it makes of a file gd must make of it too."""

from __future__ import annotations

import csv
import gzip
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pyarrow as pa

from gd.data import Dataset
from gd.dialect import MISSING, Dialect
from gd.refusal import DataError

__all__ = ["Refused", "Table", "decoded", "disagreement", "ill_said", "must_be_read", "number", "parse", "unpacked"]

BLANKS = " \t\r\n"
SPACES = " \u00a0\u202f"
FOOTERS = {"total", "sum", "average", "mean", "subtotal", "grand total"}
_TURNS = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"  # the direction of text
_MARKS = (  # the longer first: UTF-32 begins as UTF-16 does
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


class Refused(Exception):  # noqa: N818  (a verdict)
    """A file that has no one right reading."""


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a file."""

    header_line: int | None
    names: list[str]
    rows: list[tuple[int, list[str]]]  # the line that each begins on, and its cells


def unpacked(data: bytes) -> bytes:
    """The bytes before they were compressed.

    Raises:
        Refused: if the compression is broken.
    """
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()  # type: ignore[no-any-return]
    except (EOFError, OSError, zlib.error) as error:
        raise Refused(str(error)) from None
    return data


def decoded(data: bytes, encoding: str | None = None) -> str:
    """Text of some encoding; a byte order mark tells it where nothing is said.

    Bytes that are not UTF-8 become surrogates: they may stand in lines that are skipped, as may a NUL.

    Raises:
        Refused: at a byte that another encoding does not have.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark) and (encoding is None or marked.startswith(encoding.removesuffix("-sig"))):
            data, encoding = data[len(mark) :], marked
            break
    try:
        return data.decode(encoding or "utf-8", "surrogateescape" if encoding in {None, "utf-8"} else "strict")
    except UnicodeError as error:
        raise Refused(str(error)) from None


def parse(text: str, dialect: Dialect) -> Table:
    """A table of rows that are all as wide as the header.

    Args:
        text: the whole file.
        dialect: with delimiter and quote.

    Raises:
        Refused: where Python's reader does, at a ragged row, and where there is no header.
    """
    rows = list(_records(text, dialect))
    if faulty := next((line for line, cells in rows if re.search("[\0\udc80-\udcff]", "".join(cells))), None):
        raise Refused(f"line {faulty}: a NUL, or a byte that is not UTF-8")
    header, names = None, [f"column {j}" for j in range(1, len(rows[0][1]) + 1)] if rows else []
    if dialect.header != "none":
        while rows and not any(cell.strip() for cell in rows[0][1]):
            del rows[0]
        if not rows:
            raise Refused("no header")
        header, cells = rows.pop(0)
        names = [unicodedata.normalize("NFC", cell).strip() or f"column {j}" for j, cell in enumerate(cells, 1)]
    for line, cells in rows:
        if len(cells) != len(names):
            raise Refused(f"line {line}: {len(cells)} cells")
    return Table(header, names, rows)


def _records(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    blank = BLANKS.replace(dialect.delimiter or ",", "")
    skipped = _skipped(dialect)
    at, begun = 0, 0  # lines taken, and the line that the record began on; 0: before it

    def take() -> Iterator[str]:
        nonlocal at, begun
        while at < len(lines):
            line, at = lines[at], at + 1
            if any(first <= at <= last for first, last in skipped):
                line = line[len(line.rstrip("\r\n")) :]
            if not begun:
                if not line.strip(blank) or (dialect.comment and line.lstrip(" \t").startswith(dialect.comment)):
                    continue
                begun = at
            yield line

    csv.field_size_limit(2**31 - 1)
    source = take()
    if dialect.quote:
        reader = csv.reader(source, delimiter=dialect.delimiter or ",", quotechar=dialect.quote, strict=True)
    else:
        reader = csv.reader(source, delimiter=dialect.delimiter or ",", quoting=csv.QUOTE_NONE, strict=True)
    try:
        for cells in reader:
            yield begun, cells
            begun = 0
    except csv.Error as error:
        raise Refused(f"line {begun}: {error}") from None


def _skipped(dialect: Dialect) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    if isinstance(dialect.header, int):
        found.append((1, dialect.header - 1))
    for item in (dialect.skip_lines or "0").split(","):
        first, dash, last = item.strip().partition("-")
        found.append((int(first), float(last or "inf")) if dash else (1, int(first)))
    return found


def number(cell: str, dialect: Dialect) -> float | None:
    """What a cell is worth; None where it is no number.

    Args:
        cell: as it is written.
        dialect: with decimal, thousands, units and parentheses.
    """
    text, units = cell.strip(BLANKS), sorted(dialect.units, key=len, reverse=True)
    if re.fullmatch(r"[+-]?inf(inity)?", text, re.IGNORECASE | re.ASCII):
        return float(text)
    for one in _without(text, units, 0):
        for two in _without(one, units, -1):
            if dialect.parentheses and two[:1] == "(" and two[-1:] == ")":
                for three in _without(two[1:-1], units, 0):
                    for four in _without(three, units, -1):
                        if (value := _plain(four, dialect)) is not None:
                            return -value
            sign, rest = (two[0], two[1:]) if two[:1] in {"+", "-"} and two else ("", two)
            for three in _without(rest, units, 0):
                if (value := _plain(three, dialect)) is not None:
                    return -value if sign == "-" else value
    return None


def _without(text: str, units: Sequence[str], end: int) -> Iterator[str]:
    """A text, and what it is without a unit at one of its ends."""
    yield text
    for unit in units:
        if end == 0 and text.startswith(unit):
            rest = text[len(unit) :]
            yield from {rest, rest[1:] if rest[:1] in set(SPACES) else rest}
        if end == -1 and text.endswith(unit):
            rest = text[: -len(unit)]
            yield from {rest, rest[:-1] if rest[-1:] in set(SPACES) else rest}


def _plain(text: str, dialect: Dialect) -> float | None:
    found = re.fullmatch(r"(.*?)(?:[eE]([+-]?[0-9]+))?", text, re.DOTALL)
    assert found is not None
    whole, _, fraction = found[1].partition(dialect.decimal)
    if dialect.thousands is not None:
        groups = re.split(f"[{re.escape(SPACES if dialect.thousands == ' ' else dialect.thousands)}]", whole)
        if len(groups) > 1:
            if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
                return None
            whole = "".join(groups)
    if not re.fullmatch("[0-9]+", whole + fraction):
        return None
    return float(f"{whole or 0}.{fraction or 0}e{found[2] or 0}")


def missing(cell: str, dialect: Dialect) -> bool:
    """Whether a cell stands for no value."""
    marks = _marks(("default",) if dialect.missing is None else dialect.missing)
    text = cell.strip(BLANKS)
    if text in marks or re.fullmatch(r"[+-]?nan(\([A-Za-z0-9_]*\))?", text, re.IGNORECASE | re.ASCII):
        return True
    if dialect.missing is None:
        return False
    value = number(cell, dialect)
    return value is not None and value in {number(mark, dialect) for mark in marks}


@cache
def _marks(said: tuple[str, ...]) -> frozenset[str]:
    return frozenset({"", *(mark.strip() for mark in said if mark != "default"), *(MISSING if "default" in said else ())})


@dataclass(slots=True)
class _Column:
    values: list[float | None]  # None: missing, or no number
    gaps: list[bool]

    @property
    def numbers(self) -> int:
        return sum(value is not None for value in self.values)

    @property
    def others(self) -> int:
        return len(self.values) - self.numbers - sum(self.gaps)

    @property
    def wrong(self) -> bool:
        return self.others > 0 or any(value is not None and not np.isfinite(value) for value in self.values)


def _column(table: Table, j: int, dialect: Dialect) -> _Column:
    gaps = [missing(cells[j], dialect) for _, cells in table.rows]
    return _Column([None if gap else number(cells[j], dialect) for gap, (_, cells) in zip(gaps, table.rows, strict=True)], gaps)


def must_be_read(table: Table, dialect: Dialect, target: str, features: Sequence[str] | None = None) -> bool:
    """Whether there is nothing in a table that could be held against it.

    Args:
        table: what was parsed.
        dialect: of its numbers.
        target: name of the column to predict.
        features: names of the columns to predict from.
    """
    if table.names.count(target) != 1 or len(set(table.names)) < len(table.names) or len(table.rows) < 2:
        return False
    if all(number(name, dialect) is not None for name in table.names):
        return False
    columns = {name: _column(table, j, dialect) for j, name in enumerate(table.names)}
    wanted = [*features, target] if features is not None else [target]
    if any(name not in columns or columns[name].wrong or not columns[name].numbers for name in wanted):
        return False
    used = [columns[target]]
    for j, (name, column) in enumerate(columns.items()):
        if name in wanted:
            used += [column] * (name != target)
        elif column.wrong:
            cells = [cells[j].strip().casefold() for _, cells in table.rows]
            if column.numbers or any(re.search("[0-9]", cell) for cell in cells) or cells[-1] in FOOTERS:
                return False
        elif features is None and column.numbers:
            used.append(column)
    rows = [row for row in zip(*(column.values for column in used), strict=True) if None not in row]
    varying = any(len(set(values)) > 1 for values in list(zip(*rows, strict=True))[1:])
    return len(rows) > 1 and (varying or (features is not None and len(used) > 1))


def disagreement(found: Dataset, table: Table, dialect: Dialect, *, chosen: bool = False) -> str | None:
    """What gd read of a file and this reader did not; None where both say the same.

    Args:
        found: what gd made of it.
        table: what this reader made of it.
        dialect: of its numbers.
        chosen: whether features were named, or columns left out, so that others may be unused.
    """
    provenance = found.provenance
    encoded = {name: one.column for one in provenance.encoded for name in one.features or (one.column,)}
    sources = list(dict.fromkeys(encoded.get(name, name) for name in [*provenance.features, provenance.target]))
    counts = Counter(table.names)
    if twins := [name for name in sources if counts[name] != 1]:
        return f"columns named {twins} stand {[counts[name] for name in twins]} times in the file"
    if provenance.format is not None and provenance.format.header_line != table.header_line:
        return f"header on line {provenance.format.header_line}; expected {table.header_line}"
    columns = {name: _column(table, table.names.index(name), dialect) for name in sources}
    for name in sources:
        if name not in encoded.values() and columns[name].wrong:
            return f"column {name!r} holds what is no finite number"
    used = [i for i in range(len(table.rows)) if not any(column.gaps[i] for column in columns.values())]
    return (
        _miscounted(found, table, columns, used)
        or _misvalued(found, table, columns, used)
        or (None if chosen else _forgotten(found, table, dialect, used))
    )


def _miscounted(found: Dataset, table: Table, columns: dict[str, _Column], used: list[int]) -> str | None:
    provenance, complete = found.provenance, set(used)
    if (provenance.rows, provenance.rows_used) != (len(table.rows), len(used)):
        return f"{provenance.rows} rows and {provenance.rows_used} used; expected {len(table.rows)} and {len(used)}"
    dropped = sorted(line for item in provenance.rows_dropped for line in item.lines)
    expected = [line for i, (line, _) in enumerate(table.rows) if i not in complete]
    if dropped != expected or sum(item.count for item in provenance.rows_dropped) != len(dropped):
        return f"lines {dropped} dropped; expected {expected}"
    gaps = {name: sum(column.gaps) for name, column in columns.items() if any(column.gaps)}
    if {name: count for name, count in provenance.missing_cells.items() if count and name in gaps} != gaps:
        return f"missing cells {provenance.missing_cells}; expected {gaps}"
    return None


def _misvalued(found: Dataset, table: Table, columns: dict[str, _Column], used: list[int]) -> str | None:
    provenance = found.provenance
    encoded = {name: one for one in provenance.encoded for name in one.features or (one.column,)}
    for k, name in enumerate([*provenance.features, provenance.target]):
        actual = found.X[:, k] if k < len(provenance.features) else found.y
        if name not in encoded:
            expected = np.array([columns[name].values[i] for i in used], float)
        else:
            column = encoded[name].column
            cells = [table.rows[i][1][table.names.index(column)].strip(BLANKS) for i in used]
            if encoded[name].kind == "category":
                expected = np.array([float(cell == name.removeprefix(f"{column}=")) for cell in cells])
            else:
                days = np.array([_days(cell) for cell in cells])
                expected = actual if np.allclose(days - days.min(), actual, rtol=0, atol=1e-9) else days - days.min()
        if expected.tobytes() != actual.tobytes():
            return f"column {name!r} is {actual.tolist()}; expected {expected.tolist()}"
    return None


def _forgotten(found: Dataset, table: Table, dialect: Dialect, used: list[int]) -> str | None:
    provenance = found.provenance
    known = {*provenance.features, provenance.target, *(one.column for one in provenance.encoded)}
    left_out = {item.column for item in provenance.left_out}
    for j, name in enumerate(table.names):
        if name not in known:
            column = _column(table, j, dialect)
            distinct = {column.values[i] for i in used}
            if column.numbers > column.others and (column.wrong or len(distinct) > 1):
                return f"column {name!r} is left out, though most of it is numbers"
            if name not in left_out:
                return f"column {name!r} is left out in silence"
    return None


def _days(cell: str) -> float:
    moment = datetime.fromisoformat(cell.strip())
    return (
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    ).total_seconds() / 86400


def ill_said(error: DataError, name: str) -> str | None:
    """What is wrong with the words of a refusal; None where nothing is.

    Args:
        error: the refusal.
        name: of the file, with which it begins.
    """
    said = str(error)
    if not said.startswith(name):
        return f"says no file: {said!r}"
    if len(said) >= 500:
        return f"long: {said!r}"
    if any(
        unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068" for c in said
    ):
        return f"holds control characters: {said!r}"
    return None
