"""Acquisitions that are refused by name, and heads that contradict each other or the header."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData, UnsupportedAcquisition
from lfmri_node.recon.mrd.header import Encoding
from lfmri_node.recon.mrd.heads import Flag, Mask, flagged, line_keys, readout_span

_TRAJECTORIES = ("epi", "radial", "goldenangle", "spiral", "other")
_SHORT_ON_BOTH_SIDES = 16
"""Part (one in so many) of the readout that may be missing on both sides of the echo."""
_FARTHEST_MM, _TABLE_TOLERANCE_MM = 2000.0, 0.05
_COMPRESSED = (Flag.COMPRESSION1, Flag.COMPRESSION2, Flag.COMPRESSION3, Flag.COMPRESSION4)


def refuse_unsupported(
    heads: NDArray[Any], imaging: Mask, encoding: Encoding, b_values: tuple[float, ...]
) -> None:
    """Refuse by name what changes the meaning of the samples and is not reconstructed.

    Raises
    ------
    UnsupportedAcquisition
        LF-RAW-021, 022, 027, 028, 029
    """
    cartesian = encoding.trajectory == "cartesian" or (
        encoding.trajectory is None and not heads["trajectory_dimensions"][imaging].any()
    )
    if not cartesian:
        name = encoding.trajectory if encoding.trajectory in _TRAJECTORIES else "of another kind"
        raise UnsupportedAcquisition(
            "LF-RAW-021",
            f"trajectory {name if encoding.trajectory else 'with k-space coordinates'} is not Cartesian",
            "only Cartesian sampling is reconstructed; EPI must be regridded and written as Cartesian",
        )
    if encoding.described:
        raise UnsupportedAcquisition(
            "LF-RAW-028",
            "a trajectoryDescription says that the samples do not lie on the Cartesian grid as they are",
            "regrid the samples, and write them without trajectoryDescription",
        )
    if encoding.multiband_factor > 1:
        raise UnsupportedAcquisition(
            "LF-RAW-027",
            f"multiband factor {encoding.multiband_factor}: every sample is the sum of several slices",
            "acquire single-band, or separate the slices first",
        )
    if any(value > 0 for value in b_values):
        raise UnsupportedAcquisition(
            "LF-RAW-029", "the measurement is diffusion-weighted", "diffusion is not reconstructed"
        )
    if flagged(heads[imaging], *_COMPRESSED).any():
        raise UnsupportedAcquisition(
            "LF-RAW-022", "the samples are compressed", "export the measurement without compression"
        )


def check_channels(heads: NDArray[Any], rows: Mask) -> None:
    """One coil configuration: noise, calibration and images must come from the same channels.

    Raises
    ------
    InvalidRawData
        LF-RAW-007
    """
    image = rows & ~flagged(heads, Flag.NOISE_MEASUREMENT)
    channels = np.unique(heads["active_channels"][image])
    if channels.size > 1 or channels[0] == 0:
        raise InvalidRawData(
            "LF-RAW-007",
            f"the number of active channels changes within the measurement ({', '.join(map(str, channels))})",
            "export one coil configuration a file",
        )
    if "channel_mask" not in (heads.dtype.names or ()):
        return
    masks = heads["channel_mask"][rows]
    named = masks[masks.any(axis=1)]  # old converters leave the mask at zero
    if (named != named[:1]).any():
        raise InvalidRawData(
            "LF-RAW-007",
            "other channels are active in a part of the measurement (channel_mask)",
            "export one coil configuration a file",
        )


def check_sizes(heads: NDArray[Any], imaging: Mask, calibration: Mask, encoding: Encoding) -> None:
    """Readouts fit the encoded matrix, and those of the image reach one end of it at least.

    Raises
    ------
    InvalidRawData
        LF-RAW-010
    """
    n_readout = encoding.encoded.matrix[0]
    length = readout_span(heads[imaging | calibration]).sum(axis=1)
    if length.min() < 1 or length.max() > n_readout:
        raise InvalidRawData(
            "LF-RAW-010",
            f"readouts of {length.min()} to {length.max()} samples do not fit the encoded {n_readout}",
            "correct encodedSpace in the header",
        )
    room = np.array([n_readout // 2, n_readout - n_readout // 2])
    missing = (room - readout_span(heads[imaging])).min(axis=1).max()
    if missing > max(1, n_readout // _SHORT_ON_BOTH_SIDES):
        raise InvalidRawData(
            "LF-RAW-010",
            f"readouts miss {missing} samples or more on both sides of the echo of the encoded {n_readout}:"
            " head and header contradict each other",
            "correct encodedSpace: it may still count oversampling that was removed",
        )


def check_places(heads: NDArray[Any]) -> None:
    """Positions are near the isocentre, and the table stands still.

    Raises
    ------
    InvalidRawData
        LF-RAW-034
    UnsupportedAcquisition
        LF-RAW-035
    """
    position = heads["position"]
    if not np.isfinite(position).all() or np.abs(position).max() > _FARTHEST_MM:
        raise InvalidRawData(
            "LF-RAW-034",
            "a slice position is not finite or more than 2 m away",
            "export the file again, with positions in mm",
        )
    if "patient_table_position" in (heads.dtype.names or ()):
        table = heads["patient_table_position"].astype(np.float64)
        if not np.abs(table - table[:1]).max() <= _TABLE_TOLERANCE_MM:
            raise UnsupportedAcquisition(
                "LF-RAW-035",
                "the table moves during the measurement",
                "send the measurement at each table position separately",
            )


def refuse_dimensions(idx: NDArray[Any], *, three_dimensional: bool) -> None:
    """No counter but those that are reconstructed has several values, and no line is there twice.

    Raises
    ------
    UnsupportedAcquisition
        LF-RAW-023 to LF-RAW-026
    """
    for code, name in (("LF-RAW-023", "set"), ("LF-RAW-024", "phase")):
        n_values = np.unique(idx[name]).size
        if n_values > 1:
            raise UnsupportedAcquisition(
                code, f"the measurement has {n_values} values of the counter '{name}'", "export one a file"
            )
    if three_dimensional and np.unique(idx["slice"]).size > 1:
        raise UnsupportedAcquisition("LF-RAW-025", "several 3-D slabs in one file", "export one slab a file")
    keys = line_keys(idx)
    if np.unique(keys, axis=0).shape[0] != keys.shape[0]:
        raise UnsupportedAcquisition(
            "LF-RAW-026",
            "a line is recorded more than once without an average counter to tell the records apart",
            "number averages with the counter 'average' and echoes with 'contrast'",
        )
