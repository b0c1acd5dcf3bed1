"""Compressed files: by their first bytes, whole, broken, and larger inside than is good."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa

from tests.corpus.case import ROWS, Case, put, read, refused, text, without

_PLAIN = text().encode()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("t.csv"), _PLAIN)
    return file.getvalue()


_ENDINGS = {"gzip": "gz", "zstd": "zst"}
_PACK = {"gzip": _gzip, "zstd": _zstd}
_FILLER = (text(ROWS, None) * 2000).encode()
_BOMB = _gzip(b" " * 2**20 + b"\n")  # a member of a bomb: 1 kB that becomes 1 MB of blanks

_BOTH = tuple(
    case
    for kind, pack in _PACK.items()
    for case in (
        Case(kind, pack(_PLAIN), read(found={"compression": kind}), file=f"t.csv.{_ENDINGS[kind]}"),
        Case(f"{kind} without an ending that says so", pack(_PLAIN), read(found={"compression": kind})),
        Case(f"{kind} in members", b"".join(pack(_PLAIN[i : i + 100]) for i in range(0, len(_PLAIN), 100)), read()),
        Case(f"{kind} with an empty member", pack(_PLAIN) + pack(b""), read()),
        Case(f"{kind} of UTF-16", pack(text().encode("utf-16")), read(found={"compression": kind, "byte_order_mark": True})),
        Case(f"{kind} of semicolons and CRLF", pack(text(delimiter=";", end="\r\n").encode()), read(found={"delimiter": ";"})),
        Case(f"{kind} of a bad number", pack(text(put(("size", 9, "x"))).encode()), refused(9, "size")),
        Case(f"{kind} of a gap", pack(text(put(("size", 9, ""))).encode()), read(without(9), dropped=(9,))),
        Case(f"{kind} cut off", pack(_PLAIN)[:-20], refused(None, problem=f"the {kind} stream is broken")),
        Case(f"{kind} cut off at half", pack(_FILLER)[: len(pack(_FILLER)) // 2],
         refused(None, problem=f"the {kind} stream is broken")),
        Case(f"{kind} cut off after its first bytes", pack(_PLAIN)[:8], refused(None, problem=f"the {kind} stream is broken")),
        Case(f"{kind} with rubbish behind", pack(_PLAIN) + b"rubbish", refused(None, problem=f"the {kind} stream is broken")),
        Case(f"{kind} of nothing", pack(b""), refused(None)),
        Case(f"{kind} of 1 MB of blank lines behind the table", pack(_PLAIN + (b" " * 99 + b"\n") * 10_500), read()),
    )
)  # fmt: skip
_WHOLE = _gzip(_PLAIN)

CASES = (
    *_BOTH,
    Case("gzip with a wrong checksum", _WHOLE[:-8] + b"\0\1\2\3" + _WHOLE[-4:],
         refused(None, problem="the gzip stream is broken")),
    Case("gzip with rubbish inside", _WHOLE[:30] + b"\0\xff" * 8 + _WHOLE[46:],
         refused(None, problem="the gzip stream is broken")),
    Case("gzip in gzip", _gzip(_gzip(_PLAIN)), refused(1)),
    Case("a bomb of gzip", _gzip(_PLAIN) + _BOMB * 300, refused(None)),
    Case("plain text called gzip", _PLAIN, read(found={"compression": None}), file="t.csv.gz"),
    Case("bzip2", bz2.compress(text(end="\r\n").encode()), refused(1)),
    Case("xz", lzma.compress(_PLAIN), refused(1)),
    Case("zip", _zip(), refused(1)),
)  # fmt: skip
