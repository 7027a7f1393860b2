"""Which values an attribute may have: by its value representation and, for a few, by enumeration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.valuerep import IS, DSfloat, validate_value

from lfmri_node.dicom_io.errors import ObjectError

IDENTITY = frozenset(
    {
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "StudyInstanceUID",
        "StudyID",
        "AccessionNumber",
        "FrameOfReferenceUID",
    }
)
"""Where one of these does not fit its VR the object would belong to someone else: refused, not repaired."""

UNPAIRED_BODY_PARTS: Final[frozenset[str]] = frozenset(
    """
    ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS
    CIRCLEOFWILLIS COCCYX COLON CORONARYARTERY CSPINE CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEAD
    HEADNECK HEART ILEUM ILIUM JAW JEJUNUM LARYNX LIVER LSPINE LSSPINE MAXILLA MEDIASTINUM MOUTH NECK
    NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PANCREAS PELVIS PENIS PHARYNX PROSTATE RECTUM SCALP
    SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA TSPINE URETER URETHRA
    UTERUS VAGINA VULVA WHOLEBODY
    """.split()  # noqa: SIM905 - the formatter would give each word a line
)
"""Body Part Examined (PS3.16 Annex L) of structures that are not paired."""

_ENUMERATED = {"PatientSex": frozenset({"M", "F", "O"}), "Laterality": frozenset({"L", "R"})}


def does_not_fit(keyword: str) -> ObjectError:
    """LF-OBJ-002; the value is not quoted."""
    return ObjectError(
        "LF-OBJ-002",
        f"the source's {keyword} does not fit its value representation",
        "correct the attribute at the gateway and send the measurement again",
    )


def require_fitting(attributes: Mapping[str, object], keywords: Iterable[str] = IDENTITY) -> None:
    """Check these of the attributes before any long work is done.

    Raises
    ------
    ObjectError
        LF-OBJ-002 names the first that does not fit.
    """
    for keyword in sorted(set(keywords) & set(attributes)):
        if not fits(keyword, plain_value(attributes[keyword])):
            raise does_not_fit(keyword)


def body_part_of(attributes: Mapping[str, object]) -> str:
    """Body Part Examined (0018,0015) in capitals; "" where the source names none."""
    return str(attributes.get("BodyPartExamined") or "").strip().upper()


def laterality_of(attributes: Mapping[str, object]) -> str | None:
    """Laterality (0020,0060), type 2C, as PS3.3 C.7.3.1 asks.

    None, that is absent, for a body part that is not paired; for every other, and where none is named, the
    side, or "" where the side is not known.
    """
    if body_part_of(attributes) in UNPAIRED_BODY_PARTS:
        return None
    side = str(attributes.get("Laterality") or "")
    return side if fits("Laterality", side) else ""


def plain_value(value: object) -> Any:
    """Values as text, freed of the character set that they were read with, inside sequences too."""
    if isinstance(value, Dataset):
        item = Dataset()
        for element in value:
            plain = plain_value(element.value)
            if _is_legal(element.VR, plain):
                item.add_new(element.tag, element.VR, plain)
        return item
    if isinstance(value, DicomSequence | MultiValue | list | tuple):
        return [plain_value(item) for item in value]
    binary = isinstance(value, int | float | bytes) and not isinstance(value, DSfloat | IS)
    return value if value is None or binary else str(value)


def fits(keyword: str, value: Any) -> bool:
    """Whether a plain value is legal for the attribute."""
    if keyword in _ENUMERATED and value not in _ENUMERATED[keyword]:
        return False
    return _is_legal(dictionary_VR(keyword), value)


def _is_legal(vr: str, value: Any) -> bool:
    try:
        for item in value if isinstance(value, list) else [value]:
            validate_value(vr, item, config.RAISE)
    except ValueError:
        return False
    return True
