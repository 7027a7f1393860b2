"""Coil maps, indicators and sampling of every slice: what is known before the images are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfmri_node.recon.compute import side_by_side
from lfmri_node.recon.sense.coilmaps import CoarseMaps
from lfmri_node.recon.sense.coilmaps import calibrate as calibrate_slice
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.trust.indicators import Indicators, measure_slice
from lfmri_node.recon.types import Bool, KSpace, RawScan, ReconSettings

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Coil maps, indicators and sampling, bool (p,) or (r, p), of every slice."""

    slices: tuple[CoarseMaps, ...]
    indicators: tuple[Indicators, ...]
    sampled: tuple[Bool, ...]

    def save(self, path: Path) -> None:
        """Write as npz without pickle."""
        names = list(self.indicators[0].as_dict())
        np.savez(
            path,
            maps=np.stack([entry.maps for entry in self.slices]),
            eigenvalue=np.stack([entry.eigenvalue for entry in self.slices]),
            side=np.array([entry.side for entry in self.slices]),
            sampled=np.stack(self.sampled),
            names=np.array(names),
            indicators=np.array([[entry.as_dict()[name] for name in names] for entry in self.indicators]),
        )

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as f:
            names = [str(name) for name in f["names"]]
            return cls(
                slices=tuple(
                    CoarseMaps(maps=m, eigenvalue=e, side=int(n))
                    for m, e, n in zip(f["maps"], f["eigenvalue"], f["side"], strict=True)
                ),
                indicators=tuple(
                    Indicators(**dict(zip(names, (float(v) for v in row), strict=True)))
                    for row in f["indicators"]
                ),
                sampled=tuple(f["sampled"]),
            )


def load_slice(scan: RawScan, s: int, settings: ReconSettings) -> KSpace:
    """One slice, of as many coils as the settings keep."""
    return compress(scan.load(s), settings.n_virtual_coils)


def calibrate(
    scan: RawScan, settings: ReconSettings | None = None, progress: Progress | None = None
) -> Calibration:
    """Coil maps and indicators of every slice.

    Raises ReconError as `RawScan.load` and `coilmaps.calibrate` do.
    """
    chosen = settings or ReconSettings()

    def one(s: int) -> tuple[CoarseMaps, Indicators, Bool]:
        kspace = load_slice(scan, s, chosen)
        coarse = calibrate_slice(kspace)
        return coarse, measure_slice(kspace, coarse), kspace.sampled

    found = []
    for entry in side_by_side(one, range(scan.n_slices)):
        found.append(entry)
        if progress:
            progress(len(found), scan.n_slices)
    slices, indicators, sampled = zip(*found, strict=True)
    return Calibration(slices=slices, indicators=indicators, sampled=sampled)
