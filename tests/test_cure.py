"""Why a run went wrong, and the command that cures it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gd.archive import read_record
from gd.cli import app
from gd.cli import run as command_run
from gd.cure import Cure, changed, cure, without
from gd.data import DataError, Source, bundled
from gd.look import Look
from gd.notation import count, number
from gd.record import Record, Run
from gd.recording import command, failed
from gd.settings import Training, preset
from gd.words import sentence
from tests.conftest import run_tasks, write_csv
from tests.test_report import text_of

PENGUINS = Source(path=str(bundled("penguins")), target="body_mass_g")


def done(words: str, reports: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """What a command comes to: parsed as it is typed, and its one data set run by the flow's own tasks."""
    seen: list[Any] = []
    monkeypatch.setattr(command_run, "_run_flow", lambda given, **_: seen.append((given["sources"], given["training"])))
    first, *rest = shlex.split(words)
    assert "gd" == first
    called, bound, _ = app.parse_args(rest)
    with pytest.raises(AttributeError):  # there is no flow whose result it could tell
        called(*bound.args, **bound.kwargs)
    (((source,), training),) = seen
    return read_record(run_tasks(source, training, reports, "cured", draw=False))


def of(source: Source, training: Training, reports: Path) -> tuple[Record, Cure]:
    """A run and its cure."""
    record = read_record(run_tasks(source, training, reports, "ill", draw=False))
    found = cure(record)
    assert found is not None
    return record, found


def test_a_step_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit, the last finite loss and the first epoch without one; half the limit converges."""
    record, found = of(PENGUINS, Training(learning_rate=1.5), tmp_path)
    fit = record.fits[0]
    assert record.diagnosis is not None
    assert fit.last_finite_epoch is not None
    assert f"2/λmax = {number(record.diagnosis.stable_below)}" in found.reasons[0]
    assert (
        f"The loss was last finite at epoch {count(fit.last_finite_epoch)}, where it was {number(fit.last_finite_loss)}; "
        f"from epoch {count(fit.last_finite_epoch + 1)} on it is not finite." == found.reasons[1]
    )
    assert f"{record.run.command.replace('1.5', '0.25')}" == found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


@pytest.mark.parametrize("rate", [0.001, 1e-9])
def test_a_step_that_is_too_short(rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A better rate is named, and converges; where the present one would do too, how many epochs more."""
    record, found = of(PENGUINS, Training(learning_rate=rate), tmp_path)
    assert record.diagnosis is not None
    assert found.command is not None
    assert found.command.endswith(" --learning-rate 0.44")
    assert ("48,000 more than were run" in found.reasons[0]) == (rate == 0.001)
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_too_few_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no rate is much better, more epochs are advised, as many as it takes."""
    rates = Training(epochs=20, learning_rate=0.4)
    record, found = of(PENGUINS, rates, tmp_path)
    assert "exhausted" == record.verdict
    assert found.command is not None
    assert "--epochs 20" not in found.command
    assert "--learning-rate 0.4 --epochs 1" in found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_a_gradient_that_is_wrong(cases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From which epoch, by how much, what it walks like; with the stated loss's own gradient the backends agree."""
    record = read_record(cases["disagree"])
    found = cure(record)
    assert found is not None
    assert "It is passed at epoch 0" in found.reasons[0]
    assert "NumPy walks as if the learning rate were 0.05 and not 0.01" in found.reasons[1]
    assert "gd run --preset notebook --loss mse" == found.command
    again = done(found.command, tmp_path, monkeypatch)
    assert again.comparison is not None
    assert again.comparison.agree


def test_columns_that_nearly_repeat_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named, and the command leaves one out; the loss is then the least."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    near = np.hstack([x, x + 1e-9 * rng.normal(size=(20, 1))])
    path = write_csv(tmp_path / "near.csv", near, 2 * x[:, 0] + 1 + rng.normal(size=20), ("a", "-b c"))
    record, found = of(Source(path=str(path), target="y"), Training(), tmp_path)
    assert "converged" == record.verdict
    assert "by -b c, which nearly repeats other columns" in found.reasons[0]
    assert found.command is not None
    assert found.command.endswith(" '--leave-out=-b c'")
    again = done(found.command, tmp_path, monkeypatch)
    assert again.diagnosis is not None
    assert again.diagnosis.condition is not None
    assert again.diagnosis.condition < 100
    assert cure(again) is None


def test_columns_left_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without standardising no number of epochs is enough: the option goes, and the run converges."""
    x = np.random.default_rng(0).normal(size=(20, 1))
    path = write_csv(tmp_path / "far.csv", 1e6 + 1e3 * x, 2 * x[:, 0] + 1)
    record, found = of(Source(path=str(path), target="y"), Training(standardize=False), tmp_path)
    assert record.run.command.endswith(" --no-standardize")
    assert record.run.command.removesuffix(" --no-standardize") == found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_a_table_that_an_option_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names it, the command has it, and the table is read."""
    path = tmp_path / "comma.csv"
    path.write_text("x;y\n" + "".join(f"{j},5;{2 * j},25\n" for j in range(20)))
    source = Source(path=str(path), target="y")
    with pytest.raises(DataError) as refused:
        run_tasks(source, Training(), tmp_path)
    now = read_record(run_tasks(PENGUINS, Training(epochs=1), tmp_path, draw=False)).run.started
    run = Run(id="x", started=now, finished=now, version="0", command=command(source, Training()))
    found = cure(failed(run, source, "comma", Training(), refused.value))
    assert found is not None
    assert found.command is not None
    assert found.command.endswith("--target y --decimal ,")
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


@pytest.mark.parametrize(
    ("settings", "removed"),
    [
        ({}, ""),
        ({"epochs": 40}, " --epochs 40"),
        ({"tolerance": 0.1}, ""),
        ({"learning_rate": 500.0}, " --learning-rate 500.0"),
        ({"learning_rate": 2.0}, ""),
    ],
)
def test_a_loss_without_an_optimum(
    settings: dict[str, Any], removed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes that a plane separates: with the penalty there is an optimum; a rate and epochs that cannot do there go."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 2))
    path = write_csv(tmp_path / "a.csv", X, (X[:, 0] + X[:, 1] > 0).astype(float))
    record, found = of(Source(path=str(path), target="y"), Training(loss="logistic", **settings), tmp_path)
    assert record.verdict == ("converged" if "tolerance" in settings else "exhausted")
    assert ("The loss falls for as long as the weights grow" in found.reasons[0], 1) == (True, len(found.reasons))
    words = changed(record.run.command, l2="0.01")
    assert removed in words
    assert words.replace(removed, "") == found.command
    again = done(found.command, tmp_path, monkeypatch)
    assert again.diagnosis is not None
    assert ("converged", True) == (again.verdict, again.diagnosis.attained)
    if "tolerance" not in settings:
        assert cure(again) is None


LENGTHS = Source(path=str(bundled("penguins")), target="flipper_length_mm", features=("bill_length_mm", "body_mass_g"))


@pytest.mark.parametrize(
    ("source", "settings", "verdict", "reason"),
    [
        (LENGTHS, {"loss": "poisson", "learning_rate": 0.1}, "diverged", "steps are stable below 2/λmax = 0.006099"),
        (LENGTHS, {"loss": "poisson", "learning_rate": 1e-9}, "exhausted", "of its first length: the steps are too short"),
        (PENGUINS, {"optimizer": "adam", "learning_rate": 1e200}, "diverged", "No limit of a stable step is known"),
        (PENGUINS, {"optimizer": "adam", "learning_rate": 1e-3}, "exhausted", "of its first length: the steps are too short"),
        (PENGUINS, {"optimizer": "rmsprop", "learning_rate": 1e-3}, "exhausted", "the steps are too short to get anywhere"),
        (PENGUINS, {"optimizer": "adagrad", "learning_rate": 1.0}, "exhausted", "the steps are too short to get anywhere"),
        (PENGUINS, {"loss": "huber", "learning_rate": 5.0}, "exhausted", "as where steps lead past the optimum and back"),
        (PENGUINS, {"loss": "huber", "learning_rate": 1e-6}, "exhausted", "the steps are too short to get anywhere"),
        (PENGUINS, {"l1": 20.0, "learning_rate": 2.0}, "diverged", "No limit of a stable step is known"),
        (PENGUINS, {"optimizer": "momentum", "learning_rate": 1e-4}, "exhausted", "At 0.5555, which auto finds from the"),
        (PENGUINS, {"optimizer": "nesterov", "learning_rate": 1e-4}, "exhausted", "At 0.246, which auto finds from"),
    ],
)  # fmt: skip
def test_a_rate_that_the_data_would_have_told(
    source: Source, settings: dict[str, Any], verdict: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too long or too short a one, and which of them: without the option the run converges."""
    record, found = of(source, Training(**settings), tmp_path)
    assert verdict == record.verdict
    assert reason in " ".join(found.reasons)
    assert "With a rate that is found from the data:" == found.advice
    assert changed(record.run.command, learning_rate=None) == found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_momentum_that_ran_too_short_and_too_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate and epochs in one command."""
    record, found = of(PENGUINS, Training(optimizer="momentum", learning_rate=1e-3, epochs=20), tmp_path)
    assert "exhausted" == record.verdict
    assert found.command is not None
    assert "--learning-rate" not in found.command
    assert found.advice.startswith("With a rate that is found from the data and ")
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


@pytest.mark.parametrize(
    ("optimizer", "formula", "factor"),
    [("momentum", "2(1 + β)/λmax", lambda b: 1 + b), ("nesterov", "2(1 + β)/((1 + 2β)λmax)", lambda b: (1 + b) / (1 + 2 * b))],
)
@pytest.mark.parametrize("decay", ["auto", 0.8])
def test_momentum_above_its_own_limit(
    optimizer: Any, formula: str, factor: Any, decay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is that of its recurrence, Polyak's and Nesterov's, and half of it trains."""
    record, found = of(PENGUINS, Training(optimizer=optimizer, decay=decay, learning_rate=1.0), tmp_path)
    assert record.diagnosis is not None
    assert record.training.decay is not None
    limit = 2 * factor(record.training.decay) / record.diagnosis.eigenvalues[-1]
    assert "diverged" == record.verdict
    assert (
        f"stable below {formula} = {number(limit)}, where λmax = {number(record.diagnosis.eigenvalues[-1])}" in found.reasons[0]
    )
    half = repr(float(f"{limit / 2:.2g}"))
    assert changed(record.run.command, learning_rate=half) == found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


SEXES = Source(
    path=str(bundled("penguins")), target="sex",
    features=("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "settings", "epochs"),
    [
        (PENGUINS, {"loss": "huber", "epochs": 30}, "300"),
        (PENGUINS, {"l1": 20.0, "epochs": 20}, "200"),
        (PENGUINS, {"optimizer": "adam", "epochs": 50}, "500"),
        (PENGUINS, {"learning_rate": "search", "epochs": 20}, "200"),
        (SEXES, {"loss": "logistic", "epochs": 300}, "3000"),
        (SEXES, {"loss": "logistic", "epochs": 100}, None),  # ten times as many would not do: the contraction says how many
    ],
)  # fmt: skip
def test_too_few_epochs_of_steps_without_a_theory(
    source: Source, settings: dict[str, Any], epochs: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as many, or as many as the slowest direction takes."""
    record, found = of(source, Training(**settings), tmp_path)
    assert "exhausted" == record.verdict
    assert "The gradient was still falling when the epochs ended" in found.reasons[0]
    assert found.command is not None
    if epochs is not None:
        assert changed(record.run.command, epochs=epochs) == found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_a_setting_is_changed_and_not_named_twice() -> None:
    """Whatever else the command says: the settings of the training are its last words."""
    look = Look(zone="Europe/Berlin", numbers="de")
    said = command(Source(path="a.csv", target="y"), Training(epochs=5, validation="column:a b"), look)
    assert said == "gd run a.csv --target y --zone Europe/Berlin --numbers de --validate 'column:a b' --epochs 5"
    assert changed(said, epochs="10", l2="0.1") == said.replace("--epochs 5", "--epochs 10 --l2 0.1")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"batch_size": 32, "epochs": 50}, "A step of a batch goes by the gradient of 32 rows, which is not flat"),
        ({"optimizer": "adamw", "epochs": 50}, "AdamW’s decay of the weights is no part of the loss"),
    ],
)
def test_what_no_setting_cures(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Batches and a decay of the weights hold a descent off the optimum: that is said, and nothing is advised."""
    record, found = of(PENGUINS, Training(**settings), tmp_path)
    assert "exhausted" == record.verdict
    assert found.reasons[0].startswith(reason)
    assert (1, "", None) == (len(found.reasons), found.advice, found.command)


@pytest.mark.parametrize(
    "settings", [{}, {"learning_rate": 1e-3}, {"optimizer": "nesterov"}, {"loss": "huber"}, {"learning_rate": (0.01, 0.1)}]
)
def test_a_valley_that_no_column_is_to_blame_for(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Condition 1e8 on standardised features, none of which repeats another: with scaled steps the run converges."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200, 3))
    X[:, 2] = X[:, 0] + X[:, 1] + 3e-4 * X[:, 2]
    path = write_csv(tmp_path / "valley.csv", X, X @ [3.0, 2.0, 1.0] + rng.normal(size=200))
    record, found = of(Source(path=str(path), target="y"), Training(**settings), tmp_path)
    assert record.diagnosis is not None
    assert record.diagnosis.condition is not None
    assert ("exhausted", 8) == (record.verdict, round(np.log10(record.diagnosis.condition)))
    assert () == record.dataset.remarks
    assert "times as curved in one direction as in another" in " ".join(found.reasons)
    assert changed(record.run.command, precondition="whiten", learning_rate=None) == found.command
    again = done(found.command, tmp_path, monkeypatch)
    assert ("converged", True) == (again.verdict, again.fits[0].epochs < 100)
    assert cure(again) is None


def test_a_penalty_makes_weights_unique(tmp_path: Path) -> None:
    """More columns than rows: without a word of others that fit as well, and nothing to be cured."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20, 30))
    path = write_csv(tmp_path / "wide.csv", X, X[:, 0] + 0.1 * rng.normal(size=20))
    folder = run_tasks(Source(path=str(path), target="y"), Training(l2=0.1), tmp_path)
    record = read_record(folder)
    assert ("converged", None) == (record.verdict, cure(record))
    assert "not unique" not in sentence(record)
    text = text_of((folder / "report.html").read_text(encoding="utf-8"))
    assert "not unique" not in text
    assert "unique by the L2 penalty alone" in text


def test_a_stop_beyond_the_limit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends a descent that diverges before anything overflows: the rate is to blame, and half the limit cures it."""
    training = Training(validation="0.5", patience=1, learning_rate=0.6)
    record, found = of(PENGUINS, training, tmp_path)
    assert record.diagnosis is not None
    assert record.diagnosis.stable_below is not None
    half = f"{record.diagnosis.stable_below / 2:.2g}"
    assert sentence(record).endswith(f" is not below the stable limit 0.494. Try --learning-rate {half}.")
    assert found.command is not None
    assert f" --learning-rate {half}" in found.command
    assert "is not below" not in sentence(done(found.command, tmp_path, monkeypatch))


def test_columns_too_alike_are_not_whitened(tmp_path: Path) -> None:
    """At a condition number of 1e16 whitened steps have no digits left that two backends could agree on."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1))
    near = np.hstack([x, x + 1e-7 * rng.normal(size=(40, 1))])
    path = write_csv(tmp_path / "near.csv", near, x[:, 0] + rng.normal(size=40))
    record = read_record(run_tasks(Source(path=str(path), target="y"), Training(epochs=300), tmp_path, draw=False))
    assert record.diagnosis is not None
    assert (record.diagnosis.condition or np.inf) > 1e10
    found = cure(record)
    assert found is None or "whiten" not in str(found.command)
    assert "--leave-out" in sentence(record)


def test_rmsprop_at_a_rate_that_never_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of epochs brings it to rest: a rate of its own does."""
    record, found = of(PENGUINS, Training(optimizer="rmsprop", learning_rate=10.0, epochs=3000), tmp_path)
    assert sentence(record).endswith("RMSProp's steps do not rest while the rate is what it is. Try --learning-rate auto.")
    assert found.command is not None
    assert "--learning-rate" not in found.command
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


def test_float32_is_not_asked_for_more_digits_than_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither other epochs nor another rate bring them: double precision does."""
    record, found = of(PENGUINS, Training(dtype="float32", tolerance=1e-10, epochs=300), tmp_path)
    assert "rounding may keep it from it" in sentence(record)
    assert ("In double precision:", True) == (found.advice, "float64" in (found.command or ""))
    assert "converged" == done(found.command or "", tmp_path, monkeypatch).verdict


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "momentum", "epochs": 20}, {"optimizer": "nesterov", "epochs": 20},
        {"optimizer": "momentum", "epochs": 100, "learning_rate": 0.001},
        {"optimizer": "nesterov", "epochs": 50, "learning_rate": 0.001},
    ],
    ids=str,
)  # fmt: skip
def test_momentum_is_advised_as_many_epochs_as_its_decay_then_needs(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decay is the best for the epochs that it is given: with more of them fewer are needed than at the present one."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 4)) @ np.linalg.cholesky(0.999 * np.ones((4, 4)) + 0.001 * np.eye(4)).T
    path = write_csv(tmp_path / "t.csv", X, X.sum(axis=1) + rng.normal(size=200))
    record, found = of(Source(path=str(path), target="y"), Training(**settings), tmp_path)
    assert "exhausted" == record.verdict
    assert found.command is not None
    (advised,) = re.findall(r" --epochs (\d+)", found.command) or ["1000"]
    again = done(found.command, tmp_path, monkeypatch)
    assert "converged" == again.verdict
    if advised != "1000":
        assert again.fits[0].epochs > int(advised) / 3


def test_a_batch_of_all_rows_is_no_cloud(tmp_path: Path) -> None:
    """Its steps are plain ones, and more of them are what is missing."""
    record, found = of(PENGUINS, Training(batch_size=1000, epochs=20), tmp_path)
    assert "cloud" not in sentence(record) + " ".join(found.reasons)
    assert found.command is not None
    assert "--epochs" in found.command


@pytest.mark.parametrize(
    ("settings", "said", "reason"),
    [
        ({"optimizer": "adamw", "learning_rate": 0.001, "epochs": 50}, "the decay of AdamW", "AdamW’s decay"),
        ({"batch_size": 16, "learning_rate": 1e-7, "epochs": 20}, "seems too short", "the steps are too short"),
        ({"loss": "huber", "delta": 0.01, "optimizer": "adam", "epochs": 1}, "allow more epochs", "where the epochs end"),
    ],
    ids=str,
)
def test_sentence_and_cure_say_the_same(settings: dict[str, Any], said: str, reason: str, tmp_path: Path) -> None:
    """Whatever it is, both name it."""
    record, found = of(PENGUINS, Training(**settings), tmp_path)
    assert said in sentence(record)
    assert reason in found.reasons[0]


def test_nothing_is_cured_where_nothing_is_wrong(cases: dict[str, Path]) -> None:
    """No section, no command."""
    assert cure(read_record(cases["converged"])) is None
    assert 'id="why"' not in (cases["converged"] / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", ["exhausted", "diverged", "disagree"])
def test_the_page_says_it_at_once(verdict: str, cases: dict[str, Path]) -> None:
    """Reasons and command stand between the verdict and the result, from `run.json` alone."""
    found = cure(read_record(cases[verdict]))
    assert found is not None
    assert found.command is not None
    text = text_of((cases[verdict] / "report.html").read_text(encoding="utf-8"))
    places = [text.index(words) for words in (*found.reasons, found.advice, found.command, "Where each backend ended")]
    assert sorted(places) == places


@pytest.mark.parametrize(
    ("words", "settings", "expected"),
    [
        ("gd run a.csv --target y", {"epochs": "5"}, "gd run a.csv --target y --epochs 5"),
        ("gd run a.csv --epochs 9 --dtype float32", {"epochs": "5"}, "gd run a.csv --epochs 5 --dtype float32"),
        ("gd run a.csv --target y --no-standardize", {"standardize": None}, "gd run a.csv --target y"),
        ("gd run a.csv --learning-rate 0.1,1e-3", {"learning_rate": "0.2"}, "gd run a.csv --learning-rate 0.2"),
        ("gd run 'a --epochs 7' --target 'y -a 3'", {"epochs": "5"}, "gd run 'a --epochs 7' --target 'y -a 3' --epochs 5"),
        ("gd run a.csv --target '--epochs 3' --epochs 3", {"epochs": "5"}, "gd run a.csv --target '--epochs 3' --epochs 5"),
    ],
)  # fmt: skip
def test_settings_are_changed_in_place(words: str, settings: dict[str, str | None], expected: str) -> None:
    """Once each, and no name of a file or a column is taken for one."""
    assert expected == changed(words, **settings)


@pytest.mark.parametrize(
    ("words", "columns", "expected"),
    [
        ("gd run a.csv --target y", ["b"], "gd run a.csv --target y --leave-out b"),
        ("gd run a.csv --target y", ["b", "c d", "e,f"], "gd run a.csv --target y --leave-out 'b,c d,\"e,f\"'"),
        ("gd run a.csv --target y --leave-out c", ["b"], "gd run a.csv --target y --leave-out c,b"),
        ("gd run a.csv --target y --features a,b", ["b"], "gd run a.csv --target y --features a"),
        ("gd run a.csv --target y --features b", ["b"], None),
        ("gd run $'a\\303.csv' --target y", ["b"], None),
    ],
)
def test_columns_are_left_out_beside_others(words: str, columns: list[str], expected: str | None) -> None:
    """What was left out stays so; what was named is named no longer."""
    assert expected == without(words, columns)


def test_every_command_reads_what_it_was(tmp_path: Path) -> None:
    """Changing nothing changes nothing, whatever the settings."""
    trained = Training(
        learning_rate=(0.1, 0.2), epochs=7, tolerance=1e-3, keep_weights=3, dtype="float32", method="moments", intercept=False,
        standardize=False, backends=("torch",),
    )  # fmt: skip
    for training in (trained, preset("notebook"), Training()):
        words = command(Source(path="a b.csv", target="--epochs"), training)
        assert words == changed(words)


def test_a_record_of_before_has_a_cure(reports: dict[str, Any]) -> None:
    """Nothing in `run.json` was added for it."""
    record = reports["diverged"].record
    again = Record.model_validate_json(record.to_json())
    assert cure(record) == cure(again)
