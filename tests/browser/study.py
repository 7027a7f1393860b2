"""A study with one lesion at a known place, encoded as the node does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.series import encode
from lfmri_node.dicom_io.types import Equipment, StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.types import (
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    ReconSettings,
    Reconstruction,
    SequenceInfo,
    Verdict,
)

MATRIX = (12, 128, 128)
LESION_SLICE, LESION_ROW, LESION_COLUMN, RADIUS = 4, 44.0, 84.0, 6.0
"""Not the middle of anything: what is turned or mirrored stands elsewhere."""
CHANGE = 0.6
"""What the enhancement added inside the lesion: OHIF paints a map from 0 to 1, whatever its window says."""
_THIRD = 1 / 3
ORIENTATIONS = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "double-oblique": (
        (-_THIRD, -2 * _THIRD, 2 * _THIRD),
        (-2 * _THIRD, 2 * _THIRD, _THIRD),
        (2 * _THIRD, _THIRD, 2 * _THIRD),
    ),
}
"""Unit vectors along slices, rows and columns."""
_ORIGIN_MM, _SPACING_MM = (-90.0, -80.0, -20.0), (5.0, 1.5, 1.5)


@dataclass(frozen=True, slots=True)
class Study:
    """Where the objects lie, and the UID of the study."""

    folder: Path
    uid: str


def lesion_mm(orientation: str) -> list[float]:
    """Where the middle of the lesion lies in the patient, LPS in mm: PS3.3 C.7.6.2.1.1 by hand."""
    steps = np.multiply(_SPACING_MM, (LESION_SLICE, LESION_ROW, LESION_COLUMN))
    place: list[float] = (np.array(_ORIGIN_MM) + steps @ np.array(ORIENTATIONS[orientation])).tolist()
    return place


def write_study(folder: Path, orientation: str) -> Study:
    """A trusted reconstruction of a phantom with one mark on slice `LESION_SLICE`."""
    number = list(ORIENTATIONS).index(orientation) + 1
    uid, axes = f"2.25.{number}001", ORIENTATIONS[orientation]
    rng = np.random.default_rng(5)
    image = phantom_volume(MATRIX[0], (MATRIX[1], MATRIX[2]), rng).astype(np.complex64)
    rows, columns = np.indices(MATRIX[1:])
    distance = np.hypot(rows - LESION_ROW, columns - LESION_COLUMN)
    activation = np.zeros(MATRIX, dtype=np.float32)
    activation[LESION_SLICE] = 0.95 / (1 + np.exp(np.clip(2 * (distance - RADIUS), -50, 50)))
    activation[activation < 0.1] = 0
    reference = image.copy()
    image[LESION_SLICE] += CHANGE * (distance < RADIUS)
    lesion = LesionMap(
        activation=activation,
        scores=activation.max(axis=(1, 2))[:, None],
        labels=("lesion",),
        operating_score=0.4,
        threshold=0.5,
        validated=False,
    )
    settings = ReconSettings().describe()
    reconstruction = Reconstruction(
        image=image,
        reference=reference,
        fallback=None,
        zero_filled=None,
        geometry=Geometry(
            matrix=MATRIX,
            spacing_mm=_SPACING_MM,
            thickness_mm=5.0,
            origin_mm=_ORIGIN_MM,
            axis_s=axes[0],
            axis_y=axes[1],
            axis_x=axes[2],
        ),
        sequence=SequenceInfo(protocol=f"t2 tse {orientation}", field_strength_t=3.0),
        lesion=lesion,
        quality=Quality(verdict=Verdict.TRUSTED, acceleration=4.0, data_residual=0.0123),
        provenance=Provenance(
            method=Method.LF_MRI,
            software_version="0.2.0",
            source_sha256="a1" * 32,
            settings=settings,
            weights_sha256="b2" * 32,
            weights_name="test",
        ),
    )
    context = StudyContext(
        study_instance_uid=uid,
        frame_of_reference_uid=f"{uid}.1",
        attributes={"PatientName": "Phantom^Viewer", "PatientID": "V-1", "StudyInstanceUID": uid},
        source_sop_class_uid="1.2.840.10008.5.1.4.1.1.66",
        source_instances=(f"{uid}.2",),
        equipment=Equipment(
            manufacturer="Maker", model_name="Scanner", serial_number="1", software_versions="1"
        ),
    )
    key = JobKey(
        payload_sha256="a1" * 32,
        patient_id="V-1",
        issuer_of_patient_id="",
        study_instance_uid=uid,
        contrast=0,
        repetition=0,
        settings=settings,
        weights_sha256="b2" * 32,
    )
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    encode(
        reconstruction,
        context,
        key,
        folder,
        created_at=created_at,
        software_version="0.2.0",
        options=SiteOptions(summary=True),
    )
    return Study(folder=folder, uid=uid)
