"""Whether all is well: server, worker, database, mail, and the last report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from flows.deployments import FLOW
from flows.mailing import credentials, missing_outbox, open_outbox
from flows.slots import next_slot, when
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


def examine(reports: Path, *, served: bool) -> Iterator[Finding]:
    """Look at each part in turn; a part that another one hides is not told of.

    Args:
        reports: folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
        served: whether a server is known.
    """
    now = datetime.now(UTC)
    deployments: list[DeploymentResponse] = []
    try:
        if not served:
            raise ConnectionError("none is known")
        with get_client(sync_client=True) as client:
            deployments = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])))
            yield Finding("server", True, f"Prefect's server answers at {client.api_url}.")
            yield from _workers(client, deployments)
            yield from _runs(client, deployments, now)
    except Exception as error:  # noqa: BLE001  (whatever it is, the server cannot be used)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "Start `gd serve` in this folder, or set PREFECT_API_URL."
        yield Finding("server", False, f"Prefect's server does not answer ({reason}). {remedy}")
    needed = any(_has_readers(item) for item in deployments)
    yield _smtp(needed=needed)
    if (place := missing_outbox(reports)) is not None:
        yield Finding("outbox", not needed, f"there is none at {place}: nothing was ever owed.")
        return
    try:
        outbox = open_outbox(reports)
    except OutboxError as error:
        yield Finding("outbox", False, f"{error}.")
        return
    with outbox:
        yield _waiting(outbox, now)
        yield _last_report(outbox, deployments, now, needed=needed)


def _has_readers(deployment: DeploymentResponse) -> bool:
    given = deployment.parameters.get("mail") or {}
    return bool(given.get("to") or given.get("cc"))


def _workers(client: SyncPrefectClient, deployments: list[DeploymentResponse]) -> Iterator[Finding]:
    for pool in sorted({item.work_pool_name for item in deployments if item.work_pool_name}):
        online = [item.name for item in client.read_workers_for_work_pool(pool) if item.status == WorkerStatus.ONLINE]
        said = f"{', '.join(online)} takes runs of {pool}." if online else f"no worker takes runs of {pool}. Start `gd serve`."
        yield Finding("worker", bool(online), said)
    if not deployments:
        yield Finding("worker", False, "the server knows no deployment of this program. Start `gd serve`.")


def _runs(client: SyncPrefectClient, deployments: list[DeploymentResponse], now: datetime) -> Iterator[Finding]:
    """The last slot of each deployment: how it ended, or whether it ought to have."""
    for deployment in deployments:
        if deployment.paused:
            yield Finding(deployment.name, False, "its schedule is paused.")
            continue
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(before_=now)),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=50,
        )  # fmt: skip
        run = next((run for run in found if run.auto_scheduled), found[0] if found else None)
        if run is None or run.state is None or run.expected_start_time is None:
            yield Finding(deployment.name, True, "no run was due yet.")
            continue
        state, late = run.state, now - run.expected_start_time > _GRACE
        overdue = next_slot(deployment, run.expected_start_time)
        collided = state.is_cancelled() and "concurrency limit" in (state.message or "")
        stands = (state.is_running() or state.is_pending()) and overdue is not None and overdue + _GRACE < now
        well = state.is_completed() or (state.is_cancelled() and not collided) or not (state.is_final() or late or stands)
        well = well or (state.is_running() and not stands)
        how = "scheduled" if run.auto_scheduled else "by hand"
        said = f": {state.message.rstrip('.')}" if state.message else ""
        yield Finding(
            deployment.name, well, f"the run of {when(run.expected_start_time)}, {how}, is {(state.name or '').lower()}{said}."
        )


def _smtp(*, needed: bool) -> Finding:
    try:
        server = credentials()
    except ValueError as error:
        return Finding("mail", False, f"{error}.")
    if server is None:
        missing = "no mail server is configured (GD_SMTP_HOST)"
        return Finding(
            "mail",
            not needed,
            f"{missing}, and a deployment has readers: set GD_* here as for `gd serve`."
            if needed
            else f"{missing}; nobody is to get any.",
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
    return Finding(
        "outbox", not said, f"{said}: see gd outbox list." if said else f"{waiting or 'none'} on the way, none stuck."
    )


def _last_report(outbox: Outbox, deployments: list[DeploymentResponse], now: datetime, *, needed: bool) -> Finding:
    """Whether a report went out within the last two intervals of the most frequent schedule that has readers."""
    last = outbox.last_sent("report")
    when_sent = f"the last one was sent {when(last)}." if last else "none was sent yet."
    if not needed:
        return Finding("report", True, when_sent)
    due = []
    for item in deployments:
        since = last or item.created
        if _has_readers(item) and since and (first := next_slot(item, since)):
            due.append((next_slot(item, first) or first) + _GRACE < now)
    return Finding("report", not any(due), when_sent + (" Two slots have passed since." if any(due) else ""))
