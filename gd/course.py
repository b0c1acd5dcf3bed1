"""How a descent went, and how far it still had to go: what sentences, cures and captions go by, from a run's record alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gd.record import Fit, Record
from gd.settings import ADAPTIVE
from gd.theory import Law

__all__ = [
    "CLOSE",
    "MOST",
    "STEEP",
    "batched",
    "beyond_float32",
    "bounces",
    "determined",
    "epochs_of_its_own",
    "epochs_of_nesterov",
    "epochs_to_flat",
    "fallen_to",
    "hardly_begun",
    "rounded",
    "short_of_the_optimum",
    "too_short",
    "unmoved",
    "wrong_gradients",
]

STEEP = 1e4  # condition number from which some directions are far flatter than others
CLOSE = 1e-6  # of the first excess loss: where a descent counts as having arrived
_FASTER = 4  # times fewer epochs: what another optimizer must be worth
_SWINGS = 1.3  # times the epochs of its contraction alone: a velocity first leads past the optimum
_FLATTEST = 1e-5  # of the first gradient: what float32 reaches
_UNMOVED = 0.9  # of the first gradient: it has not fallen
_HARDLY = 0.1  # of the first gradient: a descent that has hardly begun
MOST = 10**7  # epochs that are worth advising


def determined(record: Record) -> bool:
    """Whether no other weights are as good: by the columns, or by an L2 penalty where these leave some open."""
    found = record.diagnosis
    assert found is not None
    return found.rank is None or found.rank == found.parameters or bool(record.training.l2)


def short_of_the_optimum(record: Record) -> float | None:
    """Excess loss that a flat gradient has left, where it is more than the 1e-6 of the first that counts as arrived.

    Of a target far from zero the first loss is all offset: then it is more than 1e-6 of the target's variance.
    """
    assert record.diagnosis is not None
    excess, first = record.diagnosis.excess_loss, record.diagnosis.first_excess_loss
    if not excess or not first:
        return None
    return excess if excess > CLOSE * min(first, record.diagnosis.target_variance or first) else None


def wrong_gradients(record: Record) -> list[Fit]:
    """Fits whose backend's gradient is not that of the loss that it states."""
    assert record.diagnosis is not None
    wrong = []
    for fit in record.fits:
        ratio, error = record.diagnosis.gradient_ratio[fit.backend], record.diagnosis.gradient_error[fit.backend]
        if ratio is not None and error is not None and max(abs(ratio - 1), error) > 1e-3:
            wrong.append(fit)
    return wrong


def epochs_to_flat(record: Record) -> int | None:
    """Epochs after which the gradient norm would meet the tolerance, had it gone on shrinking at the slowest rate."""
    assert record.diagnosis is not None
    factor = record.diagnosis.contraction or 0.0
    norms = [fit.gradient_norm for fit in record.fits if fit.gradient_norm]
    first = record.diagnosis.first_gradient_norm
    if not (0 < factor < 1 and norms and first and record.training.tolerance):
        return None
    missing = math.log(max(norms) / (record.training.tolerance * first)) / -math.log(factor)
    return max(fit.epochs for fit in record.fits) + max(math.ceil(missing), 1)


def epochs_of_nesterov(record: Record, others: Sequence[int | None]) -> int | None:
    """Epochs within which Nesterov's steps at their own rate would meet the tolerance; None where they are no remedy.

    Args:
        record: of plain descent.
        others: epochs that other remedies need, of all of which it must be a quarter at most; None where they are none.
    """
    assert record.diagnosis is not None
    curved, settings = np.array([value for value in record.diagnosis.eigenvalues if value > 0]), record.training
    plain = settings.loss == "mse" and settings.optimizer == "gradient-descent" and settings.precondition == "none"
    if not (plain and settings.schedule == "constant" and not settings.warm_up and not settings.l1 and len(curved)):
        return None
    rate, decay = Law("nesterov").best(float(curved.min()), float(curved.max()))
    factor = Law("nesterov", decay).contraction(rate, curved)
    if not 0 < factor < 1:
        return None
    epochs = math.ceil(_SWINGS * math.log(record.training.tolerance or CLOSE) / math.log(factor)) + 1
    known = [other for other in others if other is not None]
    return epochs if known and _FASTER * epochs < min(known) else None


def epochs_of_its_own(record: Record, share: float) -> tuple[float, int] | None:
    """The fewest epochs within which momentum's slowest direction keeps no more of its way, and the automatic rate then.

    Its automatic decay is the best for as many epochs as it is given, and so is its rate. None of other steps, where the decay
    was chosen, and where so many epochs are not worth advising.
    """
    found, settings = record.diagnosis, record.training
    assert found is not None
    curved = np.array([value for value in found.eigenvalues if value > 0])
    if settings.optimizer not in {"momentum", "nesterov"} or settings.decay_setting != "auto" or not len(curved):
        return None
    law = Law("momentum" if settings.optimizer == "momentum" else "nesterov")
    for epochs in np.unique(np.geomspace(1, MOST, 300).astype(int)).tolist():
        rate, decay = law.best_within(epochs, float(curved.min()), float(curved.max()))
        if np.abs(Law(law.optimizer, decay).distances(rate, curved, np.array([epochs]))).max() <= share:
            return rate, epochs
    return None


def fallen_to(record: Record) -> float | None:
    """The share of its first value that the gradient norm has fallen to, of the backend that is behind."""
    assert record.diagnosis is not None
    norms = [fit.gradient_norm for fit in record.fits if fit.gradient_norm is not None]
    first = record.diagnosis.first_gradient_norm
    return max(norms) / first if norms and first else None


def beyond_float32(record: Record) -> bool:
    """Whether the gradient is to become flatter than float32 lets it."""
    return record.training.dtype == "float32" and 0 < record.training.tolerance < _FLATTEST


def batched(record: Record) -> bool:
    """Whether a step sees some of the rows only."""
    return (record.training.batch_size or math.inf) < (record.dataset.rows_used or 0)


def bounces(record: Record) -> bool:
    """Whether steps are about as long as the learning rate whatever the gradient, and that never falls: RMSProp's."""
    settings = record.training
    return settings.optimizer == "rmsprop" and settings.schedule == "constant" and settings.learning_rate_setting == "fixed"


def unmoved(record: Record) -> bool:
    """Whether the gradient is about as long as it was at first, or longer."""
    return (fallen_to(record) or 0.0) > _UNMOVED


def hardly_begun(record: Record) -> bool:
    """Whether somebody chose the learning rate, and the gradient has hardly fallen."""
    return record.training.learning_rate_setting == "fixed" and (fallen_to(record) or 0.0) > _HARDLY


def too_short(record: Record) -> bool:
    """Whether the learning rate cannot be too long, so that a gradient that has hardly fallen means too short a one.

    Of plain steps and momentum: it is below 1/λ of the largest curvature that they can meet (a hundredth of that between
    batches, whose own may be larger). Of steps by the size of the gradient, which are about as long as the rate: all of them
    together are shorter than the way of the furthest weight.
    """
    found, settings = record.diagnosis, record.training
    assert found is not None
    rate = settings.learning_rate or 0.0
    if settings.optimizer not in ADAPTIVE:
        return bool(found.steepest) and rate * (found.steepest or 0.0) < (1.0 if settings.batch_size is None else 0.01)
    if settings.precondition != "none":
        return False
    names = record.dataset.features
    shift, scale = settings.shift or (0.0,) * len(names), settings.scale or (1.0,) * len(names)
    weights = [found.optimum[name] or 0.0 for name in names]
    middle = (found.optimum_intercept or 0.0) + sum(map(math.prod, zip(weights, shift, strict=True)))
    furthest = max(map(abs, [middle, *map(math.prod, zip(weights, scale, strict=True))]))
    steps = max(fit.epochs for fit in record.fits) * math.ceil(
        (record.dataset.rows_used or 1) / (settings.batch_size or math.inf)
    )
    if settings.optimizer == "adagrad":  # 1 + 1/√2 + 1/√3 + …
        return rate * 2 * math.sqrt(steps) < furthest
    return rate * steps * (10 if settings.optimizer == "rmsprop" else 1) < furthest  # its first ones are so much longer


def rounded(epochs: int) -> int:
    """To two significant digits, upwards: a prediction claims no more."""
    unit: int = 10 ** max(len(str(epochs)) - 2, 0)
    return -(-epochs // unit) * unit
