"""What a run needs to be reproduced: the commit and the versions that it ran with."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gd
from gd.record import Git

__all__ = ["commit", "packages"]

_PACKAGES = ("numpy", "torch", "jax", "prefect", "scipy", "pyarrow", "matplotlib", "jinja2", "pydantic")


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a result can depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> Git | None:
    """The commit that this package runs from; None where it was installed rather than cloned, or where git is missing."""
    clone = Path(gd.__file__).parent.parent
    if not (clone / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(  # noqa: S603  (the words are this function's own)
            ["git", "-C", str(clone), *words],  # noqa: S607  (git stands where the user's PATH says)
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        return Git(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return None
