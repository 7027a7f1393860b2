"""A gateway is killed before each of its steps, one after the other: nothing is lost, nothing mixed up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from lfmri_node.node.demo.pacs import Pacs

HARNESS = Path(__file__).parents[1] / "killed_gateway.py"


def walked(tmp_path: Path, pacs: Pacs, content: bytes) -> list[dict]:
    """What lies where after each kill and another start, and last without a kill."""
    source = tmp_path / "source"
    source.write_bytes(content)
    command = [sys.executable, str(HARNESS), str(tmp_path / "root"), str(pacs.port)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_scan_is_sent_under_its_own_identity_and_moved(tmp_path: Path, pacs, make_scan) -> None:
    told = walked(tmp_path, pacs, make_scan(n_slices=1, size=32).read_bytes())
    steps = [item["step"] for item in told]
    assert steps[-1] == ""
    assert len(steps) > 15, steps
    for item in told:
        assert item["found"] == {
            ".": [".lfmri-queue", "sent"],
            "sent": ["scan.dat", "scan.dat.identity.toml"],
            "failed": [],
            ".lfmri-queue": ["lock"],
        }, item
    patients = [str(dcmread(item.path, stop_before_pixels=True).PatientID) for item in pacs.instances()]
    assert set(patients) == {str(item["number"]) for item in told}, "each has come, and none as another"
    assert all(patients.count(name) <= 2 for name in patients), "the node knows the same bytes again"


def test_what_cannot_be_converted_is_put_aside_with_its_reason(tmp_path: Path, pacs) -> None:
    told = walked(tmp_path, pacs, b"BAD")
    assert told[-1]["step"] == ""
    assert len(told) > 10
    names = ["scan.dat", "scan.dat.identity.toml", "scan.dat.log", "scan.dat.txt"]
    for item in told:
        assert item["found"] == {
            ".": [".lfmri-queue", "failed"],
            "sent": [],
            "failed": names,
            ".lfmri-queue": ["lock"],
        }, item
    assert pacs.instances() == []
