"""From raw readouts to lines of the full k-space grid: place, turn, whiten, remove oversampling."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.header import Limit
from lfmri_node.recon.mrd.heads import Flag, flagged, readout_span
from lfmri_node.recon.mrd.lines import centred_run
from lfmri_node.recon.sense.fourier import ifft_axis, remove_oversampling, resample_axis, reverse_axis
from lfmri_node.recon.types import Complex

_MAX_LOST = 8
"""Part (one in so many) of the readout grid that an off-centre echo may push over the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineGrid:
    """One phase-encode direction: ``n`` lines, zero frequency at ``n // 2``.

    Parameters
    ----------
    counter
        Name of the counter in ``idx``.
    limits
        ``encodingLimits`` of the direction, by encoding; where the header is silent 0 to m - 1 with the
        centre at m // 2 of that encoding's matrix.
    reverse
        Whether k is replaced by -k.
    """

    n: int
    counter: str
    limits: tuple[Limit, ...]
    reverse: bool = False

    def index(self, heads: NDArray[Any]) -> NDArray[np.intp]:
        """Grid index of lines: ``n // 2 - center + counter``, turned about ``n // 2``.

        Raises
        ------
        InvalidRawData
            LF-RAW-012 when a counter lies outside ``encodingLimits``, LF-RAW-013 when it lies
            outside the encoded matrix.
        """
        step, ref = heads["idx"][self.counter].astype(np.intp), heads["encoding_space_ref"]
        index = np.empty_like(step)
        for encoding in np.unique(ref):
            limit, chosen = self.limits[encoding], ref == encoding
            low, high = step[chosen].min(), step[chosen].max()
            if low < limit.minimum or high > limit.maximum:
                raise InvalidRawData(
                    "LF-RAW-012",
                    f"lines {low}..{high} exceed their limits {limit.minimum}..{limit.maximum}",
                    "correct encodingLimits in the header",
                )
            index[chosen] = self.n // 2 - limit.center + step[chosen]
        if index.min() < 0 or index.max() >= self.n:
            raise InvalidRawData(
                "LF-RAW-013",
                f"lines fall outside the encoded matrix of {self.n}",
                "correct encodedSpace or the center in encodingLimits",
            )
        return (2 * (self.n // 2) - index) % self.n if self.reverse else index


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutGrid:
    """The readout direction and what is done to every readout.

    Parameters
    ----------
    n_encoded
        Samples of the full readout, oversampling included.
    n_kept
        Samples after the oversampling is removed.
    field
        Delivered field of view in voxels of the full readout; need not be whole.
    reverse
        Whether k is replaced by -k.
    whitening
        c64 (c, c) applied across channels; None leaves them as they are.
    """

    n_encoded: int
    n_kept: int
    field: float
    reverse: bool = False
    whitening: Complex | None = dataclasses.field(default=None, repr=False)

    def fill(self, samples: Complex, heads: NDArray[Any]) -> Complex:
        """Complete readouts c64 (lines, c, n_encoded): asymmetric echoes zero-filled, all in one sense."""
        turned = flagged(heads, Flag.REVERSE)
        samples = np.where(turned[:, None, None], samples[..., ::-1], samples) if turned.any() else samples
        discard = np.stack([heads["discard_pre"], heads["discard_post"]], axis=1).astype(int)
        discard[turned] = discard[turned, ::-1]
        n_samples = samples.shape[-1]
        center = heads["center_sample"].astype(int)
        center = np.where(center == 0, n_samples // 2, center)
        center[turned] = n_samples - 1 - center[turned]
        layout = np.stack([discard[:, 0], n_samples - discard[:, 1], self.n_encoded // 2 - center], axis=1)
        if (layout == (0, self.n_encoded, 0)).all():
            return samples
        full = np.zeros((*samples.shape[:2], self.n_encoded), dtype=np.complex64)
        for start, stop, shift in np.unique(layout, axis=0):
            chosen = (layout == (start, stop, shift)).all(axis=1)
            first, last = max(start, -shift), min(stop, self.n_encoded - shift)
            self._check_loss(stop - start - max(last - first, 0))
            full[chosen, :, first + shift : last + shift] = samples[chosen, :, first:last]
        return full

    def measured(self, heads: NDArray[Any]) -> slice:
        """The part of the ``n_kept`` samples, about ``n_kept // 2``, that readouts short on both sides have.

        A readout that reaches one end is complete: its asymmetric echo is zero-filled.
        """
        before, after = readout_span(heads).min(axis=0) * self.n_kept // self.n_encoded
        middle = self.n_kept // 2
        if before >= middle or after >= self.n_kept - middle:
            return slice(0, self.n_kept)
        return centred_run(middle - before, middle + after, middle)

    def kspace(self, samples: Complex, heads: NDArray[Any]) -> Complex:
        """K-space lines c64 (lines, c, n_kept) of raw readouts (lines, c, samples) of one size."""
        return self._whiten(remove_oversampling(self._turned(samples, heads), self.n_kept))

    def hybrid(self, samples: Complex, heads: NDArray[Any]) -> Complex:
        """Lines c64 (lines, c, n_kept) of raw readouts, inverse-transformed along readout."""
        image = ifft_axis(self._turned(samples, heads), -1)
        return self._whiten(np.asarray(resample_axis(image, -1, self.n_kept, self.field), dtype=np.complex64))

    def _turned(self, samples: Complex, heads: NDArray[Any]) -> Complex:
        full = self.fill(samples, heads)
        return reverse_axis(full, -1) if self.reverse else full

    def _whiten(self, lines: Complex) -> Complex:
        return lines if self.whitening is None else np.matmul(self.whitening, lines)

    def _check_loss(self, n_lost: int) -> None:
        if n_lost > max(1, self.n_encoded // _MAX_LOST):
            raise InvalidRawData(
                "LF-RAW-014",
                f"center_sample pushes {n_lost} samples of a readout over the edge of the encoded matrix",
                "correct center_sample or encodedSpace",
            )
