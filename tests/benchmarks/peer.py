"""One way from a CSV to the weights of its least-squares fit: ``python -m tests.benchmarks.peer NAME CSV [EPOCHS]``.

It prints JSON: the weights with the intercept last, in the units of the CSV, and the seconds of each phase. Every column but
the last is a feature. Each way imports its own libraries alone, in its own function, and is set up in its favour: float64
where it can, no penalty, a rate that suits standard normal columns, no more epochs than it needs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

__all__ = ["EPOCHS", "PEERS", "Peer"]

EPOCHS = 10_000  # that gd logs; the others take what they need
BUDGET = 20.0  # seconds of fitting, for the ways that would go on for ever

_RATE = 0.4  # of full-batch descent in X and y as they are: the curvature is 2 in every direction, or nearly
_FLAT = 1e-9  # the gradient's share of its first norm at which full-batch descent stops

_phases: dict[str, float] = {}


class Peer(NamedTuple):
    """A way to the weights."""

    title: str
    packages: tuple[str, ...]  # that must be installed
    fit: Callable[[str], Any]  # path of the CSV -> weights, intercept last


@contextmanager
def _phase(name: str) -> Iterator[None]:
    began = perf_counter()
    yield
    _phases[name] = _phases.get(name, 0.0) + perf_counter() - began


# --- this project -----------------------------------------------------------------------------------------------------------


def gd_numpy(path: str) -> Any:
    """One backend."""
    return _gd(path, ("numpy",))


def gd_both(path: str) -> Any:
    """Both backends, one after the other."""
    return _gd(path, ("numpy", "torch"))


def _gd(path: str, names: tuple[str, ...]) -> Any:
    """Read into moments, standardise, train with every backend and keep the log: what a run does between CSV and report.

    A framework is imported on a thread, beside the reading.
    """
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else EPOCHS
    with _phase("import"):
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        from gd import backends  # noqa: PLC0415
        from gd.data import Source  # noqa: PLC0415
        from gd.diagnosis import spectrum  # noqa: PLC0415
        from gd.optimizers import gradient_descent  # noqa: PLC0415
        from gd.problems import from_moments  # noqa: PLC0415
        from gd.reading import read  # noqa: PLC0415
        from gd.training import train  # noqa: PLC0415
    with _phase("read"), ThreadPoolExecutor(1) as importing:
        loaded = importing.map(backends.get, names)
        moments = read([path], Source(path=path, target="y")).moments
        made = list(loaded)
    with _phase("fit"):
        scaling = moments.scaling(center=True)
        problem = from_moments(moments, scaling, intercept=True)
        A, b = problem.arrays
        step = gradient_descent(spectrum(A, b).auto_rate)
        p = problem.arrays[0].shape[1]
        traces = [train(backend.objective(problem), p, step, epochs=epochs) for backend in made]
        return scaling.to_units(traces[-1].theta[-1], intercept=True)


# --- the others -------------------------------------------------------------------------------------------------------------


def _read(path: str) -> tuple[Any, Any]:
    """X and y, (n, d) and (n,), by pandas."""
    with _phase("import"):
        import pandas as pd  # noqa: PLC0415
    with _phase("read"):
        table = pd.read_csv(path).to_numpy()
        return table[:, :-1], table[:, -1]


def _weights(model: Any) -> list[float]:
    """Of a fitted scikit-learn model."""
    return [*model.coef_, float(model.intercept_)]


def sklearn_linear(path: str) -> Any:
    """Divide and conquer by LAPACK (gelsd)."""
    with _phase("import"):
        from sklearn.linear_model import LinearRegression  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        return _weights(LinearRegression().fit(X, y))


def sklearn_linear_arrow(path: str) -> Any:
    """The same after pyarrow, by a column at a time: what a careful user would do."""
    with _phase("import"):
        import numpy as np  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415
        from sklearn.linear_model import LinearRegression  # noqa: PLC0415
    with _phase("read"):
        *features, y = (column.to_numpy() for column in csv.read_csv(path).columns)
        X = np.column_stack(features)
    with _phase("fit"):
        return _weights(LinearRegression(copy_X=False).fit(X, y))


def sklearn_lsqr(path: str) -> Any:
    """Conjugate directions."""
    with _phase("import"):
        from sklearn.linear_model import Ridge  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        return _weights(Ridge(alpha=0, solver="lsqr", tol=1e-12).fit(X, y))


def sklearn_sag(path: str) -> Any:
    """Stochastic average gradient."""
    with _phase("import"):
        from sklearn.linear_model import Ridge  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        return _weights(Ridge(alpha=0, solver="sag", tol=1e-9, max_iter=1000, random_state=0).fit(X, y))


def sklearn_sgd(path: str) -> Any:
    """Stochastic gradient, averaged."""
    with _phase("import"):
        from sklearn.linear_model import SGDRegressor  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        model = SGDRegressor(penalty=None, average=True, eta0=0.001, max_iter=20, tol=None, random_state=0)
        return [*model.fit(X, y).coef_, float(model.intercept_[0])]


def statsmodels_ols(path: str) -> Any:
    """Ordinary least squares with its statistics."""
    with _phase("import"):
        from statsmodels.api import OLS  # noqa: PLC0415
        from statsmodels.tools import add_constant  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        return OLS(y, add_constant(X, prepend=False)).fit().params


def _tensors(path: str, ones: bool) -> tuple[Any, Any]:
    with _phase("import"):
        import torch  # noqa: PLC0415
    X, y = map(torch.from_numpy, _read(path))
    return torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], dim=1) if ones else X.contiguous(), y.contiguous()


def torch_lstsq(path: str) -> Any:
    """LAPACK through torch."""
    X, y = _tensors(path, ones=True)
    with _phase("fit"):
        import torch  # noqa: PLC0415

        return torch.linalg.lstsq(X, y[:, None]).solution[:, 0].tolist()


def torch_full_batch(path: str) -> Any:
    """The loop that people write: a linear layer, its loss, an optimizer, all rows at once."""
    X, y = _tensors(path, ones=False)
    with _phase("import"):
        import torch  # noqa: PLC0415

        layer = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)
        optimizer = torch.optim.SGD(layer.parameters(), lr=_RATE)
    with _phase("fit"):
        flat = 0.0
        for epoch in range(1000):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(layer(X)[:, 0], y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            size = sum(float(p.grad.square().sum()) for p in layer.parameters() if p.grad is not None) ** 0.5
            flat = flat if epoch else _FLAT * size
            if size <= flat:
                break
        return [*layer.weight[0].tolist(), layer.bias.item()]


def torch_mini_batches(path: str) -> Any:
    """A DataLoader, batches of 1,000 rows, the rate halved after each epoch."""
    X, y = _tensors(path, ones=False)
    with _phase("import"):
        import torch  # noqa: PLC0415
        from torch.utils.data import DataLoader, TensorDataset  # noqa: PLC0415

        layer = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with _phase("fit"):
        loader = DataLoader(TensorDataset(X, y), batch_size=1000, shuffle=True)
        fade = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        began = perf_counter()
        while perf_counter() - began < BUDGET:
            for some, their_y in loader:
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(layer(some)[:, 0], their_y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            fade.step()
        return [*layer.weight[0].tolist(), layer.bias.item()]


def lightning_full_batch(path: str) -> Any:
    """Lightning's trainer with all rows as one batch: its mini-batches are those of the DataLoader above."""
    X, y = _tensors(path, ones=False)
    with _phase("import"):
        import lightning  # noqa: PLC0415
        import torch  # noqa: PLC0415
        from torch.utils.data import DataLoader  # noqa: PLC0415

        class Plane(lightning.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)

            def training_step(self, batch: Any, number: int) -> Any:
                return torch.nn.functional.mse_loss(self.layer(batch[0])[:, 0], batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=_RATE)

    with _phase("fit"):
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = lightning.Trainer(max_epochs=15, accelerator="cpu", precision="64-true", **quiet)
        model = Plane()
        trainer.fit(model, DataLoader([(X, y)], batch_size=None))  # type: ignore[arg-type]
        return [*model.layer.weight[0].tolist(), model.layer.bias.item()]


def xgboost_linear(path: str) -> Any:
    """gblinear, which holds its rows and its sums in float32."""
    with _phase("import"):
        import xgboost  # noqa: PLC0415
    X, y = _read(path)
    with _phase("fit"):
        settings = {"booster": "gblinear", "eta": 1, "reg_lambda": 0, "reg_alpha": 0, "base_score": 0.0}
        booster = xgboost.train(settings, xgboost.DMatrix(X, label=y), num_boost_round=10)
        found = json.loads(booster.get_dump(dump_format="json")[0])
        return [*found["weight"], *found["bias"]]


def vowpal_wabbit(path: str) -> Any:
    """Vowpal Wabbit over its own text format, ten passes; of the ways that it has, the one that came nearest here."""
    with _phase("import"):
        from vowpalwabbit.pyvw import Workspace  # noqa: PLC0415
    X, y = _read(path)
    with tempfile.TemporaryDirectory() as folder:
        text = f"{folder}/rows"
        with _phase("read"), open(text, "w", encoding="ascii") as file:  # noqa: PTH123
            line = "%.8f |" + "".join(f" x{j}:%.8f" for j in range(X.shape[1])) + "\n"
            file.writelines(line % (target, *row) for target, row in zip(y.tolist(), X.tolist(), strict=True))
        with _phase("fit"):
            passes = "--sgd --passes 10 --decay_learning_rate 0.5 --holdout_off"
            model = Workspace(f"--quiet -d {text} -k --cache_file {folder}/cache {passes}")
            found = [model.get_weight_from_name(f"x{j}") for j in range(X.shape[1])]
            found.append(model.get_weight(11650396))  # the hash that stands for the constant
            model.finish()
            return found


PEERS = {
    "gd-numpy": Peer("gd, NumPy, 10,000 logged epochs", ("numpy",), gd_numpy),
    "gd-both": Peer("gd, both backends, 10,000 logged epochs each", ("torch",), gd_both),
    "sklearn-linear": Peer("scikit-learn `LinearRegression`", ("pandas", "sklearn"), sklearn_linear),
    "sklearn-linear-arrow": Peer("scikit-learn `LinearRegression` after pyarrow", ("sklearn",), sklearn_linear_arrow),
    "sklearn-lsqr": Peer("scikit-learn `Ridge`, lsqr", ("pandas", "sklearn"), sklearn_lsqr),
    "sklearn-sag": Peer("scikit-learn `Ridge`, sag", ("pandas", "sklearn"), sklearn_sag),
    "sklearn-sgd": Peer("scikit-learn `SGDRegressor`, averaged, 20 epochs", ("pandas", "sklearn"), sklearn_sgd),
    "statsmodels": Peer("statsmodels `OLS`", ("pandas", "statsmodels"), statsmodels_ols),
    "torch-lstsq": Peer("`torch.linalg.lstsq`", ("pandas", "torch"), torch_lstsq),
    "torch-full-batch": Peer("torch, full batch, `optim.SGD`", ("pandas", "torch"), torch_full_batch),
    "torch-mini-batches": Peer("torch, `DataLoader` of 1,000 rows a batch", ("pandas", "torch"), torch_mini_batches),
    "lightning": Peer("Lightning, full batch", ("pandas", "torch", "lightning"), lightning_full_batch),
    "xgboost": Peer("xgboost gblinear", ("pandas", "xgboost"), xgboost_linear),
    "vowpal-wabbit": Peer("Vowpal Wabbit, `--sgd`, 10 passes", ("pandas", "vowpalwabbit"), vowpal_wabbit),
}
"""Every way by its name on the command line, this project's first."""

if __name__ == "__main__":
    weights = PEERS[sys.argv[1]].fit(sys.argv[2])
    print(json.dumps({"weights": [float(weight) for weight in weights], "seconds": _phases}))
