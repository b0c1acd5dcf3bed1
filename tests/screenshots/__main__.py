"""Train the bundled data, open reports and mail in Chromium, and keep what a reader sees first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from gd.archive import read, read_record
from gd.data import Source, bundled
from gd.mail import compose
from gd.mail.digest import Digest, Item
from gd.training import Training, preset
from tests.conftest import BROWSER_FLAGS, CHROMIUM, run_tasks
from tests.mails import put_in_place

HERE = Path(__file__).parent
PENGUINS = Source(path=str(bundled("penguins")), target="body_mass_g")
ROWS = Source(path=str(bundled("notebook")), target="Y")


def main() -> None:
    """Write report.png, notebook.png, phone.png, mail.png and mail-phone.png beside this file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        reports = Path(folder)
        good = run_tasks(PENGUINS, Training(), reports, "penguins") / "report.html"
        fault = run_tasks(ROWS, preset("notebook"), reports, "notebook") / "report.html"
        wild = run_tasks(PENGUINS, Training(learning_rate=1.5), reports, "penguins") / "report.html"
        sent = mail(reports)
        browser = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        for page, name, width, height, dark in (
            (good, "report", 1280, 1840, False),
            (fault, "notebook", 1280, 1000, False),
            (wild, "phone", 375, 812, True),
            (sent, "mail", 760, 1500, False),
            (sent, "mail-phone", 390, 844, True),
        ):
            shoot(browser, page, name, width, height, dark)
        browser.close()


def mail(reports: Path) -> Path:
    """The mail of a nightly run over both tables, as a file."""
    before = run_tasks(PENGUINS, Training(learning_rate=0.01), reports, "penguins")
    items = []
    for source, training, name, previous in (
        (PENGUINS, Training(), "penguins", read_record(before)),
        (ROWS, preset("notebook"), "notebook", None),
    ):
        run = run_tasks(source, training, reports, name)
        report = read(run)
        items.append(Item(report.record, report.log, run, previous))
    started = items[0].record.run.started
    digest = Digest("nightly", "nightly", started, items)
    letter = compose(digest, sender="gd reports <reports@a.example>", reply_to=None, now=started)
    print(letter.subject)
    return put_in_place(letter.content, reports / "mail")


def shoot(browser: Browser, page: Path, name: str, width: int, height: int, dark: bool) -> None:
    """Keep one screen of a page."""
    scheme: Literal["dark", "light"] = "dark" if dark else "light"
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        opened = context.new_page()
        opened.goto(f"file://{page}")
        opened.screenshot(path=HERE / f"{name}.png")
        print(f"{name}.png")


if __name__ == "__main__":
    main()
