"""The report: what the numbers say in words, and the page that shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gd.changes import changes
from gd.coefficients import coefficients
from gd.cure import cure, epochs_to_flat, plural, rounded, wrong_gradients
from gd.dialect import Format
from gd.epoch_table import epoch_table
from gd.figures import THEMED, Picture
from gd.notation import apart, count, number, ordinal, visible
from gd.record import EpochLog, Record

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "SYMBOLS",
    "WORDS",
    "Report",
    "Table",
    "environment",
    "equations",
    "headline",
    "how_written",
    "rates_sentence",
    "rates_table",
    "render",
    "sentence",
]

SYMBOLS = {"converged": "✓", "exhausted": "…", "diverged": "✕", "disagree": "≠", "failed": "!"}
WORDS = {
    "converged": "Converged",
    "exhausted": "Not there yet",
    "diverged": "Diverged",
    "disagree": "The backends disagree",
    "failed": "Failed",
}
_MARKS = {
    ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", "blanks": "blanks", ":": "colon", ".": "dot",
    "'": "apostrophe", "_": "underscore",
}  # fmt: skip
_UNREADABLE = "Could not be read"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All that a page is made of."""

    record: Record
    log: EpochLog | None  # None where nothing was trained
    pictures: Sequence[Picture] = ()
    epochs_file: str = "epochs.csv"  # beside the page


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text, ready to be laid out."""

    groups: tuple[tuple[str, int], ...]  # (heading, columns that it spans)
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    showing: str = ""


def headline(record: Record) -> str:
    """The verdict's word."""
    return _UNREADABLE if record.error is not None and record.error.type == "DataError" else WORDS[record.verdict]


def sentence(record: Record, *, plain: bool = False) -> str:
    """The verdict in one or two sentences, without its word.

    Args:
        record: of the run.
        plain: keep to ASCII, for terminals and plain-text mail.
    """

    def num(value: float | None, digits: int = 4, keep_zeros: bool = False) -> str:
        return number(value, digits, keep_zeros=keep_zeros, plain=plain)

    if record.error is not None:
        return record.error.message
    assert record.comparison is not None
    if record.verdict == "converged":
        text, remedy = f"{_titles(record)} reached the optimum{_within(record, num)} after {_epochs(record)} epochs", ""
        if (short := _short_of_the_optimum(record)) is not None:
            text = f"{_titles(record)} came to rest after {_epochs(record)} epochs, {_above(short, record, num)}"
            flat = record.diagnosis is None or record.diagnosis.condition is None or record.diagnosis.condition > 1e4
            text += (
                " in directions of next to no curvature,"
                if flat
                else f" under a tolerance of {num(record.training.tolerance)},"
            )
            remedy = _condition_remedy(record)
        if len(record.fits) == 1:
            return f"{text}. No other backend ran to check it.{remedy}{_ambiguity(record)}"
        gap = record.comparison.max_relative_weight_gap
        if gap is None:  # they ended at different epochs before the first that would have been kept
            losses = num(_upwards(record.comparison.max_relative_loss_gap), 1)
            text += f". Their losses never differed by more than {losses}; no weights of one epoch were kept"
        elif record.comparison.compared_by == "predictions":
            predicted = record.comparison.max_relative_prediction_gap
            text += " and their predictions never differed"
            text += f" by more than {num(_upwards(predicted), 1)}, relative to how far they moved" if predicted else ""
        elif gap == 0:
            text += " and never differed"
        else:
            text += f" and never differed by more than {num(_upwards(gap), 1)}, relative to the weights"
        return f"{text}.{remedy}{_ambiguity(record)}"
    words = {"disagree": _disagreement, "diverged": _divergence, "exhausted": _exhaustion}
    return words[record.verdict](record, num) + _ambiguity(record)


def _short_of_the_optimum(record: Record) -> float | None:
    """Excess loss that a flat gradient has left, where it is more than the 1e-6 of the first that counts as arrived.

    Of a target far from zero the first loss is all offset: then it is more than 1e-6 of the target's variance.
    """
    assert record.diagnosis is not None
    excess, first = record.diagnosis.excess_loss, record.diagnosis.first_excess_loss
    if not excess or not first:
        return None
    return excess if excess > 1e-6 * min(first, record.diagnosis.target_variance or first) else None


def _within(record: Record, num: Any) -> str:
    """How near the furthest weight of any backend has come to the optimum, beside the largest of the optimum's weights.

    Weights as trained, in which a step of one is as long as a step of another; nothing where they are not unique.
    """
    found, sizes = record.diagnosis, record.training.scale or (1.0,) * len(record.dataset.features)
    assert found is not None
    if found.rank != found.parameters or found.rank is None:
        return ""
    optimum = [(found.optimum[name] or 0.0) * size for name, size in zip(record.dataset.features, sizes, strict=True)]
    largest = max(map(abs, optimum), default=0.0)
    ways = [
        abs((weight or 0.0) * size - best)
        for fit in record.fits
        for weight, size, best in zip(fit.weights.values(), sizes, optimum, strict=True)
    ]
    if not (0 < largest < math.inf and 0 < max(ways) / largest < 1e-3):  # at it, or so far that it is said in other words
        return ""
    return f" to within {num(_upwards(max(ways) / largest), 1)}"


def _ambiguity(record: Record) -> str:
    """That several weights are equally good, where they are."""
    found, rows = record.diagnosis, record.dataset.rows_used
    assert found is not None
    if found.rank is None or found.parameters is None or found.rank == found.parameters:
        return ""
    few = rows is not None and rows < found.parameters
    why = (
        f"{plural(rows or 0, 'row')} for {count(found.parameters)} parameters"
        if few
        else (f"the columns determine {count(found.rank)} of {count(found.parameters)}")
    )
    return f" The weights are not unique: {why}."


def _disagreement(record: Record, num: Any) -> str:
    assert record.comparison is not None
    assert record.diagnosis is not None
    begin = f"They part at epoch {count(record.comparison.first_epoch_apart)}."
    wrong = wrong_gradients(record)
    if not wrong:
        rest = "train in float64" if record.training.dtype != "float64" else "look at the gap by epoch"
        return f"{begin} Every gradient is that of the stated loss, and the gap is more than rounding explains: {rest}."
    ratios = {fit.title: num(record.diagnosis.gradient_ratio[fit.backend], 4, True) for fit in record.fits}
    (title, ratio), *others = ratios.items()
    text = f"{begin} By central differences {title}'s gradient is {ratio} times the gradient of the stated loss"
    text += "".join(f", {title}'s {ratio} times" for title, ratio in others)
    by_hand = [fit.backend for fit in wrong] == ["numpy"]
    return f"{text}: the error is in {'the formula derived by hand' if by_hand else ' and '.join(fit.title for fit in wrong)}."


def _divergence(record: Record, num: Any) -> str:
    assert record.diagnosis is not None
    rate, limit = record.training.learning_rate, record.diagnosis.stable_below
    assert rate is not None
    if limit is not None and rate >= limit:
        which = "learning rate" if record.sweep is None else f"smallest of {count(len(record.sweep.rates))} learning rates,"
        comma = "" if record.sweep is None else ","
        text = f"The {which} {num(rate)}{comma} is {'at' if rate == limit else 'above'} the stable limit {num(limit, 3)}"
        remedy = f" Try --learning-rate {number(limit / 2, 2, plain=True).replace(',', '')}."
    else:
        text = f"The learning rate {num(rate)} is below the stable limit {num(limit, 3)}, and yet the loss rose"
        remedy = " Look at the gradient check below, and at the size of the numbers in the table."
    worst = next(fit for fit in record.fits if fit.outcome == "diverged")
    if worst.loss is None and worst.last_finite_epoch is not None:
        return f"{text}; the loss was last finite at epoch {count(worst.last_finite_epoch)}.{remedy}"
    if worst.loss is None:
        return f"{text}; the loss was never finite.{remedy}"
    return f"{text}; after {plural(worst.epochs)} the loss stands at {num(worst.loss)} and rises.{remedy}"


def how_written(found: Format) -> list[tuple[str, str]]:
    """How a CSV was written, as facts: what was found out, and what an option said."""
    separated = f"cells separated by {_MARKS.get(found.delimiter, visible(found.delimiter))}"
    quoted = {"": "no quotes", "'": "single quotes"}.get(found.quote, "")
    encoding = found.encoding + (" with a byte order mark" if found.byte_order_mark else "")
    ends = {"none": "", "mixed": "lines ending in several ways"}.get(found.line_ends, f"lines ending in {found.line_ends}")
    names = f"names on line {count(found.header_line)}" if found.header_line else "no names"
    parts = [separated, quoted, encoding, ends, found.compression or "", names]
    facts = [("Written", f"{', '.join(filter(None, parts))}; checked on every row")]
    said = [f"decimal {_MARKS[found.decimal]}"] if found.decimal != "." else []
    if found.thousands:
        said.append(f"thousands separated by {_MARKS[found.thousands]}")
    if found.units:
        said.append(f"left off numbers: {', '.join(map(visible, found.units))}")
    if found.parentheses:
        said.append("(12) is −12")
    if found.comment:
        said.append(f"lines that begin with {visible(found.comment)} are skipped")
    if found.lines_skipped:
        said.append(f"{count(found.lines_skipped)} line{'' if found.lines_skipped == 1 else 's'} skipped")
    said += [f"{name.replace('_', ' ')}" for name in ("delimiter", "quote", "encoding", "header") if name in found.given]
    if said:
        facts.append(("As said by option", ", ".join(said)))
    marks = ", ".join(visible(mark) for mark in found.missing if mark)
    facts.append(("Counted as missing", f"empty cells, {marks}"))
    return facts


def rates_sentence(record: Record) -> str:
    """What a sweep of learning rates came to: the best one, what diverged, and the stable limit."""
    assert record.sweep is not None
    assert record.diagnosis is not None
    tried, first, limit = record.sweep, record.fits[0], record.diagnosis.stable_below
    told = {fit.backend: [t for t in tried.fits if t.backend == fit.backend] for fit in record.fits}
    best = next(t for t in told[first.backend] if t.rate == tried.best)
    rates, total = number(tried.best), count(len(tried.rates))
    gone = {fit.title: [t.rate for t in told[fit.backend] if t.outcome == "diverged"] for fit in record.fits}
    alike = len(set(map(tuple, gone.values()))) == 1
    if best.outcome == "diverged":
        whose = "" if alike else f" with {first.title}"
        text = f"All {total} learning rates diverged{whose}; the smallest, {rates}, is the one trained with."
    elif best.outcome == "converged":
        text = f"Of {total} learning rates {rates} was the best: it reached the optimum after {plural(best.epochs)}."
    else:
        text = f"Of {total} learning rates {rates} was the best: after {plural(best.epochs)} its loss was "
        text += f"{_above(best.excess_loss, record, number)}."
    if alike:
        if gone[first.title] and best.outcome != "diverged":
            text += f" {_rates(gone[first.title], 'The rate')} diverged."
    else:
        parts = (f"{_rates(rates) if rates else 'none'} with {title}" for title, rates in gone.items())
        text += f" Diverged: {'; '.join(parts)}."
    return text if limit is None else f"{text} The stable limit is {number(limit)}."


def _rates(rates: Sequence[float], what: str = "", most: int = 4) -> str:
    """Rates in a row, the last ones of many left out."""
    shown = [number(rate) for rate in rates[:most]]
    if what:
        what += "s " if len(rates) > 1 else " "
    if len(rates) > most:
        return f"{what}{', '.join(shown)} and {count(len(rates) - most)} more"
    return f"{what}{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else f"{what}{shown[0]}"


def rates_table(record: Record) -> Table:
    """Each learning rate of a sweep and where each backend ended with it."""
    assert record.sweep is not None
    heads, groups = ["learning rate"], [("", 1)]
    for fit in record.fits:
        groups.append((fit.title, 2))
        heads += ["ended", "above the optimum"]
    of = {(t.backend, t.rate): t for t in record.sweep.fits}
    rows = []
    best = "trained" if all(t.outcome == "diverged" for t in record.sweep.fits[: len(record.sweep.rates)]) else "best"
    for rate in record.sweep.rates:
        row = [f"{number(rate)}, {best}" if rate == record.sweep.best else number(rate)]
        for fit in record.fits:
            t = of[fit.backend, rate]
            row += [f"{t.outcome} after {count(t.epochs)}", number(t.excess_loss, keep_zeros=True)]
        rows.append(tuple(row))
    return Table(tuple(groups), tuple(heads), tuple(rows))


def _exhaustion(record: Record, num: Any) -> str:
    found, settings = record.diagnosis, record.training
    assert found is not None
    text = f"After {plural(max(fit.epochs for fit in record.fits))} the loss is {_above(found.excess_loss, record, num)}"
    if found.stable_below is not None and (settings.learning_rate or 0) >= found.stable_below:
        half = number(found.stable_below / 2, 2, plain=True).replace(",", "")
        return (
            f"{text}, and the learning rate {num(settings.learning_rate)} is above the stable limit "
            f"{num(found.stable_below, 3)}. Try --learning-rate {half}."
        )
    if found.predicted_epochs is not None and found.predicted_epochs <= settings.epochs:
        flat = epochs_to_flat(record)
        need = f": that takes about {count(rounded(flat))} epochs" if flat else ", and rounding may keep it from it"
        return f"{text}, but the gradient has not yet fallen to {num(settings.tolerance)} of its first length{need}."
    if found.predicted_epochs is None:
        rate, need = num(settings.learning_rate), found.reasons["predicted_epochs"]
        text = f"{text}; at the rate {rate} it would take {need} to close it"
        if found.predicted_epochs_best is not None:
            return f"{text}, and {count(rounded(found.predicted_epochs_best))} at {num(found.best_rate, 2)}."
        return f"{text}.{_condition_remedy(record)}"
    aim = f"would bring what is above it to {num(1e-6)} of what it was"
    more = f"about {count(rounded(found.predicted_epochs))} epochs"
    best = found.predicted_epochs_best
    if best is not None and best <= settings.epochs:
        return f"{text}; {more}, or a rate of {num(found.best_rate, 2)} instead of {num(settings.learning_rate, 2)}, {aim}."
    if best is not None and best < found.predicted_epochs:
        return f"{text}; {more}, or {count(rounded(best))} at a rate of {num(found.best_rate, 2)}, {aim}."
    return f"{text}; {more} {aim}.{_condition_remedy(record)}"


def _condition_remedy(record: Record) -> str:
    """What to do about a loss that is far steeper in one direction than in another."""
    assert record.diagnosis is not None
    if record.diagnosis.condition is not None and record.diagnosis.condition < 1e4:
        return ""
    alike = [visible(one.column) for one in record.dataset.remarks if one.kind in {"duplicate", "collinear"} and one.column]
    if alike:
        more = f" and {count(len(alike) - 3)} more" if len(alike) > 3 else ""
        return f" What repeats other columns can be left out with --leave-out: {', '.join(alike[:3])}{more}."
    if not record.training.standardize:
        return " Leave out --no-standardize."
    return " Some features nearly repeat each other: leave one out with --leave-out."


def _above(excess: float | None, record: Record, num: Any) -> str:
    """How far a loss lies above the optimum's: in per cent, unless the optimum is next to nothing."""
    assert record.diagnosis is not None
    optimum, first = record.diagnosis.optimum_loss, record.diagnosis.first_excess_loss or 0.0
    if excess is not None and optimum and optimum > 1e-14 * first:
        if excess < optimum:
            return f"{num(100 * excess / optimum, 2)} % above the optimum"
        if excess < 1e4 * optimum:
            return f"{num(1 + excess / optimum, 3)} times the optimum's"
    return f"{num(excess, 2)} above the optimum"


def notebook_tables(record: Record, log: EpochLog) -> list[tuple[str, Table]]:
    """The two tables that the teaching notebook printed, in its own digits; none outside its preset.

    Part 1 printed the loss as a float32 rounded to 3 decimals, whose digits are long, and its weight, like all of Part 2,
    as a Python float.
    """
    if record.training.preset != "notebook":
        return []
    feature = record.dataset.features[0]
    tables = []
    for fit in record.fits:
        losses = log[f"{fit.backend}_loss"]
        epochs, weights = log.entries(f"{fit.backend}_weight_{feature}")
        by_hand = fit.backend == "numpy"
        rows = tuple(
            (str(t), str(float(np.round(np.float32(losses[t]), 3)) if by_hand else round(float(losses[t]), 3)),
             str(round(float(weight), 3)))
            for t, weight in zip(epochs.tolist(), weights, strict=True)
        )  # fmt: skip
        part = "Part 1, by hand in NumPy" if by_hand else f"Part 2, by autograd in {fit.title}"
        tables.append((part, Table((), ("epoch", "loss", "W"), rows)))
    return tables


def equations(record: Record, *, most: int | None = None, plain: bool = False) -> list[tuple[str, str]]:
    """The fitted model in the units of the CSV, (backend, equation): one where the backends agree, else one each.

    Args:
        record: of the run.
        most: features to write out; None writes all.
        plain: keep to ASCII, but for the names of the columns and what keeps them apart.
    """
    plus, minus, times = (" + ", " - ", " * ") if plain else (" + ", " − ", " · ")
    found = []
    for fit in record.fits:
        if fit.outcome == "diverged":
            continue
        text = "" if fit.intercept is None else number(fit.intercept, plain=plain)
        for feature, weight in list(fit.weights.items())[:most]:
            below = weight is not None and weight < 0
            sign = (minus if below else plus) if text else (minus.strip() if below else "")
            text += f"{sign}{number(None if weight is None else abs(weight), plain=plain)}{times}{apart(visible(feature))}"
        if most is not None and len(fit.weights) > most:
            text += f"{plus}{count(len(fit.weights) - most)} more"
        found.append((fit.title, f"{apart(visible(record.dataset.target))} = {text}"))
    return found[:1] if record.comparison is not None and record.comparison.agree else found


def render(report: Report) -> str:
    """The whole page: one HTML file that asks for nothing else.

    Args:
        report: read back from `run.json` and its epochs, or as they will be written; the same page either way.
    """
    record, log = report.record, report.log
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            sentence=sentence(record),
            changes=changes(record),
            equations=equations(record),
            coefficients=coefficients(record),
            pictures={picture.name: picture for picture in report.pictures},
            drawings={picture.name: inline(picture) for picture in report.pictures},
            epochs=epoch_table(record, log) if log is not None and record.fits else None,
            epochs_file=report.epochs_file,
            notebook=notebook_tables(record, log) if log is not None else [],
            rates=(rates_sentence(record), rates_table(record)) if record.sweep is not None else None,
            written=how_written(record.dataset.format) if record.dataset.format is not None else [],
            wrong=wrong_gradients(record) if record.fits else [],
            cure=cure(record),
        )
    )


def inline(picture: Picture) -> str:
    """A picture's SVG to stand inside a page: its colours by name, so that they follow the theme, and its ids its own."""
    svg = picture.svg[picture.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg ([^>]*?)(?:width|height)="[^"]*pt" ', r"<svg \1", svg)
    svg = re.sub(r'<svg ([^>]*?)(?:width|height)="[^"]*pt" ', r"<svg \1", svg)
    svg = re.sub(r'\bid="', f'id="{picture.name}-', svg)
    svg = svg.replace("url(#", f"url(#{picture.name}-").replace('href="#', f'href="#{picture.name}-')
    svg = re.sub("|".join(THEMED), lambda match: f"var({THEMED[match[0]]})", svg)
    return re.sub(r"\n\s*", "\n", svg)


@lru_cache
def environment() -> Environment:
    """The Jinja environment: everything escaped, nothing undefined."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=FileSystemLoader(_templates()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": count, "ordinal": ordinal, "visible": visible, "when": _when}
    made.filters |= {"number": _unbroken(number), "unbroken": _unbroken(str)}
    made.globals |= {"SYMBOLS": SYMBOLS, "headline": headline}
    return made


def _unbroken(words: Callable[..., str]) -> Callable[..., str]:
    """A filter by whose words no line ends within a power of ten, where they stand in HTML."""
    from jinja2 import pass_eval_context  # noqa: PLC0415
    from jinja2.nodes import EvalContext  # noqa: PLC0415
    from markupsafe import Markup, escape  # noqa: PLC0415

    @pass_eval_context
    def filtered(context: EvalContext, *arguments: Any, **options: Any) -> str:
        text = words(*arguments, **options)
        if not context.autoescape:
            return text
        return Markup(str(escape(text)).replace(" × 10", "&nbsp;×&nbsp;10"))  # noqa: S704  (escaped just before)

    return filtered


def _templates() -> Path:
    """Beside the code in an installed wheel, at the top of the repository in a clone."""
    here = Path(__file__).parent
    return here / "templates" if (here / "templates").is_dir() else here.parent / "templates"


def _when(moment: Any) -> str:
    return f"{moment:%d %b %Y, %H:%M:%S} UTC"


def _titles(record: Record) -> str:
    titles = [fit.title for fit in record.fits]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _epochs(record: Record) -> str:
    reached = sorted({fit.epochs for fit in record.fits})
    ended = count(reached[0]) if len(reached) == 1 else f"{count(reached[0])} to {count(reached[-1])}"
    return f"{ended} of {count(record.training.epochs)}"


def _upwards(gap: float | None) -> float | None:
    """To one significant digit, never below the gap itself."""
    if not gap:
        return gap
    unit = 10.0 ** math.floor(math.log10(gap))
    return math.ceil(gap / unit) * unit
