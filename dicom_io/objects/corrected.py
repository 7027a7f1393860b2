"""MR Image Storage (PS3.3 A.4): the delivered images over an estimate of the receive field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import CodedConcept

from lfmri_node.dicom_io.objects import codes
from lfmri_node.dicom_io.objects.attributes import ObjectJob
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.intensity import common_scaling, tissue_window
from lfmri_node.dicom_io.objects.mr_image import MRImage, mr_series, source_image
from lfmri_node.recon.types import ReceiveField


def corrected_series(job: ObjectJob, field: ReceiveField, images: Sequence[MRImage]) -> list[MRImage]:
    """One image a slice, with a scale and a window of their own: grey no longer compares with the others.

    Image Type says NORM in its fourth value, as scanners that even their images out do.

    Parameters
    ----------
    images
        The delivered series, slice by slice.
    """
    volume = (job.reconstruction.image * field.factor).astype(np.complex64)
    scaling = common_scaling([volume])
    window = tissue_window(scaling.store(volume))
    series = mr_series(job, Role.CORRECTED, volume, scaling=scaling, window=window)
    for corrected, image in zip(series, images, strict=True):
        corrected.ImageType = [*corrected.ImageType, "NORM"]
        corrected.DerivationCodeSequence.append(CodedConcept.from_code(codes.DIVISION))
        corrected.SourceImageSequence = [source_image(image)]
        (mapping,) = corrected.RealWorldValueMappingSequence
        mapping.LUTLabel = "CORRECTED"
        mapping.LUTExplanation = "Magnitude over the estimated receive field"
    return series
