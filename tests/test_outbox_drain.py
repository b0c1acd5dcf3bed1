"""Eight processes empty the outbox through a real mail server while they are killed at random."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from gd.mail import Letter, headings
from gd.outbox import Outbox
from gd.outbox.database import deliveries
from gd.outbox.delivery import deliver
from gd.smtp import Server
from tests.smtp_server import SmtpServer

if TYPE_CHECKING:
    from tests.postgres import Postgres  # pytest itself imports it, as a plugin

pytest_plugins = ["tests.postgres"]
pytestmark = pytest.mark.server

WORKERS = 8
LETTERS, RECIPIENTS = 160, 2
ORIGIN = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
SPEED = 60  # a minute of the outbox's clock is a second here
LEASE = timedelta(minutes=1)
SENDER = "gd reports <reports@a.example>"


def clock(began: float) -> Callable[[], datetime]:
    """A clock that every process shares, and that goes quickly."""
    return lambda: ORIGIN + timedelta(seconds=SPEED * (time.time() - began))


def work(url: str, server: Server, name: str, began: float) -> None:
    """A worker: pass after pass, until it is killed."""
    now, random = clock(began), Random(name)
    with Outbox.open(url) as outbox:
        while True:
            deliver(outbox, server, now=now, random=random, worker=name, lease=LEASE)
            time.sleep(0.05)  # between two passes; nothing waits for it


@dataclass
class Crew:
    """Eight workers: whoever is killed is replaced."""

    url: str
    server: Server
    began: float
    hired: int = 0

    def __post_init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__])
        self.members = [self._hire() for _ in range(WORKERS)]

    def _hire(self) -> ForkServerProcess:
        self.hired += 1
        member = self.context.Process(target=work, args=(self.url, self.server, f"w{self.hired}", self.began), daemon=True)
        member.start()
        return member

    def kill(self, index: int, replace: bool = True) -> None:
        """SIGKILL, whatever it is doing."""
        member = self.members[index]
        assert member.is_alive(), f"a worker ended by itself with {member.exitcode}"
        member.kill()
        member.join(10)
        assert -9 == member.exitcode
        member.close()
        if replace:
            self.members[index] = self._hire()

    def end(self) -> None:
        """All of them."""
        for index in range(WORKERS):
            self.kill(index, replace=False)


def doubts(outbox: Outbox) -> dict[str, tuple[str, int, int]]:
    """State, doubts and number of every row, by Message-ID."""
    row = deliveries.c
    with outbox._reading() as connection:
        found = connection.execute(select(row.message_id, row.state, row.doubts, row.id)).all()
    return {item.message_id: (item.state, item.doubts, item.id) for item in found}


def at_rest(outbox: Outbox) -> bool:
    """Whether nothing is left that a worker would send."""
    return all(state == "sent" or (state, doubt) == ("unknown", 2) for state, doubt, _ in doubts(outbox).values())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/outbox.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.mark.timeout(290)
def test_nothing_is_lost_when_workers_are_killed(
    url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each recipient gets each message; twice only after doubt, then under the same Message-ID; and no worker ends by itself.

    The eight open an empty database at once. What is unknown for good in the end is sent again, as an owner would.
    """
    random, began = Random(20261123), time.time()
    now = clock(began)
    with SmtpServer(tmp_path / "smtp", security="none") as smtp:
        crew = Crew(url, smtp.server(), began)
        try:
            with Outbox.open(url) as outbox:
                for number in range(LETTERS):
                    letter = Letter(f"k{number}", f"[ok] {number}", b"Subject: ok\r\n\r\n" + b"%d\r\n" % number * 200, None)
                    to = [f"r{index}@b.example" for index in range(RECIPIENTS)]
                    owed = headings(letter, to, (), SENDER)
                    assert RECIPIENTS == outbox.add(letter, owed, sender_owners=["o@b.example"], kind="report", now=now())
                until = time.monotonic() + 240
                while not at_rest(outbox):
                    assert time.monotonic() < until, outbox.counts()
                    time.sleep(random.expovariate(12))
                    crew.kill(random.randrange(WORKERS))
                killed = crew.hired - WORKERS
                before = doubts(outbox)
                resent = outbox.resend([number for state, _, number in before.values() if state == "unknown"], now())
                while not at_rest(outbox):
                    assert time.monotonic() < until, outbox.counts()
                    time.sleep(0.05)
                after = doubts(outbox)
        finally:
            crew.end()
        received = smtp.messages()
    times = Counter(item.message["Message-ID"] for item in received)
    copies = {item.message["Message-ID"]: item.raw for item in received}
    twice = {name for name, number in times.items() if number > 1}
    doubtful = {name for name, (_, doubt, _) in before.items() if doubt} | {
        name for name, (_, doubt, _) in after.items() if doubt
    }
    notices, lost = len(after) - LETTERS * RECIPIENTS, len(set(after) - set(times))
    record_property(
        "printed",
        f"{url.partition(':')[0]}: {len(after)} messages ({notices} of them notices), {killed} workers killed: "
        f"{len(received)} mails arrived, {len(twice)} messages more than once, {len(doubtful)} were unknown, "
        f"{len(resent)} of them for good and resent, {lost} lost; {time.time() - began:.1f} s",
    )
    assert {"sent"} == {state for state, _, _ in after.values()}
    assert set(after) == set(times)  # none is lost, and none arrived that was not owed
    assert twice <= doubtful
    allowed = {name: 1 + before[name][1] + (after[name][1] if before[name][0] == "unknown" else 0) for name in before}
    assert {} == {name: number for name, number in times.items() if number > allowed.get(name, 1)}
    assert all(item.raw == copies[item.message["Message-ID"]] for item in received)
    assert all(item.recipients == [item.message["To"]] for item in received)
    assert killed >= 20
    assert doubtful  # some were killed at the one moment that matters
