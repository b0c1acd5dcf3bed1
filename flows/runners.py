"""Many calls of a task on many workers: threads, processes, or dask.

Prefect's own task runners do the work; what stands here is what they leave out. A worker that is killed takes only its own call
with it, and another worker does that again; a call that raises leaves the others alone; a stop leaves no process behind.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from ipaddress import ip_address
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:  # Prefect takes a second to import, which a command spends while its server starts
    from prefect import Task
    from prefect.client.schemas.objects import State

__all__ = ["KilledError", "Runner", "RunnerError", "StoppedError", "gather", "go_on"]

_TRIES = 3
_START = 60.0  # seconds that a worker or a scheduler may take until it answers
_END = 10.0  # seconds
_LOOK = 2.0  # seconds between two looks at whether a dask scheduler has workers
_NO_WORKER = 60.0  # seconds that a dask scheduler may be without any worker before its calls are given up

_within: ContextVar[bool] = ContextVar("within", default=False)  # True in a call that is one of many
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
_worker_process = threading.Event()  # set in a process that was started here to do such calls


class RunnerError(RuntimeError):
    """The workers that were asked for cannot be had; the message says what to do."""


class KilledError(RuntimeError):
    """A call whose worker was killed each time."""


class StoppedError(BaseException):
    """Raised in a thread when the whole run is being stopped; like KeyboardInterrupt it is no error of what it meets."""


class Runner(BaseModel):
    """Who does the work where there are several data sets, or several shards of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["threads", "processes", "dask"] = Field(
        default="threads",
        description="threads of one process; processes, each of which takes seconds to start; or dask, on any machines",
    )
    workers: int | None = Field(
        default=None, ge=1, description="how many; one a core when not given, but a single thread for whole data sets"
    )
    address: str | None = Field(
        default=None,
        min_length=1,
        description="of a dask scheduler that exists, such as tcp://10.0.0.5:8786; else one is started",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.address is not None and self.kind != "dask":
            raise ValueError(f"the address of a scheduler is for the runner dask, not for {self.kind}")
        if self.address is not None and self.workers is not None:
            raise ValueError("a scheduler that exists has workers of its own: give either its address or a number of workers")
        return self

    @property
    def size(self) -> int:
        """The number of workers that are started here."""
        from gd.blocks import cores  # noqa: PLC0415  (NumPy comes with it, and a command starts its server first)

        return self.workers or cores()


def gather(task: Task[Any, Any], calls: Sequence[Mapping[str, Any]], runner: Runner, names: Sequence[str]) -> list[Any]:
    """Call a task once for each set of arguments, on the runner's workers.

    One call, one worker, or a call that is itself one of many: then the task runs in this thread.

    Args:
        task: takes paths and small values and returns small values.
        calls: keyword arguments, (n,).
        runner: who calls.
        names: of the calls, for messages, (n,).

    Returns:
        In the order of the calls, what each returned or the exception that it raised; KilledError where three workers were
        killed by it.

    Raises:
        RunnerError: if there are no such workers.
        BaseException: what stops this process from outside; no worker process or thread is at work then.
    """
    batch = _Batch(task, [dict(call) for call in calls], names)
    if len(calls) == 1 or _is_within() or (runner.address is None and runner.size == 1):
        return [batch.here(call) for call in batch.calls]
    if runner.kind == "threads":
        return _threads(batch, min(runner.size, len(calls)))
    if runner.kind == "processes":
        return _processes(batch, min(runner.size, len(calls)))
    return _dask(batch, runner)


def go_on() -> None:
    """Return if the run is to go on: a call that takes long asks now and then, since nobody can stop a thread.

    Raises:
        StoppedError: if it is being stopped.
    """
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise StoppedError


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is to be called."""

    task: Task[Any, Any]
    calls: Sequence[dict[str, Any]]
    names: Sequence[str]

    def here(self, call: dict[str, Any]) -> Any:
        """What one call comes to, in this thread."""
        return _outcome(self.task(**call, return_state=True))

    def killed(self, position: int, times: int) -> KilledError:
        """In words."""
        return KilledError(f"{self.names[position]}: its worker was killed {times} times, out of memory?")


def _outcome(state: Any) -> Any:
    """The result or the exception of a state. A crash is a stop from outside and is raised."""
    return state.result(raise_on_failure=state.is_crashed())


def _is_within() -> bool:
    """Whether this is a call that is one of many: its workers are all at work already."""
    if _within.get() or _worker_process.is_set():
        return True
    distributed = sys.modules.get("distributed")  # a dask worker has it, and nobody else needs it imported
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _threads(batch: _Batch, workers: int) -> list[Any]:
    """Prefect's threads; each sees this thread's context variables."""
    from prefect.task_runners import ThreadPoolTaskRunner  # noqa: PLC0415

    stop = threading.Event()
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    with _sharing_the_cores(workers), pool:  # waits at its end for the threads that are at work
        try:
            with _set(_within, True), _set(_stop, stop):
                futures = [pool.submit(batch.task, parameters=call) for call in batch.calls]
            return [_outcome(cast("State[Any]", future.wrapped_future.result())) for future in futures]
        except BaseException:
            stop.set()
            raise


@contextmanager
def _sharing_the_cores(workers: int) -> Iterator[None]:
    """BLAS and PyTorch have no more threads for each worker than its share of the cores.

    More threads than cores made two data sets at once slower than one after the other.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  (only where there are several workers)

    share, torch = _share(workers), sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(share, "blas"):
        if torch:
            torch.set_num_threads(share)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def _share(workers: int) -> int:
    from gd.blocks import cores  # noqa: PLC0415

    return max(1, cores() // workers)


def _processes(batch: _Batch, workers: int) -> list[Any]:
    """Processes, each looked after by a thread.

    Prefect's own runner keeps them in one pool, in which a killed one breaks the calls of all. It also passes on what they tell
    the server from a thread that does not see `temporary_settings`, so that a second server is started. These here tell the
    server themselves, as those of dask do.
    """
    office = _Office(batch, _share(workers))
    threads = [threading.Thread(target=copy_context().run, args=(office.look_after_one,), daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # a signal gets through
    finally:
        office.close()
        until = time.monotonic() + _END
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
    if office.broken is not None:
        raise office.broken
    return [office.outcomes[position] for position in range(len(batch.calls))]


class _Office:
    """Calls that wait, the processes that do them, and what became of them."""

    def __init__(self, batch: _Batch, threads: int) -> None:
        from prefect.context import serialize_context  # noqa: PLC0415

        self.outcomes: dict[int, Any] = {}
        self.broken: BaseException | None = None  # why no process can be had
        self._batch, self._threads, self._context = batch, threads, serialize_context()
        self._waiting, self._running = deque(range(len(batch.calls))), 0
        self._deaths: Counter[int] = Counter()
        self._workers: list[_Worker] = []
        self._closed = False
        self._changed = threading.Condition()

    def look_after_one(self) -> None:
        """Have calls done by one process, and by another after it when it is killed, until none is left."""
        worker = None
        try:
            while (position := self._take()) is not None:
                worker = worker or self._hire()
                run, call = uuid4(), self._batch.calls[position]
                try:
                    outcome = worker.call(self._batch.task, run, call, self._context)
                except BrokenProcessPool:
                    worker.leave()
                    worker = None
                    if not self._closed:
                        _say_crashed(run)
                    self._put_back(position)
                else:
                    self._done(position, outcome)
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits for this one)
            self.broken = error
            self.close()
        finally:
            if worker is not None:
                worker.leave()

    def close(self) -> None:
        """No call is begun any more, and no process goes on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for worker in self._workers:
                worker.end()

    def _hire(self) -> _Worker:
        with self._changed:
            worker = _Worker(self._threads)
            self._workers.append(worker)
            if self._closed:
                worker.end()
        worker.arrive()
        return worker

    def _take(self) -> int | None:
        """The next call, None where there is none; one that runs may come back, so nobody leaves before."""
        with self._changed:
            while not self._waiting and self._running and not self._closed:
                self._changed.wait()
            if self._closed or not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _put_back(self, position: int) -> None:
        self._deaths[position] += 1
        if self._deaths[position] == _TRIES:
            self._done(position, self._batch.killed(position, _TRIES))
            return
        with self._changed:
            self._running -= 1
            self._waiting.append(position)
            self._changed.notify_all()

    def _done(self, position: int, outcome: Any) -> None:
        with self._changed:
            self._running -= 1
            self.outcomes[position] = outcome
            self._changed.notify_all()


class _Worker:
    """One process that does calls, one after the other. It ends with this process, however that ends."""

    def __init__(self, threads: int = 1) -> None:
        start = get_context("spawn")  # a fork would copy the threads' locks, and not the threads
        self._theirs, self._ours = start.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, mp_context=start, initializer=_begin, initargs=(self._theirs, threads))

    def arrive(self) -> None:
        """Return when it has started.

        Raises:
            RunnerError: if it did not.
        """
        try:
            self._pool.submit(os.getpid).result(_START)
        except (BrokenProcessPool, TimeoutError):
            raise RunnerError("no worker process can be started here. Use the runner threads.") from None

    def call(self, task: Task[Any, Any], run: UUID, arguments: dict[str, Any], context: dict[str, Any]) -> Any:
        """What a call comes to there: its result, or the exception that it raised.

        Raises:
            BrokenProcessPool: if the process is gone.
        """
        import cloudpickle  # noqa: PLC0415  (as Prefect does: it also takes tasks of a script)

        return cloudpickle.loads(self._pool.submit(_work, cloudpickle.dumps((task, run, arguments, context))).result())

    def end(self) -> None:
        """End the process at once, whatever it is at."""
        self._ours.close()

    def leave(self) -> None:
        """Wait until it has ended."""
        self.end()
        self._pool.shutdown()
        self._theirs.close()


def _begin(parent: Connection, threads: int) -> None:
    """In a new process: Ctrl-C is for the process that started it, with which it ends; BLAS has so many threads."""

    def end_with_parent() -> None:
        with suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy and PyTorch are imported
        os.environ.setdefault(variable, str(threads))
    threading.Thread(target=end_with_parent, daemon=True).start()
    _worker_process.set()


def _work(pickled: bytes) -> bytes:
    """In that process: one call, as a run of its task."""
    import cloudpickle  # noqa: PLC0415
    from prefect.task_engine import run_task_sync  # noqa: PLC0415

    task, run, arguments, context = cloudpickle.loads(pickled)
    try:
        state: Any = run_task_sync(task, task_run_id=run, parameters=arguments, return_type="state", context=context)
        outcome = state.result(raise_on_failure=False)
    except BaseException as error:  # noqa: BLE001  (nothing but a kill ends a worker)
        outcome = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
    _tell()
    try:
        answer = cloudpickle.dumps(outcome)
        cloudpickle.loads(answer)
    except Exception as error:  # noqa: BLE001  (not everything can travel, exceptions least)
        kept = outcome if isinstance(outcome, Exception) else error
        answer = cloudpickle.dumps(RuntimeError(f"{type(kept).__name__}: {kept}"))
    return bytes(answer)


def _tell() -> None:
    """In that process, at the end of a call: what the server has not heard of it yet, since the next one may be killed."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415

    for telling in (EventsWorker, APILogWorker):
        logging.getLogger(telling.__name__).setLevel(logging.ERROR)  # else it warns that there is something left to tell
        telling.drain_all(timeout=_END)


def _say_crashed(run: UUID) -> None:
    """Tell the server that a task run will not end: its process cannot any more."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.states import Crashed  # noqa: PLC0415

    with suppress(Exception), get_client(sync_client=True) as client:  # it may not even know of the run
        client.set_task_run_state(run, Crashed(message="Its worker was killed."), force=True)


def _dask(batch: _Batch, runner: Runner) -> list[Any]:
    """Dask's workers; its scheduler gives the call of one that is lost to another."""
    try:
        import dask  # noqa: PLC0415
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415
    except ImportError:
        raise RunnerError("the runner dask is not installed: pip install 'gd[dask]'") from None
    if runner.address is not None:
        _check_reach(runner.address)
        pool = DaskTaskRunner(address=runner.address, client_kwargs={"timeout": _START})
    else:
        settings: dict[str, Any] = {
            "n_workers": min(runner.size, len(batch.calls)),
            "threads_per_worker": 1,
            "dashboard_address": None,
        }
        pool = DaskTaskRunner(cluster_kwargs=settings | {"host": "127.0.0.1", "silence_logs": logging.ERROR})
    patience = {"distributed.scheduler.allowed-failures": _TRIES - 1}  # of the scheduler started here; others have their own
    with dask.config.set(patience), pool:
        try:
            futures = [pool.submit(batch.task, parameters=call).wrapped_future for call in batch.calls]
        except OSError:
            raise RunnerError(f"no dask scheduler answers at {runner.address}. Start one with `dask scheduler`.") from None
        try:
            watch = _Watch(pool.client)
            return [_dask_outcome(batch, position, future, watch) for position, future in enumerate(futures)]
        except BaseException:
            with suppress(Exception):
                cast("Any", pool.client).cancel(futures, force=True)
            raise


class _Watch:
    """Looks whether a dask scheduler has workers."""

    def __init__(self, client: Any) -> None:
        self._client, self._seen = client, time.monotonic()

    def is_given_up(self) -> bool:
        """Whether it has had none for too long."""
        now = time.monotonic()
        if self._client.scheduler_info()["workers"]:
            self._seen = now
        return now - self._seen > _NO_WORKER


def _dask_outcome(batch: _Batch, position: int, future: Any, watch: _Watch) -> Any:
    """What a call came to, unless there is no worker for too long."""
    from distributed import KilledWorker  # noqa: PLC0415

    while True:
        try:
            return _outcome(future.result(timeout=_LOOK))
        except TimeoutError:
            if watch.is_given_up():
                return RunnerError(f"{batch.names[position]}: the dask scheduler has no worker. Start one with `dask worker`.")
        except KilledWorker as error:
            return batch.killed(position, error.allowed_failures + 1)
        except CancelledError:
            return RunnerError(f"{batch.names[position]}: the dask scheduler was lost.")


def _check_reach(address: str) -> None:
    """Workers on other machines must reach Prefect's server, which a temporary one does not let them."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    url = PREFECT_API_URL.value() or ""
    if _is_here(url) and not _is_here(address if "://" in address else f"tcp://{address}"):
        raise RunnerError(
            f"the workers of {address} cannot reach Prefect's server at {url}. Name one that they can in PREFECT_API_URL."
        )


def _is_here(url: str) -> bool:
    """Whether an address is one that only this machine can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in {"localhost", ""}
