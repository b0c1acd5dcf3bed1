"""What is different between two runs of a data set: only that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gd import history
from gd.history import History, Line
from gd.notation import count, number, visible, when
from gd.phrases import say
from gd.record import Fit, Previous, Record

__all__ = ["Changes", "Difference", "changes", "differences", "per_cent", "previous", "since"]

Facts = Mapping[str, Mapping[str, Any]]

_NUMBERS = frozenset({"result", "weights"})  # of which the change is told in per cent
_LARGEST = 5  # weights that a report names where none left its interval
_AS_TRAINED = {"shift", "scale", "found_by", "devices", "batches"}  # of the features, and so of the data
_BEFORE = 50  # runs that are looked at: ten of them may be evidence
_COUNTS = {"epochs", "rows", "rows used", "rows held out", "bytes"}
_TITLED = {  # what has a name for people, in the order of the report's own tables; what is not here follows
    "verdict": ("verdict", "error"),
    "result": (
        "outcome", "epochs", "loss", "loss without penalties", "loss on rows held out", "epoch of the weights kept", "R²", "D²",
        "intercept",
    ),
    "data": (
        "name", "file", "SHA-256", "bytes", "rows used", "rows held out", "rows", "format", "rows dropped", "target",
        "features", "remarks", "columns left out",
    ),
    "settings": (
        "loss", "delta", "delta setting", "l2", "l2 setting", "l1", "optimizer", "decay", "decay setting", "weight decay",
        "learning rate", "learning rate setting", "schedule", "schedule factor", "schedule every", "warm up", "precondition",
        "batch size", "seed", "epochs", "tolerance", "validation", "patience", "folds", "keep weights", "stops early", "dtype",
        "intercept", "standardize", "method", "method setting", "backends", "device", "preset",
    ),
    "diagnosis": (
        "curvature", "condition", "stable below", "best rate", "contraction", "quadratic", "attained", "steepest", "theory",
        "predicted epochs", "predicted epochs best",
        "rank", "parameters", "optimum loss", "first excess loss", "excess loss", "first gradient norm", "target variance",
        "optimum intercept", "optimum", "gradient ratio", "gradient error", "principal", "backends agree", "first epoch apart",
    ),
    "program": ("gd", "commit"),
}  # fmt: skip
_FORMAT = (
    "delimiter", "quote", "encoding", "byte_order_mark", "line_ends", "compression", "header_line", "decimal", "thousands",
    "comment", "missing", "units", "parentheses", "lines_skipped", "given",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two runs do not have in common; values as in `run.json`, None where a run has none."""

    section: str
    name: str
    before: Any
    now: Any
    drifted: bool = False  # a weight outside of its interval

    @property
    def title(self) -> str:
        """What it is, for people; a name that nobody has given words to is itself."""
        if self.section == "weights":
            return say("changes.weight", feature=visible(self.name))
        name, _, rest = self.name.partition(", ")
        if name not in _TITLED.get(self.section, ()):
            return visible(self.name)
        if name == "format":
            return say(f"changes.names.format.{rest}") if rest in _FORMAT else visible(f"{name}, {rest.replace('_', ' ')}")
        title = say(f"changes.names.{self.section}.{name}")
        return say("changes.of", what=title, which=visible(rest)) if rest else title

    @property
    def relative(self) -> float | None:
        """By which share a number has changed; None where it was 0, or is none."""
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (self.before, self.now)):
            return None
        try:
            share = self.now / self.before - 1 if self.before else math.nan
        except OverflowError:
            return None
        return share if math.isfinite(share) else None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Before, now, and by how much, for people."""
        return self._text(self.before, self.now), self._text(self.now, self.before), self._by()

    def _text(self, value: Any, other: Any) -> str:
        if value is None:
            return "—"
        if isinstance(value, bool):
            return say("changes.yes" if value else "changes.no")
        if isinstance(value, int):
            return count(value)
        if isinstance(value, float):
            digits = 4
            near = isinstance(other, float) and other != value
            while digits < 17 and near and number(value, digits) == number(other, digits):
                digits += 1
            return number(value, digits)
        if isinstance(value, list | tuple):
            return visible(self._listed(value, other), 200) or say("changes.no_one")
        return visible(str(value), 200)

    def _listed(self, values: Sequence[Any], others: Any) -> str:
        """Several of one kind in a row, each beside its counterpart; rows of rows, as directions are, in parentheses."""
        known = others if isinstance(others, list | tuple) and len(others) == len(values) else [None] * len(values)
        each = [
            f"({self._listed(one, other)})" if isinstance(one, list | tuple) else self._text(one, other)
            for one, other in zip(values, known, strict=True)
        ]
        return say("and.between").join(each)

    def _by(self) -> str:
        if self.section not in _NUMBERS and self.name not in _COUNTS:
            return ""
        share = self.relative
        if share is None:
            return ""
        sign = "−" if share < 0 else "+"
        return say("changes.by", sign=sign, number=number(100 * abs(share), 2))


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the last run, for its report."""

    sentence: str
    differences: tuple[Difference, ...]
    more: int  # weights that changed and are not among them


def previous(record: Record, before: Record, found: History, now: Line) -> Previous:
    """What a record keeps of the run before.

    Args:
        record: of the run.
        before: the newest of its data set that had a result.
        found: the runs before, the newest first.
        now: the run, judged.
    """
    failures = [one.id for one in found.lines if (one.started, one.id) > (before.run.started, before.run.id) and not one.fits]
    first = before.fits[0]
    return Previous(
        id=before.run.id,
        started=before.run.started,
        verdict=before.verdict,
        failed_since=len(failures),
        epochs=max(fit.epochs for fit in before.fits),
        loss=first.loss,
        r2=first.r2,
        intercept=first.intercept,
        weights=first.weights if record.fits else {},
        rows_used=before.dataset.rows_used,
        sha256=before.dataset.sha256,
        settings=_settings(before),
        version=before.run.version,
        packages=before.run.packages,
        expected={name: (low, high) for name, (low, high) in now.expected.items() if name is not None},
        expected_intercept=(now.expected[None].low, now.expected[None].high) if None in now.expected else None,
    )


def changes(record: Record) -> Changes | None:
    """What has changed since the run that a record knows of; None for the first run of a data set."""
    before = record.previous
    if before is None:
        return None
    past = _past(record, before)
    present = {
        section: {name: value for name, value in facts.items() if section == "settings" or name in past[section]}
        for section, facts in _facts(record).items()
        if section in past
    } | ({"weights": record.fits[0].weights} if record.fits else {})
    drifted, intercept_drifted = _drifted(record, before)
    found = [
        replace(one, drifted=one.name in drifted if one.section == "weights" else intercept_drifted and one.name == "intercept")
        for one in _between(past, present)
    ]
    weights = [one for one in found if one.section == "weights"]
    by_size = sorted(weights, key=lambda one: -abs(one.relative or 0.0))
    shown = [one for one in weights if one.drifted] or by_size[:_LARGEST]
    kept = tuple(one for one in found if one.section != "weights" or one in shown)
    return Changes(_sentence(record, before, [one.name for one in found if one.drifted]), kept, len(weights) - len(shown))


def _past(record: Record, before: Previous) -> dict[str, Mapping[str, Any]]:
    """What is known of the run before, in the words of `_facts`."""
    found: dict[str, Mapping[str, Any]] = {"settings": before.settings, "program": {"gd": before.version, **before.packages}}
    if not record.fits:
        return found
    result = {"loss": before.loss, "R²": before.r2, "intercept": before.intercept, "epochs": before.epochs}
    return found | {
        "verdict": {"verdict": before.verdict}, "result": result, "weights": before.weights,
        "data": {"rows used": before.rows_used},
    }  # fmt: skip


def _drifted(record: Record, before: Previous) -> tuple[set[str], bool]:
    """The features whose weights left their intervals, and whether the intercept did."""
    if not record.fits:
        return set(), False
    first, bounds = record.fits[0], before.expected_intercept
    weights = {name: weight for name, weight in first.weights.items() if weight is not None}
    outside = {
        name for name, (low, high) in before.expected.items() if name in weights and not low <= weights[name] <= high
    }  # fmt: skip
    return outside, bounds is not None and first.intercept is not None and not bounds[0] <= first.intercept <= bounds[1]


def _sentence(record: Record, before: Previous, drifted: Sequence[str]) -> str:
    if before.failed_since:
        said = [say(f"changes.last.{before.verdict}", when=when(before.started), count=count(before.failed_since))]
    else:
        said = [say(f"changes.before.{before.verdict}", when=when(before.started))]
    if record.dataset.sha256 and before.sha256:
        said.append(say("changes.same_data" if record.dataset.sha256 == before.sha256 else "changes.other_data"))
    if drifted:
        names = say("and.between").join(map(visible, drifted[:3]))
        if len(drifted) > 3:
            names = say("and.more", listed=names, count=count(len(drifted) - 3))
        said.append(say("changes.drift", names=names))
    return " ".join(said)


def differences(before: Record, now: Record) -> list[Difference]:
    """Everything in which two runs differ, but for when they were and how long they took."""
    return list(_between(_facts(before), _facts(now)))


def per_cent(now: float | None, before: float | None) -> float | None:
    """By how much a loss changed; None where per cent say nothing: by more than tenfold, or from or to no number."""
    if now is None or before is None:
        return None
    if now == before:
        return 0.0
    return 100 * (now / before - 1) if before and 0.1 <= now / before <= 10 else None


_ORDER = ("verdict", "result", "weights", "data", "settings", "diagnosis", "program")


def _between(before: Facts, now: Facts) -> Iterator[Difference]:
    for section in _ORDER:
        past, present, known = before.get(section, {}), now.get(section, {}), _TITLED.get(section, ())
        places = {name: place for place, name in enumerate(known)}
        for name in sorted({**present, **past}, key=lambda name: places.get(name.partition(", ")[0], len(places))):
            if past.get(name) != present.get(name):
                yield Difference(section, name, past.get(name), present.get(name))


def _facts(record: Record) -> dict[str, dict[str, Any]]:
    data = record.dataset
    found: dict[str, dict[str, Any]] = {section: {} for section in _ORDER}
    found["verdict"] = {"verdict": record.verdict}
    if record.error is not None:
        found["verdict"]["error"] = record.error.message
    for place, fit in enumerate(record.fits):
        found["result"] |= _of_fit(fit, "" if place == 0 else f", {fit.title}")
    if record.fits:
        found["result"]["epochs"] = max(fit.epochs for fit in record.fits)
        found["weights"] = dict(record.fits[0].weights)
    found["data"] = {
        "name": data.name, "file": data.path, "SHA-256": data.sha256, "bytes": data.bytes, "rows": data.rows,
        "rows used": data.rows_used, "rows held out": data.rows_held, "target": data.target, "features": list(data.features),
        "columns left out": sorted(one.column for one in data.left_out),
        "rows dropped": sum(one.count for one in data.rows_dropped),
        "remarks": sorted({f"{one.column or 'table'}: {one.text}" for one in data.remarks}),
    }  # fmt: skip
    if data.format is not None:
        found["data"] |= {f"format, {name}": value for name, value in data.format.model_dump(mode="json").items()}
    found["settings"] = dict(_settings(record))
    if record.diagnosis is not None:
        for name, value in record.diagnosis.model_dump(mode="json").items():
            if isinstance(value, dict):
                title = name.replace("_", " ")
                found["diagnosis"] |= {f"{title}, {key}": one for key, one in value.items() if name != "reasons"}
            elif name not in {"eigenvalues", "hessian"}:
                found["diagnosis"][name.replace("_", " ")] = value
    if record.comparison is not None:
        agreed = record.comparison
        found["diagnosis"] |= {"backends agree": agreed.agree, "first epoch apart": agreed.first_epoch_apart}
    commit = record.run.git.commit if record.run.git else None
    found["program"] = {"gd": record.run.version, "commit": commit, **record.run.packages}
    return found


def _of_fit(fit: Fit, who: str) -> dict[str, Any]:
    return {
        f"outcome{who}": fit.outcome.value, f"loss{who}": fit.loss, f"R²{who}": fit.r2, f"epochs{who}": fit.epochs,
        f"intercept{who}": fit.intercept, f"loss without penalties{who}": fit.unpenalised_loss, f"D²{who}": fit.d2,
        f"loss on rows held out{who}": fit.validation_loss, f"epoch of the weights kept{who}": fit.best_epoch,
    }  # fmt: skip


def _settings(record: Record) -> dict[str, Any]:
    """As they were trained with, but for what only follows from the data."""
    found = record.training.model_dump(mode="json", exclude=_AS_TRAINED)
    for name in ("learning_rate", "delta", "l2", "decay"):
        if found[f"{name}_setting"] != "fixed":
            found.pop(name)
    return {name.replace("_", " "): value for name, value in found.items()}


def since(folder: Path, record: Record) -> Previous | None:
    """What a run that is to become a folder has before it; None for the first of its data set with a result.

    Args:
        folder: where it will be.
        record: of the run.
    """
    names = [name for name in history.runs(folder.parent) if name >= folder.name]
    found = history.read(folder.parent, _BEFORE, without=names)
    *_, now = history.judged([*reversed(found.lines), history.line(folder, record)])
    for one in found.lines:
        if one.fits:
            with suppress(OSError, ValueError):
                return previous(record, Record.model_validate_json((one.folder / "run.json").read_bytes()), found, now)
    return None
