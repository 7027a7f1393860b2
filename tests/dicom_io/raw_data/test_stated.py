"""What an ISMRMRD header states arrives as DICOM attributes, or is left out, or is refused by name."""

import pytest

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.raw_data.context import context_of, contradictions
from lfmri_node.dicom_io.raw_data.stated import KEYWORDS, attributes_of, describe
from lfmri_node.recon.mrd.fields import COPIED
from lfmri_node.recon.types import ScanIdentity

SHA = "ab" * 32
STATED = {
    "subjectInformation/patientName": "Probe^One",
    "subjectInformation/patientID": "00017",
    "subjectInformation/patientBirthdate": "1970-03-01",
    "subjectInformation/patientGender": "M",
    "subjectInformation/patientWeight_kg": "71.5",
    "subjectInformation/patientHeight_m": "1.8",
    "studyInformation/studyDate": "2024-02-29Z",
    "studyInformation/studyTime": "13:45:10.250+01:00",
    "studyInformation/studyInstanceUID": "1.2.826.0.1.3680043.8.498.1.2.3",
    "studyInformation/bodyPartExamined": "knee",
    "measurementInformation/patientPosition": "FFP",
    "measurementInformation/protocolName": "pd_tse",
    "measurementInformation/seriesDescription": "PD sagittal",
    "measurementInformation/initialSeriesNumber": "5",
    "acquisitionSystemInformation/systemVendor": "Maker",
    "acquisitionSystemInformation/institutionName": "Hospital",
}


def test_every_field_that_is_copied_becomes_an_attribute_here_or_with_the_sequence() -> None:
    with_the_sequence = {
        "measurementInformation/sequenceName",
        "acquisitionSystemInformation/systemFieldStrength_T",
        "experimentalConditions/H1resonanceFrequency_Hz",
        "encoding/echoTrainLength",
        *(f"sequenceParameters/{name}" for name in ("TR", "TE", "TI", "flipAngle_deg")),
    }
    assert {*KEYWORDS} | with_the_sequence == {*COPIED}


def test_values_are_those_of_dicom() -> None:
    assert attributes_of(STATED) == {
        "PatientName": "Probe^One",
        "PatientID": "00017",
        "PatientBirthDate": "19700301",
        "PatientSex": "M",
        "PatientWeight": "71.5",
        "PatientSize": "1.8",
        "StudyDate": "20240229",
        "StudyTime": "134510.250",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1.2.3",
        "BodyPartExamined": "KNEE",
        "PatientPosition": "FFP",
        "ProtocolName": "pd_tse",
        "SeriesDescription": "PD sagittal",
        "SeriesNumber": "5",
        "Manufacturer": "Maker",
        "InstitutionName": "Hospital",
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("subjectInformation/patientBirthdate", "01.03.1970"),
        ("subjectInformation/patientBirthdate", "1970-13-45"),
        ("subjectInformation/patientGender", "unknown"),
        ("subjectInformation/patientWeight_kg", "0"),
        ("subjectInformation/patientWeight_kg", "nan"),
        ("studyInformation/studyTime", "noon"),
        ("studyInformation/bodyPartExamined", "no code string at all"),
        ("studyInformation/studyDescription", "long " * 20),
        ("measurementInformation/frameOfReferenceUID", "x.x.xx.x.xxxx.x.x"),
        ("measurementInformation/frameOfReferenceUID", "1.02.3"),
    ],
)
def test_what_does_not_fit_is_left_out(path: str, text: str) -> None:
    assert KEYWORDS[path][0] not in attributes_of({path: text})


def test_a_study_without_a_date_has_that_of_its_series() -> None:
    series = {
        "measurementInformation/seriesDate": "2024-03-01",
        "measurementInformation/seriesTime": "08:00:01",
    }
    assert attributes_of(series)["StudyDate"] == "20240301"
    assert attributes_of(series)["StudyTime"] == "080001"
    both = attributes_of(STATED | series)
    assert (both["StudyDate"], both["SeriesDate"]) == ("20240229", "20240301")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("studyInformation/studyInstanceUID", "1.3.12.2.1107.5.2.036.1234"),
        ("studyInformation/accessionNumber", "12345678901234567"),
        ("studyInformation/studyID", "a study with a long name"),
        ("subjectInformation/patientID", "4711" * 20),
        ("subjectInformation/patientName", "Secret" * 20),
    ],
)
def test_an_identity_that_is_illegal_is_refused_by_name_unless_another_is_given(path: str, text: str) -> None:
    keyword = KEYWORDS[path][0]
    with pytest.raises(ObjectError) as refused:
        describe(STATED | {path: text}, {}, SHA)
    assert refused.value.code == "LF-OBJ-002"
    assert keyword in str(refused.value)
    assert text[:6] not in str(refused.value)
    assert describe(STATED | {path: text}, {keyword: "1.2.3"}, SHA)[keyword] == "1.2.3"


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientSex", "male"), ("StudyInstanceUID", "1.02"), ("PatientID", "x" * 65)]
)
def test_what_is_given_must_fit(keyword: str, value: str) -> None:
    with pytest.raises(ObjectError, match=keyword):
        describe(STATED, {keyword: value}, SHA)


def test_a_study_uid_follows_from_patient_and_file() -> None:
    stated = {"subjectInformation/patientID": "00017"}

    def uid(given: dict[str, str], sha256: str) -> object:
        return describe(stated, given, sha256)["StudyInstanceUID"]

    assert uid({}, SHA) == uid({}, SHA)
    assert len({uid({}, SHA), uid({"PatientID": "18"}, SHA), uid({}, "cd" * 32)}) == 3
    assert "StudyInstanceUID" not in describe({}, {}, SHA)


@pytest.mark.parametrize(
    ("header", "dicom", "same"),
    [
        ("Mu\u0308ller^Ju\u0308rgen", "M\u00fcller^J\u00fcrgen", True),  # decomposed, composed
        (
            "\uff39\uff21\uff2d\uff21\uff24\uff21^\uff34\uff21\uff32\uff2f",
            "Yamada^Taro",
            True,
        ),  # wide letters
        ("STRASSE^A", "stra\u00dfe^a", True),
        ("M\u00fcller^A", "Muller^A", False),
    ],
)
def test_names_are_compared_as_they_read(header: str, dicom: str, same: bool) -> None:
    context = context_of({"PatientName": dicom, "PatientID": "e\u0301", "StudyInstanceUID": "1.2"}, "1.3")
    found = contradictions(ScanIdentity(patient_name=header, patient_id="\u00e9"), context)
    assert found == (() if same else ("PatientName",))
