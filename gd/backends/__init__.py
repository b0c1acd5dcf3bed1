"""Backends turn a problem into an objective: θ ↦ J(θ), ∇J(θ), for one θ or many at once.

A backend is one module here, named after the framework that it imports, with two names in it: `TITLE`, how people write the
framework's name, and ``objective(problem)``. No backend knows a loss, and no loss knows a backend. One that can compute beside
the CPU has a third name, ``devices()``, the devices usable now by their names, each with its title; its `objective` then takes
such a name after the problem.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from gd.data import Array
from gd.problems import Problem

__all__ = ["Backend", "Objective", "available", "get", "settled"]

Objective = Callable[[Array], tuple[Any, Array]]
"""θ in the problem's dtype ↦ the loss and its gradient, of θ's shape and dtype.

For one θ, (p,), the loss is a float. For many at once, (m, p), it is (m,) in float64, and each row of the gradient is that of
its own loss: what one row holds, be it not finite, changes nothing in another.
"""


class Backend(NamedTuple):
    """A framework that can evaluate a problem and its gradient."""

    name: str
    title: str
    bind: Callable[..., Objective]  # (problem), or (problem, device) where there is more than the CPU
    titles: Callable[[], dict[str, str]]  # () -> name of each usable device: how people write it

    def objective(self, problem: Problem, device: str = "cpu") -> Objective:
        """Bind a problem: from then on its arrays stand in the device's memory.

        Args:
            problem: what is minimised.
            device: where, one of `devices`.

        Raises:
            ValueError: if the device cannot be used here.
        """
        if device == "cpu":
            return self.bind(problem)
        if device not in self.devices():
            raise ValueError(f"{self.title} has no device {device!r} here: usable are {', '.join(self.devices())}")
        return self.bind(problem, device)

    def devices(self) -> tuple[str, ...]:
        """Names of the devices that can be used now, `cpu` first."""
        return tuple(self.titles())

    def device_title(self, device: str) -> str:
        """How people write a usable device: `cpu`, or `cuda (NVIDIA H100)` with the GPU's own name."""
        return self.titles()[device]


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
    return Backend(name, module.TITLE, module.objective, getattr(module, "devices", _only_the_cpu))


def settled(names: Sequence[str], device: str) -> dict[str, str]:
    """On which device each backend of a run computes.

    A backend without a GPU, as NumPy always is, stays on the CPU beside those that have one.

    Args:
        names: of the run's backends.
        device: `cpu`; `cuda`, a GPU by all that have it; or `auto`, which is the same and content with none.

    Returns:
        The device by the backend's name, in the order given.

    Raises:
        ValueError: if `cuda` is wanted and no backend has it, or there is no such device or backend.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise ValueError(f"no device {device!r}: there are auto, cpu and cuda")
    if device == "cpu":
        return dict.fromkeys(names, "cpu")
    found = {name: "cuda" if "cuda" in get(name).devices() else "cpu" for name in names}
    if device == "cuda" and "cuda" not in found.values():
        titles = ", ".join(get(name).title for name in names)
        raise ValueError(
            f"no device 'cuda' for {titles}: it takes an NVIDIA GPU with its driver and a backend built for CUDA "
            "(torch, or jax with pip install 'jax[cuda12]'); cpu and auto go without"
        )
    return found


def _only_the_cpu() -> dict[str, str]:
    return {"cpu": "cpu"}


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]
