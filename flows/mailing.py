"""From what a flow run came to, to messages that are owed: who may get them, from whom, and where they wait."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
from pydantic import BaseModel
from sqlalchemy import URL, make_url

from flows.recovery import Presence
from gd import archive, mail, smtp
from gd.mail import Digest, Item, Letter
from gd.outbox import Outbox, OutboxError
from gd.smtp import Server

__all__ = [
    "credentials",
    "digest",
    "domains",
    "missing_outbox",
    "open_outbox",
    "outbox_url",
    "owed",
    "post",
    "post_later",
    "post_owed",
    "sender",
    "tell",
]

_OWED = ".owed"
_ANONYMOUS = "gd <gd@localhost>"  # of a message that stays on this machine


def credentials(environment: Mapping[str, str] = os.environ) -> Server | None:
    """The mail server: of the prefect-email block that GD_SMTP_BLOCK names, else of the GD_SMTP_* variables.

    Returns:
        None where neither is set.

    Raises:
        ValueError: in one sentence, if they do not make a server.
    """
    name = environment.get("GD_SMTP_BLOCK")
    if not name:
        return smtp.from_environment(environment)
    from prefect_email import EmailServerCredentials  # noqa: PLC0415  (only who uses blocks pays for it)
    from prefect_email.credentials import SMTPType  # noqa: PLC0415

    try:
        block: Any = EmailServerCredentials.load(name, _sync=True)
    except ValueError:
        raise ValueError(f"GD_SMTP_BLOCK: no EmailServerCredentials block named {name!r}: save one on Prefect's page") from None
    except (httpx.HTTPError, RuntimeError):
        raise ValueError(f"GD_SMTP_BLOCK: the block {name!r} cannot be read: Prefect's server does not answer") from None
    if not block.verify:
        raise ValueError(
            f"the block {name!r} does not verify certificates: switch that on (SSL_CERT_FILE names a CA of your own)"
        )
    security = {SMTPType.SSL: "tls", SMTPType.STARTTLS: "starttls", SMTPType.INSECURE: "none"}[block.smtp_type]
    found = {
        "GD_SMTP_HOST": str(getattr(block.smtp_server, "value", block.smtp_server)),
        "GD_SMTP_PORT": str(block.smtp_port or ""),
        "GD_SMTP_SECURITY": security,
        "GD_SMTP_USER": block.username or "",
        "GD_SMTP_PASSWORD": block.password.get_secret_value(),
        "GD_SMTP_TIMEOUT": environment.get("GD_SMTP_TIMEOUT", ""),
        "GD_MAIL_FROM": environment.get("GD_MAIL_FROM") or block.username or "",
    }
    return smtp.from_environment(found)


def sender(server: Server | None, environment: Mapping[str, str] = os.environ) -> str:
    """The From header; without a server a name that says that nobody sent it."""
    return server.sender if server else environment.get("GD_MAIL_FROM") or _ANONYMOUS


def domains(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The domains that mail may go to, of GD_MAIL_DOMAINS; none of them means any."""
    return tuple(name for part in environment.get("GD_MAIL_DOMAINS", "").split(",") if (name := part.strip()))


def outbox_url(reports: Path, environment: Mapping[str, str] = os.environ) -> str | URL:
    """The outbox's database: GD_OUTBOX, else an SQLite file in the folder of the reports."""
    return environment.get("GD_OUTBOX") or URL.create("sqlite", database=str((reports / "outbox.db").absolute()))


def missing_outbox(reports: Path) -> Path | None:
    """Where the outbox would be, if it is a file and nothing was ever owed; None where there is one."""
    url = make_url(outbox_url(reports))
    file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    return file if file is not None and not file.exists() else None


def open_outbox(reports: Path) -> Outbox:
    """The outbox of a folder of reports."""
    return Outbox.open(outbox_url(reports))


def digest(presence: Presence, folders: Sequence[Path]) -> Digest:
    """What a mail tells of a flow run: its data sets read back from their folders.

    Args:
        presence: which flow run it was.
        folders: one a data set.
    """
    items = []
    for folder in folders:
        record, log = archive.read_run(folder)
        items.append(Item(record=record, log=log, folder=folder))
    link = os.environ.get("GD_REPORTS_URL") or None
    return Digest(presence.name, presence.key, presence.moment, items, presence.zone, link, presence.look)


class Posted(NamedTuple):
    """What became of a run's report."""

    queued: int  # recipients that are owed it now
    line: str  # says so; empty where nobody is to get anything
    faults: tuple[str, ...] = ()  # in a user's templates


class Owed(BaseModel):
    """A report that could not be put into the outbox, to be tried again."""

    presence: Presence
    folders: tuple[Path, ...]


def post(presence: Presence, folders: Sequence[Path], reports: Path, now: datetime, *, send: bool = True) -> Posted:
    """Owe the report of a flow run to its recipients; where no server is configured, write it down as a file.

    Args:
        presence: which flow run it was, and who hears of it.
        folders: one a data set.
        reports: the folder of all reports.
        now: the message's date.
        send: or else write it down as a file.

    Raises:
        ValueError: if the mail is set up wrongly.
        OutboxError: if the outbox cannot be used.
    """
    mailing = presence.mailing
    outside = mail.refused([*mailing.to, *mailing.cc], domains())
    to, cc = ([one for one in group if one not in outside] for group in (mailing.to, mailing.cc))
    refusal = f" Not to {', '.join(outside)}: outside of GD_MAIL_DOMAINS." if outside else ""
    if not folders or not (to or cc):
        return Posted(0, refusal.strip())
    server = credentials()
    letter = mail.compose(digest(presence, folders), sender=sender(server), reply_to=mailing.reply_to, now=now)
    headings = mail.headings(letter, to, cc, sender(server))
    if server is None or not send:
        first, *others = _keep(letter, headings, folders[0])
        more = f" and {len(others)} more beside it" if others else ""
        why = "Nothing was sent, as asked" if not send else "No mail server is configured (GD_SMTP_HOST)"
        return Posted(0, f"{why}: the message lies in {first}{more}.{refusal}", letter.faults)
    with open_outbox(reports) as outbox:
        added = outbox.add(letter, headings, sender_owners=_inside(mailing.owners), kind="report", now=now)
    count = f"{added} message{'' if added == 1 else 's'} queued"
    line = count if added else "This report was queued before: nothing is sent twice"
    return Posted(added, f"{line}.{refusal}", letter.faults)


def post_later(presence: Presence, folders: Sequence[Path], reports: Path) -> None:
    """Note that a report is owed, for a time at which the outbox cannot be used or the mail is set up wrongly."""
    (reports / _OWED).mkdir(exist_ok=True)
    file = reports / _OWED / f"{presence.flow_run}.json"
    beside = file.with_suffix(".tmp")
    beside.write_text(Owed(presence=presence, folders=tuple(folders)).model_dump_json(), encoding="utf-8")
    beside.rename(file)


def owed(reports: Path) -> list[Path]:
    """The folders of runs whose report is yet to be put into the outbox: what lies in there is whole without them."""
    found = list[Path]()
    for file in (reports / _OWED).glob("*.json"):
        with suppress(OSError, ValueError):
            found += Owed.model_validate_json(file.read_text(encoding="utf-8")).folders
    return found


def post_owed(reports: Path, now: datetime) -> list[str]:
    """Owe what `post_later` has noted.

    Returns:
        A line for each report; one that cannot be owed yet keeps its note, and the others go on.
    """
    lines = []
    for file in sorted((reports / _OWED).glob("*.json")):
        try:
            owed = Owed.model_validate_json(file.read_text(encoding="utf-8"))
            posted = post(owed.presence, [folder for folder in owed.folders if folder.exists()], reports, now)
            lines.append(" ".join((posted.line, *posted.faults)))
            file.unlink(missing_ok=True)  # another delivery may have been as quick
        except (OSError, OutboxError, ValueError) as error:
            lines.append(f"{file.name} waits: {(str(error).splitlines() or ['no reason given'])[0].rstrip('.')}.")
    return lines


def tell(
    kind: Literal["failed", "crashed", "late"],
    presence: Presence,
    lines: Sequence[str],
    reports: Path,
    now: datetime,
    grace: timedelta = timedelta(0),
) -> int:
    """Owe the owners of a flow run a notice; the same run's notice of the same kind is owed once.

    Args:
        kind: what happened.
        presence: which flow run it was, and whose.
        lines: what to say, the reason first.
        reports: the folder of all reports.
        now: the message's date.
        grace: how long one deployment's notices of this kind are taken for one cause.

    Returns:
        How many owners are owed one now.
    """
    owners, server = _inside(presence.mailing.owners), credentials()
    if not owners or server is None:
        return 0
    key = f"{kind}/{presence.flow_run or presence.key}"
    letter = mail.notice(
        kind, presence.name, key, lines, sender=server.sender, moment=presence.moment, zone=presence.zone, now=now
    )
    with open_outbox(reports) as outbox:
        return outbox.add(
            letter, mail.headings(letter, owners, (), server.sender), sender_owners=(), kind="notice", now=now,
            cause=f"{kind}/{presence.deployment or presence.name}" if grace else None, grace=grace,
        )  # fmt: skip


def _inside(addresses: Sequence[str]) -> list[str]:
    outside = mail.refused(addresses, domains())
    return [one for one in addresses if one not in outside]


def _keep(letter: Letter, headings: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write each recipient's message into a run's folder; returns the files."""
    files = []
    for position, heading in enumerate(headings.values(), 1):
        file = folder / ("mail.eml" if len(headings) == 1 else f"mail-{position}.eml")
        beside = folder / f".{file.name}"
        beside.write_bytes(heading + letter.content)
        files.append(beside.rename(file))
    return files
