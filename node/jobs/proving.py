"""What destinations were asked of objects that they took, and what they answered; see `delivery.proof`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from lfmri_node.dicom_io.commitment import Remedy, reason_of
from lfmri_node.dicom_io.types import CommitmentReport, Proof
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.writer import Writer, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A request for storage commitment; ``answered``: its report has come."""

    uid: str
    asked_at: datetime
    answered: bool


class Proving(Writer):
    """The job table, as far as it knows what destinations hold."""

    def transaction(self, key: str, destination: str) -> Transaction | None:
        """The latest request that is not done with."""
        rows = self._rows(
            "SELECT * FROM transactions WHERE job_key=? AND destination=? AND done=0"
            " ORDER BY asked_at DESC LIMIT 1",
            key,
            destination,
        )
        if not rows:
            return None
        asked_at = datetime.fromisoformat(rows[0]["asked_at"])
        return Transaction(uid=rows[0]["uid"], asked_at=asked_at, answered=rows[0]["answered_at"] is not None)

    def open_transaction(self, key: str, destination: str, uid: str) -> None:
        """Record a request before it leaves, so that its report is known whenever it comes.

        One of a later time is from before the clock was set back, and would pass for the latest: be done with
        it.
        """
        at = schema.moment(now())
        with self._change():
            self._connection.execute(
                "UPDATE transactions SET done=1 WHERE job_key=? AND destination=? AND asked_at>=?",
                (key, destination, at),
            )
            self._connection.execute(
                "INSERT INTO transactions (uid, job_key, destination, asked_at) VALUES (?, ?, ?, ?)",
                (uid, key, destination, at),
            )

    def close_transactions(self, key: str, destination: str) -> None:
        """Be done with every request of a delivery; a report that comes late is still believed."""
        with self._change():
            self._connection.execute(
                "UPDATE transactions SET done=1 WHERE job_key=? AND destination=?", (key, destination)
            )

    def note_report(self, destinations: Collection[str], report: CommitmentReport) -> str | None:
        """Record what an archive reports, and wake the delivery that waits for it.

        Parameters
        ----------
        destinations
            Those that whoever reports may speak for.

        Returns
        -------
        Key of the job; None where none of these was asked in that transaction.
        """
        with self._change():
            rows = self._rows("SELECT * FROM transactions WHERE uid=?", report.transaction_uid)
            if not rows or rows[0]["destination"] not in destinations:
                return None
            key, destination = str(rows[0]["job_key"]), str(rows[0]["destination"])
            for instance in report.committed:
                self._prove(key, destination, instance, Proof.COMMITMENT)
            for instance, code in report.failed.items():
                self._not_committed(key, destination, instance, code)
            self._connection.execute(
                "UPDATE transactions SET answered_at=? WHERE uid=?",
                (schema.moment(now()), report.transaction_uid),
            )
            self._connection.execute(
                "UPDATE deliveries SET next_try_at=NULL"
                " WHERE job_key=? AND destination=? AND finished_at IS NULL",
                (key, destination),
            )
            return key

    def _wake_answered(self, key: str, destination: str) -> None:
        """End the wait of a delivery whose report came before the wait was recorded."""
        self._connection.execute(
            "UPDATE deliveries SET next_try_at=NULL"
            " WHERE job_key=? AND destination=? AND EXISTS (SELECT 1 FROM transactions"
            " WHERE job_key=? AND destination=? AND done=0 AND answered_at IS NOT NULL)",
            (key, destination, key, destination),
        )

    def note_found(self, key: str, destination: str, instances: Collection[str]) -> None:
        """Record which objects a query found."""
        with self._change():
            for instance in instances:
                self._prove(key, destination, instance, Proof.QUERY)

    def send_again(self, key: str, destination: str, instances: Collection[str], why: str) -> None:
        """Record that a destination does not have what it took."""
        with self._change():
            for instance in instances:
                self._receipt(key, destination, instance, delivered=0, verified=None, detail=why)

    def _prove(self, key: str, destination: str, instance: str, proof: Proof) -> None:
        """The detail stays: it may tell of a warning."""
        self._connection.execute(
            "UPDATE receipts SET delivered=1, verified=1, transient=0, proof=?, answered_at=?"
            " WHERE job_key=? AND destination=? AND sop_instance_uid=?",
            (proof.value, schema.moment(now()), key, destination, instance),
        )

    def _not_committed(self, key: str, destination: str, instance: str, code: int) -> None:
        row = reason_of(code)
        delivered = int(row.remedy is not Remedy.SEND_AGAIN)
        verified = 0 if row.remedy is Remedy.NONE else None
        words = f"not committed: 0x{code:04X} {row.meaning}"
        self._receipt(key, destination, instance, delivered=delivered, verified=verified, detail=words)

    def _receipt(
        self,
        key: str,
        destination: str,
        instance: str,
        *,
        delivered: int,
        verified: int | None,
        detail: str,
    ) -> None:
        self._connection.execute(
            "UPDATE receipts SET delivered=?, verified=?, detail=?, proof='', transient=?, answered_at=?"
            " WHERE job_key=? AND destination=? AND sop_instance_uid=?",
            (
                delivered,
                verified,
                detail,
                int(verified is None),
                schema.moment(now()),
                key,
                destination,
                instance,
            ),
        )
