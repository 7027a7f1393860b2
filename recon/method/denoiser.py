"""The body shared by D_w and G_u: a small residual U-Net on the two real channels of a complex image.

[paper] D_w and G_u have the same architecture and different inputs. [our reading] U-Net with
instance norm and a residual output, as in a sibling paper of the same group; the scale of each slice,
and where the configuration says so its smooth phase, are taken out before the body and put back after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.method.conditions import N_CONDITIONS

_TINY = 1e-30
_WINDOW = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """Shape of the body.

    Parameters
    ----------
    channels
        Feature channels at each resolution, finest first; each further level halves the image.
    demodulate
        Take the smooth phase of the image out before the body and put it back after it.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    demodulate: bool = False


class Block(nn.Module):
    """Two convolutions; the gain and the bias of the second norm follow the conditions of the measurement.

    f32 or bf16 (b, n_in, r, p), conditions f32 (b, n) -> (b, n_out, r, p). A norm a channel is the group norm
    of as many groups as channels: three times as fast as torch's instance norm on the processor. Source of
    the modulation: Perez et al., FiLM, AAAI 2018; it starts at none.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.GroupNorm(n_out, n_out),
            nn.SiLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.GroupNorm(n_out, n_out),
        )
        self.modulation = nn.Linear(N_CONDITIONS, 2 * n_out, bias=False)
        nn.init.zeros_(self.modulation.weight)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        *before, norm = self.first
        assert isinstance(norm, nn.GroupNorm)
        for step in before:
            x = step(x)
        gain, bias = self.modulation(conditions).chunk(2, dim=1)
        weight, shift = norm.weight * (1 + gain), norm.bias * (1 + gain) + bias
        return functional.silu(_normed(x, weight, shift, norm.eps), inplace=True)


def _normed(x: Tensor, weight: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Group norm of every channel of every slice by itself, with weight and shift (b, c) of its own."""
    n = weight.numel()
    if len(x) == 1:  # a view would lose the order in memory that the convolutions chose
        return functional.group_norm(x, n, weight[0], shift[0], eps)
    groups = x.reshape(1, n, *x.shape[2:])
    return functional.group_norm(groups, n, weight.flatten(), shift.flatten(), eps).view(x.shape)


class ResidualUNet(nn.Module):
    """f32 (b, n_in, r, p), conditions f32 (b, n) -> f32 (b, 2, r, p). Odd sizes are padded and cropped back.

    The last convolution starts at zero, so an untrained body is the identity of the residual.
    """

    def __init__(self, n_in: int, config: DenoiserConfig) -> None:
        super().__init__()
        widths = config.channels
        self.down = nn.ModuleList(
            Block(before, width) for before, width in zip((n_in, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            Block(wide + narrow, narrow) for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], 2, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        step = 2 ** len(self.up)
        x = functional.pad(x, (0, -columns % step, 0, -rows % step))
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if i else x, conditions)
            skips.append(x)
        skips.pop()
        for block in self.up:
            finer = skips.pop()
            x = block(torch.cat((functional.interpolate(x, scale_factor=2.0), finer), dim=1), conditions)
        return cast(Tensor, self.out(x))[..., :rows, :columns]


def slice_scale(image: Tensor) -> Tensor:
    """Root mean square of each slice of c64 (b, r, p), shaped (b, 1, 1), in any unit.

    Next to nothing for zeros, so that what is computed in this unit comes back as zeros.
    """
    norm: Tensor = torch.linalg.vector_norm(image, dim=(-2, -1), keepdim=True)
    return (norm / math.sqrt(image[0].numel())).clamp_min(_TINY)


def smooth_phase(image: Tensor) -> Tensor:
    """Unit-magnitude c64 (b, r, p): the phase of the image's local sum, two passes of a 9 x 9 window.

    [our reading] The phase of an MR image is smooth and arbitrary. With it taken out, the real channel holds
    nearly all of the signal, and a network need not learn every contrast once for every phase: in our
    training the loss began to fall within tens of steps instead of hundreds.
    """
    local = image.detach()
    for _ in range(2):
        local = _running_sum(_running_sum(local, -2), -1)
    return local / local.abs().clamp_min(_TINY)


def _running_sum(x: Tensor, dim: int) -> Tensor:
    """Sum over the 9 entries around each along ``dim``, fewer at the ends: a difference of running sums."""
    n, half = x.shape[dim], _WINDOW // 2
    total = torch.cumsum(x, dim)
    upper = total.index_select(dim, torch.arange(n, device=x.device).add(half).clamp_max(n - 1))
    lower = total.narrow(dim, 0, max(n - half - 1, 0))
    before = x.new_zeros([min(half + 1, n) if i == dim % x.ndim else size for i, size in enumerate(x.shape)])
    return upper - torch.cat((before, lower), dim)


class Denoiser(nn.Module):
    """X c64 (b, r, p), conditions f32 (b, n), further images, C f32 (b, 1, r, p) -> image c64 (b, r, p).

    D(a X) = a D(X) for a > 0 where all images are scaled alike; where it demodulates, also for any complex a.
    D_w sees X and the start of the cascade; G_u also the activation map.
    """

    def __init__(self, config: DenoiserConfig, *, n_images: int, guided: bool) -> None:
        super().__init__()
        self.body = ResidualUNet(2 * n_images + guided, config)
        self.demodulate = config.demodulate

    def narrow(self) -> None:
        """From here on the convolutions of the body are in bfloat16, channels last in memory."""
        for module in self.body.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(
        self, image: Tensor, conditions: Tensor, *others: Tensor, guide: Tensor | None = None
    ) -> Tensor:
        scale = slice_scale(image)
        phase = smooth_phase(image) if self.demodulate else torch.ones_like(image)
        turn = phase.conj() / scale
        channels = [torch.view_as_real(x * turn).movedim(-1, 1) for x in (image, *others)]
        if guide is not None:
            channels.append(guide)
        residual = self.body(torch.cat(channels, dim=1).to(self.body.out.weight.dtype), conditions)
        real_last = residual.movedim(1, -1).to(torch.float32).contiguous()
        return image + scale * phase * torch.view_as_complex(real_last)
