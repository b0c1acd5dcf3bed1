"""The message: its tree, its headers, its bytes, and who gets it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from gd.mail import Letter, Mailing, compose, headings, notice, refused
from gd.mail.digest import Item
from gd.notation import number, visible
from tests.mails import (
    HOSTILE,
    MOMENT,
    NOW,
    SENDER,
    VERDICTS,
    attachments,
    body,
    digest,
    hostile,
    items,
    letter,
    parsed,
    pictures,
)


@pytest.fixture(scope="module")
def made(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """An item for each verdict."""
    return items(cases, tmp_path_factory.mktemp("failed") / "sales" / "run")


@pytest.fixture(scope="module")
def full(made: dict[str, Item]) -> Letter:
    """A mail over every verdict."""
    return letter(*made.values())


def told(kind: Literal["failed", "crashed", "late", "undelivered"] = "failed", **changed: Any) -> Letter:
    """A notice."""
    lines = ["The run failed: penguins could not be read.", "Look at gd history penguins."]
    given = {"name": "nightly", "key": "n/1", "lines": lines, "sender": SENDER, "moment": MOMENT, "now": NOW, **changed}
    return notice(kind, **given)


def tree(part: Any) -> Any:
    """Content types as nested lists."""
    kind = part.get_content_type()
    return [kind, *(tree(child) for child in part.iter_parts())] if part.is_multipart() else kind


def test_the_tree_is_what_clients_expect(full: Letter, made: dict[str, Item]) -> None:
    """mixed[alternative[text, related[html, pictures]], attachments], whatever there is to show."""
    shown = ["multipart/related", "text/html", *["image/png"] * 4]
    attached = ["text/html", "application/json"] * 5
    assert ["multipart/mixed", ["multipart/alternative", "text/plain", shown], *attached] == tree(parsed(full.content))
    assert full.light is not None
    assert ["multipart/mixed", ["multipart/alternative", "text/plain", shown]] == tree(parsed(full.light))
    alone = parsed(letter(made["failed"]).content)
    bare = ["multipart/alternative", "text/plain", ["multipart/related", "text/html"]]
    assert ["multipart/mixed", bare, "text/html", "application/json"] == tree(alone)


def test_headers_say_who_what_and_that_nobody_typed_it(made: dict[str, Item]) -> None:
    """Date, From, Reply-To where set, Subject, List-ID, and what keeps answering machines quiet; no recipient yet."""
    sent = parsed(compose(digest(made["converged"]), sender=SENDER, reply_to="team@a.example", now=NOW).content)
    assert NOW == parsedate_to_datetime(sent["Date"])
    assert "gd reports <reports@a.example>" == sent["From"]
    assert "team@a.example" == sent["Reply-To"]
    assert "[ok] nightly: 1 of 1 converged, 22 Nov 2026" == sent["Subject"]
    assert "<nightly.gd.a.example>" == sent["List-ID"]
    assert "auto-generated" == sent["Auto-Submitted"]
    assert "All" == sent["X-Auto-Response-Suppress"]
    assert "1.0" == sent["MIME-Version"]
    assert not {"To", "Cc", "Message-ID"} & set(sent.keys())
    assert "Reply-To" not in parsed(letter(made["converged"]).content)
    assert len(sent.keys()) == len({name.lower() for name in sent})


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_message_says_what_run_json_says(verdict: str, made: dict[str, Item]) -> None:
    """Parsed back by Python's own parser: loss, weights and epochs of the attached record stand in both parts."""
    sent = parsed(letter(made[verdict]).content)
    (name,) = [name for name in attachments(sent) if name.endswith("run.json")]
    record = json.loads(attachments(sent)[name])
    assert verdict == record["verdict"]
    text, page = body(sent, "plain"), body(sent, "html")
    for fit in record["fits"]:
        assert f"{fit['epochs']:,}" in page
        if fit["loss"] is not None:
            assert number(fit["loss"], keep_zeros=True) in page
            assert number(fit["loss"], plain=True) in text
        for feature, weight in fit["weights"].items():
            assert feature in page
            assert number(weight, keep_zeros=True) in page
            assert verdict == "diverged" or f"{number(abs(weight), plain=True)} * {feature}" in " ".join(text.split())
    if verdict == "failed":
        assert record["error"]["message"] in " ".join(text.split())


def test_every_byte_is_fit_for_the_oldest_server(full: Letter, made: dict[str, Item]) -> None:
    """Seven bits, CRLF alone, no line over 78 characters; and the same for hostile names and notices."""
    wild = compose(digest(hostile(made["diverged"]), name=HOSTILE), sender=SENDER, reply_to=None, now=NOW)
    for content in (full.content, full.light, wild.content, told(lines=[HOSTILE, "ü" * 300]).content):
        assert content is not None
        assert content.isascii()
        assert content.endswith(b"\r\n")
        assert b"\n" not in content.replace(b"\r\n", b"")
        assert b"\r" not in content.replace(b"\r\n", b"")
        assert max(map(len, content.split(b"\r\n"))) <= 78


def test_the_same_arguments_make_the_same_bytes(full: Letter, made: dict[str, Item]) -> None:
    """Boundaries, Content-IDs, pictures and archives are the same each time; another key makes other ones."""
    again = letter(*made.values())
    assert (full.content, full.light) == (again.content, again.light)
    other = letter(*made.values(), key="nightly/2026-11-23T01:00:00Z")
    assert set() == set(pictures(parsed(full.content))) & set(pictures(parsed(other.content)))
    assert told().content == told().content


def test_headings_make_a_whole_message(full: Letter) -> None:
    """Each recipient has a message of its own and sees no other."""
    made = headings(full, ["a@b.example", "c@d.example"], [], SENDER)
    assert ["a@b.example", "c@d.example"] == list(made)
    sent = [parsed(heading + full.content) for heading in made.values()]
    assert ["a@b.example", "c@d.example"] == [message["To"] for message in sent]
    assert [None, None] == [message["Cc"] for message in sent]
    assert all(re.fullmatch(r"<[0-9a-f]{32}@a\.example>", message["Message-ID"]) for message in sent)
    assert sent[0]["Message-ID"] != sent[1]["Message-ID"]
    assert [] == sent[0].defects
    assert body(parsed(full.content), "html") == body(sent[0], "html")
    assert made == headings(full, ["a@b.example", "c@d.example"], [], SENDER)


def test_a_copy_is_one_message_for_all(full: Letter) -> None:
    """With cc every reader sees everybody, and all copies carry one Message-ID."""
    many = [f"reader{j}@department.a-long-company-name.example" for j in range(40)]
    made = headings(full, many, ["boss@b.example", "ceo@b.example"], SENDER)
    assert [*many, "boss@b.example", "ceo@b.example"] == list(made)
    assert 1 == len(set(made.values()))
    sent = parsed(made["boss@b.example"] + full.content)
    assert many == [found.addr_spec for found in sent["To"].addresses]
    assert "boss@b.example, ceo@b.example" == sent["Cc"]
    assert max(map(len, made["boss@b.example"].split(b"\r\n"))) <= 78
    alone = headings(full, [], ["boss@b.example"], SENDER)
    assert "To" not in parsed(alone["boss@b.example"] + full.content)


def test_a_message_id_follows_from_key_and_recipients(full: Letter, made: dict[str, Item]) -> None:
    """Not from the content: what is rendered again is known for the same."""
    same = letter(made["failed"])
    other = letter(made["failed"], key="another")
    ids = [headings(each, ["a@b.example"], [], SENDER)["a@b.example"] for each in (full, same, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("reports@a.example", ""),
        ('"Reports, nightly" <reports@a.example>', "Reports, nightly"),
        ('"Größe, Ö & Co." <reports@a.example>', "Größe, Ö & Co."),
        ("Berichte für die Abteilung für maschinelles Lernen und noch viel mehr <reports@a.example>", None),
    ],
)
def test_a_senders_name_survives(sender: str, name: str | None, made: dict[str, Item]) -> None:
    """Commas and umlauts together are one name of one address."""
    sent = parsed(compose(digest(made["failed"]), sender=sender, reply_to=None, now=NOW).content)
    (found,) = sent["From"].addresses
    assert "reports@a.example" == found.addr_spec
    assert found.display_name == name or (name is None and found.display_name.startswith("Berichte für"))


def test_a_long_domain_keeps_the_list_id_readable(made: dict[str, Item]) -> None:
    """Python would fold it into encoded words, which no client reads."""
    domain = ".".join(["machine-learning-department"] * 4 + ["example"])
    sender = f"reports@{domain}"
    content = compose(digest(made["failed"], name="Straße der Nacht"), sender=sender, reply_to=None, now=NOW).content
    assert f"List-ID: <stra-e-der-nacht.gd.{domain}>\r\n".encode() in content
    heading = headings(letter(made["failed"]), ["a@b.example"], [], sender)["a@b.example"]
    assert f"@{domain}>\r\n".encode() in heading


@pytest.mark.parametrize(
    "broken", ["x\r\nBcc: thief@b.example", "x\nBcc: thief@b.example", "x\rBcc: thief@b.example", "x\x00y"]
)
def test_no_part_of_a_header_can_begin_another(broken: str, made: dict[str, Item]) -> None:
    """A line break in an address is refused; in a name it is written out, and no header comes of it."""
    one = letter(made["failed"])
    for refuse in (
        lambda: compose(digest(made["failed"]), sender=f"{broken} <a@b.example>", reply_to=None, now=NOW),
        lambda: compose(digest(made["failed"]), sender=f"a@b.example{broken}", reply_to=None, now=NOW),
        lambda: compose(digest(made["failed"]), sender=SENDER, reply_to=f"a@b.example{broken}", now=NOW),
        lambda: headings(one, [f"a@b.example{broken}"], [], SENDER),
        lambda: headings(one, ["a@b.example"], [f"a@b.example{broken}"], SENDER),
        lambda: headings(one, ["a@b.example"], [], f"a@b.example{broken}"),
        lambda: told(sender=f"a@b.example{broken}"),
        lambda: Mailing(to=(f"a@b.example{broken}",)),
        lambda: Mailing(reply_to=f"a@b.example{broken}"),
    ):
        with pytest.raises(ValueError, match=r"line break|no e-mail address"):
            refuse()
    item = made["failed"]
    record = item.record.model_copy(update={"dataset": item.record.dataset.model_copy(update={"name": broken})})
    for sent in (
        letter(item, name=broken),
        letter(item, key=broken),
        letter(Item(record, None, item.folder)),
        told(name=broken),
        told(key=broken),
        told(lines=[broken, broken]),
    ):
        assert "Bcc" not in parsed(sent.content)
        assert b"\nBcc" not in sent.content.split(b"\r\n\r\n")[0]
        assert sent.subject.isprintable()


@pytest.mark.parametrize("name", ["=?utf-8?q?=0D=0ABcc:_x?=", "ночной прогон", "n" * 300, "long words " * 20])
def test_a_name_reads_as_it_was_written(name: str, made: dict[str, Item]) -> None:
    """Encoded where it has to be, also where it looks as if it were encoded already; the subject begins on its first line."""
    sent = letter(made["failed"], name=name)
    message = parsed(sent.content)
    assert sent.subject == message["Subject"]
    assert visible(name, 40) in sent.subject
    assert re.search(rb"^Subject: \S", sent.content, re.MULTILINE)
    if "=?" not in name:
        named = compose(digest(made["failed"]), sender=f'"{name[:40]}" <a@b.example>', reply_to=None, now=NOW)
        assert name[:40].strip() == parsed(named.content)["From"].addresses[0].display_name.strip()


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "nobody",
        "a@b.example, c@d.example",
        "gd <>",
        "<a@b.example",
        "a@b.example (comment",
        "=?utf-8?q?=0D=0ABcc:_x?= <a@b.example>",
    ],
)
def test_a_sender_that_is_none_is_refused(sender: str, made: dict[str, Item]) -> None:
    """In words, and before anything is drawn."""
    with pytest.raises(ValueError, match=r"is not one address|is no e-mail address"):
        compose(digest(made["failed"]), sender=sender, reply_to=None, now=NOW)


def test_recipients_outside_the_allow_list() -> None:
    """The domain itself and its subdomains are inside, whatever their case; a longer name that ends alike is not."""
    given = ["a@b.example", "a@x.B.Example", "a@evil-b.example", "a@b.example.org", "a@c.example"]
    assert ["a@evil-b.example", "a@b.example.org", "a@c.example"] == refused(given, ["B.example"])
    assert ["a@evil-b.example", "a@b.example.org"] == refused(given, ["@b.example", " c.example"])
    assert [] == refused(given, [])
    assert given == refused(given, [""])


def test_mailing_keeps_each_address_once() -> None:
    """The first of two spellings counts, and who gets the report needs no copy."""
    mailing = Mailing(to=("a@B.example", "A@b.example", "c@d.example"), cc=("c@d.example", "e@f.example", "E@f.example"))
    assert ("a@b.example", "c@d.example") == mailing.to
    assert ("e@f.example",) == mailing.cc
    assert (("o@p.example",), "q@r.example") == (
        Mailing(owners=("o@p.example", "o@p.example"), reply_to="q@r.example").owners, Mailing(reply_to="q@r.example").reply_to,
    )  # fmt: skip
    assert Mailing() == Mailing(to=(), cc=(), owners=(), reply_to=None)
    assert mailing == Mailing.model_validate_json(mailing.model_dump_json())


@pytest.mark.parametrize("wrong", ["nobody", "a b@c.example", "A <a@b.example>", "ü@b.example", "a@b.example, c@d.example"])
def test_mailing_refuses_what_is_no_address(wrong: str) -> None:
    """In words that name it, for every field."""
    for field in ("to", "cc", "owners"):
        with pytest.raises(ValidationError, match="is no e-mail address"):
            Mailing.model_validate({field: [wrong]})
    with pytest.raises(ValidationError, match="is no e-mail address"):
        Mailing(reply_to=wrong)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Mailing.model_validate({"bcc": ["a@b.example"]})


def test_mailing_is_fit_for_a_form() -> None:
    """Prefect's page shows a description beside each field: lists of words, and one word or none."""
    fields = Mailing.model_json_schema()["properties"]
    assert ["to", "cc", "owners", "reply_to"] == list(fields)
    for name, field in fields.items():
        assert field["description"].endswith(".")
        assert name == "reply_to" or ("array", {"type": "string"}, []) == (field["type"], field["items"], field["default"])
    assert [{"type": "string"}, {"type": "null"}] == fields["reply_to"]["anyOf"]


@pytest.mark.parametrize("kind", ["failed", "crashed", "late", "undelivered"])
def test_a_notice_is_plain(kind: Literal["failed", "crashed", "late", "undelivered"]) -> None:
    """What happened stands in the subject; the text tells it, and why its reader gets it; there is nothing to leave out."""
    sent = told(kind)
    message = parsed(sent.content)
    assert f"[{kind}] nightly: The run failed: penguins could not be read, 22 Nov 2026" == message["Subject"] == sent.subject
    assert "text/plain" == tree(message)
    assert sent.light is None
    assert "n/1" == sent.key
    assert (
        "The run failed: penguins could not be read.\n\nLook at gd history penguins.\n\n-- \n"
        "gd, on behalf of nightly, 22 Nov 2026. You get this as one of its\n"
        "owners; readers of the reports do not.\n"
    ) == body(message, "plain")
    assert ("auto-generated", "<nightly.gd.a.example>") == (message["Auto-Submitted"], message["List-ID"])
    assert datetime(2026, 11, 22, 1, 4, 7, tzinfo=UTC) == parsedate_to_datetime(message["Date"])


def test_a_notice_stays_readable_whatever_it_is_told() -> None:
    """A long first line is shortened in the subject alone, each line is a paragraph, and none at all is no error."""
    long = "word " * 100
    sent = told(lines=[long, "one\r\ntwo\n\nthree"], zone="Asia/Tokyo", moment=datetime(2026, 11, 22, 20, tzinfo=UTC))
    assert len(sent.subject) < 130
    assert sent.subject.endswith(", 23 Nov 2026")
    text = body(parsed(sent.content), "plain")
    assert "\n\none\n\ntwo\n\nthree\n\n" in text
    assert " ".join(text.split()).startswith(long.strip())
    assert "[late] nightly: late, 22 Nov 2026" == told("late", lines=[]).subject
