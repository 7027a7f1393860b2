"""``lfmri-node serve``: listener, workflows, worker and deliveries in one life."""

from __future__ import annotations

import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.listener import Listener
from lfmri_node.node import logs
from lfmri_node.node.config import Config
from lfmri_node.node.delivery.deliver import Delivery
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.errors import JobError
from lfmri_node.node.ingest import Ingest, listener_settings
from lfmri_node.node.jobs.admission import Gate
from lfmri_node.node.jobs.engine import Workflows
from lfmri_node.node.jobs.recipe import Recipe, software_version
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import DataLock
from lfmri_node.node.worker.process import WorkerProcess

Receiver = Callable[[ReceivedMeasurement], None]

_DRAIN_STEP_S = 0.1


def worker_command(config: Config) -> list[str]:
    """Program and arguments of the worker process."""
    recon = config.recon
    limits = [str(recon.memory_limit_gb or 0), str(recon.threads)]
    return [sys.executable, "-m", "lfmri_node.node.worker.main", *limits]


class Service:
    """The node.

    Parameters
    ----------
    worker
        Program and arguments of the worker; None for the usual one.
    received
        Wraps what is called when a measurement is safe in the spool; None for nothing in between.
        With ``worker`` the two places where a test holds the node still.
    """

    def __init__(
        self,
        config: Config,
        *,
        worker: Sequence[str] | None = None,
        received: Callable[[Receiver], Receiver] | None = None,
    ) -> None:
        self._config = config
        self._layout = Layout(root=config.node.data_dir)
        self._worker_command = list(worker or worker_command(config))
        self._wrap = received

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Serve until ``stop``; then drain: no new work, the stages under way end or are given back.

        Raises
        ------
        JobError
            LF-JOB-002 where another process serves this data directory, LF-JOB-008 where the port
            cannot be used.
        InvalidModel
            The weights are missing or altered.
        """
        config, layout = self._config, self._layout
        Recipe.of(config)
        layout.make_private()
        with ExitStack() as stack:
            stack.enter_context(DataLock(layout.state))
            store = Store(layout.job_table)
            stack.callback(store.close)
            store.clear_running()
            worker = WorkerProcess(
                self._worker_command, log=layout.worker_log, stage_limit_s=config.recon.stage_limit_s
            )
            stack.enter_context(worker)
            worker.start()
            gate = Gate()
            runner = self._runner(store, worker, gate)
            workflows = Workflows(
                database=layout.workflows, executor_id=config.node.executor_id, runner=runner, store=store
            )
            stack.enter_context(workflows)
            stack.callback(self._drain, gate, worker, hurry)
            listener = self._listen(store, workflows)
            stack.callback(listener.stop)
            while not stop.wait(config.node.housekeeping_s):
                _keep_house(workflows)
            gate.close()
            logs.event("service.draining")
        logs.event("service.stopped")

    def _runner(self, store: Store, worker: WorkerProcess, gate: Gate) -> Runner:
        config = self._config
        delivery = Delivery(
            store=store,
            destinations=destinations_of(config),
            gate=gate,
            max_attempts=config.retry.max_attempts,
        )
        return Runner(
            store=store,
            layout=self._layout,
            worker=worker,
            delivery=delivery,
            backoff=config.retry.backoff(),
            gate=gate,
            max_deaths=config.recon.max_deaths,
            keep_reconstructions=config.node.keep_reconstructions,
        )

    def _listen(self, store: Store, workflows: Workflows) -> Listener:
        """Take up what was left over, then open the port."""
        config = self._config
        ingest = Ingest(config=config, store=store, workflows=workflows)
        received = self._wrap(ingest.received) if self._wrap else ingest.received
        listener = Listener(listener_settings(config, self._layout), received)
        listener.spool.open()
        adopted = ingest.adopt(listener.spool.pending())
        resumed = workflows.reconcile()
        try:
            listener.start()
        except OSError as error:
            raise JobError(
                "LF-JOB-008",
                f"port {self._config.listener.port} cannot be used ({error.strerror})",
                "stop what uses it, or change listener.port",
            ) from None
        logs.event(
            "service.ready",
            port=listener.port,
            host=config.listener.host,
            executor=config.node.executor_id,
            version=software_version(),
            count=adopted + resumed,
        )
        return listener

    def _drain(self, gate: Gate, worker: WorkerProcess, hurry: threading.Event) -> None:
        """Let the stages under way end within the grace time; then stop the worker."""
        gate.close()
        waited_s = 0.0
        while not gate.wait_empty(_DRAIN_STEP_S):
            waited_s += _DRAIN_STEP_S
            if waited_s >= self._config.node.drain_s or hurry.is_set():
                gate.grace_over = True
                break
        worker.stop()
        if not gate.wait_empty(self._config.node.drain_s):
            logs.event("service.undrained", level=logging.WARNING)


def _keep_house(workflows: Workflows) -> None:
    """Find jobs that have lost their workflow; a full disk leaves it to the next time."""
    try:
        lost = workflows.reconcile()
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        logs.event(
            "housekeeping.failed", level=logging.ERROR, code="LF-JOB-017", message=type(error).__name__
        )
        return
    if lost:
        logs.event("workflows.renewed", level=logging.WARNING, count=lost)


def serve_until_signalled(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one cuts the grace time short."""
    logs.configure(config.logging.level, config.logging.file)
    run_until_signalled(Service(config))


def run_until_signalled(service: Service) -> None:
    """Run ``service`` with the two signals as its stop."""
    stop, hurry = threading.Event(), threading.Event()

    def signalled(number: int, _frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
    service.run(stop, hurry)
