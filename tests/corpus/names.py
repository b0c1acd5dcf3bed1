"""Names that mean harm, or something else: markup, codes, formulas, twins of our own names, great length."""

from __future__ import annotations

from tests.corpus.case import HEADER, ROWS, Case, Row, column, put, read, refused, text

_HOSTILE = {
    "markup": "<script>alert(1)</script>", "an entity": "&lt;b&gt;", "a line end": "si\nze", "a CRLF": "si\r\nze",
    "a tab": "si\tze",
    "an escape code": "\x1b[31msize\x1b[0m", "a bell": "\asize", "a backspace": "size\b\b\b", "right-to-left": "\u202eezis",
    "a zero-width space": "si\u200bze", "a formula": "=1+2", "a command": "=cmd|'/c calc'!A1", "at": "@SUM(A1)",
    "minus": "-size",
    "a path": "../../etc/passwd", "a Windows path": "C:\\size", "300 characters": "s" * 300, "intercept": "intercept",
    "epoch": "epoch", "loss": "loss", "a template": "{{ size }}", "a format": "{size} %s %(a)s", "quotes": 'the "size"',
    "a comma": "size, m2", "an apostrophe": "flat's size", "emoji": "📏", "a combining mark": "s\u0301ize", "Chinese": "面积",
    "squared": "m²", "a backslash": "\\n", "a dollar": "$(size)", "a number": "17", "a mark of missing": "NA", "NaN": "NaN",
    "line separator": "si\u2028ze", "next line": "si\x85ze", "a vertical tab": "si\x0bze", "a delete": "si\x7fze",
}  # fmt: skip
_LATER = {"a line end": 1, "a CRLF": 1}  # lines more that the header takes


def _named(name: str) -> Row:
    return (HEADER[0], name, *HEADER[2:])


_GOOD = tuple(
    Case(f"a name with {what}", text(header=_named(name)), read(named=(name, "rooms", "change")))
    for what, name in _HOSTILE.items()
)
_TARGETS = tuple(
    Case(f"a target with {what}", text(header=(*HEADER[:4], _HOSTILE[what])), read(), target=_HOSTILE[what])
    for what in (
        "markup",
        "a line end",
        "an escape code",
        "a formula",
        "300 characters",
        "quotes",
        "a comma",
        "right-to-left",
        "NaN",
    )
)
_BAD = tuple(
    Case(f"a bad number under a name with {what}", text(put(("size", 5, "x")), _named(name)),
         refused(5 + _LATER.get(what, 0), name))
    for what, name in _HOSTILE.items()
    if what in {"markup", "a line end", "a CRLF", "an escape code", "right-to-left", "300 characters", "quotes",
    "an apostrophe", "emoji",
                "a zero-width space", "line separator", "next line"}
)  # fmt: skip
_FILES = tuple(
    Case(f"a file called {what}", text(), read(), file=name)
    for what, name in {
        "with markup": "<b>.csv", "with a line end": "a\nb.csv", "with an escape code": "\x1b[31m.csv",
        "with blanks": " a  b .csv",
        "like a formula": "=1+1.csv", "right-to-left": "\u202evsc.csv", "like an option": "--target.csv",
        "in capitals": "T.CSV",
        "without an ending": "table", "like a text": "t.txt", "like zstd": "t.csv.zst", "long": "n" * 200 + ".csv",
        "with dots": "...csv", "with quotes": "'\".csv", "in Chinese": "表.csv", "like a glob": "[a]*.csv",
        "like an address": "s3:t.csv",
    }.items()
)  # fmt: skip

CASES = (
    *_GOOD, *_TARGETS, *_BAD, *_FILES,
    Case("a target asked for with blanks around", text(), read(), target=" y "),
    Case("a feature asked for with blanks around", text(), read(features=("rooms",), left_out=None), features=(" rooms\t",)),
    Case("a header with blanks around", text(header=tuple(f"  {name}\t" for name in HEADER)), read()),
    Case("a target that is composed, asked for decomposed", text(header=(*HEADER[:4], "pr\u00e9")), read(), target="pre\u0301"),
    Case("a target that is decomposed, asked for composed", text(header=(*HEADER[:4], "pre\u0301")), read(), target="pr\u00e9"),
    Case("a full-width target", text(header=(*HEADER[:4], "ｙ")), refused(None)),
    Case("a target with a zero-width space", text(header=(*HEADER[:4], "y\u200b")), refused(None)),
    Case("a target in typographic quotes", text(header=(*HEADER[:4], "“y”")), refused(None)),
    Case("compatibility twins", text(header=("name", "m2", "m²", "change", "y")), read(named=("m2", "m²", "change"))),
    Case("hostile text in a bad cell", text(put(("size", 5, "\x1b[2J<b>\u202e\r\n\t"))), refused(5, "size")),
    Case("hostile text in names of rows", text(column("name", ["\x1b[2J", "<b>", "\u202e", "=1+1"] * 3)), read()),
    Case("every name is 300 characters long", text(tuple(row[1:] for row in ROWS), (*(c * 300 for c in "abc"), "y")),
         read(named=("a" * 300, "b" * 300, "c" * 300), left_out={})),
    Case("an unknown target among names of 300 characters", text(header=tuple(c * 300 for c in "abcde")), refused(None)),
    Case("twins of 300 characters", text(header=("name", "a" * 300, "a" * 300, "b", "y")), refused(1)),
)  # fmt: skip
