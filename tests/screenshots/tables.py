"""The tables of the README's section on steps and losses: ``python -m tests.screenshots.tables FOLDER`` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gd.data import Array

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write each table into a folder, the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in (("prices", _prices), ("visits", _visits), ("sensors", _sensors), ("few", _few)):
        header, table = made()
        np.savetxt(folder / f"{name}.csv", table, "%.6g", ",", header=header, comments="")


def _prices() -> tuple[str, Array]:
    """Two hundred flats; the prices of some large ones lack their last digit."""
    rng = np.random.default_rng(1)
    area, age = rng.uniform(30, 120, 200).round(), rng.integers(0, 60, 200)
    price = 40 + 3.2 * area - 0.9 * age + rng.normal(0, 15, 200)
    price[np.argsort(area)[120::5]] /= 10
    return "area,age,price", np.column_stack([area, age, price.round(1)])


def _visits() -> tuple[str, Array]:
    """Visits of a bath on three hundred days: counts."""
    rng = np.random.default_rng(2)
    warmth, weekend = rng.normal(20, 6, 300).round(1), rng.integers(0, 7, 300) > 4
    return "warmth,weekend,visits", np.column_stack(
        [warmth, weekend, rng.poisson(np.exp(0.4 + 0.07 * warmth + 0.6 * weekend))]
    )  # fmt: skip


def _sensors() -> tuple[str, Array]:
    """Six sensors that measure nearly the same, and the level that they are wanted for."""
    rng = np.random.default_rng(3)
    state = rng.normal(size=(400, 1)) + np.array([0.02, 0.03, 0.05, 0.1, 0.2, 0.4]) * rng.normal(size=(400, 6))
    level = state @ [3.0, -2.0, 1.0, -1.0, 1.0, 0.5] + rng.normal(0, 0.05, 400)
    return ",".join([*(f"s{j}" for j in range(1, 7)), "level"]), np.column_stack([state, level])


def _few() -> tuple[str, Array]:
    """Ninety rows and thirty features, of which five count: least squares takes noise for signal."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(90, 30)) + 0.8 * rng.normal(size=(90, 1))
    y = X[:, :5] @ [1.0, -0.8, 0.6, 0.5, -0.4] + rng.normal(0, 2.0, 90)
    return ",".join([*(f"x{j}" for j in range(1, 31)), "y"]), np.column_stack([X, y])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
