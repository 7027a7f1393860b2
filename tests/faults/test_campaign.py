"""A short campaign as ``make faults`` runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run.py"


@pytest.mark.timeout(1800)  # on a machine that does much else; a minute on an idle one
def test_six_kills_lose_double_and_put_aside_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        str(RUN),
        "--kills",
        "6",
        "--real-share",
        "0",
        "--shared-share",
        "0",
        "--out",
        str(report),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["kills"] == 6
    assert said["delivered"] == said["acknowledged"] > 0
    assert (said["lost"], said["doubled"], said["quarantined"]) == (0, 0, 0)
