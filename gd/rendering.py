"""From a template to text: our templates, those of a user before them, and what is said where these do not work."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gd.look import current
from gd.notation import count, listed, number, ordinal, visible, when
from gd.phrases import FOLDER, plural, say
from gd.words import SYMBOLS, headline

if TYPE_CHECKING:
    from jinja2 import Environment, Template

__all__ = ["CONTEXT_VERSION", "attempt", "environment", "rendered"]

CONTEXT_VERSION = 1
"""Of the names that templates are given (templates/README.md): higher when one of them goes or means something else."""

_TEXTS = frozenset({"mail.txt.j2", "notice.txt.j2"})  # no markup, and so nothing to escape
_WHAT = {"report.html.j2": "report", "index.html.j2": "list of all reports", "mail.html.j2": "mail", "mail.txt.j2": "mail"}
_SAID = 300  # characters of an error

Made = TypeVar("Made")


def rendered(name: str, /, **context: Any) -> str:
    """A template's text: of the user's folder where there is one and it works, else of ours.

    Args:
        name: of the template.
        context: what it is given; templates/README.md describes it.
    """
    return attempt(name, lambda template: template.render(**context))


def attempt(name: str, make: Callable[[Template], Made]) -> Made:
    """What is made with a template: the user's, or ours where there is none or theirs does not work.

    What is wrong with theirs is told by the look in use (`gd.look.current`), with file and line.

    Args:
        name: of the template.
        make: given the template, and called again with ours where it raised something with theirs.
    """
    used = current()
    if used.folder is not None:
        used.environment = used.environment or environment(used.folder)
        try:
            return make(used.environment.get_template(name))
        except Exception as error:  # noqa: BLE001  (a user's template may raise anything; the report is not lost to it)
            used.add(f"{_fault(error, used.folder, name)} The standard {_WHAT.get(name, 'page')} stands in its place.")
    return make(environment().get_template(name))


def environment(folder: Path | None = None) -> Environment:
    """The Jinja environment: everything escaped but plain text, nothing undefined.

    Args:
        folder: of a user's templates, which are looked for before ours; ours are there as gd/NAME too, to be extended.
    """
    return _standard() if folder is None else _made(folder)


@lru_cache
def _standard() -> Environment:
    return _made(None)


def _made(folder: Path | None) -> Environment:
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined  # noqa: PLC0415

    ours = FileSystemLoader(FOLDER)
    theirs = [] if folder is None else [FileSystemLoader(folder)]
    made = Environment(
        loader=ChoiceLoader([PrefixLoader({"gd": ours}), *theirs, ours]),
        autoescape=_escaped,  # noqa: S701  (all but plain text)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": _unbroken(number), "unbroken": _unbroken(str), "count": count, "ordinal": ordinal, "listed": listed,
        "plural": plural, "visible": visible, "when": when,
    }  # fmt: skip
    made.globals |= {"SYMBOLS": SYMBOLS, "headline": headline, "say": say, "context_version": CONTEXT_VERSION}
    return made


def _unbroken(words: Callable[..., str]) -> Callable[..., str]:
    """A filter by whose words no line ends within a power of ten, where they stand in HTML."""
    from jinja2 import pass_eval_context  # noqa: PLC0415
    from jinja2.nodes import EvalContext  # noqa: PLC0415
    from markupsafe import Markup, escape  # noqa: PLC0415

    @pass_eval_context
    def filtered(context: EvalContext, *arguments: Any, **options: Any) -> str:
        text = words(*arguments, **options)
        if not context.autoescape:
            return text
        return Markup(str(escape(text)).replace(" × 10", "&nbsp;×&nbsp;10"))  # noqa: S704  (escaped just before)

    return filtered


def _escaped(name: str | None) -> bool:
    return name is None or name.removeprefix("gd/") not in _TEXTS


def _fault(error: Exception, folder: Path, name: str) -> str:
    """What is wrong, and in which line of which file: the innermost one of the user's, else the innermost one of ours."""
    from jinja2 import TemplateNotFound, TemplateSyntaxError  # noqa: PLC0415

    place = _place(error, folder, name)
    if isinstance(error, TemplateSyntaxError):
        said = error.message or "syntax error"
        place = f"{_shown(Path(error.filename), folder)}, line {error.lineno}" if error.filename else place
    elif isinstance(error, TemplateNotFound):
        said = f"there is no template {visible(str(error.name or error.message))}"
    elif isinstance(error, RecursionError):
        said = "it includes or extends itself without end; ours is there as gd/" + name
    elif isinstance(error, UnicodeDecodeError):
        said, place = "not UTF-8", _undecoded(error, folder) or place
    else:
        kind = "" if type(error).__module__.startswith("jinja2") else f"{type(error).__name__}: "
        said = f"{kind}{(str(error).splitlines() or [''])[0]}".rstrip(": ")
    return f"{visible(place, 400)}: {visible(said, _SAID).rstrip('.')}."


def _place(error: Exception, folder: Path, name: str) -> str:
    """Jinja puts a template's file and line in place of those of the code that it has made of it."""
    ours, theirs, others = FOLDER, None, None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(folder):
            theirs = f"{_shown(file, folder)}, line {line}"
        elif file.is_relative_to(ours):
            others = f"gd/{file.name}, line {line}"
    return theirs or others or str(folder / name)


def _shown(file: Path, folder: Path) -> str:
    return str(file) if file.is_relative_to(folder) else f"gd/{file.name}"


def _undecoded(error: UnicodeDecodeError, folder: Path) -> str | None:
    """The file whose bytes these are, which the error does not name."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.read_bytes() == error.object:
            return f"{file}, line {error.object.count(10, 0, error.start) + 1}"
    return None
