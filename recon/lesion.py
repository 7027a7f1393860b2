"""Net_c with its class activation map, and the weight C of the lesion term.

[paper] Net_c is a classifier trained on image-level labels only; its class activation map tells
where a lesion is suspected. [our reading] fully convolutional, feature stride 4, so that the
activation map is the map of class logits itself; the image score is the mean of the largest
logits, which keeps the pooling local (a mean over the image drowns a small lesion). One class for each
appearance that a lesion can have, not one for all: with a single map the bright lesions took all of the
gradient, and dark ones were never found.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """Size of Net_c.

    Parameters
    ----------
    channels
        Feature channels at stride 2 and 4.
    classes
        Names of the k pathology classes, one logit map each.
    n_pooled
        How many of the largest logits are averaged into the image score.
    """

    channels: tuple[int, int] = (24, 48)
    classes: tuple[str, ...] = ("lesion",)
    n_pooled: int = 6


TOP_HAT_WIDTHS = (7, 15)
"""Side of the structuring elements, in pixels at stride 2: lesions are narrower, organs wider."""


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


def top_hats(image: Tensor) -> Tensor:
    """White and black top-hats of f32 (b, 1, r, p) for each of `TOP_HAT_WIDTHS`, (b, 4, r, p), not negative.

    The image less its opening and the closing less the image (Serra, Image Analysis and Mathematical
    Morphology, 1982): what is brighter or darker than its surroundings and small. [our reading] Zero in
    the air outside the body, they give a dark lesion a signal of its own; from the image alone Net_c did not
    learn to tell one from the background in our training.
    """
    hats = []
    for width in TOP_HAT_WIDTHS:
        opened = _dilate(-_dilate(-image, width), width)
        closed = -_dilate(-_dilate(image, width), width)
        hats += [image - opened, closed - image]
    return torch.cat(hats, dim=1)


def _dilate(image: Tensor, width: int) -> Tensor:
    return functional.max_pool2d(image, width, stride=1, padding=width // 2)


def bright_level(magnitude: Tensor) -> Tensor:
    """Where the brightest 2 % of each slice of f32 (b, 1, r, p) begin, f32 (b, 1, 1, 1), positive."""
    flat = magnitude.flatten(1)
    bright = torch.topk(flat, max(1, flat.shape[1] // 50), dim=1).values[:, -1]
    return bright[:, None, None, None] + _EPS


def normalise_magnitude(magnitude: Tensor) -> Tensor:
    """Scale f32 (b, 1, r, p) so that the brightest 2 % of each slice begin at 1.

    A scale for the classifier's input only; the activation map itself is never normalised.
    """
    return magnitude / bright_level(magnitude)


def pool_logits(logit_map: Tensor, n_pooled: int) -> Tensor:
    """Slice logits (b, k): the mean of the ``n_pooled`` largest logits of each map f32 (b, k, r', p')."""
    flat = logit_map.flatten(2)
    return torch.topk(flat, min(n_pooled, flat.shape[2]), dim=2).values.mean(2)


class Stem(nn.Module):
    """f32 (b, 1, r, p) -> the pixels of each 2 x 2 block and the top-hats of their mean, (b, 8, r', p').

    r' = 2 ceil(r / 4): the last rows and columns are repeated where 4 does not divide them.
    """

    n_channels = 4 + 2 * len(TOP_HAT_WIDTHS)

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[-2:]
        image = functional.pad(image, (0, -columns % 4, 0, -rows % 4), mode="replicate")
        blocks = functional.pixel_unshuffle(image, 2)
        return torch.cat((blocks, top_hats(blocks.mean(dim=1, keepdim=True))), dim=1)


class LesionClassifier(nn.Module):
    """Net_c: magnitude image -> class scores and class-logit map.

    `Stem`, then seven convolutions, to stride 4.
    Batch norm keeps absolute contrast, which norms over one image take away: with group norm the same
    training learnt nothing. ``forward`` takes |Z| f32 (b, 1, r, p) and returns the slice logits (b, k) and
    the logit map (b, k, r', p'), r' = ceil(r / 4), whose cell i stands in the middle of pixels 4i to 4i + 3.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        two, four = config.channels
        self.n_pooled = config.n_pooled
        self.features = nn.Sequential(
            Stem(),
            _block(Stem.n_channels, two),
            _block(two, two),
            _halve(two, four),
            _block(four, four),
            _block(four, four, dilation=2),
            _block(four, four),
        )
        self.logits = nn.Conv2d(four, len(config.classes), 1)

    def forward(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        logit_map = self.logits(self.features(normalise_magnitude(magnitude)))
        return pool_logits(logit_map, self.n_pooled), logit_map


def activation_map(slice_logits: Tensor, logit_map: Tensor, shape: tuple[int, int]) -> Tensor:
    """C in [0, 1], f32 (b, k, r, p), at image resolution ``shape``, for a map of stride 4.

    [our reading] Safe by construction: the sigmoid of the class logit, gated by the slice's own
    score. It is never stretched to its own minimum and maximum, which would paint a lesion into
    every healthy slice.
    """
    gate = torch.sigmoid(slice_logits)[:, :, None, None]
    upsampled = functional.interpolate(logit_map, scale_factor=4.0, mode="bilinear", align_corners=False)
    return gate * torch.sigmoid(upsampled[..., : shape[0], : shape[1]])
