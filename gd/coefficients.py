"""The weights with their standard errors and intervals, and what they explain, in words and cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gd.notation import apart, count, marks_in_use, number, visible
from gd.phrases import say
from gd.record import Inference, Record, Term

__all__ = ["Coefficients", "Row", "coefficients", "intervals", "modelled", "named"]

_MOST_DIGITS = 15
_FIGURE, _POINT = "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"  # as wide as a digit, and as a point


@dataclass(frozen=True, slots=True)
class Row:
    """One term of the model."""

    term: str
    cells: tuple[str, ...]  # weight, standard error, t, low, high, p


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What a report says of its weights; names are visible, and nothing is escaped."""

    lead: str  # whose numbers they are, or why there are none
    label: str
    caption: str
    level: str
    rows: tuple[Row, ...]  # the intercept first; none where there are no standard errors
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def coefficients(record: Record) -> Coefficients | None:
    """The table of a run's coefficients and the facts below it; None where the record holds none.

    Args:
        record: of the run.
    """
    found = record.inference
    if found is None:
        return None
    target = apart(visible(record.dataset.target))
    known = any(term.error is not None for term in found.terms)
    return Coefficients(
        lead=_lead(found, known),
        label=say("coefficients.label" if found.arrived else "coefficients.label_optimum"),
        caption=say("coefficients.caption" if found.arrived else "coefficients.caption_optimum", target=target),
        level=_level(found),
        rows=_rows(record, found) if known else (),
        notes=(say("coefficients.supposed", target=target),) if known and not found.perfect else (),
        facts=_facts(record, found, target),
    )


def modelled(record: Record, most: int = 200) -> str:
    """What a linear model is of: the target, or what its loss makes of it.

    Args:
        record: of the run.
        most: characters of a name.
    """
    target, loss = apart(visible(record.dataset.target, most)), record.training.loss
    if loss == "poisson":
        return say("equations.log", target=target)
    if loss != "logistic":
        return target
    levels = next((one.levels for one in record.dataset.encoded if one.column == record.dataset.target), ())
    if not levels:
        return say("equations.logit", target=target)
    return say("equations.logit_of", target=target, level=apart(visible(levels[1], most)))


def named(record: Record, term: Term) -> str:
    """A term as people say it: a category against the one that is left out, a date by its days."""
    if term.feature is None:
        return say("coefficients.intercept")
    for encoded in record.dataset.encoded:
        if term.feature in encoded.features and encoded.kind == "category":
            level = encoded.levels[1 + encoded.features.index(term.feature)]
            names = {"column": encoded.column, "level": level, "base": encoded.levels[0]}
            return say("coefficients.category", **{what: _name(name) for what, name in names.items()})
        if encoded.kind == "dates" and term.feature in {encoded.column, *encoded.features}:
            return say("coefficients.day", column=_name(encoded.column))
    return say("coefficients.unit", column=_name(term.feature))


def intervals(record: Record, most: int, *, plain: bool = False) -> str:
    """The intervals of the first weights as one sentence; empty where there are none, or a descent did not arrive at them.

    Args:
        record: of the run.
        most: terms to name beside the intercept.
        plain: keep to ASCII, but for the names of the columns.
    """
    found = record.inference
    if found is None or not found.arrived or found.perfect or all(term.error is None for term in found.terms):
        return ""
    terms = _in_order(found)
    shown = terms[: most + found.centred]
    parts = []
    for term in shown:
        low, high = (number(value, _digits(found, term, value), plain=plain) for value in (term.low, term.high))
        name = say("coefficients.intercept") if term.feature is None else _name(term.feature)
        parts.append(say("coefficients.from_to", term=name, low=low, high=high))
    listed = say("and.between").join(parts)
    if len(terms) > len(shown):
        listed = say("coefficients.more", listed=listed, count=count(len(terms) - len(shown)))
    which = {"level": _level(found), "listed": listed, "error": number(found.residual_error, plain=plain)}
    if found.r2 is None:
        return say("coefficients.intervals", **which)
    r2 = {"r2": "R^2" if plain else "R²", "share": _share(found.r2, plain)}
    return say("coefficients.intervals_r2" if found.centred else "coefficients.intervals_r2_zero", **r2, **which)


def _lead(found: Inference, known: bool) -> str:
    if found.perfect:
        return say("coefficients.perfect")
    if not known:
        return say("coefficients.none", reason=found.reasons.get("error") or say("coefficients.no_weight"))
    if found.arrived:
        return say("coefficients.near", distance=number(found.distance, 2)) if found.distance else say("coefficients.at")
    if reason := found.reasons.get("distance"):
        return say("coefficients.far_reason", reason=reason)
    return say("coefficients.far", distance=number(found.distance))


def _rows(record: Record, found: Inference) -> tuple[Row, ...]:
    terms = _in_order(found)

    def column(name: str) -> list[str]:
        values = [getattr(term, name) for term in terms]
        exact = name in {"weight", "low", "high"}
        digits = [_digits(found, term, value) if exact else 4 for term, value in zip(terms, values, strict=True)]
        return aligned([number(value, some, keep_zeros=True) for value, some in zip(values, digits, strict=True)])

    columns = [*map(column, ("weight", "error", "t", "low", "high")), [_chance(term.p) for term in terms]]
    return tuple(Row(named(record, term), cells) for term, cells in zip(terms, zip(*columns, strict=True), strict=True))


def _facts(record: Record, found: Inference, target: str) -> tuple[tuple[str, str], ...]:
    rows, free = record.dataset.rows_used, found.degrees_of_freedom

    def title(name: str, zero: str, optimum: str, zero_optimum: str) -> str:
        """A name: against the mean or 0, of the fit or of the optimum that it has not reached."""
        which = (name if found.centred else zero) if found.arrived else (optimum if found.centred else zero_optimum)
        return say(f"coefficients.facts.{which}")

    def said(name: str, text: str) -> str:
        if getattr(found, name) is not None:
            return text
        return say("coefficients.facts.none", reason=found.reasons.get(name) or say("coefficients.facts.undefined"))

    explained = say(
        "coefficients.facts.of_variance" if found.centred else "coefficients.facts.of_square",
        share=_share(found.r2),
        target=target,
    )
    tested = {"numerator": count(found.f_degrees), "denominator": count(free), "p": _chance(found.f_p)}
    return (
        (title("r2", "r2_zero", "r2_optimum", "r2_zero_optimum"), said("r2", explained)),
        (
            title("adjusted", "adjusted_zero", "adjusted_optimum", "adjusted_zero_optimum"),
            said("adjusted_r2", _share(found.adjusted_r2)),
        ),
        (title("f", "f", "f_optimum", "f_optimum"), said("f", say("coefficients.facts.f_is", f=number(found.f), **tested))),
        (
            title("error", "error", "error_optimum", "error_optimum"),
            said("residual_error", say("coefficients.facts.in_units", number=number(found.residual_error), target=target)),
        ),
        (
            title("rmse", "rmse", "rmse_optimum", "rmse_optimum"),
            said("rmse", say("coefficients.facts.in_units", number=number(found.rmse), target=target)),
        ),
        (
            say("coefficients.facts.degrees"),
            say("coefficients.facts.degrees_are", free=count(free), rows=count(rows), used=count((rows or 0) - free)),
        ),
    )


def _in_order(found: Inference) -> list[Term]:
    """The intercept first, as in the equation."""
    return sorted(found.terms, key=lambda term: term.feature is not None)


def _digits(found: Inference, term: Term, value: float | None) -> int:
    """Significant digits that reach down to the standard error's second, at least four."""
    if not value or not term.error or found.perfect:
        return 4
    return min(max(math.floor(math.log10(abs(value))) - math.floor(math.log10(term.error)) + 2, 4), _MOST_DIGITS)


def _share(r2: float | None, plain: bool = False) -> str:
    """An R², with as many digits as tell it from 1."""
    near = 0 if r2 is None or not 0 < 1 - r2 < 1e-3 else -math.floor(math.log10(1 - r2))
    return number(r2, min(max(4, near + 2), _MOST_DIGITS), plain=plain)


def _chance(p: float | None) -> str:
    return say("coefficients.no_chance") if p == 0 else number(p, 2)


def _level(found: Inference) -> str:
    return say("coefficients.level", number=number(100 * found.level))


def _name(name: str) -> str:
    return apart(visible(name))


def aligned(cells: Sequence[str]) -> list[str]:
    """Cells of a column that is set flush right, filled up with blanks as wide as digits so that points stand in a line.

    Powers of ten and what is no number stay as they are.
    """
    point, thousands = marks_in_use()
    behind = [
        len(cell.partition(point)[2]) if cell.strip("−").replace(thousands, "").replace(point, "").isdecimal() else None
        for cell in cells
    ]
    most = max((places for places in behind if places is not None), default=0)
    return [
        cell if places is None else f"{cell}{_POINT if most and not places else ''}{_FIGURE * (most - places)}"
        for cell, places in zip(cells, behind, strict=True)
    ]
