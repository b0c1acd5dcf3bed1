"""How soon each optimizer is near the optimum: ours at the rates that `auto` finds, beside what people use for that."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from gd import backends
from gd.backends import Objective
from gd.batches import batches, bound, minibatch
from gd.data import Array, standardize
from gd.descent import settle
from gd.moments import Moments
from gd.optimizers import line_search
from gd.problems import Problem, design, least_squares, logistic
from gd.settings import Training
from gd.training import train
from tests.benchmarks.page import machine, row, table, verdict

__all__ = ["AIMED", "CASES", "WAYS", "Arrival", "Bound", "Case", "Data", "correlated", "made", "measure", "report"]

_CLOSE = 1e-6  # of the first excess loss: near the optimum
_BATCH, _BATCH_EPOCHS = 100, 500
_PEER_EPOCHS = 10_000
_NOISE = 0.3  # standard deviation; that of what the features explain is 1
_QUICK = 0.5  # seconds: what took less is measured again
_PACKAGES = ("numpy", "torch", "scipy", "scikit-learn")


class Case(NamedTuple):
    """One data set and one loss."""

    name: str
    loss: str  # "mse" or "logistic"
    condition: float  # of the features' correlations
    epochs: int  # `--epochs` of ours
    moments: bool = False  # train on moments instead of rows
    n: int = 10_000
    d: int = 20


CASES = (
    Case("mean squared error, condition number 10", "mse", 1e1, 1000),
    Case("mean squared error, condition number 10⁴", "mse", 1e4, 10_000),
    Case("mean squared error, condition number 10⁶", "mse", 1e6, 10_000),
    Case("mean squared error from moments, condition number 10⁴", "mse", 1e4, 100_000, moments=True),
    Case("logistic loss, features of condition number 10⁴", "logistic", 1e4, 10_000),
)


class Bound(NamedTuple):
    """How long a way may go on."""

    epochs: int = _PEER_EPOCHS  # of the others; ours have those of the case
    seconds: float = 4.0


class Arrival(NamedTuple):
    """What became of one way on one case."""

    way: str
    arrived: bool
    epochs: int
    seconds: float  # until it arrived, settings found and all; or until it ended
    left: float  # of the first excess loss, at the end


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A case's table, and the loss to reach."""

    X: Array  # standardised features, (n, d)
    y: Array  # (n,)
    A: Array  # what ours descend on: the design matrix, or the compressed table
    b: Array  # and its targets
    start: float  # loss of zero weights
    optimum: float  # least loss
    condition: float  # of the Hessian at the optimum

    @property
    def goal(self) -> float:
        """The loss at which a way has arrived."""
        return self.optimum + _CLOSE * (self.start - self.optimum)

    def left(self, loss: float) -> float:
        """Share of the first excess loss."""
        return (loss - self.optimum) / (self.start - self.optimum)


class _EndError(Exception):
    """A descent has arrived, or its time is over."""


class _Watch:
    """Counts the losses that a descent has seen, one an epoch, and ends it."""

    def __init__(self, data: Data, epochs: int, seconds: float) -> None:
        self._goal, self._left, self._most = data.goal, data.left, epochs
        self.epochs, self.loss = -1, math.inf  # the first loss is seen before the first epoch
        self.began = perf_counter()
        self._until = self.began + seconds
        self.spent = 0.0

    def see(self, loss: float) -> None:
        """Another loss."""
        self.epochs += 1
        self.loss = loss
        now = perf_counter()
        if loss <= self._goal or self.epochs >= self._most or now > self._until:
            self.spent = now - self.began
            raise _EndError

    def watched(self, objective: Objective) -> Objective:
        """The same objective, each of its losses seen."""

        def evaluate(theta: Array) -> tuple[Any, Array]:
            loss, gradient = objective(theta)
            self.see(loss)
            return loss, gradient

        return evaluate

    def arrival(self, way: str) -> Arrival:
        """What has become of it."""
        spent = self.spent or perf_counter() - self.began
        return Arrival(way, self.loss <= self._goal, max(self.epochs, 0), spent, self._left(self.loss))


Run = Callable[[Case, Data, Bound], Arrival]
"""One way, from zero weights until it has arrived or its bound is reached."""


class Way(NamedTuple):
    """How to come near the optimum."""

    title: str
    run: Run
    suits: Callable[[Case], bool] = lambda case: True


# --- ours -------------------------------------------------------------------------------------------------------------------


def _ours(title: str, **settings: Any) -> Way:
    def run(case: Case, data: Data, limit: Bound) -> Arrival:
        epochs = settings.get("epochs", case.epochs)
        watch = _Watch(data, epochs, limit.seconds)
        training = Training(loss=case.loss, backends=("numpy",), tolerance=0, **{"epochs": epochs, **settings})
        descent, _ = settle(training, data.A, data.b)
        bind, p = backends.get("numpy").objective, data.A.shape[1]
        objective = bind(descent.problem(data.A, data.b))
        if training.batch_size is not None:
            parts = batches(len(data.b), training.batch_size, training.seed)
            each = bound(bind, descent.problem, data.A, data.b, parts.parts)
            optimizer = minibatch(descent.optimizer(descent.rate, p, len(each)), each, parts.order)
        elif training.learning_rate == "search":
            optimizer = line_search(objective, descent.rate)
        else:
            optimizer = descent.optimizer(descent.rate, p)
        with suppress(_EndError):
            train(watch.watched(objective), p, optimizer, epochs=epochs)
        return watch.arrival(title)

    batched = "batch_size" in settings
    return Way(title, run, lambda case: not (batched and case.moments))


# --- PyTorch's own loop -----------------------------------------------------------------------------------------------------


def _torch(title: str, make: Callable[[Any, float], Any], *, closure: bool = False) -> Way:
    """The loop that people write, in float64 and from zero weights, all rows at once.

    Args:
        title: of the way.
        make: parameters and the rate of our plain descent -> the optimizer.
        closure: whether it evaluates the loss itself, more than once a step; each evaluation counts as an epoch.
    """

    def run(case: Case, data: Data, limit: Bound) -> Arrival:
        X, y = torch.from_numpy(np.ascontiguousarray(data.X)), torch.from_numpy(data.y)
        layer = torch.nn.Linear(X.shape[1], 1, dtype=torch.float64)
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
        measured = torch.nn.MSELoss() if case.loss == "mse" else torch.nn.BCEWithLogitsLoss()
        steepest = settle(Training(loss=case.loss), data.A, data.b)[0].rate  # not timed: the same rate, as a gift
        optimizer = make(layer.parameters(), steepest)
        watch = _Watch(data, limit.epochs, limit.seconds)

        def evaluate() -> Any:
            optimizer.zero_grad()
            loss = measured(layer(X)[:, 0], y)
            loss.backward()
            watch.see(loss.item())
            return loss

        still = 0.0, -1
        try:
            while True:
                if closure:
                    optimizer.step(evaluate)
                    if still == (watch.loss, watch.epochs - 1):  # it has come to rest, and evaluates once a step to say so
                        break
                    still = watch.loss, watch.epochs
                else:
                    evaluate()
                    optimizer.step()
        except _EndError:
            pass
        return watch.arrival(title)

    return Way(title, run, lambda case: not case.moments)


def _lbfgs(parameters: Any, rate: float) -> Any:
    return torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe")


# --- scikit-learn and SciPy -------------------------------------------------------------------------------------------------


def _sgd() -> Way:
    title = "scikit-learn `SGDRegressor`, no penalty"

    def run(case: Case, data: Data, limit: Bound) -> Arrival:
        from sklearn.linear_model import SGDRegressor  # noqa: PLC0415

        model = SGDRegressor(penalty=None, random_state=0)
        spent, epochs, loss = 0.0, 0, math.inf
        while loss > data.goal and spent < limit.seconds and epochs < limit.epochs:
            began = perf_counter()
            model.partial_fit(data.X, data.y)
            spent += perf_counter() - began
            epochs += 1
            loss = _loss(case, data, model)
        return Arrival(title, loss <= data.goal, epochs, spent, data.left(loss))

    return Way(title, run, lambda case: case.loss == "mse" and not case.moments)


def _loosest(title: str, loss: str, make: Callable[[float, int], Any], epoch: float) -> Way:
    """A way that stops by a tolerance of its own: timed is the fit under the loosest one that leads near enough.

    Args:
        title: of the way.
        loss: that it minimises.
        make: tolerance and epochs at most -> the model.
        epoch: seconds that one takes, or so, which bounds their number.
    """

    def run(case: Case, data: Data, limit: Bound) -> Arrival:
        most = min(limit.epochs, max(int(limit.seconds / epoch), 1))
        found = Arrival(title, False, 0, 0.0, math.inf)
        for digits in range(1, 13):
            model = make(10.0**-digits, most)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it has not converged is seen
                began = perf_counter()
                model.fit(data.X, data.y)
                spent = perf_counter() - began
            reached, epochs = _loss(case, data, model), int(np.max(model.n_iter_))
            found = Arrival(title, reached <= data.goal, epochs, spent, data.left(reached))
            if found.arrived or epochs >= most or spent > limit.seconds:
                break
        return found

    return Way(title, run, lambda case: case.loss == loss and not case.moments)


def _sag(tolerance: float, epochs: int) -> Any:
    from sklearn.linear_model import Ridge  # noqa: PLC0415

    return Ridge(alpha=1e-9, solver="sag", tol=tolerance, max_iter=epochs, random_state=0)


def _logistic_regression(tolerance: float, epochs: int) -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    return LogisticRegression(C=np.inf, solver="lbfgs", tol=tolerance, max_iter=epochs)


def _bfgs() -> Way:
    title = "SciPy `minimize`, L-BFGS-B, our gradient"

    def run(case: Case, data: Data, limit: Bound) -> Arrival:
        from scipy.optimize import minimize  # noqa: PLC0415

        watch = _Watch(data, limit.epochs, limit.seconds)
        objective = watch.watched(backends.get("numpy").objective(_problem(case, data.A, data.b)))
        options = {"maxiter": limit.epochs, "maxfun": limit.epochs, "ftol": 0, "gtol": 0}
        with suppress(_EndError):
            minimize(objective, np.zeros(data.A.shape[1]), jac=True, method="L-BFGS-B", options=options)
        return watch.arrival(title)

    return Way(title, run, lambda case: case.loss == "mse" and not case.moments)


def _loss(case: Case, data: Data, model: Any) -> float:
    """Of a fitted scikit-learn model; none that is finite where it has diverged."""
    theta = np.append(np.ravel(model.coef_), model.intercept_)
    problem = _problem(case, data.A, data.b)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = float(problem.value_and_gradient(theta, *problem.arrays)[0])
    return loss if math.isfinite(loss) else math.inf


WAYS = {
    "plain": _ours("gd, plain descent"),
    "momentum": _ours("gd, momentum", optimizer="momentum"),
    "nesterov": _ours("gd, nesterov", optimizer="nesterov"),
    "adagrad": _ours("gd, adagrad", optimizer="adagrad"),
    "rmsprop": _ours("gd, rmsprop", optimizer="rmsprop"),
    "adam": _ours("gd, adam", optimizer="adam"),
    "diagonal": _ours("gd, precondition diagonal", precondition="diagonal"),
    "whiten": _ours("gd, precondition whiten", precondition="whiten"),
    "search": _ours("gd, line search", learning_rate="search"),
    "batches": _ours(f"gd, batches of {_BATCH}, {_BATCH_EPOCHS} epochs", batch_size=_BATCH, epochs=_BATCH_EPOCHS),
    "torch-sgd": _torch("torch `SGD`, the same rate", lambda parameters, rate: torch.optim.SGD(parameters, lr=rate)),
    "torch-momentum": _torch(
        "torch `SGD`, momentum 0.9", lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    ),
    "torch-adam": _torch("torch `Adam`, its default rate", lambda parameters, rate: torch.optim.Adam(parameters)),
    "torch-lbfgs": _torch("torch `LBFGS`, strong Wolfe", _lbfgs, closure=True),
    "sklearn-sgd": _sgd(),
    "sklearn-sag": _loosest("scikit-learn `Ridge`, sag", "mse", _sag, 2e-3),
    "scipy-lbfgs": _bfgs(),
    "sklearn-lbfgs": _loosest("scikit-learn `LogisticRegression`, lbfgs", "logistic", _logistic_regression, 4e-4),
}
"""Every way by its name, ours first."""

AIMED = ("momentum", "nesterov", "diagonal", "whiten")
"""Those of which it was asked that they need no tuning and are never the slowest."""


def report() -> Iterator[str]:
    """The section of the results."""
    limit = Bound()
    yield f"On {machine(*_PACKAGES)}."
    yield ""
    first = CASES[0]
    yield f"Epochs and seconds until the loss is within {_CLOSE:g} of its first distance above the optimum, on tables of"
    yield f"{first.n:,} rows × {first.d} features, from zero weights. The condition number is that of the Hessian of"
    yield "standardised features. Each of its directions explains the same share of the target, so that none may be left out."
    yield "Ours run in NumPy with `auto` rate, decay and schedule, and their seconds include what `auto` costs; that of the"
    yield "mean squared error comes out of a factor of the table, which holds the exact optimum as well. Where a tolerance of"
    yield "its own ends a way, the loosest that leads near enough is timed. Evaluations of torch's and SciPy's L-BFGS count as"
    yield f"epochs; torch's rate is given to it. A way ends after the epochs of the case (others: {limit.epochs:,}) or after"
    yield f"{limit.seconds:g} s, and what has not arrived by then says how much of the first excess is left. One thread each."
    yield f"Medians of 3 by turns of what takes less than {_QUICK:g} s; the ratio is to the quickest that arrives."
    found: dict[str, dict[str, Arrival]] = {}
    for case in CASES:
        data = made(case)
        yield ""
        yield f"### {case.name[0].upper()}{case.name[1:]}"
        yield ""
        yield f"`--epochs {case.epochs}`; condition number of the Hessian at the optimum {data.condition:,.0f}."
        yield ""
        yield from table("way", "epochs", "seconds", "times the quickest")
        found[case.name] = ends = measure(case, data, limit=limit)
        quickest = min((one.seconds for one in ends.values() if one.arrived), default=math.nan)
        for one in ends.values():
            yield _row(one, quickest)
    yield ""
    yield from _aims(found)


def measure(
    case: Case, data: Data, names: Sequence[str] | None = None, *, limit: Bound | None = None, rounds: int = 3
) -> dict[str, Arrival]:
    """Each way that suits a case, by turns.

    Args:
        case: the data set and loss.
        data: its table.
        names: of ways; all when None.
        limit: on each of them.
        rounds: of those that are quick.
    """
    limit = limit or Bound()
    chosen = {name: way for name, way in WAYS.items() if way.suits(case) and (names is None or name in names)}
    times: dict[str, list[Arrival]] = {name: [] for name in chosen}
    with _one_thread():
        for turn in range(rounds):
            for name, way in chosen.items():
                if turn == 0 or (times[name][0].arrived and times[name][0].seconds < _QUICK):
                    times[name].append(way.run(case, data, limit))
    return {name: all_of[0]._replace(seconds=median(one.seconds for one in all_of)) for name, all_of in times.items()}


def made(case: Case) -> Data:
    """The table of a case; its target is a sum of all directions of the features and noise, or for the logistic loss a draw."""
    rng = np.random.default_rng(7)
    X, directions = correlated(case.n, case.d, case.condition, rng)
    signal = directions.sum(axis=1) / math.sqrt(case.d)
    if case.loss == "mse":
        y = signal + _NOISE * rng.normal(size=case.n)
    else:
        y = (rng.random(case.n) < 1 / (1 + np.exp(-2 * signal))).astype(np.float64)
    X = standardize(X, center=True).apply(X)
    A, b = design(X, intercept=True), y
    if case.moments:
        moments = Moments.of([*np.asfortranarray(X).T, y])
        A, b = moments.compressed(moments.scaling(center=True), intercept=True)
    _, found = settle(Training(loss=case.loss), A, b)
    return Data(X, y, A, b, _start(case, A, b), found.optimum_loss, found.condition)


def correlated(n: int, d: int, condition: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows whose correlation matrix has exactly this condition number, and its directions, each of variance 1.

    Its eigenvalues go down by the same factor each.

    Args:
        n: rows.
        d: features.
        condition: largest eigenvalue by the smallest.
        rng: draws them.

    Returns:
        X, (n, d), and the principal components of the rows, (n, d).
    """
    from scipy.stats import random_correlation  # noqa: PLC0415

    values = np.geomspace(1, 1 / condition, d)
    correlations = random_correlation.rvs(values * d / values.sum(), random_state=rng)
    values, vectors = np.linalg.eigh(correlations)
    Z = rng.normal(size=(n, d))
    Z -= Z.mean(axis=0)
    Z = np.linalg.qr(Z)[0] * math.sqrt(n)  # its sample covariance is the identity
    return Z * np.sqrt(values) @ vectors.T, Z


@contextmanager
def _one_thread() -> Iterator[None]:
    """Of BLAS and PyTorch: two are no quicker on tables of this size, and on a busy machine wait for each other."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _problem(case: Case, A: Array, b: Array) -> Problem:
    return least_squares(A, b) if case.loss == "mse" else logistic(A, b)


def _start(case: Case, A: Array, b: Array) -> float:
    problem = _problem(case, A, b)
    return float(problem.value(np.zeros(A.shape[1]), *problem.arrays))


def _row(one: Arrival, quickest: float) -> str:
    seconds = f"{one.seconds:.3f}" if one.seconds < 1 else f"{one.seconds:.1f}"
    if not one.arrived:
        return row(one.way, f"{one.epochs:,}", seconds, f"not there: {one.left:.1e} is left")
    return row(one.way, f"{one.epochs:,}", seconds, f"{one.seconds / quickest:.3g}")


def _aims(found: dict[str, dict[str, Arrival]]) -> Iterator[str]:
    """Whether a way arrived everywhere, and something else always came later."""
    yield "Aim: `auto` with momentum or preconditioning needs no tuning and is never the slowest."
    yield ""
    yield from table("way", "did not arrive", "was the slowest to arrive", "")
    for name in AIMED:
        late = [case for case, ends in found.items() if not ends[name].arrived]
        last = [case for case, ends in found.items() if ends[name].arrived and _slowest(name, ends)]
        yield row(WAYS[name].title, "; ".join(late) or "never", "; ".join(last) or "never", verdict(not late and not last))
    for case, ends in found.items():
        ours = min((ends[name].seconds for name in ("momentum", "nesterov") if ends[name].arrived), default=math.inf)
        sooner = [one.way for one in ends.values() if one.arrived and one.seconds < ours and not one.way.startswith("gd, ")]
        if sooner:
            yield ""
            yield f"Sooner than momentum and nesterov ({case}): {', '.join(sooner)}."
    yield ""
    yield "Standardised features all have the same curvature by themselves: `diagonal` has nothing to do there, and is plain"
    yield "descent. What it is for are features as they are (`--no-standardize`)."


def _slowest(name: str, ends: dict[str, Arrival]) -> bool:
    """Whether all the others arrived, and sooner."""
    return all(one.arrived and one.seconds < ends[name].seconds for other, one in ends.items() if other != name)
