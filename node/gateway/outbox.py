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
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lfmri_node.dicom_io.files import published_file, sync_directory, sync_file
from lfmri_node.node.arrivals import Arrival, free_name, move_aside
from lfmri_node.node.errors import NodeError
from lfmri_node.node.files import write_text

QUEUE, SENT, FAILED = ".lfmri-queue", "sent", "failed"
SIDECAR = ".identity.toml"
_WORK = "work-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of a file.

    Parameters
    ----------
    sent
        The node has promised it.
    failed
        It is to be put aside; why lies there already.
    tries
        In a row that failed for a passing reason.
    crashes
        Of the sending process; a file that does so again and again is put aside.
    code
        Of the last try that failed.
    """

    sent: bool = False
    failed: bool = False
    tries: int = 0
    crashes: int = 0
    code: str = ""


class Outbox:
    """The queue of one watched folder; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._queue = folder / QUEUE
        self._run = uuid.uuid4().hex

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
            for folder in self._queue.glob(f"{_WORK}*"):
                shutil.rmtree(folder, ignore_errors=True)
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
        """Where a converter may write, and none of another run: what that writes is never taken."""
        return self._path(arrival, f".{self._run}.part.h5")

    def keep_converted(self, arrival: Arrival, scratch: Path) -> Path:
        """Give what a converter wrote its name, durably."""
        final = self._path(arrival, ".h5")
        sync_file(scratch)
        scratch.replace(final)
        sync_directory(self._queue)
        return final

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for what is made of a file; gone afterwards, or at the next start."""
        with TemporaryDirectory(prefix=_WORK, dir=self._queue) as folder:
            yield Path(folder)

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
        self.move(arrival, SENT)

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
        self.keep(arrival, replace(self.note(arrival), failed=True))
        self.move(arrival, FAILED)

    def move(self, arrival: Arrival, name: str) -> None:
        """Move a file that is done with into ``sent`` or ``failed``, then forget it.

        Its identity goes first: left behind, it would be that of the next file of this name.
        """
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        sidecar = self.sidecar(arrival)
        if sidecar is not None:
            final = free_name(arrival.path, folder)
            sidecar.replace(final.with_name(final.name + SIDECAR))
        move_aside(arrival.path, folder)
        self._forget(self.name_of(arrival))

    def sweep(self, present: Iterable[Arrival]) -> None:
        """Forget what belongs to none of these files: they were moved, by us before a kill or by somebody."""
        known = {self.name_of(arrival) for arrival in present}
        for name in {path.name.partition(".")[0] for path in self._queue.glob("*.*")} - known:
            self._forget(name)

    def _forget(self, name: str) -> None:
        for suffix in (".h5", ".part.log", ".json"):
            (self._queue / f"{name}{suffix}").unlink(missing_ok=True)

    def name_of(self, arrival: Arrival) -> str:
        """How logs call a file, whose own name may be a patient's."""
        said = json.dumps([arrival.path.name, arrival.size, arrival.mtime_ns])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def _path(self, arrival: Arrival, suffix: str) -> Path:
        return self._queue / f"{self.name_of(arrival)}{suffix}"
