"""The job table's side of an assignment: an operator says whose a measurement is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Identity, Job, Stage, unencoded
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.writer import now


class Assignments(Store):
    """The job table, seen by an operator who assigns."""

    def take_back(self, measurement: Job) -> None:
        """Forget what was assigned, and what was encoded with it; the scans are held again.

        Raises
        ------
        JobError
            LF-JOB-007 where one of them is being encoded or sent, LF-JOB-044 where it is superseded,
            LF-JOB-050 where a destination has taken something of it.
        """
        with self._change():
            jobs = [self.job(measurement.key), *self.scans(measurement.key)]
            for job in jobs:
                self._require_unseen(job)
            at = now()
            for job in jobs:
                for table in ("objects", "receipts", "deliveries", "transactions"):
                    self._connection.execute(f"DELETE FROM {table} WHERE job_key=?", (job.key,))
                self._write(replace(unencoded(job, at=at), identity=Identity.MISSING, updated_at=at))

    def _require_unseen(self, job: Job) -> None:
        """Check that nobody has anything of a job, or is about to."""
        if job.superseded:
            raise JobError("LF-JOB-044", "a corrected scan has taken the place of this job", "see that one")
        if any(stored.receipt.delivered for stored in self.receipts(job.key)):
            raise JobError(
                "LF-JOB-050",
                "something else was assigned to this job before, and objects were delivered with it",
                "what was delivered stays; to correct it, send the file again by `lfmri-node send`",
            )
        begun = "SELECT 1 FROM timings WHERE job_key=? AND outcome IS NULL AND stage IN (?, ?)"
        if self._rows(begun, job.key, Stage.ENCODED.value, Stage.SENT.value):
            raise JobError("LF-JOB-007", "this job is being worked on", "try again in a moment")

    def assign(self, measurement: Job, keep: Callable[[Sequence[Job]], None]) -> list[Job]:
        """Record that a measurement has its identity; returns it and its scans.

        Parameters
        ----------
        keep
            Makes the identity durable, before the row says that it is there. It gets the scans; not called
            where it is.

        Raises
        ------
        JobError
            LF-JOB-048 where nothing is missing.
        """
        with self._change():
            measurement = self.job(measurement.key)
            if measurement.identity is Identity.STATED:
                raise JobError(
                    "LF-JOB-048",
                    "the raw data of this job say whose they are",
                    "nothing is left to assign; to correct an identity, let the gateway send the scan again",
                )
            scans = self.scans(measurement.key)
            if measurement.identity is Identity.MISSING:
                keep(scans)
            found = [measurement, *scans]
            at = now()
            return [self._write(replace(job, identity=Identity.ASSIGNED, updated_at=at)) for job in found]
