"""The sample of rows that a pass takes along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.data import Source
from gd.sampling import MOST, Sample, chosen, drawn, merge_samples
from gd.scanning import scan


def sampled(n: int, cuts: list[int], q: int = 2) -> Sample:
    """The sample of n rows that hold their own number, read in blocks that end at the cuts."""
    numbers = np.arange(n, dtype=np.float64)
    sample = Sample.none(q)
    for start, end in zip([0, *cuts], [*cuts, n], strict=True):
        sample = sample.extended([numbers[start:end]] * q)
    return sample


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 200_000), cuts=st.lists(st.integers(0, 200_000), max_size=12))
def test_the_sample_does_not_know_how_the_reading_was_cut(n: int, cuts: list[int]) -> None:
    """Whatever the blocks, the same rows; all of them up to the most, at least a half of that beyond; ascending."""
    sample = sampled(n, sorted(cut for cut in cuts if cut <= n))
    np.testing.assert_array_equal(sampled(n, []).rows, sample.rows)
    assert n == sample.of
    assert min(n, MOST // 2) <= len(sample.rows) + 1 <= MOST + 1
    assert (n <= MOST) == (sample.level == 0)
    assert (np.diff(sample.rows[:, 0]) > 0).all()


@pytest.mark.parametrize("period", [2, 7, 24, 64, 1000, 1024])
def test_nothing_that_repeats_itself_keeps_step(period: int) -> None:
    """Of rows with any period every phase is taken about as often: no hour of the day is preferred."""
    at = chosen(0, 1_000_000, 7)
    phases = np.bincount(at % period, minlength=period)
    expected = len(at) / period
    assert (np.abs(phases - expected) < 6 * np.sqrt(expected) + 1).all()


def test_a_sample_is_one_row_of_each_run_and_part_of_the_finer() -> None:
    """Of each 2^k rows one, and it was taken at every lower level."""
    for level in range(1, 12):
        rows = chosen(0, 1 << 16, level)
        np.testing.assert_array_equal(np.arange(len(rows)), rows >> level)
        assert np.isin(rows, chosen(0, 1 << 16, level - 1)).all()


def test_samples_of_parts_go_together() -> None:
    """Each is thinned as the longest is, so that a row of any of them counts for as many."""
    parts = [sampled(n, []) for n in (300_000, 9000, 10)]
    whole = merge_samples(parts)
    assert 309_010 == whole.of
    assert len(whole.rows) <= MOST
    assert pytest.approx(309_010 / 2**whole.level, abs=4) == len(whole.rows)


def test_many_columns_are_fewer_rows() -> None:
    """A sample stays small: 2 MB, or 512 rows where even these are more."""
    for q, rows in ((32, 8192), (128, 2048), (2048, 512)):
        sample = sampled(20_000, [7777], q)
        assert rows / 2 <= len(sample.rows) <= rows


@given(rows=st.integers(0, 10**6), most=st.integers(1, 2000))
def test_so_many_rows_are_drawn(rows: int, most: int) -> None:
    """For every table: all of them, or at most so many and hardly less than half of that, each once and in order."""
    found = drawn(rows, most)
    assert len(found) <= most
    assert len(found) == rows or len(found) >= most // 2 - 1
    assert (np.diff(found) > 0).all()
    assert rows > most or (found == np.arange(rows)).all()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("block", [1 << 12, 1 << 15, 4 << 20])
def test_a_pass_takes_the_sample_along(threads: int, block: int, tmp_path: Path) -> None:
    """Rows with a gap are no rows; threads and blocks change nothing."""
    n = 20_000
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "".join(f"{'' if j % 100 == 7 else j},{2 * j}\n" for j in range(n)), encoding="utf-8")
    found = scan(str(path), Source(path=str(path), target="y"), threads=threads, block=block).sample
    used = np.array([j for j in range(n) if j % 100 != 7])
    assert len(used) == found.of
    expected = used[chosen(0, len(used), found.level)]
    np.testing.assert_array_equal(np.column_stack([expected, 2 * expected]), found.rows)
