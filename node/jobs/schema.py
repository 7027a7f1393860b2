"""The way between the rows of the job table and values; `migrations` makes the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from lfmri_node.node.jobs.database import Row
from lfmri_node.node.jobs.job import Failure, Identity, Job, Stage

CRASHES = ("LF-JOB-011", "LF-JOB-012")
"""Outcomes of tries that count against a job: the worker ended by itself, or was ended for its time."""


def moment(value: datetime | None) -> str | None:
    """Aware time as ISO 8601 UTC text; texts of two moments compare like the moments."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")


def as_moment(text: str | None) -> datetime | None:
    """The aware time of `moment`."""
    return None if text is None else datetime.fromisoformat(text)


def failure_text(failure: Failure | None) -> str | None:
    """A failure as JSON."""
    if failure is None:
        return None
    return json.dumps([failure.code, failure.message, failure.hint, failure.transient])


def as_failure(text: str | None) -> Failure | None:
    """The failure of `failure_text`."""
    if text is None:
        return None
    code, message, hint, transient = json.loads(text)
    return Failure(code=code, message=message, hint=hint, transient=transient)


def job_row(job: Job) -> Mapping[str, object]:
    """Column -> value of one job."""
    return {
        "key": job.key,
        "parent": job.parent,
        "contrast": job.contrast,
        "repetition": job.repetition,
        "source_sha256": job.source_sha256,
        "calling_ae": job.calling_ae,
        "stage": job.stage.value,
        "resume": job.resume.value if job.resume else None,
        "running": job.running.value if job.running else None,
        "attempts": job.attempts,
        "next_try_at": moment(job.next_try_at),
        "failure": failure_text(job.failure),
        "progress": json.dumps(job.progress) if job.progress else None,
        "recipe": json.dumps(dict(job.recipe), sort_keys=True),
        "summary": json.dumps(dict(job.summary), sort_keys=True),
        "received_at": moment(job.received_at),
        "updated_at": moment(job.updated_at),
        "finished_at": moment(job.finished_at),
        "identity": job.identity.value,
        "priority": job.priority,
        "worker": job.worker,
    }


def as_job(row: Row) -> Job:
    """The job of one row."""
    progress = json.loads(row["progress"]) if row["progress"] else None
    received_at, updated_at = as_moment(row["received_at"]), as_moment(row["updated_at"])
    assert received_at is not None
    assert updated_at is not None
    return Job(
        key=row["key"],
        parent=row["parent"],
        contrast=row["contrast"],
        repetition=row["repetition"],
        source_sha256=row["source_sha256"],
        calling_ae=row["calling_ae"],
        stage=Stage(row["stage"]),
        resume=Stage(row["resume"]) if row["resume"] else None,
        running=Stage(row["running"]) if row["running"] else None,
        attempts=row["attempts"],
        next_try_at=as_moment(row["next_try_at"]),
        failure=as_failure(row["failure"]),
        progress=(progress[0], progress[1]) if progress else None,
        recipe=json.loads(row["recipe"]),
        summary=json.loads(row["summary"]),
        received_at=received_at,
        updated_at=updated_at,
        finished_at=as_moment(row["finished_at"]),
        identity=Identity(row["identity"]),
        priority=row["priority"],
        worker=row["worker"],
    )
