"""Coil maps of one slice of 640 x 368 with 15 coils: coarse-grid ESPIRiT, SigPy's full grid, BART."""

from __future__ import annotations

import tempfile
from pathlib import Path

import bart
import numpy as np
from report import Report
from scans import slices
from timing import fastest, seconds

from lfmri_node.recon.sense.coilmaps import estimate, estimate_full_grid
from lfmri_node.recon.types import CoilMaps

NAME = "ESPIRiT, 640 x 368 x 15"


def measure(report: Report) -> None:
    """SigPy's full grid is run once: it takes tens of seconds."""
    ((kspace, image),) = slices((640, 368), 15)
    oracle: list[CoilMaps] = []
    full_grid = seconds(lambda: oracle.append(estimate_full_grid(kspace)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = {"ours": lambda: estimate(kspace)}
        if bart.is_installed():
            written = bart.write(folder / "kspace", kspace.data)
            calls["bart"] = lambda: bart.bart("ecalib", "-m1", written, folder / "maps")
        taken = fastest(calls)
    report.add(NAME, taken["ours"], "s", "SigPy EspiritCalib, full grid", full_grid)
    if "bart" in taken:
        report.add(NAME, taken["ours"], "s", "BART ecalib -m1", taken["bart"])
    else:
        report.skip("BART ecalib", "bart is not installed")
    ours = estimate(kspace)
    signal = (image > 0.1 * image.max()) & ours.support & oracle[0].support
    report.add(
        f"{NAME}: maps, difference from SigPy's full grid", 100 * difference(ours, oracle[0], signal), "%"
    )


def difference(ours: CoilMaps, theirs: CoilMaps, where: np.ndarray) -> float:
    """Relative difference on ``where``; the common phase of a pixel is free."""
    inner = (ours.maps.conj() * theirs.maps).sum(0)
    turned = ours.maps * np.exp(1j * np.angle(inner))
    error = np.linalg.norm((turned - theirs.maps)[:, where])
    return float(error / np.linalg.norm(theirs.maps[:, where]))
