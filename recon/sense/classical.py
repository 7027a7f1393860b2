"""Reconstructions without a network: zero-filled, CG-SENSE, wavelets (the fallback), SigPy's L1-wavelet."""

from __future__ import annotations

import numpy as np
import torch
from sigpy.mri.app import L1WaveletRecon

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
    return SenseOp(torch.from_numpy(maps.maps)[None], torch.from_numpy(kspace.sampled)[None])


def zero_filled(kspace: KSpace, maps: CoilMaps) -> Complex:
    """A^H Y, c64 (r, p)."""
    image = operator(kspace, maps).adjoint(torch.from_numpy(kspace.data)[None])[0]
    return np.asarray(image.numpy())


def cg_sense(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = CG_SENSE_LAMBDA,
    n_iterations: int = CG_SENSE_ITERATIONS,
) -> Complex:
    """``argmin 1/2 |A x - y|^2 + lamda/2 |x|^2``, c64 (r, p).

    Source: Pruessmann et al., Magn Reson Med 46 (2001) 638.
    """
    encoding = operator(kspace, maps)
    with torch.inference_mode():
        right = encoding.adjoint(torch.from_numpy(kspace.data)[None])
        image = conjugate_gradient(lambda x: encoding.gram(x) + lamda * x, right, None, n_iterations)
    return np.asarray(image[0].numpy())


def wavelet(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = WAVELET_LAMBDA,
    n_iterations: int = N_ITERATIONS,
) -> Complex:
    """Wavelet-regularised SENSE with random shifts (`wavelets`), c64 (r, p); zero where no coil map is."""
    encoding = operator(kspace, maps)
    with torch.inference_mode():
        adjoint = encoding.adjoint(torch.from_numpy(kspace.data)[None])
        image = wavelet_sense(encoding, adjoint, lamda * adjoint.abs().amax((1, 2)), n_iterations)
    return np.asarray(image[0].numpy())


def l1_wavelet(
    kspace: KSpace,
    maps: CoilMaps,
    lamda: float = L1_WAVELET_LAMBDA,
    n_iterations: int = L1_WAVELET_ITERATIONS,
) -> Complex:
    """SigPy's L1-wavelet regularised SENSE, c64 (r, p); zero for a slice without signal.

    Source: Lustig et al., Magn Reson Med 58 (2007) 1182; implementation SigPy.
    """
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
