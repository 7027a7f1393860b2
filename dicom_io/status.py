"""C-STORE statuses as data: what each code means, where the standard says so, what a sender does next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Status(IntEnum):
    """Statuses that our listener answers, each with what it means here.

    The codes 0xC1xx are ours, inside the range that PS3.4 B.2.3 leaves to the implementation, one a
    cause, so that the log of a gateway tells what was wrong.

    Attributes
    ----------
    condition
        When it is answered, in words of the conformance statement.
    """

    condition: str

    def __new__(cls, code: int, condition: str) -> Status:
        member = int.__new__(cls, code)
        member._value_ = code
        member.condition = condition
        return member

    SUCCESS = (
        0x0000,
        "Safe on disk and recorded. Also when the same object comes again, when the same payload comes with"
        " the same attributes under another SOP Instance UID, and when an operator has accepted the object.",
    )
    INVALID_SOP_INSTANCE = 0x0117, "SOPInstanceUID is empty or malformed, in the command or in the data set."
    SOP_CLASS_NOT_SUPPORTED = 0x0122, "The command names another class than Raw Data, or none."
    OUT_OF_RESOURCES = (
        0xA700,
        "No room, no memory, the file system failed, or the job could not be recorded: send again later.",
    )
    TOO_LARGE = 0xA701, "The data set is longer than is accepted."
    DATA_SET_MISMATCH = (
        0xA900,
        "Command and data set name different classes or instances, or the data set is no Raw Data.",
    )
    UNREADABLE = (
        0xC100,
        "The head of the data set is damaged, above 1 MiB or of thousands of elements; the request is"
        " malformed or has no data set.",
    )
    FOREIGN_RAW_DATA = 0xC101, "Raw Data of another maker: no private block of ours."
    UNKNOWN_FORMAT = (
        0xC102,
        "The private block is incomplete, malformed or of an unknown format, or the payload is missing or of"
        " another length than the block says.",
    )
    TRUNCATED = 0xC103, "The data set ends before its payload does."
    WRONG_HASH = 0xC104, "The payload differs from its SHA-256."
    PARTS_CONTRADICT = 0xC105, "The parts of a scan contradict each other."
    NO_IDENTITY = 0xC110, "PatientID or StudyInstanceUID is missing or empty."
    CHANGED_INSTANCE = 0xC112, "Other bytes under a SOP Instance UID that is kept: quarantined."
    OTHER_PATIENT = 0xC113, "The same payload under another patient: quarantined."
    OTHER_ATTRIBUTES = (
        0xC114,
        "The same payload for the same patient and study with other attributes, as in a corrected study:"
        " quarantined.",
    )


class Outcome(StrEnum):
    """What a status says of the object that was sent."""

    STORED = "stored"
    STORED_WITH_WARNING = "stored with warning"
    HELD = "held since an earlier time"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseStatus:
    """One row of the table: a code or a range of codes.

    Parameters
    ----------
    first, last
        The range, both ends included; equal for a single code.
    meaning
        The words of the standard.
    clause
        Where they stand.
    transient
        Whether the same object may be accepted when it is sent again later.
    """

    first: int
    last: int
    meaning: str
    clause: str
    outcome: Outcome
    transient: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the peer says that it holds the object."""
        return self.outcome is not Outcome.REFUSED


def _row(
    first: int, meaning: str, clause: str, *, last: int | None = None, transient: bool = False
) -> DimseStatus:
    return DimseStatus(
        first=first,
        last=first if last is None else last,
        meaning=meaning,
        clause=clause,
        outcome=Outcome.REFUSED,
        transient=transient,
    )


def _warning(code: int, meaning: str) -> DimseStatus:
    outcome = Outcome.STORED_WITH_WARNING
    return DimseStatus(first=code, last=code, meaning=meaning, clause="PS3.4 B.2.3", outcome=outcome)


def _held(code: int, meaning: str, clause: str) -> DimseStatus:
    """A refusal of what is there already: who was killed before it knew sends an object again, and its UID
    follows from what it is made of (`uids`)."""
    return DimseStatus(first=code, last=code, meaning=meaning, clause=clause, outcome=Outcome.HELD)


STORAGE_STATUSES: tuple[DimseStatus, ...] = (
    DimseStatus(first=0x0000, last=0x0000, meaning="Success", clause="PS3.4 B.2.3", outcome=Outcome.STORED),
    _warning(0xB000, "Coercion of Data Elements"),
    _warning(0xB006, "Elements Discarded"),
    _warning(0xB007, "Data Set does not match SOP Class"),
    _row(0x0110, "Processing failure", "PS3.7 Annex C", transient=True),
    _held(0x0111, "Duplicate SOP Instance", "PS3.7 Annex C"),
    _row(0x0117, "Invalid SOP Instance", "PS3.7 9.1.1.1.9"),
    _row(0x0122, "Refused: SOP Class not supported", "PS3.7 9.1.1.1.9"),
    _row(0x0124, "Refused: Not authorized", "PS3.7 9.1.1.1.9"),
    _row(0x0210, "Duplicate invocation", "PS3.7 9.1.1.1.9", transient=True),
    _row(0x0211, "Unrecognized operation", "PS3.7 9.1.1.1.9"),
    _row(0x0212, "Mistyped argument", "PS3.7 9.1.1.1.9"),
    _row(0x0213, "Resource limitation", "PS3.7 Annex C", transient=True),
    _row(0xA700, "Refused: Out of Resources", "PS3.4 B.2.3", last=0xA7FF, transient=True),
    _row(0xA900, "Error: Data Set does not match SOP Class", "PS3.4 B.2.3", last=0xA9FF),
    _row(0xC000, "Error: Cannot understand", "PS3.4 B.2.3", last=0xCFFF),
)
"""Ascending ranges that do not overlap, within each outcome."""


def meaning_of(code: int) -> DimseStatus:
    """The row that a code falls into.

    A code outside the table is a refusal that another attempt may heal: nothing is known that speaks
    against it, and the object is not claimed to be stored.
    """
    for row in STORAGE_STATUSES:
        if row.first <= code <= row.last:
            return row
    return _row(code, "unknown status", "not in PS3.4 B.2.3 or PS3.7 Annex C", transient=True)
