"""Storage Commitment Push Model (PS3.4 Annex J): what is asked of an archive, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset
from pydicom.uid import UID

from lfmri_node.dicom_io.types import CommitmentReport

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""The one instance of the class that everybody knows (J.3.5)."""
REQUEST = 1
"""Action Type ID of the request (J.3.2.1)."""
_SUCCESS, _FAILURES_EXIST = 1, 2  # Event Type IDs, J.3.3.1


class Remedy(StrEnum):
    """What may heal a failure to commit."""

    SEND_AGAIN = "the object is sent again"
    ASK_AGAIN = "commitment is asked for again"
    NONE = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """One value of Failure Reason (0008,1197)."""

    code: int
    meaning: str
    remedy: Remedy


FAILURE_REASONS: tuple[FailureReason, ...] = (
    FailureReason(code=0x0110, meaning="Processing failure", remedy=Remedy.ASK_AGAIN),
    FailureReason(code=0x0112, meaning="No such object instance", remedy=Remedy.SEND_AGAIN),
    FailureReason(code=0x0119, meaning="Class / Instance conflict", remedy=Remedy.NONE),
    FailureReason(code=0x0122, meaning="Referenced SOP Class not supported", remedy=Remedy.NONE),
    FailureReason(code=0x0131, meaning="Duplicate transaction UID", remedy=Remedy.ASK_AGAIN),
    FailureReason(code=0x0213, meaning="Resource limitation", remedy=Remedy.ASK_AGAIN),
)
"""PS3.3 C.14.1.1, ascending."""


def reason_of(code: int) -> FailureReason:
    """The row of a code; one that is not in the standard may heal by itself: nothing speaks against it."""
    unknown = FailureReason(code=code, meaning="unknown reason", remedy=Remedy.ASK_AGAIN)
    return next((row for row in FAILURE_REASONS if row.code == code), unknown)


class NoReport(Exception):
    """What came is no report.

    Parameters
    ----------
    status
        Of the answer to it (PS3.7 10.1.1.1.8).
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def read_report(event_type: int | None, information: Dataset) -> CommitmentReport:
    """The report in the information of an N-EVENT-REPORT.

    An instance that stands in both lists counts as failed.

    Raises
    ------
    NoReport
        0x0113 another event, 0x0115 no Transaction UID, or a list that is none.
    """
    if event_type not in (_SUCCESS, _FAILURES_EXIST):
        raise NoReport(0x0113, "no such event type")
    uid = UID(str(information.get("TransactionUID", "")))
    if not uid.is_valid:
        raise NoReport(0x0115, "no Transaction UID")
    failed = {
        _instance(item): int(item.get("FailureReason") or 0)
        for item in _items(information, "FailedSOPSequence")
    }
    committed = frozenset(_instance(item) for item in _items(information, "ReferencedSOPSequence"))
    return CommitmentReport(transaction_uid=str(uid), committed=committed - failed.keys(), failed=failed)


def _items(information: Dataset, keyword: str) -> list[Dataset]:
    value = information.get(keyword) or []
    if not all(isinstance(item, Dataset) for item in value):
        raise NoReport(0x0115, f"{keyword} is no sequence")
    return list(value)


def _instance(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID", ""))


def request_of(transaction_uid: str, instances: Mapping[str, str]) -> Dataset:
    """Information of the N-ACTION that asks for commitment (J.3.2.1.1).

    Parameters
    ----------
    instances
        SOP Instance UID -> SOP Class UID.
    """
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for instance, sop_class in instances.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        request.ReferencedSOPSequence.append(item)
    return request
