"""Where a node keeps what, below ``node.data_dir``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.node.files import OTHERS, open_to_others, take_from_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths below the data directory ``root``."""

    root: Path

    @property
    def spool(self) -> Path:
        """Raw Data objects as received."""
        return self.root / "spool"

    @property
    def state(self) -> Path:
        """Job table, workflow database, executor lock."""
        return self.root / "state"

    @property
    def job_table(self) -> Path:
        return self.state / "node.sqlite"

    @property
    def workflows(self) -> Path:
        return self.state / "dbos.sqlite"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        """The audit trail."""
        return self.root / "audit"

    @property
    def worker_log(self) -> Path:
        return self.logs / "worker.log"

    @property
    def raw(self) -> Path:
        """Where the spool keeps what it has accepted."""
        return self.spool / "objects"

    @property
    def accepted(self) -> Path:
        """Raw Data objects that were refused first; see `corrections`."""
        return self.spool / "accepted"

    def assigned(self, key: str) -> Path:
        """What an operator said of a measurement that names no patient or study; holds patient data."""
        return self.spool / "assigned" / f"{key[:32]}.json"

    @property
    def compiled(self) -> Path:
        """Numerics of SigPy that Numba compiled for the worker."""
        return self.root / "compiled"

    @property
    def trash(self) -> Path:
        """What retention has taken and nobody needs; emptied without looking."""
        return self.root / "trash"

    def works(self) -> list[Path]:
        """Every folder of intermediate results."""
        return [path for path in self.root.glob("work/*") if path.is_dir()]

    def refused(self) -> list[Path]:
        """Raw Data objects that contradict what is kept; see `dicom_io.receive.spool`."""
        return [path for path in self.spool.glob("quarantine/*") if path.is_file()]

    def work(self, key: str) -> Path:
        """Intermediate results of a job."""
        return self.root / "work" / key[:32]

    def objects(self, key: str) -> Path:
        """DICOM objects of a job."""
        return self.root / "objects" / key[:32]

    def make_private(self) -> None:
        """Make the folders; they and all that this process makes from now on are this user's alone.

        What an earlier version left open is closed. Whatever the umask was, it is 0077 afterwards, also
        for the worker.
        """
        os.umask(OTHERS)
        for folder in (self.root, self.spool, self.state, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        if open_to_others([self.root]):
            take_from_others(self.root.rglob("*"))
        take_from_others(self.guarded())

    def guarded(self) -> list[Path]:
        """The data directory, its folders, databases, logs, audit trail: nobody else has a right to them."""
        folders = [path for path in self.root.glob("*") if path.is_dir()]
        files = [path for folder in (self.state, self.logs, self.audit) for path in folder.glob("*")]
        return [*folders, *files, self.root]
