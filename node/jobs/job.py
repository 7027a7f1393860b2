"""The life of a job: its stages, what may happen at each, and the record that is kept.

A stage names what is already safe on disk. A row without ``contrast`` stands for a whole
measurement until its header is read; then it has done its part, and one row for each contrast and
repetition goes on from `Stage.DECODED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from lfmri_node.node.errors import JobError


class Stage(StrEnum):
    """What is durable."""

    RECEIVED = "received"
    DECODED = "decoded"
    CALIBRATED = "calibrated"
    RECONSTRUCTED = "reconstructed"
    ENCODED = "encoded"
    SENT = "sent"
    VERIFIED = "verified"
    QUARANTINED = "quarantined"


class Event(StrEnum):
    """What can happen to a job."""

    DECODED = "decoded"
    CALIBRATED = "calibrated"
    RECONSTRUCTED = "reconstructed"
    ENCODED = "encoded"
    SENT = "sent"
    VERIFIED = "verified"
    POSTPONED = "postponed"  # a transient failure: the same stage again, later
    REFUSED = "refused"  # a failure that does not heal by itself
    RETRIED = "retried"  # an operator asked for another try


ORDER = (
    Stage.RECEIVED,
    Stage.DECODED,
    Stage.CALIBRATED,
    Stage.RECONSTRUCTED,
    Stage.ENCODED,
    Stage.SENT,
    Stage.VERIFIED,
)


def _transitions() -> Mapping[tuple[Stage, Event], Stage]:
    forward = {(before, Event(after.value)): after for before, after in pairwise(ORDER)}
    open_stages = ORDER[:-1]
    return {
        **forward,
        **{(stage, Event.POSTPONED): stage for stage in open_stages},
        **{(stage, Event.REFUSED): Stage.QUARANTINED for stage in open_stages},
        **{(stage, Event.RETRIED): stage for stage in open_stages},
    }


TRANSITIONS = _transitions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a stage did not finish: code, message without patient data, hint; heals by itself or not."""

    code: str
    message: str
    hint: str
    transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the job table. Holds no patient data.

    Parameters
    ----------
    key
        Hex job key (`lfmri_node.dicom_io.uids.JobKey`); of a measurement, derived from it.
    parent
        Key of the measurement that a scan came out of; None for a measurement.
    contrast, repetition
        None for a measurement.
    resume
        Stage to which an operator's retry returns; set while quarantined.
    running
        Stage that is being worked on; None where the job waits.
    attempts
        Times that the next stage was begun (or a delivery tried) without reaching it.
    generation
        Number of the workflow that has to move this job: grows whenever another must take over.
    not_before
        Earliest time of the next try; None: at once.
    finished_at
        Set when nothing is left to do.
    recipe
        `lfmri_node.node.jobs.recipe.Recipe` as JSON: what it is computed with.
    summary
        What the stages learned, JSON-able: counts, verdict, figures.
    """

    key: str
    parent: str | None
    contrast: int | None
    repetition: int | None
    source_sha256: str
    calling_ae: str
    stage: Stage
    resume: Stage | None
    running: Stage | None
    attempts: int
    generation: int
    not_before: datetime | None
    failure: Failure | None
    progress: tuple[int, int] | None
    recipe: Mapping[str, object]
    summary: Mapping[str, object]
    received_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def is_measurement(self) -> bool:
        return self.contrast is None

    @property
    def name(self) -> str:
        """First digits of the key: how logs and tables call the job."""
        return self.key[:12]

    def reached(self, stage: Stage) -> bool:
        """Whether what ``stage`` names is durable already (also where the job is quarantined)."""
        at = self.resume if self.stage is Stage.QUARANTINED else self.stage
        return at is not None and ORDER.index(at) >= ORDER.index(stage)


def next_stage(stage: Stage, event: Event, *, resume: Stage | None = None) -> Stage:
    """Stage after ``event``.

    Parameters
    ----------
    resume
        Where a quarantined job returns to when it is retried.

    Raises
    ------
    JobError
        LF-JOB-001 where the event cannot happen at this stage.
    """
    if (stage, event) == (Stage.QUARANTINED, Event.RETRIED) and resume is not None:
        return resume
    after = TRANSITIONS.get((stage, event))
    if after is None:
        raise JobError(
            "LF-JOB-001",
            f"a job at stage '{stage}' cannot take the event '{event}'",
            "look at `lfmri-node status`; only an unfinished or quarantined job can be retried",
        )
    return after


def apply(job: Job, event: Event, *, at: datetime, failure: Failure | None = None) -> Job:
    """The job after ``event``: stage moved, counters and failure set accordingly. Pure.

    Raises
    ------
    JobError
        LF-JOB-001 where the event cannot happen at this stage.
    """
    stage = next_stage(job.stage, event, resume=job.resume)
    moved = replace(job, stage=stage, running=None, progress=None, updated_at=at, not_before=None)
    if event is Event.REFUSED:
        return replace(moved, resume=job.stage, failure=failure)
    if event is Event.POSTPONED:
        return replace(moved, failure=failure, generation=job.generation + 1)
    if event is Event.RETRIED:
        return replace(moved, resume=None, failure=None, attempts=0, generation=job.generation + 1)
    handover = 1 if event is Event.ENCODED else 0
    return replace(moved, resume=None, failure=None, attempts=0, generation=job.generation + handover)
