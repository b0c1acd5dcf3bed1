"""What the server knows of the deployments: when they run next, which slots were missed, how runs end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Completed

from flows.slots import next_slot, of, too_late, when

__all__ = ["News", "create_pool", "find", "merged", "next_runs", "skip_missed"]


def create_pool(name: str) -> None:
    """Make a work pool of processes, unless it is there."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return


def find(client: SyncPrefectClient, name: str) -> list[DeploymentResponse]:
    """Deployments called so, by their own name or by `flow/name`."""
    found = []
    for deployment in client.read_deployments():
        full = f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"
        if name in {deployment.name, full}:
            found.append(deployment)
    return found


def next_runs(names: Collection[str], now: datetime, most: int) -> list[tuple[datetime, str]]:
    """The next slots of these deployments, soonest first."""
    found = []
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            moment: datetime | None = now
            for _ in range(most if deployment.name in names and not deployment.paused else 0):
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
        for deployment in client.read_deployments():
            if deployment.name not in names:
                continue
            missed = client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                    expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
                ),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=200,
            )
            skipped = []
            for place, run in enumerate(run for run in missed if run.auto_scheduled):
                slot = of(run, deployment, now)
                reason = too_late(slot, deployment.parameters.get("skip_after"), now)
                if place or reason:
                    said = (
                        reason
                        or f"The slot of {when(slot.moment)} is skipped: nothing ran then, and a later one is due as well."
                    )
                    client.set_flow_run_state(run.id, Completed(name="Skipped", message=said), force=True)
                    skipped.append(run)
            if skipped:
                lines.append(f"{deployment.name}: {len(skipped)} missed slot{'' if len(skipped) == 1 else 's'} skipped.")
    return lines


class News:
    """How the runs of these deployments end, told once each.

    Args:
        names: of the deployments.
        since: what ended before is no news.
    """

    def __init__(self, names: Collection[str], since: datetime) -> None:
        self._names, self._since, self._told = names, since, set[UUID]()

    def lines(self) -> Iterator[str]:
        """A line for each run that has ended since the last time; nothing where the server does not answer."""
        try:
            with get_client(sync_client=True) as client:
                known = {item.id: item.name for item in client.read_deployments() if item.name in self._names}
                runs = client.read_flow_runs(sort=FlowRunSort.END_TIME_DESC, limit=20)
        except Exception:  # noqa: BLE001  (it is news, not the work)
            return
        for run in reversed(runs):
            if run.deployment_id in known and run.id not in self._told and self._is_new(run):
                self._told.add(run.id)
                assert run.state is not None
                said = f": {run.state.message}" if run.state.message else "."
                yield f"{known[run.deployment_id]}, {'scheduled' if run.auto_scheduled else 'by hand'}: {run.state.name}{said}"

    def _is_new(self, run: FlowRun) -> bool:
        return bool(run.state and run.state.is_final() and run.end_time and run.end_time > self._since)


def merged(parameters: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment's parameters with some of them changed; a dot in a name reaches into a setting."""
    result: dict[str, Any] = dict(parameters)
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        inner = result.get(first)
        result[first] = merged(inner if isinstance(inner, Mapping) else {}, {rest: value}) if rest else value
    return result
