"""A measurement in a few numbers, from which each stage of the cascade sets its weights.

[our reading] One fixed penalty cannot serve 4x and 8x, 4 coils and 16, clean and noisy data. Each number is
free of the scale of the data and is clamped to the range of the training, so that nothing outside it moves a
weight further than training did.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lfmri_node.recon.sense.operators import SenseOp

N_CONDITIONS = 4
_CLAMP = 1.5
_TINY = 1e-20


class Scale(NamedTuple):
    """What else is known of the data Y of a batch, each f32 (b,).

    ``noise`` is the standard deviation of the complex noise of a sample, ``level`` the magnitude of the
    brightest tissue of the slice in units of the image, ``energy`` is ``|Y|^2``.
    """

    noise: Tensor
    level: Tensor
    energy: Tensor

    def to(self, device: torch.device) -> Scale:
        """On another device."""
        return Scale(*(value.to(device) for value in self))


@torch.no_grad()
def describe(image: Tensor, adjoint: Tensor, operator: SenseOp, scale: Scale) -> Tensor:
    """f32 (b, N_CONDITIONS), each about within -1 and 1 in training, clamped to 1.5 either way.

    Octaves of the acceleration around 4x; decades of the noise around a hundredth of the brightest tissue;
    octaves of the number of coils around 8; half the octaves by which the misfit of a least-squares image
    exceeds the noise: maps, motion and phase errors, since noise alone gives about zero.

    Parameters
    ----------
    image
        c64 (b, r, p), a least-squares image; its misfit is ``|A X|^2 - 2 Re <X, A^H Y> + |Y|^2``.
    adjoint
        c64 (b, r, p), A^H Y.
    """
    n_coils = operator.maps.shape[1]
    share = operator.mask.flatten(1).mean(1)
    twice = operator.gram(image) - 2 * adjoint
    inner = torch.view_as_real(image) * torch.view_as_real(twice)
    misfit = inner.flatten(1).sum(1, dtype=torch.float64) + scale.energy
    per_sample = misfit.clamp_min(0.0) / (share * operator.maps[0].numel()).clamp_min(1.0)
    numbers = (
        -torch.log2(share.clamp_min(_TINY)) - 2.0,
        torch.log10((scale.noise / scale.level.clamp_min(_TINY)).clamp_min(1e-5)) + 2.0,
        torch.full_like(share, float(n_coils)).log2() - 3.0,
        0.25 * torch.log2((per_sample / scale.noise.square().clamp_min(_TINY)).clamp_min(1e-6)),
    )
    return torch.stack([number.to(torch.float32) for number in numbers], dim=1).clamp(-_CLAMP, _CLAMP)
