"""From magnitudes to stored values and from stored values to grey: one scale and one window for a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.recon.types import Complex, Real

Stored = NDArray[np.uint16]

LARGEST_STORED = 65535
_WINDOW_PERCENTILES = (1.0, 99.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Stored value times ``slope`` is the magnitude, to within half a ``slope``.

    The MR Image IOD has no Modality LUT (PS3.3 A.4.3), so the factor is written as a Real World Value
    Mapping, and it is the same for all series of a job so that equal grey means equal signal.
    """

    slope: float

    def store(self, volume: Complex) -> Stored:
        """Magnitude of ``volume`` as u16, same shape."""
        return np.rint(_magnitude(volume) / self.slope).astype(np.uint16)


def common_scaling(volumes: Sequence[Complex]) -> Scaling:
    """The scaling that fits the largest magnitude of all ``volumes``; slope 1 where they are all zero.

    Raises
    ------
    ObjectError
        LF-OBJ-001: a value is NaN or infinite.
    """
    peak = 0.0
    for volume in volumes:
        largest = float(_magnitude(volume).max())
        if not np.isfinite(largest):
            raise ObjectError(
                "LF-OBJ-001",
                "the reconstructed volume holds NaN or infinite values",
                "the reconstruction failed numerically; look at the measurement's quality figures",
            )
        peak = max(peak, largest)
    return Scaling(slope=peak / LARGEST_STORED if peak > 0 else 1.0)


def _magnitude(volume: Complex) -> NDArray[np.float64]:
    return np.abs(volume.astype(np.complex128))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A linear VOI window over stored values (PS3.3 C.11.2.1.2.1)."""

    center: float
    width: float

    def apply(self, stored: Stored) -> Real:
        """Grey in [0, 1] as the standard's LINEAR function gives it, f32, same shape."""
        if self.width <= 1:
            return (stored > self.center - 0.5).astype(np.float32)
        grey = (stored.astype(np.float32) - (self.center - 0.5)) / (self.width - 1) + 0.5
        return np.asarray(np.clip(grey, 0.0, 1.0), dtype=np.float32)


def robust_window(stored: Stored) -> Window:
    """The window from the 1st to the 99.8th percentile of the voxels that are not zero.

    A few bright voxels (flow, fat beside a coil) therefore do not darken the rest, and a small bright
    lesion is not burnt out.
    """
    signal = stored[stored > 0]
    if signal.size == 0:
        return Window(center=LARGEST_STORED / 2, width=LARGEST_STORED)
    low, high = (float(np.rint(p)) for p in np.percentile(signal, _WINDOW_PERCENTILES))
    return Window(center=(low + high + 1) / 2, width=high - low + 1)
