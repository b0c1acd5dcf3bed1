"""The weights with their standard errors and intervals, and what they explain, in words and cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gd.notation import apart, count, marks_in_use, number, visible
from gd.record import Inference, Record, Term

__all__ = ["Coefficients", "Row", "coefficients", "intervals", "named"]

_MOST_DIGITS = 15
_FIGURE, _POINT = "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"  # as wide as a digit, and as a point
_SUPPOSED = (
    "Standard errors suppose that rows do not depend on each other and that what is left of {} varies as much in all of them."
)


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
    label = "Coefficients" if found.arrived else "Coefficients of the exact optimum"
    return Coefficients(
        lead=_lead(found, known),
        label=label,
        caption=f"{label} in units of {target}, each with all other terms held",
        level=_level(found),
        rows=_rows(record, found) if known else (),
        notes=(_SUPPOSED.format(target),) if known and not found.perfect else (),
        facts=_facts(record, found, target),
    )


def named(record: Record, term: Term) -> str:
    """A term as people say it: a category against the one that is left out, a date by its days."""
    if term.feature is None:
        return "intercept"
    for encoded in record.dataset.encoded:
        if term.feature in encoded.features and encoded.kind == "category":
            level = encoded.levels[1 + encoded.features.index(term.feature)]
            return f"{_name(encoded.column)} = {_name(level)}, against {_name(encoded.levels[0])}"
        if encoded.kind == "dates" and term.feature in {encoded.column, *encoded.features}:
            return f"{_name(encoded.column)}, a day"
    return f"per unit of {_name(term.feature)}"


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
        parts.append(f"{'intercept' if term.feature is None else _name(term.feature)} {low} to {high}")
    if len(terms) > len(shown):
        parts.append(f"{count(len(terms) - len(shown))} more in the report")
    error = number(found.residual_error, plain=plain)
    r2 = "" if found.r2 is None else f"; {'R^2' if plain else 'R²'}{_against(found)} {_share(found.r2, plain)}"
    return f"{_level(found)} intervals: {', '.join(parts)}{r2}; residual standard error {error}."


def _lead(found: Inference, known: bool) -> str:
    if found.perfect:
        return (
            "Least squares fits perfectly but for rounding: nothing is left to measure errors by, standard errors and "
            "intervals are those of the rounding, and t, F and p are left out."
        )
    if not known:
        return f"There are no standard errors: {found.reasons.get('error', 'there is no weight')}."
    if found.arrived:
        near = f"within {number(found.distance, 2)} standard errors of" if found.distance else "at"
        return (
            f"Every weight ended {near} the least-squares optimum, whose errors and intervals are therefore those of the fit."
        )
    far = found.reasons.get("distance") or f"it lies up to {number(found.distance)} standard errors away"
    return f"These are the numbers of the least-squares optimum, which the fit has not reached: {far}."


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

    def said(name: str, text: str) -> str:
        return text if getattr(found, name) is not None else f"none: {found.reasons.get(name, 'not defined')}"

    explained = f"of the variance of {target}" if found.centred else f"of the mean square of {target}, as there is no intercept"
    at = "" if found.arrived else " at the optimum"
    degrees = f"{count(found.f_degrees)} and {count(free)} degrees of freedom"
    return (
        (f"R²{_against(found)}{at}", said("r2", f"{_share(found.r2)} {explained}")),
        (f"Adjusted R²{_against(found)}{at}", said("adjusted_r2", _share(found.adjusted_r2))),
        (f"F{at}, of all terms together", said("f", f"{number(found.f)} on {degrees}, p = {_chance(found.f_p)}")),
        (f"Residual standard error{at}", said("residual_error", f"{number(found.residual_error)}, in units of {target}")),
        (f"RMSE{at}, the root of the loss", said("rmse", f"{number(found.rmse)}, in units of {target}")),
        ("Degrees of freedom", f"{count(free)}: {count(rows)} rows less {count((rows or 0) - free)} for the weights"),
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
    return "below 10⁻³⁰⁰" if p == 0 else number(p, 2)


def _against(found: Inference) -> str:
    return "" if found.centred else " against 0"


def _level(found: Inference) -> str:
    return f"{number(100 * found.level)} %"


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
