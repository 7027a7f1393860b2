"""What an ISMRMRD header says of patient, study, series and scanner, as DICOM attributes.

Which field becomes which attribute; `recon.mrd.fields` says the same in words, and a test compares both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.dicom_io.values import IDENTITY, fits, require_fitting

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:Z|[+-]\d{2}:\d{2})?")
_TIME = re.compile(r"(\d{2}):(\d{2}):(\d{2})(\.\d{1,6})?\d*(?:Z|[+-]\d{2}:\d{2})?")


def _text(text: str) -> str:
    return text


def _code(text: str) -> str:
    return text.upper()


def _date(text: str) -> str:
    """An XML date as DA; "" where it is none."""
    match = _DATE.fullmatch(text)
    return "".join(match.groups()) if match else ""


def _time(text: str) -> str:
    """An XML time as TM, the time as it was at the scanner; "" where it is none."""
    match = _TIME.fullmatch(text)
    return "".join(part or "" for part in match.groups()) if match else ""


def _positive(text: str) -> str:
    """A number above zero as DS; "" where it is none."""
    try:
        number = float(text)
    except ValueError:
        return ""
    return f"{number:.10g}" if 0 < number < 1e6 else ""


KEYWORDS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "subjectInformation/patientName": ("PatientName", _text),
    "subjectInformation/patientID": ("PatientID", _text),
    "subjectInformation/patientWeight_kg": ("PatientWeight", _positive),
    "subjectInformation/patientHeight_m": ("PatientSize", _positive),
    "subjectInformation/patientBirthdate": ("PatientBirthDate", _date),
    "subjectInformation/patientGender": ("PatientSex", _code),
    "studyInformation/studyDate": ("StudyDate", _date),
    "studyInformation/studyTime": ("StudyTime", _time),
    "studyInformation/studyID": ("StudyID", _text),
    "studyInformation/accessionNumber": ("AccessionNumber", _text),
    "studyInformation/referringPhysicianName": ("ReferringPhysicianName", _text),
    "studyInformation/studyDescription": ("StudyDescription", _text),
    "studyInformation/studyInstanceUID": ("StudyInstanceUID", _text),
    "studyInformation/bodyPartExamined": ("BodyPartExamined", _code),
    "measurementInformation/seriesDate": ("SeriesDate", _date),
    "measurementInformation/seriesTime": ("SeriesTime", _time),
    "measurementInformation/patientPosition": ("PatientPosition", _code),
    "measurementInformation/initialSeriesNumber": ("SeriesNumber", _text),
    "measurementInformation/protocolName": ("ProtocolName", _text),
    "measurementInformation/seriesDescription": ("SeriesDescription", _text),
    "measurementInformation/frameOfReferenceUID": ("FrameOfReferenceUID", _text),
    "acquisitionSystemInformation/systemVendor": ("Manufacturer", _text),
    "acquisitionSystemInformation/systemModel": ("ManufacturerModelName", _text),
    "acquisitionSystemInformation/institutionName": ("InstitutionName", _text),
    "acquisitionSystemInformation/stationName": ("StationName", _text),
    "acquisitionSystemInformation/deviceSerialNumber": ("DeviceSerialNumber", _text),
}
"""Path in the ISMRMRD header -> DICOM keyword, and how the text is turned into its value."""


def attributes_of(stated: Mapping[str, str]) -> dict[str, object]:
    """DICOM attributes of what the header states, keyword -> value.

    What does not fit its value representation is left out, but for what identifies patient and study,
    which `describe` refuses. A FrameOfReferenceUID that is no UID, as some anonymisation leaves it,
    says nothing and is left out. The study has the date of its first series where it states none.
    """
    attributes: dict[str, object] = {}
    for path, (keyword, convert) in KEYWORDS.items():
        value = convert(stated[path]) if path in stated else ""
        kept = keyword in IDENTITY and keyword != "FrameOfReferenceUID"
        if value and (kept or fits(keyword, value)):
            attributes[keyword] = value
    if "StudyDate" not in attributes and "SeriesDate" in attributes:
        attributes["StudyDate"] = attributes["SeriesDate"]
        if "SeriesTime" in attributes:
            attributes.setdefault("StudyTime", attributes["SeriesTime"])
    return attributes


def describe(stated: Mapping[str, str], given: Mapping[str, str], source_sha256: str) -> dict[str, object]:
    """Attributes of a measurement: what was given at the gateway, else what its header says.

    A study without a UID gets one that follows from patient and file, so that sending twice is
    recognised as the same.

    Raises
    ------
    ObjectError
        LF-OBJ-002 where what was given, or what identifies patient or study, does not fit its value
        representation.
    """
    require_fitting(given, given)
    attributes = attributes_of(stated) | dict(given)
    if attributes.get("PatientID") and not attributes.get("StudyInstanceUID"):
        attributes["StudyInstanceUID"] = name_uid("study", str(attributes["PatientID"]), source_sha256)
    require_fitting(attributes)
    return attributes
