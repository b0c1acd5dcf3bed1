"""Gradient descent, twice, reported.

Everything is imported when it is first used, so that ``import gd`` is quick and loads no framework.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "comparison",
    "DataError": "data",
    "Dataset": "data",
    "Diagnosis": "diagnosis",
    "Dialect": "dialect",
    "Moments": "moments",
    "Problem": "problems",
    "Reading": "reading",
    "Record": "record",
    "Source": "data",
    "Sweep": "sweep",
    "Trace": "training",
    "Training": "settings",
    "compare": "comparison",
    "diagnose": "diagnosis",
    "read": "reading",
    "read_csv": "reading",
    "render": "report",
    "standardize": "data",
    "train": "training",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  (the names are strings; the linter cannot see it)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gd' has no attribute {name!r}")
    return getattr(import_module(f"gd.{_HOMES[name]}"), name)
