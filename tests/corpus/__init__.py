"""One known table in hundreds of disguises and breakages, each with the verdict that a careful person would give."""

from tests.corpus import categories, compressions, degenerates, dialects, exports, gaps, names, numbers, structures
from tests.corpus.case import Case, Read, Refused

__all__ = ["CASES", "Case", "Read", "Refused"]

CASES: tuple[Case, ...] = (
    *dialects.CASES,
    *structures.CASES,
    *numbers.CASES,
    *gaps.CASES,
    *degenerates.CASES,
    *categories.CASES,
    *names.CASES,
    *compressions.CASES,
    *exports.CASES,
)
