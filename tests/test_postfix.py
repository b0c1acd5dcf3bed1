"""The wire against a mail server that the world uses: Debian's Postfix, from a folder of its own, as root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from gd.smtp import Connection, Server, check
from tests.certificates import write_certificates

POSTFIX = Path("/usr/sbin/postfix")
LIMIT = 200_000
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
myhostname = mail.b.example
mydestination =
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
virtual_mailbox_domains = b.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ ann@b.example=ann/ }}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {folder}/server.pem
message_size_limit = {limit}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix."""

    port: int
    inbox: Path
    ca_file: Path


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """Postfix on a free port, with STARTTLS and a mailbox for ann@b.example; CI may not go without it."""
    if not POSTFIX.exists() or os.geteuid() != 0:
        reason = "no Postfix: make postfix (as root)" if not POSTFIX.exists() else "Postfix starts as root only"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="gd-postfix-"))  # pytest's own folder is closed to the users that Postfix runs as
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_certificates(folder)
    for name, owner in (("queue", "root"), ("data", "postfix"), ("mail", "nobody")):
        (folder / name).mkdir()
        shutil.chown(folder / name, owner)
    (folder / "main.cf").write_text(MAIN.format(folder=folder, limit=LIMIT), encoding="utf-8")
    (folder / "master.cf").write_text(MASTER.format(port=port), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([POSTFIX, "-c", folder, "start-fg"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait(lambda: process.poll() is not None or answers(port), "Postfix to listen", folder / "log")
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield Postfix(port, folder / "mail" / "ann" / "new", folder / "ca.pem")
    finally:
        subprocess.run([POSTFIX, "-c", folder, "stop"], check=False, capture_output=True, timeout=20)
        process.wait(20)
        shutil.rmtree(folder)


def answers(port: int) -> bool:
    """Whether something listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait(done: Callable[[], bool], what: str, log: Path) -> None:
    """Wait, but not for ever."""
    until = time.monotonic() + 30
    while not done():
        assert time.monotonic() < until, f"waited 30 s for {what}: {log.read_text(encoding='utf-8')}"
        time.sleep(0.02)


@pytest.mark.server
def test_a_message_goes_through_postfix(postfix: Postfix, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message arrives in the mailbox part for part, with refusals before and after it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(postfix.ca_file))
    server = Server(host="localhost", port=postfix.port, sender="gd reports <reports@a.example>", timeout=20)
    check(server)

    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = "[ok] nightly: 3 of 3 converged"
    message["From"], message["To"], message["Message-ID"] = server.sender, "ann@b.example", "<1@a.example>"
    message.set_content(".\n..\n.dots, größer, " + "and a long line " * 200 + "\n")
    picture = bytes(range(256)) * 100
    message.add_attachment(picture, "image", "png", filename="loss.png")
    content = message.as_bytes()

    with Connection(server) as connection:
        nobody = connection.send("bob@b.example", content, lambda: None)
        elsewhere = connection.send("eve@c.example", content, lambda: None)
        sent = connection.send("ann@b.example", content, lambda: None)
        large = connection.send("ann@b.example", content + b"x\r\n" * LIMIT, lambda: None)
    assert ("refused", 550) == (nobody.outcome, nobody.code)
    assert ("refused", 554) == (elsewhere.outcome, elsewhere.code)
    assert ("sent", 250) == (sent.outcome, sent.code)
    assert ("too-large", 552) == (large.outcome, large.code)

    log = postfix.ca_file.with_name("log")
    wait(lambda: postfix.inbox.exists() and bool(list(postfix.inbox.iterdir())), "the message to be delivered", log)
    [file] = postfix.inbox.iterdir()
    received = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert isinstance(received, EmailMessage)
    assert "<reports@a.example>" == received["Return-Path"]
    assert "(Postfix) with ESMTPS id" in received["Received"]
    assert [(name, message[name]) for name in ("Subject", "From", "To", "Message-ID")] == [
        (name, received[name]) for name in ("Subject", "From", "To", "Message-ID")
    ]
    assert [part.get_content() for part in message.iter_parts()] == [part.get_content() for part in received.iter_parts()]
    [attached] = received.iter_attachments()
    assert picture == attached.get_content()


@pytest.mark.server
def test_postfix_refuses_what_is_not_encrypted(postfix: Postfix) -> None:
    """Asked by name for no encryption, gd is told 530 by a server that wants it: the message waits."""
    server = Server(host="127.0.0.1", port=postfix.port, security="none", sender="reports@a.example", timeout=20)
    with Connection(server) as connection:
        result = connection.send("ann@b.example", b"Subject: x\r\n\r\n", lambda: None)
    assert ("deferred", 530, False) == (result.outcome, result.code, result.connected)
