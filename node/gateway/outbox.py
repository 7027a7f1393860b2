"""A gateway's queue on disk: what is known of each file of a watched folder, until the node has it.

In the folder itself a file waits; ``sent`` and ``failed`` have what is done. ``.lfmri-queue`` has what a kill
must not lose of one that is under way: ``<id>.json``, a note; ``<id>.h5``, what a converter made of it. An id
follows from name, size and time, so that another file under the same name is another one. A step is on disk
before the next begins, and each can be done twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lfmri_node.dicom_io.files import published_file, sync_directory, sync_file
from lfmri_node.node.arrivals import Arrival, free_name, move_aside
from lfmri_node.node.errors import NodeError
from lfmri_node.node.files import write_text

QUEUE, SENT, FAILED = ".lfmri-queue", "sent", "failed"
SIDECAR = ".identity.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of a file.

    Parameters
    ----------
    sent
        The node has promised it.
    tries
        In a row that failed for a passing reason.
    crashes
        Of the sending process; a file that does so again and again is put aside.
    code
        Of the last try that failed.
    """

    sent: bool = False
    tries: int = 0
    crashes: int = 0
    code: str = ""


class Outbox:
    """The queue of one watched folder; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._queue = folder / QUEUE

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that watches this folder, and sweep up what a kill left.

        Raises
        ------
        NodeError
            LF-GWY-001 where another process does.
        """
        self._queue.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._queue / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in self._queue.glob("*.part*"):
                path.unlink(missing_ok=True)
            yield
        except BlockingIOError:
            raise NodeError("LF-GWY-001", "another process watches this folder", "let it do so") from None
        finally:
            os.close(descriptor)

    def note(self, arrival: Arrival) -> Note:
        """What is known; nothing of a file that is new, or whose note is damaged."""
        try:
            return Note(**json.loads(self._path(arrival, ".json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return Note()

    def keep(self, arrival: Arrival, note: Note) -> Note:
        """Write down what is known."""
        with published_file(self._path(arrival, ".json")) as file:
            file.write(json.dumps(asdict(note)).encode("ascii"))
        return note

    def converted(self, arrival: Arrival) -> Path | None:
        """What a converter made of a file, complete; None where it has not been done."""
        path = self._path(arrival, ".h5")
        return path if path.exists() else None

    def scratch(self, arrival: Arrival) -> Path:
        """Where a converter may write; no other process does, though an earlier one may still run."""
        return self._path(arrival, f".{os.getpid()}.part.h5")

    def keep_converted(self, arrival: Arrival, scratch: Path) -> Path:
        """Give what a converter wrote its name, durably."""
        final = self._path(arrival, ".h5")
        sync_file(scratch)
        scratch.replace(final)
        sync_directory(self._queue)
        return final

    def log(self, arrival: Arrival) -> Path:
        """What the converter prints."""
        return self._path(arrival, ".part.log")

    def sidecar(self, arrival: Arrival) -> Path | None:
        """The file of DICOM attributes beside a file, where there is one."""
        path = arrival.path.with_name(arrival.path.name + SIDECAR)
        return path if path.is_file() else None

    def finish(self, arrival: Arrival) -> None:
        """The node has it: note that first, then move the file, then forget it."""
        self.keep(arrival, replace(self.note(arrival), sent=True))
        self._move(arrival, self.folder / SENT)
        self._forget(arrival)

    def fail(self, arrival: Arrival, error: NodeError) -> None:
        """Put a file aside, with the reason and what its converter printed; it is not tried again there."""
        folder = self.folder / FAILED
        folder.mkdir(exist_ok=True)
        final = free_name(arrival.path, folder)
        write_text(
            final.with_name(f"{final.name}.txt"),
            f"{error.code}: {error.message}\n{error.hint}\nTo try again, put it back where it lay.\n",
        )
        with suppress(FileNotFoundError):
            self.log(arrival).replace(final.with_name(f"{final.name}.log"))
        self._move(arrival, folder)
        self._forget(arrival)

    def _move(self, arrival: Arrival, folder: Path) -> None:
        sidecar = self.sidecar(arrival)
        final = move_aside(arrival.path, folder)
        if sidecar is not None:
            sidecar.replace(final.with_name(final.name + SIDECAR))

    def _forget(self, arrival: Arrival) -> None:
        for suffix in (".h5", ".part.log", ".json"):
            self._path(arrival, suffix).unlink(missing_ok=True)

    def name_of(self, arrival: Arrival) -> str:
        """How logs call a file, whose own name may be a patient's."""
        said = json.dumps([arrival.path.name, arrival.size, arrival.mtime_ns])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def _path(self, arrival: Arrival, suffix: str) -> Path:
        return self._queue / f"{self.name_of(arrival)}{suffix}"
