"""What is done with some bytes: options and a file are made of them, read, and held against a second reader."""

from __future__ import annotations

import gzip
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from gd.data import Dataset, Encoding, Source
from gd.dialect import Dialect
from gd.reading import read
from gd.refusal import DataError
from gd.stream import BLOCK
from tests import oracle

__all__ = ["HEAD", "SECONDS", "Case", "attempt", "pack"]

SECONDS = 5.0  # that one file may take
HEAD = 6  # bytes of options
_LONGEST = 4096  # bytes of a file

_CHOICES: tuple[tuple[tuple[str, Sequence[Any]], ...], ...] = (  # what each byte of options says
    (("delimiter", (None, ",", ";", "\t", "|", " ", ":", "_")), ("quote", (None, '"', "'", ""))),
    (
        ("encoding", (None, None, None, "latin-1", "utf-16-le", "utf-16", "shift_jis", "utf-8-sig")),
        ("decimal", (None, ",")),
        ("thousands", (None, None, None, ",", ".", "'", " ", "_")),
    ),
    (
        ("comment", (None, None, "#", "//")),
        ("missing", (None, ("?", "-"), ("-999",), ("default", "?"))),
        ("units", ((), (), ("%",), ("$", "kg"))),
        ("parentheses", (False, True)),
    ),
    (
        ("header", (None, None, None, None, "none", "none", 2, 3)),
        ("skip_lines", (None, None, None, None, "1", "2-2", "3-", "1-1,4-5")),
    ),
    (
        ("encode", ((), (), ("category",), ("dates",), ("category", "dates"), ("dates", "category"))),
        ("features", (None, None, ("x",))),
        ("packed", (None, None, None, None, "gzip", "zstd")),
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and how it is to be read."""

    data: bytes
    dialect: Dialect
    target: str
    features: tuple[str, ...] | None
    encode: tuple[Encoding, ...]
    block: int

    @classmethod
    def of(cls, raw: bytes) -> Case | None:
        """What some bytes stand for; None where they stand for nothing."""
        if len(raw) < HEAD:
            return None
        said: dict[str, Any] = {}
        for byte, choices in zip(raw[:HEAD], _CHOICES, strict=False):
            rest = byte
            for name, values in choices:
                rest, at = divmod(rest, len(values))
                if values[at] is not None:
                    said[name] = values[at]
        encode, features, packed = said.pop("encode", ()), said.pop("features", None), said.pop("packed", None)
        try:
            dialect = Dialect(**said)
        except ValidationError:
            return None
        data = raw[HEAD : HEAD + _LONGEST]
        if packed == "gzip":
            data = gzip.compress(data, 1, mtime=0)
        elif packed == "zstd":
            data = pa.compress(data, codec="zstd", asbytes=True)
        if dialect.header == "none":
            features = features and ("column 1",)
        target = "column 2" if dialect.header == "none" else "y"
        return cls(data, dialect, target, features, encode, raw[HEAD - 1] or BLOCK)


def pack(data: bytes, block: int = 0, **said: Any) -> bytes:
    """The bytes that stand for a file and some options, as far as these can be chosen."""
    head = bytearray()
    for choices in _CHOICES:
        byte, scale = 0, 1
        for name, values in choices:
            byte += scale * (list(values).index(said[name]) if name in said and said[name] in values else 0)
            scale *= len(values)
        head.append(byte)
    return bytes(head) + bytes([block]) + data


def attempt(raw: bytes, folder: Path | None = None) -> str | None:
    """Read what some bytes stand for; what is wrong with the end of that, if anything is.

    Args:
        raw: options and a file.
        folder: for the file, better in memory.

    Raises:
        Exception: whatever reading ends in but a table or a refusal.
    """
    case = Case.of(raw)
    if case is None:
        return None
    path = (folder or Path(tempfile.gettempdir())) / f"t{os.getpid()}.csv"
    path.write_bytes(case.data)
    source = Source(path=str(path), target=case.target, features=case.features, dialect=case.dialect, encode=case.encode)
    began = time.perf_counter()
    found: Dataset | DataError | None
    try:
        found = read([str(path)], source, keep_rows=lambda rows, columns: True, threads=1, block=case.block).rows
    except DataError as error:
        found = error
    took = time.perf_counter() - began
    if took > SECONDS:
        return f"slow: {took:.1f} s"
    if isinstance(found, DataError):
        return oracle.ill_said(found, path.name) or _refused_for_nothing(case, found)
    assert found is not None
    if not (np.isfinite(found.X).all() and np.isfinite(found.y).all()):
        return "a value that is not finite"
    return _misread(case, found)


def _refused_for_nothing(case: Case, found: DataError) -> str | None:
    said = case.dialect
    if said.delimiter is None or said.quote is None or said.header in {2, 3} or said.skip_lines or case.encode:
        return None
    try:
        table = oracle.parse(oracle.decoded(oracle.unpacked(case.data), said.encoding), said)
    except oracle.Refused:
        return None
    if said.header == "none" and not table.rows:
        return None
    return f"nothing is wrong with it: {found}" if oracle.must_be_read(table, said, case.target, case.features) else None


def _misread(case: Case, found: Dataset) -> str | None:
    form = found.provenance.format
    dialect = case.dialect.model_copy(update={"delimiter": case.dialect.delimiter or ",", "quote": case.dialect.quote or '"'})
    if form is not None:
        dialect = dialect.model_copy(update={"delimiter": form.delimiter, "quote": form.quote})
    for name in ("delimiter", "quote"):
        if getattr(case.dialect, name) not in {None, getattr(dialect, name)}:
            return f"{name} was said and is now another"
    try:
        table = oracle.parse(oracle.decoded(oracle.unpacked(case.data), case.dialect.encoding), dialect)
    except oracle.Refused as error:
        return f"strictly refused: {error}"
    return oracle.disagreement(found, table, dialect, chosen=case.features is not None)
