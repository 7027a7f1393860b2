"""A corrected scan that was refused: an operator lets it follow the first, and nothing vanishes silently."""

import json
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import load
from lfmri_node.node.corrections import accept, corrections
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.retry import retry_all, retry_job

FIRST = {"PatientID": "1", "PatientName": "A^B", "StudyInstanceUID": "2.25.1", "AccessionNumber": "WRONG"}
RIGHT = FIRST | {"AccessionNumber": "RIGHT"}
CHANGES = {
    "LF-NET-019": {"AccessionNumber": "RIGHT"},
    "LF-NET-017": {"PatientID": "2"},
}


def send(node, attributes: dict, scan: Path, *, size: int = 1 << 30) -> list[int | None]:
    folder = node.folder / f"gateway-{len(list(node.folder.glob('gateway-*')))}"
    folder.mkdir()
    there = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
    )
    paths = wrap(scan, folder, attributes, max_part_bytes=size)
    return [receipt.dimse_status for receipt in send_objects(there, paths)]


def command(node, *words: str) -> str:
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--config", str(node.config)]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("code", "serving"), [("LF-NET-019", True), ("LF-NET-017", False)])
def test_the_corrected_scan_is_delivered_beside_the_first_whose_objects_are_named(
    node, make_scan, code: str, serving: bool
) -> None:
    scan, right = make_scan(n_slices=1), FIRST | CHANGES[code]
    node.start()
    assert send(node, FIRST, scan) == [0]
    node.wait_finished()
    assert send(node, right, scan)[0] >> 8 == 0xC1
    (found,) = json.loads(command(node, "accept", "--json"))["corrections"]
    assert (found["code"], found["parts"]) == (code, "1/1")
    if not serving:
        node.stop()
    ledger = Ledger(node.layout.job_table)
    (first,) = node.jobs()
    done = json.loads(command(node, "accept", found["scan"], "--json"))
    held = {stored.receipt.sop_instance_uid for stored in ledger.receipts(first.key)}
    assert {item["sop_instance_uid"] for item in done["objects"]} == held
    assert {item["destination"] for item in done["objects"]} == {"pacs"}
    assert done["firsts"] == [first.name]
    if not serving:
        node.start()
    before, after = sorted(node.wait_finished(2), key=lambda job: job.received_at)
    assert (before.stage, after.stage) == (Stage.SENT, Stage.SENT)
    assert before.summary["superseded_by"] == done["name"]
    new = {item.sop_instance_uid for item in ledger.objects(after.key)}
    assert not new & held
    assert {item.sop_instance_uid for item in node.pacs.instances()} == new | held, "nothing was removed"
    assert {item.conflicts for item in node.pacs.instances()} == {0}
    assert send(node, FIRST, scan) == [0], "the first is still known"
    assert json.loads(command(node, "accept", "--json"))["corrections"] == []


def test_the_same_object_sent_again_after_it_was_accepted_is_success(node, make_scan) -> None:
    scan = make_scan(n_slices=1)
    node.start()
    send(node, FIRST, scan)
    node.wait_finished()
    send(node, RIGHT, scan)
    (refused,) = node.layout.refused()
    content = refused.read_bytes()
    config = load(node.config)
    accept(config, corrections(config)[0].name)
    node.wait_finished(2)
    again = node.folder / "again.dcm"
    again.write_bytes(content)
    there = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
    )
    (receipt,) = send_objects(there, [again])
    assert receipt.dimse_status == 0
    assert len(node.jobs()) == 2
    assert node.layout.refused() == []
    node.stop()
    node.start()
    assert node.lines[-1].strip().endswith("count=0"), "nothing is left to do"


def test_a_first_that_is_not_delivered_yet_never_is(node, pacs, make_scan) -> None:
    """It waits for its PACS; also `retry`, and the wrong scan sent again, leave it alone."""
    scan = make_scan(n_slices=1)
    pacs.__exit__(None, None, None)
    node.start()
    send(node, FIRST, scan)
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure and not jobs[0].running)
    send(node, RIGHT, scan)
    config = load(node.config)
    done = accepted_when_idle(config)
    assert done.objects == ()
    first = next(job for job in node.jobs() if job.name in done.firsts)
    assert (first.stage, first.failure.code) == (Stage.QUARANTINED, "LF-JOB-044")
    assert first.name not in retry_all(config).names
    with pytest.raises(JobError, match="LF-JOB-044"):
        retry_job(config, first.name)
    assert send(node, FIRST, scan) == [0]
    with pacs:
        node.wait_for(lambda jobs: len(jobs) == 2 and sum(job.stage is Stage.SENT for job in jobs) == 1)
        node.stop()
        node.start()
    held = {item.sop_instance_uid for item in pacs.instances()}
    with closing(Ledger(node.layout.job_table)) as ledger:
        assert held.isdisjoint(item.sop_instance_uid for item in ledger.objects(first.key))
    assert held


def accepted_when_idle(config):
    """Deliveries are tried again and again: between two tries it can be accepted."""
    done = None
    while done is None:
        with suppress(JobError):  # LF-JOB-007; pytest's timeout ends any other
            done = accept(config, corrections(config)[0].name)
    return done


def test_a_scan_in_parts_needs_all_of_them(node, make_scan) -> None:
    scan = make_scan(n_slices=1)
    size = scan.stat().st_size // 2 + 1
    node.start()
    send(node, FIRST, scan)
    node.wait_finished()
    answers = send(node, RIGHT, scan, size=size)
    assert len(answers) >= 2
    assert 0 not in answers
    config = load(node.config)
    (found,) = corrections(config)
    assert len(found.parts) == found.n_parts == len(answers)
    kept = found.parts[-1].path
    kept.rename(node.folder / "away")
    with pytest.raises(JobError, match="LF-JOB-045"):
        accept(config, found.name)
    with pytest.raises(JobError, match="LF-JOB-043"):
        accept(config, "f" * 64)
    (node.folder / "away").rename(kept)
    accept(config, found.name)
    node.wait_finished(2)


def test_a_changed_object_of_other_samples_is_no_correction(node, make_scan) -> None:
    node.start()
    send(node, FIRST, make_scan(n_slices=1))
    node.wait_finished()
    strange = node.layout.spool / "quarantine" / f"LF-NET-016-{'0' * 64}.dcm"
    (node.folder / "other").mkdir()
    (other,) = wrap(make_scan("other.h5", seed=5, n_slices=1), node.folder / "other", FIRST)
    strange.write_bytes(other.read_bytes())
    assert corrections(load(node.config)) == []


@pytest.mark.parametrize("place", ["linked", "superseded", "recorded"])
def test_killed_anywhere_the_next_call_ends_it(node, make_scan, place: str) -> None:
    scan = make_scan(n_slices=1)
    node.start()
    send(node, FIRST, scan)
    node.wait_finished()
    send(node, RIGHT, scan)
    node.stop()
    (found,) = corrections(load(node.config))
    program = KILLED.format(config=str(node.config), place=place, name=found.name)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert len(node.layout.refused()) == 1
    (again,) = corrections(load(node.config))
    done = accept(load(node.config), again.name)
    assert len(done.objects) == 1
    assert node.layout.refused() == []
    assert len([job for job in node.jobs() if job.is_open]) == 1
    assert done.name == next(job.name for job in node.jobs() if job.is_open)


KILLED = """
import os, signal
from pathlib import Path
from lfmri_node.node import corrections
from lfmri_node.node.config import load
from lfmri_node.node.jobs.corrections import Corrections

def then_die(function):
    def called(*arguments, **options):
        function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return called

place = {place!r}
if place == "linked":
    corrections.sync_directory = then_die(corrections.sync_directory)
elif place == "superseded":
    Corrections.supersede = then_die(Corrections.supersede)
else:
    Corrections.add_measurement = then_die(Corrections.add_measurement)
corrections.accept(load(Path({config!r})), {name!r})
"""
