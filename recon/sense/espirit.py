"""ESPIRiT: coil sensitivities as eigenvectors, from a calibration square, on a grid of any size.

The same numbers as SigPy's `EspiritCalib` with its defaults, the oracle of the tests, by a shorter way. SigPy
transforms every kernel to the grid and sums outer products pixel by pixel. Here the sum over the kernels is
taken first, where it is small: pixel by pixel it is a trigonometric polynomial, whose coefficients are the
autocorrelation of the kernels. Its powers by squaring take the place of most of a hundred power iterations.

Source: Uecker et al., ESPIRiT, Magn Reson Med 71 (2014) 990; the autocorrelation: BART's ``ecalib``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from lfmri_node.recon.types import Complex, Real

_THRESHOLD = 0.02
"""Singular values of the calibration matrix below this, relative to the largest, count as noise."""
_SQUARINGS, _JUMPS = 5, 3
"""``3 (2^5 + 1) + 1`` power iterations, as SigPy's 100."""
_TINY = 1e-30


def espirit(data: Complex, grid: tuple[int, int], kernel: int) -> tuple[Complex, Real]:
    """Maps c64 (c, h, w) of any phase and unit sum of squares, and their eigenvalue f32 (h, w).

    Parameters
    ----------
    data
        c64 (c, n, n), the calibration square, zero frequency at index n // 2.
    grid
        (h, w) of the maps, zero position at index n // 2.
    kernel
        Side of the kernels, at most n.
    """
    with torch.inference_mode():
        coefficients = _autocorrelation(_projection(data, kernel), data.shape[0], kernel)
        rows, columns = (_series(n, kernel) for n in grid)
        matrices = (rows @ coefficients @ columns.mT / kernel**2).permute(2, 3, 0, 1).flatten(0, 1)
        vectors, values = _strongest(matrices.contiguous())
    maps = vectors.T.reshape(-1, *grid).numpy()
    return maps, values.reshape(grid).numpy()


def _projection(data: Complex, kernel: int) -> Tensor:
    """Projection c64 (c k k, c k k) on what the kernels span: the row space of the calibration matrix."""
    blocks = sliding_window_view(data / np.abs(data).max(), (kernel, kernel), axis=(1, 2))
    calibration = torch.from_numpy(
        np.ascontiguousarray(blocks.transpose(1, 2, 0, 3, 4)).reshape(-1, data.shape[0] * kernel**2)
    )
    wide = calibration.shape[0] < calibration.shape[1]
    squares, vectors = torch.linalg.eigh(
        calibration @ calibration.mH if wide else calibration.mH @ calibration
    )
    kept = squares > _THRESHOLD**2 * squares[-1]
    vectors = vectors[:, kept]
    kernels: Tensor = calibration.mH @ (vectors / squares[kept].sqrt()) if wide else vectors
    return kernels.conj() @ kernels.mT


def _autocorrelation(projection: Tensor, n_coils: int, kernel: int) -> Tensor:
    """Sum of the projection c64 (c, c, 2 k - 1, 2 k - 1) over entries of one displacement."""
    parts = projection.reshape(n_coils, kernel, kernel, n_coils, kernel, kernel)
    total = projection.new_zeros((n_coils, n_coils, 2 * kernel - 1, 2 * kernel - 1))
    for i in range(kernel):
        for j in range(kernel):
            rows, columns = (slice(kernel - 1 - n, 2 * kernel - 1 - n) for n in (i, j))
            total[:, :, rows, columns] += parts[..., i, j].permute(0, 3, 1, 2)
    return total


def _series(n: int, kernel: int) -> Tensor:
    """Exponentials c64 (n, 2 k - 1) of the displacements ``1 - k`` to ``k - 1`` at ``n`` positions."""
    position, displacement = np.arange(n) - n // 2, np.arange(1 - kernel, kernel)
    return torch.from_numpy(np.exp(2j * np.pi * np.outer(position, displacement) / n).astype(np.complex64))


def _strongest(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue f32 (n,) and its vector c64 (n, c) of Hermitian c64 (n, c, c), from ones."""
    jump = matrices
    for _ in range(_SQUARINGS):
        trace = jump.diagonal(dim1=1, dim2=2).real.sum(1)  # without it powers of small ones would vanish
        jump = jump / trace.clamp_min(_TINY)[:, None, None]
        jump = jump @ jump
    jump = jump @ matrices
    vectors = torch.ones_like(matrices[..., :1])
    for matrix in (*[jump] * _JUMPS, matrices):
        vectors = matrix @ vectors
        norm = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        vectors = vectors / norm.clamp_min(_TINY)
    return vectors[..., 0], norm[:, 0, 0]
