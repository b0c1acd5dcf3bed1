"""How numbers are written in reports, pictures and messages."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

__all__ = [
    "FORMATS", "apart", "count", "escaped", "legible", "listed", "marks", "marks_in_use", "number",
    "ordinal", "plainly", "typed", "visible", "when",
    "written", "written_as", "zone",
]  # fmt: skip

FORMATS = {"en": (".", ","), "de": (",", "."), "fr": (",", "\N{NARROW NO-BREAK SPACE}"), "plain": (".", "")}
"""Decimal mark and thousands mark by name."""
_DECIMALS, _THOUSANDS = ".,", ".,'’_\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"

_MARKS: ContextVar[tuple[str, str]] = ContextVar("marks", default=FORMATS["en"])
_ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BLANK = {  # letters and marks to Unicode, and yet nobody sees them
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
    *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
}  # fmt: skip


@contextmanager
def written_as(numbers: str = "en", zone_name: str | None = None) -> Iterator[None]:
    """While in it, numbers and times for people are written so, in this thread alone.

    What no person reads is written in other ways and stays as it is: CSV, JSON, and what `typed` makes.

    Args:
        numbers: as `marks` takes them; what it does not take is "en".
        zone_name: of the tz database; UTC where this machine does not know it, and each time says its zone.
    """
    try:
        found = marks(numbers)
    except ValueError:
        found = FORMATS["en"]
    try:
        place = UTC if zone_name is None else zone(zone_name)
    except ValueError:
        place = UTC
    before = _MARKS.set(found), _ZONE.set(place)
    try:
        yield
    finally:
        _MARKS.reset(before[0])
        _ZONE.reset(before[1])


@contextmanager
def plainly(plain: bool = True) -> Iterator[None]:
    """While in it, counts too keep to ASCII, as `number` does where it is told so.

    Args:
        plain: whether anything is to change.
    """
    token = _MARKS.set(_ascii(_MARKS.get()) if plain else _MARKS.get())
    try:
        yield
    finally:
        _MARKS.reset(token)


def marks(numbers: str) -> tuple[str, str]:
    """Decimal mark and thousands mark.

    Args:
        numbers: a name in `FORMATS`; or the two marks themselves, such as ",." or ".'"; or the decimal mark alone, for no
            other. A space is one that no line breaks at.

    Raises:
        ValueError: if it is neither.
    """
    if numbers in FORMATS:
        return FORMATS[numbers]
    decimal, thousands = numbers[:1], numbers[1:].replace(" ", "\N{NARROW NO-BREAK SPACE}")
    if not decimal or decimal not in _DECIMALS or len(thousands) > 1 or thousands not in _THOUSANDS or thousands == decimal:
        raise ValueError(
            f"'{visible(numbers)}' is no format of numbers: name one of {', '.join(FORMATS)}, or write the decimal mark and "
            "the thousands mark, such as ,. or .'"
        )
    return decimal, thousands


def zone(name: str) -> tzinfo:
    """A time zone by its name in the tz database.

    Raises:
        ValueError: if this machine knows none of this name.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"'{visible(name)}' is no time zone: write a name such as Europe/Berlin or UTC") from None


def when(moment: datetime) -> str:
    """A moment to the second, with its zone."""
    return f"{moment.astimezone(_ZONE.get()):%d %b %Y, %H:%M:%S %Z}"


def number(value: float | None, digits: int = 4, *, keep_zeros: bool = False, plain: bool = False) -> str:
    """A number for people: four significant digits, powers as 3 × 10⁻¹⁶ (3e-16 when `plain`), a real minus sign.

    Args:
        value: None, infinities and NaN are written as "—", "∞" and "not a number".
        digits: significant digits.
        keep_zeros: write 5.000 rather than 5.
        plain: keep to ASCII.
    """
    if value is None:
        return "-" if plain else "—"
    if math.isnan(value):
        return "not a number"
    minus = "" if value >= 0 else "-" if plain else "−"
    if math.isinf(value):
        return f"{minus}{'infinity' if plain else '∞'}"
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    power = int(exponent)
    if value == 0:
        return "0"
    if -4 <= power < 6:
        written = f"{float(f'{mantissa}e{power}'):,.{max(digits - 1 - power, 0)}f}"
        return minus + _marked(written if keep_zeros else _stripped(written), plain)
    mantissa = _marked(mantissa if keep_zeros else _stripped(mantissa), plain)
    if plain:
        return f"{minus}{mantissa}e{power:+03d}"
    tail = f"10{str(power).translate(_SUPERSCRIPT)}"
    return f"{minus}{tail}" if mantissa == "1" else f"{minus}{mantissa} × {tail}"


def typed(value: float, digits: int = 4) -> str:
    """A number as the command takes it, whichever way people read theirs: 0.25, 1500000, 3e-16."""
    token = _MARKS.set(FORMATS["plain"])
    try:
        return number(value, digits, plain=True)
    finally:
        _MARKS.reset(token)


def count(value: int | None) -> str:
    """A whole number, its thousands set apart; "—" for None."""
    return "—" if value is None else _marked(f"{value:,}")


def marks_in_use() -> tuple[str, str]:
    """Decimal mark and thousands mark of numbers for people, here and now."""
    return _MARKS.get()


def written(digits: str) -> str:
    """Digits that something else has printed, such as 1,234.5, with the marks that people here read."""
    return _marked(digits)


def listed(numbers: list[str]) -> str:
    """Numbers in a row: semicolons between them where a comma is their decimal mark."""
    return ("; " if _MARKS.get()[0] == "," else ", ").join(numbers)


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 1,000th."""
    ending = "th" if value % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{count(value)}{ending}"


def visible(name: str, width: int = 60) -> str:
    """A name from the data on one line, whatever is invisible in it shown as an escape, shortened in its middle.

    Escaping for HTML is the template's business; this is for what no escaping makes readable: control characters, direction
    marks, spaces that are none, letters without ink.
    """
    thin = _MARKS.get()[1]  # where it is a space that else would be shown: in a number it is ours
    if thin and not legible(thin) and thin in name:
        parts = re.split(rf"(?<=\d){thin}(?=\d{{3}}(?!\d))", name)
        shown = thin.join(map(_escaped, parts))
    else:
        shown = _escaped(name)
    if len(shown) <= width:
        return shown
    tail = (width - 1) // 2  # names of a family differ at their ends
    return f"{shown[: width - 1 - tail]}…{shown[-tail:]}"


def _escaped(name: str) -> str:
    return "".join(c if legible(c) else c.encode("unicode_escape").decode() for c in name)


def legible(name: str) -> bool:
    """Whether each of its characters is seen and changes nothing around it."""
    return name.isprintable() and (name.isascii() or _BLANK.isdisjoint(map(ord, name)))


def escaped(text: str) -> str:
    """JSON in which what is invisible is written as JSON's own escapes."""
    return text if text.isascii() else "".join(c if c.isascii() or legible(c) else json.dumps(c)[1:-1] for c in text)


def apart(name: str) -> str:
    """A visible name to stand in a formula: one that is written from right to left turns nothing around it."""
    turns = not name.isascii() and any(unicodedata.bidirectional(c) in {"R", "AL", "AN"} for c in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if turns else name


def _marked(english: str, plain: bool = False) -> str:
    """The marks that people here read; where only ASCII may stand, none that is a space."""
    decimal, thousands = _ascii(_MARKS.get()) if plain else _MARKS.get()
    return english.translate({ord("."): decimal, ord(","): thousands})


def _ascii(found: tuple[str, str]) -> tuple[str, str]:
    return found if found[1].isascii() else (found[0], "")


def _stripped(written: str) -> str:
    return written.rstrip("0").rstrip(".") if "." in written else written
