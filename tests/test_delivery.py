"""One pass from the outbox through a real mail server: what goes out, what waits, and who hears of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from gd.mail import Letter, headings
from gd.outbox import Delivered, Outbox, deliver
from gd.outbox.lifecycle import Recovered, Row
from tests.smtp_server import Fault, SmtpServer

pytestmark = pytest.mark.server

NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SENDER = "gd reports <reports@a.example>"
THREE = ("a@b.example", "b@b.example", "c@b.example")
OWNER = "owner@b.example"
PASSWORD = "open-sesame"


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    """One server for all tests; what it does wrong is scripted by each."""
    folder = tmp_path_factory.mktemp("mail") / "smtp"
    with SmtpServer(folder, security="none", user="reports", password=PASSWORD) as running:
        yield running


@pytest.fixture
def smtp(mail: SmtpServer) -> SmtpServer:
    """The same, without faults and messages."""
    mail.script()
    mail.forget()
    return mail


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty one."""
    with Outbox.open(f"sqlite:///{tmp_path}/outbox.db") as opened:
        yield opened


def owe(outbox: Outbox, key: str = "nightly", to: tuple[str, ...] = THREE, light: bytes | None = None, size: int = 10) -> None:
    """A message whose owner is the first recipient, and one more."""
    letter = Letter(key, f"[ok] {key}", b"From: reports@a.example\r\nSubject: ok\r\n\r\n" + b"report\r\n" * size, light)
    assert outbox.add(letter, headings(letter, to, (), SENDER), sender_owners=(to[0], OWNER), kind="report", now=NOW)


def run(outbox: Outbox, smtp: SmtpServer, now: datetime = NOW, lines: list[str] | None = None, **server: object) -> Delivered:
    """A pass at a moment."""
    notify = lines.append if lines is not None else lambda _: None
    return deliver(outbox, smtp.server(**server), now=lambda: now, random=Random(5), worker="w", notify=notify)


def rows(outbox: Outbox) -> dict[str, Row]:
    """The report's rows by recipient."""
    return {row.recipient: row for row in outbox.rows() if row.kind == "report"}


def arrived(smtp: SmtpServer) -> list[str]:
    """Who got a mail, in order."""
    return [recipient for item in smtp.messages() for recipient in item.recipients]


def test_what_is_due_goes_out(outbox: Outbox, smtp: SmtpServer) -> None:
    """Every message to everybody, as it was rendered, over one connection, with a line for each; then nothing more."""
    owe(outbox)
    owe(outbox, "other", ("d@b.example",))
    lines: list[str] = []
    done = run(outbox, smtp, lines=lines)
    assert Delivered(4, 0, 0, 0, 0, Recovered(0, 0), 0, "nothing is due", "") == done
    assert "4 sent." == str(done)
    received, sent = smtp.messages(), [line.partition(" (")[0] for line in lines]
    assert [*THREE, "d@b.example"] == [item.message["To"] for item in received] == arrived(smtp)
    assert {row.message_id for row in outbox.rows()} == {item.message["Message-ID"] for item in received}
    assert received[0].raw.endswith(b"From: reports@a.example\r\nSubject: ok\r\n\r\n" + b"report\r\n" * 10)
    assert 1 == len({item.port for item in received})
    assert [f"{number} to {to}: sent" for number, to in enumerate(arrived(smtp), 1)] == sent
    assert "nothing sent; nothing is due." == str(run(outbox, smtp, NOW + DAY))


def test_one_refused_among_three(outbox: Outbox, smtp: SmtpServer) -> None:
    """Two get it, and in the same pass the owner reads who did not, why, and what to do; the owner who is the one does not."""
    owe(outbox)
    smtp.script(Fault("rcpt", "550 5.1.1 no such <b>user</b>", THREE[0]))
    done = run(outbox, smtp)
    assert (3, 1, 1, "nothing is due") == (done.sent, done.dead, done.told, done.ended)
    assert [*THREE[1:], OWNER] == arrived(smtp)
    said = smtp.messages()[-1].message.get_content()
    for part in ("not delivered to 1 recipient", "[ok] nightly", THREE[0], "550", "no such <b>user</b>"):
        assert part in said
    assert f"gd outbox resend {rows(outbox)[THREE[0]].id}" in said
    assert THREE[1] not in said
    assert 0 == run(outbox, smtp, NOW + DAY).told
    assert 3 == smtp.count()


def test_one_deferred_among_three_is_alone_retried(outbox: Outbox, smtp: SmtpServer) -> None:
    """After a pause it goes to the third, and to nobody else again."""
    owe(outbox)
    smtp.script(Fault("rcpt", "451 4.2.0 later", THREE[1], times=1))
    assert "2 sent, 1 deferred." == str(run(outbox, smtp))
    assert "deferred" == rows(outbox)[THREE[1]].state
    assert 0 == run(outbox, smtp, NOW + MINUTE / 2).sent
    assert 1 == run(outbox, smtp, NOW + 2 * MINUTE).sent
    assert [THREE[0], THREE[2], THREE[1]] == arrived(smtp)


def test_too_large_goes_out_light_in_the_same_pass(outbox: Outbox, smtp: SmtpServer) -> None:
    """552 for the whole message: without attachments, and at once."""
    owe(outbox, to=THREE[:1], light=b"Subject: ok\r\n\r\nwithout attachments\r\n", size=5000)
    smtp.script(Fault("mail", "552 5.3.4 too large", above=20_000))
    done = run(outbox, smtp)
    assert (1, 1, 0) == (done.sent, done.deferred, done.dead)
    [light] = smtp.messages()
    assert "without attachments" == light.message.get_content().strip()


def test_no_answer_after_the_content(outbox: Outbox, smtp: SmtpServer) -> None:
    """It is sent once more under the same Message-ID, then left, and the owner reads that nobody knows."""
    owe(outbox, to=THREE[:1])
    smtp.script(Fault("dot", "drop", THREE[0], stored=True, times=2))
    assert "1 unknown." == str(run(outbox, smtp))
    assert 0 == run(outbox, smtp, NOW + MINUTE / 2).unknown
    done = run(outbox, smtp, NOW + 2 * MINUTE)
    assert (1, 2) == (done.unknown, done.sent)  # the notice to both owners: of the first nobody knows
    assert 0 == run(outbox, smtp, NOW + DAY).unknown
    first, second, *notices = smtp.messages()
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.raw == second.raw
    assert {THREE[0], OWNER} == {item.message["To"] for item in notices}
    assert "never answered" in notices[0].message.get_content()


def test_an_outage_touches_one_message(outbox: Outbox, smtp: SmtpServer) -> None:
    """The pass ends at the first, says why, and the others go out as soon as the server is back."""
    owe(outbox)
    smtp.stop()
    try:
        done = run(outbox, smtp)
    finally:
        smtp.start()
    assert (0, 1, "the server cannot be used") == (done.sent, done.deferred, done.ended)
    assert "refused the connection" in done.reason
    assert str(done).startswith("1 deferred; the SMTP server localhost:")
    assert ["deferred", "pending", "pending"] == [row.state for row in rows(outbox).values()][::-1]
    assert 2 == run(outbox, smtp).sent
    assert 1 == run(outbox, smtp, NOW + 2 * MINUTE).sent
    assert [*THREE[1:], THREE[0]] == arrived(smtp)


def test_a_wrong_password_waits_for_the_right_one(outbox: Outbox, smtp: SmtpServer) -> None:
    """Nothing is dead because of it, and it is not repeated anywhere."""
    owe(outbox)
    lines: list[str] = []
    done = run(outbox, smtp, lines=lines, password=PASSWORD[::-1])
    assert (0, 1, 0, "the server cannot be used") == (done.sent, done.deferred, done.dead, done.ended)
    assert "535" in done.reason
    said = f"{done!r} {lines} {outbox.rows()}"
    assert PASSWORD not in said
    assert PASSWORD[::-1] not in said
    assert 3 == run(outbox, smtp, NOW + 2 * MINUTE).sent


def test_nothing_is_begun_after_its_time(outbox: Outbox, smtp: SmtpServer) -> None:
    """`until` is looked at before each message."""
    owe(outbox)
    ticks = iter(NOW + second * timedelta(seconds=1) for second in range(1000))
    done = deliver(
        outbox, smtp.server(), now=lambda: next(ticks), random=Random(5), worker="w", until=NOW + timedelta(seconds=3)
    )
    assert (1, "the time is up") == (done.sent, done.ended)
    assert [THREE[0]] == arrived(smtp)


def test_a_lease_that_is_lost_before_the_content(outbox: Outbox, smtp: SmtpServer) -> None:
    """Nothing of it goes out from here: the worker that has it now sends it."""
    owe(outbox, to=THREE[:1])
    calls = 0

    def now() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 3:  # the server waits for the content
            assert Recovered(1, 0) == outbox.recover(NOW + DAY)
            assert outbox.claim("other", NOW + DAY, MINUTE)
        return NOW

    done = deliver(outbox, smtp.server(), now=now, random=Random(5), worker="w")
    assert (1, 0, 0) == (done.lost, done.sent, done.deferred)
    assert [] == arrived(smtp)
    assert "sending" == rows(outbox)[THREE[0]].state
    done = run(outbox, smtp, NOW + 2 * DAY)
    assert (Recovered(1, 0), 1) == (done.recovered, done.sent)
