"""What is done with one data set, each step a task that can be run again alone.

Tasks hand each other the path of a run's draft folder and small values, never a matrix: nothing large is pickled or hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.progress import Following
from gd import archive, backends, problems
from gd.archive import Draft
from gd.backends import Objective
from gd.batches import batches, bound, minibatch, streamed, whole
from gd.changes import since
from gd.comparison import Comparison, compare, disturbed
from gd.data import Array, Scaling, save_array
from gd.degeneracy import degeneracy
from gd.descent import Descent, settle
from gd.diagnosis import GradientCheck, Spectrum, check_gradient, diagnose
from gd.inference import infer
from gd.joining import Held
from gd.limits import check_design, check_held, check_target, check_values
from gd.look import Look
from gd.method import together
from gd.model import model_of
from gd.optimizers import line_search
from gd.problems import Problem
from gd.quality import FitCells, fit_quality, residual_means
from gd.reading import Reading
from gd.record import CrossValidated, Fold, Record, Residuals, Run
from gd.recording import epoch_log, trained
from gd.settings import Training
from gd.spilling import beyond, mapped, parts, write
from gd.sweep import Sweep, grid, sweep
from gd.training import Outcome, Progress, Trace, train
from gd.validation import cross_validate, path

__all__ = ["compare_traces", "keep", "prepare", "render", "sweep_rates", "train_with"]


@task(name="prepare", task_run_name="{name}: prepare", cache_policy=NO_CACHE)
def prepare(name: str, draft: Draft, training: Training) -> float:
    """Scale the features, find the curvature of the loss, and settle the learning rate."""
    data = Reading.load(draft.work)
    check_values(data)
    if training.standardize:
        scaling = data.moments.scaling(center=training.intercept)
    else:
        scaling = Scaling.none(len(data.provenance.features))
    design, y = _matrices(data, scaling, training, draft.work / "design.npy")
    check_design(data, scaling, design, y, training)
    check_target(data, y, training)
    if data.held is not None:
        held = _matrices(data.held, scaling, training, draft.work / "held-design.npy")
        check_held(data, *held, training)
        save_array(draft.work / "held-design.npy", held[0])
        save_array(draft.work / "held-target.npy", held[1])
    descent, found = settle(training, design, y, _penalty(data, draft, training))
    descent.save(draft.work / "descent.npz")
    found.save(draft.work / "spectrum.npz")
    save_array(draft.work / "design.npy", design)
    save_array(draft.work / "target.npy", y)
    save_array(draft.work / "scaling.npy", np.stack([scaling.shift, scaling.scale]))
    return descent.rate


def _matrices(part: Reading | Held, scaling: Scaling, training: Training, path: Path) -> tuple[Array, Array]:
    """Design matrix and targets: the rows themselves, or a few that no linear model can tell from them.

    The matrix of more rows than memory is to hold is written to the path block by block, and mapped.
    """
    if part.rows is not None and beyond(n := len(part.rows.y), p := len(scaling.shift) + training.intercept):
        X = part.rows.X
        blocks = (problems.design(scaling.apply(X[rows]), training.intercept) for rows in parts(n, p))
        return write(path, (n, p), blocks), part.rows.y
    if part.rows is not None:
        return problems.design(scaling.apply(part.rows.X), training.intercept), part.rows.y
    return part.moments.compressed(scaling, training.intercept)


def _penalty(data: Reading, draft: Draft, training: Training) -> float:
    """κ of the L2 penalty: as set, or the best of a cross-validation, which is kept for the record."""
    if training.folded is None:
        return 0.0 if training.l2 == "auto" else training.l2
    how = {"intercept": training.intercept, "standardize": training.standardize}
    penalties = path(data.moments, **how)
    found = cross_validate(data.folds, penalties.tolist(), **how)
    chosen = found.best if training.l2 == "auto" else training.l2
    order = np.argsort(found.penalties)
    kept = CrossValidated(
        folds=len(data.folds),
        path=tuple(
            Fold(penalty=float(found.penalties[j]), loss=float(found.mean[j]), error=float(found.error[j])) for j in order
        ),
        best=found.best,
        chosen=chosen,
    )
    (draft.work / "crossed.json").write_text(kept.model_dump_json(), encoding="utf-8")
    return chosen


@task(name="sweep rates", task_run_name="{name}: sweep rates with {backend}", cache_policy=NO_CACHE)
def sweep_rates(name: str, backend: str, draft: Draft, training: Training) -> float:
    """Train one backend with every learning rate at once; returns the best one."""
    design, y, kind = _load(draft, "design"), _load(draft, "target"), np.dtype(training.dtype)
    found = Spectrum.load(draft.work / "spectrum.npz")
    rates = training.learning_rate if isinstance(training.learning_rate, tuple) else grid(found.auto_rate, found.best_rate)
    descent = Descent.load(draft.work / "descent.npz", training)
    with Following(name, f"{backend}, {len(rates)} rates", training.epochs) as progress:
        swept = sweep(
            descent.all_rows(_bind(backend, training), design, y, kind),
            design.shape[1],
            rates,
            epochs=training.epochs,
            tolerance=training.stop_below,
            stop_early=training.stops_early,
            dtype=kind,
            together=_together(len(y)),
            progress=progress,
        )
    swept.save(draft.work / f"sweep-{backend}.npz")
    return swept.best


@task(name="train", task_run_name="{name}: train with {backend}", cache_policy=NO_CACHE)
def train_with(name: str, backend: str, draft: Draft, training: Training, learning_rate: float) -> tuple[float, float]:
    """Train one backend and hold its gradient against central differences; returns the check's ratio and error."""
    descent, bind = Descent.load(draft.work / "descent.npz", training), _bind(backend, training)
    searched = list[float]()
    with Following(name, backend, training.epochs) as progress:
        trace = _descend(draft, descent, bind, learning_rate, progress, searched.append)
    trace.save(draft.work / f"trace-{backend}.npz")
    if searched and backend == training.backends[0]:  # the log has one column of rates
        save_array(draft.work / "rates.npy", np.array(searched[: len(trace)]))
    stated = descent.all_rows(bind, _load(draft, "design"), _load(draft, "target"))
    check = check_gradient(stated, Spectrum.load(draft.work / "spectrum.npz"))
    return check.ratio, check.error


def _bind(backend: str, training: Training) -> Callable[[Problem], Objective]:
    """What binds a problem to one backend, on its device."""
    device = backends.settled(training.backends, training.device)[backend]
    return partial(backends.get(backend).objective, device=device)


def _descend(
    draft: Draft, descent: Descent, bind: Callable[[Problem], Objective], rate: float, progress: Progress | None = None,
    searched: Callable[[float], None] | None = None, *, twin: bool = False,
) -> Trace:  # fmt: skip
    """The descent of one backend.

    Args:
        draft: holds the matrices.
        descent: the settings, settled.
        bind: what binds a problem to the backend.
        rate: the learning rate.
        progress: told how far it is.
        searched: told each rate that a line search finds.
        twin: with a rounding error more in every gradient, to see what becomes of one.
    """
    training = descent.training
    kind = np.dtype(training.dtype)
    design, y = (_load(draft, name) for name in ("design", "target"))
    n, p = design.shape

    def ready(made: Objective) -> Objective:
        made = descent.bound(made, p)
        return disturbed(made, kind) if twin else made

    objective, held = ready(descent.all_rows(bind, design, y, kind)), None
    if training.batch_size is not None:
        neighbours = together(n, p) == "neighbours"
        cut = batches(n, training.batch_size, training.seed, contiguous=neighbours)
        if neighbours:
            slices = [rows for rows in cut.parts if isinstance(rows, slice)]
            each = streamed(bind, descent.problem, design, y, slices, kind)
        else:
            cast = (design.astype(kind, copy=False), y.astype(kind, copy=False))
            each = bound(bind, descent.problem, *cast, cut.parts)
        each = tuple(map(ready, each))
        optimizer = minibatch(descent.optimizer(rate, p, len(each)), each, cut.order)
    elif training.learning_rate == "search":
        optimizer = line_search(objective, rate, searched)
    else:
        optimizer = descent.optimizer(rate, p)
    if (draft.work / "held-design.npy").exists():
        held = whole(bind, descent.loss, _load(draft, "held-design"), _load(draft, "held-target"), kind)
    return train(
        objective, p, optimizer, epochs=training.epochs, tolerance=training.stop_below, stop_early=training.stops_early,
        keep_weights=training.keep_weights, dtype=kind, held=held, patience=training.patience, progress=progress,
    )  # fmt: skip


@task(name="compare", task_run_name="{name}: compare", cache_policy=NO_CACHE)
def compare_traces(
    name: str,
    draft: Draft,
    run: Run,
    training: Training,
    learning_rate: float,
    checks: Sequence[tuple[float, float]],
    look: Look = Look(),  # noqa: B008  (frozen)
) -> None:
    """Compare the backends, diagnose the descent, and write `run.json`, `model.json` and the epochs into the draft."""
    data = Reading.load(draft.work)
    descent = Descent.load(draft.work / "descent.npz", training)
    determined = degeneracy(data.moments, data.provenance, training.intercept, penalised=descent.l2 > 0)
    remarks = (*data.provenance.remarks, *determined.remarks)
    data = replace(data, provenance=data.provenance.model_copy(update={"remarks": remarks}))
    scaling = Scaling(*np.load(draft.work / "scaling.npy"))
    sweeps = [Sweep.load(draft.work / f"sweep-{backend}.npz") for backend in training.backends if training.sweeps]
    traces = [Trace.load(draft.work / f"trace-{backend}.npz") for backend in training.backends]
    found = Spectrum.load(draft.work / "spectrum.npz")
    seen = found if descent.P is None else found.through(descent.P)
    comparison = _compared(draft, descent, found, seen, learning_rate, traces, determined.unique)
    gradients = [GradientCheck(*check) for check in checks]
    coarse = training.dtype == "float32" and not found.quadratic  # whose losses end in digits that are only rounding
    losses = [_loss_at_the_end(draft, descent, trace, penalised=True) for trace in traces] if coarse else None
    diagnosis = diagnose(found, learning_rate, traces, gradients, determined.rank, descent.law, seen, descent.steepest, losses)
    with np.errstate(over="ignore", invalid="ignore"):
        optimum = scaling.to_units(found.optimum, training.intercept)
    estimates = None
    if training.loss in {"mse", "notebook"} and not (descent.l2 or training.l1):
        estimates = infer(data.moments, optimum, determined.dependent, intercept=training.intercept)
    crossed = draft.work / "crossed.json"
    titles = [backends.get(backend).title for backend in training.backends]
    finished = run.model_copy(update={"finished": datetime.now(UTC)})
    record = trained(
        finished, data, training, scaling, titles, traces, comparison, diagnosis, sweeps, estimates, look, descent,
        devices=_devices(training), ends=[_end(draft, descent, trace) for trace in traces],
        crossed=CrossValidated.model_validate_json(crossed.read_bytes()) if crossed.exists() else None,
    )  # fmt: skip
    features = data.provenance.features
    epochs, moves = max(map(len, traces)), training.planned != "constant" or training.warm_up
    rates = np.array([descent.schedule(learning_rate)(t) for t in range(epochs)]) if moves else None
    if (draft.work / "rates.npy").exists():
        rates = np.append(np.load(draft.work / "rates.npy"), np.full(epochs, np.nan))[:epochs]
    log = epoch_log(training.backends, traces, features, training.intercept, scaling, comparison, diagnosis, rates)
    counted = _counted(draft, data, training, scaling, record, traces)
    if counted is not None:
        record = record.model_copy(update={"residuals": counted[0]})
    record = record.model_copy(update={"previous": since(draft.final, record)})
    archive.write_record(draft.path, record, log, counted and counted[1])
    archive.write_model(draft.path, model_of(record, data.moments, estimates))


def _compared(
    draft: Draft, descent: Descent, found: Spectrum, seen: Spectrum, rate: float, traces: Sequence[Trace], unique: bool
) -> Comparison:
    """The backends side by side; where no theory bounds what rounding becomes, by what a disturbed descent makes of it."""
    training, law = descent.training, descent.law
    design, kind = _load(draft, "design"), np.finfo(training.dtype)
    size = np.sqrt(np.einsum("ij,ij->j", design, design) / len(design))
    plain = training.is_plain
    unique = (unique or descent.l2 > 0) and found.condition < 1 / float(kind.eps)  # else half the digits are gone
    how: dict[str, Any] = {
        "rows": len(design), "rate": rate if plain else np.inf, "root": found.predictions, "unique": unique,
        "growth": seen.contraction(rate, law) if law is not None else 1.0,
    }  # fmt: skip
    if plain or len(traces) == 1:
        return compare(traces, size, **how)
    twin = _descend(draft, descent, _bind(training.backends[0], training), rate, twin=True)
    return compare(traces, size, **how, twin=twin)


def _devices(training: Training) -> dict[str, str]:
    places = backends.settled(training.backends, training.device)
    return {backend: backends.get(backend).device_title(device) for backend, device in places.items()}


def _loss_at_the_end(draft: Draft, descent: Descent, trace: Trace, part: str = "", *, penalised: bool) -> float:
    """In float64, of the rows trained on or of another part of them; with all penalties or with none."""
    theta = trace.end.astype(np.float64)
    problem = descent.in_blocks(_load(draft, f"{part}design"), _load(draft, f"{part}target"), penalised=penalised)
    with np.errstate(over="ignore", invalid="ignore"):
        lasso = descent.training.l1 * np.abs(theta) @ descent.penalised(len(theta)) if penalised else 0.0
        return float(problem.value(theta, *problem.arrays) + lasso)


def _end(draft: Draft, descent: Descent, trace: Trace) -> tuple[float, float]:
    """The loss at the end without penalties, and that of the rows held out; NaN without any."""
    penalised = descent.l2 or descent.training.l1
    held = (draft.work / "held-design.npy").exists()
    return (
        _loss_at_the_end(draft, descent, trace, penalised=False) if penalised else trace.final_loss,
        _loss_at_the_end(draft, descent, trace, "held-", penalised=False) if held else float("nan"),
    )


@task(name="render", task_run_name="{name}: render", cache_policy=NO_CACHE)
def render(name: str, draft: Draft, look: Look = Look()) -> list[str]:  # noqa: B008
    """Draw the figures and the page from what `compare` wrote; returns a line for each fault in a user's templates."""
    return archive.write_report(draft.path, look)


@task(name="archive", task_run_name="{name}: archive", cache_policy=NO_CACHE)
def keep(name: str, draft: Draft) -> str:
    """Make the draft a run that is seen; returns its folder."""
    return str(archive.finish(draft))


def _counted(
    draft: Draft, data: Reading, training: Training, scaling: Scaling, record: Record, traces: Sequence[Trace]
) -> tuple[Residuals, FitCells] | None:
    """The rows, or a sample of them, by what the first backend that did not diverge makes of them."""
    pairs = zip(record.fits, traces, strict=True)
    fit, trace = next((pair for pair in pairs if pair[0].outcome != Outcome.DIVERGED), (None, None))
    if fit is None or trace is None:
        return None
    theta, of_all = trace.end.astype(np.float64), None
    sample = data.sample if data.rows is None or data.rows.is_large else None
    if data.rows is not None:
        design, y, every = _load(draft, "design"), _load(draft, "target"), 1
        if sample is not None:
            of_all = residual_means(design, y, theta, training.loss)
    elif sample is None:
        return None
    if sample is not None:
        X, y, every = sample.rows[:, :-1], sample.rows[:, -1], 2**sample.level
        design = problems.design(scaling.apply(X), training.intercept)
    return fit_quality(
        fit, design, y, theta, moments=data.moments, scaling=scaling, every=every, loss=training.loss, of_all=of_all
    )


def _together(rows: int) -> int:
    """Learning rates in one product: as many as 8 MB of residuals hold, which was fastest; eight if they fit in 256 MB."""
    return max(2**20 // rows, min(8, 2**25 // rows), 1)


def _load(draft: Draft, name: str) -> Array:
    """An array of the draft, mapped and not read; it begins on a page."""
    return mapped(draft.work / f"{name}.npy")
