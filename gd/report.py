"""The report: what the numbers say in words, and the page that shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gd.changes import changes
from gd.coefficients import coefficients, modelled
from gd.course import wrong_gradients
from gd.cure import cure
from gd.dialect import Format
from gd.epoch_table import epoch_table
from gd.figures import THEMED, Picture
from gd.notation import apart, count, number, visible, written
from gd.phrases import say
from gd.record import EpochLog, Record
from gd.rendering import rendered
from gd.words import rates_sentence, sentence

__all__ = [
    "Report",
    "Table",
    "equations",
    "how_written",
    "rates_table",
    "render",
]

_MARKS = {
    ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", "blanks": "blanks", ":": "colon", ".": "dot",
    "'": "apostrophe", "_": "underscore",
}  # fmt: skip


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


def how_written(found: Format) -> list[tuple[str, str]]:
    """How a CSV was written, as facts: what was found out, and what an option said."""
    ends = "" if found.line_ends == "none" else "written.mixed" if found.line_ends == "mixed" else "written.ends"
    parts = [
        say("written.separated", mark=_mark(found.delimiter)),
        say("written.no_quotes") if not found.quote else say("written.single_quotes") if found.quote == "'" else "",
        say("written.byte_order_mark", encoding=found.encoding) if found.byte_order_mark else found.encoding,
        ends and say(ends, ends=found.line_ends),
        found.compression or "",
        say("written.names", line=count(found.header_line)) if found.header_line else say("written.no_names"),
    ]
    between = say("and.between")
    facts = [(say("written.how"), say("written.checked", listed=between.join(filter(None, parts))))]
    said = [say("written.decimal", mark=_mark(found.decimal))] if found.decimal != "." else []
    if found.thousands:
        said.append(say("written.thousands", mark=_mark(found.thousands)))
    if found.units:
        said.append(say("written.units", units=between.join(map(visible, found.units))))
    if found.parentheses:
        said.append(say("written.parentheses"))
    if found.comment:
        said.append(say("written.comment", mark=visible(found.comment)))
    if found.lines_skipped:
        lines = "written.line_skipped" if found.lines_skipped == 1 else "written.lines_skipped"
        said.append(say(lines, count=count(found.lines_skipped)))
    said += [say(f"written.{name}") for name in ("delimiter", "quote", "encoding", "header") if name in found.given]
    if said:
        facts.append((say("written.by_option"), between.join(said)))
    marks = between.join(visible(mark) for mark in found.missing if mark)
    facts.append((say("written.missing"), say("written.missing_are", marks=marks)))
    return facts


def _mark(mark: str) -> str:
    """A mark by its name, where it has one."""
    return say(f"written.marks.{_MARKS[mark]}") if mark in _MARKS else visible(mark)


def rates_table(record: Record) -> Table:
    """Each learning rate of a sweep and where each backend ended with it."""
    assert record.sweep is not None
    heads, groups = [say("rates_table.rate")], [("", 1)]
    for fit in record.fits:
        groups.append((fit.title, 2))
        heads += [say("rates_table.ended"), say("rates_table.above")]
    of = {(t.backend, t.rate): t for t in record.sweep.fits}
    rows = []
    gone = all(t.outcome == "diverged" for t in record.sweep.fits[: len(record.sweep.rates)])
    best = say("rates_table.trained" if gone else "rates_table.best", rate=number(record.sweep.best))
    for rate in record.sweep.rates:
        row = [best if rate == record.sweep.best else number(rate)]
        for fit in record.fits:
            t = of[fit.backend, rate]
            ended = say(f"rates_table.{t.outcome.value}", epochs=count(t.epochs))
            row += [ended, number(t.excess_loss, keep_zeros=True)]
        rows.append(tuple(row))
    return Table(tuple(groups), tuple(heads), tuple(rows))


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
            (str(t), written(str(float(np.round(np.float32(losses[t]), 3)) if by_hand else round(float(losses[t]), 3))),
             written(str(round(float(weight), 3))))
            for t, weight in zip(epochs.tolist(), weights, strict=True)
        )  # fmt: skip
        part = say("notebook_tables.by_hand") if by_hand else say("notebook_tables.autograd", backend=fit.title)
        heads = (say("notebook_tables.epoch"), say("notebook_tables.loss"), say("notebook_tables.weight"))
        tables.append((part, Table((), heads, rows)))
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
            text += f"{plus}{say('equations.more', count=count(len(fit.weights) - most))}"
        found.append((fit.title, f"{modelled(record)} = {text}"))
    return found[:1] if record.comparison is not None and record.comparison.agree else found


def render(report: Report) -> str:
    """The whole page: one HTML file that asks for nothing else.

    Args:
        report: read back from `run.json` and its epochs, or as they will be written; the same page either way.
    """
    record, log = report.record, report.log
    return rendered(
        "report.html.j2",
        record=record,
        sentence=sentence(record),
        changes=changes(record),
        cure=cure(record),
        coefficients=coefficients(record),
        equations=equations(record),
        pictures={picture.name: picture for picture in report.pictures},
        drawings={picture.name: inline(picture) for picture in report.pictures},
        epochs=epoch_table(record, log) if log is not None and record.fits else None,
        epochs_file=report.epochs_file,
        notebook=notebook_tables(record, log) if log is not None else [],
        rates=(rates_sentence(record), rates_table(record)) if record.sweep is not None else None,
        written=how_written(record.dataset.format) if record.dataset.format is not None else [],
        wrong=wrong_gradients(record) if record.fits else [],
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
