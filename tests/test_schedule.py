"""The whole way with its real parts: a schedule that fires, the report, the mail, an outage, and the end."""

from __future__ import annotations

import json
import re
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.service import MAIL, PASSWORD, READER, Service, attachments, marked, received, until
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.server


def test_the_whole_way(tmp_path: Path) -> None:
    """The schedule fires, the report exists, the mail arrives; Ctrl-C leaves no process; after an outage nothing piles up."""
    with SmtpServer(tmp_path / "smtp", user="u", password=PASSWORD) as smtp:
        service = Service(tmp_path, smtp.environment(), interval=6, mail=MAIL)
        with service:
            until(lambda: received(smtp, READER, "[ok] nightly: "), "a mail of a scheduled run")
            [record, *_] = service.records()
            assert ("scheduled", "converged") == (record["run"]["trigger"], record["verdict"])
            slot = datetime.fromisoformat(record["run"]["scheduled_for"])
            assert slot < datetime.fromisoformat(record["run"]["started"])
            [message, *_] = received(smtp, READER, "[ok] nightly: 1 of 1 converged, ")
            attached = attachments(message)
            page = next((tmp_path / "reports" / "penguins").glob(f"{record['run']['id']}/report.html")).read_bytes()
            assert {"penguins-report.html": page, "penguins-run.json": b""} == attached | {"penguins-run.json": b""}
            assert record == json.loads(attached["penguins-run.json"])
            assert f"scheduled for {slot:%d %b %Y, %H:%M:%S} UTC".encode() in page
            assert ("reports@a.example", True, "u") == (message.sender, message.tls, message.user)
            assert not [words for words in marked(str(tmp_path)).values() if PASSWORD in words]
            before = {run["id"]: run["state"]["type"] for run in service.flow_runs() if run["state"]["type"] == "COMPLETED"}
            assert 0 == service.stop(signal.SIGINT)
        assert {} == marked(str(tmp_path))
        assert [] == service.drafts()
        stopped = time.time()
        until(lambda: time.time() > stopped + 19, "three slots passed")
        with service:
            assert re.search(r"nightly: \d+ missed slots skipped\.", service.said())
            until(lambda: len(_ended_since(service, stopped + 19)) > 0, "a run after the outage")
            runs = service.flow_runs()
            missed = [
                run for run in runs if stopped < _moment(run["expected_start_time"]) < stopped + 19 and run["auto_scheduled"]
            ]
            assert len(missed) >= 3
            names = [run["state"]["name"] for run in missed]
            assert names.count("Skipped") >= 2
            assert names.count("Completed") <= 1
            assert all("is skipped" in run["state"]["message"] for run in missed if run["state"]["name"] == "Skipped")
            assert before.items() <= {run["id"]: run["state"]["type"] for run in runs}.items()
            assert 0 == service.stop(signal.SIGTERM)
        assert {} == marked(str(tmp_path))
        slots = [record["run"]["scheduled_for"] for record in service.records()]
        assert len(slots) == len(set(slots)), "a slot was trained twice"
        ids = [item.message["Message-ID"] for item in smtp.messages()]
        assert len(ids) == len(set(ids)), "a message was sent twice"
    for file in [path for path in tmp_path.rglob("*") if path.is_file() and "smtp" not in path.parts]:
        assert PASSWORD.encode() not in file.read_bytes(), f"the password is in {file}"


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _ended_since(service: Service, moment: float) -> list[dict[str, Any]]:
    return [run for run in service.flow_runs() if run["state"]["name"] == "Completed" and _moment(run["end_time"]) > moment]
