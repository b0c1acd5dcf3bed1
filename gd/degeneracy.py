"""What a table does not determine: columns that repeat each other, too few rows, columns of which few digits are left."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gd.data import Array, Provenance, Remark
from gd.moments import Moments
from gd.notation import count, number
from gd.refusal import listed, shown

__all__ = ["Degeneracy", "Dependence", "degeneracy", "dependences"]

_EPSILON = float(np.finfo(np.float64).eps)
_ROUNDINGS = 100  # that add up in a residual: of its cells, of the sums over them, of the factorisation
_NEARLY = 1e-6  # of a column's spread: what the others do not explain; the curvature of the loss then spans 1e12
_ROUGH = 1e-2  # of a column's spread: rounding that leaves more of it is no reason to call it dependent
_NARROW = 1e-12  # of a column's size: float64 holds 16 digits, so that fewer than four are left of its spread
_FAR = 1e-7  # of the target's size: a descent from zero ends where the gradient is 1e-10 of that on the offset
_WRITTEN = 3  # terms of a combination that are written out
_MOST = 20  # remarks of a kind
_SHORT = 60  # characters of a name that is fit for a line


@dataclass(frozen=True, slots=True)
class Dependence:
    """A column that earlier ones explain: column = constant + Σ slope · member, but for a share of its spread."""

    column: int
    members: tuple[int, ...]  # ascending; together with the column the fewest that are dependent
    slopes: tuple[float, ...]  # in the units of the columns
    constant: float
    residual: float  # share of the column's spread
    exact: bool  # up to rounding, so that the weights are not unique

    @property
    def same(self) -> bool:
        """Whether it holds the values of another column."""
        return self.exact and self.slopes == (1.0,) and self.constant == 0


@dataclass(frozen=True, slots=True)
class Degeneracy:
    """How much of a linear model its table determines."""

    rank: int  # of the design matrix, the intercept's column among its columns
    parameters: int
    remarks: tuple[Remark, ...]
    dependent: tuple[int, ...] = ()  # features that earlier ones explain, or that never change beside an intercept

    @property
    def unique(self) -> bool:
        """Whether one choice of weights is the best."""
        return self.rank == self.parameters


def degeneracy(moments: Moments, table: Provenance, intercept: bool, *, penalised: bool = False) -> Degeneracy:
    """Look for all that makes weights ambiguous or digits few, and say it.

    Args:
        moments: of the features, then the target.
        table: the names of these columns.
        intercept: whether the model has one.
        penalised: whether an L2 penalty makes weights unique that the columns leave open.
    """
    found, rank = dependences(moments, intercept)
    names, parameters = (*table.features, table.target), len(table.features) + intercept
    origins = {feature: one.column for one in table.encoded for feature in one.features}
    ends = zip(moments.low.tolist(), moments.high.tolist(), names, strict=True)
    narrow = [_narrow(low, high, name, target=j == len(names) - 1) for j, (low, high, name) in enumerate(ends)]
    remarks = [
        *_few_rows(moments.n, rank, parameters, penalised),
        *_constant_target(moments, table.target),
        *_capped([one for one in narrow if one]),
        *_capped([_dependent(one, names, origins, penalised) for one in found]),
    ]
    return Degeneracy(rank, parameters, tuple(remarks), tuple(one.column for one in found if one.exact))


def dependences(moments: Moments, intercept: bool) -> tuple[list[Dependence], int]:
    """The features that are straight lines or combinations of earlier ones, and the rank of the design matrix.

    Column by column in their order, each scaled to length 1 and, under an intercept, centred: what is left of it beside those
    that were independent so far, by Gram-Schmidt done twice. It is dependent where that is no more than rounding can leave,
    100 ε (size/spread) of it and of each of its members times their share: cells far from zero are rounded by ε of their
    size. Nearly dependent, and so named though its weight is unique, where 1e-6 is left.

    Of columns that repeat each other by value one is named even where there are too few rows to tell anything else; a
    combination of columns that fill the space of all rows says nothing and is left out.

    Args:
        moments: of the features, then the target.
        intercept: whether the model has one.

    Source:
        Giraud, Langou, Rozložník and van den Eshof (2005), Rounding error analysis of the classical Gram-Schmidt
        orthogonalization process, Numer. Math. 101 (twice is enough).
    """
    scaling = moments.scaling(center=intercept)
    Z = moments.compressed(scaling, intercept)[0][:, : len(scaling.scale)]
    Z = Z / np.where((length := np.linalg.norm(Z, axis=0)) > 0, length, 1.0)
    table = _Table(moments, intercept, scaling.scale)
    room = moments.n - intercept  # dimensions that the rows span
    Q, inverse = np.zeros(Z.shape), np.zeros((Z.shape[1], Z.shape[1]))  # of the triangle R with kept columns = Q R
    kept: list[int] = []
    found: list[Dependence] = []
    for j in range(Z.shape[1]):
        k = len(kept)
        if table.constant[j] or length[j] == 0:  # named as a feature: beside an intercept, or 0, it adds nothing
            found.append(Dependence(j, (), (), table.mean(j), 0.0, exact=True))
            continue
        if k == room:
            twins = (i for i in kept if table.same(i, j) and np.linalg.norm(Z[:, i] - Z[:, j]) <= table.rounding[[i, j]].sum())
            found += [Dependence(j, (i,), (1.0,), 0.0, 0.0, exact=True) for i in twins][:1]
            continue
        along, rest = _split(Q[:, :k], Z[:, j])
        left = float(np.linalg.norm(rest))
        if left <= _ROUGH:
            shares = inverse[:k, :k] @ along
            exact = left <= min(table.rounding[j] + np.abs(shares) @ table.rounding[kept], _ROUGH)
            noise = 4 * max(left, float(table.rounding[j])) * float(np.linalg.norm(inverse[:k, :k]))
            members = np.flatnonzero(np.abs(shares) > min(noise, np.abs(shares).max() / 2))
            if exact or left <= _NEARLY:
                found.append(table.dependence(j, [kept[i] for i in members], shares[members], left, exact))
            if exact:
                continue
        Q[:, k] = rest / left
        inverse[:k, k], inverse[k, k] = inverse[:k, :k] @ along / -left, 1 / left
        kept.append(j)
    return found, len(kept) + intercept


def _split(Q: Array, z: Array) -> tuple[Array, Array]:
    """A column's components along orthonormal ones, and the rest of it."""
    first = z @ Q
    rest = z - Q @ first
    second = rest @ Q
    return first + second, rest - Q @ second


class _Table:
    """The columns of some moments, and how exactly they are known."""

    def __init__(self, moments: Moments, intercept: bool, spread: Array) -> None:
        self._low, self._high, self._means, self._spread = moments.low, moments.high, moments.means, spread
        self._intercept = intercept
        self._size = np.maximum(np.abs(self._low), np.abs(self._high))
        self.constant = (self._low == self._high)[:-1] & intercept
        with np.errstate(over="ignore"):
            self.rounding = np.minimum(_ROUNDINGS * _EPSILON * (1 + self._size[:-1] / spread), _ROUGH)  # share of the spread

    def mean(self, j: int) -> float:
        return float(self._means[j])

    def same(self, i: int, j: int) -> bool:
        """Whether two columns may hold the same values."""
        return bool(self._low[i] == self._low[j] and self._high[i] == self._high[j])

    def dependence(self, j: int, members: list[int], shares: Array, left: float, exact: bool) -> Dependence:
        """With slopes and constant in the units of the columns."""
        if exact and len(members) == 1 and self.same(members[0], j) and shares[0] > 0:
            return Dependence(j, (members[0],), (1.0,), 0.0, left, exact)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            slopes = shares * (self._spread[j] / self._spread[members])
            constant = float(self._means[j] - slopes @ self._means[members]) if self._intercept else 0.0
            terms = float(self._size[j] + np.abs(slopes) @ self._size[members])
        if abs(constant) <= max(left, 1e4 * _EPSILON) * terms:
            constant = 0.0
        return Dependence(j, tuple(members), tuple(map(float, slopes)), constant, left, exact)


def _few_rows(rows: int, rank: int, parameters: int, penalised: bool) -> list[Remark]:
    if rows >= parameters and rank < rows:
        return []
    text = f"{count(rows)} rows for {count(parameters)} parameters."
    if rank == rows and not penalised:
        text += " Some weights fit any target exactly, so that a perfect fit says nothing."
    if rows < parameters:
        text += " The weights are unique by the L2 penalty alone." if penalised else " The weights are not unique."
    return [Remark(kind="few-rows", text=f"{text} Add rows, or leave columns out with --leave-out.")]


def _constant_target(moments: Moments, name: str) -> list[Remark]:
    if moments.low[-1] != moments.high[-1]:
        return []
    held = number(float(moments.low[-1]), plain=True)
    text = f"{shown(name)} holds {held} in every row: there is nothing to explain. Name another target."
    return [Remark(kind="constant-target", column=name, text=text)]


def _narrow(low: float, high: float, name: str, target: bool) -> Remark | None:
    """That a column lies so far from zero that few digits are left of how its rows differ."""
    size = max(abs(low), abs(high))
    spread = high / size - low / size if size else 0.0
    if not 0 < spread <= (_FAR if target else _NARROW):
        return None
    share = (
        f"{shown(name)} lies around {number(high, plain=True)}, and its rows differ by {number(spread, 2, plain=True)} of it"
    )
    if spread > _NARROW:
        text = f"{share}: a descent from zero weights spends itself on the offset."
    else:
        text = f"{share}: {max(int(np.log10(spread / _EPSILON)), 0)} of the 16 digits of float64 are left for it."
    return Remark(kind="narrow", column=name, text=f"{text} Subtract a constant from the column before it is written.")


def _dependent(one: Dependence, names: Sequence[str], origins: Mapping[str, str], penalised: bool) -> Remark:
    """What it says; a feature that was made from text is left out as the column that it came from."""
    name, members = names[one.column], [names[j] for j in one.members]
    option = _option(origins.get(name, name))
    kind: Literal["duplicate", "collinear"] = "duplicate" if len(members) == 1 else "collinear"
    if not members:
        left = "0" if penalised else "not unique"
        held = f"{shown(name)} holds {number(one.constant, plain=True)} in every row: its weight is {left}."
        return Remark(kind=kind, column=name, text=f"{held} Leave it out, {option}.")
    if one.same:
        said = f"{shown(name)} repeats {shown(members[0])} in every row"
    else:
        what = f"a straight line of {shown(members[0])}" if kind == "duplicate" else f"a combination of {_row(members)}"
        said = f"{shown(name)} is {what}{_written(one, members)}"
    if one.exact and penalised:
        said += ": the L2 penalty alone tells their weights apart."
    elif one.exact:
        said += ": their weights are not unique, the predictions are."
    else:
        said += f", but for {number(one.residual, 1, plain=True)} of it: that rest alone tells their weights apart."
    return Remark(kind=kind, column=name, text=f"{said} Leave one of them out, {option}.")


def _written(one: Dependence, members: Sequence[str]) -> str:
    """The formula, where it is short."""
    if len(members) > _WRITTEN or not np.isfinite([*one.slopes, one.constant]).all():
        return ""
    sizes = [number(abs(slope), plain=True) for slope in one.slopes]
    terms = [shown(name) if size == "1" else f"{size} * {shown(name)}" for size, name in zip(sizes, members, strict=True)]
    values = [*one.slopes]
    if one.constant:
        values.append(one.constant)
        terms.append(number(abs(one.constant), plain=True))
    first, *rest = [(" - " if value < 0 else " + ", term) for value, term in zip(values, terms, strict=True)]
    return f" ({first[0].strip(' +')}{first[1]}{''.join(sign + term for sign, term in rest)})"


def _row(members: Sequence[str]) -> str:
    if len(members) > _WRITTEN:
        return listed(members)
    return f"{listed(members[:-1])} and {shown(members[-1])}"


def _option(name: str) -> str:
    """The words of the command that leave a column out."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([name])
    return f"--leave-out {shlex.quote(row.getvalue())}" if len(name) <= _SHORT and name.isprintable() else "with --leave-out"


def _capped(remarks: Sequence[Remark]) -> list[Remark]:
    """The first of them, and how many more there are."""
    if len(remarks) <= _MOST:
        return list(remarks)
    more, kinds = remarks[_MOST:], {one.kind for one in remarks[_MOST:]}
    return [
        *remarks[:_MOST],
        *(
            Remark(kind=kind, text=f"The same is true of {listed([one.column or '' for one in more if one.kind == kind])}.")
            for kind in sorted(kinds)
        ),
    ]
