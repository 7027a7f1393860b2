"""Runs the stages of one job as the node's worker does; prints seconds of each and its peak memory.

With ``--profile`` also the seconds in each of `SHOWN`, with all that it calls, in one thread: the profiler
sees no other. With ``--espirit`` also what ESPIRiT alone takes on the same slices.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
from pathlib import Path

import torch
from timing import fastest, peak_mb, seconds

from lfmri_node.dicom_io.raw_data.payload import open_payload
from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.node.worker.stages import Pipeline
from lfmri_node.node.worker.task import ANSWER, RECONSTRUCTION, Task
from lfmri_node.recon.calibration import load_slice
from lfmri_node.recon.compute import side_by_side
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.sense.coilmaps import calibrate

SHOWN = {
    ("slices.py", "__call__"): "reading, oversampling, whitening",
    ("coilmaps.py", "calibrate"): "ESPIRiT",
    ("indicators.py", "measure_slice"): "indicators of the verdict",
    ("coilmaps.py", "interpolate"): "maps to full size",
    ("cascade.py", "least_squares"): "CG-SENSE before the network",
    ("wavelets.py", "wavelet_sense"): "wavelets before the network",
    ("denoiser.py", "forward"): "D_w and G_u",
    ("lesion.py", "forward"): "Net_c",
    ("cascade.py", "forward"): "stages and data consistency",
    ("operators.py", "gram"): "A^H A, wherever it is",
    ("indicators.py", "data_residual"): "residual of the image",
}


def run(path: Path) -> dict[str, object]:
    """Every stage after reception, in order."""
    task = Task.from_json(json.loads(path.read_text()))
    pipeline = Pipeline()
    pipeline.warm_up()
    taken = {
        stage.__name__: seconds(lambda stage=stage: stage(task, _silent))
        for stage in (pipeline.decode, pipeline.calibrate, pipeline.reconstruct, pipeline.encode)
    }
    found = json.loads((task.work / RECONSTRUCTION / ANSWER).read_text())
    return {
        "seconds": taken,
        "peak_mb": peak_mb(),
        "verdict": found["verdict"],
        "method": found["method"],
    }


def espirit_s(path: Path) -> float:
    """Seconds of the coil maps of all slices, which are in memory, in as many threads as their stage has."""
    task = Task.from_json(json.loads(path.read_text()))
    received = recall_measurement(task.sources)
    reader = ReaderSettings(**dict(task.recipe.reader), group=received.group, scratch=task.work)
    with (
        open_payload(received.parts) as window,
        open_measurement(window, sha256=task.source_sha256, settings=reader) as measurement,
    ):
        scan = measurement.scan(task.contrast, task.repetition)
        loaded = [load_slice(scan, s, task.recipe.recon) for s in range(scan.n_slices)]
        return fastest({"maps": lambda: list(side_by_side(calibrate, loaded))})["maps"]


def _silent(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def profiled(path: Path) -> dict[str, object]:
    """As `run`, and seconds of each of `SHOWN`."""
    profiler = cProfile.Profile()
    found = profiler.runcall(run, path)
    taken: dict[str, float] = {}
    for (file, _, function), (_, _, _, cumulative, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if shown := SHOWN.get((Path(file).name, function)):
            taken[shown] = max(taken.get(shown, 0.0), cumulative)
    return {**found, "profile": dict(sorted(taken.items(), key=lambda pair: -pair[1]))}


def main() -> None:
    """Run the task that is named, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Path)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--espirit", action="store_true")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves them as they are")
    chosen = parser.parse_args()
    if chosen.threads or chosen.profile:
        torch.set_num_threads(1 if chosen.profile else chosen.threads)
    found = (profiled if chosen.profile else run)(chosen.task)
    if chosen.espirit:
        found["espirit_s"] = espirit_s(chosen.task)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
