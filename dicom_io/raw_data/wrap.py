"""An ISMRMRD file becomes one Raw Data object, or several when it is too long for one element."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, RawDataStorage

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.files import published_file
from lfmri_node.dicom_io.raw_data.block import CREATOR_VERSION_UID, PAYLOAD_ELEMENT, BlockFields
from lfmri_node.dicom_io.raw_data.window import Segment, SegmentWindow
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.dicom_io.values import laterality_of

_LONGEST_ELEMENT = 0xFFFFFFFE  # PS3.5 7.1: 32-bit length, even; 0xFFFFFFFF means undefined
_OURS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "CreatorVersionUID",
    "AcquisitionContextSequence",
)
_COMPARED = ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber")
# Type 2 attributes of the Raw Data IOD: PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "Manufacturer",
)


def wrap(
    h5: Path,
    out_dir: Path,
    source: Mapping[str, object],
    *,
    max_part_bytes: int = 1 << 30,
    group: str = "dataset",
    given: Iterable[str] = (),
    calling_ae: str = "",
) -> list[Path]:
    """Write ``h5`` as Raw Data objects ``raw-<part>.dcm`` in ``out_dir``; constant memory.

    The same file and the same attributes give the same bytes and UIDs, so a repeated send is
    recognised as such; any other attribute gives another SOP Instance UID.

    Parameters
    ----------
    source
        Patient, study, series and equipment attributes, DICOM keyword -> value; PatientID and
        StudyInstanceUID are needed. ContentDate and ContentTime follow StudyDate and StudyTime, or
        the modification time of ``h5`` (UTC), unless given.
    max_part_bytes
        Longest payload of one object.
    group
        HDF5 group that holds the measurement.
    given
        Keywords of those attributes that replace on purpose what the ISMRMRD header says; without
        this the node refuses a measurement whose header names somebody else.
    calling_ae
        AE title for the file meta information, of a file that no association will carry.

    Returns
    -------
    list of Path
        One object a part, in order.

    Raises
    ------
    PayloadError
        LF-PAY-012 for an empty file, LF-PAY-008 without PatientID or StudyInstanceUID.
    ValueError
        ``source`` names an unknown keyword or one that this function sets, or ``max_part_bytes`` is
        out of range.
    """
    if not 0 < max_part_bytes <= _LONGEST_ELEMENT:
        raise ValueError(f"max_part_bytes must lie in 1..{_LONGEST_ELEMENT}")
    _check_source(source)
    given = frozenset(given)
    total = h5.stat().st_size
    if total == 0:
        raise PayloadError(
            "LF-PAY-012",
            "the ISMRMRD file is empty",
            "export the measurement again",
            status=Status.UNKNOWN_FORMAT,
        )
    starts = range(0, total, max_part_bytes)
    segments = [Segment(path=h5, offset=at, size=min(max_part_bytes, total - at)) for at in starts]
    sha256, part_sha256 = _hashes(segments)
    common = _common_dataset(h5, source)
    written = []
    for number, (segment, digest) in enumerate(zip(segments, part_sha256, strict=True), start=1):
        fields = BlockFields(
            size=segment.size,
            part_sha256=digest,
            group=group,
            part=number,
            n_parts=len(segments),
            sha256=sha256,
            total_size=total,
            given=" ".join(keyword for keyword in _COMPARED if keyword in given),
        )
        path = out_dir / f"raw-{number:04d}.dcm"
        _write_part(path, common, fields, segment, calling_ae)
        written.append(path)
    return written


def _check_source(source: Mapping[str, object]) -> None:
    for keyword in source:
        if tag_for_keyword(keyword) is None:
            raise ValueError(f"{keyword} is not a DICOM keyword")
        if keyword in _OURS:
            raise ValueError(f"{keyword} is set when the file is wrapped")
    if not source.get("PatientID") or not source.get("StudyInstanceUID"):
        raise PayloadError(
            "LF-PAY-008",
            "PatientID and StudyInstanceUID are needed to wrap a measurement",
            "give both",
            status=Status.NO_IDENTITY,
        )


def _hashes(segments: list[Segment]) -> tuple[str, list[str]]:
    """SHA-256 of the whole file and of every part, in one pass."""
    whole, parts = hashlib.sha256(), []
    for segment in segments:
        part = hashlib.sha256() if len(segments) > 1 else whole
        with SegmentWindow([segment]) as window:
            for block in window.blocks():
                part.update(block)
                if part is not whole:
                    whole.update(block)
        parts.append(part)
    return whole.hexdigest(), [part.hexdigest() for part in parts]


def _common_dataset(h5: Path, source: Mapping[str, object]) -> Dataset:
    """All attributes that the parts share, but for the UIDs of the objects."""
    modified = datetime.fromtimestamp(h5.stat().st_mtime, UTC)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = RawDataStorage
    dataset.Modality = "MR"
    dataset.SeriesDescription = "k-space (ISMRMRD)"
    dataset.AcquisitionContextSequence = []
    dataset.CreatorVersionUID = CREATOR_VERSION_UID
    for keyword in _TYPE_2:
        setattr(dataset, keyword, None)
    for keyword, value in source.items():
        if keyword != "Laterality":
            setattr(dataset, keyword, value)
    if (laterality := laterality_of(source)) is not None:
        dataset.Laterality = laterality
    if "FrameOfReferenceUID" in dataset and "PositionReferenceIndicator" not in dataset:
        dataset.PositionReferenceIndicator = None  # type 2, PS3.3 C.7.4.1
    if "ContentDate" not in dataset:
        dataset.ContentDate = dataset.StudyDate or modified.strftime("%Y%m%d")
    if "ContentTime" not in dataset:
        dataset.ContentTime = dataset.StudyTime or modified.strftime("%H%M%S")
    return dataset


def _write_part(path: Path, common: Dataset, fields: BlockFields, segment: Segment, calling_ae: str) -> None:
    """Complete the data set of one part and stream the payload into it."""
    dataset = Dataset()
    dataset.update(common)
    patient = (str(common.PatientID), str(common.get("IssuerOfPatientID") or ""))
    dataset.SeriesInstanceUID = name_uid("raw series", fields.sha256, *patient, str(common.StudyInstanceUID))
    dataset.InstanceNumber = fields.part
    block = fields.add_to(dataset)
    dataset.SOPInstanceUID = name_uid("raw object", _sha256_of(dataset))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RawDataStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    if calling_ae:
        meta.SourceApplicationEntityTitle = calling_ae
    dataset.file_meta = meta
    tag = block.get_tag(PAYLOAD_ELEMENT)
    padding = segment.size % 2
    with published_file(path) as out, SegmentWindow([segment]) as payload:
        dcmwrite(out, dataset, enforce_file_format=True)
        # By hand (PS3.5 7.1.2): pydicom 3.0 states an odd length for a buffered value of odd length.
        out.write(struct.pack("<HH2sHI", tag.group, tag.element, b"OB", 0, segment.size + padding))
        for piece in payload.blocks():
            out.write(piece)
        out.write(bytes(padding))


def _sha256_of(dataset: Dataset) -> str:
    """Of the data set in Explicit VR Little Endian: names every attribute and, by hash, the payload."""
    encoded = io.BytesIO()
    dcmwrite(encoded, dataset, implicit_vr=False, little_endian=True)
    return hashlib.sha256(encoded.getvalue()).hexdigest()
