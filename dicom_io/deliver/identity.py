"""Whose an object of ours is, for whoever has to say so without holding the object."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

_WANTED = ["PatientID", "StudyInstanceUID"]


def whose(path: Path) -> tuple[str, str] | None:
    """PatientID and StudyInstanceUID of a DICOM file; None where it cannot be read."""
    try:
        head = dcmread(path, specific_tags=_WANTED, stop_before_pixels=True)
    except (OSError, InvalidDicomError, EOFError):
        return None
    return str(head.get("PatientID", "")), str(head.get("StudyInstanceUID", ""))
