"""Files that appear in a folder: which of them are whole, and where they go afterwards.

Nobody says when a file is complete. One that is still being written is left alone: temporary names and dot
files; what has changed within the settling time; what a process of this machine has open for writing; what
cannot be read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.dicom_io.files import sync_directory

_TEMPORARY = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A file that has settled: its path, bytes, and modification time in ns; another is another arrival."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def age_s(self) -> float:
        """Seconds since it was changed, by the clock; never below zero."""
        return max(0.0, time.time() - self.mtime_ns / 1e9)


class Arrivals:
    """Looks at one folder again and again.

    Parameters
    ----------
    settle_s
        A file has settled when it has looked the same for so long, by our own clock.
    suffixes
        In lower case; of other names nothing is looked at. Empty: every name.
    ignored
        Ends of names, in lower case, that are left alone beside the temporary ones.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settle_s: float,
        suffixes: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._suffixes = suffixes
        self._ignored = (*_TEMPORARY, *ignored)
        self._seen: dict[Arrival, float] = {}

    def settled(self) -> list[Arrival]:
        """Whole files, those that have waited longest first.

        Raises
        ------
        OSError
            The folder cannot be read.
        """
        present, moment = list(self.present()), time.monotonic()
        self._seen = {item: self._seen.get(item, moment) for item in present}
        ready = [item for item in present if moment - self._seen[item] >= self._settle_s and _is_closed(item)]
        return sorted(ready, key=lambda item: (item.mtime_ns, item.path.name))

    @property
    def n_waiting(self) -> int:
        """Files of the last look, settled or not."""
        return len(self._seen)

    def present(self) -> Iterator[Arrival]:
        """Every file that may settle, as it is now.

        Raises
        ------
        OSError
            The folder cannot be read.
        """
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.startswith(".") or name.endswith(self._ignored):
                    continue
                if self._suffixes and not name.endswith(self._suffixes):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode) and found.st_size > 0:
                    yield Arrival(path=Path(entry.path), size=found.st_size, mtime_ns=found.st_mtime_ns)


def _is_closed(arrival: Arrival) -> bool:
    """Whether it can be read and nobody on this machine writes it (a read lease, fcntl(2)).

    The kernel grants a lease to the owner of a file only, and not on every file system: where it says so,
    nothing is known, and the settling time has to do.
    """
    try:
        with opened(arrival) as descriptor:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # not SIGIO, which would end the process
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM, errno.EINVAL) and os.access(arrival.path, os.R_OK)
    return True


@contextmanager
def opened(arrival: Arrival) -> Iterator[int]:
    """A descriptor of the very file, for reading; never of what a link leads to.

    Raises
    ------
    OSError
        It is gone, cannot be read, or is another file by now (ESTALE).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(arrival.path, flags)
    try:
        require_unchanged(arrival, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def require_unchanged(arrival: Arrival, descriptor: int) -> None:
    """Check that the file is what it was when it had settled; ESTALE otherwise."""
    found = os.fstat(descriptor)
    same = (found.st_size, found.st_mtime_ns) == (arrival.size, arrival.mtime_ns)
    if not same or not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(arrival.path))


def move_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder beside it, durably, under a name that is free there; its new path."""
    folder.mkdir(exist_ok=True)
    final = free_name(path, folder)
    path.rename(final)
    sync_directory(folder)
    sync_directory(path.parent)
    return final


def free_name(path: Path, folder: Path) -> Path:
    """The name of ``path`` in ``folder``, with a number where it is taken."""
    names = (f"{path.stem}{f'-{n}' if n else ''}{path.suffix}" for n in range(1_000_000))
    return next(folder / name for name in names if not (folder / name).exists())
