"""The bytes of a file or of an address, once and in order: hashed, decompressed, and cut into blocks of whole rows."""

from __future__ import annotations

import csv
import difflib
import errno
import gzip
import hashlib
import io
import re
import stat
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from gd.decoding import Decoding, Lines
from gd.dialect import Dialect, Format
from gd.refusal import DataError
from gd.sniffer import reader
from gd.table import line_ends, well_quoted

__all__ = [
    "BLOCK",
    "Block",
    "Feed",
    "Progress",
    "check_path",
    "is_address",
    "lasting",
    "redacted",
    "remote",
    "shown_name",
]

BLOCK = 4 << 20  # bytes of text that are parsed at once
_LONGEST_ROW = 256 << 20  # bytes
_HEAD = 64 << 10  # bytes from which delimiter and quote are found out
_LONGEST_HEAD = 16 << 20  # bytes
_BOMB = 256 << 20  # bytes of text, from which on compression by more than
_BOMB_RATIO = 200  # is no table's
_ENDS: tuple[Literal["LF", "CRLF", "CR"], ...] = ("LF", "CRLF", "CR")
_UNSAID = Dialect()
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # in a path: no record of it could be written

Progress = Callable[[int, int | None], None]
"""Called with the bytes read so far and the bytes in all, where they are known."""


@dataclass(frozen=True, slots=True)
class Block:
    """The text of some whole rows."""

    data: bytes
    line: int  # of the file, counted from 1, on which it begins


class Feed:
    """Reads a file or an address once: iterate over it for blocks of whole rows, then ask for its hash and size.

    The text of the blocks is UTF-8 whatever the file's encoding; lines that are skipped are empty in it, so that lines keep
    their numbers. Memory is bounded by the size of a block, or of the longest row where that is larger.

    Args:
        address: a path, or an address of a scheme that fsspec knows, such as s3:// or https://.
        progress: told how far reading is.
        block: bytes of a block.
        dialect: what was said of the file.
        settle: completes the dialect from the first lines; they are the whole file where the second argument is true.

    Raises:
        DataError: if the file cannot be read, in words.
        OSError: if reading breaks off for a reason that another try may mend.
    """

    def __init__(
        self,
        address: str,
        progress: Progress | None = None,
        block: int = BLOCK,
        dialect: Dialect = Dialect(),  # noqa: B008  (frozen)
        settle: Callable[[bytes, bool], Dialect] | None = None,
    ) -> None:
        self.name = shown_name(address)
        self.dialect = dialect  # as it is completed
        self.address, self._block, self._progress, self._settle = address, block, progress, settle
        self._hashing: _Hashing | None = None
        self._compression: Literal["gzip", "zstd"] | None = None
        self._text: Decoding | None = None
        self._lines: Lines | None = None
        self._ends = [0, 0, 0]

    @property
    def sha256(self) -> str:
        """Of the bytes as they are stored, compressed or not; once they have all been read."""
        assert self._hashing is not None
        return self._hashing.hexdigest()

    @property
    def size(self) -> int:
        """Bytes as they are stored."""
        assert self._hashing is not None
        return self._hashing.count

    def format(self, header_line: int | None, said: Dialect) -> Format:
        """How the file turned out to be written.

        Args:
            header_line: on which the names stand.
            said: by its reader; all else was found out.
        """
        assert self._text is not None
        assert self._lines is not None
        kinds: list[Literal["LF", "CRLF", "CR"]] = [kind for kind, ends in zip(_ENDS, self._ends, strict=True) if ends]
        return Format(
            delimiter=said.delimiter or self.dialect.delimiter or ",",
            quote=self.dialect.quote if self.dialect.quote is not None else '"',
            encoding=self._text.encoding,
            byte_order_mark=self._text.marked,
            line_ends="mixed" if len(kinds) > 1 else kinds[0] if kinds else "none",
            compression=self._compression,
            header_line=header_line,
            decimal=said.decimal,
            thousands=said.thousands,
            comment=said.comment,
            missing=said.marks,
            units=said.units,
            parentheses=said.parentheses,
            lines_skipped=self._lines.skipped,
            given=tuple(name for name in Dialect.model_fields if getattr(said, name) != getattr(_UNSAID, name)),
        )

    def __iter__(self) -> Generator[Block]:
        with opened(self.address) as (raw, size), _Hashing(raw, size, self._progress) as hashing:
            self._hashing = hashing
            stored = self._decompressed(io.BufferedReader(cast("io.RawIOBase", hashing), 1 << 20))
            self._text = Decoding(self.name, self.dialect.encoding)
            self._lines = Lines(self.dialect)
            chunks = self._lines.edit(self._text.decode(self._chunks(stored)))
            if self._settle is not None:
                head, whole = _head(chunks)
                self.dialect = self._settle(head, whole)
                chunks = chain(_pieces(head, self._block), chunks)
            yield from self._blocks(chunks)
            hashing.drain()

    def _blocks(self, chunks: Iterable[bytes]) -> Iterator[Block]:
        line, rest = 1, b""
        delimiter, quote = (self.dialect.delimiter or ",").encode(), ('"' if self.dialect.quote is None else self.dialect.quote)
        for data in chunks:
            rest = rest + data if rest else data
            cut = whole_rows(rest, delimiter, quote.encode())
            if cut == 0:
                self._check_length(rest, line)
                continue
            block, rest = Block(rest[:cut], line), rest[cut:]
            line += self._count(block.data)
            if not _is_blank(block.data, delimiter):
                yield block
        self._count(rest)
        if not _is_blank(rest, delimiter):
            yield Block(rest, line)

    def _count(self, data: bytes) -> int:
        """How many lines end in a block, by their kinds in all."""
        ends = line_ends(data)
        crlf = data.count(b"\r\n") if data.find(b"\r") >= 0 else 0
        cr = data.count(b"\r") - crlf if crlf or data.find(b"\r") >= 0 else 0
        for kind, number in enumerate((ends - crlf - cr, crlf, cr)):
            self._ends[kind] += number
        return ends

    def _check_length(self, rest: bytes, line: int) -> None:
        if len(rest) > _LONGEST_ROW:
            size = f"{_LONGEST_ROW >> 20} MB"
            quoted = b'"' in rest
            problem = f"a quote is not closed within {size}." if quoted else f"a row of more than {size}."
            raise DataError(f"{self.name}, line {line}", problem, "Export the table again as a CSV with a row on each line.")

    def _decompressed(self, raw: io.BufferedReader) -> BinaryIO:
        first = raw.peek(4)
        if first.startswith(b"\x1f\x8b"):
            self._compression = "gzip"
            return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
        if first.startswith(b"\x28\xb5\x2f\xfd"):
            import pyarrow as pa  # noqa: PLC0415  (0.1 s)

            self._compression = "zstd"
            return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
        return cast("BinaryIO", raw)

    def _chunks(self, stored: BinaryIO) -> Iterator[bytes]:
        """The bytes as they were before they were compressed.

        Raises:
            DataError: where the compression is broken, or has grown beyond all that a table is compressed by.
        """
        total = 0
        while data := self._read(stored):
            total += len(data)
            if self._compression and total > _BOMB and total > _BOMB_RATIO * self.size:
                problem = f"decompresses to more than {_BOMB_RATIO} times its size."
                raise DataError(
                    self.name, problem, f"If it really is a table, decompress it with {self._compression} -d first."
                )
            yield data

    def _read(self, stored: BinaryIO) -> bytes:
        try:
            return stored.read(self._block)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(self.name, f"the gzip stream is broken ({error}).", "Compress or copy it again.") from None
        except OSError as error:
            if self._compression != "zstd" or error.errno is not None:
                raise
            reason = str(error).splitlines()[0]
            raise DataError(self.name, f"the zstd stream is broken ({reason}).", "Compress or copy it again.") from None


def _is_blank(data: bytes, delimiter: bytes) -> bool:
    """Whether it holds no row: of tabs that separate cells there may be rows of nothing else."""
    return not data or (data.isspace() and delimiter not in data)


def _head(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """The first lines, the header whole, and whether there are no more."""
    parts, total, ended = [], 0, False
    for chunk in chunks:
        parts.append(chunk)
        total += len(chunk)
        ended = ended or b"\n" in chunk or b"\r" in chunk
        if (total >= _HEAD and ended) or total >= _LONGEST_HEAD:
            return b"".join(parts), False
    return b"".join(parts), True


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


class _Hashing(io.RawIOBase):
    """Raw bytes that are hashed on another thread, beside the parsing, as they pass."""

    def __init__(self, raw: Any, size: int | None, progress: Progress | None) -> None:
        self._raw, self._size, self._progress = raw, size, progress
        self._hash, self._hasher = hashlib.sha256(), ThreadPoolExecutor(1)
        self._last: Future[None] | None = None
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        if data:
            if self._last is not None:
                self._last.result()
            self._last = self._hasher.submit(self._hash.update, data)
            self.count += len(data)
            if self._progress is not None:
                self._progress(self.count, self._size)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Read what a decompressor left behind its last frame: the hash is that of the whole file."""
        while self.readinto(memoryview(bytearray(1 << 16))):
            pass

    def hexdigest(self) -> str:
        """Of all that was read."""
        if self._last is not None:
            self._last.result()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread; the hash stays.

        It is not waited for: where an iteration was left in the middle this may be called by the garbage collector, in a
        thread that holds what the other one needs to end.
        """
        self._hasher.shutdown(wait=False)
        super().close()


def whole_rows(data: bytes, delimiter: bytes = b",", quote: bytes = b'"') -> int:
    """How many of the first bytes are whole rows: up to the last line end that is not inside quotes.

    A quote is one where it opens or closes a cell. In text where it stands elsewhere Python's own reader is asked, which is
    slow, and strict.

    Args:
        data: some text, in UTF-8.
        delimiter: of cells, one byte.
        quote: one byte, or none.
    """
    end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1  # a last "\r" may be the half of a line end
    if not quote or data.find(quote) < 0:
        return end
    text = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(text == quote[0])
    ends = np.flatnonzero(text == ord("\n"))
    if not len(ends):
        ends = np.flatnonzero(text[:-1] == ord("\r"))
    before = np.searchsorted(quotes, ends)
    outside = np.flatnonzero(before % 2 == 0)
    if len(outside):
        last = outside[-1]
        if well_quoted(text[: ends[last] + 1], quotes[: before[last]], delimiter + quote):
            return int(ends[last]) + 1
    elif (quotes[-1] == 0 or data[quotes[-1] - 1] in delimiter + b"\r\n") and well_quoted(
        text[: quotes[-1]], quotes[:-1], delimiter + quote
    ):
        return 0  # a cell is open: the row goes on
    return _whole_records(data, end, delimiter.decode(), quote.decode())


def _whole_records(data: bytes, end: int, delimiter: str, quote: str) -> int:
    """The same by Python's reader; all lines where it finds a fault, which then is found again and told."""
    taken = [0]

    def lines() -> Iterator[str]:
        for line in io.StringIO(data.decode("latin-1"), newline=""):
            taken[0] += len(line)
            yield line

    found, records = 0, reader(lines(), Dialect(delimiter=delimiter, quote=quote))
    try:
        for _ in records:
            if data[taken[0] - 1 : taken[0]] in {b"\n", b"\r"} and taken[0] <= end:
                found = taken[0]
    except csv.Error as error:
        if "end of data" not in str(error):
            return end
    return found


@contextmanager
def opened(address: str) -> Iterator[tuple[Any, int | None]]:
    """A file or an address as raw bytes, and how many they are where that is known."""
    if is_address(address):
        with remote(address):
            import fsspec  # noqa: PLC0415  (0.1 s)

            with fsspec.open(address, "rb") as file:
                yield file, getattr(file, "size", None)
        return
    path = Path(address)
    with lasting(path):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(str(path), "is a folder.", "Name a file in it.")
        if not stat.S_ISREG(mode):  # a pipe that nobody writes into would be waited on for ever
            raise DataError(str(path), "is a pipe or a device.", "Write its output to a file first.")
        file = path.open("rb", buffering=0)
    with file:
        yield file, path.stat().st_size


@contextmanager
def remote(address: str) -> Iterator[None]:
    """Refuse in words what no other try will mend; what may pass is an OSError. Neither says what may be secret."""
    where = redacted(address)
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        missing = str(error).splitlines()[0]
        raise DataError(where, f"this address needs another package ({missing}).", "pip install 'gd[remote]'.") from None
    except PermissionError:
        raise DataError(where, "may not be read with these credentials.", "Check them.") from None
    except ValueError as error:
        reason = str(error).splitlines()[0].replace(address, where).rstrip(".")
        raise DataError(where, f"cannot be opened ({reason}).", "Check the address.") from None
    except Exception as error:  # noqa: BLE001  (every client has errors of its own, and their messages hold the whole address)
        raise _in_words(error, where) from None


def _in_words(error: Exception, where: str) -> Exception:
    """An error of a client of fsspec, which calls anything that an HTTP server answers a file that is not found."""
    cause: BaseException = error
    while isinstance(cause, FileNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    status = getattr(cause, "status", None)
    if isinstance(cause, FileNotFoundError) or status in {404, 410}:
        return DataError(where, "no such file.", "Check the address.")
    if not isinstance(status, int):
        return OSError(errno.EIO, f"reading broke off ({type(cause).__name__})", where)
    if 400 <= status < 500 and status not in {408, 429}:
        return DataError(where, f"the server answers {status}.", "Check the address and its credentials.")
    return OSError(errno.EIO, f"the server answers {status}", where)


@contextmanager
def lasting(path: Path) -> Iterator[None]:
    """Refuse in words what no other try will mend; any other error of the operating system passes."""
    check_path(str(path))
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
        known = {errno.ELOOP: "a link that leads back to itself.", errno.ENAMETOOLONG: "longer than a path may be."}
        if error.errno not in known:
            raise
        raise DataError(str(path)[:200], known[error.errno], "Check the path.") from None


def check_path(path: str) -> None:
    """Refuse a path that no record could hold: with a NUL, or with a byte that is not UTF-8.

    Raises:
        DataError: if it is one.
    """
    if _UNWRITABLE.search(path):
        readable = path.replace("\0", r"\0").encode(errors="backslashreplace").decode()
        raise DataError(readable, "the path holds a NUL, or a byte that is not UTF-8.", "Rename the file.")


def is_address(path: str) -> bool:
    """Whether it names something that is not on this machine's disks, such as s3://bucket/a.csv."""
    try:
        return "://" in path and bool(urlsplit(path))
    except ValueError:  # brackets that enclose no host: nobody could ask there
        return False


def redacted(address: str) -> str:
    """An address without its user, password and query, which may be secrets; a path as it is."""
    if not is_address(address):
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "…" if parts.query else "", ""))


def shown_name(address: str) -> str:
    """The last part of a path or an address, for errors."""
    return urlsplit(address).path.rpartition("/")[2] or redacted(address) if is_address(address) else Path(address).name


def _siblings(path: Path) -> list[str]:
    try:
        return [file.name for file in path.parent.iterdir() if not _UNWRITABLE.search(file.name)]
    except OSError:
        return []
