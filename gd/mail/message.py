"""The message as bytes: its readers, its headers, its tree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.header import Header
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP, default
from email.utils import format_datetime, formataddr
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from gd.figures import loss_png
from gd.mail.body import fill, page, text
from gd.mail.digest import NAME, Digest, date, sections, subject
from gd.mail.enclosure import Enclosure, File, enclose, files
from gd.notation import visible
from gd.phrases import say
from gd.rendering import environment
from gd.smtp import address

__all__ = ["Address", "Kind", "Letter", "Mailing", "compose", "headings", "notice", "refused"]

HTML_LIMIT = 90_000  # bytes; Gmail cuts HTML after about 102,000
MESSAGE_LIMIT = 10_000_000  # bytes as sent; many servers take no more

_NOTES = 2000  # bytes that the sentences on attachments may take in both bodies

Kind = Literal["failed", "crashed", "late", "undelivered"]
Address = Annotated[str, AfterValidator(address)]


class Mailing(BaseModel):
    """Who hears of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: tuple[Address, ...] = Field(
        default=(),
        description="Addresses that get the report, each a message of its own: they do not see each other.",
    )
    cc: tuple[Address, ...] = Field(
        default=(),
        description="Addresses that get a copy. With one or more here every reader sees all addresses of both lists.",
    )
    owners: tuple[Address, ...] = Field(
        default=(),
        description="Addresses that hear when a run fails, crashes or is late, and when a report cannot be delivered.",
    )
    reply_to: Address | None = Field(
        default=None,
        description="Where answers go; left empty, to the sender.",
    )

    @field_validator("to", "cc", "owners")
    @classmethod
    def _once(cls, addresses: tuple[str, ...], found: ValidationInfo) -> tuple[str, ...]:
        """Each address once, the first spelling of it; one that is in `to` already needs no copy."""
        known = {given.casefold() for given in found.data.get("to", ())} if found.field_name == "cc" else set()
        once = {given.casefold(): given for given in reversed(addresses)}
        return tuple(dict.fromkeys(once[key] for given in addresses if (key := given.casefold()) not in known))


@dataclass(frozen=True, slots=True)
class Letter:
    """One message without what differs between its recipients: see `headings`."""

    key: str
    subject: str
    content: bytes  # every header but To, Cc and Message-ID, and the body; lines end in CRLF
    light: bytes | None  # the same without attachments, for a server that finds them too large; None where there are none
    faults: tuple[str, ...] = ()  # in a user's templates, in whose place ours stand


def compose(
    digest: Digest,
    *,
    sender: str,
    reply_to: str | None,
    now: datetime,
    html_limit: int = HTML_LIMIT,
    message_limit: int = MESSAGE_LIMIT,
) -> Letter:
    """The one message of a run: mixed[alternative[text, related[html, pictures]], attachments].

    What is too much goes in this order: details and rows of the best verdicts from the HTML; then the reports are gzipped,
    those of the best verdicts left out and named with their place, and last the pictures. Each is said in both parts.

    Args:
        digest: of the run.
        sender: the From header, an address with or without a name.
        reply_to: where answers go.
        now: the time in the Date header.
        html_limit: bytes of the HTML part at most.
        message_limit: bytes of the whole message at most.

    Raises:
        ValueError: if an address is none.
    """
    with digest.look.applied() as used:
        letter = _composed(digest, _Envelope(digest.name, digest.key, sender, reply_to, now), html_limit, message_limit)
    return replace(letter, faults=tuple(used.faults))


def _composed(digest: Digest, envelope: _Envelope, html_limit: int, message_limit: int) -> Letter:
    found, all_told = files(digest), sections(digest)
    drawn: dict[int, bytes] = {}

    def built(enclosure: Enclosure, pictures: int) -> bytes:
        told = [
            replace(section, attached=tuple(file.name for file in group))
            for section, group in zip(all_told, enclosure.files, strict=True)
        ]
        notes = [*enclosure.notes, *([say("mail.enclosed.no_pictures")] if pictures < len(told) else [])]
        shown = page(digest, told, notes, limit=html_limit, pictures=pictures, cid=envelope.cid)
        for place, section in enumerate(told[: min(shown.details, pictures)]):
            if section.picture is not None and section.item.log is not None and place not in drawn:
                drawn[place] = loss_png(section.item.record, section.item.log)
        images = {place: drawn[place] for place in range(min(shown.details, pictures)) if place in drawn}
        return envelope.message(subject(digest), text(digest, told, notes), shown.html, images, enclosure.files)

    why = say("mail.enclosed.too_large", where=digest.where) if any(found) else ""
    alone, pictures = Enclosure([() for _ in found], (why,) if why else ()), len(found)
    while (excess := len(light := built(alone, pictures)) + _NOTES - message_limit) > 0 and pictures:
        while excess > 0 and pictures:
            pictures -= 1
            excess -= len(drawn.get(pictures, b"")) * 4 // 3
    if not why:
        return Letter(digest.key, subject(digest), light, None)
    enclosure = enclose(found, message_limit - _NOTES - len(light), message_limit, digest.where)
    return Letter(digest.key, subject(digest), built(enclosure, pictures), light)


def notice(
    kind: Kind,
    name: str,
    key: str,
    lines: Sequence[str],
    *,
    sender: str,
    moment: datetime,
    zone: str = "UTC",
    now: datetime,
) -> Letter:
    """A plain-text message to the owners of a deployment.

    Args:
        kind: what happened; the first word of the subject.
        name: of the deployment.
        key: the same for the same cause.
        lines: what to say; the first one, short, stands in the subject too.
        sender: the From header.
        moment: when it happened.
        zone: in which its date is written.
        now: the time in the Date header.
    """
    paragraphs = [visible(line, 2000) for given in lines for line in given.splitlines() if line.strip()]
    first = visible((paragraphs or [kind])[0], 70).rstrip(".")
    shown = visible(name, NAME)
    words = (
        environment()
        .get_template("notice.txt.j2")
        .render(kind=kind, name=shown, lines=paragraphs, date=date(moment, zone), fill=fill)
    )
    title = f"[{kind}] {shown}: {first}, {date(moment, zone)}"
    return Letter(key, title, _Envelope(name, key, sender, None, now).plain(title, words), None)


def refused(recipients: Sequence[str], domains: Sequence[str]) -> list[str]:
    """Recipients outside an allow-list of domains.

    Args:
        recipients: bare addresses.
        domains: what may follow the @, its subdomains included; empty allows all.
    """
    allowed = [domain.strip().lstrip("@.").casefold() for domain in domains]
    return [
        recipient
        for recipient in recipients
        if allowed
        and not any(f".{recipient.rpartition('@')[2].casefold()}".endswith(f".{domain}") for domain in allowed if domain)
    ]


def headings(letter: Letter, mailing_to: Sequence[str], cc: Sequence[str], sender: str) -> dict[str, bytes]:
    """To, Cc and Message-ID for each recipient: put before a letter's content they make the whole message.

    Without `cc` each recipient has a message of its own and sees no other; with it all get the same, and see everybody.
    The Message-ID follows from letter and recipients, so that a message that is sent again is known for the same.

    Raises:
        ValueError: if an address is none.
    """
    to, copies = [address(given) for given in mailing_to], [address(given) for given in cc]
    domain = _mailbox(sender).domain
    groups = [([recipient], []) for recipient in to] if not copies else [(to, copies)]
    found: dict[str, bytes] = {}
    for seen, copied in groups:
        name = sha256("\n".join([letter.key, *seen, *copied]).encode()).hexdigest()[:32]
        lines = [f"{header}: " + ",\r\n ".join(many) for header, many in (("To", seen), ("Cc", copied)) if many]
        block = "\r\n".join([*lines, f"Message-ID: <{name}@{domain}>", ""]).encode("ascii")
        found |= dict.fromkeys([*seen, *copied], block)
    return found


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What all messages of a deployment have in common, and how their parts are put together."""

    name: str
    key: str
    sender: str
    reply_to: str | None
    now: datetime

    def cid(self, place: int) -> str:
        """The Content-ID of a section's picture."""
        return f"loss-{place + 1}.{sha256(self.key.encode()).hexdigest()[:16]}@{_mailbox(self.sender).domain}"

    def plain(self, title: str, words: str) -> bytes:
        """A message of one part."""
        message = self._begun()
        message.set_content(words, cte="quoted-printable")
        return self._head(title) + message.as_bytes()

    def message(self, title: str, words: str, html: str, images: dict[int, bytes], files: Sequence[Sequence[File]]) -> bytes:
        """mixed[alternative[text, related[html, images]], files]; the same bytes for the same arguments."""
        seed = sha256(f"{self.key}\n{words}\n{html}".encode()).hexdigest()[:32]  # no text can hold a boundary made from itself
        message = self._begun()
        message.set_content(words, cte="quoted-printable")
        message.make_alternative(boundary=f"gd-{seed}-alternative")
        page = EmailMessage(policy=SMTP)
        page.set_content(html, subtype="html", cte="quoted-printable")
        page.make_related(boundary=f"gd-{seed}-related")
        page.set_param("type", "text/html")
        for place, image in images.items():
            page.add_related(
                image, "image", "png", cid=f"<{self.cid(place)}>", filename=f"loss-{place + 1}.png", disposition="inline"
            )
        message.attach(page)
        message.make_mixed(boundary=f"gd-{seed}-mixed")
        for file in (file for group in files for file in group):
            params = {"charset": "utf-8"} if file.maintype == "text" else None
            message.add_attachment(file.content, file.maintype, file.subtype, filename=file.name, params=params)
        return self._head(title) + message.as_bytes()

    def _head(self, title: str) -> bytes:
        """The headers that Python's folding would spoil: a name loses its quotes, a long List-ID becomes encoded words."""
        sender = _mailbox(self.sender)
        slug = re.sub(r"[^a-z0-9]+", "-", visible(self.name, NAME).lower()).strip("-") or "runs"
        name = visible(sender.display_name, 60)
        lines = [
            f"Subject: {_encoded(title, 'Subject')}",
            f"From: {_encoded(name, 'From')}\n <{sender.addr_spec}>"
            if _foreign(name)
            else f"From: {formataddr((name, sender.addr_spec))}",
            f"List-ID: <{slug}.gd.{sender.domain}>",
        ]
        if self.reply_to is not None:
            lines.append(f"Reply-To: {address(self.reply_to)}")
        return "".join(f"{line}\n" for line in lines).replace("\n", "\r\n").encode("ascii")

    def _begun(self) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["Date"] = format_datetime(self.now)
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        return message


def _foreign(words: str) -> bool:
    """Whether a header has to encode them: letters beyond ASCII, or what would be taken for encoded letters."""
    return not words.isascii() or "=?" in words


def _encoded(words: str, header: str) -> str:
    return Header(words, "utf-8" if _foreign(words) else "us-ascii", header_name=header).encode()


def _mailbox(sender: str) -> Mailbox:
    """The one address of a From header.

    Raises:
        ValueError: if it is none, or more than one.
    """
    if not sender.isprintable():
        raise ValueError(f"'{visible(sender)}' holds a line break or another invisible character")
    try:
        found = default.header_factory("From", sender)
    except ValueError:  # a line break, hidden in encoded words
        found = None
    if found is None or len(found.addresses) != 1 or found.defects:
        raise ValueError(f"'{visible(sender)}' is not one address")
    given = found.addresses[0]
    return Mailbox(given.display_name, addr_spec=address(given.addr_spec))
