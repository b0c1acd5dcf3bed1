"""Missed slots on a real server: which are closed, which still runs, and whose are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled

from flows.deployments import find, next_runs, revive_newest, skip_missed
from flows.slots import of

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

MINUTE = timedelta(minutes=1)
COLLIDED: State[Any] = Cancelled(message="Deployment concurrency limit reached.")


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    """The test's server."""
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def now() -> datetime:
    """Half a minute after a slot."""
    return datetime.now(UTC)


@pytest.fixture
def name() -> str:
    """Of a deployment that no other test has."""
    return f"every-minute-{uuid4().hex[:8]}"


def deploy(client: SyncPrefectClient, now: datetime, name: str, flow: str = "training-report") -> UUID:
    """A deployment with four slots that have passed, half a minute ago the last, and some to come."""
    schedule = IntervalSchedule(interval=MINUTE, anchor_date=now - timedelta(minutes=9, seconds=30))
    made = client.create_deployment(
        flow_id=client.create_flow_from_name(flow), name=name, schedules=[DeploymentScheduleCreate(schedule=schedule)]
    )
    start = (now - timedelta(minutes=3, seconds=45)).isoformat()
    answer = client.request("POST", "/deployments/{id}/schedule", path_params={"id": made}, json={"start_time": start})
    answer.raise_for_status()
    return made


def runs(client: SyncPrefectClient, deployment: UUID, now: datetime) -> list[FlowRun]:
    """The runs whose slot has come, oldest first."""
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    return [run for run in found if run.expected_start_time and run.expected_start_time <= now]


def states(client: SyncPrefectClient, deployment: UUID, now: datetime) -> list[str | None]:
    """What they are."""
    return [run.state.name if run.state else None for run in runs(client, deployment, now)]


def test_of_missed_slots_the_last_runs(client: SyncPrefectClient, now: datetime, name: str) -> None:
    """The others are closed with their reason; another flow's deployment of the same name is nobody's business here."""
    ours, theirs = deploy(client, now, name), deploy(client, now, name, "another-team")
    assert [f"{name}: 3 missed slots skipped."] == skip_missed([name], now)
    assert ["Skipped", "Skipped", "Skipped"] == states(client, ours, now)[:-1]
    assert states(client, ours, now)[-1] in {"Scheduled", "Late"}
    assert all("is skipped" in str(run.state and run.state.message) for run in runs(client, ours, now)[:-1])
    assert {"Scheduled", "Late"} >= set(states(client, theirs, now))
    assert [] == skip_missed([name], now)


def test_where_even_the_last_is_too_late_none_runs(client: SyncPrefectClient, now: datetime, name: str) -> None:
    """An interval after the last slot, with the next one due."""
    ours = deploy(client, now, name)
    later = now + MINUTE
    skip_missed([name], later)
    assert {"Skipped"} == set(states(client, ours, now))


def test_the_punctual_run_that_a_stale_one_kept_out_runs_after_all(client: SyncPrefectClient, now: datetime, name: str) -> None:
    """Only the newest, only where it collided, and only once the stale one has seen that it is too late."""
    ours = deploy(client, now, name)
    first, *others = runs(client, ours, now)
    for run in others:
        client.set_flow_run_state(run.id, COLLIDED, force=True)
    slot = of(first, client.read_deployment(ours), now)
    revive_newest(slot, now)
    *cancelled, revived = runs(client, ours, now)[1:]
    assert {"Cancelled"} == {run.state.name for run in cancelled if run.state}
    assert revived.state is not None
    assert "Scheduled" == revived.state.name
    assert revived.auto_scheduled
    assert others[-1].expected_start_time == revived.expected_start_time  # it stays that slot's run
    client.set_flow_run_state(revived.id, Cancelled(message="by a person"), force=True)
    revive_newest(slot, now)
    assert "Cancelled" == states(client, ours, now)[-1]


def test_the_next_runs(client: SyncPrefectClient, now: datetime, name: str) -> None:
    """Soonest first, of ours alone."""
    deploy(client, now, name, "another-team")
    deploy(client, now, name)
    found = next_runs([name], now, 3)
    assert [name] * 3 == [which for _, which in found]
    assert [MINUTE, MINUTE] == [later - sooner for (sooner, _), (later, _) in pairwise(found)]
    assert 2 == len(find(client, name))
    assert 1 == len(find(client, f"training-report/{name}"))
    assert [] == find(client, "hourly")
