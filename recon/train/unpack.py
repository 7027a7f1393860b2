"""The weights of the node as the runs that they were made of, so that a training can go on from them."""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.train.networks import LfMri, build_network, scale_mu, start_stages
from lfmri_node.recon.train.recipes import Recipe, find, write_recipe
from lfmri_node.recon.train.runs import RECIPE, RUN, WEIGHTS


def unpack(weights: Path | None, runs: Path) -> list[Path]:
    """Write D_w and Net_c of ``weights`` (None: the shipped ones) as finished runs; returns their folders.

    D_w is what it was before mu was multiplied by the factor of the recipe that followed. How long the runs
    took is not known: NaN. Raises InvalidModel as `load_model`; LabError (LF-LAB-032) where the weights are
    not of two trainings, or a folder is there already.
    """
    model = load_model(weights)
    entry = model.card.record.get("recipe")
    last = None if entry is None else Recipe.from_json(entry)
    if last is None or last.start_from is None or last.classifier_from is None:
        raise LabError("LF-LAB-032", f"{model.name} was not made of runs of D_w and Net_c", "train both")
    denoiser, net_c = find(last.start_from), find(last.classifier_from)
    plain = build_network(denoiser)
    assert isinstance(plain, LfMri)
    start_stages(plain, model.network.state_dict())
    scale_mu(plain, 1 / last.mu_factor)
    return [_write(denoiser, plain, runs), _write(net_c, model.network.classifier, runs)]


def _write(recipe: Recipe, network: nn.Module, runs: Path) -> Path:
    folder = runs / recipe.name
    if folder.exists():
        raise LabError("LF-LAB-032", f"{folder.name} is there already", "name another folder of runs")
    folder.mkdir(parents=True)
    write_recipe(recipe, folder / RECIPE)
    (folder / RUN).write_text(json.dumps({"seconds": math.nan, "wait_s": math.nan}) + "\n")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
    return folder
