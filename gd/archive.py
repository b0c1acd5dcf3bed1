"""Where runs are kept: each in a folder of its own that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from gd.figures import draw
from gd.record import EpochLog, Record
from gd.report import Report, render, render_index

__all__ = [
    "Draft",
    "begin",
    "clear",
    "finish",
    "keep_ready",
    "kept",
    "previous",
    "read",
    "read_record",
    "read_run",
    "records",
    "recover",
    "write_index",
    "write_record",
    "write_report",
]


_IF_KILLED = ".if-killed.json"


@dataclass(frozen=True, slots=True)
class Draft:
    """A run's folder while it is made, hidden beside its later place; no index lists it."""

    path: Path
    final: Path

    @property
    def work(self) -> Path:
        """Arrays that the stages of a run hand to each other; gone when the run is finished."""
        return self.path / "work"


def begin(reports: Path, name: str, run_id: str) -> Draft:
    """Make the folder in which a run is put together.

    Args:
        reports: the folder of all reports.
        name: of the data set, fit to be the name of a folder.
        run_id: unique.
    """
    final = reports / name / run_id
    draft = Draft(final.parent / f".{run_id}", final)
    draft.work.mkdir(parents=True)
    return draft


def keep_ready(draft: Draft, owner: str, record: Record) -> None:
    """Put aside what the run shall be if its process is killed: a draft has no one else to say so.

    Args:
        draft: of the run.
        owner: who makes it; `recover` is asked by this name.
        record: the run as failed by being killed.
    """
    note = draft.path / _IF_KILLED
    note.write_text(f"{owner}\n{record.to_json()}", encoding="utf-8")
    _flush(note)


def recover(reports: Path, owner: str, now: datetime) -> list[Path]:
    """Finish what a killed owner left as the failed runs that its drafts were to be in that case.

    Args:
        reports: the folder of all reports.
        owner: whose process is gone.
        now: when that was found.

    Returns:
        The folders of these runs.
    """
    folders = []
    for note in sorted(reports.glob(f"*/.*/{_IF_KILLED}")):
        whose, _, text = note.read_text(encoding="utf-8", errors="replace").partition("\n")
        if whose != owner:
            continue
        draft = Draft(note.parent, note.parent.with_name(note.parent.name.removeprefix(".")))
        try:
            record = Record.model_validate_json(text)
        except ValueError:  # cut off, or of another version: nothing can be said of this run
            shutil.rmtree(draft.path)
            continue
        for half in draft.path.iterdir():
            if half.is_dir():
                shutil.rmtree(half)
            elif half != note:
                half.unlink()
        write_record(draft.path, record.model_copy(update={"run": record.run.model_copy(update={"finished": now})}), None)
        write_report(draft.path)
        folders.append(finish(draft))
    return folders


def clear(reports: Path, name: str, token: str) -> None:
    """Remove what is left of a draft; nothing where there is none.

    Args:
        reports: the folder of all reports.
        name: of the data set.
        token: that the run's id ends in.
    """
    for draft in (reports / name).glob(f".*{token}"):
        shutil.rmtree(draft, ignore_errors=True)


def kept(reports: Path, name: str, token: str) -> Path | None:
    """The folder of a finished run whose id ends in a token, if there is one."""
    return next((reports / name).glob(f"[!.]*{token}"), None)


def write_record(folder: Path, record: Record, log: EpochLog | None) -> None:
    """Write `run.json` and, where something was trained, `epochs.csv`."""
    (folder / "run.json").write_text(record.to_json() + "\n", encoding="utf-8")
    if log is not None:
        _write_epochs(folder / "epochs.csv", record, log)


def write_report(folder: Path) -> None:
    """Draw the figures and render the page from a run's `run.json` and `epochs.csv`: the same bytes each time."""
    report = read(folder)
    figures = folder / "figures"
    if report.pictures:
        figures.mkdir(exist_ok=True)
    for picture in report.pictures:
        (figures / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
    (folder / "report.html").write_text(render(report), encoding="utf-8")


def read(folder: Path) -> Report:
    """Read a run back.

    Raises:
        OSError: if a file is missing.
        ValueError: if `run.json` is not of schema 1.
    """
    record, log = read_run(folder)
    return Report(record, log, draw(record, log) if log is not None else ())


def read_run(folder: Path) -> tuple[Record, EpochLog | None]:
    """Read a run back without drawing it; the log is None where nothing was trained.

    Raises:
        OSError: if a file is missing.
        ValueError: if `run.json` is not of schema 1.
    """
    record = read_record(folder)
    return record, _read_epochs(folder / "epochs.csv") if record.fits else None


def read_record(folder: Path) -> Record:
    """Read a run's `run.json`.

    Raises:
        OSError: if it is missing.
        ValueError: if it is not of schema 1.
    """
    return Record.model_validate_json((folder / "run.json").read_bytes())


def finish(draft: Draft) -> Path:
    """Make a draft a run: everything is on the disk, then one rename shows it."""
    shutil.rmtree(draft.work, ignore_errors=True)
    for path in sorted(draft.path.rglob("*")):
        if path.is_file():
            _flush(path)
    draft.path.rename(draft.final)
    (draft.final / _IF_KILLED).unlink(missing_ok=True)  # not before: a draft without it is found by nobody
    _flush(draft.final.parent)
    return draft.final


def records(reports: Path) -> list[tuple[Path, Record]]:
    """Every finished run with its folder, newest first; a folder whose `run.json` cannot be read is passed over."""
    found = []
    for file in reports.glob("[!.]*/[!.]*/run.json"):
        try:
            found.append((file.parent, read_record(file.parent)))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda item: (item[1].run.started, item[1].run.id), reverse=True)


def previous(folder: Path) -> Record | None:
    """The last run of the same data set that was finished before this one; None for the first."""
    for other in _runs_before(folder):
        try:
            return read_record(other)
        except (OSError, ValueError):
            continue
    return None


def _runs_before(folder: Path) -> Iterator[Path]:
    """Runs are named after the second in which they started: their names sort by it."""
    names = sorted((path.name for path in folder.parent.glob("[!.]*") if path.name < folder.name), reverse=True)
    return (folder.parent / name for name in names)


def write_index(reports: Path) -> Path:
    """Write the page that lists every run, in one step."""
    index = reports / "index.html"
    page = render_index([(folder.relative_to(reports).as_posix(), record) for folder, record in records(reports)])
    beside = reports / f".index-{os.getpid()}-{os.urandom(4).hex()}"
    beside.write_text(page, encoding="utf-8")
    beside.replace(index)
    return index


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_epochs(path: Path, record: Record, log: EpochLog) -> None:
    """All digits of every number; a cell is empty where a backend had already stopped."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    ended = {f"{fit.backend}_": fit.epochs for fit in record.fits}
    columns = {}
    for name, values in log.columns.items():
        until = next((epochs for prefix, epochs in ended.items() if name.startswith(prefix)), len(log))
        columns[name] = pa.array(values, mask=np.arange(len(log)) >= until)
    csv.write_csv(pa.table(columns), path, csv.WriteOptions(quoting_style="needed"))


def _read_epochs(path: Path) -> EpochLog:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)) as reader:
        names = reader.schema.names
    options = csv.ConvertOptions(
        column_types={name: pa.int64() if name == "epoch" else pa.float64() for name in names}, null_values=[""]
    )
    table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options)
    columns = {}
    for name in names:
        column = table.column(name).combine_chunks()
        if name != "epoch":
            column = column.fill_null(float("nan"))
        columns[name] = np.frombuffer(column.buffers()[1], dtype=column.type.to_pandas_dtype())[: len(column)]
    return EpochLog(columns)
