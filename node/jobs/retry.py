"""What an operator does to jobs while the service runs or stands still."""

from __future__ import annotations

from lfmri_node.node.config import Config
from lfmri_node.node.jobs.engine import ask_for_retry
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.writer import now
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder


def retry_jobs(config: Config, name: str | None) -> list[str]:
    """Put one job, or every quarantined one, back to work; returns the names.

    A running service takes them up within seconds, a stopped one at its next start.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-005 no such job; see `Store.retry`.
    """
    layout = Layout(root=config.node.data_dir)
    ledger = Ledger(layout.job_table)
    jobs = (
        [job for job in ledger.jobs() if job.stage is Stage.QUARANTINED and not job.superseded]
        if name is None
        else [ledger.job(name)]
    )
    ledger.close()
    serving = holder(layout.state) is not None
    store = Store(layout.job_table)
    if not serving:
        store.forget_running()
    for job in jobs:
        opened = store.retry(job.key)
        if serving and job.stage is Stage.QUARANTINED:
            ask_for_retry(layout.workflows, opened.key, now().isoformat())
    store.close()
    return [job.name for job in jobs]
