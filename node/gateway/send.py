"""The gateway's side: an ISMRMRD file becomes Raw Data objects, and they are sent to a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.stated import describe
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.types import DeliveryReceipt
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.address import Address
from lfmri_node.recon.mrd.file import open_mrd, sha256_of
from lfmri_node.recon.mrd.header import parse_header

Show = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """What goes round a file: DICOM attributes, keyword -> value, and the HDF5 group to be read."""

    attributes: Mapping[str, object] = field(repr=False)
    group: str


def wrapping_of(h5: Path, given: Mapping[str, str], group: str | None) -> Wrapping:
    """Read the header of ``h5`` and say how it is to be wrapped; what was given stands over the header.

    Raises
    ------
    NodeError
        LF-CFG-007 where neither the header nor ``given`` names a patient, LF-CFG-013 where the group's
        name does not fit into a Raw Data object.
    ObjectError
        LF-OBJ-002 where an attribute does not fit its value representation.
    lfmri_node.recon.errors.InvalidRawData
        The file is no ISMRMRD file or its header is damaged.
    """
    with open_mrd(h5, group) as measurement:
        stated, name = parse_header(measurement.xml).stated, measurement.group
    attributes = describe(stated, given, sha256_of(h5))
    if not attributes.get("PatientID"):
        raise NodeError(
            "LF-CFG-007", "the ISMRMRD header names no patient", "give --patient-id, or --identity FILE"
        )
    if not 0 < len(name) <= 64 or name != name.strip() or "\\" in name or not name.isprintable():
        raise NodeError(
            "LF-CFG-013",
            "the name of the HDF5 group does not fit into a Raw Data object",
            "name the group with at most 64 printable characters and no backslash",
        )
    return Wrapping(attributes=attributes, group=name)


def send_file(
    h5: Path,
    address: Address,
    *,
    calling_ae: str,
    given: Mapping[str, str],
    show: Show,
    group: str | None = None,
) -> list[DeliveryReceipt]:
    """Wrap ``h5`` and send it; returns what was answered, one receipt a Raw Data object.

    Raises
    ------
    NodeError
        As `wrapping_of`; LF-DEL-020 the node did not accept an object: its status is in the message;
        LF-DEL-022 it cannot now, or is not there.
    ReconError, DicomIoError
        The file is no ISMRMRD file, its header is damaged, or an attribute is illegal.
    """
    wrapping = wrapping_of(h5, given, group)
    show("wrap", 0, 1)
    with TemporaryDirectory(prefix="lfmri-send-") as folder:
        parts = wrap(h5, Path(folder), wrapping.attributes, group=wrapping.group, given=given)
        show("wrap", 1, 1)
        peer = DicomDestination(
            name="node",
            host=address.host,
            port=address.port,
            ae_title=address.ae_title,
            calling_ae_title=calling_ae,
            tls=address.tls,
        )
        receipts: list[DeliveryReceipt] = []
        for done, receipt in enumerate(send_objects(peer, parts), start=1):
            if not receipt.delivered:
                raise NodeError(
                    "LF-DEL-022" if receipt.transient or receipt.dimse_status is None else "LF-DEL-020",
                    f"{address.ae_title} did not accept part {done} of {len(parts)}: {_reason(receipt)}",
                    "the node's log tells more; sending again is safe",
                )
            receipts.append(receipt)
            show("send", done, len(parts))
    return receipts


def _reason(receipt: DeliveryReceipt) -> str:
    """What was answered, in the node's own words where the status is one of its own."""
    ours = {int(status): status.name.lower().replace("_", " ") for status in Status}
    if receipt.dimse_status in ours:
        return f"0x{receipt.dimse_status:04X} {ours[receipt.dimse_status]}"
    return receipt.detail
