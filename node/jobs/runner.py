"""Moves one job by one stage: asks the worker or the destinations, and records what came of it.

Knows nothing of the workflow engine. Every method can be called again after a crash at any point:
what is durable is not repeated.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from typing import Literal

from lfmri_node.node import logs
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.delivery.deliver import Delivery
from lfmri_node.node.errors import Drained, StageFailed, WorkerDied
from lfmri_node.node.jobs.admission import Gate
from lfmri_node.node.jobs.job import Event, Failure, Job, Stage
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.jobs.store import ScanFound, Store, now
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.process import WorkerProcess
from lfmri_node.node.worker.task import Task, objects_in

_OPERATIONS = {
    Stage.DECODED: "decode",
    Stage.CALIBRATED: "calibrate",
    Stage.RECONSTRUCTED: "reconstruct",
    Stage.ENCODED: "encode",
}
_PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What the workflow has to do after a stage.

    Parameters
    ----------
    then
        ``go``: the next stage follows in the same workflow. ``stop``: this workflow has done its part.
    heirs
        Jobs, each with a workflow of its own that takes over.
    delay_s
        How long the heirs have to wait.
    """

    then: Literal["go", "stop"] = "stop"
    heirs: tuple[Job, ...] = ()
    delay_s: float = 0.0


class Runner:
    """Runs stages.

    Parameters
    ----------
    max_deaths
        A stage that was begun so often without ending (the worker or the node died in it) puts its
        job into quarantine: one bad job must not sink the others.
    keep_reconstructions
        Keep the intermediate results of finished jobs.
    """

    def __init__(
        self,
        *,
        store: Store,
        layout: Layout,
        worker: WorkerProcess,
        delivery: Delivery,
        backoff: Backoff,
        gate: Gate,
        max_deaths: int,
        keep_reconstructions: bool,
    ) -> None:
        self._store = store
        self._layout = layout
        self._worker = worker
        self._delivery = delivery
        self._backoff = backoff
        self._max_deaths = max_deaths
        self._keep = keep_reconstructions
        self._gate = gate

    def compute(self, key: str, generation: int, stage: Stage) -> Move:
        """Bring a job to ``stage`` by the worker, as workflow number ``generation`` of the job."""
        with self._gate.passed():
            while True:
                job = self._store.job(key)
                move = self._settled(job, stage)
                if move is None:
                    move = self._try(job, generation, stage)
                if move is not None:
                    return move

    def _settled(self, job: Job, stage: Stage) -> Move | None:
        """What follows where nothing is to be done for ``stage``; None where there is."""
        if job.stage is Stage.QUARANTINED:
            return Move()
        if not job.reached(stage):
            return None
        if job.is_measurement:
            return Move(heirs=tuple(scan for scan in self._store.scans(job.key) if scan.finished_at is None))
        if stage is Stage.ENCODED:
            return Move() if job.finished_at else Move(heirs=(job,))
        return Move(then="go")

    def _try(self, job: Job, generation: int, stage: Stage) -> Move | None:
        """One try of a stage; None where the job has to be looked at again."""
        with self._worker.turn():
            if self._gate.closed:
                raise Drained
            if self._store.deaths(job.key, stage) >= self._max_deaths:
                return self._poisoned(job, stage)
            begun = self._store.begin(job.key, generation, stage)
            if begun is None:
                return Move()
            logs.event("stage.begun", job=job.name, stage=stage, attempt=begun.attempts)
            try:
                self._work(begun, stage)
            except StageFailed as error:
                return self._failed(begun, stage, error)
            except WorkerDied as error:
                self._worker_died(begun, stage, error)
        return None

    def _work(self, job: Job, stage: Stage) -> None:
        shown = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal shown
            if time.monotonic() - shown > _PROGRESS_INTERVAL_S or done == total:
                shown = time.monotonic()
                self._store.set_progress(job.key, done, total)

        begun = time.monotonic()
        answer = self._worker.call(_OPERATIONS[stage], self.task(job).to_json(), progress)
        seconds = time.monotonic() - begun
        logs.event("stage.done", job=job.name, stage=stage, seconds=seconds)
        if stage is Stage.DECODED:
            scans = [ScanFound(**scan) for scan in answer.pop("scans")]
            self._store.split(job.key, scans, seconds=seconds, learned=answer)
            logs.event("measurement.split", job=job.name, scans=len(scans))
        elif stage is Stage.ENCODED:
            objects = objects_in(self._layout.objects(job.key))
            done = not self._delivery.destinations
            learned = {"n_objects": len(objects)}
            self._store.finish(
                job.key, Event.ENCODED, seconds=seconds, objects=objects, learned=learned, last=done
            )
        else:
            self._store.finish(job.key, Event(stage.value), seconds=seconds, learned=answer)

    def task(self, job: Job) -> Task:
        """The worker's view of a job."""
        return Task(
            sources=tuple(self._store.sources(job.key)),
            source_sha256=job.source_sha256,
            contrast=job.contrast or 0,
            repetition=job.repetition or 0,
            recipe=Recipe.from_json(job.recipe),
            work=self._layout.work(job.key),
            objects=self._layout.objects(job.key),
            created_at=job.received_at,
        )

    def _poisoned(self, job: Job, stage: Stage) -> Move:
        failure = Failure(
            code="LF-JOB-015",
            message=f"stage '{stage}' was begun {self._max_deaths} times and its process died each time",
            hint="see logs/worker.log in the data directory; `lfmri-node retry` lets it try again",
            transient=False,
        )
        return self._quarantine(job, stage, failure)

    def _quarantine(self, job: Job, stage: Stage, failure: Failure) -> Move:
        self._store.quarantine(job.key, failure)
        logs.event(
            "job.quarantined",
            level=logging.ERROR,
            job=job.name,
            stage=stage,
            code=failure.code,
            message=failure.message,
            hint=failure.hint,
        )
        return Move()

    def _failed(self, job: Job, stage: Stage, error: StageFailed) -> Move:
        failure = Failure(code=error.code, message=error.message, hint=error.hint, transient=error.transient)
        if not error.transient:
            return self._quarantine(job, stage, failure)
        return self._postpone(job, failure, tries=job.attempts)

    def _postpone(self, job: Job, failure: Failure, *, tries: int) -> Move:
        at = now()
        until = self._backoff.next_try(tries, at)
        job = self._store.postpone(job.key, failure, until)
        delay_s = (until - at).total_seconds()
        logs.event(
            "job.postponed",
            level=logging.WARNING,
            job=job.name,
            stage=job.stage,
            code=failure.code,
            attempt=tries,
            next_try_s=delay_s,
        )
        return Move(heirs=(job,), delay_s=delay_s)

    def _worker_died(self, job: Job, stage: Stage, error: WorkerDied) -> None:
        if self._gate.closed:
            self._store.release(job.key)
            raise Drained from error
        logs.event(
            "worker.died",
            level=logging.ERROR,
            job=job.name,
            stage=stage,
            code=error.code,
            attempt=job.attempts,
            message=error.message,
        )

    def deliver(self, key: str, generation: int) -> Move:
        """Send what is missing to every destination, once; ask those that can be asked."""
        with self._gate.passed():
            job = self._store.begin(key, generation, Stage.SENT) if self._store.is_open(key) else None
            if job is None:
                return Move()
            begun = time.monotonic()
            try:
                outcome = self._delivery.attempt(job)
            except Drained:
                self._store.release(key)
                raise
            if outcome.postponement is not None:
                return self._postpone(job, outcome.postponement, tries=job.attempts)
            if outcome.refusal is not None:
                return self._quarantine(job, Stage.SENT, outcome.refusal)
            seconds = time.monotonic() - begun
            if not job.reached(Stage.SENT):
                job = self._store.finish(key, Event.SENT, seconds=seconds, last=not outcome.verified)
            if outcome.verified:
                self._store.begin(key, generation, Stage.VERIFIED)
                job = self._store.finish(key, Event.VERIFIED, seconds=0.0, last=True)
            logs.event("job.finished", job=job.name, stage=job.stage, seconds=seconds)
            self._tidy(job)
            return Move()

    def _tidy(self, job: Job) -> None:
        if not self._keep:
            shutil.rmtree(self._layout.work(job.key), ignore_errors=True)
