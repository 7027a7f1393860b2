"""Scans without patient or study: reconstructed, held, and delivered once an operator has said whose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mrd_client import stream
from open_doors import IDENTITY, MRD, port_of
from pydicom import dcmread

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.node.assignments import assign, held
from lfmri_node.node.config import load
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.assignments import Assignments
from lfmri_node.node.jobs.job import Failure, Identity, Job, Stage, quarantined, unencoded
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.recon.types import ScanIdentity

WHO = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella", "StudyInstanceUID": "2.25.4711"}
TEXT = "".join(f'{keyword} = "{value}"\n' for keyword, value in WHO.items())
WRONG = WHO | {"PatientID": "ANOTHER"}
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


def correct(node, job: Job) -> None:
    """Assign what is right in place of what was assigned before, once nothing of it is under way."""
    while True:
        try:
            assign(load(node.config), job.name, WHO)
        except JobError as error:
            if error.code != "LF-JOB-007":
                raise
        else:
            return


def patients(pacs) -> set[str]:
    return {str(dcmread(item.path).PatientID) for item in pacs.instances()}


def test_a_wrong_identity_is_corrected_until_somebody_has_it(node, hold_scan, pacs) -> None:
    job = hold_scan()
    pacs.__exit__(None, None, None)
    assign(load(node.config), job.name, WRONG)
    node.wait_for(lambda jobs: jobs[0].failure is not None and jobs[0].stage is Stage.ENCODED)
    correct(node, job)
    with pacs:
        (job,) = node.wait_finished()
        assert patients(pacs) == {"SENTINEL-4711"}
        assign(load(node.config), job.name, WHO)
        with pytest.raises(JobError, match="LF-JOB-050"):
            assign(load(node.config), job.name, WRONG)
    assert node.done_stages(job).count(Stage.ENCODED) == 2


def test_a_correction_that_was_cut_off_leaves_the_scan_held(node, hold_scan, pacs) -> None:
    job = hold_scan()
    pacs.__exit__(None, None, None)
    assign(load(node.config), job.name, WRONG)
    node.wait_for(lambda jobs: jobs[0].failure is not None and jobs[0].stage is Stage.ENCODED)
    node.kill()
    with closing(Assignments(databases_of(load(node.config)).table)) as table:
        table.forget_running()
        table.take_back(table.job(job.parent))
    with pacs:
        node.start()
        node.wait_line(" job.held ")
        assert pacs.instances() == []
        assign(load(node.config), job.name, WHO)
        node.wait_finished()
        assert patients(pacs) == {"SENTINEL-4711"}


def test_what_is_being_encoded_is_not_corrected(node, hold_scan, pacs) -> None:
    job = hold_scan()
    node.stop()
    encoding = node.hold("encode.before")
    assign(load(node.config), job.name, WRONG)
    node.start()
    encoding.wait()
    with pytest.raises(JobError, match="LF-JOB-007"):
        assign(load(node.config), job.name, WHO)
    encoding.remove_and_release()
    node.wait_finished()
    assert patients(pacs) == {"ANOTHER"}


def test_objects_that_go_nowhere_are_corrected(node, hold_scan) -> None:
    job = hold_scan()
    node.stop()
    before, _, after = node.config.read_text().partition("[[destinations]]")
    node.config.write_text(before + "[retry]" + after.partition("[retry]")[2])
    assign(load(node.config), job.name, WRONG)
    node.start()
    node.wait_finished()
    correct(node, job)
    node.wait_for(
        lambda jobs: jobs[0].finished_at is not None and node.done_stages(job).count(Stage.ENCODED) == 2
    )
    found = list(node.layout.objects(job.key).glob("*.dcm"))
    assert {str(dcmread(path).PatientID) for path in found} == {"SENTINEL-4711"}


def test_only_what_was_encoded_goes_back() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    failure = Failure(code="LF-DEL-002", message="m", hint="h", transient=False)
    job = Job(
        key="a" * 64,
        source_sha256="a" * 64,
        calling_ae="SCANNER",
        stage=Stage.ENCODED,
        recipe={},
        summary={},
        received_at=at,
        updated_at=at,
        contrast=0,
    )
    assert unencoded(job, at=at).stage is Stage.DECODED
    again = unencoded(quarantined(job, failure, at=at), at=at)
    assert (again.stage, again.failure, again.is_open) == (Stage.DECODED, None, True)
    earlier = replace(job, stage=Stage.CALIBRATED)
    assert unencoded(earlier, at=at) == earlier
    aside = quarantined(earlier, failure, at=at)
    assert unencoded(aside, at=at) == aside


def test_values_come_by_file_or_standard_input_only(node, hold_scan) -> None:
    hold_scan()
    assert command(node, "assign", "--patient-id", "4711").returncode == 2
    assert command(node, "assign", "--identity", "-").returncode == 2
