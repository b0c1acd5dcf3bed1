"""From a CSV file to a matrix of numbers, with everything that was left out said."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gd.dialect import MISSING, Dialect, Format
from gd.refusal import DataError
from gd.spilling import beyond, mapped, maps
from gd.splitting import Split
from gd.stream import check_path, is_address, lasting, redacted, remote
from gd.table import Array, LeftOut

__all__ = [
    "MISSING",
    "Array",
    "DataError",
    "Dataset",
    "Dropped",
    "Encoded",
    "Encoding",
    "LeftOut",
    "Provenance",
    "Remark",
    "Scaling",
    "Shard",
    "Source",
    "Split",
    "bundled",
    "dataset_name",
    "expand",
    "expand_all",
    "save_array",
    "standardize",
]

Encoding = Literal["category", "dates"]
_SUFFIXES = (".csv", ".csv.gz", ".csv.zst")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Settings):
    """Where one or several data sets come from, and what is to be learned from them."""

    path: str = Field(
        description="A CSV file (gzip and zstd are fine), a folder of them, a glob such as data/*.csv, or an address such as "
        "s3://bucket/sales.csv.",
        min_length=1,
    )
    target: str = Field(description="Name of the column to predict.")
    features: tuple[str, ...] | None = Field(
        default=None, description="Columns to predict from; every numeric column but the target when left empty."
    )
    as_one: str | None = Field(
        default=None,
        description="The name of one data set that all files found are parts of; each file is its own when left empty.",
        min_length=1,
    )
    more: tuple[str, ...] = Field(default=(), description="More files, folders, globs or addresses of the same data set.")
    leave_out: tuple[str, ...] = Field(default=(), description="Columns that are not used.")
    encode: tuple[Encoding, ...] = Field(
        default=(),
        description="category: text columns of few distinct values become a column of 0 and 1 for each value but the first; "
        "dates: dates become days since the first. Other text is left out, and said.",
    )
    dialect: Dialect = Field(default=Dialect(), description="How the files are written, as far as it is not to be found out.")

    @model_validator(mode="after")
    def _more_of_one(self) -> Source:
        if self.more and self.as_one is None:
            raise ValueError("more belongs to one data set: name it with as_one")
        return self

    @property
    def shown(self) -> str:
        """Where it comes from, without what may be secret."""
        return ", ".join(map(redacted, (self.path, *self.more)))


class Remark(_Settings):
    """What a careful reader should know of the data, though it was used."""

    kind: Literal[
        "rounded", "sentinel", "index", "same-as-target", "duplicate", "collinear", "few-rows", "constant-target", "narrow"
    ]
    column: str | None = None
    text: str  # a sentence or two, with what to do
    count: int | None = None  # of the cells concerned, where it is about cells
    lines: tuple[int, ...] = ()  # of the first of them


class Encoded(_Settings):
    """A column of text that was made numbers."""

    column: str
    kind: Encoding
    levels: tuple[str, ...] = ()  # of a category, sorted; the first has no column of its own
    features: tuple[str, ...] = ()  # the columns that it became
    first: str | None = None  # of dates: the day that is 0
    zoned: bool | None = None  # whether these told their time zone, and are counted in UTC; None in older records


class Dropped(_Settings):
    """Rows that were not used."""

    reason: str
    count: int
    lines: tuple[int, ...]  # of the file, counted from 1; the first 1,000


class Shard(_Settings):
    """One file of a data set of several."""

    path: str
    sha256: str
    bytes: int
    rows: int
    rows_used: int
    format: Format | None = None


class Provenance(_Settings):
    """Where a data set came from and what of it was used: the part ``dataset`` of ``run.json``."""

    name: str
    path: str
    sha256: str | None = None  # of several files: of their own hashes, one a line, in order
    bytes: int | None = None
    rows: int | None = None
    rows_used: int | None = None  # that are trained on
    rows_held: int = 0  # without a gap, and held out
    rows_dropped: tuple[Dropped, ...] = ()
    missing_cells: dict[str, int] = Field(default_factory=dict)
    target: str
    features: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    format: Format | None = None
    encoded: tuple[Encoded, ...] = ()
    remarks: tuple[Remark, ...] = ()
    shards: tuple[Shard, ...] = ()  # where the data set is several files
    split: Split | None = None  # which rows are held out, and how many folds the others are split into
    unchanged_since: str | None = None  # the run that read the same bytes in the same way, where this one did not have to


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table of numbers without a gap, and where it came from."""

    X: Array  # (n, d), float64, column-major
    y: Array  # (n,), float64
    provenance: Provenance

    @property
    def is_large(self) -> bool:
        """Whether the rows are more than memory is to hold at once."""
        return beyond(len(self.y), self.X.shape[1] + 1)

    def save(self, folder: Path) -> None:
        """Write the arrays and their provenance into a folder, so that a path can travel and not a matrix."""
        folder.mkdir(parents=True, exist_ok=True)
        save_array(folder / "X.npy", self.X)
        save_array(folder / "y.npy", self.y)
        (folder / "provenance.json").write_text(self.provenance.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Map what `save` wrote; pages are read when they are touched."""
        provenance = Provenance.model_validate_json((folder / "provenance.json").read_bytes())
        return cls(mapped(folder / "X.npy"), mapped(folder / "y.npy"), provenance)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """The straight line that was laid through each feature before training: z = (x - shift) / scale."""

    shift: Array  # (d,)
    scale: Array  # (d,), never 0

    @classmethod
    def none(cls, features: int) -> Scaling:
        """The one that changes nothing."""
        return cls(np.zeros(features), np.ones(features))

    def apply(self, X: Array) -> Array:
        """Features as trained on, (n, d)."""
        return (X - self.shift) / self.scale

    def to_units(self, theta: Array, intercept: bool) -> Array:
        """Weights as trained, (…, p), to weights that fit the columns of the CSV, (…, p), the intercept last."""
        if not intercept:
            return np.asarray(theta / self.scale)
        weights = theta[..., :-1] / self.scale
        return np.concatenate([weights, theta[..., -1:] - (weights @ self.shift)[..., None]], axis=-1)

    def from_units(self, weights: Array, intercept: bool) -> Array:
        """The way back: weights that fit the columns of the CSV to weights as trained, (…, p)."""
        if not intercept:
            return np.asarray(weights * self.scale)
        shifted = weights[..., -1:] + (weights[..., :-1] @ self.shift)[..., None]
        return np.concatenate([weights[..., :-1] * self.scale, shifted], axis=-1)


def standardize(X: Array, center: bool) -> Scaling:
    """The scaling under which every feature has mean square 1, and with `center` mean 0.

    Without an intercept a shift would change the model, so that features are then only scaled.

    Args:
        X: features, (n, d).
        center: whether to subtract the means; False where the model has no intercept.
    """
    unit = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1] - 1)  # powers of two: squares stay finite, no digit is lost
    Z = X / unit
    shift = Z.mean(axis=0) if center else np.zeros(X.shape[1])
    Z -= shift
    scale = np.sqrt(np.einsum("ij,ij->j", Z, Z) / len(X))
    constant = X.max(axis=0) == X.min(axis=0)  # exact, where a standard deviation of 4e-17 is not
    return Scaling(shift * unit, np.where((constant & center) | (scale == 0), 1.0, scale * unit))


def save_array(path: Path, array: Array) -> None:
    """Write an array as `np.save` does, but through Python's own file.

    NumPy hands a file that it knows to C, which loses the last bytes on a full disk without a word. An array that is this very
    file, mapped, stands there already.
    """
    if maps(array, path):
        return
    with path.open("wb") as file:
        through: Any = SimpleNamespace(write=file.write)
        np.save(through, array)


def bundled(name: str) -> Path:
    """Path of a CSV that comes with this package: ``notebook`` or ``penguins``."""
    return Path(__file__).parent / "datasets" / f"{name}.csv"


def expand(pattern: str, *, check: bool = True) -> list[str]:
    """The CSV files that a path, a folder, a glob or an address names, sorted.

    A folder with such a name, a pipe or a dead link is among them: left out in silence, nobody would miss it.

    Args:
        pattern: the path, folder, glob or address.
        check: refuse all of them for one whose name no record could hold.

    Raises:
        DataError: if there is none.
    """
    if is_address(pattern):
        return _expand_address(pattern)
    path = Path(pattern)
    with lasting(path):
        if path.is_dir():
            # hidden files are left alone, as a glob leaves them: ._data.csv is a Mac's note beside data.csv
            visible = (file for file in path.iterdir() if not file.name.startswith("."))
            found = sorted(file for file in visible if file.name.lower().endswith(_SUFFIXES))
            problem, remedy = "no file in this folder ends in .csv, .csv.gz or .csv.zst.", "Name the files, or a glob."
        elif path.exists() or not glob.has_magic(pattern):
            return [str(path)]  # whether it can be read is found out by reading it
        else:
            base, parts = (Path(path.anchor), path.parts[1:]) if path.is_absolute() else (Path(), path.parts)
            found = sorted({match for match in _matches(base, parts) if _named_as_file(match)})
            problem, remedy = "no file matches.", "Check the pattern, or quote it so that the shell leaves it alone."
    if not found:
        raise DataError(pattern, problem, remedy)
    for file in found if check else ():
        check_path(str(file))
    return list(map(str, found))


def _named_as_file(path: Path) -> bool:
    """Whether it is to be read: no folder, unless it is called as a CSV is."""
    return path.name.lower().endswith(_SUFFIXES) or not path.is_dir()


def _matches(base: Path, parts: Sequence[str], way: frozenset[str] = frozenset()) -> Iterator[Path]:
    """What the parts of a pattern match in a folder, as `glob` does.

    But ``**`` takes no link back to a folder on its way: through one link each file is found forty times, and through two of
    them there is no end.
    """
    if not parts:
        yield base
        return
    first, *rest = parts
    if not glob.has_magic(first):
        if os.path.lexists(base / first):
            yield from _matches(base / first, rest, way)
        return
    inside: list[Path] = []
    with suppress(OSError):  # no folder, or closed to this user
        inside = [entry for entry in base.iterdir() if first.startswith(".") or not entry.name.startswith(".")]
    if first != "**":
        for entry in inside:
            if fnmatch.fnmatchcase(entry.name, first):
                yield from _matches(entry, rest)
        return
    way |= {os.path.realpath(base)}
    yield from _matches(base, rest, way)
    for entry in inside:
        if entry.is_dir() and os.path.realpath(entry) not in way:
            yield from _matches(entry, parts, way)
        elif not rest:
            yield entry


def _expand_address(pattern: str) -> list[str]:
    """An address names itself; with a wildcard, or a slash at its end, the files that it finds there."""
    folder = pattern.endswith("/")
    if not folder and not glob.has_magic(urlsplit(pattern).path):
        return [pattern]
    with remote(pattern):
        import fsspec  # noqa: PLC0415  (0.1 s)

        system, path = fsspec.core.url_to_fs(pattern)
        found = system.find(path, maxdepth=1) if folder else [file for file in system.glob(path) if not system.isdir(file)]
        if folder:
            found = [file for file in found if file.lower().endswith(_SUFFIXES)]
        names = sorted(map(system.unstrip_protocol, found))
    if not names:
        raise DataError(redacted(pattern), "no file matches.", "Check the address.")
    return names


def expand_all(source: Source) -> list[str]:
    """Every file of a source, sorted, each once.

    Raises:
        DataError: if one of its paths names none.
    """
    return sorted({file for pattern in (source.path, *source.more) for file in expand(pattern)})


def dataset_name(path: str) -> str:
    """A file's name without its endings, fit to be a folder's name: letters, digits, dots, dashes and underscores."""
    last = urlsplit(path).path if is_address(path) else path
    stem = re.sub(r"(\.csv)?(\.gz|\.zst)?$", "", Path(last).name, flags=re.IGNORECASE)
    plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.")
    return plain.encode()[:80].decode(errors="ignore") or "data"
