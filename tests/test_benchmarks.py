"""The benchmark itself: that it measures what it says, never how long it took."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.benchmarks import epochs, mails

SIZES = [(50, 1), (50, 2)]


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("backend", epochs.BACKENDS)
def test_both_loops_end_at_the_same_weights(backend: str, n: int, d: int) -> None:
    """The loops that are timed side by side do the same work."""
    X, y = epochs.plane(n, d)
    expected = epochs.notebook_loop(backend, X, y)(3)
    actual = epochs.gd_loop(backend, X, y)(3)
    assert (d,) == expected.shape == actual.shape
    assert np.allclose(expected, actual, rtol=1e-9, atol=0)


def test_every_size_has_a_row_for_each_backend() -> None:
    """A row names its size and backend, and its times are positive."""
    rows = list(epochs.measure(SIZES, rounds=1, epochs=3))
    assert [(n, d, backend, 3) for n, d in SIZES for backend in epochs.BACKENDS] == [row[:4] for row in rows]
    assert all(row.notebook > 0 and row.gd > 0 for row in rows)
    assert all(row.low == row.ratio == row.high for row in rows)


def test_a_size_that_needs_too_much_memory_is_skipped() -> None:
    """A size above the limit is not built, and its numbers are nan."""
    rows = list(epochs.measure([(50, 2)], memory=1000))
    assert list(epochs.BACKENDS) == [row.backend for row in rows]
    assert all(math.isnan(row.ratio) for row in rows)


def test_every_aim_applies_to_a_size_that_is_measured() -> None:
    """No aim is met because nothing was measured for it."""
    rows = [epochs.Row(n, d, backend, 1, 1, 1, 1, 1, 1) for n, d in epochs.SIZES for backend in epochs.BACKENDS]
    assert all(any(aim.applies(row) for row in rows) for aim in epochs.AIMS)


@pytest.mark.server
def test_each_way_of_sending_sends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them reach every recipient; the outbox over one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    found = mails.measure_sending(messages=3, rounds=1)
    assert [1, 1, 3] == [sent.sockets for sent in found]
    assert all(sent.rate > 0 for sent in found)


def test_a_composed_mail_has_its_sizes() -> None:
    """The whole message holds the HTML part and more."""
    [composed] = mails.measure_composing([2])
    assert 2 == composed.data_sets
    assert 0 < composed.html < composed.message
