"""``lfmri-node serve``: listener, workflows, worker and deliveries in one life."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from sqlalchemy.exc import DBAPIError

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.listener import Listener
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.delivery.deliver import Delivery, Destination
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.doors.doors import Doors
from lfmri_node.node.errors import JobError, WorkerDied, damaged_database
from lfmri_node.node.ingest import Ingest, listener_settings
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.migrations import VERSION, migrate
from lfmri_node.node.jobs.recipe import Recipe, software_version
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import DataLock
from lfmri_node.node.monitor.serve import Monitor
from lfmri_node.node.monitor.vitals import Vitals
from lfmri_node.node.notify.watch import Watcher
from lfmri_node.node.notify.ways import require_secrets
from lfmri_node.node.reload import Live, obey
from lfmri_node.node.retention.command import Housekeeper
from lfmri_node.node.terminal.tables import print_error
from lfmri_node.node.worker.process import TimeLimit, WorkerProcess
from lfmri_node.node.worker.sandbox import sandbox

Receiver = Callable[[ReceivedMeasurement], Job]

_DRAIN_STEP_S = 0.1
_LOOK_S = 1.0
_WARM_AGAIN_S = 30.0
_GRACE, _GIVE_BACK = 0.8, 0.05
"""Parts of ``node.drain_s``: for work under way to end, and to be given back; the rest is for leaving."""


def worker_command(config: Config) -> list[str]:
    """Program and arguments of the worker process."""
    recon = config.recon
    limits = [str(recon.memory_limit_gb or 0), str(recon.threads), recon.device.value]
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
    reread
        Reads the configuration again, for `reload`; None: it stays as it is.
    """

    def __init__(
        self,
        config: Config,
        *,
        worker: Sequence[str] | None = None,
        received: Callable[[Receiver], Receiver] | None = None,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._reread = reread
        self._asked = threading.Event()
        self._layout = Layout(root=config.node.data_dir)
        self._worker_command = list(worker or worker_command(config))
        self._wrap = received

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Serve until ``stop``; then drain: no new work, the work under way ends or is given back.

        Raises
        ------
        JobError
            LF-JOB-002 where another process serves this data directory, LF-JOB-008 where the port
            cannot be used, LF-JOB-041 where the engine's database cannot be, LF-JOB-060 where the worker is
            to be confined and cannot be, LF-JOB-046 where a database
            was removed or replaced.
        sqlite3.Error
            The job table cannot be used.
        InvalidModel
            The weights are missing or altered.
        ConfigError
            LF-CFG-005 where a password cannot be had.
        """
        Recipe.of(self._config)
        destinations = destinations_of(self._config)
        require_secrets(self._config)
        auditor = Auditor(self._config)
        self._layout.make_private()
        with ExitStack() as stack:
            stack.enter_context(DataLock(self._layout.state))
            drain = Drain()
            if migrate(self._layout.job_table) is not None:
                logs.event("table.migrated", version=VERSION)
            store = Store(self._layout.job_table)
            stack.callback(store.close)
            store.forget_running()
            command = [*self._confined(), *self._worker_command]
            worker = stack.enter_context(WorkerProcess(command, log=self._layout.worker_log))
            worker.start()
            auditor.application(started=True)
            stack.callback(auditor.application, started=False)
            stack.enter_context(auditor.forwarder())
            delivery = self._delivery(store, drain, destinations, auditor)
            engine = self._engine(store, worker, drain, delivery)
            ingest = Ingest(config=self._config, store=store, engine=engine, auditor=auditor)
            received = self._wrap(ingest.received) if self._wrap else ingest.received
            settings = listener_settings(self._config, self._layout)
            listener = Listener(settings, received, ingest.reported, auditor.refused)
            doors = Doors(self._config, self._layout, listener.spool, received, store)
            vitals = _vitals(listener, doors, engine, worker, drain, delivery)
            stack.enter_context(Monitor(self._config, vitals, version=software_version()))
            with _named_errors():
                stack.enter_context(engine)
            stack.callback(self._drain, drain, worker, hurry)
            opened = {path: _file_at(path) for path in (self._layout.job_table, self._layout.workflows)}
            self._listen(listener, doors, ingest, engine)
            auditor.network_entry(attached=True)
            stack.callback(auditor.network_entry, attached=False)
            stack.callback(self._close, listener, doors, drain)
            stack.callback(stop.set)
            threading.Thread(target=_warm_up, args=(worker, stop), name="warm-up", daemon=True).start()
            housekeeper = Housekeeper(self._config, stop)
            threading.Thread(target=housekeeper.run, name="housekeeper", daemon=True).start()
            watcher = Watcher(self._config, vitals, stop)
            watcher.start()
            live = Live(
                auditor=auditor,
                listener=listener,
                ingest=ingest,
                delivery=delivery,
                engine=engine,
                housekeeper=housekeeper,
                watcher=watcher,
            )
            while not stop.wait(_LOOK_S):
                _require_same(opened)
                if self._reread is not None and self._asked.is_set():
                    self._asked.clear()
                    self._config = obey(live, self._config, self._reread)
        logs.event("service.stopped")

    def reload(self) -> None:
        """Have the configuration read again soon; from a signal's handler, too."""
        self._asked.set()

    def _confined(self) -> tuple[str, ...]:
        """What takes network and privileges from the worker."""
        found = sandbox(self._config.recon.sandbox)
        level = logging.INFO if found.no_network else logging.WARNING
        logs.event("worker.sandbox", level=level, what=str(found))
        return found.launcher

    def _close(self, listener: Listener, doors: Doors, drain: Drain) -> None:
        """Take nothing new, and let what is coming in end."""
        logs.event("service.draining")
        drain.begin()
        stops = (listener.stop, doors.close)
        closing = [threading.Thread(target=stop, name="doors-stop", daemon=True) for stop in stops]
        end = time.monotonic() + self._config.node.drain_s
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))
        doors.cut_off()

    def _delivery(
        self, store: Store, drain: Drain, destinations: Sequence[Destination], auditor: Auditor
    ) -> Delivery:
        retry = self._config.retry
        return Delivery(
            store=store,
            destinations=destinations,
            drain=drain,
            backoff=retry.backoff(),
            limit=retry.patience(),
            auditor=auditor,
        )

    def _engine(self, store: Store, worker: WorkerProcess, drain: Drain, delivery: Delivery) -> Engine:
        config = self._config
        runner = Runner(
            store=store,
            layout=self._layout,
            worker=worker,
            time_limit=TimeLimit(stage_s=config.recon.stage_limit_s, slice_s=config.recon.slice_limit_s),
            delivery=delivery,
            backoff=config.retry.backoff(),
            drain=drain,
            max_crashes=config.recon.max_crashes,
            keep_reconstructions=config.node.keep_reconstructions,
        )
        return Engine(
            database=self._layout.workflows,
            runner=runner,
            store=store,
            drain=drain,
            destinations=tuple(delivery.channels),
        )

    def _listen(self, listener: Listener, doors: Doors, ingest: Ingest, engine: Engine) -> None:
        """Take up what was left over, then open the ports."""
        config = self._config
        listener.spool.open()
        adopted = ingest.adopt(listener.spool.pending())
        left = engine.resume()
        try:
            listener.start()
        except OSError as error:
            raise JobError(
                "LF-JOB-008",
                f"port {self._config.listener.port} cannot be used ({error.strerror})",
                "stop what uses it, or change listener.port",
            ) from None
        doors.open()
        logs.event(
            "service.ready",
            port=listener.port,
            host=config.listener.host,
            executor=config.node.executor_id,
            version=software_version(),
            count=adopted + left,
        )

    def _drain(self, drain: Drain, worker: WorkerProcess, hurry: threading.Event) -> None:
        """Let the work under way end within the grace time; then stop the worker and leave the rest."""
        drain.begin()
        grace_s = self._config.node.drain_s * _GRACE
        end = time.monotonic() + grace_s
        while not drain.wait_idle(_DRAIN_STEP_S) and time.monotonic() < end and not hurry.is_set():
            pass
        drain.grace_over = True
        worker.stop()
        if not drain.wait_idle(self._config.node.drain_s * _GIVE_BACK):
            logs.event("service.undrained", level=logging.WARNING)


def _vitals(
    listener: Listener,
    doors: Doors,
    engine: Engine,
    worker: WorkerProcess,
    drain: Drain,
    delivery: Delivery,
) -> Vitals:
    """What monitoring may ask of the parts of a service."""
    return Vitals(
        listens=lambda: listener.alive,
        moves_jobs=lambda: engine.alive,
        worker_was_warm=lambda: worker.was_warm,
        worker_starts=lambda: worker.n_starts,
        draining=lambda: drain.begun,
        associations=lambda: {**listener.counts(), **doors.counts()},
        shut=delivery.shut,
    )


def _warm_up(worker: WorkerProcess, stop: threading.Event) -> None:
    """Have the worker ready before the first job, however often it takes."""
    while not stop.is_set():
        try:
            worker.get_ready()
        except WorkerDied:
            stop.wait(_WARM_AGAIN_S)
        else:
            return


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _require_same(opened: Mapping[Path, tuple[int, int] | None]) -> None:
    """Check that the databases are those that were opened: whatever is written to another file is lost.

    Raises
    ------
    JobError
        LF-JOB-046
    """
    for path, file in opened.items():
        if _file_at(path) != file:
            raise JobError(
                "LF-JOB-046",
                f"{path.name} was removed or replaced while the node ran",
                "start the node again: it takes up everything that the spool and the other database hold",
            )


@contextmanager
def _named_errors() -> Iterator[None]:
    """Give an error of the engine's database at the start its code.

    Raises
    ------
    JobError
        LF-JOB-041
    """
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        raise damaged_database(error.orig) from None


def serve_until_signalled(config: Config, reread: Callable[[], Config]) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one cuts the grace time short. SIGHUP: see `Service.reload`."""
    section = config.logging
    logs.configure(section.level, section.file, max_mb=section.max_mb, keep=section.keep, form=section.format)
    run_until_signalled(Service(config, reread=reread))


def run_until_signalled(service: Service) -> None:
    """Run ``service`` with the two signals as its stop; then leave at once.

    Threads that still wait for a silent peer or a locked file would keep the interpreter: Python joins
    them. Nothing is lost with them, as nothing is lost with a kill.
    """
    stop, hurry = threading.Event(), threading.Event()

    def signalled(number: int, _frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
    signal.signal(signal.SIGHUP, lambda _number, _frame: service.reload())
    status = 0
    try:
        service.run(stop, hurry)
    except JobError as error:
        logs.event("service.failed", level=logging.ERROR, code=error.code)
        print_error(error.code, error.message, error.hint)
        status = 1
    logging.shutdown()
    os._exit(status)
