"""Coil compression: fewer virtual coils that keep most of the signal."""

from __future__ import annotations

import numpy as np

from lfmri_node.recon.sense.coilmaps import calibration_data
from lfmri_node.recon.types import Complex, KSpace


def compress(kspace: KSpace, n_coils: int | None) -> KSpace:
    """Keep the ``n_coils`` strongest combinations of coils; None, or no fewer coils, changes nothing.

    The combinations are the leading eigenvectors of the coil covariance of the calibration data, so
    whitened noise stays white. Source: Buehrer et al., Magn Reson Med 57 (2007) 1131. Raises
    UnsupportedAcquisition (LF-CAL-001) where the centre of k-space is not sampled.
    """
    if n_coils is None or n_coils >= kspace.data.shape[0]:
        return kspace
    samples = calibration_data(kspace).reshape(kspace.data.shape[0], -1)
    _, vectors = np.linalg.eigh(samples @ samples.conj().T)
    matrix = vectors[:, : -n_coils - 1 : -1].conj().T

    def combine(data: Complex) -> Complex:
        return np.tensordot(matrix, data, axes=1).astype(np.complex64)

    separate = kspace.calibration
    return KSpace(
        data=combine(kspace.data),
        sampled=kspace.sampled,
        calibration=None if separate is None else combine(separate),
    )
