"""How numbers are written."""

import math

import pytest

from gd.notation import count, number, ordinal, visible


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (1.0, "1"), (-1.5, "−1.5"), (44.0, "44"), (0.248, "0.248"), (1234.5678, "1,235"), (412_000.0, "412,000"),
        (3e-16, "3 × 10⁻¹⁶"), (1e-6, "10⁻⁶"), (-1.25e9, "−1.25 × 10⁹"), (0.00012345, "0.0001234"), (999999.0, "10⁶"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "not a number"), (None, "—"), (5e-324, "4.941 × 10⁻³²⁴"),
    ],
)  # fmt: skip
def test_numbers_for_people(value: float | None, expected: str) -> None:
    """Four significant digits, real minus signs, powers of ten with superscripts."""
    assert expected == number(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(3e-16, "3e-16"), (-1.25e9, "-1.25e+09"), (None, "-"), (-math.inf, "-infinity"), (0.5, "0.5")]
)
def test_plain_numbers_are_ascii(value: float | None, expected: str) -> None:
    """For terminals and plain-text mail."""
    assert expected == number(value, plain=True)
    assert number(value, plain=True).isascii()


def test_zeros_are_kept_where_they_say_something() -> None:
    """A ratio of 5.000 was measured to four digits."""
    assert ("5.000", "1.000 × 10⁻⁷", "44.00") == tuple(number(value, keep_zeros=True) for value in (5.0, 1e-7, 44.0))


def test_counts_have_commas() -> None:
    """Thousands are set apart; what is not there is a dash."""
    assert ("1,000,000", "—") == (count(10**6), count(None))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eabc", "\\u202eabc"),
        ("a" * 40 + "b" * 40, "a" * 30 + "…" + "b" * 29),
    ],
)
def test_hostile_names_are_readable(name: str, expected: str) -> None:
    """Newlines, escape codes and direction marks are shown, not obeyed; long names are shortened."""
    assert expected == visible(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (32, "32nd"),
        (113, "113th"),
        (1000, "1,000th"),
    ],
)
def test_ordinals(value: int, expected: str) -> None:
    """As they are said in English, with commas for thousands."""
    assert expected == ordinal(value)
