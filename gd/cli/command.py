"""The command itself: its errors, its exit status, and how it tells a verdict."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TextIO

from cyclopts import App, CycloptsError
from pydantic import ValidationError

import gd
from gd.notation import visible

__all__ = [
    "Stopped",
    "UnreachableError",
    "UsageError",
    "app",
    "first_fault",
    "is_plain",
    "main",
    "run_quietly",
    "server_is_named",
    "tell",
]

app = App(name="gd", version=gd.__version__, help="Gradient descent, twice, reported.", suppress_keyboard_interrupt=False)

_USAGE = 2


class UsageError(ValueError):
    """Words of the command that are off."""


class UnreachableError(RuntimeError):
    """What was asked could not be done, for a reason that is not the data's."""


class Stopped(KeyboardInterrupt):
    """A signal has stopped the command, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def main(words: list[str] | None = None) -> None:
    """Run the command and exit: 0 all done, 1 something failed, 2 the words were off, 128 + n stopped by signal n."""
    for stream in (sys.stdout, sys.stderr):  # cron's is ASCII
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        print(end="", flush=True)  # which is content with a standard output that is closed
    except (CycloptsError, UsageError) as error:
        print(f"gd: {visible(' '.join(str(error).split()), 2000)}", file=sys.stderr)
        print("Try: gd --help", file=sys.stderr)
        sys.exit(_USAGE)
    except UnreachableError as error:
        print(f"gd: {visible(str(error), 2000)}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter's end would say so
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt as stop:
        print("gd: stopped; finished reports are kept.", file=sys.stderr)
        sys.exit(stop.status if isinstance(stop, Stopped) else 128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
        gc.freeze()  # else the interpreter's end looks through all of torch and Prefect for garbage: half a second
    sys.exit(code if isinstance(code, int) else 0)


def run_quietly(level: str = "CRITICAL") -> None:
    """Before Prefect is imported: nothing is sent anywhere, and only this much of its log is shown."""
    authorities = os.environ.get("SSL_CERT_FILE")
    if authorities and not Path(authorities).is_file():
        raise UsageError(f"SSL_CERT_FILE: {authorities}: no such file.")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", level)


def server_is_named() -> bool:
    """Whether a server is set, in the environment or in Prefect's profiles and files."""
    if "PREFECT_API_URL" in os.environ:
        return bool(os.environ["PREFECT_API_URL"])
    from prefect.settings import get_current_settings  # noqa: PLC0415

    return get_current_settings().api.url is not None


def is_plain(verdict: str) -> bool:
    """Whether the stream that such a verdict is told on takes ASCII alone."""
    return (_stream(verdict).encoding or "").lower().replace("-", "") != "utf8"


def _stream(verdict: str) -> TextIO:
    return sys.stderr if verdict == "failed" else sys.stdout


def tell(verdict: str, name: str, headline: str, sentence: str, folder: str | None) -> None:
    """One data set's verdict and where its report is; a failure goes to standard error."""
    from gd.words import SYMBOLS  # noqa: PLC0415

    stream = _stream(verdict)
    symbol = "*" if is_plain(verdict) else SYMBOLS[verdict]
    print(f"{symbol} {visible(name)}: {headline}. {visible(sentence, 2000)}", file=stream)
    if folder:
        print(f"  {visible(str(Path(folder) / 'report.html'), 5000)}", file=stream)


def first_fault(error: ValidationError) -> str:
    """What is wrong with a setting, by the option's name."""
    faults = [fault for fault in error.errors() if fault["loc"][:1] == error.errors()[0]["loc"][:1]]
    # where a setting may be one of several things, what was wrong with the one that it came closest to
    fault = max(faults, key=lambda fault: (len(fault["loc"]), not fault["type"].endswith(("_type", "literal_error"))))
    place = next((str(part) for part in fault["loc"]), "").replace("_", "-")
    place = "validate" if place == "validation" else place
    said = fault["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if not place:  # about several settings, which it names itself
        return f"{said}."
    ended = fault["type"] in {"value_error", "too_long"}  # names the value itself
    return f"--{place}: {said}." if ended else f"--{place}: {said}, not {fault['input']!r}."
