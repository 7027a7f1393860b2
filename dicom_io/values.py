"""Which values an attribute may have: by its value representation and, for a few, by enumeration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
