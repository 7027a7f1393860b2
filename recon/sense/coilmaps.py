"""Coil sensitivities: ESPIRiT on a coarse grid, interpolated to the image.

ESPIRiT kernels are small, so the maps are smooth and the central points of k-space already hold all
that a run on the full grid finds. `calibrate` works on the coarse grid; `interpolate` brings maps and
eigenvalue to the image grid. `estimate_full_grid` is SigPy as it comes, the oracle of the tests.

Source: Uecker et al., ESPIRiT, Magn Reson Med 71 (2014) 990; low-resolution maps: McKenzie et al.,
Magn Reson Med 47 (2002) 529.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfmri_node.recon.errors import UnsupportedAcquisition
from lfmri_node.recon.sense.espirit import espirit
from lfmri_node.recon.sense.sampling import calibration_box
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

Planes = TypeVar("Planes", Complex, Real)

CALIBRATION_LIMIT = 24
"""Upper side of the calibration square, as in SigPy's and BART's defaults."""
GRID = 48
"""Side of the coarse grid."""
EIGENVALUE_FLOOR = 0.8
"""A pixel belongs to the support from this ESPIRiT eigenvalue on (BART's default)."""
MINIMUM_ESPIRIT_SIDE = 8
MINIMUM_SIDE = 2
_KERNEL_LARGE, _KERNEL_SMALL, _KERNEL_CHANGE = 6, 4, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseMaps:
    """ESPIRiT's answer on the coarse grid.

    Parameters
    ----------
    maps
        c64 (c, h, w), unit sum of squares, phase relative to the virtual coil that sees most signal.
    eigenvalue
        f32 (h, w): 1 where the data obey one set of maps; 0 everywhere for a slice without signal.
    side
        Side of the calibration square that was used.
    """

    maps: Complex
    eigenvalue: Real
    side: int


def calibration_data(kspace: KSpace, limit: int = CALIBRATION_LIMIT) -> Complex:
    """Fully sampled square c64 (c, side, side) around the centre of k-space.

    Separately acquired calibration lines serve where they reach further than the image's own centre.
    Raises UnsupportedAcquisition (LF-CAL-001) where the centre is not sampled.
    """
    own = calibration_box(kspace.sampled, kspace.data.shape[1], limit)
    best, data = _side(own), kspace.data
    if kspace.calibration is not None:
        size = kspace.calibration.shape
        lines = np.ones(size[2], dtype=bool)
        separate = calibration_box(lines, size[1], limit)
        if _side(separate) > best:
            own, best, data = separate, _side(separate), kspace.calibration
    if best < MINIMUM_SIDE:
        raise UnsupportedAcquisition(
            "LF-CAL-001",
            "the centre of k-space is not sampled, so coil sensitivities cannot be calibrated",
            "acquire a fully sampled centre of at least 8 lines, or separate calibration lines",
        )
    rows, columns = (_middle(run, best, n) for run, n in zip(own, data.shape[1:], strict=True))
    return np.ascontiguousarray(data[:, rows, columns])


def _side(box: tuple[slice, slice]) -> int:
    return int(min(box[0].stop - box[0].start, box[1].stop - box[1].start))


def _middle(run: slice, side: int, n: int) -> slice:
    """``side`` points of ``run``, as central on an axis of ``n`` points as the run allows."""
    start = min(max(n // 2 - side // 2, run.start), run.stop - side)
    return slice(start, start + side)


def calibrate(kspace: KSpace) -> CoarseMaps:
    """Coil maps of one slice on the coarse grid.

    Defined answers: all samples zero gives eigenvalue 0 (no support); one coil gives a map of ones;
    a calibration side of 2 to 7 gives low-resolution coil images over their root sum of squares
    instead of ESPIRiT (`quality` then refuses to trust the network).
    Raises UnsupportedAcquisition (LF-CAL-001) where the centre is not sampled.
    """
    data = calibration_data(kspace)
    n_coils, side = data.shape[0], data.shape[1]
    grid = (min(GRID, kspace.data.shape[1]), min(GRID, kspace.data.shape[2]))
    if not np.any(data):
        maps = np.full((n_coils, *grid), n_coils**-0.5, dtype=np.complex64)
        return CoarseMaps(maps=maps, eigenvalue=np.zeros(grid, dtype=np.float32), side=side)
    if n_coils == 1:
        ones = np.ones((1, *grid), dtype=np.complex64)
        return CoarseMaps(maps=ones, eigenvalue=np.ones(grid, dtype=np.float32), side=side)
    if side < MINIMUM_ESPIRIT_SIDE:
        maps, eigenvalue = _low_resolution(_pad(data, grid), side)
    else:
        maps, eigenvalue = espirit(data, grid, _kernel(side))
    return CoarseMaps(maps=_reference_phase(maps, data), eigenvalue=eigenvalue, side=side)


def calibration_images(kspace: KSpace, grid: tuple[int, int]) -> Complex:
    """Low-resolution coil images c64 (c, h, w) of the calibration square on the coarse grid."""
    padded = _pad(calibration_data(kspace), grid)
    axes = (-2, -1)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(padded, axes), norm="ortho"), axes)
    return np.asarray(images, dtype=np.complex64)


def _kernel(side: int) -> int:
    """Side of the kernels for a calibration square of ``side`` points."""
    return _KERNEL_LARGE if side >= _KERNEL_CHANGE else _KERNEL_SMALL


def _low_resolution(kspace: Complex, side: int) -> tuple[Complex, Real]:
    window = [_pad(np.hanning(side + 2)[1:-1], (n,)) for n in kspace.shape[1:]]
    axes = (-2, -1)
    tapered = kspace * window[0][:, None] * window[1][None, :]
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(tapered, axes)), axes)
    rss = np.sqrt((np.abs(images) ** 2).sum(0))
    maps = images / np.maximum(rss, 1e-6 * rss.max())
    return maps.astype(np.complex64), (rss > 0.05 * rss.max()).astype(np.float32)


def _pad(data: NDArray[Any], grid: tuple[int, ...]) -> NDArray[Any]:
    """Zero-fill the last axes to ``grid``, zero frequency staying at index n // 2."""
    shape = data.shape[data.ndim - len(grid) :]
    before = [n // 2 - m // 2 for n, m in zip(grid, shape, strict=True)]
    after = [n - m - b for n, m, b in zip(grid, shape, before, strict=True)]
    lead = [(0, 0)] * (data.ndim - len(grid))
    return np.pad(data, [*lead, *zip(before, after, strict=True)])


def _reference_phase(maps: Complex, data: Complex) -> Complex:
    """Turn each pixel so that the strongest combination of coils has zero phase.

    SigPy's reference, the first coil, has zeros of its own; there its phase jumps and neither maps
    nor image can be interpolated.
    """
    samples = data.reshape(data.shape[0], -1)
    _, vectors = np.linalg.eigh(samples @ samples.conj().T)
    virtual = np.tensordot(vectors[:, -1].conj(), maps, axes=1)
    magnitude = np.abs(virtual)
    turn = np.where(magnitude > 0, virtual.conj() / np.maximum(magnitude, 1e-20), 1.0)
    return np.asarray(maps * turn, dtype=np.complex64)


@lru_cache(maxsize=64)
def _spline_matrix(coarse: int, fine: int, mode: str) -> NDArray[np.float32]:
    """f32 (fine, coarse): cubic spline through ``coarse`` points, read at ``fine`` points.

    Both grids span the same field of view with index n // 2 at its centre.
    """
    positions = (np.arange(fine) - fine // 2) * (coarse / fine) + coarse // 2
    columns = [ndimage.map_coordinates(row, positions[None], order=3, mode=mode) for row in np.eye(coarse)]
    return np.stack(columns, axis=1).astype(np.float32)


def resample(planes: Planes, shape: tuple[int, int], *, periodic: bool = True) -> Planes:
    """(..., h, w) brought to (..., r, p) by cubic splines, periodic as what a Fourier transform gave."""
    mode = "grid-wrap" if periodic else "nearest"
    rows = _spline_matrix(planes.shape[-2], shape[0], mode)
    columns = _spline_matrix(planes.shape[-1], shape[1], mode)
    return _down(rows, _down(columns, planes.swapaxes(-2, -1)).swapaxes(-2, -1))


def _down(matrix: NDArray[np.float32], planes: Planes) -> Planes:
    """``matrix @ planes``, of complex planes as pairs of real numbers: half the products."""
    whole = np.ascontiguousarray(planes)
    return (matrix @ whole.view(np.float32)).view(whole.dtype)


def interpolate(coarse: CoarseMaps, shape: tuple[int, int]) -> CoilMaps:
    """Maps on the (r, p) grid of the image, renormalised to unit sum of squares on the support."""
    maps = resample(coarse.maps, shape)
    support = resample(coarse.eigenvalue, shape) > EIGENVALUE_FLOOR
    norm = np.sqrt((maps.real**2 + maps.imag**2).sum(0))
    maps *= np.where(support, 1.0 / np.maximum(norm, 1e-6), 0.0).astype(np.float32)
    return CoilMaps(maps=maps, support=support)


def estimate(kspace: KSpace) -> CoilMaps:
    """Coil maps of one slice on its own grid: `calibrate`, then `interpolate`."""
    return interpolate(calibrate(kspace), (kspace.data.shape[1], kspace.data.shape[2]))


def estimate_full_grid(kspace: KSpace) -> CoilMaps:
    """SigPy's ESPIRiT on every pixel (tens of seconds a slice): the oracle of `estimate`."""
    from sigpy.mri.app import EspiritCalib  # seconds and hundreds of MB that the service does without

    data = calibration_data(kspace)
    side, shape = data.shape[1], (kspace.data.shape[1], kspace.data.shape[2])
    scaled = _pad(data, shape) / np.abs(data).max()
    app = EspiritCalib(
        scaled, calib_width=side, kernel_width=_kernel(side), crop=0, output_eigenvalue=True, show_pbar=False
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # SigPy divides by coil 0 where it sees nothing
        maps, eigenvalue = (np.nan_to_num(part) for part in app.run())
    support = np.abs(eigenvalue).reshape(shape) > EIGENVALUE_FLOOR
    return CoilMaps(maps=(_reference_phase(maps, data) * support).astype(np.complex64), support=support)
