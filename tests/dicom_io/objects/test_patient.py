"""Whose the objects are: attributes of the source, in any script, whole or missing."""

from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.errors import ObjectError

_ROLES = ("lf-mri", "reference", "map", "segmentation", "fused")


def test_every_object_belongs_to_the_patient_and_study_of_the_source(delivered):
    for role in _ROLES:
        for dataset in delivered.read(role):
            assert dataset.PatientName == "Phantom^Lesion"
            assert dataset.PatientID == "LF-0001"
            assert (dataset.PatientBirthDate, dataset.PatientSex) == ("19700101", "F")
            assert dataset.StudyInstanceUID == "1.2.826.0.1.3680043.8.498.1"
            assert (dataset.StudyDate, dataset.StudyTime) == ("20260304", "101112")
            assert (dataset.StudyID, dataset.AccessionNumber) == ("S1", "ACC-77")
            assert dataset.FrameOfReferenceUID == "1.2.826.0.1.3680043.8.498.2"
            assert dataset.BodyPartExamined == "BRAIN"


def test_any_script_survives(make):
    name = "Müller^Jürgen^^Dr.=山田^太郎=やまだ^たろう"
    context = make.context(PatientName=name, StudyDescription="Пример, ελ, 무릎")
    delivery = make.deliver(make.thin(), context)
    for dataset in delivery.read():
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert str(dataset.PatientName) == name
        assert dataset.PatientName.family_name == "Müller"
        assert dataset.PatientName.ideographic == "山田^太郎"
        assert dataset.StudyDescription == "Пример, ελ, 무릎"


def test_values_read_in_another_character_set_are_written_anew(make):
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 100"
    source.PatientName, source.PatientWeight, source.PregnancyStatus = "Œuvre^É".replace("Œ", "O"), "71.5", 4
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator = "P1", "99LOCAL"
    procedure.CodeMeaning = "Schädel für Übung"
    source.ProcedureCodeSequence = [procedure]
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, source, implicit_vr=False, little_endian=True)
    source = pydicom.dcmread(BytesIO(buffer.getvalue()), force=True)
    attributes = {element.keyword: element.value for element in source}
    del attributes["SpecificCharacterSet"]
    for dataset in make.deliver(make.thin(), make.context(**attributes)).read():
        assert str(dataset.PatientName) == "Ouvre^É"
        assert dataset.ProcedureCodeSequence[0].CodeMeaning == "Schädel für Übung"
        assert (dataset.PatientWeight, dataset.PregnancyStatus) == (71.5, 4)
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_what_the_source_does_not_say_is_there_and_empty(make):
    context = make.context()
    bare = type(context)(
        study_instance_uid=context.study_instance_uid,
        frame_of_reference_uid=None,
        attributes={},
        source_sop_class_uid=context.source_sop_class_uid,
        source_instances=(),
        equipment=type(context.equipment)(),
    )
    delivery = make.deliver(make.thin(), bare)
    for dataset in delivery.read():
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
            "AccessionNumber", "ReferringPhysicianName",
        ):  # fmt: skip
            assert keyword in dataset
            assert dataset[keyword].is_empty
        assert dataset.StudyInstanceUID == context.study_instance_uid
        assert dataset.ContributingEquipmentSequence[0].Manufacturer == "UNKNOWN"
        assert "SourceInstanceSequence" not in dataset
    images = [d for d in delivery.read() if d.Modality != "SR"]
    assert {d.FrameOfReferenceUID for d in images} == {make.key().frame_of_reference_uid}
    other = make.key(weights_sha256="c3" * 32, settings="others")
    assert other.frame_of_reference_uid == make.key().frame_of_reference_uid, "the same for all runs"


def test_attributes_of_no_identity_that_are_illegal_are_left_out(make):
    context = make.context(PatientAge="45", PatientSex="U", PatientBirthDate="1970-13-32", PatientSize="tall")
    for dataset in make.deliver(make.thin(), context).read():
        assert "PatientAge" not in dataset
        assert "PatientSize" not in dataset
        assert dataset["PatientSex"].is_empty
        assert dataset["PatientBirthDate"].is_empty


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", "4711" * 20), ("PatientName", "Secret" * 20), ("AccessionNumber", "4711" * 5)],
)
def test_an_identity_that_is_illegal_is_refused_without_being_quoted(make, keyword, value):
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.thin(), make.context(**{keyword: value}))
    assert refused.value.code == "LF-OBJ-002"
    assert keyword in str(refused.value)
    assert value[:6] not in str(refused.value)


def test_no_name_reaches_a_warning_or_a_log(make, caplog, recwarn):
    caplog.set_level("WARNING")
    make.deliver(make.thin(), make.context(PatientName="Single", PatientAge="45 years"))
    said = caplog.text + "".join(str(w.message) for w in recwarn)
    assert "Single" not in said
    assert "45 years" not in said


@pytest.mark.parametrize(
    ("body_part", "laterality", "expected"),
    [
        ("BRAIN", None, None),
        ("brain", "L", None),
        ("KNEE", "R", "R"),
        ("KNEE", None, ""),
        ("KNEE", "B", ""),
        ("NOSUCHPART", None, ""),
        ("", None, ""),
        ("not a code string", None, ""),
    ],
)
def test_laterality_is_there_exactly_for_what_may_be_paired(make, body_part, laterality, expected):
    context = make.context(BodyPartExamined=body_part, Laterality=laterality)
    delivery = make.deliver(make.thin(), context)
    for dataset in delivery.read():
        of_frames = dataset.Modality in ("SEG", "SR") or "SharedFunctionalGroupsSequence" in dataset
        assert dataset.get("Laterality", None) == (None if of_frames else expected)
        legal = body_part.upper() if 0 < len(body_part) <= 16 and dataset.Modality != "SR" else None
        assert dataset.get("BodyPartExamined") == legal


@pytest.mark.parametrize(
    ("body_part", "laterality", "region", "side"),
    [
        ("BRAIN", None, "12738006", "U"),
        ("KNEE", "R", "72696002", "R"),
        ("KNEE", None, "38266002", "U"),
        ("NOSUCHPART", "L", "38266002", "U"),
    ],
)
def test_frames_of_the_maps_name_their_anatomy(make, body_part, laterality, region, side):
    context = make.context(BodyPartExamined=body_part, Laterality=laterality)
    delivery = make.deliver(make.thin(), context)
    for dataset in delivery.read("map") + delivery.read("difference"):
        (anatomy,) = dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
        assert anatomy.FrameLaterality == side
        assert anatomy.AnatomicRegionSequence[0].CodeValue == region


def test_the_frame_of_reference_is_described_alike_in_every_object(make):
    delivery = make.deliver(make.thin(), make.context(PositionReferenceIndicator="SN"))
    assert {d.get("PositionReferenceIndicator", d.Modality) for d in delivery.read()} == {"SN", "SR"}


def test_every_image_says_how_the_patient_lay(make):
    delivery = make.deliver(make.thin(), make.context(PatientPosition="FFS"))
    assert {d.get("PatientPosition", d.Modality) for d in delivery.read()} == {"FFS", "SR"}
    unknown = make.deliver(make.thin(), folder="unknown")
    assert {d.PatientPosition for d in unknown.read("lf-mri")} == {""}, "PS3.3 C.7.3.1: MR images have it"
    assert not any("PatientPosition" in d for d in unknown.read("map") + unknown.read("segmentation"))
