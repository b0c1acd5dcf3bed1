"""The outbox's tables and the way to them: one SQLite file, or PostgreSQL for several machines."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.types import TypeDecorator

__all__ = ["SCHEMA", "STATES", "Moment", "connect", "create", "deliveries", "lock", "messages", "place"]

SCHEMA = 1
STATES = ("pending", "sending", "sent", "deferred", "dead", "unknown", "cancelled")
_PATIENCE = timedelta(seconds=30)  # for a writer that is at work
_LOCK = 0x67645F6F7574626F  # "gd_outbo", the one advisory lock of PostgreSQL that is taken here


class Moment(TypeDecorator[datetime]):
    """An aware moment, kept in UTC and read back in UTC, in a database that knows zones and in one that does not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; SQLite keeps the digits only."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value}: a moment without its zone. Give an aware datetime.")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From UTC; PostgreSQL answers in the session's zone."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_tables = MetaData()
_version = Table("gd_outbox", _tables, Column("version", Integer, primary_key=True, autoincrement=False))
messages = Table(
    "gd_messages",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("cause", Text),
    Column("subject", Text, nullable=False),
    Column("content", LargeBinary),  # of all recipients; null when it was pruned
    Column("light", LargeBinary),  # the same without attachments
    Column("owners", JSON, nullable=False),
    Column("created", Moment, nullable=False),
    Index("gd_messages_cause", "cause", "created"),
)
deliveries = Table(
    "gd_deliveries",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("message", ForeignKey(messages.c.id), nullable=False),
    Column("recipient", Text, nullable=False),
    Column("heading", LargeBinary, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("doubts", Integer, nullable=False, default=0),  # how often it was handed over without an answer
    Column("claims", Integer, nullable=False, default=0),  # counts up for ever: a claim's token
    Column("due", Moment, nullable=False),
    Column("deadline", Moment, nullable=False),
    Column("worker", Text),
    Column("lease_until", Moment),
    Column("data_begun", Boolean, nullable=False, default=False),
    Column("without_attachments", Boolean, nullable=False, default=False),
    Column("last_code", Integer),
    Column("last_reason", Text, nullable=False, default=""),
    Column("told", Boolean, nullable=False, default=False),
    Column("created", Moment, nullable=False),
    Column("settled", Moment),  # when it left the work: sent, dead, cancelled, or unknown for good
    UniqueConstraint("message", "recipient"),
    CheckConstraint(f"state IN {STATES}", name="gd_deliveries_state"),
    Index("gd_deliveries_due", "state", "due"),
)


def connect(url: str | URL) -> Engine:
    """An engine whose transactions are what the outbox needs; nothing is opened yet, but SQLite's folder is made.

    On SQLite a transaction takes the write lock at its start, unless it has the execution option `reading`, and a commit is on
    the disk when it returns: a state that is lost is a second mail.

    Raises:
        ValueError: if the URL is of no database that the outbox can live in; it is not repeated, since it may hold a password.
        ImportError: if PostgreSQL's driver is missing.
        OSError: if the folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"no database URL. {_REMEDY}") from None
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        try:
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                connect_args={} if "connect_timeout" in parsed.query else {"connect_timeout": 10},
                isolation_level="READ COMMITTED",  # what SKIP LOCKED is made for, whatever the server's default
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ImportError:
            raise ImportError("PostgreSQL's driver is missing: pip install 'gd[postgres]'") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        raise ValueError(f"an outbox lives in a SQLite file or in PostgreSQL. {_REMEDY}")
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    made = create_engine(
        parsed.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": _PATIENCE.total_seconds(), "isolation_level": None},  # None: BEGIN is ours to say
        hide_parameters=True,
    )
    event.listen(made, "connect", _prepare)
    event.listen(made, "begin", _begin)
    return made


_REMEDY = "Write sqlite:///folder/outbox.db or postgresql://user@host/database."


def create(engine: Engine) -> None:
    """Make the tables where they are missing; any number of processes may do so at once.

    Raises:
        ValueError: if the tables were made by a later version of gd.
        SQLAlchemyError: if the database cannot be opened or refuses.
    """
    until = time.monotonic() + _PATIENCE.total_seconds()
    while True:
        try:
            return _create(engine)
        except OperationalError as error:  # SQLite waits for no other process where the write-ahead log is begun or ended
            if "database is locked" not in str(error.orig) or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _create(engine: Engine) -> None:
    with engine.execution_options(reading=True).begin() as connection:
        missing = not inspect(connection).has_table(_version.name)
    with engine.execution_options(reading=not missing).begin() as connection:
        if missing:
            lock(connection)
            _tables.create_all(connection)
        version = connection.scalar(select(func.max(_version.c.version)))
        if version is None:
            connection.execute(insert(_version).values(version=SCHEMA))
        elif version != SCHEMA:
            raise ValueError(f"its tables are of version {version}, and this gd knows version {SCHEMA}. Update gd.")


def lock(connection: Connection) -> None:
    """Until this transaction ends no other that asks for the lock goes on; on SQLite every writing one has it anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def place(url: str | URL) -> str:
    """A database's address fit to be shown: no user, no password, no options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "the outbox's address"
    name = parsed.get_backend_name()
    return f"{name}:///{parsed.database}" if name == "sqlite" else f"{name}://{parsed.host or ''}/{parsed.database or ''}"


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
