"""Every (stage, event) pair either moves a job as the table below says, or is refused."""

from datetime import UTC, datetime

import pytest

from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Event, Failure, Job, Stage, apply, next_stage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILURE = Failure(code="LF-X-001", message="m", hint="h", transient=True)

FORWARD = {
    (Stage.RECEIVED, Event.DECODED): Stage.DECODED,
    (Stage.DECODED, Event.CALIBRATED): Stage.CALIBRATED,
    (Stage.CALIBRATED, Event.RECONSTRUCTED): Stage.RECONSTRUCTED,
    (Stage.RECONSTRUCTED, Event.ENCODED): Stage.ENCODED,
    (Stage.ENCODED, Event.SENT): Stage.SENT,
    (Stage.SENT, Event.VERIFIED): Stage.VERIFIED,
}
OPEN = ("received", "decoded", "calibrated", "reconstructed", "encoded", "sent")


def expected(stage: Stage, event: Event) -> Stage | None:
    if (stage, event) in FORWARD:
        return FORWARD[stage, event]
    if stage.value in OPEN and event in (Event.POSTPONED, Event.RETRIED):
        return stage
    if stage.value in OPEN and event is Event.REFUSED:
        return Stage.QUARANTINED
    return None


def job(stage: Stage, *, resume: Stage | None = None, attempts: int = 2) -> Job:
    return Job(
        key="ab" * 32,
        parent=None,
        contrast=0,
        repetition=0,
        source_sha256="cd" * 32,
        calling_ae="GATEWAY",
        stage=stage,
        resume=resume,
        running=Stage.CALIBRATED,
        attempts=attempts,
        generation=7,
        not_before=NOW,
        failure=None,
        progress=(1, 3),
        recipe={},
        summary={},
        received_at=NOW,
        updated_at=NOW,
        finished_at=None,
    )


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("event", list(Event))
def test_every_pair(stage: Stage, event: Event) -> None:
    after = expected(stage, event)
    if after is None:
        with pytest.raises(JobError) as caught:
            next_stage(stage, event)
        assert caught.value.code == "LF-JOB-001"
    else:
        assert next_stage(stage, event) is after


@pytest.mark.parametrize("stage", [Stage(name) for name in OPEN])
def test_quarantine_remembers_the_stage_and_retry_returns_to_it(stage: Stage) -> None:
    held = apply(job(stage), Event.REFUSED, at=NOW, failure=FAILURE)
    assert (held.stage, held.resume, held.failure) == (Stage.QUARANTINED, stage, FAILURE)
    assert held.reached(stage)
    back = apply(held, Event.RETRIED, at=NOW)
    assert (back.stage, back.resume, back.failure, back.attempts) == (stage, None, None, 0)
    assert back.generation == held.generation + 1


def test_progress_clears_attempts_and_failure_but_postponing_keeps_count() -> None:
    postponed = apply(job(Stage.ENCODED), Event.POSTPONED, at=NOW, failure=FAILURE)
    assert (postponed.attempts, postponed.failure, postponed.generation) == (2, FAILURE, 8)
    assert postponed.running is None
    sent = apply(postponed, Event.SENT, at=NOW)
    assert (sent.attempts, sent.failure, sent.not_before) == (0, None, None)


def test_sending_is_another_workflow_than_computing() -> None:
    assert apply(job(Stage.RECONSTRUCTED), Event.ENCODED, at=NOW).generation == 8
    assert apply(job(Stage.DECODED), Event.CALIBRATED, at=NOW).generation == 7


def test_reached_follows_the_order_of_stages() -> None:
    assert job(Stage.ENCODED).reached(Stage.CALIBRATED)
    assert not job(Stage.DECODED).reached(Stage.CALIBRATED)
    assert not job(Stage.QUARANTINED, resume=Stage.DECODED).reached(Stage.CALIBRATED)


def test_backoff_doubles_up_to_its_cap_for_ever() -> None:
    backoff = Backoff(base_s=5.0, cap_s=60.0)
    assert [backoff.delay_s(n) for n in range(1, 7)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert backoff.delay_s(1_000_000) == 60.0
    assert (backoff.next_try(2, NOW) - NOW).total_seconds() == 10.0
