"""Why a run went wrong, and the command that would cure it: from its record alone."""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gd.course import (
    CLOSE,
    MOST,
    STEEP,
    batched,
    beyond_float32,
    bounces,
    determined,
    epochs_of_its_own,
    epochs_of_nesterov,
    epochs_to_flat,
    fallen_to,
    hardly_begun,
    rounded,
    short_of_the_optimum,
    too_short,
    unmoved,
    wrong_gradients,
)
from gd.notation import count, number, visible
from gd.phrases import plural, say
from gd.record import Record
from gd.settings import ADAPTIVE
from gd.theory import Law

__all__ = ["Cure", "changed", "cure", "without"]

_TOO_STEEP = 1e10  # condition number from which whitened steps keep so few digits that backends part
_USUAL = 1000  # epochs where nobody has said how many
_PENALTY = 0.01  # L2, that is advised
_LIMITS = {"gradient-descent": "2/λmax", "momentum": "2(1 + β)/λmax", "nesterov": "2(1 + β)/((1 + 2β)λmax)"}
_VALUE = r"[\w.,+-]+"
_SETTING = (
    r"(?: --(?:loss|delta|l2|l1|optimizer|decay|weight-decay|learning-rate|schedule|schedule-factor|schedule-every|warm-up"
    r"|precondition|batch-size|seed|epochs|tolerance|patience|folds|keep-weights|dtype|method|device|backends)"
    rf" {_VALUE}"
    r"| --(?:no-)?(?:intercept|standardize))"
)
_OPTION = r"--[a-z][a-z-]*(?:[ =](?:'[^']*'|[^\s'-]\S*))?"
_READS = re.compile(rf"({_OPTION}(?: {_OPTION})*) (?:would read|takes) (?:it|them)\b")


@dataclass(frozen=True, slots=True)
class Cure:
    """What went wrong, why, and what to do about it."""

    reasons: tuple[str, ...]
    advice: str = ""  # what the command does
    command: str | None = None  # to be copied into a shell; None where no setting helps


def cure(record: Record) -> Cure | None:
    """The reasons for a verdict that nobody hoped for, and the run's own command with the setting changed that cures it.

    Returns:
        None where nothing went wrong.
    """
    if record.error is not None:
        return _reading(record)
    found = record.diagnosis
    assert found is not None
    if record.verdict == "disagree":
        return _disagreement(record)
    rate, limit = record.training.learning_rate or 0.0, found.stable_below
    beyond = found.quadratic and limit is not None and rate >= limit
    stopped = any(fit.outcome == "stopped" for fit in record.fits)
    if record.verdict == "diverged" or ((record.verdict == "exhausted" or stopped) and beyond):
        return _divergence(record)
    if record.verdict == "exhausted":
        return _exhaustion(record)
    return _flatness(record)


def changed(command: str, **settings: str | None) -> str:
    """A run's command with other settings of the training: its last words, as `gd.recording.command` writes them.

    Args:
        command: as a record holds it.
        settings: by their names in `Training`; None takes a setting back to its default.
    """
    match = re.search(f"{_SETTING}+$", command)
    start = len(command) if match is None else match.start()
    options = {re.sub("^ --(no-)?|(?<=\\w) .*", "", word): word for word in re.findall(_SETTING, command[start:])}
    for name, said in settings.items():
        option = name.replace("_", "-")
        if said is None:
            options.pop(option, None)
        else:
            options[option] = f" --{option} {said}"
    return command[:start] + "".join(options.values())


def without(command: str, columns: Sequence[str]) -> str | None:
    """A run's command that leaves columns out; None where it holds what only a shell can read."""
    if "$'" in command or not columns:
        return None
    words, done = shlex.split(command), False
    for j, word in enumerate(words):
        name, equals, said = word.partition("=")
        if name not in {"--features", "--leave-out"}:
            continue
        at = j if equals else j + 1
        names = next(csv.reader([said if equals else words[at]]))
        if name == "--features":
            names = [one for one in names if one not in columns]
            if not names:
                return None
            done = True
        elif not done:
            names, done = [*names, *(one for one in columns if one not in names)], True
        words[at] = f"{name}={_row(names)}" if equals else _row(names)
    if not done:
        row = _row(columns)
        words += [f"--leave-out={row}"] if row.startswith("-") else ["--leave-out", row]
    return shlex.join(words)


def _row(names: Sequence[str]) -> str:
    """Names as one row of a CSV, which is how the command reads them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(names)
    return text.getvalue().removesuffix("\r\n")


def _divergence(record: Record) -> Cure:
    found, rate = record.diagnosis, record.training.learning_rate
    assert found is not None
    assert rate is not None
    reasons = []
    limit = found.stable_below if found.attained else None
    unstable = limit is not None and rate >= limit
    if unstable and not found.quadratic:
        reasons.append(_unstable_near(record))
    elif unstable:
        which = {"limit": number(limit), "curvature": number(found.curvature[1]), "rate": number(rate)}
        which["formula"] = _LIMITS[record.training.optimizer]
        if found.contraction is not None and found.contraction > 1:
            reasons.append(say("cure.unstable_grows", factor=number(found.contraction), **which))
        else:
            reasons.append(say("cure.unstable", **which))
    for fit in wrong_gradients(record):
        ratio = found.gradient_ratio[fit.backend]
        reasons.append(say("cure.wrong_gradient", backend=fit.title, ratio=number(ratio, keep_zeros=True)))
    reasons += _last_finite(record)
    if (limit is None or not found.quadratic) and not wrong_gradients(record) and found.eigenvalues[-1] > 0:
        if record.training.learning_rate_setting != "auto":
            if not unstable:
                reasons.append(say("cure.nothing_known"))
            return Cure(tuple(reasons), say("cure.with_auto"), _automatic(record))
    elif unstable and limit is not None:
        advice = say("cure.half_the_limit", rate=_typed(limit / 2))
        return Cure(tuple(reasons), advice, changed(record.run.command, learning_rate=_typed(limit / 2)))
    return Cure(tuple(reasons), *_honest(record))


def _unstable_near(record: Record) -> str:
    """Why no descent comes to rest at the optimum of a loss that is no parabola."""
    found, settings = record.diagnosis, record.training
    assert found is not None
    return say(
        "cure.unstable_near", formula=_LIMITS[settings.optimizer], limit=number(found.stable_below),
        curvature=number(found.curvature[1]), rate=number(settings.learning_rate),
    )  # fmt: skip


def _last_finite(record: Record) -> list[str]:
    """Where each loss was last finite, said once where it is the same."""
    said: dict[tuple[str, str, str | None], list[str]] = {}
    for fit in record.fits:
        if fit.outcome != "diverged" or fit.loss is not None or fit.last_finite_epoch is None:
            continue
        last = fit.last_finite_epoch
        beyond = count(last + 1) if last + 1 < fit.epochs else None
        said.setdefault((count(last), number(fit.last_finite_loss), beyond), []).append(fit.title)
    reasons = []
    for (epoch, loss, beyond), titles in said.items():
        which = {"epoch": epoch, "loss": loss} | ({} if len(said) == 1 else {"backends": say("and.last").join(titles)})
        if beyond is None:
            reasons.append(say("cure.last_finite_gradient" if len(said) == 1 else "cure.last_finite_gradient_of", **which))
        else:
            reasons.append(say("cure.last_finite" if len(said) == 1 else "cure.last_finite_of", beyond=beyond, **which))
    return reasons


def _honest(record: Record) -> tuple[str, str | None]:
    """Advice and command where a gradient is wrong, or the digits are too few."""
    wrong = wrong_gradients(record)
    if wrong and record.training.loss == "notebook":
        return say("cure.stated_gradient"), changed(record.run.command, loss="mse")
    if not wrong and record.training.dtype != "float64":
        return say("cure.double"), changed(record.run.command, dtype="float64")
    return "", None


def _disagreement(record: Record) -> Cure:
    found, agreement = record.diagnosis, record.comparison
    assert found is not None
    assert agreement is not None
    reasons = []
    gaps = [("cure.gap_weights", agreement.max_relative_weight_gap), ("cure.gap_losses", agreement.max_relative_loss_gap)]
    if agreement.compared_by == "predictions":
        gaps[0] = ("cure.gap_predictions", agreement.max_relative_prediction_gap)
    sizes = say("and.last").join(say(which, gap=number(gap, 2)) for which, gap in gaps if gap is not None)
    if sizes:
        tolerance, epoch = number(agreement.tolerance, 2), count(agreement.first_epoch_apart)
        reasons.append(say("cure.apart", tolerance=tolerance, epoch=epoch, gaps=sizes))
    for fit in wrong_gradients(record):
        ratio, rate = found.gradient_ratio[fit.backend], record.training.learning_rate
        if ratio is not None and rate is not None and (found.gradient_error[fit.backend] or 0) <= 1e-3:
            which = {"as_if": number(ratio * rate), "rate": number(rate), "ratio": number(ratio, keep_zeros=True)}
            reasons.append(say("cure.longer_gradient", backend=fit.title, **which))
        else:
            reasons.append(say("cure.other_gradient", backend=fit.title))
    reasons += _last_finite(record)
    advice, command = _honest(record)
    if command is None and wrong_gradients(record):
        advice = say("cure.no_setting")
    return Cure(tuple(reasons), advice, command)


def _exhaustion(record: Record) -> Cure:
    found, settings = record.diagnosis, record.training
    assert found is not None
    if not found.theory:
        return _without_theory(record)
    rate, flat = settings.learning_rate or 0.0, epochs_to_flat(record)
    reasons, done = [], max(fit.epochs for fit in record.fits)
    if beyond_float32(record):
        reason = say("cure.few_digits", tolerance=number(settings.tolerance))
        return Cure((reason,), say("cure.double"), changed(record.run.command, dtype="float64"))
    own = epochs_of_its_own(record, settings.tolerance or CLOSE)
    if own is not None and _may_be_whitened(record) and own[1] > 10 * settings.epochs:
        own = None
    if own is not None and settings.learning_rate_setting == "auto" and own[1] > settings.epochs:
        enough = rounded(own[1])
        return Cure(
            (say("cure.own_decay", epochs=count(enough)), *_steep(record)), say("cure.with_epochs", epochs=count(enough)),
            changed(record.run.command, epochs=str(enough)),
        )  # fmt: skip
    if flat is not None and flat <= MOST:
        reasons.append(
            say(
                "cure.slow", rate=number(rate), share=_share(found.contraction or 0.0), tolerance=number(settings.tolerance),
                epochs=count(rounded(flat)), more=count(rounded(flat - done)),
            )
        )  # fmt: skip
    auto = _epochs_at_auto(record)
    if auto is not None and auto[1] <= MOST and (flat is None or 2 * auto[1] < flat):
        enough = rounded(auto[1])
        reasons.append(say("cure.automatic_rate", rate=number(auto[0]), epochs=count(enough)))
        if enough <= settings.epochs:
            return Cure(tuple(reasons), say("cure.with_auto"), _automatic(record))
        advice = say("cure.with_auto_and_epochs", epochs=count(enough))
        return Cure(tuple(reasons), advice, changed(_automatic(record), epochs=str(enough)))
    better = _rounded_down(found.best_rate) if found.best_rate else None  # of plain descent only
    need = _epochs_at(record, better) if better else None
    if need is not None and need <= MOST and (flat is None or 2 * need < flat):
        reasons.append(say("cure.better_rate", rate=number(better), epochs=count(rounded(need))))
    elif flat is None or flat > MOST:
        return _conditioned(record, reasons)
    steep = _steep(record)
    fast = epochs_of_nesterov(record, (flat, need))
    if fast is not None:
        more = {"epochs": str(rounded(fast))} if fast > settings.epochs else {}
        reasons.append(say("cure.nesterov", epochs=count(rounded(fast))))
        command = changed(record.run.command, optimizer="nesterov", learning_rate=None, **more)
        return Cure((*reasons, *steep), say("cure.with_nesterov"), command)
    if better and need is not None and (flat is None or 2 * need < flat):
        more = {"epochs": str(rounded(need))} if need > settings.epochs else {}
        advice = say("cure.with_rate", rate=_typed(better))
        if more:
            advice = say("cure.with_rate_and_epochs", rate=_typed(better), epochs=count(rounded(need)))
        return Cure((*reasons, *steep), advice, changed(record.run.command, learning_rate=_typed(better), **more))
    assert flat is not None
    advice = say("cure.with_epochs", epochs=count(rounded(flat)))
    return Cure((*reasons, *steep), advice, changed(record.run.command, epochs=str(rounded(flat))))


def _automatic(record: Record) -> str:
    return changed(record.run.command, learning_rate=None)


def _epochs_at_auto(record: Record) -> tuple[float, int] | None:
    """The rate that auto finds for momentum, and epochs within which its slowest direction has come to rest.

    None of other steps, and where that is the rate already.
    """
    found, settings = record.diagnosis, record.training
    assert found is not None
    name, decay = settings.optimizer, settings.decay or 0.0
    curved = np.array([value for value in found.eigenvalues if value > 0])
    if name not in {"momentum", "nesterov"} or settings.learning_rate_setting != "fixed" or not len(curved):
        return None
    if (own := epochs_of_its_own(record, settings.tolerance or CLOSE)) is not None:
        return own
    rate = 1 / float(curved[-1])
    factor = Law("momentum" if name == "momentum" else "nesterov", decay).contraction(rate, curved)
    if not 0 < factor < 1:
        return None
    need = math.log(settings.tolerance or CLOSE) / math.log(factor)
    return rate, math.ceil(need - math.log(max(need, 1.0)) / math.log(factor)) + 1  # two equal roots shrink as t zᵗ does


def _may_be_whitened(record: Record) -> bool:
    """Whether its steps can be scaled by the whole curvature, and that makes a difference; the rate is then found anew."""
    found, settings = record.diagnosis, record.training
    assert found is not None
    if found.condition is None or not STEEP <= found.condition < _TOO_STEEP or settings.precondition != "none" or settings.l1:
        return False
    return settings.optimizer != "adamw" and settings.loss != "notebook"


def _whitened(record: Record, reasons: Sequence[str]) -> Cure:
    command = changed(record.run.command, precondition="whiten", learning_rate=None)
    return Cure(tuple(reasons), say("cure.whitened"), command)


def _endless(record: Record) -> Cure:
    """Of a loss without an optimum: a penalty gives it one, at a step that this is not too long for."""
    found, settings = record.diagnosis, record.training
    assert found is not None
    rate, bound = settings.learning_rate or 0.0, found.steepest
    adaptive, known = settings.optimizer in ADAPTIVE, bound is not None and settings.loss != "poisson"
    long = (
        settings.learning_rate_setting == "fixed"
        and not adaptive
        and not (known and rate * ((bound or 0.0) + 2 * _PENALTY) < 1)
    )
    with_it: dict[str, str | None] = {"l2": repr(_PENALTY)} | ({"learning_rate": None} if long else {})
    if settings.epochs < _USUAL:
        with_it["epochs"] = None
    advice = say("cure.with_l2_and_auto" if long else "cure.with_l2")
    return Cure((say("cure.no_optimum"),), advice, changed(record.run.command, **with_it))


def _without_theory(record: Record) -> Cure:
    """Of steps that no theory predicts: what is known of where they end."""
    found, settings = record.diagnosis, record.training
    assert found is not None
    if not found.attained:
        return _endless(record)
    if settings.optimizer == "adamw" and settings.weight_decay:
        return Cure((say("cure.held_off"),))
    share = fallen_to(record)
    if hardly_begun(record):
        reasons = [say("cure.short" if too_short(record) else "cure.stuck", share=number(share, 2))]
        if found.stable_below is not None and (settings.learning_rate or 0.0) >= found.stable_below:
            reasons.append(_unstable_near(record))
        return Cure(tuple(reasons), say("cure.with_auto"), _automatic(record))
    if batched(record):
        return Cure((say("cure.cloud", rows=plural(settings.batch_size or 0, "row")),))
    if bounces(record):
        return Cure((say("cure.bounces", share=number(share, 2)),), say("cure.with_auto"), _automatic(record))
    if unmoved(record):
        reason = say("cure.unmoved", share=number(share, 2))
        return Cure((reason,), say("cure.with_more"), changed(record.run.command, epochs=str(10 * settings.epochs)))
    reason = say("cure.few_epochs", share=number(fallen_to(record), 2), tolerance=number(settings.tolerance))
    flat = epochs_to_flat(record)
    if _may_be_whitened(record) and (flat is None or flat > 10 * settings.epochs):
        return _whitened(record, (reason, *_steep(record)))
    if flat is not None and 10 * settings.epochs < flat <= MOST:
        advice, epochs = say("cure.with_epochs", epochs=count(rounded(flat))), rounded(flat)
    else:
        advice, epochs = say("cure.with_more"), 10 * settings.epochs
    return Cure((reason,), advice, changed(record.run.command, epochs=str(epochs)))


def _flatness(record: Record) -> Cure | None:
    """Of a run that converged: None, but where its table does not determine the weights, or only just."""
    found = record.diagnosis
    assert found is not None
    if not found.attained:
        return None if any(fit.outcome == "stopped" for fit in record.fits) else _endless(record)
    short = short_of_the_optimum(record) is not None
    if not (not determined(record) or (short and (found.condition is None or found.condition >= STEEP))):
        return None
    made = _conditioned(record, [])
    return made if made.command is not None else None


def _conditioned(record: Record, reasons: list[str]) -> Cure:
    """The columns that make a loss far steeper in one direction than in another, and how to do without them."""
    reasons = [*reasons, *_steep(record)]
    found = record.diagnosis
    assert found is not None
    if not record.training.standardize and (found.condition is None or found.condition >= STEEP):
        return Cure(tuple(reasons), say("cure.standardised"), changed(record.run.command, standardize=None))
    alike = _repeating(record)
    command = without(record.run.command, alike)
    if command is None:
        return _whitened(record, reasons) if _may_be_whitened(record) else Cure(tuple(reasons))
    return Cure(tuple(reasons), say("cure.without", columns=_listed(alike)), command)


def _steep(record: Record) -> list[str]:
    """How ill the loss is conditioned, and by which columns; nothing where it is not."""
    found = record.diagnosis
    assert found is not None
    if found.condition is not None and found.condition < STEEP:
        return []
    alike = _repeating(record)
    if found.condition is None:
        if not alike:
            return [say("cure.flat")]
        return [say("cure.flat_by_one" if len(alike) == 1 else "cure.flat_by", columns=_listed(alike))]
    times = number(found.condition, 2)
    if not alike:
        return [say("cure.steep", times=times)]
    return [say("cure.steep_by_one" if len(alike) == 1 else "cure.steep_by", times=times, columns=_listed(alike))]


def _repeating(record: Record) -> list[str]:
    """Columns of the CSV that repeat others, as the remarks name them; a feature made from text by its column."""
    origins = {feature: one.column for one in record.dataset.encoded for feature in one.features}
    names = [one.column for one in record.dataset.remarks if one.kind in {"duplicate", "collinear"} and one.column]
    return list(dict.fromkeys(origins.get(name, name) for name in names))


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = [visible(name) for name in names[:most]]
    between, last = say("and.between"), say("and.last")
    if len(names) > most:
        return say("and.more", listed=between.join(shown), count=count(len(names) - most))
    return shown[0] if len(shown) == 1 else f"{between.join(shown[:-1])}{last}{shown[-1]}"


def _reading(record: Record) -> Cure | None:
    """Of a table that could not be read: its command with the option that would read it, where the refusal names one."""
    assert record.error is not None
    match = _READS.search(record.error.message)
    if match is None or any(option in record.run.command for option in re.findall(r"--[a-z-]+", match[1])):
        return None
    return Cure((), say("cure.reads"), f"{record.run.command} {match[1]}")


def _epochs_at(record: Record, rate: float) -> int | None:
    """Epochs from the start within which the gradient has surely met the tolerance at another rate."""
    assert record.diagnosis is not None
    curved = [value for value in record.diagnosis.eigenvalues if value > 0]
    factor = max((abs(1 - rate * value) for value in curved), default=1.0)
    if not 0 < factor < 1:
        return None
    return math.ceil(math.log(record.training.tolerance or CLOSE) / math.log(factor)) + 1


def _rounded_down(rate: float) -> float:
    """To two significant digits, towards 0: rounded up a rate near the limit would be beyond it."""
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return float(f"{math.floor(rate / unit * (1 + 1e-12)) * unit:.2g}")


def _typed(rate: float) -> str:
    """As an option is typed, whichever way people here write their numbers: to two significant digits."""
    return repr(float(f"{rate:.2g}")).removesuffix(".0")


def _share(factor: float) -> str:
    return f"1 − {number(1 - factor, 2)}" if 0.9999 < factor < 1 else number(factor)
