"""`gd history` and `gd compare`: what became of a data set, and what two of its runs do not have in common."""

from __future__ import annotations

import difflib
import json as encoder
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gd.cli.command import UnreachableError, UsageError, app, is_plain
from gd.notation import count, number, visible

if TYPE_CHECKING:
    from gd.changes import Difference
    from gd.history import Line
    from gd.record import Record

__all__ = ["compare", "history"]

_WEIGHTS = 8  # that a line names


@app.command
def history(
    dataset: str, *, reports: Path = Path("reports"), json: Annotated[bool, Parameter(negative="")] = False
) -> int:  # fmt: skip
    """List every run of a data set, the newest first: verdict, loss, weights, and which of them drifted.

    A weight drifted where it left the interval that up to ten runs before, of the same features and settings and of other
    data, let it be expected in.

    Args:
        dataset: Its name: that of its folder among the reports.
        reports: Folder of the reports.
        json: Print one JSON object a line for each run, and nothing else.
    """
    from gd.history import read  # noqa: PLC0415

    if not (reports / dataset).is_dir() or dataset in {"", ".", ".."} or "/" in dataset:
        raise UnreachableError(_no_data_set(dataset, reports))
    found = read(reports / dataset)
    for line in found.lines:
        print(encoder.dumps(_as_json(line)) if json else _as_text(line))
    if found.unread:
        many = len(found.unread)
        said = f"{count(many)} run{' is' if many == 1 else 's are'} passed over: run.json cannot be read "
        print(visible(f"{said}({', '.join(found.unread[:3])}{', …' if many > 3 else ''}).", 500), file=sys.stderr)
    if not json:
        drifts = len(found.drifts)
        said = f"{count(len(found.lines))} run{'' if len(found.lines) == 1 else 's'}"
        print(f"{said}; {f'a weight drifted in {count(drifts)}' if drifts else 'no weight drifted'}.")
    return 0


@app.command
def compare(
    *runs: Annotated[str, Parameter(name="RUN")],
    reports: Path = Path("reports"),
    json: Annotated[bool, Parameter(negative="")] = False,
    html: Path | None = None,
) -> int:
    """Print in what two runs differ, and only that.

    Args:
        runs: Two runs, the earlier one first: their folders, or their ids among the reports.
        reports: Folder of the reports.
        json: Print one JSON object, and nothing else.
        html: A file to write the same into as a page.
    """
    from gd.changes import differences  # noqa: PLC0415

    if len(runs) != 2:
        raise UsageError(f"name two runs, not {len(runs)}.")
    before, now = (_record(run, reports) for run in runs)
    found = differences(before, now)
    if html is not None:
        from gd.overview import render_compare  # noqa: PLC0415

        try:
            html.write_text(render_compare(before, now, found), encoding="utf-8")
        except OSError as error:
            raise UnreachableError(f"{html}: cannot be written ({error.strerror})") from None
    if json:
        rows = [
            {"section": one.section, "name": one.name, "before": one.before, "now": one.now, "relative_change": one.relative}
            for one in found
        ]
        print(encoder.dumps({"before": before.run.id, "now": now.run.id, "differences": rows}))
        return 0
    for title, record in (("before", before), ("now", now)):
        print(f"{title:<7}{visible(record.dataset.name)}  {record.run.id}  {record.verdict}")
    _print(found)
    if html is not None:
        print(visible(str(html), 2000))
    return 0


def _print(found: Sequence[Difference]) -> None:
    plain = is_plain("converged")
    section = ""
    for one in found:
        if one.section != section:
            section = one.section
            print(f"{section}:")
        before, now, by = one.texts
        line = f"  {one.title}: {before} -> {now}{f'  ({by})' if by else ''}"
        print(line.replace("\N{NO-BREAK SPACE}", " ").replace("−", "-" if plain else "−"))
    if not found:
        print("They differ in nothing but when they were.")


def _as_json(line: Line) -> dict[str, Any]:
    return {
        "run": line.id, "started": f"{line.started:%Y-%m-%dT%H:%M:%S.%fZ}", "verdict": line.verdict, "loss": line.loss,
        "r2": line.r2, "rows_used": line.rows, "epochs": line.epochs, "seconds": line.seconds, "sha256": line.sha256,
        "fits": [fit.model_dump() for fit in line.fits],
        "expected": {name: list(interval) for name, interval in line.expected.items() if name is not None},
        "expected_intercept": list(line.expected[None]) if None in line.expected else None,
        "drifted": [name for name in line.drifted if name is not None], "intercept_drifted": None in line.drifted,
    }  # fmt: skip


def _as_text(line: Line) -> str:
    parts = [line.id, f"{line.verdict:<9}"]
    if line.fits:
        parts.append(f"loss {number(line.loss, plain=True)}")
        weights = list(line.weights.items())
        shown = [
            f"{'intercept' if name is None else visible(name, 30)} {number(value, plain=True)}"
            + (" (drifted)" if name in line.drifted else "")
            for name, value in weights
            if name in line.drifted or name in [one for one, _ in weights[:_WEIGHTS]]
        ]
        more = len(weights) - len(shown)
        parts.append(", ".join(shown) + (f" and {count(more)} more" if more else ""))
    return "  ".join(parts)


def _no_data_set(name: str, reports: Path) -> str:
    from gd.history import data_sets  # noqa: PLC0415

    try:
        known = data_sets(reports)
    except OSError:
        return f"{reports}: no such folder. Name the folder of the reports with --reports"
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known[:10]) or 'none'}"
    return f"{reports}: no data set {name!r}; {hint}"


def _record(run: str, reports: Path) -> Record:
    from gd.archive import read_record  # noqa: PLC0415

    folder = Path(run)
    if not (folder / "run.json").is_file():
        found = [] if "/" in run or any(c in run for c in "*?[") else sorted(reports.glob(f"[!.]*/{run}/run.json"))
        if not found:
            raise UnreachableError(f"{run}: no run. Name its folder, or its id with --reports for the folder of all reports")
        folder = found[0].parent
    try:
        return read_record(folder)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{folder}: its run.json cannot be read ({str(error).splitlines()[0]})") from None
