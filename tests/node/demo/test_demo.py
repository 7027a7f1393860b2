"""The demonstration: everything arrives and is checked, or the exit status says that it did not."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.demo.demo import run_demo
from lfmri_node.node.demo.exam import write_exam
from lfmri_node.node.demo.loopback import open_pacs
from lfmri_node.node.gateway.identity import read_identity
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.recon.phantom.demo_scan import write_demo_scan


def test_a_scan_goes_through_and_is_compared(
    tmp_path: Path, make_scan, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "demo"
    found = run_demo(make_scan(), out, pacs="embedded", seed=0)
    assert found.complete
    capsys.readouterr()
    found.print(as_json=True)
    document = json.loads(capsys.readouterr().out)
    (scan,) = document["scans"]
    assert document["complete"]
    assert all(role["held"] == role["sent"] > 0 for role in scan["objects"])
    assert all(Path(path).is_file() for path in scan["pictures"])
    found.print(as_json=False)
    said = capsys.readouterr().out
    assert "equal to what was sent" in said
    assert "everything arrived" in said
    assert all(stage in said for stage in ("decoded", "calibrated", "reconstructed", "encoded", "sent"))
    (arrival,) = found.arrivals
    assert arrival.job.name in (out / "node" / "node.log").read_text(), "for the job's page in the console"
    assert (out / "pictures" / "overview.png").stat().st_size > 1000
    held = [dcmread(path) for path in (out / "pacs" / "objects").glob("*.dcm")]
    assert len(held) >= 3
    (page,) = (dataset for dataset in held if "EncapsulatedDocument" in dataset)
    assert page.EncapsulatedDocument.startswith((out / "pictures" / "summary.pdf").read_bytes())
    assert {str(dataset.PatientName) for dataset in held} == {"Demonstration^Phantom"}
    assert not any(dataset.get("StudyDescription") for dataset in held), "made up of no scan but the phantom"


def test_the_phantom_is_sent_as_an_exam_with_date_description_and_body_part(tmp_path: Path) -> None:
    begun = datetime(2026, 3, 4, 23, 59, 58, tzinfo=timezone(timedelta(hours=-3)))
    given = read_identity(write_exam(tmp_path / "exam.toml", begun, phantom=True), {})
    scan = tmp_path / "phantom.h5"
    write_demo_scan(scan, n_slices=1, size=96)
    wrap(scan, tmp_path, wrapping_of(scan, given, None).attributes, group="dataset", given=given)
    (raw,) = (dcmread(path) for path in tmp_path.glob("*.dcm"))
    assert (raw.StudyDate, raw.StudyTime, raw.TimezoneOffsetFromUTC) == ("20260304", "235958", "-0300")
    assert (raw.BodyPartExamined, raw.PatientPosition) == ("HEAD", "HFS")
    assert "phantom" in raw.StudyDescription
    assert raw.QualityControlSubject == "YES"
    assert raw.ProtocolName == "t2 tse tra phantom"
    assert raw.ManufacturerModelName == "demonstration phantom"


def test_a_scan_that_is_refused_ends_in_failure_with_its_code(
    tmp_path: Path, make_scan, capsys: pytest.CaptureFixture
) -> None:
    scan = make_scan(read_dir=(0.0, 0.0, 0.0))
    found = run_demo(scan, tmp_path / "demo", pacs="embedded", seed=0)
    assert not found.complete
    assert "LF-JOB-022" in found.arrivals[0].to_json()["failed"]
    found.print(as_json=False)
    said = capsys.readouterr().out
    assert "LF-JOB-022" in said
    assert "NOT COMPLETE" in said


def test_missing_and_altered_objects_are_noticed(tmp_path: Path) -> None:
    def written(uid: str, comment: str) -> EncodedObject:
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, uid
        made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.1", "2.25.2"
        made.ImageComments = comment
        path = tmp_path / f"{uid}-{comment}.dcm"
        made.save_as(path, enforce_file_format=True)
        return EncodedObject(
            path=path,
            sha256="0" * 64,
            role="fused",
            sop_class_uid=str(SecondaryCaptureImageStorage),
            sop_instance_uid=uid,
            series_instance_uid="2.25.2",
        )

    with open_pacs("embedded", tmp_path / "store") as store:
        sent = [written("2.25.10", "same"), written("2.25.11", "sent")]
        port = int(store.destination.split("port = ")[1].split()[0])
        peer = DicomDestination(
            name="pacs", host="127.0.0.1", port=port, ae_title="PACS", calling_ae_title="TEST"
        )
        assert all(receipt.delivered for receipt in send_objects(peer, sent))
        wanted = [sent[0], written("2.25.11", "meant"), written("2.25.12", "never sent")]
        assert store.differences(wanted) == {"2.25.11": "other bytes", "2.25.12": "missing"}
