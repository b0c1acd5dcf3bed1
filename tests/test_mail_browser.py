"""The mail as a reader sees it: its HTML in a real browser, the pictures put in place."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image

from gd.words import SYMBOLS
from tests.mails import VERDICTS, hostile, items, letter, put_in_place

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

LOWEST_CONTRAST = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const paper = element => {
    for (; element; element = element.parentElement) {
      const colour = parts(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || ["STYLE", "SCRIPT"].includes(element.tagName)) continue;
    const [a, b] = [light(parts(getComputedStyle(element).color)), light(paper(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def mails(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A mail for each verdict, one for all together, and one with hostile names."""
    folder = tmp_path_factory.mktemp("mails")
    made = items(cases, folder / "sales" / "run")
    sent = {verdict: letter(item) for verdict, item in made.items()} | {
        "all": letter(*made.values(), link="https://reports.a.example"),
        "hostile": letter(*(hostile(made[verdict], j) for j, verdict in enumerate(("converged", "diverged", "disagree")))),
    }
    return {name: put_in_place(each.content, folder / name) for name, each in sent.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 600, 1280])
@pytest.mark.parametrize("name", [*VERDICTS, "all", "hostile"])
def test_a_mail_opens_clean(
    name: str, width: int, scheme: Literal["light", "dark"], mails: dict[str, Path], browser: Browser
) -> None:
    """Nothing wider than the window, every picture there with its alt text, every word of enough contrast, verdict in sight."""
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{mails[name]}", wait_until="load")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        shown = page.evaluate(
            "[...document.images].map(i => [i.naturalWidth, Math.round(i.getBoundingClientRect().width), i.alt.length])"
        )
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        contrast, words = page.evaluate(LOWEST_CONTRAST)
        heading = page.locator("h1").bounding_box()
        symbol = page.locator("h1").inner_text()[0]
    assert [] == said
    assert {f"file://{mails[name]}", *(f"file://{mails[name].parent / f'{j}.png'}" for j in range(len(shown)))} == set(asked)
    assert overflow <= 0
    assert {"failed": 0, "all": 4, "hostile": 3}.get(name, 1) == len(shown)
    assert all([1104, min(552, width - (32 if width <= 480 else 48))] == picture[:2] for picture in shown)
    assert all(picture[2] > 40 for picture in shown)
    assert ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 22, 23)") == paper
    assert contrast >= 4.5, words
    assert heading is not None
    assert heading["y"] + heading["height"] < 140
    assert SYMBOLS[{"all": "failed", "hostile": "disagree"}.get(name, name)] == symbol


@pytest.mark.parametrize("name", ["all", "hostile"])
def test_a_mail_fits_a_phone_without_its_style_element(name: str, mails: dict[str, Path], browser: Browser) -> None:
    """As in a client that keeps no style but the inlined one: light in both themes, and nothing sticks out at 320 pixels."""
    bare = mails[name].with_name("bare.html")
    text = mails[name].read_text(encoding="utf-8")
    assert "<style>" in text
    bare.write_text(re.sub(r"<style>.*?</style>|<meta[^>]*scheme[^>]*>", "", text, flags=re.DOTALL), encoding="utf-8")
    with browser.new_context(viewport={"width": 320, "height": 800}, color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"file://{bare}")
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert "rgb(255, 255, 255)" == page.evaluate("getComputedStyle(document.body).backgroundColor")
        contrast, words = page.evaluate(LOWEST_CONTRAST)
    assert contrast >= 4.5, words


def test_pictures_stay_white_at_night(mails: dict[str, Path], browser: Browser) -> None:
    """They are opaque: what is drawn in dark ink stands on white in the dark theme too."""
    with browser.new_context(viewport={"width": 600, "height": 800}, color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"file://{mails['converged']}")
        taken = page.locator("img").screenshot()
    with Image.open(io.BytesIO(taken)) as image:
        assert (255, 255, 255) == image.convert("RGB").getpixel((3, 3))


def test_the_verdict_and_every_data_set_show_at_once(mails: dict[str, Path], browser: Browser) -> None:
    """On a phone's first screen, before anything is scrolled: readable in ten seconds."""
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto(f"file://{mails['all']}")
        rows = page.locator("table table").first.bounding_box()
    assert rows is not None
    assert rows["y"] + rows["height"] < 844


def test_the_contrast_is_really_measured(mails: dict[str, Path], browser: Browser) -> None:
    """A pale word is found."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"file://{mails['converged']}")
        page.evaluate("document.querySelector('h1').style.color = '#999999'")
        contrast, words = page.evaluate(LOWEST_CONTRAST)
    assert contrast < 3
    assert "Converged" in words
