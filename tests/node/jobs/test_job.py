"""What may happen to a job at each stage, as the table below says; everything else is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import (
    Failure,
    Job,
    Stage,
    advanced,
    made_again,
    quarantined,
    retried,
    waiting,
)
from lfmri_node.node.jobs.work import Kind, Work

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=9)
FAILURE = Failure(code="LF-X-001", message="m", hint="h", transient=True)

NEXT = {
    "received": "decoded",
    "decoded": "calibrated",
    "calibrated": "reconstructed",
    "reconstructed": "encoded",
    "encoded": "sent",
    "sent": "verified",
}


def job(stage: Stage, *, resume: Stage | None = None, attempts: int = 2, finished: bool = False) -> Job:
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
        next_try_at=NOW,
        failure=FAILURE,
        progress=(1, 3),
        recipe={},
        summary={},
        received_at=NOW,
        updated_at=NOW,
        finished_at=NOW if finished else None,
    )


def refused(change: Callable[[], Job]) -> str:
    with pytest.raises(JobError) as caught:
        change()
    return caught.value.code


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("to", list(Stage))
def test_only_the_next_stage_can_be_reached(stage: Stage, to: Stage) -> None:
    if NEXT.get(stage.value) == to.value:
        after = advanced(job(stage), to, at=LATER)
        assert (after.stage, after.attempts, after.failure, after.next_try_at) == (to, 0, None, None)
        assert (after.running, after.progress, after.updated_at) == (None, None, LATER)
        assert refused(lambda: advanced(job(stage, finished=True), to, at=LATER)) == "LF-JOB-001"
    else:
        assert refused(lambda: advanced(job(stage), to, at=LATER)) == "LF-JOB-001"


@pytest.mark.parametrize("stage", [Stage(name) for name in NEXT])
def test_quarantine_remembers_the_stage_and_a_retry_returns_to_it(stage: Stage) -> None:
    held = quarantined(job(stage), FAILURE, at=LATER)
    assert (held.stage, held.resume, held.failure) == (Stage.QUARANTINED, stage, FAILURE)
    assert held.reached(stage)
    assert not held.is_open
    back = retried(held, at=LATER)
    assert (back.stage, back.resume, back.failure, back.attempts) == (stage, None, None, 0)
    assert back.is_open


def test_waiting_counts_and_says_when() -> None:
    after = waiting(job(Stage.ENCODED), FAILURE, LATER, at=NOW)
    assert (after.stage, after.attempts, after.failure, after.next_try_at) == (
        Stage.ENCODED,
        3,
        FAILURE,
        LATER,
    )
    assert after.running is None


def test_nothing_happens_any_more_to_what_is_finished_or_in_quarantine() -> None:
    for closed in (job(Stage.SENT, finished=True), job(Stage.QUARANTINED, resume=Stage.ENCODED)):
        assert refused(lambda closed=closed: waiting(closed, FAILURE, LATER, at=NOW)) == "LF-JOB-001"
        assert refused(lambda closed=closed: quarantined(closed, FAILURE, at=NOW)) == "LF-JOB-001"
        assert refused(lambda closed=closed: made_again(closed, at=NOW)) == "LF-JOB-001"
    assert refused(lambda: retried(job(Stage.SENT, finished=True), at=NOW)) == "LF-JOB-006"


def test_making_again_goes_back_to_the_raw_data_and_counts() -> None:
    once = made_again(job(Stage.ENCODED), at=NOW)
    assert (once.stage, once.summary) == (Stage.DECODED, {"made_again": 1})
    assert refused(lambda: made_again(once, at=NOW)) == "LF-JOB-001"


def test_reached_follows_the_order_of_stages() -> None:
    assert job(Stage.ENCODED).reached(Stage.CALIBRATED)
    assert not job(Stage.DECODED).reached(Stage.CALIBRATED)
    assert not job(Stage.QUARANTINED, resume=Stage.DECODED).reached(Stage.CALIBRATED)


def test_backoff_doubles_up_to_its_cap_for_ever() -> None:
    backoff = Backoff(base_s=5.0, cap_s=60.0)
    assert [backoff.delay_s(n) for n in range(1, 7)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert backoff.delay_s(1_000_000) == 60.0


def test_work_is_named_by_what_it_is() -> None:
    work = Work(kind=Kind.DELIVER, key="ab", destination="pacs")
    assert (work.id, work.queue, work.arguments()) == ("deliver:ab:pacs", "deliver.pacs", ("ab", "pacs"))
    work = Work(kind=Kind.ADMIT, key="ab")
    assert (work.id, work.queue, work.arguments()) == ("admit:ab", "compute", ("ab",))
