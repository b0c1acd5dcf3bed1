"""A data set's files: each read by whoever is free, and none whose bytes were read before.

What a pass over a file found is kept in Prefect's cache, under the content of the file and the settings of the reading. Only
moments, and rows while they are few, are kept and travel.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.filesystems import LocalFileSystem
from prefect.logging import get_logger
from prefect.results import ResultStore
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from flows.progress import FollowingBytes
from flows.runners import Runner, gather
from gd.columns import Holds
from gd.data import DataError, Source
from gd.dialect import Format
from gd.joining import cuts, join, unsettled
from gd.method import keeps_rows
from gd.moments import Moments
from gd.notation import visible
from gd.sampling import Sample
from gd.scanning import Apart, Scan, scan
from gd.settings import Training
from gd.signs import Sign
from gd.spilling import Scratch, Spilled, scratches
from gd.splitting import Parting, partings
from gd.stream import is_address, shown_name

__all__ = ["read"]

_CACHE = ".cache"  # in the folder of all reports
_FORMAT = [
    *(field.name for kind in (Scan, Apart, Moments, Sample) for field in fields(kind)),
    *Sign._fields,
    *Format.model_fields,
]  # of what is kept; another is not read back
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_ROWS = 16 << 20  # bytes of rows that are kept with a file's moments
_MOST_KEPT = 256 << 20  # bytes in all; the oldest go first


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another try may help: a read that broke off, not a file that is wrong, nor a disk without room for its rows."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and not isinstance(error, DataError) and error.errno not in _FULL


@task(
    name="read", task_run_name="{label}", cache_policy=NO_CACHE, retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=1), retry_jitter_factor=0.5, retry_condition_fn=_may_pass,
)  # fmt: skip
def read_file(
    label: str,
    file: str,
    source: Source,
    training: Training,
    alone: bool,
    kinds: dict[str, Holds] | None,
    key: str | None,
    parting: Parting | None = None,
    labels: bool = False,
    scratch: Scratch | None = None,
) -> State[Any] | Scan:
    """One pass over one file; one of several is read by one thread, since the others have theirs.

    A file that is wrong ends the task as failed, in words, without a traceback. `key` is for the cache alone.
    """
    rows = partial(keeps_rows, training) if alone else None
    try:
        with FollowingBytes(label) as progress:
            threads = None if alone else 1
            return scan(
                file, source, kinds, keep_rows=rows, threads=threads, progress=progress, parting=parting, labels=labels,
                scratch=scratch,
            )  # fmt: skip
    except DataError as error:
        return Failed(message=visible(str(error), 2000), data=error)


def read(
    name: str,
    files: Sequence[str],
    source: Source,
    training: Training,
    reports: Path,
    runner: Runner,
    run: str,
    folder: Path,
) -> None:
    """Read the files of one data set and write the reading into a folder.

    Args:
        name: of the data set.
        files: paths or addresses.
        source: what is to be learned from them.
        training: whose method decides whether rows are kept, whose loss whether the target is one of two classes, and which
            rows are held out or dealt into folds.
        reports: the folder of all reports, which holds the cache.
        runner: who reads, where there are several files.
        run: id of this run.
        folder: to write into.

    Raises:
        DataError: if they cannot be used.
        Exception: what else the reading of one of them ended with.
    """
    labels, split = training.loss == "logistic", training.split
    alone = len(files) == 1 or training.method == "rows" or training.needs_rows  # rows do not travel
    one = Runner(workers=1) if alone and len(files) > 1 else runner
    cache = _Cache(reports / _CACHE, source, run, labels)
    titles = [f"{name}: read" if len(files) == 1 else f"{name}: read {visible(shown_name(file), 100)}" for file in files]

    def scanned(at: Sequence[int], kinds: dict[int, dict[str, Holds]], parts: Sequence[Parting | None]) -> list[_Kept]:
        """These of the files, from the cache or by reading them."""
        calls = [
            {"label": titles[j], "file": files[j], "source": source, "training": training, "alone": alone,
             "kinds": kinds.get(j), "key": cache.key(files[j], kinds.get(j), parts[j]), "parting": parts[j], "labels": labels,
             "scratch": places[j]}
            for j in at
        ]  # fmt: skip
        found = {j: cache.recall(call) for j, call in zip(at, calls, strict=True) if call["key"] is not None}
        kept = {j: item for j, item in found.items() if item is not None and _suffices(item.scan, training, alone)}
        missing = [(j, call | {"key": None}) for j, call in zip(at, calls, strict=True) if j not in kept]
        outcomes = gather(read_file, [call for _, call in missing], one, [titles[j] for j, _ in missing]) if missing else []
        for (j, _), outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, Exception):
                raise outcome
            kept[j] = cache.keep(cast("Scan", outcome), kinds.get(j), parts[j])
        return [kept[j] for j in at]

    def settled(kinds: dict[int, dict[str, Holds]], parts: Sequence[Parting | None]) -> list[_Kept]:
        """All files, each read again where the others show what its columns hold."""
        found = scanned(range(len(files)), kinds, parts)
        while again := unsettled([item.scan for item in found], source):
            for j, item in zip(again, scanned(list(again), again, parts), strict=True):
                found[j] = item
        return found

    with scratches(folder if alone else None, len(files)) as places:
        found = settled({}, partings(split, len(files)))
        if split is not None and split.last is not None:  # only now it is known how many rows there are
            scans = [item.scan for item in found]
            found = settled({j: one.kinds for j, one in enumerate(scans)}, partings(split, len(files), cuts(scans, split.last)))
        data = join([item.scan for item in found], source, name, split, labels=labels, folder=folder)
    if all(item.run != run for item in found):
        since = max(item.run for item in found)
        data = replace(data, provenance=data.provenance.model_copy(update={"unchanged_since": since}))
    if data.rows is not None and not keeps_rows(training, data.larger, len(data.provenance.features) + 1):
        data = data.without_rows()
    data.save(folder)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What a pass found, and the run that made it."""

    scan: Scan
    run: str


def _suffices(found: Scan, training: Training, alone: bool) -> bool:
    """Whether the rows are there, if training needs them."""
    return found.values is not None or not (alone and keeps_rows(training, found.larger, len(found.columns)))


def _may_travel(found: Scan) -> bool:
    """Whether the rows that were kept are few, and none of them in a file of this run's."""
    kept = [part for part in (found.values, found.held.values if found.held is not None else None) if part is not None]
    within = [column.nbytes for part in kept if not isinstance(part, Spilled) for column in part]
    return sum(within) <= _MOST_ROWS and not any(isinstance(part, Spilled) for part in kept)


def _without_rows(found: Scan) -> Scan:
    return replace(found, values=None, held=found.held and replace(found.held, values=None))


class _Cache:
    """Passes over files by the files' content; a file's size tells first whether its hash is worth finding."""

    def __init__(self, folder: Path, source: Source, run: str, labels: bool) -> None:
        self._folder, self._run = folder, run
        self._settings = [_FORMAT, source.target, source.features, source.leave_out, source.encode, source.dialect.model_dump()]
        self._settings += ["labels"] if labels else []
        self._store = ResultStore(result_storage=LocalFileSystem(basepath=str(folder)), cache_result_in_memory=False)

    def key(self, file: str, kinds: dict[str, Holds] | None, parting: Parting | None) -> str | None:
        """Under which a pass over the file as it is now would be kept; None where there is certainly none."""
        if is_address(file):  # to hash it is to read it
            return None
        try:
            size = Path(file).stat().st_size
            if not any(self._folder.glob(f"{size}-*")):
                return None
            with Path(file).open("rb") as opened:
                return self._key(size, hashlib.file_digest(opened, "sha256").hexdigest(), kinds, parting)
        except OSError:  # reading will say why
            return None

    def recall(self, call: dict[str, Any]) -> _Kept | None:
        """What is kept under a call's key; None where it is not, or cannot be read back."""
        if not self._store.exists(call["key"]):
            return None
        cached = read_file.with_options(
            cache_key_fn=lambda _context, parameters: cast("str", parameters["key"]),
            persist_result=True,
            result_storage=self._folder,
        )
        try:
            state: State[Any] = cached(**call, return_state=True)
            found = state.result(raise_on_failure=False)
        except Exception:  # noqa: BLE001  (written by another version, or half: the file itself is there)
            return None
        if not isinstance(found, _Kept):
            return None
        return replace(found, scan=replace(found.scan, file=shown_name(call["file"]), path=call["file"]))

    def keep(self, found: Scan, kinds: dict[str, Holds] | None, parting: Parting | None) -> _Kept:
        """Keep a pass for the next run; what cannot be kept is read again then."""
        key = self._key(found.bytes, found.sha256, kinds, parting)
        try:
            if self._store.exists(key):
                known = self._store.read(key).result
                if isinstance(known, _Kept):  # read again, because rows were wanted or it is not at a path
                    return replace(known, scan=found)
            kept = _Kept(found if _may_travel(found) else _without_rows(found), self._run)
            self._store.write(kept, key=key)
            self._make_room()
        except Exception as error:  # noqa: BLE001  (a full disk, say, which the report will meet and name)
            with suppress(OSError):  # half of it would be in the way of the report
                (self._folder / key).unlink(missing_ok=True)
            get_logger("gd").warning(
                "What was read of %s is not kept for the next run: %s", visible(found.file), visible(str(error), 500)
            )
        return _Kept(found, self._run)

    def _key(self, size: int, digest: str, kinds: dict[str, Holds] | None, parting: Parting | None) -> str:
        parts = [] if parting is None else [parting.split.model_dump(), parting.file, parting.cut]
        settings = json.dumps([*self._settings, kinds and sorted(kinds.items()), *parts])
        return f"{size}-{digest}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"

    def _make_room(self) -> None:
        files = sorted(((file.stat(), file) for file in self._folder.iterdir()), key=lambda item: -item[0].st_mtime)
        total = 0
        for status, file in files:
            total += status.st_size
            if total > _MOST_KEPT:
                file.unlink(missing_ok=True)
