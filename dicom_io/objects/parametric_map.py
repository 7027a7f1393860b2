"""Parametric Map Storage (PS3.3 A.75): the class activation, float32, one frame a slice."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.attributes import ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.mr_image import MRImage
from lfmri_node.recon.types import LesionMap


def activation_map(job: ObjectJob, lesion: LesionMap, images: Sequence[MRImage]) -> hd.pm.ParametricMap:
    """The activation as it is, without rescaling, on the planes of ``images`` and referring to them.

    The quantity is (130404, DCM, "Saliency"): an activation is no probability, so a FRACTIONAL segmentation
    would claim too much. The window is LINEAR_EXACT: the LINEAR function of width 1 is a step
    (PS3.3 C.11.2.1.2.1).

    Parameters
    ----------
    images
        The LF-MRI series, slice by slice.
    """
    return hd.pm.ParametricMap(
        source_images=images,
        pixel_array=lesion.activation,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label="ACTIVATION",
                lut_explanation="Class activation of the lesion classifier, 0 to 1",
                unit=codes.NO_UNITS,
                value_range=(0.0, 1.0),
                slope=1.0,
                intercept=0.0,
                quantity_definition=codes.ACTIVATION_QUANTITY,
            )
        ],
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=0.5, window_width=1.0, voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT
            )
        ],
        content_label="ACTIVATION",
        content_description=texts.content_description(lesion, Role.MAP),
        content_creator_name="Node^LF-MRI",
        **sop_arguments(job, Role.MAP, 1),
    )
