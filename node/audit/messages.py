"""What is told, in the terms of the audit message schema (PS3.15 A.5.1), and the messages of A.5.3.

A message is a value that JSON can carry; `to_document` and `node.audit.xml` give its two shapes. It names a
patient by identifier and a study by UID, as the standard asks, and holds no name and nothing of an image.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Any

from lfmri_node.dicom_io.types import SentQuery
from lfmri_node.node.config import DestinationSection, DicomDestinationSection


class Outcome(IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded value; of DICOM's own scheme unless said otherwise."""

    code: str
    meaning: str
    scheme: str = "DCM"


APPLICATION_ACTIVITY = Code(code="110100", meaning="Application Activity")
BEGIN_TRANSFERRING = Code(code="110102", meaning="Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = Code(code="110103", meaning="DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code(code="110104", meaning="DICOM Instances Transferred")
QUERY = Code(code="110112", meaning="Query")
NETWORK_ENTRY = Code(code="110108", meaning="Network Entry")
SECURITY_ALERT = Code(code="110113", meaning="Security Alert")
USER_AUTHENTICATION = Code(code="110114", meaning="User Authentication")

_START, _STOP = (
    Code(code="110120", meaning="Application Start"),
    Code(code="110121", meaning="Application Stop"),
)
_LOGIN, _LOGOUT = Code(code="110122", meaning="Login"), Code(code="110123", meaning="Logout")
_ATTACH, _DETACH = Code(code="110124", meaning="Attach"), Code(code="110125", meaning="Detach")
_NODE_AUTHENTICATION = Code(code="110126", meaning="Node Authentication")
_APPLICATION, _LAUNCHER = (
    Code(code="110150", meaning="Application"),
    Code(code="110151", meaning="Application Launcher"),
)
_DESTINATION, _SOURCE = (
    Code(code="110152", meaning="Destination Role ID"),
    Code(code="110153", meaning="Source Role ID"),
)
_STUDY = Code(code="110180", meaning="Study Instance UID")
_SOP_CLASS = Code(code="110181", meaning="SOP Class UID")
_NODE_ID = Code(code="110182", meaning="Node ID")
_PATIENT = Code(code="2", meaning="Patient Number", scheme="RFC-3881")
_BY_NAME, _BY_ADDRESS, _BY_URI = "1", "2", "5"  # NetworkAccessPointTypeCode
_PRIVATE = "99LFMRI"
_JOB = Code(code="job", meaning="Job of the node", scheme=_PRIVATE)


class Deed(Enum):
    """What somebody does to jobs: its code, and the action on the instances (EventActionCode)."""

    ASSIGN = ("assign", "Patient and study assigned", "U")
    ACCEPT = ("accept", "Corrected scan accepted", "U")
    RETRY = ("retry", "Work taken up again", "R")
    REPROCESS = ("reprocess", "Reconstructed once more", "R")
    PURGE = ("purge", "Deleted from the node", "D")

    @property
    def code(self) -> Code:
        return Code(code=self.value[0], meaning=self.value[1], scheme=_PRIVATE)

    @property
    def action(self) -> str:
        return self.value[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Who took part: a process, a peer or a user."""

    user: str
    role: Code | None = None
    requestor: bool = False
    ae_title: str = ""
    place: str = ""
    place_kind: str = _BY_ADDRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What it was about.

    Parameters
    ----------
    classes
        SOP classes with the number of instances.
    detail, detail_kind
        ParticipantObjectDetail, and its type.
    query
        ParticipantObjectQuery, in base64.
    """

    id: str
    kind: Code
    type: str
    role: str
    classes: Mapping[str, int] = field(default_factory=dict)
    detail: str = ""
    detail_kind: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event."""

    event: Code
    type: Code | None = None
    action: str = "E"
    outcome: Outcome = Outcome.SUCCESS
    participants: Sequence[Participant]
    subjects: Sequence[Subject] = ()
    source: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def to_document(self) -> dict[str, Any]:
        """For a line of JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Makes the messages of one process of a node."""

    ae_title: str

    def application(self, *, started: bool) -> Message:
        """The node starts or stops (A.5.3.1); who started it is the user of the operating system."""
        launcher = Participant(user=str(os.getuid()), role=_LAUNCHER, requestor=True)
        return Message(
            event=APPLICATION_ACTIVITY,
            type=_START if started else _STOP,
            participants=(self._we(_APPLICATION), launcher),
            source=self.ae_title,
        )

    def network_entry(self, *, attached: bool) -> Message:
        """The node can be called, or no more (A.5.3.9)."""
        kind = _ATTACH if attached else _DETACH
        return Message(event=NETWORK_ENTRY, type=kind, participants=(self._we(),), source=self.ae_title)

    def received(self, calling_ae: str, whose: tuple[str, str], classes: Sequence[str]) -> Message:
        """Instances came in and are kept (A.5.3.7)."""
        peer = Participant(user=calling_ae, role=_SOURCE, requestor=True, ae_title=calling_ae)
        return Message(
            event=INSTANCES_TRANSFERRED,
            action="C",
            participants=(peer, self._we(_DESTINATION)),
            subjects=_subjects(whose, classes),
            source=self.ae_title,
        )

    def begins(self, peer: Participant, whose: tuple[str, str], classes: Sequence[str]) -> Message:
        """Instances are about to be sent (A.5.3.3)."""
        return Message(
            event=BEGIN_TRANSFERRING,
            participants=(self._we(_SOURCE, requestor=True), peer),
            subjects=_subjects(whose, classes),
            source=self.ae_title,
        )

    def sent(
        self, peer: Participant, whose: tuple[str, str], classes: Sequence[str], *, missing: int
    ) -> Message:
        """Instances were sent (A.5.3.7): ``classes`` of those that were taken, and how many were not."""
        return Message(
            event=INSTANCES_TRANSFERRED,
            action="R",
            outcome=Outcome.MINOR_FAILURE if missing else Outcome.SUCCESS,
            participants=(self._we(_SOURCE, requestor=True), peer),
            subjects=_subjects(whose, classes),
            source=self.ae_title,
        )

    def queried(self, peer: Participant, query: SentQuery, *, answered: bool) -> Message:
        """We asked a peer what it has (A.5.3.10)."""
        what = Subject(
            id=query.sop_class_uid,
            kind=_SOP_CLASS,
            type="2",
            role="3",
            query=b64encode(query.identifier).decode("ascii"),
            detail=query.transfer_syntax_uid,
            detail_kind="TransferSyntax",
        )
        return Message(
            event=QUERY,
            outcome=Outcome.SUCCESS if answered else Outcome.MINOR_FAILURE,
            participants=(self._we(_SOURCE, requestor=True), peer),
            subjects=(what,),
            source=self.ae_title,
        )

    def alert(self, code: str, message: str, address: str) -> Message:
        """Somebody was turned away (A.5.3.11)."""
        caller = Participant(user=address, requestor=True, place=address)
        what = Subject(
            id=address,
            kind=_NODE_ID,
            type="2",
            role="13",
            detail=f"{code}: {message}",
            detail_kind="Alert Description",
        )
        return Message(
            event=SECURITY_ALERT,
            type=_NODE_AUTHENTICATION,
            outcome=Outcome.MINOR_FAILURE,
            participants=(self._we(), caller),
            subjects=(what,),
            source=self.ae_title,
        )

    def deed(
        self, deed: Deed, by: Participant | None, job: str, whose: tuple[str, str], *, succeeded: bool
    ) -> Message:
        """Somebody did something to a job (A.5.3.6); ``by`` None: the node itself, as it is configured.

        The standard has no message for jobs. What is done to one concerns the instances of one patient.
        """
        return Message(
            event=INSTANCES_ACCESSED,
            type=deed.code,
            action=deed.action,
            outcome=Outcome.SUCCESS if succeeded else Outcome.MINOR_FAILURE,
            participants=(self._we(requestor=True),) if by is None else (by, self._we()),
            subjects=(*_subjects(whose, ()), Subject(id=job, kind=_JOB, type="2", role="20")),
            source=self.ae_title,
        )

    def login(self, user: str, address: str, *, succeeded: bool) -> Message:
        """Somebody gave a name and a password (A.5.3.12)."""
        outcome = Outcome.SUCCESS if succeeded else Outcome.MINOR_FAILURE
        return self._session(_LOGIN, user, address, outcome)

    def logout(self, user: str, address: str) -> Message:
        """Somebody left (A.5.3.12)."""
        return self._session(_LOGOUT, user, address, Outcome.SUCCESS)

    def _session(self, kind: Code, user: str, address: str, outcome: Outcome) -> Message:
        person = at_address(user, address)
        return Message(
            event=USER_AUTHENTICATION,
            type=kind,
            outcome=outcome,
            participants=(person, self._we()),
            source=self.ae_title,
        )

    def _we(self, role: Code | None = None, *, requestor: bool = False) -> Participant:
        return Participant(user=str(os.getpid()), role=role, requestor=requestor, ae_title=self.ae_title)


def at_machine(user: str, name: str) -> Participant:
    """Somebody at a terminal of a machine."""
    return Participant(user=user, requestor=True, place=name, place_kind=_BY_NAME)


def at_address(user: str, address: str) -> Participant:
    """Somebody at a browser."""
    return Participant(user=user, requestor=True, place=address)


def destination(section: DestinationSection) -> Participant:
    """Where objects go."""
    if isinstance(section, DicomDestinationSection):
        return Participant(
            user=section.ae_title,
            role=_DESTINATION,
            ae_title=section.ae_title,
            place=section.host,
            place_kind=_BY_NAME,
        )
    return Participant(user=section.url, role=_DESTINATION, place=section.url, place_kind=_BY_URI)


def _subjects(whose: tuple[str, str], classes: Sequence[str]) -> tuple[Subject, ...]:
    """Study and patient; a scan of which nobody has said yet whose it is names neither."""
    patient_id, study_uid = whose
    study = Subject(id=study_uid, kind=_STUDY, type="2", role="3", classes=dict(Counter(sorted(classes))))
    patient = Subject(id=patient_id, kind=_PATIENT, type="1", role="1")
    return tuple(subject for subject in (study, patient) if subject.id)
