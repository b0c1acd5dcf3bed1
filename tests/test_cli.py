"""The command: its words, its exit status, its lines."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gd.cli import main
from gd.data import bundled
from tests.conftest import furnish, write_csv
from tests.smtp_server import Fault, SmtpServer
from tests.terminal import Terminal


def words(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str, str]:
    """Exit status, standard output and standard error of the command, run here."""
    with pytest.raises(SystemExit) as ended:
        main(line)
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["run"], "name at least one CSV, or --preset notebook."),
        (["run", "a.csv"], "--target is missing: name the column to predict."),
        (["run", "a.csv", "--target", "y", "--learning-rate", "fast"], "--learning-rate: 'fast' is neither a number nor auto."),
        (
            ["run", "a.csv", "--target", "y", "--learning-rate", "-1"],
            "--learning-rate: input should be greater than 0, not -1.0.",
        ),
        (
            ["run", "a.csv", "--target", "y", "--learning-rate", "0.1,fast"],
            "--learning-rate: '0.1,fast' is no list of numbers, such as 0.001,0.01,0.1.",
        ),
        (["run", "a.csv", "--target", "y", "--learning-rate", "0.1,"], "--learning-rate: '0.1,' is no list of numbers"),
        (["run", "a.csv", "--target", "y", "--learning-rate", "auto,0.1"], "--learning-rate: 'auto,0.1' is no list of numbers"),
        (
            ["run", "a.csv", "--target", "y", "--learning-rate", "sweep"],
            "--learning-rate: 'sweep' is neither a number nor auto.",
        ),
        (
            ["run", "a.csv", "--target", "y", "--learning-rate", "0.1,0"],
            "--learning-rate: input should be greater than 0, not 0.0.",
        ),
        (["run", "a.csv", "--target", "y", "--learning-rate", "1,2,1"], "--learning-rate: 1.0 is named twice."),
        (["run", "--preset", "notebook", "--method", "moments"], "--method: the loss notebook has no moments: train on rows."),
        (
            ["run", "a.csv", "--target", "y", "--learning-rate", ",".join(map(str, range(1, 66)))],
            "--learning-rate: tuple should have at most 64 items after validation, not 65",
        ),
        (["run", "a.csv", "--target", "y", "--epochs", "0"], "--epochs: input should be greater than or equal to 1, not 0."),
        (["run", "a.csv", "--target", "y", "--keep-weights", "all"], "--keep-weights: 'all' is neither a number nor auto."),
        (["run", "a.csv", "--target", "y", "--keep-weights", "2.5"], "--keep-weights: input should be a valid integer"),
        (["run", "a.csv", "--target", "y", "--backends", "abacus"], "no backend 'abacus'; available are numpy, jax, torch."),
        (["run", "a.csv", "--target", "y", "--backends", "numpy,numpy"], "'numpy' is named twice."),
        (["run", "a.csv", "--target", "y", "--dtype", "float16"], "float16"),
        (["run", "a.csv", "--target", "y", "--workers", "0"], "--workers: input should be greater than or equal to 1, not 0."),
        (
            ["run", "a.csv", "--target", "y", "--scheduler", "tcp://10.0.0.5:8786"],
            "--scheduler: the address of a scheduler is for the runner dask, not for threads.",
        ),
        (["run", "a.csv", "--target", "y", "--delimiter", "ab"], "--delimiter: one ASCII character"),
        (["run", "a.csv", "--target", "y", "--header", "first"], "--header: 'first' is neither the number of a line nor none."),
        (["run", "a.csv", "--target", "y", "--skip-lines", "x"], "--skip-lines: a number of lines at the top, such as 3, or"),
        (["run", "a.csv", "--target", "y", "--encoding", "klingon"], "--encoding: no encoding of text by that name;"),
        (["run", "a.csv", "--target", "y", "--encode", "colour"], "--encode: input should be 'category' or 'dates'"),
        (
            ["run", "a.csv", "--target", "y", "--decimal", ",", "--thousands", ","],
            "gd: --thousands and --decimal cannot be the same mark.",
        ),
        (["run", "a.csv", "--target", "y", "--wrong"], "--wrong"),
        (["dance"], "dance"),
    ],
)
def test_words_that_are_off_are_told(line: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, the fault and where help is on standard error, nothing on standard output."""
    code, out, err = words(line, capsys)
    assert (2, "") == (code, out)
    assert expected in err
    assert err.endswith("Try: gd --help\n")
    assert 2 == err.count("\n")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Both end well and say what they are asked for."""
    assert (0, "0.1.0\n", "") == words(["--version"], capsys)
    code, out, _ = words(["run", "--help"], capsys)
    assert 0 == code
    for option in ("--target", "--learning-rate", "--preset", "--no-intercept", "--no-standardize", "--json", "--reports"):
        assert option in out


def test_a_reader_that_has_enough_is_no_error(cases: dict[str, Path]) -> None:
    """As of `gd history … | head -1`: no traceback, and the exit status that a shell expects."""
    words = [sys.executable, "-m", "gd", "history", "converged", "--reports", str(cases["converged"].parent.parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (b"", 128 + signal.SIGPIPE) == (process.stderr.read(), process.wait(60))


def test_a_run_is_drawn_again(cases: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`gd render` writes the very page again and names it."""
    folder = cases["converged"]
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert (0, f"{folder / 'report.html'}\n", "") == words(["render", str(folder)], capsys)
    assert before == (folder / "report.html").read_bytes()


def test_what_is_no_run_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says which file is missing or broken."""
    code, _, err = words(["render", str(tmp_path)], capsys)
    assert (1, f"{tmp_path / 'run.json'}: no such file. Name the folder of a run.\n") == (code, err)
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    code, _, err = words(["render", str(tmp_path)], capsys)
    assert 1 == code
    assert "cannot be read" in err
    assert 1 == err.count("\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["run", "--preset", "notebook", "--dry-run"], "--dry-run is for mail: name its readers with --mail-to."),
        (["run", "--preset", "notebook", "--mail-to", "nobody"], "--mail-to: 'nobody' is no e-mail address"),
        (["run", "--preset", "notebook", "--mail-to", "a@b.example\nBcc: c@d.example"], "'a@b.example\\nBcc: c@d.example'"),
        (["run", "--preset", "notebook", "--mail-to", "a@c.example,a@b.example"], "a@b.example is outside of GD_MAIL_DOMAINS"),
        (["run", "--preset", "notebook", "--mail-to", "a@c.example"], "GD_SMTP_HOST is set but GD_MAIL_FROM is not"),
        (["mail-test", "--to", "a@b.example"], "GD_SMTP_HOST is set but GD_MAIL_FROM is not"),
        (["outbox", "resend"], "name at least one number"),
        (["outbox", "resend", "99999999999999999999"], "99999999999999999999"),
        (["outbox", "list", "--state", "lost"], "lost"),
        (["serve", "--file", "elsewhere.yaml"], "elsewhere.yaml: no such file."),
        (["trigger", "nightly", "--parameter", "epochs"], "--parameter: 'epochs' is not NAME=VALUE."),
    ],
)
def test_mail_and_service_refuse_before_anything_runs(
    line: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 2, the fault on one line."""
    monkeypatch.setenv("GD_MAIL_DOMAINS", "c.example")
    monkeypatch.setenv("GD_SMTP_HOST", "localhost")
    code, out, err = words(line, capsys)
    assert (2, "") == (code, out)
    assert expected in err
    assert 2 == err.count("\n")


def test_no_server_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gd trigger` names both ways out; `gd doctor` finds it and the rest, and ends with 1."""
    expected = "gd: no server is known: start `gd serve` in this folder, or set PREFECT_API_URL\n"
    assert (1, "", expected) == words(["trigger", "nightly", "--home", str(tmp_path)], capsys)


def test_the_outbox_is_listed_and_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each message, the counts below; what is changed is said, and what cannot be is an exit status of 1."""
    from gd.mail import Letter  # noqa: PLC0415
    from gd.outbox import Outbox  # noqa: PLC0415

    here = ["--reports", str(tmp_path)]
    nothing = f"gd: {tmp_path / 'outbox.db'}: no outbox here; nothing was ever owed. Name another folder with --reports\n"
    assert (1, "", nothing) == words(["outbox", "list", *here], capsys)
    assert [] == [*tmp_path.iterdir()]
    with Outbox.open(f"sqlite:///{tmp_path / 'outbox.db'}") as outbox:
        heads = {who: f"To: {who}\r\nMessage-ID: <{who}>\r\n".encode() for who in ("a@a.example", "b@b.example")}
        letter = Letter("k", "[ok] \x1b[31mnightly", b"Subject: x\r\n\r\n", None)
        assert 2 == outbox.add(letter, heads, sender_owners=(), kind="report", now=datetime(2026, 11, 23, tzinfo=UTC))
    code, out, _ = words(["outbox", *here], capsys)
    assert 0 == code
    second, first, counts = out.splitlines()
    assert first.split() == ["1", "2026-11-23", "00:00Z", "pending", "a@a.example", "[ok]", "\\x1b[31mnightly"]
    assert "b@b.example" in second
    assert "2 pending" == counts
    assert (0, "1: cancelled (a@a.example)\n", "") == words(["outbox", "cancel", "1", *here], capsys)
    code, out, err = words(["outbox", "cancel", "1", "2", "9", *here], capsys)
    assert (1, "2: cancelled (b@b.example)\n") == (code, out)
    assert "1: is cancelled already.\n9: no such message.\n" == err
    assert (0, "1: owed again; the next delivery sends it (a@a.example)\n", "") == words(
        ["outbox", "resend", "1", *here], capsys
    )
    code, out, _ = words(["outbox", "list", "--state", "pending", *here], capsys)
    assert "1 pending, 1 cancelled" == out.splitlines()[-1]


@pytest.fixture
def environment(prefect_server: None) -> dict[str, str]:
    """For whole processes: the test's server, and UTF-8."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    url = PREFECT_API_URL.value()
    assert url is not None
    return os.environ | {"PREFECT_API_URL": url, "PYTHONUTF8": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def terminal(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Where commands are typed of which only the words matter: all of them on the test's server."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONUTF8": "1", "COLUMNS": "200"}
    with Terminal(tmp_path_factory.mktemp("terminal"), environment) as opened:
        yield opened


def gd(line: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as a whole process, in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "gd", *line],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        cwd=folder,
        check=False,
    )


@pytest.mark.server
def test_the_main_job(environment: dict[str, str], tmp_path: Path) -> None:
    """A verdict and a report for each data set, exit status 0, nothing on standard error."""
    done = gd(["run", str(bundled("penguins")), "--target", "body_mass_g"], environment, tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    first, second, third = done.stdout.splitlines()
    assert first.startswith("✓ penguins: Converged. NumPy and PyTorch reached the optimum to within ")
    assert (tmp_path / second.strip()).is_file()
    assert "All reports: reports/index.html" == third
    assert (tmp_path / "reports" / "index.html").is_file()


@pytest.mark.server
def test_json_is_all_there_is(terminal: Terminal, tmp_path: Path) -> None:
    """With --json standard output is one run.json a line, the failed one too; exit status 1, no traceback anywhere."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(20, 1))
    write_csv(tmp_path / "good.csv", X, X[:, 0])
    (tmp_path / "bad.csv").write_text("x0,y\n1,2\n3,inf\n", encoding="utf-8")
    line = ["run", "good.csv", "bad.csv", "missing.csv", "--target", "y", "--keep-weights", "3", "--json"]
    done = terminal.gd(line, tmp_path)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert 1 == done.returncode
    assert ["converged", "failed", "failed"] == [record["verdict"] for record in found]
    assert [3, 3, 3] == [record["training"]["keep_weights"] for record in found]
    assert found[0]["run"]["command"].endswith(" --keep-weights 3")
    assert "bad.csv, line 3, column 'y'" == found[1]["error"]["where"]
    kept = sorted((tmp_path / "reports" / "good").glob("*/run.json"))
    assert [found[0]] == [json.loads(path.read_text(encoding="utf-8")) for path in kept]
    assert "Traceback" not in done.stdout + done.stderr


GERMAN = """# Ausfuhr vom 13.1.
Nr;Tag;Filiale;Preis;Anteil;Absatz
1;2026-01-01;Nord;1.200,50 €;5%;12
2;2026-01-02;Süd;900,00 €;6%;14
3;2026-01-04;West;1.100,00 €;4%;-999
4;2026-01-05;Nord;980,25 €;7%;18
5;2026-01-07;Süd;870,00 €;5%;19
6;2026-01-08;West;1.010,10 €;?;21
7;2026-01-09;Nord;990,00 €;8%;25
8;2026-01-11;Süd;1.300,00 €;9%;-999
9;2026-01-12;West;1.250,50 €;4%;31
10;2026-01-13;West;1.270,50 €;5%;33
"""


@pytest.mark.server
def test_a_refusal_names_the_options_that_read_the_file(terminal: Terminal, tmp_path: Path) -> None:
    """Pasted behind the command they do; what was assumed is told, and the report's command does it again."""
    (tmp_path / "laden.csv").write_bytes(GERMAN.encode("cp1252"))
    line = ["run", "laden.csv", "--target", "Absatz", "--comment", "#"]
    done = terminal.gd(line, tmp_path)
    assert "laden.csv, line 3: a byte that is not UTF-8. Save the file as UTF-8, or name its" in done.stderr
    line += ["--encoding", "cp1252"]
    done = terminal.gd(line, tmp_path)
    options = "--decimal , --thousands . --units '%,€' --missing 'default,?'"
    assert f"'1.100,00 €' in line 5 and 7 more. {options} would read them, and those of other columns." in done.stderr
    line += [*shlex.split(options), "--encode", "category,dates", "--leave-out", "Nr"]
    done = terminal.gd(line, tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "  Look at Absatz: 2 cells hold -999, and no other is beyond 12. If it stands for a missing value: " in done.stdout
    report = max((tmp_path / "reports" / "laden").glob("[!.]*/"))  # the newest
    record = json.loads((report / "run.json").read_text(encoding="utf-8"))
    assert ["Tag", "Filiale=Süd", "Filiale=West", "Preis", "Anteil"] == record["dataset"]["features"]
    assert sorted(line) == sorted(shlex.split(record["run"]["command"])[1:])
    page = (report / "report.html").read_text(encoding="utf-8")
    for words_ in ("cells separated by semicolon, CP1252, lines ending in LF, names on line 2; checked on every row",
                   "decimal comma, thousands separated by dot, left off numbers: %, €", "days since 2026-01-01",
                   "0 or 1 for each of Süd, West; all 0 for Nord", "Left out: Nr", "empty cells, NA, N/A"):  # fmt: skip
        assert words_ in page


@pytest.mark.server
def test_a_failure_is_one_line_and_a_report(terminal: Terminal, tmp_path: Path) -> None:
    """What went wrong and where stands on standard error; the report of it is written."""
    (tmp_path / "words.csv").write_text("x,y\none,1\ntwo,2\n3,3\n", encoding="utf-8")
    done = terminal.gd(["run", "words.csv", "--target", "y", "--features", "x"], tmp_path)
    first, second = done.stderr.splitlines()
    assert 1 == done.returncode
    assert first.startswith("! words: Could not be read. words.csv, line 2, column 'x': 'one' is not a number")
    assert (tmp_path / second.strip()).is_file()


@pytest.mark.server
def test_reports_that_cannot_be_written_are_told(terminal: Terminal, tmp_path: Path) -> None:
    """A reports folder that is a file: one line with the remedy, exit status 1."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    done = terminal.gd(["run", "--preset", "notebook", "--reports", "taken"], tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert "taken: no report can be written there" in done.stderr
    assert "--reports" in done.stderr
    assert 1 == done.stderr.count("\n")


@pytest.mark.server
def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    """One line that names the setting, and no traceback."""
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    done = gd(["run", "--preset", "notebook"], environment, tmp_path)
    assert 1 == done.returncode
    assert "PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 == done.stderr.count("\n")


@pytest.mark.server
def test_one_message_is_sent_at_once(terminal: Terminal, tmp_path: Path) -> None:
    """`gd mail-test` sends a sample report and tells the server's answer; a refusal is exit status 1 and one line."""
    with SmtpServer(
        tmp_path / "smtp", user="u", password="pass 1", faults=[Fault("rcpt", "550 5.1.1 no", "b@b.example")]
    ) as smtp:
        done = terminal.gd(["mail-test", "--to", "a@a.example"], tmp_path, **smtp.environment())
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.startswith("Sent to a@a.example through localhost: accepted: 250")
        [item] = smtp.messages()
        assert "mail-test: 1 of 1 converged" in str(item.message["Subject"])
        assert {"penguins-report.html", "penguins-run.json"} == {
            part.get_filename() for part in item.message.iter_attachments()
        }
        done = terminal.gd(["mail-test", "--to", "b@b.example"], tmp_path, **smtp.environment())
        assert (1, "") == (done.returncode, done.stdout)
        assert done.stderr.startswith("gd: not sent to b@b.example: RCPT was answered: 550 5.1.1 no")
        assert 1 == done.stderr.count("\n")


@pytest.mark.server
def test_without_a_server_a_temporary_one_is_started(tmp_path: Path) -> None:
    """The newcomer's first command: no setting, no server, a report, and no process left behind."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONUTF8": "1"}
    done = gd(["run", "--preset", "notebook"], environment, tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("≠ notebook: The backends disagree. They part at epoch 0.")
    assert [] == _marked(tmp_path / "prefect")


@pytest.mark.server
def test_long_training_shows_its_progress_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """A bar with the epochs and the loss is drawn on standard error while it is a terminal."""
    ours, theirs = pty.openpty()
    line = ["run", str(bundled("notebook")), "--target", "Y", "--epochs", "60000", "--tolerance", "0", "--backends", "torch"]
    with subprocess.Popen(
        [sys.executable, "-m", "gd", *line],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment | {"TERM": "xterm"},
        cwd=tmp_path,
    ) as process:
        os.close(theirs)
        seen, until = b"", time.monotonic() + 120
        while time.monotonic() < until:
            if select.select([ours], [], [], 1.0)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:  # the other end is closed: the process has ended
                    break
        assert 0 == process.wait(timeout=240)
    os.close(ours)
    assert b"notebook: torch, loss" in seen


@pytest.mark.server
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing_behind(sent: signal.Signals, database: Path, tmp_path: Path) -> None:
    """Ctrl-C or SIGTERM while it works: a line, a status that says which, no draft, no server left running."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"MARK": str(tmp_path), "PREFECT_HOME": str(furnish(tmp_path / "prefect", database))}
    line = ["run", str(bundled("notebook")), "--target", "Y", "--epochs", "3000000", "--tolerance", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "gd", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    ) as process:
        until = time.monotonic() + 240
        while not [*tmp_path.glob("reports/notebook/.*/work/design.npy")] and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=240)
    assert (128 + sent, "", "gd: stopped; finished reports are kept.\n") == (process.returncode, out, err)
    assert [] == [*tmp_path.glob("reports/notebook/.*")]
    until = time.monotonic() + 20
    while _marked(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert [] == _marked(tmp_path)


def _marked(mark: Path) -> list[str]:
    """Processes that carry a mark of ours in their environment."""
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if str(mark).encode() in _bytes_of(path)]


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended in between
        return b""
