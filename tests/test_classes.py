"""Targets of two classes: two texts, or two numbers, become 0 and 1."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.data import DataError, Encoded, Source, Split
from gd.reading import Reading, read
from gd.stream import BLOCK

SOURCE = Source(path="t.csv", target="y")


def files(folder: Path, *texts: str) -> list[str]:
    """Files to be read as one."""
    paths = [folder / f"t-{j}.csv" for j in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return list(map(str, paths))


def whole(paths: list[str], source: Source = SOURCE, *, split: Split | None = None, block: int = BLOCK) -> Reading:
    """Read with rows, as two classes."""
    return read(paths, source, keep_rows=lambda rows, columns: True, split=split, block=block, labels=True)


@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        (("yes", "no", " yes", "no"), ("no", "yes")),
        (("M", "F", "M", "M"), ("F", "M")),
        (("true", "false", "false", "true"), ("false", "true")),
        (("2026-01-01", "2025-01-01", "2025-01-01", "2026-01-01"), ("2025-01-01", "2026-01-01")),
        (("1", "2", "2", "1.0"), ("1", "2")),
        (("-1", "1", "1e0", "-1"), ("-1", "1")),
        (("0.5", "-3.25", "0.5", "-3.25"), ("-3.25", "0.5")),
        (("1000000001", "1000000000", "1000000000", "1000000001"), ("1000000000", "1000000001")),
    ],
)
@pytest.mark.parametrize("encode", [(), ("category", "dates")], ids=["plain", "encoded"])
def test_two_values_become_0_and_1(
    tmp_path: Path, cells: tuple[str, ...], levels: tuple[str, str], encode: tuple[str, ...]
) -> None:
    """Texts in their sorted order, numbers by size; moments, rows and sample alike, and it is said."""
    paths = files(tmp_path, "x,y\n" + "".join(f"{j},{cell}\n" for j, cell in enumerate(cells)) + "7,NA\n")
    found = whole(paths, SOURCE.model_copy(update={"encode": encode}))
    numbers = [float(cell) if re.fullmatch(r"[-0-9.e]+", cell) and cell.count("-") < 2 else cell.strip() for cell in cells]
    expected = [float(value == max(numbers)) for value in numbers]
    assert found.rows is not None
    assert found.sample is not None
    assert expected == found.rows.y.tolist() == found.sample.rows[:, -1].tolist()
    assert (Encoded(column="y", kind="category", levels=levels),) == found.provenance.encoded
    assert (0.0, 1.0) == (found.moments.low[-1], found.moments.high[-1])
    assert pytest.approx(np.mean(expected), rel=1e-15) == found.moments.means[-1]
    assert pytest.approx(np.var(expected), rel=1e-14) == found.moments.target_variance
    assert {"y": 1} == found.provenance.missing_cells


def test_0_and_1_stay_as_they_are(tmp_path: Path) -> None:
    """Nothing was encoded, and nothing changes; nor does anything without labels."""
    paths = files(tmp_path, "x,y\n1,0\n2,1\n3,-0\n4,1.0\n")
    found, plain = whole(paths), read(paths, SOURCE, keep_rows=lambda rows, columns: True)
    assert () == found.provenance.encoded
    assert found.provenance == plain.provenance
    assert plain.moments.R.tobytes() == found.moments.R.tobytes()


def test_without_labels_text_is_refused_as_ever(tmp_path: Path) -> None:
    """A target is a number unless two classes are asked for; two numbers stay as they are."""
    with pytest.raises(DataError, match=r"line 2, column 'y': 'no' is not a number, nor is 'yes' in line 3\."):
        read(files(tmp_path, "x,y\n1,no\n2,yes\n"), SOURCE)
    found = read(files(tmp_path, "x,y\n1,1\n2,2\n"), SOURCE)
    assert (1.0, 2.0) == (found.moments.low[-1], found.moments.high[-1])
    assert () == found.provenance.encoded


def test_a_file_may_know_one_class_only(tmp_path: Path) -> None:
    """All files together have two, in any order of the columns."""
    paths = files(tmp_path, "x,y\n1,yes\n2,yes\n", "y,x\nno,3\nno,4\n", "x,y\n5,yes\n6,no\n")
    found = whole(paths)
    assert found.rows is not None
    assert [1, 1, 0, 0, 1, 0] == found.rows.y.tolist()
    assert (Encoded(column="y", kind="category", levels=("no", "yes")),) == found.provenance.encoded
    numbers = whole(files(tmp_path, "x,y\n1,2\n2,2\n", "y,x\n1,3\n1,4\n"))
    assert numbers.rows is not None
    assert [1, 1, 0, 0] == numbers.rows.y.tolist()


@given(
    n=st.integers(4, 60),
    labels=st.sampled_from([("no", "yes"), ("a,b", 'say "x"'), ("1", "2"), ("-1", "1"), ("two\nlines", "é")]),
    block=st.integers(1, 200),
    split=st.sampled_from([None, Split(share=0.3, seed=2), Split(last=0.4), Split(folds=2)]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_table_as_pandas_has_it(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    labels: tuple[str, str],
    block: int,
    split: Split | None,
    seed: int,
) -> None:
    """For every table, every cut into blocks and every split: 1 where pandas finds the larger of both labels."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": np.arange(n), "y": rng.choice(labels, n)})
    path = tmp_path_factory.mktemp("classes") / "t.csv"
    frame.to_csv(path, index=False, lineterminator="\n")
    if frame["y"].nunique() < 2:
        with pytest.raises(DataError, match=r"every row trained on holds"):
            whole([str(path)], block=block)
        return
    try:
        found = whole([str(path)], split=split, block=block)
    except DataError:  # a part without a row, or without one of the classes: chance leaves none out of more
        if n >= 30:
            raise
        return
    assert found.rows is not None
    rows = [found.rows] if found.held is None else [found.rows, found.held.rows]
    order = np.concatenate([part.X[:, 0] for part in rows if part is not None]).astype(int)
    y = np.concatenate([part.y for part in rows if part is not None])
    np.testing.assert_array_equal((frame["y"] == labels[1]).to_numpy(np.float64)[order], y)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["x,y\n1,no\n2,yes\n3,no\n4,maybe\n"],
         "t-0.csv, line 5, column 'y': 'maybe' is a third value beside 'no' and 'yes': two classes have two. Take it as "
         "missing with --missing default,maybe, or name another target."),
        (["x,y\n1,1\n2,3\n3,1\n4,2\n"],
         "t-0.csv, line 5, column 'y': '2' is a third value beside '1' and '3': two classes have two. --loss mse fits numbers "
         "as they are."),
        (["x,y\n1,no\n2,yes\n", "x,y\n1,no\n\n3,perhaps\n"],
         "t-1.csv, line 4, column 'y': 'perhaps' is a third value beside 'no' and 'yes': two classes have two. Take it as "
         "missing with --missing default,perhaps, or name another target."),
        (["x,y\n1,0\n2,1\n", "x,y\n1,1\n2,2\n"],
         "t-1.csv, line 3, column 'y': '2' is a third value beside '0' and '1': two classes have two. --loss mse fits numbers "
         "as they are."),
        (["x,y\n1,no\n2,no\n"],
         "t-0.csv: every row trained on holds 'no' in the target 'y': two classes have two values. Name another target, or "
         "give rows of both."),
        (["x,y\n1,1\n,0\n3,1\n"],
         "t-0.csv: every row trained on holds '1' in the target 'y': two classes have two values. Name another target, or "
         "give rows of both."),
        (["x,y\n1,0\n2,1\n3,yes\n"],
         "t-0.csv, line 4, column 'y': 'yes' is not a number. Mend it, or write NA for a missing value."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [4, BLOCK])
def test_targets_that_are_no_two_classes(tmp_path: Path, texts: list[str], expected: str, block: int) -> None:
    """The third value is named with its line, and what to do."""
    with pytest.raises(DataError) as refused:
        whole(files(tmp_path, *texts), block=block)
    assert expected == str(refused.value)


def test_two_numbers_may_be_too_far_apart(tmp_path: Path) -> None:
    """Where float64 does not hold what lies between them."""
    with pytest.raises(
        DataError, match=r"t-0\.csv: -1e\+308 and 1e\+308 in the target 'y' are too far apart\. Write 0 and 1\."
    ):
        whole(files(tmp_path, "x,y\n1,-1e308\n2,1e308\n"))


def test_a_class_that_only_held_rows_have_is_refused(tmp_path: Path) -> None:
    """Nothing could be learned of it."""
    paths = files(tmp_path, "x,y,s\n1,no,0\n2,no,0\n3,yes,1\n")
    with pytest.raises(DataError, match=r"every row trained on holds 'no' in the target 'y': two classes have two values\."):
        whole(paths, split=Split(column="s"))


def test_a_column_named_as_a_class_would_be_is_no_matter(tmp_path: Path) -> None:
    """The target stays one column of its own name."""
    found = whole(files(tmp_path, "y=yes,y\n1,no\n2,yes\n4,no\n"), SOURCE.model_copy(update={"encode": ("category",)}))
    assert ("y=yes",) == found.provenance.features
