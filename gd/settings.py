"""How to train: the settings that people and Prefect's form fill in."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gd.splitting import Split

__all__ = ["ADAPTIVE", "Loss", "OptimizerName", "Precondition", "ScheduleName", "Training", "preset"]

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Loss = Literal["mse", "huber", "logistic", "poisson", "notebook"]
OptimizerName = Literal["gradient-descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["auto", "constant", "step", "exponential", "cosine"]
Precondition = Literal["none", "diagonal", "whiten"]

ADAPTIVE = frozenset({"adagrad", "rmsprop", "adam", "adamw"})
"""Optimizers whose steps do not shrink with the gradient."""


class Training(BaseModel):
    """How to train: the settings that people and Prefect's form fill in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss = Field(
        "mse",
        description="What is minimised: mse, the mean squared error; huber, linear beyond a residual of delta, so that "
        "outliers pull less; logistic, for a target of two values or texts; poisson, for counts; notebook, the mean squared "
        "error with the notebook's gradient, n times too large.",
    )
    delta: Rate | Literal["auto"] = Field(
        "auto",
        description="Residual at which Huber's loss turns linear, in units of the target; auto is 1.345 robust standard "
        "deviations of the residuals of least squares.",
    )
    l2: Penalty | Literal["auto"] = Field(
        0.0,
        description="κ of a penalty κ Σ w² on the weights as trained, not on the intercept; auto takes the one under which "
        "cross-validation is best (see folds).",
    )
    l1: Penalty = Field(0.0, description="κ of a penalty κ Σ |w|, by the proximal step: some weights become exactly 0.")
    optimizer: OptimizerName = Field(
        "gradient-descent",
        description="How a gradient becomes a step; momentum is the heavy ball, nesterov his accelerated gradient.",
    )
    decay: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="β of momentum, Nesterov and Adam, ρ of RMSProp; auto is the best one for the curvature of the loss, "
        "0.9 of Adam and 0.99 of RMSProp.",
    )
    weight_decay: Penalty = Field(0.01, description="What AdamW takes off each weight an epoch, in learning rates.")
    learning_rate: (
        Rate | Literal["auto", "auto-sweep", "search"] | Annotated[tuple[Rate, ...], Field(min_length=2, max_length=64)]
    ) = Field(
        "auto",
        description="Length of a step in gradients; auto is found from the curvature of the loss on these data, 1/λmax of "
        "plain descent. Several rates are all tried, and the best of them is trained with; auto-sweep tries nine around that "
        "curvature; search looks for one anew at each epoch (backtracking line search).",
    )
    schedule: ScheduleName = Field(
        "auto",
        description="How the learning rate goes on: constant, by steps, exponentially down, or along half a cosine; auto is "
        "constant, but a cosine where steps do not shrink with the gradient (Adam and its like at an automatic rate, batches).",
    )
    schedule_factor: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto", description="What the rate is multiplied with: at each step (auto: 0.1), or over all epochs (auto: 0.01)."
    )
    schedule_every: int | None = Field(None, ge=1, description="Epochs between two steps down; a third of all when empty.")
    warm_up: int = Field(0, ge=0, description="So many first epochs with a rate that grows up to the full one.")
    precondition: Precondition = Field(
        "none",
        description="Scale the steps by the curvature: diagonal, each weight by its own, or whiten, by the whole of it, "
        "after which least squares takes one step and other losses few, unless classes hardly overlap. It is no longer plain "
        "descent, and the report says so.",
    )
    batch_size: int | None = Field(
        None, ge=1, description="Rows a step; an epoch then makes many steps, each on its own batch. All rows when empty."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of all that is drawn: batches, rows held out, folds.")
    epochs: int = Field(1000, ge=1, description="Steps at most, or passes over all batches; each sees every row once.")
    tolerance: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="Stop when the gradient norm has fallen to this share of its first value; 0 never stops early; "
        "auto is 1e-10 in float64 and 1e-5 in float32, which rounding does not let fall further.",
    )
    validation: str | None = Field(
        None,
        description="Rows that are held out: a share of them by chance (0.2), the last ones of a table in the order of time "
        "(last:0.2), or those that a column marks (column:NAME). Their loss is evaluated at every epoch.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop when the loss on the rows held out has not fallen for so many epochs, and keep the best weights.",
    )
    folds: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="Folds of a cross-validation, exact and from the same pass over the data; 5 where l2 is auto."
    )
    keep_weights: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="Keep the weights of every so many epochs, and those at the end; auto keeps all up to 10,000 epochs, "
        "and every 2nd, 4th, 8th and so on of more. Loss and gradient norm are always kept.",
    )
    dtype: Literal["float64", "float32"] = Field("float64", description="Precision of the training.")
    intercept: bool = Field(True, description="Whether the model has a constant beside the weights.")
    standardize: bool = Field(True, description="Train on features of mean 0 and spread 1; results are given in CSV units.")
    method: Literal["auto", "rows", "moments"] = Field(
        "auto",
        description="Train on the rows, or on their moments, whose epochs cost the same however many rows there are; "
        "auto takes the rows while they cost little.",
    )
    backends: tuple[str, ...] = Field(("numpy", "torch"), min_length=1, description="Which frameworks train, in order.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where PyTorch and JAX compute; auto is a GPU where there is one."
    )
    preset: Literal["notebook"] | None = Field(None, description="Where these settings came from.")

    @field_validator("method")
    @classmethod
    def _has_moments(cls, method: str, info: ValidationInfo) -> str:
        if method == "moments" and info.data.get("loss", "mse") != "mse":
            raise ValueError(f"the loss {info.data['loss']} has no moments: train on rows")
        if method == "moments" and info.data.get("batch_size") is not None:
            raise ValueError("batches are made of rows: train on rows")
        return method

    @field_validator("learning_rate")
    @classmethod
    def _no_rate_twice(cls, rate: float | str | tuple[float, ...]) -> float | str | tuple[float, ...]:
        if isinstance(rate, tuple) and len(set(rate)) < len(rate):
            raise ValueError(f"{next(one for j, one in enumerate(rate) if one in rate[:j])} is named twice")
        return rate

    @field_validator("validation")
    @classmethod
    def _is_a_split(cls, word: str | None) -> str | None:
        if word is not None:
            Split.parse(word)
        return word

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for fault in (self._with_l1(), self._with_rates(), self._with_notebook(), self._with_penalty()):
            if fault:
                raise ValueError(fault)
        if self.precondition != "none" and self.optimizer == "adamw":
            raise ValueError("--precondition would scale adamw's decay too: take adam")
        if self.patience is not None and self.validation is None:
            raise ValueError("--patience watches rows held out: name them with --validate")
        return self

    def _with_l1(self) -> str | None:
        if not self.l1:
            return None
        if self.optimizer in ADAPTIVE:
            return (
                f"--l1 is for gradient-descent, momentum and nesterov: after a step of {self.optimizer} it is another penalty"
            )
        for option, there in (
            ("--precondition", self.precondition != "none"), ("--batch-size", self.batch_size is not None),
            ("--learning-rate search", self.learning_rate == "search"), ("several learning rates", self.sweeps),
            ("--l2 auto, whose cross-validation leaves it out", self.l2 == "auto"),
            ("--folds, whose cross-validation leaves it out", self.folds is not None),
        ):  # fmt: skip
            if there:
                return f"--l1 does not go with {option}"
        return None

    def _with_rates(self) -> str | None:
        which = "--learning-rate search" if self.learning_rate == "search" else "several learning rates" if self.sweeps else ""
        if not which:
            return None
        for option, there in (
            (f"--optimizer {self.optimizer}", self.optimizer != "gradient-descent"),
            (f"--schedule {self.schedule}", self.schedule not in {"auto", "constant"}), ("--warm-up", self.warm_up > 0),
            ("--batch-size", self.batch_size is not None), ("--precondition", self.precondition != "none"),
            ("--validate", self.validation is not None and self.sweeps),
        ):  # fmt: skip
            if there:
                return f"{which} does not go with {option}" if self.sweeps is False else f"{which} do not go with {option}"
        return None

    def _with_notebook(self) -> str | None:
        if self.loss != "notebook":
            return None
        for option, there in (
            (f"--optimizer {self.optimizer}", self.optimizer != "gradient-descent"), ("--l2", self.l2 != 0),
            ("--l1", self.l1 != 0), ("--batch-size", self.batch_size is not None),
            ("--precondition", self.precondition != "none"), ("--learning-rate search", self.learning_rate == "search"),
            (f"--schedule {self.schedule}", self.schedule not in {"auto", "constant"}), ("--warm-up", self.warm_up > 0),
        ):  # fmt: skip
            if there:
                return f"--loss notebook is kept as it was: it does not go with {option}"
        return None

    def _with_penalty(self) -> str | None:
        if self.loss != "mse" and (self.l2 == "auto" or self.folds is not None):
            option = "--l2 auto" if self.l2 == "auto" else "--folds"
            return f"cross-validation is of the mean squared error: {option} does not go with --loss {self.loss}"
        return None

    @property
    def rates_tried(self) -> int:
        """How many learning rates are tried first, at most."""
        if isinstance(self.learning_rate, tuple):
            return len(self.learning_rate)
        return 9 if self.sweeps else 0

    @property
    def sweeps(self) -> bool:
        """Whether several learning rates are tried first."""
        return self.learning_rate == "auto-sweep" or isinstance(self.learning_rate, tuple)

    @property
    def stops_early(self) -> bool:
        """Whether training ends as soon as it has converged."""
        return self.tolerance != 0

    @property
    def stop_below(self) -> float:
        """The tolerance as a number; where nothing stops early, what is held against the last gradient."""
        if self.tolerance == "auto" or not self.stops_early:
            return 1e-10 if self.dtype == "float64" else 1e-5
        return self.tolerance

    @property
    def adaptive(self) -> bool:
        """Whether the optimizer's steps do not shrink with the gradient."""
        return self.optimizer in ADAPTIVE

    @property
    def planned(self) -> Literal["constant", "step", "exponential", "cosine"]:
        """The schedule, settled: along half a cosine where nobody has chosen and a constant rate would find no rest."""
        if self.schedule != "auto":
            return self.schedule
        restless = (
            self.adaptive and self.optimizer != "adagrad" and self.learning_rate == "auto"
        ) or self.batch_size is not None
        return "cosine" if restless else "constant"

    @property
    def folded(self) -> int | None:
        """Folds of the cross-validation, where there is one."""
        return self.folds or (5 if self.l2 == "auto" else None)

    @property
    def split(self) -> Split | None:
        """Which rows are held out, and the folds of the others; None where all are trained on, in one piece."""
        if self.validation is None:
            return None if self.folded is None else Split(seed=self.seed, folds=self.folded)
        return Split.parse(self.validation, seed=self.seed, folds=self.folded)

    @property
    def needs_rows(self) -> bool:
        """Whether it cannot be trained on moments."""
        return self.loss != "mse" or self.stochastic

    @property
    def stochastic(self) -> bool:
        """Whether a step sees some of the rows only."""
        return self.batch_size is not None

    @property
    def is_plain(self) -> bool:
        """Whether it is the mean squared error by plain descent at a fixed rate, of which the theory knows everything."""
        return (
            self.loss in {"mse", "notebook"} and self.optimizer == "gradient-descent" and not self.l1
            and self.precondition == "none" and not self.stochastic and self.learning_rate != "search"
            and self.planned == "constant" and not self.warm_up
        )  # fmt: skip


def preset(name: Literal["notebook"]) -> Training:
    """The settings under which both printed tables of the teaching notebook come out again."""
    return Training(
        loss="notebook", learning_rate=0.01, epochs=10, tolerance=0, dtype="float32", intercept=False, standardize=False,
        preset=name,
    )  # fmt: skip
