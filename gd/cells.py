"""What a cell holds: a number, a date, a missing value, or text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gd.arrays import Array, flags, floats, mask, places, texts
from gd.dialect import Dialect

__all__ = ["BLANKS", "DAY", "SPACES", "Days", "Numbers", "days"]

BLANKS = " \t\r\n"  # around a cell
SPACES = " \u00a0\u202f"  # what stands between groups of digits, and between a number and its unit
_NAN = r"[+-]?(?i:nan)(?:\([A-Za-z0-9_]*\))?"  # C writes nan(ind), and pyarrow reads it
_INFINITE = "[+-]?(?i:inf|infinity)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
DAY = 86_400_000_000  # microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Numbers:
    """The numbers of a dialect: an optional sign, digits with an optional decimal mark, an optional exponent.

    That is what RFC 4180 tools and Python agree on; blanks around it are fine. A dialect adds groups of three digits, units
    that are left off, and parentheses for a minus. NaN is a missing value; infinity is a number, which its reader refuses.

    Args:
        dialect: whose decimal, thousands, units, parentheses and marks of a missing value count.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.marks = dialect.marks
        self.plain = dialect.thousands is None and not dialect.units and not dialect.parentheses
        self._number = re.compile(self._pattern)
        self._nan = re.compile(_NAN)
        self._values = [value for mark in self.marks if (value := self.value(mark)) is not None]  # -999, say

    @cached_property
    def _core(self) -> str:
        mark, groups = re.escape(self.dialect.decimal), self.dialect.thousands
        whole = "[0-9]+"
        if groups is not None:
            between = f"[{SPACES}]" if groups == " " else re.escape(groups)
            whole = f"(?:[0-9]{{1,3}}(?:{between}[0-9]{{3}})+|[0-9]+)"
        return f"(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    @cached_property
    def _unit(self) -> tuple[str, str]:
        """Before and after a number."""
        if not self.dialect.units:
            return "", ""
        unit = f"(?:{'|'.join(map(re.escape, sorted(self.dialect.units, key=len, reverse=True)))})"
        return f"(?:{unit}[{SPACES}]?)?", f"(?:[{SPACES}]?{unit})?"

    @cached_property
    def _forms(self) -> list[tuple[str, str]]:
        """Ways to write a number, without its blanks, and what each becomes."""
        before, after = self._unit
        forms = [(f"([+-]?)({self._core}){after}", r"\1\2")]
        if before:
            forms += [(f"{before}([+-]?)({self._core})", r"\1\2"), (f"([+-]){before}({self._core})", r"\1\2")]
        if self.dialect.parentheses:
            forms += [(rf"\(({self._core}){after}\)", r"-\1"), (rf"\(({self._core})\){after}", r"-\1")]
            forms += [(rf"\({before}({self._core})\)", r"-\1"), (rf"{before}\(({self._core})\)", r"-\1")] if before else []
        return forms

    @property
    def _pattern(self) -> str:
        return f"(?:{'|'.join([*(form for form, _ in self._forms), _INFINITE])})"

    def is_missing(self, cell: str) -> bool:
        """Whether it counts as missing."""
        trimmed = cell.strip(BLANKS)
        if trimmed in self.marks or self._nan.fullmatch(trimmed) is not None:
            return True
        return bool(self._values) and self.value(cell) in self._values

    def is_number(self, cell: str) -> bool:
        """Whether it is one, be it infinite."""
        return self._number.fullmatch(cell.strip(BLANKS)) is not None and not self.is_missing(cell)

    def value(self, cell: str) -> float | None:
        """As a number; None where it is none."""
        written = self.written(cell)
        return None if written is None else float(written)

    def written(self, cell: str) -> str | None:
        """As Python writes numbers, digit for digit; None where it is none."""
        trimmed = cell.strip(BLANKS)
        for form, becomes in self._forms:
            if re.fullmatch(form, trimmed):
                return self._plainly(re.sub(f"^{form}$", becomes, trimmed))
        return trimmed if re.fullmatch(_INFINITE, trimmed) else None

    def _plainly(self, number: str) -> str:
        if self.dialect.thousands is not None:
            number = re.sub(f"[{SPACES}]" if self.dialect.thousands == " " else re.escape(self.dialect.thousands), "", number)
        return number.replace(self.dialect.decimal, ".")

    def without_marks(self, values: Array) -> Array:
        """Numbers with NaN where they stand for a missing value, (n,)."""
        if not self._values or not (marked := np.isin(values, self._values)).any():
            return values
        return np.where(marked, np.nan, values)

    def missing(self, trimmed: Any) -> Array:
        """Which cells of an Arrow column of text, without blanks around them, are missing by how they are written, (n,)."""
        from pyarrow import compute  # noqa: PLC0415

        by_mark = compute.is_in(trimmed, texts(self.marks))
        by_name = compute.match_substring_regex(trimmed, rf"\A{_NAN}\z")
        return flags(compute.or_(by_mark, by_name))

    def convert(self, cells: Any) -> tuple[Array | None, Array, Array]:
        """An Arrow column of text as numbers.

        Args:
            cells: text, (n,), never null.

        Returns:
            Numbers, (n,), NaN where a cell is missing, or None where some are neither; which are neither, (wrong,); and
            which are missing, (n,).
        """
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import compute  # noqa: PLC0415

        trimmed = compute.utf8_trim(cells, BLANKS)
        missing = self.missing(trimmed)
        right = flags(compute.match_substring_regex(trimmed, rf"\A{self._pattern}\z")) | missing
        wrong = np.flatnonzero(~right)
        if len(wrong):
            return None, wrong, missing
        held = trimmed.filter(mask(~missing)) if missing.any() else trimmed
        if not self.plain:
            for form, becomes in self._forms:
                held = compute.replace_substring_regex(held, rf"\A{form}\z", becomes)
            if (groups := self.dialect.thousands) is not None:
                between = f"[{SPACES}]" if groups == " " else re.escape(groups)
                held = compute.replace_substring_regex(held, between, "")
        if self.dialect.decimal != ".":
            held = compute.replace_substring(held, self.dialect.decimal, ".")
        values = np.full(len(missing), np.nan)
        values[~missing] = floats(compute.cast(held, pa.float64()))
        values = self.without_marks(values)
        return values, wrong, np.isnan(values)


class Days(NamedTuple):
    """A column of dates."""

    values: Array  # microseconds since 1970, (n,), NaN where a cell is missing or no date
    wrong: Array  # which are neither, (wrong,)
    missing: Array  # which are missing, (n,)
    zoned: Array  # which tell their time zone, (n,)


def days(cells: Any, numbers: Numbers) -> Days:
    """An Arrow column of text as dates: ISO 8601, year first, with or without a time.

    Args:
        cells: text, (n,), never null.
        numbers: of the same dialect, which knows what is missing.
    """
    distinct = (cells.combine_chunks() if hasattr(cells, "num_chunks") else cells).dictionary_encode()
    values, kinds = [], []
    for cell in distinct.dictionary.to_pylist():
        moment = None if numbers.is_missing(cell) else _moment(cell.strip(BLANKS))
        kinds.append(0 if moment is not None else 1 if numbers.is_missing(cell) else 2)
        values.append(np.nan if moment is None else moment[0])
        if moment is not None and moment[1]:
            kinds[-1] = 3
    at = places(distinct.indices)
    kind = np.array(kinds, np.int8)[at]
    return Days(np.array(values, np.float64)[at], np.flatnonzero(kind == 2), kind == 1, kind == 3)


def _moment(cell: str) -> tuple[float, bool] | None:
    """Microseconds since 1970 and whether the time zone is told."""
    if not re.fullmatch(_DATE, cell):
        return None
    try:
        moment = datetime.fromisoformat(cell.replace(",", "."))
    except ValueError:  # the 30th of February
        return None
    zoned = moment.tzinfo is not None
    since = (moment if zoned else moment.replace(tzinfo=UTC)) - _EPOCH
    return float(since.days * DAY + since.seconds * 1_000_000 + since.microseconds), zoned
