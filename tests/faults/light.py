"""``light.py CONFIG``: the service as ``lfmri-node serve`` runs it, with a worker of `gated_worker.py`."""

import sys
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.config import load
from lfmri_node.node.service import Service, run_until_signalled

WORKER = Path(__file__).parents[1] / "node" / "gated_worker.py"


def main(config: Path) -> None:
    settings = load(config)
    logs.configure(settings.logging.level, settings.logging.file)
    holds = config.parent / "holds"  # nobody holds it
    run_until_signalled(Service(settings, worker=[sys.executable, str(WORKER), str(holds), "light"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
