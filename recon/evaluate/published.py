"""Cases of the published data sets where the user has them: fastMRI knee with fastMRI+ boxes, SKM-TEA.

fastMRI: validation volumes under the published mask of each file name; truth is the root sum of squares
that the file holds, 320 x 320, data range of the volume. SKM-TEA: planes of the first echo of test scans
under their own Poisson masks and coil maps. `train --source` reads the training splits alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.lesion_metrics import Box, usable_boxes
from lfmri_node.recon.evaluate.sweep import CaseSource
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.train import fastmri, skm_tea
from lfmri_node.recon.train.fastmri_plus import FastMriPlus, read_tables
from lfmri_node.recon.train.real import RealSlice
from lfmri_node.recon.train.skm_tea_boxes import SkmTeaBoxes, read_boxes
from lfmri_node.recon.types import Bool, CoilMaps, KSpace

FASTMRI, SKM_TEA = "fastMRI knee", "SKM-TEA"
DEPTH = 3
"""Folders below the data folder that are searched."""
PLANE_STEP = 8
"""Every eighth SKM-TEA plane is taken."""
N_SEARCH = 4


def published_sources(data: Path, n_slices: int, accelerations: tuple[float, ...]) -> list[CaseSource]:
    """Sources of the published sets below ``data``: whole volumes until ``n_slices`` is reached."""
    sources = []
    volumes = [
        path for folder in _named(data, fastmri.Split.VALIDATION.folder) for path in folder.glob("*.h5")
    ]
    if volumes:
        trained = [p for folder in _named(data, fastmri.Split.TRAIN.folder) for p in folder.glob("*.h5")]
        labels = _labels(data)
        for acceleration in accelerations:
            sources.append(_fastmri(sorted(volumes), sorted(trained), labels, n_slices, acceleration))
    scans = [path for folder in _named(data, skm_tea.FOLDER) for path in skm_tea.files(folder.parent)]
    for acceleration in accelerations:
        masked = [path for path in scans if int(acceleration) in skm_tea.read_scan(path).accelerations]
        if masked:
            sources.append(_skm_tea(sorted(masked), _boxes(data), n_slices, acceleration))
    return sources


def _named(data: Path, name: str) -> Iterator[Path]:
    for depth in range(DEPTH + 1):
        yield from sorted(path for path in data.glob("*/" * depth + name) if path.is_dir())


def _file_named(data: Path, name: str) -> Path | None:
    for depth in range(DEPTH + 1):
        for path in sorted(data.glob("*/" * depth + name)):
            return path
    return None


def _labels(data: Path) -> FastMriPlus | None:
    table, reviewed = _file_named(data, "knee.csv"), _file_named(data, "knee_file_list.csv")
    return read_tables(table, reviewed) if table is not None and reviewed is not None else None


def _boxes(data: Path) -> SkmTeaBoxes | None:
    test = _file_named(data, "test.json")
    return None if test is None else read_boxes([test])


def case_of_slice(one: RealSlice, sampled: Bool, dataset: str, acceleration: float, sample: str) -> Case:
    """A slice of a published set under ``sampled``; k-space and truth divided by the volume's maximum."""
    assert one.target is not None
    assert one.data_range is not None
    scale = np.float32(one.data_range)
    mask = sampled if sampled.ndim == 2 else sampled[None, None, :]
    kspace = KSpace(data=(one.kspace * mask / scale).astype(np.complex64), sampled=sampled)
    given = (Box(b.row, b.column, b.row + b.height, b.column + b.width) for b in one.boxes)
    usable, n_dropped = usable_boxes(given, (one.target.shape[0], one.target.shape[1]))
    if one.maps is None:
        maps = estimate(kspace)
    else:
        maps = CoilMaps(maps=one.maps, support=np.any(one.maps != 0, axis=0))
    return Case(
        dataset=dataset,
        subject=one.subject,
        volume=f"{one.file}/{one.echo}",
        group=one.group.value,
        field_strength_t=one.field_strength_t,
        acceleration=acceleration,
        sample=sample,
        kspace=kspace,
        maps=maps,
        truth=one.target / scale,
        peak=1.0,
        label=one.label,
        lesion_kind="real" if usable else "",
        boxes=tuple(usable),
        boxes_dropped=n_dropped,
    )


def _fastmri(
    volumes: list[Path],
    trained: list[Path],
    labels: FastMriPlus | None,
    n_slices: int,
    acceleration: float,
) -> CaseSource:
    paths = {path.stem: path for path in [*trained, *volumes]}

    def load(sample: str) -> Case:
        file, index = sample.split("/")
        volume = fastmri.read_volume(paths[file])
        one = fastmri.read_slice(volume, int(index), labels=labels)
        lines = fastmri.line_mask(volume, fastmri.MaskKind.RANDOM, int(acceleration))
        return case_of_slice(one, lines, FASTMRI, acceleration, sample)

    def search() -> list[Case]:
        shapes = [(path, fastmri.read_volume(path).shape[0]) for path in trained[:N_SEARCH]]
        return [load(f"{path.stem}/{n // 2}") for path, n in shapes]

    samples: list[str] = []
    for path in volumes:
        if len(samples) >= n_slices:
            break
        samples += [f"{path.stem}/{i}" for i in range(fastmri.read_volume(path).shape[0])]
    return CaseSource(
        dataset=FASTMRI,
        acceleration=acceleration,
        samples=tuple(samples),
        load=load,
        search=search,
        setting=f"{FASTMRI}, {acceleration:g}x",
    )


def _skm_tea(scans: list[Path], boxes: SkmTeaBoxes | None, n_slices: int, acceleration: float) -> CaseSource:
    paths = {path.stem: path for path in scans}
    known = lru_cache(maxsize=1)(skm_tea.statistics)

    def load(sample: str) -> Case:
        file, plane = sample.split("/")
        path = paths[file]
        (one,) = skm_tea.slices(path, boxes=boxes, echoes=(0,), which=[int(plane)], known=known(path))
        points = skm_tea.poisson_mask(path, int(acceleration))
        return case_of_slice(one, points, SKM_TEA, acceleration, sample)

    samples: list[str] = []
    for path in scans:
        if len(samples) >= n_slices:
            break
        planes = range(0, skm_tea.read_scan(path).matrix[0], PLANE_STEP)
        samples += [f"{path.stem}/{x}" for x in planes]
    return CaseSource(
        dataset=SKM_TEA,
        acceleration=acceleration,
        samples=tuple(samples),
        load=load,
        search=list,
        setting=f"{SKM_TEA}, {acceleration:g}x",
        point_mask=True,
    )
