"""The way from the outbox to the mail server: whatever is due goes out, and owners hear of what never will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

from gd.mail import Letter, headings, notice
from gd.outbox.lifecycle import Claimed, Recovered, State, Undelivered
from gd.outbox.store import LeaseLostError, Outbox
from gd.smtp import Connection, Result, Server

__all__ = ["Delivered", "Ended", "deliver"]

Ended = Literal["nothing is due", "the time is up", "the server cannot be used"]

_STEPS = 20  # socket operations of one sending but for its content, with room: each may take the server's whole time-out
_PIECE = 1 << 15  # bytes of content that the slowest of lines takes within a time-out


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one pass came to."""

    sent: int
    deferred: int
    dead: int
    unknown: int
    lost: int  # leases that ran out while their message was sent
    recovered: Recovered  # rows of workers that were lost before
    told: int  # notices to owners that were added
    ended: Ended
    reason: str  # the mail server's, where it cannot be used

    def __str__(self) -> str:
        counted = ((self.sent, "sent"), (self.deferred, "deferred"), (self.dead, "given up"), (self.unknown, "unknown"))
        done = ", ".join(f"{number} {word}" for number, word in counted if number) or "nothing sent"
        quiet = self.ended == "nothing is due" and done != "nothing sent"
        return f"{done}." if quiet else f"{done}; {self.reason or self.ended}."


def deliver(
    outbox: Outbox,
    server: Server,
    *,
    now: Callable[[], datetime],
    random: Random,
    worker: str,
    until: datetime | None = None,
    notify: Callable[[str], None] = lambda _: None,
    lease: timedelta | None = None,
) -> Delivered:
    """Send what is due, through one connection, until nothing is.

    Rows that lost workers left behind are taken back first. A server that cannot be used ends the pass, since no other message
    would fare better; the message that met it is tried again later. At last the owners hear of reports that were given up.

    Args:
        outbox: open.
        server: where mail leaves.
        now: the clock; machines that share an outbox agree on it to a few minutes.
        random: for the pauses between attempts.
        worker: unique among all that are at work.
        until: no message is begun after it.
        notify: told one line for each message: its row, recipient and what became of it. Fit for logs.
        lease: how long a message may take up to its content; twenty of the server's time-outs when not given.

    Raises:
        OutboxError: if the database fails; a message in the middle of it is taken back by a later pass.
    """
    lease = lease or timedelta(seconds=_STEPS * server.timeout)
    recovered = outbox.recover(now())
    counts: Counter[State | None] = Counter()
    told, reason = 0, ""
    ended: Ended | None = None
    with Connection(server) as connection:
        while ended is None:
            if until is not None and now() >= until:
                ended = "the time is up"
            elif claimed := outbox.claim(worker, now(), lease):
                result = _send(outbox, connection, claimed, now, lease + timedelta(seconds=server.timeout))
                state = outbox.settle(claimed, result, now(), random)
                counts[state] += 1
                notify(f"{claimed.id} to {claimed.recipient}: {state or 'left to another worker'} ({result.reason})")
                if not result.connected:
                    ended, reason = "the server cannot be used", result.reason
            else:
                added = _tell(outbox, server, now)
                told += added
                ended = None if added else "nothing is due"
    told += _tell(outbox, server, now)
    return Delivered(
        sent=counts["sent"], deferred=counts["deferred"], dead=counts["dead"], unknown=counts["unknown"], lost=counts[None],
        recovered=recovered, told=told, ended=ended, reason=reason,
    )  # fmt: skip


def _send(outbox: Outbox, connection: Connection, claimed: Claimed, now: Callable[[], datetime], piece: timedelta) -> Result:
    """One message over the wire; its lease grows with its content, a piece at a time."""
    pieces = 1 + len(claimed.content) // _PIECE
    try:
        return connection.send(claimed.recipient, claimed.content, lambda: outbox.begin_data(claimed, now() + pieces * piece))
    except LeaseLostError as error:
        return Result("deferred", None, str(error), True)  # which changes nothing: settling needs the lease too


def _tell(outbox: Outbox, server: Server, now: Callable[[], datetime]) -> int:
    """A notice to the owners of each report that was given up."""

    def compose(failed: Undelivered) -> tuple[Letter, Mapping[str, bytes]]:
        letter = notice(
            "undelivered", failed.subject, failed.key, _lines(failed), sender=server.sender, moment=failed.created, now=now()
        )
        return letter, headings(letter, failed.owners, (), server.sender)

    return outbox.tell(compose, now())


def _lines(failed: Undelivered) -> list[str]:
    dead = [row for row in failed.rows if row.state == "dead"]
    doubtful = [row for row in failed.rows if row.state == "unknown"]
    heads = []
    if dead:
        heads.append(f"not delivered to {_recipients(len(dead))}")
    if doubtful:
        heads.append(f"{'perhaps ' if dead else 'perhaps not delivered to '}{_recipients(len(doubtful))}")
    ids = " ".join(str(row.id) for row in failed.rows)
    return [
        ", ".join(heads),
        f"The message was: {failed.subject}",
        *(f"{row.recipient}: {row.last_reason}" for row in dead),
        *(f"{row.recipient}: handed over twice, and the mail server never answered; {row.last_reason}" for row in doubtful),
        f"To send it again: gd outbox resend {ids}",
    ]


def _recipients(number: int) -> str:
    return "1 recipient" if number == 1 else f"{number} recipients"
