"""Whether a destination has what it took: by storage commitment, by a query; or why that is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from lfmri_node.dicom_io.commitment import NoReport
from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.types import CommitmentReport, EncodedObject
from lfmri_node.dicom_io.uids import fresh_uid
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.jobs.job import Failure, Job
from lfmri_node.node.jobs.store import Store

_WAITS = "waits for the report on storage commitment"
_SURE = 3
"""Reports in a row that came over an association of the archive's own; then none is waited for over ours, as
that keeps other scans from the archive."""
_LOOKS = 3
"""Queries in a row that do not find an object before it is sent again: archives list what they took later."""


class Commitment(Protocol):
    """A destination that takes responsibility; after ``wait_s`` without a report it is asked again."""

    @property
    def wait_s(self) -> float: ...

    def ask(
        self,
        transaction_uid: str,
        objects: Sequence[EncodedObject],
        reported: Callable[[CommitmentReport], None],
        *,
        linger: bool,
    ) -> Asked:
        """Ask for storage commitment; ``linger`` for a report over the same association."""
        ...


class Query(Protocol):
    """A destination that can be asked what it has."""

    def look(self, objects: Sequence[EncodedObject]) -> Asked:
        """Query for objects."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """How a destination can be asked; by a query only where it does not commit."""

    commitment: Commitment | None = None
    query: Query | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What came of asking.

    Parameters
    ----------
    failure
        Why it is not known yet; None: it is, or cannot be, or the answer is still due.
    wait_s
        Until the answer is overdue; None: nothing is waited for.
    note
        What the delivery says of itself from now on.
    in_vain
        Nobody answered; None where nobody was asked.
    """

    failure: Failure | None = None
    wait_s: float | None = None
    note: str = ""
    in_vain: bool | None = None


class Proofs:
    """Asks, once for each try of a delivery."""

    def __init__(self, store: Store, auditor: Auditor) -> None:
        self._store = store
        self._here: set[str] = set()
        self._elsewhere: Counter[str] = Counter()
        self._auditor = auditor

    def refused(self, job: Job, name: str) -> Failure | None:
        """The failure of a delivery whose report has come and leaves something open; None: nothing."""
        transaction = self._store.transaction(job.key, name)
        if transaction is None or not transaction.answered:
            return None
        self._learn(name, transaction.uid)
        self._store.close_transactions(job.key, name)
        receipts = [stored.receipt for stored in self._store.receipts(job.key, name)]
        left = [receipt for receipt in receipts if receipt.verified is None]
        if not left:
            return None
        words = left[0].detail if left[0].transient else "its report does not name them"
        return Failure(
            code="LF-DEL-007",
            message=f"destination '{name}' has not committed to {len(left)} of the objects: {words}",
            hint="see the archive's log if it goes on; the node tries again by itself",
            transient=True,
        )

    def _learn(self, name: str, transaction_uid: str) -> None:
        """Count the reports in a row that came over another association than the request."""
        if transaction_uid in self._here:
            self._here.discard(transaction_uid)
            self._elsewhere[name] = 0
        else:
            self._elsewhere[name] += 1

    def prove(self, job: Job, name: str, prover: Prover, tries: int) -> Proven:
        """Ask about everything that is delivered and not proven."""
        proofs = {s.receipt.sop_instance_uid: s.receipt for s in self._store.receipts(job.key, name)}
        unproven = [
            item
            for item in self._store.objects(job.key)
            if (receipt := proofs.get(item.sop_instance_uid)) is None or receipt.verified is None
        ]
        if not unproven:
            return Proven(note=", ".join(sorted({receipt.proof.value for receipt in proofs.values()})))
        if prover == Prover():
            return Proven(note="taken; not asked afterwards")
        why = []
        if prover.commitment is not None:
            proven, cannot = self._commitment(job, name, prover.commitment, unproven)
            if proven is not None:
                return proven
            why.append(f"no storage commitment there ({cannot})")
        if prover.query is not None:
            proven, cannot = self._query(job, name, prover.query, unproven, tries)
            if proven is not None:
                return proven
            why.append(f"no query there ({cannot})")
        return Proven(note=f"taken; {', '.join(why)}")

    def _commitment(
        self, job: Job, name: str, commitment: Commitment, unproven: list[EncodedObject]
    ) -> tuple[Proven | None, str]:
        before = self._store.transaction(job.key, name)
        if before is not None and before.answered:  # while objects were sent
            return Proven(wait_s=0.0, note=_WAITS), ""
        if before is not None:
            due = before.asked_at + timedelta(seconds=commitment.wait_s)
            left_s = (due - datetime.now(UTC)).total_seconds()
            if 0 < left_s <= commitment.wait_s:  # more is left where the clock was set back since
                return Proven(wait_s=left_s, note=_WAITS), ""
        uid = fresh_uid()
        self._store.open_transaction(job.key, name, uid)
        asked = commitment.ask(
            uid, unproven, partial(self._reported, name), linger=self._elsewhere[name] < _SURE
        )
        if asked.answered:
            latest = self._store.transaction(job.key, name)
            came = latest is not None and latest.answered
            waits = Proven(
                failure=None if came or before is None else _not_in_time(name, commitment.wait_s),
                wait_s=commitment.wait_s,
                note=_WAITS,
                in_vain=False,
            )
            return waits, ""
        self._store.close_transactions(job.key, name)
        if not asked.offered:
            return None, asked.detail
        return Proven(failure=_not_asked(name, asked), in_vain=asked.transient), ""

    def _reported(self, name: str, report: CommitmentReport) -> None:
        if self._store.note_report((name,), report) is None:
            raise NoReport(0x0115, "no such transaction")
        self._here.add(report.transaction_uid)

    def _query(
        self, job: Job, name: str, query: Query, unproven: list[EncodedObject], tries: int
    ) -> tuple[Proven | None, str]:
        asked = query.look(unproven)
        for sent in asked.queries:
            self._auditor.queried(name, sent, answered=asked.answered)
        if not asked.offered:
            return None, asked.detail
        if not asked.answered:
            return Proven(failure=_not_listed(name, len(unproven), asked.detail), in_vain=True), ""
        wanted = {item.sop_instance_uid for item in unproven}
        self._store.note_found(job.key, name, wanted & asked.found)
        left = wanted - asked.found
        if not left:
            return Proven(note="found", in_vain=False), ""
        words = "its index does not list them"
        if tries >= _LOOKS:
            self._store.send_again(job.key, name, left, words)
        return Proven(failure=_not_listed(name, len(left), words), in_vain=False), ""


def _not_in_time(name: str, wait_s: float) -> Failure:
    return Failure(
        code="LF-DEL-006",
        message=f"destination '{name}' has not reported on storage commitment in {wait_s:g} s; asked again",
        hint="let the archive call this node: its AE title, address and port, and the firewalls between them",
        transient=True,
    )


def _not_asked(name: str, asked: Asked) -> Failure:
    if asked.transient:
        return Failure(
            code="LF-DEL-006",
            message=f"destination '{name}' does not take a request for storage commitment: {asked.detail}",
            hint="start the destination or correct its entry; the node tries again by itself",
            transient=True,
        )
    return Failure(
        code="LF-DEL-008",
        message=f"destination '{name}' refuses the request for storage commitment: {asked.detail}",
        hint="let the archive allow it to this node, or set commitment = false; then `lfmri-node retry`",
        transient=False,
    )


def _not_listed(name: str, n: int, why: str) -> Failure:
    return Failure(
        code="LF-DEL-009",
        message=f"a query of destination '{name}' does not find {n} of the objects: {why}",
        hint="see the archive's log if it goes on; the node asks again, and sends them again, by itself",
        transient=True,
    )
