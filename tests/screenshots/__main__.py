"""Train the bundled data, open the reports in Chromium, and keep what a reader sees first."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from gd.data import Source, bundled
from gd.training import Training, preset
from tests.conftest import BROWSER_FLAGS, CHROMIUM, run_tasks

HERE = Path(__file__).parent


def main() -> None:
    """Write report.png, notebook.png and phone.png beside this file."""
    penguins = Source(path=str(bundled("penguins")), target="body_mass_g")
    rows = Source(path=str(bundled("notebook")), target="Y")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        reports = Path(folder)
        good = run_tasks(penguins, Training(), reports, "penguins") / "report.html"
        fault = run_tasks(rows, preset("notebook"), reports, "notebook") / "report.html"
        wild = run_tasks(penguins, Training(learning_rate=1.5), reports, "penguins") / "report.html"
        browser = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        for page, name, width, height, dark in (
            (good, "report", 1280, 1840, False),
            (fault, "notebook", 1280, 1000, False),
            (wild, "phone", 375, 812, True),
        ):
            with browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            ) as context:
                opened = context.new_page()
                opened.goto(f"file://{page}")
                opened.screenshot(path=HERE / f"{name}.png")
                print(f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
