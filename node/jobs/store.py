"""What happens to a job until it is encoded, and when an operator opens it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import (
    CUT_OFF,
    Failure,
    Identity,
    Job,
    Stage,
    advanced,
    made_again,
    quarantined,
    retried,
    waiting,
)
from lfmri_node.node.jobs.shipping import Shipping
from lfmri_node.node.jobs.writer import now


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFound:
    """One contrast and repetition that a measurement holds, the key of its job, and its recipe.

    None: that of the measurement.
    """

    key: str
    contrast: int
    repetition: int
    recipe: Mapping[str, object] | None = None


class Store(Shipping):
    """The job table as the service writes it; see `Writer`."""

    def add_measurement(
        self,
        *,
        key: str,
        source_sha256: str,
        calling_ae: str,
        received_at: datetime,
        recipe: Mapping[str, object],
        parts: Sequence[Path],
        identity: Identity = Identity.STATED,
        priority: int = 0,
    ) -> Job:
        """Record a received measurement; the row that is there already where it was received before.

        One whose raw data retention has taken begins anew, with time and settings of the first time: whoever
        sends it again wants it again, and gets the same objects.

        Raises
        ------
        FileNotFoundError
            Retention took the files while they came in: they have to be sent once more.
        """
        with self._change():
            known = self.find(key)
            if known is not None:
                if not self.is_purged(key, "raw"):
                    return known
                received_at, recipe = known.received_at, known.recipe
                self._forget(key)
            for path in parts:
                path.stat()
            job = Job(
                key=key,
                source_sha256=source_sha256,
                calling_ae=calling_ae,
                stage=Stage.RECEIVED,
                recipe=recipe,
                summary={},
                received_at=received_at,
                updated_at=now(),
                identity=identity,
                priority=priority,
            )
            self._write(job)
            self._add_sources(key, parts)
            return job

    def note_resent(self, key: str) -> str:
        """Record that a measurement came again, in its row and those of its scans.

        Returns
        -------
        What had become of it: ``finished``, ``quarantined``, ``under way``, of several scans all that there
        are; "" where it was not on record.
        """
        with self._change():
            known = self.find(key)
            if known is None:
                return ""
            jobs = [known, *self.scans(key)]
            at = schema.moment(now())
            for job in jobs:
                times = int(str(job.summary.get("resent", 0))) + 1
                self._write(replace(job, summary={**job.summary, "resent": times, "resent_at": at}))
            return ", ".join(sorted({_fate(job) for job in jobs[1:] or jobs}))

    def _forget(self, key: str) -> None:
        """Delete a measurement with its scans and everything about them."""
        self._connection.execute("DELETE FROM jobs WHERE key=?", (key,))

    def _add_sources(self, key: str, parts: Sequence[Path]) -> None:
        rows = [(key, n, str(path.relative_to(self._base))) for n, path in enumerate(parts, start=1)]
        self._connection.executemany("INSERT INTO sources VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def begin(self, key: str, stage: Stage, destination: str = "") -> Job:
        """Note that work on ``stage`` starts now."""
        with self._change():
            job = replace(
                self.job(key),
                running=stage,
                worker=self.epoch,
                progress=None,
                next_try_at=None,
                updated_at=now(),
            )
            self._end_timing(key, CUT_OFF, destination=destination)  # its end could not be written
            self._connection.execute(
                "INSERT INTO timings (job_key, stage, destination, attempt, begun_at) VALUES (?, ?, ?, ?, ?)",
                (key, stage.value, destination, job.attempts + 1, schema.moment(job.updated_at)),
            )
            return self._write(job)

    def set_progress(self, key: str, done: int, total: int) -> None:
        """Show how far the running stage is."""
        with self._change():
            self._connection.execute(
                "UPDATE jobs SET progress=? WHERE key=?", (json.dumps([done, total]), key)
            )

    def finish(
        self, key: str, stage: Stage, *, seconds: float, learned: Mapping[str, object] | None = None
    ) -> Job:
        """Record that a stage of the computation is durable."""
        with self._change():
            job = advanced(self.job(key), stage, at=now())
            self._end_timing(key, "done", seconds)
            return self._write(replace(job, summary={**job.summary, **(learned or {})}))

    def encoded(
        self, key: str, objects: Sequence[EncodedObject], destinations: Sequence[str], *, seconds: float
    ) -> Job:
        """Record the encoded objects and where each is to go; without destinations nothing is left to do."""
        with self._change():
            job = advanced(self.job(key), Stage.ENCODED, at=now())
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
            self._add_deliveries(key, destinations)
            finished_at = None if destinations else job.updated_at
            summary = {**job.summary, "n_objects": len(objects)}
            return self._write(replace(job, summary=summary, finished_at=finished_at))

    def split(
        self, key: str, scans: Sequence[ScanFound], *, seconds: float, learned: Mapping[str, object]
    ) -> list[Job]:
        """Record that a measurement's header is read: one job for each scan in it, at 'decoded'."""
        with self._change():
            parent = advanced(self.job(key), Stage.DECODED, at=now())
            self._end_timing(key, "done", seconds)
            self._write(replace(parent, finished_at=parent.updated_at, summary=dict(learned)))
            parts = self.sources(key)
            for scan in scans:
                if self.find(scan.key) is None:
                    self._write(
                        replace(
                            parent,
                            key=scan.key,
                            parent=key,
                            contrast=scan.contrast,
                            repetition=scan.repetition,
                            recipe=parent.recipe if scan.recipe is None else scan.recipe,
                            summary=dict(learned),
                        )
                    )
                self._add_sources(scan.key, parts)
            return self.scans(key)

    def postpone(self, key: str, failure: Failure, wait_s: float) -> Job:
        """Record a failure that heals by itself; the next try is due in ``wait_s``."""
        with self._change():
            self._end_timing(key, failure.code)
            at = now()
            return self._write(waiting(self.job(key), failure, at + timedelta(seconds=wait_s), at=at))

    def quarantine(self, key: str, failure: Failure) -> Job:
        """Record a failure that does not heal by itself."""
        with self._change():
            self._connection.execute(
                "UPDATE timings SET outcome=? WHERE job_key=? AND outcome IS NULL", (failure.code, key)
            )
            return self._write(quarantined(self.job(key), failure, at=now()))

    def give_back(self, key: str, destination: str = "") -> None:
        """Record that the node itself stopped the work, to go on later; the job is not to blame."""
        with self._change():
            self._end_timing(key, "drained", destination=destination)
            self._write(replace(self.job(key), running=None, worker=None, progress=None))

    def forget_running(self) -> None:
        """Forget what a process that is gone was working on; for the holder of the data directory's lock."""
        with self._change():
            self._connection.execute(
                "UPDATE jobs SET running=NULL, worker=NULL, progress=NULL WHERE running IS NOT NULL"
            )
            self._connection.execute("UPDATE timings SET outcome=? WHERE outcome IS NULL", (CUT_OFF,))

    def retry(self, key: str) -> Job:
        """Open a job for another try at once; a quarantined one returns to its last stage.

        Receipts that say "not delivered" or "not held" are dropped, so those objects are sent again.

        Raises
        ------
        JobError
            LF-JOB-006 where the job is finished, LF-JOB-007 where it is being computed, LF-JOB-042 where its
            raw data are deleted, LF-JOB-044 where it is superseded.
        """
        with self._change():
            job = self.job(key)
            if job.superseded:
                raise JobError(
                    "LF-JOB-044", "a corrected scan has taken the place of this job", "see that one"
                )
            if job.finished_at is None and self.is_purged(key, "raw"):
                raise JobError(
                    "LF-JOB-042", "[retention] has deleted the raw data of this job", "send it again"
                )
            if job.running is not None and job.running is not Stage.SENT:
                raise JobError("LF-JOB-007", "this job is being worked on", "wait, or stop the service first")
            self._write(retried(job, at=now()))
            self._connection.execute(
                "DELETE FROM receipts WHERE job_key=? AND (delivered=0 OR verified=0)", (job.key,)
            )
            self._connection.execute(
                "UPDATE deliveries SET tries=0, failure=NULL, failing_since=NULL, next_try_at=NULL,"
                " finished_at=NULL WHERE job_key=? AND (finished_at IS NULL OR failure IS NOT NULL)",
                (job.key,),
            )
            self._connection.execute("UPDATE transactions SET done=1 WHERE job_key=?", (job.key,))
            self._connection.execute(
                "UPDATE timings SET outcome='forgiven' WHERE job_key=? AND outcome IN (?, ?)",
                (job.key, *schema.CRASHES),
            )
            return self._settle(job.key)

    def make_again(self, key: str) -> bool:
        """Forget the encoded objects of a job, damaged or gone; False where that is done already."""
        with self._change():
            job = self.job(key)
            if job.stage is not Stage.ENCODED:
                return False
            self._connection.execute("DELETE FROM objects WHERE job_key=?", (key,))
            self._write(made_again(job, at=now()))
            return True


def _fate(job: Job) -> str:
    """What became of a job, in a word or two."""
    if job.stage is Stage.QUARANTINED:
        return "quarantined"
    return "under way" if job.is_open else "finished"
