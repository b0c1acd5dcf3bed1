"""The main job: read each CSV, train it with every backend, compare them, write a report, and mail it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from traceback import clear_frames
from typing import Any, Literal
from unicodedata import normalize

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import CrashedRun, ExternalSignal
from prefect.states import Completed, Failed

import gd
from flows.delivery import clean_up, delivery
from flows.deployments import FLOW, revive_newest
from flows.environment import commit, packages
from flows.mailing import owed, post, post_later
from flows.notification import owners_hear
from flows.reading import read
from flows.recovery import Presence, present, unfinished
from flows.runners import Runner, gather, go_on
from flows.slots import Slot, current, too_late
from flows.tasks import compare_traces, keep, prepare, render, sweep_rates, train_with
from flows.trigger import REPORTS
from gd import archive, backends, reading
from gd.changes import since
from gd.data import DataError, Source, dataset_name, expand, expand_all
from gd.look import Look, Numbers, Zone
from gd.mail import Mailing
from gd.method import keeps_rows
from gd.notation import legible, number, visible
from gd.record import Record, Run
from gd.recording import command, failed
from gd.retention import Keep
from gd.settings import Training
from gd.stream import check_path
from gd.words import SYMBOLS, headline, sentence

__all__ = ["Batch", "Ended", "train_here", "training_report"]

_OTHERS = ("index.html", "readme.md", "outbox.db", "outbox.db-wal", "outbox.db-shm")  # stand in the folder of all reports
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
_SENDING = 60.0  # seconds; what cannot be sent by then is left to the deployment that only sends


@dataclass(frozen=True, slots=True)
class Ended:
    """One data set of a flow run: what it came to, and where its report is."""

    name: str
    folder: str | None  # None where not even a report of the failure could be written
    record: Record = field(repr=False)  # Prefect's log shows the states of tasks with all that they hold
    faults: tuple[str, ...] = ()  # in a user's templates


@dataclass(frozen=True, slots=True)
class Batch:
    """What a flow run came to: its data sets, and a line on its mail."""

    ended: list[Ended]
    mail: str = ""
    unlisted: str = ""  # why the page of all reports could not be written anew, or older runs not be deleted
    faults: tuple[str, ...] = ()  # in a user's templates, in whose place ours stand; each is in the log


@flow(name=FLOW, validate_parameters=True, on_failure=[owners_hear], on_crashed=[owners_hear])
def training_report(
    sources: list[Source],
    training: Training = Training(),  # noqa: B008  (frozen, so that one default serves all calls)
    reports: str = "reports",
    mail: Mailing = Mailing(),  # noqa: B008
    send: bool = True,
    skip_after: float | None = None,
    runner: Runner = Runner(),  # noqa: B008
    keep: Keep | None = None,
    templates: str | None = None,
    zone: Zone | None = None,
    numbers: Numbers = "en",
) -> State[Any]:
    """Train a linear model on each CSV with every backend and write a report of each.

    A data set that fails leaves a report that says why, and the others go on; the flow run then ends as failed.

    Args:
        sources: CSV files, folders or globs, each with its target and features.
        training: the settings, the same for all of them.
        reports: folder to write reports into.
        mail: who hears of it.
        send: whether mail goes out; else it is written into the run's folder.
        skip_after: seconds after which a scheduled run is too late to be started; one interval of its schedule where not given.
        runner: who does the work where there are several data sets, or several files of one.
        keep: how many runs of each of these data sets are kept, as 100, or for how many days, as 90d; the newest one that
            converged or ran out of epochs always is. All are kept where it is not given.
        templates: folder of templates that stand in for the standard ones.
        zone: time zone of every time shown, such as Europe/Berlin; UTC when empty, and in mail that of the schedule.
        numbers: how numbers are shown: en, de, fr, plain, or decimal mark and thousands mark.
    """
    now = datetime.now(UTC)
    slot = current(now)
    if (reason := too_late(slot, skip_after, now)) is not None:
        revive_newest(slot, now)
        return Completed(name="Skipped", message=reason)
    presence = Presence(
        flow_run=slot.flow_run or slot.key, name=slot.title(dataset_name(source.as_one or source.path) for source in sources),
        key=slot.key, moment=slot.moment, zone=slot.zone, deployment=slot.deployment_id, mailing=mail,
        look=Look(templates=templates, zone=zone, numbers=numbers),
    )  # fmt: skip
    with _seen(Path(reports), presence):
        batch = _train(sources, training, Path(reports), presence, runner, slot)
        if slot.deployment == "" and batch.ended:
            presence = presence.model_copy(update={"name": slot.title(item.name for item in batch.ended)})
        line, faults = _mail(batch, presence, Path(reports), send=send)
        batch = replace(batch, mail=line, faults=tuple(dict.fromkeys((*batch.faults, *faults))))
        if keep is not None:
            batch = replace(batch, unlisted=batch.unlisted or _prune(batch, presence, Path(reports), keep))
    for fault in batch.faults:
        get_run_logger().warning(fault)
    wrong = [item for item in batch.ended if item.record.verdict == "failed"]
    message = f"{len(batch.ended) - len(wrong)} of {len(batch.ended)} data sets trained and reported"
    if wrong:
        message += f"; failed: {', '.join(item.name for item in wrong[:5])}"
        reasons = " ".join(visible(item.record.error.message, 300) for item in wrong[:3] if item.record.error)
        message += f". {reasons}"
    for line in filter(None, (batch.unlisted, batch.mail)):
        message += f"{'' if message.endswith('.') else '.'} {visible(line, 2000)}"
    if wrong or batch.unlisted or not batch.ended:
        return Failed(message=message, data=batch)
    return Completed(message=message, data=batch)


def train_here(
    name: str, source: Source, training: Training, reports: Path, *, finish: bool = True, draw: bool = True
) -> Path:  # fmt: skip
    """One file through the tasks as plain functions, without a server; returns the run's folder, or its draft's.

    Args:
        name: of the data set.
        source: its file, and what is to be learned.
        training: the settings.
        reports: folder to write reports into.
        finish: make the draft a run.
        draw: make the figures and the page, which cost most of a small run.
    """
    run = _run(source, training)
    draft = archive.begin(reports, name, run.id)
    labels, rows = training.loss == "logistic", partial(keeps_rows, training)
    how: dict[str, Any] = {"split": training.split, "labels": labels, "folder": draft.work}
    reading.read([source.path], source, name, keep_rows=rows, **how).save(draft.work)
    rate = prepare.fn(name, draft, training)
    if training.sweeps:
        rate, *_ = [sweep_rates.fn(name, backend, draft, training) for backend in training.backends]
    checks = [train_with.fn(name, backend, draft, training, rate) for backend in training.backends]
    compare_traces.fn(name, draft, run, training, rate, checks)
    if draw:
        render.fn(name, draft)
    return Path(keep.fn(name, draft)) if finish else draft.path


@contextmanager
def _seen(reports: Path, presence: Presence) -> Iterator[None]:
    """While in it, a sudden end of this process is noticed by the next start; what an earlier one left is cleaned up first."""
    clean_up(reports)
    with ExitStack() as stack:
        with suppress(OSError):  # no report can be written there at all, which each data set will say
            stack.enter_context(present(reports, presence))
        yield


def _train(
    sources: Sequence[Source], training: Training, reports: Path, presence: Presence, runner: Runner, slot: Slot
) -> Batch:
    """Every data set, each done whole by one of the runner's workers."""
    wanted = _wanted(sources)
    look, faults = presence.look, list[str]()
    if problem := look.problem():
        look, faults = (
            look.model_copy(update={"templates": None}),
            [f"{visible(problem, 2000)} The standard templates are used."],
        )
    with suppress(ValueError):  # which each data set will say; imported once, and not by several threads at once
        for name in training.backends:
            backends.get(name)
    calls = [
        {"name": one.name, "source": one.source, "files": one.files, "training": training, "reports": str(reports),
         "owner": presence.flow_run, "token": one.token, "runner": runner, "look": look}
        for one in wanted if one.error is None
    ]  # fmt: skip
    try:
        made = gather(data_set, calls, _crew(runner), [str(call["name"]) for call in calls])
        for stop in filter(None, (_stop_behind(one) for one in made if isinstance(one, Exception))):
            raise stop
    except BaseException as error:  # stopped from outside: nothing half made stays
        for one in wanted:
            archive.clear(reports, one.name, one.token)
        if (stop_behind := _stop_behind(error)) is not None:
            raise stop_behind from None
        raise
    ended, outcomes = list[Ended](), iter(made)
    for one in wanted:
        outcome = one.error or next(outcomes)
        if isinstance(outcome, Exception):
            run = _run(one.source, training, one.token, look)
            outcome = _fail(one.name, one.source, training, reports, run, outcome, look)
        ended.append(outcome)
    unlisted = ""
    try:
        if any(item.folder for item in ended):
            names = {Path(item.folder).parent.name for item in ended if item.folder}
            with look.applied() as used:
                archive.write_index(reports, names, dict.fromkeys(names, slot.upcoming) if slot.deployment else None)
            faults += used.faults
    except OSError as error:
        found = archive.unwritable(reports, error) or error
        unlisted = f"{reports / 'index.html'} is not brought up to date. {found}"
        get_run_logger().error(visible(unlisted, 2000))
    with look.applied():
        _publish(ended)
    faults = [fault for item in ended for fault in item.faults] + faults
    return Batch(ended, unlisted=unlisted, faults=tuple(dict.fromkeys(faults)))


def _prune(batch: Batch, presence: Presence, reports: Path, keep: Keep) -> str:
    """Delete the runs that are not kept, but for those that a mail is still to be made of; returns why it could not be done."""
    folders = [Path(item.folder) for item in batch.ended if item.folder]
    names = {folder.parent.name for folder in folders}
    spared = [*folders, *owed(reports)]
    if (began := unfinished(reports, presence.flow_run)) is not None:  # another flow run's mail may be in the making
        spared += [path for name in names for path in (reports / name).iterdir() if path.name >= f"{began:%Y-%m-%dT%H-%M-%SZ}"]
    try:
        gone = archive.prune(reports, names, keep, datetime.now(UTC), spared)
    except OSError as error:
        found = archive.unwritable(reports, error) or error
        said = f"Older runs could not be deleted. {found}"
        get_run_logger().error(visible(said, 2000))
        return said
    if gone:
        get_run_logger().info(f"{len(gone)} older run{'' if len(gone) == 1 else 's'} deleted (keep: {keep}).")
    return ""


def _crew(runner: Runner) -> Runner:
    """Who does whole data sets: threads take turns at Python's lock, and two at once were slower than one after the other."""
    alone = runner.kind == "threads" and runner.workers is None
    return runner.model_copy(update={"workers": 1}) if alone else runner


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A data set to be trained, or why there is none where a source says."""

    name: str
    source: Source
    files: Sequence[str] = ()
    error: Exception | None = None
    token: str = field(
        default_factory=lambda: secrets.token_hex(4)
    )  # its run's id ends in it, whenever and wherever that starts


def _wanted(sources: Sequence[Source]) -> list[_Wanted]:
    wanted, taken = [], set(_OTHERS)
    for source in sources:
        try:
            groups = _data_sets(source)
        except (DataError, OSError) as error:
            wanted.append(_Wanted(_free_name(source.as_one or source.path, taken), source, error=error))
            continue
        wanted += [_each(_free_name(one.as_one or one.path, taken), one, files) for one, files in groups]
    return wanted


def _each(name: str, source: Source, files: Sequence[str]) -> _Wanted:
    """A data set; where no record could hold the path of its file, why there is none, and the path as it can be shown."""
    try:
        check_path(source.path)
    except DataError as error:
        return _Wanted(name, source.model_copy(update={"path": error.where}), error=error)
    return _Wanted(name, source, files)


def _mail(batch: Batch, presence: Presence, reports: Path, *, send: bool) -> tuple[str, tuple[str, ...]]:
    """Owe the report to its readers and send it; nothing that goes wrong here is a failure of the training.

    Returns:
        A line on it, and one for each fault in a user's templates.
    """
    logger, folders = get_run_logger(), [Path(item.folder) for item in batch.ended if item.folder]
    try:
        queued, line, faults = post(presence, folders, reports, datetime.now(UTC), send=send)
        if queued:
            state = delivery(str(reports), _SENDING, return_state=True)
            line = f"{line} {state.message}"
    except Exception as raised:  # noqa: BLE001
        error = (archive.unwritable(reports, raised) if isinstance(raised, OSError) else None) or raised
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        line = f"The mail could not be made ready: {reason}."
        try:
            post_later(presence, folders, reports)
            line += " The next delivery tries again."
        except OSError as unwritable:
            line += f" Nor can it be tried again: {unwritable.strerror}."
        logger.error(line)
        return line, ()
    if line:
        logger.info(line)
    return line, faults


def _data_sets(source: Source) -> list[tuple[Source, list[str]]]:
    """Each data set of a source with its files: one for each file, or all files as one."""
    if source.as_one is not None:
        return [(source, expand_all(source))]
    return [(source.model_copy(update={"path": file}), [file]) for file in expand(source.path, check=False)]


@task(name="data set", task_run_name="{name}", cache_policy=NO_CACHE)
def data_set(
    name: str,
    source: Source,
    files: Sequence[str],
    training: Training,
    reports: str,
    owner: str,
    token: str,
    runner: Runner,
    look: Look = Look(),  # noqa: B008
) -> State[Any] | Ended:
    """All tasks of one data set; whatever happens ends in a record. What a killed worker has left of it is cleared first."""
    place = Path(reports)
    archive.clear(place, name, token)
    if (done := archive.kept(place, name, token)) is not None:  # the worker was killed when it had nothing but this left to say
        return Ended(name, str(done), archive.read_record(done))
    run = _run(source, training, token, look)
    try:
        draft = archive.begin(place, name, run.id)
        archive.keep_ready(draft, owner, failed(run, source, name, training, InterruptedRunError(), look))
        folder, faults = _stages(name, source, files, training, run, draft, place, runner, look)
    except CrashedRun:  # stopped from outside, as Prefect puts it where the signal met a task of its own
        archive.clear(place, name, token)
        raise
    except Exception as error:  # one data set must not take the others with it
        if (stop := _stop_behind(error)) is not None:
            archive.clear(place, name, token)
            raise stop from error
        ended = _fail(name, source, training, place, run, error, look)
        said = ended.record.error.message if ended.record.error else str(error)
        return Failed(message=visible(said, 2000), data=ended)  # which logs repeat on a terminal
    except BaseException:  # stopped from outside: nothing half made stays
        archive.clear(place, name, token)
        raise
    return Ended(name, folder, archive.read_record(Path(folder)), faults)


def _stop_behind(error: BaseException) -> ExternalSignal | KeyboardInterrupt | None:
    """The signal in whose handling an error was raised: Prefect raises one of its own where it met a task half begun."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ExternalSignal | KeyboardInterrupt):
        seen = seen.__cause__ or seen.__context__
    return seen


def _stages(
    name: str,
    source: Source,
    files: Sequence[str],
    training: Training,
    run: Run,
    draft: archive.Draft,
    reports: Path,
    runner: Runner,
    look: Look,
) -> tuple[str, tuple[str, ...]]:
    """From the files to the run's folder, and faults in templates; between two tasks a thread asks whether it is to go on."""
    read(name, files, source, training, reports, runner, run.id, draft.work)
    go_on()
    rate, checks = prepare(name, draft, training), []
    if training.sweeps:
        go_on()
        rate, *_ = [sweep_rates(name, backend, draft, training) for backend in training.backends]
    for backend in training.backends:
        go_on()
        checks.append(train_with(name, backend, draft, training, rate))
    go_on()
    compare_traces(name, draft, run, training, rate, checks, look)
    go_on()
    faults = render(name, draft, look)
    go_on()
    return keep(name, draft), tuple(faults)


def _fail(name: str, source: Source, training: Training, reports: Path, run: Run, error: Exception, look: Look) -> Ended:
    """Leave a report that says why there is no result; where even that cannot be written, say so in the record."""
    finished = run.model_copy(update={"finished": datetime.now(UTC)})
    clear_frames(error.__traceback__)  # they hold arrays that are mapped, whose room on the disk would not come free
    if isinstance(error, OSError):
        error = archive.unwritable(reports, error) or error
    record = failed(finished, source, name, training, error, look)
    try:
        archive.clear(reports, name, run.id)
        draft = archive.begin(reports, name, run.id)
        record = record.model_copy(update={"previous": since(draft.final, record)})
        archive.write_record(draft.path, record, None)
        faults = archive.write_report(draft.path, look)
        return Ended(name, str(archive.finish(draft)), record, tuple(faults))
    except OSError as lost:
        archive.clear(reports, name, run.id)
        lost = archive.unwritable(reports, lost) or lost
        if not isinstance(error, OSError):
            lost = OSError(f"{error} Besides, {lost}")
        return Ended(name, None, failed(finished, source, name, training, lost, look))
    except Exception:  # noqa: BLE001  (the report itself is broken: the other data sets go on all the same)
        archive.clear(reports, name, run.id)
        return Ended(name, None, record)


class InterruptedRunError(RuntimeError):
    """What a run has come to whose process was killed."""

    def __init__(self) -> None:
        super().__init__("The run was killed before it was finished: its process or its machine went down.")


def _run(source: Source, training: Training, token: str = "", look: Look = Look()) -> Run:  # noqa: B008
    """Which run this is: begun now, manually or on a schedule."""
    started = datetime.now(UTC)
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    scheduled = bool(flow_run and flow_run.auto_scheduled)
    trigger: Literal["manual", "scheduled"] = "scheduled" if scheduled else "manual"
    return Run(
        id=f"{started:%Y-%m-%dT%H-%M-%SZ}-{token or secrets.token_hex(4)}",
        trigger=trigger,
        scheduled_for=flow_run.expected_start_time if flow_run and scheduled else None,
        started=started,
        finished=started,
        version=gd.__version__,
        git=commit(),
        packages=packages(),
        command=command(source, training, look),
    )


def _free_name(path: str, taken: set[str]) -> str:
    """A folder name for a data set, unlike any other of this run on any file system; it only depends on the path."""
    name = dataset_name("".join(c if legible(c) else "-" for c in normalize("NFC", path)))
    if name.partition(".")[0].casefold() in _DEVICES:
        name = f"data-{name}"
    if (key := normalize("NFC", name.casefold())) in taken:
        name = f"{name}-{sha256(path.encode(errors='surrogatepass')).hexdigest()[:6]}"
        key = normalize("NFC", name.casefold())
    taken.add(key)
    return name


def _publish(ended: Sequence[Ended]) -> None:
    """The verdicts and the final figures as artifacts on Prefect's page."""
    lines = [
        f"- {SYMBOLS[item.record.verdict]} **{_plain(item.name)}** {headline(item.record)}. {_plain(sentence(item.record))}"
        for item in ended
    ]
    create_markdown_artifact("\n".join(lines) or "No data set.", key="verdicts", description="What each data set came to")
    reports = [
        {
            "data set": item.name, "verdict": item.record.verdict, "headline": headline(item.record),
            "sentence": visible(sentence(item.record), 2000), "report": item.folder,
        }
        for item in ended
    ]  # fmt: skip
    create_table_artifact(reports, key=REPORTS, description="What each data set came to, and where its report is")
    rows = [
        {
            "data set": item.name, "verdict": item.record.verdict, "backend": fit.title, "epochs": fit.epochs,
            "loss": fit.loss, "r2": fit.r2, "intercept": fit.intercept,
            "weights": ", ".join(f"{visible(name)} {number(value, plain=True)}" for name, value in fit.weights.items()),
            "report": item.folder,
        }
        for item in ended
        for fit in item.record.fits
    ]  # fmt: skip
    create_table_artifact(rows, key="final-figures", description="Where each backend ended, in the units of the CSV")


def _plain(text: str) -> str:
    """Text from the data that Markdown shall not read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~&@]|:(?=//)|(?<=www)\.)", r"\\\1", visible(text, 500))
