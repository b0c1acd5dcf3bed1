"""Why a run went wrong, and the command that cures it."""

from __future__ import annotations

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
from gd.notation import count, number
from gd.record import Record, Run
from gd.recording import command, failed
from gd.settings import Training, preset
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
    return read_record(run_tasks(source, training, reports, "cured"))


def of(source: Source, training: Training, reports: Path) -> tuple[Record, Cure]:
    """A run and its cure."""
    record = read_record(run_tasks(source, training, reports, "ill"))
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
    now = read_record(run_tasks(PENGUINS, Training(epochs=1), tmp_path)).run.started
    run = Run(id="x", started=now, finished=now, version="0", command=command(source, Training()))
    found = cure(failed(run, source, "comma", Training(), refused.value))
    assert found is not None
    assert found.command is not None
    assert found.command.endswith("--target y --decimal ,")
    assert "converged" == done(found.command, tmp_path, monkeypatch).verdict


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
