"""The finished training runs as methods, and the classifier that diagnoses from reconstructions."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.evidence import SHIPPED, RunFacts
from lfmri_node.recon.evaluate.guides import Guide, lowered
from lfmri_node.recon.evaluate.methods import Answer
from lfmri_node.recon.evaluate.scoring import TRUTH, Diagnosis
from lfmri_node.recon.method.cascade import CascadeConfig
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.passes import scale_of
from lfmri_node.recon.sense.classical import cg_sense, operator
from lfmri_node.recon.train.learned_sampling import read_mask
from lfmri_node.recon.train.measurement import Measurement
from lfmri_node.recon.train.networks import LfMri, build_network, count_parameters, start_stages
from lfmri_node.recon.train.recipes import Recipe, find
from lfmri_node.recon.train.runs import Run, finished
from lfmri_node.recon.types import Bool, LesionWeighting, Real

CLASSIFIER = "classifier"
COMPARED = "lf-mri"
"""Name of the recipe of LF-MRI that is compared at equal training."""
N_DIGITS = 12
"""Hex digits of the SHA-256 of weights that name them in a row."""
ORACLE, RANDOM, LOWERED = (
    "LF-MRI, given the true outline as C",
    "LF-MRI, given as large a C elsewhere",
    "LF-MRI, a quarter of mu in C in place of G_u",
)
"""What LF-MRI does with another C, nothing retrained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedMethod:
    """A reconstruction network in eval mode; like all images, its are zero where no coil sees anything.

    ``lines`` bool (p,) where it learnt its own mask; ``has_map`` where it answers with an activation map;
    ``guide`` makes the C that it is given in place of Net_c's map.
    """

    name: str
    run: str
    weights: str
    network: nn.Module = field(repr=False)
    lines: Bool | None = None
    has_map: bool = False
    guide: Guide | None = None

    @property
    def takes_point_masks(self) -> bool:
        return self.lines is None

    def reconstruct(self, case: Case) -> Answer:
        """Image, score and activation of the last stage; none where the network has no map of its own."""
        if self.lines is not None and case.again is not None:
            case = case.again(self.lines)
        measurement = measurement_of(case)
        if self.guide is not None:
            given = torch.from_numpy(self.guide(case))[None, None]
            measurement = replace(measurement, guide=given)
        with torch.inference_mode():
            last = self.network(measurement)[-1]
        image = last.image[0].numpy() * case.maps.support
        if last.slice_logits is None or last.activation is None or not self.has_map:
            return Answer(image=image, case=case)
        return Answer(
            image=image,
            score=float(torch.sigmoid(last.slice_logits[0]).max()),
            activation=last.activation[0].amax(dim=0).numpy() * case.maps.support,
            case=case,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthMethod:
    """The truth itself: what a diagnosis from fully sampled data would be."""

    name: str = TRUTH
    run: str = ""
    weights: str = ""
    takes_point_masks: bool = False

    def reconstruct(self, case: Case) -> Answer:
        assert case.truth is not None
        return Answer(image=case.truth.astype(np.complex64))


def measurement_of(case: Case) -> Measurement:
    """What a network sees of a case: a batch of one, with the noise and level that the service would tell."""
    kspace = torch.from_numpy(case.kspace.data)[None]
    encoding = operator(case.kspace, case.maps)
    shape = CascadeConfig()
    sense = cg_sense(case.kspace, case.maps, shape.start_mu, shape.n_cg)
    return Measurement(
        kspace=kspace,
        sampled=torch.from_numpy(case.kspace.sampled)[None],
        operator=encoding,
        adjoint=encoding.adjoint(kspace),
        scale=scale_of([case.kspace], torch.from_numpy(sense)[None]),
    )


def without_seed(name: str) -> str:
    """Name of a recipe whatever its seed: ``lf-mri`` for ``lf-mri-s1``."""
    return re.sub(r"-s\d+$", "", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The finished runs below a folder.

    ``steps`` are the names of runs that only others start from.
    """

    folder: Path
    runs: tuple[Run, ...]
    facts: tuple[RunFacts, ...]
    steps: frozenset[str]

    def methods(self, learnt_lines: float | None = None, *, outlined: bool = False) -> list[LearnedMethod]:
        """Reconstruction networks in the order of the recipes.

        Networks that learnt their lines come only where those are of the acceleration ``learnt_lines``; and
        they fit one matrix only. With ``outlined`` LF-MRI comes again with each other C: that of the
        comparison, and where it was not trained that of the node.
        """
        made = []
        named = [without_seed(run.name) for run in self.runs]
        guided = COMPARED if COMPARED in named else SHIPPED
        for run, facts in zip(self.runs, self.facts, strict=True):
            if run.recipe.network == CLASSIFIER or run.name in self.steps:
                continue
            lines = (
                read_mask(self.folder / run.name / "mask.txt") if run.recipe.sampling == "learned" else None
            )
            if lines is None or learnt_lines == round(lines.size / lines.sum()):
                plain = LearnedMethod(
                    name=run.recipe.title,
                    run=run.name,
                    weights=facts.weights,
                    network=run.network,
                    lines=lines,
                    has_map=run.recipe.lesion is not LesionWeighting.OFF,
                )
                made.append(plain)
                if outlined and without_seed(run.name) == guided and isinstance(run.network, LfMri):
                    made += _other_guides(plain, run.network)
        return made

    def diagnosis(self) -> Diagnosis | None:
        """Of the classifier that saw fully sampled images alone; None where it was not trained."""
        for run in self.runs:
            if run.recipe.network == CLASSIFIER and run.recipe.degraded == 0.0:
                return _diagnosis_of(run.network)
        return None


def _other_guides(method: LearnedMethod, network: LfMri) -> list[LearnedMethod]:
    without_map = replace(method, has_map=False)
    return [
        replace(without_map, name=ORACLE, guide=Guide(elsewhere=False)),
        replace(without_map, name=RANDOM, guide=Guide(elsewhere=True)),
        replace(without_map, name=LOWERED, network=lowered(network)),
    ]


def _diagnosis_of(network: nn.Module) -> Diagnosis:
    def probability(magnitude: Real) -> float:
        with torch.inference_mode():
            logits, _ = network(torch.from_numpy(magnitude)[None, None])
        return float(torch.sigmoid(logits[0]).max())

    return probability


def read_runs(folder: Path, recipes: tuple[Recipe, ...]) -> Runs:
    """Read the finished runs below ``folder``, ordered as ``recipes``; seeds of a recipe side by side.

    A folder that does not bear the name of its recipe is a copy put aside, and left out.
    """
    order = {recipe.name: i for i, recipe in enumerate(recipes)}
    named = [run for run in finished(folder) if run.name == run.recipe.name]
    found = sorted(named, key=lambda run: (order.get(without_seed(run.name), len(order)), run.name))
    facts = tuple(_facts(run, _weights_id(folder / run.name)) for run in found)
    steps = frozenset(r.start_from for r in recipes if r.start_from is not None)
    return Runs(folder=folder, runs=tuple(found), facts=facts, steps=steps)


def _facts(run: Run, weights: str) -> RunFacts:
    return RunFacts(
        recipe=run.recipe,
        weights=weights,
        n_parameters=run.n_parameters,
        n_trained=run.n_trained,
        seconds=run.seconds,
        wait_s=run.wait_s,
    )


def _weights_id(folder: Path) -> str:
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:N_DIGITS]


def with_shipped(runs: Runs) -> Runs:
    """``runs`` and, last, the weights of the node: lesion term off, then as they are.

    Off, they are a run of the recipe of their D_w: G_u was trained with D_w frozen, so without the lesion
    term they are what that recipe trained, but for the factor of mu that the title states. Time of a
    training: not a number, the card does not hold it.
    """
    model = load_model()
    last = Recipe.from_json(model.card.record["recipe"])
    assert last.start_from is not None  # so it is in the package's card
    off = replace(
        find(last.start_from),
        name=model.name,
        title=f"LF-MRI as shipped, lesion term off (mu x {last.mu_factor:g}, chosen on training subjects)",
        tables=(1,),
    )
    plain = build_network(off)
    assert isinstance(plain, LfMri)
    start_stages(plain, model.network.state_dict())
    whole = build_network(last)
    assert isinstance(whole, LfMri)
    whole.cascade.load_state_dict(model.network.state_dict())
    made = (_run_of(off, plain), _run_of(last, whole))
    facts = tuple(_facts(run, model.sha256[:N_DIGITS]) for run in made)
    return replace(runs, runs=(*runs.runs, *made), facts=(*runs.facts, *facts))


def _run_of(recipe: Recipe, network: LfMri) -> Run:
    """A training whose network is at hand and whose time is not known."""
    network.eval().requires_grad_(False)
    return Run(
        name=recipe.name,
        recipe=recipe,
        network=network,
        seconds=math.nan,
        wait_s=math.nan,
        n_parameters=count_parameters(network),
        n_trained=count_parameters(network),
    )
