"""Storage commitment through a whole node with a partner that is not ours: Orthanc, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from orthanc_archive import OrthancArchive, free_port, running_orthanc

from lfmri_node.dicom_io.types import Proof
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger


@pytest.fixture
def archive(node, program: Callable[[str], Path], tmp_path: Path) -> Iterator[OrthancArchive]:
    """An Orthanc that the node delivers to, and that knows the port where the node will listen."""
    home, port = tmp_path / "orthanc", free_port()
    home.mkdir()
    with running_orthanc(program("Orthanc"), home, calling="LFMRI", report_port=port) as server:
        before, after = node.config.read_text().split("[[destinations]]")
        node.config.write_text(
            before.replace("port = 0\n", f"port = {port}\n")
            + f"[[destinations]]\nkind = 'dicom'\nname = 'orthanc'\nhost = '127.0.0.1'\n"
            f"port = {server.dicom_port}\nae_title = 'ORTHANC'\ncommitment = true\ncommitment_wait_s = 2\n"
            f"[retry]{after.split('[retry]')[1]}"
        )
        yield server


def proofs(node, job: Job) -> set[tuple[bool, bool | None, Proof]]:
    with closing(Ledger(node.layout.job_table)) as ledger:
        receipts = [stored.receipt for stored in ledger.receipts(job.key)]
        assert len(receipts) == len(ledger.objects(job.key))
    return {(r.delivered, r.verified, r.proof) for r in receipts}


def held(archive: OrthancArchive, node, job: Job) -> list[bool]:
    """Of each object, whether Orthanc has it."""
    with closing(Ledger(node.layout.job_table)) as ledger:
        uids = [item.sop_instance_uid for item in ledger.objects(job.key)]
    return [archive.client.instances.lookup(uid) is not None for uid in uids]


def test_a_job_is_verified_when_orthanc_has_committed_to_it(node, archive, make_scan) -> None:
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED
    assert proofs(node, job) == {(True, True, Proof.COMMITMENT)}
    assert held(archive, node, job) == [True] * 3


def test_what_orthanc_has_lost_by_the_time_of_its_report_is_sent_again(node, archive, make_scan) -> None:
    """Its first reports do not get through; meanwhile an object is deleted there."""
    archive.report_to(free_port())
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None)
    assert (job.stage, job.failure.code) == (Stage.ENCODED, "LF-DEL-006")
    with closing(Ledger(node.layout.job_table)) as ledger:
        lost = ledger.objects(job.key)[1].sop_instance_uid
    archive.client.instances.delete(archive.client.instances.lookup(lost))
    archive.report_to(node.port)
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED
    assert proofs(node, job) == {(True, True, Proof.COMMITMENT)}
    assert held(archive, node, job) == [True] * 3
