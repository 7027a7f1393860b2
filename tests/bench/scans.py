"""Simulated measurements of the bench."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Bool, KSpace, Real

NOISE_STD = 0.01


def slices(
    shape: tuple[int, int], n_coils: int, *, n_slices: int = 1, lines: Bool | None = None
) -> Iterator[tuple[KSpace, Real]]:
    """Noisy k-space and magnitude of phantom slices; 4x random lines unless ``lines`` are given."""
    rng = np.random.default_rng(0)
    if lines is None:
        lines = random_lines(shape[1], 4.0, 0.08, rng)
    maps = loop_coils(n_coils, shape, rng)
    phase = object_phase(shape, rng)
    for plane in phantom_volume(n_slices, shape, rng):
        image = (plane * phase).astype(np.complex64)
        yield measure(image, maps, lines, NOISE_STD, rng), np.abs(image)
