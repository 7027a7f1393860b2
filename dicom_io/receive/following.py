"""A long object is hashed and brought to the disk while the rest of it still comes."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_STEP = 1 << 24
_BLOCK = 1 << 20


class Following:
    """Follows a file that grows, in two threads: one hashes part of it, one has the disk write what is there.

    What was written is read back from the kernel's memory, so that nothing queues up in ours.

    Parameters
    ----------
    start, end
        What is hashed, bytes of the file.
    """

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = end - start
        self._asked = start
        self._digest = hashlib.sha256()
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._synced: list[Future[None]] = []

    def grown(self, size: int) -> None:
        """The file has so many bytes now; never waits, and raises nothing that `sha256` does not."""
        if size - self._asked < _STEP:
            return
        self._hashing.submit(self._hash, size - self._asked)
        self._asked = size
        if all(sync.done() for sync in self._synced):
            self._synced.append(self._syncing.submit(os.fdatasync, self._file.fileno()))

    def sha256(self) -> str:
        """Of what was to be hashed, which is there by now.

        Raises
        ------
        OSError
            It cannot be read, or the disk refused it: the kernel says so once, and a later fsync may be told
            nothing (fsync(2)).
        """
        for sync in self._synced:
            sync.result()
        self._hashing.submit(self._hash, self._left).result()
        return self._digest.hexdigest()

    def _hash(self, size: int) -> None:
        size = min(size, self._left)
        while size > 0 and (block := self._file.read(min(_BLOCK, size))):
            self._digest.update(block)
            size -= len(block)
            self._left -= len(block)

    def end(self) -> None:
        """Follow no further; returns when nothing reads the file any more."""
        self._hashing.shutdown(cancel_futures=True)
        self._syncing.shutdown(cancel_futures=True)
        self._file.close()
