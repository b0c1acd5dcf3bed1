"""Backends turn a problem into an objective: θ ↦ J(θ), ∇J(θ), for one θ or many at once.

A backend is one module here, named after the framework that it imports, with two names in it: `TITLE`, how people write the
framework's name, and ``objective(problem)``. No backend knows a loss, and no loss knows a backend.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from gd.data import Array
from gd.problems import Problem

__all__ = ["Backend", "Objective", "available", "get"]

Objective = Callable[[Array], tuple[Any, Array]]
"""θ in the problem's dtype ↦ the loss and its gradient, of θ's shape and dtype.

For one θ, (p,), the loss is a float. For many at once, (m, p), it is (m,) in float64, and each row of the gradient is that of
its own loss: what one row holds, be it not finite, changes nothing in another.
"""


class Backend(NamedTuple):
    """A framework that can evaluate a problem and its gradient."""

    name: str
    title: str
    objective: Callable[[Problem], Objective]


def available() -> tuple[str, ...]:
    """Names of the backends whose framework is installed, NumPy first, without importing any of them."""
    names = sorted(name for name in _modules() if find_spec(name))
    return tuple(sorted(names, key=lambda name: name != "numpy"))


def get(name: str) -> Backend:
    """Import one backend.

    Raises:
        ValueError: if there is no backend of that name here.
    """
    if name not in available():
        install = f"; {name} comes with pip install 'gd[{name}]'" if name in _modules() else ""
        raise ValueError(f"no backend {name!r}: available are {', '.join(available())}{install}")
    module = import_module(f"{__name__}.{name}")
    return Backend(name, module.TITLE, module.objective)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]
