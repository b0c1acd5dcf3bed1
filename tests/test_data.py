"""Which files a source means, and the scaling of their columns."""

from __future__ import annotations

import math
import re
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from gd.data import (
    DataError,
    Dataset,
    Scaling,
    Source,
    bundled,
    dataset_name,
    expand,
    expand_all,
    standardize,
)

PLAIN = b"x,y\n1,2\n3,4\n5,7\n"


def table(folder: Path, text: bytes | str, name: str = "t.csv") -> Path:
    """A file to read."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Which files


def test_an_address_means_itself() -> None:
    """A URL is not looked for on the disk."""
    assert ["https://a.example/sales.csv"] == expand("https://a.example/sales.csv")


def test_a_folder_means_its_csv_files(tmp_path: Path) -> None:
    """Sorted, gzipped ones too, without hidden files, other files and folders; a folder called as a CSV is not passed over."""
    for name in ("b.CSV", "a.csv", "c.csv.gz", "._a.csv", "notes.txt"):
        table(tmp_path, PLAIN, name)
    for name in ("d.csv", "deep"):
        (tmp_path / name).mkdir()
    expected = [str(tmp_path / name) for name in ("a.csv", "b.CSV", "c.csv.gz", "d.csv")]
    assert expected == expand(str(tmp_path)) == [file for file in expand(f"{tmp_path}/*") if not file.endswith("notes.txt")]


def test_a_link_that_leads_back_is_not_followed_round(tmp_path: Path) -> None:
    """A glob through all folders finds each file once, and ends; a link to elsewhere is followed, and one that is spelt out."""
    table(tmp_path, PLAIN, "a.csv")
    for name in ("sub", "elsewhere/in"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("back", "again"):
        (tmp_path / "sub" / name).symlink_to(tmp_path)
    (tmp_path / "sub" / "over").symlink_to(tmp_path / "elsewhere" / "in")
    table(tmp_path / "elsewhere" / "in", PLAIN, "b.csv")
    found = ["a.csv", "elsewhere/in/b.csv", "sub/over/b.csv"]
    assert [str(tmp_path / name) for name in found] == expand(f"{tmp_path}/**/*.csv")
    assert [str(tmp_path / "sub/back/a.csv")] == expand(f"{tmp_path}/sub/back/*.csv")


def test_a_glob_means_what_it_matches(tmp_path: Path) -> None:
    """Sorted, each file once, through folders, whatever its ending; a file so named comes before its pattern."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/b.csv", "in/deep/a.csv", "in/c.txt", "[x].csv", "x.csv"):
        table(tmp_path, PLAIN, name)
    assert [str(tmp_path / "in/b.csv"), str(tmp_path / "in/c.txt")] == expand(f"{tmp_path}/in/*")
    assert [str(tmp_path / "in/b.csv"), str(tmp_path / "in/deep/a.csv")] == expand(f"{tmp_path}/in/**/**/*.csv")
    assert [str(tmp_path / "[x].csv")] == expand(f"{tmp_path}/[x].csv")


def test_a_file_means_itself(tmp_path: Path) -> None:
    """A path without a wildcard is left for reading to judge, present or not."""
    assert [str(tmp_path / "absent.csv")] == expand(str(tmp_path / "absent.csv"))
    assert [str(bundled("penguins"))] == expand(str(bundled("penguins")))


def test_paths_that_mean_no_file(tmp_path: Path) -> None:
    """A folder without CSV files, a pattern without a match, and names that cannot be."""
    for pattern, expected in (
        (f"{tmp_path}", "no file in this folder ends in .csv, .csv.gz or .csv.zst. Name the files, or a glob."),
        (f"{tmp_path}/*.csv", "no file matches. Check the pattern, or quote it so that the shell leaves it alone."),
        ("a\0*", "the path holds a NUL, or a byte that is not UTF-8. Rename the file."),
        (f"{tmp_path}/{'a' * 300}", "longer than a path may be. Check the path."),
    ):
        with pytest.raises(DataError, match=re.escape(expected)):
            expand(pattern)


def test_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    """No record could hold its path."""
    (tmp_path / "caf\udce9.csv").write_bytes(PLAIN)
    with pytest.raises(DataError, match=r"caf\\udce9\.csv: the path holds a NUL, or a byte that is not UTF-8"):
        expand(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("penguins.csv", "penguins"), ("a.CSV.GZ", "a"), ("a.gz", "a"), ("my table (2).csv", "my-table-2"), (".csv", "data"),
        ("..csv", "data"), ("é_1.2.csv", "é_1.2"), ("-x-.csv", "x"), ("caf\udce9.csv", "caf"), ("𠀀" * 60 + ".csv", "𠀀" * 20),
    ],
)  # fmt: skip
def test_dataset_names(file: str, expected: str) -> None:
    """A data set is called after its file, in what any folder may be called and in 80 bytes at most."""
    assert expected == dataset_name(f"folder/{file}")


def test_an_address_with_a_wildcard_is_looked_up() -> None:
    """In memory as in a bucket: sorted, with its scheme; a slash at the end means the CSV files there."""
    for name in ("b.csv", "a.csv.zst", "notes.txt", "deep/c.csv"):
        with fsspec.open(f"memory://bucket/{name}", "wb") as file:
            file.write(PLAIN)
    assert ["memory:///bucket/a.csv.zst", "memory:///bucket/b.csv"] == expand("memory://bucket/")
    assert ["memory:///bucket/b.csv"] == expand("memory://bucket/*.csv")
    with pytest.raises(DataError, match=r"memory://bucket/\*\.tsv: no file matches\. Check the address\."):
        expand("memory://bucket/*.tsv")


def test_files_of_one_data_set(tmp_path: Path) -> None:
    """From several patterns, sorted, each once."""
    files = [str(table(tmp_path, PLAIN, name)) for name in ("a.csv", "b.csv", "c.csv")]
    source = Source(path=files[2], more=(f"{tmp_path}/[ab].csv", files[0]), target="y", as_one="all")
    assert files == expand_all(source)
    assert ", ".join([files[2], f"{tmp_path}/[ab].csv", files[0]]) == source.shown


def test_more_files_belong_to_one_data_set() -> None:
    """Files that are listed together have a name together."""
    with pytest.raises(ValidationError, match="more belongs to one data set: name it with as_one"):
        Source(path="a.csv", more=("b.csv",), target="y")


def test_source_is_checked() -> None:
    """A misspelt setting is refused before anything runs."""
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Source.model_validate({"path": "a.csv", "target": "y", "feature": ["x"]})


# What is done with it


def test_save_and_load_give_the_same(tmp_path: Path, penguins: Dataset) -> None:
    """What is loaded is what was saved, bit for bit, in the same order in memory, and mapped rather than copied."""
    penguins.save(tmp_path / "draft")
    loaded = Dataset.load(tmp_path / "draft")
    assert penguins.X.tobytes("F") == loaded.X.tobytes("F")
    assert penguins.y.tobytes() == loaded.y.tobytes()
    assert penguins.provenance == loaded.provenance
    assert loaded.X.flags.f_contiguous


@pytest.mark.parametrize("center", [True, False])
def test_standardized_penguins(penguins: Dataset, center: bool) -> None:
    """Mean square 1, with centring also mean 0, to rounding."""
    Z = standardize(penguins.X, center).apply(penguins.X)
    np.testing.assert_allclose(1.0, (Z**2).mean(axis=0), rtol=1e-13)
    if center:
        np.testing.assert_allclose(0.0, Z.mean(axis=0), atol=1e-11)  # years: 2008 ± 1, so that 3 digits cancel


def test_standardize_agrees_with_numpy(penguins: Dataset) -> None:
    """Shift and scale are NumPy's mean and standard deviation, or the root of the mean square."""
    scaling = standardize(penguins.X, center=True)
    np.testing.assert_allclose(penguins.X.mean(axis=0), scaling.shift, rtol=1e-14)
    np.testing.assert_allclose(penguins.X.std(axis=0), scaling.scale, rtol=1e-12)
    scaling = standardize(penguins.X, center=False)
    assert scaling.shift.tolist() == [0.0] * 4
    np.testing.assert_allclose(np.sqrt((penguins.X**2).mean(axis=0)), scaling.scale, rtol=1e-14)


@pytest.mark.parametrize(("center", "expected"), [(True, [1.0, 1.0, 1.0]), (False, [0.1, 3.0, 1.0])])
def test_constant_columns_are_not_divided_by_nothing(center: bool, expected: list[float]) -> None:
    """Centred they become 0 and stay so; otherwise ±1, and zeros stay zeros."""
    X = np.tile([0.1, -3.0, 0.0], (7, 1))
    scaling = standardize(X, center)
    np.testing.assert_allclose(expected, scaling.scale, rtol=1e-15)
    np.testing.assert_allclose(0.0 if center else [1.0, -1.0, 0.0], scaling.apply(X)[3], atol=1e-15)


@pytest.mark.parametrize("power", [-1000, -500, 0, 500, 1000])
def test_scaling_of_any_magnitude(power: int) -> None:
    """Columns whose squares would overflow or vanish are scaled like any other: by the same digits."""
    X = np.array([[1.0], [2.0], [4.0], [5.0]])
    expected, scaling = standardize(X, True), standardize(np.ldexp(X, power), True)
    assert np.ldexp(expected.scale, power).tolist() == scaling.scale.tolist()
    assert math.ldexp(3.0, power) == scaling.shift[0]  # the mean of 1, 2, 4 and 5


@given(
    X=arrays(np.float64, (6, 3), elements=st.floats(-1e6, 1e6)),
    theta=arrays(np.float64, (2, 4), elements=st.floats(-1e3, 1e3)),
    intercept=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_every_model_predicts_the_same_in_either_units(X: np.ndarray, theta: np.ndarray, intercept: bool) -> None:
    """For every table and weights, z·w + b = x·w′ + b′, and the way back gives the weights as trained."""
    X = np.round(X, 3)  # spreads between 0.001 and 2,000,000; below lie rounding errors and nothing else
    scaling = standardize(X, center=intercept)
    theta = theta if intercept else theta[:, :3]
    weights = scaling.to_units(theta, intercept)
    ones = np.ones((len(X), 1 if intercept else 0))
    trained, given_units = np.hstack([scaling.apply(X), ones]) @ theta.T, np.hstack([X, ones]) @ weights.T
    size = 1 + np.abs(theta).max() * (1 + np.max(np.abs(scaling.shift) / scaling.scale))  # what cancels in the intercept
    np.testing.assert_allclose(trained, given_units, rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(theta, scaling.from_units(weights, intercept), rtol=0, atol=1e-12 * size)


def test_units_of_one_feature() -> None:
    """The line z = (x - 10) / 2 and y = 3 z + 4 is y = 1.5 x - 11."""
    scaling = Scaling(np.array([10.0]), np.array([2.0]))
    assert [1.5, -11.0] == scaling.to_units(np.array([3.0, 4.0]), intercept=True).tolist()
    assert [3.0, 4.0] == scaling.from_units(np.array([1.5, -11.0]), intercept=True).tolist()
    assert [1.5] == scaling.to_units(np.array([3.0]), intercept=False).tolist()
