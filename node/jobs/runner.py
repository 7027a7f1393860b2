"""Does one piece of a job's work: asks the worker or a destination, and records what came of it.

Knows nothing of the workflow engine. Every method can be called again after a crash at any point:
what is durable is not repeated.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from lfmri_node.node import logs
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.delivery.deliver import Delivery
from lfmri_node.node.errors import Drained, NodeError, StageFailed, WorkerDied
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.job import Failure, Identity, Job, Stage
from lfmri_node.node.jobs.moves import GO, STOP, Move, Pause
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.jobs.store import ScanFound, Store
from lfmri_node.node.jobs.work import Kind, Work
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.process import Progress, TimeLimit, WorkerProcess, size_of
from lfmri_node.node.worker.task import Task, objects_in

_OPERATIONS = {
    Stage.DECODED: "decode",
    Stage.CALIBRATED: "calibrate",
    Stage.RECONSTRUCTED: "reconstruct",
    Stage.ENCODED: "encode",
}
_PROGRESS_INTERVAL_S = 0.2
_MOST_REMAKES = 3
_LEARNED_FROM = 20
_BEHIND_S = 900.0
"""So long, at most, others go before a scan that ended or held up the worker."""


HELD = "LF-JOB-047"


class Runner:
    """Does the work.

    Parameters
    ----------
    takers
        Gives the names of the destinations that a scan goes to, whoever brings it there.
    max_crashes
        A stage in which the worker ended so often, while the node lived, puts its job into quarantine:
        one bad scan must not sink the others.
    keep_reconstructions
        Keep the intermediate results of finished jobs.
    """

    def __init__(
        self,
        *,
        store: Store,
        layout: Layout,
        worker: WorkerProcess,
        time_limit: TimeLimit,
        delivery: Delivery,
        takers: Callable[[Job], Sequence[str]],
        backoff: Backoff,
        drain: Drain,
        max_crashes: int,
        keep_reconstructions: bool,
    ) -> None:
        self._store = store
        self._layout = layout
        self._worker = worker
        self._time_limit = time_limit
        self._delivery = delivery
        self._takers = takers
        self._backoff = backoff
        self._max_crashes = max_crashes
        self._keep = keep_reconstructions
        self._drain = drain

    def compute(self, key: str, stage: Stage) -> Move:
        """Bring a job to ``stage`` by the worker; the caller has the worker to itself."""
        with self._drain.working():
            job = self._store.find(key)
            if job is None or job.stage is Stage.QUARANTINED:
                return STOP
            if job.reached(stage):
                return GO
            if job.is_held:
                logs.event("job.held", level=logging.WARNING, job=job.name, code=HELD)
                return STOP
            if self._store.crashes(key, stage) >= self._max_crashes:
                return self._quarantine(job, stage, _crashed(stage, self._max_crashes))
            return self._try(job, stage)

    def _try(self, job: Job, stage: Stage) -> Move:
        try:
            self._worker.get_ready()
        except WorkerDied as error:
            self._stop_if_draining(job)
            return self._postpone(job, _failure(error, transient=True))
        job = self._store.begin(job.key, stage)
        if job.is_held:  # what was assigned has been taken back since
            self._store.give_back(job.key)
            return STOP
        logs.event("stage.begun", job=job.name, stage=stage, attempt=job.attempts + 1)
        try:
            self._work(job, stage)
        except StageFailed as error:
            failure = _failure(error, transient=error.transient)
            return self._postpone(job, failure) if error.transient else self._quarantine(job, stage, failure)
        except WorkerDied as error:
            self._stop_if_draining(job)
            return replace(self._postpone(job, _failure(error, transient=True)), behind=True)
        return GO

    def _stop_if_draining(self, job: Job) -> None:
        if self._drain.begun:
            self._store.give_back(job.key)
            raise Drained

    def _work(self, job: Job, stage: Stage) -> None:
        begun = time.monotonic()
        task = self.task(job)
        recipe = task.recipe
        answer = self._worker.call(
            _OPERATIONS[stage],
            task.to_json(),
            limit_s=self._time_limit.of(job.summary, self._paces(job, stage)),
            progress=self._shown_progress(job.key),
            weights=(recipe.weights, recipe.weights_sha256) if recipe.weights else None,
        )
        seconds = time.monotonic() - begun
        logs.event("stage.done", job=job.name, stage=stage, seconds=seconds)
        for note in answer.get("device_notes", ()):
            logs.event("device.out_of_memory", level=logging.WARNING, job=job.name, what=note)
        if stage is Stage.DECODED:
            scans = [ScanFound(**scan) for scan in answer.pop("scans")]
            self._store.split(job.key, scans, seconds=seconds, learned=answer)
            logs.event("measurement.split", job=job.name, scans=len(scans))
        elif stage is Stage.ENCODED:
            objects = objects_in(self._layout.objects(job.key))
            job = self._store.encoded(job.key, objects, self.destinations_of(job), seconds=seconds)
            self._tidy(job)
        else:
            self._store.finish(job.key, stage, seconds=seconds, learned=answer)

    def destinations_of(self, job: Job) -> tuple[str, ...]:
        """Where a scan is to go, of the destinations that there are now."""
        return tuple(self._takers(job))

    def _paces(self, job: Job, stage: Stage) -> list[float]:
        """What `TimeLimit` learns from; nothing after a try that was stopped: it may have been good."""
        if self._store.crashes(job.key, stage) > 0:
            return []
        tries = self._store.good_tries(stage, _LEARNED_FROM)
        return [seconds / size for seconds, summary in tries if (size := size_of(summary)) > 0]

    def _shown_progress(self, key: str) -> Progress:
        shown = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal shown
            if time.monotonic() - shown > _PROGRESS_INTERVAL_S or done == total:
                shown = time.monotonic()
                self._store.set_progress(key, done, total)

        return progress

    def task(self, job: Job) -> Task:
        """The worker's view of a job."""
        said = job.identity is Identity.ASSIGNED
        return Task(
            sources=tuple(self._store.sources(job.key)),
            source_sha256=job.source_sha256,
            contrast=job.contrast or 0,
            repetition=job.repetition or 0,
            recipe=Recipe.from_json(job.recipe),
            work=self._layout.work(job.key),
            objects=self._layout.objects(job.key),
            created_at=job.received_at,
            identity=self._layout.assigned(job.parent or job.key) if said else None,
            epoch=self._store.epoch or 0,
        )

    def after(self, key: str) -> list[Work]:
        """What has to be done next once a measurement is split or a scan encoded."""
        job = self._store.find(key)
        if job is None:
            return []
        if job.is_measurement:
            return [work for scan in self._store.scans(key) for work in self._store.works(scan.key)]
        return [work for work in self._store.works(key) if work.kind is Kind.DELIVER]

    def deliver(self, key: str, destination: str) -> Move:
        """Send what one destination misses, once."""
        with self._drain.working():
            channel = self._delivery.channels.get(destination)
            if channel is None:
                return STOP
            with channel.alone():
                job = self._store.find(key)
                if job is None or destination not in self._unshipped(job):
                    return STOP
                if job.stage is not Stage.ENCODED:  # it is being made again
                    return self.soon()
                return self._deliver(job, destination, channel.shut_s())

    def is_free(self, destination: str) -> bool:
        """Whether nobody sends to a destination, or waits for his turn to."""
        channel = self._delivery.channels.get(destination)
        return channel is not None and channel.is_free

    def _unshipped(self, job: Job) -> set[str]:
        shipments = self._store.shipments(job.key) if job.is_open else []
        return {item.destination for item in shipments if item.finished_at is None}

    def _deliver(self, job: Job, destination: str, shut_s: float) -> Move:
        if shut_s > 0:
            self._store.hold(job.key, destination, _silent(destination), shut_s)
            return Move(then="wait", wait_s=shut_s, told=True)
        damaged = self._delivery.damaged(job, destination)
        if damaged:
            return self._make_again(job, len(damaged))
        job = self._store.begin(job.key, Stage.SENT, destination)
        begun = time.monotonic()
        try:
            outcome = self._delivery.attempt(job, destination)
        except Drained:
            self._store.give_back(job.key, destination)
            raise
        failure, seconds = outcome.failure, time.monotonic() - begun
        wait_s = outcome.wait_s
        if wait_s is None and failure is not None and failure.transient:
            wait_s = self._backoff.delay_s(outcome.tries)
        job = self._store.ship(job.key, destination, failure, wait_s, seconds=seconds, note=outcome.note)
        if failure is not None:
            _tell(job, Stage.SENT, failure, wait_s, attempt=outcome.tries)
        elif job.finished_at is not None:
            logs.event("job.finished", job=job.name, stage=job.stage, seconds=seconds)
            self._tidy(job)
        return STOP if wait_s is None else Move(then="wait", wait_s=wait_s, told=True)

    def _make_again(self, job: Job, n_damaged: int) -> Move:
        """Have a job computed again whose encoded files are not those that were written."""
        failure = Failure(
            code="LF-DEL-005",
            message=f"{n_damaged} encoded objects are gone or are not what was written",
            hint="find out what changes files below node.data_dir, then `lfmri-node retry`",
            transient=False,
        )
        if int(str(job.summary.get("made_again", 0))) >= _MOST_REMAKES:
            return self._quarantine(job, Stage.SENT, failure)
        logs.event("objects.damaged", level=logging.ERROR, job=job.name, code=failure.code, objects=n_damaged)
        if self._store.make_again(job.key):
            shutil.rmtree(self._layout.objects(job.key), ignore_errors=True)
            shutil.rmtree(self._layout.work(job.key), ignore_errors=True)
        return Move(then="remake", wait_s=self._backoff.delay_s(1))

    def soon(self) -> Move:
        """Another try after the shortest wait."""
        return Move(then="wait", wait_s=self._backoff.delay_s(1))

    def pause(self, work: Work, move: Move) -> Pause:
        """The wait for another try of ``work`` that begins now."""
        channel = self._delivery.channels.get(work.destination)
        silent = channel is not None and channel.silent
        at = time.monotonic()
        behind_until = at + _BEHIND_S if move.behind else at
        return Pause(due=at + move.wait_s, told=move.told, silent=silent, behind_until=behind_until)

    def is_over(self, work: Work, pause: Pause, waiting: Container[Work]) -> bool:
        """Whether a wait is over: before its time where an operator asks for a try, or the destination
        answers again.

        Parameters
        ----------
        waiting
            What waits, as the table says.
        """
        channel = self._delivery.channels.get(work.destination)
        if pause.told and work not in waiting:
            if channel is not None:
                channel.open()
            return True
        answers = pause.silent and channel is not None and not channel.silent
        at = time.monotonic()
        if at >= pause.due and at < pause.behind_until and self._store.others_wait(work.key):
            return False
        return answers or at >= pause.due

    def needs(self, work: Work) -> bool:
        """Whether the work is still to be done."""
        return work in self._store.works(work.key)

    def _quarantine(self, job: Job, stage: Stage, failure: Failure) -> Move:
        job = self._store.quarantine(job.key, failure)
        _tell(job, stage, failure, None, attempt=job.attempts)
        return STOP

    def _postpone(self, job: Job, failure: Failure) -> Move:
        wait_s = self._backoff.delay_s(job.attempts + 1)
        job = self._store.postpone(job.key, failure, wait_s)
        _tell(job, job.stage, failure, wait_s, attempt=job.attempts)
        return Move(then="wait", wait_s=wait_s, told=True)

    def _tidy(self, job: Job) -> None:
        if job.finished_at is not None and not self._keep:
            shutil.rmtree(self._layout.work(job.key), ignore_errors=True)


def _tell(job: Job, stage: Stage, failure: Failure, wait_s: float | None, *, attempt: int) -> None:
    final = wait_s is None
    logs.event(
        "job.quarantined" if final else "job.postponed",
        level=logging.ERROR if final else logging.WARNING,
        job=job.name,
        stage=stage,
        code=failure.code,
        attempt=attempt,
        message=failure.message,
        **({"hint": failure.hint} if final else {"next_try_s": wait_s}),
    )


def _silent(destination: str) -> Failure:
    return Failure(
        code="LF-DEL-001",
        message=f"destination '{destination}' does not answer",
        hint="start the destination or correct its entry; the node tries again by itself",
        transient=True,
    )


def _failure(error: NodeError, *, transient: bool) -> Failure:
    return Failure(code=error.code, message=error.message, hint=error.hint, transient=transient)


def _crashed(stage: Stage, times: int) -> Failure:
    return Failure(
        code="LF-JOB-015",
        message=f"stage '{stage}' was begun {times} times and the reconstruction process ended each time",
        hint="see logs/worker.log in the data directory; `lfmri-node retry` lets it try again",
        transient=False,
    )
