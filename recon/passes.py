"""The passes over the slices of a scan, network and fallback, as many at a time as the device holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from lfmri_node.recon.calibration import Calibration, Progress, load_slice
from lfmri_node.recon.compute import CPU, Compute
from lfmri_node.recon.method.cascade import LesionTerm, StageOutput
from lfmri_node.recon.method.conditions import Scale
from lfmri_node.recon.method.shown import shown_activation
from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.sense.batch import Batch
from lfmri_node.recon.sense.coilmaps import interpolate
from lfmri_node.recon.trust.fallback import BATCH_SOLVERS, Choice, choose, judged_slices, solvers_on
from lfmri_node.recon.trust.indicators import data_residuals, network_residual
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import (
    CoilMaps,
    Complex,
    KSpace,
    LesionWeighting,
    RawScan,
    Real,
    ReconSettings,
)

_BRIGHTEST = 99.5
"""Percentile of the magnitude that counts as the brightest tissue."""

Done = TypeVar("Done")


class SliceResult(NamedTuple):
    """What the network makes of a slice: images c64 (r, p), activation f32 (r, p), scores f32 (k,)."""

    image: Complex
    reference: Complex
    activation: Real
    scores: Real
    misfit: tuple[float, float]


@dataclass(slots=True)
class Volumes:
    """Reconstructed planes (s, r, p) as they come; ``choice`` where fallbacks are among them."""

    choice: Choice | None = None
    images: list[Complex] = field(default_factory=list)
    references: list[Complex] = field(default_factory=list)
    fallbacks: list[Complex] = field(default_factory=list)
    zero_filled: list[Complex] = field(default_factory=list)
    activations: list[Real] = field(default_factory=list)
    scores: list[Real] = field(default_factory=list)
    misfits: list[tuple[float, float]] = field(default_factory=list)
    unexplained: list[float] = field(default_factory=list)

    def residual(self) -> float:
        """Relative data residual of all slices together."""
        misfit, energy = (sum(pair[i] for pair in self.misfits) for i in (0, 1))
        return float(np.sqrt(misfit / energy)) if energy > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A scan, what is known and wanted of it, and what computes it."""

    scan: RawScan
    settings: ReconSettings
    calibration: Calibration
    compute: Compute
    progress: Progress | None

    def each(self, work: Callable[[Batch], list[Done]]) -> Iterator[Done]:
        """``work`` on all slices, a batch at a time; its answers in order."""
        n = self.scan.n_slices
        answers = self.compute.over(range(n), lambda *which: work(self._batch(*which)))
        for done, answer in enumerate(answers, 1):
            yield answer
            if self.progress:
                self.progress(done, n)

    def choose_fallback(self) -> Choice:
        """The site's fallback, judged on a few slices of the scan."""
        with_signal = [s for s, entry in enumerate(self.calibration.indicators) if entry.signal > 0]

        def chosen(device: torch.device) -> Choice:
            slices = (self._slice(s) for s in judged_slices(with_signal))
            return choose(slices, self.settings.fallback, solvers_on(device))

        return self.compute.once(chosen)

    def _batch(self, slices: Sequence[int], device: torch.device) -> Batch:
        loaded, maps = zip(*(self._slice(s) for s in slices), strict=True)
        return Batch.of(loaded, maps, device)

    def _slice(self, s: int) -> tuple[KSpace, CoilMaps]:
        kspace = load_slice(self.scan, s, self.settings)
        shape = (kspace.data.shape[1], kspace.data.shape[2])
        return kspace, interpolate(self.calibration.slices[s], shape)


def network_pass(work: Work, model: Model, choice: Choice | None) -> Volumes:
    """Every slice through the network, and beside it the fallback where there is a ``choice``."""

    def made(batch: Batch) -> list[tuple[SliceResult, float, Complex | None, Complex | None]]:
        results = network_of(model, batch, work.settings.lesion)
        unexplained = [network_residual(s, *r.misfit) for s, r in zip(batch.slices, results, strict=True)]
        nothing = [None] * len(results)
        fallbacks = nothing if choice is None else _planes(BATCH_SOLVERS[choice.method](batch))
        zero_filled = nothing if choice is None else _planes(batch.adjoint())
        return list(zip(results, unexplained, fallbacks, zero_filled, strict=True))

    volumes = Volumes(choice=choice)
    for result, unexplained, fallback, zero_filled in work.each(made):
        volumes.images.append(result.image)
        volumes.references.append(result.reference)
        volumes.activations.append(result.activation)
        volumes.scores.append(result.scores)
        volumes.misfits.append(result.misfit)
        volumes.unexplained.append(unexplained)
        if fallback is not None and zero_filled is not None:
            volumes.fallbacks.append(fallback)
            volumes.zero_filled.append(zero_filled)
    return volumes


def fallback_pass(work: Work, choice: Choice) -> Volumes:
    """Every slice by the method of ``choice``."""

    def made(batch: Batch) -> list[tuple[Complex, tuple[float, float], Complex]]:
        images = BATCH_SOLVERS[choice.method](batch)
        planes = (_planes(images), data_residuals(batch, images), _planes(batch.adjoint()))
        return list(zip(*planes, strict=True))

    volumes = Volumes(choice=choice)
    for image, misfit, zero_filled in work.each(made):
        volumes.images.append(image)
        volumes.misfits.append(misfit)
        if work.settings.always_fallback:
            volumes.zero_filled.append(zero_filled)
    return volumes


def scale_of(slices: Sequence[KSpace], least_squares: Tensor) -> Scale:
    """Noise, brightest tissue and energy of each slice, as the network is told of them.

    ``least_squares`` c64 (b, r, p) is `Cascade.least_squares` of the slices.
    """

    noises = [float(np.sqrt(np.mean(noise_per_coil(kspace) ** 2))) for kspace in slices]
    levels = [float(np.percentile(np.abs(image), _BRIGHTEST)) for image in _planes(least_squares)]
    energies = [float(np.vdot(kspace.data, kspace.data).real) for kspace in slices]
    return Scale(
        *(torch.tensor(numbers, device=least_squares.device) for numbers in (noises, levels, energies))
    )


def run_network(
    model: Model, kspace: KSpace, maps: CoilMaps, weighting: LesionWeighting = LesionWeighting.FOCUSED
) -> SliceResult:
    """`network_of` one slice, on the processor."""
    return network_of(model, Batch.of([kspace], [maps], CPU), weighting)[0]


def network_of(model: Model, batch: Batch, weighting: LesionWeighting) -> list[SliceResult]:
    """Slices through the cascade, with the lesion term as asked for and switched off.

    Activation and scores come from the last stage. The card's operating point gates the lesion term
    and the map alike: a slice whose score stays below it is its own reference, with a map of zero.
    The weights are moved to the device of the batch.
    """
    network = model.network.to(batch.data.device)
    with torch.inference_mode():
        adjoint = batch.adjoint()
        least_squares = network.least_squares(adjoint, batch.encoding)
        scale = scale_of(batch.slices, least_squares)
        term = LesionTerm(weighting, model.card.lesion["operating_score"])
        last, plain = network.with_reference(adjoint, batch.encoding, scale, term, least_squares)
        # where no coil map reaches nothing was measured, and the lesion term has nothing to act on
        images = torch.where(batch.support, last.image, plain)
        misfits = data_residuals(batch, images)
    planes, references = _planes(images), _planes(plain)
    shown = _shown(model, batch, last, planes)
    return [
        SliceResult(image, reference, activation, scores, misfit)
        for image, reference, (activation, scores), misfit in zip(
            planes, references, shown, misfits, strict=True
        )
    ]


def _shown(model: Model, batch: Batch, last: StageOutput, images: list[Complex]) -> list[tuple[Real, Real]]:
    """Activation f32 (r, p) as a reader sees it and scores f32 (k,) of each slice; zeros without a map."""
    if last.slice_logits is None or last.activation is None:
        empty = np.zeros(images[0].shape, dtype=np.float32)
        silent = np.zeros(len(model.network.config.classifier.classes), dtype=np.float32)
        return [(empty, silent)] * len(images)
    scores = torch.sigmoid(last.slice_logits).cpu().numpy()
    gated = last.activation.cpu().numpy() * (scores >= model.card.lesion["operating_score"])[:, :, None, None]
    support = batch.support.cpu().numpy()
    return [
        (shown_activation(activation.max(axis=0), image, inside), score)
        for activation, image, inside, score in zip(gated, images, support, scores, strict=True)
    ]


def _planes(images: Tensor) -> list[Complex]:
    """Of a batch c64 (b, r, p), in the memory of the host."""
    return list(images.cpu().numpy())
