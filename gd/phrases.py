"""Words for people: the sentences of templates/words.toml by their names, in the user's words where they have any."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gd.look import Applied, current
from gd.notation import count, visible

__all__ = ["FOLDER", "plural", "say"]

FOLDER = next(
    folder for folder in (Path(__file__).parent / "templates", Path(__file__).parents[1] / "templates") if folder.is_dir()
)
"""Of our templates: beside the code in an installed wheel, at the top of the repository in a clone."""


def say(name: str, /, **values: Any) -> str:
    """A sentence of words.toml with its numbers and names: in the user's words where they have any.

    Args:
        name: of the sentence, its table and a dot before it.
        values: what stands in its braces.
    """
    return _spoken(current()).get(name, _words()[name]).format(**values)


def plural(number: int, what: str = "epoch") -> str:
    """A number of things, in the words of the table `plural`.

    Args:
        number: of them.
        what: one of them is called there.
    """
    return say(f"plural.{what}{'' if number == 1 else 's'}", count=count(number))


@lru_cache
def _words() -> Mapping[str, str]:
    return _flat(tomllib.loads((FOLDER / "words.toml").read_text(encoding="utf-8")))


def _spoken(applied: Applied) -> Mapping[str, str]:
    """The sentences that the user's folder has in other words; what is wrong with one is said, and ours stands for it."""
    if applied.words is None:
        applied.words = {}
        file = applied.folder / "words.toml" if applied.folder is not None else None
        if file is not None and file.exists():
            applied.words = _read(file, applied)
    return applied.words


def _read(file: Path, applied: Applied) -> dict[str, str]:
    ours, theirs = _words(), dict[str, str]()
    try:
        text = file.read_text(encoding="utf-8")
        found = _flat(tomllib.loads(text))
    except (OSError, ValueError) as error:
        applied.add(f"{file}: {str(error).splitlines()[0].rstrip('.')}. The standard words stand in its place.")
        return theirs
    for name, given in found.items():
        said = _wrong(name, given, ours)
        if not said:
            theirs[name] = given
            continue
        key = re.search(rf"^\s*[\"']?{re.escape(name.rpartition('.')[2])}[\"']?\s*=", text, re.MULTILINE)
        line = f", line {text.count(chr(10), 0, key.end()) + 1}" if key else ""
        applied.add(f"{file}{line}: {visible(name)}: {said}. The standard words stand in its place.")
    return theirs


def _wrong(name: str, given: object, ours: Mapping[str, str]) -> str:
    """Why a sentence cannot stand for ours; empty where it can."""
    if name not in ours:
        return "there are no such words"
    if not isinstance(given, str):
        return "is no text"
    try:
        names, known = (
            {field for _, field, _, _ in string.Formatter().parse(text) if field is not None} for text in (given, ours[name])
        )
        given.format(**dict.fromkeys(known, "x"))
    except (ValueError, LookupError, AttributeError) as error:
        names, known = set(re.findall(r"{([^{}]*)}", given)), set(re.findall(r"{(\w+)}", ours[name]))
        if names <= known:
            return f"{error}".rstrip(".")
    if strange := sorted(names - known):
        there = f"there is {' and '.join(f'{{{one}}}' for one in sorted(known))}" if known else "it has no names in braces"
        return f"knows no {{{visible(strange[0])}}}: {there}"
    return ""


def _flat(tables: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables as names with dots."""
    found: dict[str, Any] = {}
    for name, value in tables.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
