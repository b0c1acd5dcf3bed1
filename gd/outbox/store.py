"""Who is owed which message, and what became of it: kept in SQL, in one SQLite file or in PostgreSQL for several machines.

A message is stored once, as it was rendered; each recipient has a row with a heading (To, Message-ID) and a state::

    pending ──claim──▶ sending ──settle──▶ sent, dead, or deferred and unknown, which are claimed again when due
                          └──recover, when its lease ran out──▶ pending (DATA had not begun) or unknown (it had)

What holds, with any number of workers that may be killed at any moment:

- At least once: a row leaves the work only as sent, as dead (refused, or not accepted until its deadline), as cancelled by a
  person, or as unknown after it was handed over twice without an answer. Of the dead and of such unknown the owners are told.
- Once, unless in doubt: a message goes out again only after its row was `unknown`, and then with the same Message-ID.
- A worker that lost its lease changes nothing: `begin_data` and `settle` act on the claim that they were given or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.parser import BytesHeaderParser
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Any, Self, cast

from sqlalchemy import Select, and_, case, func, insert, or_, select, update
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.sql import ColumnElement

from gd.notation import visible
from gd.outbox import database
from gd.outbox.database import deliveries, messages
from gd.outbox.lifecycle import DOUBTS, Claimed, Kind, Recovered, Row, State, Stuck, Undelivered, after

if TYPE_CHECKING:
    from gd.mail import Letter
    from gd.smtp import Result

__all__ = ["LeaseLostError", "Outbox", "OutboxError"]

_ENDED = or_(deliveries.c.state == "dead", and_(deliveries.c.state == "unknown", deliveries.c.doubts >= DOUBTS))


class OutboxError(RuntimeError):
    """The outbox could not do what it was asked to; one sentence, without any password."""


class LeaseLostError(RuntimeError):
    """A claim is no longer its worker's: another one may be sending the message."""


class Outbox:
    """The messages and what became of them, behind one database URL; close it, or use it in a `with`."""

    def __init__(self, engine: Engine, patience: timedelta) -> None:
        self._engine = engine
        self._patience = patience

    @classmethod
    def open(cls, url: str | URL, patience: timedelta = timedelta(days=2)) -> Outbox:
        """Open an outbox and make its tables where they are missing, which several processes may do at once.

        Args:
            url: sqlite:///folder/outbox.db (the folder is made) or postgresql://user@host/database; a path with a question mark
                in it needs SQLAlchemy's URL.create("sqlite", database=path).
            patience: how long a message may be deferred before it is dead.

        Raises:
            OutboxError: if the database cannot be opened, in one sentence without the URL's password.
        """
        engine = None
        try:
            engine = database.connect(url)
            database.create(engine)
        except (ValueError, OSError, ImportError, SQLAlchemyError) as error:
            if engine is not None:
                engine.dispose()
            raise OutboxError(f"{database.place(url)} cannot be opened: {_sentence(error)}") from None
        return cls(engine, patience)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        letter: Letter,
        headings: Mapping[str, bytes],
        *,
        sender_owners: Sequence[str],
        kind: Kind,
        now: datetime,
        cause: str | None = None,
        grace: timedelta = timedelta(0),
    ) -> int:
        """Owe a message to its recipients.

        Args:
            letter: what was rendered; its key is unique, and a message whose key is there already changes nothing.
            headings: by recipient, the header lines (To, Cc, Message-ID) that go before the content.
            sender_owners: who is told when it cannot be delivered.
            kind: a report, or a notice (of whose failure nobody is told: there would be no end of it).
            now: aware.
            cause: what a notice is about; nothing is added when one of the same cause was added less than `grace` ago.
            grace: see `cause`.

        Returns:
            How many recipients were added.
        """
        try:
            with self._writing(alone=cause is not None) as connection:
                recent = and_(messages.c.cause == cause, messages.c.created > now - grace)
                same = messages.c.key == letter.key
                if connection.scalar(select(messages.c.id).where(or_(same, recent) if cause is not None else same).limit(1)):
                    return 0
                return self._insert(connection, letter, headings, sender_owners, kind, now, cause)
        except IntegrityError:  # another process added the key between the look and the leap
            return 0

    def claim(self, worker: str, now: datetime, lease: timedelta) -> Claimed | None:
        """Take the row that is due longest, in one step, so that nobody else takes it.

        Args:
            worker: unique among all that are at work.
            now: aware.
            lease: longer than any sending takes; when it has run out, `recover` takes the row for abandoned.

        Returns:
            What to send, or None when nothing is due.
        """
        waiting = deliveries.alias("waiting")
        found = (
            select(waiting.c.id)
            .where(_waits(waiting.c), waiting.c.due <= now)
            .order_by(waiting.c.due, waiting.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)  # SQLite, which knows no such words, has one writer at a time
            .scalar_subquery()
        )
        taken = {
            "state": "sending", "worker": worker, "lease_until": now + lease, "data_begun": False,
            "attempts": deliveries.c.attempts + 1, "claims": deliveries.c.claims + 1,
        }  # fmt: skip
        with self._writing() as connection:
            row = connection.execute(
                update(deliveries).where(deliveries.c.id == found).values(taken).returning(*deliveries.c)
            ).one_or_none()
            if row is None:
                return None
            message = connection.execute(select(messages).where(messages.c.id == row.message)).one()
        content = message.light if row.without_attachments else message.content
        return Claimed(
            id=row.id, recipient=row.recipient, subject=message.subject, kind=message.kind, content=row.heading + content,
            message_id=row.message_id, worker=worker, token=row.claims, attempts=row.attempts, doubts=row.doubts,
            deadline=row.deadline, lighter=message.light is not None and not row.without_attachments,
        )  # fmt: skip

    def begin_data(self, claimed: Claimed, lease_until: datetime | None = None) -> None:
        """Say, before the first byte of content goes out, that from now on it may have arrived; on the disk when this returns.

        Args:
            claimed: as `claim` gave it.
            lease_until: a later end of the lease, for a content that takes its time.

        Raises:
            LeaseLostError: if the row is no longer the worker's; nothing may be sent then.
        """
        change: dict[str, Any] = {"data_begun": True} | ({"lease_until": lease_until} if lease_until else {})
        with self._writing() as connection:
            changed = connection.execute(update(deliveries).where(_is(claimed)).values(change)).rowcount
        if not changed:
            raise LeaseLostError(f"the lease of delivery {claimed.id} was lost before its content went out")

    def settle(self, claimed: Claimed, result: Result, now: datetime, random: Random) -> State | None:
        """Write down what became of a claimed row.

        Args:
            claimed: as `claim` gave it.
            result: of sending it.
            now: aware.
            random: for the jitter of the next attempt.

        Returns:
            Its new state, or None when the lease was lost: then nothing is changed.
        """
        then = after(claimed, result, now, random)
        change = {
            "state": then.state, "doubts": deliveries.c.doubts + then.doubts, "settled": now if then.due is None else None,
            "last_code": result.code, "last_reason": then.reason, "worker": None, "lease_until": None,
        }  # fmt: skip
        if then.due is not None:
            change["due"] = then.due
        if then.lighter:
            change["without_attachments"] = True
        with self._writing() as connection:
            changed = connection.execute(update(deliveries).where(_is(claimed)).values(change)).rowcount
        return then.state if changed else None

    def recover(self, now: datetime) -> Recovered:
        """Take back the rows whose lease has run out: pending again, or unknown and due at once if their DATA had begun."""
        lost = deliveries.alias("lost")
        ids = select(lost.c.id).where(lost.c.state == "sending", lost.c.lease_until <= now).with_for_update(skip_locked=True)
        begun = deliveries.c.data_begun
        change = {
            "state": case((begun, "unknown"), else_="pending"),
            "doubts": deliveries.c.doubts + case((begun, 1), else_=0),
            "attempts": deliveries.c.attempts - case((begun, 0), else_=1),
            "due": now,  # behind the others that are due: a message on which workers die does not keep them waiting
            "settled": case((and_(begun, deliveries.c.doubts + 1 >= DOUBTS), now)),
            "last_code": None,
            "last_reason": case((begun, "its worker was lost while it was handed over"), else_="its worker was lost"),
            "worker": None,
            "lease_until": None,
        }
        with self._writing() as connection:
            states = connection.scalars(
                update(deliveries).where(deliveries.c.id.in_(ids)).values(change).returning(deliveries.c.state)
            ).all()
        return Recovered(states.count("pending"), states.count("unknown"))

    def tell(self, compose: Callable[[Undelivered], tuple[Letter, Mapping[str, bytes]]], now: datetime) -> int:
        """Owe the owners of each report that has newly failed recipients one notice and remember it, in one step.

        Owners to whom the report itself could not be delivered are left out. Nobody is told of a notice.

        Args:
            compose: the notice and its headings, from what failed; it has no time to wait for anything.
            now: aware.

        Returns:
            How many notices were added.
        """
        added = 0
        with self._writing(alone=True) as connection:
            news = select(deliveries.c.message).where(_ENDED, deliveries.c.told.is_(False))
            failed = connection.execute(
                _rows(deliveries.c.told, deliveries.c.claims, deliveries.c.message, messages.c.owners)
                .where(_ENDED, deliveries.c.message.in_(news), messages.c.kind == "report")
                .order_by(deliveries.c.message, deliveries.c.id)
            ).all()
            for _, group in groupby(failed, key=lambda row: row.message):
                ended = list(group)
                new = [row for row in ended if not row.told]
                lost = {row.recipient.casefold() for row in ended if row.state == "dead"}
                owners = tuple(owner for owner in ended[0].owners if owner.casefold() not in lost)
                claims = " ".join(f"{row.id}.{row.claims}" for row in new)
                if owners:
                    letter, headings = compose(
                        Undelivered(
                            subject=ended[0].subject,
                            key=f"undelivered-{hashlib.sha256(claims.encode()).hexdigest()[:32]}",
                            created=ended[0].created,
                            owners=owners,
                            rows=tuple(_row(row) for row in new),
                        )
                    )
                    self._insert(connection, letter, headings, (), "notice", now, None)
                    added += 1
                connection.execute(update(deliveries).where(deliveries.c.id.in_([row.id for row in new])).values(told=True))
        return added

    def resend(self, ids: Iterable[int], now: datetime) -> tuple[Row, ...]:
        """Owe sent, dead, unknown and cancelled rows again: the same Message-ID, a new deadline, failures forgotten.

        Returns:
            What was changed; rows in other states are on their way anyway.

        Raises:
            OutboxError: if the content of one of them was pruned; then nothing is changed.
        """
        chosen = and_(deliveries.c.id.in_(list(ids)), deliveries.c.state.in_(("sent", "dead", "unknown", "cancelled")))
        change = {
            "state": "pending", "attempts": 0, "doubts": 0, "due": now, "deadline": now + self._patience, "settled": None,
            "told": False, "last_code": None, "last_reason": "",
        }  # fmt: skip
        with self._writing(alone=True) as connection:
            gone = connection.scalars(
                select(deliveries.c.id).join(messages).where(chosen, messages.c.content.is_(None)).order_by(deliveries.c.id)
            ).all()
            if gone:
                raise OutboxError(f"the content of {', '.join(map(str, gone))} was pruned; nothing was put back")
            return self._change(connection, chosen, change)

    def cancel(self, ids: Iterable[int], now: datetime) -> tuple[Row, ...]:
        """Owe pending, deferred and unknown rows no longer.

        Returns:
            What was changed; a row that is being sent right now is not.
        """
        chosen = and_(deliveries.c.id.in_(list(ids)), deliveries.c.state.in_(("pending", "deferred", "unknown")))
        with self._writing(alone=True) as connection:
            return self._change(connection, chosen, {"state": "cancelled", "settled": now})

    def prune(self, before: datetime) -> int:
        """Remove the content of messages all of whose rows left the work before a moment; the rows stay.

        Returns:
            How many messages were emptied.
        """
        needed = select(deliveries.c.message).where(or_(deliveries.c.settled.is_(None), deliveries.c.settled >= before))
        old = and_(messages.c.content.is_not(None), messages.c.id.not_in(needed))
        with self._writing(alone=True) as connection:
            return connection.execute(update(messages).where(old).values(content=None, light=None)).rowcount

    def rows(self, state: State | None = None, limit: int = 100) -> tuple[Row, ...]:
        """Recipients and what became of their messages, newest first."""
        query = _rows().order_by(deliveries.c.id.desc()).limit(limit)
        with self._reading() as connection:
            found = connection.execute(query if state is None else query.where(deliveries.c.state == state)).all()
        return tuple(_row(row) for row in found)

    def counts(self) -> dict[State, int]:
        """How many rows are in each state, zeros among them."""
        query = select(deliveries.c.state, func.count().label("number")).group_by(deliveries.c.state)
        with self._reading() as connection:
            found = {row.state: row.number for row in connection.execute(query)}
        return {cast("State", state): found.get(state, 0) for state in database.STATES}

    def stuck(self, now: datetime, late: timedelta = timedelta(hours=1), lately: timedelta = timedelta(days=1)) -> Stuck:
        """What a person should look at.

        Args:
            now: aware.
            late: for how long a row may be due, or sent after its lease ran out, before it counts as overdue.
            lately: how long dead and unknown rows count after they were given up; their owners were told meanwhile.
        """
        row = deliveries.c
        waits = or_(and_(_waits(row), row.due < now - late), and_(row.state == "sending", row.lease_until < now - late))
        fresh = row.settled > now - lately
        sums = [
            func.count(case((which, 1)))
            for which in (waits, and_(row.state == "dead", fresh), and_(row.state == "unknown", fresh))
        ]
        with self._reading() as connection:
            overdue, dead, unknown = connection.execute(select(*sums)).one()
        return Stuck(overdue, dead, unknown)

    def last_sent(self, kind: Kind) -> datetime | None:
        """When a message of a kind was last accepted by the mail server."""
        query = select(func.max(deliveries.c.settled)).join_from(deliveries, messages)
        with self._reading() as connection:
            moment: datetime | None = connection.scalar(query.where(deliveries.c.state == "sent", messages.c.kind == kind))
        return moment

    def _insert(
        self,
        connection: Connection,
        letter: Letter,
        headings: Mapping[str, bytes],
        owners: Sequence[str],
        kind: Kind,
        now: datetime,
        cause: str | None,
    ) -> int:
        message = {
            "key": letter.key, "kind": kind, "cause": cause, "subject": letter.subject, "content": letter.content,
            "light": letter.light, "owners": list(owners), "created": now,
        }  # fmt: skip
        number = connection.scalar(insert(messages).values(message).returning(messages.c.id))
        deadline = now + self._patience
        owed = [
            {
                "message": number, "recipient": recipient, "heading": heading, "state": "pending", "due": now, "created": now,
                "deadline": deadline, "message_id": str(BytesHeaderParser().parsebytes(heading)["Message-ID"] or "").strip(),
            }
            for recipient, heading in headings.items()
        ]  # fmt: skip
        if owed:
            connection.execute(insert(deliveries), owed)
        return len(owed)

    def _change(self, connection: Connection, chosen: ColumnElement[bool], change: dict[str, Any]) -> tuple[Row, ...]:
        ids = connection.scalars(update(deliveries).where(chosen).values(change).returning(deliveries.c.id)).all()
        found = connection.execute(_rows().where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id)).all()
        return tuple(_row(row) for row in found)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _in_words(), self._engine.execution_options(reading=True).begin() as connection:
            yield connection

    @contextmanager
    def _writing(self, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction; `alone` keeps others that ask for it out, for what is right only if it is not done twice at once."""
        with _in_words(), self._engine.begin() as connection:
            if alone:
                database.lock(connection)
            yield connection


def _waits(row: Any) -> ColumnElement[bool]:
    """Rows that are claimed when they are due; `row` is the table's columns or an alias's."""
    return or_(row.state.in_(("pending", "deferred")), and_(row.state == "unknown", row.doubts < DOUBTS))


def _is(claimed: Claimed) -> ColumnElement[bool]:
    """The row, as long as this claim of it holds."""
    row = deliveries.c
    return and_(row.id == claimed.id, row.state == "sending", row.worker == claimed.worker, row.claims == claimed.token)


def _rows(*more: ColumnElement[Any]) -> Select[Any]:
    row = deliveries.c
    shown = (row.id, row.created, messages.c.kind, messages.c.subject, row.recipient, row.state, row.attempts, row.due)
    return select(*shown, row.last_reason, row.message_id, *more).join_from(deliveries, messages)


def _row(found: Any) -> Row:
    return Row(**{name: getattr(found, name) for name in Row.__slots__})


@contextmanager
def _in_words() -> Iterator[None]:
    """What the database refuses becomes one sentence, without the statement and its contents."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise OutboxError(f"the outbox's database failed: {_sentence(error)}") from None


def _sentence(error: Exception) -> str:
    """The first line of what the driver said."""
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return visible(said.splitlines()[0], 300)
