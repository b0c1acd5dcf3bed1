"""The known table, and what a case of the corpus is: bytes, how they are to be read, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gd.data import Encoding
from gd.dialect import Dialect

PLAIN = Dialect()  # nothing is said
Row = tuple[str, ...]
Rows = tuple[Row, ...]

HEADER: Row = ("name", "size", "rooms", "change", "y")
FEATURES: Row = ("size", "rooms", "change")
NUMBERS: Row = ("size", "rooms", "change", "y")
ROWS: Rows = (
    ("Aachen", "1234.5", "3", "-2.25", "1072.89"),
    ("Bonn", "987.25", "1", "0.5", "1127.99"),
    ("Celle", "2048", "4", "1.75", "1883.29"),
    ("Dresden", "3500.75", "1", "-0.125", "2970.7"),
    ("Erfurt", "640.1", "5", "3", "867.08"),
    ("Fulda", "8400", "9", "-4.5", "6066.15"),
    ("Gera", "1500", "2", "0.75", "1498.47"),
    ("Halle", "4321.05", "6", "2.5", "3542.84"),
    ("Ilmenau", "1010.2", "5", "-1", "899.45"),
    ("Jena", "725.8", "3", "1.25", "893.57"),
    ("Kassel", "2999.99", "5", "-3.75", "2227.82"),
    ("Leipzig", "5760.6", "8", "0.1", "4408.4"),
)
"""On lines 2 to 13 of a plain file: y = 0.75 size - 40 rooms + 60.5 change + 400, and up to 10 of noise."""


class Said(NamedTuple):
    """A remark that must be made; counts and lines where they matter."""

    kind: str
    column: str
    cells: int | None = None
    lines: tuple[int, ...] | None = None


class Made(NamedTuple):
    """A column of text that must become numbers."""

    column: str
    kind: Encoding
    levels: Row = ()
    first: str = ""  # that the day which is 0 begins with


@dataclass(frozen=True, slots=True)
class Read:
    """The verdict: these numbers and no others, with this said of them."""

    rows: Rows  # as plain decimals, the features in order and the target last
    features: Row
    left_out: Mapping[str, str] | None  # column, and a word of the reason; None: the specification does not say
    dropped: tuple[int, ...]  # lines
    missing: Mapping[str, int] | None  # cells; None where other cases look after it
    remarks: tuple[Said, ...]
    encoded: tuple[Made, ...]
    format: Mapping[str, object]  # what must be found out, as far as it matters here


@dataclass(frozen=True, slots=True)
class Refused:
    """The verdict: no data set, and a sentence that names this place and these words."""

    line: int | None  # None: no line is to blame, the file is named alone
    column: str | None
    remedy: tuple[str, ...]
    problem: tuple[str, ...]  # regular expressions


@dataclass(frozen=True, slots=True)
class Case:
    """One file, how it is asked for, and what must come of it."""

    name: str
    data: str | bytes  # text is written as UTF-8
    verdict: Read | Refused
    dialect: Dialect = PLAIN
    target: str = "y"
    features: Row | None = None
    leave_out: Row = ()
    encode: tuple[Encoding, ...] = ()
    file: str = "t.csv"

    @property
    def bytes(self) -> bytes:
        """What stands in the file."""
        return self.data if isinstance(self.data, bytes) else self.data.encode()


_NAME: Mapping[str, str] = {"name": ""}
_NOTHING: Mapping[str, object] = {}


def read(
    rows: Rows = ROWS,
    *,
    header: Row = HEADER,
    features: Row = FEATURES,
    target: str = "y",
    left_out: Mapping[str, str] | None = _NAME,
    dropped: tuple[int, ...] = (),
    missing: Mapping[str, int] | None = None,
    remarks: tuple[Said, ...] = (),
    encoded: tuple[Made, ...] = (),
    found: Mapping[str, object] = _NOTHING,
    named: Row | None = None,
) -> Read:
    """Read: these rows, of which features and target are the columns named; `named` is what the features are called then."""
    places = [header.index(name) for name in (*features, target)]
    used = tuple(tuple(row[place] for place in places) for row in rows)
    return Read(used, named or features, left_out, dropped, missing, remarks, encoded, found)


def refused(line: int | None, column: str | None = None, remedy: str | Row = (), problem: str | Row = ()) -> Refused:
    """Refused: there, with these words."""
    words = [(said,) if isinstance(said, str) else said for said in (remedy, problem)]
    return Refused(line, column, *words)


def put(*changes: tuple[str, int, str], rows: Rows = ROWS, header: Row = HEADER) -> Rows:
    """The table with some cells changed: column, line, what stands there."""
    table = [list(row) for row in rows]
    for column, line, cell in changes:
        table[line - 2][header.index(column)] = cell
    return tuple(map(tuple, table))


def every(change: Callable[[str], str], *columns: str, rows: Rows = ROWS, header: Row = HEADER) -> Rows:
    """The table with every cell of some columns changed."""
    places = {header.index(column) for column in columns}
    return tuple(tuple(change(cell) if j in places else cell for j, cell in enumerate(row)) for row in rows)


def column(name: str, cells: Sequence[str], rows: Rows = ROWS, header: Row = HEADER) -> Rows:
    """The table with other cells in one column."""
    left = iter(cells)
    return every(lambda _: next(left), name, rows=rows, header=header)


def without(*lines: int, rows: Rows = ROWS) -> Rows:
    """The table without the rows on some lines."""
    return tuple(row for line, row in enumerate(rows, 2) if line not in lines)


def written(cell: str, delimiter: str = ",", quote: str = '"', always: bool = False) -> str:
    """A cell as it stands in a file."""
    if quote and (always or cell.startswith(quote) or any(mark in cell for mark in (delimiter, "\n", "\r"))):
        return quote + cell.replace(quote, 2 * quote) + quote
    return cell


def text(
    rows: Rows = ROWS,
    header: Row | None = HEADER,
    delimiter: str = ",",
    quote: str = '"',
    always: bool = False,
    end: str = "\n",
) -> str:
    """A table as a file."""
    lines = [*([header] if header is not None else []), *rows]
    return "".join(delimiter.join(written(cell, delimiter, quote, always) for cell in line) + end for line in lines)


def lines(*more: tuple[int, str], base: str | None = None) -> str:
    """A file with lines put in: before which of its lines, and what; before line 14 is the end of the plain table."""
    made = (text() if base is None else base).split("\n")
    for place, line in sorted(more, key=lambda item: item[0], reverse=True):
        made.insert(place - 1, line)
    return "\n".join(made)


def grouped(cell: str, mark: str = ",", point: str = ".") -> str:
    """1234.5 as 1,234.5, or with other marks."""
    whole, dot, fraction = cell.partition(".")
    sign = "-" * whole.startswith("-")
    return f"{sign}{int(whole.lstrip('-')):,}".replace(",", mark) + (point + fraction if dot else "")


def comma(cell: str) -> str:
    """1234.5 as 1234,5."""
    return cell.replace(".", ",")
