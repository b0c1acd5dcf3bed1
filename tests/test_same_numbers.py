"""Every number that a person is shown, on the page, in the mail or in the terminal, is one of run.json, rounded.

Where a quantity stands in several places, it is the same number in all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gd import archive
from gd.cli.command import tell
from gd.cure import epochs_to_flat, rounded
from gd.data import Array, Source, bundled
from gd.mail.digest import Item
from gd.record import EpochLog, Record
from gd.settings import Training
from gd.words import headline, sentence
from tests.conftest import run_tasks
from tests.mails import body, items, letter, parsed
from tests.terminal import Terminal
from tests.test_cli import terminal

__all__ = ["terminal"]  # a fixture

VERDICTS = ("converged", "exhausted", "diverged", "disagree")
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
TOKEN = re.compile(
    r"(?<![\w.^/-])(?:10(?P<bare>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?P<sign>[−-]?)(?P<digits>\d[\d,]*(?:\.\d+)?)"
    r"(?: × 10(?P<high>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|e(?P<plain>[+-]?\d+))?)(?![\w/^]|[.,]\d)"
)
BARS = re.compile(r"The bar under a loss is its logarithm, from (\S+(?: × \S+)?) to (\S+?(?: × \S+?)?)\.(?=\s|$)")
NOTEBOOK = ["epoch", "loss", "W"]
SKIPPED = {"svg", "style", "script", "pre", "code", "nav", "title"}
NOT_NUMBERS = re.compile(  # dates with their times, versions, files, and how the notebook wrote
    r"\d{1,2}\s[A-Z][a-z]{2}\s\d{4}(?:,\s\d\d:\d\d(?::\d\d)?\s[A-Z]{3,4})?|\bgd \d+\.\d+\.\d+|[\w/.-]+\.(?:csv|json|html)\b"
    r"|rounded to 3 decimals"
)
NOT_RESULTS = {"File", "Run", "Commit", "SHA-256 of the CSV", "gd", "Started", "Finished", "Written", "Counted as missing"}
CONSTANTS = {
    1.0: "1 − contraction",
    1e-6: "of the first excess loss: what counts as arrived",
}
DRAWN = {0.1: "the smallest gap that is drawn", 0.0: "residuals are around it"} | CONSTANTS


class Number(NamedTuple):
    """A number as it was written."""

    text: str
    value: float
    unit: float  # of the last digit that counts


@dataclass(slots=True)
class Place:
    """Something that a person reads, taken apart."""

    words: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)  # of pictures
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its words on one line."""
        return " ".join(" ".join(self.words).split())

    def row(self, label: str, columns: int) -> list[str]:
        """The cells of the one row that begins so and has so many cells behind."""
        [found] = [row[1:] for table in self.tables for row in table if row[0] == label and len(row) == columns + 1]
        return found

    @property
    def epochs(self) -> list[list[str]]:
        """The table of epochs, from its heads on; empty where there is none."""
        for table in self.tables:
            for j, row in enumerate(table):
                if row[0] == "epoch" and len(row) > 3:
                    return table[j:]
        return []


class _Reader(HTMLParser):
    """Takes a page apart; tables that only lay it out are none."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.skipped, self.open, self.caption = Place(), 0, list[bool](), False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SKIPPED:
            self.skipped += 1
        elif tag == "table":
            self.open.append(("role", "presentation") not in attrs)
            if self.open[-1]:
                self.place.tables.append([])
        elif tag == "tr" and self.open[-1]:
            self.place.tables[-1].append([])
        elif tag in {"td", "th"} and self.open[-1]:
            self.place.tables[-1][-1].append("")
        elif tag == "figcaption" or ("class", "note") in attrs:
            self.caption = True
            self.place.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in SKIPPED:
            self.skipped -= 1
        elif tag == "table":
            self.open.pop()
        elif tag in {"figcaption", "p"}:
            self.caption = False

    def handle_data(self, data: str) -> None:
        data = data.replace("\N{FIGURE SPACE}", "").replace("\N{PUNCTUATION SPACE}", "")
        if self.skipped or not data.strip():
            return
        table = self.place.tables[-1] if self.open and self.open[-1] else None
        if table and table[-1]:
            table[-1][-1] = " ".join(f"{table[-1][-1]} {data}".split())
        elif self.caption:
            self.place.captions[-1] = " ".join(f"{self.place.captions[-1]} {data}".split())
        else:
            self.place.words.append(data)


def taken_apart(page: str) -> Place:
    """What a person reads of an HTML page."""
    reader = _Reader()
    reader.feed(page)
    return reader.place


def numbers(text: str) -> list[Number]:
    """The numbers in a text."""
    return [_number(found) for found in TOKEN.finditer(NOT_NUMBERS.sub(" ", text))]


def only(text: str) -> Number:
    """The one number that a cell holds, or the first of a sentence."""
    found = numbers(text)
    assert found, text
    return found[0]


def _number(found: re.Match[str]) -> Number:
    if found["bare"]:
        return Number(found[0], float(f"1e{found['bare'].translate(SUPERSCRIPT)}"), 0.0)
    digits, sign = found["digits"].rstrip(",").replace(",", ""), "-" if found["sign"] else ""
    power = int((found["high"] or found["plain"] or "0").translate(SUPERSCRIPT))
    value = float(f"{sign}{digits}e{power}")
    if value == 0:
        return Number(found[0], 0.0, 0.0)
    size, whole = math.floor(math.log10(abs(value))), "." not in digits and not (found["high"] or found["plain"])
    decimals = len(digits.partition(".")[2])
    if whole:  # a count, or four digits, the last of which may be a zero that stands behind no point
        return Number(found[0], value, 10.0 ** (size - 3) if size <= 3 or value % 10 ** (size - 3) == 0 else 0.0)
    return Number(found[0], value, min(10.0 ** (power - decimals), 10.0 ** (size - 1)))  # zeros at its end may be left out


def is_rounded(shown: Number, exact: float | Array) -> bool:
    """Whether what is shown is the rounding of a number, or of one of several, to the digits that are shown."""
    gap = np.abs(np.asarray(exact, dtype=np.float64) - shown.value)
    return bool(np.any(gap <= 0.5 * shown.unit * (1 + 1e-9) + 1e-12 * abs(shown.value)))


def alike(first: Number, second: Number) -> bool:
    """Whether two places say the same: the same digits in whatever notation, or fewer of them."""
    return abs(first.value - second.value) <= 0.5 * abs(first.unit - second.unit) * (1 + 1e-9) + 1e-12 * abs(first.value)


def held(part: Any) -> Iterator[float]:
    """Every number of a JSON value, those in its reasons and remarks too."""
    if isinstance(part, dict | list):
        for one in part.values() if isinstance(part, dict) else part:
            yield from held(one)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield abs(part)
    elif isinstance(part, str) and " " in part:
        yield from (abs(number.value) for number in numbers(part))


def upwards(value: float, digits: int = 1) -> float:
    """Rounded up, as a bound is."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return math.ceil(value / unit * (1 - 1e-12)) * unit


def of_digits(value: float, digits: int) -> float:
    """Rounded to so many significant digits, as a number is that has fewer than four."""
    return float(f"{value:.{digits}g}")


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
    assert told is not None
    assert data.rows is not None
    assert data.rows_used is not None
    yield from (100 * told.level, data.rows - data.rows_used, data.rows_used - told.degrees_of_freedom)


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
    assert told is not None
    width, apart = len(record.fits) + 1, record.verdict == "disagree"
    against = "R²" if settings.intercept else "R² against 0"

    def beside(label: str, j: int) -> dict[str, str]:
        return {"page": page.row(label, width)[j], "mail": mail.row(label, width)[j]}

    for j, fit in enumerate(record.fits):
        yield f"loss, {fit.title}", fit.loss, beside("loss", j) | {
            "row of the mail": _cell(mail, record)[j if apart else 0],
            "text": _after(text, rf"[ ,] *([^ ]+) by {fit.title}" if apart else r" Loss (.+?)\. "),
        }  # fmt: skip
        yield f"R², {fit.title}", fit.r2, beside(against, j) | (_r2(shown) if told.arrived and fit.r2 is not None else {})
        yield f"epochs, {fit.title}", fit.epochs, beside("epochs", j)
        signed = _equation(page.text, fit.title if apart else None), _equation(text, fit.title if apart else None)
        terms = {"intercept": fit.intercept} if settings.intercept else {}
        for name, value in (terms | fit.weights).items():
            places = beside(name, j)
            if fit.outcome != "diverged":
                places |= {"equation of the page": signed[0][name], "equation of the text": signed[1][name]}
                places["last row of the epochs"] = page.epochs[-1][1:][_column(record, j, name)]
            yield f"{name}, {fit.title}", value, places
    optimum = {"intercept": found.optimum_intercept} if settings.intercept else {}
    for name, value in (optimum | found.optimum).items():
        term = "intercept" if name == "intercept" else f"per unit of {name}"
        rows = [row for table in page.tables for row in table if row[0] == term and len(row) == 7]
        yield f"optimum, {name}", value, beside(name, -1) | ({"coefficients": rows[0][1]} if rows else {})
    diagnosed = {"diagnosis": page.row("Loss at the optimum", 1)[0]}
    yield "loss at the optimum", found.optimum_loss, beside("loss", -1) | diagnosed
    assert record.dataset.rows_used is not None
    free = page.row("Degrees of freedom", 1)[0]
    used = {"rows used": page.row("Rows used", 1)[0], "degrees of freedom": free.partition(": ")[2]}
    yield "rows used", record.dataset.rows_used, used
    yield "degrees of freedom", told.degrees_of_freedom, {"facts": free}
    most = _said(shown, r"after [\d,]+ of ([\d,]+) epochs" if record.verdict == "converged" else None)
    yield "epochs at most", settings.epochs, {"settings": page.row("Epochs at most", 1)[0]} | most
    assert settings.learning_rate is not None
    rates = [row[1] for table in page.tables for row in table if row[0] == "Learning rate" and numbers(row[1])]
    written = dict(zip(("diagnosis", "settings"), rates, strict=False))
    patterns = {"diverged": r"rate ([\d.]+\d) is above", "exhausted": r"instead of ([\d.]+\d)"}
    yield "learning rate", settings.learning_rate, written | _said(shown, patterns.get(record.verdict))
    if record.verdict in {"converged", "exhausted"}:
        yield "epochs trained", record.fits[0].epochs, _said(shown, r"[Aa]fter ([\d,]+) (?:of|epochs)")
    limit = _said(shown, r"stable limit ([\d.]+\d)" if record.verdict == "diverged" else None)
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
    if apart:
        for fit in record.fits:
            ratio = rf"{fit.title}['’]s (?:gradient is )?([\d.]+) times"
            yield f"ratio, {fit.title}", found.gradient_ratio[fit.backend], _said(shown, ratio) | {
                "agreement": _after(page.text, rf"{fit.title}’s gradient is (\d\.\d{{5}}) times")
            }  # fmt: skip
        yield "where they part", agreed.first_epoch_apart, _said(shown, r"part at epoch (\d+)")
    if record.verdict == "exhausted":
        assert found.predicted_epochs is not None
        assert found.best_rate is not None
        yield "epochs needed", rounded(found.predicted_epochs), _said(shown, r"about ([\d,]+) epochs")
        yield "better rate", of_digits(found.best_rate, 2), _said(shown, r"a rate of ([\d.]+\d) instead")
    levels = {"page": next(row[1] for table in page.tables for row in table if len(row) > 1 and row[1].endswith(" interval"))}
    if told.arrived and not told.perfect:
        levels |= {
            "mail": _after(" ".join(mail.captions), r"([\d.]+ % intervals)"),
            "text": _after(text, r"([\d.]+ % intervals)"),
        }
    yield "level", 100 * told.level, levels
    losses = _after(page.text, r"their losses(?: differed)? by at most ([^ ]+(?: × 10\S+?)?)\. ")
    yield "gap of losses", of_digits(agreed.max_loss_gap or 0.0, 2), {"agreement": losses}


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
def told(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """Each verdict as a mail tells it."""
    return items(cases, tmp_path_factory.mktemp("failed") / "run")


def line(record: Record, capsys: pytest.CaptureFixture[str]) -> str:
    """What the terminal says of a run, without the path."""
    tell(record.verdict, record.dataset.name, headline(record), sentence(record, plain=True), None)
    return capsys.readouterr().out


@pytest.mark.parametrize("verdict", VERDICTS)
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


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_number_that_is_changed_is_noticed(verdict: str, told: dict[str, Item], capsys: pytest.CaptureFixture[str]) -> None:
    """Nearly wherever it stands: by chance another may be that of something else. A sample of each place is changed."""
    shown, sources = everything(told[verdict], line(told[verdict].record, capsys))
    for where, source in sources.items():
        changed = list(spoilt(source, where in {"page", "mail"}))
        sample = changed[:: max(1, len(changed) // 30)]
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


@pytest.mark.server
def test_the_command_says_the_same_numbers(terminal: Terminal, tmp_path: Path) -> None:
    """What `gd run` prints, typed in a terminal, beside the run.json that it wrote."""
    for words in (["--preset", "notebook"], [str(bundled("penguins")), "--target", "body_mass_g"]):
        done = terminal.gd(["run", *words], tmp_path)
        assert 0 == done.returncode
        [name] = re.findall(r"^\S (\w+): ", done.stdout)
        [folder] = [path.parent for path in (tmp_path / "reports" / name).glob("*/run.json")]
        record, log = archive.read_run(folder)
        shown, _ = everything(Item(record, log, folder), done.stdout.splitlines()[0])
        assert [] == faults(shown)
