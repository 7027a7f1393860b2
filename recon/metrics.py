"""Image quality against a truth, as the fastMRI code computes it, and the area under the ROC curve.

Target and reconstruction are never normalised separately: that would hide errors of scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from lfmri_node.recon.types import Bool, Real


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuality:
    """PSNR in dB, SSIM, NMSE of one volume."""

    psnr_db: float
    ssim: float
    nmse: float


def compare(image: Real, truth: Real) -> ImageQuality:
    """Quality of the magnitude volume ``image`` f32 (s, y, x) against ``truth``.

    The data range is the maximum of the truth volume; SSIM uses skimage's defaults (uniform 7 x 7)
    and is the mean over slices. Raises ValueError where the shapes differ.
    """
    if image.shape != truth.shape or image.ndim != 3:
        raise ValueError(f"volumes (s, y, x) of equal shape expected, got {image.shape} and {truth.shape}")
    peak = float(truth.max())
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    ssim = [structural_similarity(t, i, data_range=peak) for t, i in zip(truth, image, strict=True)]
    return ImageQuality(
        psnr_db=float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf"),
        ssim=float(np.mean(ssim)),
        nmse=error / float(np.mean(truth.astype(np.float64) ** 2)),
    )


POINTING_TOLERANCE_PX = 4.0


def points_at(activation: Real, lesion: Bool) -> bool:
    """Pointing game: the peak of ``activation`` f32 (r, p) lies within 4 pixels of ``lesion`` bool (r, p)."""
    peak = np.unravel_index(int(activation.argmax()), activation.shape)
    return bool(np.hypot(*(np.argwhere(lesion) - np.array(peak)).T).min() <= POINTING_TOLERANCE_PX)


def pointing_chance(inside: Bool, lesion: Bool) -> float:
    """How often a peak put anywhere in ``inside`` bool (r, p) would point at ``lesion`` bool (r, p)."""
    near = ndimage.distance_transform_edt(~lesion) <= POINTING_TOLERANCE_PX
    return float(near[inside].mean()) if inside.any() else 0.0


def area_under_curve(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties half.

    Raises ValueError unless both classes occur.
    """
    values, truth = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    positive, negative = values[truth], values[~truth]
    if positive.size == 0 or negative.size == 0:
        raise ValueError("the area under the curve needs positives and negatives")
    difference = positive[:, None] - negative[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
