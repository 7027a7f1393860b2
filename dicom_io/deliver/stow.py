"""Delivery by STOW-RS (PS3.18 10.5): files as they lie on disk, many in a request. One attempt.

`requests` and not `dicomweb-client`: that one encodes every object anew, holds a whole request in memory,
and does not tell 200 from 202.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from lfmri_node.dicom_io.deliver.multipart import Multipart
from lfmri_node.dicom_io.deliver.stow_answer import Said, StowAnswer
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.dicom_io.uids import fresh_uid

_ANSWERED = frozenset({200, 202, 409})  # these have a Store Instances Response
_DIVIDED = frozenset({400, 413})  # one instance may be to blame: the request is sent again in two halves
_OF_THE_REQUEST = frozenset({400, 413, 415})
_PERMANENT = frozenset({400, 401, 403, 404, 405, 406, 413, 415, 501})
_LONGEST_ANSWER = 16 << 20
_STRANGER = "what answers is not STOW-RS (a proxy, a login page?)"
_SEARCH_MISSING = frozenset({404, 405, 406, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class StowDestination:
    """A DICOMweb server that stores.

    Parameters
    ----------
    name
        For receipts and messages.
    url
        Of the service's root, to which ``/studies`` is added: ``https://pacs.example/dicom-web``.
    token_file
        Holds a bearer token (RFC 6750); read anew for each delivery, so that it may be renewed.
    ca
        Certificates of the authorities that the server's certificate may come from; None: the usual ones.
    max_request_bytes
        Objects are sent together up to this size; a larger one goes alone.
    connect_timeout_s, timeout_s
        Longest wait for the connection, and for each piece of the answer.
    """

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca: Path | None = None
    max_request_bytes: int = 64 << 20
    connect_timeout_s: float = 10
    timeout_s: float = 120


class _NotTaken(Exception):
    """Why a request came to nothing, in words of ours.

    Parameters
    ----------
    transient
        Whether that may heal.
    divide
        Whether fewer instances at once may.
    of_server
        Whether it will be the same for whatever is sent next.
    """

    def __init__(
        self, detail: str, *, transient: bool = True, divide: bool = False, of_server: bool = True
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.transient = transient
        self.divide = divide
        self.of_server = of_server


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def store_instances(
    destination: StowDestination, objects: Sequence[EncodedObject]
) -> Iterator[DeliveryReceipt]:
    """Send objects; a receipt for each, in order, by what the answer says of that instance.

    An instance that the answer does not name is not delivered, whatever the status of the answer. A warning
    counts as delivered and is told in the detail. Where the server itself fails, nothing more is sent.
    """
    waiting = list(_batches(objects, destination.max_request_bytes))
    try:
        with _session(destination) as session:
            while waiting:
                batch = waiting.pop(0)
                try:
                    answer = _post(session, destination, batch)
                except _NotTaken as error:
                    if error.of_server:
                        waiting.insert(0, batch)
                        raise
                    if error.divide and len(batch) > 1:
                        middle = len(batch) // 2
                        waiting[:0] = [batch[:middle], batch[middle:]]
                    else:
                        yield from _all_failed(destination, batch, error)
                    continue
                for item in batch:
                    yield _receipt(destination, item, answer.of(item.sop_instance_uid))
    except _NotTaken as error:
        for batch in waiting:
            yield from _all_failed(destination, batch, error)


def reach_stow(destination: StowDestination) -> str | None:
    """Ask the server for a study that nobody has; None when it answers us, else what went wrong.

    A server that stores and does not search answers too, as far as can be told without storing something.
    """
    query = {"StudyInstanceUID": fresh_uid(), "limit": "1"}
    try:
        with _session(destination) as session, _naming_errors():
            place = destination.url.rstrip("/") + "/studies"
            answer = session.get(
                place, params=query, timeout=_timeouts(destination), stream=True, allow_redirects=False
            )
            answer.close()
    except _NotTaken as error:
        return error.detail
    if answer.ok and not answer.is_redirect:
        return None
    return None if answer.status_code in _SEARCH_MISSING else f"HTTP {answer.status_code}"


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


@contextmanager
def _session(destination: StowDestination) -> Iterator[requests.Session]:
    """A session that takes nothing from the environment: no proxies, no passwords of a netrc file."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = "application/dicom+json"
        if destination.ca is not None:
            session.verify = str(destination.ca)
        if destination.token_file is not None:
            session.auth = _Bearer(_token(destination.token_file))
        elif destination.user is not None:
            password = destination.password or ""
            session.auth = HTTPBasicAuth(destination.user.encode("utf-8"), password.encode("utf-8"))
        yield session


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _NotTaken(f"the token file cannot be read ({type(error).__name__})") from None
    if not token or not token.isprintable():
        raise _NotTaken("the token file holds no token")
    return token


def _timeouts(destination: StowDestination) -> tuple[float, float]:
    return destination.connect_timeout_s, destination.timeout_s


@contextmanager
def _naming_errors() -> Iterator[None]:
    """Every way not to get an answer is a `_NotTaken`, without what the other side says."""
    try:
        yield
    except requests.exceptions.SSLError:
        raise _NotTaken("the server's certificate is not trusted, or TLS fails") from None
    except requests.exceptions.ConnectTimeout:
        raise _NotTaken("the server cannot be reached") from None
    except requests.exceptions.Timeout:
        raise _NotTaken("no answer in time") from None
    except requests.exceptions.ConnectionError:
        raise _NotTaken("the server cannot be reached, or the connection was cut") from None
    except requests.exceptions.RequestException:
        raise _NotTaken(_STRANGER) from None


def _post(session: requests.Session, destination: StowDestination, batch: list[EncodedObject]) -> StowAnswer:
    body = Multipart([item.path for item in batch], boundary=fresh_uid())
    with (
        _naming_errors(),
        session.post(
            destination.url.rstrip("/") + "/studies",
            data=body,
            headers={"Content-Type": body.content_type},
            timeout=_timeouts(destination),
            stream=True,
            allow_redirects=False,
        ) as answer,
    ):
        status = answer.status_code
        if status not in _ANSWERED:
            raise _refused(status)
        content = _bounded(answer)
    try:
        return StowAnswer(content, all_failed=status == 409)
    except ValueError:
        raise _NotTaken(f"{_STRANGER}; HTTP {status}") from None


def _refused(status: int) -> _NotTaken:
    if 200 <= status < 400:
        return _NotTaken(f"{_STRANGER}; HTTP {status}")
    return _NotTaken(
        f"HTTP {status}",
        transient=status not in _PERMANENT,
        divide=status in _DIVIDED,
        of_server=status not in _OF_THE_REQUEST,
    )


def _bounded(answer: requests.Response) -> bytes:
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > _LONGEST_ANSWER:
            raise _NotTaken(f"{_STRANGER}; an answer without end")
    return bytes(content)


def _all_failed(
    destination: StowDestination, batch: list[EncodedObject], error: _NotTaken
) -> Iterator[DeliveryReceipt]:
    said = Said(delivered=False, detail=error.detail, transient=error.transient)
    for item in batch:
        yield _receipt(destination, item, said)


def _receipt(destination: StowDestination, item: EncodedObject, said: Said) -> DeliveryReceipt:
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
