"""The report as readers meet it: in a real browser, on a phone and a wide screen, by day and night, on paper, by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

from gd import archive
from gd.cure import cure
from gd.data import DataError, Source
from gd.record import Run
from gd.recording import failed
from gd.settings import Training
from gd.words import SYMBOLS, headline
from tests.accessibility import findings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CRAFTS = ("folded", "classes")
CASES = ("converged", "exhausted", "diverged", "disagree", "failed")
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
WIDTHS = (320, 768, 1440)
PAPER = 673  # pixels between the margins of A4
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"


class Opened(NamedTuple):
    """A page in a browser."""

    page: Page
    said: list[str]  # on the console
    asked: list[str]  # of the network


Open = Callable[[str, str], Opened]


@pytest.fixture(scope="module")
def pages(cases: dict[str, Path], crafts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report for each verdict, and the pages that list them."""
    folder = tmp_path_factory.mktemp("failed")
    now = datetime(2026, 11, 23, tzinfo=UTC)
    run = Run(id="x", started=now, finished=now, version="0", command="gd run sales.csv --target price")
    error = DataError("sales.csv, line 211", "5 cells where the header has 4.", "Quote cells that hold a comma.")
    archive.write_record(folder, failed(run, Source(path="sales.csv", target="price"), "sales", Training(), error), None)
    archive.write_report(folder)
    reports = archive.write_index(cases["converged"].parent.parent).parent
    lists = {str(path.relative_to(reports)): path for path in (reports / "index.html", *reports.glob("*/index.html"))}
    runs = cases | {name: crafts[name] for name in CRAFTS}
    return {name: path / "report.html" for name, path in runs.items()} | {"failed": folder / "report.html"} | lists


@pytest.fixture(scope="module")
def opened(pages: dict[str, Path], browser: Browser) -> Iterator[Open]:
    """Any page in a light or a dark window; one window a theme, and each page is opened in it once."""
    windows = {scheme: browser.new_context(color_scheme=scheme) for scheme in SCHEMES}
    found: dict[tuple[str, str], Opened] = {}

    def open_(name: str, scheme: str) -> Opened:
        if (name, scheme) not in found:
            new = Opened(windows[scheme].new_page(), [], [])  # type: ignore[index]
            new.page.on("console", lambda message: new.said.append(message.text))
            new.page.on("pageerror", lambda error: new.said.append(str(error)))
            new.page.on("request", lambda request: new.asked.append(request.url))
            new.page.goto(f"file://{pages[name]}", wait_until="load")
            found[name, scheme] = new
        return found[name, scheme]

    yield open_
    for window in windows.values():
        window.close()


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    """Day and night."""
    return str(request.param)


@pytest.mark.parametrize("name", CASES)
def test_a_report_opens_clean(name: str, scheme: str, opened: Open, pages: dict[str, Path]) -> None:
    """At no width a console message, a request but the file itself, or anything wider than the window; the verdict in sight."""
    page, said, asked = opened(name, scheme)
    words = f"{SYMBOLS[name]} {headline(archive.read_record(pages[name].parent))}"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        box = page.locator("h1").bounding_box()
        assert page.evaluate(OVERFLOW) <= 0
        assert box is not None
        assert box["y"] + box["height"] < 400
    assert words == page.locator("h1").inner_text()
    assert [] == said
    assert [f"file://{pages[name]}"] == asked


@pytest.mark.parametrize("name", CASES)
def test_axe_finds_nothing_in_a_report(name: str, scheme: str, opened: Open) -> None:
    """WCAG 2.2 AA and axe-core's own advice, on a phone and on a wide screen."""
    page = opened(name, scheme).page
    for width in (320, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert [] == findings(page, rows=width == 1440 and name in {"diverged", "disagree"})  # which have every kind of row


def test_the_pages_that_list_runs_are_as_good(scheme: str, opened: Open, pages: dict[str, Path]) -> None:
    """No message, no request, nothing wider than the window, nothing that axe-core objects to."""
    for name in pages.keys() - CASES:
        page, said, asked = opened(name, scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(OVERFLOW) <= 0, (name, width)
        assert [] == findings(page), name
        assert ([], [f"file://{pages[name]}"]) == (said, asked)


def test_axe_would_find_something(pages: dict[str, Path], browser: Browser) -> None:
    """Without alt text, on low contrast, with two regions of a name it objects, so that its silence says something."""
    with browser.new_context() as window:
        page = window.new_page()
        page.goto(f"file://{pages['failed']}")
        page.evaluate("document.querySelector('main').innerHTML += '<img src=data:,><p style=color:#bbb>pale'")
        rules = {finding.split(":")[0] for finding in findings(page)}
    assert {"image-alt", "color-contrast"} <= rules


@pytest.mark.parametrize("name", ["diverged", "disagree", "failed"])
def test_a_report_takes_large_and_wide_text(name: str, opened: Open) -> None:
    """At 200 % zoom of a laptop, and under the spacing of WCAG 1.4.12 on a phone, nothing is wider than the window."""
    page = opened(name, "light").page
    page.set_viewport_size({"width": 640, "height": 400})
    assert page.evaluate(OVERFLOW) <= 0
    page.set_viewport_size({"width": 320, "height": 800})
    style = "* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }"
    page.evaluate("style => document.head.append(Object.assign(document.createElement('style'), {textContent: style}))", style)
    assert page.evaluate(OVERFLOW) <= 0
    page.evaluate("document.head.lastChild.remove()")


def test_a_report_is_in_order(opened: Open) -> None:
    """Headings are links and skip no level, the contents are those of the page, and each head of a table says of what."""
    page = opened("disagree", "light").page
    assert "en" == page.evaluate("document.documentElement.lang")
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert 1 == levels[0]
    assert all(1 < level <= before + 1 for before, level in pairwise(levels))
    sections = page.evaluate("[...document.querySelectorAll('main section')].map(s => s.id)")
    wanted = ["why", "fault", "notebook", "result", "convergence", "agreement", "epochs", "data", "diagnosis", "settings"]
    assert [*wanted, "reproduce"] == [name for name in sections if name not in {"changes", "fit"}]
    linked = page.evaluate("[...document.querySelectorAll('nav.contents a')].map(a => a.hash.slice(1))")
    assert [name for name in sections if name in linked] == linked
    assert not {"fault", "notebook"} & set(linked)
    assert set(wanted) <= set(page.evaluate("[...document.querySelectorAll('h2 a')].map(a => a.hash.slice(1))"))
    assert 0 == page.locator("th:not([scope])").count()
    assert page.locator("main table").count() >= 7
    assert page.locator("tbody tr > :first-child:not(th)").count() == 0


def test_a_report_is_walked_through_by_keyboard(opened: Open) -> None:
    """Tab goes through contents, headings, tables and commands from top to end, and each shows that it has the focus."""
    page = opened("diverged", "light").page
    page.set_viewport_size({"width": 1440, "height": 800})
    page.evaluate("document.activeElement.blur()")
    total = page.locator("a[href], [tabindex='0']").count()
    seen = []
    for _ in range(total):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "[[...document.querySelectorAll('*')].indexOf(document.activeElement), "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert {"solid"} == {outline for _, outline in seen}
    assert sorted({place for place, _ in seen}) == [place for place, _ in seen]


def test_the_command_to_copy_is_the_command(opened: Open, pages: dict[str, Path]) -> None:
    """What is selected in it is the whole of it, letter for letter, wherever its lines end."""
    page = opened("diverged", "light").page
    page.set_viewport_size({"width": 320, "height": 800})
    found = cure(archive.read_record(pages["diverged"].parent))
    assert found is not None
    code = page.locator("#why .command code")
    code.click()
    selected = page.evaluate("getSelection().toString()")
    assert found.command == selected.strip()


@pytest.mark.parametrize("name", ["converged", "diverged"])
def test_decimal_points_stand_below_each_other(name: str, opened: Open) -> None:
    """In every column of the epoch table, to half a pixel."""
    page = opened(name, "light").page
    page.set_viewport_size({"width": 1440, "height": 800})
    places = page.evaluate(
        """() => [...document.querySelectorAll('.epochs tbody tr')].map(row => [...row.cells].slice(1).map(cell => {
            const text = cell.firstChild, at = text.data.indexOf('.');
            if (at < 0) return null;
            const range = document.createRange();
            range.setStart(text, at); range.setEnd(text, at + 1);
            return range.getBoundingClientRect().left;
        }))"""
    )
    spreads = [[place for place in column if place is not None] for column in zip(*places, strict=True)]
    assert sum(len(set(spread)) > 0 for spread in spreads) > 8
    for spread in filter(None, spreads):
        assert max(spread) - min(spread) < 0.5


@pytest.mark.parametrize("width", [320, 1440])
def test_the_head_of_the_epoch_table_stays(width: int, opened: Open) -> None:
    """However far it is scrolled, the names of the columns and the number of the epoch are in sight; a marked row is a link."""
    page = opened("converged", "dark").page
    page.set_viewport_size({"width": width, "height": 800})
    page.locator("#epochs a[href^='#epoch-']").last.click()
    frame = page.locator(".epochs")
    frame.evaluate("frame => frame.scrollLeft = 400")
    outer, last = frame.bounding_box(), page.locator(".epochs tr.event").last.bounding_box()
    head, epoch = page.locator(".epochs thead").bounding_box(), page.locator(".epochs tr.event th").last.bounding_box()
    assert outer is not None
    assert last is not None
    assert head is not None
    assert epoch is not None
    assert abs(head["y"] - outer["y"]) < 2
    assert abs(epoch["x"] - outer["x"]) < 2
    assert 0 < last["y"] < 800
    assert last["y"] + last["height"] <= outer["y"] + outer["height"] + 1
    assert outer["height"] <= 0.8 * 800


@pytest.mark.parametrize("name", CRAFTS)
def test_reports_of_other_losses_and_steps_are_as_good(name: str, scheme: str, opened: Open) -> None:
    """Nothing wider than the window, no console message, and no finding of axe."""
    page, said, _ = opened(name, scheme)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(OVERFLOW) <= 0
    assert [] == said
    assert [] == findings(page)


@pytest.mark.parametrize("name", CASES)
def test_a_report_prints_on_a4(name: str, opened: Open) -> None:
    """Nothing is wider than the paper, every figure is left whole and fits a page, and all of the epoch table is there."""
    page = opened(name, "dark").page
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print")
    try:
        wide = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
        assert 0 == page.evaluate(wide)
        figures = page.evaluate(
            "[...document.querySelectorAll('figure, tr')].map(f => [f.offsetHeight, getComputedStyle(f).breakInside])"
        )
        assert all(height < 700 and rule == "avoid" for height, rule in figures)
        assert "rgb(255, 255, 255)" == page.evaluate("getComputedStyle(document.body).backgroundColor")
        if name != "failed":
            table = page.locator(".epochs")
            assert table.evaluate("e => e.scrollHeight <= e.clientHeight + 1 && e.scrollWidth <= e.clientWidth + 1")
        assert page.pdf(format="A4").startswith(b"%PDF")
    finally:
        page.emulate_media(media="screen")


@pytest.mark.parametrize("name", CASES)
def test_nothing_moves_and_nothing_is_heavy(name: str, opened: Open, pages: dict[str, Path]) -> None:
    """No animation, no transition, no smooth scrolling, for nobody; and less than a megabyte."""
    page = opened(name, "light").page
    moving = (
        "[...document.querySelectorAll('*')].map(getComputedStyle).filter(s => s.animationName != 'none' || "
        "s.transitionDuration != '0s' || s.scrollBehavior != 'auto').length"
    )
    assert 0 == page.evaluate(moving)
    assert pages[name].stat().st_size < 1_000_000


def test_every_picture_fills_its_place(opened: Open) -> None:
    """Each drawing is as wide as its figure on a phone, none is empty, and each says what it shows."""
    page = opened("disagree", "light").page
    page.set_viewport_size({"width": 375, "height": 800})
    for drawing in page.locator("figure [role=img]").all():
        box = drawing.bounding_box()
        assert box is not None
        assert box["width"] > 320
        assert box["height"] > 150
        assert len(drawing.get_attribute("aria-label") or "") > 20


def test_pictures_follow_the_theme(scheme: str, opened: Open) -> None:
    """The background of a drawing is the page's own, white by day and dark by night."""
    paper, fill = opened("converged", scheme).page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('figure svg path')).fill]"
    )
    assert paper == fill
    assert ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 22, 23)") == paper


def test_a_failed_run_shows_where(opened: Open) -> None:
    """File, line and remedy are the first sentence."""
    lead = opened("failed", "light").page.locator(".lead").inner_text()
    assert "sales.csv, line 211: 5 cells where the header has 4. Quote cells that hold a comma." == lead
