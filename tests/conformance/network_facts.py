"""What peers see of the node: asked of a running listener, and heard by a peer that the node calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pynetdicom
from pydicom.uid import UID, AllTransferSyntaxes, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE, AsynchronousOperationsWindowNegotiation
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.commitment import FAILURE_REASONS, Remedy, reason_of
from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.receive.listener import Listener, ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy, Rejection
from lfmri_node.dicom_io.receive.wire import LOCAL_LIMIT_EXCEEDED
from lfmri_node.dicom_io.status import STORAGE_STATUSES, DimseStatus, Outcome, Status, meaning_of

_AT_ONCE = 32
_TRIES = 5  # a busy machine may take longer over an association request than the listener waits
_UNKNOWN = 0x4242
_PRIORITIES = {0: "MEDIUM", 1: "HIGH", 2: "LOW"}  # PS3.7 9.1.1.1.5

Pair = tuple[str, str]
"""SOP class and transfer syntax, by UID."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """What one side says of itself when an association is opened, and in its C-STORE requests.

    ``preferred`` are those that an acceptor takes where several are proposed in one context.
    """

    application_context: str
    maximum_length: int
    class_uid: str
    version_name: str
    asynchronous: bool
    contexts: tuple[Pair, ...]
    preferred: tuple[Pair, ...] = ()
    priorities: frozenset[int] = frozenset()


def accepted(spool: Path) -> Offered:
    """What the listener accepts of all storage classes and transfer syntaxes, and what it says of itself."""
    syntaxes = [str(syntax) for syntax in AllTransferSyntaxes]
    classes = [str(c.abstract_syntax) for c in AllStoragePresentationContexts] + [str(Verification)]
    settings = ListenerSettings(
        host="127.0.0.1",
        port=0,
        spool=spool,
        policy=AccessPolicy(any_caller=True),
        max_associations=100,
        max_per_address=100,
        request_timeout_s=60,
        min_free_bytes=0,
    )
    pairs: set[Pair] = set()
    preferred: set[Pair] = set()
    with Listener(settings, lambda _: None) as listener:
        ask = partial(_asked, listener.port)
        named = {c for piece in _pieces(classes) for c, _ in ask([(c, syntaxes[:1]) for c in piece])[1]}
        for sop_class in named:
            for piece in _pieces(syntaxes):
                pairs |= ask([(sop_class, [syntax]) for syntax in piece])[1]
            for order in (syntaxes, syntaxes[::-1]):
                answer, taken = ask([(sop_class, order)])
                preferred |= taken
    return replace(_offered(answer, sorted(pairs)), preferred=tuple(sorted(preferred)))


def _pieces(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(items), _AT_ONCE):
        yield items[at : at + _AT_ONCE]


def _asked(port: int, proposed: list[tuple[str, list[str]]]) -> tuple[A_ASSOCIATE, set[Pair]]:
    """The listener's answer, and what it accepts of the SOP classes with their transfer syntaxes.

    Verification is proposed last and left out: an association without any accepted context is none.
    """
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    contexts = [build_context(*each) for each in (*proposed, (Verification, [ImplicitVRLittleEndian]))]
    entity = AE("GATEWAY")
    for _ in range(_TRIES):
        association = entity.associate(
            "127.0.0.1", port, contexts=contexts, ae_title="LFNODE", ext_neg=[window]
        )
        if association.is_established:
            break
    assert association.is_established, "the listener takes no association"
    association.release()
    answer = association.acceptor.primitive
    assert answer is not None
    *accepted, _ = association.accepted_contexts
    return answer, {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in accepted}


def proposed_for(files: Sequence[Path]) -> Offered:
    """What is proposed for these files."""
    with _peer() as (destination, heard, priorities):
        receipts = list(send_objects(destination, files))
    assert all(receipt.delivered for receipt in receipts), receipts
    return replace(heard[0], priorities=frozenset(priorities))


def proposed_for_echo() -> Offered:
    with _peer() as (destination, heard, _):
        answer = echo(destination)
    assert answer.answered, answer
    return heard[0]


@contextmanager
def _peer() -> Iterator[tuple[DicomDestination, list[Offered], set[int]]]:
    """A storage SCP that takes everything, what callers have told it, and their requests' priorities."""
    heard: list[Offered] = []
    priorities: set[int] = set()
    entity = AE("PACS")
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    handlers = [
        (evt.EVT_REQUESTED, partial(_hear, heard)),
        (evt.EVT_C_STORE, partial(_take, priorities)),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    destination = DicomDestination(
        name="pacs",
        host="127.0.0.1",
        port=server.server_address[1],
        ae_title="PACS",
        calling_ae_title="LFMRI",
    )
    yield destination, heard, priorities
    server.shutdown()


def _hear(heard: list[Offered], event: evt.Event) -> None:
    request = event.assoc.requestor.primitive
    definitions = request.presentation_context_definition_list
    pairs = [(str(c.abstract_syntax), str(s)) for c in definitions for s in c.transfer_syntax]
    heard.append(_offered(request, pairs))


def _take(priorities: set[int], event: evt.Event) -> int:
    priorities.add(event.request.Priority)
    return 0x0000


def _offered(said: A_ASSOCIATE, contexts: Sequence[Pair]) -> Offered:
    items = said.user_information
    found = {type(item).__name__: item for item in items}
    return Offered(
        application_context=str(said.application_context_name),
        maximum_length=found["MaximumLengthNotification"].maximum_length_received,
        class_uid=str(found["ImplementationClassUIDNotification"].implementation_class_uid),
        version_name=str(found["ImplementationVersionNameNotification"].implementation_version_name),
        asynchronous="AsynchronousOperationsWindowNegotiation" in found,
        contexts=tuple(contexts),
    )


def context_rows(offered: Offered) -> list[tuple[str, ...]]:
    """SOP class, UID, transfer syntax, UID."""
    return [(UID(c).name, c, UID(s).name, s) for c, s in offered.contexts]


def accepted_rows(offered: Offered) -> list[tuple[str, ...]]:
    """The same, and whether it is taken where all are proposed in one context, in any order."""
    rows = zip(context_rows(offered), offered.contexts, strict=True)
    return [(*row, "yes" if pair in offered.preferred else "no") for row, pair in rows]


def identity_rows(*all_offered: Offered) -> list[tuple[str, ...]]:
    """What is said on every association; the version of pynetdicom is left out."""
    (said,) = {(o.application_context, o.maximum_length, o.class_uid, o.version_name) for o in all_offered}
    version = pynetdicom.__version__
    priorities = frozenset().union(*(offered.priorities for offered in all_offered))
    asynchronous = any(offered.asynchronous for offered in all_offered)
    return [
        ("Application Context Name", f"`{said[0]}`"),
        ("Implementation Class UID", f"`{said[2].removesuffix(version)}` and the version of pynetdicom"),
        ("Implementation Version Name", f"`{said[3].removesuffix(version.replace('.', ''))}` and the same"),
        ("Maximum PDU length, offered", f"{said[1]} bytes"),
        ("Asynchronous operations window", "negotiated" if asynchronous else "not negotiated: one at a time"),
        ("Priority of C-STORE requests", ", ".join(_PRIORITIES[p] for p in sorted(priorities))),
    ]


def rejection_rows() -> list[tuple[str, ...]]:
    """Result, source, reason (PS3.8 table 9-21), why, and the code in the log."""
    result, source, reason = LOCAL_LIMIT_EXCEEDED[7:10]
    return [
        *((f"{r.result}", f"{r.source}", f"{r.reason}", r.message, r.code) for r in Rejection),
        (f"{result}", f"{source}", f"{reason}", "too many associations at once", "LF-NET-004"),
    ]


def answered_rows() -> list[tuple[str, ...]]:
    """Table N.7-43: service status, further meaning, code, related fields, condition."""
    return [
        (
            _service_status(meaning_of(status)),
            meaning_of(status).meaning,
            f"0x{status:04X}",
            "none" if status is Status.SUCCESS else "(0000,0902)",
            status.condition,
        )
        for status in sorted(Status)
    ]


def received_rows() -> list[tuple[str, ...]]:
    """Table N.7-42: service status, further meaning, code, what is done."""
    rows = sorted(STORAGE_STATUSES, key=lambda row: row.first)
    named = [(_service_status(row), row.meaning, _range(row), _behaviour(row)) for row in rows]
    return [*named, ("-", "Other status codes", "anything else", _behaviour(meaning_of(_UNKNOWN)))]


def commitment_rows() -> list[tuple[str, ...]]:
    """Failure Reason of a report on storage commitment, and what is done."""
    done = {
        Remedy.SEND_AGAIN: "The object is sent again and asked for again, after a wait.",
        Remedy.ASK_AGAIN: "Asked for again, after a wait.",
        Remedy.NONE: "Final: the job is put into quarantine until an operator retries (LF-DEL-003).",
    }
    named = [(f"0x{row.code:04X}", row.meaning, done[row.remedy]) for row in FAILURE_REASONS]
    return [*named, ("anything else", "-", done[reason_of(_UNKNOWN).remedy])]


def _service_status(row: DimseStatus) -> str:
    names = {Outcome.STORED: "Success", Outcome.STORED_WITH_WARNING: "Warning"}
    return names.get(row.outcome, "Failure")


def _range(row: DimseStatus) -> str:
    return f"0x{row.first:04X}" + (f" to 0x{row.last:04X}" if row.last != row.first else "")


def _behaviour(row: DimseStatus) -> str:
    if row.delivered:
        told = {
            Outcome.STORED_WITH_WARNING: "; the warning is kept in the receipt",
            Outcome.HELD: ": it was, before this try; the receipt says so",
        }.get(row.outcome, "")
        return f"Delivered{told}."
    if row.transient:
        return "Tried again, with waits from `retry.base_s` to `retry.cap_s`."
    return "Final: the job is put into quarantine until an operator retries."
