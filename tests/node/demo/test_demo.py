"""The demonstration: everything arrives and is checked, or the exit status says that it did not."""

import json
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.demo.demo import run_demo
from lfmri_node.node.demo.loopback import open_pacs


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
    assert (out / "pictures" / "overview.png").stat().st_size > 1000
    assert len(list((out / "pacs" / "objects").glob("*.dcm"))) >= 3


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
