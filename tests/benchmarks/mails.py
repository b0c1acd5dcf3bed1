"""What a mail costs: composed for many data sets, and sent through the outbox beside the ways that people write first."""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

from prefect_email import EmailServerCredentials
from prefect_email.message import email_send_message

from gd import archive
from gd.data import Source, bundled
from gd.mail import Digest, Item, Letter, compose, headings
from gd.outbox import Outbox, deliver
from gd.settings import Training
from tests.benchmarks.page import machine, row, table
from tests.conftest import run_tasks
from tests.smtp_server import SmtpServer

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SENDER = "gd reports <reports@a.example>"
COUNTS = (1, 10, 100)
MESSAGES = 60


class Composed(NamedTuple):
    """One mail over so many data sets; sizes in bytes as sent."""

    data_sets: int
    seconds: float
    html: int
    message: int


class Sent(NamedTuple):
    """One way of sending, messages a second."""

    way: str
    rate: float
    sockets: int


def report() -> Iterator[str]:
    """The section of the results."""
    yield f"On {machine('prefect-email')}."
    yield ""
    yield from table("data sets", "composed in s", "HTML part, bytes", "whole message, bytes")
    for composed in measure_composing():
        yield row(composed.data_sets, f"{composed.seconds:.2f}", f"{composed.html:,}", f"{composed.message:,}")
    yield ""
    yield f"The mail of one data set to {MESSAGES} recipients, on one server with STARTTLS and a login, by turns. The"
    yield "outbox keeps each message's state on the disk before and after; the others forget."
    yield ""
    yield from table("way", "messages a second", "connections")
    for sent in measure_sending():
        yield row(sent.way, f"{sent.rate:.0f}", sent.sockets)


def digest(run: Path, count: int) -> Digest:
    """A nightly run over `count` copies of one data set."""
    record, log = archive.read_run(run)
    items = []
    for number in range(count):
        named = record.dataset.model_copy(update={"name": f"penguins {number}"})
        items.append(Item(record.model_copy(update={"dataset": named}), log, run))
    return Digest("nightly", f"nightly/{count}", NOW, items)


def penguins(folder: Path) -> Path:
    """A finished run."""
    return run_tasks(Source(path=str(bundled("penguins")), target="body_mass_g"), Training(), folder, "penguins")


def measure_composing(counts: Sequence[int] = COUNTS) -> Iterator[Composed]:
    """A mail for each number of data sets, the second of two, so that no import is measured."""
    with tempfile.TemporaryDirectory() as name:
        run = penguins(Path(name))
        for count in counts:
            made, seconds = digest(run, count), 0.0
            for _ in range(2):
                began = time.perf_counter()
                composed = compose(made, sender=SENDER, reply_to=None, now=NOW)
                seconds = time.perf_counter() - began
            message = message_from_bytes(composed.content, policy=policy.default)
            html = next(part for part in message.walk() if part.get_content_type() == "text/html")
            yield Composed(count, seconds, len(html.get_content().encode()), len(composed.content))


def measure_sending(messages: int = MESSAGES, rounds: int = 3) -> list[Sent]:
    """The same message to one server with TLS and a login, by turns: medians of rounds, and connections that were made."""
    with tempfile.TemporaryDirectory() as name, SmtpServer(Path(name) / "smtp", user="u", password="p") as smtp:
        os.environ["SSL_CERT_FILE"] = smtp.ca_file
        made = compose(digest(penguins(Path(name)), 1), sender=SENDER, reply_to=None, now=NOW)
        to = [f"r{number}@b.example" for number in range(messages)]
        ways: dict[str, Callable[[int], Any]] = {
            "gd, through the outbox": lambda turn: _through_outbox(Path(name), smtp, made, to, turn),
            "smtplib, one connection, nothing kept": lambda _: _bare(smtp, made, to),
            "prefect-email, a connection for each": lambda _: _prefect(smtp, made, to),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        sockets: dict[str, int] = {}
        for turn in range(rounds):
            for way, send in ways.items():
                smtp.forget()
                began = time.perf_counter()
                send(turn)
                rates[way].append(messages / (time.perf_counter() - began))
                received = smtp.messages()
                assert messages == len(received)
                sockets[way] = len({item.port for item in received})
        return [Sent(way, median(rates[way]), sockets[way]) for way in ways]


def _through_outbox(folder: Path, smtp: SmtpServer, made: Letter, to: list[str], turn: int) -> None:
    with Outbox.open(f"sqlite:///{folder}/outbox.db") as outbox:
        owed = replace(made, key=f"{made.key}/{turn}")
        outbox.add(owed, headings(owed, to, [], SENDER), sender_owners=[], kind="report", now=NOW)
        deliver(outbox, smtp.server(), now=lambda: NOW + timedelta(seconds=1), random=Random(0), worker="bench")


def _bare(smtp: SmtpServer, made: Letter, to: list[str]) -> None:
    owed = headings(made, to, [], SENDER)
    with smtplib.SMTP(smtp.host, smtp.port, timeout=30) as connection:
        connection.starttls(context=ssl.create_default_context())
        connection.login("u", "p")
        for recipient, heading in owed.items():
            connection.sendmail("reports@a.example", [recipient], heading + made.content)


def _prefect(smtp: SmtpServer, made: Letter, to: list[str]) -> None:
    credentials: Any = EmailServerCredentials(
        username="u", password="p", smtp_server=smtp.host, smtp_type="STARTTLS", smtp_port=smtp.port
    )
    text = made.content.decode("ascii")  # as many bytes, in one part

    async def send() -> None:
        for recipient in to:
            await email_send_message.fn(
                subject=made.subject,
                msg=text,
                email_server_credentials=credentials,
                email_from="reports@a.example",
                email_to=recipient,
            )

    asyncio.run(send())
