"""What a run leaves behind, as values: `run.json` (schema 1) and the log of its epochs."""

from __future__ import annotations

import csv
import io
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
from gd.descent import Descent, Found
from gd.diagnosis import Diagnosis, Spectrum, excess
from gd.dialect import Dialect
from gd.inference import LEVEL, Estimates
from gd.look import Look
from gd.notation import escaped, legible
from gd.reading import Reading
from gd.settings import Precondition, Training, preset
from gd.stream import redacted
from gd.sweep import Sweep
from gd.training import Outcome, Trace

__all__ = ["EpochLog", "Findings", "Previous", "Record", "Residuals", "Try", "command", "epoch_log", "failed", "trained"]

_ESCAPED = "\\'"
_ENDLESS = "there is no optimum: the loss falls for ever"
_TOO_MANY = "more than 1,000,000,000,000 epochs"

_GAPS = {
    "few-rows": "there are no more rows than the weights can follow, so that nothing is left to measure errors by",
    "constant-target": "the target never changes",
    "not-unique": "the weights are not unique",
    "perfect": "least squares fits perfectly but for rounding: nothing is left to measure errors by",
}
_OF_A_TERM = ("weight", "error", "t", "p", "low", "high")
_OF_ALL = ("quantile", "residual_error", "rmse", "r2", "adjusted_r2", "f", "f_p")

_TYPED = (
    "loss", "delta", "l2", "l1", "optimizer", "decay", "weight_decay", "learning_rate", "schedule", "schedule_factor",
    "schedule_every", "warm_up", "precondition", "batch_size", "seed", "epochs", "tolerance", "patience", "folds",
    "keep_weights", "dtype", "method", "device",
)  # fmt: skip

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
    delta: float | None = None  # of Huber's loss, in units of the target
    delta_setting: Literal["fixed", "auto"] = "auto"
    l2: float = 0.0  # κ of κ Σ w², as trained
    l2_setting: Literal["fixed", "auto"] = "fixed"
    l1: float = 0.0  # κ of κ Σ |w|
    optimizer: str
    decay: float | None = None  # β of momentum, Nesterov and Adam, ρ of RMSProp
    decay_setting: Literal["fixed", "auto"] = "auto"
    weight_decay: float | None = None  # of AdamW
    learning_rate: float | None
    learning_rate_setting: Literal["auto", "fixed", "sweep", "search"]
    found_by: Found | None = None  # how the learning rate was found; None where it came to no training, and in older records
    schedule: Literal["constant", "step", "exponential", "cosine"] = "constant"
    schedule_factor: float | None = None
    schedule_every: int | None = None
    warm_up: int = 0
    precondition: Precondition = "none"
    batch_size: int | None = None
    seed: int = 0
    epochs: int
    tolerance: float
    stops_early: bool
    validation: str | None = None  # which rows are held out
    patience: int | None = None
    folds: int | None = None
    keep_weights: int | None = 1  # of every so many epochs, as a number; None where auto never came to one
    dtype: str
    intercept: bool
    standardize: bool
    method: Literal["rows", "moments"] | None = "rows"  # None where it came to no training
    method_setting: Literal["auto", "rows", "moments"] = "auto"
    backends: tuple[str, ...]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: dict[str, str] = Field(default_factory=dict)  # where each backend computed, with the GPU's name
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
    unpenalised_loss: float | None = None  # without the penalties; None where there are none
    validation_loss: float | None = None  # of the rows held out, without the penalties
    best_epoch: int | None = None  # whose weights, before its step, were kept as the best
    d2: float | None = None  # share of the loss of a model without features that this one saves; None of the mean squared error
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
    tolerance_measured: bool = False  # by a descent with a rounding error more in each gradient; else by theory
    first_epoch_apart: int | None
    reasons: dict[str, str] = Field(default_factory=dict)


class Findings(_Part):
    """The curvature of the loss as trained, and what follows from it."""

    curvature: tuple[float, float]
    condition: float | None
    stable_below: float | None
    best_rate: float | None
    contraction: float | None  # None where the steps follow no linear recurrence
    quadratic: bool = True  # whether the loss is a parabola, and all of this holds everywhere and not at the optimum alone
    attained: bool = True  # whether there is an optimum
    steepest: float | None = None  # the largest curvature that the descent can meet
    theory: bool = True  # whether every epoch's loss is predicted
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


class Fold(_Part):
    """One L2 penalty of a cross-validation."""

    penalty: float
    loss: float  # mean squared error on the folds left out, each by its rows
    error: float  # standard error of it over the folds


class CrossValidated(_Part):
    """Exact k-fold cross-validation of least squares, as trained but for the descent."""

    folds: int
    path: tuple[Fold, ...]  # ascending penalties
    best: float  # the penalty with the least loss
    chosen: float  # the one that was trained with


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
    inference: Inference | None = None  # None in older records, and where the optimum is not that of least squares
    cross_validation: CrossValidated | None = None
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
        return escaped(self.model_dump_json(by_alias=True, indent=indent))


@dataclass(frozen=True, slots=True, eq=False)
class EpochLog:
    """Every epoch of every backend: the columns of `epochs.csv`, in its order.

    A column has an entry at every epoch, or only at those that `at` names for it: the weights where they were thinned, and
    anything of a backend that stopped earlier than another. No array here is as long as all epochs times all weights.

    Named `epoch`; for each backend b `b_loss`, `b_excess_loss`, `b_gradient_norm`, `b_weight_FEATURE` and `b_intercept`
    (weights in the units of the CSV); `b_validation_loss` where rows are held out; `theory_excess_loss`; `learning_rate` where
    it changes; and the gaps `loss_gap`, `relative_loss_gap`, `weight_gap`,
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
    rates: Array | None = None,
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
        rates: learning rate of each epoch, where it changes, (epochs,).
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
        put(f"{name}_excess_loss", excess(diagnosis.plain, theta[:-1], trace.loss[steps[:-1]]), steps[:-1])
        put(f"{name}_gradient_norm", trace.gradient_norm, seen)
        if trace.validation is not None:
            put(f"{name}_validation_loss", trace.validation, seen)
        for j, feature in enumerate(features):
            put(f"{name}_weight_{feature}", after[:, j].copy(), steps[1:] - 1)
        if intercept:
            put(f"{name}_intercept", after[:, -1].copy(), steps[1:] - 1)
    columns["theory_excess_loss"] = diagnosis.predicted_excess(epochs)
    if rates is not None:
        columns["learning_rate"] = rates[: len(epochs)]
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
    descent: Descent | None = None,
    *,
    devices: dict[str, str] | None = None,
    ends: Sequence[tuple[float, float]] = (),
    crossed: CrossValidated | None = None,
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
        descent: the settings, settled; plain descent with the mean squared error when None.
        devices: where each backend computed.
        ends: one a backend: its loss at the end without penalties, and that of the rows held out; NaN without any.
        crossed: the cross-validation.
    """
    descent = descent or Descent(training, diagnosis.rate, "set")
    fits = tuple(
        _fit(name, title, trace, reading, scaling, descent, end)
        for name, title, trace, end in zip(
            training.backends, titles, traces, ends or [(trace.final_loss, math.nan) for trace in traces], strict=True
        )
    )
    every = max(trace.keep_weights for trace in traces)
    return Record(
        run=run,
        dataset=reading.provenance,
        training=_settings(training, diagnosis.rate, scaling, reading.method, every, descent, devices),
        fits=fits,
        comparison=_agreement(comparison),
        diagnosis=_findings(diagnosis, reading, training, scaling, traces),
        sweep=_tries(training.backends, sweeps, diagnosis) if sweeps else None,
        inference=_inference(estimates, reading.provenance.features, diagnosis) if estimates is not None else None,
        cross_validation=crossed,
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
    if training.validation is not None:
        words += _option("validate", training.validation)
    for name in _TYPED:
        if (value := getattr(training, name)) != getattr(default, name):
            said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", said]
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
    descent: Descent | None = None,
    devices: dict[str, str] | None = None,
) -> Settings:
    factor, planned = training.schedule_factor, training.planned
    if factor == "auto":
        factor = {"step": 0.1, "exponential": 0.01}.get(planned, 1.0)
    setting = training.learning_rate
    return Settings(
        loss=training.loss,
        delta=descent.delta if descent else None if training.delta == "auto" else training.delta,
        l2=descent.l2 if descent else 0.0 if training.l2 == "auto" else training.l2,
        delta_setting="auto" if training.delta == "auto" else "fixed",
        l2_setting="auto" if training.l2 == "auto" else "fixed",
        decay_setting="auto" if training.decay == "auto" else "fixed",
        l1=training.l1,
        optimizer=training.optimizer,
        decay=descent.decay if descent else None if training.decay == "auto" else training.decay,
        weight_decay=training.weight_decay if training.optimizer == "adamw" else None,
        found_by=("sweep" if training.sweeps else descent.found) if descent else None,
        schedule=planned,
        schedule_factor=factor if planned in {"step", "exponential"} else None,
        schedule_every=(training.schedule_every or max(training.epochs // 3, 1)) if planned == "step" else None,
        warm_up=training.warm_up,
        precondition=training.precondition,
        batch_size=training.batch_size,
        seed=training.seed,
        validation=training.validation,
        patience=training.patience,
        folds=training.folded,
        device=training.device,
        devices=devices or {},
        learning_rate=training.learning_rate if rate is None and isinstance(training.learning_rate, float) else rate,
        learning_rate_setting="sweep" if training.sweeps else setting if setting in {"auto", "search"} else "fixed",
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


def _fit(
    name: str, title: str, trace: Trace, reading: Reading, scaling: Scaling, descent: Descent, end: tuple[float, float]
) -> Fit:  # fmt: skip
    intercept, squared = descent.training.intercept, descent.training.loss in {"mse", "notebook"}
    unpenalised, held = end
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
    explained = None if loss is None or total == 0 or not squared else _finite(1 - unpenalised / total)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = scaling.to_units(trace.end.astype(np.float64), intercept)
    if loss is None:
        reasons |= {"loss": begins, "r2": begins}
    elif not squared:
        reasons["r2"] = "it is of squared errors: see d2"
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
        unpenalised_loss=_finite(unpenalised) if loss is not None and (descent.l2 or descent.training.l1) else None,
        validation_loss=_finite(held) if loss is not None else None,
        best_epoch=trace.best,
        d2=_finite(1 - unpenalised / descent.null_loss) if loss is not None and descent.null_loss > 0 else None,
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
    above = _finite(float(excess(diagnosis.spectrum, sweep.theta[j : j + 1], [loss])[0])) if loss is not None else None
    begins = f"not finite from epoch {last + 1} on"
    return Try(
        backend=backend,
        rate=float(sweep.rates[j]),
        outcome=sweep.outcomes[j],
        epochs=int(sweep.epochs[j]),
        loss=loss,
        excess_loss=above,
        last_finite_epoch=last if loss is None and last >= 0 else None,
        last_finite_loss=float(sweep.last_finite_loss[j]) if loss is None and last >= 0 else None,
        reasons={name: begins for name, value in {"loss": loss, "excess_loss": above}.items() if value is None},
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
        tolerance_measured=comparison.measured,
        first_epoch_apart=comparison.first_epoch_apart,
        reasons={name: nothing for name, gap in gaps.items() if gap is None},
    )


def _unknown(diagnosis: Diagnosis) -> dict[str, str]:
    """Why some of a diagnosis is not there, by the names of the findings."""
    found = diagnosis.spectrum
    reasons: dict[str, str] = {}
    law, limit = diagnosis.law, diagnosis.stable_below
    if not math.isfinite(found.condition):
        reasons["condition"] = "infinite: at least one direction is flat, the weights are not unique"
    why = "the loss is no parabola" if not found.quadratic else "the steps follow no linear recurrence"
    if not diagnosis.has_theory:
        reasons |= dict.fromkeys(("predicted_epochs", "predicted_epochs_best"), why)
    else:
        if not math.isfinite(diagnosis.predicted_epochs):
            reasons["predicted_epochs"] = "the step is above the stable limit" if diagnosis.rate >= limit else _TOO_MANY
        if not math.isfinite(diagnosis.predicted_epochs_best):
            reasons["predicted_epochs_best"] = _TOO_MANY
    if law is None:
        reasons |= dict.fromkeys(("stable_below", "best_rate", "contraction"), "the steps follow no linear recurrence")
    elif not math.isfinite(limit):
        reasons |= {"stable_below": "the loss is flat", "best_rate": "the loss is flat"}
    if not math.isfinite(diagnosis.excess_loss):
        reasons["excess_loss"] = "training ended on weights that are not finite" if found.attained else _ENDLESS
    if not found.attained:
        reasons |= dict.fromkeys(("optimum", "optimum_intercept", "optimum_loss", "first_excess_loss"), _ENDLESS)
    return reasons


def _findings(
    diagnosis: Diagnosis, reading: Reading, training: Training, scaling: Scaling, traces: Sequence[Trace]
) -> Findings:
    found, features = diagnosis.spectrum, reading.provenance.features
    reasons, law, limit = _unknown(diagnosis), diagnosis.law, diagnosis.stable_below
    checks = dict(zip(training.backends, diagnosis.gradients, strict=True))
    for name, check in checks.items():
        if not math.isfinite(check.ratio):
            flat = "the loss is flat, or not finite, where the gradient was checked"
            reasons |= {f"gradient_ratio.{name}": flat, f"gradient_error.{name}": flat}
    plain = diagnosis.plain  # in the coordinates of the weights
    with np.errstate(over="ignore", invalid="ignore"):
        optimum = scaling.to_units(plain.optimum, training.intercept)
    if not found.attained:
        optimum = np.full_like(optimum, np.nan)
    elif not np.isfinite(optimum).all():
        reasons |= {"optimum": "not finite in the units of the CSV", "optimum_intercept": "not finite in the units of the CSV"}
    small = len(found.eigenvalues) <= 2
    hessian = plain.vectors @ np.diag(plain.eigenvalues) @ plain.vectors.T
    first = excess(plain, traces[0].theta[:1], traces[0].loss[:1])
    return Findings(
        curvature=(float(found.eigenvalues[0]), float(found.eigenvalues[-1])),
        condition=_finite(found.condition),
        stable_below=_finite(limit),
        best_rate=_finite(diagnosis.best_rate),
        contraction=None if law is None else found.contraction(diagnosis.rate, law),
        quadratic=found.quadratic,
        attained=found.attained,
        steepest=_finite(diagnosis.steepest),
        theory=diagnosis.has_theory,
        rank=diagnosis.rank,
        parameters=len(found.eigenvalues),
        optimum_loss=_finite(found.optimum_loss) if found.attained else None,
        target_variance=_finite(reading.moments.target_variance),
        first_excess_loss=_finite(float(first[0])),
        first_gradient_norm=_finite(float(traces[0].gradient_norm[0])),
        excess_loss=_finite(diagnosis.excess_loss),
        predicted_epochs=_whole(diagnosis.predicted_epochs),
        predicted_epochs_best=_whole(diagnosis.predicted_epochs_best),
        optimum_intercept=_finite(float(optimum[-1])) if training.intercept else None,
        optimum={feature: _finite(float(weight)) for feature, weight in zip(features, optimum, strict=False)},
        gradient_ratio={name: _finite(check.ratio) for name, check in checks.items()},
        gradient_error={name: _finite(check.error) for name, check in checks.items()},
        eigenvalues=tuple(map(float, found.eigenvalues)),
        hessian=tuple(tuple(map(float, row)) for row in hessian) if small and found.quadratic else None,
        principal=None if small or not found.quadratic else _principal(plain),
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
