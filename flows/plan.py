"""prefect.yaml, read and checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gd.data import Source
from gd.mail import Mailing, refused
from gd.notation import visible
from gd.training import Training

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


@dataclass(frozen=True, slots=True)
class Plan:
    """What prefect.yaml says, as far as a service must know it."""

    file: Path
    names: tuple[str, ...]  # of the deployments that train
    pools: tuple[str, ...]
    reports: tuple[str, ...]  # folders, relative to that of the file

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
    names, pools, reports = [], [], []
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
        if str(deployment["entrypoint"]).endswith(_TRAINING):
            names.append(str(deployment["name"]))
            reports.append(_checked(place, deployment.get("parameters") or {}, domains).reports)
    return Plan(file, tuple(names), tuple(dict.fromkeys(pools)), tuple(dict.fromkeys(reports)))


def _checked(place: str, parameters: Mapping[str, Any], domains: tuple[str, ...]) -> Parameters:
    try:
        found = Parameters.model_validate(parameters)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise PlanError(
            f"{place}, {where}: {fault['msg'].removeprefix('Value error, ')}, not {visible(repr(fault['input']), 80)}."
        ) from None
    if outside := refused([*found.mail.to, *found.mail.cc, *found.mail.owners], domains):
        raise PlanError(f"{place}: {', '.join(outside)} is outside of GD_MAIL_DOMAINS ({', '.join(domains)}).")
    return found
