"""An association with a destination, opened for what is to be done over it; and C-ECHO."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES, configure_libraries, tune_connection
from lfmri_node.dicom_io.tls import ClientContext, ClientTls

_QUEUED_PDUS = 32
_LOOK_AGAIN_S = 0.5
_RELEASE_S = 5.0
"""For the answer to a release, when all is said: who does not answer keeps other scans from the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomDestination:
    """A storage SCP.

    Parameters
    ----------
    name
        For receipts and messages.
    ae_title, calling_ae_title
        Theirs and ours.
    connect_timeout_s, answer_timeout_s
        Longest wait for the connection and its handshake, and for the answer to one object once it is sent.
    tls
        How the connection is secured; None for none.
    """

    name: str
    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    connect_timeout_s: float = 10
    answer_timeout_s: float = 120
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        require_ae_title(self.ae_title)
        require_ae_title(self.calling_ae_title)


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoAnswer:
    """Whether a destination answers C-ECHO; ``detail`` says what went wrong."""

    answered: bool
    detail: str


def echo(destination: DicomDestination) -> EchoAnswer:
    """Ask a destination whether it listens to us (Verification, PS3.4 Annex A)."""
    try:
        return _echoed(destination)
    except TlsError as error:
        return EchoAnswer(answered=False, detail=f"{error.code}: {error.message}")


def _echoed(destination: DicomDestination) -> EchoAnswer:
    with opened_association(destination, [(Verification, UID("1.2.840.10008.1.2"))]) as association:
        if association is None or not association.is_established:
            return EchoAnswer(answered=False, detail=why_not(association)[0])
        answer = association.send_c_echo() if association.accepted_contexts else None
        if answer is None or "Status" not in answer:
            return EchoAnswer(answered=False, detail="no answer to C-ECHO")
        return EchoAnswer(answered=answer.Status == 0, detail=f"0x{answer.Status:04X}")


@contextmanager
def opened_association(
    destination: DicomDestination,
    contexts: Sequence[tuple[UID, UID]],
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Iterator[Association | None]:
    """Open an association that proposes one context for each pair; it is released or gone at the end.

    None where the destination's name leads to no address. ``handlers``: of what the destination asks of us
    over it.

    Raises
    ------
    TlsError
        LF-NET-043 a file of ``destination.tls`` cannot be used.
    """
    configure_libraries()
    context = destination.tls.context() if destination.tls is not None else None
    entity = AE(destination.calling_ae_title)
    entity.connection_timeout = destination.connect_timeout_s
    entity.acse_timeout = destination.answer_timeout_s
    entity.dimse_timeout = destination.answer_timeout_s
    entity.network_timeout = destination.answer_timeout_s
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)

    def opened(event: evt.Event) -> None:
        tune_connection(event.assoc, destination.answer_timeout_s)
        event.assoc.dimse = _SendingDimse(event.assoc)
        event.assoc.dul.to_provider_queue = _PacedQueue(event.assoc)

    try:
        association = entity.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            max_pdu=MAXIMUM_PDU_BYTES,
            evt_handlers=[(evt.EVT_CONN_OPEN, opened), *handlers],
            tls_args=None if context is None else (context, destination.host),
        )
    except (OSError, UnicodeError):  # of getaddrinfo, which the library leaves to its caller
        yield None
        return
    try:
        yield association
    finally:
        if association.is_established:
            association.acse_timeout = _RELEASE_S
            association.release()


def why_not(association: Association | None) -> tuple[str, bool]:
    """Why an association was not established, and whether another attempt may succeed (PS3.8 9.3.4)."""
    if association is None:
        return "no association: the destination's host name leads to no address", True
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return f"association rejected: {answer.result_str}, {answer.reason_str}", answer.result == 2
    if failure := _tls_failure(association):
        return f"no association: no TLS handshake, {failure}", True
    return "no association: the destination cannot be reached or ends the connection", True


def _tls_failure(association: Association) -> str | None:
    """Why the handshake came to nothing; None where it did not, or there was none."""
    transport = association.dul.socket
    context = transport.tls_args[0] if transport is not None and transport.tls_args is not None else None
    return context.failure if isinstance(context, ClientContext) else None


class _SendingDimse(DIMSEServiceProvider):
    """Keeps PDUs short also where the peer would take any length: they are made in memory."""

    @property
    def maximum_pdu_size(self) -> int:
        return min(super().maximum_pdu_size or MAXIMUM_PDU_BYTES, MAXIMUM_PDU_BYTES)


class _PacedQueue(queue.Queue[Any]):
    """Queue between the reader of the file and the socket, bounded so that a file is not all in memory."""

    def __init__(self, association: Association) -> None:
        super().__init__(maxsize=_QUEUED_PDUS)
        self._association = association

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Wait for room while anybody takes from the queue; what is for a dead connection is dropped."""
        while True:
            try:
                super().put(item, timeout=_LOOK_AGAIN_S)
                return
            except queue.Full:
                if not self._association.dul.is_alive():
                    return
