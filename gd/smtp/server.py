"""Which server mail leaves by, from the environment or from whoever knows, and what counts as an address."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from email.headerregistry import Address
from typing import Any, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gd.notation import visible

__all__ = ["Security", "Server", "address", "from_environment"]

Security = Literal["starttls", "tls", "none"]

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_INTRANET = (".local", ".localhost", ".test")  # email-validator refuses them: no public mail goes there
_SENDER = re.compile(
    r"""(?:"(?P<quoted>[^"\\<>]*)"|(?P<name>[^"\\<>()\[\]:;@,]*?))\ *<(?P<address>[^<>]*)>|(?P<bare>[^<>,;]*)"""
)
_VARIABLES = {
    "host": ("GD_SMTP_HOST", "write a host name such as smtp.example.org"),
    "port": ("GD_SMTP_PORT", "write a whole number from 1 to 65535, or leave it out for 587 (starttls), 465 (tls), 25 (none)"),
    "security": ("GD_SMTP_SECURITY", "write starttls, tls, or (in a network that you trust) none"),
    "user": ("GD_SMTP_USER", "write the name to log in with"),
    "password": ("GD_SMTP_PASSWORD", "write one line"),
    "timeout": ("GD_SMTP_TIMEOUT", "write seconds, above 0 and at most 600"),
    "sender": ("GD_MAIL_FROM", "write the address that mail comes from, such as gd reports <reports@example.org>"),
}


def address(text: str) -> str:
    """A bare e-mail address, checked, its domain in ASCII; intranet names (root@localhost, ops@mail.local) are allowed.

    Raises:
        ValueError: if it is none: a display name, a line break, a local part beyond ASCII.
    """
    if not text.isprintable():
        raise ValueError(f"'{visible(text)}' is no e-mail address: it holds a line break or another invisible character")
    suffix = ".example" if f".{text.rpartition('@')[2]}".lower().endswith(_INTRANET) else ""
    try:
        found = validate_email(
            text + suffix, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False, strict=True
        )
    except EmailNotValidError as error:
        raise ValueError(f"'{visible(text)}' is no e-mail address: {visible(str(error), 200)}") from None
    return (found.ascii_email or found.normalized).removesuffix(suffix)


class Server(BaseModel):
    """How mail leaves. `sender` is the From header, "reports@a.example" or "gd reports <reports@a.example>"."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str
    security: Security = "starttls"
    port: int = Field(default_factory=lambda known: _PORTS[known.get("security", "starttls")], ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    sender: str
    timeout: float = Field(default=30.0, gt=0, le=600)  # seconds, every operation on a socket

    @property
    def envelope(self) -> str:
        """The address in `sender`: the one that the server is told, and bounces go to."""
        return self.sender.rpartition("<")[2].removesuffix(">")

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(host))
        with contextlib.suppress(UnicodeError):
            name = host.encode("idna").decode()
            if re.fullmatch(r"\w([\w.-]{0,251}\w)?\.?", name, re.ASCII):
                return name
        raise ValueError(f"'{visible(host)}' is no host name (a port goes into the setting of its own)")

    @field_validator("user")
    @classmethod
    def _user(cls, user: str | None) -> str | None:
        if user is not None and not user.isprintable():
            raise ValueError(f"'{visible(user)}' holds a line break or another invisible character")
        return user or None

    @field_validator("password")
    @classmethod
    def _password(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and re.search(r"[\0\r\n]", password.get_secret_value()):
            raise ValueError("the password holds a line break, perhaps the one at the end of the file that it was read from")
        return password if password is not None and password.get_secret_value() else None

    @field_validator("sender")
    @classmethod
    def _sender(cls, sender: str) -> str:
        if not sender.isprintable():
            raise ValueError(f"'{visible(sender)}' holds a line break or another invisible character")
        found = _SENDER.fullmatch(sender)
        if found is None or "=?" in sender:  # an encoded word could hold anything
            raise ValueError(
                f"'{visible(sender)}' is not one address (a name with a comma or the like goes into double quotes)"
            )
        name = " ".join((found["quoted"] or found["name"] or "").split())
        return str(Address(name, addr_spec=address(found["address"] or found["bare"] or "")))

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.user is None) != (self.password is None):
            have, lack = ("user", "password") if self.user else ("password", "user")
            raise ValueError(f"a {have} is given but no {lack}: a login needs both")
        return self


def from_environment(environment: Mapping[str, str]) -> Server | None:
    """The server of GD_SMTP_HOST, _PORT, _SECURITY, _USER, _PASSWORD, _TIMEOUT and GD_MAIL_FROM; empty ones count as unset.

    Returns:
        None where GD_SMTP_HOST is not set: no mail is sent.

    Raises:
        ValueError: one sentence that names the variable and the remedy, never the password.
    """
    given = {name: environment[variable] for name, (variable, _) in _VARIABLES.items() if environment.get(variable)}
    if "host" not in given:
        return None
    settings: dict[str, Any] = dict(given)  # pydantic makes numbers of them, and a secret of the password
    try:
        return Server(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    if not first["loc"]:
        raise ValueError("GD_SMTP_USER and GD_SMTP_PASSWORD belong together: set both, or neither for a server without login")
    name = str(first["loc"][0])
    variable, remedy = _VARIABLES[name]
    if first["type"] == "missing":
        raise ValueError(f"GD_SMTP_HOST is set but {variable} is not: {remedy}")
    said = str(first["ctx"]["error"]) if first["type"] == "value_error" else f"'{visible(given[name])}' does not fit"
    raise ValueError(f"{variable}: {said}: {remedy}")
