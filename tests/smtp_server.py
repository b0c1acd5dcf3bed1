"""A real SMTP server (aiosmtpd) in a process of its own, its faults scripted.

::

    with SmtpServer(tmp_path / "smtp", user="u", password="p", faults=[Fault("rcpt", "550 5.1.1 no", "b@b.example")]) as smtp:
        monkeypatch.setenv("SSL_CERT_FILE", smtp.ca_file)
        ...
        [received] = smtp.messages()

By hand: `python -m tests.smtp_server FOLDER`, with a `settings.json` in that folder; the password stands there and in no
process list. It ends on SIGTERM, and by itself when what started it is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from gd.smtp import Security, Server
from tests.certificates import Certificate, write_certificates

__all__ = ["Fault", "Received", "SmtpServer"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What the server does instead of its work, at one place of the conversation.

    Attributes:
        at: connect (instead of the greeting), starttls, auth, mail, rcpt, data (instead of 354), content (354 was said, and
            a byte of content came: for messages larger than the buffers on the way), dot (the content came whole).
        does: a reply such as "451 4.2.0 later" (only at connect it then hangs up), "stall" (silence), "drop" (hangs up); with
            starttls also "absent" (not offered), with content "slow" (its first 8 MB take 2 s).
        recipient: only for this one; from rcpt on.
        above: only for messages of more bytes; as announced by SIZE, at dot as received.
        stored: at dot, whether the message is kept all the same.
        times: so often, then no more; 0 for always.
    """

    at: Literal["connect", "starttls", "auth", "mail", "rcpt", "data", "content", "dot"]
    does: str
    recipient: str | None = None
    above: int = 0
    stored: bool = False
    times: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """One accepted message."""

    sender: str
    recipients: list[str]
    helo: str
    user: str | None  # who had logged in
    tls: bool
    options: list[str]  # of MAIL, such as SIZE=1234
    port: int  # the client's: the same for two messages over one connection
    message: EmailMessage
    raw: bytes


class SmtpServer:
    """The server as a test has it: starts on entering, ends on leaving, on a free port of 127.0.0.1.

    `stop` and `start` make an outage: the port stays.
    """

    host = "localhost"

    def __init__(
        self,
        folder: Path,
        *,
        security: Security = "starttls",
        user: str | None = None,
        password: str | None = None,
        certificate: Certificate = "valid",
        faults: Sequence[Fault] = (),
        size_limit: int = 33_554_432,
        logins: Sequence[str] = ("PLAIN", "LOGIN"),
    ) -> None:
        self.folder = folder
        self.security: Security = security
        self.user = user
        self._password = password
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, Any] = {"security": security, "user": user, "password": password, "size_limit": size_limit}
        self._settings["logins"] = list(logins)
        (folder / "messages").mkdir(parents=True)
        write_certificates(folder, certificate)
        self.script(*faults)

    @property
    def ca_file(self) -> str:
        """The test's own authority, for SSL_CERT_FILE."""
        return str(self.folder / "ca.pem")

    def server(self, **changes: Any) -> Server:
        """How gd reaches this server."""
        password = changes.pop("password", self._password)
        settings: dict[str, Any] = {"host": self.host, "port": self.port, "security": self.security, "user": self.user}
        settings |= {"password": password, "sender": "gd reports <reports@a.example>", "timeout": 10.0}
        return Server(**(settings | changes))

    def environment(self) -> dict[str, str]:
        """The same as variables for a process."""
        login = {"GD_SMTP_USER": self.user or "", "GD_SMTP_PASSWORD": self._password or ""}
        place = {"GD_SMTP_HOST": self.host, "GD_SMTP_PORT": str(self.port), "GD_SMTP_SECURITY": self.security}
        return {**place, **login, "GD_MAIL_FROM": "gd reports <reports@a.example>", "SSL_CERT_FILE": self.ca_file}

    def script(self, *faults: Fault) -> None:
        """From now on these faults, and no others (whether STARTTLS is offered: from the next connection on)."""
        beside = self.folder / "faults.new"
        beside.write_text(json.dumps([asdict(fault) for fault in faults]), encoding="utf-8")
        beside.replace(self.folder / "faults.json")

    def messages(self) -> list[Received]:
        """What was accepted so far, oldest first."""
        found = []
        for file in sorted((self.folder / "messages").glob("*.eml")):
            envelope = json.loads(file.with_suffix(".json").read_bytes())
            raw = file.read_bytes()
            message = message_from_bytes(raw, policy=policy.default)
            assert isinstance(message, EmailMessage)
            found.append(Received(**envelope, message=message, raw=raw))
        return found

    def count(self) -> int:
        """How many messages were accepted so far."""
        return sum(name.endswith(".eml") for name in os.listdir(self.folder / "messages"))  # noqa: PTH208  (500 of them, often)

    def forget(self) -> None:
        """Drop what was accepted so far."""
        for file in (self.folder / "messages").iterdir():
            file.unlink()

    def log(self) -> str:
        """What clients said to this server, but for their secrets."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    def start(self) -> None:
        """Start, on the port that it had before."""
        (self.folder / "port").unlink(missing_ok=True)
        settings = self.folder / "settings.json"
        settings.touch(0o600)
        settings.write_text(json.dumps({**self._settings, "port": self.port}), encoding="utf-8")
        with (self.folder / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.smtp_server", str(self.folder)]
            root = Path(__file__).parents[1]
            self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=log, stderr=log)
        _wait(lambda: (self.folder / "port").exists() or self._ended(), 30, "the SMTP server to listen")
        assert not self._ended(), self.log()
        self.port = int((self.folder / "port").read_text(encoding="utf-8"))

    def stop(self) -> None:
        """End: connections drop, and new ones are refused."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()


def _wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)


class _Conversation(SMTP):
    """One connection: aiosmtpd's conversation, but for the faults."""

    fired: ClassVar[Counter[tuple[int, Fault]]] = Counter()  # over all connections

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._script = folder / "faults.json"
        if Fault("starttls", "absent") in self._faults()[1]:
            settings["tls_context"] = None
        super().__init__(_Store(folder), **settings)

    def _faults(self) -> tuple[int, list[Fault]]:
        return self._script.stat().st_mtime_ns, [Fault(**fault) for fault in json.loads(self._script.read_bytes())]

    def fault(self, at: str, size: int = 0, recipient: str | None = None) -> Fault | None:
        """The fault that is due here, if there is one."""
        version, faults = self._faults()
        for fault in faults:
            fits = fault.at == at and fault.recipient in {None, recipient} and (not fault.above or size > fault.above)
            if fits and (not fault.times or self.fired[version, fault] < fault.times):
                self.fired[version, fault] += 1
                return fault
        return None

    async def commit(self, fault: Fault) -> None:
        """Do what the fault says; comes back only after a reply that leaves the connection open."""
        assert isinstance(self.transport, asyncio.Transport)
        if fault.does == "drop":
            self.transport.abort()
        elif fault.does != "stall":
            await self.push(fault.does)
            if fault.at != "connect":
                return
            self.transport.close()
        elif fault.at == "content":
            self.transport.pause_reading()
        await asyncio.Event().wait()  # until the end of the connection ends this too

    async def _handle_client(self) -> None:
        if fault := self.fault("connect"):
            await self.commit(fault)
        await super()._handle_client()

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        """STARTTLS, or its fault."""
        if fault := self.fault("starttls"):
            await self.commit(fault)
        else:
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        """AUTH, or its fault."""
        if fault := self.fault("auth"):
            await self.commit(fault)
        else:
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """MAIL, or its fault."""
        announced = re.search(r"SIZE=(\d+)", arg or "")
        self._size = int(announced[1]) if announced else 0
        if fault := self.fault("mail", self._size):
            await self.commit(fault)
        else:
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """RCPT, or its fault."""
        named = re.search(r"<(.*)>", arg or "")
        if fault := self.fault("rcpt", self._size, named[1] if named else None):
            await self.commit(fault)
        else:
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """DATA, or its fault."""
        assert self.envelope is not None
        recipient = self.envelope.rcpt_tos[0] if self.envelope.rcpt_tos else None
        if fault := self.fault("data", self._size, recipient):
            await self.commit(fault)
        elif fault := self.fault("content", self._size, recipient):
            if fault.does == "slow":
                self._slow_down()
                await super().smtp_DATA(arg)
                return
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._reader.read(1)
            await self.commit(fault)
        else:
            await super().smtp_DATA(arg)

    def _slow_down(self) -> None:
        read, seen = self._reader.readuntil, itertools.count()

        async def readuntil(separator: Any = b"\n") -> bytes:
            line = await read(separator)
            if (number := next(seen)) < 160 * 50 and not number % 160:  # lines of 1,000 bytes, in 50 pieces
                await asyncio.sleep(0.04)
            return line

        self._reader.readuntil = readuntil  # type: ignore[method-assign]


class _Store:
    """Where accepted messages go: NAME.eml, and beside it NAME.json with the envelope."""

    number = itertools.count()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "messages"

    async def handle_DATA(self, server: _Conversation, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The content came whole: keep it, unless a fault says otherwise."""
        assert isinstance(envelope.content, bytes)
        fault = server.fault("dot", len(envelope.content), envelope.rcpt_tos[0])
        if fault is None or fault.stored:
            self._keep(server, session, envelope, envelope.content)
        if fault is None:
            return "250 2.0.0 kept"
        if fault.does in {"stall", "drop"}:
            await server.commit(fault)
        return fault.does

    def _keep(self, server: _Conversation, session: Session, envelope: Envelope, content: bytes) -> None:
        assert server.transport is not None
        name = f"{time.time_ns():020d}-{next(self.number):06d}"
        tls = server.transport.get_extra_info("sslcontext") is not None
        facts = {"sender": envelope.mail_from, "recipients": envelope.rcpt_tos, "helo": session.host_name, "tls": tls}
        facts |= {"user": session.auth_data if session.authenticated else None, "options": envelope.mail_options}
        facts["port"] = server.transport.get_extra_info("peername")[1]
        (self._folder / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
        beside = self._folder / f"{name}.new"
        beside.write_bytes(content)
        beside.rename(self._folder / f"{name}.eml")


async def _serve(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_bytes())
    login = (settings["user"], settings["password"])

    def admit(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword) -> AuthResult:
        right = (given.login.decode(), given.password.decode()) == login
        return AuthResult(success=right, handled=False, auth_data=login[0] if right else None)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    starttls = settings["security"] == "starttls"

    def conversation() -> _Conversation:
        return _Conversation(
            folder,
            hostname="mail.b.example",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=login[0] is not None,
            auth_require_tls=starttls,
            authenticator=admit,
            auth_exclude_mechanism={"PLAIN", "LOGIN"}.difference(settings["logins"]),
            data_size_limit=settings["size_limit"],
        )

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, ended.set)
    if not sys.stdin.isatty():
        loop.add_reader(sys.stdin, ended.set)  # what started this process holds the other end, and writes nothing
    secure = context if settings["security"] == "tls" else None
    server = await loop.create_server(conversation, "127.0.0.1", settings["port"], ssl=secure)
    beside = folder / "port.new"
    beside.write_text(str(server.sockets[0].getsockname()[1]), encoding="utf-8")
    beside.rename(folder / "port")
    await ended.wait()
    server.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")  # as insecure as it was told to be
    asyncio.run(_serve(Path(sys.argv[1])))
