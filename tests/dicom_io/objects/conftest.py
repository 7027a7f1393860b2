"""Small reconstructions, a study to hang them on, and the files that `encode` makes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from variants import VARIANTS, Job

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.series import encode
from lfmri_node.dicom_io.types import EncodedObject, Equipment, StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.recon.types import (
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reason,
    ReconSettings,
    Reconstruction,
    SequenceInfo,
    Verdict,
)

CREATED_AT = datetime(2026, 11, 22, 23, 59, 58, 123456, tzinfo=timezone(timedelta(hours=1)))
_K_SPACE, _WEIGHTS = "a1" * 32, "b2" * 32


@dataclass(frozen=True)
class Delivery:
    """What one call of `encode` made, read back from disk."""

    folder: Path
    objects: tuple[EncodedObject, ...]

    def files(self, role: str | None = None) -> list[Path]:
        return [o.path for o in self.objects if role in (None, o.role)]

    def read(self, role: str | None = None) -> list[Dataset]:
        return [pydicom.dcmread(path) for path in self.files(role)]

    @property
    def roles(self) -> list[str]:
        return list(dict.fromkeys(o.role for o in self.objects))

    @property
    def bytes_by_name(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.files()}


@dataclass(frozen=True)
class Make:
    """Builds inputs; every part can be replaced."""

    folder: Path

    def geometry(self, matrix: Sequence[int] = (3, 17, 23), **changes: object) -> Geometry:
        """Axial, with gaps between slices and voxels that are not square."""
        axial = Geometry(
            matrix=(matrix[0], matrix[1], matrix[2]),
            spacing_mm=(5.5, 1.25, 0.75),
            thickness_mm=5.0,
            origin_mm=(-8.25, -10.0, 31.5),
            axis_s=(0.0, 0.0, 1.0),
            axis_y=(0.0, 1.0, 0.0),
            axis_x=(1.0, 0.0, 0.0),
        )
        return replace(axial, **changes)  # type: ignore[arg-type]

    def volume(self, matrix: Sequence[int], seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        phase = np.exp(2j * np.pi * rng.random(matrix))
        return (rng.gamma(2.0, 3e-4, matrix) * phase).astype(np.complex64)

    def lesion(
        self, matrix: Sequence[int], slices: Sequence[int] = (1,), validated: bool = False
    ) -> LesionMap:
        """A ramp of activation to 0.9 in some slices; every voxel of it is different."""
        activation = np.zeros(matrix, dtype=np.float32)
        _, y, x = matrix
        for s in slices:
            block = activation[s, : y // 2, : x // 2]
            block[:] = np.linspace(0.01 * s, 0.9, block.size, dtype=np.float32).reshape(block.shape)
        return LesionMap(
            activation=activation,
            scores=activation.max(axis=(1, 2))[:, None],
            labels=("lesion",),
            operating_score=0.4,
            threshold=0.5,
            validated=validated,
        )

    def thin(self) -> Reconstruction:
        """A trusted reconstruction of one small slice, for tests of what every object says."""
        return self.trusted(self.geometry((1, 9, 11)))

    def trusted(self, geometry: Geometry | None = None, **changes: object) -> Reconstruction:
        geometry = geometry or self.geometry()
        image = self.volume(geometry.matrix)
        trusted = Reconstruction(
            image=image,
            reference=(0.7 * self.volume(geometry.matrix, seed=1)).astype(np.complex64),
            fallback=None,
            zero_filled=None,
            geometry=geometry,
            sequence=SequenceInfo(protocol="t2 tse tra", field_strength_t=3.0),
            lesion=self.lesion(geometry.matrix, slices=(geometry.matrix[0] // 2,)),
            quality=Quality(verdict=Verdict.TRUSTED, acceleration=4.0, data_residual=0.0123),
            provenance=Provenance(
                method=Method.LF_MRI,
                software_version="0.1.0",
                source_sha256=_K_SPACE,
                settings=ReconSettings().describe(),
                weights_sha256=_WEIGHTS,
                weights_name="first-light",
            ),
        )
        return replace(trusted, **changes)  # type: ignore[arg-type]

    def untrusted(self, method: Method = Method.L1_WAVELET, reasons: Sequence[Reason] = ()) -> Reconstruction:
        reasons = tuple(reasons) or (
            Reason(code="LF-QUA-001", message="acceleration 12 is beyond the trained 8", slices=()),
            Reason(code="LF-QUA-004", message="noise is four times the trained level", slices=(0, 1, 2)),
        )
        trusted = self.trusted()
        provenance = replace(trusted.provenance, method=method, weights_sha256=None, weights_name=None)
        return replace(
            trusted,
            lesion=None,
            reference=None,
            fallback=trusted.image,
            provenance=provenance,
            quality=Quality(
                verdict=Verdict.FALLBACK, acceleration=12.0, data_residual=0.2, reasons=tuple(reasons)
            ),
        )

    def context(self, **attributes: object) -> StudyContext:
        patient = {
            "PatientName": "Phantom^Lesion",
            "PatientID": "LF-0001",
            "PatientBirthDate": "19700101",
            "PatientSex": "F",
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
            "StudyDate": "20260304",
            "StudyTime": "101112",
            "StudyID": "S1",
            "AccessionNumber": "ACC-77",
            "BodyPartExamined": "BRAIN",
        }
        return StudyContext(
            study_instance_uid="1.2.826.0.1.3680043.8.498.1",
            frame_of_reference_uid="1.2.826.0.1.3680043.8.498.2",
            attributes=patient | attributes,
            source_sop_class_uid="1.2.840.10008.5.1.4.1.1.66",
            source_instances=("1.2.826.0.1.3680043.8.498.3", "1.2.826.0.1.3680043.8.498.4"),
            equipment=Equipment(
                manufacturer="Maker", model_name="Scanner 3T", serial_number="42", software_versions="7.1"
            ),
        )

    def key(self, **changes: object) -> JobKey:
        first = JobKey(
            payload_sha256=_K_SPACE,
            patient_id="LF-0001",
            issuer_of_patient_id="",
            study_instance_uid="1.2.826.0.1.3680043.8.498.1",
            contrast=0,
            repetition=0,
            settings=ReconSettings().describe(),
            weights_sha256=_WEIGHTS,
        )
        return replace(first, **changes)  # type: ignore[arg-type]

    def deliver(
        self,
        reconstruction: Reconstruction,
        context: StudyContext | None = None,
        key: JobKey | None = None,
        *,
        folder: str = "out",
        created_at: datetime = CREATED_AT,
        options: SiteOptions | None = None,
    ) -> Delivery:
        out = self.folder / folder
        objects = encode(
            reconstruction,
            context or self.context(),
            key or self.key(),
            out,
            created_at=created_at,
            software_version="0.1.0",
            options=options,
        )
        return Delivery(folder=out, objects=objects)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(folder=tmp_path)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """As `make`, for what several tests only read."""
    return Make(folder=tmp_path_factory.mktemp("once"))


@pytest.fixture(scope="session")
def delivered(make_once: Make) -> Delivery:
    """A trusted job of 3 slices."""
    return make_once.deliver(make_once.trusted(), folder="delivered")


@pytest.fixture(scope="session")
def summed_up(make_once: Make) -> Delivery:
    """The same job at a site that asks for everything."""
    return make_once.deliver(make_once.trusted(), folder="summed-up", options=SiteOptions(summary=True))


@pytest.fixture(scope="session")
def job_of(make_once: Make) -> Callable[[str], Job]:
    """``job_of(name)``: a job of `variants.VARIANTS` with its Raw Data objects; each is encoded once."""
    return cache(lambda name: VARIANTS[name].encode(make_once, name))


@pytest.fixture(scope="session")
def elements() -> Callable[[Dataset], list[pydicom.DataElement]]:
    """Every element of a data set, those inside sequences included."""

    def walk(dataset: Dataset) -> list[pydicom.DataElement]:
        found = []
        for element in dataset:
            found.append(element)
            if element.VR == "SQ":
                found += [inner for item in element.value for inner in walk(item)]
        return found

    return walk
