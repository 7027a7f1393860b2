"""What is measured of each slice before the network may touch it.

Every indicator is a plain number with a meaning of its own; `quality` compares it with the range that the
model card states. All are free of the scale of the data. Noise is no contradiction: what it leaves of
residuals is taken off; what few calibration lines do to them is in the card's limits for such slices.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from lfmri_node.recon.compute import CPU
from lfmri_node.recon.sense.batch import Batch
from lfmri_node.recon.sense.coilmaps import CoarseMaps, calibration_data
from lfmri_node.recon.trust.consistency import CalibrationFit, fit_calibration
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

_SIGNAL_TO_NOISE = 2.0
_CENTRE_FRACTION = 0.06
_COIL_SIDE = 8


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
        Standard deviation of the complex noise over the brightness of the brightest tissue, as the
        calibration square shows it.
    weakest_coil
        Noise over all that the weakest coil receives at the centre of k-space: 1 for noise alone.
    calibration_residual
        Part of the calibration samples that one image seen by the coil maps cannot explain beyond their
        noise, relative to them.
    centre_energy
        Share of the energy in the central 6 % of the phase-encode lines.
    """

    signal: float
    calibration_side: float
    noise: float
    weakest_coil: float
    calibration_residual: float
    centre_energy: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure_slice(kspace: KSpace, coarse: CoarseMaps) -> Indicators:
    """All indicators of one slice with the coil maps that were calibrated on it."""
    sigma = noise_per_coil(kspace)
    fit = fit_calibration(kspace, coarse)
    bright = float(np.percentile(fit.image, 99.5))
    noise = float(np.sqrt(np.mean(sigma**2)))
    if not bright > _SIGNAL_TO_NOISE * noise:
        return Indicators(
            signal=0.0,
            calibration_side=float(coarse.side),
            noise=math.inf,
            weakest_coil=1.0,
            calibration_residual=1.0,
            centre_energy=0.0,
        )
    return Indicators(
        signal=1.0,
        calibration_side=float(coarse.side),
        noise=noise / bright,
        weakest_coil=_weakest_coil(kspace, sigma),
        calibration_residual=_calibration_residual(fit, sigma),
        centre_energy=_centre_energy(kspace),
    )


def _weakest_coil(kspace: KSpace, sigma: Real) -> float:
    """A coil of exact zeros counts as one of noise alone."""
    centre = calibration_data(kspace, limit=_COIL_SIDE)
    level = np.sqrt((np.abs(centre) ** 2).mean(axis=(1, 2)))
    return float(np.divide(sigma, level, out=np.ones_like(level), where=level > 0).max())


def _calibration_residual(fit: CalibrationFit, sigma: Real) -> float:
    """One coil's worth of the noise is followed by the image that is fitted."""
    expected = _variance(sigma) * fit.n_samples * (1.0 - 1.0 / sigma.size)
    return _beyond(fit.misfit, expected, fit.energy)


def data_residual(kspace: KSpace, maps: CoilMaps, image: Complex) -> tuple[float, float]:
    """`data_residuals` of one slice."""
    batch = Batch.of([kspace], [maps], CPU)
    return data_residuals(batch, torch.from_numpy(np.ascontiguousarray(image))[None])[0]


def data_residuals(batch: Batch, images: Tensor) -> list[tuple[float, float]]:
    """Squared norms ``|A x - y|^2`` and ``|y|^2`` on the sampled points of each image c64 (b, r, p)."""
    with torch.inference_mode():
        differences = batch.encoding(images) - batch.data
        norms = torch.stack([_energies(differences), _energies(batch.data)], dim=1).tolist()
    return [(misfit, energy) for misfit, energy in norms]


def _energies(data: Tensor) -> Tensor:
    return torch.view_as_real(data).square().flatten(1).sum(1, dtype=torch.float64)


def network_residual(kspace: KSpace, misfit: float, energy: float) -> float:
    """Part of the measured samples that the network's image leaves unexplained beyond their noise, over them.

    Motion and other contradictions between lines stay in this residual: the network, unlike least squares
    with its one unknown a pixel, does not bend the image to them.
    """
    return _beyond(misfit, _variance(noise_per_coil(kspace)) * _samples_per_coil(kspace), energy)


def _beyond(misfit: float, expected: float, energy: float) -> float:
    return math.sqrt(max(misfit - expected, 0.0) / energy) if energy > 0 else 1.0


def _samples_per_coil(kspace: KSpace) -> float:
    return float(np.count_nonzero(kspace.sampled) * kspace.data[0].size / kspace.sampled.size)


def _variance(sigma: Real) -> float:
    return float((sigma.astype(np.float64) ** 2).sum())


def _centre_energy(kspace: KSpace) -> float:
    energy = (np.abs(kspace.data) ** 2).sum(axis=(0, 1), dtype=np.float64)
    centre, half = energy.size // 2, max(1, round(_CENTRE_FRACTION * energy.size / 2))
    inner = float(energy[max(centre - half, 0) : centre + half + 1].sum())
    total = float(energy.sum())
    return inner / total if total > 0 else 0.0
