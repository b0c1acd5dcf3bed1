"""axe-core, as a test asks it."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["findings"]

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def findings(page: Page, *, rows: bool = True) -> list[str]:
    """What axe-core objects to in an open page by WCAG 2.2 AA and its own advice: rule, what it wants, where.

    Args:
        page: open.
        rows: whether to look at every row of the epoch table, which takes most of the time.
    """
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(_axe())
    where: dict[str, Any] = {"include": [["html"]]} if rows else {"exclude": [[".epochs tbody"]]}
    ask = "([where, rules]) => axe.run(where, {runOnly: rules, resultTypes: ['violations']})"
    told: dict[str, Any] = page.evaluate(ask, [where, _RULES])
    return [
        f"{found['id']}: {found['help']} at {', '.join(node['target'][0] for node in found['nodes'][:5])}"
        for found in told["violations"]
    ]


@lru_cache
def _axe() -> str:
    """The script as axe-playwright-python ships it: no page fetches it."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None, "axe-playwright-python is missing: install the extra dev"
    (folder,) = spec.submodule_search_locations or []
    return (Path(folder) / "axe.min.js").read_text(encoding="utf-8")
