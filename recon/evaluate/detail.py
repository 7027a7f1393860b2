"""What of the fine structure and of a lesion's contrast is left: what a reader sees and PSNR does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lfmri_node.recon.train.visibility import contrast_to_noise, ring_around
from lfmri_node.recon.types import Bool, Real

COARSEST_PERIOD_PX = 12.0
"""[our reading] structures 1 to 6 px wide are half periods; at this one half of the amplitude passes."""
EDGE_PX = 8
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
    return np.asarray(ndimage.distance_transform_edt(filled) > EDGE_PX)


def band_pass(image: Real) -> Real:
    """What of f32 (r, p) has periods of up to about 12 px: all but what a Gaussian leaves.

    A Gaussian, since a sharp limit of frequencies would ring from the edge of the body far into it.
    """
    sigma = COARSEST_PERIOD_PX * np.sqrt(np.log(2) / 2) / np.pi
    return np.asarray(image - ndimage.gaussian_filter(image, sigma), dtype=np.float32)


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
