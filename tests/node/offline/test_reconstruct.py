"""Offline: what the header states is in the objects, what is given stands over it; all or nothing."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from ismrmrd import xsd
from pydicom import dcmread
from xsdata.models.datatype import XmlDate, XmlTime

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.node.config import from_document
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.offline.reconstruct import reconstruct_file
from lfmri_node.recon.errors import UnsupportedAcquisition
from lfmri_node.recon.types import ScanIdentity

Run = Callable[..., list]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = from_document({"recon": {"method": "zero-filled"}}, base=tmp_path, name="test")

    def reconstruct(scan: Path, group: str | None = None, **given: str) -> list:
        recipe = Recipe.of(config, "")
        return reconstruct_file(
            scan, tmp_path / "out", recipe=recipe, given=given, show=lambda *_: None, group=group
        )

    return reconstruct


def told(scan: Path) -> None:
    """Fill the header with what a scanner knows."""
    with h5py.File(scan, "r+") as file:
        header = xsd.CreateFromDocument(file["dataset/xml"][0])
        header.subjectInformation = xsd.subjectInformationType(
            patientName="Probe^One",
            patientID="00017",
            patientBirthdate=XmlDate(1970, 3, 1),
            patientGender="F",
            patientWeight_kg=71.5,
        )
        header.studyInformation = xsd.studyInformationType(
            studyDate=XmlDate(2024, 2, 29),
            studyTime=XmlTime(13, 45, 10),
            studyID="77",
            studyDescription="Knee left",
            bodyPartExamined="KNEE",
            studyInstanceUID="1.02.3",
        )
        header.measurementInformation.patientPosition = xsd.patientPositionType.FFP
        header.measurementInformation.sequenceName = "tse2d1_9"
        header.encoding[0].echoTrainLength = 9
        file["dataset/xml"][0] = xsd.ToXML(header)


def test_what_the_header_states_is_in_the_objects(make_scan, run: Run, tmp_path: Path) -> None:
    scan = make_scan(n_slices=1)
    told(scan)
    with pytest.raises(ObjectError, match="StudyInstanceUID"):
        run(scan)
    assert not (tmp_path / "out").exists()
    (outcome,) = run(scan, StudyInstanceUID="1.2.3", PatientID="18", StudyID="78")
    assert outcome.identity_known
    image = dcmread(outcome.objects[0].path)
    said = {
        "PatientName": "Probe^One",
        "PatientID": "18",
        "PatientBirthDate": "19700301",
        "PatientSex": "F",
        "PatientWeight": "71.5",
        "StudyInstanceUID": "1.2.3",
        "StudyDate": "20240229",
        "StudyTime": "134510",
        "StudyID": "78",
        "StudyDescription": "Knee left",
        "BodyPartExamined": "KNEE",
        "PatientPosition": "FFP",
        "SequenceName": "tse2d1_9",
        "EchoTrainLength": "9",
    }
    assert {keyword: str(image[keyword].value) for keyword in said} == said


def test_nothing_is_written_where_a_later_scan_cannot_be_reconstructed(
    make_scan, run: Run, tmp_path: Path
) -> None:
    """The second contrast was stopped before the centre of k-space."""
    scan = make_scan(n_slices=1, contrasts=2, identity=ScanIdentity(patient_id="A1"))
    with h5py.File(scan, "r+") as file:
        rows = file["dataset/data"][:]
        idx = rows["head"]["idx"]
        rows = rows[(idx["contrast"] == 0) | (idx["kspace_encode_step_1"] < 20)]
        file["dataset/data"].resize(rows.size, axis=0)
        file["dataset/data"][:] = rows
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnsupportedAcquisition) as refused:
        run(scan)
    assert refused.value.code == "LF-CAL-001"
    assert sorted(tmp_path.iterdir()) == before


def test_several_scans_are_written_side_by_side(make_scan, run: Run, tmp_path: Path) -> None:
    scan = make_scan(n_slices=1, contrasts=2, identity=ScanIdentity(patient_id="A1"))
    outcomes = run(scan)
    again = run(scan)
    assert [o.objects[0].path.parent.name for o in outcomes] == [
        "contrast-0-repetition-0",
        "contrast-1-repetition-0",
    ]
    for outcome, same in zip(outcomes, again, strict=True):
        assert outcome.objects == same.objects
        assert all(path.is_file() for path in (*outcome.pictures, *(o.path for o in outcome.objects)))


def test_a_named_group_is_read(make_scan, run: Run) -> None:
    scan = make_scan(n_slices=1)
    with h5py.File(scan, "r+") as file:
        file.copy("dataset", "other")
        file["other/data"][:] = file["other/data"][:][::-1].copy()
    (outcome,) = run(scan, "other", PatientID="A1")
    assert dcmread(outcome.objects[0].path).PatientID == "A1"
    assert np.isfinite(outcome.found["acceleration"])


def test_a_summary_is_made_where_the_configuration_asks_for_it(make_scan, tmp_path: Path) -> None:
    scan = make_scan(n_slices=1, identity=ScanIdentity(patient_id="A1"))
    for asked in (False, True):
        document = {"recon": {"method": "zero-filled"}, "objects": {"summary": asked}}
        recipe = Recipe.of(from_document(document, base=tmp_path, name="test"), "")
        out = tmp_path / f"out-{asked}"
        (outcome,) = reconstruct_file(scan, out, recipe=recipe, given={}, show=lambda *_: None)
        summaries = [item.path for item in outcome.objects if item.role == "summary"]
        assert len(summaries) == asked
    told = dcmread(summaries[0])
    assert told.EncapsulatedDocument.startswith(b"%PDF-")
    assert told.PatientID == "A1"


def test_intensity_is_corrected_where_the_configuration_asks_for_it(make_scan, tmp_path: Path) -> None:
    scan = make_scan(n_slices=2, identity=ScanIdentity(patient_id="A1"))
    for asked in (False, True):
        document = {"recon": {"method": "zero-filled"}, "objects": {"receive_field_correction": asked}}
        recipe = Recipe.of(from_document(document, base=tmp_path, name="test"), "")
        out = tmp_path / f"out-{asked}"
        (outcome,) = reconstruct_file(scan, out, recipe=recipe, given={}, show=lambda *_: None)
        corrected = [dcmread(item.path) for item in outcome.objects if item.role == "corrected"]
        assert len(corrected) == 2 * asked
    assert all("receive field" in image.DerivationDescription for image in corrected)
