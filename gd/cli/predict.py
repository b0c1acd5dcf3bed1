"""`gd predict`: what a run's model says of other rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal
from urllib.parse import unquote

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from gd.cli.command import UnreachableError, UsageError, app, first_fault
from gd.cli.run import Written, names
from gd.notation import count, number, visible

if TYPE_CHECKING:
    from gd.dialect import Dialect
    from gd.model import Model
    from gd.prediction import Outcome

__all__ = ["predict"]


@app.command
def predict(
    model: Annotated[Path, Parameter(name="MODEL")],
    csv_file: Annotated[str, Parameter(name="CSV")],
    /,
    *,
    output: Path | None = None,
    keep: str | None = None,
    interval: Literal["observation", "mean"] = "observation",
    level: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    written: Annotated[Written, Parameter(name="*", group="How the CSV is written")] = Written(),  # noqa: B008  (frozen)
) -> int:
    """Predict the rows of a CSV with the model of a run, as a CSV with intervals.

    Its columns are line, prediction, low and high; of a logistic model line, probability (of its second class) and class. A row
    that misses a feature has no prediction. Where the target is in the CSV, standard error says how well it was predicted.

    Args:
        model: A run's model.json, or the folder of the run.
        csv_file: A CSV with the columns that the model was trained on, in any order; others are passed over.
        output: File to write; standard output when not given.
        keep: Columns of the CSV to write too, separated by commas.
        interval: Of a new observation, or of the mean of all that have the same features.
        level: Share of the intervals that are to hold the truth; 0.95 by default.
        written: How the file is written, where that is not to be found out and not as the model's own data were.
    """
    from gd.model import load  # noqa: PLC0415

    try:
        used = load(model)
    except ValueError as error:
        raise UnreachableError(str(error)) from None
    dialect, kept = _dialect(used, written), names(keep) or ()
    with _writing(output, *_files(csv_file), *_files(str(model))) as write:
        found = _predicted(csv_file, used, write, width=interval, level=level, keep=kept, dialect=dialect)
    share = used.interval.level if level is None and used.interval is not None else level
    for line in _said(found, used, share if interval == "observation" else None):
        print(visible(line, 2000), file=sys.stderr)
    return 0


def _files(named: str) -> tuple[Path, Path]:
    """What may be read of this machine where a CSV or a model is named: the file itself, or a model in its folder."""
    from gd.model import NAME  # noqa: PLC0415

    file = Path(unquote(named.removeprefix("file://")) if named.startswith("file://") else named)
    return file, file / NAME


def _said(found: Outcome, model: Model, level: float | None) -> Iterator[str]:
    """What the output does not say, in sentences.

    Args:
        found: what was predicted.
        model: which did.
        level: of the intervals, where they are of an observation.
    """
    if model.verdict == "disagree":
        yield f"The run's backends disagree; these are the weights of {model.backend}."
    elif not model.arrived:
        yield "The weights had not arrived at the optimum when training ended."
    if found.without:
        rows = f"{count(found.without)} of {_rows(found.rows)}"
        yield f"{rows} without a prediction: a feature is missing (first in line {found.first_without})."
    if found.lost:
        yield f"{_rows(found.lost)} without a prediction: it is more than float64 holds."
    if model.link != "logit" and model.interval is None:
        yield f"No intervals: {model.reasons.get('interval', 'the model has none')}."
    if found.no_target is not None:
        line, cell = found.no_target
        what = "a number" if model.classes is None else "one of the model's classes"
        yield f"Not compared with '{visible(model.target)}': '{visible(cell)}' in line {line} is not {what}."
    elif found.compared and model.classes is not None:
        share = f"{number(100 * found.right / found.compared, 3, plain=True)} %"
        yield f"{count(found.right)} of {_rows(found.compared)} ({share}) are of the class that was predicted."
    elif found.compared:
        said = f"RMSE {number(found.rmse, plain=True)} over {_rows(found.compared)}"
        if model.interval is not None and level is not None:
            share = f"{number(100 * found.right / found.compared, 3, plain=True)} %"
            said += f"; {count(found.right)} of them ({share}) lie within their {number(100 * level, plain=True)} % interval"
        yield f"{said}."


def _rows(many: int) -> str:
    return f"{count(many)} row{'' if many == 1 else 's'}"


def _dialect(model: Model, written: Written) -> Dialect:
    """As the model's data were written, but for what is said here."""
    from gd.dialect import Dialect  # noqa: PLC0415

    try:
        said = written.dialect()
        known: dict[str, Any] = model.dialect.model_dump()
        return Dialect(
            **known | {name: getattr(said, name) for name in said.model_fields_set if getattr(said, name) is not False}
        )
    except ValidationError as error:
        raise UsageError(first_fault(error)) from None


def _predicted(file: str, model: Model, write: Callable[[bytes], Any], **how: Any) -> Outcome:
    from gd import prediction  # noqa: PLC0415
    from gd.refusal import DataError  # noqa: PLC0415

    try:
        return prediction.predict(file, model, write, **how)
    except BrokenPipeError:
        raise
    except DataError as error:
        raise UnreachableError(str(error)) from None
    except OSError as error:
        raise UnreachableError(f"{file}: reading broke off ({error.strerror or error}). Try again.") from None


@contextmanager
def _writing(output: Path | None, *read: Path) -> Iterator[Callable[[bytes], Any]]:
    """What takes the bytes of the output: a file is there whole at the end, or as it was.

    Raises:
        UnreachableError: if they cannot be written.
    """
    from gd.archive import replacing  # noqa: PLC0415

    name = "standard output" if output is None else f"--output: {output}"
    if output is None and sys.__stdout__ is None:
        raise UnreachableError(f"{name}: is closed. Name a file with --output.")
    if output is not None and output.is_dir():
        raise UnreachableError(f"{name}: is a folder. Name a file in it.")
    if output is not None and output.exists() and any(one.exists() and output.samefile(one) for one in read):
        raise UnreachableError(f"{name}: is what is read. Name another file.")
    try:
        if output is None:
            opened: AbstractContextManager[BinaryIO] = nullcontext(sys.stdout.buffer)
        elif output.exists() and not output.is_file():  # a device or a pipe, which nothing may take the place of
            opened = output.open("wb")
        else:
            opened = replacing(output.resolve())
        with opened as file:

            def write(data: bytes) -> None:
                try:
                    file.write(data)
                except BrokenPipeError:
                    raise
                except OSError as error:  # which an error of reading must not be taken for
                    raise _unwritable(name, error) from None

            yield write
            file.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(name, error) from None


def _unwritable(name: str, error: OSError) -> UnreachableError:
    return UnreachableError(f"{name}: cannot be written ({error.strerror}). Name another file with --output.")
