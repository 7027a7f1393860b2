"""Centred orthonormal transforms of numpy arrays along one axis, and interpolation by zero-filling.

The zero position and the zero frequency stand at index ``n // 2`` of every axis, odd or even.
(`operators` holds the same transforms for torch tensors.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.types import Complex

_EDGE_TOLERANCE = 1e-3
"""Voxels by which the outermost delivered voxel may be off before the axis is interpolated."""


def fft_axis(x: NDArray[Any], axis: int) -> NDArray[Any]:
    """Orthonormal forward transform along ``axis``."""
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x, axis), axis=axis, norm="ortho"), axis)


def ifft_axis(x: NDArray[Any], axis: int) -> NDArray[Any]:
    """Inverse, and adjoint, of `fft_axis`."""
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(x, axis), axis=axis, norm="ortho"), axis)


def fit_axis(x: NDArray[Any], axis: int, n_out: int) -> NDArray[Any]:
    """Crop or zero-pad ``axis`` to ``n_out`` entries so that index ``n // 2`` stays ``n // 2``."""
    n_in = x.shape[axis]
    if n_out <= n_in:
        start = n_in // 2 - n_out // 2
        return x[(slice(None),) * (axis % x.ndim) + (slice(start, start + n_out),)]
    before = n_out // 2 - n_in // 2
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, n_out - n_in - before)
    return np.pad(x, widths)


def remove_oversampling(kspace: Complex, n_out: int) -> Complex:
    """K-space of the central ``n_out`` voxels along the last axis: inverse transform, crop, transform.

    The voxels around the centre are taken from both ends of the image as the transform leaves it,
    which is the order that the transform back wants: two shifts of the long axis less.
    """
    n_in = kspace.shape[-1]
    if n_in == n_out:
        return kspace
    image = np.fft.ifft(np.fft.ifftshift(kspace, -1), axis=-1, norm="ortho")
    upper, lower = image[..., : n_out - n_out // 2], image[..., n_in - n_out // 2 :]
    spectrum = np.fft.fft(np.concatenate([upper, lower], axis=-1), axis=-1, norm="ortho")
    return np.asarray(np.fft.fftshift(spectrum, -1), dtype=np.complex64)


def reverse_axis(kspace: NDArray[Any], axis: int) -> NDArray[Any]:
    """K-space with k replaced by -k along ``axis``; turns the image about index ``n // 2``."""
    flipped = np.flip(kspace, axis)
    return np.roll(flipped, 1, axis) if kspace.shape[axis] % 2 == 0 else flipped


def interpolation_matrix(n_in: int, n_out: int, step: float) -> Complex:
    """Matrix c64 (n_out, n_in) that evaluates the Fourier series of ``n_in`` voxels on a new grid.

    New voxel j lies ``(j - n_out // 2) * step`` old voxels from the old index ``n_in // 2``. With
    ``step < 1`` that is zero-filling of k-space, with ``step > 1`` k-space is cropped first. New
    voxels outside the old field of view are zero.
    """
    where = (np.arange(n_out) - n_out // 2) * step
    n_kept = n_in if step <= 1 else max(int(n_in / step + 1e-6), 1)
    k = np.arange(n_kept) - n_kept // 2
    source = np.arange(n_in) - n_in // 2
    evaluate = np.exp(2j * np.pi * np.outer(where, k) / n_in)
    analyse = np.exp(-2j * np.pi * np.outer(k, source) / n_in) / n_in
    inside = np.abs(where) <= n_in / 2
    return np.asarray((evaluate @ analyse) * inside[:, None], dtype=np.complex64)


def resample_axis(image: NDArray[Any], axis: int, n_out: int, field: float) -> NDArray[Any]:
    """Show ``field`` voxels around index ``n // 2`` of ``axis`` as ``n_out`` voxels.

    ``field`` need not be whole. Where it equals ``n_out`` the voxels are copied, bit by bit;
    otherwise the Fourier series of the whole axis is evaluated, so that the border of the field of
    view causes no ringing. A real image stays real.
    """
    if abs(field - n_out) / 2 < _EDGE_TOLERANCE:
        return fit_axis(image, axis, n_out)
    matrix = interpolation_matrix(image.shape[axis], n_out, field / n_out)
    result = np.moveaxis(np.moveaxis(image, axis, -1) @ matrix.T, -1, axis)
    return result if np.iscomplexobj(image) else np.asarray(result.real, dtype=image.dtype)
