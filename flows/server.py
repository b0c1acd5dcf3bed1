"""A Prefect server that lives as long as this process, for runs that name none.

Prefect would start the same one by itself when a flow first asks for it. Then, however, nothing else is done meanwhile, and
this process would import the whole server only to start it in another: started from here it gets ready while torch and
matplotlib are imported, which saves some 4 of 11 seconds.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

__all__ = ["ServerError", "TemporaryServer", "end_with_parent", "wait_until_up"]

_PATIENCE = 120.0  # seconds; its first start makes a database, which took 12 s here
_FRUGAL = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    # a sixth of its work; nobody looks for events in it afterwards, and it has no automations
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
}
_UVICORN = """
import gc, os, runpy
from flows.server import end_with_parent
end_with_parent()
if os.getppid() != {parent}:  # it was gone before
    raise SystemExit
gc.set_threshold(100_000, 50, 50)
runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""
"""``python -m uvicorn``, which does not look for garbage all through its imports: a tenth of its start.

It asks by itself to end with its parent, whose threads must not be forked to do so for it.
"""


class ServerError(RuntimeError):
    """The server did not start."""


class TemporaryServer:
    """A server on a free port of 127.0.0.1, in a process of its own that ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""  # what PREFECT_API_URL is to name, once it is started
        atexit.register(self.stop)

    def start(self) -> None:
        """Start the server and return at once."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}/api"
        self._process = subprocess.Popen(  # noqa: S603  (the command that Prefect itself runs)
            [
                sys.executable, "-c", _UVICORN.format(parent=os.getpid()), "--app-dir", str(_home_of("prefect")),
                "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", port,
                "--log-level", "error", "--lifespan", "on",
            ],
            env=os.environ | _FRUGAL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which still has things to tell the server
        )  # fmt: skip

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            ServerError: if it is not there, or did not answer in two minutes.
        """
        process = self._process
        try:
            wait_until_up(self.url, lambda: process is not None and process.poll() is None, _PATIENCE)
        except TimeoutError as error:
            raise ServerError(f"Prefect's temporary server {error}") from None

    def stop(self) -> None:
        """End the server, if there is one; it is killed when it does not end in five seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait_until_up(url: str, alive: Callable[[], bool], seconds: float) -> None:
    """Return when a server answers.

    Args:
        url: of its API.
        alive: whether it still may.
        seconds: how long to wait.

    Raises:
        TimeoutError: if it is not there any more, or did not answer in time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not alive():
            raise TimeoutError("did not stay up")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  (an http address of ours)
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"did not answer in {seconds:.0f} seconds")


def end_with_parent() -> None:
    """In a new process: be ended when its parent is gone, however that ended. Only Linux knows how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _home_of(package: str) -> Path:
    """The folder that a package was installed into, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(f"{package} is not installed")
    return Path(spec.origin).parent.parent
