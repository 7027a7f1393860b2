"""What happens to an encoded job: its deliveries, the receipts, and when it is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from lfmri_node.dicom_io.types import DeliveryReceipt
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Failure, Job, Stage, advanced, quarantined
from lfmri_node.node.jobs.proving import Proving
from lfmri_node.node.jobs.writer import now


def _in(seconds: float) -> str | None:
    return schema.moment(now() + timedelta(seconds=seconds))


class Shipping(Proving):
    """The job table, written by deliveries."""

    def _add_deliveries(self, key: str, destinations: Sequence[str]) -> None:
        self._connection.executemany(
            "INSERT INTO deliveries (job_key, destination, tries) VALUES (?, ?, 0) ON CONFLICT DO NOTHING",
            [(key, name) for name in destinations],
        )

    def hold(self, key: str, destination: str, failure: Failure, wait_s: float) -> Job:
        """Record that a delivery waits without a try of its own, and why."""
        with self._change():
            self._connection.execute(
                "UPDATE deliveries SET failure=?, next_try_at=?, failing_since=coalesce(failing_since, ?)"
                " WHERE job_key=? AND destination=?",
                (schema.failure_text(failure), _in(wait_s), schema.moment(now()), key, destination),
            )
            return self._settle(key)

    def ship(
        self,
        key: str,
        destination: str,
        failure: Failure | None,
        wait_s: float | None,
        *,
        seconds: float,
        note: str = "",
    ) -> Job:
        """Record what a try to deliver to one destination came to.

        Parameters
        ----------
        failure, wait_s
            None: everything is delivered. A failure without ``wait_s`` is final for this destination; with
            it, another try is due then. ``wait_s`` alone: everything is taken, and an answer is waited for.
        note
            See `Shipment`.
        """
        at = schema.moment(now())
        with self._change():
            self._end_timing(key, failure.code if failure else "done", seconds, destination)
            self._connection.execute(
                "UPDATE deliveries SET tries=tries+?, failure=?, next_try_at=?, finished_at=?,"
                " failing_since=CASE WHEN ?=1 THEN coalesce(failing_since, ?) END, note=?"
                " WHERE job_key=? AND destination=?",
                (
                    int(failure is not None),
                    schema.failure_text(failure),
                    None if wait_s is None else _in(wait_s),
                    at if wait_s is None else None,
                    int(failure is not None),
                    at,
                    note,
                    key,
                    destination,
                ),
            )
            self._wake_answered(key, destination)
            return self._settle(key)

    def _settle(self, key: str) -> Job:
        """Bring a job in line with its deliveries; it is over when each of them is."""
        job, shipments, at = self.job(key), self.shipments(key), now()
        if not job.is_open or job.stage is not Stage.ENCODED:
            return job
        failures = [item.failure for item in shipments if item.failure is not None]
        if any(item.finished_at is None for item in shipments):
            due = [item.next_try_at for item in shipments if item.next_try_at is not None]
            return self._write(
                replace(
                    job,
                    running=None,
                    worker=None,
                    progress=None,
                    attempts=max(item.tries for item in shipments),
                    failure=failures[0] if failures else None,
                    next_try_at=min(due, default=None),
                    updated_at=at,
                )
            )
        if failures:
            return self._write(quarantined(job, failures[0], at=at))
        if not shipments:
            return self._write(replace(job, finished_at=at))
        job = advanced(job, Stage.SENT, at=at)
        if self._all_verified(key, len(shipments)):
            job = advanced(job, Stage.VERIFIED, at=at)
        return self._write(replace(job, finished_at=at))

    def _all_verified(self, key: str, n_destinations: int) -> bool:
        verified = sum(stored.receipt.verified is True for stored in self.receipts(key))
        return verified == len(self.objects(key)) * n_destinations > 0

    def set_destinations(self, wanted: Callable[[Job], Sequence[str]]) -> None:
        """Bring the deliveries of unfinished jobs in line with the destinations that each is to go to."""
        with self._change():
            for row in self._rows("SELECT key FROM jobs WHERE finished_at IS NULL AND contrast IS NOT NULL"):
                destinations = wanted(self.job(row["key"]))
                self._connection.execute(
                    "DELETE FROM deliveries WHERE job_key=? AND (finished_at IS NULL OR failure IS NOT NULL)"
                    f" AND destination NOT IN ({self._connection.one_of})",
                    (row["key"], json.dumps(list(destinations))),
                )
                self._add_deliveries(row["key"], destinations)
                self._settle(row["key"])

    def add_receipt(self, key: str, receipt: DeliveryReceipt) -> None:
        """Keep what a destination answered for one object."""
        verified = None if receipt.verified is None else int(receipt.verified)
        with self._change():
            self._connection.execute(
                "INSERT INTO receipts (job_key, destination, sop_instance_uid, dimse_status, delivered,"
                " verified, detail, transient, answered_at, proof, tries)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
                " ON CONFLICT(job_key, destination, sop_instance_uid) DO UPDATE SET"
                " dimse_status=excluded.dimse_status, delivered=excluded.delivered,"
                " verified=excluded.verified, detail=excluded.detail, transient=excluded.transient,"
                " answered_at=excluded.answered_at, proof=excluded.proof, tries=receipts.tries+1",
                (
                    key,
                    receipt.destination,
                    receipt.sop_instance_uid,
                    receipt.dimse_status,
                    int(receipt.delivered),
                    verified,
                    receipt.detail,
                    int(receipt.transient),
                    schema.moment(receipt.answered_at),
                    receipt.proof.value,
                ),
            )
