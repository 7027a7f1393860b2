"""One try to bring a job's objects to every destination, with a receipt for each object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node import logs
from lfmri_node.node.errors import Drained
from lfmri_node.node.jobs.admission import Gate
from lfmri_node.node.jobs.job import Failure, Job
from lfmri_node.node.jobs.store import Store


class Destination(Protocol):
    """Somewhere that takes objects."""

    @property
    def name(self) -> str: ...

    def send(self, objects: Sequence[EncodedObject]) -> Iterator[DeliveryReceipt]:
        """Send; one receipt for each object."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a try came to.

    Parameters
    ----------
    postponement
        Why another try is needed; None where every object is delivered or refused for good.
    refusal
        Why a destination will not take an object, whatever is tried.
    verified
        Every destination has stated that it holds every object.
    """

    postponement: Failure | None = None
    refusal: Failure | None = None
    verified: bool = False


class Delivery:
    """Sends what is missing, nothing twice.

    Parameters
    ----------
    max_attempts
        Transient failures in a row after which a job is put into quarantine; 0: never.
    """

    def __init__(
        self, *, store: Store, destinations: Sequence[Destination], gate: Gate, max_attempts: int
    ) -> None:
        self.destinations = tuple(destinations)
        self._store = store
        self._gate = gate
        self._max_attempts = max_attempts

    def attempt(self, job: Job) -> Outcome:
        """Try every destination once; a destination that is down does not keep the others waiting.

        Raises
        ------
        Drained
            The service stops, and the time for stages to end is over.
        """
        problems = {destination.name: self._one(job, destination) for destination in self.destinations}
        refusals = [failure for failure in problems.values() if failure and not failure.transient]
        postponements = [failure for failure in problems.values() if failure and failure.transient]
        if postponements and not self._exhausted(job):
            return Outcome(postponement=postponements[0])
        if refusals or postponements:
            return Outcome(refusal=(refusals or [_given_up(postponements[0], job.attempts)])[0])
        return Outcome(verified=self._all_verified(job))

    def _exhausted(self, job: Job) -> bool:
        return 0 < self._max_attempts <= job.attempts

    def _all_verified(self, job: Job) -> bool:
        receipts = [stored.receipt for stored in self._store.receipts(job.key)]
        expected = len(self._store.objects(job.key)) * len(self.destinations)
        return sum(receipt.verified is True for receipt in receipts) == expected

    def _one(self, job: Job, destination: Destination) -> Failure | None:
        """Send what the destination misses; what is still wrong afterwards."""
        refused = self._refused_for_good(job, destination.name)
        wanted = [
            item
            for item in self._store.missing(job.key, destination.name)
            if item.sop_instance_uid not in refused
        ]
        total = len(self._store.objects(job.key))
        try:
            for done, receipt in enumerate(destination.send(wanted) if wanted else (), start=1):
                self._store.add_receipt(job.key, receipt)
                self._store.set_progress(job.key, total - len(wanted) + done, total)
                if self._gate.grace_over:
                    raise Drained
        except DicomIoError as error:
            return Failure(code=error.code, message=error.message, hint=error.hint, transient=False)
        missing = self._store.missing(job.key, destination.name)
        logs.event(
            "delivery.tried",
            job=job.name,
            destination=destination.name,
            delivered=total - len(missing),
            missing=len(missing),
            attempt=job.attempts,
        )
        return self._failure(job, destination.name, missing)

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


def _is_final(receipt: DeliveryReceipt) -> bool:
    """Whether sending the object again can change nothing."""
    return receipt.verified is False or not (receipt.delivered or receipt.transient)


def _given_up(failure: Failure, attempts: int) -> Failure:
    return Failure(
        code="LF-DEL-004",
        message=f"given up after {attempts} tries (retry.max_attempts); last: {failure.message}",
        hint=failure.hint.replace("the node tries again by itself", "then `lfmri-node retry`"),
        transient=False,
    )
