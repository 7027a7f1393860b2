"""An archive of the campaign: it keeps what it is sent, and answers requests for storage commitment."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from lfmri_node.dicom_io.commitment import FAILURE_REASONS, Remedy

HABITS = ("here", "later", "twice", "failing", "silent", "refusing")
"""What becomes of a request for commitment: a report over the same association, over another one up to
`_LATE_S` later, two of those; a report of failures; nothing at all; a status that refuses it for now."""

_LATE_S = 3.0
_CALLS = 5
_INSTANCE = "1.2.840.10008.1.20.1.1"
_HEALING = [row.code for row in FAILURE_REASONS if row.remedy is not Remedy.NONE]
_OF_MAKING = (
    "InstanceCreationDate",
    "InstanceCreationTime",
    "SeriesDate",
    "SeriesTime",
    "ContentDate",
    "ContentTime",
    "ContributingEquipmentSequence",
)


@dataclass(kw_only=True)
class Stored:
    """An object that was stored: the first that came; how often it came again with other bytes.

    ``remade``: of these, how often nothing differed but when it was made.
    """

    path: Path
    study: str
    digest: str
    stores: int = 1
    conflicts: int = 0
    remade: int = 0


class Archive:
    """A storage SCP on a free port of loopback.

    Attributes
    ----------
    before_answer
        Gives the status that answers a C-STORE, when the object is kept.
    habits
        How requests for commitment are answered, one drawn for each.
    node_port
        Where reports over another association go.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.before_answer: Callable[[str], int] = lambda _uid: 0x0000
        self.habits: tuple[str, ...] = HABITS
        self.node_port = 0
        self.asked: Counter[str] = Counter()
        self._folder, self._rng = folder, rng
        self._turn = threading.Lock()
        self._stored: dict[str, Stored] = {}
        self._studies: set[str] = set()
        self._ended = threading.Event()
        entity = AE("PACS")
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(
                str(context.abstract_syntax), [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            )
        for service in (Verification, StorageCommitmentPushModel):
            entity.add_supported_context(service)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked_for)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = int(self._server.server_address[1])

    def instances(self) -> dict[str, Stored]:
        """SOP Instance UID -> what is held."""
        with self._turn:
            return dict(self._stored)

    def n_studies(self) -> int:
        return len(self._studies)

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        content = event.encoded_dataset()
        digest = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        with self._turn:
            before = self._stored.get(uid)
            if before is None:
                self._keep(uid, content, digest)
            else:
                before.stores += 1
                if before.digest != digest:
                    kind = "remade" if _same_but_for_making(before.path, content) else "conflicts"
                    setattr(before, kind, getattr(before, kind) + 1)
        return self.before_answer(uid)

    def _keep(self, uid: str, content: bytes, digest: str) -> None:
        path = self._folder / f"{uid}.dcm"
        path.write_bytes(content)
        study = str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
        self._stored[uid] = Stored(path=path, study=study, digest=digest)
        self._studies.add(study)

    def _asked_for(self, event: evt.Event) -> tuple[int, None]:
        habit = self._rng.choice(self.habits)
        self.asked[habit] += 1
        if habit == "refusing":
            return 0x0213, None
        if habit != "silent":
            request = decode(event.request.ActionInformation, True, True)
            arguments = (event.assoc, self._report_on(request, fails=habit == "failing"), habit)
            threading.Thread(target=self._report, args=arguments, daemon=True).start()
        return 0x0000, None

    def _report_on(self, request: Dataset, *, fails: bool) -> Dataset:
        """What is held is committed to, unless some are to fail."""
        information = Dataset()
        information.TransactionUID = request.TransactionUID
        good, bad = [], []
        for item in request.ReferencedSOPSequence:
            held = item.ReferencedSOPInstanceUID in self._stored
            if held and not (fails and self._rng.random() < 0.5):
                good.append(item)
                continue
            item.FailureReason = self._rng.choice(_HEALING) if held else 0x0112
            bad.append(item)
        information.ReferencedSOPSequence = good
        if bad:
            information.FailedSOPSequence = bad
        return information

    def _report(self, same: Association, information: Dataset, habit: str) -> None:
        """Over the same association where it is still there; over another one, which is tried some times."""
        kind = 2 if "FailedSOPSequence" in information else 1
        if habit == "here":
            self._ended.wait(0.02)  # the answer to the request goes first
            with contextlib.suppress(RuntimeError, ValueError):
                answer, _ = same.send_n_event_report(information, kind, StorageCommitmentPushModel, _INSTANCE)
                if "Status" in answer:
                    return
        for _ in range(2 if habit == "twice" else 1):
            calls = 0
            while calls < _CALLS and not self._ended.wait(self._rng.uniform(0.0, _LATE_S)):
                calls = _CALLS if self._called(information, kind) else calls + 1

    def _called(self, information: Dataset, kind: int) -> bool:
        """Report over an association of our own; whether there was any answer."""
        entity = AE("PACS")
        entity.add_requested_context(StorageCommitmentPushModel, [ImplicitVRLittleEndian])
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10.0
        association = entity.associate("127.0.0.1", self.node_port, ae_title="LFMRI")
        if not association.is_established:
            return False
        try:
            answer, _ = association.send_n_event_report(
                information, kind, StorageCommitmentPushModel, _INSTANCE
            )
            return "Status" in answer
        except RuntimeError:  # the association ended since it was looked at
            return False
        finally:
            association.release()


def _same_but_for_making(path: Path, content: bytes) -> bool:
    first, second = dcmread(path), dcmread(BytesIO(content))
    for dataset in (first, second):
        for keyword in _OF_MAKING:
            if keyword in dataset:
                delattr(dataset, keyword)
    return bool(first == second)


@contextlib.contextmanager
def running(folder: Path, rng: random.Random) -> Iterator[Archive]:
    made = Archive(folder, rng)
    try:
        yield made
    finally:
        made.close()
