"""Quality of a network against the updates of its training, on simulation and on the measured brain.

A training that only gets better on its own simulation is seen at once. The simulated scans are those of
tuning subjects; the measured brain is looked at and nothing is chosen by it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from safetensors.torch import load_file

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.detail import body_of, detail
from lfmri_node.recon.evaluate.learned import CLASSIFIER, LearnedMethod
from lfmri_node.recon.evaluate.lesion_metrics import slice_quality
from lfmri_node.recon.evaluate.measured import PATTERNS, brain_source
from lfmri_node.recon.evaluate.methods import L1_WAVELET, Method
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT, simulated_source
from lfmri_node.recon.evaluate.sweep import CaseSource, Regularisation
from lfmri_node.recon.train.curves import STEPS
from lfmri_node.recon.train.networks import build_network
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.train.samples import ACCELERATIONS
from lfmri_node.recon.train.split import Part

LEFT_OUT = (L1_WAVELET,)
"""SigPy's wavelets take as long as all others together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Means over the slices of one source; ``step`` None for a classical rival."""

    source: str
    method: str
    step: int | None
    psnr: float
    ssim: float
    detail_kept: float
    slices: int


def make_curve(run: Path, data: Path, out: Path, n: int, seed: int) -> Path:
    """Evaluate every kept weight of ``run`` and the classical rivals; returns the picture.

    ``curve-RUN.csv`` in ``out`` is written a weight at a time; what it holds already is not computed again,
    so that the curve of a training that goes on is made longer. ``n`` simulated slices each way and
    acceleration; of the measured brain both flip angles under one mask of each pattern, where the folder has
    it.

    Raises LabError (LF-LAB-026) where the run has kept no weights, or those of a classifier.
    """
    recipe = Recipe.from_json(json.loads((run / "recipe.json").read_text()))
    kept = {int(path.stem.partition("-")[2]): path for path in (run / STEPS).glob("step-*.safetensors")}
    if not kept or recipe.network == CLASSIFIER:
        what = f"{run.name} has kept no weights of a reconstruction"
        raise LabError("LF-LAB-026", what, "name a reconstruction")
    out.mkdir(parents=True, exist_ok=True)
    table = out / f"curve-{run.name}.csv"
    points = read_points(table)
    sources = [*_simulated(data, n, seed), *_measured(data)]
    cases = {name: [source.load(sample) for sample in source.samples] for name, source in sources}
    regularisation = Regularisation(out / "curve-regularisation.json")
    for name, source in sources:
        for method in regularisation.methods(source):
            if method.name not in LEFT_OUT and not _has(points, name, method.name, None):
                points.append(_point(name, method, None, cases[name]))
                write_points(points, table)
    network = build_network(recipe).eval().requires_grad_(False)
    for step, path in sorted(kept.items()):
        missing = [name for name in cases if not _has(points, name, run.name, step)]
        if missing:
            network.load_state_dict(load_file(path))
            learned = LearnedMethod(name=run.name, run=run.name, weights="", network=network)
            points += [_point(name, learned, step, cases[name]) for name in missing]
            write_points(points, table)
    picture = out / f"curve-{run.name}.png"
    draw(points, [name for name, _ in sources], run.name, picture)
    return picture


def _simulated(data: Path, n: int, seed: int) -> list[tuple[str, CaseSource]]:
    made = []
    for acceleration in ACCELERATIONS:
        for dataset, words in ((HELD_OUT, "simulated"), (DISTURBED, "simulated, line errors")):
            source = simulated_source(data, n, seed, acceleration, dataset, Part.TUNE)
            made.append((f"{words}, {acceleration:g}x", source))
    return made


def _measured(data: Path) -> list[tuple[str, CaseSource]]:
    if not (data / "raw_brain_13ch.npz").is_file():
        return []
    sources = [(f"{dataset}, {a:g}x", brain_source(data, dataset, a, 1)) for dataset, a in PATTERNS]
    return [
        (f"{name}, {sample.partition('/')[0]}", replace(source, samples=(sample,)))
        for name, source in sources
        for sample in source.samples
    ]


def _has(points: Sequence[Point], source: str, method: str, step: int | None) -> bool:
    return any((p.source, p.method, p.step) == (source, method, step) for p in points)


def _point(source: str, method: Method, step: int | None, cases: Sequence[Case]) -> Point:
    values = []
    for case in cases:
        assert case.truth is not None
        truth = np.abs(case.truth).astype(np.float32)
        image = np.abs(method.reconstruct(case).image).astype(np.float32)
        psnr, ssim, _ = slice_quality(image, truth, case.peak)
        fine = detail(image, truth, body_of(truth))
        values.append((psnr, ssim, np.nan if fine is None else fine.kept))
    psnr, ssim, kept = np.nanmean(values, axis=0)
    return Point(
        source=source,
        method=method.name,
        step=step,
        psnr=float(psnr),
        ssim=float(ssim),
        detail_kept=float(kept),
        slices=len(cases),
    )


def read_points(path: Path) -> list[Point]:
    """What `write_points` wrote; nothing where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Point(
                source=row["source"],
                method=row["method"],
                step=int(row["step"]) if row["step"] else None,
                psnr=float(row["psnr"]),
                ssim=float(row["ssim"]),
                detail_kept=float(row["detail_kept"]),
                slices=int(row["slices"]),
            )
            for row in csv.DictReader(file)
        ]


def write_points(points: Sequence[Point], path: Path) -> None:
    """One line a point; the name holds the old or the new content, never a part of it."""
    partial = path.with_suffix(".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    partial.replace(path)


def draw(points: Sequence[Point], sources: Sequence[str], name: str, path: Path) -> None:
    """PSNR against updates, a panel a source; the classical rivals are horizontal lines."""
    n_rows = -(-len(sources) // 2)
    figure = Figure(figsize=(9, 2.5 * n_rows + 0.8), layout="constrained")
    panels = figure.subplots(n_rows, 2, squeeze=False, sharex=True).flat
    rivals = list(dict.fromkeys(p.method for p in points if p.step is None))
    for axis, source in zip(panels, sources, strict=False):
        mine = [p for p in points if p.source == source and p.method == name and p.step is not None]
        mine.sort(key=lambda p: p.step or 0)
        axis.plot(
            [p.step for p in mine], [p.psnr for p in mine], "o-", markersize=3, label=name, color="#0f6e84"
        )
        for i, rival in enumerate(rivals):
            levels = [p.psnr for p in points if p.source == source and p.method == rival]
            for level in levels[:1]:
                axis.axhline(
                    level,
                    linewidth=1,
                    linestyle=("--", ":", "-.", (0, (5, 1)))[i % 4],
                    color=f"C{i + 1}",
                    label=rival,
                )
        axis.set_title(source, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(color="0.92")
        axis.set_ylabel("PSNR, dB", fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110, facecolor="white")
