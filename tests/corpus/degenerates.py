"""Columns that never change, that repeat or add up, that are huge, tiny or far from zero, and rows that are few."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import HEADER, ROWS, Case, Row, Rows, Said, column, every, put, read, refused, text, without

_QUARTERS = ("0", "0.25", "1.5", "-0.75", "2", "-1.25", "0.5", "3.75", "-2", "1", "-3.5", "0.75")


def _scaled(power: int) -> Rows:
    return every(lambda cell: f"{cell}e{power}", "size")


def _beside(name: str, cells: Row, rows: Rows = ROWS) -> tuple[Rows, Row]:
    """The table with one column more, before the target."""
    return tuple((*row[:4], cell, row[4]) for row, cell in zip(rows, cells, strict=True)), (*HEADER[:4], name, "y")


_FAR = column("size", [f"{1_000_000_000 + float(cell)}" for cell in _QUARTERS])
_DATED = column("rooms", [str(20260101 + i * 3 % 17) for i in range(12)])
_NEARLY = column("change", ["1", "1.0000000000000002220446049250313080847263336181640625"] + ["1"] * 10)  # and 1 + 2**-52
_TENTHS = every(lambda _: "0.1", "change")

_COUNTS = {"from 0": range(12), "from 1": range(1, 13), "from 101": range(101, 113), "years": range(2001, 2013)}
_INDEX = tuple(
    Case(f"a column that counts {name}", text(column("rooms", list(map(str, count)))),
         read(column("rooms", list(map(str, count))), remarks=(Said("index", "rooms"),)))
    for name, count in _COUNTS.items()
)  # fmt: skip
_DOUBLE, _DOUBLE_HEADER = _beside("area", tuple(row[1] for row in ROWS))
_SAME, _SAME_HEADER = _beside("price", tuple(row[4] for row in ROWS))
_SUM, _SUM_HEADER = _beside("more", tuple(str(int(row[2]) * 2 + 1) for row in ROWS))
_ALMOST, _ALMOST_HEADER = _beside("price", tuple(row[4] if i else "1072.88" for i, row in enumerate(ROWS)))

CASES = (
    Case("a constant feature", text(every(lambda _: "4", "rooms")),
         read(features=("size", "change"), left_out={"name": "", "rooms": "constant"})),
    Case("a constant feature of tenths", text(_TENTHS),
         read(features=("size", "rooms"), left_out={"name": "", "change": "constant"})),
    Case("a constant feature written in many ways", text(column("rooms", ["1", "1.0", "1e0", "+1", " 1", "10e-1"] * 2)),
         read(features=("size", "change"), left_out={"name": "", "rooms": "constant"})),
    Case("a constant feature that is named", text(every(lambda _: "4", "rooms")),
         read(every(lambda _: "4", "rooms"), features=("size", "rooms"), left_out=None), features=("size", "rooms")),
    Case("a feature that is constant but for its last digit", text(_NEARLY), read(_NEARLY)),
    Case("a feature that is constant but for one cell far off",
         text(put(("rooms", 8, "5"), rows=every(lambda _: "4", "rooms"))),
         read(put(("rooms", 8, "5"), rows=every(lambda _: "4", "rooms")))),
    Case("a feature that is constant in the rows used",
         text(put(("rooms", 8, "5"), ("y", 8, ""), rows=every(lambda _: "4", "rooms"))),
         read(without(8), features=("size", "change"), left_out={"name": "", "rooms": "constant"}, dropped=(8,))),
    Case("a constant feature with gaps", text(put(("rooms", 8, ""), rows=every(lambda _: "4", "rooms"))),
         read(features=("size", "change"), left_out={"name": "", "rooms": "constant"})),
    Case("zero and minus zero", text(column("rooms", ["0", "-0", "0.0"] * 4)),
         read(features=("size", "change"), left_out={"name": "", "rooms": "constant"})),
    Case("a constant target", text(every(lambda _: "7", "y")), read(every(lambda _: "7", "y"))),
    Case("every feature constant", text(every(lambda _: "4", "size", "rooms", "change")), refused(None)),
    Case("a feature twice under two names", text(_DOUBLE, _DOUBLE_HEADER),
         read(_DOUBLE, header=_DOUBLE_HEADER, features=("size", "rooms", "change", "area"))),
    Case("a feature that is a sum of others", text(_SUM, _SUM_HEADER),
         read(_SUM, header=_SUM_HEADER, features=("size", "rooms", "change", "more"))),
    Case("a feature that equals the target", text(_SAME, _SAME_HEADER),
         read(_SAME, header=_SAME_HEADER, features=("size", "rooms", "change", "price"),
         remarks=(Said("same-as-target", "price"),))),
    Case("a feature that equals the target but in one row", text(_ALMOST, _ALMOST_HEADER),
         read(_ALMOST, header=_ALMOST_HEADER, features=("size", "rooms", "change", "price"))),
    Case("a feature that equals the target in the rows used",
         text(put(("price", 4, "1"), ("size", 4, ""), rows=_SAME, header=_SAME_HEADER), _SAME_HEADER),
         read(without(4, rows=_SAME), header=_SAME_HEADER, features=("size", "rooms", "change", "price"), dropped=(4,),
              remarks=(Said("same-as-target", "price"),))),
    Case("fewer rows than columns", text(ROWS[:3]), read(ROWS[:3])),
    Case("as many rows as weights", text(ROWS[:4]), read(ROWS[:4])),
    *_INDEX,
    Case("a column that counts by twos", text(column("rooms", [str(2 * i) for i in range(12)])),
         read(column("rooms", [str(2 * i) for i in range(12)]))),
    Case("a column that counts but once", text(column("rooms", [*map(str, range(11)), "12"])),
         read(column("rooms", [*map(str, range(11)), "12"]))),
    Case("a column that counts down", text(column("rooms", [str(12 - i) for i in range(12)])),
         read(column("rooms", [str(12 - i) for i in range(12)]))),
    Case("an index without a name, as pandas writes it",
         text(tuple((str(i), *row) for i, row in enumerate(ROWS)), ("", *HEADER)),
         read(tuple((str(i), *row) for i, row in enumerate(ROWS)), header=("", *HEADER),
         features=("", "size", "rooms", "change"),
              named=("column 1", "size", "rooms", "change"), remarks=(Said("index", "column 1"),))),
    Case("an index without a name that is left out", text(tuple((str(i), *row) for i, row in enumerate(ROWS)), ("", *HEADER)),
         read(), leave_out=("column 1",)),
    Case("an offset of 1e9 and a spread of 1", text(_FAR), read(_FAR)),
    Case("days written as numbers", text(_DATED), read(_DATED)),
    Case("features of scale 1e300", text(_scaled(300)), read(_scaled(300))),
    Case("features of scale 1e-300", text(_scaled(-300)), read(_scaled(-300))),
    Case("features of scale 1e150", text(_scaled(150)), read(_scaled(150))),
    Case("features beyond 1.8e308", text(_scaled(305)), refused(4, "size")),
    Case("a target of scale 1e-300", text(every(lambda cell: f"{cell}e-300", "y")),
         read(every(lambda cell: f"{cell}e-300", "y"))),
    Case("a target of scale 1e200", text(every(lambda cell: f"{cell}e200", "y")), read(every(lambda cell: f"{cell}e200", "y"))),
    Case("features of scales 1e-200 and 1e200", text(every(lambda cell: f"{cell}e-200", "rooms", rows=_scaled(200))),
         read(every(lambda cell: f"{cell}e-200", "rooms", rows=_scaled(200)))),
    Case("a constant feature beside a mark that empties it", text(column("rooms", ["4", "-"] * 6)),
         read(features=("size", "change"), left_out={"name": "", "rooms": "constant"}), Dialect(missing=("-",))),
)  # fmt: skip
