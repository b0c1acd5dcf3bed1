"""The report as a reader sees it, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from gd import archive
from gd.data import DataError, Source
from gd.record import Run, failed
from gd.training import Training
from gd.words import SYMBOLS, headline

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page for each verdict, and the index."""
    folder = tmp_path_factory.mktemp("failed")
    now = datetime(2026, 11, 23, tzinfo=UTC)
    run = Run(id="x", started=now, finished=now, version="0", command="gd run sales.csv --target price")
    error = DataError("sales.csv, line 211", "5 cells where the header has 4.", "Quote cells that hold a comma.")
    archive.write_record(folder, failed(run, Source(path="sales.csv", target="price"), "sales", Training(), error), None)
    archive.write_report(folder)
    index = archive.write_index(cases["converged"].parent.parent)
    return {name: path / "report.html" for name, path in cases.items()} | {"failed": folder / "report.html", "index": index}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("page_name", ["converged", "exhausted", "diverged", "disagree", "failed", "index"])
def test_a_page_opens_clean(
    page_name: str, width: int, scheme: Literal["light", "dark"], pages: dict[str, Path], browser: Browser
) -> None:
    """No console message, no request but the file itself, nothing wider than the window, and the verdict in sight."""
    address = f"file://{pages[page_name]}"
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address, wait_until="load")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        heading = page.locator("h1")
        box = heading.bounding_box()
        words = heading.inner_text()
    assert [] == said
    assert [address] == asked
    assert overflow <= 0
    assert box is not None
    assert box["y"] + box["height"] < 800
    assert words == (
        "Reports" if page_name == "index" else f"{SYMBOLS[page_name]} {headline(archive.read_record(pages[page_name].parent))}"
    )


def test_every_picture_fills_its_place(pages: dict[str, Path], browser: Browser) -> None:
    """Each drawing is as wide as its figure on a phone, none is empty, and each says what it shows."""
    with browser.new_context(viewport={"width": 375, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"file://{pages['disagree']}")
        for drawing in page.locator("figure [role=img]").all():
            box = drawing.bounding_box()
            assert box is not None
            assert box["width"] > 320
            assert box["height"] > 150
            assert len(drawing.get_attribute("aria-label") or "") > 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_follow_the_theme(scheme: Literal["light", "dark"], pages: dict[str, Path], browser: Browser) -> None:
    """The background of a drawing is the page's own, white by day and dark by night."""
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"file://{pages['converged']}")
        paper, fill = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('figure svg path')).fill]"
        )
    assert paper == fill
    assert ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 22, 23)") == paper


def test_a_failed_run_shows_where(pages: dict[str, Path], browser: Browser) -> None:
    """File, line and remedy are the first sentence."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"file://{pages['failed']}")
        lead = page.locator(".lead").inner_text()
    assert "sales.csv, line 211: 5 cells where the header has 4. Quote cells that hold a comma." == lead
