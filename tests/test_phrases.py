"""The sentences of words.toml: each that is said is there, and each that is there is said."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import gd
from gd.look import Look
from gd.phrases import FOLDER, plural, say

CODE = sorted(Path(gd.__file__).parent.rglob("*.py"))
PAGES = sorted(path for path in FOLDER.rglob("*.j2") if "example" not in path.relative_to(FOLDER).parts)


def flat(tables: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The name of each sentence, its tables and a dot before it."""
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


WORDS = frozenset(flat(tomllib.loads((FOLDER / "words.toml").read_text(encoding="utf-8"))))


def literals(node: ast.AST) -> set[str]:
    """What an argument may be, as far as it stands there: a text, or either one of two."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def said_by(path: Path) -> set[str]:
    """The names that a file hands to `say` as they stand there."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".j2":
        calls = re.findall(r"""\bsay\(\s*(["'][\w.]+["'](?:\s+if\s[^"'~]+?\selse\s+["'][\w.]+["'])?)\s*[,)]""", text)
        return {name for call in calls for name in re.findall(r"""["']([\w.]+)["']""", call)}
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.args]
    names = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "say"]
    return {name for node in names for name in literals(node)}


def strings(path: Path) -> set[str]:
    """Every text in quotes in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".j2":
        return set(re.findall(r'"([^"\n]*)"', text)) | set(re.findall(r"'([^'\n]*)'", text))
    return {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_sentence_that_is_said_is_there() -> None:
    """In code and in templates, wherever the name stands there as it is."""
    said = {name for path in [*CODE, *PAGES] for name in said_by(path)}
    assert {"converged.reached", "coefficients.caption_optimum", "changes.nothing_else"} <= said  # of each way to say one
    assert {"changes.one_within", "changes.more_less"} <= said
    assert set() == said - WORDS


def test_every_sentence_that_is_there_is_said() -> None:
    """By its whole name, or by its last part where the name is put together; numbers of things by what they are of."""
    known = {text for path in [*CODE, *PAGES] for text in strings(path)}
    silent = {name for name in WORDS if name not in known and name.rpartition(".")[2] not in known}
    assert set() == {name for name in silent if not name.startswith("plural.")}


def test_a_number_of_things() -> None:
    """One, many, none, and thousands set apart."""
    assert ["1 epoch", "0 epochs", "1,234 rows"] == [plural(1), plural(0), plural(1234, "row")]


def test_what_nobody_has_written() -> None:
    """Is an error of ours, never an empty place."""
    with pytest.raises(KeyError, match=r"no\.such"):
        say("no.such")


def test_braces_in_a_name_are_no_braces(tmp_path: Path) -> None:
    """What comes from the data stays as it is, in our words and in the user's."""
    assert "weight of {x}" == say("changes.weight", feature="{x}")
    (tmp_path / "words.toml").write_text('[changes]\nweight = "Gewicht von {feature}"\n', encoding="utf-8")
    with Look(templates=str(tmp_path)).applied() as used:
        assert "Gewicht von {feature}" == say("changes.weight", feature="{feature}")
    assert [] == used.faults
    assert "weight of x" == say("changes.weight", feature="x")
