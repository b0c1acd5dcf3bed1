"""Bytes in order: cut into whole rows, hashed, decompressed, from files and from addresses."""

from __future__ import annotations

import csv
import gzip
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gd.refusal import DataError
from gd.stream import Block, Feed, is_address, redacted, whole_rows

CELLS = st.text(st.sampled_from(["a", "7", ",", '"', "\n", "\r", "é"]), max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=12)
TEXT = b'x,y\n1,2\n"a\nb",3\n\n4,"5"\n'


def blocks(path: Path | str, size: int) -> list[Block]:
    """A whole file in blocks of about so many bytes."""
    return list(Feed(str(path), block=size))


def records(data: bytes) -> list[list[str]]:
    """What Python's own reader makes of a text."""
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n", "\r"]), size=st.integers(1, 40))
def test_blocks_are_whole_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str, size: int) -> None:
    """For every table, quoted line ends included, the blocks are its bytes without blank lines, their records its records."""
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_MINIMAL).writerows(rows)
    data = text.getvalue().encode()
    path = tmp_path_factory.mktemp("rows") / "t.csv"
    path.write_bytes(data)
    found = blocks(path, size)
    assert [record for record in records(data) if record] == [
        record for block in found for record in records(block.data) if record
    ]
    lines = data.splitlines(keepends=True)  # CSV writers quote what else would end a line
    for block in found:
        assert b"".join(lines[block.line - 1 :]).startswith(block.data)


@given(data=st.text(st.sampled_from(["a", ",", '"', "\n", "\r"]), max_size=30).map(str.encode))
def test_a_cut_is_behind_a_line_end(data: bytes) -> None:
    """For every text, well formed or not, the cut is at its beginning or behind a line end."""
    cut = whole_rows(data)
    assert 0 <= cut <= len(data)
    assert cut == 0 or data[cut - 1 : cut] in {b"\n", b"\r"}


def test_blocks_know_their_lines(tmp_path: Path) -> None:
    """Each begins on the line of the file that it says, across quoted line ends and empty lines."""
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT)
    assert [(b"x,y\n", 1), (b"1,2\n", 2), (b'"a\nb",3\n', 3), (b'4,"5"\n', 6)] == [
        (block.data, block.line) for block in blocks(path, 1)
    ]


def test_a_quote_where_none_belongs_is_read_strictly(tmp_path: Path) -> None:
    """A quote within a cell opens nothing: rows end where Python's reader ends them."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'n,y\n5" pipe,1\n6" pipe,2\n7,3\n')
    assert [b"n,y\n", b'5" pipe,1\n', b'6" pipe,2\n', b"7,3\n"] == [block.data for block in blocks(path, 1)]


def test_a_row_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that is never closed does not fill the memory with the rest of the file."""
    monkeypatch.setattr("gd.stream._LONGEST_ROW", 1 << 20)
    path = tmp_path / "t.csv"
    path.write_bytes(b'x,y\n1,2\n"3,4\n' + b"5,6\n" * 1_000_000)
    with pytest.raises(DataError, match=r"t\.csv, line 3: a quote is not closed within 1 MB\."):
        blocks(path, 1 << 16)


def packed(data: bytes, kind: str) -> bytes:
    """Compressed, in two frames."""
    if kind == "plain":
        return data
    half = len(data) // 2
    if kind == "gzip":
        return gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)
    return bytes(pa.compress(data[:half], "zstd", asbytes=True) + pa.compress(data[half:], "zstd", asbytes=True))


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_hash_and_size_are_those_of_the_stored_bytes(tmp_path: Path, kind: str) -> None:
    """On the same pass, compressed or not, and progress ends at the size."""
    data = b"x,y\n" + b"".join(b"%d,%d\n" % (j, j * j) for j in range(50_000))
    stored, seen = packed(data, kind), []
    path = tmp_path / "t.csv"
    path.write_bytes(stored)
    feed = Feed(str(path), progress=lambda done, total: seen.append((done, total)), block=10_000)
    assert data == b"".join(block.data for block in feed)
    assert hashlib.sha256(stored).hexdigest() == feed.sha256
    assert len(stored) == feed.size
    assert (len(stored), len(stored)) == seen[-1]
    assert sorted(seen) == seen


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_cut_stream_is_refused(tmp_path: Path, kind: str) -> None:
    """A file of which the end is missing is never taken for a shorter one."""
    path = tmp_path / "t.csv"
    path.write_bytes(packed(b"x,y\n" + b"1,2\n" * 9999, kind)[:-7])
    with pytest.raises(DataError, match=f"t.csv: the {kind} stream is broken"):
        blocks(path, 1000)


def test_blocks_of_a_bomb_stay_small(tmp_path: Path) -> None:
    """A gzip that unpacks to a thousand times its size is held a block at a time."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 10_000_000, mtime=0))
    sizes = [len(block.data) for block in Feed(str(path), block=1 << 20)]
    assert 40_000_004 == sum(sizes)
    assert max(sizes) <= 2 << 20


def test_an_iteration_that_is_left_can_be_collected_by_any_thread(tmp_path: Path) -> None:
    """Also by one that is just starting another: the hashing thread, which needs the same lock to end, is not waited for."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"x,y\n" + b"1,2\n" * 1000)
    left = iter(Feed(str(path), block=100))
    next(left)
    lock = threading._active_limbo_lock  # type: ignore[attr-defined]  # what Thread.start holds while it may collect garbage
    ended = threading.Event()

    def collect() -> None:
        with lock:
            left.close()
        ended.set()

    threading.Thread(target=collect, daemon=True).start()
    assert ended.wait(20)


# Addresses


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real HTTP server with one file; its address."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "t.csv").write_bytes(TEXT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def send_head(self) -> Any:
            """A path that is a number is answered with it."""
            if (status := self.path.partition("?")[0].strip("/")).isdigit():
                return self.send_error(int(status))
            return super().send_head()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fsspec leaves its client's sockets to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_on_the_web(web: str) -> None:
    """Read as from the disk; one that is not there is refused without its query."""
    feed = Feed(f"{web}/t.csv?signature=secret")
    assert TEXT == b"".join(block.data for block in feed)
    assert hashlib.sha256(TEXT).hexdigest() == feed.sha256
    assert "t.csv" == feed.name
    with pytest.raises(DataError) as refused:
        blocks(f"{web}/none.csv?signature=secret", 100)
    assert f"{web}/none.csv?…: no such file. Check the address." == str(refused.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (403, DataError, "the server answers 403. Check the address and its credentials."),
        (503, OSError, "the server answers 503"),
    ],
)
def test_a_server_that_refuses(web: str, status: int, kind: type[Exception], said: str) -> None:
    """What another try may mend is an OSError; neither says what the query holds."""
    with pytest.raises(kind, match=said) as refused:
        blocks(f"{web}/{status}?signature=secret", 100)
    assert "secret" not in str(refused.value)
    assert isinstance(refused.value, OSError) == (status == 503)


def test_a_server_that_is_not_there() -> None:
    """It may come back: an OSError, without the user's password."""
    with pytest.raises(OSError, match="reading broke off") as refused:
        blocks("http://ann:hunter2@127.0.0.1:9/t.csv?signature=secret", 100)
    assert "http://127.0.0.1:9/t.csv?…" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_file_in_memory() -> None:
    """Any scheme of fsspec will do."""
    with fsspec.open("memory://folder/t.csv", "wb") as file:
        file.write(TEXT)
    assert TEXT == b"".join(block.data for block in Feed("memory://folder/t.csv"))


def test_an_unknown_scheme_is_refused() -> None:
    """With the reason."""
    with pytest.raises(DataError, match=r"ftq://a\.example/t\.csv: cannot be opened \(Protocol not known: ftq\)"):
        blocks("ftq://a.example/t.csv", 100)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("data/a.csv", "data/a.csv"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("https://ann:hunter2@a.example:8080/a.csv?X-Amz-Signature=abc#d", "https://a.example:8080/a.csv?…"),
    ],
)
def test_secrets_of_an_address_are_not_shown(address: str, expected: str) -> None:
    """Neither the user nor the query, which may be signed."""
    assert expected == redacted(address)
    assert is_address(address) == ("://" in address)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_decompression_bomb_is_defused(tmp_path: Path, kind: str) -> None:
    """A few hundred kilobytes that become gigabytes are left before they do; memory stays that of a block."""
    line = b"1,2\n" * (1 << 18)
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        packed: Any = gzip.GzipFile(fileobj=file, mode="wb") if kind == "gzip" else pa.CompressedOutputStream(file, "zstd")
        with packed:
            packed.write(b"x,y\n")
            for _ in range(400):  # MB
                packed.write(line)
    assert path.stat().st_size < 2 << 20
    read: list[int] = []
    with pytest.raises(DataError) as refused:
        read.extend(len(block.data) for block in Feed(str(path)))
    remedy = f"If it really is a table, decompress it with {kind} -d first."
    assert f"t.csv: decompresses to more than 200 times its size. {remedy}" == str(refused.value)
    assert 200 << 20 < sum(read) < 300 << 20


def test_a_table_that_compresses_well_is_read(tmp_path: Path) -> None:
    """Up to 256 MB whatever the ratio is."""
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * (1 << 20), mtime=0))
    assert path.stat().st_size < (4 << 20) / 200
    assert (4 << 20) + 4 == sum(len(block.data) for block in Feed(str(path)))
