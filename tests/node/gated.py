"""A node that can be held still at named places; started by the tests as a process of its own.

``gated.py CONFIG HOLDS (light|real)`` runs the service with the worker of `gated_worker.py`; with a name as
fourth argument `lfmri-node worker`, with the same.
Places: ``received.before`` and ``received.after`` the job is recorded; for each worker operation
``<operation>.before`` and, when its files are on disk but it is not answered, ``<operation>.after``.
A place is active where its FIFOs exist. A file ``<operation>.dies`` that holds the SHA-256 of a
measurement makes the worker kill itself when it comes to that operation of it; ``<operation>.hangs``
lets it hang there. ``clock`` holds seconds that this node's wall clock is wrong by, ``patience`` those that
it waits for a locked job table instead of half a minute, ``stuck`` those that a delivery may stand still
for instead of an hour.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from held import pause

from lfmri_node.node import logs
from lfmri_node.node.compute import ComputeService
from lfmri_node.node.config import load
from lfmri_node.node.service import Service
from lfmri_node.node.signals import run_until_signalled

WORKER = Path(__file__).with_name("gated_worker.py")


def set_clock(file: Path) -> None:
    """Let ``time.time``, which the engine looks at, follow a wall clock that somebody sets."""
    right = time.time
    time.time = lambda: right() + (float(file.read_text()) if file.exists() else 0.0)


def set_patience(file: Path) -> None:
    """Let the job table be waited for as long as somebody says."""
    if file.exists():
        connect, limit = sqlite3.connect, {"timeout": float(file.read_text())}
        sqlite3.connect = lambda *where, **how: connect(*where, **how | limit)


def serve(config: Path, holds: Path, kind: str) -> None:
    set_clock(holds / "clock")
    set_patience(holds / "patience")
    settings = load(config)
    logs.configure(settings.logging.level, settings.logging.file, form=settings.logging.format)

    def wrapped(received: Callable) -> Callable:
        def run(payload: object) -> object:
            pause(holds, "received.before")
            job = received(payload)
            pause(holds, "received.after")
            return job

        return run

    command = [sys.executable, str(WORKER), str(holds), kind]
    stuck = holds / "stuck"
    service = Service(
        settings,
        worker=command,
        places=[WORKER.parent, holds],
        received=wrapped,
        reread=lambda: load(config),
        **({"stuck_s": float(stuck.read_text())} if stuck.exists() else {}),
    )
    run_until_signalled(service)


def compute(config: Path, holds: Path, kind: str, name: str) -> None:
    settings = load(config)
    logs.configure(settings.logging.level, None)
    command = [sys.executable, str(WORKER), str(holds), kind]
    run_until_signalled(ComputeService(settings, name, worker=command, places=[WORKER.parent, holds]))


if __name__ == "__main__":
    (compute if sys.argv[4:] else serve)(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
