"""What an operator does to jobs while the service runs or stands still."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.engine import ask_for_retry
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.jobs.writer import now
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder


@dataclass(frozen=True, slots=True)
class Retried:
    """Names of the jobs that are back at work; why others stay in quarantine."""

    names: tuple[str, ...]
    stay: Mapping[str, JobError]

    def lines(self) -> list[str]:
        """A line for each."""
        back = [f"{name}: back to work" for name in self.names]
        return back + [f"{name}: stays in quarantine: {error}" for name, error in self.stay.items()]

    def to_json(self) -> dict[str, object]:
        """``jobs``, and ``stay`` with code, message and hint of each."""
        stay = [
            {"job": name, "code": error.code, "message": error.message, "hint": error.hint}
            for name, error in self.stay.items()
        ]
        return {"jobs": list(self.names), "stay": stay}


def retry_all(config: Config) -> Retried:
    """Put every quarantined job back to work that can be.

    Raises
    ------
    JobError
        LF-JOB-003 no job table.
    """
    with _opened(config) as retry:
        names, stay = [], {}
        for job in retry.ledger.jobs():
            if job.stage is not Stage.QUARANTINED or job.superseded:
                continue
            try:
                retry(job)
                names.append(job.name)
            except JobError as error:
                stay[job.name] = error
        return Retried(tuple(names), stay)


def retry_job(config: Config, name: str) -> str:
    """Put one job back to work, also one that waits for another try; returns its name.

    A running service takes it up within seconds, a stopped one at its next start.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-005 no such job; see `Store.retry`.
    """
    with _opened(config) as retry:
        job = retry.ledger.job(name)
        retry(job)
        return job.name


def is_served(config: Config, ledger: Ledger) -> bool:
    """Whether a process works on the jobs, on this machine or another."""
    if holder(Layout(root=config.node.data_dir).state) is not None:
        return True
    shared = databases_of(config).shared
    return shared and any(member.silent_s <= config.queue.dead_after_s for member in ledger.members())


class _Retry:
    """Opens rows of the table, and tells a running service of it."""

    def __init__(self, config: Config, url: str, ledger: Ledger, store: Store) -> None:
        self.ledger = ledger
        self._url, self._store = url, store
        self._serving = is_served(config, ledger)
        if not self._serving:
            store.forget_running()

    def __call__(self, job: Job) -> None:
        opened = self._store.retry(job.key)
        if self._serving and job.stage is Stage.QUARANTINED:
            ask_for_retry(self._url, opened.key, now().isoformat())


@contextmanager
def _opened(config: Config) -> Iterator[_Retry]:
    databases = databases_of(config)
    with closing(Ledger(databases.table)) as ledger, closing(Store(databases.table)) as store:
        yield _Retry(config, databases.engine_url, ledger, store)
