"""``gated_worker.py HOLDS (light|real)``: the worker of a node that can be held still; see `gated.py`.

The light worker replaces calibration and reconstruction by a few lines of numpy, because these
tests are about what survives, not about images; it still reads the measurement and writes the files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from held import pause

from lfmri_node.node import logs
from lfmri_node.node.files import published_directory, published_path, write_text
from lfmri_node.node.worker import main as worker
from lfmri_node.node.worker.stages import Pipeline, findings
from lfmri_node.node.worker.task import ANSWER, CALIBRATION, RECONSTRUCTION, Task
from lfmri_node.recon.archive import load_reconstruction, save_reconstruction
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.sense.fourier import ifft_axis
from lfmri_node.recon.types import Figure, Method, Provenance, Quality, Reason, Reconstruction, Verdict

FIGURES = (
    Figure(name="acceleration", value=2.0, low=1.7, high=11.7),
    Figure(name="noise", value=0.2, high=0.07, n_outside=3),
    Figure(name="calibration lines", value=24.0, low=6.0),
    Figure(name="coils", value=2.0),
)


class LightPipeline(Pipeline):
    """The stages with numerics of a few lines."""

    def warm_up(self) -> str:
        """Nothing to import."""
        return ""

    def calibrate(self, task: Task, progress: Callable[[int, int], None]) -> dict[str, object]:
        if not (task.work / CALIBRATION).exists():
            with published_path(task.work / CALIBRATION, epoch=task.epoch) as scratch:
                np.savez(scratch, nothing=np.zeros(1))
        progress(1, 1)
        return {}

    def reconstruct(self, task: Task, progress: Callable[[int, int], None]) -> dict[str, object]:
        target = task.work / RECONSTRUCTION
        if not target.exists():
            with self._measurement(task) as measurement:
                scan = measurement.scan(task.contrast, task.repetition)
                planes = []
                for s in range(scan.n_slices):
                    coils = ifft_axis(ifft_axis(scan.load(s).data, -1), -2)
                    planes.append(np.sqrt((np.abs(coils) ** 2).sum(0)).astype(np.complex64))
                    progress(s + 1, scan.n_slices)
                image = apply_display(np.stack(planes), scan.display).astype(np.complex64)
            made = Reconstruction(
                image=image,
                reference=None,
                fallback=image,
                zero_filled=None,
                geometry=scan.geometry,
                sequence=scan.sequence,
                lesion=None,
                quality=Quality(
                    verdict=Verdict.FALLBACK,
                    acceleration=2.0,
                    data_residual=0.0,
                    reasons=(Reason(code="LF-QUA-000", message="test"),),
                    figures=FIGURES,
                ),
                provenance=Provenance(
                    method=Method.ZERO_FILLED,
                    software_version=task.recipe.software_version,
                    source_sha256=task.source_sha256,
                    settings=task.recipe.recon.describe(),
                ),
            )
            with published_directory(target, epoch=task.epoch) as scratch:
                save_reconstruction(made, scratch)
                write_text(scratch / ANSWER, "{}")
        return findings_of(target)


def findings_of(target: Path) -> dict[str, object]:
    return findings(load_reconstruction(target))


def work(holds: Path, kind: str) -> None:
    answers = worker.own_stdout()
    logs.silence_texts(sys.stderr)
    pipeline = LightPipeline() if kind == "light" else Pipeline(threads=1)

    def gated(name: str, operation: worker.Operation) -> worker.Operation:
        def run(task: Task, progress: Callable[[int, int], None]) -> dict[str, object]:
            pause(holds, f"{name}.before")
            trap = holds / f"{name}.dies"
            if trap.exists() and trap.read_text() == task.source_sha256:
                os.kill(os.getpid(), signal.SIGKILL)
            trap = holds / f"{name}.hangs"
            if trap.exists() and trap.read_text() == task.source_sha256:
                signal.pause()
            answer = dict(operation(task, progress))
            notes = holds / f"{name}.device-notes"
            if notes.exists():
                answer["device_notes"] = notes.read_text().splitlines()
            pause(holds, f"{name}.after")
            return answer

        return run

    names = ("decode", "calibrate", "reconstruct", "encode")
    operations = {name: gated(name, getattr(pipeline, name)) for name in names}
    worker.serve(sys.stdin, answers, operations, prepare=pipeline.warm_up)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
