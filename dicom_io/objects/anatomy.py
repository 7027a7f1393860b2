"""Which part of the body: from Body Part Examined to the coded region that multi-frame objects need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lfmri_node.dicom_io.values import body_part_of, laterality_of

# PS3.16 Annex L: the region that each defined term of Body Part Examined (0018,0015) stands for.
REGIONS: Final[Mapping[str, Code]] = {
    "ABDOMEN": codes.SCT.Abdomen,
    "BRAIN": codes.SCT.Brain,
    "BREAST": codes.SCT.Breast,
    "CHEST": codes.SCT.Chest,
    "CSPINE": codes.SCT.CervicalSpine,
    "FOOT": codes.SCT.Foot,
    "HAND": codes.SCT.Hand,
    "HEAD": codes.SCT.Head,
    "HEADNECK": codes.SCT.HeadAndNeck,
    "HEART": codes.SCT.Heart,
    "HIP": codes.SCT.Hip,
    "KNEE": codes.SCT.Knee,
    "LEG": codes.SCT.LowerLeg,
    "LIVER": codes.SCT.Liver,
    "LSPINE": codes.SCT.LumbarSpine,
    "NECK": codes.SCT.Neck,
    "PELVIS": codes.SCT.Pelvis,
    "PROSTATE": codes.SCT.Prostate,
    "SHOULDER": codes.SCT.Shoulder,
    "SPINE": codes.SCT.Spine,
    "THIGH": codes.SCT.Thigh,
    "TSPINE": codes.SCT.ThoracicSpine,
}
_ANYWHERE: Final[Code] = codes.SCT.EntireBody


def region_of(attributes: Mapping[str, object]) -> Code | None:
    """The coded region of the source's Body Part Examined; None where it names none that we know."""
    return REGIONS.get(body_part_of(attributes))


def add_frame_anatomy(dataset: hd.SOPClass, attributes: Mapping[str, object]) -> None:
    """The Frame Anatomy functional group (PS3.3 C.7.6.16.2.8), shared by all frames.

    highdicom does not write it. Frame Laterality has no value for "not known", so a region that may be paired
    and whose side the source does not name is the entire body, which is not paired, as is a region not known.
    """
    side = laterality_of(attributes)
    region = None if side == "" else region_of(attributes)
    anatomy = Dataset()
    anatomy.FrameLaterality = side if side and region else "U"
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(region or _ANYWHERE)]
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
