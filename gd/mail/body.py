"""The two bodies of a mail: HTML that fits what mail clients show, and plain text written to be read alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gd.coefficients import intervals
from gd.figures import PNG_WIDTH
from gd.mail.digest import FEATURES, NAME, Digest, Section, kicker, opening, rest, subject, worst
from gd.notation import count, plainly, visible
from gd.phrases import say
from gd.rendering import attempt, rendered
from gd.report import equations
from gd.words import headline

if TYPE_CHECKING:
    from css_inline import CSSInliner
    from jinja2 import Template

__all__ = ["Page", "fill", "page", "text"]

_COLUMNS = 72


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML, and how many sections it has in full, counted from the worst."""

    html: str
    details: int


def page(
    digest: Digest, told: Sequence[Section], notes: Sequence[str], *, limit: int, pictures: int, cid: Callable[[int], str]
) -> Page:
    """The HTML with its styles inlined: as many sections, and then as many rows of the table, as fit, worst first.

    Args:
        digest: of the run.
        told: every section, worst first.
        notes: what is to be said of the attachments.
        limit: bytes at most.
        pictures: sections at most that show their picture, counted from the worst.
        cid: Content-ID of a section's picture, by its place.
    """
    of_all = {
        "subject": subject(digest),
        "worst": worst(digest),
        "opening": opening(digest),
        "rest": rest(digest),
        "kicker": kicker(digest),
        "name": visible(digest.name, NAME),
        "version": told[0].item.record.run.version,
        "total": len(told),
        "pictures": pictures,
        "cid": cid,
        "width": PNG_WIDTH,
        "notes": notes,
        "intervals": lambda record: intervals(record, FEATURES),
    }

    def fitted(template: Template) -> Page:
        def made(rows: int, details: int) -> str:
            left = _left_out(told, rows, details)
            return f"{_inliner().inline(template.render(**of_all, rows=told[:rows], details=told[:details], left_out=left))}\n"

        def most(highest: int, made: Callable[[int], str], limit: int) -> int:
            return _most(highest, lambda number: _size(made(number)) <= limit)

        rows = details = len(told)
        if _size(made(rows, details)) > limit:
            rows = most(rows, lambda rows: made(rows, 0), limit // 2)  # half of it at least is for the worst, in full
            details = most(details, lambda details: made(rows, details), limit)
            rows = most(len(told), lambda rows: made(rows, details), limit)
        return Page(made(rows, details), details)

    return attempt("mail.html.j2", fitted)


def text(digest: Digest, told: Sequence[Section], notes: Sequence[str]) -> str:
    """The plain text: verdict first, a paragraph for each data set, and where its report is.

    Args:
        digest: of the run.
        told: every section, worst first.
        notes: what is to be said of the attachments.
    """
    with plainly():
        words = rendered(
            "mail.txt.j2",
            opening=opening(digest),
            rest=rest(digest, plain=True),
            kicker=kicker(digest, plain=True),
            name=visible(digest.name, NAME),
            version=told[0].item.record.run.version,
            sections=told,
            notes=notes,
            equations=lambda record: equations(record, most=FEATURES, plain=True),
            intervals=lambda record: intervals(record, FEATURES, plain=True),
            headline=headline,
            fill=fill,
        )
    return f"{words}\n"


def fill(words: str, first: str = "", indent: str = "") -> str:
    """A paragraph in lines of at most 72 characters, but for words that are longer.

    Args:
        words: on one line.
        first: before the first line.
        indent: before every other.
    """
    return textwrap.fill(
        words,
        _COLUMNS,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _left_out(told: Sequence[Section], rows: int, details: int) -> str:
    """What did not fit, and where it is."""
    if details == len(told):
        return ""
    verdicts = {section.item.record.verdict for section in told[details:]}
    name = "left_out_good" if verdicts == {"converged"} else "left_out"
    if rows < len(told):
        name = "left_out_good_rows" if verdicts == {"converged"} else "left_out_rows"
    return say(f"mail.{name}", count=count(len(told) - details), rows=count(len(told) - rows))


def _size(html: str) -> int:
    """Bytes before the transfer encoding; on the wire lines end in CRLF."""
    return len(html.encode()) + html.count("\n")


def _most(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `highest` that fits, or 0; what fits does so for every smaller number."""
    low, high = 0, highest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@lru_cache
def _inliner() -> CSSInliner:
    from css_inline import CSSInliner  # noqa: PLC0415

    return CSSInliner(keep_at_rules=True, load_remote_stylesheets=False, minify_css=True)
