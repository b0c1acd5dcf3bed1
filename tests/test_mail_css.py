"""Only what Gmail and Outlook keep: read from the mail as it is sent, and tried with what they drop."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gd.rendering import environment
from tests.mails import VERDICTS, body, hostile, items, letter, parsed

# by caniemail.com, seen 2026-11: in Gmail on the web and on phones, and in Outlook on Windows, where Word draws the mails
KEPT = {
    "background-color", "border", "border-bottom", "border-bottom-color", "border-collapse", "border-top", "border-top-color",
    "color", "font-family", "font-size", "font-weight", "height", "line-height", "margin", "padding", "padding-left", "width",
    "word-break",
}  # fmt: skip
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "table", "tbody", "tr", "td", "th", "h1", "h2", "p", "a", "b",
            "br", "span", "img"}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "name", "content", "class", "style", "role", "align", "valign", "width", "cellpadding",
              "cellspacing", "border", "scope", "href", "src", "alt"}  # fmt: skip
DROPPED = re.compile(r"var\(|calc\(|url\(|expression\(|data:|(?<![\w.])-\d|\d(?:rem|vw|vh)\b|flex|grid|gradient", re.IGNORECASE)
GMAIL_STYLE = 8192  # characters of a style element; Gmail leaves a longer one away
OUTLOOK_FRAME = '<!--[if mso]><table role="presentation" align="center" width="600"'


class Reader(HTMLParser):
    """Collects what mail clients would take offence at."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.inside = ""
        self.head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element: known, its attributes known, its addresses of the right kind, its style kept."""
        given = {name: value or "" for name, value in attrs}
        self.inside = tag
        self.head = tag == "head" or (self.head and tag != "body")
        if tag not in ELEMENTS or (tag == "style" and not self.head):
            self.wrong.append(f"<{tag}>")
        self.wrong += [f"<{tag} {name}>" for name in given if name not in ATTRIBUTES]
        if tag == "img":
            if not given.get("src", "").startswith("cid:"):
                self.wrong.append(f"img src {given.get('src')}")
            if not given.get("width", "").isdigit() or not given.get("alt"):
                self.wrong.append("img without width or alt")
        elif "src" in given:
            self.wrong.append(f"<{tag} src>")
        if "href" in given and not given["href"].startswith(("https://", "http://")):
            self.wrong.append(f"href {given['href']}")
        if "important" in given.get("style", ""):
            self.wrong.append("!important in an attribute, which Outlook leaves away")
        self.declarations(given.get("style", ""), tag)

    def handle_data(self, data: str) -> None:
        """A style element: short, without at-rules but flat @media ones of two kinds."""
        if self.inside != "style":
            return
        if len(data) > GMAIL_STYLE:
            self.wrong.append(f"style of {len(data)} characters")
        rest = re.sub(
            r"@media \((?:max-width: \d+px|prefers-color-scheme: dark)\)\s*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", r"\1", data
        )
        if "@" in rest:
            self.wrong.append(f"at-rule {rest[rest.index('@') :][:40]}")
        for block in re.findall(r"\{([^{}]*)\}", rest):
            self.declarations(block, "style element")

    def handle_endtag(self, tag: str) -> None:
        """Text after it is not in a style."""
        self.inside = ""

    def declarations(self, block: str, place: str) -> None:
        """Properties that are kept, with values that are."""
        for declaration in filter(None, (part.strip() for part in block.split(";"))):
            name, _, value = declaration.partition(":")
            covered = name == "max-width" and place in {"table", "img"}  # for Outlook: its frame, and the width attribute
            if (name.strip() not in KEPT and not covered) or DROPPED.search(value):
                self.wrong.append(f"{place}: {declaration}")


def complaints(html: str) -> list[str]:
    """Everything in a mail's HTML that Gmail or Outlook drop."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader.wrong + ([] if OUTLOOK_FRAME in html else ["no frame for Outlook"])


@pytest.fixture(scope="module")
def html(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A mail with every verdict, hostile names and links."""
    made = items(cases, tmp_path_factory.mktemp("failed") / "sales" / "run")
    sent = letter(*made.values(), hostile(made["converged"]), link="https://reports.a.example/gd")
    return body(parsed(sent.content), "html")


def test_a_mail_uses_only_what_clients_keep(html: str) -> None:
    """No property, element or address that Gmail or Outlook drop; all but @media is inlined."""
    assert [] == complaints(html)
    assert 5 == len(re.findall(r'<h1[^>]*style="|<h2[^>]*style="', html)) - 2
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert styles
    for style in styles:
        assert re.fullmatch(r"\s*(@media \([^)]*\)\s*\{(?:[^{}]*\{[^{}]*\})*\s*\}\s*)+", style)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(('<p style="', '<p style="display:flex;'), id="flex"),
        pytest.param(('<p style="', '<p style="display:grid;'), id="grid"),
        pytest.param(('<p style="', '<p style="color:var(--ink);'), id="a variable"),
        pytest.param(('<p style="', '<p style="width:calc(100% - 2px);'), id="calc"),
        pytest.param(('<p style="', '<p style="position:absolute;'), id="position"),
        pytest.param(('<p style="', '<p style="float:left;'), id="float"),
        pytest.param(('<p style="', '<p style="overflow-wrap:anywhere;'), id="overflow-wrap"),
        pytest.param(('<p style="', '<p style="white-space:nowrap;'), id="white-space"),
        pytest.param(('<p style="', '<p style="max-width:72ch;'), id="max-width of a paragraph"),
        pytest.param(('<p style="', '<p style="margin:-4px;'), id="a negative margin"),
        pytest.param(('<p style="', '<p style="font-size:1rem;'), id="rem"),
        pytest.param(('<p style="', '<p style="background-image:url(https://a.example/x.png);'), id="a background picture"),
        pytest.param(('<p style="', '<p style="background-color:url(data:image/png;base64,x);'), id="a data: background"),
        pytest.param(('<p style="', '<p style="color:red !important;'), id="important"),
        pytest.param(('<p style="', '<p onclick="x()" style="'), id="a handler"),
        pytest.param(('src="cid:', 'src="data:image/png;base64,'), id="a data: picture"),
        pytest.param(('src="cid:', 'src="https://a.example/'), id="a remote picture"),
        pytest.param(('width="552"', ""), id="a picture without width"),
        pytest.param(("</h1>", "</h1><svg></svg>"), id="SVG"),
        pytest.param(("</h1>", "</h1><script></script>"), id="a script"),
        pytest.param(("</h1>", "</h1><div></div>"), id="an element that is not known"),
        pytest.param(("</h1>", "</h1><style>p{color:red}</style>"), id="a style in the body"),
        pytest.param(("</title>", '</title><link rel="stylesheet" href="https://a.example/x.css">'), id="a style sheet"),
        pytest.param(("<style>", "<style>@import 'x.css';"), id="an import"),
        pytest.param(("<style>", "<style>@font-face{font-family:x}"), id="a font"),
        pytest.param(("<style>", "<style>@media (prefers-color-scheme: dark) { p { display: flex } }"), id="flex in the dark"),
        pytest.param(("<style>", f"<style>{' ' * 8200}"), id="a long style"),
        pytest.param(('href="https:', 'href="javascript:'), id="a script's address"),
        pytest.param(("[if mso]", "[if lost]"), id="no frame for Outlook"),
    ],
)
def test_what_clients_drop_is_found(bad: tuple[str, str], html: str) -> None:
    """Each thing that they drop, put into a real mail, is complained of."""
    before, after = bad
    assert before in html
    assert complaints(html.replace(before, after, 1))


def test_colours_are_those_of_the_report() -> None:
    """One design language: no colour in the mail that the report's style sheet does not have."""
    loader = environment().loader
    assert loader is not None
    sheets = [loader.get_source(environment(), name)[0] for name in ("mail.css", "style.css")]
    mail, report = (set(re.findall(r"#[0-9a-f]{6}\b", sheet)) for sheet in sheets)
    assert mail
    assert set() == mail - report
    for verdict in VERDICTS:
        light, dark = (re.search(rf"--{verdict}: (#\w+);", part) for part in sheets[1].split("@media")[:2])
        assert light is not None
        assert dark is not None
        assert sheets[0].count(f".{verdict} {{ color: {light[1]}; }}") == 1
        assert sheets[0].count(f".{verdict} {{ color: {dark[1]} !important; }}") == 1
