"""The durable workflows on DBOS: which stage comes next, across crashes, restarts and outages.

The job table says what is durable; DBOS says who has to move it. Workflow ``<job key>.<generation>``
is the one that moves a job, so enqueueing it twice does nothing, and whoever hands a job over (a
postponed try, an operator's retry, the step from computing to sending) raises the generation first.

Workflow names, queue names and the order of steps are a stored format: a pending workflow of an
earlier version is continued by this code (``application_version`` is fixed on purpose).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.node import logs
from lfmri_node.node.jobs.job import Failure, Job, Stage
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store, now

APPLICATION_VERSION = "lfmri-node-workflows-1"
APPLICATION_NAME = "lfmri-node"
ADMIT_QUEUE = "admit"
COMPUTE_QUEUE = "compute"
DELIVERY_QUEUE = "delivery"

_ADMIT, _COMPUTE, _DELIVER = "admit", "compute", "deliver"
_COMPUTE_STAGES = (Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED)
_PLACES = {ADMIT_QUEUE: 1, COMPUTE_QUEUE: 1, DELIVERY_QUEUE: 4}
_POLL_S = 0.2
# Left to `Workflows.reconcile`: a full disk heals, and DBOS stops stale workflows by its own errors.
_HEALS = (OSError, sqlite3.Error, SQLAlchemyError, dbos_error.DBOSException)
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


def workflow_id(key: str, generation: int) -> str:
    """Id of the workflow that has to move a job."""
    return f"{key}.{generation}"


def workflow_of(job: Job) -> tuple[str, str]:
    """(queue, workflow) that moves a job in its present state."""
    if job.is_measurement:
        return ADMIT_QUEUE, _ADMIT
    if job.stage in (Stage.ENCODED, Stage.SENT):
        return DELIVERY_QUEUE, _DELIVER
    return COMPUTE_QUEUE, _COMPUTE


def database_url(path: Path) -> str:
    """SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{path.absolute()}"


def enqueue_from_outside(database: Path, job: Job) -> None:
    """Enqueue the workflow of ``job`` from a process that is not the executor.

    Only writes to the queue; the running (or next) `Workflows` takes it from there.
    """
    queue, name = workflow_of(job)
    client = DBOSClient(system_database_url=database_url(database), application_name=APPLICATION_NAME)
    try:
        client.enqueue(
            {
                "workflow_name": name,
                "queue_name": queue,
                "workflow_id": workflow_id(job.key, job.generation),
                "app_version": APPLICATION_VERSION,
            },
            job.key,
            job.generation,
        )
    finally:
        client.destroy()


class Workflows:
    """DBOS with our three workflows, launched inside the ``with`` block.

    Nothing leaves the machine: SQLite, no admin server, no conductor, no telemetry export.
    """

    def __init__(self, *, database: Path, executor_id: str, runner: Runner, store: Store) -> None:
        self._runner = runner
        self._store = store
        self._config = DBOSConfig(
            name=APPLICATION_NAME,
            system_database_url=database_url(database),
            application_version=APPLICATION_VERSION,
            executor_id=executor_id,
            log_level="ERROR",
            enable_otlp=False,
        )
        self._functions: dict[str, Any] = {}
        self._running: set[str] = set()
        self._suspects: set[str] = set()

    def __enter__(self) -> Workflows:
        """Launch: pending workflows of this executor go on where they stopped."""
        DBOS(config=self._config)
        for body in (self._admit_body(), self._compute_body(), self._deliver_body()):
            self._functions[body.__name__] = DBOS.workflow(name=body.__name__, max_recovery_attempts=None)(
                body
            )
        DBOS.launch()
        for queue, places in _PLACES.items():
            DBOS.register_queue(queue, worker_concurrency=places, polling_interval_sec=_POLL_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DBOS.destroy()

    def enqueue(self, job: Job) -> None:
        """Make sure that the workflow which has to move ``job`` exists."""
        queue, name = workflow_of(job)
        wait_s = (job.not_before - now()).total_seconds() if job.not_before else 0.0
        self._enqueue(queue, name, job.key, job.generation, wait_s)

    def _enqueue(self, queue: str, name: str, key: str, generation: int, delay_s: float) -> None:
        delay = delay_s if delay_s > 0 else None
        with SetWorkflowID(workflow_id(key, generation)), SetEnqueueOptions(delay_seconds=delay):
            DBOS.enqueue_workflow(queue, self._functions[name], key, generation)

    def reconcile(self) -> int:
        """Give every unfinished job of the table a live workflow; returns how many had lost theirs.

        A job has none when the process died between its row and the queue, and when its workflow
        ended without moving the job or broke off without an end, as on a full disk. The latter is
        still called pending by DBOS; one that is so without running, in two calls one after the
        other, is taken to be broken off.
        """
        lost, suspects = 0, set[str]()
        for job in self._store.unfinished():
            name = workflow_id(job.key, job.generation)
            status = DBOS.get_workflow_status(name)
            idle = status is not None and status.status == "PENDING" and name not in self._running
            if status is None:
                self.enqueue(job)
            elif status.status in _ENDED or (idle and name in self._suspects):
                self.enqueue(self._store.renew(job.key, job.generation))
            else:
                suspects |= {name} if idle else set()
                continue
            lost += 1
        self._suspects = suspects
        return lost

    def _admit_body(self) -> Callable[[str, int], None]:
        def admit(key: str, generation: int) -> None:
            with self._watched(key, generation):
                self._follow(self._step(Stage.DECODED, key, generation))

        return admit

    def _compute_body(self) -> Callable[[str, int], None]:
        def compute(key: str, generation: int) -> None:
            with self._watched(key, generation):
                for stage in _COMPUTE_STAGES:
                    move = self._step(stage, key, generation)
                    if move["then"] != "go":
                        break
                self._follow(move)

        return compute

    def _deliver_body(self) -> Callable[[str, int], None]:
        def deliver(key: str, generation: int) -> None:
            with self._watched(key, generation):
                self._follow(self._step(Stage.SENT, key, generation))

        return deliver

    @contextmanager
    def _watched(self, key: str, generation: int) -> Iterator[None]:
        """Know that the workflow runs; put the job of a defect into quarantine instead of losing it."""
        name = workflow_id(key, generation)
        self._running.add(name)
        try:
            with _Reported(self._store, key):
                yield
        finally:
            self._running.discard(name)

    def _step(self, stage: Stage, key: str, generation: int) -> dict[str, Any]:
        return DBOS.run_step({"name": stage.value}, self._run, stage.value, key, generation)

    def _run(self, stage: str, key: str, generation: int) -> dict[str, Any]:
        if stage == Stage.SENT:
            move = self._runner.deliver(key, generation)
        else:
            move = self._runner.compute(key, generation, Stage(stage))
        heirs = [[*workflow_of(job), job.key, job.generation] for job in move.heirs]
        return {"then": move.then, "heirs": heirs, "delay_s": move.delay_s}

    def _follow(self, move: dict[str, Any]) -> None:
        for queue, name, key, generation in move["heirs"]:
            self._enqueue(queue, name, key, generation, move["delay_s"])


class _Reported:
    """Puts the job of a workflow that ends with an unexpected exception into quarantine."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, Exception) or issubclass(kind, _HEALS):
            return
        if not self._store.is_open(self._key):
            return
        failure = Failure(
            code="LF-JOB-010",
            message=f"a defect of the node stopped this job ({kind.__name__})",
            hint="send the line 'error=' of the service's log to the developers; then `lfmri-node retry`",
            transient=False,
        )
        logs.event("job.defect", level=logging.ERROR, job=self._key[:12], code=failure.code)
        self._store.quarantine(self._key, failure)
