"""Which server mail leaves by, and what counts as an address: what is refused, and in which words."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gd.smtp import Server, address, from_environment

PASSWORD = "correct/horse=battery"

GOOD = {
    "ann@b.example": "ann@b.example",
    "Ann.O+news@B.Example": "Ann.O+news@b.example",
    "root@localhost": "root@localhost",
    "ops@mail": "ops@mail",
    "ops@mail.local": "ops@mail.local",
    "ops@Mail.Test": "ops@mail.test",
    "ann@münchen.example": "ann@xn--mnchen-3ya.example",
}
BAD = [
    "",
    "ann",
    "@b.example",
    "ann@",
    "ann@b@c.example",
    "ann b@c.example",
    "ann@b.example ",
    "ann@b.example\r\nBcc: eve@c.example",
    "ann@b.example\n",
    "ann\0@b.example",
    "ann@b..example",
    "ann@-b.example",
    "änn@b.example",
    "Ann <ann@b.example>",
    "<ann@b.example>",
    '"ann b"@c.example',
    "ann@[127.0.0.1]",
    "ann@b.example,bob@b.example",
    "\u202eann@b.example",
    "a" * 65 + "@b.example",
    "ann@" + "b" * 250 + ".example",
    "ann@host.invalid",
]


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_an_address(text: str, expected: str) -> None:
    """The domain in ASCII and lower case, the rest as it is."""
    assert expected == address(text)


@pytest.mark.parametrize("text", BAD)
def test_no_address(text: str) -> None:
    """Refused in words, on one printable line; what cannot be seen is named."""
    with pytest.raises(ValueError, match="is no e-mail address: ") as caught:
        address(text)
    assert str(caught.value).isprintable()
    assert ("it holds a line break or another invisible character" in str(caught.value)) != text.isprintable()


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(),
        st.emails(),
        st.builds(lambda *parts: "".join(parts), st.text(max_size=8), st.just("@"), st.text(max_size=20)),
        st.text(st.sampled_from("a.@<>,;:\"'()[] \\\r\n\0-_é。．\u202e%+"), max_size=20),
        st.builds(lambda at, what: "ann@b.example"[:at] + what + "ann@b.example"[at:], st.integers(0, 13), st.characters()),
    )
)
def test_whatever_passes_is_safe_in_a_command(text: str) -> None:
    """For every text: refused on one line, or an address of visible ASCII that passes again unchanged."""
    found, said = "", ""
    try:
        found = address(text)
    except ValueError as error:
        said = str(error)
    assert said.isprintable()
    if not said:
        assert re.fullmatch(r"[!-~]+@[a-z0-9.-]+", found)
        assert not set('<>()[],;:\\"') & set(found)
        assert found == address(found)


FULL = {
    "GD_SMTP_HOST": "smtp.a.example",
    "GD_SMTP_PORT": "2525",
    "GD_SMTP_SECURITY": "tls",
    "GD_SMTP_USER": "nightly",
    "GD_SMTP_PASSWORD": PASSWORD,
    "GD_SMTP_TIMEOUT": "12.5",
    "GD_MAIL_FROM": "gd reports <reports@a.example>",
}


def test_the_environment_says_it_all() -> None:
    """Each variable has its field; the password is in no text that is made of it."""
    server = from_environment(FULL)
    assert server is not None
    assert ("smtp.a.example", 2525, "tls", "nightly", 12.5) == (
        server.host,
        server.port,
        server.security,
        server.user,
        server.timeout,
    )
    assert ("gd reports <reports@a.example>", "reports@a.example") == (server.sender, server.envelope)
    assert server.password is not None
    assert PASSWORD == server.password.get_secret_value()
    assert PASSWORD not in f"{server!r} {server} {server.model_dump()} {server.model_dump_json()}"


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25), ("", 587)])
def test_the_port_follows_from_the_security(security: str, port: int) -> None:
    """Nobody has to know the three numbers; STARTTLS is the default."""
    server = from_environment({"GD_SMTP_HOST": "h", "GD_MAIL_FROM": "a@b.example", "GD_SMTP_SECURITY": security})
    assert server is not None
    assert (security or "starttls", port, 30.0, None, None) == (
        server.security,
        server.port,
        server.timeout,
        server.user,
        server.password,
    )


@pytest.mark.parametrize("environment", [{}, {"GD_SMTP_HOST": ""}, {**FULL, "GD_SMTP_HOST": ""}])
def test_no_host_is_no_server(environment: dict[str, str]) -> None:
    """Without a host, or with an empty one, no mail is sent and nothing else is looked at."""
    assert from_environment(environment) is None


WRONG = [
    ({"GD_SMTP_HOST": "smtp://a.example"}, "GD_SMTP_HOST: 'smtp://a.example' is no host name (a port goes into"),
    ({"GD_SMTP_HOST": "a.example:587"}, "GD_SMTP_HOST: 'a.example:587' is no host name (a port goes into"),
    ({"GD_SMTP_HOST": "a.example\r\nQUIT"}, "GD_SMTP_HOST: 'a.example\\r\\nQUIT' is no host name"),
    ({"GD_SMTP_HOST": "a..b"}, "GD_SMTP_HOST: 'a..b' is no host name"),
    ({"GD_SMTP_PORT": "smtp"}, "GD_SMTP_PORT: 'smtp' does not fit: write a whole number from 1 to 65535"),
    ({"GD_SMTP_PORT": "0"}, "GD_SMTP_PORT: '0' does not fit"),
    ({"GD_SMTP_PORT": "65536"}, "GD_SMTP_PORT: '65536' does not fit"),
    ({"GD_SMTP_SECURITY": "ssl"}, "GD_SMTP_SECURITY: 'ssl' does not fit: write starttls, tls, or"),
    ({"GD_SMTP_TIMEOUT": "soon"}, "GD_SMTP_TIMEOUT: 'soon' does not fit: write seconds"),
    ({"GD_SMTP_TIMEOUT": "0"}, "GD_SMTP_TIMEOUT: '0' does not fit"),
    ({"GD_SMTP_TIMEOUT": "nan"}, "GD_SMTP_TIMEOUT: 'nan' does not fit"),
    ({"GD_SMTP_TIMEOUT": "inf"}, "GD_SMTP_TIMEOUT: 'inf' does not fit"),
    ({"GD_SMTP_USER": ""}, "GD_SMTP_USER and GD_SMTP_PASSWORD belong together"),
    ({"GD_SMTP_PASSWORD": ""}, "GD_SMTP_USER and GD_SMTP_PASSWORD belong together"),
    ({"GD_SMTP_USER": "a\nb"}, "GD_SMTP_USER: 'a\\nb' holds a line break"),
    ({"GD_SMTP_PASSWORD": f"{PASSWORD}\n"}, "GD_SMTP_PASSWORD: the password holds a line break"),
    ({"GD_MAIL_FROM": ""}, "GD_SMTP_HOST is set but GD_MAIL_FROM is not: write the address"),
    ({"GD_MAIL_FROM": "reports"}, "GD_MAIL_FROM: 'reports' is"),
    (
        {"GD_MAIL_FROM": "a@b.example\r\nBcc: eve@c.example"},
        "GD_MAIL_FROM: 'a@b.example\\r\\nBcc: eve@c.example' holds a line break",
    ),
    ({"GD_MAIL_FROM": "a@b.example, c@d.example"}, "GD_MAIL_FROM: 'a@b.example, c@d.example' is not one address"),
    ({"GD_MAIL_FROM": "gd, reports <a@b.example>"}, "GD_MAIL_FROM: 'gd, reports <a@b.example>' is not one address"),
    ({"GD_MAIL_FROM": "gd <a@b c.example>"}, "GD_MAIL_FROM: "),
    ({"GD_MAIL_FROM": "\u202egd <a@b.example>"}, "GD_MAIL_FROM: '\\u202egd <a@b.example>' holds a line break or another"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=lambda it: "" if isinstance(it, str) else repr(it))
def test_a_wrong_variable_is_named(change: dict[str, str], said: str) -> None:
    """One printable sentence: the variable, the value unless it is the password, the remedy."""
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        from_environment({**FULL, **change})
    error = caught.value
    assert str(error).isprintable()
    assert not isinstance(error, ValidationError)
    assert PASSWORD not in f"{error!r} {error.__context__!r} {error.__cause__!r}"


@pytest.mark.parametrize("end", ["", "\n", "\0", "ß"])
@pytest.mark.parametrize("wrong", [{}, {"port": 0}, {"user": None}, {"host": ""}, {"sender": "nobody"}, {"timeout": "soon"}])
def test_no_password_in_a_refusal(end: str, wrong: dict[str, Any]) -> None:
    """Whatever is wrong, the password itself or its neighbour: no word about it repeats the password."""
    settings: dict[str, Any] = {"host": "h", "user": "u", "password": PASSWORD + end, "sender": "a@b.example", **wrong}
    try:
        said = repr(Server(**settings))
    except ValidationError as error:
        said = f"{error} {error!r}"
    assert "Server(" in said or "validation error" in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("a@b.example", "a@b.example"),
        ("<a@b.example>", "a@b.example"),
        ('"gd, nightly" <a@B.example>', '"gd, nightly" <a@b.example>'),
        ("Größe <a@münchen.example>", "Größe <a@xn--mnchen-3ya.example>"),
        ("gd <root@localhost>", "gd <root@localhost>"),
    ],
)
def test_the_sender_is_one_address(sender: str, expected: str) -> None:
    """As it was given, its domain in ASCII, quoted where a header needs it."""
    server = Server(host="h", sender=sender)
    assert expected == server.sender
    assert server.envelope == expected.rpartition("<")[2].rstrip(">")


HOSTILE = st.text(st.sampled_from("ab.@<>,;:\"'()[] \\\r\n-_é%=?\u202e"), max_size=20)


@settings(max_examples=500)
@given(
    st.one_of(
        HOSTILE,
        st.builds("{}<a@b.example>{}".format, HOSTILE, st.sampled_from(["", ">"])),
        st.builds('"{}" <a@b.example>'.format, HOSTILE),
    )
)
def test_a_sender_that_passes_is_one_address_in_a_header(sender: str) -> None:
    """For every text: refused, or Python's `email` writes it and reads back that one address, and nothing else."""
    try:
        server = Server(host="h", sender=sender)
    except ValidationError:
        return
    assert server == Server(host="h", sender=server.sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = server.sender
    header = message_from_bytes(message.as_bytes(), policy=default)
    assert ["From"] == header.keys()
    assert [server.envelope] == [found.addr_spec for found in header["From"].addresses]


def test_a_server_may_be_an_address_or_a_name_of_any_script() -> None:
    """What stands in GD_SMTP_HOST: names, IPv4, IPv6, IDN."""
    hosts = ["smtp", "smtp.a.example", "127.0.0.1", "::1", "mail_1", "münchen.example"]
    expected = ["smtp", "smtp.a.example", "127.0.0.1", "::1", "mail_1", "xn--mnchen-3ya.example"]
    assert expected == [Server(host=host, sender="a@b.example").host for host in hosts]
