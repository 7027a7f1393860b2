"""Whether a file that HDF5 cannot read may be half a copy, or can be told to be whole and yet no good."""

from __future__ import annotations

from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_TAIL_BYTES = 4096
_ADDRESSES = {0: 24, 1: 28, 2: 12, 3: 12}
"""Where the addresses begin, by the superblock's version (HDF5 File Format Specification, II.A): of the base,
of something else, of the end of the file."""
_SIZE_OF_OFFSETS = {0: 13, 1: 13, 2: 9, 3: 9}


def may_be_half(path: Path) -> bool:
    """Whether more of a file may come.

    Not where it begins with something else than an HDF5 file does, nor where it is as long as its superblock
    says. Bytes that are zero may not be written yet: some programs give a copy its length first.
    """
    with path.open("rb") as file:
        head = file.read(128)
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    begun = head[: len(SIGNATURE)]
    if not SIGNATURE.startswith(begun) and any(begun):
        return False
    return not any(tail) or size < _end_of(head)


def _end_of(head: bytes) -> int:
    """The end of the file as its superblock says; without bound where it does not say it."""
    version = head[8] if len(head) == 128 else -1
    if version not in _ADDRESSES:
        return 1 << 64
    width = head[_SIZE_OF_OFFSETS[version]]
    begin = _ADDRESSES[version] + 2 * width
    return int.from_bytes(head[begin : begin + width], "little") if width in (2, 4, 8) else 1 << 64
