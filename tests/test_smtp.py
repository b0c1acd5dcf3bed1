"""The wire against a real SMTP server in a process of its own: what arrives, and what every fault becomes."""

from __future__ import annotations

import base64
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gd.smtp import Connection, Outcome, Result, Server, SmtpError, check
from tests.certificates import Certificate
from tests.smtp_server import Fault, SmtpServer

USER = "nightly"
PASSWORD = "correct/horse=battery"
MESSAGE = b"Subject: [ok] nightly\r\n\r\n3 of 3 converged\r\n"
LARGE = MESSAGE + (b"x" * 998 + b"\r\n") * 20_000  # more than all the buffers between the two processes
SECRETS = (
    PASSWORD,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode(),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    """One server with STARTTLS and a login for all tests that need no other."""
    with SmtpServer(tmp_path_factory.mktemp("wire") / "smtp", user=USER, password=PASSWORD) as smtp:
        yield smtp


@pytest.fixture
def smtp(running: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> SmtpServer:
    """The same, without faults and messages of an earlier test, its authority trusted."""
    running.script()
    running.forget()
    monkeypatch.setenv("SSL_CERT_FILE", running.ca_file)
    return running


class Begun:
    """A `before_data` that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Once more."""
        self.count += 1


def send(server: Server, recipient: str = "ann@b.example", content: bytes = MESSAGE) -> tuple[Result, int]:
    """One message over a connection of its own, and how often the content was begun."""
    begun = Begun()
    with Connection(server) as connection:
        return connection.send(recipient, content, begun), begun.count


@pytest.mark.server
def test_arrives_with_its_envelope(smtp: SmtpServer) -> None:
    """The server sees the bare sender, one recipient, a full name or an address in EHLO, the login, TLS, and the size."""
    result, begun = send(smtp.server(sender='"Reports, nightly" <reports@a.example>'))
    [received] = smtp.messages()
    assert Result("sent", 250, "accepted: 250 2.0.0 kept", True) == result
    assert 1 == begun
    assert ("reports@a.example", ["ann@b.example"]) == (received.sender, received.recipients)
    assert (USER, True) == (received.user, received.tls)
    assert re.fullmatch(r"\[(\d+\.){3}\d+\]|\[IPv6:.+\]|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+", received.helo)
    assert [f"SIZE={len(MESSAGE)}"] == received.options
    assert "[ok] nightly" == received.message["Subject"]


ENDS = st.sampled_from([b"\r\n", b"\n", b"\r"])
LINES = st.lists(
    st.one_of(
        st.sampled_from([b".", b"..", b".\0", b". ", b"." * 998, b"x" * 998, b"QUIT", "größer".encode()]),
        st.binary(min_size=1, max_size=998).filter(lambda line: b"\r" not in line and b"\n" not in line),
    ),
    max_size=30,
)


@pytest.mark.server
def test_content_arrives_byte_for_byte(smtp: SmtpServer) -> None:
    """For every content: its lines arrive as they are, dots and length and all, each ended by CR LF."""
    with Connection(smtp.server()) as connection:

        @settings(max_examples=50, deadline=None, database=None)
        @given(LINES, st.lists(ENDS, min_size=30, max_size=30), st.booleans())
        @example([b"."], [b"\n"] * 30, True)
        @example([b"a", b".", b"b"], [b"\r"] * 30, False)
        def arrives(lines: list[bytes], ends: list[bytes], ended: bool) -> None:
            content = b"".join(line + end for line, end in zip(lines, ends, strict=False))
            content = content if ended or not lines else content.removesuffix(ends[len(lines) - 1])
            smtp.forget()
            assert "sent" == connection.send("ann@b.example", content, Begun()).outcome
            [received] = smtp.messages()
            assert b"".join(line + b"\r\n" for line in lines or [b""]) == received.raw

        arrives()


@pytest.mark.server
def test_empty_lines_stay(smtp: SmtpServer) -> None:
    """CR LF CR LF is two line ends, CR CR LF as well, and a dot after each of them is only a dot."""
    send(smtp.server(), content=b"a\r\n\r\n.\r\r\n.\n\n.b")
    [received] = smtp.messages()
    assert b"a\r\n\r\n.\r\n\r\n.\r\n\r\n.b\r\n" == received.raw


@pytest.mark.server
def test_eight_bits_are_announced(smtp: SmtpServer) -> None:
    """Content beyond ASCII is announced as such."""
    send(smtp.server(), content="Subject: x\r\n\r\nθ ≠ 0\r\n".encode())
    [received] = smtp.messages()
    assert "BODY=8BITMIME" in received.options


@pytest.mark.server
def test_one_connection_serves_many_messages(smtp: SmtpServer) -> None:
    """Three messages and a refusal among them go over one connection; without faults nobody else is touched by it."""
    smtp.script(Fault("rcpt", "550 5.1.1 no such user", recipient="bob@b.example"))
    with Connection(smtp.server()) as connection:
        results = [connection.send(f"{name}@b.example", MESSAGE, Begun()) for name in ("ann", "bob", "cleo")]
    assert ["sent", "refused", "sent"] == [result.outcome for result in results]
    assert "RCPT was answered: 550 5.1.1 no such user" == results[1].reason
    assert [["ann@b.example"], ["cleo@b.example"]] == [received.recipients for received in smtp.messages()]
    assert 1 == len({received.port for received in smtp.messages()})


FAULTS: list[tuple[Fault, Outcome, int | None, bool, int, int]] = [
    # fault, then: outcome, code, connected, how often the content was begun, how many messages the server has
    (Fault("connect", "421 4.7.0 busy"), "deferred", 421, False, 0, 0),
    (Fault("connect", "554 5.7.1 not you"), "deferred", 554, False, 0, 0),
    (Fault("connect", "stall"), "deferred", None, False, 0, 0),
    (Fault("connect", "drop"), "deferred", None, False, 0, 0),
    (Fault("connect", "bogus greeting"), "deferred", None, False, 0, 0),
    (Fault("starttls", "absent"), "deferred", None, False, 0, 0),
    (Fault("starttls", "454 4.7.0 TLS is ill"), "deferred", 454, False, 0, 0),
    (Fault("starttls", "502 5.5.1 what"), "deferred", 502, False, 0, 0),
    (Fault("starttls", "drop"), "deferred", None, False, 0, 0),
    (Fault("auth", "535 5.7.8 no"), "deferred", 535, False, 0, 0),
    (Fault("auth", "454 4.7.0 later"), "deferred", 454, False, 0, 0),
    (Fault("auth", "534 5.7.9 another way"), "deferred", 534, False, 0, 0),
    (Fault("auth", "stall"), "deferred", None, False, 0, 0),
    (Fault("mail", "421 4.3.2 closing"), "deferred", 421, True, 0, 0),
    (Fault("mail", "452 4.3.1 full"), "deferred", 452, True, 0, 0),
    (Fault("mail", "530 5.7.0 log in first"), "deferred", 530, False, 0, 0),
    (Fault("mail", "538 5.7.11 encrypt"), "deferred", 538, False, 0, 0),
    (Fault("mail", "550 5.7.1 not this sender"), "refused", 550, True, 0, 0),
    (Fault("mail", "552 5.3.4 too big", above=40), "too-large", 552, True, 0, 0),
    (Fault("mail", "drop"), "deferred", None, True, 0, 0),
    (Fault("mail", "354 what?"), "deferred", None, True, 0, 0),
    (Fault("rcpt", "421 4.3.2 closing"), "deferred", 421, True, 0, 0),
    (Fault("rcpt", "451 4.7.1 greylisted"), "deferred", 451, True, 0, 0),
    (Fault("rcpt", "550 5.1.1 nobody"), "refused", 550, True, 0, 0),
    (Fault("rcpt", "552 5.2.2 full"), "too-large", 552, True, 0, 0),
    (Fault("rcpt", "stall"), "deferred", None, True, 0, 0),
    (Fault("data", "421 4.3.2 closing"), "deferred", 421, True, 0, 0),
    (Fault("data", "451 4.3.0 later"), "deferred", 451, True, 0, 0),
    (Fault("data", "554 5.5.1 no recipients"), "refused", 554, True, 0, 0),
    (Fault("data", "552 5.3.4 too big"), "too-large", 552, True, 0, 0),
    (Fault("data", "250 2.0.0 fine"), "deferred", None, True, 0, 0),
    (Fault("data", "stall"), "deferred", None, True, 0, 0),
    (Fault("data", "drop"), "deferred", None, True, 0, 0),
    (Fault("content", "stall"), "deferred", None, True, 1, 0),
    (Fault("content", "drop"), "deferred", None, True, 1, 0),
    (Fault("dot", "421 4.3.2 closing"), "deferred", 421, True, 1, 0),
    (Fault("dot", "451 4.3.0 later"), "deferred", 451, True, 1, 0),
    (Fault("dot", "552 5.3.4 too big", above=40), "too-large", 552, True, 1, 0),
    (Fault("dot", "554 5.3.4 too big"), "too-large", 554, True, 1, 0),
    (Fault("dot", "554 5.7.1 looks like spam"), "refused", 554, True, 1, 0),
    (Fault("dot", "stall"), "unknown", None, True, 1, 0),
    (Fault("dot", "stall", stored=True), "unknown", None, True, 1, 1),
    (Fault("dot", "drop"), "unknown", None, True, 1, 0),
    (Fault("dot", "drop", stored=True), "unknown", None, True, 1, 1),
    (Fault("dot", "354 what?", stored=True), "unknown", None, True, 1, 1),
    (Fault("dot", "what?", stored=True), "unknown", None, True, 1, 1),
]


@pytest.mark.server
@pytest.mark.parametrize(
    ("fault", "outcome", "code", "connected", "begun", "stored"),
    FAULTS,
    ids=lambda it: f"{it.at}-{it.does}" if isinstance(it, Fault) else "",
)
def test_a_fault_becomes_its_outcome(
    smtp: SmtpServer,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    outcome: Outcome,
    code: int | None,
    connected: bool,
    begun: int,
    stored: int,
) -> None:
    """Each fault has its outcome, no secret in what is said of it, and the connection sends the next message."""
    smtp.script(fault)
    before = len(smtp.log())
    caplog.set_level(0)
    counted = Begun()
    with Connection(smtp.server(timeout=0.5 if fault.does == "stall" else 10)) as connection:
        result = connection.send("ann@b.example", LARGE if fault.at == "content" else MESSAGE, counted)
        assert (outcome, code, connected) == (result.outcome, result.code, result.connected)
        assert (begun, stored) == (counted.count, smtp.count())
        assert result.reason.isprintable()
        assert {"stall": "0.5 s", "drop": ""}.get(
            fault.does, fault.does.partition(" ")[2]
        ) in result.reason or fault.does == "absent"
        assert (fault == Fault("connect", "stall")) == ("is this a port for" in result.reason)
        assert not [secret for secret in SECRETS if secret in f"{result!r} {caplog.text}"]
        smtp.script()
        assert "sent" == connection.send("bob@b.example", MESSAGE, counted).outcome
    assert stored + 1 == smtp.count()
    kept = connected and code not in {None, 421}  # an answer to one message leaves the connection to the next one
    assert (1 if kept else 2) == smtp.log()[before:].count("Peer:")


@pytest.mark.server
def test_a_limit_of_size_is_an_answer_not_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that names its limit refuses the larger message at MAIL, and takes the smaller one on the same connection."""
    with SmtpServer(tmp_path / "smtp", security="none", size_limit=1000) as smtp, Connection(smtp.server()) as connection:
        large = connection.send("ann@b.example", MESSAGE + b"x" * 990, Begun())
        small = connection.send("ann@b.example", MESSAGE, Begun())
        assert ("too-large", 552, "sent") == (large.outcome, large.code, small.outcome)
        assert 1 == smtp.count()


@pytest.mark.server
def test_a_slow_line_is_not_a_dead_one(smtp: SmtpServer) -> None:
    """The time-out is for each operation: a message that takes longer as a whole arrives."""
    smtp.script(Fault("content", "slow"))
    began = time.monotonic()
    result, _ = send(smtp.server(timeout=1.0), content=LARGE)
    assert "sent" == result.outcome, result
    assert time.monotonic() - began > 2


@pytest.mark.server
@pytest.mark.parametrize("error", [RuntimeError("the lease is lost"), KeyboardInterrupt()])
def test_before_data_can_call_it_off(smtp: SmtpServer, error: BaseException) -> None:
    """What `before_data` raises is raised, nothing was sent, and the next message finds a clean connection."""

    def refuse() -> None:
        raise error

    with Connection(smtp.server()) as connection:
        with pytest.raises(type(error)):
            connection.send("ann@b.example", MESSAGE, refuse)
        assert 0 == smtp.count()
        began = time.monotonic()
        assert "sent" == connection.send("bob@b.example", MESSAGE, Begun()).outcome
        assert time.monotonic() - began < 5  # not by waiting for an answer on the old one
    assert [["bob@b.example"]] == [received.recipients for received in smtp.messages()]


@pytest.mark.server
def test_a_server_that_hung_up_between_two_messages_is_called_again(smtp: SmtpServer) -> None:
    """An idle connection may end at any time: neither a restart nor a 421 costs the next message its turn."""
    with Connection(smtp.server()) as connection:
        begun = Begun()
        assert "sent" == connection.send("ann@b.example", MESSAGE, begun).outcome
        smtp.stop()
        smtp.start()
        assert "sent" == connection.send("bob@b.example", MESSAGE, begun).outcome
        smtp.script(Fault("mail", "421 4.4.2 you were silent", times=1))
        assert "sent" == connection.send("cleo@b.example", MESSAGE, begun).outcome
        assert 3 == begun.count
    assert 3 == len({received.port for received in smtp.messages()})


@pytest.mark.server
def test_it_is_called_again_once(smtp: SmtpServer) -> None:
    """A server that always says 421 is left alone after the second time."""
    with Connection(smtp.server()) as connection:
        connection.send("ann@b.example", MESSAGE, Begun())
        smtp.script(Fault("rcpt", "421 4.7.0 slow down"))
        before = len(smtp.log())
        result = connection.send("bob@b.example", MESSAGE, Begun())
        assert ("deferred", 421) == (result.outcome, result.code)
        assert 2 == smtp.log()[before:].count("RCPT TO:<bob@b.example>")


@pytest.mark.server
def test_an_outage_is_no_verdict_on_a_message(smtp: SmtpServer) -> None:
    """While the server is down nothing fares better than the first message; when it is back, all is as before."""
    smtp.stop()
    try:
        with Connection(smtp.server()) as connection:
            result = connection.send("ann@b.example", MESSAGE, Begun())
            assert ("deferred", None, False) == (result.outcome, result.code, result.connected)
            assert f"the SMTP server localhost:{smtp.port} refused the connection: nothing listens there" == result.reason
            with pytest.raises(SmtpError, match="refused the connection"):
                check(smtp.server())
            smtp.start()
            assert "sent" == connection.send("ann@b.example", MESSAGE, Begun()).outcome
    finally:
        smtp.stop()
        smtp.start()


@pytest.mark.server
def test_a_host_that_is_none() -> None:
    """A name without an address is no verdict on the message either."""
    result, _ = send(Server(host="nowhere.invalid", sender="reports@a.example", timeout=5))
    assert ("deferred", False) == (result.outcome, result.connected)
    assert result.reason.startswith("the SMTP server nowhere.invalid:587 cannot be found: ")


CERTIFICATES: list[tuple[Certificate, str]] = [
    ("expired", "certificate has expired"),
    ("other name", "Hostname mismatch, certificate is not valid for 'localhost'."),
    ("unknown authority", "unable to get local issuer certificate (SSL_CERT_FILE names a file with one's own authority)"),
]


@pytest.mark.server
@pytest.mark.parametrize(
    ("certificate", "said", "security"), [*((*it, "starttls") for it in CERTIFICATES), (*CERTIFICATES[0], "tls")]
)
def test_a_certificate_must_be_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Certificate, said: str, security: Any
) -> None:
    """Expired, of another name, of nobody known: not sent, no login is tried, and the reason names it."""
    with SmtpServer(tmp_path / "smtp", security=security, user=USER, password=PASSWORD, certificate=certificate) as smtp:
        monkeypatch.setenv("SSL_CERT_FILE", smtp.ca_file)
        result, begun = send(smtp.server())
        assert ("deferred", None, False, 0) == (result.outcome, result.code, result.connected, begun)
        assert result.reason.endswith(f"has a certificate that cannot be trusted: {said}")
        with pytest.raises(SmtpError, match=re.escape(said)):
            check(smtp.server())
        assert "AUTH PLAIN" not in smtp.log()
        assert 0 == smtp.count()


@pytest.mark.server
@pytest.mark.parametrize("login", ["PLAIN", "LOGIN"])
def test_implicit_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    """TLS from the first byte, either way of logging in, a password beyond ASCII; asked in the wrong way it says so."""
    with SmtpServer(tmp_path / "smtp", security="tls", user="größe", password="pä:ß wörd", logins=[login]) as smtp:
        monkeypatch.setenv("SSL_CERT_FILE", smtp.ca_file)
        assert "sent" == send(smtp.server())[0].outcome
        [received] = smtp.messages()
        assert ("größe", True) == (received.user, received.tls)
        assert f"AUTH {login}" in smtp.log()
        result, _ = send(smtp.server(security="starttls", timeout=0.3))
        assert ("deferred", False) == (result.outcome, result.connected)
        assert result.reason.endswith("did not answer within 0.3 s (is this a port for security 'tls'?)")


@pytest.mark.server
def test_tls_on_a_port_for_starttls(smtp: SmtpServer) -> None:
    """The other way round it says so too."""
    result, _ = send(smtp.server(security="tls"))
    assert ("deferred", False) == (result.outcome, result.connected)
    assert result.reason.endswith("cannot agree on TLS: WRONG_VERSION_NUMBER (is this a port for 'starttls'?)")


@pytest.mark.server
def test_without_encryption_only_when_asked_by_name(tmp_path: Path) -> None:
    """Security none sends in the clear, with a login where one is given; anything else sends nothing there, no login either."""
    with SmtpServer(tmp_path / "smtp", security="none", user=USER, password=PASSWORD) as smtp:
        refused, _ = send(smtp.server(security="starttls"))
        assert ("deferred", False) == (refused.outcome, refused.connected)
        assert "offers no STARTTLS, so nothing is sent" in refused.reason
        assert not {"AUTH", "MAIL"} & {line.split()[0] for line in re.findall(r">> b'(.*)'", smtp.log())}
        assert "sent" == send(smtp.server())[0].outcome
        [received] = smtp.messages()
        assert (USER, False) == (received.user, received.tls)


@pytest.mark.server
def test_no_way_of_logging_in_that_is_known(tmp_path: Path) -> None:
    """A server that offers none of the two ways is named as such."""
    with SmtpServer(tmp_path / "smtp", security="none", user=USER, password=PASSWORD, logins=[]) as smtp:
        result, _ = send(smtp.server())
        assert ("deferred", False) == (result.outcome, result.connected)
        assert result.reason.endswith("offers no login here; this program logs in with PLAIN or LOGIN")


@pytest.mark.server
@pytest.mark.parametrize("login", [{"password": "wrong horse"}, {"user": "nobody"}, {"user": None, "password": None}])
def test_a_wrong_login(smtp: SmtpServer, login: dict[str, Any]) -> None:
    """A wrong password, a wrong user, none: the message waits, and the password that was tried is in no word about it."""
    result, begun = send(smtp.server(**login))
    assert ("deferred", False, 0) == (result.outcome, result.connected, begun)
    assert result.code == (535 if login.get("user", USER) else 530)
    assert "wrong horse" not in repr(result)
    if result.code == 535:
        with pytest.raises(SmtpError, match=r"refused the login: 535 5\.7\.8") as caught:
            check(smtp.server(**login))
        assert 535 == caught.value.code
        assert "wrong horse" not in "".join(map(repr, (caught.value, caught.value.__context__, caught.value.__cause__)))


@pytest.mark.server
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("at", ["auth", "mail", "dot"])
def test_a_server_that_repeats_the_password(smtp: SmtpServer, secret: str, at: Any) -> None:
    """Even then it is in no reason: not as it is, nor as it went over the wire."""
    smtp.script(Fault(at, f"550-5.7.8 what is\r\n550 {secret}?"))
    result, _ = send(smtp.server())
    assert result.reason.endswith(": 550 5.7.8 what is ***?")


@pytest.mark.server
@pytest.mark.parametrize("answer", ["550 \x1b[31mred\x07 and\ttab", "550-one\r\n550 two", f"550 {'long ' * 90}", "550"])
def test_a_reason_is_one_line(smtp: SmtpServer, answer: str) -> None:
    """Whatever a server says, it is printable, on one line, and short."""
    smtp.script(Fault("rcpt", answer))
    result, _ = send(smtp.server())
    assert ("refused", 550) == (result.outcome, result.code)
    assert result.reason.isprintable()
    assert result.reason.startswith("RCPT was answered: 550")
    assert len(result.reason) <= 300


@pytest.mark.server
@pytest.mark.parametrize(
    "recipient", ["", "ann", "ann@b.example\r\nRCPT TO:<eve@c.example>", "Ann <ann@b.example>", "a@b.example>"]
)
def test_what_is_no_address_is_refused_unsent(smtp: SmtpServer, recipient: str) -> None:
    """No server is asked about a recipient that is none."""
    before = smtp.log().count("Peer:")
    result, begun = send(smtp.server(), recipient)
    assert ("refused", None, 0) == (result.outcome, result.code, begun)
    assert result.reason.isprintable()
    assert before == smtp.log().count("Peer:")


@pytest.mark.server
def test_check_goes_all_the_way_but_for_a_message(smtp: SmtpServer) -> None:
    """It connects, secures, logs in, and leaves politely."""
    before = len(smtp.log())
    check(smtp.server())
    said = re.findall(r">> b'(\w+)", smtp.log()[before:])
    assert ["ehlo", "STARTTLS", "ehlo", "AUTH", "noop", "quit"] == said


CLIENT = """
import os, sys
from gd.smtp import Connection, from_environment
server = from_environment(os.environ)
with Connection(server) as connection:
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        content = f"Message-ID: <{number}@a.example>\\r\\n\\r\\n".encode()
        assert connection.send(f"r{number}@b.example", content, lambda: None).outcome == "sent"
"""


@pytest.mark.server
def test_eight_processes_send_five_hundred_messages(smtp: SmtpServer) -> None:
    """What the environment says is enough for eight clients at once, and each message arrives once."""
    began = time.monotonic()
    environment = {**os.environ, **smtp.environment()}
    bounds = [round(500 * part / 8) for part in range(9)]
    clients = [
        subprocess.Popen([sys.executable, "-c", CLIENT, str(start), str(end)], env=environment)
        for start, end in itertools.pairwise(bounds)
    ]
    try:
        assert [0] * 8 == [client.wait(60) for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait(10)
    print(f"500 messages from 8 processes in {time.monotonic() - began:.1f} s, their starts included")
    assert {f"<{number}@a.example>" for number in range(500)} == {
        received.message["Message-ID"] for received in smtp.messages()
    }
    assert 500 == smtp.count()
