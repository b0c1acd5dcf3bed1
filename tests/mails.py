"""Mails over the finished runs of the tests, and how a message is taken apart again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from gd import archive
from gd.data import DataError, Source
from gd.mail import Letter, compose
from gd.mail.digest import Digest, Item
from gd.record import Previous, Record, Run
from gd.recording import failed
from gd.settings import Training

MOMENT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 1, 4, 7, tzinfo=UTC)
SENDER = "gd reports <reports@a.example>"
HOSTILE = "<script>alert(1)</script>\r\nBcc: thief@b.example \x1b[31m \u202e '\"&<b>"
VERDICTS = ("failed", "disagree", "diverged", "exhausted", "converged")  # worst first


def items(cases: dict[str, Path], folder: Path) -> dict[str, Item]:
    """An item for each verdict, each after a run of the day before; the failed one is made in a folder."""
    found = {}
    for verdict, place in cases.items():
        record, log = archive.read_run(place)
        found[verdict] = Item(followed(record), log, place)
    run = Run(id="x", trigger="scheduled", started=MOMENT, finished=MOMENT, version="0.1.0", command="gd run sales.csv")
    error = DataError("sales.csv, line 211", "5 cells where the header has 4.", "Quote cells that hold a comma.")
    record = failed(run, Source(path="sales.csv", target="price"), "sales", Training(), error)
    folder.mkdir(parents=True)
    archive.write_record(folder, record, None)
    archive.write_report(folder)
    return found | {"failed": Item(record, None, folder)}


def followed(record: Record, **changed: Any) -> Record:
    """The same record, its run after one with the same result a day before, but for what that had otherwise."""
    first = record.fits[0]
    before = Previous(
        id="before", started=MOMENT - timedelta(days=1), verdict=record.verdict, epochs=first.epochs, loss=first.loss,
        r2=first.r2, intercept=first.intercept, weights=first.weights, rows_used=record.dataset.rows_used,
        sha256=record.dataset.sha256, settings={}, version="0.1.0",
    )  # fmt: skip
    return record.model_copy(update={"previous": before.model_copy(update=changed)})


def hostile(item: Item, number: int = 0) -> Item:
    """The same run over a table whose every name is 200 characters of markup, line breaks and direction marks."""
    record = item.record
    names = {old: f"{(HOSTILE * 4)[:190]}{number}-{j}" for j, old in enumerate(record.dataset.features)}
    data = record.dataset.model_copy(
        update={"name": f"{(HOSTILE * 4)[:195]}{number}", "target": HOSTILE * 4, "features": tuple(names.values())}
    )
    fits = [
        fit.model_copy(update={"weights": {names[old]: weight for old, weight in fit.weights.items()}}) for fit in record.fits
    ]
    found = record.diagnosis
    assert found is not None
    optimum = found.model_copy(update={"optimum": {names[old]: weight for old, weight in found.optimum.items()}})
    told = record.inference
    if told is not None:
        terms = [
            term if term.feature is None else term.model_copy(update={"feature": names[term.feature]}) for term in told.terms
        ]
        told = told.model_copy(update={"terms": tuple(terms)})
    changed = record.model_copy(update={"dataset": data, "fits": tuple(fits), "diagnosis": optimum, "inference": told})
    return replace(item, record=followed(changed))


def digest(*found: Item, **changed: Any) -> Digest:
    """A nightly run over some data sets."""
    return Digest(
        **{
            "name": "nightly",
            "key": "nightly/2026-11-22T01:00:00Z",
            "moment": MOMENT,
            "items": found,
            "zone": "Europe/Berlin",
            **changed,
        }
    )


def letter(*found: Item, **changed: Any) -> Letter:
    """Its message."""
    return compose(digest(*found, **changed), sender=SENDER, reply_to=None, now=NOW)


def parsed(content: bytes) -> EmailMessage:
    """A message as Python's own parser reads it."""
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert [] == [defect for part in message.walk() for defect in part.defects]
    return message


def body(message: EmailMessage, kind: str) -> str:
    """The words of one part ("plain" or "html"), with the line ends of this machine."""
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def attachments(message: EmailMessage) -> dict[str, bytes]:
    """Every attachment by its name."""
    found = {}
    for part in message.iter_attachments():
        name, content = part.get_filename(), part.get_payload(decode=True)
        assert name is not None
        assert name not in found
        assert isinstance(content, bytes)
        found[name] = content
    return found


def put_in_place(content: bytes, folder: Path) -> Path:
    """The HTML of a message as a file, its pictures files beside it, as a mail client shows them."""
    message = parsed(content)
    page = body(message, "html")
    folder.mkdir(parents=True, exist_ok=True)
    for number, (cid, picture) in enumerate(pictures(message).items()):
        (folder / f"{number}.png").write_bytes(picture)
        page = page.replace(f"cid:{cid}", f"{number}.png")
    (folder / "mail.html").write_text(page, encoding="utf-8")
    return folder / "mail.html"


def pictures(message: EmailMessage) -> dict[str, bytes]:
    """Every picture by its Content-ID, without the brackets."""
    return {
        part["Content-ID"].strip("<>"): part.get_content() for part in message.walk() if part.get_content_maintype() == "image"
    }
