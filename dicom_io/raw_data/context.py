"""Whose measurement it is: what derived objects copy, and whether the ISMRMRD header agrees."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom.dataset import Dataset

from lfmri_node.dicom_io.raw_data.block import parts_error
from lfmri_node.dicom_io.raw_data.head import read_head, text_of
from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.types import Equipment, StudyContext
from lfmri_node.recon.types import ScanIdentity

_COPIED = (
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
_BETWEEN_NAMES = re.compile(r"[\s,;^=]+")


def read_context(*paths: Path) -> StudyContext:
    """Patient, study and visit attributes of a Raw Data object, or of all parts of one scan.

    Returns
    -------
    StudyContext
        Attributes that are present, values as pydicom reads them; of the series too, such as
        BodyPartExamined, SeriesNumber and PositionReferenceIndicator.

    Raises
    ------
    PayloadError
        As `read_payload`; LF-PAY-007 when the parts name different patients or studies.
    """
    headers = [read_payload(path) for path in paths]
    if len({(header.patient, header.study_instance_uid) for header in headers}) != 1:
        raise parts_error("the parts name different patients or studies, or there is no part")
    head, _ = read_head(paths[0])
    frame_of_reference = head.get("FrameOfReferenceUID")
    return StudyContext(
        study_instance_uid=headers[0].study_instance_uid,
        frame_of_reference_uid=str(frame_of_reference) if frame_of_reference else None,
        attributes={keyword: head[keyword].value for keyword in _COPIED if keyword in head},
        source_sop_class_uid=headers[0].sop_class_uid,
        source_instances=tuple(header.sop_instance_uid for header in headers),
        equipment=_equipment(head),
    )


def contradictions(identity: ScanIdentity, context: StudyContext) -> tuple[str, ...]:
    """Attributes in which the ISMRMRD header and the DICOM object name different subjects or studies.

    Only what both name is compared. Identifiers must be equal but for surrounding spaces. Names
    agree when the words of one are among the words of the other, in any order and case: gateways
    write ``DOE^JOHN``, ``Doe, John`` and ``John Doe`` for the same person.

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
    return tuple(found)


def _identifier(value: object) -> str:
    return "" if value is None else str(value).strip(" \0")


def _words(value: object) -> frozenset[str]:
    return frozenset(word for word in _BETWEEN_NAMES.split(_identifier(value).casefold()) if word)


def _differ(first: str, second: str) -> bool:
    return bool(first and second and first != second)


def _equipment(head: Dataset) -> Equipment:
    """Of the scanner or gateway, PS3.3 C.7.5.1."""
    return Equipment(
        manufacturer=text_of(head, "Manufacturer"),
        model_name=text_of(head, "ManufacturerModelName"),
        serial_number=text_of(head, "DeviceSerialNumber"),
        software_versions=text_of(head, "SoftwareVersions"),
        institution_name=text_of(head, "InstitutionName"),
    )
