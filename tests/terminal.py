"""`gd` as it is typed: one command after another in one process of its own, which imports everything once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Said", "Terminal"]

_PROCESS = """
import json, os, sys
from gd.cli import main
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    words, folder, environment, files = json.loads(line)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    kept = [os.dup(1), os.dup(2)]
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        main(words)
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    for number, before in enumerate(kept, 1):
        os.dup2(before, number)
    print(code, file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


class Terminal:
    """Runs commands as `gd WORDS` would, in turn.

    Args:
        folder: for what they print.
        environment: of the process, and of each command unless it is given another.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._files = [str(folder / "stdout"), str(folder / "stderr")]
        self._environment = dict(environment)

    def __enter__(self) -> Self:
        words = [sys.executable, "-c", _PROCESS]
        environment = self._environment | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its input, which is its end
            pass

    def gd(self, words: Sequence[str], folder: Path, **more: str) -> Said:
        """One command, in a folder, with more in its environment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([[*words], str(folder), self._environment | more, self._files]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = (Path(file).read_text(encoding="utf-8") for file in self._files)
        return Said(code, out, err)
