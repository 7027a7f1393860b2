"""Writing an ISMRMRD file from rows as they lie in a stream: heads and samples are copied, not understood.

Equal rows give equal bytes, so that a measurement that is sent again has the SHA-256 of the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ismrmrd.hdf5 import (
    acquisition_dtype,
    acquisition_header_dtype,
    waveform_dtype,
    waveform_header_dtype,
)
from numpy.typing import NDArray

GROUP = "dataset"
_CHUNK_ROWS = 64
_BATCH_BYTES = 32 << 20


class RowWriter:
    """Adds rows to an ISMRMRD file; made by `open_rows`."""

    def __init__(self, group: h5py.Group) -> None:
        self._acquisitions = _Table(group, "data", acquisition_dtype)
        self._waveforms = _Table(group, "waveforms", waveform_dtype)

    def acquisition(self, head: bytes, body: bytes) -> None:
        """One AcquisitionHeader; trajectory f32 (samples, dimensions), samples c64 (channels, samples).

        Raises
        ------
        ValueError
            The lengths are not those that the head announces.
        """
        (row,) = np.frombuffer(head, dtype=acquisition_header_dtype)
        n_samples = int(row["number_of_samples"])
        n_trajectory = n_samples * int(row["trajectory_dimensions"])
        values = np.frombuffer(body, dtype="<f4")
        if values.size != n_trajectory + 2 * n_samples * int(row["active_channels"]):
            raise ValueError("an acquisition has another length than its head says")
        self._acquisitions.add(len(body), row, traj=values[:n_trajectory], data=values[n_trajectory:])

    def waveform(self, head: bytes, body: bytes) -> None:
        """One WaveformHeader; then values u32 (channels, samples).

        Raises
        ------
        ValueError
            As `acquisition`.
        """
        (row,) = np.frombuffer(head, dtype=waveform_header_dtype)
        values = np.frombuffer(body, dtype="<u4")
        if values.size != int(row["number_of_samples"]) * int(row["channels"]):
            raise ValueError("a waveform has another length than its head says")
        self._waveforms.add(len(body), row, data=values)

    def flush(self) -> None:
        """Write what is collected."""
        self._acquisitions.flush()
        self._waveforms.flush()


class _Table:
    """A table that grows a batch at a time; it is there once it has a row."""

    def __init__(self, group: h5py.Group, name: str, kind: np.dtype[Any]) -> None:
        self._group, self._name, self._kind = group, name, kind
        self._rows: list[tuple[Any, dict[str, NDArray[Any]]]] = []
        self._bytes = 0

    def add(self, n_bytes: int, head: Any, **values: NDArray[Any]) -> None:
        self._rows.append((head, values))
        self._bytes += n_bytes
        if self._bytes >= _BATCH_BYTES or len(self._rows) >= 16 * _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        if self._name not in self._group:
            self._group.create_dataset(
                self._name, shape=(0,), maxshape=(None,), dtype=self._kind, chunks=(_CHUNK_ROWS,)
            )
        table = self._group[self._name]
        rows = np.empty(len(self._rows), dtype=self._kind)
        for row, (head, values) in zip(rows, self._rows, strict=True):
            row["head"] = head
            for name, value in values.items():
                row[name] = value
        first = table.shape[0]
        table.resize(first + len(rows), axis=0)
        table[first:] = rows
        self._rows, self._bytes = [], 0


@contextmanager
def open_rows(path: Path, xml: bytes) -> Iterator[RowWriter]:
    """Create the ISMRMRD file ``path`` with this header; it is complete when the block is left."""
    with h5py.File(path, "w") as file:
        group = file.create_group(GROUP)
        header = group.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
        header[0] = xml
        writer = RowWriter(group)
        yield writer
        writer.flush()
