"""Export of a trained cascade: weights as safetensors and the model card beside them.

Measures everything that the card states: the domain from the training subjects, the verdict table,
image AUC and pointing game on the network's own reconstructions of held-out subjects, and the
operating point of the lesion map (from the subjects of `split.Part.TUNE`, never from held-out ones).
`exchange_net_c` gives weights another Net_c, `measure_gate` renews domain, limits and verdict table of
weights that have a card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.cascade import Cascade
from lfmri_node.recon.method.modelcard import ModelCard
from lfmri_node.recon.method.weights import Model, config_to_card, load_model
from lfmri_node.recon.metrics import area_under_curve, points_at
from lfmri_node.recon.passes import run_network
from lfmri_node.recon.phantom.body import LESION_KINDS
from lfmri_node.recon.sense.coilmaps import calibrate, interpolate
from lfmri_node.recon.train.card_text import card_text
from lfmri_node.recon.train.data import ImageSource, source_of
from lfmri_node.recon.train.domain import limits, measure_domain, verdict_table
from lfmri_node.recon.train.networks import LfMri
from lfmri_node.recon.train.real_figures import real_figures, stroke_scans
from lfmri_node.recon.train.runs import Run
from lfmri_node.recon.train.samples import ACCELERATIONS, SimulatedScan, draw_scan, load_coils
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.strokes import load_strokes
from lfmri_node.recon.types import Complex, LesionWeighting, Real

SPECIFICITY = 0.9
MAP_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Slices behind the domain, the lesion figures of each acceleration, each row of the verdict table.

    ``real`` is the number of stroke patients with a visible lesion, and of those without one.
    """

    domain: int = 150
    lesion: int = 120
    table: int = 40
    real: int = 80


def lesion_answer(scan: SimulatedScan, model: Model) -> tuple[float, Real]:
    """Slice score and activation of the network's reconstruction of one scan."""
    kspace = scan.kspace
    maps = interpolate(calibrate(kspace), (kspace.data.shape[1], kspace.data.shape[2]))
    result = run_network(model, kspace, maps)
    return float(result.scores.max()), result.activation


def lesion_scans(
    source: ImageSource, measured: Complex, n: int, seed: int, acceleration: float
) -> list[SimulatedScan]:
    """``n`` simulated scans, half of them with an inserted lesion of the kinds in `LESION_KINDS`."""
    rng = np.random.default_rng([seed, 99])
    return [draw_scan(source, measured, rng, LESION_KINDS, acceleration=acceleration) for _ in range(n)]


def lesion_figures(scans: list[SimulatedScan], model: Model) -> dict[str, float]:
    """Image AUC, pointing game and, for choosing the operating point, quantiles of the scores."""
    scores, labels, hits, inside = [], [], [], []
    for scan in scans:
        score, activation = lesion_answer(scan, model)
        scores.append(score)
        labels.append(scan.entry.label)
        if scan.entry.lesion is not None:
            hits.append(points_at(activation, scan.entry.lesion.mask))
            inside.append(float(activation[scan.entry.lesion.mask].max()))
    negative = np.array([s for s, label in zip(scores, labels, strict=True) if not label])
    return {
        "image_auc": area_under_curve(scores, labels),
        "pointing_game": float(np.mean(hits)),
        "score_at_specificity": float(np.quantile(negative, SPECIFICITY)),
        "median_activation_in_lesion": float(np.median(inside)),
        "n_images": len(scans),
        "n_lesions": len(hits),
    }


def export(
    run: Run,
    data: Path,
    training: Mapping[str, Any],
    out: Path,
    name: str,
    seed: int,
    sizes: Sizes | None = None,
    net_c: Run | None = None,
) -> Path:
    """Write weights, card and its text for people; returns the weights file.

    Parameters
    ----------
    run
        A finished LF-MRI run.
    training
        Data, licences, steps and what was tried, for the card.
    net_c
        A finished run of Net_c to take the place of the one that ``run`` was trained with: G_u learned what
        any C is worth.

    Raises LabError (LF-LAB-007) where the run is not a cascade with a classifier that the node can build.
    """
    sizes = sizes or Sizes()
    recipe = run.recipe
    plain = recipe.classifier != "compact" or recipe.lesion is LesionWeighting.OFF
    if not isinstance(run.network, LfMri) or plain:
        raise LabError(
            "LF-LAB-007", f"{run.name} cannot be exported", "train an LF-MRI recipe, compact Net_c"
        )
    network = run.network.cascade
    if net_c is not None:
        network.classifier.load_state_dict(net_c.network.state_dict())
    weights = _save(network, out, name)
    coils = load_coils(data)
    draft = _card(weights, config_to_card(network.config))
    lesion, figures = _lesion(network, draft, data, coils, seed, sizes)
    card, table = _with_gate(replace(draft, lesion=lesion), network, data, coils, seed, sizes)
    record = {"training": training, "recipe": recipe.to_json(), **figures, "verdicts": table}
    _write_card(card, record, weights)
    return weights


def exchange_net_c(
    before: Path,
    net_c: Run,
    data: Path,
    training: Mapping[str, Any],
    out: Path,
    name: str,
    seed: int,
    sizes: Sizes | None = None,
) -> Path:
    """Write the weights ``before`` with another Net_c, a finished run; returns the weights file.

    What the card says of lesions is measured anew. The gate judges images of D_w alone, which stays, and so
    do domain, limits and verdicts.

    Raises InvalidModel as `weights.load_model` does, LabError (LF-LAB-007) where the Net_c does not fit.
    """
    model = load_model(before)
    try:
        model.network.classifier.load_state_dict(net_c.network.state_dict())
    except RuntimeError as error:
        raise LabError(
            "LF-LAB-007", f"{net_c.name} is no Net_c of {model.name}", "train one of the compact family"
        ) from error
    weights = _save(model.network, out, name)
    card = model.card
    draft = replace(_card(weights, card.architecture), domain=card.domain, limits=card.limits)
    lesion, figures = _lesion(model.network, draft, data, load_coils(data), seed, sizes or Sizes())
    kept = {key: card.record[key] for key in ("recipe", "verdicts")}
    _write_card(replace(draft, lesion=lesion), {"training": training, **figures, **kept}, weights)
    return weights


def _save(network: Cascade, out: Path, name: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    return weights


def _lesion(
    network: Cascade, draft: ModelCard, data: Path, coils: Complex, seed: int, sizes: Sizes
) -> tuple[dict[str, float], dict[str, Any]]:
    """What the card says of the lesion map, and the figures behind it for its record."""
    model = Model(network=network, card=draft)
    tuning, figures = (
        {
            f"{acceleration:g}x": lesion_figures(
                lesion_scans(source, coils, sizes.lesion, seed + i, acceleration), model
            )
            for acceleration in ACCELERATIONS
        }
        for i, source in enumerate((source_of(data, Part.TUNE), source_of(data, Part.TEST)))
    )
    strokes = load_strokes(data, Part.TEST)
    scans = stroke_scans(strokes, coils, sizes.real, seed, ACCELERATIONS[0]) if strokes else []
    real = real_figures(scans, model) if scans else {}
    lesion = {f"real_{name}": value for name, value in real.items()} | {
        "image_auc": min(found["image_auc"] for found in figures.values()),
        "pointing_game": min(found["pointing_game"] for found in figures.values()),
        "operating_score": max(found["score_at_specificity"] for found in tuning.values()),
        "threshold": MAP_THRESHOLD,
    }
    return lesion, {"lesion_held_out": figures, "lesion_tuning": tuning}


def measure_gate(weights: Path, data: Path, seed: int, sizes: Sizes | None = None) -> Path:
    """Measure domain, limits and verdicts of weights anew and write them into their card; returns its path.

    Raises InvalidModel as `weights.load_model` does.
    """
    model = load_model(weights)
    card, table = _with_gate(model.card, model.network, data, load_coils(data), seed, sizes or Sizes())
    _write_card(card, {**model.card.record, "verdicts": table}, weights)
    return weights.with_suffix(".json")


def _with_gate(
    card: ModelCard, network: Cascade, data: Path, coils: Complex, seed: int, sizes: Sizes
) -> tuple[ModelCard, list[dict[str, object]]]:
    """``card`` with the domain of the training subjects; verdicts on held-out ones under it."""
    draft = Model(network=network, card=card)
    domain = measure_domain(source_of(data, Part.TRAIN), coils, draft, sizes.domain, seed)
    guarded = replace(card, domain=domain, limits=limits())
    model = Model(network=network, card=guarded)
    return guarded, verdict_table(source_of(data, Part.TEST), coils, model, sizes.table, seed)


def _write_card(card: ModelCard, record: Mapping[str, Any], weights: Path) -> None:
    """The card as JSON and, made from it, as text for people."""
    entries = {
        "name": card.name,
        "sha256": card.sha256,
        "architecture": card.architecture,
        "domain": card.domain,
        "limits": card.limits,
        "lesion": card.lesion,
        "record": record,
    }
    weights.with_suffix(".json").write_text(json.dumps(entries, indent=1) + "\n")
    weights.with_suffix(".md").write_text(card_text(entries))


def _card(weights: Path, architecture: Mapping[str, Any]) -> ModelCard:
    """A card before anything is measured; it shows every map."""
    return ModelCard(
        name=weights.stem,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        architecture=architecture,
        domain={},
        limits=limits(),
        lesion={"operating_score": 0.0},
        record={},
    )
