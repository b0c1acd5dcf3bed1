"""CSV files: what is read of them, and what is refused."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gd.data import (
    MISSING,
    DataError,
    Dataset,
    Dropped,
    LeftOut,
    Provenance,
    Source,
    bundled,
    expand,
)
from gd.dialect import Format
from gd.reading import Reading, read, read_csv
from gd.stream import BLOCK

PLAIN = b"x,y\n1,2\n3,4\n5,7\n"


def table(folder: Path, text: bytes | str, name: str = "t.csv") -> Path:
    """A file to read."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, target: str = "y", features: tuple[str, ...] | None = None) -> str:
    """What `read_csv` says against a file."""
    with pytest.raises(DataError) as caught:
        read_csv(path, target, features)
    return str(caught.value)


def rows_by_python(data: bytes) -> list[tuple[int, list[str]]]:
    """Line and cells of every record, the header first, by Python's own reader."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    rows, line = [], 1
    for cells in reader:
        if cells:
            rows.append((line, cells))
        line = reader.line_num + 1
    return rows


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user may not open; root gives up its right to open everything."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


# What is read


def test_penguins_are_read_as_python_reads_them(penguins: Dataset) -> None:
    """The bundled penguins: 344 rows, of which those on lines 5 and 273 miss their measurements, and three columns of text."""
    rows = rows_by_python(bundled("penguins").read_bytes())
    names = rows[0][1]
    kept = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year")
    used = [name for name in names if name in (*kept, "body_mass_g")]
    gaps = [line for line, cells in rows[1:] if any(cells[names.index(name)] in MISSING for name in used)]
    whole = [cells for line, cells in rows[1:] if line not in gaps]
    expected = np.array([[float(cells[names.index(name)]) for name in kept] for cells in whole])
    assert (344, 342) == (penguins.provenance.rows, penguins.provenance.rows_used)  # as gd/datasets/README.md says
    assert [5, 273] == gaps
    assert (Dropped(reason="missing cell", count=2, lines=(5, 273)),) == penguins.provenance.rows_dropped
    assert kept == penguins.provenance.features
    assert tuple(LeftOut(column=c, reason="text") for c in ("species", "island", "sex")) == penguins.provenance.left_out
    assert dict.fromkeys(used, 2) == penguins.provenance.missing_cells | {"year": 2}  # the year is never missing
    assert expected.tobytes() == np.ascontiguousarray(penguins.X).tobytes()
    assert [float(cells[names.index("body_mass_g")]) for cells in whole] == penguins.y.tolist()


def test_notebook_rows() -> None:
    """The bundled rows of the notebook are Y = 2 X."""
    dataset = read_csv(bundled("notebook"), "Y")
    assert [[1.0], [2.0], [3.0], [4.0], [5.0]] == dataset.X.tolist()  # as the notebook has them
    assert [2.0, 4.0, 6.0, 8.0, 10.0] == dataset.y.tolist()


def test_provenance_describes_the_file(tmp_path: Path) -> None:
    """Name, path, size and SHA-256 are the file's own."""
    path = table(tmp_path, PLAIN, "my table.csv")
    digest = "247fd9714fdbd2eb70354902bedb2f1f0526b3331ef1baab7c7b4576ab593675"  # sha256sum
    expected = Provenance(
        name="my-table",
        path=str(path),
        sha256=digest,
        bytes=16,
        rows=3,
        rows_used=3,
        target="y",
        features=("x",),
        format=Format(delimiter=",", quote='"', encoding="UTF-8", line_ends="LF", header_line=1),
    )
    assert expected == read_csv(path, "y").provenance
    assert "other" == read_csv(path, "y", name="other").provenance.name


def test_matrix_is_column_major_float64(tmp_path: Path) -> None:
    """Features come in the order in which they are named, as float64 by columns."""
    path = table(tmp_path, "a,b,y\n1,2,3\n4,5,7\n")
    dataset = read_csv(path, "y", ["b", "a"])
    assert [[2.0, 1.0], [5.0, 4.0]] == dataset.X.tolist()
    assert ("b", "a") == dataset.provenance.features
    assert dataset.X.flags.f_contiguous
    assert ("float64", "float64") == (str(dataset.X.dtype), str(dataset.y.dtype))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("before", ["", "\ufeff", "{end}{end}", "  {end},,{end}"])
def test_line_ends(tmp_path: Path, end: str, last: bool, before: str) -> None:
    """Every kind of line end is one, the last may be missing, and blank lines before the header or between rows are skipped."""
    lines = [" x ,y", "1,2", "", "NA,3", "3,4"]
    text = before.format(end=end) + end.join(lines) + end * last
    dataset = read_csv(table(tmp_path, text), "y")
    assert [1.0, 3.0] == dataset.X[:, 0].tolist()
    skipped = 2 * ("{end}" in before)  # both lines before the header
    assert (skipped + 4,) == dataset.provenance.rows_dropped[0].lines  # NA stands on the fourth line from the header on


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1.5e3", 1500.0), ("+5", 5.0), (" 7 ", 7.0), ("\t7", 7.0), (".5", 0.5), ("5.", 5.0), ("007", 7.0), ("-0", -0.0),
        ("1E+2", 100.0), ('" 6"', 6.0), ('"\n6"', 6.0), ("1e-400", 0.0), ("4.9e-324", 5e-324),
        ("9007199254740993", 9007199254740992.0),  # 2**53 + 1 lies between two doubles; the even one is taken
        ("18446744073709551617", 2.0**64),  # beyond int64 and uint64
        ("0.1000000000000000055511151231257827021181583404541015625", 0.1),  # all digits of the double
    ],
)  # fmt: skip
def test_numbers_as_python_reads_them(tmp_path: Path, written: str, expected: float) -> None:
    """Every way to write a number gives the double that Python's float gives, alone and beside cells that need care."""
    for other in ("2", " NA "):  # the second is beyond pyarrow's conversion, so that the whole column is read again as text
        dataset = read_csv(table(tmp_path, f"x,y\n{written},1\n2,2\n{other},3\n8,4\n"), "y")
        assert np.float64(expected).tobytes() == dataset.X[0, 0].tobytes()
        assert float(written.strip('"')).hex() == float(dataset.X[0, 0]).hex()


@pytest.mark.parametrize("written", [*MISSING, " NA ", "  ", '"NA"', '""', "NAN", "-nan", "Nan"])
def test_missing_cells(tmp_path: Path, written: str) -> None:
    """Every way to write a missing value drops its row, names its line and counts its cell."""
    provenance = read_csv(table(tmp_path, f"x,y\n1,1\n{written},2\n3,3\n"), "y").provenance
    assert (Dropped(reason="missing cell", count=1, lines=(3,)),) == provenance.rows_dropped
    assert provenance.missing_cells == {"x": 1}


def test_missing_cells_of_unused_columns_drop_nothing(tmp_path: Path) -> None:
    """Only columns that are used cost rows."""
    provenance = read_csv(table(tmp_path, "a,b,word,y\n1,,,1\n2,,u,2\n3,5,,3\n"), "y", ["a"]).provenance
    assert (3, ()) == (provenance.rows_used, provenance.rows_dropped)


def test_left_out_columns_say_why(tmp_path: Path) -> None:
    """Text, dates, times, flags, empty and constant columns are left out, each with its reason."""
    text = (
        "a,word,day,hour,flag,empty,same,code,y\n"
        "1,u,2024-01-01,12:30,true,,4,0x1,1\n"
        "2,v,2024-01-02,9:05:00,false,NA,4,0x2,2\n"
        "3,,2024-01-03T10:00,,true,,4,0x1F,4\n"
    )
    expected = {
        "word": "text", "day": "dates or times", "hour": "dates or times", "flag": "text", "empty": "no value in any row",
        "code": "text", "same": "constant: every row used holds 4",
    }  # fmt: skip
    provenance = read_csv(table(tmp_path, text), "y").provenance
    assert expected == {left.column: left.reason for left in provenance.left_out}
    assert ("a",) == provenance.features


def test_dates_are_no_category(tmp_path: Path) -> None:
    """They are left out unless days are asked for; text beside them becomes columns of 0 and 1."""
    path = table(tmp_path, "day,word,y\n2024-01-01,u,1\n2024-01-02,v,2\n2024-01-03,u,4\n")
    found = read_csv(path, "y", encode=["category"]).provenance
    assert ("word=v",) == found.features
    assert [("day", "dates or times")] == [(left.column, left.reason) for left in found.left_out]
    assert ("day", "word=v") == read_csv(path, "y", encode=["category", "dates"]).provenance.features


def test_reading_loads_no_pandas(tmp_path: Path) -> None:
    """Pyarrow would, half a second of it, wherever it is installed: gaps, categories, dates and text are read without."""
    table(tmp_path, "x,g,d,y\n1,a,2024-01-01,2\nNA,b,2024-01-02,3\n 5 ,b,2024-01-03,9007199254740993\n4,a,2024-01-04,1\n")
    code = (
        "import sys; from gd.reading import read_csv\n"
        "print(len(read_csv('t.csv', 'y', encode=('category', 'dates')).y), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert "3 False\n" == done.stdout


def test_a_named_constant_feature_is_kept(tmp_path: Path) -> None:
    """What was asked for by name is not left out."""
    dataset = read_csv(table(tmp_path, "x,y\n4,1\n4,2\n"), "y", ["x"])
    assert (("x",), ()) == (dataset.provenance.features, dataset.provenance.left_out)


def test_names_are_read_as_they_are(tmp_path: Path) -> None:
    """Markup, quotes, commas, line ends, great length and no name at all."""
    long = "z" * 300
    text = f'<b>&,"a""b","n\nl","c,d",θ,,{long},y\n1,2,3,4,5,6,7,1\n2,3,NA,5,6,7,8,2\n3,4,5,6,7,8,9,4\n'
    provenance = read_csv(table(tmp_path, text), "y").provenance
    assert ("<b>&", 'a"b', "n\nl", "c,d", "θ", "column 6", long) == provenance.features
    assert (4,) == provenance.rows_dropped[0].lines  # the header takes two lines


@pytest.mark.parametrize(
    ("field", "extra"),
    [('"a\nb"', 1), ('"a\r\nb"', 1), ('"a,""b"""', 0), ('5" pipe', 0), ("é\u2028\x85", 0)],
    ids=["newline", "crlf", "quotes", "inch", "unicode"],
)
def test_lines_far_into_a_file(tmp_path: Path, field: str, extra: int) -> None:
    """Numbers and lines stay right beyond pyarrow's first block of 1 MB."""
    n, gaps = 60_000, (7, 59_000)
    rows = [f"{'NA' if i in gaps else i + 0.5},{field if i % 100 == 3 else 'w' * 20},{i % 7}" for i in range(n)]
    dataset = read_csv(table(tmp_path, "x,s,y\n" + "\n".join(rows)), "y")
    expected = tuple(2 + i + extra * len(range(3, i, 100)) for i in gaps)  # a header, then a line more for each such field
    assert expected == dataset.provenance.rows_dropped[0].lines
    assert [i + 0.5 for i in range(n) if i not in gaps] == dataset.X[:, 0].tolist()


def test_only_the_first_thousand_lines_are_kept(tmp_path: Path) -> None:
    """The count of dropped rows is exact, their list is not endless."""
    text = "x,y\n" + "NA,1\n" * 1500 + "1,1\n2,2\n"
    assert (
        Dropped(reason="missing cell", count=1500, lines=tuple(range(2, 1002)))
        == (read_csv(table(tmp_path, text), "y").provenance.rows_dropped[0])
    )


@pytest.mark.parametrize("size", [200_000, 3_000_000], ids=["beyond csv's limit", "beyond pyarrow's block"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_huge_cells(tmp_path: Path, size: int, quote: str) -> None:
    """Text of any length is left out like other text, and lines are still counted across it."""
    cell = quote + "a" * size + quote
    provenance = read_csv(table(tmp_path, f"x,y,s\n1,2,{cell}\n\n3,4,b\nNA,5,c\n5,9,d\n"), "y").provenance
    assert (LeftOut(column="s", reason="text"),) == provenance.left_out
    assert (5,) == provenance.rows_dropped[0].lines


def test_thousands_of_columns(tmp_path: Path) -> None:
    """A table may be wider than it is long."""
    d = 4000
    lines = [",".join(f"c{j}" for j in range(d)) + ",y", *(",".join(str(i * j + i) for j in range(d + 1)) for i in (1, 2, 3))]
    assert [[i * j + i for j in range(d)] for i in (1, 2, 3)] == read_csv(table(tmp_path, "\n".join(lines)), "y").X.tolist()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("#REF!,3", "line 3, column 'x': '#REF!' is not a number. --missing 'default,#REF!' takes it as missing."),
        ("# 4,3", "line 3, column 'x': '# 4' is not a number. Lines that begin with # are skipped by --comment '#'."),
        ("# as of May", "line 3: 1 cell where the header has 2. Lines that begin with # are skipped by --comment '#'."),
        ("x,y", "line 3, column 'y': 'y' is not a number. The header stands there again; --skip-lines 3-3 skips it."),
    ],
)
def test_rows_that_are_none(tmp_path: Path, row: str, expected: str) -> None:
    """A comment is told from a mark of a missing value, whose row would be lost with the comments."""
    assert f"t.csv, {expected}" == refusal(table(tmp_path, f"x,y\n1,2\n{row}\n5,6\n7,9\n"))


@pytest.mark.parametrize("block", [1000, BLOCK])
def test_a_header_may_be_long(tmp_path: Path, block: int) -> None:
    """Its last name tells the delimiter, however far behind the first it stands."""
    names = [f"a long name, {j:05}" for j in range(8000)]
    path = table(
        tmp_path, ";".join([*names, "y"]) + "\n" + "".join(";".join([str(i)] * 8000) + f";{i * i}\n" for i in (1, 2, 3))
    )
    found = read([str(path)], Source(path="t.csv", target="y", features=(names[7],)), block=block).provenance
    assert found.format is not None
    assert (";", (names[7],), 3) == (found.format.delimiter, found.features, found.rows_used)


def test_constant_target(tmp_path: Path) -> None:
    """A target that never changes is the user's business."""
    assert [2.0, 2.0] == read_csv(table(tmp_path, "x,y\n1,2\n3,2\n"), "y").y.tolist()


@pytest.mark.parametrize("members", [1, 2])
def test_gzip_by_its_first_bytes(tmp_path: Path, members: int) -> None:
    """A gzipped file needs no ending that says so, and may have several members."""
    cut = PLAIN.index(b"3,4")
    packed = (
        gzip.compress(PLAIN, mtime=0)
        if members == 1
        else gzip.compress(PLAIN[:cut], mtime=0) + gzip.compress(PLAIN[cut:], mtime=0)
    )
    dataset = read_csv(table(tmp_path, packed), "y")
    assert ([1.0, 3.0, 5.0], len(packed)) == (dataset.X[:, 0].tolist(), dataset.provenance.bytes)


DIGITS = st.text(st.sampled_from("0123456789"), min_size=1, max_size=25)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.builds("{}{}.{}e{}".format, st.sampled_from(["", "+", "-", " "]), DIGITS, DIGITS, st.integers(-99, 99)),
)
WORDS = st.text(st.sampled_from('uv",\n\r é'), max_size=6)


@given(
    cells=st.lists(st.tuples(NUMBERS | st.sampled_from(MISSING), WORDS, NUMBERS), max_size=20),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    blank=st.sets(st.integers(0, 20)),
    quoted=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_table_is_read_as_python_reads_it(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str, str]], end: str, blank: set[int], quoted: bool
) -> None:
    """For every table values are Python's float of each cell, bit for bit, and dropped lines are where Python finds them."""

    def written(cell: str) -> str:  # csv.writer of Python 3.11 forgets to quote a lone carriage return
        return '"' + cell.replace('"', '""') + '"' if quoted or re.search(r'[",\r\n]', cell) else cell

    lines = [",".join(map(written, row)) for row in [("x", "s", "y"), *cells, ("1", "u", "1"), ("2", "v", "2")]]
    data = "".join(line + end * (2 if i in blank else 1) for i, line in enumerate(lines)).encode()
    rows = rows_by_python(data)[1:]
    whole = [row for _, row in rows if row[0] not in MISSING]
    dataset = read_csv(table(tmp_path_factory.getbasetemp(), data), "y", ["x"])
    assert np.array([float(row[0]) for row in whole]).tobytes() == dataset.X[:, 0].tobytes()
    assert np.array([float(row[2]) for row in whole]).tobytes() == dataset.y.tobytes()
    lost = tuple(line for line, row in rows if row[0] in MISSING)
    assert ((Dropped(reason="missing cell", count=len(lost), lines=lost),) if lost else ()) == dataset.provenance.rows_dropped


@given(
    st.binary(max_size=60) | st.text(st.sampled_from('xy,12\n\r" NA.e-\0é'), max_size=40).map(lambda s: f"x,y\n{s}".encode())
)
@settings(max_examples=400, deadline=None)
def test_every_file_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever the bytes are, they end in a data set without a gap or in one short sentence or two."""
    path = table(tmp_path_factory.getbasetemp(), data)
    try:
        dataset = read_csv(path, "y")
    except DataError as error:
        said = str(error)
        assert said.startswith("t.csv")
        assert len(said) < 500
        assert "\n" not in said
    else:
        assert np.isfinite(dataset.X).all()
        assert np.isfinite(dataset.y).all()


# What is refused

QUOTES = "Put the cell in quotes, and write a quote within it twice."
MEND = "Mend it, or write NA for a missing value"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "t.csv: the file is empty. Export the table again."),
        (b" \r\n\t\n", "t.csv: the file is empty. Export the table again."),
        (gzip.compress(b"", mtime=0), "t.csv: the file is empty. Export the table again."),
        (b",,\n,,\n", "t.csv: every cell is empty. Export the table again."),
        (b"x,y\n", "t.csv: a header and no rows. Export the table again with its data."),
        (b"x,y", "t.csv: a header and no rows. Export the table again with its data."),
        (b"x,y\r\n\r\n\r\n", "t.csv: a header and no rows. Export the table again with its data."),
        ("x,y\n".encode("utf-16"), "t.csv: a header and no rows. Export the table again with its data."),
        (b"x,y\r1,2\r3,\0\r", "t.csv, line 3: a NUL byte, which no CSV holds. Export the table again, or name its "
         "encoding with --encoding, such as utf-16-le."),
        ("x,y\r\n1,2\r\n1,é".encode("latin-1"), "t.csv, line 3: a byte that is not UTF-8. Save the "
         "file as UTF-8, or name its encoding with --encoding."),
        (b"x,y, x \n1,2,3\n", "t.csv, line 1: two columns are named 'x' (columns 1 and 3). Rename one, or leave both out "
         "with --leave-out x."),
        (
            b"x,y\n1,2\n\n3\n",
            "t.csv, line 4: 1 cell where the header has 2. Mend the row, or leave out all that follows with --skip-lines 4-.",
        ),
        (
            b'x,y,s\n1,2,"a\nb"\n3,4,5,6\n',
            "t.csv, line 4: 4 cells where the header has 3. Quote cells that hold a comma, or mend the row.",
        ),
        (b'x,y,s\n1,2,a\n2,3,"b\n4,5,c\n', f"t.csv, line 3: a quote is never closed. {QUOTES}"),
        (b'x,y,s\n1,2,"a\n2,3,"b\n4,5,c\n', f"t.csv, line 2: text after a closing quote. {QUOTES}"),
        (b'"x,y\n1,2\n', f"t.csv, line 1: a quote is never closed. {QUOTES}"),
        (b'x,y\n1,1\n"1"2,3\n', f"t.csv, line 3: text after a closing quote. {QUOTES}"),  # and not silently 12
        (b"y\n1\n2\n", "t.csv: no numeric column beside the target 'y'. Add a column to predict from."),
        (b"y,s\n1,a\n2,b\n", "t.csv: no numeric column beside the target 'y'. 's' is left out (text)."),
        (b"x,y\n1,NA\n2,\n", "t.csv: column 'y' holds no value. Fill it, or name other columns."),
        (b"x,y\n1,2\n", "t.csv: 1 complete row of 1; at least 2 are needed. Export the table again with more rows."),
        (
            b"x,y\n1,2\n,3\n,4\n",
            "t.csv: 1 complete row of 3; at least 2 are needed. "
            "Column 'x' has 2 missing cells: leave it out with --leave-out x, or fill it.",
        ),
        (
            b"x,y\n1,\n,3\n4,\n",
            "t.csv: no row of 3 is complete. Column 'y' has 2 missing cells: fill it.",
        ),
        (
            gzip.compress(PLAIN, mtime=0)[:-5],
            "t.csv: the gzip stream is broken (Compressed file ended before the end-of-stream marker was reached). "
            "Compress or copy it again.",
        ),
        (b"x:y\n1:2\n",
         "t.csv: no column 'y' for the target. The header is one column, 'x:y': say by what its cells are separated with "
         "--delimiter."),
        (
            b"x,y\n1,2\nten,3\n4,5\nsix,7\n8,9\n",
            f"t.csv, line 3, column 'x': 'ten' is not a number, nor is 'six' in line 5. {MEND}; --leave-out x leaves the "
            "column out.",
        ),
        (b"x,y\n1,2\n3,four\n", f"t.csv, line 3, column 'y': 'four' is not a number. {MEND}."),
        (
            b"x,y\n1,2\n3,-inf\n",
            "t.csv, line 3, column 'y': '-inf' is infinite in float64. Write a finite number, or NA for a missing value.",
        ),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, text: bytes, expected: str) -> None:
    """Every file that cannot be used is refused with its place, its problem and what to do."""
    assert expected == refusal(table(tmp_path, text))


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        *((cell, "is not a number") for cell in [
            "1_000", "1,234", "(12)", "12%", "0x1F", "1e", "--1", "1 2", "12 kg", "１２", "\xa07", "2024-01-01", "12:30",
            "true",
        ]),
        *((cell, "is infinite in float64") for cell in ["Infinity", "inf", "-INF", "1e400"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [2, 30_000], ids=["near", "far"])
def test_cells_that_are_no_finite_number(tmp_path: Path, cell: str, problem: str, at: int) -> None:
    """In a column of numbers such a cell is shown with its line, also far beyond the rows that types are guessed from."""
    rows = ["1,2\n"] * at
    rows[at - 1] = f'"{cell}",5\n'
    message = refusal(table(tmp_path, "x,y\n" + "".join([*rows, "3,4\n", "6,7\n"])))
    assert message.startswith(f"t.csv, line {at + 1}, column 'x': {cell!r} {problem}. ")


@pytest.mark.parametrize(
    ("target", "features", "expected"),
    [
        ("bodymass", None, "no column 'bodymass' for the target. The nearest name is 'body mass'."),
        ("Bill", None, "no column 'Bill' for the target. The nearest name is 'bill'."),
        ("q", None, "no column 'q' for the target. Its columns are 'bill', 'body mass', 'word', 'void'."),
        ("bill", ("body_mass",), "no column 'body_mass' for the feature. The nearest name is 'body mass'."),
        ("bill", (), "an empty list of features. Name at least one, or none to use all numeric columns."),
        ("bill", ("bill",), "'bill' is both the target and a feature. Take it out of the features."),
        ("bill", ("word", "word"), "the feature 'word' is named twice. Name it once."),
        ("bill", ("void",), "column 'void' holds no value. Fill it, or name other columns."),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, target: str, features: tuple[str, ...] | None, expected: str) -> None:
    """A name that the header lacks is answered with those nearest to it, or with the header."""
    path = table(tmp_path, "bill,body mass,word,void\n1,2,u,\n3,4,v,\n")
    assert f"t.csv: {expected}" == refusal(path, target, features)


def test_a_named_feature_of_text_is_refused(tmp_path: Path) -> None:
    """Text is left out only where nobody asked for it."""
    expected = "t.csv, line 2, column 'word': 'u' is not a number, nor is 'v' in line 3. --encode category would use text."
    assert expected == refusal(table(tmp_path, "word,y\nu,1\nv,2\n"), "y", ("word",))


def test_long_names_and_cells_are_cut(tmp_path: Path) -> None:
    """No cell and no header makes an error longer than a few lines of a terminal."""
    path = table(tmp_path, '{"a": ' + "b" * 500_000 + "\n1\n")
    assert len(refusal(path)) < 200
    path = table(tmp_path, "x,y\n1,2\n3," + "b" * 500_000 + "\n5,6\n")
    assert f"t.csv, line 3, column 'y': '{'b' * 56}…' is not a number. {MEND}." == refusal(path)


def test_broken_gzip_is_refused(tmp_path: Path) -> None:
    """For every byte of a gzipped file: changed or cut there it is refused in words, or still the same table."""
    packed = gzip.compress(PLAIN, mtime=0)
    for i in range(2, len(packed)):
        for broken in (packed[:i], packed[:i] + bytes([packed[i] ^ 0xFF]) + packed[i + 1 :]):
            try:
                assert [1.0, 3.0, 5.0] == read_csv(table(tmp_path, broken), "y").X[:, 0].tolist()
            except DataError as error:
                said = str(error)
                assert "the gzip stream is broken" in said
    assert "not a gzipped file" in refusal(table(tmp_path, packed + b"xx")).lower()


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is answered with names like it."""
    table(tmp_path, PLAIN, "penguins.csv")
    assert f"{tmp_path}/pengiuns.csv: no such file. Did you mean penguins.csv?" == refusal(tmp_path / "pengiuns.csv")
    assert f"{tmp_path}/q: no such file. Check the path." == refusal(tmp_path / "q")
    assert f"{tmp_path}/penguins.csv/q: no such file. Check the path." == refusal(tmp_path / "penguins.csv" / "q")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """Folders, pipes, devices, links to nothing and in circles, and names that cannot be: all at once and in words."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    pipe = "is a pipe or a device. Write its output to a file first."
    name = "the path holds a NUL, or a byte that is not UTF-8. Rename the file."
    assert f"{tmp_path}: is a folder. Name a file in it." == refusal(tmp_path)
    assert f"{tmp_path}/pipe: {pipe}" == refusal(tmp_path / "pipe")
    assert f"/dev/zero: {pipe}" == refusal(Path("/dev/zero"))
    assert f"{tmp_path}/gone: a link to a file that is not there. Link it again." == refusal(tmp_path / "gone")
    assert f"{tmp_path}/loop: a link that leads back to itself. Check the path." == refusal(tmp_path / "loop")
    assert refusal(tmp_path / ("a" * 300)).endswith(": longer than a path may be. Check the path.")
    assert f"a\\0.csv: {name}" == refusal(Path("a\0.csv"))
    assert f"a\\udce9.csv: {name}" == refusal(Path("a\udce9.csv"))


def test_unreadable_file(locked: Path) -> None:
    """A file that this user may not read is refused and not tried again."""
    expected = f"{locked}/t.csv: may not be read by this user. Change its permissions."
    assert expected == refusal(locked / "t.csv")
    with pytest.raises(DataError, match="may not be read by this user"):
        expand(str(locked))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_read_that_breaks_off_is_left_to_be_tried_again() -> None:
    """An input/output error stays an OSError: address 0 of a process is a file that always fails so."""
    with pytest.raises(OSError, match="Input/output error") as caught:
        read_csv(Path("/proc/self/mem"), "y")
    assert caught.value.errno == errno.EIO
    assert not isinstance(caught.value, DataError)


def test_errors_survive_pickling() -> None:
    """Prefect hands errors between processes."""
    error = pickle.loads(pickle.dumps(DataError("t.csv, line 2", "no.", "Mend it.")))  # noqa: S301  (its own bytes)
    assert ("t.csv, line 2", "no.", "Mend it.") == (error.where, error.problem, error.remedy)
    assert "t.csv, line 2: no. Mend it." == str(error)


# One pass


SOURCE = Source(path="t.csv", target="y")


def same(expected: Reading, actual: Reading) -> None:
    """The same rows in the same order, the same of them left out and dropped, and moments up to rounding."""
    assert expected.rows is not None
    assert actual.rows is not None
    assert expected.rows.X.tolist() == actual.rows.X.tolist()
    assert expected.rows.y.tolist() == actual.rows.y.tolist()
    assert expected.provenance == actual.provenance
    assert expected.moments.n == actual.moments.n
    assert np.allclose(expected.moments.means, actual.moments.means, rtol=1e-12, atol=1e-300)
    assert np.allclose(
        expected.moments.cross, actual.moments.cross, rtol=1e-9, atol=1e-9 * np.abs(expected.moments.cross).max()
    )


def whole(path: Path, block: int = BLOCK, threads: int = 2, source: Source = SOURCE) -> Reading:
    """A file with its rows, in blocks of some size."""
    return read([str(path)], source, keep_rows=lambda rows, columns: True, threads=threads, block=block)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["1", "2.5", "-3e2", "NA", "", "7"]),
            st.sampled_from(["4", "5", " 6", "NA"]),
            st.sampled_from(["a", "b, c", 'say "x"', "two\nlines", "é"]),
            st.sampled_from(["", "", "", "9"]),
        ),
        min_size=4,
        max_size=30,
    ),
    block=st.integers(1, 80),
    threads=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_size_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], block: int, threads: int
) -> None:
    """For every table and every cut into blocks, on any number of threads: gaps, text, and a column that begins late."""
    path = tmp_path_factory.mktemp("blocks") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("x", "y", "word", "late"), *rows])
    try:
        expected = whole(path)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))):
            whole(path, block, threads)
        return
    same(expected, whole(path, block, threads))


def test_threads_change_no_bit(tmp_path: Path) -> None:
    """Blocks are merged in their order, whichever was done first."""
    rng = np.random.default_rng(5)
    rows = "".join(f"{a!r},{b!r}\n" for a, b in rng.standard_normal((20_000, 2)).tolist())
    path = table(tmp_path, "x,y\n" + rows)
    made = [read([str(path)], SOURCE, threads=threads, block=10_000).moments.R.tolist() for threads in (1, 2, 3)]
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    ("late", "reason"),
    [
        ("word", "text"),  # looks like numbers at first
        ("", "no value in any row"),
    ],
)
def test_a_column_that_changes_far_into_the_file(tmp_path: Path, late: str, reason: str) -> None:
    """A guess from the first rows that turns out wrong costs a second pass, and drops no row for a column left out."""
    first = "NA" if late == "word" else ""
    rows = [f"{j},{j * j},{first}\n" for j in range(200)] + [f"{j},{j * j},{late}\n" for j in range(200, 900)]
    found = whole(table(tmp_path, "x,y,z\n" + "".join(rows)), block=500)
    assert (LeftOut(column="z", reason=reason),) == found.provenance.left_out
    assert 900 == found.provenance.rows_used
    assert () == found.provenance.rows_dropped


def test_a_column_whose_values_begin_late(tmp_path: Path) -> None:
    """Empty in the first blocks and of numbers later: it is a feature, and the rows without it are dropped."""
    rows = [f"{j},{j * j},\n" for j in range(300)] + [f"{j},{j * j},{j % 7}\n" for j in range(300, 500)]
    found = whole(table(tmp_path, "x,y,z\n" + "".join(rows)), block=500)
    assert ("x", "z") == found.provenance.features
    assert {"z": 300} == found.provenance.missing_cells
    assert 200 == found.provenance.rows_used
    assert tuple(range(2, 302)) == found.provenance.rows_dropped[0].lines


def test_text_that_turns_up_in_the_last_block(tmp_path: Path) -> None:
    """In a column of numbers it is refused with its line, however far away."""
    rows = [f"{j},{j * j}\n" for j in range(3000)]
    path = table(tmp_path, "x,y\n" + "".join(rows) + "1 km,3\n2 km,4\n")
    with pytest.raises(DataError) as refused:
        whole(path, block=1000)
    expected = "t.csv, line 3002, column 'x': '1 km' is not a number, nor is '2 km' in line 3003. --units km would read them."
    assert expected == str(refused.value)


def test_rows_are_kept_as_long_as_asked_for(tmp_path: Path) -> None:
    """Once there are too many of them they are gone, and the moments are all there is."""
    path = table(tmp_path, "x,y\n" + "".join(f"{j},{j % 5}\n" for j in range(1000)))
    asked: list[tuple[int, int]] = []

    def few(rows: int, columns: int) -> bool:
        asked.append((rows, columns))
        return rows < 500

    found = read([str(path)], SOURCE, keep_rows=few, threads=1, block=1000)
    assert found.rows is None
    assert "moments" == found.method
    assert 1000 == found.moments.n
    assert 2 == asked[0][1]
    assert max(rows for rows, _ in asked[:-1]) < 500 <= asked[-1][0]


def test_a_reading_survives_a_folder(tmp_path: Path) -> None:
    """With rows and without."""
    path = table(tmp_path, PLAIN)
    for kept in (whole(path), read([str(path)], SOURCE)):
        kept.save(tmp_path / kept.method)
        loaded = Reading.load(tmp_path / kept.method)
        assert kept.provenance == loaded.provenance
        assert kept.moments.R.tolist() == loaded.moments.R.tolist()
        assert kept.method == loaded.method
        if kept.rows is None:
            assert kept.sample is not None
            assert loaded.sample is not None
            np.testing.assert_array_equal(kept.sample.rows, loaded.sample.rows)
            assert (kept.sample.level, kept.sample.of) == (loaded.sample.level, loaded.sample.of)


# Several files as one


def parts(folder: Path, *texts: str) -> list[str]:
    """Files to be read as one."""
    return [str(table(folder, text, f"part-{j}.csv")) for j, text in enumerate(texts, 1)]


def test_parts_are_one_data_set(tmp_path: Path) -> None:
    """However the rows are shared out, in whatever order the columns stand: the weights are those of one file to 1e-12."""
    rng = np.random.default_rng(9)
    rows = rng.standard_normal((3000, 3)) + np.array([0, 1e6, 5])
    lines = [",".join(map(repr, row)) + "\n" for row in rows.tolist()]
    turned = [",".join(map(repr, row[::-1])) + "\n" for row in rows[2000:].tolist()]
    one = read(parts(tmp_path, "a,b,y\n" + "".join(lines)), SOURCE)
    files = parts(tmp_path, "a,b,y\n" + "".join(lines[:10]), "a,b,y\n" + "".join(lines[10:2000]), "y,b,a\n" + "".join(turned))
    several = read(files, SOURCE, "all")
    assert [10, 1990, 1000] == [shard.rows_used for shard in several.provenance.shards]
    assert sum(Path(file).stat().st_size for file in files) == several.provenance.bytes
    assert ("a", "b") == several.provenance.features
    scaling = one.moments.scaling(center=True)
    expected, actual = (np.linalg.lstsq(*item.moments.compressed(scaling, intercept=True))[0] for item in (one, several))
    assert np.allclose(expected, actual, rtol=1e-12, atol=0)


def test_parts_tell_their_zones_alike(tmp_path: Path) -> None:
    """A file whose dates tell none beside one whose dates do would be hours off."""
    zoned, local = ("t,y\n" + "".join(f"2024-01-0{j}T10:00{zone},{j}\n" for j in range(1, 6)) for zone in ("Z", ""))
    source = Source(path="parts", target="y", as_one="all", encode=("dates",))
    with pytest.raises(DataError, match=r"part-2\.csv, column 't': the dates do not tell their time zone, and those of "):
        read(parts(tmp_path, zoned, local), source)
    for text, tells in ((zoned, True), (local, False)):
        (dates,) = read(parts(tmp_path, text, text), source).provenance.encoded
        assert tells == dates.zoned


def test_rows_of_parts_are_put_together(tmp_path: Path) -> None:
    """In the order of the files, by the names of the columns."""
    files = parts(tmp_path, "x,y\n1,2\n", "y,x\n4,3\nNA,5\n")
    found = read(files, SOURCE, keep_rows=lambda rows, columns: True)
    assert found.rows is not None
    assert [[1.0], [3.0]] == found.rows.X.tolist()
    assert [2.0, 4.0] == found.rows.y.tolist()
    assert (Dropped(reason="missing cell, part-2.csv", count=1, lines=(3,)),) == found.provenance.rows_dropped


def test_a_column_that_is_empty_in_one_part(tmp_path: Path) -> None:
    """It is one of numbers if it is so anywhere, and rows that lack it are dropped; constant is what never changes in all."""
    files = parts(tmp_path, "x,z,c,y\n1,,0,2\n2,,0,3\n", "x,z,c,y\n3,1,0,4\n4,2,0,6\n5,7,0,1\n")
    found = read(files, SOURCE, "all")
    assert ("x", "z") == found.provenance.features
    assert 3 == found.moments.n
    assert [("missing cell, part-1.csv", 2)] == [(item.reason, item.count) for item in found.provenance.rows_dropped]
    assert [("c", "constant: every row used holds 0")] == [(item.column, item.reason) for item in found.provenance.left_out]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("x,w,y\n1,2,3\n", "part-2.csv: other columns than part-1.csv: no column 'z' and a column 'w' more. Files of one data "
         "set have the same columns, in any order."),
        ("x,y\n1,2\n", "part-2.csv: other columns than part-1.csv: no column 'z'. Files of one data set"),
        ("x,z,y\n1,low,3\n", f"part-2.csv, column 'z': 'low' is not a number, and part-1.csv has numbers there. {MEND}; a "
         "feature can be left out with --leave-out."),
        ("x,z,y\n1,2\n", "part-2.csv, line 2: 2 cells where the header has 3."),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(tmp_path: Path, second: str, expected: str) -> None:
    """The part is named, and how it differs."""
    files = parts(tmp_path, "x,z,y\n1,2,3\n2,3,5\n", second)
    with pytest.raises(DataError) as refused:
        read(files, SOURCE, "all")
    assert str(refused.value).startswith(expected)


def test_too_few_rows_in_all_parts(tmp_path: Path) -> None:
    """The data set is named, not one of its files."""
    files = parts(tmp_path, "x,y\n1,NA\n", "x,y\n2,3\n")
    with pytest.raises(DataError, match=r"all \(2 files\): 1 complete row of 2; at least 2 are needed\."):
        read(files, SOURCE, "all")
