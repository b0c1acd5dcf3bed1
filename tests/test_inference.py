"""Standard errors, intervals and R²: against statsmodels, NIST and fifty digits, and the same wherever they are shown."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from gd.archive import read_run, write_report
from gd.coefficients import aligned, coefficients, intervals
from gd.data import Array, Source, bundled
from gd.degeneracy import dependences
from gd.diagnosis import spectrum
from gd.inference import Estimates, infer
from gd.mail.digest import Item
from gd.moments import Moments, merge
from gd.notation import number
from gd.record import Inference, Record
from gd.settings import Training, preset
from tests.conftest import run_tasks, write_csv
from tests.mails import body, letter, parsed
from tests.test_real_tables import NIST, TABLES, Table, frame, ids, made, of_file, reading
from tests.test_report import text_of

EPSILON = float(np.finfo(np.float64).eps)
SEEDS = st.integers(0, 2**32 - 1)


def moments(X: Array, y: Array) -> Moments:
    """Those of a table."""
    return Moments.of([*np.ascontiguousarray(X.T), y])


def estimates(found: Moments, *, intercept: bool = True) -> Estimates:
    """By the way that a run takes: the optimum of the scaled moments, in units of the file."""
    scaling = found.scaling(center=intercept)
    optimum = spectrum(*found.compressed(scaling, intercept)).optimum
    dependent = [one.column for one in dependences(found, intercept)[0] if one.exact]
    return infer(found, scaling.to_units(optimum, intercept), dependent, intercept=intercept)


def with_ones(X: Array) -> Array:
    """The design under an intercept, which stands last."""
    return np.asarray(add_constant(X, prepend=False, has_constant="add"))


def made_up(rng: np.random.Generator, n: int, d: int, noise: float = 0.5) -> tuple[Array, Array]:
    """Columns of spread 1, and a noisy plane over them."""
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + 2 + noise * rng.normal(size=n)


# Against statsmodels and NIST

CHOSEN = [table for table in TABLES if Path(table.path).name in {
    "stackloss.csv", "engel.csv", "randhie.csv", "statecrime.csv", "scotvote.csv", "spector.csv", "grunfeld.csv",
}]  # fmt: skip


@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("table", CHOSEN, ids=ids)
def test_a_real_table_is_summed_up_as_by_statsmodels(table: Table, intercept: bool) -> None:
    """Standard errors, t, p, intervals, R² of both kinds, F and the residual standard error to nine digits."""
    data = frame(table)
    used = data.dropna(subset=[table.target, *of_file(table.features, data)])
    X = np.column_stack([made(used, feature) for feature in table.features])
    y = used[table.target].to_numpy(np.float64)
    fit = OLS(y, with_ones(X) if intercept else X, hasconst=intercept).fit(method="qr")
    found = estimates(reading(table).moments, intercept=intercept)
    low, high = fit.conf_int(0.05).T
    for expected, actual in (
        (fit.bse, found.errors), (fit.tvalues, found.t), (fit.rsquared, found.r2), (fit.rsquared_adj, found.adjusted_r2),
        (np.sqrt(fit.mse_resid), found.residual_error), (np.sqrt(np.mean(fit.resid**2)), found.rmse), (fit.fvalue, found.f),
        (low - fit.params, found.low - found.weights), (high - fit.params, found.high - found.weights),
    ):  # fmt: skip
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=0)
    # a p-value has the relative error of t times t² and more: it is held against its own t where it is next to nothing
    np.testing.assert_allclose(found.p, fit.pvalues, rtol=1e-9, atol=1e-15)
    assert pytest.approx(fit.f_pvalue, rel=1e-9, abs=1e-15) == found.f_p
    assert (len(y), fit.df_resid, fit.df_model) == (found.rows, found.degrees_of_freedom, found.explaining)


def test_the_chosen_tables_are_there() -> None:
    """Eight of them, one with a category."""
    assert 8 == len(CHOSEN)
    assert any(table.encode for table in CHOSEN)


def test_longley_has_its_certified_errors() -> None:
    """NIST's standard deviations, residual standard deviation, R² and F, in ten digits; so has what shards are merged to."""
    certified = [
        84.9149257747669, 0.334910077722432e-01, 0.488399681651699, 0.214274163161675, 0.226073200069370, 455.478499142212,
        890420.383607373,
    ]  # fmt: skip
    table = next(table for table in TABLES if table.path.endswith("longley.csv"))
    rows = reading(table).rows
    assert rows is not None
    halves = merge(moments(rows.X[:7], rows.y[:7]), moments(rows.X[7:], rows.y[7:]))
    for found in (estimates(reading(table).moments), estimates(halves)):
        np.testing.assert_allclose(found.weights, [*NIST.values()], rtol=1e-10)
        np.testing.assert_allclose(found.errors, certified, rtol=1e-10)
        assert pytest.approx(304.854073561965, rel=1e-11) == found.residual_error
        assert pytest.approx(0.995479004577296, rel=1e-13) == found.r2
        assert pytest.approx(330.285339234588, rel=1e-10) == found.f


# Against fifty digits


class Exact(NamedTuple):
    """What a table comes to when nothing is rounded."""

    errors: list[mpmath.mpf]
    left: mpmath.mpf  # residual sum of squares
    total: mpmath.mpf
    t: list[mpmath.mpf]


def in_fifty_digits(X: Array, y: Array, intercept: bool) -> Exact:
    """By the normal equations, with thirty digits more for what they lose: no condition number here takes as many."""
    with mpmath.workdps(80):
        size = [2.0 ** int(power) for power in np.frexp(np.abs(X).max(axis=0))[1]] + [1.0] * intercept  # mpmath minds 1e-200
        rows = ([*row, 1] if intercept else [*row] for row in X.tolist())
        A = mpmath.matrix([[mpmath.mpf(cell) / unit for cell, unit in zip(row, size, strict=True)] for row in rows])
        b = mpmath.matrix(y.tolist())
        inverse = (A.T * A) ** -1
        theta = inverse * (A.T * b)
        r = b - A * theta
        mean = mpmath.fsum(b) / len(b) if intercept else mpmath.mpf(0)
        left = mpmath.fsum(value**2 for value in r)
        sigma = mpmath.sqrt(left / (len(b) - A.cols))
        errors = [sigma * mpmath.sqrt(inverse[j, j]) / size[j] for j in range(A.cols)]
        t = [theta[j] / size[j] / errors[j] for j in range(A.cols)]
        return Exact(errors, left, mpmath.fsum((value - mean) ** 2 for value in b), t)


def agrees(X: Array, y: Array, intercept: bool, tolerance: float) -> None:
    """All that follows from a table is what fifty digits say, to a tolerance."""
    found, exact = estimates(moments(X, y), intercept=intercept), in_fifty_digits(X, y, intercept)
    n, p = len(y), X.shape[1] + intercept
    assert (None, p) == (found.gap, found.rank)
    np.testing.assert_allclose(found.errors, np.array(exact.errors, dtype=float), rtol=tolerance)
    np.testing.assert_allclose(found.rmse, float(mpmath.sqrt(exact.left / n)), rtol=tolerance)
    np.testing.assert_allclose(found.residual_error, float(mpmath.sqrt(exact.left / (n - p))), rtol=tolerance)
    np.testing.assert_allclose(found.r2, float(1 - exact.left / exact.total), rtol=tolerance, atol=1e-14)
    shrunk = 1 - (n - intercept) / mpmath.mpf(n - p) * exact.left / exact.total
    np.testing.assert_allclose(found.adjusted_r2, float(shrunk), rtol=tolerance, atol=1e-13)
    f = (exact.total - exact.left) / (p - intercept) / (exact.left / (n - p))
    np.testing.assert_allclose(found.f, float(f), rtol=10 * tolerance)
    t = np.array(exact.t, dtype=float)
    np.testing.assert_allclose(found.t, t, rtol=tolerance, atol=100 * tolerance * (1 + np.abs(t).max()))


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(7, 25), d=st.integers(1, 4), seed=SEEDS, near=st.sampled_from([1.0, 1e-3, 1e-5]),
    scale=st.sampled_from([1.0, 1e-100, 1e100]), noise=st.sampled_from([1.0, 1e-6]), intercept=st.booleans(),
)  # fmt: skip
def test_every_table_is_that_of_fifty_digits(
    n: int, d: int, seed: int, near: float, scale: float, noise: float, intercept: bool
) -> None:
    """Whatever its size and noise, and though two columns are the same but for 1e-5: as exact as R, ε times its condition."""
    rng = np.random.default_rng(seed)
    X, y = made_up(rng, n, d, noise)
    if d > 1:
        X[:, -1] = X[:, 0] + near * X[:, -1]
        y = X @ np.ones(d) + 2 + noise * rng.normal(size=n)
    X *= scale * 10.0 ** rng.integers(-3, 4, d)
    least = float(np.linalg.svd(with_ones(X / X.std(axis=0)), compute_uv=False)[-1])
    agrees(X, y, intercept, 1000 * EPSILON / near / min(least, 1) + 100 * EPSILON / noise)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(8, 25), d=st.integers(1, 3), seed=SEEDS, intercept=st.booleans())
def test_columns_far_from_zero_lose_no_digit_under_an_intercept(n: int, d: int, seed: int, intercept: bool) -> None:
    """At 1e9 beside a spread of 1 the errors are those of the table as it stands in float64, the intercept's too.

    Without one such columns are all but parallel: ε times a condition number of 1e9 and more is lost, and no more than that.
    """
    X, y = made_up(np.random.default_rng(seed), n, d)
    agrees(X + 1e9, y - 1e6, intercept, 1e-9 if intercept else 1e-5)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(12, 25), levels=st.integers(2, 5), seed=SEEDS, intercept=st.booleans())
def test_categories_are_those_of_fifty_digits(n: int, levels: int, seed: int, intercept: bool) -> None:
    """Columns of 0 and 1 for each level but the first, beside one of numbers."""
    rng = np.random.default_rng(seed)
    level = np.concatenate([np.arange(levels), rng.integers(0, levels, n - levels)])
    X = np.column_stack([level[:, None] == np.arange(1, levels), rng.normal(size=n)]).astype(np.float64)
    agrees(X, level + rng.normal(size=n), intercept, 1e-9)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(8, 60), d=st.integers(1, 5), seed=SEEDS, intercept=st.booleans())
def test_no_combination_of_weights_lies_further_than_the_distance(n: int, d: int, seed: int, intercept: bool) -> None:
    """Of weights beside the optimum: what follows from their excess loss bounds each weight's, and one combination meets it."""
    rng = np.random.default_rng(seed)
    X, y = made_up(rng, n, d)
    found = estimates(moments(X, y), intercept=intercept)
    A = np.column_stack([X, np.ones(n)]) if intercept else X
    beside = rng.normal(size=A.shape[1])
    excess = float(np.mean((A @ beside) ** 2))
    far = found.distance(excess)
    assert (np.abs(beside) <= far * found.errors * (1 + 1e-9)).all()
    gram = A.T @ A
    along = gram @ beside  # the combination in which they differ most
    error = found.residual_error * np.sqrt(along @ np.linalg.solve(gram, along))
    assert pytest.approx(abs(along @ beside) / error, rel=1e-9) == far


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 1,500 tables drawn from a known plane 95 % of the intervals hold its weights; a binomial count within four sigmas."""
    rng, truth, held = np.random.default_rng(20261125), np.array([1.0, -2.0, 3.0]), 0
    for _ in range(1_500):
        X = rng.normal(size=(9, 2)) + 5
        found = estimates(moments(X, X @ truth[:2] + truth[2] + rng.normal(size=9)))
        held += int(found.low[0] <= truth[0] <= found.high[0])
    assert abs(held - 0.95 * 1_500) < 4 * np.sqrt(0.95 * 0.05 * 1_500)


# What is not defined


def test_repeated_columns_have_no_errors_but_an_r2() -> None:
    """Rank, degrees of freedom, R², F and residual error are those of statsmodels' pseudo-inverse; the errors are not given."""
    rng = np.random.default_rng(1)
    X, y = made_up(rng, 30, 3)
    X[:, 1] = 2 * X[:, 0] + 1
    found = estimates(moments(X, y))
    with pytest.warns(UserWarning, match="rank-deficient"):
        fit = OLS(y, with_ones(X)).fit()
    assert ("not-unique", 3, fit.df_resid) == (found.gap, found.rank, found.degrees_of_freedom)
    assert np.isnan([*found.errors, *found.t, *found.p, found.quantile]).all()
    for expected, actual in (
        (fit.rsquared, found.r2), (fit.rsquared_adj, found.adjusted_r2), (np.sqrt(fit.mse_resid), found.residual_error),
        (fit.fvalue, found.f), (fit.f_pvalue, found.f_p),
    ):  # fmt: skip
        assert pytest.approx(expected, rel=1e-9) == actual


@pytest.mark.parametrize("n", [2, 3, 4])
def test_too_few_rows_leave_nothing(n: int) -> None:
    """As many rows as parameters, or fewer: no freedom, no error, no R² that would say anything."""
    found = estimates(moments(*made_up(np.random.default_rng(n), n, 3)))
    assert ("few-rows", 0) == (found.gap, found.degrees_of_freedom)
    assert np.isnan([*found.errors, found.residual_error, found.r2, found.adjusted_r2, found.f]).all()


def test_one_row_more_than_parameters_is_enough() -> None:
    """One degree of freedom, whose t is Cauchy's: 12.7 standard errors to a side."""
    found = estimates(moments(*made_up(np.random.default_rng(1), 5, 3)))
    assert (None, 1) == (found.gap, found.degrees_of_freedom)
    assert pytest.approx(np.tan(np.pi * 0.475), rel=1e-13) == found.quantile


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_a_perfect_fit_is_called_one(intercept: bool, offset: float) -> None:
    """Residuals that are the rounding of the target's cells give no t; noise a hundred times as large does."""
    rng = np.random.default_rng(3)
    X = np.round(100 * rng.normal(size=(50, 2))) / 8
    y = X @ [2.0, -3.0] + (7 + offset if intercept else 0)
    found = estimates(moments(X, y / 3), intercept=intercept)
    assert "perfect" == found.gap
    assert np.isnan([*found.t, *found.p, found.f, found.distance(1e-9)]).all()
    assert found.rmse <= 4 * EPSILON * np.abs(y).max()
    assert (found.low <= found.weights).all()
    noisy = y / 3 + 100 * EPSILON * np.abs(y).max() * rng.normal(size=50)
    assert estimates(moments(X, noisy), intercept=intercept).gap is None


def test_a_target_that_never_changes_has_nothing_to_explain() -> None:
    """Under an intercept; without one it is a target like others."""
    X = np.random.default_rng(1).normal(size=(20, 2)) + 1
    found = estimates(moments(X, np.full(20, 0.1)))
    assert ("constant-target", 0.0) == (found.gap, found.rmse)
    assert np.isnan([*found.errors, found.r2, found.f]).all()
    fit = OLS(np.full(20, 0.1), X, hasconst=False).fit()
    assert pytest.approx(fit.rsquared, rel=1e-12) == estimates(moments(X, np.full(20, 0.1)), intercept=False).r2


# In the record, on the page and in the mail


class Case(NamedTuple):
    """A run and what it left behind."""

    folder: Path
    record: Record
    inference: Inference


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A run over a table with a category, a date, a number far smaller than the others and <markup> in a name."""
    place, rng = tmp_path_factory.mktemp("shops"), np.random.default_rng(5)
    lines = ['"shop <b>",ordered,price,sold']
    for j in range(60):
        shop, day, price = ("north", "south", "west")[j % 3], 1 + j % 28, rng.normal()
        sold = 1234567 + 3 * (shop == "south") + 0.25 * day + 1e-3 * price + 1e-2 * rng.normal()
        lines.append(f"{shop},2026-03-{day:02},{price!r},{sold!r}")
    path = place / "shops.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = Source(path=str(path), target="sold", encode=("category", "dates"))
    folder = run_tasks(source, Training(epochs=50_000, tolerance=1e-14), place)
    return case(folder)


def case(folder: Path) -> Case:
    """What a run left behind."""
    record, _ = read_run(folder)
    assert record.inference is not None
    return Case(folder, record, record.inference)


def errors(found: Inference) -> Array:
    """The standard errors of a record, in its order."""
    return np.array([term.error for term in found.terms], dtype=np.float64)


def cells(folder: Path) -> list[list[str]]:
    """The table of coefficients, row by row, as it stands on the page."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    table = re.search(r'<table id="coefficients">.*?</table>', page, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>(.*?)</tr>", table[0].partition("<tbody>")[2], re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def value(cell: str) -> tuple[float, float]:
    """The number that a cell shows, and half a unit of its last place."""
    written = cell.strip("\u2007\u2008").replace("−", "-").replace(",", "")
    if written == "below 10⁻³⁰⁰":
        return 0.0, 1e-300
    if "e" in written:
        mantissa, _, power = written.partition("e")
        return float(written), 0.5 * 10.0 ** (int(power) - len(mantissa.partition(".")[2]))
    mantissa, _, power = written.partition(" × 10")
    exponent = int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if power else 0
    whole, point, behind = mantissa.partition(".")
    last = -len(behind) if point else min(len(whole) - len(whole.rstrip("0")), max(len(whole.strip("-")) - 4, 0))
    return float(mantissa) * 10.0**exponent, 0.5 * 10.0 ** (exponent + last)


def test_terms_read_as_people_say_them(shops: Case) -> None:
    """The intercept first, then a category against what it is measured from, a date by the day, a number per unit."""
    expected = [
        "intercept", "shop <b> = south, against north", "shop <b> = west, against north", "ordered, a day",
        "per unit of price",
    ]  # fmt: skip
    assert expected == [row[0] for row in cells(shops.folder)]


@pytest.mark.parametrize("name", ["shops", "converged", "exhausted", "diverged"])
def test_every_number_of_the_table_is_that_of_run_json(name: str, shops: Case, cases: dict[str, Path]) -> None:
    """Each cell is the number of the record rounded, and fine enough to tell an interval's ends apart."""
    folder = shops.folder if name == "shops" else cases[name]
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    terms = record["inference"]["terms"]
    by_row = [terms[-1], *terms[:-1]]
    shown = cells(folder)
    assert len(by_row) == len(shown)
    for term, row in zip(by_row, shown, strict=True):
        for column, cell in zip(("weight", "error", "t", "low", "high", "p"), row[1:], strict=True):
            seen, place = value(cell)
            assert abs(seen - term[column]) <= place * (1 + 1e-9), (term["feature"], column)
        assert len({row[1].strip(), row[4].strip(), row[5].strip()}) == 3
        optimum = record["diagnosis"]
        held = optimum["optimum_intercept"] if term["feature"] is None else optimum["optimum"][term["feature"]]
        assert held == term["weight"]


def test_every_number_of_the_facts_is_that_of_run_json(shops: Case) -> None:
    """R², adjusted R², F and its p, both errors, and the degrees of freedom stand on the page as in the record."""
    found, page = shops.inference, text_of((shops.folder / "report.html").read_text(encoding="utf-8"))
    for text in (
        f"{number(found.f)} on 4 and 55 degrees of freedom, p = {number(found.f_p, 2)}",
        f"Residual standard error {number(found.residual_error)}, in units of sold",
        f"RMSE, the root of the loss {number(found.rmse)}, in units of sold",
        "55: 60 rows less 5 for the weights",
    ):
        assert text in page
    for held, pattern in ((found.r2, r" R² ([\d.]+) of the variance of sold"), (found.adjusted_r2, r"Adjusted R² ([\d.]+) ")):
        shown = re.search(pattern, page)
        assert shown is not None
        assert held is not None
        assert abs(float(shown[1]) - held) <= value(shown[1])[1]
        assert abs(float(shown[1]) - held) < 0.1 * (1 - held)  # an R² near 1 is told from it
    assert found.rmse is not None
    assert pytest.approx(shops.record.fits[0].loss, rel=1e-6) == found.rmse**2
    assert pytest.approx(shops.record.fits[0].r2, rel=1e-9) == found.r2


def test_the_mail_says_the_same_intervals(shops: Case) -> None:
    """HTML and plain text name each term's interval, R² and the residual error as run.json has them; the text is ASCII."""
    sent = parsed(letter(Item(shops.record, None, shops.folder)).content)
    page, text = (
        " ".join(text_of(body(sent, "html").replace("<body ", "<body><p ")).split()),
        " ".join(body(sent, "plain").split()),
    )
    by_name = {term.feature: term for term in shops.inference.terms}
    for said, names in ((page, "R²"), (text, "R^2")):
        found = re.search(rf"95\s% intervals: (.*?); {re.escape(names)} ([\d.]+); residual standard error ([\d.e-]+)\.", said)
        assert found is not None
        assert abs(float(found[3]) - (shops.inference.residual_error or 0)) <= value(found[3])[1]
        parts = re.split(r", (?=[a-z])", found[1])
        assert 5 == len(parts)
        for part in parts:
            name = next(name for name in ("intercept", "shop <b>=south", "shop <b>=west", "ordered", "price") if name in part)
            low, high = part.removeprefix(name).strip().split(" to ")
            term = by_name[None if name == "intercept" else name]
            for shown, held in ((low, term.low), (high, term.high)):
                assert held is not None
                seen, place = value(shown)
                assert abs(seen - held) <= place * (1 + 1e-9)
    assert intervals(shops.record, 8, plain=True).isascii()


def test_a_short_mail_names_how_many_more_there_are(shops: Case) -> None:
    """Beside the intercept as many terms as asked for."""
    assert "ordered" not in intervals(shops.record, 2)
    assert ", 2 more in the report; R²" in intervals(shops.record, 2)


@pytest.mark.parametrize(("name", "said"), [
    ("converged", "standard errors of the least-squares optimum, whose errors and intervals are therefore those of the fit."),
    ("exhausted", "which the fit has not reached: it lies up to 28.58 standard errors away."),
    ("diverged", "which the fit has not reached: training ended on weights that are not finite."),
    ("disagree", "Least squares fits perfectly but for rounding: nothing is left to measure errors by"),
])  # fmt: skip
def test_whose_numbers_they_are_is_said(name: str, said: str, cases: dict[str, Path]) -> None:
    """Those of the optimum are called the fit's where it arrived, and are called the optimum's where it did not."""
    found = case(cases[name])
    page = text_of((cases[name] / "report.html").read_text(encoding="utf-8"))
    assert said in page
    assert (name == "converged") == found.inference.arrived
    assert found.inference.arrived == ("Coefficients of the exact optimum" not in page)
    assert found.inference.arrived == bool(intervals(found.record, 8))
    if name != "disagree":
        fit = OLS(*raw_penguins()).fit(method="qr")
        np.testing.assert_allclose(errors(found.inference), fit.bse, rtol=1e-9)


def raw_penguins() -> tuple[Array, Array]:
    """The bundled table as NumPy reads it: target and design, the constant last."""
    import csv  # noqa: PLC0415

    with bundled("penguins").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["body_mass_g"] != "NA"]
    names = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year")
    return np.array([float(row["body_mass_g"]) for row in rows]), np.array(
        [[*(float(row[c]) for c in names), 1.0] for row in rows]
    )


def test_float32_has_the_errors_of_float64(tmp_path: Path) -> None:
    """Its weights end where float32 ends, said in standard errors; errors and R² are those of the moments."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    found = case(run_tasks(source, Training(dtype="float32"), tmp_path, draw=False))
    np.testing.assert_allclose(errors(found.inference), OLS(*raw_penguins()).fit().bse, rtol=1e-9)
    assert found.inference.arrived
    assert found.inference.distance is not None
    assert 1e-6 < found.inference.distance < 1e-2


UNDEFINED: dict[str, tuple[Array, Array, str]] = {
    "repeats": (np.column_stack([np.arange(9.0), 2 * np.arange(9.0)]), np.sin(np.arange(9.0)), "the weights are not unique"),
    "few": (np.random.default_rng(1).normal(size=(3, 4)), np.arange(3.0), "there are no more rows than"),
    "flat": (np.arange(8.0)[:, None], np.full(8, 3.0), "the target never changes"),
    "perfect": (np.arange(8.0)[:, None], 3 * np.arange(8.0), "least squares fits perfectly"),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_not_defined_is_null_beside_a_reason(name: str, tmp_path: Path) -> None:
    """In run.json, and the page draws and says it."""
    X, y, reason = UNDEFINED[name]
    folder = run_tasks(Source(path=str(write_csv(tmp_path / "t.csv", X, y)), target="y"), Training(), tmp_path)
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))["inference"]
    missing = {key for key, held in record.items() if held is None}
    missing |= {key for term in record["terms"] for key, held in term.items() if held is None} - {"feature"}
    assert missing == set(record["reasons"])
    assert {"t", "p", "distance"} <= missing or name == "repeats"
    assert {True} == {held.startswith(reason) for held in record["reasons"].values()}
    assert reason in text_of((folder / "report.html").read_text(encoding="utf-8")).replace("Least", "least")


def test_the_notebook_has_a_perfect_optimum(tmp_path: Path) -> None:
    """Y = 2 X without an intercept: one weight, of which PyTorch's ten epochs fall short."""
    source = Source(path=str(bundled("notebook")), target="Y")
    found = case(run_tasks(source, preset("notebook"), tmp_path, draw=False)).inference
    assert (True, False, False, 4) == (found.perfect, found.centred, found.arrived, found.degrees_of_freedom)
    assert pytest.approx(2.0) == found.terms[0].weight


def test_a_record_of_before_draws_as_it_did(cases: dict[str, Path], tmp_path: Path) -> None:
    """A run.json without the part loads, and its page has equation and ends without the table."""
    record = json.loads((cases["converged"] / "run.json").read_text(encoding="utf-8"))
    del record["inference"]
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    for name in ("epochs.csv", "fit.csv"):
        (tmp_path / name).write_bytes((cases["converged"] / name).read_bytes())
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="equation"' in page
    assert "Coefficients" not in page
    assert coefficients(read_run(tmp_path)[0]) is None


def test_columns_stand_on_their_points() -> None:
    """Every number is filled up to the longest behind the point; powers and dashes stay."""
    filled = aligned(["1.25", "−3", "1,024.5", "3 × 10⁻¹⁶", "—"])
    assert ["1.25", "−3\u2008\u2007\u2007", "1,024.5\u2007", "3 × 10⁻¹⁶", "—"] == filled
    assert ["1", "22"] == aligned(["1", "22"])
