"""Every number that a person is shown, on the page, in the mail or in the terminal, is one of run.json, rounded.

Where a quantity stands in several places, it is the same number in all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gd import archive
from gd.cli.command import tell
from gd.course import epochs_to_flat, rounded
from gd.data import Array, Source, bundled
from gd.mail.digest import Item
from gd.record import EpochLog, Record
from gd.settings import Training
from gd.words import headline, sentence
from tests.conftest import run_tasks
from tests.mails import body, followed, items, letter, parsed
from tests.shown_numbers import (
    NOT_NUMBERS,
    SKIPPED,
    TOKEN,
    Place,
    alike,
    held,
    is_rounded,
    numbers,
    of_digits,
    only,
    taken_apart,
    upwards,
)  # fmt: skip
from tests.terminal import Terminal
from tests.test_cli import terminal

__all__ = ["terminal"]  # a fixture

VERDICTS = ("converged", "exhausted", "diverged", "disagree")
CRAFTS = ("folded", "stopped", "classes", "counts", "robust", "sparse", "adaptive")
BARS = re.compile(r"The bar under a loss is its logarithm, from (\S+(?: × \S+)?) to (\S+?(?: × \S+?)?)\.(?=\s|$)")
NOTEBOOK = ["epoch", "loss", "W"]
NOT_RESULTS = {"File", "Run", "Commit", "SHA-256 of the CSV", "gd", "Started", "Finished", "Written", "Counted as missing"}
CONSTANTS = {
    1.0: "1 − contraction",
    1e-6: "of the first excess loss: what counts as arrived",
}
DRAWN = {0.1: "the smallest gap that is drawn", 0.0: "residuals are around it"} | CONSTANTS


def derived(record: Record) -> Iterator[float]:
    """What is said of a run and does not stand in run.json itself, but follows from it in one step."""
    found, settings, data, told = record.diagnosis, record.training, record.dataset, record.inference
    assert found is not None
    rate = settings.learning_rate
    assert rate is not None
    if found.excess_loss is not None and found.optimum_loss:
        yield of_digits(100 * found.excess_loss / found.optimum_loss, 2)  # per cent above the optimum,
        yield of_digits(1 + found.excess_loss / found.optimum_loss, 3)  # or times it
    if found.contraction is not None:
        yield from (1 - found.contraction, found.contraction**2)  # the loss shrinks by the square
    if found.stable_below:
        yield of_digits(found.stable_below / 2, 2)  # the rate that is advised
        yield rate / found.stable_below
    if found.best_rate:
        unit = 10.0 ** (math.floor(math.log10(found.best_rate)) - 1)
        better = math.floor(found.best_rate / unit) * unit
        yield better
        factor = max(abs(1 - better * value) for value in found.eigenvalues if value > 0)
        if 0 < factor < 1:
            yield rounded(math.ceil(math.log(settings.tolerance or 1e-6) / math.log(factor)) + 1)
    for epochs in (found.predicted_epochs, found.predicted_epochs_best, flat := epochs_to_flat(record)):
        if epochs is not None:
            yield rounded(epochs)
    if flat is not None:
        yield rounded(flat - max(fit.epochs for fit in record.fits))
    yield from ((ratio or 0.0) * rate for ratio in found.gradient_ratio.values())
    for fit in record.fits:
        yield fit.epochs - 1  # counted from 0
        if fit.last_finite_epoch is not None:
            yield fit.last_finite_epoch + 1
    agreed = record.comparison
    assert agreed is not None
    gaps = [value for name, value in agreed.model_dump().items() if name.startswith("max_") and value]
    yield from (of_digits(gap, 2) for gap in gaps)
    yield from map(upwards, filter(None, (agreed.max_relative_weight_gap, agreed.max_relative_prediction_gap)))
    sizes = settings.scale or (1.0,) * len(data.features)
    best = [abs((found.optimum[name] or 0.0) * size) for name, size in zip(data.features, sizes, strict=True)]
    away = [
        abs((fit.weights[name] or 0.0) - (found.optimum[name] or 0.0)) * size
        for fit in record.fits
        for name, size in zip(data.features, sizes, strict=True)
    ]
    if max(best) and max(away):
        yield upwards(max(away) / max(best))
    assert data.rows is not None
    assert data.rows_used is not None
    yield data.rows - data.rows_used
    if told is not None:
        yield from (100 * told.level, data.rows_used - told.degrees_of_freedom)


@dataclass(slots=True)
class Shown:
    """Everything that is shown of one run."""

    record: Record
    log: EpochLog
    drawn: Array  # every number of the CSV files beside its pictures
    page: Place
    mail: Place
    text: str  # of the mail
    terminal: str

    @property
    def known(self) -> Array:
        """Every number that may be shown."""
        exact = [*held(json.loads(self.record.to_json())), *derived(self.record), *CONSTANTS]
        return np.abs(np.array(exact, dtype=np.float64))


def faults(shown: Shown) -> list[str]:
    """Every number that is none of run.json, and every quantity that is not the same everywhere."""
    return [*strangers(shown), *wrong_epochs(shown), *differing(shown)]


def strangers(shown: Shown) -> Iterator[str]:
    """Numbers that are the rounding of none that may be shown."""
    at = [epoch for row in shown.page.epochs[1:] if (epoch := int(only(row[0]).value)) < len(shown.log)]
    losses = np.concatenate([shown.log[f"{fit.backend}_loss"][at] for fit in shown.record.fits])
    tallies = [len(shown.page.epochs) - 1, len(shown.mail.epochs) - 1, len(shown.log)]  # "60 of 170 epochs", by their rows
    known = np.concatenate([shown.known, tallies])
    pictures = np.abs(np.concatenate([known, shown.drawn, list(DRAWN), losses]))
    packages = set(shown.record.run.packages)
    parts = [("text of the mail", shown.text, known), ("terminal", shown.terminal, known)]
    for where, place in (("page", shown.page), ("mail", shown.mail)):
        parts += [(f"words of the {where}", words, known) for words in re.split(r"(?<=[.;]) ", place.text)]
        parts += [(f"caption in the {where}", words, pictures) for words in place.captions]
        for table in place.tables:
            if table[0] == NOTEBOOK or table[-1] in place.epochs:
                continue
            rows = [row for row in table if row and row[0] not in NOT_RESULTS | packages]
            parts += [(f"{where}, row {row[0]!r}", cell, known) for row in rows for cell in row]
    for where, words, allowed in parts:
        for number in numbers(re.sub(BARS, _of_losses(losses), words)):
            if not is_rounded(number._replace(value=abs(number.value)), allowed):
                yield f"{where}: {number.text} in {words!r} is none of run.json"


def _of_losses(losses: Array) -> Any:
    """Takes out of a sentence the smallest and largest loss, where that is what they are."""
    positive = losses[np.isfinite(losses) & (losses > 0)]

    def checked(found: re.Match[str]) -> str:
        low, high = only(found[1]), only(found[2])
        return "" if is_rounded(low, positive.min()) and is_rounded(high, positive.max()) else found[0]

    return checked


def wrong_epochs(shown: Shown) -> Iterator[str]:
    """Cells of the tables of epochs that are not what epochs.csv holds for that epoch."""
    record, log = shown.record, shown.log
    each = [f"weight_{name}" for name in record.dataset.features] + ["intercept"] * record.training.intercept
    page = [f"{fit.backend}_{name}" for fit in record.fits for name in ("loss", "gradient_norm", *each)]
    mail = [f"{fit.backend}_loss" for fit in record.fits] + ["weight_gap"]
    for where, place, names in (
        ("page", shown.page, [*page, "loss_gap", "weight_gap"]),
        ("mail", shown.mail, mail),  # its gaps in two digits
    ):
        heads, *rows = place.epochs
        assert len(heads) == len(names) + 1
        for row in rows:
            epoch = int(only(row[0]).value)
            if not 0 <= epoch < len(log):
                yield f"{where}: there is no epoch {epoch}"
                continue
            for name, cell in zip(names, row[1:], strict=True):
                value = float(log[name][epoch])
                words = {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number" if math.isnan(value) else "")
                absent = words or not cell[-1:].isnumeric()
                exact = value if absent or where == "page" or name != "weight_gap" else of_digits(value, 2)
                if cell != words if absent else not is_rounded(only(cell), exact):
                    yield f"{where}, epoch {epoch}, {name}: {cell} is not {value}"
    printed = [table[1:] for table in shown.page.tables if table[0] == NOTEBOOK]
    for fit, table in zip(record.fits, printed, strict=bool(printed)):
        names = [f"{fit.backend}_loss", f"{fit.backend}_weight_{record.dataset.features[0]}"]
        if [str(epoch) for epoch in range(len(log))] != [row[0] for row in table]:
            yield f"the notebook's table of {fit.title} does not count the epochs"
            continue
        for epoch, (_, *cells) in enumerate(table):
            for name, cell in zip(names, cells, strict=True):
                rounds = round(float(log[name][epoch]), 3)  # as float32 in part 1, which has seven digits
                if abs(only(cell).value - rounds) > 1e-7 * abs(rounds):
                    yield f"the notebook's table, epoch {epoch}, {name}: {cell} is not {rounds}"


def differing(shown: Shown) -> Iterator[str]:
    """Quantities that are not in all places the same rounding of the same value of run.json."""
    for name, value, texts in quantities(shown):
        told = {}
        for where, text in texts.items():
            if value is None:
                if not text.startswith("not finite"):
                    yield f"{name} is not finite, and {where} says {text!r}"
                continue
            told[where] = only(text)
            if not is_rounded(told[where], value):
                yield f"{name} is {value}, and {where} says {text!r}"
        for first, one in told.items():
            yield from (
                f"{name}: {first} says {one.text}, {second} {other.text}"
                for second, other in told.items()
                if not alike(one, other)
            )


def quantities(shown: Shown) -> Iterator[tuple[str, float | None, dict[str, str]]]:
    """A quantity, its value in run.json, and how it is written in each place in which it stands."""
    record, page, mail, text = shown.record, shown.page, shown.mail, shown.text
    found, settings, told = record.diagnosis, record.training, record.inference
    assert found is not None
    width, apart = len(record.fits) + 1, record.verdict == "disagree"
    squared = settings.loss in {"mse", "notebook"}
    against = ("R²" if settings.intercept else "R² against 0") if squared else "D², share of the loss saved"
    arrived = told is not None and told.arrived

    def beside(label: str, j: int) -> dict[str, str]:
        return {"page": page.row(label, width)[j], "mail": mail.row(label, width)[j]}

    for j, fit in enumerate(record.fits):
        yield f"loss, {fit.title}", fit.loss, beside("loss", j) | {
            "row of the mail": _cell(mail, record)[j if apart else 0],
            "text": _after(text, rf"[ ,] *([^ ]+) by {fit.title}" if apart else r" Loss (.+?)\. "),
        }  # fmt: skip
        explained = fit.r2 if squared else fit.d2
        yield f"{against}, {fit.title}", explained, beside(against, j) | (_r2(shown) if arrived and fit.r2 is not None else {})
        yield f"epochs, {fit.title}", fit.epochs, beside("epochs", j)
        signed = _equation(page.text, fit.title if apart else None), _equation(text, fit.title if apart else None)
        terms = {"intercept": fit.intercept} if settings.intercept else {}
        for name, value in (terms | fit.weights).items():
            places = beside(name, j)
            if fit.outcome != "diverged":
                places |= {"equation of the page": signed[0][name], "equation of the text": signed[1][name]}
                ended = -1 if fit.best_epoch is None else fit.best_epoch  # its head is a row too, and it was before that step
                places["last row of the epochs"] = page.epochs[ended][1:][_column(record, j, name)]
            yield f"{name}, {fit.title}", value, places
    optimum = {"intercept": found.optimum_intercept} if settings.intercept else {}
    for name, value in (optimum | found.optimum).items():
        term = "intercept" if name == "intercept" else f"per unit of {name}"
        rows = [row for table in page.tables for row in table if row[0] == term and len(row) == 7]
        yield f"optimum, {name}", value, beside(name, -1) | ({"coefficients": rows[0][1]} if rows else {})
    diagnosed = {"diagnosis": page.row("Loss at the optimum", 1)[0]}
    yield "loss at the optimum", found.optimum_loss, beside("loss", -1) | diagnosed
    assert record.dataset.rows_used is not None
    used = {"rows used": page.row("Rows trained on" if settings.validation else "Rows used", 1)[0]}
    if told is not None:
        free = page.row("Degrees of freedom", 1)[0]
        used["degrees of freedom"] = free.partition(": ")[2]
        yield "degrees of freedom", told.degrees_of_freedom, {"facts": free}
        levels = {
            "page": next(row[1] for table in page.tables for row in table if len(row) > 1 and row[1].endswith(" interval"))
        }
        if told.arrived and not told.perfect:
            levels |= {
                "mail": _after(" ".join(mail.captions), r"([\d.]+ % intervals)"),
                "text": _after(text, r"([\d.]+ % intervals)"),
            }
        yield "level", 100 * told.level, levels
    yield "rows used", record.dataset.rows_used, used
    most = _said(shown, r"after [\d,]+ of ([\d,]+) epochs" if record.verdict == "converged" else None)
    yield "epochs at most", settings.epochs, {"settings": page.row("Epochs at most", 1)[0]} | most
    assert settings.learning_rate is not None
    rates = [row[1] for table in page.tables for row in table if row[0] == "Learning rate" and numbers(row[1])]
    written = dict(zip(("diagnosis", "settings"), rates, strict=False))
    patterns = {"diverged": r"rate ([\d.]+\d) is above"}
    if found.theory:
        patterns["exhausted"] = r"instead of ([\d.]+\d)"
    yield "learning rate", settings.learning_rate, written | _said(shown, patterns.get(record.verdict))
    if record.verdict in {"converged", "exhausted"}:
        yield "epochs trained", record.fits[0].epochs, _said(shown, r"[Aa]fter ([\d,]+) (?:of|epochs)")
    limit = _said(shown, r"stable limit ([\d.]+\d)" if record.verdict == "diverged" else None)
    if found.stable_below is not None:
        yield "stable limit", found.stable_below, {"diagnosis": page.row("Stable below", 1)[0]} | limit
    agreed = record.comparison
    assert agreed is not None
    if record.verdict == "converged":
        gap = agreed.max_relative_weight_gap
        assert gap is not None
        yield "gap", upwards(gap), _said(shown, r"by more than ([^,]+), relative")
        yield "gap as measured", gap, {"agreement": _after(page.text, r"\(([^ ]+(?: × \S+)?) relative to the weights")}
    many = {"page": (len(page.epochs) - 1, page.text), "mail": (len(mail.epochs) - 1, " ".join(mail.captions))}
    for where, (rows_shown, words) in many.items():
        if rows_shown < len(shown.log):
            yield f"epochs in the {where}", rows_shown, {where: _after(words, r"[Ss]how[a-z]+:? ([\d,]+) of [\d,]+ epochs")}
            yield f"epochs of the {where}", len(shown.log), {where: _after(words, r"[Ss]how[a-z]+:? [\d,]+ of ([\d,]+) epochs")}
    losses = _after(page.text, r"their losses(?: differed)? by at most ([^ ]+(?: × 10\S+?)?)\. ")
    yield "gap of losses", of_digits(agreed.max_loss_gap or 0.0, 2), {"agreement": losses}
    yield from _of_the_verdict(shown)
    yield from _penalised_and_held_out(shown)
    yield from _stepping(shown)


def _of_the_verdict(shown: Shown) -> Iterator[tuple[str, float | None, dict[str, str]]]:
    """What only one verdict has to say."""
    record, page = shown.record, shown.page
    found, agreed = record.diagnosis, record.comparison
    assert found is not None
    assert agreed is not None
    if record.verdict == "disagree":
        for fit in record.fits:
            ratio = rf"{fit.title}['’]s (?:gradient is )?([\d.]+) times"
            yield f"ratio, {fit.title}", found.gradient_ratio[fit.backend], _said(shown, ratio) | {
                "agreement": _after(page.text, rf"{fit.title}’s gradient is (\d\.\d{{5}}) times")
            }  # fmt: skip
        yield "where they part", agreed.first_epoch_apart, _said(shown, r"part at epoch (\d+)")
    if record.verdict == "exhausted" and found.theory:
        assert found.predicted_epochs is not None
        assert found.best_rate is not None
        yield "epochs needed", rounded(found.predicted_epochs), _said(shown, r"about ([\d,]+) epochs")
        yield "better rate", of_digits(found.best_rate, 2), _said(shown, r"a rate of ([\d.]+\d) instead")


def _penalised_and_held_out(shown: Shown) -> Iterator[tuple[str, float | None, dict[str, str]]]:
    """What penalties, rows held out and folds add to a run."""
    record, page, mail = shown.record, shown.page, shown.mail
    settings, width, captions = record.training, len(record.fits) + 1, " ".join(page.captions)
    for j, fit in enumerate(record.fits):
        if fit.unpenalised_loss is not None:
            yield f"without penalties, {fit.title}", fit.unpenalised_loss, {
                "page": page.row("loss without penalties", width)[j]
            }  # fmt: skip
        if fit.validation_loss is not None:
            yield (
                f"held out, {fit.title}",
                fit.validation_loss,
                {where: place.row("loss on rows held out", width)[j] for where, place in (("page", page), ("mail", mail))},
            )
        if fit.best_epoch is not None:
            yield (
                f"weights kept, {fit.title}",
                fit.best_epoch,
                _said(shown, r"took the weights of epoch (\d+)")
                | {
                    "page": page.row("epoch of the weights kept", width)[j],
                    "picture": _after(captions, r"The circle marks epoch (\d+)"),
                    "marked": _after(page.text, r"epoch (\d+) , least loss on the rows held out"),
                },
            )
    if settings.patience is not None:
        settled = _after(page.row("Stops early", 1)[0], r"for ([\d,]+) epochs")
        yield "patience", settings.patience, _said(shown, r"epochs, ([\d,]+) epochs after") | {"settings": settled}
    if settings.validation is not None:
        held_out, how = [row[1] for table in page.tables for row in table if row[0] == "Rows held out"]
        yield "rows held out", record.dataset.rows_held, {"data": held_out}
        yield "share held out", float(settings.validation.removeprefix("last:")), {"settings": how.removeprefix("last:")}
    if settings.l1:
        yield "L1 penalty", settings.l1, {"settings": page.row("L1 penalty", 1)[0]}
    crossed, penalty = record.cross_validation, page.row("L2 penalty", 1)[0] if settings.l2 else ""
    if crossed is not None:
        over = r"[Oo]ver ([\d,]+) folds"
        yield "folds", crossed.folds, {"page": _after(page.text, over), "picture": _after(captions, over)}
        yield "best penalty", crossed.best, {"page": _after(page.text, r"with an L2 penalty of ([\d.]+\d)")}
        chosen = _after(page.text, r"; trained with ([\d.]+\d)")
        yield "chosen penalty", crossed.chosen, {"page": chosen, "settings": penalty}
    elif settings.l2:
        yield "L2 penalty", settings.l2, {"settings": penalty}


def _stepping(shown: Shown) -> Iterator[tuple[str, float | None, dict[str, str]]]:
    """What other losses, steps and schedules add to a run."""
    record, page = shown.record, shown.page
    settings, captions = record.training, " ".join(page.captions)
    if settings.delta is not None:
        yield "delta", settings.delta, {"settings": page.row("Loss", 1)[0]}
    optimizer = page.row("Optimizer", 1)[0]
    if settings.decay is not None:
        yield "decay", settings.decay, {"settings": _after(optimizer, r", decay ([\d.]+\d)")}
    if settings.weight_decay is not None:
        yield "weight decay", settings.weight_decay, {"settings": _after(optimizer, r"weight decay ([\d.]+\d)")}
    if settings.batch_size is not None:
        batches = page.row("Batches", 1)[0]
        yield "rows of a batch", settings.batch_size, {"settings": batches}
        yield "seed", settings.seed, {"settings": _after(batches, r"with the seed (\d+)")}
    for name, value, pattern in (
        ("factor", settings.schedule_factor, r"times ([\d.]+\d)"),
        ("every", settings.schedule_every, r"every ([\d,]+) epochs"),
    ):
        if value is not None:
            yield f"schedule, {name}", value, {"settings": _after(page.row("Schedule", 1)[0], pattern)}
    if settings.warm_up:
        grown = {"settings": _after(page.row("Schedule", 1)[0], r"warm-up of ([\d,]+) epochs")}
        yield "warm-up", settings.warm_up, grown | {"picture": _after(captions, r"over the first ([\d,]+) epochs")}
    agreed = record.comparison
    assert agreed is not None
    if len(record.fits) > 1:
        gap = _after(page.text, r"relative gap of\s+([^ ]+?(?: × 10\S+?)?)[:.] ")
        yield "tolerance", of_digits(agreed.tolerance, 2), {"agreement": gap}


def _after(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, (pattern, text)
    return match[1]


def _said(shown: Shown, pattern: str | None) -> dict[str, str]:
    """What the verdict's sentence says in all of its four places."""
    if pattern is None:
        return {}
    texts = {"page": shown.page.text, "mail": shown.mail.text, "text": shown.text, "terminal": shown.terminal}
    return {f"sentence of the {where}": _after(text, pattern) for where, text in texts.items()}


def _cell(mail: Place, record: Record) -> list[str]:
    """The losses in a data set's row of the mail."""
    [row] = [row for table in mail.tables if table[0][0] == "data set" for row in table[1:]]
    return row[1].split(" ≠ ")


def _r2(shown: Shown) -> dict[str, str]:
    """Where R² stands beside the intervals, of a fit that arrived."""
    places = {"facts": next(row[1] for table in shown.page.tables for row in table if re.match("R²", row[0]) and len(row) == 2)}
    if "residual standard error" in shown.text:
        places["intervals of the text"] = _after(shown.text, r"; R\^2(?: against 0)? ([\d.]+);")
        notes = " ".join(shown.mail.captions)
        places["intervals of the mail"] = _after(notes, r"; R²(?: against 0)? ([\d.]+);")
    return places


def _equation(text: str, title: str | None) -> dict[str, str]:
    """The signed numbers of an equation by their features, and the intercept."""
    tail = rf" \({title}\)" if title else ""
    found = {}
    term = r"([+=−-]) ([−-]?[\d.,]+(?:e[+-]\d+| × 10[⁻⁰-⁹¹²³]+)?) (?:[·*] (\w+))?"
    for match in re.finditer(term, f"{_line(text, tail)} "):
        sign = "" if match[1] in "+=" else "-"
        found[match[3] or "intercept"] = f"{sign}{match[2]}"
    return found


def _line(text: str, tail: str) -> str:
    """An equation, from its equals sign on."""
    if tail:
        return _after(text, rf"\w (= [^=]+?){tail}")
    match = re.search(r"\w (= [\d−-].*?[·*] \w+\b)(?! [+−-] [\d.,]+)", text)
    return match[1] if match else ""


def _column(record: Record, j: int, name: str) -> int:
    """Where a weight of a backend stands in the page's table of epochs."""
    each = [*record.dataset.features, *["intercept"] * record.training.intercept]
    return j * (2 + len(each)) + 2 + each.index(name)


def everything(item: Item, terminal: str) -> tuple[Shown, dict[str, str]]:
    """What is shown of a run, and the same as it was sent and written."""
    assert item.folder is not None
    assert item.log is not None
    sent = parsed(letter(item).content)
    sources = {
        "page": re.sub(r"<svg.*?</svg>", "", (item.folder / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL),
        "mail": body(sent, "html"), "text": body(sent, "plain"), "terminal": terminal,
    }  # fmt: skip
    drawn = [
        float(cell)
        for path in (item.folder / "figures").glob("*.csv")
        for cell in re.findall(r"(?<=,)-?[\d.]+(?:e[+-]?\d+)?(?=[,\n])", path.read_text(encoding="utf-8"))
    ]
    made = Shown(item.record, item.log, np.abs(np.array(drawn)), Place(), Place(), "", "")
    return read(made, sources), sources


def read(shown: Shown, sources: dict[str, str]) -> Shown:
    """The same run with other words."""
    page, mail = taken_apart(sources["page"]), taken_apart(sources["mail"])
    text, terminal = (" ".join(sources[name].split()) for name in ("text", "terminal"))
    return replace(shown, page=page, mail=mail, text=text, terminal=terminal)


@pytest.fixture(scope="module")
def told(cases: dict[str, Path], crafts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """Each verdict, and each run of another loss or another step, as a mail tells it."""
    made = items(cases, tmp_path_factory.mktemp("failed") / "run")
    for name, folder in crafts.items():
        record, log = archive.read_run(folder)
        made[name] = Item(followed(record), log, folder)
    return made


def line(record: Record, capsys: pytest.CaptureFixture[str]) -> str:
    """What the terminal says of a run, without the path."""
    tell(record.verdict, record.dataset.name, headline(record), sentence(record, plain=True), None)
    return capsys.readouterr().out


@pytest.mark.parametrize("verdict", [*VERDICTS, *CRAFTS])
def test_every_number_is_the_same_number(verdict: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]) -> None:
    """On the page, in both bodies of the mail and in the terminal; and there are many of them."""
    shown, _ = everything(told[verdict], line(told[verdict].record, capsys))
    assert [] == faults(shown)
    compared = [texts for _, _, texts in quantities(shown)]
    assert sum(map(len, compared)) >= (50 if verdict == "converged" else 25)


def test_without_an_intercept_there_is_one_r2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a fit that arrived the table of the backends, the facts below the coefficients and both mails name the same R²."""
    table = Source(path=str(bundled("penguins")), target="body_mass_g", features=("bill_length_mm", "bill_depth_mm"))
    folder = run_tasks(table, Training(intercept=False, epochs=5000), tmp_path)
    record, log = archive.read_run(folder)
    assert "converged" == record.verdict
    shown, _ = everything(Item(record, log, folder), line(record, capsys))
    assert [] == faults(shown)
    r2 = [texts for name, _, texts in quantities(shown) if name.startswith("R²")]
    assert [5, 5] == [len(texts) for texts in r2]
    assert {True} == {len({only(text).value for text in texts.values()}) == 1 for texts in r2}


def spoilt(source: str, marked_up: bool) -> Iterator[str]:
    """The same words with one number that is another, each number in turn."""
    unread = r"<({})\b.*?</\1>|<[^>]+>".format("|".join(sorted(SKIPPED))) if marked_up else r"(?!)()"
    seen = re.sub(unread, lambda found: "\0" * len(found[0]), source, flags=re.DOTALL)
    seen = NOT_NUMBERS.sub(lambda found: "\0" * len(found[0]), seen)
    for found in TOKEN.finditer(seen):
        begin, end = found.span("digits")
        for j in range(begin, end):
            if source[j] in "123456789":  # the first digit that is not 0 becomes the next
                yield f"{source[:j]}{int(source[j]) % 9 + 1}{source[j + 1 :]}"
                break


def fails(shown: Shown, sources: dict[str, str]) -> bool:
    """Whether the test of this file fails on other words, in whatever way."""
    try:
        return bool(faults(read(shown, sources)))
    except AssertionError:
        return True


@pytest.mark.parametrize("verdict", [*VERDICTS, "folded", "classes"])
def test_a_number_that_is_changed_is_noticed(verdict: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]) -> None:
    """Nearly wherever it stands: by chance another may be that of something else. A sample of each place is changed."""
    shown, sources = everything(told[verdict], line(told[verdict].record, capsys))
    for where, source in sources.items():
        changed = list(spoilt(source, where in {"page", "mail"}))
        sample = changed[:: max(1, len(changed) // 20)]
        missed = sum(not fails(shown, sources | {where: words}) for words in sample)
        assert len(sample) > (10 if where in {"page", "mail"} else 1)
        assert missed <= 0.1 * len(sample), where


@pytest.mark.parametrize(
    ("where", "pattern"),
    [
        ("page", r'<th scope="row">loss</th><td>([\d,]+)'), ("page", r"Loss at the optimum</th><td>([\d,]+)"),
        ("page", r'<th scope="row">R²</th><td>([\d.]+)'), ("page", r"<td>([\d.]+) of the variance"),
        ("page", r'<p class="equation">[^=]+= ([\d,]+)'), ("page", r"\+ ([\d.]+) · bill_depth_mm"),
        ("page", r"per unit of year</th><td>−([\d.]+)"), ("page", r"Stable below</th><td>([\d.]+)"),
        ("page", r'<th scope="row">epochs</th><td>(\d+)'), ("page", r"Rows used</th><td>(\d+)"),
        ("page", r"Learning rate</th><td>([\d.]+)"), ("page", r"by\s+more than (\d)"), ("page", r"Curvature</th><td>([\d.]+)"),
        ("mail", r">loss</td>\s*<td[^>]*>([\d,]+)"), ("mail", r">year</td>\s*<td[^>]*>−([\d.]+)"), ("mail", r"R² ([\d.]+);"),
        ("mail", r"intercept ([\d,]+) to"), ("text", r"Loss ([\d,]+)"), ("text", r"\+ ([\d.]+) \* bill_depth_mm"),
        ("text", r"R\^2 ([\d.]+);"), ("text", r"after (\d+) of"), ("terminal", r"after (\d+) of"), ("terminal", r"than (\d)e-"),
    ],
)  # fmt: skip
def test_these_are_noticed_whatever_digit_is_changed(
    where: str, pattern: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the numbers that people look for each digit is held against run.json."""
    shown, sources = everything(told["converged"], line(told["converged"].record, capsys))
    source = sources[where]
    found = re.search(pattern, source)
    assert found is not None
    for j in range(*found.span(1)):
        if source[j].isdigit() and (source[j] != "0" or "." in found[1]):  # nothing is known of zeros that only fill up
            other = f"{source[:j]}{(int(source[j]) + 1) % 10}{source[j + 1 :]}"
            assert fails(shown, sources | {where: other}), other[found.start() : found.end()]


@pytest.mark.parametrize(
    ("craft", "where", "pattern"),
    [
        ("folded", "page", r"loss without penalties</th><td>([\d,]+)"), ("folded", "page", r"penalty of\s+([\d.]+)"),
        ("folded", "page", r"trained with ([\d.]+)"), ("folded", "page", r"decay ([\d.]+)"),
        ("folded", "page", r"warm-up of (\d+)"), ("folded", "page", r"times ([\d.]+) every"),
        ("folded", "page", r"Over (\d) folds"),
        ("stopped", "page", r"loss on rows held out</th><td>([\d,]+)"),
        ("stopped", "mail", r"held out</td>\s*<td[^>]*>([\d,]+)"),
        ("stopped", "page", r"weights kept</th><td>(\d+)"), ("stopped", "text", r"weights\s+of\s+epoch\s+(\d+)"),
        ("stopped", "page", r"of (\d+) rows, drawn"), ("classes", "page", r"D², share of the loss saved</th><td>([\d.]+)"),
        ("classes", "mail", r"loss saved</td>\s*<td[^>]*>([\d.]+)"), ("robust", "page", r"residual of ([\d.]+)"),
        ("sparse", "page", r"L1 penalty</th><td>(\d+)"), ("adaptive", "page", r"weight decay ([\d.]+)"),
        ("adaptive", "page", r"relative gap of\s+([\d.]+)"),
    ],
)  # fmt: skip
def test_these_of_other_runs_are_noticed_too(
    craft: str, where: str, pattern: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]
) -> None:
    """What penalties, folds, rows held out, other losses and other steps add is held against run.json digit by digit."""
    shown, sources = everything(told[craft], line(told[craft].record, capsys))
    found = re.search(pattern, sources[where])
    assert found is not None
    for j in range(*found.span(1)):
        if (digit := sources[where][j]).isdigit() and (digit != "0" or "." in found[1]):
            other = f"{sources[where][:j]}{(int(digit) + 1) % 10}{sources[where][j + 1 :]}"
            assert fails(shown, sources | {where: other}), other[found.start() : found.end()]


@pytest.mark.parametrize("craft", CRAFTS)
def test_nothing_is_predicted_without_a_theory(craft: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]) -> None:
    """The page says why no epoch is predicted, in the words of run.json, and has no number in that place."""
    shown, _ = everything(told[craft], line(told[craft].record, capsys))
    found = shown.record.diagnosis
    assert found is not None
    assert (False, None) == (found.theory, found.predicted_epochs)
    assert [f"none: {found.reasons['predicted_epochs']}"] == shown.page.row("Prediction of each epoch", 1)
    assert "predicted" not in " ".join(cell for table in shown.page.tables for row in table for cell in row)


@pytest.mark.server
def test_the_command_says_the_same_numbers(terminal: Terminal, tmp_path: Path) -> None:
    """What `gd run` prints, typed in a terminal, beside the run.json that it wrote."""
    done = terminal.gd(["run", str(bundled("penguins")), "--target", "body_mass_g"], tmp_path)
    assert 0 == done.returncode
    [folder] = [path.parent for path in (tmp_path / "reports" / "penguins").glob("*/run.json")]
    record, log = archive.read_run(folder)
    shown, _ = everything(Item(record, log, folder), done.stdout.splitlines()[0])
    assert [] == faults(shown)
