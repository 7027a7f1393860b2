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


class Identity(StrEnum):
    """Who says whose scan it is; while nobody does, nothing of it is encoded."""

    STATED = "stated"
    MISSING = "missing"
    ASSIGNED = "assigned"


ORDER = (
    Stage.RECEIVED,
    Stage.DECODED,
    Stage.CALIBRATED,
    Stage.RECONSTRUCTED,
    Stage.ENCODED,
    Stage.SENT,
    Stage.VERIFIED,
)


CUT_OFF = "cut off"
"""Outcome of a try that nobody saw the end of: the process was killed, or the disk was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a stage did not finish: code, message without patient data, hint; heals by itself or not."""

    code: str
    message: str
    hint: str
    transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the job table: facts only; who moves the job is the engine's to know. No patient data.

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
        Tries in a row that failed for a passing reason; of several destinations, the most.
    next_try_at
        When the next try is due, for people; None: as soon as it is its turn.
    finished_at
        Set when nothing is left to do.
    recipe
        `lfmri_node.node.jobs.recipe.Recipe` as JSON: what it is computed with.
    priority
        0: a scanner waits for it; the higher, the later is its turn.
    worker
        Epoch of the process that works on it (`workers`); None where it waits.
    summary
        What the stages learned, JSON-able: counts, verdict, figures.
    identity
        Whether patient and study are known: from the raw data, or because an operator said so.
    """

    key: str
    source_sha256: str
    calling_ae: str
    stage: Stage
    recipe: Mapping[str, object]
    summary: Mapping[str, object]
    received_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    parent: str | None = None
    contrast: int | None = None
    repetition: int | None = None
    resume: Stage | None = None
    running: Stage | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    failure: Failure | None = None
    progress: tuple[int, int] | None = None
    identity: Identity = Identity.STATED
    priority: int = 0
    worker: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is reconstructed and waits for somebody to say whose it is (`lfmri-node assign`)."""
        return self.identity is Identity.MISSING and self.stage is Stage.RECONSTRUCTED

    @property
    def is_measurement(self) -> bool:
        return self.contrast is None

    @property
    def is_open(self) -> bool:
        """Whether something is left to do and nothing forbids it."""
        return self.finished_at is None and self.stage is not Stage.QUARANTINED

    @property
    def superseded(self) -> bool:
        """Whether an operator has let a corrected scan take its place."""
        return "superseded_by" in self.summary

    @property
    def name(self) -> str:
        """First digits of the key: how logs and tables call the job."""
        return self.key[:12]

    def reached(self, stage: Stage) -> bool:
        """Whether what ``stage`` names is durable already (also where the job is quarantined)."""
        at = self.resume if self.stage is Stage.QUARANTINED else self.stage
        return at is not None and ORDER.index(at) >= ORDER.index(stage)


def advanced(job: Job, stage: Stage, *, at: datetime) -> Job:
    """The job with ``stage``, the next one, durable.

    Raises
    ------
    JobError
        LF-JOB-001 where another stage is next, or none.
    """
    _require(job.is_open and stage in ORDER and ORDER.index(stage) == ORDER.index(job.stage) + 1, job, stage)
    return replace(_at_rest(job, at), stage=stage, attempts=0, failure=None)


def waiting(job: Job, failure: Failure, next_try_at: datetime, *, at: datetime) -> Job:
    """The job after a failure that heals by itself; it goes on at ``next_try_at``.

    Raises
    ------
    JobError
        LF-JOB-001 where nothing is left to try.
    """
    _require(job.is_open, job, "waiting")
    return replace(_at_rest(job, at), attempts=job.attempts + 1, failure=failure, next_try_at=next_try_at)


def quarantined(job: Job, failure: Failure, *, at: datetime) -> Job:
    """The job put aside until an operator wants another try.

    Raises
    ------
    JobError
        LF-JOB-001 where nothing is left that could fail.
    """
    _require(job.is_open, job, Stage.QUARANTINED)
    return replace(_at_rest(job, at), stage=Stage.QUARANTINED, resume=job.stage, failure=failure)


def retried(job: Job, *, at: datetime) -> Job:
    """The job as an operator wants it: at its last stage, its failures forgotten.

    Raises
    ------
    JobError
        LF-JOB-006 where the job is finished.
    """
    if job.finished_at is not None:
        raise JobError("LF-JOB-006", "this job is finished", "nothing is left to retry")
    return replace(_at_rest(job, at), stage=job.resume or job.stage, resume=None, attempts=0, failure=None)


def made_again(job: Job, *, at: datetime) -> Job:
    """The job without its encoded objects: they are damaged or gone, and the raw data are there."""
    _require(job.is_open and job.stage is Stage.ENCODED, job, Stage.DECODED)
    times = int(str(job.summary.get("made_again", 0))) + 1
    return replace(_at_rest(job, at), stage=Stage.DECODED, summary={**job.summary, "made_again": times})


def unencoded(job: Job, *, at: datetime) -> Job:
    """The job without its encoded objects, also where it was over or put aside with them: it gets others."""
    if not job.reached(Stage.ENCODED):
        return job
    return replace(_at_rest(job, at), stage=Stage.DECODED, attempts=0, failure=None, finished_at=None)


def _at_rest(job: Job, at: datetime) -> Job:
    return replace(
        job, resume=None, running=None, worker=None, progress=None, next_try_at=None, updated_at=at
    )


def _require(allowed: bool, job: Job, to: str) -> None:
    if not allowed:
        raise JobError(
            "LF-JOB-001",
            f"a job at stage '{job.stage}' cannot become '{to}'",
            "look at `lfmri-node status`; only an unfinished or quarantined job can be retried",
        )
