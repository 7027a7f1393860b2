"""One job as the node's worker computes it, in a process of its own, on a simulated scan."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scans import slices

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import Config, ReconSection
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.worker.process import ENVIRONMENT
from lfmri_node.node.worker.task import Task
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.types import Bool, Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A simulated scan: matrix (read-out, phase) without oversampling, sampled phase lines bool (p,)."""

    shape: tuple[int, int]
    n_coils: int
    n_slices: int
    lines: Bool
    oversampling: int = 1

    def write(self, path: Path) -> None:
        """Write it as ISMRMRD."""
        layout = ScanLayout(
            matrix=(*self.shape, 1),
            field_of_view_mm=(float(self.shape[0]), float(self.shape[1]), 4.0),
            n_coils=self.n_coils,
            positions_mm=tuple((0.0, 0.0, 4.0 * s) for s in range(self.n_slices)),
            readout_oversampling=self.oversampling,
        )
        step_1 = np.flatnonzero(self.lines)
        made = slices(self.shape, self.n_coils, n_slices=self.n_slices, lines=self.lines)
        with open_writer(path, layout) as writer:
            for s, (kspace, _) in enumerate(made):
                writer.lines(kspace.data[:, :, step_1].transpose(2, 0, 1), step_1, slice_counter=s)


def run_job(scan: Scan, method: Method, *, profile: bool = False, threads: int = 0) -> dict[str, Any]:
    """What `worker_child` says of the job, and ``size_gb`` of the Raw Data.

    ``profile`` adds what ESPIRiT alone takes, and runs the job once more in one thread.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan.write(folder / "scan.h5")
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
        command += ["--threads", str(threads)]
        answer = _told([*command, *(["--espirit"] if profile else [])])
        if profile:
            shutil.rmtree(folder / "work")
            shutil.rmtree(folder / "objects")
            answer["profile"] = _told([*command, "--profile"])["profile"]
    return answer | {"size_gb": size_gb}


def _told(command: list[object]) -> dict[str, Any]:
    environment = {**ENVIRONMENT, **os.environ}
    words = [str(word) for word in command]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(told.stdout))
