"""`model.json`: what a run leaves to be used on other rows, and what is refused as one."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.archive import read_record
from gd.data import Encoded, Source, bundled
from gd.dialect import Dialect
from gd.model import Model, load, model_of
from gd.record import Record
from gd.settings import Training
from tests.conftest import run_tasks, write_csv
from tests.test_inference import estimates, made_up, moments


@pytest.fixture(scope="module")
def record(cases: dict[str, Path]) -> Record:
    """Of a run over the penguins that converged."""
    return read_record(cases["converged"])


def test_a_run_leaves_its_model(cases: dict[str, Path], record: Record) -> None:
    """Weights, features, run and hash are those of run.json and of the file; the text is valid JSON by Python's own parser."""
    model = load(cases["converged"])
    assert (record.run.id, record.dataset.name, record.run.version) == (model.run, model.dataset, model.version)
    assert sha256(bundled("penguins").read_bytes()).hexdigest() == model.sha256
    assert (record.fits[0].weights, record.fits[0].intercept) == (model.weights, model.intercept)
    assert (record.dataset.features, "body_mass_g") == (model.features, model.target)
    assert ("numpy", True, "mse", "identity", {}) == (model.backend, model.arrived, model.loss, model.link, model.reasons)
    assert model.interval is not None
    assert record.inference is not None
    assert record.inference.residual_error == model.interval.residual_error
    assert record.inference.degrees_of_freedom == model.interval.degrees_of_freedom
    assert 1 == json.loads((cases["converged"] / "model.json").read_text(encoding="utf-8"))["schema"]
    assert model == Model.model_validate_json(model.to_json()) == load(cases["converged"] / "model.json")


def test_the_standard_error_of_the_constant_is_that_of_the_table(cases: dict[str, Path], record: Record) -> None:
    """Where all features are 0 the mean is the intercept, whose standard error run.json has from another formula."""
    interval = load(cases["converged"]).interval
    assert interval is not None
    assert record.inference is not None
    b = np.append(-np.array(interval.centre), 1)
    error = record.inference.terms[-1].error
    assert pytest.approx(error, rel=1e-10) == interval.residual_error * np.linalg.norm(interval.F.T @ b)


def test_a_run_without_a_result_leaves_no_model(cases: dict[str, Path]) -> None:
    """Every backend diverged: there is no file, and who names the run is told why."""
    assert not (cases["diverged"] / "model.json").exists()
    with pytest.raises(ValueError, match=r"model\.json: no such file: a data set that failed, or whose every descent diverged"):
        load(cases["diverged"])


@pytest.mark.parametrize("verdict", ["exhausted", "disagree"])
def test_weights_that_did_not_arrive_have_no_intervals(cases: dict[str, Path], verdict: str) -> None:
    """The optimum's interval is not theirs: the file says so, and which verdict the run had."""
    model = load(cases[verdict])
    assert (verdict, None) == (model.verdict, model.interval)
    if verdict == "exhausted":
        assert not model.arrived
        assert "the weights did not arrive at the optimum, which intervals are about" == model.reasons["interval"]


def test_each_backend_is_judged_alone(record: Record) -> None:
    """The first backend is passed over where it diverged; the second one's weights count, and whether they arrived."""
    gone = record.fits[0].model_copy(update={"outcome": "diverged"})
    mixed = record.model_copy(update={"fits": (gone, record.fits[1])})
    found = moments(*made_up(np.random.default_rng(0), 40, 4))
    model = model_of(mixed, found)
    assert model is not None
    assert "torch" == model.backend
    assert model_of(record.model_copy(update={"fits": (gone, gone)}), found) is None


@pytest.mark.parametrize(
    ("loss", "link", "said"),
    [
        ("mse", "identity", "a penalty has moved the weights away from least squares, which intervals are about"),
        ("huber", "identity", "they are those of least squares, and the loss is huber"),
        ("logistic", "logit", "they are those of least squares, and the loss is logistic"),
        ("poisson", "log", "they are those of least squares, and the loss is poisson"),
    ],
)
def test_other_losses_and_penalties(record: Record, loss: str, link: str, said: str) -> None:
    """Their link and classes are there; their intervals are not, for a reason."""
    found = moments(*made_up(np.random.default_rng(0), 40, 4))
    training = record.training.model_copy(update={"loss": loss, "l2": 0.1 if loss == "mse" else 0.0})
    target = Encoded(column=record.dataset.target, kind="category", levels=("no", "yes"))
    dataset = record.dataset.model_copy(update={"encoded": (target,) if loss == "logistic" else ()})
    model = model_of(record.model_copy(update={"training": training, "dataset": dataset}), found, estimates(found))
    assert model is not None
    assert (link, None, said, True) == (model.link, model.interval, model.reasons["interval"], model.arrived)
    assert (("no", "yes") if loss == "logistic" else None) == model.classes
    assert model == Model.model_validate_json(model.to_json())


def test_what_an_interval_is_not_defined_for(tmp_path: Path) -> None:
    """Weights that are not unique, a perfect fit, too few rows, a constant target: the reason of run.json stands there."""
    rng = np.random.default_rng(1)
    X, y = made_up(rng, 30, 2)
    tables = {
        "not unique": (np.column_stack([X, X[:, 0]]), y), "fits perfectly": (X, X @ [1.0, 2.0] + 3),
        "no more rows than": (X[:3], y[:3]), "never changes": (X, np.full(30, 4.0)),
    }  # fmt: skip
    for said, (features, target) in tables.items():
        source = Source(path=str(write_csv(tmp_path / "table.csv", features, target)), target="y")
        model = load(run_tasks(source, Training(backends=("numpy",), epochs=5000), tmp_path / "reports", draw=False))
        assert model.interval is None
        assert said in model.reasons["interval"]


def test_without_an_intercept_nothing_is_centred(tmp_path: Path) -> None:
    """The intercept is null, with a reason, and the factor has a row a feature."""
    X, y = made_up(np.random.default_rng(1), 30, 2)
    source = Source(path=str(write_csv(tmp_path / "table.csv", X, y)), target="y")
    model = load(run_tasks(source, Training(backends=("numpy",), intercept=False), tmp_path / "reports", draw=False))
    assert (None, {"intercept": "the model has none"}) == (model.intercept, model.reasons)
    assert model.interval is not None
    assert ((0.0, 0.0), (2, 2)) == (model.interval.centre, model.interval.F.shape)


def test_how_cells_are_written_is_kept(tmp_path: Path) -> None:
    """What a user said of numbers, missing cells and comments; what is found out, or of one file alone, is not."""
    lines = ["# a note", "preamble", "a;b;y", *(f"{j % 4},5 kg;{j * j % 11};{j},25" for j in range(20)), "-;1;2", ""]
    (tmp_path / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    dialect = Dialect(
        decimal=",", units=("kg",), missing=("-",), comment="#", skip_lines="2-2", delimiter=";", encoding="utf-8"
    )
    source = Source(path=str(tmp_path / "table.csv"), target="y", dialect=dialect)
    found = load(run_tasks(source, Training(backends=("numpy",)), tmp_path / "reports", draw=False)).dialect
    assert Dialect(decimal=",", units=("kg",), missing=("NaN", "-"), comment="#") == found


def test_columns_without_names_stay_so(tmp_path: Path) -> None:
    """They are named by their places in the next file too."""
    (tmp_path / "table.csv").write_text("".join(f"{j},{j * j % 11},{j % 5}\n" for j in range(20)), encoding="utf-8")
    source = Source(path=str(tmp_path / "table.csv"), target="column 3", dialect=Dialect(header="none"))
    model = load(run_tasks(source, Training(backends=("numpy",)), tmp_path / "reports", draw=False))
    assert (("column 1", "column 2"), Dialect(header="none")) == (model.features, model.dialect)


def test_invisible_names_are_escaped(cases: dict[str, Path]) -> None:
    """A name that turns what stands around it is written as JSON's escape, and comes back whole."""
    model, name = load(cases["converged"]), "a\u202eb\n<script>"
    named = model.model_copy(update={"target": name})
    assert "\u202e" not in named.to_json()
    assert name == Model.model_validate_json(named.to_json()).target


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "schema": ({"schema": 2}, "is a model of schema 2, and this gd knows 1. Update gd."),
    "text": ({"weights": {"year": "much"}}, "weights.year: Input should be a valid number"),
    "lost": ({"weights": {"year": 1.0}}, "each feature has one weight"),
    "infinite": ({"intercept": float("inf")}, "intercept: Input should be a finite number"),
    "classes": ({"classes": ["a", "b"]}, "a logit, and nothing else, has two classes"),
    "more": ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    "target": ({"target": None}, "target: Input should be a valid string"),
    "dates": (
        {"encoded": [{"column": "year", "kind": "dates", "features": ["year"], "first": "soon"}]}, "Invalid isoformat string"
    ),
    "stray": ({"encoded": [{"column": "c", "kind": "category", "features": ["c=b"]}]}, "encoded makes no feature of 'c=b'"),
    "other levels": (
        {"encoded": [{"column": "year", "kind": "category", "levels": ["a", "b"], "features": ["year"]}]},
        "encoded makes other features of 'year'",
    ),
    "a level twice": (
        {"encoded": [{"column": "c", "kind": "category", "levels": ["a", "b", "b"]}]}, "encoded makes other features of 'c'"
    ),
    "a zone": (
        {"encoded": [{"column": "year", "kind": "dates", "features": ["year"], "first": "2024-01-01T00:00:00+05:00"}]},
        "the first date is one in UTC",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_refused(cases: dict[str, Path], tmp_path: Path, change: str) -> None:
    """In one line that names the file and what is wrong in it."""
    held, said = CHANGES[change]
    found = json.loads((cases["converged"] / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps(found | held), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^.*$") as refused:
        load(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'model.json'}: ")
    assert said in str(refused.value)


def test_a_category_of_a_feature_is_refused(cases: dict[str, Path], tmp_path: Path) -> None:
    """A column is a number or a category, and no file has it as both; degrees of freedom are a number of rows."""
    found = json.loads((cases["converged"] / "model.json").read_text(encoding="utf-8"))
    weights = found["weights"] | {"year=b": 1.0}
    both = {
        "encoded": [{"column": "year", "kind": "category", "levels": ["a", "b"], "features": ["year=b"]}],
        "features": [*weights], "weights": weights, "interval": None,
    }  # fmt: skip
    many = {"interval": found["interval"] | {"degrees_of_freedom": 10**400}}
    for held, said in ((both, "encoded has 'year', which is a feature itself"), (many, "interval.degrees_of_freedom")):
        (tmp_path / "model.json").write_text(json.dumps(found | held), encoding="utf-8")
        with pytest.raises(ValueError, match=said):
            load(tmp_path)


def test_a_cut_factor_is_refused(cases: dict[str, Path], tmp_path: Path) -> None:
    """A triangle that lacks a number would be taken for another one."""
    found = json.loads((cases["converged"] / "model.json").read_text(encoding="utf-8"))
    found["interval"]["factor"][1].pop()
    (tmp_path / "model.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(ValueError, match=r"interval\.factor is no triangle of 5 rows"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON (line 1: Expecting value). Name a model.json, then the CSV."),
        ("x,y\n1,2\n", "is no JSON (line 1: Expecting value)"),
        ("{\n\n", "is no JSON (line 3: Expecting property name"),
        ("[1]", "is no model. Name a model.json, or the folder of a run."),
        ('{"schema": 1, "run": {}, "fits": []}', "is no model. Its model stands beside it, in model.json."),
        ("[" * 200_000, "is no JSON (not as JSON nests)"),
        ("\xe4", "is no model but other bytes than UTF-8."),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A CSV, a run.json and broken files are told apart in words."""
    (tmp_path / "other").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"^.*$") as refused:
        load(tmp_path / "other")
    assert f"{tmp_path / 'other'}: {said}" in str(refused.value)


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    """Says what may be named; a file that is too large for a model is not read."""
    with pytest.raises(ValueError, match=r"no such file\. Name a model\.json, or the folder of a run\."):
        load(tmp_path / "nothing")
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ValueError, match="is too large for a model"):
        load(tmp_path / "large.csv")


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(8, 25), d=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), far=st.sampled_from([0.0, 1e6, 1e9]),
    scale=st.sampled_from([1.0, 2.0**-300, 2.0**300]), intercept=st.booleans(),
)  # fmt: skip
def test_the_factor_is_that_of_eighty_digits(
    record: Record, n: int, d: int, seed: int, far: float, scale: float, intercept: bool
) -> None:
    """bᵀ(XᵀX)⁻¹b of any row by the normal equations, at 1e9 beside a spread of 1 too under an intercept, in any unit."""
    rng = np.random.default_rng(seed)
    X, y = made_up(rng, n, d)
    X, x = X + far * intercept, rng.normal(size=d) + far * intercept
    found = moments(X * scale, y)
    optimum = estimates(found, intercept=intercept)
    features = tuple(f"x{j}" for j in range(d))
    weights, constant = dict(zip(features, map(float, optimum.weights), strict=False)), float(optimum.weights[-1])
    held: dict[str, Any] = {"weights": weights, "intercept": constant if intercept else None}
    fit = record.fits[0].model_copy(update=held | {"reasons": {} if intercept else {"intercept": "the model has none"}})
    dataset = record.dataset.model_copy(update={"features": features})
    model = model_of(record.model_copy(update={"fits": (fit,), "dataset": dataset}), found, optimum)
    assert model is not None
    assert model.arrived
    assert model.interval is not None
    with mpmath.workdps(80):
        A = mpmath.matrix([[*map(mpmath.mpf, row), *[mpmath.mpf(1)] * intercept] for row in X.tolist()])
        b = mpmath.matrix([*map(mpmath.mpf, x.tolist()), *[mpmath.mpf(1)] * intercept])
        expected = float(mpmath.sqrt((b.T * (A.T * A) ** -1 * b)[0]))  # whatever the unit: it falls out
    at = x * scale - np.array(model.interval.centre)
    length = np.linalg.norm(model.interval.F.T @ (np.append(at, 1) if intercept else at))
    assert pytest.approx(expected, rel=1e-9) == length
