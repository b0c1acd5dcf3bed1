"""Where runs are kept: each in a folder of its own that is there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from pydantic import TypeAdapter

from gd import history
from gd.arrays import Array, column
from gd.changes import differences
from gd.figures import draw
from gd.history import History, Line
from gd.look import Look, is_chosen
from gd.model import NAME, Model
from gd.overview import MOST, SPARKS, render_dataset, render_index, row
from gd.quality import FitCells, from_csv, to_csv
from gd.record import EpochLog, Record
from gd.report import Report, render
from gd.retention import Keep, doomed

__all__ = [
    "Draft",
    "begin",
    "clear",
    "finish",
    "guarded",
    "keep_ready",
    "kept",
    "prune",
    "read",
    "read_record",
    "read_run",
    "records",
    "recover",
    "replacing",
    "unwritable",
    "write_index",
    "write_model",
    "write_record",
    "write_report",
]


_FIT = "fit.csv"
_IF_KILLED = ".if-killed.json"
_INDEX_LOCK = ".index.lock"
_UPCOMING = ".next-runs.json"  # when a schedule trains a data set next, which no run.json can know
_DELETED = ".deleted-"  # before the name of a run's folder
_PLAIN = 10_000_000  # bytes of `epochs.csv`; what would be larger is compressed
_LEVEL = 1  # of gzip: 9 takes 16 times as long for a file that is 16 % smaller
_BLOCK = 65_536  # epochs written at a time
_FORMULA = r"(?<=[\t\r\n;,|])( *)%s('*)(?=[=+\-@＝＋－＠])"  # what a spreadsheet takes for a cell of its own, and runs
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR}


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
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.path.mkdir()  # of two runs with one id only one gets it
    draft.work.mkdir()
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


def write_record(folder: Path, record: Record, log: EpochLog | None, cells: FitCells | None = None) -> None:
    """Write `run.json` and, where something was trained, `epochs.csv`, or `epochs.csv.gz` where it would be above 10 MB.

    Where rows were counted by how well they are fitted, `fit.csv` holds that.
    """
    (folder / "run.json").write_text(record.to_json() + "\n", encoding="utf-8")
    if log is not None:
        _write_epochs(folder, log)
    if cells is not None:
        (folder / _FIT).write_text(to_csv(cells), encoding="utf-8")


def write_model(folder: Path, model: Model | None) -> None:
    """Write `model.json`, where a run has come to a model."""
    if model is not None:
        (folder / NAME).write_text(model.to_json() + "\n", encoding="utf-8")


def write_report(folder: Path, look: Look | None = None) -> list[str]:
    """Draw the figures and render the page from a run's `run.json` and its epochs: the same bytes each time.

    Args:
        folder: of the run.
        look: of the report, where it is not that which `run.json` keeps.

    Returns:
        A line for each fault in a user's templates, in whose place ours stand.
    """
    report = read(folder, look)
    figures = folder / "figures"
    if report.pictures:
        figures.mkdir(exist_ok=True)
    for picture in report.pictures:
        _replace(figures / f"{picture.name}.svg", picture.svg)
        _replace(figures / f"{picture.name}.csv", picture.data)
    with (look or report.record.look()).applied() as used:
        page = render(report)
    _replace(folder / "report.html", page)
    return used.faults


def read(folder: Path, look: Look | None = None) -> Report:
    """Read a run back, with its pictures.

    Args:
        folder: of the run.
        look: of the pictures, where it is not that which `run.json` keeps.

    Raises:
        OSError: if a file is missing.
        ValueError: if `run.json` is not of schema 1.
    """
    record, log = read_run(folder)
    if log is None:
        return Report(record, None)
    cells = None if record.residuals is None else from_csv((folder / _FIT).read_text(encoding="utf-8"))
    with (look or record.look()).applied():
        pictures = draw(record, log, cells)
    return Report(record, log, pictures, _epochs_file(folder).name)


def read_run(folder: Path) -> tuple[Record, EpochLog | None]:
    """Read a run back without drawing it; the log is None where nothing was trained.

    Raises:
        OSError: if a file is missing.
        ValueError: if `run.json` is not of schema 1.
    """
    record = read_record(folder)
    return record, _read_epochs(_epochs_file(folder)) if record.fits else None


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


def write_index(
    reports: Path, names: Collection[str] | None = None, upcoming: Mapping[str, datetime | None] | None = None
) -> Path:
    """Write the page of all data sets, and those of some of them, each in one step.

    Only one process at a time lists and writes: else the slower of two would put back a list without the other's run. Of each
    data set only the newest runs are read: as many as its row shows, or as its own page does.

    They are drawn as the `Look.applied` around it says; where there is none, as the newest run's report is.

    Args:
        reports: the folder of all reports.
        names: data sets that have new runs; None for all. Of the others a page is only written where there is none.
        upcoming: by data set, when it is trained next; None where no schedule does. What is not named stays as it was known.
    """
    with _alone(reports / _INDEX_LOCK):
        return _write_pages(reports, names, _remembered(reports / _UPCOMING, upcoming or {}), {})


def prune(reports: Path, names: Iterable[str], keep: Keep, now: datetime, spared: Collection[Path] = ()) -> list[Path]:
    """Delete the runs of some data sets that are not kept (see `gd.retention`), and list them no longer.

    First they leave the pages, then each is renamed to a hidden name, and then it is deleted: whatever stops this, no page
    leads to a run that is not whole, and what is left of it goes with the next time.

    Args:
        reports: the folder of all reports.
        names: of the data sets.
        keep: as many runs, or days, of each.
        now: when this is done.
        spared: folders of runs that somebody still needs.

    Returns:
        The folders that are gone.
    """
    gone = list[Path]()
    with _alone(reports / _INDEX_LOCK):
        going = {
            name: doomed(history.read(reports / name), keep, now, [one.name for one in spared if one.parent.name == name])
            for name in names
        }
        if any(going.values()):
            _write_pages(reports, going, _remembered(reports / _UPCOMING, {}), going)
        for name, folders in going.items():
            for folder in folders:
                with suppress(FileNotFoundError):
                    (reports / name / folder).rename(reports / name / f"{_DELETED}{folder}")
                    gone.append(reports / name / folder)
    for name in going:
        for left in (reports / name).glob(f"{_DELETED}*"):
            shutil.rmtree(left, ignore_errors=True)
    return gone


def _write_pages(
    reports: Path, names: Collection[str] | None, upcoming: Mapping[str, datetime], without: Mapping[str, Collection[str]]
) -> Path:
    read = list[tuple[str, bool, History, Record]]()
    for name in history.data_sets(reports):
        wanted = names is None or name in names or not (reports / name / "index.html").exists()
        found, last = _newest(
            history.read(reports / name, MOST + _BEFORE if wanted else SPARKS + _BEFORE, without.get(name, ()))
        )
        if last is not None:
            read.append((name, wanted, found, last))
    newest = max((last for *_, last in read), key=lambda last: last.run.started, default=None)
    with nullcontext() if is_chosen() or newest is None else newest.look().applied():
        for name, wanted, found, last in read:
            if wanted:
                _replace(reports / name / "index.html", _dataset_page(found, last))
        return _replace(reports / "index.html", render_index([row(found, last) for _, _, found, last in read], upcoming))


_BEFORE = 50  # more runs than are shown: the intervals of the first ones are made of those before them


def _newest(found: History) -> tuple[History, Record | None]:
    """The record of a data set's last run, without those that only look like one; None where there is no run."""
    for place, line in enumerate(found.lines):
        try:
            record = read_record(line.folder)
        except (OSError, ValueError):
            continue
        lost = tuple(one.folder.name for one in found.lines[:place])
        return replace(found, lines=found.lines[place:], unread=(*lost, *found.unread)), record
    return found, None


def _dataset_page(found: History, last: Record) -> str:
    before = _first_whole(found.lines[1:])
    pair = None if before is None else (before, last)
    return render_dataset(found, last.dataset.name, pair, differences(*pair) if pair else [])


def _first_whole(lines: Iterable[Line]) -> Record | None:
    for line in lines:
        with suppress(OSError, ValueError):
            return read_record(line.folder)
    return None


def _remembered(file: Path, news: Mapping[str, datetime | None]) -> dict[str, datetime]:
    """When each data set is trained next, as far as a run of a schedule has said; written again where there are news."""
    try:
        known = _UPCOMING_FILE.validate_json(file.read_bytes())
    except (OSError, ValueError):
        known = {}
    found = {name: moment for name, moment in {**known, **news}.items() if moment is not None}
    if found != known:
        _replace(file, _UPCOMING_FILE.dump_json(found).decode())
    return found


_UPCOMING_FILE = TypeAdapter(dict[str, datetime])


def unwritable(reports: Path, error: OSError) -> OSError | None:
    """Why the folder of all reports takes no more, and what to do; None where the error is about something else.

    Args:
        reports: the folder of all reports.
        error: what writing ended with.
    """
    number = error.errno
    if number not in _FULL | _FORBIDDEN:
        return None
    remedy = "Free some space there, or name" if number in _FULL else "Name"
    reason = os.strerror(number)
    return OSError(f"{reports}: no report can be written there ({reason}). {remedy} another folder with --reports.")


def _replace(file: Path, text: str) -> Path:
    """Write a file in one step: whoever reads it, and whatever stops this, finds the old one or the new one whole."""
    with replacing(file) as beside:
        beside.write(text.encode())
    return file


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """What is written in it becomes the file, in one step at its end; where it ends with an error the file stays as it was."""
    beside = file.with_name(f".{file.name}-{os.urandom(4).hex()}")
    try:
        with beside.open("wb") as written:
            yield written
        _flush(beside)
        with suppress(OSError):  # there is none yet, or the file system has no modes
            shutil.copymode(file, beside)
        beside.replace(file)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While in it, no other process or thread is, on this machine at least; the kernel lets go of it whatever ends this one."""
    with lock.open("a") as file:
        with suppress(OSError):  # a file system without locks: what is written there is whole all the same
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _epochs_file(folder: Path) -> Path:
    """Where the epochs of a run are, whichever way they were written."""
    compressed = folder / "epochs.csv.gz"
    return compressed if compressed.exists() else folder / "epochs.csv"


class _Epochs(io.RawIOBase):
    """A file that is `epochs.csv` as long as it is small, and `epochs.csv.gz` from then on: nothing is written twice.

    Args:
        folder: in which it is to lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._plain = folder, io.BytesIO()
        self._compressed: gzip.GzipFile | None = None
        self._file: io.BufferedWriter | None = None  # beneath it

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._compressed is not None:
            return self._compressed.write(data)
        self._plain.write(data)
        if self._plain.tell() > _PLAIN:  # without name and time in its head the same bytes give the same file
            self._file = (self._folder / "epochs.csv.gz").open("wb")
            self._compressed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._file, mtime=0)
            self._compressed.write(self._plain.getbuffer())
            self._plain = io.BytesIO()
        return len(data)

    def keep(self) -> None:
        """Everything has been written: leave one whole file in the folder."""
        plain, compressed = self._folder / "epochs.csv", self._folder / "epochs.csv.gz"
        if self._compressed is None or self._file is None:
            plain.write_bytes(self._plain.getbuffer())
            compressed.unlink(missing_ok=True)
        else:
            self._compressed.close()
            self._file.close()
            plain.unlink(missing_ok=True)

    def drop(self) -> None:
        """Not everything could be written: let go of the file without writing any more."""
        if self._compressed is not None and self._file is not None:
            self._compressed.fileobj = cast("Any", None)  # else what is left would be written some time
            with suppress(OSError):
                self._file.close()


def guarded(name: str) -> str:
    """A column's name with an apostrophe before whatever a spreadsheet would take for a formula in a cell of its own."""
    return re.sub(_FORMULA % "", r"\1'\2", name)


def _bare(written: str) -> str:
    """The name that `guarded` was given."""
    return re.sub(_FORMULA % "'", r"\1\2", written)


def _write_epochs(folder: Path, log: EpochLog) -> None:
    """All digits of every number; a cell is empty where a column has no entry.

    What a spreadsheet would run in a column's name gets an apostrophe, which `_read_epochs` takes off again.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    def block(name: str, start: int, end: int) -> Any:
        where, values = log.entries(name)
        if name not in log.at:
            return column(values[start:end])
        first, last = np.searchsorted(where, [start, end])
        if first == last:
            return pa.nulls(end - start, pa.float64())
        filled, empty = np.zeros(end - start), np.ones(end - start, bool)
        filled[where[first:last] - start], empty[where[first:last] - start] = values[first:last], False
        return column(filled, empty)

    schema = pa.schema([(guarded(name), pa.int64() if name == "epoch" else pa.float64()) for name in log.columns])
    file = _Epochs(folder)
    try:
        with csv.CSVWriter(file, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer:
            for start in range(0, len(log), _BLOCK):
                end = min(start + _BLOCK, len(log))
                writer.write_batch(pa.record_batch([block(name, start, end) for name in log.columns], schema=schema))
        file.keep()
    except BaseException:
        file.drop()
        raise


def _read_epochs(path: Path) -> EpochLog:
    """What `_write_epochs` wrote, a block at a time, so that empty cells need no memory.

    Raises:
        OSError: if the file is missing.
        ValueError: if it cannot be read.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    path.stat()
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        with csv.open_csv(path, parse_options=parse) as reader:
            names = reader.schema.names
        types = {name: pa.int64() if name == "epoch" else pa.float64() for name in names}
        convert = csv.ConvertOptions(column_types=types, null_values=[""])
        found: dict[str, list[tuple[Array | range, Array]]] = {name: [] for name in names}
        done = 0
        with csv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            for batch in reader:
                for name, column in zip(names, batch.columns, strict=True):
                    where, values = _entries(column)
                    found[name].append((range(done, done + len(batch)) if where is None else where + done, values))
                done += len(batch)
    except OSError as error:  # a compressed file that is cut off
        raise ValueError(f"{path.name}: {error}") from None
    columns, at = {}, {}
    for written, parts in found.items():
        name = _bare(written)
        columns[name] = np.concatenate([values for _, values in parts])
        if len(columns[name]) < done:
            at[name] = np.concatenate([where for where, _ in parts])
    return EpochLog(columns, at)


def _entries(column: Any) -> tuple[Array | None, Array]:
    """The places of an Arrow column that are not empty, None where all are, and what stands there."""
    valid, data = column.buffers()
    first, last = column.offset, column.offset + len(column)
    values: Array = np.frombuffer(data, column.type.to_pandas_dtype())[first:last]
    if column.null_count == 0:
        return None, values
    where = np.flatnonzero(np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[first:last])
    return where, values[where]
