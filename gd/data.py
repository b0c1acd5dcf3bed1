"""From a CSV file to a matrix of numbers, with everything that was left out said."""

from __future__ import annotations

import difflib
import errno
import glob
import gzip
import hashlib
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gd.table import MISSING, Array, DataError, LeftOut, Text, choose, shown

__all__ = [
    "MISSING",
    "Array",
    "DataError",
    "Dataset",
    "Dropped",
    "LeftOut",
    "Provenance",
    "Scaling",
    "Source",
    "bundled",
    "expand",
    "read_csv",
    "standardize",
]

_LINES_KEPT = 1000  # of the lines that were dropped; their count is always exact
_SUFFIXES = (".csv", ".csv.gz")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # in a path: no record of it could be written


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Settings):
    """Where one or several data sets come from, and what is to be learned from them."""

    path: str = Field(description="A CSV file (gzip is fine), a folder of them, or a glob such as data/*.csv.", min_length=1)
    target: str = Field(description="Name of the column to predict.")
    features: tuple[str, ...] | None = Field(
        default=None, description="Columns to predict from; every numeric column but the target when left empty."
    )


class Dropped(_Settings):
    """Rows that were not used."""

    reason: str
    count: int
    lines: tuple[int, ...]  # of the file, counted from 1; the first 1,000


class Provenance(_Settings):
    """Where a data set came from and what of it was used: the part ``dataset`` of ``run.json``."""

    name: str
    path: str
    sha256: str | None = None
    bytes: int | None = None
    rows: int | None = None
    rows_used: int | None = None
    rows_dropped: tuple[Dropped, ...] = ()
    missing_cells: dict[str, int] = Field(default_factory=dict)
    target: str
    features: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table of numbers without a gap, and where it came from."""

    X: Array  # (n, d), float64, column-major
    y: Array  # (n,), float64
    provenance: Provenance

    def save(self, folder: Path) -> None:
        """Write the arrays and their provenance into a folder, so that a path can travel and not a matrix."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "X.npy", self.X)
        np.save(folder / "y.npy", self.y)
        (folder / "provenance.json").write_text(self.provenance.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Map what `save` wrote; pages are read when they are touched."""
        provenance = Provenance.model_validate_json((folder / "provenance.json").read_bytes())
        X, y = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in "Xy")
        return cls(X, y, provenance)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """The straight line that was laid through each feature before training: z = (x - shift) / scale."""

    shift: Array  # (d,)
    scale: Array  # (d,), never 0

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


def bundled(name: str) -> Path:
    """Path of a CSV that comes with this package: ``notebook`` or ``penguins``."""
    return Path(__file__).parent / "datasets" / f"{name}.csv"


def expand(pattern: str) -> list[Path]:
    """The CSV files that a path, a folder or a glob names, sorted.

    Raises:
        DataError: if there is none.
    """
    if "://" in pattern:
        raise DataError(pattern, "an address, and only files are read.", "Download it, and name the file.")
    path = Path(pattern)
    with _lasting(path):
        if path.is_dir():
            # hidden files are left alone, as a glob leaves them: ._data.csv is a Mac's note beside data.csv
            visible = (file for file in path.iterdir() if not file.name.startswith(".") and not file.is_dir())
            found = sorted(file for file in visible if file.name.lower().endswith(_SUFFIXES))
            problem, remedy = "no file in this folder ends in .csv or .csv.gz.", "Name the files, or a glob."
        elif path.exists() or not glob.has_magic(pattern):
            return [path]  # whether it can be read is found out by reading it
        else:
            matches = set(glob.glob(pattern, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
            found = sorted(match for match in map(Path, matches) if not match.is_dir())
            problem, remedy = "no file matches.", "Check the pattern, or quote it so that the shell leaves it alone."
    if not found:
        raise DataError(pattern, problem, remedy)
    for file in found:
        _check_name(file)
    return found


def read_csv(path: Path, target: str, features: Sequence[str] | None = None, name: str | None = None) -> Dataset:
    """Read a CSV file with a header, comma-separated, in UTF-8, plain or gzipped.

    Rows with a missing cell (`MISSING`) in a column that is used are dropped and counted. Text columns, columns without a
    value and columns that never change are left out and listed, unless they are named as features.

    Args:
        path: the file; gzip is known by its first bytes.
        target: name of the column to predict.
        features: names of the columns to predict from; all numeric columns but the target when None.
        name: what to call the data set; the file's name without its endings when None.

    Raises:
        DataError: if the file cannot be used, naming file, line, column and remedy.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    raw = _read_bytes(path)
    hasher = ThreadPoolExecutor(1)  # beside the reading, a quarter of whose time it would take
    digest = hasher.submit(hashlib.sha256, raw)
    hasher.shutdown(wait=False)
    text = Text(path.name, _decompress(path.name, raw))
    chosen = choose(path.name, text.names, target, features)
    table = text.parse([target, *chosen])

    columns: dict[str, Array] = {}
    left_out: list[LeftOut] = []
    for column in (target, *chosen):
        found = text.numbers(table, column, column == target or features is not None)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            columns[column] = found

    used = np.ones(table.num_rows, dtype=bool)
    missing_cells = {}
    for column, values in columns.items():
        gaps = np.isnan(values)
        if gaps.any():
            missing_cells[column] = int(gaps.sum())
            used &= ~gaps
    rows = int(used.sum())
    if rows < 2:
        remedy = "Export the table again with more rows."
        if missing_cells:
            worst = max(missing_cells, key=lambda column: missing_cells[column])
            cells = f"{missing_cells[worst]:,} missing cell{'' if missing_cells[worst] == 1 else 's'}"
            way_out = "fill it" if worst == target else "leave it out with --features, or fill it"
            remedy = f"Column {shown(worst)} has {cells}: {way_out}."
        complete = f"{rows} complete row{'' if rows == 1 else 's'} of {table.num_rows:,}"
        raise DataError(path.name, f"{complete}; at least 2 are needed.", remedy)
    if not used.all():
        columns = {column: values[used] for column, values in columns.items()}
    for column in list(columns):
        values = columns[column]
        if column != target and features is None and values.max() == values.min():
            left_out.append(LeftOut(column=column, reason=f"constant: every row used holds {values[0]:g}"))
            del columns[column]
    kept = tuple(column for column in columns if column != target)
    if not kept:
        why = "; ".join(f"{shown(item.column)} is left out ({item.reason})" for item in left_out[:3])
        remedy = f"{why[:1].upper()}{why[1:]}." if why else "Add a column to predict from."
        raise DataError(path.name, f"no numeric column beside the target {shown(target)}.", remedy)

    dropped = np.flatnonzero(~used)
    lines = tuple(text.lines(dropped[:_LINES_KEPT], table.num_rows))
    provenance = Provenance(
        name=name or dataset_name(path),
        path=str(path),
        sha256=digest.result().hexdigest(),
        bytes=len(raw),
        rows=table.num_rows,
        rows_used=rows,
        rows_dropped=(Dropped(reason="missing cell", count=len(dropped), lines=lines),) if len(dropped) else (),
        missing_cells=missing_cells,
        target=target,
        features=kept,
        left_out=tuple(left_out),
    )
    X = np.empty((rows, len(kept)), order="F")
    for j, column in enumerate(kept):
        X[:, j] = columns[column]
    return Dataset(X, columns[target], provenance)


def dataset_name(path: Path) -> str:
    """A file's name without its endings, fit to be a folder's name: letters, digits, dots, dashes and underscores."""
    stem = re.sub(r"(\.csv)?(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.")
    return plain.encode()[:80].decode(errors="ignore") or "data"


def _read_bytes(path: Path) -> bytes:
    with _lasting(path):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(str(path), "is a folder.", "Name a file in it.")
        if not stat.S_ISREG(mode):  # a pipe that nobody writes into would be waited on for ever
            raise DataError(str(path), "is a pipe or a device.", "Write its output to a file first.")
        return path.read_bytes()


@contextmanager
def _lasting(path: Path) -> Iterator[None]:
    """Refuse in words what no other try will mend; any other error of the operating system passes."""
    _check_name(path)
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise DataError(str(path), "a link to a file that is not there.", "Link it again.") from None
        near = difflib.get_close_matches(path.name, _siblings(path), n=3)
        remedy = f"Did you mean {' or '.join(near)}?" if near else "Check the path."
        raise DataError(str(path), "no such file.", remedy) from None
    except PermissionError:
        raise DataError(str(path), "may not be read by this user.", "Change its permissions.") from None
    except OSError as error:
        lasting = {errno.ELOOP: "a link that leads back to itself.", errno.ENAMETOOLONG: "longer than a path may be."}
        if error.errno not in lasting:
            raise
        raise DataError(str(path)[:200], lasting[error.errno], "Check the path.") from None


def _check_name(path: Path) -> None:
    if _UNWRITABLE.search(str(path)):
        readable = str(path).replace("\0", r"\0").encode(errors="backslashreplace").decode()
        raise DataError(readable, "the path holds a NUL, or a byte that is not UTF-8.", "Rename the file.")


def _siblings(path: Path) -> list[str]:
    try:
        return [file.name for file in path.parent.iterdir() if not _UNWRITABLE.search(file.name)]
    except OSError:
        return []


def _decompress(name: str, raw: bytes) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(name, f"the gzip stream is broken ({error}).", "Compress or copy it again.") from None
