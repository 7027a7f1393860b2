"""Simulated multi-coil samples: an image with a random phase, seen by coils, with correlated noise.

The coils are loops or a measured array; the coil maps of a sample are estimated from its undersampled
data by the same ESPIRiT as in service. The truth is the noise-free, fully sampled, coil-combined image.
A sample keeps all of its noisy k-space, so that every pass of a training can measure other lines of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.coilmaps import CoarseMaps, calibrate, interpolate
from lfmri_node.recon.phantom import LESION_KINDS
from lfmri_node.recon.simulate import loop_coils, measure, noise_factor, normalise_maps, tissue_phase
from lfmri_node.recon.train.data import SIZE, ImageSource, LabelledImage
from lfmri_node.recon.types import Bool, Complex, KSpace

COIL_COUNTS = (4, 6, 8)
NOISE_RANGE = (0.004, 0.03)
"""Standard deviation of the complex noise, in units of the brightest tissue."""
ACCELERATIONS = (4.0, 8.0)


CENTRE_LINES = {4.0: (12, 26), 8.0: (8, 13)}
"""Acceleration -> fewest and most centre lines. The numbers of lines, not the fractions, are those of
clinical matrices (224 to 400 lines with 8 % and 4 %): they decide how well the maps can be estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One simulated slice.

    Parameters
    ----------
    kspace
        c64 (c, r, p), all lines, noisy.
    target
        c64 (r, p): the truth, combined with the estimated maps.
    coarse
        Maps estimated from the lines in ``sampled``.
    sampled
        bool (p,): the sample's own mask; ``n_centre`` lines in its centre. Or points bool (r, p).
    label
        Image-level: a lesion is in the image.
    lesion, lesion_kind
        bool (r, p) and kind of the inserted lesion, for evaluation only; empty where there is none.
    """

    kspace: Complex
    target: Complex
    coarse: CoarseMaps
    sampled: Bool
    n_centre: int
    acceleration: float
    label: bool
    lesion: Bool
    lesion_kind: str
    noise_std: float
    subject: str

    @property
    def measured_kspace(self) -> KSpace:
        """What its own mask leaves."""
        return KSpace(data=self.kspace * self.sampled, sampled=self.sampled)

    @property
    def has_real_lesion(self) -> bool:
        """A positive without an inserted lesion comes from a subject with a real one."""
        return self.label and not self.lesion.any()


def draw_mask(rng: np.random.Generator, n_centre: int, acceleration: float, n: int = SIZE) -> Bool:
    """bool (n,): ``n / acceleration`` lines, the centre among them, the others random or equispaced."""
    lines = np.zeros(n, dtype=bool)
    start = n // 2 - n_centre // 2
    lines[start : start + n_centre] = True
    budget = max(round(n / acceleration) - n_centre, 4)
    outside = np.flatnonzero(~lines)
    if rng.uniform() < 0.7:
        lines[rng.choice(outside, size=budget, replace=False)] = True
    else:
        step = outside.size / budget
        lines[outside[np.floor(np.arange(rng.uniform(0, step), outside.size, step)).astype(int)]] = True
    return lines


def draw_coils(n_coils: int, measured: Complex, rng: np.random.Generator) -> Complex:
    """Coil maps c64 (c, SIZE, SIZE): loops, or a turned, zoomed and compressed measured array."""
    if rng.uniform() < 0.5:
        return loop_coils(n_coils, (SIZE, SIZE), rng)
    channels = rng.choice(measured.shape[0], size=min(measured.shape[0], 2 * n_coils), replace=False)
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.0) * measured.shape[1] / SIZE
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.full(2, measured.shape[1] / 2) - turn @ np.full(2, SIZE / 2)
    parts = [
        ndimage.affine_transform(part, turn, offset, output_shape=(SIZE, SIZE), order=1, mode="nearest")
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

    ``image`` c64 (r, p), ``maps`` c64 (c, r, p) as simulated, ``noise_factor`` c64 (c, c), ``full`` all
    lines of k-space c64 (c, r, p), of which ``sampled`` bool (p,) are measured.
    """

    full: Complex
    sampled: Bool
    n_centre: int
    acceleration: float
    image: Complex
    maps: Complex
    noise_std: float
    noise_factor: Complex
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
) -> SimulatedScan:
    """Draw one slice: image, with a lesion of one of ``kinds`` in half of them, phase, coils, mask, noise.

    Where ``acceleration`` or ``n_coils`` is None it is drawn as well.
    """
    entry = source.draw_labelled(rng, kinds=kinds)
    image = (entry.image * tissue_phase(entry.image, rng)).astype(np.complex64)
    n_coils = n_coils or int(rng.choice(COIL_COUNTS))
    acceleration = acceleration or ACCELERATIONS[rng.integers(len(ACCELERATIONS))]
    n_centre = int(rng.integers(CENTRE_LINES[acceleration][0], CENTRE_LINES[acceleration][1] + 1))
    maps = draw_coils(n_coils, measured, rng)
    noise_std = float(np.exp(rng.uniform(*np.log(NOISE_RANGE))))
    factor = noise_factor(n_coils, rng)
    return SimulatedScan(
        full=measure(image, maps, np.ones(SIZE, dtype=bool), noise_std, rng, factor=factor).data,
        sampled=draw_mask(rng, n_centre, acceleration),
        n_centre=n_centre,
        acceleration=acceleration,
        image=image,
        maps=maps,
        noise_std=noise_std,
        noise_factor=factor,
        entry=entry,
    )


def combine(scan: SimulatedScan) -> Sample:
    """Estimate the maps from the measured lines; combine the noise-free image with them."""
    coarse = calibrate(scan.kspace)
    estimated = interpolate(coarse, (scan.image.shape[0], scan.image.shape[1])).maps
    lesion = scan.entry.lesion
    return Sample(
        kspace=scan.full,
        target=((estimated.conj() * scan.maps).sum(0) * scan.image).astype(np.complex64),
        coarse=coarse,
        sampled=scan.sampled,
        n_centre=scan.n_centre,
        acceleration=scan.acceleration,
        label=scan.entry.label,
        lesion=np.zeros(scan.image.shape, dtype=bool) if lesion is None else lesion.mask,
        lesion_kind="" if lesion is None else lesion.kind,
        noise_std=scan.noise_std,
        subject=scan.entry.subject,
    )


def load_coils(data: Path) -> Complex:
    """The measured 32-channel array c64 (32, 128, 128)."""
    with np.load(data / "coil_maps_32ch.npz") as file:
        return np.asarray(file["sens"])


def save_sample(sample: Sample, path: Path) -> None:
    """Write one sample; the name appears only when the file is whole."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(
        partial,
        kspace=sample.kspace,
        target=sample.target,
        maps=sample.coarse.maps,
        eigenvalue=sample.coarse.eigenvalue,
        side=sample.coarse.side,
        sampled=sample.sampled,
        n_centre=sample.n_centre,
        acceleration=sample.acceleration,
        label=sample.label,
        lesion=sample.lesion,
        lesion_kind=sample.lesion_kind,
        noise_std=sample.noise_std,
        subject=sample.subject,
    )
    partial.rename(path)


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote."""
    with np.load(path) as f:
        return Sample(
            kspace=f["kspace"],
            target=f["target"],
            coarse=CoarseMaps(maps=f["maps"], eigenvalue=f["eigenvalue"], side=int(f["side"])),
            sampled=f["sampled"],
            n_centre=int(f["n_centre"]),
            acceleration=float(f["acceleration"]),
            label=bool(f["label"]),
            lesion=f["lesion"],
            lesion_kind=str(f["lesion_kind"]),
            noise_std=float(f["noise_std"]),
            subject=str(f["subject"]),
        )
