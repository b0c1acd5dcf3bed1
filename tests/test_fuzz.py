"""What the search for bytes that the reader stumbles over begins with, and what it has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import Case, attempt, pack
from tests.fuzz.seeds import seeds

FOUND = {
    "a byte order mark where a block begins": pack(b"x,y\n1,2\n\xef\xbb\xbf3,4\n5,7\n", block=6),
    "and one before a blank line": pack(b"x,y\n1,2\n3,4\n\xef\xbb\xbf\r,6\n", block=6),
    "UTF-16 by option, without a mark": pack(b"y,x\n1,2\n2,3", encoding="utf-16"),
    "a control character among the units of a remedy": pack(b"x,y\n1,2\n2,3\x05\n4,5\n"),
    "a comment between CR and LF": pack(b"\r# c\nx,y\n1,2\nNA,3\n4,5\n5,7\n", comment="#"),
    "a comment behind a quote within a cell": pack(
        b'x,s,y\n1,a" pipe,2\n# c\n3,,4\n5,u,7\n', comment="#", delimiter=",", quote='"'
    ),
    "a last block of blanks": pack(b"x,y\n1,2\n3,4\n ", block=4, delimiter=",", quote='"'),
}


@pytest.mark.parametrize("raw", FOUND.values(), ids=FOUND)
def test_what_was_found(raw: bytes, tmp_path: Path) -> None:
    """Each is read as a strict reader reads it, or refused in words."""
    assert attempt(raw, tmp_path) is None


@pytest.mark.slow
def test_seeds(tmp_path: Path) -> None:
    """All that the search begins with is as it should be."""
    for raw in seeds():
        said = attempt(raw, tmp_path)
        assert said is None, f"{raw!r}: {said}"


def test_options_are_bytes() -> None:
    """What is packed is what is read."""
    case = Case.of(pack(b"x;y", 7, delimiter=";", quote="'", decimal=",", missing=("?", "-"), header=3, encode=("dates",)))
    assert case is not None
    assert (b"x;y", 7, ("dates",)) == (case.data, case.block, case.encode)
    assert (";", "'", ",", ("?", "-"), 3) == (
        case.dialect.delimiter,
        case.dialect.quote,
        case.dialect.decimal,
        case.dialect.missing,
        case.dialect.header,
    )
