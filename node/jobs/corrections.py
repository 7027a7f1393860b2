"""The job table's side of a correction: what is on record of the same samples gives way to it."""

from __future__ import annotations

from dataclasses import replace

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Failure, Job, quarantined
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.writer import now


class Corrections(Store):
    """The job table, seen by an operator who accepts a corrected scan."""

    def measurements_of(self, source_sha256: str) -> list[Job]:
        """Measurements of one ISMRMRD file, oldest first."""
        query = "SELECT * FROM jobs WHERE source_sha256=? AND parent IS NULL ORDER BY received_at, key"
        return [schema.as_job(row) for row in self._rows(query, source_sha256)]

    def supersede(self, measurement: Job, by: str) -> list[Job]:
        """Let another measurement take the place of one and of its scans; returns the scans.

        What is delivered stays as it is; what is not finished is put into quarantine for good.

        Raises
        ------
        JobError
            LF-JOB-007 where one of them is being worked on.
        """
        with self._change():
            scans = self.scans(measurement.key)
            for job in (self.job(measurement.key), *scans):
                if job.running is not None:
                    raise JobError("LF-JOB-007", "this job is being worked on", "wait until it is done")
                if job.is_open:
                    job = quarantined(job, _superseded(by), at=now())
                self._write(replace(job, summary={**job.summary, "superseded_by": by[:12]}))
            return scans


def _superseded(by: str) -> Failure:
    return Failure(
        code="LF-JOB-044",
        message=f"a corrected scan has taken the place of this one: {by[:12]}",
        hint="nothing is left to do here; see the other job",
        transient=False,
    )
