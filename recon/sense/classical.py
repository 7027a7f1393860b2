"""Reconstructions without a network: zero-filled, CG-SENSE, wavelets (the fallback), SigPy's L1-wavelet.

What ends in ``_of`` works on a `Batch` where that is; the others are the same for one slice of numpy arrays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lfmri_node.recon.compute import CPU
from lfmri_node.recon.sense.batch import Batch
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.solvers import conjugate_gradient
from lfmri_node.recon.sense.wavelets import N_ITERATIONS, wavelet_sense
from lfmri_node.recon.types import Bool, CoilMaps, Complex, KSpace

CG_SENSE_LAMBDA = 0.01
CG_SENSE_ITERATIONS = 30
WAVELET_LAMBDA = 0.002
"""Weight of the wavelet norm in units of the brightest pixel of A^H Y."""
L1_WAVELET_LAMBDA = 0.004
"""The same of SigPy's."""
L1_WAVELET_ITERATIONS = 80


def operator(kspace: KSpace, maps: CoilMaps) -> SenseOp:
    """A = M F S of one slice, with a batch axis of one."""
    return Batch.of([kspace], [maps], CPU).encoding


def zero_filled(kspace: KSpace, maps: CoilMaps) -> Complex:
    """A^H Y, c64 (r, p)."""
    return _only(Batch.of([kspace], [maps], CPU).adjoint())


def cg_sense_of(
    batch: Batch, lamda: float = CG_SENSE_LAMBDA, n_iterations: int = CG_SENSE_ITERATIONS
) -> Tensor:
    """``argmin 1/2 |A x - y|^2 + lamda/2 |x|^2``, c64 (b, r, p).

    Source: Pruessmann et al., Magn Reson Med 46 (2001) 638.
    """
    gram = batch.encoding.gram
    with torch.inference_mode():
        return conjugate_gradient(lambda x: gram(x) + lamda * x, batch.adjoint(), None, n_iterations)


def cg_sense(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = CG_SENSE_LAMBDA,
    n_iterations: int = CG_SENSE_ITERATIONS,
) -> Complex:
    """`cg_sense_of` one slice, c64 (r, p)."""
    return _only(cg_sense_of(Batch.of([kspace], [maps], CPU), lamda, n_iterations))


def wavelet_of(batch: Batch, lamda: float = WAVELET_LAMBDA, n_iterations: int = N_ITERATIONS) -> Tensor:
    """Wavelet-regularised SENSE with random shifts (`wavelets`), c64 (b, r, p); zero where no coil map is."""
    with torch.inference_mode():
        adjoint = batch.adjoint()
        return wavelet_sense(batch.encoding, adjoint, lamda * adjoint.abs().amax((1, 2)), n_iterations)


def wavelet(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = WAVELET_LAMBDA,
    n_iterations: int = N_ITERATIONS,
) -> Complex:
    """`wavelet_of` one slice, c64 (r, p)."""
    return _only(wavelet_of(Batch.of([kspace], [maps], CPU), lamda, n_iterations))


def _only(images: Tensor) -> Complex:
    return np.asarray(images[0].numpy())


def l1_wavelet(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = L1_WAVELET_LAMBDA,
    n_iterations: int = L1_WAVELET_ITERATIONS,
) -> Complex:
    """SigPy's L1-wavelet regularised SENSE, c64 (r, p); zero for a slice without signal.

    Source: Lustig et al., Magn Reson Med 58 (2007) 1182; implementation SigPy.
    """
    from sigpy.mri.app import L1WaveletRecon  # seconds and hundreds of MB that most sites do without

    scale = float(np.abs(zero_filled(kspace, maps)).max())
    if scale == 0.0:
        return np.zeros(kspace.data.shape[1:], dtype=np.complex64)
    weights = _grid(kspace.sampled, kspace.data.shape).astype(np.float32)
    app = L1WaveletRecon(
        kspace.data / scale, maps.maps, lamda, weights=weights, max_iter=n_iterations, show_pbar=False
    )
    return np.asarray(app.run() * scale, dtype=np.complex64)


def _grid(sampled: Bool, shape: tuple[int, ...]) -> Bool:
    """``sampled`` on the (c, r, p) grid of the data."""
    return np.broadcast_to(sampled, shape)
