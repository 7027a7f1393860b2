"""Whose measurement it is: what derived objects copy, and whether the ISMRMRD header agrees."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import RawDataStorage

from lfmri_node.dicom_io.raw_data.head import PARSE_ERRORS, text_of
from lfmri_node.dicom_io.types import Equipment, StudyContext
from lfmri_node.recon.types import ScanIdentity

COPIED = (
    # Patient, PS3.3 C.7.1.1
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # Clinical Trial Subject and Study, PS3.3 C.7.1.3 and C.7.2.3
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    # General Study, PS3.3 C.7.2.1
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    # Patient Study (the visit), PS3.3 C.7.2.2
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PregnancyStatus",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    # Of the series, for its number and name, and needed by every image: PS3.3 C.7.3.1, C.7.4.1 and C.12.1.1
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "Laterality",
    "PatientPosition",
    "PositionReferenceIndicator",
    "TimezoneOffsetFromUTC",
)
EQUIPMENT = {  # of the scanner or gateway, PS3.3 C.7.5.1
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model_name",
    "DeviceSerialNumber": "serial_number",
    "SoftwareVersions": "software_versions",
    "InstitutionName": "institution_name",
}
_IDENTIFYING = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "StudyID", "AccessionNumber"}
)
_BETWEEN_NAMES = re.compile(r"[\s,;^=]+")


def copied_attributes(head: Dataset) -> dict[str, Any]:
    """What later stages need of a head, in the DICOM JSON Model (PS3.18 F.2).

    Left out is what cannot be decoded, unless it identifies patient or study: then the error of pydicom
    goes on to the caller.
    """
    copied: dict[str, Any] = {}
    for keyword in (*COPIED, *EQUIPMENT, "FrameOfReferenceUID", "SeriesInstanceUID"):
        if keyword not in head:
            continue
        try:
            copied[keyword] = head[keyword].to_json_dict(None, 0)
        except PARSE_ERRORS:
            if keyword in _IDENTIFYING:
                raise
    return copied


def study_context(
    attributes: Mapping[str, Any], *, sop_class_uid: str, sop_instance_uids: tuple[str, ...]
) -> StudyContext:
    """The context of derived objects.

    Parameters
    ----------
    attributes
        Of `copied_attributes`.
    sop_instance_uids
        Of the Raw Data objects.
    """
    tags = {f"{tag_for_keyword(keyword):08X}": element for keyword, element in attributes.items()}
    dataset = Dataset.from_json(tags)
    frame_of_reference = text_of(dataset, "FrameOfReferenceUID")
    return StudyContext(
        study_instance_uid=text_of(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=frame_of_reference or None,
        attributes={keyword: dataset[keyword].value for keyword in COPIED if keyword in dataset},
        source_sop_class_uid=sop_class_uid,
        source_instances=sop_instance_uids,
        source_series_uid=text_of(dataset, "SeriesInstanceUID") or None,
        equipment=Equipment(**{name: text_of(dataset, keyword) for keyword, name in EQUIPMENT.items()}),
    )


def context_of(attributes: Mapping[str, object], sop_instance_uid: str) -> StudyContext:
    """The context that a Raw Data object would have that is wrapped with these attributes."""
    head = Dataset()
    for keyword, value in attributes.items():
        setattr(head, keyword, value)
    return study_context(
        copied_attributes(head), sop_class_uid=str(RawDataStorage), sop_instance_uids=(sop_instance_uid,)
    )


def contradictions(
    identity: ScanIdentity, context: StudyContext, given: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Attributes in which the ISMRMRD header and the DICOM object name different subjects or studies.

    Only what both name is compared. Identifiers must be equal but for surrounding spaces. Names
    agree when the words of one are among the words of the other, in any order and case: gateways
    write ``DOE^JOHN``, ``Doe, John`` and ``John Doe`` for the same person.

    Parameters
    ----------
    given
        Keywords that are not compared: somebody gave them on purpose in place of what the header says.

    Returns
    -------
    tuple of str
        DICOM keywords, never values.
    """
    pairs = (
        ("PatientID", identity.patient_id),
        ("StudyInstanceUID", identity.study_instance_uid),
        ("AccessionNumber", identity.accession_number),
    )
    found = [
        keyword
        for keyword, said in pairs
        if _differ(_identifier(said), _identifier(context.attributes.get(keyword)))
    ]
    ours, theirs = _words(identity.patient_name), _words(context.attributes.get("PatientName"))
    if ours and theirs and not (ours <= theirs or theirs <= ours):
        found.append("PatientName")
    return tuple(keyword for keyword in found if keyword not in given)


def _identifier(value: object) -> str:
    """Without padding; composed and decomposed letters are the same."""
    return "" if value is None else unicodedata.normalize("NFC", str(value)).strip(" \0")


def _words(value: object) -> frozenset[str]:
    """Words in lower case; wide and narrow forms, composed and decomposed letters are the same."""
    folded = unicodedata.normalize("NFKC", _identifier(value)).casefold()
    return frozenset(word for word in _BETWEEN_NAMES.split(unicodedata.normalize("NFKC", folded)) if word)


def _differ(first: str, second: str) -> bool:
    return bool(first and second and first != second)
