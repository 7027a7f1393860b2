"""The conventions that can be told apart by their images, and what is known of them by vendor.

Facts
-----
- Reversing k about ``n // 2`` turns the image about voxel ``n // 2``: exact, for even and odd n, with no
  shift. `fourier.reverse_axis` does it to samples, `turned` to an image.
- ``fft_sign = 1`` reverses every encoded axis, a flip one of them: the sign with all flips is the sign
  without any, so of 8 settings of a 2-D scan 4 differ (of 16 of a 3-D scan 8).
- A scanner whose samples are the complex conjugates of the signal equation shows the conjugate of the
  turned image: the same magnitude, the opposite phase. No key is needed for it, as only magnitudes
  are delivered.
- Lines counted from the other end about (n - 1) / 2 instead of n // 2 differ from a flip by one sample
  of k-space: a phase ramp in the image, nothing in its magnitude. An image turned about (n - 1) / 2
  differs by one voxel, which moves the anatomy by one voxel and is no matter of these keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.types import Convention

_CAUTIONS = {
    "siemens": "mirrored images were reported for converted data of this vendor, SIEMENS, with this sign",
}
"""``systemVendor`` in lower case, its beginning -> what is known against reading it unturned.

Source: PTB-MR/mrpro issue 828 and pull request 833, found there on a scanner; not tried by us.
"""


def with_caution(convention: Convention, vendor: str | None) -> Convention:
    """The convention with what is known against it for data of ``vendor``; never another convention."""
    if any(convention.reversed_axes):
        return convention
    name = (vendor or "").strip().lower()
    known = next((text for start, text in _CAUTIONS.items() if name.startswith(start)), "")
    return replace(convention, caution=known)


def distinguishable(*, three_dimensional: bool) -> tuple[Convention, ...]:
    """One convention for each image that can come of a scan, each with as few keys as can say it.

    The first changes nothing. Along an axis that is not encoded nothing can be told apart.
    """
    flips = [
        (r, p, z)
        for z in ((False, True) if three_dimensional else (False,))
        for p in (False, True)
        for r in (False, True)
    ]
    every = (True, True, three_dimensional)
    return tuple(
        Convention(fft_sign=1)
        if flip == every
        else Convention(flip_readout=flip[0], flip_phase=flip[1], flip_partition=flip[2])
        for flip in flips
    )


def same_image(one: Convention, other: Convention, *, three_dimensional: bool) -> bool:
    """Whether both give the same image of a scan."""
    n_axes = 3 if three_dimensional else 2
    return one.reversed_axes[:n_axes] == other.reversed_axes[:n_axes]


def turned(volume: NDArray[Any], axes: tuple[bool, bool, bool]) -> NDArray[Any]:
    """An image turned about voxel ``n // 2`` of each axis that ``axes`` names, as reversed k-space shows it.

    Parameters
    ----------
    volume
        (s, r, p) of a 2-D scan, with ``axes`` (False, readout, phase); (r, p, z) of a 3-D scan, with
        (readout, phase, partition).
    """
    for axis, turn in enumerate(axes):
        if turn:
            volume = np.flip(volume, axis)
            volume = np.roll(volume, 1, axis) if volume.shape[axis] % 2 == 0 else volume
    return volume
