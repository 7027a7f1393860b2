"""Batches for the cascade: samples made on first touch and kept on disk, other lines in every pass.

What a batch holds depends on the recipe's seed and the number of the step alone; so a training that is killed
and resumed at its last checkpoint goes on as if nothing had happened, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lfmri_node.recon.coilmaps import interpolate
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.operators import fft_centred, ifft_centred
from lfmri_node.recon.phantom import LESION_KINDS
from lfmri_node.recon.train.data import Fold, ImageSource, class_labels, load_subjects
from lfmri_node.recon.train.measurement import Measurement, undersample
from lfmri_node.recon.train.samples import (
    COIL_COUNTS,
    Sample,
    combine,
    draw_mask,
    draw_scan,
    load_coils,
    load_sample,
    save_sample,
)
from lfmri_node.recon.types import Bool


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
        f32 (b, 1), zero for the few subjects with real lesions, which a classifier would learn to
        recognise by anything but the lesion.
    full
        c64 (b, c, r, p), all lines, for learnt masks; ``n_centre`` of them are always measured.
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
        operator = self.measurement.operator
        return _batch(
            full=self.full.to(device),
            sampled=self.measurement.sampled.to(device),
            maps=operator.maps.to(device),
            target=self.target.to(device),
            labels=self.labels.to(device),
            counted=self.counted.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One entry of a batch: which sample, and the seed of the batch's lines, flips and strip."""

    index: int
    seed: tuple[int, ...]


class Pool(Dataset[Sample]):
    """``n`` samples of the training subjects of a fold; made when first asked for, then read from ``folder``.

    Sample i has ``COIL_COUNTS[i % 3]`` coils, so that a batch of one coil count is known by its indices.

    Raises LabError (LF-LAB-010) where ``folder`` holds samples of other data or of another simulation.
    """

    def __init__(
        self,
        data: Path,
        folder: Path,
        fold: Fold,
        n: int,
        *,
        kinds: tuple[str, ...] = LESION_KINDS,
        phantom_fraction: float = 0.2,
    ) -> None:
        self.folder, self.n = folder, n
        self._fold, self._kinds = fold, kinds
        self._source = ImageSource(load_subjects(data, fold.trained), phantom_fraction)
        self._coils = load_coils(data)
        folder.mkdir(parents=True, exist_ok=True)
        first = self._path(0)
        if first.exists() and not np.allclose(self._made(0).kspace, load_sample(first).kspace, atol=1e-3):
            raise LabError(
                "LF-LAB-010",
                f"the samples in {folder.name} are of other data or of another version",
                f"remove {folder}, or name another folder with --runs",
            )

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Sample:
        path = self._path(index)
        if not path.exists():
            save_sample(self._made(index), path)
        return load_sample(path)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npz"

    def _made(self, index: int) -> Sample:
        rng = np.random.default_rng([self._fold.index, index])
        n_coils = COIL_COUNTS[index % len(COIL_COUNTS)]
        return combine(draw_scan(self._source, self._coils, rng, self._kinds, n_coils=n_coils))


class Draws(Sampler[list[Draw]]):
    """Batches of the steps ``start`` to ``stop``, each of one coil count; of these, every ``n_ranks``-th.

    A training that resumes at step ``start`` draws what it would have drawn without the interruption.
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
    ) -> None:
        self._n_samples, self._batch, self._seed = n_samples, batch, seed
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
            offset = int(rng.integers(min(len(COIL_COUNTS), self._n_samples)))
            indices = np.arange(offset, self._n_samples, len(COIL_COUNTS))
            yield [Draw(index=int(i), seed=key) for i in rng.choice(indices, size=self._batch)]


class DrawnBatches(Dataset[Batch]):
    """Answers the draws of a batch with the batch; a strip of ``n_rows`` rows of it, None for all."""

    def __init__(self, pool: Dataset[Sample], n_rows: int | None) -> None:
        self._pool, self._n_rows = pool, n_rows

    def __getitem__(self, draws: list[Draw]) -> Batch:
        return collate([self._pool[draw.index] for draw in draws], draws[0].seed, n_rows=self._n_rows)


def collate(samples: list[Sample], seed: tuple[int, ...], *, n_rows: int | None = None) -> Batch:
    """Batch of samples under newly drawn lines, flipped, and cut to ``n_rows`` rows along the readout.

    Line sampling leaves the readout transform unitary and untouched, so that a strip of rows is a
    measurement of its own: cutting is exact, and a training step costs what the strip costs. Slices that
    are sampled at points are not cut.
    """
    rng = np.random.default_rng([*seed, 7])
    masks = [_mask(rng, sample) for sample in samples]
    batch = assemble(samples, masks)
    rows, lines = batch.target.shape[1], masks[0].ndim == 1
    if n_rows is not None and n_rows < rows and lines:
        start = int(rng.integers(rows - n_rows + 1))
        batch = cut(batch, slice(start, start + n_rows))
    return flip(batch, tuple(axis for axis in (-2, -1) if rng.uniform() < 0.5))


def _mask(rng: np.random.Generator, sample: Sample) -> Bool:
    """Other lines in every pass; points (r, p) stay as they are."""
    if sample.sampled.ndim == 2:
        return sample.sampled
    return draw_mask(rng, sample.n_centre, sample.acceleration, sample.sampled.size)


def assemble(samples: list[Sample], masks: list[Bool]) -> Batch:
    """Samples of one coil count, each under its mask bool (p,) or (r, p)."""
    maps = np.stack([interpolate(s.coarse, (s.target.shape[0], s.target.shape[1])).maps for s in samples])
    return _batch(
        full=torch.from_numpy(np.stack([s.kspace for s in samples])),
        sampled=torch.from_numpy(np.stack(masks)),
        maps=torch.from_numpy(maps),
        target=torch.from_numpy(np.stack([s.target for s in samples])),
        labels=torch.tensor([class_labels(s.lesion_kind) for s in samples]),
        counted=torch.tensor([[float(not s.has_real_lesion)] for s in samples]),
    )


def cut(batch: Batch, rows: slice) -> Batch:
    """The same measurement of a strip of rows."""
    strip = ifft_centred(batch.full, (-2,))[..., rows, :]
    return _batch(
        full=fft_centred(strip, (-2,)),
        sampled=batch.measurement.sampled,
        maps=batch.measurement.operator.maps[..., rows, :].contiguous(),
        target=batch.target[..., rows, :].contiguous(),
        labels=batch.labels,
        counted=batch.counted,
    )


def flip(batch: Batch, axes: tuple[int, ...]) -> Batch:
    """Reverse image axes (-2 readout, -1 phase) about index n // 2, which commutes with the transform."""
    if not axes:
        return batch

    def turn(x: Tensor, dims: tuple[int, ...]) -> Tensor:
        shifts = [1 - x.shape[dim] % 2 for dim in dims]
        return torch.roll(torch.flip(x, dims), shifts, dims) if dims else x

    sampled = batch.measurement.sampled
    return _batch(
        full=turn(batch.full, axes),
        sampled=turn(sampled, axes if sampled.ndim == 3 else tuple(axis for axis in axes if axis == -1)),
        maps=turn(batch.measurement.operator.maps, axes),
        target=turn(batch.target, axes),
        labels=batch.labels,
        counted=batch.counted,
    )


def _batch(
    *, full: Tensor, sampled: Tensor, maps: Tensor, target: Tensor, labels: Tensor, counted: Tensor
) -> Batch:
    return Batch(
        measurement=undersample(full, sampled, maps),
        target=target,
        labels=labels,
        counted=counted,
        full=full,
    )
