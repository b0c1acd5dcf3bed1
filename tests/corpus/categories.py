"""Text that becomes numbers when asked: categories and dates."""

from __future__ import annotations

from gd.dialect import Dialect
from tests.corpus.case import FEATURES, HEADER, ROWS, Case, Made, Read, Row, Rows, column, put, read, refused, text, without

_KINDS = ("house", "flat", "flat", "house", "studio", "house", "flat", "house", "studio", "studio", "flat", "house")
_HEADER = ("kind", *HEADER[1:])
_TABLE = column("name", _KINDS)
_LEVELS = ("flat", "house", "studio")
_DAYS = {
    "2026-01-31": "0", "2026-02-03": "3", "2026-02-28": "28", "2026-03-01": "29", "2026-03-02": "30", "2026-04-01": "60",
    "2026-04-30": "89", "2026-05-31": "120", "2026-12-31": "334", "2027-01-31": "365", "2027-03-01": "394", "2028-02-29": "759",
}  # fmt: skip
_DATED_HEADER = ("day", *HEADER[1:])
_DATED = column("name", list(_DAYS))
_BY_DATE = read(column("name", list(_DAYS.values())), header=_DATED_HEADER, features=("day", *FEATURES), left_out={},
                encoded=(Made("day", "dates", first="2026-01-31"),))  # fmt: skip
_QUARTERS = tuple(str(i * i / 4) for i in range(12))  # of a day
_HOURS = tuple((i * i // 4, 6 * (i * i % 4)) for i in range(12))  # days and hours since midnight of the first


def _encoded(rows: Rows, levels: Row = _LEVELS) -> tuple[Rows, Row]:
    """Rows whose first column is of levels, as they must come out: a column of 0 and 1 for each level but the first."""
    made = tuple((*("1" if row[0] == level else "0" for level in levels[1:]), *row[1:]) for row in rows)
    return made, (*(f"kind={level}" for level in levels[1:]), *HEADER[1:])


def _categories(
    rows: Rows = _TABLE, levels: Row = _LEVELS, features: Row = FEATURES, dropped: tuple[int, ...] = (), asked: bool = False
) -> Read:
    made, header = _encoded(rows, levels)
    return read(made, header=header, features=(*header[: len(levels) - 1], *features), left_out=None if asked else {},
                dropped=dropped, encoded=(Made("kind", "category", levels),))  # fmt: skip


_MANY = tuple((f"v{i:02}", str(i * i), str(i % 7), str(i * 7 % 11), str(i * 5 % 13)) for i in range(51))
_BY_TIME = read(column("name", _QUARTERS), header=_DATED_HEADER, features=("day", *FEATURES), left_out={},
                encoded=(Made("day", "dates", first="2026-01-01"),))  # fmt: skip
_FORMS = {
    "T and minutes": "2026-01-{day:02}T{hour:02}:00",
    "a blank and seconds": "2026-01-{day:02} {hour:02}:00:00",
    "Z": "2026-01-{day:02}T{hour:02}:00Z",
}

CASES = (
    Case("categories", text(_TABLE, _HEADER), _categories(), encode=("category",)),
    Case("categories without option", text(_TABLE, _HEADER), read(left_out={"kind": "text"})),
    Case("categories in quotes and semicolons", text(_TABLE, _HEADER, delimiter=";", always=True), _categories(),
         encode=("category",)),
    Case("categories in UTF-16", text(_TABLE, _HEADER, delimiter="\t").encode("utf-16"), _categories(), encode=("category",)),
    Case("categories with gaps", text(put(("name", 4, ""), ("name", 6, "NA"), rows=_TABLE), _HEADER),
         _categories(without(4, 6, rows=_TABLE), dropped=(4, 6)), encode=("category",)),
    Case("categories, one of them of a mark by option", text(put(("name", 4, "?"), rows=_TABLE), _HEADER),
         _categories(without(4, rows=_TABLE), dropped=(4,)), Dialect(missing=("?",)), encode=("category",)),
    Case("categories in capitals and not", text(column("name", ["b", "B", "a", "b", "B", "a"] * 2), _HEADER),
         _categories(column("name", ["b", "B", "a", "b", "B", "a"] * 2), ("B", "a", "b")), encode=("category",)),
    Case("categories beyond ASCII", text(column("name", ["Ölf", "東京", "alt"] * 4), _HEADER),
         _categories(column("name", ["Ölf", "東京", "alt"] * 4), ("alt", "Ölf", "東京")), encode=("category",)),
    Case("categories with markup, commas and line ends", text(column("name", ["<b>", "a,b", "c\nd"] * 4), _HEADER),
         _categories(column("name", ["<b>", "a,b", "c\nd"] * 4), ("<b>", "a,b", "c\nd")), encode=("category",)),
    Case("categories of yes and no", text(column("name", ["yes", "no", "no"] * 4), _HEADER),
         _categories(column("name", ["yes", "no", "no"] * 4), ("no", "yes")), encode=("category",)),
    Case("one category", text(column("name", ["flat"] * 12), _HEADER), read(left_out={"kind": ""}), encode=("category",)),
    Case("as many categories as rows", text(header=_HEADER), _categories(ROWS, tuple(row[0] for row in ROWS)),
         encode=("category",)),
    Case("fifty categories", text(_MANY[:50], _HEADER), _categories(_MANY[:50], tuple(row[0] for row in _MANY[:50])),
         encode=("category",)),
    Case("fifty-one categories", text(_MANY, _HEADER), read(_MANY, left_out={"kind": ""}), encode=("category",)),
    Case("fifty-one categories that are named", text(_MANY, _HEADER), refused(None, "kind"), features=("kind", "size"),
         encode=("category",)),
    Case("categories that are named", text(_TABLE, _HEADER), _categories(features=("size",), asked=True),
         features=("kind", "size"),
         encode=("category",)),
    Case("categories that are named without option", text(_TABLE, _HEADER), refused(2, "kind", remedy="--encode"),
         features=("kind", "size")),
    Case("categories that are left out", text(_TABLE, _HEADER), read(left_out={}), leave_out=("kind",), encode=("category",)),
    Case("numbers are no categories", text(), read(left_out=None), features=FEATURES, encode=("category",)),
    Case("a bad number is no category", text(put(("rooms", 5, "many"), rows=_TABLE), _HEADER), refused(5, "rooms"),
         encode=("category",)),
    Case("a level in a dropped row only", text(put(("name", 4, "tower"), ("y", 4, ""), rows=_TABLE), _HEADER),
         _categories(without(4, rows=_TABLE), dropped=(4,)), encode=("category",)),
    Case("dates", text(_DATED, _DATED_HEADER), _BY_DATE, encode=("dates",)),
    Case("dates without option", text(_DATED, _DATED_HEADER), read(left_out={"day": "date"})),
    Case("dates in quotes and semicolons", text(_DATED, _DATED_HEADER, delimiter=";", always=True), _BY_DATE,
         encode=("dates",)),
    Case("dates that are named", text(_DATED, _DATED_HEADER),
         read(column("name", list(_DAYS.values())), header=_DATED_HEADER, features=("size", "day"), left_out=None,
              encoded=(Made("day", "dates", first="2026-01-31"),)), features=("size", "day"), encode=("dates",)),
    Case("dates that are named without option", text(_DATED, _DATED_HEADER), refused(2, "day", remedy="--encode"),
         features=("day",)),
    Case("dates with gaps", text(put(("name", 4, ""), ("name", 9, "NA"), rows=_DATED), _DATED_HEADER),
         read(without(4, 9, rows=column("name", list(_DAYS.values()))), header=_DATED_HEADER, features=("day", *FEATURES),
         left_out={},
              dropped=(4, 9), encoded=(Made("day", "dates", first="2026-01-31"),)), encode=("dates",)),
    Case("dates, the first of them in a dropped row", text(put(("y", 2, ""), rows=_DATED), _DATED_HEADER),
         read(without(2, rows=column("name", [str(int(days) - 3) for days in _DAYS.values()])), header=_DATED_HEADER,
              features=("day", *FEATURES), left_out={}, dropped=(2,), encoded=(Made("day", "dates", first="2026-02-03"),)),
         encode=("dates",)),
    Case("a date that is none", text(put(("name", 5, "2026-02-30"), rows=_DATED), _DATED_HEADER), refused(5, "day"),
         encode=("dates",)),
    Case("29 February of a year without one", text(put(("name", 5, "2027-02-29"), rows=_DATED), _DATED_HEADER),
         refused(5, "day"),
         encode=("dates",)),
    Case("month 13", text(put(("name", 5, "2026-13-01"), rows=_DATED), _DATED_HEADER), refused(5, "day"), encode=("dates",)),
    Case("a word among dates", text(put(("name", 5, "soon"), rows=_DATED), _DATED_HEADER), refused(5, "day"),
         encode=("dates",)),
    Case("a date the German way among dates", text(put(("name", 5, "01.03.2026"), rows=_DATED), _DATED_HEADER),
         refused(5, "day"),
         encode=("dates",)),
    Case("dates the German way", text(column("name", [f"{i + 1:02}.03.2026" for i in range(12)]), _DATED_HEADER),
         read(left_out={"day": ""}), encode=("dates",)),
    *(Case(f"date-times with {name}",
           text(column("name", [form.format(day=1 + days, hour=hours) for days, hours in _HOURS]), _DATED_HEADER), _BY_TIME,
           encode=("dates",)) for name, form in _FORMS.items()),
    Case("date-times of two zones",
         text(column("name", [f"2026-01-{1 + days:02}T{hours + i % 2:02}:00{'+01:00' if i % 2 else 'Z'}"
                              for i, (days, hours) in enumerate(_HOURS)]), _DATED_HEADER), _BY_TIME, encode=("dates",)),
    Case("date-times with a zone and one without",
         text(column("name", [f"2026-01-{1 + days:02}T{hours:02}:00{'' if i == 5 else 'Z'}"
                              for i, (days, hours) in enumerate(_HOURS)]), _DATED_HEADER), refused(7, "day"),
                              encode=("dates",)),
    Case("hour 25", text(column("name", [f"2026-01-{1 + days:02}T{25 if i == 5 else hours:02}:00"
                                         for i, (days, hours) in enumerate(_HOURS)]), _DATED_HEADER), refused(7, "day"),
         encode=("dates",)),
    Case("the same day in every row", text(column("name", ["2026-01-31"] * 12), _DATED_HEADER),
         read(left_out={"day": "constant"}),
         encode=("dates",)),
    Case("dates and categories",
         text(tuple((kind, *row) for kind, row in zip(_KINDS, _DATED, strict=True)), ("kind", *_DATED_HEADER)),
         read(tuple((*row[:2], days, *row[2:]) for row, days in zip(_encoded(_TABLE)[0], _DAYS.values(), strict=True)),
              header=("kind=house", "kind=studio", *_DATED_HEADER), features=("kind=house", "kind=studio", "day", *FEATURES),
              left_out={}, encoded=(Made("kind", "category", _LEVELS), Made("day", "dates", first="2026-01-31"))),
         encode=("category", "dates")),
)  # fmt: skip
