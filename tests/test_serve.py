"""The three ways of use with their real parts: a schedule that fires, a run by hand, the report in the inbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import furnish
from tests.service import MAIL, OWNER, PASSWORD, READER, Service, attachments, marked, received, until
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.server

ENDLESS = ["--parameter", "training.epochs=30000000", "--parameter", "training.tolerance=0"]


@pytest.fixture(scope="module")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    """A mail server with STARTTLS and a login."""
    with SmtpServer(tmp_path_factory.mktemp("smtp"), user="u", password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def service(smtp: SmtpServer, database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service without a schedule, for all tests below."""
    folder = tmp_path_factory.mktemp("service")
    furnish(folder / "home", database)
    with Service(folder, smtp.environment(), mail=MAIL) as running:
        yield running


def test_a_run_by_hand(service: Service, smtp: SmtpServer) -> None:
    """`gd trigger` follows the run, prints its verdict and the report's path, and ends with 0; the mail goes out."""
    both = 'training={"epochs": 300, "backends": ["numpy", "torch"]}'
    done = service.gd("trigger", "nightly", "--parameter", both)
    assert 0 == done.returncode, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("✓ penguins: Converged. NumPy and PyTorch reached the optimum to within ")
    assert (service.folder / second.strip()).is_file()
    assert third.startswith("1 of 1 data sets trained and reported. 1 message queued.")
    record = service.records()[-1]
    assert ("manual", None, 300) == (record["run"]["trigger"], record["run"]["scheduled_for"], record["training"]["epochs"])
    [mail] = received(smtp, READER, "[ok] nightly: 1 of 1 converged, ")
    assert record == json.loads(attachments(mail)["penguins-run.json"])


def test_a_failed_run_is_told_to_the_owners_once(service: Service, smtp: SmtpServer) -> None:
    """Exit status 1; the owner gets one mail that says why, the reader the report of the failure."""
    done = service.gd("trigger", "nightly", "--parameter", 'sources=[{"path": "gone.csv", "target": "y"}]')
    assert 1 == done.returncode
    assert "! gone: Could not be read. gone.csv: no such file" in done.stderr
    subject = "[failed] nightly: 0 of 1 data sets trained and reported; failed: gone, "
    until(lambda: received(smtp, OWNER, subject), "the owner's mail")
    assert received(smtp, READER, "[failed] nightly: 1 of 1 ")
    done = service.gd("outbox", "list")
    assert 1 == done.stdout.count(OWNER)


def test_what_the_flow_refuses_is_told(service: Service, smtp: SmtpServer) -> None:
    """A wrong setting fails before anything runs, with exit status 1 and its reason; the owner hears of it."""
    done = service.gd("trigger", "nightly", "--parameter", "training.epochs=-1")
    assert 1 == done.returncode
    assert "epochs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_deployment_that_is_not_there(service: Service) -> None:
    """One line that names those that are."""
    done = service.gd("trigger", "weekly")
    assert (1, "") == (done.returncode, done.stdout)
    assert "gd: 'weekly' names no deployment; the server knows nightly\n" == done.stderr


def test_prefects_own_command_does_the_same(service: Service) -> None:
    """`prefect deployment run` starts the same run, which ends with its report."""
    before = len(service.records())
    done = service.prefect("deployment", "run", "training-report/nightly", "--watch")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert before + 1 == len(service.records())


def test_a_server_that_runs_already_is_used(service: Service, smtp: SmtpServer, tmp_path: Path) -> None:
    """With PREFECT_API_URL another service deploys there and starts its worker, no server; its end leaves that one alone."""
    with Service(tmp_path, smtp.environment() | {"PREFECT_API_URL": service.api}, name="weekly") as other:
        assert f"Prefect's page: {service.api.removesuffix('/api')}\n" in other.said()
        assert "database" not in other.said()
        words = [*marked(str(tmp_path)).values()]
        assert [] == [line for line in words if "prefect server" in line]
        assert 1 == len([line for line in words if "prefect worker start" in line])
        assert 0 == other.stop()
    assert {} == marked(str(tmp_path))
    assert 0 == service.prefect("deployment", "delete", "training-report/weekly").returncode


def test_two_services_do_not_share_a_folder(service: Service) -> None:
    """The second one says so and ends with 1."""
    done = service.gd("serve")
    assert (1, "") == (done.returncode, done.stdout)
    assert "gd: another `gd serve` works in reports/.server: end it, or name another folder with --home\n" == done.stderr


def test_the_doctor_finds_all_well(service: Service) -> None:
    """Server, worker, mail, outbox and last report, each on a line with how it is; exit status 0."""
    done = service.gd("doctor")
    parts = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert ["✓ server", "✓ worker", "✓ nightly", "✓ mail", "✓ outbox", "✓ report"] == parts, done.stdout


def test_what_the_flow_does_not_know_is_refused(service: Service) -> None:
    """A name that is none of its parameters, with the nearest, before a run is made."""
    done = service.gd("trigger", "nightly", "--parameter", "report=x")
    assert (1, "") == (done.returncode, done.stdout)
    assert "gd: --parameter report: the flow has no parameter 'report'; the nearest is reports\n" == done.stderr


def test_a_server_that_does_not_answer_is_told(service: Service) -> None:
    """`gd trigger` on a dead port: one line."""
    done = service.gd("trigger", "nightly", PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert (1, "") == (done.returncode, done.stdout)
    assert "gd: the server does not answer. Is `gd serve` running, or PREFECT_API_URL right?\n" == done.stderr


def test_the_doctor_finds_that_nothing_is_there(service: Service, tmp_path: Path) -> None:
    """No server is known: that is the finding, and none is started to look good."""
    environment = {
        name: value for name, value in service.environment.items() if not name.startswith(("GD_SMTP", "PREFECT_API"))
    }
    environment |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}  # as cron's
    words = [sys.executable, "-m", "gd", "doctor"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert (1, "") == (done.returncode, done.stderr)
    assert "? server: Prefect's server does not answer (none is known)." in done.stdout
    assert [] == [*tmp_path.iterdir()]


def test_the_doctor_finds_what_is_wrong(service: Service) -> None:
    """A password that is refused, and a server that is not there: a line each, exit status 1, and no password in it."""
    wrong = {"GD_SMTP_PASSWORD": "another one", "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    done = service.gd("doctor", **wrong)
    assert 1 == done.returncode
    assert "✕ server: Prefect's server does not answer" in done.stdout
    assert "✕ mail: the SMTP server localhost" in done.stdout
    assert "another one" not in done.stdout + done.stderr


@pytest.fixture
def trigger(service: Service) -> Iterator[subprocess.Popen[str]]:
    """A run by hand that trains for minutes, in the middle of it; whatever becomes of the test, nothing of it is left."""
    before = service.drafts()
    with subprocess.Popen(
        [sys.executable, "-m", "gd", "trigger", "nightly", *ENDLESS],
        cwd=service.folder, env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            until(lambda: process.poll() is not None or _training(service, before), "the training runs")
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            process.kill()
            service.end_runs()


def _training(service: Service, before: list[Path]) -> list[Path]:
    drafts = [path for path in service.drafts() if path not in before]
    return [path for path in drafts if (path / "work" / "design.npy").exists()]


def test_a_killed_run_is_told_by_the_server(service: Service, smtp: SmtpServer, trigger: subprocess.Popen[str]) -> None:
    """Where no hook runs and nothing starts anew, the automation tells the owner after the grace period, once."""
    before = len(received(smtp, OWNER, "[crashed] nightly"))
    os.kill(service.process("prefect.engine"), signal.SIGKILL)
    trigger.communicate(timeout=240)
    until(lambda: len(received(smtp, OWNER, "[crashed] nightly")) > before, "the automation's mail")
    assert 0 == service.gd("trigger", "nightly").returncode  # its start cleans up after the killed run
    assert before + 1 == len(received(smtp, OWNER, "[crashed] nightly"))
    assert [] == service.drafts()


def test_a_killed_worker_is_seen(service: Service, smtp: SmtpServer, trigger: subprocess.Popen[str]) -> None:
    """Worker and run killed with SIGKILL: the service cleans up, the owner is told, the report says so, the slot is free.

    The run is killed when the new worker is there already, as where its process takes long to die: the clean-up at the
    worker's end has passed over it then, and whoever waits for it waits for another one.
    """
    worker, run = service.process("prefect worker start"), service.process("prefect.engine")
    os.kill(worker, signal.SIGKILL)
    until(lambda: _workers(service) - {worker}, "another worker")
    assert "a run was ended" not in service.said()
    os.kill(run, signal.SIGKILL)
    _, err = trigger.communicate(timeout=240)
    assert 1 == trigger.returncode
    assert "crashed" in err
    assert "The worker of nightly has ended; it is started again." in service.said()
    until(lambda: "nightly: a run was ended in the middle of penguins; it is reported as failed." in service.said(), "its line")
    record = service.records()[-1]
    assert ("failed", "InterruptedRunError") == (record["verdict"], record["error"]["type"])
    assert [] == service.drafts()
    until(lambda: received(smtp, OWNER, "[crashed] nightly: The run was killed"), "the owner's mail, with no run to send it")
    done = service.gd("trigger", "nightly")
    assert 0 == done.returncode, done.stderr


def _workers(service: Service) -> set[int]:
    return {number for number, words in marked(str(service.folder)).items() if "prefect worker start" in words}


def test_a_run_that_nobody_takes_is_told(service: Service, smtp: SmtpServer) -> None:
    """While the worker stands still a run is late: the server itself tells the owner."""
    worker = service.process("prefect worker start")
    os.kill(worker, signal.SIGSTOP)
    try:
        assert 0 == service.prefect("deployment", "run", "training-report/nightly").returncode
        until(lambda: received(smtp, OWNER, "[late] nightly: "), "the mail of a late run")
    finally:
        service.end_runs()
        os.kill(worker, signal.SIGCONT)
