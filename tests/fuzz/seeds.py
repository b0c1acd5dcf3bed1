"""Files to begin with: one of each dialect, some odd ones, and the corpus of disguises where it is there."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from tests.fuzz.harness import pack

__all__ = ["TOKENS", "seeds"]

TOKENS = [
    b'"', b"'", b'""', b",", b";", b"\t", b"|", b"\r", b"\n", b"\r\n", b"\0", b"NA", b"NaN", b"nan(ind)", b"null",
    b"#N/A", b"inf", b"1e400", b"1e-400", b"9007199254740993", b"1,234.5", b"1.234,5", b"1'234", b"(12)", b"5%",
    b"$5", b"12 kg", b"0x1F", b"1_000", b"-999", b"2024-01-31", b"2024-01-31T12:30:00Z", b"Total", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xc2\xa0", b"\xe2\x80\xaf", b"\xe2\x80\xa8",
    b"\x0b", b"\x0c", b"\x85", b"x,y\n", b"#", b"//", b"column 1",
]  # fmt: skip
"""What the fuzzer may put in."""

_PLAIN = b"x,s,y\n1.5,a,2\n3,b,5\nNA,c,1\n5,d,9\n"
_FILES: list[tuple[bytes, dict[str, Any]]] = [
    (_PLAIN, {}),
    (_PLAIN, {"delimiter": ",", "quote": '"', "block": 7}),
    (_PLAIN.replace(b",", b";").replace(b".", b","), {"decimal": ",", "block": 1}),
    (_PLAIN.replace(b"\n", b"\r\n"), {"features": ("x",), "block": 3}),
    (_PLAIN.replace(b"\n", b"\r"), {"quote": "", "block": 5}),
    (_PLAIN.replace(b",", b"\t"), {"delimiter": "\t", "packed": "gzip"}),
    (_PLAIN.replace(b",", b"|"), {"packed": "zstd", "block": 9}),
    (b'"x","s","y"\n"1","a, ""b""",2\r\n"3","two\nlines","5"\n', {"quote": '"', "delimiter": ",", "block": 4}),
    (b"'x';'s';'y'\n'1';'a''b';2\n3;'';5\n", {"block": 11}),
    (b"x,y\n1,2\n\n  \n,,\n3,4\n5,", {}),
    (b'x,y\n5" pipe,2\n3,4\n1,2\n', {"delimiter": ",", "quote": '"'}),
    (b"\xef\xbb\xbfx,y\n1,2\n3,4\n\xef\xbb\xbf5,6\n", {"block": 6}),
    ("x;größe;y\n1;é;2\n2;Ω;3\n".encode("utf-16"), {"block": 2}),
    ("x;größe;y\n1;é;2\n2;ü;3\n".encode("latin-1"), {"encoding": "latin-1"}),
    ("x,y\n1,2\n2,3\n".encode("utf-16-le"), {"encoding": "utf-16-le", "block": 3}),
    ("x,日,y\n1,本,2\n2,ア,3\n".encode("shift_jis"), {"encoding": "shift_jis", "block": 8}),
    (b"1;2;a\n3;4;b\n5;7;c\n", {"delimiter": ";", "header": "none"}),
    (b"# a comment\nx,y\n1,2\n # and, 'another\n3,4\n", {"comment": "#", "block": 13}),
    (b"Report\n\nx,y\n1,2\n3,4\nTotal,6\n", {"header": 3, "skip_lines": "3-"}),
    (b"x,y\nkg,m\n1,2\n3,4\n", {"skip_lines": "2-2"}),
    (b'x,y\n"1,234.5",5%\n"1,000",$7\n(12),-9 %\n', {"thousands": ",", "units": ("%",), "parentheses": True}),
    (b"x y\n1 2\n3 4\n?  \n5 -\n", {"delimiter": " ", "missing": ("?", "-")}),
    (b"x,y\n-999,1\n-999.0,2\n3,3\n4,5\n", {"missing": ("-999",), "block": 20}),
    (b"kind,day,x,y\na,2024-01-01,1,2\nb,2024-01-03,2,5\na,NA,3,1\nb,2024-02-29,4,0\n", {"encode": ("category", "dates")}),
    (gzip.compress(_PLAIN, mtime=0), {}),
    (gzip.compress(_PLAIN[:20], mtime=0) + gzip.compress(_PLAIN[20:], mtime=0), {"block": 5}),
    (pa.compress(_PLAIN, codec="zstd", asbytes=True), {"block": 5}),
    (b"x,y\n1e400,1\n2,3\n", {}),
    (b"x,x,y\n1,2,3\n4,5,6\n", {}),
    (b'x,y\n1,"2\n3,4\n', {}),
    (b"a;b,y;c\n1;2,3;4\n", {}),
]


def seeds() -> Iterator[bytes]:
    """Options and a file each, as `harness.attempt` takes them."""
    for data, said in _FILES:
        yield pack(data, **said)
    if find_spec("tests.corpus") is not None:  # every file in it that is short enough, read as it says
        for case in getattr(import_module("tests.corpus"), "CASES", ()):
            data = case.data() if callable(case.data) else case.data
            if len(data) <= 4096:
                dialect = getattr(case, "dialect", None)
                yield pack(data, **({} if dialect is None else dialect.model_dump(exclude_none=True)))
