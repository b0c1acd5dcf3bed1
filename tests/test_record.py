"""What a run leaves behind, as values."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gd import archive, backends
from gd.archive import read
from gd.cli import app
from gd.comparison import compare
from gd.data import DataError, Dataset, Scaling, Source, bundled
from gd.diagnosis import check_gradient, diagnose, spectrum
from gd.dialect import Dialect
from gd.optimizers import gradient_descent
from gd.problems import design, least_squares
from gd.record import Fit, Record, Run
from gd.recording import _agreement, command, epoch_log, failed
from gd.report import Report
from gd.settings import Training, preset
from gd.training import Outcome, Trace, train
from tests.conftest import run_tasks, write_csv

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
CONTRACT = {  # section 5 of the design: names that readers of run.json rely on
    "run": {"id", "trigger", "scheduled_for", "started", "finished", "version", "git", "packages", "command"},
    "dataset": {"name", "path", "sha256", "bytes", "rows", "rows_used", "rows_dropped", "target", "features", "left_out"},
    "training": {"loss", "optimizer", "learning_rate", "epochs", "dtype", "intercept", "standardize", "method"},
    "comparison": {"agree", "max_weight_gap", "max_loss_gap", "first_epoch_apart"},
    "diagnosis": {
        "curvature", "condition", "stable_below", "best_rate", "optimum_loss", "excess_loss", "predicted_epochs",
        "gradient_ratio",
    },
}  # fmt: skip
FIT = {"backend", "outcome", "epochs", "loss", "r2", "intercept", "weights", "seconds"}


def nulls(part: object, path: str = "") -> list[str]:
    """Where a JSON value is null."""
    if isinstance(part, dict):
        return [found for key, value in part.items() for found in nulls(value, f"{path}.{key}")]
    if isinstance(part, list):
        return [found for j, value in enumerate(part) for found in nulls(value, f"{path}[{j}]")]
    return [path] if part is None else []


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_run_json_keeps_the_contract(verdict: str, cases: dict[str, Path]) -> None:
    """Every promised name is there, under schema 1, and the verdict is what the case is made for."""
    record = json.loads((cases[verdict] / "run.json").read_text(encoding="utf-8"))
    assert (1, verdict, None) == (record["schema"], record["verdict"], record["error"])
    for part, names in CONTRACT.items():
        assert set() == names - set(record[part])
    assert [set(), set()] == [FIT - set(fit) for fit in record["fits"]]


NOT_ASKED_FOR = {
    "last_finite_epoch", "last_finite_loss", "unpenalised_loss", "validation_loss", "best_epoch", "d2"
}  # fmt: skip
"""What a fit has only where it diverged, is penalised, has rows held out, stops early, or has another loss than squares."""


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_numbers_that_are_not_finite_are_null_beside_a_reason(verdict: str, cases: dict[str, Path]) -> None:
    """No NaN, no Infinity: strict JSON, and each null result has its reason."""

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    record = json.loads((cases[verdict] / "run.json").read_text(encoding="utf-8"), parse_constant=refuse)
    for fit in record["fits"]:
        missing = {path.split(".")[1] for path in nulls(fit)} - NOT_ASKED_FOR
        assert missing <= set(fit["reasons"])
    missing = {path.removeprefix(".") for path in nulls(record["diagnosis"])} - {"hessian", "principal", "optimum_intercept"}
    assert missing <= set(record["diagnosis"]["reasons"])


def test_weights_are_in_the_units_of_the_csv(reports: dict[str, Report]) -> None:
    """The penguins' weights are those of lstsq on the raw columns."""
    import csv  # noqa: PLC0415

    with bundled("penguins").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["body_mass_g"] != "NA"]
    names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year"]
    X = np.array([[float(row[name]) for name in names] + [1.0] for row in rows])
    y = np.array([float(row["body_mass_g"]) for row in rows])
    expected = np.linalg.lstsq(X, y)[0]
    residual = y - X @ expected
    for fit in reports["converged"].record.fits:
        found = np.array([*fit.weights.values(), fit.intercept], dtype=np.float64)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert pytest.approx(float(np.mean(residual**2)), rel=1e-9) == fit.loss
        assert pytest.approx(1 - float(residual @ residual / np.var(y) / len(y)), rel=1e-9) == fit.r2


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("method", ["rows", "moments"])
def test_without_an_intercept_r2_is_against_0(method: str, offset: float, tmp_path: Path) -> None:
    """Of a fit that arrived, R² is that of the inference beside it, to rounding, and that of the rows; the page says so."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(60, 2))
    y = X @ [2.0, -1.0] + offset + 0.3 * rng.normal(size=60)
    path = write_csv(tmp_path / "through-0.csv", X, y)
    training = Training(intercept=False, method=method)
    folder = run_tasks(Source(path=str(path), target="y"), training, tmp_path)
    made = archive.read_record(folder)
    weights, *_ = np.linalg.lstsq(X, y)
    residual = y - X @ weights
    assert made.inference is not None
    assert not made.inference.centred
    for fit in made.fits:
        assert not fit.centred
        assert pytest.approx(float(1 - residual @ residual / (y @ y)), rel=1e-9, abs=1e-12) == fit.r2
        assert pytest.approx(made.inference.r2, rel=1e-9, abs=1e-12) == fit.r2
    assert '<th scope="row">R² against 0</th>' in (folder / "report.html").read_text(encoding="utf-8")


def test_a_constant_target_is_explained_without_an_intercept(tmp_path: Path) -> None:
    """Against 0 there is something to explain, unless the constant is 0 itself."""
    found = {}
    for constant in (3.0, 0.0):
        path = write_csv(tmp_path / "flat.csv", np.arange(8.0)[:, None], np.full(8, constant))
        folder = run_tasks(Source(path=str(path), target="y"), Training(intercept=False), tmp_path, draw=False)
        found[constant] = archive.read_record(folder)
    assert found[3.0].inference is not None
    assert pytest.approx(found[3.0].inference.r2, rel=1e-9) == found[3.0].fits[0].r2 == pytest.approx(0.7, rel=1e-9)
    assert (None, "the target never changes") == (found[0.0].fits[0].r2, found[0.0].fits[0].reasons["r2"])


def test_a_fit_of_before_is_against_the_mean(reports: dict[str, Report]) -> None:
    """A record that does not say what its R² is against was written when it was against the mean; its page says no other."""
    fit = json.loads(reports["disagree"].record.to_json())["fits"][0]
    assert fit.pop("centred") is False
    assert Fit.model_validate(fit).centred


def test_a_constant_target_has_no_r2(tmp_path: Path) -> None:
    """R² of a target that never changes is null with that reason, not NaN."""
    path = write_csv(tmp_path / "flat.csv", np.arange(8.0)[:, None], np.full(8, 3.0))
    folder = run_tasks(Source(path=str(path), target="y"), Training(), tmp_path, draw=False)
    fit = json.loads((folder / "run.json").read_text(encoding="utf-8"))["fits"][0]
    assert (None, "the target never changes") == (fit["r2"], fit["reasons"]["r2"])


def test_a_record_survives_json(reports: dict[str, Report]) -> None:
    """What is read back is what was written."""
    for report in reports.values():
        assert report.record == Record.model_validate_json(report.record.to_json())


def test_a_sweep_stands_in_the_record(swept: Path) -> None:
    """Its rates, the best, and where each backend ended with each; the best is the one that the fits were trained with."""
    text = (swept / "run.json").read_text(encoding="utf-8")
    assert Record.model_validate_json(text).to_json() + "\n" == text
    record = json.loads(text)
    found = record["sweep"]
    assert ("sweep", found["best"]) == (record["training"]["learning_rate_setting"], record["training"]["learning_rate"])
    assert pytest.approx(record["diagnosis"]["best_rate"]) == found["best"]
    expected = [(backend, rate) for backend in ("numpy", "torch") for rate in found["rates"]]
    assert expected == [(one["backend"], one["rate"]) for one in found["fits"]]
    for one in found["fits"]:
        gone = one["outcome"] == "diverged"
        assert gone == (one["rate"] > record["diagnosis"]["stable_below"])
        assert gone == (one["loss"] is None) == (one["excess_loss"] is None) == ({"loss", "excess_loss"} == set(one["reasons"]))
        assert not gone or one["reasons"]["loss"] == f"not finite from epoch {one['last_finite_epoch'] + 1} on"
    chosen = next(one for one in found["fits"] if one["rate"] == found["best"])
    assert (record["fits"][0]["outcome"], record["fits"][0]["epochs"]) == (chosen["outcome"], chosen["epochs"])
    assert pytest.approx(record["fits"][0]["loss"], rel=1e-12) == chosen["loss"]


def test_without_a_sweep_there_is_none(reports: dict[str, Report]) -> None:
    """And a record written before there were sweeps is still read."""
    record = json.loads(reports["converged"].record.to_json())
    assert record.pop("sweep") is None
    assert reports["converged"].record == Record.model_validate(record)


def test_a_failure_says_where() -> None:
    """The error has its type, its message and its place; there are no fits."""
    run = Run(id="x", started=NOW, finished=NOW, version="0", command="gd run sales.csv")
    error = DataError("sales.csv, line 211", "5 cells where the header has 4.", "Mend the row.")
    record = failed(run, Source(path="data/sales.csv", target="price"), "sales", Training(), error)
    assert record.error is not None
    assert "failed" == record.verdict
    assert ("DataError", "sales.csv, line 211") == (record.error.type, record.error.where)
    assert "sales.csv, line 211: 5 cells where the header has 4. Mend the row." == record.error.message


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"delimiter": "\t", "quote": "", "decimal": ","}, "--delimiter tab --quote none --decimal ,"),
        ({"thousands": " ", "encoding": "latin-1"}, "--thousands space --encoding iso8859-1"),
        ({"skip_lines": "2-2,9-", "header": 3, "comment": "#"}, "--skip-lines 2-2,9- --header 3 --comment '#'"),
        ({"header": "none", "missing": ("-", "a,b"), "units": ("%",)}, """--header none '--missing=-,"a,b"' --units %"""),
        ({"missing": ("default", "?"), "parentheses": True}, "--missing 'default,?' --parentheses"),
    ],
)
def test_the_command_says_how_the_file_is_written(said: dict[str, Any], expected: str) -> None:
    """In words that the command itself understands in the same way."""
    source = Source(path="a.csv", target="y", leave_out=("w", "v"), encode=("dates",), dialect=Dialect(**said))
    line = command(source, Training())
    assert f"gd run a.csv --target y --leave-out w,v --encode dates {expected}" == line
    _, words, _ = app.parse_args(shlex.split(line)[1:], print_error=False, exit_on_error=False)
    assert source.dialect == words.arguments["written"].dialect()


@pytest.mark.parametrize(
    ("source", "training", "expected"),
    [
        (("a.csv", "y", None), Training(), "gd run a.csv --target y"),
        (("my data.csv", "the price", ("a,b", "c")), Training(learning_rate=0.5, intercept=False),
         "gd run 'my data.csv' --target 'the price' --features '\"a,b\",c' --learning-rate 0.5 --no-intercept"),
        (("a.csv", "y", None), Training(backends=("numpy",), dtype="float32", tolerance=0),
         "gd run a.csv --target y --tolerance 0.0 --dtype float32 --backends numpy"),
        ((str(bundled("notebook")), "Y", None), preset("notebook"), "gd run --preset notebook"),
        ((str(bundled("notebook")), "Y", None), preset("notebook").model_copy(update={"epochs": 20}),
         "gd run --preset notebook --epochs 20"),
        (("a.csv", "y", None), Training(keep_weights=50), "gd run a.csv --target y --keep-weights 50"),
        (("a.csv", "y", None), Training(learning_rate=(0.001, 0.01, 10)),
         "gd run a.csv --target y --learning-rate 0.001,0.01,10.0"),
        (("a.csv", "y", None), Training(learning_rate="auto-sweep"), "gd run a.csv --target y --learning-rate auto-sweep"),
        (("own.csv", "W", None), preset("notebook"), "gd run own.csv --preset notebook --target W"),
        (("a.csv", "-y", ("-x", "z")), Training(), "gd run a.csv --target=-y --features=-x,z"),
    ],
)  # fmt: skip
def test_the_command_that_does_it_again(
    source: tuple[str, str, tuple[str, ...] | None], training: Training, expected: str
) -> None:
    """Only what differs from the defaults is said, and the shell gets every name back whole."""
    path, target, features = source
    said = command(Source(path=path, target=target, features=features), training)
    assert expected == said
    assert "gd" == shlex.split(said)[0]


def test_the_log_has_weights_where_they_were_kept(tmp_path: Path) -> None:
    """Of every 7th epoch and the last; the excess loss, which needs the weights before the step, of those that follow."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    whole = read(run_tasks(source, Training(epochs=50, tolerance=0), tmp_path, "whole", draw=False))
    thin = read(run_tasks(source, Training(epochs=50, tolerance=0, keep_weights=7), tmp_path, "thin", draw=False))
    assert (1, 7) == (whole.record.training.keep_weights, thin.record.training.keep_weights)
    assert whole.log is not None
    assert thin.log is not None
    after, before = [6, 13, 20, 27, 34, 41, 48, 49], [0, 7, 14, 21, 28, 35, 42, 49]
    for name in whole.log.columns:
        kept = after if "weight" in name or "intercept" in name else before if "_excess" in name else list(range(50))
        if name == "theory_excess_loss":
            kept = list(range(50))
        where, values = thin.log.entries(name)
        assert kept == where.tolist()
        assert whole.log[name][kept].tobytes() == values.tobytes()
        assert np.isnan(np.delete(thin.log[name], kept)).all()
    assert whole.record.fits[0].weights == thin.record.fits[0].weights
    assert whole.record.diagnosis == thin.record.diagnosis


def test_the_number_that_auto_came_to_is_recorded(tmp_path: Path) -> None:
    """It depends on the epochs that were trained; a run that failed came to none, and a number that was set stays."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(epochs=20_001, learning_rate=1e-6, backends=("numpy",)), tmp_path, draw=False)
    assert 4 == json.loads((folder / "run.json").read_text(encoding="utf-8"))["training"]["keep_weights"]
    run = Run(id="x", started=NOW, finished=NOW, version="0", command="gd run sales.csv")
    for setting, expected in (("auto", None), (50, 50)):
        made = failed(run, source, "sales", Training.model_validate({"keep_weights": setting}), OSError("gone"))
        assert expected == made.training.keep_weights


def test_weights_that_were_never_kept_together_are_said_to_be() -> None:
    """Where no epoch after the start was kept by both, the gaps of the weights are null with that reason."""
    first = [
        Trace(np.ones(k), np.ones(k), np.zeros((2, 3)), np.ones(k), 1.0, Outcome.CONVERGED, np.array([0, k])) for k in (5, 6)
    ]
    found = _agreement(compare(first))
    assert (None, 0.0) == (found.max_weight_gap, found.max_loss_gap)
    assert (
        "no epoch in which every backend was finite, and after which the weights of all were kept"
        == (found.reasons["max_weight_gap"])
    )


def test_backends_that_were_thinned_differently_share_their_epochs(plane: Dataset) -> None:
    """One that was trained a little longer and thinned once more decides; each still has where it ended."""
    A = design(plane.X, True)
    objective, found = least_squares(A, plane.y), spectrum(A, plane.y)
    traces = [
        train(backends.get(name).objective(objective), 4, gradient_descent(0.1), epochs=epochs, keep_weights=keep)
        for name, epochs, keep in (("numpy", 9, 2), ("torch", 13, 4))
    ]
    comparison = compare(traces, rows=len(A))
    diagnosis = diagnose(found, 0.1, traces, [check_gradient(backends.get("numpy").objective(objective), found)] * 2)
    scaling = Scaling(np.zeros(3), np.ones(3))
    log = epoch_log(["numpy", "torch"], traces, ["x0", "x1", "x2"], True, scaling, comparison, diagnosis)
    assert [3, 7] == log.entries("weight_gap")[0].tolist()
    assert [3, 7, 8] == log.entries("numpy_weight_x0")[0].tolist()
    assert [3, 7, 11, 12] == log.entries("torch_intercept")[0].tolist()
    assert [0, 4, 8] == log.entries("numpy_excess_loss")[0].tolist()
    assert traces[0].theta[[2, 4, 5], 0].tolist() == log.entries("numpy_weight_x0")[1].tolist()
    assert 9 == len(log.entries("numpy_loss")[0])
    assert 13 == len(log) == len(log["numpy_loss"])


def test_a_preconditioned_descent_logs_its_loss_above_the_optimum(tmp_path: Path) -> None:
    """In the coordinates of the weights that it logs, and not in those that the descent saw: the loss less the least."""
    training = Training(precondition="whiten", tolerance=0, epochs=3, backends=("numpy",))
    report = read(run_tasks(Source(path=str(bundled("penguins")), target="body_mass_g"), training, tmp_path, draw=False))
    assert report.log is not None
    assert report.record.diagnosis is not None
    loss, actual = report.log["numpy_loss"], report.log["numpy_excess_loss"]
    assert np.allclose(loss - report.record.diagnosis.optimum_loss, actual, rtol=1e-9, atol=1e-9 * loss[0])
