"""What programs export: spreadsheets, statistics packages, databases, consoles, and files that are no tables at all."""

from __future__ import annotations

import json

from gd.dialect import Dialect
from tests.corpus.case import (
    FEATURES,
    HEADER,
    NUMBERS,
    ROWS,
    Case,
    column,
    comma,
    every,
    grouped,
    lines,
    put,
    read,
    refused,
    text,
    without,
)

_INDEXED = tuple((str(i), *row) for i, row in enumerate(ROWS, 1))


def _boxed(edge: str = "", rule: str = "") -> str:
    """A table as consoles print it; of a rule the ends and what joins its dashes."""
    widths = [max(len(row[j]) for row in (HEADER, *ROWS)) for j in range(5)]
    padded = [[f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)] for row in (HEADER, *ROWS)]
    made = [edge + "|".join(cells) + edge for cells in padded]
    dashes = rule[:-2] + rule[-1].join("-" * (width + 2) for width in widths) + rule[:-2]
    return "\n".join([made[0], *([dashes] if rule else []), *made[1:]]) + "\n"


_PSQL = _boxed("", " +") + "(12 rows)\n\n"
_MARKDOWN = _boxed("|", "| |")
_ORG = _boxed("|", "| +")
_RULE = "+" + "+".join(["---"] * 5) + "+"
_MYSQL = f"{_RULE}\n{_boxed('|', '+ +')}{_RULE}\n"
_OUTER = {"name": "", "column 1": "no value", "column 7": "no value"}

_SHEETS = (
    Case("Excel's first line", "sep=;\n" + text(delimiter=";"), refused(1, remedy="--header 2")),
    Case("Excel's first line, the header named by line", "sep=;\r\n" + text(delimiter=";", end="\r\n"),
         read(found={"delimiter": ";"}),
         Dialect(header=2)),
    Case("Excel's first line for commas", "sep=,\n" + text(), refused(1, remedy="--header 2")),
    Case("Excel's first line, and a bad number", "sep=;\n" + text(put(("size", 5, "x")), delimiter=";"), refused(6, "size"),
         Dialect(header=2)),
    Case("Excel's Unicode text", text(delimiter="\t", end="\r\n").encode("utf-16"),
         read(found={"delimiter": "\t", "line_ends": "CRLF"})),
    Case("Excel's Unicode text the German way", text(every(comma, *NUMBERS), delimiter="\t", end="\r\n").encode("utf-16"),
         refused(2, "y", remedy="--decimal")),
    Case("Excel's Unicode text the German way by option",
         text(every(comma, *NUMBERS), delimiter="\t", end="\r\n").encode("utf-16"),
         read(), Dialect(decimal=",")),
    Case("Excel's scientific numbers", text(put(("size", 7, "8.40E+03"), ("size", 8, "1.5E+03"))), read()),
    Case("Excel's empty rows and columns", text(end=",,,\r\n") + ",,,,,,,\r\n" * 2,
         read(left_out={"name": "", "column 6": "", "column 7": "", "column 8": ""}, dropped=(14, 15))),
    Case("Excel's division by zero", text(put(("change", 4, "#DIV/0!"))), refused(4, "change", remedy="--missing")),
    Case("Excel's errors by option", text(put(("change", 4, "#DIV/0!"), ("change", 6, "#REF!"), ("y", 7, "#N/A"))),
         read(without(4, 6, 7), dropped=(4, 6, 7)), Dialect(missing=("default", "#DIV/0!", "#REF!"))),
    Case("a Google sheet with #N/A", text(put(("change", 4, "#N/A")), end="\r\n")[:-2], read(without(4), dropped=(4,))),
    Case("Excel's overflow of a cell", text(put(("size", 7, "########"))), refused(7, "size")),
    Case("Excel's rupees", text(put(("size", 7, "₹8,400.00"))), refused(7, "size", remedy="--units")),
    Case("accounting, blanks around and dashes for nothing", text(put(("size", 7, " $ 8,400.00 "), ("change", 3, " -   "))),
         read(without(3), dropped=(3,)), Dialect(units=("$",), thousands=",", missing=("default", "-"))),
)  # fmt: skip

_STATISTICS = (
    Case("R's row names in blanks, a header that is one shorter",
         " ".join(f'"{name}"' for name in HEADER) + "\n" + "".join(" ".join((*(f'"{c}"' for c in row[:2]), *row[2:])) + "\n"
                                                                  for row in _INDEXED),
         refused(2, problem="6 cells where the header has 5"), Dialect(delimiter=" ")),
    Case("R's row names in commas, a header that is one shorter", text(_INDEXED),
         refused(2, problem="6 cells where the header has 5")),
    Case("R's row names under an empty name", text(_INDEXED, ("", *HEADER), always=True), read(), leave_out=("column 1",)),
    Case("R's NA in and out of quotes", text(put(("size", 4, "NA"))).replace("1.75", '"NA"'), read(without(4), dropped=(4,))),
    Case("R's other decimal mark", text(every(comma, *NUMBERS), delimiter=";"), read(), Dialect(decimal=",", delimiter=";")),
    Case("SAS and Stata's point", text(put(("size", 4, "."))), refused(4, "size", remedy="--missing")),
    Case("Stata's letter points", text(put(("size", 4, ".a"))), refused(4, "size")),
    Case("MATLAB's Inf", text(put(("size", 4, "Inf"))), refused(4, "size")),
    Case("Fortran's stars", text(put(("size", 4, "******"))), refused(4, "size")),
    Case("Fortran's D", text(every(lambda cell: f"{cell}D+00", "size")),
         read(features=("rooms", "change"), left_out={"name": "", "size": ""})),
    Case("Julia's missing", text(put(("size", 4, "missing"))), refused(4, "size", remedy="--missing")),
    Case("pandas' <NA>", text(put(("size", 4, "<NA>"))), refused(4, "size", remedy="--missing")),
    Case("a numpy header behind a hash", "# " + text(), read(left_out={"# name": ""})),
    Case("a numpy header behind a hash, of numbers", "# " + text(tuple(row[1:] for row in ROWS), HEADER[1:]),
         read(named=("# size", "rooms", "change"), left_out={})),
    Case("a numpy header that comments hide", "# " + text(), refused(None), Dialect(comment="#")),
    Case("SAP's minus behind", text(put(("change", 2, "2.25-"))), refused(2, "change")),
    Case("SAP's minus behind throughout the target", text(every(lambda cell: f"{cell}-", "y")), refused(2, "y")),
    Case("Swiss francs", text(every(lambda cell: f"CHF {grouped(cell, chr(39))}", "y")), refused(2, "y", remedy="--units")),
    Case("Swiss francs by option", text(every(lambda cell: f"CHF {grouped(cell, chr(39))}", "y")), read(),
         Dialect(units=("CHF",), thousands="'")),
)  # fmt: skip

_INSERT = "INSERT INTO t VALUES ('{}');\n"
_DATABASES = (
    Case("MySQL's \\N", text(put(("size", 4, "\\N")), delimiter="\t"), refused(4, "size", remedy="--missing")),
    Case("MySQL's \\N by option", text(put(("size", 4, "\\N")), delimiter="\t"), read(without(4), dropped=(4,)),
         Dialect(missing=("default", r"\N"))),
    Case("SQL Server's NULL and footer", text(put(("size", 4, "NULL"))) + "\n(12 rows affected)\n", refused(15)),
    Case("SQL Server's NULL and footer by option", text(put(("size", 4, "NULL"))) + "\n(12 rows affected)\n",
         read(without(4), dropped=(4,)), Dialect(skip_lines="14-")),
    Case("SQL Server's dashes", lines((2, ",".join(["----"] * 5))), refused(2, "y", remedy="--skip-lines 2-2")),
    Case("psql's console", _PSQL, refused(2, problem="1 cell where the header has 5")),
    Case("psql's console by option", _PSQL, read(found={"delimiter": "|"}), Dialect(skip_lines="2-2,15-")),
    Case("psql's footer", "|".join(HEADER) + "\n" + text(ROWS, None, delimiter="|") + "(12 rows)\n", refused(14)),
    Case("MySQL's console", _MYSQL, refused(1, remedy="--header 2")),
    Case("MySQL's console by option", _MYSQL, read(left_out=_OUTER), Dialect(skip_lines="1-1,3-3,16-")),
    Case("a Markdown table", _MARKDOWN, refused(2, "y", remedy="--skip-lines 2-2")),
    Case("a Markdown table by option", _MARKDOWN, read(left_out=_OUTER), Dialect(skip_lines="2-2")),
    Case("an Org table", _ORG, refused(2, problem="3 cells where the header has 7")),
    Case("an Org table by option", _ORG, read(left_out=_OUTER), Dialect(skip_lines="2-2")),
    Case("an SQL dump", "".join(_INSERT.format("', '".join(row)) for row in ROWS), refused(1, remedy="--delimiter")),
    Case("booleans beside numbers", text(column("name", ["t", "f", "t"] * 4)), read()),
)  # fmt: skip

_HTML = "<!DOCTYPE html>\n<html><body>\n<h1>404 Not Found</h1>\n<p>nginx</p>\n</body></html>\n"
_HTML_TABLE = (
    "<table>\n"
    + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in (HEADER, *ROWS))
    + "</table>\n"
)
_JSON = json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent=2)
_LATEX = "".join(" & ".join(row) + r" \\" + "\n" for row in (HEADER, *ROWS))
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\0IEND\xaeB`\x82"
_NO_TABLES = (
    Case("a page of HTML", _HTML, refused(None)),
    Case("a table of HTML", _HTML_TABLE, refused(None)),
    Case("JSON", _JSON, refused(None)),
    Case("an image", _PNG, refused(1)),
    Case("a workbook", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml \xa2\x04\x02(\xa0\x00\x02",
         refused(1)),
    Case("an old workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + b">\0\x03\0\xfe\xff", refused(1)),
    Case("a Parquet file", b"PAR1\x15\x04\x15\x60\x15\x42\x4c\x15\x0c\x15\x00\x12\x00\x00\x30\x28PAR1", refused(1)),
    Case("a PDF file", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", refused(2)),
    Case("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0", refused(1)),
    Case("LaTeX", _LATEX, refused(None)),
    Case("fixed widths", "".join(f"{row[0]:<10}" + "".join(f"{cell:>10}" for cell in row[1:]) + "\n" for row in (HEADER,
         *ROWS)),
         refused(None)),
    Case("fixed widths, blanks by option", "".join(f"{row[0]:<10}" + "".join(f"{cell:>10}" for cell in row[1:]) + "\n"
         for row in (HEADER, *ROWS)), refused(2), Dialect(delimiter=" ")),
    Case("a letter", "Dear all,\n\nplease find the table attached.\n\nYours\n", refused(None)),
    Case("one word", "nothing", refused(None)),
)  # fmt: skip

_ACCIDENTS = (
    Case("conflict markers of git", lines((5, "<<<<<<< HEAD"), (6, "======="), (7, ">>>>>>> main")), refused(5)),
    Case("a Ctrl-Z at the end", text(end="\r\n") + "\x1a", refused(14)),
    Case("two files put together", text() + text(), refused(14, "y", remedy="--skip-lines 14-14")),
    Case("two files put together, no line end between", text()[:-1] + text(), refused(13)),
    Case("a row twice", text((*ROWS, ROWS[-1])), read((*ROWS, ROWS[-1]))),
    Case("a message of a program at the top", "WARNING: no password set\n" + text(), refused(1, remedy="--header 2")),
    Case("a message of a program in the middle", lines((6, "Segmentation fault")), refused(6)),
    Case("a message with commas in the middle", lines((6, "error,in,line,6,again")), refused(6, "y")),
    Case("a row shifted by a cell", text().replace("Erfurt,640.1,5,3,867.08", "640.1,5,3,867.08,Erfurt"), refused(6, "y")),
    Case("a non-breaking space before every number", text(every(lambda cell: f"\xa0{cell}", *FEATURES, "y")), refused(2, "y")),
    Case("Arabic-Indic digits throughout",
         text(every(lambda cell: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in cell), "rooms")),
         read(features=("size", "change"), left_out={"name": "", "rooms": ""})),
    Case("Arabic-Indic digits in the target",
         text(every(lambda cell: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in cell), "y")),
         refused(2, "y")),
    Case("percent escapes of the web", text().replace(",", "%2C"), refused(None)),
    Case("tabs made blanks", text(delimiter="\t").expandtabs(8), refused(None)),
    Case("every line in quotes", "".join(f'"{line}"\n' for line in text().splitlines()), refused(None)),
    Case("base64", "bmFtZSxzaXplLHJvb21zLGNoYW5nZSx5Cg==\n", refused(None)),
    Case("line ends lost", text().replace("\n", " "), refused(None)),
    Case("line ends written out", text().replace("\n", "\\n"), refused(None)),
)  # fmt: skip

CASES = (*_SHEETS, *_STATISTICS, *_DATABASES, *_NO_TABLES, *_ACCIDENTS)
