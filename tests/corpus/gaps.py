"""Missing cells: what counts as one, what it costs, and numbers that stand for one."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import (
    FEATURES,
    HEADER,
    NUMBERS,
    ROWS,
    Case,
    Said,
    column,
    every,
    lines,
    put,
    read,
    refused,
    text,
    without,
)

_MARKS = (
    "", "NA", "N/A", "NaN", "nan", "NAN", "-nan", "+NaN", "Nan", "null", "NULL", "None", "#N/A", "   ", " NA ", "\tNULL\t",
    "#N/A ",
)  # fmt: skip
_DEFAULT = tuple(
    Case(f"missing as {mark!r}", text(put(("size", 4, mark))), read(without(4), dropped=(4,), missing={"size": 1}))
    for mark in _MARKS
) + tuple(
    Case(
        f"missing as {mark!r} in quotes",
        text(put(("size", 4, mark)), always=True),
        read(without(4), dropped=(4,), missing={"size": 1}),
    )
    for mark in ("", "NA", " null ", "#N/A")
)

_FOUR = put(("size", 2, ""), ("y", 6, "NA"), ("change", 6, "NULL"), ("rooms", 13, ""))
_WHERE = (
    Case("missing in the target", text(put(("y", 4, "NA"))), read(without(4), dropped=(4,), missing={"y": 1})),
    Case("missing in the first, a middle and the last row", text(_FOUR),
         read(without(2, 6, 13), dropped=(2, 6, 13), missing={"size": 1, "y": 1, "change": 1, "rooms": 1})),
    Case("missing in the last cell, no last line end", text(put(("y", 13, "")))[:-1], read(without(13), dropped=(13,))),
    Case("missing in text", text(column("name", ["", "NA", *"abcdefghij"])), read()),
    Case("missing in a column that is not asked for", text(_FOUR),
         read(without(6), features=("change",), dropped=(6,), left_out=None, missing={"y": 1, "change": 1}),
         features=("change",)),
    Case("missing in a column that is left out", text(put(("rooms", 4, ""))), read(features=("size", "change")),
         leave_out=("rooms",)),
    Case("a column without a value", text(every(lambda _: "", "rooms")),
         read(features=("size", "change"), left_out={"name": "", "rooms": "no value in any row"})),
    Case("a column of marks", text(column("rooms", ["NA", "", "NULL", "nan"] * 3)),
         read(features=("size", "change"), left_out={"name": "", "rooms": "no value in any row"})),
    Case("a named feature without a value", text(every(lambda _: "", "rooms")), refused(None, problem="rooms"),
         features=("size", "rooms")),
    Case("a target without a value", text(every(lambda _: "NA", "y")), refused(None, problem="y")),
    Case("no complete row", text(put(*(("size", line, "") for line in range(2, 13)), ("rooms", 13, ""))),
         refused(None, problem="size")),
    Case("no complete row for want of the target", text(put(*(("y", line, "NA") for line in range(2, 13)), ("rooms", 13, ""))),
         refused(None, problem="y")),
    Case("one complete row", text(put(*(("size", line, "") for line in range(2, 13)))), refused(None, problem="size")),
    Case("two complete rows", text(put(*(("size", line, "") for line in range(2, 12)))),
         read(ROWS[10:], dropped=tuple(range(2, 12)), missing={"size": 10})),
    Case("a cell missing and another bad", text(put(("size", 4, ""), ("rooms", 9, "x"))), refused(9, "rooms")),
    Case("every row lacks something but three", text(put(*((NUMBERS[line % 4], line, "") for line in range(2, 11)))),
         read(ROWS[9:], dropped=tuple(range(2, 11)))),
    Case("names of towns that are NA and None", text(put(("name", 4, "NA"), ("name", 5, "None"))), read()),
)  # fmt: skip

_OTHERS = ("?", "-", ".", "n/a", "missing", "\\N", "<NA>", "#DIV/0!", "(null)", "NaT", "--", "n. a.", "∅", "1,234", "x y")
_BY_OPTION = (
    *(Case(f"missing as {mark} by option", text(put(("size", 4, mark))), read(without(4), dropped=(4,), missing={"size": 1}),
           Dialect(missing=(mark,))) for mark in _OTHERS),
    Case("marks by option replace the list", text(put(("size", 4, "?"), ("size", 6, "NA"))),
         refused(6, "size", remedy="--missing"),
         Dialect(missing=("?",))),
    Case("marks by option beside the list", text(put(("size", 4, "?"), ("size", 6, "NA"))), read(without(4, 6), dropped=(4, 6)),
         Dialect(missing=("default", "?"))),
    Case("empty and NaN count whatever is said", text(put(("size", 4, ""), ("size", 6, "NaN"))),
         read(without(4, 6), dropped=(4, 6)),
         Dialect(missing=("?",))),
    Case("a mark by option in other capitals", text(put(("size", 4, "miss"))), refused(4, "size"), Dialect(missing=("MISS",))),
    Case("a mark by option with blanks around", text(put(("size", 4, " ? "))), read(without(4), dropped=(4,)),
         Dialect(missing=("?",))),
    Case("a mark by option that is a number", text(put(("size", 4, "-999"), ("size", 6, "-999.0"), ("y", 8, "-9.99e2"))),
         read(without(4, 6, 8), dropped=(4, 6, 8)), Dialect(missing=("-999",))),
    Case("a mark that is a number, and its beginning", text(put(("size", 4, "-9990"))), read(put(("size", 4, "-9990"))),
         Dialect(missing=("-999",))),
    Case("a mark that is zero", text(put(("size", 4, "0"), ("size", 6, "-0.0"))), read(without(4, 6), dropped=(4, 6)),
         Dialect(missing=("0",))),
    Case("a mark that is a number where commas are decimal", text(put(("size", 4, "-999,0")), delimiter=";"),
         refused(4, "size"), Dialect(missing=("-999",))),
    Case("a mark that is a number, with a decimal comma",
         text(every(lambda cell: cell.replace(".", ","), *NUMBERS, rows=put(("size", 4, "-999.0"))), delimiter=";"),
         read(without(4), dropped=(4,)), Dialect(missing=("-999",), decimal=",")),
)  # fmt: skip

_NINES = put(("size", 4, "-999"), ("size", 9, "-999"))
_ROOMS = put(("rooms", 4, "99"), ("rooms", 9, "99"))
_SENTINELS = (
    Case("-999 twice", text(_NINES), read(_NINES, remarks=(Said("sentinel", "size", 2),))),
    Case("-999 twice, a mark by option", text(_NINES), read(without(4, 9), dropped=(4, 9)), Dialect(missing=("-999",))),
    Case("-999 once", text(put(("size", 4, "-999"))), read(put(("size", 4, "-999")))),
    Case("99 rooms twice", text(_ROOMS), read(_ROOMS, remarks=(Said("sentinel", "rooms", 2),))),
    Case("9999 rooms three times", text(put(*(("rooms", line, "9999") for line in (4, 9, 12)))),
         read(put(*(("rooms", line, "9999") for line in (4, 9, 12))), remarks=(Said("sentinel", "rooms", 3),))),
    Case("9 rooms twice", text(put(("rooms", 4, "9"))), read(put(("rooms", 4, "9")))),
    Case("999 among thousands", text(put(("size", 4, "999"), ("size", 9, "999"))),
         read(put(("size", 4, "999"), ("size", 9, "999")))),
    Case("9999 above thousands", text(put(("size", 4, "9999"), ("size", 9, "9999"))),
         read(put(("size", 4, "9999"), ("size", 9, "9999")))),  # 1,599 above the next, which are 7,760 apart
    Case("-99 twice in the target", text(put(("y", 4, "-99"), ("y", 9, "-99.0"))),
         read(put(("y", 4, "-99"), ("y", 9, "-99")), remarks=(Said("sentinel", "y", 2),))),
    Case("-99 twice among changes", text(put(("change", 4, "-99"), ("change", 9, "-99"))),
         read(put(("change", 4, "-99"), ("change", 9, "-99")), remarks=(Said("sentinel", "change", 2),))),
    Case("98 rooms twice", text(put(("rooms", 4, "98"), ("rooms", 9, "98"))),
         read(put(("rooms", 4, "98"), ("rooms", 9, "98")))),
)  # fmt: skip

_HARD = (
    Case("a gap in a row that begins a line earlier", text(put(("name", 4, "a\nb"), ("size", 4, ""))),
         read(without(4), dropped=(4,))),
    Case("gaps around blank lines and comments", lines((3, ""), (5, "# x"), base=text(put(("size", 3, ""), ("size", 9, "")))),
         read(without(3, 9), dropped=(4, 11)), Dialect(comment="#")),
    Case("gaps in CR line ends", text(_FOUR, end="\r"), read(without(2, 6, 13), dropped=(2, 6, 13))),
    Case("gaps in UTF-16", text(_FOUR, end="\r\n", delimiter="\t").encode("utf-16"),
         read(without(2, 6, 13), dropped=(2, 6, 13))),
    Case("a feature named that has gaps", text(_FOUR),
         read(without(6, 13), features=("rooms",), dropped=(6, 13), left_out=None),
         features=("rooms",)),
    Case("the header is a mark", text(header=("NA", *HEADER[1:])), read(left_out={"NA": ""})),
    Case("gaps in all that is asked for", text(put(*((name, 7, "") for name in NUMBERS))),
         read(without(7), dropped=(7,), missing=dict.fromkeys((*FEATURES, "y"), 1))),
)  # fmt: skip

CASES = (*_DEFAULT, *_WHERE, *_BY_OPTION, *_SENTINELS, *_HARD)
