"""The spool: received Raw Data objects on disk, and the rules by which one is kept or refused.

Layout under the root, one file system, for the user of the service only:

- ``incoming/<uuid>.part``: being received. Removed at start: the sender got no success for it.
- ``objects/<SHA-256 of the SOP Instance UID>.dcm``: kept; the sender was or may be told success. Beside
  it ``.json``, what its head says (`raw_data.received`).
- ``incomplete/<name>.json``: scans that wait for parts (`receive.incomplete`).
- ``quarantine/<code>-<SHA-256>.dcm``: contradicts what is kept; for a person to look at.
- ``accepted/<SHA-256>.dcm``: a person decided that it follows what it contradicts; it has its job.

There is no database: what is known of the kept objects is read from the values beside them at start. What
an object carries is not looked into here: the ISMRMRD file is opened by the worker, which may be killed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.files import sync_directory, sync_file
from lfmri_node.dicom_io.raw_data.block import parts_error
from lfmri_node.dicom_io.raw_data.payload import (
    PayloadHeader,
    completed,
    read_payload,
    require_same_file,
    verify,
    verify_part,
)
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement, recall, remember
from lfmri_node.dicom_io.receive.incoming import IncomingObject, Limits, out_of_space
from lfmri_node.dicom_io.receive.incomplete import DIRECTORY, IncompleteScan, incomplete_scans
from lfmri_node.dicom_io.status import Status

_INCOMING_NAME = re.compile(r"[0-9a-f]{32}\.part")
_OBJECT_NAME = re.compile(r"[0-9a-f]{64}\.dcm")
_LOG = logging.getLogger(__name__)


class Spool:
    """Received objects of one node; safe for several associations at once, for one process.

    Parameters
    ----------
    root
        Directory; made when the spool is opened.
    """

    def __init__(self, root: Path, *, limits: Limits) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._objects = root / "objects"
        self._quarantine = root / "quarantine"
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: dict[str, PayloadHeader] = {}

    def open(self) -> None:
        """Make the directories, remove what broken transfers left, read what is kept.

        Names are made durable: also those that a process gave just before it died.
        """
        directories = (self._incoming, self._objects, self._quarantine, self._root / DIRECTORY)
        for directory in (self._root, *directories):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        for directory in (self._objects, self._quarantine, self._root, self._root.parent):
            sync_directory(directory)
        for path in self._incoming.iterdir():
            if _INCOMING_NAME.fullmatch(path.name):
                path.unlink()
        with self._lock:
            self._kept.clear()
            for path in self._objects.iterdir():
                if _OBJECT_NAME.fullmatch(path.name):
                    self._recall(path)
                elif path.suffix == ".json" and not path.with_suffix(".dcm").exists():
                    path.unlink()
            self._kept = dict(sorted(self._kept.items(), key=lambda item: item[1].received_at))
            for scan in incomplete_scans(self._root):
                scan.remove(self._root)
            with suppress(OSError):  # a full disk must not keep the node from starting
                for parts in self._scans():
                    self._note_missing(parts)

    def begin(self) -> IncomingObject:
        """A new object to receive into."""
        return IncomingObject(self._incoming / f"{uuid.uuid4().hex}.part", self._limits)

    def adopt(self, path: Path) -> IncomingObject:
        """A complete object in a file of this file system, which leaves its place."""
        incoming = self.begin()
        path.replace(incoming.path)
        return incoming

    def accept(
        self, incoming: IncomingObject, *, sop_class_uid: str, sop_instance_uid: str
    ) -> ReceivedMeasurement | None:
        """Keep a complete object, or refuse it; its file under ``incoming`` is gone afterwards.

        Order: fsync of the file (and the end of its hash), rename, value beside it, fsync of the directory.

        Parameters
        ----------
        sop_class_uid, sop_instance_uid
            As the C-STORE command names them.

        Returns
        -------
        ReceivedMeasurement or None
            When all its parts are there; also when the object had been kept before. None while parts
            are missing, and where an operator had accepted the object, which has its job.

        Raises
        ------
        PayloadError
            The object is no payload of ours, or damaged: see `read_payload`, `verify`.
        ListenerRefusal
            LF-NET-011, -012, -013: see `IncomingObject`. LF-NET-014 command and data set name
            different objects, -016 another object under a known SOP Instance UID, -017 a known
            payload under another patient, -019 a known payload with other attributes in the same study.
        """
        try:
            if incoming.refusal is not None:
                raise incoming.refusal
            header = _synced_and_verified(incoming)
            if (header.sop_class_uid, header.sop_instance_uid) != (sop_class_uid, sop_instance_uid):
                raise _other_object_than_named()
            with self._lock:
                others = self._parts_of(header)
            self._verify_whole(header, others)
            with self._lock:
                if self._was_accepted(header):
                    return None
                kept = self._keep(header)
                parts = self._parts_of(kept)
                self._note_missing(parts)
        except OSError as error:
            raise out_of_space(error) from error
        finally:
            incoming.discard()
        return ReceivedMeasurement(parts=tuple(parts)) if len(parts) == kept.fields.n_parts else None

    def pending(self) -> tuple[ReceivedMeasurement, ...]:
        """Every complete scan that is kept, in the order of arrival; a node enqueues those without a job."""
        with self._lock:
            complete = [parts for parts in self._scans() if len(parts) == parts[0].fields.n_parts]
        return tuple(ReceivedMeasurement(parts=tuple(parts)) for parts in complete)

    def _verify_whole(self, header: PayloadHeader, others: list[PayloadHeader]) -> None:
        """Check the hash of the whole file where the last of several parts has come."""
        if any(other.attributes != header.attributes for other in others):
            return  # refused anyway, and put aside
        last = header.fields.part not in {other.fields.part for other in others}
        if last and header.fields.n_parts == len(others) + 1 > 1:
            verify(sorted([header, *others], key=lambda part: part.fields.part))

    def _keep(self, header: PayloadHeader) -> PayloadHeader:
        """Apply the rules; called with the lock held.

        Returns
        -------
        What is kept: the object, or the one that had been kept before it with the same content.
        """
        known = self._kept.get(header.sop_instance_uid)
        if known is not None and _touched(known.path):
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
        others = self._parts_of(header)
        if any(other.attributes != header.attributes for other in others):
            raise self._quarantined(
                header,
                "LF-NET-019",
                "the same measurement came again with other attributes of patient, study or series",
                Status.OTHER_ATTRIBUTES,
            )
        require_same_file([header, *others])
        same = next((other for other in others if other.fields.part == header.fields.part), None)
        if same is None:
            return self._move_in(header)
        if replace(same.fields, given=header.fields.given) != header.fields:
            raise parts_error("two different parts have the same number")
        _LOG.info("a measurement came again under another SOP Instance UID; the first copy is kept")
        return same

    def _move_in(self, header: PayloadHeader) -> PayloadHeader:
        final = self._objects / f"{_sha256(header.sop_instance_uid)}.dcm"
        header.path.replace(final)
        kept = replace(header, path=final, received_at=datetime.now(UTC))
        remember(kept)  # syncs the directory, and so the name of the object too
        self._kept[header.sop_instance_uid] = kept
        return kept

    def _quarantined(self, header: PayloadHeader, code: str, message: str, status: Status) -> ListenerRefusal:
        """Move the object aside; the refusal to raise."""
        header.path.replace(self._quarantine / f"{code}-{_fingerprint(header)}.dcm")
        sync_directory(self._quarantine)
        hint = (
            "compare the object in the quarantine with the one that is kept; see `lfmri-node accept`, and"
            " `lfmri-node assign` where the one that is kept says no patient"
        )
        return ListenerRefusal(code, message, hint, status=status)

    def _was_accepted(self, header: PayloadHeader) -> bool:
        """Whether a person decided that the object follows what it contradicts, and its job is on record."""
        name = f"{_fingerprint(header)}.dcm"
        return (self._root / "accepted" / name).exists() and not any(self._quarantine.glob(f"*-{name}"))

    def _recall(self, path: Path) -> None:
        try:
            header = recall(path)
        except PayloadError as error:
            _LOG.error("LF-NET-020: kept object %s cannot be read: %s", path.name, error)
            return
        self._kept[header.sop_instance_uid] = header

    def _scans(self) -> list[list[PayloadHeader]]:
        scans: dict[tuple[str, tuple[str, str], str], list[PayloadHeader]] = {}
        for header in self._kept.values():
            if header.path.exists():
                scans.setdefault(_scan_key(header), []).append(header)
        return [sorted(parts, key=lambda part: part.fields.part) for parts in scans.values()]

    def _with_payload(self, sha256: str) -> list[PayloadHeader]:
        found = [header for header in self._kept.values() if header.fields.sha256 == sha256]
        return [header for header in found if header.path.exists()]

    def _parts_of(self, header: PayloadHeader) -> list[PayloadHeader]:
        """The kept parts of the scan that an object belongs to, in order."""
        same = [h for h in self._with_payload(header.fields.sha256) if _scan_key(h) == _scan_key(header)]
        return sorted(same, key=lambda part: part.fields.part)

    def _note_missing(self, parts: list[PayloadHeader]) -> None:
        """Note which parts a scan waits for, or that it waits no more."""
        last = max(parts, key=lambda part: part.received_at)
        scan = IncompleteScan(
            name=_sha256(repr(_scan_key(last)))[:12],
            calling_ae=last.calling_ae,
            parts=tuple(part.fields.part for part in parts),
            files=tuple(part.path.name for part in parts),
            n_parts=last.fields.n_parts,
            last_at=last.received_at,
        )
        if scan.missing:
            scan.write(self._root)
            _LOG.info("scan %s waits for %d of %d parts", scan.name, len(scan.missing), scan.n_parts)
        elif scan.n_parts > 1:
            scan.remove(self._root)


def _synced_and_verified(incoming: IncomingObject) -> PayloadHeader:
    """Make the file durable and check its payload, both at the same time."""
    with ThreadPoolExecutor(max_workers=1) as disk:
        synced = disk.submit(sync_file, incoming.path)
        header = completed(incoming.header) if incoming.header else read_payload(incoming.path)
        verify_part(header, incoming.payload_sha256())
        synced.result()
    return header


def _touched(path: Path) -> bool:
    """Whether a file is there; if so its time says that somebody counts on it, and retention leaves it."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


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
