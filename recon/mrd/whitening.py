"""Noise covariance of the receive channels and the matrix that whitens it.

Source: Pruessmann et al., MRM 46:638 (2001), section "Noise decorrelation"; bandwidth scaling as in
Kellman and McVeigh, MRM 54:1439 (2005).
"""

from __future__ import annotations

import numpy as np

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.types import Complex

_FLOOR = 1e-6
"""Smallest eigenvalue kept, relative to the mean eigenvalue."""


def noise_covariance(noise: Complex) -> Complex:
    """Covariance c64 (c, c), ``E[n n^H]``, of zero-mean noise samples (c, n)."""
    wide = noise.astype(np.complex128)
    return np.asarray(wide @ wide.conj().T / noise.shape[1], dtype=np.complex64)


def bandwidth_factor(
    noise_dwell_us: float, image_dwell_us: float, relative_noise_bandwidth: float | None
) -> float:
    """Noise variance of an image sample over that of a noise sample.

    The variance is proportional to the receiver bandwidth, hence to the inverse of
    ``sample_time_us``. The noise scan takes in the slopes of the receiver's filter and therefore
    only ``relativeReceiverNoiseBandwidth`` of the full bandwidth's noise; image samples, after
    removal of the oversampling, lie on its plateau. 1 where a dwell time is not given.
    """
    if noise_dwell_us <= 0 or image_dwell_us <= 0:
        return 1.0
    relative = relative_noise_bandwidth if relative_noise_bandwidth else 1.0
    return noise_dwell_us / image_dwell_us / relative


def whitening_matrix(covariance: Complex) -> Complex | None:
    """Lower triangular W c64 (c, c) with ``W covariance W^H = 1`` (inverse Cholesky factor).

    A singular covariance (a dead channel, channels that are copies, fewer noise samples than
    channels) has its eigenvalues raised to 1e-6 of their mean first, so that directions without
    noise are amplified at most a thousandfold. Without any noise there is nothing to whiten: None.

    Raises
    ------
    InvalidRawData
        LF-RAW-015 when the covariance is not finite.
    """
    wide = covariance.astype(np.complex128)
    if not np.isfinite(wide).all():
        raise InvalidRawData(
            "LF-RAW-015",
            "the noise covariance is not finite",
            "repeat the noise scan",
        )
    values, vectors = np.linalg.eigh((wide + wide.conj().T) / 2)
    mean = float(values.mean())
    if mean <= 0:
        return None
    raised = (vectors * np.maximum(values, _FLOOR * mean)) @ vectors.conj().T
    return np.asarray(np.linalg.inv(np.linalg.cholesky(raised)), dtype=np.complex64)
