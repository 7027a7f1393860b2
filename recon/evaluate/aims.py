"""The stated aims, each held against the rows: holds, falls short, or not measured. Nothing is hard-coded
but the aims themselves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lfmri_node.recon.evaluate.aggregate import (
    CHANCE,
    DETAIL,
    LF_PSNR,
    LF_SSIM,
    POINTED,
    PSNR,
    SSIM,
    Metric,
    auc,
    difference,
    summary,
)
from lfmri_node.recon.evaluate.evidence import SIMULATED, Evidence
from lfmri_node.recon.evaluate.learned import RANDOM
from lfmri_node.recon.evaluate.measured import BRAIN, BRAIN_EQUISPACED, PATTERNS
from lfmri_node.recon.evaluate.methods import BART_WAVELETS
from lfmri_node.recon.evaluate.real_lesions import REAL, STROKES
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.statistics import MINIMUM_SUBJECTS, Difference
from lfmri_node.recon.types import LesionWeighting

LESION_GAIN_DB = 0.3
PSNR_LOSS_DB = 0.05
"""An overall PSNR lower by no more than this counts as no loss."""
IMAGE_AUC, POINTING = 0.87, 0.77
"""On own reconstructions of strokes of all sizes: 0.03 below the aims on fully sampled images."""
MEASURED_GAIN_DB = {(BRAIN, 4.0): 1.5, (BRAIN_EQUISPACED, 4.0): 1.0, (BRAIN, 8.0): 2.0}
"""PSNR over BART's wavelets on the measured brain."""


class Standing(StrEnum):
    """How an aim stands; in the mean only: the interval reaches below, or fewer than six subjects."""

    HOLDS = "holds"
    PARTLY = "holds in the mean only"
    SHORT = "falls short"
    OPEN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One stated aim, how it stands, and the figures behind that."""

    statement: str
    standing: Standing
    evidence: str


def aims(evidence: Evidence) -> list[Aim]:
    """Every aim of the evaluation, at every acceleration that was run."""
    found = [_measured(evidence, dataset, acceleration) for dataset, acceleration in PATTERNS]
    for acceleration in evidence.accelerations:
        found.append(_lesion_term(evidence, acceleration, (REAL,), "real lesions"))
        found.append(_lesion_term(evidence, acceleration, SIMULATED, "all lesions"))
    for acceleration in evidence.accelerations:
        found += [_ahead(evidence, metric, acceleration) for metric in (PSNR, SSIM, LF_PSNR, LF_SSIM)]
    found += _map_aims(evidence)
    found.append(_speed(evidence))
    return found


def _text(gap: Difference, metric: Metric) -> str:
    text = f"{gap.mean:+.{metric.digits}f}"
    if gap.interval is None:
        return text
    return f"{text} [{gap.interval[0]:+.{metric.digits}f}, {gap.interval[1]:+.{metric.digits}f}]"


def _standing(gaps: list[Difference], floor: float = 0.0) -> Standing:
    """Holds where each difference is sure to be above zero and each mean reaches ``floor``."""
    if any(gap.mean < floor or gap.mean <= 0 for gap in gaps):
        return Standing.SHORT
    return Standing.HOLDS if all(gap.is_sure for gap in gaps) else Standing.PARTLY


def _ahead(evidence: Evidence, metric: Metric, acceleration: float) -> Aim:
    """Ahead of every learned rival; the closest rival is named."""
    ours = evidence.of(evidence.ours, acceleration=acceleration)
    gaps: dict[str, Difference] = {}
    for rival in evidence.rivals():
        gap = difference(ours, evidence.of(rival, acceleration=acceleration), metric)
        if gap is not None:
            gaps[rival] = gap
    statement = f"Ahead of every learned rival in {metric.heading} at {acceleration:g}x"
    if not gaps:
        return Aim(statement=statement, standing=Standing.OPEN, evidence="no learned rival was run")
    missing = [rival for rival in evidence.rivals() if rival not in gaps]
    parts = [f"{rival} {_text(gap, metric)}" for rival, gap in sorted(gaps.items(), key=lambda g: g[1].mean)]
    parts += [f"{rival} not run" for rival in missing]
    n_subjects = max(gap.n_subjects for gap in gaps.values())
    standing = _standing(list(gaps.values()))
    if missing and standing is not Standing.SHORT:
        standing = Standing.OPEN
    return Aim(statement=statement, standing=standing, evidence=f"{'; '.join(parts)}; {n_subjects} subjects")


def _lesion_term(evidence: Evidence, acceleration: float, datasets: tuple[str, ...], where: str) -> Aim:
    statement = (
        f"Inside {where} at {acceleration:g}x at least +{LESION_GAIN_DB:g} dB LF-PSNR against the network "
        "retrained without the lesion term, no loss of PSNR, and ahead of an equally large C elsewhere"
    )
    off = next(iter(evidence.terms()), "")
    ours, theirs, elsewhere = (
        evidence.of(title, datasets, acceleration) for title in (evidence.with_map, off, RANDOM)
    )
    inside, overall = difference(ours, theirs, LF_PSNR), difference(ours, theirs, PSNR)
    placed = difference(ours, elsewhere, LF_PSNR)
    if inside is None or overall is None or placed is None:
        return Aim(statement=statement, standing=Standing.OPEN, evidence="not run")
    standing = _standing([inside], LESION_GAIN_DB)
    if overall.mean < -PSNR_LOSS_DB or placed.mean <= 0:
        standing = Standing.SHORT
    return Aim(
        statement=statement,
        standing=standing,
        evidence=f"LF-PSNR {_text(inside, LF_PSNR)} dB, PSNR {_text(overall, PSNR)} dB, against C elsewhere "
        f"{_text(placed, LF_PSNR)} dB; {inside.n_subjects} subjects, p {inside.p_text}",
    )


def _map_aims(evidence: Evidence) -> list[Aim]:
    """On the network's own reconstructions at the lowest acceleration, strokes of test patients."""
    if not evidence.accelerations:
        return []
    lowest = min(evidence.accelerations)
    rows = evidence.of(evidence.with_map, (REAL,), lowest, lambda row: row.group == STROKES)
    chance = summary(rows, CHANCE)
    made = []
    for name, found, threshold in (
        ("image AUC", auc(rows), IMAGE_AUC),
        ("pointing game", summary(rows, POINTED), POINTING),
    ):
        where = f"Activation map, own {lowest:g}x reconstructions, strokes of all sizes"
        statement = f"{where}: {name} at least {threshold:g}"
        if found is None or chance is None:
            made.append(Aim(statement=statement, standing=Standing.OPEN, evidence="not run"))
            continue
        spread = "" if found.interval is None else f" [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"
        sure = found.interval is not None and found.interval[0] >= threshold
        reached = Standing.HOLDS if sure and found.n_subjects >= MINIMUM_SUBJECTS else Standing.PARTLY
        standing = reached if found.mean >= threshold else Standing.SHORT
        beside = f", chance {chance.mean:.3f}" if name == "pointing game" else ""
        figures = f"{found.mean:.3f}{spread}{beside}; {found.n_subjects} subjects"
        made.append(Aim(statement=statement, standing=standing, evidence=figures))
    return made


def _measured(evidence: Evidence, dataset: str, acceleration: float) -> Aim:
    """One object: means over flip angles and masks, of the node's weights where they were evaluated."""
    wanted = MEASURED_GAIN_DB[dataset, acceleration]
    lines = "equispaced" if dataset == BRAIN_EQUISPACED else "random"
    statement = (
        f"Measured brain, {lines} {acceleration:g}x: at least +{wanted:g} dB against {BART_WAVELETS}, ahead "
        "in SSIM and detail"
    )

    def rows(title: str) -> list[Row]:
        return evidence.of(title, (dataset,), acceleration)

    ours = next(iter(evidence.shipped()), evidence.ours)
    gaps = [difference(rows(ours), rows(BART_WAVELETS), metric) for metric in (PSNR, SSIM, DETAIL)]
    known = [gap for gap in gaps if gap is not None]
    if len(known) < len(gaps):
        return Aim(statement=statement, standing=Standing.OPEN, evidence="not run")
    psnr, ssim, kept = known
    holds = psnr.mean >= wanted and ssim.mean > 0 and kept.mean > 0
    return Aim(
        statement=statement,
        standing=Standing.HOLDS if holds else Standing.SHORT,
        evidence=f"{ours}: {psnr.mean:+.2f} dB, SSIM {ssim.mean:+.3f}, detail kept {kept.mean:+.3f}; "
        f"{psnr.n_entries} slices of one volunteer, no interval",
    )


def _speed(evidence: Evidence) -> Aim:
    """Samples a second times the parameters that learnt, beside E2E-VarNet of the same folder."""
    statement = "Training at least as fast per parameter as E2E-VarNet"

    def rate(network: str, lesion: LesionWeighting) -> float | None:
        rates = [
            run.samples_a_second * run.n_trained
            for run in evidence.runs
            if run.recipe.network == network
            and run.recipe.lesion is lesion
            and 1 in run.recipe.tables
            and run.seconds > 0
        ]
        return sum(rates) / len(rates) if rates else None

    ours, theirs = rate("lf-mri", LesionWeighting.FOCUSED), rate("e2e-varnet", LesionWeighting.OFF)
    if ours is None or theirs is None:
        return Aim(statement=statement, standing=Standing.OPEN, evidence="not run")
    return Aim(
        statement=statement,
        standing=Standing.HOLDS if ours >= theirs else Standing.SHORT,
        evidence=f"{ours / 1e6:.2f} against {theirs / 1e6:.2f} samples / s x million parameters",
    )
