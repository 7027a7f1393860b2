"""Values of the DICOM layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
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


class Proof(StrEnum):
    """How it is known that a destination has an object."""

    NONE = ""
    BYTES = "read back"
    """Its copy is, byte for byte, what was sent."""
    COMMITMENT = "committed"
    """It takes responsibility for it (Storage Commitment, PS3.4 Annex J)."""
    QUERY = "found"
    """Its index lists it (C-FIND, QIDO-RS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt:
    """What a destination answered for one object.

    Parameters
    ----------
    dimse_status
        C-STORE status, or the reason in an answer to STOW-RS, which has the same codes; None where there
        is none.
    delivered
        True only when the destination said that it has the object.
    verified
        Whether the destination was asked afterwards and has the object, which is more than that it took it;
        None where it was not asked, or has not answered yet.
    proof
        How that was found out.
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
    proof: Proof = Proof.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SentQuery:
    """A query as it went: ``identifier`` is its data set in that transfer syntax."""

    sop_class_uid: str
    transfer_syntax_uid: str
    identifier: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """What an archive reports of one transaction (PS3.4 J.3.3).

    Parameters
    ----------
    committed
        SOP Instance UIDs for which it takes responsibility.
    failed
        SOP Instance UID -> Failure Reason of those for which it does not; 0 where it names none.
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]
