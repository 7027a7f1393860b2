"""How the parts of an HDF5 file are stored, judged from its metadata before any of them is read.

A measurement is one file: its table and its header lie in it, whole, under hard links. What HDF5 offers
beyond that would let a file name other files (external storage, virtual data sets, links), hide bytes
(user blocks), or ask for more memory than it holds (rows that were never written, filters out of
proportion); all of it is refused here. Stored bytes are fetched as they lie on disk and inflated with a
bound, because the library's own filters have none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData

Stored = NDArray[np.uint8]

VLEN_BYTES = 16
"""On disk a variable length value is a count (u32), the address of a heap (u64) and an index (u32)."""

_MAX_MEMBERS = 1000
_INFLATED = 4
"""Filters may store data up to this many times the size of the whole file: samples are never filtered."""
_SMALL = 16 << 20
_EXPORT_AGAIN = "export the measurement again, as one plain ISMRMRD file"


def outside(what: str) -> InvalidRawData:
    """LF-RAW-041."""
    return InvalidRawData("LF-RAW-041", f"the file {what}", _EXPORT_AGAIN)


def out_of_proportion(what: str) -> InvalidRawData:
    """LF-RAW-042."""
    return InvalidRawData("LF-RAW-042", what, _EXPORT_AGAIN)


def opened(source: Path | BinaryIO) -> h5py.File:
    """A file, open for reading; the caller closes it.

    Raises
    ------
    InvalidRawData
        LF-RAW-041 for a user block, LF-RAW-043 for addresses that are not of 8 bytes.
    """
    file = h5py.File(source, "r")
    refusal = None
    if file.userblock_size:
        refusal = outside("begins with a user block, whose content nobody reads")
    elif file.id.get_create_plist().get_sizes() != (8, 8):
        refusal = _unread("addresses that are not of 8 bytes")
    if refusal is not None:
        file.close()
        raise refusal
    return file


def members(group: h5py.Group) -> dict[str, type]:
    """Name and class of every member; nothing is followed or opened.

    Raises
    ------
    InvalidRawData
        LF-RAW-041 when a member is a soft or external link, LF-RAW-042 for more than 1000 of them.
    """
    if len(group) > _MAX_MEMBERS:
        raise out_of_proportion(f"a group holds {len(group)} members")
    if not all(isinstance(group.get(name, getlink=True), h5py.HardLink) for name in group):
        raise outside("holds a soft or external link, which may name another file")
    return {name: group.get(name, getclass=True) for name in group}


def stored_values(dataset: h5py.Dataset, source: Path | BinaryIO, value_bytes: int) -> Stored:
    """u8 (n, value_bytes): the values of a data set as they lie on disk.

    Raises
    ------
    InvalidRawData
        LF-RAW-041 external or virtual storage, LF-RAW-042 more values than the file can hold, values
        that were never written, or filters out of proportion, LF-RAW-043 another layout or filter.
    """
    plist = dataset.id.get_create_plist()  # before the shape: a virtual data set opens its sources for it
    if plist.get_external_count():
        raise outside("keeps values in another file (external storage)")
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise outside("holds a virtual data set, which is made of other data sets")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    unknown = set(filters) - {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED) or dataset.ndim > 1 or unknown:
        raise _unread("a layout or filter that is not read")
    file_bytes, n_bytes = dataset.file.id.get_filesize(), dataset.size * value_bytes
    if n_bytes == 0:
        return np.zeros((0, value_bytes), dtype=np.uint8)
    limit = max(_SMALL, _INFLATED * file_bytes) if filters else file_bytes
    if layout == h5py.h5d.CONTIGUOUS:
        flat = _contiguous(dataset, source, n_bytes)
    else:
        chunk = plist.get_chunk()[0]
        if (max(chunk * value_bytes, n_bytes) if filters else n_bytes) > limit:
            raise out_of_proportion(f"{dataset.size} values are declared in a file of {file_bytes} bytes")
        flat = b"".join(_chunks(dataset, chunk, value_bytes, filters, file_bytes))
    return np.frombuffer(flat, dtype=np.uint8).reshape(-1, value_bytes)[: dataset.size]


def vlen_counts(values: Stored) -> NDArray[np.int64]:
    """i64 (n,): elements of variable length values u8 (n, 16), as their stored counts say."""
    return np.ascontiguousarray(values[:, :4]).view("<u4")[:, 0].astype(np.int64)


def _unread(what: str) -> InvalidRawData:
    return InvalidRawData("LF-RAW-043", f"the file is stored with {what}", _EXPORT_AGAIN)


def _contiguous(dataset: h5py.Dataset, source: Path | BinaryIO, n_bytes: int) -> bytes:
    offset = dataset.id.get_offset()
    if offset is None or dataset.id.get_storage_size() != n_bytes:
        raise out_of_proportion("values are declared that were never written")
    if offset + n_bytes > dataset.file.id.get_filesize():
        raise out_of_proportion("more values are declared than the file holds")
    if isinstance(source, Path):
        with source.open("rb") as file:
            file.seek(offset)
            return file.read(n_bytes)
    source.seek(offset)
    return source.read(n_bytes)


def _chunks(
    dataset: h5py.Dataset, chunk: int, value_bytes: int, filters: list[int], file_bytes: int
) -> Iterator[bytes]:
    starts = range(0, dataset.size, chunk)
    if dataset.id.get_num_chunks() != len(starts):
        raise out_of_proportion("values are declared that were never written")
    for start in starts:
        if dataset.id.get_chunk_info_by_coord((start,)).size > file_bytes:
            raise out_of_proportion("a chunk is declared longer than the file")
        skipped, stored = dataset.id.read_direct_chunk((start,))
        used = [code for i, code in enumerate(filters) if not skipped >> i & 1]
        values = _unfiltered(stored, used, value_bytes, chunk * value_bytes)
        if len(values) != chunk * value_bytes:
            raise out_of_proportion("a chunk unpacks to another length than it declares")
        yield values


def _unfiltered(stored: bytes, filters: list[int], value_bytes: int, n_bytes: int) -> bytes:
    """Undo the filters of a chunk; never more than ``n_bytes`` and a checksum come out."""
    for code in reversed(filters):
        if code == h5py.h5z.FILTER_DEFLATE:
            stored = zlib.decompressobj().decompress(stored, n_bytes + 5)
        elif code == h5py.h5z.FILTER_FLETCHER32:
            stored = stored[:-4]
        elif len(stored) == n_bytes:
            stored = np.frombuffer(stored, dtype=np.uint8).reshape(value_bytes, -1).T.tobytes()
    return stored
