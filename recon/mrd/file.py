"""The HDF5 side of an ISMRMRD file: heads in one read, samples of chosen acquisitions in bulk.

Layout: a group holds ``xml`` (the header) and ``data``, a table with one row an acquisition, fields
``head`` (fixed size), ``traj`` and ``data`` (variable length float32, real and imaginary parts
interleaved, channel after channel).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.types import Complex

Rows = NDArray[np.intp]
"""Row numbers in the acquisition table, ascending."""

_HEAD_FIELDS = {
    "flags",
    "number_of_samples",
    "active_channels",
    "discard_pre",
    "discard_post",
    "center_sample",
    "encoding_space_ref",
    "trajectory_dimensions",
    "sample_time_us",
    "position",
    "read_dir",
    "phase_dir",
    "slice_dir",
    "idx",
}
_COUNTERS = {
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
}
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
_EXPORT_AGAIN = "transfer or export the file again"
_HASH_BLOCK = 1 << 22


@contextmanager
def _read_errors(what: str) -> Iterator[None]:
    """Turn what HDF5 raises on damaged files into LF-RAW-001."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGE as error:
        raise InvalidRawData("LF-RAW-001", f"{what} cannot be read", _EXPORT_AGAIN) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class MrdFile:
    """An open ISMRMRD file.

    Parameters
    ----------
    xml
        The header as stored.
    heads
        Structured array (n,), the ``head`` of every acquisition.
    """

    xml: bytes
    heads: NDArray[Any]
    table: h5py.Dataset = field(repr=False)

    def samples(self, rows: Rows) -> Complex:
        """Samples c64 (len(rows), channels, samples) of acquisitions of one size.

        Raises
        ------
        InvalidRawData
            LF-RAW-001 when HDF5 cannot read them, LF-RAW-008 when a record holds another number of
            samples than its head says, LF-RAW-009 when a sample is not finite.
        ValueError
            When the file is closed.
        """
        if not self.table:
            raise ValueError("the measurement is closed")
        chosen = np.zeros(self.table.shape[0], dtype=bool)
        chosen[rows] = True
        with _read_errors("the samples"):
            records = self.table.fields("data")[chosen]
        head = self.heads[rows[0]]
        shape = (int(head["active_channels"]), int(head["number_of_samples"]))
        if any(record.size != 2 * shape[0] * shape[1] for record in records):
            raise InvalidRawData(
                "LF-RAW-008",
                "an acquisition holds another number of samples than its head says",
                _EXPORT_AGAIN,
            )
        stacked = np.stack(records).astype(np.float32, copy=False).view(np.complex64)
        if not np.isfinite(stacked).all():
            raise InvalidRawData("LF-RAW-009", "a sample is not a finite number", _EXPORT_AGAIN)
        return stacked.reshape(len(rows), *shape)


@contextmanager
def open_mrd(source: Path | BinaryIO, group: str | None) -> Iterator[MrdFile]:
    """Open the ISMRMRD group ``group`` (None: the only one that holds ``data``).

    Raises
    ------
    InvalidRawData
        LF-RAW-001 not HDF5 or truncated, LF-RAW-002 no such group, or several, LF-RAW-003 no XML
        header, LF-RAW-005 ``data`` is no table of acquisitions, LF-RAW-019 it is empty.
    """
    with _read_errors("the file"):
        file = h5py.File(source, "r")
    with file:
        member = _group(file, group)
        xml = _xml(member)
        with _read_errors("the table of acquisitions"):
            table = member["data"]
        heads = _heads(table)
        yield MrdFile(xml=xml, heads=heads, table=table)


def sha256_of(source: Path | BinaryIO) -> str:
    """SHA-256 of all bytes of ``source``, lower-case hex; a file object is left at its start."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    source.seek(0)
    while block := source.read(_HASH_BLOCK):
        digest.update(block)
    source.seek(0)
    return digest.hexdigest()


def _group(file: h5py.File, name: str | None) -> h5py.Group:
    with _read_errors("the file's directory"):
        groups = [key for key, node in file.items() if isinstance(node, h5py.Group) and "data" in node]
    if name is not None and name in groups:
        return file[name]
    if name is None and len(groups) == 1:
        return file[groups[0]]
    raise InvalidRawData(
        "LF-RAW-002",
        f"{len(groups)} groups hold acquisitions" + ("" if name is None else ", none of the configured name"),
        "name the group that holds the measurement",
    )


def _xml(group: h5py.Group) -> bytes:
    with _read_errors("the XML header"):
        if "xml" not in group:
            raise InvalidRawData("LF-RAW-003", "the XML header is missing", _EXPORT_AGAIN)
        stored = np.ravel(group["xml"][()])
    if stored.size != 1:
        raise InvalidRawData("LF-RAW-003", f"{stored.size} XML headers instead of one", _EXPORT_AGAIN)
    value = stored[0]
    return value.encode() if isinstance(value, str) else bytes(value)


def _heads(table: Any) -> NDArray[Any]:
    names = table.dtype.names if isinstance(table, h5py.Dataset) and table.ndim == 1 else None
    if not names or not {"head", "data"} <= set(names):
        raise InvalidRawData("LF-RAW-005", "'data' is no table of acquisitions", _EXPORT_AGAIN)
    if table.shape[0] == 0:
        raise InvalidRawData("LF-RAW-019", "the table of acquisitions is empty", _EXPORT_AGAIN)
    with _read_errors("the acquisition heads"):
        heads = _heads_from_chunks(table) if _plain_chunks(table) else table.fields("head")[:]
    known = set(heads.dtype.names or ())
    if not known.issuperset(_HEAD_FIELDS) or not set(heads["idx"].dtype.names or ()).issuperset(_COUNTERS):
        raise InvalidRawData("LF-RAW-005", "the acquisition heads lack fields", _EXPORT_AGAIN)
    return heads


def _plain_chunks(table: h5py.Dataset) -> bool:
    """Whether the rows lie on disk in chunks as they are: all written, no compression."""
    if table.chunks is None or table.id.get_create_plist().get_nfilters():
        return False
    return bool(table.id.get_num_chunks() == -(-table.shape[0] // table.chunks[0]))


def _heads_from_chunks(table: h5py.Dataset) -> NDArray[Any]:
    """The field ``head`` cut out of the stored rows.

    h5py's own field read fetches the samples of every row too, as it converts whole rows: for a file
    of 227 MB it took 30 times as long and 230 MB of memory.
    """
    row, size = table.id.get_type(), table.chunks[0]
    member = row.get_member_index(b"head")
    start, dtype = row.get_member_offset(member), row.get_member_type(member).dtype
    stored = b"".join(table.id.read_direct_chunk((i,))[1] for i in range(0, table.shape[0], size))
    rows = np.frombuffer(stored, dtype=np.uint8).reshape(-1, row.get_size())[: table.shape[0]]
    return np.asarray(np.ascontiguousarray(rows[:, start : start + dtype.itemsize]).view(dtype)[:, 0])
