"""What a destination answers to a question about objects that it took."""

from __future__ import annotations

from dataclasses import dataclass

from lfmri_node.dicom_io.types import SentQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a destination answered to a question.

    Parameters
    ----------
    answered
        It took the request, or answered the query.
    offered
        False where it does not have this service at all, so that asking again is of no use.
    transient
        Not answered, and a later attempt may be.
    found
        SOP Instance UIDs that a query found.
    queries
        Of DICOM, that were sent.
    """

    answered: bool
    detail: str
    offered: bool = True
    transient: bool = False
    found: frozenset[str] = frozenset()
    queries: tuple[SentQuery, ...] = ()
