"""Segmentation Storage (PS3.3 A.51), BINARY: one segment for each marked lesion."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
from highdicom.color import CIELabColor
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.anatomy import region_of
from lfmri_node.dicom_io.objects.attributes import NODE_MANUFACTURER, ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.marks import Mark, numbered
from lfmri_node.dicom_io.objects.mr_image import MRImage
from lfmri_node.recon.types import LesionMap

_DISPLAY_RGB = ((255, 64, 0), (255, 200, 0), (0, 200, 255), (255, 0, 200), (120, 255, 0))


def lesion_segmentation(
    job: ObjectJob, lesion: LesionMap, marks: tuple[Mark, ...], images: Sequence[MRImage]
) -> hd.seg.Segmentation | None:
    """One segment a mark, each with a tracking UID of its own; None where nothing is marked.

    Slices without a voxel of a segment have no frame. Frames are in the order of the segments and, within
    one, of the images' positions.
    """
    if not marks:
        return None
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=numbered(marks, lesion.activation.shape),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(job, lesion, mark) for mark in marks],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="ACTIVATION",
        content_description=texts.content_description(lesion, Role.SEGMENTATION),
        content_creator_name="Node^LF-MRI",
        **sop_arguments(job, Role.SEGMENTATION, 1),
    )


def tracking_uid(job: ObjectJob, mark: Mark) -> str:
    """The same for the same mark in segmentation and report."""
    return job.key.uid("tracking", mark.number)


def tracking_id(job: ObjectJob, mark: Mark) -> str:
    """As `tracking_uid`, for people."""
    return f"activation-{job.key.hex[:16]}-{mark.number}"


def algorithm_parameters(job: ObjectJob, lesion: LesionMap) -> dict[str, str]:
    """What decides which voxels are marked."""
    weights = job.reconstruction.provenance.weights_sha256
    limits = {"operating_score": f"{lesion.operating_score:.6g}", "threshold": f"{lesion.threshold:.6g}"}
    return limits | ({"weights_sha256": weights} if weights else {})


def _segment(job: ObjectJob, lesion: LesionMap, mark: Mark) -> hd.seg.SegmentDescription:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=texts.algorithm_name(job.reconstruction.provenance),
        family=codes.ALGORITHM_FAMILY,
        version=texts.long_string(job.software_version),
        source=NODE_MANUFACTURER,
        parameters=algorithm_parameters(job, lesion),
    )
    return hd.seg.SegmentDescription(
        segment_number=mark.number,
        segment_label=texts.long_string(f"Mark {mark.number}: activation >= {lesion.threshold:.3g}"),
        segmented_property_category=codes.SEGMENT_CATEGORY,
        segmented_property_type=codes.SEGMENT_TYPE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(job, mark),
        tracking_id=tracking_id(job, mark),
        anatomic_regions=[region] if (region := region_of(job.context.attributes)) else None,
        display_color=CIELabColor.from_rgb(*_DISPLAY_RGB[(mark.number - 1) % len(_DISPLAY_RGB)]),
    )
