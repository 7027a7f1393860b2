"""The trail on disk: a file a day, a line of JSON an event; appended to, never rewritten, never deleted."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.audit.messages import Message

_PATTERN = "audit-*.jsonl"


class Trail:
    """Appends; several threads and processes may, a line stays whole (O_APPEND).

    Parameters
    ----------
    folder
        Where the files are; None for no trail.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def record(self, message: Message) -> None:
        """Write a line, on disk before this returns. Where it cannot be, the log says so and work goes on."""
        if self._folder is None:
            return
        line = json.dumps(message.to_document(), ensure_ascii=True) + "\n"
        try:
            self._append(self._folder, line.encode("ascii"))
        except OSError as error:
            logs.event(
                "audit.unwritten",
                level=logging.ERROR,
                code="LF-AUD-001",
                message=f"{message.event.meaning}: {error.strerror}",
            )

    def _append(self, folder: Path, line: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"audit-{datetime.now(UTC):%Y-%m-%d}.jsonl"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.geteuid() == 0:  # a command of root's must not shut the service out
                owner = folder.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)


def lines_after(folder: Path, name: str, offset: int) -> Iterator[tuple[str, int, bytes]]:
    """Whole lines behind a place in the trail: file, where the line ends in it, the line."""
    for path in _files_from(folder.glob(_PATTERN), name):
        at = offset if path.name == name else 0
        with path.open("rb") as file:
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                at += len(line)
                yield path.name, at, line


def _files_from(paths: Iterable[Path], name: str) -> list[Path]:
    return sorted(path for path in paths if path.name >= name)
