"""One known table in hundreds of disguises and breakages: what a careful person reads, or a refusal with its place."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from gd.data import Array, DataError, Dataset, Encoded, Remark, standardize
from gd.diagnosis import spectrum
from gd.dialect import same_name
from gd.reading import read_csv
from gd.refusal import shown
from tests.corpus import CASES, Case, Read, Refused
from tests.corpus.case import Rows

READ = tuple(case for case in CASES if isinstance(case.verdict, Read))
REFUSED = tuple(case for case in CASES if isinstance(case.verdict, Refused))
FIXED = {"rounded", "sentinel", "index", "same-as-target"}  # remarks that are made where a case says so and nowhere else
SAID = {"delimiter", "quote", "decimal", "thousands", "encoding", "comment", "missing", "units", "parentheses"}

ids = [case.name for case in CASES].__getitem__  # of a number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all files: each is written over the last, or beside it."""
    return tmp_path_factory.mktemp("corpus")


def load(case: Case, folder: Path) -> Dataset:
    """What the loader makes of it."""
    path = folder / case.file
    path.write_bytes(case.bytes)
    return read_csv(path, case.target, case.features, leave_out=case.leave_out, encode=case.encode, dialect=case.dialect)


def exact(rows: Rows) -> tuple[list[Fraction], list[Fraction] | None]:
    """Fitted values of least squares with an intercept, and its weights, the intercept last, where they are unique.

    The normal equations ΦᵀΦ θ = Φᵀy are eliminated in rational numbers: nothing is rounded, and a rank is a rank.
    """
    design = [[*map(Fraction, row[:-1]), Fraction(1)] for row in rows]
    y = [Fraction(row[-1]) for row in rows]
    p = len(design[0])
    system = [
        [*(sum((row[i] * row[j] for row in design), Fraction()) for j in range(p)),
         sum((row[i] * value for row, value in zip(design, y, strict=True)), Fraction())]
        for i in range(p)
    ]  # fmt: skip
    free = set()
    for i in range(p):
        if system[i][i] == 0:  # the matrix is positive semidefinite: then its whole row and column are 0
            free.add(i)
            continue
        system[i] = [value / system[i][i] for value in system[i]]
        for k in range(p):
            if k != i and system[k][i]:
                factor = system[k][i]
                system[k] = [a - factor * b for a, b in zip(system[k], system[i], strict=True)]
    theta = [Fraction() if i in free else system[i][p] for i in range(p)]
    fitted = [sum((a * b for a, b in zip(row, theta, strict=True)), Fraction()) for row in design]
    return fitted, None if free else theta


def fit(dataset: Dataset) -> tuple[Array, Array]:
    """The same from what was read, as this project has its optimum: standardised, and y by a power of two near 1."""
    unit = np.ldexp(1.0, int(np.frexp(np.abs(dataset.y).max())[1]) - 1)
    scaling = standardize(dataset.X, center=True)
    design = np.column_stack([scaling.apply(dataset.X), np.ones(len(dataset.y))])
    optimum = spectrum(design, dataset.y / unit).optimum
    return design @ optimum * unit, scaling.to_units(optimum, intercept=True) * unit


def check_numbers(case: Case, verdict: Read, dataset: Dataset) -> None:
    """Every cell bit for bit, and the weights of least squares as rational numbers have them."""
    names = [same_name(name) for name in verdict.features]
    found = [same_name(name) for name in dataset.provenance.features]
    assert (sorted(names) if case.encode else names) == (sorted(found) if case.encode else found)
    expected = np.array([[float(cell) for cell in row] for row in verdict.rows])
    X = dataset.X[:, [found.index(name) for name in names]]
    assert expected[:, :-1].tobytes() == np.ascontiguousarray(X).tobytes(), f"{expected[:, :-1]} and not {X}"
    assert expected[:, -1].tobytes() == dataset.y.tobytes(), f"{expected[:, -1]} and not {dataset.y}"
    fitted, weights = exact(verdict.rows)
    predictions, theta = fit(Dataset(np.asfortranarray(X), dataset.y, dataset.provenance))
    largest = float(max(map(abs, fitted)))
    assert np.allclose(list(map(float, fitted)), predictions, rtol=0, atol=1e-9 * largest)
    if weights is not None:
        nought = (
            1e-12 * np.abs(dataset.y).max() / np.append(standardize(X, center=True).scale, 1.0)
        )  # where a weight is 0, or all but
        assert (np.abs(theta - np.array(list(map(float, weights)))) <= 1e-9 * np.abs(theta) + nought).all()


def check_account(case: Case, verdict: Read, dataset: Dataset) -> None:
    """What was left out, dropped, missing, made numbers and remarked is said, and nothing else."""
    provenance = dataset.provenance
    assert sorted(verdict.dropped) == sorted(chain.from_iterable(item.lines for item in provenance.rows_dropped))
    assert len(verdict.dropped) == sum(item.count for item in provenance.rows_dropped)
    assert len(verdict.rows) == provenance.rows_used
    assert len(verdict.rows) + len(verdict.dropped) == provenance.rows
    if verdict.left_out is not None:
        said = {
            re.sub(r" \(column \d+\)$", "", same_name(item.column)): item.reason for item in provenance.left_out
        }  # of twins
        kept = {name: reason for name, reason in said.items() if name not in case.leave_out}
        assert {same_name(name) for name in verdict.left_out} == set(kept)
        assert {} == {name: word for name, word in verdict.left_out.items() if word not in kept[same_name(name)]}
    if verdict.missing is not None:
        used = {*verdict.features, case.target}
        assert verdict.missing == {name: n for name, n in provenance.missing_cells.items() if n and name in used}
    remarks: dict[tuple[str, str], Remark] = {
        (remark.kind, same_name(remark.column or "")): remark for remark in provenance.remarks if remark.kind in FIXED
    }
    assert {(said.kind, same_name(said.column)) for said in verdict.remarks} == set(remarks)
    for expected in verdict.remarks:
        remark = remarks[expected.kind, same_name(expected.column)]
        assert expected.cells in {None, remark.count}
        assert expected.lines in {None, remark.lines}
        assert remark.text
    left = {item.column for item in provenance.left_out}
    encoded: dict[str, Encoded] = {item.column: item for item in provenance.encoded if item.column not in left}
    assert {made.column for made in verdict.encoded} == set(encoded)
    for made in verdict.encoded:
        assert (made.kind, made.levels) == (encoded[made.column].kind, encoded[made.column].levels)
        assert (encoded[made.column].first or "").startswith(made.first)
    assert re.fullmatch(r"[\w.-]+", provenance.name)


def check_format(case: Case, verdict: Read, dataset: Dataset) -> None:
    """What was found out of how the file is written is said, and what an option said is said to be said."""
    assert dataset.provenance.format is not None
    found = dataset.provenance.format.model_dump()
    encoding = str(found["encoding"]).lower().replace("_", "-")
    assert encoding.startswith(str(verdict.format.get("encoding", "")))
    expected = {name: value for name, value in verdict.format.items() if name != "encoding"}
    assert expected == {name: found[name] for name in expected}
    for name in ("decimal", "thousands", "comment", "units", "parentheses"):
        assert getattr(case.dialect, name) == found[name]
    assert set(case.dialect.marks) == set(found["missing"])
    assert case.dialect.model_fields_set & SAID == set(found["given"]) & SAID


@pytest.mark.parametrize("number", range(len(CASES)), ids=ids)
def test_case(number: int, folder: Path) -> None:
    """Each file ends in the numbers that a careful person reads, or in a refusal that names place and remedy."""
    case = CASES[number]
    verdict = case.verdict
    if isinstance(verdict, Read):
        dataset = load(case, folder)
        check_numbers(case, verdict, dataset)
        check_account(case, verdict, dataset)
        check_format(case, verdict, dataset)
        return
    with pytest.raises(DataError) as caught:
        load(case, folder)
    error = caught.value
    line = f", line {verdict.line}" if verdict.line is not None else ""
    column = f", column {shown(verdict.column)}" if verdict.column is not None else ""
    assert f"{case.file}{line}{column}" == error.where
    assert () == tuple(word for word in verdict.problem if not re.search(word, f"{error.problem} {error.remedy}"))
    assert () == tuple(word for word in verdict.remedy if word not in error.remedy)
    assert str(error).isprintable()  # no control character, no line end, nothing that turns the text around
    assert 20 < len(str(error)) < 500
    assert error.remedy.endswith((".", "?"))


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    """At least 150 files, of both verdicts, and no two of them called the same."""
    assert 150 <= len(CASES)
    assert 100 <= min(len(READ), len(REFUSED))
    assert [] == [name for name, count in Counter(case.name for case in CASES).items() if count > 1]


def test_no_two_cases_are_the_same() -> None:
    """The same bytes read in the same way are one case."""
    seen = Counter(
        (case.bytes, case.dialect, case.target, case.features, case.leave_out, case.encode, case.file) for case in CASES
    )
    twice = [key for key, count in seen.items() if count > 1]
    assert [] == [case.name for case in CASES if any(case.bytes == key[0] and case.dialect == key[1] for key in twice)]


def test_verdicts_name_lines_that_are_there() -> None:
    """A place in the corpus is a line of its file, as a text editor counts them."""
    wrong = []
    for case in REFUSED:
        assert isinstance(case.verdict, Refused)
        decoded = case.bytes.decode(case.dialect.encoding or "utf-8", errors="replace")
        if case.verdict.line is not None and not case.bytes.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            wrong += [case.name] * (case.verdict.line > 1 + len(re.findall("\r\n|\r|\n", decoded)))
    assert [] == wrong
