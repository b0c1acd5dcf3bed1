"""What a mail says of a run, in words and numbers that need no layout yet: worst verdict first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from unicodedata import category
from urllib.parse import quote, urlsplit

from gd.changes import per_cent
from gd.epoch_table import cells, shown_epochs
from gd.figures import loss_words
from gd.look import Look
from gd.notation import count, number, visible
from gd.notation import zone as known_zone
from gd.phrases import say
from gd.record import EpochLog, Fit, Previous, Record
from gd.report import Table
from gd.words import headline, sentence

__all__ = ["FEATURES", "NAME", "Digest", "Item", "Section", "date", "kicker", "opening", "rest", "sections", "subject", "worst"]

FEATURES = 8  # a mail names so many weights, the report all of them
NAME = 40  # characters of a name, which stands in a narrow column

_WORST_FIRST = ("failed", "disagree", "diverged", "exhausted", "converged")
_EPOCHS = 25
_SENTENCE = 600
_PLACE = 200
_SUBJECT = 200  # ours stay far below: this is for a user's words, and a header's line holds 998 bytes at most
_REMARKS = 3  # of a data set


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One data set of the run."""

    record: Record
    log: EpochLog | None  # None where nothing was trained
    folder: Path | None  # None where nothing could be written


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
        return self.link or (visible(str(folders[0].parent.parent), _PLACE) if folders else say("mail.enclosed.folder"))


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
    """The verdict first, then the name and the date: `[ok] nightly: 3 of 3 converged, 22 Nov 2026`.

    On one line and of bounded length, whatever words a user has put in the place of ours.
    """
    day = date(digest.moment, digest.place)
    tag = say(f"mail.tag.{worst(digest)}")
    words = say("mail.subject", tag=tag, name=visible(digest.name, NAME), tally=_tally(digest), date=day)
    one_line = " ".join(part for line in words.splitlines() if (part := line.strip()))
    shown = "".join(c if c.isprintable() or category(c) == "Zs" else c.encode("unicode_escape").decode() for c in one_line)
    return shown if len(shown) <= _SUBJECT else f"{shown[: _SUBJECT - 1]}…"


def worst(digest: Digest) -> str:
    """The worst verdict of all."""
    return digest.ranked[0].record.verdict


def opening(digest: Digest) -> str:
    """The verdict over all, in words."""
    if len(digest.items) == 1:
        return headline(digest.items[0].record)
    verdict = worst(digest)
    return say(f"mail.opening.{verdict}", count=count(_counts(digest)[verdict]), total=count(len(digest.items)))


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
        ((verdict, number_of),) = others
        return say(f"mail.{'other' if number_of == 1 else 'others'}.{verdict}", count=count(number_of))
    if others:
        *most, last = [say(f"mail.some.{verdict}", count=count(number_of)) for verdict, number_of in others]
        return say("mail.of_others", listed=say("and.last").join([say("and.between").join(most), last]))
    records = [item.record for item in digest.items]
    gaps = [record.comparison.max_relative_weight_gap for record in records if record.comparison and len(record.fits) > 1]
    found = [gap for gap in gaps if gap is not None]
    if worst(digest) != "converged" or len(found) < len(records):
        return ""
    if max(found) == 0:
        return say("mail.never_differed")
    return say("mail.differed", gap=number(max(found), 2, plain=plain))


def kicker(digest: Digest, *, plain: bool = False) -> str:
    """Which run it is: name, time with its zone, and how it began."""
    local = digest.moment.astimezone(_zone(digest.place))
    parts = [
        visible(digest.name, NAME),
        f"{date(digest.moment, digest.place)}, {local:%H:%M %Z}",
        say(f"mail.trigger.{digest.items[0].record.run.trigger}"),
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
        plain_loss=say("mail.loss", loss=_loss(record, plain=True)) if record.fits else "",
        change=_change(record, record.previous),
        since=_since(digest, record, record.previous),
        results=_results(record) if record.fits else None,
        epochs=_epochs(record, log) if log is not None else None,
        picture=loss_words(record, log) if log is not None else None,
        address=_address(digest, item),
        place=visible(str(item.folder), _PLACE) if item.folder is not None else "",
        remarks=_remarks(record),
    )


def _remarks(record: Record) -> tuple[str, ...]:
    found = record.dataset.remarks
    said = [
        say("mail.remark_all", text=visible(one.text, _SENTENCE))
        if one.column is None
        else say("mail.remark", column=visible(one.column), text=visible(one.text, _SENTENCE))
        for one in found[:_REMARKS]
    ]
    return (*said, *([say("mail.more_remarks", count=count(len(found) - _REMARKS))] if len(found) > _REMARKS else []))


def _counts(digest: Digest) -> dict[str, int]:
    """How many met each verdict, worst first."""
    verdicts = [item.record.verdict for item in digest.items]
    return {verdict: verdicts.count(verdict) for verdict in _WORST_FIRST if verdict in verdicts}


def _tally(digest: Digest) -> str:
    """How many of how many met the worst verdict."""
    verdict = worst(digest)
    return say(f"mail.tally.{verdict}", count=count(_counts(digest)[verdict]), total=count(len(digest.items)))


def _loss(record: Record, plain: bool = False) -> str:
    """What each backend ended with, where they disagree; else what the first did."""
    if not record.fits:
        return ""
    if record.verdict != "disagree":
        return _finite(record.fits[0].loss, plain)
    if plain:
        each = (say("mail.loss_by", loss=_finite(fit.loss, plain), backend=fit.title) for fit in record.fits)
        return say("and.between").join(each)
    return " ≠ ".join(_finite(fit.loss) for fit in record.fits)


def _finite(value: float | None, plain: bool = False) -> str:
    return say("mail.not_finite") if value is None else number(value, plain=plain)


def _losses(record: Record, previous: Previous) -> tuple[float | None, float | None]:
    """The loss now and in the last run that had a result; None where there is none to compare."""
    return (record.fits[0].loss, previous.loss) if record.fits else (None, None)


def _change(record: Record, previous: Previous | None) -> tuple[str, ...]:
    """Since the last run with a result, as on the page; runs in between that had none are told too."""
    if previous is None:
        return (say("mail.change.first" if record.fits else "mail.change.none"),)
    lines = [] if previous.verdict == record.verdict else [say(f"mail.was.{previous.verdict}")]
    if previous.failed_since:
        name = "mail.change.failed" if previous.failed_since == 1 else "mail.change.failed_often"
        lines.append(say(name, count=count(previous.failed_since)))
    now, before = _losses(record, previous)
    moved = per_cent(now, before)
    if moved is not None:
        name = "mail.change.same" if abs(moved) < 0.005 else "mail.change.less" if moved < 0 else "mail.change.more"
        lines.append(say(name, share=number(abs(moved), 2)))
    elif before is not None:
        lines.append(say("mail.change.loss", loss=number(before)))
    if _new_data(record, previous):
        lines.append(say("mail.change.data"))
    return tuple(lines) or (say("mail.change.nothing"),)


def _since(digest: Digest, record: Record, previous: Previous | None) -> str:
    if previous is None:
        return say("mail.since.first")
    day = date(previous.started, digest.place)
    if previous.failed_since:
        said = [say(f"mail.last.{previous.verdict}", date=day, count=count(previous.failed_since))]
    else:
        said = [say(f"mail.{'too' if previous.verdict == record.verdict else 'before'}.{previous.verdict}", date=day)]
    now, before = _losses(record, previous)
    moved = per_cent(now, before)
    if moved is not None:
        name = "mail.since.same" if abs(moved) < 0.005 else "mail.since.lower" if moved < 0 else "mail.since.higher"
        said.append(say(name, share=number(abs(moved), 2, plain=True)))
    elif before is not None:
        said.append(say("mail.since.loss", loss=number(before, plain=True)))
    if _new_data(record, previous):
        said.append(say("changes.other_data"))
    return " ".join(said)


def _new_data(record: Record, previous: Previous) -> bool:
    now, before = record.dataset.sha256, previous.sha256
    return bool(now and before) and now != before


def _results(record: Record) -> Table:
    """Where each backend ended, beside the exact optimum; weights in the units of the CSV."""
    found = record.diagnosis
    assert found is not None

    def result(fit: Fit, name: str) -> str:
        value = getattr(fit, name)
        return number(value, keep_zeros=True) if value is not None else fit.reasons.get(name, "—").split(" from epoch")[0]

    rows = [(say("mail.table.epochs"), *(count(fit.epochs) for fit in record.fits), "")]
    if len({fit.outcome for fit in record.fits}) > 1:
        rows.insert(0, (say("mail.table.outcome"), *(fit.outcome.value for fit in record.fits), ""))
    rows.append(
        (say("mail.table.loss"), *(result(fit, "loss") for fit in record.fits), number(found.optimum_loss, keep_zeros=True))
    )
    if record.training.validation is not None:
        rows.append((say("mail.table.held"), *(result(fit, "validation_loss") for fit in record.fits), ""))
    if record.training.loss in {"mse", "notebook"}:
        against = "mail.table.r2" if record.fits[0].centred else "mail.table.r2_zero"
        rows.append((say(against), *(result(fit, "r2") for fit in record.fits), ""))
    else:
        rows.append((say("mail.table.d2"), *(result(fit, "d2") for fit in record.fits), ""))
    if record.training.intercept:
        ends = [number(fit.intercept, keep_zeros=True) for fit in record.fits]
        rows.append((say("mail.table.intercept"), *ends, number(found.optimum_intercept, keep_zeros=True)))
    for feature in record.dataset.features[:FEATURES]:
        ends = [number(fit.weights[feature], keep_zeros=True) for fit in record.fits]
        rows.append((visible(feature, NAME), *ends, number(found.optimum[feature], keep_zeros=True)))
    left = len(record.dataset.features) - FEATURES
    showing = say("mail.table.one_more" if left == 1 else "mail.table.more", count=count(left)) if left > 0 else ""
    return Table((), ("", *(fit.title for fit in record.fits), say("mail.table.optimum")), tuple(rows), showing)


def _epochs(record: Record, log: EpochLog) -> Table:
    """The loss before each step and, beside it, how far apart the backends' weights are after it."""
    shown = shown_epochs(record, log, _EPOCHS, _EPOCHS)
    heads = [say("mail.table.epoch"), *(say("mail.table.loss_of", backend=fit.title) for fit in record.fits)]
    columns = [cells(log, f"{fit.backend}_loss", shown) for fit in record.fits]
    if len(record.fits) > 1:
        heads.append(say("mail.table.gap"))
        columns.append(cells(log, "weight_gap", shown, 2))
    else:
        heads.append(say("mail.table.gradient"))
        columns.append(cells(log, f"{record.fits[0].backend}_gradient_norm", shown))
    rows = tuple(zip(map(count, shown), *columns, strict=True))
    some = len(shown) < len(log)
    showing = say("mail.table.some" if some else "mail.table.every", shown=count(len(shown)), all=count(len(log)))
    return Table((), tuple(heads), rows, showing)


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
