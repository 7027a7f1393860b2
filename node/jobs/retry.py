"""What an operator does to jobs while the service runs or stands still."""

from __future__ import annotations

from lfmri_node.node.config import Config
from lfmri_node.node.jobs.engine import enqueue_from_outside
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder


def retry_jobs(config: Config, name: str | None) -> list[str]:
    """Put one job, or every quarantined one, back to work; returns the names.

    Only the job table and the queue are written; a running service takes the jobs up within a second,
    a stopped one at its next start.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-005 no such job, LF-JOB-006 the job is finished, LF-JOB-007
        it is being worked on.
    """
    layout = Layout(root=config.node.data_dir)
    ledger = Ledger(layout.job_table)
    if name is not None:
        keys = [ledger.job(name).key]
    else:
        keys = [job.key for job in ledger.jobs() if job.stage is Stage.QUARANTINED]
    ledger.close()
    store = Store(layout.job_table)
    if holder(layout.state) is None:
        store.clear_running()
    names = []
    for key in keys:
        job = store.retry(key)
        if layout.workflows.exists():
            enqueue_from_outside(layout.workflows, job)
        names.append(job.name)
    store.close()
    return names
