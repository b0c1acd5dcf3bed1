"""The life of a delivery: what it is between two steps, and what it becomes by the result of sending it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gd.smtp import Result

__all__ = ["DOUBTS", "Claimed", "Kind", "Next", "Recovered", "Row", "State", "Stuck", "Undelivered", "after"]

Kind = Literal["report", "notice"]
State = Literal["pending", "sending", "sent", "deferred", "dead", "unknown", "cancelled"]

DOUBTS = 2  # a message that was handed over so often without an answer is not sent again

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=4)
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that one worker sends, and everything that it needs for it."""

    id: int
    recipient: str
    subject: str
    kind: Kind
    content: bytes = field(repr=False)  # the whole message: heading and content as they were rendered
    message_id: str
    worker: str
    token: int  # counts the claims of this row: a later claim has another
    attempts: int  # this one among them
    doubts: int
    deadline: datetime
    lighter: bool  # whether there is a version without attachments that was not tried yet


@dataclass(frozen=True, slots=True)
class Recovered:
    """Rows whose worker was lost."""

    pending: int  # nothing had gone out
    unknown: int  # it may have gone out


@dataclass(frozen=True, slots=True)
class Row:
    """One recipient of one message, for people."""

    id: int
    created: datetime
    kind: Kind
    subject: str
    recipient: str
    state: State
    attempts: int
    due: datetime
    last_reason: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What the owners of a message are told: who did not get it, or may not have."""

    subject: str
    key: str  # of the notice; the same whenever the same failure is told
    created: datetime
    owners: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """What `gd doctor` asks for."""

    overdue: int  # should have gone out a while ago
    dead: int  # lately
    unknown: int  # for good, lately


@dataclass(frozen=True, slots=True)
class Next:
    """What a claimed row becomes."""

    state: State
    reason: str
    due: datetime | None = None  # None: it left the work
    doubts: int = 0  # more of them
    lighter: bool = False  # without attachments from now on


def after(claimed: Claimed, result: Result, now: datetime, random: Random) -> Next:
    """What a row becomes by the result of sending it.

    A pause doubles from a minute to four hours, a fifth more or less by chance, and ends at the deadline: the last try.

    Args:
        claimed: what was sent.
        result: what came of it.
        now: aware.
        random: for the pause.
    """
    pause = min(_FIRST_PAUSE * 2 ** min(claimed.attempts - 1, 20), _LONGEST_PAUSE) * random.uniform(1 - _JITTER, 1 + _JITTER)
    if result.outcome == "sent":
        return Next("sent", result.reason)
    if result.outcome == "unknown":
        return Next("unknown", result.reason, None if claimed.doubts + 1 >= DOUBTS else now + pause, doubts=1)
    if result.outcome == "too-large" and claimed.lighter:
        return Next("deferred", result.reason, now, lighter=True)
    if result.outcome == "deferred" and now < claimed.deadline:
        return Next("deferred", result.reason, min(now + pause, claimed.deadline))
    return Next("dead", f"given up at its deadline: {result.reason}" if result.outcome == "deferred" else result.reason)
