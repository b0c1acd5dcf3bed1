"""The rows of one file as text, block by block, and what is made of each: on threads, and in the order of the file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import TypeVar

from threadpoolctl import threadpool_limits

from gd.dialect import Dialect
from gd.refusal import DataError
from gd.sniffer import sniff
from gd.stream import BLOCK, Block, Feed, Progress
from gd.table import Header, Text

__all__ = ["Texts", "blas_on_one_thread", "cores", "in_order"]

_blas_lock, _blas_users = Lock(), 0
_blas_limit: threadpool_limits | None = None

S = TypeVar("S")
T = TypeVar("T")


class Texts:
    """Reads one file: inside `with` its header is known, and iterating over it gives the text of its rows, once.

    Args:
        file: its path or address.
        dialect: what was said of it.
        wanted: names of columns by which the delimiter is found out, the most important first.
        role: of that first one, for errors.
        progress: told how far reading is.
        block: bytes of text at once.

    Raises:
        DataError: if the file cannot be used, is empty, or has a header and no rows.
        OSError: if reading breaks off for a reason that another try may mend.
    """

    def __init__(
        self,
        file: str,
        dialect: Dialect,
        wanted: Sequence[str],
        role: str = "for the target",
        progress: Progress | None = None,
        block: int = BLOCK,
    ) -> None:
        def settled(head: bytes, whole: bool) -> Dialect:
            return sniff(self.feed.name, head, dialect, wanted, role, whole=whole)

        self.feed = Feed(file, progress, block, dialect, settled)
        self.header = Header(())
        self._blocks = iter(self.feed)
        self._rows: Text | None = None  # behind the header, in its block

    def __enter__(self) -> Texts:
        try:
            block = next((block for block in self._blocks if block.data and not block.data.isspace()), None)
            if block is None:
                raise DataError(self.feed.name, "the file is empty.", "Export the table again.")
            self.header, self._rows = self._text(block).after_header()
        except BaseException:
            self._blocks.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._blocks.close()

    def __iter__(self) -> Iterator[Text]:
        rows = self._rows
        assert rows is not None
        while rows.empty:
            block = next(self._blocks, None)
            if block is None:
                raise DataError(self.feed.name, "a header and no rows.", "Export the table again with its data.")
            rows = self._text(block)
        yield rows
        yield from map(self._text, self._blocks)

    def _text(self, block: Block) -> Text:
        return Text(self.feed.name, block.data, block.line, self.header.names, self.feed.dialect)


def in_order(items: Iterable[S], digest: Callable[[S], T], threads: int) -> Generator[T]:
    """What is made of each item, in their order, whichever is done first; no more of them are held than threads and two.

    Args:
        items: such as the texts of a file.
        digest: made on one of the threads.
        threads: so many; 1 is this one.
    """
    if threads == 1:
        yield from map(digest, items)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(digest, item))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Blocks have threads of their own: those of BLAS on top of them were seen to take four times as long.

    So do data sets that are worked on at the same time: where all cores are busy, BLAS with a thread for each took twenty times
    as long for small matrices.
    """
    global _blas_users, _blas_limit  # noqa: PLW0603  (the limit holds for the process)
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = threadpool_limits(1, "blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
