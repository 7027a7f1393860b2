"""Net_c by itself on patients that it has not seen: what the cascade can expect of its map at best.

Real strokes with a mask and a contrast that can be seen, against slices without a mask; lesions inserted into
other anatomies, by kind; and whether the map has a preferred direction. Never an area under the curve without
the pointing game beside it, nor the pointing game without its chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfmri_node.recon.evaluate.statistics import ScoredPairs, Summary, area_with_interval, summarise
from lfmri_node.recon.method.lesion import STRIDE, activation_map, tissue
from lfmri_node.recon.metrics import pointing_chance, points_at
from lfmri_node.recon.phantom.body import LESION_KINDS, insert_lesion, phantom_volume
from lfmri_node.recon.train.images import degrade
from lfmri_node.recon.train.lesion_images import healthy_images
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.strokes import Stroke, load_strokes
from lfmri_node.recon.train.visibility import VISIBLE, contrast_to_noise
from lfmri_node.recon.types import Bool, Real

SIZES_PX = {"30 to 200 px": (30, 200), "200 to 1000 px": (200, 1000), "over 1000 px": (1000, np.inf)}
CONTRASTS = {"CNR 1 to 2": (1, 2), "CNR 2 to 4": (2, 4), "CNR over 4": (4, np.inf)}
N_PHANTOMS = 60
PHANTOM_SIDE = 160
CHANGES: dict[str, Callable[[Real, np.random.Generator], Real]] = {
    "fully sampled": lambda image, rng: image,
    "degraded": degrade,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Net_c says of one image.

    Parameters
    ----------
    score
        The largest slice logit.
    hit, chance
        Pointing game: the map's peak lies within 4 px of the lesion, and the fraction of the tissue that
        does.
    groups
        Names of the groups that a positive counts in; empty for an image without a lesion.
    """

    patient: str
    score: float
    hit: bool = False
    chance: float = 0.0
    groups: tuple[str, ...] = field(default=())


def judge(network: nn.Module, data: Path, part: Part, n: int, seed: int) -> dict[str, Any]:
    """All figures of a finished Net_c on the patients of ``part``; ``n`` images for the inserted lesions.

    Returns
    -------
    ``{"strokes" or "inserted": {"fully sampled" or "degraded": {group: figures}}, "offset": ...}`` with the
    figures of `group_figures` and the offset of `mean_offset`. The groups of the strokes are ``all`` (from 30
    px on), ``from 200 px``, those of `SIZES_PX` and `CONTRASTS`, ``axial`` and ``coronal``; of the inserted
    lesions ``all`` and the kinds. ``strokes`` is empty where the folder has none.
    """
    images = healthy_images(data, part, n, seed)
    return {
        "strokes": {
            name: group_figures(_on_strokes(network, data, part, change, seed))
            for name, change in CHANGES.items()
        },
        "inserted": {
            name: group_figures(_on_inserted(network, images, change, seed))
            for name, change in CHANGES.items()
        },
        "offset": mean_offset(network, N_PHANTOMS, seed),
    }


def answer(network: nn.Module, image: Real, lesion: Bool | None) -> tuple[float, bool, float]:
    """Score of an image f32 (r, p); with a lesion bool (r, p) whether the map points at it; its chance."""
    magnitude = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
    score, activation = _look(network, magnitude)
    if lesion is None:
        return score, False, 0.0
    cells = tissue(magnitude).cells[0, 0].numpy()
    inside = np.kron(cells, np.ones((STRIDE, STRIDE), dtype=bool))[: image.shape[0], : image.shape[1]]
    return score, points_at(activation, lesion), pointing_chance(inside, lesion)


def _look(network: nn.Module, magnitude: Tensor) -> tuple[float, Real]:
    """Largest slice logit, and activation map f32 (r, p), of a magnitude f32 (1, 1, r, p)."""
    with torch.inference_mode():
        logits, logit_map = network(magnitude)
        activation = activation_map(logits, logit_map, (magnitude.shape[2], magnitude.shape[3]))
    return float(logits.max()), activation[0].amax(0).numpy()


def _on_strokes(
    network: nn.Module, data: Path, part: Part, change: Callable[..., Real], seed: int
) -> Iterable[Answer]:
    """Strokes below a CNR of 1 or 30 px are neither positives nor negatives."""
    rng = np.random.default_rng(seed)
    for plane in ("axial", "coronal"):
        for stroke in load_strokes(data, part, coronal=plane == "coronal"):
            image = change(stroke.image, rng)
            if not stroke.mask.any():
                yield Answer(patient=stroke.subject, score=answer(network, image, None)[0])
            elif groups := _groups(stroke, plane):
                score, hit, chance = answer(network, image, stroke.mask)
                yield Answer(patient=stroke.subject, score=score, hit=hit, chance=chance, groups=groups)


def _groups(stroke: Stroke, plane: str) -> tuple[str, ...]:
    size = int(stroke.mask.sum())
    if stroke.cnr <= VISIBLE or size < SIZES_PX["30 to 200 px"][0]:
        return ()
    bins = [name for name, (low, high) in SIZES_PX.items() if low <= size < high]
    bins += [name for name, (low, high) in CONTRASTS.items() if low < stroke.cnr <= high]
    large = ("from 200 px",) if size >= SIZES_PX["200 to 1000 px"][0] else ()
    return ("all", plane, *large, *bins)


def _on_inserted(
    network: nn.Module, images: list[tuple[str, Real]], change: Callable[..., Real], seed: int
) -> Iterable[Answer]:
    """Kinds in turn; of every image both what it is with a lesion that can be seen and what it is without."""
    rng = np.random.default_rng(seed)
    for i, (subject, image) in enumerate(images):
        kind = LESION_KINDS[i % len(LESION_KINDS)]
        edited, lesion = insert_lesion(image, kind, rng)
        yield Answer(patient=subject, score=answer(network, change(image, rng), None)[0])
        if lesion is not None and contrast_to_noise(edited, lesion.mask) > VISIBLE:
            score, hit, chance = answer(network, change(edited, rng), lesion.mask)
            yield Answer(patient=subject, score=score, hit=hit, chance=chance, groups=("all", kind))


def group_figures(answers: Iterable[Answer]) -> dict[str, dict[str, Any]]:
    """For each group its positives against all images without a lesion.

    ``{"n", "n_negative", "image_auc", "pointing", "chance"}``; of the two figures ``{"value", "low",
    "high"}`` with the 95 % bootstrap interval by patient, None where it is not defined.
    """
    all_answers = list(answers)
    negatives = [a for a in all_answers if not a.groups]
    names = dict.fromkeys(name for a in all_answers for name in a.groups)
    found = {}
    for name in names:
        positives = [a for a in all_answers if name in a.groups]
        found[name] = {
            "n": len(positives),
            "n_negative": len(negatives),
            "image_auc": _auc(positives, negatives) if negatives else None,
            "pointing": _figures_of(summarise([a.hit for a in positives], [a.patient for a in positives])),
            "chance": float(np.mean([a.chance for a in positives])),
        }
    return found


def _auc(positives: list[Answer], negatives: list[Answer]) -> dict[str, float | None]:
    every = [*positives, *negatives]
    labels = [True] * len(positives) + [False] * len(negatives)
    patients = [a.patient for a in every]
    pairs = ScoredPairs([a.score for a in every], labels, patients, sorted(set(patients)))
    return _figures_of(area_with_interval([pairs]))


def _figures_of(found: Summary | None) -> dict[str, float | None]:
    assert found is not None  # there are positives and negatives
    low, high = found.interval or (None, None)
    return {"value": found.mean, "low": low, "high": high}


def mean_offset(network: nn.Module, n: int, seed: int) -> dict[str, float]:
    """Where the map's peak stands from the middle of the lesion that it points at, in pixels of the array.

    On ``n`` phantoms with one lesion each, in all eight orientations: what is due to one lesion's shape
    cancels, a preferred direction of the map does not. ``{"n", "found", "rows", "columns"}``: images, how
    many of them the map points at the lesion in, the mean offset over those; nan where that is none.
    """
    rng = np.random.default_rng(seed)
    offsets = []
    for i in range(n):
        image = phantom_volume(1, (PHANTOM_SIDE, PHANTOM_SIDE), rng)[0]
        edited, lesion = insert_lesion(image, LESION_KINDS[i % len(LESION_KINDS)], rng)
        if lesion is not None and lesion.mask.any():
            offsets += [_offset(network, orient(edited), orient(lesion.mask)) for orient in _orientations()]
    found = [offset for offset in offsets if offset is not None]
    rows, columns = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return {"n": len(offsets), "found": len(found), "rows": float(rows), "columns": float(columns)}


def _orientations() -> list[Callable[[Any], Any]]:
    turns = [lambda a, k=k: np.rot90(a, k) for k in range(4)]
    return [*turns, *(lambda a, t=t: t(a)[::-1] for t in turns)]


def _offset(network: nn.Module, image: Real, lesion: Bool) -> NDArray[np.float64] | None:
    magnitude = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    _, activation = _look(network, magnitude)
    if not points_at(activation, lesion):
        return None
    peak = np.unravel_index(int(activation.argmax()), activation.shape)
    return np.asarray(np.array(peak) - np.argwhere(lesion).mean(axis=0))


def lines(judged: dict[str, Any]) -> list[str]:
    """What `judge` found as lines of text."""
    rows = [f"{'':46}{'n':>5}  {'image AUC':20}{'pointing':20}chance"]
    for source in ("strokes", "inserted"):
        for state, groups in judged[source].items():
            rows += [
                f"{f'{source}, {state}, {name}':46}{f['n']:>5}  {_figure(f['image_auc']):20}"
                f"{_figure(f['pointing']):20}{f['chance']:.2f}"
                for name, f in groups.items()
            ]
    offset = judged["offset"]
    rows.append(
        f"offset of the peak (row, column): {offset['rows']:+.2f}, {offset['columns']:+.2f} px, "
        f"found in {offset['found']} of {offset['n']} phantoms"
    )
    return rows


def _figure(figure: dict[str, float | None] | None) -> str:
    if figure is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.2f}"
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
