"""The figures of the report: gains with intervals, reconstructions, activation maps, learning curves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lfmri_node.recon.evaluate.aggregate import LF_PSNR, LF_SSIM, PSNR, SSIM, difference
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.examples import Example, map_examples, reconstruction_examples
from lfmri_node.recon.evaluate.lesion_metrics import Box, psnr_db
from lfmri_node.recon.evaluate.methods import Answer, Method
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.sweep import Bench, Regularisation, methods_of
from lfmri_node.recon.types import Real

ERROR_RANGE = 0.15
"""Top of the colour scale of every error map, in units of the brightest pixel of the truth."""
IN_A_BAND = 4
"""Images beside each other: a phone shows no more."""
MARGIN = 8
"""Pixels around a magnified box."""
BOX_COLOUR, ERROR_MAP, ACTIVATION_MAP = "#ffb000", "inferno", "viridis"
SMALL, TINY = 8, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A WebP file, its caption, and its words for who cannot see it."""

    name: str
    path: Path
    caption: str
    alternative: str


def make_figures(evidence: Evidence, bench: Bench, runs: Path, out: Path) -> list[Picture]:
    """Draw every figure into ``out / "figures"``."""
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    regularisation = Regularisation(out / "regularisation.json")
    pictures = [gains_figure(evidence, folder)]
    for acceleration in evidence.accelerations:
        for i, example in enumerate(reconstruction_examples(evidence, acceleration)):
            name = f"reconstruction-{acceleration:g}x-{i + 1}"
            case, methods = _again(bench, regularisation, example)
            shown = _shown(evidence, methods)
            pictures.append(reconstruction_figure(example, case, shown, folder / f"{name}.webp"))
        examples = map_examples(evidence, acceleration)
        if examples:
            again = [(example, *_again(bench, regularisation, example)) for example in examples]
            path = folder / f"activation-{acceleration:g}x.webp"
            pictures.append(activation_figure(evidence, again, acceleration, path))
    pictures.append(curves_figure(evidence, runs, folder))
    return pictures


def _again(bench: Bench, regularisation: Regularisation, example: Example) -> tuple[Case, list[Method]]:
    """The slice of an example once more, and every method."""
    dataset, acceleration, sample = example.place
    for source in bench.sources:
        if (source.dataset, source.acceleration) == (dataset, acceleration):
            return source.load(sample), methods_of(bench, regularisation, source)
    raise ValueError(f"no source for {example.place}")


def _shown(evidence: Evidence, methods: Sequence[Method]) -> list[Method]:
    """Methods of table 1 in its order, one run of each."""
    order = evidence.titles(1, classical=True)
    chosen = {method.name: method for method in reversed(methods)}
    return [chosen[name] for name in order if name in chosen and name != TRUTH]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="webp", dpi=110, facecolor="white", pil_kwargs={"quality": 82})


def gains_figure(evidence: Evidence, folder: Path) -> Picture:
    """LF-MRI minus every other method, paired, with intervals by subject."""
    others = [
        title
        for title in evidence.titles(1, classical=True)
        if title != evidence.ours and evidence.was_run(title)
    ]
    metrics = (PSNR, LF_PSNR, SSIM, LF_SSIM)
    figure = Figure(figsize=(7, 1.6 + 0.62 * max(len(others), 2)), layout="constrained")
    grid = figure.subplots(2, 2, sharey=True)
    axes = list(grid.flat)
    marks = dict(zip(evidence.accelerations, ("o", "s", "^", "D", "v"), strict=False))
    colours = dict(zip(evidence.accelerations, ("#0f6e84", "#c2571a", "#555555"), strict=False))
    for axis, metric in zip(axes, metrics, strict=True):
        axis.axvline(0.0, color="0.4", linewidth=0.8)
        for i, acceleration in enumerate(evidence.accelerations):
            shift = 0.3 * (i - (len(evidence.accelerations) - 1) / 2)
            _gain_points(evidence, axis, others, metric.field, acceleration, shift, marks, colours)
        scale = 0.02 if "ssim" in metric.field else 1.0
        axis.set_xscale("symlog", linthresh=scale, linscale=1.5)
        low, high = axis.get_xlim()
        ticks = [t * scale for t in (-10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30) if low <= t * scale <= high]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45)
        axis.set_xticks([], minor=True)
        axis.set_title(metric.heading, fontsize=SMALL + 1)
        axis.tick_params(labelsize=SMALL)
        axis.grid(axis="x", color="0.9")
    axes[0].set_yticks(range(len(others)), others, fontsize=SMALL)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=SMALL, loc="outside lower center", ncols=len(labels) or 1)
    path = folder / "gains.webp"
    _save(figure, path)
    return Picture(
        name="gains",
        path=path,
        caption=(
            f"{evidence.ours} minus every other method on the same slices: mean of the paired difference "
            "and its 95 % bootstrap interval by subject. Right of zero: ours is better. The horizontal "
            "axis is linear around zero (up to 1 dB, 0.02 in SSIM) and logarithmic beyond."
        ),
        alternative="Points with intervals, one row a method, one panel a metric; numbers in tables 1 and 2.",
    )


def _gain_points(
    evidence: Evidence,
    axis: Axes,
    others: Sequence[str],
    field: str,
    acceleration: float,
    shift: float,
    marks: dict[float, str],
    colours: dict[float, str],
) -> None:
    metric = next(m for m in (PSNR, LF_PSNR, SSIM, LF_SSIM) if m.field == field)
    ours = evidence.of(evidence.ours, acceleration=acceleration)
    label: str | None = f"{acceleration:g}x"
    for i, other in enumerate(others):
        gap = difference(ours, evidence.of(other, acceleration=acceleration), metric)
        if gap is None:
            continue
        style = {"color": colours[acceleration], "marker": marks[acceleration], "markersize": 5}
        axis.plot([gap.mean], [i + shift], linestyle="none", label=label, **style)  # type: ignore[arg-type]
        if gap.interval is not None:
            axis.plot(gap.interval, [i + shift] * 2, color=colours[acceleration], linewidth=1.2)
        label = None


def reconstruction_figure(example: Example, case: Case, methods: Sequence[Method], path: Path) -> Picture:
    """Image, error map and magnified box of the truth and every method."""
    assert case.truth is not None
    truth = np.abs(case.truth).astype(np.float32)
    images: list[tuple[str, Real]] = [("Truth", truth)]
    for method in methods:
        images.append((method.name, np.abs(case.view(method.reconstruct(case).image)).astype(np.float32)))
    n_bands = -(-len(images) // IN_A_BAND)
    figure = Figure(figsize=(1.75 * IN_A_BAND + 0.5, 5.6 * n_bands), layout="constrained")
    axes = figure.subplots(3 * n_bands, IN_A_BAND, squeeze=False)
    window = _window(case.boxes[0], truth.shape) if case.boxes else (slice(None), slice(None))
    error = None
    for i, (name, image) in enumerate(images):
        band, column = divmod(i, IN_A_BAND)
        whole, wrong, near = axes[3 * band : 3 * band + 3, column]
        title = name if i == 0 else f"{_wrapped(name)}\n{psnr_db(image, truth, case.peak):.1f} dB"
        whole.set_title(title, fontsize=TINY)
        whole.imshow(image, cmap="gray", vmin=0, vmax=0.9 * case.peak)
        for box in case.boxes:
            whole.add_patch(_patch(box))
        error = wrong.imshow(np.abs(image - truth) / case.peak, cmap=ERROR_MAP, vmin=0, vmax=ERROR_RANGE)
        near.imshow(image[window], cmap="gray", vmin=0, vmax=0.9 * case.peak, interpolation="nearest")
        if i and case.boxes:
            inside = [psnr_db(image[_crop(box)], truth[_crop(box)], case.peak) for box in case.boxes]
            near.set_xlabel(f"LF-PSNR {np.mean(inside):.1f} dB", fontsize=TINY)
    for axis, label in zip(axes[:, 0], ("image", "|error|", "magnified box") * n_bands, strict=True):
        axis.set_ylabel(label, fontsize=SMALL)
    for i, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[])
        band, column = i // (3 * IN_A_BAND), i % IN_A_BAND
        axis.set_visible(band * IN_A_BAND + column < len(images))
    if error is not None:
        bar = figure.colorbar(error, ax=axes[1, :], fraction=0.03, pad=0.01)
        bar.set_label("of the truth's maximum", fontsize=TINY)
        bar.ax.tick_params(labelsize=TINY)
    _save(figure, path)
    return Picture(
        name=path.stem,
        path=path,
        caption=f"{example.row.acceleration:g}x, {_what(example)}. Chosen by rule: {example.rule}. One "
        "grey scale for all images (0 to 0.9 of the truth's maximum), one colour scale for all errors (0 "
        f"to {ERROR_RANGE:g}).",
        alternative="Image, absolute error and magnified lesion box of the truth and of every method.",
    )


def _wrapped(name: str) -> str:
    """Long names on two or three lines."""
    return name.replace(", ", ",\n").replace(" (", "\n(").replace(" ESPIRiT", "\nESPIRiT")


def _what(example: Example) -> str:
    row = example.row
    kind = f"{row.lesion_kind} lesion" if row.lesion_kind else "no lesion"
    source = "" if row.lesion_kind in ("", "real") else " (inserted)"
    return f"subject {row.subject}, {kind}{source}"


def _crop(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def _window(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A square around the box, inside the image."""
    side = min(max(box.bottom - box.top, box.right - box.left) + 2 * MARGIN, *shape)
    starts = [
        min(max((low + high - side) // 2, 0), n - side)
        for low, high, n in zip((box.top, box.left), (box.bottom, box.right), shape, strict=True)
    ]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def _patch(box: Box) -> Rectangle:
    corner = (box.left - 0.5, box.top - 0.5)
    return Rectangle(
        corner, box.right - box.left, box.bottom - box.top, fill=False, edgecolor=BOX_COLOUR, linewidth=1.0
    )


def activation_figure(
    evidence: Evidence,
    again: Sequence[tuple[Example, Case, list[Method]]],
    acceleration: float,
    path: Path,
) -> Picture:
    """Reconstruction and activation map of LF-MRI with the boxes, successes and failures."""
    title = evidence.with_map
    n_bands = -(-len(again) // IN_A_BAND)
    figure = Figure(figsize=(1.75 * IN_A_BAND + 0.6, 4.4 * n_bands), layout="constrained")
    axes = figure.subplots(2 * n_bands, IN_A_BAND, squeeze=False)
    shown = None
    for i, (example, case, methods) in enumerate(again):
        method = next(method for method in methods if method.name == title)
        answer: Answer = method.reconstruct(case)
        image = np.abs(case.view(answer.image))
        activation = np.zeros(image.shape) if answer.activation is None else case.view(answer.activation)
        above, below = axes[2 * (i // IN_A_BAND) : 2 * (i // IN_A_BAND) + 2, i % IN_A_BAND]
        above.imshow(image, cmap="gray", vmin=0, vmax=0.9 * case.peak)
        shown = below.imshow(activation, cmap=ACTIVATION_MAP, vmin=0, vmax=1)
        if activation.any():
            peak = np.unravel_index(int(activation.argmax()), activation.shape)
            below.plot(peak[1], peak[0], "+", color="white", markersize=7, markeredgewidth=1.2)
        for axis in (above, below):
            for box in case.boxes:
                axis.add_patch(_patch(box))
        above.set_title(_lines(example.rule), fontsize=TINY)
        kind = example.row.lesion_kind or "no lesion"
        below.set_xlabel(f"{example.row.subject}, {kind}\nscore {answer.score or 0.0:.2f}", fontsize=TINY)
    for i, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[])
        axis.set_visible(i // (2 * IN_A_BAND) * IN_A_BAND + i % IN_A_BAND < len(again))
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes[1, :], fraction=0.03, pad=0.01)
        bar.set_label("activation", fontsize=TINY)
        bar.ax.tick_params(labelsize=TINY)
    _save(figure, path)
    return Picture(
        name=path.stem,
        path=path,
        caption=f"Activation map of {title} on its own {acceleration:g}x reconstructions, learnt from "
        "image-level labels alone. Boxes: annotation, never seen in training; cross: the peak of the map. "
        "Colour scale 0 to 1 in every panel, not stretched. Each slice is chosen by the rule above it; "
        "failures are shown on purpose.",
        alternative="Reconstructions above their activation maps, with the annotated boxes.",
    )


def _lines(rule: str, width: int = 24) -> str:
    words, lines = rule.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def curves_figure(evidence: Evidence, runs: Path, folder: Path) -> Picture:
    """Image loss of the trainings of table 1."""
    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    axis = figure.subplots()
    for facts in evidence.runs:
        recipe = facts.recipe
        path = runs / recipe.name / "metrics.csv"
        if 1 in recipe.tables and path.is_file():
            steps, losses = _curve(path)
            axis.plot(steps, losses, label=f"{recipe.title}, seed {recipe.seed}", linewidth=1.2)
    axis.set_xlabel("step", fontsize=SMALL)
    axis.set_yscale("log")
    axis.tick_params(which="both", labelsize=SMALL)
    axis.grid(color="0.9")
    axis.set_ylabel("image loss", fontsize=SMALL)
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=TINY, loc="outside lower center", ncols=2)
    target = folder / "learning-curves.webp"
    _save(figure, target)
    return Picture(
        name="learning-curves",
        path=target,
        caption="Training loss of the image (smooth L1 on every stage; U-Net has one stage, so its level "
        "is lower).",
        alternative="Loss against step for every training of table 1.",
    )


def _curve(path: Path) -> tuple[list[float], list[float]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("image") or row.get("loss")]
    steps = [float(row["step"]) for row in rows]
    return steps, [float(row.get("image") or row["loss"]) for row in rows]
