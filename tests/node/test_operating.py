"""Everything that an operator does, as he does it, with the jobs in SQLite and in PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest
from mrd_client import stream
from open_doors import MRD, port_of
from postgres_cluster import PASSWORD
from servers import Hook, serving

from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.recon.mrd.file import sha256_of
from lfmri_node.recon.types import ScanIdentity

WHO = 'PatientID = "SENTINEL-4711"\nPatientName = "Zzyzx^Sentinella"\nStudyInstanceUID = "2.25.4711"\n'


@pytest.fixture
def node(any_node):
    """On either database: every test here runs twice."""
    return any_node


def asked(node, *words: str, text: str = "") -> Any:
    """What a command says as JSON."""
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--json", "--config", str(node.config)]
    done = subprocess.run(line, capture_output=True, text=True, input=text, check=False)
    assert done.returncode == 0 or words == ("doctor",), done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return json.loads(done.stdout)


def codes(node) -> dict[str, str]:
    """Check of `doctor` -> its code; "" where all is well."""
    return {found["check"]: found["code"] for found in asked(node, "doctor")["checks"]}


def edited(node, old: str, new: str) -> None:
    text = node.config.read_text()
    assert text.count(old) == 1
    node.config.write_text(text.replace(old, new))


def in_quarantine(jobs: list[Job]) -> bool:
    return any(job.stage is Stage.QUARANTINED for job in jobs)


def test_a_job_in_quarantine_is_shown_told_of_and_retried(node, pacs, make_scan) -> None:
    scan, hook = make_scan(), Hook()
    node.holds.mkdir()
    (node.holds / "reconstruct.dies").write_text(sha256_of(scan))
    with serving(hook):
        node.configure(
            f'[[notify]]\nkind = "webhook"\nname = "hook"\nurl = "{hook.url}"\nat_most_every_s = 0.1\n'
            'subjects = ["quarantine"]\n'
        )
        node.start()
        node.send(scan)
        (job,) = [job for job in node.wait_for(in_quarantine) if not job.is_measurement]
        _, told = hook.got.get(timeout=120)
    assert [item["code"] for item in json.loads(told)["new"]] == ["LF-JOB-015"]
    (shown,) = asked(node, "status")["jobs"]
    assert (shown["stage"], shown["failure"]["code"]) == ("quarantined", "LF-JOB-015")
    assert codes(node)["jobs"] == "LF-DOC-010"
    (node.holds / "reconstruct.dies").unlink()
    assert asked(node, "retry", job.name)["jobs"] == [job.name]
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3
    assert codes(node)["jobs"] == ""


def test_all_in_quarantine_are_retried_while_the_node_is_stopped(node, pacs, make_scan) -> None:
    scan = make_scan()
    node.holds.mkdir()
    (node.holds / "reconstruct.dies").write_text(sha256_of(scan))
    node.start()
    node.send(scan)
    node.wait_for(in_quarantine)
    node.stop()
    (node.holds / "reconstruct.dies").unlink()
    assert len(asked(node, "retry")["jobs"]) == 1
    node.start()
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT


def test_a_scan_of_nobody_is_assigned(node, pacs, make_scan) -> None:
    node.configure(MRD)
    node.start()
    stream(port_of(node), make_scan(n_slices=1, identity=ScanIdentity()))
    node.wait_line(" job.held ")
    (held,) = asked(node, "assign")["held"]
    assert codes(node)["held"] == "LF-DOC-014"
    assert asked(node, "assign", held["job"], "--identity", "-", text=WHO)["scans"] == [held["job"]]
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert len(pacs.instances()) == 1


def test_a_corrected_scan_is_accepted(node, pacs, make_scan) -> None:
    scan = make_scan(n_slices=1)
    node.start()
    node.send(scan, StudyInstanceUID="2.25.1", AccessionNumber="WRONG")
    (first,) = node.wait_finished()
    with pytest.raises(NodeError):
        node.send(scan, StudyInstanceUID="2.25.1", AccessionNumber="RIGHT")
    (refused,) = asked(node, "accept")["corrections"]
    done = asked(node, "accept", refused["scan"])
    assert done["firsts"] == [first.name]
    jobs = node.wait_finished(2)
    assert {job.stage for job in jobs} == {Stage.SENT}
    assert {job.summary.get("superseded_by") for job in jobs} == {None, done["name"]}
    assert len(pacs.instances()) == 2


def test_another_destination_is_taken_up_and_old_scans_are_made_again(
    node, pacs, make_scan, tmp_path
) -> None:
    node.start()
    node.send(make_scan())
    (first,) = node.wait_finished()
    with Pacs(tmp_path / "second") as second:
        there = (
            f'kind = "dicom"\nname = "second"\nhost = "127.0.0.1"\nport = {second.port}\nae_title = "PACS"'
        )
        edited(node, "[retry]", f"[[destinations]]\n{there}\n[retry]")
        assert asked(node, "reload")["applied"] == ["destinations"]
        (made,) = asked(node, "reprocess", "--job", first.name, "--method", "cg-sense")["measurements"]
        assert made["why_not"] == ""
        node.wait_finished(2)
        assert len(second.instances()) == 3
    assert len(pacs.instances()) == 6
    (again,) = asked(node, "reprocess", "--job", first.name, "--method", "cg-sense")["measurements"]
    assert again["why_not"]


def test_pages_say_how_many_jobs_there_are(node, make_scan) -> None:
    node.configure("[monitor]\nport = 0\n")
    node.start()
    (line,) = [line for line in node.lines if " monitor.ready " in line]
    pages = f"http://127.0.0.1:{line.split('port=')[1].split()[0]}"
    node.send(make_scan())
    node.wait_finished()
    with urllib.request.urlopen(f"{pages}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    assert 'lfmri_jobs{stage="sent"} 1.0' in lines
    with urllib.request.urlopen(f"{pages}/readyz", timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("serving", [True, False])
def test_what_is_old_is_purged_and_its_record_stays(node, make_scan, serving: bool) -> None:
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    node.stop()
    for path in node.layout.root.rglob("*"):
        os.utime(path, (time.time() - 86_400,) * 2)
    node.configure("[retention]\nraw_days = 0\nresults_days = 0\n")
    assert any(node.layout.raw.glob("*.dcm"))
    if serving:
        node.start()
        node.wait_for(lambda _jobs: not any(node.layout.raw.glob("*.dcm")))
    else:
        asked(node, "purge")
    assert not any(node.layout.raw.glob("*.dcm"))
    assert not node.layout.objects(job.key).exists()
    (kept,) = asked(node, "status")["jobs"]
    assert (kept["job"], kept["stage"]) == (job.key, "sent")
