"""Moments of columns that lie in a framework's memory, against those of the same columns in NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gd.data import Array
from gd.device import moments
from gd.moments import Moments, merge
from tests.test_backends import PLACES, need
from tests.test_moments import close, noisy_plane

THERE = [place for place in PLACES if place[0] != "numpy"]


def put(name: str, device: str, column: Array) -> Any:
    """A column in a framework's memory."""
    if name == "torch":
        import torch  # noqa: PLC0415

        return torch.tensor(column, device=device)
    import jax  # noqa: PLC0415

    with jax.enable_x64(True):
        return jax.device_put(column, jax.devices(device)[0])


def tables() -> dict[str, tuple[Array, Array]]:
    """What is easy, and what the way there could lose."""
    rng = np.random.default_rng(4)
    X, y = noisy_plane(5000, 3)
    far, near = noisy_plane(5000, 3, mean=1e6), noisy_plane(300, 4, noise=1e-9)
    wide = rng.normal(size=(3, 6))
    constant = np.column_stack([np.full(40, 0.1), np.arange(40.0)])
    return {
        "plain": (X, y), "more than a block": noisy_plane(140_000, 2), "far from zero": far, "nearly exact": near,
        "exact": (X, X @ [1.0, 2.0, 3.0]), "wide": (wide, rng.normal(size=3)), "one row": (X[:1], y[:1]),
        "constant": (constant, np.arange(40.0)), "small": (1e-140 * X, y), "large": (1e150 * X, y),
        "twice": (np.column_stack([X, X[:, 0]]), y),
    }  # fmt: skip


@pytest.mark.parametrize("table", tables())
@pytest.mark.parametrize(("name", "device"), THERE)
def test_moments_found_there_are_those_found_here(name: str, device: str, table: str) -> None:
    """Means, sums of products and, as near as a loop over the rows finds it, what least squares leaves of the target."""
    need(name, device)
    X, y = tables()[table]
    expected, actual = Moments.of([*X.T.copy(), y]), moments([put(name, device, column) for column in (*X.T, y)])
    close(expected, actual)
    assert all(isinstance(part, np.ndarray) for part in (actual.R, actual.shift, actual.unit, actual.low, actual.high))
    assert expected.R.shape == actual.R.shape
    if len(actual.R) == len(y) == 3 or table == "twice":
        return
    left, of = abs(expected.R[-1, -1]), float(np.linalg.norm(expected.R[1:, -1]))
    assert abs(actual.R[-1, -1]) == pytest.approx(left, rel=1e-9, abs=1e-15 * of)


@pytest.mark.parametrize(("name", "device"), THERE)
def test_float32_loses_nothing_there(name: str, device: str) -> None:
    """The columns are taken as they are, in float64."""
    need(name, device)
    X, y = (part.astype(np.float32) for part in noisy_plane(3000, 2))
    expected = Moments.of([*X.T.astype(np.float64), y.astype(np.float64)])
    close(expected, moments([put(name, device, column) for column in (*X.T, y)]))


@pytest.mark.parametrize(("name", "device"), THERE)
def test_parts_found_anywhere_merge(name: str, device: str) -> None:
    """A part from a GPU and one from a file are one table; no rows are none."""
    need(name, device)
    X, y = noisy_plane(1000, 2)
    there = moments([put(name, device, column[600:]) for column in (*X.T, y)])
    close(Moments.of([*X.T.copy(), y]), merge(Moments.of([*X[:600].T.copy(), y[:600]]), there))
    assert 0 == moments([put(name, device, column[:0]) for column in (*X.T, y)]).n


def test_columns_of_no_framework_or_of_two_are_refused() -> None:
    """With the names of what was given."""
    column = np.arange(3.0)
    with pytest.raises(TypeError, match=r"columns of numpy, torch: give tensors of torch or arrays of jax"):
        moments([put("torch", "cpu", column), column])
    with pytest.raises(TypeError, match=r"Moments\.of takes NumPy's"):
        moments([column, column])


def test_columns_that_want_a_gradient_are_columns_too() -> None:
    """Nothing here asks for one."""
    import torch  # noqa: PLC0415

    x, y = torch.arange(5.0, requires_grad=True), torch.arange(5.0) ** 2
    close(Moments.of([np.arange(5.0), np.arange(5.0) ** 2]), moments([x, y]))
