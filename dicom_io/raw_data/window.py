"""One readable file made of pieces of other files: the payload of one Raw Data object or of several."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """``size`` bytes of a file from ``offset``."""

    path: Path
    offset: int
    size: int


class SegmentWindow(io.RawIOBase):
    """Seekable, read-only view of segments, one after the other, without a copy.

    HDF5 files are opened through it in place (``h5py.File(window, "r")``). A read fills the buffer
    unless the end is reached, as h5py's file object driver expects. Not for use by two threads at
    once.

    Raises
    ------
    OSError
        A file is missing, or shorter than its segment.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        super().__init__()
        self._ends = list(accumulate(segment.size for segment in segments))
        self._segments = tuple(segments)
        self._position = 0
        self._descriptors: list[int] = []
        try:
            for segment in segments:
                self._descriptors.append(os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of all segments together."""
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("seek before the start of the window")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.size:
            done += self._read_piece(view[done:])
        return done

    def blocks(self) -> Iterator[memoryview]:
        """The bytes from here to the end through one buffer: each block is valid until the next."""
        buffer = memoryview(bytearray(_BLOCK))
        while count := self.readinto(buffer):
            yield buffer[:count]

    def _read_piece(self, view: memoryview) -> int:
        """Fill as much of ``view`` as one read of one segment gives."""
        index = bisect_right(self._ends, self._position)
        segment = self._segments[index]
        within = self._position - (self._ends[index] - segment.size)
        count = os.preadv(self._descriptors[index], [view[: segment.size - within]], segment.offset + within)
        if count == 0:
            raise OSError("the file is shorter than its payload")
        self._position += count
        return count

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
        super().close()
