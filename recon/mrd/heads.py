"""The head of an acquisition: flags, samples, counters.

Flag numbers and counters are those of the ISMRMRD format (``ismrmrd.h``: flag n is bit n - 1).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
_LINE_KEY = ("contrast", "repetition", "slice", "kspace_encode_step_1", "kspace_encode_step_2", "average")


class Flag(IntEnum):
    """Acquisition flags that decide what a readout is used for."""

    NOISE_MEASUREMENT = 19
    PARALLEL_CALIBRATION = 20
    PARALLEL_CALIBRATION_AND_IMAGING = 21
    REVERSE = 22
    NAVIGATION_DATA = 23
    PHASECORR_DATA = 24
    HPFEEDBACK_DATA = 26
    DUMMYSCAN_DATA = 27
    RTFEEDBACK_DATA = 28
    SURFACECOILCORRECTIONSCAN_DATA = 29
    PHASE_STABILIZATION_REFERENCE = 30
    PHASE_STABILIZATION = 31
    COMPRESSION1 = 53
    COMPRESSION2 = 54
    COMPRESSION3 = 55
    COMPRESSION4 = 56


def flagged(heads: NDArray[Any], *flags: Flag) -> Mask:
    """bool (n,): acquisitions that carry any of ``flags``."""
    bits = sum(1 << (flag - 1) for flag in flags)
    return np.asarray((heads["flags"] & np.uint64(bits)) != 0)


def readout_span(heads: NDArray[Any]) -> NDArray[np.int64]:
    """i64 (n, 2): samples before the echo and from it on, in order of k, discarded ones left out."""
    n_samples, turned = heads["number_of_samples"].astype(np.int64), flagged(heads, Flag.REVERSE)
    center = heads["center_sample"].astype(np.int64)
    center = np.where(center == 0, n_samples // 2, center)
    before = center - heads["discard_pre"]
    after = n_samples - center - heads["discard_post"]
    # turned, the sample of the echo itself changes sides
    return np.where(
        turned[:, None], np.stack([after - 1, before + 1], axis=1), np.stack([before, after], axis=1)
    )


def line_keys(idx: NDArray[Any]) -> NDArray[np.int64]:
    """i64 (n, 6): the counters that tell one record of a line from all others."""
    return np.stack([idx[name].astype(np.int64) for name in _LINE_KEY], axis=1)
