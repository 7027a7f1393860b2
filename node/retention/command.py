"""Retention as the service does it every hour, and as ``lfmri-node purge`` does it now."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.audit.messages import Deed, Participant
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ended import forget_ended
from lfmri_node.node.jobs.purges import Purges, What
from lfmri_node.node.jobs.tables import databases_of, no_table
from lfmri_node.node.layout import Layout
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.retention.purge import alone, carry_out, decide, purge_refused, sweep
from lfmri_node.node.retention.trash import empty_trash
from lfmri_node.node.whose import whose_job

_EVERY_S = 3600.0


def purge_now(
    config: Config, *, dry_run: bool, by: Participant | None = None
) -> tuple[list[Purge], list[Path]]:
    """Delete what has to go, or only find it out.

    Parameters
    ----------
    by
        Who deletes, for the audit trail; None: the node itself.

    Returns
    -------
    What goes of measurements, and which refused objects.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-004 of another version, LF-RET-002 another process is deleting.
    """
    layout = Layout(root=config.node.data_dir)
    databases = databases_of(config)
    if not databases.present:
        raise no_table()
    with closing(Purges(databases.table)) as store:
        purges = decide(store, config, datetime.now(UTC))
        refused = purge_refused(layout, config.retention.quarantined_days)
        if not dry_run:
            _carry_out(store, config, layout, purges, refused, stop=lambda: False, by=by)
    return purges, refused


def _carry_out(
    store: Purges,
    config: Config,
    layout: Layout,
    purges: Sequence[Purge],
    refused: Sequence[Path],
    stop: Callable[[], bool],
    by: Participant | None,
) -> None:
    auditor = Auditor(config)
    with alone(layout):
        empty_trash(layout)
        sweep(store, layout, keep_reconstructions=config.node.keep_reconstructions)
        for path in refused:
            path.unlink(missing_ok=True)
        for purge in purges:
            if stop():
                return
            job = store.find(purge.key)
            identity = whose_job(store, layout, job) if job is not None else ("", "")
            if carry_out(store, layout, purge) and purge.what is not What.RECORDS:
                auditor.deed(Deed.PURGE, by, purge.key[:12], identity, succeeded=True)
        before = datetime.now(UTC) - timedelta(days=config.retention.workflows_days)
        forget_ended(databases_of(config), before, lambda keys: store.over_since(before, keys))


class Housekeeper:
    """Retention inside the service, in a thread that may be left at any moment: see `purge.carry_out`.

    Parameters
    ----------
    stop
        Set when the service is to end: nothing more is begun then.

    Attributes
    ----------
    config
        May be replaced at any time; what is under way ends by the old one.
    """

    def __init__(self, config: Config, stop: threading.Event) -> None:
        self.config = config
        self._layout = Layout(root=config.node.data_dir)
        self._stop = stop

    def run(self) -> None:
        """Keep the worker's log short all the time; delete what has to go now and then once an hour."""
        due = time.monotonic()
        while True:
            with suppress(OSError):
                logs.cut(self._layout.worker_log, max_mb=self.config.logging.max_mb)
            if time.monotonic() >= due:
                due = time.monotonic() + _EVERY_S
                self._purge()
            if self._stop.wait(self.config.node.housekeeping_s):
                return

    def _purge(self) -> None:
        layout, config = self._layout, self.config
        try:
            with closing(Purges(databases_of(config).table)) as store:
                purges = decide(store, config, datetime.now(UTC))
                refused = purge_refused(layout, config.retention.quarantined_days)
                _carry_out(store, config, layout, purges, refused, self._stop.is_set, None)
        except (OSError, sqlite3.Error, JobError) as error:
            logs.event(
                "retention.failed", level=logging.ERROR, code="LF-RET-001", message=type(error).__name__
            )
