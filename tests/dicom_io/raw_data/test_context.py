"""The study context of a Raw Data object, and contradictions between it and the ISMRMRD header."""

from pathlib import Path

import pytest

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.context import contradictions
from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.recon.types import ScanIdentity


@pytest.fixture
def context(h5: Path, tmp_path: Path, source: dict[str, object]) -> StudyContext:
    return parse_measurement(wrap(h5, tmp_path, source)).context


def test_attributes_are_copied(context: StudyContext, source: dict[str, object]) -> None:
    assert context.study_instance_uid == source["StudyInstanceUID"]
    assert context.frame_of_reference_uid == source["FrameOfReferenceUID"]
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "StudyDate", "AccessionNumber"):
        assert context.attributes[keyword] == source[keyword]
    assert context.attributes["BodyPartExamined"] == "BRAIN"
    assert context.attributes["SeriesNumber"] == source["SeriesNumber"]
    assert "SOPInstanceUID" not in context.attributes


def test_equipment_is_that_of_the_scanner(context: StudyContext) -> None:
    equipment = context.equipment
    assert (equipment.manufacturer, equipment.model_name) == ("Maker", "Scanner 3T")
    assert (equipment.serial_number, equipment.software_versions) == ("42", "7.1")
    assert equipment.institution_name == "Hospital"


def test_text_outside_ascii_survives(h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    source |= {"PatientName": "Müller^Jürgen=山田^太郎", "StudyDescription": "Schädel"}
    context = parse_measurement(wrap(h5, tmp_path, source)).context
    assert context.attributes["PatientName"] == source["PatientName"]
    assert context.attributes["StudyDescription"] == "Schädel"


def test_what_the_source_leaves_out_stays_out(h5: Path, tmp_path: Path) -> None:
    context = parse_measurement(wrap(h5, tmp_path, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})).context
    assert context.frame_of_reference_uid is None
    assert "PatientAge" not in context.attributes
    assert context.equipment.manufacturer == ""


def test_every_part_is_a_source_instance(h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    paths = wrap(h5, tmp_path, source, max_part_bytes=20_000)
    context = parse_measurement(paths).context
    assert context.source_instances == tuple(read_payload(path).sop_instance_uid for path in paths)
    assert len(set(context.source_instances)) == len(paths) > 2


def test_parts_of_two_patients_are_no_scan(h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    (tmp_path / "other").mkdir()
    one = wrap(h5, tmp_path, source)
    two = wrap(h5, tmp_path / "other", source | {"PatientID": "LF-0002"})
    with pytest.raises(PayloadError, match="LF-PAY-007"):
        parse_measurement([*one, *two])


def test_no_patient_in_the_text_form(context: StudyContext, secrets: tuple[str, ...]) -> None:
    assert not [value for value in secrets if value in repr(context)]


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (ScanIdentity(), ()),
        (ScanIdentity(patient_id="LF-0001"), ()),
        (ScanIdentity(patient_id=" LF-0001 "), ()),
        (ScanIdentity(patient_id=""), ()),
        (ScanIdentity(patient_id="LF-0002"), ("PatientID",)),
        (ScanIdentity(patient_id="lf-0001"), ("PatientID",)),
        (ScanIdentity(study_instance_uid="1.2.826.0.1.3680043.8.498.1"), ()),
        (ScanIdentity(study_instance_uid="1.2.826.0.1.3680043.8.498.9"), ("StudyInstanceUID",)),
        (ScanIdentity(accession_number="ACC-78"), ("AccessionNumber",)),
        (ScanIdentity(frame_of_reference_uid="1.9.9"), ()),
        (ScanIdentity(patient_name="Phantom^Lesion"), ()),
        (ScanIdentity(patient_name="LESION, phantom"), ()),
        (ScanIdentity(patient_name="Phantom^Lesion^^Dr"), ()),
        (ScanIdentity(patient_name="phantom"), ()),
        (ScanIdentity(patient_name="Somebody^Else"), ("PatientName",)),
        (ScanIdentity(patient_name="Phantom^Else"), ("PatientName",)),
        (ScanIdentity(patient_name=" ^^ "), ()),
        (
            ScanIdentity(patient_id="x", study_instance_uid="1.2", patient_name="A^B"),
            ("PatientID", "StudyInstanceUID", "PatientName"),
        ),
    ],
)
def test_contradictions(context: StudyContext, identity: ScanIdentity, expected: tuple[str, ...]) -> None:
    assert contradictions(identity, context) == expected


def test_what_dicom_does_not_say_cannot_be_contradicted(h5: Path, tmp_path: Path) -> None:
    context = parse_measurement(wrap(h5, tmp_path, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})).context
    assert contradictions(ScanIdentity(patient_name="A^B", accession_number="7"), context) == ()
