"""The durable workflows on DBOS: one a measurement, one a scan, one a scan and destination.

DBOS carries what has to be done: queues, their order, retries, recovery. The job table says what is
durable. Whoever opens a row of the table has its workflow started, whose id says what it is: enqueued
where there is none, rewound to its first step where it has ended. Everything else DBOS does by itself.

Workflow names, queue names, ids and the order of steps are a stored format: a pending workflow of an
earlier version is continued by this code (``application_version`` is fixed on purpose).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.node import logs
from lfmri_node.node.errors import Drained, Fenced, JobError
from lfmri_node.node.jobs.drain import Drain, Line
from lfmri_node.node.jobs.job import Failure, Job, Stage
from lfmri_node.node.jobs.requests import Request, Requests
from lfmri_node.node.jobs.runner import Move, Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.work import CONTROL, Kind, Work, queue_of
from lfmri_node.node.jobs.workers import Workers

APPLICATION_VERSION = "lfmri-node-workflows-2"
APPLICATION_NAME = "lfmri-node"
T = TypeVar("T")

_COMPUTE_STAGES = (Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED)
_PLACES = 16
"""Workflows of one destination that may be under way; one of them has it, the others wait for their turn. Who
waits for another try has no place."""
_WORKER_PLACES = 1
"""Of what needs the worker none waits here while another process has nothing to do."""
_POLL_S, _WORKER_POLL_S = 0.2, 0.1
_PRIORITIES = 2
"""Of each of ours so many of DBOS's, the lowest first, from 1: a measurement's header, then scans."""
_HEALS = (OSError, sqlite3.Error, SQLAlchemyError)
"""A full disk or a locked database: no outcome of a workflow."""
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


def ask_for_retry(engine_url: str, key: str, name: str) -> None:
    """Tell a running engine, from another process, that a row of the table was opened again.

    Parameters
    ----------
    name
        Tells this request from every other one.
    """
    client = DBOSClient(system_database_url=engine_url, application_name=APPLICATION_NAME)
    try:
        client.enqueue(
            {
                "workflow_name": "retry",
                "queue_name": CONTROL,
                "workflow_id": f"retry:{key}:{name}",
                "app_version": APPLICATION_VERSION,
            },
            key,
        )
    finally:
        client.destroy()


class Engine:
    """DBOS with our workflows, launched inside the ``with`` block.

    Nothing but the database is spoken to: no admin server, no conductor, no telemetry export.

    Parameters
    ----------
    executor
        Of this process: what another one of the same leaves pending it takes up when it begins.
    destinations
        Names of all destinations: each has a queue of its own.
    computes, delivers
        Which queues this process takes from.
    """

    def __init__(
        self,
        *,
        url: str,
        executor: str,
        runner: Runner,
        store: Store,
        drain: Drain,
        destinations: Sequence[str],
        computes: bool = True,
        delivers: bool = True,
    ) -> None:
        self._runner = runner
        self._store = store
        self._drain = drain
        self._destinations = destinations
        self._worker = Line(drain)
        self._computes, self._delivers = computes, delivers
        self._config = DBOSConfig(
            name=APPLICATION_NAME,
            system_database_url=url,
            application_version=APPLICATION_VERSION,
            executor_id=executor,
            log_level="ERROR",
            enable_otlp=False,
        )
        self._functions: dict[str, Any] = {}
        self._asked = Requests()
        self._available = True
        self._thread = threading.Thread(target=self._serve_requests, name="engine-requests", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether workflows are started."""
        return self._thread.is_alive()

    def __enter__(self) -> Engine:
        """Launch: pending workflows go on where they stopped.

        Raises
        ------
        SQLAlchemyError
            The engine's database cannot be read or written.
        """
        DBOS(config=self._config)
        for body in (self._admit_body(), self._compute_body(), self._deliver_body(), self._retry_body()):
            register = DBOS.workflow(name=body.__name__, max_recovery_attempts=None)
            self._functions[body.__name__] = register(body)
        with ExitStack() as on_failure:
            on_failure.callback(DBOS.destroy)
            if not (self._computes and self._delivers):
                DBOS.listen_queues([queue_of(Kind.COMPUTE)] if self._computes else self._delivery_queues())
            DBOS.launch()
            DBOS.register_queue(
                queue_of(Kind.COMPUTE),
                worker_concurrency=_WORKER_PLACES,
                polling_interval_sec=_WORKER_POLL_S,
            )
            for name in self._delivery_queues():
                self._register(name)
            on_failure.pop_all()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DBOS.destroy()

    def _register(self, queue: str) -> None:
        DBOS.register_queue(queue, worker_concurrency=_PLACES, polling_interval_sec=_POLL_S)

    def _delivery_queues(self) -> list[str]:
        return [CONTROL, *(queue_of(Kind.DELIVER, destination) for destination in self._destinations)]

    def resume(self) -> int:
        """Start what is left to do and has no workflow: the engine never had it, or its database was lost,
        emptied or is an older one. Returns how much is left to do."""
        if self._delivers:
            self._store.set_destinations(self._runner.destinations_of)
        works = self._store.works()
        for work in works:
            self._asked.put(Request(work=work))
        return len(works)

    def set_destinations(self, destinations: Sequence[str]) -> None:
        """Deliver to these from now on, also what is unfinished.

        Raises
        ------
        JobError
            LF-OPS-007 where a database cannot be written now: then nothing has changed.
        """
        before = self._destinations
        try:
            for name in set(destinations) - set(before):
                self._register(queue_of(Kind.DELIVER, name))
            self._destinations = destinations
            self.resume()
        except _HEALS as error:
            self._destinations = before
            raise JobError(
                "LF-OPS-007",
                f"the destinations cannot be changed now ({type(error).__name__})",
                "`lfmri-node doctor` looks at the databases; then `lfmri-node reload` again",
            ) from None

    def take_up(self, measurement: Job) -> None:
        """Start the work of a measurement that was received, also again: whoever sends it a second time
        wants another try of what is in quarantine. Never waits for the engine's database."""
        for job in (measurement, *self._store.scans(measurement.key)):
            reopened = job.stage is Stage.QUARANTINED and not job.superseded
            if reopened:
                self._store.retry(job.key)
            for work in self._store.works(job.key):
                self._asked.put(Request(work=work, reopened=reopened))

    def _serve_requests(self) -> None:
        """Do what is asked for, when its time has come, until the engine's database takes it."""
        while not self._drain.begun:
            self._asked.take()
            self._asked.done(partial(self._served, waiting=self._waiting()))

    def _waiting(self) -> Container[Work]:
        """What waits for another try, as the table says; all of it where that cannot be asked now."""
        if any(request.pause is not None for request in self._asked.left.values()):
            with suppress(sqlite3.Error):
                return frozenset(self._store.works(waiting=True))
        return self._asked.left

    def _served(self, request: Request, waiting: Container[Work]) -> bool:
        work = request.work
        if request.pause is not None and not self._runner.is_over(work, request.pause, waiting):
            return False
        try:
            if request.broken_off and DBOS.get_workflow_status(work.id) is not None:
                served = bool(DBOS.resume_workflow(work.id, queue_name=work.queue))
            else:
                served = not self._runner.needs(work) or self._start(work) or not request.reopened
        except (*_HEALS, dbos_error.DBOSException) as error:
            if self._available:  # told once, however long it lasts
                cause = type(error).__name__
                logs.event("engine.unavailable", level=logging.ERROR, code="LF-JOB-017", message=cause)
            self._available = False
            return False
        self._available = True
        return served

    def _start(self, work: Work) -> bool:
        """Make sure that ``work`` has a workflow; whether it had none that is alive."""
        status = DBOS.get_workflow_status(work.id)
        if status is None:
            with SetWorkflowID(work.id), SetEnqueueOptions(priority=self._priority(work)):
                DBOS.enqueue_workflow(work.queue, self._functions[work.kind], *work.arguments())
            return True
        if status.status in _ENDED:
            with suppress(dbos_error.DBOSException):  # somebody else was faster
                DBOS.rewind_workflow(work.id, queue_name=work.queue)
            return True
        return False

    def _priority(self, work: Work) -> int:
        job = self._store.find(work.key)
        return 1 + _PRIORITIES * (job.priority if job is not None else 0) + (work.kind is not Kind.ADMIT)

    def take_over(self, epoch: int, dead: Collection[tuple[int, float]], workers: Workers) -> int:
        """Have everything go on that processes had in hand which are not alive; returns how many workflows.

        Parameters
        ----------
        dead
            Who is silent; see `Workers.silent`.
        """
        with workers.taking_over(dead, epoch) as heirs:
            left = [status for status in self._pending() if status.executor_id not in heirs.living]
            for status in left:
                DBOS.resume_workflow(status.workflow_id, queue_name=status.queue_name)
        if heirs.inherited or left:
            logs.event("work.taken_over", count=len(left))
            self.resume()  # also what waited for another try
        return len(left)

    def orphans(self, living: Container[str]) -> bool:
        """Whether workflows are pending of processes that are not alive."""
        return any(status.executor_id not in living for status in self._pending())

    def _pending(self) -> list[WorkflowStatus]:
        return DBOS.list_workflows(
            status="PENDING", application_name=APPLICATION_NAME, load_input=False, load_output=False
        )

    def _admit_body(self) -> Callable[[str], None]:
        def admit(key: str) -> None:
            work = Work(kind=Kind.ADMIT, key=key)
            with _Guard(self, work) as guard:
                if guard.came_of(self._computed(work, (Stage.DECODED,))):
                    self._start_next(key)

        return admit

    def _compute_body(self) -> Callable[[str], None]:
        def compute(key: str) -> None:
            work = Work(kind=Kind.COMPUTE, key=key)
            with _Guard(self, work) as guard:
                if guard.came_of(self._computed(work, _COMPUTE_STAGES)):
                    self._start_next(key)

        return compute

    def _deliver_body(self) -> Callable[[str, str], None]:
        def deliver(key: str, destination: str) -> None:
            work = Work(kind=Kind.DELIVER, key=key, destination=destination)
            with _Guard(self, work) as guard:
                guard.came_of(self._step("send", self._runner.deliver, key, destination))

        return deliver

    def _retry_body(self) -> Callable[[str], None]:
        def retry(key: str) -> None:
            works = [Work(kind=Kind.ADMIT, key=key), Work(kind=Kind.COMPUTE, key=key)]
            works += [Work(kind=Kind.DELIVER, key=key, destination=name) for name in self._destinations]
            for work in works:  # of which those are started that are left to do
                self._asked.put(Request(work=work, reopened=True))

        return retry

    def _computed(self, work: Work, stages: Sequence[Stage]) -> Move:
        """Go through stages with the worker to oneself; a measurement's header goes before all scans."""
        with self._worker.alone(ahead=work.kind is Kind.ADMIT):
            for stage in stages:
                move = self._step(stage.value, self._runner.compute, work.key, stage)
                if move.then != "go":
                    break
            return move

    def _step(self, name: str, action: Callable[..., Move], *arguments: str) -> Move:
        return Move(**DBOS.run_step({"name": name}, self._tried, action, *arguments))

    def _tried(self, action: Callable[..., Move], *arguments: str) -> dict[str, Any]:
        """One try, as DBOS keeps it. A table or a disk that cannot be written now is no outcome."""
        try:
            return asdict(action(*arguments))
        except (OSError, sqlite3.Error) as error:
            logs.event(
                "work.postponed",
                level=logging.ERROR,
                job=arguments[0][:12],
                code="LF-JOB-017",
                message=type(error).__name__,
            )
            return asdict(self._runner.soon())

    def _start_next(self, key: str) -> None:
        for kind, of, destination in DBOS.run_step({"name": "next"}, _unrecorded, self._next, key):
            self._start(Work(kind=Kind(kind), key=of, destination=destination))

    def _next(self, key: str) -> list[tuple[str, str, str]]:
        return [(work.kind.value, work.key, work.destination) for work in self._runner.after(key)]

    def left(self, work: Work, kind: type[BaseException] | None, move: Move | None) -> None:
        """See to it that ``work`` goes on when its workflow was left, by an exception of ``kind`` or not.

        A workflow does not outlive a try that has to wait, so that no wait takes a place from those who
        need not; it is begun anew when the wait is over.

        Parameters
        ----------
        move
            What came of the try.

        Raises
        ------
        Drained
            In place of an exception that heals: the workflow stays pending, and is resumed unless the
            service drains, or somebody else has it already.
        """
        if kind is None and move is not None and move.then in ("wait", "remake"):
            if move.then == "remake":
                self._asked.put(Request(work=Work(kind=Kind.COMPUTE, key=work.key), reopened=True))
            pause = self._runner.pause(work, move)
            self._asked.put(Request(work=work, reopened=True, pause=pause))
        elif kind is None:  # the row may have been opened again behind the back of the last step
            self._asked.put(Request(work=work, reopened=True))
        elif issubclass(kind, Fenced):
            raise Drained
        elif issubclass(kind, (Drained, *_HEALS)):
            if not self._drain.begun:
                self._asked.put(Request(work=work, broken_off=True))
            raise Drained
        elif issubclass(kind, dbos_error.DBOSException):  # its steps are those of another version
            self._asked.put(Request(work=work, reopened=True))
        elif issubclass(kind, Exception):
            self._put_aside(work.key, kind)

    def _put_aside(self, key: str, kind: type[BaseException]) -> None:
        job = self._store.find(key)
        if job is None or not job.is_open:
            return
        failure = Failure(
            code="LF-JOB-010",
            message=f"a defect of the node stopped this job ({kind.__name__})",
            hint="send the line 'error=' of the service's log to the developers; then `lfmri-node retry`",
            transient=False,
        )
        logs.event("job.defect", level=logging.ERROR, job=job.name, code=failure.code)
        self._store.quarantine(key, failure)


def _unrecorded(action: Callable[..., T], *arguments: object) -> T:
    """Do something as a step whose failure DBOS must not keep, because it would be raised again for ever.

    Raises
    ------
    Drained
        In place of an error of the job table or the disk.
    """
    try:
        return action(*arguments)
    except (OSError, sqlite3.Error) as error:
        raise Drained from error


class _Guard:
    """Tells the engine how a workflow was left, and what came of its try."""

    def __init__(self, engine: Engine, work: Work) -> None:
        self._engine = engine
        self._work = work
        self._move: Move | None = None

    def __enter__(self) -> _Guard:
        return self

    def came_of(self, move: Move) -> bool:
        """Note what came of the try; whether it is what was wanted."""
        self._move = move
        return move.then == "go"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.left(self._work, kind, self._move)
