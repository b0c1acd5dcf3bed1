"""What a model says of the rows of a CSV of any size: read and written block by block, in the memory of a few of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gd.arrays import Array, at, mask, texts
from gd.arrays import column as arrow_column
from gd.blocks import Texts, blas_on_one_thread, cores, in_order
from gd.cells import BLANKS, numbers_of
from gd.columns import Tally, check_zones
from gd.data import Encoded
from gd.dialect import Dialect, same_name
from gd.inference import quantile
from gd.model import Model, in_days
from gd.refusal import DataError, listed, shown
from gd.remedies import remedy
from gd.stream import BLOCK, Progress
from gd.table import As, Cells, Header, Text, check_named

__all__ = ["Outcome", "Width", "predict"]

_NO_CELL = "\0"  # no CSV holds one
_MEND = "Mend it, or write NA for a missing value."

Width = Literal["observation", "mean"]
"""Of what an interval is: where a new observation will lie, or where the mean of many of them does."""


class Outcome(NamedTuple):
    """What was predicted, and how it compares with the target where that is known."""

    rows: int = 0
    without: int = 0  # rows that miss a feature: they have no prediction
    first_without: int | None = None  # the line of the first of them
    lost: int = 0  # predictions that float64 does not hold
    compared: int = 0  # rows of a known target and a prediction
    distance: float = 0.0  # Euclidean, of these targets from their predictions; of classes nothing
    right: int = 0  # of these, within their interval, or of the class that was predicted
    no_target: tuple[int, str] | None = None  # line and cell of the first target that is none: nothing is compared then

    @property
    def rmse(self) -> float:
        """Root mean square of target less prediction."""
        return self.distance / math.sqrt(self.compared) if self.compared else math.nan

    def and_then(self, other: Outcome) -> Outcome:
        """Both, this one's rows first."""
        return Outcome(
            self.rows + other.rows,
            self.without + other.without,
            self.first_without if self.first_without is not None else other.first_without,
            self.lost + other.lost,
            self.compared + other.compared,
            math.hypot(self.distance, other.distance),
            self.right + other.right,
            self.no_target or other.no_target,
        )


class _Part(NamedTuple):
    """What one block came to."""

    csv: bytes
    outcome: Outcome
    dates: dict[str, Cells]  # without their values


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """Half the interval of a prediction."""

    factor: Array  # (p, p)
    centre: Array  # (d,)
    standard_errors: float  # half an interval is so many
    residual_error: float
    width: Width

    @classmethod
    def of(cls, model: Model, width: Width, level: float | None) -> _Half | None:
        """None where the model has no intervals."""
        if (known := model.interval) is None:
            return None
        many = quantile(known.degrees_of_freedom, known.level if level is None else level)
        return cls(known.F, np.array(known.centre), many, known.residual_error, width)

    def at(self, X: Sequence[Array]) -> Array:
        """Of each row, (n,)."""
        B = np.empty((len(X[0]), len(self.factor)), order="F")
        B[:, -1] = 1  # overwritten where there is no constant
        for j, (values, centre) in enumerate(zip(X, self.centre, strict=True)):
            np.subtract(values, centre, out=B[:, j])
        along = B @ self.factor
        spread = np.sqrt(np.einsum("ij,ij->i", along, along))
        if self.width == "observation":
            spread = np.hypot(spread, 1)
        return np.asarray(self.standard_errors * self.residual_error * spread)


def predict(
    file: str,
    model: Model,
    write: Callable[[bytes], Any],
    *,
    width: Width = "observation",
    level: float | None = None,
    keep: Sequence[str] = (),
    dialect: Dialect | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    block: int = BLOCK,
) -> Outcome:
    """Predict the rows of a file, and write them as a CSV: a line for each row, in their order.

    Its columns are `line`, on which the row stands in the file; `prediction`, `low` and `high`, or of a logit `probability`,
    that of its second class, and `class`; and the columns that are kept, as they are written. All digits of each number; no
    cell where there is no number. The columns of the file may stand in any order, and others beside them.

    Args:
        file: its path or address.
        model: which predicts.
        write: takes the bytes of the output; what it raises passes.
        width: of what the intervals are.
        level: of the intervals; the model's own when None.
        keep: names of columns of the file that are written too.
        dialect: how the file is written, as far as it is not to be found out; as the model's own data were when None.
        threads: that parse blocks; as many as this process has cores when None.
        progress: told how far reading is.
        block: bytes of text that are parsed at once.

    Raises:
        DataError: if the file does not fit the model: file, line, column, remedy. What came before that line is written.
        OSError: if reading breaks off for a reason that another try may mend.
    """
    dialect = model.dialect if dialect is None else dialect
    columns = [*model.columns]
    with Texts(file, dialect, columns, "for the feature", progress, block) as rows:
        name, header = rows.feed.name, rows.header
        kept = [same_name(column) for column in keep]
        check_named(name, header, [*((column, "for the feature") for column in columns), *((one, "to keep") for one in kept)])
        table = _Table(model, header, name, dialect, _Half.of(model, width, level), kept)
        write(table.head())
        found, dates = Outcome(), {column: Tally() for column in table.dates}
        parts = in_order(rows, table.digest, threads or cores())
        with blas_on_one_thread(), closing(parts):
            for part in parts:
                for column, cells in part.dates.items():
                    dates[column].add(cells)
                    check_zones(name, column, dates[column])
                    _check_zone(name, column, dates[column], table.dates[column])
                write(part.csv)
                found = found.and_then(part.outcome)
    return found


class _Table:
    """The columns of one file as a model takes them, and its rows as it makes lines of the output of them."""

    def __init__(
        self, model: Model, header: Header, name: str, dialect: Dialect, half: _Half | None, keep: Sequence[str]
    ) -> None:
        self._model, self._name, self._dialect, self._half, self._keep = model, name, dialect, half, keep
        self._made, self._numbers = model.columns, numbers_of(dialect)
        self._wanted = {column: _read_as(one) for column, one in self._made.items()}
        self._compares = model.target in header.names and header.twin(model.target) is None and model.target not in self._made
        if self._compares:
            named = bool(model.classes) and not all(map(self._numbers.is_number, model.classes or ()))
            self._wanted[model.target] = (
                As(levels=(_NO_CELL, *(model.classes or ()))) if named else As(numbers=True, infinite=True)
            )

    @property
    def dates(self) -> dict[str, Encoded]:
        """Columns that hold dates, and how the model takes them."""
        return {column: one for column, one in self._made.items() if one is not None and one.kind == "dates"}

    def head(self) -> bytes:
        """The first line of the output.

        Raises:
            DataError: if a column that is kept is called as one of ours.
        """
        ours = ["line", "probability", "class"] if self._model.link == "logit" else ["line", "prediction", "low", "high"]
        if twice := set(self._keep).intersection(ours):
            problem = f"a column {shown(min(twice))} to keep, and the output has one of that name."
            raise DataError(self._name, problem, "Rename the column.")
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow([*ours, *self._keep])  # it quotes what its lines end in
        return text.getvalue().removesuffix("\r\n").encode() + b"\n"

    def digest(self, text: Text) -> _Part:
        """The lines of the output that come of some rows.

        Raises:
            DataError: at the first cell that a feature cannot be made of.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what float64 does not hold has no cell, and is counted
            return self._digest(text, text.parse(self._wanted))

    def _digest(self, text: Text, cells: dict[str, Cells]) -> _Part:
        X, strange = self._features(text, cells)
        without = np.any([np.isnan(values) for values in X], axis=0)
        for name, which in strange.items():
            if (which & ~without).any():
                self._refuse_level(text, name, int(np.argmax(which & ~without)))
        prediction = self._predicted(X)
        prediction[without] = np.nan
        lines = text.all_lines(len(prediction))
        outcome = Outcome(
            rows=len(lines),
            without=int(np.count_nonzero(without)),
            first_without=int(lines[np.argmax(without)]) if without.any() else None,
            lost=int(np.count_nonzero(~np.isfinite(prediction) & ~without)),
        )
        parts = [arrow_column(lines), _column(prediction)]
        y, fault = self._targets(text, cells)
        known = np.isfinite(prediction) & ~np.isnan(y)
        outcome = outcome._replace(compared=int(np.count_nonzero(known)), no_target=fault)
        if self._model.classes is not None:
            likely = prediction >= 0.5
            labels = texts(self._model.classes).take(at(likely.astype(np.int64)))
            parts.append(_text(labels, np.isnan(prediction)))
            right = known & (likely == (y == 1))
        else:
            half = np.full(len(prediction), np.nan) if self._half is None else self._half.at(X)
            low, high = prediction - half, prediction + half
            parts += [_column(low), _column(high)]
            right = known & (low <= y) & (y <= high)
            outcome = outcome._replace(distance=_length((y - prediction)[known]))
        outcome = outcome._replace(right=int(np.count_nonzero(right)))
        parts += [_text(cells) for cells in text.written(self._keep)] if self._keep else []
        dates = {column: cells[column]._replace(values=None) for column in self.dates}
        return _Part(_as_csv(parts), outcome, dates)

    def _features(self, text: Text, cells: dict[str, Cells]) -> tuple[list[Array], dict[str, Array]]:
        """The features in the model's order, NaN where a cell is missing, and for each category the rows of no known level."""
        found: dict[str, Array] = {}
        strange: dict[str, Array] = {}
        for column, encoded in self._made.items():
            values = cells[column].values
            if values is None:
                raise self._not_read(text, column, encoded, cells[column])
            if encoded is None:
                found[column] = values[0]
            elif encoded.kind == "dates":
                found[column] = in_days(values[0], encoded)
            else:
                found |= {f"{column}={level}": one for level, one in zip(encoded.levels, values, strict=True)}
                strange[column] = np.sum(values, axis=0) == 0
        return [found[name] for name in self._model.features], strange

    def _predicted(self, X: Sequence[Array]) -> Array:
        """Of each row, (n,)."""
        score = np.full(len(X[0]), self._model.intercept or 0.0)
        for name, values in zip(self._model.features, X, strict=True):
            score += self._model.weights[name] * values
        if self._model.link == "log":
            return np.asarray(np.exp(score))
        if self._model.link == "logit":  # with the sign before the exponential neither end overflows
            small = np.exp(-np.abs(score))
            return np.asarray(np.where(score < 0, small, 1.0) / (1 + small))
        return score

    def _targets(self, text: Text, cells: dict[str, Cells]) -> tuple[Array, tuple[int, str] | None]:
        """The target of each row, of classes 0 or 1, NaN where there is none; line and text of the first that is no target."""
        classes, target = self._model.classes, self._model.target
        if not self._compares:
            return np.array(np.nan), None
        values = cells[target].values
        if values is None:
            return np.array(np.nan), (cells[target].first_wrong or ((text.line, ""),))[0]
        if classes is None:
            y, none = values[0], np.isinf(values[0])
        else:
            first, second = values if len(values) == 2 else [values[0] == self._numbers.value(label) for label in classes]
            y = np.where(second == 1, 1.0, np.where(first == 1, 0.0, np.nan))
            none = np.isnan(y) & ~np.isnan(values[0])
        return (np.array(np.nan), self._cell(text, int(np.argmax(none)), target)) if none.any() else (y, None)

    def _not_read(self, text: Text, column: str, encoded: Encoded | None, cells: Cells) -> DataError:
        """The refusal of a column that is not of numbers, or not of dates."""
        if encoded is None:
            line, cell = cells.first_wrong[0]
            found = remedy(cells.samples, self._dialect, cells.beside)
            return self._refused(line, column, f"{shown(cell)} is not a number.", found.text if found is not None else _MEND)
        place = self._place(text, column)
        held = (
            (line, row[place]) for line, row in text.rows() if not self._numbers.is_missing(row[place])
        )  # fmt: skip
        line, cell = next(iter(cells.no_days), None) or next(held)
        return self._refused(
            line, column, f"{shown(cell)} is not a date.", "Write dates as 2026-01-31, or NA for a missing one."
        )

    def _refuse_level(self, text: Text, column: str, row: int) -> None:
        """Raise for a row whose category the model has never seen."""
        (line, cell), made = self._cell(text, row, column), self._made[column]
        assert made is not None
        problem = f"{shown(cell)} is none of the {len(made.levels)} values that the model knows: {listed(made.levels)}."
        raise self._refused(line, column, problem, "Mend it, write NA for a missing value, or train again with such rows.")

    def _cell(self, text: Text, row: int, column: str) -> tuple[int, str]:
        """Line and text of a cell."""
        line, cells = next(item for j, item in enumerate(text.rows()) if j == row)
        return line, cells[self._place(text, column)].strip(BLANKS)

    def _place(self, text: Text, column: str) -> int:
        return text.names.index(column)

    def _refused(self, line: int, column: str, problem: str, remedy: str) -> DataError:
        return DataError(f"{self._name}, line {line}, column {shown(column)}", problem, remedy)


def _check_zone(file: str, column: str, tally: Tally, encoded: Encoded) -> None:
    """Refuse dates that tell their time zone where those that the model was trained on did not, or the other way round.

    Raises:
        DataError: file, column, remedy.
    """
    zoned = tally.zoned > 0
    if tally.days and encoded.zoned is not None and zoned != encoded.zoned:
        does, did = ("tell", "did not") if zoned else ("do not tell", "did")
        problem = f"the dates {does} their time zone, and those that the model was trained on {did}."
        raise DataError(f"{file}, column {shown(column)}", problem, "Write them as they were written then.")


def _read_as(encoded: Encoded | None) -> As:
    if encoded is None:
        return As(numbers=True)
    if encoded.kind == "dates":
        return As(days=True)
    return As(levels=(_NO_CELL, *encoded.levels))  # else the first level had no column, as one has that nobody knows


def _column(values: Array) -> Any:
    """Numbers, (n,), with no cell where one is not finite."""
    return arrow_column(values, ~np.isfinite(values))


def _text(cells: Any, empty: Array | None = None) -> Any:
    """Text in one piece, with nothing at all, not even quotes, where there is none, (n,)."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    one = cells.combine_chunks() if hasattr(cells, "num_chunks") else cells
    return compute.if_else(compute.equal(one, "") if empty is None else mask(empty), pa.scalar(None, pa.string()), one)


def _as_csv(parts: Sequence[Any]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv as arrow  # noqa: PLC0415

    batch, found = pa.record_batch(list(parts), names=[str(j) for j in range(len(parts))]), io.BytesIO()
    arrow.write_csv(batch, found, arrow.WriteOptions(include_header=False, quoting_style="needed"))
    return found.getvalue()


def _length(values: Array) -> float:
    """The Euclidean length of numbers whose squares float64 may not hold, (n,)."""
    largest = float(np.abs(values).max(initial=0))
    return largest * float(np.linalg.norm(values / largest)) if largest else 0.0
