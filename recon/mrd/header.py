"""The XML header of an ISMRMRD file, read leniently: every field that old files omit may be absent.

The public ``ismrmrd`` package rejects a header that lacks a mandatory field of the current schema;
files of older converters do. Field names are those of the ISMRMRD schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from xml.etree import ElementTree

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.fields import COPIED
from lfmri_node.recon.mrd.file import MAX_XML_BYTES
from lfmri_node.recon.types import ScanIdentity, SequenceInfo, Vector

MAX_MATRIX = 8192
"""Largest matrix size along one axis that is believed."""

_MAX_DEPTH, _MAX_ELEMENTS = 32, 100_000
_SHORTEST_VOXEL_MM, _SHORTEST_FIELD_MM, _LONGEST_FIELD_MM = 0.01, 2.0, 2000.0
_T = TypeVar("_T", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """``encodedSpace`` or ``reconSpace``: matrix size and field of view along (x, y, z)."""

    matrix: tuple[int, int, int]
    field_of_view_mm: Vector

    @property
    def voxel_mm(self) -> Vector:
        """Distance between voxel centres along (x, y, z)."""
        (x, y, z), (n_x, n_y, n_z) = self.field_of_view_mm, self.matrix
        return (x / n_x, y / n_y, z / n_z)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One entry of ``encodingLimits``."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One ``encoding``; limits are None where the header is silent.

    Parameters
    ----------
    trajectory
        In lower case; None where the header is silent.
    described
        Whether a ``trajectoryDescription`` says how the samples lie.
    """

    encoded: Space
    recon: Space
    trajectory: str | None
    step_1: Limit | None
    step_2: Limit | None
    slice: Limit | None
    calibration_mode: str | None
    described: bool = False
    multiband_factor: int = 1
    echo_train_length: int | None = None

    def limit(self, axis: int) -> Limit:
        """Limits of phase-encode direction 1 or 2; the whole matrix where the header is silent."""
        n = self.encoded.matrix[axis]
        stated = self.step_1 if axis == 1 else self.step_2
        return stated or Limit(minimum=0, maximum=n - 1, center=n // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the node reads of the header.

    Parameters
    ----------
    sequence
        Of the first contrast; `sequence_of` gives the others.
    relative_noise_bandwidth
        ``relativeReceiverNoiseBandwidth``; None where absent.
    stated
        Path -> text of every field that is copied into DICOM (`fields.COPIED`) and is there.
    b_values
        Of a diffusion measurement, s/mm^2.
    """

    encodings: tuple[Encoding, ...]
    identity: ScanIdentity
    sequence: SequenceInfo
    relative_noise_bandwidth: float | None
    timing: dict[str, tuple[float, ...]] = field(default_factory=dict)
    stated: Mapping[str, str] = field(default_factory=dict, repr=False)
    b_values: tuple[float, ...] = ()

    def sequence_of(self, contrast: int, encoding: Encoding, *, three_dimensional: bool) -> SequenceInfo:
        """`SequenceInfo` with the TR, TE, TI and flip angle of one contrast.

        A list with one entry holds for every contrast; a longer list without an entry for this
        contrast says nothing of it.
        """

        def pick(name: str) -> float | None:
            values = self.timing.get(name, ())
            if len(values) == 1:
                return values[0]
            return values[contrast] if contrast < len(values) else None

        return replace(
            self.sequence,
            repetition_time_ms=pick("TR"),
            echo_time_ms=pick("TE"),
            inversion_time_ms=pick("TI"),
            flip_angle_deg=pick("flipAngle_deg"),
            echo_train_length=encoding.echo_train_length,
            three_dimensional=three_dimensional,
        )


class _BoundedTree(ElementTree.TreeBuilder):
    """Stops at a document type, at deep nesting and at very many elements; the schema has six levels."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _no_header("declares a document type")

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH or self._count > _MAX_ELEMENTS:
            raise _no_header("is nested too deep or has too many elements")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def _no_header(why: str) -> InvalidRawData:
    return InvalidRawData("LF-RAW-003", f"the XML header {why}", "export the file again")


def parse_header(xml: bytes) -> Header:
    """Read the ISMRMRD XML header.

    Raises
    ------
    InvalidRawData
        LF-RAW-003 when it is no XML, too long, too deep or declares a document type, LF-RAW-004 when a
        field that the reconstruction needs is missing or no number.
    """
    if len(xml) > MAX_XML_BYTES:
        raise _no_header("is too long")
    try:
        root = ElementTree.fromstring(xml, ElementTree.XMLParser(target=_BoundedTree()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _no_header("cannot be parsed") from error
    encodings = tuple(_encoding(node) for node in root.findall("{*}encoding"))
    if not encodings:
        raise _missing("encoding")
    timing = {
        name: _numbers(root, f"sequenceParameters/{name}") for name in ("TR", "TE", "TI", "flipAngle_deg")
    }
    return Header(
        encodings=encodings,
        identity=_identity(root),
        sequence=_system(root),
        relative_noise_bandwidth=_number(
            root, "acquisitionSystemInformation/relativeReceiverNoiseBandwidth", float
        ),
        timing=timing,
        stated={path: text for path in COPIED if (text := _text(root, path))},
        b_values=_numbers(root, "sequenceParameters/diffusion/bvalue"),
    )


def _path(path: str) -> str:
    return "/".join("{*}" + part for part in path.split("/"))


def _text(node: ElementTree.Element, path: str) -> str | None:
    text = node.findtext(_path(path))
    return text.strip() or None if text else None


def _missing(path: str) -> InvalidRawData:
    return InvalidRawData(
        "LF-RAW-004",
        f"header field {path} is missing or unusable",
        "correct the header",
    )


def _convert(text: str, path: str, kind: Callable[[str], _T]) -> _T:
    try:
        value = kind(text)
    except ValueError as error:
        raise _missing(path) from error
    if not math.isfinite(value):
        raise _missing(path)
    return value


def _number(node: ElementTree.Element, path: str, kind: Callable[[str], _T]) -> _T | None:
    text = _text(node, path)
    return None if text is None else _convert(text, path, kind)


def _numbers(node: ElementTree.Element, path: str) -> tuple[float, ...]:
    return tuple(_convert(found.text or "", path, float) for found in node.findall(_path(path)))


def _space(encoding: ElementTree.Element, name: str) -> Space:
    sizes, lengths = [], []
    for axis in "xyz":
        size = _number(encoding, f"{name}/matrixSize/{axis}", int)
        length = _number(encoding, f"{name}/fieldOfView_mm/{axis}", float)
        if size is None or not 1 <= size <= MAX_MATRIX:
            raise _missing(f"{name}/matrixSize/{axis}")
        if length is None or length <= 0:
            raise _missing(f"{name}/fieldOfView_mm/{axis}")
        _check_length(f"{name}/fieldOfView_mm/{axis}", length, size)
        sizes.append(size)
        lengths.append(length)
    return Space(matrix=(sizes[0], sizes[1], sizes[2]), field_of_view_mm=(lengths[0], lengths[1], lengths[2]))


def _check_length(path: str, length_mm: float, n_voxels: int) -> None:
    """Refuse lengths that no scanner encodes: they are mostly metres or micrometres in place of mm."""
    shortest = _SHORTEST_FIELD_MM if n_voxels > 1 else _SHORTEST_VOXEL_MM
    if not shortest <= length_mm <= _LONGEST_FIELD_MM or length_mm / n_voxels < _SHORTEST_VOXEL_MM:
        raise InvalidRawData(
            "LF-RAW-036",
            f"header field {path} is {length_mm:.3g} mm for {n_voxels} voxels, which is not plausible",
            "write lengths in mm: correct the converter",
        )


def _limit(encoding: ElementTree.Element, name: str) -> Limit | None:
    path = f"encodingLimits/{name}"
    if encoding.find(_path(path)) is None:
        return None
    entries = {key: _number(encoding, f"{path}/{key}", int) for key in ("minimum", "maximum", "center")}
    return Limit(**{key: value or 0 for key, value in entries.items()})


def _encoding(node: ElementTree.Element) -> Encoding:
    encoded = _space(node, "encodedSpace")
    has_recon = node.find(_path("reconSpace")) is not None
    trajectory = _text(node, "trajectory")
    return Encoding(
        encoded=encoded,
        recon=_space(node, "reconSpace") if has_recon else encoded,
        trajectory=trajectory.lower() if trajectory else None,
        step_1=_limit(node, "kspace_encoding_step_1"),
        step_2=_limit(node, "kspace_encoding_step_2"),
        slice=_limit(node, "slice"),
        calibration_mode=_text(node, "parallelImaging/calibrationMode"),
        described=node.find(_path("trajectoryDescription")) is not None,
        multiband_factor=_number(node, "parallelImaging/multiband/multiband_factor", int) or 1,
        echo_train_length=_number(node, "echoTrainLength", int),
    )


def _system(root: ElementTree.Element) -> SequenceInfo:
    return SequenceInfo(
        protocol=_text(root, "measurementInformation/protocolName"),
        sequence_name=_text(root, "measurementInformation/sequenceName"),
        field_strength_t=_number(root, "acquisitionSystemInformation/systemFieldStrength_T", float),
        resonance_frequency_hz=_number(root, "experimentalConditions/H1resonanceFrequency_Hz", int) or None,
        system_vendor=_text(root, "acquisitionSystemInformation/systemVendor"),
        system_model=_text(root, "acquisitionSystemInformation/systemModel"),
    )


def _identity(root: ElementTree.Element) -> ScanIdentity:
    return ScanIdentity(
        patient_id=_text(root, "subjectInformation/patientID"),
        patient_name=_text(root, "subjectInformation/patientName"),
        study_instance_uid=_text(root, "studyInformation/studyInstanceUID"),
        frame_of_reference_uid=_text(root, "measurementInformation/frameOfReferenceUID"),
        accession_number=_text(root, "studyInformation/accessionNumber"),
        patient_position=_text(root, "measurementInformation/patientPosition"),
    )
