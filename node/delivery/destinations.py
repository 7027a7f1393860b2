"""The destinations of the configuration, and whether they answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.deliver.orthanc import OrthancDestination, reach, upload_objects
from lfmri_node.dicom_io.deliver.stow import StowDestination, reach_stow, store_instances
from lfmri_node.dicom_io.tls import ClientTls
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node.config import (
    Config,
    DestinationSection,
    DicomDestinationSection,
    OrthancDestinationSection,
    StowDestinationSection,
)
from lfmri_node.node.delivery.deliver import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByStore:
    peer: DicomDestination

    @property
    def name(self) -> str:
        return self.peer.name

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        return send_objects(self.peer, objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByRest:
    peer: OrthancDestination

    @property
    def name(self) -> str:
        return self.peer.name

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        return upload_objects(self.peer, objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByWeb:
    peer: StowDestination

    @property
    def name(self) -> str:
        return self.peer.name

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        return store_instances(self.peer, objects)


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
    if isinstance(section, DicomDestinationSection):
        if section.tls is not None:
            section.tls.settings().context()
        return _ByStore(peer=_dicom(section, calling_ae))
    if section.ca is not None:
        ClientTls(ca=section.ca).context()
    if isinstance(section, OrthancDestinationSection):
        return _ByRest(peer=_orthanc(section))
    return _ByWeb(peer=_stow(section))


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
        name=section.name, url=section.url, user=section.user, password=section.password(), ca=section.ca
    )


def _stow(section: StowDestinationSection) -> StowDestination:
    section.require_token()
    return StowDestination(
        name=section.name,
        url=section.url,
        user=section.user,
        password=section.password(),
        token_file=section.token_file,
        ca=section.ca,
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
        return reach_stow(_stow(section))
    answer = echo(_dicom(section, calling_ae))
    return None if answer.answered else answer.detail
