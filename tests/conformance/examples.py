"""Objects made by the project's own code, from which the statement's tables of attributes are read.

Each kind is made from a source that says everything and from one that says only what is needed, so that the
tables tell what is always there. Each of the two is made again with one of its inputs changed, so that they
tell where a value comes from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.series import encode
from lfmri_node.dicom_io.raw_data.context import COPIED, EQUIPMENT
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.stated import KEYWORDS, describe
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.node.gateway.identity import KEYWORDS as GIVEN
from lfmri_node.recon.types import (
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reason,
    ReceiveField,
    ReconSettings,
    Reconstruction,
    SequenceInfo,
    Verdict,
)

SITE = SiteOptions(summary=True)
OTHER_SITE = SiteOptions(device_serial_number="2", first_series_number=500, summary=True)
SETTINGS = ReconSettings().describe()
NEEDED = {"PatientID": "4711", "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that objects are made of. ``result`` stands for what the samples were reconstructed to."""

    raw: Mapping[str, object]
    header: int | None = None
    result: int = 1
    site: SiteOptions = SITE
    day: int = 1
    key: int = 1
    version: str = "1.0"
    n_slices: int = 1
    verdict: Verdict = Verdict.TRUSTED
    marked: bool = True


def raw_attributes(n: int, **changes: object) -> dict[str, object]:
    """A legal value for each attribute that is copied; those of another ``n`` are all different."""
    found = {k: _value(k, n) for k in (*COPIED, *EQUIPMENT, "FrameOfReferenceUID")}
    return found | {"PatientID": f"{4710 + n}"} | changes


_TERMS = {
    "BodyPartExamined": ("BRAIN", "HEAD"),
    "Laterality": ("L", "R"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "PatientPosition": ("HFS", "HFP"),
    "PatientSex": ("F", "O"),
    "QualityControlSubject": ("YES", "NO"),
    "TypeOfPatientID": ("TEXT", "RFID"),
    "TimezoneOffsetFromUTC": ("+0100", "-0500"),
}


def _value(keyword: str, n: int) -> object:
    if keyword in _TERMS:
        return _TERMS[keyword][n - 1]
    if keyword in _ITEMS:
        return [_item(_ITEMS[keyword], n)]
    if keyword in ("LocalNamespaceEntityID", "UniversalEntityID"):
        return f"1.2.3.{n}"
    return {
        "AS": f"04{n}Y",
        "DA": f"2026010{n}",
        "DS": f"{70 + n}.5",
        "IS": f"{n}",
        "TM": f"10111{n}",
        "UI": f"1.2.826.0.1.3680043.8.498.{len(keyword)}.{n}",
        "US": 2 + n,
    }.get(dictionary_VR(keyword), f"{keyword[:12]} {n}")


_CODE = {"CodeValue": "P{n}", "CodingSchemeDesignator": "99LOCAL", "CodeMeaning": "Meaning {n}"}
_ISSUER = {"LocalNamespaceEntityID": "ISSUER {n}"}
_ITEMS: Mapping[str, Mapping[str, str]] = {
    "DeidentificationMethodCodeSequence": _CODE,
    "IssuerOfAccessionNumberSequence": _ISSUER,
    "IssuerOfAdmissionIDSequence": _ISSUER,
    "IssuerOfPatientIDQualifiersSequence": {"UniversalEntityID": "1.2.3.{n}", "UniversalEntityIDType": "ISO"},
    "OtherPatientIDsSequence": {"PatientID": "A{n}", "IssuerOfPatientID": "I{n}", "TypeOfPatientID": "TEXT"},
    "ProcedureCodeSequence": _CODE,
    "ReferencedStudySequence": {
        "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1",
        "ReferencedSOPInstanceUID": "1.2.3.4.{n}",
    },
}


def _item(texts: Mapping[str, str], n: int) -> Dataset:
    item = Dataset()
    for keyword, text in texts.items():
        setattr(item, keyword, text.format(n=n))
    return item


def full() -> Job:
    return Job(raw=raw_attributes(1), header=1)


def header_only() -> Job:
    return Job(raw=NEEDED, header=1)


def bare() -> Job:
    return Job(raw=NEEDED)


def others() -> list[Job]:
    """More that may happen: no side, nothing marked, a fallback."""
    return [
        Job(raw=NEEDED | {"BodyPartExamined": "KNEE"}),
        replace(bare(), marked=False),
        replace(full(), verdict=Verdict.FALLBACK),
        replace(bare(), verdict=Verdict.FALLBACK),
    ]


def changes() -> Iterator[tuple[str, Job, Job]]:
    """Name of an input, and two jobs that differ in it alone."""
    everything, header, raw = full(), header_only(), Job(raw=raw_attributes(1))
    left, right = (Job(raw=raw_attributes(1, BodyPartExamined="KNEE", Laterality=side)) for side in "LR")
    yield "RAW", everything, replace(everything, raw=raw_attributes(2))
    yield "RAW", raw, replace(raw, raw=raw_attributes(2))
    yield "RAW", left, right
    yield "HEADER", everything, replace(everything, header=2)
    yield "HEADER", everything, replace(everything, n_slices=2)
    yield "HEADER", bare(), header
    yield "RESULT", everything, replace(everything, result=2)
    yield "CONFIG", everything, replace(everything, site=OTHER_SITE)
    yield "CONFIG", header, replace(header, site=OTHER_SITE)
    yield "CLOCK", everything, replace(everything, day=2)
    yield "KEY", everything, replace(everything, key=2)
    yield "KEY", header, replace(header, key=2)
    yield "VERSION", everything, replace(everything, version="2.0")


def objects_of(job: Job, folder: Path) -> dict[str, list[Dataset]]:
    """Role -> data sets, in the order of Instance Number, read back from disk."""
    folder.mkdir()
    made = encode(
        _reconstruction(job),
        _context(job, folder),
        JobKey(
            payload_sha256=f"{job.key:064x}",
            patient_id="4711",
            issuer_of_patient_id="",
            study_instance_uid="1.2.3",
            contrast=0,
            repetition=0,
            settings=SETTINGS,
            weights_sha256="b2" * 32,
        ),
        folder / "objects",
        created_at=datetime(2026, 11, job.day, 23, 50, 30, tzinfo=UTC) + timedelta(seconds=job.day),
        software_version=job.version,
        options=job.site,
    )
    found: dict[str, list[Dataset]] = {}
    for item in made:
        found.setdefault(item.role, []).append(dcmread(item.path))
    return found


def _context(job: Job, folder: Path) -> StudyContext:
    """By way of a Raw Data object on disk, as the node gets it."""
    payload = folder / "scan.h5"
    payload.write_bytes(b"no samples are needed")
    os.utime(payload, (0, 0))
    return parse_measurement(wrap(payload, folder, job.raw)).context


def _matrix(job: Job) -> tuple[int, int, int]:
    """Of the second header, larger than the legend of the fused picture."""
    return (job.n_slices, *((320, 300) if job.header == 2 else (24, 20)))


def _geometry(job: Job) -> Geometry:
    n = job.header or 1
    return Geometry(
        matrix=_matrix(job),
        spacing_mm=(5.5 + n, 1.25 * n, 0.75 * n),
        thickness_mm=5.0 + n,
        origin_mm=(-8.25 * n, -10.0 * n, 31.5 * n),
        axis_s=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0))[n - 1],
        axis_y=((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))[n - 1],
        axis_x=(1.0, 0.0, 0.0),
    )


def _sequence(n: int | None) -> SequenceInfo:
    if n is None:
        return SequenceInfo()
    return SequenceInfo(
        protocol=f"protocol {n}",
        sequence_name=f"tse{n}",
        field_strength_t=1.5 * n,
        resonance_frequency_hz=63_000_000 * n,
        repetition_time_ms=3000.0 * n,
        echo_time_ms=90.0 * n,
        inversion_time_ms=150.0 * n,
        flip_angle_deg=60.0 * n,
        echo_train_length=8 * n,
        system_vendor=f"vendor {n}",
        system_model=f"model {n}",
        three_dimensional=n == 2,
    )


def _reconstruction(job: Job) -> Reconstruction:
    trusted = job.verdict is Verdict.TRUSTED
    geometry, n = _geometry(job), job.result
    image = np.ones(geometry.matrix, dtype=np.complex64)
    image[:, 2:-2, 2:-2] = 3 + n
    image[:, 4, 5] = 8 + n
    reasons = () if trusted else (Reason(code="LF-QUA-101", message=f"figure {n}"),)
    return Reconstruction(
        image=image,
        reference=image * np.complex64(0.5 + 0.1 * n) if trusted else None,
        fallback=None if trusted else image,
        zero_filled=None,
        geometry=geometry,
        sequence=_sequence(job.header),
        lesion=_lesion(job) if trusted else None,
        quality=Quality(verdict=job.verdict, acceleration=2.0 + n, data_residual=0.01 * n, reasons=reasons),
        receive_field=ReceiveField(factor=np.full(geometry.matrix, n, np.float32), description=f"field {n}."),
        provenance=Provenance(
            method=Method.LF_MRI if trusted else (Method.WAVELET, Method.CG_SENSE)[n - 1],
            software_version=job.version,
            source_sha256=f"{n:064x}",
            settings=f"{SETTINGS};{n}",
            weights_sha256=f"{n:064x}" if trusted else None,
            weights_name=f"weights-{n}" if trusted else None,
        ),
    )


def _lesion(job: Job) -> LesionMap:
    """One mark or two in every slice, the first larger; or none."""
    n = job.result
    activation = np.zeros(_matrix(job), dtype=np.float32)
    if job.marked:
        activation[:, 3:7, 3 + n : 7 + n] = 0.9 - 0.1 * n
        activation[:, 15 : 14 + n, 3 + n : 5 + n] = 0.8 - 0.1 * n
    return LesionMap(
        activation=activation,
        scores=activation.max(axis=(1, 2))[:, None],
        labels=("lesion",),
        operating_score=0.3 + 0.01 * n,
        threshold=0.5 + 0.01 * n,
        validated=False,
    )


def raw_data_objects(
    folder: Path, *, header: int | None = 1, given: int | None = None, file: int = 1, parts: int = 1
) -> list[Dataset]:
    """What ``lfmri-node send`` writes of a file: ``header`` says what it states, ``given`` what was given."""
    folder.mkdir()
    h5 = folder / "scan.h5"
    h5.write_bytes(f"file {file}".encode())
    os.utime(h5, (file * 86_400 + file,) * 2)
    stated = {path: _stated(path, header) for path in KEYWORDS} if header else {}
    stated.setdefault("subjectInformation/patientID", "4711")
    said = {k: str(_value(k, given)) for k in sorted(GIVEN) if dictionary_VR(k) != "US"} if given else {}
    attributes = describe(stated, said, hashlib.sha256(h5.read_bytes()).hexdigest())
    longest = -(-h5.stat().st_size // parts)
    return [dcmread(path) for path in wrap(h5, folder, attributes, given=said, max_part_bytes=longest)]


def _stated(path: str, n: int) -> str:
    keyword = KEYWORDS[path][0]
    text = {"DA": f"2025-02-0{n}", "TM": f"08:09:1{n}"}.get(dictionary_VR(keyword))
    return text or str(_value(keyword, 3 - n) if keyword in _TERMS else _value(keyword, n + 5))
