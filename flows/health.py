"""Whether all is well: server, worker, database, mail, and the last report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterExpectedStartTime
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from flows.mailing import credentials, open_outbox
from gd.outbox import Outbox, OutboxError
from gd.smtp import SmtpError, check

__all__ = ["Finding", "examine"]

_GRACE = timedelta(minutes=15)  # in which a run may start, and its mail go out


@dataclass(frozen=True, slots=True)
class Finding:
    """One part and how it is."""

    part: str
    well: bool
    sentence: str


def examine(reports: Path) -> Iterator[Finding]:
    """Look at each part in turn; a part that another one hides is not told of.

    Args:
        reports: folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
    """
    now = datetime.now(UTC)
    deployments: list[DeploymentResponse] = []
    try:
        with get_client(sync_client=True) as client:
            deployments = [
                item
                for item in client.read_deployments()
                if "mail" in (item.parameter_openapi_schema or {}).get("properties", {})
            ]
            yield Finding("server", True, f"Prefect's server answers at {client.api_url}.")
            yield from _workers(client, deployments)
            yield from _runs(client, deployments, now)
    except Exception as error:  # noqa: BLE001  (whatever it is, the server cannot be used)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Finding("server", False, f"Prefect's server does not answer ({reason}). Is `gd serve` running?")
    needed = any((item.parameters.get("mail") or {}).get("to") for item in deployments)
    yield _smtp(needed=needed)
    try:
        outbox = open_outbox(reports)
    except OutboxError as error:
        yield Finding("outbox", False, f"{error}.")
        return
    with outbox:
        yield _waiting(outbox, now)
        yield _last_report(outbox, deployments, now, needed=needed)


def _workers(client: SyncPrefectClient, deployments: list[DeploymentResponse]) -> Iterator[Finding]:
    for pool in sorted({item.work_pool_name for item in deployments if item.work_pool_name}):
        online = [item.name for item in client.read_workers_for_work_pool(pool) if item.status == WorkerStatus.ONLINE]
        said = f"{', '.join(online)} takes runs of {pool}." if online else f"no worker takes runs of {pool}. Start `gd serve`."
        yield Finding("worker", bool(online), said)
    if not deployments:
        yield Finding("worker", False, "the server knows no deployment of this program. Start `gd serve`.")


def _runs(client: SyncPrefectClient, deployments: list[DeploymentResponse], now: datetime) -> Iterator[Finding]:
    """The last slot of each deployment that ought to be over by now."""
    for deployment in deployments:
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(before_=now - _GRACE)),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1,
        )  # fmt: skip
        if deployment.paused:
            yield Finding(deployment.name, False, "its schedule is paused.")
        elif not found or found[0].state is None:
            yield Finding(deployment.name, True, "no run was due yet.")
        else:
            state = found[0].state
            well = state.is_completed() or state.is_running() or state.is_cancelled()
            when = f"{found[0].expected_start_time:%d %b %Y, %H:%M} UTC"
            said = f": {state.message}" if state.message else ""
            yield Finding(deployment.name, well, f"the run of {when} is {(state.name or '').lower()}{said}.".replace("..", "."))


def _smtp(*, needed: bool) -> Finding:
    try:
        server = credentials()
    except ValueError as error:
        return Finding("mail", False, f"{error}.")
    if server is None:
        missing = "no mail server is configured (GD_SMTP_HOST)"
        return Finding(
            "mail", not needed, f"{missing}, and a deployment has readers." if needed else f"{missing}; nobody is to get any."
        )
    try:
        check(server)
    except SmtpError as error:
        return Finding("mail", False, f"{error}.")
    return Finding(
        "mail", True, f"{server.host}:{server.port} takes mail{' and the login' if server.user else ''} ({server.security})."
    )


def _waiting(outbox: Outbox, now: datetime) -> Finding:
    stuck = outbox.stuck(now)
    waiting = sum(number for state, number in outbox.counts().items() if state in {"pending", "sending", "deferred"})
    wrong = {
        "waiting for more than an hour": stuck.overdue,
        "given up since yesterday": stuck.dead,
        "of unknown end since yesterday": stuck.unknown,
    }
    said = ", ".join(f"{number} {what}" for what, number in wrong.items() if number)
    return Finding("outbox", not said, f"{said}: see gd outbox list." if said else f"{waiting} on their way, none stuck.")


def _last_report(outbox: Outbox, deployments: list[DeploymentResponse], now: datetime, *, needed: bool) -> Finding:
    """Whether a report went out within the last two intervals of the most frequent schedule that has readers."""
    from flows.slots import next_slot  # noqa: PLC0415

    last = outbox.last_sent("report")
    when = f"the last one was sent {last:%d %b %Y, %H:%M} UTC." if last else "none was sent yet."
    if not needed:
        return Finding("report", True, when)
    due = []
    for item in deployments:
        since = last or item.created
        if (item.parameters.get("mail") or {}).get("to") and since and (first := next_slot(item, since)):
            second = next_slot(item, first)
            due.append((second or first) + _GRACE < now)
    return Finding("report", not any(due), when + (" Two slots have passed since." if any(due) else ""))
