"""How far a training is: on the terminal where there is one, and on Prefect's page."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from flows.runners import go_on

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["TERMINAL", "Following"]

TERMINAL: ContextVar[Progress | None] = ContextVar("terminal", default=None)
"""The progress display of the command that runs the flow; None in a worker."""


class Following:
    """Shows how far a training is: a callback for `gd.training.train`, used in a ``with`` around it.

    What ends within half a second shows nothing; what took longer is shown as done when it is.

    Args:
        name: of the data set.
        backend: that trains.
        epochs: at most.
    """

    def __init__(self, name: str, backend: str, epochs: int) -> None:
        self._what, self._epochs = f"{name}: {backend}", epochs
        self._key = re.sub(r"[^a-z0-9]+", "-", f"training-{name}-{backend}".lower()).strip("-")
        self._terminal = TERMINAL.get()
        self._bar = self._terminal.add_task(self._what, total=epochs, visible=False) if self._terminal else None
        self._artifact: UUID | None = None

    def __enter__(self) -> Following:
        return self

    def __call__(self, epoch: int, loss: float) -> None:
        """So many epochs are done, and this was the last loss. Ends the training where the whole run is being stopped."""
        go_on()
        if self._terminal and self._bar is not None:
            self._terminal.update(self._bar, completed=epoch, description=f"{self._what}, loss {loss:.4g}", visible=True)
        if TaskRunContext.get() is None:  # called as a plain function: there is no page to show it on
            return
        percent = 100.0 * epoch / self._epochs
        if self._artifact is None:
            made = create_progress_artifact(percent, key=self._key, description=f"Epochs of {self._what}")
            self._artifact = cast("UUID", made)  # a coroutine only where the caller is one
        else:
            update_progress_artifact(self._artifact, percent)

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._bar is not None:
            self._terminal.remove_task(self._bar)
        if self._artifact is not None:
            update_progress_artifact(self._artifact, 100.0)
