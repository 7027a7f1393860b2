"""A scan of 36 slices of 640 x 368 samples with 15 coils: calibrate, reconstruct, encode in one worker.

First all lines, 1 GB, every sample a pixel, by CG-SENSE: the most that the job can need. Then as such scans
come, 4x undersampled and with twofold readout oversampling, by LF-MRI, beside BART on the same slices, which
gets them without oversampling, as arrays. Each once more under a profiler, which says where the time goes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import bart
import numpy as np
from report import Report
from scans import slices
from timing import seconds
from worker_job import Scan, run_job

from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Bool, Method

N_READOUT, N_PHASE, N_COILS, N_SLICES = 640, 368, 15, 36
WAVELETS = ("-R", "W:3:0:0.01", "-i", "60")
NAME = f"{N_SLICES} slices, {N_READOUT} x {N_PHASE} x {N_COILS}"


def measure_complete(report: Report) -> None:
    """Wall time and peak memory of the fully sampled job, in a process of its own."""
    _job(report, np.ones(N_PHASE, dtype=bool), Method.CG_SENSE, oversampling=1)


def measure(report: Report) -> None:
    """Wall time and peak memory of the undersampled job, in a process of its own, and of BART."""
    if not shipped_weights().is_file():
        report.skip(f"{NAME}, LF-MRI", "no weights")
        return
    lines = random_lines(N_PHASE, 4.0, 0.08, np.random.RandomState(0))
    bart_s = _bart_s(lines) if bart.is_installed() else None
    if bart_s is None:
        report.skip(f"{NAME}, BART", "bart is not installed")
    _job(report, lines, Method.LF_MRI, oversampling=2, bart_s=bart_s)


def _bart_s(lines: Bool) -> float:
    """Seconds of BART's coil maps and wavelets of all slices, with its reading and writing."""
    taken = 0.0
    with tempfile.TemporaryDirectory() as name:
        maps, image = Path(name) / "maps", Path(name) / "image"
        for kspace, _ in slices((N_READOUT // 2, N_PHASE), N_COILS, n_slices=N_SLICES, lines=lines):
            data = bart.write(Path(name) / "kspace", kspace.data / np.abs(kspace.data).max())
            taken += seconds(lambda data=data: bart.bart("ecalib", "-m1", data, maps))
            taken += seconds(lambda data=data: bart.bart("pics", *WAVELETS, data, maps, image))
    return taken


def _job(
    report: Report, lines: Bool, method: Method, *, oversampling: int, bart_s: float | None = None
) -> None:
    scan = Scan(
        shape=(N_READOUT // oversampling, N_PHASE),
        n_coils=N_COILS,
        n_slices=N_SLICES,
        lines=lines,
        oversampling=oversampling,
    )
    answer = run_job(scan, method, profile=True)
    size = f"readout oversampled {oversampling}x, {answer['size_gb']:.2f} GB"
    sampling = f"{N_PHASE / lines.sum():.1f}x, {size}"
    title = f"{NAME}, {sampling}, {answer['method']} ({answer['verdict']})"
    for stage, taken in answer["seconds"].items():
        beside = ("ESPIRiT alone, of slices in memory", answer["espirit_s"]) if stage == "calibrate" else ()
        report.add(f"{title}: {stage}", taken, "s", *beside)
    whole = sum(answer["seconds"].values())
    rival = None if bart_s is None else "BART ecalib -m1, pics -R W:3:0:0.01 -i 60"
    report.add(f"{title}: whole job", whole, "s", rival, bart_s)
    for function, taken in answer["profile"].items():
        report.add(f"{title}: under the profiler in one thread, {function}", taken, "s")
    report.add(f"{title}: peak memory", answer["peak_mb"] / 1e3, "GB")
