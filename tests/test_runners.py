"""Calls on real threads, real processes and a real dask scheduler; workers are killed as the kernel kills them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext
from pydantic import ValidationError

from flows import runners
from flows.runners import KilledError, Runner, RunnerError, gather, go_on
from flows.training_report import Batch, data_set, training_report
from gd import archive
from gd.data import Source, bundled
from gd.settings import Training

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

ROOT = Path(runners.__file__).parent.parent
NAMES = ("fine", "raises", "dies once", "dies always", "fine too")


@task(task_run_name="{name}", cache_policy=NO_CACHE)
def work(name: str, folder: str) -> tuple[str, int]:
    """What the name says; a file in the folder for each time that it is begun."""
    begun = len([*Path(folder).glob(f"{name}.*")])
    (Path(folder) / f"{name}.{begun}").write_text(str(os.getpid()), encoding="utf-8")
    if name == "raises":
        raise LookupError(folder)
    if name == "dies always" or (name == "dies once" and begun == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return name, os.getpid()


@task(cache_policy=NO_CACHE)
def waits(name: str, folder: str) -> None:
    """Until the run is stopped."""
    (Path(folder) / name).write_text(str(os.getpid()), encoding="utf-8")
    pause = threading.Event()
    for _ in range(1200):
        go_on()
        pause.wait(0.05)


@task(cache_policy=NO_CACHE)
def where(x: int) -> tuple[int, int, int]:
    """In which process and thread."""
    return x, os.getpid(), threading.get_ident()


@task(cache_policy=NO_CACHE)
def nested(x: int) -> tuple[tuple[int, int, int], list[tuple[int, int, int]]]:
    """A call that is one of many, with many calls of its own."""
    return where.fn(x), gather(where, [{"x": x}, {"x": x + 1}], Runner(kind="processes", workers=2), ["a", "b"])


@flow
def many(runner: Runner, folder: str, names: Sequence[str]) -> tuple[str, list[Any]]:
    """The id of the flow run and what the calls came to."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    calls = [{"name": name, "folder": folder} for name in names]
    return str(context.flow_run.id), gather(work, calls, runner, [f"shard {name}.csv" for name in names])


@flow(validate_parameters=False)
def within(call: Callable[[], Any]) -> Any:
    """A call in a flow run."""
    return call()


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.05)
    return False


def pids(folder: Path) -> list[int]:
    """Of the processes in which calls were begun."""
    return [int(file.read_text(encoding="utf-8")) for file in folder.iterdir()]


def states(flow_run: str, count: int) -> list[tuple[str, str]]:
    """Names and states of the first so many task runs that the server knows to have ended, but for those that were killed."""

    async def read() -> list[tuple[str, str]]:
        async with get_client() as client:
            found: list[tuple[str, str]] = []
            for _ in range(600):
                runs = await client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[cast("Any", flow_run)]))
                )
                ended = [run for run in runs if run.state and run.state.is_final() and not run.state.is_crashed()]
                found = sorted((run.name, run.state_name or "") for run in ended)
                if len(found) >= count:
                    break
                await asyncio.sleep(0.1)
            return found

    return asyncio.run(read())


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Path, str, list[Any]]:
    """The calls of all kinds on two processes."""
    folder = tmp_path_factory.mktemp("processes")
    return folder, *many(Runner(kind="processes", workers=2), str(folder), NAMES)


def test_threads_keep_the_order_and_go_on_after_a_failure(tmp_path: Path) -> None:
    """Each result is where its call was; an exception is one of them."""
    _, outcomes = many(Runner(workers=2), str(tmp_path), ["a", "raises", "b"])
    assert [("a", os.getpid()), ("b", os.getpid())] == [outcomes[0], outcomes[2]]
    assert isinstance(outcomes[1], LookupError)


def test_a_killed_process_has_its_call_done_by_another(processes: tuple[Path, str, list[Any]]) -> None:
    """The one that died once is done; the others never notice."""
    folder, _, outcomes = processes
    assert ["fine", "dies once", "fine too"] == [outcomes[j][0] for j in (0, 2, 4)]
    first, second = (int((folder / f"dies once.{j}").read_text(encoding="utf-8")) for j in (0, 1))
    assert first != second == outcomes[2][1]
    assert {1} == {len([*folder.glob(f"{name}.*")]) for name in ("fine", "fine too", "raises")}


def test_three_kills_are_an_error_in_words(processes: tuple[Path, str, list[Any]]) -> None:
    """It names the call and the likely cause, and nobody tries a fourth time."""
    folder, _, outcomes = processes
    assert isinstance(outcomes[3], KilledError)
    assert "shard dies always.csv: its worker was killed 3 times, out of memory?" == str(outcomes[3])
    assert 3 == len([*folder.glob("dies always.*")])


def test_an_exception_comes_back_from_a_process(processes: tuple[Path, str, list[Any]]) -> None:
    """As it was raised there."""
    folder, _, outcomes = processes
    assert isinstance(outcomes[1], LookupError)
    assert (str(folder),) == outcomes[1].args


def test_processes_tell_the_same_server(processes: tuple[Path, str, list[Any]]) -> None:
    """The flow run has their task runs, though the server is known by the settings of a `with` alone."""
    ended = set(states(processes[1], 4))
    assert {("fine", "Completed"), ("raises", "Failed"), ("dies once", "Completed"), ("fine too", "Completed")} == ended


def test_no_process_is_left(processes: tuple[Path, str, list[Any]]) -> None:
    """They end with the call that started them."""
    assert all(gone(pid) for pid in pids(processes[0]))


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_stop_goes_through_and_leaves_nobody_at_work(kind: Any, tmp_path: Path) -> None:
    """Ctrl-C in the middle of two calls that would take a minute."""

    def interrupt() -> None:
        until = time.monotonic() + 60
        while len([*tmp_path.iterdir()]) < 2 and time.monotonic() < until:
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        gather(waits, [{"name": name, "folder": str(tmp_path)} for name in "ab"], Runner(kind=kind, workers=2), "ab")
    assert time.monotonic() - began < 59  # a minute is how long they would go on
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    assert all(pid == os.getpid() or gone(pid) for pid in pids(tmp_path))


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    """Also where that is killed and can tell nobody."""
    code = (
        "import os\nfrom flows.runners import _Worker\nworker = _Worker()\nworker.arrive()\n"
        "print(worker._pool.submit(os.getpid).result(), flush=True)\nos.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert -signal.SIGKILL == done.returncode
    assert gone(int(done.stdout))


def test_calls_within_a_call_stay_in_its_thread() -> None:
    """All workers are at work already: no pool is started in each of them."""
    found: Any = within(lambda: gather(nested, [{"x": 10}, {"x": 20}], Runner(workers=2), ["a", "b"]))
    for x, (outer, inner) in zip((10, 20), found, strict=True):
        assert [(x, *outer[1:]), (x + 1, *outer[1:])] == inner


@pytest.mark.parametrize(("calls", "workers"), [(1, 8), (3, 1)])
def test_one_call_or_one_worker_needs_no_pool(calls: int, workers: int) -> None:
    """It is a task of this thread."""
    runner = Runner(kind="processes", workers=workers)
    expected = [(x, os.getpid(), threading.get_ident()) for x in range(calls)]
    names = [str(x) for x in range(calls)]
    assert expected == within(lambda: gather(where, [{"x": x} for x in range(calls)], runner, names))


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a dask scheduler with two workers, each a process of its own on 127.0.0.1."""
    file, started = tmp_path / "scheduler.json", list[subprocess.Popen[bytes]]()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start(*words: str) -> None:
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(file), "--host", "127.0.0.1"]
        log = (tmp_path / f"{len(started)}.log").open("wb")
        started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path))
        log.close()

    try:
        start("scheduler", "--port", "0", "--no-dashboard", "--no-show")
        for _ in range(2):
            start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            threading.Event().wait(0.05)
        yield json.loads(file.read_text(encoding="utf-8"))["address"], started
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_a_killed_dask_worker_loses_nothing(scheduler: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path) -> None:
    """One of two is killed while it holds a call: the other does that too, and the server hears of every call."""
    address, started = scheduler
    folder = tmp_path / "calls"
    folder.mkdir()
    names = ["a", "dies once", "b", "raises", "c"]
    flow_run, outcomes = many(Runner(kind="dask", address=address), str(folder), names)
    assert ["a", "dies once", "b", "c"] == [outcome[0] for outcome in outcomes if not isinstance(outcome, Exception)]
    assert isinstance(outcomes[3], LookupError)
    killed = int((folder / "dies once.0").read_text(encoding="utf-8"))
    assert {process.pid for process in started[1:]} == {killed, outcomes[1][1]}
    assert sorted((name, "Failed" if name == "raises" else "Completed") for name in names) == states(flow_run, 5)


def test_a_scheduler_that_is_not_there_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the address and how to start one."""
    monkeypatch.setattr(runners, "_START", 1.0)
    with pytest.raises(RunnerError, match=r"no dask scheduler answers at tcp://127.0.0.1:1\. Start one with `dask scheduler`"):
        gather(where, [{"x": 1}, {"x": 2}], Runner(kind="dask", address="tcp://127.0.0.1:1"), ["a", "b"])


def test_workers_elsewhere_need_a_server_that_they_reach() -> None:
    """A server on 127.0.0.1 is no use to other machines: said before anything is sent."""
    with pytest.raises(RunnerError, match=r"the workers of 10\.0\.0\.5:8786 cannot reach Prefect's server at http"):
        gather(where, [{"x": 1}, {"x": 2}], Runner(kind="dask", address="10.0.0.5:8786"), ["a", "b"])


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, the message says what to install."""
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(RunnerError, match=r"pip install 'gd\[dask\]'"):
        gather(where, [{"x": 1}, {"x": 2}], Runner(kind="dask", workers=2), ["a", "b"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"address": "tcp://10.0.0.5:8786"}, "is for the runner dask, not for threads"),
        ({"kind": "dask", "address": "tcp://10.0.0.5:8786", "workers": 2}, "has workers of its own"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"kind": "fork"}, "'threads', 'processes' or 'dask'"),
    ],
)
def test_a_runner_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    """In words, before anything runs."""
    with pytest.raises(ValidationError, match=said):
        Runner.model_validate(given)


def weights(runner: Runner, reports: Path) -> list[tuple[str, str, Any]]:
    """Of a flow run over three data sets, one of which is not there."""
    sources = [
        Source(path=str(bundled("penguins")), target="body_mass_g"),
        Source(path=str(reports / "missing.csv"), target="y"),
        Source(path=str(bundled("notebook")), target="Y"),
    ]
    state: Any = training_report(sources, Training(backends=("numpy",)), str(reports), runner=runner, return_state=True)
    ended = cast("Batch", state.result(raise_on_failure=False)).ended
    assert [] == [*reports.glob("*/.*")]
    assert {"index.html", *(item.name for item in ended)} == {path.name for path in reports.iterdir() if path.name[0] != "."}
    return [(item.name, item.record.verdict, item.record.fits[0].weights if item.record.fits else {}) for item in ended]


def test_data_sets_come_out_the_same_whoever_does_them(tmp_path: Path) -> None:
    """The same names, verdicts and weights in the same order from one worker, two threads and two processes."""
    made = [
        weights(runner, tmp_path / str(j))
        for j, runner in enumerate((Runner(workers=1), Runner(workers=2), Runner(kind="processes", workers=2)))
    ]
    assert [("penguins", "converged"), ("missing", "failed"), ("notebook", "converged")] == [item[:2] for item in made[0]]
    assert made[0] == made[1] == made[2]


def test_a_data_set_done_again_is_there_once(tmp_path: Path) -> None:
    """What a killed worker left half made is cleared; what it had finished is taken as it is."""
    half = archive.begin(tmp_path, "notebook", "2026-11-23T02-00-00Z-0123abcd")
    source, training = Source(path=str(bundled("notebook")), target="Y"), Training(epochs=3, backends=("numpy",))

    def call() -> Any:
        return within(lambda: data_set("notebook", source, [source.path], training, str(tmp_path), "", "0123abcd", Runner()))

    first = call()
    assert not half.path.exists()
    assert first == call()
    assert [first.folder] == [str(folder) for folder in (tmp_path / "notebook").iterdir()]
