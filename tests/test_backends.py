"""Every backend, whatever its framework, does the same."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gd import archive, backends
from gd.data import Array, Dataset, Source, bundled
from gd.optimizers import gradient_descent
from gd.problems import Problem, aligned, design, huber, least_squares, logistic, poisson, ridge
from gd.settings import Training
from gd.training import train
from gd.words import sentence
from tests.conftest import LOSSES, run_tasks

NAMES = backends.available()
PLACES = [(name, device) for name in NAMES for device in ("cpu", "cuda") if (name, device) != ("numpy", "cuda")]


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


def need(name: str, device: str) -> None:
    """Skip where the backend has no such device."""
    if device not in backends.get(name).devices():
        pytest.skip("no GPU")


def every_loss(dtype: str) -> list[Problem]:
    """All of them over a hundred rows of five features and an intercept."""
    rng = np.random.default_rng(11)
    X = design(rng.normal(size=(100, 5)), True, dtype)
    y: Array = rng.poisson(2.0, size=100).astype(dtype)
    penalised = np.array([1.0, 1, 1, 1, 1, 0])
    return [least_squares(X, y), huber(X, y, 1.5), logistic(X, (y > 1).astype(dtype)), poisson(X, y),
            ridge(least_squares(X, y), 0.1, penalised)]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "device"), PLACES)
def test_every_device_finds_what_numpy_finds(name: str, device: str, dtype: str) -> None:
    """Loss and gradient of one θ and of several are NumPy's to the precision asked for: TF32 would miss float32 by 1e-3."""
    need(name, device)
    rng, tolerance = np.random.default_rng(12), 64 * float(np.finfo(dtype).eps)
    for problem in every_loss(dtype):
        objective, expected = backends.get(name).objective(problem, device), backends.get("numpy").objective(problem)
        for shape in ((6,), (300, 6)):
            theta: Array = (0.3 * rng.normal(size=shape)).astype(dtype)
            value, gradient = objective(theta)
            loss, slope = expected(theta)
            np.testing.assert_allclose(value, loss, rtol=tolerance)
            np.testing.assert_allclose(gradient, slope, rtol=tolerance, atol=tolerance * float(np.abs(slope).max()))
            assert (np.dtype(dtype), shape) == (gradient.dtype, gradient.shape)


@pytest.mark.parametrize(("name", "device"), PLACES)
def test_a_descent_is_the_same_on_every_device(name: str, device: str, plane: Dataset) -> None:
    """A hundred epochs of the loop pass the weights that NumPy passes, to 1e-12, and twice the same bits."""
    need(name, device)
    problem = least_squares(design(plane.X, True), plane.y)
    expected = train(backends.get("numpy").objective(problem), 4, gradient_descent(0.1), epochs=100)
    one, two = (train(backends.get(name).objective(problem, device), 4, gradient_descent(0.1), epochs=100) for _ in "ab")
    np.testing.assert_allclose(one.theta, expected.theta, rtol=1e-12, atol=1e-14)
    assert one.theta.tobytes() == two.theta.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_across_a_border_as_over_shared_memory(dtype: str) -> None:
    """What a GPU is served with, copies there and back, gives on the CPU the bits that shared memory gives."""
    import torch  # noqa: PLC0415

    from gd.backends.torch import _across  # noqa: PLC0415  (the road to a GPU, tested where there is none)

    before, rng = torch.get_float32_matmul_precision(), np.random.default_rng(13)
    for problem in every_loss(dtype):
        shared, copied = backends.get("torch").objective(problem), _across(problem, torch.device("cpu"))
        for shape in ((6,), (3, 6), (6,)):
            theta: Array = aligned(shape, dtype)
            theta[...] = 0.3 * rng.normal(size=shape)
            theta.flags.writeable = False
            value, gradient = shared(theta)
            there, back = copied(theta)
            assert (type(value), np.asarray(value).tobytes()) == (type(there), np.asarray(there).tobytes())
            assert (gradient.dtype, gradient.tobytes()) == (back.dtype, back.tobytes())
    assert before == torch.get_float32_matmul_precision()


def test_jax_computes_on_the_device_that_it_is_told() -> None:
    """Of two devices, as JAX makes them out of one CPU, the arrays stand on the first, though another is JAX's own choice."""
    code = (
        "import jax, numpy as np\n"
        "from gd import backends, problems\n"
        "jax.config.update('jax_default_device', jax.devices('cpu')[1])\n"
        "X = np.ones((3, 1))\n"
        "objective = backends.get('jax').objective(problems.least_squares(X, X[:, 0]))\n"
        "print(objective(np.zeros(1))[0], sorted({array.device.id for array in jax.live_arrays()}))\n"
    )
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120)
    assert "1.0 [0]\n" == done.stdout


def test_jax_compiles_a_program_once_and_never_takes_one_for_another(plane: Dataset) -> None:
    """Problems of one shape share what was compiled, unless a constant differs, be it by its last bit; unused, it goes."""
    from gd.backends import jax  # noqa: PLC0415

    gc.collect()
    before, theta = len(jax._compiled), np.array([1.5, -2.0, 0.5])
    delta = 0.7
    parts = [(plane.X[rows], plane.y[rows]) for rows in (slice(0, 15), slice(15, 30), slice(30, 40))]
    bound = [backends.get("jax").objective(huber(X, y, delta)) for X, y in parts]
    values = [objective(theta)[0] for objective in bound]
    assert 2 == len(jax._compiled) - before  # of 15 rows and of 10
    np.testing.assert_allclose(values, [backends.get("numpy").objective(huber(X, y, delta))(theta)[0] for X, y in parts])
    other = backends.get("jax").objective(huber(*parts[0], math.nextafter(delta, 1)))
    other(theta)
    assert 3 == len(jax._compiled) - before
    del bound, other
    gc.collect()
    assert before == len(jax._compiled)


def test_a_device_that_is_not_there_is_refused(plane: Dataset) -> None:
    """The error names the backend, the device and what can be used."""
    problem = least_squares(plane.X, plane.y)
    with pytest.raises(ValueError, match=r"^NumPy has no device 'cuda' here: usable are cpu$"):
        backends.get("numpy").objective(problem, "cuda")
    with pytest.raises(ValueError, match=r"^PyTorch has no device 'abacus' here: usable are cpu"):
        backends.get("torch").objective(problem, "abacus")


def test_every_backend_has_the_cpu() -> None:
    """It is the first device and called what it is; a GPU has its own name behind it."""
    for name in NAMES:
        backend = backends.get(name)
        assert "cpu" == backend.devices()[0] == backend.device_title("cpu")
        assert all(backend.device_title(device).startswith(f"{device} (") for device in backend.devices()[1:])
    assert ("cpu",) == backends.get("numpy").devices()


def test_a_run_without_a_gpu_settles_on_the_cpu() -> None:
    """NumPy stays on the CPU whatever is asked for beside others, and a GPU that nobody has is refused with the remedy."""
    assert {"numpy": "cpu", "torch": "cpu"} == backends.settled(("numpy", "torch"), "cpu")
    assert {"numpy": "cpu"} == backends.settled(("numpy",), "auto")
    with pytest.raises(ValueError, match=r"^no device 'cuda' for NumPy: it takes an NVIDIA GPU .*; cpu and auto go without$"):
        backends.settled(("numpy",), "cuda")
    with pytest.raises(ValueError, match=r"^no device 'tpu': there are auto, cpu and cuda$"):
        backends.settled(("numpy",), "tpu")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_auto_takes_the_gpu_where_there_is_one(name: str) -> None:
    """By `auto` and by `cuda` alike, NumPy beside it on the CPU."""
    need(name, "cuda")
    expected = {"numpy": "cpu", name: "cuda"}
    assert expected == backends.settled(("numpy", name), "auto") == backends.settled(("numpy", name), "cuda")


def test_a_backend_names_its_own_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plane: Dataset) -> None:
    """One with `devices` in it is settled on what it says, is bound there, and its title is what people read."""
    (tmp_path / "cmath.py").write_text(
        "TITLE = 'Third'\n"
        "def devices():\n"
        "    return {'cpu': 'cpu', 'cuda': 'cuda (Third)'}\n"
        "def objective(problem, device='cpu'):\n"
        "    return lambda theta: (float(len(device)), theta)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    try:
        assert {"numpy": "cpu", "cmath": "cuda"} == backends.settled(("numpy", "cmath"), "auto")
        assert {"cmath": "cuda", "numpy": "cpu"} == backends.settled(("cmath", "numpy"), "cuda")
        third, problem = backends.get("cmath"), least_squares(plane.X, plane.y)
        assert "cuda (Third)" == third.device_title("cuda")
        assert [3.0, 4.0] == [third.objective(problem, device)(np.zeros(3))[0] for device in third.devices()]
    finally:
        sys.modules.pop("gd.backends.cmath", None)


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
        report = archive.read(run_tasks(source, Training(backends=("numpy", "torch", "math")), tmp_path, draw=False))
    finally:
        sys.modules.pop("gd.backends.math", None)
    assert "converged" == report.record.verdict
    assert ["NumPy", "PyTorch", "Third"] == [fit.title for fit in report.record.fits]
    assert "NumPy, PyTorch and Third reached the optimum" in sentence(report.record)
    assert all(name in report.pictures[0].svg for name in ("NumPy", "PyTorch", "Third"))
