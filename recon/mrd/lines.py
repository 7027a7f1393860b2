"""Reading lines of k-space in batches, and the block of calibration lines around the centre."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lfmri_node.recon.mrd.file import MrdFile, Rows
from lfmri_node.recon.types import Complex

_BATCH_BYTES = 4 << 20


def batches(file: MrdFile, rows: Rows) -> Iterator[tuple[slice, Complex]]:
    """Samples of ``rows`` in file order, readouts of one size together, about 4 MiB at a time.

    Yields
    ------
    Slice into ``rows`` and the samples c64 (lines, c, samples) of those rows.
    """
    heads = file.heads[rows]
    n_samples = heads["number_of_samples"].astype(np.int64)
    per_batch = max(1, _BATCH_BYTES // int(8 * n_samples.max() * heads["active_channels"].max()))
    changes = np.flatnonzero(np.diff(n_samples)) + 1
    edges = [0, *changes.tolist(), rows.size]
    for start, stop in pairwise(edges):
        for first in range(start, stop, per_batch):
            part = slice(first, min(first + per_batch, stop))
            yield part, file.samples(rows[part])


def centred_run(start: int, stop: int, centre: int) -> slice:
    """Largest part of [start, stop) whose index ``n // 2`` is ``centre``; empty when outside."""
    if not start <= centre < stop:
        return slice(centre, centre)
    below = min(centre - start, stop - centre)
    return slice(centre - below, centre + min(stop - centre, below + 1))
