"""The fallback studied: which weight its wavelets need, and whether left-out samples choose as the truth.

Weights are chosen on simulated scans of patients for tuning; the measured brain only shows how they carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lfmri_node.recon.evaluate.cases import undersample
from lfmri_node.recon.sense.classical import cg_sense, wavelet, zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import equispaced_fraction_lines, random_lines
from lfmri_node.recon.train.data import source_of
from lfmri_node.recon.train.samples import draw_scan, load_coils, true_image
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.trust.fallback import JUDGED, Solver, judge
from lfmri_node.recon.types import Bool, CoilMaps, Complex, KSpace, Real

CG_SENSE = "cg-sense"
WEIGHTS = (0.001, 0.002, 0.004, 0.032)
"""Of the wavelets, in units of the brightest pixel of A^H y; the last is far too large, to see it refused."""
SOLVERS: Mapping[str, Solver] = {CG_SENSE: cg_sense} | {
    f"wavelet {weight:g}": partial(wavelet, lamda=weight) for weight in WEIGHTS
}
ACCELERATIONS = (2.0, 4.0, 8.0)
MATRIX = 128
MEASURED = "measured brain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One slice with its truth f32 (r, p); ``group`` is what its row of the tables is called."""

    group: str
    kspace: KSpace
    maps: CoilMaps
    truth: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Of one scan, by solver: PSNR in dB against the truth, and the error that left-out samples tell."""

    group: str
    psnr: dict[str, float]
    judged: dict[str, float]


def simulated(data: Path, n: int, seed: int) -> Iterator[Scan]:
    """``n`` slices of patients for tuning, at 2x, 4x and 8x in turn, 4 to 20 coils, noise 0.1 to 5 %."""
    source, coils = source_of(data, Part.TUNE), load_coils(data)
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        acceleration = ACCELERATIONS[i % len(ACCELERATIONS)]
        drawn = draw_scan(source, coils, rng, acceleration=acceleration, size=MATRIX, disturbed=True)
        maps = estimate(drawn.kspace)
        truth = np.abs(true_image(drawn, maps.maps))
        yield Scan(group=f"simulated, {acceleration:g}x", kspace=drawn.kspace, maps=maps, truth=truth)


def measured(data: Path, seeds: Sequence[int]) -> Iterator[Scan]:
    """The measured brain, both flip angles: random 4x, equispaced 4x, random 8x."""
    with np.load(data / "raw_brain_13ch.npz") as arrays:
        slices = [np.ascontiguousarray(kspace) for kspace in arrays["kspace"]]
    for seed in seeds:
        for complete in slices:
            whole = undersample(complete, np.ones(complete.shape[2], dtype=bool))
            truth = np.abs(zero_filled(whole, estimate(whole)))
            for name, lines in masks(complete.shape[2], seed).items():
                kspace = undersample(complete, lines)
                group = f"{MEASURED}, {name}"
                yield Scan(group=group, kspace=kspace, maps=estimate(kspace), truth=truth)


def masks(n: int, seed: int) -> dict[str, Bool]:
    """Lines by the conventions of fastMRI."""
    return {
        "random 4x": random_lines(n, 4, 0.08, np.random.RandomState(seed)),
        "equispaced 4x": equispaced_fraction_lines(n, 4, 0.08, np.random.RandomState(seed)),
        "random 8x": random_lines(n, 8, 0.04, np.random.RandomState(seed)),
    }


def verdicts(scan: Scan) -> Verdicts:
    """Every solver on one scan; the samples are left out `JUDGED` times, as in service."""
    return Verdicts(
        group=scan.group,
        psnr={name: psnr(solver(scan.kspace, scan.maps), scan.truth) for name, solver in SOLVERS.items()},
        judged=judge([(scan.kspace, scan.maps)] * JUDGED, SOLVERS),
    )


def psnr(image: Complex, truth: Real) -> float:
    """Of the magnitude, in dB; the peak is the truth's."""
    return float(10 * np.log10(truth.max() ** 2 / np.mean((np.abs(image) - truth) ** 2)))


def report(found: Sequence[Verdicts]) -> str:
    """Two Markdown tables by group: mean PSNR, and how often and how well left-out samples choose."""
    groups = list(dict.fromkeys(entry.group for entry in found))
    rows = {group: [entry for entry in found if entry.group == group] for group in groups}
    quality = [
        ["scans", "n", *SOLVERS, "weight by left-out samples", "best weight of each scan"],
        *([group, str(len(of)), *_quality(of)] for group, of in rows.items()),
    ]
    agreement = [
        ["scans", "n", *(f"{name} against {CG_SENSE}" for name in SOLVERS if name != CG_SENSE)],
        *([group, str(len(of)), *_agreement(of)] for group, of in rows.items()),
    ]
    return (
        f"Mean PSNR in dB\n\n{_table(quality)}\n\nChoices of left-out samples that agree with the truth; mean"
        " dB lost against always choosing right; mean dB lost by always taking wavelets"
        f"\n\n{_table(agreement)}"
    )


def _quality(of: Sequence[Verdicts]) -> list[str]:
    wavelets = [name for name in SOLVERS if name != CG_SENSE]
    columns = [[entry.psnr[name] for entry in of] for name in SOLVERS]
    columns.append([entry.psnr[min(wavelets, key=entry.judged.__getitem__)] for entry in of])
    columns.append([max(entry.psnr[name] for name in wavelets) for entry in of])
    return [f"{np.mean(column):.2f}" for column in columns]


def _agreement(of: Sequence[Verdicts]) -> list[str]:
    cells = []
    for name in SOLVERS:
        if name == CG_SENSE:
            continue
        gains = np.array([entry.psnr[name] - entry.psnr[CG_SENSE] for entry in of])
        chosen = np.array([entry.judged[name] <= entry.judged[CG_SENSE] for entry in of])
        lost = np.where(chosen == (gains >= 0), 0.0, np.abs(gains))
        agreed = int(np.count_nonzero(lost == 0))
        cells.append(f"{agreed} of {len(of)}; {lost.mean():.2f}; {np.maximum(-gains, 0).mean():.2f}")
    return cells


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
