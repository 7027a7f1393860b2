"""Runs the stages of one job as the node's worker does; prints seconds of each and its peak memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from timing import peak_mb, seconds

from lfmri_node.node.worker.stages import Pipeline
from lfmri_node.node.worker.task import ANSWER, RECONSTRUCTION, Task


def run(path: Path) -> dict[str, object]:
    """Every stage after reception, in order."""
    task = Task.from_json(json.loads(path.read_text()))
    pipeline = Pipeline()
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


def _silent(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
