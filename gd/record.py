"""What a run leaves behind, as values: `run.json` (schema 1) and the log of its epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from gd.data import Array, Provenance
from gd.descent import Found
from gd.inference import LEVEL
from gd.look import Look
from gd.notation import escaped
from gd.settings import Precondition
from gd.training import Outcome

__all__ = [
    "CrossValidated",
    "EpochLog",
    "Findings",
    "Fit",
    "Fold",
    "Inference",
    "Previous",
    "Record",
    "Residuals",
    "Run",
    "Settings",
    "Try",
    "Verdict",
]


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
    batches: Literal["drawn", "neighbours"] | None = (
        None  # which rows stand together; None without batches, and in older records
    )
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
