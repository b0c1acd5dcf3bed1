"""The verdict's sentence where the loss, the steps or the end of a run are not those of plain descent to an optimum."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gd.archive import read_run, write_report
from gd.data import Array, Source, bundled
from gd.figures import loss_words
from gd.look import Look
from gd.notation import number
from gd.record import Record
from gd.settings import Training
from gd.words import sentence
from tests.conftest import run_tasks, write_csv
from tests.test_report import text_of

PENGUINS = Source(path=str(bundled("penguins")), target="body_mass_g")
STEPS: dict[str, dict[str, Any]] = {
    "stuck": {"loss": "huber", "learning_rate": 5.0},
    "short": {"loss": "huber", "learning_rate": 1e-6},
    "further": {"loss": "huber", "epochs": 30},
    "adamw": {"optimizer": "adamw", "epochs": 50},
    "batches": {"batch_size": 32, "epochs": 20},
    "one batch": {"batch_size": 1000, "epochs": 20},
    "bounces": {"optimizer": "rmsprop", "learning_rate": 10.0, "epochs": 3000},
    "unmoved": {"loss": "huber", "delta": 0.01, "optimizer": "adam", "epochs": 1},
    "unknown": {"optimizer": "adam", "learning_rate": 1e200},
    "momentum": {"optimizer": "momentum", "learning_rate": 1.0},
    "nesterov": {"optimizer": "nesterov", "learning_rate": 1.0},
    "slow": {"optimizer": "momentum", "learning_rate": 1e-4},
    "stopped": {"validation": "0.25", "patience": 5, "batch_size": 32},
    "stopped alone": {"validation": "0.25", "patience": 5, "batch_size": 32, "backends": ("numpy",)},
}  # fmt: skip
CLASSES: dict[str, dict[str, Any]] = {
    "endless": {"epochs": 50},
    "endless alone": {"epochs": 50, "backends": ("torch",)},
    "rested": {"tolerance": 0.1},
    "rested alone": {"tolerance": 0.1, "backends": ("numpy",)},
}  # fmt: skip
TIMES = r"epochs the loss is (?P<above>\S+) times the optimum's"
PER_CENT = r"epochs the loss is (?P<percent>\S+) % above the optimum"
STILL = r", and the gradient is still (?P<share>\S+) of its first length: the learning rate "
ABOVE = (
    r"The learning rate 1 is above the stable limit (?P<limit>\S+); the loss was last finite at epoch (?P<last>\S+)\. "
    r"Try --learning-rate (?P<half>\S+)\."
)
STOPPED = r"(?P<epochs>\S+) of 1,000 epochs, 5 epochs after the loss on the rows held out was least, "
RESTED = r"came to rest after (?P<epochs>\S+) of 1,000 epochs at a loss without an optimum"
EXPECTED = {  # numbers stand in groups, and are those of run.json; what is not a group is the whole rest
    "stuck": f"After 1,000 {TIMES}{STILL}5 seems too long\\. Try --learning-rate auto\\.",
    "short": f"After 1,000 {TIMES}{STILL}1e-06 seems too short\\. Try --learning-rate auto\\.",
    "further": f"After 30 {PER_CENT}, and the gradient has fallen to (?P<share>\\S+) of its first length, where 1e-10 counts "
    r"as flat: allow more epochs\.",
    "adamw": f"After 50 {TIMES}: the decay of AdamW holds the weights off the optimum of the loss, so that its gradient "
    r"does not become flat\.",
    "one batch": f"After 20 {PER_CENT}, and the gradient has fallen to (?P<share>\\S+) of its first length, where 1e-10 counts "
    r"as flat: allow more epochs\.",
    "bounces": f"After 3,000 {PER_CENT}, and the gradient stays at (?P<share>\\S+) of its first length: RMSProp's steps do not "
    r"rest while the rate is what it is\. Try --learning-rate auto\.",
    "unmoved": r"After 1 epoch the loss is (?P<above>\S+) times the optimum's, and the gradient is still (?P<share>\S+) of its "
    r"first length: allow more epochs\.",
    "batches": f"After 20 {PER_CENT}: steps that see 32 rows at once end in a cloud around the optimum, whose gradient is not "
    r"flat\.",
    "unknown": r"At the learning rate 1e\+200 the loss rose; the loss was last finite at epoch (?P<last>\S+)\. "
    r"Try --learning-rate auto\.",
    "momentum": ABOVE,
    "nesterov": ABOVE,
    "slow": f"After 1,000 {TIMES}; about [\\d,]+ epochs would bring what is above it to 1e-06 of what it was\\.",
    "stopped": f"NumPy and PyTorch stopped after {STOPPED}took the weights of epoch (?P<best>\\S+) and never differed by more "
    r"than \S+, relative to the weights\.",
    "stopped alone": f"NumPy stopped after {STOPPED}and took the weights of epoch (?P<best>\\S+)\\. No other backend ran to "
    r"check it\.",
    "endless": r"After 50 epochs the loss is (?P<loss>\S+)\. It has no optimum: it falls for as long as the weights grow, "
    r"since some of the features tell the target's values apart without an error\. A penalty such as --l2 0\.01 gives it one\.",
    "rested": f"NumPy and PyTorch {RESTED} and never differed(?: by more than \\S+, relative to the weights)?\\.",
    "rested alone": f"NumPy {RESTED}\\. No other backend ran to check it\\.",
}  # fmt: skip
EXPECTED["endless alone"] = EXPECTED["endless"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two classes that a straight line separates."""
    X: Array = np.random.default_rng(1).normal(size=(60, 2))
    path = write_csv(tmp_path_factory.mktemp("classes") / "a.csv", X, (X[:, 0] + X[:, 1] > 0).astype(float))
    return Source(path=str(path), target="y")


@pytest.fixture(scope="module")
def ended(classes: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run for each sentence."""
    reports = tmp_path_factory.mktemp("ended")
    asked: list[tuple[str, Source, dict[str, Any]]] = [
        *((name, PENGUINS, settings) for name, settings in STEPS.items()),
        *((name, classes, {"loss": "logistic"} | settings) for name, settings in CLASSES.items()),
    ]
    return {name: run_tasks(source, Training(**settings), reports, name.replace(" ", "-")) for name, source, settings in asked}


def numbers_of(record: Record) -> dict[str, str]:
    """What the groups of a sentence have to be, from run.json alone."""
    found, fit = record.diagnosis, record.fits[0]
    assert found is not None
    norms = [one.gradient_norm for one in record.fits if one.gradient_norm is not None]
    known = {"epochs": str(fit.epochs), "best": str(fit.best_epoch), "last": str(fit.last_finite_epoch)}
    if found.excess_loss is not None and found.optimum_loss:
        known["above"] = number(1 + found.excess_loss / found.optimum_loss, 3, plain=True)
        known["percent"] = number(100 * found.excess_loss / found.optimum_loss, 2, plain=True)
    if norms and found.first_gradient_norm:
        known["share"] = number(max(norms) / found.first_gradient_norm, 2, plain=True)
    if found.stable_below is not None:
        known["limit"] = number(found.stable_below, 3, plain=True)
        known["half"] = number(found.stable_below / 2, 2, plain=True)
    return known | {"loss": number(fit.loss, plain=True)}


@pytest.mark.parametrize("name", [*STEPS, *CLASSES])
def test_each_end_has_its_sentence(name: str, ended: dict[str, Path]) -> None:
    """In plain ASCII for terminals and mails, its numbers those of run.json; on the page the same in typographic signs."""
    record, _ = read_run(ended[name])
    said = sentence(record, plain=True)
    assert said.isascii()
    match = re.fullmatch(EXPECTED[name], said)
    assert match is not None, said
    known = numbers_of(record)
    assert {group: known[group] for group in match.groupdict()} == match.groupdict()
    text = text_of((ended[name] / "report.html").read_text(encoding="utf-8"))
    assert sentence(record).replace("‑", "-") in text.replace("‑", "-")


@pytest.mark.parametrize("name", [*STEPS, *CLASSES])
def test_no_number_is_missing_from_a_page(name: str, ended: dict[str, Path]) -> None:
    """No NaN, no None and no dash stands where a sentence wants a number; an optimum is named only where there is one."""
    record, log = read_run(ended[name])
    assert log is not None
    assert record.diagnosis is not None
    page = (ended[name] / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"Counted as missing.*?Target", "", text_of(page), count=1)
    assert not re.search(r"\b(nan|None|inf)\b| (of|is|to|at|about) — ", text)
    assert record.verdict == "diverged" or "not a number" not in text  # in whose table of epochs that is what there was
    caption, alt = loss_words(record, log)
    assert "not a number" not in alt
    assert ("There is no optimum." in alt) == (not record.diagnosis.attained)
    assert caption in text
    if not record.diagnosis.attained:
        assert "falls for as long as the weights grow" in caption
        assert "Stable below" not in text
        assert "figures/excess" not in page
    if record.fits[0].outcome == "stopped":
        assert "Training stopped when the loss on the rows held out no longer fell" in caption
        assert "stopped early" in text
        assert "still rising" not in text


def test_a_translation_says_the_same(ended: dict[str, Path], tmp_path: Path) -> None:
    """A folder's words.toml has each new sentence in another language, its numbers in another order; nothing is at fault."""
    (tmp_path / "words.toml").write_text(
        "[converged]\nstopped_alone = '{best}: {backends} ({epochs}, Geduld {patience})'\nrested = '{backends}: kein Optimum'\n"
        "alone = '{said}!'\n"
        "[exhausted]\nshort = '{said} - zu kurz: {rate} ({share})'\nfurther = '{said} - weiter: {tolerance}, {share}'\n"
        "endless = 'Kein Optimum: {loss} nach {epochs}'\nadamw = '{said} - AdamW'\nbatches = '{said} - Wolke: {rows}'\n"
        "[diverged]\nunknown = 'Bei {rate} stieg der Verlust'\nauto = '{said} Auto!'\n"
        "[cure]\nunstable_near = 'Nahe: {limit} = {formula}'\nshort = 'Zu kurz: {share}'\n"
        "[figures.loss]\nendless = 'Endlos.'\n",
        encoding="utf-8",
    )
    expected = {
        "stopped alone": r"\d+: NumPy \(\d+ of 1,000, Geduld 5 epochs\)!", "rested alone": r"NumPy: kein Optimum!",
        "short": r".* - zu kurz: 1e-06 \(\S+\)", "further": r".* - weiter: 1e-10, \S+",
        "endless": r"Kein Optimum: \S+ nach 50 epochs",
        "adamw": r".* - AdamW", "batches": r".* - Wolke: 32 rows", "unknown": r"Bei 1e\+200 stieg der Verlust; .* Auto!",
    }  # fmt: skip
    with Look(templates=str(tmp_path)).applied() as used:
        for name, pattern in expected.items():
            record, _ = read_run(ended[name])
            assert re.fullmatch(pattern, sentence(record, plain=True)), name
    assert [] == used.faults
    write_report(ended["endless"], Look(templates=str(tmp_path)))
    page = (ended["endless"] / "report.html").read_text(encoding="utf-8")
    write_report(ended["endless"])
    assert "Endlos." in page
    assert "Kein Optimum" in page
