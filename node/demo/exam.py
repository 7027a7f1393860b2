"""What the demonstration's gateway is told of the exam, as a worklist tells it in a hospital."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

_SOMEBODY = {"PatientID": "DEMO-0001", "PatientName": "Demonstration^Phantom"}


def write_exam(path: Path, begun: datetime, *, phantom: bool) -> Path:
    """Write an identity for ``lfmri-node send --identity``; returns ``path``.

    Parameters
    ----------
    begun
        When the study began; aware.
    phantom
        Whether the phantom of the demonstration was measured. Of any other measurement nothing but a
        patient is made up: the rest stands in its header or nowhere.
    """
    said = _SOMEBODY | (_of_the_phantom(begun) if phantom else {})
    path.write_text("".join(f'{keyword} = "{value}"\n' for keyword, value in said.items()), encoding="utf-8")
    return path


def _of_the_phantom(begun: datetime) -> dict[str, str]:
    return {
        "PatientSex": "O",
        "QualityControlSubject": "YES",
        "StudyDate": f"{begun:%Y%m%d}",
        "StudyTime": f"{begun:%H%M%S}",
        "TimezoneOffsetFromUTC": f"{begun:%z}",
        "StudyID": "DEMO-1",
        "StudyDescription": "MR head, demonstration phantom",
        "AccessionNumber": "DEMO-A1",
        "SeriesNumber": "4",
        "BodyPartExamined": "HEAD",
    }
