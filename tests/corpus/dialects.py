"""How a table may be written: delimiters, quotes, line ends, encodings, and options that override what is found out."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import FEATURES, HEADER, ROWS, Case, Rows, column, comma, every, lines, put, read, refused, text, without

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
_QUOTES = {"unquoted": ('"', False), "double quotes": ('"', True), "single quotes": ("'", True)}

_CROSSED = tuple(
    Case(
        f"{delimiter}, {quotes}, {end}",
        text(delimiter=_DELIMITERS[delimiter], quote=mark, always=always, end=_ENDS[end]),
        read(found={"delimiter": _DELIMITERS[delimiter], "line_ends": end} | ({"quote": mark} if always else {})),
    )
    for delimiter in _DELIMITERS
    for quotes, (mark, always) in _QUOTES.items()
    for end in _ENDS
)

_OTHERS = {"colon": ":", "caret": "^", "tilde": "~", "unit separator": "\x1f", "ampersand": "&", "space": " "}
_BY_OPTION = tuple(
    Case(
        f"{name} as delimiter by option",
        text(delimiter=mark),
        read(found={"delimiter": mark}),
        Dialect(delimiter=mark),
    )
    for name, mark in _OTHERS.items()
) + tuple(Case(f"{name} as delimiter without option", text(delimiter=mark), refused(None)) for name, mark in _OTHERS.items())

_COMMAS = column("name", ["Aachen, Nord", "Bonn, Süd", *(row[0] for row in ROWS[2:])])
_LINES = column("name", ["Aachen\nNord", "Bonn\n\nSüd", *(row[0] for row in ROWS[2:])])  # three lines more in all
_INCH = put(("name", 4, '5" pipe'), ("name", 6, 'a"b"c'))
_TWICE = "y,a;b;y\n" + "".join(f"u,{'vw'[i % 2]};{row[2]};{row[4]}\n" for i, row in enumerate(ROWS))
"""y is a cell of the header under a comma and under a semicolon, and the rows fit both."""

_DELIMITING = (
    Case("names hold other delimiters", text(column("name", ["a;b|c\td"] * 12)), read(found={"delimiter": ","})),
    Case("semicolons, and names with commas", text(_COMMAS, delimiter=";"), read(found={"delimiter": ";"})),
    Case("quoted names with commas", text(_COMMAS), read(found={"delimiter": ",", "quote": '"'})),
    Case("unquoted names with commas", text(_COMMAS).replace('"', ""), refused(2, problem="6 cells where the header has 5")),
    Case("more commas than tabs", text(column("name", ["a,b,c,d,e"] * 12), delimiter="\t"), read(found={"delimiter": "\t"})),
    Case("a name in the header holds the other delimiter", text(header=("name;city", *HEADER[1:])),
         read(left_out={"name;city": ""}, found={"delimiter": ","})),
    Case("every name in the header but the target holds semicolons", text(header=("n;a", "s;b", "r;c", "c;d", "y")),
         read(header=("n;a", "s;b", "r;c", "c;d", "y"), features=("s;b", "r;c", "c;d"), left_out={"n;a": ""})),
    Case("two delimiters fit", _TWICE, refused(1, remedy="--delimiter")),
    Case("two delimiters fit, one is said", _TWICE,
         read(features=("rooms",), named=("b",), left_out={"y,a": ""}, found={"delimiter": ";"}), Dialect(delimiter=";")),
    Case("two delimiters fit the target, one the feature", _TWICE,
         read(features=("rooms",), named=("b",), left_out=None, found={"delimiter": ";"}), features=("b",)),
    Case("the wrong delimiter said", text(), refused(None), Dialect(delimiter=";")),
    Case("blanks after commas", text(delimiter=", "), read(found={"delimiter": ","})),
    Case("blanks around semicolons", text(delimiter=" ; "), read(found={"delimiter": ";"})),
    Case("a blank before a quoted comma", text(put(("name", 4, "Celle")), delimiter=", ").replace("Celle", ' "Celle, Ost"'),
         refused(4, problem="6 cells where the header has 5")),
    Case("doubled pipes", text(delimiter="||"),
         read(left_out={"name": "", "column 2": "", "column 4": "", "column 6": "", "column 8": ""}, found={"delimiter": "|"})),
    Case("aligned with blanks", "".join(" ".join(f"{cell:>9}" for cell in row) + "\n" for row in (HEADER, *ROWS)),
         refused(None)),
    Case("one column", "y\n" + "".join(row[4] + "\n" for row in ROWS), refused(None)),
    Case("no header and two delimiters fit", "".join(f"{comma(row[1])};{comma(row[4])}\n" for row in without(4, 7, 8)),
         refused(1, remedy="--delimiter"), Dialect(header="none"), target="column 2"),
    Case("no header and two delimiters fit, one is said",
         "".join(f"{comma(row[1])};{comma(row[4])}\n" for row in without(4, 7, 8)),
         read(without(4, 7, 8), features=("size",), named=("column 1",), left_out={},
         found={"delimiter": ";", "header_line": None}),
         Dialect(header="none", delimiter=";", decimal=","), target="column 2"),
)  # fmt: skip

_QUOTING = (
    Case("only the header in quotes", text().replace("name,size,rooms,change,y", '"name","size","rooms","change","y"'), read()),
    Case("only text in quotes", "".join(f'"{r[0]}",' + ",".join(r[1:]) + "\n" for r in (HEADER, *ROWS)),
         read(found={"quote": '"'})),
    Case("only some numbers in quotes", text(put(("size", 3, "987.25"))).replace("987.25", '"987.25"').replace("8400",
         '"8400"'), read()),
    Case("quotes within quotes", text(column("name", ['a "b" c'] * 12), always=True), read(found={"quote": '"'})),
    Case("quotes in the middle of a cell", text(_INCH), read()),
    Case("an apostrophe begins a name", text(put(("name", 4, "'s-Hertogenbosch"), ("name", 6, "O'Brien"))), read()),
    Case("single quotes around commas, by option", text(_COMMAS, quote="'"), read(found={"quote": "'"}), Dialect(quote="'")),
    Case("single quotes around commas, without option", text(_COMMAS, quote="'"), read(found={"quote": "'"})),
    Case("doubled single quotes", text(put(("name", 4, "O'Brien, jr")), quote="'", always=True), read(found={"quote": "'"})),
    Case("single quotes, and double ones within", text(_INCH, quote="'", always=True), read(found={"quote": "'"})),
    Case("a quote that is never closed, and quotes that mean nothing by option", text().replace("Celle", '"Celle'),
         read(found={"quote": ""}), Dialect(quote="")),
    Case("quotes that mean nothing, and a comma between them", text(_COMMAS), refused(2), Dialect(quote="")),
    Case("quotes that mean nothing around a number", text().replace("8400", '"8400"'), refused(7, "size"), Dialect(quote="")),
    Case("line ends in quotes", text(_LINES), read()),
    Case("lines after line ends in quotes", text(put(("size", 9, "x"), rows=_LINES)), refused(12, "size")),
    Case("a gap after line ends in quotes", text(put(("size", 9, "NA"), rows=_LINES)), read(without(9), dropped=(12,))),
    Case("CRLF in quotes of an LF file", text(put(("size", 9, "x"), ("name", 4, "a\r\nb"))), refused(10, "size")),
    Case("CR in quotes of an LF file", text(put(("size", 9, "x"), ("name", 4, "a\rb"))), refused(10, "size")),
    Case("LF in quotes of a CR file", text(put(("size", 9, "x"), ("name", 4, "a\nb")), end="\r"), refused(10, "size")),
    Case("delimiters in quotes that look like a row", text(put(("name", 4, "1,2,3,4,5\n6,7,8,9,10"))), read()),
    Case("a bad number in a row that begins a line earlier", text(put(("name", 4, "a\nb"), ("size", 4, "x"))),
         refused(4, "size")),
    Case("no quotes, and typographic ones", text(column("name", ["“Aachen”", "„Bonn“", "«Celle»"] * 4)), read()),
    Case("typographic quotes around a number", text(put(("size", 5, "“5”"))), refused(5, "size")),
)  # fmt: skip

_MIXED = text().replace("\n", "\r\n", 5).replace("3,867.08\n", "3,867.08\r").replace("6066.15\n", "6066.15\r")
_ENDING = (
    Case("mixed line ends", _MIXED, read(found={"line_ends": "mixed"})),
    Case("mixed line ends, and a bad number", _MIXED.replace("725.8", "x"), refused(11, "size")),
    Case("no last line end", text()[:-1], read()),
    Case("no last line end, CRLF", text(end="\r\n")[:-2], read()),
    Case("half a last line end", text(end="\r\n")[:-1], read()),
    Case("no last line end, in quotes", text(always=True)[:-1], read()),
    Case("CR CR LF", text(end="\r\r\n"), read()),
    Case("a lone CR in a cell", text().replace("Celle", "Ce\rlle"), refused(4, problem="1 cell where the header has 5")),
    Case("what Python calls line ends", text(put(
        ("name", 2, "a\x0bb"), ("name", 3, "a\x0cb"), ("name", 4, "a\x1cb\x1dc\x1ed"), ("name", 5, "a\x85b"),
        ("name", 6, "a\u2028b"), ("name", 7, "a\u2029b"), ("size", 9, "x"))), refused(9, "size")),
    Case("what Python calls line ends, and a good table",
         text(column("name", ["a\x0bb", "a\x0cb", "a\x1cb", "a\x85b", "a\u2028b", "a\u2029b"] * 2)),
         read(found={"line_ends": "LF"})),
)  # fmt: skip


def _named(*names: str) -> Rows:
    return column("name", [*names, *(row[0] for row in ROWS[len(names) :])])


_UMLAUTS = _named("Aachen", "Bonn", "Köln", "Lübeck", "Weißenfels")
_WORLD = _named("Łódź", "東京", "Αθήνα", "Қазақстан", "😀", "ĊĬĢ", "\u0d0a\u2c0d")  # low bytes of line ends and commas
_Y_FIRST = tuple((row[4], *row[:4]) for row in ROWS)
_Y_HEADER = ("y", *HEADER[:4])
_BOM = b"\xef\xbb\xbf"


def _marked(encoding: str, data: str) -> bytes:
    mark = "\ufeff"
    return (mark + data).encode(encoding)


_WIDE = tuple(
    Case(
        f"{encoding} with a byte order mark, {name}",
        _marked(encoding, text(_WORLD, delimiter=delimiter, end=end)),
        read(found={"encoding": encoding[:6], "byte_order_mark": True, "delimiter": delimiter}),
    )
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    for name, delimiter, end in (("tab and CRLF", "\t", "\r\n"), ("comma and LF", ",", "\n"))
)
_ENCODED = tuple(
    Case(f"{encoding} by option", text(rows).encode(encoding), read(), Dialect(encoding=encoding))
    for encoding, rows in {
        "latin-1": _UMLAUTS,
        "cp1252": _named("Köln", "10 €", "“Bonn”"),
        "iso8859-15": _named("10 €"),
        "cp437": _UMLAUTS,
        "mac-roman": _UMLAUTS,
        "koi8-r": _named("Москва"),
        "euc-kr": _named("서울"),
        "gb18030": _named("北京", "😀", "é"),
        "cp500": _named("Aachen"),
        "utf-16-le": _WORLD,
        "utf-16-be": _WORLD,
    }.items()
)
_BYTES = (
    Case("UTF-8", text(_WORLD), read(found={"encoding": "utf-8", "byte_order_mark": False})),
    Case("UTF-8 with a byte order mark", _BOM + text(_WORLD).encode(),
         read(found={"encoding": "utf-8", "byte_order_mark": True})),
    Case("a byte order mark before the target", _BOM + text(_Y_FIRST, _Y_HEADER).encode(),
         read(found={"byte_order_mark": True})),
    Case("a byte order mark before a quoted target", _BOM + text(_Y_FIRST, _Y_HEADER, always=True).encode(), read()),
    Case("a byte order mark before a quoted name with a comma", _BOM + text(header=("na,me", *HEADER[1:])).encode(),
         read(left_out={"na,me": ""})),
    Case("a byte order mark and CR", _BOM + text(end="\r").encode(), read(found={"line_ends": "CR"})),
    Case("a byte order mark, and utf-8 by option", _BOM + text(_Y_FIRST, _Y_HEADER).encode(), read(),
         Dialect(encoding="utf-8")),
    Case("a byte order mark before a comment", _BOM + b"# made today\n" + text().encode(), read(), Dialect(comment="#")),
    Case("a byte order mark and nothing", _BOM, refused(None)),
    *_WIDE,
    *_ENCODED,
    Case("utf-16 by option and by its mark", text().encode("utf-16"), read(), Dialect(encoding="utf-16")),
    Case("shift_jis, whose second bytes are delimiters",
         text(_named("ポツダム", "ソウル", "表"), delimiter="|").encode("shift_jis"),
         read(found={"delimiter": "|"}), Dialect(encoding="shift_jis")),
    Case("UTF-8 that an option calls latin-1", text(_UMLAUTS), read(), Dialect(encoding="latin-1")),
    Case("latin-1 without option", text(_UMLAUTS).encode("latin-1"), refused(4, remedy="--encoding")),
    Case("latin-1 in the header", text(header=("größe", *HEADER[1:])).encode("latin-1"), refused(1, remedy="--encoding")),
    Case("cp1252 without option", text(_named("a", "b", "c", "10 €")).encode("cp1252"), refused(5, remedy="--encoding")),
    Case("latin-1 that an option calls UTF-8", text(_UMLAUTS).encode("latin-1"), refused(4, remedy="--encoding"),
         Dialect(encoding="utf-8")),
    Case("UTF-8 that an option calls ASCII", text(_UMLAUTS), refused(4, remedy="--encoding"), Dialect(encoding="ascii")),
    Case("latin-1 after CR line ends", text(_UMLAUTS, end="\r").encode("latin-1"), refused(4, remedy="--encoding")),
    Case("latin-1 after line ends in quotes", text(put(("name", 9, "é"), rows=_LINES)).replace("ü", "u").encode("latin-1"),
         refused(12, remedy="--encoding")),
    Case("an overlong slash", text().encode().replace(b"Celle", b"\xc0\xaf"), refused(4, remedy="--encoding")),
    Case("half of a surrogate pair", text().encode().replace(b"Celle", b"\xed\xa0\x80"), refused(4, remedy="--encoding")),
    Case("cut off within a character", text(tuple((*row[1:], row[0]) for row in ROWS),
         (*HEADER[1:], "name")).encode()[:-1] + b"\xe6\x9d",
         refused(13, remedy="--encoding")),
    Case("UTF-16-LE without a mark", text().encode("utf-16-le"), refused(1, remedy="--encoding")),
    Case("UTF-16-BE without a mark", text().encode("utf-16-be"), refused(1, remedy="--encoding")),
    Case("UTF-16 with half a character at the end", text().encode("utf-16")[:-1], refused(13)),
    Case("UTF-16 with half of a surrogate pair",
         text().encode("utf-16").replace("C".encode("utf-16-le") + "e".encode("utf-16-le"),
         b"\x00\xd8" + "e".encode("utf-16-le")), refused(4)),
    Case("a bad number in UTF-16", text(put(("size", 9, "x"))).encode("utf-16"), refused(9, "size")),
    Case("a ragged row in UTF-16 with CRLF", text(end="\r\n").replace("Celle,", "").encode("utf-16"), refused(4)),
)  # fmt: skip

_COMMENTED = lines((1, "# made by a program, don't \"edit"), (3, "#,,"), (5, "  # indented"), (14, "# end"))
_SKIPPING = (
    Case("comments by option", _COMMENTED, read(found={"lines_skipped": 4, "header_line": 2}), Dialect(comment="#")),
    Case("a bad number after comments", _COMMENTED.replace("8400", "x"), refused(10, "size"), Dialect(comment="#")),
    Case("a gap after comments", _COMMENTED.replace("8400", ""), read(without(7), dropped=(10,)), Dialect(comment="#")),
    Case("comments of two characters", lines((1, "// a"), (9, "//b,c")), read(), Dialect(comment="//")),
    Case("a comment mark within quotes", text(put(("name", 4, "a\n# b"))), read(found={"lines_skipped": 0}),
         Dialect(comment="#")),
    Case("a comment in the middle without option", lines((5, "# 1 2 3")), refused(5)),
    Case("comments above the header without option", lines((1, "# made today"), (1, "# by me")),
         refused(1, remedy="--header 3")),
    Case("lines skipped at the top", lines((1, "made today"), (1, "by \"me")), read(found={"lines_skipped": 2}),
         Dialect(skip_lines="2")),
    Case("lines skipped by ranges", lines((2, "text,float,int,float,float"), (14, "(12 rows)"), (14, "")),
         read(found={"header_line": 1}), Dialect(skip_lines="2-2,15-")),
    Case("a bad row skipped", text(put(("size", 5, "x"))), read(without(5), found={"lines_skipped": 1}),
         Dialect(skip_lines="5-5")),
    Case("a gap after lines skipped", lines((1, "a"), (1, "b"), base=text(put(("y", 7, "")))), read(without(7), dropped=(9,)),
         Dialect(skip_lines="2")),
    Case("the names on line 4", lines((1, "Report"), (1, ""), (1, "of,2026")), read(found={"header_line": 4}),
         Dialect(header=4)),
    Case("no header by option", text(header=None),
         read(named=("column 2", "column 3", "column 4"), left_out={"column 1": ""}, found={"header_line": None}),
         Dialect(header="none"), target="column 5"),
    Case("a bad number without a header", text(put(("rooms", 5, "x")), header=None), refused(4, "column 3"),
         Dialect(header="none"), target="column 5"),
    Case("no header said, and there is one", text(), refused(1, "column 5"), Dialect(header="none"), target="column 5"),
    Case("everything said", text(every(comma, *FEATURES, "y"), delimiter=";", quote="'", always=True,
         end="\r\n").encode("cp1252"),
         read(found={"delimiter": ";", "quote": "'", "decimal": ","}),
         Dialect(delimiter=";", quote="'", decimal=",", encoding="cp1252")),
)  # fmt: skip

CASES = (*_CROSSED, *_BY_OPTION, *_DELIMITING, *_QUOTING, *_ENDING, *_BYTES, *_SKIPPING)
