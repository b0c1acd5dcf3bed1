"""The pictures and their words."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from gd.archive import read, read_record, read_run
from gd.data import Array, Source, bundled
from gd.figures import POINTS, THEMED, decimate, draw, loss_words
from gd.figures.picture import Picture, table
from gd.figures.style import in_style, label_ends
from gd.figures.surface import _seen
from gd.figures.validation import folds, held, schedule
from gd.figures.weights import bars, weights
from gd.look import Look
from gd.notation import number
from gd.quality import from_csv
from gd.record import EpochLog, Record
from gd.report import Report, inline
from gd.settings import Training
from tests.conftest import run_tasks, write_csv

NAMES = {"loss", "excess", "weights", "gradient", "gap", "steps"}


def data_of(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a picture's CSV."""
    return list(csv.DictReader((folder / "figures" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize(
    ("verdict", "more"),
    [
        ("converged", {"path", "bars", "residuals", "distribution", "predicted"}),
        ("exhausted", {"path", "bars", "residuals", "distribution", "predicted"}),
        ("diverged", {"path"}),
        ("disagree", {"path", "predicted"}),  # whose residuals are all 0
    ],
)
def test_every_picture_is_there_with_its_words(verdict: str, more: set[str], reports: dict[str, Report]) -> None:
    """Six pictures, and those that make sense for the verdict; each has a caption and an alt text with numbers."""
    pictures = reports[verdict].pictures
    assert NAMES | more == {picture.name for picture in pictures}
    for picture in pictures:
        assert re.search(r"\d", picture.alt)
        assert picture.caption.endswith(".")
        assert 1 == picture.svg.count("<svg")


def test_alt_texts_state_the_numbers(reports: dict[str, Report]) -> None:
    """The notebook's first loss 44 and PyTorch's last logged one, 0.5025, are said; so is the way of the weight."""
    alt = {picture.name: picture.alt for picture in reports["disagree"].pictures}
    assert "NumPy from 44 to 0" in alt["loss"]
    assert "PyTorch from 44 to 0.5025" in alt["loss"]
    assert "PyTorch ends at 1.833 after 10 steps" in alt["path"]


@pytest.mark.parametrize("verdict", ["converged", "diverged", "disagree"])
def test_pictures_are_the_same_bytes_each_time(verdict: str, reports: dict[str, Report], cases: dict[str, Path]) -> None:
    """Drawn again from the same values, a picture does not change."""
    report = reports[verdict]
    assert report.log is not None
    file = cases[verdict] / "fit.csv"
    cells = from_csv(file.read_text(encoding="utf-8")) if file.exists() else None
    assert [(p.svg, p.data) for p in report.pictures] == [(p.svg, p.data) for p in draw(report.record, report.log, cells)]


def test_the_picture_of_a_sweep_holds_every_rate_and_the_limit(swept: Path) -> None:
    """Its alt text has every number; the limit stands on its line, and the area beyond it is hatched."""
    report = read(swept)
    picture = next(picture for picture in report.pictures if picture.name == "rates")
    assert report.record.sweep is not None
    for backend in ("NumPy", "PyTorch"):
        assert backend in picture.alt
    for rate in report.record.sweep.rates:
        assert 2 == picture.alt.count(f"{number(rate)} diverged") + picture.alt.count(f" at {number(rate)}")
    assert picture.alt.endswith("The best rate is 0.4435, the stable limit 0.4921.")
    assert "Beyond the red line, 0.492, no step is stable." in picture.caption
    assert "stable below 0.492" in picture.svg
    assert "best 0.4435" in picture.svg
    assert "url(#h" in picture.svg
    assert (swept / "figures" / "rates.svg").read_text(encoding="utf-8") == picture.svg


@pytest.mark.parametrize(
    "training",
    [
        Training(learning_rate=(0.1, 0.2)),
        Training(learning_rate=(5.0, 7.0)),
        Training(learning_rate=(1e-300, 1e300), epochs=3),
        Training(learning_rate=(0.01, 0.0100001), epochs=1, backends=("numpy",)),
    ],
    ids=["two that arrive", "none that stays", "the ends of float64", "next to each other"],
)
@pytest.mark.parametrize("flat", [False, True])
def test_a_sweep_of_any_kind_is_drawn(training: Training, flat: bool, tmp_path: Path) -> None:
    """Whatever the rates and however the loss, the axes hold them and no warning is raised."""
    X: Array = np.random.default_rng(0).normal(size=(20, 1))
    path = write_csv(tmp_path / "few.csv", X, np.zeros(20) if flat else 2 * X[:, 0])
    pictures = read(run_tasks(Source(path=str(path), target="y"), training, tmp_path, draw=False)).pictures
    assert "rates" in {picture.name for picture in pictures}


def test_both_backends_are_told_apart_without_colour(reports: dict[str, Report]) -> None:
    """The loss has a solid and a dashed line, and both names."""
    svg = next(picture.svg for picture in reports["converged"].pictures if picture.name == "loss")
    assert "NumPy" in svg
    assert "PyTorch" in svg
    dashed = re.search(r"stroke-dasharray[^\"]*#d55e00|stroke: #d55e00[^\"]*|stroke-dasharray: [^;]*; [^\"]*#d55e00", svg)
    assert dashed
    assert "stroke-dasharray" in svg


def test_inline_pictures_follow_the_theme(reports: dict[str, Report]) -> None:
    """Inside a page every colour is a name of the style sheet, and every id is the picture's own."""
    seen: set[str] = set()
    for picture in reports["disagree"].pictures:
        svg = inline(picture)
        assert not [colour for colour in THEMED if colour in svg]
        assert "<style" not in svg
        assert "<!--" not in svg
        ids = set(re.findall(r'\bid="([^"]+)"', svg))
        assert all(name.startswith(f"{picture.name}-") for name in ids)
        assert set() == ids & seen
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= ids
        assert set(re.findall(r'href="#([^"]+)"', svg)) <= ids
        seen |= ids


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_labels_stand_where_their_lines_end(scale: str) -> None:
    """At the height of the last value, and pushed apart where two lines end together."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale(scale)
    axes.plot([0, 1], [100.0, 1.0])
    axes.plot([0, 1], [100.0, 1.0])
    label_ends(axes, [(1.0, "first", "k"), (1.0, "second", "k"), (100.0, "third", "k")])
    heights = {text.get_text(): text.xy[1] for text in axes.texts if isinstance(text, Annotation)}
    assert pytest.approx(0.05, abs=0.02) == heights["first"]  # matplotlib's margin
    assert pytest.approx(heights["first"] + 0.085) == heights["second"]
    assert pytest.approx(0.95, abs=0.02) == heights["third"]


@settings(deadline=None, max_examples=50)
@given(k=st.integers(1, 30_000), spike=st.integers(0, 29_999), buckets=st.integers(2, 500))
def test_no_spike_of_one_epoch_is_lost(k: int, spike: int, buckets: int) -> None:
    """Wherever it stands, the highest and the lowest point are drawn, and never more than two points a bucket and the ends."""
    y = np.sin(np.arange(k) / 50)
    y[spike % k] = 9.0
    y[(spike * 7 + 1) % k] = -9.0
    xs, ys = decimate(np.arange(k), y, buckets)
    assert y.max() == ys.max()
    assert y.min() == ys.min()
    assert len(xs) <= 2 * buckets + 2
    assert (np.diff(xs) > 0).all()
    np.testing.assert_array_equal(y[xs], ys)


@settings(deadline=None, max_examples=50)
@given(
    steps=st.lists(st.integers(1, 1000), min_size=1, max_size=3000), spike=st.integers(0, 2999), buckets=st.integers(2, 300),
    down=st.booleans(), missing=st.integers(0, 2999),
)  # fmt: skip
def test_no_spike_is_lost_between_points_far_apart(
    steps: list[int], spike: int, buckets: int, down: bool, missing: int
) -> None:
    """For every spacing of the epochs, and with values that are not finite among them."""
    x = np.cumsum(steps)
    y = np.cos(x / 70.0)
    y[missing % len(x)] = np.nan
    y[spike % len(x)] = -9.0 if down else 9.0
    xs, ys = decimate(x, y, buckets)
    assert x[spike % len(x)] in xs[np.abs(ys) == 9.0]
    assert len(xs) <= 2 * buckets + 2
    assert (np.diff(xs) > 0).all()
    assert set(zip(xs.tolist(), ys.tolist(), strict=True)) <= set(zip(x.tolist(), y.tolist(), strict=True))


@pytest.mark.parametrize("spike", [0, 1, 499_999, 777_777, 999_998, 999_999])
def test_a_spike_among_a_million_epochs_is_drawn(spike: int) -> None:
    """One epoch of 10⁶ is among the two thousand points that are left."""
    y = np.exp(-np.arange(1e6) / 1e5)
    y[spike] = 7.0
    xs, ys = decimate(np.arange(10**6), y)
    assert len(xs) <= 2 * POINTS + 2
    assert [spike] == xs[ys == 7.0].tolist()


@pytest.mark.parametrize("features", [1, 2, 3])
def test_thinned_weights_are_drawn_where_they_are(features: int, tmp_path: Path) -> None:
    """Every picture is there, and its words end where the descent ended, as without thinning."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, features))
    source = Source(path=str(write_csv(tmp_path / "few.csv", X, X.sum(axis=1) + 1)), target="y")
    intercept = features > 1
    training = Training(intercept=intercept, epochs=90, tolerance=0)
    whole, thin = (
        read(run_tasks(source, training.model_copy(update={"keep_weights": keep}), tmp_path, f"k{keep}", draw=False))
        for keep in (1, 40)
    )
    assert [picture.name for picture in whole.pictures] == [picture.name for picture in thin.pictures]
    for expected, actual in zip(whole.pictures, thin.pictures, strict=True):
        if expected.name not in {"excess", "gap"}:  # which are not known of every epoch
            assert expected.alt == actual.alt
    assert all("nan" not in picture.svg and "not a number" not in picture.alt for picture in thin.pictures)


def test_hostile_names_do_not_break_a_picture(tmp_path: Path) -> None:
    """Markup, dollar signs, control characters and length in a column's name are text in the picture."""
    names = ("<script>alert(1)</script>", "$x_1^{", "a\nb\x1b[0m", "n" * 300)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20, 4))
    path = tmp_path / "hostile.csv"
    header = ",".join('"' + name.replace('"', '""') + '"' for name in (*names, "y & <b>"))
    rows = "\n".join(",".join(map(repr, map(float, [*row, row.sum()]))) for row in X)
    path.write_text(f"{header}\n{rows}\n", encoding="utf-8")
    folder = run_tasks(Source(path=str(path), target="y & <b>"), Training(epochs=50), tmp_path)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    for picture in read(folder).pictures:
        assert "<script" not in picture.svg
        assert "\x1b" not in picture.svg


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_path_is_drawn_for_one_or_two_parameters(features: int, intercept: bool, tmp_path: Path) -> None:
    """The parabola for one parameter, contours for two, the plane of the two principal curvatures for more."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, features))
    path = write_csv(tmp_path / "few.csv", X, X.sum(axis=1) + 1)
    folder = run_tasks(Source(path=str(path), target="y"), Training(intercept=intercept), tmp_path, draw=False)
    found = {picture.name: picture.alt for picture in read(folder).pictures}
    first = {1: "Parabola", 2: "Contours of the loss around", 3: "Contours of the loss over its flattest"}
    assert found["path"].startswith(first[features + intercept])


@pytest.mark.parametrize("spike", [0, 1, 250, 499_999, 777_777, 999_998, 999_999])
def test_a_path_keeps_its_furthest_step(spike: int) -> None:
    """One step of 10⁶ that goes far is among the few that are drawn, and one outside the drawing is drawn outside."""
    path = np.column_stack([np.geomspace(1, 1e-9, 10**6), np.geomspace(2, 1e-3, 10**6)])
    path[spike] = 3.0, -5.0
    seen = _seen(path, [0.0, 0.0], [4.0, 6.0])
    assert len(seen) < 2000
    assert [3.0, -5.0] in seen.tolist()
    path[spike] = 1e9, 0.5
    assert 80.0 == _seen(path, [0.0, 0.0], [4.0, 6.0])[:, 0].max()


def test_the_plane_is_that_of_the_principal_curvatures(cases: dict[str, Path]) -> None:
    """In it the path begins at -θ* in both directions, and each gradient step shrinks it by 1 - αλ, as theory says."""
    record = read_record(cases["converged"])
    found = record.diagnosis
    assert found is not None
    assert found.principal is not None
    assert pytest.approx(np.eye(2), abs=1e-12) == np.array(found.principal) @ np.array(found.principal).T
    rows = data_of(cases["converged"], "path")
    steps = np.array([[float(row["flattest"]), float(row["steepest"])] for row in rows if row["line"] == "NumPy"])
    assert record.training.learning_rate is not None
    factor = 1 - record.training.learning_rate * np.array([found.eigenvalues[0], found.eigenvalues[-1]])
    np.testing.assert_allclose(steps[1:20], steps[:19] * factor, atol=1e-9 * np.abs(steps).max())


def test_the_data_of_a_picture_is_what_it_draws(cases: dict[str, Path], reports: dict[str, Report]) -> None:
    """The loss of a short run whole, every digit; the limit on the line of the steps; the bars of all weights."""
    folder, report = cases["converged"], reports["converged"]
    assert report.log is not None
    rows = data_of(folder, "loss")
    for fit in report.record.fits:
        drawn = [float(row["loss"]) for row in rows if row["line"] == fit.title]
        assert report.log[f"{fit.backend}_loss"].tolist() == drawn
    steps = {row["what"]: float(row["rate"]) for row in data_of(folder, "steps")}
    assert report.record.diagnosis is not None
    assert report.record.diagnosis.stable_below == steps["stable limit"]
    bars = [row["feature"] for row in data_of(folder, "bars")]
    assert sorted(report.record.dataset.features) == sorted(bars)


def test_no_cell_of_a_picture_is_a_formula() -> None:
    """Names get an apostrophe, numbers none."""
    written = table(["=a", "b"], [["=1+1", -1.5], ["x;@y", 2.0], ["fine", 3.0]])
    assert [["'=a", "b"], ["'=1+1", "-1.5"], ["x;'@y", "2.0"], ["fine", "3.0"]] == list(csv.reader(io.StringIO(written)))


def test_the_last_finite_loss_is_marked(reports: dict[str, Report]) -> None:
    """Where a run diverged, the caption names the epoch and the loss, and the picture has a cross there."""
    picture = next(picture for picture in reports["diverged"].pictures if picture.name == "loss")
    fit = reports["diverged"].record.fits[0]
    assert f"{number(fit.last_finite_loss)} at epoch {fit.last_finite_epoch} (NumPy)" in picture.caption
    assert "stroke: #b3261e; stroke-width: 2" in picture.svg


def test_a_step_on_the_wrong_gradient_stands_where_it_leads(reports: dict[str, Report]) -> None:
    """The notebook's NumPy walks five times as far as it was told."""
    picture = next(picture for picture in reports["disagree"].pictures if picture.name == "steps")
    assert re.search(r"as NumPy walks,0\.0(5|49999)", picture.data)
    assert "PyTorch walks" not in picture.data


def test_pictures_speak_the_words_of_a_user(tmp_path: Path, reports: dict[str, Report]) -> None:
    """Caption, alt text, axis and label of a drawing are those of the folder's words.toml, what it does not name stays ours."""
    report = reports["converged"]
    assert report.log is not None
    (tmp_path / "words.toml").write_text(
        "[figures]\nepoch = 'Epoche'\n[figures.loss]\nconverged = 'Der Verlust fällt.'\nalt = 'Verlust: {listed}; {optimum}'\n"
        "[figures.excess]\ntheory = 'Theorie'\n",
        encoding="utf-8",
    )
    with Look(templates=str(tmp_path)).applied() as used:
        pictures = {picture.name: picture for picture in draw(report.record, report.log)}
    assert [] == used.faults
    assert "Der Verlust fällt." == pictures["loss"].caption
    assert pictures["loss"].alt.startswith("Verlust: NumPy from ")
    assert ">Epoche<" in pictures["loss"].svg
    assert ">Theorie<" in pictures["excess"].svg
    assert "theory," in pictures["excess"].data  # the file beside it keeps its names


def test_captions_name_the_marks_that_are_drawn_whichever_backend_is_first(tmp_path: Path) -> None:
    """With PyTorch first it has the bars, NumPy beside them open circles; its lines are the dashed ones either way."""
    table = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(table, Training(backends=("torch", "numpy")), tmp_path, draw=False)
    captions = {picture.name: picture.caption for picture in read(folder).pictures}
    assert "bars PyTorch, open circles NumPy" in captions["bars"]
    assert "PyTorch dashed and NumPy solid" in captions["weights"]


def picture_of(folder: Path, maker: Callable[[Record, EpochLog], Picture]) -> Picture:
    """One picture of a run."""
    record, log = read_run(folder)
    assert log is not None
    with in_style():
        return maker(record, log)


def ticks(svg: str) -> list[str]:
    """What stands along the y axis of a drawing."""
    return re.findall(r'<g id="ytick_\d+">.*?<text[^>]*>([^<]*)</text>', svg, re.DOTALL)


def test_the_picture_of_rows_held_out_holds_its_numbers(crafts: dict[str, Path]) -> None:
    """Each backend's whole way and the loss trained on, every digit; in words where they begin and end, and the least one."""
    record, log = read_run(crafts["stopped"])
    assert log is not None
    rows, found = data_of(crafts["stopped"], "held"), picture_of(crafts["stopped"], held)
    for fit in record.fits:
        losses = log[f"{fit.backend}_validation_loss"]
        drawn = [float(row["validation_loss"]) for row in rows if row["line"] == fit.title]
        assert losses.tolist() == drawn
        assert f"{fit.title} from {number(float(losses[0]))} to {number(float(losses[-1]))}" in found.alt
    trained = [float(row["validation_loss"]) for row in rows if row["line"] == "trained on"]
    assert log["numpy_loss"].tolist() == trained
    best = int(np.argmin(log["numpy_validation_loss"]))
    least = number(float(log["numpy_validation_loss"].min()))
    assert found.alt.endswith(f" It is least, {least}, at epoch {best}.")
    assert found.caption.endswith(f"The circle marks epoch {best}, whose weights are kept.")
    other = picture_of(crafts["classes"], held)  # nothing is kept of a run without patience
    assert "circle" not in other.caption
    assert "It is least" not in other.alt


@pytest.mark.parametrize("craft", ["folded", "counts", "adaptive"])
def test_the_picture_of_a_schedule_holds_its_numbers(craft: str, crafts: dict[str, Path]) -> None:
    """Each epoch's learning rate, every digit; in words the first, the largest and the last, and how it goes."""
    (_, log), found = read_run(crafts[craft]), picture_of(crafts[craft], schedule)
    assert log is not None
    rates = log["learning_rate"]
    assert rates.tolist() == [float(row["learning_rate"]) for row in data_of(crafts[craft], "schedule")]
    first, most, last = (number(float(value)) for value in (rates[0], rates.max(), rates[-1]))
    assert found.alt == f"Learning rate by epoch: {first} at first, {most} at most, {last} in the last of {len(rates)} epochs."
    how = {
        "folded": "which falls by steps. It grows over the first 3 epochs.", "counts": "that the search found at each epoch.",
        "adaptive": "half a cosine: where it is small, steps that do not shrink by themselves come to rest.",
    }  # fmt: skip
    assert found.caption.endswith(how[craft])


def test_the_picture_of_folds_holds_its_numbers(crafts: dict[str, Path]) -> None:
    """The whole path with its errors, as in run.json; in words the best penalty, its loss, and the one trained with."""
    crossed, found = read_record(crafts["folded"]).cross_validation, picture_of(crafts["folded"], folds)
    assert crossed is not None
    drawn = [tuple(map(float, row.values())) for row in data_of(crafts["folded"], "folds")]
    assert [(one.penalty, one.loss, one.error) for one in crossed.path] == drawn
    best = next(one for one in crossed.path if one.penalty == crossed.best)
    assert f"{number(best.loss)} ± {number(best.error, 2)}, with the penalty {number(best.penalty)}" in found.alt
    assert f"; trained with {number(crossed.chosen)}." in found.alt
    assert "over 4 folds" in found.caption
    assert f"κ {number(crossed.chosen, 3)}" in found.svg
    assert "no penalty" in found.svg


@pytest.mark.parametrize(
    ("settings", "logarithmic"),
    [
        ({"optimizer": "adam", "epochs": 40}, False),  # half a cosine is a cosine on a plain axis
        ({"schedule": "exponential", "schedule_factor": 0.5, "epochs": 40}, False),
        ({"schedule": "exponential", "epochs": 40}, True),
        ({"schedule": "step", "schedule_factor": 1e-12, "epochs": 30}, False),  # less than a millionth is nothing
        ({"learning_rate": "search"}, False),  # NumPy's rates are a factor of 8 apart
        ({"learning_rate": "search", "loss": "poisson"}, True),  # and these one of 16
        ({"warm_up": 20, "epochs": 30}, False),
    ],
)
def test_rates_have_the_axis_that_they_need(settings: dict[str, Any], logarithmic: bool, tmp_path: Path) -> None:
    """A log axis of powers of ten where they go by factors and span a decade, else a plain one that begins at 0."""
    table = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(table, Training(**settings), tmp_path, draw=False)
    shown, rates = ticks(picture_of(folder, schedule).svg), read_run(folder)[1]
    assert rates is not None
    assert logarithmic == ("0" not in shown)
    if not logarithmic:
        assert (
            max(float(text.replace(",", "")) for text in shown) <= 1.08 * rates["learning_rate"].max()
        )  # and ends where they do


def test_losses_held_out_have_the_axis_that_they_need(crafts: dict[str, Path]) -> None:
    """A log axis over decades, a linear one where a log loss hardly falls."""
    assert {"10⁶", "10⁷"} <= set(ticks(picture_of(crafts["stopped"], held).svg))
    linear = [float(text) for text in ticks(picture_of(crafts["classes"], held).svg)]
    assert len(linear) > 2
    np.testing.assert_allclose(np.diff(linear), linear[1] - linear[0], rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"validation": "0.25", "patience": 1}, {"schedule": "cosine"}, {"warm_up": 5}, {"folds": 2},
        {"learning_rate": "search"}, {"batch_size": 16, "backends": ("numpy",)},
    ],
    ids=str,
)  # fmt: skip
def test_one_epoch_is_drawn(settings: dict[str, Any], tmp_path: Path) -> None:
    """A single point is a picture too, and its words have numbers."""
    table = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(table, Training(epochs=1, **settings), tmp_path, draw=False)
    report = read(folder)
    assert report.log is not None
    assert 1 == len(report.log)
    names = {picture.name for picture in report.pictures}
    expected = "held" if "validation" in settings else "folds" if "folds" in settings else "schedule"
    assert expected in names
    for picture in report.pictures:
        assert not re.search(r"not a number|\bnan\b|—", picture.alt + picture.caption), picture.name
    if "warm_up" in settings:
        grows = next(picture for picture in report.pictures if picture.name == "schedule")
        assert grows.caption.endswith("It grows over the first 5 epochs.")


@pytest.mark.parametrize("spike", [0, 4321, 8999])
def test_a_spike_of_one_epoch_is_drawn_held_out_and_in_the_rates(spike: int, crafts: dict[str, Path]) -> None:
    """Of nine thousand epochs about two thousand points are drawn, the highest and the lowest among them."""
    record = read_record(crafts["classes"])
    epochs, smooth = np.arange(9000), 1 + np.exp(-np.arange(9000) / 700)
    up, down = smooth.copy(), smooth.copy()
    up[spike], down[spike] = 9.0, 0.25
    columns: dict[str, Array] = {"epoch": epochs, "learning_rate": up}
    for backend, held_out in (("numpy", up), ("torch", down)):
        columns |= {f"{backend}_loss": smooth, f"{backend}_validation_loss": held_out}
    log = EpochLog(columns)
    with in_style():
        drawn = [held(record, log), schedule(record, log)]
    rows = [list(csv.DictReader(picture.data.splitlines())) for picture in drawn]
    for points, line, column, value in (
        (rows[0], "NumPy", "validation_loss", 9.0), (rows[0], "PyTorch", "validation_loss", 0.25),
        (rows[1], "learning rate", "learning_rate", 9.0),
    ):  # fmt: skip
        of_line = [row for row in points if row["line"] == line]
        assert [str(spike)] == [row["epoch"] for row in of_line if float(row[column]) == value]
        assert len(of_line) <= 2 * POINTS + 2
    assert "9 at most" in drawn[1].alt


def test_without_an_optimum_none_is_drawn(tmp_path: Path) -> None:
    """No loss above it, no dotted line at its weights, no way to it and no stable limit; the words say that there is none."""
    X: Array = np.random.default_rng(1).normal(size=(60, 2))
    path = write_csv(tmp_path / "a.csv", X, (X[:, 0] + X[:, 1] > 0).astype(float))
    source, trained = Source(path=str(path), target="y"), Training(loss="logistic", epochs=50)
    folder = run_tasks(source, trained, tmp_path, draw=False)
    found = {picture.name: picture for picture in read(folder).pictures}
    assert set() == {"excess", "path", "steps"} & set(found)
    assert {"loss", "weights", "gradient", "gap", "bars"} <= set(found)
    assert "optimum" not in found["weights"].data + found["weights"].alt
    assert found["weights"].caption.endswith("They grow without end. The intercept is left out.")
    assert found["loss"].alt.endswith("There is no optimum.")
    penalised = run_tasks(source, trained.model_copy(update={"l2": 0.01}), tmp_path, "held", draw=False)
    assert "x0, optimum" in picture_of(penalised, weights).data


@pytest.mark.parametrize(
    ("settings", "far", "said"),
    [
        ({"standardize": False}, 1e8, "falls until the gradient is flat, above that of the optimum."),
        (
            {"loss": "poisson", "learning_rate": 2.0, "epochs": 200},
            0.0,
            "Near the optimum the steps are too long to come to rest.",
        ),
    ],
)
def test_captions_of_the_loss_are_of_how_it_ended(settings: dict[str, Any], far: float, said: str, tmp_path: Path) -> None:
    """A gradient that is flat far from the optimum, and steps that lead past it and back for ever, fall to nothing."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(100, 1))
    y = rng.poisson(np.exp(0.5 * x[:, 0])).astype(float) if "loss" in settings else far + 7 * x[:, 0] + rng.normal(size=100)
    path = write_csv(tmp_path / "t.csv", far + x, y)
    record, log = read_run(run_tasks(Source(path=str(path), target="y"), Training(**settings), tmp_path, draw=False))
    assert log is not None
    assert loss_words(record, log)[0].endswith(said)


def test_numbers_beside_bars_have_room(tmp_path: Path) -> None:
    """Powers of ten are longer than other numbers: none is cut off at the edge of the picture."""
    rng = np.random.default_rng(1)
    X: Array = rng.normal(size=(40, 2))
    path = write_csv(tmp_path / "huge.csv", X, -1e12 * X[:, 0] + 1e-3 * X[:, 1])
    record, log = read_run(run_tasks(Source(path=str(path), target="y"), Training(epochs=50), tmp_path, draw=False))
    assert log is not None
    with in_style():
        svg = bars(record, log).svg
    width = float(re.findall(r'<svg[^>]* viewBox="0 0 ([\d.]+) ', svg)[0])
    texts = re.findall(r'<text[^>]*text-anchor: start[^>]* x="([\d.]+)"[^>]*>([^<]*10[^<]*)', svg)
    ends = [float(x) + 5.2 * len(text) for x, text in texts]  # digits of 9 pixels are 5.2 wide
    assert texts
    assert max(ends) < width
