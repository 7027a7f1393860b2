"""Net_c with its class activation map, and the weight C of the lesion term.

[paper] Net_c is a classifier trained on image-level labels only; its class activation map tells where a
lesion is suspected. [our reading] fully convolutional, with a logit for each cell of 4 x 4 pixels, so that
the activation map is the map of class logits itself. The image score is their soft maximum over the tissue
(log-sum-exp; Pinheiro and Collobert, CVPR 2015): the "is there one anywhere" in which a small lesion is not
averaged away. A pyramid gives every cell the context of the whole organ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4
"""Pixels along each side of a cell of the map."""
OUTSIDE = -20.0
"""Logit of the cells outside the tissue."""
BRIGHTEST = 5.0
"""What is brighter, in medians of the tissue, is cut off: a hot pixel or a vessel in flow."""
_EPS = 1e-6
_RARE = -7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """Size of Net_c.

    Parameters
    ----------
    channels
        Feature channels at stride 2, 4, 8 and so on; at least two. What is deeper than stride 4 is brought
        back to it.
    classes
        Names of the k pathology classes, one logit map each.
    """

    channels: tuple[int, ...] = (24, 48)
    classes: tuple[str, ...] = ("lesion",)


class Tissue(NamedTuple):
    """Where tissue is, bool (b, 1, ceil(r / 4), ceil(p / 4)), and its median magnitude f32 (b, 1, 1, 1)."""

    cells: Tensor
    level: Tensor


def tissue(magnitude: Tensor) -> Tissue:
    """The cells of f32 (b, 1, r, p) that hold tissue, and the median over them; no air, however much there
    is.

    [our reading] A cell is tissue where its mean is above 0.3 of the median of all that is above half the
    mean of the image. The median, unlike a bright percentile, is not moved by the lesion that is looked for.
    The cells are closed and grown by one, so that a dark lesion and the rim of the organ belong to them; the
    median is that of the cells before. An empty image has no tissue and a level just above zero.
    """
    rows, columns = magnitude.shape[-2:]
    padded = functional.pad(magnitude, (0, -columns % STRIDE, 0, -rows % STRIDE), mode="replicate")
    means = functional.avg_pool2d(padded, STRIDE)
    rough = _median(means, means > 0.5 * means.mean(dim=(2, 3), keepdim=True))
    found = means > 0.3 * rough
    grown = functional.max_pool2d(found.to(means.dtype), 7, stride=1, padding=3)
    closed = -functional.max_pool2d(-grown, 5, stride=1, padding=2)
    return Tissue(closed > 0, _median(means, found) + _EPS)


def _median(values: Tensor, chosen: Tensor) -> Tensor:
    """Median over each image of f32 (b, 1, r, p) where ``chosen``, (b, 1, 1, 1); zero where nothing is."""
    flat = values.masked_fill(~chosen, torch.nan).flatten(1)
    return flat.nanmedian(dim=1).values.nan_to_num(0.0)[:, None, None, None]


def pool_logits(logit_map: Tensor) -> Tensor:
    """Slice logits (b, k): log of the summed exponentials of each map f32 (b, k, r', p').

    Every cell has its part of the gradient: of a sharper maximum, or of the largest few, Net_c learned more
    slowly.
    """
    return torch.logsumexp(logit_map.flatten(2), dim=2)


def class_logits(n_features: int, config: ClassifierConfig) -> nn.Conv2d:
    """The last layer, features -> logits of the classes, which at first finds a lesion nowhere."""
    layer = nn.Conv2d(n_features, len(config.classes), 1)
    nn.init.constant_(layer.bias, _RARE)  # type: ignore[arg-type]
    return layer


class CellClassifier(nn.Module):
    """A map of class logits and their pooled score from features of stride 4, whatever makes the features.

    ``forward`` takes |Z| f32 (b, 1, r, p) of any scale and returns the slice logits (b, k) and the logit map
    (b, k, r', p'), r' = ceil(r / 4), whose cell i stands in the middle of pixels 4i to 4i + 3. ``found`` is
    the tissue, where it shall not be the image's own. Subclasses give `logit_map`.

    [our reading] The logits are the mean of those of the image and of the image turned by half a turn. The
    label of an image does not say where its lesion is, so a network may learn to answer beside it, always on
    the same side ("brighter above than below"); a mean that is the same both ways leaves it no side.
    """

    def forward(self, magnitude: Tensor, found: Tissue | None = None) -> tuple[Tensor, Tensor]:
        found = tissue(magnitude) if found is None else found
        image = (magnitude / found.level).clamp_max(BRIGHTEST)
        rows, columns = image.shape[-2:]
        whole = functional.pad(image, (0, -columns % STRIDE, 0, -rows % STRIDE), mode="replicate")
        ahead, turned = self.logit_map(torch.cat((whole, whole.flip((-2, -1))))).chunk(2)
        logit_map = (0.5 * (ahead + turned.flip((-2, -1)))).masked_fill(~found.cells, OUTSIDE)
        return pool_logits(logit_map), logit_map

    def logit_map(self, image: Tensor) -> Tensor:
        """Logits (b, k, r', p') of an image f32 (b, 1, r, p) whose tissue is about one."""
        raise NotImplementedError


def _block(n_in: int, n_out: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(n_out),
        nn.SiLU(inplace=True),
    )


def _halve(n_in: int, n_out: int) -> nn.Sequential:
    """An even kernel, so that the cells of the half-size grid lie in the middle of those that they cover."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.SiLU(inplace=True),
    )


class Stem(nn.Module):
    """f32 (b, 1, r, p) -> the pixels of each 2 x 2 block (b, 4, r', p'), with air to a ``multiple``."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[-2:]
        return functional.pixel_unshuffle(
            functional.pad(image, (0, -columns % self.multiple, 0, -rows % self.multiple)), 2
        )


class LesionClassifier(CellClassifier):
    """Net_c: magnitude image -> class scores and class-logit map.

    A convolution of the pixels of 2 x 2 blocks, then halvings with two convolutions each, down to the last of
    ``config.channels``; back to stride 4 what was found deeper is added to what was found there (Lin et al.,
    Feature Pyramid Networks, CVPR 2017). Batch norm keeps absolute contrast, which norms over one image take
    away: with group norm the same training learnt nothing.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        two, four = config.channels[:2]
        self.features = nn.Sequential(
            nn.Sequential(Stem(2 ** len(config.channels)), _block(4, two)),
            *(
                nn.Sequential(_halve(above, below), _block(below, below), _block(below, below, dilation=2))
                for above, below in pairwise(config.channels)
            ),
        )
        steps = list(pairwise(config.channels[1:]))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(below, above, 1) for above, below in steps)
        self.merge = nn.ModuleList(_block(above, above) for above, _ in steps)
        self.logits = class_logits(four, config)

    def logit_map(self, image: Tensor) -> Tensor:
        """Logits (b, k, r', p') of an image f32 (b, 1, r, p) whose tissue is about one."""
        rows, columns = image.shape[-2:]
        x, levels = image, []
        for step in self.features:
            x = step(x)
            levels.append(x)
        for narrow, merge, beside in zip(self.narrow, self.merge, levels[-2:0:-1], strict=True):
            x = merge(beside + functional.interpolate(narrow(x), scale_factor=2.0, mode="bilinear"))
        logits: Tensor = self.logits(x)
        return logits[..., : -(-rows // STRIDE), : -(-columns // STRIDE)]


def activation_map(slice_logits: Tensor, logit_map: Tensor, shape: tuple[int, int]) -> Tensor:
    """C in [0, 1], f32 (b, k, r, p), at image resolution ``shape``, for a map of stride 4.

    [our reading] Safe by construction: the sigmoid of the class logit, gated by the slice's own
    score. It is never stretched to its own minimum and maximum, which would paint a lesion into
    every healthy slice.
    """
    gate = torch.sigmoid(slice_logits)[:, :, None, None]
    upsampled = functional.interpolate(
        logit_map, scale_factor=float(STRIDE), mode="bilinear", align_corners=False
    )
    return gate * torch.sigmoid(upsampled[..., : shape[0], : shape[1]])
