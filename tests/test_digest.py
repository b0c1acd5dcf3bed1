"""What a mail says of a run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import numpy as np
import pytest

from gd.archive import read_run
from gd.changes import changes
from gd.data import Source, bundled
from gd.look import Look
from gd.mail import compose
from gd.mail.digest import Digest, Item, date, kicker, opening, rest, sections, subject
from gd.notation import number
from gd.record import EpochLog
from gd.settings import Training
from tests.conftest import run_tasks
from tests.mails import HOSTILE, MOMENT, NOW, VERDICTS, digest, followed, hostile, items


@pytest.fixture(scope="module")
def made(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """An item for each verdict."""
    return items(cases, tmp_path_factory.mktemp("failed") / "sales" / "run")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["converged"] * 3, "[ok] nightly: 3 of 3 converged, 22 Nov 2026"),
        (["converged", "exhausted"], "[not there yet] nightly: 1 of 2 ran out of epochs, 22 Nov 2026"),
        (["exhausted", "diverged", "converged"], "[diverged] nightly: 1 of 3 diverged, 22 Nov 2026"),
        (["diverged", "disagree", "disagree"], "[backends disagree] nightly: on 2 of 3 data sets, 22 Nov 2026"),
        (["disagree", "diverged", "failed"], "[failed] nightly: 1 of 3 failed, 22 Nov 2026"),
    ],
)
def test_the_subject_begins_with_the_worst_verdict(verdicts: list[str], expected: str, made: dict[str, Item]) -> None:
    """Tag, name, how many of how many, and the date of the slot."""
    assert expected == subject(digest(*(made[verdict] for verdict in verdicts)))


def test_the_subject_stays_short_and_on_one_line(made: dict[str, Item]) -> None:
    """Whatever the deployment is called: line breaks are written out, and the middle of a long name is left away."""
    written = subject(digest(made["disagree"], name=HOSTILE * 9))
    assert len(written) < 120
    assert written.isprintable()
    assert written.startswith("[backends disagree] <script>")


def test_the_date_is_that_of_the_zone(made: dict[str, Item]) -> None:
    """Half an hour before midnight in London is the next day in Berlin; where nobody knows the zone it is UTC, and said."""
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    assert "22 Nov 2026" == date(late, "Europe/London")
    assert "23 Nov 2026" == date(late, "Europe/Berlin")
    assert "nightly · 23 Nov 2026, 00:30 CET · manual run" == kicker(digest(made["converged"], moment=late))
    assert "22 Nov 2026, 23:30 UTC" in kicker(digest(made["converged"], moment=late, zone="Atlantis/Poseidonis"))
    assert "22 Nov 2026, 23:30 UTC" in kicker(digest(made["converged"], moment=late, zone="../../etc/passwd"))


def test_sections_stand_worst_first(made: dict[str, Item]) -> None:
    """In the order of the verdicts, and among equals as they were given."""
    given = digest(made["converged"], made["failed"], made["exhausted"], made["diverged"], made["disagree"])
    assert list(VERDICTS) == [section.item.record.verdict for section in sections(given)]
    twice = digest(made["converged"], hostile(made["converged"]))
    assert list(twice.items) == twice.ranked


def test_the_opening_is_the_verdict(made: dict[str, Item]) -> None:
    """Of the one data set, or how many of all; then what became of the others."""
    assert "Could not be read" == opening(digest(made["failed"]))
    assert "" == rest(digest(made["failed"]))
    several = digest(*made.values(), made["converged"])
    assert "1 of 6 failed" == opening(several)
    assert "Of the others, 1 saw the backends disagree, 1 diverged, 1 ran out of epochs and 2 converged." == rest(several)
    assert "The other one converged." == rest(digest(made["exhausted"], made["converged"]))
    assert "The other 2 converged." == rest(digest(made["exhausted"], made["converged"], made["converged"]))
    assert "The backends disagree on 2 of 2" == opening(digest(made["disagree"], made["disagree"]))


def test_the_widest_gap_is_said_where_all_converged(made: dict[str, Item]) -> None:
    """In the reader's numbers, and in ASCII for the plain part; nothing is claimed for a backend that ran alone."""
    record = made["converged"].record
    assert record.comparison is not None
    gap = record.comparison.max_relative_weight_gap
    both = digest(made["converged"], made["converged"])
    assert f"Their backends never differed by more than {number(gap, 2)}, relative to the weights." == rest(both)
    assert rest(both, plain=True).isascii()
    alone = Item(record.model_copy(update={"fits": record.fits[:1]}), made["converged"].log, None)
    assert "" == rest(digest(made["converged"], alone))


@pytest.mark.parametrize(
    ("factor", "expected", "sentence"),
    [
        (1.0, ("loss unchanged",), "The loss is unchanged."),
        (1.25, ("loss −20\N{NO-BREAK SPACE}%",), "The loss is 20 % lower now."),
        (0.8, ("loss +25\N{NO-BREAK SPACE}%",), "The loss is 25 % higher now."),
        (1e-3, ("loss was 145.5",), "Its loss was 145.5."),
        (None, ("unchanged",), ""),
    ],
)
def test_the_change_of_the_loss(factor: float | None, expected: tuple[str, ...], sentence: str, made: dict[str, Item]) -> None:
    """In per cent, unless by more than tenfold."""
    item = made["converged"]
    loss = item.record.fits[0].loss
    assert loss is not None
    record = followed(item.record, loss=None if factor is None else factor * loss)
    (section,) = sections(digest(Item(record, item.log, item.folder)))
    assert expected == section.change
    assert f"The run before, on 21 Nov 2026, converged too. {sentence}".strip() == section.since


def test_a_changed_verdict_is_said_before_the_loss(made: dict[str, Item]) -> None:
    """And that the data are other ones."""
    item = made["diverged"]
    loss = made["converged"].record.fits[0].loss
    record = followed(item.record, verdict="converged", loss=loss, sha256="0" * 64)
    (section,) = sections(digest(Item(record, item.log, item.folder)))
    assert ("had converged", "loss was 145,500", "new data") == section.change
    assert "The run before, on 21 Nov 2026, converged. Its loss was 145,500. The data have changed since." == section.since


@pytest.mark.parametrize(("times", "expected"), [(1, "had failed"), (3, "had failed 3 times")])
def test_runs_without_a_result_in_between_are_told(times: int, expected: str, made: dict[str, Item]) -> None:
    """The mail compares with the last run that had a result, as the page does, and does not keep still about the others."""
    record = followed(made["converged"].record, failed_since=times)
    (section,) = sections(digest(Item(record, None, None)))
    assert (expected, "loss unchanged") == section.change
    said = f"The last run with a result, on 21 Nov 2026, converged; {times} since then had none. The loss is unchanged."
    assert said == section.since
    page = changes(record)
    assert page is not None
    assert f"{times} since then had none" in page.sentence


def test_what_has_nothing_before_it_says_so(made: dict[str, Item]) -> None:
    """Whether it is the first result or there is none yet."""
    (failed,) = sections(digest(made["failed"]))
    assert (("no result yet",), "There is no earlier result to compare with.") == (failed.change, failed.since)
    record = made["converged"].record.model_copy(update={"previous": None})
    (first,) = sections(digest(Item(record, None, None)))
    assert ("first result",) == first.change


def test_a_mail_in_a_user_s_words(made: dict[str, Item], tmp_path: Path) -> None:
    """Subject, table and text are those of the folder's words.toml, letters beyond ASCII among them, and arrive whole."""
    (tmp_path / "words.toml").write_text(
        "[mail.tag]\nconverged = 'größer'\n[mail.tally]\nconverged = '{count} von {total} konvergiert ✓'\n"
        "[mail.opening]\nconverged = 'Über {count} von {total}'\n[mail.table]\noptimum = 'Bestwert'\n",
        encoding="utf-8",
    )
    told = digest(made["converged"], made["converged"], look=Look(templates=str(tmp_path)))
    letter = compose(told, sender="gd <reports@a.example>", reply_to=None, now=NOW)
    assert () == letter.faults
    assert "[größer] nightly: 2 von 2 konvergiert ✓, 22 Nov 2026" == letter.subject
    message = message_from_bytes(letter.content, policy=policy.default)
    assert letter.subject == message["Subject"]
    plain, page = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert page is not None
    assert plain.get_content().startswith("Über 2 von 2: nightly")
    assert "Bestwert" in page.get_content()


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (r"{count} größer\nBcc: thief@b.example", "[ok] nightly: 1 größer Bcc: thief@b.example, 22 Nov 2026"),
        (r"all\r\n\r\nX-Evil: 1", "[ok] nightly: all X-Evil: 1, 22 Nov 2026"),
        (r"100\u00a0%", "[ok] nightly: 100\N{NO-BREAK SPACE}%, 22 Nov 2026"),
        (r"a\u0007b\u202ec", r"[ok] nightly: a\x07b\u202ec, 22 Nov 2026"),
        ("x" * 3000, f"[ok] nightly: {'x' * 185}…"),
    ],
)
def test_a_user_s_words_do_not_break_the_subject(tally: str, expected: str, made: dict[str, Item], tmp_path: Path) -> None:
    """It stays one line that a header can hold, no other header comes of it, and the mail is not lost to it."""
    (tmp_path / "words.toml").write_text(f'[mail.tally]\nconverged = "{tally}"\n', encoding="utf-8")
    told = digest(made["converged"], look=Look(templates=str(tmp_path)))
    sent = compose(told, sender="gd <reports@a.example>", reply_to=None, now=NOW)
    message = message_from_bytes(sent.content, policy=policy.default)
    assert expected == sent.subject
    assert expected == message["Subject"]
    assert not {"Bcc", "X-Evil"} & {*message.keys()}
    assert max(map(len, sent.content.split(b"\r\n\r\n")[0].split(b"\r\n"))) <= 998


def test_losses_that_disagree_are_both_told(made: dict[str, Item]) -> None:
    """One of them alone would be a claim that nobody checked."""
    (section,) = sections(digest(made["disagree"]))
    first, second = (number(fit.loss) for fit in made["disagree"].record.fits)
    assert f"{first} ≠ {second}" == section.loss
    assert f"Loss {first} by NumPy, {second} by PyTorch." == section.plain_loss


@pytest.mark.parametrize("verdict", VERDICTS)
def test_plain_words_are_ascii(verdict: str, made: dict[str, Item]) -> None:
    """Sentence, loss and change, for every verdict."""
    (section,) = sections(digest(made[verdict]))
    assert f"{section.plain}{section.plain_loss}{section.since}".isascii()


def test_final_figures_are_those_of_the_record(made: dict[str, Item]) -> None:
    """Epochs, loss, R², intercept and the weights of each backend, beside the optimum."""
    record = made["converged"].record
    (section,) = sections(digest(made["converged"]))
    assert section.results is not None
    rows = {row[0]: row[1:] for row in section.results.rows}
    assert record.diagnosis is not None
    for feature in record.dataset.features:
        ends = [*(fit.weights[feature] for fit in record.fits), record.diagnosis.optimum[feature]]
        assert tuple(number(end, keep_zeros=True) for end in ends) == rows[feature]
    assert number(record.fits[0].loss, keep_zeros=True) == rows["loss"][0]
    assert number(record.fits[0].r2, keep_zeros=True) == rows["R²"][0]
    assert "170" == rows["epochs"][1]


def test_at_most_eight_features_and_25_epochs(made: dict[str, Item]) -> None:
    """Of 12 features and 1,000 epochs; both are said, and the first and the last epoch are there."""
    item = made["exhausted"]
    record, found = item.record, item.record.diagnosis
    assert found is not None
    names = tuple(f"x{j}" for j in range(12))
    wide = record.model_copy(
        update={
            "dataset": record.dataset.model_copy(update={"features": names}),
            "fits": tuple(fit.model_copy(update={"weights": dict.fromkeys(names, 1.0)}) for fit in record.fits),
            "diagnosis": found.model_copy(update={"optimum": dict.fromkeys(names, 1.0)}),
        }
    )
    (section,) = sections(digest(Item(wide, item.log, item.folder)))
    assert section.results is not None
    assert section.epochs is not None
    assert list(names[:8]) == [row[0] for row in section.results.rows if row[0].startswith("x")]
    assert "the weights of 4 more features are in the full report" == section.results.showing
    assert 25 == len(section.epochs.rows)
    assert ("0", "999") == (section.epochs.rows[0][0], section.epochs.rows[-1][0])
    assert "25 of 1,000 epochs" == section.epochs.showing


def test_one_backend_shows_its_gradient(made: dict[str, Item]) -> None:
    """Where there is no gap to show."""
    record = made["converged"].record
    alone = record.model_copy(update={"fits": record.fits[:1]})
    (section,) = sections(digest(Item(alone, made["converged"].log, None)))
    assert section.epochs is not None
    assert ("epoch", "loss, NumPy", "gradient norm") == section.epochs.heads


def test_the_table_of_a_mail_has_epochs_whose_weights_were_kept(tmp_path: Path) -> None:
    """At most 25, the last among them, each with a gap of the weights."""
    source = Source(path=str(bundled("penguins")), target="body_mass_g")
    folder = run_tasks(source, Training(epochs=101, tolerance=0, keep_weights=4), tmp_path, draw=False)
    (section,) = sections(digest(Item(*read_run(folder), folder)))
    assert section.epochs is not None
    assert len(section.epochs.rows) <= 25
    assert ("3", "100") == (section.epochs.rows[0][0], section.epochs.rows[-1][0])
    assert not [row for row in section.epochs.rows if row[-1] in {"—", "not a number"}]


def test_an_epoch_after_a_backend_stopped_is_a_dash(made: dict[str, Item]) -> None:
    """What was not trained has no loss."""
    item = made["disagree"]
    assert item.log is not None
    short = {name: values[:5] for name, values in item.log.columns.items() if name.startswith("numpy_")}
    log = EpochLog(item.log.columns | short, dict.fromkeys(short, np.arange(5)))
    (section,) = sections(digest(Item(item.record, log, None)))
    assert section.epochs is not None
    assert ["—" if t >= 5 else "x" for t in range(10)] == [re.sub(r"[^—]+", "x", row[1]) for row in section.epochs.rows]


def test_hostile_names_are_made_visible_and_short(made: dict[str, Item]) -> None:
    """On one line and of bounded length, wherever they stand."""
    (section,) = sections(digest(hostile(made["converged"])))
    assert section.results is not None
    for words in (section.name, section.sentence, section.plain, *(row[0] for row in section.results.rows)):
        assert words.isprintable()
        assert len(words) <= 600
    assert len(section.name) == 40


def test_a_link_leads_to_each_report(made: dict[str, Item]) -> None:
    """The base, the data set and the run, with what an address cannot hold escaped."""
    item = made["converged"]
    folder = Path("reports") / "a b" / "2026#1"
    (section,) = sections(digest(Item(item.record, None, folder), link="https://r.a.example/gd/"))
    assert "https://r.a.example/gd/a%20b/2026%231/report.html" == section.address
    (without,) = sections(digest(Item(item.record, None, folder)))
    assert (None, "reports/a b/2026#1") == (without.address, without.place)


def test_an_error_of_many_lines_is_one_short_sentence(made: dict[str, Item]) -> None:
    """A table can make its error as long as it likes, and put line breaks into it."""
    item = made["failed"]
    assert item.record.error is not None
    error = item.record.error.model_copy(update={"message": f"{HOSTILE}\n" * 100})
    (section,) = sections(digest(Item(item.record.model_copy(update={"error": error}), None, None)))
    for words in (section.sentence, section.plain):
        assert words.isprintable()
        assert 600 == len(words)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "reports/", "https://a.example/\r\nBcc: x", "data:text/html,x", "https://a b"]
)
def test_a_link_that_is_no_address_is_refused(link: str, made: dict[str, Item]) -> None:
    """In words, before anything is composed."""
    with pytest.raises(ValueError, match=r"is no address\. Begin it with https://"):
        digest(made["converged"], link=link)


def test_a_digest_of_nothing_is_refused(made: dict[str, Item]) -> None:
    """So is one whose moment has no zone."""
    with pytest.raises(ValueError, match="at least one data set"):
        digest()
    with pytest.raises(ValueError, match="needs a time zone"):
        Digest("n", "k", MOMENT.replace(tzinfo=None), [made["converged"]])
