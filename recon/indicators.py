"""What is measured of each slice before the network may touch it.

Every indicator is a plain number with a meaning of its own; `quality` compares it with the range that
the model card states. All are free of the scale of the data.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from lfmri_node.recon.baseline import cg_sense, operator
from lfmri_node.recon.coilmaps import CoarseMaps, calibration_data, calibration_images
from lfmri_node.recon.noise import noise_per_coil
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

_ITERATIONS = 12
_SIGNAL_TO_NOISE = 5.0
_EXPECTED_NOISE = 0.8
_CENTRE_FRACTION = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicators:
    """One slice.

    Parameters
    ----------
    signal
        1.0 where the slice holds signal above its noise, else 0.0 and the rest means nothing.
    calibration_side
        Side of the calibration square.
    noise
        Standard deviation of the complex noise over the brightness of the brightest tissue.
    weakest_coil
        Signal-to-noise ratio in the centre of k-space, weakest coil over the median coil.
    residual
        Part of the measured samples that CG-SENSE cannot explain beyond their noise, relative to them.
    centre_energy
        Share of the energy in the central 6 % of the phase-encode lines.
    explained
        Share of the calibration images' energy that one set of maps explains.
    foreground
        Share of pixels brighter than a tenth of the brightest tissue.
    contrast
        Natural logarithm of brightest over median tissue.
    """

    signal: float
    calibration_side: float
    noise: float
    weakest_coil: float
    residual: float
    centre_energy: float
    explained: float
    foreground: float
    contrast: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure_slice(kspace: KSpace, coarse: CoarseMaps, maps: CoilMaps) -> Indicators:
    """All indicators of one slice."""
    sigma = noise_per_coil(kspace)
    solution = cg_sense(kspace, maps, n_iterations=_ITERATIONS)
    image = np.abs(solution)
    bright = float(np.percentile(image, 99.5))
    noise = float(np.sqrt(np.mean(sigma**2)))
    has_signal = bright > _SIGNAL_TO_NOISE * noise and bright > 0.0
    if not has_signal:
        return Indicators(
            signal=0.0,
            calibration_side=float(coarse.side),
            noise=math.inf,
            weakest_coil=0.0,
            residual=1.0,
            centre_energy=0.0,
            explained=0.0,
            foreground=0.0,
            contrast=0.0,
        )
    tissue = image[image > 0.1 * bright]
    return Indicators(
        signal=1.0,
        calibration_side=float(coarse.side),
        noise=noise / bright,
        weakest_coil=_weakest_coil(kspace, sigma),
        residual=_unexplained(kspace, maps, solution, sigma),
        centre_energy=_centre_energy(kspace),
        explained=_explained(kspace, coarse),
        foreground=float(tissue.size / image.size),
        contrast=float(np.log(bright / np.median(tissue))),
    )


def _weakest_coil(kspace: KSpace, sigma: Real) -> float:
    """A coil of exact zeros scores zero, one of pure noise about one over the usual ratio."""
    if kspace.data.shape[0] == 1:
        return 1.0
    centre = calibration_data(kspace, limit=8)
    level = np.sqrt((np.abs(centre) ** 2).mean(axis=(1, 2)))
    ratio = np.divide(level, sigma, out=np.zeros_like(level), where=sigma > 0)
    middle = float(np.median(ratio))
    return float(ratio.min() / middle) if middle > 0 else 0.0


def data_residual(kspace: KSpace, maps: CoilMaps, image: Complex) -> tuple[float, float]:
    """Squared norms ``|A x - y|^2`` and ``|y|^2`` on the sampled points."""
    encoding = operator(kspace, maps)
    with torch.inference_mode():
        predicted = encoding(torch.from_numpy(np.ascontiguousarray(image))[None])[0].numpy()
    difference = predicted - kspace.data
    return float(np.vdot(difference, difference).real), float(np.vdot(kspace.data, kspace.data).real)


def _unexplained(kspace: KSpace, maps: CoilMaps, image: Complex, sigma: Real) -> float:
    """Misfit beyond the noise that a least-squares fit of one value per pixel leaves, over the data."""
    misfit, energy = data_residual(kspace, maps, image)
    n_samples = _samples_per_coil(kspace)
    n_unknowns = np.count_nonzero(maps.support) / kspace.data.shape[0]
    expected = _variance(sigma) * max(n_samples - n_unknowns, 0.0)
    return math.sqrt(max(misfit - expected, 0.0) / energy) if energy > 0 else 1.0


def network_residual(kspace: KSpace, misfit: float, energy: float) -> float:
    """Part of the measured samples that the network's image leaves unexplained, relative to them.

    Of the noise four fifths are expected to remain: the image follows the rest. Motion and other
    contradictions between lines stay in this residual, since the network, unlike CG-SENSE with its one
    unknown a pixel, does not bend the image to them.
    """
    expected = _EXPECTED_NOISE * _variance(noise_per_coil(kspace)) * _samples_per_coil(kspace)
    return math.sqrt(max(misfit - expected, 0.0) / energy) if energy > 0 else 1.0


def _samples_per_coil(kspace: KSpace) -> float:
    return np.count_nonzero(kspace.sampled) * kspace.data[0].size / kspace.sampled.size


def _variance(sigma: Real) -> float:
    return float((sigma.astype(np.float64) ** 2).sum())


def _centre_energy(kspace: KSpace) -> float:
    energy = (np.abs(kspace.data) ** 2).sum(axis=(0, 1), dtype=np.float64)
    centre, half = energy.size // 2, max(1, round(_CENTRE_FRACTION * energy.size / 2))
    inner = float(energy[max(centre - half, 0) : centre + half + 1].sum())
    total = float(energy.sum())
    return inner / total if total > 0 else 0.0


def _explained(kspace: KSpace, coarse: CoarseMaps) -> float:
    images = calibration_images(kspace, (coarse.eigenvalue.shape[0], coarse.eigenvalue.shape[1]))
    projected = np.abs((coarse.maps.conj() * images).sum(0)) ** 2
    total = float((np.abs(images) ** 2).sum())
    return float(projected.sum()) / total if total > 0 else 0.0
