"""`gd predict`: predictions and intervals against statsmodels, every kind of cell, refusals, and whole processes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from gd.cli import main
from gd.data import Array, DataError, Source, bundled
from gd.dialect import Dialect
from gd.model import Model, load
from gd.prediction import Outcome, predict
from gd.settings import Training
from tests.conftest import furnish, run_tasks, write_csv
from tests.test_inference import made_up, with_ones
from tests.test_names import NAMES
from tests.test_real_tables import TABLES, Table, frame, ids, made, of_file

CHOSEN = [table for table in TABLES if Path(table.path).name in {"stackloss.csv", "engel.csv", "spector.csv", "grunfeld.csv"}]
LONG = Training(backends=("numpy",), epochs=200_000, tolerance=1e-14, method="moments")  # as near to the optimum as it comes


def predicted(model: Model, file: Path, **how: Any) -> tuple[list[dict[str, str]], Outcome]:
    """The rows that are written, and what is said of them."""
    written = io.BytesIO()
    outcome = predict(str(file), model, written.write, **how)
    return list(csv.DictReader(io.StringIO(written.getvalue().decode(), newline=""), strict=True)), outcome


def numbers(rows: list[dict[str, str]], column: str = "prediction") -> Array:
    """A column of them, NaN where there is no cell."""
    return np.array([float(row[column] or "nan") for row in rows])


def trained(folder: Path, text: str, target: str = "y", training: Training = LONG, **how: Any) -> Model:
    """The model of a table."""
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_text(text, encoding="utf-8")
    return load(
        run_tasks(Source(path=str(folder / "train.csv"), target=target, **how), training, folder / "reports", draw=False)
    )


def written(path: Path, text: str) -> Path:
    """A file of this text."""
    path.write_text(text, encoding="utf-8")
    return path


def agree(fit: Any, X: Array, rows: list[dict[str, str]], mean: list[dict[str, str]]) -> None:
    """Predictions and both intervals are statsmodels', to nine digits."""
    frame = fit.get_prediction(X).summary_frame(alpha=0.05)
    size = np.abs(frame["mean"]).max()  # a prediction near 0 is a difference of numbers that are not
    np.testing.assert_allclose(numbers(rows), frame["mean"], rtol=1e-9, atol=1e-9 * size)
    for found, name in ((rows, "obs_ci"), (mean, "mean_ci")):
        for end, ours in (("lower", "low"), ("upper", "high")):
            half, expected = numbers(found, ours) - numbers(found), frame[f"{name}_{end}"] - frame["mean"]
            np.testing.assert_allclose(half, expected, rtol=1e-9)
            np.testing.assert_allclose(numbers(found, ours), frame[f"{name}_{end}"], rtol=1e-9, atol=1e-9 * size)


# Against statsmodels


@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("table", CHOSEN, ids=ids)
def test_a_real_table_is_predicted_as_by_statsmodels(table: Table, intercept: bool, tmp_path: Path) -> None:
    """Every row of the file that the model was trained on, whatever text it has beside the features."""
    model = load(run_tasks(table.source, LONG.model_copy(update={"intercept": intercept}), tmp_path, draw=False))
    data = frame(table)
    assert len(data) == len(data.dropna(subset=[table.target, *of_file(table.features, data)]))
    X = np.column_stack([made(data, feature) for feature in table.features])
    y = data[table.target].to_numpy(np.float64)
    X = with_ones(X) if intercept else X
    file, how = Path(table.source.path), {"dialect": table.source.dialect}
    rows, outcome = predicted(model, file, **how)
    fit = OLS(y, X, hasconst=intercept).fit(method="qr")
    agree(fit, X, rows, predicted(model, file, width="mean", **how)[0])
    assert (len(y), 0, len(y)) == (outcome.rows, outcome.without, outcome.compared)
    assert pytest.approx(np.sqrt(np.mean(fit.resid**2)), rel=1e-9) == outcome.rmse
    inside = fit.get_prediction(X).summary_frame(alpha=0.05)
    assert int(((inside["obs_ci_lower"] <= y) & (y <= inside["obs_ci_upper"])).sum()) == outcome.right


def test_the_chosen_tables_are_there() -> None:
    """Four of them, one with a category."""
    assert 4 == len(CHOSEN)
    assert any(table.encode for table in CHOSEN)


def test_features_far_from_zero(tmp_path: Path) -> None:
    """At 1e6 ± 1, rows that the model never saw: statsmodels is given the features less 1e6, whose intervals are the same."""
    rng = np.random.default_rng(3)
    X, y = made_up(rng, 50, 3)
    X = 1e6 + np.round(X, 6)
    source = Source(path=str(write_csv(tmp_path / "train.csv", X, y)), target="y")
    model = load(run_tasks(source, LONG, tmp_path / "reports", draw=False))
    new = 1e6 + np.round(2 * rng.normal(size=(40, 3)), 6)
    file = write_csv(tmp_path / "new.csv", new, np.zeros(40))
    rows, mean = predicted(model, file)[0], predicted(model, file, width="mean")[0]
    agree(OLS(y, with_ones(X - 1e6)).fit(method="qr"), with_ones(new - 1e6), rows, mean)


def test_another_level(tmp_path: Path) -> None:
    """Intervals of 80 % are those of statsmodels under alpha = 0.2."""
    X, y = made_up(np.random.default_rng(4), 30, 2)
    source = Source(path=str(write_csv(tmp_path / "train.csv", X, y)), target="y")
    model = load(run_tasks(source, LONG, tmp_path / "reports", draw=False))
    rows, outcome = predicted(model, tmp_path / "train.csv", level=0.8)
    expected = OLS(y, with_ones(X)).fit().get_prediction().summary_frame(alpha=0.2)
    np.testing.assert_allclose(numbers(rows, "low"), expected["obs_ci_lower"], rtol=1e-9, atol=1e-9)
    inside = (expected["obs_ci_lower"] <= y) & (y <= expected["obs_ci_upper"])
    assert int(inside.sum()) == outcome.right < 30


# Every kind of cell, however it is written


def encoded(rng: np.random.Generator, n: int) -> tuple[str, Array]:
    """A table with a category, dates and a number, and what statsmodels is given for it."""
    colour, day, x = rng.integers(0, 3, n), rng.integers(0, 400, n), np.round(rng.normal(size=n), 3)
    day[0], colour[:3] = 0, [0, 1, 2]
    y = np.round(np.array([1.0, 4.0, -2.0])[colour] + 0.01 * day + 2 * x + rng.normal(size=n), 6)
    dates = (np.datetime64("2024-02-20") + day).astype(str)
    names = np.array(["blue", 'gr"een', "réd, dark"])[colour]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["x", "colour", "day", "y"], *zip(x, names, dates, y, strict=True)])
    return text.getvalue(), np.column_stack([colour == 1, colour == 2, day, x, np.ones(n), y]).astype(np.float64)


def test_categories_and_dates(tmp_path: Path) -> None:
    """Encoded as while training, by levels and days from the model; columns in another order, another delimiter, compressed."""
    text, A = encoded(np.random.default_rng(5), 60)
    model = trained(tmp_path, text, encode=("category", "dates"))
    assert {"x", 'colour=gr"een', "colour=réd, dark", "day"} == set(model.features)
    fit = OLS(A[:, -1], A[:, :-1]).fit(method="qr")
    rows = predicted(model, tmp_path / "train.csv")[0]
    agree(fit, A[:, :-1], rows, predicted(model, tmp_path / "train.csv", width="mean")[0])
    turned = io.StringIO()
    held = [[row[2], row[0], "free text", row[1]] for row in csv.reader(io.StringIO(text))]
    csv.writer(turned, delimiter=";").writerows([["day", "x", "note", "colour"], *held[1:]])
    (tmp_path / "new.csv").write_bytes(gzip.compress(turned.getvalue().encode("utf-16")))
    other, outcome = predicted(model, tmp_path / "new.csv")
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in other]
    assert (60, 0, 0) == (outcome.rows, outcome.without, outcome.compared)


def test_one_level_and_one_day_of_many(tmp_path: Path) -> None:
    """A file of a single row, of the first level and of a later day, means what it meant among the others."""
    text, A = encoded(np.random.default_rng(5), 60)
    model = trained(tmp_path, text, encode=("category", "dates"))
    weights = np.linalg.lstsq(A[:, :-1], A[:, -1])[0]
    file = written(tmp_path / "new.csv", "colour,x,day\n blue ,0.5,2024-02-21T12:00\n")
    assert pytest.approx(weights @ [0, 0, 1.5, 0.5, 1], rel=1e-9) == numbers(predicted(model, file)[0])[0]


def test_numbers_are_written_as_the_models_data_were(tmp_path: Path) -> None:
    """Decimal commas, units and missing marks need not be said again; what is said instead counts."""
    rows = [f"{j % 7},5 kg;{j * j % 11};{j},25" for j in range(30)]
    dialect = Dialect(decimal=",", units=("kg",), missing=("-",))
    model = trained(tmp_path, "\n".join(["a;b;y", *rows, ""]), dialect=dialect)
    new = written(tmp_path / "new.csv", "b|a\n3|1,5 kg\n4|-\n")
    found, outcome = predicted(model, new)
    expected = (model.intercept or 0) + 1.5 * model.weights["a"] + 3 * model.weights["b"]
    assert pytest.approx(expected, rel=1e-12) == numbers(found)[0]
    assert (2, 1, 3) == (outcome.rows, outcome.without, outcome.first_without)
    plain = written(tmp_path / "plain.csv", "b|a\n3|1.5\n")
    with pytest.raises(DataError, match=r"plain\.csv, line 2, column 'a': '1\.5' is not a number\."):
        predicted(model, plain)
    assert pytest.approx(expected, rel=1e-12) == numbers(predicted(model, plain, dialect=Dialect())[0])[0]


def test_rows_without_a_feature_stay(tmp_path: Path) -> None:
    """Each row of the file has its line, with empty cells where there is no prediction; a missing target is no matter."""
    model = trained(tmp_path, "x,y\n" + "".join(f"{j},{j * j % 11}\n" for j in range(30)))
    new = written(tmp_path / "new.csv", "x,y\n1,2\n\nNA,3\n,\n4,\n5,NaN\n")
    found, outcome = predicted(model, new)
    assert ["2", "4", "5", "6", "7"] == [row["line"] for row in found]
    assert [False, True, True, False, False] == [row["prediction"] == row["low"] == row["high"] == "" for row in found]
    assert (5, 2, 4, 1) == (outcome.rows, outcome.without, outcome.first_without, outcome.compared)


def test_blocks_and_threads_change_nothing(tmp_path: Path) -> None:
    """The same bytes from blocks of 200 bytes and from one, on one thread and on four, with cells that go over lines."""
    rng = np.random.default_rng(6)
    model = trained(tmp_path, "x,y\n" + "".join(f"{j},{j * j % 11}\n" for j in range(30)))
    values = rng.normal(size=500).tolist()
    lines = "".join(f'{value!r},"a ""note""\n{j}"\n' if j % 7 else f"{value!r},b\n" for j, value in enumerate(values))
    new = written(tmp_path / "new.csv", f"x,note\n{lines}")
    outputs = []
    for how in ({"threads": 1}, {"threads": 4, "block": 200}, {"threads": 1, "block": 333}):
        output = io.BytesIO()
        predict(str(new), model, output.write, keep=["note"], **how)  # type: ignore[arg-type]
        outputs.append(output.getvalue())
    assert 1 == len(set(outputs))
    rows = list(csv.DictReader(io.StringIO(outputs[0].decode(), newline="")))
    assert ["b", 'a "note"\n1'] == [row["note"] for row in rows[:2]]
    text = new.read_text(encoding="utf-8").split("\n")
    assert all(text[int(row["line"]) - 1].startswith(f"{value!r},") for row, value in zip(rows, values, strict=True))
    np.testing.assert_allclose(numbers(rows), (model.intercept or 0) + model.weights["x"] * np.array(values), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names(name: str, tmp_path: Path) -> None:
    """A column of any name is found again, kept and predicted from."""
    rows = [[j, j * j % 7, j % 5] for j in range(20)]
    text = io.StringIO()
    csv.writer(text).writerows([["x", name, "y"], *rows])
    model = trained(tmp_path, text.getvalue())
    found, outcome = predicted(model, tmp_path / "train.csv", keep=[name])
    assert 20 == outcome.compared
    assert [str(row[1]) for row in rows] == [next(reversed(row.values())) for row in found]


def test_digits_are_all_there(tmp_path: Path) -> None:
    """Each number is read back as the float64 that it was: that of the sum itself."""
    model = trained(tmp_path, "x,y\n" + "".join(f"{j},{j * j % 11}\n" for j in range(30)))
    found, _ = predicted(model, written(tmp_path / "new.csv", "x\n0.1\n1e300\n-7\n"))
    expected = [(model.intercept or 0) + model.weights["x"] * x for x in (0.1, 1e300, -7.0)]
    assert expected == numbers(found).tolist()


def test_what_float64_does_not_hold_is_counted(tmp_path: Path) -> None:
    """A product beyond 1e308 has no cell, rather than an infinity that no reader takes."""
    model = trained(tmp_path, "x,y\n" + "".join(f"{j},{10 * j + j * j % 11}\n" for j in range(30)))
    found, outcome = predicted(model, written(tmp_path / "new.csv", "x\n1\n1e308\n"))
    assert (0, 1, "") == (outcome.without, outcome.lost, found[1]["prediction"])


# Other losses: models written by hand, whose predictions are plain arithmetic


def other(loss: str, link: str, **more: Any) -> Model:
    """A model of two features."""
    held: dict[str, Any] = {
        "run": "r", "version": "0", "dataset": "d", "sha256": None, "verdict": "converged", "backend": "numpy", "arrived": True,
        "loss": loss, "target": "y", "link": link, "features": ["a", "b"], "intercept": 0.5, "weights": {"a": 2.0, "b": -1.0},
    }  # fmt: skip
    return Model.model_validate(held | more)


@pytest.mark.parametrize(("classes", "cells"), [(("no", "yes"), ("no", "yes")), (("0", "1"), ("0", "1.0"))])
def test_a_logistic_model_gives_probability_and_class(classes: tuple[str, str], cells: tuple[str, str], tmp_path: Path) -> None:
    """1/(1 + e^-score) by Python's own arithmetic, also where e^score is beyond float64; classes by their names or numbers."""
    model = other("logistic", "logit", classes=classes)
    scores = [0.5, 2.5, -1.5, 2000.5, -1999.5]
    first, second = cells
    file = written(
        tmp_path / "new.csv", f"y,a,b\n{first},0,0\n{second},1,0\n{second},0,2\n,1000,0\n{first},-1000,0\n{first},,1\n",
    )  # fmt: skip
    found, outcome = predicted(model, file)
    expected = [math.exp(min(score, 0)) / (1 + math.exp(-abs(score))) for score in scores]
    np.testing.assert_allclose(numbers(found, "probability")[:5], expected, rtol=1e-14)
    assert [*(classes[score > 0] for score in scores), ""] == [row["class"] for row in found]
    assert (6, 1, 4, 2) == (outcome.rows, outcome.without, outcome.compared, outcome.right)


@pytest.mark.parametrize(("classes", "cells"), [(("no", "yes"), ("no", "YES")), (("0", "1"), ("1", "7"))])
def test_a_target_of_another_class_is_told(classes: tuple[str, str], cells: tuple[str, str], tmp_path: Path) -> None:
    """A share of the rows that happen to be of the model's classes would be a share of nothing."""
    file = written(tmp_path / "new.csv", f"y,a,b\n{cells[0]},0,0\n{cells[1]},1,0\n")
    _, outcome = predicted(other("logistic", "logit", classes=classes), file)
    assert (0, (3, cells[1])) == (outcome.compared, outcome.no_target)


def test_classes_are_written_as_the_file_writes_them(tmp_path: Path) -> None:
    """Numbers with a decimal comma come out with one, and are compared."""
    rng = np.random.default_rng(2)
    lines = [f"{x:.3f}".replace(".", ",") + f";{('0,5', '1,5')[int(x + rng.normal() > 0)]}" for x in rng.normal(size=60)]
    text, dialect = "x;y\n" + "\n".join(lines) + "\n", Dialect(decimal=",")
    model = trained(tmp_path, text, training=Training(loss="logistic", epochs=50), dialect=dialect)
    assert ("0,5", "1,5") == model.classes
    found, outcome = predicted(model, tmp_path / "train.csv", dialect=dialect)
    assert {"0,5", "1,5"} == {row["class"] for row in found}
    assert 60 == outcome.compared
    assert outcome.right > 30


@pytest.mark.parametrize("zoned", [True, False])
def test_dates_tell_their_zone_as_those_trained_on(zoned: bool, tmp_path: Path) -> None:
    """Else every prediction would be some hours off, and nobody would see it."""
    days = [f"2024-01-{1 + j // 12:02}T{2 * (j % 12):02}:30" for j in range(60)]
    zones = ("+05:00", "") if zoned else ("", "Z")
    lines = [f"{day}{zones[0]},{j + j % 3}" for j, day in enumerate(days)]
    model = trained(tmp_path, "t,y\n" + "\n".join(lines) + "\n", encode=("dates",))
    assert zoned == model.encoded[0].zoned
    assert predicted(model, tmp_path / "train.csv")[1].rmse < 2
    new = written(tmp_path / "new.csv", "t\n" + "\n".join(f"{day}{zones[1]}" for day in days) + "\n")
    said = ("do not tell", "did") if zoned else ("tell", "did not")
    words = rf"column 't': the dates {said[0]} their time zone, and those that the model was trained on {said[1]}\."
    with pytest.raises(DataError, match=words):
        predicted(model, new)
    older = model.model_copy(update={"encoded": (model.encoded[0].model_copy(update={"zoned": None}),)})
    assert 60 == predicted(older, new)[1].rows


def test_a_day_that_never_changes_is_left_out(tmp_path: Path) -> None:
    """As any constant column: the others are trained on, and there is a model."""
    text = "x,day,y\n" + "".join(f"{j},2024-01-01,{2 * j + j % 3}\n" for j in range(20))
    model = trained(tmp_path, text, encode=("dates",))
    assert ("x",) == model.features
    assert 20 == predicted(model, tmp_path / "train.csv")[1].compared


def test_a_column_of_one_text_may_have_blank_lines(tmp_path: Path) -> None:
    """They are no rows, whatever they hold of blanks."""
    text = "x,y\n" + "".join(f"c{j % 3},{j % 3 + j / 10}\n" for j in range(30))
    model = trained(tmp_path, text, encode=("category",))
    found, _ = predicted(model, written(tmp_path / "new.csv", "x\nc1\n  \n\nc2\n"))
    assert ["2", "5"] == [row["line"] for row in found]


def test_a_poisson_model_gives_an_expectation(tmp_path: Path) -> None:
    """e^score, without an interval; a target is compared with it."""
    found, outcome = predicted(other("poisson", "log"), written(tmp_path / "new.csv", "y,a,b\n2,0,0\n3,0.25,1\n,400,0\n"))
    np.testing.assert_allclose(numbers(found)[:2], [math.exp(0.5), 1.0], rtol=1e-15)
    assert ["", "", ""] == [row["low"] for row in found]
    assert (1, 2, 0) == (outcome.lost, outcome.compared, outcome.right)
    assert pytest.approx(math.sqrt(((2 - math.exp(0.5)) ** 2 + 4) / 2), rel=1e-14) == outcome.rmse


# Refusals

REFUSED = {
    "no column": ("x,day\n1,2024-02-21\n", "new.csv: no column 'colour' for the feature. Its columns are 'x', 'day'."),
    "nearly": (
        "x,day,Colour\n1,2024-02-21,blue\n", "new.csv: no column 'colour' for the feature. The nearest name is 'Colour'."
    ),
    "twice": ("x,day,colour,x\n1,2024-02-21,blue,2\n", "new.csv, line 1: two columns are named 'x' (columns 1 and 4)."),
    "text": (
        "x,day,colour\n1,2024-02-21,blue\nabc,2024-02-21,blue\n",
        "new.csv, line 3, column 'x': 'abc' is not a number. Mend it, or write NA for a missing value.",
    ),
    "comma": (
        'x,day,colour\n"1,5",2024-02-21,blue\n',
        "new.csv, line 2, column 'x': '1,5' is not a number. --decimal , would read it.",
    ),
    "infinite": ("x,day,colour\ninf,2024-02-21,blue\n", "new.csv, line 2, column 'x': 'inf' is infinite in float64."),
    "level": (
        'x,day,colour\n1,2024-02-21,blue\n2,2024-02-21,"réd, dark"\n3,2024-02-21,pink\n',
        "new.csv, line 4, column 'colour': 'pink' is none of the 3 values that the model knows: 'blue', 'gr\"een', "
        "'réd, dark'. Mend it, write NA for a missing value, or train again with such rows.",
    ),
    "date": (
        "x,day,colour\n1,2024-02-21,blue\n1,21.2.2024,blue\n",
        "new.csv, line 3, column 'day': '21.2.2024' is not a date. Write dates as 2026-01-31, or NA for a missing one.",
    ),
    "day": ("x,day,colour\n1,,blue\n1,12,blue\n", "new.csv, line 3, column 'day': '12' is not a date."),
    "no day": ("x,day,colour\n1,2024-02-30,blue\n", "new.csv, line 2, column 'day': '2024-02-30' is not a date."),
    "zones": (
        "x,day,colour\n1,2024-02-20T10:00Z,blue\n1,2024-02-21,blue\n",
        "new.csv, line 3, column 'day': '2024-02-21' does not tell its time zone; 1 of 2 dates do.",
    ),
    "ragged": ("x,day,colour\n1,2024-02-21,blue\n1,2\n", "new.csv, line 3: 2 cells where the header has 3."),
    "no rows": ("x,day,colour\n", "new.csv: a header and no rows."),
    "empty": ("", "new.csv: the file is empty."),
    "preamble": (
        "a report\nx,day,colour\n1,2024-02-21,blue\n",
        "new.csv, line 1: no column 'x' for the feature. Line 2 has it: --header 2.",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over a number, a category and dates."""
    folder = tmp_path_factory.mktemp("mixed")
    text, _ = encoded(np.random.default_rng(5), 60)
    source = Source(path=str(written(folder / "train.csv", text)), target="y", encode=("category", "dates"))
    return run_tasks(source, LONG, folder / "reports", draw=False)


def words(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str, str]:
    """Exit status, standard output and standard error of the command, run here."""
    with pytest.raises(SystemExit) as ended:
        main(line)
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_does_not_fit_is_refused(
    kind: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, one line with file, line, column and remedy; the output that was there stays as it was."""
    text, said = REFUSED[kind]
    new, output = written(tmp_path / "new.csv", text), written(tmp_path / "out.csv", "old")
    code, out, err = words(["predict", str(mixed), str(new), "--output", str(output)], capsys)
    assert (1, "", 1) == (code, out, err.count("\n"))
    assert err.startswith(f"gd: {said}")
    assert ("old", {"new.csv", "out.csv"}) == (output.read_text(encoding="utf-8"), {path.name for path in tmp_path.iterdir()})


def test_a_row_that_is_not_predicted_may_hold_any_level(mixed: Path, tmp_path: Path) -> None:
    """A level that only incomplete rows have was not learned from the training data either."""
    found, outcome = predicted(load(mixed), written(tmp_path / "new.csv", "x,day,colour\n,2024-02-21,pink\n1,2024-02-21,\n"))
    assert (["", ""], 2) == ([row["prediction"] for row in found], outcome.without)


# The command


def test_what_is_said_beside_the_output(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows without a prediction, RMSE and coverage on standard error; standard output is the CSV alone; exit status 0."""
    new = written(tmp_path / "new.csv", "x,day,colour,y\n1,2024-02-21,blue,3\n,2024-02-21,blue,3\n")
    code, out, err = words(["predict", str(mixed / "model.json"), str(new), "--keep", "colour,y"], capsys)
    assert 0 == code
    assert ["line,prediction,low,high,colour,y", "2", "3"] == [
        line.split(",")[0] if j else line for j, line in enumerate(out.split("\n")[:-1])
    ]
    assert out.endswith('3,,,,"blue","3"\n')
    first, second = err.splitlines()
    assert "1 of 2 rows without a prediction: a feature is missing (first in line 3)." == first
    rmse = abs(3 - float(out.split("\n")[1].split(",")[1]))
    assert f"RMSE {rmse:.4g} over 1 row; 1 of them (100 %) lie within their 95 % interval." == second
    *_, said = words(["predict", str(mixed), str(new), "--interval", "mean"], capsys)
    assert f"RMSE {rmse:.4g} over 1 row." == said.splitlines()[-1]


@pytest.mark.parametrize(("cell", "said"), [("\x1b[31mlow", "\\x1b[31mlow"), ("inf", "inf"), ("1e999", "1e999")])
def test_a_target_that_is_no_number_is_no_fault(
    cell: str, said: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not needed: the rows are predicted, and it is said that they are not compared."""
    new = written(tmp_path / "new.csv", f"x,day,colour,y\n1,2024-02-21,blue,{cell}\n")
    code, out, err = words(["predict", str(mixed), str(new)], capsys)
    assert (0, 2) == (code, out.count("\n"))
    assert f"Not compared with 'y': '{said}' in line 2 is not a number.\n" == err


def test_kept_columns_have_the_names_that_they_had(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever follows on a delimiter in them: who joins by name finds them."""
    new = written(tmp_path / "new.csv", "x,day,colour,lag;-1\n1,2024-02-21,blue,7\n")
    _, out, _ = words(["predict", str(mixed), str(new), "--keep", "lag;-1"], capsys)
    assert "line,prediction,low,high,lag;-1" == out.split("\n")[0]


def test_what_is_read_stays(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a model that is named by its folder, and a CSV by an address; a file that is replaced keeps who may read it."""
    new = written(tmp_path / "new file.csv", "x,day,colour\n1,2024-02-21,blue\n")
    model = Path(shutil.copytree(mixed, tmp_path / "run"))
    for csv_file, output in ((str(new), model / "model.json"), (new.as_uri(), new)):
        before = output.read_bytes()
        code, _, err = words(["predict", str(model), csv_file, "--output", str(output)], capsys)
        assert (1, before) == (code, output.read_bytes())
        assert "is what is read. Name another file." in err
    private = written(tmp_path / "out.csv", "")
    private.chmod(0o600)
    assert 0 == words(["predict", str(model), str(new), "--output", str(private)], capsys)[0]
    assert 0o600 == private.stat().st_mode & 0o777


def test_a_closed_standard_output_is_told(mixed: Path, tmp_path: Path) -> None:
    """In one line."""
    new = written(tmp_path / "new.csv", "x,day,colour\n1,2024-02-21,blue\n")
    line = f'"{sys.executable}" -m gd predict "{mixed}" "{new}" >&-'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (1, "gd: standard output: is closed. Name a file with --output.\n") == (done.returncode, done.stderr)


def test_a_model_without_intervals_says_why(cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cells are empty, and standard error has the reason and the state of the weights."""
    code, out, err = words(["predict", str(cases["exhausted"]), str(bundled("penguins"))], capsys)
    assert 0 == code
    assert {("", "")} == {(row["low"], row["high"]) for row in csv.DictReader(io.StringIO(out))}
    assert "The weights had not arrived at the optimum when training ended.\n" in err
    assert "No intervals: the weights did not arrive at the optimum, which intervals are about.\n" in err
    rows = written(tmp_path / "rows.csv", "X\n1\n")
    *_, err = words(["predict", str(cases["disagree"]), str(rows)], capsys)
    assert "The run's backends disagree; these are the weights of numpy.\n" in err


def test_words_that_are_off(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown model, column, level or output is told in a line or two."""
    new = written(tmp_path / "new.csv", "x,day,colour,y,low\n1,2024-02-21,blue,3,4\n")
    for line, status, said in (
        (["predict", str(tmp_path), str(new)], 1, "no such file. Name a model.json, or the folder of a run."),
        (["predict", str(new), str(mixed)], 1, "new.csv: is no JSON (line 1: Expecting value). Name a model.json, then the"),
        (["predict", str(mixed), str(tmp_path / "nex.csv")], 1, "no such file. Did you mean new.csv?"),
        (["predict", str(mixed), str(new), "--keep", "z"], 1, "no column 'z' to keep."),
        (["predict", str(mixed), str(new), "--keep", "low"], 1, "a column 'low' to keep, and the output has one of that name."),
        (["predict", str(mixed), str(new), "--output", str(new)], 1, "is what is read. Name another file."),
        (["predict", str(mixed), "http://[x/new.csv"], 1, "new.csv"),
        (["predict", str(mixed), str(new), "--output", str(tmp_path)], 1, "is a folder. Name a file in it."),
        (["predict", str(mixed), str(new), "--output", str(tmp_path / "no" / "x")], 1, "cannot be written (No such file"),
        (["predict", str(mixed), str(new), "--output", "/dev/full"], 1, "cannot be written (No space left on device)"),
        (["predict", str(mixed), str(new), "--level", "1"], 2, "Must be < 1."),
        (["predict", str(mixed), str(new), "--interval", "wide"], 2, "wide"),
        (["predict", str(mixed), str(new), "--thousands", "dot", "--decimal", "dot"], 2, "cannot be the same mark"),
        (["predict", str(mixed)], 2, "CSV"),
    ):  # fmt: skip
        code, _, err = words(line, capsys)
        assert status == code
        assert said in err
        assert "Traceback" not in err
    assert ["new.csv"] == [path.name for path in tmp_path.iterdir()]


def test_a_device_is_written_to_and_not_replaced(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe with a name takes the bytes and stays a pipe."""
    new, pipe = written(tmp_path / "new.csv", "x,day,colour\n1,2024-02-21,blue\n"), tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert (0, "", "") == words(["predict", str(mixed), str(new), "--output", str(pipe)], capsys)
        assert reader.stdout is not None
        assert reader.stdout.read().startswith("line,prediction,low,high\n2,")
    assert pipe.is_fifo()


@pytest.mark.server
def test_run_then_predict_as_whole_processes(database: Path, tmp_path: Path) -> None:
    """The bundled penguins: the RMSE that is said is that of run.json; a reader who has enough ends it without a word."""
    environment = os.environ | {"PREFECT_HOME": str(furnish(tmp_path / "prefect", database))}
    gd, table = [sys.executable, "-m", "gd"], str(bundled("penguins"))
    ran = subprocess.run(
        [*gd, "run", table, "--target", "body_mass_g", "--reports", str(tmp_path), "--json"],
        capture_output=True, text=True, check=True, timeout=200, env=environment,
    )  # fmt: skip
    record = json.loads(ran.stdout)
    folder = tmp_path / "penguins" / record["run"]["id"]
    line = [*gd, "predict", str(folder), table]
    done = subprocess.run(
        [*line, "--output", str(tmp_path / "out.csv")], capture_output=True, text=True, check=True, timeout=60
    )
    first, second = done.stderr.splitlines()
    assert "2 of 344 rows without a prediction: a feature is missing (first in line 5)." == first
    assert second.startswith(f"RMSE {record['inference']['rmse']:.4g} over 342 rows; ")
    rows = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert (345, "5,,,") == (rows.count("\n"), rows.split("\n")[4])
    piped = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    assert rows == piped.stdout
    long = tmp_path / "long.csv"
    head, *held = Path(table).read_text(encoding="utf-8").splitlines(keepends=True)
    long.write_text(head + "".join(held) * 100, encoding="utf-8")
    with subprocess.Popen([*line[:-1], str(long)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "line,prediction,low,high\n" == process.stdout.readline()
        process.stdout.close()
        assert ("", 141) == (process.stderr.read(), process.wait(60))
