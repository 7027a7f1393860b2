"""Comprehensive 3D SR by TID 1500 (PS3.16): what was marked, where, and how far to trust the study.

The coded half, a measurement group for each mark (TID 1411), is what software reads (IHE AI Results); the
sentences are what a person reads, and they stand there too where nothing was marked.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.anatomy import region_of
from lfmri_node.dicom_io.objects.attributes import (
    NODE_MANUFACTURER,
    NODE_MODEL,
    ObjectJob,
    sop_arguments,
)
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.marks import Mark
from lfmri_node.dicom_io.objects.mr_image import MRImage
from lfmri_node.dicom_io.objects.segmentation import algorithm_parameters, tracking_id, tracking_uid
from lfmri_node.recon.types import LesionMap

_NOT_OF_AN_SR = ("content_qualification", "content_date", "content_time", "series_date", "series_time")
"""Of images alone. highdicom takes the date of a report's content from the clock and refuses a series that is
later, as after a clock was set back, or in another time zone: `attributes.complete` sets all of them."""


def lesion_report(
    job: ObjectJob,
    lesion: LesionMap,
    marks: tuple[Mark, ...],
    images: Sequence[MRImage],
    segmentation: hd.seg.Segmentation | None,
) -> sr.Comprehensive3DSR:
    """The report of one job; it refers to the segmentation, or to the images where nothing was marked."""
    groups = (
        [_group(job, lesion, mark, images, segmentation) for mark in marks]
        if segmentation
        else [_nothing_marked(job, lesion)]
    )
    report = sr.MeasurementReport(
        observation_context=_observer(job),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        title=codes.REPORT_TITLE,
    )
    root = report[0]
    for sentence in texts.report_sentences(job.reconstruction, lesion, len(marks)):
        root.ContentSequence.append(_text(codes.FINDING, sentence))
    arguments = {k: v for k, v in sop_arguments(job, Role.REPORT, 1).items() if k not in _NOT_OF_AN_SR}
    return sr.Comprehensive3DSR(
        evidence=[*images, *([segmentation] if segmentation else [])],
        content=root,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                codes.PRIVATE_SCHEME,
                name="Concepts of the lfmri-node project",
                responsible_organization=NODE_MANUFACTURER,
            )
        ],
        **arguments,
    )


def _observer(job: ObjectJob) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=job.device_uid,
        name=NODE_MODEL,
        manufacturer_name=NODE_MANUFACTURER,
        model_name=NODE_MODEL,
        serial_number=texts.long_string(job.site.device_serial_number),
    )
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept.from_code(codes.DEVICE), observer_identifying_attributes=device
    )
    return sr.ObservationContext(observer_device_context=observer)


def _group(
    job: ObjectJob,
    lesion: LesionMap,
    mark: Mark,
    images: Sequence[MRImage],
    segmentation: hd.seg.Segmentation,
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    region = region_of(job.context.attributes)
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(job, mark), identifier=tracking_id(job, mark)
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=mark.number,
            source_series=sr.SourceSeriesForSegmentation(images[0].SeriesInstanceUID),
        ),
        finding_type=codes.SEGMENT_TYPE,
        finding_sites=[sr.FindingSite(anatomic_location=region)] if region else None,
        algorithm_id=_algorithm(job, lesion),
        measurements=[
            sr.Measurement(name=codes.VOLUME, value=round(mark.volume_mm3, 1), unit=codes.CUBIC_MM),
            sr.Measurement(
                name=codes.ACTIVATION_QUANTITY,
                value=round(mark.maximum_activation, 3),
                unit=codes.NO_UNITS,
                derivation=codes.MAXIMUM,
            ),
            sr.Measurement(name=codes.SLICE_SCORE, value=round(mark.score, 3), unit=codes.NO_UNITS),
        ],
    )
    group[0].ContentSequence.append(_highest_activation(mark, images))
    group[0].ContentSequence.append(_text(codes.COMMENT, texts.place_of_mark(mark)))
    return group


def _highest_activation(mark: Mark, images: Sequence[MRImage]) -> sr.ScoordContentItem:
    """A point on its image, for viewers that show what has a place on an image and no segment.

    TID 1411 is extensible; the middle of a voxel lies half a voxel from its corner (PS3.3 C.18.6.1.2).
    """
    s, y, x = mark.peak
    point = sr.ScoordContentItem(
        name=codes.HIGHEST_ACTIVATION,
        graphic_type=sr.GraphicTypeValues.POINT,
        graphic_data=np.array([[x + 0.5, y + 0.5]]),
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    image = sr.SourceImageForRegion(
        referenced_sop_class_uid=images[s].SOPClassUID, referenced_sop_instance_uid=images[s].SOPInstanceUID
    )
    point.ContentSequence = DicomSequence([image])
    return point


def _nothing_marked(job: ObjectJob, lesion: LesionMap) -> sr.MeasurementsAndQualitativeEvaluations:
    """One group (TID 1501) for the whole series: TID 1500 asks for a measurement, and there is one."""
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=job.key.uid("tracking"), identifier=f"activation-{job.key.hex[:16]}"
        ),
        algorithm_id=_algorithm(job, lesion),
        measurements=[
            sr.Measurement(
                name=codes.SLICE_SCORE,
                value=round(float(lesion.scores.max()), 3),
                unit=codes.NO_UNITS,
                derivation=codes.MAXIMUM,
            )
        ],
    )


def _algorithm(job: ObjectJob, lesion: LesionMap) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name=texts.algorithm_name(job.reconstruction.provenance),
        version=texts.long_string(job.software_version),
        parameters=[f"{name} {value}" for name, value in algorithm_parameters(job, lesion).items()],
    )


def _text(name: sr.CodedConcept, sentence: str) -> Dataset:
    return sr.TextContentItem(name=name, value=sentence, relationship_type=sr.RelationshipTypeValues.CONTAINS)
