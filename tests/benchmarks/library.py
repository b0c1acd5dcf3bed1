"""The same work as `gd run` on a folder, without a flow: ``python -m tests.benchmarks.library FOLDER REPORTS EPOCHS COUNT``.

The steps of a run as plain functions, one data set after the other, from the CSV to the written report.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.training_report import train_here
from gd import archive
from gd.data import Source, dataset_name, expand
from gd.settings import Training

__all__ = ["work"]


def work(path: str, reports: Path, training: Training) -> Path:
    """One data set; returns its run's folder."""
    return train_here(dataset_name(path), Source(path=path, target="y"), training, reports)


if __name__ == "__main__":
    settings = Training(epochs=int(sys.argv[3]), tolerance=0)
    for file in expand(sys.argv[1])[: int(sys.argv[4])]:
        work(file, Path(sys.argv[2]), settings)
    archive.write_index(Path(sys.argv[2]))
