"""Asking a destination afterwards whether it has what it took: by Storage Commitment, or by a query."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRootFind,
)

from lfmri_node.dicom_io.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST,
    NoReport,
    read_report,
    request_of,
)
from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.deliver.association import DicomDestination, opened_association, why_not
from lfmri_node.dicom_io.deliver.identity import by_series
from lfmri_node.dicom_io.types import CommitmentReport, EncodedObject, SentQuery

LINGER_S = 1.0
"""How long the association of a request stays open for its report; later ones come over another."""
_SUCCESS, _PENDING = 0x0000, frozenset({0xFF00, 0xFF01})
_NOT_NOW = 0x0110
_NOT_OFFERED = frozenset({0x0118, 0x0122, 0x0123, 0x0211})  # no such class or action (PS3.7 10.1.4.1.10)
_FORBIDDEN = frozenset({0x0124})
_FIND_UNABLE = frozenset({0x0118, 0x0122, 0x0124, 0x0211})

Reported = Callable[[CommitmentReport], None]


def ask_for_commitment(
    destination: DicomDestination,
    transaction_uid: str,
    objects: Sequence[EncodedObject],
    reported: Reported,
    *,
    linger: bool = True,
) -> Asked:
    """Ask an archive to take responsibility for objects (N-ACTION, PS3.4 J.3.2).

    Parameters
    ----------
    transaction_uid
        Never used before.
    reported
        Is told a report that comes over the same association, from another thread. What it raises is
        answered as a failure, so that the archive reports again.
    linger
        Wait for a report over the same association.
    """
    contexts = [(PUSH_MODEL, UID(ImplicitVRLittleEndian))]
    with (
        _Reports(reported, destination.answer_timeout_s) as reports,
        opened_association(destination, contexts, [(evt.EVT_N_EVENT_REPORT, reports.came)]) as association,
    ):
        if (refusal := _not_opened(association, PUSH_MODEL)) is not None:
            return refusal
        assert association is not None
        request = request_of(transaction_uid, {item.sop_instance_uid: item.sop_class_uid for item in objects})
        try:
            answer, _ = association.send_n_action(request, REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        except (RuntimeError, ValueError):  # the association ended since, or has no context for it
            answer = Dataset()
        linger_s = LINGER_S if answer.get("Status") == _SUCCESS and linger else 0.0
        if not reports.taken(linger_s):
            association.abort()
        return _action_answered(answer)


class _Reports:
    """What an archive reports over the association of a request.

    pynetdicom serves a report in a thread of its own, whose end says that the association's reactor is not
    paused: also where a request or a release of ours has just paused it, and then waits for ever to be told
    so. Hence a report is served between the answer to the request and the release, and the release waits
    until its thread has ended.
    """

    def __init__(self, reported: Reported, limit_s: float) -> None:
        self._reported = reported
        self._limit_s = limit_s
        self._turn = threading.Lock()
        self._serving: list[threading.Thread] = []
        self._closed = False
        self._asked, self._noted, self._gone = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> _Reports:
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.set()
        self._gone.set()

    def came(self, event: evt.Event) -> tuple[int, None]:
        """Answer a report."""
        with self._turn:
            if not self._closed:
                self._serving.append(threading.current_thread())
            late = self._closed
        (self._gone if late else self._asked).wait(self._limit_s)
        if late:
            return _NOT_NOW, None
        try:
            self._reported(read_report(event.event_type, event.event_information))
        except NoReport as refusal:
            return refusal.status, None
        self._noted.set()
        return _SUCCESS, None

    def taken(self, linger_s: float) -> bool:
        """Take reports for so long, at most until one is noted; False where one is still being answered."""
        self._asked.set()
        self._noted.wait(linger_s)
        with self._turn:
            self._closed = True
        for thread in self._serving:
            thread.join(self._limit_s)
        return not any(thread.is_alive() for thread in self._serving)


def _action_answered(answer: Dataset) -> Asked:
    if "Status" not in answer:
        return Asked(answered=False, detail="no answer to the request", transient=True)
    status = int(answer.Status)
    detail = f"0x{status:04X}"
    if status == _SUCCESS:
        return Asked(answered=True, detail=detail)
    if status in _NOT_OFFERED:
        return Asked(answered=False, detail=detail, offered=False)
    return Asked(answered=False, detail=detail, transient=status not in _FORBIDDEN)


def look_for(destination: DicomDestination, objects: Sequence[EncodedObject]) -> Asked:
    """Ask an archive for objects by their UIDs (C-FIND, Study Root, level IMAGE; PS3.4 C.4.1).

    Study and series are asked for as the files name them.
    """
    series = by_series(objects)
    if series is None:
        return Asked(answered=False, detail="the files are gone or damaged", offered=False)
    with opened_association(destination, [(StudyRootFind, UID(ImplicitVRLittleEndian))]) as association:
        if (refusal := _not_opened(association, StudyRootFind)) is not None:
            return refusal
        assert association is not None
        found: set[str] = set()
        sent: list[SentQuery] = []
        for (study_uid, series_uid), uids in series.items():
            query = _query(study_uid, series_uid, uids)
            sent.append(_sent(query))
            status = _found(association, query, found)
            if status is None:
                detail = "no answer to the query"
                return Asked(answered=False, detail=detail, transient=True, queries=tuple(sent))
            if status != _SUCCESS:
                unable = status in _FIND_UNABLE or 0xA900 <= status <= 0xCFFF
                return Asked(
                    answered=False,
                    detail=f"0x{status:04X}",
                    offered=not unable,
                    transient=not unable,
                    queries=tuple(sent),
                )
        return Asked(answered=True, detail="0x0000", found=frozenset(found), queries=tuple(sent))


def _query(study_uid: str, series_uid: str, uids: Sequence[str]) -> Dataset:
    """Of a series, with list of UID matching (PS3.4 C.2.2.2.2)."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, series_uid
    query.SOPInstanceUID = list(uids)
    return query


def _sent(query: Dataset) -> SentQuery:
    content = encode(query, True, True)
    assert content is not None
    return SentQuery(
        sop_class_uid=str(StudyRootFind),
        transfer_syntax_uid=str(ImplicitVRLittleEndian),
        identifier=content,
    )


def _found(association: Association, query: Dataset, found: set[str]) -> int | None:
    """Add what a query finds; its final status, None where none came."""
    try:
        for answer, match in association.send_c_find(query, StudyRootFind):
            if "Status" not in answer:
                return None
            if answer.Status not in _PENDING:
                return int(answer.Status)
            if match is not None:
                found.add(str(match.get("SOPInstanceUID", "")))
    except (RuntimeError, ValueError):
        return None
    return None


def _not_opened(association: Association | None, sop_class: UID) -> Asked | None:
    """Why there is no association on which a service could be used; None where there is."""
    if association is not None and association.rejected_contexts and not association.accepted_contexts:
        return Asked(answered=False, detail=f"{sop_class.name} is not accepted", offered=False)
    if association is None or not association.is_established:
        detail, transient = why_not(association)
        return Asked(answered=False, detail=detail, transient=transient)
    return None
