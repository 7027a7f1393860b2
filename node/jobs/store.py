"""Writing the job table: SQLite, one writer process.

Every change is one transaction that is on disk before the call returns (``synchronous=FULL``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Event, Failure, Job, Stage, apply
from lfmri_node.node.jobs.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFound:
    """One contrast and repetition that a measurement holds, and the key of its job."""

    key: str
    contrast: int
    repetition: int


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


class Store(Ledger):
    """The job table in ``path``, created where missing.

    Raises
    ------
    JobError
        LF-JOB-004 where it has another schema version.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open(path, mode="rwc")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._change():
            if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in schema.TABLES.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={schema.VERSION}")
        self._check_version()

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _write(self, job: Job) -> Job:
        row = schema.job_row(job)
        columns = ", ".join(row)
        marks = ", ".join(f":{column}" for column in row)
        updates = ", ".join(f"{column}=excluded.{column}" for column in row if column != "key")
        self._connection.execute(
            f"INSERT INTO jobs ({columns}) VALUES ({marks}) ON CONFLICT(key) DO UPDATE SET {updates}", row
        )
        return job

    def add_measurement(
        self,
        *,
        key: str,
        source_sha256: str,
        calling_ae: str,
        received_at: datetime,
        recipe: Mapping[str, object],
        parts: Sequence[Path],
    ) -> Job:
        """Record a received measurement; the row that is there already where it was received before."""
        with self._change():
            rows = self._connection.execute("SELECT * FROM jobs WHERE key=?", (key,)).fetchall()
            if rows:
                return schema.as_job(rows[0])
            job = Job(
                key=key,
                parent=None,
                contrast=None,
                repetition=None,
                source_sha256=source_sha256,
                calling_ae=calling_ae,
                stage=Stage.RECEIVED,
                resume=None,
                running=None,
                attempts=0,
                generation=0,
                not_before=None,
                failure=None,
                progress=None,
                recipe=recipe,
                summary={},
                received_at=received_at,
                updated_at=now(),
                finished_at=None,
            )
            self._write(job)
            self._add_sources(key, parts)
            return job

    def _add_sources(self, key: str, parts: Sequence[Path]) -> None:
        rows = [(key, n, str(path.relative_to(self._base))) for n, path in enumerate(parts, start=1)]
        self._connection.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?, ?)", rows)

    def begin(self, key: str, generation: int, stage: Stage) -> Job | None:
        """Note that work on ``stage`` starts now; counted as an attempt before anything else happens.

        Returns
        -------
        The job; None where another workflow (a higher generation) has taken it over.
        """
        with self._change():
            job = self.job(key)
            if job.generation != generation:
                return None
            job = replace(
                job,
                running=stage,
                progress=None,
                attempts=job.attempts + 1,
                not_before=None,
                updated_at=now(),
            )
            self._connection.execute(
                "INSERT INTO timings (job_key, stage, attempt, begun_at) VALUES (?, ?, ?, ?)",
                (key, stage.value, job.attempts, schema.moment(job.updated_at)),
            )
            return self._write(job)

    def set_progress(self, key: str, done: int, total: int) -> None:
        """Show how far the running stage is."""
        with self._change():
            self._connection.execute(
                "UPDATE jobs SET progress=? WHERE key=?", (json.dumps([done, total]), key)
            )

    def _end_timing(self, key: str, outcome: str, seconds: float | None) -> None:
        self._connection.execute(
            "UPDATE timings SET outcome=?, seconds=?"
            " WHERE outcome IS NULL AND id=(SELECT max(id) FROM timings WHERE job_key=?)",
            (outcome, seconds, key),
        )

    def finish(
        self,
        key: str,
        event: Event,
        *,
        seconds: float,
        learned: Mapping[str, object] | None = None,
        objects: Sequence[EncodedObject] = (),
        last: bool = False,
    ) -> Job:
        """Record that a stage is durable; ``last`` where nothing is left to do after it."""
        with self._change():
            job = self.job(key)
            job = apply(job, event, at=now())
            job = replace(
                job,
                summary={**job.summary, **(learned or {})},
                finished_at=job.updated_at if last else None,
            )
            self._end_timing(key, "done", seconds)
            rows = [
                (
                    key,
                    position,
                    str(item.path.relative_to(self._base)),
                    item.sha256,
                    item.role,
                    item.sop_class_uid,
                    item.sop_instance_uid,
                    item.series_instance_uid,
                )
                for position, item in enumerate(objects)
            ]
            self._connection.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            return self._write(job)

    def split(
        self, key: str, scans: Sequence[ScanFound], *, seconds: float, learned: Mapping[str, object]
    ) -> list[Job]:
        """Record that a measurement's header is read: one job for each scan in it, at 'decoded'."""
        with self._change():
            parent = self.job(key)
            parent = apply(parent, Event.DECODED, at=now())
            self._end_timing(key, "done", seconds)
            self._write(replace(parent, finished_at=parent.updated_at, summary=dict(learned)))
            parts = self.sources(key)
            for scan in scans:
                self._write(
                    replace(
                        parent,
                        key=scan.key,
                        parent=key,
                        contrast=scan.contrast,
                        repetition=scan.repetition,
                        generation=0,
                        summary=dict(learned),
                    )
                )
                self._add_sources(scan.key, parts)
            return self.scans(key)

    def postpone(self, key: str, failure: Failure, until: datetime) -> Job:
        """Record a transient failure; another workflow takes the job up at ``until``."""
        with self._change():
            job = apply(self.job(key), Event.POSTPONED, at=now(), failure=failure)
            self._end_timing(key, failure.code, None)
            return self._write(replace(job, not_before=until))

    def quarantine(self, key: str, failure: Failure) -> Job:
        """Record a failure that does not heal by itself."""
        with self._change():
            job = apply(self.job(key), Event.REFUSED, at=now(), failure=failure)
            self._end_timing(key, failure.code, None)
            return self._write(job)

    def release(self, key: str) -> None:
        """Undo `begin`'s attempt: the node itself stopped the work, the job is not to blame."""
        with self._change():
            job = self.job(key)
            self._end_timing(key, "drained", None)
            self._write(replace(job, running=None, progress=None, attempts=max(job.attempts - 1, 0)))

    def clear_running(self) -> None:
        """Forget what a process that is gone was working on; for the holder of the executor's lock."""
        with self._change():
            self._connection.execute("UPDATE jobs SET running=NULL, progress=NULL WHERE running IS NOT NULL")

    def renew(self, key: str, generation: int) -> Job:
        """Raise the generation of a job whose workflow ended without moving it."""
        with self._change():
            job = self.job(key)
            if job.generation != generation:
                return job
            return self._write(replace(job, generation=generation + 1, running=None, updated_at=now()))

    def retry(self, key: str) -> Job:
        """Let another workflow take the job up at once; a quarantined one returns to its last stage.

        Receipts that say "not delivered" or "not held" are dropped, so those objects are sent again.

        Raises
        ------
        JobError
            LF-JOB-006 where the job is finished, LF-JOB-007 where it is being worked on.
        """
        with self._change():
            job = self.job(key)
            if job.finished_at is not None:
                raise JobError("LF-JOB-006", "this job is finished", "nothing is left to retry")
            if job.running is not None:
                raise JobError("LF-JOB-007", "this job is being worked on", "wait, or stop the service first")
            self._connection.execute(
                "DELETE FROM receipts WHERE job_key=? AND (delivered=0 OR verified=0)", (job.key,)
            )
            self._connection.execute(
                "UPDATE timings SET outcome='forgiven' WHERE job_key=? AND outcome IS NULL", (job.key,)
            )
            return self._write(apply(job, Event.RETRIED, at=now()))

    def add_receipt(self, key: str, receipt: DeliveryReceipt) -> None:
        """Keep what a destination answered for one object."""
        verified = None if receipt.verified is None else int(receipt.verified)
        with self._change():
            self._connection.execute(
                "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
                " ON CONFLICT(job_key, destination, sop_instance_uid) DO UPDATE SET"
                " dimse_status=excluded.dimse_status, delivered=excluded.delivered,"
                " verified=excluded.verified, detail=excluded.detail, transient=excluded.transient,"
                " answered_at=excluded.answered_at, tries=tries+1",
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
                ),
            )
