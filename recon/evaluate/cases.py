"""A case: one slice measured once, with everything that its evaluation needs. Every source makes cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np

from lfmri_node.recon.evaluate.lesion_metrics import Box
from lfmri_node.recon.sense.fourier import fit_axis
from lfmri_node.recon.types import Bool, CoilMaps, Complex, KSpace, Real

Shown = TypeVar("Shown", Complex, Real)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One slice, its samples and its truth.

    Parameters
    ----------
    dataset, subject, volume, group, field_strength_t, acceleration, sample
        As in `rows.Row`.
    kspace, maps
        What every method is given: undersampled samples, and the coil maps of their centre.
    again
        The same slice and noise measured on other lines bool (p,), its maps and truth with them; None
        where the other lines were never measured.
    truth
        c64 or magnitude f32 (y, x), fully sampled and coil-combined; the centre of the reconstructed
        plane where it is smaller (see `view`); None for a prospectively undersampled measurement.
    peak
        Data range: maximum of the magnitude of the truth of the whole volume.
    boxes, boxes_dropped
        Usable boxes (see `lesion_metrics.usable_boxes`) and the number left out.
    lesion
        bool (r, p), outline where it is known.
    label
        Image-level truth; None where nobody looked.
    """

    dataset: str
    subject: str
    volume: str
    group: str
    field_strength_t: float | None
    acceleration: float
    sample: str
    kspace: KSpace
    maps: CoilMaps
    truth: Complex | Real | None
    peak: float
    label: bool | None
    lesion_kind: str
    boxes: tuple[Box, ...] = ()
    boxes_dropped: int = 0
    lesion: Bool | None = None
    again: Callable[[Bool], Case] | None = field(default=None, repr=False)

    def signature(self) -> list[float]:
        """Eight numbers that another image, mask, coil array or noise would change."""
        energy = np.abs(self.kspace.data) ** 2
        rows, columns = (energy.sum(axis=(0, axis), dtype=np.float64) for axis in (2, 1))
        parts = [part.sum() for axis in (rows, columns) for part in np.array_split(axis, 3)]
        values = [*parts, float(np.abs(self.maps.maps).sum(dtype=np.float64)), self.peak]
        return [float(f"{value:.6g}") for value in values]

    def view(self, plane: Shown) -> Shown:
        """The part of a reconstructed plane (r, p) that the truth shows: its centre."""
        if self.truth is None or plane.shape == self.truth.shape:
            return plane
        return cast(Shown, fit_axis(fit_axis(plane, 0, self.truth.shape[0]), 1, self.truth.shape[1]))


def undersample(complete: Complex, lines: Bool) -> KSpace:
    """The samples of ``complete`` c64 (c, r, p) on ``lines`` bool (p,)."""
    return KSpace(data=np.ascontiguousarray(complete * lines, dtype=np.complex64), sampled=lines)
