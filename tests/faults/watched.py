"""``lfmri-node gateway watch`` as one of the gateways of a campaign: killed, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from lfmri_node.node.gateway.outbox import FAILED, SENT, SIDECAR


class WatchedFolder:
    """A scanner's export folder and, while it runs, the process that watches it.

    Parameters
    ----------
    write
        Writes the ISMRMRD file of a scan, and beside it whose it is.
    port
        Of the node.
    """

    def __init__(self, folder: Path, write: Callable[[int, Path], dict[str, str]], port: int) -> None:
        self._folder, self._write = folder / "export", write
        self._scratch = folder / "scratch"
        self._log = folder / "gateway.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        for place in (self._folder, self._scratch):
            place.mkdir(parents=True)

    def export(self, number: int) -> None:
        """What a scanner does: a file appears, complete, with its attributes."""
        h5 = self._scratch / f"{number}.h5"
        said = self._write(number, h5)
        text = "".join(f'{keyword} = "{value}"\n' for keyword, value in said.items())
        (self._folder / f"{h5.name}{SIDECAR}").write_text(text, encoding="utf-8")
        h5.rename(self._folder / h5.name)

    def start(self) -> None:
        """Watch, unless somebody does."""
        if self._process is not None and self._process.poll() is None:
            return
        words = ["gateway", "watch", str(self._folder), "--to", f"LFMRI@127.0.0.1:{self._port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lfmri_node.node.cli", *words, "--settle", "0.2"],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def end(self, how: signal.Signals) -> None:
        """SIGKILL or SIGTERM."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def waiting(self) -> list[int]:
        """Scans that lie in the folder."""
        return _numbers(self._folder)

    def sent(self) -> list[int]:
        """Scans that the watcher calls sent: the node has promised them."""
        return _numbers(self._folder / SENT)

    def failed(self) -> list[int]:
        """Scans that the watcher has put aside; none deserves it."""
        return _numbers(self._folder / FAILED)

    def put_back(self, numbers: Collection[int]) -> None:
        """Have scans sent again that were sent: what an operator does when a node was restored."""
        for number in numbers:
            for name in (f"{number}.h5{SIDECAR}", f"{number}.h5"):
                shutil.move(self._folder / SENT / name, self._folder / name)


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.h5"))
