"""Delivery through Orthanc's REST API: upload, read back, compare. One attempt; retrying is the caller's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as api

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject

_PERMANENT = frozenset({400, 401, 403, 404, 405, 409, 413, 415})
_CUT = "the connection was cut"  # the client library answers None to what it cannot name


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthancDestination:
    """An Orthanc server.

    Parameters
    ----------
    name
        For receipts and messages.
    url
        Of the server's root, for instance ``https://pacs.example:8042``.
    timeout_s
        Longest wait for each answer.
    """

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 60


def upload_objects(
    destination: OrthancDestination, objects: Sequence[EncodedObject]
) -> Iterator[DeliveryReceipt]:
    """Upload objects one by one; a receipt for each, in order, once Orthanc's copy has been compared.

    ``committed`` is True when Orthanc returns the bytes that were sent, False when it returns others
    (it keeps what it has unless told to overwrite). An object that cannot be read back counts as not
    delivered and may be sent again: uploading the same bytes twice changes nothing.
    """
    with _client(destination) as client:
        for item in objects:
            yield _upload(client, destination, item)


def reach(destination: OrthancDestination) -> str | None:
    """Ask Orthanc who it is; None when it answers us, else what went wrong."""
    with _client(destination) as client:
        try:
            return None if client.get("system", timeout=destination.timeout_s) else _CUT
        except api.OrthancApiException as error:
            return _cause(error)[0]


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
            answer = client.post("instances", data=file, timeout=destination.timeout_s)
        if answer is None:
            return _receipt(destination, item, _CUT, transient=True)
        said = answer.json()
        if said.get("Status") not in ("Success", "AlreadyStored"):
            return _receipt(destination, item, f"Orthanc answers {said.get('Status')}")
        copy = client.get(f"instances/{said['ID']}/file", timeout=destination.timeout_s)
    except api.OrthancApiException as error:
        detail, transient = _cause(error)
        return _receipt(destination, item, detail, transient=transient)
    if copy is None:
        return _receipt(destination, item, _CUT, transient=True)
    if hashlib.sha256(copy.content).hexdigest() != item.sha256:
        detail = "Orthanc holds another object under this SOP Instance UID"
        return _receipt(destination, item, detail, committed=False)
    return _receipt(destination, item, said["Status"], delivered=True, committed=True)


def _cause(error: api.OrthancApiException) -> tuple[str, bool]:
    """What happened, without what the server says of the object, and whether it may heal."""
    code = error.http_status_code if isinstance(error, api.HttpError) else None
    if code is not None:
        return f"HTTP {code}", code not in _PERMANENT
    if isinstance(error, api.TimeoutError):
        return "no answer in time", True
    return "Orthanc cannot be reached", True


def _receipt(
    destination: OrthancDestination,
    item: EncodedObject,
    detail: str,
    *,
    delivered: bool = False,
    committed: bool | None = None,
    transient: bool = False,
) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=item.sop_instance_uid,
        destination=destination.name,
        dimse_status=None,
        delivered=delivered,
        committed=committed,
        detail=detail,
        answered_at=datetime.now(UTC),
        transient=transient,
    )
