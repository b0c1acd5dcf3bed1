"""What a whole process used: wall and processor time, and the peak memory of it and of everything that it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["ROOT", "Part", "Usage", "measure", "module"]

ROOT = Path(__file__).resolve().parents[2]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE = 30  # seconds that the launcher has to end what it started


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a command."""

    command: str
    peak: float  # MB, VmHWM as looked at every 50 ms
    is_main: bool  # whether it is the process that was started, and not one below it


@dataclass(frozen=True, slots=True)
class Usage:
    """One command from start to end. 1 MB is 10⁶ bytes."""

    seconds: float
    cpu: float  # seconds, of user and system, with those of children that were waited for
    peak: float  # MB, ru_maxrss: of the process itself or of the largest one that it waited for
    together: float  # MB, the largest sum of resident memory at one moment; what processes share counts in each
    parts: tuple[Part, ...]
    status: int  # 0 when all was well, negative for a signal
    timed_out: bool
    output: str
    errors: str

    @property
    def main(self) -> float:
        """Peak of the process itself without its children, MB; exact where it has none."""
        if len(self.parts) <= 1:
            return self.peak
        return max((part.peak for part in self.parts if part.is_main), default=self.peak)

    def check(self) -> Usage:
        """Refuse a command that failed or was ended.

        Raises:
            RuntimeError: with the end of what it said.
        """
        if self.timed_out or self.status:
            how = "took too long" if self.timed_out else f"ended with {self.status}"
            raise RuntimeError(f"the command {how} after {self.seconds:.1f} s: {self.errors.strip()[-2000:]}")
        return self


def module(name: str, *words: str) -> list[str]:
    """The words that run a module of this folder in a fresh interpreter."""
    return [sys.executable, "-m", f"tests.benchmarks.{name}", *words]


def measure(words: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command in the repository's folder.

    Args:
        words: the command.
        timeout: seconds after which it is ended together with everything that it started.
        environment: variables beside those of this process.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
            launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(folder / "result.json"), str(timeout)]
            subprocess.run(
                [*launcher, *words], cwd=ROOT, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=errors, check=True, timeout=timeout + _GRACE,
            )  # fmt: skip
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        said = [(folder / name).read_text(encoding="utf-8", errors="replace") for name in ("output", "errors")]
    return Usage(
        seconds=found["seconds"],
        cpu=found["cpu"],
        peak=_megabytes(found["peak"]),
        together=_megabytes(found["together"]),
        parts=tuple(Part(command, _megabytes(peak), main) for command, peak, main in found["processes"]),
        status=found["status"],
        timed_out=found["timed_out"],
        output=said[0],
        errors=said[1],
    )


def _megabytes(kibibytes: float) -> float:
    return kibibytes * 1024 / 1e6
