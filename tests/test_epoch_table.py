"""The table of epochs: what it shows, how its numbers are written, and what it marks."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from gd.archive import read
from gd.data import Source, bundled
from gd.epoch_table import Cell, EpochTable, epoch_table, sampled_epochs
from gd.record import EpochLog, Record
from gd.report import Report
from gd.settings import Training
from tests.conftest import run_tasks
from tests.test_report import text_of


def table_of(report: Report) -> EpochTable:
    """Of a run that was trained."""
    assert report.log is not None
    return epoch_table(report.record, report.log)


def marked(table: EpochTable) -> dict[int, list[tuple[str, str]]]:
    """The rows in which something happened."""
    return {row.number: [(event.kind, event.words) for event in row.events] for row in table.rows if row.events}


def written(*values: float) -> tuple[Cell, ...]:
    """A column of these values, as the loss of one backend, out of a table of it."""
    record = Record.model_validate_json(_RECORD.read_text(encoding="utf-8"))
    one = record.model_copy(update={"fits": record.fits[:1]})
    epochs = np.arange(len(values))
    names = [f"weight_{feature}" for feature in record.dataset.features] + ["intercept", "gradient_norm"]
    columns = {"epoch": epochs, "numpy_loss": np.array(values)} | {f"numpy_{name}": np.ones(len(values)) for name in names}
    return tuple(row.cells[0] for row in epoch_table(one, EpochLog(columns)).rows)


_RECORD = Path()


@pytest.fixture(autouse=True)
def _record(cases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "_RECORD", cases["converged"] / "run.json")


def test_all_epochs_are_shown_up_to_a_hundred() -> None:
    """A hundred rows are a table, a hundred and one are sampled."""
    assert list(range(100)) == sampled_epochs(100)
    assert 60 == len(sampled_epochs(101))


@pytest.mark.parametrize("epochs", [101, 1000, 10_000, 1_000_000])
def test_samples_are_dense_early_and_end_with_the_last(epochs: int) -> None:
    """The first six are all there, and the last epoch closes the table."""
    shown = sampled_epochs(epochs)
    assert 60 == len(shown) == len(set(shown))
    assert list(range(6)) == shown[:6]
    assert epochs - 1 == shown[-1]
    assert sorted(shown) == shown


def test_the_table_has_the_promised_columns(reports: dict[str, Report]) -> None:
    """Epoch; for each backend loss, gradient norm and weights; then the gap."""
    table = table_of(reports["disagree"])
    assert [
        ("NumPy", "numpy", 2), ("NumPy’s weights", "numpy", 1), ("PyTorch", "torch", 2), ("PyTorch’s weights", "torch", 1),
        ("gap", "gap", 2),
    ] == [(group.title, group.look, group.span) for group in table.groups]  # fmt: skip
    expected = ["loss", "gradient norm", "X", "loss", "gradient norm", "X", "loss", "weights"]
    assert expected == [column.title for column in table.columns]
    expected = ["4.400 × 10⁻¹", "2.200 × 10¹", "1.980", "26.77", "34.32", "0.7832", "26.33", "1.197"]
    assert expected == [cell.text for cell in table.rows[1].cells]
    assert 10 == len(table.rows)


@pytest.mark.parametrize(
    ("values", "texts", "pads"),
    [
        ([18_300_000, 145_500.4, 23.914], ["18,300,000", "145,500", "23.91"], [".91", ".91", ""]),
        ([-0.5, 0, 12.345], ["−0.5000", "0", "12.35"], ["", ".5000", "00"]),
        ([1234.5, 1.2e-9], ["1.234 × 10³", "1.200 × 10⁻⁹"], ["⁻", ""]),
        ([0, 1e-12, 1e15], ["0", "1.000 × 10⁻¹²", "1.000 × 10¹⁵"], [".000 × 10⁻⁰⁰", "", "⁻"]),
        ([2.5e11, 2.5e11], ["2.500 × 10¹¹", "2.500 × 10¹¹"], ["", ""]),
        ([1.0, math.inf, math.nan], ["1.000", "∞", "not a number"], ["", "", ""]),
        ([9.99996, 1.0], ["10.00", "1.000"], ["0", ""]),
    ],
)
def test_a_column_has_one_notation(values: list[float], texts: list[str], pads: list[str]) -> None:
    """Decimal points stand below each other: behind each number is unseen as much as is missing."""
    cells = written(*values)
    assert texts == [cell.text for cell in cells]
    assert pads == [cell.pad for cell in cells]


def test_bars_are_the_logarithm_of_the_loss() -> None:
    """The highest fills its cell, the lowest none of it, what is not finite all of it; a flat loss has no bars."""
    assert [100, 50, 0] == [cell.bar for cell in written(1e8, 1e4, 1.0)]
    assert [0, 100, 100] == [cell.bar for cell in written(1.0, 10.0, math.inf)]
    assert [None, None] == [cell.bar for cell in written(1.0, 1.001)]


def test_what_happened_is_said_in_words(reports: dict[str, Report]) -> None:
    """Where it converged, ran out, diverged and parted; each backend by name where they differ."""
    last = {verdict: max(fit.epochs for fit in report.record.fits) - 1 for verdict, report in reports.items()}
    assert {last["converged"]: [("converged", "converged")]} == marked(table_of(reports["converged"]))
    assert {last["exhausted"]: [("exhausted", "epochs used up")]} == marked(table_of(reports["exhausted"]))
    finite = reports["diverged"].record.fits[0].last_finite_epoch
    assert finite is not None
    assert {
        finite: [("diverged", "last finite loss")], finite + 1: [("diverged", "diverged: no longer finite")]
    } == marked(table_of(reports["diverged"]))  # fmt: skip
    assert {
        0: [("disagree", "the backends part")],
        9: [("converged", "NumPy: converged"), ("exhausted", "PyTorch: epochs used up")],
    } == marked(table_of(reports["disagree"]))


def test_epochs_in_which_something_happened_are_shown(tmp_path: Path) -> None:
    """However few of them are sampled: the epoch before the loss overflowed stands in the table of a long descent."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    report = read(run_tasks(source, Training(epochs=100_000, learning_rate=0.51), tmp_path, draw=False))
    assert report.log is not None
    table, finite = table_of(report), report.record.fits[0].last_finite_epoch
    assert finite is not None
    assert finite not in sampled_epochs(len(report.log))
    assert {finite, finite + 1} == set(marked(table))
    assert f"showing {len(table.rows)} of " in table.showing


@pytest.mark.parametrize("verdict", ["converged", "diverged", "disagree"])
def test_the_page_names_the_rows_that_are_marked(verdict: str, cases: dict[str, Path], reports: dict[str, Report]) -> None:
    """Each is a link above the table, its row says it in words beside a symbol, and infinity is written as such."""
    page = (cases[verdict] / "report.html").read_text(encoding="utf-8")
    text = text_of(page)
    for number, events in marked(table_of(reports[verdict])).items():
        assert f'<a href="#epoch-{number}">epoch {number:,}</a>' in page
        (row,) = re.findall(rf'<tr class="event \w+" id="epoch-{number}">.*?</tr>', page)
        for _, words in events:
            assert words in text_of(f"<body>{row}")
    assert ("∞" in text) == (verdict == "diverged")


def test_a_table_of_many_weights_leaves_them_out_on_paper(reports: dict[str, Report]) -> None:
    """And says so."""
    assert table_of(reports["converged"]).many
    assert not table_of(reports["disagree"]).many
