"""What it costs to keep 12 virtual coils, as the node does: PSNR of LF-MRI, measured and simulated arrays."""

from __future__ import annotations

import brain
import numpy as np
from report import Report
from scans import slices

from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.metrics import compare
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.settings import VIRTUAL_COILS
from lfmri_node.recon.train.domain import judge
from lfmri_node.recon.types import Bool, KSpace, Real

ARRAYS, SIDE, N_SLICES, SEEDS = (16, 20, 32, 64), 192, 2, range(3)


def measure(report: Report) -> None:
    """PSNR with so many virtual coils beside that with all."""
    if not shipped_weights().is_file():
        report.skip("virtual coils", "no weights")
        return
    model = load_model()
    for n_coils in ARRAYS:
        truths = [brain.truth(kspace.data)[0] for kspace in _simulated(n_coils, np.ones(SIDE, dtype=bool))]
        scans = _simulated(n_coils, random_lines(SIDE, 4.0, 0.08, np.random.RandomState(0)))
        pairs = list(zip(scans, truths, strict=True))
        _compare(report, model, pairs, f"simulated, {n_coils} coils, random 4x")
    if not brain.DATA.is_file():
        report.skip("virtual coils, measured brain", "raw_brain_13ch.npz is not beside the repository")
        return
    with np.load(brain.DATA) as arrays:
        for flip, kspace in zip(arrays["flip_deg"], arrays["kspace"], strict=True):
            whole = np.ascontiguousarray(kspace)
            for pattern, acceleration, equispaced in brain.PATTERNS:
                truth = brain.truth(whole)[0]
                pairs = [
                    (brain.undersampled(whole, acceleration, equispaced, seed)[0], truth) for seed in SEEDS
                ]
                _compare(report, model, pairs, f"{brain.NAME}, {flip:g} degrees, {pattern}")


def _simulated(n_coils: int, lines: Bool) -> list[KSpace]:
    return [kspace for kspace, _ in slices((SIDE, SIDE), n_coils, n_slices=N_SLICES, lines=lines)]


def _compare(report: Report, model: Model, pairs: list[tuple[KSpace, Real]], title: str) -> None:
    few, every = (
        float(np.mean([_psnr(model, compress(kspace, n), truth) for kspace, truth in pairs]))
        for n in (VIRTUAL_COILS, None)
    )
    report.add(f"{title}: LF-MRI of {VIRTUAL_COILS} virtual coils", few, "dB", "of all coils", every)


def _psnr(model: Model, kspace: KSpace, truth: Real) -> float:
    image = judge(kspace, model).image
    assert image is not None  # there is signal
    return compare(np.abs(image)[None], truth[None]).psnr_db
