"""What a run has learned, to be used on other rows: `model.json` (schema 1)."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from gd.cells import DAY
from gd.data import Array, Encoded, Provenance
from gd.dialect import Dialect, Format
from gd.inference import LEVEL, Estimates
from gd.moments import Moments
from gd.notation import escaped, visible
from gd.record import Fit, Record
from gd.refusal import listed, shown
from gd.settings import Loss
from gd.training import Outcome

__all__ = ["NAME", "Interval", "Link", "Model", "in_days", "load", "model_of"]

NAME = "model.json"
"""Of the file, in a run's folder."""

_SCHEMA = 1
_LONGEST = 256 << 20  # bytes: far more than any model is, less than a table that was named in its place may be
_WIDEST = 1000  # weights whose factor is kept: its numbers are half their square, 10 MB of text

Link = Literal["identity", "logit", "log"]

_LINKS: dict[Loss, Link] = {
    "mse": "identity", "notebook": "identity", "huber": "identity", "logistic": "logit", "poisson": "log",
}  # fmt: skip
_LEAST_SQUARES = {"mse", "notebook"}  # the notebook's has another gradient, and the same optimum
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Part):
    """What the interval of a prediction needs, beside the row x itself.

    The standard error of the mean at x is residual_error · ‖Fᵀ b‖, that of a new observation residual_error · √(1 + ‖Fᵀ b‖²);
    b = [x - centre, 1] under an intercept, else b = x. An interval is the prediction ∓ so many of them as Student's t has at
    its level. F Fᵀ is the inverse of the sum of all b bᵀ over the rows trained on. It is never made: F comes from their
    triangle, and x is counted from the centre, so that no digit is lost on columns far from zero.
    """

    level: float = Field(gt=0, lt=1)
    residual_error: FiniteFloat = Field(gt=0)  # in units of the target
    degrees_of_freedom: int = Field(ge=1, le=2**53)
    centre: tuple[FiniteFloat, ...]  # one a feature, in its units; 0 without an intercept
    factor: tuple[tuple[FiniteFloat, ...], ...]  # F, upper triangular: of each row what stands from its diagonal on

    @property
    def F(self) -> Array:  # noqa: N802
        """The factor, (p, p)."""
        found = np.zeros((len(self.factor), len(self.factor)))
        found[np.triu_indices(len(self.factor))] = [value for row in self.factor for value in row]
        return found


class Model(_Part):
    """A linear model in the units of a CSV: `model.json`.

    The score of a row is intercept + Σ weight · feature. The prediction is the score (link identity), e^score (log), or
    1/(1 + e^-score), the probability of the second class (logit).
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    run: str  # its id
    version: str  # of gd
    dataset: str  # its name
    sha256: str | None  # of the data that it was trained on
    verdict: str  # of the run
    backend: str  # whose weights these are: the first that did not diverge
    arrived: bool  # whether they are the optimum's to anyone who reads these numbers; see `gd.inference`
    loss: Loss
    target: str
    link: Link
    classes: tuple[str, str] | None = None  # of a logit, as they are written in the target's column
    features: tuple[str, ...]  # in order
    intercept: FiniteFloat | None  # None: the model has none
    weights: dict[str, FiniteFloat]  # by feature
    encoded: tuple[Encoded, ...] = ()  # columns of text that features are made of
    dates: Literal["days since the first"] = "days since the first"  # that `encoded` names; where a zone is told, in UTC
    dialect: Dialect = Dialect()  # how cells are written, as far as a user said so
    interval: Interval | None = None
    reasons: dict[str, str] = Field(default_factory=dict)  # why a value above is null

    @model_validator(mode="after")
    def _fits_together(self) -> Model:
        p = len(self.features) + (self.intercept is not None)
        if not self.features or sorted(self.weights) != sorted(self.features):
            raise ValueError("each feature has one weight")
        if stray := {name for one in self.encoded for name in one.features} - set(self.features):
            raise ValueError(f"encoded makes no feature of {listed(sorted(stray))}")
        if (self.classes is not None) != (self.link == "logit"):
            raise ValueError("a logit, and nothing else, has two classes")
        if self.interval is not None:
            if len(self.interval.centre) != len(self.features):
                raise ValueError("interval.centre has one number a feature")
            if [len(row) for row in self.interval.factor] != [*range(p, 0, -1)]:
                raise ValueError(f"interval.factor is no triangle of {p} rows")
        for one in self.encoded:
            if one.kind == "dates":
                origin(one)
            made = {f"{one.column}={level}" for level in one.levels[1:]} if one.kind == "category" else {one.column}
            if not {*one.features} <= made or len(one.levels) != len({*one.levels}):
                raise ValueError(f"encoded makes other features of {shown(one.column)}")
        plain = {*self.features} - {name for one in self.encoded for name in one.features}
        if both := plain.intersection(one.column for one in self.encoded if one.features):
            raise ValueError(f"encoded has {shown(min(both))}, which is a feature itself")
        return self

    @property
    def columns(self) -> dict[str, Encoded | None]:
        """The columns of a CSV that features are made of, in order, and how, where they are not numbers themselves."""
        made = {name: one for one in self.encoded for name in one.features}
        return {made[name].column if name in made else name: made.get(name) for name in self.features}

    def to_json(self) -> str:
        """As `model.json` holds it; what is invisible is escaped."""
        return escaped(self.model_dump_json(by_alias=True, indent=2))


def origin(encoded: Encoded) -> float:
    """The first date of a column, which is 0, in microseconds since 1970.

    Raises:
        ValueError: if it is no date.
    """
    first = datetime.fromisoformat(encoded.first or "")
    if first.tzinfo is not None:
        raise ValueError("the first date is one in UTC, and tells no time zone")
    since = first.replace(tzinfo=UTC) - _EPOCH
    return float(since // timedelta(microseconds=1))


def in_days(moments: Array, encoded: Encoded) -> Array:
    """Microseconds since 1970 as the days that a feature counts, both (n,)."""
    return np.asarray((moments - origin(encoded)) / float(DAY))


def model_of(record: Record, moments: Moments, estimates: Estimates | None = None) -> Model | None:
    """The model that a run has come to; None where there is none, since it failed or every backend diverged.

    Args:
        record: of the run.
        moments: of the features, then the target, in units of the CSV.
        estimates: of the least-squares optimum; not looked at where a penalty or another loss has its own.
    """
    fit = next((one for one in record.fits if one.outcome != Outcome.DIVERGED and _finite(one)), None)
    if fit is None:
        return None
    data, loss = record.dataset, record.training.loss
    link = _LINKS[loss]  # type: ignore[index]  # the record takes any name
    centred = fit.intercept is not None
    penalised = bool(record.training.l1 or record.training.l2 or record.training.weight_decay)
    optimum = estimates if loss in _LEAST_SQUARES and not penalised else None
    arrived = fit.outcome == Outcome.CONVERGED if optimum is None else optimum.arrived(_excess(fit, moments, optimum))
    interval, reason = _interval(moments, optimum, centred), ""
    if optimum is None:
        penalty = "a penalty has moved the weights away from least squares, which intervals are about"
        reason = penalty if loss in _LEAST_SQUARES else f"they are those of least squares, and the loss is {loss}"
    elif optimum.gap is not None:
        said = record.inference.reasons if record.inference is not None else {}
        reason = said.get("t", "the optimum has no standard errors")
    elif not arrived:
        reason = "the weights did not arrive at the optimum, which intervals are about"
    elif interval is None:
        wide = f"more than {_WIDEST:,} weights"
        reason = wide if len(fit.weights) + centred > _WIDEST else "more than float64 holds in the units of the CSV"
    reasons = {"interval": reason} if reason else {}
    if not centred:
        reasons["intercept"] = "the model has none"
    return Model(
        run=record.run.id,
        version=record.run.version,
        dataset=data.name,
        sha256=data.sha256,
        verdict=record.verdict,
        backend=fit.backend,
        arrived=arrived,
        loss=loss,
        target=data.target,
        link=link,
        classes=_classes(data) if link == "logit" else None,
        features=data.features,
        intercept=fit.intercept,
        weights=fit.weights,
        encoded=tuple(one for one in data.encoded if one.features),
        dialect=_dialect(data.format),
        interval=None if "interval" in reasons else interval,
        reasons=reasons,
    )


def load(path: Path) -> Model:
    """Read a model.

    Args:
        path: a `model.json`, or the folder of a run.

    Raises:
        ValueError: if it is none, in words: file, what is wrong, what to do.
    """
    file = path / NAME if path.is_dir() else path
    try:
        if file.stat().st_size > _LONGEST:
            raise ValueError(f"{file}: is too large for a model. Name a model.json, then the CSV.")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if (path / "run.json").exists():
            none = "a data set that failed, or whose every descent diverged, has none"
            raise ValueError(f"{file}: no such file: {none}. Name another run.") from None
        raise ValueError(f"{file}: no such file. Name a model.json, or the folder of a run.") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: is no model but other bytes than UTF-8. Name a model.json, then the CSV.") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "not as JSON nests"
        raise ValueError(f"{file}: is no JSON ({reason}). Name a model.json, then the CSV.") from None
    if not isinstance(found, dict) or "schema" not in found or "weights" not in found:
        beside = " Its model stands beside it, in model.json." if isinstance(found, dict) and "fits" in found else ""
        raise ValueError(f"{file}: is no model.{beside or ' Name a model.json, or the folder of a run.'}")
    if found["schema"] != _SCHEMA:
        raise ValueError(f"{file}: is a model of schema {found['schema']!r:.20}, and this gd knows {_SCHEMA}. Update gd.")
    try:
        return Model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        said = f"{f'{visible(place)}: ' if place else ''}{fault['msg'].removeprefix('Value error, ')}"
        raise ValueError(f"{file}: is a model that was changed ({said}). Take the run's own.") from None


def _finite(fit: Fit) -> bool:
    """Whether its weights are numbers in the units of the CSV."""
    there = None not in fit.weights.values()
    return there and (fit.intercept is not None or fit.reasons.get("intercept") == "the model has none")


def _classes(data: Provenance) -> tuple[str, str]:
    """What the target of a logistic loss had as 0 and as 1, as it is written."""
    first, second = next((one.levels for one in data.encoded if one.column == data.target), ("0", "1"))
    return first, second


def _excess(fit: Fit, moments: Moments, optimum: Estimates) -> float:
    """How much the loss of a fit lies above the optimum's: the mean square of how their predictions differ."""
    weights = np.array([*fit.weights.values(), *([] if fit.intercept is None else [fit.intercept])], np.float64)
    features, unit = [*range(len(fit.weights))], moments.unit[:-1]
    beside = weights - optimum.weights
    R = moments.triangle(features, intercept=fit.intercept is not None)[:, :-1]
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = beside[: len(features)] / unit
        apart = slopes if fit.intercept is None else [beside[-1] + beside[:-1] @ moments.shift[:-1], *slopes]
        excess = float(np.sum((R @ apart) ** 2)) / moments.n
    return excess if math.isfinite(excess) else math.inf


def _interval(moments: Moments, optimum: Estimates | None, centred: bool) -> Interval | None:
    """Whatever an interval needs; None where it is not defined or not to be held."""
    d = len(moments.shift) - 1
    if optimum is None or optimum.gap is not None or d + centred > _WIDEST:
        return None
    unit, centre = moments.unit[:-1], moments.means[:-1] if centred else np.zeros(d)
    if centred:  # of z counted from the centre; the constant's column last, which these are all but orthogonal to
        moved = moments.R[:, 1:-1] - np.outer(moments.R[:, 0], (centre - moments.shift[:-1]) * unit)
        B, unit = np.column_stack([moved, moments.R[:, 0]]), np.append(unit, 1.0)
    else:
        B = moments.triangle([*range(d)], intercept=False)[:, :-1]
    size = np.linalg.norm(B, axis=0)  # else columns of other sizes would cost digits
    R = np.linalg.qr(B / size, mode="r")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        F = (unit / size)[:, None] * np.linalg.solve(R, np.eye(len(R)))
    if not (np.isfinite(F).all() and math.isfinite(optimum.residual_error) and optimum.residual_error > 0):
        return None
    return Interval(
        level=LEVEL,
        residual_error=optimum.residual_error,
        degrees_of_freedom=optimum.degrees_of_freedom,
        centre=tuple(map(float, centre)),
        factor=tuple(tuple(map(float, row[j:])) for j, row in enumerate(F)),
    )


def _dialect(found: Format | None) -> Dialect:
    """What a user said of how cells are written; how they are separated, and in what bytes, another file may do otherwise."""
    if found is None:
        return Dialect()
    said = {name: getattr(found, name) for name in ("decimal", "thousands", "comment", "units", "parentheses")}
    if "missing" in found.given:
        said["missing"] = tuple(mark for mark in found.missing if mark)
    if "header" in found.given and found.header_line is None:  # columns are named by their places
        said["header"] = "none"
    return Dialect(**said)
