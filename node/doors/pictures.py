"""The child process that writes delivered images as MRD messages, for a sender that asked for them.

``python -m lfmri_node.node.doors.pictures (objects|reconstruction) FOLDER OUT`` reads what a job left there
and writes one image message a slice into OUT. Pixels are 16 bits, 0 to 4095 over the volume, as scanners take
them; the factor stands in the attributes. No patient is in them: the sender knows whose scan it sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ismrmrd import Image, Meta, ProtocolSerializer
from numpy.typing import NDArray
from pydicom import dcmread

from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.node import logs
from lfmri_node.node.worker.memory import limit_memory
from lfmri_node.node.worker.task import objects_in
from lfmri_node.recon.archive import load_reconstruction
from lfmri_node.recon.types import Vector

_MEMORY_GB = 4.0
_TOP = 4095
_MAGNITUDE = 1  # ISMRMRD_IMTYPE_MAGNITUDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice: magnitude f32 (y, x), its first voxel's centre and directions in LPS, mm."""

    pixels: NDArray[np.float32]
    origin_mm: Vector
    axis_x: Vector
    axis_y: Vector
    spacing_mm: tuple[float, float, float]
    comment: str


def main(arguments: list[str] | None = None) -> None:
    """Write the messages."""
    kind, folder, out = arguments or sys.argv[1:]
    logs.silence_texts(sys.stderr)
    limit_memory(_MEMORY_GB)
    source = from_objects if kind == "objects" else from_reconstruction
    write_messages(list(source(Path(folder))), Path(out))


def from_objects(folder: Path) -> Iterator[Slice]:
    """The delivered images of an encoded job."""
    items = objects_in(folder)
    role = Role.LF_MRI if any(item.role == Role.LF_MRI for item in items) else Role.FALLBACK
    for item in items:
        if item.role != role:
            continue
        dataset = dcmread(item.path)
        direction = [float(value) for value in dataset.ImageOrientationPatient]
        rows_mm, columns_mm = (float(value) for value in dataset.PixelSpacing)
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        yield Slice(
            pixels=(dataset.pixel_array * slope + intercept).astype(np.float32),
            origin_mm=(x, y, z),
            axis_x=(direction[0], direction[1], direction[2]),
            axis_y=(direction[3], direction[4], direction[5]),
            spacing_mm=(float(dataset.SliceThickness), rows_mm, columns_mm),
            comment=str(dataset.SeriesDescription),
        )


def from_reconstruction(folder: Path) -> Iterator[Slice]:
    """The images of a job that is held: nothing of it is encoded."""
    made = load_reconstruction(folder)
    place = made.geometry
    for index, plane in enumerate(made.image):
        x, y, z = np.asarray(place.origin_mm) + index * place.spacing_mm[0] * np.asarray(place.axis_s)
        yield Slice(
            pixels=np.abs(plane).astype(np.float32),
            origin_mm=(float(x), float(y), float(z)),
            axis_x=place.axis_x,
            axis_y=place.axis_y,
            spacing_mm=(place.thickness_mm, *place.spacing_mm[1:]),
            comment=f"RESEARCH {made.provenance.method.value} {made.quality.verdict.value}",
        )


def write_messages(slices: Iterable[Slice], out: Path) -> None:
    """One image message a slice, in their order; no close."""
    slices = list(slices)
    scale = _TOP / max((float(item.pixels.max(initial=0.0)) for item in slices), default=1.0)
    with out.open("wb") as file:
        serializer = ProtocolSerializer(file)
        for number, item in enumerate(slices, start=1):
            serializer.serialize(_message(item, number, scale))


def _message(item: Slice, number: int, scale: float) -> Image:
    n_y, n_x = item.pixels.shape
    thickness_mm, y_mm, x_mm = item.spacing_mm
    middle = (
        np.asarray(item.origin_mm)
        + (n_x - 1) / 2 * x_mm * np.asarray(item.axis_x)
        + (n_y - 1) / 2 * y_mm * np.asarray(item.axis_y)
    )
    image = Image.from_array(
        np.round(item.pixels * scale).clip(0, _TOP).astype(np.int16),
        position=tuple(middle),
        read_dir=item.axis_x,
        phase_dir=item.axis_y,
        slice_dir=tuple(np.cross(item.axis_x, item.axis_y)),
        field_of_view=(n_x * x_mm, n_y * y_mm, thickness_mm),
        image_index=number,
        image_series_index=1,
        image_type=_MAGNITUDE,
        slice=number - 1,
    )
    image.meta = Meta(
        {
            "DataRole": "Image",
            "ImageComments": f"{item.comment}; for research only",
            "WindowCenter": str(_TOP // 2),
            "WindowWidth": str(_TOP),
            "LFMRI_scale": f"{scale:.6g}",
        }
    )
    return image


if __name__ == "__main__":
    main()
