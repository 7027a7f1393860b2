"""Real lesions for the figures of the model card."""

import numpy as np
from scipy import ndimage

from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.real_figures import stroke_scans
from lfmri_node.recon.train.strokes import Stroke

TISSUE, BRIGHT = 0.5, 0.9


def stroke(number: int, *, found: bool) -> Stroke:
    image = np.pad(np.full((120, 96), TISSUE, np.float32), 20)
    mask = np.zeros(image.shape, dtype=bool)
    mask[60:80, 50:70] = found
    image[mask] = BRIGHT
    return Stroke(subject=f"soop-{number:04d}", image=image, mask=mask, cnr=3.0 if found else np.nan)


def test_a_real_lesion_keeps_its_contrast():
    """Brighter than what surrounds it by as much as it was measured, but for the shading of a coil."""
    strokes = [stroke(i, found=i % 2 == 0) for i in range(40)]
    coils = loop_coils(8, (64, 64), np.random.default_rng(0))
    scans = stroke_scans(strokes, coils, 20, seed=3, acceleration=4.0)
    assert [scan.entry.label for scan in scans] == [True] * 20 + [False] * 20
    for scan in scans[:20]:
        assert scan.entry.lesion is not None
        mask = scan.entry.lesion.mask
        inside = ndimage.binary_erosion(mask, iterations=3)
        ring = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=3)
        ratio = np.median(scan.entry.image[inside]) / np.median(scan.entry.image[ring])
        assert 0.85 < ratio / (BRIGHT / TISSUE) < 1.15
