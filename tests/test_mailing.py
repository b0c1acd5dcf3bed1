"""From a flow run to its mail, on a real Prefect server and a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import URL

from flows.delivery import delivery
from flows.mailing import credentials, open_outbox, outbox_url, post, post_later, tell
from flows.recovery import Presence
from flows.training_report import Batch, training_report
from gd.data import Source, bundled
from gd.mail import Mailing
from tests.smtp_server import Fault, SmtpServer

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SOURCE = Source(path=str(bundled("notebook")), target="Y")
READERS = Mailing(to=("a@a.example", "b@b.example"))


@pytest.fixture(autouse=True)
def _no_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GD_SMTP_HOST", "GD_SMTP_BLOCK", "GD_MAIL_FROM", "GD_MAIL_DOMAINS", "GD_OUTBOX", "GD_REPORTS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def smtp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpServer]:
    """A mail server that the environment names."""
    with SmtpServer(tmp_path / "smtp", user="u", password="secret 815") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def run(reports: Path, mailing: Mailing, *, send: bool = True) -> tuple[Any, Batch]:
    """The flow's last state, and what it came to."""
    state: Any = training_report([SOURCE], reports=str(reports), mail=mailing, send=send, return_state=True)
    return state, cast("Batch", state.result(raise_on_failure=False))


def test_without_a_mail_server_the_message_is_a_file(tmp_path: Path) -> None:
    """The run succeeds, one line says where the message lies, and each reader has one of their own."""
    state, batch = run(tmp_path, READERS)
    assert state.is_completed()
    folder = Path(str(batch.ended[0].folder))
    assert (
        f"No mail server is configured (GD_SMTP_HOST): the message lies in {folder / 'mail-1.eml'} and 1 more beside it."
        == batch.mail
    )
    assert batch.mail in state.message
    messages = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in sorted(folder.glob("*.eml"))]
    assert ["a@a.example", "b@b.example"] == [message["To"] for message in messages]
    assert "notebook: 1 of 1 converged" in messages[0]["Subject"]
    assert (folder / "run.json").read_bytes() in [part.get_payload(decode=True) for part in messages[0].iter_attachments()]
    assert not (tmp_path / "outbox.db").exists()


def test_a_dry_run_sends_nothing(tmp_path: Path, smtp: SmtpServer) -> None:
    """Also where a server is configured the message is a file then."""
    _, batch = run(tmp_path / "reports", Mailing(to=("a@a.example",)), send=False)
    assert batch.mail.startswith("Nothing was sent, as asked: the message lies in ")
    assert batch.mail.endswith("mail.eml.")
    assert 0 == smtp.count()


def test_an_outage_of_the_mail_costs_no_training(tmp_path: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run completes, the report is kept, nothing is trained again, and the delivery sends what was rendered."""
    smtp.script(Fault("connect", "421 4.3.2 closing"))
    state, batch = run(tmp_path / "reports", READERS)
    assert state.is_completed()
    assert batch.mail.startswith("2 messages queued. ")
    assert 0 == smtp.count()
    smtp.script()
    with open_outbox(tmp_path / "reports") as outbox:
        assert {"deferred": 1, "pending": 1} == {name: number for name, number in outbox.counts().items() if number}
        waiting = [row.id for row in outbox.rows("deferred")]
        outbox.cancel(waiting, NOW)
        outbox.resend(waiting, NOW)
    state = delivery(str(tmp_path / "reports"), return_state=True)
    assert state.is_completed()
    assert {"a@a.example", "b@b.example"} == {item.recipients[0] for item in smtp.messages()}
    assert 1 == len([*(tmp_path / "reports").glob("notebook/*/run.json")])
    assert b"secret 815" not in b"".join(path.read_bytes() for path in (tmp_path / "reports").rglob("*") if path.is_file())


def test_one_slot_is_mailed_once(tmp_path: Path, smtp: SmtpServer) -> None:
    """Whoever fills it again: the second time says so and owes nothing."""
    _, batch = run(tmp_path, Mailing())
    folders = [Path(str(batch.ended[0].folder))]
    presence = Presence(flow_run="1", name="nightly", key="nightly/2026-11-23T02:00:00Z", moment=NOW, mailing=READERS)
    assert (2, "2 messages queued.", ()) == post(presence, folders, tmp_path, NOW)
    again = presence.model_copy(update={"flow_run": "2"})
    assert (0, "This report was queued before: nothing is sent twice.", ()) == post(again, folders, tmp_path, NOW)
    with open_outbox(tmp_path) as outbox:
        assert 2 == len(outbox.rows())


def test_readers_outside_of_the_domains_get_nothing(tmp_path: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others get theirs, and the line says who was left out."""
    monkeypatch.setenv("GD_MAIL_DOMAINS", "a.example, c.example")
    state, batch = run(tmp_path / "reports", READERS)
    assert state.is_completed()
    assert "1 message queued. Not to b@b.example: outside of GD_MAIL_DOMAINS." in batch.mail
    assert [["a@a.example"]] == [item.recipients for item in smtp.messages()]


@pytest.mark.parametrize("wrong", [("GD_MAIL_FROM", ""), ("GD_OUTBOX", "postgresql://u:pass%20word@127.0.0.1:9/x")])
def test_what_cannot_be_queued_is_queued_later(
    wrong: tuple[str, str], tmp_path: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that is wrong, a database that is down: the training succeeds, and the next delivery that can sends it."""
    with monkeypatch.context() as broken:
        broken.setenv(*wrong)
        state, batch = run(tmp_path / "reports", READERS)
        assert state.is_completed()
        assert batch.mail.startswith("The mail could not be made ready: ")
        assert batch.mail.endswith(". The next delivery tries again.")
        assert "pass" not in batch.mail
        assert delivery(str(tmp_path / "reports"), return_state=True).is_failed()
    state = delivery(str(tmp_path / "reports"), return_state=True)
    assert "2 messages queued. 2 sent." == state.message
    assert {"a@a.example", "b@b.example"} == {item.recipients[0] for item in smtp.messages()}
    assert "nothing sent; nothing is due." == delivery(str(tmp_path / "reports"), return_state=True).message


def test_a_delivery_that_cannot_work_fails_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable, a database that is none: the reason is the state's message, and nothing is lost."""
    monkeypatch.setenv("GD_SMTP_HOST", "localhost")
    state = delivery(str(tmp_path), return_state=True)
    assert state.is_failed()
    assert str(state.message).startswith("GD_SMTP_HOST is set but GD_MAIL_FROM is not")
    monkeypatch.setenv("GD_MAIL_FROM", "a@a.example")
    (tmp_path / "outbox.db").write_text("no database", encoding="utf-8")
    state = delivery(str(tmp_path), return_state=True)
    assert state.is_failed()
    assert "outbox.db cannot be opened" in str(state.message)
    assert "no database" == (tmp_path / "outbox.db").read_text(encoding="utf-8")


def test_a_note_that_cannot_be_read_keeps_no_mail_back(tmp_path: Path, smtp: SmtpServer) -> None:
    """What is owed besides goes out, and the state says which note waits."""
    reports = tmp_path / "reports"
    _, batch = run(reports, Mailing())
    presence = Presence(flow_run="2", name="nightly", key="k", moment=NOW, mailing=READERS)
    post_later(presence, [Path(str(batch.ended[0].folder))], reports)
    (reports / ".owed" / "1.json").write_text("{", encoding="utf-8")
    state = delivery(str(reports), return_state=True)
    assert str(state.message).startswith("1.json waits: ")
    assert str(state.message).endswith(" 2 messages queued. 2 sent.")
    assert ["1.json"] == [file.name for file in (reports / ".owed").iterdir()]


def test_owners_are_told_once_for_a_run_and_once_for_a_cause(tmp_path: Path, smtp: SmtpServer) -> None:
    """A hook and the server may both tell of one run; late slots of one deployment have one cause."""
    from datetime import timedelta  # noqa: PLC0415

    presence = Presence(flow_run="1", name="nightly", key="k", moment=NOW, mailing=Mailing(owners=("o@a.example",)))
    assert [1, 0] == [tell("failed", presence, ["Why."], tmp_path, NOW) for _ in range(2)]
    grace = timedelta(hours=6)
    late = [presence.model_copy(update={"flow_run": str(number)}) for number in range(3)]
    assert 1 == tell("late", late[0], ["Late."], tmp_path, NOW, grace)
    assert 0 == tell("late", late[1], ["Late."], tmp_path, NOW + timedelta(hours=1), grace)
    assert 1 == tell("late", late[2], ["Late."], tmp_path, NOW + timedelta(hours=7), grace)


def test_credentials_come_from_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """prefect-email's block by name: host, port, TLS, login; its password is in no repr."""
    from prefect_email import EmailServerCredentials  # noqa: PLC0415

    block: Any = EmailServerCredentials(
        username="reports@a.example", password="secret 4", smtp_server="mail.a.example", smtp_type="STARTTLS"
    )
    block.save("inbox", overwrite=True, _sync=True)
    monkeypatch.setenv("GD_SMTP_BLOCK", "inbox")
    server = credentials()
    assert server is not None
    assert ("mail.a.example", 587, "starttls", "reports@a.example") == (
        server.host,
        server.port,
        server.security,
        server.sender,
    )
    assert server.password is not None
    assert "secret 4" == server.password.get_secret_value()
    assert "secret 4" not in repr(server) + str(server)
    block.verify = False
    block.save("careless", overwrite=True, _sync=True)
    monkeypatch.setenv("GD_SMTP_BLOCK", "careless")
    with pytest.raises(ValueError, match="does not verify certificates"):
        credentials()
    monkeypatch.setenv("GD_SMTP_BLOCK", "nobody")
    with pytest.raises(ValueError, match="no EmailServerCredentials block named 'nobody'"):
        credentials()


def test_the_outbox_is_beside_the_reports_unless_a_database_is_named(tmp_path: Path) -> None:
    """GD_OUTBOX names one that several machines share."""
    assert URL.create("sqlite", database=str(tmp_path / "what?" / "outbox.db")) == outbox_url(tmp_path / "what?", {})
    assert "postgresql://h/d" == outbox_url(tmp_path, {"GD_OUTBOX": "postgresql://h/d"})
