"""Random body phantoms: soft-edged ellipses of tissue inside a bright rim, and lesions at known places.

The family is one of the training sets of the shipped weights (the model card names it), so that
the demonstration is a true LF-MRI run. Everything is drawn from one ``numpy.random.Generator``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lfmri_node.recon.types import Bool, Real

LESION_KINDS = ("bright", "dark", "oedema", "tear")
UNSEEN_KIND = "ring"
"""A bright rim around tissue left as it was: never trained on, for judging what the map has learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One inserted lesion: kind, centre (row, column), radii in pixels, mask bool (r, p)."""

    kind: str
    centre: tuple[int, int]
    radii: tuple[float, float]
    mask: Bool


def _grid(shape: tuple[int, int]) -> tuple[Real, Real]:
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return rows, columns


def _ellipse(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float], angle: float, edge: float
) -> Real:
    """Soft ellipse f32 (r, p), one inside, zero outside, with a transition of width ``edge``."""
    rows, columns = _grid(shape)
    u = (rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle)
    v = -(rows - centre[0]) * np.sin(angle) + (columns - centre[1]) * np.cos(angle)
    distance = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2) - 1.0
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance * min(radii) / edge, -30, 30))), dtype=np.float32)


def smooth_field(shape: tuple[int, int], n_knots: int, rng: np.random.Generator) -> Real:
    """Smooth random field f32 (r, p), cubic through ``n_knots`` x ``n_knots`` standard normal knots."""
    knots = rng.standard_normal((n_knots, n_knots))
    zoom = (shape[0] / n_knots, shape[1] / n_knots)
    field = ndimage.zoom(knots, zoom, order=3, mode="nearest", grid_mode=True)
    return np.asarray(field[: shape[0], : shape[1]], dtype=np.float32)


def phantom_volume(n_slices: int, shape: tuple[int, int], rng: np.random.Generator) -> Real:
    """Magnitude volume f32 (s, r, p), maximum about 1: one body whose sections change along s."""
    edge = 1.5 / min(shape)
    body = (rng.uniform(0.68, 0.9), rng.uniform(0.68, 0.9))
    centre = (rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06))
    angle = rng.uniform(-0.3, 0.3)
    rim, tissue = rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.7)
    organs = [
        (
            centre[0] + rng.uniform(-0.45, 0.45),
            centre[1] + rng.uniform(-0.45, 0.45),
            rng.uniform(0.07, 0.3),
            rng.uniform(0.07, 0.3),
            rng.uniform(0, np.pi),
            rng.uniform(-0.25, 0.2),
            rng.uniform(-0.6, 0.6),
        )
        for _ in range(rng.integers(10, 24))
    ]
    texture = 0.03 * smooth_field(shape, 40, rng) + 0.05 * smooth_field(shape, 12, rng)
    volume = np.empty((n_slices, *shape), dtype=np.float32)
    for s in range(n_slices):
        z = 0.0 if n_slices == 1 else 1.2 * (s / (n_slices - 1) - 0.5)
        scale = np.sqrt(1.0 - 0.5 * z * z)
        radii = (body[0] * scale, body[1] * scale)
        outer = _ellipse(shape, centre, radii, angle, edge)
        gap = rng.uniform(0.93, 0.935)
        inner = _ellipse(shape, centre, (radii[0] * gap, radii[1] * gap), angle, edge)
        image = rim * (outer - inner) + tissue * inner * (1.0 + texture)
        for row, column, a, b, turn, contrast, depth in organs:
            extent = 1.0 - (z - depth) ** 2
            if extent > 0.1:
                size = np.sqrt(extent)
                image += contrast * inner * _ellipse(shape, (row, column), (a * size, b * size), turn, edge)
        volume[s] = np.clip(image, 0.0, None)
    return volume / max(float(volume.max()), 1e-6)


def _lesion_profile(
    kind: str, shape: tuple[int, int], rng: np.random.Generator, size: float
) -> tuple[tuple[float, float], float]:
    """Radii in pixels and softness of one kind; ``size`` scales the sizes of fastMRI+ boxes."""
    unit = size * min(shape) / 160.0
    if kind == "tear":
        return (unit * rng.uniform(5.0, 11.0), unit * rng.uniform(1.2, 2.2)), 0.6
    radius = unit * rng.uniform(3.0, 9.0)
    softness = 3.0 if kind == "oedema" else 0.8
    return (radius, radius * rng.uniform(0.6, 1.0)), softness * max(unit, 0.5)


def insert_lesion(
    image: Real,
    kind: str,
    rng: np.random.Generator,
    *,
    contrast: float = 1.0,
    size: float = 1.0,
) -> tuple[Real, Lesion | None]:
    """Insert one lesion of ``kind`` where there is tissue.

    Parameters
    ----------
    image
        Magnitude f32 (r, p).
    kind
        One of `LESION_KINDS`: bright, dark, oedema (bright with soft edges), tear (thin bright line);
        or `UNSEEN_KIND`.
    contrast
        Factor on the kind's own contrast; 0 makes a sham insertion (the same edit, no contrast).
    size
        Factor on the kind's own size.

    Returns
    -------
    The edited image and the lesion; the image itself and None where no tissue was found.
    """
    shape = (image.shape[0], image.shape[1])
    level = float(np.percentile(image, 98))
    tissue = ndimage.binary_erosion(ndimage.gaussian_filter(image, 2.0) > 0.3 * level, iterations=4)
    places = np.argwhere(tissue)
    if places.size == 0 or level <= 0:
        return image, None
    row, column = (int(v) for v in places[rng.integers(len(places))])
    radii, softness = _lesion_profile(kind, shape, rng, size)
    angle = rng.uniform(0, np.pi)
    rows = np.arange(shape[0], dtype=np.float32)[:, None] - row
    columns = np.arange(shape[1], dtype=np.float32)[None, :] - column
    u = rows * np.cos(angle) + columns * np.sin(angle)
    v = -rows * np.sin(angle) + columns * np.cos(angle)
    distance = (np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2) - 1.0) * min(radii)
    profile = 1.0 / (1.0 + np.exp(np.clip(distance / softness, -30, 30)))
    mask = np.asarray(profile > 0.5)
    if kind == UNSEEN_KIND:
        profile = np.exp(-((distance / (0.25 * min(radii) + 0.5)) ** 2))
    profile = ndimage.gaussian_filter(profile, 0.4) * (1.0 + 0.15 * smooth_field(shape, 24, rng))
    strengths = {"bright": 0.55, "dark": -0.6, "oedema": 0.5, "tear": 0.6, UNSEEN_KIND: 0.55}
    strength = strengths[kind] * rng.uniform(0.7, 1.3)
    local = float(image[row, column])
    change = strength * contrast * (local if strength < 0 else 0.5 * (local + level))
    edited = np.clip(image + change * profile, 0.0, None).astype(np.float32)
    return edited, Lesion(kind=kind, centre=(row, column), radii=radii, mask=mask)
