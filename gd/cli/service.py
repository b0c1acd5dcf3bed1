"""`gd serve`, `gd trigger`, `gd doctor`: the schedule, a run by hand, and whether all is well."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gd.cli.command import UnreachableError, UsageError, app, run_quietly, server_is_named, tell
from gd.notation import visible

if TYPE_CHECKING:
    from flows.plan import Plan
    from flows.service import Started

__all__ = ["HOME", "doctor", "find_server", "serve", "trigger"]

HOME = Path("reports/.server")
"""Where `gd serve` keeps the server's database, and the others find its address."""


@app.command
def serve(
    *,
    file: Path = Path("prefect.yaml"),
    home: Path = HOME,
    port: int | None = None,
    grace: float = 120.0,
) -> int:
    """Serve schedules on this machine: server, deployments and worker in one process; Ctrl-C ends them all.

    The server is the one that PREFECT_API_URL names, else one that is started on 127.0.0.1.

    Args:
        file: What runs when, as Prefect's own commands read it.
        home: Folder of the server's database and logs.
        port: Of the server; 4200, or a free one where that is taken.
        grace: Seconds until owners are told of a run that ended without telling them itself, or did not start.
    """
    from flows import plan  # noqa: PLC0415
    from flows.mailing import credentials, domains  # noqa: PLC0415
    from flows.service import ServiceError  # noqa: PLC0415
    from flows.service import serve as serve_plan  # noqa: PLC0415

    run_quietly()
    try:
        found = plan.read(file, domains())
        if "GD_SMTP_BLOCK" not in os.environ:
            credentials()
    except ValueError as error:
        raise UsageError(str(error)) from None
    url = _named_url() if server_is_named() else None
    try:
        serve_plan(found, home, port, timedelta(seconds=grace), url, _say, lambda started: _tell_started(started, home, found))
    except ServiceError as error:
        raise UnreachableError(str(error)) from None
    except Exception as error:  # noqa: BLE001  (whatever it is, it has ended and a line must say so)
        reason = str(error or type(error).__name__).splitlines()[0].rstrip(".")
        raise UnreachableError(f"the service has ended: {reason}. Is the server of PREFECT_API_URL up?") from None
    return 0


@app.command
def trigger(
    deployment: str,
    *,
    parameter: Annotated[list[str], Parameter(negative="")] | None = None,
    home: Path = HOME,
) -> int:
    """Run a deployment now, follow it, and print its verdicts and where its reports are.

    Args:
        deployment: Its name, such as nightly.
        parameter: NAME=VALUE, changes one for this run; VALUE is JSON or else text, and a dot reaches into a setting:
            training.epochs=500.
        home: Folder in which `gd serve` says where its server is, for when PREFECT_API_URL does not.
    """
    run_quietly()
    changes = dict(_change(text) for text in parameter or ())
    find_server(home)
    from flows.trigger import TriggerError, follow, start  # noqa: PLC0415

    try:
        flow_run = start(deployment, changes)
        ended = follow(flow_run, lambda line: print(visible(line, 500), file=sys.stderr))
    except TriggerError as error:
        raise UnreachableError(str(error)) from None
    except KeyboardInterrupt:
        print("gd: no longer followed; the run goes on.", file=sys.stderr)
        return 130
    for line in ended.reports:
        tell(line.verdict, line.name, line.headline, line.sentence, line.folder)
    print(visible(ended.message, 5000), file=sys.stdout if ended.completed else sys.stderr)
    return 0 if ended.completed else 1


@app.command
def doctor(*, reports: Path = Path("reports"), home: Path = HOME) -> int:
    """Check server, worker, database, mail and the last report; exit status 1 when something is wrong.

    Args:
        reports: Folder of the reports, which the outbox is in unless GD_OUTBOX names a database.
        home: Folder in which `gd serve` says where its server is, for when PREFECT_API_URL does not.
    """
    run_quietly()
    served = True
    try:
        find_server(home)
    except UnreachableError:
        served = False
    from flows.health import examine  # noqa: PLC0415

    findings = list(examine(reports, served=served))
    for finding in findings:
        print(f"{'✓' if finding.well else '✕'} {visible(finding.part)}: {visible(finding.sentence, 2000)}")
    return 0 if all(finding.well for finding in findings) else 1


def find_server(home: Path) -> None:
    """Let PREFECT_API_URL name the server: as it does already, or as `gd serve` says.

    Raises:
        UnreachableError: if neither does.
    """
    if not os.environ.get("PREFECT_API_URL") and (home / "address").exists():
        os.environ["PREFECT_API_URL"] = (home / "address").read_text(encoding="utf-8").strip()
    if not server_is_named():
        raise UnreachableError("no server is known: start `gd serve` in this folder, or set PREFECT_API_URL")


def _named_url() -> str:
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    return str(PREFECT_API_URL.value())


def _say(line: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {visible(line, 2000)}", flush=True)


def _tell_started(started: Started, home: Path, plan: Plan) -> None:
    print(f"Prefect's page: {started.page}", flush=True)
    if started.own:
        print(f"Its database:   {home / 'prefect.db'}")
    print("The next runs:" if started.runs else "No run is scheduled.")
    for moment, name in started.runs:
        print(
            f"  {moment:%a %d %b %Y, %H:%M:%S} {getattr(moment.tzinfo, 'key', None) or moment.tzname()}  {visible(name, 200)}"
        )
    for line in plan.missing:
        print(line)
    if plan.readers:
        print(_mail_server(plan.readers))
    print("Ctrl-C ends all of it.", flush=True)


def _mail_server(readers: Sequence[str]) -> str:
    """Whether mail will go out, said before the night."""
    from flows.mailing import credentials  # noqa: PLC0415
    from gd.smtp import SmtpError, check  # noqa: PLC0415

    try:
        server = credentials()
        if server is None:
            shown = ", ".join(readers[:3]) + (" and others" if len(readers) > 3 else "")
            return f"No mail server is configured (GD_SMTP_HOST): reports for {shown} will be written down, not sent."
        check(server)
    except (SmtpError, ValueError) as error:
        return f"Mail does not go out now: {error}."
    return f"Mail goes out through {server.host}:{server.port}."


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--parameter: {text!r} is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
