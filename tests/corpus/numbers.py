"""What is a number, what is none, and which option reads it."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import FEATURES, NUMBERS, ROWS, Case, Said, comma, every, grouped, put, read, refused, text, without

_AT = 5  # the line on which one cell is another
_HUGE = "1" + "0" * 400


def _cell(cell: str) -> str:
    return text(put(("size", _AT, cell)))


_AS_WRITTEN = tuple(
    Case(f"a number written {cell!r}"[:80], _cell(cell), read(put(("size", _AT, value))))
    for cell, value in {
        "5.": "5", ".5": "0.5", "+5": "5", "1e3": "1000", "1E+3": "1000", "25e-1": "2.5", "-0": "-0", "007": "7", " 12 ": "12",
        "\t12\t": "12", "-.5": "-0.5", "+.5e1": "5", "1e-400": "0", "4.9e-324": "5e-324", "0.1": "0.1", "1E03": "1000",
        "0.1000000000000000055511151231257827021181583404541015625": "0.1",
        "2.50000000000000022204460492503130808472633361816406251": "2.5000000000000004",  # just above half between two doubles
        "2.50000000000000022204460492503130808472633361816406250": "2.5",  # half between them: to the even one
        "9007199254740992": "9007199254740992",  # 2**53 is exact
        "0." + "0" * 400 + "1": "0",
        "123456.789e-2": "1234.56789",
    }.items()
)  # fmt: skip

_NO_NUMBERS = {
    "1_000": "--thousands", "１２３": "", "٣٤": "", "५": "", "0x1F": "", "0b11": "", "1e": "", "1e+": "", "1d5": "",
    "1.5D+03": "",
    "1.5*^3": "", "1 2": "", "12 kg": "--units", "5%": "--units", "$5": "--units", "5 €": "--units", "£5": "--units",
    "(12)": "--parentheses", "−2": "", "–2": "", "true": "", "\xa05": "", "5\u200b": "", "\u200e5": "", "5\ufeff": "",
    "1,5": "", "1,234.5": "--thousands", "1,234,567": "--thousands", "1'234": "--thousands", "1’234": "",
    "1 234": "--thousands", "1\u202f234": "--thousands", "1.234.567": "", "1.234,5": "", "12-": "",
    "--5": "",
    "+-5": "", "1..2": "", "1.2.3": "", ".": "--missing", "+": "", "-": "--missing", "e5": "", "½": "", "∞": "", "五": "",
    "Ⅳ": "",
    "²": "", "=1+2": "", '="12"': "", "'12": "", "1:30": "", "2026-01-31": "", "1e5.5": "", "1/2": "", "5;": "", "1j": "",
    "?": "--missing",
    "n/a": "--missing", "na": "--missing", "nil": "--missing", "none": "--missing", "missing": "--missing", "<NA>": "--missing",
    "NaT": "--missing", "#DIV/0!": "--missing", "#VALUE!": "--missing", "\\N": "--missing", "(null)": "--missing",
    "x" * 2000: "",
    "\x0c5": "", "\x1b[31m5": "", "5\n6": "", '5"': "", "True": "", "1e5e5": "", "1__0": "", "0o17": "", "1.5f": "",
    "5\x0b": "",
}  # fmt: skip
_REFUSED = tuple(
    Case(
        f"no number: {cell.encode('ascii', 'backslashreplace').decode()!r}"[:80],
        _cell(cell),
        refused(_AT, "size", remedy=remedy or ()),
    )
    for cell, remedy in _NO_NUMBERS.items()
)
_INFINITE = tuple(
    Case(f"not finite: {cell}"[:40], _cell(cell), refused(_AT, "size"))
    for cell in ("inf", "-inf", "+Inf", "INFINITY", "-infinity", "1e400", "-1e400", _HUGE)
)

_ROUNDED = put(("size", 5, "9007199254740993"), ("size", 9, "12345678901234567890123"))
_WHOLE = (
    Case("integers that are rounded", text(_ROUNDED), read(_ROUNDED, remarks=(Said("rounded", "size", 2, (5, 9)),))),
    Case("an integer that is rounded, negative", text(put(("y", 5, "-9007199254740993"))),
         read(put(("y", 5, "-9007199254740993")), remarks=(Said("rounded", "y", 1, (5,)),))),
    Case("a bad number in the target", text(put(("y", 8, "n. a."))), refused(8, "y")),
    Case("a bad number in the first row", text(put(("size", 2, "x"))), refused(2, "size")),
    Case("a bad number in the last row", text(put(("size", 13, "x"))), refused(13, "size")),
    Case("a bad number in a row that lacks its target", text(put(("size", 5, "x"), ("y", 5, ""))), refused(5, "size")),
    Case("five bad numbers, three of them shown",
         text(put(*(("size", line, f"{line} apples") for line in (4, 6, 8, 9, 13)))),
         refused(4, "size", problem=("4 apples", "6 apples", "8 apples", r"\b5\b|2 more"))),
    Case("infinity in the target", text(put(("y", 8, "inf"))), refused(8, "y")),
    Case("infinity among names", text(put(("name", 8, "Infinity"))), read()),
    Case("a feature of words", text(every(lambda cell: f"about {cell}", "size")),
         read(features=("rooms", "change"), left_out={"name": "", "size": ""})),
)  # fmt: skip

_THOUSANDS = every(grouped, *NUMBERS)
_GERMAN = every(lambda cell: grouped(cell, ".", ","), *NUMBERS)
_FRENCH = every(lambda cell: grouped(cell, "\u202f", ","), *NUMBERS)
_SWISS = every(lambda cell: grouped(cell, "'"), *NUMBERS)
_BY_THOUSANDS = Dialect(thousands=",")
_SEPARATED = (
    Case("thousands throughout", text(_THOUSANDS), refused(2, "y", remedy="--thousands")),
    Case("thousands throughout, by option", text(_THOUSANDS), read(), _BY_THOUSANDS),
    Case("thousands in one feature", text(every(grouped, "size")), refused(2, "size", remedy="--thousands")),
    Case("thousands in one feature, left out", text(every(grouped, "size")), read(features=("rooms", "change")),
         leave_out=("size",)),
    Case("thousands in semicolons", text(_THOUSANDS, delimiter=";"), refused(2, "y", remedy="--thousands")),
    Case("thousands by option in plain numbers", text(), read(), _BY_THOUSANDS),
    Case("thousands with signs and blanks", text(put(("size", 5, " +1,234,567.8 "), ("size", 6, "-1,234"))),
         read(put(("size", 5, "1234567.8"), ("size", 6, "-1234"))), _BY_THOUSANDS),
    Case("millions and plain digits in thousands", text(put(("size", 5, "1,234,567"), ("size", 6, "1234567"))),
         read(put(("size", 5, "1234567"), ("size", 6, "1234567"))), _BY_THOUSANDS),
    *(Case(f"no thousands: {cell}", _cell(cell), refused(_AT, "size"), _BY_THOUSANDS)
      for cell in ("1,23", "12,34,567", "1,2345", ",123", "1234,567", "1,234,56", "1,,234", "1,234,", "0.1,234", "1, 234",
      "1,5")),
    Case("German numbers", text(_GERMAN, delimiter=";"), refused(2, "y", remedy=("--decimal", "--thousands"))),
    Case("German numbers by option", text(_GERMAN, delimiter=";"), read(found={"delimiter": ";"}),
         Dialect(decimal=",", thousands=".")),
    Case("German numbers in a comma file by option", text(_GERMAN), read(), Dialect(decimal=",", thousands=".")),
    Case("German numbers, thousands not said", text(_GERMAN, delimiter=";"), refused(2, "y", remedy="--thousands"),
         Dialect(decimal=",")),
    Case("decimal commas", text(every(comma, *NUMBERS), delimiter=";"), refused(2, "y", remedy="--decimal")),
    Case("decimal commas and tabs", text(every(comma, *NUMBERS), delimiter="\t"), refused(2, "y", remedy="--decimal")),
    Case("decimal commas by option", text(every(comma, *NUMBERS), delimiter=";"), read(), Dialect(decimal=",")),
    Case("decimal commas, quoted, by option", text(every(comma, *NUMBERS)), read(found={"delimiter": ","}),
         Dialect(decimal=",")),
    Case("decimal commas in one feature", text(every(comma, "change"), delimiter=";"),
         refused(2, "change", remedy="--decimal")),
    Case("a point where the comma is decimal", text(put(("size", 5, "1.5"), rows=every(comma, *NUMBERS)), delimiter=";"),
         refused(5, "size"), Dialect(decimal=",")),
    Case("exponents with a decimal comma", text(put(("size", 5, "1,5e3"), ("size", 6, ",5"), rows=every(comma, *NUMBERS)),
         delimiter=";"),
         read(put(("size", 5, "1500"), ("size", 6, "0.5"))), Dialect(decimal=",")),
    Case("three digits after a decimal comma", text(put(("size", 5, "1,234"), rows=every(comma, *NUMBERS)), delimiter=";"),
         read(put(("size", 5, "1.234"))), Dialect(decimal=",")),
    Case("three digits after a comma of thousands", text(put(("size", 5, "1,234")), delimiter=";"),
         read(put(("size", 5, "1234"))),
         _BY_THOUSANDS),
    Case("French numbers", text(_FRENCH, delimiter=";"), refused(2, "y", remedy=("--decimal", "--thousands"))),
    Case("French numbers by option", text(_FRENCH, delimiter=";"), read(), Dialect(decimal=",", thousands=" ")),
    Case("thousands by blanks of three kinds",
         text(put(("size", 4, "2 048"), ("size", 5, "3\xa0500.75"), ("size", 7, "8\u202f400"))), read(),
         Dialect(thousands=" ")),
    Case("two blanks between thousands", _cell("3  500.75"), refused(_AT, "size"), Dialect(thousands=" ")),
    Case("Swiss numbers", text(_SWISS), refused(2, "y", remedy="--thousands")),
    Case("Swiss numbers by option", text(_SWISS), read(), Dialect(thousands="'")),
    Case("underscores by option", text(every(lambda cell: grouped(cell, "_"), *NUMBERS)), read(), Dialect(thousands="_")),
    Case("Indian lakhs by option", _cell("12,34,567.5"), refused(_AT, "size"), _BY_THOUSANDS),
)  # fmt: skip


def _percent(cell: str) -> str:
    return f"{cell}%"


def _dollars(cell: str) -> str:
    return f"-${cell[1:]}" if cell.startswith("-") else f"${cell}"


def _booked(cell: str) -> str:
    return f"({cell[1:]})" if cell.startswith("-") else cell


def _euros(cell: str) -> str:
    return f"{grouped(cell, '.', ',')} €"


def _booked_dollars(cell: str) -> str:
    return f"(${cell[1:]})" if cell.startswith("-") else f"${cell}"


_UNITS = (
    Case("percent throughout", text(every(_percent, "change")), refused(2, "change", remedy="--units")),
    Case("percent by option", text(every(_percent, "change")), read(), Dialect(units=("%",))),
    Case("percent with a blank by option", text(every(lambda cell: f"{cell} %", "change")), read(), Dialect(units=("%",))),
    Case("percent before by option", text(every(lambda cell: f"%{cell}", "size")), read(), Dialect(units=("%",))),
    Case("percent in some cells by option", text(put(("change", 3, "0.5%"), ("change", 9, "2.5 %"))), read(),
         Dialect(units=("%",))),
    Case("dollars throughout", text(every(_dollars, *NUMBERS)), refused(2, "y", remedy="--units")),
    Case("dollars by option", text(every(_dollars, *NUMBERS)), read(), Dialect(units=("$",))),
    Case("dollars between sign and digits, and before both", text(put(("change", 2, "$-2.25"), ("change", 5, "-$0.125"))),
         read(),
         Dialect(units=("$",))),
    Case("dollars and thousands by option", text(every(lambda cell: _dollars(grouped(cell)), *NUMBERS)), read(),
         Dialect(units=("$",), thousands=",")),
    Case("euros the German way", text(every(_euros, "size", "y"), delimiter=";"), refused(2, "y", remedy="--units")),
    Case("euros the German way by option", text(every(_euros, *NUMBERS), delimiter=";"), read(),
         Dialect(units=("€",), thousands=".", decimal=",")),
    Case("euros the German way in cp1252 by option", text(every(_euros, *NUMBERS), delimiter=";", end="\r\n").encode("cp1252"),
         read(),
         Dialect(units=("€",), thousands=".", decimal=",", encoding="cp1252")),
    Case("two currencies, one said", text(put(("size", 3, "$987.25"), ("size", 6, "640.1 €"))), refused(6, "size"),
         Dialect(units=("$",))),
    Case("two units said", text(put(("size", 3, "$987.25"), ("change", 6, "3%"))), read(), Dialect(units=("$", "%"))),
    Case("kilograms throughout", text(every(lambda cell: f"{cell} kg", "size")),
         read(features=("rooms", "change"), left_out={"name": "", "size": "--units"})),
    Case("kilograms throughout, by option", text(every(lambda cell: f"{cell} kg", "size")), read(), Dialect(units=("kg",))),
    Case("kilograms without a blank, by option", text(every(lambda cell: f"{cell}kg", "size")), read(), Dialect(units=("kg",))),
    Case("kilograms in the target", text(every(lambda cell: f"{cell} kg", "y")), refused(2, "y", remedy="--units")),
    Case("kilograms in a feature that is named", text(every(lambda cell: f"{cell} kg", "size")),
         refused(2, "size", remedy="--units"),
         features=("size", "rooms")),
    Case("another unit than the one said", _cell("12 lb"), refused(_AT, "size"), Dialect(units=("kg",))),
    Case("a unit twice", _cell("$12$"), refused(_AT, "size"), Dialect(units=("$",))),
    Case("a unit without a number", _cell("$"), refused(_AT, "size"), Dialect(units=("$",))),
    Case("negative numbers in parentheses", text(every(_booked, "change")), refused(2, "change", remedy="--parentheses")),
    Case("negative numbers in parentheses by option", text(every(_booked, "change")), read(), Dialect(parentheses=True)),
    Case("parentheses throughout", text(every(lambda cell: f"({cell})", "size")), refused(2, "size", remedy="--parentheses")),
    Case("parentheses throughout, by option", text(every(lambda cell: f"({cell})", "size")),
         read(every(lambda cell: f"-{cell}", "size")),
         Dialect(parentheses=True)),
    Case("dollars in parentheses by option", text(every(_booked_dollars, "change")), read(),
         Dialect(units=("$",), parentheses=True)),
    Case("dollars and thousands in parentheses by option", text(put(("size", 5, "($3,500.75)"))),
         read(put(("size", 5, "-3500.75"))),
         Dialect(units=("$",), parentheses=True, thousands=",")),
    Case("a sign in parentheses", _cell("(-12)"), refused(_AT, "size"), Dialect(parentheses=True)),
    Case("half a parenthesis", _cell("(12"), refused(_AT, "size"), Dialect(parentheses=True)),
    Case("parentheses around nothing", _cell("()"), refused(_AT, "size"), Dialect(parentheses=True)),
    Case("two pairs of parentheses", _cell("((12))"), refused(_AT, "size"), Dialect(parentheses=True)),
    Case("parentheses around a missing mark", _cell("(NA)"), refused(_AT, "size"), Dialect(parentheses=True)),
    Case("a minus behind, as SAP writes it", text(put(("change", 2, "2.25-"), ("change", 5, "0.125-"))), refused(2, "change")),
)  # fmt: skip

_MARKED = (
    Case("a feature with one cell in thousands, dropped by a mark", _cell("1,234.5"), read(without(_AT), dropped=(_AT,)),
         Dialect(missing=("default", "1,234.5"))),
    Case("thousands and gaps by option", text(put(("y", 7, "NA"), rows=_THOUSANDS)), read(without(7), dropped=(7,)),
         _BY_THOUSANDS),
    Case("every disguise of numbers at once",
         text(put(("change", 2, "(2,25 %)"), ("size", 4, "2.048 €"), ("y", 7, "6.066,15 €"),
         rows=every(comma, *NUMBERS)), delimiter=";"), read(),
         Dialect(decimal=",", thousands=".", units=("%", "€"), parentheses=True)),
    Case("options that are not needed", text(), read(), Dialect(thousands="'", units=("%", "€", "kg"), parentheses=True)),
    Case("features named, all of them numbers", text(), read(left_out=None), features=FEATURES),
    Case("a table of exponents", text(every(lambda cell: f"{float(cell):.17e}", *NUMBERS)), read(ROWS)),
)  # fmt: skip

CASES = (*_AS_WRITTEN, *_REFUSED, *_INFINITE, *_WHOLE, *_SEPARATED, *_UNITS, *_MARKED)
