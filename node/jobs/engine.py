"""The durable workflows on DBOS: what starts them, and who has them in hand.

DBOS carries what has to be done: queues, their order, retries, recovery. The job table says what is
durable. Whoever opens a row of the table has its workflow started, whose id says what it is: enqueued
where there is none, rewound to its first step where it has ended. Everything else DBOS does by itself.

Queue names and ids are a stored format, as is what `Workflows` says of its own: a pending workflow of an
earlier version is continued by this code (``application_version`` is fixed on purpose).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Collection, Container, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error

from lfmri_node.node import logs
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.requests import Request, Requests
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.work import CONTROL, Kind, Work, queue_of
from lfmri_node.node.jobs.workers import Workers
from lfmri_node.node.jobs.workflows import HEALS, Workflows

APPLICATION_VERSION = "lfmri-node-workflows-2"
APPLICATION_NAME = "lfmri-node"

_PLACES = 16
"""Workflows of one destination that may be under way; one of them has it, the others wait for their turn. Who
waits for another try has no place."""
_WORKER_PLACES = 1
"""Of what needs the worker none waits here while another process has nothing to do."""
_POLL_S, _WORKER_POLL_S = 0.2, 0.1
_PRIORITIES = 2
"""Of each of ours so many of DBOS's, the lowest first, from 1: a measurement's header, then scans."""
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
    shared
        Other processes take from these queues too.
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
        shared: bool = False,
    ) -> None:
        self._runner = runner
        self._store = store
        self._drain = drain
        self._destinations = destinations
        self._computes, self._delivers = computes, delivers
        self._shared = shared
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
        self._workflows = Workflows(
            runner=runner,
            store=store,
            drain=drain,
            ask=self._asked.put,
            start=self._start,
            destinations=lambda: self._destinations,
        )
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
        for body in self._workflows.bodies():
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
        except HEALS as error:
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
        except (*HEALS, dbos_error.DBOSException) as error:
            if self._available:  # told once, however long it lasts
                cause = type(error).__name__
                logs.event("engine.unavailable", level=logging.ERROR, code="LF-JOB-017", message=cause)
            self._available = False
            return False
        self._available = True
        return served

    def _start(self, work: Work) -> bool:
        """Make sure that ``work`` has a workflow; whether it had none that is alive.

        What need not wait for its turn is begun at once: a queue is looked at only now and then. It is as
        durable as the rest, for at its next start DBOS goes on with what this process has begun.
        """
        status = DBOS.get_workflow_status(work.id)
        if status is None:
            body, arguments = self._functions[work.kind], work.arguments()
            with SetWorkflowID(work.id):
                if not self._shared and self._workflows.has_its_turn(work):
                    DBOS.start_workflow(body, *arguments)
                else:
                    with SetEnqueueOptions(priority=self._priority(work)):
                        DBOS.enqueue_workflow(work.queue, body, *arguments)
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
