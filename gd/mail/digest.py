"""What a mail says of a run, in words and numbers that need no layout yet: worst verdict first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from urllib.parse import quote, urlsplit

from gd.changes import per_cent
from gd.epoch_table import cells, shown_epochs
from gd.figures import loss_words
from gd.look import Look
from gd.notation import count, number, visible
from gd.notation import zone as known_zone
from gd.record import EpochLog, Fit, Record
from gd.report import Table
from gd.words import headline, sentence

__all__ = ["FEATURES", "NAME", "Digest", "Item", "Section", "date", "kicker", "opening", "rest", "sections", "subject", "worst"]

FEATURES = 8  # a mail names so many weights, the report all of them
NAME = 40  # characters of a name, which stands in a narrow column

_WORST_FIRST = ("failed", "disagree", "diverged", "exhausted", "converged")
_TAGS = {
    "failed": "failed",
    "disagree": "backends disagree",
    "diverged": "diverged",
    "exhausted": "not there yet",
    "converged": "ok",
}
_DID = {
    "failed": "failed",
    "disagree": "saw the backends disagree",
    "diverged": "diverged",
    "exhausted": "ran out of epochs",
    "converged": "converged",
}
_WAS = _DID | {"disagree": "backends disagreed", "exhausted": "was not there yet", "converged": "had converged"}
_EPOCHS = 25
_SENTENCE = 600
_PLACE = 200
_REMARKS = 3  # of a data set


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One data set of the run."""

    record: Record
    log: EpochLog | None  # None where nothing was trained
    folder: Path | None  # None where nothing could be written
    previous: Record | None  # its last run before


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """A run over all its data sets, as one mail tells it.

    Raises:
        ValueError: if there is no data set, the moment has no zone, or the link is none that a mail may hold.
    """

    name: str  # of the deployment, or of the data set
    key: str  # unique for deployment and scheduled slot, or the run's id
    moment: datetime  # the scheduled slot, or the start
    items: Sequence[Item]
    zone: str = "UTC"  # in which dates are written
    link: str | None = None  # base address under which the reports folder can be opened
    look: Look = Look()  # noqa: RUF009  (frozen; its zone stands above the other)

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("A digest needs at least one data set.")
        if self.moment.tzinfo is None:
            raise ValueError(f"The moment {self.moment} needs a time zone.")
        link = self.link or "https://"
        if urlsplit(link).scheme not in {"http", "https", "file"} or not link.isprintable() or " " in link:
            raise ValueError(f"The link '{visible(link)}' is no address. Begin it with https://, http:// or file://.")

    @property
    def place(self) -> str:
        """The zone in which times are written: the look's, else that of the schedule."""
        return self.look.zone or self.zone

    @property
    def ranked(self) -> list[Item]:
        """The data sets, the worst verdict first, else as they were given."""
        return sorted(self.items, key=lambda item: _WORST_FIRST.index(item.record.verdict))

    @property
    def where(self) -> str:
        """Where all reports are: the address, else the folder."""
        folders = [item.folder for item in self.items if item.folder is not None]
        return self.link or (visible(str(folders[0].parent.parent), _PLACE) if folders else "the folder of the reports")


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """What is said of one data set; names and sentences on one line and of bounded length, not escaped."""

    item: Item
    name: str
    sentence: str
    plain: str  # the sentence in ASCII
    loss: str
    plain_loss: str  # as a sentence, in ASCII
    change: tuple[str, ...]  # since the last run, in lines of a narrow column
    since: str  # the same as a sentence, in ASCII
    results: Table | None
    epochs: Table | None
    picture: tuple[str, str] | None  # caption and alt text
    address: str | None  # of the report, where it can be opened
    place: str  # of the report's folder; empty where there is none
    remarks: tuple[str, ...] = ()  # what to know of the data
    attached: tuple[str, ...] = ()  # names of the files that travel with the mail


def subject(digest: Digest) -> str:
    """The verdict first, then the name and the date: `[ok] nightly: 3 of 3 converged, 22 Nov 2026`."""
    return f"[{_TAGS[worst(digest)]}] {visible(digest.name, NAME)}: {_tally(digest)}, {date(digest.moment, digest.place)}"


def worst(digest: Digest) -> str:
    """The worst verdict of all."""
    return digest.ranked[0].record.verdict


def opening(digest: Digest) -> str:
    """The verdict over all, in words."""
    if len(digest.items) == 1:
        return headline(digest.items[0].record)
    if worst(digest) == "disagree":
        return f"The backends disagree {_tally(digest).removesuffix(' data sets')}"
    return _tally(digest)


def rest(digest: Digest, *, plain: bool = False) -> str:
    """One more sentence over all: what became of the others, or how near the backends stayed; empty for one data set.

    Args:
        digest: of the run.
        plain: keep to ASCII.
    """
    if len(digest.items) == 1:
        return ""
    _, *others = _counts(digest).items()
    if len(others) == 1:
        ((verdict, others_count),) = others
        return f"The other {'one' if others_count == 1 else count(others_count)} {_DID[verdict]}."
    if others:
        return f"Of the others, {_listed([f'{count(n)} {_DID[verdict]}' for verdict, n in others])}."
    records = [item.record for item in digest.items]
    gaps = [record.comparison.max_relative_weight_gap for record in records if record.comparison and len(record.fits) > 1]
    found = [gap for gap in gaps if gap is not None]
    if worst(digest) != "converged" or len(found) < len(records):
        return ""
    if max(found) == 0:
        return "Their backends never differed."
    return f"Their backends never differed by more than {number(max(found), 2, plain=plain)}, relative to the weights."


def kicker(digest: Digest, *, plain: bool = False) -> str:
    """Which run it is: name, time with its zone, and how it began."""
    local = digest.moment.astimezone(_zone(digest.place))
    parts = [
        visible(digest.name, NAME),
        f"{date(digest.moment, digest.place)}, {local:%H:%M %Z}",
        f"{digest.items[0].record.run.trigger} run",
    ]
    return (", " if plain else " · ").join(parts)


def date(moment: datetime, zone: str) -> str:
    """The day, as it is in a zone; in UTC where this machine does not know the zone."""
    local = moment.astimezone(_zone(zone))
    return f"{local.day} {local:%b %Y}"


def sections(digest: Digest) -> list[Section]:
    """What is said of each data set, in the order of `digest.ranked`."""
    return [_section(digest, item) for item in digest.ranked]


def _section(digest: Digest, item: Item) -> Section:
    record, log = item.record, item.log if item.record.fits else None
    return Section(
        item=item,
        name=visible(record.dataset.name, NAME),
        sentence=visible(sentence(record), _SENTENCE),
        plain=visible(sentence(record, plain=True), _SENTENCE),
        loss=_loss(record),
        plain_loss=f"Loss {_loss(record, plain=True)}." if record.fits else "",
        change=_change(record, item.previous),
        since=_since(digest, record, item.previous),
        results=_results(record) if record.fits else None,
        epochs=_epochs(record, log) if log is not None else None,
        picture=loss_words(record, log) if log is not None else None,
        address=_address(digest, item),
        place=visible(str(item.folder), _PLACE) if item.folder is not None else "",
        remarks=_remarks(record),
    )


def _remarks(record: Record) -> tuple[str, ...]:
    found = record.dataset.remarks
    more = f"{count(len(found) - _REMARKS)} more such remarks in the report."
    said = (
        f"Look at {'this' if one.column is None else visible(one.column)}: {visible(one.text, _SENTENCE)}"
        for one in found[:_REMARKS]
    )
    return (*said, *([more] if len(found) > _REMARKS else []))


def _counts(digest: Digest) -> dict[str, int]:
    """How many met each verdict, worst first."""
    verdicts = [item.record.verdict for item in digest.items]
    return {verdict: verdicts.count(verdict) for verdict in _WORST_FIRST if verdict in verdicts}


def _tally(digest: Digest) -> str:
    """How many of how many met the worst verdict."""
    verdict, total = worst(digest), count(len(digest.items))
    met = count(_counts(digest)[verdict])
    return f"on {met} of {total} data sets" if verdict == "disagree" else f"{met} of {total} {_DID[verdict]}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _loss(record: Record, plain: bool = False) -> str:
    """What each backend ended with, where they disagree; else what the first did."""
    if not record.fits:
        return ""
    if record.verdict != "disagree":
        return _finite(record.fits[0].loss, plain)
    if plain:
        return ", ".join(f"{_finite(fit.loss, plain)} by {fit.title}" for fit in record.fits)
    return " ≠ ".join(_finite(fit.loss) for fit in record.fits)


def _finite(value: float | None, plain: bool = False) -> str:
    return "not finite" if value is None else number(value, plain=plain)


def _before(record: Record, previous: Record) -> tuple[float | None, float | None]:
    """The loss now and in the run before."""
    return record.fits[0].loss if record.fits else None, previous.fits[0].loss if previous.fits else None


def _change(record: Record, previous: Record | None) -> tuple[str, ...]:
    if previous is None:
        return ("first run",)
    lines = [] if previous.verdict == record.verdict else [_WAS[previous.verdict]]
    now, before = _before(record, previous)
    moved = per_cent(now, before)
    if moved is not None:
        minus = "−" if moved < 0 else "+"
        lines.append("loss unchanged" if abs(moved) < 0.005 else f"loss {minus}{number(abs(moved), 2)}\N{NO-BREAK SPACE}%")
    elif before is not None and record.fits:
        lines.append(f"loss was {number(before)}")
    if _new_data(record, previous):
        lines.append("new data")
    return tuple(lines) or ("unchanged",)


def _since(digest: Digest, record: Record, previous: Record | None) -> str:
    if previous is None:
        return "There is no earlier run to compare with."
    words = f"The run before, on {date(previous.run.started, digest.place)}, {_DID[previous.verdict]}"
    words += " too" if previous.verdict == record.verdict else ""
    now, before = _before(record, previous)
    moved = per_cent(now, before)
    if moved is not None:
        lower = f"{number(abs(moved), 2, plain=True)} % {'lower' if moved < 0 else 'higher'}"
        words += f"; the loss is {'unchanged' if abs(moved) < 0.005 else f'{lower} now'}"
    elif before is not None and record.fits:
        words += f"; its loss was {number(before, plain=True)}"
    return f"{words}. The data have changed since." if _new_data(record, previous) else f"{words}."


def _new_data(record: Record, previous: Record) -> bool:
    now, before = record.dataset.sha256, previous.dataset.sha256
    return bool(now and before) and now != before


def _results(record: Record) -> Table:
    """Where each backend ended, beside the exact optimum; weights in the units of the CSV."""
    found = record.diagnosis
    assert found is not None

    def result(fit: Fit, name: str) -> str:
        value = getattr(fit, name)
        return number(value, keep_zeros=True) if value is not None else fit.reasons.get(name, "—").split(" from epoch")[0]

    rows = [("epochs", *(count(fit.epochs) for fit in record.fits), "")]
    if len({fit.outcome for fit in record.fits}) > 1:
        rows.insert(0, ("outcome", *(fit.outcome.value for fit in record.fits), ""))
    rows.append(("loss", *(result(fit, "loss") for fit in record.fits), number(found.optimum_loss, keep_zeros=True)))
    rows.append(("R²", *(result(fit, "r2") for fit in record.fits), ""))
    if record.training.intercept:
        ends = [number(fit.intercept, keep_zeros=True) for fit in record.fits]
        rows.append(("intercept", *ends, number(found.optimum_intercept, keep_zeros=True)))
    for feature in record.dataset.features[:FEATURES]:
        ends = [number(fit.weights[feature], keep_zeros=True) for fit in record.fits]
        rows.append((visible(feature, NAME), *ends, number(found.optimum[feature], keep_zeros=True)))
    left = len(record.dataset.features) - FEATURES
    showing = f"the weights of {count(left)} more feature{'s' if left > 1 else ''} are in the full report" if left > 0 else ""
    return Table((), ("", *(fit.title for fit in record.fits), "optimum"), tuple(rows), showing)


def _epochs(record: Record, log: EpochLog) -> Table:
    """The loss before each step and, beside it, how far apart the backends' weights are after it."""
    shown = shown_epochs(record, log, _EPOCHS, _EPOCHS)
    heads = ["epoch", *(f"loss, {fit.title}" for fit in record.fits)]
    columns = [cells(log, f"{fit.backend}_loss", shown) for fit in record.fits]
    if len(record.fits) > 1:
        heads.append("gap of weights")
        columns.append(cells(log, "weight_gap", shown, 2))
    else:
        heads.append("gradient norm")
        columns.append(cells(log, f"{record.fits[0].backend}_gradient_norm", shown))
    rows = tuple(zip(map(count, shown), *columns, strict=True))
    some = len(shown) < len(log)
    return Table((), tuple(heads), rows, f"{count(len(shown))} of {count(len(log))} epochs" if some else "every epoch")


def _address(digest: Digest, item: Item) -> str | None:
    if digest.link is None or item.folder is None:
        return None
    way = "/".join(quote(part, safe="") for part in item.folder.parts[-2:])
    return f"{digest.link.rstrip('/')}/{way}/report.html"


def _zone(name: str) -> tzinfo:
    try:
        return known_zone(name)
    except ValueError:  # the zone stands beside each time: a mail is not lost to a wrong name
        return UTC
