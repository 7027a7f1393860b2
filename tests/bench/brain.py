"""Image quality on the measured brain slices, retrospectively undersampled, against every rival.

Truth: all lines, combined with ESPIRiT maps of all data. Random 4x, equispaced 4x and random 8x lines by the
fastMRI convention; ten masks each. The rivals' regularisation is searched on two other masks of the same
slice, by PSNR, and then kept for all ten; all images are cut to the support of the maps. Beside the figures
stands how many of the scans the node would deliver as LF-MRI. It gets as many virtual coils as in the node.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from report import Report

from lfmri_node.recon.evaluate import bart
from lfmri_node.recon.evaluate.detail import body_of, detail
from lfmri_node.recon.evaluate.measured import lines_of
from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.metrics import compare
from lfmri_node.recon.sense.classical import cg_sense, wavelet, zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.settings import VIRTUAL_COILS
from lfmri_node.recon.train.domain import judge
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

DATA = Path(__file__).parents[3] / "shared" / "data" / "raw_brain_13ch.npz"
NAME = "measured brain"
SEEDS, SEARCH_SEEDS = range(10), (1000, 1001)
PATTERNS = (("random 4x", 4.0, False), ("equispaced 4x", 4.0, True), ("random 8x", 8.0, False))
CG_GRID = (0.003, 0.01, 0.03, 0.1)
BART_GRID = (0.001, 0.002, 0.003, 0.005, 0.01)
WAVELET_GRID = (0.001, 0.002, 0.003, 0.005)
OURS = "LF-MRI"

Regularised = Callable[[KSpace, CoilMaps, float], Complex]


def measure(report: Report) -> None:
    """Both flip angles under every pattern."""
    if not DATA.is_file():
        report.skip(NAME, "raw_brain_13ch.npz is not beside the repository")
        return
    if not shipped_weights().is_file():
        report.skip(NAME, "no weights")
        return
    model = load_model()
    rivals: dict[str, tuple[Regularised, tuple[float, ...]]] = {
        "CG-SENSE": (cg_sense, CG_GRID),
        "wavelets (fallback)": (wavelet, WAVELET_GRID),
    }
    if bart.is_installed():
        rivals["BART wavelets"] = (partial(_bart, bart.WAVELETS), BART_GRID)
        rivals["BART total variation"] = (partial(_bart, bart.TOTAL_VARIATION), BART_GRID)
    with np.load(DATA) as arrays:
        complete, flips = arrays["kspace"], arrays["flip_deg"]
    for flip, kspace in zip(flips, complete, strict=True):
        for pattern, acceleration, equispaced in PATTERNS:
            measured = partial(undersampled, np.ascontiguousarray(kspace), acceleration, equispaced)
            _compare(report, model, truth(kspace), measured, rivals, f"{flip:g} degrees, {pattern}")


def _compare(
    report: Report,
    model: Model,
    truth: Real,
    measured: Callable[[int], tuple[KSpace, CoilMaps]],
    rivals: dict[str, tuple[Regularised, tuple[float, ...]]],
    title: str,
) -> None:
    searched = [measured(seed) for seed in SEARCH_SEEDS]
    chosen = {name: _best(method, grid, searched, truth) for name, (method, grid) in rivals.items()}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (OURS, *rivals)}
    trusted = 0
    for seed in SEEDS:
        kspace, maps = measured(seed)
        judged = judge(compress(kspace, VIRTUAL_COILS), model)
        trusted += not judged.codes
        assert judged.image is not None  # a brain has signal
        found[OURS].append(quality(judged.image, truth))
        for name, (method, _) in rivals.items():
            found[name].append(quality(method(kspace, maps, chosen[name]) * maps.support, truth))
    report.add(f"{NAME}, {title}: delivered as LF-MRI", trusted, f"of {len(SEEDS)} masks")
    means = {name: np.mean(rows, axis=0) for name, rows in found.items()}
    for i, (label, unit) in enumerate((("PSNR", "dB"), ("SSIM", ""), ("detail kept", ""))):
        for name in rivals:
            rival = f"{name}, lambda {chosen[name]:g}"
            report.add(f"{NAME}, {title}: {label}", float(means[OURS][i]), unit, rival, float(means[name][i]))


def _bart(regularisation: str, kspace: KSpace, maps: CoilMaps, lamda: float) -> Complex:
    return bart.pics(kspace, maps, regularisation, lamda)


def quality(image: Complex, truth: Real) -> tuple[float, float, float]:
    """PSNR in dB, SSIM, share of the detail's size that is kept."""
    magnitude = np.abs(image)
    quality = compare(magnitude[None], truth)
    fine = detail(magnitude, truth[0], body_of(truth[0]))
    return quality.psnr_db, quality.ssim, fine.kept if fine is not None else 0.0


def truth(complete: Complex) -> Real:
    kspace = KSpace(data=np.ascontiguousarray(complete), sampled=np.ones(complete.shape[2], dtype=bool))
    return np.abs(zero_filled(kspace, estimate(kspace)))[None].astype(np.float32)


def undersampled(
    complete: Complex, acceleration: float, equispaced: bool, seed: int
) -> tuple[KSpace, CoilMaps]:
    """Lines of ``complete``, and the coil maps of what they hold."""
    lines = lines_of(complete.shape[2], acceleration, seed, equispaced=equispaced)
    kspace = KSpace(data=(complete * lines).astype(np.complex64), sampled=lines)
    return kspace, estimate(kspace)


def _best(
    method: Regularised, grid: tuple[float, ...], searched: list[tuple[KSpace, CoilMaps]], truth: Real
) -> float:
    def psnr(lamda: float) -> float:
        return float(
            np.mean([quality(method(k, maps, lamda) * maps.support, truth)[0] for k, maps in searched])
        )

    return max(grid, key=psnr)
