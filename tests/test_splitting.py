"""Rows that are held out, and folds of the others: held against pandas, NumPy and a generator written out in plain Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.data import Array, DataError, LeftOut, Source, Split
from gd.moments import Moments, merge_all
from gd.reading import Reading, read
from gd.splitting import Count, Parting
from gd.stream import BLOCK
from gd.validation import cross_validate

SOURCE = Source(path="t.csv", target="y")
SPLITS = [
    Split(share=0.25),
    Split(share=0.25, seed=7, folds=3),
    Split(last=0.3),
    Split(last=0.3, folds=2),
    Split(column="set"),
    Split(column="set", folds=4, seed=1),
    Split(folds=5),
]


def splitmix(seed: int, stream: int, file: int, row: int) -> int:
    """64 bits for a row, as Steele, Lea and Flood's paper writes the generator, in Python's own integers."""

    def mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return z ^ (z >> 31)

    state = 0
    for part in (seed, stream, file):
        state = mix((state + part + 0x9E3779B97F4A7C15) & (2**64 - 1))
    return mix((state + (row + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1))


def parted(split: Split, frames: Sequence[pd.DataFrame]) -> tuple[list[Array], list[Array]]:
    """Which rows of each file are held out, and the fold of each (-1 where there is none); rows with a gap are neither."""
    whole = [frame[["x", "z", "y"]].notna().all(axis=1).to_numpy() for frame in frames]
    total = sum(int(rows.sum()) for rows in whole)
    used, held, folds = 0, [], []
    for j, (frame, rows) in enumerate(zip(frames, whole, strict=True)):
        out, fold, trained, deal = np.zeros(len(frame), bool), np.full(len(frame), -1), 0, list[int]()
        for i in np.flatnonzero(rows).tolist():
            if split.share is not None:
                out[i] = splitmix(split.seed, 1, j, i) / 2**64 < split.share
            elif split.last is not None:
                out[i] = used >= total - round(split.last * total)
            elif split.column is not None:
                out[i] = str(frame["set"].iloc[i]).strip().lower() in {"1", "test", "valid", "true"}
            used += 1
            if split.folds is not None and not out[i]:
                if trained % split.folds == 0:
                    cards = [splitmix(split.seed, 2, j, trained + card) for card in range(split.folds)]
                    deal = sorted(range(split.folds), key=cards.__getitem__)
                fold[i], trained = deal[trained % split.folds], trained + 1
        held.append(out)
        folds.append(np.where(rows & ~out, fold, -1))
    return held, folds


def tables(folder: Path, sizes: Sequence[int], seed: int = 3, gaps: float = 0.1) -> list[str]:
    """Files with a number of their own in each row, some gaps, a category, a column that says what is held out, and a date."""
    rng = np.random.default_rng(seed)
    files, first = [], 0
    for j, size in enumerate(sizes):
        x = np.arange(first, first + size)
        frame = pd.DataFrame({
            "x": x,
            "z": np.where(rng.random(size) < gaps, np.nan, np.round(rng.normal(size=size), 3)),
            "kind": rng.choice(["a", "b", "c"], size),
            "day": pd.to_datetime(rng.integers(0, 900, size), unit="D").strftime("%Y-%m-%d"),
            "set": rng.choice(["train", " Test ", "valid", "0", "TRUE", "false"], size),
            "y": np.round(rng.normal(size=size), 3),
        })  # fmt: skip
        files.append(str(folder / f"t-{j}.csv"))
        columns = list(frame.columns) if j % 2 == 0 else list(frame.columns[::-1])
        frame[columns].to_csv(files[-1], index=False, lineterminator="\n")
        first += size
    return files


def rows_of(found: Reading) -> Array:
    """All columns that are used of the rows trained on, (n, q)."""
    assert found.rows is not None
    return np.column_stack([found.rows.X, found.rows.y])


def held_of(found: Reading) -> Array:
    """And of the rows held out; none where none are."""
    if found.held is None:
        return np.zeros((0, found.moments.shift.size))
    assert found.held.rows is not None
    return np.column_stack([found.held.rows.X, found.held.rows.y])


def alike(expected: Moments, actual: Moments) -> None:
    """The same moments to 1e-12 of the columns' own size."""
    size = np.sqrt(np.diag(expected.cross) / expected.n + expected.means**2)
    size[size == 0] = 1
    assert expected.n == actual.n
    np.testing.assert_array_equal(expected.low, actual.low)
    np.testing.assert_array_equal(expected.high, actual.high)
    np.testing.assert_allclose(actual.means / size, expected.means / size, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        actual.cross / np.outer(size, size), expected.cross / np.outer(size, size), atol=1e-12 * expected.n
    )


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize(("threads", "block"), [(1, 300), (3, 300), (2, 5000), (4, BLOCK)])
@pytest.mark.parametrize("sizes", [(500,), (7, 300, 60)], ids=["one", "three"])
def test_every_row_is_where_pandas_puts_it(
    tmp_path: Path, split: Split, threads: int, block: int, sizes: tuple[int, ...]
) -> None:
    """Whatever the blocks, the threads and the number of files; and the moments of the parts are those of the parts' rows."""
    files = tables(tmp_path, sizes)
    frames = [pd.read_csv(file) for file in files]
    held, folds = parted(split, frames)
    source = Source(path="t.csv", target="y", features=("x", "z"))
    found = read(files, source, keep_rows=lambda rows, columns: True, threads=threads, block=block, split=split)

    whole = [frame[["x", "z", "y"]].notna().all(axis=1) for frame in frames]
    table = pd.concat([frame[["x", "z", "y"]] for frame in frames]).to_numpy()
    out, fold, used = np.concatenate(held), np.concatenate(folds), np.concatenate(whole)
    np.testing.assert_array_equal(table[used & ~out], rows_of(found))
    np.testing.assert_array_equal(table[used & out], held_of(found))
    assert (split.holds_out, split.folds or 0) == (found.held is not None, len(found.folds))
    alike(Moments.of([*table[used & ~out].T]), found.moments)
    if found.held is not None:
        alike(Moments.of([*table[used & out].T]), found.held.moments)
        alike(Moments.of([*table[used].T]), merge_all([found.moments, found.held.moments]))
    for j, part in enumerate(found.folds):
        alike(Moments.of([*table[fold == j].T]), part)
    assert (int((used & ~out).sum()), int((used & out).sum())) == (found.provenance.rows_used, found.provenance.rows_held)
    assert split == found.provenance.split


@given(
    n=st.integers(12, 120),
    cuts=st.lists(st.integers(1, 119), max_size=3),
    block=st.integers(1, 400),
    threads=st.integers(1, 3),
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 2**70),
)
@settings(max_examples=20, deadline=None)
def test_blocks_and_threads_move_no_row(
    tmp_path_factory: pytest.TempPathFactory, n: int, cuts: list[int], block: int, threads: int, split: Split, seed: int
) -> None:
    """For every table, cut into files anyhow: bit for bit the rows and folds of one block on one thread."""
    sizes = np.diff([0, *sorted({cut for cut in cuts if cut < n}), n])
    files = tables(tmp_path_factory.mktemp("split"), sizes.tolist(), n)
    given = split.model_copy(update={"seed": seed})
    source = Source(path="t.csv", target="y", encode=("category", "dates"))

    def reading(threads: int, block: int) -> Reading:
        return read(files, source, keep_rows=lambda rows, columns: True, threads=threads, block=block, split=given)

    try:
        expected = reading(1, BLOCK)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))):
            reading(threads, block)
        return
    actual = reading(threads, block)
    np.testing.assert_array_equal(rows_of(expected), rows_of(actual))
    np.testing.assert_array_equal(held_of(expected), held_of(actual))
    assert expected.provenance == actual.provenance
    for one, other in zip(expected.folds, actual.folds, strict=True):
        alike(one, other)
    if expected.folds:
        alike(expected.moments, merge_all(expected.folds))


def test_a_row_keeps_its_place_in_all_to_come(tmp_path: Path) -> None:
    """The generator's own numbers, and what they hold out: another release must not train on what this one held out.

    The first three numbers of seed 1234567 are those of its authors' C code, as Vigna's splitmix64.c prints them.
    """
    state, drawn = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        drawn.append(z ^ (z >> 31))
    assert [6457827717110365317, 3203168211198807973, 9817491932198370423] == drawn

    expected = [i for i in range(200) if splitmix(42, 1, 3, i) / 2**64 < 0.1]
    part = Parting(Split(share=0.1, seed=42), 3).parts_of(Count(), np.arange(200), None)
    assert expected == np.flatnonzero(part == 1).tolist()
    assert [5, 7, 18, 21, 23, 36, 43, 50, 58, 66, 74, 81] == expected[:12]  # by the same generator, written out above


def test_chance_is_fair() -> None:
    """Of 200,000 rows a fifth is held out, to 4 standard deviations, whatever the period of the table; folds differ by one."""
    n = 200_000
    part = Parting(Split(share=0.2, folds=10, seed=5)).parts_of(Count(), np.arange(n), None)
    held = part == 10
    assert abs(held.mean() - 0.2) < 4 * np.sqrt(0.16 / n)
    for period in (2, 7, 24, 1000, 4096):
        counts = np.bincount(np.arange(n)[held] % period, minlength=period)
        assert ((counts - n / period / 5) ** 2 / (n / period * 0.16)).sum() / period < 1 + 6 * np.sqrt(2 / period)
    counts = np.bincount(part[~held], minlength=10)
    assert counts.max() - counts.min() <= 1
    neighbours = np.bincount((part[~held][1:] - part[~held][:-1]) % 10, minlength=10) / (~held).sum()
    assert (np.abs(neighbours[1:] - 0.11) < 0.01).all()  # no fold follows another more often than it should


def test_seeds_and_files_hold_out_different_rows() -> None:
    """And no two streams of draws walk in step: the rows held out by two are as many as chance gives."""
    n, rows = 50_000, np.arange(50_000)

    def held(seed: int, file: int) -> Array:
        return np.asarray(Parting(Split(share=0.5, seed=seed), file).parts_of(Count(), rows, None) == 1)

    draws = [held(seed, file) for seed in (0, 1, 2**64 - 1) for file in (0, 1)]
    for j, one in enumerate(draws):
        for other in draws[:j]:
            assert abs((one & other).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)


def test_nothing_is_split_unless_it_is_asked_for(tmp_path: Path) -> None:
    """No rows apart, no folds, and the bytes of the moments are those of before."""
    files = tables(tmp_path, [400])
    found = read(files, SOURCE)
    assert (None, (), None, 0) == (found.held, found.folds, found.provenance.split, found.provenance.rows_held)


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_a_split_reading_survives_a_folder(tmp_path: Path, split: Split) -> None:
    """Held rows, folds and what was split, with rows and without."""
    files = tables(tmp_path, [300])
    for j, keep in enumerate([None, lambda rows, columns: True]):
        kept = read(files, SOURCE, keep_rows=keep, split=split)
        kept.save(tmp_path / str(j))
        loaded = Reading.load(tmp_path / str(j))
        assert kept.provenance == loaded.provenance
        assert [fold.R.tolist() for fold in kept.folds] == [fold.R.tolist() for fold in loaded.folds]
        assert (kept.held is None) == (loaded.held is None)
        assert kept.larger == loaded.larger
        if kept.held is None or loaded.held is None:
            continue
        assert kept.held.moments.R.tolist() == loaded.held.moments.R.tolist()
        if kept.held.rows is None:
            assert kept.held.sample is not None
            assert loaded.held.sample is not None
            np.testing.assert_array_equal(kept.held.sample.rows, loaded.held.sample.rows)
        else:
            np.testing.assert_array_equal(held_of(kept), held_of(loaded))
            gone = kept.without_rows()
            assert ("moments", None) == (gone.method, gone.held and gone.held.rows)


def test_samples_are_of_their_own_part(tmp_path: Path) -> None:
    """While there are few rows the sample is all of them."""
    found = read(tables(tmp_path, [300, 40]), SOURCE, keep_rows=lambda rows, columns: True, split=Split(share=0.3))
    assert found.sample is not None
    assert found.held is not None
    assert found.held.sample is not None
    np.testing.assert_array_equal(rows_of(found), found.sample.rows)
    np.testing.assert_array_equal(held_of(found), found.held.sample.rows)


def test_rows_are_kept_by_the_larger_part(tmp_path: Path) -> None:
    """Held rows fill the memory as others do."""
    asked: list[int] = []

    def few(rows: int, columns: int) -> bool:
        asked.append(rows)
        return rows < 200

    found = read(tables(tmp_path, [400], gaps=0), SOURCE, keep_rows=few, threads=1, block=500, split=Split(share=0.9))
    assert found.rows is None
    assert found.held is not None
    assert found.held.rows is None
    assert asked[-1] >= 200 > asked[-2]
    assert found.moments.n < 100


def test_dates_count_from_the_first_day_trained_on(tmp_path: Path) -> None:
    """Held rows are counted from it too, be it below zero."""
    path = tmp_path / "t.csv"
    path.write_text("day,s,y\n2026-01-01,1,1\n2026-01-05,0,2\n2026-01-07,0,4\n2026-01-08,0,3\n", encoding="utf-8")
    source = Source(path="t.csv", target="y", encode=("dates",))
    found = read([str(path)], source, keep_rows=lambda rows, columns: True, split=Split(column="s"))
    assert [[0.0, 2.0], [2.0, 4.0], [3.0, 3.0]] == rows_of(found).tolist()
    assert [[-4.0, 1.0]] == held_of(found).tolist()
    assert ["2026-01-05"] == [one.first for one in found.provenance.encoded]
    assert (LeftOut(column="s", reason="says which rows are held out"),) == found.provenance.left_out


def test_what_never_changes_among_the_rows_trained_on_is_left_out(tmp_path: Path) -> None:
    """A number, and a level that only held rows have; the first level of the rows trained on is then the one of all 0."""
    path = tmp_path / "t.csv"
    text = "x,c,k,one,s,y\n1,5,b,u,0,1\n2,5,c,u,0,3\n4,5,b,u,0,2\n3,6,a,v,1,5\n2,7,c,v,1,4\n"
    path.write_text(text, encoding="utf-8")
    source = Source(path="t.csv", target="y", encode=("category",))
    found = read([str(path)], source, keep_rows=lambda rows, columns: True, split=Split(column="s", folds=3))
    assert ("x", "k=c") == found.provenance.features
    expected = {
        "c": "constant: every row trained on holds 5",
        "one=v": "constant: every row trained on holds 0",
        "s": "says which rows are held out",
    }
    assert expected == {left.column: left.reason for left in found.provenance.left_out}
    assert [[1.0, 0.0, 1.0], [2.0, 1.0, 3.0], [4.0, 0.0, 2.0]] == rows_of(found).tolist()
    assert [[3.0, 0.0, 5.0], [2.0, 1.0, 4.0]] == held_of(found).tolist()
    assert np.isfinite(cross_validate(found.folds).losses).all()


def test_a_named_constant_of_the_rows_trained_on_is_kept(tmp_path: Path) -> None:
    """As it is where it never changes at all; its scale is 1."""
    path = tmp_path / "t.csv"
    path.write_text("x,c,s,y\n1,5,0,1\n2,5,0,3\n4,5,0,2\n3,6,1,5\n", encoding="utf-8")
    found = read([str(path)], Source(path="t.csv", target="y", features=("x", "c")), split=Split(column="s"))
    assert ("x", "c") == found.provenance.features
    assert 1.0 == found.moments.scaling(center=True).scale[1]


def test_gaps_and_other_columns_move_no_row(tmp_path: Path) -> None:
    """Chance knows a row by its place in the file, so that leaving a column with gaps out holds out the same rows and more."""
    files = tables(tmp_path, [400])
    narrow = read(files, Source(path="t.csv", target="y", features=("x",)), keep_rows=lambda r, c: True, split=SPLITS[0])
    wide = read(files, Source(path="t.csv", target="y", features=("x", "z")), keep_rows=lambda r, c: True, split=SPLITS[0])
    assert set(held_of(wide)[:, 0]) < set(held_of(narrow)[:, 0])
    assert set(held_of(narrow)[:, 0]).isdisjoint(rows_of(wide)[:, 0])


# What is refused


def refused(path: Path, split: Split, source: Source = SOURCE) -> str:
    """What is said against it."""
    with pytest.raises(DataError) as caught:
        read([str(path)], source, split=split)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "split", "expected"),
    [
        ("x,s,y\n1,0,2\n2,2,3\n3,1,4\n", Split(column="s"),
         "t.csv, line 3, column 's': '2' does not say whether the row is held out. Write 1 or 0, true or false, test or "
         "train."),
        ('x,s,y\n1,train,2\n\n2,"te\nst",3\n3,,4\n', Split(column="s"),
         "t.csv, line 4, column 's': 'te\\nst' does not say whether the row is held out. Write 1 or 0, true or false, test or "
         "train."),
        ("x,s,y\n1,train,2\n2,,3\n", Split(column="s"),
         "t.csv, line 3, column 's': '' does not say whether the row is held out. Write 1 or 0, true or false, test or train."),
        ("x,s,y\n1,0,2\n2,1,3\n", Split(column="S"), "t.csv: no column 'S' to hold rows out by. The nearest name is 's'."),
        ("x,s,y\n1,0,2\n2,1,3\n", Split(column="y"),
         "t.csv: 'y' is both the target and says which rows are held out. Name another column."),
        ("x,s,s,y\n1,0,0,2\n2,1,1,3\n", Split(column="s"),
         "t.csv, line 1: two columns are named 's' (columns 2 and 3). Rename one."),
        ("x,s,y\n1,0,2\n2,0,3\n", Split(column="s"),
         "t.csv: 0 of 2 complete rows are held out, and 2 are left: 1 and 2 are needed. Mark rows with 1 to hold them out and "
         "with 0 to train on them in column 's'."),
        ("x,s,y\n1,0,2\n2,1,3\n", Split(column="s"),
         "t.csv: 1 of 2 complete rows is held out, and 1 is left: 1 and 2 are needed. Mark rows with 1 to hold them out and "
         "with 0 to train on them in column 's'."),
        ("x,y\n1,2\n2,3\n", Split(last=0.2),
         "t.csv: 0 of 2 complete rows are held out, and 2 are left: 1 and 2 are needed. Hold out another share of the last "
         "rows, or give more rows."),
        ("x,y\n1,2\n2,3\n4,4\n", Split(share=1e-9),
         "t.csv: 0 of 3 complete rows are held out, and 3 are left: 1 and 2 are needed. Hold out another share, set another "
         "seed, or give more rows."),
        ("x,y\n1,2\n2,3\n4,4\n", Split(folds=4),
         "t.csv: 3 rows to train on are too few for 4 folds: one of them has none. Ask for fewer folds, or give more rows."),
        ("x,y\n1,2\n,3\n,4\n", Split(folds=2), "t.csv: 1 complete row of 3; at least 2 are needed. Column 'x' has 2 missing "
         "cells: leave it out with --leave-out x, or fill it."),
        ("s,y\n0,2\n1,3\n0,4\n", Split(column="s"),
         "t.csv: no numeric column beside the target 'y'. 's' is left out (says which "
         "rows are held out)."),
    ],
)  # fmt: skip
def test_splits_that_cannot_be(tmp_path: Path, text: str, split: Split, expected: str) -> None:
    """Each with its place, its problem and what to do."""
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    assert expected == refused(path, split)


def test_a_feature_that_says_what_is_held_out_is_refused(tmp_path: Path) -> None:
    """It would tell the model what it is to be measured on."""
    path = tmp_path / "t.csv"
    path.write_text("x,s,y\n1,0,2\n2,1,3\n", encoding="utf-8")
    source = Source(path="t.csv", target="y", features=("x", "s"))
    expected = "t.csv: 's' is both a feature and says which rows are held out. Name another column."
    assert expected == refused(path, Split(column="s"), source)


def test_a_bad_cell_far_into_a_file_stops_every_thread(tmp_path: Path) -> None:
    """Blocks that wait for the one before it do not wait for ever, and the first bad line is named."""
    path = tmp_path / "t.csv"
    rows = [f"{j},{j % 2},{j * j}\n" for j in range(3000)]
    rows[1500] = rows[2500] = "7,x,1\n"
    path.write_text("x,s,y\n" + "".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv, line 1502, column 's': 'x' does not say"):
        read([str(path)], SOURCE, split=Split(column="s"), threads=4, block=200)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0.2", Split(share=0.2, seed=3, folds=4)),
        ("last:0.25", Split(last=0.25, seed=3, folds=4)),
        ("column:set", Split(column="set", seed=3, folds=4)),
        ("column:a:b c", Split(column="a:b c", seed=3, folds=4)),
        ("column:last:0.2", Split(column="last:0.2", seed=3, folds=4)),
    ],
)
def test_words_of_a_split(word: str, expected: Split) -> None:
    """The three ways; a name of a column may hold anything."""
    assert expected == Split.parse(word, seed=3, folds=4)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("", "'' is no split: a share such as 0.2, last:0.2 or column:NAME"),
        ("a fifth", "'a fifth' is no split: a share such as 0.2, last:0.2 or column:NAME"),
        ("first:0.2", "'first:0.2' is no split: a share such as 0.2, last:0.2 or column:NAME"),
        ("last:", "'last:' is no split: a share such as 0.2, last:0.2 or column:NAME"),
        ("column:", "'column:' names no column: write column:NAME"),
        ("20", "'20': a share is above 0 and below 1, such as 0.2"),
        ("last:1", "'last:1': a share is above 0 and below 1, such as 0.2"),
        ("nan", "'nan': a share is above 0 and below 1, such as 0.2"),
        ("-0.1", "'-0.1': a share is above 0 and below 1, such as 0.2"),
        ("\x1b[31m", "'\\x1b[31m' is no split: a share such as 0.2, last:0.2 or column:NAME"),
    ],
)
def test_words_that_are_no_split(word: str, expected: str) -> None:
    """Each is answered with what would be one."""
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Split.parse(word)


def test_a_split_is_one_thing() -> None:
    """Two ways at once, none at all, and what is out of bounds."""
    with pytest.raises(ValueError, match="share and column are two ways to hold rows out: choose one"):
        Split(share=0.2, column="set")
    with pytest.raises(ValueError, match=r"nothing is split: hold out a share such as 0\.2"):
        Split(seed=4)
    for wrong in ({"share": 0}, {"last": 1}, {"folds": 1}, {"folds": 1001}, {"share": float("nan")}, {"column": ""}):
        with pytest.raises(ValueError, match="1 validation error for Split"):
            Split(**wrong)
