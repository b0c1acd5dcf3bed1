"""The flow on a real Prefect server."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from prefect import task_engine
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact as Stored
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ParameterTypeError, TerminationSignal

from flows.mailing import post_later
from flows.recovery import Presence
from flows.training_report import Batch, Ended, _stop_behind, training_report
from gd import figures, stream
from gd.archive import records
from gd.data import Source, bundled
from gd.dialect import Dialect
from gd.figures import Picture
from gd.quality import FitCells
from gd.record import EpochLog, Record
from gd.settings import Training, preset
from tests.conftest import run_tasks, write_csv

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]


def run(sources: list[Source], reports: Path, training: Training | None = None) -> tuple[State[Any], list[Ended]]:
    """The flow's last state and what each data set came to."""
    state: State[Any] = training_report(sources, training or Training(), str(reports), return_state=True)
    return state, cast("Batch", state.result(raise_on_failure=False)).ended


def artifact(key: str) -> Stored:
    """The latest artifact of a key, as the server keeps it."""
    found = Artifact.get(key)
    assert isinstance(found, Stored)
    return found


def task_runs(state: State[Any]) -> list[TaskRun]:
    """Every task run of a flow run, as the server knows them, first started first."""
    flow_run = state.state_details.flow_run_id
    assert isinstance(flow_run, UUID)

    async def read() -> list[TaskRun]:
        async with get_client() as client:
            for _ in range(600):  # the server learns of tasks by events, a moment after they end
                found = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
                if found and all(item.state and item.state.is_final() for item in found):
                    return sorted(found, key=lambda item: item.start_time or item.created or item.expected_start_time)  # type: ignore[arg-type,return-value]
                await asyncio.sleep(0.1)
            raise AssertionError("the server never heard of the tasks' ends")

    return asyncio.run(read())


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[State[Any], list[Ended], Path]:
    """Three CSVs of which the middle one is broken."""
    folder = tmp_path_factory.mktemp("batch")
    rng = np.random.default_rng(5)
    X = rng.normal(size=(30, 2))
    write_csv(folder / "first.csv", X, X @ [1.0, 2.0] + 3)
    (folder / "second.csv").write_text("x0,x1,y\n1,2,3\n4,5\n7,8,9\n", encoding="utf-8")
    write_csv(folder / "third.csv", X, X @ [-1.0, 0.5])
    state, ended = run([Source(path=str(folder), target="y")], folder / "reports")
    return state, ended, folder


def test_a_broken_csv_does_not_stop_the_others(batch: tuple[State[Any], list[Ended], Path]) -> None:
    """Two are trained and reported, the third leaves a report that says line and reason, and the flow run ends as failed."""
    state, ended, folder = batch
    assert ["converged", "failed", "converged"] == [item.record.verdict for item in ended]
    assert state.is_failed()
    error = ended[1].record.error
    assert error is not None
    assert f"2 of 3 data sets trained and reported; failed: second. {error.message}" == state.message
    expected = "second.csv, line 3: 2 cells where the header has 3. Quote cells that hold a comma, or mend the row."
    assert expected == error.message
    for item in ended:
        assert item.folder is not None
        files = {path.name for path in Path(item.folder).iterdir()}
        assert {"report.html", "run.json"} <= files
    page = (Path(ended[1].folder or "") / "report.html").read_text(encoding="utf-8")
    assert "second.csv, line 3: 2 cells where the header has 3." in page
    assert 3 == len(records(folder / "reports"))
    assert "second.csv, line 3" in (folder / "reports" / "index.html").read_text(encoding="utf-8")


def test_every_data_set_is_its_own_set_of_tasks(batch: tuple[State[Any], list[Ended], Path]) -> None:
    """Each task's name says which; a file that is wrong is read once and not again."""
    whole = ["read", "prepare", "train with numpy", "train with torch", "compare", "render", "archive"]
    expected = [
        "first",
        "second",
        "third",
        "second: read",
        *(f"{name}: {step}" for name in ("first", "third") for step in whole),
    ]
    found = task_runs(batch[0])
    assert sorted(expected) == sorted(item.name for item in found)
    assert {1} == {item.run_count for item in found if item.name == "second: read"}


def test_the_verdicts_are_an_artifact(batch: tuple[State[Any], list[Ended], Path]) -> None:
    """Prefect's page shows one line for each data set, in words."""
    found = artifact("verdicts")
    assert found.flow_run_id == batch[0].state_details.flow_run_id
    lines = str(found.data).splitlines()
    assert 3 == len(lines)
    assert lines[0].startswith("- ✓ **first** Converged. NumPy and PyTorch reached the optimum")
    assert lines[1].startswith("- ! **second** Could not be read. second.csv, line 3: 2 cells")


def test_the_final_figures_are_an_artifact(batch: tuple[State[Any], list[Ended], Path]) -> None:
    """A table with a row for each data set and backend, its numbers those of run.json."""
    found = artifact("final-figures")
    rows = json.loads(str(found.data))
    fits = [(item.name, fit.title, fit.loss, fit.epochs) for item in batch[1] for fit in item.record.fits]
    assert fits == [(row["data set"], row["backend"], row["loss"], row["epochs"]) for row in rows]


def test_no_matrix_is_pickled(batch: tuple[State[Any], list[Ended], Path]) -> None:
    """Nothing of the batch went into Prefect's result storage, and no array is a task's parameter."""
    storage = Path(os.environ["PREFECT_HOME"]) / "storage"
    stored = [*storage.iterdir()] if storage.exists() else []
    assert [] == stored
    for item in task_runs(batch[0]):
        assert set(item.task_inputs) <= {
            "name", "source", "draft", "training", "backend", "learning_rate", "run", "checks",
            "reports", "owner", "token", "__parents__", "files", "look", "runner", "label", "file", "alone", "kinds", "key",
            "parting", "labels", "scratch",
        }  # fmt: skip


def test_numbers_that_are_not_finite_fit_into_the_artifact(tmp_path: Path) -> None:
    """A diverged fit's loss is null there: the table stays JSON."""
    _, ended = run([Source(path=str(bundled("penguins")), target="body_mass_g")], tmp_path, Training(learning_rate=1.5))
    assert "diverged" == ended[0].record.verdict
    found = artifact("final-figures")
    assert [None, None] == [row["loss"] for row in json.loads(str(found.data))]


def test_hostile_names_stay_text_on_prefects_page(tmp_path: Path) -> None:
    """Markup in a file's or a column's name is escaped in the artifact."""
    (tmp_path / "a.csv").write_text("x,y\n1,2\n2,3\n", encoding="utf-8")
    run([Source(path=str(tmp_path / "a.csv"), target="<img src=x>|`")], tmp_path)
    found = artifact("verdicts")
    assert r"\<img src=x\>\|\`" in str(found.data)


def test_long_training_shows_its_progress(tmp_path: Path) -> None:
    """What takes longer than half a second has a progress artifact for each backend."""
    run(
        [Source(path=str(bundled("notebook")), target="Y")], tmp_path, Training(epochs=60_000, tolerance=0, backends=("torch",))
    )
    found = artifact("training-notebook-torch")
    assert 100.0 == float(str(found.data))  # it is done


def test_the_flow_runs_the_preset(tmp_path: Path) -> None:
    """A disagreement is a verdict, not a failure: the flow run completes."""
    state, ended = run([Source(path=str(bundled("notebook")), target="Y")], tmp_path, preset("notebook"))
    assert state.is_completed()
    assert "disagree" == ended[0].record.verdict


def test_reading_that_breaks_off_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails once costs a retry and not the report; nothing else is repeated."""
    real, calls = stream.opened, []

    def breaks_once(address: str) -> Any:
        calls.append(address)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error", address)
        return real(address)

    monkeypatch.setattr(stream, "opened", breaks_once)
    state, ended = run([Source(path=str(bundled("notebook")), target="Y")], tmp_path)
    assert "converged" == ended[0].record.verdict
    counts = {item.name: item.run_count for item in task_runs(state)}
    assert 2 == counts.pop("notebook: read")
    assert {1} == set(counts.values())


def test_a_stage_that_breaks_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own in one data set's drawing: that one has failed and says so, the other is reported."""
    real = figures.draw

    def breaks(record: Record, log: EpochLog, cells: FitCells | None) -> list[Picture]:
        if record.dataset.name == "notebook":
            raise ZeroDivisionError("a picture of nothing")
        return real(record, log, cells)

    monkeypatch.setattr("gd.archive.draw", breaks)
    sources = [Source(path=str(bundled("notebook")), target="Y"), Source(path=str(bundled("penguins")), target="year")]
    state, ended = run(sources, tmp_path, Training(epochs=20))
    assert state.is_failed()
    assert ["failed", "exhausted"] == [item.record.verdict for item in ended]
    assert ended[0].record.error is not None
    assert ("ZeroDivisionError", "a picture of nothing") == (ended[0].record.error.type, ended[0].record.error.message)
    assert ended[0].folder is not None
    assert {"report.html", "run.json"} == {path.name for path in Path(ended[0].folder).iterdir()}
    assert [] == [*tmp_path.glob("*/.*")]


def test_files_of_one_name_keep_folders_of_their_own(tmp_path: Path) -> None:
    """a.csv here and A.csv there are two data sets."""
    X = np.arange(6.0)[:, None]
    for folder, file in (("one", "a.csv"), ("two", "A.csv"), ("three", "a.csv")):
        (tmp_path / folder).mkdir()
        write_csv(tmp_path / folder / file, X, X[:, 0] * 2)
    _, ended = run([Source(path=str(tmp_path / folder), target="y") for folder in ("one", "two", "three")], tmp_path / "r")
    assert 3 == len({item.name.lower() for item in ended}) == len({item.folder for item in ended})


def test_a_pattern_that_names_nothing_is_a_failure_of_its_own(tmp_path: Path) -> None:
    """The other sources go on."""
    sources = [Source(path=str(tmp_path / "*.csv"), target="y"), Source(path=str(bundled("notebook")), target="Y")]
    state, ended = run(sources, tmp_path / "reports")
    assert ["failed", "converged"] == [item.record.verdict for item in ended]
    assert state.is_failed()


def test_wrong_parameters_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """Prefect checks what its form sends."""
    wrong: Any = {"learning_rate": -1}
    with pytest.raises(ParameterTypeError, match="greater than 0"):
        training_report([Source(path="a.csv", target="y")], wrong, str(tmp_path))


def test_older_runs_go_and_what_mail_is_owed_of_stays(tmp_path: Path) -> None:
    """The flow keeps as many runs as it is told, the one whose report could not be queued yet, and lists no other."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    old = [run_tasks(source, Training(epochs=3), tmp_path, "penguins") for _ in range(3)]
    for number, folder in enumerate(old):
        old[number] = folder.rename(folder.with_name(f"2020-01-0{number + 1}T02-00-00Z-0000000{number}"))
    unsent = Presence(flow_run="x", name="x", key="x", moment=datetime(2020, 1, 1, tzinfo=UTC))
    post_later(unsent, [old[0]], tmp_path)
    state: Any = training_report([source], Training(epochs=3), str(tmp_path), keep="90d", return_state=True)
    assert state.is_completed()
    left = sorted(path.name for path in (tmp_path / "penguins").glob("*/"))
    assert [old[0].name] == left[:1]
    assert 2 == len(left)
    page = (tmp_path / "penguins" / "index.html").read_text(encoding="utf-8")
    assert [name for name in left if f'"{name}/report.html"' in page] == left
    assert old[1].name not in page


def test_prefects_form_knows_every_setting() -> None:
    """The flow's parameter schema names the settings with their help and limits."""
    schema = training_report.parameters.model_dump()
    known = {"sources", "training", "reports", "mail", "send", "skip_after", "runner", "keep", "templates", "zone", "numbers"}
    assert known == set(schema["properties"])
    settings = schema["definitions"]["Training"]["properties"]
    assert set(Training.model_fields) == set(settings)
    assert 1 == settings["epochs"]["minimum"]
    assert all(said["description"] for said in settings.values())
    assert (0, 1) == (settings["l1"]["minimum"], settings["warm_up"]["minimum"] + 1)
    written = schema["definitions"]["Dialect"]["properties"]
    assert set(Dialect.model_fields) == set(written)
    assert all(said["description"] for said in written.values())


def test_a_deployments_parameters_say_how_files_are_written(tmp_path: Path) -> None:
    """As they stand in prefect.yaml, or come from Prefect's form."""
    (tmp_path / "t.csv").write_text("a;b;y\n1,5;u;1\n2,5;v;3\n4,5;u;5\n7,5;?;2\n", encoding="utf-8")
    source: Any = {
        "path": str(tmp_path / "t.csv"), "target": "y", "encode": ["category"],
        "dialect": {"decimal": ",", "missing": ["default", "?"]},
    }  # fmt: skip
    state = training_report([source], Training(epochs=5), str(tmp_path / "reports"), return_state=True)
    (ended,) = cast("Batch", state.result()).ended
    assert ("a", "b=v") == ended.record.dataset.features
    assert 3 == ended.record.dataset.rows_used


def test_a_sweep_is_a_task_for_each_backend(tmp_path: Path) -> None:
    """All rates are trained before the run itself, which then takes the best of them."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    state, ended = run([source], tmp_path, Training(learning_rate=(0.001, 0.4, 0.6), backends=("numpy", "torch")))
    assert state.is_completed()
    record = ended[0].record
    assert record.sweep is not None
    assert ("converged", 0.4, (0.001, 0.4, 0.6)) == (record.verdict, record.training.learning_rate, record.sweep.rates)
    names = [item.name.removeprefix("penguins: ") for item in task_runs(state)]
    assert ["prepare", "sweep rates with numpy", "sweep rates with torch", "train with numpy"] == names[2:6]


@pytest.mark.parametrize("begun", ["data set", "train"])
def test_a_stop_that_prefect_hides_is_a_stop(begun: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C that meets a task half begun comes out of Prefect as an error of its own: that is no failure of a data set."""
    create = task_engine._create_task_run_locally

    def interrupted(**given: Any) -> Any:
        if given["task"].name == begun:
            raise KeyboardInterrupt
        return create(**given)

    monkeypatch.setattr(task_engine, "_create_task_run_locally", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([Source(path=str(bundled("penguins")), target="body_mass_g")], tmp_path)
    assert [] == [path for path in tmp_path.glob("*/*") if path.parent.name[0] != "."]


def test_a_termination_is_found_behind_the_error_that_hides_it() -> None:
    """Prefect's own signal, as of SIGTERM."""

    def half_begun() -> None:
        try:
            raise TerminationSignal(15)
        finally:
            raise ValueError("Task run is not set")

    with pytest.raises(ValueError, match="Task run is not set") as raised:
        half_begun()
    assert isinstance(_stop_behind(raised.value), TerminationSignal)
    assert _stop_behind(ValueError("another")) is None
