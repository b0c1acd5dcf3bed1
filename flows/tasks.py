"""What is done with one data set, each step a task that can be run again alone.

Tasks hand each other the path of a run's draft folder and small values, never a matrix: nothing large is pickled or hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.progress import Following
from gd import archive, backends, problems
from gd.archive import Draft
from gd.changes import since
from gd.comparison import compare
from gd.data import Array, Scaling, save_array
from gd.degeneracy import degeneracy
from gd.diagnosis import GradientCheck, Spectrum, check_gradient, diagnose, spectrum
from gd.inference import infer
from gd.limits import check_design, check_values
from gd.look import Look
from gd.optimizers import gradient_descent
from gd.quality import FitCells, fit_quality
from gd.reading import Reading
from gd.record import Record, Residuals, Run, epoch_log, trained
from gd.settings import Training
from gd.sweep import Sweep, grid, sweep
from gd.training import Outcome, Trace, train

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
    if data.rows is not None:
        design, y = problems.design(scaling.apply(data.rows.X), training.intercept), data.rows.y
    else:
        design, y = data.moments.compressed(scaling, training.intercept)
    check_design(data, scaling, design, y, training)
    found = spectrum(design, y)
    found.save(draft.work / "spectrum.npz")
    save_array(draft.work / "design.npy", design)
    save_array(draft.work / "target.npy", y)
    save_array(draft.work / "scaling.npy", np.stack([scaling.shift, scaling.scale]))
    return training.learning_rate if isinstance(training.learning_rate, float) else found.auto_rate


@task(name="sweep rates", task_run_name="{name}: sweep rates with {backend}", cache_policy=NO_CACHE)
def sweep_rates(name: str, backend: str, draft: Draft, training: Training) -> float:
    """Train one backend with every learning rate at once; returns the best one."""
    design, y, kind = _load(draft, "design"), _load(draft, "target"), np.dtype(training.dtype)
    found = Spectrum.load(draft.work / "spectrum.npz")
    rates = training.learning_rate if isinstance(training.learning_rate, tuple) else grid(found.auto_rate, found.best_rate)
    problem = problems.LOSSES[training.loss](design.astype(kind, copy=False), y.astype(kind, copy=False))
    with Following(name, f"{backend}, {len(rates)} rates", training.epochs) as progress:
        swept = sweep(
            backends.get(backend).objective(problem),
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
    objective, make = backends.get(backend).objective, problems.LOSSES[training.loss]
    design, y = _load(draft, "design"), _load(draft, "target")
    kind = np.dtype(training.dtype)
    with Following(name, backend, training.epochs) as progress:
        trace = train(
            objective(make(design.astype(kind, copy=False), y.astype(kind, copy=False))),
            design.shape[1],
            gradient_descent(learning_rate),
            epochs=training.epochs,
            tolerance=training.stop_below,
            stop_early=training.stops_early,
            keep_weights=training.keep_weights,
            dtype=kind,
            progress=progress,
        )
    trace.save(draft.work / f"trace-{backend}.npz")
    check = check_gradient(objective(make(design, y)), Spectrum.load(draft.work / "spectrum.npz"))
    return check.ratio, check.error


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
    """Compare the backends, diagnose the descent, and write `run.json` and the log of the epochs into the draft."""
    data = Reading.load(draft.work)
    determined = degeneracy(data.moments, data.provenance, training.intercept)
    remarks = (*data.provenance.remarks, *determined.remarks)
    data = replace(data, provenance=data.provenance.model_copy(update={"remarks": remarks}))
    scaling = Scaling(*np.load(draft.work / "scaling.npy"))
    sweeps = [Sweep.load(draft.work / f"sweep-{backend}.npz") for backend in training.backends if training.sweeps]
    traces = [Trace.load(draft.work / f"trace-{backend}.npz") for backend in training.backends]
    design = _load(draft, "design")
    found = Spectrum.load(draft.work / "spectrum.npz")
    size, growth = np.sqrt(np.einsum("ij,ij->j", design, design) / len(design)), found.contraction(learning_rate)
    unique = determined.unique and found.condition < 1 / float(np.finfo(training.dtype).eps)  # else half the digits are gone
    comparison = compare(
        traces, size, rows=len(design), rate=learning_rate, growth=growth, root=found.root, unique=unique
    )  # fmt: skip
    diagnosis = diagnose(found, learning_rate, traces, [GradientCheck(*check) for check in checks], determined.rank)
    with np.errstate(over="ignore", invalid="ignore"):
        optimum = scaling.to_units(found.optimum, training.intercept)
    estimates = infer(data.moments, optimum, determined.dependent, intercept=training.intercept)
    titles = [backends.get(backend).title for backend in training.backends]
    finished = run.model_copy(update={"finished": datetime.now(UTC)})
    record = trained(finished, data, training, scaling, titles, traces, comparison, diagnosis, sweeps, estimates, look)
    features = data.provenance.features
    log = epoch_log(training.backends, traces, features, training.intercept, scaling, comparison, diagnosis)
    counted = _counted(draft, data, training, scaling, record, traces)
    if counted is not None:
        record = record.model_copy(update={"residuals": counted[0]})
    record = record.model_copy(update={"previous": since(draft.final, record)})
    archive.write_record(draft.path, record, log, counted and counted[1])


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
    if data.rows is not None:
        design, y, every = _load(draft, "design"), _load(draft, "target"), 1
    elif data.sample is not None:
        X, y, every = data.sample.rows[:, :-1], data.sample.rows[:, -1], 2**data.sample.level
        design = problems.design(scaling.apply(X), training.intercept)
    else:
        return None
    theta = trace.theta[-1].astype(np.float64)
    return fit_quality(fit, design, y, theta, moments=data.moments, scaling=scaling, every=every)


def _together(rows: int) -> int:
    """Learning rates in one product: as many as 8 MB of residuals hold, which was fastest; eight if they fit in 256 MB."""
    return max(2**20 // rows, min(8, 2**25 // rows), 1)


def _load(draft: Draft, name: str) -> Array:
    """An array of the draft, mapped and not read; it begins on a page."""
    return np.asarray(np.load(draft.work / f"{name}.npy", mmap_mode="c"))
