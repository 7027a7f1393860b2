"""A whole node in its own process: what comes in goes out once, and what is said of it is true."""

from pathlib import Path

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.demo.pacs import dataset_sha256
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.recon.mrd.file import sha256_of

PATIENT = {"PatientID": "P-1", "PatientName": "Part^Ial"}

ALL = [Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT]


def test_one_scan_in_its_objects_in_the_pacs(node, pacs, make_scan) -> None:
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    ledger = Ledger(node.layout.job_table)
    objects = ledger.objects(job.key)
    assert len(objects) == 3
    held = {item.sop_instance_uid: item for item in pacs.instances()}
    assert held.keys() == {item.sop_instance_uid for item in objects}
    for item in objects:
        assert held[item.sop_instance_uid].dataset_sha256 == dataset_sha256(item.path)
        assert (held[item.sop_instance_uid].stores, held[item.sop_instance_uid].conflicts) == (1, 0)
    receipts = [stored.receipt for stored in ledger.receipts(job.key)]
    assert [(r.delivered, r.verified, r.dimse_status) for r in receipts] == [(True, None, 0)] * 3
    assert job.stage is Stage.SENT  # nobody was asked to commit, so nobody is said to have
    assert node.stop() == 0
    assert not node.layout.work(job.key).exists()  # nothing is left to do for which it would be needed


def test_what_a_site_asks_for_beside_arrives_too(node, pacs, make_scan) -> None:
    node.configure("[objects]\nsummary = true\nreceive_field_correction = true")
    node.start(light=False)
    node.send(make_scan())
    (job,) = node.wait_finished()
    ledger = Ledger(node.layout.job_table)
    objects = ledger.objects(job.key)
    assert [item.role for item in objects] == [*["fallback"] * 3, *["corrected"] * 3, "summary"]
    held = {item.sop_instance_uid: item.dataset_sha256 for item in pacs.instances()}
    assert held == {item.sop_instance_uid: dataset_sha256(item.path) for item in objects}
    assert b"%PDF-" in objects[-1].path.read_bytes()


def test_every_contrast_is_a_job_of_its_own(node, pacs, make_scan) -> None:
    node.start()
    node.send(make_scan(contrasts=2))
    jobs = node.wait_finished(2)
    assert [(job.contrast, job.repetition) for job in jobs] == [(0, 0), (1, 0)]
    assert len({job.key for job in jobs}) == 2
    assert len({item.series_instance_uid for item in pacs.instances()}) == 2
    assert len(pacs.instances()) == 6


def test_a_scan_in_parts_is_one_job_once_the_last_part_is_there(
    node, pacs, make_scan, tmp_path: Path
) -> None:
    scan = make_scan()
    size = scan.stat().st_size // 3 + 1
    parts = wrap(scan, tmp_path, wrapping_of(scan, PATIENT, None).attributes, max_part_bytes=size)
    assert len(parts) == 3
    node.start()
    peer = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
    )
    assert all(receipt.delivered for receipt in send_objects(peer, [parts[2], parts[0]]))
    assert node.jobs() == []
    assert all(receipt.delivered for receipt in send_objects(peer, [parts[1]]))
    (job,) = node.wait_finished()
    assert job.source_sha256 == sha256_of(scan)
    assert len(pacs.instances()) == 3


def test_a_changed_configuration_leaves_the_spool_alone(node, pacs, make_scan) -> None:
    """Other settings give other keys; what is done is not done again because of them."""
    scan = make_scan()
    node.start()
    node.send(scan)
    (before,) = node.wait_finished()
    node.stop()
    node.config.write_text(node.config.read_text().replace("zero-filled", "cg-sense"))
    node.start()
    assert node.jobs() == [before]
    node.send(scan)  # on purpose: now it is wanted
    jobs = node.wait_finished(2)
    assert len({job.key for job in jobs}) == 2
    assert len(pacs.instances()) == 6
