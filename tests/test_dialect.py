"""What can be said of how a CSV is written, and what is refused before anything is read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gd.dialect import MISSING, Dialect, LineRanges, same_name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"delimiter": "semicolon"}, {"delimiter": ";"}),
        ({"delimiter": "tab"}, {"delimiter": "\t"}),
        ({"delimiter": r"\t"}, {"delimiter": "\t"}),
        ({"delimiter": "blanks"}, {"delimiter": "blanks"}),
        ({"quote": "none"}, {"quote": ""}),
        ({"quote": "single"}, {"quote": "'"}),
        ({"decimal": "comma", "thousands": "dot"}, {"decimal": ",", "thousands": "."}),
        ({"thousands": "apostrophe"}, {"thousands": "'"}),
        ({"encoding": "latin1"}, {"encoding": "iso8859-1"}),
        ({"encoding": "UTF-8-sig"}, {"encoding": "utf-8"}),
        ({"header": 3}, {"header": 3}),
    ],
)
def test_words_and_signs_say_the_same(words: dict[str, str], expected: dict[str, str]) -> None:
    """What is awkward to type in a shell has a name."""
    assert expected == Dialect(**words).model_dump(exclude_defaults=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": "ab"}, {"delimiter": "7"}, {"delimiter": "."}, {"delimiter": "§"}, {"delimiter": "\n"}, {"quote": "`"},
        {"decimal": ",", "thousands": ","}, {"decimal": ";"}, {"thousands": "x"}, {"encoding": "klingon"},
        {"encoding": "rot13"}, {"skip_lines": "x"},
        {"encoding": "unicode_escape"}, {"encoding": "zlib"}, {"skip_lines": "0-3"}, {"skip_lines": "5-2"},
        {"header": 0}, {"header": "first"}, {"comment": ""}, {"comment": " #"}, {"units": ("5",)}, {"units": ("",)},
        {"quote": "'", "delimiter": "'"}, {"colour": "red"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    """Before a file is opened."""
    with pytest.raises(ValidationError):
        Dialect(**wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", ((1, 3),)), ("2-2", ((2, 2),)), ("900-,2-2", ((2, 2), (900, None))), ("0", ()), (" 1 , 4-5 ", ((1, 1), (4, 5))),
    ],
)  # fmt: skip
def test_line_ranges(text: str, expected: tuple[tuple[int, int | None], ...]) -> None:
    """A number is that many at the top, a range is its lines."""
    assert expected == tuple(LineRanges.read(text))


def test_lines_above_the_header_are_skipped() -> None:
    """Beside those that were named."""
    assert ((1, 3), (9, None)) == tuple(Dialect(header=4, skip_lines="9-").skipped)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, MISSING),
        (("default", "?"), (*MISSING, "?")),
        (("NA", "?"), ("", "NaN", "NA", "?")),
        (("-999",), ("", "NaN", "-999")),
        ((), ("", "NaN")),
    ],
)
def test_marks_of_a_missing_value(said: tuple[str, ...] | None, expected: tuple[str, ...]) -> None:
    """An empty cell and NaN always count; a list replaces the usual one unless it names it."""
    assert expected == Dialect(missing=said).marks


def test_names_are_compared_trimmed_and_composed() -> None:
    """An é of one letter is one of two."""
    assert same_name(" caf\u00e9\t") == same_name("cafe\u0301")
