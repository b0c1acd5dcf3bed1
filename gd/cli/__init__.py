"""The command `gd`."""

from gd.cli import history, mail, predict, run, service  # noqa: F401  (each adds its commands)
from gd.cli.command import app, main

__all__ = ["app", "main"]
