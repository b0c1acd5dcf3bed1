"""The benchmark itself: that it measures what it says, never how long it took."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from gd import archive, backends
from gd.problems import design, least_squares
from tests.benchmarks import __main__ as bench
from tests.benchmarks import (
    drawing,
    epochs,
    launcher,
    mails,
    optimizers,
    passes,
    peer,
    peers,
    reader,
    readers,
    scale,
    tables,
    validation,
    whole,
    workers,
)

pytestmark = pytest.mark.slow

SIZES = [(50, 1), (50, 2)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 2,000 rows and 3 features."""
    return tables.write(tmp_path_factory.mktemp("tables"), 2000, 3)


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("backend", epochs.BACKENDS)
def test_both_loops_end_at_the_same_weights(backend: str, n: int, d: int) -> None:
    """The loops that are timed side by side do the same work."""
    X, y = epochs.plane(n, d)
    expected = epochs.notebook_loop(backend, X, y)(3)
    actual = epochs.gd_loop(backend, X, y)(3)
    assert (d,) == expected.shape == actual.shape
    assert np.allclose(expected, actual, rtol=1e-9, atol=0)


def test_every_size_has_a_row_for_each_backend() -> None:
    """A row names its size and backend, and its times are positive."""
    rows = list(epochs.measure(SIZES, rounds=1, epochs=3))
    assert [(n, d, backend, 3) for n, d in SIZES for backend in epochs.BACKENDS] == [row[:4] for row in rows]
    assert all(row.notebook > 0 and row.gd > 0 for row in rows)
    assert all(row.low == row.ratio == row.high for row in rows)


def test_a_size_that_needs_too_much_memory_is_skipped() -> None:
    """A size above the limit is not built, and its numbers are nan."""
    rows = list(epochs.measure([(50, 2)], memory=1000))
    assert list(epochs.BACKENDS) == [row.backend for row in rows]
    assert all(math.isnan(row.ratio) for row in rows)


def test_every_aim_applies_to_a_size_that_is_measured() -> None:
    """No aim is met because nothing was measured for it."""
    rows = [epochs.Row(n, d, backend, 1, 1, 1, 1, 1, 1) for n, d in epochs.SIZES for backend in epochs.BACKENDS]
    assert all(any(aim.applies(row) for row in rows) for aim in epochs.AIMS)


@pytest.mark.server
def test_each_way_of_sending_sends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them reach every recipient; the outbox over one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    found = mails.measure_sending(messages=3, rounds=1)
    assert [1, 1, 3] == [sent.sockets for sent in found]
    assert all(sent.rate > 0 for sent in found)


def test_a_composed_mail_has_its_sizes() -> None:
    """The whole message holds the HTML part and more."""
    [composed] = mails.measure_composing([2])
    assert 2 == composed.data_sets
    assert 0 < composed.html < composed.message


def test_a_section_that_is_not_measured_keeps_its_text() -> None:
    """What was measured anew takes its place; the order is always the same; what no section is called goes."""
    last, first = bench.SECTIONS[-1].title, bench.SECTIONS[0].title
    old = bench.merged("", {last: "old\n\n### below\n\nlast"}) + "\n## Gone\n\nnothing\n"
    expected = {first: "new", last: "old\n\n### below\n\nlast"}
    actual = bench.split(bench.merged(old, {first: "new"}))
    assert list(expected.items()) == list(actual.items())


def test_the_results_hold_only_sections_that_can_be_measured() -> None:
    """Writing them again as they are changes nothing."""
    text = bench.RESULTS.read_text(encoding="utf-8")
    assert text == bench.merged(text, {})


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured, with the names that there are."""
    with pytest.raises(SystemExit):
        bench.main(["epoch"])
    assert "no section 'epoch': there are epochs, passes" in capsys.readouterr().err


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_a_table_has_the_same_rows_in_any_number_of_shards(tmp_path: Path, shards: int) -> None:
    """Across the blocks in which it is made, too."""
    n, d = 1400, 999  # a block is 1,000 rows
    expected = tables.write(tmp_path, n, d).read_bytes()
    files = sorted(tables.write(tmp_path, n, d, shards).iterdir())
    header = expected.partition(b"\n")[0]
    assert [header] * shards == [file.read_bytes().partition(b"\n")[0] for file in files]
    assert expected.partition(b"\n")[2] == b"".join(file.read_bytes().partition(b"\n")[2] for file in files)


def test_a_table_is_as_large_as_expected(small: Path) -> None:
    """The estimate that is held against the disk is within five per cent."""
    assert math.isclose(small.stat().st_size, tables.estimate(2000, 3), rel_tol=0.05)


def test_a_table_holds_the_numbers_that_its_optimum_is_of(small: Path) -> None:
    """The optimum solves the normal equations of what stands in the file."""
    table = np.loadtxt(small, delimiter=",", skiprows=1)
    expected = np.linalg.lstsq(np.column_stack([table[:, :-1], np.ones(len(table))]), table[:, -1], rcond=None)[0]
    assert np.allclose(expected, tables.optimum(2000, 3), rtol=0, atol=1e-14)


def test_a_table_that_the_disk_cannot_hold_is_not_begun(tmp_path: Path) -> None:
    """Nothing is left behind, and the message has both sizes."""
    with pytest.raises(tables.NoRoomError, match=r"× 10 needs .* GB of disk, and .* GB are free"):
        tables.write(tmp_path, 10**15, 10)
    assert [] == [*tmp_path.iterdir()]


def test_a_whole_process_is_measured_with_what_it_started() -> None:
    """Peaks of a process and of its child, each its own, are those of the memory that they touched."""
    child = "import time; x = bytearray(150_000_000); time.sleep(0.4)"
    run = f"subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    code = f"import subprocess, sys; x = bytearray(60_000_000); {run}; print(1)"
    used = whole.measure([sys.executable, "-S", "-c", code], timeout=60).check()
    assert "1\n" == used.output
    assert 60 < used.main < 100
    assert [True] == [150 < part.peak < 190 for part in used.parts if not part.is_main]
    assert used.together > 210
    assert used.seconds >= 0.4


def test_a_process_that_takes_too_long_is_ended_with_its_child() -> None:
    """Neither is there afterwards."""
    start = "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])"
    code = f"import subprocess, sys; {start}; print(p.pid, flush=True); p.wait()"
    used = whole.measure([sys.executable, "-S", "-c", code], timeout=2)
    assert used.timed_out
    assert not launcher.is_alive(int(used.output))
    with pytest.raises(RuntimeError, match="took too long"):
        used.check()


@pytest.mark.parametrize("name", reader.READERS)
def test_every_reader_reads_the_same(name: str, small: Path) -> None:
    """The readers that are timed side by side do the same work."""
    if name not in readers.available():
        pytest.skip(f"{name} is not installed: pip install -e '.[bench]'")
    rows, sums = reader.READERS[name](str(small))
    assert 2000 == rows
    assert np.allclose(np.loadtxt(small, delimiter=",", skiprows=1).sum(axis=0), sums, rtol=1e-12, atol=0)


def test_a_reader_is_measured_as_a_whole_process(small: Path) -> None:
    """The one that a run is held against; with its rows, bytes and positive times."""
    [one] = readers.measure([small], rounds=1, names=["gd"])
    assert ("gd", 2000, small.stat().st_size) == one[:3]
    assert min(one.seconds, one.cpu, one.peak) > 0


@pytest.mark.parametrize("disguise", readers.DISGUISES, ids=lambda disguise: disguise.name)
def test_no_disguise_is_misread(disguise: readers.Disguise) -> None:
    """What looks like numbers and is not is refused by our reader; what is fine is read."""
    expected = "refused" if disguise.right is None else "read"
    assert expected == readers.judge("gd", disguise)


def test_a_misreading_is_seen() -> None:
    """Pyarrow alone takes the first of two columns with one name, and infinities."""
    judged = {disguise.name: readers.judge("pyarrow", disguise) for disguise in readers.DISGUISES}
    assert {"a header twice: x,x,y", "infinity", "too large: 1e999"} == {name for name in judged if judged[name] == "misread"}


def test_gd_arrives_at_the_optimum(small: Path) -> None:
    """As a whole process, from the CSV to weights within 1e-6, with its phases."""
    [way] = peers.measure(small, tables.optimum(2000, 3), ["gd-numpy"], rounds=1, words=["300"])
    assert "" == way.reason
    assert way.arrived
    assert {"import", "read", "fit"} == way.phases.keys()


@pytest.mark.parametrize("name", ["sklearn-lsqr", "sklearn-linear-arrow", "torch-lstsq"])
def test_a_peer_arrives_at_the_optimum(name: str, small: Path) -> None:
    """The ways that solve exactly find what they are held against."""
    if lacking := peers.missing(name):
        pytest.skip(f"{', '.join(lacking)} not installed: pip install -e '.[bench]'")
    [way] = peers.measure(small, tables.optimum(2000, 3), [name], rounds=1)
    assert way.arrived


def test_a_peer_that_is_missing_or_fails_has_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    """The others are measured all the same."""
    monkeypatch.setitem(peer.PEERS, "nobody", peer.Peer("nobody", ("no_such_package",), peer.gd_numpy))
    monkeypatch.setitem(peer.PEERS, "unknown there", peer.Peer("unknown there", ("numpy",), peer.gd_numpy))
    found = list(peers.measure(small, tables.optimum(2000, 3), ["nobody", "unknown there"], rounds=1))
    assert ["not installed: no_such_package", "KeyError: 'unknown there'"] == [way.reason for way in found]
    assert [False, False] == [way.arrived for way in found]


def test_a_compressed_table_is_one_for_all_its_rows() -> None:
    """Its loss and gradient are those of the rows."""
    A, b = passes.compressed(3)
    X, y = epochs.plane(1000, 3)
    rows, few = (backends.get("numpy").objective(least_squares(*pair)) for pair in ((design(X, intercept=True), y), (A, b)))
    theta = np.array([0.5, -2.0, 1.0, 3.0])
    assert (5, 4) == A.shape
    assert math.isclose(rows(theta)[0], few(theta)[0], rel_tol=1e-12)
    assert np.allclose(rows(theta)[1], few(theta)[1], rtol=1e-12, atol=0)


def test_both_cross_validations_come_to_the_same() -> None:
    """The folds' losses from moments are scikit-learn's, and every way takes time."""
    one = validation.measure(500, 3, rounds=1)
    assert (500, 3) == one[:2]
    assert min(one[2:7]) > 0
    assert one.gap < 1e-9


@pytest.mark.parametrize("condition", [case.condition for case in optimizers.CASES[:3]])
def test_features_have_the_condition_number_that_is_asked_for(condition: float) -> None:
    """Their correlation matrix, by its eigenvalues; and their directions are the principal components, of variance 1."""
    X, directions = optimizers.correlated(500, 5, condition, np.random.default_rng(1))
    values = np.linalg.eigvalsh(np.corrcoef(X.T))
    assert math.isclose(condition, values[-1] / values[0], rel_tol=1e-6)
    assert np.allclose(np.eye(5), np.cov(directions.T, bias=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "logistic"])
def test_every_optimizer_and_peer_is_measured(loss: str) -> None:
    """Those that suit the loss, each within its bound; what arrived is near the optimum, and the quickest have."""
    case = optimizers.Case("small", loss, 10.0, 100, n=400, d=3)
    found = optimizers.measure(case, optimizers.made(case), limit=optimizers.Bound(100, 60.0), rounds=1)
    assert [name for name, way in optimizers.WAYS.items() if way.suits(case)] == list(found)
    assert all(one.arrived == (one.left <= 1e-6) for one in found.values())
    assert all(0 < one.epochs <= (500 if name == "batches" else 100) for name, one in found.items())
    assert all(found[name].arrived for name in ("momentum", "nesterov", "whiten", "torch-lbfgs"))


def test_least_squares_whitened_is_done_in_one_epoch() -> None:
    """Plain descent is then Newton's method; from moments no batches and nobody else descend."""
    case = optimizers.Case("small", "mse", 1e4, 100, moments=True, n=400, d=3)
    found = optimizers.measure(case, optimizers.made(case), rounds=1)
    assert 1 == found["whiten"].epochs
    assert not any(name.startswith(("batches", "torch", "sklearn", "scipy")) for name in found)


def test_what_does_not_arrive_says_so() -> None:
    """Ten epochs of plain descent are not enough at a condition number of 10⁴, and the row has what is left."""
    case = optimizers.Case("small", "mse", 1e4, 10, n=400, d=3)
    one = optimizers.measure(case, optimizers.made(case), ["plain"], rounds=1)["plain"]
    assert (False, 10) == (one.arrived, one.epochs)
    assert f"not there: {one.left:.1e} is left" in optimizers._row(one, 1.0)


def test_an_epoch_is_measured_for_each_backend() -> None:
    """From a compressed table and over the rows; every time is positive."""
    found = passes.measure_compressed(2, rounds=1, epochs=3)
    assert list(epochs.BACKENDS) == [one.backend for one in found]
    assert all(one.low == one.middle == one.high > 0 for one in found)
    rows = passes.measure_rows(200, 2, rounds=1, epochs=2)
    assert [(200, backend) for backend in epochs.BACKENDS] == [one[:2] for one in rows]
    assert all(min(one[2:]) > 0 for one in rows)


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_a_run_is_measured_beside_a_bare_pass(small: Path) -> None:
    """A whole run on a small table."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    url = PREFECT_API_URL.value()
    assert url is not None
    found = scale.measure(small, 2000, 3, rounds=1, epochs=20, server={"PREFECT_API_URL": url})
    assert (2000, 3) == found[:2]
    assert found.run > found.bare > 0
    assert found.peak > found.bare_peak > 0


def test_the_records_of_a_run_are_read() -> None:
    """One a line, as `gd run --json` prints them."""
    used = whole.Usage(1.0, 1.0, 1.0, 1.0, (), 0, False, '{"a": 1}\n{"a": 2}\n', "")
    assert [{"a": 1}, {"a": 2}] == scale.records(used)


def test_orchestration_is_what_the_flow_takes_beyond_the_library() -> None:
    """A flow run of 11 data sets that takes 20 s more than one, where the library takes 10 s more, costs 1 s a data set."""
    assert math.isclose(1.0, workers.Overhead(sets=11, flow=26.0, flow_one=6.0, library=14.0, library_one=4.0).each)


def test_what_gd_cannot_do_yet_is_said() -> None:
    """A part of the benchmark that needs an option that is not there gives the reason."""
    assert "`gd run` has no --no-such-option" == workers.lacking("--no-such-option", "--epochs")


def test_the_laid_down_runs_are_listed(tmp_path: Path) -> None:
    """What is opened in the browser is a list of as many runs as the results say, none of them passed over."""
    drawing.lay_down(tmp_path, runs=6, data_sets=2)
    index = archive.write_index(tmp_path).read_text(encoding="utf-8")
    assert "6 runs of 2 data sets" in index
    assert "passed over" not in index
    assert 2 == len(list(tmp_path.glob("*/index.html")))
