"""The verdict in words: which sentence of templates/words.toml is true of a run, and with which numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gd.course import (
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
from gd.notation import count, listed, number, plainly, typed, visible
from gd.phrases import plural, say
from gd.record import Record

__all__ = ["SYMBOLS", "headline", "rates_sentence", "sentence"]

SYMBOLS = {"converged": "✓", "exhausted": "…", "diverged": "✕", "disagree": "≠", "failed": "!"}


def headline(record: Record) -> str:
    """The verdict's word."""
    return say(
        "headline.unreadable" if record.error is not None and record.error.type == "DataError" else f"headline.{record.verdict}"
    )


def sentence(record: Record, *, plain: bool = False) -> str:
    """The verdict in one or two sentences, without its word.

    Args:
        record: of the run.
        plain: keep to ASCII, for terminals and plain-text mail.
    """

    def num(value: float | None, digits: int = 4, keep_zeros: bool = False) -> str:
        return number(value, digits, keep_zeros=keep_zeros, plain=plain)

    if record.error is not None:
        return record.error.message
    words = {"converged": _convergence, "disagree": _disagreement, "diverged": _divergence, "exhausted": _exhaustion}
    with plainly(plain):
        return words[record.verdict](record, num) + _ambiguity(record)


def rates_sentence(record: Record) -> str:
    """What a sweep of learning rates came to: the best one, what diverged, and the stable limit."""
    assert record.sweep is not None
    assert record.diagnosis is not None
    tried, first, limit = record.sweep, record.fits[0], record.diagnosis.stable_below
    told = {fit.backend: [t for t in tried.fits if t.backend == fit.backend] for fit in record.fits}
    best = next(t for t in told[first.backend] if t.rate == tried.best)
    gone = {fit.title: [t.rate for t in told[fit.backend] if t.outcome == "diverged"] for fit in record.fits}
    alike = len(set(map(tuple, gone.values()))) == 1
    which = {"count": count(len(tried.rates)), "rate": number(tried.best), "epochs": plural(best.epochs)}
    if best.outcome == "diverged":
        text = say("rates.all_diverged" if alike else "rates.all_diverged_with", backend=first.title, **which)
    elif best.outcome == "converged":
        text = say("rates.reached", **which)
    else:
        text = say("rates.ended", above=_above(best.excess_loss, record, number), **which)
    if alike:
        if (rates := gone[first.title]) and best.outcome != "diverged":
            text = say("rates.gone" if len(rates) > 1 else "rates.one_gone", said=text, rates=_rates(rates))
    else:
        each = [say("rates.with", rates=_rates(rates), backend=title) for title, rates in gone.items()]
        text = say("rates.gone_by", said=text, listed="; ".join(each))
    return text if limit is None else say("rates.limit", said=text, limit=number(limit))


def _convergence(record: Record, num: Any) -> str:
    assert record.comparison is not None
    which, remedy = {"backends": _titles(record), "epochs": _epochs(record)}, ""
    text = say("converged.reached", within=_within(record, num), **which)
    stopped = next((fit for fit in record.fits if fit.outcome == "stopped"), None)
    if stopped is not None:
        kept = sorted({fit.best_epoch for fit in record.fits if fit.best_epoch is not None})
        best = say("epochs.to", first=count(kept[0]), last=count(kept[-1])) if len(kept) > 1 else count(stopped.best_epoch)
        name = "converged.stopped_alone" if len(record.fits) == 1 else "converged.stopped"
        text = say(name, patience=plural(record.training.patience or 0), best=best, **which)
        remedy = _beyond(record, num)
    elif record.diagnosis is not None and not record.diagnosis.attained:
        text = say("converged.rested", **which)
    elif (short := short_of_the_optimum(record)) is not None:
        flat = record.diagnosis is None or record.diagnosis.condition is None or record.diagnosis.condition > STEEP
        name = "converged.short_flat" if flat else "converged.short_tolerance"
        text = say(name, above=_above(short, record, num), tolerance=num(record.training.tolerance), **which)
        remedy = _condition_remedy(record)
    if len(record.fits) == 1:
        return say("converged.alone", said=text.removesuffix(",")) + remedy
    gap, predicted = record.comparison.max_relative_weight_gap, record.comparison.max_relative_prediction_gap
    if gap is None:  # they ended at different epochs before the first that would have been kept
        name, gap = "losses", record.comparison.max_relative_loss_gap
    elif record.comparison.compared_by == "predictions":
        name, gap = "predictions" if predicted else "predictions_same", predicted
    else:
        name = "same" if gap == 0 else "gap"
    return say(f"converged.{name}", said=text, gap=num(_upwards(gap), 1)) + remedy


def _beyond(record: Record, num: Any) -> str:
    """Of a descent that was stopped before it had gone far: that its steps are too long."""
    found, rate = record.diagnosis, record.training.learning_rate
    if found is None or not found.quadratic or found.stable_below is None or (rate or 0.0) < found.stable_below:
        return ""
    return say("converged.beyond", rate=num(rate), limit=num(found.stable_below, 3), half=typed(found.stable_below / 2, 2))


def _within(record: Record, num: Any) -> str:
    """How near the furthest weight of any backend has come to the optimum, beside the largest of the optimum's weights.

    Weights as trained, in which a step of one is as long as a step of another; nothing where they are not unique.
    """
    found, sizes = record.diagnosis, record.training.scale or (1.0,) * len(record.dataset.features)
    assert found is not None
    if found.rank is None or not determined(record):
        return ""
    optimum = [(found.optimum[name] or 0.0) * size for name, size in zip(record.dataset.features, sizes, strict=True)]
    largest = max(map(abs, optimum), default=0.0)
    ways = [
        abs((weight or 0.0) * size - best)
        for fit in record.fits
        for weight, size, best in zip(fit.weights.values(), sizes, optimum, strict=True)
    ]
    if not (0 < largest < math.inf and 0 < max(ways) / largest < 1e-3):  # at it, or so far that it is said in other words
        return ""
    return say("converged.within", distance=num(_upwards(max(ways) / largest), 1))


def _ambiguity(record: Record) -> str:
    """That several weights are equally good, where they are."""
    found, rows = record.diagnosis, record.dataset.rows_used
    assert found is not None
    if determined(record) or found.rank is None or found.parameters is None:
        return ""
    if rows is not None and rows < found.parameters:
        return say("ambiguous.few", rows=plural(rows, "row"), parameters=count(found.parameters))
    return say("ambiguous.rank", rank=count(found.rank), parameters=count(found.parameters))


def _disagreement(record: Record, num: Any) -> str:
    assert record.comparison is not None
    assert record.diagnosis is not None
    begin = say("disagree.begin", epoch=count(record.comparison.first_epoch_apart))
    wrong = wrong_gradients(record)
    if not wrong:
        return say("disagree.float32" if record.training.dtype != "float64" else "disagree.rounding", begin=begin)
    ratios = {fit.title: num(record.diagnosis.gradient_ratio[fit.backend], 4, True) for fit in record.fits}
    (title, ratio), *others = ratios.items()
    text = say("disagree.ratio", begin=begin, backend=title, ratio=ratio)
    for title, ratio in others:
        text = say("disagree.ratio_too", said=text, backend=title, ratio=ratio)
    if [fit.backend for fit in wrong] == ["numpy"]:
        return say("disagree.by_hand", said=text)
    return say("disagree.where", said=text, backends=say("and.last").join(fit.title for fit in wrong))


def _divergence(record: Record, num: Any) -> str:
    assert record.diagnosis is not None
    rate, limit = record.training.learning_rate, record.diagnosis.stable_below if record.diagnosis.attained else None
    assert rate is not None
    which = {"rate": num(rate), "limit": num(limit, 3)}
    too_long = limit is not None and rate >= limit
    known = record.diagnosis.quadratic and limit is not None
    if too_long and record.sweep is not None:
        text = say(
            "diverged.sweep_at" if rate == limit else "diverged.sweep_above", count=count(len(record.sweep.rates)), **which
        )
    elif too_long:
        text = say("diverged.at" if rate == limit else "diverged.above", **which)
    else:
        text = say("diverged.below" if known else "diverged.unknown", **which)
    worst = next(fit for fit in record.fits if fit.outcome == "diverged")
    if worst.loss is None and worst.last_finite_epoch is not None:
        text = say("diverged.last", said=text, epoch=count(worst.last_finite_epoch))
    elif worst.loss is None:
        text = say("diverged.never", said=text)
    else:
        text = say("diverged.rises", said=text, epochs=plural(worst.epochs), loss=num(worst.loss))
    if too_long and record.diagnosis.quadratic:
        return say("diverged.try", said=text, rate=typed((limit or rate) / 2, 2))
    return say("diverged.look" if known or record.training.learning_rate_setting == "auto" else "diverged.auto", said=text)


def _exhaustion(record: Record, num: Any) -> str:
    found, settings = record.diagnosis, record.training
    assert found is not None
    if not found.attained:
        return say("exhausted.endless", epochs=plural(max(fit.epochs for fit in record.fits)), loss=num(record.fits[0].loss))
    text = say(
        "exhausted.begin", epochs=plural(max(fit.epochs for fit in record.fits)), above=_above(found.excess_loss, record, num)
    )
    rate, best = settings.learning_rate, found.predicted_epochs_best if found.best_rate is not None else None
    if found.quadratic and found.stable_below is not None and (rate or 0) >= found.stable_below:
        half = typed(found.stable_below / 2, 2)
        return say("exhausted.above_limit", said=text, rate=num(rate), limit=num(found.stable_below, 3), half=half)
    if not found.theory:
        return _without_theory(record, num, text)
    if beyond_float32(record):
        return say("exhausted.rounding", said=text, tolerance=num(settings.tolerance))
    if found.predicted_epochs is not None and found.predicted_epochs <= settings.epochs:
        flat, tolerance = epochs_to_flat(record), num(settings.tolerance)
        if not flat:
            return say("exhausted.rounding", said=text, tolerance=tolerance)
        return say("exhausted.steep", said=text, tolerance=tolerance, epochs=count(rounded(flat)))
    if found.predicted_epochs is None:
        slow = {"said": text, "rate": num(rate), "need": found.reasons["predicted_epochs"]}
        if best is not None:
            return say("exhausted.slow_best", epochs=count(rounded(best)), best=num(found.best_rate, 2), **slow)
        return say("exhausted.slow", **slow) + _condition_remedy(record)
    own = epochs_of_its_own(record, 1e-3) if settings.learning_rate_setting == "auto" else None  # the loss by the square of it
    needed = own[1] if own is not None else found.predicted_epochs
    more = {"said": text, "epochs": count(rounded(needed)), "share": num(1e-6)}
    if best is not None and best <= settings.epochs:
        return say("exhausted.more_or_rate", best=num(found.best_rate, 2), rate=num(rate, 2), **more)
    if not settings.standardize and (found.condition or math.inf) >= STEEP:
        return say("exhausted.more", **more) + _condition_remedy(record)
    fast = epochs_of_nesterov(record, (best, found.predicted_epochs))
    if fast is not None:
        option = f" --epochs {rounded(fast)}" if fast > settings.epochs else ""
        return say("exhausted.more_or_nesterov", fewer=count(rounded(fast)), option=option, **more)
    if best is not None and best < 0.7 * found.predicted_epochs:
        return say("exhausted.more_or_both", best=num(found.best_rate, 2), fewer=count(rounded(best)), **more)
    return say("exhausted.more", **more) + _condition_remedy(record)


def _without_theory(record: Record, num: Any, text: str) -> str:
    """Of steps that no theory predicts, why they have not come to rest."""
    settings, rate = record.training, record.training.learning_rate
    if settings.optimizer == "adamw" and settings.weight_decay:
        return say("exhausted.adamw", said=text)
    if hardly_begun(record):
        name = "exhausted.short" if too_short(record) else "exhausted.stuck"
        return say(name, said=text, share=num(fallen_to(record), 2), rate=num(rate))
    if batched(record):
        return say("exhausted.batches", said=text, rows=plural(settings.batch_size or 0, "row"))
    if bounces(record):
        return say("exhausted.bounces", said=text, share=num(fallen_to(record), 2))
    if unmoved(record):
        return say("exhausted.unmoved", said=text, share=num(fallen_to(record), 2))
    return say("exhausted.further", said=text, share=num(fallen_to(record), 2), tolerance=num(settings.tolerance))


def _condition_remedy(record: Record) -> str:
    """What to do about a loss that is far steeper in one direction than in another."""
    assert record.diagnosis is not None
    if record.diagnosis.condition is not None and record.diagnosis.condition < STEEP:
        return ""
    alike = [visible(one.column) for one in record.dataset.remarks if one.kind in {"duplicate", "collinear"} and one.column]
    if alike:
        columns = say("and.between").join(alike[:3])
        if len(alike) > 3:
            columns = say("and.more", listed=columns, count=count(len(alike) - 3))
        return say("condition.repeats", columns=columns)
    return say("condition.features" if record.training.standardize else "condition.standardize")


def _above(excess: float | None, record: Record, num: Any) -> str:
    """How far a loss lies above the optimum's: in per cent, unless the optimum is next to nothing."""
    assert record.diagnosis is not None
    optimum, first = record.diagnosis.optimum_loss, record.diagnosis.first_excess_loss or 0.0
    if excess is not None and optimum and optimum > 1e-14 * first:
        if excess < optimum:
            return say("above.percent", number=num(100 * excess / optimum, 2))
        if excess < 1e4 * optimum:
            return say("above.times", number=num(1 + excess / optimum, 3))
    return say("above.excess", number=num(excess, 2))


def _rates(rates: Sequence[float], most: int = 4) -> str:
    """Rates in a row, the last ones of many left out."""
    shown = [number(rate) for rate in rates[:most]]
    if len(rates) > most:
        return say("and.more", listed=listed(shown), count=count(len(rates) - most))
    if len(shown) > 1:
        return f"{listed(shown[:-1])}{say('and.last')}{shown[-1]}"
    return shown[0] if shown else say("rates.none")


def _titles(record: Record) -> str:
    titles = [fit.title for fit in record.fits]
    return titles[0] if len(titles) == 1 else f"{say('and.between').join(titles[:-1])}{say('and.last')}{titles[-1]}"


def _epochs(record: Record) -> str:
    reached = sorted({fit.epochs for fit in record.fits})
    ended = count(reached[0])
    if len(reached) > 1:
        ended = say("epochs.to", first=ended, last=count(reached[-1]))
    return say("epochs.of", reached=ended, limit=count(record.training.epochs))


def _upwards(gap: float | None) -> float | None:
    """To one significant digit, never below the gap itself."""
    if not gap:
        return gap
    unit = 10.0 ** math.floor(math.log10(gap))
    return math.ceil(gap / unit) * unit
