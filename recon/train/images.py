"""Batches for Net_c: magnitude images with image-level labels, degraded as a reconstruction would be.

Rows come in twos, with a lesion and without (`lesion_images`). Flips, quarter turns, free turns, zoom, tone and
shading are drawn for every pair, so that the map has no preferred direction. The curriculum (inserted lesions are
stronger and larger at first) eases what few pixels show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from lfmri_node.recon.train.data import class_labels
from lfmri_node.recon.train.lesion_images import LesionPair, PairSource
from lfmri_node.recon.train.masks import centre_lines, draw_mask
from lfmri_node.recon.train.samples import ACCELERATIONS
from lfmri_node.recon.types import Real

SIDE = 176
"""Rows and columns of an image of a batch."""
NOISE_LIMIT = 0.04
UNTURNED = 0.35
"""Fraction of the pairs that are flipped and turned by quarters alone, as sharp as they were."""
ZOOMS = (0.7, 0.95)
LARGEST_ZOOM = 1.5
"""Of pairs of one anatomy, where it is known whether the lesion is still in the image."""
_TRIES, _CHANGED, _MARGIN = 4, 0.03, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBatch:
    """Images f32 (b, 1, y, x), those with a lesion in the even rows, and labels f32 (b, k) by `data.CLASSES`.

    ``same`` bool (b / 2): the two rows are one anatomy with and without the lesion.
    """

    images: Tensor
    labels: Tensor
    same: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device, **_: object) -> ImageBatch:
        """On another device; Lightning asks for it."""
        return ImageBatch(
            images=self.images.to(device), labels=self.labels.to(device), same=self.same.to(device)
        )


def vary(images: Real, rng: np.random.Generator, zooms: tuple[float, float] = ZOOMS) -> Real:
    """Another position, size, tone and shading, the same for all images of f32 (n, y, x); f32 (n, SIDE, SIDE).

    Every flip and quarter turn is as likely as any other. Of the brightest tissue, 1 before, it becomes about 1.
    """
    exact = rng.uniform() < UNTURNED and max(images.shape[1:]) <= SIDE
    moved = _pasted(images, rng) if exact else _warped(images, rng, zooms)
    moved = np.clip(moved, 0.0, None) ** rng.uniform(0.7, 1.4)
    if rng.uniform() < 0.5:
        knots = torch.from_numpy(rng.uniform(0, 0.3) * rng.standard_normal((1, 1, 3, 3), dtype=np.float32))
        field = functional.interpolate(knots, (SIDE, SIDE), mode="bicubic", align_corners=True)
        moved = moved * field[0].exp().numpy()
    return np.asarray(moved, dtype=np.float32)


def _pasted(images: Real, rng: np.random.Generator) -> Real:
    turned = np.rot90(images, int(rng.integers(4)), axes=(1, 2))
    if rng.uniform() < 0.5:
        turned = turned[:, :, ::-1]
    rows, columns = turned.shape[1:]
    row, column = int(rng.integers(SIDE - rows + 1)), int(rng.integers(SIDE - columns + 1))
    canvas = np.zeros((len(images), SIDE, SIDE), dtype=np.float32)
    canvas[:, row : row + rows, column : column + columns] = turned
    return canvas


def _warped(images: Real, rng: np.random.Generator, zooms: tuple[float, float]) -> Real:
    angle = rng.uniform(-0.3, 0.3) + rng.integers(4) * np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    flip = np.diag([1.0, rng.choice((-1.0, 1.0))])
    zoom = np.exp(rng.uniform(*np.log(zooms)))
    turn = np.array([[cos, -sin], [sin, cos]]) @ flip / zoom
    size = np.array(images.shape[:0:-1])  # x before y, as in the grids of torch
    theta = np.concatenate(
        ((turn * SIDE) / size[:, None], rng.uniform(-5, 5, (2, 1)) / size[:, None]), axis=1
    )
    grid = functional.affine_grid(
        torch.from_numpy(theta.astype(np.float32))[None], [1, 1, SIDE, SIDE], align_corners=False
    )
    given = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[None]
    return functional.grid_sample(given, grid, mode="bicubic", align_corners=False)[0].numpy()


def degrade(image: Real, rng: np.random.Generator) -> Real:
    """What is left of an image after a reconstruction: unmeasured lines weaker and out of phase, noise on all.

    The lines that a mask of 4x or 8x leaves out are weakened by a factor that falls with their distance
    from the centre, and turned in phase the more the further out they are: the blur and the aliasing of a
    network's image, without running one.
    """
    acceleration = ACCELERATIONS[rng.integers(len(ACCELERATIONS))]
    n = image.shape[1]
    lines = draw_mask(rng, int(rng.integers(*centre_lines(acceleration))), acceleration, n)
    distance = np.abs(np.arange(n) - n // 2) / (n / 2)
    kept = np.where(
        lines, 1.0, 1.0 - rng.uniform(0.1, 0.9) * np.minimum(1.0, distance * rng.uniform(1.0, 2.5))
    )
    turned = rng.standard_normal(n) * rng.uniform(0.0, 0.8) * distance * ~lines
    factor = np.fft.ifftshift(kept * np.exp(1j * turned)).astype(np.complex64)
    left = fft.ifft(fft.fft(np.asarray(image, dtype=np.float32), axis=1) * factor, axis=1)
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * rng.uniform(
        0.0, NOISE_LIMIT / np.sqrt(2)
    )
    return np.asarray(np.hypot(left.real + noise[0], left.imag + noise[1]), dtype=np.float32)


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


class DrawnPairs(Dataset[ImageBatch]):
    """Answers a draw with its batch: an image with a lesion, one without, and so on.

    ``degraded`` is the fraction of pairs that go through `degrade`, both alike; the others stay fully sampled.
    """

    def __init__(self, source: PairSource, degraded: float) -> None:
        self._source, self._degraded = source, degraded

    def __getitem__(self, draw: ImageDraw) -> ImageBatch:
        rng = np.random.default_rng(draw.seed)
        images: list[Real] = []
        labels, same = [], []
        for _ in range(draw.n // 2):
            pair = self._source.draw(rng, draw.ease)
            seed = int(rng.integers(1 << 32))
            whole = rng.uniform() >= self._degraded
            shown = _varied(pair, rng)
            images += [image if whole else degrade(image, np.random.default_rng(seed)) for image in shown]
            labels += [class_labels(pair.kind), class_labels("")]
            same.append(pair.same)
        return ImageBatch(
            images=torch.from_numpy(np.stack(images))[:, None],
            labels=torch.tensor(labels),
            same=torch.tensor(same),
        )


def _varied(pair: LesionPair, rng: np.random.Generator) -> list[Real]:
    """Both images of a pair; those of one anatomy alike, and so that the lesion stays in the image."""
    if not pair.same:
        return [vary(image[None], rng)[0] for image in (pair.lesioned, pair.other)]
    both = np.stack((pair.lesioned, pair.other))
    for _ in range(_TRIES):
        moved = vary(both, rng, (ZOOMS[0], LARGEST_ZOOM))
        changed = np.abs(moved[0] - moved[1]) > _CHANGED
        inside = changed[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        if inside.any() and inside.sum() == changed.sum():
            return list(moved)
    return list(vary(both, rng))
