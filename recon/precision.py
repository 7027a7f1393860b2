"""Whether the convolutions of the network run in bfloat16 on this processor: what is asked for, a check."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lfmri_node.recon.method.conditions import N_CONDITIONS
from lfmri_node.recon.method.denoiser import Denoiser
from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.passes import run_network
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.processor import PROCESSOR, bfloat16_units
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.settings import LesionWeighting, Precision

CLOSE = 0.005
"""Norm of the difference of the image over that of the image, at most."""
FAST = 0.8
"""Share of the time of float32 that bfloat16 may take."""
_SHAPE, _N_COILS, _REPEATS = (192, 192), 6, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model as it will be used, and why so."""

    model: Model
    why: str

    @property
    def precision(self) -> Precision:
        return Precision.BFLOAT16 if self.model.bfloat16 else Precision.FLOAT32


def choose(model: Model, wanted: Precision, processor: Path = PROCESSOR) -> Chosen:
    """``model``, or what it is with its convolutions in bfloat16."""
    if wanted is Precision.FLOAT32:
        return Chosen(model=model, why="as recon.precision says")
    if wanted is Precision.BFLOAT16:
        return Chosen(model=model.narrowed(), why="as recon.precision says")
    if not bfloat16_units(processor):
        return Chosen(model=model, why="this processor has no units for bfloat16")
    narrowed = model.narrowed()
    share, change = compare(model, narrowed)
    found = f"bfloat16 takes {share:.0%} of the time of float32 and changes the image by {change:.2%}"
    return Chosen(model=narrowed if share <= FAST and change <= CLOSE else model, why=found)


def compare(model: Model, narrowed: Model) -> tuple[float, float]:
    """Share of the time that D_w of the first stage takes, and change of the image of a simulated slice."""
    rng = np.random.default_rng(0)
    image = phantom_volume(1, _SHAPE, rng)[0] * object_phase(_SHAPE, rng)
    lines = random_lines(_SHAPE[1], 4.0, 0.08, rng)
    kspace = measure(image.astype(np.complex64), loop_coils(_N_COILS, _SHAPE, rng), lines, 0.01, rng)
    maps = estimate(kspace)
    exact, coarse = (run_network(each, kspace, maps, LesionWeighting.OFF).image for each in (model, narrowed))
    change = float(np.linalg.norm((coarse - exact)[maps.support]) / np.linalg.norm(exact[maps.support]))
    tries = [[_seconds(each) for each in (model, narrowed)] for _ in range(_REPEATS)]
    exact_s, coarse_s = (min(times) for times in zip(*tries, strict=True))
    return coarse_s / exact_s, change


def _seconds(model: Model) -> float:
    denoise = next(module for module in model.network.modules() if isinstance(module, Denoiser))
    image, conditions = torch.ones(1, *_SHAPE, dtype=torch.complex64), torch.zeros(1, N_CONDITIONS)
    with torch.inference_mode():
        begun = time.process_time()
        denoise(image, conditions, image)
        return time.process_time() - begun
