"""Runs on the disk: whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gd import archive
from gd.data import Source, bundled
from gd.record import EpochLog
from gd.report import Report
from gd.settings import Training
from tests.conftest import run_tasks


def test_a_run_leaves_the_promised_files(cases: dict[str, Path]) -> None:
    """Report, record, every epoch and the figures, in a folder named by start and chance; nothing of the work remains."""
    folder = cases["disagree"]
    assert {"report.html", "run.json", "epochs.csv", "fit.csv", "model.json", "figures"} == {
        path.name for path in folder.iterdir()
    }
    figures = ("loss", "excess", "weights", "gradient", "gap", "path", "steps", "predicted")
    assert {f"{name}.{kind}" for name in figures for kind in ("svg", "csv")} == {
        path.name for path in (folder / "figures").iterdir()
    }
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert folder.name == record["run"]["id"]
    date, code = folder.name.rsplit("-", 1)
    assert record["run"]["started"][:19].replace(":", "-") + "Z" == date
    assert 8 == len(code)


@pytest.mark.parametrize("verdict", ["converged", "diverged", "disagree"])
def test_epochs_csv_holds_every_digit(verdict: str, cases: dict[str, Path], reports: dict[str, Report]) -> None:
    """Python's own reader gets the very numbers of the log back; a backend that had stopped has empty cells."""
    log = reports[verdict].log
    assert log is not None
    with (cases[verdict] / "epochs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(log) == len(rows)
    for name, values in log.columns.items():
        read = np.array([float(row[name]) if row[name] else np.nan for row in rows])
        np.testing.assert_array_equal(values.astype(float), read)


def test_the_index_lists_every_data_set_newest_first(cases: dict[str, Path]) -> None:
    """One row a data set, with a link to its last run and one to all of its runs."""
    reports = cases["converged"].parent.parent
    page = archive.write_index(reports).read_text(encoding="utf-8")
    found = archive.records(reports)
    started = [record.run.started for _, record in found]
    assert sorted(started, reverse=True) == started
    assert 4 == len(found) == page.count("/report.html")
    for folder, record in found:
        assert f'href="{folder.relative_to(reports).as_posix()}/report.html"' in page
        assert f'href="{folder.parent.name}/index.html"' in page
        assert f'href="{folder.name}/report.html"' in (folder.parent / "index.html").read_text(encoding="utf-8")
        assert (folder / "report.html").is_file()
        assert record.dataset.name in page


def test_an_empty_archive_has_an_index(tmp_path: Path) -> None:
    """No run yet is said, not an error."""
    assert "No run yet." in archive.write_index(tmp_path).read_text(encoding="utf-8")


def test_drafts_and_broken_records_are_not_listed(tmp_path: Path) -> None:
    """What is not finished or cannot be read takes nothing else with it."""
    good = run_tasks(Source(path=str(bundled("notebook")), target="Y"), Training(), tmp_path, "good")
    run_tasks(Source(path=str(bundled("notebook")), target="Y"), Training(), tmp_path, "good", finish=False)
    (tmp_path / "bad" / "run").mkdir(parents=True)
    (tmp_path / "bad" / "run" / "run.json").write_text('{"schema": 1, "run"', encoding="utf-8")
    assert [good] == [folder for folder, _ in archive.records(tmp_path)]


KILLED = """
import os, signal, sys
from pathlib import Path
import gd.archive, gd.report
import gd.backends.torch, matplotlib.figure, matplotlib.backends.backend_svg
from gd.data import Source, bundled
from gd.settings import Training
from tests.conftest import run_tasks
name = Path(sys.argv[1])
for where in sys.argv[2:]:              # a child that has everything imported, for each
    child = os.fork()
    if child == 0:
        break
    print(os.waitpid(child, 0)[1])
else:
    sys.exit()
module, _, function = where.rpartition(".")
owner = sys.modules[module]
real = getattr(owner, function)
def fatal(*words, **named):
    if function == "finish":                # in the middle of it: all is flushed, nothing is renamed
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **named)
    result = real(*words, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, function, fatal)
run_tasks(Source(path=str(bundled("notebook")), target="Y"), Training(), name / where, "victim")
"""
STAGES = ("begin", "write_record", "draw", "render", "finish")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of reports for each stage, in which one run was finished and another was killed there."""
    folder = tmp_path_factory.mktemp("killed")
    functions = {stage: f"gd.archive.{stage}" for stage in STAGES}
    run_tasks(Source(path=str(bundled("notebook")), target="Y"), Training(), folder / "before", "victim")
    for function in functions.values():
        shutil.copytree(folder / "before", folder / function)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), *functions.values()],
        capture_output=True, text=True, timeout=240, check=False, env=environment,
    )  # fmt: skip
    assert [str(int(signal.SIGKILL))] * len(STAGES) == done.stdout.split(), done.stderr
    return {stage: folder / function for stage, function in functions.items()}


@pytest.mark.server  # a whole process each
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_leaves_no_half_folder(stage: str, killed: dict[str, Path]) -> None:
    """SIGKILL at any stage: earlier runs stay listed, the killed one is nowhere to be seen."""
    page = archive.write_index(killed[stage]).read_text(encoding="utf-8")
    assert 1 == page.count("/report.html")
    [(before, _)] = archive.records(killed[stage])
    assert (killed[stage].parent / "before" / "victim" / before.name).is_dir()
    visible = [path.name for path in (killed[stage] / "victim").iterdir() if not path.name.startswith(".")]
    assert [before.name, "index.html"] == sorted(visible)


def test_two_runs_give_the_same_epochs(tmp_path: Path) -> None:
    """Every run is reproducible to the last bit: epochs.csv is the same file twice."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    first, second = (run_tasks(source, Training(), tmp_path, name, draw=False) for name in ("a", "b"))
    assert (first / "epochs.csv").read_bytes() == (second / "epochs.csv").read_bytes()


def test_names_of_columns_survive_epochs_csv(tmp_path: Path) -> None:
    """Commas, quotes and newlines in a feature's name come back."""
    path = tmp_path / "odd.csv"
    path.write_text('"a,b","c""d","e\nf",y\n1,2,3,4\n2,1,5,6\n4,4,1,9\n7,2,2,1\n', encoding="utf-8")
    folder = run_tasks(Source(path=str(path), target="y"), Training(epochs=5), tmp_path, draw=False)
    _, log = archive.read_run(folder)
    assert log is not None
    assert {"numpy_weight_a,b", 'numpy_weight_c"d', "numpy_weight_e\nf"} <= set(log.columns)


def long_log(epochs: int) -> EpochLog:
    """Losses of every epoch in all their digits, and a weight that was kept of every 50th."""
    rng = np.random.default_rng(8)
    kept = np.arange(49, epochs, 50)
    columns = {"epoch": np.arange(epochs), **{f"numpy_{name}": rng.normal(size=epochs) for name in "abcdef"}}
    weight = rng.normal(size=len(kept))
    weight[:3] = [np.nan, np.inf, 5e-324][: len(weight)]
    return EpochLog(columns | {"numpy_weight_x": weight}, {"numpy_weight_x": kept})


@pytest.mark.parametrize("epochs", [1, 49, 50, 65_536, 65_537, 150_000])
def test_a_log_survives_its_file(epochs: int, tmp_path: Path) -> None:
    """Read back, every number and every gap is what was written; above 10 MB the file is compressed, and alone."""
    log = long_log(epochs)
    (tmp_path / "epochs.csv").write_text("old", encoding="utf-8")
    archive._write_epochs(tmp_path, log)
    assert [f"epochs.csv{'.gz' if epochs > 100_000 else ''}"] == [path.name for path in tmp_path.iterdir()]
    again = archive._read_epochs(archive._epochs_file(tmp_path))
    assert list(log.columns) == list(again.columns)
    for name in log.columns:
        for expected, actual in zip(log.entries(name), again.entries(name), strict=True):
            assert expected.tobytes() == actual.tobytes()


def test_a_compressed_log_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Neither the time nor a name is in it, and gunzip gets the lines that would have stood in the plain file."""
    log = long_log(150_000)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        archive._write_epochs(tmp_path / name, log)
    first, second = ((tmp_path / name / "epochs.csv.gz").read_bytes() for name in ("a", "b"))
    assert first == second
    assert bytes(4) == first[4:8]
    lines = gzip.decompress(first).splitlines()
    assert 150_001 == len(lines)
    assert b"," + repr(float(log["numpy_a"][77])).encode() + b"," in lines[78]
    assert lines[78].endswith(b",")  # no weight was kept there


def test_a_compressed_log_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """The error names the file; it is not taken for a shorter log."""
    archive._write_epochs(tmp_path, long_log(150_000))
    whole = (tmp_path / "epochs.csv.gz").read_bytes()
    (tmp_path / "epochs.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"epochs\.csv\.gz"):
        archive._read_epochs(tmp_path / "epochs.csv.gz")
