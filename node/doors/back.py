"""Images on their way back to whoever streamed a measurement: waited for, and written by a child."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lfmri_node.node.doors.intake import Taken
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.sandbox import Sandbox
from lfmri_node.node.worker.task import RECONSTRUCTION

_POLL_S = 0.3
_WRITE_S = 300.0
_PIECE = 1 << 20


class ImagesBack:
    """Gives the bytes of the image messages of a measurement, once it is reconstructed.

    Parameters
    ----------
    table
        Read only.
    cage
        Leaves the child that writes messages the images, and a folder for them.
    limit_s
        Longest wait for a reconstruction; may be replaced at any time.
    """

    def __init__(
        self,
        table: Ledger,
        layout: Layout,
        cage: Sandbox,
        *,
        limit_s: float,
        stopped: threading.Event,
    ) -> None:
        self._table = table
        self._layout = layout
        self._cage = cage
        self.limit_s = limit_s
        self._stopped = stopped

    def __call__(self, taken: Taken) -> Iterator[bytes]:
        """Whole messages in pieces; nothing for scans in quarantine, or where the wait is over."""
        for scan in self._scans(taken.job.key if taken.job is not None else ""):
            yield from self._messages(scan)

    def _scans(self, key: str) -> list[Job]:
        """The scans of a measurement, once each is held, encoded, or in quarantine."""
        end = time.monotonic() + self.limit_s
        while time.monotonic() < end and not self._stopped.wait(_POLL_S):
            measurement, scans = self._table.find(key), self._table.scans(key)
            if measurement is None or measurement.stage is Stage.QUARANTINED:
                return []
            if scans and all(_is_there(scan) or scan.stage is Stage.QUARANTINED for scan in scans):
                return [scan for scan in scans if _is_there(scan)]
        return []

    def _messages(self, scan: Job) -> Iterator[bytes]:
        kind, folder = "objects", self._layout.objects(scan.key)
        if scan.is_held:
            kind, folder = "reconstruction", self._layout.work(scan.key) / RECONSTRUCTION
        with tempfile.TemporaryDirectory(prefix="images-", dir=self._layout.spool) as scratch:
            out = Path(scratch) / "messages"
            command = self._cage.launcher(reads=[folder], writes=[Path(scratch)])
            command += [sys.executable, "-m", "lfmri_node.node.doors.pictures", kind, str(folder), str(out)]
            try:
                done = subprocess.run(command, timeout=_WRITE_S, stderr=subprocess.DEVNULL, check=False)
            except subprocess.TimeoutExpired:
                return
            if done.returncode != 0:
                return
            with out.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece


def _is_there(scan: Job) -> bool:
    return scan.is_held or scan.reached(Stage.ENCODED)
