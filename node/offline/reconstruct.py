"""``lfmri-node reconstruct``: one file in, DICOM objects and pictures out, without a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lfmri_node.dicom_io.objects.publish import is_there
from lfmri_node.dicom_io.raw_data.context import context_of
from lfmri_node.dicom_io.raw_data.payload import open_payload, verify
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.stated import describe
from lfmri_node.dicom_io.types import EncodedObject, StudyContext
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.recipe import Recipe, job_key
from lfmri_node.node.offline.asked import is_raw_data
from lfmri_node.node.offline.pictures import captions_of, shown_kinds, write_pictures
from lfmri_node.node.worker.stages import check_identity, findings, objects_by
from lfmri_node.recon.accelerator import look, take
from lfmri_node.recon.calibration import calibrate
from lfmri_node.recon.compute import Compute
from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.metrics import ImageQuality, compare
from lfmri_node.recon.mrd.measurement import Measurement, ReaderSettings, open_measurement
from lfmri_node.recon.precision import choose
from lfmri_node.recon.reconstruct import reconstruct
from lfmri_node.recon.settings import Device, Precision
from lfmri_node.recon.types import Method, RawScan, Real, Reconstruction

Show = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one scan.

    Parameters
    ----------
    found
        Verdict, reasons and figures; see `stages.findings`.
    quality
        Kind of image -> figures against the truth; empty where the truth is not known.
    seconds
        Stage -> duration.
    """

    contrast: int
    repetition: int
    found: Mapping[str, object]
    geometry_known: bool
    identity_known: bool
    objects: tuple[EncodedObject, ...]
    pictures: tuple[Path, ...]
    quality: Mapping[str, ImageQuality]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "contrast": self.contrast,
            "repetition": self.repetition,
            **self.found,
            "geometry_known": self.geometry_known,
            "identity_known": self.identity_known,
            "objects": [
                {"path": str(item.path), "role": item.role, "sop_instance_uid": item.sop_instance_uid}
                for item in self.objects
            ],
            "pictures": [str(path) for path in self.pictures],
            "quality": quality_document(self.quality),
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    measurement: Measurement
    context: StudyContext
    identity_known: bool


def reconstruct_file(
    source: Path,
    out: Path,
    *,
    recipe: Recipe,
    given: Mapping[str, str],
    show: Show,
    group: str | None = None,
    device: Device = Device.CPU,
    precision: Precision = Precision.AUTO,
) -> list[Outcome]:
    """Reconstruct every contrast and repetition in ``source``.

    Parameters
    ----------
    source
        ISMRMRD file, or a Raw Data object that carries a whole one.
    out
        Folder for ``*.dcm`` and ``*.png``; one folder below it for each scan where there are several.
        Nothing is written there unless every scan was reconstructed.
    given
        DICOM attributes of patient and study, keyword -> value, over what the header says.
    group
        HDF5 group; None: the only one that holds acquisitions.
    device, precision
        What computes, and in what its convolutions run.

    Raises
    ------
    ReconError, DicomIoError
        The file is damaged, or (`UnsupportedAcquisition`) of a kind that is refused; LF-DEV-001 there is no
        accelerator.
    StageFailed
        LF-JOB-023 where a Raw Data object and the header inside it contradict each other.
    """
    created_at = datetime.fromtimestamp(source.stat().st_mtime, UTC)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        _opened(source, recipe, given, group) as opened,
        TemporaryDirectory(prefix=".lfmri-", dir=out.parent) as folder,
    ):
        scans = [opened.measurement.scan(*pair) for pair in opened.measurement.scans]
        model = None
        if recipe.recon.method is Method.LF_MRI:
            model = load_model(Path(recipe.weights) if recipe.weights else None, sha256=recipe.weights_sha256)
            on_processor = look(device).device == "cpu"
            model = choose(model, precision if on_processor else Precision.FLOAT32).model
        scratch, outcomes = Path(folder), []
        for scan in scans:
            name = f"contrast-{scan.contrast}-repetition-{scan.repetition}" if len(scans) > 1 else "."
            truth = find_truth(source, scan.contrast)
            outcomes.append(
                _one(scan, opened, scratch / name, recipe, model, truth, created_at, show, take(device))
            )
        return _published(outcomes, scratch, out)


def _published(outcomes: list[Outcome], scratch: Path, out: Path) -> list[Outcome]:
    """Move everything from ``scratch`` to ``out``; nothing, where one object would replace another."""

    def final(path: Path) -> Path:
        return out / path.relative_to(scratch)

    moved = [
        replace(
            outcome,
            objects=tuple(replace(item, path=final(item.path)) for item in outcome.objects),
            pictures=tuple(final(path) for path in outcome.pictures),
        )
        for outcome in outcomes
    ]
    for outcome in moved:
        for item in outcome.objects:
            is_there(item)
    for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
        final(path).parent.mkdir(parents=True, exist_ok=True)
        path.replace(final(path))
    return moved


def _one(
    scan: RawScan,
    opened: _Opened,
    out: Path,
    recipe: Recipe,
    model: Model | None,
    truth: Real | None,
    created_at: datetime,
    show: Show,
    compute: Compute,
) -> Outcome:
    clock = _Clock()
    calibration = calibrate(scan, recipe.recon, lambda done, total: show("calibrate coils", done, total))
    clock.lap("calibrated")
    reconstruction = reconstruct(
        scan,
        model,
        recipe.recon,
        calibration=calibration,
        progress=lambda done, total: show("reconstruct", done, total),
        compute=compute,
    )
    clock.lap("reconstructed")
    key = job_key(opened.context, scan.source_sha256, recipe, scan.contrast, scan.repetition)
    out.mkdir(parents=True, exist_ok=True)
    objects = objects_by(recipe, reconstruction, opened.context, key, out, created_at=created_at)
    show("write objects", len(objects), len(objects))
    clock.lap("encoded")
    quality = quality_against(reconstruction, truth)
    pictures = write_pictures(reconstruction, truth, out, captions=captions_of(quality))
    clock.lap("pictures")
    return Outcome(
        contrast=scan.contrast,
        repetition=scan.repetition,
        found=findings(reconstruction),
        geometry_known=scan.geometry.known,
        identity_known=opened.identity_known,
        objects=tuple(objects),
        pictures=tuple(pictures),
        quality=quality,
        seconds=clock.laps,
    )


class _Clock:
    """Durations between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        moment = time.monotonic()
        self.laps[name] = round(moment - self._last, 3)
        self._last = moment


@contextmanager
def _opened(source: Path, recipe: Recipe, given: Mapping[str, str], group: str | None) -> Iterator[_Opened]:
    reader = ReaderSettings(**dict(recipe.reader), group=group)
    if not is_raw_data(source, given, group):
        with open_measurement(source, settings=reader) as measurement:
            context, known = _stand_in_context(measurement, given)
            yield _Opened(measurement=measurement, context=context, identity_known=known)
        return
    received = parse_measurement([source])
    verify(received.parts)
    reader, context = replace(reader, group=received.group), received.context
    with (
        open_payload(received.parts) as window,
        open_measurement(window, sha256=received.sha256, settings=reader) as measurement,
    ):
        check_identity(measurement.identity, context, received.given)
        yield _Opened(measurement=measurement, context=context, identity_known=True)


def _stand_in_context(measurement: Measurement, given: Mapping[str, str]) -> tuple[StudyContext, bool]:
    """Patient and study from the header and the options; a marked stand-in where neither names one."""
    sha256 = measurement.source_sha256
    attributes = describe(measurement.stated, given, sha256)
    known = bool(attributes.get("PatientID"))
    if not known:
        unknown = {"PatientID": f"UNKNOWN-{sha256[:12]}", "PatientName": "Unknown^Identity"}
        attributes = describe(measurement.stated, {**given, **unknown}, sha256)
    attributes["SeriesInstanceUID"] = name_uid("raw series", sha256)
    return context_of(attributes, name_uid("raw object", sha256)), known


def find_truth(source: Path, contrast: int) -> Real | None:
    """f32 (s, y, x) of ``<stem>.truth.npz`` beside ``source``; None where there is none."""
    path = source.with_name(f"{source.stem}.truth.npz")
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        name = "truth" if contrast == 0 else f"truth_{contrast}"
        return np.asarray(arrays[name], dtype=np.float32) if name in arrays else None


def quality_against(reconstruction: Reconstruction, truth: Real | None) -> dict[str, ImageQuality]:
    """Figures of every image of a reconstruction against the truth.

    Raises
    ------
    NodeError
        LF-CFG-009 where the truth has another shape than the images.
    """
    if truth is None:
        return {}
    if truth.shape != reconstruction.geometry.matrix:
        raise NodeError(
            "LF-CFG-009",
            f"the truth has shape {truth.shape}, the images {reconstruction.geometry.matrix}",
            "remove the *.truth.npz file, or make it again with `lfmri-node convert`",
        )
    kinds = shown_kinds(reconstruction)
    return {kind: compare(np.abs(getattr(reconstruction, kind)), truth) for kind in kinds}


def quality_document(quality: Mapping[str, ImageQuality]) -> dict[str, dict[str, float]]:
    """Figures of each kind of image, JSON-able."""
    return {
        kind: {"psnr_db": figure.psnr_db, "ssim": figure.ssim, "nmse": figure.nmse}
        for kind, figure in quality.items()
    }
