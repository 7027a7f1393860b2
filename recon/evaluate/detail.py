"""What of the fine structure and of a lesion's contrast is left: what a reader sees and PSNR does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lfmri_node.recon.train.visibility import contrast_to_noise, ring_around
from lfmri_node.recon.types import Bool, Real

FINEST_PERIOD_PX, COARSEST_PERIOD_PX = 2.0, 12.0
"""[our reading] structures 1 to 6 px wide are half periods."""
EDGE_PX = 6
"""The rim of the body is left out: its edge would outweigh everything inside."""
LEVEL, SMOOTHING_PX = 0.12, 2.0
MARGIN_PX = 2


class Detail(NamedTuple):
    """Of the band-passed magnitude inside the body: size over the truth's, and correlation with it."""

    kept: float
    correlation: float


class LesionFacts(NamedTuple):
    """A masked lesion in the truth: pixels, and contrast over the spread of its ring (`visibility`)."""

    pixels: int
    cnr: float


def body_of(truth: Real) -> Bool:
    """Inside of the body bool (r, p): what of a magnitude f32 (r, p) is no air, holes filled, no rim."""
    smooth = ndimage.gaussian_filter(truth, SMOOTHING_PX)
    filled = ndimage.binary_fill_holes(smooth > LEVEL * np.percentile(truth, 99.5))
    return np.asarray(ndimage.binary_erosion(filled, iterations=EDGE_PX))


def band_pass(image: Real) -> Real:
    """What of f32 (r, p) has periods from 2 to 12 px in any direction."""
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij"))
    kept = (frequency > 1 / COARSEST_PERIOD_PX) & (frequency <= 1 / FINEST_PERIOD_PX)
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * kept).real, dtype=np.float32)


def detail(image: Real, truth: Real, body: Bool) -> Detail | None:
    """Detail of a magnitude f32 (r, p) against the truth's inside ``body``; None where there is none."""
    ours, theirs = band_pass(image)[body], band_pass(truth)[body]
    if theirs.size < 2 or theirs.std() == 0:
        return None
    size = float(ours.std() / theirs.std())
    return Detail(size, float(np.corrcoef(ours, theirs)[0, 1]) if size > 0 else 0.0)


def contrast_kept(image: Real, truth: Real, lesion: Bool) -> float | None:
    """Lesion minus ring in a magnitude f32 (r, p) over the same in the truth; None without a contrast there.

    Medians inside ``lesion`` bool (r, p) and in the ring around it.
    """
    ring = ring_around(lesion)
    if not ring.any():
        return None
    before = float(np.median(truth[lesion]) - np.median(truth[ring]))
    after = float(np.median(image[lesion]) - np.median(image[ring]))
    return after / before if before != 0 else None


def lesion_facts(truth: Real, lesion: Bool | None) -> LesionFacts | None:
    """Size and visibility of a masked lesion; None without a mask."""
    if lesion is None or not lesion.any():
        return None
    return LesionFacts(int(np.count_nonzero(lesion)), contrast_to_noise(truth, lesion))


def near_lesion(lesion: Bool) -> Bool:
    """The lesion and `MARGIN_PX` pixels around it, where LF-PSNR of the outline is taken."""
    return np.asarray(ndimage.binary_dilation(lesion, iterations=MARGIN_PX))
