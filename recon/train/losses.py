"""The losses of a training. Labels are image-level; boxes and lesion masks never reach the loss of Net_c.

[our reading] The paper ablates losses (its Table 5) and adds a perceptual one (Table 6) without giving their
form in what we could read: smooth L1 on the complex image of every stage (the last one in full), the
lesion-weighted error ``C^2 |X - gt|`` and, where the lesion term is on, the classification loss of each
stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lfmri_node.recon.method.cascade import StageOutput
from lfmri_node.recon.train.loader import Batch

N_RAISED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weight of each loss; zero turns it off.

    Parameters
    ----------
    stages
        Of every stage but the last, relative to the last.
    lesion
        ``C^2 |X - gt|``, C the activation of the stage, without gradient into the classifier, or the C that
        was given in its place.
    classification
        Binary cross-entropy of every stage's scores; zero freezes Net_c as it was pre-trained.
    perceptual
        Distance between features of the last image and of the truth.
    huber_width
        Width of the quadratic part of the smooth L1 loss, in units of the brightest tissue. With 0.05 the
        air around the body, whose errors are as small as the noise, hardly counted.
    """

    stages: float = 0.3
    lesion: float = 0.0
    classification: float = 0.0
    perceptual: float = 0.0
    huber_width: float = 0.01


def label_loss(logits: Tensor, labels: Tensor, counted: Tensor | float = 1.0) -> Tensor:
    """Binary cross-entropy of slice logits f32 (b, k) against image-level labels f32 (b, k), a scalar.

    The classes that an image with a lesion does not show are not asked for: a small bright spot and a short
    line look alike, and which of them it is does not matter. Of the images without a lesion all are.
    """
    asked = torch.where(labels.amax(dim=1, keepdim=True) > 0, labels, torch.ones_like(labels)) * counted
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    sides = [
        (entropy * side).sum() / side.sum().clamp_min(1) for side in (asked * labels, asked * (1 - labels))
    ]
    return 0.5 * (sides[0] + sides[1])


def pair_loss(logit_maps: Tensor, labels: Tensor, same: Tensor) -> Tensor:
    """Logistic loss of what a lesion adds to the map of its class, a scalar.

    Rows 2i and 2i + 1 of the logit maps f32 (b, k, r', p') and labels f32 (b, k) are one anatomy with and
    without a lesion where ``same`` bool (b / 2). All that is common to a pair cancels cell by cell, so the
    `N_RAISED` cells that differ most are the network's own answer to where the lesion is: they shall be
    higher than without the lesion.
    """
    shown = labels[0::2] * same[:, None]
    raised = (logit_maps[0::2] - logit_maps[1::2]).flatten(2)
    most = torch.topk(raised, min(N_RAISED, raised.shape[2]), dim=2).values.mean(2)
    return (functional.softplus(-most) * shown).sum() / shown.sum().clamp_min(1)


def total_loss(
    outputs: list[StageOutput],
    batch: Batch,
    weights: LossWeights,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Every loss that is on, weighted, and their sum as ``loss``. Scalars."""
    parts = {"image": torch.zeros(()), "lesion": torch.zeros(()), "classification": torch.zeros(())}
    target = torch.view_as_real(batch.target)
    for i, output in enumerate(outputs):
        share = 1.0 if i + 1 == len(outputs) else weights.stages
        if share == 0.0:
            continue
        image = torch.view_as_real(output.image)
        error = functional.smooth_l1_loss(image, target, beta=weights.huber_width)
        parts["image"] = parts["image"] + share * error
        if output.activation is None or output.slice_logits is None:
            continue
        if weights.lesion > 0:
            given = batch.measurement.guide
            guide = output.activation.detach() if given is None else given
            focus = guide.amax(dim=1)[..., None] ** 2
            weighted = (focus * (image - target).abs()).mean()
            parts["lesion"] = parts["lesion"] + share * weights.lesion * weighted
        if weights.classification > 0:
            entropy = label_loss(output.slice_logits, batch.labels, batch.counted)
            parts["classification"] = parts["classification"] + weights.classification * entropy
    if perceptual is not None and weights.perceptual > 0:
        parts["perceptual"] = weights.perceptual * perceptual(outputs[-1].image, batch.target)
    return parts | {"loss": torch.stack(list(parts.values())).sum()}
