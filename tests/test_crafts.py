"""Other losses, penalties, steps and ways to validate, as whole runs: what run.json, the log and the report say of them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge

from gd import archive, backends
from gd.cli.run import Steps
from gd.data import Array, Dataset, Source, bundled
from gd.epoch_table import epoch_table
from gd.figures import loss_words
from gd.problems import huber
from gd.reading import read, read_csv
from gd.record import Record
from gd.recording import command
from gd.refusal import DataError
from gd.settings import Training
from gd.splitting import Split
from gd.validation import cross_validate
from tests.conftest import CRAFTS, run_tasks, write_csv


def of(crafts: dict[str, Path], name: str) -> Record:
    """The record of one of the runs."""
    return archive.read_record(crafts[name])


def standardised(data: Dataset) -> tuple[Array, Array, Array]:
    """The features with mean 0 and mean square 1, and both of these as they were."""
    shift, scale = data.X.mean(axis=0), data.X.std(axis=0)
    return (data.X - shift) / scale, shift, scale


def weights(record: Record) -> tuple[Array, float]:
    """Of the first backend, in the units of the CSV."""
    fit = record.fits[0]
    return np.array(list(fit.weights.values()), dtype=float), fit.intercept or 0.0


def sexes() -> tuple[Array, Array]:
    """Four measures of the penguins whose sex is known, and whether they are male: in the order of the file."""
    rows = list(csv.DictReader(bundled("penguins").read_text(encoding="utf-8").splitlines()))
    names = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    known = [row for row in rows if row["sex"] not in {"", "NA"} and all(row[name] not in {"", "NA"} for name in names)]
    return np.array([[float(row[name]) for name in names] for row in known]), np.array([row["sex"] == "male" for row in known])


def test_classes_of_text_are_told_apart(crafts: dict[str, Path]) -> None:
    """Weights in CSV units are those of scikit-learn's LogisticRegression on the rows that were not held out; so are losses."""
    record = of(crafts, "classes")
    X, male = sexes()
    held = round(0.2 * len(X))
    trained, rest = X[:-held], X[-held:]
    shift, scale = trained.mean(axis=0), trained.std(axis=0)
    peer = LogisticRegression(C=math.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    peer.fit((trained - shift) / scale, male[:-held])
    expected = peer.coef_[0] / scale
    found, intercept = weights(record)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert pytest.approx(peer.intercept_[0] - expected @ shift, rel=1e-6) == intercept
    assert (len(trained), held) == (record.dataset.rows_used, record.dataset.rows_held)
    probability = expit(rest @ found + intercept)
    loss = -np.mean(np.where(male[-held:], np.log(probability), np.log(1 - probability)))
    assert [pytest.approx(loss, rel=1e-9)] * 2 == [fit.validation_loss for fit in record.fits]
    none = male[:-held].mean()
    null = -(none * math.log(none) + (1 - none) * math.log(1 - none))
    assert record.fits[0].loss is not None
    assert pytest.approx(1 - record.fits[0].loss / null, rel=1e-9) == record.fits[0].d2
    assert record.fits[0].r2 is None
    assert record.inference is None
    assert [("female", "male")] == [one.levels for one in record.dataset.encoded]


def test_counts_are_those_of_scikit_learn(crafts: dict[str, Path]) -> None:
    """Weights of the Poisson loss, found by a line search whose rates are in the log."""
    record, log = archive.read_run(crafts["counts"])
    data = read_csv(bundled("penguins"), "flipper_length_mm", ("bill_length_mm", "body_mass_g"))
    Z, shift, scale = standardised(data)
    peer = PoissonRegressor(alpha=0, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(Z, data.y)
    found, intercept = weights(record)
    np.testing.assert_allclose(found, peer.coef_ / scale, rtol=1e-6)
    assert pytest.approx(peer.intercept_ - (peer.coef_ / scale) @ shift, rel=1e-6) == intercept
    assert ("converged", "search", "search") == (
        record.verdict, record.training.learning_rate_setting, record.training.found_by
    )  # fmt: skip
    assert log is not None
    _, rates = log.entries("learning_rate")
    assert (rates[np.isfinite(rates)] > 0).all()
    assert len(set(rates.tolist())) > 1


def test_searched_rates_are_the_first_backends(crafts: dict[str, Path], tmp_path: Path) -> None:
    """Of two backends whose searches may part by rounding, those of the first: as in a run of it alone."""
    source, training = CRAFTS["counts"]
    alone = run_tasks(source, training.model_copy(update={"backends": ("numpy",)}), tmp_path, draw=False)
    (_, one), (_, both) = archive.read_run(alone), archive.read_run(crafts["counts"])
    assert one is not None
    assert both is not None
    np.testing.assert_array_equal(one["learning_rate"], both["learning_rate"][: len(one)])


def test_an_l1_penalty_takes_weights_out(crafts: dict[str, Path], penguins: Dataset) -> None:
    """The same weights are exactly zero as of scikit-learn's Lasso, whose alpha is half of ours; the others agree."""
    record = of(crafts, "sparse")
    Z, _, scale = standardised(penguins)
    peer = Lasso(alpha=10.0, tol=1e-14, max_iter=1_000_000).fit(Z, penguins.y)
    found, _ = weights(record)
    np.testing.assert_array_equal(peer.coef_ == 0, found == 0)
    np.testing.assert_allclose(found, peer.coef_ / scale, rtol=1e-6)
    fit = record.fits[0]
    assert fit.loss is not None
    assert fit.unpenalised_loss is not None
    assert pytest.approx(fit.unpenalised_loss + 20 * np.abs(peer.coef_).sum(), rel=1e-9) == fit.loss


def test_a_penalty_is_chosen_by_folds(crafts: dict[str, Path]) -> None:
    """The path is that of `cross_validate` on the same folds, the best is trained with, and it is scikit-learn's Ridge."""
    record = of(crafts, "folded")
    found = record.cross_validation
    assert found is not None
    assert (4, found.best, "auto") == (found.folds, found.chosen, record.training.l2_setting)
    assert found.chosen == record.training.l2
    assert min(found.path, key=lambda one: one.loss).penalty == found.best
    data = read_csv(bundled("penguins"), "body_mass_g")
    Z, shift, scale = standardised(data)
    peer = Ridge(alpha=found.best * len(Z), tol=1e-14).fit(Z, data.y)
    weight, intercept = weights(record)
    np.testing.assert_allclose(weight, peer.coef_ / scale, rtol=1e-6)
    assert pytest.approx(peer.intercept_ - weight @ shift, rel=1e-6) == intercept
    assert (3, "step", 0.1, 334) == (
        record.training.warm_up, record.training.schedule, record.training.schedule_factor, record.training.schedule_every
    )  # fmt: skip


def test_the_path_is_the_librarys(tmp_path: Path) -> None:
    """Of folds that are read again from the file with the same seed."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    record = archive.read_record(run_tasks(source, Training(folds=3, seed=7, l2=0.5), tmp_path, draw=False))
    assert record.cross_validation is not None
    data = read([source.path], source, split=Split(folds=3, seed=7))
    path = record.cross_validation.path
    expected = cross_validate(data.folds, [one.penalty for one in path])
    np.testing.assert_allclose([one.loss for one in path], expected.mean, rtol=1e-12)
    np.testing.assert_allclose([one.error for one in path], expected.error, rtol=1e-9)
    assert (0.5, "fixed") == (record.cross_validation.chosen, record.training.l2_setting)


def test_a_stop_keeps_the_best_weights(crafts: dict[str, Path]) -> None:
    """The epoch of the least loss on the rows held out, five epochs before the end; both backends see the same batches."""
    record, log = archive.read_run(crafts["stopped"])
    assert log is not None
    first, second = record.fits
    losses = log["numpy_validation_loss"]
    assert ("stopped", int(np.argmin(losses))) == (first.outcome, first.best_epoch)
    assert len(losses) - 1 == int(np.argmin(losses)) + 5
    assert pytest.approx(losses.min(), rel=1e-12) == first.validation_loss
    assert (first.epochs, first.best_epoch) == (second.epochs, second.best_epoch)
    np.testing.assert_allclose(log["torch_loss"], log["numpy_loss"], rtol=1e-9)
    assert ("converged", True) == (record.verdict, record.comparison is not None and record.comparison.agree)
    assert ("batches", "cosine", 32) == (record.training.found_by, record.training.schedule, record.training.batch_size)
    _, rates = log.entries("learning_rate")
    assert (np.diff(rates) < 0).all()


def test_losses_between_batches_are_of_full_passes(penguins: Dataset, tmp_path: Path) -> None:
    """Each is that of all rows at the weights that the epoch before left; page, picture and mail name it, of batches alone."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(batch_size=50, epochs=5, backends=("numpy",)), tmp_path)
    record, log = archive.read_run(folder)
    assert log is not None
    theta = np.column_stack([log[f"numpy_weight_{name}"] for name in record.dataset.features])
    left = penguins.y[:, None] - penguins.X @ theta.T - log["numpy_intercept"]
    np.testing.assert_allclose(log["numpy_loss"][1:], (left**2).mean(axis=0)[:-1], rtol=1e-9)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "those of all rows trained on, by a full pass before the epoch’s steps; weights are taken after them" in page
    assert 2 == page.count("by a full pass")
    assert "by a full pass" in loss_words(record, log)[0]
    plain, log = archive.read_run(run_tasks(source, Training(epochs=5), tmp_path, "plain", draw=False))
    assert log is not None
    assert "full pass" not in epoch_table(plain, log).before + loss_words(plain, log)[0]


@pytest.mark.parametrize(("loss", "l1"), [("huber", 0.0), ("huber", 2.0), ("poisson", 0.0)])
def test_what_float32_leaves_above_the_optimum_is_not_its_rounding(loss: str, l1: float, tmp_path: Path) -> None:
    """The excess of run.json is that of its weights in float64: of a descent that arrived next to nothing."""
    source = Source(path=str(bundled("penguins")), target="flipper_length_mm", features=("bill_length_mm", "body_mass_g"))
    training = Training(loss=loss, l1=l1, optimizer="nesterov", dtype="float32", epochs=2000)
    record = archive.read_record(run_tasks(source, training, tmp_path, draw=False))
    assert record.diagnosis is not None
    assert record.diagnosis.excess_loss is not None
    assert record.diagnosis.optimum_loss is not None
    assert 0 <= record.diagnosis.excess_loss < 1e-6 * record.diagnosis.optimum_loss


def test_outliers_pull_less(crafts: dict[str, Path], penguins: Dataset) -> None:
    """At the weights of Huber's loss with an L2 penalty the gradient is flat: of all rows, found again from the CSV."""
    record = of(crafts, "robust")
    Z, shift, scale = standardised(penguins)
    found, intercept = weights(record)
    theta = np.append(found * scale, intercept + found @ shift)
    assert record.training.delta is not None
    A = np.column_stack([Z, np.ones(len(Z))])
    problem = huber(A, penguins.y, record.training.delta)
    _, gradient = problem.value_and_gradient(theta, *problem.arrays)
    gradient[:-1] += 2 * 0.01 * theta[:-1]
    assert np.linalg.norm(gradient) < 1e-8 * np.linalg.norm(problem.value_and_gradient(0 * theta, *problem.arrays)[1])
    assert "whiten" == record.training.precondition
    assert record.fits[0].epochs < 100


def test_every_run_says_what_it_was(crafts: dict[str, Path]) -> None:
    """Its own command, read back by the same settings, is the run; and run.json is strict JSON."""
    for folder in crafts.values():
        text = (folder / "run.json").read_text(encoding="utf-8")
        record = Record.model_validate(json.loads(text, parse_constant=pytest.fail))
        assert record.run.command.startswith("gd run ")
        for fit in record.fits:
            assert (fit.validation_loss is not None) == (record.training.validation is not None)


def test_the_command_says_every_setting() -> None:
    """Each setting that is not usual is an option of the command, under the same name."""
    training = Training(
        loss="huber", delta=2.0, l2=0.1, optimizer="nesterov", decay=0.5, schedule="exponential", schedule_factor=0.5,
        warm_up=3, seed=4, validation="column:a b", patience=2, device="cpu", epochs=7,
    )  # fmt: skip
    words = command(Source(path="a.csv", target="y"), training)
    assert words == (
        "gd run a.csv --target y --validate 'column:a b' --loss huber --delta 2.0 --l2 0.1 --optimizer nesterov --decay 0.5 "
        "--schedule exponential --schedule-factor 0.5 --warm-up 3 --seed 4 --epochs 7 --patience 2 --device cpu"
    )
    options = {name for name in Steps.__dataclass_fields__ if name != "validate"}
    assert options <= set(Training.model_fields)


@pytest.mark.parametrize(("loss", "y", "expected"), [
    ("poisson", [1.0, 2.0, -3.0, 4.0], "column 'y': the Poisson loss is of counts, and -3 is below 0."),
    ("logistic", [1.0, 2.0, 3.0, 4.0], "column 'y': "),
])  # fmt: skip
def test_a_target_that_the_loss_does_not_know(loss: str, y: list[float], expected: str, tmp_path: Path) -> None:
    """One line with column and remedy."""
    path = write_csv(tmp_path / "a.csv", np.arange(4.0)[:, None], np.array(y))
    with pytest.raises(DataError, match="--loss mse") as raised:
        run_tasks(Source(path=str(path), target="y"), Training(loss=loss), tmp_path)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_classes_that_a_plane_separates_have_no_optimum(tmp_path: Path) -> None:
    """Said in the verdict, in run.json and on the page, with the penalty that gives one; with it there is one."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 2))
    path = write_csv(tmp_path / "a.csv", X, (X[:, 0] + X[:, 1] > 0).astype(float))
    source = Source(path=str(path), target="y")
    folder = run_tasks(source, Training(loss="logistic", epochs=50), tmp_path / "endless")
    record = archive.read_record(folder)
    assert record.diagnosis is not None
    assert (False, None, None) == (record.diagnosis.attained, record.diagnosis.optimum_loss, record.diagnosis.excess_loss)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "It has no optimum" in page
    assert "figures/excess" not in page
    with_l2 = Training(loss="logistic", l2=0.01, epochs=2000)
    penalised = archive.read_record(run_tasks(source, with_l2, tmp_path / "held", draw=False))
    assert penalised.diagnosis is not None
    assert ("converged", True) == (penalised.verdict, penalised.diagnosis.attained)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_momentum_has_its_theory(optimizer: str, tmp_path: Path) -> None:
    """Every epoch's excess loss is predicted, and the epochs to 1e-6 of the first."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(optimizer=optimizer, epochs=300), tmp_path, draw=False)
    record, log = archive.read_run(folder)
    assert log is not None
    assert record.diagnosis is not None
    excess, theory = log["numpy_excess_loss"], log["theory_excess_loss"]
    seen = excess > 1e-12 * excess[0]
    np.testing.assert_allclose(excess[seen], theory[seen], rtol=1e-6)
    assert int(np.flatnonzero(excess <= 1e-6 * excess[0])[0]) == record.diagnosis.predicted_epochs
    plain = archive.read_record(run_tasks(source, Training(epochs=300), tmp_path, "plain", draw=False))
    assert plain.diagnosis is not None
    assert record.fits[0].epochs < plain.fits[0].epochs


def test_moments_and_rows_validate_the_same(tmp_path: Path) -> None:
    """Losses on the rows held out, epoch by epoch, whichever the training is on."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    logs = []
    for method in ("rows", "moments"):
        training = Training(validation="0.3", method=method, epochs=40, tolerance=0)
        _, log = archive.read_run(run_tasks(source, training, tmp_path, method, draw=False))
        assert log is not None
        logs.append(log["numpy_validation_loss"])
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-10)


def test_devices_are_named(tmp_path: Path) -> None:
    """Where each backend computed stands in run.json; a GPU in the report too."""
    source = Source(path=str(bundled("notebook")), target="Y")
    record = archive.read_record(run_tasks(source, Training(epochs=5), tmp_path, draw=False))
    places = backends.settled(["numpy", "torch"], "auto")
    assert {name: backends.get(name).device_title(place) for name, place in places.items()} == record.training.devices
    if "cuda" not in backends.get("torch").devices():
        with pytest.raises(ValueError, match="no device 'cuda'"):
            run_tasks(source, Training(epochs=5, device="cuda"), tmp_path, "cuda")
