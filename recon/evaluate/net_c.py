"""Net_c by itself, on images of the held-out subjects: what the cascade can expect of its map at best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lfmri_node.recon.lesion import activation_map
from lfmri_node.recon.metrics import area_under_curve, points_at
from lfmri_node.recon.phantom import LESION_KINDS
from lfmri_node.recon.train.data import FOLDS, ImageSource, LabelledImage, load_subjects
from lfmri_node.recon.train.images import degrade
from lfmri_node.recon.train.runs import Run
from lfmri_node.recon.types import Real

Change = Callable[[Real, np.random.Generator], Real]


def judge(run: Run, data: Path, n: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Image AUC and pointing game of a finished Net_c on ``n`` images, a lesion inserted in half of them.

    Returns ``{"fully sampled" or "degraded": {"all" or a kind: {"image_auc", "pointing_game"}}}``; a kind
    is judged against all images without a lesion.
    """
    subjects = load_subjects(data, FOLDS[run.recipe.fold].held_out)
    source = ImageSource(subjects, phantom_fraction=0.0, real_lesions=False)
    changes: dict[str, Change] = {
        "fully sampled": lambda image, rng: image,
        "degraded": degrade,
    }
    return {name: _judge_under(run, source, change, n, seed) for name, change in changes.items()}


def _judge_under(
    run: Run, source: ImageSource, change: Change, n: int, seed: int
) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    scores: dict[str, list[float]] = {"": [], **{kind: [] for kind in LESION_KINDS}}
    hits: dict[str, list[bool]] = {kind: [] for kind in LESION_KINDS}
    for _ in range(n):
        entry = source.draw_labelled(rng)
        score, hit = _answer(run, entry, change(entry.image, rng))
        kind = "" if entry.lesion is None else entry.lesion.kind
        scores[kind].append(score)
        if kind:
            hits[kind].append(hit)
    seen = [kind for kind in LESION_KINDS if hits[kind]]
    groups = {"all": seen, **{kind: [kind] for kind in seen}}
    return {
        name: {
            "image_auc": _auc([s for kind in kinds for s in scores[kind]], scores[""]),
            "pointing_game": float(np.mean([h for kind in kinds for h in hits[kind]])),
        }
        for name, kinds in groups.items()
    }


def _auc(positive: list[float], negative: list[float]) -> float:
    return area_under_curve([*positive, *negative], [True] * len(positive) + [False] * len(negative))


def _answer(run: Run, entry: LabelledImage, image: Real) -> tuple[float, bool]:
    """Score of an image, and whether the map's peak lies at its lesion."""
    magnitude = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
    with torch.inference_mode():
        logits, logit_map = run.network(magnitude)
        activation = activation_map(logits, logit_map, (image.shape[0], image.shape[1]))[0].amax(0).numpy()
    score = float(logits.max())
    if entry.lesion is None:
        return score, False
    return score, points_at(activation, entry.lesion.mask)
