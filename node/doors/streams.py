"""Streams on disk: what comes in by the MRD door, byte for byte, until it is a job or somebody decides.

``spool/streams/<name>``, one file system with the spool, for the user of the service only:

- ``.part``: being received. After a kill of the node what is left is cut off like any other.
- ``.mrd``: its close message came and it is on disk; it becomes a job, now or at the next start.
- ``.cut``, ``.refused``: ended before its close message, or cannot become a job; kept, never a job.

Beside each ``.json``, a note without patient data: who sent it, when, how much, and why it stays.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from io import BufferedWriter
from pathlib import Path

from lfmri_node.dicom_io.files import private, published_file, sync_directory, sync_file
from lfmri_node.node.doors.frames import Course, Kind, Read, cut_off, exactly, frames
from lfmri_node.node.errors import DoorError

DIRECTORY = "streams"
_COPY_BYTES = 1 << 20
_SPACE_CHECK_BYTES = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamNote:
    """One stream that is kept.

    Parameters
    ----------
    name
        Of its file; 32 hex digits.
    last_at
        When the last of it came; aware.
    code, message, hint
        Why it is no job; "" while nothing speaks against it.
    tries
        Conversions that ended without an answer.
    """

    name: str
    ae_title: str
    last_at: datetime
    n_acquisitions: int = 0
    n_bytes: int = 0
    code: str = ""
    message: str = ""
    hint: str = ""
    tries: int = 0

    def after(self, error: DoorError) -> StreamNote:
        """With the reason why it stays."""
        return replace(self, code=error.code, message=error.message, hint=error.hint)


class Streams:
    """The streams below a spool; `open` first.

    Parameters
    ----------
    max_bytes
        Of one stream; may be replaced at any time.
    min_free_bytes
        Must remain on the disk.
    """

    def __init__(self, spool: Path, *, max_bytes: int, min_free_bytes: int) -> None:
        self._folder = spool / DIRECTORY
        self.max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes

    def open(self) -> None:
        """Make the folder; what a killed node was receiving is kept as cut off."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.glob("*.part"):
            note = _read(path.with_suffix(".json"))
            if note is None:
                path.unlink()
                continue
            self._keep_cut(path, note, cut_off())
        for path in self._folder.glob("*.json"):
            if not any(path.with_suffix(kind).exists() for kind in (".mrd", ".cut", ".refused")):
                path.unlink()
        sync_directory(self._folder)

    def receive(self, read: Read, ae_title: str, begun: Callable[[], None]) -> Path:
        """Write a stream down as it comes, up to its close; it is on disk, complete, when this returns.

        Parameters
        ----------
        begun
            Called when the ISMRMRD header has come.

        Raises
        ------
        DoorError
            LF-DOR-001 to -003 as `frames`; LF-DOR-004 too long, or no room. What came is kept, where an
            acquisition was in it.
        """
        path = self._folder / f"{uuid.uuid4().hex}.part"
        note = StreamNote(name=path.stem, ae_title=ae_title, last_at=datetime.now(UTC))
        try:
            with _room():
                self._write(path.with_suffix(".json"), note)
                with open(path, "wb", opener=private) as file:
                    self._copy(read, file, begun)
                sync_file(path)
        except DoorError as error:
            self._keep_cut(path, replace(note, last_at=datetime.now(UTC)), error)
            raise
        final = path.with_suffix(".mrd")
        with _room():
            path.replace(final)
            sync_directory(self._folder)
        return final

    def _copy(self, read: Read, file: BufferedWriter, begun: Callable[[], None]) -> None:
        written = check_at = 0
        for frame in frames(read, Course()):
            written += len(frame.head) + frame.body_bytes
            if written > self.max_bytes:
                raise _no_place(f"the stream is longer than {self.max_bytes} bytes")
            if written >= check_at:
                check_at = written + _SPACE_CHECK_BYTES
                if shutil.disk_usage(self._folder).free < self._min_free_bytes + frame.body_bytes:
                    raise _no_place("free space is below its floor")
            file.write(frame.head)
            left = frame.body_bytes
            while left:
                piece = exactly(read, min(left, _COPY_BYTES))
                file.write(piece)
                left -= len(piece)
            if frame.kind is Kind.HEADER:
                begun()

    def _keep_cut(self, path: Path, note: StreamNote, error: DoorError) -> None:
        """Keep what came of a stream that ended early; of one without an acquisition there is nothing."""
        n_acquisitions = survey(path) if path.exists() else 0
        if not n_acquisitions:
            self.remove(path)
            return
        with _room():
            sync_file(path)
            note = replace(note, n_acquisitions=n_acquisitions, n_bytes=path.stat().st_size).after(error)
            self._write(path.with_suffix(".json"), note)
            path.replace(path.with_suffix(".cut"))
            sync_directory(self._folder)

    def refuse(self, path: Path, error: DoorError) -> None:
        """Keep a complete stream that cannot become a job."""
        self._write(path.with_suffix(".json"), self.note_of(path).after(error))
        path.replace(path.with_suffix(".refused"))
        sync_directory(self._folder)

    def count_try(self, path: Path) -> int:
        """Note that a conversion of a complete stream ended without an answer; how many have."""
        note = self.note_of(path)
        self._write(path.with_suffix(".json"), replace(note, tries=note.tries + 1))
        return note.tries + 1

    def forget_beginnings(self, path: Path) -> None:
        """Remove what was kept of earlier tries to send a stream that has come whole."""
        for cut in self._folder.glob("*.cut"):
            if _begins_with(path, cut):
                self.remove(cut)

    def remove(self, path: Path) -> None:
        """Forget a stream whose job is on record."""
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)

    def complete(self) -> list[Path]:
        """Streams that wait to become jobs, the oldest first."""
        return sorted(self._folder.glob("*.mrd"), key=lambda path: path.stat().st_mtime)

    def note_of(self, path: Path) -> StreamNote:
        """The note of a stream; of one whose note was lost, what its file says."""
        found = _read(path.with_suffix(".json"))
        if found is not None:
            return found
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return StreamNote(name=path.stem, ae_title="", last_at=at)

    def _write(self, path: Path, note: StreamNote) -> None:
        with published_file(path) as file:
            file.write(json.dumps({**asdict(note), "last_at": note.last_at.isoformat()}).encode("ascii"))


def kept_streams(spool: Path) -> list[StreamNote]:
    """Streams that became no job, the oldest first: cut off, or refused."""
    folder = spool / DIRECTORY
    paths = [path for kind in ("*.cut", "*.refused") for path in folder.glob(kind)]
    notes = [note for path in paths if (note := _read(path.with_suffix(".json"))) is not None]
    return sorted(notes, key=lambda note: note.last_at)


def files_of(spool: Path, note: StreamNote) -> list[Path]:
    """What lies on disk of a stream that is kept."""
    return sorted((spool / DIRECTORY).glob(f"{note.name}.*"))


def survey(path: Path) -> int:
    """How many whole acquisitions a file holds, as far as it goes; their samples are skipped."""
    n_acquisitions, size = 0, path.stat().st_size
    with path.open("rb") as file, suppress(DoorError):
        for frame in frames(file.read, Course()):
            n_acquisitions += frame.kind is Kind.ACQUISITION and file.tell() + frame.body_bytes <= size
            file.seek(frame.body_bytes, os.SEEK_CUR)
    return n_acquisitions


@contextmanager
def _room() -> Iterator[None]:
    """Turn what the disk says into LF-DOR-004."""
    try:
        yield
    except OSError as error:
        raise _no_place(f"the spool cannot take the stream ({error.strerror})") from error


def _no_place(message: str) -> DoorError:
    return DoorError(
        "LF-DOR-004",
        message,
        "make room on the disk of node.data_dir, or raise mrd.max_gb; then send the measurement again",
    )


def _begins_with(path: Path, beginning: Path) -> bool:
    """Whether a file begins with all bytes of another."""
    with path.open("rb") as whole, beginning.open("rb") as part:
        while piece := part.read(_COPY_BYTES):
            if whole.read(len(piece)) != piece:
                return False
    return True


def _read(path: Path) -> StreamNote | None:
    try:
        document = json.loads(path.read_bytes())
        return StreamNote(**{**document, "last_at": datetime.fromisoformat(document["last_at"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
