"""Whether another weight of the prior would do better: all mu of a trained cascade times one factor.

On training subjects: what is chosen by it stays honest on the others. A factor that helps says that the
training is not at its end, or that its conditions are not those of the scans.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.learned import LearnedMethod
from lfmri_node.recon.evaluate.lesion_metrics import psnr_db
from lfmri_node.recon.evaluate.simulated import DISTURBED, simulated_source
from lfmri_node.recon.train.networks import LfMri, scale_mu
from lfmri_node.recon.train.runs import Run
from lfmri_node.recon.train.samples import ACCELERATIONS
from lfmri_node.recon.train.split import Part

FACTORS = (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0)
HELPS_DB = 0.05


def scan_mu(run: Run, data: Path, n: int, seed: int) -> dict[str, Any]:
    """PSNR in dB for each factor and acceleration on ``n`` measured-like scans of training subjects.

    Returns ``{"run", "slices", "seed", "psnr_db": {"4x": {"0.25": dB, ...}}, "best", "gain_db", "helps",
    "smallest"}``: the factor of the highest mean over the accelerations, what it gains over 1, whether that
    is more than 0.05 dB, and the smallest factor whose mean is less than 0.05 dB below the highest.

    Raises LabError (LF-LAB-025) where the run is not an LF-MRI cascade.
    """
    if not isinstance(run.network, LfMri):
        raise LabError("LF-LAB-025", f"{run.name} has no mu", "name a run of LF-MRI")
    networks = {factor: copy.deepcopy(run.network) for factor in FACTORS}
    for factor, network in networks.items():
        scale_mu(network, factor)
    found: dict[str, dict[str, float]] = {}
    for acceleration in ACCELERATIONS:
        source = simulated_source(data, n, seed, acceleration, DISTURBED, Part.TRAIN)
        cases = [source.load(sample) for sample in source.samples]
        found[f"{acceleration:g}x"] = {f"{f:g}": _psnr(network, cases) for f, network in networks.items()}
    means = {name: float(np.mean([of[name] for of in found.values()])) for name in next(iter(found.values()))}
    best = max(means, key=lambda name: means[name])
    gain = means[best] - means["1"]
    return {
        "run": run.name,
        "slices": n,
        "seed": seed,
        "psnr_db": found,
        "best": float(best),
        "gain_db": gain,
        "helps": gain > HELPS_DB,
        "smallest": min(float(name) for name in means if means[name] > means[best] - HELPS_DB),
    }


def _psnr(network: LfMri, cases: Iterable[Case]) -> float:
    method = LearnedMethod(name="", run="", weights="", network=network)
    values = []
    for case in cases:
        assert case.truth is not None
        image = np.abs(method.reconstruct(case).image).astype(np.float32)
        values.append(psnr_db(image, np.abs(case.truth).astype(np.float32), case.peak))
    return float(np.mean(values))
