"""A short campaign as ``make faults`` runs it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from week import Week

HERE = Path(__file__).parent


def ran(script: str, report: Path, *options: str) -> dict:
    """What a campaign reports that came to a good end."""
    command = [sys.executable, str(HERE / script), *options, "--out", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["delivered"] == said["acknowledged"] > 0
    assert (said["lost"], said["doubled"], said["quarantined"]) == (0, 0, 0)
    return said


@pytest.mark.timeout(1800)  # on a machine that does much else; a minute on an idle one
def test_six_kills_lose_double_and_put_aside_nothing(tmp_path: Path) -> None:
    said = ran(
        "run.py", tmp_path / "fault-report.json", "--kills", "6", "--real-share", "0", "--shared-share", "0"
    )
    assert said["kills"] == 6
    assert sum(said["faults"].values()) > 6
    assert "| **0** | lost |" in (tmp_path / "fault-report.md").read_text(encoding="utf-8")


@pytest.mark.timeout(1800)
def test_a_short_week_arrives_once(tmp_path: Path) -> None:
    said = ran("week.py", tmp_path / "week-report.json", "--exams", "24", "--kills", "2")
    assert (said["acknowledged"], said["days"], said["kills"]) == (24, 7, 2)


def test_a_week_does_not_wait_for_an_exam_after_its_last(tmp_path: Path) -> None:
    """What is sent again after a restore is in the PACS already: nothing more arrives."""
    week = Week(tmp_path, exams=24, seed=1, show=print)
    week.healthy, week.node = SimpleNamespace(n_studies=lambda: 24), SimpleNamespace(alive=True)
    week.wait_arrivals(3, "after the last")
    assert week.verdict.starved == 0
