"""The HDF5 side of an ISMRMRD file: heads in one read, samples of chosen acquisitions in bulk.

Layout: a group holds ``xml`` (the header) and ``data``, a table with one row an acquisition, fields
``head`` (fixed size), ``traj`` and ``data`` (variable length float32, real and imaginary parts
interleaved, channel after channel).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.storage import (
    VLEN_BYTES,
    Stored,
    members,
    opened,
    out_of_proportion,
    stored_values,
    vlen_counts,
)
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
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, zlib.error)
_EXPORT_AGAIN = "transfer or export the file again"
_HASH_BLOCK = 1 << 22

MAX_XML_BYTES = 4 << 20
"""Longest header that is read."""


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
    group
        Name of the HDF5 group.
    xml
        The header as stored.
    heads
        Structured array (n,), the ``head`` of every acquisition.
    counts
        i64 (n,): stored numbers (real and imaginary parts) of every acquisition.
    """

    group: str
    xml: bytes
    heads: NDArray[Any]
    counts: NDArray[np.int64]
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
        head = self.heads[rows[0]]
        shape = (int(head["active_channels"]), int(head["number_of_samples"]))
        if (self.counts[rows] != 2 * shape[0] * shape[1]).any():
            raise InvalidRawData(
                "LF-RAW-008",
                "an acquisition holds another number of samples than its head says",
                _EXPORT_AGAIN,
            )
        chosen = np.zeros(self.heads.size, dtype=bool)
        chosen[rows] = True
        with _read_errors("the samples"):
            records = self.table.fields("data")[chosen]
        stacked = np.stack(records).astype(np.float32, copy=False).view(np.complex64)
        if not np.isfinite(stacked).all():
            raise InvalidRawData("LF-RAW-009", "a sample is not a finite number", _EXPORT_AGAIN)
        return stacked.reshape(len(rows), *shape)


@contextmanager
def open_mrd(source: Path | BinaryIO, group: str | None) -> Iterator[MrdFile]:
    """Open the ISMRMRD group ``group`` (None: the only one that holds ``data``).

    How header and table are stored is judged first (`storage`); samples are read by `MrdFile.samples`.

    Raises
    ------
    InvalidRawData
        LF-RAW-001 not HDF5 or truncated, LF-RAW-002 no such group, or several, LF-RAW-003 no XML
        header, or a too long one, LF-RAW-005 ``data`` is no table of acquisitions, LF-RAW-019 it is
        empty, LF-RAW-041 to LF-RAW-043 storage that is refused.
    """
    with _read_errors("the file"):
        file = opened(source)
    with file:
        with _read_errors("the file's directory"):
            member = _group(file, group)
            kinds = members(member)
        with _read_errors("the XML header"):
            xml = _xml(member, kinds, source)
        with _read_errors("the acquisition heads"):
            table = member["data"] if kinds["data"] is h5py.Dataset else None
            heads, counts = _heads(table, source)
        yield MrdFile(group=member.name[1:], xml=xml, heads=heads, counts=counts, table=table)


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
    groups = [
        key
        for key, kind in members(file).items()
        if kind is h5py.Group and file[key].get("data", getlink=True) is not None
    ]
    if name is not None and name in groups:
        return file[name]
    if name is None and len(groups) == 1:
        return file[groups[0]]
    raise InvalidRawData(
        "LF-RAW-002",
        f"{len(groups)} groups hold acquisitions" + ("" if name is None else ", none of the given name"),
        "name the group that holds the measurement: --group of `send` and `reconstruct`",
    )


def _xml(group: h5py.Group, kinds: dict[str, type], source: Path | BinaryIO) -> bytes:
    if kinds.get("xml") is not h5py.Dataset:
        raise InvalidRawData("LF-RAW-003", "the XML header is missing", _EXPORT_AGAIN)
    dataset = group["xml"]
    kind = dataset.id.get_type()
    if kind.get_class() != h5py.h5t.STRING:
        raise InvalidRawData("LF-RAW-003", "the XML header is no text", _EXPORT_AGAIN)
    variable = kind.is_variable_str()
    values = stored_values(dataset, source, VLEN_BYTES if variable else kind.get_size())
    if len(values) != 1:
        raise InvalidRawData("LF-RAW-003", f"{len(values)} XML headers instead of one", _EXPORT_AGAIN)
    if (int(vlen_counts(values)[0]) if variable else values.size) > MAX_XML_BYTES:
        raise InvalidRawData("LF-RAW-003", "the XML header is too long", _EXPORT_AGAIN)
    text = np.ravel(dataset[()])[0]
    return text.encode() if isinstance(text, str) else bytes(text)


def _heads(table: h5py.Dataset | None, source: Path | BinaryIO) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The field ``head`` of every row, and the count of numbers in its ``data``.

    Both are cut out of the stored rows. h5py's own field read fetches the samples of every row too, as
    it converts whole rows: for a file of 227 MB it took 30 times as long and 230 MB of memory.
    """
    if table is None or table.id.get_type().get_class() != h5py.h5t.COMPOUND:
        raise _no_table()
    row = table.id.get_type()
    fields = {row.get_member_name(i).decode(): i for i in range(row.get_nmembers())}
    if not {"head", "data"} <= set(fields) or not _is_list_of_float(row.get_member_type(fields["data"])):
        raise _no_table()
    head = row.get_member_type(fields["head"]).dtype
    known = set(head.names or ())
    if not known.issuperset(_HEAD_FIELDS) or not set(head["idx"].names or ()).issuperset(_COUNTERS):
        raise InvalidRawData("LF-RAW-005", "the acquisition heads lack fields", _EXPORT_AGAIN)
    rows = stored_values(table, source, row.get_size())
    if len(rows) == 0:
        raise InvalidRawData("LF-RAW-019", "the table of acquisitions is empty", _EXPORT_AGAIN)
    total = 0
    for index in fields.values():
        if row.get_member_type(index).get_class() == h5py.h5t.VLEN:
            counts = _counts(rows, row, index)
            total += int(counts.sum()) * row.get_member_type(index).get_super().get_size()
    if total > table.file.id.get_filesize():
        raise out_of_proportion("the rows declare more samples than the file holds")
    start = row.get_member_offset(fields["head"])
    heads = np.ascontiguousarray(rows[:, start : start + head.itemsize]).view(head)[:, 0]
    return heads, _counts(rows, row, fields["data"])


def _no_table() -> InvalidRawData:
    return InvalidRawData("LF-RAW-005", "'data' is no table of acquisitions", _EXPORT_AGAIN)


def _is_list_of_float(kind: h5py.h5t.TypeID) -> bool:
    return bool(kind.get_class() == h5py.h5t.VLEN and kind.get_super().dtype.kind == "f")


def _counts(rows: Stored, row: h5py.h5t.TypeCompoundID, index: int) -> NDArray[np.int64]:
    start = row.get_member_offset(index)
    return vlen_counts(rows[:, start : start + VLEN_BYTES])
