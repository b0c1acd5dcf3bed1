"""One message to one recipient over SMTP, and a plain word for what became of it."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from gd.notation import visible
from gd.smtp.server import Server, address

__all__ = ["Connection", "Outcome", "Result", "SmtpError", "check"]

Outcome = Literal["sent", "deferred", "refused", "too-large", "unknown"]

_CHUNK = 1 << 16  # sendall's time-out is for all that it is given: in pieces, a slow line is not a dead one
_LOG_IN = {530, 534, 535, 538}  # the server wants a login, another one, or encryption
_TOO_LARGE = re.compile(rb"5\.(3\.4|2\.3)\b")  # what some servers say with 554 instead of 552


class SmtpError(Exception):
    """No connection that mail can be sent over; the message is one printable sentence without the password."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message for one recipient."""

    outcome: Outcome
    code: int | None  # of the server's answer; None where there was none
    reason: str  # one printable line of at most 300 characters, fit for logs
    connected: bool  # False where no connection came about, so that no other message would fare better


class Connection:
    """A connection that is made at the first message, and again after it was lost; one recipient a transaction.

    A message counts as undelivered up to the final dot and as `unknown` from there until the server's answer.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Say good-bye where there is a connection."""
        if self._smtp is not None:
            _quit(self._smtp)
            self._smtp = None

    def send(self, recipient: str, content: bytes, before_data: Callable[[], None]) -> Result:
        """Send one message; whatever the server does becomes a Result.

        Args:
            recipient: a bare address.
            content: the whole message; line ends become CRLF, dots are stuffed here.
            before_data: called when the server waits for the content, before its first byte. What it raises is raised, and
                then nothing was sent.
        """
        try:
            to = address(recipient)
        except ValueError as error:
            return Result("refused", None, visible(str(error), 300), True)
        lines = re.sub(rb"\r(?!\n)|(?<!\r)\n", b"\r\n", content)
        lines += b"" if lines.endswith(b"\r\n") else b"\r\n"
        try:
            reused = self._smtp is not None
            failure = self._begin(to, lines)
            if failure is not None and reused and self._smtp is None:  # hung up between two messages: nothing had begun
                failure = self._begin(to, lines)
            return failure or self._data(lines, before_data)
        except BaseException:
            self._drop()
            raise

    def _begin(self, recipient: str, lines: bytes) -> Result | None:
        """From the connection to the accepted recipient; None when the content may follow."""
        try:
            if self._smtp is None:
                self._smtp = _open(self._server)
            for verb, argument in (("MAIL", self._from(lines)), ("RCPT", f"TO:<{recipient}>")):
                code, text = self._smtp.docmd(verb, argument)
                if code // 100 != 2:
                    return self._answered(verb, code, text)
        except SmtpError as error:
            return Result("deferred", error.code, str(error), False)
        except smtplib.SMTPException as error:
            return self._lost("deferred", "before the content was sent", error)
        return None

    def _from(self, lines: bytes) -> str:
        """MAIL's argument, with what the server said that it understands."""
        assert self._smtp is not None
        size = f" SIZE={len(lines)}" if self._smtp.has_extn("size") else ""
        body = " BODY=8BITMIME" if self._smtp.has_extn("8bitmime") and not lines.isascii() else ""
        return f"FROM:<{self._server.envelope}>{size}{body}"

    def _data(self, lines: bytes, before_data: Callable[[], None]) -> Result:
        assert self._smtp is not None
        smtp = self._smtp
        try:
            code, text = smtp.docmd("DATA")
        except smtplib.SMTPException as error:
            return self._lost("deferred", "before the content was sent", error)
        if code != 354:
            return self._answered("DATA", code, text)
        before_data()
        stuffed = re.sub(rb"(?m)^\.", b"..", lines)
        try:
            for start in range(0, len(stuffed), _CHUNK):
                smtp.send(stuffed[start : start + _CHUNK])
        except smtplib.SMTPException as error:
            return self._lost("deferred", "within the content", error)
        try:
            smtp.send(b".\r\n")
            code, text = smtp.getreply()
        except smtplib.SMTPException as error:
            return self._lost("unknown", "after the content, before the server's answer", error)
        if code // 100 == 2:
            return Result("sent", code, self._reason("accepted", code, text), True)
        if code // 100 in {4, 5}:
            return self._answered("the content", code, text)
        self._drop()
        return Result("unknown", None, self._reason("the content was answered", None, text), True)

    def _answered(self, verb: str, code: int, text: bytes) -> Result:
        """The server said no, now or for good."""
        known = code if code // 100 in {4, 5} else None  # anything else is no answer to this command
        outcome: Outcome = "deferred"
        if code == 552 or (code // 100 == 5 and _TOO_LARGE.match(text)):
            outcome = "too-large"
        elif code // 100 == 5 and code not in _LOG_IN:
            outcome = "refused"
        if code == 421 or code in _LOG_IN or known is None or not self._reset():
            self._drop()
        return Result(outcome, known, self._reason(f"{verb} was answered", code, text), code not in _LOG_IN)

    def _lost(self, outcome: Outcome, where: str, error: Exception) -> Result:
        self._drop()
        return Result(outcome, None, f"{_lost(error, self._server)} {where}", True)

    def _reason(self, said: str, code: int | None, text: bytes) -> str:
        return _reason(self._server, said, code, text)

    def _reset(self) -> bool:
        """End the transaction, so that the next one can begin."""
        assert self._smtp is not None
        try:
            return self._smtp.rset()[0] == 250
        except smtplib.SMTPException:
            return False

    def _drop(self) -> None:
        if self._smtp is not None:
            _close(self._smtp)
            self._smtp = None


def check(server: Server) -> None:
    """Connect, secure, log in, NOOP, QUIT: everything but a message.

    Raises:
        SmtpError: one sentence on what did not work.
    """
    smtp = _open(server)
    try:
        code, text = smtp.noop()
    except smtplib.SMTPException as error:
        raise SmtpError(f"{_lost(error, server)} at NOOP") from None
    finally:
        _quit(smtp)
    if code // 100 != 2:
        raise _answer(server, "refused NOOP", code, text)


def _open(server: Server) -> smtplib.SMTP:
    """A connection that is greeted, secured and logged in."""
    smtp: smtplib.SMTP | None = None
    try:
        context = ssl.create_default_context()
        name = socket.gethostname()  # smtplib asks the DNS for a better one, which no time-out bounds
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=server.timeout, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, timeout=server.timeout)
        if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name):
            smtp.local_hostname = _literal(smtp)
        smtp.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            _secure(smtp, server, context)
            smtp.ehlo_or_helo_if_needed()
        _log_in(smtp, server)
    except BaseException as error:
        if smtp is not None:
            _close(smtp)
        if isinstance(error, OSError | UnicodeError):  # smtplib's errors are OSErrors too
            raise _trouble(error, server, greeted=smtp is not None) from None
        raise
    return smtp


def _secure(smtp: smtplib.SMTP, server: Server, context: ssl.SSLContext) -> None:
    if not smtp.has_extn("starttls"):
        raise SmtpError(_at(server, "offers no STARTTLS, so nothing is sent: check the port, or ask for tls or none by name"))
    try:
        smtp.starttls(context=context)
    except smtplib.SMTPResponseException as error:
        raise _answer(server, "refused STARTTLS", error.smtp_code, error.smtp_error) from None


def _literal(smtp: smtplib.SMTP) -> str:
    """This machine's address as SMTP writes it, for a machine without a full name."""
    assert smtp.sock is not None
    own = ipaddress.ip_address(smtp.sock.getsockname()[0].partition("%")[0])
    return f"[{own}]" if own.version == 4 else f"[IPv6:{own}]"


def _log_in(smtp: smtplib.SMTP, server: Server) -> None:
    """AUTH PLAIN or LOGIN, in UTF-8: smtplib's own login knows ASCII alone, and puts the password into the error."""
    if server.user is None or server.password is None:
        return
    user, password = server.user, server.password.get_secret_value()
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in offered:
        code, text = smtp.docmd("AUTH", f"PLAIN {_plain(user, password)}")
    elif "LOGIN" in offered:
        code, text = smtp.docmd("AUTH", "LOGIN")
        for secret in (user, password):
            if code == 334:
                code, text = smtp.docmd(_encoded(secret))
    else:
        others = f"only {visible(' '.join(offered))}" if offered else "no login here"
        raise SmtpError(_at(server, f"offers {others}; this program logs in with PLAIN or LOGIN"))
    if code // 100 != 2:
        raise _answer(server, "refused the login", code, text)


def _trouble(error: Exception, server: Server, greeted: bool) -> SmtpError:
    """Why there is no connection, in one sentence."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(server, "does not serve", error.smtp_code, error.smtp_error)
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"has a certificate that cannot be trusted: {visible(error.verify_message, 120)}"
        unknown = error.verify_code in {18, 19, 20, 21}  # OpenSSL's: no way from the certificate to a known authority
        return SmtpError(_at(server, said + (" (SSL_CERT_FILE names a file with one's own authority)" if unknown else "")))
    if isinstance(error, TimeoutError | smtplib.SMTPServerDisconnected):
        late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
        hint = " (is this a port for security 'tls'?)" if late and not greeted and server.security == "starttls" else ""
        return SmtpError(_at(server, f"did not answer within {server.timeout:g} s{hint}" if late else "hung up at once"))
    if isinstance(error, ssl.SSLError):
        hint = " (is this a port for 'starttls'?)" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return SmtpError(_at(server, f"and this machine cannot agree on TLS: {visible(str(error.reason), 80)}{hint}"))
    if isinstance(error, socket.gaierror | UnicodeError):
        return SmtpError(_at(server, f"cannot be found: {visible(getattr(error, 'strerror', None) or 'no host name', 80)}"))
    if isinstance(error, ConnectionRefusedError):
        return SmtpError(_at(server, "refused the connection: nothing listens there"))
    return SmtpError(_at(server, f"cannot be reached: {visible(getattr(error, 'strerror', None) or str(error), 120)}"))


def _answer(server: Server, said: str, code: int, text: bytes | str) -> SmtpError:
    answer = text if isinstance(text, bytes) else text.encode()  # smtplib's own complaint about an answer is a str
    known = code if 400 <= code < 600 else None
    return SmtpError(_reason(server, _at(server, said), known, answer), known)


def _at(server: Server, said: str) -> str:
    return f"the SMTP server {visible(server.host)}:{server.port} {said}"


def _lost(error: Exception, server: Server) -> str:
    if isinstance(error.__context__, TimeoutError):
        return f"the server was silent for {server.timeout:g} s"
    return "the connection was lost"


def _reason(server: Server, said: str, code: int | None, text: bytes) -> str:
    """A server's answer on one line, and the login nowhere in it, even if the server repeats it."""
    answer = " ".join(text.decode("utf-8", "replace").split())
    if server.password is not None:
        password = server.password.get_secret_value()
        for secret in (_plain(server.user or "", password), _encoded(password), password):
            answer = answer.replace(secret, "***")
    return visible(" ".join(filter(None, [f"{said}:", str(code) if code is not None else "", answer])), 300)


def _plain(user: str, password: str) -> str:
    return _encoded(f"\0{user}\0{password}")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _quit(smtp: smtplib.SMTP) -> None:
    """Good-bye, without waiting long for the answer: everything is settled."""
    with contextlib.suppress(OSError):
        if smtp.sock is not None:
            smtp.sock.settimeout(min(5.0, float(smtp.timeout)))
            smtp.quit()
    _close(smtp)


def _close(smtp: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError):
        smtp.close()
