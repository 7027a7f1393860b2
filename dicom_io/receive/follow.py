"""Hash and sync a file while it is still being received, so that little is left to do at its end."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.payload import locate_payload
from lfmri_node.dicom_io.raw_data.window import Segment

_BLOCK = 1 << 20
_STEP = 1 << 23
_SYNC_STEP = 1 << 26
_STALLED_S = 300


class Follower:
    """Runs behind the writer of one file, in a thread of its own.

    Every 64 MiB the data are made durable (fdatasync), which keeps the fsync at the end short, and
    the payload is hashed as far as it has come. Both release the interpreter lock. The writer calls
    `grown` and in the end `finish`; files below 8 MiB are not followed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._growth = threading.Condition()
        self._size = 0
        self._ended = False
        self._digest: Future[tuple[Segment, str] | None] | None = None
        self._executor: ThreadPoolExecutor | None = None

    def grown(self, size: int) -> None:
        """The file is ``size`` bytes long by now."""
        if size < self._size + _STEP:
            return
        with self._growth:
            self._size = size
            self._growth.notify()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="follow")
            self._digest = self._executor.submit(self._follow)

    def finish(self, size: int) -> None:
        """The file is complete with ``size`` bytes; 0 when it is given up. Nothing is waited for."""
        with self._growth:
            self._size = size
            self._ended = True
            self._growth.notify()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def digest(self, segment: Segment) -> str | None:
        """SHA-256 of a segment of the finished file; None where it was not followed.

        Raises
        ------
        OSError
            Reading or syncing has failed.
        """
        found = self._digest.result() if self._digest is not None else None
        return found[1] if found is not None and found[0] == segment else None

    def _follow(self) -> tuple[Segment, str] | None:
        try:
            segment = locate_payload(self._path)
        except PayloadError:
            return None  # told by whoever reads the complete file
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        position, end, synced = segment.offset, segment.offset + segment.size, 0
        with self._path.open("rb", buffering=0) as file:
            file.seek(position)
            while position < end and (size := self._wait_beyond(position)) > position:
                while position < min(size, end):
                    count = file.readinto(buffer[: min(size, end) - position])
                    if not count:
                        raise OSError("the file is shorter than what was written")
                    digest.update(buffer[:count])
                    position += count
                if position - synced >= _SYNC_STEP:
                    os.fdatasync(file.fileno())
                    synced = position
        return (segment, digest.hexdigest()) if position == end else None

    def _wait_beyond(self, position: int) -> int:
        """The size of the file, once it is longer than ``position``; else the file has ended or stalled."""
        with self._growth:
            self._growth.wait_for(lambda: self._size > position or self._ended, timeout=_STALLED_S)
            return self._size
