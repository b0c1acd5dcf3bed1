"""What a killed run leaves, and what the next start makes of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import training_report as flow
from flows.delivery import clean_up
from flows.recovery import Interrupted, Presence, present, recover
from gd import archive
from gd.archive import begin, keep_ready
from gd.data import Source, bundled
from gd.record import Record
from gd.recording import failed
from gd.settings import Training
from tests.conftest import run_tasks
from tests.service import until

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
PRESENCE = Presence(flow_run="6f0e", name="nightly", key="nightly/2026-11-23T02:00:00Z", moment=NOW)
LIVES = """
import sys, time
from pathlib import Path
from flows.recovery import Presence, present
with present(Path(sys.argv[1]), Presence.model_validate_json(sys.argv[2])):
    time.sleep(300)
"""


def settled(_: Interrupted) -> bool:
    """Everything that there is to do was done."""
    return True


def draft(reports: Path, owner: str) -> archive.Draft:
    """A run in the middle of its work."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    run = flow._run(source, Training())
    made = begin(reports, "penguins", run.id)
    keep_ready(made, owner, failed(run, source, "penguins", Training(), flow.InterruptedRunError()))
    (made.work / "design.npy").write_bytes(b"half")
    return made


def kill_in_the_middle(reports: Path) -> None:
    """A process that says it is alive, killed."""
    with subprocess.Popen([sys.executable, "-c", LIVES, str(reports), PRESENCE.model_dump_json()]) as process:
        until(lambda: [*(reports / ".running").glob("*.json")], "the process says it is alive")
        assert [] == recover(reports, NOW, settled)
        os.kill(process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == process.returncode


def test_a_killed_run_becomes_a_failed_one(tmp_path: Path) -> None:
    """Its draft is gone, a short report says that it was killed, and it is found once."""
    kept = run_tasks(Source(path=str(bundled("penguins")), target="body_mass_g"), Training(), tmp_path, "penguins")
    before = (kept / "report.html").read_bytes()
    half = draft(tmp_path, PRESENCE.flow_run)
    kill_in_the_middle(tmp_path)
    [found] = recover(tmp_path, NOW, settled)
    assert PRESENCE == found.presence
    assert (half.final,) == found.folders
    assert not half.path.exists()
    record = archive.read_record(half.final)
    assert ("failed", "InterruptedRunError", NOW) == (record.verdict, record.error and record.error.type, record.run.finished)
    assert {"run.json", "report.html"} == {path.name for path in half.final.iterdir()}
    assert "The run was killed before it was finished" in (half.final / "report.html").read_text(encoding="utf-8")
    assert "The run was killed" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert before == (kept / "report.html").read_bytes()
    assert [] == recover(tmp_path, NOW, settled)


def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    """Neither a run of this process nor its draft is touched, nor a draft of somebody else."""
    with present(tmp_path, PRESENCE):
        mine, other = draft(tmp_path, PRESENCE.flow_run), draft(tmp_path, "another run")
        assert [] == recover(tmp_path, NOW, settled)
        assert mine.work.exists()
    kill_in_the_middle(tmp_path)
    [found] = recover(tmp_path, NOW, settled)
    assert (mine.final,) == found.folders
    assert other.work.exists()


def test_what_cannot_be_settled_is_found_again(tmp_path: Path) -> None:
    """As where the outbox cannot be used: the report of the killed run is there at once, and its owners are told later."""
    half = draft(tmp_path, PRESENCE.flow_run)
    kill_in_the_middle(tmp_path)
    assert [] == recover(tmp_path, NOW, lambda _: False)
    assert half.final.exists()
    [found] = recover(tmp_path, NOW, settled)
    assert () == found.folders


@pytest.mark.parametrize("text", ["", "{", '{"flow_run": "6f0e"}', '{"flow_run": "6f0e", "later": 1}'])
def test_a_mark_that_cannot_be_read_stops_nobody(text: str, tmp_path: Path) -> None:
    """Cut off by a power cut, or of another version: its draft is finished all the same, and it is put aside."""
    half = draft(tmp_path, "6f0e")
    (tmp_path / ".running").mkdir()
    (tmp_path / ".running" / "6f0e.json").write_text(text, encoding="utf-8")
    assert [] == clean_up(tmp_path)
    assert half.final.exists()
    assert ["6f0e.broken"] == [path.name for path in (tmp_path / ".running").iterdir()]
    assert [] == clean_up(tmp_path)


def test_a_note_that_cannot_be_read_goes_with_its_draft(tmp_path: Path) -> None:
    """Nothing can be said of that run, and the others are recovered."""
    broken, whole = draft(tmp_path, PRESENCE.flow_run), draft(tmp_path, PRESENCE.flow_run)
    (broken.path / ".if-killed.json").write_text(f"{PRESENCE.flow_run}\n{{", encoding="utf-8")
    assert [whole.final] == archive.recover(tmp_path, PRESENCE.flow_run, NOW)
    assert not broken.path.exists()


def test_recovery_that_is_cut_short_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle of it loses nothing: the note stays until the run is seen."""
    half = draft(tmp_path, PRESENCE.flow_run)
    with monkeypatch.context() as full:
        full.setattr(archive, "write_report", _no_space)
        with pytest.raises(OSError, match="No space"):
            archive.recover(tmp_path, PRESENCE.flow_run, NOW)
        full.setattr(archive, "_flush", _no_space)
        with pytest.raises(OSError, match="No space"):
            archive.finish(half)
    assert [half.final] == archive.recover(tmp_path, PRESENCE.flow_run, NOW)
    assert {"run.json", "report.html"} == {path.name for path in half.final.iterdir()}


def _no_space(_: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_that_ends_leaves_no_mark(tmp_path: Path) -> None:
    """Also where it ends by an error."""
    with pytest.raises(ZeroDivisionError), present(tmp_path, PRESENCE):
        raise ZeroDivisionError
    assert [] == [*(tmp_path / ".running").iterdir()]
    assert [] == recover(tmp_path, NOW, settled)


def test_a_finished_run_has_nothing_ready(tmp_path: Path) -> None:
    """What stood there for the case of a kill is gone when the run is seen."""
    made = draft(tmp_path, "owner")
    archive.write_record(made.path, Record.model_validate_json(_ready(made)), None)
    folder = archive.finish(made)
    assert ["run.json"] == [path.name for path in folder.iterdir()]


def _ready(made: archive.Draft) -> str:
    return (made.path / ".if-killed.json").read_text(encoding="utf-8").partition("\n")[2]
