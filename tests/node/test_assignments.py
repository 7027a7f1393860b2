"""Scans without patient or study: reconstructed, held, and delivered once an operator has said whose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mrd_client import stream
from open_doors import IDENTITY, MRD, port_of
from pydicom import dcmread

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.node.assignments import assign, held
from lfmri_node.node.config import load
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Identity, Job, Stage
from lfmri_node.recon.types import ScanIdentity

WHO = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella", "StudyInstanceUID": "2.25.4711"}
TEXT = "".join(f'{keyword} = "{value}"\n' for keyword, value in WHO.items())
NOBODY = ScanIdentity()


@pytest.fixture
def hold_scan(node, make_scan) -> Callable[..., Job]:
    """Streams a scan of nobody to a node that runs then, and waits until it is held."""

    def make(identity: ScanIdentity = NOBODY) -> Job:
        node.configure(MRD)
        node.start()
        said, _ = stream(port_of(node), make_scan(n_slices=1, identity=identity))
        assert said["held"] is True
        node.wait_line(" job.held ")
        (job,) = node.jobs()
        assert job.is_held
        return job

    return make


def command(node, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--config", str(node.config)]
    return subprocess.run(line, capture_output=True, text=True, input=text, check=False)


def test_a_scan_of_nobody_is_reconstructed_held_and_delivered_once_somebody_says_whose(
    node, hold_scan, pacs
) -> None:
    job = hold_scan()
    assert pacs.instances() == []
    document = json.loads(command(node, "status", "--json").stdout)
    assert [(item["stage"], item["identity"], item["held"]) for item in document["jobs"]] == [
        ("reconstructed", "missing", True)
    ]
    assert "lfmri-node assign" in command(node, "status").stdout
    doctor = json.loads(command(node, "doctor", "--json").stdout)
    assert [found["code"] for found in doctor["checks"] if found["check"] == "held"] == ["LF-DOC-014"]
    assert [item["job"] for item in json.loads(command(node, "assign", "--json").stdout)["held"]] == [
        job.name
    ]
    done = command(node, "assign", job.name, "--identity", "-", "--json", text=TEXT)
    assert json.loads(done.stdout)["scans"] == [job.name]
    (job,) = node.wait_finished()
    assert job.identity is Identity.ASSIGNED
    objects = [dcmread(item.path) for item in pacs.instances()]
    assert objects
    assert {(str(o.PatientID), str(o.PatientName), o.StudyInstanceUID) for o in objects} == {
        tuple(WHO.values())
    }
    assert node.done_stages(job).count(Stage.RECONSTRUCTED) == 1
    assert "SENTINEL" not in "".join(node.lines)
    assert b"SENTINEL" not in node.layout.job_table.read_bytes()


def test_a_study_without_uid_gets_one_and_what_the_header_says_stays(node, hold_scan, pacs) -> None:
    job = hold_scan(ScanIdentity(patient_id="SENTINEL-4711", patient_name="Zzyzx^Sentinella"))
    command(node, "assign", job.name, "--identity", "-", text='StudyDescription = "head"')
    node.wait_finished()
    objects = [dcmread(item.path) for item in pacs.instances()]
    assert {(str(o.PatientID), o.StudyDescription) for o in objects} == {("SENTINEL-4711", "head")}
    assert all(o.StudyInstanceUID.startswith("2.25.") for o in objects)


def test_a_scan_that_names_both_is_not_held(node, make_scan, pacs) -> None:
    node.configure(MRD)
    node.start()
    said, _ = stream(port_of(node), make_scan(n_slices=1, identity=IDENTITY))
    assert said["held"] is False
    (job,) = node.wait_finished()
    with pytest.raises(JobError, match="LF-JOB-048"):
        assign(load(node.config), job.name, WHO)


def test_held_stays_held_over_restarts_and_the_loss_of_the_table(node, hold_scan, pacs) -> None:
    hold_scan()
    node.kill()
    node.layout.job_table.unlink()
    node.layout.workflows.unlink()
    node.start()
    node.wait_line(" job.held ")
    assert [job.is_held for job in node.jobs()] == [True]
    assert pacs.instances() == []


def test_an_assignment_that_was_made_while_the_node_stood_still_is_taken_up(node, hold_scan, pacs) -> None:
    job = hold_scan()
    node.stop()
    assign(load(node.config), job.name, WHO)
    node.start()
    node.wait_finished()
    assert {dcmread(item.path).PatientID for item in pacs.instances()} == {"SENTINEL-4711"}


def test_an_assignment_outlives_the_table_and_damaged_objects_are_made_again_with_it(
    node, hold_scan, pacs
) -> None:
    job = hold_scan()
    node.stop()
    assign(load(node.config), job.name, WHO)
    node.layout.job_table.unlink()
    node.layout.workflows.unlink()
    node.start()
    node.wait_finished()
    assert {dcmread(item.path).PatientID for item in pacs.instances()} == {"SENTINEL-4711"}


def test_what_cannot_be_assigned_is_refused_and_the_scan_stays_held(node, hold_scan, tmp_path: Path) -> None:
    job = hold_scan()
    config = load(node.config)
    with pytest.raises(JobError, match="LF-JOB-049"):
        assign(config, job.name, {"StudyInstanceUID": "2.25.1"})
    with pytest.raises(ObjectError, match="LF-OBJ-002"):
        assign(config, job.name, {"PatientID": "1", "StudyInstanceUID": "no uid"})
    assert [item.name for item in held(config)] == [job.name]
    assign(config, job.name, WHO)
    with pytest.raises(JobError, match="LF-JOB-050"):
        assign(config, job.name, WHO | {"PatientID": "ANOTHER"})


def test_values_come_by_file_or_standard_input_only(node, hold_scan) -> None:
    hold_scan()
    assert command(node, "assign", "--patient-id", "4711").returncode == 2
    assert command(node, "assign", "--identity", "-").returncode == 2
