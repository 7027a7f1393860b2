"""The gateway's side: an ISMRMRD file becomes Raw Data objects, and they are sent to a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lfmri_node.dicom_io.deliver.cstore import DicomDestination, send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.types import DeliveryReceipt
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.node.errors import NodeError
from lfmri_node.recon.mrd.file import open_mrd, sha256_of
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.types import ScanIdentity

Show = Callable[[str, int, int], None]

_ADDRESS = re.compile(r"(?P<ae>[^@]{1,16})@(?P<host>[^@:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A node to send to."""

    ae_title: str
    host: str
    port: int


def parse_address(text: str) -> Address:
    """Read ``AET@host:port``.

    Raises
    ------
    NodeError
        LF-CFG-006 where it is not of that form.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise NodeError("LF-CFG-006", f"'{text}' is no address", "write it as AET@host:port")
    return Address(ae_title=match["ae"], host=match["host"].strip("[]"), port=int(match["port"]))


def header_identity(h5: Path) -> ScanIdentity:
    """Who the ISMRMRD header says was measured.

    Raises
    ------
    lfmri_node.recon.errors.InvalidRawData
        The file is no ISMRMRD file or its header is damaged.
    """
    with open_mrd(h5, None) as measurement:
        return parse_header(measurement.xml).identity


def source_attributes(h5: Path, given: Mapping[str, str]) -> dict[str, object]:
    """DICOM attributes for `dicom_io.wrap`: what was given, else what the ISMRMRD header says.

    A study without a UID gets one that follows from patient and file, so that sending twice is
    recognised as the same.

    Raises
    ------
    NodeError
        LF-CFG-007 where neither the header nor ``given`` names a patient.
    """
    identity = header_identity(h5)
    said = {
        "PatientID": identity.patient_id,
        "PatientName": identity.patient_name,
        "StudyInstanceUID": identity.study_instance_uid,
        "AccessionNumber": identity.accession_number,
        "FrameOfReferenceUID": identity.frame_of_reference_uid,
    }
    attributes: dict[str, object] = {name: value for name, value in said.items() if value}
    attributes.update(given)
    if "PatientID" not in attributes:
        raise NodeError(
            "LF-CFG-007", "the ISMRMRD header names no patient", "give --patient-id (and --patient-name)"
        )
    if "StudyInstanceUID" not in attributes:
        attributes["StudyInstanceUID"] = name_uid("study", str(attributes["PatientID"]), sha256_of(h5))
    return attributes


def send_file(
    h5: Path,
    address: Address,
    *,
    calling_ae: str,
    given: Mapping[str, str],
    show: Callable[[str, int, int], None],
) -> int:
    """Wrap ``h5`` and send it; returns the number of Raw Data objects.

    Raises
    ------
    NodeError
        LF-CFG-007 no patient; LF-DEL-020 the node did not accept an object: its status is in the message.
    ReconError, DicomIoError
        The file is no ISMRMRD file, or its header is damaged.
    """
    show("wrap", 0, 1)
    with TemporaryDirectory(prefix="lfmri-send-") as folder:
        parts = wrap(h5, Path(folder), source_attributes(h5, given))
        show("wrap", 1, 1)
        peer = DicomDestination(
            name="node",
            host=address.host,
            port=address.port,
            ae_title=address.ae_title,
            calling_ae_title=calling_ae,
        )
        for done, receipt in enumerate(send_objects(peer, parts), start=1):
            if not receipt.delivered:
                raise NodeError(
                    "LF-DEL-020",
                    f"{address.ae_title} did not accept part {done} of {len(parts)}: {_reason(receipt)}",
                    "the node's log tells more; sending again is safe",
                )
            show("send", done, len(parts))
    return len(parts)


def _reason(receipt: DeliveryReceipt) -> str:
    """What was answered, in the node's own words where the status is one of its own."""
    if receipt.dimse_status in {status.value for status in Status}:
        return f"0x{receipt.dimse_status:04X} {Status(receipt.dimse_status).name.lower().replace('_', ' ')}"
    return receipt.detail
