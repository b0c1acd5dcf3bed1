"""How far a training is: on the terminal where there is one, and on Prefect's page."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from gd.training import Progress as Callback

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["TERMINAL", "follow"]

TERMINAL: ContextVar[Progress | None] = ContextVar("terminal", default=None)
"""The progress display of the command that runs the flow; None in a worker."""


def follow(name: str, backend: str, epochs: int) -> Callback:
    """A callback for `gd.training.train` that shows its epochs; what ends within half a second shows nothing.

    Args:
        name: of the data set.
        backend: that trains.
        epochs: at most.
    """
    terminal = TERMINAL.get()
    bar = terminal.add_task(f"{name}: {backend}", total=epochs, visible=False) if terminal else None
    key = re.sub(r"[^a-z0-9]+", "-", f"training-{name}-{backend}".lower()).strip("-")
    artifact: UUID | None = None

    def show(epoch: int, loss: float) -> None:
        nonlocal artifact
        if terminal and bar is not None:
            terminal.update(bar, completed=epoch, description=f"{name}: {backend}, loss {loss:.4g}", visible=True)
        if TaskRunContext.get() is None:  # called as a plain function: there is no page to show it on
            return
        percent = 100.0 * epoch / epochs
        if artifact is None:
            made = create_progress_artifact(percent, key=key, description=f"{name}: epochs of {backend}")
            artifact = cast("UUID", made)  # a coroutine only where the caller is one
        else:
            update_progress_artifact(artifact, percent)

    return show
