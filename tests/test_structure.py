"""The rooms of the library and the one way in which its data flows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gd

ROOT = Path(gd.__file__).parent
CHAIN = (
    "notation", "look", "phrases", "refusal", "dialect", "arrays", "spilling", "cells", "remedies", "splitting", "sniffer",
    "table", "decoding", "stream", "blocks", "data", "columns", "signs", "moments", "device", "sampling", "scanning", "joining",
    "reading", "degeneracy", "validation", "inference", "settings", "problems", "optimum", "theory", "backends", "optimizers",
    "batches", "training", "sweep", "method", "limits", "comparison", "diagnosis", "descent", "sklearn", "record", "recording",
    "model", "coefficients", "history", "retention", "changes", "course", "cure", "epoch_table", "quality", "figures", "words",
    "rendering", "report", "overview", "archive", "prediction", "smtp", "mail", "outbox", "cli",
)  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_stands_in_the_chain() -> None:
    """A new room has its place among the others."""
    modules = {path.stem if path.is_file() else path.name for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    extra = {"__init__", "__main__", "__pycache__", "datasets", "templates"}
    assert set(CHAIN) == modules - extra


@pytest.mark.parametrize("module", CHAIN)
def test_imports_point_down_the_chain(module: str) -> None:
    """No room knows a later one, so that there is no circle."""
    place = CHAIN.index(module)
    files = [ROOT / f"{module}.py"] if (ROOT / f"{module}.py").exists() else sorted((ROOT / module).glob("*.py"))
    for file in files:
        known = {name.split(".")[1] for name in imports(file) if name.startswith("gd.")} & set(CHAIN)
        assert set() == {name for name in known if CHAIN.index(name) > place}


@pytest.mark.parametrize("module", [name for name in CHAIN if name != "cli"])
def test_only_the_command_knows_prefect(module: str) -> None:
    """The library runs without an orchestrator."""
    files = [ROOT / f"{module}.py"] if (ROOT / f"{module}.py").exists() else sorted((ROOT / module).glob("*.py"))
    for file in files:
        assert set() == {name for name in imports(file) if name.split(".")[0] in {"prefect", "flows"}}


def test_a_backend_knows_its_one_framework_and_no_loss() -> None:
    """Adding a backend is one file, and adding a loss touches none of them."""
    for file in sorted((ROOT / "backends").glob("*.py")):
        if file.stem == "__init__":
            continue
        foreign = {name.split(".")[0] for name in imports(file)} - set(sys.stdlib_module_names) - {"gd", "__future__"}
        assert foreign <= {file.stem}
        assert "least_squares" not in file.read_text(encoding="utf-8")


def test_importing_gd_loads_no_framework() -> None:
    """``import gd`` stays quick: torch, matplotlib, Prefect and NumPy are imported where they are used."""
    heavy = {"torch", "matplotlib", "prefect", "numpy", "pyarrow", "scipy", "sklearn"}
    code = f"import sys, gd; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]\n" == done.stdout


def test_public_names_can_be_reached() -> None:
    """Everything in ``gd.__all__`` is there, and an unknown name is an AttributeError."""
    for name in gd.__all__:
        assert getattr(gd, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gd.nothing
