"""Simulated measurement of magnitude images: coils, phase, noise, sampling. Reproducible by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.phantom.body import smooth_field
from lfmri_node.recon.types import Bool, Complex, KSpace, Real


def loop_coils(n_coils: int, shape: tuple[int, int], rng: np.random.Generator) -> Complex:
    """Sensitivities c64 (c, r, p) of circular loops on a ring around the object, unit sum of squares.

    Each loop is a magnetic dipole seen from the imaging plane: magnitude ``(1 + d^2)^-1.5`` in
    distances of its own radius, phase the direction of its field in the plane. Positions, radii and
    tilt are drawn from ``rng``; so are the arc that the ring covers and the size of its loops: large loops on
    half a ring see nearly the same and condition the problem badly.
    """
    rows = np.linspace(-1, 1, shape[0])[:, None]
    columns = np.linspace(-1, 1, shape[1])[None, :]
    start, arc, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0), rng.uniform(0.7, 1.2)
    maps = np.empty((n_coils, *shape), dtype=np.complex64)
    for c in range(n_coils):
        angle = start + arc * 2 * np.pi * c / n_coils + rng.normal(0, 0.15)
        ring = rng.uniform(1.05, 1.4)
        depth = rng.uniform(-0.5, 0.5)
        radius = size * rng.uniform(0.5, 0.9)
        u, v = rows - ring * np.sin(angle), columns - ring * np.cos(angle)
        square = (u * u + v * v + depth * depth) / radius**2
        phase = np.arctan2(u, v) + rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.4) * rows
        maps[c] = (1.0 + square) ** -1.5 * np.exp(1j * phase)
    return normalise_maps(maps)


def normalise_maps(maps: Complex) -> Complex:
    """Maps c64 (c, r, p) scaled to unit sum of squares in every pixel that any coil sees."""
    rss = np.sqrt((np.abs(maps) ** 2).sum(0, keepdims=True))
    return np.asarray(maps / np.maximum(rss, 1e-6 * rss.max()), dtype=np.complex64)


def object_phase(shape: tuple[int, int], rng: np.random.Generator) -> Complex:
    """Unit-magnitude c64 (r, p): a random constant, a linear ramp and a smooth field."""
    rows = np.linspace(-1, 1, shape[0])[:, None]
    columns = np.linspace(-1, 1, shape[1])[None, :]
    ramp = rng.normal(0, 1.0) * rows + rng.normal(0, 1.0) * columns
    phase = rng.uniform(-np.pi, np.pi) + ramp + rng.uniform(0, 0.8) * smooth_field(shape, 4, rng)
    return np.asarray(np.exp(1j * phase), dtype=np.complex64)


def tissue_phase(image: Real, rng: np.random.Generator) -> Complex:
    """Unit-magnitude c64 (r, p): `object_phase`, bright tissue turned against the rest, and fine structure.

    In seven of ten images the bright tissue of the magnitude ``image`` f32 (r, p) takes another phase, as fat
    does against water. Networks trained on smooth phase alone take such differences for artefacts.
    """
    shape = (image.shape[0], image.shape[1])
    phase = object_phase(shape, rng)
    if rng.uniform() < 0.7:
        level, width = rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.15)
        bright = 1.0 / (1.0 + np.exp(-(image - level) / width))
        phase = phase * np.exp(1j * rng.uniform(-np.pi, np.pi) * bright)
    fine = rng.uniform(0, 0.35) * smooth_field(shape, int(rng.integers(10, 30)), rng)
    return np.asarray(phase * np.exp(1j * fine), dtype=np.complex64)


def line_errors(n_lines: int, rng: np.random.Generator) -> Complex:
    """Complex factor c64 (p,) of each phase-encode line: what a real measurement does beyond noise.

    A slow drift and a jitter of phase, a decay of the signal along trains of echoes, and small shifts of the
    object along the phase direction while the lines are measured. All are small: the image stays usable, yet
    no set of coil maps makes the lines agree with each other. Three of ten measurements have none.
    """
    if rng.uniform() < 0.3:
        return np.ones(n_lines, dtype=np.complex64)
    order = rng.permutation(n_lines) if rng.uniform() < 0.5 else np.arange(n_lines)
    time = np.empty(n_lines)
    time[order] = np.linspace(0, 1, n_lines)
    strength = rng.uniform(0, 1, 4) ** 2
    phase = 0.25 * strength[0] * _walk(time, rng) + 0.06 * strength[1] * rng.standard_normal(n_lines)
    train = int(rng.integers(4, 17))
    decay = np.exp(-0.3 * strength[2] * (np.argsort(order) % train) / train)
    shift_px = 0.4 * strength[3] * _walk(time, rng)
    k = np.arange(n_lines) - n_lines // 2
    factor = decay / decay.mean() * np.exp(1j * (phase - 2 * np.pi * k * shift_px / n_lines))
    return np.asarray(factor, dtype=np.complex64)


def _walk(time: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth random course over ``time`` in [0, 1], of standard deviation about one, zero on average."""
    knots = np.interp(time, np.linspace(0, 1, 9), np.cumsum(rng.standard_normal(9)) / 2)
    return np.asarray(knots - knots.mean())


def _fft(x: Complex) -> Complex:
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes), norm="ortho"), axes).astype(np.complex64)


def noise_factor(n_coils: int, rng: np.random.Generator) -> Complex:
    """Lower Cholesky factor c64 (c, c) of a random noise correlation: neighbours correlate up to 0.3."""
    strength = rng.uniform(0.0, 0.3)
    index = np.arange(n_coils)
    distance = np.abs(index[:, None] - index[None, :])
    distance = np.minimum(distance, n_coils - distance)
    phases = np.exp(1j * rng.uniform(0, 2 * np.pi, n_coils))
    correlation = strength**distance * (phases[:, None] * phases[None, :].conj())
    gains = rng.uniform(0.9, 1.1, n_coils)
    return np.linalg.cholesky(
        correlation * (gains[:, None] * gains[None, :]) + 1e-6 * np.eye(n_coils)
    ).astype(np.complex64)


def measure(
    image: Complex,
    maps: Complex,
    sampled: Bool,
    noise_std: float,
    rng: np.random.Generator,
    *,
    factor: Complex | None = None,
    line_factor: Complex | None = None,
) -> KSpace:
    """Noisy undersampled k-space of ``image``.

    Parameters
    ----------
    image
        c64 (r, p).
    maps
        c64 (c, r, p).
    sampled
        bool (p,) or (r, p).
    noise_std
        Standard deviation of the complex noise of a sample, in units of the image.
    factor
        Cholesky factor c64 (c, c) of the noise correlation; white where None.
    line_factor
        c64 (p,) of `line_errors`; none where None.
    """
    kspace = _fft(maps * image[None])
    if line_factor is not None:
        kspace *= line_factor
    pairs = rng.standard_normal((*kspace.shape, 2)).astype(np.float32)
    noise = (pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64)
    if factor is not None:
        noise = np.tensordot(factor, noise, axes=1)
    kspace += (noise_std / np.sqrt(2)) * noise
    kspace *= sampled[None, None, :] if sampled.ndim == 1 else sampled[None]
    return KSpace(data=np.ascontiguousarray(kspace, dtype=np.complex64), sampled=sampled)
