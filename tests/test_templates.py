"""Templates of a user's own, what they are given, and what happens where one of them is wrong."""

from __future__ import annotations

import html
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from gd import archive
from gd.changes import previous
from gd.cli import main
from gd.data import Source, bundled
from gd.history import History, line
from gd.look import Look
from gd.mail import compose
from gd.notation import when
from gd.overview import Row, render_index, row
from gd.phrases import FOLDER
from gd.record import Record
from gd.rendering import CONTEXT_VERSION, environment
from gd.report import Report, render
from gd.settings import Training
from gd.words import headline, sentence
from tests.mails import NOW, SENDER, digest, items

README = (FOLDER / "README.md").read_text(encoding="utf-8")
VERDICTS = ("converged", "exhausted", "diverged", "disagree")

Drawn = Callable[..., tuple[str, list[str]]]


def of_one_run(record: Record) -> Row:
    """A data set's row in the list of all reports, after its first run."""
    return row(History("a", (line(Path("a/b"), record),)), record)


@pytest.fixture
def drawn(tmp_path: Path, reports: dict[str, Report]) -> Drawn:
    """Draws a page with these files as a user's templates; returns it, and what is wrong with them."""

    def draw(report: Report | None = None, /, **files: str | bytes) -> tuple[str, list[str]]:
        folder = tmp_path / "look"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            file = folder / {"words": "words.toml", "style": "style.css"}.get(name, f"{name}.html.j2")
            file.write_bytes(text.encode() if isinstance(text, str) else text)
        with Look(templates=str(folder)).applied() as used:
            page = render(report or reports["converged"])
        return page, [fault.replace(f"{folder}/", "") for fault in used.faults]

    return draw


def documented(name: str) -> set[str]:
    """The names in the tables of a section of the README."""
    section = re.split(rf"^### {re.escape(name)}$", README, flags=re.MULTILINE)[1].split("\n### ")[0]
    return {found for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for found in re.findall(r"`(\w+)`", row)}


def given(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> dict[str, set[str]]:
    """The names that each template is given while something is made."""
    found: dict[str, set[str]] = {}
    whole = jinja2.Template.render

    def spy(self: jinja2.Template, *args: Any, **names: Any) -> str:
        found.setdefault(str(self.name), set()).update(names)
        return whole(self, *args, **names)

    with monkeypatch.context() as patch:
        patch.setattr(jinja2.Template, "render", spy)
        make()
    return found


def test_a_block_is_overridden_and_the_rest_is_ours(drawn: Drawn, reports: dict[str, Report]) -> None:
    """A banner above everything, through macros and names of the page; all else is the standard report to the byte."""
    banner = "<p>Acme: {{ data.name | visible }}{{ fact('rows', data.rows_used | count) }}</p>\n"
    page, faults = drawn(report=f'{{% extends "gd/report.html.j2" %}}{{% block banner %}}{banner}{{% endblock %}}')
    assert [] == faults
    (added,) = re.findall(r"<p>Acme: converged.*?</p>\n", page, re.DOTALL)
    assert "<td>342</td>" in added
    assert render(reports["converged"]) == page.replace(added, "")


def test_every_section_is_a_block(drawn: Drawn, reports: dict[str, Report], swept: Path, crafts: dict[str, Path]) -> None:
    """Each block of the README can be overridden alone, and every block and every section of the page is in the README."""
    said = re.split(r"\*\*Blocks\.\*\*", README)[1].split("\n\n")[0]
    blocks = set(environment().get_template("gd/report.html.j2").blocks) | set(
        environment().get_template("page.html.j2").blocks
    )
    assert blocks == set(re.findall(r"`(\w+)`", said))
    pages = [*reports.values(), archive.read(swept), archive.read(crafts["folded"])]
    shown = {name for report in pages for name in re.findall(r'<section id="(\w+)"', render(report))}
    assert shown <= blocks
    over = "".join(f"{{% block {name} %}}<!--mine: {name}-->{{% endblock %}}" for name in sorted(blocks - {"body"}))
    seen = set()
    for report in pages:
        page, faults = drawn(report, report='{% extends "gd/report.html.j2" %}' + over)
        assert [] == faults
        assert "<section" not in page
        seen |= set(re.findall(r"<!--mine: (\w+)-->", page))
    assert blocks - {"body", "changes"} == seen  # none of these runs has one before it


def test_the_style_sheet_is_overridden(drawn: Drawn) -> None:
    """Ours first, then the user's rules."""
    page, faults = drawn(style='{% include "gd/style.css" %}\nh1 { color: teal; }\n')
    assert [] == faults
    assert page.index("color-scheme: light dark") < page.index("h1 { color: teal; }") < page.index("</style>")


def test_the_example_of_the_readme_works(reports: dict[str, Report]) -> None:
    """The folder beside it is drawn without a fault."""
    with Look(templates=str(FOLDER / "example")).applied() as used:
        page = render(reports["converged"])
    assert [] == used.faults
    assert "<strong>Acme Analytics</strong> · converged, 342 rows" in page
    shown = (FOLDER / "example" / "report.html.j2").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"```jinja\n(.*?)```", README, re.DOTALL)
    for words in re.findall(r"<p>Questions.*|\{% .* %\}|\{\{.*?\}\}", quoted):
        assert words in shown


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"report": "<p>\n{% for x in %}\n"}, "report.html.j2, line 2: Expected an expression, got 'end of statement block'."),
        ({"report": "\n\n{{ recrod.run }}"}, "report.html.j2, line 3: 'recrod' is undefined."),
        ({"report": "{{ record.fits[9].loss }}"}, "report.html.j2, line 1: tuple object has no element 9."),
        ({"report": "\n{{ record.nothing.at_all }}"}, "report.html.j2, line 2: 'gd.record.Record object' has no"),
        ({"report": '\n{% include "logo.svg" %}'}, "report.html.j2, line 2: there is no template logo.svg."),
        ({"report": '{% extends "nothing.j2" %}'}, "report.html.j2, line 1: there is no template nothing.j2."),
        ({"report": "\n\n\n{{ 'x' | number }}"}, "report.html.j2, line 4: TypeError: must be real number, not str."),
        ({"report": "\n{{ 1 / 0 }}"}, "report.html.j2, line 2: ZeroDivisionError: division by zero."),
        ({"report": "{{ 1 | nubmer }}"}, "report.html.j2, line 1: No filter named 'nubmer'."),
        (
            {"report": '{% extends "report.html.j2" %}'},
            "report.html.j2, line 1: it includes or extends itself without end; ours is there as gd/report.html.j2.",
        ),
        (
            {"report": '<p>\n{% include "report.html.j2" %}'},
            "report.html.j2, line 2: it includes or extends itself without end; ours is there as gd/report.html.j2.",
        ),
        ({"report": "{% macro f(n) %}\n{{ f(n + 1) }}{% endmacro %}\n{{ f(0) }}"}, "report.html.j2, line 2: it includes or"),
        ({"report": b"ok\n\xff\n"}, "report.html.j2, line 2: not UTF-8."),
        ({"report": '{% extends "gd/report.html.j2" %}{% block data %}\n{% endblok %}'}, "report.html.j2, line 2: "),
        ({"page": "<p>\n{{ wrogn }}"}, "page.html.j2, line 2: 'wrogn' is undefined."),
        ({"macros": "{% macro table() %}{% endmacro %}"}, "gd/report.html.j2, line "),
        ({"style": "a {\n{{ ink }}"}, "style.css, line 2: 'ink' is undefined."),
        ({"words": "[converged]\nreached = 3 4"}, "words.toml: "),
        ({"words": "[converged]\nreach = 'x'"}, "words.toml, line 2: converged.reach: there are no such words."),
        ({"words": "[converged]\n\nreached = '{epoch}'"}, "words.toml, line 3: converged.reached: knows no {epoch}: there is"),
        ({"words": "[converged]\nreached = '{epochs.__class__}'"}, "words.toml, line 2: converged.reached: knows no {epochs."),
        ({"words": "[converged]\nreached = 'in {epochs'"}, "words.toml, line 2: converged.reached: expected '}' before end"),
        ({"words": "[converged]\nreached = 3"}, "words.toml, line 2: converged.reached: is no text."),
    ],
)  # fmt: skip
def test_a_fault_names_file_and_line(files: dict[str, str], expected: str, drawn: Drawn, reports: dict[str, Report]) -> None:
    """And the standard report stands in its place, to the byte."""
    page, faults = drawn(**files)
    (fault,) = faults
    assert fault.startswith(expected)
    assert "stand" in fault.removeprefix(expected)
    assert "\n" not in fault
    assert len(fault) < 300
    assert render(reports["converged"]) == page


def test_a_template_that_may_not_be_read(tmp_path: Path, reports: dict[str, Report]) -> None:
    """Such as a folder of its name, or a link that leads to itself: the standard report, and a line."""
    (tmp_path / "report.html.j2").symlink_to("report.html.j2")
    with Look(templates=str(tmp_path)).applied():
        assert render(reports["converged"]) == render(reports["converged"])
    assert "holds none of report.html.j2" in Look(templates=str(tmp_path)).problem()


def test_names_from_the_data_are_escaped(drawn: Drawn, reports: dict[str, Report]) -> None:
    """Whatever a user's template does with them, short of saying that they are safe."""
    report = reports["converged"]
    data = report.record.dataset.model_copy(update={"name": "<script>alert(1)</script>"})
    hostile = Report(report.record.model_copy(update={"dataset": data}), report.log, report.pictures)
    page, faults = drawn(hostile, report="{{ record.dataset.name }}<p>{{ record.dataset.name | visible }}")
    assert [] == faults
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<p>&lt;script&gt;alert(1)&lt;/script&gt;" == page.strip()


def test_every_name_that_a_template_is_given_is_documented(
    monkeypatch: pytest.MonkeyPatch, reports: dict[str, Report], swept: Path, cases: dict[str, Path], tmp_path: Path
) -> None:
    """And no other is: the README's tables are the context."""
    pages = [*reports.values(), archive.read(swept)]

    def everything() -> None:
        for report in pages:
            render(report)
        render_index([of_one_run(report.record) for report in pages], {})
        compose(digest(*items(cases, tmp_path / "failed").values()), sender=SENDER, reply_to=None, now=NOW)

    found = given(monkeypatch, everything)
    assert {"report.html.j2", "index.html.j2", "mail.html.j2", "mail.txt.j2"} == set(found)
    (by_itself,) = re.findall(r"Set by `report.html.j2` itself.*?\n\n(.*?)\n\n", README, re.DOTALL)
    own = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", by_itself, re.MULTILINE))))
    for name, names in found.items():
        everywhere = {"headline"} if name == "mail.txt.j2" else set()  # handed to it besides
        assert documented(name) - (own if name == "report.html.j2" else set()) == names - everywhere
    everywhere = set(environment().globals) - set(jinja2.Environment().globals)  # noqa: S701
    filters = set(environment().filters) - set(jinja2.Environment().filters) | {"count"}  # noqa: S701
    assert everywhere | filters == documented("Everywhere")
    assert f"What a template is given: version {CONTEXT_VERSION}" in README


def test_a_template_can_touch_every_documented_name(drawn: Drawn, swept: Path) -> None:
    """None of them is undefined in a block of the page, and every part of a record that the README names is there."""
    filters = {"number", "count", "ordinal", "plural", "listed", "visible", "when", "unbroken"}
    names = documented("report.html.j2") | documented("Everywhere") - filters
    parts = set(re.findall(r"`(record(?:\.\w+)+)`", README)) - {"record.diagnosis.reasons.condition"}
    assert {"record.run", "record.sweep", "record.report"} <= parts
    touched = "".join(
        f"[{name}={{{{ {name} is defined and ({name} | string | length > 0) }}}}]" for name in sorted(names | parts)
    )
    used = "{{ 1.5 | number(2) }} {{ 2 | count }} {{ 3 | ordinal }} {{ ['1', '2'] | listed }} {{ 'a' | visible(9) }}"
    used += "{{ record.run.started | when }}{{ table(rates[1], 'a') }}{{ picture(drawings.loss, pictures.loss) }}"
    used += "{{ 1 | plural }}{{ fact('a', 'b') }}{{ result(record.fits[0], 'loss') }}"
    extended = f'{{% extends "gd/report.html.j2" %}}{{% block banner %}}{touched}{used}{{% endblock %}}'
    page, faults = drawn(archive.read(swept), report=extended)
    assert [] == faults
    assert {f"[{name}=True]" for name in names | parts} == set(re.findall(r"\[[\w.]+=\w+\]", page))


def test_a_broken_mail_template_does_not_stop_the_mail(cases: dict[str, Path], tmp_path: Path) -> None:
    """Each body falls back on its own, and the letter says where the fault is."""
    found = items(cases, tmp_path / "failed")
    (tmp_path / "mail.html.j2").write_text("<p>{{ subject }}</p>\n{{ nothing }}", encoding="utf-8")
    (tmp_path / "mail.txt.j2").write_text("{{ opening }}\n\n{% endfor %}", encoding="utf-8")
    ours = compose(digest(*found.values()), sender=SENDER, reply_to=None, now=NOW)
    theirs = compose(digest(*found.values(), look=Look(templates=str(tmp_path))), sender=SENDER, reply_to=None, now=NOW)
    assert ours.content == theirs.content
    assert ours.light == theirs.light
    html_fault, text_fault = sorted(theirs.faults)
    assert f"{tmp_path}/mail.html.j2, line 2: 'nothing' is undefined. The standard mail stands in its place." == html_fault
    assert text_fault.startswith(f"{tmp_path}/mail.txt.j2, line 3: ")
    assert () == ours.faults


def test_a_mail_of_the_users_own(cases: dict[str, Path], tmp_path: Path) -> None:
    """Both bodies, the text without escapes of markup."""
    found = items(cases, tmp_path / "failed")
    (tmp_path / "mail.html.j2").write_text("<h1>{{ opening }}</h1>\n{% for s in rows %}<p>{{ s.name }}</p>{% endfor %}")
    (tmp_path / "mail.txt.j2").write_text("Acme & Co: {{ name }} {{ '<' }}")
    letter = compose(digest(*found.values(), look=Look(templates=str(tmp_path))), sender=SENDER, reply_to=None, now=NOW)
    assert () == letter.faults
    assert b"Acme & Co: nightly <" in letter.content
    assert b"<h1>1 of 5 failed</h1>" in letter.content


def test_words_of_another_language(drawn: Drawn, reports: dict[str, Report], tmp_path: Path) -> None:
    """Only what is in the user's file is in other words, and nothing of it stays when it is done."""
    words = '[headline]\nconverged = "Konvergiert"\n[converged]\ngap = "{said}; Abstand {gap}."\n'
    page, faults = drawn(words=words)
    assert [] == faults
    assert "Konvergiert: converged" in page
    assert re.search(r"epochs; Abstand \d\s×\s10⁻¹[⁵⁶⁷]\.", html.unescape(page))
    assert "Converged" == headline(reports["converged"].record)
    assert "Abstand" not in sentence(reports["converged"].record)


def test_words_that_are_put_together_everywhere(drawn: Drawn, reports: dict[str, Report]) -> None:
    """A coefficient's table, a cure and the name of a change speak the user's language; nothing else on the page does."""
    report, before = reports["exhausted"], reports["converged"].record
    started = when(before.run.started)
    kept = previous(report.record, before, History("a", ()), line(Path("a/b"), report.record))
    second = Report(report.record.model_copy(update={"previous": kept}), report.log, report.pictures)
    words = """
[coefficients]
caption_optimum = "Koeffizienten <des> Optimums in {target}"
[coefficients.facts]
degrees = "Freiheitsgrade"
[cure]
with_rate = "Derselbe Lauf mit der Lernrate {rate}:"
[changes.names.settings]
"learning rate setting" = "Wahl der Lernrate"
[changes.before]
converged = "Der Lauf vom {when} konvergierte."
[written]
how = "Geschrieben"
"""
    page, faults = drawn(second, words=words)
    standard = render(second)
    assert [] == faults
    for english, german in (
        ("<caption>Coefficients of the exact optimum in units of body_mass_g, each with all other terms held</caption>",
         "<caption>Koeffizienten &lt;des&gt; Optimums in body_mass_g</caption>"),
        ('<th scope="row">Degrees of freedom</th>', '<th scope="row">Freiheitsgrade</th>'),
        ("<p>The same run with a learning rate of 0.44:</p>", "<p>Derselbe Lauf mit der Lernrate 0.44:</p>"),
        ('<th scope="row">how the learning rate was chosen</th>', '<th scope="row">Wahl der Lernrate</th>'),
        (f"The run before, of {started}, converged.", f"Der Lauf vom {started} konvergierte."),
        ('<th scope="row">Written</th>', '<th scope="row">Geschrieben</th>'),
    ):  # fmt: skip
        assert 1 == standard.count(english)
        standard = standard.replace(english, german)
    assert standard == page


def test_render_draws_with_templates_and_says_when_it_does_not(
    cases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gd render`: 0 with templates that work, 1 with those that do not, and a line where a run's own are not named."""
    run, look = tmp_path / "run", tmp_path / "look"
    shutil.copytree(cases["exhausted"], run)
    standard = (run / "report.html").read_bytes()
    look.mkdir()
    (look / "report.html.j2").write_text('{% extends "gd/report.html.j2" %}{% block banner %}Acme{% endblock %}')

    def gd(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["render", str(run), *words])
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    assert (0, "") == gd("--templates", str(look))
    assert "Acme<header" in (run / "report.html").read_text(encoding="utf-8")
    (look / "report.html.j2").write_text("{{ nothing }}")
    status, said = gd("--templates", str(look))
    assert (1, f"{look}/report.html.j2, line 1: 'nothing' is undefined. The standard report stands in its place.\n") == (
        status,
        said,
    )
    assert standard == (run / "report.html").read_bytes()
    record = archive.read_record(run)
    kept = record.report.model_copy(update={"templates": Look(templates=str(look)).fingerprint()})
    archive.write_record(run, record.model_copy(update={"report": kept}), None)
    status, said = gd()
    assert 0 == status
    assert (
        said == "The run's report was drawn with templates of its user: this is the standard one. Name them with --templates.\n"
    )
    status, said = gd("--templates", str(tmp_path / "nowhere"))
    assert (2, True) == (status, f"--templates: {tmp_path}/nowhere: no such folder." in said)


def test_what_a_record_keeps_of_a_folder(tmp_path: Path) -> None:
    """Its names and bytes, not its place."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "style.css").write_text("p {}")
    first, second = (Look(templates=str(tmp_path / name)).fingerprint() for name in ("a", "b"))
    assert first == second
    (tmp_path / "b" / "style.css").write_text("p { }")
    assert first != Look(templates=str(tmp_path / "b")).fingerprint()
    assert Look().fingerprint() is None


def test_recursion_leaves_the_limit_as_it_was(drawn: Drawn) -> None:
    """Of the interpreter, and another page can be drawn after it."""
    before = sys.getrecursionlimit()
    drawn(report='{% include "report.html.j2" %}')
    assert before == sys.getrecursionlimit()
    assert [] == drawn(report='{% extends "gd/report.html.j2" %}')[1]


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_the_flow_completes_and_says_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Templates that are wrong cost no report; each fault is told once, in the log too, and run.json knows of them."""
    from flows.training_report import training_report  # noqa: PLC0415

    look = tmp_path / "look"
    look.mkdir()
    (look / "report.html.j2").write_text("{{ nothing }}")
    (look / "index.html.j2").write_text('{% extends "gd/index.html.j2" %}{% block title %}Acme{% endblock %}')
    sources = [Source(path=str(bundled("notebook")), target="Y"), Source(path=str(tmp_path / "missing.csv"), target="Y")]
    state: Any = training_report(
        sources[:1] * 2, Training(), str(tmp_path / "reports"), return_state=True, templates=str(look), zone="Asia/Tokyo",
        numbers="de",
    )  # fmt: skip
    batch = state.result(raise_on_failure=False)
    assert "COMPLETED" == state.type
    fault = f"{look}/report.html.j2, line 1: 'nothing' is undefined. The standard report stands in its place."
    assert (fault,) == batch.faults
    assert fault in caplog.text
    for item in batch.ended:
        assert "JST" in (Path(item.folder) / "report.html").read_text(encoding="utf-8")
        assert ("Asia/Tokyo", "de", Look(templates=str(look)).fingerprint()) == (
            item.record.report.zone, item.record.report.numbers, item.record.report.templates,
        )  # fmt: skip
        assert " --zone Asia/Tokyo --numbers de" in item.record.run.command
        before = (Path(item.folder) / "report.html").read_bytes()
        assert [] == archive.write_report(Path(item.folder))
        assert before == (Path(item.folder) / "report.html").read_bytes()
    index = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "<title>Acme</title>" in index
    assert "JST" in index
    state = training_report(sources[1:], reports=str(tmp_path / "reports"), return_state=True, templates=str(tmp_path / "gone"))
    batch = state.result(raise_on_failure=False)
    assert (f"{tmp_path}/gone: no such folder. The standard templates are used.",) == batch.faults
    assert batch.ended[0].folder
