"""Batches for the networks: samples made on first touch and kept on disk, measured anew in every pass.

What a batch holds depends on the recipe's seed and the number of the step alone; so a training that is killed
and resumed at its last checkpoint goes on as if nothing had happened, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.data import class_labels, source_of
from lfmri_node.recon.train.examples import Example, Simulated, Trainable
from lfmri_node.recon.train.measurement import Measurement, undersample
from lfmri_node.recon.train.samples import (
    COIL_COUNTS,
    SIZES,
    Sample,
    draw_sample,
    load_coils,
    load_sample,
    save_sample,
)
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.types import Bool, Real

N_SHAPES = len(COIL_COUNTS) * len(SIZES)
"""Sample i has coils and columns by the remainders of i, eleven and ten of them: so many combinations."""
POINTS, LARGEST_OF_POINTS = 0.1, 160
"""Share of the batches that are sampled at points in two phase directions, and their largest matrix."""
OUTLINES, BLOBS = 0.4, 0.2
"""Shares of the batches whose C is the blurred outline of the lesion (a blob where the strip holds none), or
a blob anywhere, not Net_c's: of a C that is zero G_u learns nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A measurement and its truth.

    Parameters
    ----------
    target
        c64 (b, r, p).
    labels
        f32 (b, k), image-level, one for each class of `data.CLASSES`.
    counted
        f32 (b, 1), zero where the label says nothing of a class.
    full
        c64 (b, c, r, p), all lines, for learned masks.
    """

    measurement: Measurement
    target: Tensor
    labels: Tensor
    counted: Tensor
    full: Tensor

    def __len__(self) -> int:
        return self.target.shape[0]

    def to(self, device: torch.device, **_: object) -> Batch:
        """On another device; Lightning asks for it."""
        m = self.measurement
        moved = undersample(
            self.full.to(device),
            m.sampled.to(device),
            m.operator.maps.to(device),
            m.scale.noise.to(device),
            m.scale.level.to(device),
        )
        return Batch(
            measurement=replace(moved, guide=None if m.guide is None else m.guide.to(device)),
            target=self.target.to(device),
            labels=self.labels.to(device),
            counted=self.counted.to(device),
            full=self.full.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One entry of a batch: which sample, and the seed of all that is drawn for the batch."""

    index: int
    seed: tuple[int, ...]


class SizedPool(Protocol):
    """Samples of a training, by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Trainable: ...


class Pool(Dataset[Trainable]):
    """``n`` simulated samples of the training patients; made when first asked for, then read from ``folder``.

    Raises LabError (LF-LAB-010) where ``folder`` holds samples of other data or of another simulation.
    """

    def __init__(
        self, data: Path, folder: Path, n: int, *, noisy: bool = True, sizes: tuple[int, ...] = SIZES
    ) -> None:
        self.folder, self.n, self._noisy, self._sizes = folder, n, noisy, sizes
        self._source = source_of(data, Part.TRAIN)
        self._coils = load_coils(data)
        folder.mkdir(parents=True, exist_ok=True)
        first = self._path(0)
        if first.exists() and not np.allclose(self._made(0).image, load_sample(first).image, atol=1e-3):
            raise LabError(
                "LF-LAB-010",
                f"the samples in {folder.name} are of other data or of another version",
                f"remove {folder}, or name another folder with --runs",
            )

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Trainable:
        path = self._path(index)
        if not path.exists():
            save_sample(self._made(index), path)
        return Simulated(sample=load_sample(path), noisy=self._noisy)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npz"

    def _made(self, index: int) -> Sample:
        rng = np.random.default_rng([17, index])
        n_coils, size = COIL_COUNTS[index % len(COIL_COUNTS)], self._sizes[index % len(self._sizes)]
        return draw_sample(self._source, self._coils, rng, n_coils, size)


class MixedPool(Dataset[Trainable]):
    """Pools by turns: sample i comes from ``pools[i % len(pools)]``; a pool named twice has twice the share.

    A pool that is shorter than the longest begins again.
    """

    def __init__(self, pools: Sequence[SizedPool]) -> None:
        self.pools = tuple(pools)

    def __len__(self) -> int:
        return len(self.pools) * max(len(pool) for pool in self.pools)

    def __getitem__(self, index: int) -> Trainable:
        place, turn = divmod(index, len(self.pools))
        pool = self.pools[turn]
        return pool[place % len(pool)]


class Draws(Sampler[list[Draw]]):
    """Batches of the steps ``start`` to ``stop``, each of one shape; of these, every ``n_ranks``-th.

    A training that resumes at step ``start`` draws what it would have drawn without the interruption. Of a
    `MixedPool` of ``n_pools`` pools the batches of all ranks come from one pool after the other.
    """

    def __init__(
        self,
        n_samples: int,
        batch: int,
        seed: int,
        steps: range,
        epoch_steps: int,
        *,
        rank: int = 0,
        n_ranks: int = 1,
        n_pools: int = 1,
    ) -> None:
        self._n_places, self._n_pools = n_samples // n_pools, n_pools
        self._batch, self._seed = batch, seed
        self._steps, self._epoch_steps = steps, epoch_steps
        self._rank, self._n_ranks = rank, n_ranks

    def __len__(self) -> int:
        """All steps of the training, those before ``start`` too: Lightning counts them as done."""
        return self._steps.stop

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in self._steps:
            epoch, place = divmod(step, self._epoch_steps)
            key = (self._seed, epoch, place * self._n_ranks + self._rank)
            rng = np.random.default_rng(key)
            first = int(rng.integers(self._n_places))
            places = np.arange(first % N_SHAPES, self._n_places, N_SHAPES)
            others = rng.choice(places, size=self._batch - 1)
            turn = (step * self._n_ranks + self._rank) % self._n_pools
            yield [Draw(index=int(i) * self._n_pools + turn, seed=key) for i in (first, *others)]


class DrawnBatches(Dataset[Batch]):
    """Answers the draws of a batch with the batch; a strip of ``n_rows`` rows of it, None for all."""

    def __init__(self, pool: SizedPool, n_rows: int | None) -> None:
        self._pool, self._n_rows = pool, n_rows

    def __getitem__(self, draws: list[Draw]) -> Batch:
        return collate([self._pool[draw.index] for draw in draws], draws[0].seed, n_rows=self._n_rows)


def collate(samples: list[Trainable], seed: tuple[int, ...], *, n_rows: int | None = None) -> Batch:
    """Batch of samples of one shape, measured anew, of strips of ``n_rows`` rows, at random flipped."""
    rng = np.random.default_rng([*seed, 7])
    small = all(isinstance(s, Simulated) and s.sample.image.size <= LARGEST_OF_POINTS**2 for s in samples)
    points = bool(rng.uniform() < POINTS) and small
    axes = tuple(axis for axis in (-2, -1) if rng.uniform() < 0.5)
    examples = [flip(sample.example(rng, n_rows, points=points), axes) for sample in samples]
    return assemble(examples, _guide(examples, rng))


def _guide(examples: list[Example], rng: np.random.Generator) -> Real | None:
    """C f32 (b, 1, r, p) in place of Net_c's, or None: so G_u learns what C is worth."""
    kind = rng.uniform()
    if kind >= OUTLINES + BLOBS:
        return None
    maps = [
        blurred(e.lesion, rng) if kind < OUTLINES and e.lesion.any() else blob(e.lesion.shape, rng)
        for e in examples
    ]
    return np.stack(maps)[:, None]


def blurred(mask: Bool, rng: np.random.Generator) -> Real:
    """An outline bool (r, p) as a map of stride 4 would show it, f32 (r, p) in [0, 1]."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(1.0, 3.0))
    return np.asarray(np.clip(rng.uniform(1.0, 2.0) * soft, 0, 1) * rng.uniform(0.6, 1.0), dtype=np.float32)


def blob(shape: tuple[int, ...], rng: np.random.Generator) -> Real:
    """A soft disc of a lesion's size anywhere, f32 (r, p) in [0, 1]."""
    rows, columns = np.indices(shape)
    middle, radius = rng.uniform(0, 1, 2) * shape, rng.uniform(3.0, 14.0)
    distance = np.hypot(rows - middle[0], columns - middle[1]) - radius
    return np.asarray(rng.uniform(0.4, 1.0) / (1 + np.exp(np.clip(distance, -30, 30))), dtype=np.float32)


def assemble(examples: list[Example], guide: Real | None = None) -> Batch:
    """Examples of one shape as a batch; ``guide`` f32 (b, 1, r, p) takes the place of Net_c's map."""
    full = torch.from_numpy(np.stack([e.full for e in examples]))
    measurement = undersample(
        full,
        torch.from_numpy(np.stack([e.sampled for e in examples])),
        torch.from_numpy(np.stack([e.maps for e in examples])),
        torch.tensor([e.noise for e in examples]),
        torch.tensor([e.level for e in examples]),
    )
    return Batch(
        measurement=replace(measurement, guide=None if guide is None else torch.from_numpy(guide)),
        target=torch.from_numpy(np.stack([e.target for e in examples])),
        labels=torch.tensor([class_labels(e.lesion_kind) for e in examples]),
        counted=torch.tensor([[float(e.counted)] for e in examples]),
        full=full,
    )


def flip(example: Example, axes: tuple[int, ...]) -> Example:
    """Reverse image axes (-2 readout, -1 phase) about index n // 2, which commutes with the transform."""

    def turn(x: NDArray[Any], dims: tuple[int, ...]) -> NDArray[Any]:
        shifts = tuple(1 - x.shape[dim] % 2 for dim in dims)
        return np.roll(np.flip(x, dims), shifts, dims) if dims else x

    of_mask = axes if example.sampled.ndim == 2 else tuple(axis for axis in axes if axis == -1)
    return replace(
        example,
        full=turn(example.full, axes),
        sampled=turn(example.sampled, of_mask),
        maps=turn(example.maps, axes),
        target=turn(example.target, axes),
        lesion=turn(example.lesion, axes),
    )
