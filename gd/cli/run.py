"""`gd run` and `gd render`: words in, a flow run, a line for each data set out."""

from __future__ import annotations

import csv
import gc
import io
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import ValidationError

from gd.cli.command import Stopped, UnreachableError, UsageError, app, first_fault, is_plain, run_quietly, server_is_named, tell

if TYPE_CHECKING:
    from flows.runners import Runner
    from flows.server import TemporaryServer
    from flows.training_report import Batch
    from gd.data import Source
    from gd.dialect import Dialect
    from gd.look import Look
    from gd.mail import Mailing

__all__ = ["Written", "names", "render", "run"]

_REMARKS = 3  # on a data set, of which its report holds all


@dataclass(frozen=True)
class Written:
    """How the CSV files are written, in the command's words."""

    delimiter: str | None = None
    """What separates cells: one character, or comma, semicolon, tab, pipe, space, blanks; the first four are found out."""
    quote: str | None = None
    """What cells are quoted with: double, single, or none; double and single are found out."""
    decimal: str | None = None
    """The decimal mark: dot (the default) or comma."""
    thousands: str | None = None
    """What separates groups of three digits: comma, dot, space, apostrophe, underscore; nothing when not given."""
    encoding: str | None = None
    """Such as latin-1 or cp1252; UTF-8, and UTF-16 with a byte order mark, are found out."""
    skip_lines: str | None = None
    """Lines to skip: 3 for the first three, or ranges such as 2-2,900-, counted from 1."""
    header: str | None = None
    """The line that holds the names, counted from 1, or none: columns are then named column 1, column 2 and so on."""
    comment: str | None = None
    """Lines that begin with this are skipped, such as #."""
    missing: str | None = None
    """Cells that count as missing, separated by commas; default among them stands for NA, N/A, null, NULL, None and #N/A."""
    units: str | None = None
    """What may stand before or after a number and is left off, separated by commas: with %,$ 5% is read as 5."""
    parentheses: Annotated[bool, Parameter(negative="")] = False
    """Whether (12) is read as -12."""

    def dialect(self) -> Dialect:
        """The same as settings.

        Raises:
            ValidationError: if some of it cannot be.
            UsageError: if the header is no line.
        """
        from gd.dialect import Dialect  # noqa: PLC0415

        said: dict[str, Any] = {name: value for name, value in vars(self).items() if value is not None}
        for name in ("missing", "units"):
            if name in said:
                said[name] = tuple(_row(said[name]))
        if self.header is not None and self.header != "none":
            if not self.header.isdecimal():
                raise UsageError(f"--header: {self.header!r} is neither the number of a line nor none.")
            said["header"] = int(self.header)
        return Dialect(**said)


@dataclass(frozen=True)
class Steps:
    """How the descent goes, in the command's words."""

    optimizer: Literal["gradient-descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] | None = None
    """How a gradient becomes a step; gradient-descent by default."""
    learning_rate: str | None = None
    """A number, or auto: found from the curvature of the loss on these data, 1/λmax of plain descent (the default). Several,
    separated by commas, or auto-sweep for nine around it: all are tried at once, and the best is trained with. search looks for
    one anew at each epoch (backtracking line search)."""
    decay: str | None = None
    """β of momentum, nesterov, adam and adamw, ρ of rmsprop; auto is the best one for the curvature (the default)."""
    weight_decay: float | None = None
    """What adamw takes off each weight an epoch, in learning rates; 0.01 by default."""
    schedule: Literal["auto", "constant", "step", "exponential", "cosine"] | None = None
    """How the learning rate goes on; auto is constant, but a cosine where steps do not shrink with the gradient."""
    schedule_factor: str | None = None
    """What the rate is multiplied with, at each step (0.1 by default) or over all epochs of exponential (0.01)."""
    schedule_every: int | None = None
    """Epochs between two steps down; a third of all by default."""
    warm_up: int | None = None
    """So many first epochs with a rate that grows up to the full one."""
    precondition: Literal["none", "diagonal", "whiten"] | None = None
    """Scale the steps by the curvature of each weight, or by the whole of it: badly conditioned data then converge in tens of
    epochs, but it is no longer plain descent."""
    batch_size: int | None = None
    """Rows a step; all of them when not given."""
    seed: int | None = None
    """Of all that is drawn: batches, rows held out, folds; 0 by default."""
    epochs: int | None = None
    """Steps at most, or passes over all batches; 1000 by default."""
    tolerance: str | None = None
    """Converged when the gradient norm has fallen to this share of its first value; 0 never stops early."""
    validate: str | None = None
    """Rows that are held out, and their loss evaluated at every epoch: a share by chance (0.2), the last ones (last:0.2), or
    those that a column marks (column:NAME)."""
    patience: int | None = None
    """Stop when the loss on the rows held out has not fallen for so many epochs, and keep the best weights."""
    folds: int | None = None
    """Folds of an exact cross-validation, from the same pass over the data."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where torch and jax compute; auto is a GPU where there is one."""

    def settings(self) -> dict[str, Any]:
        """Those that were given, by their names in `Training`."""
        given = vars(self) | {
            "learning_rate": _rates(self.learning_rate),
            "tolerance": _number_or_auto("--tolerance", self.tolerance),
            "decay": _number_or_auto("--decay", self.decay),
            "schedule_factor": _number_or_auto("--schedule-factor", self.schedule_factor),
            "validation": self.validate,
        }
        return {name: value for name, value in given.items() if name != "validate"}


@dataclass(frozen=True)
class Drawn:
    """How reports and mails look, in the command's words."""

    templates: Path | None = None
    """Folder of templates of your own that stand in for the standard ones (see templates/README.md)."""
    zone: str | None = None
    """Time zone of every time shown, such as Europe/Berlin; UTC when not given."""
    numbers: str | None = None
    """How numbers are shown: en (1,234.5; the default), de (1.234,5), fr, plain (1234.5), or the two marks, such as .'"""

    def look(self, **kept: Any) -> Look:
        """The same as settings, over those that a run has kept.

        Raises:
            UsageError: if some of it cannot be.
        """
        from gd.look import Look  # noqa: PLC0415

        folder = None if self.templates is None else str(self.templates)
        given = {"templates": folder, "zone": self.zone, "numbers": self.numbers}
        try:
            look = Look(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise UsageError(first_fault(error)) from None
        if problem := look.problem():
            raise UsageError(f"--templates: {problem}")
        return look.model_copy(update={name: value for name, value in kept.items() if given[name] is None})


@app.command
def run(
    *csv_files: Annotated[str, Parameter(name="CSV")],
    target: str | None = None,
    as_one: str | None = None,
    features: str | None = None,
    leave_out: str | None = None,
    encode: str | None = None,
    loss: Literal["mse", "huber", "logistic", "poisson", "notebook"] | None = None,
    delta: str | None = None,
    l2: str | None = None,
    l1: float | None = None,
    keep_weights: str | None = None,
    dtype: Literal["float64", "float32"] | None = None,
    intercept: bool | None = None,
    standardize: bool | None = None,
    method: Literal["auto", "rows", "moments"] | None = None,
    backends: str | None = None,
    preset: Literal["notebook"] | None = None,
    reports: Path = Path("reports"),
    keep: str | None = None,
    mail_to: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    runner: Literal["threads", "processes", "dask"] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
    steps: Annotated[Steps, Parameter(name="*", group="How it descends")] = Steps(),
    written: Annotated[Written, Parameter(name="*", group="How the CSV is written")] = Written(),
    drawn: Annotated[Drawn, Parameter(name="*", group="How reports look")] = Drawn(),
) -> int:
    """Train, compare and report on each CSV.

    Args:
        csv_files: CSV files (gzip and zstd are fine), folders, globs, or addresses such as s3://bucket/a.csv.
        target: Name of the column to predict.
        as_one: The name of one data set that all the files are parts of; each file is a data set of its own when not given.
        features: Columns to predict from, separated by commas; every numeric column but the target when not given.
        leave_out: Columns that are not used, separated by commas.
        encode: What is made of text: category turns a column of few distinct texts into columns of 0 and 1, dates turns dates
            into days since the first; both as category,dates.
        loss: What to minimise: mse, the mean squared error (the default); huber, which outliers pull less; logistic, for a
            target of two values or texts; poisson, for counts; notebook, mse with the notebook's own gradient.
        delta: Residual at which huber turns linear, in units of the target; auto is 1.345 robust standard deviations.
        l2: κ of a penalty κ Σ w² on the weights as trained; auto takes the best one of a cross-validation.
        l1: κ of a penalty κ Σ |w|, under which some weights become exactly 0.
        keep_weights: Keep the weights of every so many epochs; auto keeps those of 10,000 at most (the default). Loss and
            gradient norm are always kept.
        dtype: Precision of the training; float64 by default.
        intercept: Whether the model has a constant; yes by default.
        standardize: Whether to train on features of mean 0 and spread 1; yes by default.
        method: Train on the rows, or on their moments, whose epochs cost the same however many rows there are; auto chooses.
        backends: Frameworks that train, separated by commas; numpy,torch by default.
        preset: notebook trains the teaching notebook's five rows as it did.
        reports: Folder to write reports into.
        keep: How many runs of each of these data sets are kept, as 100, or for how many days, as 90d; older ones are deleted,
            but never the newest one that converged or ran out of epochs. All are kept when not given.
        mail_to: Addresses that get the report by mail, separated by commas; each gets a message of its own.
        dry_run: Write the mail into the run's folder and send nothing.
        runner: Who does the work where there are several data sets; threads by default.
        workers: How many of them; one a core when not given, but a single thread for whole data sets.
        scheduler: Address of a dask scheduler that exists, such as tcp://10.0.0.5:8786; needs --runner dask.
        json: Print run.json, one line for each data set, and nothing else.
        verbose: Show Prefect's own log on standard error.
        steps: How the descent goes.
        written: How the files are written, where it is not to be found out.
        drawn: How reports and mails look.
    """
    from gd import settings  # noqa: PLC0415  (quick commands load nothing that they do not need)

    given = {
        "loss": loss, "delta": _number_or_auto("--delta", delta), "l2": _number_or_auto("--l2", l2), "l1": l1, "dtype": dtype,
        "intercept": intercept, "method": method, "standardize": standardize,
        "keep_weights": _number_or_auto("--keep-weights", keep_weights),
        "backends": tuple(_row(backends)) if backends is not None else None,
        **steps.settings(),
    }  # fmt: skip
    base = settings.preset(preset).model_dump() if preset else {}
    try:
        training = settings.Training(**base | {name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageError(first_fault(error)) from None
    _check_backends(training.backends, training.device)
    look = drawn.look()
    mailing = _mailing(mail_to, dry_run=dry_run)
    what: dict[str, Any] = {"target": target, "features": names(features)}
    what |= {"leave_out": names(leave_out) or (), "encode": names(encode) or ()}
    sources = _sources(csv_files, what, written, preset, as_one)
    crew = _runner(runner, workers, scheduler)
    _check_keep(keep)
    parameters = {
        "sources": sources, "training": training, "reports": str(reports), "mail": mailing, "send": not dry_run, "runner": crew,
        "keep": keep, "templates": look.templates, "zone": look.zone, "numbers": look.numbers,
    }  # fmt: skip
    batch = _run_flow(parameters, verbose=verbose)
    ended = batch.ended
    from gd.notation import visible  # noqa: PLC0415

    for item in ended:
        if json:
            print(item.record.to_json(indent=None))
        else:
            from gd.words import headline, sentence  # noqa: PLC0415

            with look.applied():
                said, word = sentence(item.record, plain=is_plain(item.record.verdict)), headline(item.record)
            tell(item.record.verdict, item.name, word, said, item.folder)
            for remark in item.record.dataset.remarks[:_REMARKS]:
                about = f"Look at {visible(remark.column)}" if remark.column is not None else "Look at this"
                print(f"  {about}: {visible(remark.text, 600)}")
    if batch.mail:
        print(visible(batch.mail, 2000), file=sys.stderr if json else sys.stdout)
    for fault in batch.faults:
        print(visible(fault, 2000), file=sys.stderr)
    if batch.unlisted:
        print(visible(batch.unlisted, 2000), file=sys.stderr)
    elif not json and any(item.folder for item in ended):
        print(f"All reports: {visible(str(reports / 'index.html'), 2000)}")
    failed = not ended or batch.unlisted or any(item.record.verdict == "failed" for item in ended)
    return 1 if failed else 0


@app.command
def render(
    folder: Path,
    *,
    drawn: Annotated[Drawn, Parameter(name="*", group="How the report looks")] = Drawn(),
) -> int:
    """Draw a run's figures and its report.html again from its run.json and epochs.csv (or epochs.csv.gz).

    Without an option below it looks as the run was told to look, but for templates, which no run.json holds.

    Args:
        folder: A run's folder.
        drawn: How the report looks.
    """
    from gd import archive  # noqa: PLC0415
    from gd.notation import visible  # noqa: PLC0415

    look = drawn.look()
    try:
        record = archive.read_record(folder)
        look = drawn.look(zone=record.report.zone, numbers=record.report.numbers)
        faults = archive.write_report(folder, look)
    except FileNotFoundError as error:
        print(f"{visible(str(error.filename), 2000)}: no such file. Name the folder of a run.", file=sys.stderr)
        return 1
    except ValueError as error:
        reason = f"its run.json or epochs.csv cannot be read ({str(error).splitlines()[0]})."
        print(visible(f"{folder}: {reason}", 2000), file=sys.stderr)
        return 1
    except OSError as error:
        print(visible(f"{folder}: the report cannot be written there ({error.strerror}).", 2000), file=sys.stderr)
        return 1
    print(visible(str(folder / "report.html"), 2000))
    for fault in faults:
        print(visible(fault, 2000), file=sys.stderr)
    if record.report.templates is not None and look.templates is None:
        print("The run's report was drawn with templates of its user: this is the standard one. Name them with --templates.",
              file=sys.stderr)  # fmt: skip
    return 1 if faults else 0


def _sources(
    files: tuple[str, ...], what: dict[str, Any], written: Written, preset: str | None, as_one: str | None
) -> list[Source]:
    """One a file, or one of all files.

    Args:
        files: as they were named.
        what: is to be learned, by the names of a source's settings.
        written: how the files are.
        preset: whose own data is taken where no file was named.
        as_one: name of the one data set.
    """
    from gd.data import Source, bundled  # noqa: PLC0415

    if not files and preset:
        return [Source(path=_short(bundled(preset)), target=what["target"] or "Y")]
    if not files:
        raise UsageError("name at least one CSV, or --preset notebook.")
    if what["target"] is None:
        raise UsageError("--target is missing: name the column to predict.")
    try:
        how = written.dialect()
        if as_one is not None:
            return [Source(path=files[0], more=files[1:], as_one=as_one, dialect=how, **what)]
        return [Source(path=file, dialect=how, **what) for file in files]
    except ValidationError as error:
        raise UsageError(first_fault(error)) from None


def names(text: str | None) -> tuple[str, ...] | None:
    """Names that an option lists, separated by commas; None where it is not given.

    Raises:
        UsageError: if it is no list.
    """
    return None if text is None else tuple(_row(text))


def _mailing(mail_to: str | None, *, dry_run: bool) -> Mailing:
    """Who hears of it; an address that is none, or that mail may not go to, is refused before anything runs."""
    from gd.mail import Mailing, refused  # noqa: PLC0415

    if mail_to is None:
        if dry_run:
            raise UsageError("--dry-run is for mail: name its readers with --mail-to.")
        return Mailing()
    from flows.mailing import credentials, domains  # noqa: PLC0415

    try:
        mailing = Mailing(to=tuple(one.strip(" ") for one in mail_to.split(",")))
    except ValidationError as error:
        fault = error.errors()[0]["msg"].removeprefix("Value error, ").rstrip(".")
        raise UsageError(f"--mail-to: {fault}.") from None
    if outside := refused(mailing.to, domains()):
        raise UsageError(f"--mail-to: {', '.join(outside)} is outside of GD_MAIL_DOMAINS ({', '.join(domains())}).")
    if not dry_run and "GD_SMTP_BLOCK" not in os.environ:  # a block is asked of the server, which is not there yet
        try:
            credentials()
        except ValueError as error:
            raise UsageError(str(error)) from None
    return mailing


def _runner(kind: str | None, workers: int | None, scheduler: str | None) -> Runner:
    """Who does the work."""
    from flows.runners import Runner  # noqa: PLC0415

    given = {"kind": kind, "workers": workers, "address": scheduler}
    try:
        return Runner.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        said = first_fault(error) if fault["loc"] else f"--scheduler: {fault['msg'].removeprefix('Value error, ')}."
        raise UsageError(said.replace("--address", "--scheduler")) from None


def _run_flow(parameters: dict[str, Any], *, verbose: bool) -> Batch:
    """Run the flow on the server that PREFECT_API_URL names, else on a temporary one that starts during the imports."""
    run_quietly("INFO" if verbose else "CRITICAL")
    from flows.runners import RunnerError  # noqa: PLC0415
    from flows.server import TemporaryServer  # noqa: PLC0415

    server = TemporaryServer()  # made before Prefect is imported: so it ends after Prefect has sent its last logs
    try:
        if not server_is_named():
            server.start()
        return _batch(server, parameters)
    except RunnerError as error:
        raise UnreachableError(str(error)) from None
    except Exception as error:
        if (stopped := _stopped_by(error)) is not None:
            raise Stopped(stopped) from None
        if verbose:
            raise
        reason = str(error or type(error).__name__).splitlines()[0].rstrip(".")
        raise UnreachableError(f"the flow did not run: {reason}. Is the server that PREFECT_API_URL names up?") from None


def _stopped_by(error: Exception) -> int | None:
    """The signal behind an error of Prefect's: where one meets Prefect in a task of its own, it comes out as a crash."""
    if "aborted by an interrupt signal" in str(error):
        return signal.SIGINT
    return signal.SIGTERM if "aborted by a termination signal" in str(error) else None


def _batch(server: TemporaryServer, parameters: dict[str, Any]) -> Batch:
    """What each data set came to; the imports stand where the server needs time to start."""
    gc.disable()  # what is being imported is no garbage
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from flows.progress import TERMINAL  # noqa: PLC0415
    from flows.training_report import training_report  # noqa: PLC0415
    from gd import backends  # noqa: PLC0415

    for name in parameters["training"].backends:
        backends.get(name)
    import matplotlib.figure  # noqa: F401, PLC0415

    gc.freeze()
    gc.enable()
    if server.url:
        server.wait()
    console = Console(stderr=True)
    bars = Progress(console=console, transient=True, disable=not console.is_terminal, refresh_per_second=2)
    # a server that ends with this process has no use for signs of life, for whose sender each flow run waits a second
    ours = {PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if server.url else {}
    with temporary_settings(ours), bars as progress:
        TERMINAL.set(progress)
        state: Any = training_report(**parameters, return_state=True)
    result: Batch | Exception = state.result(raise_on_failure=False)
    if isinstance(result, Exception):
        raise result
    return result


def _check_keep(keep: str | None) -> None:
    from gd.retention import rule  # noqa: PLC0415

    if keep is not None:
        try:
            rule(keep)
        except ValueError as error:
            raise UsageError(f"--keep: {error}.") from None


def _number_or_auto(option: str, text: str | None) -> float | str | None:
    if text in {None, "auto"} or (option == "--learning-rate" and text == "search"):
        return text
    try:
        return float(text or "")
    except ValueError:
        raise UsageError(f"{option}: {text!r} is neither a number nor auto.") from None


def _rates(text: str | None) -> float | str | tuple[float, ...] | None:
    if text == "auto-sweep":
        return text
    if text is None or "," not in text:
        return _number_or_auto("--learning-rate", text)
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise UsageError(f"--learning-rate: {text!r} is no list of numbers, such as 0.001,0.01,0.1.") from None


def _check_backends(names: tuple[str, ...], device: str) -> None:
    from gd import backends  # noqa: PLC0415

    for j, name in enumerate(names):
        if name not in backends.available():
            raise UsageError(f"--backends: no backend {name!r}; available are {', '.join(backends.available())}.")
        if name in names[:j]:
            raise UsageError(f"--backends: {name!r} is named twice.")
    if device == "cuda":  # which only a framework can tell; where it is not asked for, none is imported here
        try:
            backends.settled(names, device)
        except ValueError as error:
            raise UsageError(f"--device: {error}.") from None


def _row(text: str) -> list[str]:
    """Names separated by commas; one that holds a comma is quoted as in a CSV."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        raise UsageError(f"{text!r} is no list of names ({error}).") from None


def _short(path: Path) -> str:
    """A path as it would be typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
