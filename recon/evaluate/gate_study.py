"""Was the gate right? Its decisions against the truth; and of damaged scans, what the model card says.

A decision on an undamaged scan is wrong where the network's image was refused although it is more than 0.3 dB
better than the fallback (PSNR of the magnitude), or trusted although it is more than 0.3 dB worse. On a
damaged scan the gate is right where it refuses, whichever image has the smaller error: the data contradict
each other or lie outside all that was measured of the network, and the reader must be told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.sense.classical import zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.sense.sampling import acceleration as acceleration_of
from lfmri_node.recon.sense.sampling import equispaced_fraction_lines, random_lines
from lfmri_node.recon.train.data import source_of
from lfmri_node.recon.train.domain import gate_scans, judge
from lfmri_node.recon.train.samples import load_coils
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.trust.fallback import SOLVERS, choose
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real, ReconSettings

TOLERANCE_DB = 0.3
FIRST_MASK = 100
COILS = (13, 10, 6)
"""All channels of the measured brain, and compressed to fewer."""
_BRAIN = "raw_brain_13ch.npz"
_CENTRE = {4.0: 0.08, 8.0: 0.04}
_KINDS = {"random": random_lines, "equispaced": equispaced_fraction_lines}
SIMULATED = "simulated, held-out subjects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Simulated scans, masks of each kind on the measured brain."""

    simulated: int
    masks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthCase:
    """A measurement with its truth, a magnitude f32 (r, p)."""

    group: str
    name: str
    kspace: KSpace
    truth: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One scan: what both images are worth and what the gate said."""

    group: str
    name: str
    acceleration: float
    n_coils: int
    noise: float
    network_db: float
    fallback_db: float
    codes: tuple[str, ...]

    @property
    def gain_db(self) -> float:
        return self.network_db - self.fallback_db

    @property
    def refused_though_better(self) -> bool:
        return bool(self.codes) and self.gain_db > TOLERANCE_DB

    @property
    def trusted_though_worse(self) -> bool:
        return not self.codes and self.gain_db < -TOLERANCE_DB

    @property
    def wrong(self) -> bool:
        return self.refused_though_better or self.trusted_though_worse


def study(weights: Path, data: Path, out: Path, counts: Counts, seed: int) -> Path:
    """Write ``gate-study.json`` and ``gate-study.md`` into ``out``; returns the latter.

    Raises InvalidModel as `weights.load_model` does.
    """
    model = load_model(weights)
    cases = (*simulated_cases(data, counts.simulated, seed), *measured_cases(data, counts.masks))
    decisions = [decide(case, model) for case in cases]
    battery = model.card.record["verdicts"]
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "weights": model.name,
        "sha256": model.sha256,
        "seed": seed,
        "counts": asdict(counts),
        "decisions": [asdict(d) | {"gain_db": d.gain_db, "wrong": d.wrong} for d in decisions],
        "battery": battery,
    }
    (out / "gate-study.json").write_text(json.dumps(record, indent=1) + "\n")
    text = out / "gate-study.md"
    text.write_text(report(model.name, decisions, battery, seed))
    return text


def simulated_cases(data: Path, n: int, seed: int) -> Iterator[TruthCase]:
    """Slices of held-out subjects, measured with all that the training varies."""
    rng = np.random.default_rng([seed, 88])
    for i, scan in enumerate(gate_scans(source_of(data, Part.TEST), load_coils(data), n, rng)):
        yield TruthCase(
            group=SIMULATED,
            name=f"{i} {scan.entry.subject}",
            kspace=scan.kspace,
            truth=np.abs(scan.image).astype(np.float32),
        )


def measured_cases(data: Path, n_masks: int) -> Iterator[TruthCase]:
    """Both flip angles of the measured brain, all its coils and compressed ones; nothing where it is
    missing."""
    if not (data / _BRAIN).is_file():
        return
    with np.load(data / _BRAIN) as arrays:
        volumes, flips = arrays["kspace"], arrays["flip_deg"]
    for planes, flip in zip(volumes, flips, strict=True):
        for n_coils in COILS:
            everything = np.ones(planes.shape[2], dtype=bool)
            whole = compress(KSpace(data=np.ascontiguousarray(planes), sampled=everything), n_coils)
            truth = np.abs(zero_filled(whole, estimate(whole)))
            for acceleration, kind, mask in _masks(n_masks):
                rng = np.random.RandomState(mask)
                lines = _KINDS[kind](everything.size, acceleration, _CENTRE[acceleration], rng)
                yield TruthCase(
                    group=f"measured brain, {kind} {acceleration:g}x",
                    name=f"{flip:g} degrees, {n_coils} coils, mask {mask}",
                    kspace=KSpace(data=whole.data * lines, sampled=lines),
                    truth=truth.astype(np.float32),
                )


def _masks(n: int) -> list[tuple[float, str, int]]:
    return [(a, kind, FIRST_MASK + i) for a in _CENTRE for kind in _KINDS for i in range(n)]


def decide(case: TruthCase, model: Model) -> Decision:
    """Both images against the truth, and the gate's verdict."""
    said = judge(case.kspace, model)
    fallback = fallback_image(case.kspace, said.maps)
    network = fallback if said.image is None else said.image
    return Decision(
        group=case.group,
        name=case.name,
        acceleration=round(acceleration_of(case.kspace.sampled), 2),
        n_coils=case.kspace.data.shape[0],
        noise=round(said.indicators.noise, 5),
        network_db=round(_psnr(network, case.truth), 3),
        fallback_db=round(_psnr(fallback, case.truth), 3),
        codes=said.codes,
    )


def fallback_image(kspace: KSpace, maps: CoilMaps) -> Complex:
    """What the node delivers where it does not trust the network: the default fallback, judged on this
    slice."""
    choice = choose([(kspace, maps)], ReconSettings().fallback)
    return SOLVERS[choice.method](kspace, maps)


def _psnr(image: Complex, truth: Real) -> float:
    error = np.mean((np.abs(image) - truth) ** 2, dtype=np.float64)
    return float(10 * np.log10(np.max(truth) ** 2 / max(error, 1e-30)))


def _count(codes: list[tuple[str, ...]]) -> dict[str, int]:
    return dict(sorted(Counter(code for one in codes for code in one).items()))


def report(name: str, decisions: list[Decision], battery: Sequence[Mapping[str, Any]], seed: int) -> str:
    """The study as Markdown; ``battery`` is the verdict table of the model card (`domain.verdict_table`)."""
    groups = {d.group: [one for one in decisions if one.group == d.group] for d in decisions}
    rows = "\n".join(_group_row(group, mine) for group, mine in (groups | {"all": decisions}).items())
    wrong = "\n".join(
        f"| {d.group}: {d.name} | {d.acceleration:g} | {d.n_coils} | {d.noise:.4f} | {d.gain_db:+.2f} | "
        f"{', '.join(d.codes) or 'TRUSTED'} |"
        for d in decisions
        if d.wrong
    )
    kinds = "\n".join(
        f"| {row['input']} | {row['n']} | {row['fallback']} | {_shown(row['codes'])} |" for row in battery
    )
    return f"""# Decisions of the gate, {name}

`lfmri-lab gate-study`, seed {seed}. A decision is wrong where the network's image is more than {TOLERANCE_DB}
dB better than the fallback but refused, or more than {TOLERANCE_DB} dB worse but trusted.

| scans | n | network better | of these refused | network worse | of these trusted | wrong | wrong reasons |
|---|---|---|---|---|---|---|---|
{rows}

## Damaged scans

The verdict table of the model card. Of all rows but the first and the last (a quiet scan may bear four
times its noise) what is refused is right: such data contradict each other or lie outside the training.

| input | n | refused | reasons (scans) |
|---|---|---|---|
{kinds}

## Wrong decisions

| scan | acceleration | coils | noise | network over fallback, dB | said |
|---|---|---|---|---|---|
{wrong}
"""


def _group_row(name: str, decisions: list[Decision]) -> str:
    n = len(decisions)
    better = [d for d in decisions if d.gain_db > TOLERANCE_DB]
    worse = [d for d in decisions if d.gain_db < -TOLERANCE_DB]
    refused = [d for d in better if d.wrong]
    trusted = [d for d in worse if d.wrong]
    share = 100 * (len(refused) + len(trusted)) / n
    reasons = _shown(_count([d.codes for d in refused]))
    return (
        f"| {name} | {n} | {len(better)} | {len(refused)} | {len(worse)} | {len(trusted)} | "
        f"{len(refused) + len(trusted)} ({share:.0f} %) | {reasons} |"
    )


def _shown(codes: Mapping[str, int]) -> str:
    return ", ".join(f"{code} ({n})" for code, n in codes.items()) or "-"
