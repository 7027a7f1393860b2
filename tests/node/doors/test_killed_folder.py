"""A watched folder's door, and its converter, are killed before each of their steps, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from open_doors import IDENTITY

HARNESS = Path(__file__).parents[1] / "killed_folder.py"
TAKEN = {
    "taken": 1,
    "refused": 0,
    "waiting": False,
    "objects": 1,
    "values": 1,
    "jobs": 1,
    "incoming": 0,
    "converting": 0,
    "quarantine": 0,
    "incomplete": 0,
}


def walked(kind: str, folder: Path, scan: Path) -> list[dict]:
    """What was left and found at each kill, and last without one."""
    command = [sys.executable, str(HARNESS), kind, str(folder), str(scan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("kind", "n_steps"), [("door", 12), ("converter", 2)])
def test_the_file_is_one_job_and_lies_in_taken_once(kind, n_steps, tmp_path: Path, make_scan) -> None:
    told = walked(kind, tmp_path / kind, make_scan(n_slices=1, size=32, identity=IDENTITY))
    steps = [item["step"] for item in told]
    assert steps[-1] == ""
    assert len(steps) > n_steps, steps
    for item in told:
        left = item["left"]
        assert left["waiting"] or left["jobs"] == 1, f"moved before its job was on record: {item}"
        assert left["waiting"] != bool(left["taken"]), item
        assert item["found"] == TAKEN, item


def test_what_cannot_become_a_job_is_refused_once_with_its_reason(tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no HDF5 at all" * 100)
    told = walked("door", tmp_path / "door", bad)
    assert told[-1]["step"] == ""
    assert len(told) > 5
    for item in told:
        assert item["left"]["waiting"] or item["left"]["refused"] == 2, item
        refused = {**TAKEN, "taken": 0, "objects": 0, "values": 0, "jobs": 0, "refused": 2}
        assert item["found"] == refused, item
