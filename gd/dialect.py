"""How a CSV is written: what a user says about it, and what is found out where nothing is said."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["BLANKS", "MISSING", "Dialect", "Format", "LineRanges", "same_name"]

MISSING = ("", "NA", "N/A", "NaN", "null", "NULL", "None", "#N/A")
"""Cells that count as missing, as written but for blanks around them; of NaN any spelling and sign."""

BLANKS = "blanks"
"""The delimiter that is one or several spaces or tabs."""

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", r"\t": "\t", "pipe": "|", "space": " ", "colon": ":"}
_THOUSANDS = {"comma": ",", "dot": ".", "point": ".", "space": " ", "apostrophe": "'", "underscore": "_"}
_DECIMALS = {"comma": ",", "dot": ".", "point": "."}
_QUOTES = {"double": '"', "single": "'", "none": ""}
_NOT_TEXT = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"}


def _word(words: dict[str, str]) -> Any:
    return BeforeValidator(lambda value: words.get(value, value) if isinstance(value, str) else value)


def _separator(value: str) -> str:
    if value == BLANKS:
        return value
    if len(value) != 1 or not value.isascii() or value.isalnum() or value in "\"'+-.\r\n\0":
        raise ValueError(
            "one ASCII character that is no letter, digit, quote, sign or dot, or comma, semicolon, tab, pipe, space"
        )
    return value


def _encoding(value: str) -> str:
    try:
        found = codecs.lookup(value)
        "x".encode(value)
    except (LookupError, UnicodeError):
        raise ValueError("no encoding of text by that name; utf-8, utf-16-le, latin-1 and cp1252 are some") from None
    if found.name.replace("_", "-") in _NOT_TEXT or found.incrementaldecoder is None:
        raise ValueError("no encoding of files; utf-8, utf-16-le, latin-1 and cp1252 are some")
    return found.name.removesuffix("-sig")  # a byte order mark of UTF-8 is known without


class LineRanges(tuple[tuple[int, int | None], ...]):
    """Lines of a file, counted from 1: (first, last) of each range, None where it goes on to the end."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> LineRanges:
        """From words: ``3`` is the first three lines, ``2-2`` the second, ``2-2,900-`` that and all from 900 on.

        Raises:
            ValueError: if it is neither.
        """
        ranges: list[tuple[int, int | None]] = []
        for item in text.split(","):
            match = re.fullmatch(r"\s*(?:([0-9]+)|([0-9]+)-([0-9]*))\s*", item, re.ASCII)
            if match is None:
                raise ValueError("a number of lines at the top, such as 3, or ranges of lines, such as 2-2,900-")
            count, first, last = match.groups()
            one = (1, int(count)) if count is not None else (int(first), int(last) if last else None)
            if one[0] < 1 or (one[1] is not None and one[1] < one[0] and count is None):
                raise ValueError("lines are counted from 1, and a range ends after it begins")
            if one[1] != 0:
                ranges.append(one)
        return cls(sorted(ranges))


def _ranges(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = str(value)
    LineRanges.read(text)
    return text


class Dialect(BaseModel):
    """What a user says about how a CSV is written; what is left out is found out, or as usual."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, _word(_DELIMITERS), AfterValidator(_separator)] | None = Field(
        default=None,
        description="What separates cells: one character, or comma, semicolon, tab, pipe, space, or blanks for one or more "
        "of them; the first four are found out.",
    )
    quote: Annotated[Literal['"', "'", ""], _word(_QUOTES)] | None = Field(
        default=None, description="What cells are quoted with: \", ' or none; the first two are found out."
    )
    decimal: Annotated[Literal[".", ","], _word(_DECIMALS)] = Field(default=".", description="The decimal mark: . or ,")
    thousands: Annotated[Literal[",", ".", "'", " ", "_"], _word(_THOUSANDS)] | None = Field(
        default=None, description="What separates groups of three digits: , . ' _ or space; nothing when left empty."
    )
    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        default=None, description="Such as latin-1 or cp1252; UTF-8, and UTF-16 with a byte order mark, are found out."
    )
    skip_lines: Annotated[str | None, BeforeValidator(_ranges)] = Field(
        default=None, description="Lines to skip: 3 for the first three, or ranges such as 2-2,900-, counted from 1."
    )
    header: Literal["none"] | Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="The line that holds the names, counted from 1, or none: columns are then named column 1, column 2 …; the "
        "first line with anything in it when left empty.",
    )
    comment: str | None = Field(
        default=None, min_length=1, max_length=8, description="Lines that begin with this are skipped, such as #."
    )
    missing: tuple[str, ...] | None = Field(
        default=None,
        description="Cells that count as missing beside empty ones and NaN; default among them stands for NA, N/A, null, NULL, "
        "None and #N/A, which are taken when left empty.",
    )
    units: tuple[str, ...] = Field(
        default=(), description="What may stand before or after a number and is left off, such as %, $ or kg: 5% is read as 5."
    )
    parentheses: bool = Field(default=False, description="Whether (12) is read as -12.")

    @model_validator(mode="after")
    def _fit_together(self) -> Dialect:
        if self.thousands == self.decimal:
            raise ValueError("--thousands and --decimal cannot be the same mark")
        if self.delimiter is not None and self.delimiter == self.quote:
            raise ValueError("--delimiter and --quote cannot be the same")
        for unit in self.units:
            if not unit.strip() or re.search(r"[0-9.,+\-()\r\n]", unit):
                raise ValueError("--units: a unit holds no digit, sign, dot, comma, parenthesis or line end")
        if self.comment is not None and re.search(r"[\r\n\s]", self.comment):
            raise ValueError("--comment: what a line begins with is not blank")
        return self

    @property
    def marks(self) -> tuple[str, ...]:
        """All cells that count as missing."""
        said = ("default",) if self.missing is None else self.missing
        marks = ["", *(mark.strip() for mark in said if mark != "default")]
        return tuple(dict.fromkeys(MISSING + tuple(marks) if "default" in said else ("", "NaN", *marks)))

    @property
    def skipped(self) -> LineRanges:
        """The lines that are left out by their numbers, those above the header too."""
        said = LineRanges.read(self.skip_lines) if self.skip_lines is not None else LineRanges()
        above = [(1, self.header - 1)] if isinstance(self.header, int) and self.header > 1 else []
        return LineRanges(sorted([*above, *said]))


class Format(BaseModel):
    """How a file turned out to be written: the part ``dataset.format`` of ``run.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: str
    quote: str  # empty: none
    encoding: str
    byte_order_mark: bool = False
    line_ends: Literal["LF", "CRLF", "CR", "mixed", "none"] = "none"
    compression: Literal["gzip", "zstd"] | None = None
    header_line: int | None = None  # None: there is none
    decimal: str = "."
    thousands: str | None = None
    comment: str | None = None
    missing: tuple[str, ...] = MISSING
    units: tuple[str, ...] = ()
    parentheses: bool = False
    lines_skipped: int = 0  # by option: by number, and comments
    given: tuple[str, ...] = ()  # what of it an option said; the rest was found out, or is as usual


def same_name(name: str) -> str:
    """A column's name as it is compared: without blanks around it, and composed (Unicode NFC)."""
    return unicodedata.normalize("NFC", name).strip()
