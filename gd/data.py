"""From a CSV file to a matrix of numbers, with everything that was left out said."""

from __future__ import annotations

import csv
import difflib
import errno
import glob
import gzip
import hashlib
import io
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
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
"""Cells that count as missing, exactly as written but for spaces around them; any other spelling of NaN does too."""

_LINES_KEPT = 1000  # of the lines that were dropped; their count is always exact
_SAMPLE = 50  # rows that tell the columns worth reading as numbers from text; a wrong guess costs time and nothing else
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))$"
_DATE_OR_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}"
_SUFFIXES = (".csv", ".csv.gz")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # in a path: no record of it could be written


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
    text = _Text(path.name, _decompress(path.name, raw))
    chosen = _choose(path.name, text.names, target, features)
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
            remedy = f"Column {_shown(worst)} has {cells}: {way_out}."
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
        why = "; ".join(f"{_shown(item.column)} is left out ({item.reason})" for item in left_out[:3])
        remedy = f"{why[:1].upper()}{why[1:]}." if why else "Add a column to predict from."
        raise DataError(path.name, f"no numeric column beside the target {_shown(target)}.", remedy)

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


def _choose(file: str, names: list[str], target: str, features: Sequence[str] | None) -> list[str]:
    """Check the named columns against the header and return the features to look at, in order."""
    known, folded = set(names), {name.casefold(): name for name in names}
    for wanted, role in [(target, "target"), *((feature, "feature") for feature in features or ())]:
        if wanted in known:
            continue
        near = difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.5)
        remedy = (
            f"The nearest names are {_listed([folded[name] for name in near])}."
            if near
            else f"Its columns are {_listed(names)}."
        )
        if len(names) == 1 and re.search(r"[;\t|]", names[0]):
            remedy = f"The header is one column, {_shown(names[0])}: cells must be separated by commas."
        raise DataError(file, f"no column {_shown(wanted)} for the {role}.", remedy)
    if features is None:
        return [name for name in names if name != target]
    if not features:
        raise DataError(file, "an empty list of features.", "Name at least one, or none to use all numeric columns.")
    if target in features:
        raise DataError(file, f"{_shown(target)} is both the target and a feature.", "Take it out of the features.")
    if (repeated := _repeated(features)) is not None:
        raise DataError(file, f"the feature {_shown(features[repeated[1]])} is named twice.", "Name it once.")
    return list(features)


def _repeated(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first name that stands twice, if any does."""
    first: dict[str, int] = {}
    for j, name in enumerate(names):
        if first.setdefault(name, j) != j:
            return first[name], j
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_shown, names[:8])) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def _shown(text: str) -> str:
    """A cell or a name on one line of an error."""
    quoted = repr(text[:100])
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}…{quoted[0]}"


class _Text:
    """The bytes of a CSV file, the names in its header, and how to say on which line something stands.

    pyarrow reads; it knows no lines, takes 0x1F for 31 where it guesses types, and overlooks a quote that is never closed.
    So it is told which columns to try as numbers, quotes are checked, and Python's own reader is asked about lines.
    """

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.data = data.removeprefix(b"\xef\xbb\xbf")
        if not self.data or self.data.isspace():
            raise DataError(file, "the file is empty.", "Export the table again.")
        if self.data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(file, "the file is UTF-16.", "Save it as UTF-8.")
        if (nul := self.data.find(b"\0")) >= 0:
            raise DataError(self._line_of(nul), "a NUL byte, which no CSV holds.", "Export the table again.")
        try:
            if not self.data.isascii():
                self.data.decode()
        except UnicodeDecodeError as error:
            raise DataError(self._line_of(error.start), "a byte that is not UTF-8.", "Save the file as UTF-8.") from None
        header = next((found for found in self._records() if any(cell.strip() for cell in found[2])), None)
        if header is None:
            raise DataError(file, "every cell is empty.", "Export the table again.")
        line, self.header_end, cells = header
        self.names = [cell.strip() or f"column {j}" for j, cell in enumerate(cells, 1)]
        if (repeated := _repeated(self.names)) is not None:
            name, (first, second) = _shown(self.names[repeated[1]]), repeated
            problem = f"two columns are named {name} (columns {first + 1} and {second + 1})."
            raise DataError(f"{file}, line {line}", problem, "Rename one.")
        ends = re.finditer(rb"\r\n|\r|\n", self.data)
        end = next(islice(ends, self.header_end - 1, None), None)
        self.body = end.end() if end else len(self.data)  # where the rows begin
        self.quoted = self.data.find(b'"', self.body) >= 0

    def _records(self) -> Iterator[tuple[int, int, list[str]]]:
        """First line, last line and cells of everything but empty lines, by Python's own reader: slow, and strict.

        Raises:
            DataError: at a quote that is not closed, or not at the end of its cell.
        """
        csv.field_size_limit(2**31 - 1)  # the default refuses text that pyarrow reads
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline=""), strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, reader.line_num, cells
                line = reader.line_num + 1
        except csv.Error as error:
            problem = "a quote is never closed." if "end of data" in str(error) else "text after a closing quote."
            remedy = "Put the cell in quotes, and write a quote within it twice."
            raise DataError(f"{self.file}, line {line}", problem, remedy) from None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins on, and its cells."""
        return ((line, cells) for line, _, cells in self._records() if line > self.header_end)

    def _line_ends(self, start: int, stop: int) -> int:
        ends = self.data.count(b"\n", start, stop)
        if self.data.find(b"\r", start, stop) >= 0:  # to find none takes a tenth of the time of counting none
            ends += self.data.count(b"\r", start, stop) - self.data.count(b"\r\n", start, stop)
        return ends

    def _line_of(self, position: int) -> str:
        return f"{self.file}, line {self._line_ends(0, position) + 1}"

    def parse(self, wanted: Sequence[str]) -> Any:
        """The wanted columns as a pyarrow table: float64 where all cells are numbers or missing, otherwise as written.

        Raises:
            DataError: if there is no row, at the first row with too few or too many cells, and at a broken quote.
        """
        import pyarrow as pa  # noqa: PLC0415  (0.1 s, and only reading needs it)
        from pyarrow import csv as arrow  # noqa: PLC0415

        def read(types: dict[str, Any], block_size: int | None) -> Any:
            return arrow.read_csv(
                pa.BufferReader(pa.py_buffer(self.data).slice(self.body)),
                arrow.ReadOptions(column_names=self.names, block_size=block_size),
                arrow.ParseOptions(newlines_in_values=self.quoted),
                arrow.ConvertOptions(column_types=types, include_columns=list(wanted), null_values=list(MISSING)),
            )

        sample = [cells for _, cells in islice(self._rows(), _SAMPLE) if len(cells) == len(self.names)]
        if not sample and next(self._rows(), None) is None:
            raise DataError(self.file, "a header and no rows.", "Export the table again with its data.")
        at = {name: j for j, name in enumerate(self.names)}
        number = re.compile(_NUMBER)
        guessed = {
            column: pa.float64()
            if all((cell := cells[at[column]].strip()) in MISSING or number.match(cell) for cells in sample)
            else pa.string()
            for column in wanted
        }
        written = dict.fromkeys(wanted, pa.string())
        # what may fail: a cell that is no number, then a row longer than a block (1 MB), then only a ragged row
        for types, block_size in ((guessed, None), (written, None), (written, min(len(self.data), 2**31 - 1))):
            try:
                table = read(types, block_size)
                break
            except pa.ArrowInvalid as error:
                reason = str(error)
        else:
            raise self._ragged(reason)
        if self.quoted and not self._well_quoted() and sum(1 for _ in self._rows()) != table.num_rows:
            raise self._ragged("two readers count different rows")
        return table

    def _well_quoted(self) -> bool:
        """Whether every quote opens where a cell begins or closes where it ends: then no reader can take it differently."""
        text = np.frombuffer(self.data, np.uint8)
        quotes = np.flatnonzero(text[self.body :] == ord('"')) + self.body
        beside = np.frombuffer(b',\r\n"', np.uint8)
        before, after = text[quotes[::2] - 1], text[np.minimum(quotes[1::2] + 1, len(text) - 1)]
        return len(quotes) % 2 == 0 and bool(np.isin(before, beside).all() and np.isin(after, beside).all())

    def _ragged(self, reason: str) -> DataError:
        width = len(self.names)
        for line, cells in self._rows():
            if len(cells) != width:
                found = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {width}."
                return DataError(f"{self.file}, line {line}", found, "Quote cells that hold a comma, or mend the row.")
        return DataError(self.file, f"the rows cannot be told apart ({_shown(reason)}).", "Check its quotes.")

    def numbers(self, table: Any, column: str, named: bool) -> Array | LeftOut:
        """One column as float64, (rows,), NaN where a cell is missing; or why it is left out, unless it was named.

        Raises:
            DataError: at the first cell of a named column that is no number, and at one that is infinite; also where most
                cells are numbers and some are not, since leaving the column out would hide a mistake.
        """
        import pyarrow as pa  # noqa: PLC0415

        cells = table.column(column)
        if pa.types.is_string(cells.type):
            values, wrong, share = _converted(cells)
            if len(wrong):
                if not named and share <= 0.5:
                    first = cells[int(wrong[0])].as_py().strip()
                    return LeftOut(column=column, reason="dates or times" if re.match(_DATE_OR_TIME, first) else "text")
                count = "" if len(wrong) == 1 else f" (the first of {len(wrong):,} such cells)"
                remedy = "Mend it, or write NA for a missing value; a feature can be left out with --features."
                raise self._refused(column, int(wrong[0]), f"is not a number{count}.", remedy)
        else:
            values = cells.to_numpy()
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            remedy = "Write a finite number, or NA for a missing value."
            raise self._refused(column, int(infinite[0]), "is infinite in float64.", remedy)
        if np.isnan(values[0]) and np.isnan(values).all():
            if named:
                raise DataError(self.file, f"column {_shown(column)} holds no value.", "Fill it, or name other columns.")
            return LeftOut(column=column, reason="no value in any row")
        return np.asarray(values)

    def _refused(self, column: str, row: int, problem: str, remedy: str) -> DataError:
        line, cells = next(islice(self._rows(), row, None))
        cell = cells[self.names.index(column)]
        return DataError(f"{self.file}, line {line}, column {_shown(column)}", f"{_shown(cell)} {problem}", remedy)

    def lines(self, rows: Array, total: int) -> list[int]:
        """Lines of the file, counted from 1, on which the given rows of the table begin (`rows` ascending)."""
        if len(rows) == 0:
            return []
        lines = self._line_ends(self.body, len(self.data)) + (not self.data.endswith((b"\r", b"\n")))
        if lines == total and not self.quoted:  # a row on every line
            return [int(row) + self.header_end + 1 for row in rows]
        wanted = set(rows.tolist())
        return [line for row, (line, _) in enumerate(islice(self._rows(), int(rows[-1]) + 1)) if row in wanted]


def _converted(cells: Any) -> tuple[Array, Array, float]:
    """Text as float64, (rows,), which rows are no numbers, (wrong,), and the share of numbers among what is not missing."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    trimmed = compute.ascii_trim_whitespace(cells)
    missing = compute.is_in(trimmed, pa.array(MISSING))
    try:
        values = compute.cast(compute.if_else(missing, None, trimmed), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        gaps = missing.to_numpy()
        right = compute.match_substring_regex(trimmed, _NUMBER).to_numpy() & ~gaps
        wrong = np.flatnonzero(~(right | gaps))
        if len(wrong):
            return np.empty(0), wrong, float(right.sum() / (len(right) - gaps.sum()))
        values = np.array([np.nan if gap else float(cell) for gap, cell in zip(gaps, trimmed.to_pylist(), strict=True)])
    return values, np.empty(0, np.intp), 1.0
