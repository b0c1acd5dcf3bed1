"""Delimiter and quote of a CSV file, found out from its first rows and the names that are wanted from its header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from gd.cells import BLANKS, numbers_of
from gd.dialect import BLANKS as ANY_BLANKS
from gd.dialect import Dialect, same_name
from gd.refusal import DataError, listed, shown

__all__ = ["reader", "sniff"]

_DELIMITERS = (",", ";", "\t", "|")
_QUOTES = ('"', "'")
_DOUBLE = '(?:^|[,;\t|])"'  # a cell that begins with one
_SAMPLE = 50  # rows


def reader(lines: Iterable[str], dialect: Dialect) -> Any:
    """Python's own reader, strict: slow, but it knows lines.

    Args:
        lines: with their ends.
        dialect: with delimiter and quote.
    """
    csv.field_size_limit(2**31 - 1)  # the default refuses text that pyarrow reads
    quoting: dict[str, Any] = {"quotechar": dialect.quote} if dialect.quote else {"quoting": csv.QUOTE_NONE}
    return csv.reader(lines, delimiter=dialect.delimiter or ",", strict=True, **quoting)


def sniff(
    file: str, head: bytes, dialect: Dialect, wanted: Sequence[str], role: str = "for the target", *, whole: bool
) -> Dialect:
    """The dialect with what was left open in it: the delimiter under which the header holds the wanted names.

    Where there is no header, or it lacks them, the first rows must agree in their width. What is found here from some rows
    is checked by reading: a row of another width, wherever it stands, is refused.

    Args:
        file: its name, for errors.
        head: the first lines, in UTF-8.
        dialect: what was said.
        wanted: names of the target and of the features that were named.
        role: of the first of them, for errors.
        whole: whether there are no more lines than these.

    Raises:
        DataError: if several would do, or if the wanted names stand on a later line.
    """
    text = head.decode(errors="replace")
    if dialect.delimiter == ANY_BLANKS:  # which reading has made single spaces
        dialect = dialect.model_copy(update={"delimiter": " "})
    delimiters = _DELIMITERS if dialect.delimiter is None else (dialect.delimiter,)
    quotes = _QUOTES if dialect.quote is None else (dialect.quote,)
    if dialect.quote is None and ("'" not in text or re.search(_DOUBLE, text.lstrip().partition("\n")[0])):
        quotes = ('"',)
    tried = [
        dialect.model_copy(update={"delimiter": delimiter, "quote": quote}) for quote, delimiter in product(quotes, delimiters)
    ]
    found = {one: _rows(text, one, whole) for one in tried}
    if (blank := next((one for one in tried if found[one] == []), None)) is not None:
        return blank  # nothing but delimiters
    rows = {one: taken for one, taken in found.items() if taken} or {tried[0]: []}
    if len(rows) == 1 or dialect.header == "none":
        return _by_width(file, rows, dialect)
    names = {same_name(name) for name in wanted}
    for needed in (names, {same_name(wanted[0])}):
        fitting = [one for one, taken in rows.items() if taken and needed <= set(map(same_name, taken[0][1]))]
        if fitting:
            return _narrowed(file, fitting, rows)
    for one, taken in rows.items():
        numbers = numbers_of(one)
        for line, cells in taken[1:]:
            if names <= set(map(same_name, cells)) and not any(map(numbers.is_number, cells)):
                first, remedy = taken[0][0], f"Line {line} has it: --header {line}."
                raise DataError(f"{file}, line {first}", f"no column {shown(wanted[0])} {role}.", remedy)
    broken = next((one for one in tried if found[one] is None and one.quote == '"'), None)
    if broken is not None and all(len(taken[0][1]) == 1 for taken in rows.values()):
        return broken  # whose fault is found again, and told
    return _by_width(file, rows, dialect)


def _rows(text: str, dialect: Dialect, whole: bool) -> list[tuple[int, list[str]]] | None:
    """Line and cells of the first rows with anything in them, as far as they are well formed; None if the first is not."""
    line, found = 1, reader(io.StringIO(text, newline=""), dialect)
    kept: list[tuple[int, list[str]]] = []
    try:
        for cells in found:
            if any(cell.strip(BLANKS) for cell in cells):
                kept.append((line, cells))
            line = found.line_num + 1
            if len(kept) > _SAMPLE:
                return kept[:_SAMPLE]
    except csv.Error:
        return kept or None
    return kept if whole else kept[:-1] or kept  # the last line may go on


def _narrowed(file: str, fitting: Sequence[Dialect], rows: dict[Dialect, list[tuple[int, list[str]]]]) -> Dialect:
    """Of the dialects whose header holds the names the one whose rows are as wide as it; the first where that tells nothing."""
    agreeing = [one for one in fitting if len({len(cells) for _, cells in rows[one]}) == 1] or list(fitting)
    several = [one for one in agreeing if len(rows[one][0][1]) > 1]
    if len({one.delimiter for one in several}) > 1:
        raise _ambiguous(file, several, rows)
    return (several or agreeing)[0]


def _by_width(file: str, rows: dict[Dialect, list[tuple[int, list[str]]]], dialect: Dialect) -> Dialect:
    """The dialect under which all rows have the same cells, more than one; where several do, the one that makes numbers."""
    doubly = [one for one in rows if one.quote != "'" or dialect.quote is not None]
    agreeing = [one for one in doubly if len({len(cells) for _, cells in rows[one]}) == 1 and len(rows[one][0][1]) > 1]
    if len(agreeing) < 2:
        return (agreeing or sorted(doubly, key=lambda one: -len(rows[one][0][1]) if rows[one] else 0) or list(rows))[0]
    if dialect.header == "none":
        numeric = [one for one in agreeing if _all_numbers(one, rows[one])]
        if len(numeric) == 1:
            return numeric[0]
    raise _ambiguous(file, agreeing, rows)


def _all_numbers(dialect: Dialect, rows: Sequence[tuple[int, list[str]]]) -> bool:
    numbers = numbers_of(dialect)
    return all(numbers.is_number(cell) or numbers.is_missing(cell) for _, cells in rows for cell in cells)


def _ambiguous(file: str, fitting: Sequence[Dialect], rows: dict[Dialect, list[tuple[int, list[str]]]]) -> DataError:
    line = rows[fitting[0]][0][0]
    separators = listed(sorted({one.delimiter or "" for one in fitting}))
    return DataError(
        f"{file}, line {line}", f"cells may be separated by any of {separators}.", "Say by which with --delimiter."
    )
