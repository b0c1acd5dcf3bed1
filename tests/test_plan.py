"""prefect.yaml, read before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from flows.plan import Parameters, PlanError, read
from flows.training_report import training_report

ROOT = Path(__file__).parent.parent
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "entrypoint": "flows.training_report.training_report",
    "parameters": {"sources": [{"path": "a.csv", "target": "y"}], "reports": "out"},
    "work_pool": {"name": "gd"},
}


def test_the_repositorys_own_plan() -> None:
    """It holds the nightly example over bundled data, its zone, one run at a time, and the delivery."""
    plan = read(ROOT / "prefect.yaml", ())
    assert (("nightly",), ("gd",), ("reports",)) == (plan.names, plan.pools, plan.reports)
    nightly, delivery = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for source in nightly["parameters"]["sources"]:
        assert (ROOT / source["path"]).is_file()
    assert [{"cron": "0 2 * * *", "timezone": "Europe/Berlin"}] == nightly["schedules"]
    assert {"limit": 1, "collision_strategy": "CANCEL_NEW"} == nightly["concurrency_limit"] == delivery["concurrency_limit"]
    assert {"to", "owners"} == set(nightly["parameters"]["mail"])


def test_the_plan_knows_the_flows_parameters() -> None:
    """Name by name and default by default, so that what is refused here is what the flow refuses."""
    flow = {name: item.default for name, item in signature(training_report.fn).parameters.items() if name != "sources"}
    assert flow == {name: field.default for name, field in Parameters.model_fields.items() if name != "sources"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": ""}, "deployment 1: needs a name and an entrypoint."),
        ({"entrypoint": None}, "deployment nightly: needs a name and an entrypoint."),
        ({"work_pool": {}}, "deployment nightly: names no work pool."),
        ({"parameters": {}}, "deployment nightly, sources: is missing."),
        ({"parameters": {"sources": [], "wrong": 1}}, "deployment nightly, wrong: no such setting."),
        ({"parameters": {"sources": [], "runner": {"kind": "fork"}}}, "deployment nightly, runner.kind: "),
        (
            {"parameters": {"sources": [], "runner": {"kind": "dask", "adress": "tcp://10.0.0.5:8786"}}},
            "runner.adress: no such setting; the nearest name is address.",
        ),
        ({"parameters": {"sources": [{"path": "a.csv"}]}}, "deployment nightly, sources.0.target: is missing."),
        (
            {"parameters": {"sources": [], "training": {"epochs": 0}}},
            "training.epochs: Input should be greater than or equal to 1",
        ),
        (
            {"parameters": {"sources": [], "training": {"epoch": 1}}},
            "training.epoch: no such setting; the nearest name is epochs.",
        ),
        ({"parameters": {"sources": [], "mail": {"to": "a@c.example"}}}, "mail.to: write a list, such as [a@c.example]."),
        ({"schedules": [{"cron": "0 25 * * *"}]}, "deployment nightly, cron: '0 25 * * *' is none. Write minute, hour, day"),
        ({"schedules": [{"cron": "0 2 * * *", "timezone": "Berlin"}]}, "timezone: 'Berlin' is none. Write a name such as"),
        ({"schedules": ["0 2 * * *"]}, "deployment nightly, schedules: '0 2 * * *' is none."),
        ({"schedule": {"cron": "0 2 * * *"}}, "deployment nightly: has `schedule`. Write `schedules` with a list"),
        ({"work_pool": "gd"}, "deployment nightly: names no work pool."),
        ({"parameters": {"sources": [], "mail": {"to": ["nobody"]}}}, "mail.to.0: 'nobody' is no e-mail address"),
        ({"parameters": {"sources": [], "mail": {"to": ["a@b.example\nBcc: c@d.example"]}}}, "mail.to.0: 'a@b.example\\nBcc"),
        (
            {"parameters": {"sources": [], "mail": {"to": ["a@b.example"]}}},
            "a@b.example is outside of GD_MAIL_DOMAINS (c.example).",
        ),
        ({"parameters": {"sources": [], "mail": {"owners": ["a@b.example"]}}}, "a@b.example is outside of GD_MAIL_DOMAINS"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """One line: file, deployment, parameter, what is wrong."""
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump({"deployments": [NIGHTLY | change]}), encoding="utf-8")
    with pytest.raises(PlanError) as refused:
        read(file, ("c.example",))
    assert str(refused.value).startswith(str(file))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "names no deployment"),
        ("- 1", "names no deployment"),
        ("deployments: [", "cannot be read"),
        ("deployments: [1]", "needs a name"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """Empty, something else, broken."""
    (tmp_path / "prefect.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=expected):
        read(tmp_path / "prefect.yaml", ())


def test_a_plan_that_is_missing(tmp_path: Path) -> None:
    """The remedy is in the line."""
    with pytest.raises(PlanError, match=r"no such file\. It says what runs when"):
        read(tmp_path / "prefect.yaml", ())


def test_another_flow_is_none_of_ours(tmp_path: Path) -> None:
    """Its deployment gets a worker, and its parameters are its own business."""
    other = {"name": "else", "entrypoint": "elsewhere.py:flow", "parameters": {"x": 1}, "work_pool": {"name": "pool"}}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [NIGHTLY, other]}), encoding="utf-8")
    plan = read(tmp_path / "prefect.yaml", ())
    assert (("nightly",), ("gd", "pool"), ("out",)) == (plan.names, plan.pools, plan.reports)


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_prefects_own_command_deploys_it_as_it_is() -> None:
    """`prefect deploy --all` on a server that has the work pool: schedules, zone, limit, parameters, form."""
    url = str(PREFECT_API_URL.value())
    environment = os.environ | {"PREFECT_API_URL": url, "PWD": str(ROOT), "COLUMNS": "200"}

    def prefect(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout + done.stderr

    prefect("work-pool", "create", "gd", "--type", "process")
    prefect("deploy", "--all")
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("training-report/nightly")
        assert client.read_deployment_by_name("delivery/delivery").schedules
    [schedule] = nightly.schedules
    assert ("0 2 * * *", "Europe/Berlin") == (schedule.schedule.cron, schedule.schedule.timezone)  # type: ignore[union-attr]
    assert nightly.global_concurrency_limit is not None
    assert 1 == nightly.global_concurrency_limit.limit
    assert nightly.concurrency_options is not None
    assert "CANCEL_NEW" == nightly.concurrency_options.collision_strategy.value
    assert [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}] == nightly.pull_steps
    assert nightly.parameter_openapi_schema is not None
    form = nightly.parameter_openapi_schema["definitions"]["Mailing"]["properties"]
    assert all(field["description"] for field in form.values())


def test_what_is_not_there_yet_is_said(tmp_path: Path) -> None:
    """A source may come before its time: it is no fault, but a person wants to know."""
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    parameters = {"sources": [{"path": path, "target": "y"} for path in ("a.csv", "b.csv", "*.csv", "none/*.csv")]}
    (tmp_path / "prefect.yaml").write_text(
        yaml.safe_dump({"deployments": [NIGHTLY | {"parameters": parameters}]}), encoding="utf-8"
    )
    missing = ("nightly: b.csv is not there now.", "nightly: none/*.csv is not there now.")
    assert missing == read(tmp_path / "prefect.yaml", ()).missing
