"""Segmentation Storage (PS3.3 A.51), BINARY: the voxels whose activation reaches the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.attributes import NODE_MANUFACTURER, ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.mr_image import MRImage
from lfmri_node.recon.types import LesionMap

_DISPLAY_RGB = (255, 64, 0)


def lesion_segmentation(
    job: ObjectJob, lesion: LesionMap, images: Sequence[MRImage]
) -> hd.seg.Segmentation | None:
    """One segment of all slices; None where no voxel reaches the threshold.

    Slices without a voxel of the segment have no frame.
    """
    mask = lesion.mask
    if not mask.any():
        return None
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=mask.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(job, lesion)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="ACTIVATION",
        content_description=texts.content_description(lesion, Role.SEGMENTATION),
        content_creator_name="Node^LF-MRI",
        **sop_arguments(job, Role.SEGMENTATION, 1),
    )


def _segment(job: ObjectJob, lesion: LesionMap) -> hd.seg.SegmentDescription:
    provenance = job.reconstruction.provenance
    parameters = {
        "operating_score": f"{lesion.operating_score:.6g}",
        "threshold": f"{lesion.threshold:.6g}",
    }
    if provenance.weights_sha256:
        parameters["weights_sha256"] = provenance.weights_sha256
    algorithm = hd.AlgorithmIdentificationSequence(
        name=texts.long_string(f"LF-MRI activation, weights {provenance.weights_name or 'unnamed'}"),
        family=codes.ALGORITHM_FAMILY,
        version=texts.long_string(job.software_version),
        source=NODE_MANUFACTURER,
        parameters=parameters,
    )
    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=texts.long_string(f"Activation >= {lesion.threshold:.3g}"),
        segmented_property_category=codes.SEGMENT_CATEGORY,
        segmented_property_type=codes.SEGMENT_TYPE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=job.key.uid("tracking"),
        tracking_id=f"activation-{job.key.hex[:16]}",
        display_color=CIELabColor.from_rgb(*_DISPLAY_RGB),
    )
