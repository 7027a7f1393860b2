"""Jobs that differ in which objects they have and what those hold, each with its Raw Data objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.recon.types import Figure, Geometry, Method, ReceiveField, Reconstruction, SequenceInfo

MATRIX = (3, 5, 9)
"""Slices, rows and columns of the jobs of `PLANES`."""
_ONLY_IDENTITY = {"PatientID": "LF-0001", "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1"}
_BRAIN = {
    **_ONLY_IDENTITY,
    "PatientName": "Phantom^Lesion",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "StudyDate": "20260304",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "ACC-77",
    "ReferringPhysicianName": "Referrer^Rita",
    "SeriesNumber": "100",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "BodyPartExamined": "BRAIN",
    "Manufacturer": "Maker",
    "ManufacturerModelName": "Scanner 3T",
    "DeviceSerialNumber": "42",
    "SoftwareVersions": "7.1",
    "InstitutionName": "Hospital",
}


def _item(**values: object) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


_ISSUER = {"UniversalEntityID": "1.2.826.0.1.3680043.8.498.9", "UniversalEntityIDType": "ISO"}
_EVERYTHING = {
    **_BRAIN,
    "IssuerOfPatientID": "HOSPITAL",
    "TypeOfPatientID": "TEXT",
    "PatientBirthTime": "101010",
    "PatientComments": "of a volunteer",
    "QualityControlSubject": "NO",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "names replaced",
    "ClinicalTrialSponsorName": "Sponsor",
    "ClinicalTrialProtocolID": "P-1",
    "ClinicalTrialProtocolName": "Protocol",
    "ClinicalTrialSiteID": "1",
    "ClinicalTrialSiteName": "Site",
    "ClinicalTrialSubjectID": "S-1",
    "ClinicalTrialSubjectReadingID": "R-1",
    "ClinicalTrialTimePointID": "T0",
    "ClinicalTrialTimePointDescription": "Baseline",
    "StudyDescription": "Head",
    "PatientAge": "056Y",
    "PatientSize": "1.7",
    "PatientWeight": "71.5",
    "PregnancyStatus": 4,
    "AdmissionID": "A-1",
    "SeriesDescription": "t1 sag",
    "ProtocolName": "t1 mprage",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "SN",
    "TimezoneOffsetFromUTC": "+0100",
    "IssuerOfPatientIDQualifiersSequence": _item(**_ISSUER),
    "OtherPatientIDsSequence": _item(PatientID="OLD-1", TypeOfPatientID="TEXT"),
    "DeidentificationMethodCodeSequence": _item(
        CodeValue="113100",
        CodingSchemeDesignator="DCM",
        CodeMeaning="Basic Application Confidentiality Profile",
    ),
    "IssuerOfAccessionNumberSequence": _item(**_ISSUER),
    "IssuerOfAdmissionIDSequence": _item(**_ISSUER),
    "ProcedureCodeSequence": _item(
        CodeValue="816077007",
        CodingSchemeDesignator="SCT",
        CodeMeaning="Magnetic resonance imaging of brain",
    ),
}
_SEQUENCE = SequenceInfo(
    protocol="t1 mprage sag",
    sequence_name="tfl3d1",
    field_strength_t=2.8936,
    resonance_frequency_hz=123_256_000,
    repetition_time_ms=2300.0,
    echo_time_ms=2.98,
    inversion_time_ms=900.0,
    flip_angle_deg=9.0,
    three_dimensional=True,
)


FIGURES = (
    Figure(name="acceleration", value=4.0, low=1.5, high=10.0),
    Figure(name="calibration lines", value=6.0, low=8.0, n_outside=1),
    Figure(name="data residual of the network's image, beyond noise", value=0.0123, high=0.0314),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one variant became: the Raw Data objects, and the delivery of `encode`."""

    reconstruction: Reconstruction
    raw: list[Path]
    delivery: Any

    @property
    def geometry(self) -> Geometry:
        return self.reconstruction.geometry

    @property
    def files(self) -> list[Path]:
        return [*self.raw, *self.delivery.files()]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a job comes about.

    Parameters
    ----------
    build
        From the fixture `make` to the reconstruction.
    source
        Attributes of the Raw Data objects.
    scan
        Contrast and repetition.
    parts
        Number of Raw Data objects.
    """

    build: Callable[[Any], Reconstruction]
    source: Mapping[str, object] = field(default_factory=lambda: _BRAIN)
    scan: tuple[int, int] = (0, 0)
    parts: int = 1

    def encode(self, make: Any, name: str) -> Job:
        folder = make.folder / name
        folder.mkdir()
        payload = folder / "scan.h5"
        payload.write_bytes(bytes(range(256)) * 3)
        raw = wrap(payload, folder, self.source, max_part_bytes=-(-768 // self.parts))
        assert len(raw) == self.parts
        built = self.build(make)
        even = np.linspace(0.5, 2.0, built.image.size, dtype=np.float32).reshape(built.image.shape)
        known = ReceiveField(factor=even, description="Divided by a field.")
        quality = replace(built.quality, figures=FIGURES)
        reconstruction = replace(built, receive_field=known, quality=quality)
        contrast, repetition = self.scan
        key = make.key(contrast=contrast, repetition=repetition)
        delivery = make.deliver(
            reconstruction,
            parse_measurement(raw).context,
            key,
            folder=f"{name}/objects",
            options=SiteOptions(summary=True),
        )
        return Job(reconstruction=reconstruction, raw=raw, delivery=delivery)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where the slices of a job lie, and by hand: what its files must say. All in mm, LPS.

    Parameters
    ----------
    axes
        Unit vectors of slices, rows and columns (s, y, x).
    positions
        Of the first voxel of each slice.
    orientation
        Image Orientation (Patient).
    last
        Centre of the last voxel (2, 4, 8): origin + 12 axis_s + 6 axis_y + 6 axis_x.
    """

    axes: tuple[tuple[float, float, float], ...]
    positions: tuple[tuple[float, float, float], ...]
    orientation: tuple[float, ...]
    last: tuple[float, float, float]

    def build(self, make: Any, matrix: tuple[int, int, int] = MATRIX) -> Reconstruction:
        """With a lesion in the first two slices."""
        axis_s, axis_y, axis_x = self.axes
        geometry = make.geometry(
            matrix,
            origin_mm=self.positions[0],
            axis_s=axis_s,
            axis_y=axis_y,
            axis_x=axis_x,
            spacing_mm=(6.0, 1.5, 0.75),
            thickness_mm=4.5,
        )
        lesion = make.lesion(matrix, slices=(0, 1))
        return make.trusted(geometry, lesion=lesion)  # type: ignore[no-any-return] # make is of a conftest


_THIRD = 1 / 3
PLANES: Mapping[str, Plane] = {
    "axial": Plane(
        axes=((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        positions=((-3.0, -3.5, 100.25), (-3.0, -3.5, 106.25), (-3.0, -3.5, 112.25)),
        orientation=(1, 0, 0, 0, 1, 0),
        last=(3.0, 2.5, 112.25),
    ),
    "sagittal": Plane(
        axes=((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        positions=((-6.0, -10.0, 50.0), (0.0, -10.0, 50.0), (6.0, -10.0, 50.0)),
        orientation=(0, 1, 0, 0, 0, -1),
        last=(6.0, -4.0, 44.0),
    ),
    "coronal": Plane(
        axes=((0, 1, 0), (0, 0, -1), (1, 0, 0)),
        positions=((-40.0, 12.5, 80.0), (-40.0, 18.5, 80.0), (-40.0, 24.5, 80.0)),
        orientation=(1, 0, 0, 0, 0, -1),
        last=(-34.0, 24.5, 74.0),
    ),
    "double-oblique": Plane(
        axes=(
            (-_THIRD, -2 * _THIRD, 2 * _THIRD),
            (-2 * _THIRD, 2 * _THIRD, _THIRD),
            (2 * _THIRD, _THIRD, 2 * _THIRD),
        ),
        positions=((10.0, 20.0, 30.0), (8.0, 16.0, 34.0), (6.0, 12.0, 38.0)),
        orientation=(0.666667, 0.333333, 0.666667, -0.666667, 0.666667, 0.333333),
        last=(6.0, 18.0, 44.0),
    ),
    "slices against the normal": Plane(
        axes=((0, 0, -1), (0, 1, 0), (1, 0, 0)),
        positions=((-3.0, -3.5, 100.25), (-3.0, -3.5, 94.25), (-3.0, -3.5, 88.25)),
        orientation=(1, 0, 0, 0, 1, 0),
        last=(3.0, 2.5, 88.25),
    ),
}


def _marked_in(*slices: int) -> Callable[[Any], Reconstruction]:
    return lambda make: make.trusted(lesion=make.lesion((3, 17, 23), slices=slices))


VARIANTS: Mapping[str, Variant] = {
    "one lesion": Variant(build=_marked_in(1)),
    "two lesions, raw data in parts": Variant(build=_marked_in(0, 2), parts=3),
    "nothing marked": Variant(build=_marked_in()),
    "no change by the lesion term": Variant(build=lambda make: make.trusted(reference=None)),
    "fallback": Variant(build=lambda make: make.untrusted()),
    "another method": Variant(
        build=lambda make: make.trusted(
            lesion=None, reference=None, provenance=make.untrusted(Method.CG_SENSE).provenance
        )
    ),
    "second contrast": Variant(build=lambda make: make.trusted(), scan=(1, 2)),
    "geometry unknown": Variant(build=lambda make: make.trusted(make.geometry(known=False))),
    "one slice": Variant(build=lambda make: make.trusted(make.geometry((1, 9, 11)))),
    "an image of zeros": Variant(
        build=lambda make: make.trusted(image=np.zeros((3, 17, 23), dtype=np.complex64), reference=None)
    ),
    "any script": Variant(
        build=lambda make: make.thin(),
        source=_BRAIN
        | {
            "PatientName": "Müller^Jürgen^^Dr.=山田^太郎=やまだ^たろう",
            "StudyDescription": "Пример, ελ, 무릎",
            "InstitutionName": "Hôpital",
        },
    ),
    "bare source": Variant(build=lambda make: make.trusted(sequence=SequenceInfo()), source=_ONLY_IDENTITY),
    "bare source, fallback": Variant(build=lambda make: make.untrusted(), source=_ONLY_IDENTITY),
    "source that tells everything": Variant(
        build=lambda make: make.trusted(sequence=_SEQUENCE), source=_EVERYTHING
    ),
    "knee": Variant(build=lambda make: make.thin(), source=_BRAIN | {"BodyPartExamined": "KNEE"}),
    "right knee": Variant(
        build=lambda make: make.thin(), source=_BRAIN | {"BodyPartExamined": "KNEE", "Laterality": "R"}
    ),
    "brain with a side": Variant(build=lambda make: make.thin(), source=_BRAIN | {"Laterality": "L"}),
    **{name: Variant(build=plane.build) for name, plane in PLANES.items()},
}
