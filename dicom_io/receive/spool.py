"""The spool: received Raw Data objects on disk, and the rules by which one is kept or refused.

Layout under the root, one file system:

- ``incoming/<uuid>.part``: being received. Removed at start: the sender got no success for it.
- ``objects/<SHA-256 of the SOP Instance UID>.dcm``: kept; the sender was or may be told success.
- ``quarantine/<code>-<SHA-256>.dcm``: contradicts what is kept; for a person to look at.

There is no database: what is known of the kept objects is read from their heads at start.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.files import sync_directory, sync_file
from lfmri_node.dicom_io.raw_data.block import parts_error
from lfmri_node.dicom_io.raw_data.context import contradictions, read_context
from lfmri_node.dicom_io.raw_data.payload import (
    PayloadHeader,
    open_parts,
    read_payload,
    require_same_file,
    verify,
    verify_part,
)
from lfmri_node.dicom_io.receive.incoming import IncomingObject, Limits, out_of_space
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.types import ReceivedPayload
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.types import ScanIdentity

Inspect = Callable[[BinaryIO, str], ScanIdentity]
"""``inspect(file, group)``: identifiers in the header of the ISMRMRD file; raises `ReconError`."""

_INCOMING_NAME = re.compile(r"[0-9a-f]{32}\.part")
_OBJECT_NAME = re.compile(r"[0-9a-f]{64}\.dcm")
_LOG = logging.getLogger(__name__)


class Spool:
    """Received objects of one node; safe for several associations at once, for one process.

    Parameters
    ----------
    root
        Directory; made when the spool is opened.
    inspect
        Reads the identifiers in the ISMRMRD header; without it they are not compared.
    """

    def __init__(self, root: Path, *, limits: Limits, inspect: Inspect | None = None) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._objects = root / "objects"
        self._quarantine = root / "quarantine"
        self._limits = limits
        self._inspect = inspect
        self._lock = threading.Lock()
        self._kept: dict[str, PayloadHeader] = {}

    def open(self) -> None:
        """Make the directories, remove what broken transfers left, read what is kept.

        Names are made durable: also those that a process gave just before it died.
        """
        for directory in (self._incoming, self._objects, self._quarantine):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (self._objects, self._quarantine, self._root, self._root.parent):
            sync_directory(directory)
        for path in self._incoming.iterdir():
            if _INCOMING_NAME.fullmatch(path.name):
                path.unlink()
        paths = [path for path in self._objects.iterdir() if _OBJECT_NAME.fullmatch(path.name)]
        with self._lock:
            self._kept.clear()
            for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name)):
                self._remember(path)

    def begin(self) -> IncomingObject:
        """A new object to receive into."""
        return IncomingObject(self._incoming / f"{uuid.uuid4().hex}.part", self._limits)

    def accept(
        self, incoming: IncomingObject, *, sop_class_uid: str, sop_instance_uid: str
    ) -> ReceivedPayload | None:
        """Keep a complete object, or refuse it; its file under ``incoming`` is gone afterwards.

        Order: fsync of the file (while its hash is checked), rename, fsync of the directory.

        Parameters
        ----------
        sop_class_uid, sop_instance_uid
            As the C-STORE command names them.

        Returns
        -------
        ReceivedPayload or None
            The scan, when all its parts are there; also when the object had been kept before. None
            while parts are missing.

        Raises
        ------
        PayloadError
            The object is no payload of ours, or damaged: see `read_payload`, `verify`.
        ListenerRefusal
            LF-NET-011, -012, -013: see `IncomingObject`. LF-NET-014 command and data set name
            different objects, -015 the ISMRMRD header contradicts patient or study, -016 another
            object under a known SOP Instance UID, -017 a known payload under another patient;
            LF-RAW codes where ``inspect`` cannot read the ISMRMRD header.
        """
        try:
            if incoming.refusal is not None:
                raise incoming.refusal
            header = _synced_and_verified(incoming)
            if (header.sop_class_uid, header.sop_instance_uid) != (sop_class_uid, sop_instance_uid):
                raise _other_object_than_named()
            with self._lock:
                kept = self._keep(header)
                parts = self._parts_of(kept)
        except OSError as error:
            raise out_of_space(error) from error
        finally:
            incoming.discard()
        return _received(parts) if len(parts) == kept.fields.n_parts else None

    def pending(self) -> tuple[ReceivedPayload, ...]:
        """Every complete scan that is kept, in the order of arrival; a node enqueues those without a job."""
        with self._lock:
            scans = {_scan_key(header): self._parts_of(header) for header in self._kept.values()}
        complete = [parts for parts in scans.values() if len(parts) == parts[0].fields.n_parts]
        return tuple(_received(parts) for parts in complete)

    def _keep(self, header: PayloadHeader) -> PayloadHeader:
        """Apply the rules; called with the lock held."""
        known = self._kept.get(header.sop_instance_uid)
        if known is not None and known.path.exists():
            if _fingerprint(known) == _fingerprint(header):
                return known
            raise self._quarantined(
                header,
                "LF-NET-016",
                "another object came under a SOP Instance UID that is kept already",
                Status.CHANGED_INSTANCE,
            )
        if any(other.patient != header.patient for other in self._with_payload(header.fields.sha256)):
            raise self._quarantined(
                header,
                "LF-NET-017",
                "the same measurement came under another patient",
                Status.OTHER_PATIENT,
            )
        self._check_scan(header)
        final = self._objects / f"{_sha256(header.sop_instance_uid)}.dcm"
        header.path.replace(final)
        sync_directory(self._objects)
        self._kept[header.sop_instance_uid] = replace(header, path=final)
        return self._kept[header.sop_instance_uid]

    def _check_scan(self, header: PayloadHeader) -> None:
        """Compare with the parts that are there; check the whole when this is the last one missing."""
        others = self._parts_of(header)
        require_same_file([header, *others])
        for other in others:
            if other.fields.part == header.fields.part and other.fields != header.fields:
                raise parts_error("two different parts have the same number")
        parts = _one_per_number([*others, header])
        if len(parts) < header.fields.n_parts:
            return
        if len(parts) > 1:
            verify(parts)
        self._check_identity(parts)

    def _check_identity(self, parts: list[PayloadHeader]) -> None:
        if self._inspect is None:
            return
        try:
            with open_parts(parts) as file:
                identity = self._inspect(file, parts[0].fields.group)
        except ReconError as error:
            raise ListenerRefusal(error.code, error.message, error.hint, status=Status.NOT_ISMRMRD) from error
        differing = contradictions(identity, read_context(*[part.path for part in parts]))
        if differing:
            raise ListenerRefusal(
                "LF-NET-015",
                f"the ISMRMRD header contradicts the DICOM attributes in {', '.join(differing)}",
                "find out at the gateway which one is right, and send again",
                status=Status.IDENTITY_CONTRADICTS,
            )

    def _quarantined(self, header: PayloadHeader, code: str, message: str, status: Status) -> ListenerRefusal:
        """Move the object aside; the refusal to raise."""
        header.path.replace(self._quarantine / f"{code}-{_fingerprint(header)}.dcm")
        sync_directory(self._quarantine)
        hint = "compare the object in the quarantine with the one that is kept"
        return ListenerRefusal(code, message, hint, status=status)

    def _remember(self, path: Path) -> None:
        try:
            header = read_payload(path)
        except PayloadError as error:
            _LOG.error("LF-NET-020: kept object %s cannot be read: %s", path.name, error)
            return
        self._kept[header.sop_instance_uid] = header

    def _with_payload(self, sha256: str) -> list[PayloadHeader]:
        found = [header for header in self._kept.values() if header.fields.sha256 == sha256]
        return [header for header in found if header.path.exists()]

    def _parts_of(self, header: PayloadHeader) -> list[PayloadHeader]:
        """The kept parts of the scan that an object belongs to, one a number, in order."""
        same_payload = self._with_payload(header.fields.sha256)
        return _one_per_number(other for other in same_payload if _scan_key(other) == _scan_key(header))


def _synced_and_verified(incoming: IncomingObject) -> PayloadHeader:
    """Make the file durable and check its payload, both at the same time."""
    with ThreadPoolExecutor(max_workers=1) as disk:
        synced = disk.submit(sync_file, incoming.path)
        header = read_payload(incoming.path)
        verify_part(header)
        synced.result()
    return header


def _one_per_number(headers: Iterable[PayloadHeader]) -> list[PayloadHeader]:
    """The first of each number, in order: a scan wrapped again has its parts under other UIDs too."""
    chosen: dict[int, PayloadHeader] = {}
    for header in headers:
        chosen.setdefault(header.fields.part, header)
    return [chosen[number] for number in sorted(chosen)]


def _received(parts: list[PayloadHeader]) -> ReceivedPayload:
    arrived = [part.path.stat().st_mtime for part in parts]
    last = parts[arrived.index(max(arrived))]
    return ReceivedPayload(
        path=last.path,
        sha256=last.fields.sha256,
        size_bytes=last.fields.total_size,
        sop_class_uid=last.sop_class_uid,
        sop_instance_uid=last.sop_instance_uid,
        calling_ae=last.calling_ae,
        received_at=datetime.fromtimestamp(max(arrived), UTC),
        part=last.fields.part,
        n_parts=last.fields.n_parts,
        paths=tuple(part.path for part in parts),
    )


def _scan_key(header: PayloadHeader) -> tuple[str, tuple[str, str], str]:
    return (header.fields.sha256, header.patient, header.study_instance_uid)


def _fingerprint(header: PayloadHeader) -> str:
    """Equal for objects that are equal byte for byte."""
    return _sha256(header.head_sha256 + header.fields.part_sha256)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _other_object_than_named() -> ListenerRefusal:
    return ListenerRefusal(
        "LF-NET-014",
        "command and data set name different SOP classes or instances",
        "check the sending program",
        status=Status.DATA_SET_MISMATCH,
    )
