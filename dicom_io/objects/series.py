"""The one door from a reconstruction to DICOM files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.objects.attributes import ObjectJob, SiteOptions, complete, patient_and_study
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.corrected import corrected_series
from lfmri_node.dicom_io.objects.fused import fused_series
from lfmri_node.dicom_io.objects.intensity import Window, common_scaling, tissue_window
from lfmri_node.dicom_io.objects.marks import Mark, marks_of
from lfmri_node.dicom_io.objects.mr_image import MRImage, mr_series
from lfmri_node.dicom_io.objects.parametric_map import activation_map, difference_map
from lfmri_node.dicom_io.objects.publish import publish
from lfmri_node.dicom_io.objects.report import lesion_report
from lfmri_node.dicom_io.objects.segmentation import lesion_segmentation
from lfmri_node.dicom_io.types import EncodedObject, StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.recon.types import LesionMap, Method, Reconstruction, Verdict


def encode(
    reconstruction: Reconstruction,
    context: StudyContext,
    key: JobKey,
    out: Path,
    *,
    created_at: datetime,
    software_version: str,
    options: SiteOptions | None = None,
) -> tuple[EncodedObject, ...]:
    """Write every object of a job into ``out``; each is legal DICOM before any has its name.

    TRUSTED: series ``lf-mri``; ``reference`` and ``difference`` where the lesion term changed anything; the
    ``map``; the ``segmentation`` where something is marked; the ``fused`` colour series; the ``report``.
    FALLBACK, or a site that asked for another method: one series ``fallback``. Both: ``corrected`` where the
    reconstruction has a receive field, the ``summary`` where the site asks for one. Of all these what
    ``options`` makes; the report names segments, so that it is not made without the ``segmentation``. Same
    arguments, same bytes.

    Parameters
    ----------
    created_at
        Aware. Goes into every date and time that the node states, so a job must keep it for a re-run.
    options
        None for the defaults.

    Returns
    -------
    tuple of EncodedObject
        In the order of the roles and of Instance Number.

    Raises
    ------
    ObjectError
        LF-OBJ-001 values not finite; LF-OBJ-002 illegal identity; LF-OBJ-003 to 005 dciodvfy missing,
        late or with errors; LF-OBJ-006 other bytes under the same name; LF-OBJ-007 verdict and method
        contradict; LF-OBJ-008 a map or reference without LF-MRI; LF-OBJ-009 activation does not fit the
        image. No file is left.
    ValueError
        ``created_at`` has no time zone.
    """
    _refuse_contradiction(reconstruction)
    reference = reconstruction.reference
    job = ObjectJob(
        reconstruction=reconstruction,
        reference_differs=reference is not None and not np.array_equal(reconstruction.image, reference),
        context=context,
        key=key,
        created_at=created_at,
        software_version=software_version,
        site=options or SiteOptions(),
    )
    return publish(_completed(job), out)


def _completed(job: ObjectJob) -> Iterator[tuple[Role, hd.SOPClass]]:
    source = patient_and_study(job)
    for role, dataset in _build(job):
        complete(dataset, job, role, source)
        yield role, dataset


def _build(job: ObjectJob) -> list[tuple[Role, hd.SOPClass]]:
    reconstruction = job.reconstruction
    role = Role.LF_MRI if reconstruction.provenance.method is Method.LF_MRI else Role.FALLBACK
    volumes = {role: reconstruction.image}
    changed = reconstruction.reference if job.reference_differs else None
    if changed is not None:
        volumes[Role.REFERENCE] = changed
    scaling = common_scaling(list(volumes.values()))
    window = tissue_window(scaling.store(reconstruction.image))
    series = {
        r: mr_series(job, r, v, scaling=scaling, window=window)
        for r, v in volumes.items()
        if job.site.makes(r)
    }
    objects: list[tuple[Role, hd.SOPClass]] = [(r, image) for r, images in series.items() for image in images]
    if changed is not None and job.site.makes(Role.DIFFERENCE):
        objects.append((Role.DIFFERENCE, difference_map(job, volumes[role], changed, series[role])))
    marks: tuple[Mark, ...] = ()
    if reconstruction.lesion is not None:
        marks = marks_of(reconstruction.lesion, reconstruction.geometry)
        objects += _of_the_map(job, reconstruction.lesion, marks, series[role], window)
    if reconstruction.receive_field is not None:
        even = corrected_series(job, reconstruction.receive_field, series[role])
        objects += [(Role.CORRECTED, image) for image in even]
    if job.site.makes(Role.SUMMARY):
        from lfmri_node.dicom_io.objects.summary import Summary  # most sites ask for none: no ReportLab

        objects.append((Role.SUMMARY, Summary(job, objects, marks, scaling=scaling, window=window)))
    return objects


def _of_the_map(
    job: ObjectJob, lesion: LesionMap, marks: tuple[Mark, ...], images: list[MRImage], window: Window
) -> Iterator[tuple[Role, hd.SOPClass]]:
    """Map, segmentation, colour pictures and report; the segmentation only where something is marked."""
    makes = job.site.makes
    if makes(Role.MAP):
        yield Role.MAP, activation_map(job, lesion, images)
    segmentation = None
    if makes(Role.SEGMENTATION):
        segmentation = lesion_segmentation(job, lesion, marks, images)
    if segmentation is not None:
        yield Role.SEGMENTATION, segmentation
    if makes(Role.FUSED):
        yield from ((Role.FUSED, image) for image in fused_series(job, lesion, images, window))
    if makes(Role.REPORT):
        yield Role.REPORT, lesion_report(job, lesion, marks, images, segmentation)


def _refuse_contradiction(reconstruction: Reconstruction) -> None:
    method, verdict = reconstruction.provenance.method, reconstruction.quality.verdict
    lesion, reference = reconstruction.lesion, reconstruction.reference
    of_the_network = method is Method.LF_MRI
    if of_the_network and verdict is not Verdict.TRUSTED:
        raise ObjectError(
            "LF-OBJ-007",
            f"an image of {method} has the verdict {verdict}",
            "an untrusted measurement must be delivered as its fallback; report this",
        )
    if not of_the_network and (lesion is not None or reference is not None):
        raise ObjectError(
            "LF-OBJ-008",
            f"an image of {method} has a lesion map or a reference",
            "only LF-MRI has them; report this",
        )
    if lesion is not None and lesion.activation.shape != reconstruction.geometry.matrix:
        raise ObjectError(
            "LF-OBJ-009",
            f"activation {lesion.activation.shape} does not fit the image {reconstruction.geometry.matrix}",
            "report this; the reconstruction's parts do not belong together",
        )
