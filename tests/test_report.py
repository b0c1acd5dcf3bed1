"""What the report says and holds."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from gd.archive import read, read_record, write_report
from gd.data import Array, DataError, Source, bundled
from gd.epoch_table import epoch_table, shown_epochs
from gd.notation import number
from gd.rendering import environment
from gd.report import (
    Report,
    notebook_tables,
    rates_table,
)
from gd.settings import Training, preset
from gd.words import SYMBOLS, headline, rates_sentence, sentence
from tests.conftest import run_tasks, write_csv
from tests.test_training import PART_1, PART_2


def _without_marks(text: str) -> str:
    """A page's text but for the words that count as missing, of which None is one."""
    return re.sub(r"Counted as missing.*?Target", "", text, count=1)


def text_of(page: str) -> str:
    """A page's words, its markup and styles removed."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_sentence_of_a_converged_run(reports: dict[str, Report]) -> None:
    """How near, epochs of how many, and the largest gap."""
    said = sentence(reports["converged"].record)
    assert re.fullmatch(
        r"NumPy and PyTorch reached the optimum to within \d × 10⁻[⁹⁸] after \d+ of 1,000 epochs and never differed by more "
        r"than \d × 10⁻¹[⁴⁵⁶⁷], relative to the weights\.",
        said,
    )


def test_sentence_of_an_exhausted_run(reports: dict[str, Report]) -> None:
    """How far above the optimum, and what would close the rest: numbers of the diagnosis itself."""
    record = reports["exhausted"].record
    found = record.diagnosis
    assert found is not None
    assert found.predicted_epochs is not None
    said = sentence(record)
    assert said.startswith("After 1,000 epochs the loss is ")
    assert found.excess_loss is not None
    assert found.optimum_loss is not None
    times = number(1 + found.excess_loss / found.optimum_loss, 3)
    assert f"{times} times the optimum's; about " in said
    assert "or a rate of 0.44 instead of 0.001, would bring what is above it to 10⁻⁶ of what it was." in said
    (epochs,) = re.findall(r"about ([\d,]+) epochs", said)
    assert found.predicted_epochs <= int(epochs.replace(",", "")) <= 1.1 * found.predicted_epochs


def test_sentence_of_a_diverged_run(reports: dict[str, Report]) -> None:
    """The step, the limit, the last finite epoch, and what to try: half the limit."""
    record = reports["diverged"].record
    said = sentence(record)
    last = record.fits[0].last_finite_epoch
    assert (
        f"The learning rate 1.5 is above the stable limit 0.492; the loss was last finite at epoch {last}. "
        "Try --learning-rate 0.25." == said
    )


def test_what_a_diverged_run_advises_works(tmp_path: Path) -> None:
    """The learning rate that the sentence names converges."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    record = read_record(run_tasks(source, Training(learning_rate=0.25), tmp_path, draw=False))
    assert "converged" == record.verdict


def test_sentence_of_a_disagreement(reports: dict[str, Report]) -> None:
    """Both measured ratios, and where the error is."""
    expected = (
        "They part at epoch 0. By central differences NumPy's gradient is 5.000 times the gradient of the stated loss, "
        "PyTorch's 1.000 times: the error is in the formula derived by hand."
    )
    assert expected == sentence(reports["disagree"].record)


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_plain_sentences_are_ascii(verdict: str, reports: dict[str, Report]) -> None:
    """Terminals and plain-text mail get no character that they cannot show."""
    assert sentence(reports[verdict].record, plain=True).isascii()


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_the_verdict_comes_first(verdict: str, cases: dict[str, Path], reports: dict[str, Report]) -> None:
    """Symbol, word and sentence stand before anything else on the page, and in its title."""
    page = (cases[verdict] / "report.html").read_text(encoding="utf-8")
    word = headline(reports[verdict].record)
    assert f"<title>{SYMBOLS[verdict]} {word}:" in page
    text = text_of(page)
    assert text.index(word) < text.index(sentence(reports[verdict].record)) < text.index("Result")


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_rendered_again_it_is_the_same_byte_for_byte(verdict: str, cases: dict[str, Path], tmp_path: Path) -> None:
    """From run.json, epochs.csv and fit.csv alone, elsewhere, comes the same page and the same pictures with their data."""
    for name in ("run.json", "epochs.csv", "fit.csv"):
        if name != "fit.csv" or verdict != "diverged":  # which has no fit
            (tmp_path / name).write_bytes((cases[verdict] / name).read_bytes())
    write_report(tmp_path)
    for file in [cases[verdict] / "report.html", *sorted((cases[verdict] / "figures").iterdir())]:
        again = tmp_path / file.relative_to(cases[verdict])
        assert file.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("verdict", ["converged", "exhausted", "diverged", "disagree"])
def test_a_page_is_alone_and_harmless(verdict: str, cases: dict[str, Path]) -> None:
    """No script, no address but its neighbours', and a policy that forbids the rest; every picture has an alt text."""
    page = (cases[verdict] / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"\son\w+=", page)
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page
    assert (
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\"" in page
    )
    links = set(re.findall(r'href="([^"]+)"', page))
    data = {f"figures/{file.name}" for file in (cases[verdict] / "figures").glob("*.csv")}
    assert {"data:,", "epochs.csv", "run.json", "../../index.html"} | data == {link for link in links if link[0] != "#"}
    assert page.count("<figure") == page.count('role="img" aria-label="') == page.count("<svg")


def test_the_report_shows_the_learning_rates(swept: Path) -> None:
    """One sentence, one picture and a row for each rate, between convergence and agreement."""
    report = read(swept)
    said = rates_sentence(report.record)
    assert (
        "Of 9 learning rates 0.4435 was the best: it reached the optimum after 99 epochs. "
        "The rates 0.6959 and 0.9842 diverged. The stable limit is 0.4921." == said
    )
    page = (swept / "report.html").read_text(encoding="utf-8")
    text = text_of(page)
    assert text.index("falls to that of the optimum") < text.index(said) < text.index("Do the backends agree?")
    assert '<figure id="figure-rates">' in page
    table = rates_table(report.record)
    assert ("learning rate", "ended", "above the optimum", "ended", "above the optimum") == table.heads
    assert 9 == len(table.rows)
    assert ("0.4435, best", "converged after 99") == table.rows[6][:2]
    assert ("0.9842", "diverged after 316", "—", "diverged after 316", "—") == table.rows[8]
    assert "0.4435, the best of those tried" in text


def test_a_report_without_a_sweep_has_no_such_section(cases: dict[str, Path]) -> None:
    """Nothing is said of rates that were not tried."""
    assert 'id="rates"' not in (cases["converged"] / "report.html").read_text(encoding="utf-8")


def test_where_all_rates_diverged_the_verdict_says_so(tmp_path: Path) -> None:
    """The smallest is trained with, and named in the first sentence."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    record = read_record(run_tasks(source, Training(learning_rate=(1.5, 0.6, 0.7)), tmp_path, draw=False))
    assert ("diverged", 0.6) == (record.verdict, record.training.learning_rate)
    assert sentence(record).startswith("The smallest of 3 learning rates, 0.6, is above the stable limit 0.492; the loss was ")
    assert (
        "All 3 learning rates diverged; the smallest, 0.6, is the one trained with. The stable limit is 0.4921."
        == rates_sentence(record)
    )
    assert ["0.6, trained", "0.7", "1.5"] == [row[0] for row in rates_table(record).rows]


def test_backends_that_diverge_at_other_rates_are_told_apart(tmp_path: Path) -> None:
    """The notebook's gradient by hand is five times too long: at 0.05 it diverges, and the true one does not."""
    source = Source(path=str(bundled("notebook")), target="Y")
    training = preset("notebook").model_copy(update={"learning_rate": (0.01, 0.05)})
    said = rates_sentence(read_record(run_tasks(source, training, tmp_path, draw=False)))
    assert "Diverged: 0.05 with NumPy; none with PyTorch. The stable limit is 0.09091." in said


def test_a_page_of_ten_thousand_epochs_is_light(tmp_path: Path) -> None:
    """Under 1 MB, with a sample of the epochs that says so and links to all of them."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(epochs=10_000, tolerance=0), tmp_path)
    page = (folder / "report.html").read_bytes()
    assert len(page) < 1_000_000
    assert "Showing 60 of 10,000 epochs; all in epochs.csv" in text_of(page.decode()).replace("epochs.csv ,", "epochs.csv,")
    rows = (folder / "epochs.csv").read_text(encoding="utf-8").count("\n")
    assert 10_001 == rows


def test_the_notebooks_tables_stand_in_the_report(cases: dict[str, Path], reports: dict[str, Report]) -> None:
    """Both tables, to every digit that the notebook printed."""
    report = reports["disagree"]
    assert report.log is not None
    (_, first), (_, second) = notebook_tables(report.record, report.log)
    assert [(str(t), str(loss), str(w)) for t, (loss, w) in enumerate(PART_1)] == list(first.rows)
    assert [(str(t), str(loss), str(w)) for t, (loss, w) in enumerate(PART_2)] == list(second.rows)
    page = (cases["disagree"] / "report.html").read_text(encoding="utf-8")
    for digits in ("0.4399999976158142", "0.004000000189989805", "26.77", "1.833"):
        assert f"<td>{digits}</td>" in page


def test_the_report_says_what_the_fault_is(cases: dict[str, Path]) -> None:
    """The sum where the mean was meant, five times the gradient, measured; and why it converges here all the same."""
    text = text_of((cases["disagree"] / "report.html").read_text(encoding="utf-8"))
    assert "what remains is the sum over the 5 rows where the mean was meant" in text
    assert "NumPy’s gradient is 5.000 times the gradient of the stated loss" in text
    assert "as if the learning rate were 0.05 instead of 0.01" in text
    assert "on other data the same line diverges" in text


def test_the_fault_is_not_told_of_other_runs(cases: dict[str, Path]) -> None:
    """Outside the notebook's loss nobody is bothered with it."""
    assert "notebook" not in text_of((cases["converged"] / "report.html").read_text(encoding="utf-8"))


def test_the_data_is_accounted_for(cases: dict[str, Path]) -> None:
    """Rows used and dropped with their lines, columns left out and why, and how to do it again."""
    text = text_of((cases["converged"] / "report.html").read_text(encoding="utf-8"))
    for words in ("342 of 344", "2, on lines 5, 273", "Left out: species text", "gd run", "SHA-256 of the CSV"):
        assert words in text


def test_templates_refuse_what_is_not_there() -> None:
    """A name that nobody gave is an error, not an empty string."""
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()


def test_templates_escape() -> None:
    """Markup in data is text."""
    assert "&lt;b&gt;" == environment().from_string("{{ x }}").render(x="<b>")


@pytest.mark.parametrize(
    ("features", "target", "changed", "verdict"),
    [
        pytest.param(lambda x: np.hstack([x, x]), lambda x: 2 * x + 1, {}, "converged", id="a column twice"),
        pytest.param(lambda x: x, lambda x: 0 * x + 3, {}, "converged", id="a constant target"),
        pytest.param(lambda x: x, lambda x: 0 * x, {}, "converged", id="a target of zeros"),
        pytest.param(lambda x: 1e200 * x, lambda x: 2 * x + 1, {}, "converged", id="huge features"),
        pytest.param(lambda x: 1e-200 * x, lambda x: 2 * x + 1, {}, "converged", id="tiny features"),
        pytest.param(lambda x: x, lambda x: 1e150 * x, {}, "converged", id="a huge target"),
        pytest.param(lambda x: x + 1e9, lambda x: 2 * x + 1, {}, "converged", id="an offset of 1e9"),
        pytest.param(lambda x: x[:2], lambda x: 2 * x[:2] + 1, {}, "converged", id="two rows"),
        pytest.param(lambda x: x.reshape(2, 10), lambda x: x[:2], {}, "converged", id="wider than long"),
        pytest.param(lambda x: 3 * x + 50, lambda x: 2 * x + 1, {"dtype": "float32"}, "converged", id="float32"),
        pytest.param(lambda x: x, lambda x: 2 * x + 1, {"epochs": 1}, "exhausted", id="one epoch"),
        pytest.param(lambda x: x, lambda x: 2 * x + 1, {"epochs": 1, "learning_rate": 50}, "diverged", id="one wild epoch"),
        pytest.param(lambda x: x, lambda x: 2 * x + 1, {"learning_rate": 1e-9}, "exhausted", id="a step too short"),
        pytest.param(lambda x: x, lambda x: 2 * x + 1, {"loss": "notebook"}, "disagree", id="the notebook's gradient"),
    ],
)
def test_odd_tables_have_a_report_too(
    features: Callable[[Array], Array],
    target: Callable[[Array], Array],
    changed: dict[str, object],
    verdict: str,
    tmp_path: Path,
) -> None:
    """Whatever the table, there is a verdict, a sentence in plain ASCII, and a page without NaN or None in its words."""
    x = np.random.default_rng(0).normal(size=(20, 1))
    path = write_csv(tmp_path / "odd.csv", features(x), target(x)[:, 0])
    folder = run_tasks(Source(path=str(path), target="y"), Training.model_validate(changed), tmp_path)
    record = read_record(folder)
    assert verdict == record.verdict
    assert sentence(record, plain=True).isascii()
    text = text_of((folder / "report.html").read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|None|inf)\b", _without_marks(text))


def test_a_flat_gradient_is_not_taken_for_the_optimum(tmp_path: Path) -> None:
    """A column that nearly repeats another: the gradient is flat and the loss is not the least; the sentence says both."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    path = write_csv(
        tmp_path / "near.csv", np.hstack([x, x + 1e-9 * rng.normal(size=(20, 1))]), 2 * x[:, 0] + 1 + rng.normal(size=20)
    )
    record = read_record(run_tasks(Source(path=str(path), target="y"), Training(), tmp_path, draw=False))
    found = record.diagnosis
    assert found is not None
    assert found.excess_loss is not None
    assert found.optimum_loss is not None
    per_cent = number(100 * found.excess_loss / found.optimum_loss, 2)
    assert f"{per_cent} % above the optimum in directions of next to no curvature" in sentence(record)


def test_who_rests_alone_says_it_in_one_sentence(tmp_path: Path) -> None:
    """Without the comma before what the other backend did, and with the noun of what is so many times the optimum's."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    path = write_csv(
        tmp_path / "near.csv", np.hstack([x, x + 1e-9 * rng.normal(size=(20, 1))]), 2 * x[:, 0] + rng.normal(size=20)
    )
    training = Training(backends=("numpy",), standardize=False)
    said = sentence(read_record(run_tasks(Source(path=str(path), target="y"), training, tmp_path, draw=False)), plain=True)
    assert re.fullmatch(
        r"NumPy came to rest after [\d,]+ of 1,000 epochs, at a loss \S+ (?:%|times) \S+ .*in directions of next to no "
        r"curvature\. No other backend ran to check it\..*",
        said,
    ), said


def test_columns_left_far_from_zero_are_told_to_be_standardised(tmp_path: Path) -> None:
    """Without standardising no number of epochs is enough, and the sentence names the option."""
    x = np.random.default_rng(0).normal(size=(20, 1))
    path = write_csv(tmp_path / "far.csv", 1e8 + 1e6 * x, 2 * x[:, 0] + 1)
    record = read_record(run_tasks(Source(path=str(path), target="y"), Training(standardize=False), tmp_path, draw=False))
    assert sentence(record).endswith("epochs to close it. Leave out --no-standardize.")


def test_a_run_that_never_stops_early_is_judged_at_its_end(tmp_path: Path) -> None:
    """With a tolerance of 0 every epoch is trained, and where the last gradient is flat the run has converged."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    record = read_record(run_tasks(source, Training(epochs=400, tolerance=0), tmp_path, draw=False))
    assert "converged" == record.verdict
    assert sentence(record).endswith(", relative to the weights.")
    assert " after 400 of 400 epochs and " in sentence(record)


def test_numbers_too_large_to_be_squared_are_refused(tmp_path: Path) -> None:
    """Targets of 1e200 have no mean squared error in float64: the column and the remedy are named, nothing overflows."""
    x = np.arange(6.0)[:, None]
    path = write_csv(tmp_path / "wide.csv", x, 1e200 * x[:, 0])
    with pytest.raises(DataError) as refused:
        run_tasks(Source(path=str(path), target="y"), Training(), tmp_path)
    expected = "wide.csv, column 'y': its squares are more than float64 holds. Divide the column by a power of ten."
    assert expected == str(refused.value)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_one_backend_alone_is_reported(backend: str, tmp_path: Path) -> None:
    """Nothing is compared, and the sentence says that nothing was checked."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    report = read(run_tasks(source, Training(backends=(backend,)), tmp_path, draw=False))
    assert sentence(report.record).endswith("No other backend ran to check it.")
    assert "gap" not in {picture.name for picture in report.pictures}


def test_a_long_run_is_reported_from_a_compressed_log(tmp_path: Path) -> None:
    """The table has rows with weights only and says so, links name the file that is there, and the page comes out again."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(epochs=150_001, learning_rate=1e-6, backends=("numpy",)), tmp_path / "first")
    assert {"report.html", "run.json", "epochs.csv.gz", "fit.csv", "model.json", "figures"} == {
        path.name for path in folder.iterdir()
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="([^"]+)"', page))
    assert {"data:,", "epochs.csv.gz", "run.json", "../../index.html"} == {link for link in links if link[0] not in "#f"}
    text = text_of(page)
    assert "Showing 60 of 150,001 epochs, the weights of every 16th epoch are kept; all in epochs.csv.gz" in text
    assert "Weights kept of every 16th epoch, and the last" in text
    report = read(folder)
    assert report.log is not None
    table = epoch_table(report.record, report.log)
    assert [15, 31, 47] == [row.number for row in table.rows[:3]]
    assert 150_000 == table.rows[-1].number
    assert not any(cell.text in {"—", "not a number"} for row in table.rows for cell in row.cells)
    again = tmp_path / "again"
    again.mkdir()
    for name in ("run.json", "epochs.csv.gz", "fit.csv"):
        (again / name).write_bytes((folder / name).read_bytes())
    write_report(again)
    for file in [folder / "report.html", *sorted((folder / "figures").iterdir())]:
        assert file.read_bytes() == (again / file.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("keep", [7, 30, 10_000])
def test_weights_that_were_thinned_far_have_a_report(keep: int, tmp_path: Path) -> None:
    """However few weights are kept of a short run, there is a page without NaN, and its table ends with the last epoch."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(epochs=60, tolerance=0, keep_weights=keep), tmp_path)
    report = read(folder)
    assert report.log is not None
    shown = shown_epochs(report.record, report.log)
    assert sorted({*range(keep - 1, 60, keep), 59}) == shown
    text = text_of((folder / "report.html").read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|None|inf|not a number)\b", _without_marks(text))


def test_the_notebooks_tables_of_thinned_weights(tmp_path: Path) -> None:
    """They hold the epochs whose weights there are."""
    source = Source(path=str(bundled("notebook")), target="Y")
    report = read(run_tasks(source, preset("notebook").model_copy(update={"keep_weights": 4}), tmp_path, draw=False))
    assert report.log is not None
    (_, first), _ = notebook_tables(report.record, report.log)
    assert [(str(t), str(PART_1[t][0]), str(PART_1[t][1])) for t in (3, 7, 9)] == list(first.rows)
