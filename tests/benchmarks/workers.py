"""Many workers and many data sets."""

from collections.abc import Iterator


def report() -> Iterator[str]:
    """T."""
    yield ""
