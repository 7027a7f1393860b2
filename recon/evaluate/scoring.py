"""One answer against its case: a row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.detail import body_of, contrast_kept, detail, lesion_facts, near_lesion
from lfmri_node.recon.evaluate.lesion_metrics import (
    lesion_quality,
    lf_psnr_of_outline,
    map_quality,
    slice_quality,
)
from lfmri_node.recon.evaluate.methods import Method, TimedAnswer
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.trust.indicators import data_residual
from lfmri_node.recon.types import Real

Diagnosis = Callable[[Real], float]
"""Probability of a lesion in a magnitude image f32 (r, p), by a classifier trained on complete data."""

TRUTH = "Fully sampled"
"""Name of the truth itself where it stands in a table as a method."""


def row_of(case: Case, method: Method, done: TimedAnswer, seed: int, diagnosis: Diagnosis | None) -> Row:
    """Measure ``done`` against the truth, the boxes and the label of ``case``."""
    case = done.answer.case or case
    image = np.abs(case.view(done.answer.image)).astype(np.float32)
    psnr = ssim = nmse = body = None
    inside = fine = facts = outline = contrast = None
    if case.truth is not None:
        truth = np.abs(case.truth).astype(np.float32)
        body = body_of(truth)
        psnr, ssim, nmse = slice_quality(image, truth, case.peak)
        inside = lesion_quality(image, truth, case.boxes, case.peak)
        fine = detail(image, truth, body)
        facts = lesion_facts(truth, case.lesion)
        if facts is not None and case.lesion is not None:
            outline = lf_psnr_of_outline(image, truth, near_lesion(case.lesion), case.peak)
            contrast = contrast_kept(image, truth, case.lesion)
    activation = done.answer.activation
    found = None if activation is None else map_quality(case.view(activation), case.boxes, case.lesion, body)
    misfit, energy = data_residual(case.kspace, case.maps, done.answer.image)
    return Row(
        dataset=case.dataset,
        method=method.name,
        run=method.run,
        weights=method.weights,
        seed=seed,
        subject=case.subject,
        volume=case.volume,
        group=case.group,
        field_strength_t=case.field_strength_t,
        acceleration=case.acceleration,
        sample=case.sample,
        label=case.label,
        lesion_kind=case.lesion_kind,
        psnr=psnr,
        ssim=ssim,
        nmse=nmse,
        detail_kept=None if fine is None else fine.kept,
        detail_correlation=None if fine is None else fine.correlation,
        boxes=len(case.boxes),
        boxes_dropped=case.boxes_dropped,
        lf_psnr=None if inside is None else inside.lf_psnr_db,
        lf_ssim=None if inside is None else inside.lf_ssim,
        lf_psnr_crop=None if inside is None else inside.lf_psnr_crop_db,
        lesion_px=None if facts is None else facts.pixels,
        lesion_cnr=None if facts is None else facts.cnr,
        lf_psnr_outline=outline,
        contrast_kept=contrast,
        score=done.answer.score,
        pointed=None if found is None else found.pointed,
        pointed_inside=None if found is None else found.inside,
        iou=None if found is None else found.iou,
        energy_inside=None if found is None else found.energy_inside,
        pointing_chance=None if found is None else found.chance,
        diagnosis_score=None if diagnosis is None else diagnosis(image),
        data_residual=math.sqrt(misfit / energy) if energy > 0 else 0.0,
        seconds=done.seconds,
    )
