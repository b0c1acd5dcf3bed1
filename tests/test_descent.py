"""From settings to a descent: every loss, optimizer, penalty and preconditioner on real tables, with everything automatic."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import Lasso, LogisticRegression

from gd import backends
from gd.data import Array
from gd.descent import Descent, settle, told_subgradients, with_l1
from gd.diagnosis import Spectrum, excess
from gd.optimizers import gradient_descent, proximal
from gd.problems import design, least_squares
from gd.settings import Training
from gd.theory import PLAIN, Law
from gd.training import Outcome, Trace, train
from tests.tables import table

TABLES = {"mse": "diabetes", "huber": "diabetes", "logistic": "cancer", "poisson": "visits"}
L2 = 0.05
L1 = {"mse": 20.0, "huber": 5.0, "logistic": 0.02, "poisson": 0.1}  # under which some weights of these tables are 0
OPTIMIZERS = ("gradient-descent", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
EPOCHS = 2000


def allowed() -> list[Any]:
    """Every combination that the settings allow, all else automatic; the tumours' logistic loss always has an L2 penalty."""
    found = []
    for loss, optimizer, penalty, precondition in product(
        TABLES, OPTIMIZERS, ("none", "l2", "l1"), ("none", "diagonal", "whiten")
    ):
        made: dict[str, Any] = {"loss": loss, "optimizer": optimizer, "precondition": precondition, "epochs": EPOCHS}
        made["l1"] = L1[loss] if penalty == "l1" else 0.0
        made["l2"] = L2 if penalty == "l2" or loss == "logistic" else 0.0
        if loss == "logistic" and penalty == "l2":
            continue
        try:
            training = Training.model_validate(made)
        except ValidationError:
            continue
        marks = [pytest.mark.slow] if precondition == "diagonal" else []  # much as none, on features of one spread
        found.append(pytest.param(training, id=f"{loss}-{optimizer}-{penalty}-{precondition}", marks=marks))
    return found


ALLOWED = allowed()


def data(training: Training) -> tuple[Array, Array]:
    """The design matrix and target of the table on which a loss is tried."""
    X, y = table(TABLES[training.loss])
    return design(X, training.intercept), y


def descended(
    training: Training, A: Array, y: Array, backend: str = "numpy", epochs: int | None = None, tolerance: float = 0.0
) -> tuple[Descent, Spectrum, Trace]:
    """Settled in float64, trained in the precision of the settings, and the weights of every epoch kept."""
    assert training.l2 != "auto"
    descent, found = settle(training, A, y, training.l2)
    kind, p = np.dtype(training.dtype), A.shape[1]
    problem = descent.problem(A.astype(kind), y.astype(kind))
    objective = descent.bound(backends.get(backend).objective(problem), p)
    trace = train(
        objective, p, descent.optimizer(descent.rate, p), epochs=epochs or training.epochs, tolerance=tolerance, dtype=kind,
        keep_weights=1,
    )  # fmt: skip
    return descent, found, trace


def test_all_combinations_are_tried() -> None:
    """4 losses; L1 with 3 optimizers and nothing else; AdamW without a preconditioner: (6·3 + 1)·(1 or 2) + 3 of each."""
    assert 3 * (2 * 19 + 3) + 19 + 3 == len(ALLOWED)


@pytest.mark.parametrize("training", ALLOWED)
def test_what_is_automatic_arrives(training: Training) -> None:
    """It does not diverge and comes to 1e-6 of the first excess within 2000 epochs.

    AdamW's decay leads to another place: it must come to 0.2 of it, and with losses of which a weight is about 1 to 1e-6.
    """
    A, y = data(training)
    descent, found, trace = descended(training, A, y)
    assert found.attained
    assert trace.outcome != Outcome.DIVERGED
    share = excess(found, trace.theta[:-1], trace.loss) / excess(found, trace.theta[:1], trace.loss[:1])
    far = training.optimizer == "adamw" and training.loss in {"mse", "huber"}
    assert share.min() <= (0.2 if far else 1e-6)
    assert share[-1] <= (0.2 if far else 1e-6)
    assert 0 < descent.rate < math.inf
    if training.optimizer == "gradient-descent":  # whose steps are not longer than the curvature allows anywhere
        assert (np.diff(trace.loss) <= 1e-13 * trace.loss[:-1]).all()
        assert trace.gradient_norm[-1] < 1e-3 * trace.gradient_norm[0]


@pytest.mark.parametrize("training", ALLOWED)
def test_numpy_and_torch_descend_alike(training: Training) -> None:
    """The weights of the first 40 epochs, relative to the largest so far, and the losses."""
    A, y = data(training)
    first, second = (descended(training, A, y, name, epochs=40)[2] for name in ("numpy", "torch"))
    largest = np.maximum.accumulate(np.abs(first.theta).max(axis=1))[1:, None]
    assert (np.abs(first.theta - second.theta)[1:] / largest).max() <= 1e-9
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-9)


@pytest.mark.parametrize("training", ALLOWED)
def test_float32_stays_float32(training: Training) -> None:
    """Loss, gradient, state and step of three epochs, and a loss that comes as near to the optimum as its digits reach."""
    training = training.model_copy(update={"dtype": "float32"})
    A, y = data(training)
    assert training.l2 != "auto"
    descent, _ = settle(training, A, y, training.l2)
    kind, p = np.dtype("float32"), A.shape[1]
    objective = descent.bound(backends.get("numpy").objective(descent.problem(A.astype(kind), y.astype(kind))), p)
    optimizer, theta = descent.optimizer(descent.rate, p), np.zeros(p, kind)
    state = optimizer.init(theta)
    for _ in range(3):
        gradient = objective(theta)[1]
        step, state = optimizer.update(gradient, state, theta)
        theta = theta + step
        assert {kind} == {gradient.dtype, step.dtype, theta.dtype, *(part.dtype for part in arrays(state))}
    training = training.model_copy(update={"epochs": 200})
    single, double = (descended(training.model_copy(update={"dtype": kind}), A, y)[2] for kind in ("float32", "float64"))
    assert kind == single.theta.dtype
    assert pytest.approx(double.final_loss, rel=1e-3) == single.final_loss


def arrays(state: Any) -> list[Array]:
    """Every array in an optimizer's state."""
    if isinstance(state, np.ndarray):
        return [state]
    return [one for part in state for one in arrays(part)] if isinstance(state, tuple) else []


def test_the_states_have_arrays() -> None:
    """What the test of float32 looks at is there: one of momentum, two of Adam, within those of what comes around it."""
    assert 1 == len(arrays(Descent(Training(optimizer="momentum"), 0.1, "set", 0.9).optimizer(0.1, 3).init(np.zeros(3))))
    whitened = Descent(Training(optimizer="adam", precondition="whiten"), 0.1, "set", 0.9, P=np.eye(3))
    assert 2 == len(arrays(whitened.optimizer(0.1, 3).init(np.zeros(3))))


def almost_alike(loss: str) -> tuple[Array, Array]:
    """A real table with two more columns, nearly sums of others, after which its condition is 1e6 and more."""
    X, y = table("visits" if loss == "poisson" else "diabetes")
    rng = np.random.default_rng(3)
    more = X[:, :2] + X[:, 2:4] + 3e-3 * rng.normal(size=(len(y), 2))
    wide = np.column_stack([X, more / more.std(axis=0)])
    return design((wide - wide.mean(axis=0)) / wide.std(axis=0), True), (y > 140).astype(float) if loss == "logistic" else y


@pytest.mark.parametrize("loss", TABLES)
def test_whitening_makes_a_condition_of_a_million_a_matter_of_tens_of_epochs(loss: str) -> None:
    """Within 100 epochs to the default tolerance, where plain descent is not there after 1000."""
    A, y = almost_alike(loss)
    plain, whitened = (
        descended(Training.model_validate({"loss": loss, "precondition": how}), A, y, epochs=epochs, tolerance=1e-10)
        for how, epochs in (("none", 1000), ("whiten", 100))
    )
    assert plain[1].condition > 1e6
    assert Outcome.EXHAUSTED == plain[2].outcome
    assert Outcome.CONVERGED == whitened[2].outcome
    found = whitened[1]
    assert np.linalg.norm(found.predictions @ (whitened[2].end - found.optimum)) <= 1e-6 * y.std()


def test_whitening_is_by_the_steepest_that_a_logistic_loss_can_be() -> None:
    """Where classes hardly overlap it is much flatter at the optimum, and a whitened descent takes hundreds of epochs."""
    training = Training(loss="logistic", precondition="whiten", l2=1e-4)
    A, y = data(training)
    descent, found, trace = descended(training, A, y, tolerance=1e-10, epochs=5000)
    assert descent.P is not None
    seen = found.through(descent.P)
    assert 30 < seen.condition < found.condition
    assert seen.eigenvalues[-1] <= descent.steepest * (1 + 1e-12)  # never steeper than said
    assert Outcome.CONVERGED == trace.outcome
    assert len(trace) > 100


@pytest.mark.parametrize("optimizer", ["gradient-descent", "momentum", "nesterov"])
def test_the_path_of_l1_has_the_zeros_of_lasso(optimizer: str) -> None:
    """From the penalty under which all weights are 0 down: the same are exactly 0 as in scikit-learn, the others are equal."""
    X, y = table("diabetes")
    A = design(X, True)
    most = float(np.abs(2 * X.T @ (y - y.mean())).max()) / len(y)
    zeros = []
    for share in (1.01, 0.6, 0.3, 0.1, 0.03):
        training = Training.model_validate({"optimizer": optimizer, "l1": share * most, "epochs": 3000})
        _, _, trace = descended(training, A, y, tolerance=1e-12)
        theirs = Lasso(alpha=share * most / 2, tol=1e-14, max_iter=10**6).fit(X, y)
        assert (theirs.coef_ == 0).tolist() == (trace.end[:-1] == 0).tolist()
        np.testing.assert_allclose(trace.end, np.append(theirs.coef_, theirs.intercept_), rtol=0, atol=1e-6 * y.std())
        zeros.append(int(np.count_nonzero(trace.end[:-1] == 0)))
    assert 10 == zeros[0]
    assert sorted(zeros, reverse=True) == zeros
    assert len(set(zeros)) >= 4


def test_l1_of_the_logistic_loss_has_the_zeros_of_scikit_learn() -> None:
    """Trained by Nesterov's method to the optimum of SAGA: κ = 1/(n C)."""
    training = Training(loss="logistic", optimizer="nesterov", l1=0.02)
    A, y = data(training)
    _, _, trace = descended(training, A, y, tolerance=1e-12)
    how: dict[str, Any] = {"C": 1 / (len(y) * 0.02), "l1_ratio": 1.0, "solver": "saga", "tol": 1e-8, "max_iter": 10**5}
    theirs = LogisticRegression(**how).fit(A[:, :-1], y)
    assert (theirs.coef_[0] == 0).tolist() == (trace.end[:-1] == 0).tolist()
    np.testing.assert_allclose(trace.end, np.append(theirs.coef_[0], theirs.intercept_), rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", TABLES)
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_no_penalty_touches_the_intercept(penalty: str, loss: str) -> None:
    """Under one that leaves nothing of the weights it is that of a model without features, however large itself."""
    X, y = table(TABLES[loss])
    y = y + (1000 if loss in {"mse", "huber"} else 0)
    training = Training.model_validate({"loss": loss, penalty: 1e5, "epochs": 5000, "precondition": "none"})
    descent, found = settle(training, design(X, True), y, 1e5 if penalty == "l2" else 0.0)
    expected = {
        "mse": y.mean(), "logistic": math.log(y.mean() / (1 - y.mean())) if loss == "logistic" else 0.0,
        "poisson": math.log(y.mean()) if loss == "poisson" else 0.0,
    }  # fmt: skip
    assert [1.0] * X.shape[1] + [0.0] == descent.penalised(X.shape[1] + 1).tolist()
    assert np.abs(found.optimum[:-1]).max() < 1e-2 if penalty == "l2" else (found.optimum[:-1] == 0).all()
    if loss != "huber":
        assert pytest.approx(expected[loss], rel=1e-4) == found.optimum[-1]
    assert found.optimum_loss == pytest.approx(float(descent.loss(design(X, True), y).value(
        found.optimum, *descent.loss(design(X, True), y).arrays)), rel=1e-3)  # fmt: skip


def test_without_an_intercept_every_weight_is_penalised() -> None:
    """The last one is then a weight like others."""
    assert [1.0, 1.0, 1.0] == Descent(Training(intercept=False), 0.1, "set").penalised(3).tolist()


@pytest.mark.parametrize("sigma", [1e-3, 3.0, 1e6])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_automatic_delta_is_that_of_the_noise(sigma: float, share: float) -> None:
    """1.345 σ, within 5 %; with a tenth of the rows off by 100 σ least squares is off too, and δ is up to 1.8 times that."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(4000, 3))
    y = X @ [5.0, -3.0, 2.0] * sigma + 1000 * sigma + sigma * rng.normal(size=4000)
    y[rng.random(4000) < share] += 100 * sigma
    descent, _ = settle(Training(loss="huber"), design(X, True), y)
    assert descent.delta is not None
    if share:
        assert 0.95 < descent.delta / (1.345 * sigma) < 1.8
    else:
        assert pytest.approx(1.345 * sigma, rel=0.05) == descent.delta


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.arange(1.0, 12.0) * 2, 1.345 * 6 / 0.6744897501960817),  # a line: of the target, whose median deviation is 6
        (np.full(11, 7.0), 1.0),
        (np.zeros(11), 1.0),
    ],
)  # fmt: skip
def test_delta_of_residuals_that_are_nothing(y: Array, expected: float) -> None:
    """The target's own spread where a line goes through all points, and 1 where there is none."""
    descent, _ = settle(Training(loss="huber"), design(np.arange(1.0, 12.0)[:, None], True), y)
    assert pytest.approx(expected, rel=1e-9) == descent.delta


def test_a_delta_that_is_set_is_kept() -> None:
    """As a number, in units of the target."""
    A, y = data(Training(loss="huber"))
    assert 12.5 == settle(Training(loss="huber", delta=12.5), A, y)[0].delta


@pytest.mark.parametrize("most", [1e1, 1e4, 1e6])
@pytest.mark.parametrize("precondition", ["none", "whiten"])
@pytest.mark.parametrize("optimizer", ["gradient-descent", "nesterov", "adam"])
def test_poisson_begins_at_zero_whatever_the_counts(optimizer: str, precondition: str, most: float) -> None:
    """With counts up to a million the gradient at zero is as large, and e^z beyond the optimum larger: it arrives."""
    X = table("diabetes")[0][:, :4]
    rng = np.random.default_rng(5)
    mean = np.exp(0.5 * (X[:, 2] + X[:, 3]))
    y = rng.poisson(most * mean / mean.max()).astype(float)
    training = Training.model_validate({"loss": "poisson", "optimizer": optimizer, "precondition": precondition})
    _, found, trace = descended(training, design(X, True), y)
    share = excess(found, trace.theta[:-1], trace.loss) / excess(found, trace.theta[:1], trace.loss[:1])
    assert Outcome.EXHAUSTED == trace.outcome
    assert share[-1] <= 1e-6


@pytest.mark.parametrize(
    "training",
    [
        Training(), Training(loss="huber", precondition="whiten"), Training(loss="poisson", optimizer="adam"),
        Training(loss="logistic", optimizer="nesterov", l1=0.01), Training(loss="mse", optimizer="momentum", decay=0.5),
    ],
    ids=["plain", "huber", "poisson", "logistic", "momentum"],
)  # fmt: skip
def test_a_descent_survives_a_file(training: Training, tmp_path: Path) -> None:
    """What is saved is what is loaded, a value that is not there among it."""
    A, y = data(training)
    descent, found = settle(training, A, y, 0.01)
    descent.save(tmp_path / "descent.npz")
    found.save(tmp_path / "spectrum.npz")
    again, back = Descent.load(tmp_path / "descent.npz", training), Spectrum.load(tmp_path / "spectrum.npz")
    for one, other in ((descent, again), (found, back)):
        for field in fields(one):
            value, loaded = getattr(one, field.name), getattr(other, field.name)
            assert type(value) is type(loaded)
            np.testing.assert_array_equal(value, loaded)


def test_the_null_loss_is_that_of_a_constant() -> None:
    """The entropy of the classes; half the mean deviance from the mean; of no model without an intercept."""
    A, y = data(Training(loss="logistic"))
    q = y.mean()
    entropy = -q * math.log(q) - (1 - q) * math.log(1 - q)
    assert pytest.approx(entropy, rel=1e-12) == settle(Training(loss="logistic", l2=L2), A, y, L2)[0].null_loss
    without = settle(Training(loss="logistic", intercept=False), A[:, :-1], y, L2)[0]
    assert pytest.approx(math.log(2), rel=1e-12) == without.null_loss
    A, y = data(Training(loss="poisson"))
    deviance = float(np.mean(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / y.mean()), 0) - y + y.mean()))
    assert pytest.approx(deviance, rel=1e-12) == settle(Training(loss="poisson"), A, y)[0].null_loss
    assert math.isnan(settle(Training(), A, y)[0].null_loss)


@pytest.mark.parametrize("precondition", ["none", "diagonal", "whiten"])
@pytest.mark.parametrize("loss", TABLES)
def test_tables_without_curvature_are_settled(loss: str, precondition: str) -> None:
    """Columns of zeros, a column twice, a target of zeros: a rate above 0, and a descent that stays where it is or comes on."""
    X, y = table(TABLES[loss])
    training = Training.model_validate({"loss": loss, "precondition": precondition, "epochs": 50})
    same = np.column_stack([X, X[:, 0], np.zeros(len(y))])
    nothing = np.zeros((len(y), 2))
    for A in (design(same, True), design(nothing, True), nothing):
        made = training.model_copy(update={"intercept": A is not nothing})
        descent, _, trace = descended(made, A, y)
        assert 0 < descent.rate < math.inf
        assert trace.outcome != Outcome.DIVERGED
        assert np.isfinite(trace.theta).all()
        assert trace.final_loss <= trace.loss[0]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, PLAIN), ({"optimizer": "momentum", "decay": 0.5}, Law("momentum", 0.5)), ({"precondition": "whiten"}, PLAIN),
        ({"optimizer": "nesterov", "decay": 0.25}, Law("nesterov", 0.25)), ({"optimizer": "adam"}, None), ({"l1": 1.0}, None),
        ({"schedule": "step"}, None), ({"warm_up": 5}, None), ({"batch_size": 8}, None), ({"learning_rate": "search"}, None),
    ],
)  # fmt: skip
def test_there_is_a_law_of_linear_steps_at_a_fixed_rate(made: dict[str, Any], expected: Law | None) -> None:
    """And of no other."""
    A, y = data(Training())
    assert expected == settle(Training.model_validate(made), A, y)[0].law


def test_a_descent_that_has_a_law_follows_it() -> None:
    """Whitened heavy ball on a penalised loss, automatic but for the decay: each epoch as predicted, in its own coordinates."""
    training = Training(optimizer="momentum", decay=0.8, precondition="whiten", l2=L2)
    A, y = data(training)
    descent, found, trace = descended(training, A, y, epochs=200)
    assert descent.P is not None
    assert descent.law is not None
    seen = found.through(descent.P)
    np.testing.assert_allclose(seen.eigenvalues, 1.0, rtol=1e-12)
    predicted = seen.predicted_excess(descent.rate, np.arange(201), descent.law)
    assert np.abs(found.excess(trace.theta) - predicted).max() <= 1e-9 * predicted[0]


def test_the_shortest_subgradient_by_hand() -> None:
    """κ = 2 and (θ - (5, 1, 3))²/2: at (1, 0, 0) the slopes -4 + 2, what |−1| ≤ 2 leaves of it, 0, and -3 + 2; J adds 2."""

    def objective(theta: Array) -> tuple[float, Array]:
        away = theta - np.array([5.0, 1.0, 3.0])
        return float(away @ away) / 2, away

    value, slope = with_l1(objective, np.full(3, 2.0))(np.array([1.0, 0.0, 0.0]))
    assert (13.0 + 2.0, [-2.0, 0.0, -1.0]) == (value, slope.tolist())


def test_steps_of_subgradients_are_those_of_the_proximal_method() -> None:
    """Told subgradients it walks as ISTA does that is told gradients, to rounding, all 300 epochs on a real table."""
    X, y = table("diabetes")
    A = design(X, True)
    right = backends.get("numpy").objective(least_squares(A, y))
    penalty = np.append(np.full(10, 20.0), 0.0)
    plain = train(right, 11, proximal(gradient_descent(0.1), 0.1, penalty), epochs=300)
    optimizer = told_subgradients(proximal(gradient_descent(0.1), 0.1, penalty), penalty)
    told = train(with_l1(right, penalty), 11, optimizer, epochs=300)
    np.testing.assert_allclose(told.theta, plain.theta, rtol=0, atol=1e-11 * np.abs(plain.theta).max())
    assert ((told.theta == 0) == (plain.theta == 0)).all()


def test_a_rate_that_is_set_is_kept() -> None:
    """And told to be; nothing is tried."""
    A, y = data(Training())
    descent, _ = settle(Training(learning_rate=0.03, optimizer="adam"), A, y)
    assert (0.03, "set") == (descent.rate, descent.found)
    assert replace(descent, rate=0.5).rate == 0.5


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({"loss": "logistic"}, False), ({"loss": "logistic", "l1": 1e-6}, True), ({"loss": "huber"}, True),
        ({"l1": 1e-3}, True), ({"loss": "huber", "l1": 1e-3}, True),
    ],
    ids=str,
)  # fmt: skip
def test_losses_that_have_an_optimum_are_said_to(settings: dict[str, Any], there: bool) -> None:
    """Columns that repeat each other make it flat and no less an optimum; classes that a plane parts have none."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=30)
    A = np.column_stack([x, x + 1e-12 * rng.normal(size=30), np.ones(30)])
    y = (x > 0).astype(float) if settings.get("loss") == "logistic" else x + rng.normal(size=30)
    assert there == settle(Training(**settings), A, y)[1].attained
