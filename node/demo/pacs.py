"""A small PACS for the demonstration and the tests: a storage SCP with an index, on loopback.

It keeps every object as it came and counts how often each was stored, so that a test can tell
"once" from "twice the same". Not for clinical images: no query, no retrieval, no access control.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lfmri_node.dicom_io.files import published_file

_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TABLE = """
CREATE TABLE IF NOT EXISTS instances (
    sop_instance_uid TEXT PRIMARY KEY,
    sop_class_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    study_instance_uid TEXT NOT NULL,
    dataset_sha256 TEXT NOT NULL,
    stores INTEGER NOT NULL,
    conflicts INTEGER NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An object that the PACS holds.

    Parameters
    ----------
    dataset_sha256
        Of the data set as it came over the wire (Explicit VR Little Endian), without file meta
        information.
    stores
        How often it was stored.
    conflicts
        How often it came again with other bytes; the first object is kept.
    """

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    dataset_sha256: str
    stores: int
    conflicts: int


def dataset_sha256(path: Path) -> str:
    """SHA-256 of a DICOM file behind its file meta information."""
    meta_length = 144 + int(dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength)
    with path.open("rb") as file:
        file.seek(meta_length)
        return hashlib.file_digest(file, "sha256").hexdigest()


class Pacs:
    """Storage SCP on ``host:port`` with an index in ``directory``; port 0 takes a free one.

    Parameters
    ----------
    before_answer
        Called with the SOP Instance UID when an object is kept and before its status is answered;
        returns the status. Lets a test stop the PACS at that very moment, or refuse.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ae_title: str = "PACS",
        host: str = "127.0.0.1",
        port: int = 0,
        before_answer: Callable[[str], int] = lambda _uid: 0x0000,
    ) -> None:
        self.ae_title = ae_title
        self.host = host
        self.port = port
        self._objects = directory / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        self.before_answer = before_answer
        self._turn = threading.Lock()
        self._index = sqlite3.connect(
            directory / "index.sqlite", check_same_thread=False, isolation_level=None
        )
        self._index.row_factory = sqlite3.Row
        self._index.execute(_TABLE)
        self._entity: AE | None = None

    def __enter__(self) -> Pacs:
        """Listen; the same port again after a stop."""
        entity = AE(ae_title=self.ae_title)
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(cast(UID, context.abstract_syntax), _SYNTAXES)
        server = entity.start_server(
            (self.host, self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert server is not None
        self.port = server.server_address[1]
        self._entity = entity
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = None

    def instances(self) -> list[Held]:
        """What the PACS holds, in the order of arrival."""
        with self._turn:
            rows = self._index.execute("SELECT * FROM instances ORDER BY rowid").fetchall()
        return [Held(path=self._path(row["sop_instance_uid"]), **dict(row)) for row in rows]

    def _path(self, uid: str) -> Path:
        return self._objects / f"{uid}.dcm"

    def _store(self, event: evt.Event) -> int:
        uid = str(cast(C_STORE, event.request).AffectedSOPInstanceUID)
        scratch = self._objects / f".{uid}.{threading.get_ident()}"
        scratch.write_bytes(event.encoded_dataset())
        digest = dataset_sha256(scratch)
        with self._turn:
            row = self._index.execute(
                "SELECT dataset_sha256 FROM instances WHERE sop_instance_uid=?", (uid,)
            ).fetchone()
            if row is None:
                self._keep(uid, scratch, digest)
            else:
                conflict = int(row["dataset_sha256"] != digest)
                self._index.execute(
                    "UPDATE instances SET stores=stores+1, conflicts=conflicts+? WHERE sop_instance_uid=?",
                    (conflict, uid),
                )
                scratch.unlink()
        return self.before_answer(uid)

    def _keep(self, uid: str, scratch: Path, digest: str) -> None:
        dataset = dcmread(scratch, stop_before_pixels=True)
        with published_file(self._path(uid)) as file:
            file.write(scratch.read_bytes())
        scratch.unlink()
        self._index.execute(
            "INSERT INTO instances VALUES (?, ?, ?, ?, ?, 1, 0)",
            (
                uid,
                str(dataset.SOPClassUID),
                str(dataset.SeriesInstanceUID),
                str(dataset.StudyInstanceUID),
                digest,
            ),
        )
