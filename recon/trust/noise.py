"""Noise of a slice, estimated from its own samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.sense.sampling import contiguous_centre
from lfmri_node.recon.types import Bool, Complex, KSpace, Real

_MEDIAN_OF_RAYLEIGH = math.sqrt(math.log(2))
_OUTER_LINES, _FEWEST_LINES = 0.5, 8
_OUTER_POINTS = 0.1
_BLOCK, _SMALLEST_BLOCK = 16, 4
_PADDING = 0.5


def noise_per_coil(kspace: KSpace) -> Real:
    """Standard deviation f32 (c,) of the complex noise of a measured sample.

    The outer half of the measured lines is transformed along readout, which is always fully sampled: the rows
    beside the object then hold noise alone, and the quietest block of a sixteenth of the rows is read (median
    magnitude over ``sqrt(ln 2)``, Rayleigh). The edges of k-space themselves hold signal in a quiet scan.
    Padding of the readout is no measurement, whether of exact zeros or, after the removal of oversampling, of
    almost none: rows of k-space below half of the noise do not count. Of points in two phase directions,
    which have no such direction, the outermost tenth serves. Zero where nothing was measured. [our reading]
    """
    if kspace.sampled.ndim == 2:
        return _level(kspace.data[:, _outermost_points(kspace.sampled)])
    lines = kspace.data[:, :, _outer_lines(kspace.sampled)]
    whole = (0, lines.shape[1])
    sigma = _of_quiet_rows(lines, *whole)
    loud = _root_mean_square(lines, (0, 2)) > _PADDING * _root_mean_square(sigma, 0)
    measured = contiguous_centre(loud)
    if measured != whole and measured[1] - measured[0] >= _SMALLEST_BLOCK:
        sigma = _of_quiet_rows(lines, *measured)
    return sigma


def _outer_lines(sampled: Bool) -> NDArray[np.intp]:
    lines = np.flatnonzero(sampled)
    distance = np.abs(lines - sampled.size // 2)
    n_outer = max(_FEWEST_LINES, round(_OUTER_LINES * lines.size))
    return np.sort(lines[np.argsort(-distance, kind="stable")[:n_outer]])


def _outermost_points(sampled: Bool) -> Bool:
    rows, columns = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in sampled.shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    limit = np.quantile(radius[sampled], 1 - _OUTER_POINTS) if sampled.any() else 0.0
    return np.asarray(sampled & (radius >= limit))


def _of_quiet_rows(lines: Complex, start: int, stop: int) -> Real:
    """Noise (c,) of lines c64 (c, r, p) of which the rows ``start`` to ``stop`` of k-space were measured."""
    n = lines.shape[1]
    window = np.zeros(n, dtype=np.float32)
    window[start:stop] = np.hanning(stop - start + 2)[1:-1]
    scale = n / max(float(np.linalg.norm(window)), 1e-12)  # white noise keeps its deviation
    hybrid = np.fft.ifft(lines * window[:, None], axis=1) * scale
    power = (np.abs(hybrid) ** 2).mean(axis=(0, 2))
    width = min(n, max(_SMALLEST_BLOCK, n // _BLOCK))
    around = np.convolve(np.concatenate([power, power[: width - 1]]), np.ones(width), mode="valid")
    rows = (int(np.argmin(around)) + np.arange(width)) % n
    return _level(hybrid[:, rows].reshape(lines.shape[0], -1))


def _level(samples: Complex) -> Real:
    """Deviation (c,) of complex noise (c, n); exact zeros are no samples."""
    levels = []
    for coil in np.abs(samples):
        measured = coil[coil > 0]
        levels.append(float(np.median(measured)) / _MEDIAN_OF_RAYLEIGH if measured.size else 0.0)
    return np.asarray(levels, dtype=np.float32)


def _root_mean_square(values: NDArray[Any], axis: int | tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((np.abs(values) ** 2).mean(axis=axis, dtype=np.float64)))
