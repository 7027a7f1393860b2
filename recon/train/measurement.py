"""What a reconstruction network sees of a batch of slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lfmri_node.recon.method.conditions import Scale, describe
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.solvers import conjugate_gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Undersampled data of a batch of slices with one coil count.

    Parameters
    ----------
    kspace
        c64 (b, c, r, p), zero where not sampled.
    sampled
        bool or float (b, p) for whole phase-encode lines, (b, r, p) for points.
    operator
        A = M F S with the maps that ESPIRiT estimates from the centre lines alone.
    adjoint
        c64 (b, r, p), A^H Y.
    scale
        Noise, level and energy of the data.
    guide
        f32 (b, 1, r, p), a map that takes the place of Net_c's; None for Net_c's own.
    """

    kspace: Tensor
    sampled: Tensor
    operator: SenseOp
    adjoint: Tensor
    scale: Scale
    guide: Tensor | None = None


def undersample(kspace: Tensor, sampled: Tensor, maps: Tensor, noise: Tensor, level: Tensor) -> Measurement:
    """Keep the ``sampled`` lines of fully sampled ``kspace`` c64 (b, c, r, p); maps c64 (b, c, r, p).

    ``noise`` and ``level`` f32 (b,) are those of `conditions.Scale`.

    Notes
    -----
    The mask enters each result once, so that a float mask of a learned sampling gets its full gradient
    in the lines that are off as well: applied twice, its derivative there would be ``2 m = 0``.
    """
    operator = SenseOp(maps, sampled)
    measured = operator.mask * kspace
    energy = torch.view_as_real(measured.detach()).flatten(1).square().sum(1)
    return Measurement(
        kspace=measured,
        sampled=sampled,
        operator=operator,
        adjoint=operator.adjoint(kspace),
        scale=Scale(noise, level, energy),
    )


_WEIGHT, _STEPS = 0.03, 5


@torch.no_grad()
def conditions_of(measurement: Measurement) -> Tensor:
    """`conditions.describe` for the rivals, from the CG-SENSE image that the cascade starts at."""
    operator, adjoint = measurement.operator, measurement.adjoint.detach()
    image = conjugate_gradient(lambda x: operator.gram(x) + _WEIGHT * x, adjoint, None, _STEPS)
    return describe(image, adjoint, operator, measurement.scale)
