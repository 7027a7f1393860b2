"""Where the delivered voxels lie in the patient, from the positions and directions of the header.

Facts and choices
-----------------
- ISMRMRD ``position`` is the centre of the slice (of the slab in 3-D): voxel ``n // 2`` of every
  transformed axis lies there. Directions and positions are LPS, in mm.
- [our reading] Standard display order. The plane is named by the largest component of the slice
  normal: axial (z), coronal (y), sagittal (x). Rows and columns run

  ======== =================== =================== ===========================
  plane    columns increase to rows increase to    slices increase to
  ======== =================== =================== ===========================
  axial    patient left (x+)   posterior (y+)      head (z+)
  coronal  patient left (x+)   feet (z-)           posterior (y+)
  sagittal posterior (y+)      feet (z-)           left (x+)
  ======== =================== =================== ===========================

  An oblique plane takes the in-plane axes nearest to these.
- Spacing is ``reconSpace`` field of view over matrix, exactly; index ``n // 2`` stays the anchor
  when the matrix is cropped or interpolated (`apply_display`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData, UnsupportedAcquisition
from lfmri_node.recon.mrd.header import Space
from lfmri_node.recon.sense.fourier import resample_axis
from lfmri_node.recon.types import DisplayOrder, Geometry, Vector

Floats = NDArray[np.float64]

_UNIT_TOLERANCE = 1e-3
_POSITION_TOLERANCE_MM = 0.05

_DISPLAY_TARGETS = {  # dominant axis of the normal -> (towards y, towards x) of the display
    2: (np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])),
    1: (np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0])),
    0: (np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0])),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Header positions and directions, f64 (s, 3) each, one row a slice (one row in 3-D)."""

    position_mm: Floats
    read_dir: Floats
    phase_dir: Floats
    slice_dir: Floats

    def take(self, order: NDArray[np.intp]) -> Frames:
        """The same frames in another order."""
        return Frames(
            position_mm=self.position_mm[order],
            read_dir=self.read_dir[order],
            phase_dir=self.phase_dir[order],
            slice_dir=self.slice_dir[order],
        )

    def common_axes(self) -> Floats | None:
        """Unit vectors (3, 3), rows read, phase, slice; None when they are zero or not orthonormal.

        Accepted directions are made orthonormal exactly (nearest rotation or reflection).

        Raises
        ------
        UnsupportedAcquisition
            LF-RAW-030 when slices have different directions.
        """
        stacked = np.stack([self.read_dir, self.phase_dir, self.slice_dir], axis=1)
        if not np.allclose(stacked @ stacked.transpose(0, 2, 1), np.eye(3), atol=_UNIT_TOLERANCE):
            return None
        if not np.allclose(stacked, stacked[0], atol=_UNIT_TOLERANCE):
            raise UnsupportedAcquisition(
                "LF-RAW-030", "the slices are not parallel", "send stacks of different orientation separately"
            )
        left, _, right = np.linalg.svd(stacked.mean(axis=0))
        return np.asarray(left @ right)


def order_slices(frames: Frames) -> NDArray[np.intp]:
    """Order of the slices in the volume: ascending along the positive dominant axis of the normal.

    Slices without usable directions keep the order of their counter.
    """
    axes = frames.common_axes()
    if axes is None:
        return np.arange(frames.position_mm.shape[0])
    return np.argsort(frames.position_mm @ _ascending(axes[2]), kind="stable")


def stack_geometry(
    frames: Frames, recon: Space, voxel_mm: tuple[float, float]
) -> tuple[Geometry, DisplayOrder]:
    """Geometry and display order of a stack of 2-D slices.

    Parameters
    ----------
    frames
        In the order of `order_slices`.
    recon
        ``reconSpace``: matrix and field of view along readout, phase and slice.
    voxel_mm
        Distance between voxels of the reconstructed plane along (readout, phase).

    Raises
    ------
    UnsupportedAcquisition
        LF-RAW-030 slices not parallel, LF-RAW-031 unequal spacing, LF-RAW-032 slices displaced
        within their plane.
    InvalidRawData
        LF-RAW-033 two slices at one position.
    """
    axes = frames.common_axes()
    n_slices = frames.position_mm.shape[0]
    thickness = recon.voxel_mm[2]
    if axes is None:
        spacing = thickness
    else:
        axes = np.stack([axes[0], axes[1], _ascending(axes[2])])
        spacing = _slice_spacing(frames.position_mm, axes[2], thickness)
    return _geometry(
        centre_mm=frames.position_mm[0],
        axes=None if axes is None else axes[[2, 0, 1]],
        anchor=(0, recon.matrix[0] // 2, recon.matrix[1] // 2),
        matrix=(n_slices, recon.matrix[0], recon.matrix[1]),
        spacing_mm=(spacing, recon.voxel_mm[0], recon.voxel_mm[1]),
        thickness_mm=thickness,
        slice_axis=0,
        field=(recon.field_of_view_mm[0] / voxel_mm[0], recon.field_of_view_mm[1] / voxel_mm[1]),
    )


def slab_geometry(
    frames: Frames, recon: Space, voxel_mm: tuple[float, float]
) -> tuple[Geometry, DisplayOrder]:
    """Geometry and display order of a 3-D scan reconstructed as (readout, phase, partition).

    The delivered slices are the partitions, as a scanner delivers them; with a single readout
    sample they are the readout planes. ``voxel_mm`` is along (phase, partition).
    """
    axes = frames.common_axes()
    n_x, n_y, n_z = recon.matrix
    slice_axis = 0 if n_x == 1 else 2
    return _geometry(
        centre_mm=frames.position_mm[0],
        axes=axes,
        anchor=(n_x // 2, n_y // 2, n_z // 2),
        matrix=recon.matrix,
        spacing_mm=recon.voxel_mm,
        thickness_mm=recon.voxel_mm[slice_axis],
        slice_axis=slice_axis,
        field=(recon.field_of_view_mm[1] / voxel_mm[0], recon.field_of_view_mm[2] / voxel_mm[1]),
    )


def apply_display(volume: NDArray[Any], display: DisplayOrder) -> NDArray[Any]:
    """Turn a reconstructed volume (s, r, p) into the delivered one (s, y, x).

    Crop and interpolation (`fourier.resample_axis`), then the permutation, then the flips. A real
    volume stays real.
    """
    for axis, field, n_out in zip((1, 2), display.crop, display.resample, strict=True):
        volume = resample_axis(volume, axis, n_out, field)
    turned = volume.transpose(display.permutation)
    flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in display.flip)
    return np.ascontiguousarray(turned[flips])


def _ascending(normal: Floats) -> Floats:
    """``normal`` or its opposite: the one whose dominant component is positive."""
    return normal if normal[int(np.argmax(np.abs(normal)))] > 0 else -normal


def _slice_spacing(position_mm: Floats, normal: Floats, thickness_mm: float) -> float:
    """Distance of neighbouring slices; the thickness where there is only one slice."""
    n_slices = position_mm.shape[0]
    if n_slices == 1:
        return thickness_mm
    offset = position_mm - position_mm[0]
    along = offset @ normal
    if np.diff(along).min() < _POSITION_TOLERANCE_MM:
        raise InvalidRawData(
            "LF-RAW-033", "two slices lie at the same position", "correct the slice positions in the heads"
        )
    spacing: float = float(along[-1]) / (n_slices - 1)
    if np.abs(along - spacing * np.arange(n_slices)).max() > _POSITION_TOLERANCE_MM:
        raise UnsupportedAcquisition(
            "LF-RAW-031", "the distance between slices is not constant", "send stacks separately"
        )
    if np.abs(offset - along[:, None] * normal).max() > _POSITION_TOLERANCE_MM:
        raise UnsupportedAcquisition(
            "LF-RAW-032",
            "the slices are displaced against each other in their plane",
            "send stacks separately",
        )
    return spacing


def _geometry(
    *,
    centre_mm: Floats,
    axes: Floats | None,
    anchor: tuple[int, int, int],
    matrix: tuple[int, int, int],
    spacing_mm: Vector,
    thickness_mm: float,
    slice_axis: int,
    field: tuple[float, float],
) -> tuple[Geometry, DisplayOrder]:
    """Turn a volume with axes (s, r, p), known at voxel ``anchor``, into display order.

    ``axes`` None: a stand-in, readout to patient left, phase to posterior, the origin at zero.
    """
    known = axes is not None
    if axes is None:
        identity = np.eye(3)
        axes = identity[[2, 0, 1]] if slice_axis == 0 else identity
        centre_mm = np.zeros(3)
    permutation = _display_permutation(axes, slice_axis)
    normal_axis = int(np.argmax(np.abs(axes[slice_axis])))
    wanted = (np.eye(3)[normal_axis], *_DISPLAY_TARGETS[normal_axis])
    flip = tuple(bool(axes[a] @ w < 0) for a, w in zip(permutation, wanted, strict=True))
    shown = [0.0 + (-axes[a] if f else axes[a]) for a, f in zip(permutation, flip, strict=True)]  # no -0.0
    steps = [matrix[a] - 1 - anchor[a] if f else anchor[a] for a, f in zip(permutation, flip, strict=True)]
    origin = centre_mm - sum(
        n * spacing_mm[a] * axis for n, a, axis in zip(steps, permutation, shown, strict=True)
    )
    geometry = Geometry(
        matrix=_triple(int(matrix[a]) for a in permutation),
        spacing_mm=_triple(float(spacing_mm[a]) for a in permutation),
        thickness_mm=float(thickness_mm),
        origin_mm=_triple(float(v) for v in origin),
        axis_s=_triple(float(v) for v in shown[0]),
        axis_y=_triple(float(v) for v in shown[1]),
        axis_x=_triple(float(v) for v in shown[2]),
        known=known,
    )
    display = DisplayOrder(
        crop=field,
        resample=(matrix[1], matrix[2]),
        permutation=permutation,
        flip=_triple(flip),
    )
    return geometry, display


def _display_permutation(axes: Floats, slice_axis: int) -> tuple[int, int, int]:
    """(slice axis, axis shown as y, axis shown as x) among the rows of ``axes``."""
    towards_y, towards_x = _DISPLAY_TARGETS[int(np.argmax(np.abs(axes[slice_axis])))]
    first, second = (a for a in range(3) if a != slice_axis)

    def agreement(y: int, x: int) -> float:
        return float(abs(axes[y] @ towards_y) + abs(axes[x] @ towards_x))

    if agreement(second, first) >= agreement(first, second):
        return (slice_axis, second, first)
    return (slice_axis, first, second)


def _triple(values: Any) -> tuple[Any, Any, Any]:
    a, b, c = values
    return (a, b, c)
