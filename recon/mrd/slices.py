"""Slices of a 2-D multi-slice scan, read from the file one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lfmri_node.recon.mrd.acquisitions import AcquisitionPlan, ScanKey, calibration_rows_of, rows_of
from lfmri_node.recon.mrd.file import MrdFile, Rows
from lfmri_node.recon.mrd.lines import batches, centred_run
from lfmri_node.recon.mrd.readout import LineGrid, ReadoutGrid
from lfmri_node.recon.sense.sampling import contiguous_centre
from lfmri_node.recon.types import Bool, Complex, KSpace

_MIN_CALIBRATION_LINES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceReader:
    """Loads the slices of one scan.

    Parameters
    ----------
    order
        Value of the slice counter of each delivered slice.
    """

    file: MrdFile = field(repr=False)
    plan: AcquisitionPlan = field(repr=False)
    scan: ScanKey
    order: tuple[int, ...]
    readout: ReadoutGrid
    phase: LineGrid

    def __call__(self, s: int) -> KSpace:
        """K-space of slice ``s``; see `RawScan.load`.

        Raises
        ------
        IndexError
            When there is no such slice.
        InvalidRawData
            LF-RAW-001, LF-RAW-008, LF-RAW-009 or LF-RAW-014 for samples that are damaged.
        """
        counter = self.order[s]
        rows = rows_of(self.file.heads, self.plan.imaging, self.scan, counter)
        lines, sampled = self._grid(rows)
        return KSpace(data=lines, sampled=sampled, calibration=self._calibration(rows, counter))

    def _grid(self, rows: Rows) -> tuple[Complex, Bool]:
        """K-space c64 (c, r, p), the mean where a line was averaged, and the lines that are there."""
        target = self.phase.index(self.file.heads[rows])
        counts = np.bincount(target, minlength=self.phase.n)
        shape = (self.phase.n, self.plan.n_channels, self.readout.n_kept)
        total = np.zeros(shape, dtype=np.complex64)
        for part, samples in batches(self.file, rows):
            lines = self.readout.kspace(samples, self.file.heads[rows[part]])
            for index, line in zip(target[part], lines, strict=True):
                total[index] += line
        total /= np.maximum(counts, 1).astype(np.float32)[:, None, None]
        return np.ascontiguousarray(total.transpose(1, 2, 0)), counts > 0

    def _calibration(self, imaging: Rows, counter: int) -> Complex | None:
        """Separately acquired calibration lines; None where the images hold them all."""
        rows = calibration_rows_of(self.file.heads, self.plan.calibration, self.scan, counter)
        if np.isin(rows, imaging).all():
            return None
        lines, sampled = self._grid(rows)
        block = centred_run(*contiguous_centre(sampled), self.phase.n // 2)
        if block.stop - block.start < _MIN_CALIBRATION_LINES:
            return None
        return np.ascontiguousarray(lines[:, self.readout.measured(self.file.heads[rows]), block])
