"""Delivery through Orthanc's REST API: upload, read back, compare. One attempt; retrying is the caller's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as api

from lfmri_node.dicom_io.deliver.earlier import is_earlier_making
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject, Proof

_PERMANENT = frozenset({400, 401, 403, 404, 405, 409, 413, 415})
_CUT = "the connection was cut"  # the client library answers None to what it cannot name
_STRANGER = "what answers is not Orthanc (a proxy, a login page?)"
_EARLIER = "it has the object from an earlier delivery, with another time of creation"
_STORED = frozenset({"Success", "AlreadyStored"})
_NOT_STORED = {"FilteredOut": False, "Failure": False, "StorageFull": True}  # Orthanc's word -> may heal
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
_PREAMBLE = 128


class _NotTaken(Exception):
    """Why an object did not arrive, in words of ours, and whether that may heal."""

    def __init__(self, detail: str, *, transient: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.transient = transient


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthancDestination:
    """An Orthanc server.

    Parameters
    ----------
    name
        For receipts and messages.
    url
        Of the server's root, for instance ``https://pacs.example:8042``.
    ca
        Who signs the server's certificate, a file in PEM; None for those that the system trusts.
    timeout_s
        Longest wait for each answer.
    """

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
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
    with _client(destination) as client:
        for item in objects:
            yield _upload(client, destination, item)


def reach(destination: OrthancDestination) -> str | None:
    """Ask Orthanc who it is; None when it answers us, else what went wrong."""
    with _client(destination) as client:
        try:
            system = _document(_ask(destination, client.get, "system"))
        except _NotTaken as error:
            return error.detail
    return None if system.get("Version") else _STRANGER


@contextmanager
def _client(destination: OrthancDestination) -> Iterator[OrthancApiClient]:
    root = destination.url.rstrip("/") + "/"
    client = OrthancApiClient(root, user=destination.user, pwd=destination.password)
    try:
        yield client
    finally:
        client.close()


def _upload(
    client: OrthancApiClient, destination: OrthancDestination, item: EncodedObject
) -> DeliveryReceipt:
    try:
        with item.path.open("rb") as file:
            said = _document(_ask(destination, client.post, "instances", data=file))
        status, place = _stored(said)
        copy = _ask(destination, client.get, f"instances/{place}/file")
        if copy[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
            raise _NotTaken(_STRANGER)
    except _NotTaken as error:
        return _receipt(destination, item, error.detail, transient=error.transient)
    if hashlib.sha256(copy).hexdigest() != item.sha256:
        if is_earlier_making(item, copy):
            return _receipt(destination, item, _EARLIER, delivered=True, verified=True)
        detail = "Orthanc holds another object under this SOP Instance UID"
        return _receipt(destination, item, detail, verified=False)
    return _receipt(destination, item, status, delivered=True, verified=True)


def _ask(destination: OrthancDestination, method: Callable[..., Any], place: str, **options: object) -> bytes:
    """Content of the answer to a request; every way not to get one is a `_NotTaken`."""
    verify = True if destination.ca is None else str(destination.ca)
    try:
        answer = method(place, timeout=destination.timeout_s, verify=verify, **options)
    except api.OrthancApiException as error:
        raise _cause(error) from None
    except (TypeError, AttributeError, ValueError):
        # The client takes errors to be worded as Orthanc words them, and trips over others.
        raise _NotTaken(_STRANGER) from None
    if answer is None:
        raise _NotTaken(_CUT)
    return bytes(answer.content)


def _document(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _NotTaken(_STRANGER)
    return document


def _stored(said: dict[str, object]) -> tuple[str, str]:
    """Status and identifier of an object that Orthanc says it has stored; nothing else is quoted."""
    status, place = said.get("Status"), said.get("ID")
    if not isinstance(status, str) or status not in _STORED | _NOT_STORED.keys():
        raise _NotTaken(_STRANGER)
    if status in _NOT_STORED:
        raise _NotTaken(f"Orthanc answers {status}", transient=_NOT_STORED[status])
    if not isinstance(place, str) or not _ID.fullmatch(place):
        raise _NotTaken(_STRANGER)
    return status, place


def _cause(error: api.OrthancApiException) -> _NotTaken:
    """What happened, without what the server says of the object, and whether it may heal."""
    code = error.http_status_code if isinstance(error, api.HttpError) else None
    if code is not None:
        return _NotTaken(f"HTTP {code}", transient=code not in _PERMANENT)
    if isinstance(error, api.TimeoutError):
        return _NotTaken("no answer in time")
    secured = str(error.url).startswith("https:")
    return _NotTaken("Orthanc cannot be reached" + (", or its certificate is not trusted" if secured else ""))


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
