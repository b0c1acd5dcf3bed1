"""Train the bundled data, open reports and mail in Chromium, and keep what a reader sees."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from gd import archive
from gd.archive import read
from gd.data import DataError, Source, bundled
from gd.mail import compose
from gd.mail.digest import Digest, Item
from gd.record import Run
from gd.recording import failed
from gd.settings import Training, preset
from tests.conftest import BROWSER_FLAGS, CHROMIUM, run_tasks
from tests.mails import put_in_place
from tests.screenshots.choices import choices

HERE = Path(__file__).parent
ALL = HERE / "all"  # to be looked at one by one; not in git
PENGUINS = Source(path="gd/datasets/penguins.csv", target="body_mass_g")
ROWS = Source(path=str(bundled("notebook")), target="Y")
WIDTHS = (320, 768, 1440)


def main() -> None:
    """Write the pictures of the README beside this file, and each page in every width and theme, whole, into `all`."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        reports = Path(folder)
        run_tasks(PENGUINS, Training(learning_rate=0.01), reports, "penguins")  # the one before
        pages = {
            "converged": run_tasks(PENGUINS, Training(), reports, "penguins"),
            "exhausted": run_tasks(PENGUINS, Training(learning_rate=0.001), reports, "slow"),
            "diverged": run_tasks(PENGUINS, Training(learning_rate=1.5), reports, "wild"),
            "disagree": run_tasks(ROWS, preset("notebook"), reports, "notebook"),
            "failed": unreadable(reports),
        }
        pages = {name: run / "report.html" for name, run in pages.items()} | {"index": archive.write_index(reports)}
        sent = mail(reports)
        browser = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        for page, name, width, height, dark in (
            (pages["converged"], "report", 1280, 1400, False),
            (pages["disagree"], "notebook", 1280, 1000, False),
            (pages["diverged"], "phone", 375, 812, True),
            (sent, "mail", 760, 1500, False),
            (sent, "mail-phone", 390, 844, True),
        ):
            shoot(browser, page, HERE / f"{name}.png", width, height, dark)
        shoot(browser, pages["diverged"], HERE / "epochs.png", 1280, 800, False, part="#epochs")
        choices(browser, reports, HERE)
        ALL.mkdir(exist_ok=True)
        for name, page in pages.items():
            for width in WIDTHS:
                for dark in (False, True):
                    file = ALL / f"{name}-{width}-{'dark' if dark else 'light'}.png"
                    shoot(browser, page, file, width, 800, dark, whole=True)
        browser.close()


def unreadable(reports: Path) -> Path:
    """The run of a table that could not be read."""
    folder, now = reports / "sales" / "x", datetime(2026, 11, 23, tzinfo=UTC)
    folder.mkdir(parents=True)
    run = Run(id="x", started=now, finished=now, version="0", command="gd run sales.csv --target price")
    text = "'1,5' in row 1 is no number."
    error = DataError("sales.csv, line 2, column 'price'", text, "--decimal , would read it.")
    archive.write_record(folder, failed(run, Source(path="sales.csv", target="price"), "sales", Training(), error), None)
    archive.write_report(folder)
    return folder


def mail(reports: Path) -> Path:
    """The mail of a nightly run over both tables, as a file."""
    run_tasks(PENGUINS, Training(learning_rate=0.01), reports, "penguins")  # the run before
    items = []
    for source, training, name in ((PENGUINS, Training(), "penguins"), (ROWS, preset("notebook"), "notebook")):
        run = run_tasks(source, training, reports, name)
        report = read(run)
        items.append(Item(report.record, report.log, run))
    started = items[0].record.run.started
    digest = Digest("nightly", "nightly", started, items)
    letter = compose(digest, sender="gd reports <reports@a.example>", reply_to=None, now=started)
    print(letter.subject)
    return put_in_place(letter.content, reports / "mail")


def shoot(
    browser: Browser, page: Path, file: Path, width: int, height: int, dark: bool, *, whole: bool = False, part: str = ""
) -> None:
    """Keep one screen of a page, all of it, or a part of it."""
    scheme: Literal["dark", "light"] = "dark" if dark else "light"
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        opened = context.new_page()
        opened.goto(f"file://{page}")
        if part:
            opened.locator(f"{part} .event a, {part} a[href^='#epoch-']").last.click()
            opened.locator(part).screenshot(path=file)
        else:
            opened.screenshot(path=file, full_page=whole)
        print(file.name)


if __name__ == "__main__":
    main()
