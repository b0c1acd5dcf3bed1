"""Names from the data, wherever they leave the process: they are read as text, and do nothing."""

from __future__ import annotations

import csv
import html
import io
import re
import shlex
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.progress import Progress

from flows.progress import TERMINAL, Following, FollowingBytes
from flows.training_report import _free_name, _plain
from gd import archive, mail
from gd.cli.command import main, tell
from gd.data import Source
from gd.mail import Digest, Item
from gd.notation import apart, visible
from gd.record import EpochLog, Record
from gd.recording import command
from gd.settings import Training
from tests.conftest import run_tasks, write_csv
from tests.mails import parsed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a&b;<b>", "&lt;b&gt;", "it's \"q\"", "]]>", "<!--", "{{7*7}}",
    "{% raw %}", "a\nb", "a\r\nBcc: thief@b.example", "a\rb", "t\tab", "\x1b[31mred", "\x1b]0;title\x07", "bell\x07", "\x9b31m",
    "\u202eabc", "ab\u2066c", "zero\u200bwidth", "b\ufeffom", "line\u2028s", "\u3164", "x\ufe0f", "x\u034f", "soft\xadhyphen",
    "=cmd|'/C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1+1", "x;=cmd|'/C calc'!A0", "x\t=1", "x\n=1+1", "x\r=1+1", "x, +1", "x|@y",
    "x;'=1", "x;＝1", "../../etc/passwd", "a/b", "a\\b", "..", "n" * 300, "e\u0301" * 150, "intercept", "epoch", "loss",
    "weight", "numpy_loss", "torch_intercept", "constructor", "__proto__", "CON", "NUL.", "a\u0430", "$x_1^{", "$\\frac{1}{0}$",
    "javascript:alert(1)", "[a](http://b.example)", "https://b.example", "www.b.example", "**bold**", "# head", "%s%n", "`id`",
    "$(id)", "--help", "-x", "שלום", "مرحبا 12", "=?utf-8?q?Bcc?=",
)  # fmt: skip
TABLES = [NAMES[start : start + 12] for start in range(0, len(NAMES), 12)]
UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u115f\u1160\u200b-\u200f\u2028-\u202e\u2060-\u2067\u3164\ufe00-\ufe0f\ufeff]"
)
RUNS = re.compile(r"\s*[=+\-@＝＋－＠]")
CELL = re.compile(r"[^\d.einf+-]")


class Page(NamedTuple):
    """What a browser makes of some HTML."""

    tags: set[str]
    attributes: set[str]
    text: str


class Reader(HTMLParser):
    """Takes HTML apart."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page(set(), set(), "")
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.page.tags.add(tag)
        self.page.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.said.append(data)


def taken_apart(text: str) -> Page:
    """Its elements, their attributes, and its text."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader.page._replace(text="".join(reader.said))


class Run(NamedTuple):
    """A training over a table whose columns have some of the names, and all that it wrote."""

    folder: Path
    record: Record
    log: EpochLog
    page: str
    listed: str
    letter: bytes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """By name; each table's target is called by one of them, and each data set by another."""
    found: dict[str, Run] = {}
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("names")
    for number, names in enumerate(TABLES):
        path = folder / f"{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, quoting=csv.QUOTE_ALL)
            rows.writerow(names)
            rows.writerows(rng.normal(size=(40, len(names))).tolist())
        place = run_tasks(Source(path=str(path), target=names[-1]), Training(epochs=3), folder / "reports", f"t{number}")
        record, log = archive.read_run(place)
        assert log is not None
        named = record.model_copy(update={"dataset": record.dataset.model_copy(update={"name": names[0], "path": names[1]})})
        archive.write_record(place, named, log)
        archive.write_report(place)
        digest = Digest(names[2], names[3], datetime(2026, 11, 23, tzinfo=UTC), [Item(named, log, place)])
        letter = mail.compose(digest, sender="gd <gd@a.example>", reply_to=None, now=datetime(2026, 11, 23, tzinfo=UTC))
        index = archive.write_index(folder / "reports")
        _, again = archive.read_run(place)
        assert again is not None
        page, listed = ((place / "report.html").read_text(encoding="utf-8"), index.read_text(encoding="utf-8"))
        run = Run(place, named, again, page, listed, letter.content)
        found |= dict.fromkeys(names, run)
    return found


def as_read(name: str, run: Run) -> str:
    """A column's name as the reader took it from the header: without blanks around it."""
    data = run.record.dataset
    return next(found for found in (*data.features, data.target) if normalize("NFC", found) == normalize("NFC", name.strip()))


@pytest.mark.parametrize("name", NAMES)
def test_the_report_shows_a_name_and_obeys_none(name: str, runs: dict[str, Run]) -> None:
    """It stands there whole and visible; no element, attribute or address comes from it; the pictures are whole XML."""
    run, plain = runs[name], taken_apart(runs["intercept"].page)
    seen = taken_apart(run.page)
    assert visible(as_read(name, run), 400) in seen.text
    assert not UNSEEN.search(run.page)
    assert seen.tags - {"path"} <= plain.tags | {"pre"}
    assert not any(attribute.startswith("on") for attribute in seen.attributes)
    for drawing in (run.folder / "figures").iterdir():
        text = drawing.read_text(encoding="utf-8")
        assert not UNSEEN.search(text)
        if drawing.suffix == ".csv":
            assert not any(re.match(r"[=+\-@][^\d.]", cell) for row in csv.reader(text.splitlines()) for cell in row)
            continue
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}  # noqa: S314  (our own)
        assert not {"script", "img", "image", "a", "foreignObject"} & tags


def test_a_picture_writes_a_formula_out(tmp_path: Path) -> None:
    """A dollar sign is one, in the axis label and in those of the lines."""
    path = write_csv(tmp_path / "d.csv", np.eye(4)[:, :2], np.arange(4.0), ("$x^2$", "\\frac{1}{2}"))
    path.write_text(path.read_text(encoding="utf-8").replace(",y\n", ",$y$\n"), encoding="utf-8")
    folder = run_tasks(Source(path=str(path), target="$y$"), Training(epochs=3, backends=("numpy",)), tmp_path / "reports")
    weights, loss = ((folder / "figures" / f"{name}.svg").read_text(encoding="utf-8") for name in ("weights", "loss"))
    assert ">$x^2$<" in weights
    assert ">\\frac{1}{2}<" in weights
    assert ">loss, $y$ squared<" in loss


@pytest.mark.parametrize("names", TABLES, ids=range(len(TABLES)))
def test_the_index_shows_a_name_and_obeys_none(names: tuple[str, ...], runs: dict[str, Run]) -> None:
    """The data set is called by one of the names there."""
    seen = taken_apart(runs[names[0]].listed)
    assert visible(names[0]) in seen.text
    assert not UNSEEN.search(runs[names[0]].listed)
    assert not {"script", "img", "b"} & seen.tags


@pytest.mark.parametrize("name", NAMES)
def test_no_spreadsheet_finds_a_formula(name: str, runs: dict[str, Run]) -> None:
    """Whatever it takes for a separator, what begins like one in epochs.csv is a number; all names are read back."""
    run = runs[name]
    text = (run.folder / "epochs.csv").read_text(encoding="utf-8")
    header = next(csv.reader(io.StringIO(text, newline="")))
    assert not [cell for cell in header if RUNS.match(cell)]
    for cell in re.split(r"[\t\r\n;,|]", text):
        assert not (RUNS.match(cell.strip('"')) and CELL.search(cell))
    wanted = as_read(name, run)
    if wanted != run.record.dataset.target:
        assert f"numpy_weight_{wanted}" in run.log.columns
        assert wanted in run.record.fits[0].weights


@given(st.text(st.sampled_from("\t\r\n;,| '=+-@＝ax"), max_size=12))
def test_every_name_comes_back_from_the_header(name: str) -> None:
    """What is put before a formula is taken off again, whatever stands there."""
    written = archive.guarded(name)
    assert name == archive._bare(written)
    assert not re.search(r"[\t\r\n;,|] *[=+\-@＝＋－＠]", written)


@pytest.mark.parametrize("names", TABLES, ids=range(len(TABLES)))
def test_the_mail_shows_names_and_obeys_none(names: tuple[str, ...], runs: dict[str, Run]) -> None:
    """Headers, both bodies and the attachments' names: one subject, one sender, nothing hidden."""
    sent = parsed(runs[names[0]].letter)
    headers = [key for key, _ in sent.items()]
    assert len(headers) == len(set(headers))
    assert "Bcc" not in headers
    assert visible(names[2], 40) in sent["Subject"]
    assert not UNSEEN.search(sent["Subject"])
    for kind in ("plain", "html"):
        body = sent.get_body((kind,))
        assert body is not None
        text = body.get_content().replace("\r\n", "\n").replace("\xa0", " ")
        assert not UNSEEN.search(text)
        assert kind == "plain" or not {"script", "b.example"} & taken_apart(text).tags
    for part in sent.iter_attachments():
        name = part.get_filename()
        assert name is not None
        assert re.fullmatch(r"\w[\w.-]*", name)
        assert len(name.encode()) < 200


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_shows_a_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On a line, without a byte that a terminal obeys."""
    tell("failed", name, "Failed", f"{name}: no.", f"reports/{name}")
    said = capsys.readouterr().err
    assert 2 == said.count("\n")
    assert not UNSEEN.search(said.replace("\n", ""))


@pytest.mark.parametrize("name", NAMES)
def test_progress_shows_a_name(name: str) -> None:
    """The display takes no bracket in it for its own markup."""
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console=console)
    before = TERMINAL.set(progress)
    try:
        with Following(name, "numpy", 10) as following, FollowingBytes(name):
            following(5, 0.5)
            console.print(progress.make_tasks_table(progress.tasks[:1]))
    finally:
        TERMINAL.reset(before)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert visible(name, 50)[:20] in said
    assert not UNSEEN.search(said.replace("\n", ""))


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name(name: str) -> None:
    """On Prefect's page it is text: no element, no link."""
    page = MarkdownIt("commonmark").enable("table").enable("strikethrough").render(f"- **{_plain(name)}** Failed.")
    seen = taken_apart(page)
    assert {"ul", "li", "strong"} == seen.tags
    assert f"{visible(name, 500)} Failed." == seen.text.strip()
    assert not re.search(r"(?<!\\)://|(?<!\\)@|www\.", _plain(name))  # of which other readers of Markdown make links


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_run_can_be_pasted(name: str) -> None:
    """A shell gets path, target and features back whole, none of them looks like an option, and nothing is hidden."""
    said = command(Source(path=f"{name}.csv", target=name, features=(name, "x")), Training())
    assert said == visible(said, 10_000)
    done = subprocess.run(["/bin/bash", "-c", said.replace("gd run", "printf '%s\\0'", 1)], capture_output=True, check=True)
    path, *options = done.stdout.decode().removesuffix("\0").split("\0")
    assert f"{name}.csv" == path.removeprefix("./")
    assert not path.startswith("-")
    words = [word for option in options for word in (option.split("=", 1) if option.startswith("--") else [option])]
    assert ["--target", name, "--features"] == words[:3]
    assert [name, "x"] == next(csv.reader(io.StringIO(words[3], newline="")))


def test_a_name_that_is_visible_is_quoted_as_ever() -> None:
    """By Python's own rules."""
    said = command(Source(path="it's a.csv", target="y"), Training())
    assert ["gd", "run", "it's a.csv", "--target", "y"] == shlex.split(said)


@pytest.mark.parametrize("name", ["שלום", "مرحبا 12"])
def test_names_from_right_to_left_turn_nothing_around_them(name: str) -> None:
    """In a formula they stand apart, so that each number stays beside its own name."""
    assert f"\u2068{name}\u2069" == apart(name)
    assert "price" == apart("price")


def test_files_keep_folders_of_their_own() -> None:
    """Names that differ in case, ending, composition, or in what no folder may be called; none is a device of Windows."""
    files = [
        "a.csv", "A.csv", "a.txt", "a.csv.gz", "é.csv", "e\u0301.csv", "É.csv", "a b.csv", "a-b.csv", "a\nb.csv", "\u3164.csv",
        "\u202e.csv", "data.csv", "CON.csv", "con.csv", "nul.tar.csv", "aux", "COM1.csv", "index.html", "outbox.db.csv",
        "..csv", "...csv", "-.csv", "ß.csv", "ss.csv", "=cmd|calc.csv", f"{'x' * 250}.csv", f"{'x' * 249}y.csv",
    ]  # fmt: skip
    taken: set[str] = set()
    names = [_free_name(f"in/{file}", taken) for file in files]
    assert len(files) == len({name.casefold() for name in names})
    for name in names:
        assert name == visible(name, 200)
        assert len(name.encode()) <= 90
        assert re.fullmatch(r"\w[\w.-]*", name)
        assert not name.endswith(".")
        assert name.partition(".")[0].casefold() not in {"con", "nul", "aux", "prn", "com1"}
    assert "a" == names[0]


@pytest.mark.browser
def test_a_browser_runs_nothing(runs: dict[str, Run], browser: Browser) -> None:
    """Every report and the index: no dialog, no message, no request, no element of a name's making."""
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))  # and it stays open, which no test would survive
        page.on("request", lambda request: asked.append(request.url))
        folders = {run.folder for run in runs.values()}
        addresses = [f"file://{folder}/report.html" for folder in folders]
        addresses.append(f"file://{next(iter(folders)).parent.parent}/index.html")
        for address in addresses:
            page.goto(address, wait_until="load")
            assert 0 == page.locator("script, img, iframe, object, [onerror]").count()
    assert [] == said
    assert addresses == asked


def test_html_of_names_is_escaped_once(runs: dict[str, Run]) -> None:
    """A name that looks escaped is not taken for what it would stand for."""
    assert html.escape("&lt;b&gt;") in runs["&lt;b&gt;"].page


@pytest.mark.parametrize("names", TABLES, ids=range(len(TABLES)))
def test_run_json_hides_nothing(names: tuple[str, ...], runs: dict[str, Run]) -> None:
    """It can be printed on a terminal, as `gd run --json` does, and every name is read back from it."""
    record = runs[names[0]].record
    for indent in (None, 2):
        text = record.to_json(indent=indent)
        assert not UNSEEN.search(text)
        assert record == Record.model_validate_json(text)


@pytest.mark.parametrize(
    "words", [["run", "\x1b[31m.csv"], ["run", "a", "--target", "y", "--features", '"\x9b31m'], ["\u202erun"]]
)
def test_an_error_of_the_command_shows_its_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was typed, or pasted, does nothing on the way back."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert 2 == ended.value.code
    assert not UNSEEN.search("".join(capsys.readouterr()).replace("\n", ""))
