"""Parametric Map Storage (PS3.3 A.75), float32, a frame a slice: class activation, and difference."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.anatomy import add_frame_anatomy
from lfmri_node.dicom_io.objects.attributes import ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.mr_image import MRImage
from lfmri_node.recon.types import Complex, LesionMap, Real


def activation_map(job: ObjectJob, lesion: LesionMap, images: Sequence[MRImage]) -> hd.pm.ParametricMap:
    """The activation as it is, without rescaling, on the planes of ``images`` and referring to them.

    The quantity is (130404, DCM, "Saliency"): an activation is no probability, so a FRACTIONAL segmentation
    would claim too much.

    Parameters
    ----------
    images
        The LF-MRI series, slice by slice.
    """
    return _map(
        job,
        Role.MAP,
        lesion.activation,
        images,
        label="ACTIVATION",
        explanation="Class activation of the lesion classifier, 0 to 1",
        quantity=codes.ACTIVATION_QUANTITY,
        limits=(0.0, 1.0),
        description=texts.content_description(lesion, Role.MAP),
    )


def difference_map(
    job: ObjectJob, image: Complex, reference: Complex, images: Sequence[MRImage]
) -> hd.pm.ParametricMap:
    """What the enhancement changed: magnitude of ``image`` less that of ``reference``, in the images' unit.

    Zero stands in the middle of the window, so more and less signal take opposite ends of a viewer's colours.

    Parameters
    ----------
    image, reference
        c64 (s, y, x): LF-MRI with its lesion term, and without.
    """
    difference = (np.abs(image) - np.abs(reference)).astype(np.float32)
    largest = float(np.abs(difference).max()) or 1.0
    return _map(
        job,
        Role.DIFFERENCE,
        difference,
        images,
        label="DIFFERENCE",
        explanation="LF-MRI less its reference, arbitrary unit of the images",
        quantity=codes.SIGNAL_QUANTITY,
        limits=(-largest, largest),
        description=texts.DIFFERENCE_CONTENT,
    )


def _map(
    job: ObjectJob,
    role: Role,
    values: Real,
    images: Sequence[MRImage],
    *,
    label: str,
    explanation: str,
    quantity: Code,
    limits: tuple[float, float],
    description: str,
) -> hd.pm.ParametricMap:
    """``values`` f32 (s, y, x). Window LINEAR_EXACT: LINEAR of width 1 is a step (PS3.3 C.11.2.1.2.1)."""
    low, high = limits
    window = hd.VOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=high - low,
        voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
    )
    built = hd.pm.ParametricMap(
        source_images=images,
        pixel_array=values,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label=label,
                lut_explanation=explanation,
                unit=codes.NO_UNITS,
                value_range=limits,
                slope=1.0,
                intercept=0.0,
                quantity_definition=quantity,
            )
        ],
        voi_lut_transformations=[window],
        content_label=label,
        content_description=description,
        content_creator_name="Node^LF-MRI",
        **sop_arguments(job, role, 1),
    )
    add_frame_anatomy(built, job.context.attributes)
    _order_frames(built)
    return built


def _order_frames(built: hd.pm.ParametricMap) -> None:
    """Frames from the first position along the slice normal to the last.

    highdicom writes them the other way round, and there are readers that take frame n for position n whatever
    the frame says of its position (dcmqi 1.5.7).
    """
    groups = list(built.PerFrameFunctionalGroupsSequence)
    orientation = built.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(*np.array(orientation, dtype=float).reshape(2, 3))
    positions = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    order = np.argsort(np.array(positions, dtype=float) @ normal)
    frames = np.frombuffer(built.FloatPixelData, dtype="<f4").reshape(len(groups), -1)
    built.FloatPixelData = frames[order].tobytes()
    built.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
