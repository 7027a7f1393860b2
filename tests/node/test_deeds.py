"""What operators do to jobs stands in the audit trail: who, what, which job, whose; also what was refused."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mrd_client import stream
from open_doors import MRD, port_of

from lfmri_node.node.audit.person import person
from lfmri_node.node.jobs.job import Failure, Stage
from lfmri_node.node.jobs.store import Store

WHO = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella", "StudyInstanceUID": "2.25.4711"}


def command(node, *words: str, said: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    text = "".join(f'{keyword} = "{value}"\n' for keyword, value in (said or {}).items())
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--config", str(node.config)]
    return subprocess.run(line, capture_output=True, text=True, input=text, check=False)


def deeds(node) -> list[tuple[str, int, str, set[str]]]:
    """Deed, outcome, who, and what it was about, of each line of the trail that tells of a deed."""
    lines = [line for path in sorted(node.layout.audit.iterdir()) for line in path.read_text().splitlines()]
    told = [json.loads(line) for line in lines]
    return [
        (
            event["type"]["code"],
            event["outcome"],
            event["participants"][0]["user"],
            {subject["id"] for subject in event["subjects"]},
        )
        for event in told
        if event["event"]["code"] == "110103"
    ]


def test_deeds_on_the_command_line(node, make_scan) -> None:
    node.configure(MRD)
    node.start()
    stream(port_of(node), make_scan(n_slices=1))
    node.wait_line(" job.held ")
    (held,) = node.jobs()
    assert command(node, "assign", held.name, "--identity", "-", said=WHO).returncode == 0
    (done,) = node.wait_finished()
    other = WHO | {"PatientID": "ANOTHER"}
    assert command(node, "assign", held.name, "--identity", "-", said=other).returncode == 1
    again = ("reprocess", "--json", "--job", held.name, "--method", "cg-sense")
    assert command(node, *again, "--dry-run").returncode == 0
    made = json.loads(command(node, *again).stdout)["measurements"][0]["name"]
    node.wait_finished(2)
    node.stop()
    node.config.write_text(node.config.read_text() + "[retention]\nresults_days = 0.0\n")
    gone = json.loads(command(node, "purge", "--json").stdout)["purges"]
    assert gone
    us = person().user
    whose = {WHO["PatientID"], WHO["StudyInstanceUID"]}
    assert deeds(node)[:3] == [
        ("assign", 0, us, {done.name, *whose}),
        ("assign", 4, us, {done.name, *whose}),
        ("reprocess", 0, us, {made, *whose}),
    ]
    assert deeds(node)[3:] == [("purge", 0, us, {item["measurement"][:12], *whose}) for item in gone]
    trail = "".join(path.read_text() for path in node.layout.audit.iterdir())
    assert "Zzyzx" not in trail
    assert "ANOTHER" not in trail


@pytest.fixture
def put_aside(node, add_measurement) -> str:
    """The name of a job in quarantine, of a node that does not run."""
    key = "a" * 64
    add_measurement(node.folder, key)
    failure = Failure(code="LF-RAW-001", message="m", hint="h", transient=False)
    with closing(Store(node.layout.job_table)) as store:
        store.quarantine(key, failure)
    return key[:12]


def test_a_retry_and_one_that_is_refused(node, put_aside: str) -> None:
    assert command(node, "retry", put_aside).returncode == 0
    assert [job.stage for job in node.jobs()] == [Stage.RECEIVED]
    assert command(node, "retry").returncode == 0, "nothing is in quarantine: nothing is told"
    with closing(Store(node.layout.job_table)) as store:
        store.begin("a" * 64, Stage.DECODED)
        store.forget_running()
        store.quarantine("a" * 64, Failure(code="LF-RAW-001", message="m", hint="h", transient=False))
    assert command(node, "retry").returncode == 0
    assert command(node, "retry", "f" * 12).returncode == 1, "of a job that does not exist nothing is told"
    us = person().user
    assert deeds(node) == [("retry", 0, us, {put_aside})] * 2


def test_the_person_is_who_runs_the_command() -> None:
    found = person()
    login = int(Path("/proc/self/loginuid").read_text())
    expected = os.getuid() if login == 0xFFFFFFFF else login
    assert found.user == pwd.getpwuid(expected).pw_name
    assert found.requestor
