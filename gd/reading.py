"""From the files of a data set to what it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gd.data import Dataset, Encoding, Source, dataset_name
from gd.dialect import Dialect
from gd.joining import Held, Reading, cuts, join, unsettled
from gd.scanning import KeepRows, Scan, scan
from gd.spilling import scratches
from gd.splitting import Parting, Split, partings
from gd.stream import BLOCK, Progress, check_path

__all__ = ["Held", "Reading", "read", "read_csv"]


def read_csv(
    path: Path | str,
    target: str,
    features: Sequence[str] | None = None,
    name: str | None = None,
    *,
    leave_out: Sequence[str] = (),
    encode: Sequence[Encoding] = (),
    dialect: Dialect = Dialect(),  # noqa: B008  (frozen)
) -> Dataset:
    """Read a CSV file, plain or compressed by gzip or zstd.

    Rows with a missing cell (`gd.data.MISSING`) in a column that is used are dropped and counted. Text columns, columns without
    a value and columns that never change are left out and listed, unless they are named as features.

    Args:
        path: the file, or its address; gzip and zstd are known by their first bytes.
        target: name of the column to predict.
        features: names of the columns to predict from; all numeric columns but the target when None.
        name: what to call the data set; the file's name without its endings when None.
        leave_out: names of columns that are not used.
        encode: kinds of text columns that are made numbers: category, dates.
        dialect: how the file is written, as far as it is not to be found out.

    Raises:
        DataError: if the file cannot be used, naming file, line, column and remedy.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    check_path(str(path))
    source = Source(
        path=str(path),
        target=target,
        features=tuple(features) if features is not None else None,
        leave_out=tuple(leave_out),
        encode=tuple(encode),
        dialect=dialect,
    )
    rows = read([str(path)], source, name, keep_rows=lambda rows, columns: True).rows
    assert rows is not None
    return rows


def read(
    files: Sequence[str],
    source: Source,
    name: str | None = None,
    *,
    keep_rows: KeepRows | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    block: int = BLOCK,
    split: Split | None = None,
    labels: bool = False,
    folder: Path | None = None,
) -> Reading:
    """Read the files of one data set one after the other: one pass each, memory for a few blocks.

    Where the last rows are held out there are two passes, since only the first tells how many rows there are.

    Args:
        files: paths or addresses; several are parts of one data set and must have the same columns.
        source: what is to be learned from them.
        name: of the data set; that of the first file when None.
        keep_rows: whether to keep the rows beside their moments; never when None.
        threads: that parse blocks; as many as this process has cores when None.
        progress: told how far reading is, in each file.
        block: bytes of text that are parsed at once.
        split: which rows are held out, and into how many folds the others are split; all are trained on when None.
        labels: whether the target is one of two classes, texts or numbers, of which the larger becomes 1 and the other 0.
        folder: for rows that are kept and are too many for memory, which are then mapped: `Reading.save` them there, too. All
            are in memory when None.

    Raises:
        DataError: if they cannot be used, naming file, line, column and remedy.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    scans_of = partial(scan, source=source, keep_rows=keep_rows, threads=threads, progress=progress, block=block, labels=labels)
    with scratches(folder, len(files)) as places:

        def one(j: int, **how: Any) -> Scan:
            return scans_of(files[j], scratch=places[j], **how)

        def settled(scans: list[Scan], parts: Sequence[Parting | None]) -> list[Scan]:
            while again := unsettled(scans, source):
                for j, kinds in again.items():
                    scans[j] = one(j, kinds=kinds, parting=parts[j])
            return scans

        parts = partings(split, len(files))
        scans = settled([one(j, parting=part) for j, part in enumerate(parts)], parts)
        if split is not None and split.last is not None:
            parts = partings(split, len(files), cuts(scans, split.last))
            known = [first.kinds for first in scans]
            scans = settled([one(j, kinds=kinds, parting=parts[j]) for j, kinds in enumerate(known)], parts)
        return join(scans, source, name or dataset_name(files[0]), split, labels=labels, folder=folder)
