"""One entry of a batch: a measured strip of a slice, its coil maps and its truth.

Line sampling leaves the readout transform unitary and untouched, so that a strip of rows is a measurement of
its own: cutting is exact, and a training step costs what the strip costs. Points in two phase directions take
whole slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lfmri_node.recon.phantom.coils import normalise_maps
from lfmri_node.recon.sense.coilmaps import estimate, resample
from lfmri_node.recon.sense.fourier import fft_axis, ifft_axis
from lfmri_node.recon.train.masks import draw_mask, draw_points
from lfmri_node.recon.train.samples import Sample, estimated_maps
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import Bool, Complex, KSpace

LESION_CENTRED = 0.6
"""Share of the strips of a slice with an outlined lesion that hold it; alike for all networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One entry of a batch.

    Parameters
    ----------
    full
        c64 (c, r, p), k-space of all lines of the strip.
    sampled
        bool (p,), or points (r, p).
    maps
        c64 (c, r, p), as ESPIRiT estimates them from the centre lines.
    target
        c64 (r, p), combined with ``maps``.
    noise, level
        Standard deviation of the complex noise of ``full``; magnitude of the brightest tissue of the slice.
    label
        Image-level: a lesion is in the slice, not always in the strip.
    lesion, lesion_kind
        bool (r, p), where a lesion is known to lie in the strip, and its kind.
    counted
        Whether the label may serve a classifier.
    """

    full: Complex
    sampled: Bool
    maps: Complex
    target: Complex
    noise: float
    level: float
    label: bool
    lesion: Bool
    lesion_kind: str
    counted: bool


class Trainable(Protocol):
    """What pools hold."""

    def example(self, rng: np.random.Generator, n_rows: int | None, *, points: bool) -> Example:
        """Measure anew: other lines, other noise, another strip of ``n_rows`` rows (None: whole slice)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A simulated slice; ``noisy`` whether its truth holds the noise of a fully sampled measurement."""

    sample: Sample
    noisy: bool

    def example(self, rng: np.random.Generator, n_rows: int | None, *, points: bool) -> Example:
        """As `Trainable`. Measured in hybrid space: image rows, phase-encode columns of k-space."""
        s = self.sample
        size = s.image.shape
        rows = slice(0, size[0]) if n_rows is None or points else strip(rng, s.lesion, n_rows)
        whole = normalise_maps(resample(s.true_maps, (size[0], size[1]), periodic=False)[:, rows])
        clean = fft_axis(whole * s.image[rows], -1) * s.line_factor
        noise = rng.standard_normal((*clean.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        measured = clean + s.noise_std / np.sqrt(2) * np.tensordot(s.noise_factor, noise, axes=1)
        maps = np.ascontiguousarray(estimated_maps(s)[:, rows])
        truth = ifft_axis(measured if self.noisy else clean, -1)
        power = float(np.mean(np.abs(s.noise_factor) ** 2) * s.n_coils)
        return Example(
            full=fft_axis(measured, -2).astype(np.complex64),
            sampled=draw_points(rng, s.n_centre, s.acceleration, (size[0], size[1]))
            if points
            else draw_mask(rng, s.n_centre, s.acceleration, size[1]),
            maps=maps,
            target=(maps.conj() * truth).sum(0).astype(np.complex64),
            noise=s.noise_std * power**0.5,
            level=1.0,
            label=s.label,
            lesion=np.ascontiguousarray(s.lesion[rows]),
            lesion_kind=s.lesion_kind,
            counted=not s.has_unplaced_lesion,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A fully sampled measured slice c64 (c, r, p); ``mask`` its points bool (r, p), None for lines.

    The truth is the slice itself, combined with the maps that ESPIRiT estimates from the centre alone.
    """

    kspace: Complex
    n_centre: int
    acceleration: float
    mask: Bool | None
    label: bool

    def example(self, rng: np.random.Generator, n_rows: int | None, *, points: bool) -> Example:
        """As `Trainable`; whether points or lines are sampled is the data's to say."""
        shape = (self.kspace.shape[1], self.kspace.shape[2])
        sampled = self.mask
        if sampled is None:
            sampled = draw_mask(rng, self.n_centre, self.acceleration, shape[1])
        maps = estimate(KSpace(data=self.kspace * sampled, sampled=sampled)).maps
        images = ifft_axis(ifft_axis(self.kspace, -2), -1)
        target = (maps.conj() * images).sum(0)
        nothing = np.zeros(shape, dtype=bool)
        rows = slice(0, shape[0]) if n_rows is None or self.mask is not None else strip(rng, nothing, n_rows)
        cut = fft_axis(ifft_axis(self.kspace, -2)[:, rows], -2)
        noise = noise_per_coil(KSpace(data=self.kspace, sampled=np.ones(shape[1], dtype=bool)))
        return Example(
            full=cut.astype(np.complex64),
            sampled=sampled,
            maps=np.ascontiguousarray(maps[:, rows]),
            target=target[rows].astype(np.complex64),
            noise=float(np.sqrt(np.mean(noise**2))),
            level=max(float(np.percentile(np.abs(target), 99.5)), 1e-12),
            label=self.label,
            lesion=nothing[rows],
            lesion_kind="",
            counted=False,
        )


def strip(rng: np.random.Generator, lesion: Bool, n_rows: int) -> slice:
    """``n_rows`` rows of a slice; in `LESION_CENTRED` of those with a lesion bool (r, p) they hold it."""
    n = lesion.shape[0]
    if n_rows >= n:
        return slice(0, n)
    start = int(rng.integers(n - n_rows + 1))
    if rng.uniform() < LESION_CENTRED and lesion.any():
        places = np.flatnonzero(lesion.any(axis=1))
        middle = int(places[rng.integers(len(places))])
        start = int(np.clip(middle - rng.integers(n_rows // 4, 3 * n_rows // 4 + 1), 0, n - n_rows))
    return slice(start, start + n_rows)
