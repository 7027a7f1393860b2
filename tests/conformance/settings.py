"""What can be configured, and what cannot: keys with their defaults, and limits that are fixed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES
from lfmri_node.dicom_io.raw_data.head import MAX_HEAD_BYTES
from lfmri_node.dicom_io.receive.dimse import MAX_COMMAND_BYTES, MAX_WAITING
from lfmri_node.dicom_io.receive.listener import ListenerSettings

_PAGE = Path(__file__).parents[2] / "deploy" / "docs" / "configuration.md"
_SECTIONS = ("node.ae_title", "listener.", "destinations.", "retry.", "objects.")
_OF_LOGIN = ("destinations.ca", "destinations.crl", "destinations.user", "destinations.password")


def configurable_rows() -> list[tuple[str, ...]]:
    """Key, default and meaning, of what a peer may notice; `configuration.md` is compared with the code."""
    lines = [line for line in _PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    named = [(row[0].strip("`"), row) for row in cells]
    return [row for key, row in named if key.startswith(_SECTIONS) and not key.startswith(_OF_LOGIN)]


def default_of(kind: type, name: str) -> object:
    """Of a field of a dataclass."""
    return next(field.default for field in fields(kind) if field.name == name)


def fixed_rows() -> list[tuple[str, ...]]:
    """Limits and times that no setting changes."""
    return [
        ("longest association request", f"{MAXIMUM_PDU_BYTES} bytes"),
        ("longest command", f"{MAX_COMMAND_BYTES} bytes"),
        ("requests that wait for their answer", f"{MAX_WAITING}"),
        ("longest data set of one object", f"{default_of(ListenerSettings, 'max_payload_bytes')} bytes"),
        ("longest head of an object: all but the payload", f"{MAX_HEAD_BYTES} bytes"),
        (
            "silence after which an association makes way for another, where no place is free",
            f"{default_of(ListenerSettings, 'give_way_s')} s",
        ),
        (
            "as initiator: waiting for the connection",
            f"{default_of(DicomDestination, 'connect_timeout_s')} s",
        ),
        (
            "as initiator: waiting for the answer to an association request or to an object",
            f"{default_of(DicomDestination, 'answer_timeout_s')} s",
        ),
    ]
