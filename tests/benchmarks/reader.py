"""One way to read a CSV, as a whole process: ``python -m tests.benchmarks.reader NAME CSV``.

It prints what it read as JSON: the number of rows, and the sum of each column, so that no reader can leave values unmade.
Each imports its own library alone, in its own function.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

__all__ = ["READERS"]

_BLOCK = 4 << 20  # bytes, of the blocks that are cut here
_ROWS = 100_000  # of a batch, for the readers that count in rows
_THREADS = 2

Sums = tuple[int, Any]
"""Rows, and the sum of each column."""


def _names(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.readline().rstrip("\n").split(",")


def arrow_open(path: str) -> Sums:
    """Pyarrow's own stream, with the types given."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    names = _names(path)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()))
    n, sums = 0, np.zeros(len(names))
    for batch in csv.open_csv(path, csv.ReadOptions(block_size=_BLOCK), convert_options=convert):
        n += batch.num_rows
        sums += [_floats(column).sum() for column in batch.columns]
    return n, sums


def arrow_blocks(path: str) -> Sums:
    """Pyarrow's whole-file reader over blocks that are cut here at line ends, in two threads."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    names = _names(path)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()))

    def parse(block: bytes) -> tuple[int, Any]:
        options = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1)
        table = csv.read_csv(pa.BufferReader(block), options, convert_options=convert).combine_chunks()
        return table.num_rows, np.array([_floats(column.chunk(0)).sum() for column in table.columns])

    n, sums = 0, np.zeros(len(names))
    waiting: deque[Future[tuple[int, Any]]] = deque()
    with open(path, "rb") as file, ThreadPoolExecutor(_THREADS) as pool:  # noqa: PTH123
        file.readline()
        for block in _blocks(file):
            waiting.append(pool.submit(parse, block))
            if len(waiting) > _THREADS + 1:
                rows, more = waiting.popleft().result()
                n, sums = n + rows, sums + more
        for one in waiting:
            rows, more = one.result()
            n, sums = n + rows, sums + more
    return n, sums


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """A file's lines in blocks of whole ones; right for tables of numbers, where no cell holds a line end."""
    rest = b""
    while block := file.read(_BLOCK):
        end = block.rfind(b"\n") + 1
        yield rest + block[:end]
        rest = block[end:]
    if rest:
        yield rest


def _floats(column: Any) -> Any:
    """A column without gaps as an array over the same memory; `to_numpy` would import pandas first."""
    import numpy as np  # noqa: PLC0415

    return np.frombuffer(column.buffers()[1], np.float64, len(column), column.offset * 8)


def polars_batches(path: str) -> Sums:
    """Polars' scan of the file, collected batch by batch."""
    import numpy as np  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

    names = _names(path)
    scan = pl.scan_csv(path, schema=dict.fromkeys(names, pl.Float64))
    n, sums = 0, np.zeros(len(names))
    for batch in scan.collect_batches(chunk_size=_ROWS, maintain_order=True):
        n += batch.height
        sums += [column.to_numpy().sum() for column in batch.get_columns()]
    return n, sums


def polars_streaming(path: str) -> Sums:
    """Polars' streaming engine, which is left to make the sums itself."""
    import polars as pl  # noqa: PLC0415

    names = _names(path)
    scan = pl.scan_csv(path, schema=dict.fromkeys(names, pl.Float64))
    asked = scan.select(pl.len().alias("rows"), *(pl.col(name).sum() for name in names))
    (found,) = asked.collect(engine="streaming").rows()
    return int(found[0]), found[1:]


def pandas_chunks(path: str) -> Sums:
    """Pandas in chunks, with the types given."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    n, sums = 0, np.zeros(len(_names(path)))
    for chunk in pd.read_csv(path, dtype=np.float64, chunksize=_ROWS):
        n += len(chunk)
        sums += chunk.to_numpy().sum(axis=0)
    return n, sums


def pandas_whole(path: str) -> Sums:
    """pandas, the whole table at once."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    table = pd.read_csv(path, dtype=np.float64).to_numpy()
    return len(table), table.sum(axis=0)


def numpy_loadtxt(path: str) -> Sums:
    """NumPy's own reader, which holds the whole table."""
    import numpy as np  # noqa: PLC0415

    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return len(table), table.sum(axis=0)


def gd_reader(path: str) -> Sums:
    """The reader that the project itself uses, its moments included: what a run is held against."""
    from gd.data import Source  # noqa: PLC0415
    from gd.reading import read  # noqa: PLC0415

    moments = read([path], Source(path=path, target="y")).moments
    return moments.n, moments.means * moments.n


def gd_blocks(path: str) -> Sums:
    """The same without moments: blocks of whole rows, hashed, checked and parsed."""
    from collections import deque  # noqa: PLC0415
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    from gd.stream import Feed  # noqa: PLC0415
    from gd.table import As, Text  # noqa: PLC0415

    blocks = iter(Feed(path))
    header, first = Text("", next(blocks).data).after_header()
    numeric = dict.fromkeys(header.names, As(numbers=True))

    def sums(text: Text) -> Sums:
        cells = text.parse(numeric)
        columns = [values for column in cells.values() for values in column.values or ()]
        return len(columns[0]), np.array([column.sum() for column in columns])

    waiting: deque[Future[Sums]] = deque()
    found = []
    with ThreadPoolExecutor(2) as pool:
        waiting.append(pool.submit(sums, first))
        for block in blocks:
            waiting.append(pool.submit(sums, Text("", block.data, block.line, header.names)))
            if len(waiting) > 3:
                found.append(waiting.popleft().result())
        found += [future.result() for future in waiting]
    return sum(rows for rows, _ in found), np.sum([total for _, total in found], axis=0)


READERS: dict[str, Callable[[str], Sums]] = {
    "pyarrow open_csv": arrow_open,
    "pyarrow read_csv, own blocks": arrow_blocks,
    "polars collect_batches": polars_batches,
    "polars streaming sums": polars_streaming,
    "pandas chunks": pandas_chunks,
    "pandas, the whole table": pandas_whole,
    "numpy.loadtxt": numpy_loadtxt,
    "gd, blocks alone": gd_blocks,
    "gd": gd_reader,
}
"""Every reader by its name."""

if __name__ == "__main__":
    rows, totals = READERS[sys.argv[1]](sys.argv[2])
    print(json.dumps({"rows": rows, "sums": [float(total) for total in totals]}))
