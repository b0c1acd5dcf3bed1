"""How numbers are written in reports, pictures and messages."""

from __future__ import annotations

import math
import unicodedata

__all__ = ["apart", "count", "legible", "number", "ordinal", "visible"]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BLANK = {  # letters and marks to Unicode, and yet nobody sees them
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
    *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
}  # fmt: skip


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
        return minus + (written if keep_zeros else _stripped(written))
    mantissa = mantissa if keep_zeros else _stripped(mantissa)
    if plain:
        return f"{minus}{mantissa}e{power:+03d}"
    tail = f"10{str(power).translate(_SUPERSCRIPT)}"
    return f"{minus}{tail}" if mantissa == "1" else f"{minus}{mantissa} × {tail}"


def count(value: int | None) -> str:
    """A whole number with commas for thousands; "—" for None."""
    return "—" if value is None else f"{value:,}"


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 1,000th."""
    ending = "th" if value % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value:,}{ending}"


def visible(name: str, width: int = 60) -> str:
    """A name from the data on one line, whatever is invisible in it shown as an escape, shortened in its middle.

    Escaping for HTML is the template's business; this is for what no escaping makes readable: control characters, direction
    marks, spaces that are none, letters without ink.
    """
    shown = "".join(c if legible(c) else c.encode("unicode_escape").decode() for c in name)
    if len(shown) <= width:
        return shown
    tail = (width - 1) // 2  # names of a family differ at their ends
    return f"{shown[: width - 1 - tail]}…{shown[-tail:]}"


def legible(name: str) -> bool:
    """Whether each of its characters is seen and changes nothing around it."""
    return name.isprintable() and (name.isascii() or _BLANK.isdisjoint(map(ord, name)))


def apart(name: str) -> str:
    """A visible name to stand in a formula: one that is written from right to left turns nothing around it."""
    turns = not name.isascii() and any(unicodedata.bidirectional(c) in {"R", "AL", "AN"} for c in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if turns else name


def _stripped(written: str) -> str:
    return written.rstrip("0").rstrip(".") if "." in written else written
