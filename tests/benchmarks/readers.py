"""Which reader: how fast and how large each is on one file, and which of them misread a table that is not what it seems."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gd.data import DataError
from gd.reading import read_csv
from tests.benchmarks import tables, whole
from tests.benchmarks.page import machine, row, table
from tests.benchmarks.reader import READERS

__all__ = ["DISGUISES", "JUDGES", "Disguise", "Reading", "available", "judge", "measure", "report"]

_TIMEOUT = 300  # seconds, for one process
_ROUNDS = 3
_SMALL = ("numpy.loadtxt",)  # measured on a tenth of the rows: it holds the table, and its list of rows beside it
_NEEDS = {"polars": "polars", "pandas": "pandas"}  # first word of a reader's name: the package that it is from


class Reading(NamedTuple):
    """One reader on one file, medians of its rounds."""

    name: str
    rows: int
    bytes: int
    seconds: float
    cpu: float
    peak: float  # MB, of the whole process


class Disguise(NamedTuple):
    """A table that looks like one of two columns of numbers, x and y, and may not be."""

    name: str
    text: bytes
    right: tuple[tuple[float, ...], tuple[float, ...]] | None  # x and y, nan where a cell is missing; None: to be refused


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('pyarrow', 'polars', 'pandas', 'numpy')}."
    yield ""
    yield "Whole processes that read a table of numbers, its types given, and add up its columns; the file is in the page"
    yield f"cache. Medians of {_ROUNDS} rounds by turns. Peak memory is ru_maxrss of the one process."
    yield ""
    with tables.folder() as folder:
        sizes = [(10**7, 10), (10**6, 10)]
        files = []
        for n, d in sizes:
            try:
                files.append(tables.write(folder, n, d))
            except tables.NoRoomError as error:
                yield f"Skipped: {error}."
                yield ""
        yield from table("reader", "rows", "seconds", "MB/s", "processor seconds", "peak MB")
        for one in measure(files):
            speed = one.bytes / 1e6 / one.seconds
            yield row(one.name, f"{one.rows:,}", f"{one.seconds:.2f}", f"{speed:,.0f}", f"{one.cpu:.2f}", f"{one.peak:,.0f}")
    missing = [name for name in READERS if name not in available()]
    if missing:
        yield ""
        yield f"Not installed: {', '.join(missing)}."
    yield ""
    yield "What each makes of two columns that should be numbers, x and y, with float64 asked for. pyarrow, polars and"
    yield "pandas are asked with their defaults and no checks around them; gd is `gd.data.read_csv` with its own. **Misread**"
    yield "is a table that was taken without a word and holds other numbers than the file, or that should not have been taken."
    yield ""
    yield from table("disguise", "right would be", *JUDGES)
    counts = dict.fromkeys(JUDGES, 0)
    for disguise in DISGUISES:
        verdicts = [judge(name, disguise) for name in JUDGES]
        for name, verdict in zip(JUDGES, verdicts, strict=True):
            counts[name] += verdict == "misread"
        cells = ["**misread**" if verdict == "misread" else verdict for verdict in verdicts]
        yield row(disguise.name, "to refuse it" if disguise.right is None else "to read it", *cells)
    yield row(f"misread, of {len(DISGUISES)}", "", *counts.values())


def available() -> list[str]:
    """Readers whose package is here."""
    return [name for name in READERS if find_spec(_NEEDS.get(name.split()[0].strip(","), "numpy"))]


def measure(files: Sequence[Path], rounds: int = _ROUNDS, names: Sequence[str] | None = None) -> Iterator[Reading]:
    """Time each reader on each file, by turns; what they read must be the same.

    Args:
        files: the largest first; those that hold the whole table in a costly way are left out of all but the last.
        rounds: of all readers.
        names: of readers; all that are available when None.
    """
    for number, file in enumerate(files):
        chosen = [name for name in names or available() if number == len(files) - 1 or name not in _SMALL]
        usages: dict[str, list[whole.Usage]] = {name: [] for name in chosen}
        said = {}
        for _ in range(rounds):
            for name in chosen:
                used = whole.measure(whole.module("reader", name, str(file)), timeout=_TIMEOUT).check()
                usages[name].append(used)
                said[name] = json.loads(used.output)
        first = said[chosen[0]]
        for name, used_ in usages.items():
            if said[name]["rows"] != first["rows"] or not np.allclose(said[name]["sums"], first["sums"], rtol=1e-9):
                raise RuntimeError(f"{name} read other numbers than {chosen[0]} from {file}")
            medians = (median(used[item] for used in map(_numbers, used_)) for item in range(3))
            yield Reading(name, first["rows"], file.stat().st_size, *medians)


def judge(reader: str, disguise: Disguise) -> str:
    """What a reader makes of a disguise: read, refused, misread, or not installed."""
    read = JUDGES[reader]
    if not find_spec(_NEEDS.get(reader, "numpy")):
        return "not installed"
    try:
        x, y = read(disguise.text)
    except _Refused:
        return "refused"
    if disguise.right is None:
        return "misread"
    right = np.array(disguise.right)
    if reader == "gd":  # it leaves out rows with a missing cell, and counts them
        right = right[:, ~np.isnan(right).any(axis=0)]
    found = np.array([x, y], dtype=float)
    return "read" if found.shape == right.shape and np.array_equal(found, right, equal_nan=True) else "misread"


def _numbers(used: whole.Usage) -> tuple[float, float, float]:
    return used.seconds, used.cpu, used.peak


class _Refused(Exception):  # noqa: N818  (an answer, not an error)
    """The reader would not take the table."""


def _columns(found: dict[str, Any]) -> tuple[Any, Any]:
    """The columns x and y; a table without them will be missed at the next step, which counts as refused."""
    if not {"x", "y"} <= found.keys():
        raise _Refused
    return found["x"], found["y"]


def _arrow(text: bytes) -> tuple[Any, Any]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    types = csv.ConvertOptions(column_types={"x": pa.float64(), "y": pa.float64()})
    try:
        found = csv.read_csv(pa.BufferReader(text), convert_options=types)
        names = found.column_names
        return _columns({name: _with_nan(found.column(names.index(name)).to_pylist()) for name in set(names)})
    except (pa.ArrowException, UnicodeDecodeError):
        raise _Refused from None


def _polars(text: bytes) -> tuple[Any, Any]:
    import polars as pl  # noqa: PLC0415

    try:
        found = pl.read_csv(io.BytesIO(text), schema={"x": pl.Float64, "y": pl.Float64})
        return _columns({name: _with_nan(found[name].to_list()) for name in found.columns})
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        raise _Refused from None


def _pandas(text: bytes) -> tuple[Any, Any]:
    import pandas as pd  # noqa: PLC0415

    try:
        found = pd.read_csv(io.BytesIO(text), dtype={"x": np.float64, "y": np.float64})
        return _columns({name: found[name].to_numpy() for name in map(str, found.columns)})
    except (ValueError, OverflowError):  # ParserError is one of them
        raise _Refused from None


def _gd(text: bytes) -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "disguise.csv"
        path.write_bytes(text)
        try:
            found = read_csv(path, "y", ["x"])
        except DataError:
            raise _Refused from None
        return found.X[:, 0], found.y


def _with_nan(values: list[Any]) -> list[float]:
    return [math.nan if value is None else value for value in values]


JUDGES: dict[str, Callable[[bytes], tuple[Any, Any]]] = {
    "pyarrow": _arrow, "polars": _polars, "pandas": _pandas, "gd": _gd,
}  # fmt: skip
"""Readers that are shown the disguises; each gives x and y, or will not."""

_NAN = math.nan
_FINE = ((1.5, 2.5, 3.5), (10.0, 20.0, 35.0))
_LONG = 80_000  # rows, of the tables whose odd cell comes late


def _with(cell: str) -> bytes:
    """A table of three rows with this in the middle of x."""
    return f"x,y\n1.5,10\n{cell},20\n3.5,35\n".encode()


def _late(cell: str, at: int = 70_000) -> bytes:
    """A long table whose x is 1 but for one cell far beyond what readers look at to guess a type."""
    lines = [f"1,{number % 7}" for number in range(_LONG)]
    lines[at] = f"{cell},3"
    return ("x,y\n" + "\n".join(lines) + "\n").encode()


def _gap(value: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (1.5, value, 3.5), _FINE[1]


DISGUISES = (
    Disguise("no disguise", _with("2.5"), _FINE),
    Disguise("a byte order mark, CRLF", b"\xef\xbb\xbfx,y\r\n1.5,10\r\n2.5,20\r\n3.5,35\r\n", _FINE),
    Disguise("quoted numbers", b'"x","y"\n"1.5","10"\n"2.5","20"\n"3.5","35"\n', _FINE),
    Disguise("no line end at the end", _with("2.5").rstrip(), _FINE),
    Disguise("exponents and signs", b"x,y\n+1.5,1e1\n25E-1,+20\n.35e1,35.\n", _FINE),
    Disguise("17 digits", _with("0.10000000000000001"), _gap(0.1)),
    Disguise("an empty cell", _with(""), _gap(_NAN)),
    Disguise("NA", _with("NA"), _gap(_NAN)),
    Disguise("columns in another order", b"y,x\n10,1.5\n20,2.5\n35,3.5\n", _FINE),
    Disguise("a header twice: x,x,y", b"x,x,y\n1.5,7,10\n2.5,8,20\n3.5,9,35\n", None),
    Disguise("infinity", _with("inf"), None),
    Disguise("too large: 1e999", _with("1e999"), None),
    Disguise("a NUL in a number: 2\\0.5", _with("2\0.5"), None),
    Disguise("a NUL after a number: 2.5\\0", _with("2.5\0"), None),
    Disguise('thousands: "1,234"', _with('"1,234"'), None),
    Disguise("an accountant's minus: (12)", _with("(12)"), None),
    Disguise('a decimal comma: "2,5"', _with('"2,5"'), None),
    Disguise("hexadecimal: 0x1F", _with("0x1F"), None),
    Disguise("underscores: 1_000", _with("1_000"), None),
    Disguise("full-width digits: ２", _with("２"), None),
    Disguise("a typographer's minus: −2", _with("−2"), None),
    Disguise("a unit: 2.5 kg", _with("2.5 kg"), None),
    Disguise("a percentage: 25%", _with("25%"), None),
    Disguise("true", _with("true"), None),
    Disguise("a date: 2026-11-23", _with("2026-11-23"), None),
    Disguise("a row that is too short", b"x,y\n1.5,10\n2.5\n3.5,35\n", None),
    Disguise("a row that is too long", b"x,y\n1.5,10\n2.5,20,30\n3.5,35\n", None),
    Disguise("every row too long", b"x,y\n1.5,10,1\n2.5,20,2\n3.5,35,3\n", None),
    Disguise("a comma at the end of every row", b"x,y\n1.5,10,\n2.5,20,\n3.5,35,\n", None),
    Disguise("an unclosed quote", b'x,y\n1.5,10\n"2.5,20\n3.5,35\n', None),
    Disguise("semicolons", b"x;y\n1.5;10\n2.5;20\n3.5;35\n", _FINE),
    Disguise("no header", b"1.5,10\n2.5,20\n3.5,35\n", None),
    Disguise("the header again in the middle", b"x,y\n1.5,10\nx,y\n3.5,35\n", None),
    Disguise("a comment in the middle", b"x,y\n1.5,10\n# checked\n3.5,35\n", None),
    Disguise("UTF-16", _with("2.5").decode().encode("utf-16"), _FINE),
    Disguise("text in row 70,000", _late("none yet"), None),
    Disguise('"1,234" in row 70,000', _late('"1,234"'), None),
    Disguise("too short in row 70,000", _late("").replace(b"\n,3\n", b"\n3\n"), None),
    Disguise("cut off in the middle of a row", b"x,y\n1.5,10\n2.5,20\n3.", None),
)
"""Small files, each with one thing about it."""
