"""Rows, headers, quotes and what stands around a table: what is read all the same, and what is refused with its line."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import FEATURES, HEADER, NUMBERS, ROWS, Case, Rows, column, lines, put, read, refused, text, without

_Y_FIRST = tuple((row[4], *row[:4]) for row in ROWS)
_Y_HEADER = ("y", *HEADER[:4])
_ALL_NUMBERS = text(tuple(row[1:] for row in ROWS), HEADER[1:])
_NO_HEADER = text(tuple(row[1:] for row in ROWS), None)
_LONG = text(ROWS * 2000)  # 24,000 rows, 700 kB: beyond any sample from the top

_RAGGED = (
    Case("a cell too few", text().replace("Erfurt,640.1", "640.1"), refused(6, problem="4 cells where the header has 5")),
    Case("a cell too many", text().replace("Gera", "Gera,Ost"), refused(8, problem="6 cells where the header has 5")),
    Case(
        "a cell too many, empty",
        text().replace("1498.47\n", "1498.47,\n"),
        refused(8, problem="6 cells where the header has 5"),
    ),
    Case("the first row is short", text().replace("Aachen,", ""), refused(2, problem="4 cells where the header has 5")),
    Case("cut off in the middle of a row", text()[:-10], refused(13)),
    Case("cut off in the middle of a quoted cell", text(always=True)[:-3], refused(13)),
    Case("a number alone on a line", lines((8, "17")), refused(8, problem="1 cell where the header has 5")),
    Case(
        "a decimal comma in a comma file",
        text().replace("640.1", "640,1"),
        refused(6, problem="6 cells where the header has 5"),
    ),
    Case("ragged after blank lines", lines((3, ""), (3, " "), base=text().replace("Gera,", "")), refused(10)),
    Case("rows shorter than the header throughout", text(tuple(row[:4] for row in ROWS)), refused(2)),
    Case("rows longer than the header throughout", text(tuple((str(i), *row) for i, row in enumerate(ROWS))), refused(2)),
    Case("another delimiter from the middle on", text(ROWS[:6]) + text(ROWS[6:], None, delimiter=";"), refused(8)),
    Case("ragged far away", _LONG + "x,1,2\n", refused(24002, problem="3 cells where the header has 5")),
)

_QUOTED = (
    Case("a quote that is never closed", text().replace("Celle", '"Celle'), refused(4, problem="never closed")),
    Case("a quote that is never closed, in the header", text().replace("size", '"size'), refused(1, problem="never closed")),
    Case("a quote that is never closed, in the last row", text().replace("4408.4", '"4408.4'),
         refused(13, problem="never closed")),
    Case("a quote that is never closed, on the second line of its row",
         text(put(("name", 4, "a\nb"))).replace("2048", '"2048'), refused(4, problem="never closed")),
    Case("text after a closing quote", text().replace("Celle", '"Celle"x'), refused(4, problem="after a closing quote")),
    Case("a digit after a closing quote", text().replace("8400", '"84"00'), refused(7, problem="after a closing quote")),
    Case("a quote escaped by a backslash", text().replace("Celle", '"Ce \\"l\\" le"'), refused(4)),
    Case("a quote that is not doubled", text().replace("Celle", '"Ce "l" le"'), refused(4)),
    Case("a quote that swallows rows up to the next", text().replace("Celle", '"Celle').replace("Gera", '"Gera'), refused(4)),
    Case("an empty quoted row", lines((5, '""')), refused(5)),
    Case("a quote that is never closed, far away", _LONG + '"x,1,2,3,4\n', refused(24002, problem="never closed")),
)  # fmt: skip

_NUL = (
    Case("NUL in text", text().replace("Celle", "Ce\0lle"), refused(4, problem="NUL")),
    Case("NUL in a number", text().replace("8400", "84\x0000"), refused(7, problem="NUL")),
    Case("NUL in quotes", text().replace("Celle", '"Ce\0lle"'), refused(4, problem="NUL")),
    Case("NUL in the header", text().replace("size", "si\0ze"), refused(1, problem="NUL")),
    Case("NUL instead of a cell", text().replace("Celle,2048,", "Celle,\0,"), refused(4, problem="NUL")),
    Case("NULs at the end", text() + "\0" * 512, refused(14, problem="NUL")),
    Case("NUL far away", _LONG + "x,1,2\0,3,4\n", refused(24002, problem="NUL")),
)

_BLANK = (
    Case("blank lines before the header", "\n  \n\t\n" + text(), read(found={"header_line": 4})),
    Case("blank lines between rows", lines((3, ""), (5, "   "), (5, ""), (9, " \t ")), read()),
    Case("blank lines at the end", text() + "\n\n   \n\t\n\n", read()),
    Case("every second line blank", text(end="\n\n"), read()),
    Case("blanks at the end without a line end", text() + "    ", read()),
    Case("a bad number after blank lines", lines((1, ""), (5, ""), (5, " "), base=text(put(("size", 9, "x")))),
         refused(12, "size")),
    Case("a gap after blank lines", lines((1, ""), (5, ""), (5, " "), base=text(put(("y", 9, "")))),
         read(without(9), dropped=(12,))),
    Case("rows of delimiters at the end", text() + ",,,,\n" * 3, read(dropped=(14, 15, 16))),
    Case("a row of delimiters in the middle", lines((5, ",,,,")), read(dropped=(5,))),
    Case("a row of delimiters and blanks", lines((5, " ,, ,  ,")), read(dropped=(5,))),
    Case("a row of delimiters before the header", ",,,,\n" + text(), read(found={"header_line": 2})),
    Case("a row of tabs in a tab file", lines((5, "\t\t\t\t"), base=text(delimiter="\t")), read(dropped=(5,))),
    Case("a row of too few delimiters", lines((5, ",,")), refused(5, problem="3 cells where the header has 5")),
    Case("a line of a non-breaking space", lines((5, "\xa0")), refused(5)),
    Case("a form feed between pages", lines((5, "\f")), refused(5)),
)  # fmt: skip

_TRAILING = (
    Case("a delimiter at the end of every line", text(end=",\n"),
         read(left_out={"name": "", "column 6": "no value in any row"})),
    Case("a semicolon at the end of every line, CRLF", text(delimiter=";", end=";\r\n"),
         read(left_out={"name": "", "column 6": "no value in any row"})),
    Case("four delimiters at the end of every line", text(end=",,,,\n"),
         read(left_out={"name": "", "column 6": "", "column 7": "", "column 8": "", "column 9": ""})),
    Case("a delimiter at the end of rows only", text(end=",\n").replace("y,\n", "y\n", 1), refused(2)),
    Case("a delimiter at the end of the header only", text().replace("y\n", "y,\n", 1), refused(2)),
    Case("a delimiter at the end of every line but the last", text(end=",\n")[:-2], refused(13)),
    Case("a delimiter at the beginning of every line", "".join("," + line + "\n" for line in text().splitlines()),
         read(left_out={"name": "", "column 1": "no value in any row"})),
    Case("an unnamed column with numbers", text(header=("name", "", *HEADER[2:])),
         read(named=("column 2", "rooms", "change"))),
)  # fmt: skip

_UNITS = ",".join(["", "m2", "n", "%", "EUR"])
_TYPES = ",".join(["text", "double", "int", "double", "double"])
_HEADERS = (
    Case("a line of units under the header", lines((2, _UNITS)), refused(2, "y", remedy="--skip-lines 2-2")),
    Case("a line of units skipped", lines((2, _UNITS)), read(), Dialect(skip_lines="2-2")),
    Case("a line of units with gaps", lines((2, ",m2,,,")), refused(2, "size")),
    Case("a line of types under the header", lines((2, _TYPES)), refused(2, "y", remedy="--skip-lines 2-2")),
    Case("the header twice", lines((2, ",".join(HEADER))), refused(2, "y", remedy="--skip-lines 2-2")),
    Case("the header twice, features named", lines((2, ",".join(HEADER))), refused(2, "y"), features=("change", "size")),
    Case("the header again in the middle", lines((8, ",".join(HEADER))), refused(8, "y", remedy="--skip-lines 8-8")),
    Case("the header again in the middle, skipped", lines((8, ",".join(HEADER))), read(), Dialect(skip_lines="8-8")),
    Case("the header again twice", lines((6, ",".join(HEADER)), (10, ",".join(HEADER))),
         refused(6, "y", remedy="--skip-lines 6-6")),
    Case("the header again after a blank line", lines((8, ",".join(HEADER)), (8, "")),
         refused(9, "y", remedy="--skip-lines 9-9")),
    Case("the header again as the last line", lines((14, ",".join(HEADER))), refused(14, "y")),
    Case("two files with byte order marks put together", "\ufeff" + text(ROWS[:6]) + "\ufeff" + text(ROWS[6:]),
         refused(8, "y")),
    Case("a byte order mark in the middle, before a number",
         text(_Y_FIRST[:6], _Y_HEADER) + "\ufeff" + text(_Y_FIRST[6:], None), refused(8, "y")),
    Case("two tables of different widths", text() + "\na,b\n1,2\n", refused(15, problem="2 cells where the header has 5")),
    Case("two tables of the same width", text() + "\n" + text(header=("town", "area", "flats", "growth", "price")),
         refused(15, "y")),
    Case("no header", _NO_HEADER, refused(1, remedy="--header none")),
    Case("no header, below a blank line", "\n" + _NO_HEADER, refused(2, remedy="--header none")),
    Case("no header, and the target is a number", _NO_HEADER, refused(1, remedy="--header none"), target="1072.89"),
    Case("no header, taken by option", _NO_HEADER, read(named=("column 1", "column 2", "column 3"), left_out={}),
         Dialect(header="none"), target="column 4"),
    Case("a row of numbers is the header by option", _NO_HEADER,
         read(without(2), named=("1234.5", "3", "-2.25"), left_out={}), Dialect(header=1), target="1072.89"),
    Case("no header, and the first cell is text", text(header=None), refused(None)),
    Case("years in the header", text(header=("name", "2001", "2002", "2003", "2004")),
         read(named=("2001", "2002", "2003")), target="2004"),
    Case("a header and no rows", text(()), refused(None)),
    Case("a header without a line end and no rows", text(())[:-1], refused(None)),
    Case("one row", text(ROWS[:1]), refused(None)),
    Case("two rows", text(ROWS[:2]), read(ROWS[:2])),
    Case("an empty file", "", refused(None)),
    Case("a file of blank lines", "\n \n\n", refused(None)),
    Case("a file of delimiters", ",,,\n,,,\n", refused(None)),
    Case("rows twice are rows", text(ROWS * 2), read(ROWS * 2)),
)  # fmt: skip

_SUMS = ("34128.24", "52", "-0.775", "27358.01")
_AROUND = (
    Case("a title above the header", "Prices of flats\n" + text(), refused(1, remedy="--header 2")),
    Case("a title with delimiters above the header", "Prices of flats,,,,\n\n" + text(), refused(1, remedy="--header 3")),
    Case("a title above the header, and the header named by line", "Prices of flats\n" + text(), read(found={"header_line": 2}),
         Dialect(header=2)),
    Case("a title above the header, skipped", "Prices of flats\n" + text(), read(found={"lines_skipped": 1}),
         Dialect(skip_lines="1")),
    Case("a title, a bad number, the header named", "Prices\n\n" + text(put(("size", 5, "x"))), refused(7, "size"),
         Dialect(header=3)),
    Case("sixty lines above the header", "Terms of use\n" * 60 + text(), refused(None)),
    Case("sixty lines above the header, named by line", "Terms of use\n" * 60 + text(), read(), Dialect(header=61)),
    Case("an unknown target", text(), refused(None), target="price"),
    Case("an unknown feature", text(), refused(None), features=("size", "room")),
    Case("a target in capitals", text(), refused(None), target="Y"),
    Case("a footer of one cell", text() + "\n(12 rows affected)\n", refused(15, problem="1 cell where the header has 5")),
    Case("a footer of one cell, skipped", text() + "\n(12 rows affected)\n", read(), Dialect(skip_lines="14-")),
    Case("a footer under the numbers", text(_Y_FIRST, _Y_HEADER) + "Source: the office,,,,\n",
         refused(14, "y", remedy="--skip-lines 14-")),
    Case("a footer of two lines under the numbers", text(_Y_FIRST, _Y_HEADER) + "Source: the office,,,,\nof 2026,,,,\n",
         refused(14, "y", remedy="--skip-lines 14-")),
    Case("a footer under the numbers, skipped", text(_Y_FIRST, _Y_HEADER) + "Source: the office,,,,\nof 2026,,,,\n", read(),
         Dialect(skip_lines="14-")),
    Case("a footer under the names", text() + "Source: the office,,,,\n", read(dropped=(14,))),
    *(Case(f"a last row called {word}", text((*ROWS, (word, *_SUMS))), refused(14, remedy="--skip-lines 14-"))
      for word in ("Total", "TOTAL", "sum", "Average", "mean", "Subtotal", "Grand total", " Total ")),
    Case("a total after a blank line", text() + "\n" + text((("Total", *_SUMS),), None) + "\n\n",
         refused(15, remedy="--skip-lines 15-")),
    Case("a total skipped", text((*ROWS, ("Total", *_SUMS))), read(), Dialect(skip_lines="14-")),
    Case("a total in quotes", text((*ROWS, ("Total", *_SUMS)), always=True), refused(14, remedy="--skip-lines 14-")),
    Case("a name with sum in it", text((*ROWS, ("Sumatra", *_SUMS))), read((*ROWS, ("Sumatra", *_SUMS)))),
    Case("a name that is Total more than once", text((*put(("name", 4, "Total")), ("Total", *_SUMS))),
         read((*ROWS, ("Total", *_SUMS)))),
)  # fmt: skip

_NAMES_TWICE = ("name", "size", "size", "change", "y")
_TWINS = (
    Case("the target twice", text(header=("name", "y", "rooms", "change", "y")), refused(1)),
    Case("a feature twice", text(header=_NAMES_TWICE), refused(1, problem="size")),
    Case("a feature twice, below blank lines", "\n\n" + text(header=_NAMES_TWICE), refused(3)),
    Case("a feature twice that is not asked for", text(header=_NAMES_TWICE), read(features=("change",), left_out=None),
         features=("change",)),
    Case("a feature twice that is asked for", text(header=_NAMES_TWICE), refused(1), features=("size", "change")),
    Case("a feature twice that is left out", text(header=_NAMES_TWICE), read(features=("change",)), leave_out=("size",)),
    Case("text twice", text(tuple((row[0], *row) for row in ROWS), ("name", *HEADER)), read()),
    Case("text and numbers of one name", text(header=("size", *HEADER[1:])), refused(1)),
    Case("twins but for blanks", text(header=("name", "size", " size ", "change", "y")), refused(1)),
    Case("twins but for Unicode composition", text(header=("name", "gr\u00f6\u00dfe", "gro\u0308\u00dfe", "change", "y")),
         refused(1)),
    Case("case twins", text(header=("name", "x", "X", "change", "y")), read(named=("x", "X", "change"))),
    Case("a case twin of the target", text(header=("name", "Y", "rooms", "change", "y")), read(named=("Y", "rooms", "change"))),
    Case("a name that is the place of an unnamed one", text(header=("name", "column 3", "", "change", "y")), refused(1)),
    Case("two names empty", text(header=("name", "", "", "change", "y")), read(named=("column 2", "column 3", "change"))),
    Case("a column left out", text(), read(features=("size", "change")), leave_out=("rooms",)),
    Case("features in an order of one's own", text(), read(features=("change", "size"), left_out=None),
         features=("change", "size")),
    Case("the target first", text(_Y_FIRST, _Y_HEADER), read()),
    Case("another target", text(), read(features=("size", "change", "y"), target="rooms"), target="rooms"),
)  # fmt: skip


def _only(*columns: str) -> Rows:
    return tuple(tuple(row[HEADER.index(column)] for column in columns) for row in ROWS)


_SHAPES = (
    Case("two columns", text(_only("size", "y"), ("size", "y")), read(features=("size",), left_out={})),
    Case("numbers only", _ALL_NUMBERS, read(left_out={})),
    Case("no feature", text(_only("name", "y"), ("name", "y")), refused(None)),
    Case("a target of text", text(), refused(2, "name"), target="name"),
    Case("a feature of text that is named", text(), refused(2, "name"), features=("name", "size")),
    Case("a cell of 200,000 characters", text(put(("name", 5, "w" * 200_000))), read()),
    Case("five hundred columns", text(tuple((*row, *["7"] * 500) for row in ROWS),
         (*HEADER, *(f"c{i}" for i in range(500)))),
         read(left_out={"name": ""} | {f"c{i}": "constant" for i in range(500)})),
    Case("every cell with blanks around", text(tuple(tuple(f"  {cell} " for cell in row) for row in ROWS)), read()),
    Case("names that are numbers in part", text(column("name", ["17", "4711", "x", "y", "z", "12 B", *"abcdef"])), read()),
    Case("names that are numbers in half", text(column("name", [*"123579", *"abcdef"])), read()),
    Case("names that are numbers in most", text(column("name", [*"1237598", *"abcde"])),
         refused(9, "name", problem="5|2 more")),
    Case("names that are numbers in most, left out", text(column("name", [*"1237598", *"abcde"])), read(left_out={}),
         leave_out=("name",)),
    Case("names that are numbers in most, not asked for", text(column("name", [*"1237598", *"abcde"])), read(left_out=None),
         features=FEATURES),
    Case("names that are numbers in most of those that are there",
         text(column("name", ["1", "", "2", "NA", "7", "", "x", "", "", "", "", ""])), refused(8, "name")),
    Case("every column wrong, the target is named", text(put(*((name, 13 - j, "x") for j, name in enumerate(NUMBERS)))),
         refused(10, "y")),
    Case("two columns wrong, the first of the file is named", text(put(("rooms", 3, "x"), ("size", 7, "x"))),
         refused(7, "size")),
    Case("two columns wrong, the first asked for is named", text(put(("rooms", 3, "x"), ("size", 7, "x"))), refused(3, "rooms"),
         features=("rooms", "size")),
    Case("a column wrong that is not asked for", text(put(("rooms", 3, "x"))), read(features=("size",), left_out=None),
         features=("size",)),
    Case("a column wrong that is left out", text(put(("rooms", 3, "x"))), read(features=("size", "change")),
         leave_out=("rooms",)),
    Case("a bad number far away", _LONG + "x,1,2,x,4\n", refused(24002, "change")),
    Case("a byte that does not decode far away", _LONG.encode() + b"\xff,1,2,3,4\n", refused(24002, remedy="--encoding")),
)  # fmt: skip

CASES = (
    *_RAGGED, *_QUOTED, *_NUL, *_BLANK, *_TRAILING, *_HEADERS, *_AROUND, *_TWINS, *_SHAPES,
)  # fmt: skip
