"""Failures are heard: how the owners of a flow run learn that it failed, crashed or never started.

The flow's own hooks tell what they see. A process that was killed runs no hook, and a run that no worker takes never begins:
for these the server watches (`watch`) and tells through a block of ours, after a grace period in which the hook's own notice
would have come. All of them go through the outbox, where one run's notice is owed once.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

from anyio import to_thread
from prefect.automations import Automation, EventTrigger, Posture, SendNotification
from prefect.blocks.abstract import NotificationBlock
from prefect.events import emit_event
from pydantic import Field, TypeAdapter, ValidationError

from flows.deployments import FLOW

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

    from flows.recovery import Presence

__all__ = ["OwnerNotification", "owners_hear", "watch"]

TOLD = "gd.owners-told"
"""The event that a flow run's owners were told of it."""

_SENDING = 30.0  # seconds
_ONE_CAUSE = timedelta(hours=6)  # a worker that is down makes every slot late


def owners_hear(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook: owe the owners a notice of a flow run that failed or crashed, and send it."""
    kind: Literal["failed", "crashed"] = "crashed" if state.is_crashed() else "failed"
    if not _mailing(flow_run.parameters).owners:
        return
    _tell(kind, str(flow_run.id), flow_run.parameters, state.message or kind)
    emit_event(
        TOLD,
        resource={"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.name": flow_run.name},
        related=[
            {
                "prefect.resource.id": f"prefect.flow.{flow_run.flow_id}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": flow.name,
            }
        ],
    )


class OwnerNotification(NotificationBlock):
    """Tells the owners of a training report's flow run, through the outbox."""

    _block_type_name = "gd owner notification"
    _block_type_slug = "gd-owner-notification"

    folder: str = Field(
        description="Where flows run whose deployment does not say it: their reports folder is taken from here."
    )

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Owe the notice and send it.

        Args:
            body: JSON with `flow_run` (its id), `message` and `parameters`, as `watch` makes the server write it.
            subject: the state that the run is in.
        """
        await to_thread.run_sync(self._notify, body, subject or "failed")

    def _notify(self, body: str, subject: str) -> None:
        told = json.loads(body)
        kind = subject.lower()
        _tell(
            kind if kind in {"crashed", "late"} else "failed",  # type: ignore[arg-type]
            told["flow_run"], told["parameters"], told["message"], self.folder,
        )  # fmt: skip


def watch(folder: Path, grace: timedelta) -> None:
    """Make the server tell owners what no hook sees: the block and two automations, made anew or brought up to date.

    Args:
        folder: where the flows run.
        grace: how long a hook's own notice, or the start of a late run, is waited for; 10 seconds at least.
    """
    OwnerNotification.register_type_and_schema()
    block = OwnerNotification(folder=str(folder.absolute())).save("training-report", overwrite=True)
    ends = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
    begins = {
        f"prefect.flow-run.{state}"
        for state in ("Pending", "Running", "Completed", "Skipped", "Cancelled", "Failed", "Crashed")
    }
    for name, after, expected in (
        ("gd: tell owners of a failed run", ends, {TOLD}),
        ("gd: tell owners of a late run", {"prefect.flow-run.Late"}, begins | {TOLD}),
    ):
        _save(
            Automation(
                name=name,
                description="Tells through the outbox what the flow's own hook has not told within the grace period.",
                trigger=EventTrigger(
                    posture=Posture.Proactive,
                    after=after,
                    expect=expected,
                    match={"prefect.resource.id": "prefect.flow-run.*"},
                    match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOW},
                    for_each={"prefect.resource.id"},
                    threshold=1,
                    within=max(grace, timedelta(seconds=10)),
                ),
                actions=[
                    SendNotification(
                        block_document_id=block,
                        subject="{{ flow_run.state.name }}",
                        body='{"flow_run": "{{ flow_run.id }}", "message": {{ (flow_run.state.message or "") | tojson }}, '
                        '"parameters": {{ flow_run.parameters | tojson }}}',
                    )
                ],
            )
        )


def _save(automation: Automation) -> None:
    try:
        known = cast("Automation", Automation.read(name=automation.name))  # a coroutine only where the caller is one
    except ValueError:
        automation.create()
        return
    automation.id = known.id
    automation.update()


def _tell(
    kind: Literal["failed", "crashed", "late"],
    flow_run: str,
    parameters: Mapping[str, Any],
    message: str,
    elsewhere: str | None = None,
) -> None:
    """Owe the notice and send it; `elsewhere` is given where this process does not run in the flow's own folder."""
    from flows.delivery import drain  # noqa: PLC0415  (the server, too, imports this module, and at its start)
    from flows.mailing import tell  # noqa: PLC0415

    presence, folder = _presence(flow_run, parameters)
    here = Path() if elsewhere is None else Path(folder or elsewhere)
    reports = here / str(parameters.get("reports") or "reports")
    lines = (message or "No reason was given.").split(". ", 1)  # the first sentence stands in the subject
    if kind == "late":
        lines = ["No worker has taken the run yet", "Is `gd serve`, or a worker of its work pool, running?"]
    elif (reports / "index.html").exists():
        place = os.environ.get("GD_REPORTS_URL") or f"{(reports / 'index.html').absolute()} on {socket.gethostname()}"
        lines.append(f"All reports: {place}")
    tell(kind, presence, lines, reports, datetime.now(UTC), _ONE_CAUSE if kind == "late" else timedelta(0))
    if presence.mailing.owners:
        drain(reports, _SENDING)  # also what was owed before: who cleans up after a killed run owes a notice and sends none


def _presence(flow_run: str, parameters: Mapping[str, Any]) -> tuple[Presence, str | None]:
    """Which flow run it was, from the server's own record of it, and the folder that its deployment says it runs in."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from flows.recovery import Presence  # noqa: PLC0415
    from flows.slots import of  # noqa: PLC0415

    now, mailing = datetime.now(UTC), _mailing(parameters)
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run))
        if found.deployment_id is None:
            return Presence(flow_run=flow_run, name=found.name, key=flow_run, moment=now, mailing=mailing), None
        deployment = client.read_deployment(found.deployment_id)
    slot = of(found, deployment, now)
    presence = Presence(
        flow_run=flow_run,
        name=slot.title(()),
        key=slot.key,
        moment=slot.moment,
        zone=slot.zone,
        mailing=mailing,
        deployment=slot.deployment_id,
    )
    steps = [step.get("prefect.deployments.steps.set_working_directory") for step in deployment.pull_steps or ()]
    return presence, next((str(step["directory"]) for step in steps if step and step.get("directory")), None)


def _mailing(parameters: Mapping[str, Any]) -> Any:
    """Who hears of it: of the owners those whose address is one, since a wrong one may be why the run failed."""
    from gd.mail import Address, Mailing  # noqa: PLC0415

    given = parameters.get("mail") or {}
    if isinstance(given, Mailing):
        return given
    owners = []
    for owner in given.get("owners") or ():
        try:
            owners.append(TypeAdapter(Address).validate_python(owner))
        except ValidationError:
            continue
    return Mailing(owners=tuple(owners))
