"""C-STORE statuses as data: what each code means, where the standard says so, what a sender does next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Status(IntEnum):
    """Statuses that our listener answers.

    The codes 0xC1xx are ours, inside the range that PS3.4 B.2.3 leaves to the implementation, one a
    cause, so that the log of a gateway tells what was wrong.
    """

    SUCCESS = 0x0000
    INVALID_SOP_INSTANCE = 0x0117
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    TOO_LARGE = 0xA701
    DATA_SET_MISMATCH = 0xA900
    UNREADABLE = 0xC100
    FOREIGN_RAW_DATA = 0xC101
    UNKNOWN_FORMAT = 0xC102
    TRUNCATED = 0xC103
    WRONG_HASH = 0xC104
    PARTS_CONTRADICT = 0xC105
    NO_IDENTITY = 0xC110
    CHANGED_INSTANCE = 0xC112
    OTHER_PATIENT = 0xC113
    OTHER_ATTRIBUTES = 0xC114


class Outcome(StrEnum):
    """What a status says of the object that was sent."""

    STORED = "stored"
    STORED_WITH_WARNING = "stored with warning"
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


STORAGE_STATUSES: tuple[DimseStatus, ...] = (
    DimseStatus(first=0x0000, last=0x0000, meaning="Success", clause="PS3.4 B.2.3", outcome=Outcome.STORED),
    _warning(0xB000, "Coercion of Data Elements"),
    _warning(0xB006, "Elements Discarded"),
    _warning(0xB007, "Data Set does not match SOP Class"),
    _row(0x0110, "Processing failure", "PS3.7 Annex C", transient=True),
    _row(0x0111, "Duplicate SOP Instance", "PS3.7 Annex C"),
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
