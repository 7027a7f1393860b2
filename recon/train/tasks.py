"""What Lightning trains: the reconstruction networks, and Net_c alone on images."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from lfmri_node.recon.method.lesion import Tissue, tissue
from lfmri_node.recon.train.images import ImageBatch
from lfmri_node.recon.train.learned_sampling import LearnedMask
from lfmri_node.recon.train.loader import Batch
from lfmri_node.recon.train.losses import label_loss, pair_loss, total_loss
from lfmri_node.recon.train.measurement import undersample
from lfmri_node.recon.train.networks import LfMri
from lfmri_node.recon.train.perceptual import PerceptualLoss
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.train.rivals import IstaNetPlus
from lfmri_node.recon.types import LesionWeighting

SCALARS = ("raw_mu", "mu_slopes", "raw_delta", "delta_slopes", "raw_lambda", "raw_threshold", "step", "eta")
SCALAR_RATE_FACTOR = 10.0
"""Penalties, thresholds and step lengths are single numbers: at the rate of the weights they hardly move."""
WARM_UP = 0.05
SYMMETRY_WEIGHT = 0.01
"""Of the symmetry loss of ISTA-Net+, as in its paper."""


class Task(L.LightningModule):
    """A network under Adam and one cycle of the learning rate; a step counts as one whatever its batch."""

    network: nn.Module

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups with their learning rates; frozen parameters are in none."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        rate = self.recipe.learning_rate
        scalars = [p for name, p in named if name.endswith(SCALARS)]
        rest = [p for name, p in named if not name.endswith(SCALARS)]
        groups: list[dict[str, Any]] = [
            {"params": rest, "lr": rate},
            {"params": scalars, "lr": SCALAR_RATE_FACTOR * rate, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def configure_optimizers(self) -> Any:
        groups = self.groups()
        optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
        schedule = OneCycleLR(
            optimiser,
            [group["lr"] for group in groups],
            total_steps=self.recipe.steps,
            pct_start=min(0.5, max(WARM_UP, 2 / self.recipe.steps)),
            final_div_factor=100,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def freeze(network: nn.Module, recipe: Recipe) -> None:
    """Let only that learn which the recipe trains.

    Net_c stays as it was pre-trained unless the recipe weighs the classification loss. With ``only_focus``
    G_u learns, and delta, the weight of its term.
    """
    if not isinstance(network, LfMri) or network.weighting is LesionWeighting.OFF:
        return
    network.cascade.classifier.requires_grad_(recipe.losses.classification > 0)
    if recipe.only_focus:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(".focus." in name or "delta" in name)


class ReconstructionTask(Task):
    """A network of `networks.build_network` under the losses of its recipe; what learns: `freeze`."""

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        *,
        features: nn.Module | None = None,
        mask: LearnedMask | None = None,
    ) -> None:
        super().__init__(recipe, network)
        self.mask = mask
        self.perceptual = PerceptualLoss(features) if features is not None else None
        if self.perceptual is not None:
            self.perceptual.requires_grad_(False)
        freeze(network, recipe)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if isinstance(self.network, LfMri):
            self.network.cascade.classifier.eval()  # batch norm keeps the statistics of its pre-training

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        measurement = batch.measurement
        if self.mask is not None:
            seed = np.random.SeedSequence((self.recipe.seed, self.global_step, self.global_rank))
            generator = torch.Generator(device=self.device).manual_seed(int(seed.generate_state(1)[0]))
            lines = self.mask(len(batch), generator)
            known = measurement.scale
            measurement = undersample(batch.full, lines, measurement.operator.maps, known.noise, known.level)
        if isinstance(self.network, IstaNetPlus):
            outputs, symmetry = self.network.with_symmetry(measurement)
            losses = total_loss(outputs, batch, self.recipe.losses, self.perceptual)
            return losses | {"loss": losses["loss"] + SYMMETRY_WEIGHT * symmetry}
        return total_loss(self.network(measurement), batch, self.recipe.losses, self.perceptual)


class ClassifierTask(Task):
    """Net_c on pairs of magnitude images with image-level labels.

    Both images of one anatomy have the tissue, and so the scale, of the one without the lesion: those of its
    own would tell which is which.
    """

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        logits, logit_map = self.network(batch.images, shared_tissue(batch))
        pairs = pair_loss(logit_map, batch.labels, batch.same)
        return {"loss": label_loss(logits, batch.labels) + pairs}


def shared_tissue(batch: ImageBatch) -> Tissue:
    """Tissue of every image of a batch; of two that are one anatomy that of the second."""
    found = tissue(batch.images)
    source = torch.arange(len(batch), device=batch.images.device)
    source[0::2] += batch.same.to(source.dtype)
    return Tissue(found.cells[source], found.level[source])
