"""The same work as `gd run` on a folder, without a flow: ``python -m tests.benchmarks.library FOLDER REPORTS EPOCHS COUNT``.

The steps of a run as plain functions, one data set after the other, from the CSV to the written report.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import gd
from flows.environment import commit, packages
from flows.tasks import compare_traces, keep, prepare, read, render, train_with
from gd import archive
from gd.data import Source, dataset_name, expand
from gd.record import Run, command
from gd.training import Training

__all__ = ["work"]


def work(path: Path, reports: Path, training: Training) -> Path:
    """One data set; returns its run's folder."""
    # for the lead: the steps of flows.training_report.train_here, on a file that is named; keep them the same
    source, name = Source(path=str(path), target="y"), dataset_name(path)
    now = datetime.now(UTC)
    run = Run(
        id=f"{now:%Y-%m-%dT%H-%M-%SZ}-{token_hex(4)}", started=now, finished=now, version=gd.__version__, git=commit(),
        packages=packages(), command=command(source, training),
    )  # fmt: skip
    draft = archive.begin(reports, name, run.id)
    read.fn(name, source.path, source, draft)
    rate = prepare.fn(name, draft, training)
    checks = [train_with.fn(name, backend, draft, training, rate) for backend in training.backends]
    compare_traces.fn(name, draft, run, training, rate, checks)
    render.fn(name, draft)
    return Path(keep.fn(name, draft))


if __name__ == "__main__":
    settings = Training(epochs=int(sys.argv[3]), tolerance=0)
    for file in expand(sys.argv[1])[: int(sys.argv[4])]:
        work(file, Path(sys.argv[2]), settings)
    archive.write_index(Path(sys.argv[2]))
