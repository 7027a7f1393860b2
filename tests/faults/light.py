"""``light.py CONFIG [NAME]``: the service as ``lfmri-node serve`` runs it, or the worker NAME.

Reconstruction is that of `gated_worker.py`.
"""

import sys
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.compute import ComputeService
from lfmri_node.node.config import load
from lfmri_node.node.service import Service
from lfmri_node.node.signals import run_until_signalled

WORKER = Path(__file__).parents[1] / "node" / "gated_worker.py"


def main(config: Path, name: str | None = None) -> None:
    settings = load(config)
    logs.configure(settings.logging.level, settings.logging.file)
    holds = config.parent / "holds"  # nobody holds it
    places = [WORKER.parent, holds]
    command = [sys.executable, str(WORKER), str(holds), "light"]
    if name is None:
        run_until_signalled(Service(settings, worker=command, places=places))
    else:
        run_until_signalled(ComputeService(settings, name, worker=command, places=places))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
