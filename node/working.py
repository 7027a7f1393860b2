"""What `serve` and `lfmri-node worker` have in common: a share in the work on the jobs."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.config.secrets import named_secrets
from lfmri_node.node.delivery.deliver import Delivery, Destination
from lfmri_node.node.errors import Fenced, PostgresError, WorkerDied, damaged_database
from lfmri_node.node.jobs.drain import Drain
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.recipe import Recipe, goes_to
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import Databases
from lfmri_node.node.jobs.workers import Workers, executor, name_is_taken
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.process import TimeLimit, Weights, WorkerProcess
from lfmri_node.node.worker.sandbox import Sandbox, sandbox
from lfmri_node.recon.method.modelcard import card_of

_DRAIN_STEP_S, _ENTER_STEP_S, _WARM_AGAIN_S = 0.1, 1.0, 30.0
_GRACE, _GIVE_BACK = 0.8, 0.05
"""Parts of ``node.drain_s``: for work under way to end, and to be given back; the rest is for leaving."""
_PATIENCE = 2
"""So many times the time after which a worker is dead its name is waited for."""


def worker_command(config: Config) -> list[str]:
    """Program and arguments of the worker process."""
    recon = config.recon
    limits = [str(recon.memory_limit_gb or 0), str(recon.threads), recon.device.value, recon.precision.value]
    return [sys.executable, "-m", "lfmri_node.node.worker.main", *limits]


@contextmanager
def entered(config: Config, databases: Databases, name: str, stop: threading.Event) -> Iterator[Store]:
    """Work on the jobs under ``name`` for the length of the block; yields the job table for it.

    A table of SQLite belongs to the holder of the data directory's lock. In PostgreSQL the name of a process
    that has just died may have to be waited for.

    Raises
    ------
    JobError
        LF-JOB-072 where another process of this name is at work.
    sqlite3.Error
        The job table cannot be used.
    """
    dead_after_s = config.queue.dead_after_s
    end = time.monotonic() + _PATIENCE * dead_after_s
    with closing(Workers(databases.table)) as workers:
        while (epoch := workers.enter(name, alone=not databases.shared, dead_after_s=dead_after_s)) is None:
            if stop.wait(_ENTER_STEP_S) or time.monotonic() > end:
                raise name_is_taken(name)
        with closing(Store(databases.table, epoch=epoch)) as store:
            if not databases.shared:
                store.forget_running()
            try:
                yield store
            finally:
                with suppress(sqlite3.Error, Fenced):  # others find out by the silence
                    workers.leave(epoch)


def engine_of(
    config: Config,
    databases: Databases,
    name: str,
    *,
    store: Store,
    worker: WorkerProcess,
    delivery: Delivery,
    drain: Drain,
    computes: bool = True,
    delivers: bool = True,
) -> Engine:
    """The engine of a process; see `Engine`."""
    names = tuple(section.name for section in config.destinations)
    runner = Runner(
        store=store,
        layout=Layout(root=config.node.data_dir),
        worker=worker,
        time_limit=TimeLimit(stage_s=config.recon.stage_limit_s, slice_s=config.recon.slice_limit_s),
        delivery=delivery,
        takers=delivery.takers if delivers else partial(_takers, config),
        backoff=config.retry.backoff(),
        drain=drain,
        max_crashes=config.recon.max_crashes,
        keep_reconstructions=config.node.keep_reconstructions,
    )
    return Engine(
        url=databases.engine_url,
        executor=executor(name, store.epoch) if databases.shared else name,
        runner=runner,
        store=store,
        drain=drain,
        destinations=names,
        computes=computes,
        delivers=delivers,
        shared=databases.shared,
    )


def _takers(config: Config, job: Job) -> list[str]:
    """`Delivery.takers` of a process that does not deliver, and needs no password of a destination."""
    return [
        section.name
        for section in config.destinations
        if goes_to(job.recipe, section.name, ruled=section.only is not None)
    ]


def confined(config: Config) -> Sandbox:
    """What network, files and privileges are taken from processes that parse foreign bytes."""
    found = sandbox(config.recon.sandbox, forgets=named_secrets(config).variables)
    level = logging.INFO if found.whole else logging.WARNING
    logs.event("worker.sandbox", level=level, what=str(found))
    return found


def worker_of(
    config: Config, cage: Sandbox, command: Sequence[str], log: Path, places: Sequence[Path] = ()
) -> WorkerProcess:
    """The reconstruction process: it reads raw data and weights, and writes results.

    Parameters
    ----------
    places
        Folders that it may use beside.
    """
    layout = Layout(root=config.node.data_dir)
    numba = os.environ.get("NUMBA_CACHE_DIR") or str(layout.compiled)
    writes = [layout.root / "work", layout.root / "objects", Path(numba), *places]
    for folder in writes:
        folder.mkdir(parents=True, exist_ok=True)

    def launcher(weights: Sequence[Weights]) -> list[str]:
        files = [file for path, _ in weights for file in (Path(path), card_of(Path(path)))]
        environment = {"NUMBA_CACHE_DIR": numba}
        return cage.launcher(reads=[layout.spool, *files], writes=writes, environment=environment)

    return WorkerProcess(command, log=log, launcher=launcher, weights=Recipe.of(config).own_weights())


def delivery_of(
    config: Config, store: Store, drain: Drain, destinations: Sequence[Destination], auditor: Auditor
) -> Delivery:
    """The deliveries of a process; none without destinations."""
    return Delivery(
        store=store,
        destinations=destinations,
        drain=drain,
        backoff=config.retry.backoff(),
        limit=config.retry.patience(),
        auditor=auditor,
    )


def drain_out(config: Config, drain: Drain, worker: WorkerProcess, hurry: threading.Event) -> None:
    """Let the work under way end within the grace time; then stop the worker and leave the rest."""
    drain.begin()
    end = time.monotonic() + config.node.drain_s * _GRACE
    while not drain.wait_idle(_DRAIN_STEP_S) and time.monotonic() < end and not hurry.is_set():
        pass
    drain.grace_over = True
    worker.stop()
    if not drain.wait_idle(config.node.drain_s * _GIVE_BACK):
        logs.event("service.undrained", level=logging.WARNING)


def warm_up(worker: WorkerProcess, stop: threading.Event) -> None:
    """Have the worker ready before the first job, however often it takes; in a thread of its own."""

    def repeat() -> None:
        while not stop.is_set():
            try:
                worker.get_ready()
            except WorkerDied:
                stop.wait(_WARM_AGAIN_S)
            else:
                return

    threading.Thread(target=repeat, name="warm-up", daemon=True).start()


@contextmanager
def named_errors() -> Iterator[None]:
    """Give an error of the engine's database at the start its code.

    Raises
    ------
    JobError
        LF-JOB-041, LF-JOB-070
    """
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise damaged_database(error.orig) from None
        state = getattr(error.orig, "sqlstate", None) or type(error.orig).__name__
        raise damaged_database(PostgresError(state)) from None


def worker_log(layout: Layout, name: str) -> Path:
    """File of what the libraries of a named worker's process print."""
    return layout.logs / f"worker-{name}.log"
