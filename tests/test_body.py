"""The HTML and the plain text of a mail."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gd.data import Remark
from gd.figures import loss_png, loss_words
from gd.mail.digest import Item
from gd.notation import number
from gd.words import SYMBOLS, headline, sentence
from tests.mails import VERDICTS, body, hostile, items, letter, parsed, pictures

LIMIT = 90_000


@pytest.fixture(scope="module")
def made(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """An item for each verdict."""
    return items(cases, tmp_path_factory.mktemp("failed") / "sales" / "run")


def words(page: str) -> str:
    """A page's words, its markup removed."""
    inside = page[page.index("<body") :]
    return " ".join(html.unescape(re.sub(r"<!--.*?-->|<[^>]+>", " ", inside, flags=re.DOTALL)).split())


def size(page: str) -> int:
    """Bytes with the line ends of the wire."""
    return len(page.replace("\n", "\r\n").encode())


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_verdict_comes_first(verdict: str, made: dict[str, Item]) -> None:
    """In both parts, before name, date and table: symbol and word, then the sentence."""
    sent = parsed(letter(made[verdict]).content)
    record = made[verdict].record
    page = words(body(sent, "html"))
    said = " ".join(sentence(record).split())
    assert page.startswith(f"{SYMBOLS[verdict]} {headline(record)} {said} nightly · 22 Nov 2026, 02:00 CET · ")
    text = body(sent, "plain")
    assert text.startswith(f"{headline(record)}: nightly, 22 Nov 2026, 02:00 CET, {record.run.trigger} run.\n\n")
    assert " ".join(sentence(record, plain=True).split()) in " ".join(text.split())


def test_a_row_for_each_data_set(made: dict[str, Item]) -> None:
    """Symbol, word and colour of the verdict, name, loss and change; worst first."""
    page = body(parsed(letter(*made.values()).content), "html")
    table = page[page.index("since last run") : page.index("<h2")]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    assert len(VERDICTS) == len(rows)
    for verdict, row in zip(VERDICTS, rows, strict=True):
        record = made[verdict].record
        said = words(f"<body>{row}")
        assert said.startswith(f"{record.dataset.name} {SYMBOLS[verdict]} {headline(record)} ")
        assert re.search(rf'<span class="{verdict}" style="color:\s?#[0-9a-f]{{6}}', row)
        assert said.endswith("no result yet" if verdict == "failed" else "unchanged")
    assert number(made["converged"].record.fits[0].loss) in rows[-1]


def test_the_text_is_worth_reading_alone(made: dict[str, Item]) -> None:
    """For each data set its verdict, its loss, what changed, the fitted equation and where the report is; ASCII, 72 wide."""
    text = body(parsed(letter(*made.values()).content), "plain")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 72
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    assert "1 of 5 failed: nightly, 22 Nov 2026, 02:00 CET, manual run." in paragraphs[0] or "scheduled run." in paragraphs[0]
    for verdict, paragraph in zip(VERDICTS, paragraphs[1:], strict=False):
        record = made[verdict].record
        assert paragraph.startswith(f"{record.dataset.name}: {headline(record)}. {sentence(record, plain=True)}")
        assert f"Attached: {record.dataset.name}-report.html, {record.dataset.name}-run.json" in paragraph
    fit = made["converged"].record.fits[0]
    terms = [f"{number(abs(weight), plain=True)} * {name}" for name, weight in fit.weights.items() if weight is not None]
    assert all(term in paragraphs[5] for term in terms)
    assert f"body_mass_g = {number(fit.intercept, plain=True)} + " in paragraphs[5]
    assert "Loss 145,500. The run before, on 21 Nov 2026, converged too. The loss is unchanged." in paragraphs[5]
    assert "Y = 2 * X (NumPy) Y = 1.833 * X (PyTorch)" in paragraphs[2]
    assert "=" not in paragraphs[3]


def test_each_picture_is_there_and_said(made: dict[str, Item]) -> None:
    """By Content-ID, with a width, an alt text that holds its numbers, and nothing where nothing was trained."""
    sent = parsed(letter(*made.values()).content)
    shown = re.findall(r'<img [^>]*src="cid:([^"]+)"[^>]*>', body(sent, "html"))
    assert list(pictures(sent)) == shown
    assert 4 == len(shown)
    tags = re.findall(r"<img [^>]*>", body(sent, "html"))
    for verdict, tag in zip(VERDICTS[1:], tags, strict=True):
        item = made[verdict]
        assert item.log is not None
        caption, alt = loss_words(item.record, item.log)
        assert f'alt="{html.escape(alt, quote=True).replace("&#x27;", chr(39))}"' in tag
        assert 'width="552"' in tag
        assert caption in html.unescape(body(sent, "html"))


@pytest.mark.parametrize("verdict", VERDICTS[1:])
def test_pictures_are_opaque_and_small(verdict: str, made: dict[str, Item]) -> None:
    """A PNG of at most 256 colours without alpha, white at its edges, twice 552 pixels wide, the same bytes each time."""
    item = made[verdict]
    assert item.log is not None
    drawn = loss_png(item.record, item.log)
    with Image.open(io.BytesIO(drawn)) as image:
        assert ("P", 1104) == (image.mode, image.width)
        assert "transparency" not in image.info
        colours = image.convert("RGB")
        edges = [(x, y) for x in (0, image.width - 1) for y in (0, image.height - 1)]
        assert {(255, 255, 255)} == {colours.getpixel(edge) for edge in edges}
        assert 3 < len(colours.getcolors(256) or []) <= 256
    assert len(drawn) < 30_000
    assert drawn == loss_png(item.record, item.log)


def test_a_name_in_letters_that_no_font_has_is_left_away(made: dict[str, Item]) -> None:
    """Boxes say less than nothing: the axis then says "loss" and no more."""
    item = made["converged"]
    assert item.log is not None
    named = [
        loss_png(
            item.record.model_copy(update={"dataset": item.record.dataset.model_copy(update={"target": target})}), item.log
        )
        for target in ("体重", "からだの重さ", "mass")
    ]
    assert named[0] == named[1]
    assert named[0] != named[2]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 40, 400])
def test_the_html_stays_under_90_kb(count: int, made: dict[str, Item]) -> None:
    """Whatever the names: the worst verdicts are told in full, in order, and one line says what was left out."""
    verdicts = ["diverged" if number % 40 == 7 else "converged" for number in range(count)]
    sent = parsed(letter(*(hostile(made[verdict], j) for j, verdict in enumerate(verdicts))).content)
    page = body(sent, "html")
    assert size(page) < LIMIT
    assert size(page) > 0.9 * LIMIT or count == 1
    assert "<script" not in page
    assert page.count("<img") == len(pictures(sent)) > 0
    left = re.findall(r"Left out, because mail clients cut long messages: the details of (\d+) data sets", page)
    shown = page.count("<h2")
    assert ([] if count == 1 else [str(count - shown)]) == left
    wild = verdicts.count("diverged")
    sections = re.findall(r"<h2.*?</p>", page, re.DOTALL)
    if count > 1:
        assert all("✕" in section for section in sections[:wild])
        assert not any("✕" in section for section in sections[wild:])
    rows = page[: page.index("<h2")].count("<br>")
    assert (f"and {count - rows} rows of the table" in page) == (rows < count)


def test_many_epochs_cost_nothing(made: dict[str, Item]) -> None:
    """1,000 epochs are a mail as small as 170."""
    long, short = (size(body(parsed(letter(made[verdict]).content), "html")) for verdict in ("exhausted", "converged"))
    assert abs(long - short) < 1000


def test_hostile_names_are_text(made: dict[str, Item]) -> None:
    """Markup, line breaks, escape codes and direction marks of column, data set and deployment stand there as words."""
    sent = parsed(letter(hostile(made["disagree"]), made["exhausted"], name="night\r\nBcc: x@b.example").content)
    page, text = body(sent, "html"), body(sent, "plain")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for part in (page, text):
        assert not set("\x1b\u202e\r") & set(part)
        assert "\\r\\n" in part
    assert not re.search(r"^Bcc", text, re.MULTILINE)


def test_a_reader_is_told_where_the_report_is(made: dict[str, Item]) -> None:
    """By an address where there is one, else by the name of what is attached, else by the folder."""
    item = made["converged"]
    linked = parsed(letter(item, link="https://r.a.example").content)
    assert item.folder is not None
    address = f"https://r.a.example/{item.folder.parent.name}/{item.folder.name}/report.html"
    assert f'<a href="{address}"' in body(linked, "html")
    assert f"Report: {address}" in body(linked, "plain")
    plain = parsed(letter(item).content)
    assert "Full report: converged-report.html, attached." in words(body(plain, "html"))
    light = letter(item).light
    assert light is not None
    assert f"Full report: in {item.folder}." in words(body(parsed(light), "html"))
    assert f"  Report: {item.folder}\n" in body(parsed(light), "plain")


def test_the_dark_theme_is_in_the_head(made: dict[str, Item]) -> None:
    """For clients that know it; the schemes are announced, and without it every colour is that of the light theme."""
    page = body(parsed(letter(made["converged"]).content), "html")
    head = page[: page.index("</head>")]
    assert '<meta name="color-scheme" content="light dark">' in head
    assert "@media (prefers-color-scheme: dark)" in head
    assert "#161617" not in page[page.index("<body") :]


def test_without_a_log_there_are_figures_but_no_picture(made: dict[str, Item]) -> None:
    """As when only run.json could be read."""
    sent = parsed(letter(replace(made["converged"], log=None)).content)
    assert {} == pictures(sent)
    assert "<img" not in body(sent, "html")
    assert "where it ended" in body(sent, "html")


def test_what_to_know_of_the_data_stands_under_the_verdict(made: dict[str, Item]) -> None:
    """In both parts, three remarks at most and how many more there are."""
    item = made["converged"]
    remarks = tuple(Remark(kind="duplicate", column=name, text=f"'{name}' repeats 'a' in every row.") for name in "bcdef")
    table = item.record.dataset.model_copy(update={"remarks": remarks})
    sent = parsed(letter(replace(item, record=item.record.model_copy(update={"dataset": table}))).content)
    for part in (words(body(sent, "html")), " ".join(body(sent, "plain").split())):
        assert "Look at b: 'b' repeats 'a' in every row. Look at c: 'c' repeats" in part
        assert "'d' repeats 'a' in every row. 2 more such remarks in the report." in part
        assert "'e' repeats" not in part
