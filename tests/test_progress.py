"""How far a reading is, as the terminal shows it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from flows import progress
from flows.progress import TERMINAL, FollowingBytes


def test_a_reading_shows_bytes_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a second at most, and nothing is left on the screen when it has ended."""
    clock = iter([0.0, 0.1, 2.0, 2.1, 4.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    with Progress(console=Console(file=io.StringIO()), auto_refresh=False) as display:
        token = TERMINAL.set(display)
        try:
            with FollowingBytes("sales: read") as told:
                [task] = display.tasks
                told(10_000_000, 1_000_000_000)
                assert not task.visible
                told(200_000_000, 1_000_000_000)
                assert task.visible
                assert "sales: read, 200 MB at 100 MB/s, 8 s left" == task.description
                assert (200_000_000, 1_000_000_000) == (task.completed, task.total)
                told(210_000_000, 1_000_000_000)
                assert 200_000_000 == task.completed
                told(600_000_000, None)
                assert "sales: read, 600 MB at 150 MB/s" == task.description
        finally:
            TERMINAL.reset(token)
        assert [] == display.tasks
