"""Slots of a deployment, and which of them have passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows.deployments import merged
from flows.slots import Slot, next_slot, of, too_late

NIGHT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)  # 02:00 in Berlin in winter
CRON = CronSchedule(cron="0 2 * * *", timezone="Europe/Berlin")


def deployment(*schedules: CronSchedule | IntervalSchedule | RRuleSchedule, active: bool = True) -> DeploymentResponse:
    """A deployment with these schedules."""
    items = [DeploymentSchedule(id=uuid4(), schedule=schedule, active=active) for schedule in schedules]
    return DeploymentResponse(id=uuid4(), name="nightly", flow_id=uuid4(), schedules=items, labels={})


def flow_run(expected: datetime, *, scheduled: bool = True) -> FlowRun:
    """A flow run as the server knows it."""
    return FlowRun(id=uuid4(), flow_id=uuid4(), expected_start_time=expected, auto_scheduled=scheduled)


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        (CRON, NIGHT, NIGHT + timedelta(days=1)),
        (CRON, NIGHT - timedelta(seconds=1), NIGHT),
        (CRON, datetime(2027, 3, 28, 1, 0, tzinfo=UTC), datetime(2027, 3, 29, 0, 0, tzinfo=UTC)),  # 02:00 in summer
        (IntervalSchedule(interval=timedelta(minutes=5), anchor_date=NIGHT), NIGHT, NIGHT + timedelta(minutes=5)),
        (RRuleSchedule(rrule="DTSTART:20261123T010000Z\nRRULE:FREQ=HOURLY"), NIGHT, NIGHT + timedelta(hours=1)),
    ],
)
def test_the_next_slot(schedule: CronSchedule, moment: datetime, expected: datetime) -> None:
    """By cron with its zone and its changes of the clock, by interval, by recurrence rule."""
    assert expected == next_slot(deployment(schedule), moment)


def test_the_soonest_of_several_schedules_counts() -> None:
    """And none of them where all are switched off."""
    both = (CRON, CronSchedule(cron="0 14 * * *", timezone="UTC"))
    assert datetime(2026, 11, 23, 14, 0, tzinfo=UTC) == next_slot(deployment(*both), NIGHT)
    assert next_slot(deployment(*both, active=False), NIGHT) is None
    assert next_slot(deployment(), NIGHT) is None


@pytest.mark.parametrize(
    ("late", "skip_after", "expected"),
    [
        (timedelta(minutes=1), None, None),
        (timedelta(hours=23), None, None),
        (
            timedelta(hours=24),
            None,
            "would start 1 day, 0:00:00 late, and the slot of 24 Nov 2026, 01:00:00 UTC is due as well.",
        ),
        (timedelta(days=3), None, "would start 3 days, 0:00:00 late, and the slot of 24 Nov 2026"),
        (timedelta(minutes=11), 600.0, "would start 0:11:00 late, and at most 600 seconds are allowed."),
        (timedelta(minutes=9), 600.0, None),
        (timedelta(days=3), 1e6, None),
    ],
)
def test_a_slot_that_has_passed_is_not_worth_its_start(late: timedelta, skip_after: float | None, expected: str | None) -> None:
    """After one interval of the schedule, or after the seconds that are set."""
    slot = of(flow_run(NIGHT), deployment(CRON), NIGHT + late)
    reason = too_late(slot, skip_after, NIGHT + late)
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        assert reason.startswith("The slot of 23 Nov 2026, 01:00:00 UTC is skipped: it ")
        assert reason.endswith(expected) or expected in reason


def test_a_run_by_hand_is_never_late() -> None:
    """It has no slot: its key is its own."""
    run = flow_run(NIGHT - timedelta(days=9), scheduled=False)
    slot = of(run, deployment(CRON), NIGHT)
    assert (str(run.id), NIGHT, None) == (slot.key, slot.moment, slot.missed)
    assert too_late(slot, 1.0, NIGHT) is None


def test_a_slot_has_one_key_whichever_run_fills_it() -> None:
    """So that its report is owed once, in the zone of its schedule."""
    nightly = deployment(CRON)
    first, second = (of(flow_run(NIGHT), nightly, NIGHT) for _ in range(2))
    assert f"{nightly.id}/2026-11-23T01:00:00Z" == first.key
    assert first.key != of(flow_run(NIGHT), deployment(CRON), NIGHT).key  # another project's, of the same name
    assert f"{first.key}/2" == of(flow_run(NIGHT).model_copy(update={"run_count": 2}), nightly, NIGHT).key  # by Prefect's Retry
    assert first.key == second.key
    assert ("Europe/Berlin", NIGHT, True) == (first.zone, first.moment, first.scheduled)


@pytest.mark.parametrize(("names", "expected"), [([], "gd"), (["a"], "a"), (["a", "b", "c"], "a and 2 more")])
def test_what_is_called_without_a_deployment_has_the_name_of_its_data(names: list[str], expected: str) -> None:
    """A deployment's own name comes first."""
    assert expected == Slot("", "", "key", NIGHT).title(names)
    assert "nightly" == Slot("", "nightly", "key", NIGHT).title(names)


def test_parameters_are_changed_where_a_dot_reaches() -> None:
    """The others stay, and the deployment's own are left alone."""
    given = {"training": {"epochs": 10, "dtype": "float64"}, "reports": "reports"}
    expected = {"training": {"epochs": 20, "dtype": "float64"}, "reports": "out", "mail": {"to": ["a@b.example"]}}
    assert expected == merged(given, {"training.epochs": 20, "reports": "out", "mail.to": ["a@b.example"]})
    assert {"training": {"epochs": 10, "dtype": "float64"}, "reports": "reports"} == given
