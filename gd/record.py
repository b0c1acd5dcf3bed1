"""What a run leaves behind, as values: `run.json` (schema 1) and the log of its epochs."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from gd.comparison import Comparison
from gd.data import Array, DataError, Provenance, Scaling, Source, bundled
from gd.diagnosis import Diagnosis, Spectrum
from gd.dialect import Dialect
from gd.inference import LEVEL, Estimates
from gd.look import Look
from gd.notation import legible
from gd.reading import Reading
from gd.settings import Training, preset
from gd.stream import redacted
from gd.sweep import Sweep
from gd.training import Outcome, Trace

__all__ = ["EpochLog", "Findings", "Previous", "Record", "Residuals", "Try", "command", "epoch_log", "failed", "trained"]

_ESCAPED = "\\'"
_TOO_MANY = "more than 1,000,000,000,000 epochs"

_GAPS = {
    "few-rows": "there are no more rows than the weights can follow, so that nothing is left to measure errors by",
    "constant-target": "the target never changes",
    "not-unique": "the weights are not unique",
    "perfect": "least squares fits perfectly but for rounding: nothing is left to measure errors by",
}
_OF_A_TERM = ("weight", "error", "t", "p", "low", "high")
_OF_ALL = ("quantile", "residual_error", "rmse", "r2", "adjusted_r2", "f", "f_p")

_USUAL = Dialect()
_WORDS = {"\t": "tab", " ": "space", "": "none", "'": "single"}  # what no one types

Verdict = Literal["converged", "exhausted", "diverged", "disagree", "failed"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Git(_Part):
    """The commit that ran, when it ran from a clone."""

    commit: str
    dirty: bool


class Run(_Part):
    """Which run it was. Times are UTC."""

    id: str
    trigger: Literal["manual", "scheduled"] = "manual"
    scheduled_for: datetime | None = None
    started: datetime
    finished: datetime
    version: str
    git: Git | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    command: str


class Settings(_Part):
    """How it was trained; the learning rate as a number, whatever the setting was."""

    loss: str
    optimizer: str
    learning_rate: float | None
    learning_rate_setting: Literal["auto", "fixed", "sweep"]
    epochs: int
    tolerance: float
    stops_early: bool
    keep_weights: int | None = 1  # of every so many epochs, as a number; None where auto never came to one
    dtype: str
    intercept: bool
    standardize: bool
    method: Literal["rows", "moments"] | None = "rows"  # None where it came to no training
    method_setting: Literal["auto", "rows", "moments"] = "auto"
    backends: tuple[str, ...]
    preset: str | None = None
    shift: tuple[float, ...] = ()  # one a feature: trained on (x - shift) / scale
    scale: tuple[float, ...] = ()


class Fit(_Part):
    """Where one backend ended; weights and intercept in the units of the CSV."""

    backend: str
    title: str
    outcome: Outcome
    epochs: int
    loss: float | None
    r2: float | None
    centred: bool = True  # R² against the mean; else against 0, as without an intercept. Records of before knew only the mean
    gradient_norm: float | None
    intercept: float | None
    weights: dict[str, float | None]
    last_finite_epoch: int | None = None  # where the loss did not stay finite
    last_finite_loss: float | None = None
    seconds: float
    reasons: dict[str, str] = Field(default_factory=dict)  # why a value above is null


class Try(_Part):
    """Where one backend ended with one of several learning rates."""

    backend: str
    rate: float
    outcome: Outcome
    epochs: int
    loss: float | None
    excess_loss: float | None  # above the optimum's
    last_finite_epoch: int | None = None  # where the loss did not stay finite
    last_finite_loss: float | None = None
    reasons: dict[str, str] = Field(default_factory=dict)


class Tries(_Part):
    """Several learning rates beside each other; the best, by the first backend, is the one that the fits were trained with."""

    rates: tuple[float, ...]  # ascending
    best: float
    fits: tuple[Try, ...]  # backend by backend


class Agreement(_Part):
    """The largest gaps between any two backends; weights as trained, relative gaps as in `gd.comparison`."""

    agree: bool
    epochs_compared: int
    max_weight_gap: float | None
    max_loss_gap: float | None
    max_relative_weight_gap: float | None
    max_relative_loss_gap: float | None
    max_prediction_gap: float | None = None  # root mean square over all rows, in units of the target
    max_relative_prediction_gap: float | None = None
    compared_by: Literal["weights", "predictions"] = "weights"  # what decides beside the losses
    tolerance: float
    first_epoch_apart: int | None
    reasons: dict[str, str] = Field(default_factory=dict)


class Findings(_Part):
    """The curvature of the loss as trained, and what follows from it."""

    curvature: tuple[float, float]
    condition: float | None
    stable_below: float | None
    best_rate: float | None
    contraction: float
    rank: int | None = None  # of the design matrix; None in records of before it was kept
    parameters: int | None = None  # the weights are unique where the rank is as large
    optimum_loss: float | None
    target_variance: float | None = None
    first_excess_loss: float | None
    first_gradient_norm: float | None
    excess_loss: float | None
    predicted_epochs: int | None
    predicted_epochs_best: int | None
    optimum_intercept: float | None
    optimum: dict[str, float | None]
    gradient_ratio: dict[str, float | None]
    gradient_error: dict[str, float | None]
    eigenvalues: tuple[float, ...]
    hessian: tuple[tuple[float, ...], ...] | None = None  # for one or two parameters, to draw the loss surface
    principal: tuple[tuple[float, ...], ...] | None = None  # for more, directions: of the least curvature above 0, of the most
    reasons: dict[str, str] = Field(default_factory=dict)


class Term(_Part):
    """One weight of the least-squares optimum, in units of the CSV, and how sure it is."""

    feature: str | None  # None: the intercept
    weight: float | None
    error: float | None  # standard error
    t: float | None
    p: float | None  # two-sided
    low: float | None  # of the interval
    high: float | None


class Inference(_Part):
    """What ordinary least squares says of its own result: of the exact optimum, and so of the fits where they arrived there."""

    arrived: bool  # whether every backend ended so near the optimum that all this is true of its weights
    distance: float | None  # of the farthest backend from it, in standard errors: no weight lies further
    degrees_of_freedom: int  # rows less rank
    level: float = LEVEL  # of the intervals
    quantile: float | None  # of Student's t: half an interval in standard errors
    terms: tuple[Term, ...]  # the intercept last
    residual_error: float | None  # √(residual sum of squares / degrees of freedom), in units of the target
    rmse: float | None  # √(residual sum of squares / rows), in units of the target
    centred: bool  # R² and F against the mean, as under an intercept; else against 0
    r2: float | None
    adjusted_r2: float | None
    f: float | None  # of all weights but the intercept together
    f_degrees: int  # of its numerator; of its denominator there are degrees_of_freedom
    f_p: float | None
    perfect: bool = False  # residuals of no more than rounding
    reasons: dict[str, str] = Field(default_factory=dict)  # why a value above is null; a name of a term's for all terms


class Residuals(_Part):
    """What `fit.csv` counts: actual less fitted value, by one backend's weights, of all rows or of a sample of them.

    Mean and spread are those of all rows, whatever was counted.
    """

    backend: str
    rows: int  # that were counted
    of: int  # rows used
    every: int = 1  # one row of so many is in the sample
    mean: float
    spread: float  # standard deviation


class Failure(_Part):
    """Why a data set has no result."""

    type: str
    message: str
    where: str


class Previous(_Part):
    """The last run of the same data set that had a result: what a report needs of it to say what has changed."""

    id: str
    started: datetime
    verdict: Verdict
    failed_since: int = 0  # runs between that one and this one that had no result
    epochs: int
    loss: float | None  # of the first backend, like what follows
    r2: float | None
    intercept: float | None
    weights: dict[str, float | None]
    rows_used: int | None
    sha256: str | None
    settings: dict[str, JsonValue]
    version: str
    packages: dict[str, str] = Field(default_factory=dict)
    expected: dict[str, tuple[float, float]] = Field(default_factory=dict)  # where the runs before let this one's weights be
    expected_intercept: tuple[float, float] | None = None  # all as in `gd.history.judged`


class Shown(_Part):
    """How the report was drawn, so that it is drawn the same again."""

    templates: str | None = None  # SHA-256 of the folder of a user's own; None where there was none
    zone: str | None = None  # of every time shown; None is UTC
    numbers: str = "en"  # how they are written: see `gd.notation.marks`

    @classmethod
    def by(cls, look: Look) -> Shown:
        """What is kept of a look."""
        return cls(templates=look.fingerprint(), zone=look.zone, numbers=look.numbers)


class Record(_Part):
    """All that is known of one run over one data set: `run.json`."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    run: Run
    dataset: Provenance
    training: Settings
    fits: tuple[Fit, ...] = ()
    comparison: Agreement | None = None
    diagnosis: Findings | None = None
    sweep: Tries | None = None  # where several learning rates were tried
    inference: Inference | None = None  # None in records of before it was kept
    previous: Previous | None = None  # None for the first run of a data set
    residuals: Residuals | None = None  # None where nothing could be counted, and in records of before it was
    report: Shown = Shown()
    verdict: Verdict
    error: Failure | None = None

    def look(self, templates: str | None = None) -> Look:
        """How its report is to be drawn again.

        Args:
            templates: folder of a user's own, of which a record knows no path.
        """
        return Look.model_construct(templates=templates, zone=self.report.zone, numbers=self.report.numbers)

    def to_json(self, indent: int | None = 2) -> str:
        """As `run.json` holds it; numbers that are not finite are null, beside a reason, and what is invisible is escaped."""
        text = self.model_dump_json(by_alias=True, indent=indent)
        if text.isascii():
            return text
        return "".join(c if c.isascii() or legible(c) else json.dumps(c)[1:-1] for c in text)


@dataclass(frozen=True, slots=True, eq=False)
class EpochLog:
    """Every epoch of every backend: the columns of `epochs.csv`, in its order.

    A column has an entry at every epoch, or only at those that `at` names for it: the weights where they were thinned, and
    anything of a backend that stopped earlier than another. No array here is as long as all epochs times all weights.

    Named `epoch`; for each backend b `b_loss`, `b_excess_loss`, `b_gradient_norm`, `b_weight_FEATURE` and `b_intercept`
    (weights in the units of the CSV); `theory_excess_loss`; and the gaps `loss_gap`, `relative_loss_gap`, `weight_gap`,
    `relative_weight_gap`.
    """

    columns: dict[str, Array]  # each (epochs,), or (m,) where it is named in `at`
    at: dict[str, Array] = field(default_factory=dict)  # each (m,), ascending

    def __len__(self) -> int:
        """Epochs of the backend that trained longest."""
        return len(self.columns["epoch"])

    def __getitem__(self, column: str) -> Array:
        """One column, (epochs,); NaN where it has no entry."""
        if column not in self.at:
            return self.columns[column]
        whole = np.full(len(self), np.nan)
        whole[self.at[column]] = self.columns[column]
        return whole

    def entries(self, column: str) -> tuple[Array, Array]:
        """The epochs at which a column has an entry, and these, each (m,)."""
        return self.at.get(column, self.columns["epoch"]), self.columns[column]

    def weights(self, backend: str, features: Sequence[str], intercept: bool) -> tuple[Array, Array]:
        """The epochs after which the weights were kept, (m,), and these in CSV units, the intercept last, (m, p)."""
        names = [f"{backend}_weight_{feature}" for feature in features] + [f"{backend}_intercept"] * intercept
        return self.entries(names[0])[0], np.stack([self.columns[name] for name in names], axis=1)


def epoch_log(
    names: Sequence[str],
    traces: Sequence[Trace],
    features: Sequence[str],
    intercept: bool,
    scaling: Scaling,
    comparison: Comparison,
    diagnosis: Diagnosis,
) -> EpochLog:
    """Lay the traces side by side.

    Args:
        names: one a backend.
        traces: one a backend.
        features: names of the features, (d,).
        intercept: whether the last weight is one.
        scaling: takes the weights back to the units of the CSV.
        comparison: of the same traces.
        diagnosis: of the same traces.
    """
    every = max(trace.keep_weights for trace in traces)
    epochs = np.arange(max(map(len, traces)))
    columns: dict[str, Array] = {"epoch": epochs}
    at: dict[str, Array] = {}

    def put(name: str, values: Array, where: Array) -> None:
        columns[name] = values
        if len(where) < len(epochs):
            at[name] = where

    for name, trace in zip(names, traces, strict=True):
        chosen = (trace.steps % every == 0) | (trace.steps == len(trace))  # one backend may have been thinned once more
        steps, theta = trace.steps[chosen], trace.theta[chosen].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            after = scaling.to_units(theta[1:], intercept)
        seen = epochs[: len(trace)]
        put(f"{name}_loss", trace.loss, seen)
        put(f"{name}_excess_loss", diagnosis.spectrum.excess(theta[:-1]), steps[:-1])
        put(f"{name}_gradient_norm", trace.gradient_norm, seen)
        for j, feature in enumerate(features):
            put(f"{name}_weight_{feature}", after[:, j].copy(), steps[1:] - 1)
        if intercept:
            put(f"{name}_intercept", after[:, -1].copy(), steps[1:] - 1)
    columns["theory_excess_loss"] = diagnosis.spectrum.predicted_excess(diagnosis.rate, epochs)
    for gap in ("loss_gap", "relative_loss_gap"):
        put(gap, getattr(comparison, gap), epochs[: len(comparison.loss_gap)])
    for gap in ("weight_gap", "relative_weight_gap"):
        put(gap, getattr(comparison, gap)[comparison.kept], comparison.kept)
    return EpochLog(columns, at)


def trained(
    run: Run,
    reading: Reading,
    training: Training,
    scaling: Scaling,
    titles: Sequence[str],
    traces: Sequence[Trace],
    comparison: Comparison,
    diagnosis: Diagnosis,
    sweeps: Sequence[Sweep] = (),
    estimates: Estimates | None = None,
    look: Look = Look(),  # noqa: B008  (frozen)
) -> Record:
    """The record of a data set that was trained.

    Args:
        run: which run it was.
        reading: what was trained on.
        training: the settings.
        scaling: takes the weights back to the units of the CSV.
        titles: how people write the backends' names, one a backend.
        traces: one a backend, in the order of `training.backends`.
        comparison: of the same traces.
        diagnosis: of the same traces.
        sweeps: one a backend, where several learning rates were tried.
        estimates: of the optimum in units of the CSV.
        look: of its report.
    """
    fits = tuple(
        _fit(name, title, trace, reading, training.intercept, scaling)
        for name, title, trace in zip(training.backends, titles, traces, strict=True)
    )
    return Record(
        run=run,
        dataset=reading.provenance,
        training=_settings(training, diagnosis.rate, scaling, reading.method, max(trace.keep_weights for trace in traces)),
        fits=fits,
        comparison=_agreement(comparison),
        diagnosis=_findings(diagnosis, reading, training, scaling, traces),
        sweep=_tries(training.backends, sweeps, diagnosis) if sweeps else None,
        inference=_inference(estimates, reading.provenance.features, diagnosis) if estimates is not None else None,
        report=Shown.by(look),
        verdict=_verdict(fits, comparison),
    )


def failed(
    run: Run,
    source: Source,
    name: str,
    training: Training,
    error: Exception,
    look: Look = Look(),  # noqa: B008
) -> Record:
    """The record of a data set that has no result, and why."""
    where = error.where if isinstance(error, DataError) else source.shown
    return Record(
        run=run,
        dataset=Provenance(name=name, path=source.shown, target=source.target, features=source.features or ()),
        training=_settings(training, None, None, None, None),
        report=Shown.by(look),
        verdict="failed",
        error=Failure(type=type(error).__name__, message=str(error) or repr(error), where=where),
    )


def command(source: Source, training: Training, look: Look = Look()) -> str:  # noqa: B008
    """The command that does the same again, fit to be pasted into a shell; without templates, whose place is no one else's."""
    default = preset(training.preset) if training.preset else Training()
    words = ["gd", "run", *_source_words(source, training)]
    for name in ("loss", "optimizer", "learning_rate", "epochs", "tolerance", "keep_weights", "dtype", "method"):
        if (value := getattr(training, name)) != getattr(default, name):
            words += [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    for name in ("intercept", "standardize"):
        if getattr(training, name) != getattr(default, name):
            words += [f"--{'' if getattr(training, name) else 'no-'}{name}"]
    if training.backends != default.backends:
        words += ["--backends", ",".join(training.backends)]
    if look.zone is not None:
        words += ["--zone", look.zone]
    if look.numbers != "en":
        words += _option("numbers", look.numbers)
    return " ".join(map(_quoted, words))


def _path(path: str) -> str:
    """A path that is not taken for an option."""
    return f"./{path}" if path.startswith("-") else path


def _quoted(word: str) -> str:
    """A word for the shell, its invisible characters as escapes that bash and zsh read back."""
    if legible(word):
        return shlex.quote(word)
    return f"$'{''.join(c if legible(c) and c not in _ESCAPED else _octal(c) for c in word)}'"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _source_words(source: Source, training: Training) -> list[str]:
    """Which data, and how it is read."""
    ours = training.preset is not None and Path(source.path).resolve() == bundled(training.preset).resolve()
    words = [] if ours else [_path(redacted(path)) for path in (source.path, *source.more)]
    if source.as_one is not None:
        words += _option("as-one", source.as_one)
    if training.preset:
        words += ["--preset", training.preset]
    if not ours:
        words += _option("target", source.target)
    for name in ("features", "leave_out", "encode"):
        if names := getattr(source, name):
            words += _option(name, _row(names))
    for name in Dialect.model_fields:
        if (said := getattr(source.dialect, name)) != getattr(_USUAL, name):
            words += _option(name, _WORDS.get(said, said) if isinstance(said, str) else said)
    return words


def _option(name: str, value: Any) -> list[str]:
    """An option as it is typed: one whose value could be taken for another option in a word with it."""
    word = f"--{name.replace('_', '-')}"
    if value is True:
        return [word]
    text = _row(value) if isinstance(value, tuple) else str(value)
    return [f"{word}={text}"] if text.startswith("-") else [word, text]


def _row(names: Sequence[str]) -> str:
    """Names as one row of a CSV, which is how `--features` is read."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(names)  # it quotes a name for what its own lines end in
    return text.getvalue().removesuffix("\r\n")


def _verdict(fits: Sequence[Fit], comparison: Comparison) -> Verdict:
    outcomes = {fit.outcome for fit in fits}
    if not comparison.agree:
        return "disagree"
    if Outcome.DIVERGED in outcomes:
        return "diverged"
    return "exhausted" if Outcome.EXHAUSTED in outcomes else "converged"


def _settings(
    training: Training,
    rate: float | None,
    scaling: Scaling | None,
    method: Literal["rows", "moments"] | None,
    every: int | None,
) -> Settings:
    return Settings(
        loss=training.loss,
        optimizer=training.optimizer,
        learning_rate=training.learning_rate if rate is None and isinstance(training.learning_rate, float) else rate,
        learning_rate_setting="sweep" if training.sweeps else "auto" if training.learning_rate == "auto" else "fixed",
        epochs=training.epochs,
        tolerance=training.stop_below,
        stops_early=training.stops_early,
        keep_weights=every if training.keep_weights == "auto" else training.keep_weights,
        dtype=training.dtype,
        intercept=training.intercept,
        standardize=training.standardize,
        method=method,
        method_setting=training.method,
        backends=training.backends,
        preset=training.preset,
        shift=tuple(map(float, scaling.shift)) if scaling else (),
        scale=tuple(map(float, scaling.scale)) if scaling else (),
    )


def _fit(name: str, title: str, trace: Trace, reading: Reading, intercept: bool, scaling: Scaling) -> Fit:
    reasons: dict[str, str] = {}
    features = reading.provenance.features
    finite = np.flatnonzero(np.isfinite(trace.loss))
    last = int(finite[-1]) if len(finite) else None
    overflowed = not (np.isfinite(trace.loss[-1]) and math.isfinite(trace.final_loss))
    begins = f"not finite from epoch {0 if last is None else last + 1} on"
    moments = reading.moments
    total = moments.target_variance if intercept else moments.target_square  # the loss of the constant model, or of none
    constant = bool(moments.low[-1] == moments.high[-1] and (intercept or moments.low[-1] == 0))
    loss = _finite(trace.final_loss)
    explained = None if loss is None or total == 0 else _finite(1 - loss / total)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = scaling.to_units(trace.theta[-1].astype(np.float64), intercept)
    if loss is None:
        reasons |= {"loss": begins, "r2": begins}
    elif constant:
        reasons["r2"] = "the target never changes"
    elif explained is None:
        beside = "variance" if intercept else "mean square"
        reasons["r2"] = f"the loss is too large beside the target's {beside}, or that is less than float64 holds"
    if not np.isfinite(weights).all():
        reasons |= {"weights": begins, "intercept": begins}
    if not intercept:
        reasons["intercept"] = "the model has none"
    return Fit(
        backend=name,
        title=title,
        outcome=trace.outcome,
        epochs=len(trace),
        loss=loss,
        r2=None if constant else explained,
        centred=intercept,
        gradient_norm=_finite(float(trace.gradient_norm[-1])),
        intercept=_finite(float(weights[-1])) if intercept else None,
        weights={feature: _finite(float(weight)) for feature, weight in zip(features, weights[: len(features)], strict=True)},
        last_finite_epoch=last if overflowed else None,
        last_finite_loss=float(trace.loss[last]) if overflowed and last is not None else None,
        seconds=float(trace.seconds[-1]),
        reasons=reasons,
    )


def _tries(backends: Sequence[str], sweeps: Sequence[Sweep], diagnosis: Diagnosis) -> Tries:
    fits = [
        _try(backend, sweep, j, diagnosis)
        for backend, sweep in zip(backends, sweeps, strict=True)
        for j in range(len(sweep))
    ]  # fmt: skip
    return Tries(rates=tuple(map(float, sweeps[0].rates)), best=diagnosis.rate, fits=tuple(fits))


def _try(backend: str, sweep: Sweep, j: int, diagnosis: Diagnosis) -> Try:
    loss, last = _finite(float(sweep.loss[j])), int(sweep.last_finite_epoch[j])
    excess = (
        _finite(float(diagnosis.spectrum.excess(sweep.theta[j : j + 1].astype(np.float64))[0])) if loss is not None else None
    )
    begins = f"not finite from epoch {last + 1} on"
    return Try(
        backend=backend,
        rate=float(sweep.rates[j]),
        outcome=sweep.outcomes[j],
        epochs=int(sweep.epochs[j]),
        loss=loss,
        excess_loss=excess,
        last_finite_epoch=last if loss is None and last >= 0 else None,
        last_finite_loss=float(sweep.last_finite_loss[j]) if loss is None and last >= 0 else None,
        reasons={name: begins for name, value in {"loss": loss, "excess_loss": excess}.items() if value is None},
    )


def _agreement(comparison: Comparison) -> Agreement:
    def largest(gaps: Array) -> float | None:
        return _finite(float(np.nanmax(gaps))) if np.isfinite(gaps).any() else None

    nothing = "no epoch in which every backend was finite"
    if np.isfinite(comparison.loss_gap).any():
        nothing += ", and after which the weights of all were kept"
    gaps = {
        f"max_{name}": largest(getattr(comparison, name))
        for gap in ("weight_gap", "loss_gap", "prediction_gap")
        for name in (gap, f"relative_{gap}")
    }
    return Agreement(
        agree=comparison.agree,
        epochs_compared=int(np.isfinite(comparison.loss_gap).sum()),
        **gaps,
        compared_by=comparison.by,
        tolerance=comparison.tolerance,
        first_epoch_apart=comparison.first_epoch_apart,
        reasons={name: nothing for name, gap in gaps.items() if gap is None},
    )


def _findings(
    diagnosis: Diagnosis, reading: Reading, training: Training, scaling: Scaling, traces: Sequence[Trace]
) -> Findings:
    found, features = diagnosis.spectrum, reading.provenance.features
    reasons: dict[str, str] = {}
    if not math.isfinite(found.condition):
        reasons["condition"] = "infinite: at least one direction is flat, the weights are not unique"
    if not math.isfinite(diagnosis.predicted_epochs):
        above = diagnosis.rate >= found.stable_below
        reasons["predicted_epochs"] = "the step is above the stable limit" if above else _TOO_MANY
    if not math.isfinite(diagnosis.predicted_epochs_best):
        reasons["predicted_epochs_best"] = _TOO_MANY
    if not math.isfinite(found.stable_below):
        reasons |= {"stable_below": "the loss is flat", "best_rate": "the loss is flat"}
    if not math.isfinite(diagnosis.excess_loss):
        reasons["excess_loss"] = "training ended on weights that are not finite"
    checks = dict(zip(training.backends, diagnosis.gradients, strict=True))
    for name, check in checks.items():
        if not math.isfinite(check.ratio):
            flat = "the loss is flat, or not finite, where the gradient was checked"
            reasons |= {f"gradient_ratio.{name}": flat, f"gradient_error.{name}": flat}
    with np.errstate(over="ignore", invalid="ignore"):
        optimum = scaling.to_units(found.optimum, training.intercept)
    if not np.isfinite(optimum).all():
        reasons |= {"optimum": "not finite in the units of the CSV", "optimum_intercept": "not finite in the units of the CSV"}
    small = len(found.eigenvalues) <= 2
    hessian = found.vectors @ np.diag(found.eigenvalues) @ found.vectors.T
    return Findings(
        curvature=(float(found.eigenvalues[0]), float(found.eigenvalues[-1])),
        condition=_finite(found.condition),
        stable_below=_finite(found.stable_below),
        best_rate=_finite(found.best_rate),
        contraction=found.contraction(diagnosis.rate),
        rank=diagnosis.rank,
        parameters=len(found.eigenvalues),
        optimum_loss=_finite(found.optimum_loss),
        target_variance=_finite(reading.moments.target_variance),
        first_excess_loss=_finite(float(found.excess(traces[0].theta[:1].astype(np.float64))[0])),
        first_gradient_norm=_finite(float(traces[0].gradient_norm[0])),
        excess_loss=_finite(diagnosis.excess_loss),
        predicted_epochs=_whole(diagnosis.predicted_epochs),
        predicted_epochs_best=_whole(diagnosis.predicted_epochs_best),
        optimum_intercept=_finite(float(optimum[-1])) if training.intercept else None,
        optimum={feature: _finite(float(weight)) for feature, weight in zip(features, optimum, strict=False)},
        gradient_ratio={name: _finite(check.ratio) for name, check in checks.items()},
        gradient_error={name: _finite(check.error) for name, check in checks.items()},
        eigenvalues=tuple(map(float, found.eigenvalues)),
        hessian=tuple(tuple(map(float, row)) for row in hessian) if small else None,
        principal=None if small else _principal(found),
        reasons=reasons,
    )


def _inference(found: Estimates, features: Sequence[str], diagnosis: Diagnosis) -> Inference:
    names = (*features, *([None] if found.centred else []))
    columns = zip(names, found.weights, found.errors, found.t, found.p, found.low, found.high, strict=True)
    terms = tuple(Term(feature=name, **dict(zip(_OF_A_TERM, map(_number, values), strict=True))) for name, *values in columns)
    finite = math.isfinite(diagnosis.excess_loss)
    values = {
        "distance": _number(found.distance(diagnosis.excess_loss)) if finite else None,
        **{name: _number(getattr(found, name)) for name in _OF_ALL},
    }
    missing = {name for name in _OF_A_TERM if any(getattr(term, name) is None for term in terms)}
    missing |= {name for name, value in values.items() if value is None}
    why = _GAPS[found.gap] if found.gap is not None else "more than float64 holds in the units of the CSV"
    reasons = dict.fromkeys(sorted(missing), why)
    if "weight" in missing:
        reasons |= dict.fromkeys(_OF_A_TERM, "not finite in the units of the CSV")
    if not finite:
        reasons["distance"] = "training ended on weights that are not finite"
    if not found.explaining and "f" in missing and found.gap is None:
        reasons |= dict.fromkeys(("f", "f_p"), "no feature explains anything")
    return Inference(
        arrived=finite and found.arrived(diagnosis.excess_loss),
        degrees_of_freedom=found.degrees_of_freedom,
        terms=terms,
        centred=found.centred,
        f_degrees=found.explaining,
        perfect=found.gap == "perfect",
        reasons=reasons,
        **values,
    )


def _number(value: Any) -> float | None:
    return _finite(float(value))


def _principal(found: Spectrum) -> tuple[tuple[float, ...], ...] | None:
    """Directions of the smallest curvature that is not 0, and of the largest; None where there are no two."""
    curved = np.flatnonzero(found.eigenvalues > 0)
    if len(curved) < 2:
        return None
    directions = found.vectors[:, [curved[0], curved[-1]]].T
    forwards = directions[np.arange(2), np.abs(directions).argmax(axis=1)] > 0  # a direction has no sign: make it one
    return tuple(tuple(map(float, row)) for row in np.where(forwards[:, None], directions, -directions))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
