"""Whose an object of ours is, for whoever has to say so without holding the object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from lfmri_node.dicom_io.types import EncodedObject

_WANTED = ["PatientID", "StudyInstanceUID"]


def whose(path: Path) -> tuple[str, str] | None:
    """PatientID and StudyInstanceUID of a DICOM file; None where it cannot be read."""
    try:
        head = dcmread(path, specific_tags=_WANTED, stop_before_pixels=True)
    except (OSError, InvalidDicomError, EOFError):
        return None
    return str(head.get("PatientID", "")), str(head.get("StudyInstanceUID", ""))


def by_series(objects: Sequence[EncodedObject]) -> Mapping[tuple[str, str], Sequence[str]] | None:
    """Study and Series Instance UID -> SOP Instance UIDs, by the files; None where one cannot be read."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in objects:
        owner = whose(item.path)
        if owner is None or not owner[1]:
            return None
        found[owner[1], item.series_instance_uid].append(item.sop_instance_uid)
    return found
