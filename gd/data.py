"""From a CSV file to a matrix of numbers, with everything that was left out said."""

from __future__ import annotations

import csv
import difflib
import glob
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

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

Array = NDArray[Any]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""Cells that count as missing, exactly as written."""

_LINES_KEPT = 1000  # of the lines that were dropped; their count is always exact
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_SUFFIXES = (".csv", ".csv.gz")


class DataError(ValueError):
    """A CSV that cannot be used, said in one or two lines: where, what, and what to do.

    Args:
        where: file, and line and column as far as they are known.
        problem: what is wrong there, a sentence.
        remedy: what to do about it, a sentence, or nothing.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem} {self.remedy}".rstrip()


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


class LeftOut(_Settings):
    """A column that was not used."""

    column: str
    reason: str


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
    shift = X.mean(axis=0) if center else np.zeros(X.shape[1])
    deviation = X - shift
    scale = np.sqrt(np.einsum("ij,ij->j", deviation, deviation) / len(X))
    constant = X.max(axis=0) == X.min(axis=0)  # exact, where a standard deviation of 4e-17 is not
    return Scaling(shift, np.where((constant & center) | (scale == 0), 1.0, scale))


def bundled(name: str) -> Path:
    """Path of a CSV that comes with this package: ``notebook`` or ``penguins``."""
    return Path(__file__).parent / "datasets" / f"{name}.csv"


def expand(pattern: str) -> list[Path]:
    """The CSV files that a path, a folder or a glob names, sorted.

    Raises:
        DataError: if there is none.
    """
    path = Path(pattern)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.lower().endswith(_SUFFIXES) and not file.is_dir())
        if not found:
            raise DataError(pattern, "no file in this folder ends in .csv or .csv.gz.", "Name the files, or a glob.")
        return found
    if path.exists() or not glob.has_magic(pattern):
        return [path]  # whether it can be read is found out by reading it
    found = sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if not path.is_dir())  # noqa: PTH207  (Path.glob takes no absolute pattern)
    if not found:
        raise DataError(pattern, "no file matches.", "Check the pattern, or quote it so that the shell leaves it alone.")
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
    text = _Text(path.name, _decompress(path.name, raw))
    names = text.header()
    chosen = _choose(path.name, names, target, features)
    table = text.parse(names)
    if table.num_rows == 0:
        raise DataError(path.name, "a header and no rows.", "Export the table again with its data.")

    columns: dict[str, Array] = {}
    left_out: list[LeftOut] = []
    for column in (target, *chosen):
        named = column == target or features is not None
        values = text.numbers(table, column, named, left_out)
        if values is not None:
            columns[column] = values

    used = np.ones(table.num_rows, dtype=bool)
    missing_cells = {}
    for column, values in columns.items():
        gaps = np.isnan(values)
        if gaps.any():
            missing_cells[column] = int(gaps.sum())
            used &= ~gaps
    rows = int(used.sum())
    if rows < 2:
        worst = max(missing_cells, key=lambda column: missing_cells[column], default=target)
        raise DataError(
            path.name,
            f"{rows} complete row{'' if rows == 1 else 's'} of {table.num_rows:,}; at least 2 are needed.",
            f"Column {worst!r} misses {missing_cells.get(worst, 0):,} of them: leave it out with --features, or fill it.",
        )
    if not used.all():
        columns = {column: values[used] for column, values in columns.items()}
    for column in list(columns):
        values = columns[column]
        if column != target and features is None and values.max() == values.min():
            left_out.append(LeftOut(column=column, reason=f"constant: every row used holds {values[0]:g}"))
            del columns[column]
    kept = tuple(column for column in columns if column != target)
    if not kept:
        why = "; ".join(f"{item.column!r} is left out ({item.reason})" for item in left_out[:3])
        raise DataError(path.name, f"no numeric column beside the target {target!r}.", f"{why}." if why else "")

    dropped = np.flatnonzero(~used)
    lines = tuple(text.lines(dropped[:_LINES_KEPT], table.num_rows))
    provenance = Provenance(
        name=name or dataset_name(path),
        path=str(path),
        sha256=hashlib.sha256(raw).hexdigest(),
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
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:80] or "data"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, _siblings(path), n=3)
        remedy = f"Did you mean {' or '.join(near)}?" if near else "Check the path."
        raise DataError(str(path), "no such file.", remedy) from None
    except IsADirectoryError:
        raise DataError(str(path), "is a folder.", "Name a file in it.") from None
    except PermissionError:
        raise DataError(str(path), "may not be read by this user.", "Change its permissions.") from None


def _siblings(path: Path) -> list[str]:
    try:
        return [file.name for file in path.parent.iterdir()]
    except OSError:
        return []


def _decompress(name: str, raw: bytes) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(name, f"the gzip stream is broken ({error}).", "Compress or copy it again.") from None


def _choose(file: str, names: list[str], target: str, features: Sequence[str] | None) -> list[str]:
    """Check the named columns against the header and return the features to look at, in order."""
    for wanted, role in [(target, "target"), *((feature, "feature") for feature in features or ())]:
        if wanted in names:
            continue
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5) or names[:8]
        remedy = f"The nearest names are {', '.join(map(repr, near))}."
        if len(names) == 1 and re.search(r"[;\t|]", names[0]):
            remedy = f"The header is one column, {names[0]!r}: cells must be separated by commas."
        raise DataError(file, f"no column {wanted!r} for the {role}.", remedy)
    if features is None:
        return [name for name in names if name != target]
    if not features:
        raise DataError(file, "an empty list of features.", "Name at least one, or none to use all numeric columns.")
    if target in features:
        raise DataError(file, f"{target!r} is both the target and a feature.", "Take it out of the features.")
    repeated = [feature for j, feature in enumerate(features) if feature in features[:j]]
    if repeated:
        raise DataError(file, f"the feature {repeated[0]!r} is named twice.", "Name it once.")
    return list(features)


class _Text:
    """The bytes of a CSV file, and how to say where in them something stands."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.data = data.removeprefix(b"\xef\xbb\xbf")
        self.header_lines = 0
        if not self.data.strip():
            raise DataError(file, "the file is empty.", "Export the table again.")
        if self.data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(file, "the file is UTF-16.", "Save it as UTF-8.")
        if (nul := self.data.find(b"\0")) >= 0:
            raise DataError(self._at(nul), "a NUL byte, which no CSV holds.", "Export the table again.")
        try:
            self.data.decode()
        except UnicodeDecodeError as error:
            raise DataError(self._at(error.start), "a byte that is not UTF-8.", "Save the file as UTF-8.") from None

    def _at(self, position: int) -> str:
        line = self.data.count(b"\n", 0, position) + 1
        return f"{self.file}, line {line}"

    def records(self) -> Any:
        """Python's own reader over the whole text, from the header on; slow, and knows its line."""
        return csv.reader(io.StringIO(self.data.decode(), newline=""))

    def header(self) -> list[str]:
        """The names of the columns; an empty one is named by its position.

        Raises:
            DataError: if a name stands twice.
        """
        reader = self.records()
        cells: list[str] = next(record for record in reader if record)
        self.header_lines = reader.line_num
        names = [cell.strip() or f"column {j}" for j, cell in enumerate(cells, 1)]
        for j, name in enumerate(names):
            if name in names[:j]:
                places = f"columns {names.index(name) + 1} and {j + 1}"
                raise DataError(
                    f"{self.file}, line {self.header_lines}",
                    f"two columns are named {name!r} ({places}).",
                    "Rename one.",
                )
        return names

    def parse(self, names: list[str]) -> Any:
        """All cells as a pyarrow table, its types inferred from every row.

        Raises:
            DataError: at the first row with too few or too many cells.
        """
        import pyarrow as pa  # noqa: PLC0415  (0.1 s, and only reading needs it)
        from pyarrow import csv as arrow  # noqa: PLC0415

        quoted = b'"' in self.data
        try:
            table = arrow.read_csv(
                pa.BufferReader(self.data),
                arrow.ReadOptions(column_names=names, skip_rows=self.header_lines),
                arrow.ParseOptions(newlines_in_values=quoted),
                arrow.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True, true_values=[], false_values=[]),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return pa.table({name: pa.array([], pa.float64()) for name in names})
            raise self._ragged(len(names), error) from None
        if quoted:  # an unbalanced quote swallows lines without an error: both readers must count the same rows
            counted = sum(1 for record in self.records() if record) - 1
            if counted != table.num_rows:
                raise self._ragged(len(names), ValueError("unbalanced quotes"))
        return table

    def _ragged(self, width: int, error: Exception) -> DataError:
        reader = self.records()
        try:
            start = 1
            for record in reader:
                if record and len(record) != width:
                    where = f"{self.file}, line {start}"
                    cells = f"{len(record)} cell{'' if len(record) == 1 else 's'} where the header has {width}."
                    return DataError(where, cells, "Quote cells that hold a comma, or mend the row.")
                start = reader.line_num + 1
        except csv.Error as broken:
            return DataError(f"{self.file}, line {reader.line_num}", f"{broken}.", "Mend the row.")
        return DataError(self.file, f"the rows cannot be told apart ({str(error).splitlines()[0]}).", "Check its quotes.")

    def numbers(self, table: Any, column: str, named: bool, left_out: list[LeftOut]) -> Array | None:
        """One column as float64, (rows,), NaN where a cell is missing; None when it is no number and was not asked for.

        Raises:
            DataError: at the first cell of a named column that is no number, or that is infinite; also when most cells of
                a column are numbers and some are not, since leaving it out would hide a mistake.
        """
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import compute  # noqa: PLC0415

        cells = table.column(column)
        if pa.types.is_null(cells.type):
            if named:
                raise DataError(self.file, f"column {column!r} holds no value.", "Leave it out, or fill it.")
            left_out.append(LeftOut(column=column, reason="no value in any row"))
            return None
        if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
            if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
                kind, wrong, share = "dates or times", np.flatnonzero(_flags(compute.is_valid(cells))), 0.0
            else:
                right = compute.fill_null(compute.match_substring_regex(cells, _NUMBER), True)
                present = table.num_rows - cells.null_count
                wrong = np.flatnonzero(~_flags(right))
                kind, share = "text", 1 - len(wrong) / present
            if named or share > 0.5:
                row = int(wrong[0])
                (line,) = self.lines(np.array([row]), table.num_rows)
                count = "" if len(wrong) == 1 else f" (the first of {len(wrong):,} such cells)"
                raise DataError(
                    f"{self.file}, line {line}, column {column!r}",
                    f"{_shorten(str(cells[row].as_py()))} is not a number{count}.",
                    "Mend the cell, write NA for a missing value, or leave the column out with --features.",
                )
            left_out.append(LeftOut(column=column, reason=kind))
            return None
        filled = compute.fill_null(compute.cast(cells, pa.float64()), float("nan"))
        values = np.concatenate(
            [np.frombuffer(chunk.buffers()[1])[chunk.offset : chunk.offset + len(chunk)] for chunk in filled.chunks]
        )
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            (line,) = self.lines(infinite[:1], table.num_rows)
            raise DataError(
                f"{self.file}, line {line}, column {column!r}",
                "the cell is infinite.",
                "Write a finite number, or NA for a missing value.",
            )
        return values

    def lines(self, rows: Array, total: int) -> list[int]:
        """Lines of the file, counted from 1, on which the given rows of the table begin (`rows` ascending)."""
        if len(rows) == 0:
            return []
        ends = self.data.count(b"\n") + (not self.data.endswith(b"\n"))
        if b'"' not in self.data and ends - self.header_lines == total:
            return [int(row) + self.header_lines + 1 for row in rows]
        wanted, found = set(map(int, rows)), []
        reader, row, start = self.records(), -1, 1  # row -1 is the header
        for record in reader:
            if record:
                if row in wanted:
                    found.append(start)
                row += 1
            if len(found) == len(wanted):
                break
            start = reader.line_num + 1
        return found


def _flags(values: Any) -> Array:
    """A boolean column without nulls as a NumPy array, (rows,), without a detour through pandas."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    chunks = compute.cast(values, pa.uint8()).chunks
    return np.concatenate(
        [np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset : chunk.offset + len(chunk)] for chunk in chunks]
    ).astype(bool)


def _shorten(cell: str) -> str:
    shown = repr(cell)
    return shown if len(shown) <= 40 else f"{shown[:37]}…'"
