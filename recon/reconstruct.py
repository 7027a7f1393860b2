"""The one door of the numerics: a `RawScan`, a model and settings in, a `Reconstruction` out.

`calibrate` reads every slice once: coil maps on the coarse grid and the indicators of the verdict.
`reconstruct` reads every slice again and computes the images. Slices are streamed: at no time is
more than one batch of multi-coil data in memory, which on the processor is one slice.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from lfmri_node.recon.calibration import Calibration, Progress, calibrate
from lfmri_node.recon.compute import Compute
from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.passes import Volumes, Work, fallback_pass, network_pass
from lfmri_node.recon.sense.sampling import acceleration
from lfmri_node.recon.trust import verdict as quality
from lfmri_node.recon.trust.fallback import Choice
from lfmri_node.recon.trust.figures import figures_of
from lfmri_node.recon.types import (
    Complex,
    LesionMap,
    Method,
    Provenance,
    Quality,
    RawScan,
    Real,
    ReconSettings,
    Reconstruction,
    Verdict,
)

BFLOAT16 = ", convolutions in bfloat16"
"""What the record says beside the device."""


def reconstruct(
    scan: RawScan,
    model: Model | None,
    settings: ReconSettings,
    *,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
    compute: Compute | None = None,
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
    compute
        What computes, of this scan alone; the processor where None.

    Raises
    ------
    ReconError
        InvalidRawData or UnsupportedAcquisition from reading or calibrating the scan.
    """
    calibration = calibration or calibrate(scan, settings)
    compute = compute or Compute()
    work = Work(scan=scan, settings=settings, calibration=calibration, compute=compute, progress=progress)
    card = model.card if model is not None else None
    n_coils = min(scan.n_coils, settings.n_virtual_coils or scan.n_coils)
    size = (scan.shape[2], scan.shape[3])
    reasons = quality.scan_reasons(calibration.sampled, n_coils, size, settings, card)
    volumes, residuals = None, dict[int, float]()
    if model is not None and settings.method is Method.LF_MRI:
        reasons += quality.slice_reasons(calibration.indicators, model.card)
        if any(entry.signal > 0 for entry in calibration.indicators):
            beside = work.choose_fallback() if settings.always_fallback and not reasons else None
            volumes = network_pass(work, model, beside)
            residuals = _residuals(volumes, calibration)
            reasons += quality.network_reasons(residuals, calibration.indicators, model.card)
    if reasons or volumes is None:
        asked = settings.method is not Method.LF_MRI
        choice = Choice(method=settings.method) if asked else work.choose_fallback()
        volumes = fallback_pass(work, choice)
    indicators = calibration.indicators
    figures = figures_of(calibration.sampled, n_coils, size, indicators, residuals, card)
    measured = Quality(
        verdict=Verdict.FALLBACK if reasons else Verdict.TRUSTED,
        acceleration=acceleration(np.stack(calibration.sampled)),
        data_residual=volumes.residual(),
        reasons=reasons,
        figures=figures,
    )
    return _assemble(work, model, volumes, measured)


def _residuals(volumes: Volumes, calibration: Calibration) -> dict[int, float]:
    return {s: value for s, value in enumerate(volumes.unexplained) if calibration.indicators[s].signal > 0}


def _assemble(work: Work, model: Model | None, volumes: Volumes, measured: Quality) -> Reconstruction:
    scan, compute = work.scan, work.compute
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
            settings=work.settings.describe(),
            weights_sha256=model.sha256 if trusted and model is not None else None,
            weights_name=model.name if trusted and model is not None else None,
            fallback=choice.method if choice is not None else None,
            choice=choice.why if choice is not None else None,
            convention=scan.convention,
            device=compute.describe()
            + (BFLOAT16 if trusted and model is not None and model.bfloat16 else ""),
            device_notes=tuple(compute.notes),
        ),
    )


def _lesion_map(scan: RawScan, model: Model, volumes: Volumes) -> LesionMap:
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
