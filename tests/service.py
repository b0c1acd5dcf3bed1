"""`gd serve` as a whole process in a folder of its own, and what tests ask of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import yaml

from gd.data import bundled
from tests.smtp_server import Received, SmtpServer

__all__ = ["MAIL", "OWNER", "PASSWORD", "READER", "Service", "attachments", "environment_of", "marked", "received", "until"]

T = TypeVar("T")

PASSWORD = "open sesame 4711"
READER, OWNER = "reader@a.example", "owner@a.example"
MAIL = {"to": [READER], "owners": [OWNER]}


def received(smtp: SmtpServer, recipient: str, subject: str) -> list[Received]:
    """The messages that one address got, whose subject holds some words."""
    return [item for item in smtp.messages() if [recipient] == item.recipients and subject in str(item.message["Subject"])]


def attachments(item: Received) -> dict[str, bytes]:
    """What is attached, by its name."""
    parts = item.message.iter_attachments()
    return {str(part.get_filename()): part.get_payload(decode=True) for part in parts}  # type: ignore[misc]


def until(found: Callable[[], T | None], what: str, seconds: float = 240.0) -> T:
    """What a function finds, asked again and again until it finds something; the limit only bounds a hang."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def marked(mark: str) -> dict[int, str]:
    """Processes with a mark of ours in their environment, by their words."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"GD_TEST_MARK={mark}\0".encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended in between
            continue
    return found


def environment_of(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a whole process that belongs to a folder."""
    left_out = {"PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_DATABASE_CONNECTION_URL"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
        "PREFECT_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
        "PYTHONUTF8": "1",
        "COLUMNS": "200",
        "GD_TEST_MARK": str(folder),
        **more,
    }


class Service:
    """A running `gd serve`.

    Args:
        folder: where it runs; prefect.yaml is written there.
        environment: of the process, beside the test's own.
        interval: seconds between two slots of `nightly`; none where it is None.
        mail: who hears of it.
        name: of the deployment, and of its work pool.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        interval: float | None = None,
        mail: Mapping[str, Any] | None = None,
        name: str = "nightly",
    ) -> None:
        self.folder = folder
        self.environment = environment_of(folder, environment)
        (folder / "penguins.csv").write_bytes(bundled("penguins").read_bytes())
        plan = {
            "name": "test",
            "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PWD }}"}}],
            "deployments": [
                {
                    "name": name,
                    "entrypoint": "flows.training_report.training_report",
                    "parameters": {
                        "sources": [{"path": "penguins.csv", "target": "body_mass_g"}],
                        "training": {"backends": ["numpy"]},  # a process a run, and torch is a quarter of its work
                        "mail": mail or {},
                        "skip_after": 60.0,  # a process takes seconds to start, and an interval here is not much longer
                    },
                    "schedules": [{"interval": interval}] if interval else [],
                    "work_pool": {"name": name},
                    "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
                }
            ],
        }
        (folder / "prefect.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Return when everything is up."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gd", "serve", "--grace", "10", "--port", str(free_port())],
                cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        process = self._process
        try:
            until(lambda: "Ctrl-C ends all of it." in self.said() or process.poll() is not None, "gd serve is up")
            assert process.poll() is None, self.said()
        except BaseException:
            self._kill()
            raise
        return self

    @property
    def log(self) -> Path:
        """What it has printed."""
        return self.folder / "serve.log"

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8")

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, as a person would; its exit status."""
        assert self._process is not None
        self._process.send_signal(sent)
        try:
            return self._process.wait(240)
        except BaseException:
            self._kill()
            raise

    def _kill(self) -> None:
        """End all that belongs to it, so that a test that fails leaves nothing to the next ones."""
        assert self._process is not None
        for number in [self._process.pid, *marked(str(self.folder))]:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self.stop()

    def process(self, words: str) -> int:
        """The one process of it whose command line holds these words."""
        found = [number for number, line in marked(str(self.folder)).items() if words in line]
        assert 1 == len(found), marked(str(self.folder))
        return found[0]

    def gd(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Another command in the same folder."""
        return subprocess.run(
            [sys.executable, "-m", "gd", *words], cwd=self.folder, env=self.environment | more, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def prefect(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of Prefect's own on the service's server."""
        return subprocess.run(
            [sys.executable, "-m", "prefect", *words], cwd=self.folder, env=self.environment | {"PREFECT_API_URL": self.api},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    @property
    def api(self) -> str:
        """The address that the service has left for the other commands."""
        return (self.folder / "reports" / ".server" / "address").read_text(encoding="utf-8")

    def flow_runs(self) -> list[dict[str, Any]]:
        """What the server knows, soonest expected first."""
        answer = httpx.post(f"{self.api}/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"}, timeout=30)
        found: list[dict[str, Any]] = answer.json()
        return found

    def end_runs(self) -> None:
        """End every flow run that goes on or waits, and free its slot: what a test that fails leaves is not the next one's."""
        for number, line in marked(str(self.folder)).items():
            if "prefect.engine" in line:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        for run in self.flow_runs():
            if run["state"]["type"] in {"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}:
                state = {"state": {"type": "CANCELLED"}, "force": True}
                httpx.post(f"{self.api}/flow_runs/{run['id']}/set_state", json=state, timeout=30).raise_for_status()

    def records(self) -> list[dict[str, Any]]:
        """Every run.json that can be seen, first started first."""
        files = (self.folder / "reports").glob("[!.]*/[!.]*/run.json")
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        return sorted(found, key=lambda record: record["run"]["started"])

    def drafts(self) -> list[Path]:
        """Folders of runs that are not finished."""
        return [path for path in (self.folder / "reports").glob("[!.]*/.*") if path.is_dir()]


def free_port() -> int:
    """A port that nobody has; the next one to ask may get it, so ask late."""
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
