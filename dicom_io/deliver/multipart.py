"""A multipart/related payload of DICOM files (PS3.18 8.6.1.2, RFC 2046), read from disk while it is sent."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_LINE = b"\r\n"


class Multipart:
    """Body of a request, as `requests` takes one of a length that is known before it is sent.

    Parameters
    ----------
    paths
        DICOM files, one a part.
    boundary
        Occurs in none of them.
    """

    def __init__(self, paths: Sequence[Path], *, boundary: str) -> None:
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._paths = paths
        self._before = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        self._end = f"--{boundary}--\r\n".encode("ascii")
        around = len(paths) * (len(self._before) + len(_LINE)) + len(self._end)
        self._length = around + sum(path.stat().st_size for path in paths)
        self._pieces = self._opened()
        self._piece: BinaryIO = io.BytesIO()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1 << 16), b"")

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end."""
        while True:
            data = self._piece.read(size)
            if data:
                return data
            following = next(self._pieces, None)
            if following is None:
                return b""
            self._piece.close()
            self._piece = following

    def _opened(self) -> Iterator[BinaryIO]:
        for path in self._paths:
            yield io.BytesIO(self._before)
            yield path.open("rb")
            yield io.BytesIO(_LINE)
        yield io.BytesIO(self._end)
