"""The process that libFuzzer runs in: ``python -m tests.fuzz.target FINDINGS FOLDER [options of libFuzzer] CORPUS``."""

from __future__ import annotations

import hashlib
import re
import sys
import traceback
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gd"]):
    import gd.data
    import gd.dialect
    import gd.reading
    import gd.stream
    import gd.table  # noqa: F401
from tests.fuzz.harness import attempt

FINDINGS, FOLDER = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))


def one(raw: bytes) -> None:
    """Read it; what is found is written down and the search goes on, a finding of each sort being enough."""
    try:
        said = attempt(raw, FOLDER)
    except Exception as error:  # noqa: BLE001  (none of them may be)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/gd/" in frame.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
        keep(raw, f"{type(error).__name__} in {place}", traceback.format_exc())
    else:
        if said is not None:
            keep(raw, re.sub(r"""'.*'|".*"|\[.*\]|[0-9]+""", "…", said)[:80], said)


def keep(raw: bytes, sort: str, said: str) -> None:
    """The shortest input of each sort, and beside it what was found."""
    name = FINDINGS / hashlib.sha256(sort.encode()).hexdigest()[:12]
    if not name.exists() or len(raw) < name.stat().st_size:
        if not name.exists():
            print(f"FINDING: {sort}", file=sys.stderr, flush=True)
        name.write_bytes(raw)
        name.with_suffix(".txt").write_text(f"{sort}\n\n{said}\n\n{raw!r}\n", encoding="utf-8", errors="backslashreplace")


warnings.simplefilter("error")
atheris.Setup(sys.argv, one)
atheris.Fuzz()
