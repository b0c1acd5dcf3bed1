"""Every backend, whatever its framework, does the same."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from gd import archive, backends
from gd.data import Array, Dataset, Source, bundled
from gd.problems import LOSSES, design, least_squares
from gd.settings import Training
from gd.words import sentence
from tests.conftest import run_tasks

NAMES = backends.available()


def test_available_backends_begin_with_numpy() -> None:
    """All three are installed here, and NumPy comes first."""
    assert ("numpy", "jax", "torch") == NAMES


def test_an_unknown_backend_is_refused() -> None:
    """The error names what there is."""
    with pytest.raises(ValueError, match=r"no backend 'abacus': available are numpy"):
        backends.get("abacus")


def test_a_backend_whose_framework_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX is an extra: without it the error names what is there and the command that installs it."""
    monkeypatch.setitem(sys.modules, "jax", None)  # as Python itself marks what cannot be imported
    assert ("numpy", "torch") == backends.available()
    with pytest.raises(
        ValueError, match=r"no backend 'jax': available are numpy, torch; jax comes with pip install 'gd\[jax\]'$"
    ):
        backends.get("jax")


def test_jax_keeps_to_32_bits_outside_of_the_backend(plane: Dataset) -> None:
    """A program that uses JAX beside this library finds its own precision unchanged."""
    import jax  # noqa: PLC0415

    before = jax.numpy.ones(1).dtype
    value, _ = backends.get("jax").objective(least_squares(plane.X, plane.y))(np.zeros(3))
    assert pytest.approx(float(plane.y @ plane.y) / len(plane.y), rel=1e-15) == value
    assert before == jax.numpy.ones(1).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_objective_keeps_types(name: str, dtype: str, plane: Dataset) -> None:
    """A loss is a Python float, a gradient an array in the problem's precision and θ's shape; θ is left alone."""
    A = design(plane.X, True, dtype)
    theta = np.full(4, 0.25, dtype)
    value, gradient = backends.get(name).objective(least_squares(A, plane.y.astype(dtype)))(theta)
    assert type(value) is float
    assert (np.dtype(dtype), (4,)) == (gradient.dtype, gradient.shape)
    assert theta.tolist() == [0.25] * 4


@pytest.mark.parametrize("name", NAMES)
def test_gradient_matches_central_differences(name: str, plane: Dataset) -> None:
    """Every backend's gradient agrees with central differences of its own loss."""
    objective = backends.get(name).objective(least_squares(design(plane.X, True), plane.y))
    theta = np.array([0.5, -1.0, 2.0, 3.0])
    expected = [(objective(theta + 1e-3 * e)[0] - objective(theta - 1e-3 * e)[0]) / 2e-3 for e in np.eye(4)]
    np.testing.assert_allclose(objective(theta)[1], expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_many_at_once_are_each_alone(name: str, dtype: str, plane: Dataset) -> None:
    """Of θ (m, p) come m losses in float64 and a gradient a row, as of each row alone; from one shape to another and back."""
    A = design(plane.X, True, dtype)
    objective = backends.get(name).objective(least_squares(A, plane.y.astype(dtype)))
    theta: Array = np.random.default_rng(1).normal(size=(5, 4)).astype(dtype)
    before = theta.copy()
    for many in (theta, theta[:2], theta[:1], theta):
        value, gradient = objective(many)
        assert ((len(many),), np.float64) == (value.shape, value.dtype)
        assert (many.shape, np.dtype(dtype)) == (gradient.shape, gradient.dtype)
        alone = [objective(row) for row in many]
        tolerance = 32 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(value, [loss for loss, _ in alone], rtol=tolerance)
        np.testing.assert_allclose(gradient, [each for _, each in alone], rtol=tolerance, atol=tolerance * 10)
    assert before.tobytes() == theta.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_not_finite_disturbs_no_other(name: str, plane: Dataset) -> None:
    """Beside infinities and NaN the other rows keep their numbers to the last bit."""
    objective = backends.get(name).objective(least_squares(design(plane.X, True), plane.y))
    theta: Array = np.random.default_rng(2).normal(size=(4, 4))
    value, gradient = objective(theta)
    theta[1], theta[3] = math.inf, math.nan
    with np.errstate(invalid="ignore"):
        beside, beside_gradient = objective(theta)
    assert [False, False] == np.isfinite(beside[1::2]).tolist()
    assert value[::2].tobytes() == beside[::2].tobytes()
    assert gradient[::2].tobytes() == beside_gradient[::2].tobytes()


@pytest.mark.parametrize("loss", LOSSES)
def test_all_backends_state_the_same_loss(loss: str, plane: Dataset) -> None:
    """The loss is one function, evaluated by each framework."""
    problem = LOSSES[loss](plane.X, plane.y)
    theta = np.array([0.1, 0.2, 0.3])
    values = [backends.get(name).objective(problem)(theta)[0] for name in NAMES]
    np.testing.assert_allclose(values, values[0], rtol=1e-14)


def test_torch_never_calls_the_gradient_derived_by_hand(plane: Dataset) -> None:
    """What makes the backends a check of each other: for the notebook's pair PyTorch still finds the true gradient."""
    theta = np.zeros(3)
    wrong = backends.get("torch").objective(LOSSES["notebook"](plane.X, plane.y))(theta)[1]
    right = backends.get("torch").objective(LOSSES["mse"](plane.X, plane.y))(theta)[1]
    assert right.tolist() == wrong.tolist()


def placed(array: Array, offset: int) -> Array:
    """A copy that begins so many bytes after a multiple of 64."""
    buffer = np.empty(array.nbytes + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape, order="F")
    copy[...] = array
    return copy


@pytest.mark.parametrize("rows", [50, 5003, 100_003])
@pytest.mark.parametrize("name", NAMES)
def test_the_last_bit_does_not_depend_on_memory(name: str, rows: int) -> None:
    """The same arrays anywhere in memory give the same bits: runs are reproducible on one machine."""
    rng = np.random.default_rng(7)
    X, y = np.asfortranarray(rng.normal(size=(rows, 7))), rng.normal(size=rows)
    theta = rng.normal(size=7)
    found = set()
    for offset in (0, 8, 24, 40):
        value, gradient = backends.get(name).objective(least_squares(placed(X, offset), placed(y, 64 - offset)))(theta)
        found.add((value, gradient.tobytes()))
    assert 1 == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_read_only_arrays_are_fine(name: str, plane: Dataset) -> None:
    """A mapped file that may not be written serves as data, without a warning."""
    X, y = plane.X.copy(order="F"), plane.y.copy()
    X.flags.writeable = y.flags.writeable = False
    value, _ = backends.get(name).objective(least_squares(X, y))(np.zeros(3))
    assert pytest.approx(float(plane.y @ plane.y) / 40) == value


def test_a_third_backend_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module put beside the others is found, trained, compared and reported, and nothing else is touched."""
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "math.py").write_text(
        "TITLE = 'Third'\n"
        "def objective(problem):\n"
        "    def evaluate(theta):\n"
        "        value, gradient = problem.value_and_gradient(theta, *problem.arrays)\n"
        "        return float(value), gradient\n"
        "    return evaluate\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path / "backends")])
    try:
        assert {*NAMES, "math"} == set(backends.available())
        source = Source(path=str(bundled("penguins")), target="body_mass_g")
        report = archive.read(run_tasks(source, Training(backends=("numpy", "torch", "math")), tmp_path))
    finally:
        sys.modules.pop("gd.backends.math", None)
    assert "converged" == report.record.verdict
    assert ["NumPy", "PyTorch", "Third"] == [fit.title for fit in report.record.fits]
    assert "NumPy, PyTorch and Third reached the optimum" in sentence(report.record)
    assert all(name in report.pictures[0].svg for name in ("NumPy", "PyTorch", "Third"))
