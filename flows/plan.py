"""prefect.yaml, read and checked before anything is started."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from flows.runners import Runner
from gd.data import DataError, Source, expand
from gd.look import Numbers, Zone
from gd.mail import Mailing, refused
from gd.notation import visible
from gd.retention import Keep
from gd.settings import Training
from gd.stream import is_address

__all__ = ["Plan", "PlanError", "read"]

_TRAINING = "training_report"


class PlanError(ValueError):
    """prefect.yaml is missing or wrong; the message names the place and the remedy."""


class Parameters(BaseModel):
    """Of the flow `training_report`: the same names, types and defaults."""

    model_config = ConfigDict(extra="forbid")

    sources: list[Source]
    training: Training = Training()
    reports: str = "reports"
    mail: Mailing = Mailing()
    send: bool = True
    skip_after: float | None = None
    runner: Runner = Runner()
    keep: Keep | None = None
    templates: str | None = None
    zone: Zone | None = None
    numbers: Numbers = "en"


@dataclass(frozen=True, slots=True)
class Plan:
    """What prefect.yaml says, as far as a service must know it."""

    file: Path
    names: tuple[str, ...]  # of the deployments that train
    pools: tuple[str, ...]
    reports: tuple[str, ...]  # folders, relative to that of the file
    readers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # a line for each source that is not there now, and may be when its time comes

    @property
    def folder(self) -> Path:
        """Where the flows run."""
        return self.file.absolute().parent


def read(file: Path, domains: tuple[str, ...]) -> Plan:
    """Read prefect.yaml.

    Args:
        file: its path.
        domains: that recipients must be in, if any.

    Raises:
        PlanError: if it is missing, is no YAML, names no deployment or work pool, or has parameters that the flow refuses.
    """
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(
            f"{file}: no such file. It says what runs when: copy the one of the repository, or name it with --file."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{file}: cannot be read: {' '.join(str(error).split())[:300]}") from None
    deployments = found.get("deployments") if isinstance(found, Mapping) else None
    if not isinstance(deployments, list) or not deployments:
        raise PlanError(f"{file}: names no deployment. List at least one under `deployments`.")
    names, pools, reports, readers, missing = list[str](), list[str](), list[str](), list[str](), list[str]()
    for position, deployment in enumerate(deployments, 1):
        given = deployment.get("name") if isinstance(deployment, Mapping) else None
        place = f"{file}, deployment {visible(str(given or position))}"
        if not isinstance(deployment, Mapping) or not deployment.get("name") or not deployment.get("entrypoint"):
            raise PlanError(f"{place}: needs a name and an entrypoint.")
        given_pool = deployment.get("work_pool")
        pool = given_pool.get("name") if isinstance(given_pool, Mapping) else None
        if not pool or not isinstance(pool, str):
            raise PlanError(f"{place}: names no work pool. Write `work_pool: {{name: gd}}`.")
        pools.append(pool)
        _check_schedules(place, deployment)
        if str(deployment["entrypoint"]).endswith(_TRAINING):
            names.append(str(deployment["name"]))
            parameters = _checked(place, deployment.get("parameters") or {}, domains)
            reports.append(parameters.reports)
            readers += [*parameters.mail.to, *parameters.mail.cc]
            missing += _missing(file, str(deployment["name"]), parameters.sources)
    once = [tuple(dict.fromkeys(found)) for found in (names, pools, reports, readers)]
    return Plan(file, once[0], once[1], once[2], once[3], tuple(missing))


def _check_schedules(place: str, deployment: Mapping[str, Any]) -> None:
    """What Prefect would refuse when it deploys, in its own terms, is refused here in ours."""
    from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415

    if "schedule" in deployment:
        raise PlanError(f"{place}: has `schedule`. Write `schedules` with a list, such as `- cron: '0 2 * * *'`.")
    for schedule in deployment.get("schedules") or ():
        if not isinstance(schedule, Mapping):
            raise PlanError(f"{place}, schedules: {visible(repr(schedule), 80)} is none. Write `- cron: '0 2 * * *'`.")
        if "cron" not in schedule:
            continue
        try:
            CronSchedule(cron=schedule["cron"], timezone=schedule.get("timezone"))
        except ValidationError as error:
            which = str(error.errors(include_url=False)[0]["loc"][0])
            remedy = {
                "cron": "minute, hour, day, month and weekday, such as '0 2 * * *'",
                "timezone": "a name such as Europe/Berlin",
            }.get(which, "see the example")
            raise PlanError(f"{place}, {which}: {visible(repr(schedule.get(which)), 80)} is none. Write {remedy}.") from None


def _missing(file: Path, name: str, sources: Sequence[Source]) -> list[str]:
    lines = []
    for source in sources:
        for pattern in (source.path, *source.more):
            if is_address(pattern):  # whether something is there is not asked over the network
                continue
            try:
                found = expand(str(file.absolute().parent / pattern))
            except (DataError, OSError):
                found = []
            if not any(Path(path).exists() for path in found):
                lines.append(f"{name}: {visible(pattern)} is not there now.")
    return lines


def _in_words(kind: str, said: str, name: str, given: Any) -> str:
    """A fault of pydantic's for whoever writes YAML."""
    if kind == "extra_forbidden":
        models = (Parameters, Training, Mailing, Source, Runner)
        known = {field for model in models for field in model.model_fields}
        near = difflib.get_close_matches(name, known, n=1)
        return "no such setting" + (f"; the nearest name is {near[0]}" if near else "")
    if kind in {"tuple_type", "list_type"}:
        return f"write a list, such as [{visible(str(given), 60)}]"
    if kind == "missing":
        return "is missing"
    said = said.removeprefix("Value error, ").rstrip(".")
    return said if kind == "value_error" else f"{said}, not {visible(repr(given), 80)}"


def _checked(place: str, parameters: Mapping[str, Any], domains: tuple[str, ...]) -> Parameters:
    try:
        found = Parameters.model_validate(parameters)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise PlanError(
            f"{place}, {where}: {_in_words(fault['type'], fault['msg'], str(fault['loc'][-1]), fault['input'])}."
        ) from None
    if outside := refused([*found.mail.to, *found.mail.cc, *found.mail.owners], domains):
        raise PlanError(f"{place}: {', '.join(outside)} is outside of GD_MAIL_DOMAINS ({', '.join(domains)}).")
    return found
