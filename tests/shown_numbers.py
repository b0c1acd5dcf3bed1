"""What a person reads, taken apart: the words, tables and captions of a page, and the numbers in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, NamedTuple

import numpy as np

from gd.data import Array

SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
TOKEN = re.compile(
    r"(?<![\w.^/-])(?:10(?P<bare>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?P<sign>[−-]?)(?P<digits>\d[\d,]*(?:\.\d+)?)"
    r"(?: × 10(?P<high>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|e(?P<plain>[+-]?\d+))?)(?![\w/^]|[.,]\d)"
)
SKIPPED = {"svg", "style", "script", "pre", "code", "nav", "title"}
NOT_NUMBERS = re.compile(  # dates with their times, versions, files, how the notebook wrote, and the limits of momentum
    r"\d{1,2}\s[A-Z][a-z]{2}\s\d{4}(?:,\s\d\d:\d\d(?::\d\d)?\s[A-Z]{3,4})?|\bgd \d+\.\d+\.\d+|[\w/.-]+\.(?:csv|json|html)\b"
    r"|rounded to 3 decimals|2\(1 \+ β\)/(?:λmax|\(\(1 \+ 2β\)λmax\))"
)


class Number(NamedTuple):
    """A number as it was written."""

    text: str
    value: float
    unit: float  # of the last digit that counts


@dataclass(slots=True)
class Place:
    """Something that a person reads, taken apart."""

    words: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)  # of pictures
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its words on one line."""
        return " ".join(" ".join(self.words).split())

    def row(self, label: str, columns: int) -> list[str]:
        """The cells of the one row that begins so and has so many cells behind."""
        [found] = [row[1:] for table in self.tables for row in table if row[0] == label and len(row) == columns + 1]
        return found

    @property
    def epochs(self) -> list[list[str]]:
        """The table of epochs, from its heads on; empty where there is none."""
        for table in self.tables:
            for j, row in enumerate(table):
                if row[0] == "epoch" and len(row) > 3:
                    return table[j:]
        return []


class _Reader(HTMLParser):
    """Takes a page apart; tables that only lay it out are none."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.skipped, self.open, self.caption = Place(), 0, list[bool](), False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SKIPPED:
            self.skipped += 1
        elif tag == "table":
            self.open.append(("role", "presentation") not in attrs)
            if self.open[-1]:
                self.place.tables.append([])
        elif tag == "tr" and self.open[-1]:
            self.place.tables[-1].append([])
        elif tag in {"td", "th"} and self.open[-1]:
            self.place.tables[-1][-1].append("")
        elif tag == "figcaption" or ("class", "note") in attrs:
            self.caption = True
            self.place.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in SKIPPED:
            self.skipped -= 1
        elif tag == "table":
            self.open.pop()
        elif tag in {"figcaption", "p"}:
            self.caption = False

    def handle_data(self, data: str) -> None:
        data = data.replace("\N{FIGURE SPACE}", "").replace("\N{PUNCTUATION SPACE}", "")
        if self.skipped or not data.strip():
            return
        table = self.place.tables[-1] if self.open and self.open[-1] else None
        if table and table[-1]:
            table[-1][-1] = " ".join(f"{table[-1][-1]} {data}".split())
        elif self.caption:
            self.place.captions[-1] = " ".join(f"{self.place.captions[-1]} {data}".split())
        else:
            self.place.words.append(data)


def taken_apart(page: str) -> Place:
    """What a person reads of an HTML page."""
    reader = _Reader()
    reader.feed(page)
    return reader.place


def numbers(text: str) -> list[Number]:
    """The numbers in a text."""
    return [_number(found) for found in TOKEN.finditer(NOT_NUMBERS.sub(" ", text))]


def only(text: str) -> Number:
    """The one number that a cell holds, or the first of a sentence."""
    found = numbers(text)
    assert found, text
    return found[0]


def _number(found: re.Match[str]) -> Number:
    if found["bare"]:
        return Number(found[0], float(f"1e{found['bare'].translate(SUPERSCRIPT)}"), 0.0)
    digits, sign = found["digits"].rstrip(",").replace(",", ""), "-" if found["sign"] else ""
    power = int((found["high"] or found["plain"] or "0").translate(SUPERSCRIPT))
    value = float(f"{sign}{digits}e{power}")
    if value == 0:
        return Number(found[0], 0.0, 0.0)
    size, whole = math.floor(math.log10(abs(value))), "." not in digits and not (found["high"] or found["plain"])
    decimals = len(digits.partition(".")[2])
    if whole:  # a count, or four digits, the last of which may be a zero that stands behind no point
        return Number(found[0], value, 10.0 ** (size - 3) if size <= 3 or value % 10 ** (size - 3) == 0 else 0.0)
    return Number(found[0], value, min(10.0 ** (power - decimals), 10.0 ** (size - 1)))  # zeros at its end may be left out


def is_rounded(shown: Number, exact: float | Array) -> bool:
    """Whether what is shown is the rounding of a number, or of one of several, to the digits that are shown."""
    gap = np.abs(np.asarray(exact, dtype=np.float64) - shown.value)
    return bool(np.any(gap <= 0.5 * shown.unit * (1 + 1e-9) + 1e-12 * abs(shown.value)))


def alike(first: Number, second: Number) -> bool:
    """Whether two places say the same: the same digits in whatever notation, or fewer of them."""
    return abs(first.value - second.value) <= 0.5 * abs(first.unit - second.unit) * (1 + 1e-9) + 1e-12 * abs(first.value)


def held(part: Any) -> Iterator[float]:
    """Every number of a JSON value, those in its reasons and remarks too."""
    if isinstance(part, dict | list):
        for one in part.values() if isinstance(part, dict) else part:
            yield from held(one)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield abs(part)
    elif isinstance(part, str) and " " in part:
        yield from (abs(number.value) for number in numbers(part))


def upwards(value: float, digits: int = 1) -> float:
    """Rounded up, as a bound is."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return math.ceil(value / unit * (1 - 1e-12)) * unit


def of_digits(value: float, digits: int) -> float:
    """Rounded to so many significant digits, as a number is that has fewer than four."""
    return float(f"{value:.{digits}g}")
