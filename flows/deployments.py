"""What the server knows of the deployments: when they run next, which slots were missed, how runs end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Completed, Scheduled

from flows.slots import Slot, next_slot, of, too_late, when

__all__ = ["FLOW", "News", "create_pool", "find", "merged", "next_runs", "revive_newest", "skip_missed"]


FLOW = "training-report"

_AFTERWARDS = 10.0  # seconds in which a run that finds itself too late is over


def create_pool(name: str) -> None:
    """Make a work pool of processes, unless it is there."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return


def find(client: SyncPrefectClient, name: str) -> list[DeploymentResponse]:
    """Deployments called so, by their own name or by `flow/name`."""
    flow, _, own = name.rpartition("/")
    return client.read_deployments(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[own])),
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])) if flow else None,
    )


def _ours(client: SyncPrefectClient, names: Collection[str]) -> list[DeploymentResponse]:
    """Of this program's flow, by their names: a server may have others of the same name."""
    return client.read_deployments(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(names))),
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
    )


def next_runs(names: Collection[str], now: datetime, most: int) -> list[tuple[datetime, str]]:
    """The next slots of these deployments, soonest first."""
    found = []
    with get_client(sync_client=True) as client:
        for deployment in _ours(client, names):
            moment: datetime | None = now
            for _ in range(0 if deployment.paused else most):
                moment = next_slot(deployment, moment) if moment else None
                if moment:
                    found.append((moment, deployment.name))
    return sorted(found)[:most]


def skip_missed(names: Collection[str], now: datetime) -> list[str]:
    """Close the slots that passed while no worker ran, but for the last of each deployment where that is not too late.

    Without this all of them would start at once, and of runs that start at once the deployment's limit lets only the first.

    Returns:
        A line for each deployment of which slots were skipped.
    """
    lines = []
    with get_client(sync_client=True) as client:
        for deployment in _ours(client, names):
            skipped = 0
            for place, run in enumerate(_due(client, deployment, StateType.SCHEDULED, now)):
                slot = of(run, deployment, now)
                reason = too_late(slot, deployment.parameters.get("skip_after"), now)
                if place or reason:
                    later = f"The slot of {when(slot.moment)} is skipped: nothing ran then, and a later one is due as well."
                    client.set_flow_run_state(run.id, Completed(name="Skipped", message=reason or later), force=True)
                    skipped += 1
            if skipped:
                lines.append(f"{deployment.name}: {skipped} missed slot{'' if skipped == 1 else 's'} skipped.")
    return lines


def revive_newest(slot: Slot, now: datetime) -> None:
    """Let the newest slot run after all that was cancelled because a run that is too late stood in its way.

    Where a worker starts after an outage without `skip_missed` before it, all late runs start at once: the first one has the
    deployment's one place, finds itself too late and leaves; the others were cancelled meanwhile, the punctual one among them.
    """
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment(UUID(slot.deployment_id))
        newest = next(iter(_due(client, deployment, StateType.CANCELLED, now)), None)
        if newest is None or newest.expected_start_time is None or newest.expected_start_time <= slot.moment:
            return
        collided = "concurrency limit" in ((newest.state and newest.state.message) or "")
        if collided and not too_late(of(newest, deployment, now), deployment.parameters.get("skip_after"), now):
            soon = now + timedelta(seconds=_AFTERWARDS)
            client.set_flow_run_state(newest.id, Scheduled(scheduled_time=soon), force=True)


def _due(client: SyncPrefectClient, deployment: DeploymentResponse, state: StateType, now: datetime) -> list[FlowRun]:
    """Scheduled runs of a deployment whose slot has come, in a state, newest first."""
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=200,
    )
    return [run for run in found if run.auto_scheduled]


class News:
    """How the runs of these deployments end, told once each.

    Args:
        names: of the deployments.
        since: what ended before is no news.
    """

    def __init__(self, names: Collection[str], since: datetime) -> None:
        self._since, self._told = since, set[UUID]()
        with get_client(sync_client=True) as client:
            self._names = {deployment.id: deployment.name for deployment in _ours(client, names)}

    def lines(self) -> Iterator[str]:
        """A line for each run that has ended since the last time; nothing where the server does not answer."""
        ends = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
        try:
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(
                    deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(self._names))),
                    flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ends))),
                    sort=FlowRunSort.END_TIME_DESC,
                    limit=20,
                )
        except Exception:  # noqa: BLE001  (it is news, not the work)
            return
        for run in reversed(runs):
            if run.id in self._told or run.end_time is None or run.end_time <= self._since or run.state is None:
                continue
            self._told.add(run.id)
            said = f": {run.state.message}" if run.state.message else "."
            name = self._names.get(run.deployment_id) if run.deployment_id else None
            yield f"{name}, {'scheduled' if run.auto_scheduled else 'by hand'}: {run.state.name}{said}"


def merged(parameters: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment's parameters with some of them changed; a dot in a name reaches into a setting."""
    result: dict[str, Any] = dict(parameters)
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        inner = result.get(first)
        result[first] = merged(inner if isinstance(inner, Mapping) else {}, {rest: value}) if rest else value
    return result
