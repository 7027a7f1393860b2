"""Delivery by STOW-RS (PS3.18 10.5): files as they lie on disk, many in a request. One attempt.

`requests` and not `dicomweb-client`: that one encodes every object anew, holds a whole request in memory,
and does not tell 200 from 202.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import requests

from lfmri_node.dicom_io.deliver.multipart import Multipart
from lfmri_node.dicom_io.deliver.stow_answer import Said, StowAnswer
from lfmri_node.dicom_io.deliver.web import (
    STRANGER,
    NoAnswer,
    WebDestination,
    content_of,
    naming_errors,
    opened_session,
)
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.dicom_io.uids import fresh_uid

_ANSWERED = frozenset({200, 202, 409})  # these have a Store Instances Response
_DIVIDED = frozenset({400, 413})  # one instance may be to blame: the request is sent again in two halves
_OF_THE_REQUEST = frozenset({400, 413, 415})
_PERMANENT = frozenset({400, 401, 403, 404, 405, 406, 413, 415, 501})


def store_instances(
    destination: WebDestination, objects: Sequence[EncodedObject]
) -> Iterator[DeliveryReceipt]:
    """Send objects; a receipt for each, in order, by what the answer says of that instance.

    An instance that the answer does not name is not delivered, whatever the status of the answer. A warning
    counts as delivered and is told in the detail. Where the server itself fails, nothing more is sent.
    """
    waiting = list(_batches(objects, destination.max_request_bytes))
    try:
        with opened_session(destination) as session:
            while waiting:
                batch = waiting.pop(0)
                try:
                    answer = _post(session, destination, batch)
                except NoAnswer as error:
                    if error.status not in _OF_THE_REQUEST:
                        waiting.insert(0, batch)
                        raise
                    if error.status in _DIVIDED and len(batch) > 1:
                        middle = len(batch) // 2
                        waiting[:0] = [batch[:middle], batch[middle:]]
                    else:
                        yield from _all_failed(destination, batch, error)
                    continue
                for item in batch:
                    yield _receipt(destination, item, answer.of(item.sop_instance_uid))
    except NoAnswer as error:
        for batch in waiting:
            yield from _all_failed(destination, batch, error)


def _batches(objects: Sequence[EncodedObject], most_bytes: int) -> Iterator[list[EncodedObject]]:
    batch: list[EncodedObject] = []
    size = 0
    for item in objects:
        item_size = item.path.stat().st_size
        if batch and size + item_size > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item_size
    if batch:
        yield batch


def _post(session: requests.Session, destination: WebDestination, batch: list[EncodedObject]) -> StowAnswer:
    body = Multipart([item.path for item in batch], boundary=fresh_uid())
    with (
        naming_errors(),
        session.post(
            destination.studies,
            data=body,
            headers={"Content-Type": body.content_type},
            timeout=destination.timeouts,
            stream=True,
            allow_redirects=False,
        ) as answer,
    ):
        status = answer.status_code
        if status not in _ANSWERED:
            raise _refused(status)
        content = content_of(answer)
    try:
        return StowAnswer(content, all_failed=status == 409)
    except ValueError:
        raise NoAnswer(f"{STRANGER}; HTTP {status}") from None


def _refused(status: int) -> NoAnswer:
    if 200 <= status < 400:
        return NoAnswer(f"{STRANGER}; HTTP {status}", status=status)
    return NoAnswer(f"HTTP {status}", transient=status not in _PERMANENT, status=status)


def _all_failed(
    destination: WebDestination, batch: list[EncodedObject], error: NoAnswer
) -> Iterator[DeliveryReceipt]:
    said = Said(delivered=False, detail=error.detail, transient=error.transient)
    for item in batch:
        yield _receipt(destination, item, said)


def _receipt(destination: WebDestination, item: EncodedObject, said: Said) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=item.sop_instance_uid,
        destination=destination.name,
        dimse_status=said.code,
        delivered=said.delivered,
        verified=None,
        detail=said.detail,
        answered_at=datetime.now(UTC),
        transient=said.transient,
    )
