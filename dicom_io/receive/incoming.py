"""An object on its way into a file of the spool: checked while it comes, its head once it is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pydicom.uid import UID
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.files import private
from lfmri_node.dicom_io.raw_data.head import MAX_HEAD_BYTES
from lfmri_node.dicom_io.raw_data.payload import PayloadHeader, read_begun
from lfmri_node.dicom_io.receive.following import Following
from lfmri_node.dicom_io.status import Status

_SPACE_CHECK = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes: longest data set of one object, and the free space that must remain beside it."""

    max_object_bytes: int
    min_free_bytes: int


class IncomingObject:
    """A data set on its way into a file.

    Problems do not raise, they become ``refusal``: the rest of the data set is then read from the
    network and dropped, so that the sender gets a status instead of a broken connection.

    Attributes
    ----------
    size
        Bytes of the data set received so far.
    header
        Of a long object, once its head has come: the rest of an object that will be refused takes
        no room, and its association makes way for another.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.refusal: ListenerRefusal | PayloadError | None = None
        self.header: PayloadHeader | None = None
        self.size = 0
        self._limits = limits
        self._check_at = 0
        self._file: FileIO | None = None
        self._following: Following | None = None

    def open(self, *, sop_class_uid: str, sop_instance_uid: str, syntax: str, calling_ae: str) -> None:
        """Create the file with preamble and file meta information (PS3.10 7.1)."""
        try:
            meta = create_file_meta(
                sop_class_uid=UID(sop_class_uid),
                sop_instance_uid=UID(sop_instance_uid),
                transfer_syntax=UID(syntax),
            )
            meta.SourceApplicationEntityTitle = calling_ae
            self._file = FileIO(self.path, "xb", opener=private)
            self._append(memoryview(bytes(128) + b"DICM" + encode_file_meta(meta)))
        except OSError as error:
            self.refuse(out_of_space(error))
        except ValueError:
            self.refuse(malformed_command())

    def write(self, piece: memoryview) -> None:
        """Append a piece, unless the object is refused already."""
        self.size += len(piece)
        if self.refusal is not None or self._file is None:
            return
        try:
            if self.size >= self._check_at:
                self._check_limits()
            if self.refusal is None:
                self._append(piece)
                if self.header is None and self.size > MAX_HEAD_BYTES:
                    self._follow(read_begun(self.path))
                elif self._following is not None:
                    self._following.grown(self._file.tell())
        except PayloadError as refusal:
            self.refuse(refusal)
        except OSError as error:
            self.refuse(out_of_space(error))

    def finish(self) -> None:
        """The data set is complete."""
        if self.size == 0:
            self.refuse(malformed_command())
        if self.refusal is None:
            self._close()

    def _follow(self, header: PayloadHeader) -> None:
        self.header = header
        self._following = Following(self.path, header.offset, header.offset + header.fields.size)

    def payload_sha256(self) -> str | None:
        """Of the payload of a complete object, where it was hashed while it came.

        Raises
        ------
        OSError
            It cannot be read.
        """
        return self._following.sha256() if self._following is not None else None

    def refuse(self, refusal: ListenerRefusal | PayloadError) -> None:
        """Note the first reason and remove the file."""
        self.refusal = self.refusal or refusal
        self.discard()

    def discard(self) -> None:
        """Remove the file, if it has not been moved away."""
        self._close()
        following, self._following = self._following, None
        if following is not None:
            following.end()
        self.path.unlink(missing_ok=True)

    def _append(self, piece: memoryview) -> None:
        """Write all of a piece; a write to a file may stop short when the disk is nearly full."""
        while self._file is not None and piece:
            piece = piece[self._file.write(piece) :]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _check_limits(self) -> None:
        self._check_at = min(self.size + _SPACE_CHECK, self._limits.max_object_bytes + 1)
        if self.size > self._limits.max_object_bytes:
            self.refuse(
                ListenerRefusal(
                    "LF-NET-011",
                    f"the object is longer than {self._limits.max_object_bytes} bytes",
                    "send smaller parts, or raise max_payload_bytes",
                    status=Status.TOO_LARGE,
                )
            )
        elif shutil.disk_usage(self.path.parent).free < self._limits.min_free_bytes:
            self.refuse(out_of_space("free space is below its floor"))


def malformed_command(status: Status = Status.UNREADABLE) -> ListenerRefusal:
    """LF-NET-013."""
    return ListenerRefusal(
        "LF-NET-013",
        "the C-STORE request is malformed or has no data set",
        "check the sending program",
        status=status,
    )


def out_of_space(cause: OSError | str) -> ListenerRefusal:
    """LF-NET-012."""
    words = cause.strerror if isinstance(cause, OSError) else cause
    return ListenerRefusal(
        "LF-NET-012",
        f"the spool cannot take the object: {words}",
        "make room on the spool's file system, or check the disk",
        status=Status.OUT_OF_RESOURCES,
    )
