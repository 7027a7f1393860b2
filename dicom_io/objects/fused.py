"""Secondary Capture (PS3.3 A.8): the activation in colour over the image, for viewers without overlays."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import texts
from lfmri_node.dicom_io.objects.attributes import ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.colour import Rgb, fuse
from lfmri_node.dicom_io.objects.intensity import Window
from lfmri_node.dicom_io.objects.legend import with_legend
from lfmri_node.dicom_io.objects.mr_image import MRImage, source_image
from lfmri_node.dicom_io.objects.plane import add_image_plane, patient_orientation
from lfmri_node.recon.types import LesionMap


def fused_series(
    job: ObjectJob, lesion: LesionMap, images: Sequence[MRImage], window: Window
) -> list[hd.sc.SCImage]:
    """One colour image a slice, at the place of the slice.

    The margin with the legend lies right of and below the anatomy, so the first pixel is the slice's own
    and Image Position (Patient) and Pixel Spacing hold. The legend holds no patient data.

    Parameters
    ----------
    images
        The LF-MRI series, slice by slice.
    window
        Of that series.
    """
    mask = lesion.mask
    return [
        _fused_slice(job, s, _picture(lesion, s, window.apply(_stored(image)), mask[s]), image)
        for s, image in enumerate(images)
    ]


def _stored(image: MRImage) -> np.ndarray:
    return np.frombuffer(image.PixelData, dtype="<u2").reshape(image.Rows, image.Columns)


def _picture(lesion: LesionMap, s: int, grey: np.ndarray, mask: np.ndarray) -> Rgb:
    picture = fuse(grey, lesion.activation[s], outline=mask)
    return with_legend(picture, texts.legend_lines(lesion, s), lesion.threshold)


def _fused_slice(job: ObjectJob, s: int, picture: Rgb, image: MRImage) -> hd.sc.SCImage:
    geometry = job.reconstruction.geometry
    fused = hd.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=patient_orientation(geometry),
        study_instance_uid=job.context.study_instance_uid,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **sop_arguments(job, Role.FUSED, s + 1),
    )
    fused.Modality = "MR"
    fused.BurnedInAnnotation = "YES"  # the legend: words, though none that identify the patient
    fused.LossyImageCompression = "00"
    fused.FrameOfReferenceUID = job.frame_of_reference_uid
    fused.PositionReferenceIndicator = image.PositionReferenceIndicator
    fused.DateOfSecondaryCapture, fused.TimeOfSecondaryCapture = fused.ContentDate, fused.ContentTime
    add_image_plane(fused, geometry, s)
    fused.SourceImageSequence = [source_image(image)]
    return fused
