"""A scan of 36 slices of 640 x 368 samples with 15 coils: calibrate, reconstruct, encode in one worker.

First all lines, 1 GB, every sample a pixel, by CG-SENSE: the most that the job can need. Then as such scans
come, 4x undersampled and with twofold readout oversampling, by LF-MRI, beside BART on the same slices, which
gets them without oversampling, as arrays. Each once more under a profiler, which says where the time goes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import bart
import numpy as np
from report import Report
from scans import slices
from timing import seconds

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import Config, ReconSection
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.worker.task import Task
from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Bool, Method

N_READOUT, N_PHASE, N_COILS, N_SLICES = 640, 368, 15, 36
WAVELETS = ("-R", "W:3:0:0.01", "-i", "60")
NAME = f"{N_SLICES} slices, {N_READOUT} x {N_PHASE} x {N_COILS}"


def measure(report: Report) -> None:
    """Wall time and peak memory of each job in a process of its own."""
    _job(report, np.ones(N_PHASE, dtype=bool), Method.CG_SENSE, oversampling=1)
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_scan(folder / "scan.h5", lines, oversampling)
        sources = wrap(folder / "scan.h5", folder, {"PatientID": "BENCH", "StudyInstanceUID": "2.25.1"})
        size_gb = sum(path.stat().st_size for path in sources) / 1e9
        (folder / "scan.h5").unlink()
        recon = ReconSection(method=method, fallback=Method.CG_SENSE)
        task = Task(
            sources=tuple(sources),
            source_sha256=read_payload(sources[0]).fields.sha256,
            contrast=0,
            repetition=0,
            recipe=Recipe.of(Config(recon=recon)),
            work=folder / "work",
            objects=folder / "objects",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        (folder / "task.json").write_text(json.dumps(task.to_json()))
        command = [sys.executable, Path(__file__).with_name("worker_child.py"), folder / "task.json"]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        shutil.rmtree(folder / "work")
        shutil.rmtree(folder / "objects")
        again = subprocess.run([*command, "--profile"], check=True, stdout=subprocess.PIPE, text=True)
    answer, profile = json.loads(told.stdout), json.loads(again.stdout)["profile"]
    sampling = f"{N_PHASE / lines.sum():.1f}x, readout oversampled {oversampling}x, {size_gb:.2f} GB"
    title = f"{NAME}, {sampling}, {answer['method']} ({answer['verdict']})"
    for stage, taken in answer["seconds"].items():
        report.add(f"{title}: {stage}", taken, "s")
    whole = sum(answer["seconds"].values())
    rival = None if bart_s is None else "BART ecalib -m1, pics -R W:3:0:0.01 -i 60"
    report.add(f"{title}: whole job", whole, "s", rival, bart_s)
    for function, taken in profile.items():
        report.add(f"{title}: under the profiler, {function}", taken, "s")
    report.add(f"{title}: peak memory", answer["peak_mb"] / 1e3, "GB")


def _write_scan(path: Path, lines: Bool, oversampling: int) -> None:
    shape = (N_READOUT // oversampling, N_PHASE)
    layout = ScanLayout(
        matrix=(*shape, 1),
        field_of_view_mm=(float(shape[0]), float(shape[1]), 4.0),
        n_coils=N_COILS,
        positions_mm=tuple((0.0, 0.0, 4.0 * s) for s in range(N_SLICES)),
        readout_oversampling=oversampling,
    )
    step_1 = np.flatnonzero(lines)
    with open_writer(path, layout) as writer:
        for s, (kspace, _) in enumerate(slices(shape, N_COILS, n_slices=N_SLICES, lines=lines)):
            writer.lines(kspace.data[:, :, step_1].transpose(2, 0, 1), step_1, slice_counter=s)
