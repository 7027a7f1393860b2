"""``lfmri-node worker``: one more process that computes, on this machine or on another one.

It shares PostgreSQL and the data directory with `serve`, and neither listens nor delivers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.pulse import Heart, Lookout
from lfmri_node.node.jobs.recipe import Recipe, software_version
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.jobs.workers import NODE
from lfmri_node.node.layout import Layout
from lfmri_node.node.signals import run_until_signalled
from lfmri_node.node.working import (
    confined,
    delivery_of,
    drain_out,
    engine_of,
    entered,
    named_errors,
    warm_up,
    worker_command,
    worker_log,
    worker_of,
)

_LOOK_S = 1.0


class ComputeService:
    """A worker.

    Parameters
    ----------
    name
        Its own among all that share the jobs, the same after a restart.
    worker
        Program and arguments of the reconstruction process; None for the usual one.
    places
        Folders that another one may use beside those of the usual one.
    """

    def __init__(
        self,
        config: Config,
        name: str,
        *,
        worker: Sequence[str] | None = None,
        places: Sequence[Path] = (),
    ) -> None:
        if config.queue.url is None:
            raise JobError(
                "LF-JOB-073",
                "a worker of its own needs jobs that can be shared",
                "set queue.url to a PostgreSQL database, for `serve` and for every worker",
            )
        if name == NODE:
            raise JobError("LF-JOB-072", f"'{NODE}' is the name of `serve`", "give the worker another one")
        self._config = config
        self._name = name
        self._places = places
        self._layout = Layout(root=config.node.data_dir)
        self._worker_command = list(worker or worker_command(config))

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Compute until ``stop``; then drain.

        Raises
        ------
        JobError
            LF-JOB-004 the job table is of another version, LF-JOB-071 others took this process for dead,
            LF-JOB-072 another worker has this name.
        sqlite3.Error
            The database cannot be used.
        InvalidModel
            The weights are missing or altered.
        """
        config, dead_after_s = self._config, self._config.queue.dead_after_s
        Recipe.of(config)
        self._layout.make_private()
        databases = databases_of(config)
        log = worker_log(self._layout, self._name)
        with ExitStack() as stack:
            drain = Drain()
            auditor = Auditor(config, worker=self._name)
            store = stack.enter_context(entered(config, databases, self._name, stop))
            heart = stack.enter_context(Heart(databases.table, store.epoch, dead_after_s=dead_after_s))
            auditor.application(started=True)
            stack.callback(auditor.application, started=False)
            stack.enter_context(auditor.forwarder())
            cage = confined(config)
            worker = worker_of(config, cage, self._worker_command, log, self._places)
            stack.enter_context(worker)
            engine = engine_of(
                config,
                databases,
                self._name,
                store=store,
                worker=worker,
                delivery=delivery_of(config, store, drain, [], auditor),
                drain=drain,
                delivers=False,
            )
            with named_errors(), databases.alone():
                stack.enter_context(engine)
            stack.callback(drain_out, config, drain, worker, hurry)
            stack.enter_context(Lookout(databases.table, engine, store.epoch, dead_after_s=dead_after_s))
            stack.callback(drain.begin)
            warm_up(worker, stop)
            logs.event("worker.ready", executor=self._name, version=software_version())
            due = time.monotonic()
            while not stop.wait(_LOOK_S):
                heart.require_beating()
                if time.monotonic() >= due:
                    due = time.monotonic() + config.node.housekeeping_s
                    with suppress(OSError):
                        logs.cut(log, max_mb=config.logging.max_mb)
        logs.event("service.stopped", executor=self._name)

    def reload(self) -> None:
        """A worker reads its configuration when it starts; whoever changes it restarts the worker."""
        logs.event("config.needs_restart", level=logging.WARNING, executor=self._name)


def compute_until_signalled(config: Config, name: str) -> None:
    """Compute until SIGTERM or Ctrl-C; a second one cuts the grace time short."""
    section = config.logging
    logs.configure(section.level, None, max_mb=section.max_mb, keep=section.keep, form=section.format)
    run_until_signalled(ComputeService(config, name))
