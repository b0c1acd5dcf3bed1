"""Sending, as a flow of its own: an outage of the mail neither fails nor repeats a training."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_logger
from prefect.states import Completed, Crashed, Failed

from flows.mailing import credentials, open_outbox, post_owed, tell
from flows.recovery import Interrupted, Presence, recover
from gd.outbox import Delivered, OutboxError, deliver

__all__ = ["clean_up", "delivery", "drain"]

_KILLED = "The run was killed: its process or its machine went down."
_KEPT = timedelta(days=30)  # for so long a message that was settled can be sent again


@flow(name="delivery")
def delivery(reports: str = "reports", seconds: float = 240.0) -> State[Any]:
    """Send what is owed; before that, clean up after runs that were killed and tell their owners.

    Args:
        reports: folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
        seconds: how long at most; what is left is sent by the next run.
    """
    interrupted = clean_up(Path(reports))
    found = f"{len(interrupted)} killed run{'' if len(interrupted) == 1 else 's'} cleaned up. " if interrupted else ""
    found += "".join(f"{line} " for line in post_owed(Path(reports), datetime.now(UTC)))
    try:
        return Completed(message=found + drain(Path(reports), seconds))
    except (OutboxError, ValueError) as error:  # told in words; what is owed stays owed
        return Failed(message=f"{found}{error}.")


def drain(reports: Path, seconds: float) -> str:
    """Send what is owed and due, for a while; says in a line what became of it."""
    server = credentials()
    if server is None:
        return "No mail server is configured (GD_SMTP_HOST): nothing is sent."
    with open_outbox(reports) as outbox:
        done: Delivered = deliver(
            outbox,
            server,
            now=lambda: datetime.now(UTC),
            random=random.Random(),  # noqa: S311  (spreads retries)
            worker=f"{socket.gethostname()}/{os.getpid()}",
            until=datetime.now(UTC) + timedelta(seconds=seconds),
        )
        outbox.prune(datetime.now(UTC) - _KEPT)
    return str(done)


def clean_up(reports: Path, reason: str = _KILLED) -> list[Interrupted]:
    """Find flow runs that were killed, close them on the server, and owe their owners a notice.

    What goes wrong here is logged, and tried again at the next start: it is no reason to train nothing.

    Args:
        reports: the folder of all reports.
        reason: what the owners read.
    """
    now = datetime.now(UTC)

    def settle(item: Interrupted) -> bool:
        end = _end_of(item.presence)
        if end == "crashed":
            tell("crashed", item.presence, [reason, *_left(item.folders)], reports, now)
        return end != "not known"

    try:
        return recover(reports, now, settle)
    except (OSError, OutboxError, ValueError) as error:
        get_logger("gd").error("What a killed run has left cannot be cleaned up: %s", error)
        return []


def _left(folders: Sequence[Path]) -> list[str]:
    names = ", ".join(folder.parent.name for folder in folders)
    kept = "Reports that were finished before are kept."
    return [f"In the middle of: {names}. {kept}"] if names else [kept]


def _end_of(presence: Presence) -> Literal["crashed", "over", "not known"]:
    """How a killed run has ended. A server that takes it for running learns better, and frees the deployment's slot."""
    if not presence.deployment:  # its server was a temporary one, or has nothing that waits for it
        return "crashed"
    try:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(UUID(presence.flow_run))
            if found.state is not None and found.state.is_final():
                return "crashed" if found.state.is_crashed() else "over"  # as where a person cancelled it
            client.set_flow_run_state(found.id, Crashed(message="The run was killed: its process is gone."), force=True)
    except (ObjectNotFound, PrefectHTTPStatusError, httpx.HTTPError, RuntimeError):  # another server's, or no answer
        return "not known"
    return "crashed"
