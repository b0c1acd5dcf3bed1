"""Which slot of which deployment a flow run fills, and whether that slot has passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext
from prefect.utilities.asyncutils import run_coro_as_sync

__all__ = ["Slot", "current", "next_slot", "of", "too_late", "when"]


@dataclass(frozen=True, slots=True)
class Slot:
    """What a flow run stands for."""

    flow_run: str  # its id on the server; empty where there is none
    deployment: str  # its name; empty where the flow was called directly
    key: str  # one for each slot of a deployment, one for each run by hand
    moment: datetime  # for when it was scheduled, else when it was started
    zone: str = "UTC"  # of the schedule
    scheduled: bool = False
    missed: datetime | None = None  # the slot after this one, where that is due already
    deployment_id: str = ""
    upcoming: datetime | None = None  # the deployment's next slot

    def title(self, names: Iterable[str]) -> str:
        """What a mail's subject calls it: the deployment, else the data sets."""
        if self.deployment:
            return self.deployment
        first, *others = [*names] or ["gd"]
        return f"{first} and {len(others)} more" if others else first


def current(now: datetime) -> Slot:
    """The slot of the flow run that asks."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None:
        return Slot("", "", f"call-{now:%Y-%m-%dT%H-%M-%S-%f}", now)
    if flow_run.deployment_id is None:
        return Slot(str(flow_run.id), "", str(flow_run.id), now)
    with get_client(sync_client=True) as client:
        return of(flow_run, client.read_deployment(flow_run.deployment_id), now)


def of(flow_run: FlowRun, deployment: DeploymentResponse, now: datetime) -> Slot:
    """The slot of a flow run of a deployment."""
    scheduled = bool(flow_run.auto_scheduled and flow_run.expected_start_time)
    zones = [zone for item in deployment.schedules if item.active and (zone := getattr(item.schedule, "timezone", None))]
    moment = flow_run.expected_start_time if scheduled and flow_run.expected_start_time else now
    again = f"/{flow_run.run_count}" if flow_run.run_count > 1 else ""  # a person lets it run once more: that is another report
    return Slot(
        flow_run=str(flow_run.id),
        deployment=deployment.name,
        key=(f"{deployment.id}/{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if scheduled else str(flow_run.id)) + again,
        deployment_id=str(deployment.id),
        moment=moment,
        zone=zones[0] if zones else "UTC",
        scheduled=scheduled,
        missed=after if scheduled and (after := next_slot(deployment, moment)) and after <= now else None,
        upcoming=None if deployment.paused else next_slot(deployment, now),
    )


def next_slot(deployment: DeploymentResponse, moment: datetime) -> datetime | None:
    """The first slot of a deployment after a moment; None where it has no active schedule."""
    from prefect.server.schemas import schedules  # noqa: PLC0415  (only the server's own models know the dates of a schedule)

    found: list[datetime] = []
    for item in deployment.schedules:
        if not item.active:
            continue
        schedule: Any = getattr(schedules, type(item.schedule).__name__).model_validate(item.schedule.model_dump())
        found += run_coro_as_sync(schedule.get_dates(1, start=moment + timedelta(seconds=1))) or []
    return min(found, default=None)


def too_late(slot: Slot, skip_after: float | None, now: datetime) -> str | None:
    """Why a scheduled run is not worth its start any more; None where it is.

    Args:
        slot: of the run.
        skip_after: seconds that it may be late; one interval of its schedule where that is None.
        now: when it would start.
    """
    if not slot.scheduled:
        return None
    late = timedelta(seconds=round((now - slot.moment).total_seconds()))
    due = f"The slot of {when(slot.moment)} is skipped: it would start {late} late"
    if skip_after is not None:
        return f"{due}, and at most {skip_after:g} seconds are allowed." if late.total_seconds() > skip_after else None
    return f"{due}, and the slot of {when(slot.missed)} is due as well." if slot.missed else None


def when(moment: datetime) -> str:
    """A moment in words."""
    return f"{moment.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"
