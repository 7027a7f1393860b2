"""``lfmri-node serve``: listener, workflows, worker and deliveries in one life."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Protocol

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.listener import Listener
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.delivery.deliver import Delivery
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.doors.doors import Doors
from lfmri_node.node.errors import JobError
from lfmri_node.node.ingest import Ingest, listener_settings
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.migrations import VERSION, migrate
from lfmri_node.node.jobs.pulse import Heart, Lookout
from lfmri_node.node.jobs.recipe import Recipe, software_version
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import Databases, databases_of
from lfmri_node.node.jobs.workers import NODE
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import DataLock
from lfmri_node.node.monitor.serve import Monitor
from lfmri_node.node.monitor.vitals import Vitals
from lfmri_node.node.notify.watch import Watcher
from lfmri_node.node.notify.ways import require_secrets
from lfmri_node.node.reload import Live, obey
from lfmri_node.node.retention.command import Housekeeper
from lfmri_node.node.terminal.tables import print_error
from lfmri_node.node.worker.process import WorkerProcess
from lfmri_node.node.working import (
    confined,
    delivery_of,
    drain_out,
    engine_of,
    entered,
    named_errors,
    warm_up,
    worker_command,
    worker_of,
)

Receiver = Callable[[ReceivedMeasurement], Job]

_LOOK_S = 1.0


class Running(Protocol):
    """What lives until a signal."""

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Until ``stop``; ``hurry`` cuts the grace time short."""
        ...

    def reload(self) -> None:
        """Read the configuration again soon, as far as it can be."""
        ...


class Service:
    """The node.

    Parameters
    ----------
    worker
        Program and arguments of the worker; None for the usual one.
    places
        Folders that another one may use beside those of the usual one.
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
        places: Sequence[Path] = (),
        received: Callable[[Receiver], Receiver] | None = None,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._reread = reread
        self._asked = threading.Event()
        self._layout = Layout(root=config.node.data_dir)
        self._worker_command = list(worker or worker_command(config))
        self._places = places
        self._wrap = received

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Serve until ``stop``; then drain: no new work, the work under way ends or is given back.

        Raises
        ------
        JobError
            LF-JOB-002 where another process serves this data directory, LF-JOB-008 where the port
            cannot be used, LF-JOB-041 or LF-JOB-070 where the engine's database cannot be, LF-JOB-046 where a
            database was removed or replaced, LF-JOB-060 where the worker is to be confined and cannot be,
            LF-JOB-071 where others took this process for dead, LF-JOB-072 where another serves these jobs.
        sqlite3.Error
            The job table cannot be used.
        InvalidModel
            The weights are missing or altered.
        ConfigError
            LF-CFG-005 where a password cannot be had.
        """
        Recipe.of(self._config)
        config, databases = self._config, databases_of(self._config)
        destinations = destinations_of(config)
        require_secrets(config)
        auditor = Auditor(config)
        self._layout.make_private()
        with ExitStack() as stack:
            stack.enter_context(DataLock(self._layout.state))
            drain = Drain()
            if migrate(databases.table):
                logs.event("table.migrated", version=VERSION)
            store = stack.enter_context(entered(config, databases, NODE, stop))
            heart = self._heart(stack, store, databases)
            cage = confined(config)
            log = self._layout.worker_log
            worker = stack.enter_context(worker_of(config, cage, self._worker_command, log, self._places))
            if config.queue.compute:
                worker.start()
            auditor.application(started=True)
            stack.callback(auditor.application, started=False)
            stack.enter_context(auditor.forwarder())
            delivery = delivery_of(config, store, drain, destinations, auditor)
            engine = engine_of(
                config,
                databases,
                NODE,
                store=store,
                worker=worker,
                delivery=delivery,
                drain=drain,
                computes=config.queue.compute,
            )
            ingest = Ingest(config=config, store=store, engine=engine, auditor=auditor)
            received = self._wrap(ingest.received) if self._wrap else ingest.received
            settings = listener_settings(config, self._layout)
            listener = Listener(settings, received, ingest.reported, auditor.refused)
            doors = Doors(config, self._layout, listener.spool, received, store, cage)
            vitals = _vitals(listener, doors, engine, worker, drain, delivery)
            stack.enter_context(Monitor(config, vitals, version=software_version()))
            with named_errors(), databases.alone():
                stack.enter_context(engine)
            stack.callback(drain_out, config, drain, worker, hurry)
            if databases.shared:
                dead_after_s = config.queue.dead_after_s
                lookout = Lookout(databases.table, engine, store.epoch, dead_after_s=dead_after_s)
                stack.enter_context(lookout)
            opened = {path: _file_at(path) for path in databases.files}
            self._listen(listener, doors, ingest, engine)
            auditor.network_entry(attached=True)
            stack.callback(auditor.network_entry, attached=False)
            stack.callback(self._close, listener, doors, drain)
            stack.callback(stop.set)
            if config.queue.compute:
                warm_up(worker, stop)
            housekeeper = Housekeeper(config, stop)
            threading.Thread(target=housekeeper.run, name="housekeeper", daemon=True).start()
            watcher = Watcher(self._config, vitals, stop)
            watcher.start()
            live = Live(
                auditor=auditor,
                listener=listener,
                doors=doors,
                ingest=ingest,
                delivery=delivery,
                engine=engine,
                housekeeper=housekeeper,
                watcher=watcher,
            )
            while not stop.wait(_LOOK_S):
                _require_same(opened)
                if heart is not None:
                    heart.require_beating()
                if self._reread is not None and self._asked.is_set():
                    self._asked.clear()
                    self._config = obey(live, self._config, self._reread)
        logs.event("service.stopped")

    def reload(self) -> None:
        """Have the configuration read again soon; from a signal's handler, too."""
        self._asked.set()

    def _heart(self, stack: ExitStack, store: Store, databases: Databases) -> Heart | None:
        if not databases.shared:
            return None
        heart = Heart(databases.table, store.epoch, dead_after_s=self._config.queue.dead_after_s)
        return stack.enter_context(heart)

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


def serve_until_signalled(config: Config, reread: Callable[[], Config]) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one cuts the grace time short. SIGHUP: see `Service.reload`."""
    section = config.logging
    logs.configure(section.level, section.file, max_mb=section.max_mb, keep=section.keep, form=section.format)
    run_until_signalled(Service(config, reread=reread))


def run_until_signalled(service: Running) -> None:
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
