"""Activation in colour over grey anatomy, and changes in two colours; for DICOM and for PNG pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.types import Bool, Real

Rgb = NDArray[np.uint8]

# Activation and its colour, dark red to pale yellow; between the stops the colour is interpolated.
_STOPS = np.array([0.0, 0.3, 0.55, 0.8, 1.0])
_COLOURS = np.array([[110, 0, 10], [200, 20, 0], [250, 110, 0], [255, 205, 40], [255, 250, 190]]) / 255.0
# Below the first activation nothing is drawn; from the second on the colour has its full share.
_TRANSPARENT, _FULL = 0.08, 0.5
_LARGEST_SHARE = 0.6
# Share of the colour that follows the grey below it, so that anatomy shows through.
_SHADING = 0.5
_OUTLINE = np.array([0.35, 1.0, 0.95])
_MORE, _LESS = np.array([255.0, 150.0, 30.0]), np.array([60.0, 150.0, 255.0])


def hot(activation: Real) -> NDArray[np.float64]:
    """Colour of activations in [0, 1]: f64 (..., 3) in [0, 1]."""
    channels = [np.interp(activation, _STOPS, _COLOURS[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1)


def opacity(activation: Real) -> NDArray[np.float64]:
    """Share of the colour in the mixture, f64 of the same shape: 0 for weak activation, rising smoothly."""
    t = np.clip((activation - _TRANSPARENT) / (_FULL - _TRANSPARENT), 0.0, 1.0)
    return np.asarray(_LARGEST_SHARE * t * t * (3 - 2 * t))


def fuse(image: Real, activation: Real, outline: Bool | None = None) -> Rgb:
    """Colour over grey, u8 (y, x, 3); where the activation is weak the picture is the grey image.

    Parameters
    ----------
    image
        f32 (y, x) in [0, 1], windowed.
    activation
        f32 (y, x) in [0, 1].
    outline
        bool (y, x): the edge of this region is drawn as a thin line, inside the region; None for no line.
    """
    grey = np.clip(image, 0.0, 1.0, dtype=np.float64)[..., None]
    share = opacity(activation)[..., None]
    shaded = hot(activation) * (1 - _SHADING + _SHADING * grey)
    mixture = (1 - share) * grey + share * shaded
    if outline is not None:
        mixture[edge(outline)] = _OUTLINE
    return np.asarray(np.rint(mixture * 255), dtype=np.uint8)


def edge(region: Bool) -> Bool:
    """Voxels of ``region`` (y, x) with one of four neighbours outside it; beyond the picture is outside."""
    padded = np.pad(region, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return region & ~inside


def two_colours(difference: Real, largest: float) -> Rgb:
    """u8 (..., 3): orange where ``difference`` (...) is above zero, blue below; full at ``largest``."""
    share = np.clip(difference / (largest or 1.0), -1.0, 1.0)[..., None]
    return np.asarray(np.where(share > 0, _MORE, _LESS) * np.abs(share) + 0.5, dtype=np.uint8)
