"""The body shared by D_w and G_u: a small residual U-Net on the two real channels of a complex image.

[paper] D_w and G_u have the same architecture and different inputs. [our reading] U-Net with
instance norm and a residual output, as in a sibling paper of the same group; the scale of each slice,
and where the configuration says so its smooth phase, are taken out before the body and put back after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS, _TINY = 1e-6, 1e-30


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


def _convolutions(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.InstanceNorm2d(n_out, affine=True),
        nn.SiLU(inplace=True),
        nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        nn.InstanceNorm2d(n_out, affine=True),
        nn.SiLU(inplace=True),
    )


class ResidualUNet(nn.Module):
    """f32 (b, n_in, r, p) -> f32 (b, 2, r, p). Any r, p: odd sizes are padded and cropped back.

    The last convolution starts at zero, so an untrained body is the identity of the residual.
    """

    def __init__(self, n_in: int, config: DenoiserConfig) -> None:
        super().__init__()
        widths = config.channels
        self.down = nn.ModuleList(
            _convolutions(before, width) for before, width in zip((n_in, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            _convolutions(wide + narrow, narrow)
            for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], 2, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        step = 2 ** len(self.up)
        x = functional.pad(x, (0, -columns % step, 0, -rows % step))
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            finer = skips.pop()
            x = block(torch.cat((functional.interpolate(x, scale_factor=2.0), finer), dim=1))
        return self.out(x)[..., :rows, :columns]


def slice_scale(image: Tensor) -> Tensor:
    """Root mean square of each slice of c64 (b, r, p), shaped (b, 1, 1); positive also for zero slices."""
    return torch.linalg.vector_norm(image, dim=(-2, -1), keepdim=True) / image[0].numel() ** 0.5 + _EPS


def smooth_phase(image: Tensor) -> Tensor:
    """Unit-magnitude c64 (b, r, p): the phase of the image's local mean, two passes of a 9 x 9 window.

    [our reading] The phase of an MR image is smooth and arbitrary. With it taken out, the real channel holds
    nearly all of the signal, and a network need not learn every contrast once for every phase: in our
    training the loss began to fall within tens of steps instead of hundreds.
    """
    parts = torch.view_as_real(image.detach()).movedim(-1, 1)
    for _ in range(2):  # row means of column means: one mean over the window, at a fifth of its cost
        parts = functional.avg_pool2d(parts, (9, 1), stride=1, padding=(4, 0), count_include_pad=False)
        parts = functional.avg_pool2d(parts, (1, 9), stride=1, padding=(0, 4), count_include_pad=False)
    mean = torch.view_as_complex(parts.movedim(1, -1).contiguous())
    return mean / mean.abs().clamp_min(_TINY)


class Denoiser(nn.Module):
    """X c64 (b, r, p) [, C f32 (b, 1, r, p)] -> image c64 (b, r, p); D(a X) = a D(X) for a > 0.

    Where it demodulates, also for any complex a.

    D_w with ``guided=False``. With ``guided=True`` it is the body of G_u, which sees the activation
    map as a third channel; without a map it sees an empty one.
    """

    def __init__(self, config: DenoiserConfig, *, guided: bool) -> None:
        super().__init__()
        self.guided = guided
        self.body = ResidualUNet(3 if guided else 2, config)
        self.demodulate = config.demodulate

    def forward(self, image: Tensor, guide: Tensor | None = None) -> Tensor:
        scale = slice_scale(image)
        phase = smooth_phase(image) if self.demodulate else torch.ones_like(image)
        channels = torch.view_as_real(image / scale * phase.conj()).movedim(-1, 1)
        if self.guided:
            seen = torch.zeros_like(channels[:, :1]) if guide is None else guide
            channels = torch.cat((channels, seen), dim=1)
        residual = self.body(channels)
        real_last = residual.movedim(1, -1).to(torch.float32).contiguous()
        return image + scale * phase * torch.view_as_complex(real_last)
