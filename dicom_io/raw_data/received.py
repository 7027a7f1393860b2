"""A received measurement as one value: written beside its spool files at reception, read by every stage.

``<object>.json`` lies beside ``<object>.dcm`` and holds what the head of that part says, so that the head,
which is foreign, is parsed once. It is a copy: where it is missing or damaged it is made again. It holds
patient data, like the object itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.files import published_file
from lfmri_node.dicom_io.raw_data.block import BlockFields, parts_error
from lfmri_node.dicom_io.raw_data.context import study_context
from lfmri_node.dicom_io.raw_data.payload import PayloadHeader, read_payload
from lfmri_node.dicom_io.types import StudyContext

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMeasurement:
    """One ISMRMRD file with its identity: all parts of it, in order, each in a Raw Data object.

    Raises
    ------
    PayloadError
        LF-PAY-007 when there is no part, or the parts name different patients or studies.
    """

    parts: tuple[PayloadHeader, ...]

    def __post_init__(self) -> None:
        if len({(part.patient, part.study_instance_uid) for part in self.parts}) != 1:
            raise parts_error("the parts name different patients or studies, or there is no part")

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts)

    @property
    def sha256(self) -> str:
        """Of the whole ISMRMRD file, lower-case hex."""
        return self.parts[0].fields.sha256

    @property
    def size_bytes(self) -> int:
        return self.parts[0].fields.total_size

    @property
    def group(self) -> str:
        """Name of the HDF5 group that holds the measurement."""
        return self.parts[0].fields.group

    @property
    def given(self) -> frozenset[str]:
        """Keywords of attributes that were given at the gateway, in place of what the ISMRMRD header says."""
        return frozenset(self.parts[0].fields.given.split())

    @property
    def calling_ae(self) -> str:
        """AE title that sent the last part."""
        return max(self.parts, key=lambda part: part.received_at).calling_ae

    @property
    def received_at(self) -> datetime:
        """When the last part came; aware."""
        return max(part.received_at for part in self.parts)

    @property
    def context(self) -> StudyContext:
        """What derived objects copy."""
        return study_context(
            self.parts[0].attributes,
            sop_class_uid=self.parts[0].sop_class_uid,
            sop_instance_uids=tuple(part.sop_instance_uid for part in self.parts),
        )


def parse_measurement(paths: Sequence[Path]) -> ReceivedMeasurement:
    """From the heads of Raw Data objects, wherever they lie; nothing is written.

    Raises
    ------
    PayloadError
        As `read_payload`; LF-PAY-007 when the parts name different patients or studies.
    """
    return ReceivedMeasurement(parts=tuple(read_payload(path) for path in paths))


def recall_measurement(paths: Sequence[Path]) -> ReceivedMeasurement:
    """From the values beside objects in the spool; see `recall`, `parse_measurement`."""
    return ReceivedMeasurement(parts=tuple(recall(path) for path in paths))


def value_path(path: Path) -> Path:
    """Where the value of a spool object lies."""
    return path.with_suffix(".json")


def remember(header: PayloadHeader) -> None:
    """Write the value beside the object, durable, for the user of the service only."""
    value = {**asdict(header), "received_at": header.received_at.isoformat()}
    del value["path"]
    text = json.dumps(value)
    document = {"format": _FORMAT, "sha256": _sha256(text), "value": text}
    with published_file(value_path(header.path)) as file:
        file.write(json.dumps(document).encode("ascii"))


def recall(path: Path) -> PayloadHeader:
    """The value beside an object; made again from the head where it is missing or damaged.

    Raises
    ------
    PayloadError
        As `read_payload`, where the head has to be read.
    OSError
        The object is not there any more.
    """
    try:
        return _recalled(path)
    except (OSError, ValueError, KeyError, TypeError):
        header = read_payload(path)
        with suppress(OSError):  # a full disk: the next reader tries again
            remember(header)
        return header


def _recalled(path: Path) -> PayloadHeader:
    document = json.loads(value_path(path).read_bytes())
    if document["format"] != _FORMAT or _sha256(document["value"]) != document["sha256"]:
        raise ValueError("the value is damaged or of another version")
    value: dict[str, Any] = json.loads(document["value"])
    return PayloadHeader(
        **{
            **value,
            "path": path,
            "fields": BlockFields(**value["fields"]),
            "patient": tuple(value["patient"]),
            "received_at": datetime.fromisoformat(value["received_at"]),
        }
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
