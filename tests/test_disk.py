"""What is lost when the disk is full, closed or shared, or the process is killed while it writes: nothing that was there."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from flows.training_report import Batch, training_report
from gd import archive
from gd.data import Source, bundled
from gd.outbox import Outbox, OutboxError
from gd.settings import Training
from tests.conftest import run_tasks, write_csv
from tests.service import until
from tests.test_archive import long_log

PENGUINS = Source(path=str(bundled("penguins")), target="body_mass_g")
QUICK = Training(epochs=200, backends=("numpy",))
FULL = "no report can be written there (No space left on device). Free some space there, or name another folder with --reports."


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB that is really full when it is."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def leave(disk: Path, room: int) -> None:
    """Fill a disk but for so many bytes."""
    (disk / "filler").unlink(missing_ok=True)
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(state.f_bavail * state.f_frsize - room, 0)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that a reader sees, with its bytes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if "/." not in f"/{path.relative_to(folder)}"}


def whole(reports: Path) -> None:
    """Every run that is seen is complete, and the index leads to runs that are there."""
    for folder in reports.glob("[!.]*/[!.]*/"):
        record, _ = archive.read_run(folder)
        assert (folder / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
        assert record.run.id == folder.name
    for page in (reports / "index.html", *reports.glob("[!.]*/index.html")):
        text = page.read_text(encoding="utf-8")
        assert text.rstrip().endswith("</html>")
        for link in re.findall(r'href="([^"]+(?:report|index).html)"', text):
            assert (page.parent / link).is_file()


def listed(reports: Path) -> set[Path]:
    """The runs that the pages of the data sets lead to."""
    pages = reports.glob("[!.]*/index.html")
    return {page.parent / run for page in pages for run in re.findall(r'href="([^"/]+)/report.html"', page.read_text("utf-8"))}


def test_a_full_disk_takes_nothing_that_was_there(disk: Path) -> None:
    """Wherever the room ends, from the first array to the last picture, it is said in words, and all else stays as it was."""
    reports = disk / "reports"
    run_tasks(PENGUINS, QUICK, reports, "penguins")
    archive.write_index(reports)
    before = contents(reports)
    for room in range(0, 180_000, 10_000):
        leave(disk, room)
        with pytest.raises(OSError, match="No space") as caught:
            run_tasks(PENGUINS, QUICK, reports, "penguins")
        assert f"{reports}: {FULL}" == str(archive.unwritable(reports, caught.value))
        for half in (reports / "penguins").glob(".*"):
            archive.clear(reports, "penguins", half.name[-8:])
        assert before == contents(reports)
        assert {".index.lock"} == {path.name for path in reports.rglob(".*")}


def test_an_index_that_does_not_fit_stays_as_it_was(disk: Path) -> None:
    """And nothing is left beside it."""
    reports = disk / "reports"
    run_tasks(PENGUINS, QUICK, reports, "penguins")
    archive.write_index(reports)
    before = contents(reports)
    leave(disk, 0)
    with pytest.raises(OSError, match="No space") as caught:
        archive.write_index(reports)
    assert f"{reports}: {FULL}" == str(archive.unwritable(reports, caught.value))
    assert before == contents(reports)
    assert {".index.lock"} == {path.name for path in reports.rglob(".*")}


def test_a_report_that_cannot_be_drawn_again_stays_as_it_was(disk: Path) -> None:
    """`gd render` on a full disk."""
    folder = run_tasks(PENGUINS, QUICK, disk / "reports", "penguins")
    before = contents(folder)
    leave(disk, 20_000)
    with pytest.raises(OSError, match="No space"):
        archive.write_report(folder)
    assert before == contents(folder)


def test_a_compressed_log_on_a_full_disk(disk: Path) -> None:
    """The library that writes it says why it stopped."""
    leave(disk, 500_000)
    with pytest.raises(OSError, match="No space") as caught:
        archive._write_epochs(disk, long_log(150_000))
    assert f"{disk}: {FULL}" == str(archive.unwritable(disk, caught.value))


def test_an_outbox_on_a_full_disk(disk: Path) -> None:
    """It says so in a sentence, and works again when there is room."""
    url = f"sqlite:///{disk / 'outbox.db'}"
    leave(disk, 0)
    with pytest.raises(OutboxError, match=r"disk is full|disk I/O error|unable to open"), Outbox.open(url):
        pass
    (disk / "filler").unlink()
    with Outbox.open(url) as outbox:
        assert 0 == sum(outbox.counts().values())


LIMITED = """
import os, resource, sys
from pathlib import Path
from gd import archive
from tests.conftest import run_tasks
from tests.test_disk import PENGUINS, QUICK, contents
reports = Path(sys.argv[1])
run_tasks(PENGUINS, QUICK, reports, "penguins")
archive.write_index(reports)
before = contents(reports)
for limit in (0, 500, 3_000, 10_000, 40_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        run_tasks(PENGUINS, QUICK, reports, "penguins")
    except OSError as error:
        said = str(archive.unwritable(reports, error))
    try:
        archive.write_index(reports)
        index = "written"
    except OSError as error:
        index = "kept"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(limit, index, before == contents(reports), said)
"""


def child(script: str, *words: object) -> subprocess.Popen[str]:
    """A Python process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.server  # a whole process
def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The same under a limit for the size of files, for which nobody has to be root."""
    with child(LIMITED, tmp_path) as process:
        lines = process.communicate(timeout=120)[0].splitlines()
    assert 0 == process.returncode
    assert 5 == len(lines)
    for line in lines:
        assert f"True {tmp_path}: no report can be written there (" in line
        assert "Free some space there, or name another folder with --reports." in line
    assert ["kept", "written"] == [lines[0].split()[1], lines[-1].split()[1]]


KILLED = """
import os, sys
from pathlib import Path
from gd import archive
from tests.conftest import run_tasks
from tests.test_disk import PENGUINS, QUICK
import numpy, pyarrow.csv, matplotlib.figure, matplotlib.backends.backend_svg
run_tasks(PENGUINS, QUICK, Path(sys.argv[2]), "warm")
for _ in sys.stdin:                     # a child that has everything imported, for each line
    child = os.fork()
    if child == 0:
        for _ in range(1000):
            run_tasks(PENGUINS, QUICK, Path(sys.argv[1]), "penguins")
            archive.write_index(Path(sys.argv[1]))
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@pytest.mark.server  # a whole process
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """SIGKILL six times: earlier runs stay byte for byte, what is seen is whole, and the next index lists all of it."""
    reports = tmp_path / "reports"
    run_tasks(PENGUINS, QUICK, tmp_path, "warm")
    began = time.monotonic()
    run_tasks(PENGUINS, QUICK, reports, "penguins")
    archive.write_index(reports)
    moments, long = random.Random(5), time.monotonic() - began
    with child(KILLED, reports, tmp_path / "warm") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for turn in range(7):
            before = contents(reports)
            process.stdin.write("\n")
            process.stdin.flush()
            victim = int(process.stdout.readline())
            try:
                if turn < 6:
                    time.sleep(moments.uniform(0.02, 1.5 * long))
                else:  # at last one that has just written a run
                    until(partial(_grown, reports, len(before)), "a run is there")
            except BaseException:
                process.kill()  # which would wait for the other
                raise
            finally:
                os.kill(victim, signal.SIGKILL)
            for file, data in before.items():
                assert file.endswith("index.html") or data == (reports / file).read_bytes()
            whole(reports)
        process.stdin.close()
    assert 0 == process.returncode
    archive.write_index(reports)
    assert listed(reports) == {*reports.glob("[!.]*/[!.]*/")}
    assert len(listed(reports)) > 1
    whole(reports)


def _grown(reports: Path, known: int) -> bool:
    try:
        return len(contents(reports)) > known
    except FileNotFoundError:  # a draft that has become a run, or an index written anew, while it was looked at
        return False


LISTS = """
import sys, time
from pathlib import Path
from gd import archive
reports, name = Path(sys.argv[1]), sys.argv[2]
real = archive.render_index
def slow(*words):
    print("listed", flush=True)
    sys.stdin.readline()                # until the other one has had its chance
    return real(*words)
archive.render_index = slow
archive.write_index(reports)
"""


@pytest.mark.server  # a whole process
def test_the_slower_of_two_does_not_put_back_an_older_index(tmp_path: Path) -> None:
    """A run that is finished while another process has listed and not yet written is in the index all the same."""
    first = run_tasks(PENGUINS, QUICK, tmp_path, "first")
    with child(LISTS, tmp_path, "slow") as slow:
        assert slow.stdin is not None
        assert slow.stdout is not None
        assert "listed\n" == slow.stdout.readline()
        second = run_tasks(PENGUINS, QUICK, tmp_path, "second")
        with child("import sys; from pathlib import Path; from gd import archive; archive.write_index(Path(sys.argv[1]))",
                   tmp_path) as quick:  # fmt: skip
            with pytest.raises(subprocess.TimeoutExpired):  # it waits for its turn
                quick.wait(1.5)
            slow.communicate("\n", timeout=60)
            quick.communicate(timeout=60)
    assert (0, 0) == (slow.returncode, quick.returncode)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(f"{folder.parent.name}/{folder.name}/report.html" in page for folder in (first, second))


TOGETHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flows.recovery import Presence, present, recover
from flows import training_report as flow
from gd import archive
from gd.recording import failed
from tests.conftest import run_tasks
from tests.test_disk import PENGUINS, QUICK
reports, owner = Path(sys.argv[1]), sys.argv[2]
now = datetime.now(UTC)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    assert [] == recover(reports, now, lambda _: True)        # as each start does: nobody was killed
    with present(reports, Presence(flow_run=f"{owner}-{turn}", name=owner, key=owner, moment=now)):
        real = archive.begin
        def begin(*words):
            draft = real(*words)
            run = flow._run(PENGUINS, QUICK)
            archive.keep_ready(draft, f"{owner}-{turn}", failed(run, PENGUINS, "penguins", QUICK, flow.InterruptedRunError()))
            return draft
        archive.begin = begin
        print(run_tasks(PENGUINS, QUICK, reports, "penguins"), flush=True)
        archive.begin = real
        archive.write_index(reports)
"""


@pytest.mark.server  # two whole processes
def test_two_at_once_both_end_whole(tmp_path: Path) -> None:
    """The same data set into the same folder, three times each: all are there and listed, none was taken for a killed one."""
    with child(TOGETHER, tmp_path, "a", 3) as first, child(TOGETHER, tmp_path, "b", 3) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=120)[0].split() for process in (first, second)]
    assert (0, 0) == (first.returncode, second.returncode)
    folders = {Path(folder) for lines in said for folder in lines}
    assert 6 == len(folders)
    assert folders == {*(tmp_path / "penguins").glob("*/")} == listed(tmp_path)
    assert {"converged"} == {archive.read_record(folder).verdict for folder in folders}
    whole(tmp_path)


def run(sources: list[Source], reports: Path, training: Training = QUICK) -> tuple[Any, Batch]:
    """The flow's last state and what it came to."""
    state: Any = training_report(sources, training, str(reports), return_state=True)
    return state, cast("Batch", state.result(raise_on_failure=False))


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_a_table_too_large_for_the_disk_lets_the_others_go_on(disk: Path, tmp_path: Path) -> None:
    """Its report says what to do; what was made of it on the way, the cache of its rows too, is not in the others' way."""
    rng = np.random.default_rng(3)
    large = write_csv(tmp_path / "large.csv", rng.normal(size=(80_000, 2)), rng.normal(size=80_000))
    reports = disk / "reports"
    training = QUICK.model_copy(update={"method": "rows"})
    state, batch = run([Source(path=str(large), target="y"), PENGUINS], reports, training)
    assert state.is_failed()
    assert ["failed", "converged"] == [item.record.verdict for item in batch.ended]
    first, second = batch.ended
    assert first.record.error is not None
    assert f"{reports}: {FULL}" == first.record.error.message
    assert FULL in state.message
    assert first.folder is not None
    assert second.folder is not None
    assert 2 == (reports / "index.html").read_text(encoding="utf-8").count("/report.html")
    whole(reports)
    assert [] == [*reports.glob("*/.*-*")]


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_no_room_for_a_refusal_is_said_beside_it(disk: Path, tmp_path: Path) -> None:
    """What is wrong with the file, and why there is no report of it."""
    (tmp_path / "t.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    leave(disk, 16_000)
    _, batch = run([Source(path=str(tmp_path / "t.csv"), target="z")], disk / "reports")
    assert batch.ended[0].record.error is not None
    said = batch.ended[0].record.error.message
    assert said.startswith("t.csv: no column 'z'")
    assert said.endswith(FULL)


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_no_room_at_all_is_said_of_every_data_set(disk: Path) -> None:
    """There is no report, the earlier ones and the index stay, and no half of one is left."""
    reports = disk / "reports"
    run_tasks(PENGUINS, QUICK, reports, "penguins")
    archive.write_index(reports)
    before = contents(reports)
    leave(disk, 0)
    _, batch = run([PENGUINS, Source(path=str(bundled("notebook")), target="Y")], reports)
    assert [None, None] == [item.folder for item in batch.ended]
    for item in batch.ended:
        assert item.record.error is not None
        assert f"{reports}: {FULL}" == item.record.error.message
    assert before == contents(reports)
    assert [] == [*reports.glob("*/.*-*")]


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_an_index_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The reports are there, and the run says that the page of all reports does not show them."""
    (tmp_path / "index.html").mkdir()
    state, batch = run([PENGUINS], tmp_path)
    assert state.is_failed()
    assert f"{tmp_path / 'index.html'} is not brought up to date." in state.message
    assert batch.unlisted
    assert batch.ended[0].folder is not None
    assert {".index.lock", ".cache", ".running"} >= {path.name for path in tmp_path.glob(".*")}


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_what_is_no_csv_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    """A folder that holds a good file and everything else that a name can mean."""
    data = tmp_path / "data"
    (data / "folder.csv").mkdir(parents=True)
    (data / "deep").mkdir()
    shutil.copy(bundled("penguins"), data / "good.csv")
    os.mkfifo(data / "pipe.csv")
    (data / "loop.csv").symlink_to("loop.csv")
    (data / "around").symlink_to(data)
    (data / "gone.csv").symlink_to("nowhere.csv")
    (data / "\x1b[31m\u202e=1.csv").write_bytes(b"")
    (data / "caf\udce9.csv").write_bytes(b"x\n1\n")
    shutil.copy(bundled("penguins"), data / "closed.csv")
    (data / "closed.csv").chmod(0)
    expected = {
        "folder.csv: is a folder.": 1, "pipe.csv: is a pipe or a device.": 1, "loop.csv: a link that leads back to itself.": 1,
        "gone.csv: a link to a file that is not there.": 1, "closed.csv: may not be read by this user.": 1,
        "\\udce9.csv: the path holds a NUL, or a byte that is not UTF-8.": 1,
    }  # fmt: skip
    for pattern in (str(data), f"{data}/**/*.csv"):
        with somebody(tmp_path):
            state, batch = run([Source(path=pattern, target="body_mass_g")], tmp_path / "reports")
        assert state.is_failed()
        errors = [item.record.error.message for item in batch.ended if item.record.error]
        assert 8 == len(batch.ended)
        assert 7 == len(errors)
        assert expected == {words: sum(words in error for error in errors) for words in expected}
        (good,) = (item for item in batch.ended if item.record.error is None)
        assert ("good", "converged") == (good.name, good.record.verdict)
        assert all(item.folder for item in batch.ended)
        assert "\x1b" not in state.message
        assert "\u202e" not in state.message
    whole(tmp_path / "reports")
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e"} & set(page)


@contextmanager
def somebody(folder: Path) -> Iterator[None]:
    """While in it, root gives up its right to read and write everything, but may write into a folder."""
    for place in folder.parents:
        if place.stat().st_mode & 0o055 == 0:  # pytest closes its own to everybody else
            place.chmod(0o755)
    folder.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """A folder of reports that may be read and not written; root gives up its right to."""
    reports = tmp_path / "reports"
    run_tasks(PENGUINS, QUICK, reports, "penguins")
    archive.write_index(reports)
    for place in (reports, *(path for path in reports.rglob("*") if path.is_dir())):
        place.chmod(0o555)
    with somebody(tmp_path):
        yield reports
    for place in (reports, *(path for path in reports.rglob("*") if path.is_dir())):
        place.chmod(0o755)


def test_a_folder_that_may_not_be_written(nobody: Path) -> None:
    """It says so with what to do, and what is there stays."""
    before = contents(nobody)
    with pytest.raises(PermissionError) as caught:
        run_tasks(PENGUINS, QUICK, nobody, "penguins")
    words = "no report can be written there (Permission denied). Name another folder with --reports."
    assert f"{nobody}: {words}" == str(archive.unwritable(nobody, caught.value))
    with pytest.raises(PermissionError):
        archive.write_index(nobody)
    assert before == contents(nobody)
    now = datetime.now(UTC)
    assert [] == archive.recover(nobody, "nobody", now)
