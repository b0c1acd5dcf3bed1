"""The zone of times and the marks of numbers: other signs for the same, on the page, in the mail and in words."""

from __future__ import annotations

import html
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from flows.plan import Parameters
from gd import archive
from gd.cli import main
from gd.data import Source
from gd.history import History, line
from gd.look import Look
from gd.mail import compose
from gd.notation import FORMATS
from gd.overview import Row, render_index, row
from gd.record import Record
from gd.recording import command
from gd.report import Report, render
from gd.settings import Training
from gd.words import sentence
from tests.mails import NOW, SENDER, digest, items

TOKEN = r"\d(?:[\d.,'\N{NARROW NO-BREAK SPACE}]*\d)?"  # a number, without the full stop or comma after it
VERDICTS = ("converged", "exhausted", "diverged", "disagree")


def of_one_run(record: Record) -> Row:
    """A data set's row in the list of all reports, after its first run."""
    return row(History("a", (line(Path("a/b"), record),)), record)


def words_of(page: str) -> str:
    """A page's words, and what is said of its pictures."""
    said = " ".join(re.findall(r'aria-label="([^"]*)"', page))
    return html.unescape(f"{re.sub(r'<style>.*?</style>|<[^>]+>', ' ', page, flags=re.DOTALL)} {said}")


def drawn(folder: Path, look: Look) -> str:
    """A run's page, its pictures among it."""
    with look.applied():
        return render(archive.read(folder, look))


@pytest.fixture(scope="module")
def english(cases: dict[str, Path]) -> dict[str, str]:
    """The words of each verdict's page in the usual look."""
    return {verdict: words_of(drawn(folder, Look())) for verdict, folder in cases.items()}


def same_numbers(english: str, other: str, numbers: str) -> int:
    """Holds every number against its fellow: the same digits, or with the other marks; returns how many have these."""
    decimal, thousands = FORMATS[numbers]
    pairs = list(zip(re.findall(TOKEN, english), re.findall(TOKEN, other), strict=True))
    marked = 0
    for ours, theirs in pairs:
        told = ours.translate({ord("."): decimal, ord(","): thousands})
        assert theirs in {ours, told}
        marked += theirs == told != ours
    return marked


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("numbers", ["de", "fr", "plain"])
def test_every_number_of_the_page_is_the_same_number(
    verdict: str, numbers: str, cases: dict[str, Path], english: dict[str, str]
) -> None:
    """In every format, pictures and their alt texts included; and hundreds of them do have the other marks."""
    usual, other = english[verdict], words_of(drawn(cases[verdict], Look(numbers=numbers)))
    if numbers == "plain":  # only thousands differ
        assert re.findall(TOKEN, usual.replace(",", "")) == re.findall(TOKEN, other.replace(",", ""))
        return
    assert re.sub(TOKEN, "#", usual).replace(";", ",") == re.sub(TOKEN, "#", other).replace(";", ",")
    assert same_numbers(usual, other, numbers) > (50 if verdict == "disagree" else 200)


def test_numbers_that_are_no_reading_stay(cases: dict[str, Path]) -> None:
    """The command, versions and hashes are to be copied; so are options in a sentence."""
    german = drawn(cases["diverged"], Look(numbers="de"))
    record = archive.read_record(cases["diverged"])
    bare = re.sub(r"</?(?:span|b)[^>]*>", "", german)
    assert html.escape(record.run.command).replace("&#x27;", "&#39;") in bare
    assert "--learning-rate 1.5" in record.run.command
    assert "Try --learning-rate 0.25." in bare
    assert "The learning rate 1,5 is above the stable limit 0,492" in german
    for version in record.run.packages.values():
        assert version in german


@pytest.mark.parametrize("numbers", ["de", "fr"])
def test_every_number_of_the_mail_is_the_same_number(numbers: str, cases: dict[str, Path], tmp_path: Path) -> None:
    """In HTML and in plain text, which keeps to ASCII between the names."""
    found = items(cases, tmp_path / "failed").values()

    def parts(look: Look) -> list[str]:
        letter = compose(digest(*found, look=look), sender=SENDER, reply_to=None, now=NOW)
        content = letter.light or letter.content
        message: EmailMessage = message_from_bytes(content, policy=policy.default)
        bodies = [message.get_body((kind,)) for kind in ("html", "plain")]
        return [words_of(body.get_content()) if body is not None else "" for body in bodies]

    (page, text), (other_page, other_text) = parts(Look()), parts(Look(numbers=numbers))
    assert same_numbers(page, other_page, numbers) > 30
    plain = other_text if numbers == "de" else other_text.replace("\N{NARROW NO-BREAK SPACE}", "")
    assert plain == other_text
    assert re.sub(r"[\d.,]+", "#", text).split() == re.sub(r"[\d.,]+", "#", other_text).split()
    assert re.search(r"\d,\d", other_text)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_plain_sentences_are_ascii_in_every_format(verdict: str, reports: dict[str, Report]) -> None:
    """A thousands mark that is a space has no place in a terminal that knows ASCII alone."""
    with Look(numbers="fr").applied():
        assert sentence(reports[verdict].record, plain=True).isascii()


def test_times_stand_in_the_zone_everywhere(cases: dict[str, Path], reports: dict[str, Report], tmp_path: Path) -> None:
    """On the page, in the index, and in the mail, whose own zone is that of its schedule."""
    look = Look(zone="Asia/Kolkata")
    page = drawn(cases["converged"], look)
    assert " UTC" not in page
    assert 4 <= page.count(" IST")
    with look.applied():
        index = render_index([of_one_run(report.record) for report in reports.values()], {})
    assert (4, 0) == (index.count(" IST"), index.count(" UTC"))
    found = items(cases, tmp_path / "failed").values()
    berlin, kolkata = (
        compose(digest(*found, zone="Europe/Berlin", look=look), sender=SENDER, reply_to=None, now=NOW)
        for look in (Look(), look)
    )
    assert b"22 Nov 2026, 02:00 CET" in berlin.content
    assert b"22 Nov 2026, 06:30 IST" in kolkata.content


def test_a_report_is_drawn_again_as_it_was(cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gd render` without an option reads zone and format from run.json; with one it draws so, and run.json stays."""
    for name in ("run.json", "epochs.csv", "fit.csv"):
        (tmp_path / name).write_bytes((cases["exhausted"] / name).read_bytes())
    record = archive.read_record(tmp_path)
    shown = record.report.model_copy(update={"zone": "Europe/Berlin", "numbers": "de"})
    archive.write_record(tmp_path, record.model_copy(update={"report": shown}), None)
    kept = (tmp_path / "run.json").read_bytes()

    def page(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["render", str(tmp_path), *words])
        assert (0, "") == (ended.value.code, capsys.readouterr().err)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    first = page()
    assert "After 1.000 epochs" in first
    assert re.search(r"\d CES?T", first)
    assert re.search(r"\d UTC", page("--zone", "UTC", "--numbers", "en"))
    assert "After 1000 epochs" in page("--numbers", "plain")
    assert re.search(r"\d CES?T", page("--numbers", "plain"))
    assert first == page()
    assert kept == (tmp_path / "run.json").read_bytes()


def test_the_index_is_drawn_as_the_newest_report(cases: dict[str, Path], tmp_path: Path) -> None:
    """Whoever writes it, unless a look is applied around it."""
    run = tmp_path / "a" / "b"
    run.mkdir(parents=True)
    record = archive.read_record(cases["converged"])
    shown = record.report.model_copy(update={"zone": "Asia/Tokyo", "numbers": "de"})
    archive.write_record(run, record.model_copy(update={"report": shown}), None)
    assert "JST" in archive.write_index(tmp_path).read_text(encoding="utf-8")
    with Look().applied():
        assert "JST" not in archive.write_index(tmp_path).read_text(encoding="utf-8")


def test_a_record_without_a_look_is_read(cases: dict[str, Path]) -> None:
    """As all were before there was one; and one from a machine that knows more zones."""
    old = archive.read_record(cases["converged"]).model_dump(by_alias=True, mode="json")
    del old["report"]
    assert Look() == Record.model_validate(old).look()
    other = Record.model_validate(old | {"report": {"zone": "Mars/Olympus", "numbers": "klingon"}})
    with other.look().applied():
        assert sentence(other) == sentence(Record.model_validate(old))


def test_the_command_says_it_again() -> None:
    """Zone and format, so that the same report comes of it; no templates, whose folder is on one machine."""
    source, look = Source(path="a.csv", target="y"), Look(zone="Europe/Berlin", numbers=", ", templates="look")
    assert "gd run a.csv --target y --zone Europe/Berlin --numbers ', '" == command(source, Training(), look)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["--zone", "Mars/Olympus"], "--zone: 'Mars/Olympus' is no time zone: write a name such as Europe/Berlin or UTC."),
        (["--zone", "../etc/passwd"], "--zone: '../etc/passwd' is no time zone"),
        (["--numbers", "english"], "--numbers: 'english' is no format of numbers: name one of en, de, fr, plain, or write"),
        (["--templates", "nowhere"], "--templates: nowhere: no such folder."),
        (["--templates", "empty"], "--templates: empty: holds none of report.html.j2, index.html.j2"),
        (["--templates", "file"], "--templates: file: is no folder."),
    ],
)  # fmt: skip
def test_words_that_are_off(
    line: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Are refused before anything runs, in a line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        main(["run", "a.csv", "--target", "y", *line])
    assert 2 == ended.value.code
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"zone": "Mars/Olympus"}, {"numbers": "english"}])
def test_a_plan_with_an_unknown_look_is_refused(wrong: dict[str, Any]) -> None:
    """Before a service starts that would fail at night."""
    with pytest.raises(ValueError, match="is no "):
        Parameters(sources=[], **wrong)


def test_looks_may_be_nested() -> None:
    """The inner one counts while it lasts."""

    def said() -> str:
        from gd.notation import count  # noqa: PLC0415

        return count(1234)

    with Look(numbers="de").applied():
        with Look(numbers="plain").applied():
            assert "1234" == said()
        assert "1.234" == said()
    assert "1,234" == said()
