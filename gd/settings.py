"""How to train: the settings that people and Prefect's form fill in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = ["Training", "preset"]

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Training(BaseModel):
    """How to train: the settings that people and Prefect's form fill in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["mse", "notebook"] = Field(
        "mse", description="Mean squared error, or the notebook's: the same loss with a gradient n times too large."
    )
    optimizer: Literal["gradient-descent"] = "gradient-descent"
    learning_rate: Rate | Literal["auto", "auto-sweep"] | Annotated[tuple[Rate, ...], Field(min_length=2, max_length=64)] = (
        Field(
            "auto",
            description="Length of a step in gradients; auto is 1/λmax, from the curvature of the loss on these data. "
            "Several rates are all tried, and the best of them is trained with; auto-sweep tries nine around that curvature.",
        )
    )
    epochs: int = Field(1000, ge=1, description="Steps at most; each sees every row once.")
    tolerance: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="Stop when the gradient norm has fallen to this share of its first value; 0 never stops early; "
        "auto is 1e-10 in float64 and 1e-5 in float32, which rounding does not let fall further.",
    )
    keep_weights: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="Keep the weights of every so many epochs, and those at the end; auto keeps all up to 10,000 epochs, "
        "and every 2nd, 4th, 8th and so on of more. Loss and gradient norm are always kept.",
    )
    dtype: Literal["float64", "float32"] = "float64"
    intercept: bool = Field(True, description="Whether the model has a constant beside the weights.")
    standardize: bool = Field(True, description="Train on features of mean 0 and spread 1; results are given in CSV units.")
    method: Literal["auto", "rows", "moments"] = Field(
        "auto",
        description="Train on the rows, or on their moments, whose epochs cost the same however many rows there are; "
        "auto takes the rows while they cost little.",
    )
    backends: tuple[str, ...] = Field(("numpy", "torch"), min_length=1, description="Which frameworks train, in order.")
    preset: Literal["notebook"] | None = Field(None, description="Where these settings came from.")

    @field_validator("method")
    @classmethod
    def _has_moments(cls, method: str, info: ValidationInfo) -> str:
        if method == "moments" and info.data.get("loss", "mse") != "mse":
            raise ValueError(f"the loss {info.data['loss']} has no moments: train on rows")
        return method

    @field_validator("learning_rate")
    @classmethod
    def _no_rate_twice(cls, rate: float | str | tuple[float, ...]) -> float | str | tuple[float, ...]:
        if isinstance(rate, tuple) and len(set(rate)) < len(rate):
            raise ValueError(f"{next(one for j, one in enumerate(rate) if one in rate[:j])} is named twice")
        return rate

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


def preset(name: Literal["notebook"]) -> Training:
    """The settings under which both printed tables of the teaching notebook come out again."""
    return Training(
        loss="notebook", learning_rate=0.01, epochs=10, tolerance=0, dtype="float32", intercept=False, standardize=False,
        preset=name,
    )  # fmt: skip
