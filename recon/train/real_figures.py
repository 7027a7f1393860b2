"""What the lesion map is worth on real lesions: stroke patients, on the network's own reconstructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.metrics import area_under_curve, pointing_chance, points_at
from lfmri_node.recon.passes import run_network
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.train.data import SIZE, GivenImage, LabelledImage, augment, real_lesion
from lfmri_node.recon.train.samples import SimulatedScan, draw_scan
from lfmri_node.recon.train.strokes import Stroke
from lfmri_node.recon.train.visibility import VISIBLE
from lfmri_node.recon.types import Complex

SMALLEST_PX = 30
N_COILS = 8
_TISSUE = 0.1


def stroke_scans(
    strokes: Sequence[Stroke], measured: Complex, n: int, seed: int, acceleration: float
) -> list[SimulatedScan]:
    """``n`` scans of slices with a lesion that can be seen, and ``n`` of slices without a mask.

    Each is resampled below its resolution, turned at random, and measured with 8 coils. Its contrast stays: a
    stroke that is bright on FLAIR is none in another tone.
    """
    rng = np.random.default_rng([seed, 31])
    seen = [s for s in strokes if s.cnr > VISIBLE and s.mask.sum() >= SMALLEST_PX]
    free = [s for s in strokes if not s.mask.any()]
    scans = []
    for group in (seen, free):
        for i in rng.permutation(len(group))[:n]:
            image, mask = augment(group[i].image, rng, SIZE, group[i].mask, retoned=False)
            lesion = real_lesion(mask) if mask is not None and mask.any() else None
            entry = LabelledImage(
                image=image, label=lesion is not None, lesion=lesion, subject=group[i].subject
            )
            scans.append(
                draw_scan(GivenImage(entry), measured, rng, acceleration=acceleration, n_coils=N_COILS)
            )
    return scans


def real_figures(scans: Sequence[SimulatedScan], model: Model) -> dict[str, float]:
    """Image AUC, pointing game and its chance: dilated lesion over tissue, the mean over lesions."""
    scores, labels, hits, chances = [], [], [], []
    for scan in scans:
        kspace = scan.kspace
        result = run_network(model, kspace, estimate(kspace))
        scores.append(float(result.scores.max()))
        labels.append(scan.entry.label)
        if scan.entry.lesion is not None:
            hits.append(points_at(result.activation, scan.entry.lesion.mask))
            chances.append(pointing_chance(scan.entry.image > _TISSUE, scan.entry.lesion.mask))
    return {
        "image_auc": area_under_curve(scores, labels),
        "pointing_game": float(np.mean(hits)),
        "pointing_chance": float(np.mean(chances)),
        "n_images": len(labels),
        "n_lesions": len(hits),
    }
