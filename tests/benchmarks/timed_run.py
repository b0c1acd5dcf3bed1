"""The command `gd` with time stamps: ``python -m tests.benchmarks.timed_run STAMPS WORDS...``.

It runs `gd.cli.main` as it is, with a temporary server that notes when it was started, waited for, and there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import monotonic

from flows import server
from gd import cli

__all__ = ["StampedServer"]

_stamps: dict[str, float] = {}


class StampedServer(server.TemporaryServer):
    """The temporary server, on the clock that all processes share."""

    def start(self) -> None:
        """Start it."""
        _stamps["server_began"] = monotonic()
        super().start()

    def wait(self) -> None:
        """Wait for it: everything is imported by now."""
        _stamps["imported"] = monotonic()
        super().wait()
        _stamps["flow_began"] = monotonic()


if __name__ == "__main__":
    setattr(server, "TemporaryServer", StampedServer)  # noqa: B010  (mypy forbids to assign to a class)
    try:
        cli.main(sys.argv[2:])
    finally:
        _stamps["flow_ended"] = monotonic()
        Path(sys.argv[1]).write_text(json.dumps(_stamps), encoding="utf-8")
