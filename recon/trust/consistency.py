"""How well the calibration samples of a slice agree with one set of coil maps.

A square of ``side`` samples around the centre of k-space holds most of a slice's energy, far above the noise,
and all of it was measured: with c coils there are c samples for each unknown. So the least-squares image of
that square alone tells whether its lines belong together, whatever the acceleration. Pixels of truncated coil
images are no such test: they disagree with the maps by the truncation alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lfmri_node.recon.compute import CPU
from lfmri_node.recon.sense.coilmaps import CoarseMaps, calibration_data, calibration_images
from lfmri_node.recon.sense.operators import SenseOp, fft_centred, ifft_centred
from lfmri_node.recon.sense.solvers import conjugate_gradient
from lfmri_node.recon.types import KSpace, Real

_REACH = 2
_RIDGE, _ITERATIONS = 0.003, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFit:
    """Least-squares image of the calibration square.

    Parameters
    ----------
    image
        Magnitude f32 (h, w) on the grid of the coarse maps, in units of the image of the full grid.
    misfit, energy
        ``|A x - y|^2`` and ``|y|^2`` on the square.
    n_samples
        Samples of one coil.
    """

    image: Real
    misfit: float
    energy: float
    n_samples: int


def fit_calibration(kspace: KSpace, coarse: CoarseMaps) -> CalibrationFit:
    """``argmin |A x - y|^2 + 0.003 |x|^2`` over images whose spectrum reaches two samples beyond the square.

    Coil maps smear the spectrum: samples inside the square hold some of the image's spectrum outside it. [our
    reading] Two samples beyond are what maps of ESPIRiT's kernels need and few coils still determine.
    Raises UnsupportedAcquisition (LF-CAL-001) where the centre is not sampled.
    """
    side = calibration_data(kspace).shape[1]
    grid = (coarse.maps.shape[1], coarse.maps.shape[2])
    square, band = (_square(n, grid) for n in (side, side + 2 * _REACH))
    encoding = SenseOp(torch.from_numpy(coarse.maps)[None], square)
    with torch.inference_mode():
        data = fft_centred(torch.from_numpy(calibration_images(kspace, grid))[None])
        right = _low_pass(encoding.adjoint(data), band)
        image = conjugate_gradient(
            lambda x: _low_pass(encoding.gram(x), band) + _RIDGE * x,
            right,
            None,
            _ITERATIONS,
        )
        misfit = float((encoding(image) - data).abs().square().sum())
        energy = float(data.abs().square().sum())
    scale = np.float32(np.sqrt(np.prod(grid) / np.prod(kspace.data.shape[1:])))
    return CalibrationFit(
        image=image[0].abs().numpy() * scale, misfit=misfit, energy=energy, n_samples=side * side
    )


def _square(side: int, grid: tuple[int, int]) -> Tensor:
    """bool (1, h, w): ``side`` samples around index n // 2 along both axes, all where there are fewer."""
    places = (torch.arange(n, device=CPU) - n // 2 + side // 2 for n in grid)
    rows, columns = ((place >= 0) & (place < side) for place in places)
    return (rows[:, None] & columns[None, :])[None]


def _low_pass(image: Tensor, band: Tensor) -> Tensor:
    return ifft_centred(band * fft_centred(image))
