"""Numbers that are not what they seem."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gd.data import Array, Remark
from gd.dialect import Dialect
from gd.signs import Sign, merge, remarks


def sign(values: Array, target: Array | None = None) -> Sign:
    """Of a column without a gap."""
    return Sign.of(values, values, values.min(), values.max(), values + 0.5 if target is None else target)


def said(values: Array, **others: Array) -> list[tuple[str, int | None]]:
    """The kinds of remarks on a feature, and their counts."""
    return [(one.kind, one.count) for one in remarks("x", sign(values, **others), Dialect(), feature=True)]


VALUES = st.lists(st.sampled_from([-999.0, -99.0, -1.0, 0.0, 0.5, 3.0, 99.0, 9999.0]), min_size=1, max_size=12)


@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_parts_say_what_the_whole_says(parts: list[list[float]]) -> None:
    """For every cut of a column into blocks."""
    blocks = [np.array(part) for part in parts]
    whole = sign(np.concatenate(blocks))
    merged = reduce(merge, map(sign, blocks))
    assert remarks("x", whole, Dialect(), feature=True) == remarks("x", merged, Dialect(), feature=True)
    assert (whole.least, whole.most, whole.counts, whole.rows) == (merged.least, merged.most, merged.counts, merged.rows)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.5, 2, 3, -999, 7, -999], [("sentinel", 2)]),
        ([1.5, 2, 3, 9999, 7, 9999, 9999], [("sentinel", 3)]),
        ([1000, 2000, 5000, -99, -99, 4000], [("sentinel", 2)]),  # negative where nothing else is
        ([1.5, 2, 3, -999, 7, 5], []),  # once may be a value
        ([97, 98, 99, 99, 95, 96], []),  # nor is it far off
        ([-150, -80, -99, -99, 20, 90], []),
        ([99, 99, 99], []),
    ],
)
def test_sentinels(values: list[float], expected: list[tuple[str, int]]) -> None:
    """An extreme value of nines that is repeated and far from the rest may stand for a missing one."""
    assert expected == said(np.array(values, float))


def test_the_remark_says_which_option_reads_it() -> None:
    """Beside what was said already."""
    (found,) = remarks("x", sign(np.array([1.0, 5, -999, -999])), Dialect(missing=("default", "?")), feature=False)
    assert isinstance(found, Remark)
    assert found.text.endswith("If it stands for a missing value: --missing 'default,?,-999'.")


@pytest.mark.parametrize(
    ("first", "step", "n", "expected"), [(0, 1, 10, True), (7, 1, 30, True), (1, 1, 9, False), (0, 2, 20, False)]
)
def test_an_index_is_seen(first: int, step: int, n: int, expected: bool) -> None:
    """Ten rows or more that count up by one."""
    assert expected == (("index", None) in said(np.arange(first, first + n * step, step, dtype=float)))


def test_a_copy_of_the_target_is_seen() -> None:
    """In every row; one other value is enough to make it a feature."""
    values = np.array([1.0, 5, 2])
    assert [("same-as-target", None)] == said(values, target=values.copy())
    assert [] == said(values, target=np.array([1.0, 5, 3]))
