"""The destinations of the configuration, and whether they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.deliver.orthanc import OrthancDestination, reach, upload_objects
from lfmri_node.dicom_io.deliver.proving import ask_for_commitment, look_for
from lfmri_node.dicom_io.deliver.qido import reach_web, search_for
from lfmri_node.dicom_io.deliver.stow import store_instances
from lfmri_node.dicom_io.deliver.web import WebDestination
from lfmri_node.dicom_io.tls import ClientTls
from lfmri_node.dicom_io.types import CommitmentReport, DeliveryReceipt, EncodedObject
from lfmri_node.node.config import (
    Config,
    DestinationSection,
    DicomDestinationSection,
    OrthancDestinationSection,
    StowDestinationSection,
)
from lfmri_node.node.delivery.deliver import Destination
from lfmri_node.node.delivery.proof import Prover

_Peer = TypeVar("_Peer", DicomDestination, OrthancDestination, WebDestination)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commitment:
    """See `proof.Commitment`."""

    peer: DicomDestination
    wait_s: float

    def ask(
        self,
        transaction_uid: str,
        objects: Sequence[EncodedObject],
        reported: Callable[[CommitmentReport], None],
        *,
        linger: bool,
    ) -> Asked:
        return ask_for_commitment(self.peer, transaction_uid, objects, reported, linger=linger)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query(Generic[_Peer]):
    """See `proof.Query`."""

    peer: _Peer
    by: Callable[[_Peer, Sequence[EncodedObject]], Asked]

    def look(self, objects: Sequence[EncodedObject]) -> Asked:
        return self.by(self.peer, objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way(Generic[_Peer]):
    """A destination of the configuration; see `deliver.Destination`. Two of the same values are equal."""

    peer: _Peer
    by: Callable[[_Peer, Sequence[EncodedObject]], Iterator[DeliveryReceipt]]
    ruled: bool
    prover: Prover

    @property
    def name(self) -> str:
        return self.peer.name

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        return self.by(self.peer, objects)


def destinations_of(config: Config) -> list[Destination]:
    """Every destination of the configuration.

    Raises
    ------
    ConfigError
        LF-CFG-005 where a password or token cannot be had.
    TlsError
        LF-NET-043 where a certificate or key cannot be used.
    """
    return [_destination(section, config.node.ae_title) for section in config.destinations]


def _destination(section: DestinationSection, calling_ae: str) -> Destination:
    ruled = section.only is not None
    if isinstance(section, DicomDestinationSection):
        if section.tls is not None:
            section.tls.settings().context()
        peer = _dicom(section, calling_ae)
        commitment = _Commitment(peer=peer, wait_s=section.commitment_wait_s)
        prover = Prover(
            commitment=commitment if section.commitment else None,
            query=_Query(peer=peer, by=look_for) if section.verify == "query" else None,
        )
        return _Way(peer=peer, by=send_objects, ruled=ruled, prover=prover)
    if section.ca is not None:
        ClientTls(ca=section.ca, crl=section.crl).context()
    if isinstance(section, OrthancDestinationSection):
        return _Way(peer=_orthanc(section), by=upload_objects, ruled=ruled, prover=Prover())
    server = _web(section)
    prover = Prover(query=_Query(peer=server, by=search_for) if section.verify == "query" else None)
    return _Way(peer=server, by=store_instances, ruled=ruled, prover=prover)


def _dicom(section: DicomDestinationSection, calling_ae: str) -> DicomDestination:
    return DicomDestination(
        name=section.name,
        host=section.host,
        port=section.port,
        ae_title=section.ae_title,
        calling_ae_title=calling_ae,
        tls=section.tls.settings() if section.tls is not None else None,
    )


def _orthanc(section: OrthancDestinationSection) -> OrthancDestination:
    return OrthancDestination(
        name=section.name,
        url=section.url,
        user=section.user,
        password=section.password(),
        ca=section.ca,
        crl=section.crl,
    )


def _web(section: StowDestinationSection) -> WebDestination:
    section.require_token()
    return WebDestination(
        name=section.name,
        url=section.url,
        user=section.user,
        password=section.password(),
        token_file=section.token_file,
        ca=section.ca,
        crl=section.crl,
        max_request_bytes=int(section.max_request_mb * 1e6),
    )


def probe(section: DestinationSection, *, calling_ae: str) -> str | None:
    """Ask a destination whether it is there: C-ECHO, Orthanc's ``/system``, a search; None where it answers.

    Raises
    ------
    ConfigError
        LF-CFG-005 where a password or token cannot be had.
    """
    if isinstance(section, OrthancDestinationSection):
        return reach(_orthanc(section))
    if isinstance(section, StowDestinationSection):
        return reach_web(_web(section))
    answer = echo(_dicom(section, calling_ae))
    return None if answer.answered else answer.detail
