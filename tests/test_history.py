"""What became of a data set over its runs, from the run.json files alone."""

from __future__ import annotations

import json
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pydantic import JsonValue
from scipy.stats import t

from gd import archive, history
from gd.changes import Difference, changes, differences, since
from gd.cli import main
from gd.data import Array, Source, bundled
from gd.dialect import Format
from gd.history import History, Line
from gd.phrases import FOLDER
from gd.record import Findings, Record, Settings
from gd.settings import Training
from tests.conftest import run_tasks

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)
NAMES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A real run, of which others are made."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g", features=NAMES)
    made = archive.read_record(run_tasks(source, Training(), tmp_path_factory.mktemp("base"), "sales", draw=False))
    return made.model_copy(update={"inference": None})  # the weights are made up, and no standard errors go with them


def scattered(seed: int, runs: int = 500) -> Array:
    """Weights and intercept, the latter last, that scatter as those of new rows each night do, (runs, 4)."""
    rng = np.random.default_rng(seed)
    return np.array([3.0, 20.0, 50.0, -6000.0]) + rng.normal(size=(runs, 4)) * [0.5, 2.0, 1.0, 80.0]


def run_id(number: int) -> str:
    """Of the nightly run of a day."""
    return f"{FIRST + timedelta(days=number):%Y-%m-%dT%H-%M-%SZ}-{number:08x}"


def record(base: Record, number: int, weights: Sequence[float], **changed: object) -> Record:
    """A run of a night; its data are its own."""
    begun = FIRST + timedelta(days=number)
    named = dict(zip(base.dataset.features, map(float, weights[:-1]), strict=True))
    fits = tuple(
        fit.model_copy(update={"weights": named, "intercept": float(weights[-1]), "loss": 1e5 + 1e3 * number})
        for fit in base.fits
    )
    fields = {
        "run": base.run.model_copy(
            update={"id": run_id(number), "started": begun, "finished": begun + timedelta(seconds=7)}
        ),
        "dataset": base.dataset.model_copy(update={"sha256": f"{number:064x}"}),
        "fits": fits,
    }  # fmt: skip
    return base.model_copy(update=fields | changed)


def lay_down(folder: Path, *records: Record) -> None:
    """Write runs as a program would find them."""
    for one in records:
        (folder / one.run.id).mkdir(parents=True)
        archive.write_record(folder / one.run.id, one, None)


def lines(base: Line, weights: Array) -> list[Line]:
    """Runs that were never written, oldest first."""
    names = list(base.fits[0].weights)
    made = []
    for number, row in enumerate(weights.tolist()):
        fit = base.fits[0].model_copy(update={"weights": dict(zip(names, row[:-1], strict=True)), "intercept": row[-1]})
        made.append(replace(base, id=run_id(number), sha256=str(number), fits=(fit,)))
    return made


def test_a_planted_drift_is_found_at_its_run(base: Record, tmp_path: Path) -> None:
    """500 runs, of which one weight is 15 standard deviations higher from one on: that one is marked, and no other."""
    weights = scattered(1)
    weights[300:, 2] += 15.0
    lay_down(tmp_path / "sales", *(record(base, number, row) for number, row in enumerate(weights.tolist())))
    found = history.read(tmp_path / "sales")
    assert 500 == len(found.lines)
    assert [(run_id(300), ("flipper_length_mm",))] == [(one.id, one.drifted) for one in found.drifts]
    archive.write_index(tmp_path)
    page = (tmp_path / "sales" / "index.html").read_text(encoding="utf-8")
    assert 1 == page.count('<circle class="mark"')
    assert "A weight drifted in 1 of the last 500 runs, last on 28 Oct 2025, 02:00:00 UTC: flipper_length_mm." in page
    assert f'<a href="{run_id(300)}/report.html">28 Oct 2025, 02:00:00 UTC</a></th><td>flipper_length_mm</td>' in page


@pytest.mark.slow
def test_nothing_is_flagged_where_nothing_drifted(base: Record) -> None:
    """In 95 of 100 histories of 500 runs whose weights only scatter; expected are 99."""
    one = history.line(Path("x"), base)
    flagged = [seed for seed in range(100) if any(run.drifted for run in history.judged(lines(one, scattered(seed))))]
    assert len(flagged) <= 5


def test_the_interval_is_that_of_student(base: Record) -> None:
    """Against scipy's own distribution: mean ± t s √(1 + 1/n), its error shared by four weights and two sides."""
    weights = scattered(3, 11)
    *_, last = history.judged(lines(history.line(Path("x"), base), weights))
    ten = weights[:10, 2]
    half = t.ppf(1 - 2e-5 / 8, 9) * ten.std(ddof=1) * np.sqrt(1.1)
    assert last.expected["flipper_length_mm"] == pytest.approx((ten.mean() - half, ten.mean() + half), rel=1e-12)
    assert {*NAMES, None} == set(last.expected)


def test_standard_errors_widen_an_interval(base: Record) -> None:
    """Ten runs that happen to lie close to each other accuse nobody of what drawing other rows explains."""
    weights = scattered(3, 11)
    weights[:10, 2] = 50 + 1e-3 * np.arange(10)
    weights[10, 2] = 51
    made = lines(history.line(Path("x"), base), weights)
    assert ("flipper_length_mm",) == [*history.judged(made)][-1].drifted
    known = [replace(one, errors=dict.fromkeys([*NAMES, None], 1.0)) for one in made]
    assert () == [*history.judged(known)][-1].drifted
    terms = [{"feature": name, "error": 1.0, "weight": 0.0} for name in [*NAMES, None]]
    for arrived in (True, False):
        text = json.loads(base.to_json()) | {"inference": {"arrived": arrived, "terms": terms, "level": 0.95}}
        assert (4 if arrived else 0) == len(history._line(Path("x"), json.dumps(text).encode()).errors)


def test_unchanged_data_are_no_evidence(base: Record) -> None:
    """Nine more runs over the same file neither narrow the interval nor are held against it."""
    weights = np.repeat(scattered(4, 8), 10, axis=0)
    made = [replace(one, sha256=str(number // 10)) for number, one in enumerate(lines(history.line(Path("x"), base), weights))]
    found = [*history.judged(made)]
    assert [50, 60, 70] == [number for number, one in enumerate(found) if one.expected]
    assert not any(one.drifted for one in found)


def test_a_spread_of_zero_is_no_drift(base: Record) -> None:
    """Rows on a line give the same weights up to rounding; a real change of one that never moved is found."""
    rng = np.random.default_rng(6)
    weights = np.tile([3.0, 0.0, 50.0, -6000.0], (30, 1)) * (1 + 1e-13 * rng.normal(size=(30, 4)))
    weights[:, 1] = 1e-12 * rng.normal(size=30)
    made = lines(history.line(Path("x"), base), weights)
    assert not any(one.drifted for one in history.judged(made))
    weights[20:, 0] = 3.1
    found = [*history.judged(lines(history.line(Path("x"), base), weights))]
    assert [(20, (NAMES[0],))] == [(number, one.drifted) for number, one in enumerate(found) if one.drifted]


@pytest.mark.parametrize("what", ["settings", "verdict"])
def test_only_runs_of_their_kind_are_held_against_each_other(what: str, base: Record) -> None:
    """Other settings or features start anew; what diverged or is doubtful is no evidence."""
    weights = scattered(5, 20)
    weights[10:] *= 3
    made = lines(history.line(Path("x"), base), weights)
    other = {"settings": ("other",)} if what == "settings" else {"verdict": "disagree"}
    found = [*history.judged([*made[:10], *(replace(one, **other) for one in made[10:])])]
    assert not any(one.drifted for one in found)
    assert not found[10].expected


@pytest.mark.parametrize(
    ("settings", "apart"),
    [
        ({"loss": "huber", "delta": 2.0, "delta_setting": "fixed"}, True), ({"l2": 0.5}, True), ({"l1": 0.5}, True),
        ({"precondition": "whiten"}, True), ({"optimizer": "adamw", "weight_decay": 0.1}, True), ({"batch_size": 8}, True),
        ({"decay": 0.3, "decay_setting": "fixed"}, True), ({"schedule": "cosine"}, True), ({"validation": "0.2"}, True),
        ({"l2": 0.5, "l2_setting": "auto"}, True), ({"decay": 0.3}, False), ({"delta": 2.0}, False),
        ({"found_by": "sweep"}, False),
    ],
)  # fmt: skip
def test_weights_of_another_loss_are_no_drift(
    settings: dict[str, object], apart: bool, base: Record, tmp_path: Path
) -> None:  # fmt: skip
    """Loss, penalties and whatever else was asked for are settings, what was found from the data is none; in one folder."""
    weights = scattered(5, 16)
    weights[10:, 2] += 30.0  # as far as a penalty may draw it
    other = base.training.model_copy(update=settings)
    nights = [
        record(base, number, row, **({"training": other} if number >= 10 else {}))
        for number, row in enumerate(weights.tolist())
    ]
    lay_down(tmp_path / "sales", *nights)
    drifts = history.read(tmp_path / "sales").drifts
    assert ([] if apart else [run_id(10)]) == [one.id for one in drifts]


def test_auto_penalties_of_two_nights_are_one_setting(base: Record) -> None:
    """What cross-validation chose changes with the data, and is no other setting; a fixed one is."""
    found = [
        history.line(Path("x"), base.model_copy(update={"training": base.training.model_copy(update=settings)})).settings
        for settings in ({"l2": 0.1, "l2_setting": "auto"}, {"l2": 0.2, "l2_setting": "auto"}, {"l2": 0.1}, {"l2": 0.2})
    ]
    assert (True, False, False) == (found[0] == found[1], found[2] == found[3], found[0] == found[2])


def test_a_record_of_before_has_the_settings_of_plain_descent(base: Record) -> None:
    """Without a word of penalties or schedules a run of an earlier version is held against one that has none."""
    text = json.loads(base.to_json())
    known = {"loss", "optimizer", "learning_rate", "learning_rate_setting", "epochs", "tolerance", "stops_early", "dtype",
             "intercept", "standardize", "method_setting", "backends", "preset", "scale"}  # fmt: skip
    old = text | {"training": {name: value for name, value in text["training"].items() if name in known}}
    lines_ = [history._line(Path("x"), json.dumps(one).encode()) for one in (text, old)]
    assert lines_[0].settings == lines_[1].settings


def test_a_run_knows_what_was_before_it(tmp_path: Path) -> None:
    """The second run keeps the first in its run.json, and its report says what has changed; drawn again, the same."""
    table = tmp_path / "sales.csv"
    text = bundled("penguins").read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(text), encoding="utf-8")
    source = Source(path=str(table), target="body_mass_g")
    first = run_tasks(source, Training(), tmp_path / "reports", "sales")
    assert archive.read_record(first).previous is None
    assert 'id="changes"' not in (first / "report.html").read_text(encoding="utf-8")
    time.sleep(1.0 - time.time() % 1)  # a run's name holds the second
    table.write_text("\n".join(text[:-40]), encoding="utf-8")
    second = run_tasks(source, Training(learning_rate=0.2), tmp_path / "reports", "sales")
    found = archive.read_record(second)
    assert found.previous is not None
    assert first.name == found.previous.id
    assert archive.read_record(first).fits[0].weights == found.previous.weights
    page = (second / "report.html").read_text(encoding="utf-8")
    assert "The data have changed since" in page
    assert "how the learning rate was chosen" in page
    assert "learning rate setting" not in page
    assert "rows used" in page
    shutil.rmtree(first)
    archive.write_report(second)
    assert page == (second / "report.html").read_text(encoding="utf-8")


def test_a_failed_run_in_between_is_said(base: Record, tmp_path: Path) -> None:
    """The comparison is with the last run that has a result."""
    broken = record(base, 1, [0.0] * 4, fits=(), comparison=None, diagnosis=None, verdict="failed")
    lay_down(tmp_path / "sales", record(base, 0, [1.0, 2.0, 3.0, 4.0]), broken)
    now = record(base, 2, [1.0, 2.0, 4.0, 4.0])
    kept = since(tmp_path / "sales" / now.run.id, now)
    assert kept is not None
    assert (run_id(0), 1) == (kept.id, kept.failed_since)
    told = changes(now.model_copy(update={"previous": kept}))
    assert told is not None
    assert told.sentence == (
        "The last run with a result, of 01 Jan 2025, 02:00:00 UTC, converged; 1 since then had none. "
        "The data have changed since."
    )
    assert [("loss", 100000.0, 102000.0), ("flipper_length_mm", 3.0, 4.0)] == [
        (one.name, one.before, one.now) for one in told.differences
    ]


def test_damaged_runs_are_passed_over_and_counted(base: Record, tmp_path: Path) -> None:
    """Cut off, empty, of another schema, or no JSON at all: the others are listed, and the page says how many are not."""
    lay_down(tmp_path / "sales", *(record(base, number, [1.0, 2.0, 3.0, 4.0]) for number in range(6)))
    files = [tmp_path / "sales" / run_id(number) / "run.json" for number in range(6)]
    files[5].write_bytes(files[5].read_bytes()[:200])
    files[3].write_bytes(b"")
    files[2].write_text('{"schema": 2}', encoding="utf-8")
    (tmp_path / "sales" / "notes").mkdir()
    found = history.read(tmp_path / "sales")
    assert [run_id(4), run_id(1), run_id(0)] == [one.id for one in found.lines]
    assert (run_id(5), run_id(3), run_id(2)) == found.unread
    archive.write_index(tmp_path)
    page = (tmp_path / "sales" / "index.html").read_text(encoding="utf-8")
    assert "3 runs are passed over: run.json cannot be read." in page


@pytest.mark.slow
def test_ten_thousand_runs_fit_in_two_megabytes(
    base: Record, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Of one data set, and of as many data sets; what the newest run came to is there all the same."""
    text = record(base, 0, [3.0, 20.0, 50.0, -6000.0]).to_json()
    for number in range(10_000):
        folder = tmp_path / "one" / "sales" / run_id(number)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(text.replace(run_id(0), run_id(number)), encoding="utf-8")
    started = time.perf_counter()
    archive.write_index(tmp_path / "one", ["sales"])
    spent = time.perf_counter() - started
    for number in range(3_000):
        folder = tmp_path / "many" / f"data-set-{number:05}" / run_id(number)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(text.replace(run_id(0), run_id(number)), encoding="utf-8")
    archive.write_index(tmp_path / "many", ["data-set-00001"])
    one, page, many = ((tmp_path / name).read_bytes() for name in ("one/index.html", "one/sales/index.html", "many/index.html"))
    sizes = ", ".join(f"{len(found) / 1e6:.2f} MB" for found in (one, page, many))
    record_property("printed", f"10,000 runs: index and page written in {spent:.2f} s, {sizes}")
    assert b"10,000 runs of 1 data set" in one
    assert b"9,500 earlier runs" in page
    assert b"data-set-02999" in many
    assert b"data-set-00000" in many
    assert max(map(len, (one, page, many))) < 2_000_000


def test_the_index_has_a_row_for_each_data_set(base: Record, tmp_path: Path) -> None:
    """With the last verdict, the losses as a line that says what it shows, and the next run where a schedule has said it."""
    lay_down(tmp_path / "sales", *(record(base, number, [1.0, 2.0, 3.0, 4.0]) for number in range(8)))
    lay_down(tmp_path / "costs", record(base, 3, [1.0, 2.0, 3.0, 4.0], verdict="diverged"))
    moment = datetime(2031, 1, 2, 3, tzinfo=UTC)
    page = archive.write_index(tmp_path, upcoming={"sales": moment}).read_text(encoding="utf-8")
    assert 2 == page.count("/report.html")
    assert f'href="sales/{run_id(7)}/report.html"' in page
    assert "Loss of the last 8 runs: from 100,000 to 107,000, lowest 100,000, highest 107,000" in page
    assert "next: 02 Jan 2031, 03:00:00 UTC" in page
    assert page == archive.write_index(tmp_path, ["costs"]).read_text(encoding="utf-8")  # a run by hand knows of no schedule
    assert "02 Jan 2031" not in archive.write_index(tmp_path, [], {"sales": None}).read_text(encoding="utf-8")
    drawing = page[page.index('<svg class="spark"') : page.index("</svg>") + 6]
    assert "svg" == ElementTree.fromstring(drawing).tag  # noqa: S314  (our own)


def kept(reports: Path, keep: int | str, now: datetime, spared: Sequence[Path] = ()) -> list[int]:
    """Which nights are left."""
    archive.prune(reports, ["sales"], keep, now, spared)
    return sorted(int(path.name[-8:], 16) for path in (reports / "sales").iterdir() if path.is_dir())


def nights(base: Record, reports: Path, verdicts: str) -> None:
    """A run a night: c converged, e exhausted, d diverged, x with backends that disagree."""
    words = {"c": "converged", "e": "exhausted", "d": "diverged", "x": "disagree"}
    made = [record(base, number, [1.0, 2.0, 3.0, 4.0], verdict=words[letter]) for number, letter in enumerate(verdicts)]
    lay_down(reports / "sales", *made)


@pytest.mark.parametrize(
    ("verdicts", "keep", "left"),
    [
        ("cccccc", 2, [4, 5]),
        ("cccccc", "2d", [4, 5]),  # the last began 1.5 days ago
        ("cccccc", 6, [0, 1, 2, 3, 4, 5]),
        ("ccdxdd", 2, [1, 4, 5]),  # the newest good one
        ("cceddd", 1, [2, 5]),
        ("dddddd", 1, [5]),
        ("ccdddd", "1d", [1, 5]),  # all are older than a day: the last one stays, and the last good one
    ],
)
def test_what_is_kept(verdicts: str, keep: int | str, left: list[int], base: Record, tmp_path: Path) -> None:
    """So many runs, or those of so many days; the newest run and the newest good one always."""
    nights(base, tmp_path, verdicts)
    now = FIRST + timedelta(days=5.9 if verdicts == "cccccc" else 6.5)
    assert left == kept(tmp_path, keep, now)
    page = tmp_path / "sales" / "index.html"
    if page.exists():
        listed = page.read_text(encoding="utf-8")
        assert left == [number for number in range(6) if f'"{run_id(number)}/report.html"' in listed]
    assert [] == [*(tmp_path / "sales").glob(".*")]


def test_nothing_that_is_needed_or_foreign_is_deleted(base: Record, tmp_path: Path) -> None:
    """A run that mail is owed of, one that is being made, and a folder that is no run."""
    nights(base, tmp_path, "cccccc")
    (tmp_path / "sales" / "archive of 2019").mkdir()
    draft = archive.begin(tmp_path, "sales", run_id(9))
    archive.prune(tmp_path, ["sales"], 1, FIRST + timedelta(days=9), [tmp_path / "sales" / run_id(2)])
    left = sorted(path.name for path in (tmp_path / "sales").iterdir() if path.is_dir())
    assert sorted([draft.path.name, run_id(2), run_id(5), "archive of 2019"]) == left


def test_a_kill_while_deleting_leaves_nothing_half_listed(
    base: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two renames: no page leads to a run that is gone, and the next time finishes it."""
    nights(base, tmp_path, "cccccc")
    archive.write_index(tmp_path)
    real, calls = Path.rename, [0]

    def fatal(path: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", fatal)
    with pytest.raises(KeyboardInterrupt):
        archive.prune(tmp_path, ["sales"], 1, FIRST + timedelta(days=9))
    monkeypatch.undo()
    listed = (tmp_path / "sales" / "index.html").read_text(encoding="utf-8")
    linked = [number for number in range(6) if f'"{run_id(number)}/report.html"' in listed]
    assert all((tmp_path / "sales" / run_id(number) / "run.json").is_file() for number in linked)
    assert 2 == len([*(tmp_path / "sales").glob(".deleted-*")])
    assert [5] == kept(tmp_path, 1, FIRST + timedelta(days=9))
    assert [] == [*(tmp_path / "sales").glob(".*")]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """Exit status and both streams of the command."""
    with pytest.raises(SystemExit) as caught:
        main([*words])
    streams = capsys.readouterr()
    return caught.value.code, streams.out, streams.err


def test_compare_shows_only_what_differs(base: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings, data, weights with their relative change; what two runs share is not there."""
    first = record(base, 0, [1.0, 2.0, 3.0, 4.0])
    settings = base.training.model_copy(update={"epochs": 5})
    second = record(base, 1, [1.0, 2.0, 4.5, 4.0], training=settings, verdict="exhausted")
    lay_down(tmp_path / "sales", first, second)
    page = tmp_path / "two.html"
    code, said, _ = told(capsys, "compare", run_id(0), str(tmp_path / "sales" / run_id(1)), "--reports", str(tmp_path),
                         "--html", str(page))  # fmt: skip
    assert 0 == code
    assert "flipper_length_mm: 3 -> 4.5  (+50 %)" in said
    assert "verdict: converged -> exhausted" in said
    assert "bill_depth_mm" not in said
    assert "condition" not in said
    code, said, _ = told(capsys, "compare", run_id(0), run_id(1), "--reports", str(tmp_path), "--json")
    found = json.loads(said)["differences"]
    assert {"verdict", "loss", "loss, PyTorch", "flipper_length_mm", "SHA-256", "epochs"} == {one["name"] for one in found}
    assert [0.5] == [one["relative_change"] for one in found if one["name"] == "flipper_length_mm"]
    assert "bill_depth_mm" not in page.read_text(encoding="utf-8")
    assert "+50" in page.read_text(encoding="utf-8")
    assert '<h2><a href="#weights">Weights</a></h2>' in page.read_text(encoding="utf-8")
    _, said, _ = told(capsys, "compare", run_id(0), run_id(0), "--reports", str(tmp_path))
    assert "They differ in nothing but when they were." in said


@pytest.mark.parametrize("craft", ["folded", "stopped", "classes", "counts", "robust", "sparse", "adaptive"])
def test_every_difference_to_another_loss_is_in_words(
    craft: str, crafts: dict[str, Path], cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of words.toml, and values without a word of Python's: no None, True, brackets or quotes; on page and terminal."""
    first, second = archive.read_record(cases["converged"]), archive.read_record(crafts[craft])
    found = differences(first, second)
    named = tomllib.loads((FOLDER / "words.toml").read_text(encoding="utf-8"))["changes"]["names"]
    for one in found:
        name, _, _ = one.name.partition(", ")
        assert one.section in {"weights", "program"} or name == "format" or name in named[one.section], one
        for text in one.texts:
            assert not re.search(r"\b(None|True|False|nan|inf)\b|[\[\]{}]|^\(\)$|\de[+-]\d", text), (one.title, text)
    titles = {one.title for one in found}
    expected = {
        "folded": "how the L2 penalty was chosen", "stopped": "epoch of the weights kept",
        "classes": "D², share of the loss saved",
        "counts": "how the learning rate was chosen", "robust": "residual at which Huber’s loss turns linear",
        "sparse": "L1 penalty", "adaptive": "weight decay",
    }[craft]  # fmt: skip
    assert (expected in titles) == (craft != "robust")  # whose delta was found from the data
    page = tmp_path / "two.html"
    code, said, _ = told(capsys, "compare", str(cases["converged"]), str(crafts[craft]), "--html", str(page))
    assert 0 == code
    assert not re.search(r"\b(None|True|False)\b|\[", said)
    assert not re.search(r">[^<]*\b(None|True|False)\b", page.read_text(encoding="utf-8").partition("<main")[2])


def test_directions_are_numbers_in_parentheses() -> None:
    """Rows of rows, each number with the digits that tell it from its counterpart; nothing at all is none."""
    one = Difference("diagnosis", "principal", [[0.5, -0.25], [1.0, 0.0]], [[0.5000001, -0.25], [1.0, 0.0]])
    assert ("(0.5, −0.25), (1, 0)", "(0.5000001, −0.25), (1, 0)", "") == one.texts
    assert ("none", "a, b", "") == Difference("data", "features", [], ["a", "b"]).texts
    assert ("0.0012, 4.064", "—", "") == Difference("diagnosis", "curvature", (0.0012, 4.0641234), None).texts


@pytest.mark.parametrize(("section", "name", "title"), [
    ("settings", "keep weights", "weights kept of every so many epochs"),
    ("settings", "loss", "loss to be minimised"),
    ("settings", "something new", "something new"),
    ("result", "loss, PyTorch", "loss, PyTorch"),
    ("diagnosis", "stable below", "learning rate stable below"),
    ("diagnosis", "optimum, loss", "weight at the optimum, loss"),
    ("diagnosis", "newly, found", "newly, found"),
    ("data", "format, line_ends", "lines ending in"),
    ("data", "format, newer_yet", "format, newer yet"),
    ("weights", "keep weights", "weight of keep weights"),
    ("program", "numpy", "numpy"),
])  # fmt: skip
def test_a_difference_has_a_name_for_people(section: str, name: str, title: str) -> None:
    """By its section, since a loss is a number of the result and a choice among the settings; else it is its own name."""
    assert title == Difference(section, name, None, None).title


def test_everything_that_can_differ_has_a_name() -> None:
    """Every setting, every fact of the format and of the diagnosis: a new field of run.json wants words too."""
    names = tomllib.loads((FOLDER / "words.toml").read_text(encoding="utf-8"))["changes"]["names"]
    settings, found = ({name.replace("_", " ") for name in kind.model_fields} for kind in (Settings, Findings))
    assert settings - {"shift", "scale", "found by", "devices"} == set(names["settings"])
    assert found - {"eigenvalues", "hessian", "reasons"} == set(names["diagnosis"]) - {"backends agree", "first epoch apart"}
    assert set(Format.model_fields) == set(names["format"])


def test_differences_are_in_the_order_of_the_report(base: Record, tmp_path: Path) -> None:
    """Wherever the run before held them, and what this version has no words for at the end."""
    now = record(base, 1, [1.0, 2.0, 3.0, 4.0])
    lay_down(tmp_path / "sales", record(base, 0, [1.0, 2.0, 3.0, 4.0]))
    kept = since(tmp_path / "sales" / now.run.id, now)
    assert kept is not None
    old: dict[str, JsonValue] = {"of old": 1, "stops early": True, "dtype": "float32", "epochs": 3, "optimizer": "none"}
    told = changes(now.model_copy(update={"previous": kept.model_copy(update={"settings": kept.settings | old, "epochs": 1})}))
    assert told is not None
    names = [one.name for one in told.differences]
    assert ["epochs", "loss"] == names[:2]
    assert ["optimizer", "epochs", "dtype", "of old"] == [one.name for one in told.differences if one.section == "settings"]


def test_history_on_the_command_line(base: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a run, the newest first; the drift is named; JSON holds the same numbers."""
    weights = scattered(9, 20)
    weights[15:, 0] += 30
    lay_down(tmp_path / "sales", *(record(base, number, row) for number, row in enumerate(weights.tolist())))
    code, said, _ = told(capsys, "history", "sales", "--reports", str(tmp_path))
    assert 0 == code
    *runs, last = said.splitlines()
    assert [run_id(number) for number in reversed(range(20))] == [line.split()[0] for line in runs]
    assert [run_id(15)] == [line.split()[0] for line in runs if "(drifted)" in line]
    assert "20 runs; a weight drifted in 1." == last
    _, said, _ = told(capsys, "history", "sales", "--reports", str(tmp_path), "--json")
    found = [json.loads(line) for line in said.splitlines()]
    assert [["bill_length_mm"]] == [one["drifted"] for one in found if one["drifted"]]
    assert weights[19, 2] == found[0]["fits"][0]["weights"]["flipper_length_mm"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["history", "sale"], 1, "did you mean sales?"),
        (["history", "../x"], 1, "no data set"),
        (["compare", "nothing", "nothing"], 1, "nothing: no run."),
        (["compare", "one"], 2, "name two runs, not 1."),
        (["run", "x.csv", "--target", "y", "--keep", "soon"], 2, "--keep: 'soon' is neither a number of runs"),
        (["run", "x.csv", "--target", "y", "--keep", "0"], 2, "--keep: '0' is neither"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], code: int, why: str, base: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, with the remedy."""
    lay_down(tmp_path / "sales", record(base, 0, [1.0, 2.0, 3.0, 4.0]))
    status, _, said = told(capsys, *words, "--reports", str(tmp_path))
    assert code == status
    assert why in said


def test_names_on_a_terminal(base: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is invisible in a name is written out, and a verdict's page obeys none."""
    odd = "\x1b[31m<b>"
    one = record(base, 0, [1.0, 2.0, 3.0, 4.0])
    fits = tuple(fit.model_copy(update={"weights": {odd: 1.0}}) for fit in one.fits)
    data = one.dataset.model_copy(update={"features": (odd,), "name": odd})
    records = [
        one.model_copy(update={"fits": fits, "dataset": data}),
        record(base, 1, [1.0, 2.0, 3.0, 4.0]),
    ]
    lay_down(tmp_path / "sales", *records)
    for words in (["history", "sales"], ["compare", run_id(0), run_id(1)]):
        code, said, _ = told(capsys, *words, "--reports", str(tmp_path))
        assert 0 == code
        assert "\x1b" not in said
        assert "\\x1b[31m<b>" in said
    archive.write_index(tmp_path)
    for page in (tmp_path / "index.html", tmp_path / "sales" / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "<b>" not in text


def test_an_empty_history(tmp_path: Path) -> None:
    """A folder without a run is none."""
    (tmp_path / "sales").mkdir()
    assert History("sales", ()) == history.read(tmp_path / "sales")
