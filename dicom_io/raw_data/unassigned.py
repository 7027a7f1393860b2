"""A measurement whose ISMRMRD header alone says whose it is, and placeholders where the header does not.

A gateway states patient and study beside the file. What comes by a stream or lies in a folder has only its
header. Where that names no patient, or no study, the Raw Data object carries placeholders, by which every
later stage knows that somebody has to say first whose it is: they never leave the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lfmri_node.dicom_io.raw_data.stated import attributes_of
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.dicom_io.values import fits, require_fitting

NEEDED = ("PatientID", "StudyInstanceUID")
"""What has to be known of a measurement before anything of it leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Attributes of a measurement, keyword -> value, and those of `NEEDED` that are placeholders."""

    attributes: Mapping[str, object] = field(repr=False)
    missing: tuple[str, ...]


def placeholders(source_sha256: str) -> dict[str, str]:
    """What stands for the identity of a measurement that has none: it follows from its bytes."""
    return {
        "PatientID": f"UNASSIGNED-{source_sha256[:12]}",
        "StudyInstanceUID": name_uid("unassigned study", source_sha256),
    }


def from_header(stated: Mapping[str, str], source_sha256: str) -> Stated:
    """Attributes of what the ISMRMRD header states; what does not fit its value representation is missing."""
    said = attributes_of(stated)
    usable = {keyword: value for keyword, value in said.items() if fits(keyword, value)}
    missing = tuple(keyword for keyword in NEEDED if not usable.get(keyword))
    held = placeholders(source_sha256)
    return Stated(attributes=usable | {keyword: held[keyword] for keyword in missing}, missing=missing)


def missing_identity(context: StudyContext, source_sha256: str) -> tuple[str, ...]:
    """Which of `NEEDED` are placeholders in a Raw Data object."""
    said = {
        "PatientID": str(context.attributes.get("PatientID") or ""),
        "StudyInstanceUID": context.study_instance_uid,
    }
    return tuple(keyword for keyword, value in placeholders(source_sha256).items() if said[keyword] == value)


def assigned(context: StudyContext, given: Mapping[str, str]) -> StudyContext:
    """The context with what an operator gave in place of placeholders, and of what the header says.

    Raises
    ------
    ObjectError
        LF-OBJ-002 where a value does not fit its value representation.
    """
    require_fitting(given, given)
    return replace(
        context,
        attributes={**context.attributes, **given},
        study_instance_uid=given.get("StudyInstanceUID", context.study_instance_uid),
        frame_of_reference_uid=given.get("FrameOfReferenceUID", context.frame_of_reference_uid),
    )
