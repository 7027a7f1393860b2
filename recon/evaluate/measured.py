"""The measured sets: real noise, real phase, never trained on.

Truth of a fully sampled set: all lines combined with ESPIRiT maps of all data, turned to the phase of
the maps that the undersampled data gave (only magnitudes are compared). Every fold's network is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfmri_node.recon.baseline import zero_filled
from lfmri_node.recon.coilmaps import estimate
from lfmri_node.recon.evaluate.cases import Case, undersample
from lfmri_node.recon.evaluate.sweep import CaseSource
from lfmri_node.recon.sampling import acceleration as acceleration_of
from lfmri_node.recon.sampling import random_lines
from lfmri_node.recon.train.data import Fold
from lfmri_node.recon.types import Bool, Complex, KSpace

BRAIN, LOW_FIELD, PROSPECTIVE = "measured brain, 13 coils", "measured brain, 0.055 T", "prospective, 8 coils"
CENTRE_FRACTION = {2.0: 0.08, 4.0: 0.08, 8.0: 0.04}
N_MASKS = 2
SEARCH_MASKS = (1000, 1001)
"""Mask seeds of the search of the rivals' regularisation: not among those that are reported."""
LOW_FIELD_SUBJECTS = ("F6A", "F6B", "F7A", "S6A")


def measured_sources(data: Path, accelerations: tuple[float, ...], fold: Fold) -> list[CaseSource]:
    """Sources of the measured sets that are in ``data``, for the networks of one fold.

    The 0.055 T patients are those of the 3 T images: only the fold's held-out ones are taken.
    """
    sources = []
    if (data / "raw_brain_13ch.npz").is_file():
        sources += [_brain(data, acceleration, fold.index) for acceleration in accelerations]
    if (data / "raw_brain_055T.npz").is_file():
        sources.append(_low_field(data, fold))
    if (data / "raw_brain_8ch_prospective.npz").is_file():
        sources.append(_prospective(data, fold.index))
    return sources


def lines_of(n: int, acceleration: float, seed: int) -> Bool:
    """Random lines by the fastMRI convention, centre 8 % (2x, 4x) or 4 % (8x)."""
    return random_lines(n, acceleration, CENTRE_FRACTION[acceleration], np.random.RandomState(seed))


def retrospective(
    complete: Complex,
    lines: Bool,
    *,
    dataset: str,
    fold: int,
    subject: str,
    volume: str,
    acceleration: float,
    sample: str,
    field_strength_t: float | None,
    label: bool | None = None,
) -> Case:
    """A fully sampled slice c64 (c, r, p) of which only ``lines`` are given; scaled to tissue of about 1."""
    whole = KSpace(data=complete, sampled=np.ones(complete.shape[2], dtype=bool))
    truth = zero_filled(whole, estimate(whole))
    scale = float(np.percentile(np.abs(truth), 99.5))
    kspace = undersample(complete / np.float32(scale), lines)
    truth = (truth / scale).astype(np.complex64)
    return Case(
        dataset=dataset,
        fold=fold,
        subject=subject,
        volume=volume,
        group=dataset,
        field_strength_t=field_strength_t,
        acceleration=acceleration,
        sample=sample,
        kspace=kspace,
        maps=estimate(kspace),
        truth=truth,
        peak=float(np.abs(truth).max()),
        label=label,
        lesion_kind="",
    )


def _brain(data: Path, acceleration: float, fold: int) -> CaseSource:
    """Both flip angles under `N_MASKS` masks; samples are named ``flip/mask seed``."""
    with np.load(data / "raw_brain_13ch.npz") as arrays:
        complete, flips = arrays["kspace"], [f"{flip:g} degrees" for flip in arrays["flip_deg"]]

    def load(sample: str) -> Case:
        flip, seed = sample.split("/")
        planes = np.ascontiguousarray(complete[flips.index(flip)])
        return retrospective(
            planes,
            lines_of(planes.shape[2], acceleration, int(seed)),
            dataset=BRAIN,
            fold=fold,
            subject="one volunteer",
            volume=f"{BRAIN}/{fold}/{acceleration:g}/{sample}",
            acceleration=acceleration,
            sample=sample,
            field_strength_t=None,
        )

    return CaseSource(
        dataset=BRAIN,
        fold=fold,
        acceleration=acceleration,
        samples=tuple(f"{flip}/{seed}" for flip in flips for seed in range(N_MASKS)),
        load=load,
        search=lambda: [load(f"{flip}/{mask}") for flip in flips for mask in SEARCH_MASKS],
        setting=f"{BRAIN}, {acceleration:g}x",
    )


def _low_field(data: Path, fold: Fold) -> CaseSource:
    """One coil at 2x; samples are named ``patient_contrast/slice``; a slice is a volume of its own."""
    with np.load(data / "raw_brain_055T.npz") as arrays:
        names_of_all = [name for name in arrays.files if name.split("_")[0] in LOW_FIELD_SUBJECTS]
        volumes = {name: arrays[name] for name in names_of_all}

    def load(sample: str, seed: int = 0) -> Case:
        name, index = sample.split("/")
        planes = np.ascontiguousarray(volumes[name][int(index)][None], dtype=np.complex64)
        return retrospective(
            planes,
            lines_of(planes.shape[2], 2.0, seed),
            dataset=LOW_FIELD,
            fold=fold.index,
            subject=name.split("_")[0],
            volume=f"{LOW_FIELD}/{fold.index}/{sample}",
            acceleration=2.0,
            sample=sample,
            field_strength_t=0.055,
        )

    names = {name: [f"{name}/{s}" for s in range(len(volume))] for name, volume in volumes.items()}
    mine = [name for name in volumes if name.split("_")[0] in fold.held_out]
    others = [samples[0] for name, samples in names.items() if name not in mine]
    return CaseSource(
        dataset=LOW_FIELD,
        fold=fold.index,
        acceleration=2.0,
        samples=tuple(sample for name in mine for sample in names[name]),
        load=load,
        search=lambda: [load(sample, SEARCH_MASKS[0]) for sample in others],
        setting=f"{LOW_FIELD}, fold {fold.index}, 2x",
    )


def _prospective(data: Path, fold: int) -> CaseSource:
    """Poisson-disc points: no truth, so the data residual alone; the rivals' lambdas are the defaults."""
    with np.load(data / "raw_brain_8ch_prospective.npz") as arrays:
        measured = arrays["kspace"].astype(np.complex64)
    points = np.any(measured != 0, axis=0)

    def load(sample: str) -> Case:
        kspace = KSpace(data=measured, sampled=points)
        maps = estimate(kspace)
        scale = np.float32(max(float(np.percentile(np.abs(zero_filled(kspace, maps)), 99.5)), 1e-12))
        return Case(
            dataset=PROSPECTIVE,
            fold=fold,
            subject="one volunteer",
            volume=f"{PROSPECTIVE}/{fold}",
            group=PROSPECTIVE,
            field_strength_t=None,
            acceleration=round(acceleration_of(points), 2),
            sample=sample,
            kspace=KSpace(data=measured / scale, sampled=points),
            maps=maps,
            truth=None,
            peak=1.0,
            label=None,
            lesion_kind="",
        )

    return CaseSource(
        dataset=PROSPECTIVE,
        fold=fold,
        acceleration=round(acceleration_of(points), 2),
        samples=("slice",),
        load=load,
        search=list,
        setting=PROSPECTIVE,
        point_mask=True,
    )
