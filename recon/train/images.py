"""Batches for Net_c: magnitude images with image-level labels, degraded as a reconstruction would be.

Positives and negatives come in pairs of one anatomy, degraded alike, as many of each class. The curriculum
(strong, large lesions first, easing to real ones) is what makes the classifier learn at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lfmri_node.recon.train.data import CLASSES, ImageSource
from lfmri_node.recon.train.masks import centre_lines, draw_mask
from lfmri_node.recon.train.samples import ACCELERATIONS
from lfmri_node.recon.types import Real

NOISE_LIMIT = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBatch:
    """Images f32 (b, 1, y, x) and labels f32 (b, k), one for each class in `data.CLASSES`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device, **_: object) -> ImageBatch:
        """On another device; Lightning asks for it."""
        return ImageBatch(images=self.images.to(device), labels=self.labels.to(device))


def degrade(image: Real, rng: np.random.Generator) -> Real:
    """What is left of an image after a reconstruction: unmeasured lines weaker, noise on all.

    The lines that a mask of 4x or 8x leaves out are weakened by a factor that falls with their distance
    from the centre: the blur and the faint aliasing of a network's image, without running one.
    """
    acceleration = ACCELERATIONS[rng.integers(len(ACCELERATIONS))]
    n = image.shape[1]
    lines = draw_mask(rng, int(rng.integers(*centre_lines(acceleration))), acceleration, n)
    distance = np.abs(np.arange(n) - n // 2) / (n / 2)
    kept = np.where(
        lines, 1.0, 1.0 - rng.uniform(0.1, 0.9) * np.minimum(1.0, distance * rng.uniform(1.0, 2.5))
    )
    spectrum = np.fft.fftshift(np.fft.fft(image, axis=1), axes=1) * kept
    left = np.fft.ifft(np.fft.ifftshift(spectrum, axes=1), axis=1)
    noise = rng.standard_normal((2, *image.shape)) * rng.uniform(0.0, NOISE_LIMIT) / np.sqrt(2)
    return np.asarray(np.abs(left + noise[0] + 1j * noise[1]), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDraw:
    """Seed and ease of a batch."""

    seed: tuple[int, ...]
    ease: float
    n: int


class ImageDraws(Sampler[ImageDraw]):
    """Batches of the steps given; lesions are eased until step ``n_eased``, at first by ``ease``."""

    def __init__(
        self,
        batch: int,
        seed: int,
        n_eased: float,
        ease: float,
        steps: range,
        epoch_steps: int,
        *,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._batch, self._seed, self._n_eased, self._ease = batch, seed, n_eased, ease
        self._steps, self._epoch_steps = steps, epoch_steps
        self._rank, self._n_ranks = rank, n_ranks

    def __len__(self) -> int:
        """All steps of the training, those before ``start`` too: Lightning counts them as done."""
        return self._steps.stop

    def __iter__(self) -> Iterator[ImageDraw]:
        for step in self._steps:
            epoch, place = divmod(step, self._epoch_steps)
            ease = self._ease * max(0.0, 1.0 - step / self._n_eased) if self._n_eased > 0 else 0.0
            key = (self._seed, epoch, place * self._n_ranks + self._rank, 11)
            yield ImageDraw(seed=key, ease=ease, n=self._batch)


class DrawnImages(Dataset[ImageBatch]):
    """Answers a draw with its batch: an image with a lesion, the same without, and so on, classes in turn.

    ``degraded`` is the fraction of pairs that go through `degrade`; the others stay fully sampled.
    """

    def __init__(self, source: ImageSource, kinds: tuple[str, ...], degraded: float) -> None:
        self._source, self._degraded = source, degraded
        wanted = [tuple(kind for kind in of_class if kind in kinds) for of_class in CLASSES.values()]
        self._kinds = [of_class for of_class in wanted if of_class]

    def __getitem__(self, draw: ImageDraw) -> ImageBatch:
        rng = np.random.default_rng(draw.seed)
        images, labels = [], []
        for i in range(draw.n // 2):
            pair = self._source.draw_pair(rng, draw.ease, self._kinds[i % len(self._kinds)])
            seed = int(rng.integers(1 << 32))
            whole = rng.uniform() >= self._degraded
            images += [e.image if whole else degrade(e.image, np.random.default_rng(seed)) for e in pair]
            labels += [entry.classes for entry in pair]
        return ImageBatch(images=torch.from_numpy(np.stack(images))[:, None], labels=torch.tensor(labels))
