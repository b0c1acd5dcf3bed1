"""Debian's PostgreSQL, started in a temporary folder on a free port of this machine, and ended with the tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

__all__ = ["Postgres", "postgres", "programs", "running"]


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that takes connections of its superuser, by password."""

    port: int
    password: str = field(repr=False)
    user: str = "postgres"

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"gd_{secrets.token_hex(6)}"
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{name}"

    def conninfo(self) -> str:
        """How psycopg reaches the server itself."""
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname=postgres connect_timeout=2"


def programs() -> Path | None:
    """The folder of Debian's newest `initdb` and `postgres`, which are not on the path."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb") if (path.parent / "postgres").exists()]
    return max(found, key=lambda path: float(path.parent.name), default=None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, one for the whole session; CI may not go without it."""
    where = programs()
    if where is None:
        reason = "no PostgreSQL in /usr/lib/postgresql: make postgres, or apt-get install postgresql (as root)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="gd-postgres-"))  # pytest's own folders are closed to the user that it runs as
    try:
        yield from running(where, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(where: Path, folder: Path) -> Iterator[Postgres]:
    """Make a cluster in an empty folder and serve it until the iterator is closed."""
    user = _user()
    if user is not None:
        shutil.chown(folder, user)
    password = secrets.token_hex(16)
    (folder / "password").write_text(password, encoding="utf-8")
    (folder / "password").chmod(0o644 if user else 0o600)  # in a folder that only its owner enters
    data = folder / "data"
    made = subprocess.run(
        [where / "initdb", "--pgdata", data, "--username", "postgres", "--pwfile", folder / "password", "--no-sync",
         "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"],
        capture_output=True, text=True, timeout=60, check=False, user=user, cwd=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    for attempt in range(3):  # another program may take the port before the server does
        server = Postgres(_free_port(), password)
        with (folder / f"log-{attempt}").open("wb") as log:
            process = subprocess.Popen(
                [*_ended_with_us(), where / "postgres", "-D", data, "-p", str(server.port), "-c", "listen_addresses=127.0.0.1",
                 "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "timezone=Asia/Kathmandu"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, cwd=folder,
            )  # fmt: skip
        try:
            if _answers(server, process):
                yield server
                return
        finally:
            _stop(process)
    raise AssertionError((folder / "log-2").read_text(encoding="utf-8", errors="replace"))


def _user() -> str | None:
    """As whom the server runs: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _ended_with_us() -> list[str]:
    """So that no server is left behind when the tests are killed."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "INT"] if program else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(server: Postgres, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(server.conninfo()).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """First as an administrator would, then for good."""
    for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(sign)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                continue
