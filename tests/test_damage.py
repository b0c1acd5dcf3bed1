"""Good files with some of their bytes damaged: each of them is read as it now stands, or refused in words.

There are about 1,000 of them, and ten thousand under `make fuzz`.
"""

from __future__ import annotations

import faulthandler
import gzip
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gd.data import DataError, Dataset, Source
from gd.dialect import Dialect
from gd.reading import read
from gd.stream import BLOCK
from tests import oracle

CASES = int(os.environ.get("GD_TEST_DAMAGE", "120"))  # of each of nine files
SECONDS = 5  # that one of them may take
ENDS = {"right", "other values", "refused"}

WORDS = ["plain", "a, b", 'say "so"', "two\nlines", "", "é", "5\" pipe", "w;x"]  # fmt: skip
LEVELS = ["low", "mid", "high"]


@dataclass(frozen=True, slots=True)
class Good:
    """A file without a fault, and how it is read."""

    data: bytes
    delimiter: str = ","
    quote: str = '"'
    dialect: Dialect = Dialect()  # noqa: RUF009  (frozen)
    encode: tuple[Any, ...] = ()
    told: bool = False  # whether delimiter and quote are said, and not to be found out

    @property
    def said(self) -> Dialect:
        """What is said of it."""
        return self.dialect.model_copy(update={"delimiter": self.delimiter, "quote": self.quote} if self.told else {})

    def source(self, path: Path) -> Source:
        """To be learned from."""
        return Source(path=str(path), target="y", dialect=self.said, encode=self.encode)


def quoted(cell: str) -> str:
    """Between quotes."""
    return '"' + cell.replace('"', '""') + '"'


def rows(*columns: Callable[[int], str], n: int = 11) -> list[list[str]]:
    """Cells, row by row."""
    return [[column(i) for column in columns] for i in range(n)]


def text(header: str, cells: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    """A file's."""
    return end.join([header, *(delimiter.join(row) for row in cells)]) + end


def german(i: int) -> str:
    """A number with groups and a decimal comma."""
    return f"{1234.5 * (i + 1):,.2f}".translate(str.maketrans(",.", ".,"))


COMMA = text(
    "id,x,word,y",
    rows(lambda i: f"{i}.5", lambda i: "NA" if i == 4 else f"-{i * i}e-1", lambda i: f"w{i % 3}é", lambda i: str(3 * i + 100)),
)
QUOTED = text(
    '"x","word",y,"z"',
    rows(
        lambda i: f'"{i}.25"', lambda i: quoted(WORDS[i % 8]), lambda i: str(7 * i), lambda i: '""' if i == 3 else f'"{i**3}"'
    ),
    end="\r\n",
)
SEMICOLON = text("word;x;y", rows(lambda i: f"a,{i}.b", lambda i: f"{i},{i}5", german), ";")
REPORT = "Report\t2024\r# no table\rword\tx\ty\r" + text(
    "kg\t%\t$", rows(lambda i: f"'w {i}'", lambda i: f"{i}.5 %", lambda i: f"(${i + 1})" if i % 2 else f"${i}"), "\t", "\r"
)
CATEGORIES = text(
    "kind,day,x,y",
    rows(lambda i: LEVELS[i % 3], lambda i: f"2024-0{1 + i % 9}-1{i % 10}", lambda i: str(i * i), lambda i: f"{i}.125", n=12),
)
UTF16 = text("x|Größe|y", rows(lambda i: f"{i}.5", lambda i: f"ö{i}Ω", lambda i: str(2**i)), "|", "\r\n")
FILES = {
    "comma": Good(COMMA.encode()),
    "comma, told": Good(COMMA.encode(), told=True),
    "quoted": Good(QUOTED.encode()),
    "semicolon": Good(SEMICOLON.encode(), ";", dialect=Dialect(decimal=",", thousands=".")),
    "report": Good(
        REPORT.encode(),
        "\t",
        "'",
        Dialect(quote="'", header=3, skip_lines="4-4", comment="#", units=("%", "$"), parentheses=True),
    ),
    "categories": Good(CATEGORIES.encode(), encode=("category", "dates")),
    "utf-16": Good(b"\xff\xfe" + UTF16.encode("utf-16-le"), "|"),
    "gzip": Good(gzip.compress(QUOTED.encode(), mtime=0)),
    "zstd": Good(pa.compress(COMMA.encode(), codec="zstd", asbytes=True)),
}

TOKENS = [
    b'"', b"'", b'""', b",", b",,", b";", b"\t", b"|", b"\r", b"\n", b"\r\n", b"\0", b" ", b".", b"-", b"+", b"e", b"0", b"9",
    b"NA", b"#", b"(", b"%", b"nan", b"inf", b"1e400", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\xef\xbb\xbf",
]  # fmt: skip


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """With one fault in it, or two, or three."""
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 9))
        token = TOKENS[rng.integers(len(TOKENS))] if rng.random() < 0.7 else rng.bytes(length)
        lines = re.findall(rb"[^\n\r]*[\n\r]+|[^\n\r]+", data) or [b""]
        one, other = (int(j) for j in rng.integers(len(lines), size=2))
        match rng.integers(12):
            case 0 if at < len(data):  # a bit
                data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
            case 1 | 2:  # other bytes
                data = data[:at] + token + data[at + len(token) :]
            case 3:
                data = data[:at] + data[at + length :]
            case 4:
                data = data[:at] + data[at + 1 :]
            case 5 | 6:
                data = data[:at] + token + data[at:]
            case 7:  # some twice
                data = data[:at] + data[max(at - length, 0) :]
            case 8:
                data = data[:at] if rng.random() < 0.7 else data[at:]
            case 9 if at + 1 < len(data):  # neighbours swapped
                data = data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]
            case 10:  # lines swapped
                lines[one], lines[other] = lines[other], lines[one]
                data = b"".join(lines)
            case _:  # a line twice, or gone
                data = b"".join([*lines[:one], *([lines[one]] * 2 if rng.random() < 0.5 else []), *lines[one + 1 :]])
    return data


class TookTooLongError(Exception):
    """A reading that does not end."""


@contextmanager
def watched() -> Iterator[Callable[[], None]]:
    """Call what is handed out before each case: after SECONDS it is broken off, and if even that fails the process ends."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLongError

    def begin() -> None:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        faulthandler.dump_traceback_later(4 * SECONDS, exit=True)

    before, (left, _), began = signal.signal(signal.SIGALRM, stop), signal.setitimer(signal.ITIMER_REAL, 0), time.monotonic()
    try:
        yield begin
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # the limit of the whole test
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001))


def test_good_files_are_read(tmp_path: Path) -> None:
    """Before they are damaged all of them are read as the strict reader reads them."""
    for name, good in FILES.items():
        found = reading(good, tmp_path / "t.csv", good.data, BLOCK)
        assert isinstance(found, Dataset), f"{name}: {found}"
        assert "right" == verdict(good, good.data, found), name


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_damage(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Each damaged file is the table that a strict reading of its bytes makes it, or refused in words, and soon."""
    good, path = FILES[name], tmp_path / "t.csv"
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = 0.0
    with watched() as begin:
        for seed in range(CASES):
            rng = np.random.default_rng([seed, *name.encode()])
            data = damaged(good.data, rng)
            block = int(rng.choice([7, 64, BLOCK, BLOCK]))
            began = time.perf_counter()
            begin()
            try:
                end = verdict(good, data, reading(good, path, data, block))
            except Exception as error:  # noqa: BLE001  (none of them may be)
                end = repr(error)
            ends[end] += 1
            slowest = max(slowest, time.perf_counter() - began)
            if end not in ENDS:
                wrong.append(f"seed {seed}, blocks of {block}: {end}: {data!r}")
    said = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    record_property("printed", f"damage to {name}: {said}; the slowest took {slowest:.3f} s")
    assert not wrong, "\n".join([f"{len(wrong)} of {name}", *wrong[:5]])
    assert ends["refused"]
    assert name in {"gzip", "zstd"} or ends["other values"]


def reading(good: Good, path: Path, data: bytes, block: int) -> Dataset | DataError:
    """What gd makes of some bytes."""
    path.write_bytes(data)
    try:
        found = read([str(path)], good.source(path), keep_rows=lambda rows, columns: True, threads=1, block=block).rows
    except DataError as error:
        return error
    assert found is not None
    return found


def verdict(good: Good, data: bytes, found: Dataset | DataError) -> str:
    """How a damaged file ended: right, other values, refused; or what is wrong with that end."""
    dialect = good.dialect.model_copy(update={"delimiter": good.delimiter, "quote": good.quote})
    refused: oracle.Refused | None = None
    table = content = None
    try:
        content = oracle.decoded(oracle.unpacked(data), good.dialect.encoding)
        table = oracle.parse(content, dialect)
    except oracle.Refused as error:
        refused = error
    if isinstance(found, DataError):
        if wrong := oracle.ill_said(found, "t.csv"):
            return wrong
        if table is not None and content is not None and must_be_read(good, content, table, dialect):
            return f"refused though nothing is wrong with it ({found})"
        return "refused"
    if not (np.isfinite(found.X).all() and np.isfinite(found.y).all()):
        return "not finite"
    form = found.provenance.format
    if form is not None and (form.delimiter, form.quote) != (good.delimiter, good.quote):
        if refused is None:
            return f"delimiter {form.delimiter!r} and quote {form.quote!r} were found"
        dialect = dialect.model_copy(update={"delimiter": form.delimiter, "quote": form.quote})
        assert content is not None
        try:
            table, refused = oracle.parse(content, dialect), None
        except oracle.Refused as error:
            refused = error
    if table is None or refused is not None:
        return f"read though a strict reader refuses it ({refused})"
    if wrong := oracle.disagreement(found, table, dialect):
        return wrong
    original = oracle.decoded(oracle.unpacked(good.data), good.dialect.encoding)
    if content == original:
        return "right"
    assert content is not None
    return untouched(oracle.parse(original, dialect), original, table, content)


def must_be_read(good: Good, content: str, table: oracle.Table, dialect: Dialect) -> bool:
    """Whether it would be wrong to refuse it."""
    header = re.split(r"[\r\n]", content.lstrip())[0]
    others = ",;\t|'\"".replace(good.delimiter, "").replace(good.quote, "")
    if not good.told and good.dialect.header is None and any(c in header for c in others):
        return False  # it may be taken to be written in another way
    return not good.encode and oracle.must_be_read(table, dialect, "y")


def untouched(before: oracle.Table, original: str, after: oracle.Table, content: str) -> str:
    """Rows that no damaged byte lies in must be there as they were."""
    shorter = min(len(original), len(content))
    head = next((i for i in range(shorter) if original[i] != content[i]), shorter)
    tail = next((i for i in range(shorter - head) if original[-1 - i] != content[-1 - i]), shorter - head)
    first_line = 1 + len(re.findall(r"\r\n|\r|\n", original[:head]))
    lines_behind = len(re.findall(r"\r\n|\r|\n", original[len(original) - tail :]))
    last_line = len(re.findall(r"\r\n|\r|\n", original)) + 1 - lines_behind
    starts = [line for line, _ in before.rows]
    ends = [*(line - 1 for line in starts[1:]), 10**9]
    ahead = sum(end < first_line for end in ends)
    behind = sum(line > last_line for line in starts)
    old, new = [cells for _, cells in before.rows], [cells for _, cells in after.rows]
    if old[:ahead] != new[:ahead]:
        return "rows ahead of the damage changed"
    if behind and old[-behind:] != new[-behind:]:
        return "rows behind the damage changed"
    return "right" if old == new else "other values"
