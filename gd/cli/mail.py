"""`gd outbox` and `gd mail-test`: what is owed, to whom, what became of it, and whether mail goes out at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from gd.cli.command import UnreachableError, UsageError, app, run_quietly

if TYPE_CHECKING:
    from gd.mail import Digest
    from gd.outbox import Outbox, Row

__all__ = ["cancel", "list_rows", "mail_test", "outbox", "resend"]

outbox = App(name="outbox", help="What is owed, to whom, and what became of it.")
app.command(outbox)

Id = Annotated[int, Parameter(name="ID", validator=Number(gte=1, lt=2**31))]


@outbox.default
@outbox.command(name="list")
def list_rows(
    *,
    state: Literal["pending", "sending", "sent", "deferred", "dead", "unknown", "cancelled"] | None = None,
    most: int = 50,
    reports: Path = Path("reports"),
) -> int:
    """List messages, the newest first: number, state, recipient, subject, and the mail server's last answer.

    Args:
        state: Only those in this state.
        most: So many at most.
        reports: Folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
    """
    with _opened(reports) as opened:
        rows = opened.rows(state, most)
        counts = {name: number for name, number in opened.counts().items() if number}
    for row in rows:
        print(_line(row))
    print(", ".join(f"{number:,} {name}" for name, number in counts.items()) or "Nothing was ever owed.")
    return 0


@outbox.command
def resend(*ids: Id, reports: Path = Path("reports")) -> int:
    """Owe messages again that were given up, are unknown, were cancelled, or were sent; as they were rendered.

    Args:
        ids: Numbers as `gd outbox list` shows them.
        reports: Folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
    """
    _check_named(ids)
    with _opened(reports) as opened:
        known = {row.id: row.state for row in opened.rows(limit=2**31)}
        changed = opened.resend(ids, datetime.now(UTC))
    return _told("owed again; the next delivery sends it", ids, changed, known)


@outbox.command
def cancel(*ids: Id, reports: Path = Path("reports")) -> int:
    """Owe messages no longer that have not gone out.

    Args:
        ids: Numbers as `gd outbox list` shows them.
        reports: Folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
    """
    _check_named(ids)
    with _opened(reports) as opened:
        known = {row.id: row.state for row in opened.rows(limit=2**31)}
        changed = opened.cancel(ids, datetime.now(UTC))
    return _told("cancelled", ids, changed, known)


@app.command(name="mail-test")
def mail_test(*, to: str) -> int:
    """Send one message with a sample report at once, and say what the mail server answered.

    Args:
        to: The address that gets it.
    """
    run_quietly()
    from flows.mailing import credentials, domains  # noqa: PLC0415
    from gd import mail, smtp  # noqa: PLC0415

    try:
        recipient, server = smtp.address(to), credentials()
    except ValueError as error:
        raise UsageError(f"{str(error).rstrip('.')}.") from None
    if mail.refused([recipient], domains()):
        raise UsageError(f"--to: {recipient} is outside of GD_MAIL_DOMAINS ({', '.join(domains())}).")
    if server is None:
        raise UsageError("no mail server is configured: set GD_SMTP_HOST and GD_MAIL_FROM, or GD_SMTP_BLOCK.")
    now = datetime.now(UTC)
    with TemporaryDirectory(prefix="gd-") as folder:
        letter = mail.compose(_sample(Path(folder), now), sender=server.sender, reply_to=None, now=now)
    heading = mail.headings(letter, [recipient], [], server.sender)[recipient]
    with smtp.Connection(server) as connection:
        result = connection.send(recipient, heading + letter.content, lambda: None)
    if result.outcome != "sent":
        raise UnreachableError(f"not sent to {recipient}: {result.reason}")
    print(f"Sent to {recipient} through {server.host}: {result.reason}")
    return 0


def _sample(folder: Path, now: datetime) -> Digest:
    """The bundled penguins, trained here and now."""
    from flows.training_report import train_here  # noqa: PLC0415
    from gd import archive, mail  # noqa: PLC0415
    from gd.data import Source, bundled  # noqa: PLC0415
    from gd.settings import Training  # noqa: PLC0415

    run = train_here("penguins", Source(path=str(bundled("penguins")), target="body_mass_g"), Training(), folder)
    record, log = archive.read_run(run)
    return mail.Digest("mail-test", f"mail-test/{now.isoformat()}", now, [mail.Item(record, log, run)])


@contextmanager
def _opened(reports: Path) -> Iterator[Outbox]:
    from flows.mailing import missing_outbox, outbox_url  # noqa: PLC0415
    from gd.outbox import Outbox, OutboxError  # noqa: PLC0415

    if (place := missing_outbox(reports)) is not None:
        raise UnreachableError(f"{place}: no outbox here; nothing was ever owed. Name another folder with --reports")
    try:
        with Outbox.open(outbox_url(reports)) as opened:
            yield opened
    except OutboxError as error:
        raise UnreachableError(str(error)) from None


def _line(row: Row) -> str:
    from gd.notation import visible  # noqa: PLC0415

    said = f"  ({visible(row.last_reason, 120)})" if row.last_reason and row.state != "sent" else ""
    said += f"  next try {row.due:%H:%M}Z" if row.state == "deferred" else ""
    return f"{row.id:>6}  {row.created:%Y-%m-%d %H:%M}Z  {row.state:<9} {row.recipient}  {visible(row.subject, 100)}{said}"


def _check_named(ids: Sequence[int]) -> None:
    if not ids:
        raise UsageError("name at least one number, as `gd outbox list` shows them.")


def _told(what: str, ids: Sequence[int], changed: Sequence[Row], known: Mapping[int, str]) -> int:
    """A line for each number: changed, or why not; 1 when one was not."""
    for row in changed:
        print(f"{row.id}: {what} ({row.recipient})")
    missing = sorted(set(ids) - {row.id for row in changed})
    for number in missing:
        state = known.get(number)
        print(f"{number}: is {state} already." if state else f"{number}: no such message.", file=sys.stderr)
    return 1 if missing else 0
