"""The measured sets: real noise, real phase; nothing is trained or chosen on them.

Truth of a fully sampled set: all lines combined with ESPIRiT maps of all data, turned to the phase of
the maps that the undersampled data gave (only magnitudes are compared). It holds the noise of the sampled
lines.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfmri_node.recon.evaluate.cases import Case, undersample
from lfmri_node.recon.evaluate.sweep import CaseSource
from lfmri_node.recon.sense.classical import zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import acceleration as acceleration_of
from lfmri_node.recon.sense.sampling import equispaced_lines, random_lines
from lfmri_node.recon.types import Bool, Complex, KSpace

BRAIN, LOW_FIELD, PROSPECTIVE = "measured brain", "measured brain, 0.055 T", "prospective, 8 coils"
BRAIN_EQUISPACED = "measured brain, equispaced lines"
PATTERNS = ((BRAIN, 4.0), (BRAIN_EQUISPACED, 4.0), (BRAIN, 8.0))
"""Data set and acceleration of the measured brain's masks."""
CENTRE_FRACTION = {2.0: 0.08, 4.0: 0.08, 8.0: 0.04}
SEARCH_MASKS = (1000,)
"""Mask seeds of the search of the rivals' regularisation: not among those that are reported."""
LOW_FIELD_SUBJECTS = ("F6A", "F6B", "F7A", "S6A")


def brain_sources(data: Path, n_masks: int) -> list[CaseSource]:
    """The 13-coil brain under ``n_masks`` masks of each pattern, where it is in ``data``."""
    if not (data / "raw_brain_13ch.npz").is_file():
        return []
    return [brain_source(data, dataset, acceleration, n_masks) for dataset, acceleration in PATTERNS]


def other_measured_sources(data: Path) -> list[CaseSource]:
    """The measured sets beside that brain that are in ``data``."""
    sources = []
    if (data / "raw_brain_055T.npz").is_file():
        sources.append(_low_field(data))
    if (data / "raw_brain_8ch_prospective.npz").is_file():
        sources.append(_prospective(data))
    return sources


def lines_of(n: int, acceleration: float, seed: int, *, equispaced: bool = False) -> Bool:
    """Lines bool (n,) by the fastMRI convention, centre 8 % (2x, 4x) or 4 % (8x)."""
    rng, fraction = np.random.RandomState(seed), CENTRE_FRACTION[acceleration]
    if equispaced:
        return equispaced_lines(n, round(acceleration), fraction, rng)
    return random_lines(n, acceleration, fraction, rng)


def retrospective(
    complete: Complex,
    lines: Bool,
    *,
    dataset: str,
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


def brain_source(data: Path, dataset: str, acceleration: float, n_masks: int) -> CaseSource:
    """Both flip angles under ``n_masks`` masks; samples are named ``flip/mask seed``.

    Of equispaced lines there are as many masks as the acceleration has offsets, and no more are taken.
    """
    with np.load(data / "raw_brain_13ch.npz") as arrays:
        complete, flips = arrays["kspace"], [f"{flip:g} degrees" for flip in arrays["flip_deg"]]
    equispaced = dataset == BRAIN_EQUISPACED
    drawn = {
        lines_of(complete.shape[-1], acceleration, seed, equispaced=equispaced).tobytes(): seed
        for seed in reversed(range(n_masks))
    }
    seeds = sorted(drawn.values())

    def load(sample: str) -> Case:
        flip, seed = sample.split("/")
        planes = np.ascontiguousarray(complete[flips.index(flip)])
        return retrospective(
            planes,
            lines_of(planes.shape[2], acceleration, int(seed), equispaced=equispaced),
            dataset=dataset,
            subject="one volunteer",
            volume=f"{dataset}/{acceleration:g}/{sample}",
            acceleration=acceleration,
            sample=sample,
            field_strength_t=None,
        )

    return CaseSource(
        dataset=dataset,
        acceleration=acceleration,
        samples=tuple(f"{flip}/{seed}" for flip in flips for seed in seeds),
        load=load,
        search=lambda: [load(f"{flip}/{mask}") for flip in flips for mask in SEARCH_MASKS],
        setting=f"{dataset}, {acceleration:g}x",
    )


def _low_field(data: Path) -> CaseSource:
    """One coil at 2x; samples are named ``patient_contrast/slice``; a slice is a volume of its own."""
    with np.load(data / "raw_brain_055T.npz") as arrays:
        names = [name for name in arrays.files if name.split("_")[0] in LOW_FIELD_SUBJECTS]
        volumes = {name: arrays[name] for name in names}

    def load(sample: str, seed: int = 0) -> Case:
        name, index = sample.split("/")
        planes = np.ascontiguousarray(volumes[name][int(index)][None], dtype=np.complex64)
        return retrospective(
            planes,
            lines_of(planes.shape[2], 2.0, seed),
            dataset=LOW_FIELD,
            subject=name.split("_")[0],
            volume=f"{LOW_FIELD}/{sample}",
            acceleration=2.0,
            sample=sample,
            field_strength_t=0.055,
        )

    return CaseSource(
        dataset=LOW_FIELD,
        acceleration=2.0,
        samples=tuple(f"{name}/{s}" for name, volume in volumes.items() for s in range(len(volume))),
        load=load,
        search=lambda: [load(f"{name}/0", SEARCH_MASKS[0]) for name in names[::3]],
        setting=f"{LOW_FIELD}, 2x",
    )


def _prospective(data: Path) -> CaseSource:
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
            subject="one volunteer",
            volume=PROSPECTIVE,
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
        acceleration=round(acceleration_of(points), 2),
        samples=("slice",),
        load=load,
        search=list,
        setting=PROSPECTIVE,
        point_mask=True,
    )
