"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sync_file(path: Path) -> None:
    """Make the content of ``path`` durable."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Make the names inside ``path`` durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private(name: str, flags: int) -> int:
    """An ``opener`` for files that nobody but their owner may read."""
    return os.open(name, flags | os.O_CLOEXEC, 0o600)


@contextmanager
def published_file(final: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is complete and durable; for its owner only.

    Yields a binary file ``.<name>.part`` beside ``final``. It is renamed to ``final`` when the block
    ends well and removed when it raises.
    """
    scratch = final.with_name(f".{final.name}.part")
    try:
        with open(scratch, "wb", opener=private) as file:
            yield file
        sync_file(scratch)
        scratch.replace(final)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_directory(final.parent)
