"""The one door of the numerics: a `RawScan`, a model and settings in, a `Reconstruction` out.

`calibrate` reads every slice once: coil maps on the coarse grid and the indicators of the verdict.
`reconstruct` reads every slice again and computes the images. Slices are streamed: at no time is
more than one slice of multi-coil data in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lfmri_node.recon.method.cascade import LesionTerm
from lfmri_node.recon.method.conditions import Scale
from lfmri_node.recon.method.shown import shown_activation
from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.sense import classical as baseline
from lfmri_node.recon.sense.coilmaps import CoarseMaps, interpolate
from lfmri_node.recon.sense.coilmaps import calibrate as calibrate_slice
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.sense.sampling import acceleration
from lfmri_node.recon.trust import verdict as quality
from lfmri_node.recon.trust.fallback import SOLVERS, Choice, choose, judged_slices
from lfmri_node.recon.trust.figures import figures_of
from lfmri_node.recon.trust.indicators import (
    Indicators,
    data_residual,
    measure_slice,
    network_residual,
)
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import (
    Bool,
    CoilMaps,
    Complex,
    KSpace,
    LesionMap,
    LesionWeighting,
    Method,
    Provenance,
    Quality,
    RawScan,
    Real,
    ReconSettings,
    Reconstruction,
    Verdict,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Coil maps, indicators and sampling, bool (p,) or (r, p), of every slice."""

    slices: tuple[CoarseMaps, ...]
    indicators: tuple[Indicators, ...]
    sampled: tuple[Bool, ...]

    def save(self, path: Path) -> None:
        """Write as npz without pickle."""
        names = list(self.indicators[0].as_dict())
        np.savez(
            path,
            maps=np.stack([entry.maps for entry in self.slices]),
            eigenvalue=np.stack([entry.eigenvalue for entry in self.slices]),
            side=np.array([entry.side for entry in self.slices]),
            sampled=np.stack(self.sampled),
            names=np.array(names),
            indicators=np.array([[entry.as_dict()[name] for name in names] for entry in self.indicators]),
        )

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as f:
            names = [str(name) for name in f["names"]]
            return cls(
                slices=tuple(
                    CoarseMaps(maps=m, eigenvalue=e, side=int(n))
                    for m, e, n in zip(f["maps"], f["eigenvalue"], f["side"], strict=True)
                ),
                indicators=tuple(
                    Indicators(**dict(zip(names, (float(v) for v in row), strict=True)))
                    for row in f["indicators"]
                ),
                sampled=tuple(f["sampled"]),
            )


class _SliceResult(NamedTuple):
    image: Complex
    reference: Complex
    activation: Real
    scores: Real
    misfit: tuple[float, float]


@dataclass(slots=True)
class _Volumes:
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


def _load(scan: RawScan, s: int, settings: ReconSettings) -> KSpace:
    return compress(scan.load(s), settings.n_virtual_coils)


def calibrate(
    scan: RawScan, settings: ReconSettings | None = None, progress: Progress | None = None
) -> Calibration:
    """Coil maps and indicators of every slice.

    Raises ReconError as `RawScan.load` and `coilmaps.calibrate` do.
    """
    settings = settings or ReconSettings()
    maps, indicators, sampled = [], [], []
    for s in range(scan.n_slices):
        kspace = _load(scan, s, settings)
        coarse = calibrate_slice(kspace)
        maps.append(coarse)
        indicators.append(measure_slice(kspace, coarse))
        sampled.append(kspace.sampled)
        if progress:
            progress(s + 1, scan.n_slices)
    return Calibration(slices=tuple(maps), indicators=tuple(indicators), sampled=tuple(sampled))


def _maps_of(coarse: CoarseMaps, kspace: KSpace) -> CoilMaps:
    return interpolate(coarse, (kspace.data.shape[1], kspace.data.shape[2]))


def scale_of(kspace: KSpace, least_squares: Complex) -> Scale:
    """Noise, brightest tissue and energy of one slice, as the network is told of them.

    ``least_squares`` c64 (r, p) is `Cascade.least_squares` of the slice.
    """
    noise = float(np.sqrt(np.mean(noise_per_coil(kspace) ** 2)))
    level = float(np.percentile(np.abs(least_squares), 99.5))
    numbers = (noise, level, float(np.vdot(kspace.data, kspace.data).real))
    return Scale(*(torch.tensor([number]) for number in numbers))


def run_network(
    model: Model, kspace: KSpace, maps: CoilMaps, weighting: LesionWeighting = LesionWeighting.FOCUSED
) -> _SliceResult:
    """One slice through the cascade, with the lesion term as asked for and switched off.

    Activation and scores come from the last stage. The card's operating point gates the lesion term
    and the map alike: a slice whose score stays below it is its own reference, with a map of zero.
    """
    encoding = baseline.operator(kspace, maps)
    gate = model.card.lesion["operating_score"]
    with torch.inference_mode():
        adjoint = encoding.adjoint(torch.from_numpy(kspace.data)[None])
        least_squares = model.network.least_squares(adjoint, encoding)
        scale = scale_of(kspace, least_squares[0].numpy())
        term = LesionTerm(weighting, gate)
        last, plain = model.network.with_reference(adjoint, encoding, scale, term, least_squares)
    reference = plain[0].numpy()
    if last.slice_logits is None or last.activation is None:
        empty = np.zeros(reference.shape, dtype=np.float32)
        scores = np.zeros(len(model.network.config.classifier.classes), dtype=np.float32)
        return _SliceResult(reference, reference, empty, scores, data_residual(kspace, maps, reference))
    # where no coil map reaches nothing was measured, and the lesion term has nothing to act on
    image = np.where(maps.support, last.image[0].numpy(), reference)
    scores = torch.sigmoid(last.slice_logits[0]).numpy()
    shown = last.activation[0].numpy() * (scores >= gate)[:, None, None]
    activation = shown_activation(shown.max(axis=0), image, maps.support)
    return _SliceResult(image, reference, activation, scores, data_residual(kspace, maps, image))


def _choose_fallback(scan: RawScan, settings: ReconSettings, calibration: Calibration) -> Choice:
    """The site's fallback, judged on a few slices of the scan."""

    def load(s: int) -> tuple[KSpace, CoilMaps]:
        kspace = _load(scan, s, settings)
        return kspace, _maps_of(calibration.slices[s], kspace)

    with_signal = [s for s, entry in enumerate(calibration.indicators) if entry.signal > 0]
    return choose((load(s) for s in judged_slices(with_signal)), settings.fallback)


def _network_pass(
    scan: RawScan, model: Model, settings: ReconSettings, calibration: Calibration, progress: Progress | None
) -> _Volumes:
    volumes = _Volumes()
    if settings.always_fallback:
        volumes.choice = _choose_fallback(scan, settings, calibration)
    for s in range(scan.n_slices):
        kspace = _load(scan, s, settings)
        maps = _maps_of(calibration.slices[s], kspace)
        result = run_network(model, kspace, maps, settings.lesion)
        volumes.images.append(result.image)
        volumes.references.append(result.reference)
        volumes.activations.append(result.activation)
        volumes.scores.append(result.scores)
        volumes.misfits.append(result.misfit)
        volumes.unexplained.append(network_residual(kspace, *result.misfit))
        if volumes.choice is not None:
            volumes.fallbacks.append(SOLVERS[volumes.choice.method](kspace, maps))
            volumes.zero_filled.append(baseline.zero_filled(kspace, maps))
        if progress:
            progress(s + 1, scan.n_slices)
    return volumes


def _fallback_pass(
    scan: RawScan,
    choice: Choice,
    settings: ReconSettings,
    calibration: Calibration,
    progress: Progress | None,
) -> _Volumes:
    volumes = _Volumes(choice=choice)
    for s in range(scan.n_slices):
        kspace = _load(scan, s, settings)
        maps = _maps_of(calibration.slices[s], kspace)
        image = SOLVERS[choice.method](kspace, maps)
        volumes.images.append(image)
        volumes.misfits.append(data_residual(kspace, maps, image))
        if settings.always_fallback:
            volumes.zero_filled.append(baseline.zero_filled(kspace, maps))
        if progress:
            progress(s + 1, scan.n_slices)
    return volumes


def reconstruct(
    scan: RawScan,
    model: Model | None,
    settings: ReconSettings,
    *,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct a scan: LF-MRI where the verdict is TRUSTED, else the fallback with all reasons.

    The network is run on a scan that is refused already, too: what it leaves of the data is a reason as well.

    Parameters
    ----------
    model
        None where no weights are at hand: every scan falls back.
    calibration
        Of the same scan and settings; computed here where None.
    progress
        Called with (slices done, slices in all) of each pass over the scan.

    Raises
    ------
    ReconError
        InvalidRawData or UnsupportedAcquisition from reading or calibrating the scan.
    """
    calibration = calibration or calibrate(scan, settings)
    card = model.card if model is not None else None
    n_coils = min(scan.n_coils, settings.n_virtual_coils or scan.n_coils)
    size = (scan.shape[2], scan.shape[3])
    reasons = quality.scan_reasons(calibration.sampled, n_coils, size, settings, card)
    volumes, residuals = None, dict[int, float]()
    if model is not None and settings.method is Method.LF_MRI:
        reasons += quality.slice_reasons(calibration.indicators, model.card)
        if any(entry.signal > 0 for entry in calibration.indicators):
            wanted = replace(settings, always_fallback=settings.always_fallback and not reasons)
            volumes = _network_pass(scan, model, wanted, calibration, progress)
            residuals = _residuals(volumes, calibration)
            reasons += quality.network_reasons(residuals, calibration.indicators, model.card)
    if reasons or volumes is None:
        asked = settings.method is not Method.LF_MRI
        choice = Choice(method=settings.method) if asked else _choose_fallback(scan, settings, calibration)
        volumes = _fallback_pass(scan, choice, settings, calibration, progress)
    indicators = calibration.indicators
    figures = figures_of(calibration.sampled, n_coils, size, indicators, residuals, card)
    measured = Quality(
        verdict=Verdict.FALLBACK if reasons else Verdict.TRUSTED,
        acceleration=acceleration(np.stack(calibration.sampled)),
        data_residual=volumes.residual(),
        reasons=reasons,
        figures=figures,
    )
    return _assemble(scan, model, settings, volumes, measured)


def _residuals(volumes: _Volumes, calibration: Calibration) -> dict[int, float]:
    return {s: value for s, value in enumerate(volumes.unexplained) if calibration.indicators[s].signal > 0}


def _assemble(
    scan: RawScan,
    model: Model | None,
    settings: ReconSettings,
    volumes: _Volumes,
    measured: Quality,
) -> Reconstruction:
    trusted, choice = measured.verdict is Verdict.TRUSTED, volumes.choice

    def volume(planes: list[Complex]) -> Complex | None:
        return apply_display(np.stack(planes), scan.display).astype(np.complex64) if planes else None

    image = volume(volumes.images)
    assert image is not None  # every pass fills it
    return Reconstruction(
        image=image,
        reference=volume(volumes.references),
        fallback=volume(volumes.fallbacks) if trusted else image,
        zero_filled=volume(volumes.zero_filled),
        geometry=scan.geometry,
        sequence=scan.sequence,
        lesion=_lesion_map(scan, model, volumes) if trusted and model is not None else None,
        quality=measured,
        provenance=Provenance(
            method=Method.LF_MRI if trusted or choice is None else choice.method,
            software_version=version("lfmri-node"),
            source_sha256=scan.source_sha256,
            settings=settings.describe(),
            weights_sha256=model.sha256 if trusted and model is not None else None,
            weights_name=model.name if trusted and model is not None else None,
            fallback=choice.method if choice is not None else None,
            choice=choice.why if choice is not None else None,
            convention=scan.convention,
        ),
    )


def _lesion_map(scan: RawScan, model: Model, volumes: _Volumes) -> LesionMap:
    activation = np.clip(apply_display(np.stack(volumes.activations), scan.display), 0.0, 1.0)
    return LesionMap(
        activation=activation.astype(np.float32),
        scores=_scores_of_delivered(scan, np.stack(volumes.scores), activation.shape[0]),
        labels=model.network.config.classifier.classes,
        operating_score=model.card.lesion["operating_score"],
        threshold=model.card.lesion["threshold"],
        validated=model.card.lesion_map_validated,
    )


def _scores_of_delivered(scan: RawScan, scores: Real, n_delivered: int) -> Real:
    """Scores per delivered slice: reordered as the slices are; of a turned 3-D volume the highest."""
    if scan.display.permutation[0] != 0:
        return np.repeat(scores.max(axis=0, keepdims=True), n_delivered, axis=0)
    return scores[::-1].copy() if scan.display.flip[0] else scores
