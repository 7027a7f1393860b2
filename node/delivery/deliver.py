"""One try to bring a job's objects to one destination, with a receipt for each object."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.backoff import Backoff, Patience
from lfmri_node.node.delivery.proof import Proofs, Prover
from lfmri_node.node.errors import Drained, JobError
from lfmri_node.node.jobs.drain import Drain, Line
from lfmri_node.node.jobs.job import Failure, Job
from lfmri_node.node.jobs.recipe import goes_to
from lfmri_node.node.jobs.store import Store


class Destination(Protocol):
    """Somewhere that takes objects."""

    @property
    def name(self) -> str: ...

    @property
    def ruled(self) -> bool:
        """Whether it takes only scans that meet conditions."""
        ...

    @property
    def prover(self) -> Prover:
        """How it can be asked afterwards."""
        ...

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        """Send; one receipt for each object."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a try came to.

    Parameters
    ----------
    failure
        Why not every object is delivered: transient where another try may do it. None: all are.
    tries
        Tries in a row that failed, this one included.
    wait_s
        Until the next look, where that is not a matter of how many tries failed.
    note
        See `Shipment`.
    """

    failure: Failure | None
    tries: int
    wait_s: float | None = None
    note: str = ""


class Channel:
    """The way to one destination: one association at a time, and none for a while after one in vain.

    So a destination that accepts connections and stays silent costs one waiting thread, not one a job.
    """

    def __init__(self, destination: Destination, drain: Drain, backoff: Backoff) -> None:
        self.destination = destination
        self._line = Line(drain)
        self._backoff = backoff
        self._in_vain = 0
        self._shut_until = 0.0
        self._moved_at: float | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the destination to oneself; others wait for their turn."""
        with self._line.alone():
            self.moved()
            try:
                yield
            finally:
                self._moved_at = None

    def moved(self) -> None:
        """Note that who has the destination got on."""
        self._moved_at = time.monotonic()

    def stuck_s(self) -> float:
        """Seconds since who has the destination got on; 0 where nobody has it."""
        moved_at = self._moved_at
        return 0.0 if moved_at is None else time.monotonic() - moved_at

    @property
    def is_free(self) -> bool:
        """Whether nobody has it or waits for it."""
        return len(self._line) == 0

    @property
    def silent(self) -> bool:
        """Whether the last association came to nothing."""
        return self._in_vain > 0

    def shut_s(self) -> float:
        """Seconds until the next association may be tried."""
        return max(self._shut_until - time.monotonic(), 0.0)

    def open(self) -> None:
        """Let the next association be tried at once: somebody asks for it."""
        self._shut_until = 0.0

    def note(self, *, in_vain: bool) -> None:
        """Learn from an association: whether anything came of it."""
        self._in_vain = self._in_vain + 1 if in_vain else 0
        self._shut_until = time.monotonic() + self._backoff.delay_s(self._in_vain) if in_vain else 0.0


class Delivery:
    """Sends what is missing, nothing twice, and nothing but what was encoded.

    Attributes
    ----------
    channels
        The way to each destination, by its name.

    Parameters
    ----------
    limit
        When a destination is given up for a job.
    """

    def __init__(
        self,
        *,
        store: Store,
        destinations: Sequence[Destination],
        drain: Drain,
        backoff: Backoff,
        limit: Patience,
        auditor: Auditor,
    ) -> None:
        self.channels: Mapping[str, Channel] = {}
        self._ways: dict[str, Channel] = {}
        self._store = store
        self._drain = drain
        self._backoff = backoff
        self._limit = limit
        self._proofs = Proofs(store, auditor)
        self._auditor = auditor
        self.set_destinations(destinations)

    def set_destinations(self, destinations: Sequence[Destination]) -> None:
        """Send to these from now on; one that stays as it was keeps its way, and what is known of it."""
        known = self.channels
        self.channels = {
            item.name: known[item.name]
            if item.name in known and known[item.name].destination == item
            else Channel(item, self._drain, self._backoff)
            for item in destinations
        }
        self._ways |= self.channels  # what is under way to one that is gone now comes to its end

    def shut(self) -> Mapping[str, bool]:
        """Destination -> whether it is left alone for a while because it did not answer."""
        return {name: channel.shut_s() > 0 for name, channel in self.channels.items()}

    def require_moving(self, limit_s: float) -> None:
        """Check that nobody has had a destination for so long without getting on: nothing here takes as long,
        a call that does not return cannot be ended, and all others wait for it.

        Raises
        ------
        JobError
            LF-JOB-075
        """
        for name, channel in self.channels.items():
            if channel.stuck_s() > limit_s:
                raise JobError(
                    "LF-JOB-075",
                    f"a delivery to '{name}' has not moved for {limit_s:.0f} s",
                    "nothing is lost; start the node again, which tries it anew",
                )

    def takers(self, job: Job) -> tuple[str, ...]:
        """The destinations that a scan goes to, by the rules that were in force when it came in."""
        ways = self.channels.items()
        return tuple(name for name, way in ways if goes_to(job.recipe, name, ruled=way.destination.ruled))

    def damaged(self, job: Job, name: str) -> list[EncodedObject]:
        """Objects still to be sent whose file is gone or is not what was written, by its SHA-256."""
        return [item for item in self._wanted(job, name) if not _intact(item)]

    def _wanted(self, job: Job, name: str) -> list[EncodedObject]:
        refused = self._refused_for_good(job, name)
        missing = self._store.missing(job.key, name)
        return [item for item in missing if item.sop_instance_uid not in refused]

    def attempt(self, job: Job, name: str) -> Outcome:
        """Send what a destination misses, once.

        Raises
        ------
        Drained
            The service stops, and the time for work to end is over.
        """
        shipment = next((s for s in self._store.shipments(job.key) if s.destination == name), None)
        tries = 1 + (shipment.tries if shipment is not None else 0)
        since = shipment.failing_since if shipment is not None else None
        refused = self._proofs.refused(job, name)
        outcome = Outcome(failure=refused, tries=tries) if refused else self._sent(job, name, tries)
        if outcome.failure is not None and self._limit.is_over(tries, since):
            return replace(outcome, failure=_given_up(outcome.failure, tries), wait_s=None)
        return outcome

    def _sent(self, job: Job, name: str, tries: int) -> Outcome:
        channel, wanted = self._ways[name], self._wanted(job, name)
        total = len(self._store.objects(job.key))
        answered = not wanted
        try:
            receipts = (
                self._auditor.transfer(name, wanted, channel.destination.send(wanted)) if wanted else ()
            )
            for done, receipt in enumerate(receipts, start=1):
                channel.moved()
                spoke = receipt.dimse_status is not None or receipt.delivered or not receipt.transient
                answered = answered or spoke
                self._store.add_receipt(job.key, receipt)
                self._store.set_progress(job.key, total - len(wanted) + done, total)
                if self._drain.grace_over:
                    raise Drained
        except DicomIoError as error:
            transient = bool(self.damaged(job, name))  # it vanished a moment ago: it will be made again
            failure = Failure(code=error.code, message=error.message, hint=error.hint, transient=transient)
            return Outcome(failure=failure, tries=tries)
        if wanted:
            channel.note(in_vain=not answered)
        missing = self._store.missing(job.key, name)
        logs.event(
            "delivery.tried",
            job=job.name,
            destination=name,
            delivered=total - len(missing),
            missing=len(missing),
            attempt=tries,
        )
        left = self._failure(job, name, missing)
        if left is not None:
            return Outcome(failure=left, tries=tries)
        proven = self._proofs.prove(job, name, channel.destination.prover, tries)
        if proven.in_vain is not None:
            channel.note(in_vain=proven.in_vain)
        return Outcome(failure=proven.failure, tries=tries, wait_s=proven.wait_s, note=proven.note)

    def _refused_for_good(self, job: Job, name: str) -> dict[str, DeliveryReceipt]:
        receipts = (stored.receipt for stored in self._store.receipts(job.key, name))
        return {receipt.sop_instance_uid: receipt for receipt in receipts if _is_final(receipt)}

    def _failure(self, job: Job, name: str, missing: Sequence[EncodedObject]) -> Failure | None:
        refused = self._refused_for_good(job, name)
        waiting = [item for item in missing if item.sop_instance_uid not in refused]
        if waiting:
            return Failure(
                code="LF-DEL-001",
                message=f"destination '{name}' did not take {len(waiting)} of the objects: "
                f"{self._last_detail(job, name, waiting[0])}",
                hint="start the destination or correct its entry; the node tries again by itself",
                transient=True,
            )
        if not refused:
            return None
        receipt = next(iter(refused.values()))
        not_held = receipt.verified is False
        return Failure(
            code="LF-DEL-003" if not_held else "LF-DEL-002",
            message=f"destination '{name}' {'does not hold' if not_held else 'refuses'} "
            f"{len(refused)} of the objects: {receipt.detail}",
            hint="correct the destination, then `lfmri-node retry`",
            transient=False,
        )

    def _last_detail(self, job: Job, name: str, item: EncodedObject) -> str:
        details: Mapping[str, str] = {
            stored.receipt.sop_instance_uid: stored.receipt.detail
            for stored in self._store.receipts(job.key, name)
        }
        return details.get(item.sop_instance_uid, "no answer")


def _intact(item: EncodedObject) -> bool:
    try:
        with item.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == item.sha256
    except OSError:
        return False


def _is_final(receipt: DeliveryReceipt) -> bool:
    """Whether sending the object again can change nothing."""
    return receipt.verified is False or not (receipt.delivered or receipt.transient)


def _given_up(failure: Failure, attempts: int) -> Failure:
    if not failure.transient:
        return failure
    return Failure(
        code="LF-DEL-004",
        message=f"given up after {attempts} tries (limits of [retry]); last: {failure.message}",
        hint=failure.hint.replace("the node tries again by itself", "then `lfmri-node retry`"),
        transient=False,
    )
