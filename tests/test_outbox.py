"""The outbox on SQLite and on PostgreSQL: each state, each way between two, and who may go it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import URL, create_engine, text

from gd.mail import Letter
from gd.outbox import LeaseLostError, Outbox, OutboxError
from gd.outbox.lifecycle import Claimed, Kind, Recovered, Row, State, Stuck, Undelivered
from gd.smtp import Outcome, Result

if TYPE_CHECKING:
    from tests.postgres import Postgres  # pytest itself imports it, as a plugin

pytest_plugins = ["tests.postgres"]

T = TypeVar("T")
NOW = datetime(2026, 11, 23, 6, 30, 0, 123456, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LEASE = 10 * MINUTE
THREE = ("a@b.example", "b@b.example", "c@b.example")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/reports/outbox.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def outbox(url: str) -> Iterator[Outbox]:
    """An outbox in it."""
    with Outbox.open(url) as opened:
        yield opened


def letter(key: str = "nightly", light: bytes | None = None) -> Letter:
    """A message of little content."""
    return Letter(key, f"[ok] {key}", b"Subject: ok\r\n\r\nthe report\r\n", light)


def add(
    outbox: Outbox,
    key: str = "nightly",
    to: tuple[str, ...] = ("a@b.example",),
    now: datetime = NOW,
    kind: Kind = "report",
    light: bytes | None = None,
    owners: tuple[str, ...] = (),
    cause: str | None = None,
) -> int:
    """Owe a message; the grace of a cause is an hour."""
    headings = {one: f"To: {one}\r\nMessage-ID: <{key}-{one}>\r\n".encode() for one in to}
    return outbox.add(letter(key, light), headings, sender_owners=owners, kind=kind, now=now, cause=cause, grace=HOUR)


def take(outbox: Outbox, now: datetime = NOW, worker: str = "w") -> Claimed:
    """Claim what must be there."""
    claimed = outbox.claim(worker, now, LEASE)
    assert claimed is not None
    return claimed


def settle(outbox: Outbox, claimed: Claimed, outcome: Outcome, now: datetime = NOW) -> State | None:
    """Settle with the code that a server would give."""
    code = {"sent": 250, "deferred": 451, "refused": 550, "too-large": 552, "unknown": None}[outcome]
    return outbox.settle(claimed, Result(outcome, code, f"the server said {code}", True), now, Random(7))


def only(outbox: Outbox) -> Row:
    """The one row."""
    [row] = outbox.rows()
    return row


def at_once(number: int, act: Callable[[int], T]) -> list[T]:
    """Several threads doing the same at the same moment, or as near to it as a barrier brings them."""
    barrier = threading.Barrier(number, timeout=30)

    def go(index: int) -> T:
        barrier.wait()
        return act(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(go, range(number), timeout=60))


def test_a_key_is_owed_once(outbox: Outbox) -> None:
    """Adding a message again changes nothing, even with other recipients, and says so."""
    assert 3 == add(outbox, to=THREE)
    before = outbox.rows()
    assert 0 == add(outbox, to=(*THREE, "d@b.example"), now=NOW + HOUR)
    assert before == outbox.rows()


def test_eight_add_the_same_key_at_once(url: str, outbox: Outbox) -> None:
    """One of them adds it."""
    with ExitStack() as stack:
        each = [stack.enter_context(Outbox.open(url)) for _ in range(8)]

        def one(run: int, index: int) -> int:
            return add(each[index], f"k{run}", to=THREE)

        for run in range(10):
            assert [0] * 7 + [3] == sorted(at_once(8, partial(one, run)))
    assert 30 == outbox.counts()["pending"]


def test_what_goes_out_is_what_was_rendered(outbox: Outbox) -> None:
    """Heading and content byte for byte, whatever bytes they are."""
    content = bytes(range(256)) * 3
    outbox.add(
        Letter("k", "subject", content, None),
        {"a@b.example": b"To: a@b.example\r\nMessage-ID:\r\n <x@b.example>\r\n"},
        sender_owners=(), kind="report", now=NOW,
    )  # fmt: skip
    claimed = take(outbox)
    assert b"To: a@b.example\r\nMessage-ID:\r\n <x@b.example>\r\n" + content == claimed.content
    assert ("<x@b.example>", "a@b.example", 1, 0, True) == (
        claimed.message_id, claimed.recipient, claimed.attempts, claimed.doubts, "content" not in repr(claimed),
    )  # fmt: skip


def test_the_longest_due_goes_first(outbox: Outbox) -> None:
    """In the order in which they are due, and none before its time."""
    for minutes, key in ((3, "third"), (2, "second"), (1, "first")):
        add(outbox, key, now=NOW + minutes * MINUTE)
    assert outbox.claim("w", NOW, LEASE) is None
    assert "[ok] first" == take(outbox, NOW + MINUTE).subject
    assert outbox.claim("w", NOW + 2 * MINUTE - SECOND, LEASE) is None
    assert ["[ok] second", "[ok] third"] == [take(outbox, NOW + 3 * MINUTE).subject for _ in range(2)]


def test_eight_at_once_claim_each_row_once(url: str, outbox: Outbox) -> None:
    """No row is claimed twice and none is left."""
    for number in range(40):
        add(outbox, f"k{number}")

    def work(index: int) -> list[int]:
        with Outbox.open(url) as mine:
            found = []
            while claimed := mine.claim(f"w{index}", NOW, LEASE):
                found.append(claimed.id)
            return found

    taken = [number for mine in at_once(8, work) for number in mine]
    assert 40 == len(taken) == len(set(taken))
    assert 40 == outbox.counts()["sending"]


@pytest.mark.server
def test_a_locked_row_keeps_nobody_waiting(postgres: Postgres) -> None:
    """On PostgreSQL a claim passes over a row that another transaction holds."""
    url = postgres.database()
    holder = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with Outbox.open(f"{url}?options=-c%20lock_timeout%3D3s") as outbox:
        add(outbox, to=THREE)
        with holder.begin() as connection:
            [held] = connection.scalars(text("SELECT id FROM gd_deliveries ORDER BY id LIMIT 1 FOR UPDATE"))
            assert {row.id for row in outbox.rows()} - {held} == {take(outbox).id, take(outbox).id}
            assert outbox.claim("w", NOW, LEASE) is None
        assert held == take(outbox).id
    holder.dispose()


@pytest.mark.parametrize(
    ("outcome", "state", "attempts"),
    [
        ("sent", "sent", 1),
        ("deferred", "deferred", 1),
        ("refused", "dead", 1),
        ("too-large", "dead", 1),
        ("unknown", "unknown", 1),
    ],
)
def test_outcomes(outbox: Outbox, outcome: Outcome, state: State, attempts: int) -> None:
    """Each outcome has its state; the reason is kept."""
    add(outbox)
    claimed = take(outbox)
    outbox.begin_data(claimed)
    assert state == settle(outbox, claimed, outcome)
    row = only(outbox)
    assert (state, attempts) == (row.state, row.attempts)
    assert row.last_reason.startswith("the server said")


def test_pauses_double_up_to_four_hours(outbox: Outbox) -> None:
    """A minute, two, four and so on, each by a fifth longer or shorter, and never alike."""
    add(outbox)
    now, random, pauses = NOW, Random(3), []
    for _ in range(14):
        settled = outbox.settle(take(outbox, now), Result("deferred", 451, "later", True), now, random)
        assert "deferred" == settled
        due = only(outbox).due
        assert outbox.claim("w", due - timedelta(microseconds=1), LEASE) is None
        pauses.append(due - now)
        now = due
    expected = [min(2**k * MINUTE, 4 * HOUR) for k in range(14)]
    ratios = [pause / plain for pause, plain in zip(pauses, expected, strict=True)]
    assert all(0.8 <= ratio <= 1.2 for ratio in ratios)
    assert max(ratios) - min(ratios) > 0.2
    assert now - NOW < 2 * DAY


def test_the_deadline_is_the_last_try(outbox: Outbox) -> None:
    """What two days of deferrals did not bring there is dead, with the server's last word."""
    add(outbox)
    now = NOW
    for _ in range(50):
        if settle(outbox, take(outbox, now), "deferred", now) != "deferred":
            break
        now = only(outbox).due
    assert NOW + 2 * DAY == now
    assert ("dead", "given up at its deadline: the server said 451") == (only(outbox).state, only(outbox).last_reason)
    assert outbox.claim("w", now + DAY, LEASE) is None


def test_too_large_goes_out_light(outbox: Outbox) -> None:
    """Once more at once without attachments, to that recipient only; refused again it is dead."""
    add(outbox, to=("a@b.example", "b@b.example"), light=b"Subject: ok\r\n\r\nwithout attachments\r\n")
    assert "deferred" == settle(outbox, take(outbox), "too-large")
    whole, light = sorted((take(outbox), take(outbox)), key=lambda claimed: claimed.attempts)
    assert light.content.endswith(b"Message-ID: <nightly-a@b.example>\r\nSubject: ok\r\n\r\nwithout attachments\r\n")
    assert whole.content.endswith(b"the report\r\n")
    assert "dead" == settle(outbox, light, "too-large")


def test_unknown_is_sent_once_more(outbox: Outbox) -> None:
    """After a pause, with the same Message-ID; unknown again it stays so."""
    add(outbox)
    first = take(outbox)
    outbox.begin_data(first)
    assert "unknown" == settle(outbox, first, "unknown")
    assert outbox.claim("w", NOW + 40 * SECOND, LEASE) is None
    second = take(outbox, NOW + 2 * MINUTE)
    assert (first.content, first.message_id, 1, 2) == (second.content, second.message_id, second.doubts, second.attempts)
    outbox.begin_data(second)
    assert "unknown" == settle(outbox, second, "unknown", NOW + 2 * MINUTE)
    assert outbox.claim("w", NOW + 30 * DAY, LEASE) is None
    assert Recovered(0, 0) == outbox.recover(NOW + 30 * DAY)


def test_a_lost_worker_that_had_sent_nothing(url: str, outbox: Outbox) -> None:
    """When its lease has run out, not before, its row is pending again, and the attempt does not count."""
    add(outbox)
    take(outbox)
    with Outbox.open(url) as other:
        assert Recovered(0, 0) == other.recover(NOW + LEASE - SECOND)
        assert Recovered(1, 0) == other.recover(NOW + LEASE)
    row = only(outbox)
    assert ("pending", 0, NOW + LEASE) == (row.state, row.attempts, row.due)
    assert 1 == take(outbox, NOW + LEASE).attempts


def test_a_lost_worker_that_had_begun_to_send(url: str, outbox: Outbox) -> None:
    """Its row is unknown and due at once; when the next one is lost at the same place it stays unknown."""
    add(outbox)
    outbox.begin_data(take(outbox))
    with Outbox.open(url) as other:  # what `begin_data` wrote is there for everybody
        assert Recovered(0, 1) == other.recover(NOW + LEASE)
    assert ("unknown", 1) == (only(outbox).state, only(outbox).attempts)
    again = take(outbox, NOW + LEASE)
    outbox.begin_data(again, lease_until=NOW + 5 * LEASE)
    assert Recovered(0, 0) == outbox.recover(NOW + 2 * LEASE)
    assert Recovered(0, 1) == outbox.recover(NOW + 5 * LEASE)
    assert outbox.claim("w", NOW + DAY, LEASE) is None
    assert Stuck(0, 0, 1) == outbox.stuck(NOW + HOUR)


def test_doubt_outlives_a_harmless_loss(outbox: Outbox) -> None:
    """An unknown row whose second worker is lost before DATA has its one more try still, and no second one."""
    add(outbox)
    outbox.begin_data(take(outbox))
    outbox.recover(NOW + LEASE)
    take(outbox, NOW + LEASE)
    assert Recovered(1, 0) == outbox.recover(NOW + 2 * LEASE)
    claimed = take(outbox, NOW + 2 * LEASE)
    outbox.begin_data(claimed)
    assert "unknown" == settle(outbox, claimed, "unknown", NOW + 2 * LEASE)
    assert outbox.claim("w", NOW + DAY, LEASE) is None


def test_a_lost_lease_changes_nothing(outbox: Outbox) -> None:
    """Neither `begin_data` nor `settle` of an earlier claim touch the row, not even under the same worker's name."""
    add(outbox)
    late = take(outbox)
    outbox.recover(NOW + LEASE)
    with pytest.raises(LeaseLostError):
        outbox.begin_data(late)
    current = take(outbox, NOW + LEASE)
    before = outbox.rows()
    with pytest.raises(LeaseLostError):
        outbox.begin_data(late)
    assert settle(outbox, late, "refused", NOW + LEASE) is None
    assert before == outbox.rows()
    outbox.begin_data(current)
    assert "sent" == settle(outbox, current, "sent", NOW + LEASE)
    assert settle(outbox, current, "refused", NOW + LEASE) is None
    assert "sent" == only(outbox).state


def notice(failed: Undelivered) -> tuple[Letter, dict[str, bytes]]:
    """A notice that tells the test what it is about."""
    said = "; ".join(f"{row.recipient} {row.state}" for row in failed.rows)
    return Letter(failed.key, said, b"Subject: undelivered\r\n\r\n", None), dict.fromkeys(failed.owners, b"To: you\r\n")


def test_owners_hear_once_of_the_dead(outbox: Outbox) -> None:
    """One notice a message, naming the recipients; later failures make another; nothing is told twice."""
    add(outbox, to=THREE, owners=("owner@b.example",))
    add(outbox, "other", owners=("owner@b.example",), now=NOW + SECOND)
    settle(outbox, take(outbox), "refused")
    settle(outbox, take(outbox), "sent")
    settle(outbox, take(outbox), "refused")
    assert 1 == outbox.tell(notice, NOW)
    assert 0 == outbox.tell(notice, NOW)
    assert "notice" == take(outbox).kind
    settle(outbox, take(outbox, NOW + SECOND), "refused")  # of `other`
    assert 1 == outbox.tell(notice, NOW + SECOND)
    told = [(row.subject, row.recipient) for row in outbox.rows() if row.kind == "notice"]
    owner = "owner@b.example"
    assert [("a@b.example dead", owner), ("a@b.example dead; c@b.example dead", owner)] == told


def test_owners_among_the_dead_are_left_out(outbox: Outbox) -> None:
    """Whoever could not get the report would not get the notice; with no owner left nobody is told, once and for all."""
    add(outbox, to=("a@b.example", "b@b.example"), owners=("A@b.example", "b@b.example"))
    settle(outbox, take(outbox), "refused")
    assert 1 == outbox.tell(notice, NOW)
    [told] = [row for row in outbox.rows() if row.kind == "notice"]
    assert "b@b.example" == told.recipient
    assert "a@b.example dead" == told.subject


def test_nobody_is_told_of_a_notice(outbox: Outbox) -> None:
    """A notice that is refused makes no notice."""
    add(outbox, kind="notice", owners=("owner@b.example",))
    settle(outbox, take(outbox), "refused")
    assert 0 == outbox.tell(notice, NOW)
    assert 1 == len(outbox.rows())


def test_doubt_is_told_when_it_is_for_good(outbox: Outbox) -> None:
    """After the second handing over without an answer, not after the first."""
    add(outbox, owners=("owner@b.example",))
    settle(outbox, take(outbox), "unknown")
    assert 0 == outbox.tell(notice, NOW)
    settle(outbox, take(outbox, NOW + HOUR), "unknown", NOW + HOUR)
    assert 1 == outbox.tell(notice, NOW + HOUR)


def test_eight_tell_at_once(url: str, outbox: Outbox) -> None:
    """One of them adds the notice."""
    add(outbox, owners=("owner@b.example",))
    settle(outbox, take(outbox), "refused")

    def one(_: int) -> int:
        with Outbox.open(url) as mine:
            return mine.tell(notice, NOW)

    assert [0] * 7 + [1] == sorted(at_once(8, one))


def test_one_cause_is_one_mail(outbox: Outbox) -> None:
    """Within the grace period nothing more is added of the same cause; after it, or of another cause, it is."""
    assert 1 == add(outbox, "1", cause="run 7 failed")
    assert 0 == add(outbox, "2", cause="run 7 failed", now=NOW + HOUR - SECOND)
    assert 1 == add(outbox, "3", cause="run 8 failed")
    assert 1 == add(outbox, "4", cause="run 7 failed", now=NOW + HOUR)
    assert 0 == add(outbox, "4", cause="run 9 failed")


def test_eight_report_the_same_cause_at_once(url: str, outbox: Outbox) -> None:
    """Under keys of their own; one of them is added."""
    with ExitStack() as stack:
        each = [stack.enter_context(Outbox.open(url)) for _ in range(8)]

        def one(run: int, index: int) -> int:
            return add(each[index], f"k{run}-{index}", cause=f"run {run} crashed")

        for run in range(10):
            assert 1 == sum(at_once(8, partial(one, run)))
    assert 10 == outbox.counts()["pending"]


def test_resending(outbox: Outbox) -> None:
    """Dead, unknown, sent and cancelled rows are owed again, as new but for the Message-ID; others are left as they are."""
    outcomes: tuple[Outcome, ...] = ("refused", "unknown", "sent", "deferred")
    for outcome in outcomes:
        add(outbox, outcome)
        settle(outbox, take(outbox), outcome)
    add(outbox, "pending")
    ids = {row.subject.removeprefix("[ok] "): row.id for row in outbox.rows()}
    later = NOW + 3 * DAY
    changed = outbox.resend([*ids.values(), 4711], later)
    assert [ids["refused"], ids["unknown"], ids["sent"]] == [row.id for row in changed]
    assert {("pending", 0, later)} == {(row.state, row.attempts, row.due) for row in changed}
    assert () == outbox.resend([], later)
    outbox.cancel([ids["deferred"], ids["pending"]], later)
    claimed, doubted = take(outbox, later), take(outbox, later)
    assert ("<refused-a@b.example>", "<unknown-a@b.example>", 0) == (claimed.message_id, doubted.message_id, doubted.doubts)
    assert "deferred" == settle(outbox, claimed, "deferred", later + DAY)  # its deadline is a new one


def test_a_resent_failure_is_told_again(outbox: Outbox) -> None:
    """An owner who sends again hears when that fails too."""
    add(outbox, owners=("owner@b.example",))
    claimed = take(outbox)
    settle(outbox, claimed, "refused")
    assert 1 == outbox.tell(notice, NOW + DAY)
    outbox.resend([claimed.id], NOW)
    settle(outbox, take(outbox), "refused")
    assert 1 == outbox.tell(notice, NOW + DAY)


def test_cancelling(outbox: Outbox) -> None:
    """Pending, deferred and unknown rows are owed no longer; what is being sent, was sent or died stays."""
    outcomes: tuple[Outcome, ...] = ("refused", "unknown", "sent", "deferred")
    for outcome in outcomes:
        add(outbox, outcome)
        settle(outbox, take(outbox), outcome)
    add(outbox, "sending")
    take(outbox)
    add(outbox, "pending")
    changed = outbox.cancel([row.id for row in outbox.rows()], NOW)
    assert ["[ok] unknown", "[ok] deferred", "[ok] pending"] == [row.subject for row in changed]
    assert {"cancelled": 3, "dead": 1, "sent": 1, "sending": 1} == {k: v for k, v in outbox.counts().items() if v}
    assert outbox.claim("w", NOW + DAY, LEASE) is None


def test_pruning(outbox: Outbox) -> None:
    """Content goes when all its rows are old; the rows stay, and sending again says what is missing and changes nothing."""
    add(outbox, "done", to=("a@b.example", "b@b.example"), light=b"light")
    add(outbox, "half", to=("a@b.example", "b@b.example"))
    for _ in range(3):
        settle(outbox, take(outbox), "sent")
    assert 0 == outbox.prune(NOW)
    assert 1 == outbox.prune(NOW + SECOND)
    assert 0 == outbox.prune(NOW + SECOND)
    gone = sorted(row.id for row in outbox.rows() if row.subject == "[ok] done")
    before = outbox.rows()
    with pytest.raises(OutboxError, match=f"content of {gone[0]}, {gone[1]} was pruned"):
        outbox.resend([row.id for row in before], NOW)
    assert before == outbox.rows()
    assert take(outbox).content.endswith(b"the report\r\n")


def test_what_people_see(outbox: Outbox) -> None:
    """Rows newest first, by state and limited; counts of all states; when the last one of a kind was sent."""
    for number, outcome in enumerate(("sent", "refused", "sent")):
        add(outbox, f"k{number}", to=THREE[: number + 1], now=NOW + number * MINUTE)
        for _ in range(number + 1):
            settle(
                outbox, take(outbox, NOW + number * MINUTE), "refused" if outcome == "refused" else "sent", NOW + number * HOUR
            )
    add(outbox, "notice", kind="notice", now=NOW + HOUR)
    assert ["notice", "k2", "k2", "k2", "k1", "k1", "k0"] == [row.subject[5:] for row in outbox.rows()]
    assert ["k1"] == [row.subject[5:] for row in outbox.rows("dead", limit=1)]
    assert {"pending": 1, "sent": 4, "dead": 2, "sending": 0, "deferred": 0, "unknown": 0, "cancelled": 0} == outbox.counts()
    assert NOW + 2 * HOUR == outbox.last_sent("report")
    assert outbox.last_sent("notice") is None


def test_what_a_doctor_asks(outbox: Outbox) -> None:
    """What is due for more than an hour, and what was given up within a day."""
    assert Stuck(0, 0, 0) == outbox.stuck(NOW)
    add(outbox, to=THREE)
    settle(outbox, take(outbox), "refused")
    settle(outbox, take(outbox), "unknown")
    assert Stuck(0, 1, 0) == outbox.stuck(NOW + HOUR)
    assert Stuck(2, 1, 0) == outbox.stuck(NOW + HOUR + 2 * MINUTE)
    abandoned = take(outbox, NOW + HOUR)
    doubtful = take(outbox, NOW + HOUR)
    assert (0, 1) == (abandoned.doubts, doubtful.doubts)
    settle(outbox, doubtful, "unknown", NOW + HOUR)
    assert Stuck(0, 1, 1) == outbox.stuck(NOW + 2 * HOUR)
    assert Stuck(1, 1, 1) == outbox.stuck(NOW + 3 * HOUR)
    assert Stuck(1, 0, 1) == outbox.stuck(NOW + DAY + MINUTE)


def test_moments_come_back_in_utc(outbox: Outbox) -> None:
    """Whatever zone they were given in, and PostgreSQL's own; one without a zone is refused."""
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    add(outbox, now=NOW.astimezone(kathmandu))
    row = only(outbox)
    assert (NOW, UTC, UTC) == (row.created, row.created.tzinfo, row.due.tzinfo)
    assert outbox.claim("w", (NOW - timedelta(microseconds=1)).astimezone(kathmandu), LEASE) is None
    settle(outbox, take(outbox, NOW.astimezone(kathmandu)), "sent")
    assert NOW == outbox.last_sent("report")
    with pytest.raises(OutboxError, match="without its zone"):
        add(outbox, "naive", now=NOW.replace(tzinfo=None))
    assert 1 == len(outbox.rows())


def test_eight_open_at_once(url: str) -> None:
    """All of them find the same empty outbox."""

    def one(_: int) -> int:
        with Outbox.open(url) as mine:
            return sum(mine.counts().values())

    assert [0] * 8 == at_once(8, one)


def test_a_later_schema_is_left_alone(url: str, outbox: Outbox) -> None:
    """Tables of a newer gd are not touched."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO gd_outbox (version) VALUES (2)"))
    engine.dispose()
    with pytest.raises(OutboxError, match="version 2, and this gd knows version 1"):
        Outbox.open(url)


def test_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    """A path that no URL could hold is given as SQLAlchemy's own."""
    path = tmp_path / "what? 100%#1" / "outbox.db"
    with Outbox.open(URL.create("sqlite", database=str(path))) as outbox:
        add(outbox)
    assert path.exists()


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    """SQLite keeps a log that survives a crash of the machine, and refuses what would break a reference."""
    with Outbox.open(f"sqlite:///{tmp_path}/o.db") as outbox, outbox._engine.connect() as connection:
        found = [connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert ["wal", 2, 1] == found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no database URL"),
        ("reports/outbox.db", "no database URL"),
        ("postgresql://u:sesame@h:port/d", "no database URL"),
        ("sqlite://", "lives in a SQLite file or in PostgreSQL"),
        ("mysql://u:sesame@h/d", "lives in a SQLite file or in PostgreSQL"),
        ("nonsense+driver://u:sesame@h/d", "lives in a SQLite file or in PostgreSQL"),
        ("postgresql://u:sesame@127.0.0.1:1/d", "refused"),
        ("postgres://u@127.0.0.1:1/d?password=sesame", "refused"),
        ("postgresql://u:sesame@127.0.0.1/d?connect_timeout=soon", "cannot be opened"),
        ("sqlite:///{folder}/text.db", "file is not a database"),
        ("sqlite:///{folder}/text.db/outbox.db", "text.db"),
        ("sqlite:///{folder}", "unable to open database file"),
    ],
)
def test_databases_that_cannot_be_opened(url: str, said: str, tmp_path: Path) -> None:
    """One sentence, and no password in it."""
    (tmp_path / "text.db").write_text("no database\n" * 100, encoding="utf-8")
    with pytest.raises(OutboxError) as caught:
        Outbox.open(url.format(folder=tmp_path))
    shown = str(caught.value)
    assert said in shown
    assert "sesame" not in shown
    assert "\n" not in shown
    assert caught.value.__cause__ is None


@pytest.mark.server
def test_a_wrong_password_is_not_repeated(postgres: Postgres) -> None:
    """PostgreSQL says whose login failed, and nothing more is said."""
    with pytest.raises(OutboxError, match="password authentication failed") as caught:
        Outbox.open(postgres.database().replace(postgres.password, "sesame"))
    assert "sesame" not in str(caught.value)


def test_a_database_that_goes_away(tmp_path: Path) -> None:
    """What fails later is an OutboxError too, without the statement and the content in it."""
    path = tmp_path / "o.db"
    with Outbox.open(f"sqlite:///{path}") as outbox:
        breaker = sqlite3.connect(path)
        breaker.execute("DROP TABLE gd_deliveries")
        breaker.close()
        with pytest.raises(OutboxError, match="no such table: gd_deliveries") as caught:
            add(outbox)
    assert "INSERT" not in str(caught.value)


class Life(RuleBasedStateMachine):
    """Any order of steps by any workers, some of them late: what holds whatever happens."""

    claims = Bundle("claims")

    @initialize()
    def start(self) -> None:
        """An empty outbox and a clock."""
        self.folder = tempfile.mkdtemp(prefix="gd-outbox-")
        self.outbox = Outbox.open(f"sqlite:///{self.folder}/o.db")
        self.now = NOW
        self.random = Random(1)
        self.owed = 0
        self.holder: dict[int, Claimed] = {}  # by row, the claim that holds
        self.handed: dict[int, int] = {}  # by row, how often it may have arrived since it was owed (again)
        self.begun: set[tuple[int, int]] = set()

    @rule(number=st.integers(1, 3))
    def add(self, number: int) -> None:
        """Owe a message to some."""
        self.owed += add(self.outbox, f"k{self.owed}", THREE[:number], self.now, owners=("owner@b.example",), light=b"light")

    @rule(minutes=st.sampled_from([1, 9, 10, 300, 3000]))
    def wait(self, minutes: int) -> None:
        """Time goes by."""
        self.now += minutes * MINUTE

    @rule(target=claims, worker=st.sampled_from("uvw"))
    def claim(self, worker: str) -> object:
        """A worker takes a row: one that nobody holds and that may go out."""
        claimed = self.outbox.claim(worker, self.now, LEASE)
        if claimed is None:
            return multiple()
        assert claimed.id not in self.holder
        assert self.handed.get(claimed.id, 0) == claimed.doubts <= 1
        self.holder[claimed.id] = claimed
        return claimed

    @rule(claimed=claims)
    def begin(self, claimed: Claimed) -> None:
        """The content goes out, of a claim that holds only."""
        if self.holder.get(claimed.id) is claimed:
            self.outbox.begin_data(claimed)
            self.begun.add((claimed.id, claimed.token))
        else:
            with pytest.raises(LeaseLostError):
                self.outbox.begin_data(claimed)

    @rule(claimed=claims, outcome=st.sampled_from(["sent", "deferred", "refused", "too-large", "unknown"]))
    def settle(self, claimed: Claimed, outcome: Outcome) -> None:
        """The server answers; what it says counts for a claim that holds only."""
        state = settle(self.outbox, claimed, outcome, self.now)
        assert (state is not None) == (self.holder.get(claimed.id) is claimed)
        if state is not None:
            del self.holder[claimed.id]
            self.handed[claimed.id] = self.handed.get(claimed.id, 0) + (outcome == "unknown")
            if state == "sent":
                self.handed[claimed.id] = 9  # never again

    @rule()
    def recover(self) -> None:
        """Leases that have run out are taken back, all of them and no other."""
        found = self.outbox.recover(self.now)
        lost = [number for number, row in self.states().items() if number in self.holder and row.state != "sending"]
        begun = [number for number in lost if (number, self.holder[number].token) in self.begun]
        assert Recovered(len(lost) - len(begun), len(begun)) == found
        for number in lost:
            self.handed[number] = self.handed.get(number, 0) + (number in begun)
            del self.holder[number]

    @rule(index=st.integers(0, 5))
    def resend(self, index: int) -> None:
        """A person sends a row again."""
        for row in self.outbox.resend([index], self.now):
            self.handed[row.id] = 0

    @rule(index=st.integers(0, 5))
    def cancel(self, index: int) -> None:
        """A person lets a row be."""
        for row in self.outbox.cancel([index], self.now):
            assert row.id not in self.holder

    @rule()
    def tell(self) -> None:
        """Owners hear, and are owed what they hear."""
        self.owed += self.outbox.tell(notice, self.now)
        assert 0 == self.outbox.tell(notice, self.now)

    @invariant()
    def none_is_lost(self) -> None:
        """As many rows as are owed, and those that are sent have a holder."""
        if hasattr(self, "outbox"):
            found = self.states()
            assert self.owed == len(found)
            assert {number for number, row in found.items() if row.state == "sending"} == set(self.holder)

    def states(self) -> dict[int, Row]:
        """All rows by number."""
        return {row.id: row for row in self.outbox.rows(limit=10_000)}

    def teardown(self) -> None:
        """Leave nothing."""
        self.outbox.close()
        shutil.rmtree(self.folder)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
