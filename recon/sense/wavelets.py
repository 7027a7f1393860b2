"""Orthonormal wavelets, and SENSE regularised by them with random shifts: the fallback of the node.

``argmin 1/2 |A x - y|^2 + weight |W x|_1`` by FISTA. W cuts the image into a fixed grid of blocks, whose
edges would be seen; so every iteration shifts the grid at random and the result is nearly that of a
transform without a grid, at the cost of one with.

Sources: filter: Daubechies, Comm Pure Appl Math 41 (1988) 909; FISTA: Beck and Teboulle, SIAM J Imaging Sci 2
(2009) 183; random shifts: Figueiredo and Nowak, IEEE Trans Image Process 12 (2003) 906; wavelets with SENSE:
Lustig et al., Magn Reson Med 58 (2007) 1182. The same as BART's ``pics -R W`` [our reading].
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lfmri_node.recon.sense.operators import SenseOp

LEVELS = 4
N_ITERATIONS = 60
_ROOT = math.sqrt(3.0)
FILTER = tuple(part / (4.0 * math.sqrt(2.0)) for part in (1.0 + _ROOT, 3.0 + _ROOT, 3.0 - _ROOT, 1.0 - _ROOT))
"""Scaling filter of the Daubechies wavelet with two vanishing moments, in closed form."""


class Coefficients(NamedTuple):
    """Of an image c64 (b, r, p): ``approximation`` f32 (b, 2, 1, h, w) and, finest first, the ``details``
    f32 (b, 2, 3, h, w) of every level; the axis of two holds real and imaginary part."""

    approximation: Tensor
    details: tuple[Tensor, ...]


def _kernels(like: Tensor) -> Tensor:
    """f32 (4, 1, k, k): low-low, low-high, high-low, high-high."""
    low = torch.tensor(FILTER, dtype=like.dtype, device=like.device)
    high = low.flip(0) * torch.tensor([1.0, -1.0], device=like.device).repeat(len(FILTER) // 2)
    return torch.stack([torch.outer(a, b) for a in (low, high) for b in (low, high)])[:, None]


def analyse(image: Tensor, levels: int = LEVELS) -> Coefficients:
    """Periodic wavelet transform of c64 (b, r, p); r and p must be multiples of ``2 ** levels``."""
    kernels, wrap = _kernels(image.real), len(FILTER) - 2
    b = image.shape[0]
    rest = torch.view_as_real(image).movedim(-1, 1).flatten(0, 1)[:, None]
    details = []
    for _ in range(levels):
        bands = F.conv2d(F.pad(rest, (0, wrap, 0, wrap), mode="circular"), kernels, stride=2)
        rest = bands[:, :1]
        details.append(bands[:, 1:].unflatten(0, (b, 2)))
    return Coefficients(rest.unflatten(0, (b, 2)), tuple(details))


def synthesise(coefficients: Coefficients) -> Tensor:
    """Inverse, and adjoint, of `analyse`."""
    kernels, wrap = _kernels(coefficients.approximation), len(FILTER) - 2
    rest = coefficients.approximation.flatten(0, 1)
    for details in reversed(coefficients.details):
        wide = F.conv_transpose2d(torch.cat((rest, details.flatten(0, 1)), 1), kernels, stride=2)
        wide[..., :wrap, :] += wide[..., -wrap:, :]
        wide[..., :wrap] += wide[..., -wrap:]
        rest = wide[..., :-wrap, :-wrap]
    b = coefficients.approximation.shape[0]
    return torch.view_as_complex(rest[:, 0].unflatten(0, (b, 2)).movedim(1, -1).contiguous())


def shrink(image: Tensor, weight: Tensor, shift: tuple[int, int], levels: int = LEVELS) -> Tensor:
    """Proximal step of ``weight |W x|_1``: coefficients of the shifted image, each smaller by ``weight``.

    Parameters
    ----------
    image
        c64 (b, r, p) of any size: rows and columns of zeros are added up to a multiple of ``2 ** levels``.
    weight
        f32 (b,).
    shift
        Rows and columns by which the grid of blocks is displaced.
    """
    n_rows, n_columns = image.shape[1:]
    block = 2**levels
    padded = F.pad(image, (0, -n_columns % block, 0, -n_rows % block))
    coefficients = analyse(torch.roll(padded, shift, (1, 2)), levels)
    threshold = weight.view(-1, 1, 1, 1, 1)
    kept = Coefficients(
        _soft(coefficients.approximation, threshold),
        tuple(_soft(details, threshold) for details in coefficients.details),
    )
    back = torch.roll(synthesise(kept), (-shift[0], -shift[1]), (1, 2))
    return back[:, :n_rows, :n_columns]


def _soft(values: Tensor, threshold: Tensor) -> Tensor:
    """Complex soft threshold of (b, 2, k, h, w); zero stays zero."""
    magnitude = values.square().sum(1, keepdim=True).sqrt_()
    return values * (1.0 - threshold / magnitude.clamp_min(1e-30)).clamp_min_(0.0)


def wavelet_sense(
    encoding: SenseOp,
    adjoint: Tensor,
    weight: Tensor,
    n_iterations: int = N_ITERATIONS,
    start: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Wavelet-regularised image c64 (b, r, p), zero outside the support of the maps.

    Parameters
    ----------
    encoding
        A with maps of unit sum of squares, so that ``|A| <= 1`` and a step of one converges.
    adjoint
        ``A^H y``, c64 (b, r, p).
    weight
        f32 (b,), in the unit of the image.
    start
        First guess c64 (b, r, p); zero where None.
    seed
        Of the shifts.
    """
    support = (encoding.maps != 0).any(1)
    shifts = random.Random(seed)
    image = torch.zeros_like(adjoint) if start is None else start
    point, momentum = image, 1.0
    for _ in range(n_iterations):
        shift = (shifts.randrange(2**LEVELS), shifts.randrange(2**LEVELS))
        stepped = shrink(point + adjoint - encoding.gram(point), weight, shift) * support
        following = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum**2))
        point = stepped + ((momentum - 1.0) / following) * (stepped - image)
        image, momentum = stepped, following
    return image
