"""A gateway is killed before each of its steps, one after the other: nothing is lost, nothing mixed up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread

from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.steps import Converter

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


def test_a_converter_and_what_it_started_end_with_a_watch_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    (tmp_path / "file").touch()
    script = f"sh -c 'sleep 600 & echo $$ $! > {tmp_path / 'started'}; wait' {{in}} {{out}}"
    run = f"""
import threading
from pathlib import Path
from lfmri_node.node.gateway.steps import Converter
folder = Path({str(tmp_path)!r})
Converter.of({script!r}, 600).run(folder / "file", folder / "out", folder / "log", threading.Event())
"""
    with subprocess.Popen([sys.executable, "-c", run]) as watch:
        numbers = (tmp_path / "started").read_text().split()
        processes = [psutil.Process(int(number)) for number in numbers]
        watch.kill()
    _, alive = psutil.wait_procs(processes, timeout=120)
    assert len(numbers) == 2
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_what_a_converter_prints_is_bounded_and_its_last_words_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    talks = Converter.of("sh -c 'yes | head -c 5000000; echo why; exit 3' {in} {out}", 120)
    with pytest.raises(NodeError, match="LF-GWY-003"):
        talks.run(tmp_path / "file", tmp_path / "out", tmp_path / "log", threading.Event())
    said = (tmp_path / "log").read_bytes()
    assert len(said) == 1 << 20
    assert said.endswith(b"why\n")


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
