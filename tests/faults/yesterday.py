"""Backups of a node in the campaign, as an operator takes and restores them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from surroundings import Node


class Backups:
    """The latest backup of a node."""

    def __init__(self, folder: Path, node: Node) -> None:
        self._folder, self._node = folder, node
        self._taken = 0
        self.known: frozenset[int] = frozenset()

    @property
    def latest(self) -> Path | None:
        return self._folder / str(self._taken) if self._taken else None

    def take(self, acknowledged: set[int]) -> bool:
        """``lfmri-node backup``; whether it came to its end, which a full disk prevents.

        Parameters
        ----------
        acknowledged
            Scans that the node has promised when it begins: all of them have to be in it.
        """
        known = frozenset(acknowledged)
        place = self._folder / str(self._taken + 1)
        words = ["backup", str(place), "--config", str(self._node.folder / "config.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "lfmri_node.node.cli", *words],
            capture_output=True,
            check=False,
            env={**os.environ, **self._node.environment},
        )
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            return False
        if self.latest is not None:
            shutil.rmtree(self.latest)
        self._taken, self.known = self._taken + 1, known
        return True

    def restore(self) -> None:
        """The disk of a node that does not run is lost; the latest backup takes its place."""
        assert self.latest is not None
        for path in self._node.data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self.latest / "data", self._node.data, dirs_exist_ok=True)
