"""``lfmri-node serve``: listener, workflows, worker and deliveries in one life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.listener import Listener
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.delivery.deliver import Delivery, Destination
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
from lfmri_node.node.signals import run_until_signalled
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

_LOOK_S, _STUCK_S = 1.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a service is made of; ``heart`` where the job table is shared."""

    store: Store
    heart: Heart | None
    worker: WorkerProcess
    delivery: Delivery
    drain: Drain
    engine: Engine
    ingest: Ingest
    listener: Listener
    doors: Doors

    @property
    def vitals(self) -> Vitals:
        """What monitoring may ask."""
        return Vitals(
            listens=lambda: self.listener.alive,
            moves_jobs=lambda: self.engine.alive,
            worker_was_warm=lambda: self.worker.was_warm,
            worker_starts=lambda: self.worker.n_starts,
            draining=lambda: self.drain.begun,
            associations=lambda: {**self.listener.counts(), **self.doors.counts()},
            shut=self.delivery.shut,
        )


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
    stuck_s
        It ends where a delivery has not moved for so long.
    """

    def __init__(
        self,
        config: Config,
        *,
        worker: Sequence[str] | None = None,
        places: Sequence[Path] = (),
        received: Callable[[Receiver], Receiver] | None = None,
        reread: Callable[[], Config] | None = None,
        stuck_s: float = _STUCK_S,
    ) -> None:
        self._config = config
        self._stuck_s = stuck_s
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
            LF-JOB-071 where others took this process for dead, LF-JOB-072 where another serves these jobs,
            LF-JOB-075 where a delivery does not move.
        sqlite3.Error
            The job table cannot be used.
        InvalidModel
            The weights are missing or altered.
        ConfigError
            LF-CFG-005 where a password cannot be had.
        """
        config = self._config
        Recipe.of(config)
        databases, destinations = databases_of(config), destinations_of(config)
        require_secrets(config)
        auditor = Auditor(config)
        self._layout.make_private()
        with ExitStack() as stack:
            stack.enter_context(DataLock(self._layout.state))
            parts = self._composed(stack, stop, databases, destinations, auditor)
            stack.enter_context(Monitor(config, parts.vitals, version=software_version()))
            with named_errors(), databases.alone():
                stack.enter_context(parts.engine)
            stack.callback(drain_out, config, parts.drain, parts.worker, hurry)
            if databases.shared:
                dead_after_s = config.queue.dead_after_s
                lookout = Lookout(databases.table, parts.engine, parts.store.epoch, dead_after_s=dead_after_s)
                stack.enter_context(lookout)
            opened = {path: _file_at(path) for path in databases.files}
            live = self._begun(stack, stop, parts, auditor)
            while not stop.wait(_LOOK_S):
                _require_same(opened)
                parts.delivery.require_moving(self._stuck_s)
                if parts.heart is not None:
                    parts.heart.require_beating()
                if self._reread is not None and self._asked.is_set():
                    self._asked.clear()
                    self._config = obey(live, self._config, self._reread)
        logs.event("service.stopped")

    def _composed(
        self,
        stack: ExitStack,
        stop: threading.Event,
        databases: Databases,
        destinations: Sequence[Destination],
        auditor: Auditor,
    ) -> _Parts:
        """The parts, put together: of them only the worker runs."""
        config, drain = self._config, Drain()
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
        return _Parts(
            store=store,
            heart=heart,
            worker=worker,
            delivery=delivery,
            drain=drain,
            engine=engine,
            ingest=ingest,
            listener=listener,
            doors=Doors(config, self._layout, listener.spool, received, store, cage),
        )

    def _begun(self, stack: ExitStack, stop: threading.Event, parts: _Parts, auditor: Auditor) -> Live:
        """Open the doors, warm the worker up, and begin what is done now and then."""
        config = self._config
        self._listen(parts.listener, parts.doors, parts.ingest, parts.engine)
        auditor.network_entry(attached=True)
        stack.callback(auditor.network_entry, attached=False)
        stack.callback(self._close, parts.listener, parts.doors, parts.drain)
        stack.callback(stop.set)
        if config.queue.compute:
            warm_up(parts.worker, stop)
        housekeeper = Housekeeper(config, stop)
        threading.Thread(target=housekeeper.run, name="housekeeper", daemon=True).start()
        watcher = Watcher(config, parts.vitals, stop)
        watcher.start()
        return Live(
            auditor=auditor,
            listener=parts.listener,
            doors=parts.doors,
            ingest=parts.ingest,
            delivery=parts.delivery,
            engine=parts.engine,
            housekeeper=housekeeper,
            watcher=watcher,
        )

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
