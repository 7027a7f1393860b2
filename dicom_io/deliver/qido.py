"""Searching a DICOMweb server for what it took (QIDO-RS, PS3.18 10.6), and asking whether it is there."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import requests

from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.deliver.identity import by_series
from lfmri_node.dicom_io.deliver.web import (
    STRANGER,
    NoAnswer,
    WebDestination,
    content_of,
    naming_errors,
    opened_session,
    value_of,
)
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.dicom_io.uids import fresh_uid

_SOP_INSTANCE_UID = "00080018"
_FOUND, _NONE = 200, 204
_NO_SEARCH = frozenset({404, 405, 406, 501})
_UNABLE = _NO_SEARCH | {400, 401, 403, 413, 415}
_MOST_PAGES = 1000


def search_for(destination: WebDestination, objects: Sequence[EncodedObject]) -> Asked:
    """Ask a server for the instances of the series of objects, and compare SOP Instance UIDs.

    The series is asked for, not each instance: every server can do that, few take lists of UIDs. A server may
    answer with a part of them (PS3.18 8.3.4.4); then the rest is asked for.
    """
    wanted = by_series(objects)
    if wanted is None:
        return Asked(answered=False, detail="the files are gone or damaged", offered=False)
    found: set[str] = set()
    try:
        with opened_session(destination) as session:
            for (study_uid, series_uid), uids in wanted.items():
                place = f"{destination.studies}/{study_uid}/series/{series_uid}/instances"
                found |= _listed(session, destination, place, uids)
    except NoAnswer as error:
        unable = error.status in _UNABLE
        return Asked(answered=False, detail=error.detail, offered=not unable, transient=not unable)
    return Asked(answered=True, detail="answered", found=frozenset(found))


def reach_web(destination: WebDestination) -> str | None:
    """Ask the server for a study that nobody has; None when it answers us, else what went wrong.

    A server that stores and does not search answers too, as far as can be told without storing something.
    """
    try:
        with opened_session(destination) as session:
            status = _probed(session, destination)
    except NoAnswer as error:
        return error.detail
    return None if 200 <= status < 300 or status in _NO_SEARCH else f"HTTP {status}"


def _probed(session: requests.Session, destination: WebDestination) -> int:
    """Status of the answer to a search for a study that nobody has."""
    query = {"StudyInstanceUID": fresh_uid(), "limit": "1"}
    with (
        naming_errors(),
        session.get(
            destination.studies,
            params=query,
            timeout=destination.timeouts,
            stream=True,
            allow_redirects=False,
        ) as answer,
    ):
        return answer.status_code


def _listed(
    session: requests.Session, destination: WebDestination, place: str, wanted: Collection[str]
) -> set[str]:
    """SOP Instance UIDs of a series, until those that are wanted are found or nothing new comes."""
    found: set[str] = set()
    n_answered = 0
    for _ in range(_MOST_PAGES):
        page = _page(session, destination, place, n_answered)
        n_answered += len(page)
        nothing_new = found.issuperset(page)
        found.update(page)
        if nothing_new or found.issuperset(wanted):
            break
    return found


def _page(session: requests.Session, destination: WebDestination, place: str, offset: int) -> list[str]:
    query = {"offset": str(offset)} if offset else {}
    with (
        naming_errors(),
        session.get(
            place, params=query, timeout=destination.timeouts, stream=True, allow_redirects=False
        ) as answer,
    ):
        status = answer.status_code
        content = content_of(answer) if status == _FOUND else b"[]"
    if status == 404 and _probed(session, destination) in (_FOUND, _NONE):
        return []  # it searches, and does not know the series
    if status not in (_FOUND, _NONE):
        words = f"{STRANGER}; HTTP {status}" if status < 400 else f"HTTP {status}"
        raise NoAnswer(words, status=status)
    return _uids(content)


def _uids(content: bytes) -> list[str]:
    """Of the answer to a search: a list of data sets (PS3.18 10.6.3.3)."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, list):
        raise NoAnswer(STRANGER)
    values = [value_of(item, _SOP_INSTANCE_UID) for item in document]
    return [value.strip(" \0") for value in values if isinstance(value, str)]
