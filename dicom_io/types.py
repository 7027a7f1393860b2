"""Values of the DICOM layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """The scanner or gateway that made the source object."""

    manufacturer: str = ""
    model_name: str = ""
    serial_number: str = ""
    software_versions: str = ""
    institution_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyContext:
    """What derived objects copy from the Raw Data object.

    Parameters
    ----------
    attributes
        Patient, study and visit attributes: DICOM keyword -> value, as read.
    frame_of_reference_uid
        None when the source names none.
    source_instances
        SOP Instance UIDs of the Raw Data object(s): one a part.
    source_series_uid
        Series Instance UID of them; None where it is not known, as in values that an earlier version stored.
    """

    study_instance_uid: str = field(repr=False)
    frame_of_reference_uid: str | None = field(repr=False)
    attributes: Mapping[str, object] = field(repr=False)
    source_sop_class_uid: str
    source_instances: tuple[str, ...]
    equipment: Equipment
    source_series_uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedObject:
    """A DICOM file on disk, checked and ready to leave."""

    path: Path
    sha256: str
    role: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt:
    """What a destination answered for one object.

    Parameters
    ----------
    dimse_status
        C-STORE status; None where the association died without one, or for REST.
    delivered
        True only when the destination said that it has the object.
    verified
        Whether the destination's copy, read back, is what was sent; None where it was not asked. This is
        not DICOM Storage Commitment (PS3.4 Annex J), by which an archive takes responsibility.
    detail
        Short text without patient data.
    transient
        Not delivered, and a later attempt may succeed. False for a delivered object and for a
        refusal that will be the same next time.
    """

    sop_instance_uid: str
    destination: str
    dimse_status: int | None
    delivered: bool
    verified: bool | None
    detail: str
    answered_at: datetime
    transient: bool = False
