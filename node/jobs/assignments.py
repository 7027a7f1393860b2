"""The job table's side of an assignment: an operator says whose a measurement is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Identity, Job
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.writer import now


class Assignments(Store):
    """The job table, seen by an operator who assigns."""

    def assign(self, measurement: Job, keep: Callable[[], None]) -> list[Job]:
        """Record that a measurement has its identity; returns it and its scans.

        Parameters
        ----------
        keep
            Makes the identity durable, before the row says that it is there. Not called where it is.

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
            if measurement.identity is Identity.MISSING:
                keep()
            found = [measurement, *self.scans(measurement.key)]
            at = now()
            return [self._write(replace(job, identity=Identity.ASSIGNED, updated_at=at)) for job in found]
