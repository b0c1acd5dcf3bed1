"""Rows or moments: by what they cost, or as asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gd.method import keeps_rows, together
from gd.settings import Training, preset


@pytest.mark.parametrize(
    ("training", "rows", "columns", "expected"),
    [
        (Training(), 333, 5, True),  # the bundled penguins
        (Training(), 1_000_000, 11, False),
        (Training(epochs=10), 1_000_000, 3, True),  # few epochs do not pay for another form
        (Training(epochs=10), 10_000_000, 11, False),  # but no more rows than fit into 64 MB
        (Training(epochs=1_000_000), 1000, 11, False),
        (Training(backends=("numpy",), epochs=1300), 100_000, 10, True),
        (Training(epochs=1300), 100_000, 10, False),
        (Training(method="rows"), 10_000_000, 11, True),
        (Training(method="moments"), 5, 2, False),
        (preset("notebook"), 10_000_000, 11, True),  # its gradient is a sum over the rows
    ],
)
def test_what_is_trained_on(training: Training, rows: int, columns: int, expected: bool) -> None:
    """Rows while walking over them costs an estimated second at most and they fit into 64 MB; else their moments."""
    assert expected == keeps_rows(training, rows, columns)


def test_every_rate_that_is_tried_costs_as_much_again() -> None:
    """A sweep walks over the rows once more for each rate."""
    assert keeps_rows(Training(), 60_000, 11)
    assert not keeps_rows(Training(learning_rate="auto-sweep"), 60_000, 11)
    assert not keeps_rows(Training(learning_rate=(0.1, 0.2, 0.3)), 60_000, 11)


@given(rows=st.integers(1, 10**9), more=st.integers(0, 10**9), columns=st.integers(2, 500), epochs=st.integers(1, 10**7))
def test_more_rows_never_bring_them_back(rows: int, more: int, columns: int, epochs: int) -> None:
    """For every table: what was dropped while a file was read is not asked for at its end."""
    training = Training(epochs=epochs)
    assert keeps_rows(training, rows, columns) or not keeps_rows(training, rows + more, columns)


def test_which_rows_make_a_batch() -> None:
    """Drawn ones from a table of 64 MB at most, neighbours of a larger one."""
    assert ["drawn", "neighbours"] == [together(rows, 8) for rows in (1 << 20, (1 << 20) + 1)]
