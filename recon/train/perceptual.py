"""The perceptual loss: distance between deep features of the reconstruction and of the truth.

[paper] Table 6 adds a perceptual term. [our reading] The features are those of a frozen Net_c, which knows
these images, or of a VGG-16 whose weights the user brings (Johnson et al., Perceptual Losses, ECCV 2016).
"""

from __future__ import annotations

import copy
from pathlib import Path
from pickle import UnpicklingError
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.lesion import LesionClassifier, tissue
from lfmri_node.recon.train.classifiers import FeatureClassifier

_VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_EPS = 1e-6


class PerceptualLoss(nn.Module):
    """Mean over resolutions of ``mean |f(X) - f(gt)| / mean |f(gt)|``, f the last features at each.

    Both images are divided by the brightness of the truth, never each by its own, so that an error of
    scale stays an error.

    Parameters
    ----------
    features
        A classifier of `classifiers`, or a Sequential of steps from a magnitude f32 (b, 1, r, p), such as
        `vgg16`. A copy is kept, frozen and in eval mode: Net_c of the cascade may go on learning.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        if isinstance(features, LesionClassifier | FeatureClassifier):
            features = features.features
        if not isinstance(features, nn.Sequential):
            raise TypeError(f"a Sequential of steps is wanted, got {type(features).__name__}")
        self.steps = copy.deepcopy(features).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """The features stay in eval mode, whatever the network around them does."""
        super().train(mode)
        self.steps.eval()
        return self

    def levels(self, magnitude: Tensor) -> list[Tensor]:
        """Last features (b, n, r', p') at each resolution, finest first."""
        found: dict[tuple[int, ...], Tensor] = {}
        x = magnitude
        for step in self.steps:
            x = step(x)
            found[tuple(x.shape[-2:])] = x
        return list(found.values())

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Scalar; ``image`` and ``target`` c64 (b, r, p)."""
        truth = target.abs()[:, None]
        scale = tissue(truth).level
        with torch.no_grad():
            wanted = self.levels(truth / scale)
        distances = [
            functional.l1_loss(found, level) / (level.abs().mean() + _EPS)
            for found, level in zip(self.levels(image.abs()[:, None] / scale), wanted, strict=True)
        ]
        return torch.stack(distances).mean()


class _Colours(nn.Module):
    """Grey f32 (b, 1, r, p) about [0, 1] -> three equal channels, standardised as VGG-16 was trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406))[:, None, None])
        self.register_buffer("deviation", torch.tensor((0.229, 0.224, 0.225))[:, None, None])

    def forward(self, grey: Tensor) -> Tensor:
        return (grey - self.mean) / self.deviation


def vgg16(weights: Path) -> nn.Sequential:
    """Convolutions of VGG-16 (Simonyan and Zisserman, ICLR 2015) up to the fourth pooling.

    ``weights`` is a state dict with the usual names (``features.0.weight`` ...), as ``.safetensors`` or
    as PyTorch writes it. Raises LabError (LF-LAB-031) for a file that is not one.
    """
    steps: list[nn.Module] = []
    n_in = 3
    for level, widths in enumerate(_VGG_WIDTHS):
        if level:
            steps.append(nn.MaxPool2d(2))
        for width in widths:
            steps += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU()]
            n_in = width
    convolutions = nn.Sequential(*steps)
    state = _state(weights)
    try:
        convolutions.load_state_dict({name: state[f"features.{name}"] for name in convolutions.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise _not_vgg(weights, "lacks layers of VGG-16 or has other sizes") from error
    return nn.Sequential(_Colours(), *convolutions)


def _state(weights: Path) -> dict[str, Tensor]:
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise _not_vgg(weights, "cannot be read") from error
    if not isinstance(state, dict):
        raise _not_vgg(weights, "holds no state dict")
    return state


def _not_vgg(weights: Path, what: str) -> LabError:
    return LabError(
        "LF-LAB-031",
        f"{weights.name} {what}",
        "a state dict of VGG-16 named features.0.weight and so on, .safetensors or .pth",
    )
