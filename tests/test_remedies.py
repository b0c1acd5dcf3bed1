"""Which option is named for cells that are no numbers."""

from __future__ import annotations

import pytest

from gd.cells import Numbers
from gd.dialect import Dialect
from gd.remedies import leave_out, remedy


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,5", "2,25"], "--decimal , would read them."),
        (["1,234", "1,234,567"], "--thousands , would read them."),
        (["1,234"], "Say which it is: --decimal , reads '1,234' as 1.234 and --thousands , reads '1,234' as 1234."),
        (["1.234,56 €", "900,00 €"], "--decimal , --thousands . --units '€' would read them."),
        (["1\u202f234,5"], "--decimal , --thousands space would read it."),
        (["1'234.5"], "--thousands apostrophe would read it."),
        (["5%", "6 %"], "--units % would read them."),
        (["$-5", "-$6"], "--units '$' would read them."),
        (["(12)"], "--parentheses would read it."),
        (["($1,200.50)"], "--thousands , --units '$' --parentheses would read it."),
        (["5 kg", "6kg"], "--units kg would read them."),
        (["?"], "--missing 'default,?' takes it as missing."),
        (["#DIV/0!"], "--missing 'default,#DIV/0!' takes it as missing."),
        (["ten", "ten", "ten"], "--missing default,ten takes them as missing."),
        (["5%", "n/a"], "--units % --missing default,n/a would read them."),
    ],
)
def test_the_option_that_reads_them(cells: list[str], expected: str) -> None:
    """As it is typed."""
    found = remedy(cells, Dialect())
    assert found is not None
    assert expected == found.text


@pytest.mark.parametrize(
    "cell", ["ten", "0x1F", "1 2", "1e", "１２", "−2", "12-", "2024-01-01", "12:30", "1.2.3", "1,23,4", "3\x05", "\ufeff3"]
)
def test_no_option_reads_them(cell: str) -> None:
    """Then none is named, and no sign that nobody sees."""
    assert remedy([cell], Dialect()) is None


def test_what_was_said_already_is_said_again() -> None:
    """The option that is named holds what it held."""
    found = remedy(["5 €", "?"], Dialect(units=("%",), missing=("NA",)))
    assert found is not None
    assert "--units '%,€' --missing 'NA,?' would read them." == found.text


def test_numbers_beside_them_stay_what_they_are() -> None:
    """A decimal comma is no remedy in a column that has decimal dots; nor do units of theirs stand in the way."""
    found = remedy(["1,234"], Dialect(), beside=["1.5"])
    assert found is not None
    assert "--thousands , would read it." == found.text
    found = remedy(["1,234"], Dialect(units=("%",)), beside=["5.5%"])
    assert found is not None
    assert "--thousands , would read it." == found.text


@pytest.mark.parametrize(
    ("cell", "sure"), [("12%", True), ("$5", True), ("1,5", True), ("3rd", False), ("5 kg", False), ("?", False)]
)
def test_what_is_surely_meant_as_a_number(cell: str, sure: bool) -> None:
    """A column of such is refused rather than left out."""
    found = remedy([cell], Dialect())
    assert found is not None
    assert sure == found.sure


@pytest.mark.parametrize(
    ("dialect", "cell", "value"),
    [
        (Dialect(units=("%", "$", "kg")), "-$5", -5.0), (Dialect(units=("%", "$", "kg")), "5 %", 5.0),
        (Dialect(units=("%", "$", "kg")), "kg 5", 5.0), (Dialect(units=("e",)), "1e5", 1e5), (Dialect(units=("e",)), "1e", 1.0),
        (Dialect(parentheses=True), "(12)", -12.0), (Dialect(parentheses=True), "(-12)", None),
        (Dialect(decimal=","), "1.5", None), (Dialect(decimal=",", thousands="."), "1.234,5", 1234.5),
        (Dialect(thousands=" "), "1\u00a0234", 1234.0), (Dialect(thousands=","), "1,23", None),
        (Dialect(thousands=","), "12,34,567", None), (Dialect(units=("$",)), "$12$", None), (Dialect(), "+.5e-1", 0.05),
        (Dialect(), "1_000", None), (Dialect(), "٣", None),
    ],
)  # fmt: skip
def test_numbers_of_a_dialect(dialect: Dialect, cell: str, value: float | None) -> None:
    """One grammar, whichever way a cell is read."""
    assert value == Numbers(dialect).value(cell)


def test_names_are_quoted_for_a_shell() -> None:
    """Where they can be typed at all."""
    assert "--leave-out 'net price'" == leave_out("net price")
    assert """--leave-out '"a,b",c'""" == leave_out("a,b", "c")
    assert "--leave-out" == leave_out("a\nb")
