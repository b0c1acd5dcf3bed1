"""A run by hand: start a deployment now, follow it, and say what it came to."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.deployments import find, merged

__all__ = ["REPORTS", "Followed", "Reported", "TriggerError", "follow", "start"]

REPORTS = "reports"
"""The artifact in which a flow run says what each data set came to, and where its report is."""

_SILENT = "the server does not answer. Is `gd serve` running, or PREFECT_API_URL right?"
_EVERY = 1.0  # seconds between two looks
_UNTAKEN = 30.0  # seconds after which a person would like to know that nobody takes the run


class TriggerError(RuntimeError):
    """The deployment cannot be run; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One data set of a run that is over."""

    name: str
    verdict: str
    headline: str
    sentence: str
    folder: str | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A run that is over."""

    completed: bool
    message: str
    reports: tuple[Reported, ...]


def start(name: str, changes: Mapping[str, Any]) -> FlowRun:
    """Run a deployment now.

    Args:
        name: of the deployment, or flow/name.
        changes: parameters that differ for this run; a dot in a name reaches into a setting.

    Raises:
        TriggerError: if there is none or more than one of that name, if it refuses the parameters, or if no server answers.
    """
    try:
        with get_client(sync_client=True) as client:
            found = find(client, name)
            if len(found) != 1:
                known = ", ".join(sorted(item.name for item in client.read_deployments())) or "none"
                problem = "names no deployment" if not found else "names several: write flow/name"
                raise TriggerError(f"{name!r} {problem}; the server knows {known}")
            _check_names((found[0].parameter_openapi_schema or {}).get("properties", {}), changes)
            parameters = merged(found[0].parameters, changes)
            return client.create_flow_run_from_deployment(found[0].id, parameters=parameters)
    except PrefectHTTPStatusError as error:
        raise TriggerError(f"{name}: the run was refused: {_detail(error)}") from None
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, TriggerError):
            raise
        raise TriggerError(_SILENT) from None


def _check_names(parameters: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """A name that the flow does not know would end the run before it can say anything."""
    for name in changes:
        first = name.partition(".")[0]
        if first not in parameters:
            near = difflib.get_close_matches(first, parameters, n=1, cutoff=0.5)
            remedy = f"the nearest is {near[0]}" if near else f"there are {', '.join(parameters)}"
            raise TriggerError(f"--parameter {name}: the flow has no parameter {first!r}; {remedy}")


def follow(flow_run: FlowRun, say: Callable[[str], None]) -> Followed:
    """Wait for the run's end, and say on the way what happens to it.

    Raises:
        TriggerError: if the server does not answer any more, or does not know the run any more.
    """
    shown, began, hinted = "", time.monotonic(), False
    try:
        with get_client(sync_client=True) as client:
            while True:
                run = client.read_flow_run(flow_run.id)
                state = run.state
                if state is not None and state.name != shown:
                    shown = state.name or ""
                    say(f"{run.name}: {shown.lower()}")
                if state is not None and state.is_final():
                    message = state.message or f"The run ended as {shown.lower()}."
                    return Followed(state.is_completed(), message, _reports(client, run))
                if run.start_time is None and not hinted and time.monotonic() - began > _UNTAKEN:
                    hinted = True
                    say("No worker has taken the run yet: is `gd serve`, or a worker of its work pool, running?")
                time.sleep(_EVERY)
    except ObjectNotFound:
        raise TriggerError(f"{flow_run.name}: the server does not know the run any more") from None
    except (httpx.HTTPError, RuntimeError):
        raise TriggerError(f"{flow_run.name} is no longer followed: {_SILENT}") from None


def _reports(client: SyncPrefectClient, run: FlowRun) -> tuple[Reported, ...]:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(any_=[REPORTS])
        )
    )
    rows = json.loads(str(found[0].data)) if found else []
    return tuple(Reported(row["data set"], row["verdict"], row["headline"], row["sentence"], row["report"]) for row in rows)


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json()["detail"]).removeprefix("Error creating flow run: ")[:300]
    except (ValueError, KeyError):
        return f"status {error.response.status_code}"
