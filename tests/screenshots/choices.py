"""The pictures of the README's section on steps and losses: figures of real runs, beside each other where they are compared."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from gd.archive import read
from gd.data import Source
from gd.figures.picture import decimate
from gd.figures.style import epoch_axis, in_style, label_ends, log_axis, new_figure, saved
from gd.settings import Training
from tests.conftest import run_tasks
from tests.screenshots import tables

__all__ = ["choices"]

_WIDTH = 430  # of one figure, in pixels of the page; the picture has twice as many
_COLOURS = 48
_STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("plain descent", "#0072b2", {}),
    ("momentum", "#6a4c93", {"optimizer": "momentum"}),
    ("nesterov", "#d55e00", {"optimizer": "nesterov"}),
    ("adam", "#b8860b", {"optimizer": "adam"}),
    ("whiten", "#009e73", {"precondition": "whiten"}),
)
_FLAT = 1e-12  # of the first excess loss: below is rounding


def choices(browser: Browser, folder: Path, into: Path) -> None:
    """Train what the section compares, and keep its pictures.

    Args:
        browser: draws them.
        folder: for tables and runs.
        into: where the pictures go.
    """
    tables.write(folder / "tables")

    def run(table: str, target: str, **settings: Any) -> Path:
        source = Source(path=str(folder / "tables" / f"{table}.csv"), target=target)
        return run_tasks(source, Training(**settings), folder / "choices", table)

    def figure(name: str, made: Path) -> str:
        return (made / "figures" / f"{name}.svg").read_text(encoding="utf-8")

    steps = [(label, colour, run("sensors", "level", **settings)) for label, colour, settings in _STEPS]
    _shoot(browser, into / "steps.png", [("", _excess(steps))])
    losses = [(f"--loss {loss}", figure("predicted", run("prices", "price", loss=loss))) for loss in ("mse", "huber")]
    _shoot(browser, into / "losses.png", losses)
    planned = run("sensors", "level", optimizer="adam", schedule="step", warm_up=50)
    cooled = run("sensors", "level", optimizer="adam", schedule="cosine")
    _shoot(
        browser, into / "schedules.png",
        [("--schedule step --warm-up 50", figure("schedule", planned)), ("--schedule cosine", figure("schedule", cooled))],
    )  # fmt: skip
    _shoot(
        browser, into / "held.png",
        [("--validate 0.2 --patience 20", figure("held", run("few", "y", validation="0.2", patience=20)))],
    )  # fmt: skip
    _shoot(
        browser, into / "folds.png",
        [("--l2 auto --folds 5", figure("folds", run("few", "y", l2="auto", folds=5)))],
    )  # fmt: skip


def _excess(runs: Sequence[tuple[str, str, Path]]) -> str:
    """Loss above the optimum of several runs over one table."""
    logs = [(label, colour, read(run).log) for label, colour, run in runs]
    found = []
    for label, colour, log in logs:
        assert log is not None
        x, y = log.entries("numpy_excess_loss")
        low = np.flatnonzero(y <= _FLAT * y[0])
        until = int(low[0]) + 1 if len(low) else len(y)  # what comes after is rounding
        found.append((label, colour, *decimate(x[:until], y[:until])))
    with in_style():
        figure, axes = new_figure()
        epoch_axis(axes, max(int(x[-1]) for _, _, x, _ in found) + 1)
        log_axis(axes, [np.maximum(y, _FLAT * y[0]) for *_, y in found])
        axes.set_ylabel("loss above the optimum")
        for _, colour, x, y in found:
            axes.plot(x, np.maximum(y, _FLAT * y[0]), color=colour, linewidth=1.4)
        label_ends(axes, [(max(float(y[-1]), _FLAT * float(y[0])), label, colour) for label, colour, _, y in found])
        return saved(figure, "steps")


def _shoot(browser: Browser, file: Path, figures: Sequence[tuple[str, str]]) -> None:
    """Figures side by side on white, each under its title, in few colours."""
    parts = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{svg[svg.index('<svg') :]}</figure>" for title, svg in figures
    )
    style = (
        f"body{{margin:0;background:#fff}}main{{display:inline-flex;gap:8px;padding:8px}}figure{{margin:0;width:{_WIDTH}px}}"
        "figcaption{font:14px ui-monospace,monospace;color:#1a1a1a;text-align:center}svg{width:100%;height:auto;display:block}"
    )
    with browser.new_context(viewport={"width": 1000, "height": 500}, device_scale_factor=2, color_scheme="light") as context:
        page = context.new_page()
        page.set_content(f"<!doctype html><meta charset=utf-8><style>{style}</style><main>{parts}</main>")
        shot = page.locator("main").screenshot()
    few = Image.open(io.BytesIO(shot)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    print(file.name)
