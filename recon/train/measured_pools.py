"""Training samples from measured k-space: fastMRI knee and SKM-TEA, read from the user's files.

Every access reads one slice and nothing else. The truth is the fully sampled slice, combined with the coil
maps that ESPIRiT estimates from the sample's own centre, as in service. Slices differ in size: batches of
one.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from sigpy.mri import poisson
from torch.utils.data import Dataset

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.sense.fourier import fft_axis, fit_axis, ifft_axis
from lfmri_node.recon.train import fastmri, skm_tea
from lfmri_node.recon.train.examples import Measured, Trainable
from lfmri_node.recon.train.samples import ACCELERATIONS
from lfmri_node.recon.train.skm_tea_boxes import read_boxes
from lfmri_node.recon.types import Bool, Complex

N_POISSON, POISSON_CENTRE = 8, 24
"""Poisson-disc masks of each acceleration, and their fully sampled centre, as wide as the data set's own."""


class FastMriPool(Dataset[Trainable]):
    """``n`` slices of the volumes in ``multicoil_train`` below ``data``, drawn once by ``seed``.

    The readout is cut to the rows of the published target and k-space to the columns that were measured
    on both sides of its centre, so that no mask can ask for zero padding.

    Raises LabError (LF-LAB-009) where there is no such folder or no volume in it.
    """

    def __init__(self, data: Path, n: int, seed: int) -> None:
        folders = sorted(path for path in data.rglob(fastmri.Split.TRAIN.folder) if path.is_dir())
        paths = [path for folder in folders for path in sorted(folder.glob("*.h5"))]
        if not paths:
            raise _nothing("fastMRI volumes", data, f"{fastmri.Split.TRAIN.folder}/*.h5")
        places = [(path, i) for path in paths for i in range(fastmri.read_volume(path).shape[0])]
        self._places = _drawn(places, n, seed)
        self._volume = lru_cache(maxsize=64)(fastmri.read_volume)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Trainable:
        path, place = self._places[index]
        volume = self._volume(path)
        acceleration = ACCELERATIONS[index % len(ACCELERATIONS)]
        one = fastmri.read_slice(volume, place)
        if one.data_range is None:
            raise LabError("LF-LAB-009", f"{one.file} is not fully sampled", "train on multicoil_train")
        kspace = centred(one.kspace, one.measured)
        rows = fit_axis(ifft_axis(kspace, -2), -2, min(volume.image_shape[0], volume.shape[2]))
        kspace = (fft_axis(rows, -2) / one.data_range).astype(np.complex64)
        n_centre = round(kspace.shape[2] * fastmri.CENTRE_FRACTION[int(acceleration)])
        return Measured(
            kspace=kspace,
            n_centre=n_centre,
            acceleration=acceleration,
            mask=None,
            label=one.label is not False,
        )


class SkmTeaPool(Dataset[Trainable]):
    """``n`` planes of the first echo of SKM-TEA's training scans below ``data``, drawn once by ``seed``.

    The annotations tell which scans are training ones (``train.json``): all splits lie in one folder.
    Sampling is Poisson-disc over (ky, kz), inside what was acquired; the masks are drawn here, as only test
    scans bring any.

    Raises LabError (LF-LAB-009) where there is no training scan, or no annotation to know it by.
    """

    def __init__(self, data: Path, n: int, seed: int) -> None:
        tables = sorted(data.rglob("train.json"))
        scans = read_boxes(tables[:1]).scans if tables else {}
        paths = [path for path in sorted(data.rglob(f"{skm_tea.FOLDER}/*.h5")) if path.stem in scans]
        if not paths:
            raise _nothing("SKM-TEA training scans", data, f"{skm_tea.FOLDER}/*.h5 and train.json")
        self._places = _drawn([(p, x) for p in paths for x in range(skm_tea.read_scan(p).matrix[0])], n, seed)
        self._scan = lru_cache(maxsize=64)(skm_tea.read_scan)
        self._brightest = lru_cache(maxsize=64)(_brightest)
        self._mask = lru_cache(maxsize=2 * N_POISSON)(_poisson)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Trainable:
        path, x = self._places[index]
        scan, known = self._scan(path), self._brightest(path)
        acceleration = ACCELERATIONS[index % len(ACCELERATIONS)]
        (one,) = skm_tea.slices(path, echoes=(0,), which=[x], known=known)
        mask = self._mask(scan.acquired, acceleration, index % N_POISSON)
        points = skm_tea.padded(mask, scan.matrix[1:])
        return Measured(
            kspace=one.kspace,
            n_centre=POISSON_CENTRE,
            acceleration=acceleration,
            mask=points,
            label=one.label is not False,
        )


def _nothing(what: str, data: Path, where: str) -> LabError:
    return LabError(
        "LF-LAB-009",
        f"no {what} in {data.name}: {where}",
        "`lfmri-lab check-data DIR` says what a folder holds",
    )


def _drawn(places: list[tuple[Path, int]], n: int, seed: int) -> list[tuple[Path, int]]:
    return [places[i] for i in np.random.default_rng(seed).permutation(len(places))[:n]]


def _brightest(path: Path) -> skm_tea.Statistics:
    """The largest magnitude of the middle plane as the scale of a scan: its whole target is 0.7 GB."""
    with h5py.File(path) as file:
        target = file["target"]
        peak = float(np.abs(target[target.shape[0] // 2, :, :, 0, 0]).max())
    return skm_tea.Statistics(std=peak, maximum=(peak,))


def _poisson(shape: tuple[int, int], acceleration: float, seed: int) -> Bool:
    side = min(POISSON_CENTRE, *shape)
    return np.asarray(poisson(shape, acceleration, calib=(side, side), seed=seed) != 0)


def centred(kspace: Complex, measured: Bool) -> Complex:
    """k-space c64 (c, r, p) cut to as many measured columns before its centre p // 2 as from there on."""
    middle = measured.size // 2
    columns = np.flatnonzero(measured)
    half = min(middle - int(columns[0]), int(columns[-1]) + 1 - middle)
    return kspace[..., middle - half : middle + half]
