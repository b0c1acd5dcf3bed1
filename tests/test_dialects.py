"""Every table, written in every dialect that is allowed, is read back bit for bit."""

from __future__ import annotations

import codecs
import gzip
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from gd.data import Array, Source
from gd.dialect import MISSING, Dialect
from gd.reading import read
from gd.stream import BLOCK
from tests import oracle

FOUND_OUT = ",;\t|"
BY_OPTION = " :~^&!#/*\\_%=@<>[]{}?`$()\x01\x1f"
MARKS = {  # of bytes, and what a file is written in behind it
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
ENCODINGS = [  # written in, with a byte order mark, by option
    *[("utf-8", False, None)] * 4,
    *((encoding, True, None) for encoding in MARKS),
    ("utf-8", False, "utf-8"), ("utf-8", True, "utf-8"), ("utf-8", True, "utf-8-sig"), ("utf-8", False, "utf-8-sig"),
    ("utf-16-le", False, "utf-16-le"), ("utf-16-be", False, "utf-16-be"), ("utf-16-le", True, "utf-16-le"),
    ("utf-16-le", True, "utf-16"), ("utf-16-be", True, "utf-16"), ("utf-32-be", True, "utf-32"),
    ("latin-1", False, "latin-1"), ("cp1252", False, "cp1252"), ("cp437", False, "cp437"), ("koi8-r", False, "koi8-r"),
    ("shift_jis", False, "shift_jis"), ("gb18030", False, "gb18030"), ("iso2022_jp", False, "iso2022_jp"),
    ("cp037", False, "cp037"), ("ascii", False, "ascii"),
]  # fmt: skip
ENDS = {"LF": ["\n"], "CRLF": ["\r\n"], "CR": ["\r"], "mixed": ["\n", "\r\n", "\r"]}
LETTERS = "ab '\",;\t|#%$()-_.5\n\r\u00e9\u00df\u03a9\u0436\u65e5\U0001f600\u2028\x85\x0b\x0c\x1c\ufeff"
NAMES = ["x", "X", "b c", "Größe", "жar", "two\nlines", "a;b", "c,d", 'say "x"', "it's", "<b>", "z" * 80, "-1=", "e\u0301"]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A file, and what a careful person would read in it."""

    data: bytes
    body: bytes  # not compressed, and without a byte order mark
    text: str
    dialect: Dialect  # as said
    true: Dialect  # as written
    target: str
    features: tuple[str, ...] | None
    names: list[str]
    rows: list[tuple[int, list[str]]]  # line and cells, as oracle.parse gives them
    values: dict[str, list[float | None]]  # of the columns of numbers; None: missing
    format: dict[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> list[str]:
        """Columns that are trained on, the target last."""
        numbers = [name for name in self.names if name in self.values and name != self.target]
        chosen = list(self.features) if self.features is not None else numbers
        return [*chosen, self.target]

    @property
    def complete(self) -> list[int]:
        """Rows without a gap."""
        return [i for i in range(len(self.rows)) if all(self.values[name][i] is not None for name in self.used)]

    def column(self, name: str) -> Array:
        """Values of the rows that are used."""
        return np.array([self.values[name][i] for i in self.complete], float)


class Writer:
    """Draws a dialect, then cells that fit it: independent of what reads them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.said = draw, dict[str, Any]()
        odd = self.one_of([False, False, True])
        self.delimiter: str = self.one_of(BY_OPTION if odd else FOUND_OUT)
        self.quote: str = self.one_of(['"', '"', "'", ""])
        self.headless = self.one_of([False] * 6 + [True])
        if odd or self.headless or draw(st.booleans()):
            self.said["delimiter"] = self.delimiter
        self.named_quote = self.quote == "" or (self.quote == "'" and self.headless) or draw(st.booleans())
        if self.named_quote:
            self.said["quote"] = self.quote
        self.encoding, self.marked, by_option = self.one_of(ENCODINGS)
        self.option("encoding", by_option)
        self.option("decimal", "," if self.one_of([False, False, True]) else None)
        self.decimal = self.said.get("decimal", ".")
        groups = [group for group in ",.'_ " if group != self.decimal]
        self.option("thousands", self.one_of([None, None, *groups]))
        comments = [mark for mark in ("#", "//", "%%", "--") if self.delimiter not in mark]
        self.option("comment", self.one_of([None, None, *comments]))
        self.option("units", self.one_of([(), (), (), ("%",), ("$", "€"), ("kg", "%"), ("USD", "k")]) or None)
        self.option("parentheses", self.one_of([False, False, True]) or None)
        self.option("missing", self.one_of([None, None, ("?", "-"), ("default", "?"), ("NA",), ("-999",), ("-999", "NA")]))
        self.groups = self.said.get("thousands")
        self.units = [unit for unit in self.said.get("units", ()) if self.encodable(unit)]
        self.alphabet = [c for c in LETTERS if self.encodable(c) and (self.quote or c not in self.delimiter + "\r\n")]
        self.ends = self.one_of(list(ENDS))
        self.end_kinds: set[str] = set()

    def one_of(self, items: Iterable[Any]) -> Any:
        """One of several."""
        return self.draw(st.sampled_from(list(items)))

    def option(self, name: str, value: Any) -> None:
        """Say it, if there is anything to say."""
        if value is not None:
            self.said[name] = value

    def encodable(self, text: str) -> bool:
        """Whether the file's encoding has all of it."""
        try:
            return text.encode(self.encoding).decode(self.encoding) == text
        except UnicodeError:
            return False

    def cell(self, text: str, quoted: bool | None = None) -> str | None:
        """As it stands in the file; None where it cannot."""
        if not self.quote:
            return None if self.delimiter in text or re.search(r"[\r\n]", text) else text
        needed = self.delimiter in text or re.search(r"[\r\n]", text) or text.lstrip(" \t").startswith(self.quote)
        if needed or (self.draw(st.booleans()) if quoted is None else quoted):
            return self.quote + text.replace(self.quote, 2 * self.quote) + self.quote
        return text

    def number(self) -> tuple[str, float]:
        """A number in the dialect, and what it is worth."""
        draw = self.draw
        if draw(st.booleans()):
            plain = repr(draw(st.floats(allow_nan=False, allow_infinity=False)))
            whole, sign = plain.lstrip("-"), plain[: plain.startswith("-")]
            whole, e, exponent = whole.partition("e")
            whole, _, fraction = whole.partition(".")
            mark = bool(fraction)
        else:
            digits = st.text("0123456789", min_size=1, max_size=self.one_of([1, 3, 12]))
            sign, whole, fraction = self.one_of(["", "", "-", "+"]), draw(digits), self.one_of(["", draw(digits)])
            mark = bool(fraction) or self.one_of([False, False, True])
            e, exponent = self.one_of([("", ""), ("", ""), ("e", "5"), ("E", "+12"), ("e", "-30")])
            whole = "" if fraction and self.one_of([False, False, False, True]) else whole
        value = float(f"{sign}{whole or 0}.{fraction or 0}e{exponent or 0}")
        if self.groups is not None and whole and whole[0] != "0" and draw(st.booleans()):
            group = self.one_of([" ", *filter(self.encodable, "\u00a0\u202f")]) if self.groups == " " else self.groups
            whole = re.sub(r"(?<=[0-9])(?=(?:[0-9]{3})+\Z)", group, whole)
        body = f"{whole}{self.decimal if mark else ''}{fraction}{e}{exponent}"
        unit = self.one_of(["", *self.units])
        if self.said.get("parentheses") and value < 0 and draw(st.booleans()):
            forms = ["({u}{b})", "({b}{u})"]
        else:
            forms = ["{s}{b}{u}", "{s}{b} {u}", "{u}{s}{b}", "{s}{u}{b}"] if unit else ["{s}{b}"]
        return self.one_of(forms).format(s=sign, b=body, u=unit), value

    def gap(self) -> str:
        """A missing cell."""
        said = self.said.get("missing", ("default",))
        marks = ["", "NaN", "-nan", *(MISSING if "default" in said else ()), *(mark for mark in said if mark != "default")]
        if "-999" in said:
            marks += [f"-999{self.decimal}0", "-9990e-1"]
        return str(self.one_of(marks))

    def value(self, gaps: bool) -> tuple[str, float | None]:
        """A cell of a column of numbers, and what it is worth; None: nothing."""
        if gaps and self.one_of([False, False, False, True]):
            text, value = self.gap(), None
        else:
            text, value = self.number()
            if value in {-999.0} and "-999" in self.said.get("missing", ()):
                value = None
        blanks = [blank for blank in ("", "", " ", "\t", "  ") if not self.delimiter or self.delimiter not in blank]
        if self.encodable("\t"):
            text = self.one_of(blanks) + text + self.one_of(blanks)
        written = self.cell(text)
        if written is None:  # such as 1,5 between commas without quotes
            whole = self.draw(st.integers(0, 998))
            return str(whole), float(whole)
        return written, value

    def word(self) -> str:
        """A cell of text that no option makes a number."""
        if self.one_of([False] * 5 + [True]) and (cell := self.cell(self.gap())) is not None:
            return cell
        text = "w" + self.draw(st.text(self.alphabet, max_size=6))
        cell = self.cell(text)
        assert cell is not None
        return cell

    def end(self) -> str:
        """A line end."""
        found = str(self.one_of(ENDS[self.ends]))
        self.end_kinds.add(next(kind for kind, ends in ENDS.items() if ends == [found]))
        return found

    def name(self, name: str, *, target: bool) -> str | None:
        """A column's name in the header; None where it cannot stand there."""
        if not self.encodable(name):
            return None
        if not self.quote and "delimiter" not in self.said and any(c in name for c in FOUND_OUT):
            return None
        found_out = target and self.quote == "'" and not self.named_quote  # it is known by the target's quotes
        if not target and not found_out and self.delimiter not in " \t" and self.one_of([False, False, True]):
            name = f" {name}\t" if self.encodable("\t") else name
        quoted = True if found_out or (any(c in name for c in FOUND_OUT) and self.quote) else None
        return self.cell(name, quoted)

    def kept(self, line: str) -> bool:
        """Whether a row in it is one, and neither a blank line nor a comment."""
        comment = self.said.get("comment")
        return bool(line.strip(" \t")) and not (comment and line.lstrip(" \t").startswith(comment))


@st.composite
def files(draw: st.DrawFn) -> Written:  # noqa: PLR0912  (a file has that many parts)
    """A table in some dialect."""
    writer = Writer(draw)
    one_of = writer.one_of
    kinds = draw(
        st.permutations(["target", "number", *one_of([[], ["number"], ["text"], ["text", "empty"], ["same", "text"]])])
    )
    named = draw(st.permutations([*NAMES, ""]))
    target = "y"
    columns: list[tuple[str, str, str]] = []  # kind, name, name as written
    for kind in kinds:
        for name in [target] if kind == "target" else named:
            written = writer.name(name, target=kind == "target")
            taken = unicodedata.normalize("NFC", name) or f"column {len(columns) + 1}"
            if written is not None and all(taken != other for _, other, _ in columns):
                columns.append((kind, f"column {len(columns) + 1}" if writer.headless else taken, written))
                break
    names = [name for _, name, _ in columns]
    target = next(name for kind, name, _ in columns if kind == "target")

    parts: list[tuple[str, list[str] | None]] = []  # lines, and the cells that are a row
    cells: list[list[tuple[str, float | None]]] = []
    comment = writer.said.get("comment")
    skipped_parts, comments = list[int](), 0

    def aside() -> None:
        """Lines that are none of the table's."""
        nonlocal comments
        for what in one_of([[], [], [], ["blank"], ["comment"], ["skip"], ["blank", "comment", "blank"]]):
            if what == "comment" and comment:
                parts.append(
                    (one_of(["", " "]) * (writer.delimiter != " ") + comment + one_of(["", ' 1,2;3|"', " it's"]), None)
                )
                comments += 1
            elif what == "blank":
                parts.append((one_of(["", "", *(blank for blank in (" ", "\t") if writer.delimiter != blank)]), None))
            elif what == "skip" and skipping:
                skipped_parts.append(len(parts))
                parts.append((one_of(["kg;m;s", "said by 'x", 'Total "of" it', "1,2", f"y{writer.delimiter}x"]), None))

    skipping = one_of([False, False, True])
    above = one_of([0, 0, 1, 3]) if not writer.headless else 0
    parts += [(one_of(["Report of 2024", "a,b;c|d", 'He said "no', "y", "it's"]), None) for _ in range(above)]
    by_header = above > 0 and draw(st.booleans())
    if not by_header:
        aside()
    header_part = len(parts)
    if not writer.headless:
        parts.append((writer.delimiter.join(written for _, _, written in columns), None))
    count = draw(st.integers(0, 6))
    for i in range(count + 2):
        aside()
        row: list[tuple[str, float | None]] = []
        for kind, _, _ in columns:
            if kind in {"target", "number"}:
                row.append(writer.value(gaps=True) if i < count else (str(i - count + 1), i - count + 1.0))
            else:
                row.append((writer.word() if kind == "text" else "7" if kind == "same" else "", None))
        line = writer.delimiter.join(cell for cell, _ in row)
        if writer.kept(line):
            cells.append(row)
            parts.append((line, [cell for cell, _ in row]))
    aside()

    text, starts = "", list[int]()
    last_ends = draw(st.booleans())
    for k, (line, _) in enumerate(parts):
        starts.append(len(text))
        text += line + (writer.end() if k < len(parts) - 1 or last_ends else "")

    def line_of(part: int) -> int:
        return 1 + len(re.findall(r"\r\n|\r|\n", text[: starts[part]]))

    said = dict(writer.said)
    lines = [line_of(part) for part in skipped_parts]
    header_line = None if writer.headless else line_of(header_part)
    if writer.headless:
        said["header"] = "none"
    elif by_header:
        said["header"] = header_line
    ranges = [str(above)] if above and not by_header else []
    ranges += [f"{line}-{line}" for line in lines]
    if skipping and lines and line_of(len(parts) - 1) == lines[-1]:
        ranges[-1] = f"{lines[-1]}-"
    if ranges:
        said["skip_lines"] = ",".join(ranges)

    body = text.encode(writer.encoding)
    data = (MARKS[writer.encoding] if writer.marked else b"") + body
    compression = one_of([None, None, None, "gzip", "zstd"])
    cut = draw(st.integers(0, len(data))) if compression else 0
    if compression == "gzip":
        data = b"".join(gzip.compress(part, mtime=0) for part in (data[:cut], data[cut:]) if part)
    elif compression == "zstd":
        data = b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in (data[:cut], data[cut:]) if part)
    dialect = Dialect(**said)
    true = dialect.model_copy(update={"delimiter": writer.delimiter, "quote": writer.quote})
    at = {name: j for j, (kind, name, _) in enumerate(columns) if kind in {"target", "number"}}
    expected_rows = [(line_of(k), [unquoted(cell, writer.quote) for cell in row]) for k, (_, row) in enumerate(parts) if row]
    features = [name for name in at if name != target]
    inner = {kind for kind, ends in ENDS.items() if len(ends) == 1 for row in cells for cell, _ in row if holds(cell, ends[0])}
    inner |= {kind for kind, ends in ENDS.items() if len(ends) == 1 for _, _, name in columns if holds(name, ends[0])}
    expected = {
        "delimiter": writer.delimiter, "decimal": writer.decimal, "thousands": writer.groups, "compression": compression,
        "byte_order_mark": writer.marked, "comment": comment, "units": tuple(writer.said.get("units", ())),
        "parentheses": bool(writer.said.get("parentheses")), "header_line": header_line, "missing": dialect.marks,
        "lines_skipped": above + len(lines) + comments, "given": tuple(name for name in Dialect.model_fields if name in said),
    }  # fmt: skip
    if writer.named_quote or any(written.startswith(writer.quote) for kind, _, written in columns if kind == "target"):
        expected["quote"] = writer.quote
    if len(writer.end_kinds | inner) == 1:
        expected["line_ends"] = next(iter(writer.end_kinds))
    return Written(
        data=data,
        body=body,
        text=text,
        dialect=dialect,
        true=true,
        target=target,
        features=tuple(draw(st.permutations(features))) if draw(st.booleans()) else None,
        names=names,
        rows=expected_rows,
        values={name: [row[j][1] for row in cells] for name, j in at.items()},
        format=expected,
    )


def holds(cell: str, end: str) -> bool:
    """Whether a cell has a line end of just this kind in it."""
    return end in re.findall(r"\r\n|\r|\n", cell)


def unquoted(cell: str, quote: str) -> str:
    """A cell as it was before it was written."""
    return cell[1:-1].replace(2 * quote, quote) if quote and cell.startswith(quote) else cell


@given(files())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_here_is_a_table(file: Written) -> None:
    """For every file of the next test the strict reader of these tests finds the cells that were written, and their values."""
    text = oracle.decoded(oracle.unpacked(file.data), file.dialect.encoding)
    assert file.text == text
    table = oracle.parse(text, file.true)
    assert (file.format["header_line"], file.names, file.rows) == (table.header_line, table.names, table.rows)
    for name, values in file.values.items():
        cells = [cells[file.names.index(name)] for _, cells in table.rows]
        found = [None if oracle.missing(cell, file.true) else oracle.number(cell, file.true) for cell in cells]
        assert [value if value is None else value.hex() for value in values] == [v if v is None else v.hex() for v in found]


@pytest.mark.slow
@given(file=files(), block=st.integers(1, 200) | st.just(BLOCK), threads=st.integers(1, 3))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_table_in_every_dialect_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, file: Written, block: int, threads: int
) -> None:
    """For every table, dialect, encoding, compression and cut into blocks: values, dropped lines, and what was found out."""
    path = tmp_path_factory.getbasetemp() / "t.csv"
    path.write_bytes(file.data)
    note(f"{file.text!r} {file.dialect!r} {file.target!r} {file.features!r}")
    source = Source(path=str(path), target=file.target, features=file.features, dialect=file.dialect)
    rows = read([str(path)], source, keep_rows=lambda rows, columns: True, threads=threads, block=block).rows
    assert rows is not None
    provenance, complete = rows.provenance, file.complete
    kept = [name for name in file.used[:-1] if file.features is not None or len(set(file.column(name))) > 1]
    assert tuple(kept) == provenance.features
    assert (len(file.rows), len(complete)) == (provenance.rows, provenance.rows_used)
    for j, name in enumerate(kept):
        assert file.column(name).tobytes() == np.ascontiguousarray(rows.X[:, j]).tobytes(), name
    assert file.column(file.target).tobytes() == rows.y.tobytes()
    dropped = tuple(line for i, (line, _) in enumerate(file.rows) if i not in complete)
    assert dropped == tuple(line for item in provenance.rows_dropped for line in item.lines)
    assert len(dropped) == sum(item.count for item in provenance.rows_dropped)
    gaps = {name: file.values[name].count(None) for name in file.used}
    assert {name: count for name, count in gaps.items() if count} == provenance.missing_cells
    if file.features is None:
        assert {name for name in file.names if name not in {*kept, file.target}} == {
            item.column for item in provenance.left_out
        }
    found = provenance.format
    assert found is not None
    assert file.format == {name: getattr(found, name) for name in file.format}
    assert file.text == file.body.decode(found.encoding)
    assert found.line_ends in {*ENDS, "none"}


@pytest.mark.parametrize(
    ("data", "target", "expected"),
    [
        (b"\xef\xbb\xbf'y';'x'\r'1';2\r\n\n3;'4'\r5;7", "y", [2.0, 4.0, 7.0]),
        (b"'y',say \"x\",x\n1,u,2\n2,v,5\n", "y", [2.0, 5.0]),
        ("y\tx\n1\t2\n2\t5\n".encode("utf-16"), "y", [2.0, 5.0]),
    ],
)
def test_some_dialects_that_are_found_out(tmp_path: Path, data: bytes, target: str, expected: list[float]) -> None:
    """Without any option."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    rows = read([str(path)], Source(path=str(path), target=target), keep_rows=lambda rows, columns: True).rows
    assert rows is not None
    assert expected == rows.X[:, 0].tolist()
