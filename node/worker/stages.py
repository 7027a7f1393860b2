"""The stages of a job, as the worker does them: files in, files out.

Each stage leaves its result under its final name only when it is complete and on disk; a stage that
finds its result already there answers from it and computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from lfmri_node.dicom_io.objects.texts import map_summary
from lfmri_node.dicom_io.raw_data.context import contradictions
from lfmri_node.dicom_io.raw_data.payload import open_payload, verify
from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.dicom_io.raw_data.unassigned import assigned
from lfmri_node.dicom_io.types import EncodedObject, StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.dicom_io.values import require_fitting
from lfmri_node.node.errors import StageFailed
from lfmri_node.node.files import published_directory, published_path, write_text
from lfmri_node.node.jobs.recipe import Recipe, job_key
from lfmri_node.node.worker.facts import facts_of
from lfmri_node.node.worker.memory import bounded_growth, is_out_of_memory
from lfmri_node.node.worker.task import ANSWER, CALIBRATION, RECONSTRUCTION, Task
from lfmri_node.recon.errors import InvalidModel
from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.mrd.measurement import Measurement, ReaderSettings, open_measurement
from lfmri_node.recon.settings import Device, Precision
from lfmri_node.recon.types import Method, RawScan, Reconstruction, ScanIdentity

if TYPE_CHECKING:
    from lfmri_node.recon.method.weights import Model  # torch comes with it: at run time only when needed
    from lfmri_node.recon.precision import Chosen

Progress = Callable[[int, int], None]

_DECODE_BYTES = 2 << 30


class Pipeline:
    """The stages, with the model kept between jobs. torch is imported when first needed."""

    def __init__(
        self, *, threads: int = 0, device: Device = Device.CPU, precision: Precision = Precision.AUTO
    ) -> None:
        self._threads = threads
        self._device = device
        self._precision = precision
        self._model: Model | None = None

    def warm_up(self) -> str:
        """Import the numerics, which takes seconds, before the first job comes; load the shipped weights.

        Returns
        -------
        The precision of the shipped network on this machine, and why; "" without weights.
        """
        import lfmri_node.dicom_io.objects.series
        import lfmri_node.recon.reconstruct  # noqa: F401

        if shipped_weights().is_file():
            self._limit_threads()
            with suppress(InvalidModel):  # the first job that needs them says so
                chosen = self._load(None, None)
                return f"{chosen.precision}, {chosen.why}"
        return ""

    def decode(self, task: Task, progress: Progress) -> dict[str, object]:
        """Read the header, check identity and geometry, list the scans of the measurement.

        Returns
        -------
        ``scans``: contrast, repetition, job key and recipe of each; ``n_slices``, ``n_coils``.

        Raises
        ------
        ReconError, DicomIoError
            The payload or the ISMRMRD file is damaged or of a kind that is not supported.
        StageFailed
            LF-JOB-021 no usable identity, LF-JOB-022 geometry unknown, LF-JOB-023 the ISMRMRD
            header contradicts the DICOM attributes, LF-JOB-024 the file needs more memory to be read
            than its size explains.
        """
        received = recall_measurement(task.sources)
        verify(received.parts)
        context = received.context
        try:
            with (
                bounded_growth(_DECODE_BYTES + 2 * received.size_bytes),
                self._measurement(task) as measurement,
            ):
                check_identity(measurement.identity, context, received.given)
                scans = [measurement.scan(contrast, repetition) for contrast, repetition in measurement.scans]
                check_geometry(scans)
                stated = measurement.stated
        except (MemoryError, RuntimeError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            raise _beyond_its_size() from error
        recipes = [task.recipe.chosen(facts_of(received, scan.sequence, stated)) for scan in scans]
        progress(1, 1)
        return {
            "scans": [
                {
                    "key": job_key(context, task.source_sha256, recipe, scan.contrast, scan.repetition).hex,
                    "contrast": scan.contrast,
                    "repetition": scan.repetition,
                    "recipe": recipe.to_json(),
                }
                for recipe, scan in zip(recipes, scans, strict=True)
            ],
            "n_slices": scans[0].n_slices,
            "n_coils": scans[0].n_coils,
            "n_pixels": prod(scans[0].geometry.matrix[1:]),
        }

    def calibrate(self, task: Task, progress: Progress) -> dict[str, object]:
        """Estimate the coil sensitivities and keep them in ``work/calibration.npz``."""
        target = task.work / CALIBRATION
        if target.exists():
            return {}
        from lfmri_node.recon.calibration import calibrate

        self._limit_threads()
        with self._measurement(task) as measurement:
            scan = measurement.scan(task.contrast, task.repetition)
            calibration = calibrate(scan, task.recipe.recon, progress)
        with published_path(target, epoch=task.epoch) as scratch:
            calibration.save(scratch)
        return {}

    def reconstruct(self, task: Task, progress: Progress) -> dict[str, object]:
        """Reconstruct and keep the volumes in ``work/reconstruction``."""
        target = task.work / RECONSTRUCTION
        if not target.exists():
            from lfmri_node.recon.accelerator import take
            from lfmri_node.recon.archive import save_reconstruction
            from lfmri_node.recon.calibration import Calibration
            from lfmri_node.recon.reconstruct import reconstruct

            self._limit_threads()
            compute = take(self._device)
            with self._measurement(task) as measurement:
                reconstruction = reconstruct(
                    measurement.scan(task.contrast, task.repetition),
                    self._model_for(task.recipe),
                    task.recipe.recon,
                    calibration=Calibration.load(task.work / CALIBRATION),
                    progress=progress,
                    compute=compute,
                )
            with published_directory(target, epoch=task.epoch) as scratch:
                save_reconstruction(reconstruction, scratch)
                write_text(scratch / ANSWER, json.dumps(findings(reconstruction)))
        answer = json.loads((target / ANSWER).read_text(encoding="utf-8"))
        assert isinstance(answer, dict)
        return answer

    def encode(self, task: Task, progress: Progress) -> dict[str, object]:
        """Write and check the DICOM objects.

        Returns
        -------
        ``objects``: what `EncodedObject` holds, ``path`` relative to the objects' directory.
        """
        if not task.objects.exists():
            from lfmri_node.recon.archive import load_reconstruction

            context = recall_measurement(task.sources).context
            if task.identity is not None:
                said = json.loads(task.identity.read_text(encoding="utf-8"))
                context = assigned(context, said)
            reconstruction = load_reconstruction(task.work / RECONSTRUCTION)
            with published_directory(task.objects, epoch=task.epoch) as scratch:
                objects = encode_objects(reconstruction, context, task, scratch)
                described = [{**asdict(item), "path": item.path.name} for item in objects]
                write_text(scratch / ANSWER, json.dumps({"objects": described}))
        answer = json.loads((task.objects / ANSWER).read_text(encoding="utf-8"))
        assert isinstance(answer, dict)
        progress(len(answer["objects"]), len(answer["objects"]))
        return answer

    @contextmanager
    def _measurement(self, task: Task) -> Iterator[Measurement]:
        task.work.mkdir(parents=True, exist_ok=True)
        received = recall_measurement(task.sources)
        reader = ReaderSettings(**dict(task.recipe.reader), group=received.group, scratch=task.work)
        with (
            open_payload(received.parts) as window,
            open_measurement(window, sha256=task.source_sha256, settings=reader) as measurement,
        ):
            yield measurement

    def _limit_threads(self) -> None:
        if self._threads > 0:
            import torch

            torch.set_num_threads(self._threads)

    def _model_for(self, recipe: Recipe) -> Model | None:
        if recipe.recon.method is not Method.LF_MRI:
            return None
        if self._model is None or self._model.sha256 != recipe.weights_sha256:
            self._load(Path(recipe.weights) if recipe.weights else None, recipe.weights_sha256)
        return self._model

    def _load(self, path: Path | None, sha256: str | None) -> Chosen:
        """The model, in the precision that suits what computes here."""
        from lfmri_node.recon.accelerator import look
        from lfmri_node.recon.method.weights import load_model
        from lfmri_node.recon.precision import choose

        on_processor = self._device is not Device.CUDA and look(self._device).device == "cpu"
        wanted = self._precision if on_processor else Precision.FLOAT32
        chosen = choose(load_model(path, sha256=sha256), wanted)
        self._model = chosen.model
        return chosen


def _beyond_its_size() -> StageFailed:
    return StageFailed(
        "LF-JOB-024",
        "the ISMRMRD file needs more memory to be read than its size explains",
        "it is damaged or made to do harm; export the measurement again, and find out who sent it",
        refused=True,
    )


def encode_objects(
    reconstruction: Reconstruction, context: StudyContext, task: Task, out: Path
) -> Sequence[EncodedObject]:
    """The DICOM objects of a reconstruction, written into ``out`` and checked."""
    key = job_key(context, task.source_sha256, task.recipe, task.contrast, task.repetition)
    return objects_by(task.recipe, reconstruction, context, key, out, created_at=task.created_at)


def objects_by(
    recipe: Recipe,
    reconstruction: Reconstruction,
    context: StudyContext,
    key: JobKey,
    out: Path,
    *,
    created_at: datetime,
) -> Sequence[EncodedObject]:
    """Encode what the recipe asks for; the receive field is estimated here and kept nowhere else."""
    from lfmri_node.dicom_io.objects.attributes import SiteOptions
    from lfmri_node.dicom_io.objects.codes import Role
    from lfmri_node.dicom_io.objects.series import encode

    options = SiteOptions(**dict(recipe.objects), rule=recipe.rule)
    if options.makes(Role.CORRECTED):
        from lfmri_node.recon.receive_field import with_receive_field

        reconstruction = with_receive_field(reconstruction)
    return encode(
        reconstruction,
        context,
        key,
        out,
        created_at=created_at,
        software_version=recipe.software_version,
        options=options,
    )


def check_geometry(scans: Sequence[RawScan]) -> None:
    """Refuse images that nobody could place in the patient.

    Raises
    ------
    StageFailed
        LF-JOB-022 where a scan's directions are zero or not orthonormal.
    """
    if not all(scan.geometry.known for scan in scans):
        raise StageFailed(
            "LF-JOB-022",
            "the slice directions in the ISMRMRD header are zero or not orthonormal",
            "correct the gateway's converter; `lfmri-node reconstruct` makes images without a place",
            refused=True,
        )


def check_identity(identity: ScanIdentity, context: StudyContext, given: frozenset[str]) -> None:
    """Refuse a measurement of nobody, or of somebody else than the DICOM object says.

    Parameters
    ----------
    given
        See `contradictions`.

    Raises
    ------
    StageFailed
        LF-JOB-021 no PatientID or StudyInstanceUID, LF-JOB-023 header and attributes contradict.
    ObjectError
        LF-OBJ-002 an attribute that identifies patient or study does not fit its value representation.
    """
    if not context.study_instance_uid or not context.attributes.get("PatientID"):
        raise StageFailed(
            "LF-JOB-021",
            "the Raw Data object names no patient or no study",
            "let the gateway set PatientID and StudyInstanceUID",
            refused=True,
        )
    require_fitting({**context.attributes, "StudyInstanceUID": context.study_instance_uid})
    differing = contradictions(identity, context, given)
    if differing:
        raise StageFailed(
            "LF-JOB-023",
            f"ISMRMRD header and DICOM attributes contradict each other in {', '.join(differing)}",
            "find out at the gateway which one is right, and send again",
            refused=True,
        )


def findings(reconstruction: Reconstruction) -> dict[str, object]:
    """What a table shows of a reconstruction: verdict, reasons, figures; JSON-able."""
    quality = reconstruction.quality
    lesion, convention = reconstruction.lesion, reconstruction.provenance.convention
    return {
        "verdict": quality.verdict.value,
        "reasons": [{"code": r.code, "message": r.message} for r in quality.reasons],
        "acceleration": round(quality.acceleration, 4),
        "data_residual": round(quality.data_residual, 6),
        "figures": [asdict(figure) for figure in quality.figures],
        "method": reconstruction.provenance.method.value,
        "device": reconstruction.provenance.device,
        "device_notes": list(reconstruction.provenance.device_notes),
        "matrix": list(reconstruction.geometry.matrix),
        "lesion_voxels": int(lesion.mask.sum()) if lesion is not None else None,
        "lesion_map": map_summary(lesion) if lesion is not None else None,
        "lesion_gate": lesion.operating_score if lesion is not None else None,
        "lesion_threshold": lesion.threshold if lesion is not None else None,
        "weights": reconstruction.provenance.weights_name,
        "orientation": convention.describe(),
        "orientation_verified": convention.verified,
        "fft_sign": convention.fft_sign,
        "flips": list(convention.flips),
    }
