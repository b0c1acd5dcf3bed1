"""Bytes of any encoding as text in UTF-8, and lines of it that are skipped."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from gd.dialect import BLANKS, Dialect
from gd.refusal import DataError

__all__ = ["Decoding", "Lines"]

_MARKS = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
_LONGEST_LINE = 256 << 20  # bytes
_RUNS = re.compile(rb"\"[^\"]*\"|[ \t]+")
_ENDS = re.compile(rb"(?:\A|(?<=[\r\n])) | (?=[\r\n]|\Z)")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class Decoding:
    """Turns the bytes of a file into UTF-8; of what is UTF-8 already only a byte order mark is taken away.

    Args:
        file: its name, for errors.
        encoding: what was said; None finds it out by a byte order mark, and takes UTF-8 where there is none.
    """

    def __init__(self, file: str, encoding: str | None) -> None:
        self.encoding = "UTF-8" if encoding is None else encoding.upper()
        self.marked = False
        self._file, self._said = file, encoding

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same text in UTF-8.

        Raises:
            DataError: at a byte that the encoding does not have, with its line; UTF-8 itself is not checked here.
        """
        chunks = iter(chunks)
        first = b""
        for chunk in chunks:
            first += chunk
            if len(first) >= len(codecs.BOM_UTF32_LE):
                break
        for mark, encoding in _MARKS:
            if first.startswith(mark) and (self._said is None or encoding in _orders(self.encoding)):
                self.encoding, self.marked, first = encoding, True, first[len(mark) :]
                break
        whole = chain([first] if first else [], chunks)
        yield from whole if self.encoding == "UTF-8" else self._decoded(whole)

    def _decoded(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line, last = 1, ""
        for chunk in chain(chunks, [None]):
            try:
                text = decoder.decode(chunk or b"", final=chunk is None)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(self.encoding, errors="replace")
                where = f"{self._file}, line {line + _line_ends(before, last)}"
                raise DataError(where, f"a byte that is not {self.encoding}.", "Name its encoding with --encoding.") from None
            if text:
                line, last = line + _line_ends(text, last), text[-1]
                yield text.encode()


class Lines:
    """Makes lines that are to be skipped empty, so that those that stay keep their numbers.

    Args:
        dialect: whose numbers of lines and whose comments count.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.skipped = 0
        self._ranges = [(first, last or float("inf")) for first, last in dialect.skipped]
        self._blanks = dialect.delimiter == BLANKS
        self._comment = (dialect.comment or "").encode()
        self._quote = ('"' if dialect.quote is None else dialect.quote).encode()
        self._line = 1  # that comes next
        self._quoted = False  # whether it begins inside a cell

    def edit(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same text, cut at other places."""
        if not self._ranges and not self._comment and not self._blanks:
            yield from chunks
            return
        rest = b""
        for chunk in chunks:
            rest += chunk
            cut = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, -1)) + 1  # a last "\r" may be the half of a line end
            if cut:
                yield self._spaced(self._edited(rest[:cut]))
                rest = rest[cut:]
            elif len(rest) > _LONGEST_LINE:  # which whoever reads rows will refuse
                yield rest
                rest = b""
        if rest:
            yield self._spaced(self._edited(rest))

    def _spaced(self, text: bytes) -> bytes:
        """With one space where several blanks separate cells, and none at the ends of a line."""
        if not self._blanks:
            return text
        text = _RUNS.sub(lambda match: match[0] if match[0].startswith(b'"') else b" ", text)
        return _ENDS.sub(b"", text)

    def _edited(self, text: bytes) -> bytes:
        if self._ranges and self._line > max(last for _, last in self._ranges):
            self._ranges = []
        if not self._ranges and (not self._comment or self._comment not in text):
            self._quoted ^= bool(self._quote) and text.count(self._quote) % 2 == 1
            return text
        return b"".join(map(self._kept, _LINE.findall(text)))

    def _kept(self, line: bytes) -> bytes:
        number, self._line = self._line, self._line + 1
        comment = bool(self._comment) and not self._quoted and line.lstrip(b" \t").startswith(self._comment)
        if comment or any(first <= number <= last for first, last in self._ranges):
            content = line.rstrip(b"\r\n")
            self.skipped += bool(content)
            return line[len(content) :]
        self._quoted ^= bool(self._quote) and line.count(self._quote) % 2 == 1
        return line


def _orders(encoding: str) -> set[str]:
    """What a byte order mark may make of an encoding."""
    return {encoding, f"{encoding}-LE", f"{encoding}-BE"}


def _line_ends(text: str, before: str) -> int:
    """How many lines end in a text that follows on some character."""
    ends = text.count("\n") + text.count("\r") - text.count("\r\n")
    return ends - (before == "\r" and text.startswith("\n"))
