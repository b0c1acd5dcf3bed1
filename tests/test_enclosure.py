"""What is attached, and what is said when it is not."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gd.mail import Letter, compose
from gd.mail.digest import Digest, Item
from gd.mail.enclosure import files
from gd.notation import number
from gd.record import Record
from tests.mails import NOW, SENDER, attachments, body, digest, hostile, items, letter, parsed, pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """An item for each verdict."""
    return items(cases, tmp_path_factory.mktemp("failed") / "sales" / "run")


def limited(given: Digest, limit: int) -> Letter:
    """A message that may have so many bytes."""
    return compose(given, sender=SENDER, reply_to=None, now=NOW, message_limit=limit)


def words(content: bytes) -> tuple[str, str]:
    """Both parts on one line each, the HTML with its markup."""
    sent = parsed(content)
    return " ".join(body(sent, "plain").split()), " ".join(body(sent, "html").split())


def test_report_and_record_of_each_are_attached(made: dict[str, Item]) -> None:
    """Byte for byte as they lie in the run's folder, worst verdict first, under the data set's name."""
    expected = {}
    for verdict in ("failed", "disagree", "diverged", "exhausted", "converged"):
        folder, name = made[verdict].folder, made[verdict].record.dataset.name
        assert folder is not None
        expected[f"{name}-report.html"] = (folder / "report.html").read_bytes()
        expected[f"{name}-run.json"] = (folder / "run.json").read_bytes()
    message = parsed(letter(*made.values()).content)
    assert list(expected.items()) == list(attachments(message).items())
    pages = [part for part in message.iter_attachments() if part.get_content_type() == "text/html"]
    assert ["utf-8"] * 5 == [part.get_content_charset() for part in pages]


def test_too_much_is_gzipped_and_that_is_said(made: dict[str, Item]) -> None:
    """The same bytes once unpacked, run.json as it is, the limit kept."""
    full = letter(*made.values())
    sent = limited(digest(*made.values()), len(full.content) - 1)
    assert len(sent.content) < len(full.content)
    before, after = attachments(parsed(full.content)), attachments(parsed(sent.content))
    unpacked = {name.removesuffix(".gz"): gzip.decompress(x) if name.endswith(".gz") else x for name, x in after.items()}
    assert before == unpacked
    assert all(x[4:8] == bytes(4) for name, x in after.items() if name.endswith(".gz"))  # no time: the same bytes each time
    assert {name.removesuffix(".html") + ".html.gz" for name in before if name.endswith("html")} == set(after) - set(before)
    for part in words(sent.content):
        assert "The reports are compressed with gzip, to keep this message under" in part
        assert "penguins-report.html.gz" in part or "converged-report.html.gz" in part


def test_still_too_much_leaves_out_the_best(made: dict[str, Item]) -> None:
    """The worst keep theirs, the place of the others is said in both parts, and the limit is kept."""
    verdicts = ["converged"] * 6 + ["diverged"] * 2
    many = [replace(made[verdict], record=renamed(made[verdict], f"set{j}")) for j, verdict in enumerate(verdicts)]
    light = letter(*many).light
    assert light is not None
    counts = []
    for room in (480_000, 320_000, 160_000):
        limit = len(light) + room
        sent = limited(digest(*many, link="https://reports.a.example"), limit)
        assert len(sent.content) <= limit
        names = list(attachments(parsed(sent.content)))
        counts.append(len(names))
        kept = [f"set{j}" for j in (6, 7, 0, 1, 2, 3, 4, 5)][: len(names) // 2]
        assert [f"{name}-{file}" for name in kept for file in ("report.html.gz", "run.json")] == names
        left = len(many) - len(kept)
        for part in words(sent.content):
            assert f"Attached: the full reports of {len(kept)} of 8 data sets and their run.json." in part
            assert (
                f"Those of {left} data sets are not attached, to keep this message under {number(limit / 1e6)} MB: they are"
                in part
            )
            assert "https://reports.a.example" in part
    assert 16 > counts[0] > counts[1] > counts[2] > 0


def renamed(item: Item, name: str) -> Record:
    """The record under another data set's name."""
    return item.record.model_copy(update={"dataset": item.record.dataset.model_copy(update={"name": name})})


def test_then_there_are_fewer_pictures(made: dict[str, Item]) -> None:
    """Next to nothing attached, the pictures of the worst alone, and both is said."""
    many = [replace(made[verdict], record=renamed(made[verdict], f"{verdict}{j}")) for j in range(2) for verdict in made]
    unlimited = letter(*many)
    assert unlimited.light is not None
    for share in (0.8, 0.5):
        limit = int(share * len(unlimited.light))
        sent = limited(digest(*many), limit)
        assert len(sent.content) <= limit
        assert len(attachments(parsed(sent.content))) <= 4  # those of the failed ones are a few kilobytes
        assert 0 < len(pictures(parsed(sent.content))) < len(pictures(parsed(unlimited.content)))
        for part in words(sent.content):
            assert "Some pictures are left to the full reports" in part
            assert re.search(r"Those of (8|9|10) data sets are not attached", part)


def test_ten_megabytes_are_kept(made: dict[str, Item], tmp_path: Path) -> None:
    """With reports that do not shrink: 30 of half a megabyte each, and names of 80 bytes that are no ASCII."""
    noise = np.random.default_rng(5)
    many = []
    for j in range(30):
        folder = tmp_path / f"set{j}" / "run"
        folder.mkdir(parents=True)
        (folder / "report.html").write_bytes(noise.bytes(500_000))
        (folder / "run.json").write_text("{}")
        many.append(replace(made["converged"], record=renamed(made["converged"], "名" * 24 + str(j)), folder=folder))
    sent = letter(*many)
    assert 9_000_000 < len(sent.content) <= 10_000_000
    assert "to keep this message under 10 MB" in words(sent.content)[0]
    names = list(attachments(parsed(sent.content)))
    assert "名" * 24 + "0-report.html.gz" == names[0]


def test_a_server_that_refuses_the_size_gets_it_without(made: dict[str, Item]) -> None:
    """The light message is the same but for the attachments, and says where they are and why."""
    full = letter(*made.values(), link="https://reports.a.example")
    assert full.light is not None
    light = parsed(full.light)
    assert {} == attachments(light)
    assert pictures(parsed(full.content)) == pictures(light)
    for part in words(full.light):
        assert "The reports are not attached: the mail server refused the message as too large." in part
        assert "They are in https://reports.a.example." in part
        assert "Attached:" not in part
        assert ", attached" not in part
    for header in ("Date", "From", "Subject", "List-ID"):
        assert parsed(full.content)[header] == light[header]


def test_what_cannot_be_read_is_not_promised(made: dict[str, Item], tmp_path: Path) -> None:
    """A run without a folder, and one whose folder is gone: nothing is attached, and nobody is told that it is."""
    lost = replace(made["converged"], folder=None)
    gone = replace(made["diverged"], folder=tmp_path / "gone")
    sent = letter(lost, gone)
    assert {} == attachments(parsed(sent.content))
    assert sent.light is None
    assert not any("ttached" in part for part in words(sent.content))
    some = letter(lost, gone, made["exhausted"])
    assert 2 == len(attachments(parsed(some.content)))
    for part in words(some.content):
        assert "Attached: the full reports of 1 of 3 data sets and their run.json; those of 2 could not be read back." in part


def test_names_of_files_are_harmless_and_differ(made: dict[str, Item]) -> None:
    """Whatever the data sets are called: letters, digits, dots, dashes and underscores, each name once."""
    odd = ["../../etc/passwd", "a/b", "a\\b", "A/B", "...", "a\r\nb", "x" * 300, "größe"]
    found = files(digest(*(replace(made["converged"], record=renamed(made["converged"], name)) for name in odd)))
    names = [file.name for group in found for file in group]
    assert len({name.casefold() for name in names}) == 2 * len(odd)
    assert all(name.replace("-", "").replace(".", "").replace("_", "").isalnum() for name in names)
    assert not any(name.startswith(".") for name in names)
    assert max(map(len, names)) < 90
    sent = parsed(letter(*(replace(made["converged"], record=renamed(made["converged"], name)) for name in odd)).content)
    assert names == list(attachments(sent))


def test_hostile_names_keep_the_message_whole(made: dict[str, Item]) -> None:
    """No attachment's header is broken by the data set's name."""
    sent = parsed(letter(hostile(made["converged"]), hostile(made["disagree"], 2)).content)
    assert 4 == len(attachments(sent))
    assert "Bcc" not in sent
