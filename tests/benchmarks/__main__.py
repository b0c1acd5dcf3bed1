"""Measure everything, print it, and write the same into RESULTS.md."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import epochs, mails, processes


def main() -> None:
    """Print each line as soon as it is known; the file is written when all are."""
    lines = []
    for line in _report():
        print(line, flush=True)
        lines.append(line + "\n")
    (Path(__file__).parent / "RESULTS.md").write_text("".join(lines), encoding="utf-8")


def _report() -> Iterator[str]:
    yield "# What it costs"
    yield ""
    yield f"Printed by `make bench` on {_machine()}."
    yield ""
    yield from _epochs()
    yield ""
    yield from _runs()
    yield ""
    yield from _imports()
    yield ""
    yield from _mails()


def _epochs() -> Iterator[str]:
    yield "## An epoch"
    yield ""
    yield "float64. Medians of rounds in which both loops took turns; the ratio is the median of the rounds' own, with the"
    yield "smallest and the largest: above 1, gd is faster. gd's loop logs loss, gradient norm, weights and time, and evaluates"
    yield "the final loss; the notebook's appends loss and weights to lists. X is row-major there, as it comes from a reader."
    yield ""
    yield from _table("n", "d", "backend", "notebook µs/epoch", "gd µs/epoch", "ratio", "from", "to")
    rows = []
    for row in epochs.measure():
        rows.append(row)
        numbers = [f"{1e6 * row.notebook:,.1f}", f"{1e6 * row.gd:,.1f}", *(f"{x:.2f}" for x in row[-3:])]
        skipped = ["skipped: above 4 GB", "", "", "", ""]
        yield _row(f"{row.n:,}", row.d, row.backend, *(skipped if math.isnan(row.ratio) else numbers))
    yield ""
    yield from _table("aim", "at least", "smallest ratio", "")
    for aim in epochs.AIMS:
        least = min((row.ratio for row in rows if aim.applies(row) and not math.isnan(row.ratio)), default=math.nan)
        yield _row(aim.text, aim.least, f"{least:.2f}", _verdict(least >= aim.least))


def _runs() -> Iterator[str]:
    yield "## `gd run --preset notebook`"
    yield ""
    yield "A whole process, seconds, with a temporary server whose database exists. The server starts beside the imports, so"
    yield "that only the wait for it counts; its own start is in the last column."
    yield ""
    yield from _table("run", "total", "imports", "wait for server", "flow", "stop", "(server start)")
    runs = processes.measure_run()
    middle = processes.middle(runs)
    for name, run in [*((str(j + 1), run) for j, run in enumerate(runs)), ("median", middle)]:
        yield _row(name, *(f"{seconds:.2f}" for seconds in run))
    yield ""
    yield f"Aim: a median below {processes.RUN_AIM:g} s. {middle[0]:.2f} s, {_verdict(middle[0] < processes.RUN_AIM)}."


def _imports() -> Iterator[str]:
    yield "## `import gd`"
    yield ""
    imports = processes.measure_import()
    process, statement, peak = processes.middle([one[:3] for one in imports])
    loaded = sorted({name for one in imports for name in one.frameworks})
    yield f"A fresh process: {process:.3f} s, of which the import {statement:.3f} s; peak memory {peak:.1f} MiB (medians of 7)."
    yield f"Frameworks loaded: {', '.join(loaded) or 'none of torch, matplotlib, prefect'}, {_verdict(not loaded)}."
    yield f"Aim: a median below {processes.IMPORT_AIM:g} s. {process:.3f} s, {_verdict(process < processes.IMPORT_AIM)}."


def _mails() -> Iterator[str]:
    yield "## A mail"
    yield ""
    yield from _table("data sets", "composed in s", "HTML part, bytes", "whole message, bytes")
    for composed in mails.measure_composing():
        yield _row(composed.data_sets, f"{composed.seconds:.2f}", f"{composed.html:,}", f"{composed.message:,}")
    yield ""
    yield f"The mail of one data set to {mails.MESSAGES} recipients, on one server with STARTTLS and a login, by turns. The"
    yield "outbox keeps each message's state on the disk before and after; the others forget."
    yield ""
    yield from _table("way", "messages a second", "connections")
    for sent in mails.measure_sending():
        yield _row(sent.way, f"{sent.rate:.0f}", sent.sockets)


def _machine() -> str:
    """The machine in general terms."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    )


def _table(*heads: str) -> Sequence[str]:
    return _row(*heads), _row(*["---"] * len(heads))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


main()
