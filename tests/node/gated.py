"""A node that can be held still at named places; started by the tests as a process of its own.

``gated.py serve CONFIG HOLDS (light|real)`` runs the service, ``gated.py worker ...`` its worker.
Places: ``received.before`` and ``received.after`` the job is recorded; for each worker operation
``<operation>.before`` and, when its files are on disk but it is not answered, ``<operation>.after``.
A place is active where its FIFOs exist. A file ``<operation>.dies`` that holds the SHA-256 of a
measurement makes the worker kill itself when it comes to that operation of it; ``<operation>.hangs``
lets it hang there. ``clock`` holds seconds that this node's wall clock is wrong by.

The light worker replaces calibration and reconstruction by a few lines of numpy, because these
tests are about what survives, not about images; it still reads the measurement and writes the files.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lfmri_node.node import logs
from lfmri_node.node.config import load
from lfmri_node.node.files import published_directory, published_path, write_text
from lfmri_node.node.service import Service, run_until_signalled
from lfmri_node.node.worker import main as worker
from lfmri_node.node.worker.stages import Pipeline, findings
from lfmri_node.node.worker.task import ANSWER, CALIBRATION, RECONSTRUCTION, Task
from lfmri_node.recon.archive import save_reconstruction
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.sense.fourier import ifft_axis
from lfmri_node.recon.types import Figure, Method, Provenance, Quality, Reason, Reconstruction, Verdict

FIGURES = (
    Figure(name="acceleration", value=2.0, low=1.7, high=11.7),
    Figure(name="noise", value=0.2, high=0.07, n_outside=3),
    Figure(name="calibration lines", value=24.0, low=6.0),
    Figure(name="coils", value=2.0),
)


def pause(holds: Path, place: str) -> None:
    """Say that the place is reached and wait, if somebody wants that."""
    if (holds / f"{place}.reached").exists():
        (holds / f"{place}.reached").write_bytes(b"here")
        (holds / f"{place}.go-on").read_bytes()


class LightPipeline(Pipeline):
    """The stages with numerics of a few lines."""

    def warm_up(self) -> None:
        """Nothing to import."""

    def calibrate(self, task: Task, progress: Callable[[int, int], None]) -> dict[str, object]:
        if not (task.work / CALIBRATION).exists():
            with published_path(task.work / CALIBRATION) as scratch:
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
            with published_directory(target) as scratch:
                save_reconstruction(made, scratch)
                write_text(scratch / ANSWER, "{}")
        return findings_of(target)


def findings_of(target: Path) -> dict[str, object]:
    from lfmri_node.recon.archive import load_reconstruction

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
            pause(holds, f"{name}.after")
            return answer

        return run

    names = ("decode", "calibrate", "reconstruct", "encode")
    operations = {name: gated(name, getattr(pipeline, name)) for name in names}
    worker.serve(sys.stdin, answers, operations, prepare=pipeline.warm_up)


def set_clock(file: Path) -> None:
    """Let ``time.time``, which the engine looks at, follow a wall clock that somebody sets."""
    right = time.time
    time.time = lambda: right() + (float(file.read_text()) if file.exists() else 0.0)


def serve(config: Path, holds: Path, kind: str) -> None:
    set_clock(holds / "clock")
    settings = load(config)
    logs.configure(settings.logging.level, settings.logging.file, form=settings.logging.format)

    def wrapped(received: Callable) -> Callable:
        def run(payload: object) -> object:
            pause(holds, "received.before")
            job = received(payload)
            pause(holds, "received.after")
            return job

        return run

    command = [sys.executable, __file__, "worker", str(holds), kind]
    run_until_signalled(Service(settings, worker=command, received=wrapped, reread=lambda: load(config)))


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work(Path(sys.argv[2]), sys.argv[3])
    else:
        serve(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
