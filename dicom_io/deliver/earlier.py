"""Whether a destination's copy is an earlier making of an object: the same but for when it was made.

UIDs follow from what the pixels are made of (`dicom_io.uids`). So where a node has lost its memory and a scan
is sent to it again, its objects come under the UIDs that they had, with another time of creation.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from io import BytesIO

from pydicom import dcmread

from lfmri_node.dicom_io.types import EncodedObject

_TIMES = frozenset(
    {
        "InstanceCreationDate",
        "InstanceCreationTime",
        "SeriesDate",
        "SeriesTime",
        "ContentDate",
        "ContentTime",
        "DateOfSecondaryCapture",
        "TimeOfSecondaryCapture",
        "ContributionDateTime",
    }
)
"""What the time of creation is written into; see `objects.attributes.ObjectJob`."""


def is_earlier_making(item: EncodedObject, copy: bytes) -> bool:
    """Whether ``copy`` differs from an object in nothing but the times of its creation.

    Only our file is parsed: where the times stand in it, anything may stand in the copy. A file that is not
    what was written is like nothing.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    content = item.path.read_bytes()
    if len(content) != len(copy) or hashlib.sha256(content).hexdigest() != item.sha256:
        return False
    ours, theirs = bytearray(content), bytearray(copy)
    for place in _places(content):
        ours[place] = theirs[place] = bytes(place.stop - place.start)
    return ours == theirs


def _places(content: bytes) -> Iterator[slice]:
    """Where in a file (Explicit VR Little Endian, PS3.5 7.1.2) the values stand that say when it was made."""
    dataset = dcmread(BytesIO(content), stop_before_pixels=True)
    for element in {e.keyword: e for e in dataset.iterall() if e.keyword in _TIMES}.values():
        value = str(element.value).encode("ascii")
        length = len(value) + len(value) % 2
        vr = element.VR.encode("ascii")
        head = struct.pack("<HH2sH", element.tag.group, element.tag.element, vr, length)
        at = content.find(head + value)
        while at >= 0:
            begin = at + len(head)
            yield slice(begin, begin + len(value))
            at = content.find(head + value, begin)
