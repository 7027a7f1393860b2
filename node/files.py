"""Directories and small files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lfmri_node.dicom_io.files import published_file, sync_directory, sync_file


@contextmanager
def published_directory(final: Path, *, epoch: int = 0) -> Iterator[Path]:
    """Fill a directory that appears under its name only when it is complete and durable.

    Yields a fresh directory ``.<name>.<epoch>-<process id>`` beside ``final``; when the block ends well its
    files are synced and it is renamed. What an earlier try left is removed first.

    Parameters
    ----------
    epoch
        Of the process that the work is done for. Where several share the folder, one that was taken for dead
        may still be at it: it removes nothing of a later one, and whoever is complete first stays.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for leftover in final.parent.glob(f".{final.name}.*"):
        if _epoch_of(leftover) <= epoch:
            shutil.rmtree(leftover)
    scratch = final.parent / f".{final.name}.{epoch}-{os.getpid()}"
    scratch.mkdir()
    yield scratch
    for path in sorted(scratch.rglob("*")):
        if path.is_dir():
            sync_directory(path)
        else:
            sync_file(path)
    sync_directory(scratch)
    try:
        scratch.rename(final)  # refused where a complete one is there
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(scratch)
    sync_directory(final.parent)


def _epoch_of(scratch: Path) -> int:
    epoch = scratch.suffix.removeprefix(".").partition("-")[0]
    return int(epoch) if epoch.isdigit() and "-" in scratch.suffix else 0


@contextmanager
def published_path(final: Path, *, epoch: int = 0) -> Iterator[Path]:
    """Like `dicom_io.files.published_file` for writers that want a path; keeps the suffix.

    Whoever is complete first stays, see `published_directory`.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = final.with_name(f".part.{epoch}.{final.name}")
    scratch.unlink(missing_ok=True)
    yield scratch
    sync_file(scratch)
    with suppress(FileExistsError):
        final.hardlink_to(scratch)
    scratch.unlink()
    sync_directory(final.parent)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with published_file(path) as file:
        file.write(text.encode("utf-8"))


OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that exist and that group or others may read, write or enter."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):  # SQLite removes its files when it is done
            if path.stat().st_mode & OTHERS:
                found.append(path)
    return found


def take_from_others(paths: Iterable[Path]) -> None:
    """Leave the user's own permissions alone and take all others away."""
    for path in open_to_others(paths):
        with suppress(FileNotFoundError):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)


def try_to_write(path: Path) -> Path:
    """Make a folder where ``path`` is or will be, and remove it; `os.access` does not know every disk.

    Returns
    -------
    The nearest folder that exists.

    Raises
    ------
    OSError
        Nothing can be written there.
    """
    folder = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), Path("/"))
    with tempfile.TemporaryDirectory(prefix=".try-", dir=folder):
        return folder
