"""How numbers are written."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest

from gd.notation import count, marks, number, ordinal, plainly, typed, visible, when, written, written_as, zone


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


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ("en", ("1,234,567", "1,235", "0.248", "3.5 × 10⁻¹⁶", "1,000th", "1,234.5")),
        ("de", ("1.234.567", "1.235", "0,248", "3,5 × 10⁻¹⁶", "1.000th", "1.234,5")),
        ("fr", ("1\u202f234\u202f567", "1\u202f235", "0,248", "3,5 × 10⁻¹⁶", "1\u202f000th", "1\u202f234,5")),
        ("plain", ("1234567", "1235", "0.248", "3.5 × 10⁻¹⁶", "1000th", "1234.5")),
        (".'", ("1'234'567", "1'235", "0.248", "3.5 × 10⁻¹⁶", "1'000th", "1'234.5")),
        (", ", ("1\u202f234\u202f567", "1\u202f235", "0,248", "3,5 × 10⁻¹⁶", "1\u202f000th", "1\u202f234,5")),
        (",", ("1234567", "1235", "0,248", "3,5 × 10⁻¹⁶", "1000th", "1234,5")),
    ],
)
def test_formats_of_numbers(numbers: str, expected: tuple[str, ...]) -> None:
    """Decimal mark and thousands mark, and nothing else, for as long as it is said."""
    with written_as(numbers):
        found = (count(1234567), number(1234.6), number(0.248), number(3.5e-16), ordinal(1000), written("1,234.5"))
    assert expected == found
    assert "1,234,567" == count(1234567)


@pytest.mark.parametrize("numbers", ["", "xx", "..", ",,", ",.'", "1", "DE", "; ", "\n"])
def test_what_is_no_format(numbers: str) -> None:
    """Is refused in words; drawn is what a record says, and for what it does not know the standard one stands."""
    with pytest.raises(ValueError, match="is no format of numbers: name one of en, de, fr, plain, or write"):
        marks(numbers)
    with written_as(numbers):
        assert "1,235" == number(1234.6)


@pytest.mark.parametrize("numbers", ["de", "fr", ".'", "plain"])
def test_what_is_typed_is_the_same_in_every_format(numbers: str) -> None:
    """A command takes 0.25 and 1500000, and text for a terminal stays ASCII."""
    with written_as(numbers), plainly():
        assert ("0.25", "150000", "1.5e-07") == (typed(0.25), typed(150000.0), typed(1.5e-7))
        assert f"{count(1234567)}{number(-1234.5, 5, plain=True)}".isascii()


def test_times_stand_in_their_zone() -> None:
    """Summer time where it is summer; a zone that this machine does not know is UTC."""
    winter, summer = datetime(2026, 11, 22, 23, 30, tzinfo=UTC), datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    with written_as(zone_name="Europe/Berlin"):
        assert ("23 Nov 2026, 00:30:00 CET", "01 Jul 2026, 14:00:00 CEST") == (when(winter), when(summer))
    with written_as(zone_name="Mars/Olympus"):
        assert "22 Nov 2026, 23:30:00 UTC" == when(winter)
    with pytest.raises(ValueError, match="'Mars/Olympus' is no time zone: write a name such as Europe/Berlin"):
        zone("Mars/Olympus")
    assert "22 Nov 2026, 23:30:00 UTC" == when(winter)


def test_a_format_is_that_of_its_thread_alone() -> None:
    """Two reports that are drawn at once keep to their own."""

    def drawn(numbers: str) -> str:
        with written_as(numbers):
            barrier.wait(10)
            return count(1234)

    barrier = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert ["1.234", "1234"] == list(pool.map(drawn, ("de", "plain")))


def test_a_thin_space_is_shown_unless_it_is_ours_in_a_number() -> None:
    """In a sentence with numbers that are written so; anywhere else it is as invisible as it was."""
    assert "a\\u202fb 1\\u202f234" == visible("a\u202fb 1\u202f234")
    with written_as("fr"):
        assert "a\\u202fb 1\u202f234\u202f567 1\\u202f23" == visible("a\u202fb 1\u202f234\u202f567 1\u202f23")
