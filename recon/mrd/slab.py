"""Readout planes of a 3-D scan with two phase-encode directions.

The inverse transform along readout needs every line, so all lines are transformed once, in batches,
into a scratch file ordered by readout plane; a plane is then one contiguous read. Only measured
lines are stored.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.mrd.file import MrdFile, Rows
from lfmri_node.recon.mrd.lines import batches, centred_run
from lfmri_node.recon.mrd.readout import LineGrid, ReadoutGrid
from lfmri_node.recon.sense.sampling import contiguous_centre
from lfmri_node.recon.types import Bool, Complex, KSpace

_MIN_CALIBRATION_LINES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridLines:
    """Measured lines, inverse-transformed along readout.

    Parameters
    ----------
    stored
        c64 (x, c, lines), on disk: sum over the averages of a line.
    counts
        f32 (lines,): averages of each line.
    step_1, step_2
        Grid indices (lines,) in the two phase-encode directions.
    shape
        (r, p): the grid.
    """

    stored: Complex
    counts: NDArray[np.float32]
    step_1: NDArray[np.intp]
    step_2: NDArray[np.intp]
    shape: tuple[int, int]

    @property
    def sampled(self) -> Bool:
        """bool (r, p)."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[self.step_1, self.step_2] = True
        return mask

    def plane(self, x: int) -> Complex:
        """K-space c64 (c, r, p) of one readout plane, the mean where a line was averaged."""
        lines = self.stored[x] / self.counts
        data = np.zeros((lines.shape[0], *self.shape), dtype=np.complex64)
        data[:, self.step_1, self.step_2] = lines
        return data

    def calibration_box(self) -> tuple[slice, slice]:
        """Fully sampled box around the centre, zero frequency at its indices ``n // 2``.

        Of all such boxes the one with the largest shorter side, then the largest area.
        """
        sampled, (n_r, n_p) = self.sampled, self.shape
        best, best_size = (slice(0, 0), slice(0, 0)), (0, 0)
        for height in range(1, n_r + 1):
            rows = slice(n_r // 2 - height // 2, n_r // 2 - height // 2 + height)
            full = np.asarray(sampled[rows].all(axis=0))
            columns = centred_run(*contiguous_centre(full), n_p // 2)
            width = columns.stop - columns.start
            size = (min(height, width), height * width)
            if size > best_size:
                best, best_size = (rows, columns), size
        return best


def read_hybrid(
    file: MrdFile,
    rows: Rows,
    readout: ReadoutGrid,
    phase: LineGrid,
    partition: LineGrid,
    scratch: Path | None,
) -> HybridLines:
    """Transform ``rows`` along readout into a scratch file in ``scratch``.

    The file has no name and vanishes when the last reference to the result goes.

    Raises
    ------
    InvalidRawData
        LF-RAW-001, LF-RAW-008, LF-RAW-009, LF-RAW-012 to LF-RAW-014: damaged samples, lines
        outside the grid.
    """
    step_1, step_2 = phase.index(file.heads[rows]), partition.index(file.heads[rows])
    _, first, line_of = np.unique(step_1 * partition.n + step_2, return_index=True, return_inverse=True)
    in_file_order = np.argsort(first)  # neighbours in the file become neighbours in the scratch file
    line_of = np.argsort(in_file_order)[line_of]
    first = first[in_file_order]
    n_channels = int(file.heads["active_channels"][rows[0]])
    with tempfile.TemporaryFile(dir=scratch) as storage:
        stored = np.memmap(storage, np.complex64, "w+", shape=(readout.n_kept, n_channels, first.size))
    for part, samples in batches(file, rows):
        lines = readout.hybrid(samples, file.heads[rows[part]])
        columns, inverse = np.unique(line_of[part], return_inverse=True)
        total = np.zeros((columns.size, *lines.shape[1:]), dtype=np.complex64)
        for index, line in zip(inverse, lines, strict=True):
            total[index] += line
        span = slice(int(columns[0]), int(columns[-1]) + 1)
        if span.stop - span.start == columns.size:
            stored[:, :, span] += total.transpose(2, 1, 0)
        else:
            stored[:, :, columns] += total.transpose(2, 1, 0)
    counts = np.bincount(line_of, minlength=first.size).astype(np.float32)
    return HybridLines(
        stored=stored, counts=counts, step_1=step_1[first], step_2=step_2[first], shape=(phase.n, partition.n)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneReader:
    """Loads the readout planes of one 3-D scan.

    Parameters
    ----------
    image
        Lines of the images.
    calibration
        Separately acquired calibration lines; None where the images hold them all.
    """

    image: HybridLines
    calibration: HybridLines | None

    def __call__(self, x: int) -> KSpace:
        """K-space of readout plane ``x``; see `RawScan.load`."""
        calibration = None
        if self.calibration is not None:
            rows, columns = self.calibration.calibration_box()
            if min(rows.stop - rows.start, columns.stop - columns.start) >= _MIN_CALIBRATION_LINES:
                calibration = np.ascontiguousarray(self.calibration.plane(x)[:, rows, columns])
        return KSpace(data=self.image.plane(x), sampled=self.image.sampled, calibration=calibration)
