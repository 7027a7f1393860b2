"""The node's ear: a storage SCP for Raw Data objects with an ISMRMRD payload, and for C-ECHO.

An object is answered with success only when it is safe: file synced, renamed, directory synced, and
``on_received`` (which makes the job durable) has returned. Everything else gets a status that tells
the cause (`Status`) and a log line without patient data, one a minute for each cause and address (`Tally`).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pydicom.dataset import Dataset
from pydicom.uid import RawDataStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationServer

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.dicom_io.commitment import PUSH_MODEL
from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES, configure_libraries, tune_connection
from lfmri_node.dicom_io.raw_data.head import TRANSFER_SYNTAXES
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.dimse import ReceivingDimse, answered, error_comment
from lfmri_node.dicom_io.receive.door import Door, DoorRules, end_association
from lfmri_node.dicom_io.receive.incoming import Limits
from lfmri_node.dicom_io.receive.incomplete import Reminder
from lfmri_node.dicom_io.receive.policy import AccessPolicy
from lfmri_node.dicom_io.receive.reports import OnReport, Reports
from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.dicom_io.receive.tally import Tally
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.tls import FreshContext, ServerTls, names_in

_DRAIN_POLL_S = 0.02
_END_S = 2.0
_ANSWER_LEAVES_S = 0.5
_HANDSHAKE_S = 2.0  # the whole request is there already; one that cannot be decoded holds its place so long
_LISTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """How the listener listens.

    Parameters
    ----------
    host, port
        Address to bind; port 0 takes a free one.
    spool
        Directory for received objects.
    policy
        Who may open an association; by default nobody.
    max_payload_bytes
        Longest data set of one object.
    min_free_bytes
        Free space on the spool's file system below which objects are refused.
    max_associations, max_per_address, request_timeout_s, give_way_s
        See `door.DoorRules`.
    network_timeout_s
        Longest wait for the next bytes of an open association.
    incomplete_after_s
        A scan whose missing parts have not come for so long is reported.
    drain_s
        How long `Listener.stop` waits for transfers that are under way.
    tls
        How connections are secured; None for none.
    """

    ae_title: str = "LFNODE"
    host: str = "127.0.0.1"
    port: int = 11112
    spool: Path
    policy: AccessPolicy = field(default_factory=AccessPolicy)
    max_associations: int = 8
    max_per_address: int = 4
    request_timeout_s: float = 5
    give_way_s: float = 2
    network_timeout_s: float = 60
    max_payload_bytes: int = (1 << 32) - 2
    min_free_bytes: int = 5 << 30
    incomplete_after_s: float = 600
    drain_s: float = 30
    tls: ServerTls | None = None

    def __post_init__(self) -> None:
        require_ae_title(self.ae_title)


class Listener:
    """Storage SCP; ``with Listener(...) as listener`` starts and stops it.

    Attributes
    ----------
    policy
        Who may open an association; may be replaced at any time, for those who come from then on.

    Parameters
    ----------
    on_received
        Called with a complete scan after it is safe on disk and before success is answered, from
        the thread of the association; again when the same object comes again, so it must be
        idempotent. A `ListenerRefusal` that it raises is answered; any other exception is answered
        with a failure status by pynetdicom and logged.
    on_report
        See `reports.Reports`; None: nobody may report.
    on_refused
        Told code, message and address of the first of a kind that the log is told (`Tally`).
    """

    def __init__(
        self,
        settings: ListenerSettings,
        on_received: Callable[[ReceivedMeasurement], object],
        on_report: OnReport | None = None,
        on_refused: Callable[[str, str, str], None] | None = None,
    ) -> None:
        limits = Limits(max_object_bytes=settings.max_payload_bytes, min_free_bytes=settings.min_free_bytes)
        self.spool = Spool(settings.spool, limits=limits)
        self.policy = settings.policy
        self._settings = settings
        self._on_received = on_received
        self._reports = Reports(on_report, self._note)
        self._server: AssociationServer | None = None
        self._door: Door | None = None
        self._tally = Tally(on_first=on_refused)
        self._reminder = Reminder(settings.spool, settings.incomplete_after_s)

    @property
    def port(self) -> int:
        """The port that is listened on; needed when 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the listener is not started")
        return int(self._server.server_address[1])

    @property
    def alive(self) -> bool:
        """Whether callers are let in."""
        return self._server is not None and self._door is not None and self._door.alive

    def counts(self) -> Mapping[str, int]:
        """``accepted`` associations, and each code of what was refused, since the start."""
        return self._tally.counts()

    def start(self) -> None:
        """Open the spool and listen.

        Raises
        ------
        OSError
            The port is taken, or the spool cannot be made.
        TlsError
            LF-NET-043 a certificate, key or revocation list cannot be used.
        """
        configure_libraries()
        settings = self._settings
        tls = FreshContext(settings.tls) if settings.tls is not None else None
        self.spool.open()
        entity = AE(settings.ae_title)
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.maximum_associations = settings.max_associations
        entity.acse_timeout = _HANDSHAKE_S
        entity.network_timeout = settings.network_timeout_s
        entity.add_supported_context(Verification, list(TRANSFER_SYNTAXES))
        entity.add_supported_context(RawDataStorage, list(TRANSFER_SYNTAXES))
        self._reports.add_context(entity)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, self._reports.received),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        self._server = entity.make_server(
            (settings.host, settings.port), evt_handlers=handlers, server_class=AssociationServer
        )
        rules = DoorRules(
            max_associations=settings.max_associations,
            max_per_address=settings.max_per_address,
            request_timeout_s=settings.request_timeout_s,
            give_way_s=settings.give_way_s,
        )
        self._door = Door(
            self._server,
            rules,
            lets_in=lambda address: self.policy.lets_in(address),
            silence_s=lambda a: _dimse(a).silence_s,
            tally=self._tally,
            tls=tls,
        )
        self._door.open()
        self._reminder.start()

    def stop(self) -> None:
        """Take no new connections, let transfers that are under way finish, end the rest.

        An answer is handed to pynetdicom's thread, which says nothing of when it is on the wire. So an
        association that has just answered is given `_ANSWER_LEAVES_S` before it is ended.
        """
        if self._server is None or self._door is None:
            return
        server, self._server = self._server, None
        self._reminder.stop()
        self._door.close()
        deadline = time.monotonic() + self._settings.drain_s
        while any(_under_way(a) for a in server.active_associations) and time.monotonic() < deadline:
            time.sleep(_DRAIN_POLL_S)
        left = server.active_associations
        for association in left:
            end_association(association)
        for association in left:
            association.join(_END_S)
        self._tally.tell(now=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _opened(self, event: evt.Event) -> None:
        association = event.assoc
        association.dimse = ReceivingDimse(association, self.spool.begin, partial(self._note, association))
        tune_connection(event.assoc, self._settings.network_timeout_s)

    def _requested(self, event: evt.Event) -> None:
        """An association request: let in, to what the caller may do, or reject."""
        request = cast(A_ASSOCIATE, event.assoc.requestor.primitive)
        policy, address = self.policy, event.assoc.requestor.address
        names = _names_proved(event.assoc)
        rejection = policy.check(
            calling=request.calling_ae_title,
            called=request.called_ae_title,
            ours=self._settings.ae_title,
            address=address,
            names=names,
        )
        if rejection is None:
            self._tally.count("accepted")
            sends, reports = policy.may(calling=request.calling_ae_title, address=address, names=names)
            closed = {c for c, is_open in ((RawDataStorage, sends), (PUSH_MODEL, reports)) if not is_open}
            acceptor = event.assoc.acceptor
            acceptor.supported_contexts = [
                context for context in acceptor.supported_contexts if context.abstract_syntax not in closed
            ]
        else:
            self._note(event.assoc, rejection.code, f"association rejected, {rejection.message}")
            event.assoc.acse.send_reject(rejection.result, rejection.source, rejection.reason)
            event.assoc.kill()  # returns when the rejection is on its way

    def _store(self, event: evt.Event) -> Dataset:
        """A complete C-STORE request: keep, enqueue, answer."""
        answer = Dataset()
        try:
            self._receive(event)
            answer.Status = int(Status.SUCCESS)
        except (PayloadError, ListenerRefusal) as refusal:
            self._refuse(answer, refusal, event.assoc)
        except MemoryError:
            self._refuse(answer, _out_of_memory(), event.assoc)
        return answer

    def _refuse(
        self, answer: Dataset, refusal: PayloadError | ListenerRefusal, association: Association
    ) -> None:
        answer.Status = int(refusal.status)
        answer.ErrorComment = error_comment(refusal)
        self._note(association, refusal.code, answered(refusal))

    def _note(self, association: Association, code: str, message: str) -> None:
        """Count what a caller caused; escaped, since an AE title is whatever the peer sends."""
        peer = association.requestor
        title = peer.primitive.calling_ae_title if peer.primitive is not None else ""
        self._tally.note(code, message, str(peer.address), f"{title!a} at {peer.address}")

    def _receive(self, event: evt.Event) -> None:
        """Keep the object and pass the scan on when it is complete."""
        request = cast(C_STORE, event.request)
        received = self.spool.accept(
            _dimse(event.assoc).take(),
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
        )
        if received is not None:
            self._on_received(received)

    def _closed(self, event: evt.Event) -> None:
        """The connection is gone: remove what was being received; tell of a caller who got no context."""
        dimse = _dimse(event.assoc)
        dimse.discard()
        refused = {str(context.abstract_syntax) for context in event.assoc.rejected_contexts}
        if refused and dimse.n_answers == 0:
            classes = ", ".join(sorted(refused)[:_LISTED])
            words = f"association ended without a request, SOP classes not supported: {classes}"
            self._note(event.assoc, "LF-NET-005", words)


def _out_of_memory() -> ListenerRefusal:
    return ListenerRefusal(
        "LF-NET-021",
        "the listener is out of memory",
        "see what else runs on this machine; the sender tries again",
        status=Status.OUT_OF_RESOURCES,
    )


def _under_way(association: Association) -> bool:
    """Whether a transfer is going on, or its answer may not be on the wire yet."""
    dimse = _dimse(association)
    silence_s = dimse.silence_s
    return dimse.busy or silence_s is None or silence_s < _ANSWER_LEAVES_S


def _names_proved(association: Association) -> frozenset[str]:
    """What the caller's certificate says; nothing without TLS."""
    transport = association.dul.socket
    connection = transport.socket if transport is not None else None
    return names_in(connection.getpeercert()) if isinstance(connection, ssl.SSLSocket) else frozenset()


def _dimse(association: Association) -> ReceivingDimse:
    return cast(ReceivingDimse, association.dimse)
