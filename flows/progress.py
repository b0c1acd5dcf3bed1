"""How far a training is: on the terminal where there is one, and on Prefect's page."""

from __future__ import annotations

import re
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from rich.markup import escape

from flows.runners import go_on
from gd.notation import visible

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["TERMINAL", "Following", "FollowingBytes"]

_OFTEN = 0.5  # seconds between two looks at a reading
_LONG = 10.0  # seconds

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
        self._what, self._epochs = visible(f"{name}: {backend}", 200), epochs
        self._key = re.sub(r"[^a-z0-9]+", "-", f"training-{name}-{backend}".lower()).strip("-")
        self._terminal = TERMINAL.get()
        self._bar = self._terminal.add_task(escape(self._what), total=epochs, visible=False) if self._terminal else None
        self._artifact: UUID | None = None

    def __enter__(self) -> Following:
        return self

    def __call__(self, epoch: int, loss: float) -> None:
        """So many epochs are done, and this was the last loss. Ends the training where the whole run is being stopped."""
        go_on()
        if self._terminal and self._bar is not None:
            self._terminal.update(
                self._bar, completed=epoch, description=escape(f"{self._what}, loss {loss:.4g}"), visible=True
            )
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


class FollowingBytes:
    """Shows how far a reading is, with its rate and the time left: a callback for `gd.reading.scan`, used in a ``with``.

    On Prefect's page it appears after ten seconds; a reading of less is over before anyone looks.

    Args:
        what: is read.
    """

    def __init__(self, what: str) -> None:
        self._what = visible(what, 200)
        self._key = re.sub(r"[^a-z0-9]+", "-", f"reading-{what}".lower()).strip("-")
        self._terminal = TERMINAL.get()
        self._bar = self._terminal.add_task(escape(self._what), total=None, visible=False) if self._terminal else None
        self._artifact: UUID | None = None
        self._began = self._told = monotonic()

    def __enter__(self) -> FollowingBytes:
        return self

    def __call__(self, done: int, total: int | None) -> None:
        """So many bytes are read, of so many where that is known. Ends the reading where the whole run is being stopped."""
        now = monotonic()
        if now - self._told < _OFTEN:
            return
        go_on()
        self._told = now
        rate = done / (now - self._began)
        said = f"{self._what}, {done / 1e6:,.0f} MB at {rate / 1e6:,.0f} MB/s"
        if total:
            said += f", {(total - done) / rate:,.0f} s left"
        if self._terminal and self._bar is not None:
            self._terminal.update(self._bar, completed=done, total=total, description=escape(said), visible=True)
        if total is None or now - self._began < _LONG or TaskRunContext.get() is None:
            return
        percent = 100.0 * done / total
        if self._artifact is None:
            made = create_progress_artifact(percent, key=self._key, description=f"Bytes of {self._what}")
            self._artifact = cast("UUID", made)
        else:
            update_progress_artifact(self._artifact, percent, description=said)

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._bar is not None:
            self._terminal.remove_task(self._bar)
        if self._artifact is not None:
            update_progress_artifact(self._artifact, 100.0)
