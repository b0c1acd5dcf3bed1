"""Tables that do not determine their weights: what is found, named and said, and what a run over them comes to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.archive import read_record
from gd.data import Array, Encoded, Provenance, Source, bundled
from gd.degeneracy import Degeneracy, degeneracy, dependences
from gd.moments import Moments, merge_all
from gd.reading import read as read_table
from gd.record import Record
from gd.settings import Training
from gd.words import sentence
from tests.conftest import run_tasks, write_csv
from tests.test_report import text_of

SEEDS = st.integers(0, 2**32 - 1)
OFFSETS = st.sampled_from([0.0, 10.0, 1e6, 1e9])
SCALES = st.sampled_from([1.0, 1e-150, 1e150])


def moments(X: Array, y: Array | None = None) -> Moments:
    """Those of a table; the target is noise where none is given."""
    return Moments.of([*np.ascontiguousarray(X.T), np.random.default_rng(0).normal(size=len(X)) if y is None else y])


def look(X: Array, y: Array | None = None, intercept: bool = True, names: tuple[str, ...] | None = None) -> Degeneracy:
    """What there is to say of a table with features a, b, c and so on."""
    features = names or tuple("abcdefghijklmnopqrstuvwx"[: X.shape[1]])
    return degeneracy(moments(X, y), Provenance(name="t", path="t.csv", target="y", features=features), intercept)


def texts(found: Degeneracy) -> list[str]:
    """What is said."""
    return [remark.text for remark in found.remarks]


def columns(rng: np.random.Generator, n: int, d: int, offset: float, scale: float) -> Array:
    """Independent columns of spreads within a factor of a hundred, as far from zero as told."""
    spread = 10.0 ** rng.uniform(-1, 1, d)
    return np.asarray((rng.normal(size=(n, d)) * spread + offset) * scale)


@settings(deadline=None, max_examples=150)
@given(n=st.integers(9, 80), d=st.integers(2, 6), seed=SEEDS, offset=OFFSETS, scale=SCALES, intercept=st.booleans())
def test_every_straight_line_of_another_column_is_named(
    n: int, d: int, seed: int, offset: float, scale: float, intercept: bool
) -> None:
    """Wherever a column is put that is a multiple of another, and under an intercept a constant more, the two are found."""
    rng = np.random.default_rng(seed)
    X = columns(rng, n, d, offset if intercept else 0.0, scale)
    first, second = np.sort(rng.choice(d, 2, replace=False))
    slope = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-2, 2)
    X[:, second] = slope * X[:, first] + (rng.normal() * scale if intercept else 0.0)
    found, rank = dependences(moments(X), intercept)
    assert [(second, (first,))] == [(one.column, one.members) for one in found]
    assert found[0].exact
    assert pytest.approx(slope, rel=1e-4 if offset > 1e6 else 1e-7) == found[0].slopes[0]
    assert d - 1 + intercept == rank


@settings(deadline=None, max_examples=150)
@given(n=st.integers(12, 80), d=st.integers(3, 8), seed=SEEDS, offset=OFFSETS, scale=SCALES, intercept=st.booleans())
def test_every_combination_of_columns_is_named_with_its_members(
    n: int, d: int, seed: int, offset: float, scale: float, intercept: bool
) -> None:
    """The column that completes a combination is named, and as its members those that are in it and no others."""
    rng = np.random.default_rng(seed)
    X = columns(rng, n, d, offset if intercept else 0.0, scale)
    *members, last = np.sort(rng.choice(d, rng.integers(3, d + 1), replace=False)).tolist()
    X[:, last] = X[:, members] @ (rng.choice([-1, 1], len(members)) * rng.uniform(0.5, 2, len(members)))
    found, rank = dependences(moments(X), intercept)
    assert [(last, tuple(members), True)] == [(one.column, one.members, one.exact) for one in found]
    assert d - 1 + intercept == rank


@settings(deadline=None, max_examples=150)
@given(n=st.integers(10, 80), d=st.integers(1, 6), seed=SEEDS, offset=OFFSETS, scale=SCALES, intercept=st.booleans())
def test_no_table_of_independent_columns_is_remarked_on(
    n: int, d: int, seed: int, offset: float, scale: float, intercept: bool
) -> None:
    """Columns of noise, near zero or far from it, large or small, determine their weights, and nothing is said.

    Without an intercept they stay near zero: there all columns that are far from it are nearly the same.
    """
    X = columns(np.random.default_rng(seed), n, d, offset if intercept else 0.0, scale)
    found = look(X, intercept=intercept)
    assert ((), d + intercept) == (found.remarks, found.rank)
    assert found.unique


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, offset=OFFSETS, cut=st.integers(1, 199))
def test_parts_that_are_merged_show_the_same(seed: int, offset: float, cut: int) -> None:
    """Moments of two parts of a table name what those of the whole do."""
    rng = np.random.default_rng(seed)
    X = columns(rng, 200, 4, offset, 1.0)
    X[:, 3] = X[:, 0] - X[:, 1]
    found, rank = dependences(merge_all([moments(X[:cut]), moments(X[cut:])]), intercept=True)
    assert ([(3, (0, 1))], 4) == ([(one.column, one.members) for one in found], rank)


def test_many_rows_and_columns_are_no_dependence() -> None:
    """A hundred thousand rows far from zero, and three hundred columns with two repeated: rounding adds up to less."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(100_000, 3)) + 1e7
    found, rank = dependences(moments(np.column_stack([X, X @ [1.0, 2.0, -1.0]])), intercept=True)
    assert ([(3, (0, 1, 2))], 4) == ([(one.column, one.members) for one in found], rank)
    X = rng.normal(size=(400, 300))
    X[:, 200], X[:, 299] = X[:, 7], X[:, 8] - X[:, 9]
    found, rank = dependences(moments(X), intercept=True)
    assert ([(200, (7,)), (299, (8, 9))], 299) == ([(one.column, one.members) for one in found], rank)


def test_what_is_said_of_columns() -> None:
    """Which column, of which others, by what formula, and what to do."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30))
    rest = "their weights are not unique, the predictions are. Leave one of them out, --leave-out c."
    said = {
        f"'c' repeats 'a' in every row: {rest}": a,
        f"'c' is a straight line of 'a' (3 * 'a' + 5): {rest}": 3 * a + 5,
        f"'c' is a straight line of 'b' (-2.5 * 'b'): {rest}": -2.5 * b,
        f"'c' is a combination of 'a' and 'b' (-'a' - 'b' + 1): {rest}": 1 - a - b,
    }
    for expected, c in said.items():
        assert [expected] == texts(look(np.column_stack([a, b, c])))


def test_a_straight_line_with_a_constant_is_none_without_an_intercept() -> None:
    """3 a + 5 is a column of its own where the model has no constant; three levels that add up to 1 are too."""
    a, level = np.random.default_rng(1).normal(size=30), np.arange(30) % 3
    assert () == look(np.column_stack([a, 3 * a + 5]), intercept=False).remarks
    dummies = np.column_stack([level == 0, level == 1, level == 2]).astype(float)
    assert () == look(dummies, intercept=False).remarks
    assert ["collinear"] == [remark.kind for remark in look(dummies).remarks]


def test_columns_that_nearly_repeat_each_other() -> None:
    """With a billionth of noise the weights are unique, but by that noise alone; with a thousandth there is nothing to say."""
    rng = np.random.default_rng(1)
    a, noise = rng.normal(size=(2, 30))
    found = look(np.column_stack([a, a + 1e-9 * noise]))
    assert found.unique
    assert ["duplicate"] == [remark.kind for remark in found.remarks]
    assert "('a'), but for 1e-09 of it: that rest alone tells their weights apart." in texts(found)[0]
    assert () == look(np.column_stack([a, a + 1e-3 * noise])).remarks


def test_a_constant_feature_is_as_the_intercept() -> None:
    """Named by hand it stays in the table: under an intercept it adds nothing, without one it is the intercept."""
    X = np.column_stack([np.random.default_rng(1).normal(size=30), np.full(30, 0.1)])
    found = look(X)
    assert (2, 3, ["collinear"]) == (found.rank, found.parameters, [remark.kind for remark in found.remarks])
    assert texts(found)[0].startswith("'b' holds 0.1 in every row")
    assert ((), 2) == (look(X, intercept=False).remarks, look(X, intercept=False).rank)


def test_fewer_rows_than_parameters() -> None:
    """Four rows and five parameters; of columns in so few rows only equal ones are named; as many rows fit any target too."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4, 4))
    few = "4 rows for 5 parameters. Some weights fit any target exactly, so that a perfect fit says nothing."
    rest = "The weights are not unique. Add rows, or leave columns out with --leave-out."
    assert [f"{few} {rest}"] == texts(look(X))
    assert (4, 5) == (look(X).rank, look(X).parameters)
    assert ["few-rows", "duplicate"] == [remark.kind for remark in look(np.column_stack([X, X[:, 1]])).remarks]
    square = look(X, intercept=False)
    assert square.unique
    assert texts(square)[0].startswith("4 rows for 4 parameters. Some weights fit any target exactly")
    assert () == look(X[:, :2]).remarks


def test_a_constant_target() -> None:
    """There is nothing to explain."""
    found = look(np.random.default_rng(1).normal(size=(9, 2)), np.full(9, 0.1))
    assert [("constant-target", "y")] == [(remark.kind, remark.column) for remark in found.remarks]


def test_columns_of_which_few_digits_are_left() -> None:
    """1e14 ± 4 keeps two digits, 1e9 ± 1 seven; a target that far from zero takes the descent's tolerance for itself."""
    rng = np.random.default_rng(1)
    spread = rng.uniform(-1, 1, size=30)
    found = look(np.column_stack([1e14 + 4 * spread, 1e9 + rng.uniform(-1, 1, size=30)]))
    assert [("narrow", "a")] == [(remark.kind, remark.column) for remark in found.remarks]
    assert "2 of the 16 digits of float64 are left" in texts(found)[0]
    far = look(rng.normal(size=(30, 1)), 1e9 + spread)
    assert [("narrow", "y")] == [(remark.kind, remark.column) for remark in far.remarks]
    assert () == look(rng.normal(size=(30, 1)), 1e6 + spread).remarks


def test_names_are_quoted_for_the_shell() -> None:
    """A comma, a quote and a blank come back whole; a name that fits no line is not repeated."""
    a = np.random.default_rng(1).normal(size=30)
    for name, option in {
        "b": "--leave-out b.", "b c": "--leave-out 'b c'.", "b,c": "--leave-out '\"b,c\"'.", "x" * 300: "with --leave-out.",
    }.items():  # fmt: skip
        (said,) = texts(look(np.column_stack([a, a]), names=("a", name)))
        assert said.endswith(f"Leave one of them out, {option}")
        assert len(said) < 500


def test_what_was_made_from_text_is_left_out_as_its_column() -> None:
    """A level that another column holds too: the option names the column, which is what a command knows."""
    level = np.arange(30.0) % 2
    table = Provenance(
        name="t", path="t.csv", target="y", features=("flag", "colour=red"),
        encoded=(Encoded(column="colour", kind="category", levels=("blue", "red"), features=("colour=red",)),),
    )  # fmt: skip
    (remark,) = degeneracy(moments(np.column_stack([level, level])), table, intercept=True).remarks
    assert remark.text.startswith("'colour=red' repeats 'flag' in every row")
    assert remark.text.endswith("--leave-out colour.")


def test_many_repeated_columns_are_said_in_few_words() -> None:
    """Twenty in full, the rest by name."""
    a = np.random.default_rng(1).normal(size=(60, 1))
    found = look(np.tile(a, 24))
    assert 21 == len(found.remarks)
    assert "The same is true of 'v', 'w', 'x'." == found.remarks[-1].text


@pytest.mark.parametrize(("name", "target"), [("notebook", "Y"), ("penguins", "body_mass_g")])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_bundled_tables_are_sound(name: str, target: str, intercept: bool) -> None:
    """Nothing is said of them."""
    source = Source(path=str(bundled(name)), target=target)
    data = read_table([source.path], source)
    found = degeneracy(data.moments, data.provenance, intercept)
    assert found.unique
    assert () == found.remarks


def table(kind: str) -> tuple[Array, Array]:
    """Three features of which the third is superfluous, or too few rows, or nothing to explain."""
    rng = np.random.default_rng(7)
    a, b, noise = rng.normal(size=(3, 4 if kind == "few rows" else 30))
    third = {"duplicate": a, "line": 3 * a + 5, "combination": 2 * a - 3 * b + 1}.get(kind, noise)
    X = np.column_stack([a, b, third, noise**2] if kind == "few rows" else [a, b, third])
    return X, np.full(len(a), 0.1) if kind == "constant target" else 2 * a - b + 1 + 0.1 * rng.normal(size=len(a))


SENTENCES = {
    "duplicate": " The weights are not unique: the columns determine 3 of 4.",
    "line": " The weights are not unique: the columns determine 3 of 4.",
    "combination": " The weights are not unique: the columns determine 3 of 4.",
    "few rows": " The weights are not unique: 4 rows for 5 parameters.",
    "constant target": "relative to the weights.",
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_a_run_says_what_its_table_does_not_determine(kind: str, tmp_path: Path) -> None:
    """In the verdict, in run.json and on the page; the predictions agree, and are those of the least-squares fit."""
    X, y = table(kind)
    path = write_csv(tmp_path / "t.csv", X, y)
    folder = run_tasks(Source(path=str(path), target="y"), Training(), tmp_path)
    record, page = read_record(folder), text_of((folder / "report.html").read_text(encoding="utf-8"))
    assert record.diagnosis is not None
    assert record.comparison is not None
    assert "converged" == record.verdict
    assert sentence(record).endswith(SENTENCES[kind])
    unique = kind == "constant target"
    assert (unique, "weights" if unique else "predictions") == (
        record.diagnosis.rank == record.diagnosis.parameters, record.comparison.compared_by,
    )  # fmt: skip
    assert record.comparison.max_relative_prediction_gap is not None
    assert record.comparison.max_relative_prediction_gap < 1e-14
    for remark in record.dataset.remarks:
        assert remark.text in page
    assert 1 == len(record.dataset.remarks)
    assert f"Rank {record.diagnosis.rank} of {record.diagnosis.parameters} parameters" in page
    assert ("Here R² says nothing" in page) == (kind == "few rows")
    assert "their predictions, in the root mean square over all rows, by" in page
    A = np.column_stack([X, np.ones(len(y))])
    best = A @ np.linalg.lstsq(A, y)[0]
    for fit in record.fits:
        theta = np.array([*fit.weights.values(), fit.intercept], dtype=np.float64)
        np.testing.assert_allclose(A @ theta, best, atol=1e-7)


def test_what_is_advised_makes_the_weights_unique(tmp_path: Path) -> None:
    """Without the column that is named the loss is the same, and nothing is left to say."""
    X, y = table("combination")
    path = write_csv(tmp_path / "t.csv", X, y)
    whole = read_record(run_tasks(Source(path=str(path), target="y"), Training(), tmp_path, draw=False))
    (remark,) = whole.dataset.remarks
    kept = tuple(name for name in whole.dataset.features if name != remark.column)
    record = read_record(run_tasks(Source(path=str(path), target="y", features=kept), Training(), tmp_path, draw=False))
    assert () == record.dataset.remarks
    assert "unique" not in sentence(record)
    assert whole.fits[0].loss is not None
    assert pytest.approx(whole.fits[0].loss, rel=1e-9) == record.fits[0].loss


def test_what_nearly_repeats_is_named_in_the_verdict(tmp_path: Path) -> None:
    """A descent that comes to rest on a slope of next to nothing says which column makes it so."""
    rng = np.random.default_rng(7)
    a, b, noise = rng.normal(size=(3, 30))
    path = write_csv(tmp_path / "t.csv", np.column_stack([a, b, a + 1e-9 * noise]), 2 * a - b + 0.5 * noise)
    record = read_record(run_tasks(Source(path=str(path), target="y"), Training(), tmp_path, draw=False))
    assert "What repeats other columns can be left out with --leave-out: x2." in sentence(record)
    assert ["duplicate"] == [remark.kind for remark in record.dataset.remarks]


def test_run_json_of_before_is_still_read(tmp_path: Path) -> None:
    """Schema 1 without rank, parameters, the target's variance and the predictions' gap."""
    path = write_csv(tmp_path / "t.csv", *table("line"))
    folder = run_tasks(Source(path=str(path), target="y"), Training(), tmp_path, draw=False)
    record = json.loads((folder / "run.json").read_bytes())
    assert (1, 3, 4) == (record["schema"], record["diagnosis"]["rank"], record["diagnosis"]["parameters"])
    for part, names in {
        "diagnosis": ("rank", "parameters", "target_variance"),
        "comparison": ("max_prediction_gap", "max_relative_prediction_gap", "compared_by"),
        "dataset": ("remarks",),
    }.items():
        for name in names:
            del record[part][name]
    old = Record.model_validate(record)
    assert old.diagnosis is not None
    assert old.diagnosis.rank is None
    assert "unique" not in sentence(old)
