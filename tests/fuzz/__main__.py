"""Fuzz the reader, or try files that were found: ``python -m tests.fuzz [--seconds 600 | FILE …]``."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.harness import SECONDS, Case, attempt
from tests.fuzz.seeds import TOKENS, seeds

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".fuzz"


def fuzz(seconds: int, jobs_seed: int) -> int:
    """Run libFuzzer for some time; 1 if anything was found, which then lies in .fuzz/findings."""
    corpus, findings, begun = FOLDER / "corpus", FOLDER / "findings", FOLDER / "seeds"
    for folder in (findings, begun):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (corpus, findings, begun):
        folder.mkdir(parents=True, exist_ok=True)
    for raw in seeds():
        (begun / hashlib.sha256(raw).hexdigest()[:16]).write_bytes(raw)
    tokens = "".join('"' + "".join(map(r"\x{:02x}".format, token)) + '"\n' for token in TOKENS)
    (FOLDER / "tokens").write_text(tokens, encoding="ascii")
    memory = Path("/dev/shm")  # noqa: S108  (a folder of its own in it)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as files:
        command = [
            sys.executable, "-m", "tests.fuzz.target", str(findings), files, f"-max_total_time={seconds}",
            f"-timeout={2 * SECONDS:.0f}",
            "-rss_limit_mb=4096", "-max_len=1024", "-len_control=20", f"-dict={FOLDER / 'tokens'}", f"-seed={jobs_seed}",
            f"-artifact_prefix={findings}/", "-print_final_stats=1", "-reload=0", str(corpus), str(begun),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, check=False)
    found = sorted(file for file in findings.iterdir() if file.suffix != ".txt")
    for file in found:
        said = file.with_suffix(".txt")
        print(f"\n{file.relative_to(ROOT)}: {said.read_text(encoding='utf-8') if said.exists() else 'a crash or a hang'}")
    print(f"{len(found)} findings; each is tried again by python -m tests.fuzz FILE" if found else "no finding")
    return 1 if found else done.returncode


def again(files: list[Path]) -> int:
    """Try what was found once more."""
    wrong = 0
    for file in files:
        raw = file.read_bytes()
        print(f"{file}: {re.sub('data=.*?, dialect', 'dialect', str(Case.of(raw)))}")
        said = attempt(raw)
        print(said or "as it should be")
        wrong += said is not None
    return int(wrong > 0)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="findings to try again")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the search; another one at each run when 0")
    said = parser.parse_args()
    return again(said.files) if said.files else fuzz(said.seconds, said.seed)


if __name__ == "__main__":
    sys.exit(main())
