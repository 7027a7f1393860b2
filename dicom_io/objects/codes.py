"""The terms that our objects speak: coded concepts of PS3.16, roles, and words of PS3.16 Annex L."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

# CID 7013 "Non-Image Source Instance Purposes of Reference".
SOURCE_RAW_DATA: Final[Code] = codes.DCM.SourceRawData
# CID 7202 "Source Image Purposes of Reference".
SOURCE_IMAGE: Final[Code] = codes.DCM.SourceImageForImageProcessingOperation
# CID 7203 "Image Derivation" names no reconstruction from k-space; it is extensible, and this concept of
# PS3.16 Annex D (from CID 10033) is what LF-MRI, L1-wavelet and CG-SENSE have in common.
RECONSTRUCTION: Final[Code] = codes.DCM.IterativeReconstruction
DIVISION: Final[Code] = codes.DCM.PixelByPixelDivision
# CID 7180 "Abstract Multi-dimensional Image Model Component Semantics".
ACTIVATION_QUANTITY: Final[Code] = codes.DCM.Saliency
SIGNAL_QUANTITY: Final[Code] = codes.DCM.MRSignalIntensity
NO_UNITS: Final[Code] = codes.UCUM.NoUnits
# CID 7005 "Contributing Equipment Purposes of Reference".
ACQUISITION_EQUIPMENT: Final[Code] = codes.DCM.AcquisitionEquipment
PROCESSING_EQUIPMENT: Final[Code] = codes.DCM.ProcessingEquipment
# CID 7162 "Algorithm Families".
ALGORITHM_FAMILY: Final[Code] = codes.cid7162.ArtificialIntelligence
# CID 7150 and CID 7151: what the segment is, without a claim of its nature.
SEGMENT_CATEGORY: Final[Code] = codes.SCT.MorphologicallyAbnormalStructure
SEGMENT_TYPE: Final[Code] = codes.SCT.Lesion

# TID 1500 and 1411: the report.
REPORT_TITLE: Final[Code] = codes.DCM.ImagingMeasurementReport
PROCEDURE: Final[Code] = Code("113091000", "SCT", "Magnetic resonance imaging")
DEVICE: Final[Code] = codes.DCM.Device
FINDING: Final[CodedConcept] = CodedConcept.from_code(codes.DCM.Finding)
COMMENT: Final[CodedConcept] = CodedConcept.from_code(codes.DCM.Comment)
VOLUME: Final[Code] = codes.SCT.Volume
MAXIMUM: Final[Code] = codes.SCT.Maximum
CUBIC_MM: Final[Code] = codes.UCUM.CubicMillimeter
# No standard concept is the score of a classifier that is no probability: a private scheme (PS3.16 8.2).
PRIVATE_SCHEME: Final = "99LFMRI"
SLICE_SCORE: Final[Code] = Code("slice-score", PRIVATE_SCHEME, "Slice score of the lesion classifier")
# Nor is one the place of an extreme value.
HIGHEST_ACTIVATION: Final[Code] = Code("peak-activation", PRIVATE_SCHEME, "Voxel of the highest activation")


class Role(StrEnum):
    """What an object is in a delivery; also the first part of its file name.

    The order is that of the series numbers.
    """

    LF_MRI = "lf-mri"
    REFERENCE = "reference"
    DIFFERENCE = "difference"
    MAP = "map"
    SEGMENTATION = "segmentation"
    FUSED = "fused"
    REPORT = "report"
    FALLBACK = "fallback"
    CORRECTED = "corrected"
    SUMMARY = "summary"
