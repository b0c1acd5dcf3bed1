"""`gd serve`: Prefect's server, the deployments of prefect.yaml and a worker, as one foreground process that ends them all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import httpx

from flows.plan import Plan
from flows.server import end_with_parent, wait_until_up

__all__ = ["ADDRESS", "ServiceError", "Started", "serve"]

ADDRESS = "address"
"""The file in the service's folder that names the server's API for as long as it runs."""

_PATIENCE = 120.0  # seconds for the server's first start, which makes its database
_ENDING = 20.0  # seconds for a process to end by itself
_RESTARTS = 5  # of a worker, within
_WITHIN = 600.0  # seconds
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last one comes where a terminal is closed
_EVERY = 2.0  # seconds between two looks
_DYING = 60.0  # seconds in which a run that was killed with its worker, and gives gigabytes back first, lets go of its lock


class ServiceError(RuntimeError):
    """The service cannot start, or cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Started:
    """What `serve` has brought up."""

    page: str  # address of Prefect's page
    own: bool  # whether the server is ours
    runs: Sequence[tuple[datetime, str]]  # the next, with the deployment's name


class Child:
    """A process that ends with this one."""

    def __init__(self, name: str, words: Sequence[str], environment: dict[str, str], folder: Path, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  (our own words)
                [sys.executable, "-m", *words], env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which ends them in their order
                preexec_fn=end_with_parent,  # noqa: PLW1509  (there is no other thread that holds a lock)
            )  # fmt: skip

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def last_words(self) -> str:
        """The end of its log, on one line."""
        lines = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else "it said nothing"

    def end(self) -> None:
        """Ask it to end, and end it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(
    plan: Plan, home: Path, port: int | None, grace: timedelta, url: str | None, say: Callable[[str], None],
    started: Callable[[Started], None],
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM comes, then end everything that was started.

    Args:
        plan: what prefect.yaml says.
        home: folder of the server's database, and of the logs.
        port: of the server; where not given 4200, or a free one when that is taken.
        grace: how long owners' automations wait for better news.
        url: of the API of a server that runs already; None to start one.
        say: told, in a line, what happens.
        started: told once, when everything is up.

    Raises:
        ServiceError: if it cannot start or cannot go on.
    """
    home.mkdir(parents=True, exist_ok=True)
    children: list[Child] = []
    with _alone(home), _stopping():
        try:
            if url is None:
                url = _start_server(home, plan.folder, port, children)
            (home / ADDRESS).write_text(url, encoding="utf-8")
            _work(plan, home, grace, url, own=bool(children), children=children, say=say, started=started)
        except KeyboardInterrupt:
            say("Stopping.")
        finally:
            for number in _STOPS:
                signal.signal(number, signal.SIG_IGN)  # the end is not to be interrupted
            _end(plan, url, children, home, say)


def _start_server(home: Path, folder: Path, port: int | None, children: list[Child]) -> str:
    """Prefect's server on 127.0.0.1, its database in `home`; returns the address of its API."""
    number = port or (4200 if _is_free(4200) else 0)
    if port and not _is_free(port):
        raise ServiceError(f"port {port} of 127.0.0.1 is taken: name another one with --port")
    if number == 0:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number = probe.getsockname()[1]
    url = f"http://127.0.0.1:{number}/api"
    words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(number)]
    server = Child("server", words, _environment(home, url), folder, home / "server.log")
    children.append(server)
    try:
        wait_until_up(url, lambda: not server.ended, _PATIENCE)
    except TimeoutError:
        raise ServiceError(f"Prefect's server did not come up ({server.last_words()}); see {server.log}") from None
    return url


def _work(
    plan: Plan, home: Path, grace: timedelta, url: str, *, own: bool, children: list[Child],
    say: Callable[[str], None], started: Callable[[Started], None],
) -> None:  # fmt: skip
    """Deploy, start the workers, and look after them."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415  (the server starts meanwhile)

    from flows import deployments  # noqa: PLC0415
    from flows.notification import watch  # noqa: PLC0415

    environment = _environment(home if own else None, url)
    with temporary_settings({PREFECT_API_URL: url}):
        for pool in plan.pools:
            deployments.create_pool(pool)
        _clean_up(plan, say)
        _deploy(plan, environment)
        watch(plan.folder, grace)
        for line in deployments.skip_missed(plan.names, datetime.now(UTC)):
            say(line)
        workers = {pool: _start_worker(pool, plan, environment, home) for pool in plan.pools}
        children += workers.values()
        started(Started(url.removesuffix("/api"), own, deployments.next_runs(plan.names, datetime.now(UTC), 3)))
        restarts: list[float] = []
        dying_until = 0.0
        news = deployments.News(plan.names, datetime.now(UTC))
        while True:
            time.sleep(_EVERY)
            for line in news.lines():
                say(line)
            if own and children[0].ended:
                raise ServiceError(f"Prefect's server has ended ({children[0].last_words()}); see {children[0].log}")
            if time.monotonic() < dying_until:  # a run that ends after its worker has nobody else who sees it
                _clean_up(plan, say)
            for pool, worker in workers.items():
                if not worker.ended:
                    continue
                restarts = [moment for moment in restarts if moment > time.monotonic() - _WITHIN] + [time.monotonic()]
                if len(restarts) > _RESTARTS:
                    raise ServiceError(f"the worker of {pool} does not stay up ({worker.last_words()}); see {worker.log}")
                say(f"The worker of {pool} has ended; it is started again.")
                _clean_up(plan, say)
                dying_until = time.monotonic() + _DYING
                with suppress(httpx.HTTPError):  # a server that does not answer now may do so when the worker asks
                    for line in deployments.skip_missed(plan.names, datetime.now(UTC)):
                        say(line)
                children.remove(worker)
                workers[pool] = _start_worker(pool, plan, environment, home)
                children.append(workers[pool])


def _start_worker(pool: str, plan: Plan, environment: dict[str, str], home: Path) -> Child:
    words = ["prefect", "worker", "start", "--type", "process", "--pool", pool, "--name", f"gd serve on {socket.gethostname()}"]
    return Child(f"worker-{pool}", words, environment, plan.folder, home / f"worker-{pool}.log")


def _deploy(plan: Plan, environment: dict[str, str]) -> None:
    """As Prefect's own command does it: prefect.yaml is the one place where deployments stand."""
    words = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(plan.file.absolute())]
    environment = environment | {"PWD": str(plan.folder)}  # what prefect.yaml calls the folder, and no shell has set here
    done = subprocess.run(  # noqa: S603  (our own words)
        [sys.executable, "-m", *words],
        cwd=plan.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        said = " ".join((done.stderr + done.stdout).split())[-400:]
        raise ServiceError(f"{plan.file}: could not be deployed: {said}")


def _clean_up(plan: Plan, say: Callable[[str], None], *reason: str) -> None:
    from flows.delivery import clean_up  # noqa: PLC0415

    for reports in plan.reports:
        for item in clean_up(plan.folder / reports, *reason):
            names = ", ".join(folder.parent.name for folder in item.folders) or "no data set"
            say(f"{item.presence.name}: a run was ended in the middle of {names}; it is reported as failed.")


def _end(plan: Plan, url: str | None, children: list[Child], home: Path, say: Callable[[str], None]) -> None:
    """The workers first, then what they left, and the server last: it is still to hear what became of the runs."""
    server = next((child for child in children if child.name == "server"), None)
    for child in children:
        if child is not server:
            child.end()
    _end_orphans({server.pid} if server else set())
    if url is not None and not (server and server.ended):
        from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415

        with temporary_settings({PREFECT_API_URL: url}), suppress(Exception):  # nothing here is worth a stop that fails
            _clean_up(plan, say, "The run was ended: `gd serve` was stopped in the middle of it.")
    if server is not None:
        server.end()
    (home / ADDRESS).unlink(missing_ok=True)


def _environment(home: Path | None, url: str) -> dict[str, str]:
    """For the processes that are started: this server, and with a server of ours its folder for all that Prefect keeps."""
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_WORKER_QUERY_SECONDS": "5"}
    quiet["PREFECT_WORKER_PREFETCH_SECONDS"] = "0"  # whether a run collides is judged when it is due, and not before
    ours = {"PREFECT_API_URL": url, "PYTHONUNBUFFERED": "1", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
    if home is not None:
        ours |= {"PREFECT_HOME": str(home.absolute())}
    return quiet | dict(os.environ) | ours


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two services over one database would run every slot twice."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"another `gd serve` works in {home}: end it, or name another folder with --home") from None
        yield


@contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does; runs whose worker is gone become children of this process, so that it can end them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_orphans(ours: set[int]) -> None:
    """Processes that became ours when a worker ended before them, and theirs."""
    for _ in range(100):
        orphans = [process for process in _children() if process not in ours]
        if not orphans:
            return
        for process in orphans:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _children() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(path.parent.name)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
