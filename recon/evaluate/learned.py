"""The finished training runs as methods, and the classifier that diagnoses from reconstructions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.evidence import RunFacts
from lfmri_node.recon.evaluate.methods import Answer
from lfmri_node.recon.evaluate.scoring import TRUTH, Diagnosis
from lfmri_node.recon.operators import SenseOp
from lfmri_node.recon.train.learned_sampling import read_mask
from lfmri_node.recon.train.measurement import Measurement
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.train.runs import Run, finished
from lfmri_node.recon.types import Bool, LesionWeighting, Real

CLASSIFIER = "classifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedMethod:
    """A reconstruction network in eval mode.

    ``lines`` bool (p,) where it learnt its own mask; ``has_map`` where it answers with an activation map.
    """

    name: str
    run: str
    weights: str
    network: nn.Module = field(repr=False)
    lines: Bool | None = None
    has_map: bool = False

    @property
    def takes_point_masks(self) -> bool:
        return self.lines is None

    def reconstruct(self, case: Case) -> Answer:
        """Image, score and activation of the last stage; zero map where the network has none."""
        if self.lines is not None and case.again is not None:
            case = case.again(self.lines)
        with torch.inference_mode():
            last = self.network(measurement_of(case))[-1]
            image = last.image[0].numpy()
            if last.slice_logits is None or last.activation is None:
                return Answer(image=image, case=case)
            score = float(torch.sigmoid(last.slice_logits[0]).max())
            activation = last.activation[0].amax(dim=0).numpy()
        return Answer(image=image, score=score, activation=activation, case=case)


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
    """What a network sees of a case: a batch of one."""
    kspace = torch.from_numpy(case.kspace.data)[None]
    sampled = torch.from_numpy(case.kspace.sampled)[None]
    operator = SenseOp(torch.from_numpy(case.maps.maps)[None], sampled)
    return Measurement(kspace=kspace, sampled=sampled, operator=operator, adjoint=operator.adjoint(kspace))


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The finished runs below a folder.

    ``steps`` are the names of runs that only others start from.
    """

    folder: Path
    runs: tuple[Run, ...]
    facts: tuple[RunFacts, ...]
    steps: frozenset[str]

    def methods(self, fold: int, learnt_lines: float | None = None) -> list[LearnedMethod]:
        """Reconstruction networks with the subjects of ``fold`` held out, in the order of the recipes.

        Networks that learnt their lines come only where those are of the acceleration ``learnt_lines``; and
        they fit one matrix only.
        """
        made = []
        for run, facts in zip(self.runs, self.facts, strict=True):
            if run.recipe.network == CLASSIFIER or run.recipe.fold != fold or run.name in self.steps:
                continue
            lines = (
                read_mask(self.folder / run.name / "mask.txt") if run.recipe.sampling == "learned" else None
            )
            if lines is None or learnt_lines == round(lines.size / lines.sum()):
                made.append(
                    LearnedMethod(
                        name=run.recipe.title,
                        run=run.name,
                        weights=facts.weights,
                        network=run.network,
                        lines=lines,
                        has_map=run.recipe.lesion is not LesionWeighting.OFF,
                    )
                )
        return made

    def diagnosis(self, fold: int) -> Diagnosis | None:
        """Of the fold's classifier that saw fully sampled images alone; None where it was not trained."""
        for run in self.runs:
            if (run.recipe.network, run.recipe.fold, run.recipe.degraded) == (CLASSIFIER, fold, 0.0):
                return _diagnosis_of(run.network)
        return None


def _diagnosis_of(network: nn.Module) -> Diagnosis:
    def probability(magnitude: Real) -> float:
        with torch.inference_mode():
            logits, _ = network(torch.from_numpy(magnitude)[None, None])
        return float(torch.sigmoid(logits[0]).max())

    return probability


def read_runs(folder: Path, recipes: tuple[Recipe, ...]) -> Runs:
    """Read the finished runs below ``folder``, ordered as ``recipes``.

    A folder that does not bear the name of its recipe is a copy put aside, and left out.
    """
    order = {recipe.name: i for i, recipe in enumerate(recipes)}
    named = [run for run in finished(folder) if run.name == run.recipe.name]
    found = sorted(named, key=lambda run: (order.get(run.name, len(order)), run.name))
    facts = tuple(
        RunFacts(
            recipe=run.recipe,
            weights=_weights_id(folder / run.name),
            n_parameters=run.n_parameters,
            n_trained=run.n_trained,
            seconds=run.seconds,
            wait_s=run.wait_s,
        )
        for run in found
    )
    steps = frozenset(r.start_from for r in recipes if r.start_from is not None)
    return Runs(folder=folder, runs=tuple(found), facts=facts, steps=steps)


def _weights_id(folder: Path) -> str:
    """First 12 hex digits of the SHA-256 of the weights."""
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:12]
