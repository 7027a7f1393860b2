"""The private block of the Raw Data objects: its elements, and an example byte by byte."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import dictionary_description

from lfmri_node.dicom_io.raw_data.block import ELEMENTS, PRIVATE_CREATOR, PRIVATE_GROUP
from lfmri_node.dicom_io.raw_data.wrap import wrap

_PAYLOAD = b"\x89HDF\r\n\x1a\n and so on."
_SOURCE = {
    "PatientID": "4711",
    "PatientName": "Doe^Jane",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyDate": "20260102",
    "StudyTime": "101112",
}
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHOWN_BYTES = 32


def element_rows() -> list[tuple[str, ...]]:
    """Tag, VR, VM, presence, name and content of each element."""
    creator = f"({PRIVATE_GROUP:04X},00xx)", "LO", "1", "ALWAYS", "Private Creator", f"`{PRIVATE_CREATOR}`"
    return [
        creator,
        *(
            (
                f"({PRIVATE_GROUP:04X},xx{element.number:02X})",
                element.vr,
                "1",
                "ALWAYS" if element.required else "ANAP",
                element.name,
                element.content,
            )
            for element in ELEMENTS
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """An element as it lies in a file."""

    tag: tuple[int, int]
    vr: str
    head: bytes
    value: bytes


def example(folder: Path) -> str:
    """All elements of an object of one part; those of the block with the first of their bytes."""
    folder.mkdir()
    h5 = folder / "scan.h5"
    h5.write_bytes(_PAYLOAD)
    os.utime(h5, (0, 0))
    (path,) = wrap(h5, folder, _SOURCE)
    return "\n".join(line for element in _elements(path.read_bytes()) for line in _lines(element))


def _elements(file: bytes) -> Iterator[_Encoded]:
    """Of a file in Explicit VR Little Endian, its meta information left out (PS3.5 7.1.2)."""
    (meta,) = struct.unpack_from("<I", file, 140)
    at = 144 + meta
    while at < len(file):
        group, number, vr = struct.unpack_from("<HH2s", file, at)
        long = vr in _LONG_VRS
        (length,) = struct.unpack_from("<I", file, at + 8) if long else struct.unpack_from("<H", file, at + 6)
        start = at + (12 if long else 8)
        value = file[start : start + length]
        yield _Encoded(tag=(group, number), vr=vr.decode(), head=file[at:start], value=value)
        at = start + length


def _lines(element: _Encoded) -> Iterator[str]:
    group, number = element.tag
    yield f"({group:04X},{number:04X}) {element.vr} {len(element.value):3}  {_name(element)}{_value(element)}"
    if group == PRIVATE_GROUP:
        shown = element.head + element.value
        more = " ..." if len(shown) > _SHOWN_BYTES else ""
        yield f"    {shown[:_SHOWN_BYTES].hex(' ')}{more}"


def _name(element: _Encoded) -> str:
    group, number = element.tag
    if group != PRIVATE_GROUP:
        return dictionary_description((group, number))
    return next((e.name for e in ELEMENTS if e.number == number & 0xFF and number > 0xFF), "Private Creator")


def _value(element: _Encoded) -> str:
    if not element.value or element.vr in ("OB", "SQ"):
        return ""
    if element.vr in ("US", "UL"):
        return f": {int.from_bytes(element.value, 'little')}"
    return f": {element.value.decode().rstrip(' ' + chr(0))}"
