"""Tables as they lie in public packages, untouched: what is read of them, and their weights by statsmodels.

Each verdict was written down from looking at the file, before it was read: rows and columns by counting its lines and cells,
refusals by the line that a careful person would stumble over.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from gd.data import MISSING, Array, DataError, Encoding, Source
from gd.diagnosis import spectrum
from gd.dialect import Dialect
from gd.moments import Moments
from gd.reading import Reading, read
from gd.settings import Training
from tests.conftest import run_tasks

DATASETS = "statsmodels/datasets"
RESULTS = "statsmodels/{}/tests/results/{}.csv"
SKLEARN = "sklearn/datasets/data"
SAMPLES = "matplotlib/mpl-data/sample_data"

SUSPECTS = {"index", "same-as-target", "sentinel", "rounded"}
"""The kinds of remarks that a single column can earn by its values; each table says which it expects."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a user tries first, and is refused with."""

    said: str  # a pattern for the whole error: the option that is named, or what is wrong where there is none
    line: int | None = None  # of the file; None: the refusal is about all of it
    dialect: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None  # where it is another one than in the end
    features: tuple[str, ...] | None = None
    exactly: bool = True  # whether the place is decided; else only that the file is named


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file, the options that it needs, and what is to come of it."""

    path: str  # below the folder of installed packages
    target: str
    rows: int  # that are used
    features: tuple[str, ...]  # that are used, in order
    dropped: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)  # columns with how their reasons begin, beside those asked for
    named: tuple[str, ...] | None = None  # features that are asked for
    leave_out: tuple[str, ...] = ()
    encode: tuple[Encoding, ...] = ()
    dialect: Mapping[str, Any] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)  # of the format
    suspects: frozenset[tuple[str, str]] = frozenset()  # kind and column of each remark
    refused: tuple[Attempt, ...] = ()  # what was tried before
    first: int = 2  # line on which the first row stands
    pandas: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        """What a user says."""
        return Source(
            path=str(installed(self.path)), target=self.target, features=self.named, leave_out=self.leave_out,
            encode=self.encode, dialect=Dialect(**self.dialect),
        )  # fmt: skip


def columns(*numbers: int) -> tuple[str, ...]:
    """Names of columns that have none."""
    return tuple(f"column {number}" for number in numbers)


def upto(last: int, *without: int) -> tuple[str, ...]:
    """Names of the columns from the first to the last but some."""
    return columns(*(number for number in range(1, last + 1) if number not in without))


NO_HEADER = Attempt("--header none", 1)
BLANKS = Attempt("--delimiter", exactly=False)  # no delimiter that is found out: a blank has to be asked for

TABLES = [
    # Commas and a header of plain names: nothing to say.
    Table(f"{DATASETS}/stackloss/stackloss.csv", "STACKLOSS", 21, ("AIRFLOW", "WATERTEMP", "ACIDCONC"), found={"quote": '"'}),
    Table(f"{DATASETS}/engel/engel.csv", "foodexp", 235, ("income",)),
    Table(RESULTS.format("robust", "hbk"), "Y", 75, ("X1", "X2", "X3")),
    Table(
        f"{DATASETS}/macrodata/macrodata.csv", "realcons", 203,
        ("year", "quarter", "realgdp", "realinv", "realgovt", "realdpi", "cpi", "m1", "tbilrate", "unemp", "pop", "infl",
         "realint"),
    ),
    Table(
        f"{DATASETS}/ccard/src/ccard.csv", "Avgexp", 100, ("MDR", "Acc", "Age", "Income", "Ownrent", "Selfempl"),
    ),
    Table(
        f"{DATASETS}/randhie/randhie.csv", "mdvis", 20190,
        ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"),
    ),
    # Text is left out, and so is what never changes.
    Table(
        f"{DATASETS}/statecrime/statecrime.csv", "violent", 51, ("murder", "hs_grad", "poverty", "single", "white", "urban"),
        left_out={"state": "text"},
    ),
    Table(
        f"{DATASETS}/cpunish/cpunish.csv", "EXECUTIONS", 17,
        ("INCOME", "PERPOVERTY", "PERBLACK", "VC100k96", "SOUTH", "DEGREE"), left_out={"STATE": "text"},
    ),
    Table(
        f"{DATASETS}/scotland/scotvote.csv", "YES", 32, ("COUTAX", "UNEMPF", "MOR", "ACT", "GDP", "AGE", "COUTAX_FEMALEUNEMP"),
        left_out={"COUNCILDIST": "text"},
    ),
    Table(
        f"{DATASETS}/fair/fair_pt.csv", "naffairs", 601,
        ("identifier", "sex", "age", "nmarried", "nchildren", "religious", "education", "occupation", "rate_marriage"),
        left_out={"constant": "constant"},
    ),
    Table(
        f"{SAMPLES}/msft.csv", "Close", 65, ("Open", "High", "Low", "Volume", "Adj. Close*"), left_out={"Date": ""},
    ),
    # A column that counts the rows is used, and said. Longley's Obs is YEAR - 1946: with both, weights are not unique.
    Table(
        f"{DATASETS}/longley/longley.csv", "TOTEMP", 16, ("GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR"),
        leave_out=("Obs",), suspects=frozenset({("index", "YEAR")}),
    ),
    Table(
        f"{DATASETS}/elnino/elnino.csv", "DEC", 61,
        ("YEAR", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV"),
        suspects=frozenset({("index", "YEAR")}),
    ),
    # Products of two and three of its own columns: singular values from 1 to 470 when standardised.
    Table(
        f"{DATASETS}/star98/star98.csv", "PR50M", 303,
        ("MATHTOT", "LOWINC", "PERASIAN", "PERBLACK", "PERHISP", "PERMINTE", "AVYRSEXP", "AVSALK", "PERSPENK", "PTRATIO",
         "PCTAF", "PCTCHRT", "PCTYRRND", "PERMINTE_AVYRSEXP", "PERMINTE_AVSAL", "AVYRSEXP_AVSAL", "PERSPEN_PTRATIO",
         "PERSPEN_PCTAF", "PTRATIO_PCTAF", "PERMINTE_AVYRSEXP_AVSAL", "PERSPEN_PTRATIO_PCTAF"),
    ),
    # Other delimiters, quotes, line ends and a byte order mark are found out.
    Table(
        f"{DATASETS}/anes96/anes96.csv", "vote", 944,
        ("popul", "TVnews", "selfLR", "ClinLR", "DoleLR", "PID", "age", "educ", "income"),
        found={"delimiter": "\t", "quote": "'"}, pandas={"sep": "\t", "quotechar": "'"},
    ),
    Table(
        f"{DATASETS}/modechoice/modechoice.csv", "gc", 840,
        ("individual", "mode", "choice", "ttme", "invc", "invt", "hinc", "psize"),
        found={"delimiter": ";"}, pandas={"sep": ";"},
    ),
    Table(
        f"{DATASETS}/star98/src/star98.dat", "READ", 303, ("LOWINC", "PERASIAN", "PERMINTE", "AVYRSEXP", "AVSAL", "PTRATIO"),
        named=("LOWINC", "PERASIAN", "PERMINTE", "AVYRSEXP", "AVSAL", "PTRATIO"), found={"delimiter": "\t"},
        pandas={"sep": "\t"},
    ),
    Table(
        f"{DATASETS}/danish_data/data.csv", "lrm", 55, ("lry", "lpy", "ibo", "ide"), left_out={"period": "text"},
        found={"byte_order_mark": True}, pandas={"encoding": "utf-8-sig"},
    ),
    Table(
        RESULTS.format("tsa/regime_switching", "mar_filardo"), "dlip", 514,
        ("dmdlleading", "transition_00", "transition_10", "filtered_0", "smoothed_0", "duration0", "duration1"),
        dropped=5, found={"line_ends": "CR"},
    ),
    # Blanks around cells and names, numbers without a leading zero, 18 digits.
    Table(f"{DATASETS}/strikes/strikes.csv", "duration", 62, ("iprod",), pandas={"skipinitialspace": True}),
    Table(
        RESULTS.format("tsa/stl", "stl_test_results"), "rw", 2435, ("idx", "season", "trend"), left_out={"scenario": "text"},
        pandas={"skipinitialspace": True},
    ),
    Table(
        RESULTS.format("tsa", "arima111_forecasts"), "cpi", 202, ("predict",), dropped=21, named=("predict",),
        refused=(Attempt(r"(stderr|conf1|conf2).*--(features|leave-out)"),), pandas={"skipinitialspace": True},
    ),
    # Missing cells, rows of nothing but delimiters, columns without a value.
    Table(f"{DATASETS}/co2/co2.csv", "co2", 2225, ("date",), dropped=59),
    Table(
        RESULTS.format("regression", "results_rls_stata"), "rr", 200, ("cusum", "cusum2"), dropped=3,
        named=("cusum", "cusum2"),
    ),
    Table(
        f"{DATASETS}/fertility/fertility.csv", "2011", 192, tuple(map(str, range(1960, 2011))), dropped=27,
        left_out={
            "Country Name": "text", "Country Code": "text", "Indicator Name": "text", "Indicator Code": "text",
            "2012": "no value in any row", "2013": "no value in any row",
        },
    ),
    Table(
        RESULTS.format("tsa/statespace", "frbny_nowcast/Nowcasting/data/US/2016-06-29"), "UNRATE", 377,
        ("PAYEMS", "HOUST", "INDPRO"), dropped=1, named=("PAYEMS", "HOUST", "INDPRO"),
    ),
    # Two rows below the table hold something else, in columns that have no name and are otherwise empty.
    Table(
        RESULTS.format("tsa", "results_arima_forecasts_all_css"), "fc", 223, ("year", "quarter"), dropped=7,
        named=("year", "quarter"), refused=(Attempt(r"column 1[34].*--(features|leave-out)"),),
    ),
    # 999999999999998592 is beyond 2**53, but float64 holds it: nothing was rounded.
    Table(
        RESULTS.format("tsa/statespace", "results_smoothing_R"), "alphahat1", 202, ("a1", "a2", "a3", "detPmu"),
        named=("a1", "a2", "a3", "detPmu"),
    ),
    # Categories and dates.
    Table(
        f"{DATASETS}/grunfeld/grunfeld.csv", "invest", 220,
        ("value", "capital", "firm=Atlantic Refining", "firm=Chrysler", "firm=Diamond Match", "firm=General Electric",
         "firm=General Motors", "firm=Goodyear", "firm=IBM", "firm=US Steel", "firm=Union Oil", "firm=Westinghouse", "year"),
        encode=("category",),
    ),
    Table(
        RESULTS.format("gam", "autos"), "price", 199,
        ("fuel=gas", "aspir=turbo", "drive=fwd", "drive=rwd", "weight", "hp"), dropped=6,
        named=("fuel", "aspir", "drive", "weight", "hp"), encode=("category",),
    ),
    Table(
        RESULTS.format("genmod", "stata_lbw_glm"), "bwt", 189,
        ("low", "age", "lwt", "race=other", "race=white", "smoke", "ptl", "ht", "ui", "ftv"), leave_out=("id",),
        encode=("category",),
    ),
    Table(
        RESULTS.format("genmod", "epil"), "y", 236,
        ("trt=progabide", "base", "age", "V4", "subject", "period", "lbase", "lage"), leave_out=columns(1),
        encode=("category",),
    ),
    Table(RESULTS.format("tsa/holtwinters", "housing-data"), "HOUSTNSA", 714, ("DATE",), encode=("dates",)),
    Table(RESULTS.format("tsa/stl", "mstl_elec_vic"), "y", 3600, ("ds",), encode=("dates",)),
    Table(
        f"{SAMPLES}/Stocks.csv", "MSFT", 391, ("Date", "IBM", "AAPL", "^GSPC"), dropped=133,
        named=("Date", "IBM", "AAPL", "^GSPC"), encode=("dates",), dialect={"comment": "#"},
        refused=(Attempt("--header 2", 1),), first=3, pandas={"comment": "#"},
    ),
    # Delimiters that have to be asked for, and no header.
    Table(
        f"{DATASETS}/spector/spector.csv", "GRADE", 32, ("GPA", "TUCE", "PSI"), leave_out=("OBS",),
        dialect={"delimiter": "space"}, found={"delimiter": " ", "quote": "'"}, refused=(BLANKS,),
        pandas={"sep": " ", "quotechar": "'"},
    ),
    Table(
        f"{SKLEARN}/linnerud_exercise.csv", "Chins", 20, ("Situps", "Jumps"), dialect={"delimiter": "space"},
        refused=(BLANKS,), pandas={"sep": " "},
    ),
    Table(
        f"{DATASETS}/interest_inflation/E6_jmulti.csv", "column 1", 107, columns(2),
        dialect={"delimiter": "space", "header": "none"}, refused=(Attempt("--header none", 1, {"delimiter": "space"}),),
        first=1, pandas={"sep": " ", "header": None},
    ),
    Table(
        f"{SKLEARN}/diabetes_data_raw.csv.gz", "column 3", 442, upto(10, 3),
        dialect={"delimiter": "space", "header": "none"}, found={"compression": "gzip"},
        refused=(Attempt("--header none", 1, {"delimiter": "space"}),), first=1, pandas={"sep": " ", "header": None},
    ),
    Table(
        f"{SKLEARN}/digits.csv.gz", "column 65", 1797, upto(64, 1, 33, 40),
        left_out=dict.fromkeys(columns(1, 33, 40), "constant"), dialect={"header": "none"}, found={"compression": "gzip"},
        refused=(NO_HEADER,), first=1, pandas={"header": None},
    ),
    Table(  # -99 is one value of many here, and no mark
        RESULTS.format("regression", "lasso_data"), "column 1", 300, upto(6, 1), dialect={"header": "none"},
        refused=(NO_HEADER,), first=1, pandas={"header": None},
    ),
    Table(
        RESULTS.format("tsa", "bds_results"), "column 3", 16, columns(2, 5), dropped=4, named=columns(2, 5),
        dialect={"header": "none"}, refused=(NO_HEADER,), first=1, pandas={"header": None},
    ),
    # A first line that counts rows and columns and names the classes, as scikit-learn writes it.
    Table(
        f"{SKLEARN}/iris.csv", "column 4", 150, columns(1, 2, 3, 5), dialect={"skip_lines": "1", "header": "none"}, first=2,
        pandas={"skiprows": 1, "header": None},
    ),
    Table(
        f"{SKLEARN}/wine_data.csv", "column 1", 178, upto(14, 1), dialect={"skip_lines": "1", "header": "none"},
        refused=(Attempt("14 cells", 2, {"delimiter": "comma", "header": "none"}),), first=2,
        pandas={"skiprows": 1, "header": None},
    ),
    Table(
        f"{SKLEARN}/breast_cancer.csv", "column 31", 569, upto(30), dialect={"skip_lines": "1", "header": "none"},
        refused=(Attempt("31 cells where the header has 4", 2, target="benign"),), first=2,
        pandas={"skiprows": 1, "header": None},
    ),
    # R writes row names, and no name above them.
    Table(
        RESULTS.format("regression", "dietox"), "column 2", 789, columns(3, 4), dropped=72, named=columns(3, 4),
        dialect={"skip_lines": "1", "header": "none"},
        refused=(Attempt("8 cells where the header has 7", 2, target="Weight"),), pandas={"skiprows": 1, "header": None},
    ),
    Table(
        f"{DATASETS}/scotland/src/scotvote.csv", "column 43", 31, columns(7, 15, 17, 21, 33, 38, 41), dropped=1,
        named=columns(7, 15, 17, 21, 33, 38, 41), dialect={"delimiter": "space", "skip_lines": "1", "header": "none"},
        refused=(
            Attempt("43 cells where the header has 42", 2, {"delimiter": "space"}, "Var.42", ("GDP",)),
        ),
        pandas={"sep": " ", "skiprows": 1, "header": None},
    ),
    # Words above and below a table. The second has a name too many: a comma ends its header, and no row.
    Table(
        f"{DATASETS}/scotland/src/scotland_population.csv", "Population (thousands) Total", 32,
        ("Area (sq km)", "Persons per sq km", "Population (thousands) Males", "Population (thousands) Females",
         "Total population percentage change 1981-1996", "Total period fertility rate (TPFR)<1>",
         "Standardised mortality ratio (UK=100) (SMR)<2>", "Percentage of population aged under 5",
         "Percentage of population aged 5-15", "Percentage of population aged 16 up to pension age<3>",
         "Percentage of population of pension age or over<4>"),
        left_out={"column 1": "text", "column 14": "no value in any row"}, dialect={"header": 18, "skip_lines": "20-21,54-"},
        refused=(Attempt("--header 18", 1), Attempt("1 cell where the header has 14", 54, {"header": 18})),
        pandas={"skiprows": [*range(13), 15, 16], "nrows": 32},  # pandas counts the five lines of one quoted cell as one
    ),
    Table(
        f"{DATASETS}/macrodata/src/unemp.csv", "column 4", 203, ("column 2", "column 3=Q02", "column 3=Q03", "column 3=Q04"),
        left_out={"column 1": ""}, encode=("category",), dialect={"skip_lines": "10", "header": "none"},
        refused=(
            Attempt("--header 10", 1, target="Value"), Attempt("4 cells where the header has 5", 11, {"header": 10}, "Value"),
        ),
        pandas={"skiprows": 10, "header": None},
    ),
]  # fmt: skip

REFUSED = {
    f"{SAMPLES}/data_x_x2_x3.csv": ("column 3", Attempt("8 cells", 4, {"delimiter": "space", "header": "none"})),
    RESULTS.format("tsa", "arima212_forecast"): ("cpi", Attempt("5 cells where the header has 6", 3)),
    "statsmodels/iolib/tests/test_data.csv": ("realgdp", Attempt("1 complete row")),
    RESULTS.format("tsa", "BAA"): ("SCHWERTBAA", Attempt("", exactly=False)),
    f"{SKLEARN}/diabetes_target.csv.gz": ("column 1", Attempt("", None, {"header": "none"}, exactly=False)),
    f"{DATASETS}/elec_equip/elec_equip.csv": ("STS.M.I7.W.TOVT.NS0016.4.000", Attempt("DATE", exactly=False)),
    "numpy/random/tests/data/pcg64-testset-1.csv": ("seed", Attempt("0xdeadbeaf", exactly=False)),
    "numpy/_core/tests/data/umath-validation-set-exp.csv": (
        "ulperrortol",
        Attempt("left out", None, {"comment": "#"}, exactly=False),
    ),
}
"""Files that no option reads: what is asked for, and what is said of it."""

NIST = {
    "GNPDEFL": 15.0618722713733, "GNP": -0.358191792925910e-01, "UNEMP": -2.02022980381683, "ARMED": -1.03322686717359,
    "POP": -0.511041056535807e-01, "YEAR": 1829.15146461355, "intercept": -3482258.63459582,
}  # fmt: skip
"""The certified weights of Longley's table: NIST, Statistical Reference Datasets, linear regression."""


def installed(path: str) -> Path:
    """A file of an installed package."""
    package, _, inside = path.partition("/")
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / inside


def ids(table: Table) -> str:
    """What a test of it is called."""
    return "/".join(Path(table.path).parts[-2:])


@cache
def reading(table: Table) -> Reading:
    """All of it as we read it, its rows kept."""
    return read([table.source.path], table.source, keep_rows=lambda rows, columns: True)


@cache
def frame(table: Table) -> pd.DataFrame:
    """All of it as pandas reads it, with the names and the missing marks of ours; blanks around names are left off."""
    options = {"keep_default_na": False, "na_values": [*MISSING, "nan"]} | dict(table.pandas)
    data = pd.read_csv(installed(table.path), **options)  # whose numbers are the nearest ones to their digits since pandas 3.1
    unnamed = [isinstance(name, int) or name.startswith("Unnamed: ") or not name.strip() for name in data.columns]
    return data.set_axis([columns(j + 1)[0] if unnamed[j] else name.strip() for j, name in enumerate(data.columns)], axis=1)


def made(data: pd.DataFrame, feature: str) -> Array:
    """One feature of the rows that are used."""
    if feature in data.columns:
        if pd.api.types.is_numeric_dtype(data[feature]):
            return np.asarray(data[feature], np.float64) + 0.0
        days = pd.to_datetime(data[feature])
        return np.asarray((days - days.min()) / pd.Timedelta(days=1), np.float64)
    column, _, level = feature.partition("=")
    return np.asarray(data[column] == level, np.float64)


def of_file(features: tuple[str, ...], data: pd.DataFrame) -> list[str]:
    """The columns of the file that features were made of."""
    return list(dict.fromkeys(name if name in data.columns else name.partition("=")[0] for name in features))


def weights(moments: Moments) -> Array:
    """Least squares by the way that a run takes: from the moments, in units of the file, the intercept last."""
    scaling = moments.scaling(center=True)
    A, b = moments.compressed(scaling, intercept=True)
    return scaling.to_units(spectrum(A, b).optimum, intercept=True)


def refusal(path: str, target: str, attempt: Attempt) -> str:
    """What an attempt is refused with, its place checked."""
    source = Source(
        path=str(installed(path)), target=attempt.target or target, features=attempt.features,
        dialect=Dialect(**attempt.dialect),
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        read([source.path], source, keep_rows=lambda rows, columns: True)
    name = Path(path).name
    if attempt.exactly:
        assert (name if attempt.line is None else f"{name}, line {attempt.line}") == caught.value.where
    else:
        assert caught.value.where.startswith(name)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize("table", TABLES, ids=ids)
def test_a_real_table_is_read_as_pandas_reads_it(table: Table) -> None:
    """Rows, features, what was dropped and left out as written down; every number the same bit for bit."""
    rows = reading(table).rows
    assert rows is not None
    said, data = rows.provenance, frame(table)
    assert (table.rows, len(table.features)) == rows.X.shape
    assert table.features == said.features
    assert table.target == said.target
    used = data.dropna(subset=[table.target, *of_file(table.features, data)])
    gone = np.setdiff1d(np.arange(len(data)), used.index.to_numpy())
    assert (table.rows, table.dropped) == (len(used), len(gone))  # else the table of this test is wrong
    assert (len(data), table.rows) == (said.rows, said.rows_used)
    assert [int(line) for line in gone + table.first] == [line for part in said.rows_dropped for line in part.lines]
    assert table.dropped == sum(part.count for part in said.rows_dropped)
    reasons = {one.column: one.reason for one in said.left_out if one.column not in table.leave_out}
    assert table.left_out.keys() == reasons.keys()
    assert all(reasons[column].startswith(reason) for column, reason in table.left_out.items())
    for j, feature in enumerate(table.features):
        assert made(used, feature).tobytes() == (rows.X[:, j] + 0.0).tobytes(), feature  # -0 is an integer to pandas: 0
    assert made(used, table.target).tobytes() == (rows.y + 0.0).tobytes()


@pytest.mark.parametrize("table", TABLES, ids=ids)
def test_weights_of_a_real_table_are_those_of_statsmodels(table: Table) -> None:
    """The optimum from the moments, in units of the file, beside ordinary least squares on pandas' own numbers."""
    data = frame(table)
    used = data.dropna(subset=[table.target, *of_file(table.features, data)])
    X = np.column_stack([made(used, feature) for feature in table.features])
    y = used[table.target].to_numpy(np.float64)
    # QR, since the pseudo-inverse that is the default cuts off directions that are small in the columns' own units: with a
    # column of 1e18 beside one of 1 it would leave that one out. The worst seen was 1e-11, of msft.csv.
    expected = OLS(y, add_constant(X, prepend=False, has_constant="add")).fit(method="qr").params
    assert np.allclose(weights(reading(table).moments), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("table", [table for table in TABLES if table.found], ids=ids)
def test_how_a_real_table_is_written_is_found_out(table: Table) -> None:
    """The report says what was found out, and what an option said."""
    found = reading(table).provenance.format
    assert found is not None
    assert dict(table.found) == {name: getattr(found, name) for name in table.found}
    assert set(table.dialect) == set(found.given)


@pytest.mark.parametrize("table", TABLES, ids=ids)
def test_nothing_in_a_real_table_is_suspected_without_cause(table: Table) -> None:
    """Row counters are said; -99 among other numbers, years and codes are not taken for anything else."""
    remarks = reading(table).provenance.remarks
    assert table.suspects == {(remark.kind, remark.column) for remark in remarks if remark.kind in SUSPECTS}


@pytest.mark.parametrize("table", [table for table in TABLES if table.refused], ids=ids)
def test_a_real_table_that_needs_an_option_is_refused_without_it(table: Table) -> None:
    """The refusal says the line, and the option that reads the table; several things in the way are said one by one."""
    for attempt in table.refused:
        assert re.search(attempt.said, refusal(table.path, table.target, attempt))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: Path(path).name)
def test_a_real_file_that_is_no_table_is_refused(path: str) -> None:
    """Ragged rows, a single column, numbers in hexadecimal, one row."""
    target, attempt = REFUSED[path]
    assert re.search(attempt.said, refusal(path, target, attempt))


def test_categories_of_a_real_table_are_listed() -> None:
    """Every level of the file, sorted, the first without a column of its own."""
    table = next(table for table in TABLES if table.path.endswith("grunfeld.csv"))
    [encoded] = reading(table).provenance.encoded
    assert ("firm", "category") == (encoded.column, encoded.kind)
    assert tuple(sorted(set(frame(table)["firm"]))) == encoded.levels
    assert tuple(f"firm={level}" for level in encoded.levels[1:]) == encoded.features


def test_longley_has_its_certified_weights() -> None:
    """Ten digits of the table on which least squares is tried since 1967, whichever way its columns are turned."""
    table = next(table for table in TABLES if table.path.endswith("longley.csv"))
    assert np.allclose(weights(reading(table).moments), [*NIST.values()], rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", ["engel.csv", "spector.csv", "hbk.csv"])
def test_a_descent_on_a_real_table_arrives(tmp_path: Path, name: str) -> None:
    """The whole way to run.json: both backends converge on the weights and the R² of statsmodels."""
    table = next(table for table in TABLES if table.path.endswith(f"/{name}"))
    folder = run_tasks(table.source, Training(tolerance=1e-9, epochs=50_000), tmp_path, draw=False)
    record, data = json.loads((folder / "run.json").read_bytes()), frame(table)
    fit = OLS(data[table.target], add_constant(data[list(table.features)], prepend=False)).fit()
    assert "converged" == record["verdict"]
    assert (len(data), table.rows) == (record["dataset"]["rows"], record["dataset"]["rows_used"])
    assert 2 == len(record["fits"])
    for one in record["fits"]:
        found = [*(one["weights"][feature] for feature in table.features), one["intercept"]]
        assert np.allclose(found, fit.params, rtol=1e-5, atol=0)
        assert np.isclose(one["r2"], fit.rsquared, rtol=1e-6, atol=0)


def test_the_tables_are_as_many_and_as_different_as_they_should_be() -> None:
    """Each file once, none of our own."""
    paths = [table.path for table in TABLES]
    assert len(paths) >= 25
    assert all(first != second for first, second in pairwise(sorted(paths)))


def test_importing_gd_loads_nothing_that_it_is_held_against() -> None:
    """pandas, scikit-learn and statsmodels are there for the tests alone: a second of imports that no run should pay."""
    code = (
        "import sys, gd.cli, gd.reading, gd.archive, flows.training_report, tests.conftest\n"
        "print(sorted({'pandas', 'sklearn', 'scipy', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "[]\n" == done.stdout
