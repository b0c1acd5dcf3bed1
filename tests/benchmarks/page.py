"""Lines of Markdown, the same for every section: tables, verdicts, and the machine that the numbers are from."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "row", "table", "verdict"]


def machine(*packages: str) -> str:
    """The machine in general terms, with the versions of the packages that matter to a section."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(filter(None, map(_version, packages)))
    return (
        f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory; "
        f"Python {platform.python_version()}{', ' if versions else ''}{versions}"
    )


def table(*heads: str) -> Sequence[str]:
    """The first two lines of a table."""
    return row(*heads), row(*["---"] * len(heads))


def row(*cells: object) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def verdict(met: bool) -> str:
    """Whether an aim was reached."""
    return "met" if met else "missed"


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
