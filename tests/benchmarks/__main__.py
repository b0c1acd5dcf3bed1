"""Measure, print it, and write the same into RESULTS.md: ``python -m tests.benchmarks [--tables FOLDER] [SECTION...]``.

Without names everything is measured. A section that is not named, or that fails, keeps what it said before.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import (
    drawing,
    epochs,
    mails,
    optimizers,
    passes,
    peers,
    processes,
    readers,
    scale,
    tables,
    validation,
    workers,
)

__all__ = ["RESULTS", "SECTIONS", "Section", "main", "merged", "split"]

RESULTS = Path(__file__).parent / "RESULTS.md"

_HEAD = "# What it costs\n\nPrinted by `make bench`; each section says on which machine, and its ratios are of one run.\n"


class Section(NamedTuple):
    """One subject of the results."""

    name: str  # on the command line
    title: str  # in the results
    report: Callable[[], Iterator[str]]  # the lines below the title, as soon as each is known


SECTIONS = (
    Section("epochs", "An epoch", epochs.report),
    Section("passes", "An epoch from moments, and one over the rows", passes.report),
    Section("optimizers", "Near the optimum", optimizers.report),
    Section("readers", "Reading a CSV", readers.report),
    Section("peers", "From a CSV to its weights", peers.report),
    Section("scale", "A million and ten million rows", scale.report),
    Section("validation", "Cross-validation from moments", validation.report),
    Section("workers", "Many workers, many data sets", workers.report),
    Section("run", "`gd run --preset notebook`", processes.report_run),
    Section("import", "`import gd`", processes.report_import),
    Section("mails", "A mail", mails.report),
    Section("drawing", "Figures and page", drawing.report),
)


def main(words: list[str] | None = None) -> int:
    """Print each line as soon as it is known; a section is written into the file as soon as it is whole."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure what the project costs.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(names)}; all when none is named")
    parser.add_argument("--tables", type=Path, help="keep the large tables in this folder, and take them from there")
    given = parser.parse_args(words)
    if unknown := [name for name in given.sections if name not in names]:
        parser.error(f"no section {unknown[0]!r}: there are {', '.join(names)}")
    failed = 0
    with tables.folder(given.tables) as folder:
        os.environ[tables.FOLDER] = str(folder)
        for section in SECTIONS:
            if given.sections and section.name not in given.sections:
                continue
            print(f"## {section.title}\n", flush=True)
            lines = []
            try:
                for line in section.report():
                    print(line, flush=True)
                    lines.append(line)
            except Exception:  # noqa: BLE001  (the other sections are still wanted)
                print(f"{section.name} failed, and keeps its old results:", traceback.format_exc(), sep="\n", file=sys.stderr)
                failed += 1
                continue
            print(flush=True)
            old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
            RESULTS.write_text(merged(old, {section.title: "\n".join(lines)}), encoding="utf-8")
    return 1 if failed else 0


def split(text: str) -> dict[str, str]:
    """The sections of a results file by their titles."""
    parts = ("\n" + text).split("\n## ")[1:]
    return {title: body.strip("\n") for title, _, body in (part.partition("\n") for part in parts)}


def merged(old: str, new: dict[str, str]) -> str:
    """A results file with the new sections in place of the old ones, in the order of `SECTIONS`."""
    bodies = split(old) | new
    return _HEAD + "".join(
        f"\n## {section.title}\n\n{bodies[section.title]}\n" for section in SECTIONS if section.title in bodies
    )


if __name__ == "__main__":
    sys.exit(main())
