"""What calibration left of a job on disk: coil maps and sampling, in the order of the acquisition."""

from __future__ import annotations

import math
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

CALIBRATION_KINDS = ("coil-maps", "sampling")
_FIELDS = {"coil-maps": "maps", "sampling": "sampled"}
"""Names in the file that `recon.reconstruct.Calibration.save` writes."""


def n_calibrated(file: Path) -> int:
    """Slices of which ``file`` holds coil maps and sampling; 0 where there is none that can be read."""
    sampled = _field(file, "sampling")
    return 0 if sampled is None or _field(file, "coil-maps") is None else sampled.shape[0]


def calibration_plane(file: Path, kind: str, s: int) -> NDArray[np.uint8] | None:
    """u8 (y, x) of slice ``s`` (from 0); None where there is none.

    ``coil-maps``: magnitudes of all coils side by side, white the largest. ``sampling``: white what was
    measured, readout downwards and phase encode to the right, or both directions of phase encode.
    """
    values = _field(file, kind)
    if values is None or not 0 <= s < values.shape[0]:
        return None
    if kind == "sampling":
        sampled = values[s]
        plane = sampled if sampled.ndim == 2 else np.broadcast_to(sampled, (sampled.size, sampled.size))
        return np.asarray(plane * 255, dtype=np.uint8)
    magnitudes = np.abs(values[s])
    n_coils, height, width = magnitudes.shape
    n_columns = math.ceil(math.sqrt(n_coils))
    n_rows = math.ceil(n_coils / n_columns)
    tiles = np.zeros((n_rows * n_columns, height, width), dtype=np.float32)
    tiles[:n_coils] = magnitudes / (magnitudes.max() or 1.0)
    sheet = tiles.reshape(n_rows, n_columns, height, width).swapaxes(1, 2)
    return np.asarray(sheet.reshape(n_rows * height, n_columns * width) * 255.0 + 0.5, dtype=np.uint8)


def _field(file: Path, kind: str) -> NDArray[np.generic] | None:
    try:
        with np.load(file, allow_pickle=False) as fields:
            return fields[_FIELDS[kind]] if _FIELDS.get(kind) in fields else None
    except (OSError, ValueError, BadZipFile):
        return None
