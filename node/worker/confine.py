"""``python -m lfmri_node.node.worker.confine CONFINEMENT COMMAND...``: give rights up, then become COMMAND.

A program of its own, since numerics start threads when they are imported, and what is given up after that
binds the calling thread alone. Whatever cannot be given up ends it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lfmri_node.node.worker import landlock, seccomp
from lfmri_node.node.worker.libc import keep_rights_over_files, no_new_privileges


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a process keeps, and what is taken from it.

    Parameters
    ----------
    files
        Whether it loses the files that are not ``reads``, ``writes`` or ``uses``; see `landlock.keep`.
    calls
        Whether it loses sockets and what `seccomp` forbids beside.
    environment
        Variables that it gets.
    forgets
        Variables that it does not get.
    """

    files: bool
    calls: bool
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    uses: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    forgets: Sequence[str] = ()

    def words(self) -> list[str]:
        """What stands before the command."""
        return [sys.executable, "-m", __spec__.name, json.dumps(asdict(self))]


def main(confinement: str, *command: str) -> None:
    """Never returns."""
    asked = Confinement(**json.loads(confinement))
    no_new_privileges()
    keep_rights_over_files()
    if asked.files:
        landlock.keep(
            reads=[Path(path) for path in asked.reads],
            writes=[Path(path) for path in asked.writes],
            uses=[Path(path) for path in asked.uses],
        )
    if asked.calls:
        seccomp.forbid()
    environment = {name: value for name, value in os.environ.items() if name not in asked.forgets}
    os.execve(command[0], command, {**environment, **asked.environment})


if __name__ == "__main__":
    main(*sys.argv[1:])
