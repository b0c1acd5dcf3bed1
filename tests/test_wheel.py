"""What pip installs works without the clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_a_wheel_holds_all_it_needs(tmp_path: Path) -> None:
    """Built, unpacked elsewhere and run: templates, style sheet and bundled CSVs are inside."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("gd-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    expected = {"gd/templates/report.html.j2", "gd/templates/style.css", "gd/datasets/notebook.csv", "gd/datasets/penguins.csv"}
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests", "reports"))]
    url = PREFECT_API_URL.value()
    assert url is not None
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PREFECT_API_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "gd", "run", "--preset", "notebook", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    record = json.loads(done.stdout)
    assert "disagree" == record["verdict"]
    assert str(tmp_path / "site") in str(Path(record["dataset"]["path"]).absolute()) or record["dataset"]["path"].startswith(
        "site"
    )
    assert record["run"]["git"] is None
    assert list((tmp_path / "reports" / "notebook").glob("*/report.html"))
