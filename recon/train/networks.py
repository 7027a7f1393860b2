"""The network of a recipe. Every one takes a `Measurement` and answers with the output of each stage."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, LesionTerm, Stage, StageOutput
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig
from lfmri_node.recon.train.classifiers import build_classifier
from lfmri_node.recon.train.data import CLASSES
from lfmri_node.recon.train.measurement import Measurement
from lfmri_node.recon.train.recipes import NETWORKS, Recipe
from lfmri_node.recon.train.rivals import IstaNetPlus, MoDL, UNet
from lfmri_node.recon.train.varnet import VarNet
from lfmri_node.recon.types import LesionWeighting

N_CG = 5
NET_C = ClassifierConfig(classes=tuple(CLASSES))
SENSITIVITY_CHANNELS = (6, 12, 24)


class LfMri(nn.Module):
    """The cascade under one lesion weighting."""

    def __init__(self, config: CascadeConfig, weighting: LesionWeighting, classifier: str) -> None:
        super().__init__()
        self.cascade = Cascade(config)
        self.cascade.classifier = build_classifier(classifier, config.classifier)  # type: ignore[assignment]
        self.weighting = weighting
        if weighting is LesionWeighting.OFF:  # without the term these hold no parameters to count or train
            for stage in self.cascade.stages:
                stage.focus = nn.Identity()
            self.cascade.classifier = nn.Identity()  # type: ignore[assignment]

    def forward(self, measurement: Measurement) -> list[StageOutput]:
        term = LesionTerm(self.weighting, given=measurement.guide)
        outputs: list[StageOutput] = self.cascade(
            measurement.adjoint, measurement.operator, measurement.scale, term
        )
        return outputs


def cascade_config(recipe: Recipe) -> CascadeConfig:
    """Shape of the cascade of an LF-MRI recipe."""
    return CascadeConfig(
        n_stages=recipe.n_stages,
        n_cg=N_CG,
        denoiser=DenoiserConfig(channels=recipe.channels, demodulate=True),
        focus=DenoiserConfig(channels=recipe.focus_channels, demodulate=True),
        classifier=NET_C,
    )


def build_network(recipe: Recipe) -> nn.Module:
    """Untrained network of ``recipe``. Raises LabError (LF-LAB-004) for an unknown kind."""
    match recipe.network:
        case "lf-mri":
            return LfMri(cascade_config(recipe), recipe.lesion, recipe.classifier)
        case "u-net":
            return UNet(recipe.channels)
        case "ista-net+":
            return IstaNetPlus(recipe.n_stages, recipe.channels[0])
        case "modl":
            return MoDL(recipe.n_stages, recipe.channels, N_CG)
        case "e2e-varnet":
            return VarNet(recipe.n_stages, recipe.channels, SENSITIVITY_CHANNELS)
        case "classifier":
            return build_classifier(recipe.classifier, NET_C)
    raise LabError("LF-LAB-004", f"no network {recipe.network!r}", f"one of {', '.join(NETWORKS)}")


def start_stages(network: LfMri, state: dict[str, Tensor]) -> None:
    """Take over D_w and the penalties of a trained cascade with as many or fewer stages.

    The last stage given serves the stages beyond it; what is not given (G_u, where the lesion term was off)
    stays as it was made. Raises LabError (LF-LAB-008) where a body given has another shape.
    """
    own = network.cascade.state_dict()
    given = {name.removeprefix("cascade."): value for name, value in state.items()}
    n_given = 1 + max(int(name.split(".")[1]) for name in given if name.startswith("stages."))
    for name in own:
        if not name.startswith("stages."):
            continue
        stage, rest = name.split(".", 2)[1:]
        source = f"stages.{min(int(stage), n_given - 1)}.{rest}"
        if source not in given:
            continue
        if given[source].shape != own[name].shape:
            raise LabError(
                "LF-LAB-008",
                f"{source} is {tuple(given[source].shape)}, here {tuple(own[name].shape)}",
                "start from a run with the same channels",
            )
        own[name] = given[source]
    network.cascade.load_state_dict(own)


def scale_mu(network: LfMri, factor: float) -> None:
    """Make mu1, and with it mu2, ``factor`` times as large in every stage."""
    for module in network.cascade.stages:
        stage = cast(Stage, module)
        with torch.no_grad():
            mu = factor * functional.softplus(stage.raw_mu)
            stage.raw_mu.copy_(torch.log(torch.expm1(mu)))


def count_parameters(network: nn.Module) -> int:
    """Trainable or not, buffers not counted."""
    return sum(parameter.numel() for parameter in network.parameters())
