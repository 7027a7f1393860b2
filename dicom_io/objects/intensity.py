"""From magnitudes to stored values and from stored values to grey: one scale and one window for a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.recon.types import Complex, Real

Stored = NDArray[np.uint16]

BITS_STORED = 12
LARGEST_STORED = 2**BITS_STORED - 1
"""Twelve bits: what viewers and printers expect of MR, and far below the noise of a scan."""
_BODY_LEVEL, _HEADROOM = 0.1, 1.25


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

    @property
    def white(self) -> float:
        """The stored value from which on everything is white."""
        return self.center - 0.5 + (self.width - 1) / 2

    def apply(self, stored: Stored) -> Real:
        """Grey in [0, 1] as the standard's LINEAR function gives it, f32, same shape."""
        if self.width <= 1:
            return (stored > self.center - 0.5).astype(np.float32)
        grey = (stored.astype(np.float32) - (self.center - 0.5)) / (self.width - 1) + 0.5
        return np.asarray(np.clip(grey, 0.0, 1.0), dtype=np.float32)


def tissue_window(stored: Stored) -> Window:
    """The window of the tissue in the middle of the body, so that fat beside a coil does not darken the rest.

    From the 1st percentile of the body to a quarter above the 99th of its middle: the half of its extent, in
    rows and in columns, around its centre.

    Parameters
    ----------
    stored
        u16 (s, y, x).
    """
    if not stored.any():
        return Window(center=LARGEST_STORED / 2, width=LARGEST_STORED)
    body = stored > _BODY_LEVEL * np.percentile(stored, 99)
    low = float(np.percentile(stored[body], 1.0))
    middle = stored[_middle(body)]
    high = max(_HEADROOM * float(np.percentile(middle, 99.0)), low + 1)
    low, high = float(np.rint(low)), min(float(np.rint(high)), float(stored.max()))
    return Window(center=(low + high + 1) / 2, width=max(high - low, 0) + 1)


def _middle(body: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The middle half of the rows and columns that the body covers, in all slices."""

    def half(axis: int) -> slice:
        where = np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = int(where[0]), int(where[-1])
        quarter = (last - first + 1) // 4
        return slice(first + quarter, last + 1 - quarter)

    return slice(None), half(1), half(2)
