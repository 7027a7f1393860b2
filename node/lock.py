"""One live node for each data directory: an exclusive lock on a file in its state directory."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType

from lfmri_node.node.errors import JobError

_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: type, whence, start, length, process
_WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)


class DataLock:
    """Exclusive lock on ``node.lock`` in ``directory``; the kernel frees it however the holder ends.

    Two nodes on one data directory would run each other's jobs and remove each other's files, so a second
    one is turned away. An open file description lock (``fcntl(2)``, F_OFD_SETLK): whether it is held can
    be asked without taking it, so `holder` never stands in the way of a node that starts. The file holds
    the process id of its holder, for people.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "node.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> DataLock:
        """Take the lock.

        Raises
        ------
        JobError
            LF-JOB-002 where another live process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, *_WHOLE_FILE))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another description holds it
            process = _written(descriptor)
            os.close(descriptor)
            raise JobError(
                "LF-JOB-002",
                f"a node serves this data directory already (process {process or 'unknown'})",
                "stop that process, or give this node a node.data_dir of its own",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def holder(directory: Path) -> int | None:
    """Process id of the live node of this state directory (0: not known yet); None where there is none."""
    try:
        descriptor = os.open(directory / "node.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, *_WHOLE_FILE)
        found = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
        return None if found[0] == fcntl.F_UNLCK else _written(descriptor)
    finally:
        os.close(descriptor)


def _written(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
