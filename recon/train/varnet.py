"""E2E-VarNet: cascades in k-space with soft data consistency, coil maps from a network of their own.

Source: Sriram et al., End-to-End Variational Networks for Accelerated MRI Reconstruction, MICCAI 2020,
arXiv 2004.06688. Differences: the U-Net is that of `recon.denoiser`; the image that
is compared with the truth is combined with the operator's maps instead of by root sum of squares.
Line sampling leaves the readout transform out: k-space is held inverse-transformed along the readout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.method.cascade import StageOutput
from lfmri_node.recon.method.denoiser import Denoiser, DenoiserConfig, slice_scale
from lfmri_node.recon.sense.operators import fft_centred, ifft_centred
from lfmri_node.recon.train.measurement import Measurement, conditions_of

_FLOOR = 1e-6
"""Lowest root sum of squares of the coils, in units of the slice's, that is scaled to one."""


def _central_run(sampled: Tensor) -> Tensor:
    """f32 (b, n): the unbroken run of sampled entries around index ``n // 2``, equally far on both sides."""
    on = (sampled.detach() > 0.5).to(torch.float32)
    half = on.shape[-1] // 2
    below = torch.cumprod(on[:, :half].flip(-1), -1)
    above = torch.cumprod(on[:, half : 2 * half], -1)
    both = below * above
    return functional.pad(torch.cat((both.flip(-1), both), -1), (0, on.shape[-1] % 2))


def centre_weight(sampled: Tensor) -> Tensor:
    """The fully sampled centre of a mask, f32 (b, 1, 1, p) of lines (b, p), (b, 1, r, p) of points (b, r, p).

    For points, the box that the central row and the central column span, where it is sampled.
    """
    if sampled.ndim == 2:
        return _central_run(sampled)[:, None, None, :]
    rows = _central_run(sampled[:, :, sampled.shape[2] // 2])
    columns = _central_run(sampled[:, sampled.shape[1] // 2, :])
    box = rows[:, :, None] * columns[:, None, :] * sampled.detach()
    return box[:, None]


class SensitivityNet(nn.Module):
    """Coil maps from coil images of the centre lines: one U-Net for every coil, then unit sum of squares.

    The U-Net starts as the identity, so that untrained maps are the coil images
    over their root sum of squares.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.refine = Denoiser(DenoiserConfig(channels=channels, demodulate=True), n_images=1, guided=False)

    def forward(self, coils: Tensor, conditions: Tensor) -> Tensor:
        """c64 (b, c, r, p) -> c64 (b, c, r, p); zero in a slice without signal."""
        each = conditions.repeat_interleave(coils.shape[1], dim=0)
        maps: Tensor = self.refine(coils.flatten(0, 1), each).unflatten(0, coils.shape[:2])
        total = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
        return maps / torch.maximum(total, _FLOOR * slice_scale(total[:, 0].detach())[:, None])


class KspaceCascade(nn.Module):
    """``k <- k - eta M (k - Y) + F E G(R F^-1 k)``: soft data consistency and refinement.

    R combines the coils with the maps, E spreads the image over them; G is a U-Net that starts at zero.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.refine = Denoiser(DenoiserConfig(channels=channels, demodulate=True), n_images=1, guided=False)
        self.eta = nn.Parameter(torch.tensor(1.0))

    def forward(
        self,
        k: Tensor,
        data: Tensor,
        mask: Tensor,
        maps: Tensor,
        conditions: Tensor,
        dims: tuple[int, ...],
    ) -> Tensor:
        """Next k-space c64 (b, c, r, p), a Fourier space along ``dims``; ``data`` is zero off ``mask``."""
        reduced = (maps.conj() * ifft_centred(k, dims)).sum(1)
        refinement = self.refine(reduced, conditions) - reduced
        return k - self.eta * (mask * k - data) + fft_centred(maps * refinement[:, None], dims)


class VarNet(nn.Module):
    """E2E-VarNet.

    Parameters
    ----------
    n_cascades
        Cascades (twelve in the paper), with weights of their own.
    channels, sensitivity_channels
        Feature channels of the U-Nets at each resolution, finest first.
    """

    def __init__(
        self, n_cascades: int, channels: tuple[int, ...], sensitivity_channels: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.sensitivity = SensitivityNet(sensitivity_channels)
        self.cascades = nn.ModuleList(KspaceCascade(channels) for _ in range(n_cascades))

    def forward(self, measurement: Measurement) -> list[StageOutput]:
        """One output a cascade, c64 (b, r, p): ``sum_c conj(S_c) F^-1 k_c`` with the operator's maps S."""
        lines = measurement.sampled.ndim == 2
        dims: tuple[int, ...] = (-1,) if lines else (-2, -1)
        data = ifft_centred(measurement.kspace, (-2,)) if lines else measurement.kspace
        mask, combine = measurement.operator.mask, measurement.operator.maps.conj()
        conditions = conditions_of(measurement)
        centre = ifft_centred(centre_weight(measurement.sampled) * data, dims)
        maps = self.sensitivity(centre, conditions)
        k, outputs = data, []
        for cascade in self.cascades:
            k = cascade(k, data, mask, maps, conditions, dims)
            outputs.append(StageOutput((combine * ifft_centred(k, dims)).sum(1), None, None))
        return outputs
