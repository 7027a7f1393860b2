"""Simulated multi-coil measurements: an image with a random phase, seen by coils, with noise and line errors.

A `SimulatedScan` is a whole measurement, for evaluation and for the gate. A `Sample` is what a training keeps
of one: image, coil maps as they are and as ESPIRiT estimated them. Its k-space is measured anew in every
pass, for the strip of rows that a step sees: along the readout the transform is unitary and does not know the
mask.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.phantom.body import LESION_KINDS
from lfmri_node.recon.phantom.coils import (
    line_errors,
    loop_coils,
    measure,
    noise_factor,
    normalise_maps,
    tissue_phase,
)
from lfmri_node.recon.sense.coilmaps import CoarseMaps, calibrate, interpolate, resample
from lfmri_node.recon.train.data import SIZE, ImageSource, LabelledImage
from lfmri_node.recon.train.masks import ACCELERATION_RANGE, centre_lines, draw_mask
from lfmri_node.recon.types import Bool, Complex, KSpace

COIL_COUNTS = (4, 4, 5, 6, 6, 8, 8, 10, 12, 16, 20)
SIZES = (96, 128, 144, 160, 176, 192, 208, 224, 256, 384)
"""Rows and columns of the matrices in training; half of them between 144 and 224."""
NOISE_RANGE = (0.001, 0.05)
"""Standard deviation of the complex noise, in units of the brightest tissue."""
ACCELERATIONS = (4.0, 8.0)
"""Those at which networks are compared."""
COIL_GRID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One simulated slice, before it is measured.

    Parameters
    ----------
    image
        c64 (r, p), the brightest tissue about 1.
    true_maps
        c64 (c, h, w), the coils on a coarse grid.
    coarse
        Maps estimated from noisy data of the mask's centre lines.
    n_centre, acceleration
        Of the masks that are drawn for it.
    noise_std, noise_factor, line_factor
        Standard deviation of the complex noise, its correlation c64 (c, c), the factor of each line c64 (p,).
    label
        Image-level: a lesion is in the image.
    lesion, lesion_kind
        bool (r, p) and kind of a lesion whose place is known; empty where there is none.
    """

    image: Complex
    true_maps: Complex
    coarse: CoarseMaps
    n_centre: int
    acceleration: float
    noise_std: float
    noise_factor: Complex
    line_factor: Complex
    label: bool
    lesion: Bool
    lesion_kind: str
    subject: str

    @property
    def has_unplaced_lesion(self) -> bool:
        """A positive whose lesion nobody has outlined."""
        return self.label and not self.lesion.any()

    @property
    def n_coils(self) -> int:
        return int(self.true_maps.shape[0])


def draw_coils(n_coils: int, measured: Complex, rng: np.random.Generator) -> Complex:
    """Coil maps c64 (c, COIL_GRID, COIL_GRID): loops, or a turned, zoomed and compressed measured array."""
    if rng.uniform() < 0.5:
        return loop_coils(n_coils, (COIL_GRID, COIL_GRID), rng)
    n_channels = min(measured.shape[0], max(n_coils, int(rng.uniform(1.0, 2.5) * n_coils)))
    channels = rng.choice(measured.shape[0], size=n_channels, replace=False)
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.0) * measured.shape[1] / COIL_GRID
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.full(2, measured.shape[1] / 2) - turn @ np.full(2, COIL_GRID / 2)
    grid = (COIL_GRID, COIL_GRID)
    parts = [
        ndimage.affine_transform(part, turn, offset, output_shape=grid, order=1, mode="nearest")
        for channel in measured[channels]
        for part in (channel.real, channel.imag)
    ]
    maps = np.asarray(parts[0::2]) + 1j * np.asarray(parts[1::2])
    flat = maps.reshape(len(maps), -1)
    _, vectors = np.linalg.eigh(flat @ flat.conj().T)
    return normalise_maps(np.tensordot(vectors[:, -n_coils:].conj().T, maps, axes=1).astype(np.complex64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedScan:
    """One measured slice and everything that is known of it.

    ``image`` c64 (r, p), ``maps`` c64 (c, r, p) as simulated, ``noise_factor`` c64 (c, c), ``line_factor``
    c64 (p,), ``full`` all lines of k-space c64 (c, r, p), of which ``sampled`` bool (p,) are measured.
    """

    full: Complex
    sampled: Bool
    n_centre: int
    acceleration: float
    image: Complex
    maps: Complex
    noise_std: float
    noise_factor: Complex
    line_factor: Complex
    entry: LabelledImage

    @property
    def kspace(self) -> KSpace:
        """The measured lines."""
        return KSpace(data=self.full * self.sampled, sampled=self.sampled)


def draw_scan(
    source: ImageSource,
    measured: Complex,
    rng: np.random.Generator,
    kinds: tuple[str, ...] = LESION_KINDS,
    *,
    acceleration: float | None = None,
    n_coils: int | None = None,
    size: int = SIZE,
    disturbed: bool = False,
) -> SimulatedScan:
    """Draw one slice: image, with a lesion of one of ``kinds`` in half of them, phase, coils, mask, noise.

    Where ``acceleration`` or ``n_coils`` is None it is drawn as well. A ``disturbed`` measurement has the
    line errors of a real one (`simulate.line_errors`); without, noise is all that is wrong with it.
    """
    entry = source.draw_labelled(rng, kinds=kinds, size=size)
    image = (entry.image * tissue_phase(entry.image, rng)).astype(np.complex64)
    n_coils = n_coils or int(rng.choice(COIL_COUNTS))
    if acceleration is None:
        acceleration = float(np.exp(rng.uniform(*np.log(ACCELERATION_RANGE))))
    fewest, most = centre_lines(acceleration)
    n_centre = int(rng.integers(fewest, most + 1))
    maps = normalise_maps(resample(draw_coils(n_coils, measured, rng), (size, size), periodic=False))
    noise_std = float(np.exp(rng.uniform(*np.log(NOISE_RANGE))))
    factor = noise_factor(n_coils, rng)
    lines = line_errors(size, rng) if disturbed else np.ones(size, dtype=np.complex64)
    whole = np.ones(size, dtype=bool)
    return SimulatedScan(
        full=measure(image, maps, whole, noise_std, rng, factor=factor, line_factor=lines).data,
        sampled=draw_mask(rng, n_centre, acceleration, size),
        n_centre=n_centre,
        acceleration=acceleration,
        image=image,
        maps=maps,
        noise_std=noise_std,
        noise_factor=factor,
        line_factor=lines,
        entry=entry,
    )


def true_image(scan: SimulatedScan, estimated: Complex) -> Complex:
    """The noise-free image c64 (r, p), combined with the ``estimated`` maps c64 (c, r, p)."""
    return np.asarray((estimated.conj() * scan.maps).sum(0) * scan.image, dtype=np.complex64)


def draw_sample(
    source: ImageSource, measured: Complex, rng: np.random.Generator, n_coils: int, size: int
) -> Sample:
    """One slice of a training; the maps are estimated by the same ESPIRiT as in service."""
    entry = source.draw_labelled(rng, size=size)
    image = (entry.image * tissue_phase(entry.image, rng)).astype(np.complex64)
    acceleration = float(np.exp(rng.uniform(*np.log(ACCELERATION_RANGE))))
    fewest, most = centre_lines(acceleration)
    n_centre = int(rng.integers(fewest, most + 1))
    coils = draw_coils(n_coils, measured, rng)
    noise_std = float(np.exp(rng.uniform(*np.log(NOISE_RANGE))))
    factor, lines = noise_factor(n_coils, rng), line_errors(size, rng)
    maps = normalise_maps(resample(coils, (size, size), periodic=False))
    centre = draw_mask(rng, n_centre, float(size), size)
    seen = measure(image, maps, centre, noise_std, rng, factor=factor, line_factor=lines)
    lesion = entry.lesion
    return Sample(
        image=image,
        true_maps=coils,
        coarse=calibrate(seen),
        n_centre=n_centre,
        acceleration=acceleration,
        noise_std=noise_std,
        noise_factor=factor,
        line_factor=lines,
        label=entry.label,
        lesion=np.zeros(image.shape, dtype=bool) if lesion is None else lesion.mask,
        lesion_kind="" if lesion is None else lesion.kind,
        subject=entry.subject,
    )


def load_coils(data: Path) -> Complex:
    """The measured 32-channel array c64 (32, 128, 128)."""
    with np.load(data / "coil_maps_32ch.npz") as file:
        return np.asarray(file["sens"])


def estimated_maps(sample: Sample) -> Complex:
    """ESPIRiT's maps on the image's grid, c64 (c, r, p)."""
    return interpolate(sample.coarse, (sample.image.shape[0], sample.image.shape[1])).maps


def save_sample(sample: Sample, path: Path) -> None:
    """Write one sample; the name appears only when the file is whole."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(
        partial,
        image=sample.image,
        true_maps=sample.true_maps,
        maps=sample.coarse.maps,
        eigenvalue=sample.coarse.eigenvalue,
        side=sample.coarse.side,
        n_centre=sample.n_centre,
        acceleration=sample.acceleration,
        noise_std=sample.noise_std,
        noise_factor=sample.noise_factor,
        line_factor=sample.line_factor,
        label=sample.label,
        lesion=np.packbits(sample.lesion, axis=1),
        lesion_kind=sample.lesion_kind,
        subject=sample.subject,
    )
    partial.rename(path)


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote."""
    with np.load(path) as f:
        image = f["image"]
        return Sample(
            image=image,
            true_maps=f["true_maps"],
            coarse=CoarseMaps(maps=f["maps"], eigenvalue=f["eigenvalue"], side=int(f["side"])),
            n_centre=int(f["n_centre"]),
            acceleration=float(f["acceleration"]),
            noise_std=float(f["noise_std"]),
            noise_factor=f["noise_factor"],
            line_factor=f["line_factor"],
            label=bool(f["label"]),
            lesion=np.unpackbits(f["lesion"], axis=1)[:, : image.shape[1]].astype(bool),
            lesion_kind=str(f["lesion_kind"]),
            subject=str(f["subject"]),
        )
