"""Can a lesion be seen at all? A label that nobody can see is a wrong label, for training and for testing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lfmri_node.recon.types import Bool, Real

VISIBLE = 1.0
"""Contrast-to-noise ratio below which a lesion is neither a positive nor a negative."""
_GAP_PX, _RING_PX = 2, 5
_MAD_TO_SIGMA = 1.4826


def ring_around(mask: Bool) -> Bool:
    """The surroundings of a lesion, bool (r, p): 3 to 5 pixels away from ``mask``."""
    near = ndimage.binary_dilation(mask, iterations=_GAP_PX)
    return np.asarray(ndimage.binary_dilation(mask, iterations=_RING_PX) & ~near)


def contrast_to_noise(image: Real, mask: Bool, noise: float = 0.0) -> float:
    """Contrast of a lesion bright or dark: |median inside - median of its ring| over the spread of the ring.

    Parameters
    ----------
    image
        Magnitude f32 (r, p), fully sampled.
    mask
        bool (r, p), not empty.
    noise
        Standard deviation of noise that the image is without; added in squares to the spread, which is the
        median absolute deviation as that of a Gaussian. One in a hundred of the ring's median stands for it
        at least, so that a ring of one value does not make everything visible.
    """
    ring = image[ring_around(mask)]
    if ring.size == 0:
        return 0.0
    middle = float(np.median(ring))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(ring - middle)))
    sigma = max(float(np.hypot(spread, noise)), 0.01 * abs(middle), 1e-6)
    return abs(float(np.median(image[mask])) - middle) / sigma
