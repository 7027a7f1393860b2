"""Delivery through Orthanc's REST API: upload, read back, compare. One attempt; retrying is the caller's.

Three requests through the session of all web destinations: orthanc-api-client 0.25, which the demonstration
and the tests use, takes no TLS context (revocation lists) and bounds no answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

import requests

from lfmri_node.dicom_io.deliver.earlier import is_earlier_making
from lfmri_node.dicom_io.deliver.web import HttpPeer, NoAnswer, content_of, naming_errors, opened_session
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject, Proof

_PERMANENT = frozenset({400, 401, 403, 404, 405, 409, 413, 415})
_STRANGER = "what answers is not Orthanc (a proxy, a login page?)"
_EARLIER = "it has the object from an earlier delivery, with another time of creation"
_STORED = frozenset({"Success", "AlreadyStored"})
_NOT_STORED = {"FilteredOut": False, "Failure": False, "StorageFull": True}  # Orthanc's word -> may heal
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
_PREAMBLE = 128
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthancDestination(HttpPeer):
    """An Orthanc server; ``url`` is for instance ``https://pacs.example:8042``.

    Parameters
    ----------
    timeout_s
        Longest wait for each answer.
    """

    timeout_s: float = 60


def upload_objects(
    destination: OrthancDestination, objects: Sequence[EncodedObject]
) -> Iterator[DeliveryReceipt]:
    """Upload objects one by one; a receipt for each, in order, once Orthanc's copy has been compared.

    Every object gets its receipt, also where what answers is no Orthanc at all.
    ``verified`` is True when Orthanc returns the bytes that were sent, or those of an earlier making of the
    same object (`earlier`), False when it returns others (it keeps what it has unless told to overwrite). An
    object that cannot be read back counts as not delivered and may be sent again: uploading the same bytes
    twice changes nothing.
    """
    try:
        with opened_session(destination) as session:
            for item in objects:
                yield _upload(session, destination, item)
    except NoAnswer as error:  # before the first of them
        for item in objects:
            yield _receipt(destination, item, error.detail, transient=error.transient)


def reach(destination: OrthancDestination) -> str | None:
    """Ask Orthanc who it is; None when it answers us, else what went wrong."""
    try:
        with opened_session(destination) as session:
            system = _document(_ask(session, destination, "GET", "system"))
    except NoAnswer as error:
        return error.detail
    return None if system.get("Version") else _STRANGER


def _upload(
    session: requests.Session, destination: OrthancDestination, item: EncodedObject
) -> DeliveryReceipt:
    try:
        with item.path.open("rb") as file:
            said = _document(_ask(session, destination, "POST", "instances", data=file))
        status, place = _stored(said)
        longest = item.path.stat().st_size + _SPARE_BYTES
        copy = _ask(session, destination, "GET", f"instances/{place}/file", longest=longest)
        if copy[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
            raise NoAnswer(_STRANGER)
    except NoAnswer as error:
        return _receipt(destination, item, error.detail, transient=error.transient)
    if hashlib.sha256(copy).hexdigest() != item.sha256:
        if is_earlier_making(item, copy):
            return _receipt(destination, item, _EARLIER, delivered=True, verified=True)
        detail = "Orthanc holds another object under this SOP Instance UID"
        return _receipt(destination, item, detail, verified=False)
    return _receipt(destination, item, status, delivered=True, verified=True)


def _ask(
    session: requests.Session,
    destination: OrthancDestination,
    method: str,
    place: str,
    *,
    data: IO[bytes] | None = None,
    longest: int = _SPARE_BYTES,
) -> bytes:
    """Content of the answer to a request; every way not to get one is a `NoAnswer`, which quotes nothing."""
    url = f"{destination.url.rstrip('/')}/{place}"
    with (
        naming_errors(),
        session.request(
            method, url, data=data, timeout=destination.timeout_s, stream=True, allow_redirects=False
        ) as answer,
    ):
        content, status = content_of(answer, longest), answer.status_code
    if 200 <= status < 300:
        return content
    if status == requests.codes.conflict:
        _document(content)  # a proxy has conflicts of its own
    raise NoAnswer(f"HTTP {status}", transient=status not in _PERMANENT, status=status)


def _document(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NoAnswer(_STRANGER)
    return document


def _stored(said: dict[str, object]) -> tuple[str, str]:
    """Status and identifier of an object that Orthanc says it has stored; nothing else is quoted."""
    status, place = said.get("Status"), said.get("ID")
    if not isinstance(status, str) or status not in _STORED | _NOT_STORED.keys():
        raise NoAnswer(_STRANGER)
    if status in _NOT_STORED:
        raise NoAnswer(f"Orthanc answers {status}", transient=_NOT_STORED[status])
    if not isinstance(place, str) or not _ID.fullmatch(place):
        raise NoAnswer(_STRANGER)
    return status, place


def _receipt(
    destination: OrthancDestination,
    item: EncodedObject,
    detail: str,
    *,
    delivered: bool = False,
    verified: bool | None = None,
    transient: bool = False,
) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=item.sop_instance_uid,
        destination=destination.name,
        dimse_status=None,
        delivered=delivered,
        verified=verified,
        detail=detail,
        answered_at=datetime.now(UTC),
        transient=transient,
        proof=Proof.NONE if verified is None else Proof.BYTES,
    )
