"""What Lightning trains: the reconstruction networks, and Net_c alone on fully sampled images."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from lfmri_node.recon.train.images import ImageBatch
from lfmri_node.recon.train.learned_sampling import LearnedMask
from lfmri_node.recon.train.loader import Batch
from lfmri_node.recon.train.losses import label_loss, pair_loss, total_loss
from lfmri_node.recon.train.measurement import undersample
from lfmri_node.recon.train.networks import NET_C, LfMri
from lfmri_node.recon.train.perceptual import PerceptualLoss
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.types import LesionWeighting

SCALARS = ("raw_mu", "raw_lambda", "raw_threshold", "step", "eta")
SCALAR_RATE_FACTOR = 10.0
"""Penalties, thresholds and step lengths are single numbers: at the rate of the weights they hardly move."""
WARM_UP = 0.05


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
        groups = [{"params": rest, "lr": rate}, {"params": scalars, "lr": SCALAR_RATE_FACTOR * rate}]
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


class ReconstructionTask(Task):
    """A network of `networks.build_network` under the losses of its recipe.

    Net_c stays as it was pre-trained unless the recipe weighs the classification loss.
    """

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
        self._freeze()

    def _freeze(self) -> None:
        if self.perceptual is not None:
            self.perceptual.requires_grad_(False)
        if not isinstance(self.network, LfMri) or self.network.weighting is LesionWeighting.OFF:
            return
        self.network.cascade.classifier.requires_grad_(self.recipe.losses.classification > 0)
        if self.recipe.only_focus:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(".focus." in name)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if isinstance(self.network, LfMri):
            self.network.cascade.classifier.eval()  # batch norm keeps the statistics of its pre-training

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        measurement = batch.measurement
        if self.mask is not None:
            lines = self.mask(len(batch))
            measurement = undersample(batch.full, lines, measurement.operator.maps)
        return total_loss(self.network(measurement), batch, self.recipe.losses, self.perceptual)


class ClassifierTask(Task):
    """Net_c on pairs of magnitude images with image-level labels."""

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        logits, logit_map = self.network(batch.images)
        pairs = pair_loss(logit_map, batch.labels, NET_C.n_pooled)
        return {"loss": label_loss(logits, batch.labels) + pairs}
