"""Text in UTF-8 out of bytes in any encoding, and lines that are skipped."""

from __future__ import annotations

import codecs
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gd.decoding import Decoding, Lines
from gd.dialect import Dialect
from gd.refusal import DataError

ENDS = re.compile(r"\r\n|\r|\n")
MARKED = {
    "utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE,
}  # fmt: skip


def chunks(data: bytes, size: int) -> list[bytes]:
    """The same bytes in pieces."""
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(text=st.text(max_size=30), encoding=st.sampled_from(sorted(MARKED)), size=st.integers(1, 9))
def test_a_byte_order_mark_says_the_encoding(text: str, encoding: str, size: int) -> None:
    """For every text, in whatever pieces it comes."""
    decoding = Decoding("t.csv", None)
    found = b"".join(decoding.decode(chunks(MARKED[encoding] + text.encode(encoding), size)))
    assert text.encode() == found
    assert (encoding.upper(), True) == (decoding.encoding, decoding.marked)


@given(text=st.text(st.characters(codec="cp1252"), max_size=30), size=st.integers(1, 9))
def test_other_encodings_are_said(text: str, size: int) -> None:
    """And then are what was said, without a fallback."""
    decoding = Decoding("t.csv", "cp1252")
    assert text.encode() == b"".join(decoding.decode(chunks(text.encode("cp1252"), size)))
    assert ("CP1252", False) == (decoding.encoding, decoding.marked)


@given(before=st.text(st.sampled_from("ab\r\n"), max_size=12), size=st.integers(1, 9))
def test_a_byte_that_is_not_of_the_encoding_is_found_on_its_line(before: str, size: int) -> None:
    """For every text before it and every cut into pieces."""
    line = 1 + len(ENDS.findall(before))
    with pytest.raises(DataError) as refused:
        list(Decoding("t.csv", "cp1252").decode(chunks(before.encode() + b"x\x81y\n", size)))
    assert f"t.csv, line {line}" == refused.value.where


def test_utf_16_without_a_mark_wants_its_order() -> None:
    """No guess is made of it."""
    with pytest.raises(DataError, match=r"--encoding utf-16-le or -be\."):
        list(Decoding("t.csv", "utf-16").decode([b"x\0,\0y\0\n\0"]))


LINES = st.lists(
    st.tuples(st.sampled_from(["", "a,b", "# c", "  #", "1,2", 'a" b', "#"]), st.sampled_from(["\n", "\r\n", "\r"])),
    max_size=12,
)


@given(lines=LINES, last=st.sampled_from(["", "x", "# y"]), skipped=st.sets(st.integers(1, 13)), size=st.integers(1, 9))
def test_lines_that_are_skipped_leave_the_others_where_they_were(
    lines: list[tuple[str, str]], last: str, skipped: set[int], size: int
) -> None:
    """For every mixture of line ends: whatever is left stands on the line on which it stood."""
    data = "".join(text + end for text, end in lines) + last
    before = ENDS.split(data)
    said = Dialect(comment="#", skip_lines=",".join(f"{n}-{n}" for n in skipped) or None, quote="")
    found = b"".join(Lines(said).edit(chunks(data.encode(), size))).decode()
    expected = ["" if n in skipped or line.lstrip(" \t").startswith("#") else line for n, line in enumerate(before, 1)]
    assert expected == ENDS.split(found)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_comment_in_quotes_is_none(size: int) -> None:
    """A quote opens a cell where it begins, and nowhere else; a doubled quote is a quote."""
    text = b'x,s\n1,"a\n# in a cell\n""b"\n2,5" pipe\n# out\n3,"c"\n#,"\n'
    expected = b'x,s\n1,"a\n# in a cell\n""b"\n2,5" pipe\n\n3,"c"\n\n'
    lines = Lines(Dialect(comment="#"))
    assert expected == b"".join(lines.edit(chunks(text, size)))
    assert 2 == lines.skipped


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_runs_of_blanks_become_one_space(size: int) -> None:
    """But not within quotes; nothing is left at the ends of a line."""
    text = b'  x   y\t z \r\n1 \t2  "a  b"\n'
    assert b'x y z\r\n1 2 "a  b"\n' == b"".join(Lines(Dialect(delimiter="blanks")).edit(chunks(text, size)))
