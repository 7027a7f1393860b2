"""MR Image Storage (PS3.3 A.4): one slice of a magnitude image, on highdicom's base class."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.attributes import ObjectJob, copy_attribute, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.intensity import BITS_STORED, LARGEST_STORED, Scaling, Stored, Window
from lfmri_node.dicom_io.objects.plane import add_image_plane, decimal
from lfmri_node.recon.types import Complex, SequenceInfo


class MRImage(hd.SOPClass):
    """One slice; patient, study and provenance are added by `attributes.complete`.

    Parameters
    ----------
    role
        `Role.LF_MRI`, `Role.REFERENCE`, `Role.FALLBACK` or `Role.CORRECTED`.
    s
        Slice, from 0; Instance Number is ``s + 1``.
    stored
        u16 (y, x).
    """

    def __init__(
        self, job: ObjectJob, role: Role, s: int, stored: Stored, *, scaling: Scaling, window: Window
    ) -> None:
        super().__init__(
            study_instance_uid=job.context.study_instance_uid,
            sop_class_uid=MRImageStorage,
            modality="MR",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **sop_arguments(job, role, s + 1),
        )
        self.FrameOfReferenceUID = job.frame_of_reference_uid
        self.PatientPosition = self.PositionReferenceIndicator = ""
        indicator = job.context.attributes.get("PositionReferenceIndicator", "")
        copy_attribute(self, "PositionReferenceIndicator", indicator)
        self.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
        self.DerivationCodeSequence = [CodedConcept.from_code(codes.RECONSTRUCTION)]
        self.BurnedInAnnotation = "NO"
        self.LossyImageCompression = "00"
        add_image_plane(self, job.reconstruction.geometry, s)
        self._add_sequence(job.reconstruction.sequence)
        self._add_pixels(stored, scaling, window)

    def _add_sequence(self, sequence: SequenceInfo) -> None:
        """MR Image module (PS3.3 C.8.3.1). RM (research mode): ISMRMRD does not name the sequence's kind."""
        inverted = sequence.inversion_time_ms is not None and sequence.inversion_time_ms > 0
        self.ScanningSequence = ["RM", "IR"] if inverted else "RM"
        self.SequenceVariant = "NONE"
        self.ScanOptions = ""
        self.MRAcquisitionType = "3D" if sequence.three_dimensional else "2D"
        self.EchoTrainLength = sequence.echo_train_length
        self.RepetitionTime = _or_empty(sequence.repetition_time_ms)
        self.EchoTime = _or_empty(sequence.echo_time_ms)
        if inverted:
            self.InversionTime = _or_empty(sequence.inversion_time_ms)
        if sequence.flip_angle_deg is not None:
            self.FlipAngle = decimal(sequence.flip_angle_deg)
        if sequence.field_strength_t is not None:
            self.MagneticFieldStrength = decimal(sequence.field_strength_t)
        if sequence.resonance_frequency_hz is not None:
            self.ImagingFrequency = decimal(sequence.resonance_frequency_hz / 1e6)
        if sequence.sequence_name:
            copy_attribute(self, "SequenceName", sequence.sequence_name)
        if sequence.protocol:
            self.ProtocolName = texts.long_string(sequence.protocol)

    def _add_pixels(self, stored: Stored, scaling: Scaling, window: Window) -> None:
        """Image Pixel, VOI LUT, and the mapping from stored value to magnitude (PS3.3 C.7.6.16.2.11)."""
        self.SamplesPerPixel = 1
        self.PhotometricInterpretation = "MONOCHROME2"
        self.Rows, self.Columns = stored.shape
        self.BitsAllocated, self.BitsStored, self.HighBit = 16, BITS_STORED, BITS_STORED - 1
        self.PixelRepresentation = 0
        self.WindowCenter, self.WindowWidth = decimal(window.center), decimal(window.width)
        self.RealWorldValueMappingSequence = [
            hd.pm.RealWorldValueMapping(
                lut_label="MAGNITUDE",
                lut_explanation="Magnitude in the arbitrary unit of the measurement",
                unit=codes.NO_UNITS,
                value_range=(0, LARGEST_STORED),
                slope=scaling.slope,
                intercept=0.0,
            )
        ]
        self.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()
        self["PixelData"].VR = "OW"


def mr_series(
    job: ObjectJob, role: Role, volume: Complex, *, scaling: Scaling, window: Window
) -> list[MRImage]:
    """One image a slice of ``volume`` c64 (s, y, x)."""
    stored = scaling.store(volume)
    return [MRImage(job, role, s, plane, scaling=scaling, window=window) for s, plane in enumerate(stored)]


def source_image(image: Dataset) -> Dataset:
    """Item of Source Image Sequence: what another was made from."""
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.SOURCE_IMAGE)]
    return item


def _or_empty(value: float | None) -> Any:
    return None if value is None else decimal(value)
