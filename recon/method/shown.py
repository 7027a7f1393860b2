"""What of the class activation is shown to a reader: inside the body, and not below a floor."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lfmri_node.recon.types import Bool, Complex, Real

ACTIVATION_FLOOR = 0.1
"""Activation below this is shown as zero: viewers colour every value that is not."""
_BODY_LEVEL = 0.08
"""Of the 99th percentile of the smoothed magnitude; air with its noise stays below it."""
_SMOOTHED_OVER = 5


def body_mask(image: Complex) -> Bool:
    """Where a slice holds tissue: its largest bright region, holes filled.

    Parameters
    ----------
    image
        c64 (r, p).

    Returns
    -------
    bool (r, p); empty for an image of zeros.
    """
    level = ndimage.uniform_filter(np.abs(image).astype(np.float64), _SMOOTHED_OVER)
    bright = level > _BODY_LEVEL * np.percentile(level, 99)
    regions, n_regions = ndimage.label(bright)
    if n_regions == 0:
        return np.zeros(image.shape, dtype=bool)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    body: Bool = ndimage.binary_fill_holes(regions == sizes.argmax())
    return body


def shown_activation(activation: Real, image: Complex, support: Bool) -> Real:
    """``activation`` inside the body and the coil maps' support, zero below the floor; f32 (r, p)."""
    kept = body_mask(image) & support & (activation >= ACTIVATION_FLOOR)
    return np.where(kept, activation, 0.0).astype(np.float32)
