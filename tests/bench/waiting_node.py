"""``waiting_node.py CONFIG NAME``: `serve` as "node", else a worker; reconstruction waits for two seconds.

``waiting_node.py`` alone is the reconstruction process of either.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "node"))
from gated_worker import LightPipeline

from lfmri_node.node import logs
from lfmri_node.node.compute import ComputeService
from lfmri_node.node.config import load
from lfmri_node.node.jobs.workers import NODE
from lfmri_node.node.service import Service
from lfmri_node.node.signals import run_until_signalled
from lfmri_node.node.worker import main as worker
from lfmri_node.node.worker.task import Task

WAIT_S = 2.0


class WaitingPipeline(LightPipeline):
    """The light one, slower."""

    def reconstruct(self, task: Task, progress: Callable[[int, int], None]) -> dict[str, object]:
        time.sleep(WAIT_S)
        return super().reconstruct(task, progress)


def work() -> None:
    """Be the reconstruction process."""
    answers, pipeline = worker.own_stdout(), WaitingPipeline()
    logs.silence_texts(sys.stderr)
    names = ("decode", "calibrate", "reconstruct", "encode")
    operations = {name: getattr(pipeline, name) for name in names}
    worker.serve(sys.stdin, answers, operations, prepare=pipeline.warm_up)


def serve(path: Path, name: str) -> None:
    """Be the node or a worker."""
    config, command = load(path), [sys.executable, __file__]
    places = [Path(__file__).parent, Path(__file__).parents[1] / "node"]
    logs.configure(config.logging.level, None)
    if name == NODE:
        run_until_signalled(Service(config, worker=command, places=places))
    else:
        run_until_signalled(ComputeService(config, name, worker=command, places=places))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2]) if sys.argv[1:] else work()
