"""A run's record and the log of its epochs, made from what it trained, compared and found; and its command."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gd.comparison import Comparison
from gd.data import Array, DataError, Provenance, Scaling, Source, bundled
from gd.descent import Descent
from gd.diagnosis import Diagnosis, Spectrum, excess
from gd.dialect import Dialect
from gd.inference import Estimates
from gd.look import Look
from gd.method import together
from gd.notation import legible
from gd.reading import Reading
from gd.record import (
    Agreement,
    CrossValidated,
    EpochLog,
    Failure,
    Findings,
    Fit,
    Inference,
    Record,
    Run,
    Settings,
    Shown,
    Term,
    Tries,
    Try,
    Verdict,
)
from gd.settings import Training, preset
from gd.stream import redacted
from gd.sweep import Sweep
from gd.training import Outcome, Trace

__all__ = ["command", "epoch_log", "failed", "trained"]

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
    n, p = reading.moments.n, len(reading.provenance.features) + training.intercept
    batches: Literal["drawn", "neighbours"] | None = None if training.batch_size is None else together(n, p)
    return Record(
        run=run,
        dataset=reading.provenance,
        training=_settings(training, diagnosis.rate, scaling, reading.method, every, descent, devices, batches),
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
    if look.zone is not None:
        words += ["--zone", look.zone]
    if look.numbers != "en":
        words += _option("numbers", look.numbers)
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
    batches: Literal["drawn", "neighbours"] | None = None,
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
        schedule_every=(training.schedule_every or -(-training.epochs // 3)) if planned == "step" else None,
        warm_up=training.warm_up,
        precondition=training.precondition,
        batch_size=training.batch_size,
        batches=batches,
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
